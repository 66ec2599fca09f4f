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
 * @UIOMMU_RESPONSE_FAILURE: no further requests will be answered
 */
enum uiommu_response {
	UIOMMU_RESPONSE_SUCCESS,
	UIOMMU_RESPONSE_INVALID,
	UIOMMU_RESPONSE_FAILURE,
};

/**
 * struct uiommu_fault_event - one entry of a fault queue.
 * @fault: what failed
 * @cookie: 0 for an event; otherwise what uiommu_fault_respond() takes
 * @lost: events dropped since the entry before, because the queue was full
 */
struct uiommu_fault_event {
	struct uiommu_fault fault;
	uint32_t cookie;
	uint32_t lost;
};

/**
 * uiommu_fault_queue_alloc() - make a fault queue.
 * @context: its owner
 * @depth: entries, 1 to 65536; a full queue drops events (counted) and refuses page requests
 * @out_id: its id
 *
 * Return: 0, -EINVAL (depth), -EMFILE, -ENOMEM.
 */
UIOMMU_API int uiommu_fault_queue_alloc(struct uiommu_context *context, uint32_t depth, uint32_t *out_id);

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
 * Return: 0, -ENOENT (no such queue), -EINVAL (cookie not waiting, or bad response). Thread-safe.
 */
UIOMMU_API int uiommu_fault_respond(struct uiommu_context *context, uint32_t id, uint32_t cookie, unsigned int response);

#ifdef __cplusplus
}
#endif
#endif
