/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Tables in memory that may keep whoever looks at it waiting: that of another process, and what this one knows by address only. A
 * walk is in a read section and waits for nothing.
 *
 * So it ends with DISTANT_FIRST where it meets such an entry. Outside of the section distant_fetch() makes a copy of it, which is
 * the thread's own, and the walk is done again, from the start; it finds the copy, and comes further. What it would change in
 * memory it changes in the copy, and ends with DISTANT_FIRST once more: then distant_fetch() changes it there, by compare-and-swap,
 * and who loses reads again. A walk that ends in another way has met nothing that was not as in memory.
 *
 * Copies are of no use longer than what is cached would be. They belong to the tables that are walked (distant_keep()): to what
 * was true since a number that is another one after each invalidation, and looked at in the read section, after the walk's fill has
 * begun. So an invalidation need not wait for who fetches. An unmap does: meanwhile the area is entered, as by an access.
 *
 * Only between distant_begin() and distant_end(); anywhere else such memory cannot be read.
 */
#ifndef MEMORY_DISTANT_H
#define MEMORY_DISTANT_H

#include "memory/areas.h"
#include "translate/inflight.h"

/* Beyond enum uiommu_fault_reason. */
enum { DISTANT_FIRST = 0xff };

void distant_drop(struct thread_state *self);

/* They nest. */
static inline void distant_begin(struct thread_state *self)
{
	self->reaches++;
}

static inline void distant_end(struct thread_state *self)
{
	self->reaches--;
	if (unlikely(self->distant))
		distant_drop(self);
}

/* The thread ends. */
void distant_free(struct thread_state *self);

/* A number that has not been there before. */
uint64_t distant_serial(void);

/* In a read section, after a fill has begun: copies are of what has these numbers, or there are none. */
void distant_keep_of(struct thread_state *self, uint64_t serial, uint64_t more);

static inline void distant_keep(const uint64_t *serial, const uint64_t *more)
{
	if (unlikely(thread_current.distant))
		distant_keep_of(&thread_current, __atomic_load_n(serial, __ATOMIC_ACQUIRE),
				__atomic_load_n(more, __ATOMIC_ACQUIRE));
}

/* What was walked does not count: something is to be fetched first. */
static inline bool distant_asked(void)
{
	return unlikely(thread_current.asked);
}

/* Before distant_fetch(), by who translates one address after the other: copies of another one's walk go, as there is not room for
 * all. */
void distant_of(struct thread_state *self, uint64_t address);

/*
 * Outside of read sections, with nothing held: fetch or change what the last walk asked for. May sleep. False: no memory. What
 * cannot be read or changed is known as such afterwards, so walk again.
 */
bool distant_fetch(struct thread_state *self);

/*
 * In a read section, of an area that is not resident: where @size bytes at @address can be looked at, with @access, now; or NULL
 * and
 * *@reason, which may be ABSENT or DISTANT_FIRST.
 */
uint8_t *area_elsewhere(struct area *area, uint64_t address, uint64_t size, unsigned int access, unsigned int *reason);

#endif
