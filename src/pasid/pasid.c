/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Used numbers are bits in a tree of 64-bit words: a bit of a level is set if the 64 bits below it are all set. So the lowest free
 * number is found by looking at one word per level, however full the space is.
 *
 * What is known about a used number lies in a page of entries that is made when its first number is allocated and stays.
 */
#include "pasid/pasid.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <uiommu/types.h>

#include "util/util.h"

enum {
	WORD_LG2 = 6,
	LEVELS = 4, /* 2^24 >= 2^20 */
	NUMBERS = UIOMMU_PASID_LAST + 1,
	ENTRIES_LG2 = 10,
	ENTRIES = 1 << ENTRIES_LG2,
	PAGES = NUMBERS >> ENTRIES_LG2,
};

struct pasid_entry {
	struct pasid_set *set; /* NULL: free */
	uint64_t generation;
	enum pasid_state state;
};

struct pasid_space {
	pthread_mutex_t lock;
	uint64_t generation;
	uint64_t *used[LEVELS]; /* level 0: one bit per number */
	struct pasid_entry *pages[PAGES];
};

struct pasid_set {
	struct pasid_space *space;
	uint32_t quota;
	uint32_t count;
};

static uint32_t words_of(unsigned int level)
{
	uint32_t words = NUMBERS >> (WORD_LG2 * (level + 1));

	return words ? words : 1;
}

void pasid_space_destroy(struct pasid_space *space)
{
	if (!space)
		return;
	for (unsigned int level = 0; level < LEVELS; level++)
		free(space->used[level]);
	for (unsigned int i = 0; i < PAGES; i++)
		free(space->pages[i]);
	pthread_mutex_destroy(&space->lock);
	free(space);
}

static void mark_used(struct pasid_space *space, uint32_t number)
{
	for (unsigned int level = 0; level < LEVELS; level++) {
		uint64_t *word = &space->used[level][number >> WORD_LG2];

		*word |= UINT64_C(1) << (number & 63);
		if (*word != UINT64_MAX)
			return;
		number >>= WORD_LG2;
	}
}

static void mark_free(struct pasid_space *space, uint32_t number)
{
	for (unsigned int level = 0; level < LEVELS; level++) {
		uint64_t *word = &space->used[level][number >> WORD_LG2];
		bool was_full = *word == UINT64_MAX;

		*word &= ~(UINT64_C(1) << (number & 63));
		if (!was_full)
			return;
		number >>= WORD_LG2;
	}
}

struct pasid_space *pasid_space_create(void)
{
	struct pasid_space *space = calloc(1, sizeof(*space));

	if (!space)
		return NULL;
	pthread_mutex_init(&space->lock, NULL);
	for (unsigned int level = 0; level < LEVELS; level++) {
		space->used[level] = calloc(words_of(level), sizeof(uint64_t));
		if (!space->used[level]) {
			pasid_space_destroy(space);
			return NULL;
		}
	}
	/* The top word has fewer children than bits. */
	space->used[LEVELS - 1][0] = ~((UINT64_C(1) << (NUMBERS >> (WORD_LG2 * (LEVELS - 1)))) - 1);
	mark_used(space, 0);
	return space;
}

struct pasid_set *pasid_set_create(struct pasid_space *space, uint32_t quota)
{
	struct pasid_set *set = calloc(1, sizeof(*set));

	if (set) {
		set->space = space;
		set->quota = quota;
	}
	return set;
}

/* The lowest free number >= @from, or NUMBERS. Climbs until a word has a free bit at or after the position, then goes down. */
static uint32_t lowest_free(const struct pasid_space *space, uint32_t from)
{
	uint32_t position = from;
	unsigned int level = 0;

	for (;;) {
		uint32_t index = position >> WORD_LG2;
		uint64_t candidates;

		if (index >= words_of(level))
			return NUMBERS;
		candidates = ~space->used[level][index] & (UINT64_MAX << (position & 63));
		if (candidates) {
			position = (index << WORD_LG2) + (uint32_t)__builtin_ctzll(candidates);
			if (!level)
				return position;
			level--;
			position <<= WORD_LG2;
		} else {
			if (++level == LEVELS)
				return NUMBERS;
			position = index + 1;
		}
	}
}

static struct pasid_entry *find(const struct pasid_set *set, uint32_t number)
{
	struct pasid_entry *entry;

	if (number >= NUMBERS || !set->space->pages[number >> ENTRIES_LG2])
		return NULL;
	entry = &set->space->pages[number >> ENTRIES_LG2][number & (ENTRIES - 1)];
	return entry->set == set ? entry : NULL;
}

static int alloc_locked(struct pasid_set *set, uint32_t first, uint32_t last, uint32_t *out)
{
	struct pasid_space *space = set->space;
	struct pasid_entry **page;
	uint32_t number;

	if (set->count >= set->quota)
		return -EDQUOT;
	number = lowest_free(space, first);
	if (number > last)
		return first == last ? -EBUSY : -ENOSPC;
	page = &space->pages[number >> ENTRIES_LG2];
	if (!*page)
		*page = calloc(ENTRIES, sizeof(**page));
	if (!*page)
		return -ENOMEM;
	(*page)[number & (ENTRIES - 1)] =
		(struct pasid_entry){.set = set, .generation = ++space->generation, .state = PASID_ALLOCATED};
	mark_used(space, number);
	set->count++;
	*out = number;
	return 0;
}

int pasid_alloc(struct pasid_set *set, uint32_t first, uint32_t last, uint32_t *pasid)
{
	int error;

	if (!first || first > last || last >= NUMBERS)
		return -EINVAL;
	pthread_mutex_lock(&set->space->lock);
	error = alloc_locked(set, first, last, pasid);
	pthread_mutex_unlock(&set->space->lock);
	return error;
}

static void release(struct pasid_set *set, uint32_t number, struct pasid_entry *entry)
{
	*entry = (struct pasid_entry){.set = NULL};
	mark_free(set->space, number);
	set->count--;
}

/* One step of the life cycle: @pasid must be in state @from. */
static int step(struct pasid_set *set, uint32_t pasid, enum pasid_state from, enum pasid_state to)
{
	struct pasid_entry *entry;
	int error = 0;

	pthread_mutex_lock(&set->space->lock);
	entry = find(set, pasid);
	if (!entry || entry->state != from)
		error = -ENOENT;
	else if (to == PASID_FREE)
		release(set, pasid, entry);
	else
		entry->state = to;
	pthread_mutex_unlock(&set->space->lock);
	return error;
}

int pasid_bind(struct pasid_set *set, uint32_t pasid)
{
	return step(set, pasid, PASID_ALLOCATED, PASID_BOUND);
}

int pasid_drained(struct pasid_set *set, uint32_t pasid)
{
	return step(set, pasid, PASID_DRAINING, PASID_FREE);
}

int pasid_free(struct pasid_set *set, uint32_t pasid)
{
	if (!step(set, pasid, PASID_BOUND, PASID_DRAINING))
		return PASID_DRAINING;
	return step(set, pasid, PASID_ALLOCATED, PASID_FREE);
}

enum pasid_state pasid_state(const struct pasid_set *set, uint32_t pasid)
{
	const struct pasid_entry *entry;
	enum pasid_state state;

	pthread_mutex_lock(&set->space->lock);
	entry = find(set, pasid);
	state = entry ? entry->state : PASID_FREE;
	pthread_mutex_unlock(&set->space->lock);
	return state;
}

uint64_t pasid_generation(const struct pasid_set *set, uint32_t pasid)
{
	const struct pasid_entry *entry;
	uint64_t generation;

	pthread_mutex_lock(&set->space->lock);
	entry = find(set, pasid);
	generation = entry ? entry->generation : 0;
	pthread_mutex_unlock(&set->space->lock);
	return generation;
}

uint32_t pasid_set_count(const struct pasid_set *set)
{
	uint32_t count;

	pthread_mutex_lock(&set->space->lock);
	count = set->count;
	pthread_mutex_unlock(&set->space->lock);
	return count;
}

static uint32_t next_locked(const struct pasid_set *set, uint32_t from)
{
	for (uint32_t number = from; number < NUMBERS; number++) {
		const struct pasid_entry *page = set->space->pages[number >> ENTRIES_LG2];

		if (!page)
			number |= ENTRIES - 1;
		else if (page[number & (ENTRIES - 1)].set == set)
			return number;
	}
	return 0;
}

uint32_t pasid_next(const struct pasid_set *set, uint32_t from)
{
	uint32_t number;

	pthread_mutex_lock(&set->space->lock);
	number = next_locked(set, from);
	pthread_mutex_unlock(&set->space->lock);
	return number;
}

void pasid_set_free_all(struct pasid_set *set)
{
	for (uint32_t number = pasid_next(set, 1); number; number = pasid_next(set, number + 1))
		pasid_free(set, number);
}

void pasid_set_destroy(struct pasid_set *set)
{
	if (!set)
		return;
	pthread_mutex_lock(&set->space->lock);
	for (uint32_t number = next_locked(set, 1); number; number = next_locked(set, number + 1))
		release(set, number, find(set, number));
	pthread_mutex_unlock(&set->space->lock);
	free(set);
}
