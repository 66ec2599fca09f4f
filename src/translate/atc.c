/* SPDX-License-Identifier: BSD-3-Clause */
#include "translate/atc.h"

#include <errno.h>
#include <stdlib.h>

#include "translate/ats.h"
#include "translate/piece.h"

enum {
	ENTRIES_MAX = 1 << 20,
	BUCKETS_LG2 = 8,
	BUCKETS = 1 << BUCKETS_LG2,
	PASIDS_MAX = 4096, /* of further ones nothing is kept */
};

/* What is kept of one PASID. It stays as long as the ATC. */
struct atc_pasid {
	struct atc_pasid *next; /* RCU */
	uint32_t pasid;
	struct iotlb_owner owner;
};

struct uiommu_atc {
	struct uiommu_device *device;
	struct iotlb iotlb;
	pthread_mutex_t lock; /* of whoever adds a PASID */
	unsigned int count;
	struct atc_pasid *buckets[BUCKETS];
};

static struct atc_pasid **bucket_of(struct uiommu_atc *atc, uint32_t pasid)
{
	return &atc->buckets[(pasid * UINT32_C(0x9e3779b1)) >> (32 - BUCKETS_LG2)];
}

/* None is ever taken out: no read section is needed. */
static struct atc_pasid *pasid_find(struct uiommu_atc *atc, uint32_t pasid)
{
	struct atc_pasid *found = rcu_read(*bucket_of(atc, pasid));

	while (found && found->pasid != pasid)
		found = rcu_read(found->next);
	return found;
}

/* Outside of read sections. Without memory nothing is kept. */
static void pasid_add(struct uiommu_atc *atc, uint32_t pasid)
{
	struct atc_pasid **bucket = bucket_of(atc, pasid), *added;

	pthread_mutex_lock(&atc->lock);
	added = pasid_find(atc, pasid) || atc->count == PASIDS_MAX ? NULL : calloc(1, sizeof(*added));
	if (added) {
		atc->count++;
		added->pasid = pasid;
		added->next = *bucket;
		iotlb_join(&atc->iotlb, &added->owner);
		rcu_publish(*bucket, added);
	}
	pthread_mutex_unlock(&atc->lock);
}

static void forget(struct uiommu_atc *atc, struct iotlb_owner *owner, const struct uiommu_ats_invalidation *what)
{
	if (!what->start && what->last == UINT64_MAX)
		iotlb_renew(&atc->iotlb, owner);
	else
		iotlb_clear(&atc->iotlb, owner, what->start, what->last);
}

static void forget_of_all(struct uiommu_atc *atc, const struct uiommu_ats_invalidation *what)
{
	for (unsigned int i = 0; i < BUCKETS; i++)
		for (struct atc_pasid *pasid = rcu_read(atc->buckets[i]); pasid; pasid = rcu_read(pasid->next))
			forget(atc, &pasid->owner, what);
}

static void invalidate(void *opaque, uint32_t tag, const struct uiommu_ats_invalidation *what)
{
	struct uiommu_atc *atc = opaque;
	struct atc_pasid *pasid;

	if (what->flags & UIOMMU_ATS_GLOBAL) {
		forget_of_all(atc, what);
	} else {
		pasid = pasid_find(atc, what->pasid);
		if (pasid)
			forget(atc, &pasid->owner, what);
	}
	rcu_wait();
	flights_wait(&atc->device->translated.flights);
	uiommu_ats_invalidated(atc->device, tag);
}

static const struct uiommu_ats_ops atc_ops = {.invalidate = invalidate};

int uiommu_atc_create(struct uiommu_device *device, uint32_t entries, uint32_t timeout_ms, struct uiommu_atc **out)
{
	struct uiommu_ats_config config = {.size = sizeof(config), .timeout_ms = timeout_ms, .ops = &atc_ops};
	struct uiommu_atc *atc;
	int error;

	if (entries > ENTRIES_MAX)
		return -EINVAL;
	atc = calloc(1, sizeof(*atc));
	if (!atc)
		return -ENOMEM;
	error = iotlb_init(&atc->iotlb, entries);
	if (error) {
		free(atc);
		return error;
	}
	pthread_mutex_init(&atc->lock, NULL);
	atc->device = device;
	config.opaque = atc;
	error = uiommu_ats_enable(device, &config);
	if (error) {
		pthread_mutex_destroy(&atc->lock);
		iotlb_fini(&atc->iotlb);
		free(atc);
		return error;
	}
	*out = atc;
	return 0;
}

int uiommu_atc_destroy(struct uiommu_atc *atc)
{
	int error = atc ? uiommu_ats_disable(atc->device) : 0;

	if (error || !atc)
		return error;
	for (unsigned int i = 0; i < BUCKETS; i++) {
		struct atc_pasid *pasid = atc->buckets[i], *next;

		for (; pasid; pasid = next) {
			next = pasid->next;
			iotlb_part(&atc->iotlb, &pasid->owner);
			free(pasid);
		}
	}
	pthread_mutex_destroy(&atc->lock);
	iotlb_fini(&atc->iotlb);
	free(atc);
	return 0;
}

/* Few sizes, because each that there is has to be looked for. */
static unsigned int kept_lg2(unsigned int size_lg2)
{
	static const uint8_t sizes[] = {30, 21, 16};

	for (unsigned int i = 0; i < ARRAY_SIZE(sizes); i++)
		if (size_lg2 >= sizes[i])
			return sizes[i];
	return 12;
}

/* Ask for what is not kept. True: *@hit, which permits @access. */
static bool ask(struct uiommu_atc *atc, struct iotlb_owner *owner, uint32_t pasid, uint64_t address, unsigned int access,
		struct iotlb_hit *hit)
{
	struct iotlb_fill fill = iotlb_begin(&atc->iotlb, owner);
	struct attachment *attachment = attach_table_find(&atc->device->table, pasid);
	struct uiommu_ats_completion completion;
	struct pgtable_result result;
	struct ats_refusal refusal;
	uint64_t inside;

	if (!attachment || !__atomic_load_n(&attachment->ats, __ATOMIC_ACQUIRE) ||
	    ats_find(attachment, address, access | UIOMMU_READ, &completion, &refusal) ||
	    access & ~(unsigned int)completion.access || completion.flags & UIOMMU_ATS_UNTRANSLATED_ONLY)
		return false;
	inside = address & low_mask(completion.size_lg2);
	result = (struct pgtable_result){
		.oa = completion.address + inside, .page_lg2 = (uint8_t)kept_lg2(completion.size_lg2), .access = completion.access};
	iotlb_fill(&atc->iotlb, owner, &fill, address, true, &result);
	hit->oa = result.oa;
	hit->length = (UINT64_C(1) << result.page_lg2) - (address & low_mask(result.page_lg2));
	return true;
}

unsigned int atc_find(struct uiommu_atc *atc, uint32_t pasid, uint64_t address, uint64_t length, unsigned int access,
		      struct piece *piece)
{
	struct atc_pasid *kept = pasid_find(atc, pasid);
	struct iotlb_hit hit;

	if (unlikely(!kept))
		return piece_find(atc->device, pasid, address, length, access, piece);
	if (unlikely(!iotlb_find(&kept->owner, address, true, &hit) || access & ~hit.access) &&
	    !ask(atc, &kept->owner, pasid, address, access, &hit))
		return piece_find(atc->device, pasid, address, length, access, piece);
	return piece_find_translated(atc->device, pasid, hit.oa, min_u64(length, hit.length), access, piece);
}

static int access_by(struct uiommu_atc *atc, struct uiommu_dma_op *op, unsigned int access)
{
	if (op->flags & ~(uint32_t)UIOMMU_DMA_RECOVERABLE)
		return -EINVAL;
	if (unlikely(!pasid_find(atc, op->pasid)))
		pasid_add(atc, op->pasid);
	return transfer_by_atc(atc, atc->device, op, access);
}

int uiommu_atc_read(struct uiommu_atc *atc, struct uiommu_dma_op *op)
{
	return access_by(atc, op, UIOMMU_READ);
}

int uiommu_atc_write(struct uiommu_atc *atc, struct uiommu_dma_op *op)
{
	return access_by(atc, op, UIOMMU_WRITE);
}
