/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Tasks that wait for a page. They hold no translation and are on no list: only the DMA layer knows them, and calls page_answered()
 * once for each, from any thread, perhaps after their queue has ended. So each holds a reference to the memory of its queue.
 *
 * A function may have so many page requests without a response as its guest has allocated, and each of its queues has a share of
 * them, so that a process whose pages do not come keeps no other from its own. Tasks that cannot ask now are starved: they try
 * their access again when a response has come.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <uiommu/fault.h>
#include <uiommu/pci.h>
#include <unistd.h>

#include "devices/accel/task.h"

struct credits *credits_make(int wake_fd)
{
	struct credits *credits = calloc(1, sizeof(*credits));

	if (!credits)
		return NULL;
	credits->references = 1;
	credits->wake_fd = fcntl(wake_fd, F_DUPFD_CLOEXEC, 0);
	if (credits->wake_fd < 0) {
		free(credits);
		return NULL;
	}
	return credits;
}

struct credits *credits_get(struct credits *credits)
{
	__atomic_fetch_add(&credits->references, 1, __ATOMIC_RELAXED);
	return credits;
}

void credits_put(struct credits *credits)
{
	if (!credits || __atomic_sub_fetch(&credits->references, 1, __ATOMIC_ACQ_REL))
		return;
	close(credits->wake_fd);
	free(credits);
}

uint32_t credits_left(const struct engine_queue *queue)
{
	uint32_t allocation = __atomic_load_n(&queue->tenant->allocation, __ATOMIC_RELAXED);
	uint32_t used = __atomic_load_n(&queue->credits->used, __ATOMIC_RELAXED);
	uint32_t own = __atomic_load_n(&queue->asked, __ATOMIC_RELAXED);

	/* Nobody may ask: whoever wants to is told so. */
	if (!allocation)
		return UINT32_MAX;
	if (used >= allocation || own >= queue->tenant->share)
		return 0;
	return (uint32_t)min_u64(allocation - used, queue->tenant->share - own);
}

static void credit_take(struct task *task)
{
	task->asks = true;
	__atomic_add_fetch(&task->queue->credits->used, 1, __ATOMIC_RELAXED);
	__atomic_add_fetch(&task->queue->asked, 1, __ATOMIC_RELAXED);
}

static void credit_return(struct task *task)
{
	if (task->asks) {
		__atomic_sub_fetch(&task->queue->credits->used, 1, __ATOMIC_RELAXED);
		__atomic_sub_fetch(&task->queue->asked, 1, __ATOMIC_RELEASE);
	}
	task->asks = false;
}

static void page_answered(void *opaque, unsigned int response)
{
	struct task *task = opaque;
	struct engine_queue *queue = task->queue;
	bool asked = task->asks;

	pthread_mutex_lock(&queue->park_lock);
	credit_return(task);
	if (queue->alive) {
		task->refused = response != UIOMMU_RESPONSE_SUCCESS;
		/* The last response that there is (PCIe 6.0, 10.4.2.2). */
		if (asked && response == UIOMMU_RESPONSE_FAILURE) {
			__atomic_store_n(&queue->tenant->allocation, 0, __ATOMIC_RELAXED);
			uiommu_pci_response_failed(queue->tenant->pci);
		}
		/* Somebody may be waiting for the last one (engine_queue_asks()). */
		if (asked)
			__atomic_store_n(&queue->tenant->kicked, true, __ATOMIC_RELEASE);
		task->next = queue->ready;
		__atomic_store_n(&queue->ready, task, __ATOMIC_RELAXED);
		/* Dekker with accel_arm(): ready before the look at asleep. */
		__atomic_thread_fence(__ATOMIC_SEQ_CST);
		if (__atomic_load_n(&queue->accel->asleep, __ATOMIC_RELAXED))
			event_signal(queue->accel->wake_fd);
	} else if (asked) {
		event_signal(queue->credits->wake_fd); /* others may be waiting for its turn to ask */
	}
	pthread_mutex_unlock(&queue->park_lock);
	engine_queue_put(queue);
}

/* It tries again in its queue's next turn. */
static void task_resume(struct task *task)
{
	struct engine_queue *queue = task->queue;

	if (unlikely(task == queue->fetch.task))
		fetch_answered(queue);
	else
		task_push(&queue->active, task);
}

static bool request(struct task *task, const struct uiommu_fault *fault)
{
	struct engine_queue *queue = task->queue;
	int error;

	pthread_mutex_lock(&queue->park_lock);
	queue->references++;
	pthread_mutex_unlock(&queue->park_lock);
	error = uiommu_dma_page_request(queue->tenant->device, fault, page_answered, task);
	if (!error)
		return true;
	credit_return(task);
	engine_queue_put(queue);
	if (error != -EAGAIN)
		return false;
	task_resume(task); /* it is there now */
	return true;
}

bool task_park(struct task *task, const struct uiommu_fault *fault)
{
	if (!(fault->flags & UIOMMU_FAULT_RECOVERABLE))
		return false;
	if (unlikely(task->queue->credits) && fault->reason != UIOMMU_FAULT_ABSENT) {
		if (!__atomic_load_n(&task->queue->tenant->allocation, __ATOMIC_RELAXED))
			return false;
		if (!credits_left(task->queue)) {
			task_push(&task->queue->starved, task);
			return true;
		}
		credit_take(task);
	}
	return request(task, fault);
}

void park_collect(struct engine_queue *queue)
{
	struct task *task, *next;

	pthread_mutex_lock(&queue->park_lock);
	task = queue->ready;
	__atomic_store_n(&queue->ready, NULL, __ATOMIC_RELAXED);
	pthread_mutex_unlock(&queue->park_lock);
	for (; task; task = next) {
		next = task->next;
		task_resume(task);
	}
	for (uint32_t left = queue->starved.first ? credits_left(queue) : 0; left && queue->starved.first; left--)
		task_resume(task_pop(&queue->starved));
}
