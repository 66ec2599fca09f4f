/* SPDX-License-Identifier: BSD-3-Clause */
#include "devices/accel/queue.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "devices/accel/task.h"
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

int uiommu_queue_submit(struct uiommu_queue *queue, const struct uiommu_accel_desc *desc)
{
	int rc;

	if (unlikely(!fork_is_owner(queue->owner)))
		return -EOWNERDEAD;
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

static int embedded_make(struct uiommu_accel *accel, const struct uiommu_queue_config *config, struct uiommu_queue **out)
{
	struct queue_open parts = {.entries = config->entries, .hangup_fd = -1, .release = embedded_release, .opaque = accel};
	struct engine_queue_config engine = {.entries = config->entries, .flags = config->flags, .pasid = config->pasid};
	struct uiommu_queue *queue;
	int rc;

	if (!ring_entries_valid(config->entries))
		return -EINVAL;
	rc = embedded_parts(accel, config, &parts);
	if (rc)
		return rc;
	rc = queue_open(&parts, &queue);
	if (rc) {
		parts_close(&parts);
		return rc;
	}
	engine.ring = parts.ring;
	engine.interrupt_fd = parts.interrupt_fd;
	rc = engine_queue_attach(accel, &engine, &queue->engine);
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
	struct uiommu_queue_config known;
	int rc = copy_struct(&known, sizeof(known), sizeof(known), config, config->size);

	return rc ? rc : embedded_make(accel, &known, out);
}
