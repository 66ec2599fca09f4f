/* SPDX-License-Identifier: BSD-3-Clause */
/* What a device is: its regions, its interrupts; and SET_IRQS. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "abi/vfio_device.h"
#include "util/util.h"

int vfio_get_info(struct vfio_call *call)
{
	struct vfio_spec_info *info = (void *)call->data;

	*info = (struct vfio_spec_info){
		.argsz = call->argsz,
		.flags = VFIO_DEVICE_FLAGS_PCI | VFIO_DEVICE_FLAGS_RESET,
		.num_regions = VFIO_PCI_NUM_REGIONS,
		.num_irqs = VFIO_PCI_NUM_IRQS,
	};
	call->reply = (size_t)min_u64(call->argsz, sizeof(*info));
	return 0;
}

/* Only a part of the BAR may be mapped. What has no room is left out, and the size says so. */
static int sparse(struct vfio_call *call, struct vfio_region_info *info)
{
	const struct uiommu_pci_bar *bar = &call->device->pci->bars[info->index];
	const struct vfio_spec_sparse cap = {
		.id = VFIO_REGION_INFO_CAP_SPARSE_MMAP,
		.version = 1,
		.nr_areas = 1,
		.offset = bar->memory_offset,
		.size = bar->memory_length,
	};

	info->flags |= VFIO_REGION_INFO_FLAG_CAPS;
	info->cap_offset = 0;
	if (info->argsz < sizeof(*info) + sizeof(cap)) {
		info->argsz = sizeof(*info) + sizeof(cap);
		return 0;
	}
	info->cap_offset = sizeof(*info);
	return abi_caller_write(call->caller, call->argument + sizeof(*info), &cap, sizeof(cap));
}

int vfio_get_region_info(struct vfio_call *call)
{
	struct vfio_region_info *info = (void *)call->data;
	const struct uiommu_pci_bar *bar = info->index < UIOMMU_PCI_BARS ? &call->device->pci->bars[info->index] : NULL;
	int error = 0;

	if (info->index >= VFIO_PCI_NUM_REGIONS || info->index == VFIO_PCI_VGA_REGION_INDEX)
		return -EINVAL;
	*info = (struct vfio_region_info){
		.argsz = call->argsz,
		.index = info->index,
		.cap_offset = info->cap_offset, /* stays, if there is nothing that it could point to */
		.offset = (uint64_t)info->index << VFIO_SPEC_REGION_SHIFT,
		.size = bar					      ? bar->size
			: info->index == VFIO_PCI_CONFIG_REGION_INDEX ? vfio_config_size(call->device)
								      : 0,
	};
	if (info->size)
		info->flags = VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE;
	if (bar && bar->size && (bar->memory_length || call->caller->traps))
		info->flags |= VFIO_REGION_INFO_FLAG_MMAP;
	if (bar && bar->memory_length && bar->memory_length < bar->size)
		error = sparse(call, info);
	if (!error)
		call->reply = sizeof(*info);
	return error;
}

int vfio_get_irq_info(struct vfio_call *call)
{
	struct vfio_irq_info *info = (void *)call->data;

	if (info->index >= PCI_IRQS || (info->index == PCI_IRQ_ERROR && !call->device->pci->place[UIOMMU_PCI_EXPRESS]))
		return -EINVAL;
	info->flags = pci_irqs_flags(&call->device->irqs, info->index);
	info->count = pci_irqs_count(&call->device->irqs, info->index);
	call->reply = sizeof(*info);
	return 0;
}

/* --- SET_IRQS --- */

/* Bytes behind the struct. */
static int data_size(const struct vfio_spec_irq_set *set, size_t *out)
{
	size_t each = set->flags & PCI_IRQ_SET_BOOL ? 1 : set->flags & PCI_IRQ_SET_FDS ? sizeof(int32_t) : 0;

	*out = set->count * each;
	return set->argsz - sizeof(*set) < *out ? -EINVAL : 0;
}

/* Numbers of the caller's, which become descriptors of ours in place. A negative one is nobody. */
static int take_fds(struct abi_caller *caller, int32_t *fds, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		struct abi_file *file = NULL;
		int fd = -1, error = fds[i] < 0 ? 0 : caller->ops->descriptor(caller, fds[i], &file, &fd);

		if (!error && file) {
			abi_file_put(file);
			error = -EINVAL; /* it is no eventfd */
		}
		if (error) {
			/* None of the rest is ours to close. */
			for (; i < count; i++)
				fds[i] = -1;
			return error;
		}
		fds[i] = fd;
	}
	return 0;
}

static int set_irqs(struct vfio_device *device, struct pci_irq_request *request)
{
	enum pci_irq before;
	int error;

	pthread_mutex_lock(&device->irq_lock);
	before = device->irqs.mode;
	error = pci_irqs_set(&device->irqs, request);
	if (!error && device->irqs.mode != before)
		vfio_config_mode(device, before, device->irqs.mode);
	pthread_mutex_unlock(&device->irq_lock);
	return error;
}

/* What the request is refused for before its descriptors are looked at. */
static int allow(struct vfio_device *device, const struct pci_irq_request *request)
{
	int error;

	pthread_mutex_lock(&device->irq_lock);
	error = pci_irqs_allow(&device->irqs, request);
	pthread_mutex_unlock(&device->irq_lock);
	return error;
}

/* @data: to be changed. */
static int set_with(struct vfio_call *call, struct pci_irq_request *request, uint8_t *data, size_t size)
{
	int error = abi_caller_read(call->caller, call->argument + sizeof(struct vfio_spec_irq_set), data, size);

	if (error)
		return error;
	request->bools = data;
	if (!(request->flags & PCI_IRQ_SET_FDS))
		return set_irqs(call->device, request);
	request->fds = (int32_t *)(void *)data;
	error = allow(call->device, request);
	if (error)
		return error;
	error = take_fds(call->caller, request->fds, request->count);
	if (!error)
		error = set_irqs(call->device, request);
	for (uint32_t i = 0; i < request->count; i++)
		if (request->fds[i] >= 0)
			close(request->fds[i]);
	return error;
}

int vfio_set_irqs(struct vfio_call *call)
{
	const struct vfio_spec_irq_set *set = (const void *)call->data;
	struct pci_irq_request request = {set->flags, set->index, set->start, set->count};
	int error = pci_irqs_check(&call->device->irqs, &request);
	uint8_t *data;
	size_t size;

	if (!error)
		error = data_size(set, &size);
	if (error)
		return error;
	/* A NULL would stand for data that there is none of. */
	data = malloc(size ? size : 1);
	if (!data)
		return -ENOMEM;
	error = set_with(call, &request, data, size);
	free(data);
	return error;
}
