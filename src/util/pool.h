/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Objects of one size, aligned to cache lines, last in first out: the one that was freed last is still in the cache. Chunks double
 * up to huge pages, since what lives in them is visited at random. Memory goes back when the last object has been freed.
 *
 * Not thread-safe: the owner's lock.
 */
#ifndef UTIL_POOL_H
#define UTIL_POOL_H

#include <stddef.h>

struct pool_chunk;

struct pool {
	size_t size; /* of an object, a multiple of 64 */
	void *free;
	char *fresh; /* never used yet, up to @fresh_end */
	char *fresh_end;
	size_t live;
	struct pool_chunk *chunks;
};

void pool_init(struct pool *pool, size_t size);
void pool_fini(struct pool *pool);

/* Undefined content; NULL if there is no memory. */
void *pool_alloc(struct pool *pool);
void pool_free(struct pool *pool, void *object);

#endif
