/* SPDX-License-Identifier: BSD-3-Clause */
/* Sets of PASIDs: numbers, their life cycle, the end of a set, private data. */
#include "pasid_sets.h"

/* --- numbers --- */

static void numbers(void **state)
{
	struct uiommu_pasid_set_alloc alloc = {.size = sizeof(alloc), .flags = 1};
	struct uiommu_pasid_info info = {.size = sizeof(info)};
	uint32_t pasid, other;

	(void)state;
	assert_int_equal(uiommu_pasid_set_alloc(w->context, &alloc, &other), -EOPNOTSUPP);
	alloc = (struct uiommu_pasid_set_alloc){.size = 3};
	assert_int_equal(uiommu_pasid_set_alloc(w->context, &alloc, &other), -EINVAL);
	alloc = (struct uiommu_pasid_set_alloc){.size = sizeof(alloc), .quota = 2};
	assert_int_equal(uiommu_pasid_set_alloc(w->context, &alloc, &other), 0);
	assert_int_equal(uiommu_object_type(w->context, other), UIOMMU_OBJECT_PASID_SET);

	assert_int_equal(take(1000, 2000), 1000);
	assert_int_equal(take(1000, 2000), 1001);
	assert_int_equal(take(77, 77), 77);
	assert_int_equal(uiommu_pasid_alloc(w->context, other, 77, 77, &pasid), -EBUSY);
	assert_int_equal(uiommu_pasid_alloc(w->context, other, 1000, 1001, &pasid), -ENOSPC);
	assert_int_equal(uiommu_pasid_alloc(w->context, other, 0, 5, &pasid), -EINVAL);
	assert_int_equal(uiommu_pasid_alloc(w->context, other, 1, UIOMMU_PASID_LAST + 1, &pasid), -EINVAL);
	assert_int_equal(uiommu_pasid_alloc(w->context, w->ioas, 1, 5, &pasid), -ENOENT);
	assert_int_equal(uiommu_pasid_alloc(w->context, other, 1000, 2000, &pasid), 0);
	assert_int_equal(uiommu_pasid_alloc(w->context, other, 1, UIOMMU_PASID_LAST, &pasid), 0);
	assert_int_equal(uiommu_pasid_alloc(w->context, other, 1, UIOMMU_PASID_LAST, &pasid), -EDQUOT);

	assert_int_equal(uiommu_pasid_next(w->context, set, 1, &info), 0);
	assert_int_equal(info.pasid, 77);
	assert_int_equal(info.set_id, set);
	assert_int_equal(uiommu_pasid_next(w->context, set, 78, &info), 0);
	assert_int_equal(info.pasid, 1000);
	assert_int_equal(uiommu_pasid_next(w->context, set, 1002, &info), -ENOENT);
	assert_int_equal(uiommu_pasid_info(w->context, other, 77, &info), -ENOENT);

	/* The numbers of the binds, and of an attachment that nobody allocated one for, are the context's own. */
	attach(5000);
	assert_int_equal(info_of(UIOMMU_PASID_SET_OWN, w->self).state, UIOMMU_PASID_STATE_BOUND);
	assert_int_equal(info_of(UIOMMU_PASID_SET_OWN, 5000).state, UIOMMU_PASID_STATE_BOUND);
	assert_int_equal(uiommu_pasid_alloc(w->context, set, 5000, 5000, &pasid), -EBUSY);
	assert_int_equal(detach(5000), 0);
	assert_int_equal(take(5000, 5000), 5000);

	assert_int_equal(uiommu_destroy(w->context, other), -EBUSY);
	assert_int_equal(uiommu_pasid_free_all(w->context, other), 0);
	assert_int_equal(uiommu_destroy(w->context, other), 0);
	assert_int_equal(counts().count, 4);
	assert_int_equal(counts().quota, 100);
}

/* --- the life cycle --- */

static void free_before_bind(void **state)
{
	uint32_t pasid = take(10, 10);
	uint64_t generation = info_of(set, pasid).generation;

	(void)state;
	is(pasid, UIOMMU_PASID_STATE_ALLOCATED);
	assert_int_equal(give(pasid), 0);
	is(pasid, UIOMMU_PASID_STATE_FREE);
	assert_int_equal(give(pasid), -ENOENT);
	assert_int_equal(uiommu_pasid_free(w->context, 12345, pasid), -ENOENT);
	assert_int_equal(take(10, 10), 10);
	assert_true(info_of(set, pasid).generation > generation);
}

static void unbind_before_free(void **state)
{
	uint32_t pasid = take(10, 10);
	unsigned int reason;

	(void)state;
	attach(pasid);
	is(pasid, UIOMMU_PASID_STATE_BOUND);
	assert_true(readable(pasid, &reason));
	assert_int_equal(detach(pasid), 0);
	is(pasid, UIOMMU_PASID_STATE_ALLOCATED);
	assert_false(readable(pasid, &reason));
	assert_int_equal(reason, UIOMMU_FAULT_NOT_ATTACHED);
	assert_int_equal(give(pasid), 0);
	is(pasid, UIOMMU_PASID_STATE_FREE);
	assert_int_equal(detach(pasid), 0);
}

static void free_before_unbind(void **state)
{
	uint32_t pasid = take(10, 10);

	(void)state;
	assert_int_equal(uiommu_unbind(w->context, w->device_id, pasid), -ENOENT);
	assert_int_equal(uiommu_unbind(w->context, w->device_id, w->self), 0);
	assert_int_equal(uiommu_unbind(w->context, w->device_id, w->self), -ENOENT);
	assert_int_equal(bind_self(pasid), 0);
	assert_int_equal(bind_self(pasid), 0);
	is(pasid, UIOMMU_PASID_STATE_BOUND);

	/* However often it was bound. */
	assert_int_equal(give(pasid), 0);
	is(pasid, UIOMMU_PASID_STATE_FREE);
	assert_int_equal(give(pasid), -ENOENT);
	assert_int_equal(uiommu_unbind(w->context, w->device_id, pasid), 0);
	assert_int_equal(uiommu_unbind(w->context, w->device_id, pasid), 0);
	assert_int_equal(uiommu_unbind(w->context, 12345, pasid), -ENOENT);

	/* Somebody else's number by now: it was never bound. */
	assert_int_equal(take(10, 10), 10);
	assert_int_equal(uiommu_unbind(w->context, w->device_id, pasid), -ENOENT);
	is(pasid, UIOMMU_PASID_STATE_ALLOCATED);
}

static void two_devices(void **state)
{
	struct uiommu_device_config config = {.size = sizeof(config), .rid = 2, .name = "second", .pasid_bits = 20};
	uint32_t pasid = take(10, 10), second;

	(void)state;
	assert_int_equal(uiommu_device_alloc(w->context, &config, &second), 0);
	attach(pasid);
	assert_int_equal(uiommu_attach(w->context, second, pasid, w->ioas), 0);
	assert_int_equal(info_of(set, pasid).attachments, 2);
	assert_int_equal(detach(pasid), 0);
	is(pasid, UIOMMU_PASID_STATE_BOUND);
	attach(pasid);
	assert_int_equal(give(pasid), 0);
	is(pasid, UIOMMU_PASID_STATE_FREE);
	assert_int_equal(uiommu_destroy(w->context, second), 0);
}

/* A read of the slow page. */
static void *sleep_main(void *opaque)
{
	uint32_t pasid = *(const uint32_t *)opaque;
	uint8_t byte = 0;

	assert_int_equal(uiommu_dma_read(w->device, pasid, IOVA_SLOW, &byte, 1, NULL), 0);
	assert_int_equal(byte, 0x5a);
	return NULL;
}

static void wait_for_free(uint32_t pasid)
{
	/* The thread that leaves last frees the number; it has been joined, so it has. */
	is(pasid, UIOMMU_PASID_STATE_FREE);
}

/* Freed while an access is running: draining, until it has ended. */
static void draining(void **state)
{
	uint32_t pasid = take(10, 10);
	struct uiommu_attach_stats stats;
	pthread_t thread;
	unsigned int reason;

	(void)state;
	if (!slow_make())
		need_slow();
	world_map(w, UIOMMU_MAP_OWN, slow, 0, page_size(), IOVA_SLOW, UIOMMU_MAP_READ | UIOMMU_MAP_WRITE);
	attach(pasid);
	assert_int_equal(pthread_create(&thread, NULL, sleep_main, &pasid), 0);
	slow_wait();
	assert_int_equal(give(pasid), 0);
	is(pasid, UIOMMU_PASID_STATE_DRAINING);
	assert_int_equal(counts().draining, 1);
	assert_int_equal(give(pasid), -ENOENT);

	/* Nobody gets it, nothing is attached to it, and accesses fail without a record. */
	assert_int_equal(uiommu_pasid_alloc(w->context, set, pasid, pasid, &pasid), -EBUSY);
	assert_int_equal(uiommu_attach(w->context, w->device_id, pasid, w->ioas), -EBUSY);
	assert_int_equal(bind_self(pasid), -EBUSY);
	assert_false(readable(pasid, &reason));
	assert_int_equal(reason, UIOMMU_FAULT_DRAINING);
	stats = world_stats(w, pasid);
	assert_int_equal(stats.discarded, 1);
	assert_int_equal(stats.faults, 0);
	assert_int_equal(uiommu_destroy(w->context, set), -EBUSY);

	slow_answer(0x5a);
	pthread_join(thread, NULL);
	wait_for_free(pasid);
	assert_int_equal(counts().draining, 0);
	assert_int_equal(uiommu_destroy(w->context, set), 0);
}

struct unbinder {
	uint32_t pasid;
	sem_t started;
	bool answered; /* the slow page has been */
};

static void *unbind_main(void *opaque)
{
	struct unbinder *unbinder = opaque;

	sem_post(&unbinder->started);
	assert_int_equal(uiommu_unbind(w->context, w->device_id, unbinder->pasid), 0);
	assert_true(__atomic_load_n(&unbinder->answered, __ATOMIC_RELAXED));
	return NULL;
}

static void *sleep_bound_main(void *opaque)
{
	uint32_t pasid = *(const uint32_t *)opaque;
	uint8_t byte = 0;

	assert_int_equal(uiommu_dma_read(w->device, pasid, (uintptr_t)slow, &byte, 1, NULL), 0);
	assert_int_equal(byte, 0x5a);
	return NULL;
}

/* Who unbinds what has been freed waits for its end all the same. */
static void unbind_while_draining(void **state)
{
	struct unbinder unbinder = {.pasid = take(10, 10)};
	pthread_t sleeper, thread;

	(void)state;
	traps_on();
	if (!slow_make())
		need_slow();
	sem_init(&unbinder.started, 0, 0);
	assert_int_equal(bind_self(unbinder.pasid), 0);
	assert_int_equal(pthread_create(&sleeper, NULL, sleep_bound_main, &unbinder.pasid), 0);
	slow_wait();
	assert_int_equal(give(unbinder.pasid), 0);
	is(unbinder.pasid, UIOMMU_PASID_STATE_DRAINING);
	assert_int_equal(pthread_create(&thread, NULL, unbind_main, &unbinder), 0);
	sem_wait(&unbinder.started);
	__atomic_store_n(&unbinder.answered, true, __ATOMIC_RELAXED);
	slow_answer(0x5a);
	pthread_join(sleeper, NULL);
	pthread_join(thread, NULL);
	is(unbinder.pasid, UIOMMU_PASID_STATE_FREE);
	sem_destroy(&unbinder.started);
}

static struct uiommu_pin *pinned(uint32_t pasid)
{
	struct iovec piece;
	struct uiommu_dma_pin pin = {
		.address = IOVA_FILE, .length = 16, .pasid = pasid, .access = UIOMMU_READ, .iov = &piece, .iov_count = 1};

	assert_int_equal(uiommu_dma_pin(w->device, &pin, NULL), 0);
	return pin.pin;
}

/* A pin that is not put keeps the number draining; whoever waits for the end is told so. */
static void pins_are_waited_for(void **state)
{
	uint32_t pasid = take(10, 10);
	struct uiommu_pin *first, *second;

	(void)state;
	attach(pasid);
	first = pinned(pasid);
	second = pinned(pasid);
	assert_int_equal(detach(pasid), -EDEADLOCK);
	assert_int_equal(give(pasid), 0);
	is(pasid, UIOMMU_PASID_STATE_DRAINING);
	assert_int_equal(detach(pasid), -EDEADLOCK);
	assert_int_equal(uiommu_replace(w->context, w->device_id, pasid, w->ioas), -EDEADLOCK);
	uiommu_dma_unpin(first);
	is(pasid, UIOMMU_PASID_STATE_DRAINING);
	uiommu_dma_unpin(second);
	is(pasid, UIOMMU_PASID_STATE_FREE);
	assert_int_equal(detach(pasid), 0);

	/* One is left when the context closes. */
	pasid = take(10, 10);
	attach(pasid);
	pinned(pasid);
	assert_int_equal(give(pasid), 0);
	is(pasid, UIOMMU_PASID_STATE_DRAINING);
}

/* --- a set ends --- */

static unsigned int responses, last_response;

static void answered(void *opaque, unsigned int response)
{
	(void)opaque;
	responses++;
	last_response = response;
}

static void set_freed_with_faults_pending(void **state)
{
	struct uiommu_fault fault = {.device_id = w->device_id, .access = UIOMMU_READ};
	struct uiommu_fault_event event;
	uint32_t idle = take(10, 10), bound = take(11, 11), waiting = take(12, 12);

	(void)state;
	attach(bound);
	assert_int_equal(uiommu_unbind(w->context, w->device_id, w->self), 0);
	assert_int_equal(bind_self(waiting), 0);
	fault.pasid = waiting;
	fault.address = 0x1000;
	responses = 0;
	assert_int_equal(uiommu_dma_page_request(w->device, &fault, answered, NULL), 0);
	assert_int_equal(uiommu_fault_read(w->context, w->queue, &event, 1), 1);
	assert_int_equal(event.fault.pasid, waiting);

	assert_int_equal(uiommu_pasid_free_all(w->context, set), 0);
	is(idle, UIOMMU_PASID_STATE_FREE);
	is(bound, UIOMMU_PASID_STATE_FREE);
	is(waiting, UIOMMU_PASID_STATE_FREE);
	assert_int_equal(counts().count, 0);
	assert_int_equal(responses, 1);
	assert_int_not_equal(last_response, UIOMMU_RESPONSE_SUCCESS);
	assert_int_equal(uiommu_fault_respond(w->context, w->queue, event.cookie, UIOMMU_RESPONSE_SUCCESS), -EINVAL);
	assert_int_equal(uiommu_destroy(w->context, set), 0);
	assert_int_equal(uiommu_pasid_free_all(w->context, set), -ENOENT);
}

/* --- data --- */

static void private_data(void **state)
{
	struct uiommu_pasid_set *handle = uiommu_pasid_set_get(w->context, set);
	struct uiommu_pasid_set *own = uiommu_pasid_set_get(w->context, UIOMMU_PASID_SET_OWN);
	uint32_t pasid = take(10, 10);
	int first, second;
	void *old;

	(void)state;
	assert_null(uiommu_pasid_set_get(w->context, w->ioas));
	assert_null(uiommu_pasid_find(handle, pasid));
	assert_int_equal(uiommu_pasid_set_data(w->context, set, pasid, &first, &old), 0);
	assert_null(old);
	uiommu_pasid_read_begin();
	assert_ptr_equal(uiommu_pasid_find(handle, pasid), &first);
	assert_null(uiommu_pasid_find(own, pasid));
	assert_null(uiommu_pasid_find(handle, pasid + 1));
	assert_null(uiommu_pasid_find(handle, UIOMMU_NO_PASID));
	uiommu_pasid_read_end();
	assert_int_equal(uiommu_pasid_set_data(w->context, set, pasid, &second, &old), 0);
	assert_ptr_equal(old, &first);
	assert_ptr_equal(uiommu_pasid_find(handle, pasid), &second);
	assert_ptr_equal(info_of(set, pasid).data, &second);
	assert_int_equal(uiommu_pasid_set_data(w->context, set, pasid + 1, &second, NULL), -ENOENT);

	/* It goes with the number. */
	assert_int_equal(give(pasid), 0);
	assert_null(uiommu_pasid_find(handle, pasid));
	assert_int_equal(take(10, 10), 10);
	assert_null(uiommu_pasid_find(handle, pasid));
	assert_int_equal(give(pasid), 0);
	assert_int_equal(uiommu_destroy(w->context, set), -EBUSY);
	uiommu_pasid_set_put(own);
	uiommu_pasid_set_put(handle);
	uiommu_pasid_set_put(NULL);
	assert_int_equal(uiommu_destroy(w->context, set), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(numbers, setup, teardown),
		cmocka_unit_test_setup_teardown(free_before_bind, setup, teardown),
		cmocka_unit_test_setup_teardown(unbind_before_free, setup, teardown),
		cmocka_unit_test_setup_teardown(free_before_unbind, setup, teardown),
		cmocka_unit_test_setup_teardown(two_devices, setup, teardown),
		cmocka_unit_test_setup_teardown(draining, setup, teardown),
		cmocka_unit_test_setup_teardown(unbind_while_draining, setup, teardown),
		cmocka_unit_test_setup_teardown(pins_are_waited_for, setup, teardown),
		cmocka_unit_test_setup_teardown(set_freed_with_faults_pending, setup, teardown),
		cmocka_unit_test_setup_teardown(private_data, setup, teardown),
	};

	if (traps_install())
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
