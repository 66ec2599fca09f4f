/* SPDX-License-Identifier: BSD-3-Clause */
#include "memory/demand.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <uiommu/fault.h>
#include <unistd.h>

#include "memory/presence.h"
#include "translate/inflight.h"
#include "util/util.h"

/* A page that somebody waits for. */
struct page {
	struct cds_list_head link; /* in demand->pages, oldest first */
	uint64_t start, last;
	bool read;
	struct cds_list_head waits; /* struct demand_wait */
};

struct demand {
	unsigned int references; /* atomic */
	int eventfd; /* its counter is 1 while there is a page that has not been read */
	pthread_mutex_t lock;
	bool abandoned;
	uint64_t unread;
	struct demand_counts counts;
	struct cds_list_head pages;
	struct cds_list_head presences; /* whose pages become present with an answer */
};

enum { ANSWER_BYTES = 2 << 20 }; /* made present without giving the lock back */

static bool in_use;

bool demand_in_use(void)
{
	return __atomic_load_n(&in_use, __ATOMIC_RELAXED);
}

int demand_create(struct demand **out)
{
	struct demand *demand = calloc(1, sizeof(*demand));

	if (!demand)
		return -ENOMEM;
	demand->eventfd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (demand->eventfd < 0) {
		int error = errno == EMFILE ? -EMFILE : -ENOMEM;

		free(demand);
		return error;
	}
	demand->references = 1;
	pthread_mutex_init(&demand->lock, NULL);
	CDS_INIT_LIST_HEAD(&demand->pages);
	CDS_INIT_LIST_HEAD(&demand->presences);
	__atomic_store_n(&in_use, true, __ATOMIC_RELAXED);
	*out = demand;
	return 0;
}

struct demand *demand_get(struct demand *demand)
{
	__atomic_fetch_add(&demand->references, 1, __ATOMIC_RELAXED);
	return demand;
}

/* Those who wait hold references: nobody does. */
void demand_put(struct demand *demand)
{
	if (__atomic_sub_fetch(&demand->references, 1, __ATOMIC_ACQ_REL))
		return;
	close(demand->eventfd);
	pthread_mutex_destroy(&demand->lock);
	free(demand);
}

int demand_fd(const struct demand *demand)
{
	return demand->eventfd;
}

/* One more that has not been read, or less. Under the lock. */
static void count_unread(struct demand *demand, int more)
{
	uint64_t counter = 1;

	demand->unread += (uint64_t)(int64_t)more;
	/* Cannot fail: the counter is 0 or 1. */
	if (more > 0 && demand->unread == 1 && write(demand->eventfd, &counter, sizeof(counter)) != sizeof(counter))
		abort();
	if (more < 0 && !demand->unread && read(demand->eventfd, &counter, sizeof(counter)) != sizeof(counter))
		abort();
}

/* Under the lock: the page, or NULL without memory. */
static struct page *page_get(struct demand *demand, uint64_t start, uint64_t last)
{
	struct page *page;

	cds_list_for_each_entry (page, &demand->pages, link)
		if (page->start == start)
			return page;
	page = calloc(1, sizeof(*page));
	if (!page)
		return NULL;
	page->start = start;
	page->last = last;
	CDS_INIT_LIST_HEAD(&page->waits);
	cds_list_add_tail(&page->link, &demand->pages);
	demand->counts.pages++;
	demand->counts.waiting++;
	count_unread(demand, 1);
	return page;
}

int demand_ask(const struct presence *presence, uint64_t offset, struct demand_wait *wait)
{
	struct demand *demand = presence_demand(presence);
	uint64_t start, last;
	struct page *page;
	int error = 0;

	presence_page(presence, offset, &start, &last);
	pthread_mutex_lock(&demand->lock);
	if (demand->abandoned)
		error = -ECANCELED;
	else if (presence_length(presence, offset, 1)) /* and its answer may have been given */
		error = -EAGAIN;
	page = error ? NULL : page_get(demand, start, last);
	if (page) {
		wait->demand = demand_get(demand);
		cds_list_add_tail(&wait->link, &page->waits);
		demand->counts.accesses++;
	}
	pthread_mutex_unlock(&demand->lock);
	return page || error ? error : -ENOMEM;
}

struct demand_counts demand_counts(struct demand *demand)
{
	struct demand_counts counts;

	pthread_mutex_lock(&demand->lock);
	counts = demand->counts;
	pthread_mutex_unlock(&demand->lock);
	return counts;
}

bool demand_read(struct demand *demand, uint64_t *start, uint64_t *length)
{
	bool found = false;
	struct page *page;

	pthread_mutex_lock(&demand->lock);
	cds_list_for_each_entry (page, &demand->pages, link) {
		if (page->read)
			continue;
		page->read = found = true;
		count_unread(demand, -1);
		*start = page->start;
		*length = page->last - page->start + 1;
		break;
	}
	pthread_mutex_unlock(&demand->lock);
	return found;
}

/* Under the lock: the pages in [start, last] go, and who waited for them gets into @waits. */
static void take(struct demand *demand, uint64_t start, uint64_t last, unsigned int response, struct cds_list_head *waits)
{
	struct page *page, *next;

	cds_list_for_each_entry_safe (page, next, &demand->pages, link) {
		if (page->last < start || page->start > last)
			continue;
		if (!page->read)
			count_unread(demand, -1);
		demand->counts.waiting--;
		demand->counts.failed += response != UIOMMU_RESPONSE_SUCCESS;
		cds_list_del(&page->link);
		cds_list_splice(&page->waits, waits);
		free(page);
	}
}

/* Callbacks count as such: what drains may not be called from them. */
static void answer(struct cds_list_head *waits, unsigned int response)
{
	struct thread_state *self = thread_self();
	struct cds_list_head *node, *next;

	self->depth++;
	cds_list_for_each_safe (node, next, waits) {
		struct demand_wait *wait = cds_list_entry(node, struct demand_wait, link);
		struct demand *demand = wait->demand;

		wait->done(wait, response);
		demand_put(demand);
	}
	self->depth--;
}

void demand_add(struct demand *demand, struct presence *presence)
{
	pthread_mutex_lock(&demand->lock);
	cds_list_add(presence_link(presence), &demand->presences);
	pthread_mutex_unlock(&demand->lock);
}

void demand_remove(struct demand *demand, struct presence *presence)
{
	pthread_mutex_lock(&demand->lock);
	cds_list_del(presence_link(presence));
	pthread_mutex_unlock(&demand->lock);
}

/* Under the lock: where the first address of [start, last] is that a presence has; false: there is none. */
static bool next_present(const struct demand *demand, uint64_t start, uint64_t last, uint64_t *out)
{
	struct cds_list_head *node;
	bool found = false;

	cds_list_for_each (node, &demand->presences) {
		const struct presence *presence = presence_of_link(node);
		uint64_t first = max_u64(start, presence_start(presence));

		if (first > min_u64(last, presence_last(presence)) || (found && first >= *out))
			continue;
		found = true;
		*out = first;
	}
	return found;
}

/* Under the lock. */
static void tell_presences(const struct demand *demand, uint64_t start, uint64_t last)
{
	struct cds_list_head *node;

	cds_list_for_each (node, &demand->presences) {
		const struct presence *presence = presence_of_link(node);
		uint64_t first = max_u64(start, presence_start(presence)), end = min_u64(last, presence_last(presence));

		if (first <= end)
			presence_answered(presence, first, end);
	}
}

/* So much at a time that whoever asks meanwhile does not wait for all. */
void demand_supplied(struct demand *demand, uint64_t start, uint64_t last)
{
	uint64_t end = start;
	bool found;

	do {
		pthread_mutex_lock(&demand->lock);
		found = next_present(demand, start, last, &start);
		if (found) {
			end = start + min_u64(last - start, ANSWER_BYTES - 1);
			tell_presences(demand, start, end);
			start = end + 1;
		}
		pthread_mutex_unlock(&demand->lock);
	} while (found && end != last);
}

void demand_answer(struct demand *demand, uint64_t start, uint64_t last, unsigned int response)
{
	CDS_LIST_HEAD(waits);

	pthread_mutex_lock(&demand->lock);
	take(demand, start, last, response, &waits);
	pthread_mutex_unlock(&demand->lock);
	answer(&waits, response);
}

void demand_abandon(struct demand *demand)
{
	CDS_LIST_HEAD(waits);

	pthread_mutex_lock(&demand->lock);
	demand->abandoned = true;
	take(demand, 0, UINT64_MAX, UIOMMU_RESPONSE_FAILURE, &waits);
	pthread_mutex_unlock(&demand->lock);
	answer(&waits, UIOMMU_RESPONSE_FAILURE);
}
