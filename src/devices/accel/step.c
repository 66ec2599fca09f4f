/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the operations do, step by step. Each function does at most STEP_BYTES from task->done on and says how it went: MORE to do,
 * DONE, or FAULT with a record. After a fault that was answered it is called again and goes on where it stopped.
 */
#include <isa-l/crc.h>
#include <string.h>

#include "devices/accel/task.h"

enum outcome {
	MORE,
	DONE,
	FAULT,
};

static uint64_t task_left(const struct task *task)
{
	return task->desc.transfer_size - task->done;
}

static enum outcome task_outcome(const struct task *task)
{
	return task_left(task) ? MORE : DONE;
}

/* One access on behalf of the task. True if it met a fault, which is then in @result. */
static bool task_read(struct uiommu_accel *accel, const struct task *task, enum place_name place, uint64_t address, void *buffer,
		      size_t length, struct uiommu_dma_result *result)
{
	struct uiommu_dma_op op = {.address = address,
				   .buffer = buffer,
				   .length = length,
				   .pasid = task_pasid(task, place),
				   .flags = task_flags(task)};
	bool failed = uiommu_dma_readv(accel->tenant->device, &op, 1);

	*result = op.result;
	return failed;
}

static bool task_write(struct uiommu_accel *accel, const struct task *task, enum place_name place, uint64_t address,
		       const void *buffer, size_t length, struct uiommu_dma_result *result)
{
	struct uiommu_dma_op op = {.address = address,
				   .buffer = (void *)(uintptr_t)buffer,
				   .length = length,
				   .pasid = task_pasid(task, place),
				   .flags = task_flags(task)};
	bool failed = uiommu_dma_writev(accel->tenant->device, &op, 1);

	if (result)
		*result = op.result;
	return failed;
}

static enum outcome move_forward(struct uiommu_accel *accel, struct task *task, struct uiommu_fault *fault)
{
	struct uiommu_dma_place dst = {task->desc.destination + task->done, task_pasid(task, PLACE_DESTINATION), task_flags(task)};
	struct uiommu_dma_place src = {task->desc.source + task->done, task_pasid(task, PLACE_SOURCE), task_flags(task)};
	size_t length = min_u64(task_left(task), STEP_BYTES);
	struct uiommu_dma_result result;

	if (uiommu_dma_copy(accel->tenant->device, &dst, &src, length, &result)) {
		task->done += result.done;
		*fault = result.fault;
		return FAULT;
	}
	task->done += length;
	return task_outcome(task);
}

/*
 * Source and destination overlap and the destination is higher: from the end to the start, task->done counts from the end.
 *
 * Read the piece of at most @length that ends there. Where it meets a fault, what lies behind that page may still be possible: a
 * shorter piece is tried. Returns its length, 0 if the last byte itself cannot be read.
 */
static size_t read_backward(struct uiommu_accel *accel, const struct task *task, size_t length, struct uiommu_dma_result *result)
{
	uint64_t end = task->desc.source + task_left(task), page = page_size();

	while (task_read(accel, task, PLACE_SOURCE, end - length, accel_buffer(accel, 0), length, result)) {
		uint64_t skip = result->done + page - ((end - length + result->done) & (page - 1));

		if (skip >= length)
			return 0;
		length -= skip;
	}
	return length;
}

/* Write the end of the piece, at most to where its page begins, so that a fault leaves the rest as it was. Returns bytes done. */
static size_t write_backward(struct uiommu_accel *accel, const struct task *task, const uint8_t *piece, size_t length,
			     struct uiommu_dma_result *result)
{
	uint64_t end = task->desc.destination + task_left(task), distance = task->desc.destination - task->desc.source;
	size_t part = min_u64(length, ((end - 1) & (page_size() - 1)) + 1), at = length - part;

	if (!task_write(accel, task, PLACE_DESTINATION, end - part, piece + at, part, result))
		return part;
	/* Memory that ends in the middle of a page: what was written over the source has to be there again for the next attempt. */
	if (result->done && at + distance < length)
		task_write(accel, task, PLACE_DESTINATION, end - part, piece + at + distance,
			   min_u64(result->done, length - at - distance), NULL);
	return 0;
}

static enum outcome move_backward(struct uiommu_accel *accel, struct task *task, struct uiommu_fault *fault)
{
	uint64_t stop = task->done + min_u64(task_left(task), STEP_BYTES);
	struct uiommu_dma_result result;

	task->result = 1;
	while (task->done < stop) {
		size_t length = read_backward(accel, task, min_u64(stop - task->done, SCRATCH_BYTES), &result), part = length;

		for (; length && part; length -= part) {
			part = write_backward(accel, task, accel_buffer(accel, 0), length, &result);
			task->done += part;
		}
		if (length || !part) {
			*fault = result.fault;
			return FAULT;
		}
	}
	return task_outcome(task);
}

static enum outcome step_move(struct uiommu_accel *accel, struct task *task, struct uiommu_fault *fault)
{
	return move_is_backward(task) ? move_backward(accel, task, fault) : move_forward(accel, task, fault);
}

/* @length bytes of the pattern repeated, as it has to be at offset @done; STEP_BYTES at most. */
static const uint8_t *pattern_at(struct uiommu_accel *accel, uint64_t pattern, uint64_t done, size_t length)
{
	uint8_t *buffer = accel->pattern_span;
	size_t needed = min_u64(length + sizeof(pattern), PATTERN_BYTES);

	if (accel->pattern != pattern)
		accel->pattern_length = 0;
	accel->pattern = pattern;
	for (; accel->pattern_length < needed; accel->pattern_length += sizeof(pattern))
		memcpy(buffer + accel->pattern_length, &pattern, sizeof(pattern));
	return buffer + done % sizeof(pattern);
}

static enum outcome step_fill(struct uiommu_accel *accel, struct task *task, struct uiommu_fault *fault)
{
	size_t length = min_u64(task_left(task), STEP_BYTES);
	const uint8_t *data = pattern_at(accel, task->desc.source, task->done, length);
	struct uiommu_dma_result result;

	if (task_write(accel, task, PLACE_DESTINATION, task->desc.destination + task->done, data, length, &result)) {
		task->done += result.done;
		*fault = result.fault;
		return FAULT;
	}
	task->done += length;
	return task_outcome(task);
}

/* Offset of the first byte that differs, or @length. */
static size_t difference(const uint8_t *a, const uint8_t *b, size_t length)
{
	enum { BLOCK = 512 };
	size_t at = 0;

	while (at + BLOCK <= length && !memcmp(a + at, b + at, BLOCK))
		at += BLOCK;
	while (at < length && a[at] == b[at])
		at++;
	return at;
}

/* What both operands have in common from task->done on is equal; or they differ there, and that is the result. */
static bool compare_piece(struct task *task, const uint8_t *a, const uint8_t *b, size_t length)
{
	size_t equal = difference(a, b, length);

	task->done += equal;
	if (equal == length)
		return false;
	task->result = 1;
	return true;
}

static enum outcome step_compare(struct uiommu_accel *accel, struct task *task, struct uiommu_fault *fault)
{
	uint64_t stop = task->done + min_u64(task_left(task), STEP_BYTES);
	uint8_t *a = accel_buffer(accel, 0), *b = accel_buffer(accel, 1);

	while (task->done < stop) {
		size_t length = min_u64(stop - task->done, SCRATCH_BYTES);
		struct uiommu_dma_result first = {0}, second = {0};
		bool first_fault, second_fault;

		first_fault = task_read(accel, task, PLACE_SOURCE, task->desc.source + task->done, a, length, &first);
		if (first_fault)
			length = first.done;
		second_fault = task_read(accel, task, PLACE_DESTINATION, task->desc.destination + task->done, b, length, &second);
		if (second_fault)
			length = second.done;
		if (compare_piece(task, a, b, length))
			return DONE;
		if (first_fault || second_fault) {
			*fault = second_fault ? second.fault : first.fault;
			return FAULT;
		}
	}
	return task_outcome(task);
}

static enum outcome step_compare_pattern(struct uiommu_accel *accel, struct task *task, struct uiommu_fault *fault)
{
	uint64_t stop = task->done + min_u64(task_left(task), STEP_BYTES);
	uint8_t *buffer = accel_buffer(accel, 0);
	struct uiommu_dma_result result;

	while (task->done < stop) {
		size_t length = min_u64(stop - task->done, SCRATCH_BYTES);
		bool failed = task_read(accel, task, PLACE_SOURCE, task->desc.source + task->done, buffer, length, &result);

		if (failed)
			length = result.done;
		if (compare_piece(task, buffer, pattern_at(accel, task->desc.destination, task->done, length), length))
			return DONE;
		if (failed) {
			*fault = result.fault;
			return FAULT;
		}
	}
	return task_outcome(task);
}

/* Both destinations get the same bytes; what counts as done is in both. */
static enum outcome step_dualcast(struct uiommu_accel *accel, struct task *task, struct uiommu_fault *fault)
{
	uint64_t stop = task->done + min_u64(task_left(task), STEP_BYTES);
	uint8_t *buffer = accel_buffer(accel, 0);

	while (task->done < stop) {
		size_t length = min_u64(stop - task->done, SCRATCH_BYTES);
		struct uiommu_dma_result result;
		bool failed = false;

		if (task_read(accel, task, PLACE_SOURCE, task->desc.source + task->done, buffer, length, &result)) {
			failed = true;
			*fault = result.fault;
			length = result.done;
		}
		if (task_write(accel, task, PLACE_DESTINATION, task->desc.destination + task->done, buffer, length, &result)) {
			failed = true;
			*fault = result.fault;
			length = result.done;
		}
		if (task_write(accel, task, PLACE_DESTINATION2, task->desc.specific + task->done, buffer, length, &result)) {
			failed = true;
			*fault = result.fault;
			length = result.done;
		}
		task->done += length;
		if (failed)
			return FAULT;
	}
	return task_outcome(task);
}

static uint32_t reverse32(uint32_t value)
{
	value = (value & 0x55555555) << 1 | (value >> 1 & 0x55555555);
	value = (value & 0x33333333) << 2 | (value >> 2 & 0x33333333);
	value = (value & 0x0f0f0f0f) << 4 | (value >> 4 & 0x0f0f0f0f);
	return __builtin_bswap32(value);
}

/* Reverse the bits of each byte. */
static void reverse_bytes(uint8_t *bytes, size_t length)
{
	for (size_t i = 0; i < length; i++) {
		uint8_t b = bytes[i];

		b = (uint8_t)((b & 0x55) << 1 | (b >> 1 & 0x55));
		b = (uint8_t)((b & 0x33) << 2 | (b >> 2 & 0x33));
		bytes[i] = (uint8_t)(b << 4 | b >> 4);
	}
}

/*
 * task->crc is the register of the reflected algorithm, which the library computes. The specification describes the other one: its
 * seed and its result are reflected and inverted unless a flag bypasses that, and so is the order of bits in a byte.
 */
static uint32_t crc_convert(const struct task *task, uint32_t value)
{
	return task->desc.flags_opcode & UIOMMU_ACCEL_CRC_BYPASS_REFLECTION ? reverse32(value) : ~value;
}

static bool crc_start(struct uiommu_accel *accel, struct task *task, struct uiommu_fault *fault)
{
	uint32_t seed = (uint32_t)task->desc.specific;
	struct uiommu_dma_result result;

	if (task->started)
		return true;
	if (task->desc.flags_opcode & UIOMMU_ACCEL_READ_SEED &&
	    task_read(accel, task, PLACE_OWN, task->desc.seed_address, &seed, sizeof(seed), &result)) {
		*fault = result.fault;
		return false;
	}
	task->crc = crc_convert(task, seed);
	task->started = true;
	return true;
}

static void crc_add(struct task *task, uint8_t *buffer, size_t length)
{
	if (task->desc.flags_opcode & UIOMMU_ACCEL_CRC_BYPASS_DATA_REFLECTION)
		reverse_bytes(buffer, length);
	task->crc = crc32_iscsi(buffer, (int)length, task->crc);
	task->done += length;
	task->value = crc_convert(task, task->crc);
}

static enum outcome step_crc(struct uiommu_accel *accel, struct task *task, struct uiommu_fault *fault)
{
	uint64_t stop = task->done + min_u64(task_left(task), STEP_BYTES);
	uint8_t *buffer = accel_buffer(accel, 0);
	struct uiommu_dma_result result;

	if (!crc_start(accel, task, fault))
		return FAULT;
	while (task->done < stop) {
		size_t length = min_u64(stop - task->done, SCRATCH_BYTES);

		if (task_read(accel, task, PLACE_SOURCE, task->desc.source + task->done, buffer, length, &result)) {
			crc_add(task, buffer, result.done);
			*fault = result.fault;
			return FAULT;
		}
		crc_add(task, buffer, length);
	}
	return task_outcome(task);
}

static enum outcome step_batch(struct uiommu_accel *accel, struct task *task, struct uiommu_fault *fault)
{
	size_t length = task->desc.transfer_size * sizeof(task->desc) - task->done;
	uint8_t *list = (uint8_t *)task->batch->list;
	struct uiommu_dma_result result;

	if (task_read(accel, task, PLACE_OWN, task->desc.source + task->done, list + task->done, length, &result)) {
		/* Whole descriptors, so that one that is read again is read again as a whole. */
		task->done += result.done & ~(sizeof(task->desc) - 1);
		*fault = result.fault;
		return FAULT;
	}
	task->done += length;
	return DONE;
}

static enum outcome step_do(struct uiommu_accel *accel, struct task *task, struct uiommu_fault *fault)
{
	switch (task_opcode(task)) {
	case UIOMMU_ACCEL_MEMMOVE:
		return step_move(accel, task, fault);
	case UIOMMU_ACCEL_FILL:
		return step_fill(accel, task, fault);
	case UIOMMU_ACCEL_COMPARE:
		return step_compare(accel, task, fault);
	case UIOMMU_ACCEL_COMPARE_PATTERN:
		return step_compare_pattern(accel, task, fault);
	case UIOMMU_ACCEL_DUALCAST:
		return step_dualcast(accel, task, fault);
	case UIOMMU_ACCEL_CRC:
		return step_crc(accel, task, fault);
	default:
		return step_batch(accel, task, fault);
	}
}

static unsigned int done_status(const struct task *task)
{
	if (task->desc.flags_opcode & UIOMMU_ACCEL_CHECK_RESULT && task->result != (uint8_t)task->desc.specific)
		return UIOMMU_ACCEL_FALSE_PREDICATE;
	return UIOMMU_ACCEL_SUCCESS;
}

void task_step(struct uiommu_accel *accel, struct task *task)
{
	uint64_t before = task->done;
	struct uiommu_fault fault;
	enum uiommu_accel_error_code code;
	enum outcome outcome;

	if (unlikely(task->refused) && !task->completes) {
		task_refuse(accel, task);
		return;
	}
	code = task_verify(accel, task);
	if (unlikely(code)) {
		task_lost(accel, task, code);
		return;
	}
	if (unlikely(task->completes)) {
		if (task->refused)
			task_record_refused(task);
		else
			task_complete(accel, task, task->completes);
		return;
	}
	task->fault = (struct uiommu_fault){0};
	outcome = step_do(accel, task, &fault);
	accel->turn_bytes += task->done - before;
	if (outcome == MORE)
		task_push(&task->queue->active, task);
	else if (outcome == FAULT)
		task_fault(accel, task, &fault);
	else if (task_opcode(task) == UIOMMU_ACCEL_BATCH)
		batch_read_done(task, 0);
	else
		task_complete(accel, task, done_status(task));
}
