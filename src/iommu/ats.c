/* SPDX-License-Identifier: BSD-3-Clause */
#include "iommu/ats.h"

#include <errno.h>
#include <stdlib.h>

#include "iommu/attach.h"
#include "iommu/tables.h"
#include "util/rcu.h"

enum { TOGETHER = 8 }; /* keepers that are asked at the same time */

void ats_init(struct ats *ats)
{
	pthread_mutex_init(&ats->lock, NULL);
	pthread_cond_init(&ats->left, NULL);
	CDS_INIT_LIST_HEAD(&ats->asks);
	CDS_INIT_LIST_HEAD(&ats->late);
}

void ats_fini(struct ats *ats)
{
	pthread_cond_destroy(&ats->left);
	pthread_mutex_destroy(&ats->lock);
}

static struct device *device_of(struct uiommu_device *data)
{
	return container_of(data, struct device, data);
}

static struct timers *timers_of(const struct device *device)
{
	return &device->object.context->timers;
}

/* --- asks --- */

/* It is in no list any more. Whoever waits for it may end the last use of the device but ours. */
static void finish(struct ats_ask *ask, int error)
{
	struct device *device = ask->device;

	if (ask->timed)
		timers_disarm(timers_of(device), &ask->timer);
	ask->done(ask, error);
	object_unuse(&device->object);
}

/* Under the lock. */
static void take(struct ats_ask *ask, struct cds_list_head *taken)
{
	ask->waits = false;
	cds_list_move(&ask->link, taken);
}

static void take_all(struct ats *ats, struct cds_list_head *taken)
{
	while (!cds_list_empty(&ats->asks))
		take(cds_list_first_entry(&ats->asks, struct ats_ask, link), taken);
}

static void finish_all(struct cds_list_head *taken, int error)
{
	while (!cds_list_empty(taken)) {
		struct ats_ask *ask = cds_list_first_entry(taken, struct ats_ask, link);

		cds_list_del(&ask->link);
		finish(ask, error);
	}
}

/* Its accesses fail from now on; those that run are drained as always. */
static void block(struct attachment *attachment)
{
	__atomic_store_n(&attachment->open, 0, __ATOMIC_RELAXED);
	__atomic_store_n(&attachment->draining, true, __ATOMIC_RELAXED);
}

/* Under the device's lock. */
static void for_each_attachment(struct device *device, void (*act)(struct attachment *attachment))
{
	struct attach_table *table = &device->table;

	if (table->tables)
		act(table->tables);
	if (table->rid)
		act(table->rid);
	for (uint32_t pasid = attach_table_next(table, 1); pasid; pasid = attach_table_next(table, pasid + 1))
		act(attach_table_find(table, pasid));
}

/* The last translated access has ended; no other begins. */
static void ended(struct drainable *all)
{
	struct device *device = device_of(container_of(all, struct uiommu_device, translated.all));
	struct ats *ats = &device->ats;
	CDS_LIST_HEAD(taken);
	int error;

	pthread_mutex_lock(&ats->lock);
	cds_list_splice(&ats->late, &taken);
	CDS_INIT_LIST_HEAD(&ats->late);
	error = ats->cut_off ? -ETIMEDOUT : 0;
	ats->ending = false;
	pthread_cond_broadcast(&ats->left);
	pthread_mutex_unlock(&ats->lock);
	finish_all(&taken, error);
	object_unuse(&device->object);
}

/* False: it has been answered, or it is going to be, by whoever ends ATS. */
static bool cut_off(struct device *device, const struct ats_ask *ask)
{
	struct ats *ats = &device->ats;
	bool does;

	/* Nothing is attached in between. */
	pthread_mutex_lock(&device->lock);
	pthread_mutex_lock(&ats->lock);
	does = ask->waits && !ats->ending;
	if (does) {
		object_use(&device->object);
		ats->cut_off = ats->ending = true;
		take_all(ats, &ats->late);
	}
	pthread_mutex_unlock(&ats->lock);
	if (does)
		for_each_attachment(device, block);
	pthread_mutex_unlock(&device->lock);
	return does;
}

static void expired(struct timer *timer)
{
	struct ats_ask *ask = container_of(timer, struct ats_ask, timer);
	struct device *device = ask->device;

	/* Whoever finishes it waits for us, so it is still there. */
	if (!cut_off(device, ask))
		return;
	context_log(device->object.context, UIOMMU_LOG_ERROR, "%s: an invalidation has not been completed in time: cut off",
		    device->name);
	rcu_wait();
	drain_start(&device->data.translated.all, ended);
}

enum added { ADDED, LATE, NOBODY };

/* LATE: it is done when translated accesses have ended. NOBODY: there is nobody to ask, and *@error says why. */
static enum added add(struct ats *ats, struct ats_ask *ask, uint32_t *tag, struct uiommu_ats_config *config, int *error)
{
	enum added added = NOBODY;

	pthread_mutex_lock(&ats->lock);
	*error = ats->cut_off ? -ETIMEDOUT : 0;
	if (ats->ending) {
		added = LATE;
		cds_list_add_tail(&ask->link, &ats->late);
	} else if (ats->config.ops && !ats->cut_off) {
		added = ADDED;
		*config = ats->config;
		*tag = ask->tag = ++ats->tags;
		ask->waits = true;
		ask->timed = config->timeout_ms;
		cds_list_add_tail(&ask->link, &ats->asks);
		ats->inside++;
		if (ask->timed)
			timers_arm(timers_of(ask->device), &ask->timer, config->timeout_ms);
	}
	pthread_mutex_unlock(&ats->lock);
	return added;
}

/* Ask the device. */
static void tell(struct ats *ats, const struct uiommu_ats_config *config, uint32_t tag, const struct uiommu_ats_invalidation *what)
{
	struct thread_state *self = thread_self();

	self->depth++;
	config->ops->invalidate(config->opaque, tag, what);
	self->depth--;
	pthread_mutex_lock(&ats->lock);
	if (!--ats->inside)
		pthread_cond_broadcast(&ats->left);
	pthread_mutex_unlock(&ats->lock);
}

void ats_ask(struct device *device, struct ats_ask *ask)
{
	const struct uiommu_ats_invalidation what = ask->what;
	struct uiommu_ats_config config;
	struct ats *ats = &device->ats;
	enum added added;
	uint32_t tag = 0;
	int error;

	object_use(&device->object); /* until the ask is finished, */
	object_use(&device->object); /* and until we are */
	ask->device = device;
	ask->timed = false;
	ask->waits = false;
	ask->timer = (struct timer){.expired = expired};
	added = add(ats, ask, &tag, &config, &error);
	if (added == ADDED)
		tell(ats, &config, tag, &what);
	else if (added == NOBODY)
		finish(ask, error);
	object_unuse(&device->object);
}

int uiommu_ats_invalidated(struct uiommu_device *data, uint32_t tag)
{
	struct ats *ats = &device_of(data)->ats;
	struct ats_ask *ask, *next;
	CDS_LIST_HEAD(taken);

	pthread_mutex_lock(&ats->lock);
	cds_list_for_each_entry_safe (ask, next, &ats->asks, link)
		if (ask->tag == tag)
			take(ask, &taken);
	pthread_mutex_unlock(&ats->lock);
	if (cds_list_empty(&taken))
		return -EINVAL;
	finish_all(&taken, 0);
	return 0;
}

/* --- keepers --- */

struct wave;

struct wave_ask {
	struct ats_ask ask;
	struct device *device; /* used */
	struct wave *wave;
};

/* Some asks that somebody waits for. */
struct wave {
	pthread_mutex_t lock;
	pthread_cond_t cond;
	unsigned int left;
	unsigned int count;
	struct wave_ask asks[TOGETHER];
};

static void wave_done(struct ats_ask *ask, int error)
{
	struct wave *wave = container_of(ask, struct wave_ask, ask)->wave;

	(void)error;
	pthread_mutex_lock(&wave->lock);
	if (!--wave->left)
		pthread_cond_signal(&wave->cond);
	pthread_mutex_unlock(&wave->lock);
}

static struct attach *keeper_of(struct cds_list_head *node)
{
	return container_of(node, struct attach, keeper);
}

/* Under the space's lock: those after *@number that have something to forget, as many as there is room for. */
static void collect(struct space *space, ats_about *about, const void *opaque, uint64_t *number, struct wave *wave)
{
	struct cds_list_head *node;

	wave->count = 0;
	cds_list_for_each (node, &space->keepers) {
		struct attach *attach = keeper_of(node);
		struct wave_ask *ask = &wave->asks[wave->count];

		if (attach->keeper_number <= *number)
			continue;
		*number = attach->keeper_number;
		ask->ask.what = (struct uiommu_ats_invalidation){.last = UINT64_MAX, .pasid = attach->data.pasid};
		if (!__atomic_load_n(&attach->data.kept, __ATOMIC_RELAXED) || !about(opaque, attach, &ask->ask.what))
			continue;
		ask->device = attach->device;
		object_use(&ask->device->object);
		if (++wave->count == TOGETHER)
			break;
	}
}

static void wave_init(struct wave *wave)
{
	pthread_mutex_init(&wave->lock, NULL);
	pthread_cond_init(&wave->cond, NULL);
	for (unsigned int i = 0; i < TOGETHER; i++) {
		wave->asks[i].wave = wave;
		wave->asks[i].ask.done = wave_done;
	}
}

static void wave_fini(struct wave *wave)
{
	pthread_cond_destroy(&wave->cond);
	pthread_mutex_destroy(&wave->lock);
}

/* A device answers when its accesses have ended, and those may wait for this thread. */
static void wave_run(struct wave *wave)
{
	if (!wave->count)
		return;
	wave->left = wave->count;
	for (unsigned int i = 0; i < wave->count; i++)
		ats_ask(wave->asks[i].device, &wave->asks[i].ask);
	inflight_waits();
	pthread_mutex_lock(&wave->lock);
	while (wave->left)
		pthread_cond_wait(&wave->cond, &wave->lock);
	pthread_mutex_unlock(&wave->lock);
	for (unsigned int i = 0; i < wave->count; i++)
		object_unuse(&wave->asks[i].device->object);
}

void ats_ask_attachment(struct attach *attach)
{
	struct wave wave = {.count = 1};

	wave_init(&wave);
	wave.asks[0].device = attach->device;
	wave.asks[0].ask.what = (struct uiommu_ats_invalidation){.last = UINT64_MAX, .pasid = attach->data.pasid};
	object_use(&attach->device->object);
	wave_run(&wave);
	wave_fini(&wave);
}

/* Those that come meanwhile have got nothing that is to be forgotten; so it ends. */
void ats_ask_keepers(struct space *space, ats_about *about, const void *opaque)
{
	uint64_t number = 0;
	struct wave wave;

	wave_init(&wave);
	do {
		pthread_mutex_lock(&space->lock);
		collect(space, about, opaque, &number, &wave);
		pthread_mutex_unlock(&space->lock);
		wave_run(&wave);
	} while (wave.count == TOGETHER);
	wave_fini(&wave);
}

/* What stages lead there from where is not known. */
static bool about_range(const void *opaque, const struct attach *attach, struct uiommu_ats_invalidation *what)
{
	const struct uiommu_range *range = opaque;

	if (!attach->hwpt->parent) {
		what->start = range->start;
		what->last = range->last;
	}
	return true;
}

void ats_ask_unmapped(struct space *space, uint64_t start, uint64_t last)
{
	const struct uiommu_range range = {start, last};

	ats_ask_keepers(space, about_range, &range);
}

struct forgotten {
	const struct hwpt *hwpt;
	const struct uiommu_invalidation *requests;
	size_t count;
};

/* All that the requests say together. */
static bool about_requests(const void *opaque, const struct attach *attach, struct uiommu_ats_invalidation *what)
{
	const struct forgotten *forgotten = opaque;
	uint64_t start = UINT64_MAX, last = 0;

	if (attach->hwpt != forgotten->hwpt)
		return false;
	for (size_t i = 0; i < forgotten->count; i++) {
		const struct uiommu_invalidation *request = &forgotten->requests[i];
		bool all = request->flags & (UIOMMU_INVALIDATE_ENTRIES | UIOMMU_INVALIDATE_STAGE2);

		if (request->flags & UIOMMU_INVALIDATE_KEEP_ATC || !tables_match(attach, request))
			continue;
		start = all ? 0 : min_u64(start, request->start);
		last = all ? UINT64_MAX : max_u64(last, request->last);
	}
	what->start = start;
	what->last = last;
	return start <= last;
}

void ats_ask_invalidated(struct hwpt *hwpt, const struct uiommu_invalidation *requests, size_t count)
{
	const struct forgotten forgotten = {hwpt, requests, count};

	ats_ask_keepers(hwpt->space, about_requests, &forgotten);
}

static bool about_nested(const void *opaque, const struct attach *attach, struct uiommu_ats_invalidation *what)
{
	(void)what;
	return attach->hwpt->parent == opaque;
}

void ats_ask_nested(struct hwpt *parent)
{
	ats_ask_keepers(parent->space, about_nested, parent);
}

static void keep(struct attachment *attachment)
{
	struct attach *attach = container_of(attachment, struct attach, data);
	struct space *space = attachment->space;

	if (attach->hwpt->tables && !attach->stages)
		return; /* the tables: their entries keep */
	pthread_mutex_lock(&space->lock);
	if (!attach->keeper_number && attach->may_keep) {
		attach->keeper_number = ++space->keeper_number;
		cds_list_add_tail(&attach->keeper, &space->keepers);
		/* Pairs with the load of whoever translates: what he keeps is asked for. */
		__atomic_store_n(&attachment->ats, true, __ATOMIC_RELEASE);
	}
	pthread_mutex_unlock(&space->lock);
}

static void keep_no_more(struct attachment *attachment)
{
	ats_detached(container_of(attachment, struct attach, data));
}

bool ats_is_cut_off(struct device *device)
{
	bool is;

	pthread_mutex_lock(&device->ats.lock);
	is = device->ats.cut_off;
	pthread_mutex_unlock(&device->ats.lock);
	return is;
}

void ats_attached(struct attach *attach)
{
	struct ats *ats = &attach->device->ats;
	bool enabled, is_cut_off;

	pthread_mutex_lock(&ats->lock);
	enabled = ats->config.ops;
	is_cut_off = ats->cut_off;
	pthread_mutex_unlock(&ats->lock);
	if (is_cut_off)
		block(&attach->data);
	else if (enabled)
		keep(&attach->data);
}

void ats_detached(struct attach *attach)
{
	struct space *space = attach->data.space;

	pthread_mutex_lock(&space->lock);
	__atomic_store_n(&attach->data.ats, false, __ATOMIC_RELAXED);
	if (attach->keeper_number)
		cds_list_del(&attach->keeper);
	attach->keeper_number = 0;
	pthread_mutex_unlock(&space->lock);
}

/* --- calls --- */

int uiommu_ats_enable(struct uiommu_device *data, const struct uiommu_ats_config *config)
{
	struct device *device = device_of(data);
	struct uiommu_ats_config given;
	struct ats *ats = &device->ats;
	int error = copy_struct(&given, sizeof(given), sizeof(given), config, config->size);

	if (!error && (!given.ops || !given.ops->invalidate))
		error = -EINVAL;
	if (!error && given.timeout_ms)
		error = timers_start(timers_of(device));
	if (error)
		return error;
	pthread_mutex_lock(&device->lock);
	pthread_mutex_lock(&ats->lock);
	error = ats->config.ops || ats->ending ? -EBUSY : 0;
	if (!error)
		ats->config = given;
	pthread_mutex_unlock(&ats->lock);
	if (!error) {
		object_use(&device->object);
		for_each_attachment(device, keep);
	}
	pthread_mutex_unlock(&device->lock);
	return error;
}

/* No translated access is let through any more. False: ATS was not enabled. */
static bool stop(struct device *device)
{
	struct ats *ats = &device->ats;
	bool enabled;

	pthread_mutex_lock(&device->lock);
	for_each_attachment(device, keep_no_more);
	pthread_mutex_lock(&ats->lock);
	enabled = ats->config.ops;
	ats->config = (struct uiommu_ats_config){.ops = NULL};
	ats->cut_off = false;
	take_all(ats, &ats->late);
	pthread_mutex_unlock(&ats->lock);
	pthread_mutex_unlock(&device->lock);
	return enabled;
}

static void disable(struct device *device)
{
	struct ats *ats = &device->ats;
	bool enabled;

	object_use(&device->object);
	pthread_mutex_lock(&ats->lock);
	while (ats->ending)
		pthread_cond_wait(&ats->left, &ats->lock);
	ats->ending = true;
	pthread_mutex_unlock(&ats->lock);
	enabled = stop(device);
	rcu_wait();
	drain_wait(&device->data.translated.all);
	ended(&device->data.translated.all);
	pthread_mutex_lock(&ats->lock);
	while (ats->inside)
		pthread_cond_wait(&ats->left, &ats->lock);
	pthread_mutex_unlock(&ats->lock);
	if (enabled)
		object_unuse(&device->object);
}

int uiommu_ats_disable(struct uiommu_device *data)
{
	if (thread_inside())
		return -EDEADLK;
	disable(device_of(data));
	return 0;
}

void ats_end(struct device *device)
{
	disable(device);
}

struct commanded {
	struct ats_ask ask;
	void (*done)(void *opaque, int error);
	void *opaque;
};

static void commanded_done(struct ats_ask *ask, int error)
{
	struct commanded *commanded = container_of(ask, struct commanded, ask);

	if (commanded->done)
		commanded->done(commanded->opaque, error);
	free(commanded);
}

static bool is_enabled(struct device *device)
{
	bool enabled;

	pthread_mutex_lock(&device->ats.lock);
	enabled = device->ats.config.ops;
	pthread_mutex_unlock(&device->ats.lock);
	return enabled;
}

/* Inside a call of the device. */
static int command(struct device *device, const struct uiommu_ats_invalidation *what, void (*done)(void *opaque, int error),
		   void *opaque)
{
	struct commanded *commanded;

	if (!is_enabled(device))
		return -EOPNOTSUPP;
	commanded = malloc(sizeof(*commanded));
	if (!commanded)
		return -ENOMEM;
	*commanded = (struct commanded){.ask = {.what = *what, .done = commanded_done}, .done = done, .opaque = opaque};
	ats_ask(device, &commanded->ask);
	return 0;
}

int uiommu_ats_invalidate(struct uiommu_context *context, uint32_t device_id, const struct uiommu_ats_invalidation *what,
			  void (*done)(void *opaque, int error), void *opaque)
{
	struct object *object;
	int error;

	if (what->start > what->last || what->flags & ~(uint32_t)UIOMMU_ATS_GLOBAL ||
	    (what->pasid > UIOMMU_PASID_LAST && what->pasid != UIOMMU_NO_PASID))
		return -EINVAL;
	object = object_get(context, device_id, UIOMMU_OBJECT_DEVICE);
	if (!object)
		return -ENOENT;
	error = command(container_of(object, struct device, object), what, done, opaque);
	object_put(object);
	return error;
}
