/* SPDX-License-Identifier: BSD-3-Clause */
/* Accesses that are parked until there is a page; and a fault queue as iommufd's descriptor has it. */
#include "page_requests.h"

/* --- accesses that are parked --- */

static unsigned int ready_count;

static void ready(struct uiommu_dma_task *task)
{
	(void)task;
	ready_count++;
}

static struct uiommu_dma_task task_of(uint64_t address, void *buffer, size_t length, unsigned int access)
{
	ready_count = 0;
	return (struct uiommu_dma_task){
		.op = {.address = address, .buffer = buffer, .length = length, .pasid = PASID}, .access = access, .ready = ready};
}

static void a_parked_access(void **state)
{
	struct uiommu_fault_event event;
	uint8_t bytes[2 * PAGE];
	struct uiommu_dma_task task = task_of(VA, bytes, sizeof(bytes), 7);
	uint64_t page;

	(void)state;
	attach();
	assert_int_equal(uiommu_dma_start(g.device, &task), -EINVAL);
	task.access = UIOMMU_READ;
	task.op.flags = 1 << 20;
	assert_int_equal(uiommu_dma_start(g.device, &task), -EINVAL);
	task.op.flags = 0;
	/* Page by page. */
	for (unsigned int i = 0; i < 2; i++) {
		assert_int_equal(uiommu_dma_start(g.device, &task), -EINPROGRESS);
		assert_int_equal(uiommu_fault_read(g.context, g.queue, &event, 1), 1);
		assert_int_equal(event.fault.address, VA + i * PAGE);
		assert_int_equal(event.fault.reason, UIOMMU_FAULT_UNMAPPED);
		assert_int_equal(event.flags, 0);
		page = page_new();
		memset(at(page), 0x41 + (int)i, PAGE);
		*leaf_of(root, VA + i * PAGE, FIRST_TABLE) = page | FIRST_PAGE;
		assert_int_equal(ready_count, i);
		assert_int_equal(respond(event.cookie, UIOMMU_RESPONSE_SUCCESS), 0);
		assert_int_equal(ready_count, i + 1);
	}
	assert_int_equal(uiommu_dma_start(g.device, &task), 0);
	assert_int_equal(task.op.result.done, sizeof(bytes));
	assert_int_equal(bytes[0], 0x41);
	assert_int_equal(bytes[2 * PAGE - 1], 0x42);
	/* Refused: no event besides. */
	task = task_of(VA + 2 * PAGE - 4, bytes, 8, UIOMMU_WRITE);
	assert_int_equal(uiommu_dma_start(g.device, &task), -EINPROGRESS);
	assert_int_equal(uiommu_fault_read(g.context, g.queue, &event, 1), 1);
	assert_int_equal(respond(event.cookie, UIOMMU_RESPONSE_TERMINATE), -EINVAL);
	assert_int_equal(respond(event.cookie, UIOMMU_RESPONSE_INVALID), 0);
	assert_int_equal(ready_count, 1);
	assert_int_equal(uiommu_dma_start(g.device, &task), -EFAULT);
	assert_int_equal(task.op.result.done, 4);
	assert_int_equal(task.op.result.fault.address, VA + 2 * PAGE);
	assert_int_equal(task.op.result.fault.flags & UIOMMU_FAULT_RECOVERABLE, 0);
	assert_int_equal(uiommu_fault_read(g.context, g.queue, &event, 1), 0);
}

/* As SMMUv3 does it: a tag, and an end without an error. */
static void an_access_that_stalls(void **state)
{
	struct uiommu_hwpt_nested config = {
		.size = sizeof(config), .flags = UIOMMU_HWPT_PASID | UIOMMU_HWPT_STALL, .parent_id = g.parent};
	struct uiommu_fault_event event;
	uint64_t value = 7;
	struct uiommu_dma_task task = task_of(VA, &value, 8, UIOMMU_READ);
	uint32_t id;

	(void)state;
	config.first = first_stage(page_new());
	assert_int_equal(uiommu_hwpt_alloc_nested(g.context, &config, &id), -EOPNOTSUPP);
	config.flags |= UIOMMU_HWPT_FAULT;
	config.fault_queue_id = g.queue;
	assert_int_equal(uiommu_hwpt_alloc_nested(g.context, &config, &id), 0);
	assert_int_equal(uiommu_attach(g.context, g.device_id, PASID, id), 0);
	assert_int_equal(uiommu_dma_start(g.device, &task), -EINPROGRESS);
	assert_int_equal(uiommu_fault_read(g.context, g.queue, &event, 1), 1);
	assert_int_equal(event.flags, UIOMMU_FAULT_EVENT_STALL);
	assert_int_equal(respond(event.cookie, UIOMMU_RESPONSE_TERMINATE), 0);
	assert_int_equal(uiommu_dma_start(g.device, &task), 0);
	assert_int_equal(task.op.result.done, 8);
	assert_int_equal(value, 0);
	value = 7;
	task = task_of(VA, &value, 8, UIOMMU_WRITE);
	assert_int_equal(uiommu_dma_start(g.device, &task), -EINPROGRESS);
	assert_int_equal(uiommu_fault_read(g.context, g.queue, &event, 1), 1);
	assert_int_equal(respond(event.cookie, UIOMMU_RESPONSE_TERMINATE), 0);
	assert_int_equal(uiommu_dma_start(g.device, &task), 0);
	assert_int_equal(value, 7);
	/* Retry, and abort. */
	task = task_of(VA, &value, 8, UIOMMU_READ);
	assert_int_equal(uiommu_dma_start(g.device, &task), -EINPROGRESS);
	assert_int_equal(uiommu_fault_read(g.context, g.queue, &event, 1), 1);
	assert_int_equal(respond(event.cookie, UIOMMU_RESPONSE_SUCCESS), 0);
	assert_int_equal(uiommu_dma_start(g.device, &task), -EINPROGRESS);
	assert_int_equal(uiommu_fault_read(g.context, g.queue, &event, 1), 1);
	assert_int_equal(respond(event.cookie, UIOMMU_RESPONSE_FAILURE), 0);
	assert_int_equal(uiommu_dma_start(g.device, &task), -EFAULT);
}

/* What waits for a page holds nothing: whoever takes something away does not wait for it, and the response may come after that. */
static void nobody_waits_for_a_page(void **state)
{
	struct uiommu_invalidation all = {.last = UINT64_MAX};
	uint64_t value = 0, page = 0;
	struct uiommu_dma_task task = task_of(VA, &value, 8, UIOMMU_READ);
	struct uiommu_fault_event event;

	(void)state;
	attach();
	assert_int_equal(uiommu_dma_start(g.device, &task), -EINPROGRESS);
	assert_int_equal(uiommu_hwpt_invalidate(g.context, nested, &all, 1), 0);
	assert_int_equal(uiommu_hwpt_invalidate(g.context, g.parent, &all, 1), 0);
	assert_int_equal(uiommu_detach(g.context, g.device_id, PASID + 1), 0);
	assert_int_equal(uiommu_ioas_unmap(g.context, g.ioas, HIGH_START, RAM_BYTES - LOW_BYTES, NULL), 0);
	map_ram(HIGH_START, LOW_BYTES, RAM_BYTES - LOW_BYTES);
	assert_int_equal(ready_count, 0);
	page = page_new();
	*entry_at(page) = 4711;
	*leaf_of(root, VA, FIRST_TABLE) = page | FIRST_PAGE;
	assert_int_equal(uiommu_fault_read(g.context, g.queue, &event, 1), 1);
	assert_int_equal(respond(event.cookie, UIOMMU_RESPONSE_SUCCESS), 0);
	assert_int_equal(ready_count, 1);
	assert_int_equal(uiommu_dma_start(g.device, &task), 0);
	assert_int_equal(value, 4711);
	/* The end of its own attachment answers. */
	task = task_of(VA + PAGE, &value, 8, UIOMMU_READ);
	assert_int_equal(uiommu_dma_start(g.device, &task), -EINPROGRESS);
	assert_int_equal(uiommu_detach(g.context, g.device_id, PASID), 0);
	assert_int_equal(ready_count, 1);
	assert_int_equal(uiommu_dma_start(g.device, &task), -EFAULT);
}

/* --- iommufd's descriptor --- */

static ssize_t pgread(void *buffer, size_t size)
{
	return uiommu_pgfault_read(g.context, g.queue, buffer, size);
}

static ssize_t pgwrite(const void *buffer, size_t size)
{
	return uiommu_pgfault_write(g.context, g.queue, buffer, size);
}

static void as_iommufd_has_it(void **state)
{
	struct uiommu_pgresponse responses[3] = {{.code = 0}};
	struct uiommu_pgfault records[4];
	uint64_t value;

	(void)state;
	attach();
	assert_int_equal(enable(0), 0);
	/* Events are not told here. */
	assert_int_equal(uiommu_dma_read(g.device, PASID, VA, &value, 8, NULL), -EFAULT);
	assert_int_equal(pgread(records, sizeof(records)), -EINVAL);
	limit(UIOMMU_FAULT_REQUESTS_ONLY, 0, 0);
	assert_int_equal(read_all((struct uiommu_fault_event[1]){0}, 1), 1);
	assert_int_equal(uiommu_dma_read(g.device, PASID, VA, &value, 8, NULL), -EFAULT);
	assert_int_equal(pgread(records, sizeof(records)), 0);
	assert_int_equal(request(PASID, 3, VA, 0), 0);
	assert_int_equal(request(PASID, 3, VA + PAGE, UIOMMU_PAGE_LAST | UIOMMU_PAGE_PRIVILEGED), 0);
	assert_int_equal(request(PASID, 4, VA, UIOMMU_PAGE_LAST), 0);
	assert_true(readable());
	assert_int_equal(pgread(records, 41), -ESPIPE);
	assert_int_equal(pgread(records, 40), -EINVAL);
	assert_int_equal(pgread(records, 80), 80);
	assert_int_equal(records[0].flags, 1);
	assert_int_equal(records[1].flags, 3);
	assert_int_equal(records[0].dev_id, g.device_id);
	assert_int_equal(records[0].pasid, PASID);
	assert_int_equal(records[0].grpid, 3);
	assert_int_equal(records[0].perm, 3);
	assert_int_equal(records[1].perm, 11);
	assert_int_equal(records[1].addr, VA + PAGE);
	assert_int_equal(records[1].length, 0);
	assert_int_equal(records[0].cookie, 1);
	assert_int_equal(records[1].cookie, 1);
	assert_int_equal(pgread(records, sizeof(records)), 40);
	assert_int_equal(records[0].cookie, 2);
	assert_false(readable());
	assert_int_equal(pgread(records, sizeof(records)), 0);
	assert_int_equal(pgwrite(responses, 7), -ESPIPE);
	assert_int_equal(pgwrite(responses, 0), 0);
	responses[0] = (struct uiommu_pgresponse){.cookie = 1, .code = 2};
	assert_int_equal(pgwrite(responses, 8), -EINVAL);
	responses[0] = (struct uiommu_pgresponse){.cookie = 2, .code = 1};
	responses[1] = (struct uiommu_pgresponse){.cookie = 9};
	responses[2] = (struct uiommu_pgresponse){.cookie = 1};
	assert_int_equal(pgwrite(responses, 24), 8);
	check_told(1, 4, UIOMMU_RESPONSE_INVALID);
	assert_int_equal(pgwrite(responses + 1, 16), -EINVAL);
	assert_int_equal(pgwrite(responses + 2, 8), 8);
	check_told(2, 3, UIOMMU_RESPONSE_SUCCESS);
	/* Detaching answers. */
	assert_int_equal(last(PASID, 3), 0);
	assert_int_equal(uiommu_detach(g.context, g.device_id, PASID), 0);
	assert_int_equal(pgread(records, sizeof(records)), 0);
	assert_int_equal(uiommu_pgfault_read(g.context, 999, records, 40), -ENOENT);
	assert_int_equal(uiommu_pgfault_write(g.context, 999, responses, 8), -ENOENT);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(a_parked_access),
		TEST(an_access_that_stalls),
		TEST(nobody_waits_for_a_page),
		TEST(as_iommufd_has_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
