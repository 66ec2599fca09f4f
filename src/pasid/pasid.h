/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * PASIDs: 2^20 numbers, owned by sets, with a life cycle (docs/pasid.md).
 *
 *   free -> allocated <-> bound -> draining -> free
 *
 * A set is a client, a VM or a context; it has a quota. A number has *uses*, one for each attachment of it that is in a device's
 * table, and as many of them are *live* as do not end yet. It is bound while it is used. A number that is freed drains: nobody gets
 * it before its last use has ended and all subscribers have let go. Each allocation has its own generation, so that reuse is
 * visible.
 *
 * A step of the life cycle is made under the space's lock, a leaf of the lock order, and only notes which events are due. They are
 * told by pasid_tell(), which whoever made the step calls once it holds no lock.
 *
 * A look takes no lock: each set has a table of its own numbers' data, and so nothing of another set's in it.
 */
#ifndef PASID_PASID_H
#define PASID_PASID_H

#include <stdbool.h>
#include <uiommu/pasid.h>

#include "util/rcu.h"

struct pasid_space;
struct pasid_set;

enum pasid_state {
	PASID_FREE = UIOMMU_PASID_STATE_FREE,
	PASID_ALLOCATED = UIOMMU_PASID_STATE_ALLOCATED,
	PASID_BOUND = UIOMMU_PASID_STATE_BOUND,
	PASID_DRAINING = UIOMMU_PASID_STATE_DRAINING,
};

struct pasid_space *pasid_space_create(void);

/* No set is left. */
void pasid_space_destroy(struct pasid_space *space);

/* At most @quota numbers at a time, draining ones included. NULL without memory. */
struct pasid_set *pasid_set_create(struct pasid_space *space, uint32_t quota);

/* Ends the set, and its subscriptions, and frees all its numbers, whatever their state: nothing can emit them any more. */
void pasid_set_destroy(struct pasid_set *set);

/*
 * The lowest free number from @first to @last, of 1 to 2^20 - 1. -EDQUOT (the set's quota), -EINVAL (range), -ENOMEM; if none is
 * free -EBUSY where a single number was asked for, else -ENOSPC.
 */
int pasid_alloc(struct pasid_set *set, uint32_t first, uint32_t last, uint32_t *pasid);

/* allocated -> free, bound -> draining. -ENOENT if it is neither in @set. Returns the new state. */
int pasid_free(struct pasid_set *set, uint32_t pasid);

/* pasid_free() for all of @set. */
void pasid_set_free_all(struct pasid_set *set);

/*
 * The uses. A number that is free is allocated by its first use, to @set, and freed with its last one; pasid_pick() looks for such
 * a one. pasid_use(): whatever set it is in. -EBUSY: it is draining; the errors of pasid_alloc().
 */
int pasid_pick(struct pasid_set *set, uint32_t first, uint32_t last, uint32_t *pasid);
int pasid_pick_for(struct pasid_set *set, uint32_t bits, uint32_t own, uint32_t *pasid); /* a device of so many bits, not @own */
int pasid_use(struct pasid_set *set, uint32_t pasid);

/* Of a use: it becomes live (-EBUSY: the number has been freed meanwhile), it is live no more, and it ends. */
int pasid_live(struct pasid_space *space, uint32_t pasid);
void pasid_ending(struct pasid_space *space, uint32_t pasid);
void pasid_unuse(struct pasid_space *space, uint32_t pasid);

bool pasid_draining(struct pasid_space *space, uint32_t pasid);

/* It was freed while it was bound, and has not been allocated again: whoever unbinds now comes too late, and that is all right. */
bool pasid_freed_bound(struct pasid_space *space, uint32_t pasid);

/* Tell the subscribers what is due of @pasid, unless another thread is telling them: then that one does. No lock is held. */
void pasid_tell(struct pasid_space *space, uint32_t pasid);

/*
 * What @data was before is written to *@old, which may be NULL. Waits for looks. -ENOENT: it is not an allocated or bound number of
 * @set; -ENOMEM.
 */
int pasid_set_data(struct pasid_set *set, uint32_t pasid, void *data, void **old);

/* --- looks, without a lock --- */

/* By number: generation, PASID_OPEN; 0: free. What is read of one allocation is never read of another. */
const uint64_t *pasid_tags(const struct pasid_space *space);

enum { PASID_TAG_GENERATION_SHIFT = 1 };
#define PASID_OPEN UINT64_C(1) /* not draining */

/* The generation of @pasid, whatever set it is in; 0: it is free, or draining. */
static inline uint64_t pasid_generation_now(const uint64_t *tags, uint32_t pasid)
{
	uint64_t tag = __atomic_load_n(&tags[pasid & UIOMMU_PASID_LAST], __ATOMIC_ACQUIRE);

	return tag & PASID_OPEN ? tag >> PASID_TAG_GENERATION_SHIFT : 0;
}

enum { PASID_FANOUT_LG2 = 10, PASID_FANOUT = 1 << PASID_FANOUT_LG2 };

/* What a look sees of a set: the data of its numbers that are not draining. */
struct pasid_view {
	void **leaves[PASID_FANOUT]; /* RCU; made when there is data, freed with the set; data is atomic */
};

const struct pasid_view *pasid_view(const struct pasid_set *set);

static inline void *pasid_find(const struct pasid_view *view, uint32_t pasid)
{
	void **leaf;

	if (__builtin_expect(pasid > UIOMMU_PASID_LAST, 0))
		return NULL;
	leaf = rcu_read(view->leaves[pasid >> PASID_FANOUT_LG2]);
	return __builtin_expect(leaf != NULL, 1) ? rcu_read(leaf[pasid & (PASID_FANOUT - 1)]) : NULL;
}

enum pasid_state pasid_state(const struct pasid_set *set, uint32_t pasid);

/* 0 if the number is not in @set. */
uint64_t pasid_generation(const struct pasid_set *set, uint32_t pasid);

/* All but @size and the set's id. -ENOENT: not in @set. */
int pasid_info(const struct pasid_set *set, uint32_t pasid, struct uiommu_pasid_info *out);

struct pasid_space *pasid_set_space(const struct pasid_set *set);

uint32_t pasid_set_count(const struct pasid_set *set);

/* The lowest number of @set that is >= @from, or 0: for (p = pasid_next(set, 1); p; p = pasid_next(set, p + 1)). */
uint32_t pasid_next(const struct pasid_set *set, uint32_t from);

/* --- subscriptions (subscribe.c) --- */

struct uiommu_pasid_subscription;

/* -ENOSPC: the set has as many as it can; -ENOMEM. */
int pasid_subscribe(struct pasid_set *set, const struct uiommu_pasid_subscribe *request, struct uiommu_pasid_subscription **out);

/* Not inside a callback. */
void pasid_unsubscribe(struct uiommu_pasid_subscription *subscription);

#endif
