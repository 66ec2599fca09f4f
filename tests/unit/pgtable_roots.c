/* SPDX-License-Identifier: BSD-3-Clause */
/* Where the top table is: in the window, partly, behind its end; and where no walk may begin. */
#include "test.h"

#include "pgtable/arm.h"
#include "pgtable/pgtable.h"
#include "pgtable/riscv.h"
#include "util/bits.h"

/* Pages. What is in front of the top table is a window large enough for quick walks; the top table is four pages. */
enum { PAGE = 4096, TABLE2 = 1, TABLE1 = 2, TABLE0 = 3, ROOT = 256, PAGES = 260, PAGE_ENTRIES = 512 };

#define START UINT64_C(0x40000000)

static uint64_t arena[PAGES][PAGE_ENTRIES] __attribute__((aligned(4 * PAGE)));

static uint64_t place(unsigned int page)
{
	return START + (uint64_t)page * PAGE;
}

/* Every address leads to page 0. */
static void fill(unsigned int shift, uint64_t table, uint64_t leaf)
{
	for (unsigned int i = 0; i < PAGE_ENTRIES; i++) {
		for (unsigned int page = ROOT; page < PAGES; page++)
			arena[page][i] = place(TABLE2) >> shift | table;
		arena[TABLE2][i] = place(TABLE1) >> shift | table;
		arena[TABLE1][i] = place(TABLE0) >> shift | table;
		arena[TABLE0][i] = place(0) >> shift | leaf;
	}
}

static struct pgtable_result walk(const struct pgtable_format *format, const struct pgtable_config *config,
				  const struct pgtable_window *window, uint64_t address)
{
	struct pgtable_memory memory = {.window = *window};
	struct pgtable_result result;
	struct pgtable pgtable;

	memset(&result, 0xff, sizeof(result));
	assert_int_equal(pgtable_init(&pgtable, format, config, &memory), 0);
	pgtable_translate(&pgtable, address, UIOMMU_READ | PGTABLE_USER, &result);
	return result;
}

/* Entries of the top table are found exactly as far as the window goes. Behind its end there is memory, too. */
static void the_top_table_is_in_the_window(void **state)
{
	struct pgtable_config config = {.base = {place(ROOT)}, .input_lg2 = {50}, .output_lg2 = 56};
	struct pgtable_window window = {.first = START, .host = (uint8_t *)arena};

	(void)state;
	fill(2, 0x1, 0xdf);
	for (unsigned int have = ROOT * PAGE; have <= PAGES * PAGE; have += 8) {
		uint64_t last = have > ROOT * PAGE ? (have - ROOT * PAGE) / 8 - 1 : 0;
		struct pgtable_result result;

		window.length = have;
		result = walk(&pgtable_riscv_second, &config, &window, last << 39 | 0x123);
		assert_int_equal(result.reason, have > ROOT * PAGE ? UIOMMU_FAULT_NONE : UIOMMU_FAULT_MEMORY);
		if (!result.reason)
			assert_int_equal(result.oa, START + 0x123);
		if (have == PAGES * PAGE)
			continue;
		result = walk(&pgtable_riscv_second, &config, &window, (result.reason ? last : last + 1) << 39);
		assert_int_equal(result.reason, UIOMMU_FAULT_MEMORY);
		assert_int_equal(result.level, 3);
	}
}

/* All of this process is the window: nothing but the format is in the way. */
static void where_no_walk_begins(void **state)
{
	uint64_t base = (uint64_t)(uintptr_t)arena[ROOT];
	struct pgtable_window window = {.length = UINT64_MAX};
	struct pgtable_config config = {
		.base = {base, base},
		.input_lg2 = {48, 48},
		.granule_lg2 = {12, 12},
		.output_lg2 = 48,
		.flags = UIOMMU_ARM_EPD0,
	};
	struct pgtable_result result;

	(void)state;
	fill(0, 0x3, 0x743);
	result = walk(&pgtable_arm_s1, &config, &window, 0x123);
	assert_int_equal(result.reason, UIOMMU_FAULT_UNMAPPED);
	assert_int_equal(result.fetches, 0);
	config.flags = UIOMMU_ARM_EPD1;
	config.output_lg2 = 32;
	config.base[0] |= UINT64_C(1) << 47;
	result = walk(&pgtable_arm_s1, &config, &window, 0x123);
	assert_int_equal(result.reason, UIOMMU_FAULT_OUTPUT);
	assert_int_equal(result.fetches, 0);
	config.levels = 4;
	config.flags = 0;
	result = walk(&pgtable_arm_s2, &config, &window, 0x123);
	assert_int_equal(result.reason, UIOMMU_FAULT_OUTPUT);
	assert_int_equal(result.fetches, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_top_table_is_in_the_window),
		cmocka_unit_test(where_no_walk_begins),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
