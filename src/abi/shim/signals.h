/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Signals that say that an instruction has failed, some of which are ours. Handlers of the program's own for them are kept here,
 * and called for all that is not ours, as the kernel would do it: the program finds what it has set, and nothing of ours.
 */
#ifndef SHIM_SIGNALS_H
#define SHIM_SIGNALS_H

#include <signal.h>
#include <stdbool.h>

/* From now on we are asked first: SIGSEGV, SIGILL or SIGBUS. */
void signals_own(int signal);

/* Has the program no handler for it, and does not ignore it? */
bool signals_default(int signal);

/* This thread gets it, as for an instruction that has failed. */
void signals_raise(siginfo_t *info);

#endif
