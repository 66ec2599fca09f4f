/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * 2^20 numbers, in use or free: bits in a tree of 64-bit words. A bit of a level is set if the 64 bits below it are all set. So the
 * lowest free number is found by looking at one word per level, however full the space is. Not thread-safe.
 */
#ifndef PASID_NUMBERS_H
#define PASID_NUMBERS_H

#include <stdint.h>
#include <uiommu/types.h>

enum {
	NUMBERS_WORD_LG2 = 6,
	NUMBERS_LEVELS = 4, /* 2^24 >= 2^20 */
	NUMBERS = UIOMMU_PASID_LAST + 1,
};

struct numbers {
	uint64_t *used[NUMBERS_LEVELS]; /* level 0: one bit per number */
};

/* All are free but 0. -ENOMEM; numbers_fini() all the same. */
int numbers_init(struct numbers *numbers);
void numbers_fini(struct numbers *numbers);

/* The lowest free number >= @from, or NUMBERS. */
uint32_t numbers_lowest_free(const struct numbers *numbers, uint32_t from);

void numbers_take(struct numbers *numbers, uint32_t number);
void numbers_give(struct numbers *numbers, uint32_t number);

#endif
