/* SPDX-License-Identifier: BSD-3-Clause */
#include "abi/session/message.h"

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

union control {
	char bytes[CMSG_SPACE(SESSION_HELLO_FDS * sizeof(int))];
	struct cmsghdr align;
};

static void take_fds(struct msghdr *header, struct session_message *out)
{
	struct cmsghdr *cmsg = CMSG_FIRSTHDR(header);

	if (!cmsg || cmsg->cmsg_level != SOL_SOCKET || cmsg->cmsg_type != SCM_RIGHTS)
		return;
	out->fd_count = (unsigned int)((cmsg->cmsg_len - CMSG_LEN(0)) / sizeof(int));
	memcpy(out->fds, CMSG_DATA(cmsg), out->fd_count * sizeof(int));
}

static bool is_whole(const struct session_message *message, ssize_t length)
{
	return length >= (ssize_t)sizeof(message->request) &&
	       (size_t)length == sizeof(message->request) + message->request.length && message->request.op < SESSION_OPS;
}

_Static_assert(offsetof(struct session_message, inlined) == sizeof(struct session_request), "one piece");
enum { MESSAGE_MAX = sizeof(struct session_request) + SESSION_INLINE };

int session_receive(int socket, struct session_message *out)
{
	ssize_t length;

	out->fd_count = 0;
	do
		length = recv(socket, out, MESSAGE_MAX, MSG_TRUNC);
	while (length < 0 && errno == EINTR);
	return is_whole(out, length) ? 0 : -EPIPE;
}

int session_receive_fds(int socket, struct session_message *out)
{
	struct iovec part = {out, MESSAGE_MAX};
	union control control;
	struct msghdr header = {
		.msg_iov = &part,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = CMSG_LEN(sizeof(out->fds)),
	};
	ssize_t length;

	out->fd_count = 0;
	do
		length = recvmsg(socket, &header, MSG_CMSG_CLOEXEC | MSG_TRUNC);
	while (length < 0 && errno == EINTR);
	if (length <= 0)
		return -EPIPE;
	take_fds(&header, out);
	if (!(header.msg_flags & MSG_CTRUNC) && is_whole(out, length))
		return 0;
	session_message_close(out);
	return -EPIPE;
}

void session_message_close(struct session_message *message)
{
	for (unsigned int i = 0; i < message->fd_count; i++)
		if (message->fds[i] >= 0)
			close(message->fds[i]);
	message->fd_count = 0;
}

static int send_fd(int socket, int fd)
{
	char byte = 0;
	struct iovec part = {&byte, 1};
	union control control = {0};
	struct msghdr header = {
		.msg_iov = &part,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = CMSG_SPACE(sizeof(fd)),
	};
	ssize_t length;

	control.align.cmsg_level = SOL_SOCKET;
	control.align.cmsg_type = SCM_RIGHTS;
	control.align.cmsg_len = CMSG_LEN(sizeof(fd));
	memcpy(CMSG_DATA(&control.align), &fd, sizeof(fd));
	do
		length = sendmsg(socket, &header, MSG_NOSIGNAL);
	while (length < 0 && errno == EINTR);
	return length < 0 ? -EPIPE : 0;
}

int session_send(int socket, struct session_reply *reply, int fd)
{
	ssize_t length;

	reply->flags |= fd >= 0 ? SESSION_FD : 0;
	do
		length = send(socket, reply, sizeof(*reply), MSG_NOSIGNAL);
	while (length < 0 && errno == EINTR);
	if (length < 0)
		return -EPIPE;
	return fd >= 0 ? send_fd(socket, fd) : 0;
}
