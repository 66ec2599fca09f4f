/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * DMA: look up a piece, use it, go on behind it (piece.h). A fault stops at the first byte that was not done; its record is
 * delivered when nothing is held any more.
 */
#include "translate/access.h"

#include <string.h>

#include "memory/load.h"
#include "memory/presence.h"
#include "memory/region.h"

enum {
	GROUP_PIECES = 64, /* reads of one process in one system call, */
	GROUP_BYTES = 256 << 10, /* of so many bytes at most */
	/* Done with one look at the attachment: a drain that somebody waits for comes in between. */
	HELD_BYTES = 8 << 20,
};

/* The caller's own buffer is not there. That is no fault of the device's memory: it ends as with any memcpy(). */
static void touch_buffer(void *byte, unsigned int access)
{
	if (access == UIOMMU_READ)
		*(volatile uint8_t *)byte = 0;
	else
		(void)*(volatile uint8_t *)byte;
}

static uint64_t use_host(const struct piece *piece, void *buffer, unsigned int access, unsigned int *reason)
{
	struct copy_result copied = access == UIOMMU_READ ? copy_bytes(buffer, piece->host, piece->length)
							  : copy_bytes(piece->host, buffer, piece->length);

	if (likely(copied.fault == COPY_OK))
		return copied.done;
	if (copied.fault == (access == UIOMMU_READ ? COPY_FAULT_READ : COPY_FAULT_WRITE))
		*reason = call_copy_reason(&copied);
	else
		touch_buffer((uint8_t *)buffer + copied.done, access);
	return copied.done;
}

static uint64_t use_process(const struct piece *piece, uint64_t address, void *buffer, unsigned int access, unsigned int *reason)
{
	struct process *process = piece->attachment->space->process;
	struct process_piece one = {.address = address, .buffer = buffer, .length = piece->length};

	if (access == UIOMMU_WRITE)
		return process_write(process, address, buffer, piece->length, reason);
	process_readv(process, &one, 1);
	if (one.done < one.length)
		*reason = one.reason;
	return one.done;
}

static uint64_t use_region(const struct call *call, struct piece *piece, void *buffer, unsigned int access, unsigned int *reason)
{
	const struct area *area = piece->area;
	uint64_t done;

	call->self->use = (struct thread_use){.device = call->device,
					      .iova = area->start + (piece->offset - area_offset(area, area->start)),
					      .pasid = piece->attachment->reported};
	done = region_remote_access(area->region, piece->offset, buffer, piece->length, access, reason);
	call->self->use.device = NULL;
	return done;
}

/* Held: whatever may sleep. */
static uint64_t use_held(const struct call *call, struct piece *piece, uint64_t address, void *buffer, unsigned int access,
			 unsigned int *reason)
{
	if (piece->host)
		return use_host(piece, buffer, access, reason);
	if (piece->area)
		return use_region(call, piece, buffer, access, reason);
	return use_process(piece, address, buffer, access, reason);
}

/* It could not be done now: leave it first, or whoever waits for this access waits for ever. */
static void use_later(struct piece *piece)
{
	struct region *region = region_get(piece->area->region);

	piece_release(piece);
	region_pause(region);
	region_put(region);
}

__attribute__((noinline)) bool call_resolve(struct call *call, uint32_t pasid, uint64_t address, unsigned int access)
{
	struct failure *failure = &call->failure;

	if (distant_asked()) {
		distant_of(call->self, address);
		if (!distant_fetch(call->self))
			call_fail(call, pasid, address, access, UIOMMU_FAULT_MEMORY, NULL);
		return !failure->fault.reason;
	}
	call_fail(call, pasid, address, access, UIOMMU_FAULT_NOT_ATTACHED, NULL);
	if (call->resolved++ >= RESOLVE_TRIES)
		return false;
	failure->told = true;
	if (flags_park(call->flags) ? distant_resolve(call->device, pasid, &failure->fault, NULL)
				    : absent_resolve(call->device, pasid, &failure->fault)) {
		failure->fault.reason = UIOMMU_FAULT_NONE;
		failure->told = false;
		return true;
	}
	failure_recovers(failure, call->flags);
	return false;
}

/* One piece of a read or write: returns bytes done; call->failure is set if the next one failed. */
static inline uint64_t transfer_piece(struct call *call, uint32_t pasid, uint64_t address, void *buffer, uint64_t length,
				      unsigned int access)
{
	unsigned int reason;
	struct piece piece;
	uint64_t done = 0;

	rcu_enter();
	reason = call_find(call, pasid, address, min_u64(length, HELD_BYTES), access, &piece);
	if (likely(!reason && piece.resident)) {
		piece.length = min_u64(piece.length, RESIDENT_BYTES);
		done = use_host(&piece, buffer, access, &reason);
		call_count(call, &piece, access, done);
		if (unlikely(reason))
			call_fail(call, pasid, address + done, access, reason, &piece);
		rcu_leave();
		return done;
	}
	if (reason == PIECE_RESOLVE) {
		rcu_leave();
		call_resolve(call, pasid, address, access);
		return 0;
	}
	if (reason) {
		call_fail(call, pasid, address, access, reason, &piece);
		rcu_leave();
		return 0;
	}
	piece_hold(call->self, call->device, &piece);
	done = use_held(call, &piece, address, buffer, access, &reason);
	if (unlikely(reason == REGION_AGAIN)) {
		use_later(&piece);
		return 0;
	}
	call_count(call, &piece, access, done);
	if (reason)
		call_fail(call, pasid, address + done, access, reason, &piece);
	piece_release(&piece);
	return done;
}

uint64_t call_transfer(struct call *call, uint32_t pasid, uint64_t address, void *buffer, uint64_t length, unsigned int access)
{
	uint64_t end = call_clip(address, length), done = 0;

	while (done < end && call_goes_on(call))
		done += transfer_piece(call, pasid, address + done, (uint8_t *)buffer + done, end - done, access);
	if (unlikely(end < length && !call->failure.fault.reason))
		call_fail(call, pasid, UINT64_MAX, access, UIOMMU_FAULT_RANGE, NULL);
	return done;
}

/*
 * All of it in one resident area, and in one page if there are stages: nothing sleeps, nothing calls back, so nothing has to be set
 * up for that. Returns the bytes done; the long way finds out what is in the way of the rest.
 */
static inline __attribute__((always_inline)) size_t transfer_hit(struct uiommu_device *device, uint32_t pasid, uint64_t address,
								 void *buffer, size_t length, unsigned int access)
{
	const struct thread_state *self = thread_self();
	struct attachment *attachment;
	const struct stages *stages;
	const struct area *area;
	struct iotlb_hit hit;
	size_t done = 0;
	uint8_t *host;

	if (unlikely(length - 1 >= RESIDENT_BYTES))
		return 0;
	rcu_enter();
	attachment = attach_table_find(&device->table, pasid);
	if (unlikely(!attachment || !(attachment->access & access) || __atomic_load_n(&attachment->draining, __ATOMIC_RELAXED)))
		goto out;
	stages = stages_of(attachment);
	if (stages) {
		if (unlikely(!stages_hit(stages, address, access | PGTABLE_USER, &hit) || length > hit.length))
			goto out;
		address = hit.oa;
	}
	area = areas_find(&attachment->space->areas, address);
	if (unlikely(!area || !area->resident || !(area->access & access) || length - 1 > area->last - address))
		goto out;
	host = area->host + (address - area->start);
	done = access == UIOMMU_READ ? copy_bytes(buffer, host, length).done : copy_bytes(host, buffer, length).done;
	count_bytes(self, attachment, access, done);
out:
	rcu_leave();
	return done;
}

/* The long way, from @done on. */
static int op_rest(struct uiommu_device *device, struct uiommu_dma_op *op, size_t done, unsigned int access)
{
	struct call call;

	call_begin(&call, device, op->flags);
	done += call_transfer(&call, op->pasid, op->address + done, (uint8_t *)op->buffer + done, op->length - done, access);
	return call_end(&call, done, &op->result);
}

static __attribute__((noinline)) int transfer_rest(struct uiommu_device *device, uint32_t pasid, uint64_t address, void *buffer,
						   size_t length, size_t done, unsigned int access,
						   struct uiommu_dma_result *result)
{
	struct uiommu_dma_op op = {.address = address, .buffer = buffer, .length = length, .pasid = pasid};
	int error = op_rest(device, &op, done, access);

	if (result)
		*result = op.result;
	return error;
}

static inline __attribute__((always_inline)) int transfer_all(struct uiommu_device *device, uint32_t pasid, uint64_t address,
							      void *buffer, size_t length, unsigned int access,
							      struct uiommu_dma_result *result)
{
	size_t done = transfer_hit(device, pasid, address, buffer, length, access);

	if (unlikely(done < length))
		return transfer_rest(device, pasid, address, buffer, length, done, access, result);
	if (result)
		*result = (struct uiommu_dma_result){.done = done};
	return 0;
}

/*
 * In a read section: where the aligned word at @address is, if it takes nothing but looking. @quick, a constant: only if that is
 * what it usually is; it calls nothing then.
 */
static inline __attribute__((always_inline)) const uint8_t *word_find(const struct attachment *attachment, uint64_t address,
								      bool quick)
{
	const struct stages *stages = quick ? attachment->stages : stages_of(attachment);
	struct iotlb_hit hit = {.oa = address, .access = UIOMMU_READ};
	struct area *area;

	if (stages && unlikely(!iotlb_find_small(&stages->cached, address, true, &hit)))
		return NULL;
	if (!quick)
		area = areas_find(&attachment->space->areas, hit.oa);
	else if (unlikely(!areas_find_few(&attachment->space->areas, hit.oa, &area)))
		return NULL;
	if (unlikely(!area || !area->resident) ||
	    unlikely(!(__atomic_load_n(&attachment->open, __ATOMIC_RELAXED) & hit.access & area->access & UIOMMU_READ)))
		return NULL;
	return area->host + (hit.oa - area->start);
}

/* In a read section. False: nothing has been done. */
static inline __attribute__((always_inline)) bool read_word(const struct attachment *attachment, uint64_t address, void *buffer,
							    bool quick)
{
	const uint8_t *host = word_find(attachment, address, quick);
	uint64_t word;

	if (unlikely(!host) || unlikely(!load_u64(host, &word)))
		return false;
	memcpy(buffer, &word, sizeof(word));
	return true;
}

static __attribute__((noinline)) int transfer_read(struct uiommu_device *device, uint32_t pasid, uint64_t address, void *buffer,
						   size_t length, struct uiommu_dma_result *result)
{
	return transfer_all(device, pasid, address, buffer, length, UIOMMU_READ, result);
}

/* What uiommu_dma_read() ends in, inside a read section, if its word is not where words usually are. */
static __attribute__((noinline)) int read_otherwise(struct uiommu_device *device, uint32_t pasid, uint64_t address, void *buffer,
						    size_t length, struct uiommu_dma_result *result)
{
	struct attachment *attachment = attach_table_find(&device->table, pasid);
	bool done = attachment && read_word(attachment, address, buffer, false);

	if (done)
		count_bytes(&thread_current, attachment, UIOMMU_READ, sizeof(uint64_t));
	rcu_leave();
	if (!done)
		return transfer_read(device, pasid, address, buffer, length, result);
	if (result)
		*result = (struct uiommu_dma_result){.done = sizeof(uint64_t)};
	return 0;
}

/* The same, if a grace period wants something of this thread. */
static __attribute__((noinline)) int read_asked(struct uiommu_device *device, uint32_t pasid, uint64_t address, void *buffer,
						size_t length, struct uiommu_dma_result *result)
{
	rcu_begin();
	return read_otherwise(device, pasid, address, buffer, length, result);
}

/*
 * Eight aligned bytes, of which rings and descriptors are made, are one load, and an area does not end inside of them. All that is
 * not usual is left to functions that this one ends in: so it calls nothing, and keeps nothing for afterwards. It begins a cache
 * line, whatever comes before it in the library.
 */
__attribute__((aligned(64))) int uiommu_dma_read(struct uiommu_device *device, uint32_t pasid, uint64_t address, void *buffer,
						 size_t length, struct uiommu_dma_result *result)
{
	struct attachment *attachment;

#ifdef SANITIZE_THREAD
	return transfer_read(device, pasid, address, buffer, length, result); /* it is told of copies */
#endif
	if (length != sizeof(uint64_t) || unlikely(address % sizeof(uint64_t)) || unlikely(!thread_current.own))
		return transfer_read(device, pasid, address, buffer, length, result);
	if (unlikely(!rcu_enter_online()))
		return read_asked(device, pasid, address, buffer, length, result);
	attachment = attach_table_find(&device->table, pasid);
	if (unlikely(!attachment) || unlikely(!read_word(attachment, address, buffer, true)))
		return read_otherwise(device, pasid, address, buffer, length, result);
	counter_add_own(&attachment->counters[thread_current.own - 1].bytes_read, sizeof(uint64_t));
	if (result)
		*result = (struct uiommu_dma_result){.done = sizeof(uint64_t)};
	rcu_leave();
	return 0;
}

int uiommu_dma_write(struct uiommu_device *device, uint32_t pasid, uint64_t address, const void *buffer, size_t length,
		     struct uiommu_dma_result *result)
{
	return transfer_all(device, pasid, address, (void *)(uintptr_t)buffer, length, UIOMMU_WRITE, result);
}

/* Can @op be one of a group? Inside a read section. */
static bool groups(const struct call *call, const struct uiommu_dma_op *op, unsigned int access, struct piece *piece)
{
	if (!op->length || op->length > GROUP_BYTES || op->flags & UIOMMU_DMA_TRANSLATED ||
	    call_clip(op->address, op->length) < op->length)
		return false;
	return !piece_find(call->device, op->pasid, op->address, op->length, access, piece) && !piece->host && !piece->area &&
	       piece->length == op->length;
}

/*
 * How many of @ops, from the first one on, are accesses to one process that can be made together. 0: the first one is something
 * else. Otherwise @piece is held; its attachment is that of all.
 */
static size_t group(struct call *call, const struct uiommu_dma_op *ops, size_t count, unsigned int access,
		    struct process_piece *pieces, struct piece *piece)
{
	struct piece next = {0};
	uint64_t bytes = 0;
	size_t n;

	rcu_enter();
	for (n = 0; n < count && n < GROUP_PIECES && groups(call, &ops[n], access, &next); n++) {
		bytes += ops[n].length;
		if (n && (bytes > GROUP_BYTES || next.attachment != piece->attachment))
			break;
		*piece = next;
		pieces[n] = (struct process_piece){.address = ops[n].address, .buffer = ops[n].buffer, .length = ops[n].length};
	}
	if (n)
		piece_hold(call->self, call->device, piece);
	else
		rcu_leave();
	return n;
}

/* The results of a group. Returns the number of @failures. */
static size_t group_results(const struct call *call, struct uiommu_dma_op *ops, const struct process_piece *pieces, size_t n,
			    unsigned int access, const struct piece *piece, struct failure *failures)
{
	size_t failed = 0;
	uint64_t bytes = 0;

	for (size_t i = 0; i < n; i++) {
		bytes += pieces[i].done;
		ops[i].result = (struct uiommu_dma_result){.done = pieces[i].done};
		if (likely(pieces[i].done == ops[i].length))
			continue;
		failure_set(&failures[failed], call->device, ops[i].pasid, ops[i].address + pieces[i].done, access,
			    pieces[i].reason, piece);
		failure_recovers(&failures[failed], ops[i].flags);
		ops[i].result.fault = failures[failed++].fault;
	}
	call_count(call, piece, access, bytes);
	return failed;
}

/* Returns the number of ops done with; 0: the first one cannot be part of a group. */
static size_t transfer_group(struct call *call, struct uiommu_dma_op *ops, size_t count, unsigned int access, bool *failed)
{
	struct failure failures[GROUP_PIECES];
	struct process_piece pieces[GROUP_PIECES];
	struct piece piece = {0};
	size_t n = group(call, ops, count, access, pieces, &piece), failure_count;

	if (!n)
		return 0;
	if (access == UIOMMU_READ)
		process_readv(piece.attachment->space->process, pieces, n);
	else
		process_writev(piece.attachment->space->process, pieces, n);
	failure_count = group_results(call, ops, pieces, n, access, &piece, failures);
	piece_release(&piece);
	for (size_t i = 0; i < failure_count; i++)
		failure_report(call->self, call->device, &failures[i]);
	*failed |= failure_count > 0;
	return n;
}

/* What the op before was done with: neighbours are often in the same area. Inside one read section. */
struct hit {
	struct attachment *attachment;
	struct area *area;
	uint32_t pasid;
};

/* Find what @op lies in as a whole, if that is one resident area. */
static inline bool hit_find(const struct uiommu_device *device, const struct uiommu_dma_op *op, unsigned int access,
			    struct hit *hit)
{
	if (!hit->attachment || hit->pasid != op->pasid) {
		hit->area = NULL;
		hit->pasid = op->pasid;
		hit->attachment = attach_table_find(&device->table, op->pasid);
		if (!hit->attachment || !(hit->attachment->access & access) || stages_of(hit->attachment) ||
		    __atomic_load_n(&hit->attachment->draining, __ATOMIC_RELAXED))
			return false;
	}
	if (!hit->area || op->address - hit->area->start > hit->area->last - hit->area->start) {
		hit->area = areas_find(&hit->attachment->space->areas, op->address);
		if (!hit->area || !hit->area->resident || !(hit->area->access & access))
			return false;
	}
	return op->length - 1 <= hit->area->last - op->address;
}

/* Do ops as long as they are hits; returns how many are done. What stops it is for those who can say why. */
static size_t transfer_hits(struct uiommu_device *device, struct uiommu_dma_op *ops, size_t count, unsigned int access)
{
	const struct thread_state *self = thread_self();
	uint64_t bytes = 0;
	struct hit hit = {0};
	size_t n;

	rcu_enter();
	for (n = 0; n < count && bytes < RESIDENT_BYTES; n++) {
		struct uiommu_dma_op *op = &ops[n];
		struct attach_counters *counters;
		uint8_t *host;

		if (op->length - 1 >= RESIDENT_BYTES || op->flags & UIOMMU_DMA_TRANSLATED || !hit_find(device, op, access, &hit))
			break;
		host = hit.area->host + (op->address - hit.area->start);
		if ((access == UIOMMU_READ ? copy_bytes(op->buffer, host, op->length) : copy_bytes(host, op->buffer, op->length))
			    .done < op->length)
			break;
		op->result = (struct uiommu_dma_result){.done = op->length};
		counters = counters_of(self, hit.attachment);
		counter_add(self, access == UIOMMU_READ ? &counters->bytes_read : &counters->bytes_written, op->length);
		bytes += op->length;
	}
	rcu_leave();
	return n;
}

static bool one_op(struct uiommu_device *device, struct uiommu_dma_op *op, unsigned int access)
{
	size_t done = 0;

	if (likely(!(op->flags & UIOMMU_DMA_TRANSLATED)))
		done = transfer_hit(device, op->pasid, op->address, op->buffer, op->length, access);
	if (unlikely(done < op->length))
		return op_rest(device, op, done, access) != 0;
	op->result = (struct uiommu_dma_result){.done = done};
	return false;
}

static bool flags_known(const struct uiommu_dma_op *ops, size_t count)
{
	uint32_t flags = 0;

	for (size_t i = 0; i < count; i++)
		flags |= ops[i].flags;
	return !(flags & ~(uint32_t)KNOWN_FLAGS);
}

static int transfer_vector(struct uiommu_device *device, struct uiommu_dma_op *ops, size_t count, unsigned int access)
{
	struct thread_state *self = thread_self();
	struct call call = {.device = device, .self = self};
	bool failed = false;

	if (unlikely(!flags_known(ops, count)))
		return -EINVAL;
	self->depth++;
	for (size_t i = 0; i < count;) {
		size_t n = transfer_hits(device, ops + i, count - i, access);

		if (!n)
			n = transfer_group(&call, ops + i, count - i, access, &failed);
		if (!n) {
			failed |= one_op(device, &ops[i], access);
			n = 1;
		}
		i += n;
	}
	self->depth--;
	return failed ? -EFAULT : 0;
}

int uiommu_dma_readv(struct uiommu_device *device, struct uiommu_dma_op *ops, size_t count)
{
	return transfer_vector(device, ops, count, UIOMMU_READ);
}

int uiommu_dma_writev(struct uiommu_device *device, struct uiommu_dma_op *ops, size_t count)
{
	return transfer_vector(device, ops, count, UIOMMU_WRITE);
}

int transfer_by_atc(struct uiommu_atc *atc, struct uiommu_device *device, struct uiommu_dma_op *op, unsigned int access)
{
	struct call call;
	uint64_t done;

	call_begin(&call, device, op->flags);
	call.atc = atc;
	done = call_transfer(&call, op->pasid, op->address, op->buffer, op->length, access);
	return call_end(&call, done, &op->result);
}
