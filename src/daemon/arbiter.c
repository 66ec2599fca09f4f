/* SPDX-License-Identifier: BSD-3-Clause */
#include "daemon/arbiter.h"

#include <linux/futex.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "util/clock.h"
#include "util/util.h"

enum { START_BITS = 48 };

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
	return sizeof(struct arbiter) + slots * sizeof(struct arbiter_slot);
}

struct arbiter *arbiter_create(uint32_t slots, uint32_t turn_us)
{
	struct arbiter *arbiter = mmap(NULL, arbiter_size(slots), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (arbiter == MAP_FAILED)
		return NULL;
	arbiter->slots = slots;
	arbiter->turn_us = turn_us;
	return arbiter;
}

void arbiter_destroy(struct arbiter *arbiter)
{
	if (arbiter)
		munmap(arbiter, arbiter_size(arbiter->slots));
}

void turn_init(struct turn *turn, struct arbiter *arbiter, uint32_t slot)
{
	*turn = (struct turn){.arbiter = arbiter, .slot = slot, .lease = UINT64_MAX};
}

static bool lease_exchange(struct arbiter *arbiter, uint64_t from, uint64_t to)
{
	return __atomic_compare_exchange_n(&arbiter->lease, &from, to, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
}

static void futex_sleep(uint32_t *word, uint32_t value, uint64_t until_us)
{
	struct timespec until = {.tv_sec = (time_t)(until_us / 1000000), .tv_nsec = (long)(until_us % 1000000) * 1000};

	syscall(SYS_futex, word, FUTEX_WAIT_BITSET, value, &until, NULL, FUTEX_BITSET_MATCH_ANY);
}

static void summary_clear(struct arbiter *arbiter, uint32_t word)
{
	__atomic_fetch_and(&arbiter->summary, ~(UINT64_C(1) << word), __ATOMIC_SEQ_CST);
	/* Somebody may have set a bit below it in between. */
	if (__atomic_load_n(&arbiter->waiting[word], __ATOMIC_SEQ_CST))
		__atomic_fetch_or(&arbiter->summary, UINT64_C(1) << word, __ATOMIC_SEQ_CST);
}

static void waiter_enlist(struct arbiter *arbiter, uint32_t slot)
{
	__atomic_fetch_or(&arbiter->waiting[slot / 64], UINT64_C(1) << (slot % 64), __ATOMIC_SEQ_CST);
	__atomic_fetch_or(&arbiter->summary, UINT64_C(1) << (slot / 64), __ATOMIC_SEQ_CST);
}

/* Take a slot from the list: true if it was on it, and nobody else has taken it. */
static bool waiter_claim(struct arbiter *arbiter, uint32_t slot)
{
	uint64_t bit = UINT64_C(1) << (slot % 64);
	uint64_t before = __atomic_fetch_and(&arbiter->waiting[slot / 64], ~bit, __ATOMIC_SEQ_CST);

	if (!(before & ~bit))
		summary_clear(arbiter, slot / 64);
	return before & bit;
}

/* Claim a waiter of one word, of those in @mask. */
static bool waiter_of_word(struct arbiter *arbiter, uint32_t word, uint64_t mask, uint32_t *out)
{
	uint64_t bits = __atomic_load_n(&arbiter->waiting[word], __ATOMIC_SEQ_CST);

	if (!bits)
		summary_clear(arbiter, word);
	for (bits &= mask; bits; bits &= bits - 1) {
		*out = word * 64 + (uint32_t)__builtin_ctzll(bits);
		if (waiter_claim(arbiter, *out))
			return true;
	}
	return false;
}

/* Claim the next one that waits, in a circle that starts behind @after. */
static bool waiter_next(struct arbiter *arbiter, uint32_t after, uint32_t *out)
{
	uint32_t words = (arbiter->slots + 63) / 64, first = (after + 1) % arbiter->slots;
	uint64_t behind = UINT64_MAX << (first % 64);

	for (uint32_t i = 0; i <= words; i++) {
		uint32_t word = (first / 64 + i) % words;
		uint64_t mask = i == 0 ? behind : i == words ? ~behind : UINT64_MAX;

		if (!(__atomic_load_n(&arbiter->summary, __ATOMIC_SEQ_CST) & UINT64_C(1) << word))
			continue;
		if (waiter_of_word(arbiter, word, mask, out))
			return true;
	}
	return false;
}

static void waiter_wake(struct arbiter *arbiter, uint32_t slot)
{
	__atomic_fetch_add(&arbiter->slot[slot].events, 1, __ATOMIC_SEQ_CST);
	syscall(SYS_futex, &arbiter->slot[slot].events, FUTEX_WAKE, 1, NULL, NULL, 0);
}

/*
 * Give the turn that @lease stands for to the next one that waits. Who gives up a lease looks for waiters afterwards, and who
 * enlists looks at the lease afterwards, so that one of the two sees the other.
 */
static void lease_pass(struct arbiter *arbiter, uint64_t lease, uint32_t slot)
{
	do {
		uint32_t next;

		if (waiter_next(arbiter, slot, &next)) {
			/* If this fails the turn was taken back meanwhile; the one we claimed has to enlist again. */
			lease_exchange(arbiter, lease, lease_of(next, clock_us()));
			waiter_wake(arbiter, next);
			return;
		}
		if (!lease_exchange(arbiter, lease, 0))
			return;
		lease = 0;
	} while (__atomic_load_n(&arbiter->summary, __ATOMIC_SEQ_CST));
}

static bool turn_grab(struct turn *turn, uint64_t from, uint64_t now)
{
	uint64_t mine = lease_of(turn->slot, now);

	if (!lease_exchange(turn->arbiter, from, mine))
		return false;
	turn->lease = mine;
	turn->start = now;
	return true;
}

/* While enlisted: has the turn come, or can it be had? @due: when it is worth looking again. */
static bool turn_arrives(struct turn *turn, uint64_t since, uint64_t *due)
{
	struct arbiter *arbiter = turn->arbiter;
	uint64_t lease = __atomic_load_n(&arbiter->lease, __ATOMIC_SEQ_CST), start = lease & START_MASK, now = clock_us();

	if (lease_belongs(lease, turn->slot)) {
		turn->lease = lease;
		turn->start = now;
		return true;
	}
	/* An owner that was alone may have had its turn for long; it shall notice first that somebody waits. */
	*due = max_u64(start, since) + (uint64_t)ARBITER_OVERDUE * arbiter->turn_us;
	if ((lease && now < *due) || !turn_grab(turn, lease, now))
		return false;
	if (lease)
		__atomic_fetch_add(&arbiter->taken_back, 1, __ATOMIC_RELAXED);
	return true;
}

void turn_take(struct turn *turn)
{
	struct arbiter *arbiter = turn->arbiter;
	uint32_t *events = &arbiter->slot[turn->slot].events;
	uint64_t since = clock_us(), due;

	if (turn_grab(turn, 0, since))
		return;
	for (;;) {
		uint32_t seen = __atomic_load_n(events, __ATOMIC_SEQ_CST);

		waiter_enlist(arbiter, turn->slot);
		if (turn_arrives(turn, since, &due))
			break;
		futex_sleep(events, seen, due);
	}
	waiter_claim(arbiter, turn->slot);
}

bool turn_is_over(const struct turn *turn)
{
	return clock_us() - turn->start >= turn->arbiter->turn_us;
}

void turn_give(struct turn *turn)
{
	uint64_t lease = turn->lease;

	turn->lease = UINT64_MAX;
	if (__atomic_load_n(&turn->arbiter->lease, __ATOMIC_SEQ_CST) == lease)
		lease_pass(turn->arbiter, lease, turn->slot);
}

void arbiter_forget(struct arbiter *arbiter, uint32_t slot)
{
	uint64_t lease;

	waiter_claim(arbiter, slot);
	lease = __atomic_load_n(&arbiter->lease, __ATOMIC_SEQ_CST);
	if (lease_belongs(lease, slot))
		lease_pass(arbiter, lease, slot);
}
