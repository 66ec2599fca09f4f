/* SPDX-License-Identifier: BSD-3-Clause */
#include "abi/type1.h"

#include <errno.h>
#include <linux/vfio.h>
#include <stdlib.h>
#include <string.h>

#include "util/util.h"

#define END_OF(type, member) (offsetof(type, member) + sizeof(((type *)NULL)->member))

static struct abi_caller *caller_of(const struct abi_type1_call *call)
{
	return call->source.caller;
}

static int check_extension(const struct abi_type1_call *call, uint64_t extension)
{
	switch (extension) {
	case VFIO_TYPE1_IOMMU:
	case VFIO_TYPE1v2_IOMMU:
	case VFIO_UNMAP_ALL:
		return 1;
	case VFIO_DMA_CC_IOMMU:
		return call->ioas_id ? 1 : -ENODEV; /* accesses are coherent */
	default:
		return 0;
	}
}

/* For the length of a call. */
static int ioas_get(const struct abi_type1_call *call, struct object **out)
{
	*out = call->ioas_id ? object_get(call->context, call->ioas_id, UIOMMU_OBJECT_IOAS) : NULL;
	return *out ? 0 : -ENODEV;
}

static int set_iommu(const struct abi_type1_call *call, uint64_t type)
{
	struct object *object;
	int error;

	if (type != VFIO_TYPE1_IOMMU && type != VFIO_TYPE1v2_IOMMU)
		return -EINVAL;
	error = ioas_get(call, &object);
	if (error)
		return error;
	/* So that an area can be cut anywhere. TYPE1v2 does not take it back. */
	if (type == VFIO_TYPE1_IOMMU)
		error = ioas_set_huge_pages(ioas_of(object), false);
	object_put(object);
	return error;
}

/* The last number is one like any other here, and not aligned. ioas_map() would call it too large. */
static int check_iova(struct ioas *ioas, const struct vfio_iommu_type1_dma_map *map)
{
	uint64_t end;
	int error;

	if ((map->iova != UINT64_MAX && map->size != UINT64_MAX) || __builtin_add_overflow(map->vaddr, map->size, &end))
		return 0;
	pthread_mutex_lock(&ioas->space.lock);
	error = ioas_check_alignment(ioas, map->iova, map->size, map->vaddr);
	pthread_mutex_unlock(&ioas->space.lock);
	return error;
}

static int map_dma(struct abi_type1_call *call, uint64_t argument)
{
	const struct ioas_source source = {.make = abi_pages_make, .opaque = &call->source};
	struct uiommu_ioas_map request = {.size = sizeof(request), .flags = UIOMMU_MAP_FIXED, .source = UIOMMU_MAP_OWN};
	struct vfio_iommu_type1_dma_map map;
	struct object *object;
	int error = abi_caller_read(caller_of(call), argument, &map, END_OF(struct vfio_iommu_type1_dma_map, size));

	if (error)
		return error;
	if (map.argsz < END_OF(struct vfio_iommu_type1_dma_map, size) ||
	    map.flags & ~(uint32_t)(VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE))
		return -EINVAL;
	error = ioas_get(call, &object);
	if (error)
		return error;
	request.flags |= (map.flags & VFIO_DMA_MAP_FLAG_READ ? UIOMMU_MAP_READ : 0U) |
			 (map.flags & VFIO_DMA_MAP_FLAG_WRITE ? UIOMMU_MAP_WRITE : 0U);
	request.ioas_id = call->ioas_id;
	request.address = (void *)(uintptr_t)map.vaddr;
	request.length = map.size;
	request.iova = map.iova;
	error = check_iova(ioas_of(object), &map);
	if (!error)
		error = ioas_map(call->context, &request, &source);
	object_put(object);
	return error;
}

/* An empty range is no error; nor is it for TYPE1v2, if nothing at all is there. Without huge pages areas are cut. */
static int unmap(const struct abi_type1_call *call, struct ioas *ioas, uint64_t iova, uint64_t size, uint64_t *bytes)
{
	uint32_t id = call->ioas_id;
	int error = ioas_huge_pages(ioas) ? uiommu_ioas_unmap(call->context, id, iova, size, bytes)
					  : ioas_unmap_cut(call->context, id, iova, size, bytes);

	/* For those the last address is too large. */
	if (iova == UINT64_MAX && size == 1)
		error = -ENOENT;
	return error == -ENOENT && !ioas_has_areas(ioas, iova, iova + size - 1) ? 0 : error;
}

/* The caller gets to know how much it was, also if it was none because of an error. */
static int unmap_dma(const struct abi_type1_call *call, uint64_t argument)
{
	const size_t least = END_OF(struct vfio_iommu_type1_dma_unmap, size);
	struct vfio_iommu_type1_dma_unmap request;
	struct object *object;
	uint64_t bytes = 0;
	int error = abi_caller_read(call->source.caller, argument, &request, least);

	if (error)
		return error;
	if (request.argsz < least || request.flags & ~(uint32_t)VFIO_DMA_UNMAP_FLAG_ALL)
		return -EINVAL;
	error = ioas_get(call, &object);
	if (error)
		return error;
	if (request.flags && (request.iova || request.size)) {
		object_put(object);
		return -EINVAL;
	}
	error = unmap(call, ioas_of(object), request.iova, request.flags ? UINT64_MAX : request.size, &bytes);
	object_put(object);
	request.size = bytes;
	return abi_caller_write(call->source.caller, argument, &request, least) ? -EFAULT : error;
}

/* --- GET_INFO --- */

/* All ranges that may be used; to be freed. */
static int iova_ranges(const struct abi_type1_call *call, struct uiommu_range **out, uint32_t *count, uint64_t *alignment)
{
	int error = -EMSGSIZE;

	*out = NULL;
	for (*count = 0; error == -EMSGSIZE;) {
		struct uiommu_range *ranges = *count ? calloc(*count, sizeof(*ranges)) : NULL;

		if (*count && !ranges)
			return -ENOMEM;
		error = uiommu_ioas_iova_ranges(call->context, call->ioas_id, ranges, count, alignment);
		if (error)
			free(ranges);
		else
			*out = ranges;
	}
	return error == -ENOENT ? -ENODEV : error;
}

/*
 * As Linux does it: each capability is written whose end the caller has room for, and so many ranges of the last one, whatever
 * becomes of it; but the first one is pointed to only if there is room for all.
 */
static int write_capabilities(const struct abi_type1_call *call, uint64_t argument, uint32_t room,
			      struct vfio_iommu_type1_info *info, const struct uiommu_range *ranges, uint32_t count)
{
	struct vfio_iommu_type1_info_dma_avail available = {.header = {.id = VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL, .version = 1},
							    .avail = UINT32_MAX};
	const struct vfio_iommu_type1_info_cap_iova_range iovas = {
		.header = {.id = VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE, .version = 1}, .nr_iovas = count};
	const uint32_t first = sizeof(*info), second = first + ((uint32_t)sizeof(available) + 7) / 8 * 8;
	const uint32_t behind = second + (uint32_t)sizeof(iovas);
	const uint32_t fitting = room > behind ? (uint32_t)min_u64((room - behind) / sizeof(*ranges), count) : 0;
	struct abi_caller *caller = call->source.caller;
	int error = 0;

	info->argsz = behind + count * (uint32_t)sizeof(*ranges);
	available.header.next = room >= second ? second : 0;
	if (room >= first + sizeof(available))
		error = abi_caller_write(caller, argument + first, &available, sizeof(available));
	if (!error)
		error = abi_caller_write(caller, argument + behind, ranges, fitting * sizeof(*ranges));
	if (!error && room >= info->argsz) {
		info->cap_offset = first;
		error = abi_caller_write(caller, argument + second, &iovas, sizeof(iovas));
	}
	return error;
}

static int get_info(const struct abi_type1_call *call, uint64_t argument)
{
	const size_t least = END_OF(struct vfio_iommu_type1_info, iova_pgsizes);
	struct vfio_iommu_type1_info info;
	struct uiommu_range *ranges;
	uint64_t alignment;
	uint32_t count, room;
	int error = abi_caller_read(call->source.caller, argument, &info, least);

	if (error)
		return error;
	room = info.argsz;
	if (room < least)
		return -EINVAL;
	if (!call->ioas_id)
		return -ENODEV;
	error = iova_ranges(call, &ranges, &count, &alignment);
	if (error)
		return error;
	info = (struct vfio_iommu_type1_info){
		.flags = VFIO_IOMMU_INFO_PGSIZES | VFIO_IOMMU_INFO_CAPS,
		.iova_pgsizes = -max_u64(alignment, page_size()),
	};
	error = write_capabilities(call, argument, room, &info, ranges, count);
	free(ranges);
	return error ? error : abi_caller_write(call->source.caller, argument, &info, (size_t)min_u64(room, sizeof(info)));
}

int abi_type1_ioctl(struct abi_type1_call *call, unsigned int command, uint64_t argument)
{
	switch (command) {
	case VFIO_GET_API_VERSION:
		return VFIO_API_VERSION;
	case VFIO_CHECK_EXTENSION:
		return check_extension(call, argument);
	case VFIO_SET_IOMMU:
		return set_iommu(call, argument);
	case VFIO_IOMMU_MAP_DMA:
		return map_dma(call, argument);
	case VFIO_IOMMU_UNMAP_DMA:
		return unmap_dma(call, argument);
	case VFIO_IOMMU_GET_INFO:
		return get_info(call, argument);
	default:
		return -ENOTTY;
	}
}
