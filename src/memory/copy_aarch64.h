/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The trapping instructions on arm64. TRAP_ flags arrive in x9. Every copy returns how many bytes are left: all bytes before them
 * are done. A store pair that traps may have stored its lower half; a trapped block is done again byte by byte.
 */
#ifndef MEMORY_COPY_AARCH64_H
#define MEMORY_COPY_AARCH64_H

#include <signal.h>
#include <stddef.h>
#include <ucontext.h>

#include "memory/fixup.h"

/* There is no string move that every processor has. */
#define RAW_STRING_FROM SIZE_MAX

static inline bool raw_string_is_fast(void)
{
	return false;
}

static inline size_t raw_bytes(void *dst, const void *src, size_t length, unsigned long *trap)
{
	register unsigned long flags __asm__("x9") = 0;

	__asm__ volatile("1:	ldrb	w10, [%[src]]\n"
			 "2:	strb	w10, [%[dst]]\n"
			 "3:	add	%[src], %[src], #1\n"
			 "	add	%[dst], %[dst], #1\n"
			 "	subs	%[length], %[length], #1\n"
			 "	b.ne	1b\n"
			 "4:\n" /* */
			 FIXUP_ON_LOAD("1b", "2b", "4b") FIXUP_ON_STORE("2b", "3b", "4b")
			 : [dst] "+r"(dst), [src] "+r"(src), [length] "+r"(length), "+r"(flags)
			 :
			 : "memory", "cc", "x10");
	*trap = flags;
	return length;
}

static inline size_t raw_string(void *dst, const void *src, size_t length, unsigned long *trap)
{
	return raw_bytes(dst, src, length, trap);
}

/* @length is a multiple of 64, not 0. */
static inline size_t raw_blocks(void *dst, const void *src, size_t length, unsigned long *trap)
{
	register unsigned long flags __asm__("x9") = 0;

	__asm__ volatile("1:	ldp	x10, x11, [%[src]]\n"
			 "	ldp	x12, x13, [%[src], #16]\n"
			 "	ldp	x14, x15, [%[src], #32]\n"
			 "	ldp	x16, x17, [%[src], #48]\n"
			 "2:	stp	x10, x11, [%[dst]]\n"
			 "	stp	x12, x13, [%[dst], #16]\n"
			 "	stp	x14, x15, [%[dst], #32]\n"
			 "	stp	x16, x17, [%[dst], #48]\n"
			 "3:	add	%[src], %[src], #64\n"
			 "	add	%[dst], %[dst], #64\n"
			 "	subs	%[length], %[length], #64\n"
			 "	b.ne	1b\n"
			 "4:\n" /* */
			 FIXUP_ON_LOAD("1b", "2b", "4b") FIXUP_ON_STORE("2b", "3b", "4b")
			 : [dst] "+r"(dst), [src] "+r"(src), [length] "+r"(length), "+r"(flags)
			 :
			 : "memory", "cc", "x10", "x11", "x12", "x13", "x14", "x15", "x16", "x17");
	*trap = flags;
	return length;
}

/* @length is a multiple of 8, not 0. */
static inline size_t raw_words(void *dst, const void *src, size_t length, unsigned long *trap)
{
	register unsigned long flags __asm__("x9") = 0;

	__asm__ volatile("1:	ldr	x10, [%[src]]\n"
			 "2:	str	x10, [%[dst]]\n"
			 "3:	add	%[src], %[src], #8\n"
			 "	add	%[dst], %[dst], #8\n"
			 "	subs	%[length], %[length], #8\n"
			 "	b.ne	1b\n"
			 "4:\n" /* */
			 FIXUP_ON_LOAD("1b", "2b", "4b") FIXUP_ON_STORE("2b", "3b", "4b")
			 : [dst] "+r"(dst), [src] "+r"(src), [length] "+r"(length), "+r"(flags)
			 :
			 : "memory", "cc", "x10");
	*trap = flags;
	return length;
}

/*
 * One load, one store, and a barrier between them: acquire and release. It must be one store: the second of two equal ones could
 * undo what somebody who saw the first wrote there.
 */
#define RAW_SINGLE(load, store, reg)                                                                                               \
	__asm__ volatile("1:	" load "	" reg ", [%[src]]\n"                                                               \
			 "2:	dmb	ish\n"                                                                                            \
			 "3:	" store "	" reg ", [%[dst]]\n"                                                               \
			 "4:\n" /* */                                                                                              \
			 FIXUP_ON_LOAD("1b", "2b", "4b") FIXUP_ON_STORE("3b", "4b", "4b")                                          \
			 : "+r"(flags)                                                                                             \
			 : [dst] "r"(dst), [src] "r"(src)                                                                          \
			 : "memory", "x10")

/* 1, 2, 4 or 8 bytes. */
static inline __attribute__((always_inline)) size_t raw_single(void *dst, const void *src, size_t length, unsigned long *trap)
{
	register unsigned long flags __asm__("x9") = 0;

	if (length == 8)
		RAW_SINGLE("ldr", "str", "x10");
	else if (length == 4)
		RAW_SINGLE("ldr", "str", "w10");
	else if (length == 2)
		RAW_SINGLE("ldrh", "strh", "w10");
	else
		RAW_SINGLE("ldrb", "strb", "w10");
	*trap = flags;
	return flags ? length : 0;
}

/* 3 to 64 bytes. */
static inline size_t raw_small(void *dst, const void *src, size_t length, unsigned long *trap)
{
	size_t words = length & ~(size_t)7, left = 0;

	*trap = 0;
	if (words)
		left = raw_words(dst, src, words, trap);
	if (*trap || words == length)
		return length - words + left;
	return raw_bytes((uint8_t *)dst + words, (const uint8_t *)src + words, length - words, trap);
}

/* Load-exclusive, @change (from [old] to x10), store-exclusive; @w is the register width. */
#define RAW_ATOMIC(name, type, w, change)                                                                                          \
	static inline unsigned long name(void *address, type *value)                                                               \
	{                                                                                                                          \
		register unsigned long flags __asm__("x9") = 0;                                                                    \
		type old = 0;                                                                                                      \
                                                                                                                                   \
		__asm__ volatile("1:	ldaxr	%" w "[old], [%[address]]\n"                                                       \
				 "2:	" change "\n"                                                                              \
				 "3:	stlxr	w11, " w "10, [%[address]]\n"                                                      \
				 "4:	cbnz	w11, 1b\n"                                                                               \
				 "5:\n" /* */                                                                                      \
				 FIXUP_ON_LOAD("1b", "2b", "5b") FIXUP_ON_STORE("3b", "4b", "5b")                                  \
				 : [old] "+&r"(old), "+r"(flags)                                                                   \
				 : [address] "r"(address), [operand] "r"(*value)                                                   \
				 : "memory", "x10", "x11");                                                                        \
		*value = old;                                                                                                      \
		return flags;                                                                                                      \
	}

RAW_ATOMIC(raw_add_32, uint32_t, "w", "add w10, %w[old], %w[operand]")
RAW_ATOMIC(raw_add_64, uint64_t, "x", "add x10, %x[old], %x[operand]")
RAW_ATOMIC(raw_swap_32, uint32_t, "w", "mov w10, %w[operand]")
RAW_ATOMIC(raw_swap_64, uint64_t, "x", "mov x10, %x[operand]")

/* A comparison that fails stores the old value back, so that it needs write permission too, as on every architecture. */
#define RAW_COMPARE_SWAP(name, type, w)                                                                                            \
	static inline unsigned long name(void *address, type *compare, type operand)                                               \
	{                                                                                                                          \
		register unsigned long flags __asm__("x9") = 0;                                                                    \
		type old = 0;                                                                                                      \
                                                                                                                                   \
		__asm__ volatile("1:	ldaxr	%" w "[old], [%[address]]\n"                                                       \
				 "2:	cmp	%" w "[old], %" w "[compare]\n"                                                    \
				 "	csel	" w "10, %" w "[operand], %" w "[old], eq\n"                                       \
				 "3:	stlxr	w11, " w "10, [%[address]]\n"                                                      \
				 "4:	cbnz	w11, 1b\n"                                                                               \
				 "5:\n" /* */                                                                                      \
				 FIXUP_ON_LOAD("1b", "2b", "5b") FIXUP_ON_STORE("3b", "4b", "5b")                                  \
				 : [old] "+&r"(old), "+r"(flags)                                                                   \
				 : [address] "r"(address), [compare] "r"(*compare), [operand] "r"(operand)                         \
				 : "memory", "cc", "x10", "x11");                                                                  \
		*compare = old;                                                                                                    \
		return flags;                                                                                                      \
	}

RAW_COMPARE_SWAP(raw_compare_swap_32, uint32_t, "w")
RAW_COMPARE_SWAP(raw_compare_swap_64, uint64_t, "x")

static inline uintptr_t trap_pc(const ucontext_t *context)
{
	return (uintptr_t)context->uc_mcontext.pc;
}

static inline void trap_land(ucontext_t *context, uintptr_t landing, unsigned long flags)
{
	context->uc_mcontext.pc = landing;
	context->uc_mcontext.regs[9] = flags;
}

/* No entry here is of the kind that needs it. */
static inline bool trap_is_store(const ucontext_t *context)
{
	(void)context;
	return false;
}

#endif
