/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Drivers in user space for the accelerator, as anybody may write them, to be run under `uiommu run`: one that maps a doorbell
 * page, and one for DSA's registers, which submits to a portal. Each case checks itself, prints "ok", and ends with 0.
 */
#include "accel_driver.h"

/* --- doorbell pages --- */

enum { NUMBER = 3, REGISTERS = 0x1000 + 0x40 * NUMBER, ENABLED = 2 };

static volatile uint64_t *page;

static void map_page(void)
{
	page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, device,
		    region(VFIO_PCI_BAR2_REGION_INDEX) + (off_t)PAGE * NUMBER);
	CHECK(page != MAP_FAILED);
}

static void enable_page(void)
{
	/* It was reset when it was opened. */
	while (get(0x14, 4))
		sched_yield();
	set(REGISTERS + 0x08, 8, iova(memory->ring));
	set(REGISTERS + 0x10, 8, 4);
	set(REGISTERS + 0x18, 4, 0);
	set(REGISTERS, 4, 1);
	CHECK(region_info(VFIO_PCI_BAR2_REGION_INDEX).flags & VFIO_REGION_INFO_FLAG_MMAP);
	map_page();
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

/* @arguments[0]: the page is mapped so many times before each move, and unmapped after that but for the last one. */
static void is_idle(char **arguments)
{
	unsigned int again = arguments[0] ? (unsigned int)atoi(arguments[0]) : 0;

	begin();
	enable_page();
	for (unsigned int i = 0; i < 3; i++) {
		for (unsigned int n = 0; n < again; n++) {
			CHECK(!munmap((void *)(uintptr_t)page, PAGE));
			map_page();
		}
		move(i);
		say_idle();
	}
}

/* What the device writes to is another page than the one that was mapped. */
static void replaced(char **arguments)
{
	uint8_t *whole;

	(void)arguments;
	begin();
	enable_page();
	move(0);
	whole = memory->destination + (PAGE - (uintptr_t)memory->destination % PAGE) % PAGE;
	CHECK(mmap(whole, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == whole);
	move(1);
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

static const struct test_case cases[] = {
	{"doorbells", doorbells}, {"idle", is_idle}, {"replaced", replaced}, {"forks", forks}, {"portals", portals},
};

int main(int argc, char **argv)
{
	return run_case(argc, argv, cases, sizeof(cases) / sizeof(cases[0]));
}
