/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * RCU: read sections of two stores and two loads, and grace periods that interrupt only who has to be.
 *
 * A reader says with a plain store that it is inside of a section, and no fence orders that before what it reads. Whoever waits has
 * to make up for it. liburcu does so with membarrier(), twice, which interrupts every processor that runs a thread of this process:
 * 10 us and more each in a virtual machine, and translators lost a seventh of their throughput to 10,000 waits a second
 * (translate_2threads_inval in bench/iotlb.c). Here a waiter first asks each reader, by a word that the reader looks at when a
 * section begins and ends. Who is inside sections often answers soon. Who is not is found outside once, by a membarrier(), and is
 * then *offline*: it fences when its next section begins, so nobody needs to ask again. Reads that need no section, as a hit of
 * uiommu_translate(), are not disturbed at all. rcu.c says why this is right.
 *
 * With no registered reader a grace period is a fence, which is what makes maps cheap before the first DMA.
 */
#ifndef UTIL_RCU_H
#define UTIL_RCU_H

#include <stdbool.h>
#include <urcu/list.h>

#include "util/util.h"

enum rcu_state {
	RCU_ONLINE, /* sections begin and end without a fence */
	RCU_ASKED, /* by a waiter: to fence at the next end of a section */
	RCU_FENCED, /* inside of a section that began with a fence, and will end with one */
	RCU_OFFLINE, /* outside; the next section begins with a fence */
};

struct rcu_reader {
	_Alignas(64) unsigned int depth; /* sections that it is inside of; written by its thread */
	unsigned int state; /* enum rcu_state; written by its thread and by waiters */
	unsigned int fenced; /* so many sections more begin and end with a fence; its thread's */
	_Alignas(64) struct cds_list_head link; /* for waiters */
};

extern __thread struct rcu_reader rcu_self __attribute__((visibility("hidden")));

/* What an end of a section does in any state but online. */
void rcu_begin(void) __attribute__((cold));
void rcu_end(void) __attribute__((cold));

static inline bool rcu_online(void)
{
	bool online;

	/* The compiler keeps the order: first the depth, then this, then what the section does. */
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	online = likely(__atomic_load_n(&rcu_self.state, __ATOMIC_RELAXED) == RCU_ONLINE);
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	return online;
}

/* rcu_enter() without the call, which costs a short function its registers: false if rcu_begin() is still to come. */
static inline bool rcu_enter_online(void)
{
	__atomic_store_n(&rcu_self.depth, rcu_self.depth + 1, __ATOMIC_RELAXED);
	return rcu_online();
}

static inline void rcu_enter(void)
{
	if (!rcu_enter_online())
		rcu_begin();
}

static inline void rcu_leave(void)
{
	__atomic_store_n(&rcu_self.depth, rcu_self.depth - 1, __ATOMIC_RELEASE);
	if (!rcu_online())
		rcu_end();
}

extern unsigned int rcu_readers; /* registered threads */

/* A thread may be a reader between these two. */
void rcu_register(void);
void rcu_unregister(void);

/* Nobody is a reader, and whoever becomes one sees all that was published before. */
static inline bool rcu_quiet(void)
{
	return !__atomic_add_fetch(&rcu_readers, 0, __ATOMIC_SEQ_CST);
}

/* Wait for every read section that began before. Not inside one. */
void rcu_wait(void);

#define rcu_publish(pointer, value) __atomic_store_n(&(pointer), (value), __ATOMIC_RELEASE)
/* Consume order, which every compiler makes acquire: free on x86-64, one ldar on arm64. */
#define rcu_read(pointer) __atomic_load_n(&(pointer), __ATOMIC_ACQUIRE)

#endif
