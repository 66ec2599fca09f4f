/* SPDX-License-Identifier: BSD-3-Clause */
#include "abi/session/message.h"

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "util/util.h"

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

int session_send_data(int socket, const struct session_reply *reply, const void *data, size_t length)
{
	struct iovec parts[] = {{(void *)(uintptr_t)reply, sizeof(*reply)}, {(void *)(uintptr_t)data, length}};
	struct msghdr header = {.msg_iov = parts, .msg_iovlen = length ? 2 : 1};
	ssize_t sent;

	do
		sent = sendmsg(socket, &header, MSG_NOSIGNAL);
	while (sent < 0 && errno == EINTR);
	return sent < 0 ? -EPIPE : 0;
}

/* The answer to a question of @length bytes, of which @room come with it. */
static int receive_answer(int socket, size_t length, void *out, size_t room)
{
	struct session_request answer = {.op = SESSION_OPS};
	struct iovec parts[] = {{&answer, sizeof(answer)}, {out, room}};
	struct msghdr header = {.msg_iov = parts, .msg_iovlen = 2};
	ssize_t received;

	do
		received = recvmsg(socket, &header, MSG_TRUNC);
	while (received < 0 && errno == EINTR);
	if (received < (ssize_t)sizeof(answer) || answer.op != SESSION_ANSWER)
		return -EPIPE;
	if (answer.number < 0)
		return received == (ssize_t)sizeof(answer) ? -EFAULT : -EPIPE;
	return (size_t)answer.number == length && (size_t)received == sizeof(answer) + room ? 0 : -EPIPE;
}

int session_fetch(int socket, uint64_t address, void *out, size_t length)
{
	int error = 0;

	for (size_t done = 0, part; done < length && !error; done += part) {
		part = (size_t)min_u64(length - done, SESSION_PIECE);
		error = session_send_data(
			socket, &(struct session_reply){.kind = SESSION_FETCH, .result = (int64_t)part, .offset = address + done},
			NULL, 0);
		if (!error)
			error = receive_answer(socket, part, (uint8_t *)out + done, part);
	}
	return error;
}

int session_store(int socket, uint64_t address, const void *data, size_t length)
{
	int error = 0;

	for (size_t done = 0, part; done < length && !error; done += part) {
		part = (size_t)min_u64(length - done, SESSION_PIECE);
		error = session_send_data(
			socket, &(struct session_reply){.kind = SESSION_STORE, .result = (int64_t)part, .offset = address + done},
			NULL, 0);
		if (!error)
			error = session_send_data(socket, &(struct session_reply){.kind = SESSION_STORE},
						  (const uint8_t *)data + done, part);
		if (!error)
			error = receive_answer(socket, part, NULL, 0);
	}
	return error;
}

int session_swap(int socket, struct session_swap *swap)
{
	struct session_swap answer = {0};
	ssize_t length;

	do
		length = send(socket, swap, sizeof(*swap), MSG_NOSIGNAL);
	while (length < 0 && errno == EINTR);
	if (length < 0)
		return -EPIPE;
	do
		length = recv(socket, &answer, sizeof(answer), MSG_TRUNC);
	while (length < 0 && errno == EINTR);
	if (length != (ssize_t)sizeof(answer) || answer.address != swap->address)
		return -EPIPE;
	swap->expected = answer.expected;
	return answer.error ? -EFAULT : 0;
}
