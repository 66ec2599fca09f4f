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
	for (unsigned int i = 0; i < PAGES; i++)
		free(space->pages[i]);
	free(space->tags);
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
	space->tags = calloc(NUMBERS, sizeof(*space->tags));
	if (space->tags && !numbers_init(&space->used))
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
	return set;
}

/* Whatever state it is in; NULL: it has never been allocated. */
static struct pasid_entry *entry_of(const struct pasid_space *space, uint32_t pasid)
{
	struct pasid_entry *page = pasid < NUMBERS ? space->pages[pasid >> PAGE_LG2] : NULL;

	return page ? &page[pasid & (PAGE_NUMBERS - 1)] : NULL;
}

struct pasid_entry *pasid_entry_any(const struct pasid_space *space, uint32_t pasid)
{
	struct pasid_entry *entry = entry_of(space, pasid);

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
	struct pasid_entry **page, *entry;
	uint32_t pasid;

	if (set->count >= set->quota)
		return -EDQUOT;
	pasid = numbers_lowest_free(&space->used, first);
	if (pasid > last)
		return first == last ? -EBUSY : -ENOSPC;
	page = &space->pages[pasid >> PAGE_LG2];
	if (!*page)
		*page = calloc(PAGE_NUMBERS, sizeof(**page));
	if (!*page)
		return -ENOMEM;
	entry = entry_of(space, pasid);
	*entry = (struct pasid_entry){.set = set, .generation = ++space->generation};
	numbers_take(&space->used, pasid);
	set->count++;
	set->per_page[pasid >> PAGE_LG2]++;
	due(entry, UIOMMU_PASID_ALLOC);
	__atomic_store_n(&space->tags[pasid], space->generation << PASID_TAG_GENERATION_SHIFT | PASID_OPEN, __ATOMIC_RELEASE);
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

/* Looks do not find it any more. Its data stays, for those that have found it, and for the subscribers. */
static void close_looks(const struct pasid_entry *entry, uint32_t pasid)
{
	struct pasid_space *space = entry->set->space;

	__atomic_store_n(&space->tags[pasid], space->tags[pasid] & ~PASID_OPEN, __ATOMIC_RELEASE);
	if (entry->data)
		rcu_publish(entry->set->view.leaves[pasid >> PASID_FANOUT_LG2][pasid & (PASID_FANOUT - 1)], NULL);
}

static void release(struct pasid_space *space, uint32_t pasid, struct pasid_entry *entry)
{
	struct pasid_set *set = entry->set;

	__atomic_store_n(&space->tags[pasid], 0, __ATOMIC_RELEASE);
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
	close_looks(entry, pasid);
	entry->draining = true;
	entry->set->draining++;
	entry->freed_bound = entry->uses && !entry->implicit;
	if (entry->live)
		due(entry, UIOMMU_PASID_UNBIND);
	/* Data is somebody's: it goes when nobody looks at it any more, which pasid_tell() sees to. */
	if (entry->data)
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

static int pick_from(struct pasid_set *set, uint32_t first, uint32_t last, uint32_t *pasid)
{
	int error = first > last ? -ENOSPC : pasid_pick(set, first, last, pasid);

	return error == -EBUSY ? -ENOSPC : error;
}

int pasid_pick_for(struct pasid_set *set, uint32_t bits, uint32_t own, uint32_t *pasid)
{
	uint32_t last = (UINT32_C(1) << bits) - 1;
	int error = pick_from(set, 1, own ? own - 1 : last, pasid);

	return error == -ENOSPC && own ? pick_from(set, own + 1, last, pasid) : error;
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
	const struct pasid_entry *entry;
	bool freed;

	pthread_mutex_lock(&space->lock);
	entry = entry_of(space, pasid);
	freed = entry && entry->freed_bound;
	pthread_mutex_unlock(&space->lock);
	return freed;
}

/* --- data --- */

/* Under the lock. The place of @pasid's data; NULL without memory. */
static void **data_place(struct pasid_set *set, uint32_t pasid)
{
	void ***leaf = &set->view.leaves[pasid >> PASID_FANOUT_LG2], **made;

	if (!*leaf) {
		made = calloc(PASID_FANOUT, sizeof(*made));
		if (!made)
			return NULL;
		rcu_publish(*leaf, made);
	}
	return &(*leaf)[pasid & (PASID_FANOUT - 1)];
}

static int set_data_locked(struct pasid_set *set, uint32_t pasid, void *data, void **before)
{
	struct pasid_entry *entry = find(set, pasid);
	void **place;

	if (!entry || entry->draining)
		return -ENOENT;
	place = data_place(set, pasid);
	if (!place)
		return -ENOMEM;
	*before = entry->data;
	entry->data = data;
	rcu_publish(*place, data);
	return 0;
}

int pasid_set_data(struct pasid_set *set, uint32_t pasid, void *data, void **old)
{
	void *before = NULL;
	int error;

	pthread_mutex_lock(&set->space->lock);
	error = set_data_locked(set, pasid, data, &before);
	pthread_mutex_unlock(&set->space->lock);
	if (before)
		rcu_wait();
	if (old)
		*old = before;
	return error;
}

const uint64_t *pasid_tags(const struct pasid_space *space)
{
	return space->tags;
}

const struct pasid_view *pasid_view(const struct pasid_set *set)
{
	return &set->view;
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
		out->data = entry->data;
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
		else if (entry_of(set->space, pasid)->set == set)
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
	pthread_mutex_unlock(&space->lock);
	for (unsigned int i = 0; i < PASID_FANOUT; i++)
		free(set->view.leaves[i]);
	free(set);
}
