/* SPDX-License-Identifier: BSD-3-Clause */
/* What insn.c, insn_decode.c, insn_compute.c and insn_vector.c have of an instruction in common. */
#ifndef SHIM_INSN_PARTS_H
#define SHIM_INSN_PARTS_H

#include <stdbool.h>
#include <stdint.h>

#include "abi/shim/insn.h"

/* Numbers of registers. */
enum { RAX = 0, RCX = 1, RDX = 2, RBX = 3, RSP = 4, RBP = 5, RSI = 6, RDI = 7, NONE = 16, RIP = 17 };
enum { REX_B = 1, REX_X = 2, REX_R = 4, REX_W = 8 };

enum kind {
	LOAD,
	LOAD_IF,
	STORE,
	STORE_IF,
	COMPUTE,
	MULTIPLY,
	EXCHANGE,
	EXCHANGE_ADD,
	COMPARE_EXCHANGE,
	COMPARE_EXCHANGE_PAIR,
	PUSH,
	MOVS,
	CMPS,
	STOS,
	LODS,
	SCAS,
	VECTOR_LOAD,
	VECTOR_STORE,
	VECTOR_HALF,
	DIRECT,
	ENQUEUE
};
/* Operations: those of one byte and the first of bits as opcodes have them. */
enum { ADD, OR, ADC, SBB, AND, SUB, XOR, CMP, ROL, ROR, RCL, RCR, SHL, SHR, SAL, SAR, BT, BTS, BTR, BTC };
enum { TEST = BTC + 1, INC, DEC, NOT, NEG, IMUL, BSF, BSR, TZCNT, LZCNT, POPCNT, ANDN, BLSR, BLSMSK, BLSI };
enum { CF = 1, PF = 4, AF = 0x10, ZF = 0x40, SF = 0x80, DF = 0x400, OF = 0x800, RESULTS = CF | PF | AF | ZF | SF | OF };
/* Of what is not in memory. */
enum source { FROM_REGISTER, FROM_IMMEDIATE, FROM_CL, FROM_OTHER };
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
	bool sign, swap; /* LOAD: it is extended with its sign; and STORE: it is in the other order of bytes */
	uint8_t operation;
	bool to_register, keeps_flags;
	bool bits; /* the register says how far away a bit is */
	enum source source;
	uint8_t immediate_size;
	uint64_t value; /* the immediate one */
	uint8_t other; /* VEX: a third register; 0 where there is none */
	bool again; /* a string has not ended */

	/* Of vectors: */
	uint8_t width; /* bytes of a whole register */
	bool upper_row; /* EVEX.R': 16 to 31 */
	uint8_t mask, element; /* its register, or 0: none; bytes that a bit of it stands for */
	bool zeroes; /* what is masked */
	uint8_t from; /* VECTOR_STORE, VECTOR_HALF: byte of the register */
};

/* How many bytes it has; 0: it is not known. */
size_t insn_decode(struct insn *insn, const uint8_t *code, size_t length);

static inline uint64_t mask_of(unsigned int size)
{
	return size < 8 ? (UINT64_C(1) << (8 * size)) - 1 : UINT64_MAX;
}

static inline uint64_t sign_extended(uint64_t value, unsigned int size)
{
	return value >> (8 * size - 1) & 1 ? value | ~mask_of(size) : value;
}

/* Of values that are cut to @size; *@flags become what it leaves. */
uint64_t insn_compute(unsigned int operation, unsigned int size, uint64_t a, uint64_t b, uint64_t *flags);

/* @out: the lower half of the product and the upper one. */
void insn_multiply(bool sign, unsigned int size, uint64_t a, uint64_t b, uint64_t *flags, uint64_t out[2]);

/* What the last four bits of an opcode ask for. */
bool insn_condition(unsigned int code, uint64_t flags);

/* It is a move to or from a register of vectors, by its prefixes and opcode. */
bool insn_is_vector(struct insn *insn);

/* The processor has the registers that it can name. */
bool insn_has_vectors(const struct insn *insn, const struct insn_vectors *vectors);

/* As insn_do(). */
int insn_move_vector(const struct insn *insn, struct insn_state *state, uint64_t address, const struct insn_bus *bus);

#endif
