/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Memory that is supplied when it is needed: accesses that wait for pages, and those who are told of them.
 *
 * An access that finds a page absent asks inside the read section in which it found that: so whoever takes the memory or the
 * attachment away, waits for a grace period and then answers, answers it, too. Whoever supplies a page makes it present first, and
 * answers then; asking looks once more when the question can be answered already. So neither overtakes the other.
 *
 * The lock is a leaf; answers are given without it.
 */
#ifndef MEMORY_DEMAND_H
#define MEMORY_DEMAND_H

#include <stdbool.h>
#include <stdint.h>
#include <urcu/list.h>

struct demand;
struct presence;

/* Since it was made. */
struct demand_counts {
	uint64_t pages; /* that were waited for */
	uint64_t accesses; /* that have waited */
	uint64_t failed; /* pages that were not supplied */
	uint32_t waiting; /* pages that are waited for now */
};

/* One who waits; in the memory of who asks. */
struct demand_wait {
	struct cds_list_head link; /* in the page's list */
	struct demand *demand; /* a reference */
	/* Called once, with no lock held, by whoever answers: enum uiommu_response. SUCCESS: look again. */
	void (*done)(struct demand_wait *wait, unsigned int response);
};

/* -EMFILE, -ENOMEM. */
int demand_create(struct demand **out);
struct demand *demand_get(struct demand *demand);
void demand_put(struct demand *demand);

/* Is there any? For those who have something to do beforehand then. */
bool demand_in_use(void);

/* Readable while there are pages that nobody has read. */
int demand_fd(const struct demand *demand);

/*
 * Ask for the page at @offset, which was absent. 0: @wait->done is called, or has been; -EAGAIN: it is present now;
 * -ECANCELED: nobody answers any more; -ENOMEM.
 */
int demand_ask(const struct presence *presence, uint64_t offset, struct demand_wait *wait);

struct demand_counts demand_counts(struct demand *demand);

/* The oldest page that is waited for and has not been read; false: there is none. */
bool demand_read(struct demand *demand, uint64_t *start, uint64_t *length);

/* Before the answer: whoever supplies pages says that those in [start, last] are there. */
void demand_supplied(struct demand *demand, uint64_t start, uint64_t last);

/* Answer all who wait for pages in [start, last]. */
void demand_answer(struct demand *demand, uint64_t start, uint64_t last, unsigned int response);

/* Its pages become present with an answer: tell it of those, until it is removed. */
void demand_add(struct demand *demand, struct presence *presence);
void demand_remove(struct demand *demand, struct presence *presence);

/* Everything is answered with failure, from now on. */
void demand_abandon(struct demand *demand);

#endif
