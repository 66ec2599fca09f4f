/* SPDX-License-Identifier: BSD-3-Clause */
/* IOAS: map, copy, unmap. The order of the checks is that of Linux's iommufd. */
#include "iommu/ioas.h"

#include <errno.h>
#include <stdlib.h>

#include "iommu/dirty.h"
#include "memory/region.h"
#include "translate/inflight.h"

enum { MAP_FLAGS = UIOMMU_MAP_FIXED | UIOMMU_MAP_WRITE | UIOMMU_MAP_READ };

/* What one area shall map. */
struct backing {
	struct region *region; /* borrowed by the area that is made from it, which takes its own reference */
	uint8_t *host;
	uint64_t length;
	uint8_t limit;
	bool resident;
};

/* What a map or copy shall put where. */
struct placement {
	uint64_t iova; /* fixed: in; otherwise out */
	uint64_t hint; /* its alignment is wanted for a chosen address */
	uint64_t length; /* of all backings */
	uint8_t access;
	bool fixed;
};

int uiommu_ioas_alloc(struct uiommu_context *context, uint32_t *out_id)
{
	struct ioas *ioas = calloc(1, sizeof(*ioas));
	int error;

	if (!ioas)
		return -ENOMEM;
	error = object_alloc(context, &ioas->object, UIOMMU_OBJECT_IOAS);
	if (error) {
		free(ioas);
		return error;
	}
	space_init(&ioas->space, NULL);
	pthread_mutex_init(&ioas->automatic_lock, NULL);
	CDS_INIT_LIST_HEAD(&ioas->reserved);
	ioas->freed_low = UINT64_MAX;
	*out_id = ioas->object.id;
	object_finalise(&ioas->object);
	return 0;
}

void ioas_end(struct object *object)
{
	struct ioas *ioas = ioas_of(object);

	space_clear(&ioas->space);
	space_fini(&ioas->space);
	iova_end(ioas);
	pthread_mutex_destroy(&ioas->automatic_lock);
	free(ioas);
}

static uint8_t access_of(uint32_t flags)
{
	return (uint8_t)((flags & UIOMMU_MAP_READ ? UIOMMU_READ : 0) | (flags & UIOMMU_MAP_WRITE ? UIOMMU_WRITE : 0));
}

/* -ENOSPC: a chosen address is to be made, and there is none. */
static int place(struct ioas *ioas, struct placement *placement)
{
	uint64_t last;

	if (!placement->fixed)
		return iova_find(ioas, placement->hint, placement->length, &placement->iova);
	if (__builtin_add_overflow(placement->iova, placement->length - 1, &last))
		return -EOVERFLOW;
	return iova_reserved(ioas, placement->iova, last, &last) ? -EINVAL : 0;
}

/*
 * What is mapped here for the first time permits what is asked for; a copy may ask for more. And each piece is whole pages, if that
 * is needed. -EEXIST comes first.
 */
static int check_memory(const struct ioas *ioas, const struct placement *placement, const struct backing *backings, size_t count)
{
	uint64_t iova = placement->iova;
	const struct area *area;
	int error = 0;

	for (size_t i = 0; i < count && !error; iova += backings[i++].length) {
		error = placement->access & ~backings[i].limit ? -EPERM : 0;
		if (!error)
			error = ioas_check_alignment(ioas, iova, backings[i].length, (uint64_t)(uintptr_t)backings[i].host);
	}
	area = error ? areas_first(&ioas->space.areas, placement->iova) : NULL;
	return area && area->start - placement->iova < placement->length ? -EEXIST : error;
}

/* Before anything is asked of its memory. */
static int overlaps(const struct ioas *ioas, const struct area *area)
{
	const struct area *next = areas_first(&ioas->space.areas, area->start);

	return next && next->start <= area->last ? -EEXIST : 0;
}

static int insert_one(struct ioas *ioas, const struct backing *backing, uint8_t access, uint64_t iova)
{
	struct area *area = areas_alloc(&ioas->space.areas);
	int error;

	if (!area)
		return -ENOMEM;
	area->start = iova;
	area->last = iova + (backing->length - 1);
	area->host = backing->host;
	area->access = access;
	area->limit = backing->limit;
	area->resident = backing->resident;
	area->region = backing->region;
	error = ioas->page_tables ? overlaps(ioas, area) : 0;
	if (!error)
		error = ioas_pin(ioas, area);
	if (!error)
		error = dirty_map(&ioas->space, area);
	if (!error) {
		error = areas_insert(&ioas->space.areas, area);
		if (error)
			dirty_unmap(&ioas->space, area);
	}
	if (error) {
		area_unpin(area);
		areas_free(&ioas->space.areas, area);
	} else {
		region_get(area->region);
	}
	return error;
}

/* One area behind the other, all or none: -EEXIST, -ENOMEM. Readers may have seen those that are *@undone, if there are. */
static int insert_all(struct ioas *ioas, const struct placement *placement, const struct backing *backings, size_t count,
		      struct release *undone)
{
	uint64_t iova = placement->iova;
	int error = 0;

	for (size_t i = 0; i < count; i++) {
		error = insert_one(ioas, &backings[i], placement->access, iova);
		if (error)
			break;
		iova += backings[i].length; /* wraps only behind the last one */
	}
	if (error && iova != placement->iova)
		space_take(&ioas->space, areas_find(&ioas->space.areas, placement->iova), iova - 1, undone);
	return error;
}

static int map_backings(struct ioas *ioas, struct placement *placement, const struct backing *backings, size_t count)
{
	/* A chosen address has the place in its page that the memory has. */
	uint64_t iova = placement->fixed ? placement->iova : placement->hint % page_size();
	struct release undone = {.taken = NULL};
	int error;

	pthread_mutex_lock(&ioas->space.lock);
	error = ioas_check_alignment(ioas, iova, placement->length, 0);
	if (!error)
		error = place(ioas, placement);
	if (!error)
		error = check_memory(ioas, placement, backings, count);
	if (!error)
		error = insert_all(ioas, placement, backings, count, &undone);
	space_unlock_tidy(&ioas->space);
	if (undone.taken)
		space_release(&ioas->space, &undone);
	return error;
}

/* The memory itself: from @offset on of @region, which the backing takes over. */
static int back_by_region(struct region *region, uint64_t offset, uint8_t access, struct backing *out)
{
	if (offset > region_length(region) || out->length > region_length(region) - offset)
		return -EINVAL;
	if ((access & UIOMMU_WRITE) && !(region_access(region) & UIOMMU_WRITE))
		return -EACCES;
	out->host = (uint8_t *)((uintptr_t)region_host(region) + offset);
	out->resident = region_resident(region);
	return 0;
}

static int back_by_file(const struct uiommu_ioas_map *map, uint8_t access, const struct ioas_source *source, struct backing *out)
{
	int error = source ? source->make(source->opaque, map, access, &out->region)
			   : region_file(map->fd, map->offset, map->length, access, false, &out->region);

	return error ? error : back_by_region(out->region, 0, access, out);
}

static int back_by_own(const struct uiommu_ioas_map *map, uint8_t access, const struct ioas_source *source, struct backing *out)
{
	int error = source ? source->make(source->opaque, map, access, &out->region) : 0;

	if (source && !error)
		return back_by_region(out->region, (uint64_t)(uintptr_t)map->address, access, out);
	out->host = map->address;
	return error;
}

static int back_by_ram(struct uiommu_context *context, const struct uiommu_ioas_map *map, uint8_t access, struct backing *out)
{
	out->region = ram_region(context, map->ram_id);
	return out->region ? back_by_region(out->region, map->offset, access, out) : -ENOENT;
}

/* On failure too, @out->region is to be put. */
static int back(struct uiommu_context *context, const struct uiommu_ioas_map *map, uint8_t access, const struct ioas_source *source,
		struct backing *out)
{
	bool own = map->source == UIOMMU_MAP_OWN;
	uint64_t first = own ? (uint64_t)(uintptr_t)map->address : map->offset, end;

	*out = (struct backing){.length = map->length, .limit = access | UIOMMU_READ};
	/* A file may end where numbers end, as in Linux; memory does not. */
	if (__builtin_add_overflow(first, own ? map->length : map->length - 1, &end) && map->length)
		return -EOVERFLOW;
	if (!map->length)
		return -EINVAL;
	switch (map->source) {
	case UIOMMU_MAP_FILE:
		return back_by_file(map, access, source, out);
	case UIOMMU_MAP_RAM:
		return back_by_ram(context, map, access, out);
	default:
		return back_by_own(map, access, source, out);
	}
}

/* What can be said without looking at any object. */
static int check_request(uint32_t flags, uint64_t iova, uint64_t length)
{
	if (flags & ~(uint32_t)MAP_FLAGS)
		return -EOPNOTSUPP;
	if (iova == UINT64_MAX || length == UINT64_MAX)
		return -EOVERFLOW;
	return flags & (UIOMMU_MAP_READ | UIOMMU_MAP_WRITE) ? 0 : -EINVAL;
}

static int map_into(struct ioas *ioas, struct uiommu_ioas_map *map, const struct ioas_source *source)
{
	struct placement placement = {
		.iova = map->iova,
		.hint = map->source == UIOMMU_MAP_OWN ? (uint64_t)(uintptr_t)map->address : map->offset,
		.length = map->length,
		.access = access_of(map->flags),
		.fixed = map->flags & UIOMMU_MAP_FIXED,
	};
	struct backing backing;
	int error = back(ioas->object.context, map, placement.access, source, &backing);

	if (!error)
		error = map_backings(ioas, &placement, &backing, 1);
	region_put(backing.region);
	map->iova = placement.iova;
	return error;
}

int uiommu_ioas_map(struct uiommu_context *context, struct uiommu_ioas_map *request)
{
	return ioas_map(context, request, NULL);
}

int ioas_map(struct uiommu_context *context, struct uiommu_ioas_map *request, const struct ioas_source *source)
{
	struct uiommu_ioas_map map;
	struct object *object;
	int error = copy_struct(&map, sizeof(map), sizeof(map), request, request->size);

	if (error)
		return error;
	if (map.source > UIOMMU_MAP_RAM)
		return -EOPNOTSUPP;
	error = check_request(map.flags, map.iova, map.length);
	if (error)
		return error;
	object = object_get(context, map.ioas_id, UIOMMU_OBJECT_IOAS);
	if (!object)
		return -ENOENT;
	error = map_into(ioas_of(object), &map, source);
	object_put(object);
	if (!error)
		request->iova = map.iova;
	return error;
}

int ioas_map_remote(struct uiommu_context *context, uint32_t id, struct region *region, uint32_t flags, uint64_t iova)
{
	uint64_t length = region_length(region);
	struct placement placement = {.iova = iova, .length = length, .access = access_of(flags), .fixed = true};
	struct backing backing = {.region = region, .length = length, .limit = (uint8_t)region_access(region)};
	struct object *object;
	int error = check_request(flags, iova, length);

	if (error)
		return error;
	object = object_get(context, id, UIOMMU_OBJECT_IOAS);
	if (!object)
		return -ENOENT;
	error = map_backings(ioas_of(object), &placement, &backing, 1);
	object_put(object);
	return error;
}

/* What the areas of [start, last] map, with references. -ENOENT: not all of it is mapped; -ENOMEM. */
struct source {
	struct backing *backings;
	size_t count;
};

static void source_free(struct source *source)
{
	while (source->count)
		region_put(source->backings[--source->count].region);
	free(source->backings);
}

/* The areas of [start, last] without a gap; 0: there is one. */
static size_t count_areas(const struct ioas *ioas, uint64_t start, uint64_t last)
{
	size_t count = 0;

	for (;; count++) {
		const struct area *area = areas_find(&ioas->space.areas, start);

		if (!area)
			return 0;
		if (area->last >= last)
			return count + 1;
		start = area->last + 1;
	}
}

static int collect(const struct ioas *ioas, uint64_t start, uint64_t last, struct source *out)
{
	size_t count = count_areas(ioas, start, last);

	if (!count)
		return -ENOENT;
	out->backings = calloc(count, sizeof(*out->backings));
	if (!out->backings)
		return -ENOMEM;
	for (; out->count < count; out->count++) {
		const struct area *area = areas_find(&ioas->space.areas, start);
		struct backing *backing = &out->backings[out->count];

		backing->region = region_get(area->region);
		/* Of what is remote it is no pointer, and may be 0. */
		backing->host = (uint8_t *)((uintptr_t)area->host + (start - area->start));
		backing->length = min_u64(area->last, last) - start + 1;
		backing->limit = area->limit;
		backing->resident = area->resident;
		start += backing->length;
	}
	return 0;
}

static int source_of(struct uiommu_context *context, const struct uiommu_ioas_copy *copy, struct source *out)
{
	struct object *object = object_get(context, copy->src_ioas_id, UIOMMU_OBJECT_IOAS);
	uint64_t last;
	int error = 0;

	if (!object)
		return -ENOENT;
	if (!copy->length)
		error = -EINVAL;
	else if (__builtin_add_overflow(copy->src_iova, copy->length - 1, &last))
		error = -EOVERFLOW;
	if (!error) {
		pthread_mutex_lock(&ioas_of(object)->space.lock);
		error = collect(ioas_of(object), copy->src_iova, last, out);
		pthread_mutex_unlock(&ioas_of(object)->space.lock);
	}
	object_put(object);
	return error;
}

static int copy_to(struct uiommu_context *context, struct uiommu_ioas_copy *copy, const struct source *source)
{
	struct placement placement = {
		.iova = copy->dst_iova,
		.hint = (uint64_t)(uintptr_t)source->backings[0].host,
		.length = copy->length,
		.access = access_of(copy->flags),
		.fixed = copy->flags & UIOMMU_MAP_FIXED,
	};
	struct object *object = object_get(context, copy->dst_ioas_id, UIOMMU_OBJECT_IOAS);
	int error;

	if (!object)
		return -ENOENT;
	error = map_backings(ioas_of(object), &placement, source->backings, source->count);
	object_put(object);
	copy->dst_iova = placement.iova;
	return error;
}

int uiommu_ioas_copy(struct uiommu_context *context, struct uiommu_ioas_copy *request)
{
	struct uiommu_ioas_copy copy;
	struct source source = {0};
	int error = copy_struct(&copy, sizeof(copy), sizeof(copy), request, request->size);

	if (!error)
		error = check_request(copy.flags, copy.src_iova == UINT64_MAX ? copy.src_iova : copy.dst_iova, copy.length);
	if (error)
		return error;
	error = source_of(context, &copy, &source);
	if (!error)
		error = copy_to(context, &copy, &source);
	source_free(&source);
	if (!error)
		request->dst_iova = copy.dst_iova;
	return error;
}

/* What uiommu_ioas_unmap() is asked to unmap. */
static int unmap_range(uint64_t iova, uint64_t length, uint64_t *last)
{
	if (!iova && length == UINT64_MAX) {
		*last = UINT64_MAX;
		return 0;
	}
	if (iova == UINT64_MAX || length == UINT64_MAX)
		return -EOVERFLOW;
	if (!length)
		return -EINVAL;
	return __builtin_add_overflow(iova, length - 1, last) ? -EOVERFLOW : 0;
}

bool ioas_has_areas(struct ioas *ioas, uint64_t start, uint64_t last)
{
	const struct area *area;
	bool found;

	pthread_mutex_lock(&ioas->space.lock);
	area = areas_first(&ioas->space.areas, start);
	found = area && area->start <= last;
	pthread_mutex_unlock(&ioas->space.lock);
	return found;
}

/* Nothing reaches over either end of the range. */
static int cut(struct space *space, uint64_t iova, uint64_t last)
{
	int error = iova ? space_cut(space, iova - 1) : 0;

	return error ? error : space_cut(space, last);
}

static int unmap(struct uiommu_context *context, uint32_t ioas_id, uint64_t iova, uint64_t length, bool cuts, uint64_t *unmapped)
{
	uint64_t last, bytes = 0;
	struct object *object;
	int error;

	if (thread_inside())
		return -EDEADLK;
	object = object_get(context, ioas_id, UIOMMU_OBJECT_IOAS);
	if (!object)
		return -ENOENT;
	error = unmap_range(iova, length, &last);
	if (!error && cuts)
		error = cut(&ioas_of(object)->space, iova, last);
	if (!error)
		error = space_unmap(&ioas_of(object)->space, iova, last, &bytes);
	if (!error)
		iova_freed(ioas_of(object), iova);
	else if (error == -ENOENT && length == UINT64_MAX)
		error = 0; /* there was nothing */
	object_put(object);
	if (!error && unmapped)
		*unmapped = bytes;
	return error;
}

int uiommu_ioas_unmap(struct uiommu_context *context, uint32_t ioas_id, uint64_t iova, uint64_t length, uint64_t *unmapped)
{
	return unmap(context, ioas_id, iova, length, false, unmapped);
}

int ioas_unmap_cut(struct uiommu_context *context, uint32_t ioas_id, uint64_t iova, uint64_t length, uint64_t *unmapped)
{
	return unmap(context, ioas_id, iova, length, true, unmapped);
}
