/* SPDX-License-Identifier: BSD-3-Clause */
/* Messages, as the daemon sends and receives them. */
#ifndef SESSION_MESSAGE_H
#define SESSION_MESSAGE_H

#include "abi/session/protocol.h"

struct session_message {
	struct session_request request;
	uint8_t inlined[SESSION_INLINE];
	int fds[SESSION_HELLO_FDS]; /* close-on-exec; -1: taken */
	unsigned int fd_count;
};

/* Waits. -EPIPE: the other side has gone, or what it sent makes no sense; then no descriptor is left. */
int session_receive(int socket, struct session_message *out);
/* One that may have descriptors. */
int session_receive_fds(int socket, struct session_message *out);

/* Close what nobody has taken. */
void session_message_close(struct session_message *message);

/* @fd: to be sent with it, or -1. -EPIPE. */
int session_send(int socket, struct session_reply *reply, int fd);

#endif
