/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the other side says of its memory, made areas of the port's IOAS. Memory with a descriptor is mapped here; the rest, and
 * what cannot be mapped, is reached by messages.
 */
#include <errno.h>
#include <uiommu/guest_memory.h>
#include <unistd.h>

#include "iommu/ioas.h"
#include "util/util.h"
#include "vfio_user/server.h"

/* A range that can be: not empty, and it does not wrap. */
static bool range_valid(uint64_t start, uint64_t length)
{
	return length && length < UINT64_MAX && start <= UINT64_MAX - length;
}

static int map_file(struct port *port, const struct vfu_dma_map *map, uint32_t flags, int fd)
{
	struct uiommu_ioas_map request = {
		.size = sizeof(request),
		.flags = flags,
		.ioas_id = port->ioas_id,
		.source = UIOMMU_MAP_FILE,
		.fd = fd,
		.offset = map->offset,
		.length = map->size,
		.iova = map->address,
	};

	return uiommu_ioas_map(port->server->context, &request);
}

/* The same, supplied when it is touched. */
static int map_on_demand(struct port *port, const struct vfu_dma_map *map, uint32_t flags, int fd)
{
	const struct uiommu_guest_region region = {
		.gpa = map->address,
		.length = map->size,
		.offset = map->offset,
		.fd = fd,
		.access = UIOMMU_READ | (flags & UIOMMU_MAP_WRITE ? UIOMMU_WRITE : 0),
		.flags = UIOMMU_GUEST_ON_DEMAND,
		.demand_id = pager_demand(port->pager),
		.bitmap_fd = -1,
		.page_lg2 = (uint32_t)__builtin_ctzl(page_size()),
	};
	const struct uiommu_guest_memory change = {
		.size = sizeof(change), .ioas_id = port->ioas_id, .add_count = 1, .add = &region};

	return flags & UIOMMU_MAP_READ ? uiommu_guest_memory_update(port->server->context, &change) : -EINVAL;
}

static int map_remote(struct port *port, const struct vfu_dma_map *map, uint32_t flags)
{
	unsigned int access = (flags & UIOMMU_MAP_READ ? UIOMMU_READ : 0) | (flags & UIOMMU_MAP_WRITE ? UIOMMU_WRITE : 0);
	struct region *region;
	int error = remote_region(port->link, map->address, map->size, access, &region);

	if (error)
		return error;
	error = ioas_map_remote(port->server->context, port->ioas_id, region, flags, map->address);
	region_put(region);
	return error;
}

static int map_one(struct port *port, const struct vfu_dma_map *map, int fd)
{
	uint32_t flags = UIOMMU_MAP_FIXED | (map->flags & VFU_DMA_CAN_READ ? UIOMMU_MAP_READ : 0) |
			 (map->flags & VFU_DMA_CAN_WRITE ? UIOMMU_MAP_WRITE : 0);
	int error = -EINVAL;

	if (fd >= 0)
		error = port->pager ? map_on_demand(port, map, flags, fd) : map_file(port, map, flags, fd);
	if (error == -EOPNOTSUPP)
		port_log(port, "no userfaultfd: the guest's memory is reached by messages");

	/* What is no file, or shorter, or cannot be mapped as it is asked for, is still memory of the other side. */
	if (error == -EINVAL || error == -EACCES || error == -EBADF || error == -EOPNOTSUPP)
		error = port->mapped_only ? 0 : map_remote(port, map, flags);
	return error;
}

int memory_map(struct port *port, struct message *message, struct reply *reply)
{
	const struct vfu_dma_map *map = (const void *)message->payload;
	int fd = message->fd_count ? message->fds[0] : -1, error;

	(void)reply;
	if (map->argsz < sizeof(*map) || !range_valid(map->address, map->size) || !range_valid(map->offset, map->size) ||
	    map->flags & ~(uint32_t)(VFU_DMA_CAN_READ | VFU_DMA_CAN_WRITE) || !map->flags)
		return EINVAL;
	if (!port->ioas_id)
		return 0;
	error = map_one(port, map, fd);
	if (error == -EEXIST) {
		uint64_t bytes;

		/* The same range again is told anew; one that overlaps others only in part is not. */
		error = uiommu_ioas_unmap(port->server->context, port->ioas_id, map->address, map->size, &bytes)
				? -EEXIST
				: map_one(port, map, fd);
	}
	return -error;
}

static int unmap(struct port *port, uint64_t start, uint64_t length, uint64_t *bytes)
{
	int error;

	*bytes = 0;
	error = uiommu_ioas_unmap(port->server->context, port->ioas_id, start, length, bytes);
	/* What has not been mapped may go, too. */
	return port->mapped_only && error == -ENOENT ? 0 : error;
}

int memory_unmap(struct port *port, const struct message *message, struct reply *reply)
{
	struct vfu_dma_unmap *request = (void *)reply->data;
	int error = 0;

	*request = *(const struct vfu_dma_unmap *)(const void *)message->payload;
	if (request->argsz < sizeof(*request) || request->flags & ~(uint32_t)VFU_UNMAP_ALL)
		return request->flags & VFU_UNMAP_DIRTY ? ENOTSUP : EINVAL;
	if (request->flags & VFU_UNMAP_ALL ? request->address || request->size : !range_valid(request->address, request->size))
		return EINVAL;
	if (port->ioas_id)
		error = unmap(port, request->address, request->flags & VFU_UNMAP_ALL ? UINT64_MAX : request->size, &request->size);
	reply->length = sizeof(*request);
	return -error;
}

void memory_clear(struct port *port)
{
	uint64_t bytes;
	int error = port->ioas_id ? unmap(port, 0, UINT64_MAX, &bytes) : 0;

	if (error)
		port_log(port, "the guest's memory is still in use: error %d", -error);
}
