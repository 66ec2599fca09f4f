/* SPDX-License-Identifier: BSD-3-Clause */
/* A device, as control sees it. */
#ifndef IOMMU_DEVICE_H
#define IOMMU_DEVICE_H

#include "iommu/ats.h"
#include "iommu/ioas.h"
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
	struct attach_table table; /* what is attached */
	pthread_mutex_t shown; /* a leaf: of what accesses see of it */
	const struct geometry *geometry; /* of page tables for it; NULL: the context's */
	struct vdevice *vdevice; /* what it is in a vIOMMU, under the context's viommu lock; or NULL */
	struct ats ats;
	bool never_ats; /* a PCI function without the capability */
	struct requests requests;
	char name[DEVICE_NAME_MAX];
	struct uiommu_range *reserved;
	uint32_t reserved_count;
	struct uiommu_context *home; /* which has made it, and whose log it has */
	struct object place; /* what has its id there as long as it is lent */
	unsigned int users_at_home; /* when it was lent */
};

/*
 * A device whose model outlives the contexts that use it (lend.c): give it to @to, where it gets an id of its own, and is one like
 * any other but that nobody can destroy it. Nothing is attached to it, nothing else refers to it by its id, and there is no access.
 * -EBUSY: there is something; -EEXIST: @to has one of that name or requester id; -ENOMEM. Neither context may end meanwhile.
 */
int device_lend(struct uiommu_device *data, struct uiommu_context *to);

/* Back again, with its old id. Whatever is still attached is detached. It waits for that. */
void device_return(struct uiommu_device *data);

/*
 * May it do DMA? A device that is suspended finds nothing attached, and its accesses fail without a record; when device_suspend()
 * returns none is running. Not inside one. What is attached stays so, and can be changed. Holders of pins are asked to put them,
 * and so no uiommu_replace() of the device may run meanwhile. A PCI function's device is suspended as long as it is no bus master.
 */
void device_suspend(struct uiommu_device *data);
void device_resume(struct uiommu_device *data);

bool device_in_use(struct uiommu_context *context, const struct device *device);

/*
 * What is attached there; there is room for it. Under the device's lock, or by whoever has claimed what is there. Accesses see it,
 * if the device is not suspended.
 */
void device_set(struct device *device, uint32_t pasid, struct attachment *attachment);
void device_set_tables(struct device *device, struct attachment *attachment);

#endif
