/* SPDX-License-Identifier: BSD-3-Clause */
/* How clients come and go. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/broker.h"
#include "daemon/executor.h"
#include "pasid/pasid.h"
#include "util/clock.h"

#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77 /* Linux 6.5 */
#endif
#ifndef P_PIDFD
#define P_PIDFD 3
#endif

enum {
	ACCEPTS_PER_TURN = 16,
	END_GRACE_MS = 100, /* for an executor to bring its numbers up to date and end */
};

struct client *clients_find(struct broker *broker, uint32_t slot, uint32_t number)
{
	struct client *client = slot < broker->slot_count ? broker->slots[slot] : NULL;

	return client && client->number == number ? client : NULL;
}

/* --- come --- */

static bool slot_take(struct broker *broker, struct client *client)
{
	for (uint32_t i = 0; i < broker->slot_count; i++) {
		uint32_t slot = (broker->slot_next + i) % broker->slot_count;

		if (broker->slots[slot])
			continue;
		broker->slots[slot] = client;
		/* A number is used again as late as possible, so that its memory is not another client's at once. */
		broker->slot_next = slot + 1;
		client->slot = slot;
		client->stats = (struct stats *)(void *)((char *)broker->stats + slot * broker->stats_each);
		/* Back to zeros, without touching what may never be used. */
		if (madvise(client->stats, broker->stats_each, MADV_REMOVE))
			memset(client->stats, 0, broker->stats_each);
		return true;
	}
	return false;
}

/* Executors are copies of the broker, its free memory included. */
static void client_wipe(struct client *client)
{
	if (client->pasids)
		explicit_bzero(client->pasids, client->pasid_count * sizeof(*client->pasids));
	explicit_bzero(client->comm, sizeof(client->comm));
	explicit_bzero(&client->log, sizeof(client->log));
	client->uid = client->pid = 0;
}

void client_free(struct broker *broker, struct client *client)
{
	if (client->set)
		pasid_set_destroy(client->set);
	if (client->usage.account)
		usage_fini(&client->usage);
	if (broker->slots[client->slot] == client)
		broker->slots[client->slot] = NULL;
	if (client->link_fd >= 0)
		close(client->link_fd);
	if (client->executor_fd >= 0)
		close(client->executor_fd);
	if (client->peer_fd >= 0)
		close(client->peer_fd);
	client_wipe(client);
	free(client->pasids);
	free(client->queues);
	free(client);
}

struct client *client_new(struct broker *broker, uid_t uid, pid_t pid)
{
	struct client *client = calloc(1, sizeof(*client));

	if (!client)
		return NULL;
	client->slot = UINT32_MAX;
	client->link_fd = client->executor_fd = client->peer_fd = -1;
	client->uid = uid;
	client->pid = (uint32_t)pid;
	client->number = ++broker->last_number;
	client->log = (struct log_source){.number = client->number, .uid = client->uid, .pid = client->pid};
	client->publish_done = client->publish_asked = broker->publishings;
	client->set = pasid_set_create(broker->space, broker->options.limits.of[RESOURCE_PASIDS].client);
	if (!slot_take(broker, client)) {
		client->slot = 0;
		client_free(broker, client);
		return NULL;
	}
	if (!client->set || usage_init(&broker->accounts, &client->usage, uid)) {
		client_free(broker, client);
		return NULL;
	}
	return client;
}

/* NULL, or why this client may not come in. */
static const char *objection(const struct broker *broker, struct client *client)
{
	if (usage_is_draining(&broker->accounts, &client->usage))
		return "the user has reached the limit 'draining'";
	if (accounts_used(&broker->accounts, RESOURCE_EXECUTORS) >= broker->options.executors)
		return "there are as many clients as --executors permits";
	if (usage_take(&broker->accounts, &client->usage, RESOURCE_EXECUTORS, 1) != REFUSED_NOT)
		return "the user has reached the limit 'executors'";
	return NULL;
}

/* 0, or the error that the client is told. */
static int admit(const struct broker *broker, struct client *client)
{
	const char *why = objection(broker, client);

	if (!why)
		return 0;
	log_client(&client->log, "refused: %s", why);
	return -EDQUOT;
}

/* What calls that have returned left behind. */
static void __attribute__((noinline)) stack_wipe(void)
{
	uint8_t below[16 << 10];

	explicit_bzero(below, sizeof(below));
}

/* In an executor, which its client may take over: what the broker knows of clients. */
static void forget_clients(struct broker *broker)
{
	struct client *client;

	cds_list_for_each_entry (client, &broker->clients, link)
		client_wipe(client);
	accounts_wipe(&broker->accounts);
	reports_wipe(&broker->reports);
	explicit_bzero(&broker->nobody, sizeof(broker->nobody));
	explicit_bzero(broker->answer, sizeof(broker->answer));
	stack_wipe();
}

static int executor_start(struct broker *broker, struct client *client, int client_fd, int refusal)
{
	struct executor_config config = {
		.client_fd = client_fd,
		.refusal = refusal,
		.session =
			{
				.devices = broker->options.devices,
				.device_count = broker->options.device_count,
				.client = client->number,
				.pasids_max = broker->options.limits.of[RESOURCE_PASIDS].client,
				.queues_max = broker->options.limits.of[RESOURCE_QUEUES].client,
				.stats = client->stats,
			},
		.arbiters = broker->arbiters,
		.slot = client->slot,
		.spin_us = broker->options.spin_us,
		.sandbox = broker->options.sandbox,
		.broker = getpid(),
		.all_stats = broker->stats,
		.all_stats_size = broker->stats_each * broker->slot_count,
	};
	int pair[2];
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
		return -errno;
	config.link_fd = pair[1];
	pid = fork();
	if (!pid) {
		forget_clients(broker);
		executor_main(&config);
	}
	close(pair[1]);
	client->link_fd = pair[0];
	if (pid < 0)
		return -errno;
	fcntl(client->link_fd, F_SETFL, O_NONBLOCK);
	socket_refuse_rights(client->link_fd);
	client->executor_fd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (client->executor_fd >= 0)
		return 0;
	/* Out of descriptors: without one nobody would notice its end. It has done nothing yet, so it dies at once. */
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	return -EMFILE;
}

/* The client's process, so that its end is noticed even if a child has inherited the connection. */
static void watch_peer(struct broker *broker, struct client *client, int fd)
{
	socklen_t size = sizeof(client->peer_fd);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERPIDFD, &client->peer_fd, &size)) {
		/* Before Linux 6.5. If the number is another process's by now, the hang-up still tells. */
		client->peer_fd = (int)syscall(SYS_pidfd_open, (pid_t)client->pid, 0);
	}
	if (client->peer_fd >= 0)
		broker_watch(broker, client->peer_fd, EPOLLIN | EPOLLONESHOT, EVENT_PEER, client);
}

static bool watch_all(struct broker *broker, struct client *client, int fd)
{
	if (broker_watch(broker, client->executor_fd, EPOLLIN, EVENT_EXECUTOR, client) ||
	    broker_watch(broker, client->link_fd, EPOLLIN, EVENT_LINK, client) ||
	    broker_watch(broker, fd, EPOLLRDHUP | EPOLLET, EVENT_CONNECTION, client))
		return false;
	watch_peer(broker, client, fd);
	return true;
}

static void client_come(struct broker *broker, int fd)
{
	struct client *client;
	struct ucred cred;
	socklen_t size = sizeof(cred);
	int refusal, rc;

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &size))
		return;
	client = client_new(broker, cred.uid, cred.pid);
	if (!client) {
		broker->nobody.uid = cred.uid;
		broker->nobody.pid = (uint32_t)cred.pid;
		log_client(&broker->nobody, "refused: no room for another client");
		return;
	}
	refusal = admit(broker, client);
	rc = executor_start(broker, client, fd, refusal);
	if (rc) {
		log_client(&client->log, "refused: no process for it: %s", strerror(-rc));
		client_free(broker, client);
		return;
	}
	client->refused = refusal;
	cds_list_add_tail(&client->link, &broker->clients);
	if (!watch_all(broker, client, fd))
		client_kill(broker, client, "cannot be watched");
}

void clients_accept(struct broker *broker)
{
	for (unsigned int i = 0; i < ACCEPTS_PER_TURN; i++) {
		int fd = accept4(broker->listening.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

		if (fd < 0)
			return;
		client_come(broker, fd);
		close(fd);
	}
}

/* --- go --- */

void client_end(struct broker *broker, struct client *client)
{
	if (client->state != CLIENT_SERVED)
		return;
	client->state = CLIENT_ENDING;
	client->deadline = clock_ms() + END_GRACE_MS;
	broker_set_timer(broker, client->deadline);
	listing_check(broker);
}

void client_kill(struct broker *broker, struct client *client, const char *why)
{
	if (client->state == CLIENT_KILLED)
		return;
	if (why)
		log_client(&client->log, "ended: %s", why);
	client->state = CLIENT_KILLED;
	client->deadline = 0;
	usage_count(&client->usage, RESOURCE_DRAINING, 1);
	pasid_set_free_all(client->set);
	syscall(SYS_pidfd_send_signal, client->executor_fd, SIGKILL, NULL, 0);
	close(client->link_fd);
	client->link_fd = -1;
	listing_check(broker);
}

static void log_end(struct client *client, const siginfo_t *info)
{
	if (client->state == CLIENT_KILLED)
		return;
	if (info->si_code != CLD_EXITED)
		log_client(&client->log, "its executor was ended by signal %d", info->si_status);
	else if (info->si_status)
		log_client(&client->log, "its executor ended with status %d", info->si_status);
}

/* Take what it has said before it ended: its log lines, and its last faults. */
static void hear_out(struct broker *broker, struct client *client)
{
	while (client->state != CLIENT_KILLED && client_serve(broker, client))
		;
}

void client_reap(struct broker *broker, struct client *client)
{
	siginfo_t info = {0};

	if (waitid(P_PIDFD, (id_t)client->executor_fd, &info, WEXITED | WNOHANG) || !info.si_pid)
		return;
	hear_out(broker, client);
	log_end(client, &info);
	listing_account(broker, client);
	for (uint32_t i = 0; i < broker->options.device_count; i++)
		arbiter_forget(broker->arbiters[i], client->slot);
	cds_list_del(&client->link);
	client_free(broker, client);
	listing_check(broker);
}

static bool drains_too_long(const struct client *client, uint64_t now)
{
	for (uint32_t i = 0; i < client->pasid_count; i++)
		if (client->pasids[i].drain_deadline && client->pasids[i].drain_deadline <= now)
			return true;
	return false;
}

static void set_timer_for(struct broker *broker, const struct client *client)
{
	if (client->deadline)
		broker_set_timer(broker, client->deadline);
	for (uint32_t i = 0; i < client->pasid_count && client->state != CLIENT_KILLED; i++)
		if (client->pasids[i].drain_deadline)
			broker_set_timer(broker, client->pasids[i].drain_deadline);
}

void clients_expire(struct broker *broker, uint64_t now)
{
	struct client *client, *next;

	cds_list_for_each_entry_safe (client, next, &broker->clients, link) {
		if (client->deadline && client->deadline <= now)
			client_kill(broker, client, NULL);
		else if (client->state != CLIENT_KILLED && drains_too_long(client, now))
			client_kill(broker, client, "an access does not let go of a PASID that it unbinds");
		set_timer_for(broker, client);
	}
}
