/* SPDX-License-Identifier: BSD-3-Clause */
/* RISC-V first stage (S and VS): Sv32, Sv39, Sv48 and Sv57. */
#include "pgtable/riscv_walk.h"

PGTABLE_INLINE struct pgtable_item decode(const struct pgtable *pgtable, uint64_t entry, unsigned int flags,
					  const struct pgtable_cursor *cursor)
{
	return riscv_decode(pgtable, entry, flags, cursor->level, 9);
}

PGTABLE_INLINE struct pgtable_item decode_sv32(const struct pgtable *pgtable, uint64_t entry, unsigned int flags,
					       const struct pgtable_cursor *cursor)
{
	return riscv_decode(pgtable, entry, flags, cursor->level, 10);
}

static const struct pgtable_shape shape = {
	.granule_lg2 = 12,
	.index_lg2 = 9,
	.entry_lg2 = 3,
	.usual_top = 3,
	.canonical = true,
	.plain_shift = RISCV_PPN_SHIFT,
	.gathers = PGTABLE_NOTHING,
	.access = riscv_permitted,
	.begin = riscv_begin,
	.decode = decode,
};

static const struct pgtable_shape shape_sv32 = {
	.granule_lg2 = 12,
	.index_lg2 = 10,
	.entry_lg2 = 2,
	.usual_top = 1,
	.plain_shift = RISCV_PPN_SHIFT,
	.gathers = PGTABLE_NOTHING,
	.access = riscv_permitted,
	.begin = riscv_begin,
	.decode = decode_sv32,
};

PGTABLE_WALKERS(sv64, shape)
PGTABLE_WALKERS(sv32, shape_sv32)

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
