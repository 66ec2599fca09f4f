/* SPDX-License-Identifier: BSD-3-Clause */
/* Arithmetic as the processor does it. A flag that it leaves undefined stays what it was, or is what most processors make of it. */
#include "abi/shim/insn_parts.h"

__extension__ typedef unsigned __int128 wide;
__extension__ typedef __int128 signed_wide;

static uint64_t top_of(uint64_t value, unsigned int size)
{
	return value >> (8 * size - 1) & 1;
}

static uint64_t flag_if(bool set, uint64_t flag)
{
	return set ? flag : 0;
}

/* ZF, SF and PF. */
static uint64_t flags_of(uint64_t result, unsigned int size)
{
	return flag_if(!(result & mask_of(size)), ZF) | flag_if(top_of(result, size), SF) |
	       flag_if(!__builtin_parity((unsigned int)(result & 0xff)), PF);
}

static uint64_t add(unsigned int size, uint64_t a, uint64_t b, uint64_t carry, uint64_t *flags)
{
	const uint64_t result = (a + b + carry) & mask_of(size);

	*flags = flag_if(result < a || (carry && result == a), CF) | flag_if(top_of((a ^ result) & (b ^ result), size), OF) |
		 ((a ^ b ^ result) & AF);
	return result;
}

static uint64_t subtract(unsigned int size, uint64_t a, uint64_t b, uint64_t carry, uint64_t *flags)
{
	const uint64_t result = (a - b - carry) & mask_of(size);

	*flags = flag_if(a < b || (carry && a == b), CF) | flag_if(top_of((a ^ b) & (a ^ result), size), OF) |
		 ((a ^ b ^ result) & AF);
	return result;
}

/* One of these and no other; @carry: CF as it was. */
static uint64_t calculate(unsigned int operation, unsigned int size, uint64_t a, uint64_t b, bool carry, uint64_t *flags)
{
	*flags = 0;
	switch (operation) {
	case ADD:
	case INC:
		return add(size, a, b, 0, flags);
	case ADC:
		return add(size, a, b, carry, flags);
	case SBB:
		return subtract(size, a, b, carry, flags);
	case OR:
		return a | b;
	case XOR:
		return a ^ b;
	case AND:
	case TEST:
		return a & b;
	case ANDN:
		return ~a & b;
	case BLSR:
		*flags = flag_if(!b, CF);
		return b & (b - 1);
	case BLSMSK:
		*flags = flag_if(!b, CF);
		return (b ^ (b - 1)) & mask_of(size);
	case BLSI:
		*flags = flag_if(b, CF);
		return b & -b;
	default:
		return subtract(size, a, b, 0, flags);
	}
}

/* By bits, and the last one that leaves is CF. By none, nothing happens. */
static uint64_t shift(unsigned int operation, unsigned int size, uint64_t value, uint64_t count, uint64_t *flags)
{
	const unsigned int top = 8 * size - 1;
	const bool left = !(operation & 1), rotates = operation <= RCR;
	uint64_t carry = *flags & CF, in, out;

	count &= size == 8 ? 63 : 31;
	if (!count)
		return value;
	for (uint64_t i = 0; i < count; i++) {
		out = left ? value >> top & 1 : value & 1;
		in = operation == ROL || operation == ROR ? out : rotates ? carry : operation == SAR ? value >> top & 1 : 0;
		value = (left ? value << 1 | in : value >> 1 | in << top) & mask_of(size);
		carry = out;
	}
	in = left ? carry : value >> (top - 1) & 1;
	*flags = (*flags & ~(uint64_t)(CF | OF)) | carry | flag_if((value >> top & 1) != in, OF);
	if (!rotates)
		*flags = (*flags & ~(uint64_t)(ZF | SF | PF)) | flags_of(value, size);
	return value;
}

static uint64_t change_bit(unsigned int operation, unsigned int size, uint64_t value, uint64_t number, uint64_t *flags)
{
	const uint64_t bit = UINT64_C(1) << (number & (8 * size - 1));

	*flags = (*flags & ~(uint64_t)CF) | flag_if(value & bit, CF);
	return operation == BT ? value : operation == BTS ? value | bit : operation == BTR ? value & ~bit : value ^ bit;
}

/* The number of the first or the last bit that is set, or how many bits are in front of it, or how many there are. */
static uint64_t count_bits(unsigned int operation, unsigned int size, uint64_t value, uint64_t *flags)
{
	const uint64_t bits = 8 * size;
	uint64_t result, set;

	if (operation == POPCNT) {
		*flags = (*flags & ~(uint64_t)RESULTS) | flag_if(!value, ZF);
		return (uint64_t)__builtin_popcountll(value);
	}
	if (operation == BSF || operation == BSR) {
		*flags = (*flags & ~(uint64_t)ZF) | flag_if(!value, ZF);
		return (uint64_t)(!value ? 0 : operation == BSF ? __builtin_ctzll(value) : 63 - __builtin_clzll(value));
	}
	if (operation == TZCNT)
		result = value ? (uint64_t)__builtin_ctzll(value) : bits;
	else
		result = value ? (uint64_t)__builtin_clzll(value) - (64 - bits) : bits;
	set = flag_if(!result, ZF) | flag_if(result == bits, CF);
	*flags = (*flags & ~(uint64_t)(ZF | CF)) | set;
	return result;
}

void insn_multiply(bool sign, unsigned int size, uint64_t a, uint64_t b, uint64_t *flags, uint64_t out[2])
{
	wide product;
	bool fits;

	if (sign)
		product = (wide)((signed_wide)(int64_t)sign_extended(a, size) * (int64_t)sign_extended(b, size));
	else
		product = (wide)a * b;
	out[0] = (uint64_t)product & mask_of(size);
	out[1] = (uint64_t)(product >> (8 * size)) & mask_of(size);
	fits = out[1] == (sign && top_of(out[0], size) ? mask_of(size) : 0);
	*flags = (*flags & ~(uint64_t)(CF | OF)) | flag_if(!fits, CF | OF);
}

uint64_t insn_compute(unsigned int operation, unsigned int size, uint64_t a, uint64_t b, uint64_t *flags)
{
	const bool carry = *flags & CF;
	uint64_t result, set, product[2];

	if (operation >= ROL && operation <= SAR)
		return shift(operation, size, a, b, flags);
	if (operation >= BT && operation <= BTC)
		return change_bit(operation, size, a, b, flags);
	if (operation >= BSF && operation <= POPCNT)
		return count_bits(operation, size, b, flags);
	switch (operation) {
	case NOT:
		return ~a & mask_of(size);
	case IMUL:
		insn_multiply(true, size, a, b, flags, product);
		return product[0];
	case NEG:
		result = calculate(SUB, size, 0, a, carry, &set);
		break;
	case INC:
	case DEC:
		result = calculate(operation, size, a, 1, carry, &set);
		set = (set & ~(uint64_t)CF) | flag_if(carry, CF);
		break;
	default:
		result = calculate(operation, size, a, b, carry, &set);
		break;
	}
	*flags = (*flags & ~(uint64_t)RESULTS) | set | flags_of(result, size);
	return result;
}

bool insn_condition(unsigned int code, uint64_t flags)
{
	const bool less = !(flags & SF) != !(flags & OF);
	bool met;

	switch (code >> 1 & 7) {
	case 0:
		met = flags & OF;
		break;
	case 1:
		met = flags & CF;
		break;
	case 2:
		met = flags & ZF;
		break;
	case 3:
		met = flags & (CF | ZF);
		break;
	case 4:
		met = flags & SF;
		break;
	case 5:
		met = flags & PF;
		break;
	case 6:
		met = less;
		break;
	default:
		met = less || flags & ZF;
		break;
	}
	return met != (code & 1);
}
