/* SPDX-License-Identifier: BSD-3-Clause */
/* What drivers of the accelerator have in common, and what those have who see DSA's registers. */
#ifndef TESTS_E2E_ACCEL_DRIVER_H
#define TESTS_E2E_ACCEL_DRIVER_H

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
	uint8_t source[SIZE] __attribute__((aligned(4096)));
	uint8_t destination[SIZE] __attribute__((aligned(4096)));
} * memory;

static uint64_t base = IOVA; /* of the memory, for the device */

static inline uint64_t iova(const void *at)
{
	return base + (uint64_t)((const uint8_t *)at - (const uint8_t *)memory);
}

static inline uint64_t get(unsigned int offset, size_t size)
{
	uint64_t value = 0;

	CHECK(pread(device, &value, size, region(VFIO_PCI_BAR0_REGION_INDEX) + offset) == (ssize_t)size);
	return value;
}

static inline void set(unsigned int offset, size_t size, uint64_t value)
{
	CHECK(pwrite(device, &value, size, region(VFIO_PCI_BAR0_REGION_INDEX) + offset) == (ssize_t)size);
}

static inline void begin(void)
{
	memory = mmap(NULL, sizeof(*memory), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CHECK(memory != MAP_FAILED);
	open_device();
	map_memory(memory, (sizeof(*memory) + PAGE - 1) / PAGE * PAGE);
	be_master();
}

/* Move number @i, with other bytes each time. */
static inline struct descriptor prepare(unsigned int i)
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

/* The status in a record, once there is one: the device has to be there that is waited for. */
static inline uint8_t status_in(const uint8_t *record)
{
	uint8_t status;

	for (unsigned int looks = 1; !(status = __atomic_load_n(record, __ATOMIC_ACQUIRE)); looks++) {
		sched_yield();
		if (!(looks % (1 << 16)))
			get(0, 4);
	}
	return status;
}

static inline uint8_t status_of(unsigned int i)
{
	return status_in(memory->records[i % ENTRIES]);
}

static inline void finish(unsigned int i)
{
	CHECK(status_of(i) == 1);
	CHECK(!memcmp(memory->source, memory->destination, SIZE));
}

/* --- DSA --- */

static inline void command(uint32_t code, uint32_t operand)
{
	set(0xa0, 4, code << 20 | operand);
	while (get(0xa8, 4) >> 31)
		sched_yield();
	CHECK(!get(0xa8, 4));
}

static inline void enable_portals(void)
{
	set(0x400, 8, 1); /* group 0 has work queue 0, */
	set(0x420, 8, 1); /* and engine 0 */
	set(0x600, 4, ENTRIES);
	set(0x608, 4, 1 << 4 | 2 | 1); /* dedicated, without PASID; what asks for it waits for pages */
	set(0x60c, 4, 21 | 4 << 5);
	command(1, 0);
	command(6, 0);
}

static inline void submit(unsigned int i, const struct descriptor *descriptor)
{
	CHECK(pwrite(device, descriptor, sizeof(*descriptor), region(VFIO_PCI_BAR2_REGION_INDEX) + (off_t)64 * (i % 64)) ==
	      sizeof(*descriptor));
}

#endif
