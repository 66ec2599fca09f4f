/* SPDX-License-Identifier: BSD-3-Clause */
/* What end-to-end tests and benchmarks share. A fixture that cannot be set up ends the program. */
#ifndef SUPPORT_H
#define SUPPORT_H

/* Prints like perror() and ends the program. */
void support_die(const char *what) __attribute__((noreturn));

#define support_check(condition)                                                                                                   \
	do {                                                                                                                       \
		if (!(condition))                                                                                                  \
			support_die(#condition);                                                                                   \
	} while (0)

/* For calls that return -errno. */
void support_check_errno(int error, const char *what);

/* Root becomes the ordinary user 65534, and stays readable for its own kind (dumpable). */
void support_drop_privileges(void);

/* In a spin loop. */
static inline void support_relax(void)
{
#if defined(__x86_64__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("yield");
#endif
}

#endif
