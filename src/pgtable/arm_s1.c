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

/* Of tables, and gathered upside down: what no level has set. */
#define TABLE_PXN BIT64(59)
#define TABLE_UXN BIT64(60)
#define TABLE_NO_USER BIT64(61) /* APTable[0] */
#define TABLE_READ_ONLY BIT64(62) /* APTable[1] */
#define FLIP (TABLE_PXN | TABLE_UXN | TABLE_NO_USER | TABLE_READ_ONLY)

/* Bit 55 decides, whether the top byte is ignored or not. */
PGTABLE_INLINE unsigned int half_of(uint64_t address)
{
	return address >> 55 & 1;
}

static int setup(struct pgtable *pgtable)
{
	int error = arm_setup(pgtable);

	if (error)
		return error;
	for (unsigned int half = 0; half < 2; half++) {
		error = arm_setup_half(pgtable, half, 0, 0);
		if (error && !(pgtable->config.flags >> half & ARM_EPD0))
			return error;
	}
	return 0;
}

PGTABLE_INLINE unsigned int begin(const struct pgtable *pgtable, uint64_t address, unsigned int flags,
				  struct pgtable_cursor *cursor)
{
	unsigned int half = half_of(address), width = pgtable->config.input_lg2[half];
	uint32_t of_half = pgtable->config.flags >> half; /* where those of half 0 are */
	uint64_t above = half ? ~address : address;

	(void)flags;
	if (of_half & ARM_TBI0)
		above &= low_mask(56);
	cursor->half = half;
	cursor->input = address & (BIT64(width) - 1);
	if (unlikely(above >> width || of_half & ARM_EPD0))
		return UIOMMU_FAULT_UNMAPPED;
	return unlikely(pgtable->config.base[half] & ARM_BEYOND) ? UIOMMU_FAULT_OUTPUT : UIOMMU_FAULT_NONE;
}

/* @limits: what has been gathered. @writable: by the entry. */
PGTABLE_INLINE unsigned int permitted(const struct pgtable *pgtable, uint64_t entry, uint64_t limits, bool writable,
				      unsigned int flags)
{
	bool write = writable && limits & TABLE_READ_ONLY, user = entry & USER && limits & TABLE_NO_USER, exec;
	unsigned int access = UIOMMU_READ | (write ? UIOMMU_WRITE : 0);

	if (flags & PGTABLE_USER) {
		exec = !(entry & UXN) && limits & TABLE_UXN;
		if (!user)
			access = 0;
	} else {
		exec = !(entry & PXN) && limits & TABLE_PXN && !(user && write);
	}
	if (access & UIOMMU_WRITE && pgtable->config.flags & ARM_WXN)
		exec = false;
	return exec ? access | UIOMMU_EXEC : access;
}

PGTABLE_INLINE struct pgtable_item decode(const struct pgtable *pgtable, uint64_t entry, unsigned int flags,
					  const struct pgtable_cursor *cursor, unsigned int granule_lg2)
{
	struct pgtable_item item = arm_decode(pgtable, entry, cursor, granule_lg2);
	uint64_t limits = pgtable->config.flags >> cursor->half & ARM_HPD0 ? UINT64_MAX : cursor->gathered;
	bool writable = !(entry & READ_ONLY);

	if (item.kind != PGTABLE_LEAF)
		return item;
	item.access = (uint8_t)permitted(pgtable, entry, limits, writable || arm_manages_dirty(pgtable, entry), flags);
	if (unlikely(!writable && item.access & UIOMMU_WRITE))
		arm_first_write(&item, READ_ONLY, flags);
	item.attributes = arm_attributes(pgtable, entry, INDEX, granule_lg2);
	return item;
}

ARM_WALKERS()

const struct pgtable_format pgtable_arm_s1 = {
	.name = "Arm stage 1",
	.stage = 1,
	.setup = setup,
	.walk_flat = walk_flat,
	.walk_guest = walk_guest,
};
