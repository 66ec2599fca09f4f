/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Time limits, of one context: policy, never correctness. A thread sleeps on a timerfd until the first one is over; it is started
 * with the first time limit that is configured. With a clock of somebody else's (struct uiommu_clock) there is no thread: he says
 * when to look.
 */
#ifndef UTIL_TIMERS_H
#define UTIL_TIMERS_H

#include <pthread.h>
#include <stdbool.h>
#include <uiommu/context.h>
#include <urcu/list.h>

struct timer {
	struct cds_list_head link; /* while it is armed */
	uint64_t deadline; /* ns */
	void (*expired)(struct timer *timer); /* once for each time it is armed, with no lock held */
	bool armed;
};

struct timers {
	pthread_mutex_t lock; /* a leaf */
	pthread_cond_t done; /* @running has returned */
	struct cds_list_head armed; /* by deadline */
	struct timer *running;
	pthread_t runner; /* of @running */
	struct uiommu_clock clock; /* now is NULL: our own */
	int timer_fd; /* -1: no thread */
	pthread_t thread;
	bool stop;
};

void timers_init(struct timers *timers, const struct uiommu_clock *clock);

/* No timer is armed. */
void timers_fini(struct timers *timers);

/* Before the first timer is armed. -EMFILE, -EAGAIN. */
int timers_start(struct timers *timers);

/* In @after_ms from now; it is not armed. */
void timers_arm(struct timers *timers, struct timer *timer, uint32_t after_ms);

/* Afterwards it is neither armed nor running, unless this is called from its own function. */
void timers_disarm(struct timers *timers, struct timer *timer);

/* Run what is due. */
void timers_run(struct timers *timers);

#endif
