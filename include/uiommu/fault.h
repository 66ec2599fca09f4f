/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Fault queues: what failed, told to whoever owns the translation, and answered where an answer can help.
 *
 * An event is unrecoverable and needs no answer. A page request waits for one: uiommu_fault_respond(). Events of attachments whose
 * HWPT has no queue go to the log callback only.
 *
 * An access of a device that may wait for a page (%UIOMMU_DMA_RECOVERABLE) has one entry for a fault that a page can cure: the
 * request. An answer other than SUCCESS adds none. If there is no room for the request it is an event, queued or counted as lost.
 */
#ifndef UIOMMU_FAULT_H
#define UIOMMU_FAULT_H

#include <uiommu/context.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * enum uiommu_response - answer to a page request (PCIe 6.0, 10.4.2).
 * @UIOMMU_RESPONSE_SUCCESS: it is mapped now, try again
 * @UIOMMU_RESPONSE_INVALID: there is nothing at this address
 * @UIOMMU_RESPONSE_FAILURE: no further requests will be answered; a device that asks by PRI has to begin anew (pri.h)
 * @UIOMMU_RESPONSE_TERMINATE: of an access that stalls: it ends with success, reads zeroes and is not written (SMMUv3 CMD_RESUME)
 */
enum uiommu_response {
	UIOMMU_RESPONSE_SUCCESS,
	UIOMMU_RESPONSE_INVALID,
	UIOMMU_RESPONSE_FAILURE,
	UIOMMU_RESPONSE_TERMINATE,
};

/**
 * enum uiommu_fault_event_flags - flags of an entry.
 * @UIOMMU_FAULT_EVENT_MORE: another request of the same group follows
 * @UIOMMU_FAULT_EVENT_STALL: the access stalls; @group is its tag
 * @UIOMMU_FAULT_EVENT_PRIVILEGED: the access is privileged
 */
enum uiommu_fault_event_flags {
	UIOMMU_FAULT_EVENT_MORE = 1,
	UIOMMU_FAULT_EVENT_STALL = 2,
	UIOMMU_FAULT_EVENT_PRIVILEGED = 4,
};

/**
 * struct uiommu_fault_event - one entry of a fault queue.
 * @fault: what failed; of a request of a PRI group @fault.access is all that is asked for, and there is no reason
 * @cookie: 0 for an event; otherwise what uiommu_fault_respond() takes. Requests of one group have the same
 * @lost: events dropped since the entry before, because the queue was full
 * @flags: &enum uiommu_fault_event_flags
 * @group: the device's number of the group, where there is one
 * @reserved: 0
 */
struct uiommu_fault_event {
	struct uiommu_fault fault;
	uint32_t cookie;
	uint32_t lost;
	uint16_t flags;
	uint16_t group;
	uint32_t reserved;
};

/**
 * uiommu_fault_queue_alloc() - make a fault queue.
 * @context: its owner
 * @depth: entries, 1 to 65536; a full queue drops events (counted) and refuses page requests. So many requests may wait for a
 *         response
 * @out_id: its id
 *
 * Return: 0, -EINVAL (depth), -EMFILE, -ENOMEM.
 */
UIOMMU_API int uiommu_fault_queue_alloc(struct uiommu_context *context, uint32_t depth, uint32_t *out_id);

/**
 * enum uiommu_fault_limit_flags - flags of struct uiommu_fault_limits.
 * @UIOMMU_FAULT_REQUESTS_ONLY: events go to the log callback, and the queue holds page requests only
 */
enum uiommu_fault_limit_flags {
	UIOMMU_FAULT_REQUESTS_ONLY = 1,
};

/**
 * struct uiommu_fault_limits - who may use how much of a queue.
 * @size: sizeof(struct uiommu_fault_limits)
 * @flags: &enum uiommu_fault_limit_flags
 * @per_pasid: so many requests of one (device, PASID) may wait for a response, so that one that asks without end leaves room for
 * the others; 0: as many as the queue is deep
 * @response_ms: a request that has not been answered after so long is answered INVALID, and a response that comes later refused;
 *               0: it waits
 */
struct uiommu_fault_limits {
	uint32_t size;
	uint32_t flags;
	uint32_t per_pasid;
	uint32_t response_ms;
};

/**
 * uiommu_fault_queue_limit() - set a queue's limits.
 * @context: owner
 * @id: the queue
 * @limits: for requests that come from now on
 *
 * Return: 0, -ENOENT, -EINVAL (size), -E2BIG, -EOPNOTSUPP (flags), -EMFILE, -EAGAIN (no thread for the time limit).
 */
UIOMMU_API int uiommu_fault_queue_limit(struct uiommu_context *context, uint32_t id, const struct uiommu_fault_limits *limits);

/**
 * uiommu_fault_queue_close() - nobody reads or answers any more.
 * @context: owner
 * @id: the queue
 *
 * Every request that waits is answered FAILURE, and so are those that come later. Events are counted as lost. The queue itself
 * stays until uiommu_destroy(), which HWPTs that use it forbid.
 *
 * Return: 0, -ENOENT, -EDEADLK (inside an access or callback). Thread-safe.
 */
UIOMMU_API int uiommu_fault_queue_close(struct uiommu_context *context, uint32_t id);

/**
 * uiommu_fault_queue_fd() - a descriptor that is readable (poll) while the queue holds entries.
 * @context: owner
 * @id: the queue
 *
 * It belongs to the queue: do not read or close it.
 *
 * Return: the descriptor, or -ENOENT.
 */
UIOMMU_API int uiommu_fault_queue_fd(struct uiommu_context *context, uint32_t id);

/**
 * uiommu_fault_read() - take entries from a queue.
 * @context: owner
 * @id: the queue
 * @events: array for them
 * @count: its size
 *
 * Never blocks. Thread-safe.
 *
 * Return: number taken, 0 if the queue is empty, -ENOENT.
 */
UIOMMU_API ssize_t uiommu_fault_read(struct uiommu_context *context, uint32_t id, struct uiommu_fault_event *events, size_t count);

/**
 * uiommu_fault_respond() - answer a page request.
 * @context: owner
 * @id: the queue
 * @cookie: from the event
 * @response: &enum uiommu_response
 *
 * Return: 0, -ENOENT (no such queue), -EINVAL (cookie not waiting, or not any more, or bad response). Thread-safe.
 */
UIOMMU_API int uiommu_fault_respond(struct uiommu_context *context, uint32_t id, uint32_t cookie, unsigned int response);

/**
 * struct uiommu_pgfault - a page request as a read of iommufd's fault descriptor gives it (struct iommu_hwpt_pgfault).
 * @flags: 1: there is a PASID; 2: last one of its group
 * @dev_id: object id of the device
 * @pasid: PASID, or 0
 * @grpid: the device's number of the group
 * @perm: 1 read, 2 write, 4 execute, 8 privileged
 * @reserved: 0
 * @addr: address of the page
 * @length: 0
 * @cookie: for the response; from 1
 */
struct uiommu_pgfault {
	uint32_t flags;
	uint32_t dev_id;
	uint32_t pasid;
	uint32_t grpid;
	uint32_t perm;
	uint32_t reserved;
	uint64_t addr;
	uint32_t length;
	uint32_t cookie;
};

/** struct uiommu_pgresponse - a response as it is written to that descriptor: @cookie, @code (0 success, 1 invalid). */
struct uiommu_pgresponse {
	uint32_t cookie;
	uint32_t code;
};

/**
 * uiommu_pgfault_read() - read(2) of iommufd's fault descriptor.
 * @context: owner
 * @id: a queue with %UIOMMU_FAULT_REQUESTS_ONLY
 * @buffer: for &struct uiommu_pgfault
 * @size: its bytes
 *
 * Whole groups only. Never blocks. Thread-safe.
 *
 * Return: bytes read, 0 if there is nothing, -ENOENT, -ESPIPE (size is not a number of records), -EINVAL (the first group does not
 * fit; the queue holds events).
 */
UIOMMU_API ssize_t uiommu_pgfault_read(struct uiommu_context *context, uint32_t id, void *buffer, size_t size);

/**
 * uiommu_pgfault_write() - write(2) of iommufd's fault descriptor.
 * @context: owner
 * @id: a queue
 * @buffer: &struct uiommu_pgresponse
 * @size: its bytes
 *
 * Return: bytes of the responses that were taken, -ENOENT, -ESPIPE (size is not a number of responses), -EINVAL (the first code or
 * cookie is none). Thread-safe.
 */
UIOMMU_API ssize_t uiommu_pgfault_write(struct uiommu_context *context, uint32_t id, const void *buffer, size_t size);

#ifdef __cplusplus
}
#endif
#endif
