/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * PASIDs: 2^20 numbers, owned by sets, with a life cycle.
 *
 *   free -> allocated -> bound -> draining -> free
 *
 * A set is a client, a VM or a context; it has a quota. A bound number that is freed drains first: nobody gets it before
 * pasid_drained() says that nothing can emit it any more. Each allocation has its own generation, so that reuse is visible.
 *
 * All calls are thread-safe: one lock per space, a leaf of the lock order. Nothing here waits or calls back.
 */
#ifndef PASID_PASID_H
#define PASID_PASID_H

#include <stdint.h>

struct pasid_space;
struct pasid_set;

enum pasid_state {
	PASID_FREE,
	PASID_ALLOCATED,
	PASID_BOUND,
	PASID_DRAINING,
};

struct pasid_space *pasid_space_create(void);

/* No set is left. */
void pasid_space_destroy(struct pasid_space *space);

/* At most @quota numbers at a time, draining ones included. NULL without memory. */
struct pasid_set *pasid_set_create(struct pasid_space *space, uint32_t quota);

/* Ends the set and frees all its numbers, whatever their state: nothing can emit them any more. */
void pasid_set_destroy(struct pasid_set *set);

/*
 * The lowest free number from @first to @last, of 1 to 2^20 - 1. -EDQUOT (the set's quota), -EINVAL (range), -ENOMEM; if none is
 * free -EBUSY where a single number was asked for, else -ENOSPC.
 */
int pasid_alloc(struct pasid_set *set, uint32_t first, uint32_t last, uint32_t *pasid);

/* allocated -> bound. -ENOENT if it is not an allocated number of @set. */
int pasid_bind(struct pasid_set *set, uint32_t pasid);

/* allocated -> free, bound -> draining. -ENOENT if it is neither in @set. Returns the new state. */
int pasid_free(struct pasid_set *set, uint32_t pasid);

/* draining -> free. -ENOENT if it is not a draining number of @set. */
int pasid_drained(struct pasid_set *set, uint32_t pasid);

/* pasid_free() for all of @set. */
void pasid_set_free_all(struct pasid_set *set);

enum pasid_state pasid_state(const struct pasid_set *set, uint32_t pasid);

/* 0 if the number is not in @set. */
uint64_t pasid_generation(const struct pasid_set *set, uint32_t pasid);

uint32_t pasid_set_count(const struct pasid_set *set);

/* The lowest number of @set that is >= @from, or 0: for (p = pasid_next(set, 1); p; p = pasid_next(set, p + 1)). */
uint32_t pasid_next(const struct pasid_set *set, uint32_t from);

#endif
