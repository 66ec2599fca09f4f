/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Page requests (7.4): into the guest's queue, and answers out of its invalidation queue.
 *
 * A group's index is the number of its slot at its device. Groups wait in a list until the pager has written them: the thread that
 * finds no pager becomes it. What it needs of a request it has copied by then, because the device may be removed meanwhile.
 *
 * The unit's own answers (a queue that is full, a device that may not ask) are given at the next access to a register, or by
 * uiommu_vtd_run(): whoever asks is never answered before he has asked.
 */
#include <errno.h>

#include "iommu/attach.h"
#include "translate/inflight.h"
#include "translate/tables/vtd.h"
#include "viommu/vtd/faults.h"
#include "viommu/vtd/vtd.h"

/* What the pager has copied of a request. */
struct written {
	uint64_t word[4];
	uint64_t serial;
	uint32_t device_id;
	unsigned int index;
};

/* Under the lock. */
static bool is_waiting(const struct vtd_page *page)
{
	return page->state == VTD_PAGE_QUEUED || page->state == VTD_PAGE_WRITTEN;
}

/* Under the lock. The group is over but for the call of its @done. */
static void answer_later(struct uiommu_vtd *vtd, struct vtd_page *page, unsigned int response)
{
	if (page->state == VTD_PAGE_QUEUED)
		cds_list_del(&page->link);
	page->state = VTD_PAGE_ANSWERED;
	page->response = (uint8_t)response;
	cds_list_add_tail(&page->link, &vtd->answers);
}

void vtd_page_answers(struct uiommu_vtd *vtd)
{
	struct thread_state *self = thread_self();
	struct vtd_page *page, answered;

	for (;;) {
		vtd_lock(vtd);
		page = NULL;
		if (!cds_list_empty(&vtd->answers)) {
			page = cds_list_entry(vtd->answers.next, struct vtd_page, link);
			cds_list_del(&page->link);
			page->state = VTD_PAGE_FREE;
			answered = *page;
		}
		vtd_unlock(vtd);
		if (!page)
			return;
		/* It counts as a callback: nothing that drains may be called from it. */
		self->depth++;
		answered.done(answered.opaque, answered.response);
		self->depth--;
	}
}

/* Under the lock. */
static struct vtd_page *take_slot(struct vtd_device *device)
{
	for (unsigned int i = 0; i < VTD_GROUPS; i++) {
		struct vtd_page *page = &device->pages[(device->next_page + i) % VTD_GROUPS];

		if (page->state == VTD_PAGE_FREE) {
			device->next_page = (device->next_page + i + 1) % VTD_GROUPS;
			return page;
		}
	}
	return NULL;
}

/* The next request of the group. */
static void describe(const struct vtd_page *page, struct written *out)
{
	const struct uiommu_page_request *request = &page->requests[page->written];
	const struct vtd_device *device = page->device;

	*out = (struct written){.serial = page->serial, .device_id = device->id, .index = (unsigned int)(page - device->pages)};
	out->word[0] = VTD_PAGE_TYPE | FIELD_PREP64(VTD_PAGE_RID, device->source_id);
	if (page->pasid != UIOMMU_NO_PASID)
		out->word[0] |= VTD_PAGE_PP | FIELD_PREP64(VTD_PAGE_PASID, page->pasid);
	out->word[0] |= request->access & UIOMMU_EXEC ? VTD_PAGE_EXR : 0;
	out->word[0] |= request->flags & UIOMMU_PAGE_PRIVILEGED ? VTD_PAGE_PMR : 0;
	out->word[1] = (request->address & VTD_PAGE_ADDRESS) | FIELD_PREP64(VTD_PAGE_PRGI, out->index);
	out->word[1] |= page->written + 1 == page->count ? VTD_PAGE_LPIG : 0;
	out->word[1] |= request->access & (UIOMMU_READ | UIOMMU_EXEC) ? VTD_PAGE_RDR : 0;
	out->word[1] |= request->access & UIOMMU_WRITE ? VTD_PAGE_WRR : 0;
}

/* Under the lock: the next one that there is room for, and where it goes. */
static bool next_page(struct uiommu_vtd *vtd, struct written *out, uint64_t *address)
{
	uint64_t queue = vtd_get64(vtd, VTD_PQA), mask = low_mask(12 + (unsigned int)FIELD_GET64(VTD_QUEUE_SIZE, queue));
	uint64_t tail = vtd_get64(vtd, VTD_PQT) & mask, head = vtd_get64(vtd, VTD_PQH) & mask;
	struct vtd_page *page;

	while (!cds_list_empty(&vtd->pages)) {
		page = cds_list_entry(vtd->pages.next, struct vtd_page, link);
		if (((tail + sizeof(out->word)) & mask) == head)
			vtd_event(vtd, VTD_EVENT_PAGES, VTD_PRS_PRO);
		/* What is left of the group is dropped, and the device asks once more when there is room again. */
		if (vtd_get32(vtd, VTD_PRS) & VTD_PRS_PRO) {
			answer_later(vtd, page, UIOMMU_RESPONSE_SUCCESS);
			continue;
		}
		describe(page, out);
		if (++page->written == page->count) {
			cds_list_del(&page->link);
			page->state = VTD_PAGE_WRITTEN;
		}
		*address = (queue & VTD_QUEUE_ADDRESS & low_mask(vtd->host_bits)) + tail;
		return true;
	}
	return false;
}

/* Under the lock, after the write. */
static void end_page(struct uiommu_vtd *vtd, const struct written *written, bool done)
{
	uint64_t mask = low_mask(12 + (unsigned int)FIELD_GET64(VTD_QUEUE_SIZE, vtd_get64(vtd, VTD_PQA)));
	struct vtd_device *device = vtd_device_of(vtd, written->device_id);
	struct vtd_page *page = device ? &device->pages[written->index] : NULL;

	if (done) {
		vtd_set64(vtd, VTD_PQT, (vtd_get64(vtd, VTD_PQT) + sizeof(written->word)) & mask);
		vtd_event(vtd, VTD_EVENT_PAGES, VTD_PRS_PPR);
	} else if (page && is_waiting(page) && page->serial == written->serial) {
		answer_later(vtd, page, UIOMMU_RESPONSE_INVALID); /* the queue is not in memory */
	}
}

/* As the pager. */
static void write_pages(struct uiommu_vtd *vtd)
{
	struct written written;
	uint64_t address;
	bool done;

	vtd_lock(vtd);
	while (next_page(vtd, &written, &address)) {
		vtd_unlock(vtd);
		done = !uiommu_dma_write(vtd->self, UIOMMU_NO_PASID, address, written.word, sizeof(written.word), NULL);
		vtd_lock(vtd);
		end_page(vtd, &written, done);
	}
	vtd->paging = false;
	pthread_cond_broadcast(&vtd->idle);
	vtd_unlock(vtd);
}

void vtd_page_drain(struct uiommu_vtd *vtd)
{
	vtd_lock(vtd);
	while (vtd->paging)
		pthread_cond_wait(&vtd->idle, &vtd->lock);
	vtd_unlock(vtd);
}

/* Why the device may not ask (RTA.3, SCT.8); 0: it may. */
static unsigned int refused(const struct uiommu_vtd *vtd, const struct attach *attach)
{
	if (vtd->mode == UIOMMU_VTD_TABLES_LEGACY)
		return VTD_FAULT_LEGACY_PAGE_REQUEST;
	return attach->flags & TABLES_PRI ? 0 : VTD_FAULT_SM_CONTEXT_NO_PAGE_REQUEST;
}

/* Under the lock: it waits for the pager, or for its answer. */
static void enter(struct uiommu_vtd *vtd, struct vtd_page *page, const struct attach *attach)
{
	const struct uiommu_fault fault = {
		.address = page->requests->address, .device_id = page->device->id, .pasid = page->requests->pasid};
	unsigned int code = refused(vtd, attach);

	page->serial = ++vtd->serial;
	if (code) {
		page->state = VTD_PAGE_WRITTEN;
		vtd_fault_record_page(vtd, &fault, page->device->source_id, attach->data.quiet ? 0 : code);
		answer_later(vtd, page, UIOMMU_RESPONSE_INVALID);
		return;
	}
	page->state = VTD_PAGE_QUEUED;
	cds_list_add_tail(&page->link, &vtd->pages);
}

int vtd_page_request(struct fault_sink *sink, struct attachment *attachment, const struct uiommu_page_request *requests,
		     unsigned int count, void (*done)(void *opaque, unsigned int response), void *opaque)
{
	struct uiommu_vtd *vtd = container_of(sink, struct uiommu_vtd, sink);
	struct vtd_device *device;
	struct vtd_page *page = NULL;
	bool pages = false, kick;

	vtd_lock(vtd);
	device = vtd_device_of(vtd, attachment->device_id);
	if (device && vtd->enabled)
		page = take_slot(device);
	if (page) {
		*page = (struct vtd_page){.device = device,
					  .first = *requests,
					  .count = count,
					  .pasid = vtd_guest_pasid(vtd, device->id, requests->pasid),
					  .done = done,
					  .opaque = opaque};
		page->requests = count > 1 ? requests : &page->first;
		enter(vtd, page, container_of(attachment, struct attach, data));
		pages = !vtd->paging;
		vtd->paging = true;
	}
	vtd_unlock(vtd);
	if (pages)
		write_pages(vtd);
	vtd_lock(vtd);
	kick = !cds_list_empty(&vtd->answers) && vtd->work;
	vtd_unlock(vtd);
	if (kick)
		vtd->work(vtd->opaque);
	if (page)
		return 0;
	return device && vtd->enabled ? -ENOBUFS : -ENOENT;
}

/* Under the lock. */
static bool end_pages_of(struct uiommu_vtd *vtd, struct vtd_device *device)
{
	bool any = false;

	for (unsigned int i = 0; i < VTD_GROUPS; i++) {
		struct vtd_page *page = &device->pages[i];

		if (!is_waiting(page))
			continue;
		answer_later(vtd, page, UIOMMU_RESPONSE_INVALID);
		any = true;
	}
	return any;
}

/* What entries of the tables say may come and go meanwhile; the device is taken out with the tables themselves. */
bool vtd_page_forget(struct fault_sink *sink, const struct attachment *attachment)
{
	struct uiommu_vtd *vtd = container_of(sink, struct uiommu_vtd, sink);
	struct vtd_device *device;
	bool any;

	if (attachment->stages)
		return false;
	vtd_lock(vtd);
	device = vtd_device_of(vtd, attachment->device_id);
	any = device && end_pages_of(vtd, device);
	vtd_unlock(vtd);
	vtd_page_answers(vtd);
	return any;
}

void vtd_page_reset(struct uiommu_vtd *vtd)
{
	struct vtd_device *device;

	vtd_lock(vtd);
	cds_list_for_each_entry (device, &vtd->devices, link)
		end_pages_of(vtd, device);
	vtd_unlock(vtd);
	vtd_page_answers(vtd);
}

uint32_t uiommu_vtd_page_requests(struct uiommu_vtd *vtd, uint32_t device_id)
{
	const struct vtd_device *device;
	uint32_t count = 0;

	vtd_lock(vtd);
	device = vtd_device_of(vtd, device_id);
	for (unsigned int i = 0; device && i < VTD_GROUPS; i++)
		count += is_waiting(&device->pages[i]);
	vtd_unlock(vtd);
	return count;
}

static unsigned int response_of(uint64_t code)
{
	switch (code) {
	case VTD_RESPONSE_SUCCESS:
		return UIOMMU_RESPONSE_SUCCESS;
	case VTD_RESPONSE_INVALID:
		return UIOMMU_RESPONSE_INVALID;
	default:
		return UIOMMU_RESPONSE_FAILURE;
	}
}

void vtd_page_respond(struct uiommu_vtd *vtd, uint64_t word, uint64_t index)
{
	uint32_t pasid = word & VTD_DESC_RESPONSE_PP ? (uint32_t)FIELD_GET64(VTD_DESC_PASID, word) : UIOMMU_NO_PASID;
	struct vtd_device *device;
	struct vtd_page *page;

	vtd_lock(vtd);
	cds_list_for_each_entry (device, &vtd->devices, link) {
		if (device->source_id != FIELD_GET64(VTD_DESC_RESPONSE_RID, word))
			continue;
		/* Devices discard answers to what they have not asked (7.9). */
		page = &device->pages[index];
		if (page->state == VTD_PAGE_WRITTEN && page->pasid == pasid)
			answer_later(vtd, page, response_of(FIELD_GET64(VTD_DESC_RESPONSE_RC, word)));
	}
	vtd_unlock(vtd);
	vtd_page_answers(vtd);
}
