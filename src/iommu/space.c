/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Taking areas out of a space. The order is what Law 2 rests on:
 *  1. under the lock: see that the range holds whole areas without pins (asking for pins leaves the lock, and then it is seen
 * again), take them out of the map;
 *  2. without it: wait for a grace period, so that whoever found one of them in a read section has entered it or is done; ask
 *     devices to forget what they keep (ats.h); wait for those who have entered; give the memory back;
 *  3. under the lock: free the areas and the map's retired nodes.
 */
#include <errno.h>

#include "iommu/ats.h"
#include "iommu/dirty.h"
#include "iommu/ioas.h"
#include "memory/presence.h"
#include "memory/region.h"
#include "translate/absent.h"
#include "util/rcu.h"
#include "util/util.h"

/* Pins that come back as often as this while they are asked to go are taken for pins that stay. */
enum { TRIES = 8, RETIRED_MAX = 64 };

void space_init(struct space *space, struct process *process)
{
	pthread_mutex_init(&space->lock, NULL);
	areas_init(&space->areas);
	CDS_INIT_LIST_HEAD(&space->tracked);
	CDS_INIT_LIST_HEAD(&space->releases);
	CDS_INIT_LIST_HEAD(&space->keepers);
	space->keeper_number = 0;
	space->process = process;
}

void space_fini(struct space *space)
{
	areas_fini(&space->areas);
	pthread_mutex_destroy(&space->lock);
}

/* The area after @area that begins at @last or before, or NULL. */
static struct area *area_after(struct space *space, const struct area *area, uint64_t last)
{
	struct area *next = area->last < last ? areas_seek(&space->areas, area->last + 1) : NULL;

	return next && next->start <= last ? next : NULL;
}

static struct area *area_from(struct space *space, uint64_t start, uint64_t last)
{
	struct area *first = areas_seek(&space->areas, start);

	return first && first->start <= last ? first : NULL;
}

/* -ENOENT: one is only partly inside; -EBUSY: another thread is at it. @pinned: the first one with pins, or NULL. */
static int check_range(struct space *space, struct area *first, uint64_t start, uint64_t last, struct area **pinned)
{
	*pinned = NULL;
	if (first->start < start)
		return -ENOENT;
	for (struct area *area = first; area; area = area_after(space, area, last)) {
		if (area->last > last)
			return -ENOENT;
		if (area->revoking || area->locked)
			return -EBUSY;
		if (area->pins.next && !*pinned)
			*pinned = area;
	}
	return 0;
}

/* Ask for the pins of all areas from @area to @last. Leaves the lock meanwhile. */
static int ask_for_pins(struct space *space, struct area *area, uint64_t last)
{
	struct area *next;
	int error = 0;

	for (; area && !error; area = next) {
		if (area->pins.next && !area->revoking) {
			area->revoking = true;
			pthread_mutex_unlock(&space->lock);
			error = pins_revoke(space, area, NULL);
			pthread_mutex_lock(&space->lock);
			area->revoking = false;
		}
		next = area_after(space, area, last);
	}
	return error;
}

/* At least one area, whole, without pins; the first one is @first. */
static int claim_range(struct space *space, uint64_t start, uint64_t last, struct area **first)
{
	for (unsigned int i = 0; i < TRIES; i++) {
		struct area *pinned;
		int error;

		*first = area_from(space, start, last);
		error = *first ? check_range(space, *first, start, last, &pinned) : -ENOENT;
		if (error || !pinned)
			return error;
		error = ask_for_pins(space, pinned, last);
		if (error)
			return error;
	}
	return -EDEADLOCK;
}

void space_take(struct space *space, struct area *area, uint64_t last, struct release *release)
{
	struct area *next;

	*release = (struct release){.start = area->start};
	for (; area; area = next) {
		areas_remove(&space->areas, area);
		dirty_unmap(space, area);
		next = area_after(space, area, last);
		release->last = area->last;
		area->next = release->taken;
		release->taken = area;
	}
	release->retired = areas_retired(&space->areas);
	release->kept = !cds_list_empty(&space->keepers);
	cds_list_add(&release->link, &space->releases);
	dirty_forget(space, release);
}

static void free_taken(struct space *space, struct area *taken)
{
	struct area *next;

	for (; taken; taken = next) {
		next = taken->next;
		areas_free(&space->areas, taken);
	}
}

void space_release(struct space *space, struct release *release)
{
	rcu_wait();
	if (release->kept)
		ats_ask_unmapped(space, release->start, release->last);
	for (struct area *area = release->taken; area; area = area->next) {
		if (!area->resident)
			drain_wait(&area->drain);
		absent_look_again(area);
		area_unpin(area);
		region_put(area->region);
	}
	pthread_mutex_lock(&space->lock);
	cds_list_del(&release->link);
	free_taken(space, release->taken);
	areas_reclaim(&space->areas, release->retired);
	dirty_reclaim(space, release);
	pthread_mutex_unlock(&space->lock);
}

/* The halves of @area, each with a reference. */
static bool halves_of(struct space *space, const struct area *area, uint64_t last, struct area *half[2])
{
	for (unsigned int i = 0; i < 2; i++) {
		half[i] = areas_alloc(&space->areas);
		if (!half[i])
			break;
		half[i]->start = i ? last + 1 : area->start;
		half[i]->last = i ? area->last : last;
		half[i]->host = (uint8_t *)((uintptr_t)area->host + (half[i]->start - area->start));
		half[i]->access = area->access;
		half[i]->limit = area->limit;
		half[i]->resident = area->resident;
		half[i]->region = area->region;
	}
	if (half[0] && half[1])
		return true;
	if (half[0])
		areas_free(&space->areas, half[0]);
	return false;
}

/* As @area is: so nothing new is asked of the memory. */
static int pin_halves(const struct area *area, struct area *half[2])
{
	int error = 0;

	for (unsigned int i = 0; i < 2 && area->pinned && !error; i++) {
		error = region_pin(area->region, area_offset(half[i], half[i]->start), half[i]->last - half[i]->start + 1,
				   half[i]->start, 0);
		half[i]->pinned = !error;
	}
	return error;
}

/* Under the lock. The halves have what @area had; it is still used by those who have found it. */
static int cut(struct space *space, struct area *area, uint64_t last, struct release *release)
{
	struct area *half[2];
	int error;

	if (area->pins.next || area->revoking || area->locked)
		return -EINVAL;
	if (!halves_of(space, area, last, half))
		return -ENOMEM;
	error = pin_halves(area, half);
	if (!error)
		error = areas_split(&space->areas, area, half[0], half[1]);
	for (unsigned int i = 0; i < 2 && error; i++) {
		area_unpin(half[i]);
		areas_free(&space->areas, half[i]);
	}
	if (error)
		return error;
	region_get(area->region);
	region_get(area->region);
	area->next = NULL;
	*release = (struct release){.start = area->start, .last = area->last, .taken = area};
	release->retired = areas_retired(&space->areas);
	cds_list_add(&release->link, &space->releases);
	return 0;
}

int space_cut(struct space *space, uint64_t last)
{
	struct release release = {.taken = NULL};
	struct area *area;
	int error = 0;

	pthread_mutex_lock(&space->lock);
	area = areas_find(&space->areas, last);
	if (area && area->last > last)
		error = cut(space, area, last, &release);
	pthread_mutex_unlock(&space->lock);
	if (release.taken)
		space_release(space, &release);
	return error;
}

static uint64_t sum_of(const struct area *taken)
{
	uint64_t bytes = 0;

	for (; taken; taken = taken->next)
		bytes += taken->last - taken->start + 1;
	return bytes;
}

/* Leaves the lock. */
static int unmap_locked(struct space *space, uint64_t start, uint64_t last, uint64_t *unmapped)
{
	struct release release;
	struct area *first;
	int error = claim_range(space, start, last, &first);

	if (error) {
		pthread_mutex_unlock(&space->lock);
		return error;
	}
	space_take(space, first, last, &release);
	pthread_mutex_unlock(&space->lock);
	*unmapped = sum_of(release.taken);
	space_release(space, &release);
	return 0;
}

int space_unmap(struct space *space, uint64_t start, uint64_t last, uint64_t *unmapped)
{
	pthread_mutex_lock(&space->lock);
	return unmap_locked(space, start, last, unmapped);
}

int space_unmap_exactly(struct space *space, uint64_t start, uint64_t last)
{
	const struct area *area;
	uint64_t unmapped;

	pthread_mutex_lock(&space->lock);
	area = areas_find(&space->areas, start);
	if (area && area->start == start && area->last == last)
		return unmap_locked(space, start, last, &unmapped);
	pthread_mutex_unlock(&space->lock);
	return -ENOENT;
}

/* The holder finds his pin gone from the area when he puts it. */
static void forget_pins(struct area *area)
{
	while (area->pins.next) {
		struct cds_hlist_node *node = area->pins.next;

		cds_hlist_del(node);
		node->prev = NULL;
	}
}

void space_clear(struct space *space)
{
	struct release release;
	struct area *first;

	pthread_mutex_lock(&space->lock);
	first = area_from(space, 0, UINT64_MAX);
	for (struct area *area = first; area; area = area_after(space, area, UINT64_MAX))
		forget_pins(area);
	if (first)
		space_take(space, first, UINT64_MAX, &release);
	pthread_mutex_unlock(&space->lock);
	if (first)
		space_release(space, &release);
}

void space_unlock_tidy(struct space *space)
{
	struct areas_node *retired = space->areas.retired_count < RETIRED_MAX ? NULL : areas_retired(&space->areas);

	pthread_mutex_unlock(&space->lock);
	if (!retired)
		return;
	rcu_wait();
	pthread_mutex_lock(&space->lock);
	areas_reclaim(&space->areas, retired);
	pthread_mutex_unlock(&space->lock);
}
