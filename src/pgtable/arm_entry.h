/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What entries of both stages have in common: which are valid, where the address is, blocks, contiguous entries, the access flag.
 *
 * @granule_lg2 is a constant wherever these functions are inlined.
 */
#ifndef PGTABLE_ARM_ENTRY_H
#define PGTABLE_ARM_ENTRY_H

#include <errno.h>

#include "pgtable/arm.h"
#include "pgtable/walk.h"
#include "util/bits.h"

#define ARM_VALID BIT64(0)
#define ARM_TABLE BIT64(1) /* not a block; at level 0: a page */
#define ARM_SHAREABILITY GENMASK64(9, 8) /* with UIOMMU_ARM_DS: bits 51:50 of the address */
#define ARM_ACCESSED BIT64(10)
#define ARM_ADDRESS GENMASK64(47, 12)
#define ARM_ADDRESS_64K GENMASK64(15, 12) /* bits 51:48, with 64K pages */
#define ARM_ADDRESS_DS GENMASK64(49, 48)
#define ARM_DBM BIT64(51)
#define ARM_CONTIGUOUS BIT64(52)

/* Set by setup in config.base: no walk begins there. */
#define ARM_NO_WALK BIT64(63)

/* Does UIOMMU_ARM_DS mean something for these pages? */
PGTABLE_INLINE bool arm_ds(const struct pgtable *pgtable, unsigned int granule_lg2)
{
	return granule_lg2 != 16 && pgtable->config.flags & UIOMMU_ARM_DS;
}

/* 64K pages always have room for 52 bits. */
static inline unsigned int arm_widest(const struct pgtable *pgtable, unsigned int granule_lg2)
{
	return granule_lg2 == 16 || pgtable->config.flags & UIOMMU_ARM_DS ? 52 : 48;
}

/* Check output_lg2 and set what all plain entries are like; arm_setup_plain() does the rest. */
static inline int arm_setup(struct pgtable *pgtable)
{
	static const uint64_t widths = BIT64(32) | BIT64(36) | BIT64(40) | BIT64(42) | BIT64(44) | BIT64(48) | BIT64(52);
	unsigned int output_lg2 = pgtable->config.output_lg2;
	uint64_t zero = ARM_ADDRESS & ~low_mask(output_lg2);

	if (output_lg2 > 52 || !(widths >> output_lg2 & 1))
		return -EINVAL;
	if (pgtable->config.flags & UIOMMU_ARM_DS)
		zero |= ARM_ADDRESS_DS | ARM_SHAREABILITY;
	pgtable->plain = (struct pgtable_plain){ARM_VALID | ARM_TABLE | zero, ARM_VALID | ARM_TABLE, ARM_ADDRESS};
	zero |= ARM_CONTIGUOUS;
	for (unsigned int level = 0; level < PGTABLE_PLAIN_LEAVES; level++)
		pgtable->leaf[level] = (struct pgtable_plain){
			.mask = ARM_VALID | ARM_TABLE | ARM_ACCESSED | zero,
			.value = ARM_VALID | ARM_ACCESSED | (level ? 0 : ARM_TABLE),
			.address = ARM_ADDRESS,
		};
	return 0;
}

/* Check the widths of a half. @levels: 0 for as many as it takes. @beside: log2 of how many tables may be the top table. */
static inline int arm_setup_half(struct pgtable *pgtable, unsigned int half, unsigned int levels, unsigned int beside)
{
	unsigned int granule_lg2 = pgtable->config.granule_lg2[half], input_lg2 = pgtable->config.input_lg2[half];
	unsigned int widest = arm_widest(pgtable, granule_lg2), index_lg2 = granule_lg2 - 3, below;
	uint64_t *base = &pgtable->config.base[half];

	if (granule_lg2 != 12 && granule_lg2 != 14 && granule_lg2 != 16)
		return -EINVAL;
	if (input_lg2 < 25 || input_lg2 > widest)
		return -EINVAL;
	if (!levels)
		levels = (input_lg2 - granule_lg2 + index_lg2 - 1) / index_lg2;
	below = granule_lg2 + (levels - 1) * index_lg2; /* address bits that are not the top table's */
	if (levels > PGTABLE_LEVELS || input_lg2 <= below || input_lg2 - below > index_lg2 + beside)
		return -EINVAL;
	pgtable->top[half] = (uint8_t)(levels - 1);
	*base &= ~low_mask(input_lg2 - below + 3);
	if (*base >> min_u64(pgtable->config.output_lg2, widest))
		*base |= ARM_NO_WALK;
	return 0;
}

/* The address in an entry; low bits that its level has no use for may be set. */
PGTABLE_INLINE uint64_t arm_address(const struct pgtable *pgtable, uint64_t entry, unsigned int granule_lg2)
{
	uint64_t address = entry & ARM_ADDRESS & ~low_mask(granule_lg2);

	if (granule_lg2 == 16)
		return address | (entry & ARM_ADDRESS_64K) << 36;
	if (unlikely(arm_ds(pgtable, granule_lg2)))
		address |= (entry & ARM_ADDRESS_DS) | (entry & ARM_SHAREABILITY) << 42;
	return address;
}

PGTABLE_INLINE bool arm_has_blocks(const struct pgtable *pgtable, unsigned int level, unsigned int granule_lg2)
{
	switch (granule_lg2) {
	case 12:
		return level <= 2 || (level == 3 && pgtable->config.flags & UIOMMU_ARM_DS);
	case 14:
		return level == 1 || (level == 2 && pgtable->config.flags & UIOMMU_ARM_DS);
	default:
		return level == 1 || (level == 2 && pgtable->config.output_lg2 == 52);
	}
}

/*
 * What is plain in both halves: address bits that only some granule or size gives a meaning are 0. A value that its mask does not
 * have is none.
 */
static inline void arm_setup_plain(struct pgtable *pgtable, unsigned int half)
{
	unsigned int granule_lg2 = pgtable->config.granule_lg2[half];

	pgtable->plain.mask |= ARM_ADDRESS & low_mask(granule_lg2);
	for (unsigned int level = 0; level < PGTABLE_PLAIN_LEAVES; level++) {
		unsigned int page_lg2 = granule_lg2 + level * (granule_lg2 - 3);

		pgtable->leaf[level].mask |= ARM_ADDRESS & low_mask(page_lg2);
		if (page_lg2 > pgtable->config.output_lg2 || (level && !arm_has_blocks(pgtable, level, granule_lg2)))
			pgtable->leaf[level].value |= BIT64(63);
	}
}

/*
 * Size of the page or block at @address. Contiguous entries are one only as far as this one shows it: whoever sets the hint wrongly
 * gets what the entry says. Nor does it reach beyond the widths of input and output addresses, where there is nothing; and of a
 * block that is wider than the output only the part is told that exists.
 */
PGTABLE_INLINE unsigned int arm_page_lg2(const struct pgtable *pgtable, uint64_t entry, uint64_t address,
					 const struct pgtable_cursor *cursor, unsigned int granule_lg2)
{
	unsigned int page_lg2 = granule_lg2 + cursor->level * (granule_lg2 - 3), level = cursor->level, wide;
	unsigned int output_lg2 = pgtable->config.output_lg2;

	if (level && unlikely(page_lg2 > output_lg2))
		return output_lg2;
	if (likely(!(entry & ARM_CONTIGUOUS)) || level > (granule_lg2 == 12 ? 2 : 1))
		return page_lg2;
	wide = page_lg2 + (granule_lg2 == 12 ? 4 : granule_lg2 == 14 && !level ? 7 : 5);
	if (wide > pgtable->config.input_lg2[cursor->half] || wide > output_lg2)
		return page_lg2;
	return ((address ^ cursor->input) & low_mask(wide)) >> page_lg2 ? page_lg2 : wide;
}

/* A reason, or none. @address: all of it that comes out. */
PGTABLE_INLINE unsigned int arm_check(const struct pgtable *pgtable, uint64_t entry, uint64_t address, unsigned int level,
				      unsigned int granule_lg2)
{
	bool table = entry & ARM_TABLE;

	if (!(entry & ARM_VALID) || !(table || (level && arm_has_blocks(pgtable, level, granule_lg2))))
		return UIOMMU_FAULT_UNMAPPED;
	return address >> pgtable->config.output_lg2 ? UIOMMU_FAULT_OUTPUT : UIOMMU_FAULT_NONE;
}

/* Everything but permissions, dirty state and attributes. */
PGTABLE_INLINE struct pgtable_item arm_decode(const struct pgtable *pgtable, uint64_t entry, const struct pgtable_cursor *cursor,
					      unsigned int granule_lg2)
{
	bool leaf = !cursor->level || !(entry & ARM_TABLE);
	uint64_t inside = leaf ? low_mask(granule_lg2 + cursor->level * (granule_lg2 - 3)) : 0;
	struct pgtable_item item = {.kind = PGTABLE_FAULT, .update = entry};

	item.oa = arm_address(pgtable, entry, granule_lg2) & ~inside;
	item.reason = (uint8_t)arm_check(pgtable, entry, item.oa | (cursor->input & inside), cursor->level, granule_lg2);
	if (item.reason)
		return item;
	if (!leaf) {
		item.kind = PGTABLE_TABLE;
		return item;
	}
	item.reason = UIOMMU_FAULT_ACCESS_FLAG;
	if (unlikely(!(entry & ARM_ACCESSED) && !(pgtable->config.flags & (UIOMMU_ARM_HA | UIOMMU_ARM_AFFD))))
		return item;
	item.kind = PGTABLE_LEAF;
	item.reason = UIOMMU_FAULT_PERMISSION;
	if (pgtable->config.flags & UIOMMU_ARM_HA)
		item.update |= ARM_ACCESSED;
	item.page_lg2 = (uint8_t)arm_page_lg2(pgtable, entry, item.oa, cursor, granule_lg2);
	item.oa &= ~low_mask(item.page_lg2);
	return item;
}

/* DBM, if dirty state is managed. */
static inline uint64_t arm_dbm(const struct pgtable *pgtable)
{
	return (pgtable->config.flags & (UIOMMU_ARM_HA | UIOMMU_ARM_HD)) == (UIOMMU_ARM_HA | UIOMMU_ARM_HD) ? ARM_DBM : 0;
}

/* Plain leaves are dirty ones: @bits are @dirty. */
static inline void arm_setup_dirty(struct pgtable *pgtable, uint64_t bits, uint64_t dirty)
{
	pgtable->dirty = bits;
	for (unsigned int level = 0; level < PGTABLE_PLAIN_LEAVES; level++) {
		pgtable->leaf[level].mask |= bits;
		pgtable->leaf[level].value |= dirty;
	}
}

/* @entry is writable, and only because of DBM: @bit makes it so for good. */
PGTABLE_INLINE void arm_first_write(struct pgtable_item *item, uint64_t bit, unsigned int flags)
{
	if (flags & UIOMMU_WRITE && !(flags & PGTABLE_QUIET))
		item->update ^= bit;
	else
		item->clean = true;
}

/* With an index of so many bits. Plain leaves have no shareability with UIOMMU_ARM_DS. */
PGTABLE_INLINE uint32_t arm_attributes(uint64_t entry, uint64_t index)
{
	return (uint32_t)((entry & index) >> 2 | (entry & ARM_SHAREABILITY) >> 4);
}

/* A shape and its walkers for pages of 1 << @bits bytes; the file has ARM_SHAPE, what only it says of them, begin() and decode().
 */
#define ARM_GRANULE(name, bits, top)                                                                                               \
	PGTABLE_INLINE struct pgtable_item decode_##name(const struct pgtable *pgtable, uint64_t entry, unsigned int flags,        \
							 const struct pgtable_cursor *cursor)                                      \
	{                                                                                                                          \
		return decode(pgtable, entry, flags, cursor, bits);                                                                \
	}                                                                                                                          \
	static const struct pgtable_shape shape_##name = {                                                                         \
		.granule_lg2 = (bits),                                                                                             \
		.index_lg2 = (bits)-3,                                                                                             \
		.entry_lg2 = 3,                                                                                                    \
		.usual_top = (top),                                                                                                \
		ARM_SHAPE,                                                                                                         \
		.begin = begin,                                                                                                    \
		.decode = decode_##name,                                                                                           \
	};                                                                                                                         \
	PGTABLE_WALKERS(walk_##name, shape_##name)

/* Those that arm_walkers() chooses from. */
#define ARM_WALKERS()                                                                                                              \
	ARM_GRANULE(4k, 12, 3)                                                                                                     \
	ARM_GRANULE(16k, 14, 3)                                                                                                    \
	ARM_GRANULE(64k, 16, 2)                                                                                                    \
                                                                                                                                   \
	static const struct pgtable_walkers *arm_walkers(unsigned int granule_lg2)                                                 \
	{                                                                                                                          \
		return granule_lg2 == 12 ? &walk_4k : granule_lg2 == 14 ? &walk_16k : &walk_64k;                                   \
	}

#endif
