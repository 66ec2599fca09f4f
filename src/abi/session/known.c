/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Members of whom nothing says when they end. They are forgotten when they execute another program, when somebody else has their
 * number, and when somebody else comes; until then the handles of one that has ended keep a few descriptors, so there are only so
 * many of them.
 */
#include <errno.h>

#include "abi/session/stopped.h"
#include "memory/process.h"

/* The first is the one that was needed last. Under the lock. */
static void to_front(struct session *session, size_t at)
{
	struct member *member = session->known[at];

	for (; at; at--)
		session->known[at] = session->known[at - 1];
	session->known[0] = member;
}

/* Whose reference the caller gets. Under the lock. */
static struct member *take_out(struct session *session, size_t at)
{
	struct member *member = session->known[at];

	for (; at < SESSION_KNOWN; at++)
		session->known[at] = at + 1 < SESSION_KNOWN ? session->known[at + 1] : NULL;
	return member;
}

struct member *known_find(struct session *session, pid_t process)
{
	struct member *found = NULL;
	struct process_vma ignored;

	pthread_mutex_lock(&session->lock);
	for (size_t i = 0; i < SESSION_KNOWN && session->known[i] && !found; i++)
		if (session->known[i]->facts.pid == process) {
			to_front(session, i);
			found = session->known[0];
			found->references++;
		}
	pthread_mutex_unlock(&session->lock);
	/* Another process may have got its number. */
	if (found && process_describe(found->memory->process, 0, &ignored) == -ESRCH) {
		known_forget(session, process);
		member_put(session, found);
		found = NULL;
	}
	return found;
}

/* Of @process, or any if that is 0: as take_ended(). */
static struct member *take(struct session *session, pid_t process)
{
	struct member *member = NULL;

	pthread_mutex_lock(&session->lock);
	for (size_t i = 0; i < SESSION_KNOWN && session->known[i] && !member; i++)
		if (!process || session->known[i]->facts.pid == process)
			member = take_out(session, i);
	pthread_mutex_unlock(&session->lock);
	return member;
}

/* The first that has ended, whose reference the caller gets. NULL: there is none. */
static struct member *take_ended(struct session *session)
{
	struct member *member = NULL;

	pthread_mutex_lock(&session->lock);
	for (size_t i = 0; i < SESSION_KNOWN && session->known[i] && !member; i++)
		if (process_has_ended(session->known[i]->memory->process))
			member = take_out(session, i);
	pthread_mutex_unlock(&session->lock);
	return member;
}

void known_add(struct session *session, struct member *member)
{
	struct member *last;

	while ((last = take_ended(session)))
		member_put(session, last);
	pthread_mutex_lock(&session->lock);
	member->references++;
	last = session->known[SESSION_KNOWN - 1];
	session->known[SESSION_KNOWN - 1] = member;
	to_front(session, SESSION_KNOWN - 1);
	pthread_mutex_unlock(&session->lock);
	member_put(session, last);
}

void known_forget(struct session *session, pid_t process)
{
	member_put(session, take(session, process));
}

void known_end(struct session *session)
{
	struct member *member;

	while ((member = take(session, 0)))
		member_put(session, member);
}
