/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The invalidation queue (6.5.2). Descriptors are copied before they are judged, some at a time, and done in order; the head moves
 * behind one when it has been found valid. A wait descriptor is where gathered invalidations are done and waited for; so is the end
 * of the queue, for whoever looks at nothing but the head.
 */
#include "viommu/vtd/vtd.h"

enum { CHUNK = 32 }; /* descriptors that are copied at a time */

struct descriptor {
	uint64_t word[4];
};

/* What can be said of the queue before anything is fetched. */
struct queue {
	uint64_t base;
	uint32_t bytes;
	uint32_t head, tail;
	uint32_t width; /* of a descriptor in bytes */
};

/* One type of descriptor. */
struct kind {
	/* False: a field has a value that is reserved. */
	bool (*run)(struct uiommu_vtd *vtd, const struct descriptor *descriptor);
	uint64_t reserved[2]; /* bits that have to be 0; words 2 and 3 always have to be */
	bool scalable; /* not in legacy mode */
	uint32_t needs; /* capabilities of the tables */
};

static uint32_t domain_of(const struct uiommu_vtd *vtd, uint64_t did)
{
	return (uint32_t)(did & low_mask((unsigned int)(4 + 2 * FIELD_GET64(UIOMMU_VTD_TABLES_DOMAINS, vtd->capabilities))));
}

static bool run_context(struct uiommu_vtd *vtd, const struct descriptor *descriptor)
{
	uint64_t word = descriptor->word[0];
	unsigned int granularity = (unsigned int)FIELD_GET64(VTD_DESC_G, word);

	if (!granularity)
		return false;
	vtd_invalidate_context(vtd, granularity, domain_of(vtd, FIELD_GET64(VTD_DESC_DID, word)),
			       (uint32_t)FIELD_GET64(VTD_DESC_CONTEXT_SID, word),
			       (unsigned int)FIELD_GET64(VTD_DESC_CONTEXT_FM, word));
	return true;
}

static bool run_iotlb(struct uiommu_vtd *vtd, const struct descriptor *descriptor)
{
	uint64_t word = descriptor->word[0], where = descriptor->word[1];
	unsigned int granularity = (unsigned int)FIELD_GET64(VTD_DESC_G, word);

	if (!granularity || (granularity == VTD_G_SELECTIVE && FIELD_GET64(VTD_DESC_IOTLB_AM, where) > VTD_MAMV))
		return false;
	vtd_invalidate_iotlb(vtd, granularity, domain_of(vtd, FIELD_GET64(VTD_DESC_DID, word)), where);
	return true;
}

static bool run_pasid_iotlb(struct uiommu_vtd *vtd, const struct descriptor *descriptor)
{
	uint64_t word = descriptor->word[0], where = descriptor->word[1];
	unsigned int granularity = (unsigned int)FIELD_GET64(VTD_DESC_G, word);
	struct uiommu_invalidation request = {
		.last = UINT64_MAX,
		.flags = UIOMMU_INVALIDATE_DOMAIN | UIOMMU_INVALIDATE_PASID,
		.domain = domain_of(vtd, FIELD_GET64(VTD_DESC_DID, word)),
		.pasid = (uint32_t)FIELD_GET64(VTD_DESC_PASID, word),
	};

	if (granularity < VTD_G_PASID)
		return false;
	if (granularity == VTD_G_PASID_PAGE)
		vtd_set_pages(&request, where);
	vtd_invalidate(vtd, &request);
	return true;
}

static bool run_pasid_cache(struct uiommu_vtd *vtd, const struct descriptor *descriptor)
{
	uint64_t word = descriptor->word[0];
	struct uiommu_invalidation request = {
		.last = UINT64_MAX,
		.flags = UIOMMU_INVALIDATE_ENTRIES,
		.domain = domain_of(vtd, FIELD_GET64(VTD_DESC_DID, word)),
		.pasid = (uint32_t)FIELD_GET64(VTD_DESC_PASID, word),
	};

	switch (FIELD_GET64(VTD_DESC_G, word)) {
	case VTD_G_CACHE_DOMAIN:
		request.flags |= UIOMMU_INVALIDATE_DOMAIN;
		break;
	case VTD_G_CACHE_PASID:
		request.flags |= UIOMMU_INVALIDATE_DOMAIN | UIOMMU_INVALIDATE_PASID;
		break;
	case VTD_G_CACHE_GLOBAL:
		break;
	default:
		return false;
	}
	vtd_invalidate(vtd, &request);
	if (request.flags & UIOMMU_INVALIDATE_PASID)
		vtd_invalidate_bind(vtd, request.pasid ? request.pasid : UIOMMU_NO_PASID);
	return true;
}

/* There are no interrupts to be remapped, so none are cached. */
static bool run_interrupt_entry(struct uiommu_vtd *vtd, const struct descriptor *descriptor)
{
	(void)vtd;
	(void)descriptor;
	return true;
}

/* Address and S (PCIe 6.0, 10.3.1): the lowest bit that is 0 says how much. */
static void set_range(struct uiommu_ats_invalidation *what, uint64_t address, bool sized)
{
	unsigned int ones = sized ? (unsigned int)__builtin_ctzll(~(address >> 12)) + 1 : 0;
	uint64_t mask = low_mask(12 + ones);

	what->start = address & ~mask;
	what->last = address | mask;
}

static bool run_device_tlb(struct uiommu_vtd *vtd, const struct descriptor *descriptor)
{
	struct uiommu_ats_invalidation what = {.pasid = UIOMMU_NO_PASID};

	set_range(&what, descriptor->word[1] & VTD_DESC_ADDRESS, descriptor->word[1] & VTD_DESC_DEVICE_S);
	vtd_device_tlb_invalidate(vtd, (uint16_t)FIELD_GET64(VTD_DESC_DEVICE_SID, descriptor->word[0]), &what);
	return true;
}

static bool run_pasid_device_tlb(struct uiommu_vtd *vtd, const struct descriptor *descriptor)
{
	struct uiommu_ats_invalidation what = {.pasid = (uint32_t)FIELD_GET64(VTD_DESC_PASID, descriptor->word[0])};

	what.flags = descriptor->word[1] & VTD_DESC_PASID_DEVICE_GI ? UIOMMU_ATS_GLOBAL : 0;
	set_range(&what, descriptor->word[1] & VTD_DESC_ADDRESS, descriptor->word[1] & VTD_DESC_PASID_DEVICE_S);
	vtd_device_tlb_invalidate(vtd, (uint16_t)FIELD_GET64(VTD_DESC_PASID_DEVICE_SID, descriptor->word[0]), &what);
	return true;
}

static bool run_page_response(struct uiommu_vtd *vtd, const struct descriptor *descriptor)
{
	vtd_page_respond(vtd, descriptor->word[0], FIELD_GET64(VTD_DESC_RESPONSE_PRGI, descriptor->word[1]));
	return true;
}

static bool run_wait(struct uiommu_vtd *vtd, const struct descriptor *descriptor)
{
	uint32_t status = (uint32_t)FIELD_GET64(VTD_DESC_WAIT_DATA, descriptor->word[0]);
	uint64_t address = descriptor->word[1] & VTD_DESC_WAIT_ADDRESS & low_mask(vtd->host_bits);

	if (descriptor->word[0] & VTD_DESC_WAIT_PD)
		vtd_page_drain(vtd);
	/* Where there is no memory nothing is written. */
	if (descriptor->word[0] & VTD_DESC_WAIT_SW)
		(void)uiommu_dma_write(vtd->self, UIOMMU_NO_PASID, address, &status, sizeof(status), NULL);
	if (descriptor->word[0] & VTD_DESC_WAIT_IF) {
		vtd_lock(vtd);
		if (vtd_is_current(vtd))
			vtd_event(vtd, VTD_EVENT_INVALIDATION, VTD_ICS_IWC);
		vtd_unlock(vtd);
	}
	return true;
}

#define TYPE (VTD_DESC_TYPE_LOW | VTD_DESC_TYPE_HIGH)

static const struct kind kinds[VTD_DESC_TYPES] = {
	[VTD_DESC_CONTEXT] = {run_context,
			      {~(TYPE | VTD_DESC_G | VTD_DESC_DID | VTD_DESC_CONTEXT_SID | VTD_DESC_CONTEXT_FM), UINT64_MAX},
			      false,
			      0},
	[VTD_DESC_IOTLB] = {run_iotlb,
			    {~(TYPE | VTD_DESC_G | VTD_DESC_IOTLB_DRAIN | VTD_DESC_DID),
			     ~(VTD_DESC_IOTLB_AM | VTD_DESC_IOTLB_IH | VTD_DESC_ADDRESS)},
			    false,
			    0},
	[VTD_DESC_DEVICE_TLB] = {run_device_tlb,
				 {~(TYPE | VTD_DESC_DEVICE_MIP | VTD_DESC_DEVICE_SID), ~(VTD_DESC_DEVICE_S | VTD_DESC_ADDRESS)},
				 false,
				 UIOMMU_VTD_TABLES_ATS},
	[VTD_DESC_PASID_DEVICE_TLB] = {run_pasid_device_tlb,
				       {~(TYPE | VTD_DESC_PASID_DEVICE_MIP | VTD_DESC_PASID_DEVICE_SID | VTD_DESC_PASID),
					~(VTD_DESC_PASID_DEVICE_GI | VTD_DESC_PASID_DEVICE_S | VTD_DESC_ADDRESS)},
				       true,
				       UIOMMU_VTD_TABLES_ATS},
	[VTD_DESC_PAGE_RESPONSE] = {run_page_response,
				    {~(TYPE | VTD_DESC_RESPONSE_PP | VTD_DESC_RESPONSE_RC | VTD_DESC_RESPONSE_RID | VTD_DESC_PASID),
				     ~(VTD_DESC_RESPONSE_PRGI | VTD_DESC_RESPONSE_IGNORED)},
				    true,
				    UIOMMU_VTD_TABLES_PRI},
	[VTD_DESC_INTERRUPT_ENTRY] = {run_interrupt_entry, {0, 0}, false, 0},
	[VTD_DESC_WAIT] = {run_wait, {GENMASK64(31, 12) | BIT64(8), GENMASK64(1, 0)}, false, 0},
	[VTD_DESC_PASID_IOTLB] = {run_pasid_iotlb,
				  {~(TYPE | VTD_DESC_G | VTD_DESC_DID | VTD_DESC_PASID),
				   ~(VTD_DESC_IOTLB_AM | VTD_DESC_IOTLB_IH | VTD_DESC_ADDRESS)},
				  true,
				  0},
	[VTD_DESC_PASID_CACHE] = {run_pasid_cache, {~(TYPE | VTD_DESC_G | VTD_DESC_DID | VTD_DESC_PASID), UINT64_MAX}, true, 0},
};

/* The kind of a descriptor that is valid here, or NULL and why not. */
static const struct kind *kind_of(const struct uiommu_vtd *vtd, const struct descriptor *descriptor, enum vtd_queue_error *why)
{
	const uint64_t *word = descriptor->word;
	uint64_t type = FIELD_GET64(VTD_DESC_TYPE_LOW, word[0]) | FIELD_GET64(VTD_DESC_TYPE_HIGH, word[0]) << 4;
	const struct kind *kind = type < ARRAY_SIZE(kinds) ? &kinds[type] : NULL;

	*why = VTD_IQEI_TYPE;
	if (!kind || !kind->run || (vtd->capabilities & kind->needs) != kind->needs ||
	    (kind->scalable && vtd->mode == UIOMMU_VTD_TABLES_LEGACY))
		return NULL;
	*why = VTD_IQEI_RESERVED;
	return word[0] & kind->reserved[0] || word[1] & kind->reserved[1] || word[2] || word[3] ? NULL : kind;
}

/* False: an error in the registers. */
static bool look(const struct uiommu_vtd *vtd, struct queue *queue, enum vtd_queue_error *why)
{
	uint64_t address = vtd_get64(vtd, VTD_IQA);
	bool wide = address & VTD_QUEUE_WIDE;

	*queue = (struct queue){
		.base = address & VTD_QUEUE_ADDRESS & low_mask(vtd->host_bits),
		.bytes = UINT32_C(4096) << FIELD_GET64(VTD_QUEUE_SIZE, address),
		.head = (uint32_t)vtd_get64(vtd, VTD_IQH),
		.tail = (uint32_t)vtd_get64(vtd, VTD_IQT),
		.width = wide ? 32 : 16,
	};
	*why = VTD_IQEI_MODE;
	if (vtd->mode != UIOMMU_VTD_TABLES_LEGACY && vtd->mode != UIOMMU_VTD_TABLES_SCALABLE &&
	    vtd->mode != UIOMMU_VTD_TABLES_ABORT)
		return false;
	*why = VTD_IQEI_WIDTH;
	if (wide ? !(vtd->capabilities & (UIOMMU_VTD_TABLES_SMTS | UIOMMU_VTD_TABLES_ADMS)) : vtd->mode != UIOMMU_VTD_TABLES_LEGACY)
		return false;
	*why = VTD_IQEI_TAIL;
	if (queue->tail >= queue->bytes || queue->head >= queue->bytes)
		return false;
	*why = VTD_IQEI_ALIGNMENT;
	return !(queue->tail % queue->width);
}

bool vtd_queue_is_ready(const struct uiommu_vtd *vtd)
{
	return vtd_get32(vtd, VTD_GSTS) & VTD_GCMD_QIE && !(vtd_get32(vtd, VTD_FSTS) & (VTD_FSTS_IQE | VTD_FSTS_ITE)) &&
	       !vtd->stalled && vtd_get64(vtd, VTD_IQH) != vtd_get64(vtd, VTD_IQT);
}

/* Of what is at the head. */
static void stop(struct uiommu_vtd *vtd, uint32_t head, enum vtd_queue_error why)
{
	vtd_invalidate_flush(vtd); /* those before are completed */
	vtd_lock(vtd);
	if (vtd_is_current(vtd))
		vtd_set64(vtd, VTD_IQH, head);
	if (why && vtd_is_current(vtd)) {
		uint64_t record = vtd_get64(vtd, VTD_IQERCD) & ~VTD_IQERCD_IQEI;

		vtd_set64(vtd, VTD_IQERCD, record | FIELD_PREP64(VTD_IQERCD_IQEI, why));
		vtd_event(vtd, VTD_EVENT_FAULT, VTD_FSTS_IQE);
	}
	vtd_unlock(vtd);
}

/* At most CHUNK of those that lie in a row. 0: they cannot be read. */
static unsigned int fetch(struct uiommu_vtd *vtd, const struct queue *queue, struct descriptor *descriptors)
{
	uint32_t end = queue->tail > queue->head ? queue->tail : queue->bytes;
	uint32_t bytes = (uint32_t)min_u64(end - queue->head, CHUNK * queue->width);
	uint64_t words[CHUNK * 4];
	struct uiommu_dma_result result;

	(void)uiommu_dma_read(vtd->self, UIOMMU_NO_PASID, queue->base + queue->head, words, bytes, &result);
	for (unsigned int i = 0; i < result.done / queue->width; i++)
		for (unsigned int word = 0; word < 4; word++)
			descriptors[i].word[word] = word < queue->width / 8 ? words[i * queue->width / 8 + word] : 0;
	return (unsigned int)(result.done / queue->width);
}

/* False: it is in error (@why), or not done yet. @head: behind it, which whoever sees a wait descriptor completed may look at. */
static bool run_one(struct uiommu_vtd *vtd, const struct descriptor *descriptor, uint32_t head, enum vtd_queue_error *why)
{
	const struct kind *kind = kind_of(vtd, descriptor, why);

	if (kind && kind->run == run_wait) {
		vtd_invalidate_flush(vtd);
		if (!vtd_device_tlb_wait(vtd)) {
			*why = VTD_IQEI_NONE;
			return false;
		}
		vtd_lock(vtd);
		if (vtd_is_current(vtd))
			vtd_set64(vtd, VTD_IQH, head);
		vtd_unlock(vtd);
	}
	return kind && kind->run(vtd, descriptor);
}

void vtd_queue_run(struct uiommu_vtd *vtd)
{
	struct descriptor descriptors[CHUNK];
	enum vtd_queue_error why = VTD_IQEI_NONE;
	unsigned int count = 0, next = 0;
	struct queue queue;
	bool ready, more = true;

	vtd_lock(vtd);
	ready = vtd_queue_is_ready(vtd);
	if (ready && look(vtd, &queue, &why))
		why = VTD_IQEI_NONE;
	vtd_unlock(vtd);
	if (!ready)
		return;
	for (unsigned int done = 0; !why && more && done < VTD_TURN && queue.head != queue.tail; done++) {
		uint32_t head = (queue.head + queue.width) & (queue.bytes - 1);

		if (next == count) {
			count = fetch(vtd, &queue, descriptors);
			next = 0;
		}
		if (!count) {
			why = VTD_IQEI_FETCH;
		} else if (run_one(vtd, &descriptors[next++], head, &why)) {
			why = VTD_IQEI_NONE;
			queue.head = head;
		} else {
			more = false;
		}
	}
	stop(vtd, queue.head, why);
}
