/* SPDX-License-Identifier: BSD-3-Clause */
#include "pasid/pasid.h"

#include <errno.h>
#include <stdlib.h>

#include "pasid/space.h"
#include "util/rcu.h"
#include "util/util.h"

void pasid_space_destroy(struct pasid_space *space)
{
	if (!space)
		return;
	numbers_fini(&space->used);
	numbers_fini(&space->sets);
	for (unsigned int i = 0; i < PAGES; i++)
		free(space->pages[i]);
	pthread_cond_destroy(&space->called);
	pthread_mutex_destroy(&space->lock);
	free(space);
}

struct pasid_space *pasid_space_create(void)
{
	struct pasid_space *space = calloc(1, sizeof(*space));

	if (!space)
		return NULL;
	pthread_mutex_init(&space->lock, NULL);
	pthread_cond_init(&space->called, NULL);
	if (!numbers_init(&space->used) && !numbers_init(&space->sets))
		return space;
	pasid_space_destroy(space);
	return NULL;
}

struct pasid_set *pasid_set_create(struct pasid_space *space, uint32_t quota)
{
	struct pasid_set *set = calloc(1, sizeof(*set));

	if (!set)
		return NULL;
	set->space = space;
	set->quota = quota;
	CDS_INIT_LIST_HEAD(&set->subscriptions);
	pthread_mutex_lock(&space->lock);
	set->number = numbers_lowest_free(&space->sets, 1);
	if (set->number < NUMBERS)
		numbers_take(&space->sets, set->number);
	pthread_mutex_unlock(&space->lock);
	if (set->number < NUMBERS)
		return set;
	free(set);
	return NULL;
}

static struct pasid_page *page_of(const struct pasid_space *space, uint32_t pasid)
{
	return pasid < NUMBERS ? rcu_read(space->pages[pasid >> PAGE_LG2]) : NULL;
}

static struct pasid_hot *hot_of(const struct pasid_space *space, uint32_t pasid)
{
	return &space->pages[pasid >> PAGE_LG2]->hot[pasid & (PAGE_NUMBERS - 1)];
}

struct pasid_entry *pasid_entry_any(const struct pasid_space *space, uint32_t pasid)
{
	struct pasid_page *page = page_of(space, pasid);
	struct pasid_entry *entry = page ? &page->entries[pasid & (PAGE_NUMBERS - 1)] : NULL;

	return entry && entry->set ? entry : NULL;
}

static struct pasid_entry *find(const struct pasid_set *set, uint32_t pasid)
{
	struct pasid_entry *entry = pasid_entry_any(set->space, pasid);

	return entry && entry->set == set ? entry : NULL;
}

static enum pasid_state state_of(const struct pasid_entry *entry)
{
	if (!entry)
		return PASID_FREE;
	if (entry->draining)
		return PASID_DRAINING;
	return entry->uses ? PASID_BOUND : PASID_ALLOCATED;
}

/* --- events --- */

/*
 * An end takes back a beginning that nobody has been told of. So however slow a subscriber is, what is due fits into four bits, and
 * ALLOC, UNBIND, BIND, FREE is the order in which it happened: after ALLOC there is no UNBIND without a BIND that was told.
 */
static void due(struct pasid_entry *entry, enum uiommu_pasid_event event)
{
	if (cds_list_empty(&entry->set->subscriptions))
		return;
	if (event == UIOMMU_PASID_UNBIND && entry->due & 1u << UIOMMU_PASID_BIND)
		entry->due &= (uint8_t) ~(1u << UIOMMU_PASID_BIND);
	else
		entry->due |= (uint8_t)(1u << event);
}

/* --- numbers --- */

static int alloc_locked(struct pasid_set *set, uint32_t first, uint32_t last, uint32_t *out)
{
	struct pasid_space *space = set->space;
	struct pasid_page *page;
	struct pasid_entry *entry;
	uint32_t pasid;

	if (set->count >= set->quota)
		return -EDQUOT;
	pasid = numbers_lowest_free(&space->used, first);
	if (pasid > last)
		return first == last ? -EBUSY : -ENOSPC;
	page = page_of(space, pasid);
	if (!page) {
		page = calloc(1, sizeof(*page));
		if (!page)
			return -ENOMEM;
		rcu_publish(space->pages[pasid >> PAGE_LG2], page);
	}
	entry = &page->entries[pasid & (PAGE_NUMBERS - 1)];
	*entry = (struct pasid_entry){.set = set, .generation = ++space->generation};
	numbers_take(&space->used, pasid);
	set->count++;
	set->per_page[pasid >> PAGE_LG2]++;
	due(entry, UIOMMU_PASID_ALLOC);
	/* Release: the data is NULL before a look finds that the number is the set's. */
	__atomic_store_n(&hot_of(space, pasid)->tag, space->generation << TAG_GENERATION_SHIFT | TAG_OPEN | set->number,
			 __ATOMIC_RELEASE);
	*out = pasid;
	return 0;
}

static int check_range(uint32_t first, uint32_t last)
{
	return !first || first > last || last >= NUMBERS ? -EINVAL : 0;
}

int pasid_alloc(struct pasid_set *set, uint32_t first, uint32_t last, uint32_t *pasid)
{
	int error = check_range(first, last);

	if (error)
		return error;
	pthread_mutex_lock(&set->space->lock);
	error = alloc_locked(set, first, last, pasid);
	pthread_mutex_unlock(&set->space->lock);
	return error;
}

/* Looks do not find it any more; the data stays for those that have found it, and for the subscribers. */
static void close_tag(struct pasid_space *space, uint32_t pasid)
{
	struct pasid_hot *hot = hot_of(space, pasid);

	__atomic_store_n(&hot->tag, hot->tag & ~TAG_OPEN, __ATOMIC_RELEASE);
}

static void release(struct pasid_space *space, uint32_t pasid, struct pasid_entry *entry)
{
	struct pasid_hot *hot = hot_of(space, pasid);
	struct pasid_set *set = entry->set;

	__atomic_store_n(&hot->tag, 0, __ATOMIC_RELEASE);
	__atomic_store_n(&hot->data, NULL, __ATOMIC_RELEASE);
	set->draining -= entry->draining;
	set->per_page[pasid >> PAGE_LG2]--;
	set->count--;
	*entry = (struct pasid_entry){.freed_bound = entry->freed_bound};
	numbers_give(&space->used, pasid);
}

void pasid_settle(struct pasid_space *space, uint32_t pasid, struct pasid_entry *entry)
{
	if (entry->draining && !entry->uses && !entry->due && !entry->telling && !entry->holding)
		release(space, pasid, entry);
}

/* From whatever state but draining. */
static void begin_draining(struct pasid_space *space, uint32_t pasid, struct pasid_entry *entry)
{
	close_tag(space, pasid);
	entry->draining = true;
	entry->set->draining++;
	entry->freed_bound = entry->uses && !entry->implicit;
	if (entry->live)
		due(entry, UIOMMU_PASID_UNBIND);
	/* Data is somebody's: it goes when nobody looks at it any more, which pasid_tell() sees to. */
	if (hot_of(space, pasid)->data)
		entry->due |= 1u << UIOMMU_PASID_FREE;
	else
		due(entry, UIOMMU_PASID_FREE);
	pasid_settle(space, pasid, entry);
}

int pasid_free(struct pasid_set *set, uint32_t pasid)
{
	struct pasid_entry *entry;
	int state = -ENOENT;

	pthread_mutex_lock(&set->space->lock);
	entry = find(set, pasid);
	if (entry && !entry->draining) {
		entry->implicit = false;
		begin_draining(set->space, pasid, entry);
		state = entry->set ? PASID_DRAINING : PASID_FREE;
	}
	pthread_mutex_unlock(&set->space->lock);
	return state;
}

/* --- uses --- */

int pasid_pick(struct pasid_set *set, uint32_t first, uint32_t last, uint32_t *pasid)
{
	struct pasid_entry *entry;
	int error = check_range(first, last);

	if (error)
		return error;
	pthread_mutex_lock(&set->space->lock);
	error = alloc_locked(set, first, last, pasid);
	if (!error) {
		entry = find(set, *pasid);
		entry->implicit = true;
		entry->uses = 1;
	}
	pthread_mutex_unlock(&set->space->lock);
	return error;
}

int pasid_use(struct pasid_set *set, uint32_t pasid)
{
	struct pasid_space *space = set->space;
	struct pasid_entry *entry;
	int error = check_range(pasid, pasid);

	if (error)
		return error;
	pthread_mutex_lock(&space->lock);
	entry = pasid_entry_any(space, pasid);
	if (entry) {
		error = entry->draining ? -EBUSY : 0;
	} else {
		error = alloc_locked(set, pasid, pasid, &pasid);
		entry = pasid_entry_any(space, pasid);
		if (!error)
			entry->implicit = true;
	}
	if (!error)
		entry->uses++;
	pthread_mutex_unlock(&space->lock);
	return error;
}

int pasid_live(struct pasid_space *space, uint32_t pasid)
{
	struct pasid_entry *entry;
	int error;

	pthread_mutex_lock(&space->lock);
	entry = pasid_entry_any(space, pasid);
	error = entry->draining ? -EBUSY : 0;
	if (!error && !entry->live++)
		due(entry, UIOMMU_PASID_BIND);
	pthread_mutex_unlock(&space->lock);
	return error;
}

void pasid_ending(struct pasid_space *space, uint32_t pasid)
{
	struct pasid_entry *entry;

	pthread_mutex_lock(&space->lock);
	entry = pasid_entry_any(space, pasid);
	if (!--entry->live && !entry->draining) {
		due(entry, UIOMMU_PASID_UNBIND);
		if (entry->implicit)
			begin_draining(space, pasid, entry);
	}
	pthread_mutex_unlock(&space->lock);
}

void pasid_unuse(struct pasid_space *space, uint32_t pasid)
{
	struct pasid_entry *entry;

	pthread_mutex_lock(&space->lock);
	entry = pasid_entry_any(space, pasid);
	if (!--entry->uses && entry->implicit && !entry->draining)
		begin_draining(space, pasid, entry); /* it has never been live */
	else
		pasid_settle(space, pasid, entry);
	pthread_mutex_unlock(&space->lock);
}

bool pasid_draining(struct pasid_space *space, uint32_t pasid)
{
	const struct pasid_entry *entry;
	bool draining;

	pthread_mutex_lock(&space->lock);
	entry = pasid_entry_any(space, pasid);
	draining = entry && entry->draining;
	pthread_mutex_unlock(&space->lock);
	return draining;
}

bool pasid_freed_bound(struct pasid_space *space, uint32_t pasid)
{
	const struct pasid_page *page;
	bool freed;

	pthread_mutex_lock(&space->lock);
	page = page_of(space, pasid);
	freed = page && page->entries[pasid & (PAGE_NUMBERS - 1)].freed_bound;
	pthread_mutex_unlock(&space->lock);
	return freed;
}

/* --- data --- */

int pasid_set_data(struct pasid_set *set, uint32_t pasid, void *data, void **old)
{
	const struct pasid_entry *entry;
	struct pasid_hot *hot;
	void *before = NULL;
	int error = -ENOENT;

	pthread_mutex_lock(&set->space->lock);
	entry = find(set, pasid);
	if (entry && !entry->draining) {
		hot = hot_of(set->space, pasid);
		before = hot->data;
		rcu_publish(hot->data, data);
		error = 0;
	}
	pthread_mutex_unlock(&set->space->lock);
	if (before)
		rcu_wait();
	if (old)
		*old = before;
	return error;
}

void *pasid_find(const struct pasid_set *set, uint32_t pasid)
{
	const struct pasid_page *page = page_of(set->space, pasid);
	const struct pasid_hot *hot;
	uint64_t tag;
	void *data;

	if (unlikely(!page))
		return NULL;
	hot = &page->hot[pasid & (PAGE_NUMBERS - 1)];
	tag = __atomic_load_n(&hot->tag, __ATOMIC_ACQUIRE);
	if (unlikely((tag & (TAG_OPEN | TAG_SET)) != (TAG_OPEN | set->number)))
		return NULL;
	data = __atomic_load_n(&hot->data, __ATOMIC_ACQUIRE);
	/* Acquire above: the tag is read after the data. It has been another allocation's if it is another one now. */
	return likely(__atomic_load_n(&hot->tag, __ATOMIC_RELAXED) == tag) ? data : NULL;
}

uint64_t pasid_generation_now(const struct pasid_space *space, uint32_t pasid)
{
	const struct pasid_page *page = page_of(space, pasid);
	uint64_t tag = page ? __atomic_load_n(&page->hot[pasid & (PAGE_NUMBERS - 1)].tag, __ATOMIC_ACQUIRE) : 0;

	return tag & TAG_OPEN ? tag >> TAG_GENERATION_SHIFT : 0;
}

/* --- to look at --- */

struct pasid_space *pasid_set_space(const struct pasid_set *set)
{
	return set->space;
}

enum pasid_state pasid_state(const struct pasid_set *set, uint32_t pasid)
{
	enum pasid_state state;

	pthread_mutex_lock(&set->space->lock);
	state = state_of(find(set, pasid));
	pthread_mutex_unlock(&set->space->lock);
	return state;
}

uint64_t pasid_generation(const struct pasid_set *set, uint32_t pasid)
{
	const struct pasid_entry *entry;
	uint64_t generation;

	pthread_mutex_lock(&set->space->lock);
	entry = find(set, pasid);
	generation = entry ? entry->generation : 0;
	pthread_mutex_unlock(&set->space->lock);
	return generation;
}

int pasid_info(const struct pasid_set *set, uint32_t pasid, struct uiommu_pasid_info *out)
{
	const struct pasid_entry *entry;

	pthread_mutex_lock(&set->space->lock);
	entry = find(set, pasid);
	if (entry) {
		out->pasid = pasid;
		out->state = state_of(entry);
		out->generation = entry->generation;
		out->attachments = entry->uses;
		out->holders = (uint32_t)__builtin_popcount(entry->holding);
		out->data = hot_of(set->space, pasid)->data;
	}
	pthread_mutex_unlock(&set->space->lock);
	return entry ? 0 : -ENOENT;
}

uint32_t pasid_set_count(const struct pasid_set *set)
{
	uint32_t count;

	pthread_mutex_lock(&set->space->lock);
	count = set->count;
	pthread_mutex_unlock(&set->space->lock);
	return count;
}

uint32_t pasid_next_locked(const struct pasid_set *set, uint32_t from)
{
	for (uint32_t pasid = from; pasid < NUMBERS; pasid++) {
		if (!set->per_page[pasid >> PAGE_LG2])
			pasid |= PAGE_NUMBERS - 1;
		else if (set->space->pages[pasid >> PAGE_LG2]->entries[pasid & (PAGE_NUMBERS - 1)].set == set)
			return pasid;
	}
	return 0;
}

uint32_t pasid_next(const struct pasid_set *set, uint32_t from)
{
	uint32_t pasid;

	pthread_mutex_lock(&set->space->lock);
	pasid = pasid_next_locked(set, from);
	pthread_mutex_unlock(&set->space->lock);
	return pasid;
}

void pasid_set_free_all(struct pasid_set *set)
{
	for (uint32_t pasid = pasid_next(set, 1); pasid; pasid = pasid_next(set, pasid + 1))
		if (pasid_free(set, pasid) == PASID_DRAINING)
			pasid_tell(set->space, pasid);
}

void pasid_set_destroy(struct pasid_set *set)
{
	struct pasid_space *space;

	if (!set)
		return;
	pasid_set_free_all(set);
	while (!cds_list_empty(&set->subscriptions))
		pasid_unsubscribe(pasid_first_subscription(set));
	space = set->space;
	pthread_mutex_lock(&space->lock);
	for (uint32_t pasid = pasid_next_locked(set, 1); pasid; pasid = pasid_next_locked(set, pasid + 1))
		release(space, pasid, find(set, pasid));
	numbers_give(&space->sets, set->number);
	pthread_mutex_unlock(&space->lock);
	free(set);
}
