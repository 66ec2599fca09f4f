/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Page requests without an end: the device fills pages that nobody has touched, and while it is at one area the other's pages are
 * given back. It never runs out of work, so when the processors stop it ends at a page that nobody can supply any more.
 */
#include <sys/mman.h>

#include "accel.h"

enum { AREAS = 2, PAGES = 4096 };

int main(void)
{
	static struct uiommu_accel_record records[AREAS];
	uint8_t *areas[AREAS];
	struct accel accel;

	accel_open(&accel, 8);
	for (unsigned int i = 0;; i++) {
		unsigned int area = i % AREAS;
		struct uiommu_accel_desc desc;

		if (i < AREAS) {
			areas[area] = fresh(PAGES);
			madvise(areas[area], (size_t)PAGES * PAGE, MADV_NOHUGEPAGE); /* a kernel that has none refuses */
		} else {
			CHECK(accel_wait(&accel, &records[area]) == UIOMMU_ACCEL_SUCCESS);
		}
		CHECK(!madvise(areas[area], (size_t)PAGES * PAGE, MADV_DONTNEED));
		records[area].status = 0;
		desc = accel_fill(areas[area], i, (size_t)PAGES * PAGE, BLOCK);
		desc.completion_address = (uintptr_t)&records[area];
		desc.flags_opcode |= RECORD | UIOMMU_ACCEL_REQUEST_INTERRUPT;
		accel_submit(&accel, &desc);
		if (i == AREAS - 1) {
			printf("begun\n");
			fflush(stdout);
		}
	}
}
