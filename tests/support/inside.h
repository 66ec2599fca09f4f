/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * uiommud without its sockets and processes: the broker's decisions and one client's session in this process. The client's socket
 * is a double; what the session asks the broker goes through the broker's real handlers.
 */
#ifndef SUPPORT_INSIDE_H
#define SUPPORT_INSIDE_H

#include "daemon/broker.h"
#include "daemon/session.h"

struct inside {
	struct options options; /* set before inside_start() */
	struct broker broker;
	struct client *client;
	struct session session;
	int link_fd; /* the executor's end */
	unsigned int asked; /* requests to the broker */

	/* The last reply. Descriptors of it are closed by the next one. */
	bool full; /* the client does not read */
	unsigned int replies;
	union {
		struct protocol_header header;
		uint8_t bytes[PROTOCOL_REPLY_MAX];
	} reply;
	size_t reply_length;
	int reply_fds[PROTOCOL_FDS_MAX];
	unsigned int reply_fd_count;
	bool woken;
};

/* Defaults: one device "accel0", few clients. */
void inside_options(struct inside *inside);
void inside_start(struct inside *inside);
void inside_stop(struct inside *inside);

/* Feed one request with a good header. Why the connection ends, or NULL. @fds stay the caller's. */
const char *inside_request(struct inside *inside, enum protocol_type type, const void *payload, size_t size, const int *fds,
			   unsigned int fd_count);

/* The same for whole messages, whatever is in them. */
const char *inside_feed(struct inside *inside, const void *message, size_t length, const int *fds, unsigned int fd_count);

/* What an executor that was taken over may say. False: the broker has ended the client. */
bool inside_tell_broker(struct inside *inside, const void *message, size_t length);

/* The status of the last reply. */
int inside_status(const struct inside *inside);
const void *inside_payload(const struct inside *inside);

/* A good client's first request. */
void inside_hello(struct inside *inside);

#endif
