/* SPDX-License-Identifier: BSD-3-Clause */
/* A device's file: one table of commands, and the rule that before BIND_IOMMUFD there is nothing but that. */
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "abi/vfio_device.h"
#include "util/util.h"

#define END_OF(type, member) (offsetof(type, member) + sizeof(((type *)NULL)->member))

/*
 * @least: bytes of the struct's first version, whose first 32 bits are the size that the caller says it has; 0: there is no struct.
 */
static const struct vfio_command {
	unsigned int number;
	size_t least;
	int (*run)(struct vfio_call *call);
	bool cdev; /* of files of the cdev only */
} commands[] = {
	{VFIO_DEVICE_GET_INFO, END_OF(struct vfio_device_info, num_irqs), vfio_get_info},
	{VFIO_DEVICE_GET_REGION_INFO, sizeof(struct vfio_region_info), vfio_get_region_info},
	{VFIO_DEVICE_GET_IRQ_INFO, sizeof(struct vfio_irq_info), vfio_get_irq_info},
	{VFIO_DEVICE_SET_IRQS, sizeof(struct vfio_spec_irq_set), vfio_set_irqs},
	{VFIO_DEVICE_RESET, 0, vfio_reset},
	{VFIO_DEVICE_GET_PCI_HOT_RESET_INFO, sizeof(struct vfio_spec_reset_info), vfio_hot_reset_info},
	{VFIO_DEVICE_PCI_HOT_RESET, sizeof(struct vfio_spec_reset), vfio_hot_reset},
	{VFIO_DEVICE_FEATURE, sizeof(struct vfio_spec_feature), vfio_feature},
	{VFIO_SPEC_ATTACH_PT, END_OF(struct vfio_spec_attach, pt_id), vfio_attach_pt, .cdev = true},
	{VFIO_SPEC_DETACH_PT, END_OF(struct vfio_spec_detach, flags), vfio_detach_pt, .cdev = true},
};

static struct vfio_file *file_of(struct abi_file *file)
{
	return container_of(file, struct vfio_file, file);
}

static bool granted(const struct vfio_file *file)
{
	return __atomic_load_n(&file->granted, __ATOMIC_ACQUIRE);
}

static int run(const struct vfio_command *command, struct vfio_call *call)
{
	int result = command->least ? abi_caller_read(call->caller, call->argument, call->data, command->least) : 0;

	if (result)
		return result;
	call->argsz = *(const uint32_t *)(const void *)call->data;
	if (command->least && call->argsz < command->least)
		return -EINVAL;
	result = command->run(call);
	if (call->reply && abi_caller_write(call->caller, call->argument, call->data, call->reply))
		return -EFAULT;
	return result;
}

static int device_ioctl(struct abi_file *file, struct abi_caller *caller, unsigned int command, uint64_t argument)
{
	struct vfio_call call = {.file = file_of(file), .device = file_of(file)->device, .caller = caller, .argument = argument};

	if (command == VFIO_SPEC_BIND_IOMMUFD)
		return vfio_bind(&call);
	if (!granted(call.file))
		return -EINVAL;
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		if (commands[i].number == command && !(commands[i].cdev && call.file->group))
			return run(&commands[i], &call);
	return -ENOTTY;
}

static ssize_t device_read(struct abi_file *file, struct abi_caller *caller, uint64_t address, size_t count, uint64_t offset)
{
	return granted(file_of(file)) ? vfio_region_read(file_of(file)->device, caller, address, count, offset) : -EINVAL;
}

static ssize_t device_write(struct abi_file *file, struct abi_caller *caller, uint64_t address, size_t count, uint64_t offset)
{
	return granted(file_of(file)) ? vfio_region_write(file_of(file)->device, caller, address, count, offset) : -EINVAL;
}

static int device_mmap(struct abi_file *file, struct abi_caller *caller, uint64_t offset, uint64_t length, int protection,
		       int flags, struct abi_mapping *out)
{
	/* What is no file of a file system has no programs in it. */
	if (protection & PROT_EXEC && file_of(file)->group)
		return -EPERM;
	return granted(file_of(file)) ? vfio_region_mmap(file_of(file), caller, offset, length, flags, out) : -EINVAL;
}

static void device_munmap(struct abi_file *file, uint64_t offset, uint64_t length)
{
	(void)length;
	vfio_region_munmap(file_of(file)->device, offset);
}

static void device_watch(struct abi_file *file, struct abi_watcher *watcher)
{
	vfio_watch_add(file_of(file)->device, watcher);
}

static void device_unwatch(struct abi_file *file, struct abi_watcher *watcher)
{
	vfio_watch_remove(file_of(file)->device, watcher);
}

static void device_touched(struct abi_file *file)
{
	pci_touched(file_of(file)->device->pci);
}

static void device_release(struct abi_file *file)
{
	struct vfio_file *own = file_of(file);

	if (granted(own)) {
		pthread_mutex_lock(&own->device->lock);
		if (own->device->native == file)
			own->device->native = NULL;
		vfio_device_close(own->device);
		pthread_mutex_unlock(&own->device->lock);
	}
	abi_file_put(own->group);
	abi_file_fini(file);
	free(own);
}

#define DEVICE_OPS(called)                                                                                                         \
	{                                                                                                                          \
		.name = (called), .ioctl = device_ioctl, .read = device_read, .write = device_write, .mmap = device_mmap,          \
		.munmap = device_munmap, .watch = device_watch, .unwatch = device_unwatch, .touched = device_touched,              \
		.release = device_release,                                                                                         \
	}

static const struct abi_file_ops cdev_ops = DEVICE_OPS("/dev/vfio/devices/vfio");
static const struct abi_file_ops group_device_ops = DEVICE_OPS("anon_inode:[vfio-device]");

bool vfio_is_device(const struct abi_file *file)
{
	return file->ops == &cdev_ops || file->ops == &group_device_ops;
}

const char *vfio_file_address(const struct abi_file *file)
{
	return container_of(file, const struct vfio_file, file)->device->name;
}

/* Who has granted the file has set these before, and what ends them is its release. */
const struct abi_file *vfio_file_iommufd(const struct abi_file *file, uint32_t *id)
{
	const struct vfio_file *own = container_of(file, const struct vfio_file, file);

	if (!granted(own))
		return NULL;
	*id = own->device->id;
	return own->device->iommufd;
}

int vfio_file_open(struct vfio_device *device, struct abi_file *group, struct abi_file **out)
{
	struct vfio_file *file = calloc(1, sizeof(*file));
	int descriptor = file ? abi_descriptor("vfio-device") : -ENOMEM;

	if (descriptor < 0) {
		free(file);
		return descriptor;
	}
	file->device = device;
	file->group = group ? abi_file_get(group) : NULL;
	abi_file_init(&file->file, group ? &group_device_ops : &cdev_ops, descriptor);
	if (group)
		abi_file_call(&file->file, "[vfio-device %s]", device->name);
	else
		abi_file_call(&file->file, "/dev/vfio/devices/vfio%u", device->number);
	*out = &file->file;
	return 0;
}
