/* SPDX-License-Identifier: BSD-3-Clause */
/* Pins: pointers that a device keeps, and what happens to whoever takes the memory away. */
#include "test.h"

#include <pthread.h>

#include "world.h"

static struct world *w;

static int setup(void **state)
{
	(void)state;
	w = world_make();
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	world_end(w);
	return 0;
}

static struct iovec pieces[8];

static struct uiommu_dma_pin request_of(uint32_t pasid, uint64_t address, uint64_t length, unsigned int access)
{
	return (struct uiommu_dma_pin){
		.address = address, .length = length, .pasid = pasid, .access = access, .iov = pieces, .iov_count = 8};
}

static int unmap(uint64_t iova, uint64_t length)
{
	return uiommu_ioas_unmap(w->context, w->ioas, iova, length, NULL);
}

static void pointers_reach_the_memory(void **state)
{
	struct uiommu_dma_pin request = request_of(UIOMMU_NO_PASID, IOVA_OWN - 100, OWN_BYTES + 110, UIOMMU_READ);
	struct uiommu_dma_result result;

	(void)state;
	assert_int_equal(uiommu_dma_pin(w->device, &request, &result), 0);
	assert_int_equal(request.iov_count, 3);
	assert_int_equal(result.done, OWN_BYTES + 110);
	assert_int_equal(pieces[0].iov_len, 100);
	assert_int_equal(pieces[1].iov_len, OWN_BYTES);
	assert_int_equal(pieces[2].iov_len, 10);
	assert_memory_equal(pieces[0].iov_base, w->file + FILE_BYTES - 100, 100);
	assert_ptr_equal(pieces[1].iov_base, w->own);
	assert_memory_equal(pieces[2].iov_base, w->file + FILE_BYTES, 10);
	*(uint8_t *)pieces[0].iov_base = 0x7e; /* the same memory, not a copy */
	assert_int_equal(w->file[FILE_BYTES - 100], 0x7e);
	uiommu_dma_unpin(request.pin);
	request = request_of(w->self, (uintptr_t)MEMORY + 5, 1000, UIOMMU_READ | UIOMMU_WRITE);
	assert_int_equal(uiommu_dma_pin(w->device, &request, NULL), 0);
	assert_int_equal(request.iov_count, 1);
	assert_ptr_equal(pieces[0].iov_base, MEMORY + 5);
	uiommu_dma_unpin(request.pin);
}

static void expect_no_pin(struct uiommu_dma_pin request, unsigned int reason, uint64_t address)
{
	struct uiommu_dma_result result;

	assert_int_equal(uiommu_dma_pin(w->device, &request, &result), -EFAULT);
	assert_int_equal(result.fault.reason, reason);
	assert_int_equal(result.fault.address, address);
	assert_int_equal(result.done, 0);
}

static void all_or_nothing(void **state)
{
	struct uiommu_dma_pin request = request_of(UIOMMU_NO_PASID, IOVA_OWN - 100, 300, UIOMMU_READ);

	(void)state;
	request.iov_count = 1;
	assert_int_equal(uiommu_dma_pin(w->device, &request, NULL), -ENOBUFS);
	assert_int_equal(request.iov_count, 2);
	assert_int_equal(uiommu_dma_pin(w->device, &request, NULL), 0);
	uiommu_dma_unpin(request.pin);
	expect_no_pin(request_of(UIOMMU_NO_PASID, IOVA_READ_ONLY - 100, 300, UIOMMU_WRITE), UIOMMU_FAULT_PERMISSION,
		      IOVA_READ_ONLY);
	expect_no_pin(request_of(UIOMMU_NO_PASID, IOVA_FILE - 1, 300, UIOMMU_READ), UIOMMU_FAULT_UNMAPPED, IOVA_FILE - 1);
	expect_no_pin(request_of(UIOMMU_NO_PASID, IOVA_READ_ONLY, page_size() + 1, UIOMMU_READ), UIOMMU_FAULT_UNMAPPED,
		      IOVA_READ_ONLY + page_size());
	expect_no_pin(request_of(w->other, (uintptr_t)MEMORY, 8, UIOMMU_READ), UIOMMU_FAULT_NOT_DIRECT, (uintptr_t)MEMORY);
	expect_no_pin(request_of(77, 0x1000, 8, UIOMMU_READ), UIOMMU_FAULT_NOT_ATTACHED, 0x1000);
	request = request_of(UIOMMU_NO_PASID, IOVA_OWN, 0, UIOMMU_READ);
	assert_int_equal(uiommu_dma_pin(w->device, &request, NULL), -EINVAL);
	request = request_of(UIOMMU_NO_PASID, IOVA_OWN, 8, 0);
	assert_int_equal(uiommu_dma_pin(w->device, &request, NULL), -EINVAL);
	request = request_of(UIOMMU_NO_PASID, IOVA_OWN, 8, UIOMMU_EXEC);
	assert_int_equal(uiommu_dma_pin(w->device, &request, NULL), -EINVAL);
	request = request_of(UIOMMU_NO_PASID, UINT64_MAX - 6, 8, UIOMMU_READ);
	assert_int_equal(uiommu_dma_pin(w->device, &request, NULL), -EINVAL);
	request = request_of(UIOMMU_NO_PASID, IOVA_OWN, 8, UIOMMU_READ);
	request.reserved = 1;
	assert_int_equal(uiommu_dma_pin(w->device, &request, NULL), -EINVAL);
	/* Nothing of that has left a pin. */
	assert_int_equal(unmap(0, UINT64_MAX), 0);
	assert_int_equal(uiommu_detach(w->context, w->device_id, UIOMMU_NO_PASID), 0);
	assert_int_equal(uiommu_unbind(w->context, w->device_id, w->other), 0);
}

static void a_pin_holds(void **state)
{
	struct uiommu_dma_pin request = request_of(UIOMMU_NO_PASID, IOVA_FILE, 100, UIOMMU_READ);
	uint8_t byte;

	(void)state;
	assert_int_equal(uiommu_dma_pin(w->device, &request, NULL), 0);
	assert_int_equal(unmap(IOVA_FILE, FILE_BYTES), -EDEADLOCK);
	assert_int_equal(unmap(0, UINT64_MAX), -EDEADLOCK);
	assert_int_equal(uiommu_detach(w->context, w->device_id, UIOMMU_NO_PASID), -EDEADLOCK);
	/* Nothing has changed, and what is not pinned can go. */
	assert_int_equal(uiommu_dma_read(w->device, UIOMMU_NO_PASID, IOVA_FILE, &byte, 1, NULL), 0);
	assert_int_equal(byte, world_byte(0));
	assert_int_equal(uiommu_dma_read(w->device, UIOMMU_NO_PASID, IOVA_OWN, &byte, 1, NULL), 0);
	assert_int_equal(unmap(IOVA_OWN, OWN_BYTES), 0);
	uiommu_dma_unpin(request.pin);
	assert_int_equal(unmap(IOVA_FILE, FILE_BYTES), 0);
	request = request_of(w->self, (uintptr_t)MEMORY, 100, UIOMMU_READ);
	assert_int_equal(uiommu_dma_pin(w->device, &request, NULL), 0);
	assert_int_equal(uiommu_unbind(w->context, w->device_id, w->self), -EDEADLOCK);
	assert_int_equal(uiommu_unbind_start(w->context, w->device_id, w->self, NULL, NULL), -EDEADLOCK);
	assert_int_equal(uiommu_dma_read(w->device, w->self, (uintptr_t)MEMORY, &byte, 1, NULL), 0);
	uiommu_dma_unpin(request.pin);
	assert_int_equal(uiommu_unbind(w->context, w->device_id, w->self), 0);
}

/* A holder that is asked. */
struct holder {
	struct uiommu_dma_pin request;
	unsigned int asked;
	bool put;
	int unmap_inside;
};

static void on_unmap(void *opaque, struct uiommu_pin *pin)
{
	struct holder *holder = opaque;

	holder->asked++;
	assert_ptr_equal(pin, holder->request.pin);
	holder->unmap_inside = unmap(IOVA_OWN, OWN_BYTES);
	if (holder->put)
		uiommu_dma_unpin(pin);
}

static void holder_pin(struct holder *holder, uint32_t pasid, uint64_t address, bool put)
{
	*holder = (struct holder){.request = request_of(pasid, address, 100, UIOMMU_READ), .put = put};
	holder->request.unmap = on_unmap;
	holder->request.opaque = holder;
	assert_int_equal(uiommu_dma_pin(w->device, &holder->request, NULL), 0);
}

static void holders_are_asked(void **state)
{
	struct holder first, second, third;

	(void)state;
	holder_pin(&first, UIOMMU_NO_PASID, IOVA_FILE, true);
	holder_pin(&second, UIOMMU_NO_PASID, IOVA_FILE + 500, false);
	holder_pin(&third, UIOMMU_NO_PASID, IOVA_OWN + 500, true);
	assert_int_equal(unmap(IOVA_FILE, FILE_BYTES), -EDEADLOCK);
	assert_int_equal(first.asked, 1);
	assert_int_equal(second.asked, 1);
	assert_int_equal(third.asked, 0);
	assert_int_equal(first.unmap_inside, -EDEADLK);
	assert_int_equal(unmap(IOVA_FILE, FILE_BYTES), -EDEADLOCK);
	assert_int_equal(second.asked, 2);
	second.put = true;
	assert_int_equal(unmap(IOVA_FILE, FILE_BYTES), 0);
	assert_int_equal(second.asked, 3);
	assert_int_equal(first.asked, 1);
	assert_int_equal(uiommu_detach(w->context, w->device_id, UIOMMU_NO_PASID), 0);
	assert_int_equal(third.asked, 1);
}

static void a_pin_over_two_areas_is_asked_once(void **state)
{
	struct holder holder;

	(void)state;
	holder_pin(&holder, UIOMMU_NO_PASID, IOVA_OWN - 50, true);
	assert_int_equal(holder.request.iov_count, 2);
	assert_int_equal(unmap(0, UINT64_MAX), 0);
	assert_int_equal(holder.asked, 1);
}

static void binds_ask_holders(void **state)
{
	struct holder holder;

	(void)state;
	holder_pin(&holder, w->self, (uintptr_t)MEMORY, true);
	assert_int_equal(uiommu_unbind(w->context, w->device_id, w->self), 0);
	assert_int_equal(holder.asked, 1);
}

/* The sanitizer looks for what is left. */
static void closing_ends_pins(void **state)
{
	struct uiommu_context *context;
	struct uiommu_device_config config = {.size = sizeof(config), .name = "pins", .pasid_bits = 0};
	struct uiommu_ioas_map map = {.size = sizeof(map),
				      .flags = UIOMMU_MAP_READ | UIOMMU_MAP_FIXED,
				      .address = MEMORY,
				      .length = page_size(),
				      .iova = IOVA_OWN};
	struct holder asked = {.request = request_of(UIOMMU_NO_PASID, IOVA_OWN, 8, UIOMMU_READ)};
	struct uiommu_dma_pin silent = asked.request;
	struct uiommu_device *device;
	uint32_t ioas, device_id;

	(void)state;
	assert_int_equal(uiommu_open(NULL, &context), 0);
	assert_int_equal(uiommu_ioas_alloc(context, &ioas), 0);
	assert_int_equal(uiommu_device_alloc(context, &config, &device_id), 0);
	map.ioas_id = ioas;
	assert_int_equal(uiommu_ioas_map(context, &map), 0);
	assert_int_equal(uiommu_attach(context, device_id, UIOMMU_NO_PASID, ioas), 0);
	device = uiommu_device_get(context, device_id);
	asked.request.unmap = on_unmap;
	asked.request.opaque = &asked;
	assert_int_equal(uiommu_dma_pin(device, &asked.request, NULL), 0);
	assert_int_equal(uiommu_dma_pin(device, &silent, NULL), 0);
	uiommu_device_put(device);
	assert_int_equal(uiommu_close(context), 0);
	assert_int_equal(asked.asked, 1);
}

/*
 * Threads that pin, write, and put when they are asked, beside one that maps and unmaps and uses the memory itself in between. The
 * sanitizers judge.
 */
enum { PINNERS = 2, ROUNDS = 300 };

struct pinner {
	pthread_t thread;
	struct uiommu_pin *pin; /* whoever takes it out puts it */
	bool stop;
	unsigned long pinned;
};

static void pinner_put(void *opaque, struct uiommu_pin *pin)
{
	struct pinner *pinner = opaque;
	struct uiommu_pin *expected = pin;

	if (__atomic_compare_exchange_n(&pinner->pin, &expected, NULL, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
		uiommu_dma_unpin(pin);
}

static void *pinner_main(void *opaque)
{
	struct pinner *pinner = opaque;

	while (!__atomic_load_n(&pinner->stop, __ATOMIC_ACQUIRE)) {
		struct iovec iov;
		struct uiommu_dma_pin request = {
			.address = IOVA_OWN + (uint64_t)(pinner->pinned % 100) * 64,
			.length = 64,
			.pasid = UIOMMU_NO_PASID,
			.access = UIOMMU_WRITE,
			.iov = &iov,
			.iov_count = 1,
			.unmap = pinner_put,
			.opaque = pinner,
		};

		if (uiommu_dma_pin(w->device, &request, NULL))
			continue;
		pinner->pinned++;
		/* Until it can be taken, nobody else puts it. */
		__atomic_store_n((uint64_t *)iov.iov_base, 1, __ATOMIC_RELAXED);
		__atomic_store_n(&pinner->pin, request.pin, __ATOMIC_RELEASE);
		pinner_put(pinner, request.pin);
	}
	return NULL;
}

static void pins_against_unmap(void **state)
{
	struct pinner pinners[PINNERS] = {0};
	int done = 0;

	(void)state;
	for (int i = 0; i < PINNERS; i++)
		assert_int_equal(pthread_create(&pinners[i].thread, NULL, pinner_main, &pinners[i]), 0);
	while (done < ROUNDS) {
		/* Refused when a holder put its pin by itself and has a new one. */
		int rc = unmap(IOVA_OWN, OWN_BYTES);

		if (rc == -EDEADLOCK)
			continue;
		assert_int_equal(rc, 0);
		memset(w->own, 0xee, 6400 + 64);
		for (int i = 0; i < 6400; i++)
			assert_int_equal(w->own[i], 0xee);
		world_map(w, UIOMMU_MAP_OWN, w->own, 0, OWN_BYTES, IOVA_OWN, UIOMMU_MAP_READ | UIOMMU_MAP_WRITE);
		done++;
	}
	for (int i = 0; i < PINNERS; i++) {
		__atomic_store_n(&pinners[i].stop, true, __ATOMIC_RELEASE);
		pthread_join(pinners[i].thread, NULL);
	}
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(pointers_reach_the_memory),
		TEST(all_or_nothing),
		TEST(a_pin_holds),
		TEST(holders_are_asked),
		TEST(a_pin_over_two_areas_is_asked_once),
		TEST(binds_ask_holders),
		TEST(closing_ends_pins),
		TEST(pins_against_unmap),
	};

	if (traps_install())
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
