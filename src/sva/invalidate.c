/* SPDX-License-Identifier: BSD-3-Clause */
/* Invalidations by (device, PASID) of a bind. */
#include <errno.h>

#include "iommu/hwpt.h"
#include "sva/bind.h"
#include "util/util.h"

static int check_range(const struct uiommu_bind_invalidate *given)
{
	uint64_t length, last;

	if (given->scope != UIOMMU_BIND_SCOPE_ADDRESS)
		return given->granule_lg2 || given->address || given->count ? -EINVAL : 0;
	if (given->granule_lg2 < 12 || given->granule_lg2 > 63 || !given->count)
		return -EINVAL;
	if (given->address % (UINT64_C(1) << given->granule_lg2) ||
	    __builtin_mul_overflow(given->count, UINT64_C(1) << given->granule_lg2, &length) ||
	    __builtin_add_overflow(given->address, length - 1, &last))
		return -EINVAL;
	return 0;
}

static int check(const struct uiommu_bind_invalidate *given)
{
	if (given->flags & ~(uint32_t)(UIOMMU_BIND_LEAF_ONLY | UIOMMU_BIND_ENTRIES))
		return -EOPNOTSUPP;
	if (given->scope > UIOMMU_BIND_SCOPE_ADDRESS ||
	    (given->flags & UIOMMU_BIND_ENTRIES && given->scope == UIOMMU_BIND_SCOPE_ADDRESS))
		return -EINVAL;
	return check_range(given);
}

/* The bind of the PASID, or of a table that it is in; inside a call. */
static struct hwpt *hwpt_get(struct uiommu_context *context, const struct uiommu_bind_invalidate *given)
{
	struct hwpt *hwpt = bind_hwpt_get(context, given->device_id, given->pasid);

	if (hwpt || given->pasid == UIOMMU_NO_PASID)
		return hwpt;
	hwpt = bind_hwpt_get(context, given->device_id, UIOMMU_NO_PASID);
	if (!hwpt || hwpt->tables)
		return hwpt;
	object_put(&hwpt->object);
	return NULL;
}

/* What of @hwpt, which is nested, is to be forgotten. */
static int invalidate_nested(struct hwpt *hwpt, const struct uiommu_bind_invalidate *given)
{
	struct uiommu_invalidation request = {.last = UINT64_MAX};

	request.flags = given->flags & UIOMMU_BIND_LEAF_ONLY ? UIOMMU_INVALIDATE_LEAF : 0;
	if (given->scope == UIOMMU_BIND_SCOPE_ADDRESS) {
		request.start = given->address;
		request.last = given->address + ((given->count << given->granule_lg2) - 1);
	}
	if (hwpt->tables) {
		request.device_id = given->device_id;
		request.pasid = given->pasid;
		request.flags |= UIOMMU_INVALIDATE_DEVICE;
		request.flags |= given->scope == UIOMMU_BIND_SCOPE_DOMAIN ? 0 : UIOMMU_INVALIDATE_PASID;
		request.flags |= given->flags & UIOMMU_BIND_ENTRIES ? UIOMMU_INVALIDATE_ENTRIES : 0;
	}
	return uiommu_hwpt_invalidate(hwpt->object.context, hwpt->object.id, &request, 1);
}

static int invalidate(struct hwpt *hwpt, const struct uiommu_bind_invalidate *given)
{
	const struct uiommu_invalidation all = {.last = UINT64_MAX};
	int error = 0;

	if (given->flags & UIOMMU_BIND_ENTRIES && !hwpt->tables)
		return -EOPNOTSUPP;
	if (!hwpt->parent)
		return 0;
	if (given->scope != UIOMMU_BIND_SCOPE_DOMAIN || given->flags & UIOMMU_BIND_ENTRIES)
		error = invalidate_nested(hwpt, given);
	if (!error && given->scope == UIOMMU_BIND_SCOPE_DOMAIN)
		error = uiommu_hwpt_invalidate(hwpt->object.context, hwpt->parent->object.id, &all, 1);
	return error;
}

int uiommu_bind_invalidate(struct uiommu_context *context, const struct uiommu_bind_invalidate *request)
{
	struct uiommu_bind_invalidate given;
	struct hwpt *hwpt;
	int error = copy_struct(&given, sizeof(given), sizeof(given), request, request->size);

	if (!error)
		error = check(&given);
	if (error)
		return error;
	if (thread_inside())
		return -EDEADLK;
	hwpt = hwpt_get(context, &given);
	if (!hwpt)
		return -ENOENT;
	error = invalidate(hwpt, &given);
	object_put(&hwpt->object);
	return error;
}
