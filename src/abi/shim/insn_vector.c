/* SPDX-License-Identifier: BSD-3-Clause */
/* Moves between memory and the registers of SSE, AVX and AVX-512. */
#include <string.h>

#include "abi/shim/insn_parts.h"

enum { WHOLE = 0, BY_W = 1 }; /* sizes */
enum { W_ANY = 0, W0 = 1, W1 = 2 };
enum { P_FLOAT = P_F2 + 1 }; /* none and W0, or 66 and W1: of floats or of doubles */
enum { NOT_EVEX = 1, NOT_MASKED = 2, ONLY_EVEX = 4, UPPER = 8 };

struct vector_move {
	uint8_t map, prefix, opcode;
	enum kind kind;
	uint8_t size; /* bytes, WHOLE, or BY_W: 4 or 8 */
	uint8_t w; /* that EVEX has to have */
	uint8_t element; /* bytes that a bit of a mask stands for, twice as many if W is set; 0: there are no masks */
	uint8_t flags;
};

static const struct vector_move vector_moves[] = {
	/* MOVUPS, MOVUPD, MOVSS, MOVSD */
	{1, P_FLOAT, 0x10, VECTOR_LOAD, WHOLE, W_ANY, 4, 0},
	{1, P_F3, 0x10, VECTOR_LOAD, 4, W0, 4, 0},
	{1, P_F2, 0x10, VECTOR_LOAD, 8, W1, 4, 0},
	{1, P_FLOAT, 0x11, VECTOR_STORE, WHOLE, W_ANY, 4, 0},
	{1, P_F3, 0x11, VECTOR_STORE, 4, W0, 4, 0},
	{1, P_F2, 0x11, VECTOR_STORE, 8, W1, 4, 0},
	/* MOVLPS, MOVLPD, MOVHPS, MOVHPD */
	{1, P_FLOAT, 0x12, VECTOR_HALF, 8, W_ANY, 0, NOT_MASKED},
	{1, P_FLOAT, 0x13, VECTOR_STORE, 8, W_ANY, 0, NOT_MASKED},
	{1, P_FLOAT, 0x16, VECTOR_HALF, 8, W_ANY, 0, NOT_MASKED | UPPER},
	{1, P_FLOAT, 0x17, VECTOR_STORE, 8, W_ANY, 0, NOT_MASKED | UPPER},
	/* MOVAPS, MOVAPD, MOVNTPS, MOVNTPD */
	{1, P_FLOAT, 0x28, VECTOR_LOAD, WHOLE, W_ANY, 4, 0},
	{1, P_FLOAT, 0x29, VECTOR_STORE, WHOLE, W_ANY, 4, 0},
	{1, P_FLOAT, 0x2b, VECTOR_STORE, WHOLE, W_ANY, 0, NOT_MASKED},
	/* MOVD, MOVQ */
	{1, P_66, 0x6e, VECTOR_LOAD, BY_W, W_ANY, 0, NOT_MASKED},
	{1, P_66, 0x7e, VECTOR_STORE, BY_W, W_ANY, 0, NOT_MASKED},
	{1, P_F3, 0x7e, VECTOR_LOAD, 8, W1, 0, NOT_MASKED},
	{1, P_66, 0xd6, VECTOR_STORE, 8, W1, 0, NOT_MASKED},
	/* MOVDQA, MOVDQU, and those of elements */
	{1, P_66, 0x6f, VECTOR_LOAD, WHOLE, W_ANY, 4, 0},
	{1, P_F3, 0x6f, VECTOR_LOAD, WHOLE, W_ANY, 4, 0},
	{1, P_F2, 0x6f, VECTOR_LOAD, WHOLE, W_ANY, 1, ONLY_EVEX},
	{1, P_66, 0x7f, VECTOR_STORE, WHOLE, W_ANY, 4, 0},
	{1, P_F3, 0x7f, VECTOR_STORE, WHOLE, W_ANY, 4, 0},
	{1, P_F2, 0x7f, VECTOR_STORE, WHOLE, W_ANY, 1, ONLY_EVEX},
	/* MOVNTDQ, MOVNTDQA, LDDQU */
	{1, P_66, 0xe7, VECTOR_STORE, WHOLE, W0, 0, NOT_MASKED},
	{2, P_66, 0x2a, VECTOR_LOAD, WHOLE, W0, 0, NOT_MASKED},
	{1, P_F2, 0xf0, VECTOR_LOAD, WHOLE, W_ANY, 0, NOT_EVEX},
};

static const struct vector_move *find_move(const struct insn *insn)
{
	const uint8_t prefix = insn->repeat == 0xf3 ? P_F3 : insn->repeat ? P_F2 : insn->narrow ? P_66 : P_NONE;

	for (size_t i = 0; i < sizeof(vector_moves) / sizeof(vector_moves[0]); i++) {
		const struct vector_move *move = &vector_moves[i];

		if (move->map != insn->map || move->opcode != insn->opcode)
			continue;
		if (move->prefix == prefix || (move->prefix == P_FLOAT && prefix <= P_66))
			return move;
	}
	return NULL;
}

/* What an encoding must not say of it. */
static bool move_allows(const struct vector_move *move, const struct insn *insn)
{
	const bool w = insn->rex & REX_W;

	if (insn->other && move->kind != VECTOR_HALF)
		return false;
	if (insn->width > 16 && move->size != WHOLE && move->flags & NOT_MASKED)
		return false;
	if (insn->encoding != EVEX)
		return !(move->flags & ONLY_EVEX);
	if ((move->w == W0 && w) || (move->w == W1 && !w) || (move->prefix == P_FLOAT && w != insn->narrow))
		return false;
	return !(move->flags & NOT_EVEX) && !(move->flags & NOT_MASKED && insn->mask) &&
	       !(insn->zeroes && move->kind == VECTOR_STORE);
}

bool insn_is_vector(struct insn *insn)
{
	const struct vector_move *move = find_move(insn);
	const bool w = insn->rex & REX_W;

	if (!move || !move_allows(move, insn))
		return false;
	insn->from = move->flags & UPPER ? 8 : 0;
	insn->element = (uint8_t)(w ? 2 * move->element : move->element);
	insn->kind = move->kind;
	insn->size = move->size == WHOLE ? insn->width : move->size == BY_W ? (w ? 8 : 4) : move->size;
	if (insn->encoding == EVEX && insn->short_displacement)
		insn->displacement *= insn->size;
	return true;
}

/* --- doing it --- */

enum { VECTOR = 64, HALF = 8 };

bool insn_has_vectors(const struct insn *insn, const struct insn_vectors *vectors)
{
	if (insn->encoding == EVEX)
		return vectors->zmm && vectors->more && vectors->masks;
	return insn->encoding == LEGACY || vectors->ymm;
}

static void get_vector(const struct insn_vectors *vectors, unsigned int reg, uint8_t *out)
{
	if (reg >= 16) {
		memcpy(out, vectors->more[reg - 16], VECTOR);
		return;
	}
	memset(out, 0, VECTOR);
	memcpy(out, vectors->xmm[reg], 16);
	if (vectors->ymm)
		memcpy(out + 16, vectors->ymm[reg], 16);
	if (vectors->zmm)
		memcpy(out + 32, vectors->zmm[reg], 32);
}

/* Only SSE's instructions leave what is above 16 bytes as it was. */
static void set_vector(const struct insn *insn, struct insn_vectors *vectors, const uint8_t *value)
{
	if (insn->reg >= 16) {
		memcpy(vectors->more[insn->reg - 16], value, VECTOR);
		vectors->written |= INSN_MORE;
		return;
	}
	memcpy(vectors->xmm[insn->reg], value, 16);
	vectors->written |= INSN_SSE;
	if (insn->encoding == LEGACY || !vectors->ymm)
		return;
	memcpy(vectors->ymm[insn->reg], value + 16, 16);
	vectors->written |= INSN_AVX;
	if (!vectors->zmm)
		return;
	memcpy(vectors->zmm[insn->reg], value + 32, 32);
	vectors->written |= INSN_ZMM;
}

/* What a mask leaves out is not accessed. */
static int access_vector(const struct insn *insn, const struct insn_state *state, uint64_t address, const struct insn_bus *bus,
			 uint8_t *value)
{
	const unsigned int element = insn->mask ? insn->element : insn->size, count = insn->size / element;
	const uint64_t bits = insn->mask ? state->vectors->masks[insn->mask] : 1;
	unsigned int end;
	int error = 0;

	for (unsigned int first = 0; first < count && !error; first = end + 1) {
		const unsigned int at = first * element;

		for (end = first; end < count && bits >> end & 1; end++)
			;
		if (end == first)
			continue;
		error = insn->kind == VECTOR_STORE ? bus->write(bus->opaque, address + at, value + at, (end - first) * element)
						   : bus->read(bus->opaque, address + at, value + at, (end - first) * element);
	}
	return error;
}

static int store_vector(const struct insn *insn, const struct insn_state *state, uint64_t address, const struct insn_bus *bus)
{
	uint8_t value[VECTOR];

	get_vector(state->vectors, insn->reg, value);
	return access_vector(insn, state, address, bus, value + insn->from);
}

/* What is smaller leaves zeroes behind it. */
static int load_vector(const struct insn *insn, struct insn_state *state, uint64_t address, const struct insn_bus *bus)
{
	uint8_t value[VECTOR];
	int error;

	get_vector(state->vectors, insn->reg, value);
	memset(insn->zeroes ? value : value + insn->size, 0, insn->zeroes ? VECTOR : VECTOR - insn->size);
	error = access_vector(insn, state, address, bus, value);
	if (!error)
		set_vector(insn, state->vectors, value);
	return error;
}

/* The other half is that of a third register, or stays. */
static int load_half(const struct insn *insn, struct insn_state *state, uint64_t address, const struct insn_bus *bus)
{
	uint8_t value[VECTOR];
	int error;

	get_vector(state->vectors, insn->encoding == LEGACY ? insn->reg : insn->other, value);
	memset(value + 16, 0, VECTOR - 16);
	error = bus->read(bus->opaque, address, value + insn->from, HALF);
	if (!error)
		set_vector(insn, state->vectors, value);
	return error;
}

int insn_move_vector(const struct insn *insn, struct insn_state *state, uint64_t address, const struct insn_bus *bus)
{
	switch (insn->kind) {
	case VECTOR_LOAD:
		return load_vector(insn, state, address, bus);
	case VECTOR_STORE:
		return store_vector(insn, state, address, bus);
	default:
		return load_half(insn, state, address, bus);
	}
}
