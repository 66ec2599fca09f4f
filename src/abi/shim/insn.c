/* SPDX-License-Identifier: BSD-3-Clause */
#include "abi/shim/insn.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

enum { REX_B = 1, REX_X = 2, REX_R = 4, REX_W = 8 };
enum { RSP = 4, RBP = 5, NONE = 16, RIP = 17 };
enum { CF = 1, PF = 4, AF = 0x10, ZF = 0x40, SF = 0x80, OF = 0x800, RESULTS = CF | PF | AF | ZF | SF | OF };
/* As opcodes have them; TEST is what is left. */
enum { ADD, OR, ADC, SBB, AND, SUB, XOR, CMP, TEST };

enum kind { LOAD, STORE, COMPUTE, XMM_LOAD, XMM_STORE, DIRECT, ENQUEUE };

struct insn {
	enum kind kind;
	uint8_t rex, repeat, map, opcode;
	bool has_rex, narrow, address32, segment;
	uint8_t reg, extension; /* of ModRM: with and without REX.R */
	uint8_t base, index, scale; /* numbers, NONE, RIP */
	int32_t displacement;
	uint8_t size; /* of what is in memory, bytes */
	uint8_t wide; /* LOAD: of the register, if it is extended; 0: the same */
	bool sign;
	uint8_t operation;
	bool to_register;
	uint8_t immediate_size;
	bool immediate;
	uint64_t value;
};

/* --- bytes --- */

struct bytes {
	const uint8_t *at;
	size_t taken, length;
	bool over;
};

static uint8_t next(struct bytes *bytes)
{
	if (bytes->taken == bytes->length) {
		bytes->over = true;
		return 0;
	}
	return bytes->at[bytes->taken++];
}

static int64_t next_signed(struct bytes *bytes, unsigned int size)
{
	uint64_t value = 0;

	for (unsigned int i = 0; i < size; i++)
		value |= (uint64_t)next(bytes) << (8 * i);
	return size < 8 ? (int64_t)(value << (64 - 8 * size)) >> (64 - 8 * size) : (int64_t)value;
}

/* The opcode, after all that stands in front of it. */
static uint8_t prefixes(struct insn *insn, struct bytes *bytes)
{
	for (;;) {
		uint8_t byte = next(bytes);

		switch (byte) {
		case 0x66:
			insn->narrow = true;
			break;
		case 0x67:
			insn->address32 = true;
			break;
		case 0xf2:
		case 0xf3:
			insn->repeat = byte;
			break;
		case 0x64:
		case 0x65:
			insn->segment = true;
			break;
		case 0x26:
		case 0x2e:
		case 0x36:
		case 0x3e:
			break;
		default:
			if ((byte & 0xf0) != 0x40)
				return byte;
			insn->rex = byte;
			insn->has_rex = true;
			return next(bytes);
		}
		if (bytes->over)
			return 0;
	}
}

/* False: it is no memory. */
static bool operands(struct insn *insn, struct bytes *bytes)
{
	uint8_t byte = next(bytes), mode = byte >> 6, rm = byte & 7;

	insn->extension = byte >> 3 & 7;
	insn->reg = (uint8_t)(insn->extension | (insn->rex & REX_R ? 8 : 0));
	insn->index = NONE;
	insn->base = (uint8_t)(rm | (insn->rex & REX_B ? 8 : 0));
	if (mode == 3)
		return false;
	if (rm == RSP) {
		uint8_t sib = next(bytes);

		insn->scale = sib >> 6;
		insn->index = (uint8_t)((sib >> 3 & 7) | (insn->rex & REX_X ? 8 : 0));
		if (insn->index == RSP)
			insn->index = NONE;
		rm = sib & 7;
		insn->base = (uint8_t)(rm | (insn->rex & REX_B ? 8 : 0));
		if (!mode && rm == RBP)
			insn->base = NONE;
	} else if (!mode && rm == RBP) {
		insn->base = RIP;
	}
	if (mode == 1)
		insn->displacement = (int32_t)next_signed(bytes, 1);
	else if (mode == 2 || insn->base == NONE || insn->base == RIP)
		insn->displacement = (int32_t)next_signed(bytes, 4);
	return true;
}

/* --- opcodes --- */

static uint8_t operand_size(const struct insn *insn)
{
	return insn->rex & REX_W ? 8 : insn->narrow ? 2 : 4;
}

/* The lowest bit of an opcode says whether it is of one byte. */
static uint8_t size_by_bit(const struct insn *insn)
{
	return insn->opcode & 1 ? operand_size(insn) : 1;
}

static bool is(struct insn *insn, enum kind kind, uint8_t size)
{
	insn->kind = kind;
	insn->size = size;
	return true;
}

static bool extends(struct insn *insn, uint8_t from, bool sign)
{
	insn->wide = operand_size(insn);
	insn->sign = sign;
	return is(insn, LOAD, from);
}

static bool computes(struct insn *insn, unsigned int operation, uint8_t size)
{
	insn->operation = (uint8_t)operation;
	return is(insn, COMPUTE, size);
}

static bool with_immediate(struct insn *insn, uint8_t size)
{
	insn->immediate = true;
	insn->immediate_size = size;
	return true;
}

static uint8_t full_immediate(uint8_t size)
{
	return size == 8 ? 4 : size;
}

static bool one_byte(struct insn *insn)
{
	uint8_t size = size_by_bit(insn);

	if (insn->repeat)
		return false;
	if (insn->opcode < 0x40 && (insn->opcode & 7) < 4) {
		insn->to_register = insn->opcode & 2;
		return computes(insn, insn->opcode >> 3, size);
	}
	switch (insn->opcode) {
	case 0x63:
		return extends(insn, 4, true);
	case 0x80:
	case 0x81:
		return computes(insn, insn->extension, size) && with_immediate(insn, full_immediate(size));
	case 0x83:
		return computes(insn, insn->extension, size) && with_immediate(insn, 1);
	case 0x84:
	case 0x85:
		return computes(insn, TEST, size);
	case 0x88:
	case 0x89:
		return is(insn, STORE, size);
	case 0x8a:
	case 0x8b:
		return is(insn, LOAD, size);
	case 0xc6:
	case 0xc7:
		return !insn->extension && is(insn, STORE, size) && with_immediate(insn, full_immediate(size));
	case 0xf6:
	case 0xf7:
		return insn->extension < 2 && computes(insn, TEST, size) && with_immediate(insn, full_immediate(size));
	default:
		return false;
	}
}

/* Of what is in an SSE register; what is loaded and smaller leaves zeroes behind it. */
static bool two_bytes(struct insn *insn)
{
	const unsigned int prefix = insn->repeat ? insn->repeat : insn->narrow ? 0x66 : 0;

	switch (insn->opcode) {
	case 0xb6:
	case 0xb7:
		return extends(insn, insn->opcode == 0xb6 ? 1 : 2, false);
	case 0xbe:
	case 0xbf:
		return extends(insn, insn->opcode == 0xbe ? 1 : 2, true);
	case 0x10:
		return is(insn, XMM_LOAD, prefix == 0xf3 ? 4 : prefix == 0xf2 ? 8 : 16);
	case 0x11:
		return is(insn, XMM_STORE, prefix == 0xf3 ? 4 : prefix == 0xf2 ? 8 : 16);
	case 0x28:
		return !insn->repeat && is(insn, XMM_LOAD, 16);
	case 0x29:
	case 0x2b:
		return !insn->repeat && is(insn, XMM_STORE, 16);
	case 0x6e:
		return prefix == 0x66 && is(insn, XMM_LOAD, insn->rex & REX_W ? 8 : 4);
	case 0x6f:
		return (prefix == 0x66 || prefix == 0xf3) && is(insn, XMM_LOAD, 16);
	case 0x7e:
		return prefix == 0xf3	? is(insn, XMM_LOAD, 8)
		       : prefix == 0x66 ? is(insn, XMM_STORE, insn->rex & REX_W ? 8 : 4)
					: false;
	case 0x7f:
		return (prefix == 0x66 || prefix == 0xf3) && is(insn, XMM_STORE, 16);
	case 0xc3:
		return !prefix && is(insn, STORE, operand_size(insn));
	case 0xd6:
		return prefix == 0x66 && is(insn, XMM_STORE, 8);
	case 0xe7:
		return prefix == 0x66 && is(insn, XMM_STORE, 16);
	default:
		return false;
	}
}

static bool three_bytes(struct insn *insn)
{
	if (insn->opcode == 0xf9)
		return !insn->repeat && !insn->narrow && is(insn, STORE, operand_size(insn));
	if (insn->opcode != 0xf8 || (insn->narrow && insn->repeat))
		return false;
	return insn->narrow ? is(insn, DIRECT, INSN_DIRECT) : insn->repeat && is(insn, ENQUEUE, INSN_DIRECT);
}

static bool decode(struct insn *insn, struct bytes *bytes)
{
	bool known;

	insn->opcode = prefixes(insn, bytes);
	if (insn->opcode == 0x0f) {
		insn->map = 1;
		insn->opcode = next(bytes);
		if (insn->opcode == 0x38) {
			insn->map = 2;
			insn->opcode = next(bytes);
		}
	}
	if (bytes->over || !operands(insn, bytes) || insn->segment)
		return false;
	known = insn->map == 2 ? three_bytes(insn) : insn->map ? two_bytes(insn) : one_byte(insn);
	if (known && insn->immediate)
		insn->value = (uint64_t)next_signed(bytes, insn->immediate_size);
	return known && !bytes->over;
}

/* --- registers --- */

static uint64_t mask_of(unsigned int size)
{
	return size < 8 ? (UINT64_C(1) << (8 * size)) - 1 : UINT64_MAX;
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
	const bool high = is_high(insn, size);
	uint64_t *reg = &state->gpr[high ? insn->reg - 4 : insn->reg], mask = mask_of(size) << (high ? 8 : 0);

	*reg = size == 4 ? value & mask : (*reg & ~mask) | ((high ? value << 8 : value) & mask);
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
	return insn->address32 ? (uint32_t)address : address;
}

/* --- arithmetic --- */

static uint64_t flags_of(uint64_t result, unsigned int size)
{
	return (result & mask_of(size) ? 0 : ZF) | (result >> (8 * size - 1) & 1 ? SF : 0) |
	       (__builtin_parity((unsigned int)(result & 0xff)) ? 0 : PF);
}

/* Of values that are cut to @size. */
static uint64_t compute(unsigned int operation, unsigned int size, uint64_t a, uint64_t b, uint64_t *flags)
{
	const uint64_t carry = operation == ADC || operation == SBB ? *flags & CF : 0, mask = mask_of(size),
		       sign = mask ^ mask >> 1;
	uint64_t result, set = 0;

	switch (operation) {
	case ADD:
	case ADC:
		result = (a + b + carry) & mask;
		set = (result < a || (carry && result == a) ? CF : 0) | ((a ^ result) & (b ^ result) & sign ? OF : 0) |
		      ((a ^ b ^ result) & AF);
		break;
	case SUB:
	case SBB:
	case CMP:
		result = (a - b - carry) & mask;
		set = (a < b || (carry && a == b) ? CF : 0) | ((a ^ b) & (a ^ result) & sign ? OF : 0) | ((a ^ b ^ result) & AF);
		break;
	case OR:
		result = a | b;
		break;
	case XOR:
		result = a ^ b;
		break;
	default:
		result = a & b;
		break;
	}
	*flags = (*flags & ~(uint64_t)RESULTS) | set | flags_of(result, size);
	return result;
}

/* --- doing it --- */

static int load(const struct insn *insn, struct insn_state *state, uint64_t address, const struct insn_bus *bus)
{
	uint64_t value = 0;
	int error = bus->read(bus->opaque, address, &value, insn->size);

	if (error)
		return error;
	if (insn->sign && value >> (8 * insn->size - 1))
		value |= ~mask_of(insn->size);
	set_register(insn, state, insn->wide ? insn->wide : insn->size, value);
	return 0;
}

static int store(const struct insn *insn, const struct insn_state *state, uint64_t address, const struct insn_bus *bus)
{
	uint64_t value = insn->immediate ? insn->value : get_register(insn, state, insn->size);

	return bus->write(bus->opaque, address, &value, insn->size);
}

static int arithmetic(const struct insn *insn, struct insn_state *state, uint64_t address, const struct insn_bus *bus)
{
	const unsigned int size = insn->size;
	uint64_t other = insn->immediate ? insn->value & mask_of(size) : get_register(insn, state, size), memory = 0, result;
	uint64_t flags = state->flags;
	int error = bus->read(bus->opaque, address, &memory, size);

	if (error)
		return error;
	result = insn->to_register ? compute(insn->operation, size, other, memory, &flags)
				   : compute(insn->operation, size, memory, other, &flags);
	if (insn->operation != CMP && insn->operation != TEST) {
		if (insn->to_register)
			set_register(insn, state, size, result);
		else
			error = bus->write(bus->opaque, address, &result, size);
	}
	if (!error)
		state->flags = flags;
	return error;
}

static int load_xmm(const struct insn *insn, struct insn_state *state, uint64_t address, const struct insn_bus *bus)
{
	uint8_t value[16] = {0};
	int error = bus->read(bus->opaque, address, value, insn->size);

	if (!error)
		memcpy(state->xmm[insn->reg], value, sizeof(value));
	return error;
}

/* The register has the destination, and memory what goes there. What accepts it says so with ZF clear; nothing here refuses. */
static int direct(const struct insn *insn, struct insn_state *state, uint64_t from, const struct insn_bus *bus)
{
	uint64_t to = state->gpr[insn->reg];
	int error;

	to = insn->address32 ? (uint32_t)to : to;
	error = to % INSN_DIRECT ? -ENOSYS : bus->direct(bus->opaque, to, from);
	if (!error && insn->kind == ENQUEUE)
		state->flags &= ~(uint64_t)RESULTS;
	return error;
}

static int run(const struct insn *insn, struct insn_state *state, uint64_t address, const struct insn_bus *bus)
{
	switch (insn->kind) {
	case LOAD:
		return load(insn, state, address, bus);
	case STORE:
		return store(insn, state, address, bus);
	case COMPUTE:
		return arithmetic(insn, state, address, bus);
	case XMM_LOAD:
		return load_xmm(insn, state, address, bus);
	case XMM_STORE:
		return bus->write(bus->opaque, address, state->xmm[insn->reg], insn->size);
	default:
		return direct(insn, state, address, bus);
	}
}

int insn_do(struct insn_state *state, const uint8_t *code, size_t length, const struct insn_bus *bus)
{
	struct bytes bytes = {.at = code, .length = length < INSN_LENGTH_MAX ? length : INSN_LENGTH_MAX};
	struct insn insn = {0};
	int error;

	if (!decode(&insn, &bytes))
		return -ENOSYS;
	error = run(&insn, state, address_of(&insn, state, bytes.taken), bus);
	if (!error)
		state->rip += bytes.taken;
	return error;
}
