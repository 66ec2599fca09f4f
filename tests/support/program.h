/* SPDX-License-Identifier: BSD-3-Clause */
/* A program of a session that runs in this process: what the shim says, without a shim. */
#ifndef SUPPORT_PROGRAM_H
#define SUPPORT_PROGRAM_H

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <uiommu/bind.h>
#include <unistd.h>

#include "abi/session/session.h"
#include "support/support.h"

struct program {
	int socket; /* -1: the session has hung up */
	uint64_t token; /* of the process, which may have several connections */
};

static inline int program_send(struct program *program, const void *data, size_t size, const int *fds, size_t count)
{
	char control[CMSG_SPACE(SESSION_HELLO_FDS * sizeof(int))] __attribute__((aligned(8))) = {0};
	struct iovec part = {(void *)(uintptr_t)data, size};
	struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};

	if (count) {
		struct cmsghdr *header = (struct cmsghdr *)(void *)control;

		*header = (struct cmsghdr){
			.cmsg_len = CMSG_LEN(count * sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
		memcpy(CMSG_DATA(header), fds, count * sizeof(int));
		message.msg_control = control;
		message.msg_controllen = CMSG_SPACE(count * sizeof(int));
	}
	return sendmsg(program->socket, &message, MSG_NOSIGNAL) < 0 ? -EPIPE : 0;
}

/* The descriptor that was announced, or -EMFILE. */
static inline int program_receive_fd(struct program *program)
{
	char byte, control[CMSG_SPACE(sizeof(int))] __attribute__((aligned(8)));
	struct iovec part = {&byte, 1};
	struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)};
	int fd;

	if (recvmsg(program->socket, &message, MSG_CMSG_CLOEXEC) != 1 || !CMSG_FIRSTHDR(&message))
		return -EMFILE;
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof(fd));
	return fd;
}

/* As the shim answers. */
static inline int program_answer(struct program *program, const struct session_reply *question, int came)
{
	struct {
		struct session_request request;
		uint8_t data[SESSION_PIECE];
	} message = {.request = {.op = SESSION_ANSWER, .number = (int)question->result}};
	size_t length = 0;
	int number = (int)question->result;

	switch (question->kind) {
	case SESSION_INSTALL:
		message.request.number = came;
		break;
	case SESSION_HAND_OVER:
		return program_send(program, &message.request, sizeof(message.request), &number, 1);
	case SESSION_CLOSE:
		close(number);
		break;
	case SESSION_FETCH:
		length = (size_t)question->result;
		/* NOLINTNEXTLINE(performance-no-int-to-ptr): it is one */
		memcpy(message.data, (const void *)(uintptr_t)question->offset, length);
		break;
	default: {
		struct session_reply behind;
		/* NOLINTNEXTLINE(performance-no-int-to-ptr): it is one */
		struct iovec parts[] = {{&behind, sizeof(behind)}, {(void *)(uintptr_t)question->offset, (size_t)question->result}};
		struct msghdr header = {.msg_iov = parts, .msg_iovlen = 2};

		if (recvmsg(program->socket, &header, 0) <= 0)
			return -EPIPE;
	}
	}
	return program_send(program, &message, sizeof(message.request) + length, NULL, 0);
}

/*
 * One call: what the session answers; -EPIPE: it has hung up. *@fd (may be NULL) is the descriptor that came with it. What is
 * inline of @request is at @inlined.
 */
static inline int64_t program_call(struct program *program, const struct session_request *request, const void *inlined,
				   const int *fds, size_t count, int *fd)
{
	uint8_t message[sizeof(*request) + SESSION_INLINE];

	memcpy(message, request, sizeof(*request));
	if (inlined)
		memcpy(message + sizeof(*request), inlined, request->length);
	if (program_send(program, message, sizeof(*request) + request->length, fds, count))
		return -EPIPE;
	for (;;) {
		struct session_reply reply;
		int came = -1;

		if (recv(program->socket, &reply, sizeof(reply), 0) != (ssize_t)sizeof(reply))
			return -EPIPE;
		if (reply.flags & SESSION_FD)
			came = program_receive_fd(program);
		if (reply.kind != SESSION_DONE) {
			if (program_answer(program, &reply, came))
				return -EPIPE;
			continue;
		}
		if (fd)
			*fd = came;
		else if (came >= 0)
			close(came);
		return reply.result;
	}
}

/* A connection; of @token 0, the first one, with @bundle of this process. 0, or what the session answers. */
static inline int program_connect(struct program *program, struct session *session, uint64_t token,
				  const struct uiommu_process *bundle)
{
	const struct session_request hello = {.op = SESSION_HELLO, .file = {SESSION_VERSION, token}, .argument = UINT64_MAX};
	const int fds[] = {bundle->mem, bundle->maps, bundle->auxv, bundle->pidfd};
	int64_t result;
	int ends[2], error;

	support_check(!socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends));
	program->socket = ends[0];
	error = connection_start(session, ends[1]);
	result = error ? error : program_call(program, &hello, NULL, fds, token ? 0 : 4, NULL);
	if (result <= 0) {
		close(program->socket);
		program->socket = -1;
		return result ? (int)result : -EPIPE;
	}
	program->token = (uint64_t)result;
	return 0;
}

/* A descriptor, or -errno. */
static inline int program_open(struct program *program, const char *name)
{
	const struct session_request request = {.op = SESSION_OPEN, .flags = 0, .length = (uint32_t)strlen(name) + 1};
	int fd = -1;
	int64_t result = program_call(program, &request, name, NULL, 0, &fd);

	return result < 0 ? (int)result : fd;
}

/* @size: of the struct, which goes with the call as far as there is room. */
static inline int64_t program_ioctl(struct program *program, int fd, unsigned long command, void *argument, size_t size)
{
	struct session_request request = {.op = SESSION_IOCTL,
					  .command = (uint32_t)command,
					  .argument = (uint64_t)(uintptr_t)argument,
					  .length = (uint32_t)(size < SESSION_INLINE ? size : SESSION_INLINE)};
	struct stat stat;

	support_check(!fstat(fd, &stat));
	request.file = (struct session_key){stat.st_dev, stat.st_ino};
	return program_call(program, &request, argument, NULL, 0, NULL);
}

#endif
