/* SPDX-License-Identifier: BSD-3-Clause */
/* All of it is for handlers, and for fork children of other threads: there are no locks. */
#include "abi/shim/signals.h"

#include <errno.h>
#include <stdint.h>

#include "abi/shim/next.h"
#include "abi/shim/swap.h"
#include "abi/shim/sys.h"
#include "abi/shim/trap.h"

enum { KEPT = 16, SIGNAL_BYTES = 8 };

/* The last that were set; one more is never written over one that is being read. */
struct disposition {
	int signal;
	uint32_t owned;
	uint32_t count; /* that were ever set */
	struct sigaction kept[KEPT];
};

static struct disposition dispositions[] = {{.signal = SIGSEGV}, {.signal = SIGILL}, {.signal = SIGBUS}};

/* NULL: it is not ours. */
static struct disposition *disposition_of(int signal)
{
	for (size_t i = 0; i < sizeof(dispositions) / sizeof(dispositions[0]); i++)
		if (dispositions[i].signal == signal)
			return __atomic_load_n(&dispositions[i].owned, __ATOMIC_ACQUIRE) ? &dispositions[i] : NULL;
	return NULL;
}

static struct sigaction get_action(const struct disposition *disposition)
{
	return disposition->kept[__atomic_load_n(&disposition->count, __ATOMIC_ACQUIRE) % KEPT];
}

static void set_action(struct disposition *disposition, const struct sigaction *action)
{
	uint32_t count = __atomic_load_n(&disposition->count, __ATOMIC_RELAXED);

	disposition->kept[(count + 1) % KEPT] = *action;
	__atomic_store_n(&disposition->count, count + 1, __ATOMIC_RELEASE);
}

static int next_sigaction(int signal, const struct sigaction *action, struct sigaction *old)
{
	if (!next.sigaction)
		next.sigaction = next_find("sigaction");
	return next.sigaction(signal, action, old);
}

ENTRY(int, sigaction, (int signal, const struct sigaction *action, struct sigaction *old))
{
	struct disposition *disposition = disposition_of(signal);
	struct sigaction before;

	if (!disposition)
		return next_sigaction(signal, action, old);
	before = get_action(disposition);
	if (action)
		set_action(disposition, action);
	if (old)
		*old = before;
	return 0;
}

ENTRY(int, __sigaction, (int signal, const struct sigaction *action, struct sigaction *old))
{
	return entry_sigaction(signal, action, old);
}

static sighandler_t set_handler(int signal, sighandler_t handler, int flags)
{
	struct sigaction action = {.sa_flags = flags}, old;

	action.sa_handler = handler;
	return entry_sigaction(signal, &action, &old) ? SIG_ERR : old.sa_handler;
}

#define SET_HANDLER(name, flags)                                                                                                   \
	ENTRY(sighandler_t, name, (int signal, sighandler_t handler))                                                              \
	{                                                                                                                          \
		if (!next.name)                                                                                                    \
			next.name = next_find(#name);                                                                              \
		return disposition_of(signal) ? set_handler(signal, handler, flags) : next.name(signal, handler);                  \
	}

SET_HANDLER(signal, SA_RESTART)
SET_HANDLER(bsd_signal, SA_RESTART)
SET_HANDLER(sysv_signal, (int)(SA_RESETHAND | SA_NODEFER))
SET_HANDLER(__sysv_signal, (int)(SA_RESETHAND | SA_NODEFER))

bool signals_default(int signal)
{
	const struct disposition *disposition = disposition_of(signal);

	return disposition && get_action(disposition).sa_handler == SIG_DFL;
}

/* As if there were no handler: the kernel does what it does then, when the instruction has failed once more. */
static void die(int signal, const siginfo_t *info)
{
	struct sigaction standard = {.sa_handler = SIG_DFL};

	next_sigaction(signal, &standard, NULL);
	if (info->si_code <= 0)
		sys_3(SYS_tgkill, sys_0(SYS_getpid), sys_0(SYS_gettid), signal);
}

void signals_raise(siginfo_t *info)
{
	const struct disposition *disposition = disposition_of(info->si_signo);
	const struct sigaction standard = {.sa_handler = SIG_DFL};

	/* No instruction fails once more. */
	if (disposition && get_action(disposition).sa_handler == SIG_DFL)
		next_sigaction(info->si_signo, &standard, NULL);
	if (!disposition || get_action(disposition).sa_handler != SIG_IGN)
		sys_4(SYS_rt_tgsigqueueinfo, sys_0(SYS_getpid), sys_0(SYS_gettid), info->si_signo, (long)info);
}

static void pass_on(struct disposition *disposition, siginfo_t *info, void *context)
{
	struct sigaction action = get_action(disposition);
	const struct sigaction standard = {.sa_handler = SIG_DFL};
	const ucontext_t *interrupted = context;
	sigset_t blocked = interrupted->uc_sigmask;
	const int signal = disposition->signal;

	if (action.sa_handler == SIG_IGN && info->si_code <= 0)
		return;
	if (action.sa_handler == SIG_IGN || action.sa_handler == SIG_DFL) {
		die(signal, info);
		return;
	}
	if (action.sa_flags & (int)SA_RESETHAND)
		set_action(disposition, &standard);
	for (int i = 1; i < 64; i++)
		if (sigismember(&action.sa_mask, i) == 1 || (i == signal && !(action.sa_flags & SA_NODEFER)))
			sigaddset(&blocked, i);
	sys_4(SYS_rt_sigprocmask, SIG_SETMASK, (long)&blocked, 0, SIGNAL_BYTES);
	if (action.sa_flags & SA_SIGINFO)
		action.sa_sigaction(signal, info, context);
	else
		action.sa_handler(signal);
}

static void on_signal(int signal, siginfo_t *info, void *context)
{
	int kept_errno;
	bool ours;

	/* First, as its thread has no errno. */
	if (swap_signal(signal, info, context))
		return;
	kept_errno = errno;
	ours = trap_signal(signal, info, context);
	errno = kept_errno;
	if (!ours)
		pass_on(disposition_of(signal), info, context);
}

void signals_own(int signal)
{
	/* With none blocked, one that arrives meanwhile is handled: each access is a call, which blocks all. */
	struct sigaction ours = {.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER | SA_RESTART}, old;
	struct disposition *disposition = dispositions;

	ours.sa_sigaction = on_signal;
	while (disposition->signal != signal)
		disposition++;
	if (!__atomic_exchange_n(&disposition->owned, 1, __ATOMIC_ACQ_REL) && !next_sigaction(signal, &ours, &old))
		set_action(disposition, &old);
}
