/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Lines of --check, on the program's standard error and in the trace. Nobody waits for a reader who does not read, and nobody is
 * flooded: what is beyond so many lines a second is counted, and a line says how many there were.
 */
#ifndef SESSION_REPORT_H
#define SESSION_REPORT_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct session;

enum { REPORT_BURST = 64, REPORT_RATE = 16 /* lines a second, beyond these */ };

struct report {
	pthread_mutex_t lock; /* a leaf */
	int fd; /* -1: nobody wants to know */
	bool socket, own;
	uint64_t left_out; /* lines, since the last one */
	unsigned int room; /* for lines, now */
	uint64_t time; /* when it was, in ms */
};

/* @fd: where to, borrowed; or -1. */
void report_init(struct report *report, int fd);
/* Says what was left out. */
void report_fini(struct session *session);

/* "uiommu: [PID NAME] ...". */
void report_line(struct session *session, pid_t pid, const char *format, ...) __attribute__((format(printf, 3, 4)));

#endif
