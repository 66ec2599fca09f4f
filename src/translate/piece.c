/* SPDX-License-Identifier: BSD-3-Clause */
#include "translate/piece.h"

#include "memory/distant.h"
#include "memory/presence.h"
#include "memory/region.h"

/* In front of @area, or of nothing: the process's own memory. */
static unsigned int find_in_process(const struct space *space, uint64_t address, uint64_t length, unsigned int access,
				    const struct area *area, struct piece *piece)
{
	if (!space->process)
		return UIOMMU_FAULT_UNMAPPED;
	if ((process_access(space->process) & access) != access)
		return UIOMMU_FAULT_ATTACHMENT;
	piece->area = NULL;
	piece->resident = false;
	piece->length = area ? min_u64(length, area->start - address) : length;
	piece->host = process_is_direct(space->process) ? (uint8_t *)(uintptr_t)address : NULL;
	return UIOMMU_FAULT_NONE;
}

/* What is elsewhere, or is supplied: as much as is there may be touched as if it were resident. */
static __attribute__((noinline)) unsigned int in_other_area(const struct area *area, uint64_t address, struct piece *piece)
{
	const struct presence *presence = region_presence(area->region);

	piece->host = NULL;
	if (region_is_remote(area->region))
		piece->offset = (uint64_t)(uintptr_t)area->host + (address - area->start);
	else
		piece->host = area->host + (address - area->start);
	if (!presence)
		return UIOMMU_FAULT_NONE;
	piece->resident = true;
	piece->length = presence_length(presence, area_offset(area, address), piece->length);
	piece->absent = address;
	return piece->length ? UIOMMU_FAULT_NONE : UIOMMU_FAULT_ABSENT;
}

/* @length bytes of it. */
static inline unsigned int in_area(struct area *area, uint64_t address, uint64_t length, struct piece *piece)
{
	piece->area = area;
	piece->resident = area->resident;
	piece->length = length;
	if (unlikely(!area->resident))
		return in_other_area(area, address, piece);
	piece->host = area->host + (address - area->start);
	return UIOMMU_FAULT_NONE;
}

/* Through the guest's page tables, to what is mapped there. */
static unsigned int find_in_stages(struct attachment *attachment, struct stages *stages, uint64_t address, uint64_t length,
				   unsigned int access, struct piece *piece)
{
	struct stages_result found;
	struct area *area;

	stages_find(stages, address, access | PGTABLE_USER, &found);
	if (unlikely(found.reason == DISTANT_FIRST))
		return PIECE_RESOLVE;
	count_walk(attachment, &found);
	if (unlikely(found.reason)) {
		piece->stage = found.stage;
		piece->level = found.level;
		piece->table = found.table;
		piece->flags = found.flags;
		piece->absent = found.address;
		return found.reason;
	}
	area = areas_find(&attachment->space->areas, found.address);
	piece->stage = 2;
	piece->flags = UIOMMU_FAULT_PARENT;
	if (unlikely(!area))
		return UIOMMU_FAULT_UNMAPPED;
	if (unlikely((area->access & access) != access))
		return UIOMMU_FAULT_PERMISSION;
	return in_area(area, found.address, min_u64(min_u64(length, found.length) - 1, area->last - found.address) + 1, piece);
}

/* In its areas, and around them. */
static inline unsigned int find_in_space(const struct space *space, uint64_t address, uint64_t length, unsigned int access,
					 struct piece *piece)
{
	struct area *area;

	area = space->process ? areas_first(&space->areas, address) : areas_find(&space->areas, address);
	if (!area || area->start > address)
		return find_in_process(space, address, length, access, area, piece);
	if (unlikely((area->access & access) != access))
		return UIOMMU_FAULT_PERMISSION;
	return in_area(area, address, min_u64(length - 1, area->last - address) + 1, piece);
}

static inline unsigned int refused(const struct attachment *attachment, unsigned int access, struct piece *piece)
{
	piece->stage = piece->level = 0;
	piece->table = false;
	piece->translated = false;
	piece->flags = 0;
	if (unlikely(__atomic_load_n(&attachment->draining, __ATOMIC_RELAXED)))
		return UIOMMU_FAULT_DRAINING;
	return likely((attachment->access & access) == access) ? UIOMMU_FAULT_NONE : UIOMMU_FAULT_ATTACHMENT;
}

static inline unsigned int piece_of(struct attachment *attachment, uint64_t address, uint64_t length, unsigned int access,
				    struct piece *piece)
{
	unsigned int reason = refused(attachment, access, piece);
	struct stages *stages;

	if (unlikely(reason))
		return reason;
	stages = stages_of(attachment);
	if (stages)
		return find_in_stages(attachment, stages, address, length, access, piece);
	return find_in_space(attachment->space, address, length, access, piece);
}

unsigned int piece_straight(struct attachment *attachment, uint64_t address, uint64_t length, unsigned int access,
			    struct piece *piece)
{
	unsigned int reason = refused(attachment, access, piece);

	return reason ? reason : find_in_space(attachment->space, address, length, access, piece);
}

static unsigned int nothing_found(const struct uiommu_device *device, uint32_t pasid)
{
	if (attach_table_resolves(&device->table, pasid))
		return PIECE_RESOLVE;
	return __atomic_load_n(&device->suspended, __ATOMIC_ACQUIRE) ? UIOMMU_FAULT_DRAINING : UIOMMU_FAULT_NOT_ATTACHED;
}

unsigned int piece_find(const struct uiommu_device *device, uint32_t pasid, uint64_t address, uint64_t length, unsigned int access,
			struct piece *piece)
{
	piece->attachment = attach_table_find(&device->table, pasid);
	if (unlikely(!piece->attachment))
		return nothing_found(device, pasid);
	return piece_of(piece->attachment, address, length, access, piece);
}

/* Whoever tracks what is written to sees it, whatever the device has kept. */
static unsigned int pass_behind(const struct pgtable *behind, uint64_t address, unsigned int access, struct piece *piece)
{
	struct pgtable_result walked;

	behind->walk(behind, address, access | PGTABLE_USER, &walked);
	if (unlikely(walked.reason)) {
		piece->stage = 2;
		return walked.reason;
	}
	piece->length = min_u64(piece->length - 1, low_mask(walked.page_lg2) - (address & low_mask(walked.page_lg2))) + 1;
	return UIOMMU_FAULT_NONE;
}

unsigned int piece_find_translated(const struct uiommu_device *device, uint32_t pasid, uint64_t address, uint64_t length,
				   unsigned int access, struct piece *piece)
{
	struct attachment *attachment = attach_table_find(&device->table, pasid);
	unsigned int reason;

	piece->attachment = attachment;
	if (unlikely(!attachment))
		return nothing_found(device, pasid);
	reason = refused(attachment, access, piece);
	if (!reason && unlikely(!__atomic_load_n(&attachment->ats, __ATOMIC_RELAXED)))
		reason = UIOMMU_FAULT_BLOCKED;
	if (!reason)
		reason = find_in_space(attachment->space, address, length, access, piece);
	if (!reason && attachment->behind)
		reason = pass_behind(attachment->behind, address, access, piece);
	piece->translated = true;
	return reason;
}

static unsigned int stage_of(const struct piece *piece)
{
	if (!piece || !piece->attachment)
		return 0;
	if (piece->stage)
		return piece->stage;
	return piece->attachment->space->process ? 1 : 2;
}

static uint16_t flags_of(const struct piece *piece)
{
	const struct stages *stages = piece->attachment->stages;

	/* What passes through has met nothing but the guest's memory. */
	if (stages && !stages->straight && !stages_of(piece->attachment))
		return UIOMMU_FAULT_PARENT;
	return piece->flags;
}

void failure_set(struct failure *failure, const struct uiommu_device *device, uint32_t pasid, uint64_t address, unsigned int access,
		 unsigned int reason, const struct piece *piece)
{
	struct attachment *attachment = piece ? piece->attachment : NULL;

	*failure = (struct failure){
		.fault =
			{
				.address = address,
				.device_id = device->id,
				.pasid = pasid,
				.access = (uint8_t)access,
				.reason = (uint8_t)reason,
				.stage = (uint8_t)stage_of(piece),
				.table = attachment && piece->table,
				.level = attachment ? piece->level : 0,
				.flags = attachment ? flags_of(piece) : 0,
			},
		.attachment = attachment,
		.generation = attachment ? attachment->generation : 0,
	};
}

/* Could a page help? */
static bool is_recoverable(const struct uiommu_fault *fault)
{
	switch (fault->reason) {
	case UIOMMU_FAULT_UNMAPPED:
	case UIOMMU_FAULT_PERMISSION:
	case UIOMMU_FAULT_MEMORY:
	case UIOMMU_FAULT_PRIVILEGE:
	case UIOMMU_FAULT_ACCESS_FLAG:
		return true;
	default:
		return false;
	}
}

void failure_recovers(struct failure *failure, unsigned int flags)
{
	const struct attachment *attachment = failure->attachment;

	if (failure->fault.reason == UIOMMU_FAULT_ABSENT && flags_park(flags))
		failure->fault.flags |= UIOMMU_FAULT_RECOVERABLE;
	if (flags & UIOMMU_DMA_RECOVERABLE && attachment && attachment->sink && attachment->sink->answers && attachment->asks &&
	    is_recoverable(&failure->fault))
		failure->fault.flags |= UIOMMU_FAULT_RECOVERABLE;
}

void failure_report(struct thread_state *self, struct uiommu_device *device, const struct failure *failure)
{
	struct attachment *attachment;
	struct inflight_slot *slot;
	struct uiommu_fault told;

	if (failure->told || failure->fault.reason == UIOMMU_FAULT_ABSENT)
		return;
	if (!failure->attachment) {
		if (failure->fault.reason != UIOMMU_FAULT_DRAINING)
			device->report(device, &failure->fault);
		return;
	}
	rcu_enter();
	attachment = attach_table_find(&device->table, failure->fault.pasid);
	if (attachment != failure->attachment || attachment->generation != failure->generation) {
		/* It has ended meanwhile, and with it whoever wanted to know. */
		rcu_leave();
		return;
	}
	if (failure->fault.reason == UIOMMU_FAULT_DRAINING) {
		counter_add(self, &counters_of(self, attachment)->discarded, 1);
		rcu_leave();
		return;
	}
	slot = inflight_enter(self, &attachment->drain);
	rcu_leave();
	counter_add(self, &counters_of(self, attachment)->faults, 1);
	told = attachment_fault(attachment, &failure->fault);
	if (!attachment->sink)
		device->report(device, &failure->fault);
	else if (!attachment->quiet && !(failure->fault.flags & UIOMMU_FAULT_RECOVERABLE))
		attachment->sink->event(attachment->sink, &told);
	inflight_leave(slot);
}
