/* SPDX-License-Identifier: BSD-3-Clause */
#include "test.h"

#include <pthread.h>
#include <sched.h>

#include "memory/areas.h"
#include "util/rcu.h"
#include "util/util.h"

/* The oracle knows for each of a small number of addresses which area has it. */
enum { ADDRESSES = 1 << 14, LIVE_MAX = ADDRESSES };

struct model {
	struct areas areas;
	uint64_t scale; /* addresses of the map per address of the oracle */
	struct area *at[ADDRESSES];
	struct area *live[LIVE_MAX];
	unsigned int count;
	uint64_t seed;
};

enum { OPERATIONS = 100000 };

static void model_insert(struct model *model, unsigned int first, unsigned int length)
{
	struct area *area = areas_alloc(&model->areas);
	bool taken = false;
	int rc;

	for (unsigned int i = first; i < first + length; i++)
		taken |= model->at[i] != NULL;
	assert_non_null(area);
	area->start = first * model->scale;
	area->last = (first + length) * model->scale - 1;
	area->host = (uint8_t *)area->start;
	rc = areas_insert(&model->areas, area);
	assert_int_equal(rc, taken ? -EEXIST : 0);
	if (rc) {
		areas_free(&model->areas, area);
		return;
	}
	for (unsigned int i = first; i < first + length; i++)
		model->at[i] = area;
	model->live[model->count++] = area;
}

static void model_remove(struct model *model, unsigned int which)
{
	struct area *area = model->live[which];

	areas_remove(&model->areas, area);
	for (uint64_t i = area->start / model->scale; i <= area->last / model->scale; i++)
		model->at[i] = NULL;
	model->live[which] = model->live[--model->count];
	areas_reclaim(&model->areas, areas_retired(&model->areas));
	areas_free(&model->areas, area);
}

static void model_compare_all(struct model *model)
{
	struct area *next = NULL;

	assert_int_equal(model->areas.count, model->count);
	for (unsigned int i = ADDRESSES; i--;) {
		if (model->at[i])
			next = model->at[i];
		assert_ptr_equal(areas_find(&model->areas, i * model->scale), model->at[i]);
		assert_ptr_equal(areas_find(&model->areas, i * model->scale + model->scale - 1), model->at[i]);
		assert_ptr_equal(areas_first(&model->areas, i * model->scale), next);
	}
}

static void model_run(uint64_t scale, unsigned int length_max, unsigned int target)
{
	struct model *model = calloc(1, sizeof(*model));
	unsigned int steps = scaled(OPERATIONS);

	assert_non_null(model);
	model->scale = scale;
	model->seed = 88172645463325252u;
	areas_init(&model->areas);
	for (unsigned int i = 0; i < steps; i++) {
		uint64_t random = random_number(&model->seed);
		unsigned int first = (unsigned int)(random >> 32) % (ADDRESSES - length_max), probe;

		/* In waves: the map fills up and empties. */
		if (model->count < (i / 5000 % 2 ? target / 16 : target) || !model->count)
			model_insert(model, first, 1 + (unsigned int)random % length_max);
		else
			model_remove(model, (unsigned int)(random >> 8) % model->count);
		probe = (unsigned int)(random_number(&model->seed) % ADDRESSES);
		assert_ptr_equal(areas_find(&model->areas, probe * scale), model->at[probe]);
		if (i % 1000 == 0)
			model_compare_all(model);
	}
	while (model->count)
		model_remove(model, model->count / 2);
	model_compare_all(model);
	assert_null(model->areas.root);
	assert_int_equal(model->areas.nodes.live, 0);
	assert_int_equal(model->areas.pool.live, 0);
	areas_fini(&model->areas);
	free(model);
}

static void small_areas_like_the_oracle(void **state)
{
	(void)state;
	model_run(4096, 3, 4000);
}

static void large_areas_like_the_oracle(void **state)
{
	(void)state;
	model_run(1, 200, 60);
}

/* Up to the last address there is. */
static void greatest_addresses_like_the_oracle(void **state)
{
	(void)state;
	model_run(UINT64_C(1) << 50, 16, 1000);
}

static void last_address_is_an_address(void **state)
{
	struct areas areas;
	struct area *area;

	(void)state;
	areas_init(&areas);
	area = areas_alloc(&areas);
	area->start = UINT64_MAX;
	area->last = UINT64_MAX;
	assert_int_equal(areas_insert(&areas, area), 0);
	assert_ptr_equal(areas_find(&areas, UINT64_MAX), area);
	assert_null(areas_find(&areas, UINT64_MAX - 1));
	assert_ptr_equal(areas_first(&areas, 0), area);
	assert_int_equal(areas_insert(&areas, area), -EEXIST);
	areas_remove(&areas, area);
	assert_null(areas_find(&areas, UINT64_MAX));
	areas_fini(&areas);
}

static void upwards_and_downwards(void **state)
{
	enum { COUNT = 20000 };
	struct areas areas;

	(void)state;
	for (int down = 0; down < 2; down++) {
		areas_init(&areas);
		for (uint64_t i = 0; i < COUNT; i++) {
			struct area *area = areas_alloc(&areas);
			uint64_t place = down ? COUNT - i : i;

			area->start = place * 4096;
			area->last = place * 4096 + 4095;
			assert_int_equal(areas_insert(&areas, area), 0);
			areas_reclaim(&areas, areas_retired(&areas));
		}
		for (uint64_t i = 1; i < COUNT; i++)
			assert_int_equal(areas_find(&areas, i * 4096 + i % 4096)->start, i * 4096);
		if (!down) /* full leaves */
			assert_true(areas.nodes.live < COUNT / 29);
		areas_fini(&areas);
	}
}

/*
 * Readers beside a writer: areas at even places are never touched and always found; what is found elsewhere is what was put there;
 * areas_first() never passes over an even place.
 */
enum { PLACES = 2000, READERS = 2 };

struct concurrent {
	struct areas areas;
	pthread_mutex_t lock;
	bool stop; /* atomic */
	uint64_t found;
};

static void check_place(struct concurrent *c, uint64_t place, uint64_t offset)
{
	struct area *area, *first;

	rcu_enter();
	area = areas_find(&c->areas, place * 64 + offset);
	if (area) {
		assert_true(area->start <= place * 64 + offset && place * 64 + offset <= area->last);
		assert_ptr_equal(area->host, (uint8_t *)(area->start ^ area->last));
		__atomic_fetch_add(&c->found, 1, __ATOMIC_RELAXED);
	} else {
		assert_int_equal(place % 2, 1);
	}
	first = areas_first(&c->areas, place * 64);
	assert_non_null(first);
	assert_true(first->start <= (place + place % 2) * 64);
	rcu_leave();
}

static void *reader(void *opaque)
{
	struct concurrent *c = opaque;
	uint64_t seed = (uint64_t)(uintptr_t)&seed | 1;

	rcu_register();
	while (!__atomic_load_n(&c->stop, __ATOMIC_RELAXED)) {
		uint64_t random = random_number(&seed);

		check_place(c, random % (PLACES - 1), (random >> 32) % 64);
	}
	rcu_unregister();
	return NULL;
}

static struct area *put(struct concurrent *c, uint64_t start, uint64_t last)
{
	struct area *area = areas_alloc(&c->areas);

	assert_non_null(area);
	area->start = start;
	area->last = last;
	area->host = (uint8_t *)(start ^ last);
	assert_int_equal(areas_insert(&c->areas, area), 0);
	return area;
}

static void take(struct concurrent *c, struct area *area)
{
	struct areas_node *retired;

	areas_remove(&c->areas, area);
	retired = areas_retired(&c->areas);
	rcu_wait();
	areas_reclaim(&c->areas, retired);
	area->host = NULL;
	areas_free(&c->areas, area);
}

static void readers_beside_a_writer(void **state)
{
	static struct area *odd[PLACES];
	struct concurrent c = {.stop = false};
	pthread_t threads[READERS];
	uint64_t seed = 42;

	(void)state;
	areas_init(&c.areas);
	for (uint64_t place = 0; place <= PLACES; place += 2)
		put(&c, place * 64, place * 64 + 63);
	for (int i = 0; i < READERS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, reader, &c), 0);
	/* On a busy machine the writer could be done before a reader has begun. */
	while (!__atomic_load_n(&c.found, __ATOMIC_RELAXED))
		sched_yield();
	for (unsigned int i = 0; i < scaled(OPERATIONS) / 5; i++) {
		uint64_t random = random_number(&seed), place = random % (PLACES / 2) * 2 + 1;

		if (odd[place]) {
			take(&c, odd[place]);
			odd[place] = NULL;
		} else {
			odd[place] = put(&c, place * 64 + (random >> 40) % 8, place * 64 + 32 + (random >> 50) % 32);
		}
	}
	__atomic_store_n(&c.stop, true, __ATOMIC_RELAXED);
	for (int i = 0; i < READERS; i++)
		pthread_join(threads[i], NULL);
	areas_fini(&c.areas);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(small_areas_like_the_oracle),
		cmocka_unit_test(large_areas_like_the_oracle),
		cmocka_unit_test(greatest_addresses_like_the_oracle),
		cmocka_unit_test(last_address_is_an_address),
		cmocka_unit_test(upwards_and_downwards),
		cmocka_unit_test(readers_beside_a_writer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
