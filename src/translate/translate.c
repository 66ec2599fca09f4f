/* SPDX-License-Identifier: BSD-3-Clause */
/* Translations without an access, through an attachment that the caller has in hand. */
#include "memory/distant.h"
#include "memory/process.h"
#include "translate/absent.h"
#include "translate/inflight.h"
#include "translate/piece.h"
#include "translate/space.h"
#include "translate/stages.h"
#include "util/rcu.h"

/* The device has it in hand: only its memory is kept. */
static struct attachment *of(struct uiommu_attachment *attachment)
{
	return (struct attachment *)(void *)attachment;
}

static struct attachment *get(struct uiommu_device *device, uint32_t pasid, bool *resolve)
{
	struct attachment *attachment;

	rcu_enter();
	attachment = attach_table_find(&device->table, pasid);
	*resolve = !attachment && attach_table_resolves(&device->table, pasid);
	/* As long as it is in the table there is a reference. */
	if (attachment)
		__atomic_add_fetch(&attachment->references, 1, __ATOMIC_RELAXED);
	rcu_leave();
	return attachment;
}

struct uiommu_attachment *uiommu_attachment_get(struct uiommu_device *device, uint32_t pasid)
{
	struct uiommu_fault fault = {.device_id = device->id, .pasid = pasid};
	struct attachment *attachment = NULL;
	bool resolve = true;

	thread_self();
	for (unsigned int i = 0; resolve && i < RESOLVE_TRIES; i++) {
		attachment = get(device, pasid, &resolve);
		if (resolve && !absent_resolve(device, pasid, &fault))
			break;
	}
	return (struct uiommu_attachment *)(void *)attachment;
}

void uiommu_attachment_put(struct uiommu_attachment *attachment)
{
	if (attachment)
		attachment_put(of(attachment));
}

/* Without stages: the area, or the process around the areas. */
static unsigned int find_in_space(const struct space *space, uint64_t address, struct stages_result *found)
{
	const struct area *area = space->process ? areas_first(&space->areas, address) : areas_find(&space->areas, address);

	found->address = address;
	if (area && area->start <= address) {
		found->length = area->last - address + (area->last - address != UINT64_MAX);
		found->access = area->access;
		return UIOMMU_FAULT_NONE;
	}
	if (!space->process)
		return UIOMMU_FAULT_UNMAPPED;
	found->length = area ? area->start - address : UINT64_MAX - address + (address != 0);
	found->access = (uint8_t)process_access(space->process);
	return UIOMMU_FAULT_NONE;
}

/* Whatever is no hit. In a read section. */
static __attribute__((noinline)) unsigned int find(struct attachment *attachment, uint64_t address, unsigned int access,
						   struct uiommu_translation *out)
{
	const unsigned int user = access & UIOMMU_PRIVILEGED ? 0 : PGTABLE_USER;
	struct stages_result found;
	struct stages *stages;
	unsigned int reason;

	if (unlikely(__atomic_load_n(&attachment->draining, __ATOMIC_RELAXED)))
		return UIOMMU_FAULT_DRAINING;
	if (unlikely(access & ~(unsigned int)attachment->access))
		return UIOMMU_FAULT_ATTACHMENT;
	access &= ~(unsigned int)UIOMMU_PRIVILEGED;
	stages = stages_of(attachment);
	if (stages) {
		stages_find(stages, address, access | user, &found);
		reason = found.reason;
		if (likely(reason != DISTANT_FIRST))
			count_walk(attachment, &found);
	} else {
		reason = find_in_space(attachment->space, address, &found);
		if (!reason && access & ~(unsigned int)found.access)
			reason = UIOMMU_FAULT_PERMISSION;
	}
	if (!reason)
		*out = (struct uiommu_translation){found.address, found.length, found.access & attachment->access};
	return reason;
}

static __attribute__((noinline)) int translate(struct attachment *attachment, uint64_t address, unsigned int access,
					       struct uiommu_translation *out)
{
	struct thread_state *self = thread_self();
	unsigned int reason;

	distant_begin(self);
	do {
		rcu_enter();
		reason = find(attachment, address, access, out);
		rcu_leave();
	} while (reason == DISTANT_FIRST && distant_fetch(self));
	distant_end(self);
	return reason == DISTANT_FIRST ? UIOMMU_FAULT_MEMORY : (int)reason;
}

/*
 * A hit needs no read section: what it looks at stays as long as the attachment's memory, an entry is read in one piece, and of the
 * result nobody is promised more than that it was right during the call.
 */
int uiommu_translate(struct uiommu_attachment *handle, uint64_t address, unsigned int access, struct uiommu_translation *out)
{
	struct attachment *attachment = of(handle);
	const struct stages *stages = attachment->stages;
	struct iotlb_hit hit;

	if (likely(stages && iotlb_find_small(&stages->cached, address, true, &hit))) {
		hit.access &= __atomic_load_n(&attachment->open, __ATOMIC_RELAXED);
		if (likely(access && (hit.access & access) == access)) {
			*out = (struct uiommu_translation){hit.oa, hit.length, hit.access};
			return 0;
		}
	}
	return translate(attachment, address, access, out);
}
