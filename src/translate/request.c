/* SPDX-License-Identifier: BSD-3-Clause */
/* What a device asks for when an access has met a fault: a page from the owner of the tables, or memory from whoever supplies it.
 */
#include <errno.h>
#include <stdlib.h>

#include "translate/absent.h"
#include "translate/piece.h"

/* A device that waits for absent memory. */
struct parked {
	struct demand_wait wait;
	void (*done)(void *opaque, unsigned int response);
	void *opaque;
};

static void parked_answered(struct demand_wait *wait, unsigned int response)
{
	struct parked *parked = container_of(wait, struct parked, wait);

	parked->done(parked->opaque, response);
	free(parked);
}

/* What is absent now, on the way to where the fault was. */
static int ask_for_absent(struct uiommu_device *device, const struct uiommu_fault *fault, struct demand_wait *wait)
{
	struct uiommu_fault met = *fault;
	unsigned int reason;
	struct piece piece;
	int error = -EAGAIN;

	rcu_enter();
	reason = piece_find(device, fault->pasid, fault->address, 1, fault->access, &piece);
	if (reason == UIOMMU_FAULT_ABSENT)
		error = absent_ask(&piece.attachment->space->areas, piece.absent, wait);
	rcu_leave();
	if (reason == PIECE_RESOLVE && !distant_resolve(device, fault->pasid, &met, wait) && met.reason == UIOMMU_FAULT_ABSENT)
		error = 0;
	return error;
}

static int park(struct uiommu_device *device, const struct uiommu_fault *fault, void (*done)(void *opaque, unsigned int response),
		void *opaque)
{
	struct parked *parked = malloc(sizeof(*parked));
	int error;

	if (!parked)
		return -ENOMEM;
	*parked = (struct parked){.wait.done = parked_answered, .done = done, .opaque = opaque};
	error = ask_for_absent(device, fault, &parked->wait);
	if (error)
		free(parked);
	return error;
}

/* The attachment through which a page is asked for, entered; or NULL, and *@resolve: a guest's tables may know. */
static struct inflight_slot *enter_asker(struct uiommu_device *device, uint32_t pasid, struct attachment **out, bool *resolve)
{
	struct thread_state *self = thread_self();
	struct inflight_slot *slot = NULL;
	struct attachment *attachment;

	rcu_enter();
	attachment = attach_table_find(&device->table, pasid);
	*resolve = !attachment && attach_table_resolves(&device->table, pasid);
	if (attachment && __atomic_load_n(&attachment->draining, __ATOMIC_RELAXED))
		attachment = NULL;
	if (attachment && attachment->sink)
		slot = inflight_enter(self, &attachment->drain);
	rcu_leave();
	*out = attachment;
	return slot;
}

int uiommu_dma_page_request(struct uiommu_device *device, const struct uiommu_fault *fault,
			    void (*done)(void *opaque, unsigned int response), void *opaque)
{
	struct attachment *attachment = NULL;
	struct inflight_slot *slot = NULL;
	struct uiommu_fault asked;
	bool resolve = true;
	int error;

	if (fault->reason == UIOMMU_FAULT_ABSENT)
		return park(device, fault, done, opaque);
	for (unsigned int i = 0; resolve && i < RESOLVE_TRIES; i++) {
		slot = enter_asker(device, fault->pasid, &attachment, &resolve);
		asked = *fault;
		/* What a guest's tables say may have been invalidated since the fault. */
		if (resolve && !distant_resolve(device, fault->pasid, &asked, NULL))
			return -ENOENT;
	}
	if (!slot)
		return -ENOENT;
	asked = attachment_fault(attachment, fault);
	asked.flags &= (uint16_t)~UIOMMU_FAULT_RECOVERABLE;
	error = device->ask(device, attachment, &asked, done, opaque);
	if (error && fault->flags & UIOMMU_FAULT_RECOVERABLE && !attachment->quiet) /* it has been no event, and is one after all */
		attachment->sink->event(attachment->sink, &asked);
	inflight_leave(slot);
	return error;
}
