/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A real child process that does what the test tells it: child_call() runs a function of the test program in it. Memory that
 * was mapped before child_start() is there at the same address, as the child's own copy.
 */
#ifndef CHILD_H
#define CHILD_H

#include <signal.h>
#include <stdbool.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

struct child {
	pid_t pid;
	int fd;
};

typedef long (*child_function)(uintptr_t argument);

struct child_request {
	child_function function;
	uintptr_t argument;
};

/* The child's end of the socket, for functions that do not return. */
static int child_socket __attribute__((unused)) = -1;

static inline void child_serve(int fd)
{
	struct child_request request;

	while (read(fd, &request, sizeof(request)) == sizeof(request)) {
		long result = request.function(request.argument);

		if (write(fd, &result, sizeof(result)) != sizeof(result))
			break;
	}
	_exit(0);
}

static inline void child_start(struct child *child)
{
	int fds[2];

	/* Not close-on-exec: an image that the child executes goes on with it. */
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	child->pid = fork();
	assert_true(child->pid >= 0);
	if (!child->pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(fds[0]);
		child_socket = fds[1];
		child_serve(fds[1]);
	}
	close(fds[1]);
	child->fd = fds[0];
}

static inline void child_send(const struct child *child, child_function function, uintptr_t argument)
{
	struct child_request request = {function, argument};

	assert_int_equal(write(child->fd, &request, sizeof(request)), sizeof(request));
}

/* What the child (or the image that it has executed) says next. */
static inline long child_receive(const struct child *child)
{
	long result = 0;

	assert_int_equal(read(child->fd, &result, sizeof(result)), sizeof(result));
	return result;
}

static inline long child_call(const struct child *child, child_function function, uintptr_t argument)
{
	child_send(child, function, argument);
	return child_receive(child);
}

static inline void child_end(struct child *child)
{
	kill(child->pid, SIGKILL);
	waitpid(child->pid, NULL, 0);
	close(child->fd);
}

/*
 * Run @body in a fork and pass its verdict on. 0: fine; otherwise the line that failed. For tests that have to change what this
 * process is.
 */
static inline void run_apart(int (*body)(void))
{
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		_exit(body() != 0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

/* In a body of run_apart(): cmocka's assertions belong to the parent. */
#define EXPECT(condition)                                                                                                          \
	do {                                                                                                                       \
		if (!(condition)) {                                                                                                \
			fprintf(stderr, "# %s:%d: not true: %s\n", __FILE__, __LINE__, #condition);                                \
			return 1;                                                                                                  \
		}                                                                                                                  \
	} while (0)

#endif
