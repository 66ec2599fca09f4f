/* SPDX-License-Identifier: BSD-3-Clause */
/* For programs that run inside a guest: one ends with status 1 at the first thing that is not as it should be, and says which. */
#ifndef TESTS_GUEST_CHECK_H
#define TESTS_GUEST_CHECK_H

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(condition)                                                                                                           \
	do {                                                                                                                       \
		if (!(condition)) {                                                                                                \
			printf("FAILED: %s, line %d: %s (errno %d: %s)\n", __FILE__, __LINE__, #condition, errno,                  \
			       strerror(errno));                                                                                   \
			exit(1);                                                                                                   \
		}                                                                                                                  \
	} while (0)

#endif
