/* SPDX-License-Identifier: BSD-3-Clause */
/* Commands about HWPTs and what devices are like. */
#include <errno.h>
#include <stdlib.h>
#include <sys/user.h>
#include <uiommu/dirty.h>

#include "abi/driver.h"
#include "iommu/hwpt.h"
#include "iommu/viommu.h"
#include "util/util.h"

enum { HWPT_FLAGS = ABI_HWPT_NEST_PARENT | ABI_HWPT_DIRTY_TRACKING | ABI_HWPT_FAULT_ID_VALID | ABI_HWPT_PASID };

_Static_assert((int)ABI_HWPT_NEST_PARENT == (int)UIOMMU_HWPT_NEST_PARENT &&
		       (int)ABI_HWPT_DIRTY_TRACKING == (int)UIOMMU_HWPT_DIRTY_TRACKING &&
		       (int)ABI_HWPT_FAULT_ID_VALID == (int)UIOMMU_HWPT_FAULT && (int)ABI_HWPT_PASID == (int)UIOMMU_HWPT_PASID,
	       "control's flags are Linux's");

/* --- IOMMU_HWPT_ALLOC --- */

static int alloc_paging(struct abi_call *call, const struct abi_hwpt_alloc *arguments, uint32_t *out_id)
{
	const struct uiommu_hwpt_alloc alloc = {
		.size = sizeof(alloc),
		.flags = arguments->flags,
		.type = UIOMMU_HWPT_PAGING,
		.parent_id = arguments->pt_id,
		.fault_queue_id = arguments->fault_id,
	};

	if (arguments->flags & ~(uint32_t)HWPT_FLAGS ||
	    (arguments->flags & ABI_HWPT_FAULT_ID_VALID && arguments->flags & ABI_HWPT_NEST_PARENT))
		return -EOPNOTSUPP;
	return abi_driver_of(call, arguments->dev_id)->hwpt_paging(call, arguments, &alloc, out_id);
}

/* May something be nested on it, for this device? */
static int check_parent(struct abi_call *call, uint32_t parent_id, uint32_t device_id)
{
	struct hwpt *parent;
	int error = nested_parent_get(call->context, parent_id, &parent);

	if (error)
		return error == -ENOENT ? -EINVAL : error;
	object_put(&parent->object);
	return abi_driver_of(call, parent_id) == abi_driver_of(call, device_id) ? 0 : -EINVAL;
}

static int alloc_nested(struct abi_call *call, const struct abi_hwpt_alloc *arguments, uint32_t parent_id, struct viommu *viommu,
			uint32_t *out_id)
{
	int error;

	call->nests = true;
	if (arguments->flags & ~(uint32_t)(ABI_HWPT_FAULT_ID_VALID | ABI_HWPT_PASID) || !arguments->data_len)
		return -EOPNOTSUPP;
	error = check_parent(call, parent_id, arguments->dev_id);
	if (error)
		return error;
	return abi_driver_of(call, arguments->dev_id)->hwpt_nested(call, arguments, parent_id, viommu, out_id);
}

static int alloc_on(struct abi_call *call, const struct abi_hwpt_alloc *arguments, uint32_t *out_id)
{
	struct viommu *viommu;
	int error;

	switch (uiommu_object_type(call->context, arguments->pt_id)) {
	case UIOMMU_OBJECT_IOAS:
		return alloc_paging(call, arguments, out_id);
	case UIOMMU_OBJECT_HWPT_PAGING:
		return alloc_nested(call, arguments, arguments->pt_id, NULL, out_id);
	case UIOMMU_OBJECT_VIOMMU:
		viommu = viommu_get(call->context, arguments->pt_id);
		if (!viommu)
			return -EINVAL;
		error = alloc_nested(call, arguments, viommu->parent->object.id, viommu, out_id);
		viommu_put(viommu);
		return error;
	default:
		return -EINVAL;
	}
}

int abi_hwpt_alloc(struct abi_call *call)
{
	struct abi_hwpt_alloc *arguments = (void *)call->data;
	int error;

	if (arguments->reserved)
		return -EOPNOTSUPP;
	if ((arguments->data_type == ABI_HWPT_DATA_NONE) != !arguments->data_len)
		return -EINVAL;
	if (uiommu_object_type(call->context, arguments->dev_id) != UIOMMU_OBJECT_DEVICE)
		return -ENOENT;
	error = alloc_on(call, arguments, &arguments->out_hwpt_id);
	if (!error)
		call->made = arguments->out_hwpt_id;
	return error;
}

/* --- IOMMU_HWPT_INVALIDATE --- */

enum { INVALIDATE_MAX = 1 << 19 };

/* Up to ABI_ENTRIES_MAX of the caller's entries from number @first on. *@count: those that can be read. */
static int read_entries(struct abi_call *call, const struct abi_hwpt_invalidate *arguments, uint32_t first, size_t known,
			uint64_t *out, uint32_t *count)
{
	uint64_t address = arguments->data_uptr + (uint64_t)first * arguments->entry_len;
	uint32_t wanted = *count;
	int error = 0;

	for (*count = 0; *count < wanted && !error; *count += !error)
		error = abi_call_read_struct(call, address + (uint64_t)*count * arguments->entry_len, arguments->entry_len,
					     (uint8_t *)out + *count * known, known, 0);
	return error;
}

static int check_entries(struct abi_call *call, const struct abi_hwpt_invalidate *arguments, size_t known)
{
	uint64_t buffer[ABI_ENTRIES_MAX * ABI_ENTRY_MAX / 8];
	int error = 0;

	for (uint32_t at = 0, part; at < arguments->entry_num && !error; at += part) {
		part = (uint32_t)min_u64(arguments->entry_num - at, ABI_ENTRIES_MAX);
		error = read_entries(call, arguments, at, known, buffer, &part);
	}
	return error;
}

/* In their order, until one cannot be done. *@done: so many have been. */
static int invalidate_all(struct abi_call *call, const struct abi_hwpt_invalidate *arguments, struct viommu *viommu,
			  const struct abi_entry_rules *rules, uint32_t *done)
{
	const struct abi_driver *driver = abi_driver_of(call, arguments->hwpt_id);
	uint64_t buffer[ABI_ENTRIES_MAX * ABI_ENTRY_MAX / 8];
	int error = rules->together ? check_entries(call, arguments, rules->known) : 0, unread;

	while (*done < arguments->entry_num && !error) {
		struct abi_entries entries = {.type = arguments->data_type, .entries = buffer};
		uint32_t part = 0;

		entries.count = (uint32_t)min_u64(arguments->entry_num - *done, ABI_ENTRIES_MAX);
		unread = read_entries(call, arguments, *done, rules->known, buffer, &entries.count);
		error = driver->invalidate(call, arguments->hwpt_id, viommu, &entries, &part);
		*done += part;
		error = error ? error : unread;
	}
	return error;
}

static int invalidate(struct abi_call *call, const struct abi_hwpt_invalidate *arguments, uint32_t *done)
{
	enum uiommu_object_type type = uiommu_object_type(call->context, arguments->hwpt_id);
	struct viommu *viommu = type == UIOMMU_OBJECT_VIOMMU ? viommu_get(call->context, arguments->hwpt_id) : NULL;
	struct abi_entry_rules rules;
	int error;

	if (type == UIOMMU_OBJECT_NONE || (type == UIOMMU_OBJECT_VIOMMU && !viommu))
		return -ENOENT;
	if (type != UIOMMU_OBJECT_HWPT_NESTED && type != UIOMMU_OBJECT_VIOMMU)
		return -EINVAL;
	error = abi_driver_of(call, arguments->hwpt_id)->invalidation(viommu, arguments, &rules);
	if (!error)
		error = invalidate_all(call, arguments, viommu, &rules, done);
	if (viommu)
		viommu_put(viommu);
	return error;
}

int abi_hwpt_invalidate(struct abi_call *call)
{
	struct abi_hwpt_invalidate *arguments = (void *)call->data;
	const struct abi_hwpt_invalidate given = *arguments;

	arguments->entry_num = 0;
	call->replies = true;
	if (given.reserved)
		return -EOPNOTSUPP;
	if (given.entry_num &&
	    (!given.data_uptr || !given.entry_len || given.entry_len > page_size() || given.entry_num > INVALIDATE_MAX))
		return -EINVAL;
	return invalidate(call, &given, &arguments->entry_num);
}

/* --- dirty tracking --- */

int abi_hwpt_set_dirty_tracking(struct abi_call *call)
{
	const struct abi_hwpt_set_dirty_tracking *arguments = (const void *)call->data;

	call->quiet = true;
	if (arguments->flags & ~(uint32_t)UIOMMU_DIRTY_TRACKING_ENABLE)
		return -EOPNOTSUPP;
	if (uiommu_object_type(call->context, arguments->hwpt_id) != UIOMMU_OBJECT_HWPT_PAGING)
		return -ENOENT;
	return abi_driver_of(call, arguments->hwpt_id)->set_dirty(call, arguments->hwpt_id, arguments->flags);
}

enum { BITMAP_CHUNK = 4096 }; /* bytes of a bitmap that are looked at together */

/* The caller's bitmap begins at any byte, and has bits that stay. */
static int add_bits(struct abi_call *call, uint64_t address, const uint64_t *bits, size_t bytes)
{
	uint8_t theirs[BITMAP_CHUNK];
	int error = abi_call_read(call, address, theirs, bytes);

	if (error)
		return error;
	for (size_t i = 0; i < bytes; i++)
		theirs[i] |= ((const uint8_t *)bits)[i];
	return abi_call_write(call, address, theirs, bytes);
}

/* A part of the range whose bits are a whole chunk. */
static int get_dirty_part(struct abi_call *call, const struct abi_hwpt_get_dirty_bitmap *arguments, uint64_t done, uint64_t length)
{
	uint64_t bits[BITMAP_CHUNK / 8] = {0}, pages = length / arguments->page_size;
	const struct uiommu_dirty_bitmap request = {
		.size = sizeof(request),
		.flags = arguments->flags,
		.hwpt_id = arguments->hwpt_id,
		.iova = arguments->iova + done,
		.length = length,
		.page_size = arguments->page_size,
		.bitmap = bits,
	};
	/* Before anything becomes clean. */
	uint64_t address = arguments->data + done / arguments->page_size / 8;
	int error = add_bits(call, address, bits, (size_t)(pages + 7) / 8);

	if (!error)
		error = abi_driver_of(call, arguments->hwpt_id)->get_dirty(call, &request);
	return error ? error : add_bits(call, address, bits, (size_t)(pages + 7) / 8);
}

static int check_bitmap(const struct abi_hwpt_get_dirty_bitmap *arguments)
{
	uint64_t size = arguments->page_size, last;

	if (__builtin_add_overflow(arguments->iova, arguments->length - 1, &last))
		return -EOVERFLOW;
	if (!size || size & (size - 1) || (arguments->iova | (last + 1)) & (size - 1))
		return -EINVAL;
	return 0;
}

int abi_hwpt_get_dirty_bitmap(struct abi_call *call)
{
	const struct abi_hwpt_get_dirty_bitmap *arguments = (const void *)call->data;
	uint64_t chunk;
	int error;

	call->quiet = true;
	if (arguments->flags & ~(uint32_t)UIOMMU_DIRTY_BITMAP_NO_CLEAR || arguments->reserved)
		return -EOPNOTSUPP;
	if (uiommu_object_type(call->context, arguments->hwpt_id) != UIOMMU_OBJECT_HWPT_PAGING)
		return -ENOENT;
	error = check_bitmap(arguments);
	if (error)
		return error;
	if (__builtin_mul_overflow(arguments->page_size, UINT64_C(8) * BITMAP_CHUNK, &chunk))
		chunk = UINT64_C(1) << 63;
	for (uint64_t done = 0; done < arguments->length && !error; done += min_u64(chunk, arguments->length - done))
		error = get_dirty_part(call, arguments, done, min_u64(chunk, arguments->length - done));
	return error;
}

/* --- IOMMU_GET_HW_INFO --- */

static int write_info(struct abi_call *call, const struct abi_hw_info *arguments, const uint8_t *info, uint32_t size)
{
	static const uint8_t zeroes[256];
	uint64_t at = min_u64(size, arguments->data_len);
	int error = abi_call_write(call, arguments->data_uptr, info, (size_t)at);

	while (!error && at < arguments->data_len) {
		uint64_t length = min_u64(arguments->data_len - at, sizeof(zeroes));

		error = abi_call_write(call, arguments->data_uptr + at, zeroes, (size_t)length);
		at += length;
	}
	return error;
}

/* The width of its PASIDs. */
static uint8_t pasid_bits(struct abi_call *call, uint32_t device_id)
{
	struct uiommu_device *device = uiommu_device_get(call->context, device_id);
	uint8_t bits = device ? (uint8_t)device->pasid_bits : 0;

	uiommu_device_put(device);
	return bits;
}

int abi_get_hw_info(struct abi_call *call)
{
	struct abi_hw_info *arguments = (void *)call->data;
	uint64_t info[ABI_STRUCT_MAX / 8] = {0};
	uint32_t type = arguments->flags & ABI_HW_INFO_INPUT_TYPE ? arguments->data_type : 0;
	int size, error;

	if (arguments->flags & ~(uint32_t)ABI_HW_INFO_INPUT_TYPE ||
	    arguments->reserved[0] | arguments->reserved[1] | arguments->reserved[2])
		return -EOPNOTSUPP;
	if (uiommu_object_type(call->context, arguments->dev_id) != UIOMMU_OBJECT_DEVICE)
		return -ENOENT;
	arguments->out_capabilities = 0;
	size = abi_driver_of(call, arguments->dev_id)
		       ->hw_info(call, arguments->dev_id, &type, info, sizeof(info), &arguments->out_capabilities);
	if (size < 0)
		return size;
	error = write_info(call, arguments, (const uint8_t *)info, (uint32_t)size);
	arguments->data_len = (uint32_t)size;
	arguments->data_type = type;
	arguments->out_max_pasid_log2 = pasid_bits(call, arguments->dev_id);
	return error;
}
