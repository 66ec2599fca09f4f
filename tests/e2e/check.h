/* SPDX-License-Identifier: BSD-3-Clause */
/* How programs that are run by tests say what has gone wrong: also in a child, and in a thread. */
#ifndef TESTS_E2E_CHECK_H
#define TESTS_E2E_CHECK_H

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#define CHECK(condition)                                                                                                           \
	do {                                                                                                                       \
		if (!(condition)) {                                                                                                \
			fprintf(stderr, "%s:%d: %s (errno %d)\n", __FILE__, __LINE__, #condition, errno);                          \
			_exit(1);                                                                                                  \
		}                                                                                                                  \
	} while (0)

#endif
