/* SPDX-License-Identifier: BSD-3-Clause */
/* Subscribers of sets of PASIDs, what they are told and what they hold; and everything at once. */
#include "pasid_sets.h"

/* --- subscribers --- */

struct listener {
	struct uiommu_pasid_subscription *subscription;
	const char *name;
	unsigned int answer;
	char seen[EVENTS * 4]; /* "A10 B10 ..." */
	uint64_t generation;
	sem_t *entered, *leave; /* of the next BIND, if set */
	uint32_t frees; /* in the callback of ALLOC, another number */
};

static char order[EVENTS]; /* names, as they were told */

static unsigned int hear(void *opaque, const struct uiommu_pasid_notice *notice)
{
	static const char letters[] = {
		[UIOMMU_PASID_ALLOC] = 'A', [UIOMMU_PASID_UNBIND] = 'U', [UIOMMU_PASID_BIND] = 'B', [UIOMMU_PASID_FREE] = 'F'};
	struct listener *listener = opaque;
	size_t length = strlen(listener->seen);

	snprintf(listener->seen + length, sizeof(listener->seen) - length, "%c%u ", letters[notice->event], notice->pasid);
	listener->generation = notice->generation;
	strncat(order, listener->name, sizeof(order) - strlen(order) - 1);
	if (listener->entered && notice->event == UIOMMU_PASID_BIND) {
		sem_post(listener->entered);
		sem_wait(listener->leave);
	}
	return listener->answer;
}

static void listen_to(struct listener *listener, const char *name, unsigned int answer)
{
	struct uiommu_pasid_subscribe request = {.size = sizeof(request), .notify = hear, .opaque = listener};

	*listener = (struct listener){.name = name, .answer = answer};
	assert_int_equal(uiommu_pasid_subscribe(w->context, set, &request, &listener->subscription), 0);
}

static void heard(struct listener *listener, const char *what)
{
	assert_string_equal(listener->seen, what);
	listener->seen[0] = 0;
}

static void events_in_order(void **state)
{
	struct uiommu_pasid_subscribe request = {.size = sizeof(request)};
	struct uiommu_pasid_subscription *none;
	struct listener first, second;

	(void)state;
	assert_int_equal(uiommu_pasid_subscribe(w->context, set, &request, &none), -EINVAL);
	request.notify = hear;
	request.flags = 1;
	assert_int_equal(uiommu_pasid_subscribe(w->context, set, &request, &none), -EOPNOTSUPP);
	request.flags = 0;
	assert_int_equal(uiommu_pasid_subscribe(w->context, w->ioas, &request, &none), -ENOENT);
	listen_to(&first, "1", UIOMMU_PASID_DONE);
	listen_to(&second, "2", UIOMMU_PASID_DONE);
	order[0] = 0;
	take(10, 10);
	attach(10);
	assert_int_equal(detach(10), 0);
	attach(10);
	assert_int_equal(give(10), 0);
	assert_string_equal(order, "121212121212");
	heard(&first, "A10 B10 U10 B10 U10 F10 ");
	heard(&second, "A10 B10 U10 B10 U10 F10 ");

	/* Of this set, and from now on. */
	attach(10);
	assert_int_equal(detach(10), 0);
	heard(&first, "");
	assert_int_equal(uiommu_pasid_unsubscribe(first.subscription), 0);
	take(11, 11);
	assert_int_equal(give(11), 0);
	heard(&first, "");
	heard(&second, "A11 F11 ");
	assert_int_equal(uiommu_destroy(w->context, set), -EBUSY);
	assert_int_equal(uiommu_pasid_unsubscribe(second.subscription), 0);
	assert_int_equal(uiommu_destroy(w->context, set), 0);
}

/* The context's own set: what binds and attachments take by themselves. */
static void implicit_numbers(void **state)
{
	struct listener own;
	uint32_t mine = set;

	(void)state;
	set = UIOMMU_PASID_SET_OWN;
	listen_to(&own, "o", UIOMMU_PASID_DONE);
	attach(300);
	assert_int_equal(detach(300), 0);
	heard(&own, "A300 B300 U300 F300 ");
	assert_int_equal(bind_self(300), 0);
	assert_int_equal(bind_self(301), -EBUSY); /* the same process, and it has one */
	heard(&own, "A300 B300 ");
	assert_int_equal(uiommu_attach(w->context, w->device_id, 300, w->ioas), -EBUSY);
	own.answer = UIOMMU_PASID_HOLD;
	assert_int_equal(uiommu_unbind(w->context, w->device_id, 300), 0);
	assert_int_equal(info_of(set, 300).state, UIOMMU_PASID_STATE_DRAINING);
	assert_int_equal(uiommu_attach(w->context, w->device_id, 300, w->ioas), -EBUSY);
	assert_int_equal(uiommu_pasid_release(own.subscription, 300, own.generation), 0);
	assert_int_equal(info_of(set, 300).state, UIOMMU_PASID_STATE_FREE);
	/* An attach that fails leaves nothing. */
	own.answer = UIOMMU_PASID_DONE;
	own.seen[0] = 0;
	assert_int_equal(uiommu_attach(w->context, w->device_id, 301, 12345), -ENOENT);
	assert_int_equal(info_of(set, 301).state, UIOMMU_PASID_STATE_FREE);
	assert_int_equal(uiommu_pasid_unsubscribe(own.subscription), 0);
	set = mine;
}

static void holders(void **state)
{
	struct listener first, second;
	uint64_t generation;

	(void)state;
	listen_to(&first, "1", UIOMMU_PASID_HOLD);
	listen_to(&second, "2", UIOMMU_PASID_HOLD);
	take(10, 10);
	generation = first.generation;
	assert_int_equal(uiommu_pasid_release(first.subscription, 10, generation), -ENOENT);
	assert_int_equal(give(10), 0);
	is(10, UIOMMU_PASID_STATE_DRAINING);
	assert_int_equal(info_of(set, 10).holders, 2);
	assert_int_equal(uiommu_pasid_release(first.subscription, 10, generation + 1), -ENOENT);
	assert_int_equal(uiommu_pasid_release(first.subscription, 11, generation), -ENOENT);
	assert_int_equal(uiommu_pasid_release(first.subscription, 10, generation), 0);
	assert_int_equal(uiommu_pasid_release(first.subscription, 10, generation), -ENOENT);
	is(10, UIOMMU_PASID_STATE_DRAINING);
	assert_int_equal(info_of(set, 10).holders, 1);

	/* Who unsubscribes lets go of all that he holds. */
	take(11, 11);
	first.answer = UIOMMU_PASID_DONE;
	assert_int_equal(give(11), 0);
	is(11, UIOMMU_PASID_STATE_DRAINING);
	assert_int_equal(uiommu_pasid_unsubscribe(second.subscription), 0);
	is(10, UIOMMU_PASID_STATE_FREE);
	is(11, UIOMMU_PASID_STATE_FREE);

	/* Or is still there when the context closes. */
	take(10, 10);
	first.answer = UIOMMU_PASID_HOLD;
	assert_int_equal(give(10), 0);
	is(10, UIOMMU_PASID_STATE_DRAINING);
}

static void *attach_main(void *opaque)
{
	attach(*(const uint32_t *)opaque);
	return NULL;
}

/* A subscriber that is slow with one number: its events wait, in order; other numbers, and who makes the steps, do not. */
static void slow_subscriber(void **state)
{
	uint32_t pasid = take(10, 10);
	struct listener listener;
	sem_t entered, leave;
	pthread_t thread;

	(void)state;
	listen_to(&listener, "1", UIOMMU_PASID_DONE);
	sem_init(&entered, 0, 0);
	sem_init(&leave, 0, 0);
	listener.entered = &entered;
	listener.leave = &leave;
	assert_int_equal(pthread_create(&thread, NULL, attach_main, &pasid), 0);
	sem_wait(&entered);
	assert_int_equal(detach(pasid), 0);
	attach(pasid); /* ends before anybody is told of it */
	assert_int_equal(give(pasid), 0);
	is(pasid, UIOMMU_PASID_STATE_DRAINING);
	assert_int_equal(uiommu_pasid_alloc(w->context, set, pasid, pasid, &pasid), -EBUSY);
	take(20, 20);
	assert_int_equal(give(20), 0);
	is(20, UIOMMU_PASID_STATE_FREE);
	sem_post(&leave);
	pthread_join(thread, NULL);
	is(pasid, UIOMMU_PASID_STATE_FREE);
	heard(&listener, "B10 A20 F20 U10 F10 ");
	assert_int_equal(uiommu_pasid_unsubscribe(listener.subscription), 0);
	sem_destroy(&entered);
	sem_destroy(&leave);
}

static struct uiommu_pasid_subscription *inside;

/* It lets go before it has answered that it holds; and takes something away, which it must not. */
static unsigned int hasty(void *opaque, const struct uiommu_pasid_notice *notice)
{
	uint32_t pasid;

	(void)opaque;
	assert_int_equal(uiommu_pasid_unsubscribe(inside), -EDEADLK);
	assert_int_equal(uiommu_pasid_free(w->context, set, notice->pasid), -EDEADLK);
	assert_int_equal(uiommu_pasid_free_all(w->context, set), -EDEADLK);
	assert_int_equal(uiommu_unbind(w->context, w->device_id, w->self), -EDEADLK);
	if (notice->event == UIOMMU_PASID_ALLOC && notice->pasid < 12)
		assert_int_equal(uiommu_pasid_alloc(w->context, set, notice->pasid + 1, notice->pasid + 1, &pasid), 0);
	if (notice->event == UIOMMU_PASID_FREE)
		assert_int_equal(uiommu_pasid_release(inside, notice->pasid, notice->generation), 0);
	return UIOMMU_PASID_HOLD;
}

static void calls_inside_a_callback(void **state)
{
	struct uiommu_pasid_subscribe request = {.size = sizeof(request), .notify = hasty};

	(void)state;
	assert_int_equal(uiommu_pasid_subscribe(w->context, set, &request, &inside), 0);
	take(10, 10);
	is(12, UIOMMU_PASID_STATE_ALLOCATED);
	assert_int_equal(uiommu_pasid_free_all(w->context, set), 0);
	assert_int_equal(counts().count, 0);
	assert_int_equal(uiommu_pasid_unsubscribe(inside), 0);
}

static void as_many_as_there_can_be(void **state)
{
	struct uiommu_pasid_subscribe request = {.size = sizeof(request), .notify = hear};
	static struct listener listeners[32];
	struct uiommu_pasid_subscription *one_more;

	(void)state;
	for (unsigned int i = 0; i < 32; i++)
		listen_to(&listeners[i], "x", UIOMMU_PASID_HOLD);
	assert_int_equal(uiommu_pasid_subscribe(w->context, set, &request, &one_more), -ENOSPC);
	assert_int_equal(counts().subscriptions, 32);
	take(10, 10);
	assert_int_equal(give(10), 0);
	assert_int_equal(info_of(set, 10).holders, 32);
	for (unsigned int i = 0; i < 32; i++) {
		is(10, UIOMMU_PASID_STATE_DRAINING);
		assert_int_equal(uiommu_pasid_unsubscribe(listeners[i].subscription), 0);
	}
	is(10, UIOMMU_PASID_STATE_FREE);
}

/* --- a race: looks against numbers that change hands --- */

enum { RACE_NUMBERS = 4, RACE_ROUNDS = 20000 };

struct race {
	uint32_t sets[2];
	struct uiommu_pasid_set *handles[2];
	uint64_t data[2][RACE_NUMBERS]; /* what each set attaches: its own index in the upper half, the number in the lower one */
	bool stop;
	unsigned long found;
};

static void *look_main(void *opaque)
{
	struct race *race = opaque;

	for (unsigned int i = 0; !__atomic_load_n(&race->stop, __ATOMIC_RELAXED); i++) {
		uint32_t pasid = 1000 + i % RACE_NUMBERS, who = i / RACE_NUMBERS % 2;
		const uint64_t *data;

		uiommu_pasid_read_begin();
		data = uiommu_pasid_find(race->handles[who], pasid);
		if (data) {
			assert_int_equal(*data, (uint64_t)who << 32 | pasid);
			__atomic_add_fetch(&race->found, 1, __ATOMIC_RELAXED);
		}
		uiommu_pasid_read_end();
	}
	return NULL;
}

static void looks_find_their_own(void **state)
{
	struct race race = {.stop = false};
	struct uiommu_pasid_set_alloc alloc = {.size = sizeof(alloc)};
	pthread_t threads[2];

	(void)state;
	for (uint32_t who = 0; who < 2; who++) {
		assert_int_equal(uiommu_pasid_set_alloc(w->context, &alloc, &race.sets[who]), 0);
		race.handles[who] = uiommu_pasid_set_get(w->context, race.sets[who]);
		for (uint32_t i = 0; i < RACE_NUMBERS; i++)
			race.data[who][i] = (uint64_t)who << 32 | (1000 + i);
	}
	for (unsigned int i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, look_main, &race), 0);
	for (unsigned int i = 0; i < scaled(RACE_ROUNDS) || !__atomic_load_n(&race.found, __ATOMIC_RELAXED); i++) {
		uint32_t n = i % RACE_NUMBERS, who = (i / RACE_NUMBERS) % 2, pasid;

		assert_int_equal(uiommu_pasid_alloc(w->context, race.sets[who], 1000 + n, 1000 + n, &pasid), 0);
		assert_int_equal(uiommu_pasid_set_data(w->context, race.sets[who], pasid, &race.data[who][n], NULL), 0);
		assert_int_equal(uiommu_pasid_free(w->context, race.sets[who], pasid), 0);
	}
	__atomic_store_n(&race.stop, true, __ATOMIC_RELAXED);
	for (unsigned int i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	print_message("# %lu found\n", race.found);
	for (uint32_t who = 0; who < 2; who++)
		uiommu_pasid_set_put(race.handles[who]);
}

/* --- a race: everything at once, on few numbers --- */

enum { STORM_NUMBERS = 4, STORM_ROUNDS = 3000, STORM_THREADS = 3 };

struct storm {
	struct uiommu_pasid_subscription *subscription;
	pthread_mutex_t lock;
	struct uiommu_pasid_notice held; /* what it holds; pasid 0: nothing */
	bool known[STORM_NUMBERS], bound[STORM_NUMBERS];
	uint64_t generation[STORM_NUMBERS];
	unsigned long told;
};

/* The order of each number's events is right; and it holds now and then, until the next one it is told of. */
static unsigned int storm_hear(void *opaque, const struct uiommu_pasid_notice *notice)
{
	struct storm *storm = opaque;
	struct uiommu_pasid_notice held = {.pasid = 0};
	uint32_t n = notice->pasid - 2000;
	bool hold;

	assert_int_equal(storm->known[n], notice->event != UIOMMU_PASID_ALLOC);
	if (notice->event == UIOMMU_PASID_ALLOC)
		assert_true(notice->generation > storm->generation[n]);
	else
		assert_true(notice->generation == storm->generation[n]);
	assert_int_equal(storm->bound[n], notice->event == UIOMMU_PASID_UNBIND);
	storm->generation[n] = notice->generation;
	storm->known[n] = notice->event != UIOMMU_PASID_FREE;
	storm->bound[n] = notice->event == UIOMMU_PASID_BIND;
	pthread_mutex_lock(&storm->lock);
	hold = notice->event == UIOMMU_PASID_FREE && storm->told++ % 3 == 0;
	if (hold) {
		held = storm->held;
		storm->held = *notice;
	}
	pthread_mutex_unlock(&storm->lock);
	if (held.pasid)
		assert_int_equal(uiommu_pasid_release(storm->subscription, held.pasid, held.generation), 0);
	return hold ? UIOMMU_PASID_HOLD : UIOMMU_PASID_DONE;
}

static void *storm_main(void *opaque)
{
	unsigned int seed = (unsigned int)(uintptr_t)opaque;

	for (unsigned int i = 0; i < scaled(STORM_ROUNDS); i++) {
		uint32_t pasid = 2000 + (uint32_t)rand_r(&seed) % STORM_NUMBERS, got;
		unsigned int reason;

		switch (rand_r(&seed) % 8) {
		case 0:
		case 1:
			uiommu_pasid_alloc(w->context, set, pasid, pasid, &got);
			break;
		case 2:
			/* Only what is the set's: else it would be the context's own. */
			if (info_of(set, pasid).state != UIOMMU_PASID_STATE_FREE)
				uiommu_attach(w->context, w->device_id, pasid, w->ioas);
			break;
		case 3:
			if (info_of(set, pasid).state != UIOMMU_PASID_STATE_FREE)
				bind_self(pasid);
			break;
		case 4:
			detach(pasid);
			uiommu_unbind(w->context, w->device_id, pasid);
			break;
		case 5:
			uiommu_replace(w->context, w->device_id, pasid, w->ioas);
			break;
		case 6:
			give(pasid);
			break;
		default:
			readable(pasid, &reason);
		}
	}
	return NULL;
}

static void everything_at_once(void **state)
{
	struct storm storm = {.lock = PTHREAD_MUTEX_INITIALIZER};
	struct uiommu_pasid_subscribe request = {.size = sizeof(request), .notify = storm_hear, .opaque = &storm};
	struct uiommu_pasid_set_info own = {.size = sizeof(own)};
	pthread_t threads[STORM_THREADS];

	(void)state;
	traps_on();
	assert_int_equal(uiommu_pasid_subscribe(w->context, set, &request, &storm.subscription), 0);
	for (uintptr_t i = 0; i < STORM_THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, storm_main, (void *)(i + 1)), 0);
	for (unsigned int i = 0; i < STORM_THREADS; i++)
		pthread_join(threads[i], NULL);
	print_message("# %lu frees\n", storm.told);
	assert_int_equal(uiommu_pasid_free_all(w->context, set), 0);
	assert_int_equal(uiommu_pasid_unsubscribe(storm.subscription), 0);
	for (uint32_t pasid = 2000; pasid < 2000 + STORM_NUMBERS; pasid++) {
		assert_int_equal(detach(pasid), 0);
		uiommu_unbind(w->context, w->device_id, pasid);
	}
	assert_int_equal(counts().count, 0);
	assert_int_equal(uiommu_destroy(w->context, set), 0);
	assert_int_equal(uiommu_pasid_set_info(w->context, UIOMMU_PASID_SET_OWN, &own), 0);
	assert_int_equal(own.count, 2); /* the world's binds */
	assert_int_equal(own.draining, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(events_in_order, setup, teardown),
		cmocka_unit_test_setup_teardown(implicit_numbers, setup, teardown),
		cmocka_unit_test_setup_teardown(holders, setup, teardown),
		cmocka_unit_test_setup_teardown(slow_subscriber, setup, teardown),
		cmocka_unit_test_setup_teardown(calls_inside_a_callback, setup, teardown),
		cmocka_unit_test_setup_teardown(as_many_as_there_can_be, setup, teardown),
		cmocka_unit_test_setup_teardown(looks_find_their_own, setup, teardown),
		cmocka_unit_test_setup_teardown(everything_at_once, setup, teardown),
	};

	if (traps_install())
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
