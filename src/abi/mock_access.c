/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The selftests' accesses: what a mediated device does with an IOAS without an HWPT. Here it is a device of control's that is
 * attached to an HWPT which asks nothing of the IOAS but, if memory is to be pinned, whole pages.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "abi/mock.h"
#include "iommu/device.h"
#include "iommu/hwpt.h"
#include "memory/region.h"
#include "translate/pin.h"
#include "util/util.h"

enum { NEEDS_PIN = 1, PAGES_MAX = 16 << 20, WRITES = 1, RW_WRITE = 1, RW_SLOW = 4, DMABUF_MAX = 2 << 20, CHUNK = 4096 };

struct access {
	struct abi_file file;
	struct iommufd *iommufd; /* a reference to its file */
	struct uiommu_device *device; /* got */
	uint32_t device_id, hwpt_id, ioas_id;
	bool pins;
	pthread_mutex_t lock;
	struct cds_list_head items; /* struct item */
	uint32_t last_item;
};

struct item {
	struct cds_list_head link;
	struct access *access;
	uint32_t id;
	struct uiommu_pin *pin;
};

static const struct abi_file_ops access_ops;

static struct access *access_of(struct abi_file *file)
{
	return container_of(file, struct access, file);
}

/* --- its place in an IOAS --- */

static struct ioas *ioas_get(struct uiommu_context *context, uint32_t id)
{
	struct object *object = object_get(context, id, UIOMMU_OBJECT_IOAS);

	return object ? ioas_of(object) : NULL;
}

static unsigned int host_page_lg2(void)
{
	return (unsigned int)__builtin_ctzll(page_size());
}

/* An HWPT that asks for nothing, or for whole pages. */
static int hwpt_begin(struct uiommu_context *context, uint32_t ioas_id, bool pins, uint32_t *out_id)
{
	const struct uiommu_hwpt_alloc alloc = {.size = sizeof(alloc), .type = UIOMMU_HWPT_PAGING, .parent_id = ioas_id};
	struct ioas *ioas = ioas_get(context, ioas_id);
	int error;

	if (!ioas)
		return -ENOENT;
	error = pins ? ioas_align(ioas, host_page_lg2(), true) : 0;
	if (!error) {
		error = hwpt_alloc(context, &alloc, NULL, out_id);
		if (error && pins)
			ioas_unalign(ioas, host_page_lg2(), true);
	}
	object_put(&ioas->object);
	return error;
}

static void hwpt_ends(struct uiommu_context *context, uint32_t ioas_id, bool pins, uint32_t hwpt_id)
{
	struct ioas *ioas = ioas_get(context, ioas_id);

	uiommu_destroy(context, hwpt_id);
	if (ioas && pins)
		ioas_unalign(ioas, host_page_lg2(), true);
	if (ioas)
		object_put(&ioas->object);
}

static int device_begin(struct access *access)
{
	static uint32_t number = 1u << 31;
	struct uiommu_context *context = access->iommufd->context;
	struct uiommu_device_config config = {.size = sizeof(config)};
	char name[DEVICE_NAME_MAX];
	int error;

	config.rid = __atomic_fetch_add(&number, 1, __ATOMIC_RELAXED);
	snprintf(name, sizeof(name), "access%u", config.rid);
	config.name = name;
	error = uiommu_device_alloc(context, &config, &access->device_id);
	if (error)
		return error;
	error = uiommu_attach(context, access->device_id, UIOMMU_NO_PASID, access->hwpt_id);
	if (!error)
		access->device = uiommu_device_get(context, access->device_id);
	if (!access->device) {
		uiommu_destroy(context, access->device_id);
		return error ? error : -ENOENT;
	}
	return 0;
}

/* --- pins --- */

/* Under the lock. */
static struct item *item_find(struct access *access, uint32_t id)
{
	struct item *item;

	cds_list_for_each_entry (item, &access->items, link)
		if (item->id == id)
			return item;
	return NULL;
}

/* It is to go, and whoever finds it in the list takes it out. */
static bool item_take(struct item *item)
{
	struct access *access = item->access;
	bool there;

	pthread_mutex_lock(&access->lock);
	there = item->link.next;
	if (there) {
		cds_list_del(&item->link);
		item->link.next = NULL;
	}
	pthread_mutex_unlock(&access->lock);
	return there;
}

/* The memory is unmapped. */
static void item_unmap(void *opaque, struct uiommu_pin *pin)
{
	struct item *item = opaque;

	if (!item_take(item))
		return;
	uiommu_dma_unpin(pin);
	free(item);
}

static void put_all(struct access *access)
{
	struct item *item;

	for (;;) {
		pthread_mutex_lock(&access->lock);
		item = cds_list_empty(&access->items) ? NULL : cds_list_first_entry(&access->items, struct item, link);
		if (item) {
			cds_list_del(&item->link);
			item->link.next = NULL;
		}
		pthread_mutex_unlock(&access->lock);
		if (!item)
			return;
		uiommu_dma_unpin(item->pin);
		free(item);
	}
}

/* --- files --- */

static void access_release(struct abi_file *file)
{
	struct access *access = access_of(file);
	struct uiommu_context *context = access->iommufd->context;

	put_all(access);
	if (access->device) {
		uiommu_detach(context, access->device_id, UIOMMU_NO_PASID);
		uiommu_device_put(access->device);
		uiommu_destroy(context, access->device_id);
	}
	if (access->hwpt_id)
		hwpt_ends(context, access->ioas_id, access->pins, access->hwpt_id);
	abi_file_fini(file);
	abi_file_put(&access->iommufd->file);
	pthread_mutex_destroy(&access->lock);
	free(access);
}

static const struct abi_file_ops access_ops = {.name = "anon_inode:[iommufd_test_staccess]", .release = access_release};

int mock_create_access(struct abi_call *call, struct mock_command *command)
{
	struct access *access;
	int descriptor, error;

	if (command->create_access.flags & ~(uint32_t)NEEDS_PIN)
		return -EOPNOTSUPP;
	access = calloc(1, sizeof(*access));
	descriptor = access ? abi_descriptor("access") : -ENOMEM;
	if (descriptor < 0) {
		free(access);
		return descriptor;
	}
	abi_file_init(&access->file, &access_ops, descriptor);
	access->iommufd = call->iommufd;
	abi_file_get(&call->iommufd->file);
	access->pins = command->create_access.flags;
	access->ioas_id = command->id;
	pthread_mutex_init(&access->lock, NULL);
	CDS_INIT_LIST_HEAD(&access->items);
	error = hwpt_begin(call->context, command->id, access->pins, &access->hwpt_id);
	if (!error)
		error = device_begin(access);
	if (error) {
		abi_file_put(&access->file);
		return error;
	}
	call->file = &access->file;
	call->file_at = offsetof(struct mock_command, create_access.out_fd);
	return 0;
}

/* The access behind a descriptor, with a reference. */
static int access_get(struct abi_call *call, uint32_t number, struct access **out)
{
	struct abi_file *file;
	int fd, error = call->caller->ops->descriptor(call->caller, (int)number, &file, &fd);

	if (error)
		return error;
	if (!file)
		close(fd);
	if (!file || file->ops != &access_ops || access_of(file)->iommufd != call->iommufd) {
		abi_file_put(file);
		return -EINVAL;
	}
	*out = access_of(file);
	return 0;
}

static int fault_error(unsigned int reason)
{
	switch (reason) {
	case UIOMMU_FAULT_UNMAPPED:
		return -ENOENT;
	case UIOMMU_FAULT_PERMISSION:
		return -EPERM;
	default:
		return -EFAULT;
	}
}

/* --- operations --- */

static int pin(struct abi_call *call, struct access *access, struct mock_command *command, struct item *item)
{
	struct uiommu_dma_pin request = {
		.address = command->access_pages.iova,
		.length = command->access_pages.length,
		.pasid = UIOMMU_NO_PASID,
		.access = command->access_pages.flags & WRITES ? UIOMMU_READ | UIOMMU_WRITE : UIOMMU_READ,
		.unmap = item_unmap,
		.opaque = item,
	};
	struct uiommu_dma_result result;
	int error;

	(void)call;
	do
		error = dma_pin_areas(access->device, &request, &result);
	while (error == -ENOBUFS);
	if (error)
		return error == -EFAULT ? fault_error(result.fault.reason) : error;
	pthread_mutex_lock(&access->lock);
	item->pin = request.pin;
	item->id = ++access->last_item;
	cds_list_add_tail(&item->link, &access->items);
	pthread_mutex_unlock(&access->lock);
	command->access_pages.out_pages_id = item->id;
	return 0;
}

static int pin_pages(struct abi_call *call, struct access *access, struct mock_command *command)
{
	struct item *item = calloc(1, sizeof(*item));
	uint64_t iova = command->access_pages.iova;
	int error;

	if (!item)
		return -ENOMEM;
	item->access = access;
	error = pin(call, access, command, item);
	if (error) {
		free(item);
		return error;
	}
	error = mock_check_map(call, container_of(access->device, struct device, data)->table.rid->space, iova - iova % page_size(),
			       iova % page_size() + command->access_pages.length,
			       command->access_pages.uptr - command->access_pages.uptr % page_size());
	if (error && item_take(item)) {
		uiommu_dma_unpin(item->pin);
		free(item);
	}
	return error == -EINVAL ? -EBADE : error;
}

int mock_access_pages(struct abi_call *call, struct mock_command *command)
{
	struct access *access;
	int error;

	if (command->access_pages.length > PAGES_MAX)
		return -ENOMEM;
	if (command->access_pages.flags & ~(uint32_t)WRITES)
		return -EOPNOTSUPP;
	error = access_get(call, command->id, &access);
	if (error)
		return error;
	if (!access->pins)
		error = -EOPNOTSUPP;
	else
		error = command->access_pages.length ? pin_pages(call, access, command) : -EINVAL;
	abi_file_put(&access->file);
	return error;
}

int mock_destroy_pages(struct abi_call *call, struct mock_command *command)
{
	struct access *access;
	struct item *item;
	int error = access_get(call, command->id, &access);

	if (error)
		return error;
	pthread_mutex_lock(&access->lock);
	item = item_find(access, command->destroy_pages.pages_id);
	if (item) {
		cds_list_del(&item->link);
		item->link.next = NULL;
	}
	pthread_mutex_unlock(&access->lock);
	if (item) {
		uiommu_dma_unpin(item->pin);
		free(item);
	}
	abi_file_put(&access->file);
	return item ? 0 : -ENOENT;
}

static int move(struct abi_call *call, struct access *access, const struct mock_command *command, uint64_t at, size_t length)
{
	const uint64_t iova = command->access_rw.iova + at, uptr = command->access_rw.uptr + at;
	struct uiommu_dma_result result;
	uint8_t buffer[CHUNK];
	int error;

	if (command->access_rw.flags & RW_WRITE) {
		error = abi_call_read(call, uptr, buffer, length);
		if (error)
			return error;
		error = uiommu_dma_write(access->device, UIOMMU_NO_PASID, iova, buffer, length, &result);
	} else {
		error = uiommu_dma_read(access->device, UIOMMU_NO_PASID, iova, buffer, length, &result);
	}
	if (error)
		return fault_error(result.fault.reason);
	return command->access_rw.flags & RW_WRITE ? 0 : abi_call_write(call, uptr, buffer, length);
}

int mock_access_rw(struct abi_call *call, struct mock_command *command)
{
	struct access *access;
	int error;

	if (command->access_rw.length > PAGES_MAX)
		return -ENOMEM;
	if (command->access_rw.flags & ~(uint32_t)(RW_WRITE | RW_SLOW))
		return -EOPNOTSUPP;
	error = access_get(call, command->id, &access);
	if (error)
		return error;
	for (uint64_t at = 0; at < command->access_rw.length && !error; at += CHUNK)
		error = move(call, access, command, at, (size_t)min_u64(CHUNK, command->access_rw.length - at));
	abi_file_put(&access->file);
	return error;
}

static int replace(struct abi_call *call, struct access *access, uint32_t ioas_id)
{
	uint32_t hwpt_id, old = access->hwpt_id, old_ioas = access->ioas_id;
	int error = hwpt_begin(call->context, ioas_id, access->pins, &hwpt_id);

	if (error)
		return error;
	put_all(access);
	error = uiommu_replace(call->context, access->device_id, UIOMMU_NO_PASID, hwpt_id);
	if (error) {
		hwpt_ends(call->context, ioas_id, access->pins, hwpt_id);
		return error;
	}
	access->hwpt_id = hwpt_id;
	access->ioas_id = ioas_id;
	hwpt_ends(call->context, old_ioas, access->pins, old);
	return 0;
}

int mock_access_replace(struct abi_call *call, struct mock_command *command)
{
	struct access *access;
	int error = access_get(call, command->id, &access);

	if (error)
		return error;
	error = replace(call, access, command->access_replace.ioas_id);
	abi_file_put(&access->file);
	return error;
}

/* --- dma-bufs --- */

int mock_dmabuf_get(struct abi_call *call, struct mock_command *command)
{
	if (!command->dmabuf_get.length || command->dmabuf_get.length > DMABUF_MAX)
		return -EINVAL;
	call->quiet = true;
	return abi_dmabuf_create(command->dmabuf_get.length, &call->file);
}

int mock_dmabuf_revoke(struct abi_call *call, struct mock_command *command)
{
	struct abi_file *file;
	int fd, error = call->caller->ops->descriptor(call->caller, command->dmabuf_revoke.fd, &file, &fd);

	if (error)
		return error;
	if (!file)
		close(fd);
	error = file ? abi_dmabuf_revoke(file, command->dmabuf_revoke.revoked) : -EINVAL;
	abi_file_put(file);
	return error;
}
