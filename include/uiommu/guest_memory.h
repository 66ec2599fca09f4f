/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A guest's memory: an IOAS that follows the memory map of a VMM.
 *
 * What is attached or bound to it (%UIOMMU_BIND_SHARED, the parents of nested HWPTs) sees each change at once, without a map call
 * of its own. A change is all or nothing, and saying a thing twice is saying it once: a VMM may repeat its whole map.
 */
#ifndef UIOMMU_GUEST_MEMORY_H
#define UIOMMU_GUEST_MEMORY_H

#include <uiommu/ioas.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * enum uiommu_guest_region_flags - flags of some memory of a guest.
 * @UIOMMU_GUEST_ON_DEMAND: its pages are supplied when they are needed: uiommu_demand_alloc()
 * @UIOMMU_GUEST_MINOR: with ON_DEMAND and without bitmap: a page of the file is present when that has been answered, not before
 */
enum uiommu_guest_region_flags {
	UIOMMU_GUEST_ON_DEMAND = 1,
	UIOMMU_GUEST_MINOR = 2,
};

/**
 * struct uiommu_guest_region - some memory of a guest. Zero what is not used.
 * @gpa: guest-physical address of the first byte
 * @length: bytes
 * @offset: of the first byte in @fd
 * @fd: memfd or file; borrowed for the call
 * @access: READ, or READ | WRITE
 * @flags: &enum uiommu_guest_region_flags
 * @demand_id: ON_DEMAND: where pages are asked for
 * @bitmap_fd: ON_DEMAND: memfd with the presence bitmap, sealed with F_SEAL_SHRINK, borrowed for the call; or -1
 * @page_lg2: ON_DEMAND: size of a page, 12 to 30, of which @gpa and @length are multiples; without bitmap that of the host
 * @bitmap_offset: ON_DEMAND: of the bitmap in @bitmap_fd, a multiple of 8
 * @reserved: 0
 */
struct uiommu_guest_region {
	uint64_t gpa;
	uint64_t length;
	uint64_t offset;
	int32_t fd;
	uint32_t access;
	uint32_t flags;
	uint32_t demand_id;
	int32_t bitmap_fd;
	uint32_t page_lg2;
	uint64_t bitmap_offset;
	uint64_t reserved;
};

/** UIOMMU_GUEST_REGIONS_MAX - how many regions one change may add, and how many ranges it may remove. */
#define UIOMMU_GUEST_REGIONS_MAX 1024

/**
 * struct uiommu_guest_memory - a change of a guest's memory.
 * @size: sizeof(struct uiommu_guest_memory)
 * @ioas_id: the IOAS
 * @remove_count: number of @remove
 * @add_count: number of @add
 * @remove: ranges whose memory goes; where there is none is no error
 * @add: regions that are there afterwards, in place of what goes
 */
struct uiommu_guest_memory {
	uint32_t size;
	uint32_t ioas_id;
	uint32_t remove_count;
	uint32_t add_count;
	const struct uiommu_range *remove;
	const struct uiommu_guest_region *add;
};

/**
 * uiommu_guest_memory_update() - change a guest's memory.
 * @context: owner of the IOAS
 * @change: what goes and what comes
 *
 * A region that is there already as it is added (same addresses, file, offset and access) stays as it is, also if it is in a range
 * to be removed: accesses do not notice. An access to an address that gets other memory meets the one or the other. When the call
 * returns, no access that used what has gone is running or will still have an effect.
 *
 * Return: 0, or, and nothing has changed,
 * -EINVAL: size, a count beyond %UIOMMU_GUEST_REGIONS_MAX, start > last, length 0, access, beyond the end of the file, no whole
 * pages where a page table needs them (%UIOMMU_HWPT_DIRTY_TRACKING), a range that a device reserves; -E2BIG; -EOVERFLOW: a sum
 * wraps;
 * -EOPNOTSUPP: unknown flag; ON_DEMAND without bitmap where there is no userfaultfd (MINOR: with minor faults), or no fault handler
 * is installed (uiommu_install_fault_handler());
 * -ENOENT: no such IOAS or demand queue, or a region is only partly in a range that is removed; -EEXIST: an added region overlaps
 * one that stays, or another one; -EADDRINUSE: memory is tracked and an added region overlaps one that goes: take two calls;
 * -EBADF, -EACCES: @fd is not open, or not for @access; -ENOMEM;
 * -EDEADLOCK: a pin was not put; -EBUSY: another thread asks for pins; -EDEADLK: inside an access or callback.
 */
UIOMMU_API int uiommu_guest_memory_update(struct uiommu_context *context, const struct uiommu_guest_memory *change);

/**
 * uiommu_demand_alloc() - make a queue of the pages that accesses wait for.
 * @context: its owner
 * @out_id: its id
 *
 * A page of on-demand memory is *absent* until it is supplied, and present from then on, for as long as the region is there. An
 * access of a device, or the walk of a guest's table for it, that needs an absent page waits for it, and nothing else does: a
 * device that can park its accesses (%UIOMMU_DMA_PARKS) goes on with others. It is no fault of the guest, which is told nothing of
 * it.
 *
 * Whoever supplies pages reads here which are waited for, and may supply others at any time. With a bitmap he writes the page, then
 * sets its bit (page n is bit n % 64 of word n / 64) by an atomic operation with release order, then answers. Without, the pages of
 * the file itself are what is present: he puts them there as a whole (UFFDIO_COPY on his own mapping) and answers; a page that
 * is written in steps would be seen half written. With MINOR he may write them as he likes, because the answer is what makes them
 * present, also those that nobody waits for; a page that the kernel has taken out of memory meanwhile may be asked for again.
 *
 * When the queue is destroyed nobody answers any more: all who wait meet a fault (%UIOMMU_FAULT_MEMORY), and so does whoever
 * needs an absent page from then on. That is what to do when a VMM has died.
 *
 * Return: 0, -EMFILE, -ENOMEM.
 */
UIOMMU_API int uiommu_demand_alloc(struct uiommu_context *context, uint32_t *out_id);

/**
 * uiommu_demand_fd() - a descriptor that is readable (poll) while there are pages to be read.
 * @context: owner
 * @id: the queue
 *
 * It belongs to the queue: do not read or close it.
 *
 * Return: the descriptor, or -ENOENT.
 */
UIOMMU_API int uiommu_demand_fd(struct uiommu_context *context, uint32_t id);

/**
 * struct uiommu_demand_page - a page that is waited for.
 * @gpa: its guest-physical address
 * @length: bytes
 */
struct uiommu_demand_page {
	uint64_t gpa;
	uint64_t length;
};

/**
 * uiommu_demand_read() - take pages that are waited for.
 * @context: owner
 * @id: the queue
 * @pages: array for them
 * @count: its size
 *
 * A page is told once, however many accesses wait for it; and again if it has been answered and is needed and absent all the same,
 * or if an access looked again because something else ended. Never blocks. Thread-safe.
 *
 * Return: number taken, 0 if there are none, -ENOENT.
 */
UIOMMU_API ssize_t uiommu_demand_read(struct uiommu_context *context, uint32_t id, struct uiommu_demand_page *pages, size_t count);

/**
 * uiommu_demand_answer() - let those go on who wait for some pages.
 * @context: owner
 * @id: the queue
 * @pages: guest-physical addresses; those that nobody waits for do not matter
 * @response: &enum uiommu_response (fault.h). SUCCESS: they are present; else whoever waits meets a fault (%UIOMMU_FAULT_MEMORY)
 *
 * Return: 0, -ENOENT, -EINVAL (start > last, bad response). Thread-safe.
 */
UIOMMU_API int uiommu_demand_answer(struct uiommu_context *context, uint32_t id, const struct uiommu_range *pages,
				    unsigned int response);

/**
 * struct uiommu_demand_stats - what has been waited for.
 * @size: sizeof(struct uiommu_demand_stats)
 * @waiting: pages that are waited for now
 * @pages: pages that have been asked for; one that several accesses have waited for at a time is one
 * @accesses: accesses that have waited, each time they have
 * @failed: pages that were answered, but not with SUCCESS
 */
struct uiommu_demand_stats {
	uint32_t size;
	uint32_t waiting;
	uint64_t pages;
	uint64_t accesses;
	uint64_t failed;
};

/**
 * uiommu_demand_stats() - read a queue's counters.
 * @context: owner
 * @id: the queue
 * @out: @out->size is in
 *
 * Return: 0, -ENOENT, -EINVAL (size). Thread-safe.
 */
UIOMMU_API int uiommu_demand_stats(struct uiommu_context *context, uint32_t id, struct uiommu_demand_stats *out);

#ifdef __cplusplus
}
#endif
#endif
