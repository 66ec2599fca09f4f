/* SPDX-License-Identifier: BSD-3-Clause */
#include "translate/iotlb.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "util/cpu.h"
#include "util/rcu.h"

enum { CLEAR_MAX = 64 }; /* pages of one size that are looked for one by one; more, and all is forgotten */

static uint64_t power_of_two(uint64_t least)
{
	uint64_t power = 1;

	while (power < least)
		power <<= 1;
	return power;
}

int iotlb_init(struct iotlb *iotlb, uint64_t entries)
{
	/* As many neighbours as that find room; what is left is for those that meet. */
	uint64_t sets = power_of_two((entries + 1) / 2);

	*iotlb = (struct iotlb){.mask = (sets - 1) << IOTLB_SET_LG2};
	if (entries) {
		iotlb->sets = aligned_alloc(_Alignof(struct iotlb_set), sets * sizeof(*iotlb->sets));
		if (!iotlb->sets)
			return -ENOMEM;
		memset(iotlb->sets, 0, sets * sizeof(*iotlb->sets));
	}
	CDS_INIT_LIST_HEAD(&iotlb->owners);
	pthread_mutex_init(&iotlb->lock, NULL);
	return 0;
}

void iotlb_fini(struct iotlb *iotlb)
{
	pthread_mutex_destroy(&iotlb->lock);
	free(iotlb->sets);
}

bool iotlb_find_sized(const struct iotlb_owner *owner, uint64_t address, bool user, struct iotlb_hit *hit)
{
	uint64_t sizes = __atomic_load_n(&owner->sizes, __ATOMIC_RELAXED);

	for (; sizes; sizes &= sizes - 1)
		if (iotlb_probe(owner, address, user, (unsigned int)__builtin_ctzll(sizes), IOTLB_WAYS, hit))
			return true;
	return false;
}

void iotlb_find_step(const struct iotlb_owner *owner, uint64_t address, bool inner, struct pgtable_step *step)
{
	uint64_t sizes = __atomic_load_n(&owner->sizes, __ATOMIC_RELAXED), entries;
	unsigned int above;

	step->block_lg2 = 0;
	for (; sizes; sizes &= sizes - 1) {
		unsigned int block_lg2 = (unsigned int)__builtin_ctzll(sizes);

		if (likely(iotlb_look(owner, address, inner, block_lg2, IOTLB_WAYS, &above, &entries))) {
			*step = (struct pgtable_step){entries, (uint8_t)block_lg2, (uint8_t)above};
			return;
		}
	}
}

static bool set_trylock(struct iotlb_set *set, uint32_t *sequence)
{
	*sequence = __atomic_load_n(&set->sequence, __ATOMIC_RELAXED);
	return !(*sequence & 1) &&
	       __atomic_compare_exchange_n(&set->sequence, sequence, *sequence + 1, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED);
}

/* A filler is inside for a few stores only. */
static uint32_t set_lock(struct iotlb_set *set)
{
	uint32_t sequence;

	while (!set_trylock(set, &sequence))
		cpu_relax();
	return sequence;
}

static void set_unlock(struct iotlb_set *set, uint32_t sequence)
{
	__atomic_store_n(&set->sequence, sequence + 2, __ATOMIC_RELEASE);
}

/* Release: whoever sees the entry sees the odd sequence number, too. */
static void entry_store(struct iotlb_entry *entry, uint64_t key, uint64_t value)
{
	__atomic_store_n(&entry->value, value, __ATOMIC_RELEASE);
	__atomic_store_n(&entry->key, key, __ATOMIC_RELEASE);
}

static void empty(struct iotlb *iotlb)
{
	for (uint64_t i = 0; iotlb->sets && i <= iotlb->mask >> IOTLB_SET_LG2; i++) {
		uint32_t sequence = set_lock(&iotlb->sets[i]);

		for (unsigned int way = 0; way < IOTLB_WAYS; way++)
			entry_store(&iotlb->sets[i].way[way], 0, 0);
		set_unlock(&iotlb->sets[i], sequence);
	}
}

/* Whoever fills with the new tag adds his sizes after it. */
static void give_tag(struct iotlb *iotlb, struct iotlb_owner *owner)
{
	uint64_t tag = ++iotlb->tag;

	__atomic_store_n(&owner->sizes, 0, __ATOMIC_RELAXED);
	__atomic_store_n(&owner->tag, tag, __ATOMIC_SEQ_CST);
}

/*
 * No tag is free any more. Fills under way are dropped, readers that know an old tag are waited for, and then nothing is there that
 * may match one that is given again.
 */
static void begin_again(struct iotlb *iotlb)
{
	struct iotlb_owner *owner;

	cds_list_for_each_entry (owner, &iotlb->owners, link) {
		__atomic_store_n(&owner->sizes, 0, __ATOMIC_RELAXED);
		__atomic_store_n(&owner->tag, 0, __ATOMIC_SEQ_CST);
	}
	__atomic_add_fetch(&iotlb->cleared, 2, __ATOMIC_SEQ_CST);
	rcu_wait();
	empty(iotlb);
	iotlb->tag = 0;
	cds_list_for_each_entry (owner, &iotlb->owners, link)
		give_tag(iotlb, owner);
}

static void renew(struct iotlb *iotlb, struct iotlb_owner *owner)
{
	if (iotlb->tag == low_mask(IOTLB_TAG_BITS))
		begin_again(iotlb);
	else
		give_tag(iotlb, owner);
}

void iotlb_renew(struct iotlb *iotlb, struct iotlb_owner *owner)
{
	pthread_mutex_lock(&iotlb->lock);
	renew(iotlb, owner);
	pthread_mutex_unlock(&iotlb->lock);
}

void iotlb_renew_all(struct iotlb *iotlb)
{
	struct iotlb_owner *owner;

	pthread_mutex_lock(&iotlb->lock);
	cds_list_for_each_entry (owner, &iotlb->owners, link)
		renew(iotlb, owner);
	pthread_mutex_unlock(&iotlb->lock);
}

/* Those that join one after the other have their sets as far apart as can be, and keep them: what is forgotten is replaced there.
 */
static uint64_t spread_of(uint64_t number, uint64_t mask)
{
	return (number * IOTLB_GOLDEN >> 32) * (mask + (1 << IOTLB_SET_LG2)) >> 32 & mask;
}

void iotlb_join(struct iotlb *iotlb, struct iotlb_owner *owner)
{
	pthread_mutex_lock(&iotlb->lock);
	owner->sets = iotlb->sets;
	owner->mask = iotlb->mask;
	owner->spread = spread_of(++iotlb->joined, iotlb->mask);
	cds_list_add(&owner->link, &iotlb->owners);
	renew(iotlb, owner);
	pthread_mutex_unlock(&iotlb->lock);
}

void iotlb_part(struct iotlb *iotlb, struct iotlb_owner *owner)
{
	pthread_mutex_lock(&iotlb->lock);
	cds_list_del(&owner->link);
	pthread_mutex_unlock(&iotlb->lock);
}

static void clear_page(const struct iotlb_owner *owner, uint64_t tag, uint64_t address, bool user, unsigned int page_lg2)
{
	struct iotlb_set *set = iotlb_set(owner, address, user, page_lg2);
	uint64_t key = iotlb_key(user, address, page_lg2);
	uint32_t sequence = set_lock(set);

	for (unsigned int way = 0; way < IOTLB_WAYS; way++)
		if ((set->way[way].key & ~(uint64_t)IOTLB_ACCESS) == key && !((set->way[way].value ^ tag) & IOTLB_TAG))
			entry_store(&set->way[way], 0, 0);
	set_unlock(set, sequence);
}

/* Under the lock. False: there are too many. */
static bool clear_pages(const struct iotlb_owner *owner, uint64_t start, uint64_t last)
{
	uint64_t tag = __atomic_load_n(&owner->tag, __ATOMIC_SEQ_CST), sizes = __atomic_load_n(&owner->sizes, __ATOMIC_SEQ_CST);

	for (; sizes; sizes &= sizes - 1) {
		unsigned int page_lg2 = (unsigned int)__builtin_ctzll(sizes);
		uint64_t pages = (last >> page_lg2) - (start >> page_lg2);

		if (pages >= CLEAR_MAX)
			return false;
		for (uint64_t i = 0; i <= pages; i++)
			for (unsigned int user = 0; user < 2; user++)
				clear_page(owner, tag, ((start >> page_lg2) + i) << page_lg2, user, page_lg2);
	}
	return true;
}

void iotlb_clear(struct iotlb *iotlb, struct iotlb_owner *owner, uint64_t start, uint64_t last)
{
	if (!iotlb->sets)
		return;
	pthread_mutex_lock(&iotlb->lock);
	/* Total order with a filler, who adds his size and then looks at it. */
	__atomic_add_fetch(&iotlb->cleared, 1, __ATOMIC_SEQ_CST);
	if (!clear_pages(owner, start, last))
		renew(iotlb, owner);
	__atomic_add_fetch(&iotlb->cleared, 1, __ATOMIC_SEQ_CST);
	pthread_mutex_unlock(&iotlb->lock);
}

/* The way that has the page already, of whatever tag; or its own, another that is empty, or the next one. */
static struct iotlb_entry *victim(struct iotlb_set *set, uint64_t key, struct iotlb_entry *home)
{
	struct iotlb_entry *empty = home->key ? NULL : home;

	for (unsigned int way = 0; way < IOTLB_WAYS; way++) {
		if ((set->way[way].key & ~(uint64_t)IOTLB_ACCESS) == key)
			return &set->way[way];
		if (!set->way[way].key && !empty)
			empty = &set->way[way];
	}
	if (empty)
		return empty;
	set->next = (set->next + 1) % IOTLB_WAYS;
	return &set->way[set->next];
}

/* @low: what is not compared. */
static void put(struct iotlb *iotlb, struct iotlb_owner *owner, const struct iotlb_fill *fill, uint64_t address, uint64_t key,
		unsigned int low, uint64_t oa)
{
	unsigned int page_lg2 = key >> 6 & 63;
	struct iotlb_set *set;
	uint32_t sequence;

	if (!iotlb->sets || !fill->tag || fill->cleared & 1 || page_lg2 < 12 || oa >> 52)
		return;
	/* Before the look at @cleared: an invalidation that is not seen there sees the size. */
	if (!(__atomic_load_n(&owner->sizes, __ATOMIC_RELAXED) & BIT64(page_lg2)))
		__atomic_or_fetch(&owner->sizes, BIT64(page_lg2), __ATOMIC_SEQ_CST);
	set = iotlb_set(owner, address, key & IOTLB_USER, page_lg2);
	if (!set_trylock(set, &sequence))
		return;
	if (__atomic_load_n(&iotlb->cleared, __ATOMIC_SEQ_CST) == fill->cleared)
		entry_store(victim(set, key, iotlb_home(set, address, page_lg2)), key | low,
			    oa >> 12 << IOTLB_TAG_BITS | fill->tag);
	set_unlock(set, sequence);
}

void iotlb_fill(struct iotlb *iotlb, struct iotlb_owner *owner, const struct iotlb_fill *fill, uint64_t address, bool user,
		const struct pgtable_result *result)
{
	unsigned int access = result->access & ~(unsigned int)(result->clean ? UIOMMU_WRITE : 0);

	put(iotlb, owner, fill, address, iotlb_key(user, address, result->page_lg2), access,
	    result->oa & ~low_mask(result->page_lg2));
}

void iotlb_fill_step(struct iotlb *iotlb, struct iotlb_owner *owner, const struct iotlb_fill *fill, uint64_t address, bool inner,
		     const struct pgtable_step *step)
{
	put(iotlb, owner, fill, address, iotlb_key(inner, address, step->block_lg2), step->above, step->entries);
}
