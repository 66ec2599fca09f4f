/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The one translation path: (device, PASID, address) to a piece of memory, and how long the piece stays valid.
 *
 * A piece is found inside an RCU read section. Resident memory is then used inside that section. Everything else is *held*: the
 * attachment and the area are entered (inflight.h) and the section is left. Either way piece_end() ends it, and until then no
 * unmap, detach or unbind that takes the memory away returns (Law 2).
 */
#ifndef TRANSLATE_PIECE_H
#define TRANSLATE_PIECE_H

#include "memory/process.h"
#include "translate/inflight.h"
#include "translate/space.h"
#include "translate/stages.h"
#include "util/rcu.h"
#include "util/util.h"

enum { PIECE_SLOTS = 6 }; /* the attachment, the device, the area, the stages, and twice what it is as a translated access */

_Static_assert(2 * PIECE_SLOTS <= INFLIGHT_SLOTS, "a copy holds two pieces");

struct piece {
	struct attachment *attachment;
	struct area *area; /* NULL: the process's own memory */
	uint8_t *host; /* NULL: only through the process, or, of an area, remote */
	uint64_t offset; /* of what is remote, in the area's region */
	uint64_t absent; /* with ABSENT: where in the space */
	uint64_t length;
	bool translated; /* it is a translated access */
	bool resident;
	uint8_t stage; /* after a fault: where it was met, as in struct uiommu_fault; 0: where the attachment's memory is */
	uint8_t level;
	bool table;
	uint16_t flags; /* what more is known of it then, enum uiommu_fault_flags */
	struct inflight_slot *slots[PIECE_SLOTS]; /* of what is entered, while held */
};

/* Why an access failed, and through which attachment: enough to tell its owner later, if it is still the same. */
struct failure {
	struct uiommu_fault fault;
	struct attachment *attachment; /* only to be compared */
	uint32_t generation;
	bool told; /* whoever wants to know has been told */
};

/*
 * Beyond enum uiommu_fault_reason: a guest's tables may know (uiommu_device.resolve), or are fetched (memory/distant.h); then the
 * same again.
 */
enum { PIECE_RESOLVE = 0x100, RESOLVE_TRIES = 16 };

/*
 * Inside an RCU read section: what serves the bytes from @address on, at most @length (> 0, and the sum does not wrap). Returns an
 * enum uiommu_fault_reason or PIECE_RESOLVE; also on a fault @piece->attachment is set if there is one.
 */
unsigned int piece_find(const struct uiommu_device *device, uint32_t pasid, uint64_t address, uint64_t length, unsigned int access,
			struct piece *piece);

/* The same for an address that has been translated (uiommu/ats.h): what it leads to in the space behind the stages. */
unsigned int piece_find_translated(const struct uiommu_device *device, uint32_t pasid, uint64_t address, uint64_t length,
				   unsigned int access, struct piece *piece);

/*
 * The same for an attachment whose addresses lead to themselves, whatever its stages might want to know: inside a read section, or
 * while the caller holds the attachment and the lock of its space.
 */
unsigned int piece_straight(struct attachment *attachment, uint64_t address, uint64_t length, unsigned int access,
			    struct piece *piece);

/* In a read section: what translates before the space is looked at, or NULL if addresses go through as they are. */
static inline __attribute__((always_inline)) struct stages *stages_of(const struct attachment *attachment)
{
	struct stages *stages = attachment->stages;

	return stages && rcu_read(stages->walked) ? stages : NULL;
}

/* Before anything that may sleep, in the read section: what is entered stays as it is after the section. */
static inline void piece_enter(struct thread_state *self, struct uiommu_device *device, struct piece *piece)
{
	struct stages *stages = piece->attachment->stages;

	piece->slots[0] = inflight_enter(self, &piece->attachment->drain);
	piece->slots[1] = inflight_enter(self, flights_current(&device->held));
	piece->slots[2] = piece->area ? inflight_enter(self, &piece->area->drain) : NULL;
	piece->slots[3] = stages ? inflight_enter(self, flights_current(&stages->flights)) : NULL;
	piece->slots[4] = piece->slots[5] = NULL;
	if (unlikely(piece->translated)) {
		piece->slots[4] = inflight_enter(self, flights_current(&device->translated.flights));
		piece->slots[5] = inflight_enter(self, &device->translated.all);
	}
}

/* Enter it and leave the section. */
static inline void piece_hold(struct thread_state *self, struct uiommu_device *device, struct piece *piece)
{
	piece_enter(self, device, piece);
	rcu_leave();
}

/* What has been entered. */
static inline void piece_release(struct piece *piece)
{
	for (unsigned int i = PIECE_SLOTS; i; i--)
		if (piece->slots[i - 1])
			inflight_leave(piece->slots[i - 1]);
}

/* A thread's own, or those of all that have none. */
static inline struct attach_counters *counters_of(const struct thread_state *self, struct attachment *attachment)
{
	return &attachment->counters[self->own ? self->own - 1 : COUNTER_SHARDS - 1];
}

/* Nobody else writes it: no locked instruction. */
static inline void counter_add_own(uint64_t *counter, uint64_t amount)
{
	__atomic_store_n(counter, __atomic_load_n(counter, __ATOMIC_RELAXED) + amount, __ATOMIC_RELAXED);
}

/* A counter of counters_of(). */
static inline void counter_add(const struct thread_state *self, uint64_t *counter, uint64_t amount)
{
	if (likely(self->own))
		counter_add_own(counter, amount);
	else
		__atomic_fetch_add(counter, amount, __ATOMIC_RELAXED);
}

/* The bytes of an access. */
static inline void count_bytes(const struct thread_state *self, struct attachment *attachment, unsigned int access, uint64_t bytes)
{
	struct attach_counters *counters = counters_of(self, attachment);

	counter_add(self, access == UIOMMU_READ ? &counters->bytes_read : &counters->bytes_written, bytes);
}

/* What a look through stages cost, if it was no hit. */
static inline void count_walk(struct attachment *attachment, const struct stages_result *found)
{
	const struct thread_state *self = thread_self();
	struct attach_counters *counters = counters_of(self, attachment);

	if (likely(!found->fetches))
		return;
	counter_add(self, &counters->walks, 1);
	counter_add(self, &counters->fetches, found->fetches);
	counter_add(self, &counters->steps, found->stepped);
}

/* Fill in @failure for the byte at @address. @piece: what was found of it; NULL: nothing is attached. */
void failure_set(struct failure *failure, const struct uiommu_device *device, uint32_t pasid, uint64_t address, unsigned int access,
		 unsigned int reason, const struct piece *piece);

/* While what it is about is found or held: no event if the device recovers from it, that is, @flags (enum uiommu_dma_flags) say so.
 */
void failure_recovers(struct failure *failure, unsigned int flags);

/* Whoever does the access asks for absent memory himself, by its input address. */
static inline bool flags_park(unsigned int flags)
{
	return flags & (UIOMMU_DMA_RECOVERABLE | UIOMMU_DMA_PARKS) && !(flags & UIOMMU_DMA_TRANSLATED);
}

/* Tell the owner of the attachment, unless the device recovers, and count. Outside of read sections, with nothing held. */
void failure_report(struct thread_state *self, struct uiommu_device *device, const struct failure *failure);

#endif
