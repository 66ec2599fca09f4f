/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What ends in a thread of its own, because it may take for ever: the end of a file waits for accesses of devices that are in
 * flight, and one of those waits for memory of a program that does not come (a file system or a userfaultfd that nobody answers).
 * Everybody waits for all ends, so that they are over before the next request is answered; but for one that takes longer than
 * SESSION_PATIENCE nobody waits any more. It is *set aside*: another thread goes on with what comes after it.
 */
#ifndef SESSION_ENDS_H
#define SESSION_ENDS_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

struct session;

/* Embedded in what is to end. */
struct ending {
	struct ending *next;
	void (*end)(struct session *session, struct ending *ending);
};

struct ends {
	pthread_mutex_t lock; /* a leaf */
	pthread_cond_t changed;
	pthread_t thread;
	struct ending *first, **last; /* that wait for the thread */
	uint64_t added, over; /* how many; what has been set aside is over */
	uint64_t number; /* of the thread; who has another one has been set aside */
	unsigned int aside; /* threads */
	bool running; /* there is a thread */
	bool busy; /* since: */
	bool finish;
	struct timespec since; /* CLOCK_MONOTONIC */
};

void ends_init(struct ends *ends);
/* Without a thread, for which there may be no memory, it ends here. */
void ends_add(struct session *session, struct ending *ending);
/* Until all that has been added is over. */
void ends_wait(struct session *session);
/* Is there one that has been set aside? */
bool ends_aside(struct session *session);
/* Nothing has been set aside, and nothing comes any more. */
void ends_fini(struct session *session);

#endif
