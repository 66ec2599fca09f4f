/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Userfaultfds of programs, made by the shim. Two things are learnt from them, and nothing else is done with them.
 *
 * Of registers that a program has mapped (a device's doorbells): the next write, while the device sleeps. The right to write is
 * taken from the mapping, the write faults and waits, the right is given back, and the device is told.
 *
 * With --check, of memory that is mapped for DMA: that it is unmapped, or thrown away. A kernel would have pinned the pages, and
 * the device would keep them; here it will reach what is mapped there next.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "abi/pages.h"
#include "abi/session/session.h"
#include "util/thread.h"
#include "util/util.h"

/* It ends with the mapping that it is of, or with the program: whoever ends those ends it. */
struct watch {
	struct abi_watcher watcher; /* of @file */
	struct cds_list_head link; /* the session's */
	const struct member *member;
	struct abi_file *file; /* NULL: of memory that is mapped for DMA */
	uint64_t offset; /* of the mapping in the file */
	uint64_t address, length;
	int fd;
};

static int set_protection(const struct watch *watch, bool on)
{
	struct uffdio_writeprotect change = {.range = {watch->address, watch->length},
					     .mode = on ? UFFDIO_WRITEPROTECT_MODE_WP : 0};

	return ioctl(watch->fd, UFFDIO_WRITEPROTECT, &change) ? -errno : 0;
}

static bool protect(struct abi_watcher *watcher)
{
	return !set_protection(container_of(watcher, struct watch, watcher), true);
}

static void report(const struct session *session, const struct watch *watch, const char *what, uint64_t start, uint64_t end)
{
	uint64_t page = page_size();

	start = max_u64(start, watch->address);
	end = min_u64(end, watch->address + watch->length);
	for (uint64_t at = start; at < end; at += page)
		if (abi_pages_count(watch->member->memory, at)) {
			dprintf(session->report,
				"uiommu: [%d] 0x%llx-0x%llx was %s while it is mapped for DMA at 0x%llx: a kernel's device would "
				"keep "
				"the old pages, here it reaches what comes next\n",
				watch->member->facts.pid, (unsigned long long)start, (unsigned long long)end, what,
				(unsigned long long)at);
			return;
		}
}

/* False: nothing comes from it any more. */
static bool handle(const struct session *session, const struct watch *watch)
{
	struct uffd_msg message;
	ssize_t length = read(watch->fd, &message, sizeof(message));

	if (length != (ssize_t)sizeof(message))
		return length < 0 && (errno == EAGAIN || errno == EINTR);
	switch (message.event) {
	case UFFD_EVENT_PAGEFAULT:
		/*
		 * In this order. Between the two the device may take the right away once more, of which the other order would know
		 * nothing: it would sleep, and the write would not be caught.
		 */
		set_protection(watch, false);
		if (watch->file)
			abi_touched(watch->file);
		break;
	case UFFD_EVENT_UNMAP:
		report(session, watch, "unmapped", message.arg.remove.start, message.arg.remove.end);
		break;
	case UFFD_EVENT_REMOVE:
		report(session, watch, "thrown away", message.arg.remove.start, message.arg.remove.end);
		break;
	case UFFD_EVENT_REMAP:
		report(session, watch, "moved", message.arg.remap.from, message.arg.remap.from + message.arg.remap.len);
		break;
	default:
		break;
	}
	return true;
}

/* Under the watch lock. */
static void watch_end(struct watch *watch)
{
	cds_list_del(&watch->link);
	if (watch->file)
		abi_unwatch(watch->file, &watch->watcher);
	/* Whoever waits for it goes on. */
	close(watch->fd);
	free(watch);
}

/* Events name the watch by its descriptor, since it may have ended meanwhile. Under the watch lock. */
static struct watch *find(struct session *session, int fd)
{
	struct watch *watch;

	cds_list_for_each_entry (watch, &session->watches, link)
		if (watch->fd == fd)
			return watch;
	return NULL;
}

static void *run(void *opaque)
{
	struct session *session = opaque;
	struct epoll_event event;

	for (;;) {
		struct watch *watch;

		if (epoll_wait(session->watching, &event, 1, -1) != 1)
			continue;
		if (event.data.fd == session->watch_wake)
			return NULL;
		pthread_mutex_lock(&session->watch_lock);
		watch = find(session, event.data.fd);
		if (watch && !handle(session, watch))
			epoll_ctl(session->watching, EPOLL_CTL_DEL, watch->fd, NULL);
		pthread_mutex_unlock(&session->watch_lock);
	}
}

/* The program went on when it was read what it did; that is under the lock until it has been reported. */
void watch_settle(struct session *session)
{
	pthread_mutex_lock(&session->watch_lock);
	pthread_mutex_unlock(&session->watch_lock);
}

static int put(struct session *session, int fd)
{
	struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};

	return epoll_ctl(session->watching, EPOLL_CTL_ADD, fd, &event) ? -errno : 0;
}

/* With the first watch. Under the watch lock. */
static int begin(struct session *session)
{
	int error;

	if (session->watching >= 0)
		return 0;
	session->watching = epoll_create1(EPOLL_CLOEXEC);
	session->watch_wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	error = session->watching < 0 || session->watch_wake < 0 ? -EMFILE : put(session, session->watch_wake);
	if (!error)
		error = thread_start(&session->watch_thread, run, session);
	if (error) {
		close(session->watching);
		close(session->watch_wake);
		session->watching = session->watch_wake = -1;
	}
	return error;
}

static int add(struct session *session, struct watch *watch, const struct session_key *key)
{
	int error = begin(session);

	/* As long as the lock is held, nobody who ends the mapping gets further than to the end of its watch. */
	if (!error && (key->inode || key->device)) {
		watch->file = held_mapped(session, key, watch->offset);
		error = watch->file && watch->file->ops->watch ? 0 : -EINVAL;
	} else if (!error && !session->check) {
		error = -EINVAL;
	}
	if (!error)
		error = put(session, watch->fd);
	if (error)
		return error;
	cds_list_add_tail(&watch->link, &session->watches);
	if (watch->file)
		abi_watch(watch->file, &watch->watcher);
	return 0;
}

/* Of another kind of file a read might wait for ever. */
static bool is_userfaultfd(int fd)
{
	static const char expected[] = "anon_inode:[userfaultfd]";
	char path[32], link[sizeof(expected)];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return readlink(path, link, sizeof(link)) == sizeof(expected) - 1 && !memcmp(link, expected, sizeof(expected) - 1) &&
	       fcntl(fd, F_GETFL) & O_NONBLOCK;
}

int watch_start(struct session *session, const struct member *member, const struct session_request *request, int fd)
{
	struct watch *watch = is_userfaultfd(fd) ? malloc(sizeof(*watch)) : NULL;
	int error = -EINVAL;

	if (watch) {
		*watch = (struct watch){.watcher = {.protect = protect},
					.member = member,
					.offset = request->offset,
					.address = request->argument,
					.length = request->count,
					.fd = fd};
		pthread_mutex_lock(&session->watch_lock);
		error = add(session, watch, &request->file);
		pthread_mutex_unlock(&session->watch_lock);
	}
	if (error) {
		close(fd);
		free(watch);
	}
	return error;
}

void watch_end_mapping(struct session *session, const struct abi_file *file, uint64_t offset)
{
	struct watch *watch, *next;

	pthread_mutex_lock(&session->watch_lock);
	cds_list_for_each_entry_safe (watch, next, &session->watches, link)
		if (watch->file == file && watch->offset == offset)
			watch_end(watch);
	pthread_mutex_unlock(&session->watch_lock);
}

void watch_end_member(struct session *session, const struct member *member)
{
	struct watch *watch, *next;

	pthread_mutex_lock(&session->watch_lock);
	cds_list_for_each_entry_safe (watch, next, &session->watches, link)
		if (watch->member == member)
			watch_end(watch);
	pthread_mutex_unlock(&session->watch_lock);
}

void watch_finish(struct session *session)
{
	if (session->watching < 0)
		return;
	eventfd_write(session->watch_wake, 1);
	pthread_join(session->watch_thread, NULL);
	close(session->watching);
	close(session->watch_wake);
}
