/* SPDX-License-Identifier: BSD-3-Clause */
/* A daemon moves the bytes of live processes that know nothing of it. Content is checked through the kernel, not through uiommu. */
#include "unit/test.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/service.h"
#include "support/support.h"
#include "support/targets.h"
#include "support/user.h"

enum { LENGTH = 8 << 20, PIECE = 300000, ODD = 1237 };

struct world {
	struct service service;
	struct user user;
	struct target a, b;
};

static int world_start(void **state)
{
	static struct world world;

	service_start(&world.service, NULL);
	user_start(&world.user, &world.service);
	target_start(&world.a, LENGTH);
	target_start(&world.b, LENGTH);
	*state = &world;
	return 0;
}

static int world_stop(void **state)
{
	struct world *world = *state;

	user_stop(&world->user);
	target_stop(&world->a);
	target_stop(&world->b);
	service_stop(&world->service);
	return 0;
}

static void look(const struct target *target, size_t offset, void *buffer, size_t length)
{
	assert_int_equal(pread(target->process.mem, buffer, length, (off_t)((uintptr_t)target->address + offset)), (ssize_t)length);
}

/* What target_start() wrote. */
static void pattern(size_t offset, uint8_t *buffer, size_t length)
{
	for (size_t i = 0; i < length; i++) {
		uint64_t word = ((offset + i) & ~7ul) * 0x9e3779b97f4a7c15u;

		buffer[i] = (uint8_t)(word >> ((offset + i) % 8 * 8));
	}
}

static void poke(const struct target *target, size_t offset, uint8_t value, size_t length)
{
	static uint8_t bytes[LENGTH];

	memset(bytes, value, length);
	assert_int_equal(pwrite(target->process.mem, bytes, length, (off_t)((uintptr_t)target->address + offset)), (ssize_t)length);
}

static void between_two_processes(void **state)
{
	struct world *world = *state;
	static uint8_t got[PIECE + 2], want[PIECE];
	uint16_t a = user_bind(&world->user, &world->a.process, UIOMMU_READ, NULL);
	uint16_t b = user_bind(&world->user, &world->b.process, UIOMMU_READ | UIOMMU_WRITE, NULL);

	poke(&world->b, 0, 0xee, PIECE + ODD + 2);
	assert_int_equal(user_copy(&world->user, b, (uintptr_t)world->b.address + ODD, a, (uintptr_t)world->a.address + 3, PIECE),
			 UIOMMU_ACCEL_SUCCESS);
	look(&world->b, ODD - 1, got, sizeof(got));
	pattern(3, want, PIECE);
	assert_int_equal(got[0], 0xee);
	assert_int_equal(got[PIECE + 1], 0xee);
	assert_memory_equal(got + 1, want, PIECE);
}

static void a_read_only_bind_is_not_written(void **state)
{
	struct world *world = *state;
	uint16_t a = user_bind(&world->user, &world->a.process, UIOMMU_READ, NULL);
	uint8_t got[64], want[64];

	assert_int_equal(user_copy(&world->user, a, (uintptr_t)world->a.address, 0, (uintptr_t)want, sizeof(want)),
			 UIOMMU_ACCEL_PAGE_FAULT | UIOMMU_ACCEL_FAULT_WRITE);
	look(&world->a, 0, got, sizeof(got));
	pattern(0, want, sizeof(want));
	assert_memory_equal(got, want, sizeof(want));
}

static void a_mapping_and_a_process(void **state)
{
	struct world *world = *state;
	int fd = memfd_create("ram", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	struct uiommu_ioas_map map = {
		.size = sizeof(map),
		.flags = UIOMMU_MAP_READ | UIOMMU_MAP_WRITE | UIOMMU_MAP_FIXED,
		.source = UIOMMU_MAP_FILE,
		.fd = fd,
		.length = 1 << 20,
		.iova = 0x40000000,
	};
	uint16_t ioas, a;
	uint8_t *ram, want[PIECE];

	assert_int_equal(ftruncate(fd, 1 << 20), 0);
	assert_int_equal(uiommu_client_map(world->user.client, &map), -EINVAL); /* not sealed */
	assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK), 0);
	assert_int_equal(uiommu_client_map(world->user.client, &map), 0);
	ram = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_ptr_not_equal(ram, MAP_FAILED);
	assert_int_equal(uiommu_client_grant(world->user.client, UIOMMU_NO_PASID, &ioas), 0);
	a = user_bind(&world->user, &world->a.process, UIOMMU_READ | UIOMMU_WRITE, NULL);

	/* Process to mapping, and back to another place, one descriptor each. */
	assert_int_equal(user_copy(&world->user, ioas, 0x40000000 + 5, a, (uintptr_t)world->a.address + ODD, PIECE),
			 UIOMMU_ACCEL_SUCCESS);
	pattern(ODD, want, PIECE);
	assert_memory_equal(ram + 5, want, PIECE);
	memset(ram + 5, 0x77, PIECE);
	assert_int_equal(user_copy(&world->user, a, (uintptr_t)world->a.address + (4 << 20), ioas, 0x40000000 + 5, PIECE),
			 UIOMMU_ACCEL_SUCCESS);
	look(&world->a, 4 << 20, want, PIECE);
	assert_memory_equal(ram + 5, want, PIECE);

	assert_int_equal(uiommu_client_unmap(world->user.client, 0x40000000, 1 << 20), 0);
	assert_int_equal(user_copy(&world->user, ioas, 0x40000000, a, (uintptr_t)world->a.address, 64),
			 UIOMMU_ACCEL_PAGE_FAULT | UIOMMU_ACCEL_FAULT_WRITE);
	munmap(ram, 1 << 20);
	close(fd);
}

static void a_hole_is_reported_and_explained(void **state)
{
	struct world *world = *state;
	uint32_t pasid;
	uint16_t a = user_bind(&world->user, &world->a.process, UIOMMU_READ, &pasid);
	struct uiommu_fault_report *reports;
	static uint8_t got[8192], want[8192];
	size_t count;

	/* Below vm.mmap_min_addr and above: nothing is ever mapped so low by itself. */
	assert_int_equal(user_copy(&world->user, 0, (uintptr_t)got, a, 0x10000, 4096), UIOMMU_ACCEL_PAGE_FAULT);
	assert_int_equal(world->user.records->fault_address, 0x10000);
	assert_int_equal(world->user.records->bytes_completed, 0);
	assert_int_equal(uiommu_client_faults(world->user.client, &reports, &count), 0);
	assert_true(count >= 1);
	assert_int_equal(reports[0].fault.address, 0x10000);
	assert_int_equal(reports[0].fault.pasid, pasid);
	assert_int_equal(reports[0].fault.access, UIOMMU_READ);
	assert_int_equal(reports[0].fault.reason, UIOMMU_FAULT_UNMAPPED);
	assert_int_equal(reports[0].pid, (uint32_t)world->a.pid);
	assert_string_equal(reports[0].device, "accel0");
	free(reports);

	/* Protection in the middle: the bytes before it are done. */
	{
		uint8_t *own = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		assert_int_equal(mprotect(own + 4096, 4096, PROT_NONE), 0);
		assert_int_equal(user_copy(&world->user, 0, (uintptr_t)own, a, (uintptr_t)world->a.address, 8192),
				 UIOMMU_ACCEL_PAGE_FAULT | UIOMMU_ACCEL_FAULT_WRITE);
		assert_int_equal(world->user.records->bytes_completed, 4096);
		assert_int_equal(world->user.records->fault_address, (uintptr_t)own + 4096);
		pattern(0, want, 4096);
		assert_memory_equal(own, want, 4096);
		assert_int_equal(mprotect(own + 4096, 4096, PROT_READ), 0);
		assert_int_equal(own[4096], 0);
		munmap(own, 8192);
	}
}

static void another_clients_pasid_is_refused(void **state)
{
	struct world *world = *state;
	struct user other;
	uint8_t data[64] = {1}, sink[64] = {0};
	struct uiommu_accel_error error;
	struct uiommu_accel_desc desc = {
		.flags_opcode = UIOMMU_ACCEL_MEMMOVE << 24 | UIOMMU_ACCEL_RECORD_VALID | UIOMMU_ACCEL_REQUEST_RECORD,
		.completion_address = (uintptr_t)&world->user.records[1],
		.source = (uintptr_t)data,
		.destination = (uintptr_t)sink,
		.transfer_size = sizeof(data),
	};

	user_start(&other, &world->service);
	desc.pasid_priv = world->user.pasid;
	memset(&world->user.records[1], 0, sizeof(world->user.records[1]));
	assert_int_equal(uiommu_queue_submit(other.queue, &desc), 0);
	/* The next descriptor of the same queue is done after it. */
	assert_int_equal(user_do(&other, &(struct uiommu_accel_desc){0}, UIOMMU_ACCEL_DRAIN, 0), UIOMMU_ACCEL_SUCCESS);
	uiommu_queue_error(other.queue, &error);
	assert_int_equal(error.code, UIOMMU_ACCEL_ERROR_PASID);
	assert_int_equal(error.pasid, world->user.pasid);
	assert_int_equal(error.count, 1);
	assert_int_equal(world->user.records[1].status, 0);
	assert_int_equal(sink[0], 0);
	user_stop(&other);
}

static void a_fork_child_has_nothing(void **state)
{
	struct world *world = *state;
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (!pid) {
		struct uiommu_accel_desc desc = {0};
		uint32_t pasid = UIOMMU_NO_PASID;
		bool ok = uiommu_queue_submit(world->user.queue, &desc) == -EOWNERDEAD &&
			  uiommu_client_bind(world->user.client, NULL, UIOMMU_READ, &pasid) == -EOWNERDEAD;

		/* The parent goes on: the tests after this one show it. */
		user_stop(&world->user);
		_exit(ok ? 0 : 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static void a_queue_outlives_its_client(void **state)
{
	struct world *world = *state;
	struct uiommu_accel_desc desc = {0};
	struct user user;
	int rc;

	user_start(&user, &world->service);
	assert_int_equal(user_do(&user, &desc, UIOMMU_ACCEL_NOOP, 0), UIOMMU_ACCEL_SUCCESS);
	uiommu_client_close(user.client);
	/* Nobody takes them any more: the ring ends, or is full and the connection is over. */
	do {
		rc = uiommu_queue_submit(user.queue, &desc);
	} while (!rc || rc == -EAGAIN);
	assert_int_equal(rc, -EPIPE);
	memset(&user.records[1], 0, sizeof(user.records[1]));
	assert_int_equal(uiommu_queue_wait(user.queue, &user.records[1]), -EPIPE);
	assert_int_equal(user.records[0].status, UIOMMU_ACCEL_SUCCESS);
	uiommu_queue_destroy(user.queue);
}

static void a_target_that_ends(void **state)
{
	struct world *world = *state;
	struct target target;
	uint8_t sink[64];
	uint32_t pasid;
	uint16_t handle;

	target_start(&target, LENGTH);
	handle = user_bind(&world->user, &target.process, UIOMMU_READ | UIOMMU_WRITE, &pasid);
	assert_int_equal(user_copy(&world->user, 0, (uintptr_t)sink, handle, (uintptr_t)target.address, 64), UIOMMU_ACCEL_SUCCESS);
	kill(target.pid, SIGKILL);
	waitpid(target.pid, NULL, 0);
	assert_int_equal(user_copy(&world->user, 0, (uintptr_t)sink, handle, (uintptr_t)target.address, 64),
			 UIOMMU_ACCEL_PAGE_FAULT);
	assert_int_equal(user_copy(&world->user, handle, (uintptr_t)target.address, 0, (uintptr_t)sink, 64),
			 UIOMMU_ACCEL_PAGE_FAULT | UIOMMU_ACCEL_FAULT_WRITE);
	assert_int_equal(uiommu_client_unbind(world->user.client, pasid), 0);
	assert_int_equal(uiommu_client_unbind(world->user.client, pasid), -ENOENT);
	uiommu_process_close(&target.process);
}

static void registered_memory(void **state)
{
	struct world *world = *state;
	int fd = memfd_create("registered", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	struct uiommu_register reg = {
		.size = sizeof(reg),
		.pasid = world->user.pasid,
		.access = UIOMMU_READ | UIOMMU_WRITE,
		.length = 1 << 20,
		.fd = fd,
	};
	uint8_t *memory, want[PIECE];
	uint16_t a = user_bind(&world->user, &world->a.process, UIOMMU_READ, NULL);

	assert_int_equal(ftruncate(fd, 1 << 20), 0);
	assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK), 0);
	memory = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_ptr_not_equal(memory, MAP_FAILED);
	reg.address = (uintptr_t)memory;
	assert_int_equal(uiommu_client_register(world->user.client, &reg), 0);
	assert_int_equal(uiommu_client_register(world->user.client, &reg), -EEXIST);
	assert_int_equal(user_copy(&world->user, 0, (uintptr_t)memory + 9, a, (uintptr_t)world->a.address + ODD, PIECE),
			 UIOMMU_ACCEL_SUCCESS);
	pattern(ODD, want, PIECE);
	assert_memory_equal(memory + 9, want, PIECE);
	assert_int_equal(uiommu_client_unregister(world->user.client, reg.pasid, reg.address, reg.length), 0);
	assert_int_equal(uiommu_client_unregister(world->user.client, reg.pasid, reg.address, reg.length), -ENOENT);
	munmap(memory, 1 << 20);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(between_two_processes),
		cmocka_unit_test(a_read_only_bind_is_not_written),
		cmocka_unit_test(a_mapping_and_a_process),
		cmocka_unit_test(a_hole_is_reported_and_explained),
		cmocka_unit_test(another_clients_pasid_is_refused),
		cmocka_unit_test(a_fork_child_has_nothing),
		cmocka_unit_test(a_queue_outlives_its_client),
		cmocka_unit_test(a_target_that_ends),
		cmocka_unit_test(registered_memory),
	};

	support_drop_privileges();
	return cmocka_run_group_tests(tests, world_start, world_stop);
}
