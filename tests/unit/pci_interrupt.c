/* SPDX-License-Identifier: BSD-3-Clause */
/* INTx, MSI, MSI-X: what is sent, what is pending, and when. */
#include "test.h"

#include "util/util.h"

#include "pci.h"

static struct pci_rig rig;

static int open_vectors(void **state)
{
	struct uiommu_pci_description description = rig_description();

	(void)state;
	rig_open(&rig, &description, true);
	rig_set(&rig, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	return 0;
}

static int open_messages(void **state)
{
	struct uiommu_pci_description description = rig_description();

	(void)state;
	rig_open(&rig, &description, false);
	rig_set(&rig, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	return 0;
}

static int close_rig(void **state)
{
	(void)state;
	rig_close(&rig);
	return 0;
}

static void msix_enable(uint32_t bits)
{
	rig_set(&rig, rig_at(&rig, UIOMMU_PCI_MSIX, PCI_MSIX_CONTROL), 2, bits);
}

static void msi_enable(uint32_t vectors_lg2)
{
	rig_set(&rig, rig_at(&rig, UIOMMU_PCI_MSI, PCI_MSI_CONTROL), 2, PCI_MSI_ENABLE | vectors_lg2 << PCI_MSI_ENABLED_SHIFT);
}

static void nothing_is_sent_that_is_not_enabled(void **state)
{
	(void)state;
	assert_int_equal(uiommu_pci_interrupt(rig.pci, 0), -ENODEV);
	msix_enable(PCI_MSIX_ENABLE);
	assert_int_equal(uiommu_pci_interrupt(rig.pci, 69), 0);
	assert_int_equal(uiommu_pci_interrupt(rig.pci, 70), -EINVAL);
	assert_int_equal(uiommu_pci_interrupt(rig.pci, UINT32_MAX), -EINVAL);
	assert_int_equal(rig.sent, 1);
	assert_int_equal(rig.log[0].kind, PCI_MSIX);
	assert_int_equal(rig.log[0].vector, 69);
	rig_set(&rig, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
	assert_int_equal(uiommu_pci_interrupt(rig.pci, 0), -ENODEV);
	assert_int_equal(uiommu_pci_message(rig.pci, 0xfee00000, 1), -ENODEV);
	assert_int_equal(rig.sent, 1);
}

static void msi_has_as_many_vectors_as_are_enabled(void **state)
{
	(void)state;
	msi_enable(7);
	assert_int_equal(rig_get(&rig, rig_at(&rig, UIOMMU_PCI_MSI, PCI_MSI_CONTROL), 2),
			 PCI_MSI_ENABLE | PCI_MSI_64 | PCI_MSI_MASKS | 2 << PCI_MSI_CAPABLE_SHIFT | 2 << PCI_MSI_ENABLED_SHIFT);
	assert_int_equal(uiommu_pci_interrupt(rig.pci, 3), 0);
	assert_int_equal(uiommu_pci_interrupt(rig.pci, 4), -EINVAL);
	assert_int_equal(rig.log[0].kind, PCI_MSI);
	assert_int_equal(rig.log[0].vector, 3);
	msi_enable(1);
	assert_int_equal(uiommu_pci_interrupt(rig.pci, 3), 0);
	assert_int_equal(rig.log[1].vector, 1);
	assert_int_equal(rig.sent, 2);
}

static void msi_that_is_masked_is_pending(void **state)
{
	unsigned int mask = rig_at(&rig, UIOMMU_PCI_MSI, PCI_MSI_MASK), pending = rig_at(&rig, UIOMMU_PCI_MSI, PCI_MSI_PENDING);

	(void)state;
	rig_set(&rig, mask, 4, UINT32_MAX);
	assert_int_equal(rig_get(&rig, mask, 4), 0xf);
	rig_set(&rig, rig_at(&rig, UIOMMU_PCI_MSI, PCI_MSI_ADDRESS), 4, 0xfee0100f);
	rig_set(&rig, rig_at(&rig, UIOMMU_PCI_MSI, PCI_MSI_UPPER), 4, 1);
	rig_set(&rig, rig_at(&rig, UIOMMU_PCI_MSI, PCI_MSI_DATA), 2, 0x4043);
	msi_enable(2);
	assert_int_equal(uiommu_pci_interrupt(rig.pci, 2), 0);
	assert_int_equal(rig_get(&rig, pending, 4), 4);
	rig_set(&rig, pending, 4, 0);
	assert_int_equal(rig_get(&rig, pending, 4), 4);
	assert_int_equal(rig.sent, 0);
	rig_set(&rig, mask, 4, 0xb);
	assert_int_equal(rig.sent, 1);
	assert_int_equal(rig.log[0].address, 0x1fee0100c);
	assert_int_equal(rig.log[0].data, 0x4042);
	assert_int_equal(rig_get(&rig, pending, 4), 0);
}

/* Write a table entry as a guest does. */
static void entry(unsigned int vector, uint32_t address, uint32_t data, uint32_t control)
{
	uint32_t words[4] = {address, 0, data, control};

	assert_int_equal(pci_bar_write(rig.pci, 2, 0x1000 + 16 * vector, words, sizeof(words)), 0);
}

static uint32_t pending_word(unsigned int index)
{
	uint32_t word;

	assert_int_equal(pci_bar_read(rig.pci, 2, 0x1000 + 70 * 16 + 4 * index, &word, 4), 0);
	return word;
}

static void msix_goes_where_the_table_says(void **state)
{
	uint32_t words[4];

	(void)state;
	assert_int_equal(pci_bar_read(rig.pci, 2, 0x1000 + 16 * 69, words, sizeof(words)), 0);
	assert_memory_equal(words, ((uint32_t[4]){0, 0, 0, PCI_MSIX_MASKED}), sizeof(words));
	entry(69, 0xfee00003, 0x31, 0xfffffffe);
	assert_int_equal(pci_bar_read(rig.pci, 2, 0x1000 + 16 * 69, words, sizeof(words)), 0);
	assert_memory_equal(words, ((uint32_t[4]){0xfee00000, 0, 0x31, 0}), sizeof(words));
	msix_enable(PCI_MSIX_ENABLE);
	assert_int_equal(uiommu_pci_interrupt(rig.pci, 69), 0);
	assert_int_equal(rig.sent, 1);
	assert_int_equal(rig.log[0].address, 0xfee00000);
	assert_int_equal(rig.log[0].data, 0x31);
	assert_int_equal(rig.writes, 0);
}

static void msix_that_is_masked_is_pending(void **state)
{
	uint32_t zero = 0;

	(void)state;
	msix_enable(PCI_MSIX_ENABLE | PCI_MSIX_MASK_ALL);
	entry(66, 0xfee00000, 0x42, 0);
	assert_int_equal(uiommu_pci_interrupt(rig.pci, 66), 0);
	assert_int_equal(uiommu_pci_interrupt(rig.pci, 66), 0);
	assert_int_equal(uiommu_pci_interrupt(rig.pci, 65), 0);
	assert_int_equal(pending_word(2), 6);
	assert_int_equal(pci_bar_write(rig.pci, 2, 0x1000 + 70 * 16 + 8, &zero, 4), 0);
	assert_int_equal(pending_word(2), 6);
	msix_enable(PCI_MSIX_ENABLE);
	assert_int_equal(rig.sent, 1);
	assert_int_equal(rig.log[0].data, 0x42);
	assert_int_equal(pending_word(2), 2);
	assert_int_equal(pci_bar_write(rig.pci, 2, 0x1000 + 65 * 16 + 8, ((uint32_t[2]){0x41, 0}), 8), 0);
	assert_int_equal(rig.sent, 2);
	assert_int_equal(rig.log[1].data, 0x41);
	entry(1, 0, 0, PCI_MSIX_MASKED);
	assert_int_equal(uiommu_pci_interrupt(rig.pci, 1), 0);
	msix_enable(0);
	assert_int_equal(pending_word(0), 0);
}

static void a_vector_waits_for_whoever_takes_it(void **state)
{
	(void)state;
	msix_enable(PCI_MSIX_ENABLE);
	rig.takes = false;
	assert_int_equal(uiommu_pci_interrupt(rig.pci, 5), 0);
	assert_int_equal(rig.sent, 0);
	rig.takes = true;
	pci_interrupt_ready(rig.pci, PCI_MSIX, 4);
	pci_interrupt_ready(rig.pci, PCI_MSIX, 1000);
	assert_int_equal(rig.sent, 0);
	pci_interrupt_ready(rig.pci, PCI_MSIX, 5);
	pci_interrupt_ready(rig.pci, PCI_MSIX, 5);
	assert_int_equal(rig.sent, 1);
	assert_int_equal(rig.log[0].vector, 5);
}

static void the_pin_has_a_level(void **state)
{
	(void)state;
	uiommu_pci_intx(rig.pci, true);
	uiommu_pci_intx(rig.pci, true);
	assert_true(rig.level);
	assert_int_equal(rig.levels, 1);
	assert_int_equal(rig_get(&rig, PCI_STATUS, 2) & PCI_STATUS_INTX, PCI_STATUS_INTX);
	rig_set(&rig, PCI_COMMAND, 2, PCI_COMMAND_MASTER | PCI_COMMAND_NO_INTX);
	assert_false(rig.level);
	assert_int_equal(rig_get(&rig, PCI_STATUS, 2) & PCI_STATUS_INTX, PCI_STATUS_INTX);
	rig_set(&rig, PCI_COMMAND, 2, PCI_COMMAND_MASTER);
	assert_true(rig.level);
	msix_enable(PCI_MSIX_ENABLE);
	assert_false(rig.level);
	msix_enable(0);
	assert_true(rig.level);
	pci_reset(rig.pci, UIOMMU_PCI_RESET_FUNCTION);
	assert_false(rig.level);
	assert_int_equal(rig_get(&rig, PCI_STATUS, 2) & PCI_STATUS_INTX, 0);
}

static void without_a_transport_nothing_is_lost_but_messages(void **state)
{
	struct uiommu_pci_description description = rig_description();
	struct pci_rig other;

	(void)state;
	rig_open(&other, &description, true);
	pci_connect(other.pci, NULL);
	assert_int_equal(uiommu_pci_interrupt(other.pci, 0), -ENODEV);
	assert_int_equal(uiommu_pci_message(other.pci, 0, 0), -ENODEV);
	uiommu_pci_intx(other.pci, true);
	assert_int_equal(other.levels + other.sent, 0);
	rig_close(&other);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(nothing_is_sent_that_is_not_enabled, open_vectors, close_rig),
		cmocka_unit_test_setup_teardown(msi_has_as_many_vectors_as_are_enabled, open_vectors, close_rig),
		cmocka_unit_test_setup_teardown(msi_that_is_masked_is_pending, open_messages, close_rig),
		cmocka_unit_test_setup_teardown(msix_goes_where_the_table_says, open_messages, close_rig),
		cmocka_unit_test_setup_teardown(msix_that_is_masked_is_pending, open_messages, close_rig),
		cmocka_unit_test_setup_teardown(a_vector_waits_for_whoever_takes_it, open_vectors, close_rig),
		cmocka_unit_test_setup_teardown(the_pin_has_a_level, open_vectors, close_rig),
		cmocka_unit_test(without_a_transport_nothing_is_lost_but_messages),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
