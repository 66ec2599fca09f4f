/* SPDX-License-Identifier: BSD-3-Clause */
/* What fuzz targets have in common. */
#ifndef TESTS_FUZZ_FUZZ_H
#define TESTS_FUZZ_FUZZ_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What holds whatever the input is. */
#define CHECK(condition)                                                                                                           \
	do {                                                                                                                       \
		if (!(condition)) {                                                                                                \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                                            \
			abort();                                                                                                   \
		}                                                                                                                  \
	} while (0)

/* What is left of an input; beyond its end there are zeroes. */
struct input {
	const uint8_t *data;
	size_t left;
};

/* As many bytes as there are, which it returns, and zeroes. */
static inline size_t take(struct input *input, void *out, size_t size)
{
	size_t there = size < input->left ? size : input->left;

	memset(out, 0, size);
	memcpy(out, input->data, there);
	input->data += there;
	input->left -= there;
	return there;
}

/* The number that the next bytes are; eight at most. */
static inline uint64_t take_number(struct input *input, size_t bytes)
{
	uint64_t value = 0;

	take(input, &value, bytes);
	return value;
}

static inline uint8_t take_byte(struct input *input)
{
	return (uint8_t)take_number(input, 1);
}

#endif
