/* SPDX-License-Identifier: BSD-3-Clause */
/* BIND_IOMMUFD, ATTACH_PT, DETACH_PT: what only the cdev's file has. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "abi/iommufd.h"
#include "abi/vfio_device.h"
#include "iommu/attach.h"
#include "util/util.h"

enum { BIND_LEAST = offsetof(struct vfio_spec_bind, token_uuid_ptr), TOKEN = 16 };

/* The struct may be larger than it is known here, if its tail is 0. */
static int read_bind(const struct vfio_call *call, struct vfio_spec_bind *out)
{
	struct abi_caller *caller = call->caller;
	uint32_t size;
	int error = abi_caller_read(caller, call->argument, &size, sizeof(size));

	if (error)
		return error;
	if (size < BIND_LEAST)
		return -EINVAL;
	for (uint64_t at = sizeof(*out); at < size;) {
		uint8_t bytes[256];
		size_t length = (size_t)min_u64(size - at, sizeof(bytes));

		if (abi_caller_read(caller, call->argument + at, bytes, length))
			return -EFAULT;
		for (size_t i = 0; i < length; i++)
			if (bytes[i])
				return -E2BIG;
		at += length;
	}
	memset(out, 0, sizeof(*out));
	return abi_caller_read(caller, call->argument, out, (size_t)min_u64(size, sizeof(*out)));
}

/* Only virtual functions, and functions that have some, have tokens. */
static int check_token(const struct vfio_call *call, const struct vfio_spec_bind *bind)
{
	uint8_t token[TOKEN];

	if (!(bind->flags & VFIO_SPEC_BIND_TOKEN))
		return 0;
	return abi_caller_read(call->caller, bind->token_uuid_ptr, token, sizeof(token)) ? -EFAULT : -EINVAL;
}

static int get_iommufd(const struct vfio_call *call, int number, struct abi_file **out)
{
	int fd, error = call->caller->ops->descriptor(call->caller, number, out, &fd);

	if (error)
		return error;
	if (*out && iommufd_context(*out))
		return 0;
	if (*out)
		abi_file_put(*out);
	else
		close(fd);
	return -EBADFD;
}

/* Under the device's lock. */
static int bind_to(const struct vfio_call *call, const struct vfio_spec_bind *bind)
{
	struct vfio_device *device = call->device;
	struct abi_file *iommufd;
	int error;

	if (device->group)
		return -EBUSY;
	if (call->file->granted)
		return -EINVAL;
	error = check_token(call, bind);
	if (!error)
		error = get_iommufd(call, bind->iommufd, &iommufd);
	if (error)
		return error;
	error = vfio_device_open(call->file, iommufd);
	abi_file_put(iommufd);
	if (error)
		return error;
	error = abi_caller_write(call->caller, call->argument + offsetof(struct vfio_spec_bind, out_devid), &device->id,
				 sizeof(device->id));
	if (error)
		vfio_device_close(device);
	else
		__atomic_store_n(&call->file->granted, true, __ATOMIC_RELEASE);
	return error;
}

int vfio_bind(struct vfio_call *call)
{
	struct vfio_spec_bind bind;
	int error = read_bind(call, &bind);

	if (error)
		return error;
	if (bind.iommufd < 0 || bind.flags & ~(uint32_t)VFIO_SPEC_BIND_TOKEN || call->file->group)
		return -EINVAL;
	pthread_mutex_lock(&call->device->lock);
	error = bind_to(call, &bind);
	pthread_mutex_unlock(&call->device->lock);
	return error;
}

/* The PASID that the rest of the struct, which ends with it, says, if there is one. */
static int read_pasid(const struct vfio_call *call, uint32_t flags, size_t at, uint32_t *out)
{
	*out = UIOMMU_NO_PASID;
	if (flags & ~(uint32_t)VFIO_SPEC_WITH_PASID)
		return -EINVAL;
	if (!(flags & VFIO_SPEC_WITH_PASID))
		return 0;
	if (call->argsz < at + sizeof(*out))
		return -EINVAL;
	if (abi_caller_read(call->caller, call->argument + at, out, sizeof(*out)))
		return -EFAULT;
	return 0;
}

/* The caller says that there is one, and it is none. */
static bool is_no_pasid(uint32_t flags, uint32_t pasid)
{
	return flags & VFIO_SPEC_WITH_PASID && (!pasid || pasid > UIOMMU_PASID_LAST);
}

/* What Linux finds first: numbers are kept in an int; then the object; then that it is no PASID. */
static int refuse_pasid(const struct vfio_device *device, uint32_t pasid, uint32_t pt_id)
{
	if (pasid > INT32_MAX)
		return -ENOSPC;
	return uiommu_object_type(device->context, pt_id) == UIOMMU_OBJECT_NONE ? -ENOENT : -EINVAL;
}

/* What is attached, or 0. */
static uint32_t attached(const struct vfio_device *device, uint32_t pasid)
{
	struct uiommu_attach_stats stats = {.size = sizeof(stats)};

	return uiommu_attach_stats(device->context, device->id, pasid, &stats) ? 0 : stats.hwpt_id;
}

int vfio_attach_pt(struct vfio_call *call)
{
	struct vfio_device *device = call->device;
	struct vfio_spec_attach *attach = (void *)call->data;
	uint32_t pasid;
	int error = read_pasid(call, attach->flags, offsetof(struct vfio_spec_attach, pasid), &pasid);

	if (!error && is_no_pasid(attach->flags, pasid))
		error = refuse_pasid(device, pasid, attach->pt_id);
	if (error)
		return error;
	pthread_mutex_lock(&device->access_lock);
	pthread_mutex_lock(&device->attach_lock);
	if (attached(device, pasid))
		error = uiommu_replace(device->context, device->id, pasid, attach->pt_id);
	else
		error = uiommu_attach(device->context, device->id, pasid, attach->pt_id);
	if (!error) {
		attach->pt_id = attached(device, pasid);
		error = abi_caller_write(call->caller, call->argument + offsetof(struct vfio_spec_attach, pt_id), &attach->pt_id,
					 sizeof(attach->pt_id));
		if (error)
			attach_end(container_of(uiommu_pci_device(device->pci), struct device, data), pasid, true);
	}
	pthread_mutex_unlock(&device->attach_lock);
	pthread_mutex_unlock(&device->access_lock);
	return error;
}

int vfio_detach_pt(struct vfio_call *call)
{
	struct vfio_device *device = call->device;
	const struct vfio_spec_detach *detach = (const void *)call->data;
	uint32_t pasid;
	int error = read_pasid(call, detach->flags, offsetof(struct vfio_spec_detach, pasid), &pasid);

	if (error || is_no_pasid(detach->flags, pasid))
		return error;
	pthread_mutex_lock(&device->attach_lock);
	error = attach_end(container_of(uiommu_pci_device(device->pci), struct device, data), pasid, true);
	pthread_mutex_unlock(&device->attach_lock);
	return error == -ENOENT ? 0 : error;
}
