/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The trapping instructions on x86-64. TRAP_ flags arrive in rax. Every copy returns how many bytes are left: all bytes before
 * them are done. A store that crosses into a page that traps writes nothing, so a trapped block can be done again byte by byte.
 */
#ifndef MEMORY_COPY_X86_64_H
#define MEMORY_COPY_X86_64_H

#include <cpuid.h>
#include <signal.h>
#include <stddef.h>
#include <ucontext.h>

#include "memory/fixup.h"

/* From this size on "rep movsb" beats a loop of vector moves (measured: equal at 1.2 KiB); it is as fast as glibc's memcpy() up to
 * 64 MiB, so that nothing non-temporal is needed. */
enum { RAW_STRING_FROM = 1280 };

/* Enhanced "rep movsb" (ERMS): without it the string move copies a byte or a word at a time. */
static inline bool raw_string_is_fast(void)
{
	static int cached;
	unsigned int a, b = 0, c, d;
	int known = __atomic_load_n(&cached, __ATOMIC_RELAXED);

	if (!known) {
		known = __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & (1U << 9)) ? 2 : 1;
		__atomic_store_n(&cached, known, __ATOMIC_RELAXED);
	}
	return known == 2;
}

static inline size_t raw_bytes(void *dst, const void *src, size_t length, unsigned long *trap)
{
	unsigned long flags = 0;
	unsigned int byte;

	__asm__ volatile("1:	movzbl	(%[src]), %[byte]\n"
			 "2:	movb	%b[byte], (%[dst])\n"
			 "3:	inc	%[src]\n"
			 "	inc	%[dst]\n"
			 "	dec	%[length]\n"
			 "	jnz	1b\n"
			 "4:\n" /* */
			 FIXUP_ON_LOAD("1b", "2b", "4b") FIXUP_ON_STORE("2b", "3b", "4b")
			 : [dst] "+r"(dst), [src] "+r"(src), [length] "+r"(length), [byte] "=&q"(byte), "+a"(flags)
			 :
			 : "memory", "cc");
	*trap = flags;
	return length;
}

static inline size_t raw_string(void *dst, const void *src, size_t length, unsigned long *trap)
{
	unsigned long flags = 0;

	__asm__ volatile("1:	rep movsb\n"
			 "2:\n" /* */
			 FIXUP_ON_EITHER("1b", "2b", "2b")
			 : "+D"(dst), "+S"(src), "+c"(length), "+a"(flags)
			 :
			 : "memory");
	*trap = flags;
	return length;
}

/* @length is a multiple of 64, not 0. */
static inline size_t raw_blocks(void *dst, const void *src, size_t length, unsigned long *trap)
{
	unsigned long flags = 0;

	__asm__ volatile("1:	movdqu	(%[src]), %%xmm0\n"
			 "	movdqu	16(%[src]), %%xmm1\n"
			 "	movdqu	32(%[src]), %%xmm2\n"
			 "	movdqu	48(%[src]), %%xmm3\n"
			 "2:	movdqu	%%xmm0, (%[dst])\n"
			 "	movdqu	%%xmm1, 16(%[dst])\n"
			 "	movdqu	%%xmm2, 32(%[dst])\n"
			 "	movdqu	%%xmm3, 48(%[dst])\n"
			 "3:	add	$64, %[src]\n"
			 "	add	$64, %[dst]\n"
			 "	sub	$64, %[length]\n"
			 "	jnz	1b\n"
			 "4:\n" /* */
			 FIXUP_ON_LOAD("1b", "2b", "4b") FIXUP_ON_STORE("2b", "3b", "4b")
			 : [dst] "+r"(dst), [src] "+r"(src), [length] "+r"(length), "+a"(flags)
			 :
			 : "memory", "cc", "xmm0", "xmm1", "xmm2", "xmm3");
	*trap = flags;
	return length;
}

/* Two overlapping moves of one width, both loads before both stores. */
#define RAW_PAIR(move, width, first, second, clobber0, clobber1)                                                                   \
	__asm__ volatile("1:	" move "	(%[src]), %%" first "\n"                                                           \
			 "	" move "	-" width "(%[src],%[length]), %%" second "\n"                                      \
			 "2:	" move "	%%" first ", (%[dst])\n"                                                           \
			 "	" move "	%%" second ", -" width "(%[dst],%[length])\n"                                      \
			 "3:\n" /* */                                                                                              \
			 FIXUP_ON_LOAD("1b", "2b", "3b") FIXUP_ON_STORE("2b", "3b", "3b")                                          \
			 : "+a"(flags)                                                                                             \
			 : [dst] "r"(dst), [src] "r"(src), [length] "r"(length)                                                    \
			 : "memory", clobber0, clobber1)

/*
 * One load, one store. x86-64 keeps loads among loads and stores among stores in order, so this is acquire and release, too. It
 * must be one store: the second of two equal ones could undo what somebody who saw the first wrote there.
 */
#define RAW_SINGLE(move, reg)                                                                                                      \
	__asm__ volatile("1:	" move "	(%[src]), %%" reg "\n"                                                             \
			 "2:	" move "	%%" reg ", (%[dst])\n"                                                             \
			 "3:\n" /* */                                                                                              \
			 FIXUP_ON_LOAD("1b", "2b", "3b") FIXUP_ON_STORE("2b", "3b", "3b")                                          \
			 : "+a"(flags)                                                                                             \
			 : [dst] "r"(dst), [src] "r"(src)                                                                          \
			 : "memory", "rdx")

/* 1, 2, 4 or 8 bytes. */
static inline __attribute__((always_inline)) size_t raw_single(void *dst, const void *src, size_t length, unsigned long *trap)
{
	unsigned long flags = 0;

	if (length == 8)
		RAW_SINGLE("movq", "rdx");
	else if (length == 4)
		RAW_SINGLE("movl", "edx");
	else if (length == 2)
		RAW_SINGLE("movw", "dx");
	else
		RAW_SINGLE("movb", "dl");
	*trap = flags;
	return flags ? length : 0;
}

static inline size_t raw_over_32(void *dst, const void *src, size_t length, unsigned long *trap)
{
	unsigned long flags = 0;

	__asm__ volatile("1:	movdqu	(%[src]), %%xmm0\n"
			 "	movdqu	16(%[src]), %%xmm1\n"
			 "	movdqu	-32(%[src],%[length]), %%xmm2\n"
			 "	movdqu	-16(%[src],%[length]), %%xmm3\n"
			 "2:	movdqu	%%xmm0, (%[dst])\n"
			 "	movdqu	%%xmm1, 16(%[dst])\n"
			 "	movdqu	%%xmm2, -32(%[dst],%[length])\n"
			 "	movdqu	%%xmm3, -16(%[dst],%[length])\n"
			 "3:\n" /* */
			 FIXUP_ON_LOAD("1b", "2b", "3b") FIXUP_ON_STORE("2b", "3b", "3b")
			 : "+a"(flags)
			 : [dst] "r"(dst), [src] "r"(src), [length] "r"(length)
			 : "memory", "xmm0", "xmm1", "xmm2", "xmm3");
	*trap = flags;
	return flags ? length : 0;
}

/* 3 to 64 bytes. When anything trapped, nothing counts as done. */
static inline size_t raw_small(void *dst, const void *src, size_t length, unsigned long *trap)
{
	unsigned long flags = 0;

	if (length > 32)
		return raw_over_32(dst, src, length, trap);
	if (length > 16)
		RAW_PAIR("movdqu", "16", "xmm0", "xmm1", "xmm0", "xmm1");
	else if (length >= 8)
		RAW_PAIR("movq", "8", "rdx", "rcx", "rdx", "rcx");
	else if (length >= 4)
		RAW_PAIR("movl", "4", "edx", "ecx", "rdx", "rcx");
	else
		RAW_PAIR("movw", "2", "dx", "cx", "rdx", "rcx");
	*trap = flags;
	return flags ? length : 0;
}

#define RAW_ATOMIC(name, type, instruction)                                                                                        \
	static inline unsigned long name(void *address, type *value)                                                               \
	{                                                                                                                          \
		unsigned long flags = 0;                                                                                           \
		type operand = *value;                                                                                             \
                                                                                                                                   \
		__asm__ volatile("1:	" instruction "	%[operand], (%[address])\n"                                                \
				 "2:\n" /* */                                                                                      \
				 FIXUP_ON_STORE("1b", "2b", "2b")                                                                  \
				 : [operand] "+r"(operand), "+a"(flags)                                                            \
				 : [address] "r"(address)                                                                          \
				 : "memory", "cc");                                                                                \
		*value = operand;                                                                                                  \
		return flags;                                                                                                      \
	}

RAW_ATOMIC(raw_add_32, uint32_t, "lock xaddl")
RAW_ATOMIC(raw_add_64, uint64_t, "lock xaddq")
RAW_ATOMIC(raw_swap_32, uint32_t, "xchgl")
RAW_ATOMIC(raw_swap_64, uint64_t, "xchgq")

/* cmpxchg needs rax itself: the handler's flags replace the comparand, and rdx tells the two ways apart. */
#define RAW_COMPARE_SWAP(name, type, instruction)                                                                                  \
	static inline unsigned long name(void *address, type *compare, type operand)                                               \
	{                                                                                                                          \
		unsigned long accumulator = *compare, trapped = 1;                                                                 \
                                                                                                                                   \
		__asm__ volatile("1:	lock " instruction "	%[operand], (%[address])\n"                                           \
				 "2:	xorl	%%edx, %%edx\n"                                                                          \
				 "3:\n" /* */                                                                                      \
				 FIXUP_ON_STORE("1b", "2b", "3b")                                                                  \
				 : "+a"(accumulator), "+d"(trapped)                                                                \
				 : [address] "r"(address), [operand] "r"(operand)                                                  \
				 : "memory", "cc");                                                                                \
		*compare = (type)accumulator;                                                                                      \
		return trapped ? accumulator : 0;                                                                                  \
	}

RAW_COMPARE_SWAP(raw_compare_swap_32, uint32_t, "cmpxchgl")
RAW_COMPARE_SWAP(raw_compare_swap_64, uint64_t, "cmpxchgq")

static inline uintptr_t trap_pc(const ucontext_t *context)
{
	return (uintptr_t)context->uc_mcontext.gregs[REG_RIP];
}

static inline void trap_land(ucontext_t *context, uintptr_t landing, unsigned long flags)
{
	context->uc_mcontext.gregs[REG_RIP] = (greg_t)landing;
	context->uc_mcontext.gregs[REG_RAX] = (greg_t)flags;
}

/*
 * For "rep movsb". A page fault has the W bit in its error code. Anything else is a general protection fault: an address that is
 * not canonical, with 47 or (LA57) 56 bits for user space, and the kernel does not say which; so look at the source.
 */
static inline bool trap_is_store(const ucontext_t *context)
{
	enum { PAGE_FAULT = 14 };
	int64_t source = context->uc_mcontext.gregs[REG_RSI];

	if (context->uc_mcontext.gregs[REG_TRAPNO] == PAGE_FAULT)
		return context->uc_mcontext.gregs[REG_ERR] & 2;
	return source >> 47 == 0;
}

#endif
