/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The page-table formats that the tables' tests link with, as long as there are none. What the tests put into their stage 2 tables
 * is what these do without looking: they move everything down by 1 GiB. To be deleted, here and in meson.build, when the formats
 * are there.
 */
#include "pgtable/pgtable.h"

static int setup(struct pgtable *pgtable)
{
	(void)pgtable;
	return 0;
}

static void walk(const struct pgtable *pgtable, uint64_t address, unsigned int flags, struct pgtable_result *out)
{
	(void)pgtable;
	(void)flags;
	*out = (struct pgtable_result){.oa = address - 0x40000000, .access = UIOMMU_READ | UIOMMU_WRITE, .page_lg2 = 21};
	if (address - 0x40200000 >= 0x200000)
		*out = (struct pgtable_result){.reason = UIOMMU_FAULT_UNMAPPED, .stage = 2};
}

const struct pgtable_format pgtable_arm_s1 = {.name = "stage 1", .stage = 1, .setup = setup};
const struct pgtable_format pgtable_arm_s2 = {.name = "stage 2", .stage = 2, .setup = setup, .walk_flat = walk, .walk_guest = walk};
const struct pgtable_format pgtable_riscv_first = {.name = "stage 1", .stage = 1, .setup = setup};
const struct pgtable_format pgtable_riscv_second = {
	.name = "stage 2", .stage = 2, .setup = setup, .walk_flat = walk, .walk_guest = walk};
