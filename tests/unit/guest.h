/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A guest: RAM that is a memfd in two pieces with a hole between them, page tables in it, and a device with a nest parent. Tables
 * are VT-d's, written here by number.
 */
#ifndef TESTS_UNIT_GUEST_H
#define TESTS_UNIT_GUEST_H

#include "test.h"

#include <pthread.h>
#include <sys/mman.h>
#include <uiommu/uiommu.h>

#include "traps.h"

enum { PAGE = 4096, RAM_PAGES = 256, RAM_BYTES = RAM_PAGES * PAGE, HOLE = 16 * PAGE, PASID = 7 };

/* Offsets of the file are addresses below the hole. */
#define LOW_BYTES ((uint64_t)RAM_BYTES / 2)
#define HIGH_START (LOW_BYTES + HOLE)

#define VA UINT64_C(0x7f1234500000)

struct guest {
	struct uiommu_context *context;
	struct uiommu_device *device;
	uint32_t ioas, parent, device_id, queue, ram;
	uint8_t *bytes;
	int fd;
	uint64_t next; /* free guest-physical page */
	bool caches, tracked;
};

static struct guest g;
static const struct uiommu_options *guest_options; /* of its context */

static inline uint8_t *at(uint64_t gpa)
{
	return g.bytes + (gpa < LOW_BYTES ? gpa : gpa - HOLE);
}

static inline uint64_t *entry_at(uint64_t gpa)
{
	return (uint64_t *)(void *)at(gpa);
}

/* Pages alternate between the pieces. */
static inline uint64_t page_new(void)
{
	uint64_t number = g.next++;

	assert_true(number < RAM_PAGES);
	return number % 2 ? HIGH_START + number / 2 * PAGE : number / 2 * PAGE;
}

static inline void map_ram(uint64_t gpa, uint64_t offset, uint64_t length)
{
	struct uiommu_ioas_map map = {
		.size = sizeof(map),
		.flags = UIOMMU_MAP_FIXED | UIOMMU_MAP_READ | UIOMMU_MAP_WRITE,
		.ioas_id = g.ioas,
		.source = UIOMMU_MAP_RAM,
		.ram_id = g.ram,
		.offset = offset,
		.iova = gpa,
		.length = length,
	};

	assert_int_equal(uiommu_ioas_map(g.context, &map), 0);
}

/* In @context. @flags: more flags of the parent. With DIRTY_TRACKING it is switched on. */
static inline void guest_make_in(struct uiommu_context *context, const struct uiommu_device_config *config, uint32_t flags,
				 uint32_t iotlb_entries, uint32_t walk_entries)
{
	struct uiommu_hwpt_alloc alloc = {.size = sizeof(alloc),
					  .type = UIOMMU_HWPT_PAGING,
					  .flags = UIOMMU_HWPT_NEST_PARENT | flags,
					  .iotlb_entries = iotlb_entries,
					  .walk_entries = walk_entries};

	g = (struct guest){.context = context,
			   .next = 1,
			   .caches = iotlb_entries != UIOMMU_IOTLB_NONE,
			   .tracked = (flags & UIOMMU_HWPT_DIRTY_TRACKING) != 0};
	g.fd = memfd_create("ram", MFD_CLOEXEC);
	assert_int_equal(ftruncate(g.fd, RAM_BYTES), 0);
	g.bytes = mmap(NULL, RAM_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, g.fd, 0);
	assert_true(g.bytes != MAP_FAILED);
	assert_int_equal(uiommu_ioas_alloc(g.context, &g.ioas), 0);
	assert_int_equal(uiommu_ram_alloc(g.context, g.fd, 0, RAM_BYTES, UIOMMU_READ | UIOMMU_WRITE, &g.ram), 0);
	map_ram(0, 0, LOW_BYTES);
	map_ram(HIGH_START, LOW_BYTES, RAM_BYTES - LOW_BYTES);
	alloc.parent_id = g.ioas;
	assert_int_equal(uiommu_hwpt_alloc(g.context, &alloc, &g.parent), 0);
	if (flags & UIOMMU_HWPT_DIRTY_TRACKING)
		assert_int_equal(uiommu_hwpt_set_dirty_tracking(g.context, g.parent, UIOMMU_DIRTY_TRACKING_ENABLE), 0);
	assert_int_equal(uiommu_fault_queue_alloc(g.context, 16, &g.queue), 0);
	assert_int_equal(uiommu_device_alloc(g.context, config, &g.device_id), 0);
	g.device = uiommu_device_get(g.context, g.device_id);
}

static inline void guest_make_sized(uint32_t flags, uint32_t iotlb_entries, uint32_t walk_entries)
{
	const struct uiommu_device_config config = {.size = sizeof(config), .rid = 8, .name = "nic", .pasid_bits = 20};
	struct uiommu_context *context;

	assert_int_equal(uiommu_open(guest_options, &context), 0);
	guest_make_in(context, &config, flags, iotlb_entries, walk_entries);
}

static inline void guest_make(uint32_t flags, uint32_t iotlb_entries)
{
	guest_make_sized(flags, iotlb_entries, 0);
}

static inline int setup(void **state)
{
	(void)state;
	guest_make(0, 0);
	return 0;
}

static inline int setup_uncached(void **state)
{
	(void)state;
	guest_make(0, UIOMMU_IOTLB_NONE);
	return 0;
}

/* What is nested must not see a difference. */
static inline int setup_tracked(void **state)
{
	(void)state;
	guest_make(UIOMMU_HWPT_DIRTY_TRACKING, 0);
	return 0;
}

static inline void guest_unmap(void)
{
	munmap(g.bytes, RAM_BYTES);
	close(g.fd);
}

static inline int teardown(void **state)
{
	(void)state;
	uiommu_device_put(g.device);
	assert_int_equal(uiommu_close(g.context), 0);
	guest_unmap();
	return 0;
}

/* The leaf of @va in tables of four levels; what leads to tables has @bits. */
static inline uint64_t *leaf_of(uint64_t root, uint64_t va, uint64_t bits)
{
	uint64_t table = root;

	for (unsigned int shift = 39; shift > 12; shift -= 9) {
		uint64_t *entry = entry_at(table) + (va >> shift & 511);

		if (!*entry)
			*entry = page_new() | bits;
		table = *entry & UINT64_C(0x000ffffffffff000);
	}
	return entry_at(table) + (va >> 12 & 511);
}

enum { FIRST_TABLE = 0x7, FIRST_PAGE = 0x7, FIRST_READ_ONLY = 0x5, ACCESSED = 0x20, DIRTY = 0x40, SECOND = 0x3 };

static inline struct uiommu_page_table first_stage(uint64_t root)
{
	return (struct uiommu_page_table){
		.format = UIOMMU_FORMAT_VTD_FIRST, .base = {root}, .levels = 4, .output_lg2 = 46, .flags = 1 | 2};
}

static inline struct uiommu_page_table second_stage(uint64_t root)
{
	return (struct uiommu_page_table){.format = UIOMMU_FORMAT_VTD_SECOND, .base = {root}, .levels = 4, .output_lg2 = 46};
}

static inline uint32_t nested_make(uint64_t first, uint64_t second)
{
	struct uiommu_hwpt_nested nested = {
		.size = sizeof(nested),
		.flags = UIOMMU_HWPT_PASID | UIOMMU_HWPT_FAULT,
		.parent_id = g.parent,
		.fault_queue_id = g.queue,
	};
	uint32_t id;

	if (first)
		nested.first = first_stage(first);
	if (second)
		nested.second = second_stage(second);
	assert_int_equal(uiommu_hwpt_alloc_nested(g.context, &nested, &id), 0);
	return id;
}

static inline void check_fault(uint64_t address, unsigned int reason, unsigned int stage, unsigned int level, bool table)
{
	struct uiommu_fault_event event;

	assert_int_equal(uiommu_fault_read(g.context, g.queue, &event, 1), 1);
	assert_int_equal(event.fault.address, address);
	assert_int_equal(event.fault.pasid, PASID);
	assert_int_equal(event.fault.reason, reason);
	assert_int_equal(event.fault.stage, stage);
	assert_int_equal(event.fault.level, level);
	assert_int_equal(event.fault.table, table);
	assert_int_equal(uiommu_fault_read(g.context, g.queue, &event, 1), 0);
}

#define IN_ALL_WAYS(test)                                                                                                          \
	cmocka_unit_test_setup_teardown(test, setup, teardown), {#test "_uncached", test, setup_uncached, teardown, NULL},         \
	{                                                                                                                          \
#test "_tracked", test, setup_tracked, teardown, NULL                                                              \
	}

#endif
