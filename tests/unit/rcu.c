/* SPDX-License-Identifier: BSD-3-Clause */
/* Grace periods: they wait for sections that began before, in every state of a reader, and for nobody else. */
#include "test.h"

#include <pthread.h>
#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#include "util/cpu.h"
#include "util/rcu.h"
#include "util/util.h"

/* A reader that does as it is told. */
struct steered {
	pthread_t thread;
	pthread_barrier_t step;
	unsigned int sections; /* to pass before the one that is waited for */
	unsigned int depth; /* of that one */
	struct rcu_reader *reader;
	bool left; /* atomic */
};

static unsigned int state_of(const struct rcu_reader *reader)
{
	return __atomic_load_n(&reader->state, __ATOMIC_ACQUIRE);
}

static void until(const struct rcu_reader *reader, unsigned int state)
{
	while (state_of(reader) != state)
		sched_yield();
}

/* It leaves its section only after a waiter has asked for that. */
static void *steered_main(void *opaque)
{
	struct steered *steered = opaque;

	rcu_register();
	steered->reader = &rcu_self;
	for (unsigned int i = 0; i < steered->sections; i++) {
		rcu_enter();
		rcu_leave();
	}
	for (unsigned int i = 0; i < steered->depth; i++)
		rcu_enter();
	pthread_barrier_wait(&steered->step);
	if (steered->depth) {
		until(&rcu_self, RCU_ASKED);
		rcu_enter(); /* passes no end that counts */
		rcu_leave();
	}
	for (unsigned int i = steered->depth; i; i--) {
		__atomic_store_n(&steered->left, i == 1, __ATOMIC_RELEASE);
		rcu_leave();
	}
	pthread_barrier_wait(&steered->step);
	pthread_barrier_wait(&steered->step);
	rcu_unregister();
	return NULL;
}

static void steered_start(struct steered *steered, unsigned int sections, unsigned int depth)
{
	*steered = (struct steered){.sections = sections, .depth = depth};
	pthread_barrier_init(&steered->step, NULL, 2);
	assert_int_equal(pthread_create(&steered->thread, NULL, steered_main, steered), 0);
	pthread_barrier_wait(&steered->step);
}

static void steered_end(struct steered *steered)
{
	pthread_barrier_wait(&steered->step);
	assert_int_equal(pthread_join(steered->thread, NULL), 0);
	pthread_barrier_destroy(&steered->step);
}

/* Freshly registered, online, fenced again after a grace period; one section, and some in each other. */
static void waits_for_sections(void **state)
{
	static const unsigned int sections[] = {0, 1, 31, 32, 33, 1000};
	struct steered steered;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(sections); i++) {
		for (unsigned int depth = 1; depth <= 3; depth++) {
			steered_start(&steered, sections[i], depth);
			rcu_wait();
			assert_true(__atomic_load_n(&steered.left, __ATOMIC_ACQUIRE));
			pthread_barrier_wait(&steered.step);
			rcu_wait();
			steered_end(&steered);
		}
	}
}

static void *wait_once(void *opaque)
{
	struct steered *steered = opaque;

	rcu_wait();
	assert_true(__atomic_load_n(&steered->left, __ATOMIC_ACQUIRE));
	return NULL;
}

static void several_wait_at_once(void **state)
{
	pthread_t waiters[4];
	struct steered steered;

	(void)state;
	for (unsigned int round = 0; round < scaled(50); round++) {
		steered_start(&steered, round, 1);
		for (size_t i = 0; i < ARRAY_SIZE(waiters); i++)
			assert_int_equal(pthread_create(&waiters[i], NULL, wait_once, &steered), 0);
		for (size_t i = 0; i < ARRAY_SIZE(waiters); i++)
			assert_int_equal(pthread_join(waiters[i], NULL), 0);
		pthread_barrier_wait(&steered.step);
		steered_end(&steered);
	}
}

/* Whoever is outside is waited for once, by a membarrier() at most, and offline then. */
static void idle_readers_are_offline(void **state)
{
	struct steered steered;

	(void)state;
	for (unsigned int sections = 0; sections < 100; sections += 11) {
		steered_start(&steered, sections, 0);
		rcu_wait();
		assert_int_equal(state_of(steered.reader), RCU_OFFLINE);
		rcu_wait();
		assert_int_equal(state_of(steered.reader), RCU_OFFLINE);
		pthread_barrier_wait(&steered.step);
		steered_end(&steered);
	}
}

static void own_thread_is_not_waited_for(void **state)
{
	(void)state;
	rcu_register();
	rcu_wait();
	rcu_enter();
	rcu_enter();
	rcu_leave();
	rcu_leave();
	rcu_wait();
	rcu_unregister();
	assert_true(rcu_quiet());
}

static void nobody_of_the_parent_is_in_a_child(void **state)
{
	struct steered steered;
	int status;
	pid_t pid;

	(void)state;
	steered_start(&steered, 5, 1);
	pid = fork();
	if (!pid) {
		bool quiet = rcu_quiet();

		rcu_register();
		rcu_wait();
		rcu_enter();
		rcu_leave();
		rcu_unregister();
		_exit(!quiet);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	rcu_wait();
	pthread_barrier_wait(&steered.step);
	steered_end(&steered);
}

/*
 * Objects that are published, replaced, and poisoned after a grace period, and readers that come and go, are inside all the time,
 * seldom, or for long, and move between processors: no reader ever sees the poison.
 */
enum { READERS = 6, OBJECTS = 4, GOOD = 0x600d, POISON = 0xdead };

struct object {
	uint64_t words[8];
};

struct race {
	struct object objects[OBJECTS], *published;
	bool stop; /* atomic */
	unsigned long seen; /* atomic */
};

struct racer {
	struct race *race;
	unsigned int number;
};

static void look_at(struct race *race, unsigned int times)
{
	struct object *object = rcu_read(race->published);

	for (unsigned int i = 0; i < times; i++)
		assert_int_equal(__atomic_load_n(&object->words[i % 8], __ATOMIC_RELAXED), GOOD);
}

static void move_to(unsigned int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu % (unsigned int)sysconf(_SC_NPROCESSORS_ONLN), &set);
	sched_setaffinity(0, sizeof(set), &set);
}

static void *race_main(void *opaque)
{
	const struct racer *racer = opaque;
	struct race *race = racer->race;

	rcu_register();
	for (unsigned int i = 0; !__atomic_load_n(&race->stop, __ATOMIC_RELAXED); i++) {
		unsigned int kind = racer->number % 3;

		rcu_enter();
		look_at(race, kind == 2 ? 100 : 2);
		if (kind == 1) {
			sched_yield();
			look_at(race, 2);
		}
		rcu_leave();
		if (i % 64 == 63)
			move_to(i / 64 + racer->number);
		if (racer->number == READERS - 1 && i % 256 == 255) {
			rcu_unregister();
			rcu_register();
		}
		__atomic_add_fetch(&race->seen, 1, __ATOMIC_RELAXED);
	}
	rcu_unregister();
	return NULL;
}

static void fill(struct object *object, uint64_t value)
{
	for (size_t i = 0; i < 8; i++)
		__atomic_store_n(&object->words[i], value, __ATOMIC_RELAXED);
}

static void no_reader_sees_what_is_gone(void **state)
{
	struct racer racers[READERS];
	pthread_t threads[READERS];
	struct race race = {.stop = false};

	(void)state;
	fill(&race.objects[0], GOOD);
	race.published = &race.objects[0];
	for (unsigned int i = 0; i < READERS; i++) {
		racers[i] = (struct racer){&race, i};
		assert_int_equal(pthread_create(&threads[i], NULL, race_main, &racers[i]), 0);
	}
	for (unsigned int i = 0; i < scaled(2000) || __atomic_load_n(&race.seen, __ATOMIC_RELAXED) < 1000; i++) {
		struct object *old = race.published, *object = &race.objects[(i + 1) % OBJECTS];

		fill(object, GOOD);
		rcu_publish(race.published, object);
		rcu_wait();
		fill(old, POISON);
		if (i % 16 == 15)
			move_to(i / 16);
	}
	__atomic_store_n(&race.stop, true, __ATOMIC_RELAXED);
	for (unsigned int i = 0; i < READERS; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(own_thread_is_not_waited_for),
		cmocka_unit_test(waits_for_sections),
		cmocka_unit_test(several_wait_at_once),
		cmocka_unit_test(idle_readers_are_offline),
		cmocka_unit_test(nobody_of_the_parent_is_in_a_child),
		cmocka_unit_test(no_reader_sees_what_is_gone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
