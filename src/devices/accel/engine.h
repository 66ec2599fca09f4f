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
struct engine_tenant;
struct ring_header;
struct uiommu_pci;

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
	const struct engine_fetch *fetch; /* or NULL */
	uint32_t interrupts; /* number of interrupt handles that descriptors may name, at most 64; 0: they name none */
	uint64_t transfer_max; /* bytes of one descriptor; 0: %UIOMMU_ACCEL_TRANSFER_MAX */
	uint32_t batch_max; /* 0: %UIOMMU_ACCEL_BATCH_MAX */
	bool privileged; /* its descriptors may say that they are, which means nothing */
};

/*
 * Of a queue of a PCI function: there is no @ring and no @interrupt_fd. Its descriptors are in the memory of its submitter, at an
 * address of the queue's PASID (or %UIOMMU_NO_PASID): the device reads them, and waits for pages of the ring and of records as of
 * all else, if it may ask for them (engine_asks()). Or they have been submitted to the function, and are in its own memory. Ops are
 * called by the runner, with the engine's lock held.
 */
struct engine_fetch {
	const struct uiommu_accel_desc *submitted; /* a ring of the queue's entries; or NULL: it is at @address */
	uint64_t address; /* of the ring, a multiple of 64 */
	const uint32_t *tail; /* atomic: the position behind the last descriptor; engine_ring() after a change */
	uint32_t *head; /* atomic: descriptors taken, modulo 2^32; both stay as long as the queue */
	uint64_t *shown; /* atomic: the same for the submitter to see; or NULL */
	void (*interrupt)(void *opaque, uint64_t handles); /* bit n: interrupt handle n */
	void (*error)(void *opaque, const struct uiommu_accel_error *error);
	void *opaque;
};

/* -EINVAL, -EOPNOTSUPP as uiommu_accel_queue(); -ENOMEM. */
int engine_queue_attach(struct uiommu_accel *accel, const struct engine_queue_config *config, struct engine_queue **out);

/*
 * End a queue: mark the ring as ended, wake its waiters, drop what is not completed. Descriptors that wait for a page response
 * let go later by themselves. Nothing touches the ring or the interrupt when this returns.
 */
void engine_queue_detach(struct engine_queue *queue);

/*
 * Both, by the runner itself: from a tenant's @control. engine_queue_detach_locked() ends in any state; what was taken is
 * dropped.
 */
int engine_queue_attach_locked(struct engine_tenant *tenant, const struct engine_queue_config *config, struct engine_queue **out);
void engine_queue_detach_locked(struct engine_queue *queue);

/* Nothing of it is done any more; engine_queue_detach_locked() is still to come. By the runner. */
void engine_queue_stop_locked(struct engine_queue *queue);

/* It has page requests without a response. Its tenant's @control is called after one has come. */
bool engine_queue_asks(const struct engine_queue *queue);

/* Of a queue with @fetch: what has been rung so far is still taken, and no more. */
void engine_queue_close(struct engine_queue *queue);

void engine_queue_reopen(struct engine_queue *queue);

/* It is closed, and all of it is complete. By the runner. */
bool engine_queue_drained(const struct engine_queue *queue);

/*
 * A PCI function that has queues at the engine: each may have @share page requests without a response. @control is called by the
 * runner, with the lock held, after engine_kick() and as long as it returns true.
 */
struct engine_tenant_config {
	struct uiommu_context *context;
	uint32_t device_id; /* which makes the accesses of its queues */
	uint32_t share;
	bool (*control)(void *opaque);
	void *opaque;
};

/* -ENOENT (no such device), -EMFILE, -ENOMEM. */
int engine_tenant_begin(struct uiommu_accel *accel, const struct engine_tenant_config *config, struct engine_tenant **out);

/* Its queues are detached. Nothing of it is called, and none of its accesses runs, when this returns. NULL does nothing. */
void engine_tenant_end(struct engine_tenant *tenant);

/*
 * Before its first queue: which function it is. @watched: programs may have doorbells mapped, in its WATCHED BARs: the engine polls
 * for a while after there was something to do, and asks to be told of the next write before it sleeps; then engine_ring() is to be
 * called.
 */
void engine_function(struct engine_tenant *tenant, struct uiommu_pci *pci, bool watched);

/* Something for @control, or for a queue that fetches. From any thread; waits for nobody. */
void engine_kick(struct engine_tenant *tenant);
void engine_ring(struct uiommu_accel *accel);

/*
 * A reset: until engine_unbar() by the runner, which has ended the queues by then, no access of theirs begins. What is running has
 * to be waited for elsewhere. engine_bar() is for any thread and waits for nobody.
 */
void engine_bar(struct engine_tenant *tenant);
void engine_unbar(struct engine_tenant *tenant);

/*
 * What a function may do at a fault: @recovers: faults are no events, because it has asked for a translation first (ATS); and it
 * may have @allocation page requests without a response, 0: none. From any thread.
 */
void engine_asks(struct engine_tenant *tenant, bool recovers, uint32_t allocation);

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
