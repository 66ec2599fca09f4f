/* SPDX-License-Identifier: BSD-3-Clause */
/* The last faults of all clients, none of whom can push out all the others'. */
#include <string.h>
#include <time.h>

#include "daemon/broker.h"

static void forget(struct reports *reports, uint32_t index)
{
	reports->count--;
	memmove(&reports->list[index], &reports->list[index + 1], (reports->count - index) * sizeof(reports->list[0]));
	explicit_bzero(&reports->list[reports->count], sizeof(reports->list[0]));
}

/* Nothing is left behind the last one. */
void reports_wipe(struct reports *reports)
{
	explicit_bzero(reports->list, reports->count * sizeof(reports->list[0]));
	reports->count = 0;
}

/* The oldest of this client's if it has its share, the oldest of all if there is no room. */
static void make_room(struct reports *reports, uint32_t number)
{
	uint32_t own = 0, oldest = 0;

	for (uint32_t i = reports->count; i-- > 0;) {
		if (reports->list[i].report.client == number) {
			own++;
			oldest = i;
		}
	}
	if (own >= REPORTS_PER_CLIENT)
		forget(reports, oldest);
	else if (reports->count == REPORTS_MAX)
		forget(reports, 0);
}

void reports_add(struct broker *broker, const struct client *client, const struct uiommu_fault_report *report)
{
	struct reports *reports = &broker->reports;
	struct report *entry;
	struct timespec now;

	make_room(reports, client->number);
	entry = &reports->list[reports->count++];
	*entry = (struct report){.sequence = ++reports->sequence, .report = *report};
	clock_gettime(CLOCK_REALTIME, &now);
	entry->report.time_ns = (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
	memset(entry->report.device, 0, sizeof(entry->report.device));
	strncpy(entry->report.device, broker->options.devices[client->device], sizeof(entry->report.device) - 1);
}

static uint64_t lost(struct broker *broker, const struct client *viewer)
{
	const struct client *client;
	uint64_t sum = 0;

	cds_list_for_each_entry (client, &broker->clients, link)
		if (client->open && listing_may_see(viewer, client->uid))
			sum += stats_load(&client->stats->lost_reports);
	return sum;
}

void reports_answer(struct broker *broker, struct client *client, uint64_t cursor)
{
	struct link_answer *head = (struct link_answer *)(void *)broker->answer;
	struct protocol_faults_reply *reply = (struct protocol_faults_reply *)(void *)(broker->answer + sizeof(*head));
	const struct reports *reports = &broker->reports;

	*head = (struct link_answer){.type = LINK_FAULTS};
	memset(reply, 0, sizeof(*reply));
	reply->report_size = sizeof(struct uiommu_fault_report);
	reply->lost = lost(broker, client);
	for (uint32_t i = reports->count; i-- > 0;) {
		const struct report *entry = &reports->list[i];

		if ((cursor && entry->sequence >= cursor) || !listing_may_see(client, entry->report.uid))
			continue;
		if (reply->count == PROTOCOL_REPORTS_MAX) {
			/* The next request goes on behind the last one of this reply. */
			reply->cursor = entry->sequence + 1;
			break;
		}
		reply->reports[reply->count++] = entry->report;
	}
	client_answer(broker, client, broker->answer, sizeof(*head) + sizeof(*reply) + reply->count * sizeof(reply->reports[0]));
}
