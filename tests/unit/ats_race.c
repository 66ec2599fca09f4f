/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Devices that keep translations, against a guest that takes them away. When the guest's invalidation has returned it gives the
 * page to somebody else at once: a device that still uses it reads poison or spoils it. The page stays mapped all the time, so that
 * nothing protects it but that the device has forgotten.
 */
#include "guest.h"

#include <sched.h>

enum { THREADS = 2, ROUNDS = 300, FRAMES = 2, GOOD = 0x11, POISON = 0xee };

static struct {
	uint64_t root, frames[FRAMES], *leaf;
	uint32_t nested;
	bool stop;
	struct uiommu_atc *atc;
	unsigned long done[THREADS], poisoned;
} race;

/* How a thread reads or writes its part of the page, which begins at VA. */
typedef uint64_t access_fn(uint64_t offset, bool write, void *buffer, size_t length);

static uint64_t by_atc(uint64_t offset, bool write, void *buffer, size_t length)
{
	struct uiommu_dma_op op = {.address = VA + offset, .buffer = buffer, .length = length, .pasid = PASID};

	if (write)
		uiommu_atc_write(race.atc, &op);
	else
		uiommu_atc_read(race.atc, &op);
	return op.result.done;
}

/* One translation, with those who use it counted: an invalidation is completed by the last of them. */
static struct {
	pthread_mutex_t lock;
	struct uiommu_ats_completion completion;
	bool valid;
	unsigned int users[2], current; /* by the number of invalidations */
	uint32_t tags[2];
	bool waits[2];
} own = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void own_keep(void *opaque, const struct uiommu_ats_completion *completion)
{
	(void)opaque;
	pthread_mutex_lock(&own.lock);
	own.completion = *completion;
	own.valid = completion->access == (UIOMMU_READ | UIOMMU_WRITE);
	pthread_mutex_unlock(&own.lock);
}

/* The test invalidates one thing at a time. */
static void own_invalidate(void *opaque, uint32_t tag, const struct uiommu_ats_invalidation *what)
{
	unsigned int old;
	bool now;

	(void)opaque;
	(void)what;
	pthread_mutex_lock(&own.lock);
	own.valid = false;
	old = own.current;
	own.current = !old;
	now = !own.users[old];
	own.tags[old] = tag;
	own.waits[old] = !now;
	pthread_mutex_unlock(&own.lock);
	if (now)
		assert_int_equal(uiommu_ats_invalidated(g.device, tag), 0);
}

static void own_leave(unsigned int generation)
{
	bool answers;

	pthread_mutex_lock(&own.lock);
	answers = !--own.users[generation] && own.waits[generation];
	if (answers)
		own.waits[generation] = false;
	pthread_mutex_unlock(&own.lock);
	if (answers)
		assert_int_equal(uiommu_ats_invalidated(g.device, own.tags[generation]), 0);
}

static uint64_t by_own(uint64_t offset, bool write, void *buffer, size_t length)
{
	const struct uiommu_ats_request request = {
		.address = VA, .pasid = PASID, .access = UIOMMU_READ | UIOMMU_WRITE, .keep = own_keep};
	struct uiommu_dma_op op = {.buffer = buffer, .length = length, .pasid = PASID, .flags = UIOMMU_DMA_TRANSLATED};
	struct uiommu_ats_completion completion;
	unsigned int generation;
	bool valid;

	pthread_mutex_lock(&own.lock);
	valid = own.valid;
	op.address = own.completion.address + offset;
	generation = own.current;
	own.users[generation] += valid;
	pthread_mutex_unlock(&own.lock);
	if (!valid) {
		uiommu_ats_translate(g.device, &request, &completion);
		return 0;
	}
	if (write)
		uiommu_dma_writev(g.device, &op, 1);
	else
		uiommu_dma_readv(g.device, &op, 1);
	own_leave(generation);
	return op.result.done;
}

static const struct uiommu_ats_ops own_ops = {.invalidate = own_invalidate};

struct user {
	pthread_t thread;
	unsigned int index;
	access_fn *access;
};

static void *user_main(void *opaque)
{
	struct user *user = opaque;
	uint8_t buffer[512];

	for (unsigned int round = 0; !__atomic_load_n(&race.stop, __ATOMIC_ACQUIRE); round++) {
		bool write = round % 2;
		uint64_t done;

		memset(buffer, GOOD, sizeof(buffer));
		done = user->access(user->index * sizeof(buffer), write, buffer, sizeof(buffer));
		for (uint64_t i = 0; i < done; i++)
			if (buffer[i] != GOOD)
				__atomic_add_fetch(&race.poisoned, 1, __ATOMIC_RELAXED);
		if (done)
			__atomic_add_fetch(&race.done[user->index], 1, __ATOMIC_RELEASE);
	}
	return NULL;
}

static void wait_for(unsigned int index)
{
	unsigned long before = __atomic_load_n(&race.done[index], __ATOMIC_ACQUIRE);

	while (__atomic_load_n(&race.done[index], __ATOMIC_ACQUIRE) == before)
		sched_yield();
}

static void poison(uint64_t frame)
{
	memset(at(frame), POISON, PAGE);
	sched_yield();
	for (unsigned int i = 0; i < PAGE; i++)
		assert_int_equal(at(frame)[i], POISON);
	memset(at(frame), GOOD, PAGE);
}

static void move_page(unsigned int round)
{
	struct uiommu_invalidation part = {.start = VA, .last = VA + PAGE - 1};

	__atomic_store_n(race.leaf, race.frames[(round + 1) % FRAMES] | FIRST_PAGE, __ATOMIC_RELEASE);
	assert_int_equal(uiommu_hwpt_invalidate(g.context, race.nested, &part, 1), 0);
	poison(race.frames[round % FRAMES]);
}

static void take_and_give_back(unsigned int round)
{
	(void)round;
	assert_int_equal(uiommu_detach(g.context, g.device_id, PASID), 0);
	poison(race.frames[0]);
	poison(race.frames[1]);
	assert_int_equal(uiommu_attach(g.context, g.device_id, PASID, race.nested), 0);
}

static void run(access_fn *access, void (*take)(unsigned int round), unsigned int rounds)
{
	struct user users[THREADS];

	traps_on();
	race.root = page_new();
	for (unsigned int i = 0; i < FRAMES; i++) {
		race.frames[i] = page_new();
		memset(at(race.frames[i]), GOOD, PAGE);
	}
	race.leaf = leaf_of(race.root, VA, FIRST_TABLE);
	*race.leaf = race.frames[0] | FIRST_PAGE;
	race.nested = nested_make(race.root, 0);
	assert_int_equal(uiommu_attach(g.context, g.device_id, PASID, race.nested), 0);
	for (unsigned int i = 0; i < THREADS; i++) {
		users[i] = (struct user){.index = i, .access = access};
		assert_int_equal(pthread_create(&users[i].thread, NULL, user_main, &users[i]), 0);
	}
	for (unsigned int i = 0; i < scaled(rounds); i++) {
		wait_for(i % THREADS);
		take(i);
	}
	__atomic_store_n(&race.stop, true, __ATOMIC_RELEASE);
	for (unsigned int i = 0; i < THREADS; i++)
		pthread_join(users[i].thread, NULL);
	assert_int_equal(race.poisoned, 0);
}

static void with_atc(void (*take)(unsigned int round), unsigned int rounds)
{
	memset(&race, 0, sizeof(race));
	assert_int_equal(uiommu_atc_create(g.device, 256, 0, &race.atc), 0);
	run(by_atc, take, rounds);
	assert_int_equal(uiommu_atc_destroy(race.atc), 0);
}

static void invalidations_against_an_atc(void **state)
{
	(void)state;
	with_atc(move_page, ROUNDS);
}

static void detaches_against_an_atc(void **state)
{
	(void)state;
	with_atc(take_and_give_back, ROUNDS / 4);
}

static void with_own(void (*take)(unsigned int round), unsigned int rounds)
{
	const struct uiommu_ats_config config = {.size = sizeof(config), .ops = &own_ops};

	memset(&race, 0, sizeof(race));
	own.valid = false;
	assert_int_equal(uiommu_ats_enable(g.device, &config), 0);
	run(by_own, take, rounds);
	assert_int_equal(uiommu_ats_disable(g.device), 0);
}

static void invalidations_against_an_own_cache(void **state)
{
	(void)state;
	with_own(move_page, ROUNDS);
}

static void detaches_against_an_own_cache(void **state)
{
	(void)state;
	with_own(take_and_give_back, ROUNDS / 4);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_ALL_WAYS(invalidations_against_an_atc),
		IN_ALL_WAYS(detaches_against_an_atc),
		cmocka_unit_test_setup_teardown(invalidations_against_an_own_cache, setup, teardown),
		cmocka_unit_test_setup_teardown(detaches_against_an_own_cache, setup, teardown),
	};

	assert_int_equal(traps_install(), 0);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
