/* SPDX-License-Identifier: BSD-3-Clause */
#include "daemon/arbiter.h"

#include <linux/futex.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "util/clock.h"
#include "util/util.h"

enum { START_BITS = 48, WORDS = ARBITER_SLOTS_MAX / 64 };

#define START_MASK ((UINT64_C(1) << START_BITS) - 1)

static uint64_t lease_of(uint32_t slot, uint64_t start)
{
	return (uint64_t)(slot + 1) << START_BITS | (start & START_MASK);
}

static bool lease_belongs(uint64_t lease, uint32_t slot)
{
	return lease >> START_BITS == slot + 1;
}

size_t arbiter_size(uint32_t slots)
{
	return sizeof(struct arbiter_shared) + slots * sizeof(struct arbiter_slot);
}

struct arbiter *arbiter_create(uint32_t slots, uint32_t turn_us)
{
	struct arbiter *arbiter = malloc(sizeof(*arbiter));
	struct arbiter_shared *shared;

	if (!arbiter)
		return NULL;
	shared = mmap(NULL, arbiter_size(slots), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED) {
		free(arbiter);
		return NULL;
	}
	*arbiter = (struct arbiter){.shared = shared, .slots = slots, .turn_us = turn_us};
	return arbiter;
}

void arbiter_destroy(struct arbiter *arbiter)
{
	if (arbiter)
		munmap(arbiter->shared, arbiter_size(arbiter->slots));
	free(arbiter);
}

void turn_init(struct turn *turn, const struct arbiter *arbiter, uint32_t slot)
{
	*turn = (struct turn){.arbiter = arbiter, .slot = slot, .lease = UINT64_MAX};
}

static bool lease_exchange(struct arbiter_shared *shared, uint64_t from, uint64_t to)
{
	return __atomic_compare_exchange_n(&shared->lease, &from, to, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
}

static void futex_sleep(uint32_t *word, uint32_t value, uint64_t until_us)
{
	struct timespec until = {.tv_sec = (time_t)(until_us / 1000000), .tv_nsec = (long)(until_us % 1000000) * 1000};

	syscall(SYS_futex, word, FUTEX_WAIT_BITSET, value, &until, NULL, FUTEX_BITSET_MATCH_ANY);
}

static void summary_clear(struct arbiter_shared *shared, uint32_t word)
{
	__atomic_fetch_and(&shared->summary, ~(UINT64_C(1) << word), __ATOMIC_SEQ_CST);
	/* Somebody may have set a bit below it in between. */
	if (__atomic_load_n(&shared->waiting[word], __ATOMIC_SEQ_CST))
		__atomic_fetch_or(&shared->summary, UINT64_C(1) << word, __ATOMIC_SEQ_CST);
}

static void waiter_enlist(struct arbiter_shared *shared, uint32_t slot)
{
	__atomic_fetch_or(&shared->waiting[slot / 64], UINT64_C(1) << (slot % 64), __ATOMIC_SEQ_CST);
	__atomic_fetch_or(&shared->summary, UINT64_C(1) << (slot / 64), __ATOMIC_SEQ_CST);
}

/* Take a slot from the list: true if it was on it, and nobody else has taken it. */
static bool waiter_claim(struct arbiter_shared *shared, uint32_t slot)
{
	uint64_t bit = UINT64_C(1) << (slot % 64);
	uint64_t before = __atomic_fetch_and(&shared->waiting[slot / 64], ~bit, __ATOMIC_SEQ_CST);

	if (!(before & ~bit))
		summary_clear(shared, slot / 64);
	return before & bit;
}

/* Claim a waiter of one word, of those in @mask. Bits that stand for no slot are only cleared. */
static bool waiter_of_word(const struct arbiter *arbiter, uint32_t word, uint64_t mask, uint32_t *out)
{
	uint64_t bits = __atomic_load_n(&arbiter->shared->waiting[word], __ATOMIC_SEQ_CST);

	if (!bits)
		summary_clear(arbiter->shared, word);
	for (bits &= mask; bits; bits &= bits - 1) {
		*out = word * 64 + (uint32_t)__builtin_ctzll(bits);
		if (waiter_claim(arbiter->shared, *out) && *out < arbiter->slots)
			return true;
	}
	return false;
}

/* Claim the next one that waits, in a circle that starts behind @after. */
static bool waiter_next(const struct arbiter *arbiter, uint32_t after, uint32_t *out)
{
	uint64_t summary = __atomic_load_n(&arbiter->shared->summary, __ATOMIC_SEQ_CST);
	uint32_t first = (after + 1) % arbiter->slots;
	uint64_t behind = UINT64_MAX << (first % 64);

	for (uint32_t i = 0; summary && i <= WORDS; i++) {
		uint32_t word = (first / 64 + i) % WORDS;
		uint64_t mask = i == 0 ? behind : i == WORDS ? ~behind : UINT64_MAX;

		if (summary & UINT64_C(1) << word && waiter_of_word(arbiter, word, mask, out))
			return true;
	}
	return false;
}

static void waiter_wake(struct arbiter_shared *shared, uint32_t slot)
{
	__atomic_fetch_add(&shared->slot[slot].events, 1, __ATOMIC_SEQ_CST);
	syscall(SYS_futex, &shared->slot[slot].events, FUTEX_WAKE, 1, NULL, NULL, 0);
}

/* Give the turn that @lease stands for (0: that nobody has) to the next one that waits behind @slot. False: nobody does. */
static bool lease_hand_over(const struct arbiter *arbiter, uint64_t lease, uint32_t slot)
{
	uint32_t next;

	if (!waiter_next(arbiter, slot, &next))
		return false;
	/* If this fails the turn was taken back meanwhile; the one we claimed has to enlist again. */
	lease_exchange(arbiter->shared, lease, lease_of(next, clock_us()));
	waiter_wake(arbiter->shared, next);
	return true;
}

/*
 * Give up the turn that @lease stands for. Who does that looks for waiters once more afterwards, and who enlists looks at the lease
 * afterwards, so that one of the two sees the other.
 */
static void lease_pass(const struct arbiter *arbiter, uint64_t lease, uint32_t slot)
{
	if (!lease_hand_over(arbiter, lease, slot) && lease_exchange(arbiter->shared, lease, 0))
		lease_hand_over(arbiter, 0, slot);
}

static bool turn_grab(struct turn *turn, uint64_t from, uint64_t now)
{
	uint64_t mine = lease_of(turn->slot, now);

	if (!lease_exchange(turn->arbiter->shared, from, mine))
		return false;
	turn->lease = mine;
	turn->start = now;
	return true;
}

/* When the turn that is had since @start can be taken back by who waits since @since. */
static uint64_t turn_due(const struct arbiter *arbiter, uint64_t start, uint64_t since, uint64_t now)
{
	/* An owner that was alone may have had its turn for long; it shall notice first that somebody waits. */
	uint64_t from = start > now ? since : max_u64(start, since);

	return from + (uint64_t)ARBITER_OVERDUE * arbiter->turn_us;
}

/* While enlisted: has the turn come, or can it be had? @due: when it is worth looking again. */
static bool turn_arrives(struct turn *turn, uint64_t since, uint64_t *due)
{
	struct arbiter_shared *shared = turn->arbiter->shared;
	uint64_t lease = __atomic_load_n(&shared->lease, __ATOMIC_SEQ_CST), now = clock_us();

	if (lease_belongs(lease, turn->slot)) {
		turn->lease = lease;
		turn->start = now;
		return true;
	}
	*due = turn_due(turn->arbiter, lease & START_MASK, since, now);
	if ((lease && now < *due) || !turn_grab(turn, lease, now))
		return false;
	if (lease)
		__atomic_fetch_add(&shared->taken_back, 1, __ATOMIC_RELAXED);
	return true;
}

/* When all others had their turns, each of them overdue, since @since. */
static uint64_t patience_ends(const struct arbiter *arbiter, uint64_t since)
{
	return since + (uint64_t)ARBITER_OVERDUE * arbiter->turn_us * (arbiter->slots + 1);
}

void turn_take(struct turn *turn)
{
	struct arbiter_shared *shared = turn->arbiter->shared;
	uint32_t *events = &shared->slot[turn->slot].events;
	uint64_t since = clock_us(), end = patience_ends(turn->arbiter, since), due;

	if (turn_grab(turn, 0, since))
		return;
	do {
		uint32_t seen = __atomic_load_n(events, __ATOMIC_SEQ_CST);

		waiter_enlist(shared, turn->slot);
		if (turn_arrives(turn, since, &due))
			break;
		futex_sleep(events, seen, min_u64(due, end));
	} while (clock_us() <= end);
	waiter_claim(shared, turn->slot);
}

bool turn_is_over(const struct turn *turn)
{
	return clock_us() - turn->start >= turn->arbiter->turn_us;
}

void turn_give(struct turn *turn)
{
	uint64_t lease = turn->lease;

	turn->lease = UINT64_MAX;
	if (__atomic_load_n(&turn->arbiter->shared->lease, __ATOMIC_SEQ_CST) == lease)
		lease_pass(turn->arbiter, lease, turn->slot);
}

void arbiter_forget(const struct arbiter *arbiter, uint32_t slot)
{
	uint64_t lease;

	waiter_claim(arbiter->shared, slot);
	lease = __atomic_load_n(&arbiter->shared->lease, __ATOMIC_SEQ_CST);
	if (lease_belongs(lease, slot))
		lease_pass(arbiter, lease, slot);
}
