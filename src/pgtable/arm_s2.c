/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Arm stage 2: VMSAv8-64, with 4K, 16K and 64K pages (DDI 0487, D8.2 to D8.5).
 *
 * Only leaves say what is permitted. To read, to write and to execute are independent of each other.
 */
#include "pgtable/arm_entry.h"

#define INDEX GENMASK64(5, 2)
#define READ BIT64(6) /* S2AP[0] */
#define WRITE BIT64(7) /* S2AP[1] */
#define XN0 BIT64(53) /* with UIOMMU_ARM_XNX: XN is turned round for EL1 */
#define XN BIT64(54)

PGTABLE_INLINE unsigned int begin(const struct pgtable *pgtable, uint64_t address, unsigned int flags,
				  struct pgtable_cursor *cursor)
{
	(void)flags;
	cursor->input = address;
	if (unlikely(address >> pgtable->config.input_lg2[0]))
		return UIOMMU_FAULT_UNMAPPED;
	return unlikely(pgtable->config.base[0] & ARM_NO_WALK) ? UIOMMU_FAULT_OUTPUT : UIOMMU_FAULT_NONE;
}

/* See setup() for keep, XN[0], and copy, DBM. */
PGTABLE_INLINE unsigned int permitted(const struct pgtable *pgtable, uint64_t above, uint64_t entry, unsigned int flags)
{
	uint64_t writable = entry | (entry & pgtable->copy) >> 44; /* WRITE's place */
	uint64_t never = entry >> 1 ^ (flags & PGTABLE_USER ? 0 : entry & pgtable->keep); /* XN, where XN[0] is */

	(void)above;
	return (writable >> 6 & (UIOMMU_READ | UIOMMU_WRITE)) | (never & XN0 ? 0 : UIOMMU_EXEC);
}

_Static_assert(UIOMMU_READ == 1 && UIOMMU_WRITE == 2 && ARM_DBM >> 44 == WRITE && XN >> 1 == XN0, "permitted");

PGTABLE_INLINE struct pgtable_item decode(const struct pgtable *pgtable, uint64_t entry, unsigned int flags,
					  const struct pgtable_cursor *cursor, unsigned int granule_lg2)
{
	struct pgtable_item item = arm_decode(pgtable, entry, cursor, granule_lg2);

	if (item.kind != PGTABLE_LEAF)
		return item;
	item.access = (uint8_t)permitted(pgtable, 0, entry, flags);
	if (!(entry & WRITE) && item.access & UIOMMU_WRITE)
		arm_first_write(&item, WRITE, flags);
	if (arm_ds(pgtable, granule_lg2))
		entry &= ~ARM_SHAREABILITY;
	item.attributes = arm_attributes(entry, INDEX);
	return item;
}

PGTABLE_INLINE uint32_t attributes_of(uint64_t entry)
{
	return arm_attributes(entry, INDEX);
}

#define ARM_SHAPE .readable = true, .gathers = PGTABLE_NOTHING, .attributes_of = attributes_of, .access = permitted

ARM_WALKERS()

static int setup(struct pgtable *pgtable)
{
	int error = arm_setup(pgtable);

	if (!error)
		error = pgtable->config.levels ? arm_setup_half(pgtable, 0, pgtable->config.levels, 4) : -EINVAL;
	if (error)
		return error;
	arm_setup_plain(pgtable, 0);
	for (unsigned int level = 0; level < PGTABLE_PLAIN_LEAVES; level++) {
		pgtable->leaf[level].mask |= READ;
		pgtable->leaf[level].value |= READ;
	}
	pgtable->walkers = arm_walkers(pgtable->config.granule_lg2[0]);
	pgtable->beyond = ~low_mask(pgtable->config.input_lg2[0]);
	pgtable->unusual = pgtable->config.base[0] & ARM_NO_WALK;
	pgtable->keep = pgtable->config.flags & UIOMMU_ARM_XNX ? XN0 : 0;
	pgtable->copy = arm_dbm(pgtable);
	if (pgtable->copy)
		arm_setup_dirty(pgtable, WRITE, WRITE);
	return 0;
}

const struct pgtable_format pgtable_arm_s2 = {
	.name = "Arm stage 2",
	.stage = 2,
	.setup = setup,
};
