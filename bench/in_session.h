/* SPDX-License-Identifier: BSD-3-Clause */
/* For programs that measure what a program in a session pays. */
#ifndef BENCH_IN_SESSION_H
#define BENCH_IN_SESSION_H

#include <stddef.h>
#include <sys/types.h>

/* Unless it is in one, the program becomes itself under `uiommu run`, with @device, on one CPU. */
void in_session(char **argv, const char *device, unsigned int cpu);

/* A process that sleeps in recv(2) and answers each message with @answer bytes. Its socket; *@child is to be killed and waited for.
 */
int in_session_echo(size_t answer, pid_t *child);

#endif
