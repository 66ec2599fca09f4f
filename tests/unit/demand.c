/* SPDX-License-Identifier: BSD-3-Clause */
/* Accesses that wait for memory, and what ends their waiting; tables that are absent. */
#include "demand.h"

/* --- what may end the waiting --- */

static void supplied(void **state)
{
	struct access accesses[THREADS];
	uint64_t word = 5;

	(void)state;
	ready();
	bind_memory();
	*entry_at(3 * PAGE + 8) = WORD;
	*entry_at(HIGH_START) = WORD + 1;
	for (unsigned int i = 0; i < THREADS; i++)
		start(&accesses[i], 3 * PAGE + 8);
	/* However many wait: told once. */
	assert_int_equal(next_wanted(), 3 * PAGE);
	give(3 * PAGE);
	for (unsigned int i = 0; i < THREADS; i++) {
		/* Those that came later than the answer found it present; those that looked before it were answered. */
		check(&accesses[i], UIOMMU_FAULT_NONE);
		assert_int_equal(accesses[i].value, WORD);
	}
	assert_false(wanted());
	/* Present from now on, for writes, too; the next page is not. */
	assert_int_equal(uiommu_dma_write(g.device, PASID, 3 * PAGE + 16, &word, 8, NULL), 0);
	assert_int_equal(*(uint64_t *)(void *)(d.ram + 3 * PAGE + 16), 5);
	start(&accesses[0], 4 * PAGE - 4);
	assert_int_equal(next_wanted(), 4 * PAGE);
	give(4 * PAGE);
	check(&accesses[0], UIOMMU_FAULT_NONE);
	/* Supplied before anybody asks. */
	supply(HIGH_START);
	start(&accesses[0], HIGH_START);
	check(&accesses[0], UIOMMU_FAULT_NONE);
	assert_int_equal(accesses[0].value, WORD + 1);
	assert_false(wanted());
}

static void refused(void **state)
{
	struct uiommu_fault_event event;
	struct access access;

	(void)state;
	/* Not in the file, either. */
	assert_int_equal(fallocate(g.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 3 * PAGE, PAGE), 0);
	ready();
	bind_memory();
	start(&access, 3 * PAGE);
	assert_int_equal(next_wanted(), 3 * PAGE);
	assert_int_equal(answer(2 * PAGE, PAGE, UIOMMU_RESPONSE_SUCCESS), 0); /* of another one */
	assert_int_equal(answer(0, LOW_BYTES, UIOMMU_RESPONSE_INVALID), 0);
	check(&access, UIOMMU_FAULT_MEMORY);
	assert_int_equal(uiommu_fault_read(g.context, g.queue, &event, 1), 1);
	assert_int_equal(event.fault.reason, UIOMMU_FAULT_MEMORY);
	assert_int_equal(event.fault.address, 3 * PAGE);
	/* The next access asks again. A wrong claim that it is there does not help. */
	start(&access, 3 * PAGE);
	assert_int_equal(next_wanted(), 3 * PAGE);
	assert_int_equal(answer(3 * PAGE, PAGE, UIOMMU_RESPONSE_SUCCESS), 0);
	assert_int_equal(next_wanted(), 3 * PAGE);
	give(3 * PAGE);
	check(&access, UIOMMU_FAULT_NONE);
	assert_int_equal(answer(1, 0, 0), -EINVAL);
	assert_int_equal(answer(0, 1, 3), -EINVAL);
	assert_int_equal(uiommu_demand_answer(g.context, 999, &all, 0), -ENOENT);
	assert_int_equal(uiommu_demand_fd(g.context, 999), -ENOENT);
	assert_int_equal(uiommu_demand_read(g.context, 999, NULL, 0), -ENOENT);
}

/* The memory goes, the bind goes, the VMM goes: who waits meets what there is then. */
static void ended(void **state)
{
	struct access access;

	(void)state;
	ready();
	bind_memory();
	start(&access, 3 * PAGE);
	assert_int_equal(next_wanted(), 3 * PAGE);
	assert_int_equal(change(&all, NULL, 0), 0);
	check(&access, UIOMMU_FAULT_UNMAPPED);
	assert_int_equal(map_on_demand(), 0);
	start(&access, 3 * PAGE);
	assert_int_equal(next_wanted(), 3 * PAGE);
	assert_int_equal(uiommu_unbind(g.context, g.device_id, PASID), 0);
	pthread_join(access.thread, NULL);
	assert_true(access.result.fault.reason == UIOMMU_FAULT_NOT_ATTACHED || access.result.fault.reason == UIOMMU_FAULT_DRAINING);
	bind_memory();
	start(&access, 3 * PAGE);
	assert_int_equal(next_wanted(), 3 * PAGE);
	assert_int_equal(uiommu_destroy(g.context, d.queue), 0);
	check(&access, UIOMMU_FAULT_MEMORY);
	start(&access, 4 * PAGE);
	check(&access, UIOMMU_FAULT_MEMORY);
	assert_int_equal(uiommu_demand_fd(g.context, d.queue), -ENOENT);
}

static void bad_regions(void **state)
{
	struct uiommu_guest_region bad;
	int plain = memfd_create("unsealed", MFD_CLOEXEC);

	(void)state;
	ready();
	assert_int_equal(change(&all, NULL, 0), 0);
	assert_int_equal(ftruncate(plain, PAGE), 0);
#define REFUSED(member, value, expected)                                                                                           \
	do {                                                                                                                       \
		bad = region(0, 0, LOW_BYTES);                                                                                     \
		bad.member = (value);                                                                                              \
		assert_int_equal(change(NULL, &bad, 1), expected);                                                                 \
	} while (0)
	REFUSED(flags, 5, -EOPNOTSUPP);
	REFUSED(flags, UIOMMU_GUEST_MINOR, -EINVAL);
	REFUSED(flags, 0, -EINVAL);
	REFUSED(reserved, 1, -EINVAL);
	REFUSED(demand_id, 999, -ENOENT);
	REFUSED(demand_id, g.ioas, -ENOENT);
	REFUSED(page_lg2, 11, -EINVAL);
	REFUSED(page_lg2, 31, -EINVAL);
	REFUSED(page_lg2, 22, -EINVAL);
	REFUSED(gpa, 8, -EINVAL);
	REFUSED(length, LOW_BYTES - 8, -EINVAL);
	if (d.bits) {
		REFUSED(flags, UIOMMU_GUEST_ON_DEMAND | UIOMMU_GUEST_MINOR, -EINVAL);
		REFUSED(bitmap_fd, plain, -EINVAL);
		REFUSED(bitmap_fd, 9999, -EBADF);
		REFUSED(bitmap_offset, 4, -EINVAL);
		REFUSED(bitmap_offset, RAM_PAGES / 8, -EINVAL);
	}
#undef REFUSED
	bad = region(0, 0, LOW_BYTES);
	assert_int_equal(change(NULL, &bad, 1), 0);
	/* The same again is the same; another way of supplying it is not. */
	if (d.bits)
		assert_int_equal(change(NULL, &bad, 1), 0);
	bad.flags = 0;
	bad.demand_id = bad.page_lg2 = 0;
	bad.bitmap_offset = 0;
	assert_int_equal(change(NULL, &bad, 1), -EEXIST);
	close(plain);
}

/* Nothing is pinned, and atomics wait as other accesses do. */
static void *add_one(void *opaque)
{
	struct uiommu_dma_atomic *atomic = opaque;

	assert_int_equal(uiommu_dma_atomic(g.device, atomic, NULL), 0);
	return NULL;
}

static void pins_and_atomics(void **state)
{
	struct iovec iov;
	struct uiommu_dma_pin pin = {
		.address = PAGE, .length = 8, .pasid = PASID, .access = UIOMMU_READ, .iov = &iov, .iov_count = 1};
	struct uiommu_dma_atomic atomic = {
		.address = PAGE, .pasid = PASID, .type = UIOMMU_ATOMIC_FETCH_ADD, .length = 8, .operand = 1};
	struct uiommu_dma_result result;
	pthread_t thread;

	(void)state;
	ready();
	bind_memory();
	*entry_at(PAGE) = WORD;
	assert_int_equal(uiommu_dma_pin(g.device, &pin, &result), -EFAULT);
	assert_int_equal(result.fault.reason, UIOMMU_FAULT_NOT_DIRECT);
	assert_int_equal(pthread_create(&thread, NULL, add_one, &atomic), 0);
	assert_int_equal(next_wanted(), PAGE);
	give(PAGE);
	pthread_join(thread, NULL);
	assert_int_equal(atomic.old, WORD);
	assert_int_equal(*(uint64_t *)(void *)(d.ram + PAGE), WORD + 1);
	pin.iov_count = 1;
	assert_int_equal(uiommu_dma_pin(g.device, &pin, &result), -EFAULT);
	assert_int_equal(result.fault.reason, UIOMMU_FAULT_NOT_DIRECT);
}

/* --- tables that are absent --- */

static void answered(void *opaque, unsigned int response)
{
	*(unsigned int *)opaque = response;
}

/* The device parks: each page on the way is asked for by itself, top table first. */
static void walk_parked(uint64_t *order, unsigned int count)
{
	unsigned int response = 99;
	uint64_t value = 0;
	struct uiommu_dma_op op = {.address = VA, .buffer = &value, .length = 8, .pasid = PASID, .flags = UIOMMU_DMA_PARKS};

	for (unsigned int i = 0; i < count; i++) {
		assert_int_equal(uiommu_dma_readv(g.device, &op, 1), -EFAULT);
		assert_int_equal(op.result.fault.reason, UIOMMU_FAULT_ABSENT);
		assert_int_equal(op.result.fault.flags & UIOMMU_FAULT_RECOVERABLE, UIOMMU_FAULT_RECOVERABLE);
		assert_int_equal(uiommu_dma_page_request(g.device, &op.result.fault, answered, &response), 0);
		assert_int_equal(next_wanted(), order[i]);
		assert_int_equal(response, 99);
		give(order[i]);
		assert_int_equal(response, UIOMMU_RESPONSE_SUCCESS);
		response = 99;
	}
	assert_int_equal(uiommu_dma_page_request(g.device, &op.result.fault, answered, &response), -EAGAIN);
	assert_int_equal(uiommu_dma_readv(g.device, &op, 1), 0);
	assert_int_equal(value, WORD);
	assert_false(wanted());
}

/* The call sleeps: the same pages. */
static void walk_sleeping(uint64_t *order, unsigned int count)
{
	struct access access;

	start(&access, VA);
	for (unsigned int i = 0; i < count; i++) {
		assert_int_equal(next_wanted(), order[i]);
		give(order[i]);
	}
	check(&access, UIOMMU_FAULT_NONE);
	assert_int_equal(access.value, WORD);
	assert_false(wanted());
}

static void bind_table(uint64_t root)
{
	struct uiommu_bind_page_table table = {
		.format = UIOMMU_FORMAT_VTD_FIRST, .parent_id = g.parent, .root = root, .address_width = 48};
	struct uiommu_bind bind = {
		.size = sizeof(bind),
		.device_id = g.device_id,
		.pasid = PASID,
		.type = UIOMMU_BIND_PAGE_TABLE,
		.data = &table,
		.data_len = sizeof(table),
		.fault_queue_id = g.queue,
	};

	assert_int_equal(uiommu_bind(g.context, &bind), 0);
}

/* Four tables and the page, in the order in which a walk meets them. */
static uint64_t root_make(uint64_t *order)
{
	uint64_t table = page_new(), page = page_new();

	order[0] = table;
	*leaf_of(table, VA, FIRST_TABLE) = page | FIRST_PAGE;
	*entry_at(page) = WORD;
	for (unsigned int i = 1; i < 4; i++)
		order[i] = table = entry_at(table)[VA >> (48 - 9 * i) & 511] & UINT64_C(0x000ffffffffff000);
	order[4] = page;
	return order[0];
}

static void page_table(void **state)
{
	uint64_t order[5];

	(void)state;
	ready();
	bind_table(root_make(order));
	walk_parked(order, 5);
	assert_int_equal(uiommu_unbind(g.context, g.device_id, PASID), 0);
	bind_table(root_make(order));
	walk_sleeping(order, 5);
}

/* Both stages: for each address of the first one's, the second one's tables. */
static void two_stages(void **state)
{
	uint64_t second = page_new(), order[5], wanted_pages = 0;
	struct access access;
	uint32_t id;

	(void)state;
	ready();
	root_make(order);
	for (unsigned int i = 0; i < 5; i++)
		*leaf_of(second, order[i], SECOND) = order[i] | SECOND;
	id = nested_make(order[0], second);
	assert_int_equal(uiommu_attach(g.context, g.device_id, PASID, id), 0);
	start(&access, VA);
	for (bool last = false; !last; wanted_pages++) {
		uint64_t gpa = next_wanted();

		last = gpa == order[4];
		give(gpa);
	}
	check(&access, UIOMMU_FAULT_NONE);
	assert_int_equal(access.value, WORD);
	assert_true(wanted_pages >= 5 + 4);
	assert_false(wanted());
}

static void pasid_table(void **state)
{
	uint64_t order[7], base = page_new(), table = page_new(), *entry = entry_at(table) + (PASID & 63) * 8;
	struct uiommu_hwpt_tables tables = {
		.size = sizeof(tables),
		.parent_id = g.parent,
		.tables = UIOMMU_TABLES_VTD,
		.structure = UIOMMU_STRUCTURE_PASID,
		.base = base,
		.capabilities = UIOMMU_VTD_TABLES_4_LEVEL | UIOMMU_VTD_TABLES_SMTS | UIOMMU_VTD_TABLES_FIRST |
				UIOMMU_VTD_TABLES_PASID | 19 << 24 | UINT32_C(6) << 29,
		.size_lg2 = 20,
		.output_lg2 = 46,
		.rid_pasid = UIOMMU_NO_PASID,
	};
	struct uiommu_bind bind = {
		.size = sizeof(bind),
		.device_id = g.device_id,
		.pasid = UIOMMU_NO_PASID,
		.type = UIOMMU_BIND_PASID_TABLE,
		.data = &tables,
		.data_len = sizeof(tables),
		.fault_queue_id = g.queue,
	};
	struct uiommu_attachment *attachment;
	struct uiommu_fault_event event;
	struct access access;

	(void)state;
	ready();
	order[0] = base;
	order[1] = table;
	entry_at(base)[PASID >> 6] = table | 1;
	entry[1] = 5;
	entry[2] = root_make(order + 2);
	entry[0] = 1 << 6 | 1;
	assert_int_equal(uiommu_bind(g.context, &bind), 0);
	walk_parked(order, 7);
	assert_int_equal(uiommu_unbind(g.context, g.device_id, UIOMMU_NO_PASID), 0);
	/* Sleeping; and the VMM goes meanwhile. */
	assert_int_equal(change(&all, NULL, 0), 0);
	if (d.bits)
		memset(d.bits, 0, RAM_PAGES / 8);
	else
		assert_int_equal(fallocate(g.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, RAM_BYTES), 0);
	assert_int_equal(map_on_demand(), 0);
	assert_int_equal(uiommu_bind(g.context, &bind), 0);
	start(&access, VA);
	assert_int_equal(next_wanted(), base);
	assert_int_equal(answer(base, PAGE, UIOMMU_RESPONSE_INVALID), 0);
	check(&access, UIOMMU_FAULT_MEMORY);
	assert_int_equal(uiommu_fault_read(g.context, g.queue, &event, 1), 1);
	assert_int_equal(event.fault.reason, UIOMMU_FAULT_MEMORY);
	assert_int_equal(event.fault.address, VA);
	assert_int_equal(event.fault.pasid, PASID);
	assert_int_equal(event.fault.structure, access.result.fault.structure);
	assert_int_equal(event.fault.structure, UIOMMU_STRUCTURE_PASID_DIR);
	walk_sleeping(order, 7);
	attachment = uiommu_attachment_get(g.device, PASID);
	assert_non_null(attachment);
	uiommu_attachment_put(attachment);
	start(&access, VA + UINT64_C(0x40000000)); /* nothing is there: no page is asked for */
	check(&access, UIOMMU_FAULT_UNMAPPED);
	assert_int_equal(uiommu_destroy(g.context, d.queue), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_ALL(supplied),	  IN_ALL(refused),    IN_ALL(ended),	  IN_ALL(bad_regions),
		IN_ALL(pins_and_atomics), IN_ALL(page_table), IN_ALL(two_stages), IN_ALL(pasid_table),
	};

	traps_install();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
