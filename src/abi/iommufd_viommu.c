/* SPDX-License-Identifier: BSD-3-Clause */
/* Commands about vIOMMUs and what belongs to them. */
#include <errno.h>

#include "abi/driver.h"
#include "abi/events.h"
#include "iommu/viommu.h"

int abi_viommu_alloc(struct abi_call *call)
{
	struct abi_viommu_alloc *arguments = (void *)call->data;
	int error;

	if (arguments->flags || arguments->type == ABI_VIOMMU_DEFAULT)
		return -EOPNOTSUPP;
	if (uiommu_object_type(call->context, arguments->dev_id) != UIOMMU_OBJECT_DEVICE)
		return -ENOENT;
	error = abi_driver_of(call, arguments->dev_id)->viommu_alloc(call, arguments, &arguments->out_viommu_id);
	if (!error)
		call->made = arguments->out_viommu_id;
	return error;
}

int abi_vdevice_alloc(struct abi_call *call)
{
	struct abi_vdevice_alloc *arguments = (void *)call->data;
	int error = 0;

	/* Both are of one IOMMU, if there are both. */
	if (uiommu_object_type(call->context, arguments->viommu_id) == UIOMMU_OBJECT_VIOMMU &&
	    uiommu_object_type(call->context, arguments->dev_id) == UIOMMU_OBJECT_DEVICE &&
	    abi_driver_of(call, arguments->viommu_id) != abi_driver_of(call, arguments->dev_id))
		return -EINVAL;
	error = vdevice_alloc(call->context, arguments->viommu_id, arguments->dev_id, arguments->virt_id,
			      &arguments->out_vdevice_id);
	if (!error)
		call->made = arguments->out_vdevice_id;
	return error;
}

int abi_veventq_alloc(struct abi_call *call)
{
	struct abi_veventq_alloc *arguments = (void *)call->data;
	int error;

	if (arguments->flags || arguments->reserved || arguments->type == ABI_VEVENTQ_DEFAULT)
		return -EOPNOTSUPP;
	if (!arguments->veventq_depth || arguments->veventq_depth > VEVENTQ_DEPTH_MAX)
		return -EINVAL;
	/* Of any type: of one that the driver does not know nothing will ever come. */
	error = veventq_alloc(call->context, arguments->viommu_id, arguments->type, arguments->veventq_depth,
			      &arguments->out_veventq_id);
	if (error)
		return error;
	call->made = arguments->out_veventq_id;
	call->file_at = offsetof(struct abi_veventq_alloc, out_veventq_fd);
	error = abi_veventq_file(call->iommufd, call->made, &call->file);
	if (error)
		uiommu_destroy(call->context, call->made);
	return error;
}

int abi_fault_queue_alloc(struct abi_call *call)
{
	struct abi_fault_alloc *arguments = (void *)call->data;
	int error;

	if (arguments->flags)
		return -EOPNOTSUPP;
	error = abi_fault_queue(call->context, &arguments->out_fault_id);
	if (error)
		return error;
	call->made = arguments->out_fault_id;
	call->file_at = offsetof(struct abi_fault_alloc, out_fault_fd);
	error = abi_fault_file(call->iommufd, call->made, &call->file);
	if (error)
		uiommu_destroy(call->context, call->made);
	return error;
}

/* How many queues of @type there may be. */
static int queues_of(struct abi_call *call, uint32_t viommu_id, uint32_t type)
{
	struct viommu *viommu = viommu_get(call->context, viommu_id);
	int answer;

	if (!viommu)
		return -ENOENT;
	answer = abi_driver_of(call, viommu_id)->hw_queues(call, viommu, type);
	viommu_put(viommu);
	return answer;
}

int abi_hw_queue_alloc(struct abi_call *call)
{
	struct abi_hw_queue_alloc *arguments = (void *)call->data;
	struct hw_queue_request request = {
		.viommu_id = arguments->viommu_id,
		.index = arguments->index,
		.iova = arguments->nesting_parent_iova,
		.length = arguments->length,
	};
	uint64_t last;
	int count, error;

	if (arguments->flags || !arguments->type)
		return -EOPNOTSUPP;
	if (!arguments->length)
		return -EINVAL;
	if (__builtin_add_overflow(arguments->nesting_parent_iova, arguments->length - 1, &last))
		return -EOVERFLOW;
	count = queues_of(call, arguments->viommu_id, arguments->type);
	if (count < 0)
		return count;
	request.count = (uint32_t)count;
	error = hw_queue_alloc(call->context, &request, &arguments->out_hw_queue_id);
	if (!error)
		call->made = arguments->out_hw_queue_id;
	return error;
}
