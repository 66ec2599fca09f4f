/* SPDX-License-Identifier: BSD-3-Clause */
#include "util/timers.h"

#include <errno.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "util/clock.h"
#include "util/util.h"

void timers_init(struct timers *timers, const struct uiommu_clock *clock)
{
	*timers = (struct timers){.timer_fd = -1};
	if (clock)
		timers->clock = *clock;
	pthread_mutex_init(&timers->lock, NULL);
	pthread_cond_init(&timers->done, NULL);
	CDS_INIT_LIST_HEAD(&timers->armed);
}

static uint64_t now(const struct timers *timers)
{
	return timers->clock.now ? timers->clock.now(timers->clock.opaque) : clock_ns();
}

/* Under the lock. The thread is woken once more, which does no harm, if the first one has gone. */
static void set(struct timers *timers, uint64_t deadline)
{
	struct itimerspec when = {
		.it_value = {.tv_sec = (time_t)(deadline / 1000000000), .tv_nsec = (long)(deadline % 1000000000)}};

	if (timers->timer_fd >= 0)
		timerfd_settime(timers->timer_fd, TFD_TIMER_ABSTIME, &when, NULL);
	else if (timers->clock.arm)
		timers->clock.arm(timers->clock.opaque, deadline);
}

void timers_arm(struct timers *timers, struct timer *timer, uint32_t after_ms)
{
	struct cds_list_head *before;

	pthread_mutex_lock(&timers->lock);
	timer->deadline = now(timers) + (uint64_t)after_ms * 1000000;
	timer->armed = true;
	/* Most time limits are alike: the place is found from the end. */
	for (before = timers->armed.prev; before != &timers->armed; before = before->prev)
		if (cds_list_entry(before, struct timer, link)->deadline <= timer->deadline)
			break;
	cds_list_add(&timer->link, before);
	if (before == &timers->armed)
		set(timers, timer->deadline);
	pthread_mutex_unlock(&timers->lock);
}

void timers_disarm(struct timers *timers, struct timer *timer)
{
	pthread_mutex_lock(&timers->lock);
	if (timer->armed)
		cds_list_del(&timer->link);
	timer->armed = false;
	while (timers->running == timer && !pthread_equal(timers->runner, pthread_self()))
		pthread_cond_wait(&timers->done, &timers->lock);
	pthread_mutex_unlock(&timers->lock);
}

void timers_run(struct timers *timers)
{
	pthread_mutex_lock(&timers->lock);
	while (timers->running)
		pthread_cond_wait(&timers->done, &timers->lock);
	while (!cds_list_empty(&timers->armed)) {
		struct timer *timer = cds_list_first_entry(&timers->armed, struct timer, link);

		if (timer->deadline > now(timers)) {
			set(timers, timer->deadline);
			break;
		}
		cds_list_del(&timer->link);
		timer->armed = false;
		timers->running = timer;
		timers->runner = pthread_self();
		pthread_mutex_unlock(&timers->lock);
		timer->expired(timer);
		pthread_mutex_lock(&timers->lock);
		timers->running = NULL;
		pthread_cond_broadcast(&timers->done);
	}
	pthread_mutex_unlock(&timers->lock);
}

static void *sleep_and_run(void *opaque)
{
	struct timers *timers = opaque;
	uint64_t expirations;

	while (!__atomic_load_n(&timers->stop, __ATOMIC_ACQUIRE))
		if (read(timers->timer_fd, &expirations, sizeof(expirations)) == sizeof(expirations))
			timers_run(timers);
	return NULL;
}

int timers_start(struct timers *timers)
{
	int error = 0;

	pthread_mutex_lock(&timers->lock);
	if (timers->timer_fd < 0 && !timers->clock.now) {
		timers->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
		if (timers->timer_fd < 0)
			error = -EMFILE;
		else if (pthread_create(&timers->thread, NULL, sleep_and_run, timers))
			error = -EAGAIN;
		if (error == -EAGAIN) {
			close(timers->timer_fd);
			timers->timer_fd = -1;
		}
	}
	pthread_mutex_unlock(&timers->lock);
	return error;
}

void timers_fini(struct timers *timers)
{
	if (timers->timer_fd >= 0) {
		__atomic_store_n(&timers->stop, true, __ATOMIC_RELEASE);
		set(timers, 1); /* long ago */
		pthread_join(timers->thread, NULL);
		close(timers->timer_fd);
	}
	pthread_cond_destroy(&timers->done);
	pthread_mutex_destroy(&timers->lock);
}
