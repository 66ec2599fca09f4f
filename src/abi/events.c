/* SPDX-License-Identifier: BSD-3-Clause */
#include "abi/events.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <uiommu/fault.h>

#include "iommu/viommu.h"
#include "util/util.h"

enum { FAULT_DEPTH = 65536, CHUNK = 4096 };

struct event_file {
	struct abi_file file;
	struct iommufd *iommufd; /* a reference to its file */
	struct object *object; /* used */
};

static struct event_file *event_file(struct abi_file *file)
{
	return container_of(file, struct event_file, file);
}

int abi_fault_queue(struct uiommu_context *context, uint32_t *out_id)
{
	const struct uiommu_fault_limits limits = {.size = sizeof(limits), .flags = UIOMMU_FAULT_REQUESTS_ONLY};
	int error = uiommu_fault_queue_alloc(context, FAULT_DEPTH, out_id);

	return error ? error : uiommu_fault_queue_limit(context, *out_id, &limits);
}

static void release(struct abi_file *file)
{
	struct event_file *event = event_file(file);

	object_unuse(event->object);
	abi_file_fini(file);
	abi_file_put(&event->iommufd->file);
	free(event);
}

static bool is_readable(const struct event_file *event)
{
	struct pollfd look = {.fd = event->file.descriptor, .events = POLLIN};

	return poll(&look, 1, 0) == 1;
}

typedef ssize_t take_fn(struct uiommu_context *context, uint32_t id, void *buffer, size_t size);

/* Nothing is taken for a caller who has no place for it. */
static ssize_t read_chunk(struct event_file *event, struct abi_caller *caller, uint64_t address, size_t size, take_fn *take)
{
	uint64_t buffer[CHUNK / 8];
	int error = size && is_readable(event) ? abi_memory_check(caller->memory, address, size, UIOMMU_WRITE) : 0;
	ssize_t taken = error ? error : take(event->object->context, event->object->id, buffer, size);

	return taken > 0 && abi_caller_write(caller, address, buffer, (size_t)taken) ? -EFAULT : taken;
}

/* Whole records only. */
static ssize_t read_some(struct event_file *event, struct abi_caller *caller, uint64_t address, size_t count, take_fn *take)
{
	size_t done = 0;
	ssize_t taken;

	do {
		taken = read_chunk(event, caller, address + done, (size_t)min_u64(count - done, CHUNK), take);
		done += taken > 0 ? (size_t)taken : 0;
	} while (taken > 0 && done < count);
	return done ? (ssize_t)done : taken;
}

/* A chunk is no whole number of records, but the caller's buffer is. */
static ssize_t fault_take(struct uiommu_context *context, uint32_t id, void *buffer, size_t size)
{
	return uiommu_pgfault_read(context, id, buffer, size - size % sizeof(struct uiommu_pgfault));
}

static ssize_t fault_read(struct abi_file *file, struct abi_caller *caller, uint64_t address, size_t count, uint64_t offset)
{
	if (offset || count % sizeof(struct uiommu_pgfault))
		return -ESPIPE;
	return read_some(event_file(file), caller, address, count, fault_take);
}

static ssize_t fault_write(struct abi_file *file, struct abi_caller *caller, uint64_t address, size_t count, uint64_t offset)
{
	struct event_file *event = event_file(file);
	struct uiommu_pgresponse response;
	size_t done = 0;
	ssize_t result = 0;

	if (offset || count % sizeof(response))
		return -ESPIPE;
	for (; done < count && result >= 0; done += result > 0 ? sizeof(response) : 0) {
		result = abi_caller_read(caller, address + done, &response, sizeof(response));
		if (!result)
			result = uiommu_pgfault_write(event->object->context, event->object->id, &response, sizeof(response));
	}
	return done ? (ssize_t)done : result;
}

static ssize_t veventq_file_read(struct abi_file *file, struct abi_caller *caller, uint64_t address, size_t count, uint64_t offset)
{
	return offset ? -ESPIPE : read_some(event_file(file), caller, address, count, veventq_read);
}

static const struct abi_file_ops fault_ops = {
	.name = "anon_inode:[iommufd-pgfault]",
	.read = fault_read,
	.write = fault_write,
	.release = release,
};

static const struct abi_file_ops veventq_ops = {
	.name = "anon_inode:[iommufd-viommu-event]",
	.read = veventq_file_read,
	.release = release,
};

static int make(struct iommufd *iommufd, struct object *object, int fd, const struct abi_file_ops *ops, struct abi_file **out)
{
	struct event_file *event = calloc(1, sizeof(*event));
	int descriptor = event ? fcntl(fd, F_DUPFD_CLOEXEC, 0) : -1;

	if (descriptor < 0) {
		free(event);
		return event ? -EMFILE : -ENOMEM;
	}
	abi_file_init(&event->file, ops, descriptor);
	event->iommufd = iommufd;
	abi_file_get(&iommufd->file);
	event->object = object;
	object_use(object);
	*out = &event->file;
	return 0;
}

/* Inside a call of the object. */
static int make_of(struct iommufd *iommufd, uint32_t id, enum uiommu_object_type type, struct abi_file **out)
{
	struct object *object = object_get(iommufd->context, id, type);
	bool is_fault = type == UIOMMU_OBJECT_FAULT_QUEUE;
	int fd, error;

	if (!object)
		return -ENOENT;
	fd = is_fault ? uiommu_fault_queue_fd(iommufd->context, id) : veventq_fd(iommufd->context, id);
	error = make(iommufd, object, fd, is_fault ? &fault_ops : &veventq_ops, out);
	object_put(object);
	return error;
}

int abi_fault_file(struct iommufd *iommufd, uint32_t id, struct abi_file **out)
{
	return make_of(iommufd, id, UIOMMU_OBJECT_FAULT_QUEUE, out);
}

int abi_veventq_file(struct iommufd *iommufd, uint32_t id, struct abi_file **out)
{
	return make_of(iommufd, id, UIOMMU_OBJECT_VEVENTQ, out);
}
