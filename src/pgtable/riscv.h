/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef PGTABLE_RISCV_H
#define PGTABLE_RISCV_H

enum {
	RISCV_ADUE = 1, /* hardware sets A and D (SADE/GADE) */
	RISCV_SVNAPOT = 2,
	RISCV_SVPBMT = 4,
	RISCV_SUM = 8, /* privileged accesses may touch user pages */
	RISCV_MXR = 16, /* not used */
};

#endif
