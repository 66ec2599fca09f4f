/* SPDX-License-Identifier: BSD-3-Clause */
#include "devices/accel/queue.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "devices/accel/task.h"
#include "iommu/mdev.h"
#include "util/cpu.h"
#include "util/fork.h"

enum {
	WAIT_SPINS = 2000, /* some ten microseconds: about what a sleep costs */
	FULL_PER_LOOK = 1024, /* fruitless submits between two looks at the connection */
};

struct uiommu_queue {
	struct ring_submitter ring;
	uint32_t owner;
	int wake_fd;
	int interrupt_fd;
	int hangup_fd;
	unsigned int full;
	void (*release)(struct uiommu_queue *queue, void *opaque);
	void *opaque;

	/* Of several threads that wait, one polls the interrupt and tells the others, because reading it takes it from all. */
	pthread_mutex_t wait_lock;
	pthread_cond_t wait_turn;
	bool polled;

	/* Of an engine in this process. */
	struct cds_list_head embedded;
	struct engine_queue *engine;
	uint64_t *words; /* by slot: what the PASID stood for (vpasid.h); NULL: the engine is elsewhere */
	const uint64_t *tags;
	struct mdev *mdev; /* used; NULL: PASIDs are the device's own */
	bool shared;
	uint32_t pasid; /* dedicated */
};

int queue_open(const struct queue_open *open, struct uiommu_queue **out)
{
	struct uiommu_queue *queue = calloc(1, sizeof(*queue));

	if (!queue || fork_token(&queue->owner)) {
		free(queue);
		return -ENOMEM;
	}
	ring_submitter_init(&queue->ring, open->ring, open->entries);
	queue->wake_fd = open->wake_fd;
	queue->interrupt_fd = open->interrupt_fd;
	queue->hangup_fd = open->hangup_fd;
	queue->release = open->release;
	queue->opaque = open->opaque;
	pthread_mutex_init(&queue->wait_lock, NULL);
	pthread_cond_init(&queue->wait_turn, NULL);
	*out = queue;
	return 0;
}

/* Of a fork child too, which has the descriptors and this memory, but neither the ring nor the engine. */
static void queue_free(struct uiommu_queue *queue)
{
	if (fork_is_owner(queue->owner)) {
		ring_unmap(queue->ring.header, queue->ring.entries);
		pthread_cond_destroy(&queue->wait_turn);
		pthread_mutex_destroy(&queue->wait_lock);
	}
	close(queue->wake_fd);
	close(queue->interrupt_fd);
	free(queue->words);
	free(queue);
}

void uiommu_queue_destroy(struct uiommu_queue *queue)
{
	if (!queue)
		return;
	if (queue->release)
		queue->release(queue, queue->opaque);
	queue_free(queue);
}

static bool hung_up(const struct uiommu_queue *queue)
{
	struct pollfd fd = {.fd = queue->hangup_fd, .events = POLLRDHUP};

	return queue->hangup_fd >= 0 && poll(&fd, 1, 0) > 0;
}

/* A killed daemon does not mark its rings as ended; then the ring stays full. */
static int submit_full(struct uiommu_queue *queue)
{
	if (++queue->full % FULL_PER_LOOK == 0 && hung_up(queue))
		return -EPIPE;
	return -EAGAIN;
}

/*
 * What the PASID of @desc stands for now, by which the engine knows it; 0: nothing. Its number may be somebody else's when the
 * engine comes to it, and then has another generation.
 */
static uint64_t word_of(const struct uiommu_queue *queue, const struct uiommu_accel_desc *desc)
{
	uint32_t pasid = queue->shared ? desc->pasid_priv & DESC_PASID : queue->pasid;

	if (queue->mdev)
		return mdev_look(queue->mdev, pasid);
	return pasid_generation_now(queue->tags, pasid) << VPASID_GENERATION_SHIFT | VPASID_VALID | pasid;
}

static __attribute__((noinline)) int untranslated(const struct uiommu_queue *queue, const struct uiommu_accel_desc *desc)
{
	const struct mdev *mdev = queue->mdev;

	if (mdev->untranslated)
		mdev->untranslated(mdev->opaque, mdev->object.id, queue->shared ? desc->pasid_priv & DESC_PASID : queue->pasid);
	return -ENOENT;
}

int uiommu_queue_submit(struct uiommu_queue *queue, const struct uiommu_accel_desc *desc)
{
	int rc;

	if (unlikely(!fork_is_owner(queue->owner)))
		return -EOWNERDEAD;
	if (queue->words) {
		uint64_t word = word_of(queue, desc);

		if (unlikely(!word))
			return untranslated(queue, desc);
		/* Before ring_submit() publishes the slot. */
		if (likely(ring_has_room(&queue->ring)))
			queue->words[queue->ring.tail & (queue->ring.entries - 1)] = word;
	}
	rc = ring_submit(&queue->ring, desc);
	if (likely(!rc))
		return 0;
	if (rc == -EAGAIN)
		return submit_full(queue);
	if (rc < 0)
		return rc;
	event_signal(queue->wake_fd);
	return 0;
}

static bool record_done(const struct uiommu_accel_record *record)
{
	/* Acquire: the other fields, and the data, before the status. */
	return __atomic_load_n(&record->status, __ATOMIC_ACQUIRE);
}

/* Sleep until the interrupt, or the end. */
static void wait_interrupt(struct uiommu_queue *queue, bool *ended)
{
	struct pollfd fds[2] = {{.fd = queue->interrupt_fd, .events = POLLIN}, {.fd = queue->hangup_fd, .events = POLLRDHUP}};
	uint64_t count;

	if (poll(fds, 2, -1) < 0)
		return;
	*ended = fds[1].revents || fds[0].revents & POLLNVAL;
	/* Somebody else may have read it: then the record tells. */
	if (read(queue->interrupt_fd, &count, sizeof(count)) < 0)
		return;
}

static int wait_locked(struct uiommu_queue *queue, const struct uiommu_accel_record *record)
{
	bool ended = false;

	for (;;) {
		bool over = ended || ring_ended(queue->ring.header);

		/* The end first, the record after it: what was written before the end counts. */
		if (record_done(record))
			return 0;
		if (over)
			return -EPIPE;
		if (queue->polled) {
			pthread_cond_wait(&queue->wait_turn, &queue->wait_lock);
			continue;
		}
		queue->polled = true;
		pthread_mutex_unlock(&queue->wait_lock);
		wait_interrupt(queue, &ended);
		pthread_mutex_lock(&queue->wait_lock);
		queue->polled = false;
		pthread_cond_broadcast(&queue->wait_turn);
	}
}

int uiommu_queue_wait(struct uiommu_queue *queue, const struct uiommu_accel_record *record)
{
	int rc;

	if (unlikely(!fork_is_owner(queue->owner)))
		return -EOWNERDEAD;
	for (unsigned int i = 0; i < WAIT_SPINS; i++) {
		if (record_done(record))
			return 0;
		cpu_relax();
	}
	pthread_mutex_lock(&queue->wait_lock);
	rc = wait_locked(queue, record);
	pthread_mutex_unlock(&queue->wait_lock);
	return rc;
}

int uiommu_queue_eventfd(const struct uiommu_queue *queue)
{
	return queue->interrupt_fd;
}

void uiommu_queue_error(struct uiommu_queue *queue, struct uiommu_accel_error *error)
{
	if (fork_is_owner(queue->owner))
		ring_error_take(&queue->ring, error);
	else
		*error = (struct uiommu_accel_error){0};
}

static void embedded_detach(struct uiommu_accel *accel, struct uiommu_queue *queue)
{
	accel_lock(accel);
	cds_list_del(&queue->embedded);
	accel_unlock(accel);
	engine_queue_detach(queue->engine);
	if (queue->mdev)
		object_unuse(&queue->mdev->object);
}

static void embedded_release(struct uiommu_queue *queue, void *opaque)
{
	if (fork_is_owner(queue->owner))
		embedded_detach(opaque, queue);
}

void queue_destroy_all(struct uiommu_accel *accel)
{
	while (!cds_list_empty(&accel->embedded)) {
		struct uiommu_queue *queue = cds_list_first_entry(&accel->embedded, struct uiommu_queue, embedded);

		embedded_detach(accel, queue);
		queue_free(queue);
	}
}

/* Everything that a queue of this process needs. On failure nothing is left open. */
static int embedded_parts(const struct uiommu_accel *accel, const struct uiommu_queue_config *config, struct queue_open *parts)
{
	parts->interrupt_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (parts->interrupt_fd < 0)
		return errno == ENFILE ? -EMFILE : -errno;
	parts->wake_fd = fcntl(engine_wakeup_fd(accel), F_DUPFD_CLOEXEC, 0);
	if (parts->wake_fd < 0) {
		close(parts->interrupt_fd);
		return -EMFILE;
	}
	parts->ring = ring_create(config->entries, config->flags);
	if (!parts->ring) {
		close(parts->interrupt_fd);
		close(parts->wake_fd);
		return -ENOMEM;
	}
	return 0;
}

static void parts_close(const struct queue_open *parts)
{
	ring_unmap(parts->ring, parts->entries);
	close(parts->interrupt_fd);
	close(parts->wake_fd);
}

/* The PASIDs that come through the queue: the device's, or a mediated device's. */
static bool dedicated_to(const struct uiommu_queue_config *config)
{
	return config->pasid && (config->pasid <= UIOMMU_PASID_LAST || (config->mdev_id && config->pasid == UIOMMU_NO_PASID));
}

static int embedded_pasids(const struct uiommu_accel *accel, const struct uiommu_queue_config *config, struct mdev **mdev)
{
	struct object *object;

	*mdev = NULL;
	if (!(config->flags & UIOMMU_QUEUE_SHARED) && !dedicated_to(config))
		return -EINVAL;
	if (!config->mdev_id)
		return 0;
	if (config->flags & UIOMMU_QUEUE_HANDLES)
		return -EOPNOTSUPP;
	object = object_get(accel->context, config->mdev_id, UIOMMU_OBJECT_MDEV);
	if (!object)
		return -ENOENT;
	if (&object_mdev(object)->device->data == accel->own.device) {
		object_use(object);
		*mdev = object_mdev(object);
	}
	object_put(object);
	return *mdev ? 0 : -EINVAL;
}

static int embedded_make(struct uiommu_accel *accel, const struct uiommu_queue_config *config, struct mdev *mdev,
			 struct uiommu_queue **out)
{
	struct queue_open parts = {.entries = config->entries, .hangup_fd = -1, .release = embedded_release, .opaque = accel};
	struct engine_queue_config engine = {.entries = config->entries, .flags = config->flags, .pasid = config->pasid};
	struct uiommu_queue *queue;
	int rc = embedded_parts(accel, config, &parts);

	if (rc)
		return rc;
	rc = queue_open(&parts, &queue);
	if (rc) {
		parts_close(&parts);
		return rc;
	}
	queue->words = calloc(config->entries, sizeof(*queue->words));
	queue->tags = pasid_tags(accel->context->pasids);
	queue->mdev = mdev;
	queue->shared = config->flags & UIOMMU_QUEUE_SHARED;
	queue->pasid = config->pasid;
	engine.ring = parts.ring;
	engine.interrupt_fd = parts.interrupt_fd;
	engine.words = queue->words;
	rc = queue->words ? engine_queue_attach(accel, &engine, &queue->engine) : -ENOMEM;
	if (rc) {
		queue->release = NULL;
		uiommu_queue_destroy(queue);
		return rc;
	}
	accel_lock(accel);
	cds_list_add_tail(&queue->embedded, &accel->embedded);
	accel_unlock(accel);
	*out = queue;
	return 0;
}

int uiommu_accel_queue(struct uiommu_accel *accel, const struct uiommu_queue_config *config, struct uiommu_queue **out)
{
	const size_t least = offsetof(struct uiommu_queue_config, mdev_id);
	struct uiommu_queue_config known;
	struct mdev *mdev;
	int rc = copy_struct(&known, sizeof(known), least, config, config->size);

	if (!rc && !ring_entries_valid(known.entries))
		rc = -EINVAL;
	if (!rc)
		rc = known.reserved ? -EOPNOTSUPP : embedded_pasids(accel, &known, &mdev);
	if (rc)
		return rc;
	rc = embedded_make(accel, &known, mdev, out);
	if (rc && mdev)
		object_unuse(&mdev->object);
	return rc;
}
