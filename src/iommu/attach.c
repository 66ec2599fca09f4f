/* SPDX-License-Identifier: BSD-3-Clause */
#include "iommu/attach.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "iommu/mdev.h"
#include "iommu/tables.h"
#include "pasid/pasid.h"
#include "translate/absent.h"
#include "util/rcu.h"
#include "util/util.h"

static struct attach *of(struct attachment *data)
{
	return container_of(data, struct attach, data);
}

/* What it points to stays as long, for those who have it in hand. */
static void memory_free(struct attachment *data)
{
	hwpt_memory_put(of(data)->hwpt);
	free(of(data)->stages);
	free(of(data));
}

static struct attach *attach_alloc(struct device *device, struct hwpt *hwpt, const struct attach_request *request)
{
	struct attach *attach = aligned_alloc(_Alignof(struct attach), sizeof(*attach));

	if (!attach)
		return NULL;
	memset(attach, 0, sizeof(*attach));
	attach->device = device;
	attach->hwpt = hwpt;
	attach->data.space = hwpt->space;
	attach->data.stages = hwpt_stages(hwpt);
	attach->data.behind = hwpt_behind(hwpt->parent ? hwpt->parent : hwpt);
	attach->may_keep = true;
	attach->data.asks = true;
	attach->data.stalls = hwpt->flags & UIOMMU_HWPT_STALL;
	CDS_INIT_LIST_HEAD(&attach->groups);
	attach->data.sink = hwpt->sink;
	attach->data.device_id = request->device_id;
	attach->data.pasid = request->pasid;
	attach->data.reported = request->reported;
	attach->data.access = (uint8_t)request->access;
	attach->data.open = (uint8_t)request->access;
	attach->bound = request->bound;
	attach->data.generation = __atomic_add_fetch(&device->object.context->generation, 1, __ATOMIC_RELAXED);
	attach->data.references = 1;
	attach->data.free = memory_free;
	CDS_INIT_LIST_HEAD(&attach->data.pins);
	return attach;
}

static void attach_use(struct attach *attach)
{
	object_use(&attach->device->object);
	object_use(&attach->hwpt->object);
	__atomic_add_fetch(&attach->hwpt->references, 1, __ATOMIC_RELAXED);
}

/* -ENOMEM; -EADDRINUSE: an area lies in a range that the device reserves. */
static int attach_make(struct device *device, struct hwpt *hwpt, const struct attach_request *request, struct attach **out)
{
	struct attach *attach = attach_alloc(device, hwpt, request);
	int error;

	if (!attach)
		return -ENOMEM;
	error = hwpt->ioas ? ioas_reserve(hwpt->ioas, attach, device->reserved, device->reserved_count) : 0;
	if (error) {
		free(attach);
		return error;
	}
	attach_use(attach);
	*out = attach;
	return 0;
}

struct attach *attach_entry(struct device *device, uint32_t pasid, struct hwpt *hwpt, unsigned int access, struct stages *stages)
{
	const struct attach_request request = {.device_id = device->object.id, .pasid = pasid, .reported = pasid, .access = access};
	struct attach *attach = attach_alloc(device, hwpt, &request);

	if (!attach)
		return NULL;
	attach->stages = attach->data.stages = stages;
	attach_use(attach);
	return attach;
}

/* One user fewer; an automatic HWPT ends with the last one. Whoever is inside a call of it does this again (attach_to). */
static void hwpt_unuse(struct hwpt *hwpt)
{
	if (!hwpt->automatic)
		object_unuse(&hwpt->object);
	else if (object_unuse_remove(&hwpt->object))
		hwpt_end(&hwpt->object);
}

static void sum(const struct attachment *attachment, struct uiommu_attach_stats *out)
{
	for (unsigned int i = 0; i < COUNTER_SHARDS; i++) {
		const struct attach_counters *counters = &attachment->counters[i];

		out->bytes_read += __atomic_load_n(&counters->bytes_read, __ATOMIC_RELAXED);
		out->bytes_written += __atomic_load_n(&counters->bytes_written, __ATOMIC_RELAXED);
		out->faults += __atomic_load_n(&counters->faults, __ATOMIC_RELAXED);
		out->discarded += __atomic_load_n(&counters->discarded, __ATOMIC_RELAXED);
		out->walks += __atomic_load_n(&counters->walks, __ATOMIC_RELAXED);
		out->entries_read += __atomic_load_n(&counters->fetches, __ATOMIC_RELAXED);
		out->walks_below_top += __atomic_load_n(&counters->steps, __ATOMIC_RELAXED);
	}
}

/* Under the device's lock. False: there is none. */
static bool sum_of(struct attachment *attachment, struct uiommu_attach_stats *out)
{
	if (!attachment)
		return false;
	out->hwpt_id = container_of(attachment, struct attach, data)->hwpt->object.id;
	sum(attachment, out);
	return true;
}

/* Grows with every access through it, whatever becomes of that. */
static uint64_t activity(const struct attach *attach)
{
	struct uiommu_attach_stats stats = {0};

	sum(&attach->data, &stats);
	return stats.bytes_read + stats.bytes_written + stats.faults + stats.discarded;
}

/* It is in no table and nothing uses it. Who has it in hand sees that it has ended, once he is in a read section. */
static unsigned int end(struct attach *attach)
{
	struct hwpt *hwpt = attach->hwpt;
	unsigned int met = 0;

	ats_detached(attach);
	if (!__atomic_exchange_n(&attach->data.draining, true, __ATOMIC_SEQ_CST))
		rcu_wait();
	pins_drop(&attach->data);
	if (requests_forget(attach))
		met = ATTACH_ASKED;
	if (attach->stages)
		stages_fini(attach->stages);
	else if (hwpt->ioas)
		ioas_unreserve(hwpt->ioas, attach);
	hwpt_unuse(hwpt);
	object_unuse(&attach->device->object);
	attachment_put(&attach->data);
	return met;
}

void attach_free(struct attach *attach)
{
	end(attach);
}

unsigned int attach_leave(struct attach *attach)
{
	bool accessed;

	drain_wait(&attach->data.drain);
	absent_look_again_at(&attach->data.space->areas);
	accessed = attach->data.drain.waited || activity(attach) != attach->activity;
	return end(attach) | (accessed ? ATTACH_ACCESSED : 0);
}

void attach_watch(struct attach *attach)
{
	attach->activity = activity(attach);
}

static int check_pasid(const struct device *device, uint32_t pasid, const struct hwpt *hwpt)
{
	if (pasid == UIOMMU_NO_PASID)
		return 0;
	if (hwpt->tables)
		return -EINVAL;
	if (!device->data.pasid_bits)
		return -EOPNOTSUPP;
	if (!pasid || pasid >= UINT32_C(1) << device->data.pasid_bits || pasid == device->rid_pasid ||
	    !(hwpt->flags & UIOMMU_HWPT_PASID))
		return -EINVAL;
	return 0;
}

/* Under the device's lock: Linux wants all that a device has beside PASIDs to be for PASIDs. */
static int check_beside(const struct device *device, uint32_t pasid, const struct hwpt *hwpt)
{
	const struct attach_table *table = &device->table;
	struct attachment *rid = attach_table_find(table, UIOMMU_NO_PASID);

	if (!device->object.context->geometry)
		return 0;
	if (pasid == UIOMMU_NO_PASID)
		return !(hwpt->flags & UIOMMU_HWPT_PASID) && attach_table_next(table, 1) ? -EINVAL : 0;
	return rid && !(of(rid)->hwpt->flags & UIOMMU_HWPT_PASID) ? -EINVAL : 0;
}

/* Under the device's lock. */
static int publish(struct device *device, struct hwpt *hwpt, const struct attach_request *request)
{
	struct attach_table *table = &device->table;
	uint32_t pasid = request->pasid;
	struct attach *attach;
	int error;

	if (ats_is_cut_off(device))
		return -ENODEV;
	if (attach_table_prepare(table, pasid))
		return -ENOMEM;
	if (table->tables || attach_table_find(table, pasid) || (hwpt->tables && attach_table_next(table, 1)))
		return -EBUSY;
	error = check_beside(device, pasid, hwpt);
	if (error)
		return error;
	/* Whoever frees the PASID after this finds the attachment in the table. */
	error = pasid == UIOMMU_NO_PASID ? 0 : pasid_live(device->object.context->pasids, pasid);
	if (error)
		return error;
	error = attach_make(device, hwpt, request, &attach);
	if (error) {
		if (pasid != UIOMMU_NO_PASID)
			pasid_ending(device->object.context->pasids, pasid);
		return error;
	}
	if (hwpt->tables)
		device_set_tables(device, &attach->data);
	else
		device_set(device, pasid, &attach->data);
	ats_attached(attach);
	return 0;
}

int attach_begin(struct device *device, struct hwpt *hwpt, const struct attach_request *request)
{
	int error = check_pasid(device, request->pasid, hwpt);

	if (!error) {
		pthread_mutex_lock(&device->lock);
		error = publish(device, hwpt, request);
		pthread_mutex_unlock(&device->lock);
	}
	if (error && request->pasid != UIOMMU_NO_PASID)
		pasid_unuse(device->object.context->pasids, request->pasid);
	return error;
}

void attach_tell(const struct device *device, uint32_t pasid)
{
	if (pasid != UIOMMU_NO_PASID)
		pasid_tell(device->object.context->pasids, pasid);
}

/* What a call has attached; entries of a guest's tables are nobody's to end. */
static struct attachment *attached(const struct device *device, uint32_t pasid)
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
	while ((found = attached(device, pasid)) && of(found)->bound == bind && of(found)->ending && !waits_for_pins(found))
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

/* If no pin is left, or it does not matter: publish @instead (or nothing new), and let no pin come any more. */
static int close_pins(struct attach *attach, bool force, struct attach *instead)
{
	struct space *space = attach->data.space;
	int error = 0;

	pins_revoke(space, NULL, &attach->data);
	pthread_mutex_lock(&space->lock);
	if (!force && !cds_list_empty(&attach->data.pins)) {
		error = -EDEADLOCK;
	} else {
		/* Who has found the old one just now goes on with it: replacing is not draining. */
		shut(attach);
		if (instead)
			device_set(attach->device, attach->data.pasid, &instead->data);
		else
			__atomic_store_n(&attach->data.draining, true, __ATOMIC_RELAXED);
	}
	pthread_mutex_unlock(&space->lock);
	return error;
}

/* Whoever has freed the PASID meanwhile saw an attachment that was somebody else's to end: but that one did not. */
static void end_if_freed(struct device *device, uint32_t pasid)
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
	error = close_pins(*out, force, NULL);
	if (error)
		attach_unclaim(*out);
	if (error && !bind)
		end_if_freed(device, pasid);
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
	found = attached(device, pasid);
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

/* What is attached now, in use. */
static struct hwpt *attached_hwpt(struct device *device, uint32_t pasid)
{
	struct attachment *found;
	struct hwpt *hwpt;

	pthread_mutex_lock(&device->lock);
	found = attached(device, pasid);
	hwpt = found ? of(found)->hwpt : NULL;
	if (hwpt)
		object_use(&hwpt->object);
	pthread_mutex_unlock(&device->lock);
	return hwpt;
}

/*
 * As iommufd wants it, where one of the two is a guest's tables: the old one ends before the new one begins, and accesses between
 * fail. If the new one cannot begin the old one does again.
 */
static int swap_in_turn(struct device *device, struct hwpt *hwpt, const struct attach_request *request)
{
	struct hwpt *old = attached_hwpt(device, request->pasid);
	int error = old ? attach_end(device, request->pasid, false) : -EINVAL;

	if (!error) {
		pthread_mutex_lock(&device->lock);
		error = publish(device, hwpt, request);
		if (error && publish(device, old, request))
			error = -ENODEV;
		pthread_mutex_unlock(&device->lock);
	}
	if (old)
		hwpt_unuse(old);
	return error == -ENOENT ? -EINVAL : error;
}

static int swap(struct device *device, struct hwpt *hwpt, const struct attach_request *request)
{
	struct attach *old, *new;
	int error = check_pasid(device, request->pasid, hwpt);

	if (error)
		return error;
	error = attach_claim(device, request->pasid, false, &old);
	if (error)
		return error == -ENOENT ? -EINVAL : error;
	if (hwpt->tables || old->hwpt->tables) {
		attach_unclaim(old);
		return device->object.context->geometry ? swap_in_turn(device, hwpt, request) : -EOPNOTSUPP;
	}
	pthread_mutex_lock(&device->lock);
	error = ats_is_cut_off(device) ? -ENODEV : check_beside(device, request->pasid, hwpt);
	pthread_mutex_unlock(&device->lock);
	if (!error)
		error = attach_make(device, hwpt, request, &new);
	if (error) {
		attach_unclaim(old);
		return error;
	}
	error = close_pins(old, false, new);
	if (error) {
		attach_free(new);
		attach_unclaim(old);
		return error;
	}
	pthread_mutex_lock(&device->lock);
	ats_attached(new);
	pthread_cond_broadcast(&device->ended);
	pthread_mutex_unlock(&device->lock);
	rcu_wait();
	if (__atomic_load_n(&old->data.kept, __ATOMIC_RELAXED))
		ats_ask_attachment(old);
	drain_wait(&old->data.drain);
	attach_free(old);
	return 0;
}

/* The HWPT that was made for @ioas by an earlier attach, or a new one; inside a call of it. */
static int automatic_hwpt(struct ioas *ioas, const struct device *device, struct hwpt **out)
{
	struct uiommu_context *context = ioas->object.context;
	struct object *object = object_get_at(context, &ioas->automatic);
	struct hwpt *hwpt;
	int error;

	if (object) {
		*out = object_hwpt(object);
		return 0;
	}
	hwpt = hwpt_alloc_paging(ioas, NULL, context->geometry ? 0 : UIOMMU_HWPT_PASID);
	if (!hwpt)
		return -ENOMEM;
	error = hwpt_set_geometry(hwpt, device->geometry ? device->geometry : context->geometry);
	if (error) {
		hwpt_abort(hwpt);
		return error;
	}
	hwpt->automatic = true;
	object_finalise_at(&hwpt->object, &ioas->automatic);
	*out = hwpt;
	return 0;
}

/* What is attached to for @pt_id, inside a call of it. */
static int target_get(const struct device *device, uint32_t pt_id, struct hwpt **out)
{
	struct object *target = object_get(device->object.context, pt_id, UIOMMU_OBJECT_NONE);
	int error;

	if (!target)
		return -ENOENT;
	if (target->type == UIOMMU_OBJECT_IOAS) {
		error = automatic_hwpt(container_of(target, struct ioas, object), device, out);
		object_put(target);
		return error;
	}
	*out = object_hwpt(target);
	if (target->type == UIOMMU_OBJECT_HWPT_PAGING || target->type == UIOMMU_OBJECT_HWPT_NESTED)
		return 0;
	object_put(target);
	return -EINVAL;
}

/* Inside a call of the device. Takes over the use of the PASID, if it is not to be replaced. */
static int attach_to(struct device *device, const struct attach_request *request, uint32_t pt_id, bool replace)
{
	struct hwpt *hwpt;
	int error = target_get(device, pt_id, &hwpt);

	if (error) {
		if (!replace && request->pasid != UIOMMU_NO_PASID)
			pasid_unuse(device->object.context->pasids, request->pasid);
		return error;
	}
	error = replace ? swap(device, hwpt, request) : attach_begin(device, hwpt, request);
	/* A user for the moment between: an automatic HWPT whose attach failed, or has ended already, ends here. */
	object_use(&hwpt->object);
	object_put(&hwpt->object);
	hwpt_unuse(hwpt);
	return error;
}

static int attach_call(struct uiommu_context *context, uint32_t device_id, uint32_t pasid, uint32_t pt_id, bool replace)
{
	struct attach_request request;
	struct requester requester;
	int error = context_check_owner(context);

	if (error)
		return error;
	if (replace && thread_inside())
		return -EDEADLK;
	error = requester_get(context, device_id, pasid, !replace, &requester);
	if (error)
		return error;
	request = (struct attach_request){
		.device_id = device_id,
		.pasid = requester.pasid,
		.reported = pasid,
		.access = UIOMMU_READ | UIOMMU_WRITE | UIOMMU_EXEC,
	};
	error = attach_to(requester.device, &request, pt_id, replace);
	attach_tell(requester.device, requester.pasid);
	if (replace)
		end_if_freed(requester.device, requester.pasid);
	requester_put(&requester);
	return error;
}

int uiommu_attach(struct uiommu_context *context, uint32_t device_id, uint32_t pasid, uint32_t pt_id)
{
	return attach_call(context, device_id, pasid, pt_id, false);
}

int uiommu_replace(struct uiommu_context *context, uint32_t device_id, uint32_t pasid, uint32_t pt_id)
{
	return attach_call(context, device_id, pasid, pt_id, true);
}

int uiommu_detach(struct uiommu_context *context, uint32_t device_id, uint32_t pasid)
{
	int error = context_check_owner(context);
	struct requester requester;

	if (error)
		return error;
	if (thread_inside())
		return -EDEADLK;
	error = requester_get(context, device_id, pasid, false, &requester);
	if (error)
		return error == -ENOENT && uiommu_object_type(context, device_id) == UIOMMU_OBJECT_MDEV ? 0 : error;
	error = attach_end(requester.device, requester.pasid, false);
	requester_put(&requester);
	return error == -ENOENT ? 0 : error;
}

int uiommu_attach_stats(struct uiommu_context *context, uint32_t device_id, uint32_t pasid, struct uiommu_attach_stats *out)
{
	const struct attach_table *table;
	struct requester requester;
	bool found;
	int error;

	if (out->size != sizeof(*out))
		return -EINVAL;
	error = requester_get(context, device_id, pasid, false, &requester);
	if (error)
		return error;
	*out = (struct uiommu_attach_stats){.size = sizeof(*out)};
	pthread_mutex_lock(&requester.device->lock);
	table = &requester.device->table;
	found = sum_of(attach_table_find(table, requester.pasid), out);
	if (requester.pasid == UIOMMU_NO_PASID)
		found |= sum_of(table->tables, out);
	error = found ? 0 : -ENOENT;
	pthread_mutex_unlock(&requester.device->lock);
	requester_put(&requester);
	return error;
}
