/* SPDX-License-Identifier: BSD-3-Clause */
/* Binding live processes to a device in this process: PASIDs, counts, ends. */
#include "unit/test.h"
#include "unit/traps.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <uiommu/bind.h>
#include <uiommu/dma.h>
#include <uiommu/fault.h>
#include <unistd.h>

#include "support/stuck.h"
#include "support/support.h"
#include "support/targets.h"

enum { LENGTH = 1 << 20 };

struct world {
	struct uiommu_context *context;
	struct uiommu_device *device;
	uint32_t device_id;
	struct target target;
};

static int set_up(void **state)
{
	static struct world world;
	struct uiommu_device_config config = {.size = sizeof(config), .name = "dev0", .pasid_bits = 16};

	target_start(&world.target, LENGTH);
	assert_int_equal(uiommu_open(NULL, &world.context), 0);
	assert_int_equal(uiommu_device_alloc(world.context, &config, &world.device_id), 0);
	world.device = uiommu_device_get(world.context, world.device_id);
	*state = &world;
	return 0;
}

static int tear_down(void **state)
{
	struct world *world = *state;

	uiommu_device_put(world->device);
	if (world->target.pid)
		target_stop(&world->target);
	return uiommu_close(world->context);
}

/* Instead of a bundle: the calling process. */
static const struct uiommu_process self;

static int bind_with(struct world *world, const struct uiommu_process *process, unsigned int access, uint32_t *pasid,
		     uint32_t queue_id)
{
	struct uiommu_bind_process data = {.flags = process == &self ? UIOMMU_BIND_SELF : 0, .process = *process, .access = access};
	struct uiommu_bind bind = {
		.size = sizeof(bind),
		.device_id = world->device_id,
		.pasid = *pasid,
		.type = UIOMMU_BIND_PROCESS,
		.data = &data,
		.data_len = sizeof(data),
		.fault_queue_id = queue_id,
	};
	int error;

	error = uiommu_bind(world->context, &bind);
	if (!error) {
		*pasid = bind.pasid;
		assert_int_equal(uiommu_object_type(world->context, bind.hwpt_id), UIOMMU_OBJECT_HWPT_SVA);
	}
	return error;
}

static uint32_t bind(struct world *world, const struct uiommu_process *process, unsigned int access)
{
	uint32_t pasid = UIOMMU_NO_PASID;

	assert_int_equal(bind_with(world, process, access, &pasid, 0), 0);
	return pasid;
}

static uint64_t word_at(struct world *world, uint32_t pasid, size_t offset)
{
	uint64_t word = 0;

	assert_int_equal(
		uiommu_dma_read(world->device, pasid, (uintptr_t)world->target.address + offset, &word, sizeof(word), NULL), 0);
	return word;
}

static unsigned int read_reason(struct world *world, uint32_t pasid, uint64_t address)
{
	struct uiommu_dma_result result;
	uint8_t byte;

	uiommu_dma_read(world->device, pasid, address, &byte, 1, &result);
	return result.fault.reason;
}

static void picked_and_asked_for(void **state)
{
	struct world *world = *state;
	struct uiommu_process other;
	uint32_t pasid = 77;

	assert_int_equal(bind_with(world, &world->target.process, UIOMMU_READ, &pasid, 0), 0);
	assert_int_equal(pasid, 77);
	assert_int_equal(word_at(world, 77, 8), 8 * 0x9e3779b97f4a7c15u);

	/* The same process again: the number it has, and no other. */
	pasid = UIOMMU_NO_PASID;
	assert_int_equal(bind_with(world, &world->target.process, UIOMMU_READ, &pasid, 0), 0);
	assert_int_equal(pasid, 77);
	pasid = 78;
	assert_int_equal(bind_with(world, &world->target.process, UIOMMU_READ, &pasid, 0), -EBUSY);
	/* Another access is another identity; its number must be free. */
	pasid = 77;
	assert_int_equal(bind_with(world, &world->target.process, UIOMMU_READ | UIOMMU_WRITE, &pasid, 0), -EBUSY);
	pasid = UIOMMU_NO_PASID;
	assert_int_equal(bind_with(world, &world->target.process, UIOMMU_READ | UIOMMU_WRITE, &pasid, 0), 0);
	assert_int_equal(pasid, 1);

	assert_int_equal(uiommu_process_open(world->target.pid, UIOMMU_READ, &other), 0);
	pasid = UIOMMU_NO_PASID;
	assert_int_equal(bind_with(world, &other, UIOMMU_READ, &pasid, 0), 0);
	assert_int_equal(pasid, 77); /* other descriptors, the same process */
	assert_int_equal(bind_with(world, &other, UIOMMU_READ | UIOMMU_WRITE, &pasid, 0), -EACCES);
	uiommu_process_close(&other);
	assert_int_equal(other.mem, -1);

	/* Counted: three binds, three unbinds. */
	assert_int_equal(uiommu_unbind(world->context, world->device_id, 77), 0);
	assert_int_equal(uiommu_unbind(world->context, world->device_id, 77), 0);
	assert_int_equal(word_at(world, 77, 16), 16 * 0x9e3779b97f4a7c15u);
	assert_int_equal(uiommu_unbind(world->context, world->device_id, 77), 0);
	assert_int_equal(read_reason(world, 77, (uintptr_t)world->target.address), UIOMMU_FAULT_NOT_ATTACHED);
	assert_int_equal(uiommu_unbind(world->context, world->device_id, 77), -ENOENT);
	pasid = 77;
	assert_int_equal(bind_with(world, &world->target.process, UIOMMU_READ, &pasid, 0), 0);
}

static void refused(void **state)
{
	struct world *world = *state;
	struct uiommu_device_config plain = {.size = sizeof(plain), .name = "plain", .rid = 1};
	struct uiommu_bind_process data = {.access = UIOMMU_READ, .process = world->target.process};
	struct uiommu_bind good = {
		.size = sizeof(good),
		.device_id = world->device_id,
		.pasid = UIOMMU_NO_PASID,
		.type = UIOMMU_BIND_PROCESS,
		.data = &data,
		.data_len = sizeof(data),
	};
	size_t before;
	struct uiommu_bind bad;

	assert_int_equal(uiommu_device_alloc(world->context, &plain, &plain.rid), 0);
	before = uiommu_object_count(world->context);
#define REFUSED(field, value, expected)                                                                                            \
	do {                                                                                                                       \
		bad = good;                                                                                                        \
		bad.field = (value);                                                                                               \
		assert_int_equal(uiommu_bind(world->context, &bad), expected);                                                     \
		assert_int_equal(uiommu_object_count(world->context), before);                                                     \
	} while (0)
	REFUSED(size, 8, -EINVAL);
	REFUSED(flags, 4, -EOPNOTSUPP);
	REFUSED(type, 99, -EPROTONOSUPPORT);
	REFUSED(data_len, 4, -EINVAL);
	REFUSED(data, NULL, -EINVAL);
	REFUSED(device_id, 999, -ENOENT);
	REFUSED(device_id, plain.rid, -ENXIO);
	REFUSED(pasid, 0, -EADDRNOTAVAIL);
	REFUSED(pasid, 1 << 16, -ERANGE);
	REFUSED(fault_queue_id, 999, -ENOENT);
	data.access = 0;
	REFUSED(flags, 0, -EINVAL);
	data.access = UIOMMU_WRITE;
	REFUSED(flags, 0, -EINVAL);
	data.access = UIOMMU_READ;
	data.process.mem = -1;
	REFUSED(flags, 0, -EBADF);
	data.process.mem = world->target.process.maps;
	REFUSED(flags, 0, -EBADF);
	data.process = world->target.process;
	data.process.pidfd = data.process.mem;
	REFUSED(flags, 0, -EBADF);
#undef REFUSED
	data.process = world->target.process;
	assert_int_equal(uiommu_bind(world->context, &good), 0);
	assert_int_equal(good.pasid, 1);
}

static void the_calling_process(void **state)
{
	struct world *world = *state;
	uint8_t *memory = mmap(NULL, LENGTH, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint32_t pasid = bind(world, &self, UIOMMU_READ | UIOMMU_WRITE);
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	struct uiommu_dma_result result;
	uint8_t bytes[64];

	traps_on();
	memset(bytes, 0x5a, sizeof(bytes));
	assert_int_equal(uiommu_dma_write(world->device, pasid, (uintptr_t)memory + 3, bytes, sizeof(bytes), NULL), 0);
	assert_int_equal(memory[2], 0);
	assert_int_equal(memory[3], 0x5a);
	assert_int_equal(memory[66], 0x5a);
	assert_int_equal(memory[67], 0);
	/* Never more than the process itself may do. */
	assert_int_equal(mprotect(memory, page, PROT_READ), 0);
	assert_int_equal(uiommu_dma_write(world->device, pasid, (uintptr_t)memory, bytes, 1, &result), -EFAULT);
	assert_int_equal(result.fault.reason, UIOMMU_FAULT_PERMISSION);
	assert_int_equal(memory[0], 0);
	assert_int_equal(mprotect(memory, page, PROT_NONE), 0);
	assert_int_equal(read_reason(world, pasid, (uintptr_t)memory), UIOMMU_FAULT_PERMISSION);
	assert_int_equal(munmap(memory, page), 0);
	assert_int_equal(read_reason(world, pasid, (uintptr_t)memory), UIOMMU_FAULT_UNMAPPED);
	assert_int_equal(result.fault.stage, 1);
	munmap(memory + page, LENGTH - page);
}

static void after_the_process_has_ended(void **state)
{
	struct world *world = *state;
	uint32_t pasid = bind(world, &world->target.process, UIOMMU_READ | UIOMMU_WRITE);

	kill(world->target.pid, SIGKILL);
	waitpid(world->target.pid, NULL, 0);
	world->target.pid = 0;
	assert_int_equal(read_reason(world, pasid, (uintptr_t)world->target.address), UIOMMU_FAULT_GONE);
	assert_int_equal(uiommu_unbind(world->context, world->device_id, pasid), 0);
	assert_int_equal(uiommu_object_count(world->context), 1);
	assert_int_equal(bind_with(world, &world->target.process, UIOMMU_READ, &pasid, 0), -ESRCH);
	uiommu_process_close(&world->target.process);
}

static void registered_memory(void **state)
{
	struct world *world = *state;
	uint32_t pasid = bind(world, &world->target.process, UIOMMU_READ | UIOMMU_WRITE);
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	int fd = memfd_create("registered", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	struct uiommu_register reg = {
		.size = sizeof(reg),
		.device_id = world->device_id,
		.pasid = pasid,
		.access = UIOMMU_READ | UIOMMU_WRITE,
		.address = (uintptr_t)world->target.address + 4 * page,
		.length = 2 * page,
		.fd = fd,
	};
	struct uiommu_dma_atomic add = {
		.address = (uintptr_t)world->target.address + 4 * page,
		.pasid = pasid,
		.type = UIOMMU_ATOMIC_FETCH_ADD,
		.length = 8,
		.operand = 5,
	};
	struct uiommu_dma_result result;
	uint64_t *memory, words[1024];

	assert_int_equal(ftruncate(fd, (off_t)(2 * page)), 0);
	memory = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_ptr_not_equal(memory, MAP_FAILED);
	assert_int_equal(uiommu_register(world->context, &reg), -EINVAL);
	assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK), 0);
	assert_int_equal(uiommu_dma_atomic(world->device, &add, &result), -EFAULT);
	assert_int_equal(result.fault.reason, UIOMMU_FAULT_ATOMIC);
	assert_int_equal(uiommu_register(world->context, &reg), 0);
	assert_int_equal(uiommu_register(world->context, &reg), -EEXIST);
	reg.length = 3 * page;
	reg.address += 2 * page;
	assert_int_equal(uiommu_register(world->context, &reg), -EINVAL); /* beyond the end */

	/* One access across the border of the process's own memory and the registered range. */
	memory[0] = 111;
	assert_int_equal(uiommu_dma_read(world->device, pasid, (uintptr_t)world->target.address + 4 * page - 8, words, 16, NULL),
			 0);
	assert_true(words[0] == (4 * page - 8) * 0x9e3779b97f4a7c15u);
	assert_true(words[1] == 111);
	assert_int_equal(uiommu_dma_atomic(world->device, &add, NULL), 0);
	assert_true(add.old == 111);
	assert_true(memory[0] == 116);
	assert_int_equal(
		uiommu_unregister(world->context, world->device_id, pasid, (uintptr_t)world->target.address + 4 * page, page),
		-ENOENT);
	assert_int_equal(
		uiommu_unregister(world->context, world->device_id, pasid, (uintptr_t)world->target.address + 4 * page, 2 * page),
		0);
	assert_true(word_at(world, pasid, 4 * page) == 4 * page * 0x9e3779b97f4a7c15u);
	munmap(memory, 2 * page);
	close(fd);
}

/* An unbind while an access sleeps: it returns at once, the number is not reused, accesses fail without a record; then it ends. */
struct blocked {
	struct world *world;
	uint64_t address;
	uint32_t pasid;
	struct uiommu_dma_result result;
};

static void *blocked_main(void *opaque)
{
	struct blocked *blocked = opaque;
	uint8_t byte;

	uiommu_dma_read(blocked->world->device, blocked->pasid, blocked->address, &byte, 1, &blocked->result);
	return NULL;
}

struct completion {
	pthread_mutex_t lock;
	pthread_cond_t cond;
	bool done;
};

static void completed(void *opaque)
{
	struct completion *completion = opaque;

	pthread_mutex_lock(&completion->lock);
	completion->done = true;
	pthread_cond_signal(&completion->cond);
	pthread_mutex_unlock(&completion->lock);
}

/* The handle says EIO where a userfaultfd would have to be answered: nothing sleeps, and nothing drains. */
static void reads_by_handle_do_not_sleep(struct world *world)
{
	struct stuck stuck;
	uint32_t pasid;

	stuck_start(&stuck, STUCK_UFFD);
	pasid = bind(world, &stuck.process, UIOMMU_READ);
	assert_int_equal(read_reason(world, pasid, (uintptr_t)stuck.page), UIOMMU_FAULT_MEMORY);
	assert_int_equal(uiommu_unbind(world->context, world->device_id, pasid), 0);
	stuck_stop(&stuck);
}

static void draining(void **state)
{
	struct world *world = *state;
	struct completion completion = {.lock = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER};
	struct uiommu_attach_stats stats = {.size = sizeof(stats)};
	struct blocked blocked = {.world = world};
	struct uiommu_fault_event events[4];
	const char *without = getenv("UIOMMU_WITHOUT");
	struct stuck stuck;
	pthread_t thread;
	uint32_t again, queue_id;

	if (stuck_missing(STUCK_UFFD)) {
		print_message("# skipped: %s\n", stuck_missing(STUCK_UFFD));
		skip();
	}
	if (without && strstr(without, "process_vm")) {
		reads_by_handle_do_not_sleep(world);
		return;
	}
	stuck_start(&stuck, STUCK_UFFD);
	assert_int_equal(uiommu_fault_queue_alloc(world->context, 4, &queue_id), 0);
	blocked.pasid = UIOMMU_NO_PASID;
	assert_int_equal(bind_with(world, &stuck.process, UIOMMU_READ, &blocked.pasid, queue_id), 0);
	blocked.address = (uintptr_t)stuck.page;
	assert_int_equal(pthread_create(&thread, NULL, blocked_main, &blocked), 0);
	stuck_wait(&stuck);

	assert_int_equal(uiommu_unbind_start(world->context, world->device_id, blocked.pasid, completed, &completion), 0);
	assert_false(completion.done);
	assert_int_equal(uiommu_unbind_start(world->context, world->device_id, blocked.pasid, completed, &completion), -ENOENT);
	again = blocked.pasid;
	assert_int_equal(bind_with(world, &world->target.process, UIOMMU_READ, &again, 0), -EBUSY);
	again = UIOMMU_NO_PASID;
	assert_int_equal(bind_with(world, &stuck.process, UIOMMU_READ, &again, queue_id), 0);
	assert_int_not_equal(again, blocked.pasid);
	assert_int_equal(read_reason(world, blocked.pasid, 0x1000), UIOMMU_FAULT_DRAINING);
	assert_int_equal(uiommu_attach_stats(world->context, world->device_id, blocked.pasid, &stats), 0);
	assert_int_equal(stats.discarded, 1);
	assert_int_equal(stats.faults, 0);
	assert_int_equal(uiommu_fault_read(world->context, queue_id, events, 4), 0);
	assert_false(completion.done);

	/* The page's owner ends: so does the sleeping access, and with it the drain. */
	stuck_stop(&stuck);
	assert_int_equal(pthread_join(thread, NULL), 0);
	pthread_mutex_lock(&completion.lock);
	while (!completion.done)
		pthread_cond_wait(&completion.cond, &completion.lock);
	pthread_mutex_unlock(&completion.lock);
	assert_int_equal(read_reason(world, blocked.pasid, 0x1000), UIOMMU_FAULT_NOT_ATTACHED);
	assert_int_equal(bind_with(world, &world->target.process, UIOMMU_READ, &blocked.pasid, 0), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(picked_and_asked_for, set_up, tear_down),
		cmocka_unit_test_setup_teardown(refused, set_up, tear_down),
		cmocka_unit_test_setup_teardown(the_calling_process, set_up, tear_down),
		cmocka_unit_test_setup_teardown(after_the_process_has_ended, set_up, tear_down),
		cmocka_unit_test_setup_teardown(registered_memory, set_up, tear_down),
		cmocka_unit_test_setup_teardown(draining, set_up, tear_down),
	};
	int failed;

	stuck_prepare();
	support_drop_privileges();
	support_check_errno(traps_install(), "install the fault handler");
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	stuck_finish();
	return failed;
}
