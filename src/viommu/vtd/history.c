/* SPDX-License-Identifier: BSD-3-Clause */
/* What has happened lately: faults, and invalidations that may have to do with them. For whoever looks; nothing depends on it. */
#include <time.h>

#include "viommu/vtd/vtd.h"

static uint64_t now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_REALTIME, &time);
	return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

void vtd_history_invalidated(struct uiommu_vtd *vtd, const struct uiommu_invalidation *requests, unsigned int count)
{
	struct vtd_history *history = &vtd->history;
	uint64_t time = now();

	vtd_lock(vtd);
	for (unsigned int i = 0; i < count; i++)
		history->invalidations[history->invalidated++ % VTD_HISTORY_INVALIDATIONS] =
			(struct vtd_invalidated){time, requests[i]};
	vtd_unlock(vtd);
}

/* In what domain the fault was is not known: an invalidation of any counts. */
static bool is_about(const struct uiommu_invalidation *request, const struct uiommu_fault *fault)
{
	if (fault->structure != UIOMMU_STRUCTURE_PAGE && !(request->flags & UIOMMU_INVALIDATE_ENTRIES))
		return false;
	if (request->flags & UIOMMU_INVALIDATE_DEVICE && request->device_id != fault->device_id)
		return false;
	if (request->flags & UIOMMU_INVALIDATE_PASID && request->pasid != fault->pasid && fault->pasid != UIOMMU_NO_PASID)
		return false;
	if (request->flags & UIOMMU_INVALIDATE_STAGE2)
		return true;
	return request->start <= fault->address && fault->address <= request->last;
}

void vtd_history_fault(struct uiommu_vtd *vtd, const struct uiommu_fault *fault, uint16_t source_id, unsigned int code)
{
	struct vtd_history *history = &vtd->history;
	uint64_t first = history->invalidated - min_u64(history->invalidated, VTD_HISTORY_INVALIDATIONS);
	struct uiommu_vtd_fault *record = &history->faults[history->faulted++ % UIOMMU_VTD_FAULTS];

	*record = (struct uiommu_vtd_fault){.time_ns = now(), .fault = *fault, .source_id = source_id, .code = code};
	for (uint64_t i = history->invalidated; i-- > first && !record->invalidated_ns;) {
		const struct vtd_invalidated *invalidated = &history->invalidations[i % VTD_HISTORY_INVALIDATIONS];

		if (is_about(&invalidated->request, fault))
			record->invalidated_ns = invalidated->time_ns;
	}
}

size_t uiommu_vtd_faults(struct uiommu_vtd *vtd, struct uiommu_vtd_fault *faults, size_t count)
{
	const struct vtd_history *history = &vtd->history;

	vtd_lock(vtd);
	count = min_u64(count, min_u64(history->faulted, UIOMMU_VTD_FAULTS));
	for (size_t i = 0; i < count; i++)
		faults[i] = history->faults[(history->faulted - 1 - i) % UIOMMU_VTD_FAULTS];
	vtd_unlock(vtd);
	return count;
}
