/* SPDX-License-Identifier: BSD-3-Clause */
/* Registered memory of a bound process: areas in front of it. */
#include <errno.h>

#include "iommu/hwpt.h"
#include "memory/process.h"
#include "memory/region.h"
#include "sva/bind.h"
#include "util/util.h"

static int check_register(const struct uiommu_register *reg)
{
	uint64_t mask = page_size() - 1, end;

	if (reg->reserved || !reg->length || (reg->access != UIOMMU_READ && reg->access != (UIOMMU_READ | UIOMMU_WRITE)))
		return -EINVAL;
	if (__builtin_add_overflow(reg->address, reg->length, &end) || __builtin_add_overflow(reg->offset, reg->length, &end))
		return -EOVERFLOW;
	return (reg->address | reg->length | reg->offset) & mask ? -EINVAL : 0;
}

/* Takes over @region. */
static int insert_region(struct space *space, const struct uiommu_register *reg, struct region *region)
{
	struct area *area;
	int error;

	pthread_mutex_lock(&space->lock);
	area = areas_alloc(&space->areas);
	error = area ? 0 : -ENOMEM;
	if (area) {
		area->start = reg->address;
		area->last = reg->address + (reg->length - 1);
		area->host = region_host(region);
		area->access = (uint8_t)reg->access;
		area->limit = (uint8_t)reg->access;
		area->resident = region_resident(region);
		area->region = region;
		error = areas_insert(&space->areas, area);
		if (error)
			areas_free(&space->areas, area);
	}
	space_unlock_tidy(space);
	if (error)
		region_put(region);
	return error;
}

/* The space of a bind, which lives until object_put() of what is written to @inside. */
static struct space *space_get(struct uiommu_context *context, uint32_t device_id, uint32_t pasid, struct object **inside)
{
	struct hwpt *hwpt = bind_hwpt_get(context, device_id, pasid);

	if (!hwpt)
		return NULL;
	*inside = &hwpt->object;
	if (hwpt->object.type == UIOMMU_OBJECT_HWPT_SVA)
		return hwpt->space;
	object_put(*inside);
	return NULL;
}

int uiommu_register(struct uiommu_context *context, const struct uiommu_register *reg)
{
	struct uiommu_register given;
	struct region *region;
	struct object *inside;
	struct space *space;
	int error = copy_struct(&given, sizeof(given), sizeof(given), reg, reg->size);

	if (!error)
		error = check_register(&given);
	if (error)
		return error;
	space = space_get(context, given.device_id, given.pasid, &inside);
	if (!space)
		return -ENOENT;
	if ((process_access(space->process) & given.access) != given.access)
		error = -EACCES;
	if (!error)
		error = region_file(given.fd, given.offset, given.length, given.access, true, &region);
	if (!error)
		error = insert_region(space, &given, region);
	object_put(inside);
	return error;
}

int uiommu_unregister(struct uiommu_context *context, uint32_t device_id, uint32_t pasid, uint64_t address, uint64_t length)
{
	struct object *inside;
	struct space *space;
	int error;

	if (thread_inside())
		return -EDEADLK;
	space = space_get(context, device_id, pasid, &inside);
	if (!space)
		return -ENOENT;
	error = length && length - 1 <= UINT64_MAX - address ? space_unmap_exactly(space, address, address + (length - 1))
							     : -ENOENT;
	object_put(inside);
	return error;
}
