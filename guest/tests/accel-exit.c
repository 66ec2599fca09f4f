/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Processes that end while the device is at their memory: they exit, are killed, or close the file. Memory that they shared with
 * their parent is not touched once their doorbell page is free. (That may be after the parent has heard of the end: a page fault
 * under way keeps memory and files for a moment.)
 */
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "accel.h"

enum { ROUNDS = 24, PAGES = 1024, WORK = 48 };

enum { EXITS, IS_KILLED, CLOSES, WAYS };

/* Fill the shared pages and own ones, again and again, and go on until the end. */
static void work(uint8_t *shared, unsigned int way)
{
	uint8_t *own = fresh(PAGES);
	struct accel accel;

	accel_open(&accel, 64);
	for (unsigned int i = 0; i < WORK; i++) {
		struct uiommu_accel_desc desc =
			accel_fill(i % 2 ? own : shared, UINT64_C(0x0101010101010101) * (i + 1), (size_t)PAGES * PAGE, BLOCK);

		accel_submit(&accel, &desc);
	}
	while (!*(volatile uint8_t *)shared)
		;
	if (way == IS_KILLED)
		kill(getpid(), SIGKILL);
	if (way == CLOSES)
		close(accel.fd);
	_exit(0);
}

static uint64_t sum(const uint8_t *memory)
{
	uint64_t result = 0;

	for (size_t i = 0; i < (size_t)PAGES * PAGE; i += 8)
		result = result * 31 + *(const uint64_t *)(const void *)(memory + i);
	return result;
}

int main(void)
{
	uint8_t *shared = mmap(NULL, (size_t)PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct uiommu_accel_desc desc;
	struct accel accel;
	uint64_t before;

	CHECK(shared != MAP_FAILED);
	for (unsigned int i = 0; i < ROUNDS; i++) {
		pid_t child;

		memset(shared, 0, PAGE);
		child = fork();
		if (!child)
			work(shared, i % WAYS);
		CHECK(child > 0 && waitpid(child, NULL, 0) == child);
		for (accel_open(&accel, 8); accel.page; accel_open(&accel, 8)) {
			accel_close(&accel);
			sched_yield();
		}
		/* Nothing is under way: what is there now stays. Another process's work makes the time pass. */
		before = sum(shared);
		desc = accel_fill(fresh(64), 1, 64 * PAGE, BLOCK);
		CHECK(accel_do(&accel, &desc, NULL) == UIOMMU_ACCEL_SUCCESS);
		accel_close(&accel);
		CHECK(sum(shared) == before && shared[0]);
	}
	printf("%u processes\npassed\n", ROUNDS);
	return 0;
}
