/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Accesses that wait for pages. While one waits there is nothing of it but the task, which is its owner's, and the page request
 * that names it.
 */
#include <errno.h>
#include <string.h>
#include <uiommu/dma.h>
#include <uiommu/fault.h>

enum { ANSWERED = 0x200 }; /* beside the response */

static void answered(void *opaque, unsigned int response)
{
	struct uiommu_dma_task *task = opaque;

	task->response = ANSWERED | response;
	task->ready(task);
}

/* It reads zeroes and is not written. */
static int terminate(struct uiommu_dma_task *task)
{
	if (task->access == UIOMMU_READ)
		memset((uint8_t *)task->op.buffer + task->done, 0, task->op.length - task->done);
	task->done = task->op.length;
	task->op.result = (struct uiommu_dma_result){.done = task->op.length};
	return 0;
}

/* What is left of it. 0, -EFAULT with the result, -EINVAL. */
static int try(struct uiommu_device *device, struct uiommu_dma_task *task)
{
	struct uiommu_dma_op rest = task->op;
	int error;

	rest.flags |= UIOMMU_DMA_RECOVERABLE;
	rest.address += task->done;
	rest.buffer = (uint8_t *)rest.buffer + task->done;
	rest.length -= task->done;
	error = task->access == UIOMMU_READ ? uiommu_dma_readv(device, &rest, 1) : uiommu_dma_writev(device, &rest, 1);
	if (error == -EINVAL)
		return error;
	task->done += rest.result.done;
	task->op.result = rest.result;
	task->op.result.done = task->done;
	return error;
}

int uiommu_dma_start(struct uiommu_device *device, struct uiommu_dma_task *task)
{
	uint32_t response = task->response;
	struct uiommu_fault fault;
	int error;

	if (task->access != UIOMMU_READ && task->access != UIOMMU_WRITE)
		return -EINVAL;
	task->response = 0;
	if (response == (ANSWERED | UIOMMU_RESPONSE_TERMINATE))
		return terminate(task);
	if (response & ANSWERED && response != (ANSWERED | UIOMMU_RESPONSE_SUCCESS))
		return -EFAULT;
	do {
		error = try(device, task);
		if (error != -EFAULT || !(task->op.result.fault.flags & UIOMMU_FAULT_RECOVERABLE))
			return error;
		fault = task->op.result.fault;
		task->op.result.fault.flags &= (uint16_t)~UIOMMU_FAULT_RECOVERABLE;
		/* Nothing of the task is looked at after 0: it may have been answered, and have ended. */
		error = uiommu_dma_page_request(device, &fault, answered, task);
	} while (error == -EAGAIN);
	return error ? -EFAULT : -EINPROGRESS;
}
