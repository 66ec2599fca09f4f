/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Arm stage 1: VMSAv8-64 of the EL1&0 or EL2&0 regime, with 4K, 16K and 64K pages (DDI 0487, D8.2 to D8.5).
 *
 * An address belongs to one of two halves, each with tables and a page size of its own. What tables forbid is gathered and judged
 * at the leaf. At EL0 an entry that only EL1 may read or write can still be executed: UXN alone says that.
 */
#include "pgtable/arm_entry.h"

#define INDEX GENMASK64(4, 2)
#define USER BIT64(6) /* AP[1] */
#define READ_ONLY BIT64(7) /* AP[2] */
#define PXN BIT64(53)
#define UXN BIT64(54)

#define PXN_TABLE BIT64(59)
#define UXN_TABLE BIT64(60)
#define NO_USER_TABLE BIT64(61) /* APTable[0] */
#define READ_ONLY_TABLE BIT64(62) /* APTable[1] */
#define TABLE_BITS GENMASK64(62, 59)

/* What all entries together say to a privilege: an index of pgtable->permits. */
enum { SAYS_USER = 1, SAYS_READ_ONLY = 2, SAYS_XN = 4, SAYS = 8 };

/* Bit 55 decides, whether the top byte is ignored or not. */
PGTABLE_INLINE unsigned int half_of(uint64_t address)
{
	return address >> 55 & 1;
}

PGTABLE_INLINE unsigned int begin(const struct pgtable *pgtable, uint64_t address, unsigned int flags,
				  struct pgtable_cursor *cursor)
{
	unsigned int half = half_of(address), width = pgtable->config.input_lg2[half];
	uint32_t of_half = pgtable->config.flags >> half; /* those of half 0 */

	(void)flags;
	cursor->half = half;
	cursor->input = address;
	if (of_half & UIOMMU_ARM_TBI0)
		cursor->input = (uint64_t)((int64_t)(address << 8) >> 8);
	if (unlikely((int64_t)cursor->input >> width != -(int64_t)half))
		return UIOMMU_FAULT_UNMAPPED;
	if (unlikely(half))
		cursor->input &= low_mask(width);
	if (unlikely(pgtable->config.base[half] & ARM_NO_WALK))
		return of_half & UIOMMU_ARM_EPD0 ? UIOMMU_FAULT_UNMAPPED : UIOMMU_FAULT_OUTPUT;
	return UIOMMU_FAULT_NONE;
}

/* What DBM and tables make of a leaf; see setup() for copy, DBM. */
PGTABLE_INLINE uint64_t limited(const struct pgtable *pgtable, uint64_t forbidden, uint64_t leaf)
{
	leaf &= ~((leaf & pgtable->copy) >> 44 | (forbidden & NO_USER_TABLE) >> 55);
	return leaf | (forbidden & READ_ONLY_TABLE) >> 55 | (forbidden & (PXN_TABLE | UXN_TABLE)) >> 6;
}

_Static_assert(ARM_DBM >> 44 == READ_ONLY && NO_USER_TABLE >> 55 == USER && READ_ONLY_TABLE >> 55 == READ_ONLY, "limited");
_Static_assert(PXN_TABLE >> 6 == PXN && UXN_TABLE >> 6 == UXN, "limited");

/* @above: bits that are set in some table. See setup() for keep, which of these count. */
PGTABLE_INLINE unsigned int permitted(const struct pgtable *pgtable, uint64_t above, uint64_t leaf, unsigned int flags)
{
	uint64_t forbidden = above & pgtable->keep, said;

	if (forbidden | (leaf & pgtable->copy))
		leaf = limited(pgtable, forbidden, leaf);
	said = leaf >> 6 & (SAYS_USER | SAYS_READ_ONLY);
	if (likely(flags & PGTABLE_USER)) /* as most of what devices do */
		return pgtable->permits[1][said | (leaf >> 52 & SAYS_XN)];
	return pgtable->permits[0][said | (leaf >> 51 & SAYS_XN)];
}

_Static_assert(USER >> 6 == SAYS_USER && READ_ONLY >> 6 == SAYS_READ_ONLY, "permitted");
_Static_assert(UXN >> 52 == SAYS_XN && PXN >> 51 == SAYS_XN, "permitted");

/* What a leaf permits. */
static unsigned int permits(uint32_t flags, unsigned int said, bool user)
{
	bool shared = said & SAYS_USER, writable = !(said & SAYS_READ_ONLY), executable = !(said & SAYS_XN);
	unsigned int access = UIOMMU_READ | (writable ? UIOMMU_WRITE : 0);

	if (user ? !shared : shared && flags & UIOMMU_ARM_PAN)
		access = 0;
	if ((!user && shared && writable) || (flags & UIOMMU_ARM_WXN && access & UIOMMU_WRITE))
		executable = false;
	return access | (executable ? UIOMMU_EXEC : 0);
}

PGTABLE_INLINE struct pgtable_item decode(const struct pgtable *pgtable, uint64_t entry, unsigned int flags,
					  const struct pgtable_cursor *cursor, unsigned int granule_lg2)
{
	struct pgtable_item item = arm_decode(pgtable, entry, cursor, granule_lg2);
	uint64_t above = pgtable->config.flags >> cursor->half & UIOMMU_ARM_HPD0 ? 0 : cursor->some;

	if (item.kind != PGTABLE_LEAF)
		return item;
	item.access = (uint8_t)permitted(pgtable, above, entry, flags);
	if (entry & READ_ONLY && item.access & UIOMMU_WRITE)
		arm_first_write(&item, READ_ONLY, flags);
	if (arm_ds(pgtable, granule_lg2))
		entry &= ~ARM_SHAREABILITY;
	item.attributes = arm_attributes(entry, INDEX);
	return item;
}

PGTABLE_INLINE uint32_t attributes_of(uint64_t entry)
{
	return arm_attributes(entry, INDEX);
}

#define ARM_SHAPE .gathers = PGTABLE_SOME, .some = TABLE_BITS, .attributes_of = attributes_of, .access = permitted

ARM_WALKERS()

/* Halves may have pages of different sizes. */
#define MIXED(kind)                                                                                                                \
	static uint64_t walk_##kind(const struct pgtable *pgtable, uint64_t address, unsigned int flags,                           \
				    struct pgtable_result *out)                                                                    \
	{                                                                                                                          \
		unsigned int granule_lg2 = pgtable->config.granule_lg2[half_of(address)];                                          \
                                                                                                                                   \
		if (granule_lg2 == 12)                                                                                             \
			return walk_4k_##kind##_any(pgtable, address, flags, out);                                                 \
		if (granule_lg2 == 14)                                                                                             \
			return walk_16k_##kind##_any(pgtable, address, flags, out);                                                \
		return walk_64k_##kind##_any(pgtable, address, flags, out);                                                        \
	}

#define MIXED_FROM(kind)                                                                                                           \
	static uint64_t walk_##kind##_from(const struct pgtable *pgtable, uint64_t address, unsigned int flags,                    \
					   struct pgtable_path *path, struct pgtable_result *out)                                  \
	{                                                                                                                          \
		unsigned int granule_lg2 = pgtable->config.granule_lg2[half_of(address)];                                          \
                                                                                                                                   \
		if (granule_lg2 == 12)                                                                                             \
			return walk_4k_##kind##_from(pgtable, address, flags, path, out);                                          \
		if (granule_lg2 == 14)                                                                                             \
			return walk_16k_##kind##_from(pgtable, address, flags, path, out);                                         \
		return walk_64k_##kind##_from(pgtable, address, flags, path, out);                                                 \
	}

MIXED(flat)
MIXED(guest)
MIXED(nested)
MIXED_FROM(guest)
MIXED_FROM(nested)

static const struct pgtable_walkers walk_mixed = {
	.shape = &shape_4k,
	.any = {walk_flat, walk_guest, walk_nested},
	.from = {NULL, walk_guest_from, walk_nested_from},
};

/* The usual ones walk the lower half. */
static void choose_walkers(struct pgtable *pgtable)
{
	const struct pgtable_config *config = &pgtable->config;
	bool lower = !(config->base[0] & ARM_NO_WALK), upper = !(config->base[1] & ARM_NO_WALK);

	pgtable->walkers = arm_walkers(config->granule_lg2[!lower]);
	if (lower && upper && config->granule_lg2[0] != config->granule_lg2[1])
		pgtable->walkers = &walk_mixed;
	pgtable->unusual = !lower || pgtable->walkers == &walk_mixed;
	pgtable->beyond = ~low_mask(config->input_lg2[0]);
	if (config->flags & UIOMMU_ARM_TBI0)
		pgtable->beyond &= low_mask(56);
}

static int setup(struct pgtable *pgtable)
{
	uint32_t flags = pgtable->config.flags, hpd[2] = {UIOMMU_ARM_HPD0, UIOMMU_ARM_HPD1}, ignored = 0, walked = 0;
	int error = arm_setup(pgtable);

	if (error)
		return error;
	for (unsigned int half = 0; half < 2; half++) {
		error = arm_setup_half(pgtable, half, 0, 0);
		if (flags & (uint32_t)UIOMMU_ARM_EPD0 << half) {
			pgtable->config.base[half] |= ARM_NO_WALK;
			pgtable->config.input_lg2[half] = 0; /* whatever it is: nobody has looked at it */
			continue;
		}
		if (error)
			return error;
		arm_setup_plain(pgtable, half);
		walked |= hpd[half];
		ignored |= flags & hpd[half];
	}
	/* permitted() does not know the half: if one ignores tables and the other does not, those with such bits are not plain. */
	if (ignored && ignored != walked)
		pgtable->plain.mask |= TABLE_BITS;
	pgtable->keep = ignored && ignored == walked ? 0 : TABLE_BITS;
	choose_walkers(pgtable);
	pgtable->copy = arm_dbm(pgtable);
	if (pgtable->copy)
		arm_setup_dirty(pgtable, READ_ONLY, 0);
	for (unsigned int said = 0; said < SAYS; said++)
		for (unsigned int user = 0; user < 2; user++)
			pgtable->permits[user][said] = (uint8_t)permits(flags, said, user);
	return 0;
}

const struct pgtable_format pgtable_arm_s1 = {
	.name = "Arm stage 1",
	.stage = 1,
	.setup = setup,
};
