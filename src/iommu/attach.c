/* SPDX-License-Identifier: BSD-3-Clause */
#include "iommu/attach.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "iommu/mdev.h"
#include "iommu/tables.h"
#include "iommu/viommu.h"
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
	attach->data.quiet = hwpt->quiet;
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

/* -ENOMEM; -EADDRINUSE: an area lies in a range that the device reserves; -ENOENT: the guest has no number for the device. */
static int attach_make(struct device *device, struct hwpt *hwpt, const struct attach_request *request, struct attach **out)
{
	struct attach *attach = attach_alloc(device, hwpt, request);
	int error;

	if (!attach)
		return -ENOMEM;
	error = viommu_attach(attach);
	if (!error && hwpt->ioas)
		error = ioas_reserve(hwpt->ioas, attach, device->reserved, device->reserved_count);
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
	viommu_attach_entry(attach, of(device->table.tables));
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
		return !(hwpt->flags & UIOMMU_HWPT_PASID) && !table->tables && attach_table_next(table, 1) ? -EINVAL : 0;
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

/* The new one is in its place: the last access through the old one ends. */
static void leave(struct attach *old)
{
	rcu_wait();
	if (old->hwpt->tables)
		tables_leave(old->hwpt, old->device);
	if (__atomic_load_n(&old->data.kept, __ATOMIC_RELAXED))
		ats_ask_attachment(old);
	drain_wait(&old->data.drain);
	attach_free(old);
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
	pthread_mutex_lock(&device->lock);
	error = ats_is_cut_off(device) ? -ENODEV : check_beside(device, request->pasid, hwpt);
	pthread_mutex_unlock(&device->lock);
	if (!error)
		error = attach_make(device, hwpt, request, &new);
	if (error) {
		attach_unclaim(old);
		return error;
	}
	/* Whoever finds the new one waits until we are done with it. For a device that is at work it is the same attachment. */
	new->ending = true;
	new->data.generation = old->data.generation;
	error = attach_close_pins(old, false, new);
	if (error) {
		attach_free(new);
		attach_unclaim(old);
		return error;
	}
	pthread_mutex_lock(&device->lock);
	ats_attached(new);
	new->ending = false;
	pthread_cond_broadcast(&device->ended);
	pthread_mutex_unlock(&device->lock);
	leave(old);
	return 0;
}

/* Under the IOAS's automatic lock. Inside a call of it. */
static int automatic_make(struct ioas *ioas, const struct device *device, struct hwpt **out)
{
	struct uiommu_context *context = ioas->object.context;
	struct hwpt *hwpt = hwpt_alloc_paging(ioas, NULL, context->geometry ? 0 : UIOMMU_HWPT_PASID);
	int error;

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

/* The HWPT that was made for @ioas by an earlier attach, or a new one; inside a call of it. */
static int automatic_hwpt(struct ioas *ioas, const struct device *device, struct hwpt **out)
{
	struct object *object;
	int error = 0;

	pthread_mutex_lock(&ioas->automatic_lock);
	object = object_get_at(ioas->object.context, &ioas->automatic);
	if (object)
		*out = object_hwpt(object);
	else
		error = automatic_make(ioas, device, out);
	pthread_mutex_unlock(&ioas->automatic_lock);
	return error;
}

/* An automatic HWPT of an iommufd is none for PASIDs. Linux says so before it pins what is mapped, if nothing is replaced. */
static int check_automatic(struct device *device, uint32_t pasid)
{
	static const struct hwpt plain;
	int error;

	if (!device->object.context->geometry)
		return 0;
	error = check_pasid(device, pasid, &plain);
	if (error)
		return error;
	pthread_mutex_lock(&device->lock);
	error = check_beside(device, pasid, &plain);
	pthread_mutex_unlock(&device->lock);
	return error;
}

/* What is attached to for @pt_id, inside a call of it. */
static int target_get(struct device *device, const struct attach_request *request, uint32_t pt_id, bool replace, struct hwpt **out)
{
	struct object *target = object_get(device->object.context, pt_id, UIOMMU_OBJECT_NONE);
	int error;

	if (!target)
		return -ENOENT;
	if (target->type == UIOMMU_OBJECT_IOAS) {
		error = replace ? 0 : check_automatic(device, request->pasid);
		if (!error)
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
	int error = target_get(device, request, pt_id, replace, &hwpt);

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
		attach_end_if_freed(requester.device, requester.pasid);
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
