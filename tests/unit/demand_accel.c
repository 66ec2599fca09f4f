/* SPDX-License-Identifier: BSD-3-Clause */
/* The accelerator on memory that is supplied when it is needed: only what needs a page stops. And a VM that supplies all of its
 * RAM. */
#include "demand.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <uiommu/accel.h>

/* --- the accelerator: only what needs the page stops --- */

static struct uiommu_accel_desc fill_of(uint64_t address, uint64_t record)
{
	return (struct uiommu_accel_desc){
		.pasid_priv = PASID,
		.flags_opcode = UIOMMU_ACCEL_FILL << 24 | UIOMMU_ACCEL_RECORD_VALID | UIOMMU_ACCEL_REQUEST_RECORD,
		.completion_address = record,
		.source = UINT64_C(0x0101010101010101),
		.destination = address,
		.transfer_size = 64,
	};
}

static unsigned int status_at(uint64_t gpa)
{
	return __atomic_load_n(d.ram + offset_of(gpa), __ATOMIC_ACQUIRE);
}

static void poll_all(struct uiommu_accel *accel)
{
	while (uiommu_accel_poll(accel, 8))
		;
}

static void others_go_on(void **state)
{
	const struct uiommu_queue_config config = {.size = sizeof(config), .flags = UIOMMU_QUEUE_SHARED, .entries = 16};
	const uint64_t records = PAGE, present = 2 * PAGE, absent = 5 * PAGE, record = 6 * PAGE, list = 7 * PAGE;
	struct uiommu_accel_desc desc;
	struct uiommu_accel_error error;
	struct uiommu_accel *accel;
	struct uiommu_queue *queue;

	(void)state;
	ready();
	bind_memory();
	supply(records);
	supply(present);
	assert_int_equal(uiommu_accel_create(g.context, g.device_id, &accel), 0);
	assert_int_equal(uiommu_accel_queue(accel, &config, &queue), 0);
	/* One needs a page, one does not. */
	desc = fill_of(absent, records);
	assert_int_equal(uiommu_queue_submit(queue, &desc), 0);
	desc = fill_of(present, records + 32);
	assert_int_equal(uiommu_queue_submit(queue, &desc), 0);
	poll_all(accel);
	assert_int_equal(status_at(records), UIOMMU_ACCEL_PENDING);
	assert_int_equal(status_at(records + 32), UIOMMU_ACCEL_SUCCESS);
	assert_int_equal(next_wanted(), absent);
	give(absent);
	poll_all(accel);
	assert_int_equal(status_at(records), UIOMMU_ACCEL_SUCCESS);
	assert_int_equal(d.ram[absent + 63], 1);
	/* The record's page, of a descriptor, a drain and a batch with its list. */
	desc = fill_of(present, record);
	assert_int_equal(uiommu_queue_submit(queue, &desc), 0);
	desc = (struct uiommu_accel_desc){
		.pasid_priv = PASID,
		.flags_opcode = UIOMMU_ACCEL_DRAIN << 24 | UIOMMU_ACCEL_RECORD_VALID | UIOMMU_ACCEL_REQUEST_RECORD,
		.completion_address = record + 32,
	};
	assert_int_equal(uiommu_queue_submit(queue, &desc), 0);
	for (unsigned int i = 0; i < 2; i++) {
		desc = fill_of(present + 64 * i, record + 64 + 32 * i);
		memcpy(at(list) + i * sizeof(desc), &desc, sizeof(desc));
	}
	desc = (struct uiommu_accel_desc){
		.pasid_priv = PASID,
		.flags_opcode = UIOMMU_ACCEL_BATCH << 24 | UIOMMU_ACCEL_RECORD_VALID | UIOMMU_ACCEL_REQUEST_RECORD,
		.completion_address = record + 128,
		.source = list,
		.transfer_size = 2,
	};
	assert_int_equal(uiommu_queue_submit(queue, &desc), 0);
	desc = fill_of(present, records + 64);
	assert_int_equal(uiommu_queue_submit(queue, &desc), 0);
	poll_all(accel);
	assert_int_equal(status_at(records + 64), UIOMMU_ACCEL_SUCCESS);
	assert_true(next_wanted() + next_wanted() == record + list);
	assert_false(wanted());
	give(list);
	poll_all(accel);
	give(record);
	poll_all(accel);
	for (unsigned int i = 0; i < 5; i++)
		assert_int_equal(status_at(record + 32 * i), UIOMMU_ACCEL_SUCCESS);
	/* Refused: the access faults; of a record that does not come the queue tells. */
	desc = fill_of(absent + 4 * PAGE, records + 96);
	assert_int_equal(uiommu_queue_submit(queue, &desc), 0);
	desc = fill_of(present, absent + 5 * PAGE);
	assert_int_equal(uiommu_queue_submit(queue, &desc), 0);
	poll_all(accel);
	assert_int_equal(answer(0, RAM_BYTES, UIOMMU_RESPONSE_FAILURE), 0);
	poll_all(accel);
	assert_int_equal(status_at(records + 96) & UIOMMU_ACCEL_STATUS_MASK, UIOMMU_ACCEL_PAGE_FAULT_INVALID);
	uiommu_queue_error(queue, &error);
	assert_int_equal(error.code, UIOMMU_ACCEL_ERROR_RECORD);
	assert_int_equal(error.status, UIOMMU_ACCEL_RECORD_FAULT);
	/* One is parked as everything ends. */
	desc = fill_of(absent + 6 * PAGE, records + 128);
	assert_int_equal(uiommu_queue_submit(queue, &desc), 0);
	poll_all(accel);
	uiommu_accel_destroy(accel);
}

/* --- a VM that supplies all of its RAM page by page --- */

enum { JOBS = 96, JOB_BYTES = 3 * PAGE };

static struct {
	pid_t pid;
	int connection;
	pthread_t forwarder;
	unsigned int asked;
	bool dies; /* half-way */
} vm;

/* Another process: it is told addresses, supplies them, and says so. */
static void vm_main(int connection)
{
	uint64_t gpa;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	while (read(connection, &gpa, sizeof(gpa)) == sizeof(gpa)) {
		if (vm.dies && ++vm.asked == 20)
			raise(SIGKILL);
		supply(gpa);
		if (write(connection, &gpa, sizeof(gpa)) != sizeof(gpa))
			break;
	}
	_exit(0);
}

/* The front door's part: pages go to the VM, its answers come back; when it hangs up, nobody answers any more. */
static void *forward(void *opaque)
{
	struct pollfd fds[2] = {{.fd = uiommu_demand_fd(g.context, d.queue), .events = POLLIN},
				{.fd = vm.connection, .events = POLLIN}};
	struct uiommu_demand_page page;
	uint64_t gpa;

	(void)opaque;
	for (;;) {
		assert_true(poll(fds, 2, -1) > 0);
		if (fds[1].revents) {
			if (read(vm.connection, &gpa, sizeof(gpa)) != sizeof(gpa))
				break;
			assert_int_equal(answer(gpa, PAGE, UIOMMU_RESPONSE_SUCCESS), 0);
		} else if (uiommu_demand_read(g.context, d.queue, &page, 1) == 1) {
			vm.asked++;
			if (send(vm.connection, &page.gpa, sizeof(page.gpa), MSG_NOSIGNAL) != sizeof(page.gpa))
				break;
		}
	}
	if (vm.dies)
		assert_int_equal(uiommu_destroy(g.context, d.queue), 0);
	return NULL;
}

static void vm_start(bool dies)
{
	int pair[2];

	vm.asked = 0;
	vm.dies = dies;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	vm.pid = fork();
	assert_true(vm.pid >= 0);
	if (!vm.pid) {
		close(pair[0]);
		d.answers = false;
		if (!d.bits && !d.minor) {
			close(d.userfaultfd); /* of the parent's mapping */
			if (watch_own())
				_exit(2);
		}
		vm_main(pair[1]);
	}
	close(pair[1]);
	vm.connection = pair[0];
	assert_int_equal(pthread_create(&vm.forwarder, NULL, forward, NULL), 0);
}

static void vm_end(void)
{
	kill(vm.pid, SIGKILL);
	waitpid(vm.pid, NULL, 0);
	pthread_join(vm.forwarder, NULL);
	close(vm.connection);
}

static struct uiommu_accel *accel_start(struct uiommu_queue **queue)
{
	const struct uiommu_queue_config config = {.size = sizeof(config), .flags = UIOMMU_QUEUE_SHARED, .entries = 256};
	struct uiommu_accel *accel;

	assert_int_equal(uiommu_accel_create(g.context, g.device_id, &accel), 0);
	assert_int_equal(uiommu_accel_queue(accel, &config, queue), 0);
	assert_int_equal(uiommu_accel_start(accel, 0), 0);
	return accel;
}

/* Blocks of the RAM are moved about, one after the other; @records is the last page, as it is mapped here. */
static void run_jobs(struct uiommu_queue *queue, uint8_t *records)
{
	for (uint64_t i = 0; i < JOBS; i++) {
		const struct uiommu_accel_record *record = (const struct uiommu_accel_record *)(void *)(records + 32 * i);
		uint32_t random = (uint32_t)i * 2654435761u;
		struct uiommu_accel_desc desc = {
			.pasid_priv = PASID,
			.flags_opcode = UIOMMU_ACCEL_MEMMOVE << 24 | UIOMMU_ACCEL_RECORD_VALID | UIOMMU_ACCEL_REQUEST_RECORD |
					UIOMMU_ACCEL_REQUEST_INTERRUPT,
			.completion_address = LOW_BYTES - PAGE + 32 * i,
			.source = random % (LOW_BYTES / PAGE - 6) * PAGE + random % 1000,
			.destination = (random >> 12) % (LOW_BYTES / PAGE - 6) * PAGE + random % 500,
			.transfer_size = JOB_BYTES,
		};

		assert_int_equal(uiommu_queue_submit(queue, &desc), 0);
		assert_int_equal(uiommu_queue_wait(queue, record), 0);
		assert_int_equal(record->status, UIOMMU_ACCEL_SUCCESS);
	}
}

/* The same on memory that is all there; @bytes are what it is, in the end. */
static void run_jobs_present(uint8_t *bytes)
{
	struct uiommu_guest_region low = {.length = LOW_BYTES, .access = UIOMMU_READ | UIOMMU_WRITE};
	struct uiommu_accel *accel;
	struct uiommu_queue *queue;
	uint8_t *map;

	low.fd = memfd_create("present", MFD_CLOEXEC);
	assert_int_equal(pwrite(low.fd, bytes, LOW_BYTES, 0), (ssize_t)LOW_BYTES);
	map = mmap(NULL, LOW_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, low.fd, 0);
	assert_int_equal(change(&all, &low, 1), 0);
	accel = accel_start(&queue);
	run_jobs(queue, map + LOW_BYTES - PAGE);
	uiommu_accel_destroy(accel);
	memcpy(bytes, map, LOW_BYTES);
	munmap(map, LOW_BYTES);
	close(low.fd);
}

static void all_of_the_ram(void **state)
{
	const uint64_t pages = LOW_BYTES / PAGE;
	uint8_t *expected = malloc(LOW_BYTES), *got = malloc(LOW_BYTES);
	struct uiommu_accel *accel;
	struct uiommu_queue *queue;

	(void)state;
	ready();
	for (unsigned int i = 0; i < LOW_BYTES - PAGE; i++)
		d.image[i] = (uint8_t)(1 + (i * 31 + i / PAGE * 7) % 255);
	memcpy(expected, d.image, LOW_BYTES);
	bind_memory();
	supply(LOW_BYTES - PAGE);
	vm_start(false);
	accel = accel_start(&queue);
	run_jobs(queue, d.ram + LOW_BYTES - PAGE);
	uiommu_accel_destroy(accel);
	vm_end();
	/* Each page that was needed came once. */
	assert_true(vm.asked > pages / 2 && vm.asked < pages);
	run_jobs_present(expected);
	assert_int_equal(pread(g.fd, got, LOW_BYTES, 0), (ssize_t)LOW_BYTES);
	for (uint64_t i = 0; i < pages; i++)
		if (got[i * PAGE]) /* what nobody has needed is empty */
			assert_memory_equal(got + i * PAGE, expected + i * PAGE, PAGE);
		else
			vm.asked++;
	assert_int_equal(vm.asked, pages - 1 + (got[LOW_BYTES - PAGE] == 0));
	free(expected);
	free(got);
}

/* Killed half-way: what was supplied has been done, all else has failed, and nothing waits. */
static void the_vm_dies(void **state)
{
	struct uiommu_accel *accel;
	struct uiommu_queue *queue;
	unsigned int done = 0;

	(void)state;
	ready();
	bind_memory();
	supply(0);
	vm_start(true);
	accel = accel_start(&queue);
	for (uint64_t i = 0; i < JOBS; i++) {
		struct uiommu_accel_desc desc = fill_of((i + 1) * PAGE, 32 * i);

		desc.flags_opcode |= UIOMMU_ACCEL_REQUEST_INTERRUPT;
		assert_int_equal(uiommu_queue_submit(queue, &desc), 0);
	}
	for (uint64_t i = 0; i < JOBS; i++) {
		const struct uiommu_accel_record *record = (const struct uiommu_accel_record *)(void *)(d.ram + 32 * i);

		assert_int_equal(uiommu_queue_wait(queue, record), 0);
		if (record->status == UIOMMU_ACCEL_SUCCESS)
			done++;
		else
			assert_int_equal(record->status & UIOMMU_ACCEL_STATUS_MASK, UIOMMU_ACCEL_PAGE_FAULT_INVALID);
	}
	assert_true(done < 20);
	vm_end();
	uiommu_accel_destroy(accel);
	assert_int_equal(uiommu_unbind_claim(g.context, g.device_id, PASID, UIOMMU_UNBIND_FLUSHED | UIOMMU_UNBIND_CLEAN), 0);
	assert_int_equal(change(&all, NULL, 0), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_ALL(others_go_on),
		IN_ALL(all_of_the_ram),
		IN_ALL(the_vm_dies),
	};

	traps_install();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
