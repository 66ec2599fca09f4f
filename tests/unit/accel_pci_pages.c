/* SPDX-License-Identifier: BSD-3-Clause */
/* The accelerator as a PCI function, whose processes' pages are not there: what it asks for, and what comes of the answers. */
#include "accel_pci_rig.h"

/* Ring, source, destination and record: each is asked for, and then the work goes on. */
static void pages_come(void **state)
{
	struct process x = process_make(PASID_A, 0);
	static const unsigned int pages[] = {RING, SOURCE, DESTINATION, RECORDS};

	(void)state;
	for (unsigned int i = 0; i < PROCESS_PAGES; i++)
		*leaf(&x, i) = 0;
	flush(&x);
	submit(&x, 1, BLOCK);
	for (unsigned int i = 0; i < PROCESS_PAGES; i++) {
		assert_int_equal(status(&x, 1), 0);
		assert_int_equal(asked(), 1);
		map(&x, pages[i]);
		answer(PASID_A, va(pages[i], 0), i >= 2, 0);
	}
	check_moved(&x, 1);
	assert_int_equal(asked(), 0);
	/* Without the flag only the data's fault is the end; and the IOMMU records nothing, because the device has asked it. */
	*leaf(&x, DESTINATION) = x.memory[DESTINATION] | FIRST_READ_ONLY;
	*leaf(&x, RECORDS) = 0;
	flush(&x);
	submit(&x, 2, 0);
	assert_int_equal(asked(), 1);
	map(&x, RECORDS);
	answer(PASID_A, va(RECORDS, 0), true, 0);
	assert_int_equal(status(&x, 2), UIOMMU_ACCEL_PAGE_FAULT | UIOMMU_ACCEL_FAULT_WRITE);
	assert_int_equal(record(&x, 2)->fault_address, va(DESTINATION, 32));
	assert_int_equal(record(&x, 2)->bytes_completed, 0);
	check_error(&x, 0, 0, 0);
	assert_int_equal(read32(R_FSTS), 0);
}

static void pages_are_refused(void **state)
{
	struct process x = process_make(PASID_A, 0);

	(void)state;
	*leaf(&x, SOURCE) = 0;
	flush(&x);
	submit(&x, 1, BLOCK);
	answer(PASID_A, va(SOURCE, 0), false, 1);
	assert_int_equal(status(&x, 1), UIOMMU_ACCEL_PAGE_FAULT_INVALID);
	map(&x, SOURCE);
	*leaf(&x, RECORDS) = 0;
	flush(&x);
	submit(&x, 2, BLOCK);
	answer(PASID_A, va(RECORDS, 0), true, 1);
	assert_true(moved(&x, 2));
	check_error(&x, 1, UIOMMU_ACCEL_ERROR_RECORD, va(RECORDS, 64));
	assert_int_equal(get(0, 0x40, 8), 1);
	assert_int_equal(interrupts[0], 1);
	set(0, 0x40, 8, 1);
	set(0, of_page(0, 0x20), 4, 0);
	check_error(&x, 1, 0, 0);
	map(&x, RECORDS);
	*leaf(&x, RING) = 0;
	flush(&x);
	submit(&x, 3, BLOCK);
	assert_int_equal(state_of(0), ENABLED);
	answer(PASID_A, va(RING, 0), false, 1);
	assert_int_equal(state_of(0), ENABLED | HALTED);
	assert_int_equal(get(2, 0x10, 8), ENABLED | HALTED);
	check_error(&x, 2, UIOMMU_ACCEL_ERROR_RING, va(RING, 128));
	assert_int_equal(get(0, 0x40, 8), 1);
	/* Nothing more is taken, until it is enabled again. */
	map(&x, RING);
	doorbell(&x, x.tail);
	poll_engine();
	assert_int_equal(status(&x, 3), 0);
	page_command(0, DRAIN);
	assert_int_equal(state_of(0), DISABLED);
	page_command(0, ENABLE);
	x.tail = 0;
	submit(&x, 4, BLOCK);
	check_moved(&x, 4);
	assert_int_equal(status(&x, 3), 0);
	check_error(&x, 0, 0, 0);
}

/* A guest that does not answer holds up one page; and what is aborted stays so. */
static void no_answer(void **state)
{
	struct process x = process_make(PASID_A, 0), y = process_make(PASID_B, 1);

	(void)state;
	*leaf(&x, SOURCE) = 0;
	flush(&x);
	for (unsigned int i = 0; i < 4; i++)
		submit(&x, i, BLOCK);
	assert_int_equal(asked(), 4);
	submit(&x, 4, BLOCK); /* no more than the ring has entries are in work */
	assert_int_equal(get(2, 8, 8), 4);
	assert_int_equal(uiommu_accel_poll(uiommu_accel_pci_engine(a.function), 1), 0);
	for (unsigned int i = 0; i < 8; i++) {
		submit(&y, i, BLOCK);
		check_moved(&y, i);
	}
	page_command(0, ABORT);
	map(&x, SOURCE);
	for (unsigned int i = 0; i < 4; i++) {
		assert_int_equal(state_of(0), ABORTING);
		assert_int_equal(get(0, 0x40, 8), 0);
		answer(PASID_A, va(SOURCE, 0), false, 0);
	}
	assert_int_equal(state_of(0), DISABLED);
	assert_int_equal(get(0, 0x40, 8), 1);
	for (unsigned int i = 0; i < 5; i++) {
		assert_int_equal(status(&x, i), 0);
		assert_false(moved(&x, i));
	}
	doorbell(&x, 7);
	poll_engine();
	assert_int_equal(get(2, 0, 8), 4 + 1);
}

static void draining(void **state)
{
	struct process x = process_make(PASID_A, 0);

	(void)state;
	*leaf(&x, SOURCE) = 0;
	flush(&x);
	for (unsigned int i = 0; i < 6; i++)
		submit(&x, i, BLOCK);
	/* What has been rung is done, and what is rung now is not. */
	page_command(0, DRAIN);
	assert_int_equal(state_of(0), DRAINING);
	doorbell(&x, 8);
	map(&x, SOURCE);
	for (unsigned int i = 0; i < 4; i++) {
		assert_int_equal(state_of(0), DRAINING);
		answer(PASID_A, va(SOURCE, 0), false, 0);
	}
	assert_int_equal(state_of(0), DISABLED);
	assert_int_equal(get(0, of_page(0, 0x30), 8), UINT64_C(6) << 32 | 6);
	for (unsigned int i = 2; i < 6; i++)
		check_moved(&x, i);
	check_error(&x, 0, 0, 0);
}

/* Fewer page requests than there is work for: the rest waits for its turn. */
static void few_requests(void **state)
{
	struct process x = process_make(PASID_A, 0);

	(void)state;
	config_set(place(UIOMMU_PCI_PRI) + PCI_PRI_CONTROL, 2, 0);
	config_set(place(UIOMMU_PCI_PRI) + PCI_PRI_ALLOCATION, 4, 2);
	config_set(place(UIOMMU_PCI_PRI) + PCI_PRI_CONTROL, 2, PCI_PRI_ENABLE);
	*leaf(&x, DESTINATION) = 0;
	flush(&x);
	for (unsigned int i = 0; i < 4; i++)
		submit(&x, i, BLOCK);
	assert_int_equal(asked(), 2);
	answer(PASID_A, va(DESTINATION, 0), true, 0); /* it is still not there */
	assert_int_equal(asked(), 2);
	map(&x, DESTINATION);
	answer(PASID_A, va(DESTINATION, 0), true, 0);
	answer(PASID_A, va(DESTINATION, 0), true, 0);
	assert_int_equal(asked(), 0);
	for (unsigned int i = 0; i < 4; i++)
		check_moved(&x, i);
	/* The last response that there is. */
	*leaf(&x, DESTINATION) = 0;
	flush(&x);
	submit(&x, 4, BLOCK);
	assert_int_equal(config_get(place(UIOMMU_PCI_PRI) + PCI_PRI_STATUS, 2), PCI_PRI_RESPONSE_PASID);
	answer(PASID_A, va(DESTINATION, 0), true, 15);
	assert_int_equal(status(&x, 4), UIOMMU_ACCEL_PAGE_FAULT_INVALID | UIOMMU_ACCEL_FAULT_WRITE);
	assert_int_equal(config_get(place(UIOMMU_PCI_PRI) + PCI_PRI_STATUS, 2), PCI_PRI_RESPONSE_PASID | PCI_PRI_RESPONSE_FAILURE);
	submit(&x, 5, BLOCK);
	assert_int_equal(status(&x, 5), UIOMMU_ACCEL_PAGE_FAULT_INVALID | UIOMMU_ACCEL_FAULT_WRITE);
	assert_int_equal(asked(), 0);
}

/* Without PRI nothing is asked for, and without ATS the IOMMU has a fault to record. */
static void without_pri(void **state)
{
	struct process x = process_make(PASID_A, 0);

	(void)state;
	config_set(place(UIOMMU_PCI_PRI) + PCI_PRI_CONTROL, 2, 0);
	*leaf(&x, DESTINATION) = 0;
	flush(&x);
	submit(&x, 0, BLOCK);
	assert_int_equal(status(&x, 0), UIOMMU_ACCEL_PAGE_FAULT_INVALID | UIOMMU_ACCEL_FAULT_WRITE);
	assert_int_equal(read32(R_FSTS), 0);
	config_set(place(UIOMMU_PCI_ATS) + PCI_ATS_CONTROL, 2, 0);
	submit(&x, 1, BLOCK);
	assert_int_equal(status(&x, 1), UIOMMU_ACCEL_PAGE_FAULT_INVALID | UIOMMU_ACCEL_FAULT_WRITE);
	assert_int_equal(asked(), 0);
	check_record(0, va(DESTINATION, 0), PASID_A, false, 0x71);
}

/* A batch whose list, members' records and data are missing, a page at a time. */
static void batches(void **state)
{
	struct process x = process_make(PASID_A, 0);
	struct uiommu_accel_desc batch = {
		.flags_opcode = UIOMMU_ACCEL_BATCH << 24 | RECORD | BLOCK,
		.completion_address = va(RECORDS, 0),
		.source = va(SOURCE, 2048),
		.transfer_size = 4,
	};

	(void)state;
	for (unsigned int i = 1; i <= 4; i++) {
		struct uiommu_accel_desc member = move(i, i == 4 ? UIOMMU_ACCEL_FENCE | BLOCK : BLOCK);

		memcpy(at(x.memory[SOURCE]) + 2048 + (i - 1) * 64, &member, 64);
	}
	*leaf(&x, SOURCE) = *leaf(&x, DESTINATION) = *leaf(&x, RECORDS) = 0;
	flush(&x);
	put(&x, &batch);
	doorbell(&x, x.tail);
	poll_engine();
	map(&x, SOURCE);
	answer(PASID_A, va(SOURCE, 0), false, 0);
	map(&x, DESTINATION);
	for (unsigned int i = 0; i < 3; i++)
		answer(PASID_A, va(DESTINATION, 0), true, 0);
	assert_int_equal(asked(), 3);
	assert_false(moved(&x, 4));
	map(&x, RECORDS);
	for (unsigned int i = 0; i < 3; i++)
		answer(PASID_A, va(RECORDS, 0), true, 0);
	for (unsigned int i = 1; i <= 4; i++)
		check_moved(&x, i);
	assert_int_equal(status(&x, 0), UIOMMU_ACCEL_SUCCESS);
	assert_int_equal(record(&x, 0)->bytes_completed, 4);
	check_error(&x, 0, 0, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		FUNCTION_TEST(pages_come),   FUNCTION_TEST(pages_are_refused), FUNCTION_TEST(no_answer), FUNCTION_TEST(draining),
		FUNCTION_TEST(few_requests), FUNCTION_TEST(without_pri),       FUNCTION_TEST(batches),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
