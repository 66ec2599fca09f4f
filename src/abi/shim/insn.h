/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An instruction of x86-64 that could not get at its memory, because what is there is no memory but a device's registers: it is
 * decoded, and what it does is done with calls in place of the access. Those that drivers use: moves of all sizes and to SSE
 * registers, arithmetic and comparisons, and the stores for devices: MOVDIRI, MOVDIR64B and ENQCMD, which the processor need not
 * have.
 */
#ifndef SHIM_INSN_H
#define SHIM_INSN_H

#include <stddef.h>
#include <stdint.h>

enum { INSN_LENGTH_MAX = 15, INSN_DIRECT = 64 };

struct insn_state {
	uint64_t gpr[16]; /* by their numbers: RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8, ... */
	uint64_t rip;
	uint64_t flags;
	uint8_t (*xmm)[16]; /* all 16 */
};

/* Each returns 0 or a negative errno; then nothing has happened. */
struct insn_bus {
	int (*read)(void *opaque, uint64_t address, void *out, unsigned int size);
	int (*write)(void *opaque, uint64_t address, const void *data, unsigned int size);
	int (*direct)(void *opaque, uint64_t address, uint64_t from); /* INSN_DIRECT bytes of the program's, in one piece */
	void *opaque;
};

/*
 * Do the one at state->rip, whose bytes are at @code; no byte behind it is looked at. 0; -ENOSYS: it is none of these; the bus's
 * error. After an error @state is as it was.
 */
int insn_do(struct insn_state *state, const uint8_t *code, size_t length, const struct insn_bus *bus);

#endif
