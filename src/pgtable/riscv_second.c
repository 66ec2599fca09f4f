/* SPDX-License-Identifier: BSD-3-Clause */
/* RISC-V second stage (G): Sv32x4, Sv39x4, Sv48x4 and Sv57x4. Their roots are four tables in a row. */
#include "pgtable/riscv_walk.h"

static int setup(struct pgtable *pgtable)
{
	return riscv_setup(pgtable, 2);
}

/* To this stage every access is a user's. */
PGTABLE_INLINE unsigned int permitted(const struct pgtable *pgtable, uint64_t gathered, unsigned int flags)
{
	return riscv_permitted(pgtable, ~gathered, flags | PGTABLE_USER);
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
	.plain_shift = RISCV_PPN_SHIFT,
	.flip = RISCV_FLIP,
	.access = permitted,
	.begin = riscv_begin,
	.decode = decode,
};

static const struct pgtable_shape shape_sv32 = {
	.granule_lg2 = 12,
	.index_lg2 = 10,
	.entry_lg2 = 2,
	.plain_shift = RISCV_PPN_SHIFT,
	.flip = RISCV_FLIP,
	.access = permitted,
	.begin = riscv_begin,
	.decode = decode_sv32,
};

PGTABLE_WALKERS(sv64, shape)
PGTABLE_WALKERS(sv32, shape_sv32)

static void walk_flat(const struct pgtable *pgtable, uint64_t address, unsigned int flags, struct pgtable_result *out)
{
	if (likely(pgtable->config.levels != 2))
		sv64_flat(pgtable, address, flags, out);
	else
		sv32_flat(pgtable, address, flags, out);
}

static void walk_guest(const struct pgtable *pgtable, uint64_t address, unsigned int flags, struct pgtable_result *out)
{
	if (likely(pgtable->config.levels != 2))
		sv64_guest(pgtable, address, flags, out);
	else
		sv32_guest(pgtable, address, flags, out);
}

static void walk_nested(const struct pgtable *pgtable, uint64_t address, unsigned int flags, struct pgtable_result *out)
{
	if (likely(pgtable->config.levels != 2))
		sv64_nested(pgtable, address, flags, out);
	else
		sv32_nested(pgtable, address, flags, out);
}

const struct pgtable_format pgtable_riscv_second = {
	.name = "RISC-V second stage",
	.stage = 2,
	.plain_shift = RISCV_PPN_SHIFT,
	.setup = setup,
	.walk_flat = walk_flat,
	.walk_guest = walk_guest,
	.walk_nested = walk_nested,
};
