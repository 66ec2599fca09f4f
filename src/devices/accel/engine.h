/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The engine, for those that run it in a loop of their own (the daemon's executor) on rings that others made.
 *
 * One thread at a time runs an engine: its own (uiommu_accel_start()) or whoever calls uiommu_accel_poll(). Everything here may
 * be called from any thread and waits for the step that is running.
 */
#ifndef ACCEL_ENGINE_H
#define ACCEL_ENGINE_H

#include <stdbool.h>
#include <uiommu/accel.h>

struct engine_queue;
struct ring_header;

/*
 * A queue on a ring that somebody else made and submits to. @ring stays mapped and @interrupt_fd open until engine_queue_detach().
 * The wake-up eventfd is the caller's business: it belongs into the caller's poll set.
 */
struct engine_queue_config {
	struct ring_header *ring;
	uint32_t entries;
	uint32_t flags; /* enum uiommu_queue_flags */
	uint32_t pasid; /* dedicated */
	int interrupt_fd; /* eventfd */
	const uint64_t
		*words; /* of a queue whose submitter is in this process: by slot, what the PASID stood for (vpasid.h); or NULL */
};

/* -EINVAL, -EOPNOTSUPP as uiommu_accel_queue(); -ENOMEM. */
int engine_queue_attach(struct uiommu_accel *accel, const struct engine_queue_config *config, struct engine_queue **out);

/*
 * End a queue: mark the ring as ended, wake its waiters, drop what is not completed. Descriptors that wait for a page response
 * let go later by themselves. Nothing touches the ring or the interrupt when this returns.
 */
void engine_queue_detach(struct engine_queue *queue);

/* Descriptors completed, members of batches included. */
uint64_t engine_queue_completed(const struct engine_queue *queue);

/* Called for each fault that ended a descriptor or lost a record, from the thread that runs the engine. Set it before the first
 * queue is attached. It must not call the engine. */
void engine_on_fault(struct uiommu_accel *accel, void (*fault)(void *opaque, const struct uiommu_fault *fault), void *opaque);

/* Nothing can be done now: all rings are empty, and what was taken from them is complete or waits for page responses. */
bool engine_idle(struct uiommu_accel *accel);

/*
 * Before sleeping: ask the submitters of all rings for wake-ups. False if there is work already; then nothing is armed.
 * While armed, a page response makes engine_wakeup_fd() readable. The next uiommu_accel_poll() disarms.
 */
bool engine_arm(struct uiommu_accel *accel);

/* An eventfd to sleep on beside the rings' own; it is also the wake-up of queues made by uiommu_accel_queue(). */
int engine_wakeup_fd(const struct uiommu_accel *accel);

#endif
