/* SPDX-License-Identifier: BSD-3-Clause */
/* What devices send by PRI. */
#include <errno.h>
#include <stdlib.h>

#include "iommu/attach.h"
#include "iommu/requests.h"
#include "translate/absent.h"
#include "translate/inflight.h"
#include "util/rcu.h"
#include "util/util.h"

enum {
	ALLOCATION_MAX = 65536,
	RESOLVE_ATTEMPTS = 16,
	SENT = 0x100, /* beside responses and errors */
	ACCESS = UIOMMU_READ | UIOMMU_WRITE | UIOMMU_EXEC,
};

static struct device *device_of(struct uiommu_device *data)
{
	return container_of(data, struct device, data);
}

static pthread_mutex_t *lock_of(const struct device *device)
{
	return &device->object.context->page_lock;
}

int uiommu_pri_enable(struct uiommu_device *data, const struct uiommu_pri_config *config)
{
	struct device *device = device_of(data);
	struct requests *requests = &device->requests;
	struct uiommu_pri_config given;
	int error = copy_struct(&given, sizeof(given), sizeof(given), config, config->size);

	if (error)
		return error;
	if (!given.ops || !given.ops->response || !given.allocation || given.allocation > ALLOCATION_MAX ||
	    given.flags & ~(uint32_t)UIOMMU_PRI_RESPONSE_PASID || given.reserved)
		return -EINVAL;
	pthread_mutex_lock(lock_of(device));
	if (requests->pri.ops && !requests->ended)
		error = -EBUSY;
	if (!error && !requests->by_index) {
		requests->by_index = calloc(UIOMMU_PAGE_GROUPS, sizeof(*requests->by_index));
		error = requests->by_index ? 0 : -ENOMEM;
	}
	if (!error) {
		if (!requests->pri.ops)
			object_use(&device->object);
		requests->pri = given;
		requests->ended = false;
		if (!++requests->enabling)
			requests->enabling = 1;
	}
	pthread_mutex_unlock(lock_of(device));
	return error;
}

static void free_all(struct cds_list_head *taken)
{
	struct page_group *group, *next;

	cds_list_for_each_entry_safe (group, next, taken, of_attach) {
		if (group->timed)
			timers_disarm(&group->device->object.context->timers, &group->timer);
		group_put(group);
	}
}

/* Under the lock: all groups of the device that PRI has made. */
static void take_groups(struct device *device, struct cds_list_head *taken)
{
	struct requests *requests = &device->requests;

	for (unsigned int i = 0; requests->by_index && i < UIOMMU_PAGE_GROUPS; i++) {
		struct page_group *group = requests->by_index[i];
		struct fault_queue *queue = group ? group->queue : NULL;

		if (!group || !group->enabling)
			continue;
		group_take(group);
		cds_list_add_tail(&group->of_attach, taken);
		if (queue)
			fault_queue_sweep(queue);
	}
}

int uiommu_pri_disable(struct uiommu_device *data)
{
	struct device *device = device_of(data);
	struct requests *requests = &device->requests;
	CDS_LIST_HEAD(taken);
	bool enabled;

	if (thread_inside())
		return -EDEADLK;
	pthread_mutex_lock(lock_of(device));
	enabled = requests->pri.ops;
	requests->pri = (struct uiommu_pri_config){.ops = NULL};
	take_groups(device, &taken);
	pthread_mutex_unlock(lock_of(device));
	free_all(&taken);
	pthread_mutex_lock(lock_of(device));
	while (requests->inside)
		pthread_cond_wait(&requests->left, lock_of(device));
	pthread_mutex_unlock(lock_of(device));
	if (enabled)
		object_unuse(&device->object);
	return 0;
}

/* Under the lock: by which uiommu_pri_enable(); 0: it is not enabled. */
static uint32_t enabling_of(const struct device *device)
{
	return device->requests.pri.ops && !device->requests.ended ? device->requests.enabling : 0;
}

static uint32_t enabled_by(struct device *device)
{
	uint32_t enabling;

	pthread_mutex_lock(lock_of(device));
	enabling = enabling_of(device);
	pthread_mutex_unlock(lock_of(device));
	return enabling;
}

/* A guest's queue, or a fault queue. */
static bool can_answer(const struct attachment *attachment)
{
	const struct attach *attach = container_of(attachment, struct attach, data);

	return attachment->sink && (attachment->sink->page_request || attach->hwpt->queue);
}

/* What @data is attached to there, entered; or NULL and *@response. */
static struct attachment *enter(struct uiommu_device *data, uint32_t pasid, struct inflight_slot **slot, unsigned int *response)
{
	struct uiommu_fault fault = {.device_id = data->id, .pasid = pasid};
	struct thread_state *self = thread_self();
	struct attachment *attachment = NULL;

	*response = UIOMMU_RESPONSE_INVALID;
	for (unsigned int i = 0; i < RESOLVE_ATTEMPTS && !attachment; i++) {
		rcu_enter();
		attachment = attach_table_find(&data->table, pasid);
		if (attachment && !__atomic_load_n(&attachment->draining, __ATOMIC_RELAXED) && attachment->asks) {
			*response = UIOMMU_RESPONSE_FAILURE;
			if (can_answer(attachment)) {
				*slot = inflight_enter(self, &attachment->drain);
				rcu_leave();
				return attachment;
			}
		}
		rcu_leave();
		if (attachment || !absent_resolve(data, pasid, &fault))
			return NULL;
	}
	return NULL;
}

/* A response to what never became a group. */
static void answer_at_once(struct device *device, uint32_t enabling, const struct uiommu_page_request *request,
			   unsigned int response)
{
	const struct page_group group = {
		.device = device,
		.pasid = request->pasid,
		.index = request->group,
		.enabling = enabling,
	};

	if (request->flags & UIOMMU_PAGE_LAST)
		group_tell(&group, response);
}

/* One message on its way. */
struct message {
	struct device *device;
	struct attachment *attachment; /* entered */
	const struct uiommu_page_request *request;
	uint32_t enabling;
	struct page_group *dropped; /* there was no room for all of it */
	struct page_group *complete; /* a guest's, with all its requests */
};

/* Under the lock. The group of the message, or NULL and an error. */
static struct page_group *find_group(const struct message *message, struct attach *attach, int *error)
{
	const struct uiommu_page_request *request = message->request;
	struct page_group *group = message->device->requests.by_index[request->group];

	*error = group && (group->waits || !group->enabling || group->pasid != request->pasid) ? -EBUSY : 0;
	if (*error || group)
		return *error ? NULL : group;
	group = group_new(message->device, attach, request->pasid);
	if (!group) {
		*error = -ENOMEM;
		return NULL;
	}
	group->enabling = message->enabling;
	group_set_index(group, request->group); /* there is room */
	group_link(group);
	return group;
}

/* Under the lock: all requests are there. */
static int complete(struct message *message, struct page_group *group)
{
	if (group->attach)
		return group_wait(group, NULL);
	group->waits = true;
	group->holders++; /* until it has been answered */
	message->complete = group;
	return 0;
}

/* Under the lock. SENT: there is a group, which may wait now; otherwise a response to all of it, or an error. */
static int add(struct message *message)
{
	struct attachment *attachment = message->attachment;
	bool guest = attachment->sink->page_request;
	struct attach *attach = guest ? NULL : container_of(attachment, struct attach, data);
	struct requests *requests = &message->device->requests;
	struct uiommu_page_request told = *message->request;
	struct page_group *group;
	int error;

	if (requests->outstanding >= requests->pri.allocation)
		return -EAGAIN;
	group = find_group(message, attach, &error);
	if (error == -EBUSY)
		return error;
	told.pasid = told.pasid == UIOMMU_NO_PASID ? told.pasid : attachment->reported;
	if (!error)
		error = guest || group_admitted(attach) ? group_add(group, &told) : -ENOBUFS;
	if (!error) {
		requests->outstanding++;
		if (attach)
			attach->asked++;
		error = told.flags & UIOMMU_PAGE_LAST ? complete(message, group) : 0;
		if (!error)
			return SENT;
	} else if (group) {
		group_take(group);
	}
	message->dropped = group;
	return error == -ENOENT ? UIOMMU_RESPONSE_FAILURE : UIOMMU_RESPONSE_SUCCESS;
}

/* A guest has answered, or we have, on its behalf. */
static void answered(void *opaque, unsigned int response)
{
	struct page_group *group = opaque;
	bool takes;

	pthread_mutex_lock(lock_of(group->device));
	takes = !group->taken;
	if (takes)
		group_take(group);
	pthread_mutex_unlock(lock_of(group->device));
	if (takes)
		group_answer(group, response);
	group_put(group);
}

/* What there is no room for is tried again by the device. */
static void ask_guest(struct attachment *attachment, struct page_group *group)
{
	int error = attachment->sink->page_request(attachment->sink, attachment, group->requests, group->count, answered, group);

	if (error)
		answered(group, error == -ENOBUFS ? UIOMMU_RESPONSE_SUCCESS : UIOMMU_RESPONSE_INVALID);
}

/* With the attachment entered. */
static int send(struct message *message)
{
	struct device *device = message->device;
	int result = -EOPNOTSUPP;

	pthread_mutex_lock(lock_of(device));
	if (enabling_of(device) == message->enabling)
		result = add(message);
	pthread_mutex_unlock(lock_of(device));
	if (message->dropped)
		group_put(message->dropped);
	if (message->complete)
		ask_guest(message->attachment, message->complete);
	if (result >= 0 && result != SENT)
		answer_at_once(device, message->enabling, message->request, (unsigned int)result);
	return result < 0 ? result : 0;
}

static bool pasid_valid(uint32_t pasid)
{
	return pasid <= UIOMMU_PASID_LAST || pasid == UIOMMU_NO_PASID;
}

int uiommu_pri_request(struct uiommu_device *data, const struct uiommu_page_request *request)
{
	struct message message = {.device = device_of(data), .request = request};
	struct inflight_slot *slot = NULL;
	unsigned int response;
	int error = 0;

	if (request->address & (REQUEST_PAGE - 1) || request->group >= UIOMMU_PAGE_GROUPS || !pasid_valid(request->pasid) ||
	    request->access & ~(unsigned int)ACCESS || request->flags & ~(unsigned int)(UIOMMU_PAGE_LAST | UIOMMU_PAGE_PRIVILEGED))
		return -EINVAL;
	message.enabling = enabled_by(message.device);
	if (!message.enabling)
		return -EOPNOTSUPP;
	message.attachment = enter(data, request->pasid, &slot, &response);
	if (message.attachment) {
		error = send(&message);
		inflight_leave(slot);
	} else {
		answer_at_once(message.device, message.enabling, request, response);
	}
	return error;
}

/* Under the lock: groups with @pasid that have not all their requests yet. */
static void take_partial(struct device *device, uint32_t pasid, struct cds_list_head *taken)
{
	for (unsigned int i = 0; i < UIOMMU_PAGE_GROUPS; i++) {
		struct page_group *group = device->requests.by_index[i];

		if (!group || !group->enabling || group->waits || group->pasid != pasid)
			continue;
		group_take(group);
		cds_list_add_tail(&group->of_attach, taken);
	}
}

int uiommu_pri_stop(struct uiommu_device *data, uint32_t pasid)
{
	struct device *device = device_of(data);
	CDS_LIST_HEAD(taken);

	if (!pasid_valid(pasid))
		return -EINVAL;
	if (!enabled_by(device))
		return -EOPNOTSUPP;
	pthread_mutex_lock(lock_of(device));
	take_partial(device, pasid, &taken);
	pthread_mutex_unlock(lock_of(device));
	free_all(&taken);
	return 0;
}
