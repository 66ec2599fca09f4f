/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Lines on stderr, for the journal. Never waits for whoever reads them: a line that does not fit is counted and left out. Lines
 * about clients are limited in rate, each client's by itself and all together, so that none fills the log, or keeps others' lines
 * out of it.
 */
#ifndef DAEMON_LOG_H
#define DAEMON_LOG_H

#include <stdint.h>
#include <time.h>

/* Where lines go: stderr, until tests say otherwise (-1: nowhere). */
extern int log_fd;

/* Whom lines are about. Beyond the first three all zeros at first. */
struct log_source {
	uint32_t number;
	uint32_t uid;
	uint32_t pid;
	unsigned int lines; /* that it has had in this second */
	time_t second;
	unsigned long left_out;
};

/* About the daemon itself. */
void log_line(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* About a client. What cannot be printed is replaced. */
void log_client(struct log_source *source, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
