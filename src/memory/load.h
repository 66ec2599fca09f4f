/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One load, or one compare-and-swap, of mapped memory that may not be there: a table entry in guest memory. The same fix-ups as
 * copy.h, but inline, and with the fault as a jump: what does not trap costs one instruction.
 */
#ifndef MEMORY_LOAD_H
#define MEMORY_LOAD_H

#include <stdbool.h>
#include <stdint.h>

#include "memory/fixup.h"

/* Each is false if the memory is not there. Loads are acquire: what an entry leads to was written before the entry. */

#if defined(__x86_64__)

#define LOAD_RAW(type, move)                                                                                                       \
	type raw;                                                                                                                  \
	__asm__ goto("1:	" move "	%[from], %[raw]\n"                                                                        \
		     "2:\n" /* */                                                                                                  \
		     FIXUP_ON_LOAD("1b", "2b", "%l[trap]")                                                                         \
		     : [raw] "=a"(raw)                                                                                             \
		     : [from] "m"(*(const type *)from)                                                                             \
		     :                                                                                                             \
		     : trap)

static inline __attribute__((always_inline)) bool load_u64(const void *from, uint64_t *out)
{
	LOAD_RAW(uint64_t, "movq");
	*out = raw;
	return true;
trap:
	return false;
}

static inline __attribute__((always_inline)) bool load_u32(const void *from, uint32_t *out)
{
	LOAD_RAW(uint32_t, "movl");
	*out = raw;
	return true;
trap:
	return false;
}

#define SWAP_RAW(type, instruction)                                                                                                \
	__asm__ goto("1:	lock " instruction "	%[value], %[memory]\n"                                                        \
		     "2:\n" /* */                                                                                                  \
		     FIXUP_ON_STORE("1b", "2b", "%l[trap]")                                                                        \
		     : "+a"(seen), [memory] "+m"(*(type *)memory)                                                                  \
		     : [value] "r"(value)                                                                                          \
		     : "cc"                                                                                                        \
		     : trap)

/* @expected becomes what was there. */
static inline __attribute__((always_inline)) bool compare_swap_u64(void *memory, uint64_t *expected, uint64_t value)
{
	uint64_t seen = *expected;

	SWAP_RAW(uint64_t, "cmpxchgq");
	*expected = seen;
	return true;
trap:
	return false;
}

static inline __attribute__((always_inline)) bool compare_swap_u32(void *memory, uint32_t *expected, uint32_t value)
{
	uint32_t seen = *expected;

	SWAP_RAW(uint32_t, "cmpxchgl");
	*expected = seen;
	return true;
trap:
	return false;
}

#elif defined(__aarch64__)

#define LOAD_RAW(type, size)                                                                                                       \
	register type raw __asm__("x9");                                                                                           \
	__asm__ goto("1:	ldar	%" size "[raw], [%[from]]\n"                                                               \
		     "2:\n" /* */                                                                                                  \
		     FIXUP_ON_LOAD("1b", "2b", "%l[trap]")                                                                         \
		     : [raw] "=r"(raw)                                                                                             \
		     : [from] "r"(from)                                                                                            \
		     : "memory"                                                                                                    \
		     : trap)

static inline __attribute__((always_inline)) bool load_u64(const void *from, uint64_t *out)
{
	LOAD_RAW(uint64_t, "x");
	*out = raw;
	return true;
trap:
	return false;
}

static inline __attribute__((always_inline)) bool load_u32(const void *from, uint32_t *out)
{
	LOAD_RAW(uint32_t, "w");
	*out = raw;
	return true;
trap:
	return false;
}

#define SWAP_RAW(type, size)                                                                                                       \
	register type seen __asm__("x10");                                                                                         \
	__asm__ goto("1:	ldaxr	%" size "[seen], [%[memory]]\n"                                                            \
		     "	cmp	%" size "[seen], %" size "[expected]\n"                                                            \
		     "	b.ne	3f\n"                                                                                                  \
		     "2:	stlxr	w11, %" size "[value], [%[memory]]\n"                                                      \
		     "	cbnz	w11, 1b\n"                                                                                             \
		     "3:\n" /* */                                                                                                  \
		     FIXUP_ON_LOAD("1b", "2b", "%l[trap]") FIXUP_ON_STORE("2b", "3b", "%l[trap]")                                  \
		     : [seen] "=&r"(seen)                                                                                          \
		     : [memory] "r"(memory), [expected] "r"(*expected), [value] "r"(value)                                         \
		     : "memory", "cc", "x9", "x11"                                                                                 \
		     : trap)

/* @expected becomes what was there. */
static inline __attribute__((always_inline)) bool compare_swap_u64(void *memory, uint64_t *expected, uint64_t value)
{
	SWAP_RAW(uint64_t, "x");
	*expected = seen;
	return true;
trap:
	return false;
}

static inline __attribute__((always_inline)) bool compare_swap_u32(void *memory, uint32_t *expected, uint32_t value)
{
	SWAP_RAW(uint32_t, "w");
	*expected = seen;
	return true;
trap:
	return false;
}

#else
#error "this architecture has no fix-ups yet"
#endif

#undef LOAD_RAW
#undef SWAP_RAW

#endif
