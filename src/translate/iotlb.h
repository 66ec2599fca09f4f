/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * IOTLB: translations that have been walked, of all attachments that share a guest's memory. And with the same means, where the
 * tables of the lowest levels are, for walks that find no translation (stages.c): then a page is the block of addresses that one
 * table serves.
 *
 * What it holds is (tag, privilege, address) to output address, where the output is what the stages give: guest-physical. So taking
 * memory away from the guest needs no invalidation here; the area is looked up at each access.
 *
 * A *tag* stands for one set of page tables at one time (struct iotlb_owner). Invalidating all that a PASID or domain has cached
 * gives it another tag: one store, however much is cached, and nothing matches the old one again. Tags are a few bits; when they
 * have all been used the cache is emptied, and every owner gets a new one. Single pages are looked for where they can be.
 *
 * A set is one cache line: a sequence number and WAYS entries. Readers write nothing; they read again what they compared when the
 * sequence number has changed. Who fills or clears makes it odd meanwhile; a fill that finds it odd is dropped.
 *
 * A fill that races with an invalidation: it began with iotlb_begin(), before its walk read any table. If the tag has changed, it
 * is stored under the old one, where nobody looks. If a page has been invalidated, @cleared has, which the filler compares with the
 * set locked: either it sees that and drops the fill, or the invalidation comes to that set later and clears it. And if it began
 * while pages were being looked for, it is dropped, because it may come from what was found here and not yet cleared.
 */
#ifndef TRANSLATE_IOTLB_H
#define TRANSLATE_IOTLB_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <urcu/list.h>

#include "pgtable/pgtable.h"
#include "util/bits.h"
#include "util/util.h"

enum { IOTLB_WAYS = 3 };

struct iotlb_entry {
	uint64_t key; /* [63:12] address, [11:6] size, [5] user; [4:0] not compared: access */
	uint64_t value; /* [63:24] output address without its low 12 bits, [23:0] tag */
};

struct iotlb_set {
	uint32_t sequence; /* odd: somebody writes */
	uint32_t next; /* way that is replaced next */
	uint64_t unused;
	struct iotlb_entry way[IOTLB_WAYS];
} __attribute__((aligned(64)));

struct iotlb {
	struct iotlb_set *sets; /* NULL: caches nothing */
	uint64_t mask; /* of the offsets of sets */
	uint64_t cleared; /* counts the beginnings and ends of looking for pages: odd meanwhile */
	uint32_t tag; /* the last one given */
	uint32_t joined; /* how many owners have, so far */
	struct cds_list_head owners;
	pthread_mutex_t lock; /* of tags, owners and @cleared; a leaf */
};

/* Something that has translations cached. What a hit needs is together. */
struct iotlb_owner {
	uint64_t tag; /* 0: caches nothing */
	uint64_t spread; /* what it adds to the offset of a set; it never changes */
	uint64_t sizes; /* bit n: pages of 1 << n bytes have been cached since the tag began */
	struct iotlb_set *sets; /* the IOTLB's */
	uint64_t mask;
	struct cds_list_head link;
};

/* What a hit says. */
struct iotlb_hit {
	uint64_t oa;
	uint64_t length; /* to the end of the page */
	unsigned int access; /* without WRITE as long as the dirty bit is to be set by a walk */
};

/* Where a fill began. */
struct iotlb_fill {
	uint64_t tag;
	uint64_t cleared;
};

/* For at least @entries; 0: none. -ENOMEM. */
int iotlb_init(struct iotlb *iotlb, uint64_t entries);
void iotlb_fini(struct iotlb *iotlb);

void iotlb_join(struct iotlb *iotlb, struct iotlb_owner *owner);
void iotlb_part(struct iotlb *iotlb, struct iotlb_owner *owner);

/* Forget all that @owner has cached, or that all have. */
void iotlb_renew(struct iotlb *iotlb, struct iotlb_owner *owner);
void iotlb_renew_all(struct iotlb *iotlb);

/* Forget the pages of [start, last]. */
void iotlb_clear(struct iotlb *iotlb, struct iotlb_owner *owner, uint64_t start, uint64_t last);

void iotlb_fill(struct iotlb *iotlb, struct iotlb_owner *owner, const struct iotlb_fill *fill, uint64_t address, bool user,
		const struct pgtable_result *result);

/* The same of a step. @inner: of the stage behind another one. */
void iotlb_fill_step(struct iotlb *iotlb, struct iotlb_owner *owner, const struct iotlb_fill *fill, uint64_t address, bool inner,
		     const struct pgtable_step *step);

static inline struct iotlb_fill iotlb_begin(const struct iotlb *iotlb, const struct iotlb_owner *owner)
{
	return (struct iotlb_fill){
		.tag = __atomic_load_n(&owner->tag, __ATOMIC_ACQUIRE),
		.cleared = __atomic_load_n(&iotlb->cleared, __ATOMIC_ACQUIRE),
	};
}

enum { IOTLB_TAG_BITS = 24, IOTLB_TAG = (1 << IOTLB_TAG_BITS) - 1, IOTLB_USER = 1 << 5, IOTLB_ACCESS = IOTLB_USER - 1 };

_Static_assert(PGTABLE_ABOVE_LG2 == 5, "steps have no more than IOTLB_ACCESS");

/* By the golden ratio, what is counted is as far apart as can be, in the top bits. */
#define IOTLB_GOLDEN UINT64_C(0x9e3779b97f4a7c15)

enum { IOTLB_SET_LG2 = 6 };

_Static_assert(sizeof(struct iotlb_set) == 1 << IOTLB_SET_LG2 && sizeof(struct iotlb_entry) == 16, "offsets are computed");

static inline uint64_t iotlb_key(bool user, uint64_t address, unsigned int page_lg2)
{
	return (address & ~low_mask(page_lg2)) | (uint64_t)page_lg2 << 6 | (user ? IOTLB_USER : 0);
}

/*
 * A page and its neighbour have one set, so that what lies close together takes few cache lines. Each has a way that it is put into
 * if it can be: then the first look finds it, which the processor expects.
 */
static inline struct iotlb_set *iotlb_set(const struct iotlb_owner *owner, uint64_t address, bool user, unsigned int page_lg2)
{
	uint64_t offset = address >> (13 - IOTLB_SET_LG2);

	/* Small pages are neighbours; others come at any distance, and those of different sizes at one address are not to meet. */
	if (page_lg2 > 12 || !user)
		offset = ((address >> page_lg2 >> 1 << 7 | page_lg2 << 1 | user) * IOTLB_GOLDEN) >> 32;
	return (struct iotlb_set *)(void *)((uint8_t *)owner->sets + ((offset + owner->spread) & owner->mask));
}

static inline struct iotlb_entry *iotlb_home(struct iotlb_set *set, uint64_t address, unsigned int page_lg2)
{
	return (struct iotlb_entry *)(void *)((uint8_t *)set->way + (address >> (page_lg2 - 4) & sizeof(struct iotlb_entry)));
}

/* In its own way first, and then in @ways, a constant. @low: what is not compared. @oa: of the page. */
static inline __attribute__((always_inline)) bool iotlb_look(const struct iotlb_owner *owner, uint64_t address, bool user,
							     unsigned int page_lg2, unsigned int ways, unsigned int *low,
							     uint64_t *oa)
{
	uint64_t wanted = iotlb_key(user, address, page_lg2), key, value, tag;
	struct iotlb_set *set = iotlb_set(owner, address, user, page_lg2);
	const struct iotlb_entry *entry = iotlb_home(set, address, page_lg2);
	/* An odd number becomes one that is past. */
	uint32_t sequence = __atomic_load_n(&set->sequence, __ATOMIC_ACQUIRE) & ~1U;

	/* Only now: if tags begin again in between, which empties every set, the number changes before one is another owner's. */
	tag = __atomic_load_n(&owner->tag, __ATOMIC_ACQUIRE);
#pragma GCC unroll 4
	for (unsigned int way = 0; way <= ways; way++) {
		/* What is left is what is not compared, and the output address. */
		key = __atomic_load_n(&entry->key, __ATOMIC_ACQUIRE) ^ wanted;
		value = __atomic_load_n(&entry->value, __ATOMIC_ACQUIRE) ^ tag;
		entry = &set->way[way];
		if (key > IOTLB_ACCESS || value & IOTLB_TAG)
			continue;
		if (unlikely(__atomic_load_n(&set->sequence, __ATOMIC_RELAXED) != sequence))
			return false;
		*oa = value >> (IOTLB_TAG_BITS - 12); /* the tags have left nothing */
		*low = (unsigned int)key;
		return true;
	}
	return false;
}

static inline __attribute__((always_inline)) bool iotlb_probe(const struct iotlb_owner *owner, uint64_t address, bool user,
							      unsigned int page_lg2, unsigned int ways, struct iotlb_hit *hit)
{
	uint64_t oa;

	if (!iotlb_look(owner, address, user, page_lg2, ways, &hit->access, &oa))
		return false;
	hit->oa = oa | (address & low_mask(page_lg2));
	hit->length = (UINT64_C(1) << page_lg2) - (address & low_mask(page_lg2));
	return true;
}

/* Where all pages that are cached are of 4 KiB and this one is in its own way, which is usual. */
static inline __attribute__((always_inline)) bool iotlb_find_small(const struct iotlb_owner *owner, uint64_t address, bool user,
								   struct iotlb_hit *hit)
{
	return likely(__atomic_load_n(&owner->sizes, __ATOMIC_RELAXED) == BIT64(12)) &&
	       iotlb_probe(owner, address, user, 12, 0, hit);
}

/* Whatever sizes there are, and whatever way it is in. */
bool iotlb_find_sized(const struct iotlb_owner *owner, uint64_t address, bool user, struct iotlb_hit *hit);

/* The step that is nearest to the leaf; or none. In a read section. */
void iotlb_find_step(const struct iotlb_owner *owner, uint64_t address, bool inner, struct pgtable_step *step);

/* In an RCU read section, so that whoever invalidates can wait for what follows. */
static inline __attribute__((always_inline)) bool iotlb_find(const struct iotlb_owner *owner, uint64_t address, bool user,
							     struct iotlb_hit *hit)
{
	struct iotlb_hit sized; /* so that *@hit may live in registers */

	if (iotlb_find_small(owner, address, user, hit))
		return true;
	if (!iotlb_find_sized(owner, address, user, &sized))
		return false;
	*hit = sized;
	return true;
}

#endif
