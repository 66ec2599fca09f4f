/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Mediated devices: a physical device, seen through a set's table of vPASIDs.
 *
 * Whatever takes the id of a device takes that of a mediated one. A *requester* is what a call names: (device, PASID), where the id
 * is a physical device's as it is, and otherwise after the table.
 */
#ifndef IOMMU_MDEV_H
#define IOMMU_MDEV_H

#include <uiommu/mdev.h>

#include "iommu/device.h"
#include "pasid/vpasid.h"

struct mdev {
	struct object object;
	struct device *device; /* used */
	struct object *set; /* used */
	struct vpasid_table *table; /* the set's */
	uint64_t own; /* a word (vpasid.h): its requests without PASID; atomic */
	void (*untranslated)(void *opaque, uint32_t mdev_id, uint32_t vpasid);
	void *opaque;
};

struct requester {
	struct object *inside; /* in a call of it */
	struct device *device;
	uint32_t pasid;
};

/*
 * For the length of a call. With @use, the PASID has one use more, which is the caller's (attach_begin()); without, -ENOENT as
 * well for a vPASID that stands for nothing. -EINVAL: no vPASID, or @use of PASID 0; the errors of pasid_use() and vpasid_use().
 */
int requester_get(struct uiommu_context *context, uint32_t device_id, uint32_t pasid, bool use, struct requester *out);
void requester_put(const struct requester *requester);

/* What @vpasid (or UIOMMU_NO_PASID) stands for, as a word; 0: nothing. Takes no lock. */
static inline uint64_t mdev_look(const struct mdev *mdev, uint32_t vpasid)
{
	return vpasid == UIOMMU_NO_PASID ? __atomic_load_n(&mdev->own, __ATOMIC_RELAXED)
					 : vpasid_look(vpasid_view(mdev->table), vpasid);
}

/* One use of what @vpasid, or UIOMMU_NO_PASID, stands for (vpasid_use()). */
int mdev_use(struct mdev *mdev, uint32_t vpasid, uint32_t *pasid);

static inline struct mdev *object_mdev(struct object *object)
{
	return (struct mdev *)(void *)((char *)object - offsetof(struct mdev, object));
}

#endif
