/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The broker: it lets clients in, gives each a process of its own (executor.h), and decides what they may have. One thread, one
 * epoll loop, and nothing in it ever waits.
 *
 * It reads nothing that a client wrote. The executor inherits the client's connection, and the broker closes its own copy at once:
 * even to receive a file descriptor may block (the last reference to a socket that lingers, the flush of a FUSE file), and to close
 * one as well. What the broker does read are its executors' messages (link.h), which carry no descriptors, and it believes them no
 * more than it would the client.
 *
 * Three things end a client, whatever its executor is doing: its connection hangs up, its process is gone, or its executor is. The
 * epoll set hears of the first without holding the connection: an entry stays as long as anybody, here the executor, has it open.
 */
#ifndef DAEMON_BROKER_H
#define DAEMON_BROKER_H

#include <stdbool.h>
#include <urcu/list.h>

#include "daemon/account.h"
#include "daemon/arbiter.h"
#include "daemon/link.h"
#include "daemon/listen.h"
#include "daemon/log.h"
#include "daemon/options.h"
#include "daemon/stats.h"

struct pasid_set;
struct pasid_space;

enum { REPORTS_MAX = 256, REPORTS_PER_CLIENT = 64 };

enum client_state {
	CLIENT_SERVED,
	CLIENT_ENDING, /* the client is gone; its executor has a moment to end by itself */
	CLIENT_KILLED,
};

struct client_pasid {
	uint32_t pasid; /* 0: free entry */
	uint32_t fds;
	uint32_t pid;
	uint32_t access;
	uint64_t drain_deadline; /* ms; 0: none */
	char comm[PROTOCOL_COMM_MAX];
};

struct client_queue {
	uint32_t entries; /* 0: free entry */
	uint32_t flags;
};

struct client {
	struct cds_list_head link; /* by number */
	struct log_source log;
	uint32_t slot;
	uint32_t number;
	uint32_t uid;
	uint32_t pid;
	enum client_state state;
	bool refused; /* its executor tells it so, and ends */
	bool open;
	uint32_t device;
	char comm[PROTOCOL_COMM_MAX];
	int link_fd;
	int executor_fd; /* pidfd */
	int peer_fd; /* pidfd of the client's process, or -1 */
	uint64_t deadline; /* ms, when the executor is killed; 0: none */

	struct usage usage;
	struct pasid_set *set;
	struct client_pasid *pasids;
	uint32_t pasid_count; /* entries, used or not */
	struct client_queue *queues;
	uint32_t queue_count;
	struct stats *stats;

	/* Publishing: how new the numbers have to be, were asked to be, and are (broker.publishings). */
	uint64_t publish_wanted;
	uint64_t publish_asked;
	uint64_t publish_done;
	bool publish_late; /* somebody has waited in vain; nobody else does before it answers */
	/* A LIST that waits for numbers. */
	uint64_t listing; /* how new they have to be; 0: none */
	uint64_t listing_deadline; /* ms */
};

struct report {
	uint64_t sequence;
	struct uiommu_fault_report report;
};

struct reports {
	struct report list[REPORTS_MAX]; /* oldest first */
	uint32_t count;
	uint64_t sequence;
};

struct broker {
	struct options options;
	struct listening listening;
	int epoll_fd;
	int signal_fd;
	int timer_fd;
	uint64_t timer; /* ms, when it goes off; 0: not set */
	bool stop;

	struct accounts accounts;
	struct pasid_space *space;
	struct cds_list_head clients;
	struct client **slots;
	uint32_t slot_count;
	uint32_t slot_next; /* where to look for a free one */
	uint32_t last_number;
	struct log_source nobody; /* clients that there is no record of */

	struct arbiter *arbiters[OPTIONS_DEVICES_MAX];
	void *stats;
	size_t stats_each; /* bytes, whole pages */
	struct stats_entry device_ended[OPTIONS_DEVICES_MAX]; /* of clients that have ended */
	uint64_t device_descriptors[OPTIONS_DEVICES_MAX];

	uint64_t publishings;
	struct reports reports;
	uint8_t answer[sizeof(struct link_answer) + PROTOCOL_REPLY_MAX];
};

/* Prints why on failure. */
int broker_init(struct broker *broker, const struct options *options);

/* Until SIGTERM or SIGINT. */
void broker_run(struct broker *broker);

/* Whatever executors do: they end with this process. */
void broker_fini(struct broker *broker);

/* What needs neither a socket nor a process: broker_init() does it, and tests. -ENOMEM; broker_release() all the same. */
int broker_prepare(struct broker *broker, const struct options *options);

/* No client is left. The program itself does not bother. */
void broker_release(struct broker *broker);

/* --- between the broker's files --- */

/* Have broker_expire() called at @deadline or before. */
void broker_set_timer(struct broker *broker, uint64_t deadline);

enum event_kind {
	EVENT_LISTEN,
	EVENT_SIGNAL,
	EVENT_TIMER,
	EVENT_LINK,
	EVENT_EXECUTOR,
	EVENT_PEER,
	EVENT_CONNECTION,
};

/* @client: NULL for the broker's own. -errno. */
int broker_watch(struct broker *broker, int fd, uint32_t events, enum event_kind kind, const struct client *client);

/* clients.c */
void clients_accept(struct broker *broker);

/* Who it is, its account, and its place; without connection, process and place in the list. NULL without memory or place. */
struct client *client_new(struct broker *broker, uid_t uid, pid_t pid);
void client_free(struct broker *broker, struct client *client);

struct client *clients_find(struct broker *broker, uint32_t slot, uint32_t number);
void client_end(struct broker *broker, struct client *client);
void client_kill(struct broker *broker, struct client *client, const char *why);
void client_reap(struct broker *broker, struct client *client);
void clients_expire(struct broker *broker, uint64_t now);

/* requests.c */
/* A bounded number of messages; true if there may be more. */
bool client_serve(struct broker *broker, struct client *client);
bool client_answer(struct broker *broker, struct client *client, const void *answer, size_t length);

/* listing.c */
void listing_begin(struct broker *broker, struct client *client, uint64_t cursor);
void listing_published(struct broker *broker, struct client *client);
void listing_expire(struct broker *broker, uint64_t now);
/* A client that is gone is not waited for. */
void listing_check(struct broker *broker);
void listing_account(struct broker *broker, const struct client *client);
bool listing_may_see(const struct client *client, uint32_t uid);

/* reports.c */
void reports_add(struct broker *broker, const struct client *client, const struct uiommu_fault_report *report);
/* In an executor. */
void reports_wipe(struct reports *reports);
void reports_answer(struct broker *broker, struct client *client, uint64_t cursor);

#endif
