/* SPDX-License-Identifier: BSD-3-Clause */
/* The public calls: sets are objects, and a number that is freed takes its attachments with it. */
#include "pasid/set.h"

#include <errno.h>
#include <stdlib.h>
#include <uiommu/mdev.h>

#include "iommu/attach.h"
#include "pasid/space.h"
#include "pasid/vpasid.h"
#include "sva/bind.h"
#include "translate/inflight.h"
#include "util/rcu.h"
#include "util/util.h"

struct set {
	struct object object;
	struct pasid_set *numbers;
	pthread_mutex_t lock;
	struct vpasid_table *vpasids; /* RCU; NULL: there has been no use for it */
};

struct uiommu_pasid_set {
	const struct pasid_view *view;
	struct object *object; /* used; NULL: the context's own set */
};

static struct set *of(struct object *object)
{
	return container_of(object, struct set, object);
}

struct pasid_set *set_get(struct uiommu_context *context, uint32_t id, struct object **inside)
{
	*inside = NULL;
	if (id == UIOMMU_PASID_SET_OWN)
		return context->pasid_set;
	*inside = object_get(context, id, UIOMMU_OBJECT_PASID_SET);
	return *inside ? of(*inside)->numbers : NULL;
}

void set_put(struct object *inside)
{
	if (inside)
		object_put(inside);
}

int uiommu_pasid_set_alloc(struct uiommu_context *context, const struct uiommu_pasid_set_alloc *alloc, uint32_t *out_id)
{
	struct uiommu_pasid_set_alloc given;
	struct set *set;
	int error = copy_struct(&given, sizeof(given), sizeof(given), alloc, alloc->size);

	if (error)
		return error;
	if (given.flags || given.reserved)
		return -EOPNOTSUPP;
	set = calloc(1, sizeof(*set));
	if (!set)
		return -ENOMEM;
	pthread_mutex_init(&set->lock, NULL);
	set->numbers = pasid_set_create(context->pasids, given.quota ? given.quota : NUMBERS);
	if (!set->numbers || object_alloc(context, &set->object, UIOMMU_OBJECT_PASID_SET)) {
		pasid_set_destroy(set->numbers);
		pthread_mutex_destroy(&set->lock);
		free(set);
		return -ENOMEM;
	}
	*out_id = set->object.id;
	object_finalise(&set->object);
	return 0;
}

void set_end(struct object *object)
{
	struct set *set = of(object);

	/* Numbers are left only if the context closes: then nobody uses the table. */
	pasid_set_free_all(set->numbers);
	vpasid_table_destroy(set->vpasids);
	pasid_set_destroy(set->numbers);
	pthread_mutex_destroy(&set->lock);
	free(set);
}

/* How many others have subscribed. Under the space's lock. */
static uint32_t subscriptions_of(const struct pasid_set *numbers, const struct vpasid_table *vpasids)
{
	return (uint32_t)__builtin_popcount(numbers->subscribed) - (vpasids != NULL);
}

bool set_in_use(const struct object *object)
{
	const struct set *set = container_of(object, struct set, object);
	bool used;

	pthread_mutex_lock(&set->numbers->space->lock);
	used = set->numbers->count || subscriptions_of(set->numbers, rcu_read(set->vpasids));
	pthread_mutex_unlock(&set->numbers->space->lock);
	return used;
}

int set_vpasids(struct object *object, struct vpasid_table **out)
{
	struct set *set = of(object);
	struct vpasid_table *made;
	int error = 0;

	pthread_mutex_lock(&set->lock);
	*out = set->vpasids;
	if (!*out) {
		error = vpasid_table_create(set->numbers, &made);
		if (!error) {
			*out = made;
			rcu_publish(set->vpasids, made);
		}
	}
	pthread_mutex_unlock(&set->lock);
	return error;
}

int uiommu_pasid_set_info(struct uiommu_context *context, uint32_t set_id, struct uiommu_pasid_set_info *out)
{
	struct object *inside;
	struct pasid_set *set;

	if (out->size != sizeof(*out))
		return -EINVAL;
	set = set_get(context, set_id, &inside);
	if (!set)
		return -ENOENT;
	pthread_mutex_lock(&set->space->lock);
	*out = (struct uiommu_pasid_set_info){
		.size = sizeof(*out),
		.quota = set->quota,
		.count = set->count,
		.draining = set->draining,
		.subscriptions = subscriptions_of(set, inside ? rcu_read(of(inside)->vpasids) : NULL),
	};
	pthread_mutex_unlock(&set->space->lock);
	set_put(inside);
	return 0;
}

/* Inside a call of the set that *@out is then. */
static int of_owner(struct uiommu_context *context, uint32_t set_id, struct object **inside, struct pasid_set **out)
{
	int error = context_check_owner(context);

	if (error)
		return error;
	*out = set_get(context, set_id, inside);
	return *out ? 0 : -ENOENT;
}

int uiommu_pasid_alloc(struct uiommu_context *context, uint32_t set_id, uint32_t first, uint32_t last, uint32_t *out_pasid)
{
	struct object *inside;
	struct pasid_set *set;
	int error = of_owner(context, set_id, &inside, &set);

	if (error)
		return error;
	error = pasid_alloc(set, first, last, out_pasid);
	if (!error)
		pasid_tell(set->space, *out_pasid);
	set_put(inside);
	return error;
}

/* Inside a call of the set. */
static int free_one(struct uiommu_context *context, struct pasid_set *set, uint32_t pasid)
{
	int state = pasid_free(set, pasid);

	if (state != PASID_DRAINING)
		return state == PASID_FREE ? 0 : state;
	bind_end_pasid(context, pasid);
	attach_end_pasid(context, pasid);
	pasid_tell(set->space, pasid);
	return 0;
}

/* The same for what waits for accesses. */
static int enter(struct uiommu_context *context, uint32_t set_id, struct object **inside, struct pasid_set **out)
{
	return thread_inside() ? -EDEADLK : of_owner(context, set_id, inside, out);
}

int uiommu_pasid_free(struct uiommu_context *context, uint32_t set_id, uint32_t pasid)
{
	struct object *inside;
	struct pasid_set *set;
	int error = enter(context, set_id, &inside, &set);

	if (error)
		return error;
	error = free_one(context, set, pasid);
	set_put(inside);
	return error;
}

int uiommu_pasid_free_all(struct uiommu_context *context, uint32_t set_id)
{
	struct object *inside;
	struct pasid_set *set;
	int error = enter(context, set_id, &inside, &set);

	if (error)
		return error;
	for (uint32_t pasid = pasid_next(set, 1); pasid; pasid = pasid_next(set, pasid + 1))
		free_one(context, set, pasid);
	set_put(inside);
	return 0;
}

static int info(struct uiommu_context *context, uint32_t set_id, uint32_t pasid, bool next, struct uiommu_pasid_info *out)
{
	struct object *inside;
	struct pasid_set *set;
	int error;

	if (out->size != sizeof(*out))
		return -EINVAL;
	set = set_get(context, set_id, &inside);
	if (!set)
		return -ENOENT;
	*out = (struct uiommu_pasid_info){.size = sizeof(*out), .set_id = set_id};
	do
		error = pasid_info(set, next ? pasid_next(set, pasid) : pasid, out);
	while (error && next && pasid_next(set, pasid)); /* it was there a moment ago */
	set_put(inside);
	return error;
}

int uiommu_pasid_info(struct uiommu_context *context, uint32_t set_id, uint32_t pasid, struct uiommu_pasid_info *out)
{
	return info(context, set_id, pasid, false, out);
}

int uiommu_pasid_next(struct uiommu_context *context, uint32_t set_id, uint32_t from, struct uiommu_pasid_info *out)
{
	return info(context, set_id, from, true, out);
}

int uiommu_pasid_set_data(struct uiommu_context *context, uint32_t set_id, uint32_t pasid, void *data, void **out_old)
{
	struct object *inside;
	struct pasid_set *set;
	int error = of_owner(context, set_id, &inside, &set);

	if (error)
		return error;
	error = pasid_set_data(set, pasid, data, out_old);
	set_put(inside);
	return error;
}

/* --- the hot path --- */

struct uiommu_pasid_set *uiommu_pasid_set_get(struct uiommu_context *context, uint32_t set_id)
{
	struct object *inside;
	const struct pasid_set *numbers = set_get(context, set_id, &inside);
	struct uiommu_pasid_set *set = numbers ? malloc(sizeof(*set)) : NULL;

	if (set) {
		*set = (struct uiommu_pasid_set){pasid_view(numbers), inside};
		if (inside)
			object_use(inside);
	}
	set_put(inside);
	return set;
}

void uiommu_pasid_set_put(struct uiommu_pasid_set *set)
{
	if (set && set->object)
		object_unuse(set->object);
	free(set);
}

void uiommu_pasid_read_begin(void)
{
	thread_self();
	rcu_enter();
}

void uiommu_pasid_read_end(void)
{
	rcu_leave();
}

void *uiommu_pasid_find(const struct uiommu_pasid_set *set, uint32_t pasid)
{
	return pasid_find(set->view, pasid);
}

uint32_t uiommu_vpasid_find(const struct uiommu_pasid_set *set, uint32_t vpasid)
{
	const struct vpasid_table *table = set->object ? rcu_read(of(set->object)->vpasids) : NULL;
	uint64_t word = table ? vpasid_look(vpasid_view(table), vpasid) : 0;

	return word ? (uint32_t)(word & VPASID_PASID) : UIOMMU_NO_PASID;
}

uint32_t uiommu_vpasid_of(const struct uiommu_pasid_set *set, uint32_t pasid)
{
	const struct vpasid_table *table = set->object ? rcu_read(of(set->object)->vpasids) : NULL;

	return table ? vpasid_of(table, pasid) : UIOMMU_NO_PASID;
}

/* --- subscriptions --- */

int uiommu_pasid_subscribe(struct uiommu_context *context, uint32_t set_id, const struct uiommu_pasid_subscribe *request,
			   struct uiommu_pasid_subscription **out)
{
	struct uiommu_pasid_subscribe given;
	struct object *inside;
	struct pasid_set *set;
	int error = context_check_owner(context);

	if (!error)
		error = copy_struct(&given, sizeof(given), sizeof(given), request, request->size);
	if (error)
		return error;
	if (given.flags)
		return -EOPNOTSUPP;
	if (!given.notify)
		return -EINVAL;
	set = set_get(context, set_id, &inside);
	if (!set)
		return -ENOENT;
	error = pasid_subscribe(set, &given, out);
	set_put(inside);
	return error;
}

int uiommu_pasid_unsubscribe(struct uiommu_pasid_subscription *subscription)
{
	if (thread_inside())
		return -EDEADLK;
	pasid_unsubscribe(subscription);
	return 0;
}
