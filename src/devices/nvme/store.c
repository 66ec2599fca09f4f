/* SPDX-License-Identifier: BSD-3-Clause */
#include "devices/nvme/store.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include "util/thread.h"
#include "util/util.h"

enum { ZEROES = 1 << 16 };

/* --- memory --- */

/* Whole pages are given back to the system: they read as zeroes. */
static void memory_zero(struct store *store, uint64_t offset, uint64_t length)
{
	uint64_t mask = page_size() - 1, end = offset + length;
	uint64_t first = min_u64((offset + mask) & ~mask, end), last = max_u64(end & ~mask, first);

	memset(store->memory + offset, 0, first - offset);
	if (last > first && madvise(store->memory + first, last - first, MADV_DONTNEED))
		memset(store->memory + first, 0, last - first);
	memset(store->memory + last, 0, end - last);
}

static void memory_do(struct store *store, const struct store_request *request)
{
	const struct store_range *ranges = request->buffer;

	switch (request->op) {
	case STORE_ZERO:
		memory_zero(store, request->offset, request->length);
		break;
	case STORE_DISCARD:
		for (uint64_t i = 0; i < request->length; i++)
			memory_zero(store, ranges[i].offset, ranges[i].length);
		break;
	default:
		break;
	}
}

/* --- a file --- */

/* What is left of @vector goes to or comes from @offset on. */
static int transfer(const struct store *store, bool write, void *buffer, uint64_t offset, uint64_t length, int flags)
{
	while (length) {
		struct iovec vector = {buffer, length};
		ssize_t done = write ? pwritev2(store->fd, &vector, 1, (off_t)offset, flags)
				     : preadv2(store->fd, &vector, 1, (off_t)offset, flags);

		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0)
			return -errno;
		if (!done)
			return -EIO; /* somebody has made the file shorter */
		buffer = (uint8_t *)buffer + done;
		offset += (uint64_t)done;
		length -= (uint64_t)done;
	}
	return 0;
}

static int write_zeroes(const struct store *store, uint64_t offset, uint64_t length)
{
	static uint8_t zeroes[ZEROES];
	int error = 0;

	for (uint64_t part; length && !error; offset += part, length -= part) {
		part = min_u64(length, ZEROES);
		error = transfer(store, true, zeroes, offset, part, 0);
	}
	return error;
}

/* A file system that cannot do that is written to. */
static int file_zero(const struct store *store, uint64_t offset, uint64_t length, int mode)
{
	if (!length || !fallocate(store->fd, mode | FALLOC_FL_KEEP_SIZE, (off_t)offset, (off_t)length))
		return 0;
	return write_zeroes(store, offset, length);
}

static int file_do(const struct store *store, const struct store_request *request)
{
	const struct store_range *ranges = request->buffer;
	int error = 0;

	switch (request->op) {
	case STORE_READ:
		return transfer(store, false, request->buffer, request->offset, request->length, 0);
	case STORE_WRITE:
		return transfer(store, true, request->buffer, request->offset, request->length, request->durable ? RWF_DSYNC : 0);
	case STORE_ZERO:
		error = file_zero(store, request->offset, request->length, FALLOC_FL_ZERO_RANGE);
		break;
	case STORE_DISCARD:
		for (uint64_t i = 0; i < request->length && !error; i++)
			error = file_zero(store, ranges[i].offset, ranges[i].length, FALLOC_FL_PUNCH_HOLE);
		return error;
	default:
		break;
	}
	if (!error && (request->op == STORE_FLUSH || request->durable) && fdatasync(store->fd))
		error = -errno;
	return error;
}

bool store_try(struct store *store, struct store_request *request)
{
	struct iovec vector = {request->buffer, request->length};
	ssize_t done;

	request->error = 0;
	if (store->waits)
		return false;
	done = preadv2(store->fd, &vector, 1, (off_t)request->offset, RWF_NOWAIT);
	if (done < 0 && errno == EOPNOTSUPP)
		store->waits = true;
	return done == (ssize_t)request->length;
}

/* --- workers --- */

static void put(struct store_requests *list, struct store_request *request)
{
	request->next = NULL;
	/* store_ended() looks without the lock. */
	__atomic_store_n(list->last, request, __ATOMIC_RELEASE);
	list->last = &request->next;
}

static struct store_request *take_all(struct store_requests *list)
{
	struct store_request *first = list->first;

	list->first = NULL;
	list->last = &list->first;
	return first;
}

static struct store_request *take(struct store_requests *list)
{
	struct store_request *first = list->first;

	list->first = first->next;
	if (!first->next)
		list->last = &list->first;
	return first;
}

static void *work(void *opaque)
{
	struct store *store = opaque;
	struct store_request *request;

	pthread_mutex_lock(&store->lock);
	while (!store->stop) {
		if (!store->waiting.first) {
			pthread_cond_wait(&store->wake, &store->lock);
			continue;
		}
		request = take(&store->waiting);
		pthread_mutex_unlock(&store->lock);
		request->error = 0;
		if (store->fd < 0)
			memory_do(store, request);
		else
			request->error = file_do(store, request);
		pthread_mutex_lock(&store->lock);
		put(&store->ended, request);
		pthread_mutex_unlock(&store->lock);
		store->done(store->opaque);
		pthread_mutex_lock(&store->lock);
	}
	pthread_mutex_unlock(&store->lock);
	return NULL;
}

void store_submit(struct store *store, struct store_request *request)
{
	pthread_mutex_lock(&store->lock);
	put(&store->waiting, request);
	pthread_mutex_unlock(&store->lock);
	pthread_cond_signal(&store->wake);
}

struct store_request *store_collect(struct store *store)
{
	struct store_request *first = NULL;

	if (!store_ended(store))
		return NULL;
	pthread_mutex_lock(&store->lock);
	first = take_all(&store->ended);
	pthread_mutex_unlock(&store->lock);
	return first;
}

bool store_ended(struct store *store)
{
	return __atomic_load_n(&store->ended.first, __ATOMIC_ACQUIRE);
}

int store_open(struct store *store, int fd, uint64_t size, void (*done)(void *opaque), void *opaque)
{
	int error = 0;

	*store = (struct store){.fd = fd, .size = size, .done = done, .opaque = opaque};
	pthread_mutex_init(&store->lock, NULL);
	pthread_cond_init(&store->wake, NULL);
	store->waiting.last = &store->waiting.first;
	store->ended.last = &store->ended.first;
	if (fd < 0) {
		store->memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		if (store->memory == MAP_FAILED) {
			store->memory = NULL;
			return -ENOMEM;
		}
	}
	for (; store->worker_count < STORE_WORKERS && !error; store->worker_count += !error)
		error = thread_start(&store->workers[store->worker_count], work, store);
	return error;
}

void store_close(struct store *store)
{
	pthread_mutex_lock(&store->lock);
	store->stop = true;
	pthread_cond_broadcast(&store->wake);
	pthread_mutex_unlock(&store->lock);
	for (unsigned int i = 0; i < store->worker_count; i++)
		pthread_join(store->workers[i], NULL);
	pthread_cond_destroy(&store->wake);
	pthread_mutex_destroy(&store->lock);
	if (store->memory)
		munmap(store->memory, store->size);
	if (store->fd >= 0)
		close(store->fd);
}
