/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The accelerator as a PCI function: registers written by number as a driver does, doorbells as processes do, behind a VT-d whose
 * tables and page requests are served here, and without one.
 */
#include "vtd_rig.h"

#include <sched.h>

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

static struct {
	struct uiommu_accel_pci *function;
	struct uiommu_pci *pci;
	uint64_t requests; /* the guest's page request queue */
	uint32_t handled; /* bytes of it */
} a;

/* --- a driver --- */

static void poll_engine(void)
{
	while (uiommu_accel_poll(uiommu_accel_pci_engine(a.function), 1000))
		;
}

static uint64_t get(unsigned int bar, uint64_t offset, unsigned int size)
{
	uint64_t value = 0;

	assert_int_equal(pci_bar_read(a.pci, bar, offset, &value, size), 0);
	return value;
}

static void set(unsigned int bar, uint64_t offset, unsigned int size, uint64_t value)
{
	assert_int_equal(pci_bar_write(a.pci, bar, offset, &value, size), 0);
}

static uint32_t config_get(unsigned int offset, unsigned int size)
{
	return function_config_get(a.pci, offset, size);
}

static void config_set(unsigned int offset, unsigned int size, uint32_t value)
{
	function_config_set(a.pci, offset, size, value);
}

static uint64_t of_page(uint32_t page, unsigned int offset)
{
	return 0x1000 + page * 0x40 + offset;
}

static unsigned int state_of(uint32_t page)
{
	return (unsigned int)get(0, of_page(page, 4), 4);
}

static void page_command(uint32_t page, uint32_t what)
{
	set(0, of_page(page, 0), 4, what);
	poll_engine();
}

static void configure(uint32_t page, uint64_t ring, uint32_t size, uint32_t pasid, uint32_t interrupt)
{
	set(0, of_page(page, 8), 8, ring);
	set(0, of_page(page, 0x10), 4, size);
	set(0, of_page(page, 0x14), 4, pasid);
	set(0, of_page(page, 0x18), 4, interrupt);
}

static void make_function(uint32_t flags)
{
	const struct uiommu_accel_pci_config config = {.size = sizeof(config), .flags = flags};

	memset(&a, 0, sizeof(a));
	assert_int_equal(uiommu_accel_pci_create(g.context, g.device_id, &config, &a.function), 0);
	a.pci = uiommu_accel_pci_function(a.function);
	vectors_connect(a.pci);
}

static unsigned int place(enum uiommu_pci_capability_type type)
{
	return a.pci->place[type];
}

/* In the order in which Linux does it. */
static void enable_function(void)
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

static void make_tables(void)
{
	scalable_tables();
	context_entry()[0] |= 1 << 4 | 1 << 2; /* PRE, DTE */
	a.requests = page_new();
	write64(R_PQA, a.requests);
	write32(R_PECTL, UINT32_C(1) << 31);
	command(TE, true);
	queue_make(true);
}

static int function_setup(void **state)
{
	vtd_setup(state);
	make_function(UIOMMU_ACCEL_PCI_POLLED);
	make_tables();
	enable_function();
	return 0;
}

static int function_teardown(void **state)
{
	pci_connect(a.pci, NULL);
	assert_int_equal(uiommu_accel_pci_destroy(a.function), 0);
	return vtd_teardown(state);
}

/* --- processes --- */

static uint64_t va(unsigned int page, unsigned int offset)
{
	return VA + page * PAGE + offset;
}

static uint64_t *leaf(const struct process *process, unsigned int page)
{
	return leaf_of(process->root, va(page, 0), FIRST_TABLE);
}

static void map(const struct process *process, unsigned int page)
{
	*leaf(process, page) = process->memory[page] | FIRST_PAGE;
}

static void flush(const struct process *process)
{
	invalidate(D_PASID_IOTLB(2, DOMAIN, process->pasid), 0);
}

static struct process process_make(uint32_t pasid, uint32_t page)
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

static struct uiommu_accel_record *record(const struct process *process, unsigned int i)
{
	return (struct uiommu_accel_record *)(void *)at(process->memory[RECORDS]) + i;
}

static unsigned int status(const struct process *process, unsigned int i)
{
	return __atomic_load_n(&record(process, i)->status, __ATOMIC_ACQUIRE);
}

/* 16 bytes at @i * 16, with record @i. */
static struct uiommu_accel_desc move(unsigned int i, uint32_t flags)
{
	return (struct uiommu_accel_desc){
		.flags_opcode = UIOMMU_ACCEL_MEMMOVE << 24 | RECORD | flags,
		.completion_address = va(RECORDS, i * 32),
		.source = va(SOURCE, i * 16),
		.destination = va(DESTINATION, i * 16),
		.transfer_size = 16,
	};
}

static void put(struct process *process, const struct uiommu_accel_desc *desc)
{
	memcpy(at(process->memory[RING]) + (process->tail++ & ((1 << ENTRIES_LG2) - 1)) * 64, desc, 64);
}

static void doorbell(const struct process *process, uint32_t tail)
{
	set(2, process->page * PAGE, 8, tail);
}

static void submit(struct process *process, unsigned int i, uint32_t flags)
{
	struct uiommu_accel_desc desc = move(i, flags);

	memset(record(process, i), 0, 32);
	put(process, &desc);
	doorbell(process, process->tail);
	poll_engine();
}

static bool moved(const struct process *process, unsigned int i)
{
	return !memcmp(at(process->memory[DESTINATION]) + i * 16, at(process->memory[SOURCE]) + i * 16, 16);
}

static void check_moved(const struct process *process, unsigned int i)
{
	assert_int_equal(status(process, i), UIOMMU_ACCEL_SUCCESS);
	assert_int_equal(record(process, i)->bytes_completed, 16);
	assert_true(moved(process, i));
}

static void check_error(const struct process *process, unsigned int count, unsigned int code, uint64_t address)
{
	uint64_t word = get(0, of_page(process->page, 0x20), 8);

	assert_int_equal(word >> 32, count);
	assert_int_equal(word & 0xff, code);
	assert_int_equal(get(0, of_page(process->page, 0x28), 8), address);
	assert_int_equal(get(2, process->page * PAGE + 0x18, 8), word);
}

/* --- the guest's page requests --- */

/* So many wait in the queue. */
static unsigned int asked(void)
{
	return ((uint32_t)read64(R_PQT) - a.handled) % PAGE / 32;
}

/* The next one is for this; answer it with @code. */
static void answer(uint32_t pasid, uint64_t address, bool writes, unsigned int code)
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

/* --- tests --- */

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
	answer(PASID_A, va(DESTINATION, 0), true, 15);
	assert_int_equal(status(&x, 4), UIOMMU_ACCEL_PAGE_FAULT_INVALID | UIOMMU_ACCEL_FAULT_WRITE);
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

#define FUNCTION_TEST(test) cmocka_unit_test_setup_teardown(test, function_setup, function_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		FUNCTION_TEST(the_function),
		FUNCTION_TEST(enabling),
		FUNCTION_TEST(two_processes),
		FUNCTION_TEST(pages_come),
		FUNCTION_TEST(pages_are_refused),
		FUNCTION_TEST(no_answer),
		FUNCTION_TEST(draining),
		FUNCTION_TEST(bad_doorbells),
		FUNCTION_TEST(few_requests),
		FUNCTION_TEST(without_pri),
		FUNCTION_TEST(resets),
		FUNCTION_TEST(pasids_off),
		FUNCTION_TEST(batches),
		cmocka_unit_test_setup_teardown(without_iommu, alone_setup, alone_teardown),
		cmocka_unit_test_setup_teardown(with_a_thread, thread_setup, function_teardown),
		cmocka_unit_test_setup_teardown(arguments, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
