/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Lines on stderr, for the journal. Never waits for whoever reads them: a line that does not fit is counted and left out. Lines
 * about clients are limited in rate, so that no client fills the log.
 */
#ifndef DAEMON_LOG_H
#define DAEMON_LOG_H

#include <stdint.h>

/* About the daemon itself. */
void log_line(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* About a client, by its number; @uid and @pid are its own. What cannot be printed is replaced. */
void log_client(uint32_t number, uint32_t uid, uint32_t pid, const char *format, ...) __attribute__((format(printf, 4, 5)));

#endif
