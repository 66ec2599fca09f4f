/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Drivers in user space for the accelerator, as anybody may write them, to be run under `uiommu run`: one that maps a doorbell
 * page, and one for DSA's registers, which submits to a portal. Each case checks itself, prints "ok", and ends with 0.
 */
#include "driver.h"

#include <sched.h>
#include <uiommu/abi.h>

enum { ENTRIES = 16, SIZE = 8192 };

/* docs/accel.md */
struct descriptor {
	uint32_t pasid, flags_opcode;
	uint64_t record, source, destination;
	uint32_t size, handle;
	uint64_t reserved[3];
};

enum { MEMMOVE = 3 << 24 | 4 | 8 };

static struct memory {
	struct descriptor ring[ENTRIES];
	uint8_t records[ENTRIES][32] __attribute__((aligned(4096)));
	uint8_t source[SIZE], destination[SIZE];
} * memory;

static uint64_t base = IOVA; /* of the memory, for the device */

static uint64_t iova(const void *at)
{
	return base + (uint64_t)((const uint8_t *)at - (const uint8_t *)memory);
}

static uint64_t get(unsigned int offset, size_t size)
{
	uint64_t value = 0;

	CHECK(pread(device, &value, size, region(VFIO_PCI_BAR0_REGION_INDEX) + offset) == (ssize_t)size);
	return value;
}

static void set(unsigned int offset, size_t size, uint64_t value)
{
	CHECK(pwrite(device, &value, size, region(VFIO_PCI_BAR0_REGION_INDEX) + offset) == (ssize_t)size);
}

static void begin(void)
{
	memory = mmap(NULL, sizeof(*memory), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CHECK(memory != MAP_FAILED);
	open_device();
	map_memory(memory, (sizeof(*memory) + PAGE - 1) / PAGE * PAGE);
	be_master();
}

/* Move number @i, with other bytes each time. */
static struct descriptor prepare(unsigned int i)
{
	for (unsigned int at = 0; at < SIZE; at++)
		memory->source[at] = (uint8_t)(at * 13 + at / 256 + i);
	memset(memory->destination, 0xee, SIZE);
	memset(memory->records[i % ENTRIES], 0, sizeof(memory->records[0]));
	return (struct descriptor){
		.flags_opcode = MEMMOVE,
		.record = iova(memory->records[i % ENTRIES]),
		.source = iova(memory->source),
		.destination = iova(memory->destination),
		.size = SIZE,
	};
}

/* The status in its record. */
static uint8_t status_of(unsigned int i)
{
	const uint8_t *record = memory->records[i % ENTRIES];
	uint8_t status;

	while (!(status = __atomic_load_n(record, __ATOMIC_ACQUIRE)))
		sched_yield();
	return status;
}

static void finish(unsigned int i)
{
	CHECK(status_of(i) == 1);
	CHECK(!memcmp(memory->source, memory->destination, SIZE));
}

/* --- doorbell pages --- */

enum { NUMBER = 3, REGISTERS = 0x1000 + 0x40 * NUMBER, ENABLED = 2 };

static volatile uint64_t *page;

static void enable_page(void)
{
	const struct vfio_region_info info = region_info(VFIO_PCI_BAR2_REGION_INDEX);

	/* It was reset when it was opened. */
	while (get(0x14, 4))
		sched_yield();
	set(REGISTERS + 0x08, 8, iova(memory->ring));
	set(REGISTERS + 0x10, 8, 4);
	set(REGISTERS + 0x18, 4, 0);
	set(REGISTERS, 4, 1);
	CHECK(info.flags & VFIO_REGION_INFO_FLAG_MMAP);
	page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, device, (off_t)info.offset + (off_t)PAGE * NUMBER);
	CHECK(page != MAP_FAILED);
	while (page[2] != ENABLED)
		sched_yield();
	CHECK(get(REGISTERS + 4, 4) == ENABLED);
}

static void move(unsigned int i)
{
	memory->ring[i % ENTRIES] = prepare(i);
	__atomic_store_n(&page[0], i + 1, __ATOMIC_RELEASE);
	finish(i);
	CHECK(page[1] == i + 1);
}

static void doorbells(char **arguments)
{
	(void)arguments;
	begin();
	enable_page();
	for (unsigned int i = 0; i < 300; i++)
		move(i);
	/* A doorbell that makes no sense is an error, which is seen there as well. */
	page[0] = 300 + 2 * ENTRIES;
	while (!page[3])
		sched_yield();
	CHECK(page[3] == get(REGISTERS + 0x20, 8));
	page[0] = 300;
	move(300);
}

static void is_idle(char **arguments)
{
	(void)arguments;
	begin();
	enable_page();
	for (unsigned int i = 0; i < 3; i++) {
		move(i);
		say_idle();
	}
}

/* A child rings with what it has inherited. */
static void forks(char **arguments)
{
	pid_t pid;

	(void)arguments;
	begin();
	enable_page();
	for (unsigned int i = 0; i < 20; i += 2) {
		pid = fork();
		CHECK(pid >= 0);
		if (!pid) {
			move(i);
			_exit(0);
		}
		wait_for(pid);
		move(i + 1);
	}
}

/* --- DSA --- */

static void command(uint32_t code, uint32_t operand)
{
	set(0xa0, 4, code << 20 | operand);
	while (get(0xa8, 4) >> 31)
		sched_yield();
	CHECK(!get(0xa8, 4));
}

static void enable_portals(void)
{
	set(0x400, 8, 1); /* group 0 has work queue 0, */
	set(0x420, 8, 1); /* and engine 0 */
	set(0x600, 4, ENTRIES);
	set(0x608, 4, 1 << 4 | 1); /* dedicated, without PASID */
	set(0x60c, 4, 21 | 4 << 5);
	command(1, 0);
	command(6, 0);
}

static void submit(unsigned int i, const struct descriptor *descriptor)
{
	CHECK(pwrite(device, descriptor, sizeof(*descriptor), region(VFIO_PCI_BAR2_REGION_INDEX) + (off_t)64 * (i % 64)) ==
	      sizeof(*descriptor));
}

static void portals(char **arguments)
{
	const bool maps = !strcmp(arguments[0], "maps");

	begin();
	enable_portals();
	/* One write is one descriptor; so a portal is no memory, and mapped where each access can be caught. */
	CHECK(maps == !!(region_info(VFIO_PCI_BAR2_REGION_INDEX).flags & VFIO_REGION_INFO_FLAG_MMAP));
	CHECK(maps == (mmap(NULL, PAGE, PROT_WRITE, MAP_SHARED, device, region(VFIO_PCI_BAR2_REGION_INDEX)) != MAP_FAILED));
	for (unsigned int i = 0; i < 100; i++) {
		const struct descriptor descriptor = prepare(i);

		submit(i, &descriptor);
		finish(i);
	}
}

/* --- a guest's page table, in memory that is mapped by its address --- */

enum { TABLES = 12, SPARE = 2, NEST_PARENT = 1, VTD_S1 = 1, ARM_SMMUV3, AMD_GUEST, WRITE_FAULT = 0x83 };

#define VA UINT64_C(0x3412345000)
#define FAR (VA + (UINT64_C(1) << 30)) /* it has a table of its own */

static uint64_t *tables; /* behind the memory, and so for the device */
static unsigned int tables_taken;

static uint64_t gpa(const void *at)
{
	return IOVA + (uint64_t)((const uint8_t *)at - (const uint8_t *)memory);
}

static uint64_t *table_at(uint64_t address)
{
	return (uint64_t *)(void *)((uint8_t *)memory + (address - IOVA));
}

static uint64_t table_new(void)
{
	CHECK(tables_taken < TABLES);
	return gpa(tables + (size_t)PAGE / 8 * tables_taken++);
}

static uint64_t *spare_page(unsigned int i)
{
	return tables + (size_t)PAGE / 8 * (TABLES + i);
}

static struct format {
	const char *name;
	uint32_t type, length;
	unsigned int top; /* bit at which the top table's index ends */
	uint64_t table_bits, page_bits;
	uint64_t seen; /* of leaves: accessed and dirty */
	uint64_t data[4];
} formats[] = {
	{"vtd", VTD_S1, 24, 39, 0x27, 7, 0x60, {0}},
	{"arm", ARM_SMMUV3, 16, 30, 3, 0x43, 0x400, {0}},
	{"amd", AMD_GUEST, 32, 39, 0x27, 7, 0x60, {0}},
};

/* The leaf of an address of the device. */
static uint64_t *leaf_of(const struct format *format, uint64_t root, uint64_t address)
{
	uint64_t table = root;

	for (unsigned int shift = format->top; shift > 12; shift -= 9) {
		uint64_t *entry = table_at(table) + (address >> shift & 511);

		if (!*entry)
			*entry = table_new() | format->table_bits;
		table = *entry & UINT64_C(0x000ffffffffff000);
	}
	return table_at(table) + (address >> 12 & 511);
}

/* What leads to the page table, as in tests/unit/abi_guest.h. */
static void describe(struct format *format, uint64_t root)
{
	uint64_t table = format->type == VTD_S1 ? 0 : table_new();

	switch (format->type) {
	case VTD_S1:
		format->data[1] = root;
		format->data[2] = 48;
		break;
	case ARM_SMMUV3: /* one CD */
		table_at(table)[0] = 25 | UINT64_C(1) << 30 | UINT64_C(1) << 31 | UINT64_C(5) << 32 | UINT64_C(1) << 41 |
				     UINT64_C(3) << 45 | UINT64_C(7) << 48;
		table_at(table)[1] = root;
		table_at(table)[3] = 0xff;
		format->data[0] = 1 | 5 << 1 | table;
		break;
	default: /* a GCR3 table of one level */
		table_at(table)[0] = root | 1;
		format->data[0] = 3 | UINT64_C(3) << 54 | (table >> 12 & 7) << 58 | UINT64_C(3) << 61;
		format->data[1] = 5 | (table >> 15 & 0xffff) << 16 | (table >> 31) << 43;
	}
}

static uint32_t hwpt_alloc(uint32_t flags, uint32_t pt_id, const struct format *format)
{
	struct {
		uint32_t size, flags, dev_id, pt_id, out_hwpt_id, reserved, data_type, data_len;
		uint64_t data_uptr;
		uint32_t fault_id, reserved_2;
	} arguments = {.size = sizeof(arguments), .flags = flags, .dev_id = device_id, .pt_id = pt_id};

	if (format) {
		arguments.data_type = format->type;
		arguments.data_len = format->length;
		arguments.data_uptr = (uint64_t)(uintptr_t)format->data;
	}
	CHECK(!ioctl(iommufd, _IO(';', 0x89), &arguments));
	return arguments.out_hwpt_id;
}

static uint32_t nested;

static void forget(void)
{
	const struct uiommu_abi_invalidate all = {.npages = UINT64_MAX};
	struct {
		uint32_t size, hwpt_id;
		uint64_t data_uptr;
		uint32_t data_type, entry_len, entry_num, reserved;
	} arguments = {sizeof(arguments), nested, (uint64_t)(uintptr_t)&all, UIOMMU_ABI_INVALIDATE, sizeof(all), 1, 0};

	CHECK(!ioctl(iommufd, _IO(';', 0x8d), &arguments) && arguments.entry_num == 1);
}

/* The memory at VA for the device, page by page. @unseen: no entry says that it has been used. */
static struct format *begin_nested(const char *name, bool unseen)
{
	const size_t bytes = (sizeof(*memory) + PAGE - 1) / PAGE * PAGE;
	struct format *format = formats;
	uint64_t root;

	while (strcmp(format->name, name) != 0)
		format++;
	/* What is private is nobody's but the program's. */
	memory = mmap(NULL, bytes + (TABLES + SPARE) * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(memory != MAP_FAILED);
	tables = (uint64_t *)(void *)((uint8_t *)memory + bytes);
	open_device();
	map_memory(memory, bytes + (TABLES + SPARE) * PAGE);
	be_master();
	root = table_new();
	for (uint64_t at = 0; at < bytes; at += PAGE)
		*leaf_of(format, root, VA + at) = (IOVA + at) | format->page_bits | (unseen ? 0 : format->seen);
	leaf_of(format, root, FAR);
	describe(format, root);
	nested = hwpt_alloc(0, hwpt_alloc(NEST_PARENT, ioas, NULL), format);
	attach(nested);
	base = VA;
	enable_portals();
	return format;
}

/* One page to FAR. */
static uint8_t move_far(unsigned int i)
{
	struct descriptor descriptor = prepare(i);

	descriptor.destination = FAR;
	descriptor.size = PAGE;
	submit(i, &descriptor);
	return status_of(i);
}

static bool has_source(const uint64_t *spare)
{
	return !memcmp(spare, memory->source, PAGE);
}

static void walks(char **arguments)
{
	const struct format *format = begin_nested(arguments[0], false);
	const uint64_t bits = format->page_bits | format->seen;
	uint64_t *first = spare_page(0), *second = spare_page(1), *leaf = leaf_of(format, gpa(tables), FAR);
	void *table = (void *)((uintptr_t)leaf & ~(uintptr_t)(PAGE - 1));

	for (unsigned int i = 0; i < 20; i++) {
		const struct descriptor descriptor = prepare(i);

		submit(i, &descriptor);
		finish(i);
	}
	/* What is not there is not cached. */
	CHECK(move_far(20) == WRITE_FAULT);
	*leaf = gpa(first) | bits;
	CHECK(move_far(21) == 1 && has_source(first));
	/* What is, is, until it is forgotten. */
	*leaf = gpa(second) | bits;
	CHECK(move_far(22) == 1 && has_source(first));
	forget();
	CHECK(move_far(23) == 1 && has_source(second) && !has_source(first));
	/* The page of the table goes, and another one comes to its place. */
	CHECK(!munmap(table, PAGE));
	CHECK(move_far(24) == 1 && has_source(second));
	forget();
	CHECK(move_far(25) == WRITE_FAULT);
	CHECK(mmap(table, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == table);
	CHECK(move_far(26) == WRITE_FAULT);
	*leaf = gpa(first) | bits;
	CHECK(move_far(27) == 1 && has_source(first));
}

static const struct test_case cases[] = {
	{"doorbells", doorbells}, {"idle", is_idle}, {"forks", forks}, {"portals", portals}, {"walks", walks},
};

int main(int argc, char **argv)
{
	return run_case(argc, argv, cases, sizeof(cases) / sizeof(cases[0]));
}
