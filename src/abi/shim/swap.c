/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The session reads and writes the program's memory from outside, but what a page table's accessed and dirty bits need, a
 * compare-and-swap, only an instruction in the program can do. This thread waits for the session to ask for one.
 *
 * It is as little in the program's way as a thread can be:
 *
 * - The kernel's, not the C library's: the program ends with its own last thread, and what the library does to all threads it knows
 *   (set-id) does not wait for this one. It lives until the process ends, executes another program, or the session ends.
 * - With all signals blocked; SIGSEGV and SIGBUS are not during the instruction. If one that was sent to the process comes then, it
 *   is sent again afterwards.
 * - With descriptors of its own, of which there is one, the connection: the program can neither close nor inherit it, and what the
 *   program closes is closed. With a folder of its own, /, so that the program's is not held.
 * - What it needs is in memory that a fork child gets empty. The child has no such thread, until it needs one.
 *
 * What is not there, or not to be read, the kernel says before the instruction finds it, and what is not to be written the session.
 * So it fails only where the program takes memory away at that moment; that is a signal, after which it goes on at the landing that
 * the instruction has (memory/fixup.h).
 */
#include "abi/shim/swap.h"

#include <errno.h>
#include <linux/close_range.h>
#include <linux/futex.h>
#include <sched.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <ucontext.h>

#include "abi/shim/client.h"
#include "abi/shim/signals.h"
#include "abi/shim/sys.h"
#include "memory/load.h"

enum { SIGNAL_BYTES = 8, AREA = 65536, LOCAL = 512, NONE = 0, STARTING, RUNNING };

/* Zero: there is no thread. Its stack is behind it. */
struct swapper {
	uint32_t state; /* the kernel makes it NONE when the thread ends */
	uint64_t sent; /* signals, by their numbers */
};

static struct swapper *swapper;

/* Made by whoever needs it first. */
static struct swapper *area(void)
{
	struct swapper *have = __atomic_load_n(&swapper, __ATOMIC_ACQUIRE), *made;
	long address;

	if (have)
		return have;
	address = sys_6(SYS_mmap, 0, AREA, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (address < 0 && address > -4096)
		return NULL;
	made = (struct swapper *)address;
	sys_3(SYS_madvise, address, AREA, MADV_WIPEONFORK);
	if (__atomic_compare_exchange_n(&swapper, &have, made, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
		return made;
	sys_2(SYS_munmap, address, AREA);
	return have;
}

/* False: a filter does not allow it. */
static bool set_blocked(uint64_t signals, uint64_t *before)
{
	return !sys_4(SYS_rt_sigprocmask, SIG_SETMASK, (long)&signals, (long)before, SIGNAL_BYTES);
}

static uint64_t bit(int signal)
{
	return UINT64_C(1) << (signal - 1);
}

/* --- one of them --- */

/* What was sent meanwhile is for the process. */
static void send_again(void)
{
	uint64_t sent = __atomic_exchange_n(&swapper->sent, 0, __ATOMIC_RELAXED);

	for (int signal = 1; sent; signal++, sent >>= 1)
		if (sent & 1)
			sys_2(SYS_kill, sys_0(SYS_getpid), signal);
}

static bool compare_swap(struct session_swap *swap)
{
	/* NOLINTNEXTLINE(performance-no-int-to-ptr): it is one */
	void *at = (void *)(uintptr_t)swap->address;
	uint32_t half = (uint32_t)swap->expected;
	bool done;

	if (swap->length == sizeof(uint64_t))
		return compare_swap_u64(at, &swap->expected, swap->value);
	done = compare_swap_u32(at, &half, (uint32_t)swap->value);
	swap->expected = half;
	return done;
}

static void do_one(struct session_swap *swap)
{
	swap->error = -EFAULT;
	if (!client_can_read(swap->address) || !set_blocked(~(bit(SIGSEGV) | bit(SIGBUS)), NULL))
		return;
	if (compare_swap(swap))
		swap->error = 0;
	set_blocked(~UINT64_C(0), NULL);
	send_again();
}

bool swap_signal(int signal, const siginfo_t *info, void *context)
{
	ucontext_t *interrupted = context;
	const uintptr_t here = (uintptr_t)__builtin_frame_address(0);
	const struct swapper *all = __atomic_load_n(&swapper, __ATOMIC_ACQUIRE);
	const struct fixup *fixup;

	if (!all || here - (uintptr_t)all >= AREA)
		return false;
#if defined(__x86_64__)
	greg_t *pc = &interrupted->uc_mcontext.gregs[REG_RIP];
#else
	unsigned long long *pc = &interrupted->uc_mcontext.pc;
#endif
	fixup = info->si_code > 0 ? fixup_find((uintptr_t)*pc) : NULL;
	if (fixup)
		*pc = (__typeof__(*pc))fixup_address(&fixup->landing);
	else
		__atomic_fetch_or(&swapper->sent, bit(signal), __ATOMIC_RELAXED);
	return true;
}

/* --- the thread --- */

static void set_state(uint32_t state)
{
	__atomic_store_n(&swapper->state, state, __ATOMIC_RELEASE);
	sys_futex(&swapper->state, FUTEX_WAKE, 1);
}

static int introduce(void)
{
	struct session_request request = {.op = SESSION_SWAPPER};
	int fd;

	/* A table of descriptors without any in it. */
	if (sys_3(SYS_close_range, 0, ~0U, CLOSE_RANGE_UNSHARE))
		return -EMFILE;
	sys_1(SYS_chdir, (long)"/");
	sys_2(SYS_prctl, PR_SET_NAME, (long)"uiommu-swap");
	fd = client_connection();
	return fd >= 0 && client_say(fd, &request) < 0 ? -ENODEV : fd;
}

static void run(void)
{
	struct session_swap swap = {0};
	int fd = introduce();

	set_state(RUNNING);
	while (fd >= 0 && sys_3(SYS_read, fd, (long)&swap, sizeof(swap)) == (long)sizeof(swap)) {
		do_one(&swap);
		if (sys_3(SYS_write, fd, (long)&swap, sizeof(swap)) < 0)
			break;
	}
	for (;;) {
		sys_1(SYS_exit, 0);
		/* A filter does not allow that. */
		sys_futex(&swapper->state, FUTEX_WAIT, RUNNING);
	}
}

/* What a thread's own variables are found by: on x86-64 the first word is where it is. */
static void *make_local(uint8_t *end)
{
	uint8_t *local = end - LOCAL;

	*(uint8_t **)(void *)local = local;
	return local;
}

static long start(struct swapper *all)
{
	const long flags =
		CLONE_VM | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM | CLONE_SETTLS | CLONE_CHILD_CLEARTID;
	uint8_t *local = make_local((uint8_t *)all + AREA);

	signals_own(SIGSEGV);
	signals_own(SIGBUS);
	return sys_clone(flags, local - LOCAL, &all->state, local, run);
}

void swap_start(void)
{
	struct swapper *all = area();
	uint64_t before = 0;
	uint32_t none = NONE;

	set_blocked(~UINT64_C(0), &before);
	if (all && __atomic_compare_exchange_n(&all->state, &none, STARTING, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED) &&
	    start(all) < 0)
		set_state(NONE);
	while (all && __atomic_load_n(&all->state, __ATOMIC_ACQUIRE) == STARTING)
		sys_futex(&all->state, FUTEX_WAIT, STARTING);
	/* One after the other, as the kernel wakes only one. */
	if (all)
		sys_futex(&all->state, FUTEX_WAKE, 1);
	set_blocked(before, NULL);
}
