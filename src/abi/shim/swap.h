/* SPDX-License-Identifier: BSD-3-Clause */
/* A thread that does compare-and-swaps for the session, in programs that have page tables of a guest. */
#ifndef SHIM_SWAP_H
#define SHIM_SWAP_H

#include <signal.h>
#include <stdbool.h>

/* There is one afterwards, and the session knows it; if there can be none, there is none. */
void swap_start(void);

/* A signal's handler: was it that thread's? */
bool swap_signal(int signal, const siginfo_t *info, void *context);

#endif
