/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ATS: devices that keep translations (PCIe 6.0, 10.2 to 10.4).
 *
 * A device asks for a translation (uiommu_ats_translate()), keeps it in a cache of its own, the ATC, and then makes *translated*
 * accesses (%UIOMMU_DMA_TRANSLATED) with the address that it got. Before an unmap, detach, unbind, replace or invalidation of what
 * the device has kept returns, the device is asked to forget it, and has said that it has.
 *
 * A translated access names the same PASID as the request did, and its address is where the page tables lead to: guest-physical if
 * they are a guest's, otherwise the input address. It is let through only while ATS is enabled for the device, and reaches nothing
 * but what is mapped there at that moment, with no more access than the attachment and the mapping permit. So a device that forgets
 * to forget cannot reach memory that has been unmapped.
 *
 * uiommu_atc_create() makes a ready-made ATC for devices that do not want to keep one themselves.
 */
#ifndef UIOMMU_ATS_H
#define UIOMMU_ATS_H

#include <uiommu/dma.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * enum uiommu_ats_invalidation_flags - what an invalidation is about.
 * @UIOMMU_ATS_GLOBAL: of all PASIDs, and of requests without one (PCIe 6.0, 10.3.8)
 */
enum uiommu_ats_invalidation_flags {
	UIOMMU_ATS_GLOBAL = 1,
};

/**
 * struct uiommu_ats_invalidation - what a device has to forget.
 * @start: first input address
 * @last: last one; 0 and UINT64_MAX are all. A kept translation of which one byte lies inside has to go
 * @pasid: of this PASID; %UIOMMU_NO_PASID: of requests without; ignored with GLOBAL
 * @flags: &enum uiommu_ats_invalidation_flags
 */
struct uiommu_ats_invalidation {
	uint64_t start;
	uint64_t last;
	uint32_t pasid;
	uint32_t flags;
};

/**
 * struct uiommu_ats_ops - what is asked of a device.
 * @invalidate: forget @what, wait until no access with what was forgotten is running, and then say so with @tag:
 *              uiommu_ats_invalidated(), from here or later from any thread. Called with no lock held, from whatever thread takes
 *              the translation away; several may be under way. Nothing that waits for accesses may be called from it (EDEADLK)
 */
struct uiommu_ats_ops {
	void (*invalidate)(void *opaque, uint32_t tag, const struct uiommu_ats_invalidation *what);
};

/**
 * struct uiommu_ats_config - how a device does ATS. Zero what is not used.
 * @size: sizeof(struct uiommu_ats_config)
 * @timeout_ms: a device that has not completed an invalidation after so long is cut off; 0: it is waited for
 * @ops: stays valid until uiommu_ats_disable()
 * @opaque: first argument of them
 */
struct uiommu_ats_config {
	uint32_t size;
	uint32_t timeout_ms;
	const struct uiommu_ats_ops *ops;
	void *opaque;
};

/**
 * uiommu_ats_enable() - a device begins to do ATS.
 * @device: from uiommu_device_get()
 * @config: how; copied
 *
 * It counts for all that is attached to the device, now and later, with every PASID. Of a guest's tables, the device's entry has to
 * permit it besides.
 *
 * A device that is *cut off*, because it did not complete an invalidation in time, is not waited for any more. Its accesses fail
 * without a record, nothing can be attached to it, and so it stays until uiommu_ats_disable(), which stands for a reset. What was
 * attached then has to be detached first and attached again. Invalidations are completed when its translated accesses have ended.
 *
 * Return: 0, -EINVAL (size, ops), -E2BIG, -EBUSY (it is enabled already, or is just ending), -EMFILE, -EAGAIN (no thread for the
 * timeout). Thread-safe.
 */
UIOMMU_API int uiommu_ats_enable(struct uiommu_device *device, const struct uiommu_ats_config *config);

/**
 * uiommu_ats_disable() - it does so no more.
 * @device: from uiommu_device_get()
 *
 * The ATC is taken to be empty then: invalidations that have not been completed are. When this returns nobody is inside of the ops,
 * and no translated access is running or will have an effect.
 *
 * Return: 0 (also if it was not enabled), -EDEADLK (inside an access or callback). Thread-safe.
 */
UIOMMU_API int uiommu_ats_disable(struct uiommu_device *device);

/**
 * uiommu_ats_invalidated() - the device has done what it was asked for.
 * @device: from uiommu_device_get()
 * @tag: from uiommu_ats_ops.invalidate
 *
 * What waited for it may go on in the calling thread. Not from uiommu_ats_request.keep.
 *
 * Return: 0, -EINVAL (nothing with this tag is waited for, or not any more). Thread-safe.
 */
UIOMMU_API int uiommu_ats_invalidated(struct uiommu_device *device, uint32_t tag);

/**
 * enum uiommu_ats_completion_flags - flags of a completion.
 * @UIOMMU_ATS_UNTRANSLATED_ONLY: accesses have to be untranslated ones: there is nothing to keep (U). So it is with the memory of
 *                                a process, which its kernel looks at each time
 */
enum uiommu_ats_completion_flags {
	UIOMMU_ATS_UNTRANSLATED_ONLY = 1,
};

/**
 * struct uiommu_ats_completion - the answer to a translation request (PCIe 6.0, 10.2.3).
 * @address: translated address of the block, aligned to its size
 * @size_lg2: the block: 1 << size_lg2 bytes around the address that was asked for, aligned to their number; 12 at least
 * @access: what may be done there, &enum uiommu_access; 0: nothing, perhaps there is no such page. EXEC only if it was asked for
 * @flags: &enum uiommu_ats_completion_flags
 * @reserved: 0
 */
struct uiommu_ats_completion {
	uint64_t address;
	uint8_t size_lg2;
	uint8_t access;
	uint16_t flags;
	uint32_t reserved;
};

/**
 * struct uiommu_ats_request - a translation request (PCIe 6.0, 10.2.2).
 * @address: input address
 * @pasid: PASID, or %UIOMMU_NO_PASID
 * @access: &enum uiommu_access. Without WRITE the device promises not to write (NW): no dirty bit is set, and WRITE is not granted.
 *          With it, WRITE is granted only after the dirty bit has been set, where there is one
 * @keep: take the completion into the ATC; may be NULL. It is called before anybody can ask for what it says to be forgotten, and
 *        inside a read section: it must not wait, and may call nothing of this library
 * @opaque: first argument of @keep
 */
struct uiommu_ats_request {
	uint64_t address;
	uint32_t pasid;
	uint32_t access;
	void (*keep)(void *opaque, const struct uiommu_ats_completion *completion);
	void *opaque;
};

/**
 * uiommu_ats_translate() - ask for a translation.
 * @device: from uiommu_device_get()
 * @request: what is asked for
 * @out: the completion; written on success
 *
 * Nothing is recorded of a page that is not there or does not permit the access: it is a completion without that access, and the
 * device may ask for the page (uiommu_dma_page_request()).
 *
 * Return: 0, -EINVAL (access), -EOPNOTSUPP (Unsupported Request: ATS is not enabled, or not for this PASID, or nothing is
 * attached), -EFAULT (Completer Abort: a table is malformed or cannot be read; the fault has been told). Thread-safe.
 */
UIOMMU_API int uiommu_ats_translate(struct uiommu_device *device, const struct uiommu_ats_request *request,
				    struct uiommu_ats_completion *out);

/**
 * uiommu_ats_invalidate() - ask a device to forget: what a guest's own command does (VT-d 6.5.2.5, SMMUv3 CMD_ATC_INV).
 * @context: owner
 * @device_id: the device
 * @what: what to forget
 * @done: called once, with no lock held: 0, or -ETIMEDOUT (the device has been cut off). From whatever thread completes it, perhaps
 *        before this returns; may be NULL
 * @opaque: first argument of @done
 *
 * uiommu_hwpt_invalidate() asks devices by itself, unless it is told not to (%UIOMMU_INVALIDATE_KEEP_ATC).
 *
 * Return: 0, -ENOENT (no such device), -EINVAL (start > last, flags, PASID), -EOPNOTSUPP (ATS is not enabled), -ENOMEM; @done is
 * not called then. Thread-safe.
 */
UIOMMU_API int uiommu_ats_invalidate(struct uiommu_context *context, uint32_t device_id, const struct uiommu_ats_invalidation *what,
				     void (*done)(void *opaque, int error), void *opaque);

struct uiommu_atc;

/**
 * uiommu_atc_create() - a ready-made ATC; enables ATS for the device.
 * @device: from uiommu_device_get(); the ATC takes a reference of its own
 * @entries: how many translations it keeps, at least; 0: none; at most 2^20
 * @timeout_ms: as in struct uiommu_ats_config
 * @out: the ATC
 *
 * Return: 0, -EINVAL (entries), -EBUSY (ATS is enabled already, or is just ending), -ENOMEM, -EMFILE, -EAGAIN (no
 * thread for the timeout). Thread-safe.
 */
UIOMMU_API int uiommu_atc_create(struct uiommu_device *device, uint32_t entries, uint32_t timeout_ms, struct uiommu_atc **out);

/**
 * uiommu_atc_destroy() - end it, and disable ATS.
 * @atc: not in use by another thread; NULL does nothing
 *
 * Return: 0, -EDEADLK (inside an access or callback; nothing has changed).
 */
UIOMMU_API int uiommu_atc_destroy(struct uiommu_atc *atc);

/**
 * uiommu_atc_read() - the device reads memory, by kept translations.
 * @atc: from uiommu_atc_create()
 * @op: address, buffer, length, PASID, flags (RECOVERABLE); @op->result is written
 *
 * What is not kept is asked for; what cannot be translated is read by untranslated accesses, which meet the fault.
 *
 * Return: 0, -EFAULT (see @op->result), -EINVAL (flags). Thread-safe.
 */
UIOMMU_API int uiommu_atc_read(struct uiommu_atc *atc, struct uiommu_dma_op *op);

/**
 * uiommu_atc_write() - the device writes memory, by kept translations.
 * @atc: from uiommu_atc_create()
 * @op: as for uiommu_atc_read()
 *
 * Return: as uiommu_atc_read().
 */
UIOMMU_API int uiommu_atc_write(struct uiommu_atc *atc, struct uiommu_dma_op *op);

#ifdef __cplusplus
}
#endif
#endif
