/* SPDX-License-Identifier: BSD-3-Clause */
/* What bytes mean as an instruction (architecture manual, volume 2, chapter 2 and appendix A). */
#include "abi/shim/insn_parts.h"

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
	return insn->map >= 1 && insn->map <= 3;
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
	return insn->rex & REX_W ? 8 : insn->narrow && insn->encoding == LEGACY ? 2 : 4;
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

static bool to_register(struct insn *insn, unsigned int operation)
{
	insn->to_register = true;
	return computes(insn, operation, operand_size(insn));
}

static bool with_immediate(struct insn *insn, uint8_t size)
{
	insn->source = FROM_IMMEDIATE;
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
	const bool compares = (insn->opcode & ~1) == 0xa6 || (insn->opcode & ~1) == 0xae;

	if (insn->repeat == 0xf2 && !compares)
		return false;
	switch (insn->opcode & ~1) {
	case 0xa4:
		return is(insn, MOVS, size_by_bit(insn));
	case 0xa6:
		return is(insn, CMPS, size_by_bit(insn));
	case 0xaa:
		return is(insn, STOS, size_by_bit(insn));
	case 0xac:
		return is(insn, LODS, size_by_bit(insn));
	case 0xae:
		return is(insn, SCAS, size_by_bit(insn));
	default:
		return false;
	}
}

/* Shifts and rotations: by what is behind them, by one, by CL. */
static bool shifts(struct insn *insn, uint8_t size)
{
	computes(insn, ROL + (unsigned int)insn->extension, size);
	insn->value = 1;
	insn->source = insn->opcode >= 0xd2 ? FROM_CL : FROM_IMMEDIATE;
	insn->immediate_size = insn->opcode < 0xd0;
	return true;
}

static bool of_one_operand(struct insn *insn, uint8_t size)
{
	switch (insn->extension) {
	case 0:
	case 1:
		return computes(insn, TEST, size) && with_immediate(insn, full_immediate(size));
	case 2:
	case 3:
		return computes(insn, insn->extension == 2 ? NOT : NEG, size);
	case 4:
	case 5:
		insn->sign = insn->extension == 5;
		return is(insn, MULTIPLY, size);
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
	case 0x69:
	case 0x6b:
		return to_register(insn, IMUL) && with_immediate(insn, insn->opcode == 0x6b ? 1 : full_immediate(insn->size));
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
	case 0xc0:
	case 0xc1:
	case 0xd0:
	case 0xd1:
	case 0xd2:
	case 0xd3:
		return shifts(insn, size);
	case 0xc6:
	case 0xc7:
		return !insn->extension && is(insn, STORE, size) && with_immediate(insn, full_immediate(size));
	case 0xf6:
	case 0xf7:
		return of_one_operand(insn, size);
	case 0xfe:
	case 0xff:
		if (insn->opcode == 0xff && insn->extension == 6)
			return is(insn, PUSH, insn->narrow && !(insn->rex & REX_W) ? 2 : 8);
		return insn->extension < 2 && computes(insn, insn->extension ? DEC : INC, size);
	default:
		return false;
	}
}

/* Those that count zeroes or ones, of which some are others if 0xf3 is in front of them. */
static bool counts(struct insn *insn)
{
	if (insn->opcode == 0xb8)
		return insn->repeat && to_register(insn, POPCNT);
	return to_register(insn, insn->opcode == 0xbc ? (insn->repeat ? TZCNT : BSF) : insn->repeat ? LZCNT : BSR);
}

static bool of_bits(struct insn *insn)
{
	if (insn->opcode == 0xba)
		return insn->extension >= 4 && computes(insn, (unsigned int)(BT - 4 + insn->extension), operand_size(insn)) &&
		       with_immediate(insn, 1);
	insn->bits = true;
	return computes(insn, BT + (insn->opcode >> 3 & 3U), operand_size(insn));
}

static bool two_bytes(struct insn *insn)
{
	if (insn->repeat)
		return insn->repeat == 0xf3 && (insn->opcode == 0xb8 || insn->opcode == 0xbc || insn->opcode == 0xbd) &&
		       counts(insn);
	if ((insn->opcode & 0xf0) == 0x40)
		return is(insn, LOAD_IF, operand_size(insn));
	if ((insn->opcode & 0xf0) == 0x90)
		return is(insn, STORE_IF, 1);
	switch (insn->opcode) {
	case 0xa3:
	case 0xab:
	case 0xb3:
	case 0xba:
	case 0xbb:
		return of_bits(insn);
	case 0xaf:
		return to_register(insn, IMUL);
	case 0xb0:
	case 0xb1:
		return is(insn, COMPARE_EXCHANGE, size_by_bit(insn));
	case 0xb6:
	case 0xb7:
		return extends(insn, insn->opcode == 0xb6 ? 1 : 2, false);
	case 0xbc:
	case 0xbd:
		return counts(insn);
	case 0xbe:
	case 0xbf:
		return extends(insn, insn->opcode == 0xbe ? 1 : 2, true);
	case 0xc0:
	case 0xc1:
		return is(insn, EXCHANGE_ADD, size_by_bit(insn));
	case 0xc3:
		return !insn->narrow && is(insn, STORE, operand_size(insn));
	case 0xc7:
		return insn->extension == 1 && !insn->narrow && is(insn, COMPARE_EXCHANGE_PAIR, operand_size(insn));
	default:
		return false;
	}
}

static bool three_bytes(struct insn *insn)
{
	switch (insn->opcode) {
	case 0xf0:
	case 0xf1:
		insn->swap = !insn->repeat;
		return insn->swap && is(insn, insn->opcode & 1 ? STORE : LOAD, operand_size(insn));
	case 0xf8:
		if (insn->narrow && insn->repeat)
			return false;
		return insn->narrow ? is(insn, DIRECT, INSN_DIRECT) : insn->repeat && is(insn, ENQUEUE, INSN_DIRECT);
	case 0xf9:
		return !insn->repeat && !insn->narrow && is(insn, STORE, operand_size(insn));
	default:
		return false;
	}
}

static bool legacy(struct insn *insn)
{
	return insn->map == 2 ? three_bytes(insn) : insn->map ? two_bytes(insn) : one_byte(insn);
}

/* Shifts without flags, which VEX's prefix tells apart. */
static bool shifts_quietly(struct insn *insn)
{
	insn->source = FROM_OTHER;
	insn->keeps_flags = true;
	return to_register(insn, insn->narrow ? SHL : insn->repeat == 0xf3 ? SAR : SHR);
}

/* BMI1 and BMI2, as far as compilers make them of operators. */
static bool bmi(struct insn *insn)
{
	const bool prefix = insn->narrow || insn->repeat;

	if (insn->encoding != VEX || insn->width != 16)
		return false;
	if (insn->map == 3) {
		insn->keeps_flags = true;
		return insn->opcode == 0xf0 && insn->repeat == 0xf2 && !insn->other && to_register(insn, ROR) &&
		       with_immediate(insn, 1);
	}
	if (insn->map != 2)
		return false;
	switch (insn->opcode) {
	case 0xf2:
		insn->source = FROM_OTHER;
		return !prefix && to_register(insn, ANDN);
	case 0xf3:
		insn->reg = insn->other;
		return !prefix && insn->extension >= 1 && insn->extension <= 3 &&
		       to_register(insn, (unsigned int)(BLSR - 1 + insn->extension));
	case 0xf6:
		return insn->repeat == 0xf2 && is(insn, MULTIPLY, operand_size(insn));
	case 0xf7:
		return prefix && shifts_quietly(insn);
	default:
		return false;
	}
}

/* It is read and written. */
static bool may_lock(const struct insn *insn)
{
	if (insn->kind == COMPUTE)
		return !insn->to_register && insn->operation != CMP && insn->operation != TEST && insn->operation != BT &&
		       (insn->operation < ROL || insn->operation > SAR);
	return insn->kind >= EXCHANGE && insn->kind <= COMPARE_EXCHANGE_PAIR;
}

static bool decode(struct insn *insn, struct bytes *bytes)
{
	if (!opcode(insn, bytes) || bytes->over || insn->segment)
		return false;
	if (insn->encoding == LEGACY && !insn->map && string(insn))
		return !insn->lock;
	if (!operands(insn, bytes))
		return false;
	if (!(insn->encoding == LEGACY && legacy(insn)) && !bmi(insn) && !(insn->map && insn_is_vector(insn)))
		return false;
	if (insn->immediate_size)
		insn->value = (uint64_t)next_signed(bytes, insn->immediate_size);
	return (!insn->lock || may_lock(insn)) && !bytes->over;
}

size_t insn_decode(struct insn *insn, const uint8_t *code, size_t length)
{
	struct bytes bytes = {.at = code, .length = length < INSN_LENGTH_MAX ? length : INSN_LENGTH_MAX};

	return decode(insn, &bytes) ? bytes.taken : 0;
}
