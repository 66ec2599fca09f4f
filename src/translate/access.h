/* SPDX-License-Identifier: BSD-3-Clause */
/* A call that accesses memory: what access.c and access_copy.c have in common. */
#ifndef TRANSLATE_ACCESS_H
#define TRANSLATE_ACCESS_H

#include <errno.h>

#include "memory/copy.h"
#include "memory/distant.h"
#include "translate/absent.h"
#include "translate/atc.h"
#include "translate/piece.h"
#include "util/util.h"

enum {
	/* Copied in one read section: a grace period, and so an unmap of anything, waits no longer than for these (0.1 ms). */
	RESIDENT_BYTES = 1 << 20,
	KNOWN_FLAGS = UIOMMU_DMA_RECOVERABLE | UIOMMU_DMA_TRANSLATED | UIOMMU_DMA_PARKS,
};

/* What one thread's call carries along. */
struct call {
	struct uiommu_device *device;
	struct thread_state *self;
	struct failure failure; /* fault.reason is 0 as long as there is none */
	unsigned int resolved; /* how often a guest's tables were asked */
	unsigned int flags; /* enum uiommu_dma_flags, of the access that is done just now */
	struct uiommu_atc *atc; /* it goes through that, or NULL */
	struct absent absent; /* the failure is that memory is, and it has been asked for */
};

static inline void call_begin(struct call *call, struct uiommu_device *device, unsigned int flags)
{
	call->device = device;
	call->flags = flags;
	call->atc = NULL;
	call->self = thread_self();
	call->self->depth++;
	distant_begin(call->self);
	call->failure.fault.reason = UIOMMU_FAULT_NONE;
	call->failure.told = false;
	call->resolved = 0;
}

/* What was found of the access, if anything, is found or held. */
static inline void call_fail(struct call *call, uint32_t pasid, uint64_t address, unsigned int access, unsigned int reason,
			     const struct piece *piece)
{
	failure_set(&call->failure, call->device, pasid, address, access, reason, piece);
	failure_recovers(&call->failure, call->flags);
	if (unlikely(reason == UIOMMU_FAULT_ABSENT) && !flags_park(call->flags))
		absent_begin(&call->absent, &piece->attachment->space->areas, piece->absent);
}

/* With nothing held: the call has not failed, or it has waited for what was absent. */
static inline bool call_goes_on(struct call *call)
{
	struct uiommu_fault *fault = &call->failure.fault;

	if (likely(!fault->reason))
		return true;
	if (likely(fault->reason != UIOMMU_FAULT_ABSENT) || fault->flags & UIOMMU_FAULT_RECOVERABLE)
		return false;
	fault->reason = absent_end(&call->absent) ? UIOMMU_FAULT_NONE : UIOMMU_FAULT_MEMORY;
	return !fault->reason;
}

/* Deliver what failed, and fill in @result. */
static inline int call_end(struct call *call, uint64_t done, struct uiommu_dma_result *result)
{
	bool failed = call->failure.fault.reason != UIOMMU_FAULT_NONE;

	distant_end(call->self);
	if (unlikely(failed))
		failure_report(call->self, call->device, &call->failure);
	call->self->depth--;
	if (result) {
		result->done = done;
		if (failed)
			result->fault = call->failure.fault;
		else
			result->fault = (struct uiommu_fault){0};
	}
	return failed ? -EFAULT : 0;
}

/* Clip @length so that address + length does not wrap; what is cut off ends with a fault. */
static inline uint64_t call_clip(uint64_t address, uint64_t length)
{
	return length && length - 1 > UINT64_MAX - address ? UINT64_MAX - address + 1 : length;
}

static inline unsigned int call_copy_reason(const struct copy_result *result)
{
	if (result->bus)
		return UIOMMU_FAULT_MEMORY;
	return result->unmapped ? UIOMMU_FAULT_UNMAPPED : UIOMMU_FAULT_PERMISSION;
}

static inline void call_count(const struct call *call, const struct piece *piece, unsigned int access, uint64_t bytes)
{
	struct attach_counters *counters = counters_of(call->self, piece->attachment);

	counter_add(call->self, access == UIOMMU_READ ? &counters->bytes_read : &counters->bytes_written, bytes);
}

/* In a read section, whatever kind of address it is. */
static inline unsigned int call_find(struct call *call, uint32_t pasid, uint64_t address, uint64_t length, unsigned int access,
				     struct piece *piece)
{
	if (unlikely(call->atc))
		return atc_find(call->atc, pasid, address, length, access, piece);
	if (unlikely(call->flags & UIOMMU_DMA_TRANSLATED))
		return piece_find_translated(call->device, pasid, address, length, access, piece);
	return piece_find(call->device, pasid, address, length, access, piece);
}

/*
 * Outside of read sections: ask the guest's tables what is attached. True: look again. They are not asked for ever, because the
 * guest may invalidate what they say each time.
 */
bool call_resolve(struct call *call, uint32_t pasid, uint64_t address, unsigned int access);

/* Returns bytes done; call->failure is set if that is less than @length. */
uint64_t call_transfer(struct call *call, uint32_t pasid, uint64_t address, void *buffer, uint64_t length, unsigned int access);

#endif
