/* SPDX-License-Identifier: BSD-3-Clause */
/* Page requests of devices (PRI), and who answers them. */
#include "page_requests.h"

/* --- groups through the fault queue --- */

static void a_group(void **state)
{
	struct uiommu_fault_event events[4];

	(void)state;
	attach();
	assert_int_equal(last(PASID, 5), -EOPNOTSUPP);
	assert_int_equal(enable(0), 0);
	assert_int_equal(enable(0), -EBUSY);
	/* Nobody sees a group before it is whole. */
	assert_int_equal(request(PASID, 5, VA, 0), 0);
	assert_int_equal(request(PASID, 6, VA + 8 * PAGE, 0), 0);
	assert_int_equal(request(PASID, 5, VA + PAGE, UIOMMU_PAGE_PRIVILEGED), 0);
	assert_int_equal(read_all(events, 4), 0);
	assert_int_equal(request(PASID + 1, 5, VA, UIOMMU_PAGE_LAST), -EBUSY);
	assert_int_equal(request(PASID, 5, VA + 2 * PAGE, UIOMMU_PAGE_LAST), 0);
	assert_int_equal(last(PASID, 5), -EBUSY);
	assert_int_equal(read_all(events, 4), 3);
	for (unsigned int i = 0; i < 3; i++) {
		assert_int_equal(events[i].fault.address, VA + i * PAGE);
		assert_int_equal(events[i].fault.pasid, PASID);
		assert_int_equal(events[i].fault.device_id, g.device_id);
		assert_int_equal(events[i].fault.access, UIOMMU_READ | UIOMMU_WRITE);
		assert_int_equal(events[i].fault.reason, 0);
		assert_int_equal(events[i].cookie, events[0].cookie);
		assert_int_equal(events[i].group, 5);
		assert_int_equal(events[i].flags,
				 (i < 2 ? UIOMMU_FAULT_EVENT_MORE : 0) | (i == 1 ? UIOMMU_FAULT_EVENT_PRIVILEGED : 0));
	}
	assert_int_not_equal(events[0].cookie, 0);
	assert_int_equal(told.count, 0);
	assert_int_equal(respond(events[0].cookie, UIOMMU_RESPONSE_TERMINATE), -EINVAL);
	assert_int_equal(respond(events[0].cookie, UIOMMU_RESPONSE_SUCCESS), 0);
	check_told(1, 5, UIOMMU_RESPONSE_SUCCESS);
	assert_int_equal(respond(events[0].cookie, UIOMMU_RESPONSE_SUCCESS), -EINVAL);
	/* The index is free again, the other group goes on. */
	assert_int_equal(last(PASID, 5), 0);
	assert_int_equal(request(PASID, 6, VA, UIOMMU_PAGE_LAST), 0);
	assert_int_equal(read_all(events, 4), 3);
	assert_int_equal(respond(events[1].cookie, UIOMMU_RESPONSE_INVALID), 0);
	check_told(2, 6, UIOMMU_RESPONSE_INVALID);
}

static void bad_requests(void **state)
{
	struct uiommu_pri_config config = {.size = sizeof(config), .allocation = 1, .ops = &pri_ops};
	struct uiommu_page_request bad = {.address = VA, .pasid = PASID, .access = UIOMMU_READ};

	(void)state;
	attach();
	config.allocation = 0;
	assert_int_equal(uiommu_pri_enable(g.device, &config), -EINVAL);
	config.allocation = 65537;
	assert_int_equal(uiommu_pri_enable(g.device, &config), -EINVAL);
	config.allocation = 1;
	config.flags = 2;
	assert_int_equal(uiommu_pri_enable(g.device, &config), -EINVAL);
	config.flags = 0;
	config.ops = NULL;
	assert_int_equal(uiommu_pri_enable(g.device, &config), -EINVAL);
	assert_int_equal(uiommu_pri_stop(g.device, PASID), -EOPNOTSUPP);
	assert_int_equal(enable(0), 0);
	bad.address++;
	assert_int_equal(uiommu_pri_request(g.device, &bad), -EINVAL);
	bad.address--;
	bad.group = UIOMMU_PAGE_GROUPS;
	assert_int_equal(uiommu_pri_request(g.device, &bad), -EINVAL);
	bad.group = 0;
	bad.flags = 4;
	assert_int_equal(uiommu_pri_request(g.device, &bad), -EINVAL);
	bad.flags = 0;
	bad.access = 8;
	assert_int_equal(uiommu_pri_request(g.device, &bad), -EINVAL);
	bad.access = 0;
	bad.pasid = UIOMMU_PASID_LAST + 1;
	assert_int_equal(uiommu_pri_request(g.device, &bad), -EINVAL);
	assert_int_equal(uiommu_pri_stop(g.device, UIOMMU_PASID_LAST + 1), -EINVAL);
}

/* What cannot be asked is answered at once. */
static void answered_at_once(void **state)
{
	struct uiommu_hwpt_alloc alloc = {.size = sizeof(alloc), .flags = UIOMMU_HWPT_PASID, .parent_id = g.ioas};
	struct uiommu_fault_event events[16];
	uint32_t silent;

	(void)state;
	attach();
	assert_int_equal(uiommu_hwpt_alloc(g.context, &alloc, &silent), 0);
	assert_int_equal(uiommu_attach(g.context, g.device_id, 20, silent), 0);
	assert_int_equal(enable(0), 0);
	assert_int_equal(last(30, 1), 0);
	check_told(1, 1, UIOMMU_RESPONSE_INVALID);
	assert_int_equal(request(30, 1, VA, 0), 0);
	assert_int_equal(told.count, 1);
	/* The queue has 16 entries: a group that does not fit is to be tried again. */
	for (unsigned int i = 0; i < 15; i++)
		assert_int_equal(last(PASID, i), 0);
	assert_int_equal(request(PASID + 1, 100, VA, 0), 0);
	assert_int_equal(request(PASID + 1, 100, VA, UIOMMU_PAGE_LAST), 0);
	check_told(2, 100, UIOMMU_RESPONSE_SUCCESS);
	assert_int_equal(last(PASID + 1, 100), 0);
	assert_int_equal(told.count, 2);
	/* What is read waits all the same, and the device may have only so many. */
	assert_int_equal(read_all(events, 16), 16);
	for (unsigned int i = 16; i < 40; i++) {
		assert_int_equal(last(PASID, 100 + i), 0);
		assert_true(read_all(events, 16) == 1);
	}
	assert_int_equal(last(PASID, 200), -EAGAIN);
	assert_int_equal(told.count, 2);
	assert_int_equal(respond(events[0].cookie, UIOMMU_RESPONSE_SUCCESS), 0);
	/* Nobody could answer: that was the last response. */
	assert_int_equal(last(20, 300), 0);
	check_told(4, 300, UIOMMU_RESPONSE_FAILURE);
	assert_int_equal(last(PASID, 201), -EOPNOTSUPP);
}

/* One PASID that asks without end leaves room for the others. */
static void a_storm(void **state)
{
	struct uiommu_fault_event events[16];

	(void)state;
	attach();
	limit(0, 4, 0);
	assert_int_equal(enable(0), 0);
	for (unsigned int i = 0; i < 20; i++)
		assert_int_equal(last(PASID, i), 0);
	assert_int_equal(told.count, 16);
	check_told(16, 19, UIOMMU_RESPONSE_SUCCESS);
	assert_int_equal(last(PASID + 1, 100), 0);
	assert_int_equal(told.count, 16);
	assert_int_equal(read_all(events, 16), 5);
	assert_int_equal(events[4].fault.pasid, PASID + 1);
	/* Reading is not answering. */
	assert_int_equal(last(PASID, 50), 0);
	check_told(17, 50, UIOMMU_RESPONSE_SUCCESS);
	assert_int_equal(respond(events[0].cookie, UIOMMU_RESPONSE_SUCCESS), 0);
	assert_int_equal(last(PASID, 50), 0);
	assert_int_equal(told.count, 18);
}

static void a_failure_is_the_last_response(void **state)
{
	struct uiommu_fault_event events[4];

	(void)state;
	attach();
	assert_int_equal(enable(UIOMMU_PRI_RESPONSE_PASID), 0);
	for (unsigned int i = 0; i < 3; i++)
		assert_int_equal(last(PASID, i), 0);
	assert_int_equal(read_all(events, 4), 3);
	assert_int_equal(respond(events[1].cookie, UIOMMU_RESPONSE_FAILURE), 0);
	assert_int_equal(told.count, 1);
	assert_int_equal(told.of[0].pasid, PASID);
	assert_int_equal(told.of[0].response, UIOMMU_RESPONSE_FAILURE);
	assert_int_equal(last(PASID, 9), -EOPNOTSUPP);
	assert_int_equal(respond(events[0].cookie, UIOMMU_RESPONSE_SUCCESS), 0);
	assert_int_equal(told.count, 1);
	/* What it asked before it began anew is not told any more. */
	assert_int_equal(enable(0), 0);
	assert_int_equal(last(PASID, 2), -EBUSY);
	assert_int_equal(respond(events[2].cookie, UIOMMU_RESPONSE_SUCCESS), 0);
	assert_int_equal(told.count, 0);
	assert_int_equal(last(PASID, 2), 0);
}

static void the_end_of_pri(void **state)
{
	struct uiommu_fault_event events[4];

	(void)state;
	attach();
	assert_int_equal(uiommu_pri_disable(g.device), 0);
	assert_int_equal(enable(0), 0);
	assert_int_equal(last(PASID, 0), 0);
	assert_int_equal(read_all(events, 4), 1);
	assert_int_equal(last(PASID, 1), 0);
	assert_int_equal(request(PASID, 2, VA, 0), 0);
	assert_int_equal(uiommu_pri_disable(g.device), 0);
	assert_int_equal(told.count, 0);
	assert_int_equal(read_all(events + 1, 3), 0);
	assert_int_equal(respond(events[0].cookie, UIOMMU_RESPONSE_SUCCESS), -EINVAL);
}

/* Afterwards no request with the PASID appears any more; that of another one is not touched. */
static void a_detach_drains(void **state)
{
	struct uiommu_fault_event events[16];

	(void)state;
	attach();
	assert_int_equal(enable(0), 0);
	assert_int_equal(last(PASID, 0), 0);
	assert_int_equal(read_all(events, 4), 1);
	assert_int_equal(last(PASID + 1, 1), 0);
	assert_int_equal(request(PASID, 2, VA, 0), 0);
	assert_int_equal(request(PASID, 2, VA, UIOMMU_PAGE_LAST), 0);
	assert_int_equal(request(PASID, 3, VA, 0), 0);
	assert_int_equal(uiommu_detach(g.context, g.device_id, PASID), 0);
	assert_int_equal(told.count, 2);
	assert_int_equal(told.of[0].group, 0);
	assert_int_equal(told.of[0].response, UIOMMU_RESPONSE_INVALID);
	assert_int_equal(told.of[1].group, 2);
	assert_int_equal(told.of[1].response, UIOMMU_RESPONSE_INVALID);
	assert_int_equal(respond(events[0].cookie, UIOMMU_RESPONSE_SUCCESS), -EINVAL);
	assert_int_equal(read_all(events, 16), 1);
	assert_int_equal(events[0].fault.pasid, PASID + 1);
	assert_false(readable());
	assert_int_equal(respond(events[0].cookie, UIOMMU_RESPONSE_SUCCESS), 0);
	/* What comes late. */
	assert_int_equal(last(PASID, 3), 0);
	check_told(4, 3, UIOMMU_RESPONSE_INVALID);
	assert_int_equal(read_all(events, 16), 0);
}

struct answer {
	unsigned int calls, response;
};

static void answered(void *opaque, unsigned int response)
{
	struct answer *answer = opaque;

	answer->calls++;
	answer->response = response;
}

static void a_queue_that_is_closed(void **state)
{
	struct uiommu_fault fault = {.address = VA, .pasid = PASID, .access = UIOMMU_READ};
	struct uiommu_fault_event events[4];
	struct answer answer = {0};
	uint64_t value;

	(void)state;
	attach();
	assert_int_equal(enable(0), 0);
	assert_int_equal(uiommu_dma_page_request(g.device, &fault, answered, &answer), 0);
	assert_int_equal(last(PASID, 0), 0);
	assert_int_equal(read_all(events, 1), 1);
	assert_int_equal(uiommu_fault_queue_close(g.context, 999), -ENOENT);
	assert_int_equal(uiommu_fault_queue_close(g.context, g.queue), 0);
	assert_int_equal(answer.calls, 1);
	assert_int_equal(answer.response, UIOMMU_RESPONSE_FAILURE);
	check_told(1, 0, UIOMMU_RESPONSE_FAILURE);
	assert_int_equal(respond(events[0].cookie, UIOMMU_RESPONSE_SUCCESS), -EINVAL);
	assert_int_equal(enable(0), 0);
	assert_int_equal(last(PASID, 0), 0);
	check_told(1, 0, UIOMMU_RESPONSE_FAILURE);
	assert_int_equal(uiommu_dma_page_request(g.device, &fault, answered, &answer), -ENOENT);
	assert_int_equal(answer.calls, 1);
	assert_int_equal(uiommu_dma_read(g.device, PASID, VA, &value, 8, NULL), -EFAULT);
	assert_int_equal(read_all(events, 4), 0);
	assert_false(readable());
	assert_int_equal(uiommu_destroy(g.context, g.queue), -EBUSY);
}

/* --- time --- */

static void nobody_answers(void **state)
{
	struct uiommu_fault fault = {.address = VA, .pasid = PASID, .access = UIOMMU_READ};
	struct uiommu_fault_event events[4];
	struct answer answer = {0};

	(void)state;
	attach();
	limit(0, 0, 30);
	assert_int_equal(enable(0), 0);
	assert_int_equal(last(PASID, 0), 0);
	assert_int_equal(read_all(events, 1), 1);
	fake.now += 10000000;
	assert_int_equal(last(PASID, 1), 0);
	assert_int_equal(last(PASID, 2), 0);
	assert_int_equal(read_all(events + 1, 1), 1);
	assert_int_equal(uiommu_dma_page_request(g.device, &fault, answered, &answer), 0);
	assert_int_equal(fake.armed, 1000 + 30000000);
	assert_int_equal(respond(events[1].cookie, UIOMMU_RESPONSE_SUCCESS), 0);
	clock_pass(fake.armed - fake.now);
	assert_int_equal(told.count, 2);
	check_told(2, 0, UIOMMU_RESPONSE_INVALID);
	assert_int_equal(respond(events[0].cookie, UIOMMU_RESPONSE_SUCCESS), -EINVAL);
	assert_int_equal(fake.armed, 1000 + 40000000);
	clock_pass(fake.armed - fake.now);
	check_told(3, 2, UIOMMU_RESPONSE_INVALID);
	assert_int_equal(answer.calls, 1);
	assert_int_equal(answer.response, UIOMMU_RESPONSE_INVALID);
	/* It has not been read, and is not told any more. */
	assert_int_equal(read_all(events, 4), 0);
}

/* --- a guest answers --- */

/* A guest's queue, which keeps what is asked of it. */
static struct {
	struct fault_sink sink;
	unsigned int count, forgotten;
	struct {
		struct uiommu_page_request first;
		const struct uiommu_page_request *requests;
		unsigned int count;
		void (*done)(void *opaque, unsigned int response);
		void *opaque;
	} of[MESSAGES];
	int error;
} guest;

static void guest_event(struct fault_sink *sink, const struct uiommu_fault *fault)
{
	(void)sink;
	(void)fault;
}

static int guest_request(struct fault_sink *sink, struct attachment *attachment, const struct uiommu_page_request *requests,
			 unsigned int count, void (*done)(void *opaque, unsigned int response), void *opaque)
{
	(void)sink;
	assert_int_equal(attachment->device_id, g.device_id);
	if (guest.error)
		return guest.error;
	assert_true(guest.count < MESSAGES);
	guest.of[guest.count].first = *requests;
	guest.of[guest.count].requests = requests;
	guest.of[guest.count].count = count;
	guest.of[guest.count].done = done;
	guest.of[guest.count++].opaque = opaque;
	return 0;
}

static void guest_answer(unsigned int number, unsigned int response)
{
	guest.of[number].done(guest.of[number].opaque, response);
	guest.of[number].done = NULL;
}

static bool guest_forget(struct fault_sink *sink, const struct attachment *attachment)
{
	bool any = false;

	(void)sink;
	(void)attachment;
	for (unsigned int i = 0; i < guest.count; i++)
		if (guest.of[i].done) {
			guest_answer(i, UIOMMU_RESPONSE_INVALID);
			any = true;
		}
	guest.forgotten++;
	return any;
}

/* As a vIOMMU does it. */
static void attach_to_guest(void)
{
	struct uiommu_hwpt_nested config = {
		.size = sizeof(config), .flags = UIOMMU_HWPT_PASID, .parent_id = g.parent, .first = first_stage(page_new())};
	struct object *object;

	memset(&guest, 0, sizeof(guest));
	guest.sink =
		(struct fault_sink){.answers = true, .event = guest_event, .page_request = guest_request, .forget = guest_forget};
	assert_int_equal(uiommu_hwpt_alloc_nested(g.context, &config, &nested), 0);
	object = object_get(g.context, nested, UIOMMU_OBJECT_NONE);
	object_hwpt(object)->sink = &guest.sink;
	object_put(object);
	assert_int_equal(uiommu_attach(g.context, g.device_id, PASID, nested), 0);
}

static void a_guest_answers(void **state)
{
	(void)state;
	attach_to_guest();
	assert_int_equal(enable(0), 0);
	/* When the group is whole, it is one of the guest's. */
	assert_int_equal(request(PASID, 5, VA, 0), 0);
	assert_int_equal(request(PASID, 5, VA + PAGE, 0), 0);
	assert_int_equal(guest.count, 0);
	assert_int_equal(request(PASID, 5, VA + 2 * PAGE, UIOMMU_PAGE_LAST), 0);
	assert_int_equal(guest.count, 1);
	assert_int_equal(guest.of[0].count, 3);
	assert_int_equal(last(PASID, 5), -EBUSY);
	/* The requests stay until it has been answered. */
	for (unsigned int i = 0; i < 3; i++) {
		assert_int_equal(guest.of[0].requests[i].address, VA + i * PAGE);
		assert_int_equal(guest.of[0].requests[i].pasid, PASID);
		assert_int_equal(guest.of[0].requests[i].access, UIOMMU_READ | UIOMMU_WRITE);
	}
	assert_int_equal(told.count, 0);
	guest_answer(0, UIOMMU_RESPONSE_INVALID);
	check_told(1, 5, UIOMMU_RESPONSE_INVALID);
	/* No room, and nobody there. */
	guest.error = -ENOBUFS;
	assert_int_equal(last(PASID, 6), 0);
	check_told(2, 6, UIOMMU_RESPONSE_SUCCESS);
	guest.error = -ENOENT;
	assert_int_equal(last(PASID, 6), 0);
	check_told(3, 6, UIOMMU_RESPONSE_INVALID);
	guest.error = 0;
	/* The end of the attachment. */
	assert_int_equal(last(PASID, 7), 0);
	assert_int_equal(uiommu_detach(g.context, g.device_id, PASID), 0);
	check_told(4, 7, UIOMMU_RESPONSE_INVALID);
	assert_int_equal(guest.forgotten, 1);
}

/* The guest's answer comes when nobody wants it any more. */
static void a_guest_answers_late(void **state)
{
	(void)state;
	attach_to_guest();
	assert_int_equal(enable(0), 0);
	assert_int_equal(request(PASID, 1, VA, 0), 0);
	assert_int_equal(request(PASID, 1, VA, UIOMMU_PAGE_LAST), 0);
	assert_int_equal(uiommu_pri_disable(g.device), 0);
	assert_int_equal(guest.of[0].requests[1].address, VA);
	assert_int_equal(enable(0), 0);
	/* The index is free, and the old answer is not that of the new group. */
	assert_int_equal(last(PASID, 1), 0);
	guest_answer(0, UIOMMU_RESPONSE_INVALID);
	assert_int_equal(told.count, 0);
	guest_answer(1, UIOMMU_RESPONSE_SUCCESS);
	check_told(1, 1, UIOMMU_RESPONSE_SUCCESS);
}

/* A single page that is asked for is a group of its own. */
static void a_guest_answers_a_parked_access(void **state)
{
	struct uiommu_fault fault = {.address = VA + 5, .pasid = PASID, .access = UIOMMU_READ};
	struct answer answer = {0};

	(void)state;
	attach_to_guest();
	assert_int_equal(uiommu_dma_page_request(g.device, &fault, answered, &answer), 0);
	assert_int_equal(guest.count, 1);
	assert_int_equal(guest.of[0].count, 1);
	assert_int_equal(guest.of[0].first.address, VA);
	assert_int_equal(guest.of[0].first.access, UIOMMU_READ);
	guest_answer(0, UIOMMU_RESPONSE_SUCCESS);
	assert_int_equal(answer.calls, 1);
	guest.error = -ENOBUFS;
	assert_int_equal(uiommu_dma_page_request(g.device, &fault, answered, &answer), -ENOBUFS);
	assert_int_equal(answer.calls, 1);
}

static void a_stop_marker(void **state)
{
	struct uiommu_fault_event events[4];

	(void)state;
	attach();
	assert_int_equal(enable(0), 0);
	assert_int_equal(request(PASID, 1, VA, 0), 0);
	assert_int_equal(request(PASID + 1, 3, VA, 0), 0);
	assert_int_equal(last(PASID, 2), 0);
	assert_int_equal(uiommu_pri_stop(g.device, PASID), 0);
	assert_int_equal(told.count, 0);
	/* What was begun is forgotten: the index belongs to whoever comes. What waits is answered. */
	assert_int_equal(last(PASID + 1, 1), 0);
	assert_int_equal(last(PASID + 1, 3), 0);
	assert_int_equal(read_all(events, 4), 4);
	assert_int_equal(events[0].group, 2);
	assert_int_equal(events[1].group, 1);
	assert_int_equal(events[2].group, 3);
	assert_int_equal(events[3].group, 3);
	assert_int_equal(respond(events[0].cookie, UIOMMU_RESPONSE_SUCCESS), 0);
	check_told(1, 2, UIOMMU_RESPONSE_SUCCESS);
	assert_int_equal(uiommu_pri_stop(g.device, 77), 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(a_group),
		TEST(bad_requests),
		TEST(answered_at_once),
		TEST(a_storm),
		TEST(a_failure_is_the_last_response),
		TEST(the_end_of_pri),
		TEST(a_detach_drains),
		TEST(a_queue_that_is_closed),
		cmocka_unit_test_setup_teardown(nobody_answers, setup_clock, teardown),
		TEST(a_guest_answers),
		TEST(a_guest_answers_late),
		TEST(a_guest_answers_a_parked_access),
		TEST(a_stop_marker),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
