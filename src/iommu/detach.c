/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How attachments end. Whoever ends one claims it, so that there is one who does: a call, the end of a bind, a PASID that is freed,
 * a context that closes. Then pins are asked for, the attachment is draining, the device has forgotten, and when the last access
 * has left it leaves the table.
 */
#include "iommu/attach.h"

#include <errno.h>

#include "iommu/tables.h"
#include "pasid/pasid.h"
#include "util/rcu.h"
#include "util/util.h"

static struct attach *of(struct attachment *data)
{
	return container_of(data, struct attach, data);
}

struct attachment *attach_by_call(const struct device *device, uint32_t pasid)
{
	const struct attach_table *table = &device->table;

	if (table->tables)
		return pasid == UIOMMU_NO_PASID ? table->tables : NULL;
	return attach_table_find(table, pasid);
}

/* It ends, as its PASID has been freed, when pins have been put that are not. */
static bool waits_for_pins(struct attachment *data)
{
	bool waits;

	pthread_mutex_lock(&data->space->lock);
	waits = data->unpinned;
	pthread_mutex_unlock(&data->space->lock);
	return waits;
}

int attach_claim(struct device *device, uint32_t pasid, bool bind, struct attach **out)
{
	struct attachment *found;
	int error = -ENOENT;

	pthread_mutex_lock(&device->lock);
	while ((found = attach_by_call(device, pasid)) && of(found)->bound == bind && of(found)->ending && !waits_for_pins(found))
		pthread_cond_wait(&device->ended, &device->lock);
	if (found && of(found)->bound != bind) {
		error = -EBUSY;
	} else if (found && of(found)->ending) {
		error = -EDEADLOCK;
	} else if (found) {
		error = 0;
		*out = of(found);
		(*out)->ending = true;
	}
	pthread_mutex_unlock(&device->lock);
	return error;
}

static void end_freed(struct device *device, uint32_t pasid);

void attach_unclaim(struct attach *attach)
{
	struct device *device = attach->device;

	pthread_mutex_lock(&device->lock);
	attach->ending = false;
	pthread_cond_broadcast(&device->ended);
	pthread_mutex_unlock(&device->lock);
}

/* No access and no pin comes any more that has not found it yet. Under the space's lock. */
static void shut(struct attach *attach)
{
	attach->data.closed = true;
	__atomic_store_n(&attach->data.open, 0, __ATOMIC_RELAXED);
}

/* Under the device's lock. In an order in which there is always something to be found (piece.c). */
static void put_instead(struct device *device, struct attach *old, struct attach *new)
{
	if (new->hwpt->tables) {
		device_set_tables(device, &new->data);
		if (!old->hwpt->tables)
			device_set(device, UIOMMU_NO_PASID, NULL);
		return;
	}
	device_set(device, new->data.pasid, &new->data);
	if (old->hwpt->tables)
		device_set_tables(device, NULL);
}

/* Under the device's and the space's lock. */
static int close_pins(struct device *device, struct attach *attach, bool force, struct attach *instead)
{
	if (!force && !cds_list_empty(&attach->data.pins))
		return -EDEADLOCK;
	/* A guest's tables are for all PASIDs. */
	if (instead && instead->hwpt->tables && !attach->hwpt->tables && attach_table_next(&device->table, 1))
		return -EBUSY;
	/* Who has found the old one just now goes on with it: replacing is not draining. */
	shut(attach);
	if (instead)
		put_instead(device, attach, instead);
	else
		__atomic_store_n(&attach->data.draining, true, __ATOMIC_RELAXED);
	return 0;
}

int attach_close_pins(struct attach *attach, bool force, struct attach *instead)
{
	struct device *device = attach->device;
	struct space *space = attach->data.space;
	int error;

	pins_revoke(space, NULL, &attach->data);
	pthread_mutex_lock(&device->lock);
	pthread_mutex_lock(&space->lock);
	error = close_pins(device, attach, force, instead);
	pthread_mutex_unlock(&space->lock);
	pthread_mutex_unlock(&device->lock);
	return error;
}

void attach_end_if_freed(struct device *device, uint32_t pasid)
{
	if (pasid != UIOMMU_NO_PASID && pasid_draining(device->object.context->pasids, pasid))
		end_freed(device, pasid);
}

static int end_prepare(struct device *device, uint32_t pasid, bool bind, bool force, struct attach **out)
{
	int error = attach_claim(device, pasid, bind, out);

	if (error)
		return error;
	attach_watch(*out);
	error = attach_close_pins(*out, force, NULL);
	if (error)
		attach_unclaim(*out);
	if (error && !bind)
		attach_end_if_freed(device, pasid);
	return error;
}

int attach_end_prepare(struct device *device, uint32_t pasid, bool force, struct attach **out)
{
	return end_prepare(device, pasid, true, force, out);
}

/* The last access that used it has left. Who comes now does not get further than to see that it is draining. */
static void drained(struct drainable *drain)
{
	struct attach *attach = of(container_of(drain, struct attachment, drain));
	struct device *device = attach->device;
	struct pasid_space *pasids = device->object.context->pasids;
	attach_done_fn *done = attach->done;
	uint32_t pasid = attach->data.pasid;
	void *opaque = attach->opaque;
	unsigned int met;

	pthread_mutex_lock(&device->lock);
	if (attach->hwpt->tables)
		device_set_tables(device, NULL);
	else
		device_set(device, attach->data.pasid, NULL);
	pthread_cond_broadcast(&device->ended);
	pthread_mutex_unlock(&device->lock);
	rcu_wait();
	met = attach->met | attach_leave(attach);
	if (pasid != UIOMMU_NO_PASID)
		pasid_unuse(pasids, pasid);
	done(opaque, met);
}

/* The device keeps nothing of it any more. */
static void forgotten(struct ats_ask *ask, int error)
{
	(void)error; /* a device that was cut off keeps nothing, either */
	drain_start(&container_of(ask, struct attach, ask)->data.drain, drained);
}

/* It is draining, and no pin is left. */
static void drain(struct attach *attach)
{
	if (attach->data.pasid != UIOMMU_NO_PASID) {
		pasid_ending(attach->device->object.context->pasids, attach->data.pasid);
		attach_tell(attach->device, attach->data.pasid);
	}
	attach->ask.done = forgotten;
	attach->ask.what = (struct uiommu_ats_invalidation){.last = UINT64_MAX, .pasid = attach->data.pasid};
	rcu_wait();
	if (__atomic_load_n(&attach->data.kept, __ATOMIC_RELAXED))
		ats_ask(attach->device, &attach->ask);
	else
		forgotten(&attach->ask, 0);
}

void attach_end_start(struct attach *attach, attach_done_fn *done, void *opaque)
{
	attach->done = done;
	attach->opaque = opaque;
	if (attach->hwpt->tables)
		attach->met = tables_leave(attach->hwpt, attach->device);
	drain(attach);
}

/* The last pin has been put, by whatever thread. */
static void unpinned(struct attachment *data)
{
	drain(of(data));
}

/* As attach_claim(), but what is ending already is left to whoever ends it. */
static struct attach *claim_now(struct device *device, uint32_t pasid, bool bind)
{
	struct attachment *found;

	pthread_mutex_lock(&device->lock);
	found = device->table.tables ? NULL : attach_table_find(&device->table, pasid);
	if (found && (of(found)->bound != bind || of(found)->ending))
		found = NULL;
	if (found)
		of(found)->ending = true;
	pthread_mutex_unlock(&device->lock);
	return found ? of(found) : NULL;
}

bool attach_pinned(struct device *device, uint32_t pasid)
{
	struct attachment *found;
	bool pinned;

	pthread_mutex_lock(&device->lock);
	found = attach_by_call(device, pasid);
	pinned = found && waits_for_pins(found);
	pthread_mutex_unlock(&device->lock);
	return pinned;
}

bool attach_end_freed(struct device *device, uint32_t pasid, bool bind, attach_done_fn *done, void *opaque)
{
	struct attach *attach = claim_now(device, pasid, bind);
	struct space *space;
	bool pinned;

	if (!attach)
		return false;
	attach->done = done;
	attach->opaque = opaque;
	attach_watch(attach);
	space = attach->data.space;
	pthread_mutex_lock(&space->lock);
	shut(attach);
	__atomic_store_n(&attach->data.draining, true, __ATOMIC_RELAXED);
	pthread_mutex_unlock(&space->lock);
	pins_revoke(space, NULL, &attach->data);
	pthread_mutex_lock(&space->lock);
	pinned = !cds_list_empty(&attach->data.pins);
	attach->data.unpinned = pinned ? unpinned : NULL;
	pthread_mutex_unlock(&space->lock);
	if (!pinned) {
		drain(attach);
		return true;
	}
	/* Whoever waits for the end need not. */
	pthread_mutex_lock(&device->lock);
	pthread_cond_broadcast(&device->ended);
	pthread_mutex_unlock(&device->lock);
	return true;
}

static void ended(void *opaque, unsigned int met)
{
	struct uiommu_context *context = opaque;

	(void)met;
	pthread_mutex_lock(&context->lock);
	context->ending--;
	pthread_cond_broadcast(&context->calls_done);
	pthread_mutex_unlock(&context->lock);
}

/* Call @function for each device of @context, inside a call of it. */
static void for_each_device(struct uiommu_context *context, void (*function)(struct device *device, uint32_t pasid), uint32_t pasid)
{
	for (uint32_t id = 1; id < context->capacity; id++) {
		struct object *object = object_get(context, id, UIOMMU_OBJECT_DEVICE);

		if (!object)
			continue;
		function(container_of(object, struct device, object), pasid);
		object_put(object);
	}
}

static void end_freed(struct device *device, uint32_t pasid)
{
	struct uiommu_context *context = device->object.context;

	pthread_mutex_lock(&context->lock);
	context->ending++;
	pthread_mutex_unlock(&context->lock);
	if (!attach_end_freed(device, pasid, false, ended, context))
		ended(context, 0);
}

void attach_end_pasid(struct uiommu_context *context, uint32_t pasid)
{
	for_each_device(context, end_freed, pasid);
}

/* If it waits for pins, it waits no more. */
static void abandon_pins(struct attach *attach)
{
	struct space *space = attach->data.space;
	bool waits;

	pthread_mutex_lock(&space->lock);
	waits = attach->data.unpinned;
	attach->data.unpinned = NULL;
	pthread_mutex_unlock(&space->lock);
	if (!waits)
		return;
	pins_drop(&attach->data);
	drain(attach);
}

/* The context closes: there are no other calls, and what ends now is waited for. */
static void abandon_all_pins(struct device *device, uint32_t from)
{
	const struct attach_table *table = &device->table;

	for (uint32_t pasid = attach_table_next(table, from); pasid; pasid = attach_table_next(table, pasid + 1)) {
		struct attachment *data;

		pthread_mutex_lock(&device->lock);
		data = table->tables ? NULL : attach_table_find(table, pasid);
		pthread_mutex_unlock(&device->lock);
		if (data)
			abandon_pins(of(data));
	}
}

void attach_abandon_pins(struct uiommu_context *context)
{
	for_each_device(context, abandon_all_pins, 1);
}

struct waiter {
	pthread_mutex_t lock;
	pthread_cond_t cond;
	bool done;
};

static void wake(void *opaque, unsigned int met)
{
	struct waiter *waiter = opaque;

	(void)met;

	pthread_mutex_lock(&waiter->lock);
	waiter->done = true;
	pthread_cond_signal(&waiter->cond);
	pthread_mutex_unlock(&waiter->lock);
}

int attach_end(struct device *device, uint32_t pasid, bool force)
{
	struct waiter waiter = {.lock = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER};
	struct attach *attach;
	int error = end_prepare(device, pasid, false, force, &attach);

	if (error)
		return error;
	attach_end_start(attach, wake, &waiter);
	pthread_mutex_lock(&waiter.lock);
	while (!waiter.done)
		pthread_cond_wait(&waiter.cond, &waiter.lock);
	pthread_mutex_unlock(&waiter.lock);
	return 0;
}

static void end_all_of(struct device *device, uint32_t from)
{
	uint32_t pasid;

	ats_end(device);
	uiommu_pri_disable(&device->data);
	attach_end(device, UIOMMU_NO_PASID, true);
	for (pasid = attach_table_next(&device->table, from); pasid; pasid = attach_table_next(&device->table, pasid + 1))
		attach_end(device, pasid, true);
}

void attach_end_device(struct device *device)
{
	abandon_all_pins(device, 1);
	end_all_of(device, 1);
}

void attach_end_all(struct uiommu_context *context)
{
	for_each_device(context, end_all_of, 1);
	/* Those of PASIDs that were freed have left the table, but maybe not yet their last function. */
	pthread_mutex_lock(&context->lock);
	while (context->ending)
		pthread_cond_wait(&context->calls_done, &context->lock);
	pthread_mutex_unlock(&context->lock);
}
