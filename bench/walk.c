/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * walk_*: what a page-table walk costs when the tables are in the cache, beside a bare chase through tables of the same shape: no
 * check, no permission, nothing but the loads. 1024 pages in random order.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "harness.h"
#include "memory/areas.h"
#include "pgtable/arm.h"
#include "pgtable/pgtable.h"
#include "pgtable/riscv.h"
#include "pgtable/vtd.h"
#include "support/support.h"
#include "util/bits.h"

enum { PAGE = 4096, PAGES = 1024, WALKS = 1 << 16, REPEATS = 60, LEVELS = 4, REGIONS = 8 };

#define BASE UINT64_C(0x123456000000)
#define ADDRESS GENMASK64(47, 12)

/* Tables of four levels of 512 entries; how an entry of each kind looks. */
struct shape {
	const char *name;
	const struct pgtable_format *format;
	struct pgtable_config config;
	unsigned int flags;
	double limit;
	uint64_t (*table)(uint64_t address, unsigned int level);
	uint64_t (*leaf)(uint64_t address);
	uint64_t mask; /* the address of a table is (entry & mask) << shift; 0: ADDRESS */
	unsigned int shift;
};

/* Where tables and pages are: addresses from 0 on, in one mapping or in several. */
struct memory {
	uint8_t *host[REGIONS];
	unsigned int regions;
	uint64_t region_size;
	uint64_t next; /* page that is free */
};

struct region {
	uint64_t start, end;
	uint8_t *host;
};

struct run {
	const struct shape *shape;
	struct memory memory;
	struct pgtable pgtable, stage2;
	struct areas areas;
	struct region regions[REGIONS];
	uint64_t bare_root; /* of tables with plain addresses */
	uint64_t bare_stage2;
	uint64_t *addresses;
	uint8_t *bare_host;
};

static uint64_t bare_entry(uint64_t address, unsigned int level)
{
	(void)level;
	return address;
}

static uint64_t bare_leaf(uint64_t address)
{
	return address;
}

static uint64_t second_table(uint64_t address, unsigned int level)
{
	(void)level;
	return address | 0x103;
}

static uint64_t second_leaf(uint64_t address)
{
	return address | 0x303;
}

static uint64_t first_table(uint64_t address, unsigned int level)
{
	(void)level;
	return address | 0x27;
}

static uint64_t first_leaf(uint64_t address)
{
	return address | 0x67;
}

static uint64_t arm_table(uint64_t address, unsigned int level)
{
	(void)level;
	return address | 0x3;
}

static uint64_t arm_first_leaf(uint64_t address)
{
	return address | 0x743; /* AF, inner shareable, EL0 */
}

static uint64_t arm_second_leaf(uint64_t address)
{
	return address | 0x7ff;
}

static uint64_t sv_table(uint64_t address, unsigned int level)
{
	(void)level;
	return address >> 2 | 0x1;
}

static uint64_t sv_leaf(uint64_t address)
{
	return address >> 2 | 0xdf; /* D, A, U, X, W, R, V */
}

static uint64_t amd_table(uint64_t address, unsigned int level)
{
	return address | UINT64_C(3) << 61 | (uint64_t)level << 9 | 0x1;
}

static uint64_t amd_leaf(uint64_t address)
{
	return address | UINT64_C(3) << 61 | 0x1;
}

static uint8_t *at(const struct memory *memory, uint64_t address)
{
	return memory->host[address / memory->region_size] + address % memory->region_size;
}

static void memory_make(struct memory *memory, unsigned int regions, uint64_t region_size)
{
	*memory = (struct memory){.regions = regions, .region_size = region_size, .next = 1};
	for (unsigned int i = 0; i < regions; i++) {
		memory->host[i] = mmap(NULL, region_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		support_check(memory->host[i] != MAP_FAILED);
	}
}

static void memory_free(struct memory *memory)
{
	for (unsigned int i = 0; i < memory->regions; i++)
		munmap(memory->host[i], memory->region_size);
}

/* Pages in turn of all regions. */
static uint64_t page_make(struct memory *memory)
{
	uint64_t number = memory->next++;

	return number % memory->regions * memory->region_size + number / memory->regions * PAGE;
}

/* Some are four pages, aligned to that. */
static uint64_t root_make(struct memory *memory)
{
	if (memory->regions == 1) {
		memory->next = (memory->next + 3) & ~UINT64_C(3);
		memory->next += 3;
		return page_make(memory) - UINT64_C(3) * PAGE;
	}
	return page_make(memory);
}

static void map(struct memory *memory, uint64_t root, uint64_t iova, uint64_t page, uint64_t (*table)(uint64_t, unsigned int),
		uint64_t (*leaf)(uint64_t), uint64_t mask, unsigned int shift)
{
	uint64_t address = root;
	uint64_t *entry;

	for (unsigned int level = LEVELS - 1; level; level--) {
		entry = (uint64_t *)(void *)at(memory, address) + (iova >> (12 + 9 * level) & 511);
		if (!*entry)
			*entry = table(page_make(memory), level);
		address = (*entry & mask) << shift;
	}
	((uint64_t *)(void *)at(memory, address))[iova >> 12 & 511] = leaf(page);
}

static __attribute__((noinline)) uint64_t chase(const uint8_t *host, uint64_t root, uint64_t iova)
{
	uint64_t address = root;

#pragma GCC unroll 4
	for (unsigned int shift = 39; shift >= 12; shift -= 9)
		address = *(const uint64_t *)(const void *)(host + address + (iova >> shift & 511) * 8) & ADDRESS;
	return address | (iova & (PAGE - 1));
}

static double bare(void *opaque)
{
	const struct run *run = opaque;
	double begin = bench_now_ns();
	uint64_t sum = 0;

	for (unsigned int i = 0; i < WALKS; i++)
		sum += chase(run->bare_host, run->bare_root, run->addresses[i]);
	support_check(sum);
	return (bench_now_ns() - begin) / WALKS;
}

static __attribute__((noinline)) uint64_t chase_nested(const uint8_t *host, uint64_t root, uint64_t stage2, uint64_t iova)
{
	uint64_t address = root;

#pragma GCC unroll 4
	for (unsigned int shift = 39; shift >= 12; shift -= 9) {
		address = chase(host, stage2, address + (iova >> shift & 511) * 8);
		address = *(const uint64_t *)(const void *)(host + address) & ADDRESS;
	}
	return chase(host, stage2, address | (iova & (PAGE - 1)));
}

static double bare_nested(void *opaque)
{
	const struct run *run = opaque;
	double begin = bench_now_ns();
	uint64_t sum = 0;

	for (unsigned int i = 0; i < WALKS; i++)
		sum += chase_nested(run->bare_host, run->bare_root, run->bare_stage2, run->addresses[i]);
	support_check(sum);
	return (bench_now_ns() - begin) / WALKS;
}

static inline const uint8_t *region_find(const struct region *regions, uint64_t address)
{
	for (unsigned int i = 0; i < REGIONS; i++)
		if (address < regions[i].end)
			return regions[i].host + (address - regions[i].start);
	return NULL;
}

static __attribute__((noinline)) uint64_t chase_regions(const struct region *regions, uint64_t root, uint64_t iova)
{
	uint64_t address = root;

#pragma GCC unroll 4
	for (unsigned int shift = 39; shift >= 12; shift -= 9)
		address = *(const uint64_t *)(const void *)region_find(regions, address + (iova >> shift & 511) * 8) & ADDRESS;
	return address | (iova & (PAGE - 1));
}

static double bare_regions(void *opaque)
{
	const struct run *run = opaque;
	double begin = bench_now_ns();
	uint64_t sum = 0;

	for (unsigned int i = 0; i < WALKS; i++)
		sum += chase_regions(run->regions, run->bare_root, run->addresses[i]);
	support_check(sum);
	return (bench_now_ns() - begin) / WALKS;
}

static double walks(void *opaque)
{
	const struct run *run = opaque;
	struct pgtable_result result;
	double begin = bench_now_ns();
	uint64_t sum = 0;

	for (unsigned int i = 0; i < WALKS; i++) {
		run->pgtable.walk(&run->pgtable, run->addresses[i], run->shape->flags, &result);
		support_check(!result.reason);
		sum += result.oa;
	}
	support_check(sum);
	return (bench_now_ns() - begin) / WALKS;
}

static double translations(void *opaque)
{
	const struct run *run = opaque;
	struct pgtable_result result;
	double begin = bench_now_ns();
	uint64_t sum = 0;

	for (unsigned int i = 0; i < WALKS; i++) {
		pgtable_translate(&run->pgtable, run->addresses[i], run->shape->flags, &result);
		support_check(!result.reason);
		sum += result.oa;
	}
	support_check(sum);
	return (bench_now_ns() - begin) / WALKS;
}

/* The same pages and addresses in the format's tables and in bare ones. */
static void tables_make(struct run *run, const struct shape *shape, uint64_t *root)
{
	struct memory *memory = &run->memory;

	*root = root_make(memory);
	run->bare_root = page_make(memory);
	for (unsigned int i = 0; i < PAGES; i++) {
		uint64_t page = page_make(memory), iova = BASE + (uint64_t)i * PAGE;

		map(memory, *root, iova, page, shape->table, shape->leaf, shape->mask ? shape->mask : ADDRESS, shape->shift);
		map(memory, run->bare_root, iova, page, bare_entry, bare_leaf, ADDRESS, 0);
	}
}

static void addresses_make(struct run *run)
{
	run->addresses = malloc(WALKS * sizeof(*run->addresses));
	support_check(run->addresses);
	srand(1);
	for (unsigned int i = 0; i < WALKS; i++)
		run->addresses[i] = BASE + (uint64_t)(rand() % PAGES) * PAGE + (uint64_t)(rand() % PAGE);
}

static void single(const struct shape *shape)
{
	struct run run = {.shape = shape};
	struct pgtable_config config = shape->config;
	struct pgtable_memory memory;
	struct bench_pair pair;

	memory_make(&run.memory, 1, 16 << 20);
	tables_make(&run, shape, &config.base[0]);
	addresses_make(&run);
	run.bare_host = run.memory.host[0];
	memory = (struct pgtable_memory){.window = {0, 16 << 20, run.memory.host[0], true}};
	support_check(!pgtable_init(&run.pgtable, shape->format, &config, &memory));
	pair = bench_measure_pair(walks, bare, &run, REPEATS);
	bench_report_pair(shape->name, "ns", &pair, shape->limit, "bare 4-level chase");
	free(run.addresses);
	memory_free(&run.memory);
}

/* Every page of the memory through stage 2 to itself. */
static void nested(const char *name, const struct shape *first, const struct shape *second, double limit)
{
	struct run run = {.shape = first};
	struct pgtable_config config = first->config, config2 = second->config;
	struct pgtable_memory flat, below;
	struct bench_pair pair;
	uint64_t used;

	memory_make(&run.memory, 1, 64 << 20);
	tables_make(&run, first, &config.base[0]);
	addresses_make(&run);
	run.bare_host = run.memory.host[0];
	used = run.memory.next;
	config2.base[0] = root_make(&run.memory);
	run.bare_stage2 = page_make(&run.memory);
	for (uint64_t page = 0; page < used; page++) {
		map(&run.memory, config2.base[0], page * PAGE, page * PAGE, second->table, second->leaf,
		    second->mask ? second->mask : ADDRESS, second->shift);
		map(&run.memory, run.bare_stage2, page * PAGE, page * PAGE, bare_entry, bare_leaf, ADDRESS, 0);
	}
	flat = (struct pgtable_memory){.window = {0, 64 << 20, run.memory.host[0], true}};
	support_check(!pgtable_init(&run.stage2, second->format, &config2, &flat));
	below = flat;
	below.stage2 = &run.stage2;
	support_check(!pgtable_init(&run.pgtable, first->format, &config, &below));
	pair = bench_measure_pair(translations, bare_nested, &run, REPEATS);
	bench_report_pair(name, "ns", &pair, limit, "bare 24-load chase");
	free(run.addresses);
	memory_free(&run.memory);
}

static void areas_make(struct run *run)
{
	areas_init(&run->areas);
	for (unsigned int i = 0; i < REGIONS; i++) {
		uint64_t start = i * run->memory.region_size;
		struct area *area = areas_alloc(&run->areas);

		support_check(area);
		area->start = start;
		area->last = start + run->memory.region_size - 1;
		area->host = run->memory.host[i];
		area->access = area->limit = UIOMMU_READ | UIOMMU_WRITE;
		area->resident = true;
		support_check(!areas_insert(&run->areas, area));
		run->regions[i] = (struct region){start, start + run->memory.region_size, run->memory.host[i]};
	}
}

static void guest(const char *name, const struct shape *shape, double limit)
{
	struct run run = {.shape = shape};
	struct pgtable_config config = shape->config;
	struct pgtable_memory memory = {.areas = &run.areas};
	struct bench_pair pair;

	memory_make(&run.memory, REGIONS, 2 << 20);
	tables_make(&run, shape, &config.base[0]);
	addresses_make(&run);
	areas_make(&run);
	support_check(!pgtable_init(&run.pgtable, shape->format, &config, &memory));
	pair = bench_measure_pair(walks, bare_regions, &run, REPEATS);
	bench_report_pair(name, "ns", &pair, limit, "bare chase, a lookup among 8 regions for each load");
	areas_fini(&run.areas);
	free(run.addresses);
	memory_free(&run.memory);
}

static const struct shape second4 = {
	.name = "walk_vtd_ss4",
	.format = &pgtable_vtd_second,
	.config = {.levels = 4,
		   .output_lg2 = 48,
		   .flags = UIOMMU_VTD_SECOND_AD | UIOMMU_VTD_SECOND_SNOOP | UIOMMU_VTD_SECOND_2M | UIOMMU_VTD_SECOND_1G},
	.flags = UIOMMU_READ,
	.limit = 3.5,
	.table = second_table,
	.leaf = second_leaf,
};

static const struct shape first4 = {
	.name = "walk_vtd_fs4",
	.format = &pgtable_vtd_first,
	.config = {.levels = 4, .output_lg2 = 48, .flags = UIOMMU_VTD_FIRST_WPE | UIOMMU_VTD_FIRST_NXE | UIOMMU_VTD_FIRST_1G},
	.flags = UIOMMU_READ | PGTABLE_USER,
	.limit = 3.5,
	.table = first_table,
	.leaf = first_leaf,
};

static const struct shape lpae_s1 = {
	.name = "walk_lpae4k_s1",
	.format = &pgtable_arm_s1,
	.config = {.input_lg2 = {48}, .granule_lg2 = {12}, .output_lg2 = 48, .flags = UIOMMU_ARM_EPD1},
	.flags = UIOMMU_READ | PGTABLE_USER,
	.limit = 3.5,
	.table = arm_table,
	.leaf = arm_first_leaf,
};

static const struct shape lpae_s2 = {
	.format = &pgtable_arm_s2,
	.config = {.input_lg2 = {48}, .granule_lg2 = {12}, .levels = 4, .output_lg2 = 48},
	.table = arm_table,
	.leaf = arm_second_leaf,
};

static const struct shape sv48 = {
	.name = "walk_sv48",
	.format = &pgtable_riscv_first,
	.config = {.input_lg2 = {48}, .output_lg2 = 56, .flags = UIOMMU_RISCV_ADUE},
	.flags = UIOMMU_READ | PGTABLE_USER,
	.limit = 3.8,
	.table = sv_table,
	.leaf = sv_leaf,
	.mask = GENMASK64(53, 10),
	.shift = 2,
};

static const struct shape sv48x4 = {
	.format = &pgtable_riscv_second,
	.config = {.input_lg2 = {50}, .output_lg2 = 56, .flags = UIOMMU_RISCV_ADUE},
	.table = sv_table,
	.leaf = sv_leaf,
	.mask = GENMASK64(53, 10),
	.shift = 2,
};

static const struct shape amd_v1 = {
	.name = "walk_amdv1",
	.format = &pgtable_amd_v1,
	.config = {.levels = 4, .output_lg2 = 48},
	.flags = UIOMMU_READ,
	.limit = 6,
	.table = amd_table,
	.leaf = amd_leaf,
};

int main(void)
{
	bench_pin(0, 1);
	single(&second4);
	single(&first4);
	single(&lpae_s1);
	single(&sv48);
	single(&amd_v1);
	nested("walk_nested_vtd", &first4, &second4, 2.2);
	nested("walk_nested_lpae", &lpae_s1, &lpae_s2, 2.2);
	nested("walk_nested_sv48", &sv48, &sv48x4, 2.2);
	guest("walk_guest_fs4", &first4, 3);
	return 0;
}
