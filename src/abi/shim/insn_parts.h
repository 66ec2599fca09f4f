/* SPDX-License-Identifier: BSD-3-Clause */
/* What insn.c and insn_vector.c have of an instruction in common. */
#ifndef SHIM_INSN_PARTS_H
#define SHIM_INSN_PARTS_H

#include <stdbool.h>
#include <stdint.h>

#include "abi/shim/insn.h"

enum { REX_B = 1, REX_X = 2, REX_R = 4, REX_W = 8 };

enum kind { LOAD, STORE, COMPUTE, EXCHANGE, MOVS, STOS, LODS, VECTOR_LOAD, VECTOR_STORE, VECTOR_HALF, DIRECT, ENQUEUE };
enum encoding { LEGACY, VEX, EVEX };
/* What stands before an opcode, in the order in which VEX has it. */
enum prefix { P_NONE, P_66, P_F3, P_F2 };

struct insn {
	enum kind kind;
	enum encoding encoding;
	uint8_t rex, repeat, map, opcode;
	bool has_rex, narrow, address32, segment, lock;
	uint8_t reg, extension; /* of ModRM: with and without REX.R */
	uint8_t base, index, scale; /* numbers, NONE, RIP */
	int32_t displacement;
	bool short_displacement;
	uint8_t size; /* of what is in memory, bytes */
	uint8_t wide; /* LOAD: of the register, if it is extended; 0: the same */
	bool sign;
	uint8_t operation;
	bool to_register;
	uint8_t immediate_size;
	bool immediate;
	uint64_t value;
	bool again; /* a string has not ended */

	/* Of vectors: */
	uint8_t width; /* bytes of a whole register */
	uint8_t other; /* a third register; 0 where there is none */
	bool upper_row; /* EVEX.R': 16 to 31 */
	uint8_t mask, element; /* its register, or 0: none; bytes that a bit of it stands for */
	bool zeroes; /* what is masked */
	uint8_t from; /* VECTOR_STORE, VECTOR_HALF: byte of the register */
};

/* It is a move to or from a register of vectors, by its prefixes and opcode. */
bool insn_is_vector(struct insn *insn);

/* The processor has the registers that it can name. */
bool insn_has_vectors(const struct insn *insn, const struct insn_vectors *vectors);

/* As insn_do(). */
int insn_move_vector(const struct insn *insn, struct insn_state *state, uint64_t address, const struct insn_bus *bus);

#endif
