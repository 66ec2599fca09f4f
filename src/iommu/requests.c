/* SPDX-License-Identifier: BSD-3-Clause */
#include "iommu/requests.h"

#include <errno.h>
#include <stdlib.h>

#include "iommu/attach.h"
#include "translate/inflight.h"
#include "util/util.h"

enum { ANY_INDEX = UIOMMU_PAGE_GROUPS };

void requests_init(struct requests *requests)
{
	pthread_cond_init(&requests->left, NULL);
}

void requests_fini(struct requests *requests)
{
	pthread_cond_destroy(&requests->left);
	free(requests->by_index);
}

static pthread_mutex_t *lock_of(const struct device *device)
{
	return &device->object.context->page_lock;
}

static struct attach *of(struct attachment *attachment)
{
	return container_of(attachment, struct attach, data);
}

/* --- a group's life --- */

struct page_group *group_new(struct device *device, struct attach *attach, uint32_t pasid)
{
	struct page_group *group = calloc(1, sizeof(*group));

	if (!group)
		return NULL;
	group->attach = attach;
	group->device = device;
	group->pasid = pasid;
	group->queue = attach ? attach->hwpt->queue : NULL;
	group->stalls = attach && attach->data.stalls;
	group->holders = 1;
	group->requests = &group->first;
	group->room = 1;
	CDS_INIT_LIST_HEAD(&group->of_attach);
	object_use(&device->object);
	return group;
}

void group_put(struct page_group *group)
{
	bool last;

	pthread_mutex_lock(lock_of(group->device));
	last = !--group->holders;
	pthread_mutex_unlock(lock_of(group->device));
	if (!last)
		return;
	object_unuse(&group->device->object);
	if (group->requests != &group->first)
		free(group->requests);
	free(group);
}

int group_add(struct page_group *group, const struct uiommu_page_request *request)
{
	struct uiommu_page_request *grown;

	if (group->count == group->room) {
		grown = malloc(2 * (size_t)group->room * sizeof(*grown));
		if (!grown)
			return -ENOMEM;
		for (uint32_t i = 0; i < group->count; i++)
			grown[i] = group->requests[i];
		if (group->requests != &group->first)
			free(group->requests);
		group->requests = grown;
		group->room *= 2;
	}
	group->requests[group->count++] = *request;
	return 0;
}

int group_set_index(struct page_group *group, unsigned int index)
{
	struct requests *requests = &group->device->requests;

	if (!requests->by_index)
		requests->by_index = calloc(UIOMMU_PAGE_GROUPS, sizeof(*requests->by_index));
	if (!requests->by_index)
		return -ENOMEM;
	for (unsigned int i = 0; index == ANY_INDEX && i < UIOMMU_PAGE_GROUPS; i++, requests->next++)
		if (!requests->by_index[requests->next % UIOMMU_PAGE_GROUPS])
			index = requests->next % UIOMMU_PAGE_GROUPS;
	if (index == ANY_INDEX)
		return -ENOBUFS;
	group->index = (uint16_t)index;
	group->has_index = true;
	return 0;
}

void group_link(struct page_group *group)
{
	if (group->attach)
		cds_list_add_tail(&group->of_attach, &group->attach->groups);
	if (group->has_index)
		group->device->requests.by_index[group->index] = group;
}

void group_take(struct page_group *group)
{
	group->taken = true;
	if (group->attach) {
		cds_list_del(&group->of_attach);
		group->attach->asked -= group->count;
	}
	if (group->has_index)
		group->device->requests.by_index[group->index] = NULL;
	if (group->enabling)
		group->device->requests.outstanding -= group->count;
	if (group->queue && group->cookie)
		fault_queue_remove(group->queue, group);
}

/* The device's own responses; what PRI was enabled for has perhaps ended. */
void group_tell(const struct page_group *group, unsigned int response)
{
	struct uiommu_page_response told = {.pasid = UIOMMU_NO_PASID, .group = group->index, .response = (uint16_t)response};
	struct requests *requests = &group->device->requests;
	struct uiommu_pri_config pri;
	bool tells;

	pthread_mutex_lock(lock_of(group->device));
	tells = requests->pri.ops && !requests->ended && requests->enabling == group->enabling;
	requests->ended |= tells && response == UIOMMU_RESPONSE_FAILURE;
	requests->inside += tells;
	pri = requests->pri;
	if (pri.flags & UIOMMU_PRI_RESPONSE_PASID)
		told.pasid = group->pasid;
	pthread_mutex_unlock(lock_of(group->device));
	if (!tells)
		return;
	thread_self()->depth++;
	pri.ops->response(pri.opaque, &told);
	thread_self()->depth--;
	pthread_mutex_lock(lock_of(group->device));
	if (!--requests->inside)
		pthread_cond_broadcast(&requests->left);
	pthread_mutex_unlock(lock_of(group->device));
}

/* The callback counts as an access: what drains may not be called from it. */
void group_answer(struct page_group *group, unsigned int response)
{
	if (group->timed)
		timers_disarm(&group->device->object.context->timers, &group->timer);
	if (group->enabling) {
		group_tell(group, response);
	} else {
		thread_self()->depth++;
		group->done(group->opaque, response);
		thread_self()->depth--;
	}
	group_put(group);
}

static void expired(struct timer *timer)
{
	struct page_group *group = container_of(timer, struct page_group, timer);
	pthread_mutex_t *lock = lock_of(group->device);
	struct fault_queue *queue = group->queue;
	bool taken;

	/* Whoever has taken it waits for us. */
	pthread_mutex_lock(lock);
	taken = group->taken;
	if (!taken) {
		group_take(group);
		fault_queue_sweep(queue);
	}
	pthread_mutex_unlock(lock);
	if (!taken)
		group_answer(group, UIOMMU_RESPONSE_INVALID);
}

bool group_may_respond(const struct page_group *group, unsigned int response)
{
	return response <= UIOMMU_RESPONSE_FAILURE || (response == UIOMMU_RESPONSE_TERMINATE && group->stalls);
}

bool group_admitted(const struct attach *attach)
{
	return fault_queue_admits(attach->hwpt->queue, attach->asked);
}

int group_wait(struct page_group *group, const struct uiommu_fault *fault)
{
	struct fault_queue *queue = group->queue;
	int error = fault_queue_add(queue, group, fault);

	group->waits = !error;
	if (error) {
		group_take(group);
		return error;
	}
	group->timed = queue->response_ms;
	if (group->timed) {
		group->timer.expired = expired;
		timers_arm(&group->device->object.context->timers, &group->timer, queue->response_ms);
	}
	return 0;
}

/* --- single pages --- */

/* Under the lock. */
static int begin(struct page_group *group, const struct uiommu_fault *fault)
{
	struct attach *attach = group->attach;
	int error = 0;

	if (!group_admitted(attach))
		return -ENOBUFS;
	if (group->stalls)
		error = group_set_index(group, ANY_INDEX);
	if (error)
		return error;
	group->first.group = group->index;
	attach->asked++;
	group_link(group);
	return group_wait(group, fault);
}

int requests_ask(struct uiommu_device *data, struct attachment *attachment, const struct uiommu_fault *fault,
		 void (*done)(void *opaque, unsigned int response), void *opaque)
{
	struct device *device = container_of(data, struct device, data);
	const struct uiommu_page_request request = {
		.address = fault->address & ~(uint64_t)(REQUEST_PAGE - 1), .pasid = fault->pasid, .access = fault->access};
	struct fault_sink *sink = attachment->sink;
	struct page_group *group;
	int error;

	if (sink->page_request)
		return sink->page_request(sink, attachment, &request, 1, done, opaque);
	if (!attachment->asks || !of(attachment)->hwpt->queue)
		return -ENOENT;
	group = group_new(device, of(attachment), attachment->pasid);
	if (!group)
		return -ENOMEM;
	group->done = done;
	group->opaque = opaque;
	group_add(group, &request); /* there is room for one */
	pthread_mutex_lock(lock_of(device));
	error = begin(group, fault);
	pthread_mutex_unlock(lock_of(device));
	if (error)
		group_put(group);
	return error;
}

/* --- ends --- */

static void take_to(struct page_group *group, struct cds_list_head *taken)
{
	group_take(group);
	cds_list_add_tail(&group->of_attach, taken);
}

/* Those that have not all their requests yet are nobody's to answer. */
static bool answer_taken(struct cds_list_head *taken, unsigned int response)
{
	struct page_group *group, *next;
	bool any = false;

	cds_list_for_each_entry_safe (group, next, taken, of_attach) {
		any |= group->waits;
		if (group->waits)
			group_answer(group, response);
		else
			group_put(group);
	}
	return any;
}

bool requests_forget(struct attach *attach)
{
	struct fault_sink *sink = attach->hwpt->sink;
	struct page_group *group, *next;
	CDS_LIST_HEAD(taken);
	bool met;

	pthread_mutex_lock(lock_of(attach->device));
	cds_list_for_each_entry_safe (group, next, &attach->groups, of_attach)
		take_to(group, &taken);
	if (!cds_list_empty(&taken))
		fault_queue_sweep(attach->hwpt->queue);
	pthread_mutex_unlock(lock_of(attach->device));
	met = answer_taken(&taken, UIOMMU_RESPONSE_INVALID);
	return sink && sink->forget ? sink->forget(sink, &attach->data) | met : met;
}

void requests_answer_all(struct uiommu_context *context, struct fault_queue *queue, unsigned int response)
{
	struct page_group *group;
	CDS_LIST_HEAD(taken);

	pthread_mutex_lock(&context->page_lock);
	while ((group = fault_queue_any(queue)))
		take_to(group, &taken);
	fault_queue_sweep(queue);
	pthread_mutex_unlock(&context->page_lock);
	answer_taken(&taken, response);
}
