/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Two stages whose tables are in one window: what their own walkers find is what others find, with entries that are usual, that
 * have bits nobody looks at, and that are wrong in every way one bit or one address can be.
 */
#include "test.h"

#include "pgtable/amd.h"
#include "pgtable/arm.h"
#include "pgtable/pgtable.h"
#include "pgtable/riscv.h"
#include "pgtable/vtd.h"
#include "util/bits.h"

/*
 * Pages. The second half of the window is stage 1's, and it sees that twice: as small pages from 0 on, and as one page of 2 MiB.
 * Behind the window there is memory that nobody may read.
 */
enum {
	PAGE = 4096,
	ENTRIES = 512,
	SECOND2 = 8, /* stage 2, tables of level 2 to 0 */
	SECOND1,
	SECOND0,
	SECOND_ROOT = 12,
	HALF = 512,
	ROOT = HALF, /* stage 1 */
	DATA = 7,
	WINDOW = 1024,
	PAGES = 1028,
	KEPT = 20,
	CASES = 40000,
};

#define START UINT64_C(0x40000000)
#define IOVA UINT64_C(0x123456789abc)

static uint64_t arena[PAGES][ENTRIES] __attribute__((aligned(4 * PAGE)));

struct pair {
	const struct pgtable_format *first, *second;
	struct pgtable_config first_config, second_config;
	unsigned int first_shift, second_shift;
	uint64_t table, leaf; /* of stage 1 */
	uint64_t second_table, second_level, second_leaf, second_large; /* of stage 2: @second_level times the level is added */
	uint64_t meaningless; /* a bit of stage 2's entries */
};

static const struct pair pairs[] = {
	{
		.first = &pgtable_vtd_first,
		.second = &pgtable_vtd_second,
		.first_config = {.levels = 4, .output_lg2 = 48, .flags = UIOMMU_VTD_FIRST_WPE | UIOMMU_VTD_FIRST_NXE},
		.second_config = {.levels = 4, .output_lg2 = 48, .flags = UIOMMU_VTD_SECOND_AD | UIOMMU_VTD_SECOND_2M},
		.table = 0x27,
		.leaf = 0x67,
		.second_table = 0x103,
		.second_leaf = 0x303,
		.second_large = 0x383,
		.meaningless = BIT64(56),
	},
	{
		.first = &pgtable_vtd_first,
		.second = &pgtable_amd_v1,
		.first_config = {.levels = 4, .output_lg2 = 48, .flags = UIOMMU_VTD_FIRST_WPE | UIOMMU_VTD_FIRST_NXE},
		.second_config = {.levels = 4, .output_lg2 = 48, .flags = UIOMMU_AMD_V1_ACCESSED | UIOMMU_AMD_V1_DIRTY},
		.table = 0x27,
		.leaf = 0x67,
		.second_table = GENMASK64(62, 61) | 0x21,
		.second_level = 0x200,
		.second_leaf = GENMASK64(62, 61) | 0x61,
		.second_large = GENMASK64(62, 61) | 0x61,
		.meaningless = BIT64(1),
	},
	{
		.first = &pgtable_arm_s1,
		.second = &pgtable_arm_s2,
		.first_config = {.input_lg2 = {48}, .granule_lg2 = {12}, .output_lg2 = 48, .flags = UIOMMU_ARM_EPD1},
		.second_config = {.input_lg2 = {48},
				  .granule_lg2 = {12},
				  .levels = 4,
				  .output_lg2 = 48,
				  .flags = UIOMMU_ARM_HA | UIOMMU_ARM_HD},
		.table = 0x3,
		.leaf = 0x743,
		.second_table = 0x3,
		.second_leaf = 0x7ff,
		.second_large = 0x7fd,
		.meaningless = BIT64(56),
	},
	{
		.first = &pgtable_riscv_first,
		.second = &pgtable_riscv_second,
		.first_config = {.input_lg2 = {48}, .output_lg2 = 56, .flags = UIOMMU_RISCV_ADUE},
		.second_config = {.input_lg2 = {50}, .output_lg2 = 56, .flags = UIOMMU_RISCV_ADUE},
		.first_shift = 2,
		.second_shift = 2,
		.table = 0x1,
		.leaf = 0xdf,
		.second_table = 0x1,
		.second_leaf = 0xdf,
		.second_large = 0xdf,
		.meaningless = BIT64(8),
	},
};

/* What a case uses. */
struct tables {
	struct pgtable first, second;
	uint64_t *entry[KEPT], kept[KEPT];
	unsigned int entries;
};

static uint64_t state_of_random = 1;

static uint64_t random_below(uint64_t limit)
{
	state_of_random = state_of_random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (state_of_random >> 33) % limit;
}

static uint64_t place(unsigned int page)
{
	return START + (uint64_t)page * PAGE;
}

/* Where stage 1 sees the page at @index of its half: in one of two ways. */
static uint64_t seen(unsigned int index)
{
	return (random_below(2) ? UINT64_C(2) << 20 : 0) + (uint64_t)index * PAGE;
}

static void put(struct tables *tables, unsigned int page, uint64_t index, uint64_t entry)
{
	arena[page][index] = entry;
	assert_true(tables->entries < KEPT);
	tables->entry[tables->entries++] = &arena[page][index];
}

static void fill_second(struct tables *tables, const struct pair *pair)
{
	unsigned int shift = pair->second_shift;

	put(tables, SECOND_ROOT, 0, place(SECOND2) >> shift | (pair->second_table + 3 * pair->second_level));
	put(tables, SECOND2, 0, place(SECOND1) >> shift | (pair->second_table + 2 * pair->second_level));
	put(tables, SECOND1, 0, place(SECOND0) >> shift | (pair->second_table + pair->second_level));
	put(tables, SECOND1, 1, place(HALF) >> shift | pair->second_large);
	for (unsigned int index = 0; index <= DATA; index++)
		put(tables, SECOND0, index, place(HALF + index) >> shift | pair->second_leaf);
}

/* Tables at 0, 4, 5 and 6 of the half. */
static void fill_first(struct tables *tables, const struct pair *pair)
{
	unsigned int shift = pair->first_shift;

	put(tables, ROOT, IOVA >> 39 & 511, seen(4) >> shift | pair->table);
	put(tables, ROOT + 4, IOVA >> 30 & 511, seen(5) >> shift | pair->table);
	put(tables, ROOT + 5, IOVA >> 21 & 511, seen(6) >> shift | pair->table);
	put(tables, ROOT + 6, IOVA >> 12 & 511, seen(DATA) >> shift | pair->leaf);
}

static void make(struct tables *tables, const struct pair *pair)
{
	struct pgtable_memory memory = {.window = {START, (uint64_t)WINDOW * PAGE, (uint8_t *)arena, true}};
	struct pgtable_config first = pair->first_config, second = pair->second_config;

	*tables = (struct tables){.entries = 0};
	fill_second(tables, pair);
	fill_first(tables, pair);
	second.base[0] = place(SECOND_ROOT);
	assert_int_equal(pgtable_init(&tables->second, pair->second, &second, &memory), 0);
	memory.stage2 = &tables->second;
	first.base[0] = seen(0);
	assert_int_equal(pgtable_init(&tables->first, pair->first, &first, &memory), 0);
	assert_ptr_equal(tables->first.walk, tables->first.walkers->usual[PGTABLE_PAIRED]);
}

/* Change an entry: a bit, all of it, or where it leads. */
static void spoil(struct tables *tables, const struct pair *pair)
{
	uint64_t *entry = tables->entry[random_below(tables->entries)];

	switch (random_below(4)) {
	case 0:
	case 1:
		*entry ^= BIT64(random_below(64));
		break;
	case 2:
		*entry = random_below(4);
		break;
	default:
		*entry &= ~(place(WINDOW - 1) >> pair->second_shift);
		*entry |= place((unsigned int)random_below(PAGES)) >> pair->second_shift;
	}
}

static void assert_same(const struct pgtable_result *a, const struct pgtable_result *b)
{
	assert_int_equal(a->reason, b->reason);
	assert_int_equal(a->level, b->level);
	assert_int_equal(a->fetches, b->fetches);
	if (a->reason) {
		assert_int_equal(a->stage, b->stage);
		assert_int_equal(a->table, b->table);
		return;
	}
	assert_int_equal(a->oa, b->oa);
	assert_int_equal(a->access, b->access);
	assert_int_equal(a->page_lg2, b->page_lg2);
	assert_int_equal(a->clean, b->clean);
	assert_int_equal(a->attributes, b->attributes);
}

/* What is found, and what has been changed on the way. */
static bool compare(struct tables *tables, unsigned int flags)
{
	struct pgtable other = tables->first;
	struct pgtable_result paired, nested;
	uint64_t before[KEPT] = {0};

	for (unsigned int i = 0; i < tables->entries; i++)
		before[i] = *tables->entry[i];
	pgtable_translate(&tables->first, IOVA, flags, &paired);
	for (unsigned int i = 0; i < tables->entries; i++) {
		tables->kept[i] = *tables->entry[i];
		*tables->entry[i] = before[i];
	}
	other.walk = other.walkers->any[PGTABLE_NESTED];
	pgtable_translate(&other, IOVA, flags, &nested);
	assert_same(&paired, &nested);
	for (unsigned int i = 0; i < tables->entries; i++) {
		assert_int_equal(tables->kept[i], *tables->entry[i]);
		*tables->entry[i] = before[i];
	}
	return !paired.reason;
}

/* Where @ipa is said to be is where it is. */
static bool reaches(const struct pgtable *second, uint64_t ipa)
{
	uintptr_t at = second->reach(second, ipa);
	struct pgtable_result result;

	if ((at & PGTABLE_REACHED) == PGTABLE_REACHES_NOT)
		return false;
	second->walk(second, ipa, UIOMMU_READ | PGTABLE_QUIET, &result);
	assert_int_equal(result.reason, UIOMMU_FAULT_NONE);
	assert_int_equal(at & PGTABLE_REACHED, result.level);
	assert_true(result.oa >= START && result.oa < place(WINDOW));
	assert_ptr_equal((uint8_t *)(at & ~(uintptr_t)PGTABLE_REACHED), (uint8_t *)arena + (result.oa - START));
	return true;
}

static void both_walkers_find_the_same(void **state)
{
	static const unsigned int flags[] = {
		UIOMMU_READ | PGTABLE_USER,
		UIOMMU_READ | UIOMMU_WRITE | PGTABLE_USER,
		UIOMMU_READ | PGTABLE_QUIET | PGTABLE_USER,
		UIOMMU_WRITE,
	};
	struct tables tables;

	(void)state;
	for (unsigned int i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
		unsigned int found = 0, reached = 0;

		for (unsigned int n = 0; n < CASES; n++) {
			make(&tables, &pairs[i]);
			for (uint64_t left = random_below(3); left; left--)
				spoil(&tables, &pairs[i]);
			found += compare(&tables, flags[random_below(4)]);
			reached += reaches(&tables.second, seen((unsigned int)random_below(DATA + 1)) + 8 * random_below(ENTRIES));
		}
		assert_in_range(found, CASES / 3, CASES - CASES / 20);
		assert_in_range(reached, CASES / 2, CASES - CASES / 20);
	}
}

/* Usual entries need no walk to be read through, dirty or not, and with bits that mean nothing. */
static void usual_entries_are_reached(void **state)
{
	struct tables tables;

	(void)state;
	for (unsigned int i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
		const struct pair *pair = &pairs[i];
		make(&tables, pair);
		for (unsigned int index = 0; index <= DATA; index++) {
			assert_true(reaches(&tables.second, index * PAGE + 8));
			assert_true(reaches(&tables.second, (UINT64_C(2) << 20) + index * PAGE + 8));
		}
		for (unsigned int n = 0; n < 4 + DATA; n++) /* stage 2's */
			*tables.entry[n] = (*tables.entry[n] | pair->meaningless) & ~(n > 2 ? tables.second.dirty : 0);
		for (unsigned int index = 0; index < DATA; index++) {
			assert_true(reaches(&tables.second, index * PAGE + 8));
			assert_true(reaches(&tables.second, (UINT64_C(2) << 20) + index * PAGE + 8));
		}
		assert_true(compare(&tables, UIOMMU_READ | PGTABLE_USER));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(both_walkers_find_the_same),
		cmocka_unit_test(usual_entries_are_reached),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
