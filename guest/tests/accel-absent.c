/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Guest memory that no processor of the guest has touched, and that the device does: pages of physical memory that the kernel was
 * told to leave alone. The device works on all of them at once, after one doorbell: so it meets them before anybody else.
 *
 *	accel-absent read ADDRESS PAGES FILE	READS copies of parts of each page; the pages, as the device has found them, become
 *FILE
 *	accel-absent write ADDRESS PAGES FILE	a line in the middle of each page is written; then the processor reads all of them
 *into FILE
 */
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "accel.h"

enum { ENTRIES = 4096, READS = 4, PART = PAGE / READS, LINE = 64, MIDDLE = 1024 };

static void submit_all(struct accel *accel, const struct uiommu_accel_desc *descs, unsigned int count,
		       struct uiommu_accel_record *records)
{
	CHECK(count <= accel->entries);
	for (unsigned int i = 0; i < count; i++) {
		accel->ring[i] = descs[i];
		accel->ring[i].completion_address = (uintptr_t)&records[i];
		accel->ring[i].flags_opcode |= RECORD | UIOMMU_ACCEL_REQUEST_INTERRUPT;
	}
	__atomic_thread_fence(__ATOMIC_RELEASE);
	accel->doorbell[0] = accel->tail = count;
	for (unsigned int i = 0; i < count; i++)
		CHECK(accel_wait(accel, &records[i]) == UIOMMU_ACCEL_SUCCESS);
}

static void save(const char *path, const uint8_t *bytes, size_t size)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	CHECK(fd >= 0);
	while (size) {
		ssize_t written = write(fd, bytes, size);

		CHECK(written > 0);
		bytes += written;
		size -= (size_t)written;
	}
	close(fd);
}

int main(int argc, char **argv)
{
	static struct uiommu_accel_record records[ENTRIES];
	static struct uiommu_accel_desc descs[ENTRIES];
	unsigned int count = 0, pages;
	struct accel accel;
	uint8_t *memory, *copy;
	int fd;

	CHECK(argc == 5);
	pages = (unsigned int)strtoul(argv[3], NULL, 0);
	fd = open("/dev/mem", O_RDWR);
	memory = mmap(NULL, (size_t)pages * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, strtol(argv[2], NULL, 0));
	copy = fresh(pages);
	CHECK(fd >= 0 && memory != MAP_FAILED && pages <= ENTRIES / READS);
	/* These are there. */
	memset(copy, 1, (size_t)pages * PAGE);
	accel_open(&accel, ENTRIES);
	memset(accel.ring, 0, ENTRIES * sizeof(*accel.ring));
	if (strcmp(argv[1], "read") == 0) {
		for (; count < pages * READS; count++)
			descs[count] = accel_move(copy + count * PART, memory + count * PART, PART, BLOCK);
	} else {
		for (; count < pages; count++)
			descs[count] = accel_fill(memory + count * PAGE + MIDDLE, 0x5a5a5a5a5a5a5a5a, LINE, BLOCK);
	}
	submit_all(&accel, descs, count, records);
	if (strcmp(argv[1], "write") == 0)
		memcpy(copy, memory, (size_t)pages * PAGE);
	accel_close(&accel);
	save(argv[4], copy, (size_t)pages * PAGE);
	printf("passed\n");
	return 0;
}
