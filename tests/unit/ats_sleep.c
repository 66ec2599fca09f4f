/* SPDX-License-Identifier: BSD-3-Clause */
/* Translated accesses that sleep, on a page whose fault is answered when the test wants it, and whoever takes them away. */
#include "keeper.h"

#include "clock.h"
#include "sleeper.h"

#define IOVA_SLOW UINT64_C(0x40000000)

static int setup_slow(void **state)
{
	struct uiommu_ioas_map map = {
		.size = sizeof(map),
		.flags = UIOMMU_MAP_READ | UIOMMU_MAP_WRITE | UIOMMU_MAP_FIXED,
		.length = page_size(),
		.iova = IOVA_SLOW,
	};

	setup_clock(state);
	if (!slow_make())
		return 0;
	map.ioas_id = g.ioas;
	map.address = slow;
	assert_int_equal(uiommu_ioas_map(g.context, &map), 0);
	return uiommu_attach(g.context, g.device_id, PASID, g.ioas);
}

static int teardown_slow(void **state)
{
	teardown(state);
	slow_end();
	return 0;
}

static struct uiommu_atc *atc;

static int read_translated(struct sleeper *sleeper)
{
	return translated_read(PASID, IOVA_SLOW, &sleeper->value, NULL);
}

static int read_by_atc(struct sleeper *sleeper)
{
	struct uiommu_dma_op op = {.address = IOVA_SLOW, .buffer = &sleeper->value, .length = 8, .pasid = PASID};

	return uiommu_atc_read(atc, &op);
}

static int call_disable(void *opaque)
{
	(void)opaque;
	return uiommu_ats_disable(g.device);
}

static int call_destroy(void *opaque)
{
	return uiommu_atc_destroy(opaque);
}

static void the_end_of_ats_waits(void **state)
{
	struct remover remover = {.remove = call_disable};
	struct sleeper sleeper = {.read = read_translated};

	(void)state;
	need_slow();
	assert_int_equal(keeper_enable(0), 0);
	removal_waits(&sleeper, &remover);
	assert_int_equal(translated_read(PASID, IOVA_SLOW, &sleeper.value, NULL), -EFAULT);
}

static void the_end_of_an_atc_waits(void **state)
{
	struct sleeper sleeper = {.read = read_by_atc};
	struct remover remover = {.remove = call_destroy};

	(void)state;
	need_slow();
	assert_int_equal(uiommu_atc_create(g.device, 64, 0, &atc), 0);
	remover.opaque = atc;
	removal_waits(&sleeper, &remover);
}

static unsigned int calls(const struct done *done)
{
	return __atomic_load_n(&done->calls, __ATOMIC_ACQUIRE);
}

static int call_invalidate(void *opaque)
{
	const struct uiommu_ats_invalidation all = {.last = UINT64_MAX, .pasid = PASID};

	return uiommu_ats_invalidate(g.context, g.device_id, &all, note_done, opaque);
}

/* Whoever cuts it off does not wait; but nothing is completed as long as the access runs, also not what is asked meanwhile. */
static void a_cut_off_completes_later(void **state)
{
	struct done before = {0}, after = {0};
	struct sleeper sleeper = {.read = read_translated};
	unsigned int early;

	(void)state;
	need_slow();
	assert_int_equal(keeper_enable(20), 0);
	k.late = true;
	sleeper_start(&sleeper);
	assert_int_equal(call_invalidate(&before), 0);
	clock_pass(20000000);
	early = calls(&before);
	assert_int_equal(call_invalidate(&after), 0);
	early += calls(&after);
	assert_int_equal(uiommu_ats_invalidated(g.device, k.tags[0]), -EINVAL);
	sleeper_end(&sleeper);
	assert_int_equal(early, 0);
	assert_int_equal(calls(&before), 1);
	assert_int_equal(before.error, -ETIMEDOUT);
	assert_int_equal(calls(&after), 1);
	assert_int_equal(after.error, -ETIMEDOUT);
	assert_int_equal(k.asked, 1);
}

/* A device that has been cut off and is reset at the same time. */
static void the_end_of_ats_waits_for_a_cut_off(void **state)
{
	struct remover remover = {.remove = call_disable};
	struct sleeper sleeper = {.read = read_translated};
	struct done done = {0};
	uint64_t value;

	(void)state;
	need_slow();
	assert_int_equal(keeper_enable(20), 0);
	k.late = true;
	sleeper_start(&sleeper);
	assert_int_equal(call_invalidate(&done), 0);
	clock_pass(20000000);
	assert_int_equal(pthread_create(&remover.thread, NULL, remove_main, &remover), 0);
	sleeper_end(&sleeper);
	pthread_join(remover.thread, NULL);
	assert_int_equal(remover.rc, 0);
	assert_int_equal(calls(&done), 1);
	assert_int_equal(done.error, -ETIMEDOUT);
	assert_int_equal(uiommu_detach(g.context, g.device_id, PASID), 0);
	assert_int_equal(uiommu_attach(g.context, g.device_id, PASID, g.ioas), 0);
	assert_int_equal(keeper_enable(0), 0);
	assert_int_equal(translated_read(PASID, IOVA_SLOW, &value, NULL), 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup_slow, teardown_slow)
	const struct CMUnitTest tests[] = {
		TEST(the_end_of_ats_waits),
		TEST(the_end_of_an_atc_waits),
		TEST(a_cut_off_completes_later),
		TEST(the_end_of_ats_waits_for_a_cut_off),
	};

	if (traps_install())
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
