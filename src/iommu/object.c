/* SPDX-License-Identifier: BSD-3-Clause */
#include "iommu/object.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "translate/inflight.h"
#include "util/util.h"

static void other_end(struct object *object)
{
	struct other_object *other = container_of(object, struct other_object, object);

	other->end(other);
}

static void (*const ends[])(struct object *) = {
	[UIOMMU_OBJECT_IOAS] = ioas_end,	[UIOMMU_OBJECT_HWPT_PAGING] = hwpt_end,
	[UIOMMU_OBJECT_HWPT_NESTED] = hwpt_end, [UIOMMU_OBJECT_HWPT_SVA] = hwpt_end,
	[UIOMMU_OBJECT_DEVICE] = device_end,	[UIOMMU_OBJECT_FAULT_QUEUE] = fault_queue_end,
	[UIOMMU_OBJECT_RAM] = ram_end,		[UIOMMU_OBJECT_PASID_SET] = set_end,
	[UIOMMU_OBJECT_DEMAND] = demand_end,	[UIOMMU_OBJECT_MDEV] = mdev_end,
	[UIOMMU_OBJECT_VIOMMU] = viommu_end,	[UIOMMU_OBJECT_VDEVICE] = vdevice_end,
	[UIOMMU_OBJECT_VEVENTQ] = veventq_end,	[UIOMMU_OBJECT_HW_QUEUE] = hw_queue_end,
	[UIOMMU_OBJECT_OTHER] = other_end,
};

/* In the place of what is never used again. */
static struct object tombstone;

/* Room for one more id. */
static int grow(struct uiommu_context *context)
{
	uint32_t capacity = context->capacity ? context->capacity * 2 : 16;
	struct object **objects;

	if (context->lowest_free < context->capacity)
		return 0;
	objects = realloc(context->objects, capacity * sizeof(*objects));
	if (!objects)
		return -ENOMEM;
	memset(objects + context->capacity, 0, (capacity - context->capacity) * sizeof(*objects));
	context->objects = objects;
	context->capacity = capacity;
	return 0;
}

/* Under the lock. The lowest free id is @object's from now on. -ENOMEM. */
static int reserve_id(struct uiommu_context *context, struct object *object, uint32_t *id)
{
	int error = grow(context);

	if (error)
		return error;
	*id = context->lowest_free;
	context->objects[*id] = object;
	while (context->lowest_free < context->capacity && context->objects[context->lowest_free])
		context->lowest_free++;
	return 0;
}

int object_alloc(struct uiommu_context *context, struct object *object, enum uiommu_object_type type)
{
	int error;

	*object = (struct object){.context = context, .type = type};
	pthread_mutex_lock(&context->lock);
	error = reserve_id(context, object, &object->id);
	pthread_mutex_unlock(&context->lock);
	return error;
}

static void release_id(struct object *object)
{
	struct uiommu_context *context = object->context;

	context->objects[object->id] = NULL;
	if (object->id < context->lowest_free)
		context->lowest_free = object->id;
}

void object_finalise(struct object *object)
{
	pthread_mutex_lock(&object->context->lock);
	object->live = true;
	object->context->live_count++;
	pthread_mutex_unlock(&object->context->lock);
}

void object_finalise_at(struct object *object, struct object **place)
{
	pthread_mutex_lock(&object->context->lock);
	object->live = true;
	object->calls = 1;
	object->context->live_count++;
	*place = object;
	pthread_mutex_unlock(&object->context->lock);
}

struct object *object_get_at(struct uiommu_context *context, struct object **place)
{
	struct object *object;

	pthread_mutex_lock(&context->lock);
	object = *place && (*place)->live ? *place : NULL;
	if (object)
		object->calls++;
	pthread_mutex_unlock(&context->lock);
	return object;
}

void object_clear_at(const struct object *object, struct object **place)
{
	pthread_mutex_lock(&object->context->lock);
	if (*place == object)
		*place = NULL;
	pthread_mutex_unlock(&object->context->lock);
}

void object_abort(struct object *object)
{
	pthread_mutex_lock(&object->context->lock);
	release_id(object);
	pthread_mutex_unlock(&object->context->lock);
}

static struct object *find(const struct uiommu_context *context, uint32_t id)
{
	struct object *object = id < context->capacity ? context->objects[id] : NULL;

	return object && object->live ? object : NULL;
}

struct object *object_get(struct uiommu_context *context, uint32_t id, enum uiommu_object_type type)
{
	struct object *object;

	pthread_mutex_lock(&context->lock);
	object = find(context, id);
	if (object && type != UIOMMU_OBJECT_NONE && object->type != type)
		object = NULL;
	if (object)
		object->calls++;
	pthread_mutex_unlock(&context->lock);
	return object;
}

void object_put(struct object *object)
{
	struct uiommu_context *context = object->context;

	pthread_mutex_lock(&context->lock);
	if (!--object->calls && !object->live)
		pthread_cond_broadcast(&context->calls_done);
	pthread_mutex_unlock(&context->lock);
}

void object_use(struct object *object)
{
	pthread_mutex_lock(&object->context->lock);
	object->users++;
	pthread_mutex_unlock(&object->context->lock);
}

void object_unuse(struct object *object)
{
	struct uiommu_context *context = object->context;

	pthread_mutex_lock(&context->lock);
	object->users--;
	pthread_cond_broadcast(&context->calls_done);
	pthread_mutex_unlock(&context->lock);
}

void object_wait_users(struct object *object, unsigned int users)
{
	struct uiommu_context *context = object->context;

	pthread_mutex_lock(&context->lock);
	while (object->users > users)
		pthread_cond_wait(&context->calls_done, &context->lock);
	pthread_mutex_unlock(&context->lock);
}

/* Under the lock. */
static void take_out(struct object *object)
{
	object->live = false;
	object->context->live_count--;
}

/* By other objects, RAM by what is mapped of it, a set by its numbers, a mediated device by one of them. */
static bool in_use(const struct object *object)
{
	if (object->users)
		return true;
	if (object->type == UIOMMU_OBJECT_RAM)
		return ram_in_use(object);
	if (object->type == UIOMMU_OBJECT_MDEV)
		return mdev_in_use(object);
	return object->type == UIOMMU_OBJECT_PASID_SET && set_in_use(object);
}

/* Wait for the calls that are inside. One of them may begin to use it: then it stays. */
static int wait_for_calls(struct object *object)
{
	struct uiommu_context *context = object->context;

	while (object->calls)
		pthread_cond_wait(&context->calls_done, &context->lock);
	if (!in_use(object))
		return 0;
	object->live = true;
	context->live_count++;
	return -EBUSY;
}

int object_remove(struct uiommu_context *context, uint32_t id, struct object **out)
{
	struct object *object;
	int error = 0;

	pthread_mutex_lock(&context->lock);
	object = find(context, id);
	if (!object) {
		error = -ENOENT;
	} else if (in_use(object)) {
		error = -EBUSY;
	} else {
		take_out(object);
		error = wait_for_calls(object);
	}
	if (!error)
		release_id(object);
	pthread_mutex_unlock(&context->lock);
	*out = object;
	return error;
}

bool object_bury(struct object *object)
{
	struct uiommu_context *context = object->context;
	uint32_t id = object->id;
	bool there;

	pthread_mutex_lock(&context->lock);
	there = object->live && !in_use(object);
	if (there) {
		take_out(object);
		there = !wait_for_calls(object);
	}
	if (there)
		context->objects[id] = &tombstone;
	pthread_mutex_unlock(&context->lock);
	return there;
}

bool object_unuse_remove(struct object *object)
{
	struct uiommu_context *context = object->context;
	bool idle;

	pthread_mutex_lock(&context->lock);
	object->users--;
	idle = object->live && !object->users && !object->calls;
	if (idle) {
		take_out(object);
		release_id(object);
	}
	pthread_mutex_unlock(&context->lock);
	return idle;
}

int uiommu_destroy(struct uiommu_context *context, uint32_t id)
{
	struct object *object;
	int error = context_check_owner(context);

	if (error)
		return error;
	if (thread_inside())
		return -EDEADLK;
	error = object_remove(context, id, &object);
	if (!error)
		ends[object->type](object);
	return error;
}

/* Nobody finds it any more, and no call is inside of it; or it is found again. */
static void hide(struct object *object, bool hidden)
{
	struct uiommu_context *context = object->context;

	pthread_mutex_lock(&context->lock);
	object->live = !hidden;
	context->live_count += hidden ? -(size_t)1 : 1;
	while (hidden && object->calls)
		pthread_cond_wait(&context->calls_done, &context->lock);
	pthread_mutex_unlock(&context->lock);
}

int object_move(struct object *object, struct object *place, struct uiommu_context *to, uint32_t to_id)
{
	struct uiommu_context *from = object->context;
	int error = 0;

	hide(object, true);
	pthread_mutex_lock(&to->lock);
	if (to_id)
		to->objects[to_id] = object;
	else
		error = reserve_id(to, object, &to_id);
	pthread_mutex_unlock(&to->lock);
	if (error) {
		hide(object, false);
		return error;
	}
	pthread_mutex_lock(&from->lock);
	if (place) {
		*place = (struct object){.context = from, .id = object->id};
		from->objects[object->id] = place;
	} else {
		release_id(object);
	}
	pthread_mutex_unlock(&from->lock);
	object->context = to;
	object->id = to_id;
	return 0;
}

/* Those that refer to others before those that others refer to. */
static const enum uiommu_object_type end_order[] = {
	UIOMMU_OBJECT_OTHER,	UIOMMU_OBJECT_HW_QUEUE,	   UIOMMU_OBJECT_VEVENTQ,     UIOMMU_OBJECT_VDEVICE,
	UIOMMU_OBJECT_MDEV,	UIOMMU_OBJECT_DEVICE,	   UIOMMU_OBJECT_HWPT_NESTED, UIOMMU_OBJECT_VIOMMU,
	UIOMMU_OBJECT_HWPT_SVA, UIOMMU_OBJECT_HWPT_PAGING, UIOMMU_OBJECT_FAULT_QUEUE, UIOMMU_OBJECT_IOAS,
	UIOMMU_OBJECT_RAM,	UIOMMU_OBJECT_PASID_SET,   UIOMMU_OBJECT_DEMAND,
};

void object_end_all(struct uiommu_context *context)
{
	for (size_t i = 0; i < ARRAY_SIZE(end_order); i++)
		for (uint32_t id = 1; id < context->capacity; id++) {
			struct object *object = context->objects[id];

			if (!object || object->type != end_order[i])
				continue;
			context->objects[id] = NULL;
			ends[object->type](object);
		}
}

enum uiommu_object_type uiommu_object_type(struct uiommu_context *context, uint32_t id)
{
	enum uiommu_object_type type;
	const struct object *object;

	pthread_mutex_lock(&context->lock);
	object = find(context, id);
	type = object ? object->type : UIOMMU_OBJECT_NONE;
	pthread_mutex_unlock(&context->lock);
	return type;
}

size_t uiommu_object_count(struct uiommu_context *context)
{
	size_t count;

	pthread_mutex_lock(&context->lock);
	count = context->live_count;
	pthread_mutex_unlock(&context->lock);
	return count;
}
