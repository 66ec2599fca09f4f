/* SPDX-License-Identifier: BSD-3-Clause */
#include "abi/session/ends.h"

#include <errno.h>

#include "abi/session/session.h"
#include "util/thread.h"

void ends_init(struct ends *ends)
{
	pthread_condattr_t attributes;

	*ends = (struct ends){.running = false};
	ends->last = &ends->first;
	pthread_mutex_init(&ends->lock, NULL);
	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(&ends->changed, &attributes);
	pthread_condattr_destroy(&attributes);
}

/* All of what follows is under the lock, but for end(). */

static struct ending *take_first(struct ends *ends)
{
	struct ending *ending = ends->first;

	ends->first = ending->next;
	if (!ends->first)
		ends->last = &ends->first;
	return ending;
}

static void end_one(struct session *session)
{
	struct ending *ending = take_first(&session->ends);

	pthread_mutex_unlock(&session->ends.lock);
	ending->end(session, ending);
	pthread_mutex_lock(&session->ends.lock);
}

static void *run(void *opaque)
{
	struct session *session = opaque;
	struct ends *ends = &session->ends;
	uint64_t number;

	pthread_mutex_lock(&ends->lock);
	number = ends->number;
	while (ends->number == number && (ends->first || !ends->finish)) {
		if (!ends->first) {
			pthread_cond_wait(&ends->changed, &ends->lock);
			continue;
		}
		ends->busy = true;
		clock_gettime(CLOCK_MONOTONIC, &ends->since);
		end_one(session);
		if (ends->number == number) {
			ends->busy = false;
			ends->over++;
			pthread_cond_broadcast(&ends->changed);
		}
	}
	if (ends->number != number)
		ends->aside--;
	pthread_mutex_unlock(&ends->lock);
	return NULL;
}

/* False: for now there is no thread. */
static bool start(struct session *session)
{
	struct ends *ends = &session->ends;

	if (!ends->running)
		ends->running = !thread_start(&ends->thread, run, session);
	return ends->running;
}

void ends_add(struct session *session, struct ending *ending)
{
	struct ends *ends = &session->ends;

	pthread_mutex_lock(&ends->lock);
	ending->next = NULL;
	*ends->last = ending;
	ends->last = &ending->next;
	ends->added++;
	if (start(session)) {
		pthread_cond_broadcast(&ends->changed);
	} else {
		end_one(session);
		ends->over++;
		pthread_cond_broadcast(&ends->changed);
	}
	pthread_mutex_unlock(&ends->lock);
}

/* When the thread has been at it for long enough. */
static struct timespec deadline(const struct ends *ends)
{
	struct timespec time = ends->since;

	if (!ends->busy)
		clock_gettime(CLOCK_MONOTONIC, &time);
	time.tv_sec += SESSION_PATIENCE;
	return time;
}

static bool is_overdue(const struct ends *ends)
{
	struct timespec now, time = deadline(ends);

	clock_gettime(CLOCK_MONOTONIC, &now);
	return ends->busy && (now.tv_sec > time.tv_sec || (now.tv_sec == time.tv_sec && now.tv_nsec >= time.tv_nsec));
}

static void set_aside(struct ends *ends)
{
	pthread_detach(ends->thread);
	ends->number++;
	ends->aside++;
	ends->over++;
	ends->running = ends->busy = false;
	pthread_cond_broadcast(&ends->changed);
}

void ends_wait(struct session *session)
{
	struct ends *ends = &session->ends;
	uint64_t until;

	pthread_mutex_lock(&ends->lock);
	until = ends->added;
	while (ends->over < until) {
		struct timespec time;

		if (ends->first && !start(session)) {
			end_one(session);
			ends->over++;
			pthread_cond_broadcast(&ends->changed);
			continue;
		}
		time = deadline(ends);
		pthread_cond_timedwait(&ends->changed, &ends->lock, &time);
		if (is_overdue(ends))
			set_aside(ends);
	}
	pthread_mutex_unlock(&ends->lock);
}

bool ends_aside(struct session *session)
{
	bool aside;

	pthread_mutex_lock(&session->ends.lock);
	aside = session->ends.aside;
	pthread_mutex_unlock(&session->ends.lock);
	return aside;
}

void ends_fini(struct session *session)
{
	struct ends *ends = &session->ends;
	bool running;

	pthread_mutex_lock(&ends->lock);
	ends->finish = true;
	running = ends->running;
	pthread_cond_broadcast(&ends->changed);
	pthread_mutex_unlock(&ends->lock);
	if (running)
		pthread_join(ends->thread, NULL);
	pthread_cond_destroy(&ends->changed);
	pthread_mutex_destroy(&ends->lock);
}
