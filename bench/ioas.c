/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ioas_map_unmap_*: one random area of many is unmapped and another one mapped, through the public calls. Areas are 4 KiB to 2 MiB
 * of own memory at random addresses; no thread is a reader. A map that would overlap is tried again elsewhere, which is rare.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uiommu/ioas.h>

#include "harness.h"
#include "support/support.h"

enum { PAGE = 4096, PAGES_MAX = 512, PAIRS = 50000, REPEATS = 60 };

#define SPAN (UINT64_C(1) << 46)

struct live {
	uint64_t iova;
	uint64_t length;
};

struct run {
	struct uiommu_context *context;
	uint32_t ioas;
	struct live *live;
	unsigned int count;
	unsigned int next; /* they are in random order */
	uint64_t seed;
};

static uint64_t random_number(struct run *run)
{
	run->seed ^= run->seed << 13;
	run->seed ^= run->seed >> 7;
	run->seed ^= run->seed << 17;
	return run->seed;
}

static struct live map_somewhere(struct run *run)
{
	struct uiommu_ioas_map map = {
		.size = sizeof(map),
		.flags = UIOMMU_MAP_FIXED | UIOMMU_MAP_READ | UIOMMU_MAP_WRITE,
		.ioas_id = run->ioas,
		.address = run,
	};

	do {
		uint64_t random = random_number(run);

		map.iova = random % SPAN / PAGE * PAGE;
		map.length = (1 + (random >> 50) % PAGES_MAX) * PAGE;
	} while (uiommu_ioas_map(run->context, &map));
	return (struct live){map.iova, map.length};
}

static double pairs(void *opaque)
{
	struct run *run = opaque;
	double begin = bench_now_ns();

	for (unsigned int i = 0; i < PAIRS; i++) {
		struct live *live = &run->live[run->next];

		support_check(!uiommu_ioas_unmap(run->context, run->ioas, live->iova, live->length, NULL));
		*live = map_somewhere(run);
		run->next = (run->next + 1) % run->count;
	}
	return (bench_now_ns() - begin) / PAIRS;
}

static void shuffle(struct run *run)
{
	for (unsigned int i = run->count; i > 1; i--) {
		unsigned int other = (unsigned int)(random_number(run) % i);
		struct live live = run->live[i - 1];

		run->live[i - 1] = run->live[other];
		run->live[other] = live;
	}
}

static void measure(const char *name, unsigned int count, double limit)
{
	struct run run = {.count = count, .seed = 88172645463325252u, .live = calloc(count, sizeof(*run.live))};
	struct bench_sample sample;
	char note[64];

	support_check(run.live);
	support_check(!uiommu_open(NULL, &run.context));
	support_check(!uiommu_ioas_alloc(run.context, &run.ioas));
	for (unsigned int i = 0; i < count; i++)
		run.live[i] = map_somewhere(&run);
	shuffle(&run);
	sample = bench_measure(pairs, &run, REPEATS);
	snprintf(note, sizeof(note), "median %.6g", sample.median);
	bench_report_value(name, "ns", sample.min, limit, note);
	support_check(!uiommu_close(run.context));
	free(run.live);
}

int main(void)
{
	bench_pin(0, 1);
	measure("ioas_map_unmap_1k_areas", 1000, -1);
	measure("ioas_map_unmap_100k_areas", 100000, 600);
	measure("ioas_map_unmap_1M_areas", 1000000, 1400);
	return 0;
}
