/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One device with everything behind it: an IOAS without PASID, the calling process, and another process, each with two megabytes
 * of the same pattern.
 */
#ifndef WORLD_H
#define WORLD_H

#include <sys/mman.h>
#include <uiommu/uiommu.h>

#include "target.h"
#include "traps.h"

/* The IOAS: a file, then memory of this process, then a page that can only be read, then nothing. */
#define IOVA_FILE UINT64_C(0x10000000)
#define IOVA_OWN (IOVA_FILE + FILE_BYTES)
#define IOVA_READ_ONLY (IOVA_OWN + OWN_BYTES)
enum { FILE_BYTES = 1 << 20, OWN_BYTES = 1 << 20, MEMORY_BYTES = FILE_BYTES + OWN_BYTES };

/* In both processes, besides the arena. */
#define MEMORY ((uint8_t *)0x7ea010000000)

struct world {
	struct uiommu_context *context;
	uint32_t ioas, device_id, queue;
	struct uiommu_device *device;
	uint32_t self, other; /* PASIDs */
	uint8_t *file, *own; /* behind the IOAS, as this process has them */
	int fd;
	struct child child;
	struct uiommu_process bundle;
};

static inline uint8_t world_byte(uint64_t offset)
{
	return (uint8_t)(offset * 31 + offset / 257 + 5);
}

static inline void world_fill(uint8_t *memory, size_t length)
{
	for (size_t i = 0; i < length; i++)
		memory[i] = world_byte(i);
}

static inline void world_map(struct world *w, uint32_t source, void *address, uint64_t offset, uint64_t length, uint64_t iova,
			     uint32_t flags)
{
	struct uiommu_ioas_map map = {
		.size = sizeof(map),
		.flags = flags | UIOMMU_MAP_FIXED,
		.ioas_id = w->ioas,
		.source = source,
		.address = address,
		.fd = w->fd,
		.offset = offset,
		.length = length,
		.iova = iova,
	};

	assert_int_equal(uiommu_ioas_map(w->context, &map), 0);
}

static inline void world_make_ioas(struct world *w)
{
	size_t page = page_size();

	w->fd = memfd_create("world", MFD_CLOEXEC);
	assert_int_equal(ftruncate(w->fd, FILE_BYTES + (off_t)page), 0);
	w->file = mmap(NULL, FILE_BYTES + page, PROT_READ | PROT_WRITE, MAP_SHARED, w->fd, 0);
	w->own = mmap(NULL, OWN_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	for (size_t i = 0; i < FILE_BYTES; i++)
		w->file[i] = world_byte(i);
	for (size_t i = 0; i < OWN_BYTES; i++)
		w->own[i] = world_byte(FILE_BYTES + i);
	for (size_t i = 0; i < page; i++)
		w->file[FILE_BYTES + i] = world_byte(MEMORY_BYTES + i);
	assert_int_equal(uiommu_ioas_alloc(w->context, &w->ioas), 0);
	world_map(w, UIOMMU_MAP_FILE, NULL, 0, FILE_BYTES, IOVA_FILE, UIOMMU_MAP_READ | UIOMMU_MAP_WRITE);
	world_map(w, UIOMMU_MAP_OWN, w->own, 0, OWN_BYTES, IOVA_OWN, UIOMMU_MAP_READ | UIOMMU_MAP_WRITE);
	world_map(w, UIOMMU_MAP_FILE, NULL, FILE_BYTES, page, IOVA_READ_ONLY, UIOMMU_MAP_READ);
	assert_int_equal(uiommu_attach(w->context, w->device_id, UIOMMU_NO_PASID, w->ioas), 0);
}

static inline uint32_t world_bind(struct world *w, const struct uiommu_process *process, unsigned int access)
{
	struct uiommu_bind_process payload = {.flags = process ? 0 : UIOMMU_BIND_SELF, .access = access};
	struct uiommu_bind bind = {
		.size = sizeof(bind),
		.device_id = w->device_id,
		.pasid = UIOMMU_NO_PASID,
		.type = UIOMMU_BIND_PROCESS,
		.data_len = sizeof(payload),
		.data = &payload,
		.fault_queue_id = w->queue,
	};

	if (process)
		payload.process = *process;
	assert_int_equal(uiommu_bind(w->context, &bind), 0);
	return bind.pasid;
}

/* With a child, which has the arena and the memory. */
static inline struct world *world_make(void)
{
	struct world *w = calloc(1, sizeof(*w));
	struct uiommu_device_config config = {.size = sizeof(config), .rid = 1, .name = "world", .pasid_bits = 20};

	assert_ptr_equal(
		mmap(MEMORY, MEMORY_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0),
		MEMORY);
	world_fill(MEMORY, MEMORY_BYTES);
	arena_make();
	child_start(&w->child);
	arena_drop();
	assert_int_equal(uiommu_open(NULL, &w->context), 0);
	assert_int_equal(uiommu_device_alloc(w->context, &config, &w->device_id), 0);
	assert_int_equal(uiommu_fault_queue_alloc(w->context, 64, &w->queue), 0);
	w->device = uiommu_device_get(w->context, w->device_id);
	world_make_ioas(w);
	w->self = world_bind(w, NULL, UIOMMU_READ | UIOMMU_WRITE);
	assert_int_equal(uiommu_process_open(w->child.pid, UIOMMU_READ | UIOMMU_WRITE, &w->bundle), 0);
	w->other = world_bind(w, &w->bundle, UIOMMU_READ | UIOMMU_WRITE);
	return w;
}

static inline void world_end(struct world *w)
{
	size_t page = page_size();

	uiommu_device_put(w->device);
	assert_int_equal(uiommu_close(w->context), 0);
	uiommu_process_close(&w->bundle);
	child_end(&w->child);
	munmap(w->file, FILE_BYTES + page);
	munmap(w->own, OWN_BYTES);
	munmap(MEMORY, MEMORY_BYTES);
	close(w->fd);
	free(w);
}

static inline struct uiommu_attach_stats world_stats(const struct world *w, uint32_t pasid)
{
	struct uiommu_attach_stats stats = {.size = sizeof(stats)};

	assert_int_equal(uiommu_attach_stats(w->context, w->device_id, pasid, &stats), 0);
	return stats;
}

#endif
