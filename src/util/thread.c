/* SPDX-License-Identifier: BSD-3-Clause */
#include "util/thread.h"

#include <signal.h>

int thread_start(pthread_t *out, void *(*run)(void *opaque), void *opaque)
{
	sigset_t all, old;
	int error;

	sigfillset(&all);
	sigdelset(&all, SIGSEGV);
	sigdelset(&all, SIGBUS);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	error = pthread_create(out, NULL, run, opaque);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return -error;
}
