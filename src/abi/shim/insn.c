/* SPDX-License-Identifier: BSD-3-Clause */
#include "abi/shim/insn.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "abi/shim/insn_parts.h"

/* --- registers --- */

/* Of a whole one; as all that is in 32 bits, it clears what is above them. */
static void set_whole(uint64_t *reg, unsigned int size, uint64_t value)
{
	*reg = size == 4 ? (uint32_t)value : (*reg & ~mask_of(size)) | (value & mask_of(size));
}

/* AH, CH, DH and BH, which only instructions without REX know. */
static bool is_high(const struct insn *insn, unsigned int size)
{
	return size == 1 && !insn->has_rex && insn->reg >= 4;
}

static uint64_t get_register(const struct insn *insn, const struct insn_state *state, unsigned int size)
{
	if (is_high(insn, size))
		return state->gpr[insn->reg - 4] >> 8 & 0xff;
	return state->gpr[insn->reg] & mask_of(size);
}

static void set_register(const struct insn *insn, struct insn_state *state, unsigned int size, uint64_t value)
{
	uint64_t *reg = &state->gpr[insn->reg];

	if (is_high(insn, size))
		reg[-4] = (reg[-4] & ~UINT64_C(0xff00)) | (value & 0xff) << 8;
	else
		set_whole(reg, size, value);
}

/* Of the word in which a bit is, however far away that is. */
static uint64_t distance_of_bit(const struct insn *insn, const struct insn_state *state)
{
	const int64_t bit = (int64_t)sign_extended(state->gpr[insn->reg] & mask_of(insn->size), insn->size);

	return (uint64_t)(bit >> (insn->size == 8 ? 6 : insn->size == 4 ? 5 : 4)) * insn->size;
}

static uint64_t address_of(const struct insn *insn, const struct insn_state *state, size_t length)
{
	uint64_t address = (uint64_t)(int64_t)insn->displacement;

	if (insn->base == RIP)
		address += state->rip + length;
	else if (insn->base != NONE)
		address += state->gpr[insn->base];
	if (insn->index != NONE)
		address += state->gpr[insn->index] << insn->scale;
	if (insn->bits)
		address += distance_of_bit(insn, state);
	return insn->address32 ? (uint32_t)address : address;
}

/* --- doing it --- */

static uint64_t swapped(const struct insn *insn, uint64_t value)
{
	return insn->swap ? __builtin_bswap64(value) >> (64 - 8 * insn->size) : value;
}

static int load(const struct insn *insn, struct insn_state *state, uint64_t address, const struct insn_bus *bus)
{
	uint64_t value = 0;
	int error = bus->read(bus->opaque, address, &value, insn->size);

	if (error)
		return error;
	if (insn->sign)
		value = sign_extended(value, insn->size);
	set_register(insn, state, insn->wide ? insn->wide : insn->size, swapped(insn, value));
	return 0;
}

/* It is read whatever the condition says. */
static int load_if(const struct insn *insn, struct insn_state *state, uint64_t address, const struct insn_bus *bus)
{
	uint64_t value = 0;
	int error = bus->read(bus->opaque, address, &value, insn->size);

	if (!error)
		set_register(insn, state, insn->size,
			     insn_condition(insn->opcode, state->flags) ? value : get_register(insn, state, insn->size));
	return error;
}

/* What an operation has beside memory. */
static uint64_t operand(const struct insn *insn, const struct insn_state *state)
{
	switch (insn->source) {
	case FROM_IMMEDIATE:
		return insn->value & mask_of(insn->size);
	case FROM_CL:
		return state->gpr[RCX] & 0xff;
	case FROM_OTHER:
		return state->gpr[insn->other] & mask_of(insn->size);
	default:
		return get_register(insn, state, insn->size);
	}
}

static int store(const struct insn *insn, const struct insn_state *state, uint64_t address, const struct insn_bus *bus)
{
	uint64_t value = insn->kind == STORE_IF ? insn_condition(insn->opcode, state->flags) : swapped(insn, operand(insn, state));

	return bus->write(bus->opaque, address, &value, insn->size);
}

/* Nowhere, or, of a bit that there is not, the register keeps all that it has. */
static bool has_result(const struct insn *insn, uint64_t memory)
{
	switch (insn->operation) {
	case CMP:
	case TEST:
	case BT:
		return false;
	case BSF:
	case BSR:
		return memory;
	default:
		return true;
	}
}

static int arithmetic(const struct insn *insn, struct insn_state *state, uint64_t address, const struct insn_bus *bus)
{
	const unsigned int size = insn->size;
	const bool memory_first = !insn->to_register || (insn->operation >= ROL && insn->operation <= SAR);
	uint64_t other = operand(insn, state), memory = 0, result;
	uint64_t flags = state->flags;
	int error = bus->read(bus->opaque, address, &memory, size);

	if (error)
		return error;
	result = insn_compute(insn->operation, size, memory_first ? memory : other, memory_first ? other : memory, &flags);
	if (has_result(insn, memory) && insn->to_register)
		set_register(insn, state, size, result);
	else if (has_result(insn, memory))
		error = bus->write(bus->opaque, address, &result, size);
	if (!error && !insn->keeps_flags)
		state->flags = flags;
	return error;
}

/* RAX with memory to RDX and RAX, of one byte all to RAX; or, by VEX, RDX with memory to any two, and without flags. */
static int multiply(const struct insn *insn, struct insn_state *state, uint64_t address, const struct insn_bus *bus)
{
	const unsigned int size = insn->size;
	uint64_t memory = 0, product[2], flags = state->flags;
	int error = bus->read(bus->opaque, address, &memory, size);

	if (error)
		return error;
	insn_multiply(insn->sign, size, state->gpr[insn->encoding == VEX ? RDX : RAX] & mask_of(size), memory, &flags, product);
	if (insn->encoding == VEX) {
		set_whole(&state->gpr[insn->other], size, product[0]);
		set_whole(&state->gpr[insn->reg], size, product[1]);
		return 0;
	}
	state->flags = flags;
	if (size == 1) {
		set_whole(&state->gpr[RAX], 2, product[1] << 8 | product[0]);
		return 0;
	}
	set_whole(&state->gpr[RAX], size, product[0]);
	set_whole(&state->gpr[RDX], size, product[1]);
	return 0;
}

/* The register's value is there already when memory has the new one; or their sum is. */
static int exchange(const struct insn *insn, struct insn_state *state, uint64_t address, const struct insn_bus *bus)
{
	uint64_t value = get_register(insn, state, insn->size), memory = 0, flags = state->flags;
	int error = bus->read(bus->opaque, address, &memory, insn->size);

	if (error)
		return error;
	if (insn->kind == EXCHANGE_ADD)
		value = insn_compute(ADD, insn->size, memory, value, &flags);
	error = bus->write(bus->opaque, address, &value, insn->size);
	if (error)
		return error;
	set_register(insn, state, insn->size, memory);
	state->flags = flags;
	return 0;
}

/* Processors write in any case; if it is another, what they have read. */
static int compare_exchange(const struct insn *insn, struct insn_state *state, uint64_t address, const struct insn_bus *bus)
{
	const unsigned int size = insn->size;
	uint64_t value = get_register(insn, state, size), memory = 0, flags = state->flags;
	int error = bus->read(bus->opaque, address, &memory, size);

	if (error)
		return error;
	insn_compute(CMP, size, state->gpr[RAX] & mask_of(size), memory, &flags);
	error = bus->write(bus->opaque, address, flags & ZF ? &value : &memory, size);
	if (error)
		return error;
	if (!(flags & ZF))
		set_whole(&state->gpr[RAX], size, memory);
	state->flags = flags;
	return 0;
}

/* Two of @size: RDX and RAX, or RCX and RBX if those are what is there. */
static int compare_exchange_pair(const struct insn *insn, struct insn_state *state, uint64_t address, const struct insn_bus *bus)
{
	const unsigned int size = insn->size;
	const uint64_t *gpr = state->gpr;
	uint8_t memory[16], value[16];
	uint64_t low = 0, high = 0;
	bool same;
	int error = size == 8 && address % 16 ? -ENOSYS : bus->read(bus->opaque, address, memory, 2 * size);

	if (error)
		return error;
	memcpy(&low, memory, size);
	memcpy(&high, memory + size, size);
	memcpy(value, &gpr[RBX], size);
	memcpy(value + size, &gpr[RCX], size);
	same = low == (gpr[RAX] & mask_of(size)) && high == (gpr[RDX] & mask_of(size));
	error = bus->write(bus->opaque, address, same ? value : memory, 2 * size);
	if (error)
		return error;
	state->flags = same ? state->flags | ZF : state->flags & ~(uint64_t)ZF;
	if (!same) {
		set_whole(&state->gpr[RAX], size, low);
		set_whole(&state->gpr[RDX], size, high);
	}
	return 0;
}

static int push(const struct insn *insn, struct insn_state *state, uint64_t address, const struct insn_bus *bus)
{
	int error = bus->copy(bus->opaque, state->gpr[RSP] - insn->size, address, insn->size);

	if (!error)
		state->gpr[RSP] -= insn->size;
	return error;
}

/* RAX, or what RSI points at, with what RDI points at. */
static int compare_string(const struct insn *insn, struct insn_state *state, uint64_t from, uint64_t to, const struct insn_bus *bus)
{
	uint64_t a = state->gpr[RAX] & mask_of(insn->size), b = 0;
	int error;

	if (insn->kind == CMPS) {
		a = 0;
		error = bus->fetch(bus->opaque, from, &a, insn->size);
		if (error)
			return error;
	}
	error = bus->fetch(bus->opaque, to, &b, insn->size);
	if (!error)
		insn_compute(CMP, insn->size, a, b, &state->flags);
	return error;
}

static int once(const struct insn *insn, struct insn_state *state, uint64_t from, uint64_t to, const struct insn_bus *bus)
{
	switch (insn->kind) {
	case MOVS:
		return bus->copy(bus->opaque, to, from, insn->size);
	case STOS:
		return bus->write(bus->opaque, to, &state->gpr[RAX], insn->size);
	case LODS:
		return load(insn, state, from, bus);
	default:
		return compare_string(insn, state, from, to, bus);
	}
}

/* One of it; then it is the same instruction again, as after an interrupt, until all are done, or one is what is looked for. */
static int string_once(struct insn *insn, struct insn_state *state, const struct insn_bus *bus)
{
	const uint64_t mask = insn->address32 ? UINT32_MAX : UINT64_MAX, from = state->gpr[RSI] & mask, to = state->gpr[RDI] & mask;
	const uint64_t step = state->flags & DF ? -(uint64_t)insn->size : insn->size, count = state->gpr[RCX] & mask;
	const bool compares = insn->kind == CMPS || insn->kind == SCAS;
	int error;

	if (insn->repeat && !count)
		return 0;
	error = once(insn, state, from, to, bus);
	if (error)
		return error;
	if (insn->kind != STOS && insn->kind != SCAS)
		state->gpr[RSI] = (from + step) & mask;
	if (insn->kind != LODS)
		state->gpr[RDI] = (to + step) & mask;
	if (!insn->repeat)
		return 0;
	state->gpr[RCX] = count - 1;
	insn->again = count > 1 && (!compares || !(state->flags & ZF) == (insn->repeat == 0xf2));
	return 0;
}

/* The register has the destination, and memory what goes there. What accepts it says so with ZF clear; nothing here refuses. */
static int direct(const struct insn *insn, struct insn_state *state, uint64_t from, const struct insn_bus *bus)
{
	uint64_t to = state->gpr[insn->reg];
	int error;

	to = insn->address32 ? (uint32_t)to : to;
	error = to % INSN_DIRECT ? -ENOSYS : bus->copy(bus->opaque, to, from, INSN_DIRECT);
	if (!error && insn->kind == ENQUEUE)
		state->flags &= ~(uint64_t)RESULTS;
	return error;
}

static int run(struct insn *insn, struct insn_state *state, uint64_t address, const struct insn_bus *bus)
{
	switch (insn->kind) {
	case LOAD:
		return load(insn, state, address, bus);
	case LOAD_IF:
		return load_if(insn, state, address, bus);
	case STORE:
	case STORE_IF:
		return store(insn, state, address, bus);
	case COMPUTE:
		return arithmetic(insn, state, address, bus);
	case MULTIPLY:
		return multiply(insn, state, address, bus);
	case EXCHANGE:
	case EXCHANGE_ADD:
		return exchange(insn, state, address, bus);
	case COMPARE_EXCHANGE:
		return compare_exchange(insn, state, address, bus);
	case COMPARE_EXCHANGE_PAIR:
		return compare_exchange_pair(insn, state, address, bus);
	case PUSH:
		return push(insn, state, address, bus);
	case DIRECT:
	case ENQUEUE:
		return direct(insn, state, address, bus);
	case VECTOR_LOAD:
	case VECTOR_STORE:
	case VECTOR_HALF:
		return insn_move_vector(insn, state, address, bus);
	default:
		return string_once(insn, state, bus);
	}
}

int insn_do(struct insn_state *state, const uint8_t *code, size_t length, const struct insn_bus *bus)
{
	struct insn insn = {0};
	size_t taken = insn_decode(&insn, code, length);
	int error;

	if (!taken || !insn_has_vectors(&insn, state->vectors))
		return -ENOSYS;
	error = run(&insn, state, address_of(&insn, state, taken), bus);
	if (!error && !insn.again)
		state->rip += taken;
	return error;
}
