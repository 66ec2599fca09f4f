/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Where tables are cached: how many entries are read, and what changes of tables, of stage 2 and of the guest's memory do to it.
 * Translations are not cached here, so that every access walks.
 */
#include "guest.h"

#define FAR (VA ^ UINT64_C(1) << 40)

enum { BLOCK = 512 * PAGE, ROUNDS = 2000, READERS = 2 };

static int setup_nothing_cached(void **state)
{
	(void)state;
	guest_make_sized(0, UIOMMU_IOTLB_NONE, UIOMMU_IOTLB_NONE);
	return 0;
}

/* Read the page at @va, whose first word is @value; returns how many entries that took. */
static uint64_t loads(uint64_t va, uint64_t value)
{
	struct uiommu_attach_stats before = {.size = sizeof(before)}, after = before;
	uint64_t word = ~value;

	assert_int_equal(uiommu_attach_stats(g.context, g.device_id, PASID, &before), 0);
	assert_int_equal(uiommu_dma_read(g.device, PASID, va, &word, 8, NULL), 0);
	assert_int_equal(word, value);
	assert_int_equal(uiommu_attach_stats(g.context, g.device_id, PASID, &after), 0);
	assert_int_equal(after.walks, before.walks + 1);
	/* As many as there are levels, and only then, if it began at the top. */
	assert_int_equal(after.walks_below_top - before.walks_below_top, after.entries_read - before.entries_read < 4);
	return after.entries_read - before.entries_read;
}

static uint64_t data_page(uint64_t value)
{
	uint64_t page = page_new();

	*entry_at(page) = value;
	return page;
}

static void forget(uint32_t id, uint64_t start, uint64_t last, uint32_t flags)
{
	const struct uiommu_invalidation request = {.start = start, .last = last, .flags = flags};

	assert_int_equal(uiommu_hwpt_invalidate(g.context, id, &request, 1), 0);
}

/* A page whose tables are all there, in a new table of each level. */
static uint64_t map_at(uint64_t root, uint64_t va, uint64_t value)
{
	uint64_t *leaf = leaf_of(root, va, FIRST_TABLE | ACCESSED);

	*leaf = data_page(value) | FIRST_PAGE | ACCESSED;
	return va;
}

static void one_stage(void **state)
{
	uint64_t root = page_new();
	uint32_t id = nested_make(root, 0);

	(void)state;
	traps_on();
	map_at(root, VA, 1);
	map_at(root, VA + PAGE, 2);
	map_at(root, VA + BLOCK, 3);
	map_at(root, VA + UINT64_C(512) * BLOCK, 4);
	map_at(root, FAR, 5);
	assert_int_equal(uiommu_attach(g.context, g.device_id, PASID, id), 0);
	assert_int_equal(loads(VA, 1), 4);
	assert_int_equal(loads(VA + PAGE, 2), 1);
	assert_int_equal(loads(VA + BLOCK, 3), 2);
	assert_int_equal(loads(VA + UINT64_C(512) * BLOCK, 4), 3);
	assert_int_equal(loads(FAR, 5), 4);
	assert_int_equal(loads(VA, 1), 1);
	assert_int_equal(uiommu_detach(g.context, g.device_id, PASID), 0);
}

static void nothing_cached(void **state)
{
	uint64_t root = page_new();
	uint32_t id = nested_make(root, 0);

	(void)state;
	traps_on();
	map_at(root, VA, 1);
	assert_int_equal(uiommu_attach(g.context, g.device_id, PASID, id), 0);
	for (unsigned int i = 0; i < 3; i++)
		assert_int_equal(loads(VA, 1), 4);
	assert_int_equal(uiommu_detach(g.context, g.device_id, PASID), 0);
}

static void bad_sizes(void **state)
{
	struct uiommu_hwpt_alloc alloc = {
		.size = sizeof(alloc), .type = UIOMMU_HWPT_PAGING, .parent_id = g.ioas, .walk_entries = 1};
	uint32_t id;

	(void)state;
	assert_int_equal(uiommu_hwpt_alloc(g.context, &alloc, &id), -EOPNOTSUPP);
	alloc.flags = UIOMMU_HWPT_NEST_PARENT;
	alloc.walk_entries = (1 << 24) + 1;
	assert_int_equal(uiommu_hwpt_alloc(g.context, &alloc, &id), -EOPNOTSUPP);
	alloc.walk_entries = 1;
	assert_int_equal(uiommu_hwpt_alloc(g.context, &alloc, &id), 0);
	assert_int_equal(uiommu_destroy(g.context, id), 0);
}

/* The entry that leads to the table of @va's leaf. */
static uint64_t *table_entry_of(uint64_t root, uint64_t va)
{
	uint64_t table = root;

	for (unsigned int shift = 39; shift > 21; shift -= 9)
		table = entry_at(table)[va >> shift & 511] & UINT64_C(0x000ffffffffff000);
	return entry_at(table) + (va >> 21 & 511);
}

static void tables_change(void **state)
{
	uint64_t root = page_new(), other = page_new(), *entry;
	uint32_t id = nested_make(root, 0);
	uint64_t value;

	(void)state;
	traps_on();
	map_at(root, VA, 1);
	map_at(root, VA + BLOCK, 2);
	entry_at(other)[VA >> 12 & 511] = data_page(3) | FIRST_PAGE | ACCESSED;
	assert_int_equal(uiommu_attach(g.context, g.device_id, PASID, id), 0);
	assert_int_equal(loads(VA, 1), 4);
	assert_int_equal(loads(VA + BLOCK, 2), 2);
	/* A leaf: that is always read. What was said of tables may stay. */
	*leaf_of(root, VA, 0) = data_page(4) | FIRST_PAGE | ACCESSED;
	forget(id, VA, VA + PAGE - 1, UIOMMU_INVALIDATE_LEAF);
	assert_int_equal(loads(VA, 4), 1);
	forget(id, 0, UINT64_MAX, UIOMMU_INVALIDATE_LEAF);
	assert_int_equal(loads(VA, 4), 1);
	/* A table: for any page in its block, and not for others. */
	entry = table_entry_of(root, VA);
	*entry = other | FIRST_TABLE | ACCESSED;
	forget(id, VA + BLOCK, VA + BLOCK + PAGE - 1, 0);
	assert_int_equal(loads(VA + BLOCK, 2), 4);
	forget(id, VA & ~(uint64_t)(BLOCK - 1), (VA & ~(uint64_t)(BLOCK - 1)) + PAGE - 1, 0);
	assert_int_equal(loads(VA, 3), 4);
	/* Taken away, and what it permits. */
	*entry = 0;
	forget(id, 0, UINT64_MAX, 0);
	assert_int_equal(uiommu_dma_read(g.device, PASID, VA, &value, 8, NULL), -EFAULT);
	check_fault(VA, UIOMMU_FAULT_UNMAPPED, 1, 1, false);
	*entry = other | FIRST_READ_ONLY | ACCESSED;
	assert_int_equal(loads(VA, 3), 4);
	assert_int_equal(loads(VA, 3), 1);
	assert_int_equal(uiommu_dma_write(g.device, PASID, VA, &value, 8, NULL), -EFAULT);
	check_fault(VA, UIOMMU_FAULT_PERMISSION, 1, 0, false);
	/* The parent's invalidation is for all. */
	*entry = 0;
	forget(g.parent, 0, UINT64_MAX, 0);
	assert_int_equal(uiommu_dma_read(g.device, PASID, VA, &value, 8, NULL), -EFAULT);
	check_fault(VA, UIOMMU_FAULT_UNMAPPED, 1, 1, false);
	assert_int_equal(uiommu_detach(g.context, g.device_id, PASID), 0);
}

/* Tables of stage 1 at intermediate addresses from @ipa on, which stage 2 moves. Returns the leaf table, where it is. */
static uint64_t build_two_stages(uint64_t second, uint64_t ipa)
{
	uint64_t table = page_new();

	*leaf_of(second, ipa, SECOND) = table | SECOND;
	for (unsigned int shift = 39; shift > 12; shift -= 9) {
		ipa += PAGE;
		entry_at(table)[VA >> shift & 511] = ipa | FIRST_TABLE | ACCESSED;
		table = page_new();
		*leaf_of(second, ipa, SECOND) = table | SECOND;
	}
	return table;
}

static void two_stages(void **state)
{
	uint64_t second = page_new(), ipa = 0x100000, table = build_two_stages(second, ipa), moved = page_new(), value;
	uint32_t id = nested_make(ipa, second);

	(void)state;
	traps_on();
	for (uint64_t i = 0; i < 2; i++) {
		entry_at(table)[(VA >> 12 & 511) + i] = (0x40000000 + i * PAGE) | FIRST_PAGE | ACCESSED;
		*leaf_of(second, 0x40000000 + i * PAGE, SECOND) = data_page(i) | SECOND;
	}
	assert_int_equal(uiommu_attach(g.context, g.device_id, PASID, id), 0);
	assert_int_equal(uiommu_dma_read(g.device, PASID, VA, &value, 8, NULL), 0);
	assert_int_equal(loads(VA + PAGE, 1), 2);
	assert_int_equal(loads(VA, 0), 2);
	/* Stage 2 puts the table elsewhere: that is known by its address no longer. */
	memcpy(at(moved), at(table), PAGE);
	entry_at(moved)[VA >> 12 & 511] = (0x40000000 + PAGE) | FIRST_PAGE | ACCESSED;
	*leaf_of(second, ipa + UINT64_C(3) * PAGE, 0) = moved | SECOND;
	forget(id, 0, UINT64_MAX, 0);
	assert_int_equal(uiommu_dma_read(g.device, PASID, VA, &value, 8, NULL), 0);
	assert_int_equal(value, 1);
	/* The dirty bit is set where stage 2 lets it be; nothing else of the walk changes. */
	assert_int_equal(uiommu_dma_write(g.device, PASID, VA, &value, 8, NULL), 0);
	assert_int_equal(entry_at(moved)[VA >> 12 & 511] & DIRTY, DIRTY);
	*leaf_of(second, ipa + UINT64_C(3) * PAGE, 0) = moved | 1;
	entry_at(moved)[VA >> 12 & 511] &= ~(uint64_t)DIRTY;
	forget(id, 0, UINT64_MAX, 0);
	assert_true(loads(VA, 1) > 6);
	assert_int_equal(loads(VA, 1), 2);
	assert_int_equal(uiommu_dma_write(g.device, PASID, VA, &value, 8, NULL), -EFAULT);
	check_fault(VA, UIOMMU_FAULT_PERMISSION, 2, 0, true);
	assert_int_equal(uiommu_detach(g.context, g.device_id, PASID), 0);
}

/* No invalidation: memory is looked up at each access, that of tables, too. */
static void memory_under_a_table_ends(void **state)
{
	uint64_t root = page_new(), value;
	uint32_t id = nested_make(root, 0);

	(void)state;
	traps_on();
	map_at(root, VA, 1);
	assert_int_equal(uiommu_attach(g.context, g.device_id, PASID, id), 0);
	loads(VA, 1);
	assert_int_equal(loads(VA, 1), 1);
	assert_int_equal(uiommu_ioas_unmap(g.context, g.ioas, HIGH_START, RAM_BYTES - LOW_BYTES, &value), 0);
	assert_int_equal(uiommu_ioas_unmap(g.context, g.ioas, 0, LOW_BYTES, &value), 0);
	assert_int_equal(uiommu_dma_read(g.device, PASID, VA, &value, 8, NULL), -EFAULT);
	check_fault(VA, UIOMMU_FAULT_MEMORY, 1, 3, true);
	map_ram(0, 0, LOW_BYTES);
	map_ram(HIGH_START, LOW_BYTES, RAM_BYTES - LOW_BYTES);
	assert_int_equal(loads(VA, 1), 1);
	assert_int_equal(uiommu_detach(g.context, g.device_id, PASID), 0);
}

/* A thread that walks all the time, and so fills. */
struct walker {
	pthread_t thread;
	bool stop;
	unsigned long done;
};

static void *walk(void *opaque)
{
	struct walker *walker = opaque;
	uint64_t value;

	for (uint64_t i = 0; !__atomic_load_n(&walker->stop, __ATOMIC_ACQUIRE); i++) {
		uiommu_dma_read(g.device, PASID, VA + i % 8 * PAGE, &value, 8, NULL);
		__atomic_store_n(&walker->done, walker->done + 1, __ATOMIC_RELEASE);
	}
	return NULL;
}

/* The tables of both levels change all the time. Once that is invalidated, nobody comes through the old ones. */
static void fills_against_invalidations(void **state)
{
	uint64_t root = page_new(), value, *entry[2], tables[2][2];
	struct walker walkers[READERS] = {{.stop = false}};
	uint32_t id = nested_make(root, 0);

	(void)state;
	traps_on();
	map_at(root, VA, 0);
	entry[0] = table_entry_of(root, VA);
	entry[1] = entry_at(entry_at(root)[VA >> 39 & 511] & UINT64_C(0x000ffffffffff000)) + (VA >> 30 & 511);
	for (unsigned int i = 0; i < 2; i++) {
		uint64_t page = data_page(i);

		tables[0][i] = page_new() | FIRST_TABLE | ACCESSED;
		tables[1][i] = page_new() | FIRST_TABLE | ACCESSED;
		for (unsigned int k = 0; k < 8; k++)
			entry_at(tables[0][i] & ~UINT64_C(0xfff))[(VA >> 12 & 511) + k] = page | FIRST_PAGE | ACCESSED;
		entry_at(tables[1][i] & ~UINT64_C(0xfff))[VA >> 21 & 511] = tables[0][i];
	}
	assert_int_equal(uiommu_attach(g.context, g.device_id, PASID, id), 0);
	for (unsigned int i = 0; i < READERS; i++)
		assert_int_equal(pthread_create(&walkers[i].thread, NULL, walk, &walkers[i]), 0);
	for (unsigned int i = 0; i < ROUNDS; i++) {
		unsigned long before = __atomic_load_n(&walkers[i / 16 % READERS].done, __ATOMIC_ACQUIRE);

		__atomic_store_n(entry[1], tables[1][i % 2], __ATOMIC_RELEASE);
		if (i % 3)
			forget(id, VA, VA + PAGE - 1, 0);
		else
			forget(i % 2 ? id : g.parent, 0, UINT64_MAX, 0);
		for (unsigned int k = 0; k < 8; k++) {
			assert_int_equal(uiommu_dma_read(g.device, PASID, VA + k * PAGE, &value, 8, NULL), 0);
			assert_int_equal(value, i % 2);
		}
		while (i % 16 == 0 && __atomic_load_n(&walkers[i / 16 % READERS].done, __ATOMIC_ACQUIRE) == before)
			sched_yield();
	}
	for (unsigned int i = 0; i < READERS; i++) {
		__atomic_store_n(&walkers[i].stop, true, __ATOMIC_RELEASE);
		pthread_join(walkers[i].thread, NULL);
	}
	assert_int_equal(uiommu_detach(g.context, g.device_id, PASID), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(one_stage, setup_uncached, teardown),
		cmocka_unit_test_setup_teardown(nothing_cached, setup_nothing_cached, teardown),
		cmocka_unit_test_setup_teardown(bad_sizes, setup, teardown),
		cmocka_unit_test_setup_teardown(tables_change, setup_uncached, teardown),
		cmocka_unit_test_setup_teardown(two_stages, setup_uncached, teardown),
		cmocka_unit_test_setup_teardown(memory_under_a_table_ends, setup_uncached, teardown),
		cmocka_unit_test_setup_teardown(fills_against_invalidations, setup_uncached, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
