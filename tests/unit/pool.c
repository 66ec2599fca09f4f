/* SPDX-License-Identifier: BSD-3-Clause */
#include "test.h"

#include "util/pool.h"

enum { OBJECTS = 100000, SIZE = 128 };

static void objects_are_apart(void **state)
{
	static unsigned char *objects[OBJECTS];
	struct pool pool;

	(void)state;
	pool_init(&pool, SIZE);
	for (int round = 0; round < 2; round++) {
		for (int i = 0; i < OBJECTS; i++) {
			objects[i] = pool_alloc(&pool);
			assert_non_null(objects[i]);
			assert_int_equal((uintptr_t)objects[i] % 64, 0);
			memset(objects[i], i & 0xff, SIZE);
		}
		for (int i = 0; i < OBJECTS; i++) {
			assert_int_equal(objects[i][0], i & 0xff);
			assert_int_equal(objects[i][SIZE - 1], i & 0xff);
			pool_free(&pool, objects[i]);
		}
		assert_int_equal(pool.live, 0);
		assert_null(pool.chunks);
	}
	pool_fini(&pool);
}

static void last_in_first_out(void **state)
{
	struct pool pool;
	void *first, *second;

	(void)state;
	pool_init(&pool, 64);
	first = pool_alloc(&pool);
	second = pool_alloc(&pool);
	assert_ptr_not_equal(first, second);
	pool_free(&pool, first);
	assert_ptr_equal(pool_alloc(&pool), first);
	pool_free(&pool, second);
	assert_ptr_equal(pool_alloc(&pool), second);
	pool_fini(&pool);
	assert_null(pool.chunks);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(objects_are_apart),
		cmocka_unit_test(last_in_first_out),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
