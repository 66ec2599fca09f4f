/* SPDX-License-Identifier: BSD-3-Clause */
/* The iommufd file and its commands' table. */
#include "abi/iommufd.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <uiommu/abi.h>
#include <uiommu/ioas.h>
#include <unistd.h>

#include "abi/driver.h"
#include "abi/mock.h"
#include "util/util.h"

static int destroy(struct abi_call *call)
{
	const struct abi_destroy *arguments = (const void *)call->data;
	const struct abi_driver *driver = abi_driver_of(call, arguments->id);
	struct iommufd *iommufd = call->iommufd;
	int error;

	call->quiet = true;
	error = uiommu_destroy(call->context, arguments->id);
	if (error)
		return error;
	if (driver->destroyed)
		driver->destroyed(call, arguments->id);
	pthread_mutex_lock(&iommufd->lock);
	if (iommufd->vfio_ioas == arguments->id)
		iommufd->vfio_ioas = 0;
	pthread_mutex_unlock(&iommufd->lock);
	return 0;
}

/* @last: the member that the struct's first version ends with. */
#define COMMAND(which, type, last, handler)                                                                                        \
	[which - ABI_FIRST] = {ABI_COMMAND(which), sizeof(type), offsetof(type, last) + sizeof(((type *)NULL)->last), handler}

static const struct abi_command commands[] = {
	COMMAND(ABI_DESTROY, struct abi_destroy, id, destroy),
	COMMAND(ABI_IOAS_ALLOC, struct abi_ioas_alloc, out_ioas_id, abi_ioas_alloc),
	COMMAND(ABI_IOAS_ALLOW_IOVAS, struct abi_ioas_allow_iovas, allowed_iovas, abi_ioas_allow_iovas),
	COMMAND(ABI_IOAS_COPY, struct abi_ioas_copy, src_iova, abi_ioas_copy),
	COMMAND(ABI_IOAS_IOVA_RANGES, struct abi_ioas_iova_ranges, out_iova_alignment, abi_ioas_iova_ranges),
	COMMAND(ABI_IOAS_MAP, struct abi_ioas_map, iova, abi_ioas_map),
	COMMAND(ABI_IOAS_UNMAP, struct abi_ioas_unmap, length, abi_ioas_unmap),
	COMMAND(ABI_OPTION, struct abi_option, val64, abi_option),
	COMMAND(ABI_VFIO_IOAS, struct abi_vfio_ioas, reserved, abi_vfio_ioas),
	COMMAND(ABI_HWPT_ALLOC, struct abi_hwpt_alloc, reserved, abi_hwpt_alloc),
	COMMAND(ABI_GET_HW_INFO, struct abi_hw_info, reserved, abi_get_hw_info),
	COMMAND(ABI_HWPT_SET_DIRTY_TRACKING, struct abi_hwpt_set_dirty_tracking, reserved, abi_hwpt_set_dirty_tracking),
	COMMAND(ABI_HWPT_GET_DIRTY_BITMAP, struct abi_hwpt_get_dirty_bitmap, data, abi_hwpt_get_dirty_bitmap),
	COMMAND(ABI_HWPT_INVALIDATE, struct abi_hwpt_invalidate, reserved, abi_hwpt_invalidate),
	COMMAND(ABI_FAULT_QUEUE_ALLOC, struct abi_fault_alloc, out_fault_fd, abi_fault_queue_alloc),
	COMMAND(ABI_VIOMMU_ALLOC, struct abi_viommu_alloc, out_viommu_id, abi_viommu_alloc),
	COMMAND(ABI_VDEVICE_ALLOC, struct abi_vdevice_alloc, virt_id, abi_vdevice_alloc),
	COMMAND(ABI_VEVENTQ_ALLOC, struct abi_veventq_alloc, out_veventq_fd, abi_veventq_alloc),
	COMMAND(ABI_HW_QUEUE_ALLOC, struct abi_hw_queue_alloc, length, abi_hw_queue_alloc),
	COMMAND(ABI_IOAS_MAP_FILE, struct abi_ioas_map_file, iova, abi_ioas_map_file),
	COMMAND(ABI_IOAS_CHANGE_PROCESS, struct abi_ioas_change_process, reserved, abi_ioas_change_process),
};

/* What is no command of iommufd's may be one of VFIO's. */
static int compatible(struct abi_call *call, unsigned int command)
{
	struct iommufd *iommufd = call->iommufd;
	struct abi_type1_call type1 = {.context = call->context, .source = abi_source_of(call)};

	pthread_mutex_lock(&iommufd->lock);
	type1.ioas_id = iommufd->vfio_ioas;
	pthread_mutex_unlock(&iommufd->lock);
	return abi_type1_ioctl(&type1, command, call->argument);
}

static int run(struct abi_call *call, unsigned int command)
{
	unsigned int number = (command & 0xff) - ABI_FIRST;

	if ((command & ~0xffU) == UIOMMU_ABI_IOCTL(0))
		return abi_extension(call, command);
	if (call->iommufd->mock && number >= ARRAY_SIZE(commands) && number <= ABI_TEST - ABI_FIRST)
		return mock_ioctl(call, command);
	if (number >= ARRAY_SIZE(commands))
		return compatible(call, command);
	return abi_command_run(&commands[number], call, command);
}

static int iommufd_ioctl(struct abi_file *file, struct abi_caller *caller, unsigned int command, uint64_t argument)
{
	struct iommufd *iommufd = container_of(file, struct iommufd, file);
	struct abi_call call = {.iommufd = iommufd, .context = iommufd->context, .caller = caller, .argument = argument};
	int result = run(&call, command);

	if (call.nests && result >= 0)
		__atomic_store_n(&iommufd->nests, true, __ATOMIC_RELAXED);
	/* A guest's tables are in whatever is mapped, also by others than who has made the HWPT. Threads may share a caller. */
	if (__atomic_load_n(&iommufd->nests, __ATOMIC_RELAXED))
		__atomic_store_n(&caller->swaps, true, __ATOMIC_RELAXED);
	return result;
}

/* --- mmap --- */

void abi_mmap_add(struct iommufd *iommufd, struct abi_mmap *region)
{
	const struct abi_mmap *other;

	pthread_mutex_lock(&iommufd->lock);
	region->offset = 0;
	region->count = 0;
	cds_list_for_each_entry (other, &iommufd->mmaps, link)
		region->offset = max_u64(region->offset, other->offset + other->length);
	cds_list_add_tail(&region->link, &iommufd->mmaps);
	pthread_mutex_unlock(&iommufd->lock);
}

void abi_mmap_remove(struct iommufd *iommufd, struct abi_mmap *region)
{
	pthread_mutex_lock(&iommufd->lock);
	cds_list_del(&region->link);
	pthread_mutex_unlock(&iommufd->lock);
}

/* Of a page that is asked for in part there is all. Under the lock. */
static struct abi_mmap *find_mmap(struct iommufd *iommufd, uint64_t offset, uint64_t asked)
{
	uint64_t length = (asked + page_size() - 1) & ~(uint64_t)(page_size() - 1);
	struct abi_mmap *region;

	cds_list_for_each_entry (region, &iommufd->mmaps, link)
		if (region->offset == offset && region->length == length)
			return region;
	return NULL;
}

static int iommufd_mmap(struct abi_file *file, struct abi_caller *caller, uint64_t offset, uint64_t length, int protection,
			int flags, struct abi_mapping *out)
{
	struct iommufd *iommufd = container_of(file, struct iommufd, file);
	struct abi_mmap *region;

	(void)caller;
	if (!(flags & MAP_SHARED))
		return -EINVAL;
	if (protection & PROT_EXEC)
		return -EPERM;
	pthread_mutex_lock(&iommufd->lock);
	region = find_mmap(iommufd, offset, length);
	if (region) {
		region->count++;
		object_use(region->owner);
		*out = (struct abi_mapping){.fd = region->fd, .protection = PROT_READ | PROT_WRITE};
	}
	pthread_mutex_unlock(&iommufd->lock);
	return region ? 0 : -ENXIO;
}

static void iommufd_munmap(struct abi_file *file, uint64_t offset, uint64_t length)
{
	struct iommufd *iommufd = container_of(file, struct iommufd, file);
	struct abi_mmap *region;

	pthread_mutex_lock(&iommufd->lock);
	region = find_mmap(iommufd, offset, length);
	if (region && region->count) {
		region->count--;
		object_unuse(region->owner);
	}
	pthread_mutex_unlock(&iommufd->lock);
}

static void iommufd_release(struct abi_file *file)
{
	struct iommufd *iommufd = container_of(file, struct iommufd, file);

	uiommu_close(iommufd->context);
	if (iommufd->mock)
		mock_free(iommufd->mock);
	abi_file_fini(file);
	abi_pages_list_fini(&iommufd->pages);
	pthread_mutex_destroy(&iommufd->lock);
	free(iommufd);
}

static const struct abi_file_ops iommufd_ops = {
	.name = "/dev/iommu",
	.ioctl = iommufd_ioctl,
	.mmap = iommufd_mmap,
	.munmap = iommufd_munmap,
	.release = iommufd_release,
};

/* Page tables have pages of 4 KiB; that is what any IOMMU has. */
static const struct geometry geometry = {.aperture = {0, UINT64_MAX}, .page_lg2 = 12};

int iommufd_open(unsigned int flags, struct abi_file **out)
{
	struct iommufd *iommufd = calloc(1, sizeof(*iommufd));
	int descriptor, error;

	if (!iommufd)
		return -ENOMEM;
	descriptor = abi_descriptor("iommufd");
	error = descriptor < 0 ? descriptor : uiommu_open(NULL, &iommufd->context);
	if (error) {
		if (descriptor >= 0)
			close(descriptor);
		free(iommufd);
		return error;
	}
	if (flags & IOMMUFD_MOCK) {
		iommufd->mock = mock_create();
		if (!iommufd->mock) {
			uiommu_close(iommufd->context);
			close(descriptor);
			free(iommufd);
			return -ENOMEM;
		}
	}
	iommufd->context->geometry = &geometry;
	iommufd->accounts_memory = flags & IOMMUFD_CONTAINER;
	CDS_INIT_LIST_HEAD(&iommufd->mmaps);
	abi_pages_list_init(&iommufd->pages);
	pthread_mutex_init(&iommufd->lock, NULL);
	abi_file_init(&iommufd->file, &iommufd_ops, descriptor);
	if (flags & IOMMUFD_CONTAINER)
		abi_file_call(&iommufd->file, "/dev/vfio/vfio");
	*out = &iommufd->file;
	return 0;
}

struct uiommu_context *iommufd_context(struct abi_file *file)
{
	return file->ops == &iommufd_ops ? container_of(file, struct iommufd, file)->context : NULL;
}

static uint32_t compat_ioas(struct iommufd *iommufd, uint32_t instead_of_none)
{
	uint32_t id;

	pthread_mutex_lock(&iommufd->lock);
	if (!iommufd->vfio_ioas)
		iommufd->vfio_ioas = instead_of_none;
	id = iommufd->vfio_ioas;
	pthread_mutex_unlock(&iommufd->lock);
	return id;
}

/*
 * An IOAS for a container. Programs ask it for its ranges before they have a device in it, and count beyond the last address; so
 * there is one, as of an IOMMU with addresses of 57 bits.
 */
static int make_compat_ioas(struct uiommu_context *context, uint32_t *out_id)
{
	const struct uiommu_range beyond = {UINT64_C(1) << 57, UINT64_MAX};
	int error = uiommu_ioas_alloc(context, out_id);
	struct object *object;

	if (error)
		return error;
	object = object_get(context, *out_id, UIOMMU_OBJECT_IOAS);
	if (!object)
		return -ENOMEM; /* somebody has ended it already */
	error = ioas_reserve_for_ever(container_of(object, struct ioas, object), &beyond);
	object_put(object);
	if (error)
		uiommu_destroy(context, *out_id);
	return error;
}

int iommufd_compat_ioas(struct abi_file *file, bool make, uint32_t *out_id)
{
	struct iommufd *iommufd = container_of(file, struct iommufd, file);
	uint32_t made;
	int error;

	*out_id = compat_ioas(iommufd, 0);
	if (*out_id || !make)
		return *out_id ? 0 : -ENODEV;
	error = make_compat_ioas(iommufd->context, &made);
	if (error)
		return error;
	*out_id = compat_ioas(iommufd, made);
	if (*out_id != made)
		uiommu_destroy(iommufd->context, made);
	return 0;
}
