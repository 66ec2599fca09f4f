/* SPDX-License-Identifier: BSD-3-Clause */
#include "abi/shim/insn.h"

#include <errno.h>
#include <stdbool.h>

#include "abi/shim/insn_parts.h"

enum { RAX = 0, RCX = 1, RSP = 4, RBP = 5, RSI = 6, RDI = 7, NONE = 16, RIP = 17 };
enum { CF = 1, PF = 4, AF = 0x10, ZF = 0x40, SF = 0x80, DF = 0x400, OF = 0x800, RESULTS = CF | PF | AF | ZF | SF | OF };
/* The first eight as opcodes have them. */
enum { ADD, OR, ADC, SBB, AND, SUB, XOR, CMP, TEST, INC, DEC, NOT, NEG };

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

/* False: none of them. */
static bool prefix(struct insn *insn, uint8_t byte)
{
	switch (byte) {
	case 0x66:
		insn->narrow = true;
		return true;
	case 0x67:
		insn->address32 = true;
		return true;
	case 0xf0:
		insn->lock = true;
		return true;
	case 0xf2:
	case 0xf3:
		insn->repeat = byte;
		return true;
	case 0x64:
	case 0x65:
		insn->segment = true;
		return true;
	default:
		return byte == 0x26 || byte == 0x2e || byte == 0x36 || byte == 0x3e;
	}
}

/* The fields that VEX and EVEX have, too, have REX's names; what they say instead of a prefix is said as if it were there. */
static void vex_fields(struct insn *insn, uint8_t inverted, uint8_t byte)
{
	const uint8_t pp = byte & 3;

	insn->rex = (uint8_t)((~inverted >> 5 & 7) | (byte & 0x80 ? REX_W : 0));
	insn->other = ~byte >> 3 & 15;
	insn->narrow = pp == P_66;
	insn->repeat = pp == P_F3 ? 0xf3 : pp == P_F2 ? 0xf2 : 0;
}

static void vex(struct insn *insn, struct bytes *bytes, bool is_long)
{
	uint8_t first = next(bytes), second = is_long ? next(bytes) : first;

	vex_fields(insn, is_long ? first : first | 0x60, is_long ? second : second & 0x7f);
	insn->encoding = VEX;
	insn->map = is_long ? first & 31 : 1;
	insn->width = second & 4 ? 32 : 16;
}

static bool evex(struct insn *insn, struct bytes *bytes)
{
	uint8_t first = next(bytes), second = next(bytes), third = next(bytes), length = third >> 5 & 3;

	vex_fields(insn, first, second);
	insn->encoding = EVEX;
	insn->map = first & 7;
	insn->upper_row = !(first & 0x10);
	insn->other |= third & 8 ? 0 : 16;
	insn->width = (uint8_t)(16 << length);
	insn->mask = third & 7;
	insn->zeroes = third & 0x80;
	/* Bits that are fixed; there is no broadcast here. */
	return !(first & 8) && second & 4 && !(third & 0x10) && length < 3 && (insn->mask || !insn->zeroes);
}

/* Those of AVX and AVX-512, whose first byte is @byte. False: it is not known. */
static bool vex_opcode(struct insn *insn, struct bytes *bytes, uint8_t byte)
{
	if (insn->narrow || insn->repeat || insn->lock)
		return false;
	if (byte != 0x62)
		vex(insn, bytes, byte == 0xc4);
	else if (!evex(insn, bytes))
		return false;
	insn->opcode = next(bytes);
	return insn->map == 1 || insn->map == 2;
}

/* The opcode and all that stands in front of it. */
static bool opcode(struct insn *insn, struct bytes *bytes)
{
	uint8_t byte = next(bytes);

	while (!bytes->over && prefix(insn, byte))
		byte = next(bytes);
	if (byte == 0xc4 || byte == 0xc5 || byte == 0x62)
		return vex_opcode(insn, bytes, byte);
	if ((byte & 0xf0) == 0x40) {
		insn->rex = byte;
		insn->has_rex = true;
		byte = next(bytes);
	}
	if (byte == 0x0f) {
		insn->map = 1;
		byte = next(bytes);
		if (byte == 0x38) {
			insn->map = 2;
			byte = next(bytes);
		}
	}
	insn->width = 16;
	insn->opcode = byte;
	return true;
}

/* False: it is no memory. */
static bool operands(struct insn *insn, struct bytes *bytes)
{
	uint8_t byte = next(bytes), mode = byte >> 6, rm = byte & 7;

	insn->extension = byte >> 3 & 7;
	insn->reg = (uint8_t)(insn->extension | (insn->rex & REX_R ? 8 : 0) | (insn->upper_row ? 16 : 0));
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
	insn->short_displacement = mode == 1;
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

/* Those without ModRM. */
static bool string(struct insn *insn)
{
	if (insn->repeat == 0xf2)
		return false;
	switch (insn->opcode & ~1) {
	case 0xa4:
		return is(insn, MOVS, size_by_bit(insn));
	case 0xaa:
		return is(insn, STOS, size_by_bit(insn));
	case 0xac:
		return is(insn, LODS, size_by_bit(insn));
	default:
		return false;
	}
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
	case 0x86:
	case 0x87:
		return is(insn, EXCHANGE, size);
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
		if (insn->extension < 2)
			return computes(insn, TEST, size) && with_immediate(insn, full_immediate(size));
		return insn->extension < 4 && computes(insn, insn->extension == 2 ? NOT : NEG, size);
	case 0xfe:
	case 0xff:
		return insn->extension < 2 && computes(insn, insn->extension ? DEC : INC, size);
	default:
		return false;
	}
}

static bool two_bytes(struct insn *insn)
{
	switch (insn->opcode) {
	case 0xb6:
	case 0xb7:
		return extends(insn, insn->opcode == 0xb6 ? 1 : 2, false);
	case 0xbe:
	case 0xbf:
		return extends(insn, insn->opcode == 0xbe ? 1 : 2, true);
	case 0xc3:
		return !insn->repeat && !insn->narrow && is(insn, STORE, operand_size(insn));
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

	if (!opcode(insn, bytes) || bytes->over || insn->segment)
		return false;
	if (insn->encoding == LEGACY && !insn->map && string(insn))
		return !insn->lock;
	if (!operands(insn, bytes))
		return false;
	known = insn->encoding == LEGACY && (insn->map == 2 ? three_bytes(insn) : insn->map ? two_bytes(insn) : one_byte(insn));
	known = known || (insn->map && insn_is_vector(insn));
	if (known && insn->immediate)
		insn->value = (uint64_t)next_signed(bytes, insn->immediate_size);
	if (insn->lock && insn->kind != EXCHANGE &&
	    (insn->kind != COMPUTE || insn->to_register || insn->operation == CMP || insn->operation == TEST))
		return false;
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

static uint64_t compute_alone(unsigned int operation, unsigned int size, uint64_t value, uint64_t *flags)
{
	const uint64_t carry = *flags & CF;
	uint64_t result;

	if (operation == NOT)
		return ~value & mask_of(size);
	if (operation == NEG)
		return compute(SUB, size, 0, value, flags);
	result = compute(operation == INC ? ADD : SUB, size, value, 1, flags);
	*flags = (*flags & ~(uint64_t)CF) | carry;
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
	result = insn->operation > TEST ? compute_alone(insn->operation, size, memory, &flags)
		 : insn->to_register	? compute(insn->operation, size, other, memory, &flags)
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

/* The register's value is there already when memory has the new one. */
static int exchange(const struct insn *insn, struct insn_state *state, uint64_t address, const struct insn_bus *bus)
{
	uint64_t value = get_register(insn, state, insn->size), memory = 0;
	int error = bus->read(bus->opaque, address, &memory, insn->size);

	if (!error)
		error = bus->write(bus->opaque, address, &value, insn->size);
	if (!error)
		set_register(insn, state, insn->size, memory);
	return error;
}

/* One of it; then it is the same instruction again, as after an interrupt, until all are done. */
static int move_string(struct insn *insn, struct insn_state *state, const struct insn_bus *bus)
{
	const uint64_t mask = insn->address32 ? UINT32_MAX : UINT64_MAX, from = state->gpr[RSI] & mask, to = state->gpr[RDI] & mask;
	const uint64_t step = state->flags & DF ? -(uint64_t)insn->size : insn->size, count = state->gpr[RCX] & mask;
	int error;

	if (insn->repeat && !count)
		return 0;
	error = insn->kind == MOVS   ? bus->copy(bus->opaque, to, from, insn->size)
		: insn->kind == STOS ? bus->write(bus->opaque, to, &state->gpr[RAX], insn->size)
				     : load(insn, state, from, bus);
	if (error)
		return error;
	if (insn->kind != STOS)
		state->gpr[RSI] = (from + step) & mask;
	if (insn->kind != LODS)
		state->gpr[RDI] = (to + step) & mask;
	if (insn->repeat)
		state->gpr[RCX] = count - 1;
	insn->again = insn->repeat && count > 1;
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
	case STORE:
		return store(insn, state, address, bus);
	case COMPUTE:
		return arithmetic(insn, state, address, bus);
	case EXCHANGE:
		return exchange(insn, state, address, bus);
	case MOVS:
	case STOS:
	case LODS:
		return move_string(insn, state, bus);
	case VECTOR_LOAD:
	case VECTOR_STORE:
	case VECTOR_HALF:
		return insn_move_vector(insn, state, address, bus);
	default:
		return direct(insn, state, address, bus);
	}
}

int insn_do(struct insn_state *state, const uint8_t *code, size_t length, const struct insn_bus *bus)
{
	struct bytes bytes = {.at = code, .length = length < INSN_LENGTH_MAX ? length : INSN_LENGTH_MAX};
	struct insn insn = {0};
	int error;

	if (!decode(&insn, &bytes) || !insn_has_vectors(&insn, state->vectors))
		return -ENOSYS;
	error = run(&insn, state, address_of(&insn, state, bytes.taken), bus);
	if (!error && !insn.again)
		state->rip += bytes.taken;
	return error;
}
