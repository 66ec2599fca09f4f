/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Unmap, detach and unbind against running DMA. When one of them has returned, the memory is poisoned at once, without any other
 * synchronisation: an access that was still running is a data race for ThreadSanitizer, reads poison, or spoils it.
 */
#include "test.h"

#include <pthread.h>

#include "world.h"

/* Each thread has its own slice: among themselves they have nothing to report. */
enum { THREADS = 3, SLICE = 3 * 4096, BYTES = THREADS * SLICE, GOOD = 0x11, POISON = 0xee };

#define IOVA UINT64_C(0x70000000)

static struct world *w;
static uint8_t *memory; /* what is mapped and poisoned, of this process */

static int setup(void **state)
{
	(void)state;
	w = world_make();
	memory = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	memset(memory, GOOD, BYTES);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	munmap(memory, BYTES);
	world_end(w);
	return 0;
}

/* A thread that uses [address, address + SLICE) of a PASID in every way there is. */
struct user {
	pthread_t thread;
	uint32_t pasid;
	uint64_t address;
	bool stop;
	bool atomics;
	unsigned long poisoned;
	unsigned long done;
};

static void look(struct user *user, const uint8_t *buffer, uint64_t done)
{
	for (uint64_t i = 0; i < done; i++)
		user->poisoned += buffer[i] != GOOD;
	__atomic_store_n(&user->done, user->done + (done > 0), __ATOMIC_RELEASE);
}

static void use(struct user *user, unsigned int round, uint8_t *buffer, size_t length)
{
	uint64_t address = user->address + round * 64 % (SLICE / 2);
	struct uiommu_dma_place src = {.address = address, .pasid = user->pasid};
	struct uiommu_dma_place dst = {.address = user->address + SLICE / 2 + round * 64 % (SLICE / 4), .pasid = user->pasid};
	struct uiommu_dma_atomic atomic = {.address = user->address & ~UINT64_C(7), .pasid = user->pasid, .length = 8};
	struct uiommu_dma_result result = {0};

	switch (round % 4) {
	case 0:
		uiommu_dma_read(w->device, user->pasid, address, buffer, length, &result);
		look(user, buffer, result.done);
		break;
	case 1:
		memset(buffer, GOOD, length);
		uiommu_dma_write(w->device, user->pasid, address, buffer, length, &result);
		break;
	case 2:
		uiommu_dma_copy(w->device, &dst, &src, length < SLICE / 4 ? length : SLICE / 4, &result);
		break;
	default:
		if (user->atomics)
			uiommu_dma_atomic(w->device, &atomic, &result); /* adds 0 */
		break;
	}
}

static void *user_main(void *opaque)
{
	static const size_t lengths[] = {8, 64, 1000, 4096, SLICE / 2};
	struct user *user = opaque;
	uint8_t *buffer = malloc(SLICE);

	for (unsigned int round = 0; !__atomic_load_n(&user->stop, __ATOMIC_ACQUIRE); round++)
		use(user, round, buffer, lengths[round / 4 % ARRAY_SIZE(lengths)]);
	free(buffer);
	return NULL;
}

static void race(uint32_t pasid, uint64_t address, bool atomics, int rounds, void (*take)(void), void (*poison)(void),
		 void (*give)(void))
{
	struct user users[THREADS] = {0};

	traps_on();
	for (int i = 0; i < THREADS; i++) {
		users[i] = (struct user){.pasid = pasid, .address = address + (uint64_t)i * SLICE, .atomics = atomics};
		assert_int_equal(pthread_create(&users[i].thread, NULL, user_main, &users[i]), 0);
	}
	for (int i = 0; i < rounds; i++) {
		unsigned long done = __atomic_load_n(&users[i % THREADS].done, __ATOMIC_ACQUIRE);

		/* Somebody gets something done in between. */
		while (__atomic_load_n(&users[i % THREADS].done, __ATOMIC_ACQUIRE) == done)
			sched_yield();
		take();
		poison();
		give();
	}
	for (int i = 0; i < THREADS; i++) {
		__atomic_store_n(&users[i].stop, true, __ATOMIC_RELEASE);
		pthread_join(users[i].thread, NULL);
		assert_int_equal(users[i].poisoned, 0);
	}
}

static void poison_own(void)
{
	memset(memory, POISON, BYTES);
	sched_yield();
	for (int i = 0; i < BYTES; i++)
		assert_int_equal(memory[i], POISON);
	memset(memory, GOOD, BYTES);
}

static void map_own(void)
{
	world_map(w, UIOMMU_MAP_OWN, memory, 0, BYTES, IOVA, UIOMMU_MAP_READ | UIOMMU_MAP_WRITE);
}

static void unmap(void)
{
	assert_int_equal(uiommu_ioas_unmap(w->context, w->ioas, IOVA, BYTES, NULL), 0);
}

static void unmap_own_memory(void **state)
{
	(void)state;
	map_own();
	race(UIOMMU_NO_PASID, IOVA, true, 80, unmap, poison_own, map_own);
}

static void map_file(void)
{
	world_map(w, UIOMMU_MAP_FILE, NULL, 0, BYTES, IOVA, UIOMMU_MAP_READ | UIOMMU_MAP_WRITE);
}

/* Through another mapping of the same memory, which the sanitizer takes for other memory: here the bytes tell. */
static void poison_file(void)
{
	memset(w->file, POISON, BYTES);
	sched_yield();
	for (int i = 0; i < BYTES; i++)
		assert_int_equal(w->file[i], POISON);
	memset(w->file, GOOD, BYTES);
}

static void unmap_file(void **state)
{
	(void)state;
	assert_int_equal(uiommu_ioas_unmap(w->context, w->ioas, IOVA_FILE, FILE_BYTES, NULL), 0);
	memset(w->file, GOOD, BYTES);
	map_file();
	race(UIOMMU_NO_PASID, IOVA, true, 80, unmap, poison_file, map_file);
}

static void detach(void)
{
	assert_int_equal(uiommu_detach(w->context, w->device_id, UIOMMU_NO_PASID), 0);
}

static void attach(void)
{
	assert_int_equal(uiommu_attach(w->context, w->device_id, UIOMMU_NO_PASID, w->ioas), 0);
}

static void detach_own_memory(void **state)
{
	(void)state;
	map_own();
	race(UIOMMU_NO_PASID, IOVA, true, 60, detach, poison_own, attach);
}

static void detach_file(void **state)
{
	(void)state;
	assert_int_equal(uiommu_ioas_unmap(w->context, w->ioas, IOVA_FILE, FILE_BYTES, NULL), 0);
	memset(w->file, GOOD, BYTES);
	map_file();
	race(UIOMMU_NO_PASID, IOVA, true, 60, detach, poison_file, attach);
}

static void unbind_self(void)
{
	assert_int_equal(uiommu_unbind(w->context, w->device_id, w->self), 0);
}

static void bind_again(const struct uiommu_process *process, uint32_t pasid)
{
	struct uiommu_bind_process payload = {.flags = process ? 0 : UIOMMU_BIND_SELF, .access = UIOMMU_READ | UIOMMU_WRITE};
	struct uiommu_bind bind = {
		.size = sizeof(bind),
		.device_id = w->device_id,
		.pasid = pasid,
		.type = UIOMMU_BIND_PROCESS,
		.data_len = sizeof(payload),
		.data = &payload,
	};

	if (process)
		payload.process = *process;
	assert_int_equal(uiommu_bind(w->context, &bind), 0);
}

static void bind_self(void)
{
	bind_again(NULL, w->self);
}

static void unbind_this_process(void **state)
{
	(void)state;
	race(w->self, (uintptr_t)memory, true, 60, unbind_self, poison_own, bind_self);
}

static void unbind_other(void)
{
	assert_int_equal(uiommu_unbind(w->context, w->device_id, w->other), 0);
}

static void bind_other(void)
{
	bind_again(&w->bundle, w->other);
}

/* In the child. */
static long child_poisons(uintptr_t unused)
{
	(void)unused;
	memset(MEMORY, POISON, BYTES);
	sched_yield();
	for (int i = 0; i < BYTES; i++)
		if (MEMORY[i] != POISON)
			return i + 1;
	memset(MEMORY, GOOD, BYTES);
	return 0;
}

static void poison_other(void)
{
	assert_int_equal(child_call(&w->child, child_poisons, 0), 0);
}

static void unbind_other_process(void **state)
{
	(void)state;
	poison_other();
	race(w->other, (uintptr_t)MEMORY, false, 60, unbind_other, poison_other, bind_other);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(unmap_own_memory), TEST(unmap_file),	   TEST(detach_own_memory),
		TEST(detach_file),	TEST(unbind_this_process), TEST(unbind_other_process),
	};

	if (traps_install())
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
