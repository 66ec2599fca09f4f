/* SPDX-License-Identifier: BSD-3-Clause */
/* PASIDs, their sets, and mediated devices. */
#include "fail_nth.h"

#include <uiommu/uiommu.h>

#include "util/util.h"

static int call_pasid_set_alloc(struct world *w)
{
	struct uiommu_pasid_set_alloc alloc = {.size = sizeof(alloc)};

	return uiommu_pasid_set_alloc(w->context, &alloc, &w->made);
}

static int call_pasid_alloc(struct world *w)
{
	return uiommu_pasid_alloc(w->context, UIOMMU_PASID_SET_OWN, 5000, 6000, &w->pasid);
}

static unsigned int ignore_notice(void *opaque, const struct uiommu_pasid_notice *notice)
{
	(void)opaque;
	(void)notice;
	return UIOMMU_PASID_DONE;
}

static int call_pasid_subscribe(struct world *w)
{
	struct uiommu_pasid_subscribe request = {.size = sizeof(request), .notify = ignore_notice};
	struct uiommu_pasid_subscription *subscription;

	return uiommu_pasid_subscribe(w->context, UIOMMU_PASID_SET_OWN, &request, &subscription);
}

static int call_mdev_alloc(struct world *w)
{
	struct uiommu_mdev_config config = {.size = sizeof(config), .device_id = w->device_id, .set_id = w->set};

	return uiommu_mdev_alloc(w->context, &config, &w->made);
}

static int call_pasid_set(struct world *w)
{
	struct uiommu_pasid_set_alloc alloc = {.size = sizeof(alloc)};

	return uiommu_pasid_set_alloc(w->context, &alloc, &w->set);
}

static int call_mdev(struct world *w)
{
	return call_pasid_set(w) || call_mdev_alloc(w);
}

static int call_attach_mdev(struct world *w)
{
	return uiommu_attach(w->context, w->made, 3000, w->other);
}

static int call_attach_mdev_own(struct world *w)
{
	return uiommu_attach(w->context, w->made, UIOMMU_NO_PASID, w->other);
}

static int call_portal(struct world *w)
{
	struct uiommu_queue_config config = {
		.size = sizeof(config), .entries = 8, .flags = UIOMMU_QUEUE_SHARED, .mdev_id = w->made};

	return uiommu_accel_queue(w->accel, &config, &w->work);
}

void pasids(void **state)
{
	static const struct scenario scenarios[] = {
		{"pasid_set_alloc", call_pasid_set_alloc, NULL, NULL},
		{"pasid_alloc", call_pasid_alloc, NULL, NULL},
		{"pasid_subscribe", call_pasid_subscribe, NULL, NULL},
		{"mdev_alloc", call_mdev_alloc, NULL, call_pasid_set},
		{"attach a vPASID", call_attach_mdev, NULL, call_mdev},
		{"attach a mediated device", call_attach_mdev_own, NULL, call_mdev},
		{"portal", call_portal, end_queue, call_mdev},
	};

	sweep_all(*state, scenarios, ARRAY_SIZE(scenarios));
}
