/* SPDX-License-Identifier: BSD-3-Clause */
#include "daemon/wire.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

union control {
	char bytes[CMSG_SPACE(PROTOCOL_FDS_MAX * sizeof(int))];
	struct cmsghdr align;
};

int wire_send(int fd, const void *message, size_t length, const int *fds, unsigned int count)
{
	struct iovec iov = {(void *)(uintptr_t)message, length};
	union control control = {0};
	struct msghdr header = {.msg_iov = &iov, .msg_iovlen = 1};
	ssize_t rc;

	if (count) {
		struct cmsghdr *cmsg = &control.align;

		header.msg_control = &control;
		header.msg_controllen = CMSG_SPACE(count * sizeof(int));
		cmsg->cmsg_level = SOL_SOCKET;
		cmsg->cmsg_type = SCM_RIGHTS;
		cmsg->cmsg_len = CMSG_LEN(count * sizeof(int));
		memcpy(CMSG_DATA(cmsg), fds, count * sizeof(int));
	}
	do
		rc = sendmsg(fd, &header, MSG_NOSIGNAL);
	while (rc < 0 && errno == EINTR);
	if (rc >= 0)
		return 0;
	return errno == ECONNRESET ? -EPIPE : -errno;
}

static void take_fds(struct msghdr *header, struct wire_fds *fds)
{
	for (struct cmsghdr *cmsg = CMSG_FIRSTHDR(header); cmsg; cmsg = CMSG_NXTHDR(header, cmsg)) {
		size_t bytes;

		if (cmsg->cmsg_level != SOL_SOCKET || cmsg->cmsg_type != SCM_RIGHTS)
			continue;
		bytes = cmsg->cmsg_len - CMSG_LEN(0);
		memcpy(fds->fds, CMSG_DATA(cmsg), bytes);
		fds->count = (unsigned int)(bytes / sizeof(int));
	}
}

ssize_t wire_receive(int fd, void *message, size_t size, struct wire_fds *fds, int flags)
{
	struct iovec iov = {message, size};
	union control control;
	struct msghdr header = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		/* Without the padding, which the kernel would fill with one descriptor more than there is room for. */
		.msg_controllen = CMSG_LEN(sizeof(fds->fds)),
	};
	unsigned int resets = 0;
	ssize_t length;

	fds->count = 0;
	fds->truncated = false;
	/* Linux says ECONNRESET once, before what is still queued, if the other side went without having read everything. */
	do
		length = recvmsg(fd, &header, flags | MSG_CMSG_CLOEXEC | MSG_TRUNC);
	while (length < 0 && (errno == EINTR || (errno == ECONNRESET && !resets++)));
	if (length < 0)
		return errno == ECONNRESET ? 0 : -errno;
	take_fds(&header, fds);
	fds->truncated = header.msg_flags & MSG_CTRUNC;
	return length;
}

void wire_close(struct wire_fds *fds)
{
	for (unsigned int i = 0; i < fds->count; i++)
		close(fds->fds[i]);
	fds->count = 0;
}
