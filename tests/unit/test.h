/* SPDX-License-Identifier: BSD-3-Clause */
/* cmocka needs these before itself. */
#ifndef TEST_H
#define TEST_H

#include <dirent.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* How many of @count random operations to do: `make check-long` sets UIOMMU_TEST_SCALE to do more of them. */
static inline unsigned int scaled(unsigned int count)
{
	const char *scale = getenv("UIOMMU_TEST_SCALE");

	return scale ? count * (unsigned int)strtoul(scale, NULL, 10) : count;
}

/* Numbers that follow from @seed, which is not 0. */
static inline uint64_t random_number(uint64_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return *seed;
}

/* That this process has open, and some that are always there. */
static inline unsigned int count_descriptors(void)
{
	DIR *folder = opendir("/proc/self/fd");
	unsigned int count = 0;

	assert_non_null(folder);
	while (readdir(folder))
		count++;
	closedir(folder);
	return count;
}

#endif
