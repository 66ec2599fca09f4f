/* SPDX-License-Identifier: BSD-3-Clause */
/* Tables in memory that keeps whoever looks at it waiting, and that others change meanwhile. */
#include "test.h"

#include <pthread.h>
#include <uiommu/uiommu.h>

#include "iommu/ioas.h"
#include "memory/region.h"

#define RAM UINT64_C(0x40000)
#define VA UINT64_C(0x3412345000)

enum { PAGE = 4096, PAGES = 6, BYTES = PAGES * PAGE, ACCESSED = 0x20, DIRTY = 0x40, SOFTWARE = 0x200, BITS = 7, NOWHERE = -1 };

/* Whose memory it is: page 0 is the top table, 3 the last one; the leaf of VA is in it. */
static struct owner {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	uint64_t words[BYTES / 8];
	int64_t holds; /* the next read at this offset is kept, with what it has read */
	bool inside;
	unsigned int losses; /* so many more changes come too late */
	unsigned int swaps;
	bool refuses, fails;
} owner;

static struct uiommu_context *context;
static struct uiommu_device *device;
static uint32_t device_id, hwpt;

static uint64_t owner_access(void *opaque, uint64_t offset, void *buffer, uint64_t length, unsigned int access,
			     unsigned int *reason)
{
	uint8_t *bytes = (uint8_t *)owner.words + offset;

	(void)opaque;
	assert_true(offset + length <= BYTES);
	pthread_mutex_lock(&owner.lock);
	if (owner.fails)
		*reason = UIOMMU_FAULT_MEMORY;
	if (access == UIOMMU_WRITE)
		memcpy(bytes, buffer, length);
	else
		memcpy(buffer, bytes, length);
	if (owner.holds == (int64_t)offset) {
		owner.inside = true;
		pthread_cond_broadcast(&owner.changed);
		while (owner.holds != NOWHERE)
			pthread_cond_wait(&owner.changed, &owner.lock);
	}
	pthread_mutex_unlock(&owner.lock);
	return owner.fails ? 0 : length;
}

static bool owner_swap(void *opaque, uint64_t offset, unsigned int length, uint64_t *expected, uint64_t value)
{
	uint64_t seen = *expected, *word = &owner.words[offset / 8];

	(void)opaque;
	assert_int_equal(length, 8);
	owner.swaps++;
	if (owner.refuses)
		return false;
	if (owner.losses) {
		owner.losses--;
		*word ^= SOFTWARE;
	}
	if (*word == seen)
		*word = value;
	else
		*expected = *word;
	return true;
}

static void owner_nothing(void *opaque)
{
	(void)opaque;
}

static const struct region_ops with_swap = {
	.access = owner_access, .pause = owner_nothing, .free = owner_nothing, .swap = owner_swap};
static const struct region_ops without_swap = {.access = owner_access, .pause = owner_nothing, .free = owner_nothing};

static uint64_t *leaf(void)
{
	return &owner.words[3 * PAGE / 8 + (VA >> 12 & 511)];
}

static uint64_t page(unsigned int number)
{
	return RAM + (uint64_t)number * PAGE;
}

static void build(void)
{
	owner = (struct owner){.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER, .holds = NOWHERE};
	for (unsigned int i = 0; i < 3; i++)
		owner.words[i * PAGE / 8 + (VA >> (39 - 9 * i) & 511)] = page(i + 1) | BITS | ACCESSED;
	*leaf() = page(4) | BITS | ACCESSED | DIRTY;
	owner.words[4 * PAGE / 8] = 44;
	owner.words[5 * PAGE / 8] = 55;
}

static void open_with(const struct region_ops *ops)
{
	const struct uiommu_device_config config = {.size = sizeof(config), .name = "dev", .pasid_bits = 8};
	struct uiommu_hwpt_alloc parent = {.size = sizeof(parent), .type = UIOMMU_HWPT_PAGING, .flags = UIOMMU_HWPT_NEST_PARENT};
	struct uiommu_hwpt_nested nested = {
		.size = sizeof(nested),
		.first = {.format = UIOMMU_FORMAT_VTD_FIRST, .base = {RAM}, .levels = 4, .output_lg2 = 46},
	};
	struct region *region;

	build();
	assert_int_equal(uiommu_open(NULL, &context), 0);
	assert_int_equal(uiommu_ioas_alloc(context, &parent.parent_id), 0);
	assert_int_equal(region_remote(ops, &owner, BYTES, UIOMMU_READ | UIOMMU_WRITE, &region), 0);
	assert_int_equal(ioas_map_remote(context, parent.parent_id, region, UIOMMU_MAP_READ | UIOMMU_MAP_WRITE, RAM), 0);
	region_put(region);
	assert_int_equal(uiommu_hwpt_alloc(context, &parent, &nested.parent_id), 0);
	assert_int_equal(uiommu_hwpt_alloc_nested(context, &nested, &hwpt), 0);
	assert_int_equal(uiommu_device_alloc(context, &config, &device_id), 0);
	device = uiommu_device_get(context, device_id);
	assert_int_equal(uiommu_attach(context, device_id, UIOMMU_NO_PASID, hwpt), 0);
}

static int setup(void **state)
{
	(void)state;
	open_with(&with_swap);
	return 0;
}

static int setup_without_swap(void **state)
{
	(void)state;
	open_with(&without_swap);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	uiommu_device_put(device);
	assert_int_equal(uiommu_close(context), 0);
	return 0;
}

static uint64_t read_va(void)
{
	uint64_t value = 0;

	assert_int_equal(uiommu_dma_read(device, UIOMMU_NO_PASID, VA, &value, 8, NULL), 0);
	return value;
}

/* The fault of a table of the last level, or of @level. */
static void refused(unsigned int access, unsigned int reason, unsigned int level)
{
	struct uiommu_dma_result result;
	uint64_t value = 1;
	int error = access == UIOMMU_READ ? uiommu_dma_read(device, UIOMMU_NO_PASID, VA, &value, 8, &result)
					  : uiommu_dma_write(device, UIOMMU_NO_PASID, VA, &value, 8, &result);

	assert_int_equal(error, -EFAULT);
	assert_int_equal(result.fault.reason, reason);
	assert_int_equal(result.fault.level, level);
	assert_true(result.fault.table);
}

static void *read_in_thread(void *opaque)
{
	*(uint64_t *)opaque = read_va();
	return NULL;
}

/* It returns, although somebody is fetching what it is about; and what that one has read has no effect. */
static void invalidation_waits_for_nobody(void **state)
{
	const struct uiommu_invalidation one = {.start = VA, .last = VA + PAGE - 1}, all = {.last = UINT64_MAX};

	(void)state;
	for (unsigned int i = 0; i < 2; i++) {
		uint64_t value = 0;
		pthread_t thread;

		*leaf() = page(4) | BITS | ACCESSED | DIRTY;
		assert_int_equal(uiommu_hwpt_invalidate(context, hwpt, &all, 1), 0);
		owner.holds = (uint8_t *)leaf() - (uint8_t *)owner.words;
		owner.inside = false;
		assert_int_equal(pthread_create(&thread, NULL, read_in_thread, &value), 0);
		pthread_mutex_lock(&owner.lock);
		while (!owner.inside)
			pthread_cond_wait(&owner.changed, &owner.lock);
		*leaf() = page(5) | BITS | ACCESSED | DIRTY;
		assert_int_equal(uiommu_hwpt_invalidate(context, hwpt, i ? &all : &one, 1), 0);
		owner.holds = NOWHERE;
		pthread_cond_broadcast(&owner.changed);
		pthread_mutex_unlock(&owner.lock);
		assert_int_equal(pthread_join(thread, NULL), 0);
		assert_int_equal(value, 55);
		assert_int_equal(read_va(), 55);
	}
}

static void bits_are_set_there(void **state)
{
	uint64_t value = 45;

	(void)state;
	*leaf() = page(4) | BITS;
	owner.words[VA >> 39 & 511] &= ~(uint64_t)ACCESSED;
	owner.losses = 3;
	assert_int_equal(read_va(), 44);
	assert_int_equal(owner.swaps, 2 + 3);
	assert_int_equal(owner.words[VA >> 39 & 511] & ~(uint64_t)SOFTWARE, page(1) | BITS | ACCESSED);
	assert_int_equal(*leaf(), page(4) | BITS | ACCESSED);
	assert_int_equal(read_va(), 44);
	assert_int_equal(owner.swaps, 5);
	assert_int_equal(uiommu_dma_write(device, UIOMMU_NO_PASID, VA, &value, 8, NULL), 0);
	assert_int_equal(owner.words[4 * PAGE / 8], 45);
	assert_int_equal(*leaf(), page(4) | BITS | ACCESSED | DIRTY);
}

static void what_cannot_be_set(void **state)
{
	(void)state;
	*leaf() = page(4) | BITS;
	owner.losses = 1000;
	refused(UIOMMU_READ, UIOMMU_FAULT_UPDATE, 0);
	assert_true(owner.losses > 800);
	owner.losses = 0;
	owner.refuses = true;
	refused(UIOMMU_READ, UIOMMU_FAULT_UPDATE, 0);
	*leaf() = page(4) | BITS | ACCESSED;
	assert_int_equal(read_va(), 44);
	refused(UIOMMU_WRITE, UIOMMU_FAULT_UPDATE, 0);
	assert_int_equal(*leaf(), page(4) | BITS | ACCESSED);
	assert_int_equal(owner.words[4 * PAGE / 8], 44);
}

static void what_cannot_be_read(void **state)
{
	(void)state;
	owner.fails = true;
	refused(UIOMMU_READ, UIOMMU_FAULT_MEMORY, 3);
	owner.fails = false;
	assert_int_equal(read_va(), 44);
}

/* What only messages reach. */
static void not_there(void **state)
{
	(void)state;
	refused(UIOMMU_READ, UIOMMU_FAULT_MEMORY, 3);
}

/* Those that do no access. */
static void looks(void **state)
{
	struct uiommu_walk_step steps[8];
	struct uiommu_walk walk = {.size = sizeof(walk),
				   .device_id = device_id,
				   .pasid = UIOMMU_NO_PASID,
				   .access = UIOMMU_READ,
				   .address = VA + 8,
				   .steps = steps,
				   .step_count = 8};
	struct uiommu_attachment *attachment = uiommu_attachment_get(device, UIOMMU_NO_PASID);
	struct uiommu_translation translation;

	(void)state;
	assert_int_equal(uiommu_walk(context, &walk), 0);
	assert_int_equal(walk.fault.reason, UIOMMU_FAULT_NONE);
	assert_int_equal(walk.step_count, 4);
	assert_int_equal(steps[3].entry[0], *leaf());
	assert_int_equal(walk.output, page(4) + 8);
	assert_int_equal(uiommu_translate(attachment, VA + 16, UIOMMU_READ, &translation), 0);
	assert_int_equal(translation.address, page(4) + 16);
	uiommu_attachment_put(attachment);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(invalidation_waits_for_nobody, setup, teardown),
		cmocka_unit_test_setup_teardown(bits_are_set_there, setup, teardown),
		cmocka_unit_test_setup_teardown(what_cannot_be_set, setup, teardown),
		cmocka_unit_test_setup_teardown(what_cannot_be_read, setup, teardown),
		cmocka_unit_test_setup_teardown(not_there, setup_without_swap, teardown),
		cmocka_unit_test_setup_teardown(looks, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
