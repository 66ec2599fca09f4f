/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef IOMMU_FAULT_QUEUE_H
#define IOMMU_FAULT_QUEUE_H

#include <uiommu/fault.h>

#include "iommu/object.h"
#include "translate/space.h"

/*
 * A ring of entries and a list of page requests that wait for an answer. @lock is a leaf; callbacks run without it.
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
	uint32_t cookies; /* the last one given */
	struct cds_list_head waiting; /* struct page_request */
	uint32_t waiting_count;
	struct uiommu_fault_event *ring;
};

#endif
