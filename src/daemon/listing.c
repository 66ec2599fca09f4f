/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * LIST: what there is, with numbers that include everything that was complete when the request came. So the executors are asked to
 * bring theirs up to date first; the answer is given when they have, or when a short time is over: an executor that is stuck keeps
 * its old numbers, and nobody waits for it.
 */
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/broker.h"
#include "pasid/pasid.h"
#include "util/clock.h"
#include "util/util.h"

enum { LISTING_WAIT_MS = 100 };

bool listing_may_see(const struct client *client, uint32_t uid)
{
	return client->uid == 0 || client->uid == (uint32_t)getuid() || client->uid == uid;
}

/* Whose numbers can still become newer. What is dying is listed as long as it is there, with the numbers that it had. */
static bool publishes(const struct client *viewer, const struct client *client)
{
	return client->open && client->state == CLIENT_SERVED && !client->publish_late && listing_may_see(viewer, client->uid);
}

/* --- the numbers --- */

static void sum_client(const struct broker *broker, const struct client *client, struct stats_entry *sum, uint64_t *descriptors)
{
	uint64_t *queues = stats_queues(client->stats, broker->options.limits.of[RESOURCE_PASIDS].client);

	stats_sum(sum, &client->stats->ended);
	stats_sum(sum, &client->stats->ioas);
	for (uint32_t i = 0; i < client->pasid_count; i++)
		stats_sum(sum, &client->stats->pasids[i]);
	*descriptors += stats_load(&client->stats->descriptors);
	for (uint32_t i = 0; i < client->queue_count; i++)
		*descriptors += stats_load(&queues[i]);
}

void listing_account(struct broker *broker, const struct client *client)
{
	if (client->open)
		sum_client(broker, client, &broker->device_ended[client->device], &broker->device_descriptors[client->device]);
}

static void item_numbers(struct uiommu_item *item, const struct stats_entry *entry)
{
	item->bytes_read = stats_load(&entry->bytes_read);
	item->bytes_written = stats_load(&entry->bytes_written);
	item->faults = stats_load(&entry->faults);
	item->discarded = stats_load(&entry->discarded);
}

/* --- items, in this order: devices; then for each client itself, its queues, its PASIDs --- */

struct writer {
	const struct client *viewer;
	struct protocol_list_reply *reply;
	uint64_t cursor; /* items before this one were in earlier replies */
	bool full;
};

/* Position of an item: client number, then a counter within it. The devices are those of client 0. */
static uint64_t position(uint32_t client, uint32_t index)
{
	return (uint64_t)client << 32 | index;
}

static struct uiommu_item *writer_next(struct writer *writer, uint64_t at)
{
	struct uiommu_item *item;

	if (writer->full || at < writer->cursor)
		return NULL;
	if (writer->reply->count == PROTOCOL_ITEMS_MAX) {
		writer->full = true;
		writer->reply->cursor = at;
		return NULL;
	}
	item = &writer->reply->items[writer->reply->count++];
	memset(item, 0, sizeof(*item));
	return item;
}

static void write_device(struct broker *broker, struct writer *writer, uint32_t index)
{
	struct uiommu_item *item = writer_next(writer, position(0, index));
	struct stats_entry sum = broker->device_ended[index];
	struct client *client;

	if (!item)
		return;
	item->type = UIOMMU_ITEM_DEVICE;
	item->id = index;
	item->descriptors = broker->device_descriptors[index];
	cds_list_for_each_entry (client, &broker->clients, link)
		if (client->open && client->device == index)
			sum_client(broker, client, &sum, &item->descriptors);
	item_numbers(item, &sum);
	strncpy(item->name, broker->options.devices[index], sizeof(item->name) - 1);
}

static void item_owner(struct uiommu_item *item, const struct client *client)
{
	item->client = client->number;
	item->uid = client->uid;
}

static void write_pasid(struct writer *writer, const struct client *client, uint32_t index, uint64_t at)
{
	static const uint32_t states[] = {[PASID_ALLOCATED] = UIOMMU_STATE_ALLOCATED,
					  [PASID_BOUND] = UIOMMU_STATE_BOUND,
					  [PASID_DRAINING] = UIOMMU_STATE_DRAINING};
	const struct client_pasid *pasid = &client->pasids[index];
	struct uiommu_item *item = writer_next(writer, at);

	if (!item)
		return;
	item_owner(item, client);
	item->type = UIOMMU_ITEM_PASID;
	item->state = states[pasid_state(client->set, pasid->pasid)];
	item->id = pasid->pasid;
	item->pid = pasid->pid;
	item->flags = pasid->access;
	item->count = (uint32_t)stats_load(&client->stats->pasids[index].holders);
	item_numbers(item, &client->stats->pasids[index]);
	memcpy(item->name, pasid->comm, sizeof(pasid->comm));
}

static void write_client(const struct broker *broker, struct writer *writer, const struct client *client)
{
	const uint64_t *queues = stats_queues(client->stats, broker->options.limits.of[RESOURCE_PASIDS].client);
	struct uiommu_item *item = writer_next(writer, position(client->number, 0));
	struct stats_entry sum = {0};

	if (item) {
		item_owner(item, client);
		item->type = UIOMMU_ITEM_CLIENT;
		item->id = client->number;
		item->pid = client->pid;
		item->flags = broker->options.limits.of[RESOURCE_PASIDS].client;
		item->count = pasid_set_count(client->set);
		sum_client(broker, client, &sum, &item->descriptors);
		item_numbers(item, &sum);
		memcpy(item->name, client->comm, sizeof(client->comm));
	}
	for (uint32_t i = 0; i < client->queue_count; i++) {
		item = client->queues[i].entries ? writer_next(writer, position(client->number, 1 + i)) : NULL;
		if (!item)
			continue;
		item_owner(item, client);
		item->type = UIOMMU_ITEM_QUEUE;
		item->id = i + 1;
		item->flags = client->queues[i].flags;
		item->descriptors = stats_load(&queues[i]);
	}
	for (uint32_t i = 0; i < client->pasid_count; i++)
		if (client->pasids[i].pasid && pasid_state(client->set, client->pasids[i].pasid) != PASID_FREE)
			write_pasid(writer, client, i, position(client->number, 1 + client->queue_count + i));
}

static void answer(struct broker *broker, struct client *viewer, uint64_t cursor)
{
	struct link_answer *head = (struct link_answer *)(void *)broker->answer;
	struct writer writer = {.viewer = viewer,
				.reply = (struct protocol_list_reply *)(void *)(broker->answer + sizeof(*head)),
				.cursor = cursor};
	struct client *client;

	*head = (struct link_answer){.type = LINK_LIST};
	memset(writer.reply, 0, sizeof(*writer.reply));
	writer.reply->item_size = sizeof(struct uiommu_item);
	for (uint32_t i = 0; i < broker->options.device_count; i++)
		write_device(broker, &writer, i);
	cds_list_for_each_entry (client, &broker->clients, link)
		if (listing_may_see(viewer, client->uid) && !client->refused)
			write_client(broker, &writer, client);
	client_answer(broker, viewer, broker->answer,
		      sizeof(*head) + sizeof(*writer.reply) + writer.reply->count * sizeof(struct uiommu_item));
}

/* --- waiting for numbers --- */

static void ask_to_publish(struct broker *broker, struct client *client)
{
	struct link_answer message = {.type = LINK_PUBLISH};

	if (client->publish_asked != client->publish_done)
		return; /* one at a time; the next one when it has answered */
	client->publish_asked = broker->publishings;
	/* Who cannot even be asked is not waited for. */
	if (send(client->link_fd, &message, sizeof(message), MSG_NOSIGNAL) < 0)
		client->publish_done = client->publish_asked;
}

static bool complete(struct broker *broker, const struct client *viewer)
{
	struct client *client;

	cds_list_for_each_entry (client, &broker->clients, link)
		if (publishes(viewer, client) && client->publish_done < viewer->listing)
			return false;
	return true;
}

static void finish(struct broker *broker, struct client *viewer)
{
	viewer->listing = 0;
	answer(broker, viewer, 0);
}

void listing_check(struct broker *broker)
{
	struct client *viewer;

	cds_list_for_each_entry (viewer, &broker->clients, link) {
		if (viewer->listing && viewer->state != CLIENT_KILLED && complete(broker, viewer)) {
			finish(broker, viewer);
			/* An answer that cannot be given ends its client, and checks again. */
			if (viewer->state == CLIENT_KILLED)
				return;
		}
	}
}

void listing_begin(struct broker *broker, struct client *viewer, uint64_t cursor)
{
	struct client *client;

	if (cursor) {
		answer(broker, viewer, cursor);
		return;
	}
	viewer->listing = ++broker->publishings;
	viewer->listing_deadline = clock_ms() + LISTING_WAIT_MS;
	cds_list_for_each_entry (client, &broker->clients, link) {
		if (!publishes(viewer, client))
			continue;
		client->publish_wanted = viewer->listing;
		ask_to_publish(broker, client);
	}
	broker_set_timer(broker, viewer->listing_deadline);
	listing_check(broker);
}

void listing_published(struct broker *broker, struct client *client)
{
	client->publish_done = client->publish_asked;
	client->publish_late = false;
	if (client->publish_wanted > client->publish_done)
		ask_to_publish(broker, client);
	listing_check(broker);
}

/* Those that @viewer has waited for in vain. */
static void give_up(struct broker *broker, const struct client *viewer)
{
	struct client *client;

	cds_list_for_each_entry (client, &broker->clients, link)
		if (publishes(viewer, client) && client->publish_done < viewer->listing)
			client->publish_late = true;
}

void listing_expire(struct broker *broker, uint64_t now)
{
	struct client *viewer;

	cds_list_for_each_entry (viewer, &broker->clients, link) {
		if (!viewer->listing || viewer->state == CLIENT_KILLED)
			continue;
		if (viewer->listing_deadline > now) {
			broker_set_timer(broker, viewer->listing_deadline);
			continue;
		}
		give_up(broker, viewer);
		finish(broker, viewer);
	}
}
