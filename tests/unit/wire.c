/* SPDX-License-Identifier: BSD-3-Clause */
#include "test.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/wire.h"

static const char last_words[] = "last words", more[] = "more";

static void make_pair(int *pair)
{
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
}

static void expect_message(int fd, const char *text, int flags)
{
	char message[64];
	struct wire_fds fds;

	assert_int_equal(wire_receive(fd, message, sizeof(message), &fds, flags), strlen(text) + 1);
	assert_string_equal(message, text);
	assert_int_equal(fds.count, 0);
}

static void expect_gone(int fd, int flags)
{
	char message[64];
	struct wire_fds fds;

	assert_int_equal(wire_receive(fd, message, sizeof(message), &fds, flags), 0);
	assert_int_equal(wire_receive(fd, message, sizeof(message), &fds, flags), 0);
}

/* The other side hangs up without having read what we sent. */
static void last_words_are_heard(void **state)
{
	int pair[2];

	(void)state;
	for (int flags = 0; flags <= MSG_DONTWAIT; flags += MSG_DONTWAIT) {
		make_pair(pair);
		assert_int_equal(wire_send(pair[0], more, sizeof(more), NULL, 0), 0);
		assert_int_equal(wire_send(pair[1], last_words, sizeof(last_words), NULL, 0), 0);
		assert_int_equal(wire_send(pair[1], more, sizeof(more), NULL, 0), 0);
		close(pair[1]);
		expect_message(pair[0], last_words, flags);
		expect_message(pair[0], more, flags);
		expect_gone(pair[0], flags);
		close(pair[0]);
	}
}

/* The same when it is a send that notices first. */
static void last_words_are_heard_after_a_send(void **state)
{
	int pair[2];

	(void)state;
	make_pair(pair);
	assert_int_equal(wire_send(pair[0], more, sizeof(more), NULL, 0), 0);
	assert_int_equal(wire_send(pair[1], last_words, sizeof(last_words), NULL, 0), 0);
	close(pair[1]);
	assert_int_equal(wire_send(pair[0], more, sizeof(more), NULL, 0), -EPIPE);
	assert_int_equal(wire_send(pair[0], more, sizeof(more), NULL, 0), -EPIPE);
	expect_message(pair[0], last_words, 0);
	expect_gone(pair[0], 0);
	close(pair[0]);
}

static void nothing_to_hear(void **state)
{
	char message[64];
	struct wire_fds fds;
	int pair[2];

	(void)state;
	make_pair(pair);
	assert_int_equal(wire_receive(pair[0], message, sizeof(message), &fds, MSG_DONTWAIT), -EAGAIN);
	assert_int_equal(wire_send(pair[0], more, sizeof(more), NULL, 0), 0);
	close(pair[1]);
	expect_gone(pair[0], 0);
	close(pair[0]);
}

static void descriptors_come_along(void **state)
{
	char message[64];
	struct wire_fds fds;
	int pair[2];

	(void)state;
	make_pair(pair);
	assert_int_equal(wire_send(pair[1], more, sizeof(more), pair, 2), 0);
	assert_int_equal(wire_receive(pair[0], message, sizeof(message), &fds, 0), sizeof(more));
	assert_int_equal(fds.count, 2);
	assert_false(fds.truncated);
	assert_true(fcntl(fds.fds[1], F_GETFD) & FD_CLOEXEC);
	wire_close(&fds);
	assert_int_equal(fds.count, 0);
	/* Cut, and its true length. */
	assert_int_equal(wire_send(pair[1], last_words, sizeof(last_words), NULL, 0), 0);
	assert_int_equal(wire_receive(pair[0], message, 4, &fds, 0), sizeof(last_words));
	close(pair[0]);
	close(pair[1]);
}

/* One sendmsg() with more descriptors than a message of ours has. */
static void send_descriptors(int fd, unsigned int count)
{
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(64 * sizeof(int))] = {0};
	struct iovec iov = {(void *)(uintptr_t)more, sizeof(more)};
	struct msghdr header = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = CMSG_SPACE(count * sizeof(int))};
	struct cmsghdr *cmsg = CMSG_FIRSTHDR(&header);

	cmsg->cmsg_level = SOL_SOCKET;
	cmsg->cmsg_type = SCM_RIGHTS;
	cmsg->cmsg_len = CMSG_LEN(count * sizeof(int));
	for (unsigned int i = 0; i < count; i++)
		memcpy(CMSG_DATA(cmsg) + i * sizeof(int), &fd, sizeof(fd));
	assert_int_equal(sendmsg(fd, &header, 0), sizeof(more));
}

static void too_many_descriptors(void **state)
{
	char message[64];
	struct wire_fds fds;
	int pair[2];

	(void)state;
	for (unsigned int count = PROTOCOL_FDS_MAX; count <= 64; count++) {
		make_pair(pair);
		send_descriptors(pair[0], count);
		assert_int_equal(wire_receive(pair[1], message, sizeof(message), &fds, 0), sizeof(more));
		assert_int_equal(fds.count, PROTOCOL_FDS_MAX);
		assert_int_equal(fds.truncated, count > PROTOCOL_FDS_MAX);
		wire_close(&fds);
		close(pair[0]);
		close(pair[1]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(last_words_are_heard), cmocka_unit_test(last_words_are_heard_after_a_send),
		cmocka_unit_test(nothing_to_hear),	cmocka_unit_test(descriptors_come_along),
		cmocka_unit_test(too_many_descriptors),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
