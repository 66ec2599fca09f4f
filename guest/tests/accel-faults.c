/* SPDX-License-Identifier: BSD-3-Clause */
/* Pages that are not there, not yet, no more, or not for writing: what the device may do is what the process may. */
#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "accel.h"

static struct accel accel;

static void says(const char *what)
{
	printf("%s\n", what);
}

static unsigned int move(void *to, const void *from, size_t size, uint32_t flags, struct uiommu_accel_record *record)
{
	struct uiommu_accel_desc desc = accel_move(to, from, size, flags);

	return accel_do(&accel, &desc, record);
}

static void untouched(void)
{
	uint8_t *from = fresh(8), *to = fresh(8), *zero = fresh(1);
	struct uiommu_accel_record *record = (void *)fresh(1);

	/* Source, destination and record, none of which anybody has touched. */
	CHECK(move(to + 100, from + 50, 7 * PAGE, BLOCK, record + 3) == UIOMMU_ACCEL_SUCCESS);
	for (unsigned int i = 0; i < 8 * PAGE; i++)
		CHECK(!to[i]);
	scramble(from, 8 * PAGE, 1);
	CHECK(!madvise(to, 8 * PAGE, MADV_DONTNEED) && !madvise(record, PAGE, MADV_DONTNEED));
	CHECK(move(to, from, 8 * PAGE, BLOCK, record) == UIOMMU_ACCEL_SUCCESS);
	CHECK(record->bytes_completed == 8 * PAGE && scrambled(to, 8 * PAGE, 1));
	/* The page of zeroes that all share: it is read first, and written then. */
	CHECK(!*(volatile uint8_t *)zero);
	CHECK(move(zero, from, 10, BLOCK, NULL) == UIOMMU_ACCEL_SUCCESS);
	CHECK(scrambled(zero, 10, 1) && !zero[10]);
	/* Without BLOCK_ON_FAULT it ends there. */
	to = fresh(2);
	memset(to, 1, PAGE);
	CHECK(move(to + 10, from, PAGE, 0, record) == (UIOMMU_ACCEL_PAGE_FAULT | WRITE_FAULT));
	CHECK(record->bytes_completed == PAGE - 10 && record->fault_address == (uintptr_t)to + PAGE);
	CHECK(!memcmp(to + 10, from, PAGE - 10));
	says("untouched pages");
}

static void protected(void)
{
	uint8_t *from = fresh(4), *to = fresh(4);
	struct uiommu_accel_record record;

	scramble(from, 4 * PAGE, 2);
	scramble(to, 4 * PAGE, 3);
	CHECK(move(to, from, 8, BLOCK, NULL) == UIOMMU_ACCEL_SUCCESS);
	scramble(to, 4 * PAGE, 3);
	CHECK(!mprotect(to + 2 * PAGE, PAGE, PROT_READ));
	CHECK(move(to, from, 4 * PAGE, BLOCK, &record) == (INVALID | WRITE_FAULT));
	CHECK(record.bytes_completed == 2 * PAGE && record.fault_address == (uintptr_t)to + 2 * PAGE);
	CHECK(!memcmp(to, from, 2 * PAGE));
	CHECK(!memcmp(to + 2 * PAGE, (scramble(from, 4 * PAGE, 3), from + 2 * PAGE), 2 * PAGE));
	CHECK(!mprotect(from + PAGE, PAGE, PROT_NONE));
	CHECK(move(to, from, 2 * PAGE, BLOCK, &record) == INVALID);
	CHECK(record.bytes_completed == PAGE && record.fault_address == (uintptr_t)from + PAGE);
	CHECK(!mprotect(from + PAGE, PAGE, PROT_READ) && !mprotect(to + 2 * PAGE, PAGE, PROT_READ | PROT_WRITE));
	CHECK(move(to, from, 4 * PAGE, BLOCK, &record) == UIOMMU_ACCEL_SUCCESS);
	CHECK(scrambled(to, 4 * PAGE, 3));
	says("protected pages");
}

static void unmapped(void)
{
	uint8_t *from = fresh(3), *to = fresh(3);
	struct uiommu_accel_record record;

	scramble(from, 3 * PAGE, 4);
	CHECK(move(to, from, 3 * PAGE, BLOCK, NULL) == UIOMMU_ACCEL_SUCCESS);
	CHECK(!munmap(to + PAGE, PAGE));
	CHECK(move(to, from, 3 * PAGE, BLOCK, &record) == (INVALID | WRITE_FAULT));
	CHECK(record.bytes_completed == PAGE && record.fault_address == (uintptr_t)to + PAGE);
	CHECK(!munmap(from, PAGE));
	CHECK(move(to, from, PAGE, BLOCK, &record) == INVALID && !record.bytes_completed);
	CHECK(move(to, (void *)(uintptr_t)0xffff888000000000, 8, BLOCK, &record) == INVALID);
	CHECK(move(to, NULL, 8, BLOCK, &record) == INVALID);
	CHECK(move((void *)0x5000, from + PAGE, 8, 0, &record) == (UIOMMU_ACCEL_PAGE_FAULT | WRITE_FAULT));
	says("unmapped pages");
}

static void read_only(void)
{
	uint8_t *code = (uint8_t *)(uintptr_t)read_only, was = *code;
	int fd = open("/proc/self/exe", O_RDONLY);
	uint8_t *file = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 0), bytes[64], *to = fresh(1);
	struct uiommu_accel_record record;

	CHECK(fd >= 0 && file != MAP_FAILED);
	memset(bytes, 0x77, sizeof(bytes));
	CHECK(move(file, bytes, sizeof(bytes), BLOCK, &record) == (INVALID | WRITE_FAULT));
	CHECK(!memcmp(file, "\177ELF", 4));
	CHECK(move(code, bytes, sizeof(bytes), BLOCK, &record) == (INVALID | WRITE_FAULT) && *code == was);
	CHECK(move(to, file, PAGE, BLOCK, NULL) == UIOMMU_ACCEL_SUCCESS && !memcmp(to, file, PAGE));
	close(fd);
	says("read-only pages");
}

/* A record that cannot be written, and a ring that goes: told at the doorbell, and a new ring is as good as the first. */
static void lost(void)
{
	struct uiommu_accel_ring ring = {.entries = accel.entries};
	struct uiommu_accel_desc desc = {.flags_opcode = UIOMMU_ACCEL_NOOP << 24 | RECORD};
	uint8_t *gone = fresh(1);

	CHECK(!munmap(gone, PAGE));
	desc.completion_address = (uintptr_t)gone;
	accel_submit(&accel, &desc);
	while ((accel.doorbell[3] & 0xff) != UIOMMU_ACCEL_ERROR_RECORD)
		sched_yield();
	CHECK(!munmap(accel.ring, accel.entries * sizeof(*accel.ring)));
	accel.doorbell[0] = accel.tail + 1;
	while (!(accel.doorbell[2] & 16))
		sched_yield();
	CHECK(!ioctl(accel.fd, UIOMMU_ACCEL_DRAIN));
	accel.ring = (void *)fresh(1);
	accel.tail = 0;
	ring.address = (uintptr_t)accel.ring;
	CHECK(!ioctl(accel.fd, UIOMMU_ACCEL_RING, &ring));
	CHECK(ioctl(accel.fd, UIOMMU_ACCEL_RING, &ring) == -1);
	desc.completion_address = 0;
	CHECK(accel_do(&accel, &desc, NULL) == UIOMMU_ACCEL_SUCCESS);
	says("a lost record and a lost ring");
}

int main(void)
{
	accel_open(&accel, 8);
	untouched();
	protected();
	unmapped();
	read_only();
	lost();
	accel_close(&accel);
	printf("passed\n");
	return 0;
}
