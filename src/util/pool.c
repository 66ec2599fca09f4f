/* SPDX-License-Identifier: BSD-3-Clause */
#include "util/pool.h"

#include <stdbool.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "util/util.h"

#if defined(__SANITIZE_ADDRESS__)
#define POOL_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define POOL_ASAN 1
#endif
#endif

#ifdef POOL_ASAN
#include <sanitizer/asan_interface.h>
#define POISON(address, size) __asan_poison_memory_region(address, size)
#define UNPOISON(address, size) __asan_unpoison_memory_region(address, size)
#else
#define POISON(address, size) ((void)0)
#define UNPOISON(address, size) ((void)0)
#endif

enum { LINE = 64, CHUNK_FIRST = 4096, CHUNK_HUGE = 2 * 1024 * 1024 };

struct pool_chunk {
	struct pool_chunk *next;
	size_t size;
};

struct pool_free {
	struct pool_free *next;
};

void pool_init(struct pool *pool, size_t size)
{
	*pool = (struct pool){.size = size};
}

static void release_chunks(struct pool *pool)
{
	struct pool_chunk *chunk = pool->chunks, *next;

	for (; chunk; chunk = next) {
		next = chunk->next;
		UNPOISON(chunk, chunk->size);
		free(chunk);
	}
}

void pool_fini(struct pool *pool)
{
	release_chunks(pool);
	pool_init(pool, pool->size);
}

static bool grow(struct pool *pool)
{
	size_t size = pool->chunks ? min_u64(pool->chunks->size * 8, CHUNK_HUGE) : CHUNK_FIRST;
	struct pool_chunk *chunk = aligned_alloc(size < CHUNK_HUGE ? LINE : CHUNK_HUGE, size);

	if (!chunk)
		return false;
	if (size == CHUNK_HUGE)
		madvise(chunk, size, MADV_HUGEPAGE); /* only a wish */
	chunk->next = pool->chunks;
	chunk->size = size;
	pool->chunks = chunk;
	pool->fresh = (char *)chunk + LINE;
	pool->fresh_end = (char *)chunk + size;
	POISON(pool->fresh, size - LINE);
	return true;
}

void *pool_alloc(struct pool *pool)
{
	struct pool_free *object = pool->free;

	if (object) {
		UNPOISON(object, pool->size);
		pool->free = object->next;
	} else {
		if ((size_t)(pool->fresh_end - pool->fresh) < pool->size && !grow(pool))
			return NULL;
		object = (void *)pool->fresh;
		UNPOISON(object, pool->size);
		pool->fresh += pool->size;
	}
	pool->live++;
	return object;
}

void pool_free(struct pool *pool, void *object)
{
	struct pool_free *head = object;

	if (!--pool->live && pool->chunks->next) {
		pool_fini(pool);
		return;
	}
	head->next = pool->free;
	pool->free = head;
	POISON(head, pool->size);
}
