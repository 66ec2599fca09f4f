/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * HWPTs. A paging one is its IOAS's interval map as it is; an SVA one has a space of its own, with a process behind it. (A nested
 * one will add a stage 1 in front of its parent's space.)
 */
#ifndef IOMMU_HWPT_H
#define IOMMU_HWPT_H

#include "iommu/fault_queue.h"
#include "iommu/ioas.h"
#include "iommu/object.h"

struct hwpt {
	struct object object;
	uint32_t flags; /* enum uiommu_hwpt_flags */
	bool automatic; /* made for an attach to an IOAS; ends with its last attachment */
	struct ioas *ioas; /* paging: used */
	struct fault_queue *queue; /* used, or NULL */
	struct space *space; /* the IOAS's, or @own */
	struct space own; /* SVA */
};

static inline struct hwpt *object_hwpt(struct object *object)
{
	return (struct hwpt *)(void *)((char *)object - offsetof(struct hwpt, object));
}

/*
 * Allocated, not finalised. The caller is inside a call of @ioas and @queue; both may be NULL. An SVA HWPT takes over @process.
 * NULL without memory.
 */
struct hwpt *hwpt_alloc_paging(struct ioas *ioas, struct fault_queue *queue, uint32_t flags);
struct hwpt *hwpt_alloc_sva(struct uiommu_context *context, struct process *process, struct fault_queue *queue);

/* Undo an allocation that was not finalised. */
void hwpt_abort(struct hwpt *hwpt);

#endif
