/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Programs that nothing can be preloaded into. The kernel stops them at system calls that may concern the session (filter.c) and
 * tells us; we make the call, or let the kernel go on with it. What the call means is found in the program's memory and
 * descriptors, as its ancestor may.
 *
 * The program could change its memory after we have looked at a name; then the kernel opens what it finds then. It would
 * only deceive itself: this is no security boundary.
 *
 * Threads take the calls as they come. There is always one that waits, and there are as many as calls that were made at once.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <uiommu/bind.h>
#include <unistd.h>

#include "abi/record.h"
#include "abi/session/message.h"
#include "abi/session/notify.h"
#include "abi/session/session.h"
#include "abi/session/stopped.h"
#include "util/util.h"

/* --- the caller's descriptors --- */

enum { PIDFD_OF_THREAD = O_EXCL /* Linux 6.9 */ };

static struct stopped *stopped_of(struct abi_caller *caller)
{
	return container_of(caller, struct stopped, caller);
}

/* Of the process, or of this thread of it. */
static int take(pid_t of, unsigned int flags, int number)
{
	int pidfd = (int)syscall(SYS_pidfd_open, of, flags), fd, error;

	if (pidfd < 0)
		return -errno;
	fd = (int)syscall(SYS_pidfd_getfd, pidfd, number, 0);
	error = -errno;
	close(pidfd);
	return fd < 0 ? error : fd;
}

int stopped_take(const struct stopped *stopped, int number)
{
	int fd = take(stopped->process, 0, number), again;

	if (fd >= 0 || stopped->process == (pid_t)stopped->call.pid)
		return fd;
	/* The first thread has ended, maybe, and has none any more. */
	again = take((pid_t)stopped->call.pid, PIDFD_OF_THREAD, number);
	return again == -EINVAL ? fd : again;
}

static int descriptor(struct abi_caller *caller, int number, struct abi_file **file, int *fd)
{
	struct stopped *stopped = stopped_of(caller);

	*fd = number < 0 ? -EBADF : stopped_take(stopped, number);
	if (*fd < 0)
		return *fd;
	*file = held_find_fd(stopped->session, *fd);
	if (*file) {
		abi_record_file(caller->record, number, *file, *fd);
		close(*fd);
		*fd = -1;
	}
	return 0;
}

int stopped_give(const struct stopped *stopped, int fd, int flags)
{
	struct seccomp_notif_addfd add = {
		.id = stopped->call.id, .srcfd = (uint32_t)fd, .newfd_flags = (uint32_t)flags & O_CLOEXEC};
	int number = ioctl(stopped->listener, SECCOMP_IOCTL_NOTIF_ADDFD, &add);

	return number < 0 ? -errno : number;
}

static int install(struct abi_caller *caller, struct abi_file *file, uint64_t where)
{
	struct stopped *stopped = stopped_of(caller);
	int fd, number, error;

	/* A descriptor that has been given cannot be taken back: so look first whether its number can be written. */
	error = where ? abi_memory_check(caller->memory, where, sizeof(number), UIOMMU_WRITE) : 0;
	if (!error)
		error = held_open(stopped->session, abi_file_get(file), O_RDWR, &fd);
	if (error) {
		abi_file_put(file);
		return error;
	}
	number = stopped_give(stopped, fd, O_CLOEXEC);
	abi_record_file(caller->record, number, file, fd);
	close(fd);
	if (number < 0) {
		held_drain(stopped->session);
		return number;
	}
	abi_file_put(file);
	error = where ? abi_caller_write(caller, where, &number, sizeof(number)) : 0;
	return error ? error : where ? 0 : number;
}

static bool capable(struct abi_caller *caller, int capability)
{
	return member_capable(stopped_of(caller)->member, capability);
}

static const struct abi_caller_ops ops = {.descriptor = descriptor, .install = install, .capable = capable};

/* --- who it is --- */

static int member_new(struct session *session, pid_t process, struct member **out)
{
	struct member_facts facts = {.pid = process};
	struct uiommu_process bundle;
	struct rlimit limit;
	int error = uiommu_process_open(process, UIOMMU_READ | UIOMMU_WRITE, &bundle);

	if (error)
		return error;
	status_value(process, "CapEff:", 16, &facts.capabilities);
	if (!prlimit(process, RLIMIT_MEMLOCK, NULL, &limit))
		facts.lock_limit = limit.rlim_cur;
	error = member_create(session, &bundle, &facts, out);
	uiommu_process_close(&bundle);
	return error;
}

/* Whoever makes a call for the first time, or the first time after an exec, becomes a member; it is kept until the next exec. */
static int stopped_open(struct stopped *stopped)
{
	struct session *session = stopped->session;
	int error;

	stopped->member = known_find(session, stopped->process);
	if (!stopped->member) {
		error = member_new(session, stopped->process, &stopped->member);
		if (error)
			return error == -ESRCH ? -ESRCH : -EFAULT;
		known_add(session, stopped->member);
	}
	stopped->caller = (struct abi_caller){.ops = &ops, .memory = stopped->member->memory};
	return 0;
}

/* --- threads --- */

static bool is_alive(const struct stopped *stopped)
{
	uint64_t id = stopped->call.id;

	return !ioctl(stopped->listener, SECCOMP_IOCTL_NOTIF_ID_VALID, &id);
}

static void reply(const struct stopped *stopped, int64_t result)
{
	struct seccomp_notif_resp response = {.id = stopped->call.id};

	if (result == STOPPED_GO_ON)
		response.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
	else if (result < 0)
		response.error = (int32_t)result;
	else
		response.val = result;
	/* ENOENT: it has been killed meanwhile. */
	ioctl(stopped->listener, SECCOMP_IOCTL_NOTIF_SEND, &response);
}

static void serve(struct stopped *stopped)
{
	uint64_t process;
	int64_t result = STOPPED_GO_ON;

	held_drain(stopped->session);
	/* What was read of the process counts only if it is still the one that has been stopped. */
	if (status_value((pid_t)stopped->call.pid, "Tgid:", 10, &process) && is_alive(stopped)) {
		stopped->process = (pid_t)process;
		result = stopped_call(stopped);
	}
	reply(stopped, result);
	if (stopped->member)
		member_put(stopped->session, stopped->member);
}

int stopped_identify(struct stopped *stopped)
{
	return stopped->member ? 0 : stopped_open(stopped);
}

struct supervisor {
	struct peer peer;
	struct session *session;
	int listener;
	unsigned int waiting; /* threads; atomic */
	unsigned int references; /* threads; atomic */
};

static int thread_add(struct supervisor *supervisor);

static void *run(void *opaque)
{
	struct supervisor *supervisor = opaque;
	struct stopped stopped;

	for (;;) {
		/* RECV does not tell that nobody is left whom the filter could stop; poll() does. */
		struct pollfd state = {.fd = supervisor->listener, .events = POLLIN};

		memset(&stopped, 0, sizeof(stopped));
		stopped.session = supervisor->session;
		stopped.listener = supervisor->listener;
		if (poll(&state, 1, -1) < 0 && errno != EINTR)
			break;
		if (state.revents & POLLHUP)
			break;
		if (ioctl(supervisor->listener, SECCOMP_IOCTL_NOTIF_RECV, &stopped.call))
			continue; /* another thread has it, or the program was killed */
		if (!__atomic_sub_fetch(&supervisor->waiting, 1, __ATOMIC_RELAXED))
			thread_add(supervisor);
		serve(&stopped);
		__atomic_add_fetch(&supervisor->waiting, 1, __ATOMIC_RELAXED);
	}
	if (!__atomic_sub_fetch(&supervisor->references, 1, __ATOMIC_ACQ_REL)) {
		struct session *session = supervisor->session;

		known_end(session);
		close(supervisor->listener);
		peer_end(session, &supervisor->peer, supervisor);
	}
	return NULL;
}

static int thread_add(struct supervisor *supervisor)
{
	pthread_t thread;

	__atomic_add_fetch(&supervisor->references, 1, __ATOMIC_RELAXED);
	__atomic_add_fetch(&supervisor->waiting, 1, __ATOMIC_RELAXED);
	if (pthread_create(&thread, NULL, run, supervisor)) {
		__atomic_sub_fetch(&supervisor->references, 1, __ATOMIC_RELAXED);
		__atomic_sub_fetch(&supervisor->waiting, 1, __ATOMIC_RELAXED);
		return -EAGAIN;
	}
	pthread_detach(thread);
	return 0;
}

int notify_start(struct session *session, int listener)
{
	struct supervisor *supervisor = calloc(1, sizeof(*supervisor));
	int error;

	if (!supervisor) {
		close(listener);
		return -ENOMEM;
	}
	supervisor->session = session;
	supervisor->listener = listener;
	error = peer_add(session, &supervisor->peer, listener);
	if (!error) {
		error = thread_add(supervisor);
		if (error)
			peer_end(session, &supervisor->peer, NULL);
	}
	if (error) {
		close(listener);
		free(supervisor);
	}
	return error;
}
