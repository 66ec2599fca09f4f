/* SPDX-License-Identifier: BSD-3-Clause */
/* A device, as control sees it. */
#ifndef IOMMU_DEVICE_H
#define IOMMU_DEVICE_H

#include "iommu/ats.h"
#include "iommu/object.h"
#include "iommu/requests.h"
#include "translate/space.h"

enum { DEVICE_NAME_MAX = 32 };

struct device {
	struct object object;
	struct uiommu_device data; /* what the data layer and the DMA calls see */
	pthread_mutex_t lock; /* attach, replace, detach: the table's writers */
	pthread_cond_t ended; /* an attachment has left the table, or stays after all */
	uint32_t rid;
	uint32_t source_id; /* what a guest's tables know it by, under the lock: the rid, unless a vIOMMU says otherwise */
	uint32_t rid_pasid; /* never attached to; 0: none but 0 */
	struct ats ats;
	struct requests requests;
	char name[DEVICE_NAME_MAX];
	struct uiommu_range *reserved;
	uint32_t reserved_count;
};

#endif
