/* SPDX-License-Identifier: BSD-3-Clause */
/* Messages, as the daemon sends and receives them. */
#ifndef SESSION_MESSAGE_H
#define SESSION_MESSAGE_H

#include <stddef.h>

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
/* With @length bytes of @data behind it. */
int session_send_data(int socket, const struct session_reply *reply, const void *data, size_t length);

/* What the program has at an address, or has written there: SESSION_FETCH, SESSION_STORE. -EFAULT; -EPIPE. */
int session_fetch(int socket, uint64_t address, void *out, size_t length);
int session_store(int socket, uint64_t address, const void *data, size_t length);

/* A SESSION_SWAPPER does it; who asks is alone. @expected becomes what was there. -EFAULT; -EPIPE. */
int session_swap(int socket, struct session_swap *swap);

#endif
