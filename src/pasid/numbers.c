/* SPDX-License-Identifier: BSD-3-Clause */
#include "pasid/numbers.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>

static uint32_t words_of(unsigned int level)
{
	uint32_t words = NUMBERS >> (NUMBERS_WORD_LG2 * (level + 1));

	return words ? words : 1;
}

void numbers_fini(struct numbers *numbers)
{
	for (unsigned int level = 0; level < NUMBERS_LEVELS; level++)
		free(numbers->used[level]);
}

int numbers_init(struct numbers *numbers)
{
	for (unsigned int level = 0; level < NUMBERS_LEVELS; level++) {
		numbers->used[level] = calloc(words_of(level), sizeof(uint64_t));
		if (!numbers->used[level])
			return -ENOMEM;
	}
	/* The top word has fewer children than bits. */
	numbers->used[NUMBERS_LEVELS - 1][0] = ~((UINT64_C(1) << (NUMBERS >> (NUMBERS_WORD_LG2 * (NUMBERS_LEVELS - 1)))) - 1);
	numbers_take(numbers, 0);
	return 0;
}

void numbers_take(struct numbers *numbers, uint32_t number)
{
	for (unsigned int level = 0; level < NUMBERS_LEVELS; level++) {
		uint64_t *word = &numbers->used[level][number >> NUMBERS_WORD_LG2];

		*word |= UINT64_C(1) << (number & 63);
		if (*word != UINT64_MAX)
			return;
		number >>= NUMBERS_WORD_LG2;
	}
}

void numbers_give(struct numbers *numbers, uint32_t number)
{
	for (unsigned int level = 0; level < NUMBERS_LEVELS; level++) {
		uint64_t *word = &numbers->used[level][number >> NUMBERS_WORD_LG2];
		bool was_full = *word == UINT64_MAX;

		*word &= ~(UINT64_C(1) << (number & 63));
		if (!was_full)
			return;
		number >>= NUMBERS_WORD_LG2;
	}
}

/* Climbs until a word has a free bit at or after the position, then goes down. */
uint32_t numbers_lowest_free(const struct numbers *numbers, uint32_t from)
{
	uint32_t position = from;
	unsigned int level = 0;

	for (;;) {
		uint32_t index = position >> NUMBERS_WORD_LG2;
		uint64_t candidates;

		if (index >= words_of(level))
			return NUMBERS;
		candidates = ~numbers->used[level][index] & (UINT64_MAX << (position & 63));
		if (candidates) {
			position = (index << NUMBERS_WORD_LG2) + (uint32_t)__builtin_ctzll(candidates);
			if (!level)
				return position;
			level--;
			position <<= NUMBERS_WORD_LG2;
		} else {
			if (++level == NUMBERS_LEVELS)
				return NUMBERS;
			position = index + 1;
		}
	}
}
