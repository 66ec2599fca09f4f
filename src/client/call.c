/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "client/client.h"
#include "daemon/wire.h"
#include "util/fork.h"

/* With the lock. The connection is over for everybody. */
static void break_all(struct uiommu_client *client, int error)
{
	struct call *call, *next;

	if (!client->broken)
		client->broken = error;
	cds_list_for_each_entry_safe (call, next, &client->calls, link) {
		cds_list_del(&call->link);
		call->error = client->broken;
		call->done = true;
	}
}

static struct call *find(struct uiommu_client *client, const struct protocol_header *header)
{
	struct call *call;

	cds_list_for_each_entry (call, &client->calls, link)
		if (call->cookie == header->cookie && call->type == header->type)
			return call;
	return NULL;
}

/* Hand a reply over. Descriptors that nobody expects stay in @fds. */
static void deliver(struct call *call, const uint8_t *message, size_t length, struct wire_fds *fds)
{
	length -= sizeof(struct protocol_header);
	memset(call->reply, 0, call->reply_size);
	memcpy(call->reply, message + sizeof(struct protocol_header), length < call->reply_size ? length : call->reply_size);
	if (!((const struct protocol_status *)call->reply)->error) {
		if (fds->count == call->fd_count) {
			/* No descriptors, no array for them. */
			if (fds->count)
				memcpy(call->fds, fds->fds, fds->count * sizeof(int));
			fds->count = 0;
		} else {
			call->error = -EPROTO;
		}
	}
	cds_list_del(&call->link);
	call->done = true;
}

/* Why the daemon ended the connection, if it has said so. */
static int end_reason(const uint8_t *message, size_t length)
{
	struct protocol_status status = {.error = -EPIPE};

	if (length >= sizeof(struct protocol_header) + sizeof(status))
		memcpy(&status, message + sizeof(struct protocol_header), sizeof(status));
	return status.error < 0 && status.error > -4096 ? status.error : -EPIPE;
}

/* With the lock: look at what was received. */
static void take(struct uiommu_client *client, ssize_t length, struct wire_fds *fds)
{
	struct protocol_header header;
	struct call *call;

	if (length < (ssize_t)sizeof(header) || length > (ssize_t)sizeof(client->buffer)) {
		break_all(client, -EPIPE);
		return;
	}
	memcpy(&header, client->buffer, sizeof(header));
	call = find(client, &header);
	if (header.type == PROTOCOL_END)
		break_all(client, end_reason(client->buffer, (size_t)length));
	else if (header.length != (size_t)length || !(header.flags & PROTOCOL_REPLY) || !call ||
		 header.length < sizeof(header) + sizeof(struct protocol_status))
		break_all(client, -EPROTO);
	else
		deliver(call, client->buffer, (size_t)length, fds);
}

/* With the lock, which is released meanwhile. */
static void receive(struct uiommu_client *client)
{
	struct wire_fds fds;
	ssize_t length;

	client->receiving = true;
	pthread_mutex_unlock(&client->lock);
	length = wire_receive(client->fd, client->buffer, sizeof(client->buffer), &fds, 0);
	pthread_mutex_lock(&client->lock);
	client->receiving = false;
	take(client, length, &fds);
	wire_close(&fds);
	pthread_cond_broadcast(&client->received);
}

/* With the lock. */
static int send_request(struct uiommu_client *client, const struct client_request *request, uint64_t cookie)
{
	uint8_t message[PROTOCOL_REQUEST_MAX];
	struct protocol_header header = {
		.length = (uint32_t)(sizeof(header) + request->payload_size), .type = (uint16_t)request->type, .cookie = cookie};

	memcpy(message, &header, sizeof(header));
	if (request->payload_size)
		memcpy(message + sizeof(header), request->payload, request->payload_size);
	return wire_send(client->fd, message, header.length, request->fds, request->fd_count);
}

/* With the lock. */
static int exchange(struct uiommu_client *client, const struct client_request *request, struct call *call)
{
	int rc = client->broken;

	if (rc)
		return rc;
	call->type = (uint16_t)request->type;
	call->cookie = ++client->cookie;
	rc = send_request(client, request, call->cookie);
	/* What the daemon said before it hung up is still to be read. */
	if (rc && rc != -EPIPE)
		return rc;
	cds_list_add_tail(&call->link, &client->calls);
	while (!call->done) {
		if (client->receiving)
			pthread_cond_wait(&client->received, &client->lock);
		else
			receive(client);
	}
	return call->error;
}

int client_call(struct uiommu_client *client, const struct client_request *request)
{
	struct call call = {.reply = request->reply,
			    .reply_size = request->reply_size,
			    .fds = request->reply_fds,
			    .fd_count = request->reply_fd_count};
	int rc;

	if (!fork_is_owner(client->owner))
		return -EOWNERDEAD;
	pthread_mutex_lock(&client->lock);
	rc = exchange(client, request, &call);
	pthread_mutex_unlock(&client->lock);
	return rc ? rc : ((const struct protocol_status *)request->reply)->error;
}
