/* SPDX-License-Identifier: BSD-3-Clause */
/* A context's objects, one line for each, as list.c has it: what they are made of, and what is attached to what. */
#include <inttypes.h>
#include <stdio.h>

#include "abi/session/session.h"
#include "iommu/attach.h"
#include "iommu/viommu.h"
#include "util/util.h"

enum { PASIDS_SHOWN = 16 };

static const char *object_name(enum uiommu_object_type type)
{
	static const char *const names[] = {
		[UIOMMU_OBJECT_IOAS] = "ioas",
		[UIOMMU_OBJECT_HWPT_PAGING] = "hwpt",
		[UIOMMU_OBJECT_HWPT_NESTED] = "nested-hwpt",
		[UIOMMU_OBJECT_HWPT_SVA] = "sva-hwpt",
		[UIOMMU_OBJECT_DEVICE] = "device",
		[UIOMMU_OBJECT_FAULT_QUEUE] = "fault-queue",
		[UIOMMU_OBJECT_RAM] = "ram",
		[UIOMMU_OBJECT_PASID_SET] = "pasid-set",
		[UIOMMU_OBJECT_DEMAND] = "demand",
		[UIOMMU_OBJECT_MDEV] = "mdev",
		[UIOMMU_OBJECT_VIOMMU] = "viommu",
		[UIOMMU_OBJECT_VDEVICE] = "vdevice",
		[UIOMMU_OBJECT_VEVENTQ] = "veventq",
		[UIOMMU_OBJECT_HW_QUEUE] = "hw-queue",
	};

	return type < ARRAY_SIZE(names) && names[type] ? names[type] : "object";
}

/* --- what never changes, under the context's lock --- */

static void list_hwpt(FILE *out, const struct hwpt *hwpt)
{
	static const struct {
		uint32_t flag;
		const char *name;
	} flags[] = {
		{UIOMMU_HWPT_NEST_PARENT, "nest-parent"},
		{UIOMMU_HWPT_DIRTY_TRACKING, "dirty-tracking"},
		{UIOMMU_HWPT_PASID, "pasid"},
	};
	const char *between = " flags=";

	if (hwpt->ioas)
		fprintf(out, " ioas=%u", hwpt->ioas->object.id);
	if (hwpt->parent)
		fprintf(out, " parent=%u", hwpt->parent->object.id);
	if (hwpt->viommu)
		fprintf(out, " viommu=%u", hwpt->viommu->object.id);
	if (hwpt->queue)
		fprintf(out, " fault_queue=%u", hwpt->queue->object.id);
	for (size_t i = 0; i < ARRAY_SIZE(flags); i++)
		if (hwpt->flags & flags[i].flag) {
			fprintf(out, "%s%s", between, flags[i].name);
			between = ",";
		}
	if (hwpt->automatic)
		fprintf(out, "%sautomatic", between);
}

static void list_constant(FILE *out, struct object *object)
{
	switch (object->type) {
	case UIOMMU_OBJECT_HWPT_PAGING:
	case UIOMMU_OBJECT_HWPT_NESTED:
	case UIOMMU_OBJECT_HWPT_SVA:
		list_hwpt(out, object_hwpt(object));
		break;
	case UIOMMU_OBJECT_VIOMMU:
		fprintf(out, " parent=%u", container_of(object, struct viommu, object)->parent->object.id);
		break;
	case UIOMMU_OBJECT_VDEVICE:
		fprintf(out, " viommu=%u virt_id=%" PRIu64, container_of(object, struct vdevice, object)->viommu->object.id,
			container_of(object, struct vdevice, object)->virt_id);
		break;
	default:
		break;
	}
}

/* --- what changes, inside a call of the object --- */

static void list_ioas(FILE *out, struct ioas *ioas)
{
	uint64_t count = 0, bytes = 0, next = 0;
	struct area *area;

	pthread_mutex_lock(&ioas->space.lock);
	while ((area = areas_first(&ioas->space.areas, next))) {
		count++;
		bytes += area->last - area->start + 1;
		next = area->last + 1;
		if (!next)
			break;
	}
	pthread_mutex_unlock(&ioas->space.lock);
	fprintf(out, " areas=%" PRIu64 " bytes=%" PRIu64, count, bytes);
}

static uint32_t attached_hwpt(const struct device *device, uint32_t pasid)
{
	struct attachment *attachment = attach_by_call(device, pasid);

	return attachment ? container_of(attachment, struct attach, data)->hwpt->object.id : 0;
}

static void list_device(FILE *out, struct device *device)
{
	const char *between = " pasids=";
	unsigned int shown = 0;
	uint32_t hwpt;

	pthread_mutex_lock(&device->lock);
	hwpt = attached_hwpt(device, UIOMMU_NO_PASID);
	if (hwpt)
		fprintf(out, " hwpt=%u", hwpt);
	for (uint32_t pasid = 0; (pasid = attach_table_next(&device->table, pasid)) && shown <= PASIDS_SHOWN; pasid++) {
		hwpt = attached_hwpt(device, pasid);
		if (!hwpt)
			continue;
		if (shown++ == PASIDS_SHOWN)
			fprintf(out, ",...");
		else
			fprintf(out, "%s%u:%u", between, pasid, hwpt);
		between = ",";
	}
	pthread_mutex_unlock(&device->lock);
}

static void list_fault_queue(FILE *out, struct fault_queue *queue)
{
	uint32_t unread, waiting;

	pthread_mutex_lock(&queue->object.context->page_lock);
	waiting = queue->waiting;
	pthread_mutex_unlock(&queue->object.context->page_lock);
	pthread_mutex_lock(&queue->lock);
	unread = queue->count;
	pthread_mutex_unlock(&queue->lock);
	fprintf(out, " unread=%u waiting=%u", unread, waiting);
}

static void list_vdevice(FILE *out, struct vdevice *vdevice)
{
	pthread_mutex_lock(&vdevice->object.context->viommu_lock);
	if (vdevice->device)
		fprintf(out, " device=%u", vdevice->device->object.id);
	pthread_mutex_unlock(&vdevice->object.context->viommu_lock);
}

static void list_changing(FILE *out, struct uiommu_context *context, uint32_t id, enum uiommu_object_type type)
{
	struct object *object = object_get(context, id, type);

	if (!object)
		return;
	if (type == UIOMMU_OBJECT_IOAS)
		list_ioas(out, ioas_of(object));
	else if (type == UIOMMU_OBJECT_DEVICE)
		list_device(out, container_of(object, struct device, object));
	else if (type == UIOMMU_OBJECT_VDEVICE)
		list_vdevice(out, container_of(object, struct vdevice, object));
	else if (type == UIOMMU_OBJECT_FAULT_QUEUE)
		list_fault_queue(out, container_of(object, struct fault_queue, object));
	object_put(object);
}

/* False: there is none. An HWPT is not called: whoever detaches the last device from an automatic one would leave it there. */
static bool list_object(FILE *out, struct uiommu_context *context, uint32_t id, uint64_t file)
{
	enum uiommu_object_type type = UIOMMU_OBJECT_NONE;
	struct object *object;

	pthread_mutex_lock(&context->lock);
	object = id < context->capacity ? context->objects[id] : NULL;
	if (object && object->live) {
		type = object->type;
		fprintf(out, "%s\t%u\t%" PRIu64 "\t0\t%u\t%s\t", object_name(type), id, file, object->users,
			type == UIOMMU_OBJECT_DEVICE ? container_of(object, struct device, object)->name : "-");
		list_constant(out, object);
	}
	pthread_mutex_unlock(&context->lock);
	if (type == UIOMMU_OBJECT_IOAS || type == UIOMMU_OBJECT_DEVICE || type == UIOMMU_OBJECT_VDEVICE ||
	    type == UIOMMU_OBJECT_FAULT_QUEUE)
		list_changing(out, context, id, type);
	return type != UIOMMU_OBJECT_NONE;
}

void objects_list(FILE *out, struct uiommu_context *context, uint64_t file)
{
	uint32_t end;

	pthread_mutex_lock(&context->lock);
	end = context->capacity;
	pthread_mutex_unlock(&context->lock);
	for (uint32_t id = 1; id < end; id++)
		if (list_object(out, context, id, file))
			fprintf(out, "\n");
}
