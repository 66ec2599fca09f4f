/* SPDX-License-Identifier: BSD-3-Clause */
/* Nested HWPTs that are one page table: accesses through it, faults, invalidation. */
#include "guest.h"

static void one_stage(void **state)
{
	uint64_t root = page_new(), pages[3] = {page_new(), page_new(), page_new()};
	struct uiommu_dma_atomic atomic = {.address = VA + 8, .pasid = PASID, .length = 8, .operand = 5};
	struct uiommu_dma_place src = {.address = VA, .pasid = PASID}, dst = {.address = VA + 2 * PAGE + 100, .pasid = PASID};
	struct uiommu_dma_result result;
	uint8_t buffer[2 * PAGE], back[2 * PAGE];
	uint32_t id = nested_make(root, 0);

	(void)state;
	traps_on();
	for (unsigned int i = 0; i < 3; i++)
		*leaf_of(root, VA + i * PAGE, FIRST_TABLE) = pages[i] | FIRST_PAGE;
	assert_int_equal(uiommu_attach(g.context, g.device_id, PASID, id), 0);
	for (unsigned int i = 0; i < sizeof(buffer); i++)
		buffer[i] = (uint8_t)(i * 7 + i / 251);
	assert_int_equal(uiommu_dma_write(g.device, PASID, VA + 50, buffer, sizeof(buffer), NULL), 0);
	assert_memory_equal(at(pages[0]) + 50, buffer, PAGE - 50);
	assert_memory_equal(at(pages[1]), buffer + PAGE - 50, PAGE);
	assert_memory_equal(at(pages[2]), buffer + 2 * PAGE - 50, 50);
	assert_int_equal(uiommu_dma_read(g.device, PASID, VA + 50, back, sizeof(back), NULL), 0);
	assert_memory_equal(back, buffer, sizeof(back));
	assert_int_equal(*leaf_of(root, VA, 0) & (ACCESSED | DIRTY), ACCESSED | DIRTY);
	memset(at(pages[0]), 0, 16);
	assert_int_equal(uiommu_dma_atomic(g.device, &atomic, NULL), 0);
	assert_int_equal(entry_at(pages[0])[1], 5);
	assert_int_equal(uiommu_dma_copy(g.device, &dst, &src, 60, NULL), 0);
	assert_memory_equal(at(pages[2]) + 100, at(pages[0]), 60);
	/* Behind the last page. */
	assert_int_equal(uiommu_dma_read(g.device, PASID, VA + 3 * PAGE - 10, back, 20, &result), -EFAULT);
	assert_int_equal(result.done, 10);
	check_fault(VA + 3 * PAGE, UIOMMU_FAULT_UNMAPPED, 1, 0, false);
	assert_int_equal(uiommu_destroy(g.context, id), -EBUSY);
	assert_int_equal(uiommu_detach(g.context, g.device_id, PASID), 0);
	assert_int_equal(uiommu_destroy(g.context, g.parent), -EBUSY);
	assert_int_equal(uiommu_destroy(g.context, id), 0);
	assert_int_equal(uiommu_destroy(g.context, g.parent), 0);
}

/* What was walked is counted: once if it is cached, every time if nothing is. */
static void walks_are_counted(void **state)
{
	uint64_t root = page_new(), page = page_new(), value;
	struct uiommu_attach_stats stats = {.size = sizeof(stats)};
	const struct uiommu_invalidation all = {.last = UINT64_MAX};
	uint32_t id = nested_make(root, 0);
	bool caches = g.caches;

	(void)state;
	traps_on();
	*leaf_of(root, VA, FIRST_TABLE | ACCESSED) = page | FIRST_PAGE | ACCESSED;
	assert_int_equal(uiommu_attach(g.context, g.device_id, PASID, id), 0);
	for (unsigned int i = 0; i < 5; i++)
		assert_int_equal(uiommu_dma_read(g.device, PASID, VA, &value, 8, NULL), 0);
	assert_int_equal(uiommu_attach_stats(g.context, g.device_id, PASID, &stats), 0);
	assert_int_equal(stats.walks, caches ? 1 : 5);
	/* Four entries, and then one: where the lowest table is stays cached, if anything does. */
	assert_int_equal(stats.walks_below_top, stats.walks - 1);
	if (!g.tracked)
		assert_int_equal(stats.entries_read, 4 + stats.walks_below_top);
	assert_int_equal(uiommu_hwpt_invalidate(g.context, id, &all, 1), 0);
	assert_int_equal(uiommu_dma_read(g.device, PASID, VA, &value, 8, NULL), 0);
	assert_int_equal(uiommu_attach_stats(g.context, g.device_id, PASID, &stats), 0);
	assert_int_equal(stats.walks, caches ? 2 : 6);
	assert_int_equal(uiommu_detach(g.context, g.device_id, PASID), 0);
}

static void reads_see_what_is_invalidated(void **state)
{
	uint64_t root = page_new(), old = page_new(), new = page_new(), *leaf = leaf_of(root, VA, FIRST_TABLE);
	const struct uiommu_invalidation page = {.start = VA, .last = VA + PAGE - 1}, all = {.last = UINT64_MAX};
	uint32_t id = nested_make(root, 0);
	uint64_t value;

	(void)state;
	traps_on();
	*leaf = old | FIRST_PAGE;
	*entry_at(old) = 1;
	*entry_at(new) = 2;
	assert_int_equal(uiommu_attach(g.context, g.device_id, PASID, id), 0);
	assert_int_equal(uiommu_dma_read(g.device, PASID, VA, &value, 8, NULL), 0);
	assert_int_equal(value, 1);
	*leaf = new | FIRST_PAGE;
	assert_int_equal(uiommu_hwpt_invalidate(g.context, id, &page, 1), 0);
	assert_int_equal(uiommu_dma_read(g.device, PASID, VA, &value, 8, NULL), 0);
	assert_int_equal(value, 2);
	*leaf = old | FIRST_READ_ONLY;
	assert_int_equal(uiommu_hwpt_invalidate(g.context, id, &all, 1), 0);
	assert_int_equal(uiommu_dma_read(g.device, PASID, VA, &value, 8, NULL), 0);
	assert_int_equal(value, 1);
	assert_int_equal(uiommu_dma_write(g.device, PASID, VA, &value, 8, NULL), -EFAULT);
	check_fault(VA, UIOMMU_FAULT_PERMISSION, 1, 0, false);
	*leaf = 0;
	assert_int_equal(uiommu_hwpt_invalidate(g.context, g.parent, &all, 1), 0);
	assert_int_equal(uiommu_dma_read(g.device, PASID, VA, &value, 8, NULL), -EFAULT);
	check_fault(VA, UIOMMU_FAULT_UNMAPPED, 1, 0, false);
	/* A page that appears needs no invalidation. */
	*leaf = new | FIRST_PAGE;
	assert_int_equal(uiommu_dma_read(g.device, PASID, VA, &value, 8, NULL), 0);
	assert_int_equal(value, 2);
	assert_int_equal(uiommu_detach(g.context, g.device_id, PASID), 0);
}

/* Stage 2 moves every page that stage 1 names by one page of the tables' own choice. */
static void two_stages(void **state)
{
	uint64_t second = page_new(), ipa_root = 0x100000, ipa_next = ipa_root + PAGE, data = page_new(), table;
	uint64_t value = 0x1122334455667788;
	uint32_t id = nested_make(ipa_root, second);

	(void)state;
	traps_on();
	table = page_new();
	*leaf_of(second, ipa_root, SECOND) = table | SECOND;
	for (unsigned int shift = 39; shift > 12; shift -= 9, ipa_next += PAGE) {
		entry_at(table)[VA >> shift & 511] = ipa_next | FIRST_TABLE;
		table = page_new();
		*leaf_of(second, ipa_next, SECOND) = table | SECOND;
	}
	entry_at(table)[VA >> 12 & 511] = 0x40000000 | FIRST_PAGE;
	*leaf_of(second, 0x40000000, SECOND) = data | SECOND;
	assert_int_equal(uiommu_attach(g.context, g.device_id, PASID, id), 0);
	assert_int_equal(uiommu_dma_write(g.device, PASID, VA + 16, &value, 8, NULL), 0);
	assert_int_equal(entry_at(data)[2], value);
	/* Not there in stage 2; then read-only there: the dirty bit cannot be set either. */
	*leaf_of(second, 0x40000000, SECOND) = 0;
	assert_int_equal(uiommu_hwpt_invalidate(g.context, id, &(struct uiommu_invalidation){.last = UINT64_MAX}, 1), 0);
	assert_int_equal(uiommu_dma_read(g.device, PASID, VA, &value, 8, NULL), -EFAULT);
	check_fault(VA, UIOMMU_FAULT_UNMAPPED, 2, 0, false);
	*leaf_of(second, ipa_next - PAGE, SECOND) = table | 1;
	entry_at(table)[VA >> 12 & 511] = 0x40000000 | FIRST_PAGE;
	assert_int_equal(uiommu_hwpt_invalidate(g.context, id, &(struct uiommu_invalidation){.last = UINT64_MAX}, 1), 0);
	assert_int_equal(uiommu_dma_read(g.device, PASID, VA, &value, 8, NULL), -EFAULT);
	check_fault(VA, UIOMMU_FAULT_PERMISSION, 2, 0, true);
	assert_int_equal(uiommu_detach(g.context, g.device_id, PASID), 0);
}

static void memory_of_the_guest_ends(void **state)
{
	uint64_t root = page_new(), page = page_new(), value;
	uint32_t id = nested_make(root, 0);

	(void)state;
	traps_on();
	/* The hole, and memory that is taken away. */
	*leaf_of(root, VA, FIRST_TABLE) = LOW_BYTES | FIRST_PAGE;
	*leaf_of(root, VA + PAGE, FIRST_TABLE) = page | FIRST_PAGE;
	assert_int_equal(uiommu_attach(g.context, g.device_id, PASID, id), 0);
	assert_int_equal(uiommu_dma_read(g.device, PASID, VA, &value, 8, NULL), -EFAULT);
	check_fault(VA, UIOMMU_FAULT_UNMAPPED, 2, 0, false);
	assert_int_equal(uiommu_dma_read(g.device, PASID, VA + PAGE, &value, 8, NULL), 0);
	assert_int_equal(uiommu_ioas_unmap(g.context, g.ioas, 0, LOW_BYTES, NULL), 0);
	assert_int_equal(uiommu_ioas_unmap(g.context, g.ioas, HIGH_START, RAM_BYTES - LOW_BYTES, NULL), 0);
	assert_int_equal(uiommu_dma_read(g.device, PASID, VA + PAGE, &value, 8, NULL), -EFAULT);
	assert_int_equal(uiommu_hwpt_invalidate(g.context, id, &(struct uiommu_invalidation){.last = UINT64_MAX}, 1), 0);
	{
		struct uiommu_fault_event event;

		assert_int_equal(uiommu_fault_read(g.context, g.queue, &event, 1), 1);
	}
	assert_int_equal(uiommu_dma_read(g.device, PASID, VA + PAGE, &value, 8, NULL), -EFAULT);
	check_fault(VA + PAGE, UIOMMU_FAULT_MEMORY, 1, 3, true);
	assert_int_equal(uiommu_detach(g.context, g.device_id, PASID), 0);
}

static void bad_calls(void **state)
{
	struct uiommu_hwpt_nested nested = {.size = sizeof(nested), .parent_id = g.parent, .first = first_stage(PAGE)};
	struct uiommu_invalidation request = {.start = 2, .last = 1};
	struct uiommu_hwpt_alloc alloc = {
		.size = sizeof(alloc), .type = UIOMMU_HWPT_PAGING, .parent_id = g.ioas, .iotlb_entries = 1};
	size_t count = uiommu_object_count(g.context);
	uint32_t id;

	(void)state;
	assert_int_equal(uiommu_hwpt_alloc(g.context, &alloc, &id), -EOPNOTSUPP);
	alloc.flags = UIOMMU_HWPT_NEST_PARENT;
	alloc.iotlb_entries = (1 << 24) + 1;
	assert_int_equal(uiommu_hwpt_alloc(g.context, &alloc, &id), -EOPNOTSUPP);
	nested.size--;
	assert_int_equal(uiommu_hwpt_alloc_nested(g.context, &nested, &id), -EINVAL);
	nested.size++;
	nested.flags = UIOMMU_HWPT_NEST_PARENT;
	assert_int_equal(uiommu_hwpt_alloc_nested(g.context, &nested, &id), -EOPNOTSUPP);
	nested.flags = UIOMMU_HWPT_FAULT;
	assert_int_equal(uiommu_hwpt_alloc_nested(g.context, &nested, &id), -ENOENT);
	nested.flags = 0;
	nested.parent_id = 1000;
	assert_int_equal(uiommu_hwpt_alloc_nested(g.context, &nested, &id), -ENOENT);
	nested.parent_id = g.ioas;
	assert_int_equal(uiommu_hwpt_alloc_nested(g.context, &nested, &id), -EINVAL);
	nested.parent_id = g.parent;
	nested.first.levels = 3;
	assert_int_equal(uiommu_hwpt_alloc_nested(g.context, &nested, &id), -EINVAL);
	nested.first = (struct uiommu_page_table){.format = UIOMMU_FORMAT_NONE};
	assert_int_equal(uiommu_hwpt_alloc_nested(g.context, &nested, &id), -EINVAL);
	nested.first = second_stage(PAGE);
	assert_int_equal(uiommu_hwpt_alloc_nested(g.context, &nested, &id), -EINVAL);
	nested.first = (struct uiommu_page_table){.format = 1000};
	assert_int_equal(uiommu_hwpt_alloc_nested(g.context, &nested, &id), -EINVAL);
	nested.second = first_stage(PAGE);
	assert_int_equal(uiommu_hwpt_alloc_nested(g.context, &nested, &id), -EINVAL);
	assert_int_equal(uiommu_object_count(g.context), count);
	assert_int_equal(uiommu_hwpt_invalidate(g.context, g.parent, &request, 1), -EINVAL);
	request = (struct uiommu_invalidation){.flags = 1};
	assert_int_equal(uiommu_hwpt_invalidate(g.context, g.parent, &request, 1), -EINVAL);
	assert_int_equal(uiommu_hwpt_invalidate(g.context, g.ioas, NULL, 0), -EINVAL);
	assert_int_equal(uiommu_hwpt_invalidate(g.context, 1000, NULL, 0), -ENOENT);
}

/*
 * Devices read and write pages that the guest takes away, invalidates and poisons at once: nobody reads poison, and nobody writes
 * into a page that is not the guest's table's any more.
 */
enum { THREADS = 2, ROUNDS = 3000, GOOD = 0x11, POISON = 0xee };

struct race {
	pthread_t thread;
	uint64_t slice; /* each thread has its own: among themselves they have nothing to report */
	bool stop;
	unsigned long good, faults, poisoned;
};

static void *accesses(void *opaque)
{
	struct race *race = opaque;
	uint8_t buffer[64], good[64];

	memset(good, GOOD, sizeof(good));
	for (unsigned int i = 0; !__atomic_load_n(&race->stop, __ATOMIC_ACQUIRE); i++) {
		uint64_t address = VA + race->slice + i * 64 % (PAGE / THREADS);
		bool write = i % 3 == 0;

		if (write ? uiommu_dma_write(g.device, PASID, address, good, 64, NULL)
			  : uiommu_dma_read(g.device, PASID, address, buffer, 64, NULL)) {
			race->faults++;
			continue;
		}
		for (unsigned int k = 0; !write && k < sizeof(buffer); k++)
			race->poisoned += buffer[k] != GOOD;
		__atomic_store_n(&race->good, race->good + 1, __ATOMIC_RELEASE);
	}
	return NULL;
}

static void invalidations_against_accesses(void **state)
{
	uint64_t root = page_new(), pages[2] = {page_new(), page_new()}, *leaf = leaf_of(root, VA, FIRST_TABLE);
	const struct uiommu_invalidation page = {.start = VA, .last = VA + PAGE - 1}, all = {.last = UINT64_MAX};
	struct race race[THREADS] = {{.stop = false}};
	uint32_t id = nested_make(root, 0);

	(void)state;
	traps_on();
	memset(at(pages[0]), GOOD, PAGE);
	memset(at(pages[1]), POISON, PAGE);
	__atomic_store_n(leaf, pages[0] | FIRST_PAGE, __ATOMIC_RELEASE);
	assert_int_equal(uiommu_attach(g.context, g.device_id, PASID, id), 0);
	for (unsigned int i = 0; i < THREADS; i++) {
		race[i].slice = i * (PAGE / THREADS);
		assert_int_equal(pthread_create(&race[i].thread, NULL, accesses, &race[i]), 0);
	}
	for (unsigned int i = 0; i < ROUNDS; i++) {
		uint8_t *old = at(pages[i % 2]), *new = at(pages[(i + 1) % 2]);
		unsigned long *awaited = &race[i / 64 % THREADS].good, before = __atomic_load_n(awaited, __ATOMIC_ACQUIRE);

		memset(new, GOOD, PAGE);
		__atomic_store_n(leaf, i % 8 == 7 ? 0 : pages[(i + 1) % 2] | FIRST_PAGE, __ATOMIC_RELEASE);
		assert_int_equal(uiommu_hwpt_invalidate(g.context, i % 4 == 3 ? g.parent : id, i % 2 ? &page : &all, 1), 0);
		memset(old, POISON, PAGE);
		if (i % 8 == 7)
			__atomic_store_n(leaf, pages[(i + 1) % 2] | FIRST_PAGE, __ATOMIC_RELEASE);
		while (i % 64 == 0 && __atomic_load_n(awaited, __ATOMIC_ACQUIRE) == before)
			sched_yield();
		for (unsigned int k = 0; k < PAGE; k++)
			assert_int_equal(old[k], POISON);
	}
	for (unsigned int i = 0; i < THREADS; i++) {
		__atomic_store_n(&race[i].stop, true, __ATOMIC_RELEASE);
		pthread_join(race[i].thread, NULL);
		assert_int_equal(race[i].poisoned, 0);
		assert_true(race[i].good > 0);
	}
	assert_int_equal(uiommu_detach(g.context, g.device_id, PASID), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_ALL_WAYS(one_stage),
		IN_ALL_WAYS(walks_are_counted),
		IN_ALL_WAYS(reads_see_what_is_invalidated),
		IN_ALL_WAYS(two_stages),
		IN_ALL_WAYS(memory_of_the_guest_ends),
		IN_ALL_WAYS(invalidations_against_accesses),
		cmocka_unit_test_setup_teardown(bad_calls, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
