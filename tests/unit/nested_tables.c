/* SPDX-License-Identifier: BSD-3-Clause */
/* Nested HWPTs that are a guest's device or PASID table. */
#include "poison.h"

/* A scalable-mode PASID directory with one table, and in it the entry of PASID: first stage, 4 levels, domain 5. */
static uint64_t *pasid_entry(uint64_t *directory)
{
	uint64_t table = page_new();

	*directory = page_new();
	entry_at(*directory)[PASID >> 6] = table | 1;
	return entry_at(table) + (PASID & 63) * 8;
}

static void entry_set(uint64_t *entry, uint64_t root)
{
	entry[1] = 5;
	entry[2] = root | 0 << 2;
	entry[0] = 1 << 6 | 1;
}

static struct uiommu_hwpt_tables directory_of(uint64_t directory)
{
	return (struct uiommu_hwpt_tables){
		.size = sizeof(struct uiommu_hwpt_tables),
		.flags = UIOMMU_HWPT_FAULT,
		.parent_id = g.parent,
		.fault_queue_id = g.queue,
		.tables = UIOMMU_TABLES_VTD,
		.structure = UIOMMU_STRUCTURE_PASID,
		.base = directory,
		.capabilities = 1 << 1 | 1 << 8 | 1 << 10 | 1 << 16 | 19 << 24 | UINT32_C(6) << 29,
		.size_lg2 = 20,
		.output_lg2 = 46,
		.rid_pasid = UIOMMU_NO_PASID,
	};
}

/* The same memory, once with the page table attached, once with the PASID table: the same bytes and faults. */
static void a_pasid_table(void **state)
{
	uint64_t root = page_new(), page = page_new(), directory, *entry = pasid_entry(&directory), value;
	struct uiommu_hwpt_tables tables = directory_of(directory);
	struct uiommu_attach_stats stats = {.size = sizeof(stats)};
	struct uiommu_invalidation of_pasid = {
		.last = UINT64_MAX, .flags = UIOMMU_INVALIDATE_ENTRIES | UIOMMU_INVALIDATE_PASID, .pasid = PASID};
	struct uiommu_fault_event event;
	size_t count;
	uint32_t id;

	(void)state;
	traps_on();
	*leaf_of(root, VA, FIRST_TABLE) = page | FIRST_PAGE;
	*entry_at(page) = 0x1234;
	entry_set(entry, root);
	assert_int_equal(uiommu_hwpt_alloc_tables(g.context, &tables, &id), 0);
	assert_int_equal(uiommu_attach(g.context, g.device_id, PASID, id), -EINVAL);
	assert_int_equal(uiommu_attach(g.context, g.device_id, UIOMMU_NO_PASID, id), 0);
	assert_int_equal(uiommu_attach(g.context, g.device_id, UIOMMU_NO_PASID, g.ioas), -EBUSY);
	assert_int_equal(uiommu_attach(g.context, g.device_id, PASID + 1, g.ioas), -EBUSY);
	count = uiommu_object_count(g.context);
	assert_int_equal(uiommu_dma_read(g.device, PASID, VA, &value, 8, NULL), 0);
	assert_int_equal(value, 0x1234);
	assert_int_equal(uiommu_object_count(g.context), count);
	assert_int_equal(uiommu_attach_stats(g.context, g.device_id, PASID, &stats), 0);
	assert_int_equal(stats.bytes_read, 8);
	assert_int_equal(stats.hwpt_id, id);
	assert_int_equal(uiommu_detach(g.context, g.device_id, PASID), 0);
	assert_int_equal(uiommu_dma_read(g.device, PASID, VA + PAGE, &value, 8, NULL), -EFAULT);
	check_fault(VA + PAGE, UIOMMU_FAULT_UNMAPPED, 1, 0, false);
	/* An entry that is not there, then malformed, then gone and invalidated. */
	assert_int_equal(uiommu_dma_read(g.device, PASID + 1, VA, &value, 8, NULL), -EFAULT);
	assert_int_equal(uiommu_fault_read(g.context, g.queue, &event, 1), 1);
	assert_int_equal(event.fault.reason, UIOMMU_FAULT_UNMAPPED);
	assert_int_equal(event.fault.structure, UIOMMU_STRUCTURE_PASID);
	entry[8] = 7 << 6 | 1;
	assert_int_equal(uiommu_dma_write(g.device, PASID + 1, VA, &value, 8, NULL), -EFAULT);
	assert_int_equal(uiommu_fault_read(g.context, g.queue, &event, 1), 1);
	assert_int_equal(event.fault.reason, UIOMMU_FAULT_RESERVED);
	assert_int_equal(event.fault.structure, UIOMMU_STRUCTURE_PASID);
	assert_int_equal(event.fault.access, UIOMMU_WRITE);
	entry[0] = 0;
	assert_int_equal(uiommu_hwpt_invalidate(g.context, id, &of_pasid, 1), 0);
	assert_int_equal(uiommu_dma_read(g.device, PASID, VA, &value, 8, NULL), -EFAULT);
	assert_int_equal(uiommu_fault_read(g.context, g.queue, &event, 1), 1);
	assert_int_equal(event.fault.structure, UIOMMU_STRUCTURE_PASID);
	assert_int_equal(uiommu_attach_stats(g.context, g.device_id, PASID, &stats), -ENOENT);
	/* A request without PASID has no entry here. */
	assert_int_equal(uiommu_dma_read(g.device, UIOMMU_NO_PASID, VA, &value, 8, NULL), -EFAULT);
	assert_int_equal(uiommu_fault_read(g.context, g.queue, &event, 1), 1);
	assert_int_equal(event.fault.pasid, UIOMMU_NO_PASID);
	/* What had no entry is counted where the tables are attached. */
	assert_int_equal(uiommu_attach_stats(g.context, g.device_id, UIOMMU_NO_PASID, &stats), 0);
	assert_int_equal(stats.hwpt_id, id);
	assert_int_equal(stats.faults, 4);
	assert_int_equal(uiommu_detach(g.context, g.device_id, UIOMMU_NO_PASID), 0);
	assert_int_equal(uiommu_attach_stats(g.context, g.device_id, UIOMMU_NO_PASID, &stats), -ENOENT);
	assert_int_equal(uiommu_dma_read(g.device, PASID, VA, &value, 8, NULL), -EFAULT);
	assert_int_equal(uiommu_destroy(g.context, id), 0);
}

/* What one way of attaching gives for each of many accesses. */
enum { ACCESSES = 400 };

struct answers {
	struct {
		int error;
		uint64_t done, value;
		struct uiommu_fault fault;
	} of[ACCESSES];
};

static void ask_all(struct answers *answers)
{
	uint64_t random = 88172645463325252u;

	for (unsigned int i = 0; i < ACCESSES; i++) {
		struct uiommu_dma_result result;
		uint64_t address;

		random ^= random << 13;
		random ^= random >> 7;
		random ^= random << 17;
		address = VA + random % (40 * PAGE);
		answers->of[i].value = random;
		answers->of[i].error = random >> 60 & 1
					       ? uiommu_dma_write(g.device, PASID, address, &answers->of[i].value, 8, &result)
					       : uiommu_dma_read(g.device, PASID, address, &answers->of[i].value, 8, &result);
		answers->of[i].done = result.done;
		answers->of[i].fault = result.fault;
		if (result.done < 8)
			answers->of[i].value = 0;
	}
}

/* One guest memory, its PASID table attached whole and its page table attached to the PASID: the same answers, bytes and records.
 */
static void whole_and_one_by_one(void **state)
{
	uint64_t root = page_new(), directory, *entry = pasid_entry(&directory);
	struct answers *whole = calloc(1, sizeof(*whole)), *single = calloc(1, sizeof(*single));
	struct uiommu_hwpt_tables tables = directory_of(directory);
	static const uint64_t kinds[] = {FIRST_PAGE, FIRST_READ_ONLY, 0, 0x3 /* privileged */, FIRST_PAGE | UINT64_C(1) << 50};
	uint8_t *before = malloc(RAM_BYTES), *after = malloc(RAM_BYTES);
	uint32_t id;

	(void)state;
	traps_on();
	tables.capabilities |= 1 << 21; /* execute: NXE means something, as the page table attached by itself has it */
	entry_set(entry, root);
	entry[2] |= 1 << 5 | 1 << 4; /* NXE, WPE */
	for (unsigned int i = 0; i < 40; i++)
		*leaf_of(root, VA + i * PAGE, i % 7 == 6 ? 0x3 : FIRST_TABLE) = page_new() | kinds[i % 5];
	memcpy(before, g.bytes, RAM_BYTES);
	assert_int_equal(uiommu_hwpt_alloc_tables(g.context, &tables, &id), 0);
	assert_int_equal(uiommu_attach(g.context, g.device_id, UIOMMU_NO_PASID, id), 0);
	ask_all(whole);
	assert_int_equal(uiommu_detach(g.context, g.device_id, UIOMMU_NO_PASID), 0);
	memcpy(after, g.bytes, RAM_BYTES);
	memcpy(g.bytes, before, RAM_BYTES);
	id = nested_make(root, 0);
	assert_int_equal(uiommu_attach(g.context, g.device_id, PASID, id), 0);
	ask_all(single);
	assert_int_equal(uiommu_detach(g.context, g.device_id, PASID), 0);
	assert_memory_equal(whole, single, sizeof(*whole));
	assert_memory_equal(after, g.bytes, RAM_BYTES);
	free(whole);
	free(single);
	free(before);
	free(after);
}

/* Translations of one domain or PASID are forgotten, those of others may stay; entries stay where only translations go. */
static void tables_are_invalidated_in_parts(void **state)
{
	uint64_t root = page_new(), pages[2] = {page_new(), page_new()}, directory, *entry = pasid_entry(&directory), value;
	struct uiommu_hwpt_tables tables = directory_of(directory);
	struct uiommu_invalidation request = {.start = VA, .last = VA + PAGE - 1};
	const struct {
		uint32_t flags;
		bool hits;
	} cases[] = {
		{0, true},
		{UIOMMU_INVALIDATE_PASID, true},
		{UIOMMU_INVALIDATE_DOMAIN, true},
		{UIOMMU_INVALIDATE_DOMAIN | UIOMMU_INVALIDATE_ASID, true},
		{UIOMMU_INVALIDATE_DEVICE | UIOMMU_INVALIDATE_ENTRIES, true},
	};
	uint32_t id;

	(void)state;
	traps_on();
	entry_set(entry, root);
	for (unsigned int i = 0; i < 2; i++)
		*entry_at(pages[i]) = i;
	assert_int_equal(uiommu_hwpt_alloc_tables(g.context, &tables, &id), 0);
	assert_int_equal(uiommu_attach(g.context, g.device_id, UIOMMU_NO_PASID, id), 0);
	request.pasid = PASID;
	request.asid = PASID;
	request.domain = 5;
	request.device_id = g.device_id;
	for (unsigned int i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		*leaf_of(root, VA, FIRST_TABLE) = pages[i % 2] | FIRST_PAGE;
		request.flags = cases[i].flags;
		assert_int_equal(uiommu_hwpt_invalidate(g.context, id, &request, 1), 0);
		assert_int_equal(uiommu_dma_read(g.device, PASID, VA, &value, 8, NULL), 0);
		assert_int_equal(value, i % 2);
	}
	request.flags = 256;
	assert_int_equal(uiommu_hwpt_invalidate(g.context, id, &request, 1), -EINVAL);
	assert_int_equal(uiommu_detach(g.context, g.device_id, UIOMMU_NO_PASID), 0);
}

/* A context that closes with everything attached, and a device table that leads to it all: root, context, directory, entry. */
static void a_device_table(void **state)
{
	uint64_t root = page_new(), page = page_new(), directory, *entry = pasid_entry(&directory), value, table = page_new();
	struct uiommu_hwpt_tables tables = directory_of(directory);
	uint64_t context_table = page_new(), *context = entry_at(context_table) + 8 * 4;
	uint32_t id;

	(void)state;
	traps_on();
	/* RID 8: bus 0, device 1, function 0. */
	entry_at(table)[0] = context_table | 1;
	context[1] = 0;
	context[0] = directory | UINT64_C(7) << 9 | 1 << 3 | 1; /* PDTS, PASIDE */
	*leaf_of(root, VA, FIRST_TABLE) = page | FIRST_PAGE;
	*entry_at(page) = 0x4321;
	entry_set(entry, root);
	tables.structure = UIOMMU_STRUCTURE_DEVICE;
	tables.base = table;
	tables.mode = 1;
	assert_int_equal(uiommu_hwpt_alloc_tables(g.context, &tables, &id), 0);
	assert_int_equal(uiommu_attach(g.context, g.device_id, UIOMMU_NO_PASID, id), 0);
	assert_int_equal(uiommu_dma_read(g.device, PASID, VA, &value, 8, NULL), 0);
	assert_int_equal(value, 0x4321);
}

/*
 * The guest moves a PASID from one page table to another, invalidates its entry and poisons what the old one led to: nobody reads
 * poison.
 */
enum { ROUNDS = 3000 };

static void entries_against_accesses(void **state)
{
	uint64_t roots[2] = {page_new(), page_new()}, pages[2] = {page_new(), page_new()}, directory,
		 *entry = pasid_entry(&directory);
	const struct uiommu_invalidation of_pasid = {
		.last = UINT64_MAX, .flags = UIOMMU_INVALIDATE_ENTRIES | UIOMMU_INVALIDATE_PASID, .pasid = PASID};
	struct uiommu_hwpt_tables tables = directory_of(directory);
	struct reader reader[2];
	uint32_t id;

	(void)state;
	traps_on();
	for (unsigned int i = 0; i < 2; i++) {
		*leaf_of(roots[i], VA, FIRST_TABLE) = pages[i] | FIRST_PAGE;
		memset(at(pages[i]), i ? POISON : GOOD, PAGE);
	}
	entry_set(entry, roots[0]);
	assert_int_equal(uiommu_hwpt_alloc_tables(g.context, &tables, &id), 0);
	assert_int_equal(uiommu_attach(g.context, g.device_id, UIOMMU_NO_PASID, id), 0);
	for (unsigned int i = 0; i < 2; i++)
		reader_start(&reader[i], PASID);
	for (unsigned int i = 0; i < ROUNDS; i++) {
		const struct reader *awaited = &reader[i / 64 % 2];
		unsigned long before = reader_good(awaited);

		memset(at(pages[(i + 1) % 2]), GOOD, PAGE);
		__atomic_store_n(&entry[2], roots[(i + 1) % 2], __ATOMIC_RELEASE);
		assert_int_equal(uiommu_hwpt_invalidate(g.context, id, &of_pasid, 1), 0);
		memset(at(pages[i % 2]), POISON, PAGE);
		if (i % 64 == 0)
			reader_await(awaited, before);
	}
	for (unsigned int i = 0; i < 2; i++)
		reader_end(&reader[i]);
	assert_int_equal(uiommu_detach(g.context, g.device_id, UIOMMU_NO_PASID), 0);
}

/* FPD of the entry: what page tables refuse is counted and not recorded. PASIDs that nobody may use are told. */
static void what_is_recorded(void **state)
{
	uint64_t root = page_new(), directory, *entry = pasid_entry(&directory), value;
	struct uiommu_hwpt_tables tables = directory_of(directory);
	const struct uiommu_invalidation all = {.last = UINT64_MAX, .flags = UIOMMU_INVALIDATE_ENTRIES};
	struct uiommu_attach_stats stats = {.size = sizeof(stats)};
	struct uiommu_fault_event event;
	uint32_t id;

	(void)state;
	traps_on();
	entry_set(entry, root);
	entry[0] |= 1 << 1;
	assert_int_equal(uiommu_hwpt_alloc_tables(g.context, &tables, &id), 0);
	assert_int_equal(uiommu_attach(g.context, g.device_id, UIOMMU_NO_PASID, id), 0);
	assert_int_equal(uiommu_dma_read(g.device, PASID, VA, &value, 8, NULL), -EFAULT);
	assert_int_equal(uiommu_fault_read(g.context, g.queue, &event, 1), 0);
	assert_int_equal(uiommu_attach_stats(g.context, g.device_id, PASID, &stats), 0);
	assert_int_equal(stats.faults, 1);
	entry[0] &= ~UINT64_C(2);
	assert_int_equal(uiommu_hwpt_invalidate(g.context, id, &all, 1), 0);
	assert_int_equal(uiommu_dma_read(g.device, PASID, VA, &value, 8, NULL), -EFAULT);
	assert_int_equal(uiommu_fault_read(g.context, g.queue, &event, 1), 1);
	assert_int_equal(event.fault.reason, UIOMMU_FAULT_UNMAPPED);
	assert_int_equal(event.fault.level, 3);
	assert_int_equal(event.fault.flags, UIOMMU_FAULT_TOP);
	assert_int_equal(uiommu_dma_read(g.device, 0, VA, &value, 8, NULL), -EFAULT);
	assert_int_equal(uiommu_fault_read(g.context, g.queue, &event, 1), 1);
	assert_int_equal(event.fault.reason, UIOMMU_FAULT_BLOCKED);
	assert_int_equal(event.fault.structure, UIOMMU_STRUCTURE_DEVICE);
	assert_int_equal(event.fault.flags, UIOMMU_FAULT_VALUE);
	assert_int_equal(uiommu_dma_read(g.device, UIOMMU_PASID_LAST + 1, VA, &value, 8, NULL), -EFAULT);
	assert_int_equal(uiommu_fault_read(g.context, g.queue, &event, 1), 1);
	assert_int_equal(event.fault.reason, UIOMMU_FAULT_RANGE);
	assert_int_equal(uiommu_detach(g.context, g.device_id, UIOMMU_NO_PASID), 0);
}

/* Two stages: addresses of the second one say nothing of what is cached by those of the first. */
static void second_stage_is_invalidated(void **state)
{
	uint64_t first = page_new(), second = page_new(), pages[2] = {page_new(), page_new()}, directory;
	uint64_t *entry = pasid_entry(&directory), gpa = UINT64_C(0x5000000), value;
	struct uiommu_hwpt_tables tables = directory_of(directory);
	struct uiommu_invalidation request = {.start = gpa, .last = gpa + PAGE - 1, .flags = UIOMMU_INVALIDATE_DOMAIN, .domain = 5};
	uint32_t id;

	(void)state;
	traps_on();
	tables.capabilities |= UIOMMU_VTD_TABLES_SECOND | UIOMMU_VTD_TABLES_NESTED;
	*leaf_of(first, VA, FIRST_TABLE) = gpa | FIRST_PAGE;
	/* Where the first stage's tables are, the second one leads to themselves. */
	for (uint64_t page = 0; page < RAM_PAGES; page++) {
		uint64_t address = page % 2 ? HIGH_START + page / 2 * PAGE : page / 2 * PAGE;

		*leaf_of(second, address, SECOND) = address | SECOND;
	}
	*leaf_of(second, gpa, SECOND) = pages[0] | SECOND;
	*entry_at(pages[0]) = 1;
	*entry_at(pages[1]) = 2;
	entry_set(entry, first);
	entry[0] = second | 3 << 6 | 2 << 2 | 1;
	assert_int_equal(uiommu_hwpt_alloc_tables(g.context, &tables, &id), 0);
	assert_int_equal(uiommu_attach(g.context, g.device_id, UIOMMU_NO_PASID, id), 0);
	assert_int_equal(uiommu_dma_read(g.device, PASID, VA, &value, 8, NULL), 0);
	assert_int_equal(value, 1);
	*leaf_of(second, gpa, SECOND) = pages[1] | SECOND;
	/* As addresses of the first stage they are somewhere else. */
	assert_int_equal(uiommu_hwpt_invalidate(g.context, id, &request, 1), 0);
	assert_int_equal(uiommu_dma_read(g.device, PASID, VA, &value, 8, NULL), 0);
	assert_int_equal(value, g.caches ? 1 : 2);
	request.flags |= UIOMMU_INVALIDATE_STAGE2;
	assert_int_equal(uiommu_hwpt_invalidate(g.context, id, &request, 1), 0);
	assert_int_equal(uiommu_dma_read(g.device, PASID, VA, &value, 8, NULL), 0);
	assert_int_equal(value, 2);
	assert_int_equal(uiommu_detach(g.context, g.device_id, UIOMMU_NO_PASID), 0);
}

static void bad_calls(void **state)
{
	struct uiommu_hwpt_tables tables = directory_of(PAGE);
	size_t count = uiommu_object_count(g.context);
	uint32_t id;

	(void)state;
	tables.structure = UIOMMU_STRUCTURE_PASID_DIR;
	assert_int_equal(uiommu_hwpt_alloc_tables(g.context, &tables, &id), -EINVAL);
	tables = directory_of(PAGE);
	tables.tables = 17;
	assert_int_equal(uiommu_hwpt_alloc_tables(g.context, &tables, &id), -EINVAL);
	tables = directory_of(PAGE);
	tables.flags |= UIOMMU_HWPT_PASID;
	assert_int_equal(uiommu_hwpt_alloc_tables(g.context, &tables, &id), -EOPNOTSUPP);
	/* Layouts that there are not. */
	for (uint32_t format = UIOMMU_TABLES_VTD; format <= UIOMMU_TABLES_RISCV; format++) {
		static const uint32_t known[] = {
			[UIOMMU_TABLES_VTD] = 1,
			[UIOMMU_TABLES_SMMUV3] = 0x7,
			[UIOMMU_TABLES_AMD] = 0x77,
			[UIOMMU_TABLES_RISCV] = 0xe,
		};

		for (unsigned int mode = 0; mode < 256; mode++) {
			if (mode < 32 && known[format] >> mode & 1)
				continue;
			tables = directory_of(PAGE);
			tables.tables = format;
			tables.mode = (uint8_t)mode;
			assert_int_equal(uiommu_hwpt_alloc_tables(g.context, &tables, &id), -EINVAL);
		}
	}
	assert_int_equal(uiommu_object_count(g.context), count);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_ALL_WAYS(a_pasid_table),
		IN_ALL_WAYS(tables_are_invalidated_in_parts),
		IN_ALL_WAYS(whole_and_one_by_one),
		IN_ALL_WAYS(a_device_table),
		IN_ALL_WAYS(what_is_recorded),
		IN_ALL_WAYS(second_stage_is_invalidated),
		IN_ALL_WAYS(entries_against_accesses),
		cmocka_unit_test_setup_teardown(bad_calls, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
