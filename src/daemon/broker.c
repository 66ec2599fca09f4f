/* SPDX-License-Identifier: BSD-3-Clause */
#include "daemon/broker.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "pasid/pasid.h"
#include "util/clock.h"
#include "util/util.h"

enum { EVENTS_PER_TURN = 64 };

void broker_set_timer(struct broker *broker, uint64_t deadline)
{
	struct itimerspec when = {.it_value = {(time_t)(deadline / 1000), (long)(deadline % 1000) * 1000000}};

	if (broker->timer && broker->timer <= deadline)
		return;
	broker->timer = deadline;
	timerfd_settime(broker->timer_fd, TFD_TIMER_ABSTIME, &when, NULL);
}

/* An event names its client by slot and number: a pointer could be another client's by the time the event is looked at. */
static uint64_t event_data(enum event_kind kind, const struct client *client)
{
	return (uint64_t)kind << 56 | (client ? (uint64_t)client->slot << 32 | client->number : 0);
}

int broker_watch(struct broker *broker, int fd, uint32_t events, enum event_kind kind, const struct client *client)
{
	struct epoll_event event = {.events = events, .data.u64 = event_data(kind, client)};

	return epoll_ctl(broker->epoll_fd, EPOLL_CTL_ADD, fd, &event) ? -errno : 0;
}

/* --- set-up --- */

static int open_descriptors(struct broker *broker)
{
	sigset_t signals;

	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	sigprocmask(SIG_BLOCK, &signals, NULL);
	broker->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	broker->signal_fd = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
	broker->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (broker->epoll_fd < 0 || broker->signal_fd < 0 || broker->timer_fd < 0)
		return -errno;
	if (broker_watch(broker, broker->signal_fd, EPOLLIN, EVENT_SIGNAL, NULL) ||
	    broker_watch(broker, broker->timer_fd, EPOLLIN, EVENT_TIMER, NULL) ||
	    broker_watch(broker, broker->listening.fd, EPOLLIN, EVENT_LISTEN, NULL))
		return -errno;
	return 0;
}

/* All that executors will share is mapped before the first of them is forked. */
static int map_shared(struct broker *broker)
{
	const struct limits *limits = &broker->options.limits;
	size_t each = stats_size(limits->of[RESOURCE_PASIDS].client, limits->of[RESOURCE_QUEUES].client);

	broker->stats_each = (each + page_size() - 1) & ~(page_size() - 1);
	broker->stats = mmap(NULL, broker->stats_each * broker->slot_count, PROT_READ | PROT_WRITE,
			     MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (broker->stats == MAP_FAILED)
		return -ENOMEM;
	for (uint32_t i = 0; i < broker->options.device_count; i++) {
		broker->arbiters[i] = arbiter_create(broker->slot_count, broker->options.turn_us);
		if (!broker->arbiters[i])
			return -ENOMEM;
	}
	return 0;
}

int broker_prepare(struct broker *broker, const struct options *options)
{
	memset(broker, 0, sizeof(*broker));
	broker->options = *options;
	broker->epoll_fd = broker->signal_fd = broker->timer_fd = -1;
	/* Some more for executors that only refuse a client. */
	broker->slot_count = options->executors + options->executors / 8 + 1;
	broker->slots = calloc(broker->slot_count, sizeof(*broker->slots));
	broker->space = pasid_space_create();
	if (!broker->slots || !broker->space)
		return -ENOMEM;
	accounts_init(&broker->accounts, &broker->options.limits);
	CDS_INIT_LIST_HEAD(&broker->clients);
	return map_shared(broker);
}

void broker_release(struct broker *broker)
{
	pasid_space_destroy(broker->space);
	free(broker->slots);
	if (broker->stats && broker->stats != MAP_FAILED)
		munmap(broker->stats, broker->stats_each * broker->slot_count);
	for (uint32_t i = 0; i < broker->options.device_count; i++)
		arbiter_destroy(broker->arbiters[i]);
}

int broker_init(struct broker *broker, const struct options *options)
{
	int rc = broker_prepare(broker, options);

	if (!rc)
		rc = listen_open(options, &broker->listening);
	if (rc)
		return rc;
	rc = open_descriptors(broker);
	if (rc) {
		log_line("cannot start: %s", strerror(-rc));
		listen_close(&broker->listening);
	}
	return rc;
}

void broker_fini(struct broker *broker)
{
	listen_close(&broker->listening);
}

/* --- the loop --- */

static void drain(int fd)
{
	uint8_t data[sizeof(struct signalfd_siginfo)];

	while (read(fd, data, sizeof(data)) > 0)
		;
}

static void on_timer(struct broker *broker)
{
	uint64_t now = clock_ms();

	drain(broker->timer_fd);
	broker->timer = 0;
	clients_expire(broker, now);
	listing_expire(broker, now);
}

static void on_client(struct broker *broker, enum event_kind kind, struct client *client)
{
	switch (kind) {
	case EVENT_LINK:
		client_serve(broker, client);
		break;
	case EVENT_EXECUTOR:
		client_reap(broker, client);
		break;
	default:
		client_end(broker, client);
	}
}

static void on_event(struct broker *broker, const struct epoll_event *event)
{
	enum event_kind kind = (enum event_kind)(event->data.u64 >> 56);
	struct client *client;

	switch (kind) {
	case EVENT_LISTEN:
		clients_accept(broker);
		break;
	case EVENT_SIGNAL:
		broker->stop = true;
		break;
	case EVENT_TIMER:
		on_timer(broker);
		break;
	default:
		client = clients_find(broker, (uint32_t)(event->data.u64 >> 32) & 0xffffff, (uint32_t)event->data.u64);
		if (client)
			on_client(broker, kind, client);
	}
}

void broker_run(struct broker *broker)
{
	struct epoll_event events[EVENTS_PER_TURN];

	while (!broker->stop) {
		int count = epoll_wait(broker->epoll_fd, events, EVENTS_PER_TURN, -1);

		for (int i = 0; i < count; i++)
			on_event(broker, &events[i]);
	}
}
