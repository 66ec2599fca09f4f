/* SPDX-License-Identifier: BSD-3-Clause */
/* How a task ends: completion records, software errors, interrupts. */
#include <string.h>

#include "devices/accel/task.h"
#include "memory/demand.h"

void queue_error(struct engine_queue *queue, unsigned int code, unsigned int opcode, unsigned int status, uint32_t pasid,
		 uint64_t address)
{
	struct uiommu_accel_error error = {
		.code = (uint8_t)code, .opcode = (uint8_t)opcode, .status = (uint8_t)status, .pasid = pasid, .address = address};

	if (unlikely(queue_fetches(queue)))
		queue->fetch.from.error(queue->fetch.from.opaque, &error);
	else
		ring_error_post(queue->ring.header, &error);
}

static void task_error(struct task *task, unsigned int code, unsigned int status, uint64_t address)
{
	queue_error(task->queue, code, task_opcode(task), status, task_named(task), address);
}

static bool fault_is_lost(const struct uiommu_fault *fault)
{
	return fault->reason == UIOMMU_FAULT_NOT_ATTACHED || fault->reason == UIOMMU_FAULT_DRAINING;
}

static bool task_is_member(const struct task *task)
{
	return task->batch && task->batch->parent != task;
}

static void task_finish(struct task *task, bool success)
{
	struct engine_queue *queue = task->queue;
	struct batch *batch = task->batch;

	__atomic_store_n(&queue->completed, queue->completed + 1, __ATOMIC_RELAXED);
	if (task_is_member(task)) {
		batch->failed |= !success;
		batch->outstanding--;
		task->next = batch->free;
		batch->free = task;
		return;
	}
	cds_list_del(&task->inflight);
	queue->used--;
	task->next = queue->free;
	queue->free = task;
}

static struct uiommu_accel_record record_of(const struct task *task, unsigned int status)
{
	return (struct uiommu_accel_record){
		.status = (uint8_t)status,
		.result = task->result,
		.bytes_completed = (uint32_t)task->done,
		.fault_address = task->fault.address,
		.value = task->value,
	};
}

/* Everything but the status, then the status: writes are done in the order of the ops. */
static void record_ops(const struct task *task, struct uiommu_accel_record *data, struct uiommu_dma_op ops[2])
{
	ops[0].address = task->desc.completion_address + 1;
	ops[0].buffer = (uint8_t *)data + 1;
	ops[0].length = RECORD_SIZE - 1;
	ops[0].pasid = task->places[PLACE_OWN].pasid;
	ops[1].address = task->desc.completion_address;
	ops[1].buffer = &data->status;
	ops[1].length = 1;
	ops[1].pasid = ops[0].pasid;
}

/* The record has to wait for its data, which record_flush() comes after. */
static void record_add(struct uiommu_accel *accel, struct task *task, unsigned int status)
{
	struct records *records = &accel->records;
	unsigned int i;

	if (records->count == RECORDS)
		record_flush(accel);
	i = records->count++;
	records->owner[i].queue = task->queue;
	records->owner[i].batch = task_is_member(task) ? task->batch : NULL;
	records->owner[i].place = task->places[PLACE_OWN];
	records->owner[i].named = task_named(task);
	records->older |= task->turn != accel->turn;
	records->owner[i].opcode = (uint8_t)task_opcode(task);
	records->data[i] = record_of(task, status);
	record_ops(task, &records->data[i], records->ops[i]);
}

/* True: the task waits, to be completed with @status then. */
static bool record_park(struct task *task, unsigned int status, const struct uiommu_fault *fault)
{
	if (task->batch && !task_is_member(task))
		task->batch = NULL; /* it gives back its slot now */
	task->completes = (uint8_t)status;
	if (task_park(task, fault))
		return true;
	task->completes = 0;
	return false;
}

/* A record that would have to wait for its memory: the task does, and nobody else. Memory that has been there stays. */
static bool record_waits(struct uiommu_accel *accel, struct task *task, unsigned int status)
{
	uint8_t byte;
	struct uiommu_dma_op op = {
		.address = task->desc.completion_address,
		.buffer = &byte,
		.length = 1,
		.pasid = task->places[PLACE_OWN].pasid,
		.flags = UIOMMU_DMA_PARKS,
	};

	if (likely(!demand_in_use()))
		return false;
	if (!uiommu_dma_readv(accel->tenant->device, &op, 1) || op.result.fault.reason != UIOMMU_FAULT_ABSENT)
		return false;
	return record_park(task, status, &op.result.fault);
}

/* A function's record: at once, because it waits for a page if it has to. False: the task does. */
static bool record_write(struct uiommu_accel *accel, struct task *task, unsigned int status)
{
	struct uiommu_accel_record data = record_of(task, status);
	struct uiommu_dma_op ops[2] = {{.flags = function_flags(accel->tenant)}, {.flags = function_flags(accel->tenant)}};
	struct uiommu_fault *fault = &ops[0].result.fault;

	if (unlikely(!place_valid(accel, &task->places[PLACE_OWN], 0))) {
		task_error(task, UIOMMU_ACCEL_ERROR_PASID, 0, task->desc.completion_address);
		return true;
	}
	record_ops(task, &data, ops);
	/* The data before the record. */
	__atomic_thread_fence(__ATOMIC_RELEASE);
	/* It lies in one page: where the first part goes the status does, unless it is taken away in between. */
	if (!uiommu_dma_writev(accel->tenant->device, &ops[0], 1) && !uiommu_dma_writev(accel->tenant->device, &ops[1], 1))
		return true;
	if (!fault->reason)
		fault = &ops[1].result.fault;
	if (record_park(task, status, fault))
		return false;
	task_error(task, fault_is_lost(fault) ? UIOMMU_ACCEL_ERROR_PASID : UIOMMU_ACCEL_ERROR_RECORD,
		   fault_is_lost(fault) ? 0 : UIOMMU_ACCEL_RECORD_FAULT, task->desc.completion_address);
	return true;
}

/* False: the task waits for its record's memory. */
static bool record_make(struct uiommu_accel *accel, struct task *task, unsigned int status)
{
	bool wanted = desc_flags(&task->desc) & UIOMMU_ACCEL_REQUEST_RECORD || status != UIOMMU_ACCEL_SUCCESS;

	if (unlikely(accel->tenant->credits))
		return !wanted || record_write(accel, task, status);
	if (record_waits(accel, task, status))
		return false;
	if (wanted)
		record_add(accel, task, status);
	return true;
}

void task_complete(struct uiommu_accel *accel, struct task *task, unsigned int status)
{
	uint32_t flags = desc_flags(&task->desc);

	if (flags & UIOMMU_ACCEL_RECORD_VALID) {
		if (!record_make(accel, task, status))
			return;
	} else if (status != UIOMMU_ACCEL_SUCCESS) {
		task_error(task, UIOMMU_ACCEL_ERROR_DESCRIPTOR, status, task->fault.address);
	}
	if (flags & UIOMMU_ACCEL_REQUEST_INTERRUPT)
		task->queue->interrupts |= UINT64_C(1) << (task->desc.interrupt_handle & 63);
	task_finish(task, status == UIOMMU_ACCEL_SUCCESS);
}

void task_lost(struct uiommu_accel *accel, struct task *task, enum uiommu_accel_error_code code)
{
	/* A batch has a slot to give back, and perhaps members: it ends as others do, and its record is not written. */
	if (task_opcode(task) == UIOMMU_ACCEL_BATCH && task->batch) {
		batch_read_done(task, UIOMMU_ACCEL_TRANSLATION);
		return;
	}
	task_error(task, code, code == UIOMMU_ACCEL_ERROR_HANDLE ? UIOMMU_ACCEL_TRANSLATION : 0, task->desc.completion_address);
	if (code == UIOMMU_ACCEL_ERROR_HANDLE)
		task_complete(accel, task, UIOMMU_ACCEL_TRANSLATION);
	else
		task_finish(task, false);
}

void task_misaligned_record(struct task *task)
{
	task_error(task, UIOMMU_ACCEL_ERROR_RECORD, UIOMMU_ACCEL_RECORD_ALIGN, task->desc.completion_address);
	task_finish(task, false);
}

void task_record_refused(struct task *task)
{
	task_error(task, UIOMMU_ACCEL_ERROR_RECORD, UIOMMU_ACCEL_RECORD_FAULT, task->desc.completion_address);
	task_finish(task, false);
}

static void fault_tell(const struct uiommu_accel *accel, const struct uiommu_fault *fault)
{
	if (accel->fault)
		accel->fault(accel->fault_opaque, fault);
}

static void fault_complete(struct uiommu_accel *accel, struct task *task, unsigned int status)
{
	fault_tell(accel, &task->fault);
	if (task->fault.access == UIOMMU_WRITE)
		status |= UIOMMU_ACCEL_FAULT_WRITE;
	if (task_opcode(task) == UIOMMU_ACCEL_BATCH)
		batch_read_done(task, status == UIOMMU_ACCEL_PAGE_FAULT ? UIOMMU_ACCEL_BATCH_PAGE_FAULT : status);
	else
		task_complete(accel, task, status);
}

void task_fault(struct uiommu_accel *accel, struct task *task, const struct uiommu_fault *fault)
{
	if (fault_is_lost(fault)) {
		bool own = !task->desc.handles || fault->pasid == task->places[PLACE_OWN].pasid;

		task_lost(accel, task, own ? UIOMMU_ACCEL_ERROR_PASID : UIOMMU_ACCEL_ERROR_HANDLE);
		return;
	}
	task->fault = *fault;
	if (!task_blocks(task) && fault->reason != UIOMMU_FAULT_ABSENT)
		fault_complete(accel, task, UIOMMU_ACCEL_PAGE_FAULT);
	else if (!task_park(task, fault))
		task_refuse(accel, task);
}

void task_refuse(struct uiommu_accel *accel, struct task *task)
{
	fault_complete(accel, task, UIOMMU_ACCEL_PAGE_FAULT_INVALID);
}

static void record_lost(struct uiommu_accel *accel, unsigned int i, const struct uiommu_fault *fault)
{
	struct records *records = &accel->records;
	bool lost = !fault || fault_is_lost(fault);

	queue_error(records->owner[i].queue, lost ? UIOMMU_ACCEL_ERROR_PASID : UIOMMU_ACCEL_ERROR_RECORD, records->owner[i].opcode,
		    lost ? 0 : UIOMMU_ACCEL_RECORD_FAULT, records->owner[i].named, records->ops[i][1].address);
	if (records->owner[i].batch)
		records->owner[i].batch->failed = true;
	if (!lost)
		fault_tell(accel, fault);
}

/* The data may have taken long: the PASID of a record can belong to something else by now. */
static void records_verify(struct uiommu_accel *accel)
{
	struct records *records = &accel->records;

	for (unsigned int i = 0; i < records->count; i++) {
		if (likely(place_valid(accel, &records->owner[i].place, 0)))
			continue;
		record_lost(accel, i, NULL);
		records->ops[i][0].length = 0;
		records->ops[i][1].length = 0;
	}
}

void record_flush(struct uiommu_accel *accel)
{
	struct records *records = &accel->records;

	if (!records->count)
		return;
	if (unlikely(records->older || !accel_unchanged(accel)))
		records_verify(accel);
	/* The data before the records, and within each record the status last: writes are done in the order of the ops. */
	__atomic_thread_fence(__ATOMIC_RELEASE);
	if (unlikely(uiommu_dma_writev(accel->tenant->device, records->ops[0], (size_t)2 * records->count))) {
		for (unsigned int i = 0; i < records->count; i++) {
			const struct uiommu_dma_op *ops = records->ops[i];

			if (ops[0].result.fault.reason)
				record_lost(accel, i, &ops[0].result.fault);
			else if (ops[1].result.fault.reason)
				record_lost(accel, i, &ops[1].result.fault);
		}
	}
	records->count = 0;
	records->older = false;
}
