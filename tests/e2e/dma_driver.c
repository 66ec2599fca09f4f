/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Drivers in user space for the accelerator, as anybody may write them, to be run under `uiommu run`: one that maps a doorbell
 * page, and one for DSA's registers, which submits to a portal. Each case checks itself, prints "ok", and ends with 0.
 */
#include "driver.h"

#include <sched.h>

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

static uint64_t iova(const void *at)
{
	return IOVA + (uint64_t)((const uint8_t *)at - (const uint8_t *)memory);
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

static void finish(unsigned int i)
{
	const uint8_t *record = memory->records[i % ENTRIES];
	uint8_t status;

	while (!(status = __atomic_load_n(record, __ATOMIC_ACQUIRE)))
		sched_yield();
	CHECK(status == 1);
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

static void portals(char **arguments)
{
	(void)arguments;
	begin();
	set(0x400, 8, 1); /* group 0 has work queue 0, */
	set(0x420, 8, 1); /* and engine 0 */
	set(0x600, 4, ENTRIES);
	set(0x608, 4, 1 << 4 | 1); /* dedicated, without PASID */
	set(0x60c, 4, 21 | 4 << 5);
	command(1, 0);
	command(6, 0);
	/* One write is one descriptor; so a portal is no memory. */
	CHECK(!(region_info(VFIO_PCI_BAR2_REGION_INDEX).flags & VFIO_REGION_INFO_FLAG_MMAP));
	CHECK(mmap(NULL, PAGE, PROT_WRITE, MAP_SHARED, device, region(VFIO_PCI_BAR2_REGION_INDEX)) == MAP_FAILED &&
	      errno == EINVAL);
	for (unsigned int i = 0; i < 100; i++) {
		struct descriptor descriptor = prepare(i);

		CHECK(pwrite(device, &descriptor, sizeof(descriptor), region(VFIO_PCI_BAR2_REGION_INDEX) + (off_t)64 * (i % 64)) ==
		      sizeof(descriptor));
		finish(i);
	}
}

static const struct test_case cases[] = {
	{"doorbells", doorbells},
	{"idle", is_idle},
	{"forks", forks},
	{"portals", portals},
};

int main(int argc, char **argv)
{
	return run_case(argc, argv, cases, sizeof(cases) / sizeof(cases[0]));
}
