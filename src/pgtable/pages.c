/* SPDX-License-Identifier: BSD-3-Clause */
#include "pgtable/pages.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "util/bits.h"
#include "util/util.h"

enum {
	CHUNK = 2 * 1024 * 1024,
	CHUNK_PAGES = CHUNK / PAGES_SIZE,
	CHUNK_PAGES_FIRST = 16, /* what is behind them is never touched */
	EMPTY_MAX = 2,
};

/* At the start of it, in two pages. */
struct chunk {
	struct cds_list_head link;
	unsigned int pages;
	unsigned int free;
	uint64_t map[CHUNK_PAGES / 64]; /* of free pages */
	union pages_word word[CHUNK_PAGES];
};

enum { HEADER_PAGES = (sizeof(struct chunk) + PAGES_SIZE - 1) / PAGES_SIZE };

static struct chunk *chunk_of(const uint64_t *page)
{
	return (struct chunk *)((uintptr_t)page & ~(uintptr_t)(CHUNK - 1));
}

static unsigned int index_of(const uint64_t *page)
{
	return (uintptr_t)page / PAGES_SIZE % CHUNK_PAGES;
}

static bool is_empty(const struct chunk *chunk)
{
	return chunk->free == chunk->pages;
}

void pages_init(struct pages *pages)
{
	*pages = (struct pages){.free = 0};
	CDS_INIT_LIST_HEAD(&pages->spare);
	CDS_INIT_LIST_HEAD(&pages->full);
}

static void free_all(struct cds_list_head *list)
{
	struct chunk *chunk, *next;

	cds_list_for_each_entry_safe (chunk, next, list, link)
		free(chunk);
}

void pages_fini(struct pages *pages)
{
	free_all(&pages->spare);
	free_all(&pages->full);
	pages_init(pages);
}

static bool grow(struct pages *pages)
{
	bool first = cds_list_empty(&pages->spare) && cds_list_empty(&pages->full);
	struct chunk *chunk = aligned_alloc(CHUNK, CHUNK);
	unsigned int end = first ? CHUNK_PAGES_FIRST : CHUNK_PAGES;

	if (!chunk)
		return false;
	if (!first)
		madvise(chunk, CHUNK, MADV_HUGEPAGE); /* only a wish */
	chunk->pages = chunk->free = end - HEADER_PAGES;
	memset(chunk->map, 0, sizeof(chunk->map));
	for (unsigned int i = HEADER_PAGES; i < end; i++)
		chunk->map[i / 64] |= BIT64(i % 64);
	cds_list_add_tail(&chunk->link, &pages->spare);
	pages->free += chunk->free;
	pages->empty++;
	return true;
}

static void shrink(struct pages *pages)
{
	CDS_LIST_HEAD(excess);

	while (pages->empty > EMPTY_MAX) {
		struct chunk *chunk = cds_list_entry(pages->spare.prev, struct chunk, link);

		cds_list_move(&chunk->link, &excess);
		pages->free -= chunk->free;
		pages->empty--;
	}
	free_all(&excess);
}

int pages_reserve(struct pages *pages, uint64_t count)
{
	while (pages->free < count) {
		if (!grow(pages)) {
			shrink(pages);
			return -ENOMEM;
		}
	}
	return 0;
}

uint64_t *pages_take(struct pages *pages)
{
	struct chunk *chunk = cds_list_first_entry(&pages->spare, struct chunk, link);
	unsigned int i = 0;

	while (!chunk->map[i])
		i++;
	pages->empty -= is_empty(chunk);
	pages->free--;
	pages->taken++;
	if (!--chunk->free)
		cds_list_move(&chunk->link, &pages->full);
	i = i * 64 + (unsigned int)__builtin_ctzll(chunk->map[i]);
	chunk->map[i / 64] &= chunk->map[i / 64] - 1;
	return (uint64_t *)(void *)((char *)chunk + (size_t)i * PAGES_SIZE);
}

void pages_free(struct pages *pages, uint64_t *page)
{
	struct chunk *chunk = chunk_of(page);
	unsigned int i = index_of(page);

	chunk->map[i / 64] |= BIT64(i % 64);
	pages->free++;
	pages->taken--;
	chunk->free++;
	if (is_empty(chunk)) {
		cds_list_del(&chunk->link);
		cds_list_add_tail(&chunk->link, &pages->spare);
		pages->empty++;
		shrink(pages);
	} else if (chunk->free == 1) {
		cds_list_move(&chunk->link, &pages->spare);
	}
}

union pages_word *pages_word(const uint64_t *page)
{
	return &chunk_of(page)->word[index_of(page)];
}
