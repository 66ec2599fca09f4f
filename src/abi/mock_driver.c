/* SPDX-License-Identifier: BSD-3-Clause */
/* The selftests' IOMMU: nested page tables that are four numbers, a vIOMMU with a page to be mapped, and dirty bits that a test
 * sets. */
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "abi/mock.h"
#include "iommu/device.h"
#include "iommu/hwpt.h"
#include "iommu/viommu.h"
#include "util/util.h"

#define HWPT_DATA 0xdeadU
#define INVALIDATE_DATA 0xdeadbeefU
#define VIOMMU_TYPE 0xdeadbeefU
#define VEVENTQ_TYPE 0xbeefbeefU
#define HW_QUEUE_TYPE 0xdeadbeefU
#define HW_INFO_TYPE 0xfeedbeefU
#define HW_INFO_REGISTER 0xdeadbeefU

enum { PAGE_TABLE_HUGE = 1, HW_QUEUES = 2, INVALIDATE_ALL = 1, REGION_PAGES = 2 };

struct hwpt_data {
	uint32_t iotlb;
	uint32_t pagetable_type;
};

struct hwpt_invalidation {
	uint32_t flags;
	uint32_t index;
};

struct viommu_invalidation {
	uint32_t flags;
	uint32_t virt_id;
	uint32_t index;
};

struct viommu_data {
	uint32_t in;
	uint32_t out;
	uint64_t mmap_offset;
	uint64_t mmap_length;
};

struct mock_hwpt *mock_hwpt(struct mock *mock, uint32_t id)
{
	struct mock_hwpt *hwpt;

	cds_list_for_each_entry (hwpt, &mock->hwpts, link)
		if (hwpt->id == id)
			return hwpt;
	return NULL;
}

struct mock_viommu *mock_viommu(struct mock *mock, uint32_t id)
{
	struct mock_viommu *viommu;

	cds_list_for_each_entry (viommu, &mock->viommus, link)
		if (viommu->id == id)
			return viommu;
	return NULL;
}

/* --- life --- */

static void hwpt_free(struct mock_hwpt *hwpt)
{
	cds_list_del(&hwpt->link);
	free(hwpt->dirty_bits);
	free(hwpt);
}

static void viommu_free(struct mock_viommu *viommu)
{
	if (viommu->mapped)
		close(viommu->region.fd);
	free(viommu);
}

static void destroyed(struct abi_call *call, uint32_t id)
{
	struct mock *mock = call->iommufd->mock;
	struct mock_viommu *viommu;
	struct mock_hwpt *hwpt;

	pthread_mutex_lock(&mock->lock);
	hwpt = mock_hwpt(mock, id);
	if (hwpt)
		hwpt_free(hwpt);
	viommu = mock_viommu(mock, id);
	if (viommu)
		cds_list_del(&viommu->link);
	pthread_mutex_unlock(&mock->lock);
	if (!viommu)
		return;
	if (viommu->mapped)
		abi_mmap_remove(call->iommufd, &viommu->region);
	viommu_free(viommu);
}

void mock_free(struct mock *mock)
{
	struct mock_viommu *viommu, *next_viommu;
	struct mock_hwpt *hwpt, *next;

	cds_list_for_each_entry_safe (hwpt, next, &mock->hwpts, link)
		hwpt_free(hwpt);
	cds_list_for_each_entry_safe (viommu, next_viommu, &mock->viommus, link)
		viommu_free(viommu);
	pthread_mutex_destroy(&mock->lock);
	free(mock);
}

/* --- HWPTs --- */

static struct mock_hwpt *hwpt_add(struct mock *mock, uint32_t id)
{
	struct mock_hwpt *hwpt = calloc(1, sizeof(*hwpt));

	if (!hwpt)
		return NULL;
	hwpt->id = id;
	pthread_mutex_lock(&mock->lock);
	cds_list_add_tail(&hwpt->link, &mock->hwpts);
	pthread_mutex_unlock(&mock->lock);
	return hwpt;
}

static int read_data(struct abi_call *call, const struct abi_hwpt_alloc *arguments, struct hwpt_data *out)
{
	*out = (struct hwpt_data){0};
	if (arguments->data_type == ABI_HWPT_DATA_NONE)
		return 0;
	if (arguments->data_type != HWPT_DATA)
		return -EOPNOTSUPP;
	return abi_call_read_struct(call, arguments->data_uptr, arguments->data_len, out, sizeof(*out), sizeof(out->iotlb));
}

static bool has_dirty(struct abi_call *call, uint32_t device_id)
{
	struct mock *mock = call->iommufd->mock;
	struct mock_device *device;
	bool has;

	pthread_mutex_lock(&mock->lock);
	device = mock_device(mock, device_id);
	has = device && !(device->flags & MOCK_NO_DIRTY);
	pthread_mutex_unlock(&mock->lock);
	return has;
}

static int hwpt_paging(struct abi_call *call, const struct abi_hwpt_alloc *arguments, const struct uiommu_hwpt_alloc *alloc,
		       uint32_t *out_id)
{
	static const struct geometry any = {.aperture = {0, UINT64_MAX}, .page_lg2 = MOCK_PAGE_LG2},
				     low = {.aperture = {MOCK_APERTURE_START, MOCK_APERTURE_LAST}, .page_lg2 = MOCK_PAGE_LG2};
	struct uiommu_hwpt_alloc plain = *alloc;
	struct mock_hwpt *hwpt;
	struct hwpt_data data;
	int error = read_data(call, arguments, &data);

	if (error)
		return error;
	if (alloc->flags & UIOMMU_HWPT_DIRTY_TRACKING && !has_dirty(call, arguments->dev_id))
		return -EOPNOTSUPP;
	/* The tests' dirty bits are no device's. */
	plain.flags &= ~(uint32_t)UIOMMU_HWPT_DIRTY_TRACKING;
	error = hwpt_alloc(call->context, &plain, data.pagetable_type == PAGE_TABLE_HUGE ? &any : &low, out_id);
	if (error)
		return error;
	hwpt = hwpt_add(call->iommufd->mock, *out_id);
	if (!hwpt) {
		uiommu_destroy(call->context, *out_id);
		return -ENOMEM;
	}
	hwpt->dirty = alloc->flags & UIOMMU_HWPT_DIRTY_TRACKING;
	hwpt->huge = data.pagetable_type == PAGE_TABLE_HUGE;
	return 0;
}

static int hwpt_nested(struct abi_call *call, const struct abi_hwpt_alloc *arguments, uint32_t parent_id, struct viommu *viommu,
		       uint32_t *out_id)
{
	/* Some page table; nobody walks it. */
	const struct uiommu_hwpt_nested nested = {
		.size = sizeof(nested),
		.flags = arguments->flags,
		.parent_id = parent_id,
		.fault_queue_id = arguments->fault_id,
		.first = {.format = UIOMMU_FORMAT_VTD_FIRST, .levels = 4, .output_lg2 = 48},
	};
	struct mock_hwpt *hwpt;
	struct hwpt_data data;
	int error = read_data(call, arguments, &data);

	if (!error)
		error = hwpt_alloc_of_viommu(call->context, viommu, &nested, out_id);
	if (error)
		return error;
	hwpt = hwpt_add(call->iommufd->mock, *out_id);
	if (!hwpt) {
		uiommu_destroy(call->context, *out_id);
		return -ENOMEM;
	}
	hwpt->nested = true;
	hwpt->viommu_id = viommu ? viommu->object.id : 0;
	for (unsigned int i = 0; i < MOCK_CACHES; i++)
		hwpt->iotlb[i] = data.iotlb;
	return 0;
}

/* --- invalidation --- */

static int invalidation(const struct viommu *viommu, const struct abi_hwpt_invalidate *arguments, struct abi_entry_rules *out)
{
	*out = (struct abi_entry_rules){.known = viommu ? sizeof(struct viommu_invalidation) : sizeof(struct hwpt_invalidation)};
	return arguments->data_type == INVALIDATE_DATA && arguments->entry_len == out->known ? 0 : -EINVAL;
}

static int forget(uint32_t *cache, uint32_t flags, uint32_t index)
{
	if (flags & ~(uint32_t)INVALIDATE_ALL)
		return -EOPNOTSUPP;
	if (!flags && index >= MOCK_CACHES)
		return -EINVAL;
	for (uint32_t i = flags ? 0 : index; i < (flags ? MOCK_CACHES : index + 1); i++)
		cache[i] = 0;
	return 0;
}

/* Under the lock. */
static int invalidate_one(struct mock *mock, uint32_t id, struct viommu *viommu, const void *entries, uint32_t number)
{
	const struct viommu_invalidation *of_viommu = (const struct viommu_invalidation *)entries + number;
	const struct hwpt_invalidation *of_hwpt = (const struct hwpt_invalidation *)entries + number;
	struct mock_device *device;
	struct mock_hwpt *hwpt;

	if (!viommu) {
		hwpt = mock_hwpt(mock, id);
		return hwpt ? forget(hwpt->iotlb, of_hwpt->flags, of_hwpt->index) : -EINVAL;
	}
	if (of_viommu->flags & ~(uint32_t)INVALIDATE_ALL)
		return -EOPNOTSUPP;
	device = mock_device(mock, viommu_device(viommu, of_viommu->virt_id));
	return device ? forget(device->cache, of_viommu->flags, of_viommu->index) : -EINVAL;
}

static int invalidate(struct abi_call *call, uint32_t id, struct viommu *viommu, const struct abi_entries *entries, uint32_t *done)
{
	struct mock *mock = call->iommufd->mock;
	int error = 0;

	pthread_mutex_lock(&mock->lock);
	for (uint32_t i = 0; i < entries->count && !error; i++) {
		error = invalidate_one(mock, id, viommu, entries->entries, i);
		*done += !error;
	}
	pthread_mutex_unlock(&mock->lock);
	return error;
}

/* --- registers --- */

static int hw_info(struct abi_call *call, uint32_t device_id, uint32_t *type, void *buffer, size_t size, uint64_t *capabilities)
{
	const uint32_t info[2] = {0, HW_INFO_REGISTER};

	if (*type && *type != HW_INFO_TYPE)
		return -EOPNOTSUPP;
	*type = HW_INFO_TYPE;
	memcpy(buffer, info, min_u64(size, sizeof(info)));
	*capabilities = has_dirty(call, device_id) ? ABI_HW_CAP_DIRTY_TRACKING : 0;
	return sizeof(info);
}

/* --- dirty bits: of the first 2 GiB, by the page table's pages --- */

static unsigned int page_lg2(const struct mock_hwpt *hwpt)
{
	return hwpt->huge ? MOCK_HUGE_LG2 : MOCK_PAGE_LG2;
}

static int set_dirty(struct abi_call *call, uint32_t hwpt_id, uint32_t flags)
{
	struct mock *mock = call->iommufd->mock;
	uint64_t *bits = flags ? calloc((MOCK_APERTURE_LAST >> MOCK_PAGE_LG2) / 64 + 1, sizeof(*bits)) : NULL;
	struct mock_hwpt *hwpt;
	int error = flags && !bits ? -ENOMEM : 0;

	pthread_mutex_lock(&mock->lock);
	hwpt = mock_hwpt(mock, hwpt_id);
	if (!error)
		error = !hwpt ? -ENOENT : hwpt->dirty ? 0 : -EOPNOTSUPP;
	if (!error) {
		free(hwpt->dirty_bits);
		hwpt->dirty_bits = bits;
	}
	pthread_mutex_unlock(&mock->lock);
	if (error)
		free(bits);
	return error;
}

static bool is_mapped(struct uiommu_context *context, uint32_t hwpt_id, uint64_t iova)
{
	struct object *object = object_get(context, hwpt_id, UIOMMU_OBJECT_HWPT_PAGING);
	bool mapped;

	if (!object)
		return false;
	mapped = ioas_has_areas(object_hwpt(object)->ioas, iova, iova);
	object_put(object);
	return mapped;
}

static bool test_bit(const uint64_t *bits, uint64_t number)
{
	return bits[number / 64] >> (number % 64) & 1;
}

/* Each bit of the request is one of ours, or several. */
static bool is_dirty(struct abi_call *call, const struct mock_hwpt *hwpt, uint64_t iova, uint64_t size)
{
	for (uint64_t at = iova; at < iova + size; at += UINT64_C(1) << MOCK_PAGE_LG2)
		if (at <= MOCK_APERTURE_LAST && test_bit(hwpt->dirty_bits, at >> page_lg2(hwpt)) &&
		    is_mapped(call->context, hwpt->id, at))
			return true;
	return false;
}

static int get_dirty(struct abi_call *call, const struct uiommu_dirty_bitmap *request)
{
	struct mock *mock = call->iommufd->mock;
	struct mock_hwpt *hwpt;
	int error = 0;

	pthread_mutex_lock(&mock->lock);
	hwpt = mock_hwpt(mock, request->hwpt_id);
	if (!hwpt || !hwpt->dirty)
		error = -EOPNOTSUPP;
	else if (!hwpt->dirty_bits)
		error = -EINVAL;
	for (uint64_t at = 0, n = 0; !error && at < request->length; at += request->page_size, n++)
		if (is_dirty(call, hwpt, request->iova + at, request->page_size))
			request->bitmap[n / 64] |= UINT64_C(1) << (n % 64);
	for (uint64_t at = request->iova;
	     !error && !request->flags && at < request->iova + request->length && at <= MOCK_APERTURE_LAST;
	     at += UINT64_C(1) << MOCK_PAGE_LG2)
		hwpt->dirty_bits[(at >> page_lg2(hwpt)) / 64] &= ~(UINT64_C(1) << ((at >> page_lg2(hwpt)) % 64));
	pthread_mutex_unlock(&mock->lock);
	return error;
}

int mock_set_dirty(struct abi_call *call, struct mock_command *command)
{
	struct mock *mock = call->iommufd->mock;
	const uint64_t size = command->dirty.page_size;
	uint64_t at = command->dirty.iova;
	struct mock_hwpt *hwpt;
	uint8_t byte = 0;
	int error = 0;

	if (!size || size & (size - 1) || command->dirty.length % size || command->dirty.flags)
		return -EINVAL;
	command->dirty.out_count = 0;
	for (uint64_t n = 0; n < command->dirty.length / size && !error; n++, at += size) {
		error = n % 8 ? 0 : abi_call_read(call, command->dirty.uptr + n / 8, &byte, 1);
		if (error || !(byte >> (n % 8) & 1))
			continue;
		pthread_mutex_lock(&mock->lock);
		hwpt = mock_hwpt(mock, command->id);
		if (!hwpt || !hwpt->dirty_bits || at > MOCK_APERTURE_LAST)
			error = -EINVAL;
		else
			hwpt->dirty_bits[(at >> page_lg2(hwpt)) / 64] |= UINT64_C(1) << ((at >> page_lg2(hwpt)) % 64);
		pthread_mutex_unlock(&mock->lock);
		command->dirty.out_count += !error;
	}
	return error;
}

/* --- vIOMMUs --- */

/* Memory whose first number is @number. */
static int make_region(struct abi_mmap *region, uint32_t number)
{
	region->length = REGION_PAGES * page_size();
	region->fd = abi_descriptor("mock-viommu");
	if (region->fd < 0)
		return region->fd;
	if (!ftruncate(region->fd, (off_t)region->length) && pwrite(region->fd, &number, sizeof(number), 0) == sizeof(number))
		return 0;
	close(region->fd);
	return -ENOMEM;
}

static int exchange(struct abi_call *call, const struct abi_viommu_alloc *arguments, struct mock_viommu *viommu)
{
	struct viommu_data data;
	int error = abi_call_read_struct(call, arguments->data_uptr, arguments->data_len, &data, sizeof(data), sizeof(data));

	if (error)
		return error;
	error = make_region(&viommu->region, data.in);
	if (error)
		return error;
	abi_mmap_add(call->iommufd, &viommu->region);
	data.out = data.in;
	data.mmap_offset = viommu->region.offset;
	data.mmap_length = viommu->region.length;
	viommu->mapped = true;
	return abi_call_write(call, arguments->data_uptr, &data, (size_t)min_u64(arguments->data_len, sizeof(data)));
}

/* Inside a call of the vIOMMU. */
static int viommu_add(struct abi_call *call, const struct abi_viommu_alloc *arguments, struct viommu *viommu)
{
	struct mock *mock = call->iommufd->mock;
	struct mock_viommu *made = calloc(1, sizeof(*made));
	int error = made ? 0 : -ENOMEM;

	if (error)
		return error;
	made->id = viommu->object.id;
	made->region.owner = &viommu->object;
	if (arguments->data_len)
		error = exchange(call, arguments, made);
	if (error) {
		if (made->mapped)
			abi_mmap_remove(call->iommufd, &made->region);
		viommu_free(made);
		return error;
	}
	pthread_mutex_lock(&mock->lock);
	cds_list_add_tail(&made->link, &mock->viommus);
	pthread_mutex_unlock(&mock->lock);
	return 0;
}

static int mock_viommu_alloc(struct abi_call *call, struct abi_viommu_alloc *arguments, uint32_t *out_id)
{
	struct viommu *viommu;
	int error;

	if (arguments->type != VIOMMU_TYPE)
		return -EOPNOTSUPP;
	error = viommu_alloc(call->context, arguments->type, NULL, arguments->hwpt_id, out_id);
	if (error)
		return error;
	viommu = viommu_get(call->context, *out_id);
	error = viommu ? viommu_add(call, arguments, viommu) : -ENOENT;
	if (viommu)
		viommu_put(viommu);
	if (error)
		uiommu_destroy(call->context, *out_id);
	return error;
}

static int hw_queues(struct abi_call *call, const struct viommu *viommu, uint32_t type)
{
	(void)call;
	(void)viommu;
	return type == HW_QUEUE_TYPE ? HW_QUEUES : -EOPNOTSUPP;
}

const struct abi_driver abi_mock = {
	.hwpt_paging = hwpt_paging,
	.hwpt_nested = hwpt_nested,
	.invalidate = invalidate,
	.invalidation = invalidation,
	.hw_info = hw_info,
	.set_dirty = set_dirty,
	.get_dirty = get_dirty,
	.viommu_alloc = mock_viommu_alloc,
	.hw_queues = hw_queues,
	.destroyed = destroyed,
};
