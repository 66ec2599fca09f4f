/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vEVENTQs: what a vIOMMU's owner is told of its devices.
 *
 * Events are numbered, also those that there was no room for; when that happens, a record without data says so behind the others,
 * until the next event takes its place. Whoever reads sees it by the numbers all the same.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "iommu/tables.h"
#include "iommu/viommu.h"
#include "util/util.h"

enum { EVENT_LOST = 1 };

struct event {
	struct cds_list_head link;
	struct {
		uint32_t flags;
		uint32_t sequence;
	} header;
	uint32_t length;
	uint8_t data[];
};

struct veventq {
	struct object object;
	struct cds_list_head link; /* in viommu->veventqs */
	struct viommu *viommu; /* used */
	uint32_t type, depth;
	int fds[2]; /* a pipe: it holds a byte while there is something */
	/* Under the context's viommu lock: */
	struct cds_list_head events;
	uint32_t count; /* of events */
	uint32_t sequence; /* of the next one */
	bool lost; /* the record of that is behind them */
	uint32_t lost_sequence;
};

/* --- under the lock --- */

static bool is_empty(const struct veventq *queue)
{
	return !queue->count && !queue->lost;
}

/* There is something now, and was nothing @before; or the other way round. The pipe never holds more than one byte. */
static void tell_pipe(struct veventq *queue, bool was_empty)
{
	char byte = 0;

	if (was_empty && !is_empty(queue) && write(queue->fds[1], &byte, 1) != 1)
		abort();
	if (!was_empty && is_empty(queue) && read(queue->fds[0], &byte, 1) != 1)
		abort();
}

static void append(struct veventq *queue, const void *data, size_t length)
{
	struct event *event = queue->count < queue->depth ? malloc(sizeof(*event) + length) : NULL;
	bool was_empty = is_empty(queue);

	queue->lost = !event;
	if (event) {
		event->header.flags = 0;
		event->header.sequence = queue->sequence;
		event->length = (uint32_t)length;
		memcpy(event->data, data, length);
		cds_list_add_tail(&event->link, &queue->events);
		queue->count++;
	} else {
		queue->lost_sequence = queue->sequence;
	}
	queue->sequence = (queue->sequence + 1) & INT32_MAX;
	tell_pipe(queue, was_empty);
}

/* The next record, if it fits; its event goes to @taken. Bytes, or 0. */
static size_t take(struct veventq *queue, uint8_t *buffer, size_t room, struct cds_list_head *taken)
{
	struct event *event;
	size_t length;

	if (!queue->count && queue->lost && room >= sizeof(event->header)) {
		const uint32_t record[2] = {EVENT_LOST, queue->lost_sequence};

		memcpy(buffer, record, sizeof(record));
		queue->lost = false;
		return sizeof(record);
	}
	if (!queue->count)
		return 0;
	event = cds_list_first_entry(&queue->events, struct event, link);
	/* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): what has been freed is in no list */
	length = sizeof(event->header) + event->length;
	if (length > room)
		return 0;
	memcpy(buffer, &event->header, sizeof(event->header));
	memcpy(buffer + sizeof(event->header), event->data, event->length);
	cds_list_move(&event->link, taken);
	queue->count--;
	return length;
}

static struct veventq *find(const struct viommu *viommu, uint32_t type)
{
	struct veventq *queue;

	cds_list_for_each_entry (queue, &viommu->veventqs, link)
		if (queue->type == type)
			return queue;
	return NULL;
}

/* --- life --- */

static void queue_free(struct veventq *queue)
{
	struct event *event, *next;

	cds_list_for_each_entry_safe (event, next, &queue->events, link)
		free(event);
	close(queue->fds[0]);
	close(queue->fds[1]);
	free(queue);
}

static int queue_make(struct viommu *viommu, uint32_t type, uint32_t depth, struct veventq **out)
{
	struct veventq *queue = calloc(1, sizeof(*queue));
	int error;

	if (!queue)
		return -ENOMEM;
	if (pipe2(queue->fds, O_CLOEXEC | O_NONBLOCK)) {
		error = errno == EMFILE || errno == ENFILE ? -EMFILE : -ENOMEM;
		free(queue);
		return error;
	}
	queue->viommu = viommu;
	queue->type = type;
	queue->depth = depth;
	CDS_INIT_LIST_HEAD(&queue->events);
	error = object_alloc(viommu->object.context, &queue->object, UIOMMU_OBJECT_VEVENTQ);
	if (error)
		queue_free(queue);
	*out = queue;
	return error;
}

static int queue_add(struct viommu *viommu, uint32_t type, uint32_t depth, uint32_t *out_id)
{
	struct uiommu_context *context = viommu->object.context;
	struct veventq *queue;
	int error = queue_make(viommu, type, depth, &queue);

	if (error)
		return error;
	pthread_mutex_lock(&context->viommu_lock);
	if (find(viommu, type))
		error = -EEXIST;
	else
		cds_list_add_tail(&queue->link, &viommu->veventqs);
	pthread_mutex_unlock(&context->viommu_lock);
	if (error) {
		object_abort(&queue->object);
		queue_free(queue);
		return error;
	}
	object_use(&viommu->object);
	*out_id = queue->object.id;
	object_finalise(&queue->object);
	return 0;
}

int veventq_alloc(struct uiommu_context *context, uint32_t viommu_id, uint32_t type, uint32_t depth, uint32_t *out_id)
{
	struct viommu *viommu;
	int error;

	if (!depth || depth > VEVENTQ_DEPTH_MAX)
		return -EINVAL;
	viommu = viommu_get(context, viommu_id);
	if (!viommu)
		return -ENOENT;
	error = queue_add(viommu, type, depth, out_id);
	viommu_put(viommu);
	return error;
}

void veventq_end(struct object *object)
{
	struct veventq *queue = container_of(object, struct veventq, object);

	pthread_mutex_lock(&object->context->viommu_lock);
	cds_list_del(&queue->link);
	pthread_mutex_unlock(&object->context->viommu_lock);
	object_unuse(&queue->viommu->object);
	queue_free(queue);
}

/* --- calls --- */

static struct veventq *queue_get(struct uiommu_context *context, uint32_t id)
{
	struct object *object = object_get(context, id, UIOMMU_OBJECT_VEVENTQ);

	return object ? container_of(object, struct veventq, object) : NULL;
}

int veventq_fd(struct uiommu_context *context, uint32_t id)
{
	struct veventq *queue = queue_get(context, id);
	int fd;

	if (!queue)
		return -ENOENT;
	fd = queue->fds[0];
	object_put(&queue->object);
	return fd;
}

ssize_t veventq_read(struct uiommu_context *context, uint32_t id, void *buffer, size_t size)
{
	struct veventq *queue = queue_get(context, id);
	struct event *event, *next;
	size_t done = 0, length;
	bool was_empty;
	ssize_t result;
	CDS_LIST_HEAD(taken);

	if (!queue)
		return -ENOENT;
	pthread_mutex_lock(&context->viommu_lock);
	was_empty = is_empty(queue);
	while (size >= sizeof(((struct event *)NULL)->header) &&
	       (length = take(queue, (uint8_t *)buffer + done, size - done, &taken)))
		done += length;
	tell_pipe(queue, was_empty);
	result = size < sizeof(((struct event *)NULL)->header) || (!done && !was_empty) ? -EINVAL : (ssize_t)done;
	pthread_mutex_unlock(&context->viommu_lock);
	cds_list_for_each_entry_safe (event, next, &taken, link)
		free(event);
	object_put(&queue->object);
	return result;
}

/* What there is no record of is not the guest's to know: it is not its tables' fault. */
static void fault_event(struct fault_sink *sink, const struct uiommu_fault *fault)
{
	const struct attach *attach = container_of(sink, struct attach, guest);
	struct viommu *viommu = attach->hwpt->viommu;
	struct uiommu_context *context = viommu->object.context;
	uint8_t record[VEVENT_DATA_MAX];
	struct veventq *queue = NULL;
	size_t length = viommu->events ? viommu->events->encode(fault, attach->virt_id, record) : 0;

	pthread_mutex_lock(&context->viommu_lock);
	if (length)
		queue = find(viommu, viommu->events->type);
	if (queue)
		append(queue, record, length);
	pthread_mutex_unlock(&context->viommu_lock);
	if (!queue)
		context_log(context, UIOMMU_LOG_DEBUG, "vIOMMU %u: device %u: %#llx: %s", viommu->object.id, fault->device_id,
			    (unsigned long long)fault->address, uiommu_fault_reason_name(fault->reason));
}

/* Of events; page requests are for the HWPT's fault queue. */
static void tell_guest(struct attach *attach)
{
	attach->guest = (struct fault_sink){.answers = attach->hwpt->queue, .event = fault_event};
	attach->data.sink = &attach->guest;
}

/* Without a number a guest's device can do what leads to no faults. */
static bool translates(const struct hwpt *hwpt)
{
	return !hwpt->tables || hwpt->tables->device.mode == TABLES_TRANSLATE;
}

int viommu_attach(struct attach *attach)
{
	const struct viommu *viommu = attach->hwpt->viommu;
	struct uiommu_context *context = attach->device->object.context;
	const struct vdevice *vdevice;
	bool found;

	if (!viommu)
		return 0;
	pthread_mutex_lock(&context->viommu_lock);
	vdevice = attach->device->vdevice;
	found = vdevice && vdevice->viommu == viommu;
	attach->virt_id = found ? vdevice->virt_id : 0;
	pthread_mutex_unlock(&context->viommu_lock);
	if (!found)
		return translates(attach->hwpt) ? -ENOENT : 0;
	tell_guest(attach);
	return 0;
}

void viommu_attach_entry(struct attach *attach, const struct attach *tables)
{
	if (!tables->guest.event)
		return;
	attach->virt_id = tables->virt_id;
	tell_guest(attach);
}

int viommu_tell(struct uiommu_context *context, uint32_t device_id, uint32_t type, const void *data, size_t length)
{
	struct object *object = object_get(context, device_id, UIOMMU_OBJECT_DEVICE);
	const struct vdevice *vdevice;
	struct veventq *queue;

	if (!object)
		return -ENOENT;
	pthread_mutex_lock(&context->viommu_lock);
	vdevice = container_of(object, struct device, object)->vdevice;
	queue = vdevice ? find(vdevice->viommu, type) : NULL;
	if (queue)
		append(queue, data, min_u64(length, VEVENT_DATA_MAX));
	pthread_mutex_unlock(&context->viommu_lock);
	object_put(object);
	return queue ? 0 : -ENOENT;
}
