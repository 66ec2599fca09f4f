/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Batches. The list is copied as a whole before its first descriptor is looked at; then members are started, at most BATCH_TASKS at
 * the same time, in windows as descriptors from the ring are. A member with a fence waits until all before it are complete and
 * their records written. The oldest batch of a queue goes first: drivers look at the last one that they have submitted, and then
 * expect the others to be complete.
 */
#include "devices/accel/task.h"

#include <string.h>

static void batch_init(struct batch *batch, struct task *parent)
{
	batch->parent = parent;
	batch->free = NULL;
	for (unsigned int i = 0; i < BATCH_TASKS; i++) {
		batch->members[i].next = batch->free;
		batch->free = &batch->members[i];
	}
	batch->available = 0;
	batch->next = 0;
	batch->outstanding = 0;
	batch->readable = false;
	batch->failed = false;
	batch->status = 0;
	parent->batch = batch;
}

static struct batch *slot_find(struct engine_queue *queue)
{
	for (unsigned int i = 0; i < BATCH_SLOTS; i++)
		if (!queue->batches[i].parent)
			return &queue->batches[i];
	return NULL;
}

static void slot_free(struct engine_queue *queue, struct batch *batch)
{
	unsigned int at = 0;

	while (queue->oldest[at] != batch)
		at++;
	queue->batches_used--;
	memmove(&queue->oldest[at], &queue->oldest[at + 1], (queue->batches_used - at) * sizeof(queue->oldest[0]));
	batch->parent = NULL;
	batch->readable = false;
}

void batch_start(struct task *parent)
{
	struct engine_queue *queue = parent->queue;
	struct batch *batch = slot_find(queue);

	if (!batch) {
		task_push(&queue->waiting, parent);
		return;
	}
	queue->oldest[queue->batches_used++] = batch;
	batch_init(batch, parent);
	task_push(&queue->active, parent);
}

void batch_read_done(struct task *parent, unsigned int status)
{
	struct batch *batch = parent->batch;

	batch->available = (uint32_t)(parent->done / sizeof(parent->desc));
	batch->status = (uint8_t)status;
	batch->readable = true;
}

static void member_start(struct uiommu_accel *accel, struct batch *batch)
{
	struct task *member = batch->free;

	batch->free = member->next;
	*member = (struct task){.queue = batch->parent->queue, .batch = batch};
	member->desc = batch->list[batch->next++];
	member->places[PLACE_OWN] = batch->parent->places[PLACE_OWN];
	batch->outstanding++;
	window_start(accel, member);
}

/* The next member has a fence: false if it has to wait. After a failure the rest of the batch is abandoned. */
static bool fence_pass(struct uiommu_accel *accel, struct batch *batch)
{
	window_flush(accel);
	if (batch->outstanding)
		return false;
	record_flush(accel);
	if (!batch->failed)
		return true;
	batch->available = batch->next;
	return false;
}

static unsigned int members_start(struct uiommu_accel *accel, struct batch *batch, unsigned int limit)
{
	unsigned int count = 0;

	while (batch->next < batch->available && batch->free && count < limit) {
		if (batch->list[batch->next].flags_opcode & UIOMMU_ACCEL_FENCE && !fence_pass(accel, batch))
			break;
		member_start(accel, batch);
		count++;
	}
	return count;
}

static void batch_finish(struct uiommu_accel *accel, struct batch *batch)
{
	struct task *parent = batch->parent, *waiting;
	struct engine_queue *queue = parent->queue;
	unsigned int status = batch->status;

	if (!status)
		status = batch->failed ? UIOMMU_ACCEL_BATCH_FAIL : UIOMMU_ACCEL_SUCCESS;
	else
		parent->result = batch->failed;
	parent->done = batch->next;
	task_complete(accel, parent, status);
	slot_free(queue, batch);
	waiting = task_pop(&queue->waiting);
	if (waiting)
		batch_start(waiting);
}

static bool batch_ended(struct uiommu_accel *accel, const struct batch *batch)
{
	window_flush(accel);
	return batch->readable && batch->next == batch->available && !batch->outstanding;
}

unsigned int batch_turn(struct uiommu_accel *accel, struct engine_queue *queue, unsigned int limit)
{
	unsigned int count = 0, at = 0;

	while (at < queue->batches_used) {
		struct batch *batch = queue->oldest[at];

		if (batch->readable)
			count += members_start(accel, batch, limit - count);
		if (!batch_ended(accel, batch)) {
			at++;
			continue;
		}
		/* A member's record that is lost makes the batch fail. */
		record_flush(accel);
		batch_finish(accel, batch);
	}
	return count;
}
