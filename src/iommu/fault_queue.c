/* SPDX-License-Identifier: BSD-3-Clause */
#include "iommu/fault_queue.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "translate/inflight.h"
#include "util/util.h"

enum { DEPTH_MAX = 65536 };

/* A page request that waits for its answer. */
struct page_request {
	struct cds_list_head link;
	const struct attachment *attachment;
	uint32_t cookie;
	void (*done)(void *opaque, unsigned int response);
	void *opaque;
};

/* Under the lock: append, or count as lost. */
static void append(struct fault_queue *queue, const struct uiommu_fault *fault, uint32_t cookie)
{
	uint64_t one = 1;

	if (queue->count == queue->depth) {
		queue->lost++;
		return;
	}
	queue->ring[(queue->first + queue->count) % queue->depth] =
		(struct uiommu_fault_event){.fault = *fault, .cookie = cookie, .lost = queue->lost};
	queue->lost = 0;
	/* Cannot fail: the counter is 0 while the ring is empty. */
	if (!queue->count++ && write(queue->eventfd, &one, sizeof(one)) != sizeof(one))
		abort();
}

static void event(struct fault_sink *sink, const struct uiommu_fault *fault)
{
	struct fault_queue *queue = container_of(sink, struct fault_queue, sink);

	pthread_mutex_lock(&queue->lock);
	append(queue, fault, 0);
	pthread_mutex_unlock(&queue->lock);
}

static uint32_t next_cookie(struct fault_queue *queue)
{
	if (!++queue->cookies)
		queue->cookies = 1;
	return queue->cookies;
}

/* The attachment has been entered: it is not forgotten before this returns. */
static int request_page(struct fault_sink *sink, struct attachment *attachment, const struct uiommu_fault *fault,
			void (*done)(void *opaque, unsigned int response), void *opaque)
{
	struct fault_queue *queue = container_of(sink, struct fault_queue, sink);
	struct page_request *request = malloc(sizeof(*request));
	int error = 0;

	if (!request)
		return -ENOMEM;
	pthread_mutex_lock(&queue->lock);
	*request = (struct page_request){.attachment = attachment, .cookie = next_cookie(queue), .done = done, .opaque = opaque};
	/* What has been read and not answered is bounded too. A request that is refused is no event that is lost. */
	if (queue->waiting_count < DEPTH_MAX && queue->count < queue->depth) {
		append(queue, fault, request->cookie);
		cds_list_add_tail(&request->link, &queue->waiting);
		queue->waiting_count++;
	} else {
		error = -ENOBUFS;
	}
	pthread_mutex_unlock(&queue->lock);
	if (error)
		free(request);
	return error;
}

/* With no lock held. The callback counts as one: what drains may not be called from it. */
static void answer(struct page_request *request, unsigned int response)
{
	struct thread_state *self = thread_self();

	self->depth++;
	request->done(request->opaque, response);
	self->depth--;
	free(request);
}

/* Take out the request with @cookie, or (0) the first one of @attachment, or (NULL) any. Under the lock. */
static struct page_request *take(struct fault_queue *queue, uint32_t cookie, const struct attachment *attachment)
{
	struct page_request *request;

	cds_list_for_each_entry (request, &queue->waiting, link) {
		if (cookie ? request->cookie == cookie : !attachment || request->attachment == attachment) {
			cds_list_del(&request->link);
			queue->waiting_count--;
			return request;
		}
	}
	return NULL;
}

static void clear_eventfd(struct fault_queue *queue)
{
	uint64_t counter;

	if (!queue->count && read(queue->eventfd, &counter, sizeof(counter)) < 0)
		return; /* EAGAIN: it was clear */
}

/* Take out of the ring the entry that asks with @cookie, if it has not been read. Under the lock. */
static void forget_entry(struct fault_queue *queue, uint32_t cookie)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < queue->count; i++) {
		const struct uiommu_fault_event *entry = &queue->ring[(queue->first + i) % queue->depth];

		if (entry->cookie != cookie)
			queue->ring[(queue->first + kept++) % queue->depth] = *entry;
	}
	queue->count = kept;
	clear_eventfd(queue);
}

/*
 * Its page requests are answered INVALID, and its entries that need an answer are taken out; true: there was one. NULL: those of
 * all.
 */
static bool forget(struct fault_sink *sink, const struct attachment *attachment)
{
	struct fault_queue *queue = container_of(sink, struct fault_queue, sink);
	struct page_request *request;

	for (bool any = false;; any = true) {
		pthread_mutex_lock(&queue->lock);
		request = take(queue, 0, attachment);
		if (request)
			forget_entry(queue, request->cookie);
		pthread_mutex_unlock(&queue->lock);
		if (!request)
			return any;
		answer(request, UIOMMU_RESPONSE_INVALID);
	}
}

/* No HWPT uses it: no attachment is left that could wait. */
void fault_queue_end(struct object *object)
{
	struct fault_queue *queue = container_of(object, struct fault_queue, object);

	forget(&queue->sink, NULL);
	close(queue->eventfd);
	pthread_mutex_destroy(&queue->lock);
	free(queue->ring);
	free(queue);
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
	queue->sink = (struct fault_sink){.event = event, .page_request = request_page, .forget = forget};
	queue->depth = depth;
	pthread_mutex_init(&queue->lock, NULL);
	CDS_INIT_LIST_HEAD(&queue->waiting);
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
		fault_queue_end(&queue->object);
		return error;
	}
	*out_id = queue->object.id;
	object_finalise(&queue->object);
	return 0;
}

static struct fault_queue *queue_get(struct uiommu_context *context, uint32_t id)
{
	struct object *object = object_get(context, id, UIOMMU_OBJECT_FAULT_QUEUE);

	return object ? container_of(object, struct fault_queue, object) : NULL;
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

ssize_t uiommu_fault_read(struct uiommu_context *context, uint32_t id, struct uiommu_fault_event *events, size_t count)
{
	struct fault_queue *queue = queue_get(context, id);
	size_t taken = 0;

	if (!queue)
		return -ENOENT;
	pthread_mutex_lock(&queue->lock);
	for (; taken < count && queue->count; queue->count--) {
		events[taken++] = queue->ring[queue->first];
		queue->first = (queue->first + 1) % queue->depth;
	}
	clear_eventfd(queue);
	pthread_mutex_unlock(&queue->lock);
	object_put(&queue->object);
	return (ssize_t)taken;
}

int uiommu_fault_respond(struct uiommu_context *context, uint32_t id, uint32_t cookie, unsigned int response)
{
	struct fault_queue *queue = queue_get(context, id);
	struct page_request *request = NULL;

	if (!queue)
		return -ENOENT;
	if (cookie && response <= UIOMMU_RESPONSE_FAILURE) {
		pthread_mutex_lock(&queue->lock);
		request = take(queue, cookie, NULL);
		pthread_mutex_unlock(&queue->lock);
	}
	object_put(&queue->object);
	if (!request)
		return -EINVAL;
	answer(request, response);
	return 0;
}
