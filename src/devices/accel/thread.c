/* SPDX-License-Identifier: BSD-3-Clause */
/* An engine's own thread, and how others get between its turns. */
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <unistd.h>

#include "devices/accel/task.h"
#include "util/clock.h"
#include "util/cpu.h"
#include "util/thread.h"

enum {
	TURN_BUDGET = 256,
	SPINS_PER_LOOK = 128, /* empty turns between two looks at the clock */
	MAPPED_US = 50, /* it polls doorbells that a program has mapped; whoever woke it has not written yet */
};

void event_signal(int fd)
{
	uint64_t one = 1;

	/* Full, and so signalled already, is as good. */
	while (write(fd, &one, sizeof(one)) < 0 && errno == EINTR)
		;
}

void accel_lock(struct uiommu_accel *accel)
{
	__atomic_fetch_add(&accel->wanted, 1, __ATOMIC_RELAXED);
	pthread_mutex_lock(&accel->gate);
	pthread_mutex_lock(&accel->lock);
	__atomic_fetch_sub(&accel->wanted, 1, __ATOMIC_RELAXED);
}

void accel_unlock(struct uiommu_accel *accel)
{
	pthread_mutex_unlock(&accel->lock);
	pthread_mutex_unlock(&accel->gate);
}

/* Somebody stands in the gate: a busy runner would take the lock again before they wake up, so it waits there until they are done.
 */
static void gate_pass(struct uiommu_accel *accel)
{
	pthread_mutex_lock(&accel->gate);
	pthread_mutex_unlock(&accel->gate);
}

void accel_run_lock(struct uiommu_accel *accel)
{
	if (unlikely(__atomic_load_n(&accel->wanted, __ATOMIC_RELAXED)))
		gate_pass(accel);
	pthread_mutex_lock(&accel->lock);
}

/* With the lock, which is released meanwhile. */
static void thread_sleep(struct uiommu_accel *accel)
{
	struct pollfd fd = {.fd = accel->wake_fd, .events = POLLIN};

	if (!accel_arm(accel))
		return;
	pthread_mutex_unlock(&accel->lock);
	/* Whatever the reason to return, the next turn looks at everything. */
	ppoll(&fd, 1, NULL, NULL);
	accel_run_lock(accel);
}

/* True if the thread has polled without finding work for long enough. */
static bool thread_bored(const struct uiommu_accel *accel, unsigned int spins, uint64_t *since)
{
	uint32_t spin_us = accel->mapped && accel->spin_us < MAPPED_US ? MAPPED_US : accel->spin_us;

	if (!spin_us)
		return true;
	if (spins % SPINS_PER_LOOK)
		return false;
	if (spins == SPINS_PER_LOOK)
		*since = clock_ns();
	return clock_ns() - *since >= (uint64_t)spin_us * 1000;
}

static void *thread_main(void *opaque)
{
	struct uiommu_accel *accel = opaque;
	unsigned int spins = 0;
	uint64_t since = 0;

	accel_run_lock(accel);
	while (!__atomic_load_n(&accel->stop, __ATOMIC_ACQUIRE)) {
		if (unlikely(__atomic_load_n(&accel->wanted, __ATOMIC_RELAXED))) {
			pthread_mutex_unlock(&accel->lock);
			accel_run_lock(accel);
		}
		if (accel_run(accel, TURN_BUDGET)) {
			spins = 0;
		} else if (thread_bored(accel, ++spins, &since)) {
			thread_sleep(accel);
			spins = 0;
		} else if (accel->mapped) {
			/* Whoever is about to write may wait for this processor. */
			sched_yield();
		} else {
			cpu_relax();
		}
	}
	pthread_mutex_unlock(&accel->lock);
	return NULL;
}

int uiommu_accel_start(struct uiommu_accel *accel, uint32_t spin_us)
{
	int rc;

	accel_lock(accel);
	if (accel->started) {
		accel_unlock(accel);
		return -EBUSY;
	}
	accel->spin_us = spin_us;
	rc = thread_start(&accel->thread, thread_main, accel);
	accel->started = !rc;
	accel_unlock(accel);
	return rc;
}

void accel_stop(struct uiommu_accel *accel)
{
	if (!accel->started)
		return;
	__atomic_store_n(&accel->stop, true, __ATOMIC_RELEASE);
	event_signal(accel->wake_fd);
	pthread_join(accel->thread, NULL);
	accel->started = false;
}
