/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The accelerator for a process in a guest, through guest/linux's driver: a ring in the process's own memory, and its doorbell.
 * What does not go as it should ends the program with a line that says so.
 */
#ifndef GUEST_TESTS_ACCEL_H
#define GUEST_TESTS_ACCEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <uiommu/accel.h>

#include "uiommu_accel.h"

#define CHECK(condition)                                                                                                           \
	do {                                                                                                                       \
		if (!(condition))                                                                                                  \
			failed(__FILE__, __LINE__, #condition);                                                                    \
	} while (0)

enum {
	PAGE = 4096,
	RECORD = UIOMMU_ACCEL_RECORD_VALID | UIOMMU_ACCEL_REQUEST_RECORD,
	BLOCK = UIOMMU_ACCEL_BLOCK_ON_FAULT,
	INVALID = UIOMMU_ACCEL_PAGE_FAULT_INVALID,
	WRITE_FAULT = UIOMMU_ACCEL_FAULT_WRITE,
};

struct accel {
	int fd;
	volatile uint64_t *doorbell; /* NULL: not mapped */
	struct uiommu_accel_desc *ring;
	uint32_t entries, tail;
	uint32_t pasid, page;
};

_Noreturn void failed(const char *file, int line, const char *what);

/* Bind this process, with a ring. */
void accel_open(struct accel *accel, uint32_t entries);
void accel_close(struct accel *accel);

/* Waits for room. @record: set to 0 first. */
void accel_submit(struct accel *accel, const struct uiommu_accel_desc *desc);

/* Wait for a status, and give it. With REQUEST_INTERRUPT it sleeps. */
unsigned int accel_wait(struct accel *accel, const struct uiommu_accel_record *record);

/* One descriptor from beginning to end: its status. @record may be NULL: then one of the library's is used. */
unsigned int accel_do(struct accel *accel, const struct uiommu_accel_desc *desc, struct uiommu_accel_record *record);

/* Of @size bytes; flags beside those of the record. */
struct uiommu_accel_desc accel_move(void *to, const void *from, size_t size, uint32_t flags);
struct uiommu_accel_desc accel_fill(void *to, uint64_t pattern, size_t size, uint32_t flags);

/* Pages that nothing has touched. */
uint8_t *fresh(size_t pages);

/* Bytes that depend on place and @seed. */
void scramble(void *memory, size_t size, unsigned int seed);
bool scrambled(const void *memory, size_t size, unsigned int seed);

#endif
