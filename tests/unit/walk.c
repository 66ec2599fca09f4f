/* SPDX-License-Identifier: BSD-3-Clause */
/* A look at translations: what is read on the way, and what is cached beside it. */
#include "guest.h"

static struct uiommu_walk_step steps[UIOMMU_WALK_STEPS];

static struct uiommu_walk look(uint32_t pasid, uint64_t address, unsigned int access)
{
	struct uiommu_walk walk = {
		.size = sizeof(walk),
		.device_id = g.device_id,
		.pasid = pasid,
		.access = access,
		.address = address,
		.steps = steps,
		.step_count = UIOMMU_WALK_STEPS,
	};

	memset(steps, 0xff, sizeof(steps));
	assert_int_equal(uiommu_walk(g.context, &walk), 0);
	assert_true(walk.step_count <= UIOMMU_WALK_STEPS);
	/* Each is what is in memory there, unless stage 2 translates the address. */
	for (uint32_t i = 0; i < walk.step_count; i++)
		if (!walk.stage2 || steps[i].stage != 1)
			assert_memory_equal(steps[i].entry, entry_at(steps[i].address), steps[i].words * 8U);
	return walk;
}

static void check_step(uint32_t i, unsigned int structure, unsigned int stage, unsigned int level)
{
	assert_int_equal(steps[i].structure, structure);
	assert_int_equal(steps[i].stage, stage);
	assert_int_equal(steps[i].level, level);
}

static void one_stage(void **state)
{
	uint64_t root = page_new(), page = page_new(), value, *leaf = leaf_of(root, VA, FIRST_TABLE);
	uint32_t id = nested_make(root, 0);
	struct uiommu_fault_event event;
	struct uiommu_walk walk;

	(void)state;
	assert_int_equal(look(PASID, VA, 0).fault.reason, UIOMMU_FAULT_NOT_ATTACHED);
	*leaf = page | FIRST_READ_ONLY;
	assert_int_equal(uiommu_attach(g.context, g.device_id, PASID, id), 0);
	walk = look(PASID, VA + 8, UIOMMU_READ);
	assert_int_equal(walk.fault.reason, UIOMMU_FAULT_NONE);
	assert_int_equal(walk.hwpt_id, id);
	assert_int_equal(walk.guest_pasid, PASID);
	assert_string_equal(walk.stage1, "VT-d first stage");
	assert_null(walk.stage2);
	assert_int_equal(walk.output, page + 8);
	assert_int_equal(walk.page_lg2, 12);
	assert_int_equal(walk.permitted, UIOMMU_READ);
	assert_int_equal(walk.step_count, 4);
	for (uint32_t i = 0; i < 4; i++)
		check_step(i, UIOMMU_STRUCTURE_PAGE, 1, 3 - i);
	assert_int_equal(steps[3].entry[0], page | FIRST_READ_ONLY);
	assert_int_equal(steps[3].words, 1);
	/* Nothing has been set by that, and nothing is cached; an access does both. */
	assert_int_equal(*leaf, page | FIRST_READ_ONLY);
	assert_int_equal(walk.flags, UIOMMU_WALK_AREA);
	assert_int_equal(uiommu_dma_read(g.device, PASID, VA, &value, 8, NULL), 0);
	assert_int_equal(*leaf, page | FIRST_READ_ONLY | ACCESSED);
	walk = look(PASID, VA + 8, UIOMMU_WRITE);
	assert_int_equal(walk.fault.reason, UIOMMU_FAULT_PERMISSION);
	assert_int_equal(walk.fault.stage, 1);
	assert_int_equal(walk.fault.level, 0);
	assert_int_equal(walk.flags & UIOMMU_WALK_CACHED, g.caches ? UIOMMU_WALK_CACHED : 0);
	/* Somebody forgets to invalidate: both can be seen. */
	*leaf = 0;
	walk = look(PASID, VA, 0);
	assert_int_equal(walk.fault.reason, UIOMMU_FAULT_UNMAPPED);
	assert_int_equal(walk.step_count, 4);
	if (g.caches) {
		assert_int_equal(walk.cached, page);
		assert_int_equal(walk.cached_access & UIOMMU_READ, UIOMMU_READ);
	}
	assert_int_equal(uiommu_fault_read(g.context, g.queue, &event, 1), 0);
	assert_int_equal(uiommu_detach(g.context, g.device_id, PASID), 0);
	assert_int_equal(uiommu_destroy(g.context, id), 0);
}

/* Both stages: those of stage 2 come before what they are for. */
static void two_stages(void **state)
{
	uint64_t first = page_new(), second = page_new(), page = page_new();
	struct uiommu_walk walk;
	uint32_t id, at = 0;

	(void)state;
	*leaf_of(first, VA, FIRST_TABLE) = page | FIRST_PAGE;
	/* All of the guest's memory, at its own address. */
	for (uint64_t gpa = 0; gpa < HIGH_START + RAM_BYTES - LOW_BYTES; gpa += PAGE)
		*leaf_of(second, gpa, SECOND) = gpa | SECOND;
	id = nested_make(first, second);
	assert_int_equal(uiommu_attach(g.context, g.device_id, PASID, id), 0);
	walk = look(PASID, VA, UIOMMU_WRITE);
	assert_int_equal(walk.fault.reason, UIOMMU_FAULT_NONE);
	assert_string_equal(walk.stage2, "VT-d second stage");
	assert_int_equal(walk.output, page);
	assert_int_equal(walk.step_count, 5 * 4 + 4);
	for (unsigned int table = 0; table < 5; table++) {
		for (unsigned int level = 4; level--;)
			check_step(at++, UIOMMU_STRUCTURE_PAGE, 2, level);
		if (table < 4)
			check_step(at++, UIOMMU_STRUCTURE_PAGE, 1, 3 - table);
	}
	/* Stage 2 has nothing for what stage 1 leads to. */
	*leaf_of(second, page, SECOND) = 0;
	walk = look(PASID, VA, 0);
	assert_int_equal(walk.fault.reason, UIOMMU_FAULT_UNMAPPED);
	assert_int_equal(walk.fault.stage, 2);
	assert_false(walk.fault.table);
	assert_true(walk.fault.flags & UIOMMU_FAULT_NESTED);
	/* Or for a table of it. */
	*leaf_of(second, first, SECOND) = 0;
	walk = look(PASID, VA, 0);
	assert_true(walk.fault.table);
	assert_int_equal(walk.step_count, 4);
	assert_int_equal(uiommu_detach(g.context, g.device_id, PASID), 0);
	assert_int_equal(uiommu_destroy(g.context, id), 0);
}

/* From the root entry on: what is read, and what an access has made of it. */
static void device_tables(void **state)
{
	uint64_t root = page_new(), context = page_new(), directory = page_new(), table = page_new(), first = page_new();
	uint64_t page = page_new(), value;
	struct uiommu_hwpt_tables tables = {
		.size = sizeof(tables),
		.flags = UIOMMU_HWPT_FAULT,
		.parent_id = g.parent,
		.fault_queue_id = g.queue,
		.tables = UIOMMU_TABLES_VTD,
		.structure = UIOMMU_STRUCTURE_DEVICE,
		.base = root,
		.mode = UIOMMU_VTD_TABLES_SCALABLE,
		.capabilities = UIOMMU_VTD_DEFAULT_CAPABILITIES,
		.output_lg2 = 46,
	};
	struct uiommu_fault_event event;
	struct uiommu_walk walk;
	uint32_t id;

	(void)state;
	*leaf_of(first, VA, FIRST_TABLE) = page | FIRST_PAGE;
	*entry_at(root) = context | 1;
	entry_at(context)[8 * 4] = directory | 7 << 9 | 8 | 1;
	*entry_at(directory) = table | 1;
	entry_at(table)[PASID * 8 + 2] = first;
	entry_at(table)[PASID * 8 + 1] = 5;
	entry_at(table)[PASID * 8] = 1 << 6 | 1;
	assert_int_equal(uiommu_hwpt_alloc_tables(g.context, &tables, &id), 0);
	assert_int_equal(uiommu_attach(g.context, g.device_id, UIOMMU_NO_PASID, id), 0);
	walk = look(PASID, VA, UIOMMU_READ);
	assert_int_equal(walk.fault.reason, UIOMMU_FAULT_NONE);
	assert_int_equal(walk.domain, 5);
	assert_int_equal(walk.output, page);
	assert_int_equal(walk.flags, UIOMMU_WALK_AREA);
	assert_int_equal(walk.step_count, 8);
	check_step(0, UIOMMU_STRUCTURE_DEVICE_DIR, 0, 0);
	check_step(1, UIOMMU_STRUCTURE_DEVICE, 0, 0);
	check_step(2, UIOMMU_STRUCTURE_PASID_DIR, 0, 0);
	check_step(3, UIOMMU_STRUCTURE_PASID, 0, 0);
	check_step(4, UIOMMU_STRUCTURE_PAGE, 1, 3);
	assert_int_equal(steps[1].words, 4);
	assert_int_equal(steps[3].words, 8);
	assert_int_equal(steps[3].entry[2], first);
	/* A look has decoded nothing for good. An access does; then the guest takes its entry back. */
	assert_int_equal(uiommu_dma_read(g.device, PASID, VA, &value, 8, NULL), 0);
	entry_at(table)[PASID * 8] = 0;
	walk = look(PASID, VA, UIOMMU_READ);
	assert_true(walk.flags & UIOMMU_WALK_DECODED);
	assert_int_equal(walk.fault.reason, UIOMMU_FAULT_UNMAPPED);
	assert_int_equal(walk.fault.structure, UIOMMU_STRUCTURE_PASID);
	assert_int_equal(walk.step_count, 4);
	/* What has no entry is no fault for anybody. */
	assert_int_equal(look(PASID + 64, VA, 0).fault.structure, UIOMMU_STRUCTURE_PASID_DIR);
	assert_int_equal(uiommu_fault_read(g.context, g.queue, &event, 1), 0);
	assert_int_equal(uiommu_detach(g.context, g.device_id, UIOMMU_NO_PASID), 0);
	assert_int_equal(uiommu_destroy(g.context, id), 0);
}

static void without_tables(void **state)
{
	struct uiommu_walk walk;

	(void)state;
	assert_int_equal(uiommu_attach(g.context, g.device_id, PASID, g.ioas), 0);
	walk = look(PASID, PAGE + 4, UIOMMU_WRITE);
	assert_int_equal(walk.output, PAGE + 4);
	assert_int_equal(walk.flags, UIOMMU_WALK_AREA);
	assert_int_equal(walk.permitted, UIOMMU_READ | UIOMMU_WRITE);
	assert_int_equal(walk.step_count, 0);
	walk = look(PASID, LOW_BYTES, 0);
	assert_int_equal(walk.fault.reason, UIOMMU_FAULT_UNMAPPED);
	assert_int_equal(walk.fault.stage, 0);
	assert_int_equal(uiommu_detach(g.context, g.device_id, PASID), 0);
}

static void bad_questions(void **state)
{
	struct uiommu_walk walk = {.size = sizeof(walk), .device_id = g.device_id, .pasid = PASID, .access = 64};

	(void)state;
	assert_int_equal(uiommu_walk(g.context, &walk), -EINVAL);
	walk.access = 0;
	walk.size = 8;
	assert_int_equal(uiommu_walk(g.context, &walk), -EINVAL);
	walk.size = sizeof(walk);
	walk.device_id = g.ioas;
	assert_int_equal(uiommu_walk(g.context, &walk), -ENOENT);
}

/* An array that is too small: counted all the same. */
static void few_steps(void **state)
{
	uint64_t root = page_new(), page = page_new();
	uint32_t id = nested_make(root, 0);
	struct uiommu_walk walk = {
		.size = sizeof(walk), .device_id = g.device_id, .pasid = PASID, .address = VA, .steps = steps, .step_count = 2};

	(void)state;
	*leaf_of(root, VA, FIRST_TABLE) = page | FIRST_PAGE;
	memset(steps, 0xff, sizeof(steps));
	assert_int_equal(uiommu_attach(g.context, g.device_id, PASID, id), 0);
	assert_int_equal(uiommu_walk(g.context, &walk), 0);
	assert_int_equal(walk.step_count, 4);
	assert_int_equal(walk.output, page);
	check_step(1, UIOMMU_STRUCTURE_PAGE, 1, 2);
	assert_int_equal(steps[2].words, 0xff);
	walk.steps = NULL;
	assert_int_equal(uiommu_walk(g.context, &walk), 0);
	assert_int_equal(walk.step_count, 4);
	assert_int_equal(uiommu_detach(g.context, g.device_id, PASID), 0);
	assert_int_equal(uiommu_destroy(g.context, id), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_ALL_WAYS(one_stage),
		IN_ALL_WAYS(two_stages),
		IN_ALL_WAYS(device_tables),
		IN_ALL_WAYS(without_tables),
		cmocka_unit_test_setup_teardown(bad_questions, setup, teardown),
		cmocka_unit_test_setup_teardown(few_steps, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
