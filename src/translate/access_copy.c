/* SPDX-License-Identifier: BSD-3-Clause */
/* DMA that needs more than one look-up or more than a copy: from one place to another one, and atomics. */
#include "translate/access.h"

/* Both ends are mapped here: copy from one to the other. Returns bytes done, 0 without a failure if an end is not mapped here. */
static uint64_t copy_direct(struct call *call, const struct uiommu_dma_place *dst, const struct uiommu_dma_place *src,
			    uint64_t length)
{
	struct copy_result copied;
	struct piece from, to;
	bool held, found;

	rcu_enter();
	call->flags = src->flags;
	found = !call_find(call, src->pasid, src->address, length, UIOMMU_READ, &from) && from.host;
	call->flags = dst->flags;
	if (!found || call_find(call, dst->pasid, dst->address, length, UIOMMU_WRITE, &to) || !to.host) {
		rcu_leave();
		return 0;
	}
	held = !from.resident || !to.resident;
	if (held) {
		piece_enter(call->self, call->device, &to);
		piece_hold(call->self, call->device, &from);
	}
	copied = copy_bytes(to.host, from.host, min_u64(min_u64(from.length, to.length), RESIDENT_BYTES));
	call_count(call, &from, UIOMMU_READ, copied.done);
	call_count(call, &to, UIOMMU_WRITE, copied.done);
	call->flags = copied.fault == COPY_FAULT_READ ? src->flags : dst->flags;
	if (unlikely(copied.fault == COPY_FAULT_READ))
		call_fail(call, src->pasid, src->address + copied.done, UIOMMU_READ, call_copy_reason(&copied), &from);
	else if (unlikely(copied.fault == COPY_FAULT_WRITE))
		call_fail(call, dst->pasid, dst->address + copied.done, UIOMMU_WRITE, call_copy_reason(&copied), &to);
	if (held) {
		piece_release(&from);
		piece_release(&to);
	} else {
		rcu_leave();
	}
	return copied.done;
}

/* Through the thread's private buffer: a read that ends late has no effect. */
static uint64_t copy_buffered(struct call *call, const struct uiommu_dma_place *dst, const struct uiommu_dma_place *src,
			      uint64_t length)
{
	uint8_t *buffer = thread_buffer(call->self);
	struct failure read_failure;
	uint64_t done;

	call->flags = src->flags;
	done = call_transfer(call, src->pasid, src->address, buffer, length, UIOMMU_READ);
	read_failure = call->failure;
	call->failure.fault.reason = UIOMMU_FAULT_NONE;
	call->flags = dst->flags;
	done = call_transfer(call, dst->pasid, dst->address, buffer, done, UIOMMU_WRITE);
	if (!call->failure.fault.reason)
		call->failure = read_failure;
	return done;
}

/* The destination begins inside the source, in the same address space: from the end to the beginning. All of it, or a failure. */
static uint64_t copy_downwards(struct call *call, const struct uiommu_dma_place *dst, const struct uiommu_dma_place *src,
			       uint64_t length)
{
	for (uint64_t left = length; left;) {
		uint64_t chunk = min_u64(left, THREAD_BUFFER_SIZE);
		struct uiommu_dma_place to = {.address = dst->address + left - chunk, .pasid = dst->pasid, .flags = dst->flags};
		struct uiommu_dma_place from = {.address = src->address + left - chunk, .pasid = src->pasid, .flags = src->flags};

		if (copy_buffered(call, &to, &from, chunk) < chunk)
			return 0;
		left -= chunk;
	}
	return length;
}

static uint64_t copy_upwards(struct call *call, const struct uiommu_dma_place *dst, const struct uiommu_dma_place *src,
			     uint64_t length)
{
	uint64_t done = 0;

	while (done < length && call_goes_on(call)) {
		struct uiommu_dma_place to = {.address = dst->address + done, .pasid = dst->pasid, .flags = dst->flags};
		struct uiommu_dma_place from = {.address = src->address + done, .pasid = src->pasid, .flags = src->flags};
		uint64_t step = copy_direct(call, &to, &from, length - done);

		if (!step && !call->failure.fault.reason)
			step = copy_buffered(call, &to, &from, min_u64(length - done, THREAD_BUFFER_SIZE));
		done += step;
	}
	return done;
}

int uiommu_dma_copy(struct uiommu_device *device, const struct uiommu_dma_place *dst, const struct uiommu_dma_place *src,
		    size_t length, struct uiommu_dma_result *result)
{
	uint64_t end = min_u64(call_clip(dst->address, length), call_clip(src->address, length)), done;
	struct call call;

	if (unlikely((dst->flags | src->flags) & ~(uint32_t)KNOWN_FLAGS))
		return -EINVAL;
	call_begin(&call, device, 0);
	if (dst->pasid == src->pasid && dst->address > src->address && dst->address - src->address < end)
		done = copy_downwards(&call, dst, src, end);
	else
		done = copy_upwards(&call, dst, src, end);
	if (unlikely(end < length && !call.failure.fault.reason)) {
		bool source = call_clip(src->address, length) == end;

		call_fail(&call, source ? src->pasid : dst->pasid, UINT64_MAX, source ? UIOMMU_READ : UIOMMU_WRITE,
			  UIOMMU_FAULT_RANGE, NULL);
	}
	return call_end(&call, done, result);
}

static bool atomic_on_host(struct uiommu_dma_atomic *atomic, void *host, struct copy_result *fault)
{
	switch (atomic->type) {
	case UIOMMU_ATOMIC_FETCH_ADD:
		return copy_fetch_add(host, atomic->length, atomic->operand, &atomic->old, fault);
	case UIOMMU_ATOMIC_SWAP:
		return copy_swap(host, atomic->length, atomic->operand, &atomic->old, fault);
	default:
		return copy_compare_swap(host, atomic->length, atomic->compare, atomic->operand, &atomic->old, fault);
	}
}

/* Two areas may meet inside the operand: then it is not one piece of memory. */
static unsigned int atomic_reason(const struct piece *piece, const struct uiommu_dma_atomic *atomic)
{
	bool whole = piece->host && piece->length == atomic->length && (uintptr_t)piece->host % atomic->length == 0;

	return whole ? UIOMMU_FAULT_NONE : UIOMMU_FAULT_ATOMIC;
}

/* Find its memory; true: in a read section. False: the call has failed, and is in none. */
static bool atomic_find(struct call *call, const struct uiommu_dma_atomic *atomic, struct piece *piece)
{
	while (call_goes_on(call)) {
		unsigned int reason;

		rcu_enter();
		reason = call_find(call, atomic->pasid, atomic->address, atomic->length, UIOMMU_READ | UIOMMU_WRITE, piece);
		if (!reason)
			reason = atomic_reason(piece, atomic);
		if (!reason)
			return true;
		if (reason != PIECE_RESOLVE)
			call_fail(call, atomic->pasid, atomic->address, UIOMMU_WRITE, reason, piece);
		rcu_leave();
		if (reason == PIECE_RESOLVE)
			call_resolve(call, atomic->pasid, atomic->address, UIOMMU_WRITE);
	}
	return false;
}

int uiommu_dma_atomic(struct uiommu_device *device, struct uiommu_dma_atomic *atomic, struct uiommu_dma_result *result)
{
	struct copy_result fault = {0};
	struct piece piece;
	struct call call;
	uint64_t done = 0;

	if (atomic->type > UIOMMU_ATOMIC_COMPARE_SWAP || (atomic->length != 4 && atomic->length != 8) ||
	    atomic->address % atomic->length || atomic->flags & ~(uint32_t)KNOWN_FLAGS || atomic->reserved)
		return -EINVAL;
	call_begin(&call, device, atomic->flags);
	if (!atomic_find(&call, atomic, &piece))
		return call_end(&call, 0, result);
	if (!piece.resident)
		piece_hold(call.self, device, &piece);
	if (atomic_on_host(atomic, piece.host, &fault)) {
		done = atomic->length;
		call_count(&call, &piece, UIOMMU_READ, done);
		call_count(&call, &piece, UIOMMU_WRITE, done);
	} else {
		call_fail(&call, atomic->pasid, atomic->address, UIOMMU_WRITE, call_copy_reason(&fault), &piece);
	}
	if (piece.resident)
		rcu_leave();
	else
		piece_release(&piece);
	return call_end(&call, done, result);
}
