/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Tasks that wait for a page. They hold no translation and are on no list: only the DMA layer knows them, and calls page_answered()
 * once for each, from any thread, perhaps after their queue has ended. So each holds a reference to the memory of its queue.
 */
#include <errno.h>
#include <uiommu/fault.h>

#include "devices/accel/task.h"

static void page_answered(void *opaque, unsigned int response)
{
	struct task *task = opaque;
	struct engine_queue *queue = task->queue;

	pthread_mutex_lock(&queue->park_lock);
	if (queue->alive) {
		task->refused = response != UIOMMU_RESPONSE_SUCCESS;
		task->next = queue->ready;
		__atomic_store_n(&queue->ready, task, __ATOMIC_RELAXED);
		/* Dekker with accel_arm(): ready before the look at asleep. */
		__atomic_thread_fence(__ATOMIC_SEQ_CST);
		if (__atomic_load_n(&queue->accel->asleep, __ATOMIC_RELAXED))
			event_signal(queue->accel->wake_fd);
	}
	pthread_mutex_unlock(&queue->park_lock);
	engine_queue_put(queue);
}

bool task_park(struct uiommu_accel *accel, struct task *task, const struct uiommu_fault *fault)
{
	struct engine_queue *queue = task->queue;
	int error;

	if (!(fault->flags & UIOMMU_FAULT_RECOVERABLE))
		return false;
	pthread_mutex_lock(&queue->park_lock);
	queue->references++;
	pthread_mutex_unlock(&queue->park_lock);
	error = uiommu_dma_page_request(accel->device, fault, page_answered, task);
	if (!error)
		return true;
	engine_queue_put(queue);
	if (error != -EAGAIN)
		return false;
	task_push(&queue->active, task); /* it is there now */
	return true;
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
		task_push(&queue->active, task);
	}
}
