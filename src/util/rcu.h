/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * RCU: liburcu's "memb" flavour, and the annotations that ThreadSanitizer needs.
 *
 * The sanitizer does not see liburcu's grace periods. The wrappers tell it the two edges there are: what a writer published before
 * synchronize is seen by later readers (publish/dereference do that), and what readers did before they unlocked happens before
 * synchronize returns. Nothing else is hidden from it: a removed grace period is still reported.
 *
 * With no registered reader a grace period is a fence, which is what makes maps cheap before the first DMA.
 */
#ifndef UTIL_RCU_H
#define UTIL_RCU_H

#include <stdbool.h>
#include <urcu/pointer.h>
#include <urcu/urcu-memb.h>
/* The read side inline: short functions, which the LGPL lets anybody inline (they say so). A call each would cost half of a hit. */
#include <urcu/static/urcu-memb.h>

#if defined(__SANITIZE_THREAD__)
#define RCU_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define RCU_TSAN 1
#endif
#endif

#ifdef RCU_TSAN
void __tsan_acquire(void *address);
void __tsan_release(void *address);
extern char rcu_tsan_readers; /* stands for "every reader that has unlocked" */
#define RCU_RELEASE() __tsan_release(&rcu_tsan_readers)
#define RCU_ACQUIRE() __tsan_acquire(&rcu_tsan_readers)
#else
#define RCU_RELEASE() ((void)0)
#define RCU_ACQUIRE() ((void)0)
#endif

static inline void rcu_enter(void)
{
#ifdef RCU_TSAN
	urcu_memb_read_lock(); /* not instrumented */
#else
	_urcu_memb_read_lock();
#endif
}

static inline void rcu_leave(void)
{
	RCU_RELEASE();
#ifdef RCU_TSAN
	urcu_memb_read_unlock();
#else
	_urcu_memb_read_unlock();
#endif
}

extern unsigned int rcu_readers; /* registered threads */

/* A thread may be a reader between these two. */
static inline void rcu_register(void)
{
	/* Total order with rcu_quiet(): it is counted there, or sees what was published before. */
	__atomic_add_fetch(&rcu_readers, 1, __ATOMIC_SEQ_CST);
	urcu_memb_register_thread();
}

static inline void rcu_unregister(void)
{
	urcu_memb_unregister_thread();
	__atomic_sub_fetch(&rcu_readers, 1, __ATOMIC_RELEASE);
}

/* Nobody is a reader, and whoever becomes one sees all that was published before. */
static inline bool rcu_quiet(void)
{
	return !__atomic_add_fetch(&rcu_readers, 0, __ATOMIC_SEQ_CST);
}

/* Wait for every read section that began before. Not inside one. */
static inline void rcu_wait(void)
{
	if (!rcu_quiet())
		urcu_memb_synchronize_rcu();
	RCU_ACQUIRE();
}

#define rcu_publish(pointer, value) __atomic_store_n(&(pointer), (value), __ATOMIC_RELEASE)
/* Consume order, which every compiler makes acquire: free on x86-64, one ldar on arm64. */
#define rcu_read(pointer) __atomic_load_n(&(pointer), __ATOMIC_ACQUIRE)

#endif
