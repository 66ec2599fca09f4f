/* SPDX-License-Identifier: BSD-3-Clause */
#include "iommu/fault_queue.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "iommu/device.h"
#include "translate/inflight.h"
#include "util/util.h"

enum { DEPTH_MAX = 65536 };

static struct uiommu_fault_event *entry_at(const struct fault_queue *queue, uint32_t number)
{
	return &queue->ring[(queue->first + number) % queue->depth];
}

/* --- the ring, under its lock --- */

/* There is room. */
static void append(struct fault_queue *queue, const struct uiommu_fault_event *entry)
{
	uint64_t one = 1;

	*entry_at(queue, queue->count) = *entry;
	entry_at(queue, queue->count)->lost = queue->lost;
	queue->lost = 0;
	/* Cannot fail: the counter is 0 while the ring is empty. */
	if (!queue->count++ && write(queue->eventfd, &one, sizeof(one)) != sizeof(one))
		abort();
}

static void clear_eventfd(struct fault_queue *queue)
{
	uint64_t counter;

	if (!queue->count && read(queue->eventfd, &counter, sizeof(counter)) < 0)
		return; /* EAGAIN: it was clear */
}

static void log_event(const struct fault_queue *queue, const struct uiommu_fault *fault)
{
	context_log(queue->object.context, UIOMMU_LOG_DEBUG, "fault queue %u: device %u: %#llx: %s", queue->object.id,
		    fault->device_id, (unsigned long long)fault->address, uiommu_fault_reason_name(fault->reason));
}

static void event(struct fault_sink *sink, const struct uiommu_fault *fault)
{
	struct fault_queue *queue = container_of(sink, struct fault_queue, sink);
	bool logs;

	pthread_mutex_lock(&queue->lock);
	logs = queue->requests_only;
	if (!logs && !queue->closed && queue->count < queue->depth)
		append(queue, &(struct uiommu_fault_event){.fault = *fault});
	else if (!logs)
		queue->lost++;
	pthread_mutex_unlock(&queue->lock);
	if (logs)
		log_event(queue, fault);
}

/* --- groups, under the page lock --- */

static struct cds_list_head *bucket_of(struct fault_queue *queue, uint32_t cookie)
{
	return &queue->groups[cookie % FAULT_BUCKETS];
}

static struct page_group *group_find(struct fault_queue *queue, uint32_t cookie)
{
	struct page_group *group;

	cds_list_for_each_entry (group, bucket_of(queue, cookie), of_queue)
		if (group->cookie == cookie)
			return group;
	return NULL;
}

struct page_group *fault_queue_any(struct fault_queue *queue)
{
	for (unsigned int i = 0; i < FAULT_BUCKETS; i++)
		if (!cds_list_empty(&queue->groups[i]))
			return cds_list_first_entry(&queue->groups[i], struct page_group, of_queue);
	return NULL;
}

/* One that has been given may wait for long. */
static uint32_t next_cookie(struct fault_queue *queue)
{
	do
		if (!++queue->cookies)
			queue->cookies = 1;
	while (group_find(queue, queue->cookies));
	return queue->cookies;
}

bool fault_queue_admits(const struct fault_queue *queue, uint32_t requests)
{
	return !queue->per_pasid || requests < queue->per_pasid;
}

static struct uiommu_fault_event entry_of(const struct page_group *group, uint32_t number, const struct uiommu_fault *fault)
{
	const struct uiommu_page_request *request = &group->requests[number];
	struct uiommu_fault_event entry = {.cookie = group->cookie, .group = group->index};

	if (fault)
		entry.fault = *fault;
	else
		entry.fault = (struct uiommu_fault){.address = request->address,
						    .device_id = group->device->object.id,
						    .pasid = request->pasid,
						    .access = request->access};
	entry.flags = (uint16_t)((number + 1 < group->count ? UIOMMU_FAULT_EVENT_MORE : 0) |
				 (group->stalls && !group->enabling ? UIOMMU_FAULT_EVENT_STALL : 0) |
				 (request->flags & UIOMMU_PAGE_PRIVILEGED ? UIOMMU_FAULT_EVENT_PRIVILEGED : 0));
	return entry;
}

int fault_queue_add(struct fault_queue *queue, struct page_group *group, const struct uiommu_fault *fault)
{
	uint32_t cookie = next_cookie(queue);
	int error = 0;

	pthread_mutex_lock(&queue->lock);
	/* What has been read and not answered is bounded, too. A request that is refused is no event that is lost. */
	if (queue->closed) {
		error = -ENOENT;
	} else if (queue->waiting + group->count > DEPTH_MAX || queue->count + group->count > queue->depth) {
		error = -ENOBUFS;
	} else {
		group->cookie = cookie;
		for (uint32_t i = 0; i < group->count; i++) {
			const struct uiommu_fault_event entry = entry_of(group, i, fault);

			append(queue, &entry);
		}
	}
	pthread_mutex_unlock(&queue->lock);
	if (error)
		return error;
	queue->waiting += group->count;
	cds_list_add_tail(&group->of_queue, bucket_of(queue, cookie));
	return 0;
}

void fault_queue_remove(struct fault_queue *queue, struct page_group *group)
{
	queue->waiting -= group->count;
	cds_list_del(&group->of_queue);
}

void fault_queue_sweep(struct fault_queue *queue)
{
	uint32_t kept = 0;

	pthread_mutex_lock(&queue->lock);
	for (uint32_t i = 0; i < queue->count; i++) {
		const struct uiommu_fault_event entry = *entry_at(queue, i);

		if (!entry.cookie || group_find(queue, entry.cookie))
			*entry_at(queue, kept++) = entry;
	}
	queue->count = kept;
	clear_eventfd(queue);
	pthread_mutex_unlock(&queue->lock);
}

/* --- life --- */

static void queue_free(struct fault_queue *queue)
{
	close(queue->eventfd);
	pthread_mutex_destroy(&queue->lock);
	free(queue->ring);
	free(queue);
}

/* No HWPT uses it: no attachment is left that could wait. */
void fault_queue_end(struct object *object)
{
	queue_free(container_of(object, struct fault_queue, object));
}

static int queue_make(uint32_t depth, struct fault_queue **out)
{
	struct fault_queue *queue = calloc(1, sizeof(*queue));

	if (!queue)
		return -ENOMEM;
	queue->ring = malloc(depth * sizeof(*queue->ring));
	queue->eventfd = queue->ring ? eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK) : -1;
	if (queue->eventfd < 0) {
		int error = queue->ring && errno == EMFILE ? -EMFILE : -ENOMEM;

		free(queue->ring);
		free(queue);
		return error;
	}
	queue->sink = (struct fault_sink){.answers = true, .event = event};
	queue->depth = depth;
	pthread_mutex_init(&queue->lock, NULL);
	for (unsigned int i = 0; i < FAULT_BUCKETS; i++)
		CDS_INIT_LIST_HEAD(&queue->groups[i]);
	*out = queue;
	return 0;
}

int uiommu_fault_queue_alloc(struct uiommu_context *context, uint32_t depth, uint32_t *out_id)
{
	struct fault_queue *queue;
	int error;

	if (!depth || depth > DEPTH_MAX)
		return -EINVAL;
	error = queue_make(depth, &queue);
	if (error)
		return error;
	error = object_alloc(context, &queue->object, UIOMMU_OBJECT_FAULT_QUEUE);
	if (error) {
		queue_free(queue);
		return error;
	}
	*out_id = queue->object.id;
	object_finalise(&queue->object);
	return 0;
}

/* --- calls --- */

static struct fault_queue *queue_get(struct uiommu_context *context, uint32_t id)
{
	struct object *object = object_get(context, id, UIOMMU_OBJECT_FAULT_QUEUE);

	return object ? container_of(object, struct fault_queue, object) : NULL;
}

int uiommu_fault_queue_limit(struct uiommu_context *context, uint32_t id, const struct uiommu_fault_limits *limits)
{
	struct uiommu_fault_limits given;
	struct fault_queue *queue;
	int error = copy_struct(&given, sizeof(given), sizeof(given), limits, limits->size);

	if (error)
		return error;
	if (given.flags & ~(uint32_t)UIOMMU_FAULT_REQUESTS_ONLY)
		return -EOPNOTSUPP;
	queue = queue_get(context, id);
	if (!queue)
		return -ENOENT;
	if (given.response_ms)
		error = timers_start(&context->timers);
	if (!error) {
		pthread_mutex_lock(&context->page_lock);
		queue->per_pasid = given.per_pasid;
		queue->response_ms = given.response_ms;
		pthread_mutex_lock(&queue->lock);
		queue->requests_only = given.flags & UIOMMU_FAULT_REQUESTS_ONLY;
		pthread_mutex_unlock(&queue->lock);
		pthread_mutex_unlock(&context->page_lock);
	}
	object_put(&queue->object);
	return error;
}

int uiommu_fault_queue_close(struct uiommu_context *context, uint32_t id)
{
	struct fault_queue *queue;

	if (thread_inside())
		return -EDEADLK;
	queue = queue_get(context, id);
	if (!queue)
		return -ENOENT;
	pthread_mutex_lock(&queue->lock);
	queue->closed = true;
	pthread_mutex_unlock(&queue->lock);
	requests_answer_all(context, queue, UIOMMU_RESPONSE_FAILURE);
	object_put(&queue->object);
	return 0;
}

int uiommu_fault_queue_fd(struct uiommu_context *context, uint32_t id)
{
	struct fault_queue *queue = queue_get(context, id);
	int fd;

	if (!queue)
		return -ENOENT;
	fd = queue->eventfd;
	object_put(&queue->object);
	return fd;
}

/* Under the lock: the oldest @count entries go. */
static void consume(struct fault_queue *queue, uint32_t count)
{
	queue->first = (queue->first + count) % queue->depth;
	queue->count -= count;
	clear_eventfd(queue);
}

ssize_t uiommu_fault_read(struct uiommu_context *context, uint32_t id, struct uiommu_fault_event *events, size_t count)
{
	struct fault_queue *queue = queue_get(context, id);
	uint32_t taken;

	if (!queue)
		return -ENOENT;
	pthread_mutex_lock(&queue->lock);
	taken = (uint32_t)min_u64(count, queue->count);
	for (uint32_t i = 0; i < taken; i++)
		events[i] = *entry_at(queue, i);
	consume(queue, taken);
	pthread_mutex_unlock(&queue->lock);
	object_put(&queue->object);
	return (ssize_t)taken;
}

/* False: nothing with this cookie waits for such a response. */
static bool respond(struct fault_queue *queue, uint32_t cookie, unsigned int response)
{
	struct uiommu_context *context = queue->object.context;
	struct page_group *group;

	pthread_mutex_lock(&context->page_lock);
	group = group_find(queue, cookie);
	if (group && !group_may_respond(group, response))
		group = NULL;
	if (group)
		group_take(group);
	pthread_mutex_unlock(&context->page_lock);
	if (group)
		group_answer(group, response);
	return group;
}

int uiommu_fault_respond(struct uiommu_context *context, uint32_t id, uint32_t cookie, unsigned int response)
{
	struct fault_queue *queue = queue_get(context, id);
	bool done;

	if (!queue)
		return -ENOENT;
	done = respond(queue, cookie, response);
	object_put(&queue->object);
	return done ? 0 : -EINVAL;
}

/* --- the same as iommufd's descriptor has it --- */

_Static_assert(sizeof(struct uiommu_pgfault) == 40 && sizeof(struct uiommu_pgresponse) == 8, "iommufd's");

enum { PGFAULT_PASID = 1, PGFAULT_LAST = 2, PGFAULT_PRIVILEGED = 8 };

static struct uiommu_pgfault pgfault_of(const struct uiommu_fault_event *entry)
{
	const struct uiommu_fault *fault = &entry->fault;
	bool pasid = fault->pasid != UIOMMU_NO_PASID;

	return (struct uiommu_pgfault){
		.flags = (pasid ? PGFAULT_PASID : 0) | (entry->flags & UIOMMU_FAULT_EVENT_MORE ? 0 : PGFAULT_LAST),
		.dev_id = fault->device_id,
		.pasid = pasid ? fault->pasid : 0,
		.grpid = entry->group,
		.perm = fault->access | (entry->flags & UIOMMU_FAULT_EVENT_PRIVILEGED ? PGFAULT_PRIVILEGED : 0),
		.addr = fault->address & ~(uint64_t)(REQUEST_PAGE - 1),
		.cookie = entry->cookie,
	};
}

/* Under the lock: entries of the group that begins with the one at @from. */
static uint32_t group_length(const struct fault_queue *queue, uint32_t from)
{
	uint32_t length = 1;

	while (entry_at(queue, from + length - 1)->flags & UIOMMU_FAULT_EVENT_MORE)
		length++;
	return length;
}

ssize_t uiommu_pgfault_read(struct uiommu_context *context, uint32_t id, void *buffer, size_t size)
{
	struct fault_queue *queue = queue_get(context, id);
	struct uiommu_pgfault *records = buffer;
	size_t room = size / sizeof(*records);
	uint32_t taken = 0, length;
	ssize_t result;

	if (!queue)
		return -ENOENT;
	pthread_mutex_lock(&queue->lock);
	while (taken < queue->count) {
		length = group_length(queue, taken);
		if (!entry_at(queue, taken)->cookie || length > room - taken)
			break;
		for (; length; length--, taken++)
			records[taken] = pgfault_of(entry_at(queue, taken));
	}
	result = (ssize_t)(taken * sizeof(*records));
	if (size % sizeof(*records))
		result = -ESPIPE;
	else if (!taken && queue->count)
		result = -EINVAL;
	else
		consume(queue, taken);
	pthread_mutex_unlock(&queue->lock);
	object_put(&queue->object);
	return result;
}

ssize_t uiommu_pgfault_write(struct uiommu_context *context, uint32_t id, const void *buffer, size_t size)
{
	struct fault_queue *queue = queue_get(context, id);
	const struct uiommu_pgresponse *responses = buffer;
	size_t done = 0, count = size / sizeof(*responses);

	if (!queue)
		return -ENOENT;
	if (size % sizeof(*responses)) {
		object_put(&queue->object);
		return -ESPIPE;
	}
	while (done < count && responses[done].code <= UIOMMU_RESPONSE_INVALID &&
	       respond(queue, responses[done].cookie, responses[done].code))
		done++;
	object_put(&queue->object);
	return count && !done ? -EINVAL : (ssize_t)(done * sizeof(*responses));
}
