/* SPDX-License-Identifier: BSD-3-Clause */
/* The accelerator with DSA's registers, written by number as DSA's drivers do, and its portals. */
#include "vectors.h"

#include <sched.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <uiommu/uiommu.h>

enum {
	PAGE = 4096,
	PASID_A = 5,
	PASID_B = 9,
	CMD = 0xa0,
	CMDSTS = 0xa8,
	SWERR = 0xc0,
	INTCAUSE = 0x98,
	GROUPS = 0x400,
	QUEUES = 0x600,
	ENABLE_DEVICE = 1,
	DISABLE_DEVICE = 2,
	ABORT_ALL = 4,
	RESET_DEVICE = 5,
	ENABLE_WQ = 6,
	DISABLE_WQ = 7,
	DRAIN_WQ = 8,
	RESET_WQ = 10,
	DRAIN_PASID = 11,
	ABORT_PASID = 12,
	RECORD = UIOMMU_ACCEL_RECORD_VALID | UIOMMU_ACCEL_REQUEST_RECORD,
};

static struct {
	struct uiommu_context *context;
	struct uiommu_model *model;
	struct uiommu_pci *pci;
	uint8_t *memory; /* at IOVA 0x10000, of PASID_B one page later */
} d;

#define IOVA UINT64_C(0x10000)

/* --- a driver --- */

static uint64_t get(uint64_t offset, unsigned int size)
{
	uint64_t value = 0;

	assert_int_equal(pci_bar_read(d.pci, 0, offset, &value, size), 0);
	return value;
}

static void set(uint64_t offset, unsigned int size, uint64_t value)
{
	assert_int_equal(pci_bar_write(d.pci, 0, offset, &value, size), 0);
}

static void config_set(unsigned int offset, unsigned int size, uint32_t value)
{
	function_config_set(d.pci, offset, size, value);
}

static void wait_interrupt(unsigned int vector, unsigned int count)
{
	while (interrupts_of(vector) < count)
		sched_yield();
}

/* The status, when it is no longer active. */
static uint32_t command(uint32_t code, uint32_t operand)
{
	uint32_t status;

	set(CMD, 4, code << 20 | operand);
	while ((status = (uint32_t)get(CMDSTS, 4)) >> 31)
		sched_yield();
	return status;
}

static void configure_wq(unsigned int wq, uint32_t size, uint32_t modes)
{
	set(QUEUES + wq * 32, 4, size);
	set(QUEUES + wq * 32 + 8, 4, modes | 1 << 4);
	set(QUEUES + wq * 32 + 12, 4, 21 | 4 << 5);
}

static unsigned int wq_state(unsigned int wq)
{
	return (unsigned int)(get(QUEUES + wq * 32 + 24, 4) >> 30);
}

/* Groups 0 and 1 with an engine each; work queue 0 is dedicated, without PASID, and 1 is shared. */
static void bring_up(void)
{
	set(GROUPS, 8, 1);
	set(GROUPS + 0x20, 8, 1);
	set(GROUPS + 0x40, 8, 2);
	set(GROUPS + 0x60, 8, 2);
	configure_wq(0, 16, 1);
	configure_wq(1, 16, UINT32_C(1) << 28);
	assert_int_equal(command(ENABLE_DEVICE, 0), 0);
	assert_int_equal(get(0x90, 4), 1);
	assert_int_equal(command(ENABLE_WQ, 0), 0);
	assert_int_equal(command(ENABLE_WQ, 1), 0);
	assert_int_equal(wq_state(0), 1);
	assert_int_equal(wq_state(1), 1);
	assert_int_equal(wq_state(2), 0);
}

static void map(uint32_t ioas, uint8_t *memory)
{
	struct uiommu_ioas_map request = {
		.size = sizeof(request),
		.flags = UIOMMU_MAP_FIXED | UIOMMU_MAP_READ | UIOMMU_MAP_WRITE,
		.ioas_id = ioas,
		.source = UIOMMU_MAP_OWN,
		.address = memory,
		.iova = IOVA,
		.length = 4 * PAGE,
	};

	assert_int_equal(uiommu_ioas_map(d.context, &request), 0);
}

static int setup(void **state)
{
	uint32_t id, ioas, other;

	(void)state;
	memset(&d, 0, sizeof(d));
	d.memory = mmap(NULL, 5 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_true(d.memory != MAP_FAILED);
	assert_int_equal(uiommu_open(NULL, &d.context), 0);
	assert_int_equal(uiommu_model_create(d.context, 8, "dsa", NULL, 0, &d.model), 0);
	d.pci = uiommu_model_function(d.model);
	id = uiommu_model_device(d.model);
	vectors_connect(d.pci);
	assert_int_equal(uiommu_ioas_alloc(d.context, &ioas), 0);
	assert_int_equal(uiommu_ioas_alloc(d.context, &other), 0);
	map(ioas, d.memory);
	map(other, d.memory + PAGE);
	assert_int_equal(uiommu_attach(d.context, id, UIOMMU_NO_PASID, ioas), 0);
	assert_int_equal(uiommu_attach(d.context, id, PASID_A, ioas), 0);
	assert_int_equal(uiommu_attach(d.context, id, PASID_B, other), 0);
	config_set(PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	config_set(d.pci->place[UIOMMU_PCI_PASID] + PCI_PASID_CONTROL, 2, PCI_PASID_ENABLE);
	config_set(d.pci->place[UIOMMU_PCI_MSIX] + PCI_MSIX_CONTROL, 2, PCI_MSIX_ENABLE);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	pci_connect(d.pci, NULL);
	assert_int_equal(uiommu_model_destroy(d.model), 0);
	assert_int_equal(uiommu_close(d.context), 0);
	munmap(d.memory, 5 * PAGE);
	return 0;
}

/* --- whoever submits --- */

static struct uiommu_accel_desc move(uint32_t pasid, uint32_t size)
{
	memset(d.memory, 0, 5 * PAGE);
	for (unsigned int i = 0; i < 2 * PAGE; i++)
		d.memory[i] = (uint8_t)(i * 7 + i / PAGE);
	return (struct uiommu_accel_desc){
		.pasid_priv = pasid,
		.flags_opcode = UIOMMU_ACCEL_MEMMOVE << 24 | RECORD,
		.completion_address = IOVA + 3 * PAGE,
		.source = IOVA,
		.destination = IOVA + 2 * PAGE,
		.transfer_size = size,
	};
}

static void submit_at(uint64_t offset, const struct uiommu_accel_desc *desc)
{
	assert_int_equal(pci_bar_write(d.pci, 2, offset, desc, sizeof(*desc)), 0);
}

static void submit(unsigned int wq, const struct uiommu_accel_desc *desc)
{
	submit_at(wq * UINT64_C(0x4000), desc);
}

/* @memory: where the address space begins. */
static uint8_t wait_record(const uint8_t *memory)
{
	const struct uiommu_accel_record *record = (const void *)(memory + 3 * PAGE);
	uint8_t status;

	while (!(status = __atomic_load_n(&record->status, __ATOMIC_ACQUIRE)))
		sched_yield();
	return status;
}

static uint64_t wait_error(void)
{
	uint64_t error;

	while (!((error = get(SWERR, 8)) & 1))
		sched_yield();
	return error;
}

/* --- tests --- */

static void what_drivers_look_at(void **state)
{
	uint32_t id = 0;

	(void)state;
	assert_int_equal(pci_config_read(d.pci, 0, &id, 4), 0);
	assert_int_equal(id, 0x0b258086);
	assert_int_equal(get(0, 4), 0x100);
	assert_int_equal(get(0x10, 8) >> 16 & 31, 31); /* largest transfer */
	assert_true(get(0x10, 8) >> 31 & 1); /* it can be configured */
	assert_int_equal(get(0x20, 8) & 0xffff, 128);
	assert_int_equal(get(0x20, 8) >> 16 & 0xff, 8);
	assert_int_equal(get(0x20, 8) >> 48 & 3, 3);
	assert_int_equal(get(0x30, 1), 4);
	assert_int_equal(get(0x38, 1), 4);
	assert_int_equal(get(0x40, 8), 1 << 0 | 1 << 1 | 1 << 2 | 1 << 3 | 1 << 4 | 1 << 5 | 1 << 6 | 1 << 9 | 1 << 16);
	assert_int_equal(get(0x60, 8), GROUPS / 0x100 | QUEUES / 0x100 << 16 | UINT64_C(0x800) / 0x100 << 32);
	assert_int_equal(get(0xb0, 4), 0xffe);
	/* Half a register. */
	assert_int_equal(get(0x24, 4), 3 << 16);
}

static void dedicated(void **state)
{
	struct uiommu_accel_desc desc;

	(void)state;
	bring_up();
	desc = move(0, PAGE);
	desc.flags_opcode |= UIOMMU_ACCEL_REQUEST_INTERRUPT;
	desc.interrupt_handle = 3;
	submit(0, &desc);
	wait_interrupt(3, 1);
	assert_int_equal(wait_record(d.memory), UIOMMU_ACCEL_SUCCESS);
	assert_memory_equal(d.memory + 2 * PAGE, d.memory, PAGE);
	assert_int_equal(d.memory[2 * PAGE + 100], (uint8_t)700);
	assert_int_equal(interrupts_of(0), 0);
	/* No such vector; and without an interrupt the field is reserved. */
	desc = move(0, PAGE);
	desc.flags_opcode |= UIOMMU_ACCEL_REQUEST_INTERRUPT;
	desc.interrupt_handle = 9;
	submit(0, &desc);
	assert_int_equal(wait_record(d.memory), UIOMMU_ACCEL_INTERRUPT_HANDLE);
	desc = move(0, PAGE);
	desc.interrupt_handle = 1;
	submit(0, &desc);
	assert_int_equal(wait_record(d.memory), UIOMMU_ACCEL_NONZERO_RESERVED);
	/* What the work queue's configuration says, the descriptor need not. */
	desc = move(UINT32_C(1) << 31 | PASID_B, PAGE);
	submit(0, &desc);
	assert_int_equal(wait_record(d.memory), UIOMMU_ACCEL_SUCCESS);
	assert_memory_equal(d.memory + 2 * PAGE, d.memory, PAGE);
	/* The work queue's limit, 2 MiB. */
	desc = move(0, (2 << 20) + 1);
	submit(0, &desc);
	assert_int_equal(wait_record(d.memory), UIOMMU_ACCEL_TRANSFER_RANGE);
}

/* The PASID is the descriptor's; one that nobody has is told in SWERR, and nothing is touched. */
static void shared(void **state)
{
	struct uiommu_accel_desc desc;
	uint64_t error;

	(void)state;
	bring_up();
	set(0x88, 4, 1);
	desc = move(PASID_B, 64);
	submit(1, &desc);
	assert_int_equal(wait_record(d.memory + PAGE), UIOMMU_ACCEL_SUCCESS);
	assert_memory_equal(d.memory + 3 * PAGE, d.memory + PAGE, 64);
	desc = move(PASID_A, 64);
	submit(1, &desc);
	assert_int_equal(wait_record(d.memory), UIOMMU_ACCEL_SUCCESS);
	assert_memory_equal(d.memory + 2 * PAGE, d.memory, 64);
	desc = move(UINT32_C(1) << 31 | PASID_A, 64);
	submit(1, &desc);
	assert_int_equal(wait_record(d.memory), UIOMMU_ACCEL_PRIVILEGE);
	desc = move(77, 64);
	submit(1, &desc);
	error = wait_error();
	assert_int_equal(error >> 8 & 0xff, UIOMMU_ACCEL_TRANSLATION);
	assert_int_equal(error >> 16 & 0xff, 1); /* work queue */
	assert_int_equal(error >> 32 & 0xff, UIOMMU_ACCEL_MEMMOVE);
	assert_int_equal(error >> 40 & 0xfffff, 77);
	assert_int_equal(d.memory[3 * PAGE], 0);
	wait_interrupt(0, 1);
	assert_int_equal(get(INTCAUSE, 4), 1);
	set(INTCAUSE, 4, 1);
	assert_int_equal(get(INTCAUSE, 4), 0);
	/* The first one stays until it is acknowledged. */
	submit(1, &desc);
	assert_int_equal(command(DRAIN_WQ, 2), 0);
	assert_int_equal(get(SWERR, 8) & 3, 3);
	set(SWERR, 8, 3);
	assert_int_equal(get(SWERR, 8) & 3, 0);
}

static void commands_refused(void **state)
{
	(void)state;
	assert_int_equal(command(0, 0), 1);
	assert_int_equal(command(ABORT_PASID, PASID_A), 1);
	assert_int_equal(command(ENABLE_WQ, 0), 0x20);
	assert_int_equal(command(DISABLE_DEVICE, 0), 0x31);
	set(GROUPS, 8, 1);
	assert_int_equal(command(ENABLE_DEVICE, 0), 0x17);
	set(GROUPS + 0x20, 8, 1);
	set(GROUPS + 0x40, 8, 1);
	set(GROUPS + 0x60, 8, 2);
	assert_int_equal(command(ENABLE_DEVICE, 0), 0x15);
	set(GROUPS + 0x40, 8, 2);
	configure_wq(0, 100, 1);
	configure_wq(1, 100, 1);
	assert_int_equal(command(ENABLE_DEVICE, 0), 0x14);
	configure_wq(1, 0, 1);
	config_set(PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
	assert_int_equal(command(ENABLE_DEVICE, 0), 0x12);
	config_set(PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	assert_int_equal(command(ENABLE_DEVICE, 0), 0);
	assert_int_equal(command(ENABLE_DEVICE, 0), 0x10);
	assert_int_equal(command(ENABLE_WQ, 8), 2);
	assert_int_equal(command(ENABLE_WQ, 1), 0x22);
	assert_int_equal(command(DISABLE_WQ, 1), 0x32);
	assert_int_equal(command(DISABLE_WQ, 1 << 8), 2);
	configure_wq(0, 100, 0); /* shared, without PASIDs */
	assert_int_equal(command(ENABLE_WQ, 0), 0x24);
	configure_wq(0, 100, 1 | 1 << 29);
	assert_int_equal(command(ENABLE_WQ, 0), 0x24);
	configure_wq(0, 100, 1 | 1 << 28); /* dedicated to PASID 0 */
	assert_int_equal(command(ENABLE_WQ, 0), 0x26);
	configure_wq(0, 100, 1);
	set(QUEUES + 12, 4, 11 << 5);
	assert_int_equal(command(ENABLE_WQ, 0), 0x27);
	set(QUEUES + 12, 4, 4 << 5 | 20);
	set(QUEUES + 8, 4, 1);
	assert_int_equal(command(ENABLE_WQ, 0), 0x23);
	set(QUEUES + 8, 4, 1 | 1 << 4);
	assert_int_equal(command(ENABLE_WQ, 0), 0);
	assert_int_equal(command(ENABLE_WQ, 0), 0x21);
	/* What is enabled is not configured. */
	set(QUEUES, 4, 7);
	assert_int_equal(get(QUEUES, 4), 100);
	set(GROUPS, 8, 0);
	assert_int_equal(get(GROUPS, 8), 1);
}

/* What is no write of 64 bytes is no descriptor, and nor is what comes where IMS would be. */
static void portals(void **state)
{
	struct uiommu_accel_desc desc;
	uint64_t half[4];

	(void)state;
	bring_up();
	desc = move(0, 64);
	memcpy(half, (uint8_t *)&desc + 32, 32);
	assert_int_equal(pci_bar_write(d.pci, 2, 32, half, 32), 0);
	memcpy(half, &desc, 32);
	assert_int_equal(pci_bar_write(d.pci, 2, 0, half, 32), 0);
	submit_at(0x2000, &desc);
	assert_int_equal(pci_bar_write(d.pci, 2, 0, half, 32), 0);
	submit_at(0x1000 + 64 * 5, &desc);
	assert_int_equal(wait_record(d.memory), UIOMMU_ACCEL_SUCCESS);
	assert_int_equal(command(DRAIN_WQ, 1), 0);
	assert_int_equal(get(SWERR, 8), 0);
	/* Nobody is there. */
	desc = move(PASID_A, 64);
	submit(2, &desc);
	assert_int_equal(wait_error() >> 8 & 0xffff, 0x254);
	assert_int_equal(d.memory[3 * PAGE], 0);
}

static void ends(void **state)
{
	struct uiommu_accel_desc desc;

	(void)state;
	bring_up();
	desc = move(0, PAGE);
	for (unsigned int i = 0; i < 8; i++)
		submit(0, &desc);
	set(CMD, 4, UINT32_C(1) << 31 | DRAIN_PASID << 20 | PASID_A);
	wait_interrupt(0, 1);
	assert_int_equal(get(INTCAUSE, 4), 2);
	assert_int_equal(get(CMDSTS, 4), 0);
	assert_int_equal(wait_record(d.memory), UIOMMU_ACCEL_SUCCESS);
	/* It goes on afterwards, after an abort, too. */
	assert_int_equal(command(ABORT_ALL, 0), 0);
	assert_int_equal(wq_state(0), 1);
	desc = move(0, PAGE);
	submit(0, &desc);
	assert_int_equal(wait_record(d.memory), UIOMMU_ACCEL_SUCCESS);
	/* Disabled, and enabled again as it was. */
	assert_int_equal(command(DISABLE_WQ, 1), 0);
	assert_int_equal(wq_state(0), 0);
	assert_int_equal(get(QUEUES, 4), 16);
	assert_int_equal(command(ENABLE_WQ, 0), 0);
	assert_int_equal(command(RESET_WQ, 3), 0);
	assert_int_equal(get(QUEUES, 4), 0);
	assert_int_equal(get(0x90, 4), 1);
	configure_wq(0, 8, 1);
	assert_int_equal(command(ENABLE_WQ, 0), 0);
	assert_int_equal(command(DISABLE_DEVICE, 0), 0);
	assert_int_equal(wq_state(0), 0);
	assert_int_equal(get(0x90, 4), 0);
	bring_up();
	assert_int_equal(command(RESET_DEVICE, 0), 0);
	assert_int_equal(get(0x90, 4), 0);
	assert_int_equal(get(GROUPS, 8), 0);
	bring_up();
	desc = move(PASID_A, PAGE);
	submit(1, &desc);
	assert_int_equal(wait_record(d.memory), UIOMMU_ACCEL_SUCCESS);
}

/* A reset in the middle of work: what comes afterwards begins anew. */
static void resets(void **state)
{
	struct uiommu_accel_desc desc;

	(void)state;
	for (unsigned int round = 0; round < 200; round++) {
		bring_up();
		desc = move(PASID_A, PAGE);
		for (unsigned int i = 0; i < 4; i++)
			submit(1, &desc);
		if (round % 2)
			set(CMD, 4, DRAIN_WQ << 20 | 2);
		pci_reset(d.pci, UIOMMU_PCI_RESET_FUNCTION);
		config_set(PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
		config_set(d.pci->place[UIOMMU_PCI_PASID] + PCI_PASID_CONTROL, 2, PCI_PASID_ENABLE);
		assert_int_equal(get(CMDSTS, 4), 0);
		assert_int_equal(get(QUEUES + 32, 4), 0);
		assert_int_equal(wq_state(1), 0);
	}
	/* PASIDs are switched off under a work queue that has one. */
	bring_up();
	config_set(d.pci->place[UIOMMU_PCI_PASID] + PCI_PASID_CONTROL, 2, 0);
	while (wq_state(1))
		sched_yield();
	assert_int_equal(wq_state(0), 1);
}

/* How much a descriptor may move can be less. */
static void largest_transfer(void **state)
{
	struct uiommu_pci *first = d.pci;
	struct uiommu_model *model;
	char complaint[100];

	(void)state;
	assert_int_equal(uiommu_model_create(d.context, 9, "dsa,transfer=5000", complaint, sizeof(complaint), &model), -EINVAL);
	assert_string_equal(complaint, "dsa: transfer=5000 is no power of two");
	assert_int_equal(uiommu_model_create(d.context, 9, "dsa,transfer=4G", complaint, sizeof(complaint), &model), -EINVAL);
	assert_int_equal(uiommu_model_create(d.context, 9, "dsa,transfer=64K", NULL, 0, &model), 0);
	d.pci = uiommu_model_function(model);
	config_set(PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
	assert_int_equal(get(0x10, 8) >> 16 & 31, 16);
	d.pci = first;
	uiommu_model_destroy(model);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(what_drivers_look_at, setup, teardown),
		cmocka_unit_test_setup_teardown(dedicated, setup, teardown),
		cmocka_unit_test_setup_teardown(shared, setup, teardown),
		cmocka_unit_test_setup_teardown(commands_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(portals, setup, teardown),
		cmocka_unit_test_setup_teardown(largest_transfer, setup, teardown),
		cmocka_unit_test_setup_teardown(ends, setup, teardown),
		cmocka_unit_test_setup_teardown(resets, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
