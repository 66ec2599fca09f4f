/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An instruction of x86-64 that could not get at its memory, because what is there is no memory but a device's registers: it is
 * decoded, and what it does is done with calls in place of the access. Those that drivers use, and that compilers and the C library
 * make of operators, of atomics and of copies: moves of all sizes, to SSE, AVX and AVX-512 registers too, arithmetic (but no
 * division), comparisons, shifts and single bits, exchanges, PUSH, strings, and the stores for devices: MOVDIRI, MOVDIR64B and
 * ENQCMD, which the processor need not have. LOCK is as on PCI Express, where nothing is locked: a read and a write.
 */
#ifndef SHIM_INSN_H
#define SHIM_INSN_H

#include <stddef.h>
#include <stdint.h>

enum { INSN_LENGTH_MAX = 15, INSN_DIRECT = 64 };

/* As XSTATE_BV names them (architecture manual, volume 1, 13.1). */
enum { INSN_SSE = 1 << 1, INSN_AVX = 1 << 2, INSN_MASKS = 1 << 5, INSN_ZMM = 1 << 6, INSN_MORE = 1 << 7 };

/* Registers, where they have been saved. NULL: the processor has none. */
struct insn_vectors {
	uint8_t (*xmm)[16]; /* 0 to 15 */
	uint8_t (*ymm)[16]; /* their upper halves, */
	uint8_t (*zmm)[32]; /* and the halves above these */
	uint8_t (*more)[64]; /* 16 to 31 */
	const uint64_t *masks; /* 8 */
	uint32_t written; /* which of these have been */
};

struct insn_state {
	uint64_t gpr[16]; /* by their numbers: RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8, ... */
	uint64_t rip;
	uint64_t flags;
	struct insn_vectors *vectors;
};

/* Each returns 0 or a negative errno; then nothing has happened. */
struct insn_bus {
	int (*read)(void *opaque, uint64_t address, void *out, unsigned int size);
	int (*write)(void *opaque, uint64_t address, const void *data, unsigned int size);
	int (*fetch)(void *opaque, uint64_t address, void *out, unsigned int size); /* of registers or of memory */
	int (*copy)(void *opaque, uint64_t to, uint64_t from, unsigned int size); /* one of both, or each, is registers */
	void *opaque;
};

/*
 * Do the one at state->rip, whose bytes are at @code; no byte behind it is looked at. Of one that is repeated, do it once. 0;
 * -ENOSYS: it is none of these; the bus's error. After an error @state is as it was.
 */
int insn_do(struct insn_state *state, const uint8_t *code, size_t length, const struct insn_bus *bus);

#endif
