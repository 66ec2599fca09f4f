/* SPDX-License-Identifier: BSD-3-Clause */
/* A guest's whole PASID table, in each architecture's layout. */
#include "bind.h"

static struct uiommu_hwpt_tables amd_tables(uint64_t root)
{
	struct uiommu_hwpt_tables tables = directory(UIOMMU_TABLES_AMD, page_new());

	entry_at(tables.base)[PASID] = root | 1;
	tables.size_lg2 = 9;
	tables.capabilities = UIOMMU_AMD_TABLES_GUEST | UINT32_C(19) << 20 | UINT32_C(2) << 16;
	return tables;
}

static struct uiommu_hwpt_tables smmuv3_tables(uint64_t page)
{
	struct uiommu_hwpt_tables tables = directory(UIOMMU_TABLES_SMMUV3, page_new());
	uint64_t *cd = entry_at(tables.base) + (uint64_t)PASID * 8, root = page_new();

	*leaf_of(root, VA, ARM_TABLE) = page | ARM_PAGE;
	cd[1] = root;
	cd[0] = 16 | UINT64_C(1) << 30 | UINT64_C(1) << 31 | UINT64_C(5) << 32 | UINT64_C(1) << 41 | UINT64_C(3) << 45 |
		UINT64_C(0xcafe) << 48;
	tables.size_lg2 = 5;
	tables.output_lg2 = 48;
	tables.capabilities = UIOMMU_SMMUV3_S1P | UIOMMU_SMMUV3_ASID16 | UIOMMU_SMMUV3_GRAN4K | UINT32_C(20) << 27;
	tables.extra[1] = 2; /* S1DSS */
	return tables;
}

static struct uiommu_hwpt_tables riscv_tables(uint64_t page)
{
	struct uiommu_hwpt_tables tables = directory(UIOMMU_TABLES_RISCV, page_new());
	uint64_t *pc = entry_at(tables.base) + (uint64_t)PASID * 2, root = page_new();

	*riscv_leaf(root) = page >> 2 | RISCV_PAGE;
	pc[1] = UINT64_C(9) << 60 | root >> 12;
	pc[0] = 1;
	tables.mode = 1;
	tables.size_lg2 = 8;
	tables.capabilities = UIOMMU_RVIOMMU_SV48 | UIOMMU_RVIOMMU_PD8;
	tables.extra[1] = 0x21;
	return tables;
}

static void pasid_tables(void **state)
{
	uint64_t root = root_make(WORD), page = page_new(), word;
	struct uiommu_hwpt_tables tables[4] = {vtd_tables(root), smmuv3_tables(page), amd_tables(root), riscv_tables(page)};
	size_t before = uiommu_object_count(g.context);

	(void)state;
	traps_on();
	*entry_at(page) = WORD;
	for (unsigned int i = 0; i < 4; i++) {
		struct uiommu_bind bind = request(UIOMMU_BIND_PASID_TABLE, &tables[i], sizeof(tables[i])), single;
		struct uiommu_bind_page_table table = table_of(root);

		assert_int_equal(uiommu_bind(g.context, &bind), -EINVAL);
		bind.pasid = UIOMMU_NO_PASID;
		assert_int_equal(uiommu_bind(g.context, &bind), 0);
		assert_int_equal(bind.pasid, UIOMMU_NO_PASID);
		assert_int_equal(word_at(PASID, VA), WORD);
		assert_int_equal(uiommu_dma_read(g.device, PASID, VA + PAGE, &word, 8, NULL), -EFAULT);
		check_recorded(PASID, UIOMMU_FAULT_UNMAPPED);
		single = request(UIOMMU_BIND_PAGE_TABLE, &table, sizeof(table));
		assert_int_equal(uiommu_bind(g.context, &single), -EBUSY);
		assert_int_equal(uiommu_detach(g.context, g.device_id, UIOMMU_NO_PASID), -EBUSY);
		assert_int_equal(uiommu_bind(g.context, &bind), 0);
		assert_int_equal(uiommu_unbind(g.context, g.device_id, UIOMMU_NO_PASID), 0);
		assert_int_equal(word_at(PASID, VA), WORD);
		assert_int_equal(uiommu_unbind(g.context, g.device_id, UIOMMU_NO_PASID), 0);
		unbound(PASID);
		assert_int_equal(uiommu_object_count(g.context), before);
	}
}

static void pasid_tables_refused(void **state)
{
	const struct uiommu_hwpt_tables good = vtd_tables(root_make(WORD));
	struct uiommu_hwpt_tables tables;
	struct uiommu_bind bind = request(UIOMMU_BIND_PASID_TABLE, &tables, sizeof(tables));
	size_t before = uiommu_object_count(g.context);

	(void)state;
	bind.pasid = UIOMMU_NO_PASID;
#define REFUSED(member, value, expected)                                                                                           \
	do {                                                                                                                       \
		tables = good;                                                                                                     \
		tables.member = (value);                                                                                           \
		assert_int_equal(uiommu_bind(g.context, &bind), expected);                                                         \
		assert_int_equal(uiommu_object_count(g.context), before);                                                          \
	} while (0)
	REFUSED(flags, UIOMMU_HWPT_FAULT, -EOPNOTSUPP);
	REFUSED(fault_queue_id, g.queue, -EOPNOTSUPP);
	REFUSED(tables, 4, -EPROTONOSUPPORT);
	REFUSED(structure, UIOMMU_STRUCTURE_DEVICE, -EINVAL);
	REFUSED(reserved, 1, -EINVAL);
	REFUSED(size_lg2, 21, -EINVAL);
	REFUSED(base, LOW_BYTES, -EFAULT);
	REFUSED(parent_id, g.ioas, -EINVAL);
	REFUSED(second.format, UIOMMU_FORMAT_VTD_FIRST, -EINVAL);
	tables.second = second_stage(LOW_BYTES);
	assert_int_equal(uiommu_bind(g.context, &bind), -EFAULT);
#undef REFUSED
	tables = good;
	bind.flags = UIOMMU_BIND_VPASID;
	bind.vpasid = 1;
	assert_int_equal(uiommu_bind(g.context, &bind), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_ALL_WAYS(pasid_tables),
		IN_ALL_WAYS(pasid_tables_refused),
	};

	traps_install();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
