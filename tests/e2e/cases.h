/* SPDX-License-Identifier: BSD-3-Clause */
/* A program that does one of several things, by name, and says "ok". */
#ifndef TESTS_E2E_CASES_H
#define TESTS_E2E_CASES_H

#include <stddef.h>
#include <stdio.h>
#include <string.h>

struct test_case {
	const char *name;
	void (*run)(char **arguments);
};

static inline int run_case(int argc, char **argv, const struct test_case *cases, size_t count)
{
	for (size_t i = 0; argc > 1 && i < count; i++)
		if (!strcmp(argv[1], cases[i].name)) {
			cases[i].run(argv + 2);
			printf("ok\n");
			return 0;
		}
	fprintf(stderr, "no such case\n");
	return 2;
}

#endif
