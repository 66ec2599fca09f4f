/* SPDX-License-Identifier: BSD-3-Clause */
/* The server of a guest that shares an accelerator: a connection to the process that has it. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/vm/shared.h"
#include "daemon/wire.h"
#include "util/util.h"

int shared_place(const char *name, struct shared_place *place)
{
	char all[VM_PATH_MAX];
	int error = vm_folder_all(all, sizeof(all));

	place->socket = (struct sockaddr_un){.sun_family = AF_UNIX};
	if (!error && (size_t)snprintf(place->socket.sun_path, sizeof(place->socket.sun_path), "%s/accel-%s", all, name) >=
			      sizeof(place->socket.sun_path))
		error = -ENAMETOOLONG;
	snprintf(place->lock, sizeof(place->lock), "%s/accel-%s.lock", all, name);
	return error;
}

/* One that a process which has ended left behind, without a name, is nobody's lock. */
int shared_lock(const struct shared_place *place)
{
	struct stat stat;
	int fd, error;

	for (;;) {
		fd = open(place->lock, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
		if (fd < 0)
			return -errno;
		while ((error = flock(fd, LOCK_EX) < 0 ? -errno : 0) == -EINTR)
			;
		if (!error && !fstat(fd, &stat) && stat.st_nlink)
			return fd;
		close(fd);
		if (error)
			return error;
	}
}

/* --- with the lock --- */

/* Nobody listens there. */
static int listen_at(const struct sockaddr_un *address)
{
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	unlink(address->sun_path);
	if (fd >= 0 && !bind(fd, (const struct sockaddr *)address, sizeof(*address)) && !listen(fd, 16))
		return fd;
	if (fd >= 0)
		close(fd);
	return -1;
}

/* The process, which is nobody's child when this one has ended. The first connection, or a negative errno. */
static int begin(const struct shared_place *place, enum sandbox_mode mode)
{
	int listening = listen_at(&place->socket), ends[2], error = 0;
	pid_t pid;

	if (listening < 0 || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0) {
		error = -errno;
		if (listening >= 0)
			close(listening);
		return error;
	}
	pid = fork();
	if (!pid)
		shared_serve(place, mode, listening, ends[1]);
	if (pid < 0)
		error = -errno;
	close(listening);
	close(ends[1]);
	if (error)
		close(ends[0]);
	return error ? error : ends[0];
}

static int connect_or_begin(const struct shared_place *place, enum sandbox_mode mode)
{
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0), error;

	if (fd < 0)
		return -errno;
	if (!connect(fd, (const struct sockaddr *)&place->socket, sizeof(place->socket)))
		return fd;
	error = -errno;
	close(fd);
	return error == -ENOENT || error == -ECONNREFUSED ? begin(place, mode) : error;
}

/* --- without --- */

static int introduce(int fd, const struct vm *vm, int events, const int *sockets)
{
	struct json_object *object = shared_describe(vm);
	const char *text = json_object_to_json_string(object);
	int error = wire_send(fd, text, strlen(text), &events, 1);

	for (unsigned int i = 0; !error && i < vm_socket_count(vm); i++)
		error = wire_send(fd, "", 1, &sockets[i], 1);
	json_object_put(object);
	return error;
}

/* Until the process has ended the guest, because it is told to or by itself. Returns the exit status. */
static int stay(int fd)
{
	struct pollfd fds[2] = {{.fd = fd, .events = POLLIN}};
	sigset_t ends;
	int status = 1;

	sigemptyset(&ends);
	sigaddset(&ends, SIGTERM);
	fds[1] = (struct pollfd){.fd = signalfd(-1, &ends, SFD_CLOEXEC), .events = POLLIN};
	while (poll(fds, ARRAY_SIZE(fds), -1) < 0 || !fds[0].revents)
		if (fds[1].revents) {
			shutdown(fd, SHUT_WR);
			fds[1].fd = -1;
			fds[1].revents = 0;
			status = 0;
		}
	return status;
}

int vm_join(const struct vm *vm, int events, const int *sockets)
{
	struct vm_event event = {.type = VM_EVENT_FAILED};
	struct shared_place place;
	int error = shared_place(vm->parent, &place), lock = error ? error : shared_lock(&place), fd = -1;

	if (lock >= 0) {
		fd = connect_or_begin(&place, vm->seccomp);
		close(lock);
	}
	error = lock < 0 ? lock : fd < 0 ? fd : introduce(fd, vm, events, sockets);
	if (!error)
		return stay(fd);
	snprintf(event.text, sizeof(event.text), "%s: %s", place.socket.sun_path, strerror(-error));
	(void)!write(events, &event, sizeof(event));
	return 1;
}
