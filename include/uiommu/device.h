/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Devices, page tables (HWPT), and what is attached to what.
 *
 * attach: (device, PASID or no PASID) -> HWPT. A device has one table of attachments; it is looked up without locks.
 */
#ifndef UIOMMU_DEVICE_H
#define UIOMMU_DEVICE_H

#include <uiommu/ioas.h>

#ifdef __cplusplus
extern "C" {
#endif

struct uiommu_device;

/**
 * struct uiommu_device_config - a new device. Zero what is not used.
 * @size: sizeof(struct uiommu_device_config)
 * @rid: requester id (PCIe: bus, device, function)
 * @name: copied; at most 31 bytes; letters, digits, '-', '_', '.', ':'
 * @pasid_bits: width of the PASIDs it emits, 0 (none) to 20
 * @reserved_count: number of @reserved
 * @reserved: ranges no IOAS that it is attached to may map (an MSI window, a bridge); copied
 * @rid_pasid: the PASID that stands for its requests without one (VT-d RID_PASID); nothing is attached or bound to it, nor to 0
 * @reserved2: 0
 */
struct uiommu_device_config {
	uint32_t size;
	uint32_t rid;
	const char *name;
	uint32_t pasid_bits;
	uint32_t reserved_count;
	const struct uiommu_range *reserved;
	uint32_t rid_pasid;
	uint32_t reserved2;
};

/**
 * uiommu_device_alloc() - add a device to a context.
 * @context: its owner
 * @config: what it is; copied
 * @out_id: its id
 *
 * Return: 0, -EINVAL (size, name, pasid_bits, rid_pasid beyond them, no ranges, one with start > last, reserved2), -E2BIG, -EEXIST
 * (name or rid in use), -ENOMEM.
 */
UIOMMU_API int uiommu_device_alloc(struct uiommu_context *context, const struct uiommu_device_config *config, uint32_t *out_id);

/**
 * uiommu_device_get() - take a reference for the DMA calls.
 * @context: owner
 * @id: the device's id
 *
 * The device cannot be destroyed (EBUSY) until uiommu_device_put(). uiommu_close() ends the device all the same: put first.
 *
 * Return: the device, or NULL if there is none. Thread-safe.
 */
UIOMMU_API struct uiommu_device *uiommu_device_get(struct uiommu_context *context, uint32_t id);

/**
 * uiommu_device_put() - give a reference back.
 * @device: from uiommu_device_get(); NULL does nothing
 */
UIOMMU_API void uiommu_device_put(struct uiommu_device *device);

/**
 * enum uiommu_hwpt_type - what an HWPT is.
 * @UIOMMU_HWPT_PAGING: an IOAS, seen by devices
 * @UIOMMU_HWPT_NESTED: a guest's tables on a paging HWPT; made by uiommu_hwpt_alloc_nested() only (nested.h)
 * @UIOMMU_HWPT_SVA: a process's own page table; made by uiommu_bind() only
 */
enum uiommu_hwpt_type {
	UIOMMU_HWPT_PAGING,
	UIOMMU_HWPT_NESTED,
	UIOMMU_HWPT_SVA,
};

/**
 * enum uiommu_hwpt_flags - flags of an HWPT (IOMMU_HWPT_*).
 * @UIOMMU_HWPT_NEST_PARENT: may be the stage 2 of nested ones
 * @UIOMMU_HWPT_DIRTY_TRACKING: which pages are written to can be tracked (dirty.h). Its IOAS maps whole pages of 4 KiB below 2^52
 * only, as long as there is such an HWPT; devices cannot pin memory for writing through it (uiommu_dma_pin())
 * @UIOMMU_HWPT_FAULT: recoverable faults go to @fault_queue_id
 * @UIOMMU_HWPT_PASID: may be attached to PASIDs
 * @UIOMMU_HWPT_STALL: with FAULT: accesses that meet a recoverable fault and can wait stall (SMMUv3): their requests are told as
 * such, and may be answered with %UIOMMU_RESPONSE_TERMINATE
 */
enum uiommu_hwpt_flags {
	UIOMMU_HWPT_NEST_PARENT = 1,
	UIOMMU_HWPT_DIRTY_TRACKING = 2,
	UIOMMU_HWPT_FAULT = 4,
	UIOMMU_HWPT_PASID = 8,
	UIOMMU_HWPT_STALL = 16,
};

/** UIOMMU_IOTLB_NONE - cache no translations. */
#define UIOMMU_IOTLB_NONE UINT32_MAX

/**
 * struct uiommu_hwpt_alloc - a new HWPT.
 * @size: sizeof(struct uiommu_hwpt_alloc)
 * @flags: &enum uiommu_hwpt_flags
 * @type: PAGING
 * @parent_id: PAGING: the IOAS
 * @fault_queue_id: with FAULT: the queue
 * @iotlb_entries: with NEST_PARENT or DIRTY_TRACKING: how many translations are cached of it and of all that are nested on it, at
 *                 least; 0: 16384, %UIOMMU_IOTLB_NONE: none
 * @walk_entries: the same of places of page tables, so that a walk for what is not cached begins at the lowest one; 0: 4096,
 *                %UIOMMU_IOTLB_NONE: none
 */
struct uiommu_hwpt_alloc {
	uint32_t size;
	uint32_t flags;
	uint32_t type;
	uint32_t parent_id;
	uint32_t fault_queue_id;
	uint32_t iotlb_entries;
	uint32_t walk_entries;
};

/**
 * uiommu_hwpt_alloc() - make an HWPT.
 * @context: its owner
 * @alloc: what it is
 * @out_id: its id
 *
 * Return: 0, -EINVAL (size, parent of the wrong type), -E2BIG, -EOPNOTSUPP (flag or type, FAULT with NEST_PARENT, STALL without
 * FAULT, iotlb_entries or walk_entries without what has them or above 2^24), -ENOENT (no such parent or queue), -EADDRINUSE
 * (DIRTY_TRACKING: something is mapped that is not whole pages, or is mapped or allowed beyond 2^52), -ENOMEM.
 */
UIOMMU_API int uiommu_hwpt_alloc(struct uiommu_context *context, const struct uiommu_hwpt_alloc *alloc, uint32_t *out_id);

/**
 * uiommu_attach() - attach a (device, PASID) to an HWPT, or to an IOAS through an HWPT that is found or made for it.
 * @context: owner of both
 * @device_id: the device
 * @pasid: the PASID, or %UIOMMU_NO_PASID
 * @pt_id: an HWPT or an IOAS
 *
 * The PASID is bound from now on, whatever set it is in; one that is in none is the context's own as long as it is attached
 * (pasid.h).
 *
 * Return: 0, -ENOENT (no such object), -EINVAL (wrong type, PASID 0, rid_pasid or beyond the width, HWPT not for PASIDs), -EBUSY
 * (something is attached; the PASID is draining; a guest's tables stand for all PASIDs, nested.h), -EADDRINUSE (an area lies in a
 * range that the device reserves), -EOPNOTSUPP (the device has no PASIDs), -ENODEV (it has been cut off, ats.h), -EDQUOT, -ENOSPC
 * (of a mediated device: its set, or the context, has no PASID left for the vPASID), -ENOMEM, -EOWNERDEAD.
 */
UIOMMU_API int uiommu_attach(struct uiommu_context *context, uint32_t device_id, uint32_t pasid, uint32_t pt_id);

/**
 * uiommu_replace() - attach something else in one step; accesses see the old or the new one.
 * @context: owner of both
 * @device_id: the device
 * @pasid: the PASID, or %UIOMMU_NO_PASID
 * @pt_id: an HWPT or an IOAS
 *
 * When it returns nothing uses the old one any more. What a device has begun it ends in the new one. A guest's tables (nested.h)
 * are replaced, and replace, with all that they say of PASIDs.
 *
 * Return: as uiommu_attach(), but -EINVAL if nothing is attached, -ENOENT if a vPASID stands for nothing (mdev.h), and -EBUSY if a
 * bind is (bind.h), or if a guest's tables are to replace something else while PASIDs are attached; -EDEADLOCK (a pin was not put),
 * -EDEADLK (inside an access).
 */
UIOMMU_API int uiommu_replace(struct uiommu_context *context, uint32_t device_id, uint32_t pasid, uint32_t pt_id);

/**
 * uiommu_detach() - end an attachment.
 * @context: owner
 * @device_id: the device
 * @pasid: the PASID, or %UIOMMU_NO_PASID
 *
 * When it returns, no access of this (device, PASID) is running or will still have an effect.
 *
 * Return: 0 (also if nothing is attached), -ENOENT (no such device), -EINVAL (of a mediated device: no vPASID), -EBUSY (a bind is,
 * see uiommu_unbind()), -EDEADLOCK (a pin was not put; nothing has changed), -EDEADLK (inside an access or callback), -EOWNERDEAD.
 */
UIOMMU_API int uiommu_detach(struct uiommu_context *context, uint32_t device_id, uint32_t pasid);

/**
 * struct uiommu_attach_stats - what one attachment has done. Without PASID on a guest's tables: and what these had no entry for.
 * @size: sizeof(struct uiommu_attach_stats)
 * @hwpt_id: what is attached
 * @bytes_read: by the device
 * @bytes_written: by the device
 * @faults: accesses that failed with a record
 * @discarded: accesses that failed without one because the attachment was draining
 * @walks: translations that were not cached and were looked for in a guest's page tables
 * @entries_read: page-table entries that were read for them, of all stages
 * @walks_below_top: how many of them began below the top table, because it was cached where
 */
struct uiommu_attach_stats {
	uint32_t size;
	uint32_t hwpt_id;
	uint64_t bytes_read;
	uint64_t bytes_written;
	uint64_t faults;
	uint64_t discarded;
	uint64_t walks;
	uint64_t entries_read;
	uint64_t walks_below_top;
};

/**
 * uiommu_attach_stats() - read an attachment's counters.
 * @context: owner
 * @device_id: the device
 * @pasid: the PASID, or %UIOMMU_NO_PASID
 * @out: @out->size is in
 *
 * Return: 0, -ENOENT (no device, or nothing attached), -EINVAL (size; of a mediated device: no vPASID). Thread-safe.
 */
UIOMMU_API int uiommu_attach_stats(struct uiommu_context *context, uint32_t device_id, uint32_t pasid,
				   struct uiommu_attach_stats *out);

#ifdef __cplusplus
}
#endif
#endif
