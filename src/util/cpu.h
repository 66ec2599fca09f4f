/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef UTIL_CPU_H
#define UTIL_CPU_H

/* In a loop that polls memory. */
static inline void cpu_relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("yield" ::: "memory");
#else
	__asm__ volatile("" ::: "memory");
#endif
}

#endif
