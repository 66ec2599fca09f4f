/* SPDX-License-Identifier: BSD-3-Clause */
/* RISC-V second stage (G): Sv32x4, Sv39x4, Sv48x4 and Sv57x4. Their roots are four tables in a row. */
#include "pgtable/riscv_walk.h"

/* To this stage every access is a user's. */
PGTABLE_INLINE unsigned int permitted(const struct pgtable *pgtable, uint64_t above, uint64_t leaf, unsigned int flags)
{
	return riscv_permitted(pgtable, above, leaf, flags | PGTABLE_USER);
}

PGTABLE_INLINE struct pgtable_item decode(const struct pgtable *pgtable, uint64_t entry, unsigned int flags,
					  const struct pgtable_cursor *cursor)
{
	return riscv_decode(pgtable, entry, flags | PGTABLE_USER, cursor->level, 9);
}

PGTABLE_INLINE struct pgtable_item decode_sv32(const struct pgtable *pgtable, uint64_t entry, unsigned int flags,
					       const struct pgtable_cursor *cursor)
{
	return riscv_decode(pgtable, entry, flags | PGTABLE_USER, cursor->level, 10);
}

static const struct pgtable_shape shape = {
	.granule_lg2 = 12,
	.index_lg2 = 9,
	.entry_lg2 = 3,
	.usual_top = 3,
	.plain_shift = RISCV_PPN_SHIFT,
	.gathers = PGTABLE_NOTHING,
	.access = permitted,
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
	.access = permitted,
	.begin = riscv_begin,
	.decode = decode_sv32,
};

PGTABLE_WALKERS(sv64, shape)
PGTABLE_WALKERS(sv32, shape_sv32)

static int setup(struct pgtable *pgtable)
{
	int error = riscv_setup(pgtable, 2);

	if (!error && pgtable->config.levels == 2)
		pgtable->walkers = &sv32;
	return error;
}

const struct pgtable_format pgtable_riscv_second = {
	.name = "RISC-V second stage",
	.stage = 2,
	.setup = setup,
	.walkers = &sv64,
};
