/* SPDX-License-Identifier: BSD-3-Clause */
/* Queues of a daemon. */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "client/client.h"
#include "devices/accel/queue.h"
#include "devices/accel/ring.h"
#include "util/util.h"

/* What the queue needs to say goodbye. */
struct remote {
	struct uiommu_client *client;
	uint32_t number;
};

static void destroy(struct uiommu_client *client, uint32_t number)
{
	struct protocol_queue_destroy payload = {.queue = number};
	struct protocol_status reply;
	struct client_request request = {
		PROTOCOL_QUEUE_DESTROY, &payload, sizeof(payload), NULL, 0, &reply, sizeof(reply), NULL, 0};

	/* If the connection is over, the queue is as well. */
	client_call(client, &request);
}

static void release(struct uiommu_queue *queue, void *opaque)
{
	struct remote *remote = opaque;

	(void)queue;
	destroy(remote->client, remote->number);
	client_put(remote->client);
	free(remote);
}

enum { RING, WAKE, INTERRUPT, FDS };

/* The queue takes over everything but the ring's descriptor. */
static int open_queue(struct uiommu_client *client, const struct protocol_queue_reply *reply, const int *fds,
		      struct uiommu_queue **out)
{
	struct queue_open open = {
		.entries = reply->entries,
		.wake_fd = fds[WAKE],
		.interrupt_fd = fds[INTERRUPT],
		.hangup_fd = client->fd,
		.release = release,
	};
	struct remote *remote = malloc(sizeof(*remote));
	int rc;

	if (!remote)
		return -ENOMEM;
	*remote = (struct remote){client, reply->queue};
	open.opaque = remote;
	rc = ring_map(fds[RING], reply->entries, &open.ring);
	if (rc) {
		free(remote);
		return rc == -EINVAL ? -EPROTO : rc;
	}
	rc = queue_open(&open, out);
	if (rc) {
		ring_unmap(open.ring, open.entries);
		free(remote);
		return rc;
	}
	client_get(client);
	return 0;
}

int uiommu_client_queue(struct uiommu_client *client, const struct uiommu_queue_config *config, struct uiommu_queue **out)
{
	const size_t least = offsetof(struct uiommu_queue_config, mdev_id);
	struct uiommu_queue_config known;
	struct protocol_queue payload;
	struct protocol_queue_reply reply;
	int fds[FDS], rc = copy_struct(&known, sizeof(known), least, config, config->size);
	struct client_request request = {PROTOCOL_QUEUE, &payload, sizeof(payload), NULL, 0, &reply, sizeof(reply), fds, FDS};

	if (rc)
		return rc;
	if (known.mdev_id || known.reserved)
		return -EOPNOTSUPP;
	payload = (struct protocol_queue){known.flags, known.entries, known.pasid, 0};
	rc = client_call(client, &request);
	if (rc)
		return rc;
	rc = open_queue(client, &reply, fds, out);
	close(fds[RING]);
	if (rc) {
		close(fds[WAKE]);
		close(fds[INTERRUPT]);
		destroy(client, reply.queue);
	}
	return rc;
}
