/* SPDX-License-Identifier: BSD-3-Clause */
#include "test.h"

#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <uiommu/dma.h>
#include <unistd.h>

#include "iommu/device.h"

enum { IOVA = 0x100000, LENGTH = 0x10000, ROUNDS = 300 };

struct world {
	struct uiommu_context *context;
	struct uiommu_device *device;
	uint32_t device_id, ioas_id, other_id;
	uint8_t *memory, *other; /* what the IOASes map at IOVA */
	int fd;
};

static uint8_t *map_file(struct world *world, uint32_t ioas_id, uint8_t value)
{
	struct uiommu_ioas_map map = {
		.size = sizeof(map),
		.flags = UIOMMU_MAP_FIXED | UIOMMU_MAP_READ | UIOMMU_MAP_WRITE,
		.ioas_id = ioas_id,
		.source = UIOMMU_MAP_FILE,
		.fd = memfd_create("attach", MFD_CLOEXEC),
		.length = LENGTH,
		.iova = IOVA,
	};
	uint8_t *memory;

	assert_true(map.fd >= 0);
	assert_int_equal(ftruncate(map.fd, LENGTH), 0);
	memory = mmap(NULL, LENGTH, PROT_READ | PROT_WRITE, MAP_SHARED, map.fd, 0);
	assert_ptr_not_equal(memory, MAP_FAILED);
	memset(memory, value, LENGTH);
	assert_int_equal(uiommu_ioas_map(world->context, &map), 0);
	close(map.fd);
	return memory;
}

static int set_up(void **state)
{
	static struct world world;
	struct uiommu_device_config config = {.size = sizeof(config), .name = "dev0", .pasid_bits = 20};

	assert_int_equal(uiommu_open(NULL, &world.context), 0);
	assert_int_equal(uiommu_device_alloc(world.context, &config, &world.device_id), 0);
	assert_int_equal(uiommu_ioas_alloc(world.context, &world.ioas_id), 0);
	assert_int_equal(uiommu_ioas_alloc(world.context, &world.other_id), 0);
	world.memory = map_file(&world, world.ioas_id, 0x11);
	world.other = map_file(&world, world.other_id, 0x22);
	world.device = uiommu_device_get(world.context, world.device_id);
	*state = &world;
	return 0;
}

static int tear_down(void **state)
{
	struct world *world = *state;

	uiommu_device_put(world->device);
	munmap(world->memory, LENGTH);
	munmap(world->other, LENGTH);
	return uiommu_close(world->context);
}

static unsigned int read_byte(const struct world *world, uint32_t pasid)
{
	struct uiommu_dma_result result;
	uint8_t byte;

	return uiommu_dma_read(world->device, pasid, IOVA + 5, &byte, 1, &result) ? 0x1000u + result.fault.reason : byte;
}

static void every_pasid_has_its_own(void **state)
{
	struct world *world = *state;

	assert_int_equal(read_byte(world, UIOMMU_NO_PASID), 0x1000 + UIOMMU_FAULT_NOT_ATTACHED);
	assert_int_equal(uiommu_attach(world->context, world->device_id, UIOMMU_NO_PASID, world->ioas_id), 0);
	assert_int_equal(uiommu_attach(world->context, world->device_id, UIOMMU_PASID_LAST, world->other_id), 0);
	assert_int_equal(read_byte(world, UIOMMU_NO_PASID), 0x11);
	assert_int_equal(read_byte(world, UIOMMU_PASID_LAST), 0x22);
	assert_int_equal(read_byte(world, 1), 0x1000 + UIOMMU_FAULT_NOT_ATTACHED);
	assert_int_equal(read_byte(world, UIOMMU_PASID_LAST + 1), 0x1000 + UIOMMU_FAULT_NOT_ATTACHED);
	assert_int_equal(uiommu_detach(world->context, world->device_id, UIOMMU_NO_PASID), 0);
	assert_int_equal(uiommu_detach(world->context, world->device_id, UIOMMU_NO_PASID), 0);
	assert_int_equal(read_byte(world, UIOMMU_NO_PASID), 0x1000 + UIOMMU_FAULT_NOT_ATTACHED);
	assert_int_equal(read_byte(world, UIOMMU_PASID_LAST), 0x22);
}

static void errors(void **state)
{
	struct world *world = *state;
	struct uiommu_hwpt_alloc alloc = {.size = sizeof(alloc), .parent_id = world->ioas_id};
	struct uiommu_device_config plain = {.size = sizeof(plain), .name = "plain", .rid = 8, .pasid_bits = 0};
	uint32_t no_pasid, plain_id, id;

	assert_int_equal(uiommu_hwpt_alloc(world->context, &alloc, &no_pasid), 0);
	assert_int_equal(uiommu_device_alloc(world->context, &plain, &plain_id), 0);
	assert_int_equal(uiommu_attach(world->context, 999, 1, world->ioas_id), -ENOENT);
	assert_int_equal(uiommu_attach(world->context, world->ioas_id, 1, world->ioas_id), -ENOENT);
	assert_int_equal(uiommu_attach(world->context, world->device_id, 1, 999), -ENOENT);
	assert_int_equal(uiommu_attach(world->context, world->device_id, 1, world->device_id), -EINVAL);
	assert_int_equal(uiommu_attach(world->context, world->device_id, 0, world->ioas_id), -EINVAL);
	assert_int_equal(uiommu_attach(world->context, world->device_id, UIOMMU_PASID_LAST + 1, world->ioas_id), -EINVAL);
	assert_int_equal(uiommu_attach(world->context, world->device_id, 1, no_pasid), -EINVAL);
	assert_int_equal(uiommu_attach(world->context, plain_id, 1, world->ioas_id), -EOPNOTSUPP);
	assert_int_equal(uiommu_attach(world->context, plain_id, UIOMMU_NO_PASID, no_pasid), 0);
	assert_int_equal(uiommu_attach(world->context, plain_id, UIOMMU_NO_PASID, no_pasid), -EBUSY);
	assert_int_equal(uiommu_replace(world->context, world->device_id, 1, world->ioas_id), -EINVAL);
	assert_int_equal(uiommu_detach(world->context, 999, 1), -ENOENT);

	/* In use, from every side. */
	assert_int_equal(uiommu_destroy(world->context, plain_id), -EBUSY);
	assert_int_equal(uiommu_destroy(world->context, no_pasid), -EBUSY);
	assert_int_equal(uiommu_destroy(world->context, world->ioas_id), -EBUSY);
	assert_int_equal(uiommu_destroy(world->context, world->device_id), -EBUSY); /* the reference of the test */
	assert_int_equal(uiommu_detach(world->context, plain_id, UIOMMU_NO_PASID), 0);
	assert_int_equal(uiommu_destroy(world->context, plain_id), 0);
	assert_int_equal(uiommu_destroy(world->context, no_pasid), 0);
	assert_int_equal(uiommu_destroy(world->context, no_pasid), -ENOENT);

	/* Names and ids are unique; ids are reused from the lowest. */
	assert_int_equal(uiommu_device_alloc(world->context, &plain, &id), 0);
	plain.rid = 9;
	assert_int_equal(uiommu_device_alloc(world->context, &plain, &no_pasid), -EEXIST);
	plain = (struct uiommu_device_config){.size = sizeof(plain), .name = "other", .rid = 8};
	assert_int_equal(uiommu_device_alloc(world->context, &plain, &no_pasid), -EEXIST);
	plain.name = "bad name";
	assert_int_equal(uiommu_device_alloc(world->context, &plain, &no_pasid), -EINVAL);
	assert_int_equal(uiommu_object_type(world->context, id), UIOMMU_OBJECT_DEVICE);
}

static void an_automatic_hwpt_ends_with_its_last_attachment(void **state)
{
	struct world *world = *state;
	size_t before = uiommu_object_count(world->context);
	struct uiommu_attach_stats first = {.size = sizeof(first)}, second = {.size = sizeof(second)};

	assert_int_equal(uiommu_attach(world->context, world->device_id, 1, world->ioas_id), 0);
	assert_int_equal(uiommu_attach(world->context, world->device_id, 2, world->ioas_id), 0);
	assert_int_equal(uiommu_object_count(world->context), before + 1);
	assert_int_equal(uiommu_attach_stats(world->context, world->device_id, 1, &first), 0);
	assert_int_equal(uiommu_attach_stats(world->context, world->device_id, 2, &second), 0);
	assert_int_equal(first.hwpt_id, second.hwpt_id);
	assert_int_equal(uiommu_attach(world->context, world->device_id, 2, world->ioas_id), -EBUSY);
	assert_int_equal(uiommu_detach(world->context, world->device_id, 1), 0);
	assert_int_equal(uiommu_object_count(world->context), before + 1);
	assert_int_equal(uiommu_detach(world->context, world->device_id, 2), 0);
	assert_int_equal(uiommu_object_count(world->context), before);
	assert_int_equal(uiommu_destroy(world->context, world->ioas_id), 0);
}

static void reserved_ranges_of_devices(void **state)
{
	struct world *world = *state;
	struct uiommu_range window = {IOVA + 0x1000, IOVA + 0x1fff}, free_window = {0xfee00000, 0xfeefffff};
	struct uiommu_device_config config = {
		.size = sizeof(config), .name = "hit", .rid = 1, .pasid_bits = 20, .reserved = &window, .reserved_count = 1};
	struct uiommu_ioas_map map = {
		.size = sizeof(map),
		.flags = UIOMMU_MAP_FIXED | UIOMMU_MAP_READ,
		.ioas_id = world->ioas_id,
		.address = world->memory,
		.length = 0x1000,
		.iova = 0xfee00000,
	};
	uint32_t hit, msi;
	size_t objects;

	assert_int_equal(uiommu_device_alloc(world->context, &config, &hit), 0);
	config = (struct uiommu_device_config){
		.size = sizeof(config), .name = "msi", .rid = 2, .reserved = &free_window, .reserved_count = 1};
	assert_int_equal(uiommu_device_alloc(world->context, &config, &msi), 0);
	objects = uiommu_object_count(world->context);
	assert_int_equal(uiommu_attach(world->context, hit, UIOMMU_NO_PASID, world->ioas_id), -EADDRINUSE);
	assert_int_equal(uiommu_object_count(world->context), objects);
	assert_int_equal(uiommu_attach(world->context, msi, UIOMMU_NO_PASID, world->ioas_id), 0);
	assert_int_equal(uiommu_ioas_map(world->context, &map), -EINVAL);
	assert_int_equal(uiommu_detach(world->context, msi, UIOMMU_NO_PASID), 0);
	assert_int_equal(uiommu_ioas_map(world->context, &map), 0);
}

static void statistics(void **state)
{
	struct world *world = *state;
	struct uiommu_attach_stats stats = {.size = sizeof(stats)};
	uint8_t bytes[100] = {0};

	assert_int_equal(uiommu_attach(world->context, world->device_id, 3, world->ioas_id), 0);
	assert_int_equal(uiommu_dma_read(world->device, 3, IOVA, bytes, 100, NULL), 0);
	assert_int_equal(uiommu_dma_write(world->device, 3, IOVA, bytes, 40, NULL), 0);
	assert_int_equal(uiommu_dma_write(world->device, 3, IOVA + LENGTH - 10, bytes, 40, NULL), -EFAULT);
	assert_int_equal(uiommu_attach_stats(world->context, world->device_id, 3, &stats), 0);
	assert_int_equal(stats.bytes_read, 100);
	assert_int_equal(stats.bytes_written, 50);
	assert_int_equal(stats.faults, 1);
	assert_int_equal(uiommu_attach_stats(world->context, world->device_id, 4, &stats), -ENOENT);
	stats.size = 1;
	assert_int_equal(uiommu_attach_stats(world->context, world->device_id, 3, &stats), -EINVAL);
}

/* Readers see one or the other, never nothing. */
struct reader {
	struct world *world;
	bool stop;
};

static void *reader_main(void *opaque)
{
	struct reader *reader = opaque;

	while (!__atomic_load_n(&reader->stop, __ATOMIC_RELAXED)) {
		unsigned int value = read_byte(reader->world, 9);

		if (value != 0x11 && value != 0x22)
			return (void *)(uintptr_t)value;
	}
	return NULL;
}

static void replaced_in_one_step(void **state)
{
	struct reader reader = {.world = *state};
	struct world *world = *state;
	pthread_t thread;
	void *seen;

	assert_int_equal(uiommu_attach(world->context, world->device_id, 9, world->ioas_id), 0);
	assert_int_equal(pthread_create(&thread, NULL, reader_main, &reader), 0);
	for (unsigned int i = 0; i < ROUNDS; i++) {
		assert_int_equal(uiommu_replace(world->context, world->device_id, 9, i % 2 ? world->ioas_id : world->other_id), 0);
		assert_int_equal(read_byte(world, 9), i % 2 ? 0x11 : 0x22);
	}
	__atomic_store_n(&reader.stop, true, __ATOMIC_RELAXED);
	assert_int_equal(pthread_join(thread, &seen), 0);
	assert_null(seen);
}

struct holder {
	struct world *world;
	unsigned int calls;
	bool put;
	int error;
};

static void asked(void *opaque, struct uiommu_pin *pin)
{
	struct holder *holder = opaque;

	holder->calls++;
	holder->error = uiommu_detach(holder->world->context, holder->world->device_id, 5);
	if (holder->put)
		uiommu_dma_unpin(pin);
}

static void pins_hold_the_attachment(void **state)
{
	struct world *world = *state;
	struct holder holder = {.world = world};
	struct iovec iov[2];
	struct uiommu_dma_pin pin = {
		.address = IOVA + 100,
		.length = 200,
		.pasid = 5,
		.access = UIOMMU_READ | UIOMMU_WRITE,
		.iov = iov,
		.iov_count = 2,
		.unmap = asked,
		.opaque = &holder,
	};
	uint64_t unmapped;

	assert_int_equal(uiommu_attach(world->context, world->device_id, 5, world->ioas_id), 0);
	assert_int_equal(uiommu_dma_pin(world->device, &pin, NULL), 0);
	assert_int_equal(pin.iov_count, 1);
	assert_int_equal(iov[0].iov_len, 200);
	memset(iov[0].iov_base, 0x77, 200);
	assert_int_equal(world->memory[100], 0x77);
	assert_int_equal(world->memory[299], 0x77);
	assert_int_equal(world->memory[300], 0x11);

	/* Nothing changes while the holder does not let go. */
	assert_int_equal(uiommu_detach(world->context, world->device_id, 5), -EDEADLOCK);
	assert_int_equal(holder.calls, 1);
	assert_int_equal(holder.error, -EDEADLK);
	assert_int_equal(uiommu_replace(world->context, world->device_id, 5, world->other_id), -EDEADLOCK);
	assert_int_equal(uiommu_ioas_unmap(world->context, world->ioas_id, IOVA, LENGTH, &unmapped), -EDEADLOCK);
	assert_int_equal(holder.calls, 3);
	assert_int_equal(read_byte(world, 5), 0x11);
	holder.put = true;
	assert_int_equal(uiommu_ioas_unmap(world->context, world->ioas_id, IOVA, LENGTH, &unmapped), 0);
	assert_int_equal(unmapped, LENGTH);
	assert_int_equal(holder.calls, 4);
	assert_int_equal(read_byte(world, 5), 0x1000 + UIOMMU_FAULT_UNMAPPED);
	assert_int_equal(uiommu_detach(world->context, world->device_id, 5), 0);
	assert_int_equal(holder.calls, 4);
}

static void closing_releases_everything(void **state)
{
	struct world *world = *state;

	assert_int_equal(uiommu_attach(world->context, world->device_id, 5, world->ioas_id), 0);
	assert_int_equal(uiommu_attach(world->context, world->device_id, UIOMMU_NO_PASID, world->other_id), 0);
	/* tear_down() closes; the sanitizers see what is left. */
}

static void a_fork_child_is_told(void **state)
{
	struct world *world = *state;
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (!pid)
		_exit(uiommu_attach(world->context, world->device_id, 5, world->ioas_id) == -EOWNERDEAD &&
				      uiommu_close(world->context) == -EOWNERDEAD
			      ? 0
			      : 1);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

/* Held up, it is as if nothing were attached, and all of it is there again afterwards. */
static void a_device_that_is_suspended(void **state)
{
	struct world *world = *state;
	struct uiommu_attach_stats stats = {.size = sizeof(stats)};

	assert_int_equal(uiommu_attach(world->context, world->device_id, UIOMMU_NO_PASID, world->ioas_id), 0);
	assert_int_equal(uiommu_attach(world->context, world->device_id, 7, world->other_id), 0);
	device_suspend(world->device);
	assert_int_equal(read_byte(world, UIOMMU_NO_PASID), 0x1000 + UIOMMU_FAULT_DRAINING);
	assert_int_equal(read_byte(world, 7), 0x1000 + UIOMMU_FAULT_DRAINING);
	assert_int_equal(uiommu_attach_stats(world->context, world->device_id, 7, &stats), 0);
	assert_int_equal(stats.faults, 0);
	assert_int_equal(uiommu_attach(world->context, world->device_id, 9, world->other_id), 0);
	assert_int_equal(uiommu_replace(world->context, world->device_id, UIOMMU_NO_PASID, world->other_id), 0);
	assert_int_equal(uiommu_detach(world->context, world->device_id, 7), 0);
	assert_int_equal(read_byte(world, 9), 0x1000 + UIOMMU_FAULT_DRAINING);
	assert_int_equal(read_byte(world, UIOMMU_NO_PASID), 0x1000 + UIOMMU_FAULT_DRAINING);
	device_resume(world->device);
	assert_int_equal(read_byte(world, UIOMMU_NO_PASID), 0x22);
	assert_int_equal(read_byte(world, 9), 0x22);
	assert_int_equal(read_byte(world, 7), 0x1000 + UIOMMU_FAULT_NOT_ATTACHED);
	assert_int_equal(uiommu_detach(world->context, world->device_id, 9), 0);
}

/* A thread that reads until it is told to stop: what it reads after the device is held up has no effect. */
struct hammer {
	const struct world *world;
	unsigned int stop; /* atomic */
	unsigned int held; /* atomic, counts; odd: nothing may get through */
	unsigned int through; /* that did */
};

static void *hammer(void *opaque)
{
	struct hammer *h = opaque;

	while (!__atomic_load_n(&h->stop, __ATOMIC_RELAXED)) {
		unsigned int held = __atomic_load_n(&h->held, __ATOMIC_ACQUIRE);

		if (read_byte(h->world, UIOMMU_NO_PASID) == 0x11 && held % 2 && __atomic_load_n(&h->held, __ATOMIC_ACQUIRE) == held)
			h->through++;
	}
	return NULL;
}

static void suspended_again_and_again(void **state)
{
	struct world *world = *state;
	struct hammer h = {.world = world};
	pthread_t thread;

	assert_int_equal(uiommu_attach(world->context, world->device_id, UIOMMU_NO_PASID, world->ioas_id), 0);
	assert_int_equal(pthread_create(&thread, NULL, hammer, &h), 0);
	for (unsigned int i = 0; i < ROUNDS; i++) {
		device_suspend(world->device);
		__atomic_add_fetch(&h.held, 1, __ATOMIC_RELEASE);
		sched_yield();
		__atomic_add_fetch(&h.held, 1, __ATOMIC_RELEASE);
		device_resume(world->device);
	}
	__atomic_store_n(&h.stop, 1, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
	assert_int_equal(h.through, 0);
}

/* A device goes to another context and back; who has it in hand notices nothing. */
static void a_device_that_is_lent(void **state)
{
	struct world *world = *state;
	struct uiommu_device_config config = {.size = sizeof(config), .name = "dev0", .rid = 5};
	struct uiommu_context *other;
	uint32_t ioas, first;

	assert_int_equal(uiommu_open(NULL, &other), 0);
	assert_int_equal(uiommu_ioas_alloc(other, &ioas), 0);
	assert_int_equal(uiommu_attach(world->context, world->device_id, UIOMMU_NO_PASID, world->ioas_id), 0);
	assert_int_equal(device_lend(world->device, other), -EBUSY);
	assert_int_equal(uiommu_detach(world->context, world->device_id, UIOMMU_NO_PASID), 0);
	assert_int_equal(uiommu_device_alloc(other, &config, &first), 0);
	assert_int_equal(device_lend(world->device, other), -EEXIST);
	assert_int_equal(uiommu_destroy(other, first), 0);
	assert_int_equal(device_lend(world->device, other), 0);
	assert_int_equal(device_lend(world->device, other), -EBUSY);
	assert_int_equal(world->device->id, 2);
	assert_int_equal(uiommu_object_type(world->context, world->device_id), UIOMMU_OBJECT_NONE);
	assert_int_equal(uiommu_object_type(other, 2), UIOMMU_OBJECT_DEVICE);
	assert_int_equal(uiommu_destroy(other, 2), -EBUSY);
	assert_int_equal(uiommu_attach(other, 2, UIOMMU_NO_PASID, ioas), 0);
	assert_int_equal(uiommu_attach(other, 2, 7, ioas), 0);
	assert_int_equal(read_byte(world, UIOMMU_NO_PASID), 0x1000 + UIOMMU_FAULT_UNMAPPED);
	device_return(world->device);
	assert_int_equal(uiommu_destroy(other, ioas), 0);
	assert_int_equal(uiommu_close(other), 0);
	assert_int_equal(world->device->id, world->device_id);
	assert_int_equal(uiommu_attach(world->context, world->device_id, UIOMMU_NO_PASID, world->ioas_id), 0);
	assert_int_equal(read_byte(world, UIOMMU_NO_PASID), 0x11);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(every_pasid_has_its_own, set_up, tear_down),
		cmocka_unit_test_setup_teardown(errors, set_up, tear_down),
		cmocka_unit_test_setup_teardown(an_automatic_hwpt_ends_with_its_last_attachment, set_up, tear_down),
		cmocka_unit_test_setup_teardown(reserved_ranges_of_devices, set_up, tear_down),
		cmocka_unit_test_setup_teardown(statistics, set_up, tear_down),
		cmocka_unit_test_setup_teardown(replaced_in_one_step, set_up, tear_down),
		cmocka_unit_test_setup_teardown(pins_hold_the_attachment, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_device_that_is_suspended, set_up, tear_down),
		cmocka_unit_test_setup_teardown(suspended_again_and_again, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_device_that_is_lent, set_up, tear_down),
		cmocka_unit_test_setup_teardown(closing_releases_everything, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_fork_child_is_told, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
