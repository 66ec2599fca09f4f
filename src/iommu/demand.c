/* SPDX-License-Identifier: BSD-3-Clause */
/* Where a VMM is told which pages of its on-demand memory are waited for. Regions refer to it for as long as they live. */
#include <errno.h>
#include <stdlib.h>
#include <uiommu/fault.h>
#include <uiommu/guest_memory.h>

#include "iommu/ioas.h"
#include "memory/demand.h"
#include "memory/presence.h"
#include "util/rcu.h"
#include "util/util.h"

struct demand_queue {
	struct object object;
	struct demand *demand;
};

int uiommu_demand_alloc(struct uiommu_context *context, uint32_t *out_id)
{
	struct demand_queue *queue = calloc(1, sizeof(*queue));
	int error;

	if (!queue)
		return -ENOMEM;
	error = demand_create(&queue->demand);
	if (!error) {
		error = object_alloc(context, &queue->object, UIOMMU_OBJECT_DEMAND);
		if (error)
			demand_put(queue->demand);
	}
	if (error) {
		free(queue);
		return error;
	}
	*out_id = queue->object.id;
	object_finalise(&queue->object);
	return 0;
}

void demand_end(struct object *object)
{
	struct demand_queue *queue = container_of(object, struct demand_queue, object);

	demand_abandon(queue->demand);
	demand_put(queue->demand);
	free(queue);
}

/* A reference, or NULL. */
struct demand *demand_of(struct uiommu_context *context, uint32_t id)
{
	struct object *object = object_get(context, id, UIOMMU_OBJECT_DEMAND);
	struct demand *demand;

	if (!object)
		return NULL;
	demand = demand_get(container_of(object, struct demand_queue, object)->demand);
	object_put(object);
	return demand;
}

bool demand_is_absent(struct uiommu_context *context, uint32_t ioas_id, uint64_t address)
{
	struct object *object = object_get(context, ioas_id, UIOMMU_OBJECT_IOAS);
	const struct area *area;
	bool absent;

	if (!object)
		return false;
	rcu_enter();
	area = areas_find(&ioas_of(object)->space.areas, address);
	absent = area && area_absence(area, address) == UIOMMU_FAULT_ABSENT;
	rcu_leave();
	object_put(object);
	return absent;
}

int uiommu_demand_fd(struct uiommu_context *context, uint32_t id)
{
	struct demand *demand = demand_of(context, id);
	int fd;

	if (!demand)
		return -ENOENT;
	fd = demand_fd(demand);
	demand_put(demand);
	return fd;
}

ssize_t uiommu_demand_read(struct uiommu_context *context, uint32_t id, struct uiommu_demand_page *pages, size_t count)
{
	struct demand *demand = demand_of(context, id);
	size_t taken = 0;

	if (!demand)
		return -ENOENT;
	while (taken < count && demand_read(demand, &pages[taken].gpa, &pages[taken].length))
		taken++;
	demand_put(demand);
	return (ssize_t)taken;
}

int uiommu_demand_answer(struct uiommu_context *context, uint32_t id, const struct uiommu_range *pages, unsigned int response)
{
	struct demand *demand;

	if (pages->start > pages->last || response > UIOMMU_RESPONSE_FAILURE)
		return -EINVAL;
	demand = demand_of(context, id);
	if (!demand)
		return -ENOENT;
	if (response == UIOMMU_RESPONSE_SUCCESS)
		demand_supplied(demand, pages->start, pages->last);
	demand_answer(demand, pages->start, pages->last, response);
	demand_put(demand);
	return 0;
}

int uiommu_demand_stats(struct uiommu_context *context, uint32_t id, struct uiommu_demand_stats *out)
{
	struct demand_counts counts;
	struct demand *demand;

	if (out->size != sizeof(*out))
		return -EINVAL;
	demand = demand_of(context, id);
	if (!demand)
		return -ENOENT;
	counts = demand_counts(demand);
	demand_put(demand);
	*out = (struct uiommu_demand_stats){
		.size = sizeof(*out),
		.waiting = counts.waiting,
		.pages = counts.pages,
		.accesses = counts.accesses,
		.failed = counts.failed,
	};
	return 0;
}
