/* SPDX-License-Identifier: BSD-3-Clause */
#include "iommu/mdev.h"

#include <errno.h>
#include <stdlib.h>

#include "pasid/set.h"
#include "util/util.h"

/* Inside calls of both. */
static int make(struct device *device, struct object *set, const struct uiommu_mdev_config *config, uint32_t *out_id)
{
	struct mdev *mdev;
	int error;

	if (!device->data.pasid_bits)
		return -EOPNOTSUPP;
	mdev = calloc(1, sizeof(*mdev));
	if (!mdev)
		return -ENOMEM;
	*mdev = (struct mdev){.device = device, .set = set, .untranslated = config->untranslated, .opaque = config->opaque};
	error = set_vpasids(set, &mdev->table);
	if (!error)
		error = object_alloc(device->object.context, &mdev->object, UIOMMU_OBJECT_MDEV);
	if (error) {
		free(mdev);
		return error;
	}
	object_use(&device->object);
	object_use(set);
	*out_id = mdev->object.id;
	object_finalise(&mdev->object);
	return 0;
}

int uiommu_mdev_alloc(struct uiommu_context *context, const struct uiommu_mdev_config *config, uint32_t *out_id)
{
	struct object *device, *set = NULL;
	struct uiommu_mdev_config given;
	int error = context_check_owner(context);

	if (!error)
		error = copy_struct(&given, sizeof(given), sizeof(given), config, config->size);
	if (error)
		return error;
	if (given.flags)
		return -EOPNOTSUPP;
	if (given.set_id == UIOMMU_PASID_SET_OWN)
		return -EINVAL;
	device = object_get(context, given.device_id, UIOMMU_OBJECT_DEVICE);
	if (device)
		set = object_get(context, given.set_id, UIOMMU_OBJECT_PASID_SET);
	error = set ? make(container_of(device, struct device, object), set, &given, out_id) : -ENOENT;
	if (set)
		object_put(set);
	if (device)
		object_put(device);
	return error;
}

void mdev_end(struct object *object)
{
	struct mdev *mdev = object_mdev(object);

	object_unuse(&mdev->device->object);
	object_unuse(mdev->set);
	free(mdev);
}

bool mdev_in_use(const struct object *object)
{
	return __atomic_load_n(&container_of(object, struct mdev, object)->own, __ATOMIC_RELAXED);
}

int mdev_use(struct mdev *mdev, uint32_t vpasid, uint32_t *pasid)
{
	const struct vpasid_use use = {
		.vpasid = vpasid,
		.own = vpasid == UIOMMU_NO_PASID ? &mdev->own : NULL,
		.bits = mdev->device->data.pasid_bits,
		.not = mdev->device->rid_pasid,
	};

	return vpasid_use(mdev->table, &use, pasid);
}

/* Inside a call of @mdev. */
static int translate(struct mdev *mdev, uint32_t vpasid, bool use, uint32_t *pasid)
{
	uint64_t word;

	if (vpasid != UIOMMU_NO_PASID && (!vpasid || vpasid > UIOMMU_PASID_LAST))
		return -EINVAL;
	if (use)
		return mdev_use(mdev, vpasid, pasid);
	word = mdev_look(mdev, vpasid);
	*pasid = (uint32_t)(word & VPASID_PASID);
	return word ? 0 : -ENOENT;
}

int requester_get(struct uiommu_context *context, uint32_t device_id, uint32_t pasid, bool use, struct requester *out)
{
	struct object *object = object_get(context, device_id, UIOMMU_OBJECT_NONE);
	int error = 0;

	if (!object)
		return -ENOENT;
	*out = (struct requester){.inside = object, .pasid = pasid};
	if (object->type == UIOMMU_OBJECT_DEVICE) {
		out->device = container_of(object, struct device, object);
		if (use && pasid != UIOMMU_NO_PASID)
			error = pasid_use(context->pasid_set, pasid);
	} else if (object->type == UIOMMU_OBJECT_MDEV) {
		out->device = object_mdev(object)->device;
		error = translate(object_mdev(object), pasid, use, &out->pasid);
		if (error)
			pasid_tell(context->pasids, out->pasid);
	} else {
		error = -ENOENT;
	}
	if (error)
		object_put(object);
	return error;
}

void requester_put(const struct requester *requester)
{
	object_put(requester->inside);
}

/* --- the table by itself --- */

int uiommu_vpasid_map(struct uiommu_context *context, uint32_t set_id, uint32_t vpasid, uint32_t pasid)
{
	struct vpasid_table *table;
	struct object *set;
	int error = context_check_owner(context);

	if (error)
		return error;
	if (!vpasid || vpasid > UIOMMU_PASID_LAST)
		return -EINVAL;
	set = object_get(context, set_id, UIOMMU_OBJECT_PASID_SET);
	if (!set)
		return -ENOENT;
	error = set_vpasids(set, &table);
	if (!error)
		error = vpasid_map(table, vpasid, pasid);
	object_put(set);
	return error;
}

int uiommu_vpasid_unmap(struct uiommu_context *context, uint32_t set_id, uint32_t vpasid)
{
	struct vpasid_table *table;
	struct object *set;
	int error = context_check_owner(context);

	if (error)
		return error;
	set = object_get(context, set_id, UIOMMU_OBJECT_PASID_SET);
	if (!set)
		return -ENOENT;
	error = set_vpasids(set, &table);
	if (!error)
		error = vpasid_unmap(table, vpasid);
	object_put(set);
	return error;
}
