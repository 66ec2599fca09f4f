/* SPDX-License-Identifier: BSD-3-Clause */
/* uiommu as the IOMMU behind a device: nested page tables of three architectures, on the same device. */
#include "abi/driver.h"

#include <errno.h>

#include "iommu/hwpt.h"
#include "iommu/viommu.h"

static int hwpt_paging(struct abi_call *call, const struct abi_hwpt_alloc *arguments, const struct uiommu_hwpt_alloc *alloc,
		       uint32_t *out_id)
{
	if (arguments->data_type != ABI_HWPT_DATA_NONE)
		return -EOPNOTSUPP;
	return uiommu_hwpt_alloc(call->context, alloc, out_id);
}

static int hwpt_nested(struct abi_call *call, const struct abi_hwpt_alloc *arguments, uint32_t parent_id, struct viommu *viommu,
		       uint32_t *out_id)
{
	(void)call;
	(void)arguments;
	(void)parent_id;
	(void)viommu;
	(void)out_id;
	return -EOPNOTSUPP;
}

static int invalidate(struct abi_call *call, uint32_t id, struct viommu *viommu, const void *entry, uint32_t length)
{
	(void)call;
	(void)id;
	(void)viommu;
	(void)entry;
	(void)length;
	return -EOPNOTSUPP;
}

static int invalidation(struct abi_call *call, uint32_t id, const struct viommu *viommu, uint32_t type, uint32_t length,
			uint32_t *least, uint32_t *known)
{
	(void)call;
	(void)id;
	(void)viommu;
	(void)type;
	(void)length;
	(void)least;
	(void)known;
	return -EOPNOTSUPP;
}

static int hw_info(struct abi_call *call, uint32_t device_id, uint32_t *type, void *buffer, size_t size, uint64_t *capabilities)
{
	(void)call;
	(void)device_id;
	(void)type;
	(void)buffer;
	(void)size;
	(void)capabilities;
	return -EOPNOTSUPP;
}

static int set_dirty(struct abi_call *call, uint32_t hwpt_id, uint32_t flags)
{
	return uiommu_hwpt_set_dirty_tracking(call->context, hwpt_id, flags);
}

static int get_dirty(struct abi_call *call, const struct uiommu_dirty_bitmap *request)
{
	return uiommu_hwpt_get_dirty_bitmap(call->context, request);
}

static int driver_viommu_alloc(struct abi_call *call, struct abi_viommu_alloc *arguments, uint32_t *out_id)
{
	if (arguments->type != ABI_VIOMMU_ARM_SMMUV3)
		return -EOPNOTSUPP;
	return viommu_alloc(call->context, arguments->type, arguments->hwpt_id, out_id);
}

static int veventq_type(struct abi_call *call, const struct viommu *viommu, uint32_t type)
{
	(void)call;
	return viommu->type == ABI_VIOMMU_ARM_SMMUV3 && type == ABI_VEVENTQ_ARM_SMMUV3 ? 0 : -EOPNOTSUPP;
}

/* Queues that hardware reads by itself are Tegra's. */
static int hw_queues(struct abi_call *call, const struct viommu *viommu, uint32_t type)
{
	(void)call;
	(void)viommu;
	(void)type;
	return -EOPNOTSUPP;
}

const struct abi_driver abi_uiommu = {
	.hwpt_paging = hwpt_paging,
	.hwpt_nested = hwpt_nested,
	.invalidate = invalidate,
	.invalidation = invalidation,
	.hw_info = hw_info,
	.set_dirty = set_dirty,
	.get_dirty = get_dirty,
	.viommu_alloc = driver_viommu_alloc,
	.veventq_type = veventq_type,
	.hw_queues = hw_queues,
};
