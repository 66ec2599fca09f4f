/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Userfaultfds of programs, made by the shim: at most two for each process, however much of its memory is registered with them. Two
 * things are learnt from them.
 *
 * Of registers that a program has mapped (a device's doorbells): the next write, while the device sleeps. The right to write is
 * taken from the mapping, the write faults and waits, the right is given back, and the device is told. And the end of the mapping,
 * or where it has moved to.
 *
 * With --check, of memory that is mapped for DMA: that it is unmapped, or thrown away (check.h).
 *
 * Whoever unmaps something that is registered waits until that has been read here. So nothing is waited for while it is done.
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

#include "abi/session/check.h"
#include "abi/session/session.h"
#include "util/thread.h"
#include "util/util.h"

#ifndef UFFD_FEATURE_WP_HUGETLBFS_SHMEM
#define UFFD_FEATURE_WP_HUGETLBFS_SHMEM (1 << 12) /* Linux 5.19 */
#endif
#ifndef UFFD_FEATURE_WP_UNPOPULATED
#define UFFD_FEATURE_WP_UNPOPULATED (1 << 13) /* Linux 6.4 */
#endif
#ifndef UFFD_FEATURE_WP_ASYNC
#define UFFD_FEATURE_WP_ASYNC (1 << 15) /* Linux 6.7 */
#endif

enum {
	PROTECTS = UFFD_FEATURE_PAGEFAULT_FLAG_WP | UFFD_FEATURE_WP_HUGETLBFS_SHMEM,
	ENDS = UFFD_FEATURE_EVENT_UNMAP | UFFD_FEATURE_EVENT_REMAP,
};

struct userfault {
	struct cds_list_head link; /* the session's */
	const struct member *member;
	int fd;
	bool memory; /* of what is mapped for DMA; otherwise of registers */
};

/* Registers. It ends with the mapping that it is of, or with the program: whoever ends those ends it. */
struct watch {
	struct abi_watcher watcher; /* of @file */
	struct cds_list_head link; /* the session's */
	const struct userfault *by;
	struct abi_file *file;
	uint64_t offset, mapped; /* of the mapping in the file, and its length, as it was made */
	uint64_t address, length; /* what is left of it */
};

uint64_t watch_features(bool memory, unsigned int attempt)
{
	/* The first of --check's watches files as well, since it never keeps a fault waiting. */
	static const uint64_t of_memory[] = {
		PROTECTS | ENDS | UFFD_FEATURE_EVENT_REMOVE | UFFD_FEATURE_WP_UNPOPULATED | UFFD_FEATURE_WP_ASYNC,
		PROTECTS | ENDS | UFFD_FEATURE_EVENT_REMOVE,
		0,
	};
	static const uint64_t of_registers[] = {PROTECTS | ENDS, 0};

	return memory ? of_memory[attempt] : of_registers[attempt];
}

/* --- registers --- */

static int set_protection(const struct userfault *by, uint64_t address, uint64_t length, bool on)
{
	struct uffdio_writeprotect change = {.range = {address, length}, .mode = on ? UFFDIO_WRITEPROTECT_MODE_WP : 0};

	return ioctl(by->fd, UFFDIO_WRITEPROTECT, &change) ? -errno : 0;
}

static bool protect(struct abi_watcher *watcher)
{
	const struct watch *watch = container_of(watcher, struct watch, watcher);

	return !set_protection(watch->by, watch->address, watch->length, true);
}

static int register_range(const struct userfault *by, uint64_t address, uint64_t length)
{
	struct uffdio_register range = {.range = {address, length}, .mode = UFFDIO_REGISTER_MODE_WP};

	return ioctl(by->fd, UFFDIO_REGISTER, &range) ? -errno : 0;
}

/* While the program unmaps something, nothing can be unprotected, and nothing says when that is over; but given up it can be. */
static void let_write(const struct userfault *by, uint64_t address, uint64_t length)
{
	struct uffdio_range range = {address, length};

	if (!set_protection(by, address, length, false))
		return;
	ioctl(by->fd, UFFDIO_UNREGISTER, &range);
	register_range(by, address, length);
}

/* The rest is under the watch lock. */

static void watch_end(struct watch *watch)
{
	cds_list_del(&watch->link);
	abi_unwatch(watch->file, &watch->watcher);
	free(watch);
}

static void written(const struct session *session, const struct userfault *by, uint64_t address)
{
	uint64_t page = address & ~(page_size() - 1);
	struct watch *watch;

	cds_list_for_each_entry (watch, &session->watches, link)
		if (watch->by == by && address - watch->address < watch->length) {
			/*
			 * In this order. Between the two the device may take the right away once more, of which the other order
			 * would know nothing: it would sleep, and the write would not be caught.
			 */
			let_write(by, watch->address, watch->length);
			abi_touched(watch->file);
			return;
		}
	/* What is left of a mapping that has been cut. */
	let_write(by, page, page_size());
}

/* Who protects it looks at where it is, with the file's lock: nobody does meanwhile. */
static void change(struct watch *watch, uint64_t address, uint64_t length)
{
	abi_unwatch(watch->file, &watch->watcher);
	watch->address = address;
	watch->length = length;
	abi_watch(watch->file, &watch->watcher);
}

/* What is cut out of the middle stays: then it cannot be protected as a whole, and is looked at by a timer. False: nothing is left.
 */
static bool cut(struct watch *watch, uint64_t start, uint64_t end)
{
	uint64_t last = watch->address + watch->length;

	if (start <= watch->address && end >= last)
		return false;
	if (start <= watch->address && end > watch->address)
		change(watch, end, last - end);
	else if (end >= last && start < last)
		change(watch, watch->address, start - watch->address);
	return true;
}

static void unmapped(struct session *session, const struct userfault *by, uint64_t start, uint64_t end)
{
	struct watch *watch, *next;

	cds_list_for_each_entry_safe (watch, next, &session->watches, link) {
		if (watch->by != by || cut(watch, start, end))
			continue;
		held_unmapped(session, watch->file, watch->offset, watch->mapped);
		watch_end(watch);
	}
}

static void moved(const struct session *session, const struct userfault *by, uint64_t from, uint64_t to, uint64_t length)
{
	struct watch *watch;

	cds_list_for_each_entry (watch, &session->watches, link)
		if (watch->by == by && watch->address >= from && watch->address + watch->length <= from + length)
			change(watch, watch->address + (to - from), watch->length);
}

static void handle_registers(struct session *session, const struct userfault *by, const struct uffd_msg *message)
{
	switch (message->event) {
	case UFFD_EVENT_PAGEFAULT:
		written(session, by, message->arg.pagefault.address);
		break;
	case UFFD_EVENT_UNMAP:
		unmapped(session, by, message->arg.remove.start, message->arg.remove.end);
		break;
	case UFFD_EVENT_REMAP:
		moved(session, by, message->arg.remap.from, message->arg.remap.to, message->arg.remap.len);
		break;
	default:
		break;
	}
}

/* --- memory that is mapped for DMA --- */

static void handle_memory(struct abi_memory *memory, const struct uffd_msg *message)
{
	switch (message->event) {
	case UFFD_EVENT_UNMAP:
		check_gone(memory, message->arg.remove.start, message->arg.remove.end, CHECK_UNMAPPED);
		break;
	case UFFD_EVENT_REMOVE:
		check_gone(memory, message->arg.remove.start, message->arg.remove.end, CHECK_DISCARDED);
		break;
	case UFFD_EVENT_REMAP:
		check_gone(memory, message->arg.remap.from, message->arg.remap.from + message->arg.remap.len, CHECK_MOVED);
		break;
	default:
		break;
	}
}

/* --- the thread --- */

/* Nothing that the lock's other takers hold is waited for. */
static ssize_t read_memory(struct session *session, const struct userfault *userfault)
{
	struct uffd_msg message;
	ssize_t length;

	pthread_mutex_lock(&session->gone_lock);
	length = read(userfault->fd, &message, sizeof(message));
	if (length == (ssize_t)sizeof(message))
		handle_memory(userfault->member->memory, &message);
	pthread_mutex_unlock(&session->gone_lock);
	return length;
}

static ssize_t read_registers(struct session *session, const struct userfault *userfault)
{
	struct uffd_msg message;
	ssize_t length = read(userfault->fd, &message, sizeof(message));

	if (length == (ssize_t)sizeof(message))
		handle_registers(session, userfault, &message);
	return length;
}

/* False: nothing comes from it any more. */
static bool handle(struct session *session, const struct userfault *userfault)
{
	ssize_t length = userfault->memory ? read_memory(session, userfault) : read_registers(session, userfault);

	return length > 0 || (length < 0 && (errno == EAGAIN || errno == EINTR));
}

/* Events name it by its descriptor, since it may have ended meanwhile. */
static struct userfault *find(struct session *session, int fd)
{
	struct userfault *userfault;

	cds_list_for_each_entry (userfault, &session->userfaults, link)
		if (userfault->fd == fd)
			return userfault;
	return NULL;
}

static void *run(void *opaque)
{
	struct session *session = opaque;
	struct epoll_event event;

	for (;;) {
		const struct userfault *userfault;

		if (epoll_wait(session->watching, &event, 1, -1) != 1)
			continue;
		if (event.data.fd == session->watch_wake)
			return NULL;
		pthread_mutex_lock(&session->watch_lock);
		userfault = find(session, event.data.fd);
		if (userfault && !handle(session, userfault))
			epoll_ctl(session->watching, EPOLL_CTL_DEL, userfault->fd, NULL);
		pthread_mutex_unlock(&session->watch_lock);
	}
}

/* The program went on when it was read what it did; that is under the lock until it has been reported. */
void watch_settle(struct session *session)
{
	pthread_mutex_lock(&session->gone_lock);
	pthread_mutex_unlock(&session->gone_lock);
}

static int put(struct session *session, int fd)
{
	struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};

	return epoll_ctl(session->watching, EPOLL_CTL_ADD, fd, &event) ? -errno : 0;
}

/* With the first userfaultfd. */
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

/* --- beginning and end --- */

/* Of another kind of file a read might wait for ever. */
static bool is_userfaultfd(int fd)
{
	static const char expected[] = "anon_inode:[userfaultfd]";
	char path[32], link[sizeof(expected)];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return readlink(path, link, sizeof(link)) == sizeof(expected) - 1 && !memcmp(link, expected, sizeof(expected) - 1) &&
	       fcntl(fd, F_GETFL) & O_NONBLOCK;
}

static struct userfault *find_of(const struct session *session, const struct member *member, bool memory)
{
	struct userfault *userfault;

	cds_list_for_each_entry (userfault, &session->userfaults, link)
		if (userfault->member == member && userfault->memory == memory)
			return userfault;
	return NULL;
}

static int add_userfault(struct session *session, struct userfault *userfault)
{
	int error = find_of(session, userfault->member, userfault->memory) ? -EEXIST : begin(session);

	if (!error)
		error = put(session, userfault->fd);
	if (!error)
		cds_list_add_tail(&userfault->link, &session->userfaults);
	return error;
}

int watch_take(struct session *session, const struct member *member, int fd, bool memory)
{
	struct userfault *userfault = is_userfaultfd(fd) ? malloc(sizeof(*userfault)) : NULL;
	int error = -EINVAL;

	if (userfault) {
		*userfault = (struct userfault){.member = member, .fd = fd, .memory = memory};
		pthread_mutex_lock(&session->watch_lock);
		error = add_userfault(session, userfault);
		pthread_mutex_unlock(&session->watch_lock);
	}
	if (error) {
		close(fd);
		free(userfault);
	} else if (memory) {
		check_watch(member->memory, fd);
	}
	return error;
}

/* As long as the lock is held, nobody who ends the mapping gets further than to the end of its watch. */
static int add_watch(struct session *session, struct watch *watch, const struct session_key *key)
{
	watch->file = held_mapped(session, key, watch->offset);
	if (!watch->file || !watch->file->ops->watch)
		return -EINVAL;
	cds_list_add_tail(&watch->link, &session->watches);
	abi_watch(watch->file, &watch->watcher);
	return 0;
}

/* For the device, which is to look once more, it is as if it were not mapped; its file is held all the same. */
static void never_written(struct session *session, const struct session_request *request)
{
	struct abi_file *file = held_mapped(session, &request->file, request->offset);

	if (!file || !file->ops->watch)
		return;
	held_unmapped(session, file, request->offset, request->count);
	abi_touched(file);
}

int watch_start(struct session *session, const struct member *member, const struct session_request *request)
{
	struct watch *watch = malloc(sizeof(*watch));
	int error;

	if (!watch)
		return -ENOMEM;
	*watch = (struct watch){.watcher = {.protect = protect},
				.offset = request->offset,
				.mapped = request->count,
				.address = request->argument,
				.length = request->count};
	pthread_mutex_lock(&session->watch_lock);
	watch->by = find_of(session, member, false);
	pthread_mutex_unlock(&session->watch_lock);
	/* It stays as long as its member, which calls. The kernel may keep us waiting, as it would keep the program. */
	error = watch->by ? register_range(watch->by, watch->address, watch->length) : -ENXIO;
	pthread_mutex_lock(&session->watch_lock);
	if (!error)
		error = add_watch(session, watch, &request->file);
	else if (error == -EPERM)
		never_written(session, request);
	pthread_mutex_unlock(&session->watch_lock);
	if (error)
		free(watch);
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
	struct userfault *userfault, *after;
	struct watch *watch, *next;

	check_end_watch(member->memory);
	pthread_mutex_lock(&session->watch_lock);
	cds_list_for_each_entry_safe (watch, next, &session->watches, link)
		if (watch->by->member == member)
			watch_end(watch);
	cds_list_for_each_entry_safe (userfault, after, &session->userfaults, link) {
		if (userfault->member != member)
			continue;
		cds_list_del(&userfault->link);
		/* Whoever waits for it goes on. */
		close(userfault->fd);
		free(userfault);
	}
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
