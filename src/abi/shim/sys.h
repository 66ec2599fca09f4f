/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * System calls without the C library: they work before it is initialised and in signal handlers, do not touch errno, and are never
 * the functions that the shim stands in front of. They return what the kernel returns: a result or -errno.
 */
#ifndef SHIM_SYS_H
#define SHIM_SYS_H

#include <fcntl.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#if defined(__x86_64__)
static inline long sys_6(long number, long a, long b, long c, long d, long e, long f)
{
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	register long r9 __asm__("r9") = f;
	long result;

	__asm__ volatile("syscall"
			 : "=a"(result)
			 : "0"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return result;
}
#elif defined(__aarch64__)
static inline long sys_6(long number, long a, long b, long c, long d, long e, long f)
{
	register long x8 __asm__("x8") = number;
	register long x0 __asm__("x0") = a;
	register long x1 __asm__("x1") = b;
	register long x2 __asm__("x2") = c;
	register long x3 __asm__("x3") = d;
	register long x4 __asm__("x4") = e;
	register long x5 __asm__("x5") = f;

	__asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5) : "memory");
	return x0;
}
#else
#error "no system calls for this machine"
#endif

/*
 * A thread of the kernel's, of which the C library knows nothing: @run on @stack, without an end. @word as with @flags; @local is
 * what the thread's own variables are found by, so that code that looks for one finds memory.
 */
#if defined(__x86_64__)
static inline long sys_clone(long flags, void *stack, uint32_t *word, void *local, void (*run)(void))
{
	register long r10 __asm__("r10") = (long)word;
	register long r8 __asm__("r8") = (long)local;
	register long r9 __asm__("r9") = (long)run;
	long result;

	__asm__ volatile("syscall\n"
			 "	test	%%rax, %%rax\n"
			 "	jnz	1f\n"
			 "	xor	%%ebp, %%ebp\n"
			 "	call	*%%r9\n"
			 "	ud2\n"
			 "1:"
			 : "=a"(result)
			 : "0"((long)SYS_clone), "D"(flags), "S"(stack), "d"(0L), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory", "cc");
	return result;
}
#else
static inline long sys_clone(long flags, void *stack, uint32_t *word, void *local, void (*run)(void))
{
	register long x8 __asm__("x8") = SYS_clone;
	register long x0 __asm__("x0") = flags;
	register long x1 __asm__("x1") = (long)stack;
	register long x2 __asm__("x2") = 0;
	register long x3 __asm__("x3") = (long)local;
	register long x4 __asm__("x4") = (long)word;
	register long x5 __asm__("x5") = (long)run;

	__asm__ volatile("svc	0\n"
			 "	cbnz	x0, 1f\n"
			 "	mov	x29, xzr\n"
			 "	mov	x30, xzr\n"
			 "	blr	x5\n"
			 "	brk	0\n"
			 "1:"
			 : "+r"(x0)
			 : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5)
			 : "memory", "cc");
	return x0;
}
#endif

#define sys_5(number, a, b, c, d, e) sys_6(number, a, b, c, d, e, 0)
#define sys_4(number, a, b, c, d) sys_6(number, a, b, c, d, 0, 0)
#define sys_3(number, a, b, c) sys_6(number, a, b, c, 0, 0, 0)
#define sys_2(number, a, b) sys_6(number, a, b, 0, 0, 0, 0)
#define sys_1(number, a) sys_6(number, a, 0, 0, 0, 0, 0)
#define sys_0(number) sys_6(number, 0, 0, 0, 0, 0, 0)

static inline int sys_close(int fd)
{
	return (int)sys_1(SYS_close, fd);
}

static inline int sys_openat(int directory, const char *path, int flags, mode_t mode)
{
	return (int)sys_4(SYS_openat, directory, (long)path, flags, (long)mode);
}

/* Both machines have the kernel's struct stat in <sys/stat.h>. */
static inline int sys_fstat(int fd, struct stat *out)
{
	return (int)sys_2(SYS_fstat, fd, (long)out);
}

static inline int sys_fstatat(int directory, const char *path, struct stat *out, int flags)
{
	return (int)sys_4(SYS_newfstatat, directory, (long)path, (long)out, flags);
}

static inline long sys_sendmsg(int fd, const struct msghdr *message, int flags)
{
	return sys_3(SYS_sendmsg, fd, (long)message, flags);
}

static inline long sys_recvmsg(int fd, struct msghdr *message, int flags)
{
	return sys_3(SYS_recvmsg, fd, (long)message, flags);
}

static inline long sys_futex(uint32_t *word, int operation, uint32_t value)
{
	return sys_4(SYS_futex, (long)word, operation, (long)value, 0);
}

#endif
