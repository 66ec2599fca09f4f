/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A page request from the access that needs the page, through the fault queue's descriptor, to another thread, and back: beside a
 * ping-pong of two eventfds between the same two threads.
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <uiommu/uiommu.h>
#include <unistd.h>

#include "harness.h"
#include "support/support.h"

enum { ROUNDS = 5000, WARM_UP = 200, REPEATS = 15, DEVICE_CPU = 0, ANSWER_CPU = 1, IOVA = 0x10000 };

struct bench {
	struct uiommu_context *context;
	struct uiommu_device *device;
	uint32_t queue;
	int queue_fd;
	int ping, pong; /* eventfds */
};

static void tell(int fd)
{
	uint64_t one = 1;

	support_check(write(fd, &one, sizeof(one)) == sizeof(one));
}

static void wait_for(int fd)
{
	uint64_t counter;

	support_check(read(fd, &counter, sizeof(counter)) == sizeof(counter));
}

static void ready(struct uiommu_dma_task *task)
{
	tell((int)(intptr_t)task->op.buffer);
}

/* Success each time: the device asks again. After the last one the page is refused. */
static void *answer_requests(void *opaque)
{
	struct bench *bench = opaque;
	struct pollfd poll_fd = {.fd = bench->queue_fd, .events = POLLIN};
	struct uiommu_fault_event event;

	bench_pin(0, ANSWER_CPU);
	for (unsigned int i = 0; i < ROUNDS + WARM_UP; i++) {
		unsigned int response = i + 1 < ROUNDS + WARM_UP ? UIOMMU_RESPONSE_SUCCESS : UIOMMU_RESPONSE_INVALID;

		support_check(poll(&poll_fd, 1, -1) == 1);
		support_check(uiommu_fault_read(bench->context, bench->queue, &event, 1) == 1);
		support_check(!uiommu_fault_respond(bench->context, bench->queue, event.cookie, response));
	}
	return NULL;
}

static void *answer_pings(void *opaque)
{
	struct bench *bench = opaque;

	bench_pin(0, ANSWER_CPU);
	for (unsigned int i = 0; i < ROUNDS + WARM_UP; i++) {
		wait_for(bench->ping);
		tell(bench->pong);
	}
	return NULL;
}

static double requests(void *opaque)
{
	struct bench *bench = opaque;
	struct uiommu_dma_task task = {
		.op = {.address = IOVA, .buffer = (void *)(intptr_t)bench->pong, .length = 8, .pasid = UIOMMU_NO_PASID},
		.access = UIOMMU_WRITE,
		.ready = ready,
	};
	pthread_t thread;
	double start = 0;

	support_check(!pthread_create(&thread, NULL, answer_requests, bench));
	for (unsigned int i = 0; i < ROUNDS + WARM_UP; i++) {
		if (i == WARM_UP)
			start = bench_now_ns();
		support_check(uiommu_dma_start(bench->device, &task) == -EINPROGRESS);
		wait_for(bench->pong);
	}
	start = (bench_now_ns() - start) / ROUNDS;
	support_check(uiommu_dma_start(bench->device, &task) == -EFAULT);
	pthread_join(thread, NULL);
	return start;
}

static double pings(void *opaque)
{
	struct bench *bench = opaque;
	pthread_t thread;
	double start = 0;

	support_check(!pthread_create(&thread, NULL, answer_pings, bench));
	for (unsigned int i = 0; i < ROUNDS + WARM_UP; i++) {
		if (i == WARM_UP)
			start = bench_now_ns();
		tell(bench->ping);
		wait_for(bench->pong);
	}
	start = (bench_now_ns() - start) / ROUNDS;
	pthread_join(thread, NULL);
	return start;
}

int main(void)
{
	const struct uiommu_device_config config = {.size = sizeof(config), .name = "asks"};
	struct uiommu_hwpt_alloc alloc = {.size = sizeof(alloc), .flags = UIOMMU_HWPT_FAULT};
	static struct bench bench;
	struct bench_pair pair;
	uint32_t device, hwpt;

	support_check(!uiommu_open(NULL, &bench.context));
	support_check(!uiommu_device_alloc(bench.context, &config, &device));
	support_check(!uiommu_ioas_alloc(bench.context, &alloc.parent_id));
	support_check(!uiommu_fault_queue_alloc(bench.context, 64, &bench.queue));
	alloc.fault_queue_id = bench.queue;
	support_check(!uiommu_hwpt_alloc(bench.context, &alloc, &hwpt));
	support_check(!uiommu_attach(bench.context, device, UIOMMU_NO_PASID, hwpt));
	bench.device = uiommu_device_get(bench.context, device);
	bench.queue_fd = uiommu_fault_queue_fd(bench.context, bench.queue);
	bench.ping = eventfd(0, EFD_CLOEXEC);
	bench.pong = eventfd(0, EFD_CLOEXEC);
	bench_pin(0, DEVICE_CPU);

	pair = bench_measure_pair(requests, pings, &bench, REPEATS);
	bench_report_pair("page_request_roundtrip", "ns", &pair, 1.5, "asked, read from the queue, answered, asked again");

	uiommu_device_put(bench.device);
	uiommu_close(bench.context);
	return 0;
}
