/* SPDX-License-Identifier: BSD-3-Clause */
#include "accel.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

enum { SPINS = 200 };

void failed(const char *file, int line, const char *what)
{
	printf("FAILED: %s:%d: %s (errno %d)\n", file, line, what, errno);
	fflush(stdout);
	_exit(1);
}

void accel_open(struct accel *accel, uint32_t entries)
{
	struct uiommu_accel_ring ring = {.entries = entries};
	struct uiommu_accel_info info;

	*accel = (struct accel){.fd = open("/dev/uiommu0", O_RDWR | O_CLOEXEC), .entries = entries};
	CHECK(accel->fd >= 0);
	accel->ring = mmap(NULL, entries * sizeof(*accel->ring), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(accel->ring != MAP_FAILED);
	ring.address = (uintptr_t)accel->ring;
	CHECK(!ioctl(accel->fd, UIOMMU_ACCEL_RING, &ring));
	accel->doorbell = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, accel->fd, 0);
	CHECK(accel->doorbell != MAP_FAILED);
	CHECK(!ioctl(accel->fd, UIOMMU_ACCEL_INFO, &info));
	accel->pasid = info.pasid;
	accel->page = info.page;
}

void accel_close(struct accel *accel)
{
	munmap((void *)(uintptr_t)accel->doorbell, PAGE);
	close(accel->fd);
	munmap(accel->ring, accel->entries * sizeof(*accel->ring));
}

void accel_submit(struct accel *accel, const struct uiommu_accel_desc *desc)
{
	/* The head: what lies before it has been read. */
	while (accel->tail - (uint32_t)accel->doorbell[1] >= accel->entries)
		sched_yield();
	accel->ring[accel->tail++ & (accel->entries - 1)] = *desc;
	__atomic_thread_fence(__ATOMIC_RELEASE);
	accel->doorbell[0] = accel->tail;
}

static bool done(const struct uiommu_accel_record *record)
{
	return __atomic_load_n(&record->status, __ATOMIC_ACQUIRE);
}

unsigned int accel_wait(struct accel *accel, const struct uiommu_accel_record *record)
{
	struct pollfd fd = {.fd = accel->fd, .events = POLLIN};
	uint64_t count;

	for (unsigned int i = 0; !done(record); i++) {
		/* The interrupt comes after the record; one that was another's leaves the next to wait for. */
		if (i < SPINS)
			sched_yield();
		else
			CHECK(poll(&fd, 1, -1) == 1 && read(accel->fd, &count, sizeof(count)) == sizeof(count));
	}
	return record->status;
}

unsigned int accel_do(struct accel *accel, const struct uiommu_accel_desc *desc, struct uiommu_accel_record *record)
{
	static struct uiommu_accel_record own;
	struct uiommu_accel_desc complete = *desc;

	if (!record)
		record = &own;
	memset(record, 0, sizeof(*record));
	complete.completion_address = (uintptr_t)record;
	complete.flags_opcode |= RECORD | UIOMMU_ACCEL_REQUEST_INTERRUPT;
	accel_submit(accel, &complete);
	return accel_wait(accel, record);
}

struct uiommu_accel_desc accel_move(void *to, const void *from, size_t size, uint32_t flags)
{
	return (struct uiommu_accel_desc){
		.flags_opcode = UIOMMU_ACCEL_MEMMOVE << 24 | flags,
		.source = (uintptr_t)from,
		.destination = (uintptr_t)to,
		.transfer_size = (uint32_t)size,
	};
}

struct uiommu_accel_desc accel_fill(void *to, uint64_t pattern, size_t size, uint32_t flags)
{
	return (struct uiommu_accel_desc){
		.flags_opcode = UIOMMU_ACCEL_FILL << 24 | flags,
		.source = pattern,
		.destination = (uintptr_t)to,
		.transfer_size = (uint32_t)size,
	};
}

uint8_t *fresh(size_t pages)
{
	uint8_t *memory = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	CHECK(memory != MAP_FAILED);
	return memory;
}

static uint8_t byte_at(size_t i, unsigned int seed)
{
	return (uint8_t)(i * 7 + (i >> 8) * 13 + seed * 31 + 1);
}

void scramble(void *memory, size_t size, unsigned int seed)
{
	for (size_t i = 0; i < size; i++)
		((uint8_t *)memory)[i] = byte_at(i, seed);
}

bool scrambled(const void *memory, size_t size, unsigned int seed)
{
	for (size_t i = 0; i < size; i++)
		if (((const uint8_t *)memory)[i] != byte_at(i, seed))
			return false;
	return true;
}
