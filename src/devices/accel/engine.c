/* SPDX-License-Identifier: BSD-3-Clause */
/* Engines, their queues, and the turns that the queues take. */
#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <uiommu/pci.h>
#include <unistd.h>

#include "devices/accel/queue.h"
#include "devices/accel/task.h"
#include "pasid/vpasid.h"
#include "util/fork.h"

enum { ACCEL_SCRATCH = 2 * SCRATCH_BYTES };

struct task *task_alloc(struct engine_queue *queue)
{
	struct task *task = queue->free;

	if (task)
		queue->free = task->next;
	else
		task = &queue->tasks[queue->fresh++];
	queue->used++;
	return task;
}

static void task_init(struct engine_queue *queue, struct task *task, uint32_t index)
{
	*task = (struct task){.queue = queue};
	ring_copy(&queue->ring, index, &task->desc);
	if (queue->words) {
		task->word = queue->words[(queue->ring.head + index) & (queue->ring.entries - 1)];
		task->places[PLACE_OWN].pasid = (uint32_t)(task->word & VPASID_PASID);
	} else {
		task->places[PLACE_OWN].pasid = task_named(task);
	}
	cds_list_add_tail(&task->inflight, &queue->inflight);
}

/* Take descriptors from the ring and start them. */
static unsigned int fresh_turn(struct uiommu_accel *accel, struct engine_queue *queue, unsigned int limit)
{
	struct task *tasks[WINDOW_TASKS];
	uint32_t count = 0;

	if (unlikely(queue_fetches(queue)))
		return fetch_turn(accel, queue, limit);
	limit = (unsigned int)min_u64(min_u64(limit, WINDOW_TASKS), queue->ring.entries - queue->used);
	for (; count < limit && ring_ready(&queue->ring, count); count++) {
		tasks[count] = task_alloc(queue);
		task_init(queue, tasks[count], count);
	}
	if (!count)
		return 0;
	ring_release(&queue->ring, count);
	for (uint32_t i = 0; i < count; i++)
		window_start(accel, tasks[i]);
	window_flush(accel);
	return count;
}

static void interrupt_flush(struct engine_queue *queue)
{
	uint64_t handles = queue->interrupts;

	if (likely(!handles))
		return;
	queue->interrupts = 0;
	if (unlikely(queue_fetches(queue)))
		queue->fetch.from.interrupt(queue->fetch.from.opaque, handles);
	else
		event_signal(queue->interrupt_fd);
}

static unsigned int active_turn(struct uiommu_accel *accel, struct engine_queue *queue, unsigned int limit)
{
	unsigned int count = 0;

	while (queue->active.first && count < limit && accel->turn_bytes < STEP_BYTES) {
		/* What completed before must not wait for an access that sleeps. */
		record_flush(accel);
		interrupt_flush(queue);
		task_step(accel, task_pop(&queue->active));
		count++;
	}
	return count;
}

/* A drain is complete when everything submitted before it is. */
static void drain_turn(struct uiommu_accel *accel, struct engine_queue *queue)
{
	while (!cds_list_empty(&queue->inflight)) {
		struct task *oldest = cds_list_first_entry(&queue->inflight, struct task, inflight);

		if (task_opcode(oldest) != UIOMMU_ACCEL_DRAIN || oldest->completes)
			return;
		task_complete(accel, oldest, UIOMMU_ACCEL_SUCCESS);
	}
}

static bool queue_ready(const struct engine_queue *queue)
{
	return unlikely(queue_fetches(queue)) ? fetch_ready(queue) : ring_ready(&queue->ring, 0);
}

static bool queue_quiet(const struct engine_queue *queue)
{
	return !queue_ready(queue) && !queue->active.first && !park_answered(queue);
}

static unsigned int queue_turn(struct uiommu_accel *accel, struct engine_queue *queue, unsigned int limit)
{
	unsigned int count = 0;

	if (unlikely(queue->ring.armed))
		ring_disarm(&queue->ring);
	if (queue_quiet(queue) && !queue->batches_used)
		return 0;
	accel->turn_bytes = 0;
	accel_forget(accel);
	if (unlikely(park_answered(queue)))
		park_collect(queue);
	count += fresh_turn(accel, queue, limit);
	count += active_turn(accel, queue, limit - count);
	if (queue->batches_used)
		count += batch_turn(accel, queue, limit - count);
	drain_turn(accel, queue);
	record_flush(accel);
	interrupt_flush(queue);
	return count;
}

/* What its function wants; as long as that is not done, it is asked after each turn of the queues. */
static void control_turn(struct engine_tenant *tenant)
{
	if (__atomic_exchange_n(&tenant->kicked, false, __ATOMIC_ACQ_REL) || tenant->waits)
		tenant->waits = tenant->control(tenant->opaque);
}

static void control_functions(const struct uiommu_accel *accel)
{
	struct cds_list_head *link;

	for (link = accel->functions.next; link != &accel->functions; link = link->next)
		control_turn(cds_list_entry(link, struct engine_tenant, link));
}

static void to_the_end(struct cds_list_head *link, struct cds_list_head *list)
{
	cds_list_del(link);
	cds_list_add_tail(link, list);
}

/* A turn of the next of its queues that has something to do. */
static unsigned int tenant_turn(struct uiommu_accel *accel, struct engine_tenant *tenant, unsigned int limit)
{
	unsigned int count = 0;

	accel->tenant = tenant;
	for (unsigned int i = 0; i < tenant->queue_count && !count; i++) {
		struct engine_queue *queue = cds_list_first_entry(&tenant->queues, struct engine_queue, link);

		if (tenant->queue_count > 1)
			to_the_end(&queue->link, &tenant->queues);
		count = queue_turn(accel, queue, limit);
	}
	return count;
}

unsigned int accel_run(struct uiommu_accel *accel, unsigned int budget)
{
	unsigned int done = 0, quiet = 0;

	if (unlikely(accel->armed))
		accel_disarm(accel);
	control_functions(accel);
	while (quiet < accel->turn_count && done < budget) {
		struct engine_tenant *tenant = cds_list_first_entry(&accel->turns, struct engine_tenant, turn);
		unsigned int count;

		if (accel->turn_count > 1)
			to_the_end(&tenant->turn, &accel->turns);
		count = tenant_turn(accel, tenant, (unsigned int)min_u64(budget - done, WINDOW_TASKS));
		done += count;
		quiet = count ? 0 : quiet + 1;
	}
	control_functions(accel);
	return done;
}

unsigned int uiommu_accel_poll(struct uiommu_accel *accel, unsigned int budget)
{
	unsigned int done;

	accel_run_lock(accel);
	done = accel_run(accel, budget);
	pthread_mutex_unlock(&accel->lock);
	return done;
}

/* Lists are walked by node: the loop of entries makes one of the head, too, which is not aligned as they are. */
static bool tenant_quiet(const struct engine_tenant *tenant)
{
	const struct cds_list_head *link;

	for (link = tenant->queues.next; link != &tenant->queues; link = link->next) {
		const struct engine_queue *queue = cds_list_entry(link, struct engine_queue, link);

		if (!queue_quiet(queue))
			return false;
		/* Members that could be started; the others of a batch are active or wait for pages. */
		for (unsigned int i = 0; i < queue->batches_used; i++) {
			const struct batch *batch = queue->oldest[i];

			if (batch->readable && batch->next < batch->available && batch->free)
				return false;
		}
	}
	return true;
}

static bool accel_quiet(const struct uiommu_accel *accel)
{
	const struct cds_list_head *link;

	for (link = accel->functions.next; link != &accel->functions; link = link->next)
		if (__atomic_load_n(&cds_list_entry(link, struct engine_tenant, link)->kicked, __ATOMIC_RELAXED))
			return false;
	for (link = accel->turns.next; link != &accel->turns; link = link->next)
		if (!tenant_quiet(cds_list_entry(link, struct engine_tenant, turn)))
			return false;
	return true;
}

bool engine_idle(struct uiommu_accel *accel)
{
	bool quiet;

	accel_lock(accel);
	quiet = accel_quiet(accel);
	accel_unlock(accel);
	return quiet;
}

/* True: a program has doorbells mapped. */
static bool watch_functions(const struct uiommu_accel *accel)
{
	const struct cds_list_head *link;
	bool mapped = false;

	for (link = accel->functions.next; link != &accel->functions; link = link->next) {
		const struct engine_tenant *tenant = cds_list_entry(link, struct engine_tenant, link);

		if (tenant->watched)
			mapped |= uiommu_pci_watch(tenant->pci);
	}
	return mapped;
}

bool accel_arm(struct uiommu_accel *accel)
{
	struct cds_list_head *link;

	accel->armed = true;
	__atomic_store_n(&accel->asleep, true, __ATOMIC_RELAXED);
	/* Rings are the maker's; what others submit is fetched. */
	for (link = accel->own.queues.next; link != &accel->own.queues; link = link->next)
		if (!ring_arm(&cds_list_entry(link, struct engine_queue, link)->ring))
			return false;
	accel->mapped = watch_functions(accel);
	/* Dekker with page_answered() and engine_ring(): asleep before the look at the ready lists and the doorbells. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return accel_quiet(accel);
}

void accel_disarm(struct uiommu_accel *accel)
{
	uint64_t count;

	accel->armed = false;
	__atomic_store_n(&accel->asleep, false, __ATOMIC_RELAXED);
	/* Nothing to read is as good. */
	if (read(accel->wake_fd, &count, sizeof(count)) < 0)
		return;
}

bool engine_arm(struct uiommu_accel *accel)
{
	bool armed;

	accel_lock(accel);
	armed = accel_arm(accel);
	accel_unlock(accel);
	return armed;
}

int engine_wakeup_fd(const struct uiommu_accel *accel)
{
	return accel->wake_fd;
}

void engine_on_fault(struct uiommu_accel *accel, void (*fault)(void *opaque, const struct uiommu_fault *fault), void *opaque)
{
	accel->fault = fault;
	accel->fault_opaque = opaque;
}

uint64_t engine_queue_completed(const struct engine_queue *queue)
{
	return __atomic_load_n(&queue->completed, __ATOMIC_RELAXED);
}

static int config_check(const struct engine_queue_config *config)
{
	if (config->flags & ~(uint32_t)(UIOMMU_QUEUE_SHARED | UIOMMU_QUEUE_HANDLES))
		return -EOPNOTSUPP;
	if (!ring_entries_valid(config->entries))
		return -EINVAL;
	if (config->fetch && config->pasid == UIOMMU_NO_PASID)
		return 0;
	if (!config->words && !(config->flags & UIOMMU_QUEUE_SHARED) && (!config->pasid || config->pasid > UIOMMU_PASID_LAST))
		return -EINVAL;
	return 0;
}

/*
 * One block: the queue, a task for each entry and one for the ring, and for each batch slot a list and members. Most of it is never
 * touched, and then it is no memory.
 */
static struct engine_queue *queue_alloc(uint32_t entries)
{
	size_t list = UIOMMU_ACCEL_BATCH_MAX * sizeof(struct uiommu_accel_desc), members = BATCH_TASKS * sizeof(struct task);
	size_t size = sizeof(struct engine_queue) + (entries + 1) * sizeof(struct task) + BATCH_SLOTS * (list + members);
	struct engine_queue *queue = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char *at;

	if (queue == MAP_FAILED)
		return NULL;
	queue->bytes = size;
	queue->fetch.task = &queue->tasks[entries];
	at = (char *)&queue->tasks[entries + 1];
	for (unsigned int i = 0; i < BATCH_SLOTS; i++) {
		queue->batches[i].members = (struct task *)at;
		queue->batches[i].list = (struct uiommu_accel_desc *)(at + members);
		at += members + list;
	}
	return queue;
}

static int queue_make(struct engine_tenant *tenant, const struct engine_queue_config *config, struct engine_queue **out)
{
	struct engine_queue *queue;
	int rc = config_check(config);

	if (rc)
		return rc;
	queue = queue_alloc(config->entries);
	if (!queue)
		return -ENOMEM;
	queue->accel = tenant->accel;
	queue->tenant = tenant;
	ring_engine_init(&queue->ring, config->ring, config->entries);
	if (config->fetch) {
		queue->ring.armed = false;
		queue->fetch.from = *config->fetch;
		queue->fetch.task->queue = queue;
	}
	if (tenant->credits)
		queue->credits = credits_get(tenant->credits);
	queue->flags = config->flags;
	queue->limits = (struct desc_limits){
		.transfer_max = config->transfer_max ? config->transfer_max : UIOMMU_ACCEL_TRANSFER_MAX,
		.batch_max = config->batch_max ? config->batch_max : UIOMMU_ACCEL_BATCH_MAX,
		.interrupts = config->interrupts,
		.handles = config->flags & UIOMMU_QUEUE_HANDLES,
		.privileged = config->privileged,
	};
	queue->pasid = config->pasid;
	queue->words = config->words;
	queue->interrupt_fd = config->interrupt_fd;
	task_list_init(&queue->active);
	task_list_init(&queue->waiting);
	task_list_init(&queue->starved);
	CDS_INIT_LIST_HEAD(&queue->inflight);
	pthread_mutex_init(&queue->park_lock, NULL);
	queue->alive = true;
	queue->references = 1;
	*out = queue;
	return 0;
}

static void queue_link(struct engine_queue *queue)
{
	struct engine_tenant *tenant = queue->tenant;

	cds_list_add_tail(&queue->link, &tenant->queues);
	if (tenant->queue_count++)
		return;
	cds_list_add_tail(&tenant->turn, &tenant->accel->turns);
	tenant->accel->turn_count++;
}

static void queue_unlink(struct engine_queue *queue)
{
	struct engine_tenant *tenant = queue->tenant;

	cds_list_del(&queue->link);
	if (queue->stopped || --tenant->queue_count)
		return;
	cds_list_del(&tenant->turn);
	tenant->accel->turn_count--;
}

int engine_queue_attach_locked(struct engine_tenant *tenant, const struct engine_queue_config *config, struct engine_queue **out)
{
	int rc = queue_make(tenant, config, out);

	if (!rc)
		queue_link(*out);
	return rc;
}

int engine_queue_attach(struct uiommu_accel *accel, const struct engine_queue_config *config, struct engine_queue **out)
{
	int rc = queue_make(&accel->own, config, out);

	if (rc)
		return rc;
	accel_lock(accel);
	queue_link(*out);
	accel_unlock(accel);
	return 0;
}

/* It is in no list. */
static void queue_end(struct engine_queue *queue)
{
	pthread_mutex_lock(&queue->park_lock);
	queue->alive = false;
	pthread_mutex_unlock(&queue->park_lock);
	if (!queue_fetches(queue)) {
		ring_end(queue->ring.header);
		event_signal(queue->interrupt_fd);
	}
	engine_queue_put(queue);
}

void engine_queue_detach_locked(struct engine_queue *queue)
{
	queue_unlink(queue);
	queue_end(queue);
}

void engine_queue_stop_locked(struct engine_queue *queue)
{
	if (queue->stopped)
		return;
	queue_unlink(queue);
	queue->stopped = true;
	cds_list_add_tail(&queue->link, &queue->tenant->stopped);
}

bool engine_queue_asks(const struct engine_queue *queue)
{
	return __atomic_load_n(&queue->asked, __ATOMIC_ACQUIRE);
}

void engine_queue_detach(struct engine_queue *queue)
{
	struct uiommu_accel *accel = queue->accel;

	accel_lock(accel);
	queue_unlink(queue);
	accel_unlock(accel);
	queue_end(queue);
}

static void tenant_init(struct engine_tenant *tenant, struct uiommu_accel *accel, struct uiommu_device *device)
{
	*tenant = (struct engine_tenant){.accel = accel, .device = device};
	CDS_INIT_LIST_HEAD(&tenant->queues);
	CDS_INIT_LIST_HEAD(&tenant->stopped);
}

static void detach_all(struct cds_list_head *queues)
{
	while (!cds_list_empty(queues))
		engine_queue_detach_locked(cds_list_first_entry(queues, struct engine_queue, link));
}

int engine_tenant_begin(struct uiommu_accel *accel, const struct engine_tenant_config *config, struct engine_tenant **out)
{
	struct engine_tenant *tenant = calloc(1, sizeof(*tenant));

	if (!tenant)
		return -ENOMEM;
	tenant_init(tenant, accel, uiommu_device_get(config->context, config->device_id));
	tenant->share = config->share;
	tenant->control = config->control;
	tenant->opaque = config->opaque;
	if (!tenant->device) {
		free(tenant);
		return -ENOENT;
	}
	tenant->credits = credits_make(accel->wake_fd);
	if (!tenant->credits) {
		uiommu_device_put(tenant->device);
		free(tenant);
		return -ENOMEM;
	}
	accel_lock(accel);
	cds_list_add_tail(&tenant->link, &accel->functions);
	accel_unlock(accel);
	*out = tenant;
	return 0;
}

void engine_tenant_end(struct engine_tenant *tenant)
{
	struct uiommu_accel *accel;

	/* In a fork child, see uiommu_accel_destroy(). */
	if (!tenant || !fork_is_owner(tenant->accel->owner))
		return;
	accel = tenant->accel;
	accel_lock(accel);
	cds_list_del(&tenant->link);
	detach_all(&tenant->queues);
	detach_all(&tenant->stopped);
	accel_unlock(accel);
	uiommu_device_put(tenant->device);
	credits_put(tenant->credits);
	free(tenant);
}

void engine_function(struct engine_tenant *tenant, struct uiommu_pci *pci, bool watched)
{
	accel_lock(tenant->accel);
	tenant->pci = pci;
	tenant->watched = watched;
	accel_unlock(tenant->accel);
}

void engine_ring(struct uiommu_accel *accel)
{
	/* Dekker with accel_arm(): what is new before the look at asleep. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (__atomic_load_n(&accel->asleep, __ATOMIC_RELAXED))
		event_signal(accel->wake_fd);
}

void engine_kick(struct engine_tenant *tenant)
{
	__atomic_store_n(&tenant->kicked, true, __ATOMIC_RELEASE);
	engine_ring(tenant->accel);
}

void engine_bar(struct engine_tenant *tenant)
{
	__atomic_store_n(&tenant->barred, true, __ATOMIC_RELEASE);
}

void engine_unbar(struct engine_tenant *tenant)
{
	__atomic_store_n(&tenant->barred, false, __ATOMIC_RELEASE);
}

void engine_asks(struct engine_tenant *tenant, bool recovers, uint32_t allocation)
{
	__atomic_store_n(&tenant->recovers, recovers, __ATOMIC_RELAXED);
	__atomic_store_n(&tenant->allocation, allocation, __ATOMIC_RELAXED);
	/* Those that wait may ask, or not at all any more. */
	engine_ring(tenant->accel);
}

void engine_queue_put(struct engine_queue *queue)
{
	unsigned int left;

	pthread_mutex_lock(&queue->park_lock);
	left = --queue->references;
	pthread_mutex_unlock(&queue->park_lock);
	if (left)
		return;
	pthread_mutex_destroy(&queue->park_lock);
	credits_put(queue->credits);
	munmap(queue, queue->bytes);
}

/* A step's worth of addresses for the little memory that stays in the cache. NULL without memory. */
static uint8_t *pattern_map(void)
{
	uint8_t *span = mmap(NULL, PATTERN_SPAN, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (span == MAP_FAILED)
		return NULL;
	for (size_t at = PATTERN_BYTES; at < PATTERN_SPAN; at += PATTERN_BYTES)
		if (mremap(span, 0, PATTERN_BYTES, MREMAP_MAYMOVE | MREMAP_FIXED, span + at) == MAP_FAILED) {
			munmap(span, PATTERN_SPAN);
			return NULL;
		}
	return span;
}

static int buffers_map(struct uiommu_accel *accel)
{
	accel->scratch = mmap(NULL, ACCEL_SCRATCH, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (accel->scratch == MAP_FAILED)
		return -ENOMEM;
	accel->pattern_span = pattern_map();
	if (accel->pattern_span)
		return 0;
	munmap(accel->scratch, ACCEL_SCRATCH);
	return -ENOMEM;
}

static void buffers_unmap(struct uiommu_accel *accel)
{
	munmap(accel->pattern_span, PATTERN_SPAN);
	munmap(accel->scratch, ACCEL_SCRATCH);
}

static int accel_init(struct uiommu_accel *accel)
{
	int rc = fork_token(&accel->owner);

	if (!rc)
		rc = buffers_map(accel);
	if (rc)
		return rc;
	accel->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (accel->wake_fd < 0) {
		rc = errno == ENFILE ? -EMFILE : -errno;
		buffers_unmap(accel);
		return rc;
	}
	pthread_mutex_init(&accel->gate, NULL);
	pthread_mutex_init(&accel->lock, NULL);
	CDS_INIT_LIST_HEAD(&accel->turns);
	CDS_INIT_LIST_HEAD(&accel->functions);
	CDS_INIT_LIST_HEAD(&accel->embedded);
	return 0;
}

int uiommu_accel_create(struct uiommu_context *context, uint32_t device_id, struct uiommu_accel **out)
{
	struct uiommu_device *device = uiommu_device_get(context, device_id);
	struct uiommu_accel *accel;
	int rc;

	if (!device)
		return -ENOENT;
	accel = calloc(1, sizeof(*accel));
	rc = accel ? accel_init(accel) : -ENOMEM;
	if (rc) {
		free(accel);
		uiommu_device_put(device);
		return rc;
	}
	accel->context = context;
	tenant_init(&accel->own, accel, device);
	*out = accel;
	return 0;
}

void uiommu_accel_destroy(struct uiommu_accel *accel)
{
	/* In a fork child the thread, the rings and the device's users are the parent's. */
	if (!accel || !fork_is_owner(accel->owner))
		return;
	accel_stop(accel);
	queue_destroy_all(accel);
	detach_all(&accel->own.queues);
	uiommu_device_put(accel->own.device);
	pthread_mutex_destroy(&accel->gate);
	pthread_mutex_destroy(&accel->lock);
	close(accel->wake_fd);
	buffers_unmap(accel);
	free(accel->handles);
	free(accel);
}
