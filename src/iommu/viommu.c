/* SPDX-License-Identifier: BSD-3-Clause */
/* vIOMMUs and vDEVICEs, and queues of hardware. */
#include "iommu/viommu.h"

#include <errno.h>
#include <stdlib.h>

#include "util/util.h"

int viommu_alloc(struct uiommu_context *context, uint32_t type, const struct viommu_events *events, uint32_t hwpt_id,
		 uint32_t *out_id)
{
	struct viommu *viommu;
	struct hwpt *parent;
	int error = nested_parent_get(context, hwpt_id, &parent);

	if (error)
		return uiommu_object_type(context, hwpt_id) == UIOMMU_OBJECT_HWPT_PAGING ? error : -ENOENT;
	viommu = calloc(1, sizeof(*viommu));
	error = viommu ? object_alloc(context, &viommu->object, UIOMMU_OBJECT_VIOMMU) : -ENOMEM;
	if (error) {
		free(viommu);
	} else {
		viommu->type = type;
		viommu->events = events;
		viommu->parent = parent;
		object_use(&parent->object);
		CDS_INIT_LIST_HEAD(&viommu->vdevices);
		CDS_INIT_LIST_HEAD(&viommu->veventqs);
		CDS_INIT_LIST_HEAD(&viommu->hw_queues);
		*out_id = viommu->object.id;
		object_finalise(&viommu->object);
	}
	object_put(&parent->object);
	return error;
}

void viommu_end(struct object *object)
{
	struct viommu *viommu = container_of(object, struct viommu, object);

	object_unuse(&viommu->parent->object);
	free(viommu);
}

struct viommu *viommu_get(struct uiommu_context *context, uint32_t id)
{
	struct object *object = object_get(context, id, UIOMMU_OBJECT_VIOMMU);

	return object ? container_of(object, struct viommu, object) : NULL;
}

void viommu_put(struct viommu *viommu)
{
	object_put(&viommu->object);
}

/* --- vDEVICEs --- */

/* Under the viommu lock. */
static struct vdevice *find(const struct viommu *viommu, uint64_t virt_id)
{
	struct vdevice *vdevice;

	cds_list_for_each_entry (vdevice, &viommu->vdevices, link)
		if (vdevice->virt_id == virt_id)
			return vdevice;
	return NULL;
}

/* Inside calls of both. */
static int vdevice_make(struct viommu *viommu, struct device *device, uint64_t virt_id, uint32_t *out_id)
{
	struct uiommu_context *context = viommu->object.context;
	struct vdevice *vdevice = calloc(1, sizeof(*vdevice));
	int error = vdevice ? object_alloc(context, &vdevice->object, UIOMMU_OBJECT_VDEVICE) : -ENOMEM;

	if (error) {
		free(vdevice);
		return error;
	}
	vdevice->viommu = viommu;
	vdevice->device = device;
	vdevice->virt_id = virt_id;
	pthread_mutex_lock(&context->viommu_lock);
	if (device->vdevice || find(viommu, virt_id)) {
		error = -EEXIST;
	} else {
		device->vdevice = vdevice;
		cds_list_add_tail(&vdevice->link, &viommu->vdevices);
	}
	pthread_mutex_unlock(&context->viommu_lock);
	if (error) {
		object_abort(&vdevice->object);
		free(vdevice);
		return error;
	}
	object_use(&viommu->object);
	*out_id = vdevice->object.id;
	object_finalise(&vdevice->object);
	return 0;
}

int vdevice_alloc(struct uiommu_context *context, uint32_t viommu_id, uint32_t device_id, uint64_t virt_id, uint32_t *out_id)
{
	struct viommu *viommu = viommu_get(context, viommu_id);
	struct object *object;
	int error = -ENOENT;

	if (!viommu)
		return -ENOENT;
	object = object_get(context, device_id, UIOMMU_OBJECT_DEVICE);
	if (object) {
		error = vdevice_make(viommu, container_of(object, struct device, object), virt_id, out_id);
		object_put(object);
	}
	viommu_put(viommu);
	return error;
}

void vdevice_end(struct object *object)
{
	struct vdevice *vdevice = container_of(object, struct vdevice, object);
	struct uiommu_context *context = object->context;

	pthread_mutex_lock(&context->viommu_lock);
	if (vdevice->device)
		vdevice->device->vdevice = NULL;
	cds_list_del(&vdevice->link);
	pthread_mutex_unlock(&context->viommu_lock);
	object_unuse(&vdevice->viommu->object);
	free(vdevice);
}

void vdevice_forget(struct device *device)
{
	struct uiommu_context *context = device->object.context;
	struct vdevice *vdevice;

	pthread_mutex_lock(&context->viommu_lock);
	vdevice = device->vdevice;
	device->vdevice = NULL;
	if (vdevice)
		vdevice->device = NULL;
	/* Whoever destroys it at the same time waits for the lock before he frees it. */
	if (vdevice && !object_bury(&vdevice->object))
		vdevice = NULL;
	pthread_mutex_unlock(&context->viommu_lock);
	if (vdevice)
		vdevice_end(&vdevice->object);
}

uint32_t viommu_device(struct viommu *viommu, uint64_t virt_id)
{
	struct uiommu_context *context = viommu->object.context;
	const struct vdevice *vdevice;
	uint32_t id = 0;

	pthread_mutex_lock(&context->viommu_lock);
	vdevice = find(viommu, virt_id);
	if (vdevice && vdevice->device)
		id = vdevice->device->object.id;
	pthread_mutex_unlock(&context->viommu_lock);
	return id;
}

bool viommu_virt_id(struct uiommu_context *context, const struct viommu *viommu, uint32_t device_id, uint64_t *virt_id)
{
	struct object *object = object_get(context, device_id, UIOMMU_OBJECT_DEVICE);
	const struct vdevice *vdevice;
	bool found;

	if (!object)
		return false;
	pthread_mutex_lock(&context->viommu_lock);
	vdevice = container_of(object, struct device, object)->vdevice;
	found = vdevice && (!viommu || vdevice->viommu == viommu);
	if (found)
		*virt_id = vdevice->virt_id;
	pthread_mutex_unlock(&context->viommu_lock);
	object_put(object);
	return found;
}

/* --- queues of hardware --- */

struct hw_queue {
	struct object object;
	struct cds_list_head link; /* in viommu->hw_queues */
	struct viommu *viommu; /* used */
	struct hw_queue *before; /* used; or NULL */
	uint32_t index;
	uint64_t iova, last;
};

/* Under the viommu lock. */
static struct hw_queue *queue_at(const struct viommu *viommu, uint32_t index)
{
	struct hw_queue *queue;

	cds_list_for_each_entry (queue, &viommu->hw_queues, link)
		if (queue->index == index)
			return queue;
	return NULL;
}

/* Under the space's lock: its areas, one behind the other in memory, too. */
static int check_memory(struct space *space, uint64_t iova, uint64_t last)
{
	const uint8_t *expected = NULL;

	for (;;) {
		const struct area *area = areas_find(&space->areas, iova);

		if (!area)
			return -ENOENT;
		if (!(area->access & UIOMMU_READ))
			return -EPERM;
		if (expected && area->host != expected)
			return -EFAULT;
		if (area->locked == UINT8_MAX || area->revoking)
			return -EBUSY;
		if (area->last >= last)
			return 0;
		iova = area->last + 1;
		expected = (const uint8_t *)((uintptr_t)area->host + (area->last - area->start + 1));
	}
}

/* Under the space's lock: one queue more, or less. */
static void count_areas(struct space *space, uint64_t iova, uint64_t last, int more)
{
	struct area *area = areas_find(&space->areas, iova);

	for (; area; area = area->last < last ? areas_find(&space->areas, area->last + 1) : NULL)
		area->locked = (uint8_t)(area->locked + more);
}

static int lock_memory(struct space *space, uint64_t iova, uint64_t last)
{
	int error;

	pthread_mutex_lock(&space->lock);
	error = check_memory(space, iova, last);
	if (!error)
		count_areas(space, iova, last, 1);
	pthread_mutex_unlock(&space->lock);
	return error;
}

static void unlock_memory(struct space *space, uint64_t iova, uint64_t last)
{
	pthread_mutex_lock(&space->lock);
	count_areas(space, iova, last, -1);
	pthread_mutex_unlock(&space->lock);
}

/* Its place among the others. */
static int enter(struct hw_queue *queue, uint32_t count)
{
	struct viommu *viommu = queue->viommu;
	struct uiommu_context *context = viommu->object.context;
	int error = 0;

	if (queue->index >= count)
		return -EINVAL;
	pthread_mutex_lock(&context->viommu_lock);
	queue->before = queue->index ? queue_at(viommu, queue->index - 1) : NULL;
	if (queue_at(viommu, queue->index))
		error = -EEXIST;
	else if (queue->index && !queue->before)
		error = -EIO;
	if (!error) {
		cds_list_add_tail(&queue->link, &viommu->hw_queues);
		if (queue->before)
			object_use(&queue->before->object);
	}
	pthread_mutex_unlock(&context->viommu_lock);
	return error;
}

static int hw_queue_make(struct viommu *viommu, const struct hw_queue_request *request, uint32_t *out_id)
{
	struct hw_queue *queue = calloc(1, sizeof(*queue));
	int error = queue ? object_alloc(viommu->object.context, &queue->object, UIOMMU_OBJECT_HW_QUEUE) : -ENOMEM;

	if (error) {
		free(queue);
		return error;
	}
	queue->viommu = viommu;
	queue->index = request->index;
	queue->iova = request->iova;
	queue->last = request->iova + (request->length - 1);
	error = lock_memory(viommu->parent->space, queue->iova, queue->last);
	if (!error) {
		error = enter(queue, request->count);
		if (error)
			unlock_memory(viommu->parent->space, queue->iova, queue->last);
	}
	if (error) {
		object_abort(&queue->object);
		free(queue);
		return error;
	}
	object_use(&viommu->object);
	*out_id = queue->object.id;
	object_finalise(&queue->object);
	return 0;
}

int hw_queue_alloc(struct uiommu_context *context, const struct hw_queue_request *request, uint32_t *out_id)
{
	struct viommu *viommu = viommu_get(context, request->viommu_id);
	int error;

	if (!viommu)
		return -ENOENT;
	/* Whole pages. */
	if (request->length > UINT64_MAX - (request->iova % page_size()) - (page_size() - 1))
		error = -ERANGE;
	else
		error = hw_queue_make(viommu, request, out_id);
	viommu_put(viommu);
	return error;
}

void hw_queue_end(struct object *object)
{
	struct hw_queue *queue = container_of(object, struct hw_queue, object);
	struct viommu *viommu = queue->viommu;

	pthread_mutex_lock(&object->context->viommu_lock);
	cds_list_del(&queue->link);
	pthread_mutex_unlock(&object->context->viommu_lock);
	unlock_memory(viommu->parent->space, queue->iova, queue->last);
	if (queue->before)
		object_unuse(&queue->before->object);
	object_unuse(&viommu->object);
	free(queue);
}
