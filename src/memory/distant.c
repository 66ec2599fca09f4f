/* SPDX-License-Identifier: BSD-3-Clause */
#include "memory/distant.h"

#include <stdlib.h>
#include <string.h>
#include <uiommu/fault.h>

#include "memory/load.h"
#include "memory/region.h"

enum {
	ENTRIES = 64, /* more than two stages of six levels have */
	WORDS = 8, /* of the largest entry, a context descriptor */
	LOSSES = 64, /* of one entry's compare-and-swap: then somebody is playing with us */
};

/* A copy of an entry. */
struct copy {
	uint64_t region; /* its serial number */
	uint64_t place; /* as area->host */
	uint8_t length;
	uint8_t losses;
	bool failed; /* it cannot be read */
	bool fixed; /* it cannot be changed */
	uint64_t words[WORDS];
};

struct distant {
	uint64_t serial, more; /* of what is walked */
	uint64_t address; /* whose walk that is, where it is known */
	unsigned int count;
	/* What is asked for, with its area entered: */
	struct inflight_slot *slot; /* NULL: nothing */
	struct area *area;
	uint64_t place;
	uint8_t length;
	struct copy *changed; /* NULL: to be read. As it was: */
	uint64_t before;
	struct copy copies[ENTRIES];
};

uint64_t distant_serial(void)
{
	static uint64_t last;

	return __atomic_add_fetch(&last, 1, __ATOMIC_RELAXED);
}

static void leave(struct distant *distant)
{
	if (distant->slot)
		inflight_leave(distant->slot);
	distant->slot = NULL;
	distant->changed = NULL;
}

void distant_drop(struct thread_state *self)
{
	leave(self->distant);
	self->distant->count = 0;
	self->asked = false;
}

void distant_free(struct thread_state *self)
{
	free(self->distant);
	self->distant = NULL;
}

void distant_keep_of(struct thread_state *self, uint64_t serial, uint64_t more)
{
	struct distant *distant = self->distant;

	if (distant->serial == serial && distant->more == more)
		return;
	distant->serial = serial;
	distant->more = more;
	if (distant->changed) { /* what asked for that is out of date */
		leave(distant);
		self->asked = false;
	}
	distant->count = 0;
}

static struct copy *find(struct distant *distant, uint64_t region, uint64_t place, uint64_t size)
{
	for (unsigned int i = 0; i < distant->count; i++) {
		struct copy *copy = &distant->copies[i];

		if (copy->region == region && copy->place <= place && place - copy->place + size <= copy->length)
			return copy;
	}
	return NULL;
}

/* From now on it is asked for, unless something else is: then that comes first. */
static void ask(struct thread_state *self, struct area *area, uint64_t place, uint64_t size, struct copy *changed)
{
	struct distant *distant = self->distant;

	self->asked = true;
	if (!distant || distant->slot)
		return;
	distant->slot = inflight_enter(self, &area->drain);
	distant->area = area;
	distant->place = place;
	distant->length = (uint8_t)size;
	distant->changed = changed;
	if (changed)
		memcpy(&distant->before, (uint8_t *)changed->words + (place - changed->place), size);
}

static uint8_t *find_distant(struct area *area, uint64_t place, uint64_t size, unsigned int access, unsigned int *reason)
{
	struct thread_state *self = &thread_current;
	struct distant *distant = self->distant;
	struct copy *copy = distant ? find(distant, region_serial(area->region), place, size) : NULL;

	*reason = UIOMMU_FAULT_MEMORY;
	if (!self->reaches || size > sizeof(copy->words) || (copy && copy->failed))
		return NULL;
	if (copy && access & UIOMMU_WRITE) {
		*reason = UIOMMU_FAULT_UPDATE;
		if (!(area->access & UIOMMU_WRITE) || copy->fixed || size > sizeof(uint64_t))
			return NULL;
		*reason = DISTANT_FIRST;
		if (self->asked)
			return NULL;
		ask(self, area, place, size, copy);
	}
	if (copy)
		return (uint8_t *)copy->words + (place - copy->place);
	if (distant && distant->count == ENTRIES)
		return NULL;
	*reason = DISTANT_FIRST;
	ask(self, area, place, size, NULL);
	return NULL;
}

uint8_t *area_elsewhere(struct area *area, uint64_t address, uint64_t size, unsigned int access, unsigned int *reason)
{
	const uint64_t offset = address - area->start;

	if (!region_presence(area->region)) {
		*reason = UIOMMU_FAULT_MEMORY;
		return region_may_hold_tables(area->region)
			       ? find_distant(area, (uintptr_t)area->host + offset, size, access, reason)
			       : NULL;
	}
	*reason = area_absence(area, address);
	if (*reason)
		return NULL;
	*reason = UIOMMU_FAULT_UPDATE;
	return (area->access & access) == access ? area->host + offset : NULL;
}

/* --- outside of read sections --- */

static void *host_of(uint64_t place)
{
	return (void *)(uintptr_t)place;
}

static bool read_words(const struct distant *distant, uint64_t *words)
{
	const struct region *region = distant->area->region;
	unsigned int reason;

	if (region_is_remote(region))
		return region_remote_access(region, distant->place, words, distant->length, UIOMMU_READ, &reason) ==
		       distant->length;
	if (distant->length == sizeof(uint32_t)) {
		uint32_t half = 0;
		bool there = load_u32(host_of(distant->place), &half);

		*words = half;
		return there;
	}
	for (unsigned int i = 0; i < distant->length / sizeof(*words); i++)
		if (!load_u64(host_of(distant->place + i * sizeof(*words)), &words[i]))
			return false;
	return true;
}

static void read_entry(struct distant *distant)
{
	struct copy *copy = &distant->copies[distant->count++];

	*copy = (struct copy){.region = region_serial(distant->area->region), .place = distant->place, .length = distant->length};
	copy->failed = !read_words(distant, copy->words);
}

/* @expected becomes what was there. False: it cannot be done. */
static bool swap(const struct distant *distant, uint64_t *expected, uint64_t value)
{
	const struct region *region = distant->area->region;
	uint32_t half = (uint32_t)*expected;
	bool done;

	if (region_is_remote(region))
		return region_remote_swap(region, distant->place, distant->length, expected, value);
	if (distant->length == sizeof(value))
		return compare_swap_u64(host_of(distant->place), expected, value);
	done = compare_swap_u32(host_of(distant->place), &half, (uint32_t)value);
	*expected = half;
	return done;
}

static void change_entry(struct distant *distant)
{
	struct copy *copy = distant->changed;
	uint8_t *words = (uint8_t *)copy->words + (distant->place - copy->place);
	uint64_t expected = distant->before, value = 0;

	memcpy(&value, words, distant->length);
	if (value == expected)
		return;
	if (!swap(distant, &expected, value) || (expected != distant->before && ++copy->losses == LOSSES)) {
		copy->fixed = true;
		expected = distant->before;
		memcpy(words, &expected, distant->length);
	} else if (expected != distant->before) {
		memcpy(words, &expected, distant->length);
	}
}

void distant_of(struct thread_state *self, uint64_t address)
{
	struct distant *distant = self->distant;

	if (!distant || distant->address == address)
		return;
	distant->address = address;
	if (!distant->changed)
		distant->count = 0;
}

bool distant_fetch(struct thread_state *self)
{
	struct distant *distant = self->distant;

	self->asked = false;
	if (!distant) {
		self->distant = calloc(1, sizeof(*distant));
		return self->distant;
	}
	if (!distant->slot)
		return true;
	if (distant->changed)
		change_entry(distant);
	else if (distant->count < ENTRIES)
		read_entry(distant);
	leave(distant);
	return true;
}
