/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Fresh descriptors, up to 64 at a time. Small moves are collected in a group: all their sources are read in one call (which the
 * DMA layer turns into few system calls), then all destinations are written. Nothing orders the descriptors of a window, so reading
 * all before writing any is permitted; a batch's fence ends a window.
 */
#include "devices/accel/task.h"
#include "iommu/object.h"
#include "pasid/vpasid.h"

static bool overlap(const struct task *task, enum place_name a_place, uint64_t a, enum place_name b_place, uint64_t b)
{
	/* What wraps is a fault later, not an overlap. */
	return task_pasid(task, a_place) == task_pasid(task, b_place) && (a > b ? a - b : b - a) < task->desc.transfer_size;
}

bool move_is_backward(const struct task *task)
{
	const struct uiommu_accel_desc *desc = &task->desc;

	/* What wraps ends with a fault in any case, and has no end to begin at. */
	return desc->destination > desc->source && desc->destination <= UINT64_MAX - (desc->transfer_size - 1) &&
	       overlap(task, PLACE_SOURCE, desc->source, PLACE_DESTINATION, desc->destination);
}

static bool dualcast_overlaps(const struct task *task)
{
	const struct uiommu_accel_desc *desc = &task->desc;

	return overlap(task, PLACE_SOURCE, desc->source, PLACE_DESTINATION, desc->destination) ||
	       overlap(task, PLACE_SOURCE, desc->source, PLACE_DESTINATION2, desc->specific) ||
	       overlap(task, PLACE_DESTINATION, desc->destination, PLACE_DESTINATION2, desc->specific);
}

static void group_add(struct uiommu_accel *accel, struct task *task)
{
	struct group *group = &accel->group;
	uint32_t size = task->desc.transfer_size;
	struct uiommu_dma_op *op;

	if (group->count == WINDOW_TASKS || group->bytes + size > GROUP_BYTES)
		window_flush(accel);
	op = &group->ops[group->count];
	op->address = task->desc.source;
	op->buffer = accel_buffer(accel, 0) + group->bytes;
	op->length = size;
	op->pasid = task_pasid(task, PLACE_SOURCE);
	op->flags = task_flags(task);
	group->tasks[group->count++] = task;
	group->bytes += size;
}

/* From the ops that read to the ops that write what was read. Tasks whose read met a fault keep it in task->fault. */
static void group_turn_round(struct uiommu_accel *accel, bool failed)
{
	struct group *group = &accel->group;
	/* The reads may have slept. */
	bool unchanged = accel_unchanged(accel);

	for (unsigned int i = 0; i < group->count; i++) {
		struct uiommu_dma_op *op = &group->ops[i];
		struct task *task = group->tasks[i];

		if (unlikely(failed) && op->result.fault.reason) {
			task->fault = op->result.fault;
			op->length = op->result.done;
		}
		if (unlikely(!unchanged) && task_verify(accel, task))
			op->length = 0;
		op->address = task->desc.destination;
		op->pasid = task_pasid(task, PLACE_DESTINATION);
	}
}

static void group_finish(struct uiommu_accel *accel, bool failed)
{
	struct group *group = &accel->group;

	for (unsigned int i = 0; i < group->count; i++) {
		struct uiommu_dma_op *op = &group->ops[i];
		struct task *task = group->tasks[i];
		bool wrote = !failed || !op->result.fault.reason;

		task->done = wrote ? op->length : op->result.done;
		accel->turn_bytes += task->done;
		if (likely(task->done == task->desc.transfer_size)) {
			task_complete(accel, task, UIOMMU_ACCEL_SUCCESS);
			continue;
		}
		/* The write stopped before the read did, or where it did. */
		if (!wrote)
			task->fault = op->result.fault;
		if (task->fault.reason)
			task_fault(accel, task, &task->fault);
		else
			task_lost(accel, task, task_verify(accel, task));
	}
}

void window_flush(struct uiommu_accel *accel)
{
	struct group *group = &accel->group;
	bool failed;

	if (!group->count)
		return;
	failed = uiommu_dma_readv(accel->tenant->device, group->ops, group->count);
	group_turn_round(accel, failed);
	failed = uiommu_dma_writev(accel->tenant->device, group->ops, group->count);
	group_finish(accel, failed);
	group->count = 0;
	group->bytes = 0;
}

static void dispatch(struct uiommu_accel *accel, struct task *task)
{
	switch (task_opcode(task)) {
	case UIOMMU_ACCEL_NOOP:
		task_complete(accel, task, UIOMMU_ACCEL_SUCCESS);
		return;
	case UIOMMU_ACCEL_DRAIN:
		/* Complete when it is the oldest in flight. */
		return;
	case UIOMMU_ACCEL_BATCH:
		batch_start(task);
		return;
	case UIOMMU_ACCEL_MEMMOVE:
		if (task->desc.transfer_size <= SMALL_BYTES && !move_is_backward(task)) {
			group_add(accel, task);
			return;
		}
		break;
	case UIOMMU_ACCEL_DUALCAST:
		if (dualcast_overlaps(task)) {
			task_complete(accel, task, UIOMMU_ACCEL_OVERLAP);
			return;
		}
		break;
	}
	task_push(&task->queue->active, task);
}

/* Somebody else's than when it was submitted: it has waited in the ring for too long. */
static bool pasid_is_another(const struct uiommu_accel *accel, const struct task *task)
{
	return task->queue->words && !task->batch && !vpasid_is_current(pasid_tags(accel->context->pasids), task->word);
}

void window_start(struct uiommu_accel *accel, struct task *task)
{
	struct place *own = &task->places[PLACE_OWN];
	enum uiommu_accel_error_code code;
	uint32_t generation;
	unsigned int status;

	/* Before anything else: with a wrong PASID nothing is touched, not even the record. A member is for the batch's attachment.
	 */
	task->turn = accel->turn;
	if (unlikely(pasid_is_another(accel, task))) {
		task_lost(accel, task, UIOMMU_ACCEL_ERROR_PASID);
		return;
	}
	generation = accel_generation(accel, own->pasid);
	if (unlikely(!generation || (task->batch && generation != own->generation))) {
		task_lost(accel, task, UIOMMU_ACCEL_ERROR_PASID);
		return;
	}
	own->generation = generation;
	if (task->desc.flags_opcode & UIOMMU_ACCEL_RECORD_VALID && task->desc.completion_address % RECORD_SIZE) {
		task_misaligned_record(task);
		return;
	}
	status = desc_check(&task->desc, task->batch, &task->queue->limits, &task->value);
	if (unlikely(status)) {
		task_complete(accel, task, status);
		return;
	}
	code = task->desc.handles ? task_resolve(accel, task) : UIOMMU_ACCEL_ERROR_NONE;
	if (unlikely(code))
		task_lost(accel, task, code);
	else
		dispatch(accel, task);
}
