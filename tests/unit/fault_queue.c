/* SPDX-License-Identifier: BSD-3-Clause */
#include "test.h"

#include <poll.h>
#include <uiommu/bind.h>
#include <uiommu/dma.h>
#include <uiommu/fault.h>

enum { IOVA = 0x10000, DEPTH = 3 };

struct world {
	struct uiommu_context *context;
	struct uiommu_device *device;
	uint32_t device_id, ioas_id, queue_id, hwpt_id;
};

static int set_up(void **state)
{
	static struct world world;
	struct uiommu_device_config config = {.size = sizeof(config), .name = "dev0", .pasid_bits = 20};
	struct uiommu_hwpt_alloc alloc = {.size = sizeof(alloc), .flags = UIOMMU_HWPT_FAULT | UIOMMU_HWPT_PASID};

	assert_int_equal(uiommu_open(NULL, &world.context), 0);
	assert_int_equal(uiommu_device_alloc(world.context, &config, &world.device_id), 0);
	assert_int_equal(uiommu_ioas_alloc(world.context, &world.ioas_id), 0);
	assert_int_equal(uiommu_fault_queue_alloc(world.context, DEPTH, &world.queue_id), 0);
	alloc.parent_id = world.ioas_id;
	alloc.fault_queue_id = world.queue_id;
	assert_int_equal(uiommu_hwpt_alloc(world.context, &alloc, &world.hwpt_id), 0);
	assert_int_equal(uiommu_attach(world.context, world.device_id, 7, world.hwpt_id), 0);
	world.device = uiommu_device_get(world.context, world.device_id);
	*state = &world;
	return 0;
}

static int tear_down(void **state)
{
	struct world *world = *state;

	uiommu_device_put(world->device);
	return uiommu_close(world->context);
}

static bool readable(const struct world *world)
{
	struct pollfd poll_fd = {.fd = uiommu_fault_queue_fd(world->context, world->queue_id), .events = POLLIN};

	assert_true(poll_fd.fd >= 0);
	return poll(&poll_fd, 1, 0) == 1;
}

static void fail_at(const struct world *world, uint64_t address, struct uiommu_dma_result *result)
{
	uint8_t byte;

	assert_int_equal(uiommu_dma_read(world->device, 7, address, &byte, 1, result), -EFAULT);
	assert_int_equal(result->fault.reason, UIOMMU_FAULT_UNMAPPED);
}

static void events_in_order_and_lost_ones_counted(void **state)
{
	struct world *world = *state;
	struct uiommu_fault_event events[DEPTH + 1];
	struct uiommu_dma_result result;

	assert_false(readable(world));
	assert_int_equal(uiommu_fault_read(world->context, world->queue_id, events, DEPTH), 0);
	for (uint64_t i = 0; i < DEPTH + 2; i++)
		fail_at(world, IOVA + i, &result);
	assert_true(readable(world));
	assert_int_equal(uiommu_fault_read(world->context, world->queue_id, events, 1), 1);
	assert_true(readable(world));
	assert_int_equal(uiommu_fault_read(world->context, world->queue_id, events + 1, DEPTH), DEPTH - 1);
	assert_false(readable(world));
	for (uint64_t i = 0; i < DEPTH; i++) {
		assert_int_equal(events[i].fault.address, IOVA + i);
		assert_int_equal(events[i].fault.pasid, 7);
		assert_int_equal(events[i].fault.device_id, world->device_id);
		assert_int_equal(events[i].fault.access, UIOMMU_READ);
		assert_int_equal(events[i].fault.stage, 2);
		assert_int_equal(events[i].cookie, 0);
		assert_int_equal(events[i].lost, 0);
	}
	fail_at(world, IOVA, &result);
	assert_int_equal(uiommu_fault_read(world->context, world->queue_id, events, DEPTH), 1);
	assert_int_equal(events[0].lost, 2);
}

struct answer {
	unsigned int calls;
	unsigned int response;
	int error; /* what uiommu_detach() says inside of the callback */
	struct world *world;
};

static void answered(void *opaque, unsigned int response)
{
	struct answer *answer = opaque;

	answer->calls++;
	answer->response = response;
	answer->error = uiommu_detach(answer->world->context, answer->world->device_id, 7);
}

static void page_requests_are_answered_once(void **state)
{
	struct world *world = *state;
	struct answer answer = {.world = world};
	struct uiommu_fault_event event;
	struct uiommu_dma_result result;

	fail_at(world, IOVA, &result);
	assert_int_equal(uiommu_fault_read(world->context, world->queue_id, &event, 1), 1);
	assert_int_equal(uiommu_dma_page_request(world->device, &result.fault, answered, &answer), 0);
	assert_int_equal(answer.calls, 0);
	assert_int_equal(uiommu_fault_read(world->context, world->queue_id, &event, 1), 1);
	assert_int_not_equal(event.cookie, 0);
	assert_int_equal(event.fault.address, IOVA);
	assert_int_equal(uiommu_fault_respond(world->context, world->queue_id, event.cookie + 1, UIOMMU_RESPONSE_SUCCESS), -EINVAL);
	assert_int_equal(uiommu_fault_respond(world->context, world->queue_id, event.cookie, UIOMMU_RESPONSE_FAILURE + 1), -EINVAL);
	assert_int_equal(uiommu_fault_respond(world->context, world->queue_id, 0, UIOMMU_RESPONSE_SUCCESS), -EINVAL);
	assert_int_equal(uiommu_fault_respond(world->context, world->device_id, event.cookie, UIOMMU_RESPONSE_SUCCESS), -ENOENT);
	assert_int_equal(answer.calls, 0);
	assert_int_equal(uiommu_fault_respond(world->context, world->queue_id, event.cookie, UIOMMU_RESPONSE_FAILURE), 0);
	assert_int_equal(answer.calls, 1);
	assert_int_equal(answer.response, UIOMMU_RESPONSE_FAILURE);
	assert_int_equal(answer.error, -EDEADLK);
	assert_int_equal(uiommu_fault_respond(world->context, world->queue_id, event.cookie, UIOMMU_RESPONSE_SUCCESS), -EINVAL);
}

static void a_full_queue_refuses_requests(void **state)
{
	struct world *world = *state;
	struct answer answer = {.world = world};
	struct uiommu_dma_result result;

	for (uint64_t i = 0; i < DEPTH; i++)
		fail_at(world, IOVA, &result);
	assert_int_equal(uiommu_dma_page_request(world->device, &result.fault, answered, &answer), -ENOBUFS);
	assert_int_equal(answer.calls, 0);
}

static void the_end_of_the_attachment_answers(void **state)
{
	struct world *world = *state;
	struct answer read = {.world = world}, unread = {.world = world};
	struct uiommu_fault_event event;
	struct uiommu_dma_result result;

	fail_at(world, IOVA, &result);
	assert_int_equal(uiommu_fault_read(world->context, world->queue_id, &event, 1), 1);
	assert_int_equal(uiommu_dma_page_request(world->device, &result.fault, answered, &read), 0);
	assert_int_equal(uiommu_fault_read(world->context, world->queue_id, &event, 1), 1);
	assert_int_equal(uiommu_dma_page_request(world->device, &result.fault, answered, &unread), 0);
	assert_true(readable(world));
	assert_int_equal(uiommu_detach(world->context, world->device_id, 7), 0);
	assert_int_equal(read.calls, 1);
	assert_int_equal(read.response, UIOMMU_RESPONSE_INVALID);
	assert_int_equal(unread.calls, 1);
	assert_int_equal(unread.response, UIOMMU_RESPONSE_INVALID);
	assert_false(readable(world));
	assert_int_equal(uiommu_fault_respond(world->context, world->queue_id, event.cookie, UIOMMU_RESPONSE_SUCCESS), -EINVAL);
	/* Nothing is attached: there is nobody to ask, and the record goes to the log. */
	assert_int_equal(uiommu_dma_page_request(world->device, &result.fault, answered, &read), -ENOENT);
}

/* A device that can wait for a page makes no event of what it then asks for. */
static void recoverable_faults_are_asked_for(void **state)
{
	struct world *world = *state;
	static struct answer answer; /* asked when the world ends, too */
	struct uiommu_dma_place place = {.address = IOVA, .pasid = 7, .flags = UIOMMU_DMA_RECOVERABLE};
	struct uiommu_dma_atomic atomic = {.address = IOVA, .pasid = 7, .length = 8, .flags = UIOMMU_DMA_RECOVERABLE};
	struct uiommu_fault_event event;
	struct uiommu_dma_result result;
	uint8_t byte = 0;
	struct uiommu_dma_op op = {.address = IOVA, .buffer = &byte, .length = 1, .pasid = 7, .flags = UIOMMU_DMA_RECOVERABLE};

	answer.world = world;
	assert_int_equal(uiommu_dma_readv(world->device, &op, 1), -EFAULT);
	assert_int_equal(op.result.fault.flags, UIOMMU_FAULT_RECOVERABLE);
	assert_int_equal(uiommu_dma_writev(world->device, &op, 1), -EFAULT);
	assert_int_equal(uiommu_dma_copy(world->device, &place, &place, 8, &result), -EFAULT);
	assert_int_equal(result.fault.flags, UIOMMU_FAULT_RECOVERABLE);
	assert_int_equal(uiommu_dma_atomic(world->device, &atomic, &result), -EFAULT);
	assert_int_equal(result.fault.flags, UIOMMU_FAULT_RECOVERABLE);
	assert_int_equal(uiommu_fault_read(world->context, world->queue_id, &event, 1), 0);
	assert_int_equal(uiommu_dma_page_request(world->device, &op.result.fault, answered, &answer), 0);
	assert_int_equal(uiommu_fault_read(world->context, world->queue_id, &event, 1), 1);
	assert_int_not_equal(event.cookie, 0);
	assert_int_equal(event.fault.flags, 0);
	assert_int_equal(uiommu_fault_respond(world->context, world->queue_id, event.cookie, UIOMMU_RESPONSE_SUCCESS), 0);
	/* Where nobody could answer, it is an event at once. */
	op.pasid = 8;
	assert_int_equal(uiommu_dma_readv(world->device, &op, 1), -EFAULT);
	assert_int_equal(op.result.fault.flags, 0);
}

static void unknown_flags(void **state)
{
	struct world *world = *state;
	struct uiommu_dma_place good = {.address = IOVA, .pasid = 7}, bad = {.address = IOVA, .pasid = 7, .flags = 1 << 30};
	struct uiommu_dma_atomic atomic = {.address = IOVA, .pasid = 7, .length = 8, .flags = 1 << 30};
	struct uiommu_dma_op ops[2] = {{.address = IOVA, .pasid = 7}, {.address = IOVA, .pasid = 7, .flags = 1 << 30}};

	assert_int_equal(uiommu_dma_readv(world->device, ops, 2), -EINVAL);
	assert_int_equal(uiommu_dma_writev(world->device, ops, 2), -EINVAL);
	assert_int_equal(uiommu_dma_copy(world->device, &good, &bad, 8, NULL), -EINVAL);
	assert_int_equal(uiommu_dma_copy(world->device, &bad, &good, 8, NULL), -EINVAL);
	assert_int_equal(uiommu_dma_atomic(world->device, &atomic, NULL), -EINVAL);
}

/* One that could not be asked for is an event after all. */
static void no_room_for_the_request(void **state)
{
	struct world *world = *state;
	struct answer answer = {.world = world};
	struct uiommu_fault_event events[DEPTH];
	struct uiommu_dma_result result;
	uint8_t byte;
	struct uiommu_dma_op op = {.address = IOVA + 5, .buffer = &byte, .length = 1, .pasid = 7, .flags = UIOMMU_DMA_RECOVERABLE};

	assert_int_equal(uiommu_dma_readv(world->device, &op, 1), -EFAULT);
	for (uint64_t i = 0; i < DEPTH; i++)
		fail_at(world, IOVA, &result);
	assert_int_equal(uiommu_dma_page_request(world->device, &op.result.fault, answered, &answer), -ENOBUFS);
	assert_int_equal(uiommu_fault_read(world->context, world->queue_id, events, DEPTH), DEPTH);
	fail_at(world, IOVA, &result);
	assert_int_equal(uiommu_fault_read(world->context, world->queue_id, events, DEPTH), 1);
	assert_int_equal(events[0].lost, 1);
}

static void arguments_and_use(void **state)
{
	struct world *world = *state;
	uint32_t id;

	assert_int_equal(uiommu_fault_queue_alloc(world->context, 0, &id), -EINVAL);
	assert_int_equal(uiommu_fault_queue_alloc(world->context, 65537, &id), -EINVAL);
	assert_int_equal(uiommu_fault_queue_fd(world->context, 999), -ENOENT);
	assert_int_equal(uiommu_destroy(world->context, world->queue_id), -EBUSY);
	assert_int_equal(uiommu_detach(world->context, world->device_id, 7), 0);
	assert_int_equal(uiommu_destroy(world->context, world->queue_id), -EBUSY);
	assert_int_equal(uiommu_destroy(world->context, world->hwpt_id), 0);
	assert_int_equal(uiommu_destroy(world->context, world->queue_id), 0);
	assert_int_equal(uiommu_fault_queue_fd(world->context, world->queue_id), -ENOENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(events_in_order_and_lost_ones_counted, set_up, tear_down),
		cmocka_unit_test_setup_teardown(page_requests_are_answered_once, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_full_queue_refuses_requests, set_up, tear_down),
		cmocka_unit_test_setup_teardown(the_end_of_the_attachment_answers, set_up, tear_down),
		cmocka_unit_test_setup_teardown(recoverable_faults_are_asked_for, set_up, tear_down),
		cmocka_unit_test_setup_teardown(no_room_for_the_request, set_up, tear_down),
		cmocka_unit_test_setup_teardown(unknown_flags, set_up, tear_down),
		cmocka_unit_test_setup_teardown(arguments_and_use, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
