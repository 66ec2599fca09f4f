/* SPDX-License-Identifier: BSD-3-Clause */
/* PCI functions: config space, BARs, resets. Little-endian hosts only, as the rig reads registers as they lie. */
#include "test.h"

#include "util/util.h"

#include "pci.h"

static struct pci_rig rig;

static int open_rig(void **state)
{
	struct uiommu_pci_description description = rig_description();

	(void)state;
	rig_open(&rig, &description, true);
	return 0;
}

static int close_rig(void **state)
{
	(void)state;
	rig_close(&rig);
	return 0;
}

static void the_header_is_what_was_described(void **state)
{
	(void)state;
	assert_int_equal(rig_get(&rig, PCI_VENDOR, 4), 0x42421b36);
	assert_int_equal(rig_get(&rig, PCI_REVISION, 4), 0x12000003);
	assert_int_equal(rig_get(&rig, PCI_SUBSYSTEM_VENDOR, 4), 0x56781234);
	assert_int_equal(rig_get(&rig, PCI_PIN, 1), 1);
	assert_int_equal(rig_get(&rig, PCI_STATUS, 2), PCI_STATUS_LIST);
	assert_int_equal(rig_get(&rig, PCI_COMMAND, 2), 0);
	rig_set(&rig, PCI_VENDOR, 4, 0xffffffff);
	assert_int_equal(rig_get(&rig, PCI_VENDOR, 4), 0x42421b36);
	rig_set(&rig, PCI_LINE, 2, 0xffff);
	assert_int_equal(rig_get(&rig, PCI_LINE, 2), 0x01ff);
}

/* The list is walked as a guest does. */
static void capabilities_are_found_in_order(void **state)
{
	static const uint8_t legacy[] = {PCI_PM_ID, PCI_MSI_ID, PCI_MSIX_ID, PCI_EXP_ID};
	static const uint16_t extended[] = {PCI_ATS_ID, PCI_PRI_ID, PCI_PASID_ID, PCI_ACS_ID};
	unsigned int at = rig_get(&rig, PCI_LIST, 1);
	uint32_t head;

	(void)state;
	for (unsigned int i = 0; i < ARRAY_SIZE(legacy); i++) {
		assert_int_equal(at % 4, 0);
		assert_int_equal(rig_get(&rig, at, 1), legacy[i]);
		at = rig_get(&rig, at + 1, 1);
	}
	assert_int_equal(at, 0);
	at = PCI_EXTENDED_FIRST;
	for (unsigned int i = 0; i < ARRAY_SIZE(extended); i++) {
		head = rig_get(&rig, at, 4);
		assert_int_equal(head & 0xffff, extended[i]);
		assert_int_equal(head >> 16 & 0xf, 1);
		at = head >> PCI_EXTENDED_NEXT_SHIFT;
	}
	assert_int_equal(at, 0);
	assert_int_equal(rig_get(&rig, rig_at(&rig, UIOMMU_PCI_ATS, PCI_ATS_CAPABILITY), 2), PCI_ATS_PAGE_ALIGNED);
	assert_int_equal(rig_get(&rig, rig_at(&rig, UIOMMU_PCI_PASID, PCI_PASID_CAPABILITY), 2), 16 << 8);
	assert_int_equal(rig_get(&rig, rig_at(&rig, UIOMMU_PCI_PRI, PCI_PRI_CAPACITY), 4), 100);
	assert_int_equal(rig_get(&rig, rig_at(&rig, UIOMMU_PCI_MSIX, PCI_MSIX_CONTROL), 2), 69);
	assert_int_equal(rig_get(&rig, rig_at(&rig, UIOMMU_PCI_MSIX, PCI_MSIX_TABLE), 4), 0x1002);
	assert_int_equal(rig_get(&rig, rig_at(&rig, UIOMMU_PCI_MSIX, PCI_MSIX_PENDING), 4), (0x1000 + 70 * 16) | 2);
}

static void without_extended_capabilities_there_is_none(void **state)
{
	struct uiommu_pci_description description = rig_description();
	struct pci_rig other;

	(void)state;
	description.capability_count = 0;
	rig_open(&other, &description, true);
	assert_int_equal(rig_get(&other, PCI_STATUS, 2), 0);
	assert_int_equal(rig_get(&other, PCI_LIST, 1), 0);
	assert_int_equal(rig_get(&other, PCI_EXTENDED_FIRST, 4), 0);
	rig_close(&other);
}

static void bars_tell_their_size(void **state)
{
	(void)state;
	for (unsigned int bar = 0; bar < UIOMMU_PCI_BARS; bar++)
		rig_set(&rig, PCI_BAR0 + 4 * bar, 4, UINT32_MAX);
	assert_int_equal(rig_get(&rig, PCI_BAR0, 4), 0xfffff000);
	assert_int_equal(rig_get(&rig, PCI_BAR0 + 4, 4), 0);
	assert_int_equal(rig_get(&rig, PCI_BAR0 + 8, 4), 0xffffc00c);
	assert_int_equal(rig_get(&rig, PCI_BAR0 + 12, 4), 0xffffffff);
	assert_int_equal(rig_get(&rig, PCI_BAR0 + 16, 4), 0);
	assert_int_equal(uiommu_pci_bar_address(rig.pci, 0), UINT64_MAX);
	rig_set(&rig, PCI_BAR0, 4, 0xf8000000);
	rig_set(&rig, PCI_BAR0 + 8, 4, 0x10000);
	rig_set(&rig, PCI_BAR0 + 12, 4, 0x38);
	rig_set(&rig, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
	assert_int_equal(uiommu_pci_bar_address(rig.pci, 0), 0xf8000000);
	assert_int_equal(uiommu_pci_bar_address(rig.pci, 2), 0x3800010000);
	assert_int_equal(uiommu_pci_bar_address(rig.pci, 1), UINT64_MAX);
	assert_int_equal(uiommu_pci_bar_address(rig.pci, 6), UINT64_MAX);
	assert_true(pci_decodes(rig.pci, 0xf7fffff8, 0xf8000000));
	assert_true(pci_decodes(rig.pci, 0x3800013fff, 0x3800013fff));
	assert_false(pci_decodes(rig.pci, 0xf8001000, 0xf8001fff));
}

static void registers_get_aligned_accesses(void **state)
{
	uint8_t bytes[24];

	(void)state;
	rig_set(&rig, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
	for (unsigned int i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(i + 1);
	/* 1 + 2 + 4 + 8 + 8 + 1 */
	assert_int_equal(pci_bar_write(rig.pci, 0, 9, bytes, sizeof(bytes)), 0);
	assert_int_equal(rig.writes, 6);
	assert_int_equal(rig.last_size, 1);
	assert_int_equal(rig.last_offset, 32);
	assert_int_equal(rig.registers[1], 0x0706050403020100);
	memset(bytes, 0, sizeof(bytes));
	assert_int_equal(pci_bar_read(rig.pci, 0, 10, bytes, 4), 0);
	assert_memory_equal(bytes, ((uint8_t[]){2, 3, 4, 5}), 4);
	assert_int_equal(pci_bar_read(rig.pci, 0, 0xff8, bytes, 8), 0);
	assert_int_equal(rig.last_size, 8);
}

static void nothing_is_outside_of_a_bar(void **state)
{
	uint32_t word = 0;

	(void)state;
	rig_set(&rig, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
	assert_int_equal(pci_bar_read(rig.pci, 0, 0xffd, &word, 4), -EINVAL);
	assert_int_equal(pci_bar_read(rig.pci, 0, UINT64_MAX, &word, 4), -EINVAL);
	assert_int_equal(pci_bar_read(rig.pci, 0, UINT64_MAX - 3, &word, 4), -EINVAL);
	assert_int_equal(pci_bar_write(rig.pci, 0, 0, &word, 0), -EINVAL);
	assert_int_equal(pci_bar_write(rig.pci, 0, 0, &word, 0x1001), -EINVAL);
	assert_int_equal(pci_bar_read(rig.pci, 1, 0, &word, 4), -EINVAL);
	assert_int_equal(pci_bar_read(rig.pci, 3, 0, &word, 4), -EINVAL);
	assert_int_equal(pci_bar_read(rig.pci, 6, 0, &word, 4), -EINVAL);
	assert_int_equal(pci_config_read(rig.pci, 4096, &word, 1), -EINVAL);
	assert_int_equal(pci_config_write(rig.pci, 4093, &word, 4), -EINVAL);
	assert_int_equal(pci_config_write(rig.pci, UINT64_MAX, &word, 2), -EINVAL);
	assert_int_equal(pci_config_read(rig.pci, 0, &word, 0), -EINVAL);
	assert_int_equal(rig.reads + rig.writes, 0);
}

static void what_does_not_decode_reads_as_ones(void **state)
{
	uint32_t word = 7;

	(void)state;
	assert_int_equal(pci_bar_write(rig.pci, 0, 0, &word, 4), 0);
	assert_int_equal(pci_bar_read(rig.pci, 0, 0, &word, 4), 0);
	assert_int_equal(word, UINT32_MAX);
	assert_int_equal(rig.reads + rig.writes, 0);
	rig_set(&rig, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
	rig_set(&rig, rig_at(&rig, UIOMMU_PCI_PM, PCI_PM_CONTROL), 2, PCI_PM_D3);
	assert_int_equal(rig.now, UIOMMU_PCI_MEMORY | UIOMMU_PCI_D3);
	assert_int_equal(pci_bar_read(rig.pci, 0, 0, &word, 4), 0);
	assert_int_equal(word, UINT32_MAX);
	rig_set(&rig, rig_at(&rig, UIOMMU_PCI_PM, PCI_PM_CONTROL), 2, 1); /* there is no D1 */
	assert_int_equal(rig_get(&rig, rig_at(&rig, UIOMMU_PCI_PM, PCI_PM_CONTROL), 2), PCI_PM_NO_SOFT_RESET | PCI_PM_D3);
	rig_set(&rig, rig_at(&rig, UIOMMU_PCI_PM, PCI_PM_CONTROL), 2, 0);
	assert_int_equal(pci_bar_read(rig.pci, 0, 0, &word, 4), 0);
	assert_int_equal(word, 0);
}

static void registers_are_not_entered_twice(void **state)
{
	uint64_t word = 1;

	(void)state;
	rig_set(&rig, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
	assert_int_equal(pci_bar_write(rig.pci, 0, 0xff8, &word, 8), 0);
	assert_int_equal(rig.inner, -EDEADLK);
	assert_int_equal(rig.reads, 0);
	assert_int_equal(pci_bar_read(rig.pci, 0, 0xff8, &word, 8), 0);
	assert_int_equal(word, 1);
}

static void a_bar_has_memory(void **state)
{
	struct uiommu_pci_description description = rig_description();
	uint8_t bytes[0x1010], *memory;
	struct pci_rig other;

	(void)state;
	description.bars[4] = (struct uiommu_pci_bar){.size = 0x10000, .memory_offset = 0x1000, .memory_length = 0x2000};
	rig_open(&other, &description, true);
	memory = uiommu_pci_memory(other.pci, 4);
	assert_non_null(memory);
	assert_null(uiommu_pci_memory(other.pci, 0));
	rig_set(&other, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
	memset(bytes, 0x5a, sizeof(bytes));
	assert_int_equal(pci_bar_write(other.pci, 4, 0x1ff8, bytes, sizeof(bytes)), 0); /* the last 8 are registers */
	assert_int_equal(other.writes, 1);
	assert_int_equal(other.last_offset, 0x3000);
	assert_int_equal(memory[0xff7], 0);
	assert_int_equal(memory[0xff8], 0x5a);
	assert_int_equal(memory[0x1fff], 0x5a);
	memory[0xff8] = 1;
	assert_int_equal(pci_bar_read(other.pci, 4, 0x1ff8, bytes, 8), 0);
	assert_int_equal(bytes[0], 1);
	rig_close(&other);
}

static void bus_master_lets_dma_through(void **state)
{
	(void)state;
	assert_false(rig.master);
	rig_set(&rig, PCI_COMMAND, 2, PCI_COMMAND_MASTER);
	assert_true(rig.master);
	assert_int_equal(rig.now, UIOMMU_PCI_BUS_MASTER);
	rig_set(&rig, PCI_COMMAND, 2, PCI_COMMAND_MASTER);
	assert_int_equal(rig.masters, 1);
	assert_int_equal(rig.changes, 1);
	rig_set(&rig, rig_at(&rig, UIOMMU_PCI_PM, PCI_PM_CONTROL), 2, PCI_PM_D3);
	assert_false(rig.master);
	rig_set(&rig, rig_at(&rig, UIOMMU_PCI_PM, PCI_PM_CONTROL), 2, 0);
	assert_true(rig.master);
	rig_set(&rig, PCI_COMMAND, 2, 0);
	assert_false(rig.master);
	assert_int_equal(rig.before, UIOMMU_PCI_BUS_MASTER);
	assert_int_equal(rig.now, 0);
}

static void some_are_always_bus_master(void **state)
{
	struct uiommu_pci_description description = rig_description();
	struct pci_rig other;

	(void)state;
	description.flags = UIOMMU_PCI_ALWAYS_MASTER;
	rig_open(&other, &description, true);
	assert_true(other.master);
	rig_set(&other, PCI_COMMAND, 2, 0);
	assert_int_equal(rig_get(&other, PCI_COMMAND, 2), PCI_COMMAND_MASTER);
	pci_reset(other.pci, UIOMMU_PCI_RESET_BUS);
	assert_true(other.master);
	assert_int_equal(other.masters, 3);
	assert_int_equal(uiommu_pci_message(other.pci, 0xfee00000, 0x21), 0);
	assert_int_equal(pci_connect(other.pci, &other.transport), -EBUSY);
	assert_int_equal(pci_connect(other.pci, NULL), 0);
	assert_false(other.master);
	rig_close(&other);
}

/* PCIe 6.0, 7.8.10.3: it stays until it is cleared, or the interface is reset, which it has to be off for. */
static void a_response_failure_is_shown(void **state)
{
	unsigned int control = rig_at(&rig, UIOMMU_PCI_PRI, PCI_PRI_CONTROL), status = rig_at(&rig, UIOMMU_PCI_PRI, PCI_PRI_STATUS);

	(void)state;
	rig_set(&rig, control, 2, PCI_PRI_ENABLE);
	uiommu_pci_response_failed(rig.pci);
	assert_int_equal(rig_get(&rig, status, 2), PCI_PRI_RESPONSE_PASID | PCI_PRI_RESPONSE_FAILURE);
	rig_set(&rig, status, 2, PCI_PRI_RESPONSE_FAILURE);
	assert_int_equal(rig_get(&rig, status, 2), PCI_PRI_RESPONSE_PASID);
	uiommu_pci_response_failed(rig.pci);
	rig_set(&rig, control, 2, PCI_PRI_ENABLE | PCI_PRI_RESET);
	assert_int_equal(rig_get(&rig, status, 2), PCI_PRI_RESPONSE_PASID | PCI_PRI_RESPONSE_FAILURE);
	rig_set(&rig, control, 2, 0);
	assert_int_equal(rig_get(&rig, status, 2), PCI_PRI_RESPONSE_PASID | PCI_PRI_RESPONSE_FAILURE | PCI_PRI_STOPPED);
	rig_set(&rig, control, 2, PCI_PRI_RESET);
	assert_int_equal(rig_get(&rig, status, 2), PCI_PRI_RESPONSE_PASID | PCI_PRI_STOPPED);
	uiommu_pci_response_failed(rig.pci);
	pci_reset(rig.pci, UIOMMU_PCI_RESET_FUNCTION);
	assert_int_equal(rig_get(&rig, status, 2), PCI_PRI_RESPONSE_PASID | PCI_PRI_STOPPED);
}

/* The order in which Linux enables them. */
static void ats_pri_pasid(void **state)
{
	unsigned int ats = rig_at(&rig, UIOMMU_PCI_ATS, PCI_ATS_CONTROL), pasid = rig_at(&rig, UIOMMU_PCI_PASID, PCI_PASID_CONTROL),
		     pri = rig_at(&rig, UIOMMU_PCI_PRI, 0);

	(void)state;
	rig_set(&rig, ats, 2, 0);
	rig_set(&rig, pasid, 2, 7);
	assert_int_equal(rig_get(&rig, pasid, 2), PCI_PASID_ENABLE);
	rig_set(&rig, ats, 2, PCI_ATS_ENABLE);
	rig_set(&rig, pri + PCI_PRI_ALLOCATION, 4, 1000);
	assert_int_equal(rig_get(&rig, pri + PCI_PRI_ALLOCATION, 4), 100);
	assert_int_equal(rig_get(&rig, pri + PCI_PRI_STATUS, 2), PCI_PRI_STOPPED | PCI_PRI_RESPONSE_PASID);
	rig_set(&rig, pri + PCI_PRI_CONTROL, 2, PCI_PRI_RESET);
	assert_int_equal(rig_get(&rig, pri + PCI_PRI_CONTROL, 2), 0);
	rig_set(&rig, pri + PCI_PRI_CONTROL, 2, PCI_PRI_ENABLE);
	assert_int_equal(rig_get(&rig, pri + PCI_PRI_STATUS, 2), PCI_PRI_RESPONSE_PASID);
	assert_int_equal(uiommu_pci_state(rig.pci), UIOMMU_PCI_ATS_ON | UIOMMU_PCI_PRI_ON | UIOMMU_PCI_PASID_ON);
	/* Neither changes under translations that are kept. */
	rig_set(&rig, pasid, 2, 0);
	assert_int_equal(rig_get(&rig, pasid, 2), PCI_PASID_ENABLE);
	rig_set(&rig, ats, 2, PCI_ATS_ENABLE | 5);
	assert_int_equal(rig_get(&rig, ats, 2), PCI_ATS_ENABLE);
	rig_set(&rig, ats, 2, 0);
	rig_set(&rig, pasid, 2, 0);
	assert_int_equal(uiommu_pci_state(rig.pci), UIOMMU_PCI_PRI_ON);
}

/* But of an FLR not the greatest payload and what is the link's. */
static void a_reset_forgets(void **state)
{
	unsigned int control = rig_at(&rig, UIOMMU_PCI_EXPRESS, PCI_EXP_CONTROL),
		     link = rig_at(&rig, UIOMMU_PCI_EXPRESS, PCI_EXP_LINK_CONTROL);

	(void)state;
	rig_set(&rig, PCI_BAR0, 4, 0xf8000000);
	rig_set(&rig, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	rig_set(&rig, rig_at(&rig, UIOMMU_PCI_MSIX, PCI_MSIX_CONTROL), 2, PCI_MSIX_ENABLE);
	rig.takes = false;
	assert_int_equal(uiommu_pci_interrupt(rig.pci, 3), 0);
	rig_set(&rig, control, 2, 0x2810 | PCI_EXP_CONTROL_FLR);
	assert_int_equal(rig.resets, 1);
	assert_int_equal(rig.reset_type, UIOMMU_PCI_RESET_FUNCTION);
	assert_false(rig.master);
	assert_int_equal(rig_get(&rig, control, 2), 0x2810);
	assert_int_equal(rig_get(&rig, PCI_BAR0, 4), 0);
	assert_int_equal(uiommu_pci_state(rig.pci), 0);
	assert_int_equal(rig.pci->msix.bits[0], 0);
	rig_set(&rig, control + 1, 1, 0x80);
	assert_int_equal(rig.resets, 2);
	rig_set(&rig, control, 1, 0x80);
	assert_int_equal(rig.resets, 2);
	rig_set(&rig, link, 2, 0x40);
	rig_set(&rig, control, 2, 0x503f | PCI_EXP_CONTROL_FLR);
	assert_int_equal(rig_get(&rig, control, 2), 0x2830);
	assert_int_equal(rig_get(&rig, link, 2), 0x40);
	pci_reset(rig.pci, UIOMMU_PCI_RESET_BUS);
	assert_int_equal(rig.reset_type, UIOMMU_PCI_RESET_BUS);
	assert_int_equal(rig_get(&rig, control, 2), 0x2810);
	assert_int_equal(rig_get(&rig, link, 2), 0);
}

/* One description that is fine, changed in one place. */
static int create(struct uiommu_pci_description description)
{
	struct uiommu_pci *pci;
	int error = uiommu_pci_create(rig.context, rig.device, &description, NULL, &pci);

	if (!error)
		uiommu_pci_destroy(pci);
	return error;
}

#define WITH(change)                                                                                                               \
	({                                                                                                                         \
		struct uiommu_pci_description d = rig_description();                                                               \
		change;                                                                                                            \
		create(d);                                                                                                         \
	})

static void bad_descriptions_are_refused(void **state)
{
	struct uiommu_pci *pci;
	struct uiommu_pci_description fine = rig_description();
	const struct uiommu_pci_bar watched = {
		.size = 0x10000, .memory_length = 0x10000, .registers = 8, .flags = UIOMMU_PCI_BAR_WATCHED};

	(void)state;
	assert_int_equal(WITH((void)0), 0);
	assert_int_equal(WITH(d.bars[0] = watched), 0);
	assert_int_equal(WITH(d.size = 8), -EINVAL);
	assert_int_equal(WITH(d.flags = 2), -EOPNOTSUPP);
	assert_int_equal(WITH(d.ops = NULL), -EINVAL);
	assert_int_equal(WITH(d.interrupt_pin = 5), -EINVAL);
	assert_int_equal(WITH(d.class_code = 0x1000000), -EINVAL);
	assert_int_equal(WITH(d.capabilities = NULL), -EINVAL);
	assert_int_equal(WITH(d.bars[0].size = 8), -EINVAL);
	assert_int_equal(WITH(d.bars[0].size = 0x1800), -EINVAL);
	assert_int_equal(WITH(d.bars[0].size = UINT64_C(1) << 32), -EINVAL);
	assert_int_equal(WITH(d.bars[2].size = UINT64_C(1) << 47), -EINVAL);
	assert_int_equal(WITH(d.bars[0].flags = UIOMMU_PCI_BAR_WATCHED), -EINVAL);
	assert_int_equal(WITH(d.bars[0].flags = 8), -EINVAL);
	assert_int_equal(WITH(d.bars[0].registers = 8), -EINVAL);
	assert_int_equal(WITH((d.bars[0] = watched, d.bars[0].registers = 12)), -EINVAL);
	assert_int_equal(WITH((d.bars[0] = watched, d.bars[0].registers = 2 * (uint32_t)page_size())), -EINVAL);
	assert_int_equal(WITH(d.bars[3].size = 0x1000), -EINVAL);
	assert_int_equal(WITH((d.bars[5].size = 0x1000, d.bars[5].flags = UIOMMU_PCI_BAR_64)), -EINVAL);
	assert_int_equal(WITH(d.bars[0].memory_length = 0x800), -EINVAL);
	assert_int_equal(WITH(d.bars[0].memory_length = 0x2000), -EINVAL);
	assert_int_equal(WITH((d.bars[2].memory_offset = 0x4000, d.bars[2].memory_length = 0x1000)), -EINVAL);
	assert_int_equal(WITH((d.bars[2].memory_offset = 0x1000, d.bars[2].memory_length = 0x1000)),
			 -EINVAL); /* the table is there */
	assert_int_equal(uiommu_pci_create(rig.context, 99, &fine, NULL, &pci), -ENOENT);
}

static void bad_capabilities_are_refused(void **state)
{
	static const struct uiommu_pci_capability bad[][2] = {
		{{0}},
		{{UIOMMU_PCI_ACS + 1}},
		{{UIOMMU_PCI_PM}, {UIOMMU_PCI_PM}},
		{{UIOMMU_PCI_PM, .count = 1}},
		{{UIOMMU_PCI_PM, .offset = 8}},
		{{UIOMMU_PCI_MSI}},
		{{UIOMMU_PCI_MSI, .count = 3}},
		{{UIOMMU_PCI_MSI, .count = 64}},
		{{UIOMMU_PCI_MSIX, .bar = 2}},
		{{UIOMMU_PCI_MSIX, .count = 2049, .bar = 2}},
		{{UIOMMU_PCI_MSIX, .count = 1, .bar = 6}},
		{{UIOMMU_PCI_MSIX, .count = 1, .bar = 1}},
		{{UIOMMU_PCI_MSIX, .count = 1, .bar = 2, .offset = 4}},
		{{UIOMMU_PCI_MSIX, .count = 256, .bar = 0}}, /* no room for the pending bits */
		{{UIOMMU_PCI_MSIX, .count = 1, .bar = 0, .offset = 0xfffffff8}},
		{{UIOMMU_PCI_EXPRESS}, {UIOMMU_PCI_ATS, .count = 33}},
		{{UIOMMU_PCI_EXPRESS}, {UIOMMU_PCI_PASID, .count = 21}},
		{{UIOMMU_PCI_PASID, .count = 20}, {UIOMMU_PCI_PM}},
	};

	(void)state;
	for (unsigned int i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(WITH((d.capabilities = bad[i], d.capability_count = bad[i][1].type ? 2 : 1)), -EINVAL);
}

/* Whoever traps accesses makes calls; whoever maps the memory writes it, and the model can ask to be told. */
static void registers_in_memory_are_watched(void **state)
{
	struct uiommu_pci_description description = rig_description();
	uint32_t value = 7, *memory;
	struct pci_rig other;

	(void)state;
	description.bars[0] = (struct uiommu_pci_bar){.size = 0x2000, .memory_length = 0x1000, .flags = UIOMMU_PCI_BAR_WATCHED};
	description.bars[0].registers = 16;
	rig_open(&other, &description, true);
	rig_set(&other, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
	memory = uiommu_pci_memory(other.pci, 0);
	assert_non_null(memory);
	assert_false(pci_shared(other.pci, 0));
	assert_int_equal(pci_bar_write(other.pci, 0, 0x10, &value, 4), 0);
	assert_int_equal(other.writes, 1);
	assert_int_equal(other.registers[2], 7);
	assert_int_equal(memory[4], 0);
	memory[4] = 9;
	assert_int_equal(pci_bar_read(other.pci, 0, 0x10, &value, 4), 0);
	assert_int_equal(value, 7);

	assert_false(uiommu_pci_watch(other.pci));
	other.transport.watch = rig_watch;
	assert_false(uiommu_pci_watch(other.pci));
	other.mapped = true;
	assert_true(uiommu_pci_watch(other.pci));
	assert_int_equal(other.watches, 2);
	assert_int_equal(other.touches, 0);
	pci_touched(other.pci);
	assert_int_equal(other.touches, 1);
	assert_int_equal(pci_connect(other.pci, NULL), 0);
	assert_false(uiommu_pci_watch(other.pci));
	assert_int_equal(pci_connect(other.pci, &other.transport), 0);
	rig_close(&other);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(the_header_is_what_was_described, open_rig, close_rig),
		cmocka_unit_test_setup_teardown(capabilities_are_found_in_order, open_rig, close_rig),
		cmocka_unit_test(without_extended_capabilities_there_is_none),
		cmocka_unit_test_setup_teardown(bars_tell_their_size, open_rig, close_rig),
		cmocka_unit_test_setup_teardown(registers_get_aligned_accesses, open_rig, close_rig),
		cmocka_unit_test_setup_teardown(nothing_is_outside_of_a_bar, open_rig, close_rig),
		cmocka_unit_test_setup_teardown(what_does_not_decode_reads_as_ones, open_rig, close_rig),
		cmocka_unit_test_setup_teardown(registers_are_not_entered_twice, open_rig, close_rig),
		cmocka_unit_test(a_bar_has_memory),
		cmocka_unit_test(registers_in_memory_are_watched),
		cmocka_unit_test_setup_teardown(bus_master_lets_dma_through, open_rig, close_rig),
		cmocka_unit_test(some_are_always_bus_master),
		cmocka_unit_test_setup_teardown(a_response_failure_is_shown, open_rig, close_rig),
		cmocka_unit_test_setup_teardown(ats_pri_pasid, open_rig, close_rig),
		cmocka_unit_test_setup_teardown(a_reset_forgets, open_rig, close_rig),
		cmocka_unit_test_setup_teardown(bad_descriptions_are_refused, open_rig, close_rig),
		cmocka_unit_test_setup_teardown(bad_capabilities_are_refused, open_rig, close_rig),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
