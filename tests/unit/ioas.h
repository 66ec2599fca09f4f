/* SPDX-License-Identifier: BSD-3-Clause */
/* A context with two IOASes, a device that is attached to the first one, and memory with a pattern. */
#ifndef TESTS_UNIT_IOAS_H
#define TESTS_UNIT_IOAS_H

#include "test.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <uiommu/uiommu.h>
#include <unistd.h>

#include "util/util.h"

enum { RW = UIOMMU_MAP_READ | UIOMMU_MAP_WRITE, FIXED = UIOMMU_MAP_FIXED };

struct world {
	struct uiommu_context *context;
	uint32_t ioas, other, device_id;
	struct uiommu_device *device;
	uint64_t page;
	uint8_t *memory; /* 64 pages */
};

enum { MEMORY_PAGES = 64 };

static inline int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));
	struct uiommu_device_config config = {.size = sizeof(config), .rid = 8, .name = "dma0", .pasid_bits = 8};

	w->page = page_size();
	assert_int_equal(uiommu_open(NULL, &w->context), 0);
	assert_int_equal(uiommu_ioas_alloc(w->context, &w->ioas), 0);
	assert_int_equal(uiommu_ioas_alloc(w->context, &w->other), 0);
	assert_int_equal(uiommu_device_alloc(w->context, &config, &w->device_id), 0);
	w->device = uiommu_device_get(w->context, w->device_id);
	assert_non_null(w->device);
	assert_int_equal(uiommu_attach(w->context, w->device_id, UIOMMU_NO_PASID, w->ioas), 0);
	w->memory = mmap(NULL, MEMORY_PAGES * w->page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(w->memory, MAP_FAILED);
	for (uint64_t i = 0; i < MEMORY_PAGES * w->page; i++)
		w->memory[i] = (uint8_t)(i * 7 + i / w->page);
	*state = w;
	return 0;
}

static inline int teardown(void **state)
{
	struct world *w = *state;

	uiommu_device_put(w->device);
	assert_int_equal(uiommu_close(w->context), 0);
	munmap(w->memory, MEMORY_PAGES * w->page);
	free(w);
	return 0;
}

static inline struct uiommu_ioas_map own(const struct world *w, uint32_t flags, uint64_t offset, uint64_t length, uint64_t iova)
{
	return (struct uiommu_ioas_map){
		.size = sizeof(struct uiommu_ioas_map),
		.flags = flags,
		.ioas_id = w->ioas,
		.address = w->memory + offset,
		.length = length,
		.iova = iova,
	};
}

static inline void map_fixed(struct world *w, uint64_t offset, uint64_t length, uint64_t iova)
{
	struct uiommu_ioas_map map = own(w, RW | FIXED, offset, length, iova);

	assert_int_equal(uiommu_ioas_map(w->context, &map), 0);
}

static inline int unmap(struct world *w, uint64_t iova, uint64_t length)
{
	return uiommu_ioas_unmap(w->context, w->ioas, iova, length, NULL);
}

static inline int device_read(struct world *w, uint64_t iova, void *buffer, size_t length, struct uiommu_dma_result *result)
{
	return uiommu_dma_read(w->device, UIOMMU_NO_PASID, iova, buffer, length, result);
}

/* The device sees at @iova what lies at @offset of the memory. */
static inline void assert_reads(struct world *w, uint64_t iova, uint64_t offset, size_t length)
{
	uint8_t *buffer = malloc(length);

	assert_int_equal(device_read(w, iova, buffer, length, NULL), 0);
	assert_memory_equal(buffer, w->memory + offset, length);
	free(buffer);
}

static inline void assert_fault(struct world *w, uint64_t iova, unsigned int reason)
{
	struct uiommu_dma_result result;
	uint8_t byte;

	assert_int_equal(device_read(w, iova, &byte, 1, &result), -EFAULT);
	assert_int_equal(result.fault.reason, reason);
	assert_int_equal(result.fault.address, iova);
}

static inline int memfd(uint64_t size)
{
	int fd = memfd_create("ioas", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)size), 0);
	return fd;
}

#define WORLD(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

#endif
