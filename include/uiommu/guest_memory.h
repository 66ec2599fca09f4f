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
 * struct uiommu_guest_region - some memory of a guest.
 * @gpa: guest-physical address of the first byte
 * @length: bytes
 * @offset: of the first byte in @fd
 * @fd: memfd or file; borrowed for the call
 * @access: READ, or READ | WRITE
 */
struct uiommu_guest_region {
	uint64_t gpa;
	uint64_t length;
	uint64_t offset;
	int32_t fd;
	uint32_t access;
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
 * to be removed: accesses do not notice. An access to an address that gets other memory may meet neither for a moment, which is a
 * fault. When the call returns, no access that used what has gone is running or will still have an effect.
 *
 * Return: 0, or, and nothing has changed,
 * -EINVAL: size, a count beyond %UIOMMU_GUEST_REGIONS_MAX, start > last, length 0, access, beyond the end of the file, no whole
 * pages where a page table needs them (%UIOMMU_HWPT_DIRTY_TRACKING), a range that a device reserves; -E2BIG; -EOVERFLOW: a sum
 * wraps;
 * -ENOENT: no such IOAS, or a region is only partly in a range that is removed; -EEXIST: an added region overlaps one that stays,
 * or another one; -EADDRINUSE: memory is tracked and an added region overlaps one that goes: take two calls;
 * -EBADF, -EACCES: @fd is not open, or not for @access; -ENOMEM;
 * -EDEADLOCK: a pin was not put; -EBUSY: another thread asks for pins; -EDEADLK: inside an access or callback.
 */
UIOMMU_API int uiommu_guest_memory_update(struct uiommu_context *context, const struct uiommu_guest_memory *change);

#ifdef __cplusplus
}
#endif
#endif
