/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Both files are asked through an epoll that holds them. What it says is exact as long as one thread asks at a time: the kernel
 * looks at its list of events without a lock, and while another thread takes one off and puts it back the list can seem empty. So
 * who finds somebody else asking asks the files themselves.
 *
 * A perf event can be asked only while a page of it is mapped; otherwise it always says that it has hung up, and wakes no epoll.
 * Nothing is ever read there.
 */
#include "memory/watch.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/perf_event.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "memory/calls.h"
#include "util/util.h"

int exec_event_open(pid_t pid)
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_SOFTWARE,
		.size = sizeof(attr),
		.config = PERF_COUNT_SW_DUMMY,
		.disabled = 1,
		.exclude_kernel = 1,
		.exclude_hv = 1,
		.remove_on_exec = 1,
	};

	return (int)syscall(SYS_perf_event_open, &attr, pid, -1, -1, PERF_FLAG_FD_CLOEXEC);
}

/* NULL: the kernel says no. */
static void *event_map(int event)
{
	void *page = mmap(NULL, (size_t)page_size(), PROT_READ, MAP_SHARED, event, 0);

	return page == MAP_FAILED ? NULL : page;
}

/* Nothing on @pidfd, and no hang-up of @event; each may be -1. */
static bool files_quiet(int pidfd, int event)
{
	struct pollfd fds[] = {{.fd = pidfd, .events = POLLIN}, {.fd = event}};
	int n;

	do
		n = poll(fds, ARRAY_SIZE(fds), 0);
	while (n < 0 && errno == EINTR);
	return n == 0;
}

int exec_event_ask(int event)
{
	void *page = event_map(event);
	int rc;

	if (!page)
		return -errno;
	rc = files_quiet(-1, event) ? 0 : -EAGAIN;
	munmap(page, (size_t)page_size());
	return rc;
}

bool exec_event_is(int event)
{
	static const char expected[] = "anon_inode:[perf_event]";
	char self[32], link[sizeof(expected)];
	struct statfs fs;

	/* No other file's link begins without a slash and has this name; those of file systems are paths. */
	snprintf(self, sizeof(self), "/proc/self/fd/%d", event);
	return !fstatfs(event, &fs) && fs.f_type == ANON_INODE_FS_MAGIC &&
	       readlink(self, link, sizeof(link)) == (ssize_t)strlen(expected) && !memcmp(link, expected, strlen(expected));
}

static int watch_add(const struct watch *watch, int fd, uint32_t events)
{
	struct epoll_event event = {.events = events};

	/* ENOSPC: what the user may watch takes kernel memory as well. */
	return epoll_ctl(watch->epoll, EPOLL_CTL_ADD, fd, &event) ? -ENOMEM : 0;
}

/* An event that cannot be asked is as good as none. */
static int watch_add_event(struct watch *watch, int event)
{
	watch->page = event_map(event);
	if (!watch->page)
		return 0;
	watch->event = fcntl(event, F_DUPFD_CLOEXEC, 3);
	return watch->event < 0 ? -EMFILE : watch_add(watch, watch->event, 0);
}

int watch_init(struct watch *watch, int pidfd, int event)
{
	int rc;

	*watch = (struct watch){.event = -1, .epoll = -1};
	watch->pidfd = fcntl(pidfd, F_DUPFD_CLOEXEC, 3);
	if (watch->pidfd < 0)
		return -errno;
	watch->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (watch->epoll < 0)
		rc = errno == ENOMEM ? -ENOMEM : -EMFILE;
	else
		rc = watch_add(watch, watch->pidfd, EPOLLIN);
	if (!rc && event >= 0)
		rc = watch_add_event(watch, event);
	if (rc)
		watch_fini(watch);
	return rc;
}

void watch_fini(struct watch *watch)
{
	int *fds[] = {&watch->epoll, &watch->event, &watch->pidfd};

	for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
		if (*fds[i] >= 0)
			close(*fds[i]);
		*fds[i] = -1;
	}
	if (watch->page)
		munmap(watch->page, (size_t)page_size());
	watch->page = NULL;
}

bool watch_quiet(struct watch *watch)
{
	int n;

	if (__atomic_exchange_n(&watch->asking, true, __ATOMIC_ACQUIRE))
		return files_quiet(watch->pidfd, watch->event);
	do
		n = call_epoll(watch->epoll);
	while (n < 0 && errno == EINTR);
	__atomic_store_n(&watch->asking, false, __ATOMIC_RELEASE);
	return n == 0;
}
