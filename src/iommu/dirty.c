/* SPDX-License-Identifier: BSD-3-Clause */
#include "iommu/dirty.h"

#include <errno.h>

#include "iommu/hwpt.h"
#include "translate/inflight.h"
#include "util/bits.h"
#include "util/rcu.h"

enum {
	APERTURE_LG2 = 52, /* output addresses have no more */
	LEVELS = 5,
	SMALL_TABLES = 1 << 19, /* as many tables with small pages there may be: 2 GiB for 1 TiB */
	CHUNK_LG2 = 32, /* read at once, under the space's lock */
};

static struct hwpt *hwpt_of(struct dirty *dirty)
{
	return container_of(dirty, struct hwpt, dirty);
}

static bool is_on(const struct dirty *dirty)
{
	return dirty->tracker.tables;
}

int dirty_begin(struct hwpt *hwpt)
{
	const struct uiommu_range beyond = {UINT64_C(1) << APERTURE_LG2, UINT64_MAX};
	int error = ioas_reserve(hwpt->ioas, hwpt, &beyond, 1);

	if (error)
		return error;
	error = ioas_align(hwpt->ioas, PAGES_LG2, false);
	if (error)
		ioas_unreserve(hwpt->ioas, hwpt);
	return error;
}

void dirty_init(struct hwpt *hwpt)
{
	pthread_mutex_init(&hwpt->dirty.lock, NULL);
	tracker_init(&hwpt->dirty.tracker, hwpt->flags & UIOMMU_HWPT_NEST_PARENT);
	/* There is no stage that might be refused. */
	stages_init(&hwpt->stages, &(struct stages_config){.behind = NULL}, &hwpt->space->areas, &hwpt->cache);
	hwpt->stages.straight = true;
}

/* --- the tables, under the space's lock --- */

static int map_area(struct dirty *dirty, const struct area *area, bool written)
{
	uint64_t length = area->last - area->start + 1;
	unsigned int flags = area->access;

	if (dirty->tables.pages.taken + (length >> 21) < SMALL_TABLES)
		flags |= VTD_TABLES_SMALL;
	if (written && area->access & UIOMMU_WRITE)
		flags |= VTD_TABLES_DIRTY;
	return vtd_tables_map(&dirty->tables, area->start, length, area->start, flags);
}

/* It does not split anything: no page spans two areas. */
static void unmap_area(struct dirty *dirty, const struct area *area)
{
	vtd_tables_unmap(&dirty->tables, area->start, area->last, NULL, NULL);
}

/* Somebody may still write to what was at these addresses before, and find @area there. */
static bool is_released(const struct space *space, const struct area *area)
{
	const struct release *release;

	cds_list_for_each_entry (release, &space->releases, link)
		if (release->start <= area->last && area->start <= release->last)
			return true;
	return false;
}

int dirty_map(struct space *space, const struct area *area)
{
	struct dirty *dirty, *undone;
	bool released;
	int error;

	if (likely(cds_list_empty(&space->tracked)))
		return 0;
	released = is_released(space, area);
	cds_list_for_each_entry (dirty, &space->tracked, link) {
		error = map_area(dirty, area, released || dirty->tracker.loose);
		if (!error)
			continue;
		for (undone = cds_list_first_entry(&space->tracked, struct dirty, link); undone != dirty;
		     undone = cds_list_entry(undone->link.next, struct dirty, link))
			unmap_area(undone, area);
		return error;
	}
	return 0;
}

void dirty_unmap(struct space *space, const struct area *area)
{
	struct dirty *dirty;

	cds_list_for_each_entry (dirty, &space->tracked, link)
		unmap_area(dirty, area);
}

void dirty_forget(struct space *space, const struct release *release)
{
	struct dirty *dirty;

	cds_list_for_each_entry (dirty, &space->tracked, link) {
		stages_forget(&hwpt_of(dirty)->stages, release->start, release->last, false);
		/* If another release is under way, its pages go with a later one. */
		if (!dirty->releasing) {
			dirty->releasing = release;
			dirty->retired = vtd_tables_retired(&dirty->tables);
		}
	}
}

void dirty_reclaim(struct space *space, const struct release *release)
{
	struct dirty *dirty;

	cds_list_for_each_entry (dirty, &space->tracked, link)
		if (dirty->releasing == release) {
			vtd_tables_reclaim(&dirty->tables, dirty->retired);
			dirty->releasing = NULL;
		}
}

/* --- on and off --- */

static int map_all(struct dirty *dirty, struct space *space)
{
	struct area *area = areas_seek(&space->areas, 0);
	int error = 0;

	for (; area && !error; area = area->last < UINT64_MAX ? areas_seek(&space->areas, area->last + 1) : NULL)
		error = map_area(dirty, area, false);
	return error;
}

static int switch_on(struct hwpt *hwpt)
{
	struct dirty *dirty = &hwpt->dirty;
	int error = vtd_tables_init(&dirty->tables, LEVELS, UIOMMU_VTD_SECOND_AD | UIOMMU_VTD_SECOND_2M | UIOMMU_VTD_SECOND_1G);

	if (error)
		return error;
	dirty->releasing = NULL;
	pthread_mutex_lock(&hwpt->space->lock);
	error = map_all(dirty, hwpt->space);
	if (!error) {
		cds_list_add_tail(&dirty->link, &hwpt->space->tracked);
		rcu_publish(dirty->tracker.tables, &dirty->tables.pgtable);
		rcu_publish(hwpt->stages.walked, &dirty->tracker.pgtable);
	}
	pthread_mutex_unlock(&hwpt->space->lock);
	if (error)
		vtd_tables_fini(&dirty->tables);
	else
		hwpt_forget_all(hwpt);
	return error;
}

static void switch_off(struct hwpt *hwpt)
{
	struct dirty *dirty = &hwpt->dirty;

	pthread_mutex_lock(&hwpt->space->lock);
	cds_list_del(&dirty->link);
	rcu_publish(hwpt->stages.walked, NULL);
	rcu_publish(dirty->tracker.tables, NULL);
	pthread_mutex_unlock(&hwpt->space->lock);
	hwpt_forget_all(hwpt);
	/* What was found in the tables as they went may have been cached after that. */
	stages_forget(&hwpt->stages, 0, UINT64_MAX, false);
	vtd_tables_fini(&dirty->tables);
}

void dirty_end(struct hwpt *hwpt)
{
	if (is_on(&hwpt->dirty))
		switch_off(hwpt);
	stages_fini(&hwpt->stages);
	pthread_mutex_destroy(&hwpt->dirty.lock);
	ioas_unalign(hwpt->ioas, PAGES_LG2, false);
	ioas_unreserve(hwpt->ioas, hwpt);
}

/* --- look --- */

struct look {
	uint64_t first;
	uint64_t last;
	uint64_t *bitmap; /* or NULL */
	unsigned int page_lg2;
	bool clear;
	bool found;
};

static void set_bits(uint64_t *bitmap, uint64_t first, uint64_t last)
{
	for (uint64_t word = first / 64; word <= last / 64; word++) {
		uint64_t low = word == first / 64 ? first % 64 : 0, high = word == last / 64 ? last % 64 : 63;

		bitmap[word] |= UINT64_MAX << low & UINT64_MAX >> (63 - high);
	}
}

static void told(void *opaque, const struct vtd_leaf *leaf)
{
	struct look *look = opaque;
	uint64_t first = max_u64(leaf->first, look->first) - look->first, last = min_u64(leaf->last, look->last) - look->first;

	look->found = true;
	if (look->bitmap)
		set_bits(look->bitmap, first >> look->page_lg2, last >> look->page_lg2);
}

/* Under the space's lock: a part of it, from @first on. True: there is more, from *@first on. */
static bool look_at_some(struct dirty *dirty, struct space *space, struct look *look, uint64_t *first)
{
	const struct area *area = areas_seek(&space->areas, *first);
	uint64_t last;

	if (!area || area->start > look->last)
		return false;
	*first = max_u64(*first, area->start);
	last = min_u64(min_u64(look->last, area->last), *first | low_mask(CHUNK_LG2));
	vtd_tables_read_dirty(&dirty->tables, *first, last, look->clear, told, look);
	*first = last + 1;
	return last < look->last;
}

static void look_at(struct hwpt *hwpt, struct look *look)
{
	uint64_t first = look->first;
	bool more;

	do {
		pthread_mutex_lock(&hwpt->space->lock);
		more = look_at_some(&hwpt->dirty, hwpt->space, look, &first);
		pthread_mutex_unlock(&hwpt->space->lock);
	} while (more);
	if (look->clear && look->found)
		hwpt_forget_all(hwpt);
}

/* --- calls --- */

/* For the length of a call. */
static int paging_get(struct uiommu_context *context, uint32_t id, struct hwpt **out)
{
	struct object *object;

	if (thread_inside())
		return -EDEADLK;
	object = object_get(context, id, UIOMMU_OBJECT_HWPT_PAGING);
	if (!object)
		return -ENOENT;
	*out = object_hwpt(object);
	return 0;
}

static int set(struct hwpt *hwpt, bool on)
{
	struct look all = {.last = UINT64_MAX, .clear = true};
	int error = 0;

	if (!(hwpt->flags & UIOMMU_HWPT_DIRTY_TRACKING))
		return -EOPNOTSUPP;
	pthread_mutex_lock(&hwpt->dirty.lock);
	if (!is_on(&hwpt->dirty))
		error = on ? switch_on(hwpt) : 0;
	else if (on)
		look_at(hwpt, &all);
	else
		switch_off(hwpt);
	pthread_mutex_unlock(&hwpt->dirty.lock);
	return error;
}

int uiommu_hwpt_set_dirty_tracking(struct uiommu_context *context, uint32_t hwpt_id, uint32_t flags)
{
	struct hwpt *hwpt;
	int error;

	if (flags & ~(uint32_t)UIOMMU_DIRTY_TRACKING_ENABLE)
		return -EOPNOTSUPP;
	error = paging_get(context, hwpt_id, &hwpt);
	if (error)
		return error;
	error = set(hwpt, flags);
	object_put(&hwpt->object);
	return error;
}

static int check_range(const struct uiommu_dirty_bitmap *request, uint64_t *last)
{
	uint64_t size = request->page_size;

	if (!request->length || !request->bitmap)
		return -EINVAL;
	if (__builtin_add_overflow(request->iova, request->length - 1, last))
		return -EOVERFLOW;
	if (!size || size & (size - 1) || (request->iova | (*last + 1)) & ((size - 1) | (PAGES_SIZE - 1)))
		return -EINVAL;
	return 0;
}

static int get(struct hwpt *hwpt, const struct uiommu_dirty_bitmap *request)
{
	struct look look = {.first = request->iova, .bitmap = request->bitmap, .clear = !request->flags};
	int error = check_range(request, &look.last);

	if (error)
		return error;
	if (!(hwpt->flags & UIOMMU_HWPT_DIRTY_TRACKING))
		return -EOPNOTSUPP;
	look.page_lg2 = (unsigned int)__builtin_ctzll(request->page_size);
	pthread_mutex_lock(&hwpt->dirty.lock);
	if (is_on(&hwpt->dirty))
		look_at(hwpt, &look);
	else
		error = -EINVAL;
	pthread_mutex_unlock(&hwpt->dirty.lock);
	return error;
}

int uiommu_hwpt_get_dirty_bitmap(struct uiommu_context *context, const struct uiommu_dirty_bitmap *request)
{
	struct uiommu_dirty_bitmap given;
	struct hwpt *hwpt;
	int error = copy_struct(&given, sizeof(given), sizeof(given), request, request->size);

	if (error)
		return error;
	if (given.flags & ~(uint32_t)UIOMMU_DIRTY_BITMAP_NO_CLEAR || given.reserved)
		return -EOPNOTSUPP;
	error = paging_get(context, given.hwpt_id, &hwpt);
	if (error)
		return error;
	error = get(hwpt, &given);
	object_put(&hwpt->object);
	return error;
}
