/* SPDX-License-Identifier: BSD-3-Clause */
/* A connection's thread: the calls of a program, one at a time. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <uiommu/bind.h>
#include <unistd.h>

#include "abi/record.h"
#include "abi/session/check.h"
#include "abi/session/message.h"
#include "abi/session/session.h"
#include "util/util.h"

struct connection {
	struct abi_caller caller;
	struct abi_swapper swapper;
	struct peer peer;
	struct session *session;
	struct member *member;
	int fd;
	bool gone; /* the program does not answer any more */
	bool swaps; /* it is the swapper's */
	/* What a read(2) gives goes with the answer, as far as there is room: */
	uint8_t tail[SESSION_INLINE];
	uint64_t tail_address;
	size_t tail_length, tail_room;
};

static struct connection *connection_of(struct abi_caller *caller)
{
	return container_of(caller, struct connection, caller);
}

/* Ask the program back. *@fd: what came with its answer, if that is a number, or -1. The number, or -errno. */
static int ask(struct connection *connection, struct session_reply *question, int send, int *fd)
{
	struct session_message answer = {.fd_count = 0};

	if (connection->gone)
		return -EFAULT;
	if (session_send(connection->fd, question, send) || session_receive_fds(connection->fd, &answer) ||
	    answer.request.op != SESSION_ANSWER) {
		session_message_close(&answer);
		connection->gone = true;
		return -EFAULT;
	}
	*fd = -1;
	if (answer.fd_count && answer.request.number >= 0) {
		*fd = answer.fds[0];
		answer.fds[0] = -1;
	}
	session_message_close(&answer);
	return answer.request.number;
}

static int descriptor(struct abi_caller *caller, int number, struct abi_file **file, int *fd)
{
	struct connection *connection = connection_of(caller);
	struct session_reply question = {.kind = SESSION_HAND_OVER, .result = number};
	int error = number < 0 ? -EBADF : ask(connection, &question, -1, fd);

	if (error < 0)
		return error;
	if (*fd < 0)
		return -EBADF;
	*file = held_find_fd(connection->session, *fd);
	if (*file) {
		abi_record_file(caller->record, number, *file, *fd);
		close(*fd);
		*fd = -1;
	}
	return 0;
}

/* The program closes what it got, and the session's reference goes with it. */
static void take_back(struct connection *connection, int number)
{
	int none = -1;

	if (number >= 0)
		ask(connection, &(struct session_reply){.kind = SESSION_CLOSE, .result = number}, -1, &none);
	if (none >= 0)
		close(none);
	held_drain(connection->session);
}

static int install(struct abi_caller *caller, struct abi_file *file, uint64_t where)
{
	struct connection *connection = connection_of(caller);
	struct session_reply question = {.kind = SESSION_INSTALL};
	int fd, none = -1, number, error;

	/* The descriptor has a reference of its own: the caller's is his until nothing can fail any more. */
	error = held_open(connection->session, abi_file_get(file), O_RDWR, &fd);
	if (error) {
		abi_file_put(file);
		return error;
	}
	number = ask(connection, &question, fd, &none);
	abi_record_file(caller->record, number, file, fd);
	close(fd);
	if (none >= 0)
		close(none);
	error = number < 0 ? number : 0;
	if (!error && where)
		error = abi_caller_write(caller, where, &number, sizeof(number));
	if (error) {
		take_back(connection, number);
		return error;
	}
	abi_file_put(file);
	return where ? 0 : number;
}

static bool capable(struct abi_caller *caller, int capability)
{
	return member_capable(connection_of(caller)->member, capability);
}

/* The program does not answer any more: then its memory is not there, either. */
static int faulted(struct connection *connection, int error)
{
	if (error == -EPIPE)
		connection->gone = true;
	return error ? -EFAULT : 0;
}

static int read_memory(struct abi_caller *caller, uint64_t address, void *out, size_t length)
{
	struct connection *connection = connection_of(caller);

	return connection->gone ? -EFAULT : faulted(connection, session_fetch(connection->fd, address, out, length));
}

static int write_memory(struct abi_caller *caller, uint64_t address, const void *data, size_t length)
{
	struct connection *connection = connection_of(caller);

	if (address == connection->tail_address + connection->tail_length &&
	    length <= connection->tail_room - connection->tail_length) {
		memcpy(connection->tail + connection->tail_length, data, length);
		connection->tail_length += length;
		return 0;
	}
	return connection->gone ? -EFAULT : faulted(connection, session_store(connection->fd, address, data, length));
}

static const struct abi_caller_ops ops = {
	.descriptor = descriptor, .install = install, .capable = capable, .read = read_memory, .write = write_memory};

static int introduce(struct connection *connection, const struct session_message *hello)
{
	const struct session_request *request = &hello->request;
	const int *fds = hello->fds;
	const struct uiommu_process bundle = {.mem = fds[0], .maps = fds[1], .auxv = fds[2], .pidfd = fds[3], .exec = -1};
	struct member_facts facts = {.capabilities = request->count, .lock_limit = request->argument};
	struct ucred peer;
	socklen_t size = sizeof(peer);

	if (hello->fd_count != 4 || getsockopt(connection->fd, SOL_SOCKET, SO_PEERCRED, &peer, &size))
		return -EBADF;
	facts.pid = peer.pid;
	return member_create(connection->session, &bundle, &facts, &connection->member);
}

static int64_t hello(struct connection *connection, struct session_message *message)
{
	const struct session_request *request = &message->request;
	int error = 0;

	if (request->op != SESSION_HELLO || request->file.device != SESSION_VERSION)
		return -EPROTO;
	if (request->file.inode)
		connection->member = member_find(connection->session, request->file.inode);
	else
		error = introduce(connection, message);
	if (!connection->member)
		return error ? error : -EBADF;
	connection->caller =
		(struct abi_caller){.ops = &ops, .memory = connection->member->memory, .traps = request->flags & SESSION_TRAPS};
	return (int64_t)connection->member->token;
}

/* The program makes a userfaultfd, of what it may have. */
static int take_userfaultfd(struct connection *connection, bool memory)
{
	uint64_t features;
	int fd = -1, error = -EINVAL;

	if (feature_is_off("userfaultfd"))
		return -EOPNOTSUPP;
	for (unsigned int i = 0; error == -EINVAL && (features = watch_features(memory, i)); i++) {
		struct session_reply question = {.kind = SESSION_USERFAULTFD, .offset = features};

		error = ask(connection, &question, -1, &fd);
	}
	if (error < 0)
		return error;
	return fd < 0 ? -EBADF : watch_take(connection->session, connection->member, fd, memory);
}

static int64_t watch(struct connection *connection, const struct session_request *request)
{
	struct session *session = connection->session;
	int error;

	if (request->file.inode || request->file.device) {
		error = watch_start(session, connection->member, request);
		if (error != -ENXIO)
			return error;
		error = take_userfaultfd(connection, false);
		return error ? error : watch_start(session, connection->member, request);
	}
	error = session->check ? take_userfaultfd(connection, true) : -EINVAL;
	if (error)
		check_watch(connection->member->memory, error);
	return error;
}

/* --- the thread of a program that does compare-and-swaps --- */

/* By whoever walks a page table, while the connection's thread waits for its end. */
static bool swap(struct abi_swapper *swapper, uint64_t address, unsigned int length, uint64_t *expected, uint64_t value)
{
	struct connection *connection = container_of(swapper, struct connection, swapper);
	struct session_swap swap = {.address = address, .expected = *expected, .value = value, .length = length};
	int error = session_swap(connection->fd, &swap);

	if (error == -EPIPE)
		shutdown(connection->fd, SHUT_RDWR);
	*expected = swap.expected;
	return !error;
}

static int be_swapper(struct connection *connection)
{
	int error;

	connection->swapper.swap = swap;
	error = abi_memory_set_swapper(connection->member->memory, &connection->swapper);
	connection->swaps = !error;
	return error;
}

/* Who is asked something when the program ends sees the end of the connection, too. */
static void wait_for_its_end(const struct connection *connection)
{
	struct pollfd hangup = {.fd = connection->fd};

	while (poll(&hangup, 1, -1) < 0 && errno == EINTR)
		;
	abi_memory_end_swapper(connection->member->memory);
}

static int64_t answer_to(struct connection *connection, struct session_message *message, struct session_reply *reply, int *fd)
{
	if (message->request.op == SESSION_LIST)
		return session_list(connection->session, fd);
	if (!connection->member) {
		reply->flags = connection->session->check ? SESSION_CHECKS : 0;
		return hello(connection, message);
	}
	if (message->request.op == SESSION_WATCH)
		return watch(connection, &message->request);
	if (message->request.op == SESSION_SWAPPER)
		return be_swapper(connection);
	if (message->request.op == SESSION_UNWATCH) {
		check_leave(connection->member->memory, message->request.argument, message->request.count);
		return 0;
	}
	if (message->request.op == SESSION_CUT) {
		check_cut(connection->session, connection->member, &message->request);
		return 0;
	}
	if (message->request.op == SESSION_STATUS)
		return session_status(connection->session, message->request.number, fd);
	if (message->request.op == SESSION_READ) {
		connection->tail_address = message->request.argument;
		connection->tail_room = (size_t)min_u64(message->request.count, sizeof(connection->tail));
	}
	return session_call(connection->session, &connection->caller, connection->member, message, reply, fd);
}

/*
 * Once for each program. Not where it has forbidden itself something: a thread needs more than the program's own calls do, and a
 * filter may end the program for that.
 */
static bool needs_swapper(struct connection *connection)
{
	return connection->caller.swaps && !__atomic_exchange_n(&connection->member->asked, true, __ATOMIC_RELAXED) &&
	       !member_filtered(connection->member);
}

static int reply_to(struct connection *connection, struct session_reply *reply, int fd)
{
	if (connection->tail_length && reply->result > 0)
		return session_send_data(connection->fd, reply, connection->tail, connection->tail_length);
	return session_send(connection->fd, reply, fd);
}

/* False: it is over. */
static bool answer(struct connection *connection, struct session_message *message)
{
	struct session_reply reply = {.kind = SESSION_DONE};
	int fd = -1, error;

	held_drain(connection->session);
	connection->tail_length = connection->tail_room = 0;
	reply.result = answer_to(connection, message, &reply, &fd);
	if (needs_swapper(connection))
		reply.flags |= SESSION_SWAPS;
	session_message_close(message); /* of a greeting: what is needed of it has been duplicated */
	error = connection->gone ? -EPIPE : reply_to(connection, &reply, fd);
	if (fd >= 0)
		close(fd);
	return !error && connection->member && !connection->swaps;
}

static void *run(void *opaque)
{
	struct connection *connection = opaque;
	struct session *session = connection->session;
	struct session_message message;

	if (!session_receive_fds(connection->fd, &message))
		while (answer(connection, &message) && !session_receive(connection->fd, &message))
			;
	if (connection->swaps)
		wait_for_its_end(connection);
	close(connection->fd);
	member_put(session, connection->member);
	peer_end(session, &connection->peer, connection);
	return NULL;
}

int connection_start(struct session *session, int fd)
{
	struct connection *connection = calloc(1, sizeof(*connection));
	int error = connection ? peer_add(session, &connection->peer, fd) : -ENOMEM;
	pthread_t thread;

	if (error) {
		free(connection);
		close(fd);
		return error;
	}
	connection->session = session;
	connection->fd = fd;
	if (pthread_create(&thread, NULL, run, connection)) {
		peer_end(session, &connection->peer, connection);
		close(fd);
		return -EAGAIN;
	}
	pthread_detach(thread);
	return 0;
}
