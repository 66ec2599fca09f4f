/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * For bench/guest: how long a descriptor takes whose page is there, and one whose page nothing has touched, so that it takes a page
 * request, the kernel's fault, a page response, and the access again. Prints for each, in ns: the least, the median, and the 99th
 * of 100.
 *
 *	accel-latency COUNT
 */
#include <sched.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "accel.h"

static uint64_t now_ns(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

static int compare(const void *a, const void *b)
{
	const uint64_t *left = a, *right = b;

	return *left < *right ? -1 : *left > *right;
}

/* From the doorbell to the record, which is looked at all the time. */
static uint64_t one(struct accel *accel, uint64_t *page)
{
	static struct uiommu_accel_record record;
	struct uiommu_accel_desc desc = accel_fill(page, 0x5a5a5a5a5a5a5a5a, sizeof(*page), BLOCK | RECORD);
	uint64_t start;

	memset(&record, 0, sizeof(record));
	desc.completion_address = (uintptr_t)&record;
	start = now_ns();
	accel_submit(accel, &desc);
	while (!__atomic_load_n(&record.status, __ATOMIC_ACQUIRE))
		sched_yield();
	start = now_ns() - start;
	CHECK(record.status == UIOMMU_ACCEL_SUCCESS && *page == 0x5a5a5a5a5a5a5a5a);
	return start;
}

static void measure(struct accel *accel, unsigned int count, bool touched)
{
	uint64_t *times = calloc(count, sizeof(*times)), *page = (void *)fresh(1);

	CHECK(times && count);
	for (unsigned int i = 0; i < count; i++) {
		if (!touched)
			CHECK(!madvise(page, PAGE, MADV_DONTNEED));
		else
			*page = i;
		times[i] = one(accel, page);
	}
	qsort(times, count, sizeof(*times), compare);
	printf("%llu %llu %llu\n", (unsigned long long)times[0], (unsigned long long)times[count / 2],
	       (unsigned long long)times[count - 1 - count / 100]);
	free(times);
}

int main(int argc, char **argv)
{
	struct accel accel;

	CHECK(argc == 2);
	accel_open(&accel, 16);
	measure(&accel, (unsigned int)atoi(argv[1]), true);
	measure(&accel, (unsigned int)atoi(argv[1]), false);
	accel_close(&accel);
	return 0;
}
