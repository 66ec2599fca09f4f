/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Changes of a guest's memory: areas that go and areas that come, all or none.
 *
 * All that can fail comes before anything is seen: files are mapped without the lock; under it, areas are marked (what is kept,
 * what leaves), pins are asked for, which leaves the lock and begins again, and memory for the map's nodes is set aside. Then areas
 * are taken out and put in, which cannot fail any more.
 */
#include <errno.h>
#include <stdlib.h>
#include <uiommu/guest_memory.h>

#include "iommu/dirty.h"
#include "iommu/ioas.h"
#include "memory/demand.h"
#include "memory/presence.h"
#include "memory/region.h"
#include "translate/inflight.h"
#include "util/util.h"

/* Pins that come back as often as this while they are asked to go are taken for pins that stay. */
enum { TRIES = 8 };

/* One region that is added. */
struct addition {
	uint64_t start, last;
	struct region *memory; /* ours to put */
	struct area *area; /* what it becomes; NULL: it is there already */
};

struct change {
	struct ioas *ioas;
	const struct uiommu_guest_memory *given;
	struct addition *additions;
	uint32_t mapped; /* so many of them have memory */
};

/* --- without the lock --- */

static int check_counts(const struct uiommu_guest_memory *given)
{
	if (given->remove_count > UIOMMU_GUEST_REGIONS_MAX || given->add_count > UIOMMU_GUEST_REGIONS_MAX)
		return -EINVAL;
	if ((given->remove_count && !given->remove) || (given->add_count && !given->add))
		return -EINVAL;
	for (uint32_t i = 0; i < given->remove_count; i++)
		if (given->remove[i].start > given->remove[i].last)
			return -EINVAL;
	return 0;
}

static int set_on_demand(struct uiommu_context *context, struct region *memory, const struct uiommu_guest_region *region)
{
	struct presence_config config = {
		.start = region->gpa,
		.page_lg2 = region->page_lg2,
		.bitmap_fd = region->bitmap_fd,
		.bitmap_offset = region->bitmap_offset,
		.minor = region->flags & UIOMMU_GUEST_MINOR,
		.demand = demand_of(context, region->demand_id),
	};
	struct presence *presence;
	int error = 0;

	if (!config.demand)
		return -ENOENT;
	if (!region_resident(memory))
		error = -EINVAL;
	else if (config.bitmap_fd < 0 && context->without & UIOMMU_WITHOUT_USERFAULTFD)
		error = -EOPNOTSUPP;
	if (!error)
		error = presence_create(&config, region_host(memory), region_length(memory), &presence);
	demand_put(config.demand);
	if (!error)
		region_set_presence(memory, presence);
	return error;
}

static int check_region(const struct uiommu_guest_region *region)
{
	if (region->flags & ~(uint32_t)(UIOMMU_GUEST_ON_DEMAND | UIOMMU_GUEST_MINOR))
		return -EOPNOTSUPP;
	if (region->flags & UIOMMU_GUEST_MINOR && (!(region->flags & UIOMMU_GUEST_ON_DEMAND) || region->bitmap_fd >= 0))
		return -EINVAL;
	if (!(region->flags & UIOMMU_GUEST_ON_DEMAND) && (region->demand_id || region->page_lg2 || region->bitmap_offset))
		return -EINVAL;
	return region->reserved ? -EINVAL : 0;
}

static int map_region(struct uiommu_context *context, struct addition *addition, const struct uiommu_guest_region *region)
{
	int error = check_region(region);

	if (error)
		return error;
	addition->start = region->gpa;
	if (!region->length || (region->access != UIOMMU_READ && region->access != (UIOMMU_READ | UIOMMU_WRITE)))
		return -EINVAL;
	if (__builtin_add_overflow(region->gpa, region->length - 1, &addition->last))
		return -EOVERFLOW;
	error = region_file(region->fd, region->offset, region->length, region->access, false, &addition->memory);
	if (error || !(region->flags & UIOMMU_GUEST_ON_DEMAND))
		return error;
	error = set_on_demand(context, addition->memory, region);
	if (error)
		region_put(addition->memory);
	return error;
}

static bool overlaps(const struct addition *a, const struct addition *b)
{
	return a->start <= b->last && b->start <= a->last;
}

static int map_regions(struct change *change)
{
	for (uint32_t i = 0; i < change->given->add_count; i++) {
		int error = map_region(change->ioas->object.context, &change->additions[i], &change->given->add[i]);

		if (error)
			return error;
		change->mapped++;
		for (uint32_t j = 0; j < i; j++)
			if (overlaps(&change->additions[i], &change->additions[j]))
				return -EEXIST;
	}
	return 0;
}

/* --- under the lock --- */

static struct areas *areas_of(const struct change *change)
{
	return &change->ioas->space.areas;
}

/* The first area that begins at @last or before and ends at @start or behind. */
static struct area *area_in(const struct change *change, uint64_t start, uint64_t last)
{
	struct area *area = areas_first(areas_of(change), start);

	return area && area->start <= last ? area : NULL;
}

static struct area *area_next(const struct change *change, const struct area *area, uint64_t last)
{
	return area->last < last ? area_in(change, area->last + 1, last) : NULL;
}

/* What is there already as it is to be. */
static struct area *area_equal(const struct change *change, const struct addition *addition)
{
	struct area *area = areas_find(areas_of(change), addition->start);

	return area && area->start == addition->start && area->last == addition->last && area->access == area->limit &&
			       area->region && area->host == region_host(area->region) &&
			       region_equal(area->region, addition->memory)
		       ? area
		       : NULL;
}

static int mark_range(const struct change *change, const struct uiommu_range *range)
{
	for (struct area *area = area_in(change, range->start, range->last); area; area = area_next(change, area, range->last)) {
		if (area->start < range->start || area->last > range->last)
			return -ENOENT;
		area->leaves = !area->stays;
	}
	return 0;
}

static void unmark(const struct change *change)
{
	const struct uiommu_guest_memory *given = change->given;
	struct area *area;

	for (uint32_t i = 0; i < given->remove_count; i++)
		for (area = area_in(change, given->remove[i].start, given->remove[i].last); area;
		     area = area_next(change, area, given->remove[i].last))
			area->leaves = false;
	for (uint32_t i = 0; i < given->add_count; i++) {
		area = areas_find(areas_of(change), change->additions[i].start);
		if (area)
			area->stays = false;
	}
}

/* What is kept, and what leaves. */
static int mark(const struct change *change)
{
	int error = 0;

	for (uint32_t i = 0; i < change->given->add_count; i++) {
		struct area *area = area_equal(change, &change->additions[i]);

		if (area)
			area->stays = true;
	}
	for (uint32_t i = 0; i < change->given->remove_count && !error; i++)
		error = mark_range(change, &change->given->remove[i]);
	return error;
}

static int check_pages(const struct change *change, const struct addition *addition)
{
	uint64_t reserved;
	int error = ioas_check_alignment(change->ioas, addition->start, addition->last - addition->start + 1, 0);

	if (error)
		return error;
	return iova_reserved(change->ioas, addition->start, addition->last, &reserved) ? -EINVAL : 0;
}

static int check_addition(const struct change *change, const struct addition *addition)
{
	bool tracked = !cds_list_empty(&change->ioas->space.tracked);

	for (struct area *area = area_in(change, addition->start, addition->last); area;
	     area = area_next(change, area, addition->last)) {
		if (!area->leaves)
			return -EEXIST;
		if (tracked)
			return -EADDRINUSE;
	}
	return check_pages(change, addition);
}

static int check_additions(const struct change *change)
{
	int error = 0;

	for (uint32_t i = 0; i < change->given->add_count && !error; i++)
		if (!area_equal(change, &change->additions[i]))
			error = check_addition(change, &change->additions[i]);
	return error;
}

/* The first area that leaves and has pins. -EBUSY: another thread asks for them. */
static int find_pinned(const struct change *change, struct area **pinned)
{
	const struct uiommu_guest_memory *given = change->given;

	*pinned = NULL;
	for (uint32_t i = 0; i < given->remove_count; i++)
		for (struct area *area = area_in(change, given->remove[i].start, given->remove[i].last); area;
		     area = area_next(change, area, given->remove[i].last)) {
			if (area->leaves && (area->revoking || area->locked))
				return -EBUSY;
			if (area->leaves && area->pins.next && !*pinned)
				*pinned = area;
		}
	return 0;
}

/* Leaves the lock. */
static int ask_for_pins(struct space *space, struct area *area)
{
	int error;

	area->revoking = true;
	pthread_mutex_unlock(&space->lock);
	error = pins_revoke(space, area, NULL);
	pthread_mutex_lock(&space->lock);
	area->revoking = false;
	return error;
}

/* Everything is marked, checked, and without pins; or nothing is marked. */
static int claim(const struct change *change)
{
	for (unsigned int i = 0; i < TRIES; i++) {
		struct area *pinned = NULL;
		int error = mark(change);

		if (!error)
			error = find_pinned(change, &pinned);
		if (!error && !pinned)
			error = check_additions(change);
		if (!error && !pinned)
			return 0;
		unmark(change);
		if (!error)
			error = ask_for_pins(&change->ioas->space, pinned);
		if (error)
			return error;
	}
	return -EDEADLOCK;
}

static void drop_areas(const struct change *change)
{
	struct space *space = &change->ioas->space;

	for (uint32_t i = 0; i < change->given->add_count; i++) {
		if (!change->additions[i].area)
			continue;
		dirty_unmap(space, change->additions[i].area);
		areas_free(&space->areas, change->additions[i].area);
		change->additions[i].area = NULL;
	}
}

static int make_area(struct space *space, struct addition *addition)
{
	struct area *area = areas_alloc(&space->areas);
	int error;

	if (!area)
		return -ENOMEM;
	area->start = addition->start;
	area->last = addition->last;
	area->host = region_host(addition->memory);
	area->access = area->limit = (uint8_t)region_access(addition->memory);
	area->resident = region_resident(addition->memory);
	area->region = addition->memory;
	error = dirty_map(space, area);
	if (error)
		areas_free(&space->areas, area);
	else
		addition->area = area;
	return error;
}

/* What is new becomes areas that are in no map; and *@spare is memory that the map will need. */
static int prepare(const struct change *change, struct areas_node **spare)
{
	struct space *space = &change->ioas->space;
	int error = areas_reserve(&space->areas, change->given->add_count, spare);

	if (error)
		return error;
	for (uint32_t i = 0; i < change->given->add_count && !error; i++)
		if (!area_equal(change, &change->additions[i]))
			error = make_area(space, &change->additions[i]);
	if (error) {
		drop_areas(change);
		areas_unreserve(&space->areas, *spare);
	}
	return error;
}

static void take_range(struct space *space, const struct uiommu_range *range, struct release *release)
{
	struct area *area = areas_seek(&space->areas, range->start), *next;

	for (; area && area->start <= range->last; area = next) {
		if (area->leaves) {
			areas_remove(&space->areas, area);
			dirty_unmap(space, area);
			release->start = min_u64(release->start, area->start);
			release->last = max_u64(release->last, area->last);
			area->next = release->taken;
			release->taken = area;
		}
		next = area->last < range->last ? areas_seek(&space->areas, area->last + 1) : NULL;
	}
}

/* Cannot fail. */
static void commit(const struct change *change, struct areas_node *spare, struct release *release)
{
	const struct uiommu_guest_memory *given = change->given;
	struct space *space = &change->ioas->space;

	*release = (struct release){.start = UINT64_MAX};
	areas_begin(&space->areas);
	for (uint32_t i = 0; i < given->remove_count; i++)
		take_range(space, &given->remove[i], release);
	if (release->taken) {
		release->retired = areas_retired(&space->areas);
		cds_list_add(&release->link, &space->releases);
		dirty_forget(space, release);
	}
	for (uint32_t i = 0; i < given->add_count; i++) {
		if (!change->additions[i].area)
			continue;
		if (areas_insert(&space->areas, change->additions[i].area))
			abort(); /* nothing is in the way, and there is memory */
		change->additions[i].memory = NULL; /* the area's now */
	}
	areas_end(&space->areas);
	areas_unreserve(&space->areas, spare);
	unmark(change);
}

static int update(struct change *change)
{
	struct space *space = &change->ioas->space;
	struct areas_node *spare;
	struct release release;
	int error;

	pthread_mutex_lock(&space->lock);
	error = claim(change);
	if (!error) {
		error = prepare(change, &spare);
		if (error)
			unmark(change);
	}
	if (error) {
		pthread_mutex_unlock(&space->lock);
		return error;
	}
	commit(change, spare, &release);
	space_unlock_tidy(space);
	for (uint32_t i = 0; i < change->given->remove_count; i++)
		iova_freed(change->ioas, change->given->remove[i].start);
	if (release.taken)
		space_release(space, &release);
	return 0;
}

static int update_ioas(struct ioas *ioas, const struct uiommu_guest_memory *given)
{
	struct change change = {.ioas = ioas, .given = given};
	int error;

	change.additions = calloc(given->add_count + 1u, sizeof(*change.additions));
	if (!change.additions)
		return -ENOMEM;
	error = map_regions(&change);
	if (!error)
		error = update(&change);
	for (uint32_t i = 0; i < change.mapped; i++)
		region_put(change.additions[i].memory);
	free(change.additions);
	return error;
}

int uiommu_guest_memory_update(struct uiommu_context *context, const struct uiommu_guest_memory *change)
{
	struct uiommu_guest_memory given;
	struct object *object;
	int error = copy_struct(&given, sizeof(given), sizeof(given), change, change->size);

	if (!error)
		error = check_counts(&given);
	if (error)
		return error;
	if (thread_inside())
		return -EDEADLK;
	object = object_get(context, given.ioas_id, UIOMMU_OBJECT_IOAS);
	if (!object)
		return -ENOENT;
	error = update_ioas(ioas_of(object), &given);
	object_put(object);
	return error;
}
