/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Queues whose descriptors lie in the memory of their submitter (engine_fetch). A doorbell says up to which position; the device
 * reads what is there, once, with accesses of the queue's PASID. A page of the ring that is missing is asked for, and nothing but
 * this queue waits for it; a ring that cannot be read halts the queue.
 */
#include <string.h>

#include "devices/accel/task.h"

static uint32_t tail_of(const struct fetch *fetch)
{
	return fetch->closed ? fetch->last : __atomic_load_n(fetch->from.tail, __ATOMIC_ACQUIRE);
}

bool fetch_ready(const struct engine_queue *queue)
{
	const struct fetch *fetch = &queue->fetch;
	uint32_t tail = tail_of(fetch);

	if (__atomic_load_n(&queue->tenant->barred, __ATOMIC_ACQUIRE))
		return false;
	return tail != fetch->head && !fetch->waits && !fetch->halted && queue->used < queue->ring.entries &&
	       !(fetch->is_refused && fetch->refused == tail);
}

/* How many can be taken. A tail that makes no sense is told once. */
static uint32_t fetch_count(struct engine_queue *queue, unsigned int limit)
{
	struct fetch *fetch = &queue->fetch;
	uint32_t tail = tail_of(fetch), count = tail - fetch->head;

	if (!fetch_ready(queue))
		return 0;
	fetch->is_refused = count > queue->ring.entries;
	if (fetch->is_refused) {
		fetch->refused = tail;
		queue_error(queue, UIOMMU_ACCEL_ERROR_DOORBELL, 0, 0, queue->pasid, tail);
		return 0;
	}
	return (uint32_t)min_u64(min_u64(count, limit), min_u64(WINDOW_TASKS, queue->ring.entries - queue->used));
}

/* One piece: whole descriptors that were read. */
static uint32_t read_piece(const struct engine_queue *queue, uint32_t position, struct uiommu_accel_desc *out, uint32_t count,
			   struct uiommu_fault *fault)
{
	const struct uiommu_accel_desc *submitted = queue->fetch.from.submitted;
	struct uiommu_dma_op op = {
		.address = queue->fetch.from.address + (position & (queue->ring.entries - 1)) * sizeof(*out),
		.buffer = out,
		.length = count * sizeof(*out),
		.pasid = queue->pasid,
		.flags = function_flags(queue->tenant),
	};

	if (submitted)
		memcpy(out, submitted + (position & (queue->ring.entries - 1)), op.length);
	if (submitted || !uiommu_dma_readv(queue->tenant->device, &op, 1))
		return count;
	*fault = op.result.fault;
	return (uint32_t)(op.result.done / sizeof(*out));
}

static uint32_t fetch_read(const struct engine_queue *queue, struct uiommu_accel_desc *out, uint32_t count,
			   struct uiommu_fault *fault)
{
	uint32_t head = queue->fetch.head;
	uint32_t first = (uint32_t)min_u64(count, queue->ring.entries - (head & (queue->ring.entries - 1)));
	uint32_t done = read_piece(queue, head, out, first, fault);

	if (done == first && first < count)
		done += read_piece(queue, head + first, out + first, count - first, fault);
	return done;
}

static void halt(struct engine_queue *queue)
{
	queue->fetch.halted = true;
	queue_error(queue, UIOMMU_ACCEL_ERROR_RING, 0, 0, queue->pasid, queue->fetch.task->fault.address);
}

static void take(struct engine_queue *queue, uint32_t count)
{
	queue->fetch.head += count;
	/* Release: the slots have been read, and may be written again. */
	__atomic_store_n(queue->fetch.from.head, queue->fetch.head, __ATOMIC_RELEASE);
	if (queue->fetch.from.shown)
		__atomic_store_n(queue->fetch.from.shown, queue->fetch.head, __ATOMIC_RELEASE);
}

unsigned int fetch_turn(struct uiommu_accel *accel, struct engine_queue *queue, unsigned int limit)
{
	struct uiommu_accel_desc descs[WINDOW_TASKS];
	struct fetch *fetch = &queue->fetch;
	struct uiommu_fault fault = {0};
	uint32_t count = fetch_count(queue, limit), taken = 0;

	if (count)
		taken = fetch_read(queue, descs, count, &fault);
	take(queue, taken);
	for (uint32_t i = 0; i < taken; i++) {
		struct task *task = task_alloc(queue);

		*task = (struct task){.queue = queue, .desc = descs[i]};
		task->places[PLACE_OWN].pasid = task_named(task);
		cds_list_add_tail(&task->inflight, &queue->inflight);
		window_start(accel, task);
	}
	window_flush(accel);
	if (!fault.reason)
		return taken;
	*fetch->task = (struct task){.queue = queue, .fault = fault};
	fetch->waits = task_park(fetch->task, &fault);
	if (!fetch->waits)
		halt(queue);
	return taken;
}

void fetch_answered(struct engine_queue *queue)
{
	queue->fetch.waits = false;
	if (queue->fetch.task->refused)
		halt(queue);
}

void engine_queue_close(struct engine_queue *queue)
{
	struct fetch *fetch = &queue->fetch;
	uint32_t tail = tail_of(fetch);

	fetch->last = tail - fetch->head > queue->ring.entries ? fetch->head : tail;
	fetch->closed = true;
}

void engine_queue_reopen(struct engine_queue *queue)
{
	queue->fetch.closed = false;
}

bool engine_queue_drained(const struct engine_queue *queue)
{
	const struct fetch *fetch = &queue->fetch;

	return fetch->closed && !queue->used && !fetch->waits && (fetch->halted || fetch->head == fetch->last);
}
