/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Who owns PASIDs and their table: the caller names PASIDs of a table that the library keeps, the guest keeps the table, or the
 * library picks. The same work of the same VM gives the same bytes, and the same records for the guest.
 *
 * The VM is a process of its own: it has RAM in a memfd, builds its tables there, and can be killed.
 */
#include "guest.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <uiommu/accel.h>
#include <uiommu/bind.h>
#include <uiommu/guest_memory.h>
#include <unistd.h>

/* The guest has so many processes, with PASIDs from GUEST_FIRST on, each with DATA_PAGES at VA and the next one's page behind. */
enum { PROCESSES = 5, GUEST_FIRST = 40, DATA_PAGES = 4, JOBS = 6 };

/* What the VM says of itself, in its first page. */
struct boot {
	uint64_t directory;
	uint64_t root[PROCESSES];
};

struct model {
	const char *name;
	bool whole; /* the guest's table */
	bool picks; /* the library picks PASIDs */
	bool vpasids; /* and is told the guest's numbers */
};

static const struct model models[] = {
	{"the caller names PASIDs", false, false, false},
	{"the caller names PASIDs, and the guest's", false, false, true},
	{"the guest keeps the table", true, false, false},
	{"the library picks", false, true, false},
	{"the library picks, and knows the guest's", false, true, true},
};

static struct {
	pid_t pid;
	int connection; /* hangs up when the VM ends */
} vm;

/* --- the VM --- */

static void build_process(const struct boot *boot, unsigned int process)
{
	uint64_t root = boot->root[process], *entry, table;

	for (unsigned int i = 0; i < DATA_PAGES; i++) {
		uint64_t page = page_new();

		*leaf_of(root, VA + i * PAGE, FIRST_TABLE) = page | FIRST_PAGE;
		for (unsigned int byte = 0; byte < PAGE; byte++)
			at(page)[byte] = (uint8_t)(byte * 7 + i * 31 + process * 101);
	}
	if (!entry_at(boot->directory)[0])
		entry_at(boot->directory)[0] = page_new() | 1;
	table = entry_at(boot->directory)[0] & ~(uint64_t)(PAGE - 1);
	entry = entry_at(table) + (GUEST_FIRST + process) * 8;
	entry[1] = 5;
	entry[2] = root;
	entry[0] = 1 << 6 | 1;
}

static void vm_main(int connection)
{
	struct boot *boot = (struct boot *)(void *)g.bytes;
	char byte = 1;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	boot->directory = page_new();
	for (unsigned int i = 0; i < PROCESSES; i++)
		boot->root[i] = page_new();
	for (unsigned int i = 0; i < PROCESSES; i++)
		build_process(boot, i);
	if (write(connection, &byte, 1) != 1)
		_exit(1);
	for (;;)
		pause();
}

static void vm_start(void)
{
	int pair[2];
	char byte;

	memset(g.bytes, 0, RAM_BYTES);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	vm.pid = fork();
	assert_true(vm.pid >= 0);
	if (!vm.pid) {
		close(pair[0]);
		vm_main(pair[1]);
	}
	close(pair[1]);
	vm.connection = pair[0];
	assert_int_equal(read(vm.connection, &byte, 1), 1);
}

static void vm_kill(void)
{
	char byte;

	kill(vm.pid, SIGKILL);
	assert_int_equal(read(vm.connection, &byte, 1), 0); /* the hang-up */
	waitpid(vm.pid, NULL, 0);
	close(vm.connection);
}

/* --- the device's side --- */

/* PASIDs as the device emits them, by the guest's process. */
static void bind_all(const struct model *model, uint32_t *pasids)
{
	const struct boot *boot = (const struct boot *)(const void *)g.bytes;
	struct uiommu_bind bind = {.size = sizeof(bind), .device_id = g.device_id, .fault_queue_id = g.queue};
	struct uiommu_bind_page_table table = {.format = UIOMMU_FORMAT_VTD_FIRST, .parent_id = g.parent, .address_width = 48};
	struct uiommu_hwpt_tables tables = {
		.size = sizeof(tables),
		.parent_id = g.parent,
		.tables = UIOMMU_TABLES_VTD,
		.structure = UIOMMU_STRUCTURE_PASID,
		.base = boot->directory,
		.capabilities = UIOMMU_VTD_TABLES_4_LEVEL | UIOMMU_VTD_TABLES_SMTS | UIOMMU_VTD_TABLES_FIRST |
				UIOMMU_VTD_TABLES_PASID | 19 << 24 | UINT32_C(6) << 29,
		.size_lg2 = 20,
		.output_lg2 = 46,
		.rid_pasid = UIOMMU_NO_PASID,
	};

	if (model->whole) {
		bind.type = UIOMMU_BIND_PASID_TABLE;
		bind.pasid = UIOMMU_NO_PASID;
		bind.data = &tables;
		bind.data_len = sizeof(tables);
		assert_int_equal(uiommu_bind(g.context, &bind), 0);
	}
	bind.type = UIOMMU_BIND_PAGE_TABLE;
	bind.data = &table;
	bind.data_len = sizeof(table);
	for (unsigned int i = 0; i < PROCESSES; i++) {
		pasids[i] = GUEST_FIRST + i;
		if (model->whole)
			continue;
		table.root = boot->root[i];
		bind.pasid = model->picks ? UIOMMU_NO_PASID : 1000 - 10 * i;
		bind.flags = model->vpasids ? UIOMMU_BIND_VPASID : 0;
		bind.vpasid = model->vpasids ? GUEST_FIRST + i : 0;
		assert_int_equal(uiommu_bind(g.context, &bind), 0);
		pasids[i] = bind.pasid;
	}
}

static void unbind_all(const struct model *model, const uint32_t *pasids)
{
	if (model->whole)
		assert_int_equal(uiommu_unbind(g.context, g.device_id, UIOMMU_NO_PASID), 0);
	for (unsigned int i = 0; i < PROCESSES && !model->whole; i++)
		assert_int_equal(uiommu_unbind(g.context, g.device_id, pasids[i]), 0);
}

/* Moves, fills, checksums and comparisons in each process; records lie in its first page. */
static void work(struct uiommu_accel *accel, struct uiommu_queue *queue, const uint32_t *pasids)
{
	static const uint8_t opcodes[JOBS] = {UIOMMU_ACCEL_MEMMOVE, UIOMMU_ACCEL_FILL,	  UIOMMU_ACCEL_CRC,
					      UIOMMU_ACCEL_COMPARE, UIOMMU_ACCEL_MEMMOVE, UIOMMU_ACCEL_DUALCAST};

	for (uint64_t i = 0; i < PROCESSES * JOBS; i++) {
		uint64_t process = i % PROCESSES, job = i / PROCESSES;
		struct uiommu_accel_desc desc = {
			.pasid_priv = pasids[process],
			.flags_opcode = (uint32_t)opcodes[job] << 24 | UIOMMU_ACCEL_RECORD_VALID | UIOMMU_ACCEL_REQUEST_RECORD,
			.completion_address = VA + 64 * job,
			.source = VA + PAGE + job * 100,
			.destination = VA + 2 * PAGE + job * 512,
			.transfer_size = 512,
		};

		if (opcodes[job] == UIOMMU_ACCEL_CRC)
			desc.destination = 0;
		if (opcodes[job] == UIOMMU_ACCEL_DUALCAST)
			desc.specific = desc.destination + PAGE;
		assert_int_equal(uiommu_queue_submit(queue, &desc), 0);
	}
	while (uiommu_accel_poll(accel, 8))
		;
	for (uint64_t i = 0; i < PROCESSES * JOBS; i++) {
		struct uiommu_accel_record record;

		assert_int_equal(
			uiommu_dma_read(g.device, pasids[i % PROCESSES], VA + 64 * (i / PROCESSES), &record, sizeof(record), NULL),
			0);
		if (record.status != UIOMMU_ACCEL_SUCCESS)
			fail_msg("process %u, job %u: status %#x", (unsigned int)(i % PROCESSES), (unsigned int)(i / PROCESSES),
				 record.status);
	}
}

/* An address that nobody has: what the guest is told. */
static void check_fault_of(uint32_t pasid, uint32_t expected)
{
	struct uiommu_fault_event event;
	uint8_t byte;

	assert_int_equal(uiommu_dma_read(g.device, pasid, VA + DATA_PAGES * PAGE, &byte, 1, NULL), -EFAULT);
	assert_int_equal(uiommu_fault_read(g.context, g.queue, &event, 1), 1);
	assert_int_equal(event.fault.pasid, expected);
	assert_int_equal(event.fault.address, VA + DATA_PAGES * PAGE);
	assert_int_equal(event.fault.reason, UIOMMU_FAULT_UNMAPPED);
}

static void run(const struct model *model, uint8_t *result)
{
	const struct uiommu_queue_config config = {.size = sizeof(config), .flags = UIOMMU_QUEUE_SHARED, .entries = 64};
	size_t before = uiommu_object_count(g.context);
	struct uiommu_fault_event event;
	struct uiommu_accel *accel;
	struct uiommu_queue *queue;
	uint32_t pasids[PROCESSES];

	vm_start();
	bind_all(model, pasids);
	assert_int_equal(uiommu_accel_create(g.context, g.device_id, &accel), 0);
	assert_int_equal(uiommu_accel_queue(accel, &config, &queue), 0);
	work(accel, queue, pasids);
	assert_int_equal(uiommu_fault_read(g.context, g.queue, &event, 1), 0);
	memcpy(result, g.bytes, RAM_BYTES);
	for (unsigned int i = 0; i < PROCESSES; i++)
		check_fault_of(pasids[i], model->vpasids || model->whole ? GUEST_FIRST + i : pasids[i]);
	uiommu_accel_destroy(accel);
	unbind_all(model, pasids);
	assert_int_equal(uiommu_object_count(g.context), before);
	vm_kill();
}

static void the_same_bytes(void **state)
{
	uint8_t *first = malloc(RAM_BYTES), *other = malloc(RAM_BYTES);
	const struct boot *boot = (const struct boot *)(void *)first;

	(void)state;
	traps_on();
	run(&models[0], first);
	assert_true(boot->directory != 0);
	for (unsigned int i = 1; i < sizeof(models) / sizeof(models[0]); i++) {
		run(&models[i], other);
		if (memcmp(first, other, RAM_BYTES))
			fail_msg("%s: other bytes", models[i].name);
	}
	free(first);
	free(other);
}

/* The VM is killed while it is bound: its memory goes, and then its binds; nothing is left, in whichever order. */
static void the_vm_is_killed(void **state)
{
	const struct uiommu_range all = {0, UINT64_MAX};
	const struct uiommu_guest_memory gone = {.size = sizeof(gone), .ioas_id = g.ioas, .remove_count = 1, .remove = &all};
	size_t before = uiommu_object_count(g.context);
	uint32_t pasids[PROCESSES];
	uint8_t byte;

	(void)state;
	traps_on();
	for (unsigned int i = 0; i < sizeof(models) / sizeof(models[0]); i++) {
		vm_start();
		bind_all(&models[i], pasids);
		assert_int_equal(uiommu_dma_read(g.device, pasids[0], VA, &byte, 1, NULL), 0);
		vm_kill();
		/* What is mapped here does not end with it. */
		assert_int_equal(uiommu_dma_read(g.device, pasids[0], VA + 1, &byte, 1, NULL), 0);
		if (i % 2) {
			assert_int_equal(uiommu_guest_memory_update(g.context, &gone), 0);
			assert_int_equal(uiommu_dma_read(g.device, pasids[0], VA, &byte, 1, NULL), -EFAULT);
		}
		unbind_all(&models[i], pasids);
		assert_int_equal(uiommu_guest_memory_update(g.context, &gone), 0);
		assert_int_equal(uiommu_object_count(g.context), before);
		map_ram(0, 0, LOW_BYTES);
		map_ram(HIGH_START, LOW_BYTES, RAM_BYTES - LOW_BYTES);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_ALL_WAYS(the_same_bytes),
		IN_ALL_WAYS(the_vm_is_killed),
	};

	traps_install();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
