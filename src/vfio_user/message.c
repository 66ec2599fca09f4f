/* SPDX-License-Identifier: BSD-3-Clause */
#include "vfio_user/message.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "util/util.h"

union control {
	char bytes[CMSG_SPACE(VFU_FDS_MAX * sizeof(int))];
	struct cmsghdr align;
};

static void close_all(const int *fds, unsigned int count)
{
	for (unsigned int i = 0; i < count; i++)
		if (fds[i] >= 0)
			close(fds[i]);
}

void message_free(struct message *message)
{
	if (!message)
		return;
	close_all(message->fds, message->fd_count);
	free(message);
}

void receiver_reset(struct receiver *receiver)
{
	if (receiver->message)
		message_free(receiver->message);
	else
		close_all(receiver->fds, receiver->fd_count);
	memset(receiver, 0, sizeof(*receiver));
}

/* Those that there is no room for are closed, and the message is none. */
static int take_fds(struct receiver *receiver, struct msghdr *header)
{
	int *fds = receiver->message ? receiver->message->fds : receiver->fds;
	unsigned int *count = receiver->message ? &receiver->message->fd_count : &receiver->fd_count;
	bool fits = !(header->msg_flags & MSG_CTRUNC);

	for (struct cmsghdr *cmsg = CMSG_FIRSTHDR(header); cmsg; cmsg = CMSG_NXTHDR(header, cmsg)) {
		const unsigned char *data = CMSG_DATA(cmsg);

		if (cmsg->cmsg_level != SOL_SOCKET || cmsg->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t bytes = cmsg->cmsg_len - CMSG_LEN(0); bytes >= sizeof(int); bytes -= sizeof(int), data += sizeof(int)) {
			int fd;

			memcpy(&fd, data, sizeof(fd));
			if (*count < VFU_FDS_MAX) {
				fds[(*count)++] = fd;
			} else {
				close(fd);
				fits = false;
			}
		}
	}
	return fits ? 0 : -EPROTO;
}

/* Some of @length bytes: their number, 0: none for now, or -errno. */
static ssize_t receive_some(struct receiver *receiver, int fd, void *bytes, size_t length)
{
	struct iovec iov = {bytes, length};
	union control control;
	struct msghdr header = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)};
	ssize_t got;
	int error;

	do
		got = recvmsg(fd, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	while (got < 0 && errno == EINTR);
	if (got < 0)
		return errno == EAGAIN || errno == EWOULDBLOCK ? 0 : -EPIPE;
	error = take_fds(receiver, &header);
	if (error)
		return error;
	return got ? got : -EPIPE;
}

static int begin_message(struct receiver *receiver)
{
	size_t size = receiver->header.size, length = size - sizeof(receiver->header);
	struct message *message;

	if (size < sizeof(receiver->header) || size > VFU_MESSAGE_MAX || receiver->header.flags & ~(uint32_t)VFU_FLAGS)
		return -EPROTO;
	message = malloc(sizeof(*message) + length);
	if (!message)
		return -ENOMEM;
	*message = (struct message){.header = receiver->header, .length = length, .fd_count = receiver->fd_count};
	memcpy(message->fds, receiver->fds, sizeof(message->fds));
	receiver->message = message;
	return 0;
}

int message_receive(struct receiver *receiver, int fd, struct message **out)
{
	const size_t head = sizeof(receiver->header);

	for (;;) {
		size_t end = receiver->message ? receiver->header.size : head;
		uint8_t *bytes = receiver->message ? receiver->message->payload - head : (uint8_t *)&receiver->header;
		ssize_t got;

		if (receiver->got == end && receiver->message) {
			*out = receiver->message;
			memset(receiver, 0, sizeof(*receiver));
			return RECEIVE_MESSAGE;
		}
		if (receiver->got == end) {
			int error = begin_message(receiver);

			if (error)
				return error;
			continue;
		}
		got = receive_some(receiver, fd, bytes + receiver->got, end - receiver->got);
		if (got <= 0)
			return (int)got;
		receiver->got += (size_t)got;
	}
}

static void attach_fd(struct msghdr *header, union control *control, int fd)
{
	header->msg_control = control;
	header->msg_controllen = CMSG_SPACE(sizeof(int));
	control->align.cmsg_level = SOL_SOCKET;
	control->align.cmsg_type = SCM_RIGHTS;
	control->align.cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(&control->align), &fd, sizeof(fd));
}

bool message_room(int fd, int stop_fd)
{
	struct pollfd fds[] = {{.fd = fd, .events = POLLOUT}, {.fd = stop_fd, .events = POLLIN}};

	while (poll(fds, ARRAY_SIZE(fds), -1) < 0)
		;
	return !fds[1].revents;
}

int message_send(int fd, int stop_fd, const struct vfu_header *header, const struct iovec payload[2], int with_fd)
{
	struct iovec iov[] = {{(void *)(uintptr_t)header, sizeof(*header)}, payload[0], payload[1]};
	struct msghdr message = {.msg_iov = iov, .msg_iovlen = 3};
	union control control = {0};

	if (with_fd >= 0)
		attach_fd(&message, &control, with_fd);
	while (message.msg_iovlen) {
		ssize_t sent = sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (sent < 0 && (errno == EINTR || (errno == EAGAIN && message_room(fd, stop_fd))))
			continue;
		if (sent < 0)
			return -EPIPE;
		message.msg_control = NULL; /* it went with the first byte */
		message.msg_controllen = 0;
		while (message.msg_iovlen && (size_t)sent >= message.msg_iov->iov_len) {
			sent -= (ssize_t)message.msg_iov->iov_len;
			message.msg_iov++;
			message.msg_iovlen--;
		}
		if (message.msg_iovlen) {
			message.msg_iov->iov_base = (char *)message.msg_iov->iov_base + sent;
			message.msg_iov->iov_len -= (size_t)sent;
		}
	}
	return 0;
}
