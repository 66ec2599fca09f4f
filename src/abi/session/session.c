/* SPDX-License-Identifier: BSD-3-Clause */
#include "abi/session/session.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <uiommu/context.h>
#include <unistd.h>

#include "abi/iommufd.h"
#include "util/util.h"

/* What the first thread was woken by. */
enum source { LISTENING, CLOSING, READY, WAKE, FIRST };

int session_open(struct session *session, const char *name, struct abi_file **out)
{
	if (!strcmp(name, "/dev/iommu"))
		return iommufd_open(session->mock ? IOMMUFD_MOCK : 0, out);
	if (!strcmp(name, "/dev/vfio") || !strcmp(name, "/dev/vfio/devices"))
		return -EISDIR;
	return devices_open(session->devices, name, out);
}

static int put(int epoll, int fd, enum source source)
{
	struct epoll_event event = {.events = EPOLLIN, .data.u64 = source};

	if (fd < 0)
		return -errno;
	return epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) ? -errno : 0;
}

static int open_events(struct session *session)
{
	int error;

	session->epoll = epoll_create1(EPOLL_CLOEXEC);
	session->closing = epoll_create1(EPOLL_CLOEXEC);
	session->ready = epoll_create1(EPOLL_CLOEXEC);
	session->inotify = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	session->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	error = session->epoll < 0 ? -errno : 0;
	if (!error)
		error = put(session->closing, session->inotify, CLOSING);
	if (!error)
		error = put(session->epoll, session->closing, CLOSING);
	if (!error)
		error = put(session->epoll, session->ready, READY);
	if (!error)
		error = put(session->epoll, session->wake, WAKE);
	if (!error)
		error = put(session->epoll, session->listening, LISTENING);
	return error;
}

/* Descriptors are what programs cost us. */
static void raise_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) || limit.rlim_cur == limit.rlim_max)
		return;
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
}

/* In the folder that the user is in. */
static int open_trace(struct session *session, const char *path, char *complaint, size_t complaint_size)
{
	int error;

	if (!path)
		return 0;
	session->trace = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC | O_NOCTTY, 0666);
	error = session->trace < 0 ? -errno : 0;
	if (error)
		snprintf(complaint, complaint_size, "%s: %s", path, strerror(-error));
	return error;
}

int session_create(struct session *session, const struct session_options *options, char *complaint, size_t complaint_size)
{
	int error;

	memset(session, 0, sizeof(*session));
	session->listening = session->epoll = session->closing = session->ready = session->inotify = session->wake = -1;
	session->first = session->trace = session->watching = session->watch_wake = -1;
	report_init(&session->report, options->check ? options->report : -1);
	CDS_INIT_LIST_HEAD(&session->userfaults);
	CDS_INIT_LIST_HEAD(&session->watches);
	pthread_mutex_init(&session->watch_lock, NULL);
	pthread_mutex_init(&session->gone_lock, NULL);
	session->mock = options->mock;
	session->check = options->check;
	pthread_mutex_init(&session->lock, NULL);
	pthread_mutex_init(&session->drain_lock, NULL);
	CDS_INIT_LIST_HEAD(&session->peers);
	ends_init(&session->ends);
	error = open_trace(session, options->trace, complaint, complaint_size);
	if (!error)
		error = devices_create(options->devices, options->native, complaint, complaint_size, &session->devices);
	if (error)
		return error;
	error = folder_create(session);
	if (!error) {
		session->listening = folder_listen(session);
		error = session->listening < 0 ? session->listening : open_events(session);
	}
	if (error) {
		snprintf(complaint, complaint_size, "the session's folder %s: %s", session->folder, strerror(-error));
		session_destroy(session);
	}
	return error;
}

static void accept_all(struct session *session)
{
	int fd;

	while ((fd = accept4(session->listening, NULL, NULL, SOCK_CLOEXEC)) >= 0)
		connection_start(session, fd);
}

static bool is_over(struct session *session)
{
	bool over;

	pthread_mutex_lock(&session->lock);
	over = session->first < 0 && !session->peer_count && !session->held_count;
	pthread_mutex_unlock(&session->lock);
	return over;
}

static void handle(struct session *session, uint64_t event)
{
	eventfd_t count;

	if (event >= SESSION_PEERS) {
		peers_hung_up(session, event - SESSION_PEERS);
		return;
	}
	switch ((enum source)event) {
	case LISTENING:
		accept_all(session);
		break;
	case CLOSING: /* always done, below */
		break;
	case READY:
		held_poll_ready(session);
		break;
	case WAKE:
		eventfd_read(session->wake, &count);
		break;
	case FIRST:
		if (session->first >= 0)
			close(session->first);
		session->first = -1;
		break;
	}
}

void session_serve(struct session *session, int first)
{
	struct epoll_event events[8];

	raise_limit();
	uiommu_install_fault_handler();
	session->first = first;
	if (put(session->epoll, first, FIRST))
		handle(session, FIRST);
	while (!is_over(session)) {
		int count = epoll_wait(session->epoll, events, ARRAY_SIZE(events), peers_wait(session));

		for (int i = 0; i < count; i++)
			handle(session, events[i].data.u64);
		/* Whoever has ended has closed everything: what inotify told of a bit too early is settled now. */
		held_drain(session);
	}
}

/* Something waits, perhaps for ever. */
static bool is_stuck(struct session *session)
{
	bool stuck;

	pthread_mutex_lock(&session->lock);
	stuck = session->peers_aside;
	pthread_mutex_unlock(&session->lock);
	return stuck || ends_aside(session);
}

void session_destroy(struct session *session)
{
	const int fds[] = {session->listening, session->epoll, session->closing, session->ready,
			   session->inotify,   session->wake,  session->first,	 session->trace};

	folder_destroy(session);
	if (is_stuck(session))
		return;
	held_end(session);
	ends_fini(session);
	watch_finish(session);
	devices_destroy(session->devices);
	report_fini(session);
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		if (fds[i] >= 0)
			close(fds[i]);
	pthread_mutex_destroy(&session->drain_lock);
	pthread_mutex_destroy(&session->lock);
	pthread_mutex_destroy(&session->gone_lock);
	pthread_mutex_destroy(&session->watch_lock);
}
