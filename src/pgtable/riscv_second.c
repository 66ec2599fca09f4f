/* SPDX-License-Identifier: BSD-3-Clause */
/* RISC-V second stage (G): Sv32x4, Sv39x4, Sv48x4 and Sv57x4. Their roots are four tables in a row. */
#include "pgtable/riscv_walk.h"

/* To this stage every access is a user's. */
RISCV_WALKERS(PGTABLE_USER, false)

static int setup(struct pgtable *pgtable)
{
	int error = riscv_setup(pgtable, 2);

	if (error)
		return error;
	if (pgtable->config.levels == 2)
		pgtable->walkers = &sv32;
	for (unsigned int level = 0; level < PGTABLE_PLAIN_LEAVES; level++) {
		pgtable->leaf[level].mask |= USER;
		pgtable->leaf[level].value |= USER;
	}
	return 0;
}

const struct pgtable_format pgtable_riscv_second = {
	.name = "RISC-V second stage",
	.stage = 2,
	.setup = setup,
	.walkers = &sv64,
};
