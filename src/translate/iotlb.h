/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * IOTLB: translations that have been walked, of all attachments that share a guest's memory.
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
 * set locked: either it sees that and drops the fill, or the invalidation comes to that set later and clears it.
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
	uint64_t key; /* address above bit 11; size, privilege, low bits of the tag */
	uint64_t value; /* output address above bit 11; high bits of the tag; access */
};

struct iotlb_set {
	uint32_t sequence; /* odd: somebody writes */
	uint32_t next; /* way that is replaced next */
	uint64_t unused;
	struct iotlb_entry way[IOTLB_WAYS];
} __attribute__((aligned(64)));

struct iotlb {
	struct iotlb_set *sets; /* NULL: caches nothing */
	uint64_t mask; /* number of sets - 1 */
	uint64_t cleared; /* counts invalidations of pages */
	uint32_t tag; /* the last one given */
	struct cds_list_head owners;
	pthread_mutex_t lock; /* of tags and owners; a leaf */
};

/* Something that has translations cached. */
struct iotlb_owner {
	uint32_t tag; /* 0: caches nothing */
	uint64_t sizes; /* bit n: pages of 1 << n bytes have been cached since the tag began */
	struct cds_list_head link;
};

/* What a hit says. */
struct iotlb_hit {
	uint64_t oa;
	uint8_t page_lg2;
	uint8_t access; /* without WRITE as long as the dirty bit is to be set by a walk */
};

/* Where a fill began. */
struct iotlb_fill {
	uint32_t tag;
	uint64_t cleared;
};

/* For at least @entries; 0: none. -ENOMEM. */
int iotlb_init(struct iotlb *iotlb, uint64_t entries);
void iotlb_fini(struct iotlb *iotlb);

void iotlb_join(struct iotlb *iotlb, struct iotlb_owner *owner);
void iotlb_part(struct iotlb *iotlb, struct iotlb_owner *owner);

/* Forget all that @owner has cached. */
void iotlb_renew(struct iotlb *iotlb, struct iotlb_owner *owner);

/* Forget the pages of [start, last]. */
void iotlb_clear(struct iotlb *iotlb, struct iotlb_owner *owner, uint64_t start, uint64_t last);

void iotlb_fill(struct iotlb *iotlb, struct iotlb_owner *owner, const struct iotlb_fill *fill, uint64_t address, bool user,
		const struct pgtable_result *result);

static inline struct iotlb_fill iotlb_begin(const struct iotlb *iotlb, const struct iotlb_owner *owner)
{
	return (struct iotlb_fill){
		.tag = __atomic_load_n(&owner->tag, __ATOMIC_ACQUIRE),
		.cleared = __atomic_load_n(&iotlb->cleared, __ATOMIC_ACQUIRE),
	};
}

/* key: [63:12] address, [11:6] size, [5] user, [4:0] tag; value: [63:52] and [11:4] tag, [51:12] output address, [3:0] access. */
enum { IOTLB_TAG_BITS = 25 };
#define IOTLB_VALUE_TAG (GENMASK64(63, 52) | GENMASK64(11, 4))

static inline uint64_t iotlb_key(uint32_t tag, bool user, uint64_t address, unsigned int page_lg2)
{
	return (address & ~low_mask(page_lg2)) | (uint64_t)page_lg2 << 6 | (uint64_t)user << 5 | (tag & 31);
}

static inline uint64_t iotlb_value_tag(uint32_t tag)
{
	return (uint64_t)(tag >> 5 & 0xff) << 4 | (uint64_t)(tag >> 13) << 52;
}

static inline struct iotlb_set *iotlb_set(const struct iotlb *iotlb, uint32_t tag, uint64_t address, unsigned int page_lg2)
{
	return &iotlb->sets[((address >> page_lg2) + tag * UINT64_C(0x9e3779b1)) & iotlb->mask];
}

/* In an RCU read section, so that whoever invalidates can wait for what follows. */
static inline bool iotlb_find(const struct iotlb *iotlb, const struct iotlb_owner *owner, uint64_t address, bool user,
			      struct iotlb_hit *hit)
{
	uint32_t tag = __atomic_load_n(&owner->tag, __ATOMIC_ACQUIRE), sequence;
	uint64_t value_tag = iotlb_value_tag(tag);

	for (uint64_t sizes = __atomic_load_n(&owner->sizes, __ATOMIC_RELAXED); sizes; sizes &= sizes - 1) {
		unsigned int page_lg2 = (unsigned int)__builtin_ctzll(sizes);
		const struct iotlb_set *set = iotlb_set(iotlb, tag, address, page_lg2);
		uint64_t key = iotlb_key(tag, user, address, page_lg2), value;

		sequence = __atomic_load_n(&set->sequence, __ATOMIC_ACQUIRE);
		for (unsigned int way = 0; way < IOTLB_WAYS; way++) {
			if (__atomic_load_n(&set->way[way].key, __ATOMIC_ACQUIRE) != key)
				continue;
			value = __atomic_load_n(&set->way[way].value, __ATOMIC_ACQUIRE);
			if ((value & IOTLB_VALUE_TAG) != value_tag)
				continue;
			if (unlikely(sequence & 1 || __atomic_load_n(&set->sequence, __ATOMIC_RELAXED) != sequence))
				return false;
			hit->oa = (value & GENMASK64(51, 12) & ~low_mask(page_lg2)) | (address & low_mask(page_lg2));
			hit->page_lg2 = (uint8_t)page_lg2;
			hit->access = value & 15;
			return true;
		}
	}
	return false;
}

#endif
