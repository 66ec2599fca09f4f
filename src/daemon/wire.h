/* SPDX-License-Identifier: BSD-3-Clause */
/* One message with file descriptors on a SOCK_SEQPACKET socket. Used by both sides. */
#ifndef DAEMON_WIRE_H
#define DAEMON_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "daemon/protocol.h"

struct wire_fds {
	int fds[PROTOCOL_FDS_MAX]; /* close-on-exec */
	unsigned int count;
	bool truncated; /* there were more; they are closed */
};

/* 0, -EAGAIN (a non-blocking socket is full), -EPIPE (the other side is gone), -errno of sendmsg(2). */
int wire_send(int fd, const void *message, size_t length, const int *fds, unsigned int count);

/*
 * Length of the message, which may be more than @size (then it is cut); 0: the other side is gone, or an empty message; -EAGAIN,
 * -errno of recvmsg(2). @flags as recvmsg(2).
 */
ssize_t wire_receive(int fd, void *message, size_t size, struct wire_fds *fds, int flags);

void wire_close(struct wire_fds *fds);

#endif
