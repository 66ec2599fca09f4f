/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What holds a namespace's bytes: a file or memory.
 *
 * Memory is read and written in place, and what a file has in the page cache is read at once. All else may sleep and is done by
 * workers, which touch only the store and the request's own buffer: no worker knows of guests.
 */
#ifndef NVME_STORE_H
#define NVME_STORE_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum store_op {
	STORE_READ,
	STORE_WRITE,
	STORE_ZERO,
	STORE_DISCARD, /* the ranges in the buffer */
	STORE_FLUSH,
};

struct store_range {
	uint64_t offset, length;
};

struct store_request {
	enum store_op op;
	bool durable; /* WRITE, ZERO: as if a flush followed */
	uint64_t offset, length; /* inside of the store; DISCARD: @length is the number of ranges */
	void *buffer; /* of @length bytes, or ranges */
	int error; /* out */
	struct store_request *next;
};

struct store_requests {
	struct store_request *first, **last;
};

enum { STORE_WORKERS = 4 };

struct store {
	int fd; /* -1: memory */
	uint8_t *memory; /* or NULL */
	uint64_t size;
	bool waits; /* reads that do not sleep are not supported; the submitter's */
	void (*done)(void *opaque); /* something can be collected: called by a worker, without a lock */
	void *opaque;

	pthread_mutex_t lock;
	pthread_cond_t wake;
	struct store_requests waiting, ended;
	bool stop;
	pthread_t workers[STORE_WORKERS];
	unsigned int worker_count;
};

/* A file, which is taken over, or with -1 memory of @size bytes: -EAGAIN, -ENOMEM. store_close() in any case. */
int store_open(struct store *store, int fd, uint64_t size, void (*done)(void *opaque), void *opaque);

/* What no worker has begun is not done any more. */
void store_close(struct store *store);

/* Read if that can be done without sleeping. */
bool store_try(struct store *store, struct store_request *request);

/* Give it to the workers. */
void store_submit(struct store *store, struct store_request *request);

/* What the workers have done since the last time; NULL: nothing. */
struct store_request *store_collect(struct store *store);

/* Is there anything to be collected? */
bool store_ended(struct store *store);

#endif
