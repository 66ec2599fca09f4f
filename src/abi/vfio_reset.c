/* SPDX-License-Identifier: BSD-3-Clause */
/* RESET, hot resets, and FEATURE, of which there is low power. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "abi/vfio_device.h"
#include "util/util.h"

int vfio_reset(struct vfio_call *call)
{
	pthread_mutex_lock(&call->device->access_lock);
	vfio_wake(call->device);
	vfio_device_reset(call->device, UIOMMU_PCI_RESET_FUNCTION);
	pthread_mutex_unlock(&call->device->access_lock);
	return 0;
}

/* --- hot resets: of a bus, with all functions on it --- */

static bool same_bus(const struct vfio_device *a, const struct vfio_device *b)
{
	return a->address >> 8 == b->address >> 8;
}

static uint32_t count_devices(const struct vfio_device *device)
{
	uint32_t count = 0;

	for (unsigned int i = 0; i < device->vfio->count; i++)
		count += same_bus(device->vfio->devices[i], device);
	return count;
}

/* Nobody opens or closes one of them. */
static void lock_bus(const struct vfio_device *device, bool lock)
{
	for (unsigned int i = 0; i < device->vfio->count; i++) {
		struct vfio_device *other = device->vfio->devices[i];

		if (!same_bus(other, device))
			continue;
		if (lock)
			pthread_mutex_lock(&other->lock);
		else
			pthread_mutex_unlock(&other->lock);
	}
}

/* Under its lock: whose is @other, seen from @context? Its id there, or NOT_OWNED. */
static uint32_t id_in(const struct vfio_device *other, const struct uiommu_context *context)
{
	return other->opens && other->context == context ? other->id : VFIO_SPEC_DEVID_NOT_OWNED;
}

static void describe(struct vfio_device *device, struct vfio_spec_reset_device *out, uint32_t *flags)
{
	lock_bus(device, true);
	for (unsigned int i = 0; i < device->vfio->count; i++) {
		struct vfio_device *other = device->vfio->devices[i];

		if (!same_bus(other, device))
			continue;
		*out = (struct vfio_spec_reset_device){
			.group_id = device->cdev ? id_in(other, device->context) : other->number,
			.segment = (uint16_t)(other->address >> 16),
			.bus = (uint8_t)(other->address >> 8),
			.devfn = (uint8_t)other->address,
		};
		if (device->cdev && out->group_id == VFIO_SPEC_DEVID_NOT_OWNED)
			*flags &= ~(uint32_t)VFIO_SPEC_RESET_DEV_ID_OWNED;
		out++;
	}
	lock_bus(device, false);
}

int vfio_hot_reset_info(struct vfio_call *call)
{
	struct vfio_device *device = call->device;
	struct vfio_spec_reset_info *info = (void *)call->data;
	struct vfio_spec_reset_device *devices;
	int error;

	info->count = count_devices(device);
	info->flags = 0;
	call->reply = sizeof(*info);
	if (info->count > (call->argsz - sizeof(*info)) / sizeof(*devices))
		return -ENOSPC;
	devices = calloc(info->count, sizeof(*devices));
	if (devices) {
		if (device->cdev)
			info->flags = VFIO_SPEC_RESET_DEV_ID | VFIO_SPEC_RESET_DEV_ID_OWNED;
		describe(device, devices, &info->flags);
	}
	error = devices ? abi_caller_write(call->caller, call->argument + sizeof(*info), devices, info->count * sizeof(*devices))
			: -ENOMEM;
	free(devices);
	if (error)
		call->reply = 0;
	return error;
}

/* The groups that the caller shows; all references are given back afterwards. */
struct groups {
	struct abi_file *files[VFIO_DEVICES];
	uint32_t count;
};

static int read_groups(const struct vfio_call *call, uint32_t count, struct groups *groups)
{
	int32_t fds[VFIO_DEVICES];

	if (count > count_devices(call->device))
		return -EINVAL;
	if (abi_caller_read(call->caller, call->argument + sizeof(struct vfio_spec_reset), fds, count * sizeof(*fds)))
		return -EFAULT;
	for (uint32_t i = 0; i < count; i++) {
		struct abi_file *file;
		int fd, error = call->caller->ops->descriptor(call->caller, fds[i], &file, &fd);

		if (error == -EMFILE)
			return error;
		if (error)
			return -EBADF;
		if (!file)
			close(fd);
		if (file)
			groups->files[groups->count++] = file;
		if (!file || !vfio_is_group(file))
			return -EINVAL;
	}
	return 0;
}

static bool owns(const struct vfio_device *device, const struct vfio_device *other, const struct groups *groups)
{
	if (device->cdev)
		return id_in(other, device->context) != VFIO_SPEC_DEVID_NOT_OWNED;
	for (uint32_t i = 0; i < groups->count; i++)
		if (vfio_group_device(groups->files[i]) == other)
			return true;
	return false;
}

static bool owns_all(const struct vfio_device *device, const struct groups *groups)
{
	for (unsigned int i = 0; i < device->vfio->count; i++)
		if (same_bus(device->vfio->devices[i], device) && !owns(device, device->vfio->devices[i], groups))
			return false;
	return true;
}

static int reset_bus(const struct vfio_device *device, const struct groups *groups)
{
	bool owned;

	lock_bus(device, true);
	owned = owns_all(device, groups);
	for (unsigned int i = 0; i < device->vfio->count && owned; i++) {
		struct vfio_device *other = device->vfio->devices[i];

		if (!same_bus(other, device))
			continue;
		pthread_mutex_lock(&other->access_lock);
		vfio_wake(other);
		vfio_device_reset(other, UIOMMU_PCI_RESET_BUS);
		pthread_mutex_unlock(&other->access_lock);
	}
	lock_bus(device, false);
	return owned ? 0 : -EINVAL;
}

int vfio_hot_reset(struct vfio_call *call)
{
	const struct vfio_spec_reset *reset = (const void *)call->data;
	struct groups groups = {.count = 0};
	int error;

	/* Who has opened the cdev shows no groups; all others do. */
	if (reset->flags || !reset->count != call->device->cdev)
		return -EINVAL;
	error = read_groups(call, reset->count, &groups);
	if (!error)
		error = reset_bus(call->device, &groups);
	while (groups.count)
		abi_file_put(groups.files[--groups.count]);
	return error;
}

/* --- FEATURE --- */

enum { FEATURE_PRECOPY_INFO = 12 }; /* as of Linux 7.2: VFIO_DEVICE_FEATURE_MIG_PRECOPY_INFOv2 */

void vfio_wake(struct vfio_device *device)
{
	if (device->wakeup < 0)
		return;
	/* With an eventfd any access ends low power, and tells of it. */
	pci_eventfd_signal(device->wakeup);
	close(device->wakeup);
	device->wakeup = -1;
	device->low_power = false;
}

/* 1: do it. Otherwise what the ioctl returns. */
static int check_feature(uint32_t flags, size_t size, size_t least)
{
	if (flags & VFIO_DEVICE_FEATURE_GET)
		return -EINVAL;
	if (flags & VFIO_DEVICE_FEATURE_PROBE)
		return 0;
	return flags & VFIO_DEVICE_FEATURE_SET && size >= least ? 1 : -EINVAL;
}

/* Takes over @fd, or -1. */
static int enter_low_power(struct vfio_device *device, int fd)
{
	int error = 0;

	pthread_mutex_lock(&device->access_lock);
	if (device->low_power)
		error = -EINVAL;
	else
		device->wakeup = fd;
	device->low_power = true;
	pthread_mutex_unlock(&device->access_lock);
	if (error && fd >= 0)
		close(fd);
	return error;
}

static int enter_with_wakeup(struct vfio_call *call)
{
	struct abi_file *file = NULL;
	int32_t given[2]; /* the eventfd, and nothing */
	int fd, error = abi_caller_read(call->caller, call->argument + sizeof(struct vfio_spec_feature), given, sizeof(given));

	if (error)
		return error;
	if (given[0] < 0)
		return -EINVAL;
	error = call->caller->ops->descriptor(call->caller, given[0], &file, &fd);
	if (error)
		return error;
	if (file) {
		abi_file_put(file);
		return -EINVAL;
	}
	if (!pci_is_eventfd(fd)) {
		close(fd);
		return -EINVAL;
	}
	return enter_low_power(call->device, fd);
}

static int leave_low_power(struct vfio_device *device)
{
	pthread_mutex_lock(&device->access_lock);
	vfio_wake(device);
	device->low_power = false;
	pthread_mutex_unlock(&device->access_lock);
	return 0;
}

int vfio_feature(struct vfio_call *call)
{
	const struct vfio_spec_feature *feature = (const void *)call->data;
	const uint32_t both = VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_SET;
	const size_t size = call->argsz - sizeof(*feature);
	const uint32_t known = VFIO_DEVICE_FEATURE_MASK | both | VFIO_DEVICE_FEATURE_PROBE;
	int error;

	if (feature->flags & ~known || (!(feature->flags & VFIO_DEVICE_FEATURE_PROBE) && (feature->flags & both) == both))
		return -EINVAL;
	switch (feature->flags & VFIO_DEVICE_FEATURE_MASK) {
	case VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY:
		error = check_feature(feature->flags, size, 0);
		return error == 1 ? enter_low_power(call->device, -1) : error;
	case VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY_WITH_WAKEUP:
		error = check_feature(feature->flags, size, sizeof(struct vfio_device_low_power_entry_with_wakeup));
		return error == 1 ? enter_with_wakeup(call) : error;
	case VFIO_DEVICE_FEATURE_LOW_POWER_EXIT:
		error = check_feature(feature->flags, size, 0);
		return error == 1 ? leave_low_power(call->device) : error;
	case FEATURE_PRECOPY_INFO: /* of what cannot be migrated, whatever is asked about it */
		return -EINVAL;
	default:
		return -ENOTTY;
	}
}
