/* SPDX-License-Identifier: BSD-3-Clause */
/* Remote regions: memory whose bytes somebody else moves, in his own time. */
#include "test.h"

#include <pthread.h>
#include <uiommu/uiommu.h>

#include "iommu/ioas.h"
#include "memory/region.h"
#include "translate/inflight.h"

#define IOVA UINT64_C(0x40000)
enum { BYTES = 0x3000 };

/* Who has the bytes. */
struct owner {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	uint8_t bytes[BYTES];
	unsigned int limit; /* of one access; 0: none */
	unsigned int again; /* so many more accesses are to be made again */
	unsigned int paused, accesses, freed;
	unsigned int reason; /* what all accesses end with */
	bool holds; /* accesses sleep, until they are let go or told to come again */
	bool inside;
	bool told; /* a drain waits for them */
};

static struct owner owner;
static struct uiommu_context *context;
static struct uiommu_device *device;
static uint32_t ioas, device_id;

static uint64_t owner_access(void *opaque, uint64_t offset, void *buffer, uint64_t length, unsigned int access,
			     unsigned int *reason)
{
	struct owner *self = opaque;
	uint64_t done = self->limit && length > self->limit ? self->limit : length;

	pthread_mutex_lock(&self->lock);
	self->accesses++;
	self->inside = true;
	pthread_cond_broadcast(&self->changed);
	while (self->holds && !self->told)
		pthread_cond_wait(&self->changed, &self->lock);
	self->inside = false;
	if (self->told || self->again) {
		self->again -= self->again > 0;
		*reason = REGION_AGAIN;
		done = 0;
	} else if (self->reason) {
		*reason = self->reason;
		done = 0;
	} else {
		assert_true(offset + done <= BYTES);
		if (access == UIOMMU_READ)
			memcpy(buffer, self->bytes + offset, done);
		else
			memcpy(self->bytes + offset, buffer, done);
	}
	pthread_mutex_unlock(&self->lock);
	return done;
}

static void owner_pause(void *opaque)
{
	struct owner *self = opaque;

	pthread_mutex_lock(&self->lock);
	self->paused++;
	self->told = false;
	pthread_cond_broadcast(&self->changed);
	pthread_mutex_unlock(&self->lock);
}

static void owner_free(void *opaque)
{
	((struct owner *)opaque)->freed++;
}

static const struct region_ops ops = {owner_access, owner_pause, owner_free};

static int open_world(void **state)
{
	struct uiommu_device_config config = {.size = sizeof(config), .name = "dev", .pasid_bits = 8};
	struct region *region;

	(void)state;
	owner = (struct owner){.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
	for (unsigned int i = 0; i < BYTES; i++)
		owner.bytes[i] = (uint8_t)(i * 7 + i / 256);
	assert_int_equal(uiommu_open(NULL, &context), 0);
	assert_int_equal(uiommu_ioas_alloc(context, &ioas), 0);
	assert_int_equal(uiommu_device_alloc(context, &config, &device_id), 0);
	assert_int_equal(uiommu_attach(context, device_id, UIOMMU_NO_PASID, ioas), 0);
	device = uiommu_device_get(context, device_id);
	assert_int_equal(region_remote(&ops, &owner, BYTES, UIOMMU_READ | UIOMMU_WRITE, &region), 0);
	assert_int_equal(ioas_map_remote(context, ioas, region, UIOMMU_MAP_READ | UIOMMU_MAP_WRITE, IOVA), 0);
	region_put(region);
	return 0;
}

static int close_world(void **state)
{
	(void)state;
	uiommu_device_put(device);
	assert_int_equal(uiommu_close(context), 0);
	assert_int_equal(owner.freed, 1);
	return 0;
}

static void bytes_are_moved(void **state)
{
	uint8_t buffer[600], zero[600] = {0};

	(void)state;
	assert_int_equal(uiommu_dma_read(device, UIOMMU_NO_PASID, IOVA + 0x123, buffer, sizeof(buffer), NULL), 0);
	assert_memory_equal(buffer, owner.bytes + 0x123, sizeof(buffer));
	assert_int_equal(uiommu_dma_write(device, UIOMMU_NO_PASID, IOVA + BYTES - 600, zero, sizeof(zero), NULL), 0);
	assert_memory_equal(owner.bytes + BYTES - 600, zero, sizeof(zero));
	assert_int_not_equal(owner.bytes[BYTES - 601], 0);
	assert_int_equal(owner.accesses, 2);
}

static void short_accesses_go_on(void **state)
{
	uint8_t buffer[100];

	(void)state;
	owner.limit = 30;
	assert_int_equal(uiommu_dma_read(device, UIOMMU_NO_PASID, IOVA, buffer, sizeof(buffer), NULL), 0);
	assert_memory_equal(buffer, owner.bytes, sizeof(buffer));
	assert_int_equal(owner.accesses, 4);
}

static void its_end_is_a_fault(void **state)
{
	struct uiommu_dma_result result;
	uint8_t buffer[32];

	(void)state;
	assert_int_equal(uiommu_dma_read(device, UIOMMU_NO_PASID, IOVA + BYTES - 8, buffer, sizeof(buffer), &result), -EFAULT);
	assert_int_equal(result.done, 8);
	assert_int_equal(result.fault.reason, UIOMMU_FAULT_UNMAPPED);
	owner.reason = UIOMMU_FAULT_MEMORY;
	assert_int_equal(uiommu_dma_read(device, UIOMMU_NO_PASID, IOVA + 8, buffer, sizeof(buffer), &result), -EFAULT);
	assert_int_equal(result.done, 0);
	assert_int_equal(result.fault.reason, UIOMMU_FAULT_MEMORY);
	assert_int_equal(result.fault.address, IOVA + 8);
}

static void again_is_again(void **state)
{
	uint8_t buffer[64];

	(void)state;
	owner.again = 3;
	assert_int_equal(uiommu_dma_read(device, UIOMMU_NO_PASID, IOVA, buffer, sizeof(buffer), NULL), 0);
	assert_memory_equal(buffer, owner.bytes, sizeof(buffer));
	assert_int_equal(owner.paused, 3);
	assert_int_equal(owner.accesses, 4);
}

static void vectors_and_copies_reach_it(void **state)
{
	uint8_t first[16], second[16];
	struct uiommu_dma_op op[] = {
		{.address = IOVA + 16, .buffer = first, .length = 16, .pasid = UIOMMU_NO_PASID},
		{.address = IOVA + 0x1ff8, .buffer = second, .length = 16, .pasid = UIOMMU_NO_PASID},
	};
	struct uiommu_dma_place src = {.address = IOVA, .pasid = UIOMMU_NO_PASID},
				dst = {.address = IOVA + 0x1000, .pasid = UIOMMU_NO_PASID};

	(void)state;
	assert_int_equal(uiommu_dma_readv(device, op, 2), 0);
	assert_memory_equal(first, owner.bytes + 16, 16);
	assert_memory_equal(second, owner.bytes + 0x1ff8, 16);
	assert_int_equal(uiommu_dma_copy(device, &dst, &src, 0x800, NULL), 0);
	assert_memory_equal(owner.bytes, owner.bytes + 0x1000, 0x800);
}

static void there_is_no_pointer_to_it(void **state)
{
	struct uiommu_dma_atomic atomic = {.address = IOVA, .pasid = UIOMMU_NO_PASID, .type = UIOMMU_ATOMIC_SWAP, .length = 4};
	struct uiommu_dma_result result;
	struct iovec iov;
	struct uiommu_dma_pin pin = {
		.address = IOVA, .length = 8, .pasid = UIOMMU_NO_PASID, .access = UIOMMU_READ, .iov = &iov, .iov_count = 1};

	(void)state;
	assert_int_equal(uiommu_dma_atomic(device, &atomic, &result), -EFAULT);
	assert_int_equal(result.fault.reason, UIOMMU_FAULT_ATOMIC);
	assert_int_equal(uiommu_dma_pin(device, &pin, &result), -EFAULT);
	assert_int_equal(result.fault.reason, UIOMMU_FAULT_NOT_DIRECT);
	assert_int_equal(owner.accesses, 0);
}

static void a_copy_of_the_map_is_the_same_memory(void **state)
{
	struct uiommu_ioas_copy copy = {.size = sizeof(copy),
					.flags = UIOMMU_MAP_FIXED | UIOMMU_MAP_READ,
					.dst_iova = 0x900000,
					.src_iova = IOVA + 0x1000,
					.length = 0x1000};
	uint8_t buffer[8];

	(void)state;
	copy.dst_ioas_id = copy.src_ioas_id = ioas;
	assert_int_equal(uiommu_ioas_copy(context, &copy), 0);
	assert_int_equal(uiommu_ioas_unmap(context, ioas, IOVA, BYTES, NULL), 0);
	assert_int_equal(owner.freed, 0);
	assert_int_equal(uiommu_dma_read(device, UIOMMU_NO_PASID, 0x900010, buffer, sizeof(buffer), NULL), 0);
	assert_memory_equal(buffer, owner.bytes + 0x1010, sizeof(buffer));
	assert_int_equal(uiommu_dma_write(device, UIOMMU_NO_PASID, 0x900010, buffer, sizeof(buffer), NULL), -EFAULT);
}

static void *read_in_thread(void *opaque)
{
	struct uiommu_dma_result *result = opaque;
	uint8_t buffer[16];

	uiommu_dma_read(device, UIOMMU_NO_PASID, IOVA, buffer, sizeof(buffer), result);
	return NULL;
}

static void tell_owner(void *opaque)
{
	struct owner *self = opaque;

	pthread_mutex_lock(&self->lock);
	self->told = true;
	pthread_cond_broadcast(&self->changed);
	pthread_mutex_unlock(&self->lock);
}

/* Whoever unmaps is told that he would wait, and ends what he waits for; that comes again and finds nothing. */
static void an_unmap_takes_it_away_from_a_sleeper(void **state)
{
	struct uiommu_dma_result result;
	pthread_t thread;

	(void)state;
	owner.holds = true;
	assert_int_equal(pthread_create(&thread, NULL, read_in_thread, &result), 0);
	pthread_mutex_lock(&owner.lock);
	while (!owner.inside)
		pthread_cond_wait(&owner.changed, &owner.lock);
	pthread_mutex_unlock(&owner.lock);
	inflight_tell(tell_owner, &owner);
	assert_int_equal(uiommu_ioas_unmap(context, ioas, IOVA, BYTES, NULL), 0);
	inflight_tell(NULL, NULL);
	pthread_join(thread, NULL);
	assert_int_equal(result.fault.reason, UIOMMU_FAULT_UNMAPPED);
	assert_int_equal(owner.paused, 1);
	assert_int_equal(owner.accesses, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(bytes_are_moved, open_world, close_world),
		cmocka_unit_test_setup_teardown(short_accesses_go_on, open_world, close_world),
		cmocka_unit_test_setup_teardown(its_end_is_a_fault, open_world, close_world),
		cmocka_unit_test_setup_teardown(again_is_again, open_world, close_world),
		cmocka_unit_test_setup_teardown(vectors_and_copies_reach_it, open_world, close_world),
		cmocka_unit_test_setup_teardown(there_is_no_pointer_to_it, open_world, close_world),
		cmocka_unit_test_setup_teardown(a_copy_of_the_map_is_the_same_memory, open_world, close_world),
		cmocka_unit_test_setup_teardown(an_unmap_takes_it_away_from_a_sleeper, open_world, close_world),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
