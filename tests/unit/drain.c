/* SPDX-License-Identifier: BSD-3-Clause */
/* Accesses that sleep: on a page of this process whose fault is answered when the test wants it. */
#include "test.h"

#include <pthread.h>
#include <semaphore.h>

#include "slow.h"
#include "world.h"

static struct world *w;

#define IOVA_SLOW UINT64_C(0x40000000)

static int setup(void **state)
{
	struct uiommu_ioas_map map;

	(void)state;
	w = world_make();
	if (!slow_make())
		return 0;
	map = (struct uiommu_ioas_map){
		.size = sizeof(map),
		.flags = UIOMMU_MAP_READ | UIOMMU_MAP_WRITE | UIOMMU_MAP_FIXED,
		.ioas_id = w->ioas,
		.address = slow,
		.length = page_size(),
		.iova = IOVA_SLOW,
	};
	return uiommu_ioas_map(w->context, &map);
}

static int teardown(void **state)
{
	(void)state;
	world_end(w);
	slow_end();
	return 0;
}

/* A read of the slow page in a thread. */
struct sleeper {
	pthread_t thread;
	uint32_t pasid;
	uint64_t address;
	uint8_t buffer[64];
	struct uiommu_dma_result result;
	int rc;
};

static void *sleep_main(void *opaque)
{
	struct sleeper *sleeper = opaque;

	sleeper->rc = uiommu_dma_read(w->device, sleeper->pasid, sleeper->address, sleeper->buffer, sizeof(sleeper->buffer),
				      &sleeper->result);
	return NULL;
}

/* Returns when it sleeps. */
static void sleeper_start(struct sleeper *sleeper, uint32_t pasid, uint64_t address)
{
	*sleeper = (struct sleeper){.pasid = pasid, .address = address};
	assert_int_equal(pthread_create(&sleeper->thread, NULL, sleep_main, sleeper), 0);
	slow_wait();
}

static void sleeper_end(struct sleeper *sleeper, uint8_t byte)
{
	pthread_join(sleeper->thread, NULL);
	assert_int_equal(sleeper->rc, 0);
	assert_int_equal(sleeper->result.done, sizeof(sleeper->buffer));
	for (size_t i = 0; i < sizeof(sleeper->buffer); i++)
		assert_int_equal(sleeper->buffer[i], byte);
}

struct remover {
	pthread_t thread;
	int (*remove)(void);
	int rc;
	sem_t started;
	bool removed;
};

static void *remove_main(void *opaque)
{
	struct remover *remover = opaque;

	sem_post(&remover->started);
	remover->rc = remover->remove();
	/* It is ours again: the sanitizer must see that the access came before. */
	memset(slow, 0xee, page_size());
	__atomic_store_n(&remover->removed, true, __ATOMIC_RELEASE);
	return NULL;
}

static int unmap_slow(void)
{
	return uiommu_ioas_unmap(w->context, w->ioas, IOVA_SLOW, page_size(), NULL);
}

static int detach_ioas(void)
{
	return uiommu_detach(w->context, w->device_id, UIOMMU_NO_PASID);
}

static int unbind_self(void)
{
	return uiommu_unbind(w->context, w->device_id, w->self);
}

static void removal_waits(int (*remove)(void), uint32_t pasid, uint64_t address)
{
	struct remover remover = {.remove = remove};
	struct sleeper sleeper;

	need_slow();
	traps_on();
	sem_init(&remover.started, 0, 0);
	sleeper_start(&sleeper, pasid, address);
	assert_int_equal(pthread_create(&remover.thread, NULL, remove_main, &remover), 0);
	sem_wait(&remover.started);
	assert_false(__atomic_load_n(&remover.removed, __ATOMIC_ACQUIRE));
	slow_answer(0x5a);
	sleeper_end(&sleeper, 0x5a);
	pthread_join(remover.thread, NULL);
	assert_int_equal(remover.rc, 0);
}

static void unmap_waits(void **state)
{
	(void)state;
	removal_waits(unmap_slow, UIOMMU_NO_PASID, IOVA_SLOW + 8);
}

static void detach_waits(void **state)
{
	(void)state;
	removal_waits(detach_ioas, UIOMMU_NO_PASID, IOVA_SLOW + 8);
}

static void unbind_waits(void **state)
{
	(void)state;
	removal_waits(unbind_self, w->self, (uintptr_t)slow + 8);
}

/* Everything else goes on, whatever one access waits for. */
static void nobody_else_waits(void **state)
{
	size_t page = page_size();
	struct sleeper sleeper;
	uint64_t word;

	(void)state;
	need_slow();
	traps_on();
	sleeper_start(&sleeper, UIOMMU_NO_PASID, IOVA_SLOW);
	for (int i = 0; i < 100; i++) {
		world_map(w, UIOMMU_MAP_FILE, NULL, 0, page, UINT64_C(0x50000000), UIOMMU_MAP_READ);
		assert_int_equal(uiommu_dma_read(w->device, UIOMMU_NO_PASID, UINT64_C(0x50000000), &word, 8, NULL), 0);
		assert_int_equal(uiommu_ioas_unmap(w->context, w->ioas, UINT64_C(0x50000000), page, NULL), 0);
	}
	assert_int_equal(uiommu_ioas_unmap(w->context, w->ioas, IOVA_OWN, OWN_BYTES, NULL), 0);
	assert_int_equal(uiommu_unbind(w->context, w->device_id, w->other), 0);
	assert_int_equal(uiommu_unbind(w->context, w->device_id, w->self), 0);
	slow_answer(0x33);
	sleeper_end(&sleeper, 0x33);
}

static unsigned int ended;

static void on_end(void *opaque)
{
	assert_ptr_equal(opaque, w);
	__atomic_add_fetch(&ended, 1, __ATOMIC_ACQ_REL);
}

static void draining_is_discarded(void **state)
{
	struct uiommu_dma_result result;
	struct uiommu_fault_event event;
	struct uiommu_bind_process payload = {.flags = UIOMMU_BIND_SELF, .access = UIOMMU_READ};
	struct uiommu_bind bind = {.size = sizeof(bind),
				   .device_id = w->device_id,
				   .pasid = w->self,
				   .type = UIOMMU_BIND_PROCESS,
				   .data_len = sizeof(payload),
				   .data = &payload};
	struct sleeper sleeper;
	uint64_t word;

	(void)state;
	need_slow();
	traps_on();
	ended = 0;
	sleeper_start(&sleeper, w->self, (uintptr_t)slow);
	assert_int_equal(uiommu_unbind_start(w->context, w->device_id, w->self, on_end, w), 0);
	assert_int_equal(__atomic_load_n(&ended, __ATOMIC_ACQUIRE), 0);
	assert_int_equal(uiommu_dma_read(w->device, w->self, (uintptr_t)MEMORY, &word, 8, &result), -EFAULT);
	assert_int_equal(result.fault.reason, UIOMMU_FAULT_DRAINING);
	assert_int_equal(result.done, 0);
	assert_int_equal(uiommu_fault_read(w->context, w->queue, &event, 1), 0);
	assert_int_equal(uiommu_bind(w->context, &bind), -EBUSY);
	slow_answer(0x44);
	sleeper_end(&sleeper, 0x44);
	assert_int_equal(__atomic_load_n(&ended, __ATOMIC_ACQUIRE), 1);
	assert_int_equal(uiommu_dma_read(w->device, w->self, (uintptr_t)MEMORY, &word, 8, &result), -EFAULT);
	assert_int_equal(result.fault.reason, UIOMMU_FAULT_NOT_ATTACHED);
	assert_int_equal(uiommu_bind(w->context, &bind), 0);
	assert_int_equal(uiommu_dma_read(w->device, w->self, (uintptr_t)MEMORY, &word, 8, &result), 0);
}

/* What waits for accesses refuses to be called from inside one. */
static struct uiommu_context *inner;
static uint32_t inner_ioas, inner_device, inner_pasid;
static unsigned int refusals;

static void on_log(void *opaque, enum uiommu_log_level level, const char *message)
{
	struct uiommu_register reg = {.size = sizeof(reg), .device_id = inner_device, .pasid = inner_pasid};

	(void)opaque;
	(void)level;
	(void)message;
	if (!inner)
		return;
	refusals += uiommu_ioas_unmap(inner, inner_ioas, 0, UINT64_MAX, NULL) == -EDEADLK;
	refusals += uiommu_detach(inner, inner_device, UIOMMU_NO_PASID) == -EDEADLK;
	refusals += uiommu_unbind(inner, inner_device, inner_pasid) == -EDEADLK;
	refusals += uiommu_unbind_start(inner, inner_device, inner_pasid, on_end, w) == -EDEADLK;
	refusals += uiommu_unregister(inner, inner_device, inner_pasid, reg.address, reg.length) == -EDEADLK;
	refusals += uiommu_replace(inner, inner_device, UIOMMU_NO_PASID, inner_ioas) == -EDEADLK;
	refusals += uiommu_destroy(inner, inner_ioas) == -EDEADLK;
	refusals += uiommu_close(inner) == -EDEADLK;
}

static void callbacks_cannot_wait_for_themselves(void **state)
{
	struct uiommu_options options = {.size = sizeof(options), .log = on_log};
	struct uiommu_device_config config = {.size = sizeof(config), .name = "inner", .pasid_bits = 20};
	struct uiommu_bind_process payload = {.flags = UIOMMU_BIND_SELF, .access = UIOMMU_READ};
	struct uiommu_bind bind = {.size = sizeof(bind),
				   .pasid = UIOMMU_NO_PASID,
				   .type = UIOMMU_BIND_PROCESS,
				   .data_len = sizeof(payload),
				   .data = &payload};
	struct uiommu_context *context;
	struct uiommu_device *device;
	uint64_t word;

	(void)state;
	traps_on();
	assert_int_equal(uiommu_open(&options, &context), 0);
	assert_int_equal(uiommu_ioas_alloc(context, &inner_ioas), 0);
	assert_int_equal(uiommu_device_alloc(context, &config, &inner_device), 0);
	bind.device_id = inner_device;
	assert_int_equal(uiommu_bind(context, &bind), 0);
	inner_pasid = bind.pasid;
	assert_int_equal(uiommu_attach(context, inner_device, UIOMMU_NO_PASID, inner_ioas), 0);
	device = uiommu_device_get(context, inner_device);
	inner = context;
	/* A fault that no queue takes goes to the log, in the middle of the access. */
	assert_int_equal(uiommu_dma_read(device, UIOMMU_NO_PASID, 0x1000, &word, 8, NULL), -EFAULT);
	assert_int_equal(refusals, 8);
	inner = NULL;
	assert_int_equal(uiommu_dma_read(device, inner_pasid, (uintptr_t)MEMORY, &word, 8, NULL), 0);
	uiommu_device_put(device);
	assert_int_equal(uiommu_close(context), 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(unmap_waits),	 TEST(detach_waits),	      TEST(unbind_waits),
		TEST(nobody_else_waits), TEST(draining_is_discarded), TEST(callbacks_cannot_wait_for_themselves),
	};

	if (traps_install())
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
