/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * When is a file closed for the last time? Its descriptors are in other processes, duplicated, inherited and on their way
 * through sockets; only the kernel knows. It tells of two kinds of files that poll(2) as the real ones do.
 *
 * A memfd is always ready, as /dev/iommu and VFIO's files are. Each program's open is an opening of its own, through /proc, of a
 * memfd whose name only this process has; inotify tells of the end of each. It does so before close(2), munmap(2) or the exit of
 * the process are over, so that no request that comes after them is served before it is known.
 *
 * A pipe is what is waited for: readable while there are bytes in it, which are there while the file has something to read. When
 * the last reader has gone, the pipe's other end shows an error. If the file can be written to, the descriptor is both of the
 * pipe's ends.
 *
 * Both are marked by their mode and named by their inode.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "abi/session/session.h"
#include "util/util.h"

struct held {
	struct ending ending;
	struct held *next; /* of the bucket */
	struct session_key key;
	struct abi_file *file; /* a reference */
	struct range *ranges; /* of other files, that are mapped of this memfd */
	int watch; /* of the memfd, or -1 */
	int openings; /* of it: one, or none; not known if there is a probe */
	int pipe; /* its end, or -1 */
	int probe; /* an opening of our own, of a memfd that is only mapped, or that is opened more than once; or -1 */
	size_t bytes; /* in the pipe */
	bool suspect; /* something was closed, but perhaps not everything */
};

/* A range of a file, mapped somewhere. */
struct range {
	struct range *next;
	struct abi_file *file; /* a reference */
	uint64_t offset;
	uint64_t length;
	uint64_t count; /* how often */
};

static struct held **bucket(struct session *session, uint64_t inode)
{
	return &session->held[inode % SESSION_BUCKETS];
}

/* Under the lock. */
static struct held *find(struct session *session, const struct session_key *key)
{
	struct held *held = *bucket(session, key->inode);

	while (held && (held->key.inode != key->inode || held->key.device != key->device))
		held = held->next;
	return held;
}

static void insert(struct session *session, struct held *held)
{
	struct held **link = bucket(session, held->key.inode);

	held->next = *link;
	*link = held;
	session->held_count++;
}

static void take_out(struct session *session, struct held *held)
{
	struct held **link = bucket(session, held->key.inode);

	while (*link != held)
		link = &(*link)->next;
	*link = held->next;
	session->held_count--;
}

static struct held *held_new(int fd)
{
	struct held *held = calloc(1, sizeof(*held));
	struct stat stat;

	if (!held || fstat(fd, &stat)) {
		free(held);
		return NULL;
	}
	held->key = (struct session_key){stat.st_dev, stat.st_ino};
	held->watch = held->pipe = held->probe = -1;
	return held;
}

/* With what has been taken out: if the memfd is opened again, nothing of before is told of it. */
static void unwatch(struct session *session, struct held *held)
{
	if (held->watch >= 0)
		inotify_rm_watch(session->inotify, held->watch);
	held->watch = -1;
}

/* Not under the lock: the end of a file waits for its accesses in flight. */
static void held_free(struct session *session, struct ending *ending)
{
	struct held *held = container_of(ending, struct held, ending);

	while (held->ranges) {
		struct range *range = held->ranges;

		held->ranges = range->next;
		watch_end_mapping(session, range->file, range->offset);
		for (; range->count; range->count--)
			abi_munmap(range->file, range->offset, range->length);
		abi_file_put(range->file);
		free(range);
	}
	unwatch(session, held);
	if (held->pipe >= 0) {
		epoll_ctl(session->ready, EPOLL_CTL_DEL, held->file->descriptor, NULL);
		close(held->pipe);
	}
	if (held->probe >= 0)
		close(held->probe);
	abi_file_put(held->file);
	free(held);
}

/* The same file, opened once more. */
static int open_again(int fd, int flags)
{
	char path[32];
	int again;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	again = open(path, flags | O_CLOEXEC);
	return again < 0 ? -errno : again;
}

static int watch(struct session *session, int fd, int *out)
{
	char path[32];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	*out = inotify_add_watch(session->inotify, path, IN_OPEN | IN_CLOSE);
	return *out < 0 ? -ENOMEM : 0;
}

static int epoll_put(int epoll, int fd, uint32_t events, uint64_t inode)
{
	struct epoll_event event = {.events = events, .data.u64 = inode};

	return epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) ? -errno : 0;
}

/* Nobody can be asked about an opening for nothing (3), as is_only_ours() does. */
static int access_of(int flags)
{
	return (flags & O_ACCMODE) == O_ACCMODE ? O_RDWR : flags & O_ACCMODE;
}

/* What of open(2)'s other flags stays with a description. */
static int kept(int flags)
{
	return flags & (O_NONBLOCK | O_ASYNC);
}

/* Its first opening: from now on inotify tells of it. Under the lock. */
static int open_first(struct session *session, struct abi_file *file, int fd)
{
	struct held *held = held_new(fd);
	int error = held ? watch(session, fd, &held->watch) : -ENOMEM;

	if (error) {
		free(held);
		return error;
	}
	held->openings = 1;
	held->file = file;
	insert(session, held);
	return 0;
}

/* Under the lock as a whole: who looks for what has ended does it before, or sees this opening. */
static int open_memfd(struct session *session, struct abi_file *file, int flags, const struct stat *stat, int *fd)
{
	struct held *held = find(session, &(struct session_key){stat->st_dev, stat->st_ino});
	int error;

	if (fchmod(file->descriptor, SESSION_MODE))
		return -ENOMEM;
	*fd = open_again(file->descriptor, access_of(flags) | kept(flags));
	if (*fd < 0)
		return *fd == -EMFILE ? -EMFILE : -ENOMEM;
	error = held ? 0 : open_first(session, file, *fd);
	if (error)
		close(*fd);
	else if (held)
		abi_file_put(file); /* not the last one: that is of @held */
	return error;
}

static int open_pipe(struct session *session, struct abi_file *file, int flags, short events, struct held **out, int *fd)
{
	struct held *held = NULL;
	int ends[2], error = -ENOMEM;

	if (pipe2(ends, O_CLOEXEC | O_NONBLOCK))
		return -EMFILE;
	*fd = open_again(ends[0], (events & POLLOUT ? O_RDWR : O_RDONLY) | kept(flags));
	if (*fd >= 0 && !fchmod(*fd, SESSION_MODE))
		held = held_new(*fd);
	close(ends[0]);
	if (held) {
		held->pipe = ends[1];
		error = epoll_put(session->closing, ends[1], 0, held->key.inode);
		if (!error)
			error = epoll_put(session->ready, file->descriptor, EPOLLIN | EPOLLET, held->key.inode);
	}
	if (error) {
		close(ends[1]);
		if (*fd >= 0)
			close(*fd);
		free(held);
		return error;
	}
	*out = held;
	return 0;
}

/*
 * A byte comes into the pipe, or all are taken out of it. @taken: somebody has read from the file, and may wait for the edge of
 * what has come since: that is another byte. Under the lock.
 */
static void pipe_update(struct session *session, struct held *held, bool taken)
{
	struct pollfd state = {.fd = held->file->descriptor, .events = POLLIN};
	bool readable = poll(&state, 1, 0) > 0 && state.revents & POLLIN;
	char bytes[256] = {0};
	int reader;

	if (readable) {
		if (!held->bytes || taken)
			held->bytes += write(held->pipe, bytes, 1) == 1;
		return;
	}
	if (!held->bytes)
		return;
	/* As long as we have it open it does not show that nobody else has. */
	__atomic_store_n(&session->unsettled, true, __ATOMIC_RELEASE);
	reader = open_again(held->pipe, O_RDONLY | O_NONBLOCK);
	if (reader < 0)
		return; /* woken for nothing, as anybody may be */
	while (held->bytes) {
		ssize_t length = read(reader, bytes, min_u64(held->bytes, sizeof(bytes)));

		held->bytes = length > 0 ? held->bytes - (size_t)length : 0;
	}
	close(reader);
}

static int open_ready(struct session *session, struct abi_file *file, int flags, short events, int *fd)
{
	struct held *held = NULL;
	int error = open_pipe(session, file, flags, events, &held, fd);

	if (error)
		return error;
	held->file = file;
	pthread_mutex_lock(&session->lock);
	insert(session, held);
	pipe_update(session, held, false);
	pthread_mutex_unlock(&session->lock);
	return 0;
}

int held_open(struct session *session, struct abi_file *file, int flags, int *fd)
{
	struct pollfd state = {.fd = file->descriptor, .events = POLLIN | POLLOUT};
	struct stat stat;
	int error;

	if (fstat(file->descriptor, &stat) || poll(&state, 1, 0) < 0)
		return -ENOMEM;
	if (!S_ISREG(stat.st_mode))
		return open_ready(session, file, flags, state.revents, fd);
	pthread_mutex_lock(&session->lock);
	error = open_memfd(session, file, flags, &stat, fd);
	pthread_mutex_unlock(&session->lock);
	return error;
}

struct abi_file *held_find(struct session *session, const struct session_key *key)
{
	struct abi_file *file = NULL;
	struct held *held;

	pthread_mutex_lock(&session->lock);
	held = find(session, key);
	if (held && held->file)
		file = abi_file_get(held->file);
	pthread_mutex_unlock(&session->lock);
	return file;
}

struct abi_file *held_find_fd(struct session *session, int fd)
{
	struct stat stat;

	if (fstat(fd, &stat) || (stat.st_mode & 07777) != SESSION_MODE)
		return NULL;
	return held_find(session, &(struct session_key){stat.st_dev, stat.st_ino});
}

/* Nobody but us has the memfd open, or mapped. Asked by what a lease needs: that nobody else could write. */
static bool is_only_ours(int probe)
{
	if (fcntl(probe, F_SETLEASE, F_WRLCK))
		return false;
	fcntl(probe, F_SETLEASE, F_UNLCK);
	return true;
}

/* Is it over? Under the lock. */
static bool has_ended(struct held *held)
{
	struct pollfd state = {.fd = held->pipe};

	if (held->pipe >= 0)
		return poll(&state, 1, 0) > 0 && state.revents & POLLERR;
	if (held->probe >= 0)
		return held->suspect && is_only_ours(held->probe);
	return held->openings <= 0;
}

/*
 * Once more, by us or through /proc. Several cannot be counted: inotify tells only once of what happens twice in a row. As of
 * memfds that are mapped it is asked from now on whether there is any.
 */
static void opened(struct held *held)
{
	if (held->probe >= 0)
		return;
	held->probe = open_again(held->file->descriptor, O_RDWR);
	if (held->probe < 0) {
		held->probe = -1;
		held->openings++;
	}
}

static void count(struct session *session, const struct inotify_event *event)
{
	for (size_t i = 0; i < SESSION_BUCKETS; i++)
		for (struct held *held = session->held[i]; held; held = held->next)
			if (held->watch == event->wd) {
				if (event->mask & IN_OPEN)
					opened(held);
				else
					held->openings--;
				held->suspect |= !(event->mask & IN_OPEN);
				return;
			}
}

static void read_inotify(struct session *session)
{
	char buffer[4096] __attribute__((aligned(8)));
	ssize_t length;

	while ((length = read(session->inotify, buffer, sizeof(buffer))) > 0)
		for (ssize_t at = 0; at < length;) {
			struct inotify_event event;

			memcpy(&event, buffer + at, sizeof(event));
			if (event.mask & (IN_OPEN | IN_CLOSE))
				count(session, &event);
			at += (ssize_t)(sizeof(event) + event.len);
		}
}

/* Take out what has ended. Under the lock. */
static struct held *collect(struct session *session)
{
	struct held *ended = NULL;
	bool unsettled = false;

	for (size_t i = 0; i < SESSION_BUCKETS; i++)
		for (struct held *held = session->held[i], *next; held; held = next) {
			next = held->next;
			if (has_ended(held)) {
				take_out(session, held);
				unwatch(session, held);
				held->next = ended;
				ended = held;
			} else if (held->probe >= 0) {
				unsettled |= held->suspect;
			}
		}
	__atomic_store_n(&session->unsettled, unsettled, __ATOMIC_RELEASE);
	return ended;
}

void held_drain(struct session *session)
{
	struct epoll_event event;
	struct held *ended;

	/* In this order: what is settled by another one now is over when he is no longer draining. */
	if (epoll_wait(session->closing, &event, 1, 0) <= 0 && !__atomic_load_n(&session->unsettled, __ATOMIC_ACQUIRE) &&
	    !__atomic_load_n(&session->draining, __ATOMIC_ACQUIRE))
		return;
	/* Whoever comes meanwhile waits until it is over. */
	pthread_mutex_lock(&session->drain_lock);
	__atomic_store_n(&session->draining, true, __ATOMIC_RELEASE);
	do {
		pthread_mutex_lock(&session->lock);
		read_inotify(session);
		ended = collect(session);
		pthread_mutex_unlock(&session->lock);
		for (struct held *held = ended, *next; held; held = next) {
			next = held->next;
			held->ending.end = held_free;
			ends_add(session, &held->ending);
		}
		ends_wait(session);
		/* What has ended may have been the last that had a mapping's file open. */
	} while (ended);
	__atomic_store_n(&session->draining, false, __ATOMIC_RELEASE);
	pthread_mutex_unlock(&session->drain_lock);
}

void held_poll(struct session *session, const struct session_key *key, bool taken)
{
	struct held *held;

	pthread_mutex_lock(&session->lock);
	held = find(session, key);
	if (held && held->pipe >= 0)
		pipe_update(session, held, taken);
	pthread_mutex_unlock(&session->lock);
}

/* All pipes are of one device. */
static void poll_inode(struct session *session, uint64_t inode)
{
	pthread_mutex_lock(&session->lock);
	for (struct held *held = *bucket(session, inode); held; held = held->next)
		if (held->key.inode == inode && held->pipe >= 0)
			pipe_update(session, held, false);
	pthread_mutex_unlock(&session->lock);
}

void held_poll_ready(struct session *session)
{
	struct epoll_event events[16];
	int count = epoll_wait(session->ready, events, ARRAY_SIZE(events), 0);

	for (int i = 0; i < count; i++)
		poll_inode(session, events[i].data.u64);
}

/* A memfd that is mapped, and is nobody's descriptor. Under the lock. */
static struct held *mapped_new(struct session *session, int fd)
{
	int probe = open_again(fd, O_RDWR);
	struct held *held = probe < 0 ? NULL : held_new(probe);

	if (!held || watch(session, probe, &held->watch)) {
		if (probe >= 0)
			close(probe);
		free(held);
		return NULL;
	}
	held->probe = probe;
	insert(session, held);
	return held;
}

static struct range *find_range(const struct held *held, const struct abi_file *file, uint64_t offset, uint64_t length)
{
	struct range *range = held->ranges;

	while (range && (range->file != file || range->offset != offset || range->length != length))
		range = range->next;
	return range;
}

/* Once more, if it is; else with @made, which is then used up. */
static void add_range(struct held *held, struct range **made)
{
	struct range *range = find_range(held, (*made)->file, (*made)->offset, (*made)->length);

	if (!range) {
		range = *made;
		*made = NULL;
		abi_file_get(range->file);
		range->next = held->ranges;
		held->ranges = range;
	}
	range->count++;
}

static int remember_range(struct session *session, struct abi_file *file, uint64_t offset, uint64_t length, int fd)
{
	struct range *range = malloc(sizeof(*range));
	struct held *held;
	struct stat stat;
	int error = 0;

	if (!range || fstat(fd, &stat)) {
		free(range);
		return -ENOMEM;
	}
	length = (length + page_size() - 1) & ~(page_size() - 1);
	*range = (struct range){.file = file, .offset = offset, .length = length};
	pthread_mutex_lock(&session->lock);
	held = find(session, &(struct session_key){stat.st_dev, stat.st_ino});
	if (!held)
		held = mapped_new(session, fd);
	if (held) {
		/* Not to be taken for ended before it has been opened. */
		held->suspect = false;
		add_range(held, &range);
	} else {
		error = -ENOMEM;
	}
	pthread_mutex_unlock(&session->lock);
	free(range);
	return error;
}

int held_map(struct session *session, struct abi_file *file, const struct session_request *request,
	     const struct abi_mapping *mapping, int *fd)
{
	int error;

	/* With it goes what the mapping may become (mprotect). */
	*fd = open_again(mapping->fd, request->number & O_ACCMODE);
	if (*fd < 0)
		return *fd;
	error = remember_range(session, file, request->offset, request->count, mapping->fd);
	if (error)
		close(*fd);
	return error;
}

static bool has_range(const struct held *held, const struct abi_file *file, uint64_t offset)
{
	const struct range *range = held->ranges;

	while (range && (range->file != file || range->offset != offset))
		range = range->next;
	return range;
}

struct abi_file *held_mapped(struct session *session, const struct session_key *key, uint64_t offset)
{
	struct abi_file *file = NULL;
	struct held *held;
	bool found = false;

	pthread_mutex_lock(&session->lock);
	held = find(session, key);
	if (held)
		file = held->file;
	for (size_t i = 0; file && i < SESSION_BUCKETS && !found; i++)
		for (held = session->held[i]; held && !found; held = held->next)
			found = has_range(held, file, offset);
	pthread_mutex_unlock(&session->lock);
	return found ? file : NULL;
}

void held_unmapped(struct session *session, const struct abi_file *file, uint64_t offset, uint64_t length)
{
	struct range *range = NULL;

	pthread_mutex_lock(&session->lock);
	for (size_t i = 0; i < SESSION_BUCKETS && !range; i++)
		for (const struct held *held = session->held[i]; held && !range; held = held->next)
			range = find_range(held, file, offset, length);
	if (range && range->count)
		range->count--;
	else
		range = NULL;
	pthread_mutex_unlock(&session->lock);
	/* Who ends it ends the watch first, for which the caller has the lock. */
	if (range)
		abi_munmap(range->file, offset, length);
}

void held_list(struct session *session, FILE *out)
{
	pthread_mutex_lock(&session->lock);
	for (size_t i = 0; i < SESSION_BUCKETS; i++)
		for (const struct held *held = session->held[i]; held; held = held->next)
			if (held->file)
				session_list_file(out, held->key.inode, held->file);
	pthread_mutex_unlock(&session->lock);
}

void held_end(struct session *session)
{
	for (size_t i = 0; i < SESSION_BUCKETS; i++) {
		struct held *held = session->held[i], *next;

		session->held[i] = NULL;
		for (; held; held = next) {
			next = held->next;
			held_free(session, &held->ending);
		}
	}
	session->held_count = 0;
}
