/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What both stages of RISC-V have in common (privileged specification: Sv32 to Sv57, Sv32x4 to Sv57x4, Svnapot, Svpbmt, Svadu).
 *
 * struct pgtable_config: input_lg2[0] is the mode, 32, 39, 48 or 57 in the first stage, 34, 41, 50 or 59 in the second. base[0] is
 * aligned to the size of the root, 4 KiB or 16 KiB. output_lg2 is 34 to 56. setup() fills in levels and granule.
 *
 * Entries of Sv32 are 4 bytes with the PPN where all others have it, and no bits above it. As 64 bits they need nothing of their
 * own but the size of a level: @index_lg2 is a constant, 10 or 9.
 */
#ifndef PGTABLE_RISCV_WALK_H
#define PGTABLE_RISCV_WALK_H

#include <errno.h>

#include "pgtable/riscv.h"
#include "pgtable/walk.h"
#include "util/bits.h"

#define VALID BIT64(0)
#define READ BIT64(1)
#define WRITE BIT64(2)
#define EXECUTE BIT64(3)
#define USER BIT64(4)
#define ACCESSED BIT64(6)
#define DIRTY BIT64(7)
#define PPN GENMASK64(53, 10)
#define UNDEFINED GENMASK64(60, 54)
#define PBMT GENMASK64(62, 61)
#define NAPOT BIT64(63)
#define NAPOT_SIZE GENMASK64(13, 10) /* the size is in the PPN's low bits */
#define NAPOT_64K BIT64(13)

enum {
	RISCV_PPN_SHIFT = 2, /* from its place in an entry to the address */
	RISCV_ACCESS = UIOMMU_READ | UIOMMU_WRITE | UIOMMU_EXEC,
};

_Static_assert(READ == UIOMMU_READ << 1 && WRITE == UIOMMU_WRITE << 1 && EXECUTE == UIOMMU_EXEC << 1,
	       "permissions are the API's bits");
_Static_assert(USER == PGTABLE_USER, "so is who may touch a page");

/* Bits of addresses that are too large. */
static inline uint64_t riscv_beyond(const struct pgtable_config *config)
{
	return PPN & ~(low_mask(config->output_lg2) >> RISCV_PPN_SHIFT);
}

/* A large page's address is a multiple of its size. */
static inline uint64_t riscv_misaligned(unsigned int level, unsigned int index_lg2)
{
	return low_mask(index_lg2 * level) << 10;
}

/* Plain leaves are readable and have no memory type. */
static inline void riscv_plain(struct pgtable *pgtable, unsigned int index_lg2)
{
	const struct pgtable_config *config = &pgtable->config;
	const uint64_t no = UNDEFINED | PBMT | NAPOT | riscv_beyond(config);

	pgtable->plain.value = VALID;
	pgtable->plain.mask = VALID | READ | WRITE | EXECUTE | USER | ACCESSED | DIRTY | no;
	pgtable->plain.address = PPN;
	for (unsigned int level = 0; level < PGTABLE_PLAIN_LEAVES && level < config->levels; level++) {
		struct pgtable_plain *leaf = &pgtable->leaf[level];

		leaf->value = VALID | READ | ACCESSED | DIRTY;
		leaf->mask = leaf->value | no | riscv_misaligned(level, index_lg2);
		leaf->address = PPN;
	}
	pgtable->dirty = DIRTY;
}

/* @wider: how many more of the address's bits than others the root has. */
static inline int riscv_setup(struct pgtable *pgtable, unsigned int wider)
{
	struct pgtable_config *config = &pgtable->config;

	switch (config->input_lg2[0] - wider) {
	case 32:
		config->levels = 2;
		break;
	case 39:
		config->levels = 3;
		break;
	case 48:
		config->levels = 4;
		break;
	case 57:
		config->levels = 5;
		break;
	default:
		return -EINVAL;
	}
	if (config->output_lg2 < 34 || config->output_lg2 > 56 || config->base[0] & low_mask(12 + wider))
		return -EINVAL;
	config->granule_lg2[0] = 12;
	pgtable->top[0] = (uint8_t)(config->levels - 1);
	pgtable->beyond = ~low_mask(config->input_lg2[0]);
	riscv_plain(pgtable, config->levels == 2 ? 10 : 9);
	return 0;
}

PGTABLE_INLINE unsigned int riscv_begin(const struct pgtable *pgtable, uint64_t address, unsigned int flags,
					struct pgtable_cursor *cursor)
{
	(void)flags;
	return pgtable_begin(pgtable, address, cursor);
}

/*
 * What the privilege may do with a page, whatever else the page permits. Nobody may touch the other's pages, but for what SUM lets
 * privileged accesses do with a user's: that is pgtable->keep.
 */
PGTABLE_INLINE unsigned int riscv_privilege(const struct pgtable *pgtable, uint64_t leaf, unsigned int flags)
{
	if (likely(!((leaf ^ flags) & USER)))
		return RISCV_ACCESS;
	return leaf & USER ? (unsigned int)pgtable->keep : 0;
}

PGTABLE_INLINE unsigned int riscv_permitted(const struct pgtable *pgtable, uint64_t above, uint64_t leaf, unsigned int flags)
{
	(void)above;
	return (unsigned int)(leaf >> 1) & riscv_privilege(pgtable, leaf, flags);
}

/* A valid entry without R, W and X. */
PGTABLE_INLINE struct pgtable_item riscv_pointer(const struct pgtable *pgtable, uint64_t entry, unsigned int level)
{
	struct pgtable_item item = {.kind = PGTABLE_FAULT, .reason = UIOMMU_FAULT_RESERVED};

	if (entry & (USER | ACCESSED | DIRTY | UNDEFINED | PBMT | NAPOT))
		return item;
	item.reason = level ? UIOMMU_FAULT_OUTPUT : UIOMMU_FAULT_UNMAPPED;
	if (!level || entry & riscv_beyond(&pgtable->config))
		return item;
	item.kind = PGTABLE_TABLE;
	item.oa = (entry & PPN) << RISCV_PPN_SHIFT;
	item.update = entry;
	return item;
}

/* What is wrong with a leaf. A reason. */
PGTABLE_INLINE unsigned int riscv_wrong(const struct pgtable_config *config, uint64_t entry, unsigned int level,
					unsigned int index_lg2)
{
	if ((entry & (READ | WRITE)) == WRITE || entry & UNDEFINED)
		return UIOMMU_FAULT_RESERVED;
	if (entry & PBMT && (!(config->flags & UIOMMU_RISCV_SVPBMT) || (entry & PBMT) == PBMT))
		return UIOMMU_FAULT_RESERVED;
	if (entry & NAPOT && (!(config->flags & UIOMMU_RISCV_SVNAPOT) || level || (entry & NAPOT_SIZE) != NAPOT_64K))
		return UIOMMU_FAULT_RESERVED;
	if (entry & riscv_beyond(config))
		return UIOMMU_FAULT_OUTPUT;
	return entry & riscv_misaligned(level, index_lg2) ? UIOMMU_FAULT_RESERVED : UIOMMU_FAULT_NONE;
}

PGTABLE_INLINE struct pgtable_item riscv_decode(const struct pgtable *pgtable, uint64_t entry, unsigned int flags,
						unsigned int level, unsigned int index_lg2)
{
	const unsigned int need = flags & RISCV_ACCESS;
	struct pgtable_item item = {.kind = PGTABLE_FAULT, .reason = UIOMMU_FAULT_UNMAPPED};

	if (!(entry & VALID))
		return item;
	if (!(entry & (READ | WRITE | EXECUTE)))
		return riscv_pointer(pgtable, entry, level);
	item.reason = (uint8_t)riscv_wrong(&pgtable->config, entry, level, index_lg2);
	if (item.reason)
		return item;
	item.access = (uint8_t)riscv_permitted(pgtable, 0, entry, flags);
	item.update = entry | ACCESSED | (need & UIOMMU_WRITE ? DIRTY : 0);
	if (item.update != entry && !(pgtable->config.flags & UIOMMU_RISCV_ADUE) && !(need & ~(unsigned int)item.access)) {
		item.reason = UIOMMU_FAULT_ACCESS_FLAG;
		return item;
	}
	item.kind = PGTABLE_LEAF;
	item.reason = need & ~riscv_privilege(pgtable, entry, flags) ? UIOMMU_FAULT_PRIVILEGE : UIOMMU_FAULT_PERMISSION;
	item.clean = item.access & UIOMMU_WRITE && !((flags & PGTABLE_QUIET ? entry : item.update) & DIRTY);
	item.attributes = (uint32_t)FIELD_GET64(PBMT, entry);
	item.page_lg2 = (uint8_t)(entry & NAPOT ? 16 : 12 + index_lg2 * level);
	item.oa = (entry & PPN) << RISCV_PPN_SHIFT & ~low_mask(item.page_lg2);
	return item;
}

/*
 * Shapes and walkers of a stage. @always: flags of every walk. Sv32 has a shape of its own; @signs: of the others, addresses are
 * canonical.
 */
#define RISCV_WALKER(name, bits, size_lg2, top, always, signs)                                                                     \
	PGTABLE_INLINE unsigned int permitted_##name(const struct pgtable *pgtable, uint64_t above, uint64_t leaf,                 \
						     unsigned int flags)                                                           \
	{                                                                                                                          \
		return riscv_permitted(pgtable, above, leaf, flags | (always));                                                    \
	}                                                                                                                          \
	PGTABLE_INLINE struct pgtable_item decode_##name(const struct pgtable *pgtable, uint64_t entry, unsigned int flags,        \
							 const struct pgtable_cursor *cursor)                                      \
	{                                                                                                                          \
		return riscv_decode(pgtable, entry, flags | (always), cursor->level, bits);                                        \
	}                                                                                                                          \
	static const struct pgtable_shape shape_##name = {                                                                         \
		.granule_lg2 = 12,                                                                                                 \
		.index_lg2 = (bits),                                                                                               \
		.entry_lg2 = (size_lg2),                                                                                           \
		.usual_top = (top),                                                                                                \
		.canonical = (signs),                                                                                              \
		.readable = (always)&PGTABLE_USER,                                                                                 \
		.plain_shift = RISCV_PPN_SHIFT,                                                                                    \
		.gathers = PGTABLE_NOTHING,                                                                                        \
		.access = permitted_##name,                                                                                        \
		.begin = riscv_begin,                                                                                              \
		.decode = decode_##name,                                                                                           \
	};                                                                                                                         \
	PGTABLE_WALKERS(name, shape_##name)

#define RISCV_WALKERS(always, signs)                                                                                               \
	RISCV_WALKER(sv64, 9, 3, 3, always, signs)                                                                                 \
	RISCV_WALKER(sv32, 10, 2, 1, always, false)

#endif
