/* SPDX-License-Identifier: BSD-3-Clause */
/* Page tables of our own: what fails leaves them as they were. */
#include "fail_nth.h"

#include "pgtable/vtd_build.h"
#include "util/util.h"

static void count_leaf(void *opaque, const struct vtd_leaf *leaf)
{
	uint64_t *bytes = opaque;

	*bytes += leaf->last - leaf->first + 1;
}

static uint64_t mapped(const struct vtd_tables *tables)
{
	uint64_t bytes = 0;

	vtd_tables_iterate(tables, 0, UINT64_MAX, count_leaf, &bytes);
	return bytes;
}

/* Two chunks of pages. */
static int call_tables_map(struct world *w)
{
	const uint64_t length = UINT64_C(2) << 30;
	struct vtd_tables tables;
	int error = vtd_tables_init(&tables, 4, UIOMMU_VTD_SECOND_2M);

	(void)w;
	if (error)
		return error;
	error = vtd_tables_map(&tables, length, length, 4096, UIOMMU_READ);
	assert_int_equal(mapped(&tables), error ? 0 : length);
	vtd_tables_fini(&tables);
	return error;
}

/* The second split of a large page finds nothing. */
static int call_tables_unmap(struct world *w)
{
	const uint64_t huge = UINT64_C(1) << 30;
	struct vtd_tables tables;
	uint64_t i = 0, before;
	int error = vtd_tables_init(&tables, 4, UIOMMU_VTD_SECOND_2M | UIOMMU_VTD_SECOND_1G);

	(void)w;
	if (!error)
		error = vtd_tables_map(&tables, 0, 2 * huge, 0, UIOMMU_READ);
	while (!error && tables.pages.free > 2)
		error = vtd_tables_map(&tables, (8 + i++) * huge, 4096, 0, UIOMMU_READ);
	if (!error) {
		before = mapped(&tables);
		error = vtd_tables_unmap(&tables, 4096, huge + 4095, NULL, NULL);
		assert_int_equal(mapped(&tables), error ? before : before - huge);
	}
	vtd_tables_fini(&tables);
	return error;
}

void tables(void **state)
{
	static const struct scenario scenarios[] = {
		{"tables_map", call_tables_map, NULL, NULL},
		{"tables_unmap", call_tables_unmap, NULL, NULL},
	};

	sweep_all(*state, scenarios, ARRAY_SIZE(scenarios));
}
