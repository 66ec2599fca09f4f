/* SPDX-License-Identifier: BSD-3-Clause */
/* Device and PASID tables of VT-d: what becomes of what is not refused. */
#include "tables_vtd.h"

static void second_flags(uint32_t without, uint32_t expected)
{
	legacy(ALL & ~without, 0);
	assert_true(run(LEGACY_RID, UIOMMU_NO_PASID));
	assert_int_equal(entry.stage2.flags, expected);
	scalable(ALL & ~without, 2);
	assert_true(run(RID, PASID));
	assert_int_equal(entry.stage2.flags, expected);
}

static void decoded_legacy(void **state)
{
	(void)state;
	legacy(ALL, 0);
	assert_true(run(LEGACY_RID, UIOMMU_NO_PASID));
	assert_int_equal(entry.mode, TABLES_TRANSLATE);
	assert_int_equal(entry.flags, 0);
	assert_int_equal(entry.domain, DOMAIN);
	assert_int_equal(entry.asid, UIOMMU_NO_PASID);
	assert_int_equal(entry.denied, 0);
	assert_false(entry.has_stage1);
	assert_true(entry.has_stage2);
	assert_ptr_equal(entry.stage2_format, &pgtable_vtd_second);
	assert_int_equal(entry.stage2.base[0], STAGE2);
	assert_int_equal(entry.stage2.levels, 4);
	assert_int_equal(entry.stage2.output_lg2, HAW);
	assert_int_equal(device.rid_pasid, UIOMMU_NO_PASID);
	assert_false(device.has_pasid_table);
	assert_true(device.has_stage2);
	assert_int_equal(device.stage2.config.base[0], STAGE2);
	put(LEGACY_CONTEXT, 1, 3); /* FPD, and TT 01 */
	flip(LEGACY_CONTEXT, 1);
	assert_true(run(LEGACY_RID, UIOMMU_NO_PASID));
	assert_int_equal(entry.flags, TABLES_ATS);
	legacy(ALL, 2);
	assert_true(run(LEGACY_RID, UIOMMU_NO_PASID));
	assert_int_equal(entry.mode, TABLES_PASS);
	assert_int_equal(entry.domain, DOMAIN);
	assert_false(entry.has_stage1 || entry.has_stage2);
	second_flags(0, UIOMMU_VTD_SECOND_SNOOP | UIOMMU_VTD_SECOND_2M | UIOMMU_VTD_SECOND_1G);
	second_flags(UIOMMU_VTD_TABLES_SNOOP, UIOMMU_VTD_SECOND_2M | UIOMMU_VTD_SECOND_1G);
	second_flags(UIOMMU_VTD_TABLES_SECOND_2M, UIOMMU_VTD_SECOND_SNOOP | UIOMMU_VTD_SECOND_1G);
	second_flags(UIOMMU_VTD_TABLES_SECOND_1G, UIOMMU_VTD_SECOND_SNOOP | UIOMMU_VTD_SECOND_2M);
	for (unsigned int width = 0; width < 7; width++) {
		legacy((ALL & ~(UINT32_C(7) << 29)) | width << 29, 0);
		assert_true(run(LEGACY_RID, UIOMMU_NO_PASID));
		assert_int_equal(entry.domain, DOMAIN & ((UINT32_C(1) << (4 + 2 * width)) - 1));
	}
}

static void decoded_scalable(void **state)
{
	(void)state;
	for (unsigned int pgtt = 1; pgtt <= 4; pgtt++)
		for (unsigned int implied = 0; implied < 2; implied++) {
			bool first = pgtt == 1 || pgtt == 3, second = pgtt == 2 || pgtt == 3;

			scalable(ALL, pgtt);
			assert_true(run(RID, implied ? UIOMMU_NO_PASID : PASID));
			assert_int_equal(device.mode, TABLES_TRANSLATE);
			assert_int_equal(device.pasid_table, DIRECTORY);
			assert_int_equal(device.pasid_bits, 20);
			assert_int_equal(device.rid_pasid, implied ? PASID : PASID ^ 1);
			assert_int_equal(entry.pasid, PASID);
			assert_int_equal(entry.mode, pgtt == 4 ? TABLES_PASS : TABLES_TRANSLATE);
			assert_int_equal(entry.domain, DOMAIN);
			assert_int_equal(entry.asid, first ? PASID : UIOMMU_NO_PASID);
			assert_int_equal(entry.has_stage1, first);
			assert_int_equal(entry.has_stage2, second);
			assert_int_equal(entry.flags, TABLES_PASIDS);
			if (first) {
				assert_ptr_equal(entry.stage1_format, &pgtable_vtd_first);
				assert_int_equal(entry.stage1.base[0], STAGE1);
				assert_int_equal(entry.stage1.levels, 4);
				assert_int_equal(entry.stage1.output_lg2, HAW);
				assert_int_equal(entry.stage1.flags, UIOMMU_VTD_FIRST_1G);
			}
			if (second) {
				assert_ptr_equal(entry.stage2_format, &pgtable_vtd_second);
				assert_int_equal(entry.stage2.base[0], STAGE2);
				assert_int_equal(entry.stage2.levels, 4);
				assert_int_equal(entry.stage2.output_lg2, HAW);
			}
		}
}

/* One bit of an entry, one flag of the outcome. */
static void decoded_bits(void **state)
{
	static const struct {
		uint64_t address;
		unsigned int bit;
		uint32_t flags, stage1, stage2;
	} cases[] = {
		{CONTEXT, 1, TABLES_NO_FAULTS, 0, 0},
		{CONTEXT, 2, TABLES_ATS, 0, 0},
		{CONTEXT, 4, TABLES_PRI | TABLES_ATS, 0, 0},
		{CONTEXT, 84, TABLES_RID_PRIVILEGED, 0, 0},
		{DIRECTORY_ENTRY, 1, TABLES_NO_FAULTS, 0, 0},
		{PASID_ENTRY, 1, TABLES_NO_FAULTS, 0, 0},
		{PASID_ENTRY, 5, 0, 0, UIOMMU_VTD_SECOND_EXECUTE},
		{PASID_ENTRY, 9, 0, 0, UIOMMU_VTD_SECOND_AD},
		{PASID_ENTRY, 128, TABLES_PRIVILEGED, 0, 0},
		{PASID_ENTRY, 129, TABLES_EXECUTE, 0, 0},
		{PASID_ENTRY, 132, 0, UIOMMU_VTD_FIRST_WPE, 0},
		{PASID_ENTRY, 133, 0, UIOMMU_VTD_FIRST_NXE, 0},
		{PASID_ENTRY, 134, 0, UIOMMU_VTD_FIRST_SMEP, 0},
		{PASID_ENTRY, 135, 0, UIOMMU_VTD_FIRST_EAFE, 0},
	};
	const uint32_t second = UIOMMU_VTD_SECOND_SNOOP | UIOMMU_VTD_SECOND_2M | UIOMMU_VTD_SECOND_1G;

	(void)state;
	for (unsigned int i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		scalable(ALL, 3);
		put(cases[i].address, cases[i].bit, 1);
		if (cases[i].flags & TABLES_PRI)
			put(CONTEXT, 2, 1);
		assert_true(run(RID, PASID));
		assert_int_equal(entry.flags, TABLES_PASIDS | cases[i].flags);
		assert_int_equal(entry.stage1.flags, UIOMMU_VTD_FIRST_1G | cases[i].stage1);
		assert_int_equal(entry.stage2.flags, second | cases[i].stage2);
	}
}

/* Where nothing executes, NXE and SMEP are ignored, and so is XD. */
static void without_execute(void **state)
{
	(void)state;
	for (unsigned int bits = 0; bits < 4; bits++) {
		scalable(ALL & ~(uint32_t)UIOMMU_VTD_TABLES_EXECUTE, 1);
		put(PASID_ENTRY, 133, bits);
		assert_true(run(RID, PASID));
		assert_int_equal(entry.stage1.flags, UIOMMU_VTD_FIRST_1G | UIOMMU_VTD_FIRST_NXE);
	}
	scalable(ALL & ~(uint32_t)UIOMMU_VTD_TABLES_FIRST_1G, 1);
	assert_true(run(RID, PASID));
	assert_int_equal(entry.stage1.flags, 0);
}

/* A guest's PASID directory without its root table. */
static void directory_alone(void **state)
{
	(void)state;
	scalable(ALL, 1);
	device = (struct tables_device){
		.format = &tables_vtd,
		.mode = TABLES_TRANSLATE,
		.flags = TABLES_PASIDS | TABLES_PRI | TABLES_PRIVILEGED | TABLES_EXECUTE,
		.rid_pasid = UIOMMU_NO_PASID,
		.has_pasid_table = true,
		.pasid_table = DIRECTORY,
		.pasid_bits = 15,
		.output_lg2 = HAW,
		.capabilities = ALL,
		.memory = tables.memory,
	};
	assert_true(tables_vtd.pasid(&device, PASID, &entry, &fault));
	assert_int_equal(entry.asid, PASID);
	assert_int_equal(entry.domain, DOMAIN);
	assert_int_equal(entry.flags, TABLES_PASIDS | TABLES_PRI);
	assert_int_equal(entry.stage1.base[0], STAGE1);
	assert_false(tables_vtd.pasid(&device, 1 << 15, &entry, &fault));
	assert_int_equal(fault.reason, UIOMMU_FAULT_RANGE);
	assert_false(tables_vtd.pasid(&device, UIOMMU_NO_PASID, &entry, &fault));
	assert_int_equal(fault.reason, UIOMMU_FAULT_BLOCKED);
	device.rid_pasid = PASID;
	assert_true(tables_vtd.pasid(&device, UIOMMU_NO_PASID, &entry, &fault));
	assert_int_equal(entry.asid, PASID);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(decoded_legacy),  cmocka_unit_test(decoded_scalable), cmocka_unit_test(decoded_bits),
		cmocka_unit_test(without_execute), cmocka_unit_test(directory_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
