/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * accel-many PROCESSES ROUNDS: so many processes at once, each with its own PASID, all of them at the same address with different
 * contents; and that so often, one set after the other.
 */
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "accel.h"

enum { PROCESSES_MAX = 500, PAGES = 4, TURNS = 8 };

#define PLACE ((void *)UINT64_C(0x600000000000))

struct shared {
	uint32_t pasids[PROCESSES_MAX];
};

static void one(struct shared *shared, unsigned int number, unsigned int seed, int bound, int go)
{
	uint8_t *memory =
		mmap(PLACE, (size_t)2 * PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	struct uiommu_accel_desc desc = accel_move(memory + PAGES * PAGE, memory, PAGES * PAGE, BLOCK);
	struct accel accel;
	char c;

	CHECK(memory == PLACE);
	accel_open(&accel, 8);
	shared->pasids[number] = accel.pasid;
	scramble(memory, PAGES * PAGE, seed);
	CHECK(write(bound, "", 1) == 1 && read(go, &c, 1) == 1);
	for (unsigned int i = 0; i < TURNS; i++) {
		CHECK(accel_do(&accel, &desc, NULL) == UIOMMU_ACCEL_SUCCESS);
		CHECK(scrambled(memory + PAGES * PAGE, PAGES * PAGE, seed));
		memset(memory + PAGES * PAGE, 0, PAGES * PAGE);
	}
	_exit(0);
}

static void check_different(const struct shared *shared, unsigned int count)
{
	for (unsigned int i = 0; i < count; i++)
		for (unsigned int j = 0; j < i; j++)
			CHECK(shared->pasids[i] && shared->pasids[i] != shared->pasids[j]);
}

/* All of them are bound before the first one begins. */
static void round_of(struct shared *shared, unsigned int count, unsigned int round)
{
	int bound[2], go[2], status;
	char c;

	CHECK(!pipe(bound) && !pipe(go));
	for (unsigned int i = 0; i < count; i++) {
		pid_t child = fork();

		CHECK(child >= 0);
		if (!child)
			one(shared, i, round * 7 + i, bound[1], go[0]);
	}
	for (unsigned int i = 0; i < count; i++)
		CHECK(read(bound[0], &c, 1) == 1);
	check_different(shared, count);
	for (unsigned int i = 0; i < count; i++)
		CHECK(write(go[1], "", 1) == 1);
	for (unsigned int i = 0; i < count; i++)
		CHECK(wait(&status) > 0 && WIFEXITED(status) && !WEXITSTATUS(status));
	for (unsigned int i = 0; i < 2; i++) {
		close(bound[i]);
		close(go[i]);
	}
}

int main(int argc, char **argv)
{
	struct shared *shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	unsigned int processes = argc == 3 ? (unsigned int)atoi(argv[1]) : 0, rounds = argc == 3 ? (unsigned int)atoi(argv[2]) : 0;
	uint32_t highest = 0;

	CHECK(shared != MAP_FAILED && processes && processes <= PROCESSES_MAX && rounds);
	for (unsigned int i = 0; i < rounds; i++) {
		round_of(shared, processes, i);
		for (unsigned int j = 0; j < processes; j++)
			highest = shared->pasids[j] > highest ? shared->pasids[j] : highest;
	}
	printf("%u processes, %u times, PASIDs up to %u\npassed\n", processes, rounds, highest);
	return 0;
}
