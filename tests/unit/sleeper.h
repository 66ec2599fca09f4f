/* SPDX-License-Identifier: BSD-3-Clause */
/* An access of the slow page (slow.h), which sleeps, and somebody who has to wait for it. */
#ifndef TESTS_UNIT_SLEEPER_H
#define TESTS_UNIT_SLEEPER_H

#include "test.h"

#include <pthread.h>
#include <semaphore.h>

#include "slow.h"
#include "translate/inflight.h"

/* It reads 8 bytes, in a thread. */
struct sleeper {
	pthread_t thread;
	int (*read)(struct sleeper *sleeper);
	uint64_t value;
	int rc;
};

static inline void *sleep_main(void *opaque)
{
	struct sleeper *sleeper = opaque;

	sleeper->rc = sleeper->read(sleeper);
	return NULL;
}

/* Returns when it sleeps. */
static inline void sleeper_start(struct sleeper *sleeper)
{
	assert_int_equal(pthread_create(&sleeper->thread, NULL, sleep_main, sleeper), 0);
	slow_wait();
}

static inline void sleeper_end(struct sleeper *sleeper)
{
	slow_answer(0x5a);
	pthread_join(sleeper->thread, NULL);
	assert_int_equal(sleeper->rc, 0);
	assert_int_equal(sleeper->value, UINT64_C(0x5a5a5a5a5a5a5a5a));
}

/* @event comes when he begins to wait, or when he has not. */
struct remover {
	pthread_t thread;
	int (*remove)(void *opaque);
	void *opaque;
	int rc;
	sem_t event;
	bool removed;
};

static inline void remover_waits(void *opaque)
{
	sem_post(opaque);
}

static inline void *remove_main(void *opaque)
{
	struct remover *remover = opaque;

	inflight_tell(remover_waits, &remover->event);
	remover->rc = remover->remove(remover->opaque);
	__atomic_store_n(&remover->removed, true, __ATOMIC_RELEASE);
	sem_post(&remover->event);
	return NULL;
}

/* Nothing is asserted as long as somebody sleeps, who could not be woken otherwise. */
static inline void removal_waits(struct sleeper *sleeper, struct remover *remover)
{
	bool early;

	sem_init(&remover->event, 0, 0);
	sleeper_start(sleeper);
	assert_int_equal(pthread_create(&remover->thread, NULL, remove_main, remover), 0);
	sem_wait(&remover->event);
	early = __atomic_load_n(&remover->removed, __ATOMIC_ACQUIRE);
	sleeper_end(sleeper);
	pthread_join(remover->thread, NULL);
	assert_false(early);
	assert_int_equal(remover->rc, 0);
	sem_destroy(&remover->event);
}

#endif
