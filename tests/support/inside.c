/* SPDX-License-Identifier: BSD-3-Clause */
#include "support/inside.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "support/support.h"

static void close_reply_fds(struct inside *inside)
{
	for (unsigned int i = 0; i < inside->reply_fd_count; i++)
		close(inside->reply_fds[i]);
	inside->reply_fd_count = 0;
}

static int take_reply(void *opaque, const void *message, size_t length, const int *fds, unsigned int count)
{
	struct inside *inside = opaque;

	if (inside->full)
		return -EAGAIN;
	support_check(length <= sizeof(inside->reply) && length >= sizeof(struct protocol_header) + sizeof(struct protocol_status));
	support_check(count <= PROTOCOL_FDS_MAX);
	close_reply_fds(inside);
	memcpy(&inside->reply, message, length);
	inside->reply_length = length;
	support_check(inside->reply.header.length == length && inside->reply.header.flags == PROTOCOL_REPLY);
	for (unsigned int i = 0; i < count; i++)
		inside->reply_fds[inside->reply_fd_count++] = fcntl(fds[i], F_DUPFD_CLOEXEC, 0);
	inside->replies++;
	return 0;
}

static bool served(const struct inside *inside)
{
	return inside->client->state != CLIENT_KILLED;
}

bool inside_tell_broker(struct inside *inside, const void *message, size_t length)
{
	if (!served(inside) || send(inside->link_fd, message, length, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
		return served(inside);
	client_serve(&inside->broker, inside->client);
	return served(inside);
}

static int ask(void *opaque, struct link_message *message, void *payload)
{
	struct inside *inside = opaque;
	union {
		struct link_answer head;
		struct link_message message;
		uint8_t bytes[sizeof(struct link_answer) + PROTOCOL_REPLY_MAX];
	} answer;
	ssize_t length;

	inside->asked++;
	if (!inside_tell_broker(inside, message, sizeof(*message)))
		return -EPIPE;
	for (;;) {
		struct link_message published = {.type = LINK_PUBLISHED};

		length = recv(inside->link_fd, &answer, sizeof(answer), MSG_DONTWAIT);
		if (length < (ssize_t)sizeof(answer.head))
			return -EPIPE;
		if (answer.head.type == message->type)
			break;
		if (answer.head.type == LINK_PUBLISH) {
			session_publish(&inside->session);
			inside_tell_broker(inside, &published, sizeof(published));
		}
	}
	if (answer.head.error)
		return answer.head.error;
	if (!payload) {
		*message = answer.message;
		return 0;
	}
	memcpy(payload, answer.bytes + sizeof(answer.head), (size_t)length - sizeof(answer.head));
	return (int)((size_t)length - sizeof(answer.head));
}

static bool tell(void *opaque, const struct link_message *message)
{
	return inside_tell_broker(opaque, message, sizeof(*message));
}

static void wake(void *opaque)
{
	struct inside *inside = opaque;

	__atomic_store_n(&inside->woken, true, __ATOMIC_RELAXED);
}

static const struct session_ops ops = {.send = take_reply, .ask = ask, .tell = tell, .wake = wake};

void inside_options(struct inside *inside)
{
	memset(inside, 0, sizeof(*inside));
	inside->options = (struct options){.executors = 8, .limits = limits_default, .turn_us = 500, .sandbox = SANDBOX_OFF};
	inside->options.devices[inside->options.device_count++] = "accel0";
}

void inside_start(struct inside *inside)
{
	struct session_config config = {
		.devices = inside->options.devices,
		.device_count = inside->options.device_count,
		.pasids_max = inside->options.limits.of[RESOURCE_PASIDS].client,
		.queues_max = inside->options.limits.of[RESOURCE_QUEUES].client,
	};
	int pair[2];

	support_check_errno(broker_prepare(&inside->broker, &inside->options), "prepare the broker");
	inside->client = client_new(&inside->broker, getuid(), getpid());
	support_check(inside->client && !socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair));
	cds_list_add_tail(&inside->client->link, &inside->broker.clients);
	inside->client->link_fd = pair[0];
	inside->link_fd = pair[1];
	config.client = inside->client->number;
	config.stats = inside->client->stats;
	support_check_errno(session_init(&inside->session, &config, &ops, inside), "make a session");
}

void inside_stop(struct inside *inside)
{
	session_fini(&inside->session);
	close_reply_fds(inside);
	close(inside->link_fd);
	cds_list_del(&inside->client->link);
	client_free(&inside->broker, inside->client);
	broker_release(&inside->broker);
}

const char *inside_feed(struct inside *inside, const void *message, size_t length, const int *fds, unsigned int fd_count)
{
	struct wire_fds copies = {.truncated = fd_count > PROTOCOL_FDS_MAX};

	for (unsigned int i = 0; i < fd_count && i < PROTOCOL_FDS_MAX; i++) {
		int fd = fcntl(fds[i], F_DUPFD_CLOEXEC, 0);

		if (fd >= 0)
			copies.fds[copies.count++] = fd;
	}
	return session_feed(&inside->session, message, length, &copies);
}

const char *inside_request(struct inside *inside, enum protocol_type type, const void *payload, size_t size, const int *fds,
			   unsigned int fd_count)
{
	struct {
		struct protocol_header header;
		uint8_t payload[PROTOCOL_REQUEST_MAX];
	} message = {.header = {.length = (uint32_t)(sizeof(message.header) + size), .type = (uint16_t)type, .cookie = 7}};

	support_check(size <= sizeof(message.payload));
	if (size)
		memcpy(message.payload, payload, size);
	return inside_feed(inside, &message, message.header.length, fds, fd_count);
}

const void *inside_payload(const struct inside *inside)
{
	return inside->reply.bytes + sizeof(struct protocol_header);
}

int inside_status(const struct inside *inside)
{
	return ((const struct protocol_status *)inside_payload(inside))->error;
}

void inside_hello(struct inside *inside)
{
	struct protocol_hello hello = {.version = PROTOCOL_VERSION};

	support_check(!inside_request(inside, PROTOCOL_HELLO, &hello, sizeof(hello), NULL, 0));
	support_check_errno(inside_status(inside), "hello");
}
