/* SPDX-License-Identifier: BSD-3-Clause */
#include "translate/ats.h"

#include <errno.h>

#include "memory/distant.h"
#include "translate/absent.h"
#include "translate/piece.h"
#include "util/bits.h"

enum {
	SIZE_LG2_LEAST = 12,
	ALL = UIOMMU_READ | UIOMMU_WRITE | UIOMMU_EXEC,
};

/* The answer is that there is no page, or not for this access; anything else is an error. */
static bool is_answer(unsigned int reason)
{
	switch (reason) {
	case UIOMMU_FAULT_UNMAPPED:
	case UIOMMU_FAULT_PERMISSION:
	case UIOMMU_FAULT_PRIVILEGE:
	case UIOMMU_FAULT_ACCESS_FLAG:
		return true;
	default:
		return false;
	}
}

/* The block around @in that leads to that around @out, not beyond @page_lg2 and not beyond @area. */
static void set_block(struct uiommu_ats_completion *completion, uint64_t in, uint64_t out, unsigned int page_lg2,
		      const struct area *area)
{
	uint64_t apart = in ^ out;
	unsigned int size_lg2 = (unsigned int)min_u64(page_lg2, apart ? (uint64_t)__builtin_ctzll(apart) : 63);

	/* What does not fit there is looked for by each access all the same. */
	while (size_lg2 > SIZE_LG2_LEAST && ((out & ~low_mask(size_lg2)) < area->start || (out | low_mask(size_lg2)) > area->last))
		size_lg2--;
	completion->size_lg2 = (uint8_t)size_lg2;
	completion->address = out & ~low_mask(size_lg2);
}

/* Without stages. */
static void find_in_space(const struct attachment *attachment, uint64_t address, unsigned int access,
			  struct uiommu_ats_completion *out)
{
	const struct space *space = attachment->space;
	const struct area *area = areas_find(&space->areas, address);

	if (area) {
		set_block(out, address, address, 63, area);
		out->access = (uint8_t)(area->access & attachment->access & access);
	} else if (space->process) {
		out->address = address & ~low_mask(SIZE_LG2_LEAST);
		out->access = (uint8_t)(process_access(space->process) & attachment->access & access);
		out->flags = UIOMMU_ATS_UNTRANSLATED_ONLY;
	}
}

/*
 * As much as the tables permit of what was asked for: each walk does to accessed and dirty bits what an access of that kind does,
 * so that a write is permitted only of a page that is dirty.
 */
static unsigned int walk(struct attachment *attachment, struct stages *stages, uint64_t address, unsigned int *access,
			 struct stages_result *found)
{
	static const uint8_t without[] = {0, UIOMMU_WRITE, UIOMMU_EXEC, UIOMMU_WRITE | UIOMMU_EXEC, UIOMMU_READ | UIOMMU_EXEC};
	unsigned int wanted = *access, tried = 0;

	*found = (struct stages_result){.reason = UIOMMU_FAULT_PERMISSION};
	for (unsigned int i = 0; i < ARRAY_SIZE(without) && is_answer(found->reason); i++) {
		*access = wanted & ~(unsigned int)without[i];
		if (!*access || *access == tried)
			continue;
		tried = *access;
		stages_walk(stages, address, *access | PGTABLE_USER, found);
		if (found->reason == DISTANT_FIRST)
			break;
		count_walk(attachment, found);
		if (!found->reason || found->reason == UIOMMU_FAULT_UNMAPPED)
			break;
	}
	return found->reason;
}

static unsigned int find_in_stages(struct attachment *attachment, struct stages *stages, uint64_t address, unsigned int access,
				   struct uiommu_ats_completion *out, struct ats_refusal *refusal)
{
	struct stages_result found;
	const struct area *area;
	unsigned int reason;

	access &= attachment->access;
	reason = access ? walk(attachment, stages, address, &access, &found) : UIOMMU_FAULT_PERMISSION;
	if (reason) {
		if (!is_answer(reason))
			*refusal = (struct ats_refusal){
				.stage = found.stage, .level = found.level, .table = found.table, .absent = found.address};
		return is_answer(reason) ? UIOMMU_FAULT_NONE : reason;
	}
	area = areas_find(&attachment->space->areas, found.address);
	if (!area)
		return UIOMMU_FAULT_NONE;
	set_block(out, address, found.address, found.page_lg2, area);
	out->access = (uint8_t)(access & area->access);
	return UIOMMU_FAULT_NONE;
}

unsigned int ats_find(struct attachment *attachment, uint64_t address, unsigned int access, struct uiommu_ats_completion *out,
		      struct ats_refusal *refusal)
{
	struct stages *stages = stages_of(attachment);

	*out = (struct uiommu_ats_completion){.size_lg2 = SIZE_LG2_LEAST};
	/* Before the look: whoever takes away what is found looks at it after a grace period. */
	if (!__atomic_load_n(&attachment->kept, __ATOMIC_RELAXED))
		__atomic_store_n(&attachment->kept, true, __ATOMIC_RELAXED);
	if (stages)
		return find_in_stages(attachment, stages, address, access, out, refusal);
	find_in_space(attachment, address, access, out);
	return UIOMMU_FAULT_NONE;
}

/* What one request carries along. */
struct call {
	struct uiommu_device *device;
	const struct uiommu_ats_request *request;
	struct uiommu_ats_completion *out;
	struct failure failure;
	struct absent absent;
};

/* In a read section. 0, -EOPNOTSUPP, -EFAULT with @call->failure set, -EAGAIN: a guest's tables may know; -EINPROGRESS: the same,
 * and memory is waited for; -EINTR: tables are to be fetched. */
static int answer(struct call *call)
{
	const struct uiommu_ats_request *request = call->request;
	struct attachment *attachment = attach_table_find(&call->device->table, request->pasid);
	struct uiommu_ats_completion completion;
	struct ats_refusal refusal;
	unsigned int reason;

	if (!attachment)
		return attach_table_resolves(&call->device->table, request->pasid) ? -EAGAIN : -EOPNOTSUPP;
	if (!__atomic_load_n(&attachment->ats, __ATOMIC_ACQUIRE) || __atomic_load_n(&attachment->draining, __ATOMIC_RELAXED))
		return -EOPNOTSUPP;
	reason = ats_find(attachment, request->address, request->access, &completion, &refusal);
	if (reason == DISTANT_FIRST)
		return -EINTR;
	if (reason) {
		struct piece piece = {
			.attachment = attachment, .stage = refusal.stage, .level = refusal.level, .table = refusal.table};

		failure_set(&call->failure, call->device, request->pasid, request->address,
			    request->access & UIOMMU_WRITE ? UIOMMU_WRITE : UIOMMU_READ,
			    reason == UIOMMU_FAULT_ABSENT ? UIOMMU_FAULT_MEMORY : reason, &piece);
		if (reason != UIOMMU_FAULT_ABSENT)
			return -EFAULT;
		absent_begin(&call->absent, &attachment->space->areas, refusal.absent);
		return -EINPROGRESS;
	}
	*call->out = completion;
	if (request->keep)
		request->keep(request->opaque, &completion);
	return 0;
}

int uiommu_ats_translate(struct uiommu_device *device, const struct uiommu_ats_request *request, struct uiommu_ats_completion *out)
{
	struct call call = {.device = device, .request = request, .out = out};
	struct uiommu_fault fault = {.device_id = device->id, .pasid = request->pasid, .address = request->address};
	struct thread_state *self = thread_self();
	int error = -EAGAIN;

	if (!request->access || request->access & ~(unsigned int)ALL)
		return -EINVAL;
	self->depth++;
	distant_begin(self);
	for (unsigned int i = 0; i < RESOLVE_TRIES && error == -EAGAIN; i++) {
		rcu_enter();
		error = answer(&call);
		rcu_leave();
		if (error == -EINTR)
			error = distant_fetch(self) ? -EAGAIN : -EOPNOTSUPP, i = 0;
		else if (error == -EINPROGRESS)
			error = absent_end(&call.absent) ? -EAGAIN : -EFAULT, i = 0;
		else if (error == -EAGAIN && !absent_resolve(device, request->pasid, &fault))
			error = -EOPNOTSUPP;
	}
	distant_end(self);
	if (error == -EFAULT)
		failure_report(self, device, &call.failure);
	self->depth--;
	return error == -EAGAIN ? -EOPNOTSUPP : error;
}
