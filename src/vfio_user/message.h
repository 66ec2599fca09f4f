/* SPDX-License-Identifier: BSD-3-Clause */
/* Messages on a stream socket: whole ones, with their descriptors. */
#ifndef VFIO_USER_MESSAGE_H
#define VFIO_USER_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/uio.h>
#include <urcu/list.h>

#include "vfio_user/spec.h"

struct port;

struct message {
	struct cds_list_head link; /* in the server's queue */
	struct port *port;
	bool end; /* no message: the connection has ended */
	struct vfu_header header;
	size_t length; /* of the payload */
	unsigned int fd_count;
	int fds[VFU_FDS_MAX];
	uint8_t payload[] __attribute__((aligned(8)));
};

void message_free(struct message *message); /* NULL does nothing; closes what is left of @fds */

/* A message that is being received. */
struct receiver {
	struct vfu_header header;
	size_t got; /* bytes, of header and payload */
	struct message *message; /* once the header is complete */
	unsigned int fd_count; /* until then */
	int fds[VFU_FDS_MAX];
};

enum { RECEIVE_NOTHING = 0, RECEIVE_MESSAGE = 1 };

/*
 * Go on receiving, without waiting: RECEIVE_MESSAGE: @out is whole, and the caller's. RECEIVE_NOTHING: there is no more for now.
 * -EPIPE: the other side has ended. -EPROTO: what came is no message. -ENOMEM.
 */
int message_receive(struct receiver *receiver, int fd, struct message **out);

/* Give back what has been received of a message. */
void receiver_reset(struct receiver *receiver);

/*
 * Send header and payload, in two pieces of which either may be empty, with at most one descriptor (or -1). Waits until there is
 * room, or until @stop_fd can be read. -EPIPE: not all of it has been sent, and nothing can follow.
 */
int message_send(int fd, int stop_fd, const struct vfu_header *header, const struct iovec payload[2], int with_fd);

/* Until there is room. False: @stop_fd can be read. */
bool message_room(int fd, int stop_fd);

#endif
