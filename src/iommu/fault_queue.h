/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef IOMMU_FAULT_QUEUE_H
#define IOMMU_FAULT_QUEUE_H

#include <uiommu/fault.h>

#include "iommu/object.h"
#include "iommu/requests.h"
#include "translate/space.h"

enum { FAULT_BUCKETS = 256 };

/*
 * A ring of entries, under @lock, which is a leaf; and the groups that wait for a response (requests.h), by cookie, under the
 * context's page lock.
 */
struct fault_queue {
	struct object object;
	struct fault_sink sink;
	pthread_mutex_t lock;
	int eventfd; /* its counter is 1 while the ring holds entries */
	uint32_t depth;
	uint32_t first; /* oldest entry */
	uint32_t count;
	uint32_t lost; /* since the last entry */
	bool closed; /* nobody reads any more */
	bool requests_only;
	struct uiommu_fault_event *ring;
	/* Under the page lock: */
	uint32_t cookies; /* the last one given */
	uint32_t waiting; /* requests */
	uint32_t per_pasid; /* 0: no limit of their own */
	uint32_t response_ms;
	struct cds_list_head groups[FAULT_BUCKETS]; /* struct page_group by cookie */
};

/* All of these under the page lock. */

/* May another request be made by somebody who has @requests? */
bool fault_queue_admits(const struct fault_queue *queue, uint32_t requests);

/* The whole group, which gets a cookie. -ENOBUFS; -ENOENT: closed. @fault: of a single request, or NULL. */
int fault_queue_add(struct fault_queue *queue, struct page_group *group, const struct uiommu_fault *fault);

/* It does not wait any more. Its entries stay until fault_queue_sweep(), which takes out those of all groups that do not. */
void fault_queue_remove(struct fault_queue *queue, struct page_group *group);
void fault_queue_sweep(struct fault_queue *queue);

/* Any group, or NULL. */
struct page_group *fault_queue_any(struct fault_queue *queue);

#endif
