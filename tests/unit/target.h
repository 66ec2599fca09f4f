/* SPDX-License-Identifier: BSD-3-Clause */
/* A live process with memory of every kind, and its handle. Tests run once for every way there is to get at it. */
#ifndef TARGET_H
#define TARGET_H

#include <fcntl.h>
#include <sys/mman.h>
#include <uiommu/bind.h>

#include "child.h"
#include "memory/process.h"
#include "util/util.h"

enum { RW = UIOMMU_READ | UIOMMU_WRITE };

/* One page each, from ARENA on. */
enum {
	PLAIN,
	PLAIN_2,
	HOLE,
	PLAIN_3,
	NO_ACCESS,
	PRIVATE_READ_ONLY,
	SHARED_READ_ONLY,
	FILE_READ_ONLY, /* private mapping of a file */
	BEYOND_FILE,
	EXEC_ONLY,
	PLAIN_4,
	PAGES,
};

/* Where nothing ever is: below what the kernel hands out, and in the range that ThreadSanitizer leaves to programs. */
#define ARENA ((uint8_t *)0x7ea000000000)
#define PAGE(n) (ARENA + (size_t)(n)*page_size())

static const unsigned int ways[] __attribute__((unused)) = {
	0,
	UIOMMU_WITHOUT_PROCMAP_QUERY,
	UIOMMU_WITHOUT_PROCESS_VM,
	UIOMMU_WITHOUT_FORCE_OVERRIDE,
	UIOMMU_WITHOUT_PERF_EVENT,
	UIOMMU_WITHOUT_PROCMAP_QUERY | UIOMMU_WITHOUT_PROCESS_VM | UIOMMU_WITHOUT_FORCE_OVERRIDE | UIOMMU_WITHOUT_PERF_EVENT,
};

static inline uint8_t pattern(size_t offset)
{
	return (uint8_t)(offset * 13 + offset / 256 + 1);
}

static inline void map_page(int page, int protection, int flags, int fd)
{
	assert_ptr_equal(mmap(PAGE(page), page_size(), protection, flags | MAP_FIXED, fd, 0), PAGE(page));
}

static inline void arena_make(void)
{
	int fd = memfd_create("arena", MFD_CLOEXEC);
	size_t page = page_size();

	assert_int_equal(ftruncate(fd, (off_t)page), 0);
	assert_ptr_equal(mmap(ARENA, PAGES * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0), ARENA);
	map_page(SHARED_READ_ONLY, PROT_READ | PROT_WRITE, MAP_SHARED, fd);
	for (size_t i = 0; i < PAGES * page; i++)
		ARENA[i] = pattern(i);
	map_page(FILE_READ_ONLY, PROT_READ, MAP_PRIVATE, fd);
	assert_int_equal(munmap(PAGE(HOLE), page), 0);
	assert_int_equal(mprotect(PAGE(NO_ACCESS), page, PROT_NONE), 0);
	assert_int_equal(mprotect(PAGE(PRIVATE_READ_ONLY), page, PROT_READ), 0);
	assert_int_equal(mprotect(PAGE(SHARED_READ_ONLY), page, PROT_READ), 0);
	assert_int_equal(mprotect(PAGE(EXEC_ONLY), page, PROT_EXEC), 0);
	close(fd);
	fd = memfd_create("empty", MFD_CLOEXEC);
	map_page(BEYOND_FILE, PROT_READ | PROT_WRITE, MAP_SHARED, fd);
	close(fd);
}

static inline void arena_drop(void)
{
	munmap(ARENA, PAGES * page_size());
}

/* A child with an arena, and its memory. */
struct target {
	struct child child;
	struct uiommu_process bundle;
	struct process *process;
};

static inline void target_start(struct target *target, unsigned int access, unsigned int without)
{
	arena_make();
	child_start(&target->child);
	arena_drop();
	assert_int_equal(uiommu_process_open(target->child.pid, access, &target->bundle), 0);
	assert_int_equal(process_open(&target->bundle, access, without, &target->process), 0);
}

static inline void target_end(struct target *target)
{
	process_close(target->process);
	uiommu_process_close(&target->bundle);
	child_end(&target->child);
}

static inline size_t read_one(struct process *process, const void *address, void *buffer, size_t length, unsigned int *reason)
{
	struct process_piece piece = {.address = (uintptr_t)address, .buffer = buffer, .length = length};

	process_readv(process, &piece, 1);
	*reason = piece.reason;
	return piece.done;
}

static inline size_t write_one(struct process *process, const void *address, const void *data, size_t length, unsigned int *reason)
{
	*reason = 0;
	return process_write(process, (uintptr_t)address, data, length, reason);
}

/* In the child: does PLAIN..PLAIN_2 hold @argument everywhere? */
static inline long holds(uintptr_t argument)
{
	for (size_t i = 0; i < 2 * page_size(); i++)
		if (ARENA[i] != argument)
			return (long)i + 1;
	return 0;
}

static inline long fill_plain(uintptr_t argument)
{
	memset(ARENA, (int)argument, 2 * page_size());
	return 0;
}

#endif
