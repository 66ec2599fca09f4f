/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Copying memory that may not be there.
 *
 * A copy runs in two gears. The fast one moves whole blocks; when an instruction of it traps, everything before the block is done
 * and nothing after it. The exact one then moves single bytes through the block, so that the count is right to the byte,
 * and hands back to the fast one if the block turns out to be accessible after all (somebody mapped it meanwhile).
 *
 * Doing a block again is only right because the block's source is still what it was. When the destination overlaps the source, a
 * part of a block that was already stored may have changed it; such copies use only the instructions that are exact by themselves.
 *
 * The handler runs on whatever thread trapped, interrupts only the instructions in the table, and takes no lock.
 */
#include "memory/copy.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <uiommu/context.h>
#include <unistd.h>

#if defined(__x86_64__)
#include "memory/copy_x86_64.h"
#elif defined(__aarch64__)
#include "memory/copy_aarch64.h"
#else
#error "hosts are x86-64 and arm64"
#endif

#include "util/util.h"

enum { SIGNALS = 2 };
static const int signals[SIGNALS] = {SIGSEGV, SIGBUS};
static struct sigaction previous[SIGNALS];
static int installed;

/* Raised by the instruction that was interrupted, not sent by somebody or reported later (BUS_MCEERR_AO). */
static bool is_synchronous(int sig, const siginfo_t *info)
{
	return info->si_code > 0 && !(sig == SIGBUS && info->si_code == BUS_MCEERR_AO);
}

static unsigned long trap_flags(int sig, const siginfo_t *info, const ucontext_t *context, const struct fixup *fixup)
{
	unsigned long flags = TRAP;

	if (fixup->kind == FIXUP_STORE || (fixup->kind == FIXUP_EITHER && trap_is_store(context)))
		flags |= TRAP_STORE;
	if (sig == SIGBUS)
		flags |= TRAP_BUS;
	else if (info->si_code == SEGV_MAPERR || info->si_code == SI_KERNEL) /* SI_KERNEL: not an address of user space at all */
		flags |= TRAP_UNMAPPED;
	return flags;
}

static void default_action(int sig, const siginfo_t *info)
{
	struct sigaction action = {.sa_handler = SIG_DFL};

	sigaction(sig, &action, NULL);
	/* The instruction that trapped does so again after the return, with nothing of the core dump changed. A signal that was
	 * sent has to be sent again. */
	if (!is_synchronous(sig, info))
		syscall(SYS_tgkill, getpid(), (pid_t)syscall(SYS_gettid), sig);
}

/* As the kernel would have called it: with its mask, and once only if it asked for that. */
static void call_handler(int sig, siginfo_t *info, void *context, struct sigaction *action)
{
	struct sigaction called = *action;
	sigset_t before;

	if (!(called.sa_flags & SA_NODEFER))
		sigaddset(&called.sa_mask, sig);
	if (called.sa_flags & (int)SA_RESETHAND)
		*action = (struct sigaction){.sa_handler = SIG_DFL};
	pthread_sigmask(SIG_BLOCK, &called.sa_mask, &before);
	if (called.sa_flags & SA_SIGINFO)
		called.sa_sigaction(sig, info, context);
	else
		called.sa_handler(sig);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
}

static void pass_on(int sig, siginfo_t *info, void *context)
{
	struct sigaction *action = &previous[sig == SIGBUS];

	if (action->sa_flags & SA_SIGINFO || (action->sa_handler != SIG_DFL && action->sa_handler != SIG_IGN))
		call_handler(sig, info, context, action);
	else if (action->sa_handler == SIG_DFL || is_synchronous(sig, info))
		default_action(sig, info); /* what the kernel does with an ignored trap, too */
}

static void on_trap(int sig, siginfo_t *info, void *context)
{
	int saved = errno;
	const struct fixup *fixup = is_synchronous(sig, info) ? fixup_find(trap_pc(context)) : NULL;

	if (fixup)
		trap_land(context, fixup_address(&fixup->landing), trap_flags(sig, info, context, fixup));
	else
		pass_on(sig, info, context);
	errno = saved;
}

static int handler_install(void)
{
	/* SA_NODEFER: a handler that the signal is passed on to may leave by longjmp(). */
	struct sigaction action = {.sa_sigaction = on_trap, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER};
	int rc;

	sigemptyset(&action.sa_mask);
	for (int i = 0; i < SIGNALS; i++)
		/* Known before the first trap can need it. */
		if (sigaction(signals[i], NULL, &previous[i]) < 0)
			return -errno;
	for (int i = 0; i < SIGNALS; i++)
		if (sigaction(signals[i], &action, NULL) < 0) {
			rc = -errno;
			while (i-- > 0)
				sigaction(signals[i], &previous[i], NULL);
			return rc;
		}
	return 0;
}

int uiommu_install_fault_handler(void)
{
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	int rc = 0;

	pthread_mutex_lock(&lock);
	if (!copy_handler_installed()) {
		rc = handler_install();
		if (!rc)
			__atomic_store_n(&installed, 1, __ATOMIC_RELEASE);
	}
	pthread_mutex_unlock(&lock);
	return rc;
}

bool copy_handler_installed(void)
{
	return __atomic_load_n(&installed, __ATOMIC_ACQUIRE);
}

/* The sanitizer does not see what assembly touches. Told after the fact, because only then it is known what was touched. */
#ifdef SANITIZE_THREAD
void __tsan_read_range(void *address, unsigned long size);
void __tsan_write_range(void *address, unsigned long size);
void __tsan_release(void *address);

static void tell_sanitizer(void *dst, const void *src, size_t length)
{
	__tsan_read_range((void *)(uintptr_t)src, length);
	__tsan_write_range(dst, length);
}

/* An atomic access that changes nothing. */
static void tell_sanitizer_atomic(void *address, size_t length)
{
	if (length == 8)
		__atomic_fetch_add((uint64_t *)address, 0, __ATOMIC_ACQ_REL);
	else if (length == 4)
		__atomic_fetch_add((uint32_t *)address, 0, __ATOMIC_ACQ_REL);
	else if (length == 2)
		__atomic_fetch_add((uint16_t *)address, 0, __ATOMIC_ACQ_REL);
	else
		__atomic_fetch_add((uint8_t *)address, 0, __ATOMIC_ACQ_REL);
}

static void tell_sanitizer_load(const void *address, size_t length)
{
	if (length == 8)
		(void)__atomic_load_n((const uint64_t *)address, __ATOMIC_ACQUIRE);
	else if (length == 4)
		(void)__atomic_load_n((const uint32_t *)address, __ATOMIC_ACQUIRE);
	else if (length == 2)
		(void)__atomic_load_n((const uint16_t *)address, __ATOMIC_ACQUIRE);
	else
		(void)__atomic_load_n((const uint8_t *)address, __ATOMIC_ACQUIRE);
}

static void tell_sanitizer_single(void *dst, const void *src, size_t length)
{
	if (((uintptr_t)src | (uintptr_t)dst) % length)
		return tell_sanitizer(dst, src, length);
	/* Of the store nothing is told: whoever waits for it may have seen it and gone on, and the word would come too late. */
	tell_sanitizer_load(src, length);
}

static void tell_sanitizer_before(void *dst)
{
	/* Whoever sees the store at once must see what came before it, too. The sanitizer has no state for page 0 and kernel space.
	 */
	if ((uintptr_t)dst >= 4096 && (uintptr_t)dst >> 47 == 0)
		__tsan_release(dst);
}
#else
static inline void tell_sanitizer(void *dst, const void *src, size_t length)
{
	(void)dst;
	(void)src;
	(void)length;
}

static inline void tell_sanitizer_atomic(void *address, size_t length)
{
	(void)address;
	(void)length;
}

static inline void tell_sanitizer_single(void *dst, const void *src, size_t length)
{
	tell_sanitizer(dst, src, length);
}

static inline void tell_sanitizer_before(void *dst)
{
	(void)dst;
}
#endif

static struct copy_result result_of(size_t done, unsigned long trap)
{
	struct copy_result result = {.done = done};

	if (trap) {
		result.fault = trap & TRAP_STORE ? COPY_FAULT_WRITE : COPY_FAULT_READ;
		result.unmapped = trap & TRAP_UNMAPPED;
		result.bus = trap & TRAP_BUS;
	}
	return result;
}

enum { BLOCK = 64 };

/* Arithmetic on addresses that need not be pointers to anything. */
static inline void *at(const void *base, size_t offset)
{
	return (void *)((uintptr_t)base + offset);
}

/* A size that one move of a register does. */
static inline bool is_single(size_t length)
{
	return length <= 8 && !(length & (length - 1));
}

static inline size_t copy_small(void *dst, const void *src, size_t length, unsigned long *trap)
{
	if (is_single(length))
		return raw_single(dst, src, length, trap);
	return raw_small(dst, src, length, trap);
}

/* Any length but 0; as fast as possible. Returns what is left. */
static inline size_t copy_fast(void *dst, const void *src, size_t length, unsigned long *trap)
{
	size_t blocks, left;

	if (likely(length <= BLOCK))
		return copy_small(dst, src, length, trap);
	if (length >= RAW_STRING_FROM && raw_string_is_fast())
		return raw_string(dst, src, length, trap);
	blocks = length & ~(size_t)(BLOCK - 1);
	left = raw_blocks(dst, src, blocks, trap);
	if (*trap || blocks == length)
		return length - blocks + left;
	return copy_small(at(dst, blocks), at(src, blocks), length - blocks, trap);
}

/* The rest of a copy whose fast gear trapped at @done. */
static __attribute__((noinline)) struct copy_result copy_exactly(void *dst, const void *src, size_t length, size_t done)
{
	unsigned long trap = 0;

	while (done < length) {
		size_t block = min_u64(length - done, BLOCK);

		done += block - raw_bytes(at(dst, done), at(src, done), block, &trap);
		if (trap)
			break;
		if (done < length)
			done = length - copy_fast(at(dst, done), at(src, done), length - done, &trap);
	}
	tell_sanitizer(dst, src, done);
	return result_of(done, trap);
}

static __attribute__((noinline)) struct copy_result copy_overlapping(void *dst, const void *src, size_t length)
{
	unsigned long trap;
	size_t left = raw_string(dst, src, length, &trap);

	if (trap)
		left = raw_bytes(at(dst, length - left), at(src, length - left), left, &trap);
	tell_sanitizer(dst, src, length - left);
	return result_of(length - left, trap);
}

static inline struct copy_result copy_single(void *dst, const void *src, size_t length)
{
	unsigned long trap;

	tell_sanitizer_before(dst);
	if (unlikely(raw_single(dst, src, length, &trap)))
		return copy_exactly(dst, src, length, 0);
	tell_sanitizer_single(dst, src, length);
	return (struct copy_result){.done = length};
}

struct copy_result copy_bytes(void *dst, const void *src, size_t length)
{
	unsigned long trap;
	size_t left;

	if (unlikely(!length))
		return (struct copy_result){.done = 0};
	if (is_single(length))
		return copy_single(dst, src, length);
	if (unlikely((uintptr_t)src - (uintptr_t)dst < length))
		return copy_overlapping(dst, src, length);
	left = copy_fast(dst, src, length, &trap);
	if (unlikely(trap))
		return copy_exactly(dst, src, length, length - left);
	tell_sanitizer(dst, src, length);
	return (struct copy_result){.done = length};
}

static bool atomic_done(void *address, unsigned int length, unsigned long trap, uint64_t old_value, uint64_t *old,
			struct copy_result *fault)
{
	*fault = result_of(trap ? 0 : length, trap);
	*old = old_value;
	if (!trap)
		tell_sanitizer_atomic(address, length);
	return !trap;
}

bool copy_fetch_add(void *address, unsigned int length, uint64_t operand, uint64_t *old, struct copy_result *fault)
{
	uint32_t narrow = (uint32_t)operand;
	unsigned long trap;

	tell_sanitizer_before(address);
	trap = length == 4 ? raw_add_32(address, &narrow) : raw_add_64(address, &operand);
	return atomic_done(address, length, trap, length == 4 ? narrow : operand, old, fault);
}

bool copy_swap(void *address, unsigned int length, uint64_t operand, uint64_t *old, struct copy_result *fault)
{
	uint32_t narrow = (uint32_t)operand;
	unsigned long trap;

	tell_sanitizer_before(address);
	trap = length == 4 ? raw_swap_32(address, &narrow) : raw_swap_64(address, &operand);
	return atomic_done(address, length, trap, length == 4 ? narrow : operand, old, fault);
}

bool copy_compare_swap(void *address, unsigned int length, uint64_t compare, uint64_t operand, uint64_t *old,
		       struct copy_result *fault)
{
	uint32_t narrow = (uint32_t)compare;
	unsigned long trap;

	tell_sanitizer_before(address);
	trap = length == 4 ? raw_compare_swap_32(address, &narrow, (uint32_t)operand)
			   : raw_compare_swap_64(address, &compare, operand);
	return atomic_done(address, length, trap, length == 4 ? narrow : compare, old, fault);
}
