/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The process changes what is at an address while the device writes there. Once a call of the kernel has returned, the page that
 * was there is not written by the device any more: it is looked at through another mapping, before and after work that was begun
 * later.
 */
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "accel.h"

enum { ROUNDS = 60, WINDOW = 4, BYTES = WINDOW * PAGE, RING = 32 };

static struct accel accel;
static uint8_t *window; /* where the device writes */
static uint8_t *alias; /* both halves of the file */
static int file;
static struct uiommu_accel_record *records;
static uint64_t pattern;

static void map_half(unsigned int half)
{
	CHECK(mmap(window, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, file, half * BYTES) == window);
}

/* Keep it busy with ever new patterns. */
static void begin(void)
{
	for (unsigned int i = 0; i < RING; i++) {
		struct uiommu_accel_desc desc = accel_fill(window, ++pattern * UINT64_C(0x100000001), BYTES, BLOCK);

		memset(&records[i], 0, sizeof(records[i]));
		desc.completion_address = (uintptr_t)&records[i];
		desc.flags_opcode |= RECORD | UIOMMU_ACCEL_REQUEST_INTERRUPT;
		accel_submit(&accel, &desc);
	}
}

/* Until all is done; some of it may have met what is not there. */
static unsigned int finish(void)
{
	unsigned int good = 0;

	for (unsigned int i = 0; i < RING; i++) {
		unsigned int status = accel_wait(&accel, &records[i]);

		CHECK(status == UIOMMU_ACCEL_SUCCESS || status == (INVALID | WRITE_FAULT));
		good += status == UIOMMU_ACCEL_SUCCESS;
	}
	return good;
}

/* Somewhere in the middle. */
static void some(unsigned int i)
{
	while (!__atomic_load_n(&records[i % RING].status, __ATOMIC_ACQUIRE))
		;
}

/* @half has been taken away: it stays as it is. */
static void check_still(unsigned int half)
{
	static uint8_t seen[BYTES];

	memcpy(seen, alias + half * BYTES, BYTES);
	finish();
	CHECK(!memcmp(seen, alias + half * BYTES, BYTES));
}

static void replaced(void)
{
	unsigned int moved = 0;

	for (unsigned int i = 0; i < ROUNDS; i++) {
		map_half(i % 2);
		begin();
		some(i);
		map_half((i + 1) % 2);
		check_still(i % 2);
		moved += alias[((i + 1) % 2) * BYTES] != 0;
	}
	CHECK(moved);
	printf("mmap\n");
}

static void unmapped(void)
{
	for (unsigned int i = 0; i < ROUNDS; i++) {
		map_half(0);
		begin();
		some(i);
		CHECK(!munmap(window, BYTES));
		check_still(0);
	}
	printf("munmap\n");
}

static void protected(void)
{
	for (unsigned int i = 0; i < ROUNDS; i++) {
		map_half(0);
		begin();
		some(i);
		CHECK(!mprotect(window, BYTES, PROT_READ));
		check_still(0);
	}
	printf("mprotect\n");
}

/* To where the device does not write; the old place is another page's then. */
static void moved(void)
{
	uint8_t *other = fresh(WINDOW);

	for (unsigned int i = 0; i < ROUNDS; i++) {
		map_half(0);
		begin();
		some(i);
		CHECK(mremap(window, BYTES, BYTES, MREMAP_MAYMOVE | MREMAP_FIXED, other) == other);
		check_still(0);
	}
	printf("mremap\n");
}

/* Private pages that are given back: new ones are zeroes but for what is written from then on. */
static void discarded(void)
{
	for (unsigned int i = 0; i < ROUNDS; i++) {
		CHECK(mmap(window, BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == window);
		begin();
		some(i);
		CHECK(!madvise(window, BYTES, MADV_DONTNEED));
		CHECK(finish() == RING);
		for (unsigned int at = 0; at < BYTES; at += 8) {
			uint64_t value = *(uint64_t *)(void *)(window + at);

			CHECK(!value || (value >> 32 == (uint32_t)value && (uint32_t)value <= pattern));
		}
	}
	printf("madvise\n");
}

int main(void)
{
	file = (int)syscall(SYS_memfd_create, "pages", 0);
	CHECK(file >= 0 && !ftruncate(file, 2 * BYTES));
	alias = mmap(NULL, 2 * BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	CHECK(alias != MAP_FAILED);
	window = fresh(WINDOW);
	records = (void *)fresh(1);
	accel_open(&accel, RING);
	replaced();
	unmapped();
	protected();
	moved();
	discarded();
	accel_close(&accel);
	printf("passed\n");
	return 0;
}
