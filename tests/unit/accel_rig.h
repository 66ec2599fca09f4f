/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the accelerator's tests run on: a device with three address spaces (PASID 5, PASID 6, no PASID), each a few areas of this
 * process's memory with a hole and a read-only page, an engine without a thread, and a dedicated queue on PASID 5.
 */
#ifndef ACCEL_RIG_H
#define ACCEL_RIG_H

#include <stdbool.h>
#include <sys/mman.h>
#include <uiommu/uiommu.h>

#include "test.h"

enum {
	RIG_PAGE = 4096,
	RIG_PAGES = 2048,
	RIG_HOLE = 16, /* page of each space that is not mapped */
	RIG_READ_ONLY = 24,
	RIG_RECORDS = 4096,
	RIG_PASID = 5,
	RIG_OTHER = 6,
	RIG_WRONG = 7, /* nothing attached */
};

#define RIG_BASE UINT64_C(0x100000)
#define RIG_RECORD_BASE UINT64_C(0x40000000)
#define RIG_RECORD (UIOMMU_ACCEL_RECORD_VALID | UIOMMU_ACCEL_REQUEST_RECORD)

enum rig_space {
	RIG_MAIN,
	RIG_SECOND,
	RIG_RID,
	RIG_SPACES,
};

struct rig {
	struct uiommu_context *context;
	uint32_t device;
	uint32_t faults;
	uint32_t ioas[RIG_SPACES];
	uint8_t *memory[RIG_SPACES];
	struct uiommu_accel_record *records; /* mapped in the main space at RIG_RECORD_BASE */
	struct uiommu_accel *accel;
	struct uiommu_queue *queue;
};

static inline uint64_t rig_at(unsigned int page, unsigned int offset)
{
	return RIG_BASE + (uint64_t)page * RIG_PAGE + offset;
}

static inline uint8_t *rig_memory(struct rig *rig, enum rig_space space, uint64_t address)
{
	return rig->memory[space] + (address - RIG_BASE);
}

static inline uint64_t rig_record_address(unsigned int index)
{
	return RIG_RECORD_BASE + index * sizeof(struct uiommu_accel_record);
}

static inline void rig_map(struct rig *rig, enum rig_space space, uint64_t iova, void *memory, uint64_t length, uint32_t access)
{
	struct uiommu_ioas_map map = {
		.size = sizeof(map),
		.flags = UIOMMU_MAP_FIXED | access,
		.ioas_id = rig->ioas[space],
		.source = UIOMMU_MAP_OWN,
		.address = memory,
		.length = length,
		.iova = iova,
	};

	assert_int_equal(uiommu_ioas_map(rig->context, &map), 0);
}

static inline void rig_map_pages(struct rig *rig, enum rig_space space, unsigned int first, unsigned int end, uint32_t access)
{
	rig_map(rig, space, rig_at(first, 0), rig->memory[space] + (size_t)first * RIG_PAGE, (uint64_t)(end - first) * RIG_PAGE,
		access);
}

static inline void *rig_alloc(size_t size)
{
	void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	assert_ptr_not_equal(memory, MAP_FAILED);
	return memory;
}

static inline void rig_space(struct rig *rig, enum rig_space space, uint32_t pasid, uint32_t flags)
{
	struct uiommu_hwpt_alloc hwpt = {
		.size = sizeof(hwpt), .flags = flags, .type = UIOMMU_HWPT_PAGING, .fault_queue_id = rig->faults};
	uint32_t hwpt_id;

	assert_int_equal(uiommu_ioas_alloc(rig->context, &rig->ioas[space]), 0);
	rig->memory[space] = rig_alloc((size_t)RIG_PAGES * RIG_PAGE);
	rig_map_pages(rig, space, 0, RIG_HOLE, UIOMMU_MAP_READ | UIOMMU_MAP_WRITE);
	rig_map_pages(rig, space, RIG_HOLE + 1, RIG_READ_ONLY, UIOMMU_MAP_READ | UIOMMU_MAP_WRITE);
	rig_map_pages(rig, space, RIG_READ_ONLY, RIG_READ_ONLY + 1, UIOMMU_MAP_READ);
	rig_map_pages(rig, space, RIG_READ_ONLY + 1, RIG_PAGES, UIOMMU_MAP_READ | UIOMMU_MAP_WRITE);
	hwpt.parent_id = rig->ioas[space];
	assert_int_equal(uiommu_hwpt_alloc(rig->context, &hwpt, &hwpt_id), 0);
	assert_int_equal(uiommu_attach(rig->context, rig->device, pasid, hwpt_id), 0);
}

static inline struct uiommu_queue *rig_queue(struct rig *rig, uint32_t flags, uint32_t entries)
{
	struct uiommu_queue_config config = {.size = sizeof(config), .flags = flags, .entries = entries, .pasid = RIG_PASID};
	struct uiommu_queue *queue;

	assert_int_equal(uiommu_accel_queue(rig->accel, &config, &queue), 0);
	return queue;
}

static inline int rig_setup(void **state)
{
	struct uiommu_device_config device = {.size = sizeof(device), .rid = 8, .name = "accel0", .pasid_bits = 20};
	struct rig *rig = calloc(1, sizeof(*rig));

	assert_non_null(rig);
	assert_int_equal(uiommu_open(NULL, &rig->context), 0);
	assert_int_equal(uiommu_device_alloc(rig->context, &device, &rig->device), 0);
	assert_int_equal(uiommu_fault_queue_alloc(rig->context, 1024, &rig->faults), 0);
	rig_space(rig, RIG_MAIN, RIG_PASID, UIOMMU_HWPT_PASID | UIOMMU_HWPT_FAULT);
	rig_space(rig, RIG_SECOND, RIG_OTHER, UIOMMU_HWPT_PASID);
	rig_space(rig, RIG_RID, UIOMMU_NO_PASID, UIOMMU_HWPT_PASID);
	rig->records = rig_alloc(RIG_RECORDS * sizeof(*rig->records));
	rig_map(rig, RIG_MAIN, RIG_RECORD_BASE, rig->records, RIG_RECORDS * sizeof(*rig->records),
		UIOMMU_MAP_READ | UIOMMU_MAP_WRITE);
	assert_int_equal(uiommu_accel_create(rig->context, rig->device, &rig->accel), 0);
	rig->queue = rig_queue(rig, 0, 64);
	*state = rig;
	return 0;
}

static inline int rig_teardown(void **state)
{
	struct rig *rig = *state;

	uiommu_accel_destroy(rig->accel);
	uiommu_close(rig->context);
	for (unsigned int i = 0; i < RIG_SPACES; i++)
		munmap(rig->memory[i], (size_t)RIG_PAGES * RIG_PAGE);
	munmap(rig->records, RIG_RECORDS * sizeof(*rig->records));
	free(rig);
	return 0;
}

static inline struct uiommu_accel_desc rig_desc(unsigned int opcode, uint32_t flags, unsigned int record)
{
	return (struct uiommu_accel_desc){
		.flags_opcode = opcode << 24 | flags,
		.completion_address = rig_record_address(record),
	};
}

static inline struct uiommu_accel_desc rig_move(uint64_t destination, uint64_t source, uint32_t size, unsigned int record)
{
	struct uiommu_accel_desc desc = rig_desc(UIOMMU_ACCEL_MEMMOVE, RIG_RECORD, record);

	desc.destination = destination;
	desc.source = source;
	desc.transfer_size = size;
	return desc;
}

static inline void rig_submit(struct uiommu_queue *queue, const struct uiommu_accel_desc *desc)
{
	assert_int_equal(uiommu_queue_submit(queue, desc), 0);
}

static inline void rig_poll(struct rig *rig)
{
	while (uiommu_accel_poll(rig->accel, 64))
		;
}

/* Submit to @queue, poll until nothing is left to do, and give the record that the descriptor names. */
static inline struct uiommu_accel_record *rig_run_on(struct rig *rig, struct uiommu_queue *queue,
						     const struct uiommu_accel_desc *desc)
{
	struct uiommu_accel_record *record = &rig->records[(desc->completion_address - RIG_RECORD_BASE) / sizeof(*record)];

	memset(record, 0, sizeof(*record));
	rig_submit(queue, desc);
	rig_poll(rig);
	return record;
}

static inline struct uiommu_accel_record *rig_run(struct rig *rig, const struct uiommu_accel_desc *desc)
{
	return rig_run_on(rig, rig->queue, desc);
}

/* An engine's thread may be at the status still, for ThreadSanitizer at least: it is an atomic. */
static inline unsigned int rig_status(const struct uiommu_accel_record *record)
{
	return __atomic_load_n(&record->status, __ATOMIC_ACQUIRE);
}

static inline void rig_expect(const struct uiommu_accel_record *record, unsigned int status, unsigned int result, uint64_t bytes,
			      uint64_t fault_address, uint64_t value)
{
	const struct uiommu_accel_record expected = {
		.result = (uint8_t)result,
		.bytes_completed = (uint32_t)bytes,
		.fault_address = fault_address,
		.value = value,
	};

	assert_int_equal(rig_status(record), status);
	assert_memory_equal((const uint8_t *)record + 1, (const uint8_t *)&expected + 1, sizeof(expected) - 1);
}

static inline void rig_scramble(struct rig *rig, uint64_t seed)
{
	for (unsigned int i = 0; i < RIG_SPACES; i++)
		for (size_t at = 0; at < (size_t)RIG_PAGES * RIG_PAGE; at += sizeof(uint64_t)) {
			uint64_t value = random_number(&seed);

			memcpy(rig->memory[i] + at, &value, sizeof(value));
		}
}

/* The request that is waiting now: nothing else was told of the fault. */
static inline struct uiommu_fault_event next_request(struct rig *rig)
{
	struct uiommu_fault_event event;

	assert_int_equal(uiommu_fault_read(rig->context, rig->faults, &event, 1), 1);
	assert_int_not_equal(event.cookie, 0);
	return event;
}

static inline void respond(struct rig *rig, const struct uiommu_fault_event *event, unsigned int response)
{
	assert_int_equal(uiommu_fault_respond(rig->context, rig->faults, event->cookie, response), 0);
	rig_poll(rig);
}

#endif
