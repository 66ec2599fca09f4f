/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * PASID sets: who owns which of the 2^20 numbers of a context, and what becomes of a number. docs/pasid.md has the whole life
 * cycle.
 *
 * A set is an object of the context: a client, a VM, a group of processes. Set 0 is the context's own; it owns the numbers that
 * uiommu_bind() picks, and those that uiommu_attach() uses without anybody having allocated them, as long as they are used.
 *
 * A number is *bound* as long as a device has an attachment of it. One that is freed while it is bound is *draining*: its accesses
 * fail without a record, and it is given to nobody before the last access has ended and the last subscriber has let go.
 */
#ifndef UIOMMU_PASID_H
#define UIOMMU_PASID_H

#include <uiommu/context.h>

#ifdef __cplusplus
extern "C" {
#endif

/** UIOMMU_PASID_SET_OWN - id of the context's own set, which always exists and has no quota. */
#define UIOMMU_PASID_SET_OWN 0

/**
 * enum uiommu_pasid_state - what has become of a number.
 * @UIOMMU_PASID_STATE_FREE: it is in no set
 * @UIOMMU_PASID_STATE_ALLOCATED: it is in a set, and no device has it
 * @UIOMMU_PASID_STATE_BOUND: at least one device has an attachment of it
 * @UIOMMU_PASID_STATE_DRAINING: it has been freed, and accesses or subscribers still have it
 */
enum uiommu_pasid_state {
	UIOMMU_PASID_STATE_FREE,
	UIOMMU_PASID_STATE_ALLOCATED,
	UIOMMU_PASID_STATE_BOUND,
	UIOMMU_PASID_STATE_DRAINING,
};

/**
 * struct uiommu_pasid_set_alloc - a new set.
 * @size: sizeof(struct uiommu_pasid_set_alloc)
 * @flags: 0
 * @quota: how many numbers it may have at a time, draining ones included; 0: as many as there are
 * @reserved: 0
 */
struct uiommu_pasid_set_alloc {
	uint32_t size;
	uint32_t flags;
	uint32_t quota;
	uint32_t reserved;
};

/**
 * uiommu_pasid_set_alloc() - make a set.
 * @context: its owner
 * @alloc: what it is
 * @out_id: its id
 *
 * uiommu_destroy() ends it: EBUSY as long as it has numbers, draining ones included, or subscriptions. uiommu_close() ends it
 * whatever it has; subscriptions end with it, and must not be used any more.
 *
 * Return: 0, -EINVAL (size), -E2BIG, -EOPNOTSUPP (flags, reserved), -ENOMEM. Thread-safe.
 */
UIOMMU_API int uiommu_pasid_set_alloc(struct uiommu_context *context, const struct uiommu_pasid_set_alloc *alloc, uint32_t *out_id);

/**
 * struct uiommu_pasid_set_info - a set's numbers.
 * @size: sizeof(struct uiommu_pasid_set_info)
 * @quota: how many it may have
 * @count: how many it has
 * @draining: how many of them are draining
 * @subscriptions: of it
 * @reserved: 0
 */
struct uiommu_pasid_set_info {
	uint32_t size;
	uint32_t quota;
	uint32_t count;
	uint32_t draining;
	uint32_t subscriptions;
	uint32_t reserved;
};

/**
 * uiommu_pasid_set_info() - look at a set.
 * @context: owner
 * @set_id: the set
 * @out: @out->size is in
 *
 * Return: 0, -EINVAL (size), -ENOENT. Thread-safe.
 */
UIOMMU_API int uiommu_pasid_set_info(struct uiommu_context *context, uint32_t set_id, struct uiommu_pasid_set_info *out);

/**
 * uiommu_pasid_alloc() - take the lowest number of a range that is free.
 * @context: owner
 * @set_id: the set that gets it
 * @first: at least 1
 * @last: at most %UIOMMU_PASID_LAST; @first: this number or none
 * @out_pasid: the number
 *
 * Return: 0, -EINVAL (range), -ENOENT (no such set), -EDQUOT (the set's quota), -ENOSPC (none is free), -EBUSY (@first is @last,
 * and in use or draining), -ENOMEM, -EOWNERDEAD. Thread-safe.
 */
UIOMMU_API int uiommu_pasid_alloc(struct uiommu_context *context, uint32_t set_id, uint32_t first, uint32_t last,
				  uint32_t *out_pasid);

/**
 * uiommu_pasid_free() - give a number back.
 * @context: owner
 * @set_id: the set
 * @pasid: the number
 *
 * Never waits for accesses: a bound number is draining afterwards, and every attachment and bind of it ends on its own. Who calls
 * uiommu_unbind() later finds nothing to do. Holders of pins are asked to put them; a pin that is left keeps the number draining
 * until it is put. Waits for looks at its data (uiommu_pasid_find()) to end, and tells the subscribers, unless another thread is
 * telling them of this number: then that one does.
 *
 * Return: 0, -ENOENT (no such set, or it does not have this number, or has freed it already), -EDEADLK (inside an access or
 * callback), -EOWNERDEAD. Thread-safe.
 */
UIOMMU_API int uiommu_pasid_free(struct uiommu_context *context, uint32_t set_id, uint32_t pasid);

/**
 * uiommu_pasid_free_all() - uiommu_pasid_free() for every number of a set: its owner has gone.
 * @context: owner
 * @set_id: the set
 *
 * Numbers that are allocated meanwhile may stay.
 *
 * Return: 0, -ENOENT (no such set), -EDEADLK, -EOWNERDEAD. Thread-safe.
 */
UIOMMU_API int uiommu_pasid_free_all(struct uiommu_context *context, uint32_t set_id);

/**
 * struct uiommu_pasid_info - one number.
 * @size: sizeof(struct uiommu_pasid_info)
 * @pasid: the number
 * @state: &enum uiommu_pasid_state
 * @attachments: devices that have an attachment of it, those that end included
 * @holders: subscribers that have been told that it is free and have not let go
 * @set_id: its set
 * @generation: of this allocation; no other one, of any number of this context, has the same
 * @data: private data
 */
struct uiommu_pasid_info {
	uint32_t size;
	uint32_t pasid;
	uint32_t state;
	uint32_t attachments;
	uint32_t holders;
	uint32_t set_id;
	uint64_t generation;
	void *data;
};

/**
 * uiommu_pasid_info() - look at a number.
 * @context: owner
 * @set_id: the set
 * @pasid: the number
 * @out: @out->size is in
 *
 * Return: 0, -EINVAL (size), -ENOENT (no such set, or it does not have this number). Thread-safe.
 */
UIOMMU_API int uiommu_pasid_info(struct uiommu_context *context, uint32_t set_id, uint32_t pasid, struct uiommu_pasid_info *out);

/**
 * uiommu_pasid_next() - go through a set: from 1, then from one behind what was found.
 * @context: owner
 * @set_id: the set
 * @from: where to begin
 * @out: the lowest number that is not below @from; @out->size is in
 *
 * Return: 0, -EINVAL (size), -ENOENT (no such set, or no more numbers). Thread-safe; numbers may come and go meanwhile.
 */
UIOMMU_API int uiommu_pasid_next(struct uiommu_context *context, uint32_t set_id, uint32_t from, struct uiommu_pasid_info *out);

/**
 * uiommu_pasid_set_data() - attach private data to a number.
 * @context: owner
 * @set_id: the set
 * @pasid: the number
 * @data: what uiommu_pasid_find() finds; NULL: nothing
 * @out_old: what was there before; nobody has it any more from a read section. May be NULL
 *
 * Data goes with the number: when uiommu_pasid_free() has returned, or subscribers are told of %UIOMMU_PASID_FREE, nobody finds it
 * any more.
 *
 * Not in a read section: it waits for those to end.
 *
 * Return: 0, -ENOENT (no such set, or it does not have this number, or it is draining), -ENOMEM, -EOWNERDEAD. Thread-safe.
 */
UIOMMU_API int uiommu_pasid_set_data(struct uiommu_context *context, uint32_t set_id, uint32_t pasid, void *data, void **out_old);

/* --- the hot path --- */

struct uiommu_pasid_set;

/**
 * uiommu_pasid_set_get() - take a reference for uiommu_pasid_find().
 * @context: owner
 * @set_id: the set
 *
 * The set cannot be destroyed (EBUSY) until uiommu_pasid_set_put(). uiommu_close() ends it all the same: put first.
 *
 * Return: the set, or NULL if there is none. Thread-safe.
 */
UIOMMU_API struct uiommu_pasid_set *uiommu_pasid_set_get(struct uiommu_context *context, uint32_t set_id);

/**
 * uiommu_pasid_set_put() - give a reference back.
 * @set: from uiommu_pasid_set_get(); NULL does nothing
 */
UIOMMU_API void uiommu_pasid_set_put(struct uiommu_pasid_set *set);

/**
 * uiommu_pasid_read_begin() - begin a read section: data that is found stays until it ends.
 *
 * No lock, and nothing is written that another thread reads. Sections nest; nothing in one may wait.
 */
UIOMMU_API void uiommu_pasid_read_begin(void);

/** uiommu_pasid_read_end() - end it. */
UIOMMU_API void uiommu_pasid_read_end(void);

/**
 * uiommu_pasid_find() - the private data of a number.
 * @set: whose numbers count
 * @pasid: any number
 *
 * Takes no lock. In a read section, if what the data points to may be freed.
 *
 * Return: the data; NULL: none, or the number is not in @set, or it is draining. Thread-safe.
 */
UIOMMU_API void *uiommu_pasid_find(const struct uiommu_pasid_set *set, uint32_t pasid);

/* --- subscriptions --- */

/**
 * enum uiommu_pasid_event - what a subscriber is told.
 * @UIOMMU_PASID_ALLOC: the number is the set's
 * @UIOMMU_PASID_UNBIND: its last attachment ends; accesses fail from now on
 * @UIOMMU_PASID_BIND: it has got its first attachment
 * @UIOMMU_PASID_FREE: it has been freed; nothing more comes of this generation
 */
enum uiommu_pasid_event {
	UIOMMU_PASID_ALLOC,
	UIOMMU_PASID_UNBIND,
	UIOMMU_PASID_BIND,
	UIOMMU_PASID_FREE,
};

/**
 * struct uiommu_pasid_notice - one event.
 * @event: &enum uiommu_pasid_event
 * @pasid: the number
 * @generation: of its allocation
 * @data: its private data; with FREE: nobody finds it any more
 */
struct uiommu_pasid_notice {
	uint32_t event;
	uint32_t pasid;
	uint64_t generation;
	void *data;
};

/**
 * enum uiommu_pasid_answer - what a subscriber answers to FREE; to anything else it is not looked at.
 * @UIOMMU_PASID_DONE: the number may be given to somebody else
 * @UIOMMU_PASID_HOLD: not before uiommu_pasid_release()
 */
enum uiommu_pasid_answer {
	UIOMMU_PASID_DONE,
	UIOMMU_PASID_HOLD,
};

/**
 * struct uiommu_pasid_subscribe - a new subscription.
 * @size: sizeof(struct uiommu_pasid_subscribe)
 * @flags: 0
 * @notify: called with each event, with no lock held, from the thread that made it happen or from another one that is in the middle
 *          of telling of the same number; returns &enum uiommu_pasid_answer. It may take its time, and is inside a callback: what
 *          takes something away is EDEADLK
 * @opaque: its first argument
 */
struct uiommu_pasid_subscribe {
	uint32_t size;
	uint32_t flags;
	unsigned int (*notify)(void *opaque, const struct uiommu_pasid_notice *notice);
	void *opaque;
};

struct uiommu_pasid_subscription;

/**
 * uiommu_pasid_subscribe() - be told of a set's numbers, from now on.
 * @context: owner
 * @set_id: the set
 * @request: who
 * @out: the subscription
 *
 * The events of one number come one after the other, in the order in which they happened: ALLOC, then BIND and UNBIND in turn, then
 * FREE. Subscribers are told in the order in which they subscribed. A bind that has ended before anybody could be told of it is not
 * told.
 *
 * Return: 0, -EINVAL (size, no @notify), -E2BIG, -EOPNOTSUPP (flags), -ENOENT (no such set), -ENOSPC (it has 32), -ENOMEM,
 * -EOWNERDEAD. Thread-safe.
 */
UIOMMU_API int uiommu_pasid_subscribe(struct uiommu_context *context, uint32_t set_id, const struct uiommu_pasid_subscribe *request,
				      struct uiommu_pasid_subscription **out);

/**
 * uiommu_pasid_unsubscribe() - be told no more.
 * @subscription: from uiommu_pasid_subscribe(); it lets go of every number that it holds
 *
 * When it returns its function is not running and will not be called.
 *
 * Return: 0, -EDEADLK (inside an access or callback; nothing has changed).
 */
UIOMMU_API int uiommu_pasid_unsubscribe(struct uiommu_pasid_subscription *subscription);

/**
 * uiommu_pasid_release() - let go of a number.
 * @subscription: answered, or is about to answer, %UIOMMU_PASID_HOLD
 * @pasid: the number
 * @generation: as it was told with %UIOMMU_PASID_FREE
 *
 * Return: 0, -ENOENT (it does not hold that). Thread-safe, also inside callbacks.
 */
UIOMMU_API int uiommu_pasid_release(struct uiommu_pasid_subscription *subscription, uint32_t pasid, uint64_t generation);

#ifdef __cplusplus
}
#endif
#endif
