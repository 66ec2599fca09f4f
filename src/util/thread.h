/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef UTIL_THREAD_H
#define UTIL_THREAD_H

#include <pthread.h>

/* Start a thread that the program's signals are not for; SIGSEGV and SIGBUS come to whoever caused them. -EAGAIN. */
int thread_start(pthread_t *out, void *(*run)(void *opaque), void *opaque);

#endif
