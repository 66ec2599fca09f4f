/* SPDX-License-Identifier: BSD-3-Clause */
/* Inside src/pasid: what a space and its sets are made of. */
#ifndef PASID_SPACE_H
#define PASID_SPACE_H

#include <pthread.h>
#include <urcu/list.h>

#include "pasid/numbers.h"
#include "pasid/pasid.h"

enum {
	PAGE_LG2 = 10,
	PAGE_NUMBERS = 1 << PAGE_LG2,
	PAGES = NUMBERS >> PAGE_LG2,
};

/* Everything else, under the space's lock. */
struct pasid_entry {
	struct pasid_set *set; /* NULL: free */
	uint64_t generation;
	void *data;
	uint32_t holding; /* by index: subscriptions, 32 of a set at most, that have been told of FREE and have not let go */
	uint32_t uses;
	uint32_t live; /* of the uses */
	bool draining;
	bool implicit; /* allocated by its first use */
	bool freed_bound; /* stays when it is free */
	bool telling; /* a thread is in a callback */
	uint8_t due; /* events to be told, bits by enum uiommu_pasid_event, in that order */
};

struct pasid_space {
	pthread_mutex_t lock;
	pthread_cond_t called; /* a callback of a subscription that ends has returned */
	uint64_t generation;
	struct numbers used;
	uint64_t *tags; /* atomic; memory only where it has been written to */
	struct pasid_entry *pages[PAGES]; /* each made when its first number is allocated; stays */
};

struct pasid_set {
	struct pasid_view view;
	struct pasid_space *space;
	uint32_t quota;
	uint32_t count; /* numbers, draining ones included */
	uint32_t draining;
	uint32_t subscribed; /* indices that are taken */
	struct cds_list_head subscriptions; /* in the order of their making */
	uint16_t per_page[PAGES]; /* its numbers in each page */
};

/* All of these under the space's lock. */

/* The entry of @pasid, in whatever set it is, or NULL. */
struct pasid_entry *pasid_entry_any(const struct pasid_space *space, uint32_t pasid);

/* The lowest number of @set that is >= @from, or 0. */
uint32_t pasid_next_locked(const struct pasid_set *set, uint32_t from);

/* There is one. */
struct uiommu_pasid_subscription *pasid_first_subscription(struct pasid_set *set);

/* If nothing keeps it from that, a draining number becomes free. */
void pasid_settle(struct pasid_space *space, uint32_t pasid, struct pasid_entry *entry);

#endif
