/* SPDX-License-Identifier: BSD-3-Clause */
/* The other side of a vfio-user socket, message by message. */
#ifndef TESTS_UNIT_VFIO_USER_PEER_H
#define TESTS_UNIT_VFIO_USER_PEER_H

#include "test.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "vfio_user/spec.h"

static inline int peer_connect(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	strcpy(address.sun_path, path);
	assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	return fd;
}

/* With @with_fd, unless it is -1. */
static inline void peer_say(int fd, struct vfu_header header, const void *payload, size_t length, int with_fd)
{
	uint8_t message[sizeof(struct vfu_header) + 512];
	struct iovec iov = {message, sizeof(header) + length};
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = {0};
	struct msghdr with = {.msg_iov = &iov, .msg_iovlen = 1};

	header.size = (uint32_t)iov.iov_len;
	memcpy(message, &header, sizeof(header));
	if (length)
		memcpy(message + sizeof(header), payload, length);
	if (with_fd >= 0) {
		with.msg_control = &control;
		with.msg_controllen = sizeof(control);
		control.align =
			(struct cmsghdr){.cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
		memcpy(CMSG_DATA(&control.align), &with_fd, sizeof(with_fd));
	}
	assert_int_equal(sendmsg(fd, &with, MSG_NOSIGNAL), header.size);
}

static inline void peer_hear(int fd, struct vfu_header *header, uint8_t *payload)
{
	assert_int_equal(recv(fd, header, sizeof(*header), MSG_WAITALL), sizeof(*header));
	assert_true(header->size - sizeof(*header) <= 512);
	if (header->size > sizeof(*header))
		assert_int_equal(recv(fd, payload, header->size - sizeof(*header), MSG_WAITALL), header->size - sizeof(*header));
}

#endif
