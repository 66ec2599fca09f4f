/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Device-TLB invalidations (6.5.2.5, 6.5.2.6): a device is asked to forget, and a wait descriptor is completed only when all that
 * were asked before it have said that they did.
 */
#include <stdlib.h>
#include <uiommu/ats.h>

#include "viommu/vtd/vtd.h"

/* One that has been asked. */
struct asked {
	struct uiommu_vtd *vtd;
	uint16_t source_id;
};

/* Under the lock: it did not answer in time (6.5.2.11). */
static void timed_out(struct uiommu_vtd *vtd, uint16_t source_id)
{
	uint64_t record = vtd_get64(vtd, VTD_IQERCD) & ~VTD_IQERCD_ITESID;

	if (!(vtd_get32(vtd, VTD_FSTS) & VTD_FSTS_ITE))
		vtd_set64(vtd, VTD_IQERCD, record | FIELD_PREP64(VTD_IQERCD_ITESID, source_id));
	vtd_event(vtd, VTD_EVENT_FAULT, VTD_FSTS_ITE);
}

static void completed(void *opaque, int error)
{
	struct asked *asked = opaque;
	struct uiommu_vtd *vtd = asked->vtd;
	bool resume;

	vtd_lock(vtd);
	if (error)
		timed_out(vtd, asked->source_id);
	resume = !--vtd->asked && vtd->stalled;
	if (resume)
		vtd->stalled = false;
	vtd->calls++; /* the unit stays until this has returned */
	pthread_cond_broadcast(&vtd->idle);
	vtd_unlock(vtd);
	free(asked);
	if (resume)
		vtd->work(vtd->opaque);
	vtd_lock(vtd);
	vtd->calls--;
	pthread_cond_broadcast(&vtd->idle);
	pthread_mutex_unlock(&vtd->lock);
}

/* Under the lock: the device's id, which counts as asked; 0: there is none. */
static uint32_t device_with(struct uiommu_vtd *vtd, uint16_t source_id)
{
	struct vtd_device *device;

	cds_list_for_each_entry (device, &vtd->devices, link)
		if (device->source_id == source_id) {
			vtd->asked++;
			return device->id;
		}
	return 0;
}

void vtd_device_tlb_invalidate(struct uiommu_vtd *vtd, uint16_t source_id, const struct uiommu_ats_invalidation *what)
{
	struct asked *asked = malloc(sizeof(*asked));
	struct uiommu_ats_invalidation told = *what;
	uint32_t id;

	/* Requests that are looked up again are looked up in tables as they are now. */
	vtd_invalidate_flush(vtd);
	vtd_lock(vtd);
	id = device_with(vtd, source_id);
	if (id && !asked) /* as if it had not answered: what it keeps is not known to be gone */
		timed_out(vtd, source_id);
	vtd_unlock(vtd);
	if (asked)
		*asked = (struct asked){.vtd = vtd, .source_id = source_id};
	if (id)
		told.pasid = vtd_host_pasid(vtd, id, what->pasid);
	/* Whoever does no ATS keeps nothing, and nobody does of what the device does not emit. */
	if (id && (!asked || (told.pasid == UIOMMU_NO_PASID && what->pasid != told.pasid) ||
		   uiommu_ats_invalidate(vtd->context, id, &told, completed, asked))) {
		vtd_lock(vtd);
		vtd->asked--;
		vtd_unlock(vtd);
		id = 0;
	}
	if (!id)
		free(asked);
}

bool vtd_device_tlb_wait(struct uiommu_vtd *vtd)
{
	bool done;

	vtd_lock(vtd);
	if (vtd->asked && vtd->work)
		vtd->stalled = true;
	while (vtd->asked && !vtd->work)
		pthread_cond_wait(&vtd->idle, &vtd->lock);
	done = !vtd->asked && !(vtd_get32(vtd, VTD_FSTS) & VTD_FSTS_ITE);
	vtd_unlock(vtd);
	return done;
}
