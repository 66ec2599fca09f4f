/* SPDX-License-Identifier: BSD-3-Clause */
#include "test.h"

#include <pthread.h>

#include "translate/inflight.h"
#include "util/rcu.h"

/* An access of another thread, steered by the test. */
struct access {
	pthread_t thread;
	pthread_barrier_t entered, leave;
	struct drainable *object;
};

static void *access_main(void *opaque)
{
	struct access *access = opaque;
	struct thread_state *self = thread_self();
	struct inflight_slot *slot;

	rcu_enter();
	slot = inflight_enter(self, access->object);
	rcu_leave();
	pthread_barrier_wait(&access->entered);
	pthread_barrier_wait(&access->leave);
	inflight_leave(slot);
	return NULL;
}

static void access_start(struct access *access, struct drainable *object)
{
	access->object = object;
	pthread_barrier_init(&access->entered, NULL, 2);
	pthread_barrier_init(&access->leave, NULL, 2);
	assert_int_equal(pthread_create(&access->thread, NULL, access_main, access), 0);
	pthread_barrier_wait(&access->entered);
}

static void access_end(struct access *access)
{
	pthread_barrier_wait(&access->leave);
	assert_int_equal(pthread_join(access->thread, NULL), 0);
}

static unsigned int done_calls;

static void done(struct drainable *object)
{
	(void)object;
	__atomic_add_fetch(&done_calls, 1, __ATOMIC_RELAXED);
}

static void nothing_in_flight(void **state)
{
	struct drainable object = {0};

	(void)state;
	done_calls = 0;
	rcu_wait();
	drain_start(&object, done);
	assert_int_equal(done_calls, 1);
	drain_wait(&object);
}

static void the_last_one_reports(void **state)
{
	struct drainable object = {0}, other = {0};
	struct access first, second, stranger;

	(void)state;
	done_calls = 0;
	access_start(&first, &object);
	access_start(&second, &object);
	access_start(&stranger, &other);
	rcu_wait();
	drain_start(&object, done);
	assert_int_equal(done_calls, 0);
	access_end(&first);
	assert_int_equal(done_calls, 0);
	access_end(&second);
	assert_int_equal(done_calls, 1);
	/* The stranger holds up nobody but its own object. */
	drain_wait(&object);
	access_end(&stranger);
	drain_wait(&other);
}

struct waiter {
	struct drainable *object;
	bool finished;
};

static void *wait_main(void *opaque)
{
	struct waiter *waiter = opaque;

	drain_wait(waiter->object);
	__atomic_store_n(&waiter->finished, true, __ATOMIC_RELEASE);
	return NULL;
}

static void waiting_ends_with_the_access(void **state)
{
	struct drainable object = {0};
	struct waiter waiter = {.object = &object};
	struct access access;
	pthread_t thread;

	(void)state;
	access_start(&access, &object);
	rcu_wait();
	assert_int_equal(pthread_create(&thread, NULL, wait_main, &waiter), 0);
	assert_false(__atomic_load_n(&waiter.finished, __ATOMIC_ACQUIRE));
	access_end(&access);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_true(waiter.finished);
}

/* Objects are replaced and freed while threads enter and leave them: only the drain keeps the memory valid. */
enum { READERS = 3, REPLACEMENTS = 2000 };

struct thing {
	struct drainable drain;
	uint64_t value;
};

static struct thing *current;
static bool stop;

static void *reader_main(void *opaque)
{
	struct thread_state *self = thread_self();

	(void)opaque;
	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
		struct inflight_slot *slot;
		struct thing *thing;

		rcu_enter();
		thing = rcu_read(current);
		slot = inflight_enter(self, &thing->drain);
		rcu_leave();
		assert_true(thing->value == 42);
		inflight_leave(slot);
	}
	return NULL;
}

static struct thing *new_thing(void)
{
	struct thing *thing = calloc(1, sizeof(*thing));

	assert_non_null(thing);
	thing->value = 42;
	return thing;
}

static void freed_after_the_drain(void **state)
{
	pthread_t readers[READERS];

	(void)state;
	stop = false;
	current = new_thing();
	for (unsigned int i = 0; i < READERS; i++)
		assert_int_equal(pthread_create(&readers[i], NULL, reader_main, NULL), 0);
	for (unsigned int i = 0; i < REPLACEMENTS; i++) {
		struct thing *old = current;

		rcu_publish(current, new_thing());
		rcu_wait();
		drain_wait(&old->drain);
		old->value = 0;
		free(old);
	}
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	for (unsigned int i = 0; i < READERS; i++)
		assert_int_equal(pthread_join(readers[i], NULL), 0);
	free(current);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_in_flight),
		cmocka_unit_test(the_last_one_reports),
		cmocka_unit_test(waiting_ends_with_the_access),
		cmocka_unit_test(freed_after_the_drain),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
