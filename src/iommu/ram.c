/* SPDX-License-Identifier: BSD-3-Clause */
/* Guest RAM: one mapping of a file, whose parts are mapped in any IOAS. It is in use as long as there are such areas. */
#include <errno.h>
#include <stdlib.h>

#include "iommu/ioas.h"
#include "memory/region.h"

struct ram {
	struct object object;
	struct region *region;
};

int uiommu_ram_alloc(struct uiommu_context *context, int fd, uint64_t offset, uint64_t length, unsigned int access,
		     uint32_t *out_id)
{
	struct ram *ram;
	int error;

	if ((access != UIOMMU_READ && access != (UIOMMU_READ | UIOMMU_WRITE)) || !length || offset % page_size() ||
	    length % page_size())
		return -EINVAL;
	ram = calloc(1, sizeof(*ram));
	if (!ram)
		return -ENOMEM;
	error = region_file(fd, offset, length, access, false, &ram->region);
	if (!error) {
		error = object_alloc(context, &ram->object, UIOMMU_OBJECT_RAM);
		if (error)
			region_put(ram->region);
	}
	if (error) {
		free(ram);
		return error;
	}
	*out_id = ram->object.id;
	object_finalise(&ram->object);
	return 0;
}

struct region *ram_region(struct uiommu_context *context, uint32_t id)
{
	struct object *object = object_get(context, id, UIOMMU_OBJECT_RAM);
	struct region *region;

	if (!object)
		return NULL;
	region = region_get(container_of(object, struct ram, object)->region);
	object_put(object);
	return region;
}

bool ram_in_use(const struct object *object)
{
	return region_shared(container_of(object, struct ram, object)->region);
}

void ram_end(struct object *object)
{
	struct ram *ram = container_of(object, struct ram, object);

	region_put(ram->region);
	free(ram);
}
