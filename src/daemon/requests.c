/* SPDX-License-Identifier: BSD-3-Clause */
/* What executors ask for on behalf of their clients. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/broker.h"
#include "pasid/pasid.h"
#include "util/clock.h"

enum { MESSAGES_PER_TURN = 16 };

bool client_answer(struct broker *broker, struct client *client, const void *answer, size_t length)
{
	if (send(client->link_fd, answer, length, MSG_NOSIGNAL) == (ssize_t)length)
		return true;
	client_kill(broker, client, "its executor does not listen");
	return false;
}

/* 0, or -EDQUOT with a line that names the limit. */
static int take(struct broker *broker, struct client *client, enum resource resource, uint32_t amount)
{
	enum refusal refusal = usage_take(&broker->accounts, &client->usage, resource, amount);

	if (refusal == REFUSED_NOT)
		return 0;
	log_client(&client->log, "the %s has reached the limit '%s'", refusal == REFUSED_CLIENT ? "client" : "user",
		   resource_name(resource));
	return -EDQUOT;
}

/* All that is asked for, or nothing. */
static int take_two(struct broker *broker, struct client *client, enum resource first, enum resource second, uint32_t amount)
{
	int rc = take(broker, client, first, 1);

	if (rc)
		return rc;
	rc = take(broker, client, second, amount);
	if (rc)
		usage_give(&client->usage, first, 1);
	return rc;
}

static int on_open(struct broker *broker, struct client *client, struct link_message *message)
{
	if (client->open || message->open.device >= broker->options.device_count)
		return -EPROTO;
	client->open = true;
	client->device = message->open.device;
	memcpy(client->comm, message->open.comm, sizeof(client->comm));
	client->comm[sizeof(client->comm) - 1] = 0;
	return 0;
}

/* --- PASIDs --- */

static struct client_pasid *client_pasid_find(struct client *client, uint32_t pasid)
{
	for (uint32_t i = 0; i < client->pasid_count; i++)
		if (client->pasids[i].pasid == pasid)
			return &client->pasids[i];
	return NULL;
}

/* A free entry; the limit has been looked at. */
static struct client_pasid *pasid_entry(struct broker *broker, struct client *client)
{
	struct client_pasid *entry = client_pasid_find(client, 0);
	uint32_t count = client->pasid_count ? client->pasid_count * 2 : 8,
		 most = broker->options.limits.of[RESOURCE_PASIDS].client;

	if (entry)
		return entry;
	count = count < most ? count : most;
	entry = calloc(count, sizeof(*entry));
	if (!entry)
		return NULL;
	if (client->pasids) {
		memcpy(entry, client->pasids, client->pasid_count * sizeof(*entry));
		/* Executors will have copies of what is free, too. */
		explicit_bzero(client->pasids, client->pasid_count * sizeof(*entry));
	}
	free(client->pasids);
	client->pasids = entry;
	entry += client->pasid_count;
	client->pasid_count = count;
	return entry;
}

static int pasid_take(struct broker *broker, struct client *client, struct link_pasid *in)
{
	uint32_t first = in->pasid == UIOMMU_NO_PASID ? 1 : in->pasid,
		 last = in->pasid == UIOMMU_NO_PASID ? UIOMMU_PASID_LAST : first;
	struct client_pasid *entry = pasid_entry(broker, client);
	int rc;

	if (!entry)
		return -ENOMEM;
	rc = pasid_alloc(client->set, first, last, &in->pasid);
	if (rc)
		return rc;
	*entry = (struct client_pasid){.pasid = in->pasid, .fds = in->fds};
	in->index = (uint32_t)(entry - client->pasids);
	return 0;
}

static int on_pasid_take(struct broker *broker, struct client *client, struct link_message *message)
{
	struct link_pasid *in = &message->pasid;
	int rc;

	if (in->fds > PROTOCOL_FDS_MAX)
		return -EPROTO;
	if (usage_is_draining(&broker->accounts, &client->usage)) {
		log_client(&client->log, "the client or user has reached the limit 'draining'");
		return -EDQUOT;
	}
	rc = take_two(broker, client, RESOURCE_PASIDS, RESOURCE_FDS, in->fds);
	if (rc)
		return rc;
	rc = pasid_take(broker, client, in);
	if (rc) {
		usage_give(&client->usage, RESOURCE_PASIDS, 1);
		usage_give(&client->usage, RESOURCE_FDS, in->fds);
	}
	return rc;
}

static int on_pasid_bound(struct broker *broker, struct client *client, struct link_message *message)
{
	const struct link_bound *in = &message->bound;
	struct client_pasid *entry = in->pasid ? client_pasid_find(client, in->pasid) : NULL;

	(void)broker;
	if (!entry || pasid_state(client->set, in->pasid) != PASID_ALLOCATED)
		return -EPROTO;
	pasid_use(client->set, in->pasid);
	entry->pid = in->pid;
	entry->access = in->access;
	memcpy(entry->comm, in->comm, sizeof(entry->comm));
	entry->comm[sizeof(entry->comm) - 1] = 0;
	return 0;
}

static int on_pasid_drain(struct broker *broker, struct client *client, struct link_message *message)
{
	uint32_t pasid = message->pasid.pasid;
	struct client_pasid *entry = pasid ? client_pasid_find(client, pasid) : NULL;

	if (!entry || pasid_state(client->set, pasid) != PASID_BOUND || pasid_free(client->set, pasid) != PASID_DRAINING)
		return -EPROTO;
	usage_count(&client->usage, RESOURCE_DRAINING, 1);
	if (broker->options.drain_timeout) {
		entry->drain_deadline = clock_ms() + (uint64_t)broker->options.drain_timeout * 1000;
		broker_set_timer(broker, entry->drain_deadline);
	}
	return 0;
}

/* From allocated, if the bind failed; or from draining. */
static int on_pasid_free(struct broker *broker, struct client *client, struct link_message *message)
{
	uint32_t pasid = message->pasid.pasid;
	struct client_pasid *entry = pasid ? client_pasid_find(client, pasid) : NULL;

	if (!entry)
		return -EPROTO;
	if (pasid_state(client->set, pasid) == PASID_DRAINING) {
		pasid_unuse(broker->space, pasid);
		usage_give(&client->usage, RESOURCE_DRAINING, 1);
	} else if (pasid_free(client->set, pasid) != PASID_FREE) {
		return -EPROTO;
	}
	usage_give(&client->usage, RESOURCE_PASIDS, 1);
	usage_give(&client->usage, RESOURCE_FDS, entry->fds);
	*entry = (struct client_pasid){0};
	return 0;
}

/* --- queues and areas --- */

static struct client_queue *queue_entry(struct broker *broker, struct client *client)
{
	uint32_t most = broker->options.limits.of[RESOURCE_QUEUES].client;

	if (!client->queues) {
		client->queues = calloc(most, sizeof(*client->queues));
		client->queue_count = client->queues ? most : 0;
	}
	for (uint32_t i = 0; i < client->queue_count; i++)
		if (!client->queues[i].entries)
			return &client->queues[i];
	return NULL;
}

static int on_queue_take(struct broker *broker, struct client *client, struct link_message *message)
{
	struct link_queue *in = &message->queue;
	struct client_queue *entry;
	int rc;

	if (!in->entries)
		return -EPROTO;
	rc = take_two(broker, client, RESOURCE_QUEUES, RESOURCE_DESCRIPTORS, in->entries);
	if (rc)
		return rc;
	rc = take(broker, client, RESOURCE_FDS, 1);
	entry = rc ? NULL : queue_entry(broker, client);
	if (!entry) {
		usage_give(&client->usage, RESOURCE_QUEUES, 1);
		usage_give(&client->usage, RESOURCE_DESCRIPTORS, in->entries);
		usage_give(&client->usage, RESOURCE_FDS, !rc);
		return rc ? rc : -ENOMEM;
	}
	*entry = (struct client_queue){.entries = in->entries, .flags = in->flags};
	in->index = (uint32_t)(entry - client->queues);
	return 0;
}

static int on_queue_free(struct broker *broker, struct client *client, struct link_message *message)
{
	uint32_t index = message->queue.index;

	(void)broker;
	if (index >= client->queue_count || !client->queues[index].entries)
		return -EPROTO;
	usage_give(&client->usage, RESOURCE_QUEUES, 1);
	usage_give(&client->usage, RESOURCE_DESCRIPTORS, client->queues[index].entries);
	usage_give(&client->usage, RESOURCE_FDS, 1);
	client->queues[index].entries = 0;
	return 0;
}

static int on_area_take(struct broker *broker, struct client *client, struct link_message *message)
{
	(void)message;
	return take(broker, client, RESOURCE_AREAS, 1);
}

static int on_area_free(struct broker *broker, struct client *client, struct link_message *message)
{
	(void)broker;
	(void)message;
	if (!client->usage.used[RESOURCE_AREAS])
		return -EPROTO;
	usage_give(&client->usage, RESOURCE_AREAS, 1);
	return 0;
}

/* --- what has its own answer, or none --- */

static int on_list(struct broker *broker, struct client *client, struct link_message *message)
{
	if (client->listing)
		return -EPROTO;
	listing_begin(broker, client, message->cursor.cursor);
	return 0;
}

static int on_faults(struct broker *broker, struct client *client, struct link_message *message)
{
	reports_answer(broker, client, message->cursor.cursor);
	return 0;
}

static int on_fault(struct broker *broker, struct client *client, struct link_message *message)
{
	struct uiommu_fault_report *report = &message->report;
	const struct client_pasid *entry = client_pasid_find(client, report->fault.pasid);

	report->client = client->number;
	report->uid = client->uid;
	report->pid = entry && entry->pasid ? entry->pid : 0;
	memset(report->comm, 0, sizeof(report->comm));
	if (entry && entry->pasid)
		memcpy(report->comm, entry->comm, sizeof(entry->comm));
	report->vma_name[sizeof(report->vma_name) - 1] = 0;
	reports_add(broker, client, report);
	return 0;
}

static int on_log(struct broker *broker, struct client *client, struct link_message *message)
{
	(void)broker;
	message->log.text[sizeof(message->log.text) - 1] = 0;
	log_client(&client->log, "%s", message->log.text);
	return 0;
}

static int on_published(struct broker *broker, struct client *client, struct link_message *message)
{
	(void)message;
	listing_published(broker, client);
	return 0;
}

/* -EPROTO: the executor is not what it should be. */
typedef int (*handler)(struct broker *broker, struct client *client, struct link_message *message);

static const struct {
	handler handle;
	bool answer; /* the message itself, with the error */
	bool closed; /* also before the client has opened a device */
} rules[LINK_TYPES] = {
	[LINK_OPEN] = {on_open, true, true},
	[LINK_PASID_TAKE] = {on_pasid_take, true, false},
	[LINK_PASID_BOUND] = {on_pasid_bound, true, false},
	[LINK_PASID_DRAIN] = {on_pasid_drain, true, false},
	[LINK_PASID_FREE] = {on_pasid_free, true, false},
	[LINK_QUEUE_TAKE] = {on_queue_take, true, false},
	[LINK_QUEUE_FREE] = {on_queue_free, true, false},
	[LINK_AREA_TAKE] = {on_area_take, true, false},
	[LINK_AREA_FREE] = {on_area_free, true, false},
	[LINK_LIST] = {on_list, false, false},
	[LINK_FAULTS] = {on_faults, false, false},
	[LINK_FAULT] = {on_fault, false, false},
	[LINK_LOG] = {on_log, false, true},
	[LINK_PUBLISHED] = {on_published, false, true},
};

/* False: the client is served no more. */
static bool serve_one(struct broker *broker, struct client *client, struct link_message *message, ssize_t length)
{
	int rc;

	if (length != (ssize_t)sizeof(*message) || message->type >= LINK_TYPES || !rules[message->type].handle ||
	    (!client->open && !rules[message->type].closed)) {
		client_kill(broker, client, "its executor talks nonsense");
		return false;
	}
	rc = rules[message->type].handle(broker, client, message);
	if (rc == -EPROTO) {
		client_kill(broker, client, "its executor talks nonsense");
		return false;
	}
	if (!rules[message->type].answer)
		return client->state != CLIENT_KILLED;
	message->error = rc;
	return client_answer(broker, client, message, sizeof(*message));
}

bool client_serve(struct broker *broker, struct client *client)
{
	for (unsigned int i = 0; i < MESSAGES_PER_TURN; i++) {
		struct link_message message;
		ssize_t length = recv(client->link_fd, &message, sizeof(message), MSG_DONTWAIT | MSG_TRUNC);

		if (!length) {
			/* It ends, and its pidfd will say so; meanwhile this would be readable all the time. */
			epoll_ctl(broker->epoll_fd, EPOLL_CTL_DEL, client->link_fd, NULL);
			client_end(broker, client);
		}
		if (length <= 0 || !serve_one(broker, client, &message, length))
			return false;
	}
	return true;
}
