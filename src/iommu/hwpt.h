/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * HWPTs. A paging one is its IOAS's interval map as it is; an SVA one has a space of its own, with a process behind it. A nested
 * one is stages in front of its parent's space.
 */
#ifndef IOMMU_HWPT_H
#define IOMMU_HWPT_H

#include <uiommu/nested.h>

#include "iommu/dirty.h"
#include "iommu/fault_queue.h"
#include "iommu/ioas.h"
#include "iommu/object.h"
#include "translate/stages.h"

struct hwpt {
	struct object object;
	uint32_t flags; /* enum uiommu_hwpt_flags */
	unsigned int references; /* to this memory, atomic: while it is an object, of attachments' memory, and of nested ones' */
	const struct geometry *geometry; /* paging: the IOAS has been told; or NULL */
	bool automatic; /* made for an attach to an IOAS; ends with its last attachment */
	struct ioas *ioas; /* paging: used */
	struct fault_queue *queue; /* used, or NULL */
	struct fault_sink *sink; /* the queue's, or that of a register model; or NULL */
	struct space *space; /* the IOAS's, or @own */
	struct space own; /* SVA */
	struct hwpt *parent; /* nested: used */
	struct viommu *viommu; /* nested, of a vIOMMU: used; or NULL */
	bool quiet; /* nested: the guest does not want to know of faults */
	struct stages stages; /* nested, one page table; with DIRTY_TRACKING: itself */
	struct guest_tables *tables; /* nested, a guest's tables (tables.h); otherwise NULL */
	struct cds_list_head sibling; /* nested: in parent->children */
	struct dirty dirty; /* with DIRTY_TRACKING */
	struct stages_cache cache; /* a nest parent's, or with DIRTY_TRACKING */
	/* A nest parent's: */
	pthread_mutex_t children_lock; /* of the list; before the context lock */
	struct cds_list_head children; /* struct hwpt, in the order of their making */
};

static inline struct hwpt *object_hwpt(struct object *object)
{
	return (struct hwpt *)(void *)((char *)object - offsetof(struct hwpt, object));
}

/*
 * Allocated, not finalised. The caller is inside a call of @ioas or @parent, and of @queue, which may be NULL. An SVA HWPT takes
 * over @process. NULL without memory.
 */
struct hwpt *hwpt_alloc_paging(struct ioas *ioas, struct fault_queue *queue, uint32_t flags);
struct hwpt *hwpt_alloc_nested(struct hwpt *parent, struct fault_queue *queue, uint32_t flags);
struct hwpt *hwpt_alloc_sva(struct uiommu_context *context, struct process *process, struct fault_queue *queue);

/* For the length of a call, if @flags have FAULT; otherwise *@out is NULL. -ENOENT. */
int hwpt_queue_get(struct uiommu_context *context, uint32_t flags, uint32_t queue_id, struct fault_queue **out);

/* It is a page table of its IOAS. Errors of ioas_table_begin(). */
int hwpt_set_geometry(struct hwpt *hwpt, const struct geometry *geometry);

/* uiommu_hwpt_alloc() with this geometry; NULL: none. */
int hwpt_alloc(struct uiommu_context *context, const struct uiommu_hwpt_alloc *alloc, const struct geometry *geometry,
	       uint32_t *out_id);

void hwpt_memory_put(struct hwpt *hwpt);

/* Undo an allocation that was not finalised. */
void hwpt_abort(struct hwpt *hwpt);

enum { IOTLB_ENTRIES_DEFAULT = 16384, WALK_ENTRIES_DEFAULT = 4096, IOTLB_ENTRIES_MAX = 1 << 24 };

/* What stands in front of its space, or NULL. */
struct stages *hwpt_stages(struct hwpt *hwpt);

/* What stands behind all stages of what is nested on @parent, or NULL. */
static inline const struct pgtable *hwpt_behind(const struct hwpt *parent)
{
	return parent->flags & UIOMMU_HWPT_DIRTY_TRACKING ? &parent->dirty.tracker.pgtable : NULL;
}

/*
 * Forget what is cached of it and of all that are nested on it, and wait until nobody uses it any more. Of one with an IOTLB. Not
 * inside an access.
 */
void hwpt_forget_all(struct hwpt *hwpt);

/*
 * A nested one's own part (nested.c). nested_begin(): after what it is has been set. nested_begin_stages(): it is @config's, and
 * *@out; or it is no more, and errors are those of stages_init().
 */
void nested_begin(struct hwpt *hwpt);
int nested_begin_stages(struct hwpt *hwpt, const struct stages_config *config, struct hwpt **out);
void nested_end(struct hwpt *hwpt);

/* Allocated, not finalised, inside calls of the parent and of @queue, which may be NULL. Errors as there. */
int nested_make(struct hwpt *parent, struct fault_queue *queue, const struct uiommu_hwpt_nested *nested, struct hwpt **out);

/* A nested HWPT that is to be made, by @make of @what, as nested_make() does it. */
struct nested_request {
	struct viommu *viommu; /* whose it is, inside a call of it; or NULL */
	uint32_t parent_id;
	uint32_t flags;
	uint32_t fault_queue_id; /* with FAULT */
	int (*make)(struct hwpt *parent, struct fault_queue *queue, const void *what, struct hwpt **out);
	const void *what;
};

/* Make it, an object. -ENOENT, -EINVAL: the parent, the queue; or the errors of @make. */
int nested_alloc(struct uiommu_context *context, const struct nested_request *request, uint32_t *out_id);

/* uiommu_hwpt_alloc_nested() of one that is @viommu's, inside a call of it; NULL: nobody's. */
int hwpt_alloc_of_viommu(struct uiommu_context *context, struct viommu *viommu, const struct uiommu_hwpt_nested *nested,
			 uint32_t *out_id);

/* The parent of a new nested HWPT, for the length of a call. -ENOENT, -EINVAL. */
int nested_parent_get(struct uiommu_context *context, uint32_t id, struct hwpt **out);

/* -EINVAL: a format that is none, or not of @stage. */
int nested_page_table(const struct uiommu_page_table *table, unsigned int stage, const struct pgtable_format **format,
		      struct pgtable_config *config);

#endif
