/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Arm stage 1: VMSAv8-64 of the EL1&0 or EL2&0 regime, with 4K, 16K and 64K pages (DDI 0487, D8.2 to D8.5).
 *
 * An address belongs to one of two halves, each with tables and a page size of its own. What tables forbid is gathered, upside down
 * as all bits are, and judged at the leaf. At EL0 an entry that only EL1 may read or write can still be executed: UXN alone says
 * that.
 */
#include "pgtable/arm_entry.h"

#define INDEX GENMASK64(4, 2)
#define USER BIT64(6) /* AP[1] */
#define READ_ONLY BIT64(7) /* AP[2] */
#define PXN BIT64(53)
#define UXN BIT64(54)

#define TABLE_BITS GENMASK64(62, 59) /* PXNTable, UXNTable, APTable[0] (not for EL0) and APTable[1] (read-only) */

_Static_assert(UIOMMU_READ == 1 && UIOMMU_WRITE == 2 && UIOMMU_EXEC == 4, "permissions are the API's bits");

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
	if (of_half & ARM_TBI0)
		cursor->input = (uint64_t)((int64_t)(address << 8) >> 8);
	if (unlikely((int64_t)cursor->input >> width != -(int64_t)half))
		return UIOMMU_FAULT_UNMAPPED;
	if (unlikely(half))
		cursor->input &= low_mask(width);
	if (unlikely(pgtable->config.base[half] & ARM_NO_WALK))
		return of_half & ARM_EPD0 ? UIOMMU_FAULT_UNMAPPED : UIOMMU_FAULT_OUTPUT;
	return UIOMMU_FAULT_NONE;
}

/* @zeros: bits that are 0 in the leaf, or in all tables. See setup() for keep, what tables may say, and copy, DBM. */
PGTABLE_INLINE unsigned int permitted(const struct pgtable *pgtable, uint64_t zeros, unsigned int flags)
{
	uint64_t limits = zeros | pgtable->keep, writable = zeros | (~zeros & pgtable->copy) >> 44; /* DBM: READ_ONLY's place */
	unsigned int access = (writable ^ USER) >> 6 & limits >> 61 & (UIOMMU_READ | UIOMMU_WRITE); /* READ: EL0 may read */
	unsigned int exec = zeros >> 53 & limits >> 59 & 3; /* EL1, EL0 */

	if (flags & PGTABLE_USER) {
		if (!(access & UIOMMU_READ))
			access = 0;
		exec >>= 1;
	} else {
		if (access == (UIOMMU_READ | UIOMMU_WRITE))
			exec = 0;
		if (unlikely(pgtable->config.flags & ARM_PAN) && access & UIOMMU_READ)
			access = 0;
		else
			access |= UIOMMU_READ;
	}
	if (unlikely(pgtable->config.flags & ARM_WXN) && access & UIOMMU_WRITE)
		exec = 0;
	return access | (exec & 1) << 2;
}

_Static_assert(ARM_DBM >> 44 == READ_ONLY, "permitted");

PGTABLE_INLINE struct pgtable_item decode(const struct pgtable *pgtable, uint64_t entry, unsigned int flags,
					  const struct pgtable_cursor *cursor, unsigned int granule_lg2)
{
	struct pgtable_item item = arm_decode(pgtable, entry, cursor, granule_lg2);
	uint64_t above = pgtable->config.flags >> cursor->half & ARM_HPD0 ? UINT64_MAX : cursor->gathered;

	if (item.kind != PGTABLE_LEAF)
		return item;
	item.access = (uint8_t)permitted(pgtable, (above & TABLE_BITS) | (~entry & ~TABLE_BITS), flags);
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

#define ARM_SHAPE .flip = UINT64_MAX, .flips = true, .clean_is_1 = true, .attributes_of = attributes_of, .access = permitted

ARM_WALKERS()

/* Halves may have pages of different sizes. */
static void walk_flat(const struct pgtable *pgtable, uint64_t address, unsigned int flags, struct pgtable_result *out)
{
	arm_walkers(pgtable->config.granule_lg2[half_of(address)])->any[PGTABLE_FLAT](pgtable, address, flags, out);
}

static void walk_guest(const struct pgtable *pgtable, uint64_t address, unsigned int flags, struct pgtable_result *out)
{
	arm_walkers(pgtable->config.granule_lg2[half_of(address)])->any[PGTABLE_GUEST](pgtable, address, flags, out);
}

static void walk_nested(const struct pgtable *pgtable, uint64_t address, unsigned int flags, struct pgtable_result *out)
{
	arm_walkers(pgtable->config.granule_lg2[half_of(address)])->any[PGTABLE_NESTED](pgtable, address, flags, out);
}

static const struct pgtable_walkers walk_mixed = {.shape = &shape_4k, .any = {walk_flat, walk_guest, walk_nested}};

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
	if (config->flags & ARM_TBI0)
		pgtable->beyond &= low_mask(56);
}

static int setup(struct pgtable *pgtable)
{
	uint32_t flags = pgtable->config.flags, hpd[2] = {ARM_HPD0, ARM_HPD1}, ignored = 0, walked = 0;
	int error = arm_setup(pgtable);

	if (error)
		return error;
	for (unsigned int half = 0; half < 2; half++) {
		error = arm_setup_half(pgtable, half, 0, 0);
		if (flags & (uint32_t)ARM_EPD0 << half) {
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
	/* permitted() takes the bits of leaves and those of tables together: the others of each are 0. */
	pgtable->plain.mask |= USER | READ_ONLY | ARM_DBM | PXN | UXN;
	for (unsigned int level = 0; level < PGTABLE_PLAIN_LEAVES; level++)
		pgtable->leaf[level].mask |= TABLE_BITS;
	/* It does not know the half: if one ignores tables and the other does not, those with such bits are not plain. */
	if (ignored && ignored != walked)
		pgtable->plain.mask |= TABLE_BITS;
	pgtable->keep = ignored && ignored == walked ? TABLE_BITS : 0;
	choose_walkers(pgtable);
	pgtable->copy = arm_dbm(pgtable);
	pgtable->dirty = pgtable->copy ? READ_ONLY : 0;
	return 0;
}

const struct pgtable_format pgtable_arm_s1 = {
	.name = "Arm stage 1",
	.stage = 1,
	.setup = setup,
};
