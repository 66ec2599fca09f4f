/* SPDX-License-Identifier: BSD-3-Clause */
#include "iommu/hwpt.h"

#include <errno.h>
#include <stdlib.h>

#include "iommu/viommu.h"
#include "memory/process.h"
#include "util/util.h"

enum { HAS_IOTLB = UIOMMU_HWPT_NEST_PARENT | UIOMMU_HWPT_DIRTY_TRACKING };

static struct hwpt *hwpt_make(struct uiommu_context *context, enum uiommu_object_type type, struct fault_queue *queue,
			      uint32_t flags)
{
	struct hwpt *hwpt = calloc(1, sizeof(*hwpt));

	if (!hwpt)
		return NULL;
	hwpt->references = 1;
	hwpt->flags = flags;
	hwpt->queue = queue;
	hwpt->sink = queue ? &queue->sink : NULL;
	if (object_alloc(context, &hwpt->object, type)) {
		free(hwpt);
		return NULL;
	}
	if (queue)
		object_use(&queue->object);
	return hwpt;
}

struct hwpt *hwpt_alloc_paging(struct ioas *ioas, struct fault_queue *queue, uint32_t flags)
{
	struct hwpt *hwpt = hwpt_make(ioas->object.context, UIOMMU_OBJECT_HWPT_PAGING, queue, flags);

	if (!hwpt)
		return NULL;
	hwpt->ioas = ioas;
	hwpt->space = &ioas->space;
	object_use(&ioas->object);
	return hwpt;
}

struct hwpt *hwpt_alloc_nested(struct hwpt *parent, struct fault_queue *queue, uint32_t flags)
{
	struct hwpt *hwpt = hwpt_make(parent->object.context, UIOMMU_OBJECT_HWPT_NESTED, queue, flags);

	if (!hwpt)
		return NULL;
	hwpt->parent = parent;
	hwpt->ioas = parent->ioas;
	hwpt->space = parent->space;
	object_use(&parent->object);
	__atomic_add_fetch(&parent->references, 1, __ATOMIC_RELAXED);
	return hwpt;
}

struct hwpt *hwpt_alloc_sva(struct uiommu_context *context, struct process *process, struct fault_queue *queue)
{
	struct hwpt *hwpt = hwpt_make(context, UIOMMU_OBJECT_HWPT_SVA, queue, UIOMMU_HWPT_PASID);

	if (!hwpt)
		return NULL;
	hwpt->space = &hwpt->own;
	space_init(&hwpt->own, process);
	return hwpt;
}

int hwpt_set_geometry(struct hwpt *hwpt, const struct geometry *geometry)
{
	int error = geometry ? ioas_table_begin(hwpt->ioas, &hwpt->geometry, geometry) : 0;

	if (!error)
		hwpt->geometry = geometry;
	return error;
}

void hwpt_memory_put(struct hwpt *hwpt)
{
	struct hwpt *parent;

	for (; hwpt && !__atomic_sub_fetch(&hwpt->references, 1, __ATOMIC_ACQ_REL); hwpt = parent) {
		parent = hwpt->parent;
		if (hwpt->flags & HAS_IOTLB)
			stages_cache_fini(&hwpt->cache);
		free(hwpt);
	}
}

/* No attachment is left: nobody is inside the space. */
void hwpt_end(struct object *object)
{
	struct hwpt *hwpt = object_hwpt(object);

	if (hwpt->parent) {
		nested_end(hwpt);
		if (hwpt->viommu)
			object_unuse(&hwpt->viommu->object);
		object_unuse(&hwpt->parent->object);
	} else if (hwpt->ioas) {
		if (hwpt->geometry)
			ioas_table_end(hwpt->ioas, &hwpt->geometry, hwpt->geometry);
		if (hwpt->flags & UIOMMU_HWPT_DIRTY_TRACKING)
			dirty_end(hwpt);
		object_clear_at(object, &hwpt->ioas->automatic);
		object_unuse(&hwpt->ioas->object);
	} else {
		space_clear(&hwpt->own);
		space_fini(&hwpt->own);
		process_close(hwpt->own.process);
	}
	if (hwpt->queue)
		object_unuse(&hwpt->queue->object);
	hwpt_memory_put(hwpt);
}

void hwpt_abort(struct hwpt *hwpt)
{
	object_abort(&hwpt->object);
	hwpt_end(&hwpt->object);
}

static bool is_cache_size(uint32_t entries)
{
	return entries <= IOTLB_ENTRIES_MAX || entries == UIOMMU_IOTLB_NONE;
}

static uint32_t cache_size(uint32_t entries, uint32_t usual)
{
	return entries == UIOMMU_IOTLB_NONE ? 0 : entries ? entries : usual;
}

static int check_alloc(const struct uiommu_hwpt_alloc *alloc)
{
	const uint32_t known =
		UIOMMU_HWPT_NEST_PARENT | UIOMMU_HWPT_DIRTY_TRACKING | UIOMMU_HWPT_FAULT | UIOMMU_HWPT_PASID | UIOMMU_HWPT_STALL;

	if (alloc->type != UIOMMU_HWPT_PAGING || alloc->flags & ~known)
		return -EOPNOTSUPP;
	if ((alloc->iotlb_entries || alloc->walk_entries) && !(alloc->flags & HAS_IOTLB))
		return -EOPNOTSUPP;
	if (!is_cache_size(alloc->iotlb_entries) || !is_cache_size(alloc->walk_entries))
		return -EOPNOTSUPP;
	if (alloc->flags & UIOMMU_HWPT_FAULT && alloc->flags & UIOMMU_HWPT_NEST_PARENT)
		return -EOPNOTSUPP;
	if (alloc->flags & UIOMMU_HWPT_STALL && !(alloc->flags & UIOMMU_HWPT_FAULT))
		return -EOPNOTSUPP;
	return 0;
}

int hwpt_queue_get(struct uiommu_context *context, uint32_t flags, uint32_t queue_id, struct fault_queue **out)
{
	struct object *object;

	*out = NULL;
	if (!(flags & UIOMMU_HWPT_FAULT))
		return 0;
	object = object_get(context, queue_id, UIOMMU_OBJECT_FAULT_QUEUE);
	if (!object)
		return -ENOENT;
	*out = container_of(object, struct fault_queue, object);
	return 0;
}

struct stages *hwpt_stages(struct hwpt *hwpt)
{
	bool own = hwpt->parent ? !hwpt->tables : hwpt->flags & UIOMMU_HWPT_DIRTY_TRACKING;

	return own ? &hwpt->stages : NULL;
}

/* After a failure @hwpt is as if it had no such flags. */
static int cache_begins(struct hwpt *hwpt, const struct uiommu_hwpt_alloc *alloc)
{
	uint32_t flags = hwpt->flags;
	int error;

	hwpt->flags &= ~(uint32_t)HAS_IOTLB;
	error = stages_cache_init(&hwpt->cache, cache_size(alloc->iotlb_entries, IOTLB_ENTRIES_DEFAULT),
				  cache_size(alloc->walk_entries, WALK_ENTRIES_DEFAULT));
	if (error)
		return error;
	error = flags & UIOMMU_HWPT_DIRTY_TRACKING ? dirty_begin(hwpt) : 0;
	if (error) {
		stages_cache_fini(&hwpt->cache);
		return error;
	}
	hwpt->flags = flags;
	pthread_mutex_init(&hwpt->children_lock, NULL);
	CDS_INIT_LIST_HEAD(&hwpt->children);
	if (flags & UIOMMU_HWPT_DIRTY_TRACKING)
		dirty_init(hwpt);
	return 0;
}

/* Inside a call of the parent. */
static int alloc_on(struct object *parent, const struct uiommu_hwpt_alloc *alloc, const struct geometry *geometry, uint32_t *out_id)
{
	struct fault_queue *queue;
	struct hwpt *hwpt;
	int error, missing;

	if (parent->type != UIOMMU_OBJECT_IOAS)
		return -EINVAL;
	missing = hwpt_queue_get(parent->context, alloc->flags, alloc->fault_queue_id, &queue);
	hwpt = hwpt_alloc_paging(container_of(parent, struct ioas, object), queue, alloc->flags);
	if (queue)
		object_put(&queue->object);
	if (!hwpt)
		return -ENOMEM;
	error = hwpt_set_geometry(hwpt, geometry);
	/* Linux looks at the queue when there is a page table already. */
	if (!error)
		error = missing;
	if (!error && alloc->flags & HAS_IOTLB)
		error = cache_begins(hwpt, alloc);
	if (error)
		hwpt->flags &= ~(uint32_t)HAS_IOTLB;
	if (error) {
		hwpt_abort(hwpt);
		return error;
	}
	*out_id = hwpt->object.id;
	object_finalise(&hwpt->object);
	return 0;
}

int uiommu_hwpt_alloc(struct uiommu_context *context, const struct uiommu_hwpt_alloc *alloc, uint32_t *out_id)
{
	return hwpt_alloc(context, alloc, context->geometry, out_id);
}

int hwpt_alloc(struct uiommu_context *context, const struct uiommu_hwpt_alloc *alloc, const struct geometry *geometry,
	       uint32_t *out_id)
{
	struct uiommu_hwpt_alloc given;
	struct object *parent;
	int error = copy_struct(&given, sizeof(given), sizeof(given), alloc, alloc->size);

	if (!error)
		error = check_alloc(&given);
	if (error)
		return error;
	parent = object_get(context, given.parent_id, UIOMMU_OBJECT_NONE);
	if (!parent)
		return -ENOENT;
	error = alloc_on(parent, &given, geometry, out_id);
	object_put(parent);
	return error;
}
