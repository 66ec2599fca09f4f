/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What software has invalidated (6.5). Requests are gathered, because waiting for accesses costs the same for one or for hundreds:
 * they are forgotten, and waited for, when somebody wants to know that it is done.
 */
#include "viommu/vtd/vtd.h"

void vtd_invalidate_flush(struct uiommu_vtd *vtd)
{
	if (!vtd->batched)
		return;
	tables_invalidate(vtd->tables, vtd->batch, vtd->batched);
	vtd_history_invalidated(vtd, vtd->batch, vtd->batched);
	vtd->batched = 0;
}

void vtd_invalidate(struct uiommu_vtd *vtd, const struct uiommu_invalidation *request)
{
	if (vtd->batched == VTD_BATCH)
		vtd_invalidate_flush(vtd);
	vtd->batch[vtd->batched] = *request;
	/* Software tells devices itself, by descriptors of their own. */
	vtd->batch[vtd->batched++].flags |= UIOMMU_INVALIDATE_KEEP_ATC;
}

/* Of a source id with the bits masked that table 21 says. */
static void invalidate_devices(struct uiommu_vtd *vtd, uint32_t source_id, unsigned int function_mask)
{
	static const uint8_t masked[4] = {0, 4, 6, 7};
	uint32_t ids[8], keep = 0xffff & ~(uint32_t)masked[function_mask];
	unsigned int count = 0;
	struct vtd_device *device;

	vtd_lock(vtd);
	cds_list_for_each_entry (device, &vtd->devices, link)
		if ((device->source_id & keep) == (source_id & keep) && count < ARRAY_SIZE(ids))
			ids[count++] = device->id;
	vtd_unlock(vtd);
	for (unsigned int i = 0; i < count; i++)
		vtd_invalidate(vtd, &(struct uiommu_invalidation){.last = UINT64_MAX,
								  .flags = UIOMMU_INVALIDATE_ENTRIES | UIOMMU_INVALIDATE_DEVICE,
								  .device_id = ids[i]});
}

void vtd_invalidate_context(struct uiommu_vtd *vtd, unsigned int granularity, uint32_t domain, uint32_t source_id,
			    unsigned int function_mask)
{
	struct uiommu_invalidation request = {.last = UINT64_MAX, .flags = UIOMMU_INVALIDATE_ENTRIES, .domain = domain};

	if (granularity == VTD_G_SELECTIVE) {
		invalidate_devices(vtd, source_id, function_mask);
		return;
	}
	/* In scalable mode context entries are in no domain. */
	if (granularity == VTD_G_DOMAIN && vtd->mode == UIOMMU_VTD_TABLES_LEGACY)
		request.flags |= UIOMMU_INVALIDATE_DOMAIN;
	vtd_invalidate(vtd, &request);
}

void vtd_set_pages(struct uiommu_invalidation *request, uint64_t where)
{
	uint64_t mask = low_mask(12 + (unsigned int)FIELD_GET64(VTD_IVA_AM, where));

	request->start = where & VTD_IVA_ADDR & ~mask;
	request->last = (where & VTD_IVA_ADDR) | mask;
	request->flags |= where & VTD_IVA_IH ? UIOMMU_INVALIDATE_LEAF : 0;
}

void vtd_invalidate_iotlb(struct uiommu_vtd *vtd, unsigned int granularity, uint32_t domain, uint64_t where)
{
	struct uiommu_invalidation request = {.last = UINT64_MAX, .domain = domain};

	if (granularity != VTD_G_GLOBAL)
		request.flags = UIOMMU_INVALIDATE_DOMAIN;
	if (granularity == VTD_G_SELECTIVE) {
		request.flags |= UIOMMU_INVALIDATE_STAGE2;
		vtd_set_pages(&request, where);
	}
	vtd_invalidate(vtd, &request);
}

/* The next device behind @after, in use for the length of a call. */
static struct uiommu_device *device_after(struct uiommu_vtd *vtd, uint32_t after)
{
	struct uiommu_device *found = NULL;
	struct vtd_device *device;
	uint32_t id = UINT32_MAX;

	vtd_lock(vtd);
	cds_list_for_each_entry (device, &vtd->devices, link)
		if (device->id > after && device->id < id)
			id = device->id;
	if (id != UINT32_MAX)
		found = uiommu_device_get(vtd->context, id);
	vtd_unlock(vtd);
	return found;
}

void vtd_invalidate_bind(struct uiommu_vtd *vtd, uint32_t pasid)
{
	struct uiommu_device *device;
	uint32_t host;

	if (!(vtd->flags & UIOMMU_VTD_CACHING_MODE))
		return;
	vtd_invalidate_flush(vtd);
	for (device = device_after(vtd, 0); device; device = device_after(vtd, host)) {
		host = vtd_host_pasid(vtd, device->id, pasid);
		if (host != UIOMMU_NO_PASID)
			tables_bind(container_of(device, struct device, data), host);
		host = device->id;
		uiommu_device_put(device);
	}
}

/* As CCMD and IOTLB report it: what was done, or 0 for an incorrect request. */
static unsigned int done_by_register(const struct uiommu_vtd *vtd, unsigned int granularity)
{
	return vtd->mode == UIOMMU_VTD_TABLES_LEGACY ? granularity : 0;
}

static void context_by_register(struct uiommu_vtd *vtd)
{
	unsigned int done;
	uint64_t command;

	vtd_lock(vtd);
	command = vtd_get64(vtd, VTD_CCMD);
	vtd_unlock(vtd);
	done = done_by_register(vtd, (unsigned int)FIELD_GET64(VTD_CCMD_CIRG, command));
	if (done)
		vtd_invalidate_context(vtd, done, (uint32_t)FIELD_GET64(VTD_CCMD_DID, command),
				       (uint32_t)FIELD_GET64(VTD_CCMD_SID, command),
				       (unsigned int)FIELD_GET64(VTD_CCMD_FM, command));
	vtd_invalidate_flush(vtd);
	vtd_lock(vtd);
	command = vtd_get64(vtd, VTD_CCMD) & ~(VTD_CCMD_ICC | VTD_CCMD_CAIG);
	if (vtd_is_current(vtd))
		vtd_set64(vtd, VTD_CCMD, command | FIELD_PREP64(VTD_CCMD_CAIG, done));
	vtd_unlock(vtd);
}

static void iotlb_by_register(struct uiommu_vtd *vtd)
{
	uint64_t command, where;
	unsigned int done;

	vtd_lock(vtd);
	command = vtd_get64(vtd, VTD_IOTLB);
	where = vtd_get64(vtd, VTD_IVA);
	vtd_unlock(vtd);
	done = done_by_register(vtd, (unsigned int)FIELD_GET64(VTD_IOTLB_IIRG, command));
	if (done == VTD_G_SELECTIVE && FIELD_GET64(VTD_IVA_AM, where) > VTD_MAMV)
		done = 0;
	if (done)
		vtd_invalidate_iotlb(vtd, done, (uint32_t)FIELD_GET64(VTD_IOTLB_DID, command), where);
	vtd_invalidate_flush(vtd);
	vtd_lock(vtd);
	command = vtd_get64(vtd, VTD_IOTLB) & ~(VTD_IOTLB_IVT | VTD_IOTLB_IAIG);
	if (vtd_is_current(vtd))
		vtd_set64(vtd, VTD_IOTLB, command | FIELD_PREP64(VTD_IOTLB_IAIG, done));
	vtd_unlock(vtd);
}

void vtd_invalidate_registers(struct uiommu_vtd *vtd, unsigned int commands)
{
	if (commands & VTD_COMMAND_CONTEXT)
		context_by_register(vtd);
	if (commands & VTD_COMMAND_IOTLB)
		iotlb_by_register(vtd);
}
