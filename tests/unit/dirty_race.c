/* SPDX-License-Identifier: BSD-3-Clause */
/* Dirty tracking of paging HWPTs, while devices write. */
#include "dirty.h"

#include <pthread.h>
#include <sched.h>

#include "util/rcu.h"

enum { WRITERS = 2, HOT = 64, ROUNDS = 1500 };

static struct {
	bool stop;
	unsigned long writes[WRITERS];
} race;

/* Numbers that rise, each writer's at a place of its own in all of the first pages. */
static void *write_numbers(void *opaque)
{
	uintptr_t me = (uintptr_t)opaque;
	uint64_t seed = 88172645463325252u + me;

	for (uint64_t number = 1; !__atomic_load_n(&race.stop, __ATOMIC_ACQUIRE); number++) {
		uint64_t page = random_number(&seed) % HOT;

		uiommu_dma_write(r.devices[0], UIOMMU_NO_PASID, BASE + page * PAGE + me * 8, &number, 8, NULL);
		__atomic_store_n(&race.writes[me], number, __ATOMIC_RELEASE);
	}
	return NULL;
}

static void start(pthread_t *threads)
{
	memset(&race, 0, sizeof(race));
	for (uintptr_t i = 0; i < WRITERS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, write_numbers, (void *)i), 0);
}

static void stop(pthread_t *threads)
{
	__atomic_store_n(&race.stop, true, __ATOMIC_RELEASE);
	for (unsigned int i = 0; i < WRITERS; i++)
		pthread_join(threads[i], NULL);
}

static void wait_for_a_write(void)
{
	unsigned long before = __atomic_load_n(&race.writes[0], __ATOMIC_ACQUIRE);

	while (__atomic_load_n(&race.writes[0], __ATOMIC_ACQUIRE) == before)
		sched_yield();
}

static uint64_t number_at(const uint8_t *memory, unsigned int page, unsigned int writer)
{
	return __atomic_load_n((const uint64_t *)(const void *)(memory + (size_t)page * PAGE) + writer, __ATOMIC_RELAXED);
}

/* A migration: what is dirty is copied. */
static unsigned int copy_dirty(uint64_t (*copy)[WRITERS])
{
	uint64_t bitmap[PAGES / 64] = {0};
	unsigned int copied = 0;

	assert_int_equal(look(0, 0, BASE, BYTES, PAGE, bitmap), 0);
	for (unsigned int page = 0; page < PAGES; page++) {
		if (!bit(bitmap, page))
			continue;
		assert_true(page < HOT);
		copied++;
		for (unsigned int i = 0; i < WRITERS; i++)
			copy[page][i] = number_at(r.memory, page, i);
	}
	return copied;
}

static void check_copy(uint64_t (*copy)[WRITERS])
{
	for (unsigned int page = 0; page < HOT; page++)
		for (unsigned int i = 0; i < WRITERS; i++)
			assert_int_equal(copy[page][i], number_at(r.memory, page, i));
}

static void migrate(bool own)
{
	uint64_t copy[HOT][WRITERS] = {{0}};
	unsigned int rounds = scaled(ROUNDS), copied = 0;
	pthread_t threads[WRITERS];

	traps_on();
	assert_int_equal(map(0, PAGES, RW, own), 0);
	start(threads);
	wait_for_a_write();
	for (unsigned int i = 0; i < rounds; i++) {
		if (i % 100 == 0) {
			assert_int_equal(track(0, 0), 0);
			wait_for_a_write();
			assert_int_equal(track(0, UIOMMU_DIRTY_TRACKING_ENABLE), 0);
			/* Everything is copied once, after it has been switched on. */
			for (unsigned int page = 0; page < HOT; page++)
				for (unsigned int k = 0; k < WRITERS; k++)
					copy[page][k] = number_at(r.memory, page, k);
		}
		copied += copy_dirty(copy);
		if (i % 16 == 0)
			wait_for_a_write();
	}
	stop(threads);
	copy_dirty(copy);
	check_copy(copy);
	assert_int_equal(copy_dirty(copy), 0);
	assert_true(copied > 0);
}

static void nothing_is_missed(void **state)
{
	(void)state;
	migrate(false);
}

static void nothing_is_missed_that_sleeps(void **state)
{
	(void)state;
	migrate(true);
}

/* Pages come and go; what is written to those that have come is told. */
static void maps_against_writes(void **state)
{
	unsigned int rounds = scaled(ROUNDS) / 4;
	pthread_t threads[WRITERS];

	(void)state;
	traps_on();
	start(threads);
	assert_int_equal(track(0, UIOMMU_DIRTY_TRACKING_ENABLE), 0);
	assert_int_equal(track(1, UIOMMU_DIRTY_TRACKING_ENABLE), 0);
	for (unsigned int i = 0; i < rounds; i++) {
		uint64_t bitmap[PAGES / 64] = {0};
		unsigned int half = HOT / 2;

		memset(r.memory, 0, (size_t)HOT * PAGE);
		assert_int_equal(map(0, half, RW, i % 2), 0);
		assert_int_equal(map(half, half, RW, i % 3), 0);
		if (i % 4 == 0)
			wait_for_a_write();
		/* No write is left when the device is gone. */
		assert_int_equal(uiommu_detach(r.context, r.ids[0], UIOMMU_NO_PASID), 0);
		assert_int_equal(look(0, UIOMMU_DIRTY_BITMAP_NO_CLEAR, BASE, BYTES, PAGE, bitmap), 0);
		for (unsigned int page = 0; page < HOT; page++)
			assert_true(bit(bitmap, page) || !(number_at(r.memory, page, 0) | number_at(r.memory, page, 1)));
		assert_int_equal(uiommu_attach(r.context, r.ids[0], UIOMMU_NO_PASID, r.hwpts[0]), 0);
		if (i % 4 == 0)
			wait_for_a_write();
		if (i % 2)
			assert_int_equal(unmap(0, half), 0);
		assert_int_equal(unmap(i % 2 ? half : 0, i % 2 ? half : HOT), 0);
		for (unsigned int page = 0; page < HOT; page++)
			for (unsigned int k = 0; k < WRITERS; k++)
				number_at(r.memory, page, k);
	}
	stop(threads);
}

static void *unmap_first(void *unused)
{
	(void)unused;
	assert_int_equal(unmap(0, 8), 0);
	return NULL;
}

/* A device that found a page just before it went may write to what is mapped there next, until it has left. */
static void what_comes_before_all_have_left(void **state)
{
	uint64_t bitmap[PAGES / 64] = {0}, value;
	pthread_t thread;

	(void)state;
	traps_on();
	assert_int_equal(map(0, 8, RW, false), 0);
	assert_int_equal(map(8, 8, RW, false), 0);
	assert_int_equal(track(0, UIOMMU_DIRTY_TRACKING_ENABLE), 0);
	/* Whoever does DMA is known from then on. */
	assert_int_equal(uiommu_dma_read(r.devices[0], UIOMMU_NO_PASID, BASE, &value, 8, NULL), 0);
	rcu_enter();
	assert_int_equal(pthread_create(&thread, NULL, unmap_first, NULL), 0);
	while (map(4, 1, RW, false) == -EEXIST)
		sched_yield();
	assert_int_equal(map(5, 1, UIOMMU_MAP_READ, false), 0);
	assert_int_equal(map(20, 4, RW, false), 0);
	assert_int_equal(look(0, UIOMMU_DIRTY_BITMAP_NO_CLEAR, BASE, BYTES, PAGE, bitmap), 0);
	rcu_leave();
	pthread_join(thread, NULL);
	for (unsigned int page = 0; page < PAGES; page++)
		assert_int_equal(bit(bitmap, page), page == 4);
	assert_int_equal(dirty_page(0, 0), 4);
	assert_int_equal(map(6, 1, RW, false), 0);
	assert_int_equal(dirty_page(0, 0), PAGES);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(what_comes_before_all_have_left, setup, teardown),
		cmocka_unit_test_setup_teardown(nothing_is_missed, setup, teardown),
		cmocka_unit_test_setup_teardown(nothing_is_missed_that_sleeps, setup, teardown),
		cmocka_unit_test_setup_teardown(maps_against_writes, setup, teardown),
	};

	assert_int_equal(traps_install(), 0);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
