/* SPDX-License-Identifier: BSD-3-Clause */
/* A group's file, /dev/vfio/N: there is one at a time, and none while the device is open by its cdev. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "abi/iommufd.h"
#include "abi/vfio_device.h"
#include "util/util.h"

enum { NAME_MAX_BYTES = 4096 };

struct vfio_group {
	struct abi_file file;
	struct vfio_device *device;
	struct abi_file *iommufd; /* the container; a reference, or NULL; under the device's lock */
};

static struct vfio_group *group_of(struct abi_file *file)
{
	return container_of(file, struct vfio_group, file);
}

static int get_status(struct vfio_group *group, struct abi_caller *caller, uint64_t argument)
{
	struct vfio_group_status status;
	int error = abi_caller_read(caller, argument, &status, sizeof(status));

	if (error)
		return error;
	if (status.argsz < sizeof(status))
		return -EINVAL;
	status.flags = VFIO_GROUP_FLAGS_VIABLE;
	pthread_mutex_lock(&group->device->lock);
	if (group->iommufd)
		status.flags |= VFIO_GROUP_FLAGS_CONTAINER_SET;
	pthread_mutex_unlock(&group->device->lock);
	return abi_caller_write(caller, argument, &status, sizeof(status));
}

/* Takes over @file, which may be NULL: it is none of ours; if it succeeds. */
static int put_into(struct vfio_group *group, struct abi_file *file)
{
	uint32_t ioas;
	int error;

	pthread_mutex_lock(&group->device->lock);
	if (group->iommufd)
		error = -EINVAL;
	else if (!file || !iommufd_context(file))
		error = -EBADFD;
	else
		error = iommufd_compat_ioas(file, true, &ioas);
	if (!error)
		group->iommufd = file;
	pthread_mutex_unlock(&group->device->lock);
	return error;
}

static int set_container(struct vfio_group *group, struct abi_caller *caller, uint64_t argument)
{
	struct abi_file *file;
	int32_t number;
	int fd, error = abi_caller_read(caller, argument, &number, sizeof(number));

	if (error)
		return error;
	error = caller->ops->descriptor(caller, number, &file, &fd);
	if (error)
		return error;
	if (!file)
		close(fd);
	error = put_into(group, file);
	if (error)
		abi_file_put(file);
	return error;
}

/* A device that is open keeps what it has been given. */
static int unset_container(struct vfio_group *group)
{
	struct abi_file *iommufd;

	pthread_mutex_lock(&group->device->lock);
	iommufd = group->iommufd;
	group->iommufd = NULL;
	pthread_mutex_unlock(&group->device->lock);
	abi_file_put(iommufd);
	return iommufd ? 0 : -EINVAL;
}

/* A string of the caller's, with its NUL, a piece at a time, so that nothing behind it needs to be there. */
static int read_name(struct abi_caller *caller, uint64_t address, char *out)
{
	size_t got = 0;

	while (got < NAME_MAX_BYTES) {
		size_t length = (size_t)min_u64(64 - (address + got) % 64, NAME_MAX_BYTES - got);

		if (abi_caller_read(caller, address + got, out + got, length))
			return -EFAULT;
		if (memchr(out + got, '\0', length))
			return 0;
		got += length;
	}
	return -EINVAL;
}

/* Behind a device's address there may be a token, which only virtual functions and their owners have. */
static int match(const struct vfio_device *device, const char *name)
{
	size_t length = strlen(device->name);

	if (strncmp(name, device->name, length) != 0 || (name[length] && name[length] != ' '))
		return -ENODEV;
	name += length;
	return name[strspn(name, " ")] ? -EINVAL : 0;
}

/* Under the device's lock. */
static int open_in(struct vfio_group *group, struct vfio_file *file)
{
	struct vfio_device *device = group->device;
	uint32_t ioas;
	int error;

	if (!group->iommufd)
		return -EINVAL;
	error = vfio_device_open(file, group->iommufd);
	if (error || device->opens > 1)
		return error;
	error = iommufd_compat_ioas(device->iommufd, false, &ioas);
	if (!error) {
		pthread_mutex_lock(&device->attach_lock);
		error = uiommu_attach(device->context, device->id, UIOMMU_NO_PASID, ioas);
		pthread_mutex_unlock(&device->attach_lock);
	}
	if (error)
		vfio_device_close(device);
	return error;
}

/*
 * Where the memory of BARs lies in a file's descriptor, all of the group's are openings of that one file, so that each can be
 * mapped: there is nothing in which files of a group differ. With a reference. NULL: it is to be made.
 */
static struct abi_file *share(struct vfio_group *group)
{
	struct abi_file *file;

	pthread_mutex_lock(&group->device->lock);
	file = group->iommufd ? group->device->native : NULL;
	if (file && !abi_file_get_unless_ended(file))
		file = NULL;
	pthread_mutex_unlock(&group->device->lock);
	return file;
}

static int open_file(struct vfio_group *group, struct abi_file **out)
{
	struct abi_file *file;
	int error = vfio_file_open(group->device, &group->file, &file);

	if (error)
		return error;
	pthread_mutex_lock(&group->device->lock);
	error = open_in(group, container_of(file, struct vfio_file, file));
	if (!error)
		__atomic_store_n(&container_of(file, struct vfio_file, file)->granted, true, __ATOMIC_RELEASE);
	pthread_mutex_unlock(&group->device->lock);
	if (error)
		abi_file_put(file);
	else
		*out = file;
	return error;
}

static int get_device_fd(struct vfio_group *group, struct abi_caller *caller, uint64_t argument)
{
	struct abi_file *file = NULL;
	char *name = malloc(NAME_MAX_BYTES);
	int result = name ? read_name(caller, argument, name) : -ENOMEM;

	if (!result)
		result = match(group->device, name);
	free(name);
	if (!result)
		file = share(group);
	if (!result && !file)
		result = open_file(group, &file);
	if (!result)
		result = caller->ops->install(caller, file, 0);
	if (result < 0)
		abi_file_put(file);
	return result;
}

static int group_ioctl(struct abi_file *file, struct abi_caller *caller, unsigned int command, uint64_t argument)
{
	switch (command) {
	case VFIO_GROUP_GET_STATUS:
		return get_status(group_of(file), caller, argument);
	case VFIO_GROUP_SET_CONTAINER:
		return set_container(group_of(file), caller, argument);
	case VFIO_GROUP_UNSET_CONTAINER:
		return unset_container(group_of(file));
	case VFIO_GROUP_GET_DEVICE_FD:
		return get_device_fd(group_of(file), caller, argument);
	default:
		return -ENOTTY;
	}
}

static void group_release(struct abi_file *file)
{
	struct vfio_group *group = group_of(file);

	pthread_mutex_lock(&group->device->lock);
	group->device->group = NULL;
	pthread_mutex_unlock(&group->device->lock);
	abi_file_put(group->iommufd);
	abi_file_fini(file);
	free(group);
}

static const struct abi_file_ops group_ops = {
	.name = "/dev/vfio/group",
	.ioctl = group_ioctl,
	.release = group_release,
};

bool vfio_is_group(const struct abi_file *file)
{
	return file->ops == &group_ops;
}

struct vfio_device *vfio_group_device(struct abi_file *group)
{
	return group_of(group)->device;
}

int vfio_group_open(struct vfio_device *device, struct abi_file **out)
{
	struct vfio_group *group = calloc(1, sizeof(*group));
	int descriptor = group ? abi_descriptor("vfio-group") : -ENOMEM, error = descriptor < 0 ? descriptor : 0;

	if (!error) {
		group->device = device;
		abi_file_init(&group->file, &group_ops, descriptor);
		abi_file_call(&group->file, "/dev/vfio/%u", device->number);
		pthread_mutex_lock(&device->lock);
		if (device->group || device->opens)
			error = -EBUSY;
		else
			device->group = &group->file;
		pthread_mutex_unlock(&device->lock);
		if (error)
			abi_file_fini(&group->file);
	}
	if (error)
		free(group);
	else
		*out = &group->file;
	return error;
}
