/* SPDX-License-Identifier: BSD-3-Clause */
/* RISC-V first stage (S and VS): Sv32, Sv39, Sv48 and Sv57. */
#include "pgtable/riscv_walk.h"

RISCV_WALKERS(0, true)

static int setup(struct pgtable *pgtable)
{
	int error = riscv_setup(pgtable, 0);

	if (error)
		return error;
	if (pgtable->config.levels == 2)
		pgtable->walkers = &sv32;
	else /* canonical */
		pgtable->sign = BIT64(pgtable->config.input_lg2[0] - 1);
	pgtable->keep = pgtable->config.flags & UIOMMU_RISCV_SUM ? UIOMMU_READ | UIOMMU_WRITE : 0;
	return 0;
}

const struct pgtable_format pgtable_riscv_first = {
	.name = "RISC-V first stage",
	.stage = 1,
	.setup = setup,
	.walkers = &sv64,
};
