/* SPDX-License-Identifier: BSD-3-Clause */
/* Invalidations of what is bound. */
#include "bind.h"

/* What VA leads to is changed again and again, and is seen when it has been invalidated, not before. */
static void invalidations(void **state)
{
	uint64_t root = page_new(), pages[2] = {page_new(), page_new()}, *leaf = leaf_of(root, VA, FIRST_TABLE);
	struct uiommu_bind_page_table table = table_of(root);
	struct uiommu_hwpt_tables whole = vtd_tables(root);
	const struct {
		uint32_t scope, flags;
		uint64_t address;
		bool hits, tables; /* of a PASID table only */
	} cases[] = {
		{UIOMMU_BIND_SCOPE_ADDRESS, 0, VA - PAGE, true, false},
		{UIOMMU_BIND_SCOPE_ADDRESS, UIOMMU_BIND_LEAF_ONLY, VA, true, false},
		{UIOMMU_BIND_SCOPE_ADDRESS, 0, VA + PAGE, false, false},
		{UIOMMU_BIND_SCOPE_ADDRESS, 0, VA - 2 * PAGE, false, false},
		{UIOMMU_BIND_SCOPE_PASID, 0, 0, true, false},
		{UIOMMU_BIND_SCOPE_PASID, UIOMMU_BIND_ENTRIES, 0, true, true},
		{UIOMMU_BIND_SCOPE_DOMAIN, 0, 0, true, false},
		{UIOMMU_BIND_SCOPE_DOMAIN, UIOMMU_BIND_ENTRIES, 0, true, true},
	};

	(void)state;
	traps_on();
	*entry_at(pages[0]) = 0;
	*entry_at(pages[1]) = 1;
	for (unsigned int i = 0; i < 2 * sizeof(cases) / sizeof(cases[0]); i++) {
		const bool tables = i % 2;
		struct uiommu_bind bind = tables ? request(UIOMMU_BIND_PASID_TABLE, &whole, sizeof(whole))
						 : request(UIOMMU_BIND_PAGE_TABLE, &table, sizeof(table));

		bind.pasid = tables ? UIOMMU_NO_PASID : PASID;
		*leaf = pages[0] | FIRST_PAGE;
		assert_int_equal(uiommu_bind(g.context, &bind), 0);
		assert_int_equal(word_at(PASID, VA), 0);
		*leaf = pages[1] | FIRST_PAGE;
		if (g.caches)
			assert_int_equal(word_at(PASID, VA), 0);
		assert_int_equal(invalidate(PASID, cases[i / 2].scope, cases[i / 2].flags, cases[i / 2].address),
				 cases[i / 2].tables && !tables ? -EOPNOTSUPP : 0);
		if (!g.caches || (cases[i / 2].hits && (tables || !cases[i / 2].tables)))
			assert_int_equal(word_at(PASID, VA), 1);
		else
			assert_int_equal(word_at(PASID, VA), 0);
		assert_int_equal(uiommu_unbind(g.context, g.device_id, bind.pasid), 0);
	}
}

/* Where tables are is forgotten only if they have changed. */
static void leaves_only(void **state)
{
	struct uiommu_attach_stats stats = {.size = sizeof(stats)};
	struct uiommu_bind_page_table table = table_of(root_make(WORD));
	struct uiommu_bind bind = request(UIOMMU_BIND_PAGE_TABLE, &table, sizeof(table));
	uint64_t before, leaf, tables;

	(void)state;
	traps_on();
	assert_int_equal(uiommu_bind(g.context, &bind), 0);
	assert_int_equal(word_at(PASID, VA), WORD);
	assert_int_equal(uiommu_attach_stats(g.context, g.device_id, PASID, &stats), 0);
	before = stats.entries_read;
	assert_int_equal(invalidate(PASID, UIOMMU_BIND_SCOPE_ADDRESS, UIOMMU_BIND_LEAF_ONLY, VA), 0);
	assert_int_equal(word_at(PASID, VA), WORD);
	assert_int_equal(uiommu_attach_stats(g.context, g.device_id, PASID, &stats), 0);
	leaf = stats.entries_read - before;
	before = stats.entries_read;
	assert_int_equal(invalidate(PASID, UIOMMU_BIND_SCOPE_ADDRESS, 0, VA), 0);
	assert_int_equal(word_at(PASID, VA), WORD);
	assert_int_equal(uiommu_attach_stats(g.context, g.device_id, PASID, &stats), 0);
	tables = stats.entries_read - before;
	if (g.caches && !g.tracked) {
		assert_int_equal(leaf, 1);
		assert_int_equal(tables, 4);
	}
	assert_true(leaf && leaf <= tables);
}

static void invalidations_refused(void **state)
{
	struct uiommu_bind_page_table table = table_of(root_make(WORD));
	struct uiommu_bind bind = request(UIOMMU_BIND_PAGE_TABLE, &table, sizeof(table));
	const struct uiommu_bind_invalidate fine = {
		.size = sizeof(fine), .device_id = g.device_id, .pasid = PASID, .scope = 2, .granule_lg2 = 12, .count = 1};
	struct uiommu_bind_invalidate bad;

	(void)state;
	assert_int_equal(uiommu_bind(g.context, &bind), 0);
	bad = fine;
	assert_int_equal(uiommu_bind_invalidate(g.context, &bad), 0);
#define REFUSED(member, value, expected)                                                                                           \
	do {                                                                                                                       \
		bad = fine;                                                                                                        \
		bad.member = (value);                                                                                              \
		assert_int_equal(uiommu_bind_invalidate(g.context, &bad), expected);                                               \
	} while (0)
	REFUSED(size, 8, -EINVAL);
	REFUSED(flags, 4, -EOPNOTSUPP);
	REFUSED(flags, UIOMMU_BIND_ENTRIES, -EINVAL);
	REFUSED(scope, 3, -EINVAL);
	REFUSED(scope, UIOMMU_BIND_SCOPE_PASID, -EINVAL);
	REFUSED(granule_lg2, 11, -EINVAL);
	REFUSED(granule_lg2, 64, -EINVAL);
	REFUSED(count, 0, -EINVAL);
	REFUSED(count, UINT64_C(1) << 52, -EINVAL);
	REFUSED(address, 8, -EINVAL);
	REFUSED(pasid, PASID + 1, -ENOENT);
	REFUSED(device_id, 999, -ENOENT);
	bad = fine;
	bad.address = UINT64_MAX & ~(uint64_t)(PAGE - 1);
	assert_int_equal(uiommu_bind_invalidate(g.context, &bad), 0);
	bad.count = 2;
	assert_int_equal(uiommu_bind_invalidate(g.context, &bad), -EINVAL);
#undef REFUSED
}

static void translate_at(uint64_t address)
{
	const struct uiommu_ats_request request = {.address = address, .pasid = PASID, .access = UIOMMU_READ};
	struct uiommu_ats_completion completion;

	assert_int_equal(uiommu_ats_translate(g.device, &request, &completion), 0);
	assert_int_equal(completion.access, UIOMMU_READ);
}

/* What the device keeps is asked back: by an invalidation, and before an unbind returns. */
static void device_caches(void **state)
{
	struct uiommu_bind_page_table table = table_of(root_make(WORD));
	struct uiommu_bind bind = request(UIOMMU_BIND_PAGE_TABLE, &table, sizeof(table));

	(void)state;
	traps_on();
	assert_int_equal(keeper_enable(0), 0);
	assert_int_equal(uiommu_bind(g.context, &bind), 0);
	translate_at(VA);
	assert_int_equal(invalidate(PASID, UIOMMU_BIND_SCOPE_ADDRESS, 0, VA), 0);
	assert_int_equal(k.asked, 1);
	assert_int_equal(k.what[0].pasid, PASID);
	assert_true(k.what[0].start <= VA && k.what[0].last >= VA + 2 * PAGE - 1);
	translate_at(VA);
	assert_int_equal(uiommu_unbind_claim(g.context, g.device_id, PASID, UIOMMU_UNBIND_FLUSHED | UIOMMU_UNBIND_CLEAN), 0);
	assert_int_equal(k.asked, 2);
	assert_int_equal(k.answered, 2);
	assert_int_equal(k.what[1].pasid, PASID);
	assert_int_equal(k.what[1].last, UINT64_MAX);
	uiommu_ats_disable(g.device);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_ALL_WAYS(invalidations),
		IN_ALL_WAYS(leaves_only),
		IN_ALL_WAYS(invalidations_refused),
		IN_ALL_WAYS(device_caches),
	};

	traps_install();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
