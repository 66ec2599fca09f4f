/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Pins: pointers that a device keeps. A pin is in the lists of its attachment and of every area it has a piece of.
 *
 * Whoever takes an area or an attachment away asks the holders first (pins_revoke). The callback runs without any lock; meanwhile
 * the pin is marked with the asking thread, and uiommu_dma_unpin() of another thread waits for the callback to return, so that the
 * holder may free what the callback uses once unpin has returned.
 */
#include <errno.h>
#include <stdlib.h>

#include "memory/presence.h"
#include "memory/region.h"
#include "translate/piece.h"
#include "translate/pin.h"

struct pin_link {
	struct cds_hlist_node node; /* in area->pins */
	struct uiommu_pin *pin;
	struct region *region; /* pinned, with a reference: of dma_pin_areas(); or NULL */
	uint64_t offset, length; /* in the region */
};

struct uiommu_pin {
	struct space *space;
	struct attachment *attachment;
	struct cds_list_head link; /* in attachment->pins */
	void (*unmap)(void *opaque, struct uiommu_pin *pin);
	void *opaque;
	uint64_t asked; /* the last revocation that asked for this pin */
	pthread_t asking; /* the thread that runs the callback, if @busy */
	bool busy;
	pthread_cond_t idle; /* the callback has returned */
	bool put; /* unpinned inside the callback; freed after it */
	bool areas_only; /* of dma_pin_areas() */
	int error; /* why region_pin() refused */
	uint32_t link_count;
	struct pin_link links[]; /* one per piece; not all are in an area */
};

static void unlink_areas(struct uiommu_pin *pin)
{
	for (uint32_t i = 0; i < pin->link_count; i++)
		if (pin->links[i].node.prev)
			cds_hlist_del(&pin->links[i].node);
}

/* In unlinked ones, without a lock. */
static void unpin_regions(struct uiommu_pin *pin)
{
	for (uint32_t i = 0; i < pin->link_count; i++) {
		struct pin_link *link = &pin->links[i];

		if (!link->region)
			continue;
		region_unpin(link->region, link->offset, link->length);
		region_put(link->region);
		link->region = NULL;
	}
}

static void pin_free(struct uiommu_pin *pin)
{
	unpin_regions(pin);
	pthread_cond_destroy(&pin->idle);
	free(pin);
}

/* Of dma_pin_areas(): what @link is about is in use. Under the space's lock. */
static unsigned int pin_region(struct pin_link *link, const struct piece *piece, uint64_t address, unsigned int access, int *error)
{
	struct region *region = piece->area ? piece->area->region : NULL;

	if (!region)
		return UIOMMU_FAULT_NONE;
	link->offset = area_offset(piece->area, address);
	link->length = piece->length;
	*error = region_pin(region, link->offset, link->length, address, access);
	if (*error)
		return UIOMMU_FAULT_MEMORY;
	link->region = region_get(region);
	return UIOMMU_FAULT_NONE;
}

/* One more piece of @pin, if there is room for it. */
static unsigned int add_piece(struct uiommu_dma_pin *request, struct uiommu_pin *pin, const struct piece *piece, uint64_t address)
{
	struct pin_link *link = &pin->links[pin->link_count];

	if (pin->areas_only) {
		unsigned int reason = pin_region(link, piece, address, request->access, &pin->error);

		if (reason)
			return reason;
	} else {
		request->iov[pin->link_count] = (struct iovec){piece->host, piece->length};
	}
	link->pin = pin;
	pin->link_count++;
	if (piece->area)
		cds_hlist_add_head(&link->node, &piece->area->pins);
	return UIOMMU_FAULT_NONE;
}

/*
 * Under the space's lock, with the attachment entered: fill in the pieces, as many as there is room for, and link the pin to their
 * areas. Returns a reason; *@address is where it failed, *@count the number of pieces there are.
 */
static unsigned int collect(struct attachment *attachment, struct uiommu_dma_pin *request, struct uiommu_pin *pin,
			    uint64_t *address, uint32_t *count)
{
	uint64_t left = request->length;

	*count = 0;
	*address = request->address;
	/* A guest's invalidation cannot wait for whoever holds a pin; nor does anybody know when he writes. */
	if (attachment->stages && (!attachment->stages->straight || request->access & UIOMMU_WRITE))
		return UIOMMU_FAULT_NOT_DIRECT;
	for (*address = request->address; left; (*count)++) {
		struct piece piece;
		unsigned int reason = piece_straight(attachment, *address, left, request->access, &piece);

		/* What may be absent is asked for at each access. */
		if (reason == UIOMMU_FAULT_ABSENT ||
		    (!reason && ((!piece.host && !pin->areas_only) || (piece.area && region_presence(piece.area->region)))))
			reason = UIOMMU_FAULT_NOT_DIRECT;
		if (!reason && *count < request->iov_count)
			reason = add_piece(request, pin, &piece, *address);
		if (reason)
			return reason;
		*address += piece.length;
		left -= piece.length;
	}
	return UIOMMU_FAULT_NONE;
}

/* With the attachment entered. 0, -ENOBUFS, -EFAULT with @failure set, or -EAGAIN: it has been replaced meanwhile. */
static int pin_held(struct uiommu_device *device, struct attachment *attachment, struct uiommu_dma_pin *request,
		    struct uiommu_pin *pin, struct failure *failure)
{
	unsigned int reason;
	uint64_t address;
	uint32_t count;
	int error = 0;

	pin->space = attachment->space;
	pin->attachment = attachment;
	pthread_mutex_lock(&pin->space->lock);
	if (attachment->closed && !attachment->draining) {
		pthread_mutex_unlock(&pin->space->lock);
		return -EAGAIN;
	}
	reason = collect(attachment, request, pin, &address, &count);
	if (reason) {
		failure_set(failure, device, request->pasid, address, request->access, reason,
			    &(struct piece){.attachment = attachment});
		error = pin->error ? pin->error : -EFAULT;
	} else if (count > request->iov_count) {
		error = -ENOBUFS;
	} else {
		cds_list_add_tail(&pin->link, &attachment->pins);
	}
	if (error)
		unlink_areas(pin);
	if (error && pin->areas_only) {
		unpin_regions(pin);
		pin->link_count = 0;
	}
	if (!reason)
		request->iov_count = count;
	pthread_mutex_unlock(&pin->space->lock);
	return error;
}

static int pin(struct uiommu_device *device, struct thread_state *self, struct uiommu_dma_pin *request, struct uiommu_pin *pin,
	       struct failure *failure)
{
	struct attachment *attachment;
	struct inflight_slot *slot;
	int error;

	rcu_enter();
	attachment = attach_table_find(&device->table, request->pasid);
	if (!attachment) {
		rcu_leave();
		failure_set(failure, device, request->pasid, request->address, request->access, UIOMMU_FAULT_NOT_ATTACHED, NULL);
		return -EFAULT;
	}
	slot = inflight_enter(self, &attachment->drain);
	rcu_leave();
	error = pin_held(device, attachment, request, pin, failure);
	inflight_leave(slot);
	return error;
}

static int pin_call(struct uiommu_device *device, struct uiommu_dma_pin *request, bool areas_only, struct uiommu_dma_result *result)
{
	struct failure failure = {.fault = {0}};
	struct thread_state *self;
	struct uiommu_pin *made;
	int error;

	if (!request->length || !request->access || request->access & ~(unsigned int)(UIOMMU_READ | UIOMMU_WRITE) ||
	    request->length - 1 > UINT64_MAX - request->address || request->reserved)
		return -EINVAL;
	made = calloc(1, sizeof(*made) + request->iov_count * sizeof(made->links[0]));
	if (!made)
		return -ENOMEM;
	made->unmap = request->unmap;
	made->opaque = request->opaque;
	made->areas_only = areas_only;
	pthread_cond_init(&made->idle, NULL);
	self = thread_self();
	self->depth++;
	do
		error = pin(device, self, request, made, &failure);
	while (error == -EAGAIN);
	if (error == -EFAULT)
		failure_report(self, device, &failure);
	self->depth--;
	if (result)
		*result = (struct uiommu_dma_result){.done = error ? 0 : request->length, .fault = failure.fault};
	if (error)
		pin_free(made);
	else
		request->pin = made;
	return error;
}

int uiommu_dma_pin(struct uiommu_device *device, struct uiommu_dma_pin *request, struct uiommu_dma_result *result)
{
	return pin_call(device, request, false, result);
}

int dma_pin_areas(struct uiommu_device *device, struct uiommu_dma_pin *request, struct uiommu_dma_result *result)
{
	return pin_call(device, request, true, result);
}

/* Under the space's lock: what is to be called without it now that a pin has been put. */
static void (*last_put(struct attachment *attachment))(struct attachment *)
{
	void (*unpinned)(struct attachment *) = attachment->unpinned;

	if (!cds_list_empty(&attachment->pins))
		return NULL;
	attachment->unpinned = NULL;
	return unpinned;
}

void uiommu_dma_unpin(struct uiommu_pin *pin)
{
	struct attachment *attachment = pin->attachment;
	struct space *space = pin->space;
	void (*unpinned)(struct attachment *);
	bool busy;

	pthread_mutex_lock(&space->lock);
	while (pin->busy && !pthread_equal(pin->asking, pthread_self()))
		pthread_cond_wait(&pin->idle, &space->lock);
	unlink_areas(pin);
	cds_list_del(&pin->link);
	pin->put = true;
	busy = pin->busy;
	unpinned = last_put(attachment);
	pthread_mutex_unlock(&space->lock);
	if (!busy)
		pin_free(pin);
	if (unpinned)
		unpinned(attachment);
}

/* Run the callback of @pin without the lock. */
static void ask(struct space *space, struct uiommu_pin *pin)
{
	struct thread_state *self = thread_self();

	pin->busy = true;
	pin->asking = pthread_self();
	pthread_mutex_unlock(&space->lock);
	self->depth++;
	pin->unmap(pin->opaque, pin);
	self->depth--;
	pthread_mutex_lock(&space->lock);
	pin->busy = false;
	pthread_cond_broadcast(&pin->idle);
	if (pin->put)
		pin_free(pin);
}

/* A pin that this revocation has not asked for and nobody else is asking for. */
static struct uiommu_pin *next_pin(struct area *area, struct attachment *attachment, uint64_t revocation)
{
	struct cds_hlist_node *node;
	struct uiommu_pin *pin;

	if (area) {
		cds_hlist_for_each(node, &area->pins)
		{
			pin = cds_hlist_entry(node, struct pin_link, node)->pin;
			if (pin->asked < revocation)
				return pin;
		}
		return NULL;
	}
	cds_list_for_each_entry (pin, &attachment->pins, link)
		if (pin->asked < revocation)
			return pin;
	return NULL;
}

int pins_revoke(struct space *space, struct area *area, struct attachment *attachment)
{
	static uint64_t revocations;
	uint64_t revocation = __atomic_add_fetch(&revocations, 1, __ATOMIC_RELAXED);
	struct uiommu_pin *pin;
	bool left;

	pthread_mutex_lock(&space->lock);
	while ((pin = next_pin(area, attachment, revocation))) {
		pin->asked = revocation;
		if (pin->unmap && !pin->busy)
			ask(space, pin);
	}
	left = area ? area->pins.next != NULL : !cds_list_empty(&attachment->pins);
	pthread_mutex_unlock(&space->lock);
	return left ? -EDEADLOCK : 0;
}

void pins_drop(struct attachment *attachment)
{
	struct space *space = attachment->space;
	struct uiommu_pin *pin, *next;

	pthread_mutex_lock(&space->lock);
	cds_list_for_each_entry_safe (pin, next, &attachment->pins, link) {
		unlink_areas(pin);
		cds_list_del(&pin->link);
		pin_free(pin);
	}
	pthread_mutex_unlock(&space->lock);
}
