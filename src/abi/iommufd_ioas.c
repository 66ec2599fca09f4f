/* SPDX-License-Identifier: BSD-3-Clause */
/* Commands about I/O address spaces. */
#include <errno.h>
#include <linux/capability.h>
#include <stdlib.h>

#include "abi/handlers.h"
#include "util/util.h"

enum { RANGES_MAX = 1 << 20, RANGES_CHUNK = 256 };

int abi_ioas_alloc(struct abi_call *call)
{
	struct abi_ioas_alloc *arguments = (void *)call->data;
	int error;

	if (arguments->flags)
		return -EOPNOTSUPP;
	error = uiommu_ioas_alloc(call->context, &arguments->out_ioas_id);
	if (!error)
		call->made = arguments->out_ioas_id;
	return error;
}

static bool is_ioas(const struct abi_call *call, uint32_t id)
{
	return uiommu_object_type(call->context, id) == UIOMMU_OBJECT_IOAS;
}

/* As many as can be read of @count, but all that come before one that is none. */
static int read_some(const struct abi_call *call, uint64_t address, uint32_t count, struct uiommu_range *out)
{
	int error = abi_call_read(call, address, out, count * sizeof(*out)), one = 0;

	for (uint32_t i = 0; i < count && !one; i++) {
		if (error)
			one = abi_call_read(call, address + i * sizeof(*out), out + i, sizeof(*out));
		if (!one && out[i].start >= out[i].last)
			one = -EINVAL;
	}
	return one ? one : error;
}

/* The caller's array, a part at a time, so that it costs him as much as us. */
static int read_ranges(const struct abi_call *call, uint64_t address, uint32_t count, struct uiommu_range **out)
{
	struct uiommu_range *ranges = NULL;

	*out = NULL;
	for (uint32_t done = 0; done < count;) {
		uint32_t part = (uint32_t)min_u64(count - done, RANGES_CHUNK);
		struct uiommu_range *grown = done < RANGES_MAX ? reallocarray(ranges, done + part, sizeof(*ranges)) : NULL;
		int error = grown ? read_some(call, address + done * sizeof(*ranges), part, grown + done) : -ENOMEM;

		ranges = grown ? grown : ranges;
		if (error) {
			free(ranges);
			return error;
		}
		done += part;
	}
	*out = ranges;
	return 0;
}

int abi_ioas_allow_iovas(struct abi_call *call)
{
	const struct abi_ioas_allow_iovas *arguments = (const void *)call->data;
	struct uiommu_range *ranges;
	int error;

	call->quiet = true;
	if (arguments->reserved)
		return -EOPNOTSUPP;
	if (!is_ioas(call, arguments->ioas_id))
		return -ENOENT;
	error = read_ranges(call, arguments->allowed_iovas, arguments->num_iovas, &ranges);
	if (error)
		return error;
	error = uiommu_ioas_allow_iovas(call->context, arguments->ioas_id, ranges, arguments->num_iovas);
	free(ranges);
	return error;
}

/* As many as there are, or as the caller has room for. */
static int get_ranges(struct abi_call *call, struct abi_ioas_iova_ranges *arguments, struct uiommu_range **out, uint32_t *written)
{
	uint32_t room = arguments->num_iovas, count = 0;
	int error;

	*out = NULL;
	do {
		struct uiommu_range *ranges = NULL;

		*written = (uint32_t)min_u64(room, count);
		free(*out);
		*out = ranges = *written ? calloc(*written, sizeof(*ranges)) : NULL;
		if (*written && !ranges)
			return -ENOMEM;
		count = *written;
		error = uiommu_ioas_iova_ranges(call->context, arguments->ioas_id, ranges, &count, &arguments->out_iova_alignment);
	} while (error == -EMSGSIZE && *written < room);
	arguments->num_iovas = count;
	if (!error)
		*written = count;
	return error;
}

int abi_ioas_iova_ranges(struct abi_call *call)
{
	struct abi_ioas_iova_ranges *arguments = (void *)call->data;
	struct uiommu_range *ranges;
	uint32_t written;
	int error, late;

	if (arguments->reserved)
		return -EOPNOTSUPP;
	error = get_ranges(call, arguments, &ranges, &written);
	if (error && error != -EMSGSIZE) {
		free(ranges);
		return error;
	}
	late = abi_call_write(call, arguments->allowed_iovas, ranges, written * sizeof(*ranges));
	free(ranges);
	call->replies = !late;
	return late ? late : error;
}

/* CAP_IPC_LOCK is looked at when something is mapped, as in Linux. */
struct abi_pages_source abi_source_of(struct abi_call *call)
{
	struct iommufd *iommufd = call->iommufd;
	bool exempt = call->caller->ops->capable(call->caller, CAP_IPC_LOCK);
	struct abi_pages_source source = {.list = &iommufd->pages, .caller = call->caller};

	pthread_mutex_lock(&iommufd->lock);
	source.accounting = exempt ? ABI_ACCOUNT_NONE : iommufd->accounts_memory ? ABI_ACCOUNT_MEMORY : ABI_ACCOUNT_USER;
	pthread_mutex_unlock(&iommufd->lock);
	return source;
}

static int map(struct abi_call *call, struct uiommu_ioas_map *request)
{
	struct abi_pages_source opaque = abi_source_of(call);
	const struct ioas_source source = {.make = abi_pages_make, .opaque = &opaque};

	return ioas_map(call->context, request, &source);
}

int abi_ioas_map(struct abi_call *call)
{
	struct abi_ioas_map *arguments = (void *)call->data;
	struct uiommu_ioas_map request = {
		.size = sizeof(request),
		.flags = arguments->flags,
		.ioas_id = arguments->ioas_id,
		.source = UIOMMU_MAP_OWN,
		.address = (void *)(uintptr_t)arguments->user_va,
		.length = arguments->length,
		.iova = arguments->iova,
	};
	int error = arguments->reserved ? -EOPNOTSUPP : map(call, &request);

	arguments->iova = request.iova;
	return error;
}

int abi_ioas_map_file(struct abi_call *call)
{
	struct abi_ioas_map_file *arguments = (void *)call->data;
	struct uiommu_ioas_map request = {
		.size = sizeof(request),
		.flags = arguments->flags,
		.ioas_id = arguments->ioas_id,
		.source = UIOMMU_MAP_FILE,
		.fd = arguments->fd,
		.offset = arguments->start,
		.length = arguments->length,
		.iova = arguments->iova,
	};
	int error = map(call, &request);

	arguments->iova = request.iova;
	return error;
}

int abi_ioas_copy(struct abi_call *call)
{
	struct abi_ioas_copy *arguments = (void *)call->data;
	struct uiommu_ioas_copy request = {
		.size = sizeof(request),
		.flags = arguments->flags,
		.dst_ioas_id = arguments->dst_ioas_id,
		.src_ioas_id = arguments->src_ioas_id,
		.length = arguments->length,
		.dst_iova = arguments->dst_iova,
		.src_iova = arguments->src_iova,
	};
	int error = uiommu_ioas_copy(call->context, &request);

	arguments->dst_iova = request.dst_iova;
	return error;
}

int abi_ioas_unmap(struct abi_call *call)
{
	struct abi_ioas_unmap *arguments = (void *)call->data;
	uint64_t unmapped = 0;
	int error = uiommu_ioas_unmap(call->context, arguments->ioas_id, arguments->iova, arguments->length, &unmapped);

	arguments->length = unmapped;
	return error;
}

int abi_ioas_change_process(struct abi_call *call)
{
	const struct abi_ioas_change_process *arguments = (const void *)call->data;
	struct abi_pages_source source = abi_source_of(call);

	if (arguments->reserved)
		return -EOPNOTSUPP;
	return abi_pages_change(source.list, call->caller->memory, source.accounting);
}

/* --- IOMMU_OPTION --- */

static int set_rlimit_mode(struct abi_call *call, uint64_t mode)
{
	int error = 0;

	/* The selftests set it as root, and a container's root need not have the capability. */
	if (!call->iommufd->mock && !call->caller->ops->capable(call->caller, CAP_SYS_RESOURCE))
		return -EPERM;
	pthread_mutex_lock(&call->iommufd->lock);
	if (uiommu_object_count(call->context))
		error = -EBUSY;
	else if (mode > 1)
		error = -EINVAL;
	else
		call->iommufd->accounts_memory = mode;
	pthread_mutex_unlock(&call->iommufd->lock);
	return error;
}

static int rlimit_mode(struct abi_call *call, struct abi_option *arguments)
{
	if (arguments->object_id)
		return -EOPNOTSUPP;
	if (arguments->op == ABI_OPTION_SET)
		return set_rlimit_mode(call, arguments->val64);
	if (arguments->op != ABI_OPTION_GET)
		return -EOPNOTSUPP;
	pthread_mutex_lock(&call->iommufd->lock);
	arguments->val64 = call->iommufd->accounts_memory;
	pthread_mutex_unlock(&call->iommufd->lock);
	return 0;
}

static int huge_pages(struct abi_call *call, struct abi_option *arguments)
{
	struct object *object = object_get(call->context, arguments->object_id, UIOMMU_OBJECT_IOAS);
	int error = 0;

	if (!object)
		return -ENOENT;
	if (arguments->op == ABI_OPTION_GET)
		arguments->val64 = ioas_huge_pages(ioas_of(object));
	else if (arguments->op != ABI_OPTION_SET)
		error = -EOPNOTSUPP;
	else
		error = arguments->val64 > 1 ? -EINVAL : ioas_set_huge_pages(ioas_of(object), arguments->val64);
	object_put(object);
	return error;
}

int abi_option(struct abi_call *call)
{
	struct abi_option *arguments = (void *)call->data;
	int error;

	call->quiet = true;
	if (arguments->reserved)
		return -EOPNOTSUPP;
	switch (arguments->option_id) {
	case ABI_OPTION_RLIMIT_MODE:
		error = rlimit_mode(call, arguments);
		break;
	case ABI_OPTION_HUGE_PAGES:
		error = huge_pages(call, arguments);
		break;
	default:
		return -EOPNOTSUPP;
	}
	/* Of the struct only this. */
	return error ? error
		     : abi_call_write(call, call->argument + offsetof(struct abi_option, val64), &arguments->val64,
				      sizeof(arguments->val64));
}

/* --- IOMMU_VFIO_IOAS --- */

static int set_vfio_ioas(struct abi_call *call, uint32_t id)
{
	struct object *object = id ? object_get(call->context, id, UIOMMU_OBJECT_IOAS) : NULL;

	if (id && !object)
		return -ENOENT;
	pthread_mutex_lock(&call->iommufd->lock);
	call->iommufd->vfio_ioas = id;
	pthread_mutex_unlock(&call->iommufd->lock);
	if (object)
		object_put(object);
	return 0;
}

int abi_vfio_ioas(struct abi_call *call)
{
	struct abi_vfio_ioas *arguments = (void *)call->data;

	if (arguments->reserved)
		return -EOPNOTSUPP;
	switch (arguments->op) {
	case ABI_VFIO_IOAS_GET:
		pthread_mutex_lock(&call->iommufd->lock);
		arguments->ioas_id = call->iommufd->vfio_ioas;
		pthread_mutex_unlock(&call->iommufd->lock);
		return arguments->ioas_id ? 0 : -ENODEV;
	case ABI_VFIO_IOAS_SET:
		call->quiet = true;
		return arguments->ioas_id ? set_vfio_ioas(call, arguments->ioas_id) : -ENOENT;
	case ABI_VFIO_IOAS_CLEAR:
		call->quiet = true;
		return set_vfio_ioas(call, 0);
	default:
		return -EOPNOTSUPP;
	}
}
