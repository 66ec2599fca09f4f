/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Pages for tables of our own: 4 KiB each, with a word beside each one that readers of the table do not see.
 *
 * Chunks are aligned to 2 MiB, which leads from a page to its word. The first one is small; later ones are huge pages if the kernel
 * likes: one fault instead of 512, and fewer TLB misses of walks. What is free stays, at most two whole chunks of it.
 *
 * Not thread-safe: the owner's lock.
 */
#ifndef PGTABLE_PAGES_H
#define PGTABLE_PAGES_H

#include <stdint.h>
#include <urcu/list.h>

enum { PAGES_LG2 = 12, PAGES_SIZE = 1 << PAGES_LG2 };

struct pages {
	struct cds_list_head spare; /* chunks with free pages; empty ones are last */
	struct cds_list_head full;
	uint64_t free;
	uint64_t taken;
	unsigned int empty; /* chunks */
};

/* The page's owner decides what it is. */
union pages_word {
	uint64_t number;
	uint64_t *page;
};

void pages_init(struct pages *pages);
/* Free all memory. */
void pages_fini(struct pages *pages);

/* The next @count pages_take() succeed. -ENOMEM. */
int pages_reserve(struct pages *pages, uint64_t count);

/* Undefined content, the word, too. A page has been reserved. */
uint64_t *pages_take(struct pages *pages);
void pages_free(struct pages *pages, uint64_t *page);

union pages_word *pages_word(const uint64_t *page);

#endif
