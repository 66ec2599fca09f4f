/* SPDX-License-Identifier: BSD-3-Clause */
/* The socket that clients connect to. */
#ifndef DAEMON_LISTEN_H
#define DAEMON_LISTEN_H

#include <sys/un.h>

#include "daemon/options.h"

struct listening {
	int fd;
	int lock_fd; /* -1: the socket was handed to us */
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
	char lock_path[sizeof(((struct sockaddr_un *)0)->sun_path) + 8];
};

/* Prints why on failure. */
int listen_open(const struct options *options, struct listening *out);

/* Remove what listen_open() made in the file system. */
void listen_close(struct listening *listening);

/*
 * Where the kernel can (Linux 6.16), nobody can send descriptors to @fd, nor to what is accepted from it, until it is told
 * otherwise: to receive or to drop one may block.
 */
void socket_refuse_rights(int fd);
void socket_accept_rights(int fd);

#endif
