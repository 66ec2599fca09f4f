/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Turns at a device, among the executors of all its clients. In memory that they share; nobody keeps it for them.
 *
 * One word is the lease: who has the turn, and since when. Whoever has it works until it has nothing more to do, or until its time
 * is up and somebody else waits; then it hands the lease to the next one that waits, in a circle. Who waits sleeps on a futex. An
 * owner that is stuck in the memory of another process cannot hand over: when its time is long over, the one that waits takes the
 * turn back, and the late owner finds the lease changed and waits again. So a turn is a matter of fairness, never of correctness:
 * two engines that run at once for a moment do each other no harm. Any process may be killed between any two steps; what it leaves
 * behind costs others at most one overdue turn, until the broker calls arbiter_forget().
 *
 * Nor does anybody trust it: an executor that a client has taken over may write anything there, at any moment. What decides where
 * memory is touched and how long (slots, turn_us) each process keeps to itself; what is read there is compared, or checked against
 * that, and no loop goes on for as long as somebody else likes. Who waits longer than all others together could take gets one round
 * without a turn.
 *
 * An executor that is alone keeps its turn, and pays one load per round for it.
 */
#ifndef DAEMON_ARBITER_H
#define DAEMON_ARBITER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	ARBITER_SLOTS_MAX = 4096,
	ARBITER_OVERDUE = 4, /* turns after which a turn is taken back */
};

struct arbiter_slot {
	uint32_t events; /* futex: counts reasons to look again */
	uint8_t pad[60];
};

struct arbiter_shared {
	/* Owner's slot and one in the upper 16 bits, start in us (CLOCK_MONOTONIC) in the lower 48; 0: free. */
	uint64_t lease;
	uint64_t taken_back; /* turns that were overdue */
	uint8_t pad0[112];
	/* A bit for each word of waiting that is not 0; or no longer is, because somebody was killed at the wrong moment. */
	uint64_t summary;
	uint8_t pad1[120];
	uint64_t waiting[ARBITER_SLOTS_MAX / 64]; /* a bit for each slot that waits */
	struct arbiter_slot slot[];
};

/* What each process knows by itself: fork children have copies. */
struct arbiter {
	struct arbiter_shared *shared;
	uint32_t slots;
	uint32_t turn_us;
};

/* What an executor keeps of its turn. */
struct turn {
	const struct arbiter *arbiter;
	uint32_t slot;
	uint64_t lease; /* the word that means "mine" */
	uint64_t start;
};

/* Shared with fork children. NULL without memory. */
struct arbiter *arbiter_create(uint32_t slots, uint32_t turn_us);
size_t arbiter_size(uint32_t slots);
void arbiter_destroy(struct arbiter *arbiter);

/* @slot: below the number of slots. */
void turn_init(struct turn *turn, const struct arbiter *arbiter, uint32_t slot);

/* Sleep until it is our turn; or until that takes so long that somebody must be cheating, and then it is not ours. */
void turn_take(struct turn *turn);

static inline bool turn_is_mine(const struct turn *turn)
{
	return __atomic_load_n(&turn->arbiter->shared->lease, __ATOMIC_RELAXED) == turn->lease;
}

/* Somebody waits. */
static inline bool turn_is_wanted(const struct turn *turn)
{
	return __atomic_load_n(&turn->arbiter->shared->summary, __ATOMIC_RELAXED);
}

/* We have had our time. Looks at the clock. */
bool turn_is_over(const struct turn *turn);

/* Hand over to the next one, if the turn is still ours. */
void turn_give(struct turn *turn);

/* The process of this slot is gone: it neither waits nor has the turn. Called by the broker; never waits. */
void arbiter_forget(const struct arbiter *arbiter, uint32_t slot);

#endif
