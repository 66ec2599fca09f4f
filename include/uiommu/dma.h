/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * DMA: what a device model calls. (device, PASID or none, address, length), nothing else.
 *
 * All calls are thread-safe and may be made from any thread; none takes a lock or allocates on a hit. Data has moved, or it is
 * known which byte did not: a call that meets a fault reports how much was done before it and one fault record, which also goes to
 * the fault queue of the HWPT. When unmap, detach or unbind has returned, no call that began before it still has an effect.
 */
#ifndef UIOMMU_DMA_H
#define UIOMMU_DMA_H

#include <sys/uio.h>
#include <uiommu/device.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * struct uiommu_dma_result - how far an access came.
 * @done: bytes done, from the first one on
 * @fault: what stopped it; @fault.reason is 0 if nothing did
 */
struct uiommu_dma_result {
	uint64_t done;
	struct uiommu_fault fault;
};

/**
 * uiommu_dma_read() - the device reads memory.
 * @device: from uiommu_device_get()
 * @pasid: PASID, or %UIOMMU_NO_PASID
 * @address: input address
 * @buffer: where the bytes go; beyond result.done it is undefined
 * @length: bytes; 0 does nothing and succeeds
 * @result: may be NULL
 *
 * Return: 0, -EFAULT (see @result).
 */
UIOMMU_API int uiommu_dma_read(struct uiommu_device *device, uint32_t pasid, uint64_t address, void *buffer, size_t length,
			       struct uiommu_dma_result *result);

/**
 * uiommu_dma_write() - the device writes memory.
 * @device: from uiommu_device_get()
 * @pasid: PASID, or %UIOMMU_NO_PASID
 * @address: input address
 * @buffer: the bytes
 * @length: bytes; 0 does nothing and succeeds
 * @result: may be NULL
 *
 * Return: 0, -EFAULT (see @result).
 */
UIOMMU_API int uiommu_dma_write(struct uiommu_device *device, uint32_t pasid, uint64_t address, const void *buffer, size_t length,
				struct uiommu_dma_result *result);

/**
 * enum uiommu_dma_flags - flags of an access.
 * @UIOMMU_DMA_RECOVERABLE: the device can wait for a page. A fault that a page could cure is no event then, if there is a fault
 *                          queue: its record has %UIOMMU_FAULT_RECOVERABLE, and the device asks for the page
 *                          (uiommu_dma_page_request()), or has no use for it any more. It means what PARKS means, too
 * @UIOMMU_DMA_TRANSLATED: the address is a translated one (ats.h)
 * @UIOMMU_DMA_PARKS: where guest memory is absent (guest_memory.h), the fault is %UIOMMU_FAULT_ABSENT with
 *                    %UIOMMU_FAULT_RECOVERABLE, for a device that goes on with something else; otherwise the call sleeps until the
 *                    memory has been supplied
 */
enum uiommu_dma_flags {
	UIOMMU_DMA_RECOVERABLE = 1,
	UIOMMU_DMA_TRANSLATED = 2,
	UIOMMU_DMA_PARKS = 4,
};

/**
 * struct uiommu_dma_op - one of several accesses of one call.
 * @address: input address
 * @buffer: data
 * @length: bytes
 * @pasid: PASID, or %UIOMMU_NO_PASID
 * @flags: &enum uiommu_dma_flags
 * @result: out
 */
struct uiommu_dma_op {
	uint64_t address;
	void *buffer;
	size_t length;
	uint32_t pasid;
	uint32_t flags;
	struct uiommu_dma_result result;
};

/**
 * uiommu_dma_readv() - many reads in one call; those of one process become one system call.
 * @device: from uiommu_device_get()
 * @ops: each gets its own result; a fault of one does not stop the others
 * @count: number of @ops
 *
 * There is no order among the reads.
 *
 * Return: 0, -EFAULT (at least one met a fault), -EINVAL (unknown flags; nothing has been done).
 */
UIOMMU_API int uiommu_dma_readv(struct uiommu_device *device, struct uiommu_dma_op *ops, size_t count);

/**
 * uiommu_dma_writev() - many writes in one call, in the order of @ops.
 * @device: from uiommu_device_get()
 * @ops: each gets its own result; a fault of one does not stop the others
 * @count: number of @ops
 *
 * Return: 0, -EFAULT (at least one met a fault), -EINVAL (unknown flags; nothing has been done).
 */
UIOMMU_API int uiommu_dma_writev(struct uiommu_device *device, struct uiommu_dma_op *ops, size_t count);

/** struct uiommu_dma_place - one end of a copy: @pasid (or %UIOMMU_NO_PASID), @address and @flags (&enum uiommu_dma_flags). */
struct uiommu_dma_place {
	uint64_t address;
	uint32_t pasid;
	uint32_t flags;
};

/**
 * uiommu_dma_copy() - the device moves bytes from one place to another.
 * @device: from uiommu_device_get()
 * @dst: destination
 * @src: source; may overlap the destination only if both have the same PASID, and is then moved as memmove() does
 * @length: bytes
 * @result: may be NULL; @result->fault.access tells which end failed
 *
 * An overlapping copy to a higher address goes from the end to the beginning; if that meets a fault, result.done is 0 and any of
 * the bytes may have been moved.
 *
 * Bytes go straight from one to the other where both are mapped in this process, otherwise through a private buffer.
 *
 * Return: 0, -EFAULT (see @result), -EINVAL (unknown flags).
 */
UIOMMU_API int uiommu_dma_copy(struct uiommu_device *device, const struct uiommu_dma_place *dst, const struct uiommu_dma_place *src,
			       size_t length, struct uiommu_dma_result *result);

/** enum uiommu_dma_atomic_type - AtomicOps of PCIe 6.0, 6.15. */
enum uiommu_dma_atomic_type {
	UIOMMU_ATOMIC_FETCH_ADD,
	UIOMMU_ATOMIC_SWAP,
	UIOMMU_ATOMIC_COMPARE_SWAP,
};

/**
 * struct uiommu_dma_atomic - one atomic operation.
 * @address: input address, a multiple of @length
 * @pasid: PASID, or %UIOMMU_NO_PASID
 * @type: &enum uiommu_dma_atomic_type
 * @length: 4 or 8
 * @flags: &enum uiommu_dma_flags
 * @reserved: 0
 * @operand: value to add, or to store
 * @compare: COMPARE_SWAP: expected value
 * @old: out: value before
 */
struct uiommu_dma_atomic {
	uint64_t address;
	uint32_t pasid;
	uint16_t type;
	uint16_t length;
	uint32_t flags;
	uint32_t reserved;
	uint64_t operand;
	uint64_t compare;
	uint64_t old;
};

/**
 * uiommu_dma_atomic() - an atomic read-modify-write on memory mapped in this process.
 * @device: from uiommu_device_get()
 * @atomic: request and result
 * @result: may be NULL
 *
 * Needs read and write permission. Memory of another process that is not registered ends with %UIOMMU_FAULT_ATOMIC.
 *
 * Return: 0, -EINVAL (type, length, misaligned, unknown flags, reserved), -EFAULT (see @result).
 */
UIOMMU_API int uiommu_dma_atomic(struct uiommu_device *device, struct uiommu_dma_atomic *atomic, struct uiommu_dma_result *result);

struct uiommu_attachment;

/**
 * uiommu_attachment_get() - take an attachment in hand, to translate through it without a look-up.
 * @device: from uiommu_device_get()
 * @pasid: PASID, or %UIOMMU_NO_PASID
 *
 * The reference does not keep it attached: once it has ended, translations meet %UIOMMU_FAULT_DRAINING, and another one of the same
 * PASID has to be got again.
 *
 * Return: the attachment, or NULL if nothing is attached. Thread-safe.
 */
UIOMMU_API struct uiommu_attachment *uiommu_attachment_get(struct uiommu_device *device, uint32_t pasid);

/**
 * uiommu_attachment_put() - give it back.
 * @attachment: from uiommu_attachment_get(); NULL does nothing
 */
UIOMMU_API void uiommu_attachment_put(struct uiommu_attachment *attachment);

/**
 * struct uiommu_translation - what an input address translates to.
 * @address: where it is in the memory behind the page tables: guest-physical if they are a guest's, otherwise the input address
 * @length: bytes from @address on that run in parallel; to the end of the page or area. UINT64_MAX: to the end of all addresses
 * @access: what may be done there, &enum uiommu_access; without WRITE also where a write has to be translated for itself, because
 *          it sets the page's dirty bit
 */
struct uiommu_translation {
	uint64_t address;
	uint64_t length;
	uint64_t access;
};

/**
 * uiommu_translate() - translate, and touch nothing.
 * @attachment: from uiommu_attachment_get()
 * @address: input address
 * @access: what is to be done there, &enum uiommu_access; sets accessed and dirty bits as the access would; 0: whatever is
 * permitted
 * @out: the translation; untouched after a fault
 *
 * What is returned may be void as soon as it is: whoever keeps it is told by nobody. Nothing is recorded of a fault.
 * %UIOMMU_FAULT_ABSENT: a table has not been supplied yet (guest_memory.h); nobody has been asked for it.
 *
 * Return: 0, or the fault: a positive &enum uiommu_fault_reason. Thread-safe; no lock, no allocation.
 */
UIOMMU_API int uiommu_translate(struct uiommu_attachment *attachment, uint64_t address, unsigned int access,
				struct uiommu_translation *out);

struct uiommu_pin;

/**
 * struct uiommu_dma_pin - request and result of uiommu_dma_pin().
 * @address: input address
 * @length: bytes
 * @pasid: PASID, or %UIOMMU_NO_PASID
 * @access: READ, WRITE or both
 * @iov: array for the pieces
 * @iov_count: in: its size; out: pieces used
 * @reserved: 0
 * @unmap: called, with no lock held, when the memory is to go away: stop using the pieces and call uiommu_dma_unpin(), there or
 *         soon; may be NULL. If the pin is still there when it returns, the unmap fails with EDEADLOCK
 * @opaque: first argument of @unmap
 * @pin: out
 */
struct uiommu_dma_pin {
	uint64_t address;
	uint64_t length;
	uint32_t pasid;
	uint32_t access;
	struct iovec *iov;
	uint32_t iov_count;
	uint32_t reserved;
	void (*unmap)(void *opaque, struct uiommu_pin *pin);
	void *opaque;
	struct uiommu_pin *pin;
};

/**
 * uiommu_dma_pin() - translate to pointers, and hold the mapping.
 * @device: from uiommu_device_get()
 * @request: request and result
 * @result: may be NULL
 *
 * All or nothing. Only for memory mapped in this process (own, file, RAM, registered); otherwise %UIOMMU_FAULT_NOT_DIRECT. Of own
 * memory the mapping is held, not the pages: a munmap() of it is not prevented.
 *
 * Return: 0, -EINVAL (length 0, a range that wraps, access, reserved), -ENOBUFS (more pieces than @iov_count; the number needed is
 * written), -ENOMEM, -EFAULT (see @result). Thread-safe.
 */
UIOMMU_API int uiommu_dma_pin(struct uiommu_device *device, struct uiommu_dma_pin *request, struct uiommu_dma_result *result);

/**
 * uiommu_dma_unpin() - put a pin; its pointers must not be used any more.
 * @pin: from uiommu_dma_pin()
 *
 * May be called from @unmap. When another thread is inside @unmap for this pin, this waits until it has returned, so that what
 * @unmap uses may be freed afterwards: do not hold a lock that @unmap takes. Thread-safe.
 */
UIOMMU_API void uiommu_dma_unpin(struct uiommu_pin *pin);

/**
 * uiommu_dma_page_request() - ask for a page that an access did not find (PRI).
 * @device: from uiommu_device_get()
 * @fault: the record of the failed access
 * @done: called once with the response (&enum uiommu_response), with no lock held, from the thread that responds; never before this
 *        returns
 * @opaque: first argument of @done
 *
 * A device parks the access meanwhile, holding no translation, and does it again after SUCCESS. When the attachment ends first,
 * @done gets INVALID. If the page cannot be asked for and @fault has %UIOMMU_FAULT_RECOVERABLE, the fault is an event after all.
 * Guest memory that is %UIOMMU_FAULT_ABSENT is asked for from whoever supplies it, and not from the fault queue; when the
 * attachment or the memory goes, @done gets SUCCESS, and the access meets what there is then.
 *
 * Return: 0 (@done will be called), -ENOENT (the attachment has no fault queue: nobody could answer), -ENOBUFS (the queue is full),
 * -EAGAIN (ABSENT, but it is there now: do the access again), -ECANCELED (ABSENT, and nobody supplies it any more), -ENOMEM.
 */
UIOMMU_API int uiommu_dma_page_request(struct uiommu_device *device, const struct uiommu_fault *fault,
				       void (*done)(void *opaque, unsigned int response), void *opaque);

/**
 * struct uiommu_dma_task - an access that waits for pages and does not hold up its thread.
 * @op: the access; @op.result is written when it ends
 * @access: %UIOMMU_READ or %UIOMMU_WRITE
 * @response: private; 0 at the beginning
 * @ready: called once each time uiommu_dma_start() has said -EINPROGRESS: call that again, there or later. With no lock held, from
 *         the thread that answers, perhaps before uiommu_dma_start() has returned. Nothing that waits for accesses may be called
 *         from it (EDEADLK)
 * @done: private: bytes done so far; 0 at the beginning
 */
struct uiommu_dma_task {
	struct uiommu_dma_op op;
	uint32_t access;
	uint32_t response;
	void (*ready)(struct uiommu_dma_task *task);
	uint64_t done;
};

/**
 * uiommu_dma_start() - begin an access, or go on with it.
 * @device: from uiommu_device_get()
 * @task: the access; belongs to this library until @ready, after -EINPROGRESS
 *
 * A fault that a page can cure is a page request, or an access that stalls (%UIOMMU_HWPT_STALL). Meanwhile the access holds no
 * translation and is not in flight: an unmap or unbind does not wait for it. After SUCCESS it goes on where it stopped, and may
 * have to ask again. When it is answered otherwise, or the attachment ends first, it ends with the fault.
 *
 * Return: 0 (done), -EINPROGRESS (@ready will be called, or has been), -EFAULT (see @task->op.result), -EINVAL (access, flags).
 */
UIOMMU_API int uiommu_dma_start(struct uiommu_device *device, struct uiommu_dma_task *task);

#ifdef __cplusplus
}
#endif
#endif
