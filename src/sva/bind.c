/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Binds: an HWPT, a PASID and an attachment that begin and end together, and are counted.
 *
 * A bind lives in the context's list until its last access has ended, also while it drains; then it is not found any more. The
 * list's lock is held while a bind is made (nothing there waits for accesses), so that two binds of one thing become one.
 */
#include "sva/bind.h"

#include <errno.h>
#include <stdlib.h>

#include "iommu/attach.h"
#include "iommu/mdev.h"
#include "memory/process.h"
#include "pasid/pasid.h"
#include "sva/payload.h"
#include "util/util.h"

struct bind {
	struct cds_list_head link; /* in context->binds */
	struct uiommu_context *context;
	struct device *device; /* used; NULL when the bind has ended, under the bind lock */
	uint32_t device_id;
	struct hwpt *hwpt; /* used, and ours to end */
	struct payload payload;
	struct mdev *mdev; /* used; NULL: a physical device's */
	uint32_t pasid;
	uint32_t named; /* the same in calls: of a mediated device, the vPASID */
	uint32_t reported;
	unsigned int count;
	bool ending;
	void (*done)(void *opaque);
	void *opaque;
	unsigned int *wrong; /* enum uiommu_unbind_claims: set before @done is called; or NULL */
};

/* What uiommu_bind() was asked, with what is got for it. */
struct request {
	struct uiommu_bind *bind;
	struct device *device;
	struct mdev *mdev; /* or NULL */
	struct fault_queue *queue; /* or NULL */
	struct payload payload;
	uint32_t reported; /* UIOMMU_NO_PASID: the PASID itself */
	uint32_t told; /* the PASID whose subscribers are to be told; UIOMMU_NO_PASID: none */
	bool rid;
	bool again; /* make no new bind */
};

/* Under the bind lock. */
static struct bind *find_in(struct uiommu_context *context, uint32_t device_id, uint32_t pasid, bool ending)
{
	struct bind *bind;

	cds_list_for_each_entry (bind, &context->binds, link)
		if (bind->named == pasid && bind->device_id == device_id && bind->ending == ending)
			return bind;
	return NULL;
}

static struct bind *find(struct uiommu_context *context, uint32_t device_id, uint32_t pasid)
{
	return find_in(context, device_id, pasid, false);
}

/* Could @request join it, if both are of the same thing? A process has one PASID on a device, whichever is asked for. */
static bool could_join(const struct bind *bind, const struct request *request)
{
	uint32_t asked = request->bind->pasid;
	bool rid = bind->named == UIOMMU_NO_PASID;

	if (bind->device_id != request->bind->device_id || bind->ending || rid != request->rid ||
	    bind->hwpt->queue != request->queue || bind->reported != request->reported || bind->payload.type != request->bind->type)
		return false;
	return bind->payload.type == UIOMMU_BIND_PROCESS || asked == UIOMMU_NO_PASID || asked == bind->named;
}

/* Under the bind lock: what @request joins. */
static struct bind *find_equal(const struct request *request)
{
	struct bind *bind;

	cds_list_for_each_entry (bind, &request->device->object.context->binds, link)
		if (could_join(bind, request) && payload_equal(&bind->payload, bind->hwpt, &request->payload))
			return bind;
	return NULL;
}

static struct bind *find_named(const struct request *request, const struct process_name *name)
{
	struct bind *bind;

	cds_list_for_each_entry (bind, &request->device->object.context->binds, link)
		if (could_join(bind, request) && process_is(bind->hwpt->own.process, name))
			return bind;
	return NULL;
}

/* Whoever has destroyed it meanwhile has done so in our place; whoever attached it elsewhere keeps it. */
static void remove_hwpt(struct hwpt *hwpt)
{
	struct uiommu_context *context = hwpt->object.context;
	uint32_t id = hwpt->object.id;
	struct object *removed;

	object_unuse(&hwpt->object);
	if (!object_remove(context, id, &removed))
		hwpt_end(removed);
}

static struct attach_request attach_request(const struct bind *bind)
{
	return (struct attach_request){
		.device_id = bind->device_id,
		.pasid = bind->pasid,
		.reported = bind->reported == UIOMMU_NO_PASID ? bind->named : bind->reported,
		.access = bind->payload.access,
		.bound = true,
	};
}

/* One use of the PASID, if there is one: of what the vPASID stands for, of the one asked for, or of one that is picked. */
static int use_pasid(struct bind *bind, const struct request *asked)
{
	const struct device *device = bind->device;
	int error;

	bind->pasid = bind->named = asked->bind->pasid;
	if (bind->mdev)
		return mdev_use(bind->mdev, bind->named, &bind->pasid);
	if (asked->rid)
		return 0;
	if (bind->pasid != UIOMMU_NO_PASID)
		return pasid_use(bind->context->pasid_set, bind->pasid);
	error = pasid_pick_for(bind->context->pasid_set, device->data.pasid_bits, device->rid_pasid, &bind->pasid);
	bind->named = bind->pasid;
	return error;
}

static int attach(struct bind *bind, const struct request *asked)
{
	struct attach_request request;
	int error = use_pasid(bind, asked);

	if (error)
		return error;
	request = attach_request(bind);
	return attach_begin(bind->device, bind->hwpt, &request);
}

/* The HWPT is an object like any other before it is attached: whoever invalidates its parent finds it. */
static int begin(struct bind *bind, const struct request *request)
{
	int error = payload_hwpt(bind->context, &bind->payload, request->queue, &bind->hwpt);

	if (error)
		return error;
	object_use(&bind->hwpt->object);
	object_finalise(&bind->hwpt->object);
	error = attach(bind, request);
	if (error)
		remove_hwpt(bind->hwpt);
	return error;
}

/* Under the bind lock. */
static int bind_new(struct request *request)
{
	struct uiommu_context *context = request->device->object.context;
	struct bind *bind = calloc(1, sizeof(*bind));
	int error;

	if (!bind)
		return -ENOMEM;
	*bind = (struct bind){
		.context = context,
		.device = request->device,
		.device_id = request->bind->device_id,
		.mdev = request->mdev,
		.payload = request->payload,
		.pasid = UIOMMU_NO_PASID,
		.named = UIOMMU_NO_PASID,
		.reported = request->reported,
		.count = 1,
	};
	request->payload.process = NULL;
	error = begin(bind, request);
	request->bind->pasid = bind->named;
	request->told = bind->pasid;
	if (error) {
		free(bind);
		return error;
	}
	object_use(&bind->device->object);
	if (bind->mdev)
		object_use(&bind->mdev->object);
	cds_list_add(&bind->link, &context->binds);
	request->bind->hwpt_id = bind->hwpt->object.id;
	return 0;
}

/* Under the bind lock. */
static int bind_join(struct bind *bind, struct uiommu_bind *request)
{
	if (request->pasid != UIOMMU_NO_PASID && request->pasid != bind->named)
		return -EBUSY;
	bind->count++;
	request->pasid = bind->named;
	request->hwpt_id = bind->hwpt->object.id;
	return 0;
}

static int check_bind(const struct uiommu_bind *bind)
{
	if (bind->flags & ~(uint32_t)(UIOMMU_BIND_VPASID | UIOMMU_BIND_RID))
		return -EOPNOTSUPP;
	if (bind->reserved)
		return -EINVAL;
	if (bind->flags & UIOMMU_BIND_VPASID)
		return bind->vpasid && bind->vpasid <= UIOMMU_PASID_LAST ? 0 : -EINVAL;
	return bind->vpasid ? -EINVAL : 0;
}

/* A vPASID has to be given, and is all that is given. */
static int check_vpasid(const struct uiommu_bind *bind)
{
	bool rid = bind->flags & UIOMMU_BIND_RID;

	if (bind->type == UIOMMU_BIND_PASID_TABLE || bind->flags & UIOMMU_BIND_VPASID || rid != (bind->pasid == UIOMMU_NO_PASID))
		return -EINVAL;
	if (!bind->pasid)
		return -EADDRNOTAVAIL;
	return rid || bind->pasid <= UIOMMU_PASID_LAST ? 0 : -ERANGE;
}

static int check_pasid(const struct device *device, const struct uiommu_bind *bind)
{
	bool whole = bind->type == UIOMMU_BIND_PASID_TABLE, rid = bind->flags & UIOMMU_BIND_RID;

	if (!device->data.pasid_bits && (whole || !rid))
		return -ENXIO;
	if (whole || rid)
		return bind->pasid != UIOMMU_NO_PASID || bind->flags & UIOMMU_BIND_VPASID ? -EINVAL : 0;
	if (bind->pasid == UIOMMU_NO_PASID)
		return 0;
	if (!bind->pasid)
		return -EADDRNOTAVAIL;
	if (bind->pasid >= UINT32_C(1) << device->data.pasid_bits)
		return -ERANGE;
	return bind->pasid == device->rid_pasid ? -EEXIST : 0;
}

/* Inside calls of everything. */
static int bind_locked(struct request *request)
{
	struct bind *bind = find_equal(request);

	if (bind)
		return bind_join(bind, request->bind);
	return request->again ? -ENOENT : bind_new(request);
}

/* True, and the result: it is a process that is bound already, by these very files, which need not be looked at again. */
static bool join_named(struct request *request, int *result)
{
	struct uiommu_context *context = request->device->object.context;
	struct uiommu_bind_process given;
	struct process_name name;
	struct bind *bind;

	if (payload_process(request->bind, &given) || given.flags & UIOMMU_BIND_SELF ||
	    !process_name(&given.process, given.access, context->without, &name))
		return false;
	pthread_mutex_lock(&context->bind_lock);
	bind = find_named(request, &name);
	if (bind)
		*result = bind_join(bind, request->bind);
	pthread_mutex_unlock(&context->bind_lock);
	return bind;
}

/* Inside calls of the device and the queue. */
static int bind_payload(struct request *request)
{
	struct uiommu_context *context = request->device->object.context;
	int error;

	if (join_named(request, &error))
		return error;
	error = payload_get(context, request->bind, &request->payload);
	if (error)
		return error;
	pthread_mutex_lock(&context->bind_lock);
	error = bind_locked(request);
	pthread_mutex_unlock(&context->bind_lock);
	attach_tell(request->device, request->told);
	payload_put(&request->payload);
	return error;
}

/* Inside a call of the device. */
static int bind_on(struct device *device, struct mdev *mdev, struct uiommu_bind *bind, bool again)
{
	struct request request = {
		.bind = bind,
		.device = device,
		.mdev = mdev,
		.told = UIOMMU_NO_PASID,
		.reported = bind->flags & UIOMMU_BIND_VPASID ? bind->vpasid : UIOMMU_NO_PASID,
		.rid = bind->flags & UIOMMU_BIND_RID || bind->type == UIOMMU_BIND_PASID_TABLE,
		.again = again,
	};
	int error = mdev ? check_vpasid(bind) : check_pasid(device, bind);

	if (!error)
		error = hwpt_queue_get(device->object.context, bind->fault_queue_id ? UIOMMU_HWPT_FAULT : 0, bind->fault_queue_id,
				       &request.queue);
	if (error)
		return error;
	error = bind_payload(&request);
	if (request.queue)
		object_put(&request.queue->object);
	return error;
}

static int bind_request(struct uiommu_context *context, struct uiommu_bind *bind, bool again)
{
	const size_t least = offsetof(struct uiommu_bind, hwpt_id);
	struct uiommu_bind given;
	struct object *object;
	int error = context_check_owner(context);

	if (!error)
		error = copy_struct(&given, sizeof(given), least, bind, bind->size);
	if (!error)
		error = check_bind(&given);
	if (error)
		return error;
	object = object_get(context, given.device_id, UIOMMU_OBJECT_NONE);
	if (!object)
		return -ENOENT;
	if (object->type == UIOMMU_OBJECT_DEVICE)
		error = bind_on(container_of(object, struct device, object), NULL, &given, again);
	else if (object->type == UIOMMU_OBJECT_MDEV)
		error = bind_on(object_mdev(object)->device, object_mdev(object), &given, again);
	else
		error = -ENOENT;
	object_put(object);
	if (error)
		return error;
	bind->pasid = given.pasid;
	if (bind->size >= least + sizeof(bind->hwpt_id))
		bind->hwpt_id = given.hwpt_id;
	return 0;
}

int uiommu_bind(struct uiommu_context *context, struct uiommu_bind *bind)
{
	return bind_request(context, bind, false);
}

int bind_again(struct uiommu_context *context, struct uiommu_bind *bind)
{
	bool none;

	/* To look at a bundle takes time. */
	pthread_mutex_lock(&context->bind_lock);
	none = cds_list_empty(&context->binds);
	pthread_mutex_unlock(&context->bind_lock);
	return none ? -ENOENT : bind_request(context, bind, true);
}

struct hwpt *bind_hwpt_get(struct uiommu_context *context, uint32_t device_id, uint32_t pasid)
{
	struct object *object = NULL;
	struct bind *bind;

	pthread_mutex_lock(&context->bind_lock);
	bind = find(context, device_id, pasid);
	if (bind)
		object = object_get(context, bind->hwpt->object.id, UIOMMU_OBJECT_NONE);
	pthread_mutex_unlock(&context->bind_lock);
	return object ? object_hwpt(object) : NULL;
}

/* The attachment is gone: nothing emits the PASID any more. From any thread, with no lock held. */
static void ended(void *opaque, unsigned int met)
{
	struct bind *bind = opaque;
	struct uiommu_context *context = bind->context;
	struct device *device = bind->device;

	remove_hwpt(bind->hwpt);
	pthread_mutex_lock(&context->bind_lock);
	bind->device = NULL;
	pthread_mutex_unlock(&context->bind_lock);
	object_unuse(&device->object);
	if (bind->mdev)
		object_unuse(&bind->mdev->object);
	if (bind->wrong)
		*bind->wrong = (met & ATTACH_ACCESSED ? UIOMMU_UNBIND_FLUSHED : 0) | (met & ATTACH_ASKED ? UIOMMU_UNBIND_CLEAN : 0);
	if (bind->done)
		bind->done(bind->opaque);
	pthread_mutex_lock(&context->bind_lock);
	cds_list_del(&bind->link);
	pthread_cond_broadcast(&context->bind_ended);
	pthread_mutex_unlock(&context->bind_lock);
	free(bind);
}

/* bind->ending has been set by the caller, and what is to be done then. */
static int bind_end_start(struct bind *bind, bool force)
{
	struct uiommu_context *context = bind->context;
	uint32_t pasid = bind->pasid;
	struct attach *attach;
	int error = attach_end_prepare(bind->device, pasid, force, &attach);

	if (error) {
		pthread_mutex_lock(&context->bind_lock);
		bind->ending = false;
		bind->done = NULL;
		bind->wrong = NULL;
		pthread_mutex_unlock(&context->bind_lock);
		/* Whoever has freed the PASID meanwhile left it to us. */
		if (pasid != UIOMMU_NO_PASID && pasid_draining(context->pasids, pasid))
			bind_end_pasid(context, pasid);
		return error;
	}
	attach_end_start(attach, ended, bind);
	return 0;
}

/* How a bind is to be undone. */
struct unbind {
	uint32_t device_id;
	uint32_t pasid;
	void (*done)(void *opaque);
	void *opaque;
	unsigned int *wrong; /* or NULL */
};

/* Takes one off. *@last: it is the caller's to end. */
static struct bind *take_one(struct uiommu_context *context, const struct unbind *unbind, bool *last)
{
	struct bind *bind;

	*last = false;
	pthread_mutex_lock(&context->bind_lock);
	bind = find(context, unbind->device_id, unbind->pasid);
	if (bind && --bind->count == 0) {
		bind->count = 1; /* of the one who ends it, should he be refused */
		bind->done = unbind->done;
		bind->opaque = unbind->opaque;
		bind->wrong = unbind->wrong;
		bind->ending = *last = true;
	}
	pthread_mutex_unlock(&context->bind_lock);
	return bind;
}

/* Nothing is bound. That is right if the PASID was freed while it was. */
static int unbind_late(struct uiommu_context *context, const struct unbind *unbind)
{
	enum uiommu_object_type type = uiommu_object_type(context, unbind->device_id);

	/* A vPASID whose PASID was freed stands for nothing, as one that was never bound. */
	if (type != UIOMMU_OBJECT_MDEV && (type != UIOMMU_OBJECT_DEVICE || unbind->pasid == UIOMMU_NO_PASID ||
					   !pasid_freed_bound(context->pasids, unbind->pasid)))
		return -ENOENT;
	unbind->done(unbind->opaque);
	return 0;
}

static int unbind_start(struct uiommu_context *context, const struct unbind *unbind)
{
	int error = context_check_owner(context);
	struct bind *bind;
	bool last;

	if (error)
		return error;
	if (thread_inside())
		return -EDEADLK;
	bind = take_one(context, unbind, &last);
	if (!bind)
		return unbind_late(context, unbind);
	if (last)
		return bind_end_start(bind, false);
	unbind->done(unbind->opaque);
	return 0;
}

int uiommu_unbind_start(struct uiommu_context *context, uint32_t device_id, uint32_t pasid, void (*done)(void *opaque),
			void *opaque)
{
	const struct unbind unbind = {.device_id = device_id, .pasid = pasid, .done = done, .opaque = opaque};

	return unbind_start(context, &unbind);
}

struct waiter {
	pthread_mutex_t lock;
	pthread_cond_t cond;
	bool done;
};

static void wake(void *opaque)
{
	struct waiter *waiter = opaque;

	pthread_mutex_lock(&waiter->lock);
	waiter->done = true;
	pthread_cond_signal(&waiter->cond);
	pthread_mutex_unlock(&waiter->lock);
}

/* If it ends because its PASID was freed: that, too, is over afterwards. -EDEADLOCK: a pin was not put. */
static int wait_for_freed(struct uiommu_context *context, uint32_t device_id, uint32_t pasid)
{
	struct bind *bind;
	int error = 0;

	pthread_mutex_lock(&context->bind_lock);
	while (!error && (bind = find_in(context, device_id, pasid, true))) {
		if (bind->device && attach_pinned(bind->device, bind->pasid))
			error = -EDEADLOCK;
		else
			pthread_cond_wait(&context->bind_ended, &context->bind_lock);
	}
	pthread_mutex_unlock(&context->bind_lock);
	return error;
}

int uiommu_unbind_claim(struct uiommu_context *context, uint32_t device_id, uint32_t pasid, unsigned int claims)
{
	struct waiter waiter = {.lock = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER};
	unsigned int wrong = 0;
	const struct unbind unbind = {.device_id = device_id, .pasid = pasid, .done = wake, .opaque = &waiter, .wrong = &wrong};
	int error = claims & ~(unsigned int)(UIOMMU_UNBIND_FLUSHED | UIOMMU_UNBIND_CLEAN) ? -EOPNOTSUPP : 0;

	if (!error)
		error = unbind_start(context, &unbind);
	if (error)
		return error;
	pthread_mutex_lock(&waiter.lock);
	while (!waiter.done)
		pthread_cond_wait(&waiter.cond, &waiter.lock);
	pthread_mutex_unlock(&waiter.lock);
	error = wait_for_freed(context, device_id, pasid);
	return error ? error : (int)(wrong & claims);
}

int uiommu_unbind(struct uiommu_context *context, uint32_t device_id, uint32_t pasid)
{
	return uiommu_unbind_claim(context, device_id, pasid, 0);
}

/* Under the bind lock: one that is not ending yet, of @pasid or of any, now marked so. */
static struct bind *claim_any(struct uiommu_context *context, uint32_t pasid, const struct device *device)
{
	struct bind *bind;

	cds_list_for_each_entry (bind, &context->binds, link) {
		if (!bind->ending && (pasid == UIOMMU_NO_PASID || bind->pasid == pasid) && (!device || bind->device == device)) {
			bind->ending = true;
			return bind;
		}
	}
	return NULL;
}

void bind_end_pasid(struct uiommu_context *context, uint32_t pasid)
{
	struct bind *bind;

	do {
		pthread_mutex_lock(&context->bind_lock);
		bind = claim_any(context, pasid, NULL);
		pthread_mutex_unlock(&context->bind_lock);
		if (bind)
			attach_end_freed(bind->device, pasid, true, ended, bind);
	} while (bind);
	pthread_mutex_lock(&context->bind_lock);
	pthread_cond_broadcast(&context->bind_ended); /* it waits for a pin, maybe */
	pthread_mutex_unlock(&context->bind_lock);
}

/* Under the lock: is there one, ending or not? */
static bool has_binds(struct uiommu_context *context, const struct device *device)
{
	const struct bind *bind;

	cds_list_for_each_entry (bind, &context->binds, link)
		if (!device || bind->device == device)
			return true;
	return false;
}

void bind_end_all(struct uiommu_context *context, const struct device *device)
{
	pthread_mutex_lock(&context->bind_lock);
	while (has_binds(context, device)) {
		struct bind *bind = claim_any(context, UIOMMU_NO_PASID, device);

		if (!bind) {
			pthread_cond_wait(&context->bind_ended, &context->bind_lock);
			continue;
		}
		pthread_mutex_unlock(&context->bind_lock);
		bind_end_start(bind, true);
		pthread_mutex_lock(&context->bind_lock);
	}
	pthread_mutex_unlock(&context->bind_lock);
}
