/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Binding processes: an SVA HWPT, a PASID and an attachment that begin and end together.
 *
 * A bind lives in the context's list until its last access has ended, also while it drains; then it is not found any more. The
 * list's lock is held while a bind is made (nothing there waits for accesses), so that two binds of one process become one.
 */
#include "sva/bind.h"

#include <errno.h>
#include <stdlib.h>

#include "iommu/attach.h"
#include "memory/process.h"
#include "memory/region.h"
#include "pasid/pasid.h"
#include "util/util.h"

struct bind {
	struct cds_list_head link; /* in context->binds */
	struct uiommu_context *context;
	struct device *device; /* used */
	struct hwpt *hwpt; /* its space is ours */
	uint32_t pasid;
	unsigned int count;
	bool ending;
	void (*done)(void *opaque);
	void *opaque;
};

/* Under the bind lock. */
static struct bind *find_in(struct uiommu_context *context, uint32_t device_id, uint32_t pasid, bool ending)
{
	struct bind *bind;

	cds_list_for_each_entry (bind, &context->binds, link)
		if (bind->pasid == pasid && bind->device->object.id == device_id && bind->ending == ending)
			return bind;
	return NULL;
}

static struct bind *find(struct uiommu_context *context, uint32_t device_id, uint32_t pasid)
{
	return find_in(context, device_id, pasid, false);
}

static struct bind *find_equal(const struct device *device, const struct process *process, const struct fault_queue *queue)
{
	struct bind *bind;

	cds_list_for_each_entry (bind, &device->object.context->binds, link)
		if (bind->device == device && !bind->ending && bind->hwpt->queue == queue &&
		    process_equal(bind->hwpt->own.process, process))
			return bind;
	return NULL;
}

/* Remove an SVA HWPT that nothing is attached to. */
static void remove_hwpt(struct hwpt *hwpt)
{
	struct object *removed;

	if (!object_remove(hwpt->object.context, hwpt->object.id, &removed))
		hwpt_end(removed);
}

/* Attach @bind->hwpt to the PASID asked for, or to the lowest one that is free. */
static int attach_pasid(struct bind *bind, uint32_t asked)
{
	uint32_t last = (UINT32_C(1) << bind->device->data.pasid_bits) - 1;
	unsigned int access = process_access(bind->hwpt->own.process);
	int error;

	bind->pasid = asked;
	if (asked != UIOMMU_NO_PASID)
		return attach_begin(bind->device, asked, bind->hwpt, access);
	error = pasid_pick(bind->context->pasid_set, 1, last, &bind->pasid);
	return error ? error : attach_begin_used(bind->device, bind->pasid, bind->hwpt, access);
}

/* Under the bind lock. Takes over @process, also on failure. */
static int bind_new(struct device *device, struct process *process, struct fault_queue *queue, struct uiommu_bind *request)
{
	struct uiommu_context *context = device->object.context;
	struct bind *bind = calloc(1, sizeof(*bind));
	struct hwpt *hwpt = bind ? hwpt_alloc_sva(context, process, queue) : NULL;
	int error;

	if (!hwpt) {
		free(bind);
		process_close(process);
		return -ENOMEM;
	}
	*bind = (struct bind){.context = context, .device = device, .hwpt = hwpt, .count = 1};
	error = attach_pasid(bind, request->pasid);
	request->pasid = bind->pasid;
	if (error) {
		hwpt_abort(hwpt);
		free(bind);
		return error;
	}
	object_finalise(&hwpt->object);
	object_use(&device->object);
	cds_list_add(&bind->link, &context->binds);
	request->hwpt_id = hwpt->object.id;
	return 0;
}

/* Under the bind lock. */
static int bind_join(struct bind *bind, struct uiommu_bind *request)
{
	if (request->pasid != UIOMMU_NO_PASID && request->pasid != bind->pasid)
		return -EBUSY;
	bind->count++;
	request->pasid = bind->pasid;
	request->hwpt_id = bind->hwpt->object.id;
	return 0;
}

/* Inside calls of both. Takes over @process. @again: make no new bind. */
static int bind_process(struct device *device, struct process *process, struct fault_queue *queue, struct uiommu_bind *request,
			bool again)
{
	struct uiommu_context *context = device->object.context;
	struct bind *bind;
	int error;

	pthread_mutex_lock(&context->bind_lock);
	bind = find_equal(device, process, queue);
	if (!bind && !again) {
		error = bind_new(device, process, queue, request);
	} else {
		process_close(process);
		error = bind ? bind_join(bind, request) : -ENOENT;
	}
	pthread_mutex_unlock(&context->bind_lock);
	attach_tell(device, request->pasid);
	return error;
}

static int check_bind(const struct uiommu_bind *bind)
{
	const struct uiommu_bind_process *payload = bind->data;

	if (bind->flags || bind->type != UIOMMU_BIND_PROCESS)
		return -EOPNOTSUPP;
	if (bind->data_len != sizeof(*payload) || !payload)
		return -EINVAL;
	if (payload->flags & ~(uint32_t)UIOMMU_BIND_SELF)
		return -EOPNOTSUPP;
	if (payload->access != UIOMMU_READ && payload->access != (UIOMMU_READ | UIOMMU_WRITE))
		return -EINVAL;
	return 0;
}

static int check_device(const struct device *device, uint32_t pasid)
{
	if (!device->data.pasid_bits)
		return -EOPNOTSUPP;
	if (pasid != UIOMMU_NO_PASID && (!pasid || pasid >= UINT32_C(1) << device->data.pasid_bits))
		return -EINVAL;
	return 0;
}

static int open_process(const struct uiommu_context *context, const struct uiommu_bind_process *payload, struct process **out)
{
	if (payload->flags & UIOMMU_BIND_SELF)
		return process_open_self(payload->access, context->without, out);
	return process_open(&payload->process, payload->access, context->without, out);
}

/* Inside a call of the device. */
static int bind_on(struct device *device, struct uiommu_bind *request, bool again)
{
	struct uiommu_context *context = device->object.context;
	struct object *queue = NULL;
	struct process *process;
	int error = check_device(device, request->pasid);

	if (error)
		return error;
	if (request->fault_queue_id) {
		queue = object_get(context, request->fault_queue_id, UIOMMU_OBJECT_FAULT_QUEUE);
		if (!queue)
			return -ENOENT;
	}
	error = open_process(context, request->data, &process);
	if (!error)
		error = bind_process(device, process, queue ? container_of(queue, struct fault_queue, object) : NULL, request,
				     again);
	if (queue)
		object_put(queue);
	return error;
}

static int bind_request(struct uiommu_context *context, struct uiommu_bind *bind, bool again)
{
	struct uiommu_bind given;
	struct object *object;
	int error = context_check_owner(context);

	if (!error)
		error = copy_struct(&given, sizeof(given), sizeof(given), bind, bind->size);
	if (!error)
		error = check_bind(&given);
	if (error)
		return error;
	object = object_get(context, given.device_id, UIOMMU_OBJECT_DEVICE);
	if (!object)
		return -ENOENT;
	error = bind_on(container_of(object, struct device, object), &given, again);
	object_put(object);
	if (!error) {
		bind->pasid = given.pasid;
		bind->hwpt_id = given.hwpt_id;
	}
	return error;
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

/* The attachment is gone: nothing emits the PASID any more. From any thread, with no lock held. */
static void ended(void *opaque)
{
	struct bind *bind = opaque;
	struct uiommu_context *context = bind->context;
	void (*done)(void *) = bind->done;

	opaque = bind->opaque;
	remove_hwpt(bind->hwpt);
	object_unuse(&bind->device->object);
	if (done)
		done(opaque);
	pthread_mutex_lock(&context->bind_lock);
	cds_list_del(&bind->link);
	pthread_cond_broadcast(&context->bind_ended);
	pthread_mutex_unlock(&context->bind_lock);
	free(bind);
}

/* @bind->ending has been set by the caller. */
static int bind_end_start(struct bind *bind, bool force, void (*done)(void *opaque), void *opaque)
{
	struct uiommu_context *context = bind->context;
	uint32_t pasid = bind->pasid;
	struct attach *attach;
	int error = attach_end_prepare(bind->device, pasid, force, &attach);

	if (error) {
		pthread_mutex_lock(&context->bind_lock);
		bind->ending = false;
		pthread_mutex_unlock(&context->bind_lock);
		/* Whoever has freed the PASID meanwhile left it to us. */
		if (pasid_draining(context->pasids, pasid))
			bind_end_pasid(context, pasid);
		return error;
	}
	bind->done = done;
	bind->opaque = opaque;
	attach_end_start(attach, ended, bind);
	return 0;
}

/* Nothing is bound. That is right if the PASID was freed while it was. */
static int unbind_late(struct uiommu_context *context, uint32_t device_id, uint32_t pasid, void (*done)(void *opaque), void *opaque)
{
	if (uiommu_object_type(context, device_id) != UIOMMU_OBJECT_DEVICE || !pasid_freed_bound(context->pasids, pasid))
		return -ENOENT;
	done(opaque);
	return 0;
}

int uiommu_unbind_start(struct uiommu_context *context, uint32_t device_id, uint32_t pasid, void (*done)(void *opaque),
			void *opaque)
{
	int error = context_check_owner(context);
	struct bind *bind;
	bool last = false;

	if (error)
		return error;
	if (thread_inside())
		return -EDEADLK;
	pthread_mutex_lock(&context->bind_lock);
	bind = find(context, device_id, pasid);
	if (bind && --bind->count == 0) {
		bind->count = 1; /* of the one who ends it, should he be refused */
		bind->ending = last = true;
	}
	pthread_mutex_unlock(&context->bind_lock);
	if (!bind)
		return unbind_late(context, device_id, pasid, done, opaque);
	if (last)
		return bind_end_start(bind, false, done, opaque);
	done(opaque);
	return 0;
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
		if (attach_pinned(bind->device, pasid))
			error = -EDEADLOCK;
		else
			pthread_cond_wait(&context->bind_ended, &context->bind_lock);
	}
	pthread_mutex_unlock(&context->bind_lock);
	return error;
}

int uiommu_unbind(struct uiommu_context *context, uint32_t device_id, uint32_t pasid)
{
	struct waiter waiter = {.lock = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER};
	int error = uiommu_unbind_start(context, device_id, pasid, wake, &waiter);

	if (error)
		return error;
	pthread_mutex_lock(&waiter.lock);
	while (!waiter.done)
		pthread_cond_wait(&waiter.cond, &waiter.lock);
	pthread_mutex_unlock(&waiter.lock);
	return wait_for_freed(context, device_id, pasid);
}

/* Under the bind lock: one that is not ending yet, of @pasid or of any, now marked so. */
static struct bind *claim_any(struct uiommu_context *context, uint32_t pasid)
{
	struct bind *bind;

	cds_list_for_each_entry (bind, &context->binds, link) {
		if (!bind->ending && (pasid == UIOMMU_NO_PASID || bind->pasid == pasid)) {
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
		bind = claim_any(context, pasid);
		pthread_mutex_unlock(&context->bind_lock);
		if (bind)
			attach_end_freed(bind->device, pasid, true, ended, bind);
	} while (bind);
	pthread_mutex_lock(&context->bind_lock);
	pthread_cond_broadcast(&context->bind_ended); /* it waits for a pin, maybe */
	pthread_mutex_unlock(&context->bind_lock);
}

void bind_end_all(struct uiommu_context *context)
{
	pthread_mutex_lock(&context->bind_lock);
	while (!cds_list_empty(&context->binds)) {
		struct bind *bind = claim_any(context, UIOMMU_NO_PASID);

		if (!bind) {
			pthread_cond_wait(&context->bind_ended, &context->bind_lock);
			continue;
		}
		pthread_mutex_unlock(&context->bind_lock);
		bind_end_start(bind, true, NULL, NULL);
		pthread_mutex_lock(&context->bind_lock);
	}
	pthread_mutex_unlock(&context->bind_lock);
}

static int check_register(const struct uiommu_register *reg)
{
	uint64_t mask = page_size() - 1, end;

	if (reg->reserved || !reg->length || (reg->access != UIOMMU_READ && reg->access != (UIOMMU_READ | UIOMMU_WRITE)))
		return -EINVAL;
	if (__builtin_add_overflow(reg->address, reg->length, &end) || __builtin_add_overflow(reg->offset, reg->length, &end))
		return -EOVERFLOW;
	return (reg->address | reg->length | reg->offset) & mask ? -EINVAL : 0;
}

/* Takes over @region. */
static int insert_region(struct space *space, const struct uiommu_register *reg, struct region *region)
{
	struct area *area;
	int error;

	pthread_mutex_lock(&space->lock);
	area = areas_alloc(&space->areas);
	error = area ? 0 : -ENOMEM;
	if (area) {
		area->start = reg->address;
		area->last = reg->address + (reg->length - 1);
		area->host = region_host(region);
		area->access = (uint8_t)reg->access;
		area->limit = (uint8_t)reg->access;
		area->resident = region_resident(region);
		area->region = region;
		error = areas_insert(&space->areas, area);
		if (error)
			areas_free(&space->areas, area);
	}
	space_unlock_tidy(space);
	if (error)
		region_put(region);
	return error;
}

/* The space of a bind, which lives until object_put() of what is written to @inside. */
static struct space *space_get(struct uiommu_context *context, uint32_t device_id, uint32_t pasid, struct object **inside)
{
	struct bind *bind;

	pthread_mutex_lock(&context->bind_lock);
	bind = find(context, device_id, pasid);
	*inside = bind ? object_get(context, bind->hwpt->object.id, UIOMMU_OBJECT_HWPT_SVA) : NULL;
	pthread_mutex_unlock(&context->bind_lock);
	return *inside ? object_hwpt(*inside)->space : NULL;
}

int uiommu_register(struct uiommu_context *context, const struct uiommu_register *reg)
{
	struct uiommu_register given;
	struct region *region;
	struct object *inside;
	struct space *space;
	int error = copy_struct(&given, sizeof(given), sizeof(given), reg, reg->size);

	if (!error)
		error = check_register(&given);
	if (error)
		return error;
	space = space_get(context, given.device_id, given.pasid, &inside);
	if (!space)
		return -ENOENT;
	if ((process_access(space->process) & given.access) != given.access)
		error = -EACCES;
	if (!error)
		error = region_file(given.fd, given.offset, given.length, given.access, true, &region);
	if (!error)
		error = insert_region(space, &given, region);
	object_put(inside);
	return error;
}

int uiommu_unregister(struct uiommu_context *context, uint32_t device_id, uint32_t pasid, uint64_t address, uint64_t length)
{
	struct object *inside;
	struct space *space;
	int error;

	if (thread_inside())
		return -EDEADLK;
	space = space_get(context, device_id, pasid, &inside);
	if (!space)
		return -ENOENT;
	error = length && length - 1 <= UINT64_MAX - address ? space_unmap_exactly(space, address, address + (length - 1))
							     : -ENOENT;
	object_put(inside);
	return error;
}
