/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * accel-steady SEED FILE: the accelerator has something to do at any moment, page faults included, and all that it has done is
 * looked at, until FILE is there.
 */
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "accel.h"

enum { MOVES = 8, PAGES = 16, SIZE = PAGES * PAGE };

struct move {
	struct uiommu_accel_record record;
	uint8_t *memory;
};

static void submit(struct accel *accel, struct move *move, const uint8_t *source)
{
	struct uiommu_accel_desc desc = accel_move(move->memory, source, SIZE, BLOCK | RECORD | UIOMMU_ACCEL_REQUEST_INTERRUPT);

	memset(&move->record, 0, sizeof(move->record));
	desc.completion_address = (uintptr_t)&move->record;
	accel_submit(accel, &desc);
}

/* What comes next overwrites zeroes; of the first one it meets pages that are not there. */
static void clear(struct move *move, bool first)
{
	if (first)
		CHECK(!madvise(move->memory, SIZE, MADV_DONTNEED));
	else
		memset(move->memory, 0, SIZE);
}

int main(int argc, char **argv)
{
	unsigned int seed = argc == 3 ? (unsigned int)atoi(argv[1]) : 0;
	static struct move moves[MOVES];
	uint8_t *source = fresh(PAGES);
	struct accel accel;

	CHECK(argc == 3);
	scramble(source, SIZE, seed);
	accel_open(&accel, MOVES);
	for (unsigned int i = 0; i < MOVES; i++) {
		moves[i].memory = fresh(PAGES);
		submit(&accel, &moves[i], source);
	}
	for (unsigned int turn = 1; access(argv[2], F_OK); turn++) {
		for (unsigned int i = 0; i < MOVES; i++) {
			CHECK(accel_wait(&accel, &moves[i].record) == UIOMMU_ACCEL_SUCCESS);
			CHECK(scrambled(moves[i].memory, SIZE, seed));
			clear(&moves[i], !i);
			submit(&accel, &moves[i], source);
		}
		printf("PASID %u at %p, turn %u\n", accel.pasid, (void *)source, turn);
		fflush(stdout);
	}
	for (unsigned int i = 0; i < MOVES; i++)
		CHECK(accel_wait(&accel, &moves[i].record) == UIOMMU_ACCEL_SUCCESS);
	accel_close(&accel);
	printf("passed\n");
	return 0;
}
