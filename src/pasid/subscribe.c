/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Who is told of a set's numbers.
 *
 * Events of one number are told one after the other, by one thread at a time: the one that made the step, or, if another one is in
 * the middle of telling, that one. So nobody waits for a slow subscriber but the number, and it is not free before all has been
 * told.
 */
#include <errno.h>
#include <stdlib.h>

#include "pasid/space.h"
#include "translate/inflight.h"
#include "util/rcu.h"

struct uiommu_pasid_subscription {
	struct pasid_set *set;
	struct cds_list_head link; /* in set->subscriptions */
	unsigned int index;
	unsigned int calls; /* threads in the callback */
	bool ended;
	unsigned int (*notify)(void *opaque, const struct uiommu_pasid_notice *notice);
	void *opaque;
};

static uint32_t bit(const struct uiommu_pasid_subscription *subscription)
{
	return UINT32_C(1) << subscription->index;
}

struct uiommu_pasid_subscription *pasid_first_subscription(struct pasid_set *set)
{
	return cds_list_first_entry(&set->subscriptions, struct uiommu_pasid_subscription, link);
}

int pasid_subscribe(struct pasid_set *set, const struct uiommu_pasid_subscribe *request, struct uiommu_pasid_subscription **out)
{
	struct uiommu_pasid_subscription *subscription = calloc(1, sizeof(*subscription));
	bool room;

	if (!subscription)
		return -ENOMEM;
	subscription->set = set;
	subscription->notify = request->notify;
	subscription->opaque = request->opaque;
	pthread_mutex_lock(&set->space->lock);
	room = set->subscribed != UINT32_MAX;
	if (room) {
		subscription->index = (unsigned int)__builtin_ctz(~set->subscribed);
		set->subscribed |= bit(subscription);
		cds_list_add_tail(&subscription->link, &set->subscriptions);
	}
	pthread_mutex_unlock(&set->space->lock);
	if (!room) {
		free(subscription);
		return -ENOSPC;
	}
	*out = subscription;
	return 0;
}

/* Whatever it holds is let go. Under the lock. */
static void let_all_go(const struct uiommu_pasid_subscription *subscription)
{
	struct pasid_set *set = subscription->set;

	for (uint32_t pasid = pasid_next_locked(set, 1); pasid; pasid = pasid_next_locked(set, pasid + 1)) {
		struct pasid_entry *entry = pasid_entry_any(set->space, pasid);

		entry->holding &= ~bit(subscription);
		pasid_settle(set->space, pasid, entry);
	}
}

void pasid_unsubscribe(struct uiommu_pasid_subscription *subscription)
{
	struct pasid_space *space = subscription->set->space;

	pthread_mutex_lock(&space->lock);
	subscription->ended = true;
	while (subscription->calls)
		pthread_cond_wait(&space->called, &space->lock);
	let_all_go(subscription);
	subscription->set->subscribed &= ~bit(subscription);
	cds_list_del(&subscription->link);
	pthread_mutex_unlock(&space->lock);
	free(subscription);
}

int uiommu_pasid_release(struct uiommu_pasid_subscription *subscription, uint32_t pasid, uint64_t generation)
{
	struct pasid_set *set = subscription->set;
	struct pasid_entry *entry;
	int error = -ENOENT;

	pthread_mutex_lock(&set->space->lock);
	entry = pasid_entry_any(set->space, pasid);
	if (entry && entry->set == set && entry->generation == generation && entry->holding & bit(subscription)) {
		entry->holding &= ~bit(subscription);
		pasid_settle(set->space, pasid, entry);
		error = 0;
	}
	pthread_mutex_unlock(&set->space->lock);
	return error;
}

/* Under the lock, which is not held in the callback. It holds the number before it is told: it may let go before it returns. */
static void tell(struct uiommu_pasid_subscription *subscription, struct pasid_entry *entry,
		 const struct uiommu_pasid_notice *notice)
{
	struct pasid_space *space = subscription->set->space;
	struct thread_state *self;
	unsigned int answer;

	if (notice->event == UIOMMU_PASID_FREE)
		entry->holding |= bit(subscription);
	subscription->calls++;
	pthread_mutex_unlock(&space->lock);
	self = thread_self();
	self->depth++;
	answer = subscription->notify(subscription->opaque, notice);
	self->depth--;
	pthread_mutex_lock(&space->lock);
	if (answer != UIOMMU_PASID_HOLD)
		entry->holding &= ~bit(subscription);
	if (!--subscription->calls && subscription->ended)
		pthread_cond_broadcast(&space->called);
}

static void tell_all(struct pasid_space *space, uint32_t pasid, struct pasid_entry *entry, enum uiommu_pasid_event event)
{
	struct uiommu_pasid_notice notice = {
		.event = event,
		.pasid = pasid,
		.generation = entry->generation,
		.data = entry->data,
	};
	struct uiommu_pasid_subscription *subscription;

	if (event == UIOMMU_PASID_FREE && notice.data) {
		pthread_mutex_unlock(&space->lock);
		rcu_wait();
		pthread_mutex_lock(&space->lock);
	}
	/* One that is in its callback stays in the list. */
	cds_list_for_each_entry (subscription, &entry->set->subscriptions, link)
		if (!subscription->ended)
			tell(subscription, entry, &notice);
}

void pasid_tell(struct pasid_space *space, uint32_t pasid)
{
	struct pasid_entry *entry;

	pthread_mutex_lock(&space->lock);
	entry = pasid_entry_any(space, pasid);
	if (entry && entry->due && !entry->telling) {
		entry->telling = true;
		while (entry->due) {
			unsigned int event = (unsigned int)__builtin_ctz(entry->due);

			entry->due &= (uint8_t) ~(1u << event);
			tell_all(space, pasid, entry, event);
		}
		entry->telling = false;
		pasid_settle(space, pasid, entry);
	}
	pthread_mutex_unlock(&space->lock);
}
