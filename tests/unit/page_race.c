/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Devices that ask, somebody who answers, and attachments that come and go, all at once: whatever happens, each access that is
 * parked is told once, and each group has one response.
 */
#include "guest.h"

#include <poll.h>
#include <sched.h>
#include <semaphore.h>

enum { PARKERS = 2, ROUNDS = 200, GROUPS = 32 };

struct parker {
	pthread_t thread;
	struct uiommu_dma_task task;
	sem_t ready;
	unsigned int calls;
	unsigned long parked, done, refused;
};

static struct {
	bool stop;
	uint64_t root, page;
	uint32_t nested;
	struct parker parkers[PARKERS];
	unsigned long sent[GROUPS], answered[GROUPS]; /* atomic */
	unsigned long answers;
} race;

static bool stopped(void)
{
	return __atomic_load_n(&race.stop, __ATOMIC_ACQUIRE);
}

static void ready(struct uiommu_dma_task *task)
{
	struct parker *parker = (struct parker *)(void *)((char *)task - offsetof(struct parker, task));

	__atomic_add_fetch(&parker->calls, 1, __ATOMIC_RELAXED);
	sem_post(&parker->ready);
}

static void *park_main(void *opaque)
{
	struct parker *parker = opaque;
	uint64_t value;

	while (!stopped()) {
		int error;

		parker->task = (struct uiommu_dma_task){.op = {.address = VA, .buffer = &value, .length = 8, .pasid = PASID},
							.access = UIOMMU_READ,
							.ready = ready};
		while ((error = uiommu_dma_start(g.device, &parker->task)) == -EINPROGRESS) {
			parker->parked++;
			while (sem_wait(&parker->ready))
				;
		}
		parker->done += !error;
		parker->refused += error != 0;
	}
	return NULL;
}

static void response(void *opaque, const struct uiommu_page_response *told)
{
	(void)opaque;
	assert_true(told->group < GROUPS);
	__atomic_add_fetch(&race.answered[told->group], 1, __ATOMIC_RELAXED);
}

static const struct uiommu_pri_ops ops = {.response = response};

static int enable(void)
{
	const struct uiommu_pri_config config = {.size = sizeof(config), .allocation = GROUPS, .ops = &ops};

	return uiommu_pri_enable(g.device, &config);
}

/* A group is sent again only after its response. */
static void *pri_main(void *unused)
{
	(void)unused;
	for (unsigned int group = 0; !stopped(); group = (group + 1) % GROUPS) {
		struct uiommu_page_request message = {
			.address = VA, .pasid = PASID, .group = (uint16_t)group, .access = UIOMMU_READ};

		if (__atomic_load_n(&race.answered[group], __ATOMIC_ACQUIRE) != race.sent[group])
			continue;
		if (group % 3 == 0 && uiommu_pri_request(g.device, &message))
			continue;
		message.flags = UIOMMU_PAGE_LAST;
		if (!uiommu_pri_request(g.device, &message))
			race.sent[group]++;
	}
	return NULL;
}

static void *answer_main(void *unused)
{
	struct pollfd poll_fd = {.fd = uiommu_fault_queue_fd(g.context, g.queue), .events = POLLIN};
	struct uiommu_fault_event events[4];

	(void)unused;
	while (!stopped()) {
		ssize_t count;

		poll(&poll_fd, 1, 10);
		count = uiommu_fault_read(g.context, g.queue, events, 4);
		for (ssize_t i = 0; i < count; i++) {
			if (!events[i].cookie || events[i].flags & UIOMMU_FAULT_EVENT_MORE)
				continue;
			uiommu_fault_respond(g.context, g.queue, events[i].cookie, (unsigned int)i % 2);
			__atomic_add_fetch(&race.answers, 1, __ATOMIC_RELEASE);
		}
	}
	return NULL;
}

/* Somebody has got something done. */
static void wait_for_answers(void)
{
	unsigned long before = __atomic_load_n(&race.answers, __ATOMIC_ACQUIRE);

	while (__atomic_load_n(&race.answers, __ATOMIC_ACQUIRE) == before)
		sched_yield();
}

static void take_and_give(unsigned int round)
{
	struct uiommu_invalidation part = {.start = VA, .last = VA + PAGE - 1};

	wait_for_answers();
	/* The page is there, and goes. */
	__atomic_store_n(leaf_of(race.root, VA, FIRST_TABLE), race.page | FIRST_PAGE, __ATOMIC_RELEASE);
	sched_yield();
	__atomic_store_n(leaf_of(race.root, VA, FIRST_TABLE), 0, __ATOMIC_RELEASE);
	assert_int_equal(uiommu_hwpt_invalidate(g.context, race.nested, &part, 1), 0);
	if (round % 4)
		return;
	assert_int_equal(uiommu_detach(g.context, g.device_id, PASID), 0);
	assert_int_equal(uiommu_attach(g.context, g.device_id, PASID, race.nested), 0);
}

static void everybody_at_once(void **state)
{
	struct uiommu_fault_event left;
	pthread_t pri, answers;

	(void)state;
	memset(&race, 0, sizeof(race));
	race.root = page_new();
	race.page = page_new();
	leaf_of(race.root, VA, FIRST_TABLE);
	race.nested = nested_make(race.root, 0);
	assert_int_equal(uiommu_attach(g.context, g.device_id, PASID, race.nested), 0);
	assert_int_equal(enable(), 0);
	assert_int_equal(pthread_create(&answers, NULL, answer_main, NULL), 0);
	assert_int_equal(pthread_create(&pri, NULL, pri_main, NULL), 0);
	for (unsigned int i = 0; i < PARKERS; i++) {
		sem_init(&race.parkers[i].ready, 0, 0);
		assert_int_equal(pthread_create(&race.parkers[i].thread, NULL, park_main, &race.parkers[i]), 0);
	}
	for (unsigned int i = 0; i < scaled(ROUNDS); i++)
		take_and_give(i);
	__atomic_store_n(&race.stop, true, __ATOMIC_RELEASE);
	pthread_join(pri, NULL);
	pthread_join(answers, NULL);
	/* What waits now is answered by the end of the attachment. */
	assert_int_equal(uiommu_detach(g.context, g.device_id, PASID), 0);
	for (unsigned int i = 0; i < PARKERS; i++) {
		pthread_join(race.parkers[i].thread, NULL);
		assert_int_equal(race.parkers[i].calls, race.parkers[i].parked);
		sem_destroy(&race.parkers[i].ready);
	}
	for (unsigned int i = 0; i < GROUPS; i++)
		assert_int_equal(race.sent[i], race.answered[i]);
	/* No request is left; but perhaps an access that had met a full queue, which is an event. */
	while (uiommu_fault_read(g.context, g.queue, &left, 1) == 1) {
		assert_int_equal(left.cookie, 0);
		assert_int_equal(left.fault.reason, UIOMMU_FAULT_UNMAPPED);
	}
	assert_int_equal(uiommu_pri_disable(g.device), 0);
}

static void *enable_main(void *unused)
{
	(void)unused;
	while (!stopped()) {
		assert_int_equal(uiommu_pri_disable(g.device), 0);
		enable();
		sched_yield();
	}
	return NULL;
}

static void *send_main(void *unused)
{
	(void)unused;
	for (unsigned int i = 0; !stopped(); i++) {
		const struct uiommu_page_request message = {
			.address = VA, .pasid = PASID, .group = (uint16_t)(i % GROUPS), .access = UIOMMU_READ, .flags = i % 2};

		uiommu_pri_request(g.device, &message);
		if (i % 7 == 0)
			uiommu_pri_stop(g.device, PASID);
	}
	return NULL;
}

/* PRI itself comes and goes: nobody is told anything afterwards (the sanitizers look). */
static void pri_comes_and_goes(void **state)
{
	const struct uiommu_fault_limits limits = {.size = sizeof(limits), .per_pasid = 8, .response_ms = 1};
	pthread_t enabler, sender, answers;

	(void)state;
	memset(&race, 0, sizeof(race));
	race.nested = nested_make(page_new(), 0);
	assert_int_equal(uiommu_fault_queue_limit(g.context, g.queue, &limits), 0);
	assert_int_equal(uiommu_attach(g.context, g.device_id, PASID, race.nested), 0);
	assert_int_equal(enable(), 0);
	assert_int_equal(pthread_create(&answers, NULL, answer_main, NULL), 0);
	assert_int_equal(pthread_create(&sender, NULL, send_main, NULL), 0);
	assert_int_equal(pthread_create(&enabler, NULL, enable_main, NULL), 0);
	for (unsigned int i = 0; i < scaled(ROUNDS); i++) {
		wait_for_answers();
		if (i % 4)
			continue;
		assert_int_equal(uiommu_detach(g.context, g.device_id, PASID), 0);
		assert_int_equal(uiommu_attach(g.context, g.device_id, PASID, race.nested), 0);
	}
	__atomic_store_n(&race.stop, true, __ATOMIC_RELEASE);
	pthread_join(enabler, NULL);
	pthread_join(sender, NULL);
	pthread_join(answers, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(everybody_at_once, setup, teardown),
		cmocka_unit_test_setup_teardown(pri_comes_and_goes, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
