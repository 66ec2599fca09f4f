/* SPDX-License-Identifier: BSD-3-Clause */
/* Bits of registers and table entries. */
#ifndef UTIL_BITS_H
#define UTIL_BITS_H

#include <stdint.h>

/* Bits @low to @high, both included. */
#define GENMASK64(high, low) ((~UINT64_C(0) >> (63 - (high))) & (~UINT64_C(0) << (low)))
#define BIT64(bit) (UINT64_C(1) << (bit))

/* The field of @value that @mask selects, shifted down; and up. */
#define FIELD_GET64(mask, value) (((value) & (mask)) >> __builtin_ctzll(mask))
#define FIELD_PREP64(mask, value) (((uint64_t)(value) << __builtin_ctzll(mask)) & (mask))

/* The low @bits bits, 0 to 64. */
static inline uint64_t low_mask(unsigned int bits)
{
	return bits < 64 ? (UINT64_C(1) << bits) - 1 : UINT64_MAX;
}

#endif
