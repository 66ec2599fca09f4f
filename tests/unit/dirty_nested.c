/* SPDX-License-Identifier: BSD-3-Clause */
/* Dirty tracking of a nest parent: what a guest's devices write to, and what is set in its page tables. */
#include "guest.h"

#include <sched.h>

enum { SECOND_AD = 1, SECOND_ACCESSED = 0x100 };

static uint64_t page_of(uint64_t number)
{
	return number * PAGE;
}

static bool is_in(uint64_t gpa, const uint64_t *pages, unsigned int count)
{
	for (unsigned int i = 0; i < count; i++)
		if (pages[i] == gpa)
			return true;
	return false;
}

/* What is dirty is exactly this; it is clean afterwards. */
static void expect_dirty(const uint64_t *pages, unsigned int count)
{
	enum { ALL = RAM_PAGES + HOLE / PAGE };
	uint64_t bitmap[(ALL + 63) / 64] = {0};
	const struct uiommu_dirty_bitmap request = {
		.size = sizeof(request), .hwpt_id = g.parent, .length = ALL * PAGE, .page_size = PAGE, .bitmap = bitmap};

	assert_int_equal(uiommu_hwpt_get_dirty_bitmap(g.context, &request), 0);
	for (unsigned int i = 0; i < ALL; i++)
		assert_int_equal(bitmap[i / 64] >> i % 64 & 1, is_in(page_of(i), pages, count));
}

static void write_at(uint32_t pasid, uint64_t address)
{
	uint64_t value = address;

	assert_int_equal(uiommu_dma_write(g.device, pasid, address, &value, 8, NULL), 0);
}

static void read_at(uint32_t pasid, uint64_t address)
{
	uint64_t value;

	assert_int_equal(uiommu_dma_read(g.device, pasid, address, &value, 8, NULL), 0);
}

/* The tables that lead to @va, top first. */
static void tables_of(uint64_t root, uint64_t va, uint64_t tables[4])
{
	tables[0] = root;
	for (unsigned int i = 1; i < 4; i++)
		tables[i] = entry_at(tables[i - 1])[va >> (48 - 9 * i) & 511] & UINT64_C(0x000ffffffffff000);
}

static void one_stage(void **state)
{
	uint64_t root = page_new(), page = page_new(), other = page_new(), tables[4];
	const struct uiommu_invalidation all = {.last = UINT64_MAX};
	uint32_t id = nested_make(root, 0);

	(void)state;
	traps_on();
	*leaf_of(root, VA, FIRST_TABLE) = page | FIRST_PAGE;
	*leaf_of(root, VA + PAGE, FIRST_TABLE) = other | FIRST_PAGE;
	tables_of(root, VA, tables);
	assert_int_equal(uiommu_attach(g.context, g.device_id, PASID, id), 0);
	expect_dirty(NULL, 0);
	/* Accessed bits in all tables; then a dirty one in the last, and the page; then neither, because they are set. */
	read_at(PASID, VA);
	expect_dirty(tables, 4);
	read_at(PASID, VA);
	expect_dirty(NULL, 0);
	write_at(PASID, VA);
	expect_dirty((uint64_t[]){tables[3], page}, 2);
	for (unsigned int i = 0; i < 3; i++) {
		write_at(PASID, VA);
		write_at(PASID, VA + 8);
		expect_dirty(&page, 1);
	}
	expect_dirty(NULL, 0);
	*leaf_of(root, VA, 0) &= ~(uint64_t)DIRTY;
	assert_int_equal(uiommu_hwpt_invalidate(g.context, id, &all, 1), 0);
	read_at(PASID, VA);
	expect_dirty(NULL, 0);
	write_at(PASID, VA);
	expect_dirty((uint64_t[]){tables[3], page}, 2);
	/* What it does without the guest's tables. */
	assert_int_equal(uiommu_attach(g.context, g.device_id, UIOMMU_NO_PASID, g.parent), 0);
	write_at(UIOMMU_NO_PASID, other);
	expect_dirty(&other, 1);
	assert_int_equal(uiommu_detach(g.context, g.device_id, UIOMMU_NO_PASID), 0);
	assert_int_equal(uiommu_detach(g.context, g.device_id, PASID), 0);
}

/* Stage 1's tables are where stage 2 leads; both set their bits. */
static void two_stages(void **state)
{
	uint64_t second = page_new(), first[4], data = page_new(), seconds[2][4], ipa_root = 0x100000, ipa_data = 0x40000000, ipa;
	struct uiommu_hwpt_nested nested = {.size = sizeof(nested),
					    .flags = UIOMMU_HWPT_PASID,
					    .parent_id = g.parent,
					    .first = first_stage(ipa_root),
					    .second = second_stage(second)};
	uint64_t all[16];
	uint32_t id;

	(void)state;
	traps_on();
	nested.second.flags = SECOND_AD;
	for (unsigned int i = 0; i < 4; i++) {
		first[i] = page_new();
		ipa = ipa_root + i * PAGE;
		*leaf_of(second, ipa, SECOND) = first[i] | SECOND;
		if (i)
			entry_at(first[i - 1])[VA >> (48 - 9 * i) & 511] = ipa | FIRST_TABLE;
	}
	entry_at(first[3])[VA >> 12 & 511] = ipa_data | FIRST_PAGE;
	*leaf_of(second, ipa_data, SECOND) = data | SECOND;
	tables_of(second, ipa_root, seconds[0]);
	tables_of(second, ipa_data, seconds[1]);
	assert_int_equal(uiommu_hwpt_alloc_nested(g.context, &nested, &id), 0);
	assert_int_equal(uiommu_attach(g.context, g.device_id, PASID, id), 0);
	read_at(PASID, VA);
	memcpy(all, first, sizeof(first));
	memcpy(all + 4, seconds, sizeof(seconds));
	expect_dirty(all, 12);
	assert_int_equal(*leaf_of(second, ipa_data, 0) & SECOND_ACCESSED, SECOND_ACCESSED);
	read_at(PASID, VA);
	expect_dirty(NULL, 0);
	/* The dirty bits of both leaves; that of the table was set with the accessed bits in it. */
	write_at(PASID, VA);
	expect_dirty((uint64_t[]){first[3], seconds[1][3], data}, 3);
	for (unsigned int i = 0; i < 3; i++) {
		write_at(PASID, VA);
		expect_dirty(&data, 1);
	}
	/* A table of stage 1 that stage 2 does not write to is not written to. */
	expect_dirty(NULL, 0);
	assert_int_equal(uiommu_detach(g.context, g.device_id, PASID), 0);
}

/* Stage 2 alone, and a PASID's entry that translates nothing. */
static void other_stages(void **state)
{
	uint64_t root = page_new(), page = page_new(), tables[4];
	uint64_t table = page_new(), directory = page_new(), *entry = entry_at(table) + (PASID & 63) * 8;
	struct uiommu_hwpt_tables decoded = {
		.size = sizeof(decoded),
		.parent_id = g.parent,
		.tables = UIOMMU_TABLES_VTD,
		.structure = UIOMMU_STRUCTURE_PASID,
		.base = directory,
		.capabilities = 1 << 1 | 1 << 6 | 1 << 8 | 1 << 10 | 1 << 16 | 19 << 24 | UINT32_C(6) << 29,
		.size_lg2 = 20,
		.output_lg2 = 46,
		.rid_pasid = UIOMMU_NO_PASID,
	};
	struct uiommu_invalidation entries = {.last = UINT64_MAX, .flags = UIOMMU_INVALIDATE_ENTRIES};
	uint32_t id = nested_make(0, root);

	(void)state;
	traps_on();
	*leaf_of(root, VA, SECOND) = page | SECOND;
	assert_int_equal(uiommu_attach(g.context, g.device_id, PASID, id), 0);
	write_at(PASID, VA);
	expect_dirty(&page, 1);
	write_at(PASID, VA);
	expect_dirty(&page, 1);
	assert_int_equal(uiommu_detach(g.context, g.device_id, PASID), 0);
	/* First stage, then pass-through. */
	root = page_new();
	*leaf_of(root, VA, FIRST_TABLE) = page | FIRST_PAGE;
	tables_of(root, VA, tables);
	entry_at(directory)[PASID >> 6] = table | 1;
	entry[1] = 5;
	entry[2] = root;
	entry[0] = 1 << 6 | 1;
	assert_int_equal(uiommu_hwpt_alloc_tables(g.context, &decoded, &id), 0);
	assert_int_equal(uiommu_attach(g.context, g.device_id, UIOMMU_NO_PASID, id), 0);
	read_at(PASID, VA);
	expect_dirty(tables, 4);
	write_at(PASID, VA);
	expect_dirty((uint64_t[]){tables[3], page}, 2);
	for (unsigned int i = 0; i < 3; i++) {
		write_at(PASID, VA);
		expect_dirty(&page, 1);
	}
	entry[0] = 4 << 6 | 1;
	entry[2] = 0;
	assert_int_equal(uiommu_hwpt_invalidate(g.context, id, &entries, 1), 0);
	for (unsigned int i = 0; i < 3; i++) {
		read_at(PASID, page);
		expect_dirty(NULL, 0);
		write_at(PASID, page);
		expect_dirty(&page, 1);
	}
	assert_int_equal(uiommu_detach(g.context, g.device_id, UIOMMU_NO_PASID), 0);
}

/* While it is off writes are cached; then they are seen all the same. Memory that comes is dirty if it can be written to. */
static void on_and_off(void **state)
{
	uint64_t root = page_new(), page = page_new(), expected[RAM_PAGES];
	uint32_t id = nested_make(root, 0);

	(void)state;
	traps_on();
	*leaf_of(root, VA, FIRST_TABLE) = page | FIRST_PAGE;
	assert_int_equal(uiommu_attach(g.context, g.device_id, PASID, id), 0);
	for (unsigned int i = 0; i < 3; i++) {
		assert_int_equal(uiommu_hwpt_set_dirty_tracking(g.context, g.parent, 0), 0);
		write_at(PASID, VA);
		write_at(PASID, VA);
		assert_int_equal(uiommu_hwpt_set_dirty_tracking(g.context, g.parent, UIOMMU_DIRTY_TRACKING_ENABLE), 0);
		expect_dirty(NULL, 0);
		write_at(PASID, VA);
		expect_dirty(&page, 1);
	}
	assert_int_equal(uiommu_ioas_unmap(g.context, g.ioas, HIGH_START, RAM_BYTES - LOW_BYTES, NULL), 0);
	map_ram(HIGH_START, LOW_BYTES, RAM_BYTES - LOW_BYTES);
	for (unsigned int i = 0; i < RAM_PAGES / 2; i++)
		expected[i] = HIGH_START + i * PAGE;
	expect_dirty(expected, RAM_PAGES / 2);
	expect_dirty(NULL, 0);
	assert_int_equal(uiommu_detach(g.context, g.device_id, PASID), 0);
}

enum { THREADS = 2, HOT = 32, ROUNDS = 600 };

static struct {
	bool stop;
	unsigned long writes[THREADS];
} race;

static void *write_numbers(void *opaque)
{
	uintptr_t me = (uintptr_t)opaque;

	for (uint64_t number = 1; !__atomic_load_n(&race.stop, __ATOMIC_ACQUIRE); number++) {
		uint64_t address = VA + number * (5 + 2 * me) % HOT * PAGE + me * 8;

		assert_int_equal(uiommu_dma_write(g.device, PASID, address, &number, 8, NULL), 0);
		__atomic_store_n(&race.writes[me], number, __ATOMIC_RELEASE);
	}
	return NULL;
}

static uint64_t load(uint64_t gpa, unsigned int word)
{
	return __atomic_load_n(entry_at(gpa) + word, __ATOMIC_RELAXED);
}

/* Copies what is dirty of @pages. */
static void copy_dirty(const uint64_t *pages, uint64_t (*copy)[THREADS])
{
	uint64_t bitmap[(RAM_PAGES + HOLE / PAGE + 63) / 64] = {0};
	const struct uiommu_dirty_bitmap request = {
		.size = sizeof(request), .hwpt_id = g.parent, .length = RAM_BYTES + HOLE, .page_size = PAGE, .bitmap = bitmap};

	assert_int_equal(uiommu_hwpt_get_dirty_bitmap(g.context, &request), 0);
	for (unsigned int i = 0; i < HOT; i++)
		if (bitmap[pages[i] / PAGE / 64] >> pages[i] / PAGE % 64 & 1)
			for (unsigned int k = 0; k < THREADS; k++)
				copy[i][k] = load(pages[i], k);
}

/* A migration, while the guest's devices write and the guest invalidates. */
static void nothing_is_missed(void **state)
{
	uint64_t root = page_new(), pages[HOT], copy[HOT][THREADS] = {{0}};
	const struct uiommu_invalidation all = {.last = UINT64_MAX};
	uint32_t id = nested_make(root, 0);
	unsigned int rounds = scaled(ROUNDS);
	pthread_t threads[THREADS];

	(void)state;
	traps_on();
	memset(&race, 0, sizeof(race));
	for (unsigned int i = 0; i < HOT; i++) {
		pages[i] = page_new();
		*leaf_of(root, VA + i * PAGE, FIRST_TABLE) = pages[i] | FIRST_PAGE;
	}
	assert_int_equal(uiommu_attach(g.context, g.device_id, PASID, id), 0);
	for (uintptr_t i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, write_numbers, (void *)i), 0);
	for (unsigned int i = 0; i < rounds; i++) {
		unsigned long before = __atomic_load_n(&race.writes[0], __ATOMIC_ACQUIRE);

		copy_dirty(pages, copy);
		if (i % 8 == 0)
			assert_int_equal(uiommu_hwpt_invalidate(g.context, i % 16 ? id : g.parent, &all, 1), 0);
		while (i % 16 == 0 && __atomic_load_n(&race.writes[0], __ATOMIC_ACQUIRE) == before)
			sched_yield();
	}
	__atomic_store_n(&race.stop, true, __ATOMIC_RELEASE);
	for (unsigned int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	copy_dirty(pages, copy);
	for (unsigned int i = 0; i < HOT; i++)
		for (unsigned int k = 0; k < THREADS; k++)
			assert_int_equal(copy[i][k], load(pages[i], k));
	assert_int_equal(uiommu_detach(g.context, g.device_id, PASID), 0);
}

static int setup_tracked_uncached(void **state)
{
	(void)state;
	guest_make(UIOMMU_HWPT_DIRTY_TRACKING, UIOMMU_IOTLB_NONE);
	return 0;
}

#define BOTH(test)                                                                                                                 \
	cmocka_unit_test_setup_teardown(test, setup_tracked, teardown),                                                            \
	{                                                                                                                          \
#test "_uncached", test, setup_tracked_uncached, teardown, NULL                                                    \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
		BOTH(one_stage), BOTH(two_stages), BOTH(other_stages), BOTH(on_and_off), BOTH(nothing_is_missed),
	};

	assert_int_equal(traps_install(), 0);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
