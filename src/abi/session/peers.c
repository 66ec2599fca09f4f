/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Who is served: connections, and the filter of programs that nothing is preloaded into. The session goes on as long as there is
 * one. A thread that serves one ends when that has hung up; if it does not, because it waits for memory that does not come, it is
 * not waited for.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>

#include "abi/session/session.h"

int peer_add(struct session *session, struct peer *peer, int fd)
{
	struct epoll_event event = {.events = EPOLLONESHOT};

	pthread_mutex_lock(&session->lock);
	*peer = (struct peer){.number = ++session->last_peer};
	cds_list_add_tail(&peer->link, &session->peers);
	session->peer_count++;
	pthread_mutex_unlock(&session->lock);
	event.data.u64 = SESSION_PEERS + peer->number;
	if (!epoll_ctl(session->epoll, EPOLL_CTL_ADD, fd, &event))
		return 0;
	peer_end(session, peer, NULL);
	return -ENOMEM;
}

void peer_end(struct session *session, struct peer *peer, void *owner)
{
	pthread_mutex_lock(&session->lock);
	cds_list_del(&peer->link);
	if (peer->aside)
		session->peers_aside--;
	else
		session->peer_count--;
	free(owner);
	/* Under the lock, since whoever sees that this was the last one closes everything. */
	eventfd_write(session->wake, 1);
	pthread_mutex_unlock(&session->lock);
}

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

void peers_hung_up(struct session *session, uint64_t number)
{
	struct peer *peer;

	pthread_mutex_lock(&session->lock);
	cds_list_for_each_entry (peer, &session->peers, link)
		if (peer->number == number)
			peer->deadline = now_ms() + SESSION_PATIENCE * 1000;
	pthread_mutex_unlock(&session->lock);
}

int peers_wait(struct session *session)
{
	int64_t now = now_ms(), next = INT64_MAX;
	struct peer *peer;

	pthread_mutex_lock(&session->lock);
	cds_list_for_each_entry (peer, &session->peers, link) {
		if (!peer->deadline || peer->aside)
			continue;
		if (peer->deadline <= now) {
			peer->aside = true;
			session->peers_aside++;
			session->peer_count--;
			next = now; /* it may have been the last one that was waited for */
		} else if (peer->deadline < next) {
			next = peer->deadline;
		}
	}
	pthread_mutex_unlock(&session->lock);
	return next == INT64_MAX ? -1 : (int)(next - now);
}
