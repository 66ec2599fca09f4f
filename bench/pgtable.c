/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * map_1G_as_4K_*: 1 GiB is mapped in a VT-d second stage with 4 KiB pages, all at once.
 *
 * warm: the tables' pages are those of the map before, which has been unmapped: they are in the pool. The floor is a release store
 * of as many entries. cold: an instance that has nothing but its root. The floor is the first touch of as many pages as the tables
 * have.
 */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "harness.h"
#include "pgtable/vtd_build.h"
#include "support/support.h"
#include "util/util.h"

enum { PAGE = 4096, REPEATS = 60, PAGES = 1 << 18, LEAF_TABLES = PAGES / 512, TABLES = LEAF_TABLES + 2, READ_WRITE = 3 };

#define LENGTH ((uint64_t)PAGES * PAGE)
#define IOVA (UINT64_C(7) << 30)
#define OUTPUT (UINT64_C(1) << 40 | PAGE) /* not aligned to more than 4 KiB */

struct run {
	struct vtd_tables tables;
	uint64_t *entries;
};

static double map_all(struct vtd_tables *tables)
{
	double begin = bench_now_ns();

	support_check_errno(vtd_tables_map(tables, IOVA, LENGTH, OUTPUT, READ_WRITE), "vtd_tables_map");
	return bench_now_ns() - begin;
}

static void open_tables(struct vtd_tables *tables)
{
	support_check_errno(vtd_tables_init(tables, 4, UIOMMU_VTD_SECOND_AD | UIOMMU_VTD_SECOND_2M | UIOMMU_VTD_SECOND_1G),
			    "vtd_tables_init");
}

static double warm(void *opaque)
{
	struct run *run = opaque;
	double time = map_all(&run->tables);

	support_check_errno(vtd_tables_unmap(&run->tables, IOVA, IOVA + LENGTH - 1, NULL, NULL), "vtd_tables_unmap");
	vtd_tables_reclaim(&run->tables, vtd_tables_retired(&run->tables));
	return time;
}

static double store_entries(void *opaque)
{
	uint64_t *entries = ((struct run *)opaque)->entries, *end = entries + PAGES, value = OUTPUT + READ_WRITE;
	double begin = bench_now_ns();

	for (; entries < end; entries++, value += PAGE)
		__atomic_store_n(entries, value, __ATOMIC_RELEASE);
	return bench_now_ns() - begin;
}

static double cold(void *opaque)
{
	struct vtd_tables tables;
	double time;

	(void)opaque;
	open_tables(&tables);
	time = map_all(&tables);
	vtd_tables_fini(&tables);
	return time;
}

static double touch(void *opaque)
{
	const size_t size = (size_t)TABLES * PAGE;
	double begin = bench_now_ns(), time;
	volatile uint8_t *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	(void)opaque;
	support_check(memory != MAP_FAILED);
	for (size_t i = 0; i < size; i += PAGE)
		memory[i] = 1;
	time = bench_now_ns() - begin;
	munmap((void *)memory, size);
	return time;
}

int main(void)
{
	struct run run = {.entries = aligned_alloc(sizeof(uint64_t) * PAGES, sizeof(uint64_t) * PAGES)};
	struct bench_pair pair;

	bench_pin(0, 1);
	support_check(run.entries);
	madvise(run.entries, sizeof(uint64_t) * PAGES, MADV_HUGEPAGE); /* as the tables are */
	support_check(mallopt(M_MMAP_THRESHOLD, 128 * 1024)); /* or what is freed would not be cold */
	open_tables(&run.tables);
	warm(&run);
	store_entries(&run);
	pair = bench_measure_pair(warm, store_entries, &run, REPEATS);
	bench_report_pair("map_1G_as_4K_warm", "ns", &pair, 3, "");
	vtd_tables_fini(&run.tables);
	pair = bench_measure_pair(cold, touch, NULL, REPEATS);
	bench_report_pair("map_1G_as_4K_cold", "ns", &pair, 1.3, "");
	free(run.entries);
	return 0;
}
