/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Dirty tracking: which pages of a paging HWPT its devices have written to (IOMMU_HWPT_SET_DIRTY_TRACKING and
 * IOMMU_HWPT_GET_DIRTY_BITMAP).
 *
 * The HWPT was made with %UIOMMU_HWPT_DIRTY_TRACKING. What is tracked is writes and atomics of the devices that are attached to it,
 * and, if it is a nest parent, of those that are attached to what is nested on it, by guest-physical address; accessed and dirty
 * bits that are set in the guest's tables are writes, too. Writes through other HWPTs of the IOAS are not.
 *
 * While tracking is off nothing is kept of writes, and it costs nothing. While it is on, there is a page table of 4 KiB pages:
 * 8 bytes for each page that is mapped, up to 2 GiB, that is 1 TiB mapped; what is mapped beyond that is tracked by the largest
 * pages of 4 KiB, 2 MiB and 1 GiB that fit.
 */
#ifndef UIOMMU_DIRTY_H
#define UIOMMU_DIRTY_H

#include <uiommu/device.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * enum uiommu_dirty_tracking_flags - flags of uiommu_hwpt_set_dirty_tracking() (IOMMU_HWPT_DIRTY_TRACKING_*).
 * @UIOMMU_DIRTY_TRACKING_ENABLE: switch it on; otherwise off
 */
enum uiommu_dirty_tracking_flags {
	UIOMMU_DIRTY_TRACKING_ENABLE = 1,
};

/**
 * uiommu_hwpt_set_dirty_tracking() - switch dirty tracking on or off.
 * @context: owner
 * @hwpt_id: a paging HWPT with %UIOMMU_HWPT_DIRTY_TRACKING
 * @flags: &enum uiommu_dirty_tracking_flags
 *
 * On: everything is clean first, also if it is on already. Every write that begins after the return is tracked.
 *
 * Return: 0, -EOPNOTSUPP (flags; HWPT without DIRTY_TRACKING), -ENOENT (no such paging HWPT), -EDEADLK (inside an access or
 * callback), -ENOMEM (it is off as before). Thread-safe.
 */
UIOMMU_API int uiommu_hwpt_set_dirty_tracking(struct uiommu_context *context, uint32_t hwpt_id, uint32_t flags);

/**
 * enum uiommu_dirty_bitmap_flags - flags of uiommu_hwpt_get_dirty_bitmap() (IOMMU_HWPT_GET_DIRTY_BITMAP_*).
 * @UIOMMU_DIRTY_BITMAP_NO_CLEAR: what is dirty stays so; for memory that is to be unmapped next
 */
enum uiommu_dirty_bitmap_flags {
	UIOMMU_DIRTY_BITMAP_NO_CLEAR = 1,
};

/**
 * struct uiommu_dirty_bitmap - what uiommu_hwpt_get_dirty_bitmap() is asked for.
 * @size: sizeof(struct uiommu_dirty_bitmap)
 * @flags: &enum uiommu_dirty_bitmap_flags
 * @hwpt_id: a paging HWPT with %UIOMMU_HWPT_DIRTY_TRACKING
 * @reserved: 0
 * @iova: first byte; a multiple of 4096 and of @page_size
 * @length: bytes; the end of the range is a multiple of 4096 and of @page_size, too
 * @page_size: bytes that one bit stands for; a power of two
 * @bitmap: page n of the range is bit n % 64 of word n / 64. Bits are only set; the caller has cleared what he wants to be clear
 */
struct uiommu_dirty_bitmap {
	uint32_t size;
	uint32_t flags;
	uint32_t hwpt_id;
	uint32_t reserved;
	uint64_t iova;
	uint64_t length;
	uint64_t page_size;
	uint64_t *bitmap;
};

/**
 * uiommu_hwpt_get_dirty_bitmap() - which pages have been written to, and from now on they are clean.
 * @context: owner
 * @request: what is asked for; @request->bitmap is written
 *
 * A bit is set if any of its bytes lies in a page that is mapped and dirty; of what is not mapped nothing is set, and nothing is
 * known of memory that was unmapped. A page that reaches beyond the range is told, but stays dirty.
 *
 * Nothing gets lost: a write that was over before the call, in a page that was mapped, is told by it. One that runs meanwhile is
 * told by this call or the next one; if only by this one it is over before the return, so that the page can be copied then. Of a
 * nest parent, memory that is mapped with WRITE while tracking is on is dirty from the start.
 *
 * Return: 0, -EINVAL (size, length 0, no bitmap, page_size, iova or the end not aligned, tracking is off), -E2BIG, -EOPNOTSUPP
 * (flags, reserved; HWPT without DIRTY_TRACKING), -ENOENT (no such paging HWPT), -EOVERFLOW (iova + length wraps), -EDEADLK (inside
 * an access or callback). Nothing has been cleared then. Thread-safe; each dirty page is told to one of several callers.
 */
UIOMMU_API int uiommu_hwpt_get_dirty_bitmap(struct uiommu_context *context, const struct uiommu_dirty_bitmap *request);

#ifdef __cplusplus
}
#endif
#endif
