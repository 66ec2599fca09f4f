/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The accelerator as a PCI function: registers written by number as a driver does, doorbells as processes do, behind a VT-d whose
 * tables and page requests are served here.
 */
#ifndef TESTS_UNIT_ACCEL_PCI_RIG_H
#define TESTS_UNIT_ACCEL_PCI_RIG_H

#include "vtd_rig.h"

#include "vectors.h"

enum {
	ENABLE = 1,
	DRAIN = 2,
	ABORT = 3,
	DISABLED = 0,
	ENABLED = 2,
	DRAINING = 3,
	ABORTING = 4,
	HALTED = 16,
	PASID_A = 1,
	PASID_B = 2,
	ENTRIES_LG2 = 2,
	RECORD = UIOMMU_ACCEL_RECORD_VALID | UIOMMU_ACCEL_REQUEST_RECORD,
	BLOCK = UIOMMU_ACCEL_BLOCK_ON_FAULT,
};

/* What a process has, from VA on: a page each of ring, records, source and destination. */
enum { RING, RECORDS, SOURCE, DESTINATION, PROCESS_PAGES };

struct process {
	uint32_t pasid, page, tail;
	uint64_t root, memory[PROCESS_PAGES];
};

static struct driver {
	struct uiommu_accel_pci *function;
	struct uiommu_pci *pci;
	uint64_t requests; /* the guest's page request queue */
	uint32_t handled; /* bytes of it */
} a;

/* --- a driver --- */

static inline void poll_engine(void)
{
	while (uiommu_accel_poll(uiommu_accel_pci_engine(a.function), 1000))
		;
}

static inline uint64_t get(unsigned int bar, uint64_t offset, unsigned int size)
{
	uint64_t value = 0;

	assert_int_equal(pci_bar_read(a.pci, bar, offset, &value, size), 0);
	return value;
}

static inline void set(unsigned int bar, uint64_t offset, unsigned int size, uint64_t value)
{
	assert_int_equal(pci_bar_write(a.pci, bar, offset, &value, size), 0);
}

static inline uint32_t config_get(unsigned int offset, unsigned int size)
{
	return function_config_get(a.pci, offset, size);
}

static inline void config_set(unsigned int offset, unsigned int size, uint32_t value)
{
	function_config_set(a.pci, offset, size, value);
}

static inline uint64_t of_page(uint32_t page, unsigned int offset)
{
	return 0x1000 + page * 0x40 + offset;
}

static inline unsigned int state_of(uint32_t page)
{
	return (unsigned int)get(0, of_page(page, 4), 4);
}

static inline void page_command(uint32_t page, uint32_t what)
{
	set(0, of_page(page, 0), 4, what);
	poll_engine();
}

static inline void configure(uint32_t page, uint64_t ring, uint32_t size, uint32_t pasid, uint32_t interrupt)
{
	set(0, of_page(page, 8), 8, ring);
	set(0, of_page(page, 0x10), 4, size);
	set(0, of_page(page, 0x14), 4, pasid);
	set(0, of_page(page, 0x18), 4, interrupt);
}

static inline void make_function(uint32_t flags)
{
	const struct uiommu_accel_pci_config config = {.size = sizeof(config), .flags = flags};

	memset(&a, 0, sizeof(a));
	assert_int_equal(uiommu_accel_pci_create(g.context, g.device_id, &config, &a.function), 0);
	a.pci = uiommu_accel_pci_function(a.function);
	vectors_connect(a.pci);
}

static inline unsigned int place(enum uiommu_pci_capability_type type)
{
	return a.pci->place[type];
}

/* In the order in which Linux does it. */
static inline void enable_function(void)
{
	config_set(PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	config_set(place(UIOMMU_PCI_PASID) + PCI_PASID_CONTROL, 2, PCI_PASID_ENABLE);
	config_set(place(UIOMMU_PCI_ATS) + PCI_ATS_CONTROL, 2, PCI_ATS_ENABLE);
	config_set(place(UIOMMU_PCI_PRI) + PCI_PRI_ALLOCATION, 4, 512);
	config_set(place(UIOMMU_PCI_PRI) + PCI_PRI_CONTROL, 2, PCI_PRI_ENABLE);
	config_set(place(UIOMMU_PCI_MSIX) + PCI_MSIX_CONTROL, 2, PCI_MSIX_ENABLE);
	set(0, 0x18, 4, UINT32_C(1) << 31);
	for (unsigned int i = 0; i < 4; i++)
		set(4, i * 16 + 12, 4, 0);
}

static inline void make_tables(void)
{
	scalable_tables();
	context_entry()[0] |= 1 << 4 | 1 << 2; /* PRE, DTE */
	a.requests = page_new();
	write64(R_PQA, a.requests);
	write32(R_PECTL, UINT32_C(1) << 31);
	command(TE, true);
	queue_make(true);
}

static inline int function_setup(void **state)
{
	vtd_setup(state);
	make_function(UIOMMU_ACCEL_PCI_POLLED);
	make_tables();
	enable_function();
	return 0;
}

static inline int function_teardown(void **state)
{
	pci_connect(a.pci, NULL);
	assert_int_equal(uiommu_accel_pci_destroy(a.function), 0);
	return vtd_teardown(state);
}

/* --- processes --- */

static inline uint64_t va(unsigned int page, unsigned int offset)
{
	return VA + page * PAGE + offset;
}

static inline uint64_t *leaf(const struct process *process, unsigned int page)
{
	return leaf_of(process->root, va(page, 0), FIRST_TABLE);
}

static inline void map(const struct process *process, unsigned int page)
{
	*leaf(process, page) = process->memory[page] | FIRST_PAGE;
}

static inline void flush(const struct process *process)
{
	invalidate(D_PASID_IOTLB(2, DOMAIN, process->pasid), 0);
}

static inline struct process process_make(uint32_t pasid, uint32_t page)
{
	struct process process = {.pasid = pasid, .page = page, .root = page_new()};

	for (unsigned int i = 0; i < PROCESS_PAGES; i++) {
		process.memory[i] = page_new();
		map(&process, i);
	}
	for (unsigned int i = 0; i < PAGE; i++)
		at(process.memory[SOURCE])[i] = (uint8_t)(i * 7 + pasid);
	pasid_first(pasid, process.root);
	invalidate(D_PASID_CACHE(1, DOMAIN, pasid), 0);
	configure(page, va(RING, 0), ENTRIES_LG2, UINT32_C(1) << 31 | pasid, UINT32_C(1) << 31 | page);
	page_command(page, ENABLE);
	assert_int_equal(state_of(page), ENABLED);
	return process;
}

static inline struct uiommu_accel_record *record(const struct process *process, unsigned int i)
{
	return (struct uiommu_accel_record *)(void *)at(process->memory[RECORDS]) + i;
}

static inline unsigned int status(const struct process *process, unsigned int i)
{
	return __atomic_load_n(&record(process, i)->status, __ATOMIC_ACQUIRE);
}

/* 16 bytes at @i * 16, with record @i. */
static inline struct uiommu_accel_desc move(unsigned int i, uint32_t flags)
{
	return (struct uiommu_accel_desc){
		.flags_opcode = UIOMMU_ACCEL_MEMMOVE << 24 | RECORD | flags,
		.completion_address = va(RECORDS, i * 32),
		.source = va(SOURCE, i * 16),
		.destination = va(DESTINATION, i * 16),
		.transfer_size = 16,
	};
}

static inline void put(struct process *process, const struct uiommu_accel_desc *desc)
{
	memcpy(at(process->memory[RING]) + (process->tail++ & ((1 << ENTRIES_LG2) - 1)) * 64, desc, 64);
}

static inline void doorbell(const struct process *process, uint32_t tail)
{
	set(2, process->page * PAGE, 8, tail);
}

static inline void submit(struct process *process, unsigned int i, uint32_t flags)
{
	struct uiommu_accel_desc desc = move(i, flags);

	memset(record(process, i), 0, 32);
	put(process, &desc);
	doorbell(process, process->tail);
	poll_engine();
}

static inline bool moved(const struct process *process, unsigned int i)
{
	return !memcmp(at(process->memory[DESTINATION]) + i * 16, at(process->memory[SOURCE]) + i * 16, 16);
}

static inline void check_moved(const struct process *process, unsigned int i)
{
	assert_int_equal(status(process, i), UIOMMU_ACCEL_SUCCESS);
	assert_int_equal(record(process, i)->bytes_completed, 16);
	assert_true(moved(process, i));
}

static inline void check_error(const struct process *process, unsigned int count, unsigned int code, uint64_t address)
{
	uint64_t word = get(0, of_page(process->page, 0x20), 8);

	assert_int_equal(word >> 32, count);
	assert_int_equal(word & 0xff, code);
	assert_int_equal(get(0, of_page(process->page, 0x28), 8), address);
	assert_int_equal(get(2, process->page * PAGE + 0x18, 8), word);
}

/* --- the guest's page requests --- */

/* So many wait in the queue. */
static inline unsigned int asked(void)
{
	return ((uint32_t)read64(R_PQT) - a.handled) % PAGE / 32;
}

/* The next one is for this; answer it with @code. */
static inline void answer(uint32_t pasid, uint64_t address, bool writes, unsigned int code)
{
	const uint64_t *entry = entry_at(a.requests + a.handled);

	assert_true(asked());
	assert_int_equal(entry[0] >> 32 & 0xfffff, pasid);
	assert_int_equal(entry[1] & ~UINT64_C(0xfff), address & ~UINT64_C(0xfff));
	assert_int_equal(entry[1] & 3, writes ? 2 : 1);
	a.handled = (a.handled + 32) % PAGE;
	write64(R_PQH, a.handled);
	write32(R_PRS, 1);
	invalidate(9 | 1 << 4 | (uint64_t)code << 12 | (uint64_t)SOURCE_ID << 16 | (uint64_t)pasid << 32, entry[1] & 0xff8);
	poll_engine();
}

#define FUNCTION_TEST(test) cmocka_unit_test_setup_teardown(test, function_setup, function_teardown)

#endif
