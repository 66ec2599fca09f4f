/* SPDX-License-Identifier: BSD-3-Clause */
/* The accelerator as a PCI function: its registers, pages and doorbells, resets, and what it does without an IOMMU. */
#include "accel_pci_rig.h"

#include <sched.h>

static void the_function(void **state)
{
	(void)state;
	assert_int_equal(config_get(0, 4), 0x55411234);
	assert_int_equal(config_get(8, 4), 0x12000001);
	assert_int_equal(config_get(place(UIOMMU_PCI_PRI) + PCI_PRI_CAPACITY, 4), 512);
	assert_int_equal(config_get(place(UIOMMU_PCI_PRI) + PCI_PRI_STATUS, 2), PCI_PRI_RESPONSE_PASID);
	assert_true(config_get(place(UIOMMU_PCI_ATS) + PCI_ATS_CAPABILITY, 2) & PCI_ATS_PAGE_ALIGNED);
	assert_int_equal(get(0, 0, 4), 1);
	assert_int_equal(get(0, 4, 8), UINT64_C(16) << 32 | 128);
	assert_int_equal(get(0, 0xc, 4), 4096);
	/* What is no register, or no access to one. */
	configure(0, 0x1000, 3, 0, 0);
	set(0, of_page(0, 8), 2, 0x2222);
	assert_int_equal(get(0, of_page(0, 8), 8), 0x1000);
	assert_int_equal(get(0, of_page(0, 8), 2), 0);
	set(0, of_page(128, 8), 8, 0x1000);
	assert_int_equal(get(0, of_page(128, 8), 8), 0);
	assert_int_equal(get(2, 128 * PAGE - 8, 8), 0);
	set(0, 0x18, 4, UINT32_C(1) << 31 | 16);
	assert_int_equal(get(0, 0x18, 4), 0);
}

/* What cannot be enabled, and why. */
static void enabling(void **state)
{
	const uint32_t valid = UINT32_C(1) << 31;
	const struct {
		uint64_t ring;
		uint32_t size, pasid, interrupt, reason;
	} bad[] = {
		{0x1020, 3, valid | 1, 0, 1},
		{UINT64_MAX - 0x3f, 2, valid | 1, 0, 1},
		{0x1000, 0, valid | 1, 0, 2},
		{0x1000, 13, valid | 1, 0, 2},
		{0x1000, UINT32_MAX, valid | 1, 0, 2},
		{0x1000, 3, valid, 0, 3},
		{0x1000, 3, 1, 0, 3},
		{0x1000, 3, valid | 1 << 20, 0, 3},
		{0x1000, 3, valid | 1, 1, 4},
		{0x1000, 3, valid | 1, valid | 16, 4},
	};

	(void)state;
	for (unsigned int i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		configure(3, bad[i].ring, bad[i].size, bad[i].pasid, bad[i].interrupt);
		page_command(3, ENABLE);
		assert_int_equal(state_of(3), bad[i].reason << 8);
	}
	configure(3, UINT64_MAX - 0xff, 2, valid | 1, valid | 15);
	page_command(3, 7);
	page_command(3, DRAIN);
	page_command(3, ABORT);
	assert_int_equal(state_of(3), 4 << 8);
	page_command(3, ENABLE);
	assert_int_equal(state_of(3), ENABLED);
	/* It stays as it is. */
	configure(3, 0, 0, 0, 0);
	page_command(3, ENABLE);
	assert_int_equal(get(0, of_page(3, 8), 8), UINT64_MAX - 0xff);
	assert_int_equal(get(0, of_page(3, 0x10), 8), (uint64_t)(valid | 1) << 32 | 2);
	page_command(3, ABORT);
	assert_int_equal(state_of(3), DISABLED);
	/* Without PASIDs there is none to be had. */
	config_set(place(UIOMMU_PCI_ATS) + PCI_ATS_CONTROL, 2, 0);
	config_set(place(UIOMMU_PCI_PASID) + PCI_PASID_CONTROL, 2, 0);
	page_command(3, ENABLE);
	assert_int_equal(state_of(3), 3 << 8);
}

/* Each with what its page says, whatever a descriptor does; and round the ring. */
static void two_processes(void **state)
{
	struct process x = process_make(PASID_A, 0), y = process_make(PASID_B, 5);
	struct uiommu_accel_desc desc;

	(void)state;
	for (unsigned int i = 0; i < 9; i++) {
		submit(&x, i, 0);
		check_moved(&x, i);
		assert_int_equal(get(2, 8, 8), i + 1);
	}
	assert_false(moved(&y, 0));
	/* Two at once, over the end of the ring, with interrupts; one says that it is another's. */
	for (unsigned int i = 9; i < 12; i++) {
		desc = move(i, UIOMMU_ACCEL_REQUEST_INTERRUPT);
		desc.pasid_priv = PASID_B;
		put(&x, &desc);
	}
	doorbell(&x, x.tail);
	poll_engine();
	for (unsigned int i = 9; i < 12; i++)
		check_moved(&x, i);
	assert_false(moved(&y, 9));
	assert_int_equal(interrupts[0], 1);
	submit(&y, 1, UIOMMU_ACCEL_REQUEST_INTERRUPT);
	check_moved(&y, 1);
	assert_int_equal(interrupts[5], 1);
	assert_int_equal(get(0, of_page(5, 0x30), 8), UINT64_C(1) << 32 | 1);
	assert_int_equal(get(0, 0x40, 8), 0);
	assert_int_equal(read32(R_FSTS), 0);
}

static void bad_doorbells(void **state)
{
	struct process x = process_make(PASID_A, 0);

	(void)state;
	submit(&x, 0, 0);
	doorbell(&x, 1 + 5);
	poll_engine();
	check_error(&x, 1, UIOMMU_ACCEL_ERROR_DOORBELL, 6);
	poll_engine();
	doorbell(&x, 0);
	poll_engine();
	check_error(&x, 2, UIOMMU_ACCEL_ERROR_DOORBELL, 6);
	set(2, 0, 4, 2);
	set(2, 8, 8, 2);
	poll_engine();
	assert_int_equal(get(2, 8, 8), 1);
	submit(&x, 1, 0);
	check_moved(&x, 1);
}

/* Is it shown as it is? */
static void check_shown(const struct process *process)
{
	const uint64_t *shown = (uint64_t *)uiommu_pci_memory(a.pci, 2) + process->page * PAGE / 8;

	for (unsigned int i = 0; i < 4; i++)
		assert_int_equal(shown[i], get(2, process->page * PAGE + 8 * i, 8));
	assert_int_equal(shown[1], get(0, of_page(process->page, 0x30), 4));
	assert_int_equal(shown[2], state_of(process->page));
}

/* Whoever has a page mapped rings by a store, and looks by loads; what else he writes there is believed by nobody. */
static void a_mapped_page(void **state)
{
	struct process x = process_make(PASID_A, 5);
	uint64_t *shown = (uint64_t *)uiommu_pci_memory(a.pci, 2) + 5 * PAGE / 8;
	struct uiommu_accel_desc desc = move(0, 0);

	(void)state;
	check_shown(&x);
	put(&x, &desc);
	__atomic_store_n(&shown[0], UINT64_C(7) << 32 | 1, __ATOMIC_RELEASE);
	poll_engine();
	check_moved(&x, 0);
	assert_int_equal(get(2, 5 * PAGE, 8), 1);
	shown[0] = 1;
	check_shown(&x);
	for (unsigned int i = 1; i < 4; i++)
		shown[i] = UINT64_MAX;
	assert_int_equal(get(2, 5 * PAGE + 8, 8), 1);
	assert_int_equal(state_of(5), ENABLED);
	assert_int_equal(get(2, 5 * PAGE + 0x18, 8), 0);
	/* The next change is shown, and a doorbell that makes no sense is as any. */
	shown[0] = 1 + 5;
	poll_engine();
	check_error(&x, 1, UIOMMU_ACCEL_ERROR_DOORBELL, 6);
	shown[0] = 1;
	submit(&x, 1, 0);
	check_moved(&x, 1);
	page_command(5, ABORT);
	check_shown(&x);
	shown[0] = 3;
	poll_engine();
	page_command(5, ENABLE);
	assert_int_equal(shown[0], 0);
	check_shown(&x);
	set(0, of_page(5, 0x20), 4, 0);
	check_shown(&x);
}

/* What was begun before a reset has no effect after it, whatever is enabled then. */
static void resets(void **state)
{
	struct process x = process_make(PASID_A, 0);
	unsigned int express = place(UIOMMU_PCI_EXPRESS);

	(void)state;
	*leaf(&x, SOURCE) = 0;
	flush(&x);
	submit(&x, 0, BLOCK);
	submit(&x, 1, BLOCK);
	put(&x, &(struct uiommu_accel_desc){0});
	config_set(express + PCI_EXP_CONTROL, 2, PCI_EXP_CONTROL_FLR);
	enable_function();
	assert_int_equal(get(0, 0x14, 4), 1);
	set(0, of_page(0, 0), 4, ENABLE);
	map(&x, SOURCE);
	answer(PASID_A, va(SOURCE, 0), false, 0);
	answer(PASID_A, va(SOURCE, 0), false, 0);
	assert_int_equal(get(0, 0x14, 4), 0);
	assert_int_equal(state_of(0), DISABLED);
	for (unsigned int offset = 8; offset < 0x40; offset += 8)
		assert_int_equal(get(0, of_page(0, offset), 8), 0);
	assert_int_equal(get(0, 0x40, 8), 0);
	assert_int_equal(status(&x, 0) | status(&x, 1), 0);
	assert_false(moved(&x, 0) || moved(&x, 1));
	x = process_make(PASID_A, 0);
	submit(&x, 2, 0);
	check_moved(&x, 2);
	/* The driver's own. */
	set(0, 0x10, 4, 1);
	poll_engine();
	assert_int_equal(state_of(0), DISABLED);
	/* No bus master: nothing goes out, and it is no event. */
	x = process_make(PASID_A, 0);
	config_set(PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
	submit(&x, 3, 0);
	assert_int_equal(status(&x, 3), 0);
	assert_int_equal(state_of(0), ENABLED | HALTED);
	assert_int_equal(read32(R_FSTS), 0);
}

/* PASIDs are switched off under a process. */
static void pasids_off(void **state)
{
	struct process x = process_make(PASID_A, 0);

	(void)state;
	config_set(place(UIOMMU_PCI_ATS) + PCI_ATS_CONTROL, 2, 0);
	config_set(place(UIOMMU_PCI_PASID) + PCI_PASID_CONTROL, 2, 0);
	submit(&x, 0, 0);
	assert_int_equal(state_of(0), DISABLED);
	assert_int_equal(status(&x, 0), 0);
	assert_false(moved(&x, 0));
}

/* A guest without an IOMMU: addresses are guest-physical. */
static void without_iommu(void **state)
{
	struct process x = {.page = 7};
	struct uiommu_accel_desc desc;

	(void)state;
	assert_int_equal(uiommu_attach(g.context, g.device_id, UIOMMU_NO_PASID, g.ioas), 0);
	config_set(PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	for (unsigned int i = 0; i < PROCESS_PAGES; i++)
		x.memory[i] = page_new();
	memset(at(x.memory[SOURCE]), 0x5a, PAGE);
	configure(7, x.memory[RING], ENTRIES_LG2, 0, 0);
	page_command(7, ENABLE);
	assert_int_equal(state_of(7), ENABLED);
	desc = move(0, BLOCK);
	desc.completion_address = x.memory[RECORDS];
	desc.source = x.memory[SOURCE];
	desc.destination = x.memory[DESTINATION];
	put(&x, &desc);
	desc.source = UINT64_C(1) << 40;
	desc.completion_address += 32;
	put(&x, &desc);
	doorbell(&x, x.tail);
	poll_engine();
	check_moved(&x, 0);
	assert_int_equal(status(&x, 1), UIOMMU_ACCEL_PAGE_FAULT_INVALID);
	assert_int_equal(record(&x, 1)->fault_address, UINT64_C(1) << 40);
}

static int alone_setup(void **state)
{
	(void)state;
	guest_make(0, 0);
	make_function(UIOMMU_ACCEL_PCI_POLLED);
	return 0;
}

static int alone_teardown(void **state)
{
	pci_connect(a.pci, NULL);
	assert_int_equal(uiommu_accel_pci_destroy(a.function), 0);
	return teardown(state);
}

/* With the engine's own thread: doorbells, aborts and resets from another. */
static void with_a_thread(void **state)
{
	struct process x;

	(void)state;
	for (unsigned int round = 0; round < 20; round++) {
		set(0, of_page(0, 0), 4, ABORT);
		while (get(0, 0x14, 4) || state_of(0))
			sched_yield();
		g.next = 40;
		x = (struct process){.pasid = PASID_A, .root = page_new()};
		memset(at(x.root), 0, PAGE);
		for (unsigned int i = 0; i < PROCESS_PAGES; i++) {
			x.memory[i] = page_new();
			memset(at(x.memory[i]), (int)(i + round), PAGE);
		}
		for (unsigned int i = 0; i < 3; i++)
			memset(at(page_new()), 0, PAGE);
		g.next -= 3;
		for (unsigned int i = 0; i < PROCESS_PAGES; i++)
			map(&x, i);
		pasid_first(PASID_A, x.root);
		invalidate(D_PASID_CACHE(1, DOMAIN, PASID_A), 0);
		configure(0, va(RING, 0), ENTRIES_LG2, UINT32_C(1) << 31 | PASID_A, 0);
		set(0, of_page(0, 0), 4, ENABLE);
		for (unsigned int i = 0; i < 64; i++) {
			struct uiommu_accel_desc desc = move(i, 0);

			memset(record(&x, i), 0, 32);
			put(&x, &desc);
			doorbell(&x, x.tail);
			while (!status(&x, i))
				sched_yield();
			check_moved(&x, i);
		}
		if (round % 4 == 3) {
			doorbell(&x, x.tail + 3);
			config_set(place(UIOMMU_PCI_EXPRESS) + PCI_EXP_CONTROL, 2, PCI_EXP_CONTROL_FLR);
			enable_function();
		}
	}
}

static int thread_setup(void **state)
{
	vtd_setup(state);
	make_function(0);
	make_tables();
	enable_function();
	return 0;
}

static void arguments(void **state)
{
	struct uiommu_accel_pci_config config = {.size = sizeof(config), .pages = 513};
	struct uiommu_accel_pci *function;

	(void)state;
	assert_int_equal(uiommu_accel_pci_create(g.context, g.device_id, &config, &function), -EINVAL);
	config = (struct uiommu_accel_pci_config){.size = sizeof(config), .vectors = 65};
	assert_int_equal(uiommu_accel_pci_create(g.context, g.device_id, &config, &function), -EINVAL);
	config = (struct uiommu_accel_pci_config){.size = sizeof(config), .flags = 2};
	assert_int_equal(uiommu_accel_pci_create(g.context, g.device_id, &config, &function), -EOPNOTSUPP);
	config = (struct uiommu_accel_pci_config){.size = sizeof(config)};
	assert_int_equal(uiommu_accel_pci_create(g.context, 1000, &config, &function), -ENOENT);
	config = (struct uiommu_accel_pci_config){.size = sizeof(config), .pages = 512, .vectors = 64, .spin_us = 1};
	assert_int_equal(uiommu_accel_pci_create(g.context, g.device_id, &config, &function), 0);
	assert_int_equal(uiommu_accel_pci_destroy(function), 0);
	assert_int_equal(uiommu_accel_pci_destroy(NULL), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		FUNCTION_TEST(the_function),
		FUNCTION_TEST(enabling),
		FUNCTION_TEST(two_processes),
		FUNCTION_TEST(bad_doorbells),
		FUNCTION_TEST(a_mapped_page),
		FUNCTION_TEST(resets),
		FUNCTION_TEST(pasids_off),
		cmocka_unit_test_setup_teardown(without_iommu, alone_setup, alone_teardown),
		cmocka_unit_test_setup_teardown(with_a_thread, thread_setup, function_teardown),
		cmocka_unit_test_setup_teardown(arguments, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
