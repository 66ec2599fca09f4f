/* SPDX-License-Identifier: BSD-3-Clause */
/* Instructions that are made at random, run by the processor on memory, and done with calls on a copy of it. */
#ifndef INSN_PROCESSOR_H
#define INSN_PROCESSOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "abi/shim/insn.h"

enum { INSN_PAGE = 4096, INSN_AREA = 4096, INSN_VECTOR = 64 };
enum { CF = 1, PF = 4, AF = 0x10, ZF = 0x40, SF = 0x80, DF = 0x400, OF = 0x800, FLAGS = CF | PF | AF | ZF | SF | OF };
enum { RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI };

struct registers {
	uint8_t area[INSN_AREA] __attribute__((aligned(64)));
	uint64_t gpr[16], flags;
};

/* Of an instruction that is being made. */
struct made {
	uint8_t bytes[INSN_LENGTH_MAX + 1];
	size_t length;
	uint8_t rex, reg, base, index, scale;
	bool has_rex, narrow, address32, sse;
	bool far; /* its target is anywhere */
	int extension; /* in place of a register; or -1 */
	unsigned int immediate; /* bytes */
	unsigned int step; /* of a displacement of one byte */
	uint64_t target;
	uint64_t undefined; /* flags */
};

/* A page below 4 GiB, where an address of 32 bits reaches, and its copy, which insn_bus is for. */
extern uint8_t *insn_memory, insn_copy[INSN_PAGE];
extern const struct insn_bus insn_bus;
extern uint32_t insn_parts; /* of the processor's and the kernel's: INSN_SSE and so on */

int insn_setup(void **state);
uint64_t any(void);
void byte(struct made *made, unsigned int value);
void bytes(struct made *made, uint64_t value, unsigned int count);

/* ModRM and what is behind it; sets the registers so that it leads to the target. */
void operand(struct made *made, struct registers *in, const uint8_t *place);

/* @make: false: not this one. @place is where it will be. */
void compare_with_the_processor(bool (*make)(struct made *, struct registers *, const uint8_t *place));

#endif
