/* SPDX-License-Identifier: BSD-3-Clause */
/* uiommu_bind() of what a guest has: page tables, PASID tables, its memory. Processes are in tests/e2e/bind.c. */
#include "bind.h"

static void a_page_table(void **state)
{
	uint64_t root = root_make(WORD), other = root_make(WORD + 1), word;
	struct uiommu_bind_page_table table = table_of(root), second = table_of(other);
	struct uiommu_bind bind = request(UIOMMU_BIND_PAGE_TABLE, &table, sizeof(table)), again;
	struct uiommu_attach_stats stats = {.size = sizeof(stats)};
	size_t before = uiommu_object_count(g.context);
	struct uiommu_dma_result result;

	(void)state;
	traps_on();
	bind.flags = UIOMMU_BIND_VPASID;
	bind.vpasid = VPASID;
	assert_int_equal(uiommu_bind(g.context, &bind), 0);
	assert_int_equal(bind.pasid, PASID);
	/* The objects are those that the single calls make. */
	assert_int_equal(uiommu_object_count(g.context), before + 1);
	assert_int_equal(uiommu_object_type(g.context, bind.hwpt_id), UIOMMU_OBJECT_HWPT_NESTED);
	assert_int_equal(uiommu_attach_stats(g.context, g.device_id, PASID, &stats), 0);
	assert_int_equal(stats.hwpt_id, bind.hwpt_id);
	assert_int_equal(uiommu_destroy(g.context, bind.hwpt_id), -EBUSY);
	assert_int_equal(uiommu_detach(g.context, g.device_id, PASID), -EBUSY);
	assert_int_equal(uiommu_replace(g.context, g.device_id, PASID, g.ioas), -EBUSY);
	assert_int_equal(word_at(PASID, VA), WORD);
	/* The guest is told its number, the device its own. */
	assert_int_equal(uiommu_dma_read(g.device, PASID, VA + PAGE, &word, 8, &result), -EFAULT);
	assert_int_equal(result.fault.pasid, PASID);
	check_recorded(VPASID, UIOMMU_FAULT_UNMAPPED);
	/* Counted; another table, number or queue is another bind. */
	again = bind;
	assert_int_equal(uiommu_bind(g.context, &again), 0);
	again.pasid = UIOMMU_NO_PASID;
	assert_int_equal(uiommu_bind(g.context, &again), 0);
	assert_int_equal(again.pasid, PASID);
	assert_int_equal(again.hwpt_id, bind.hwpt_id);
	again = bind;
	again.data = &second;
	assert_int_equal(uiommu_bind(g.context, &again), -EBUSY);
	again = bind;
	again.vpasid++;
	assert_int_equal(uiommu_bind(g.context, &again), -EBUSY);
	again = bind;
	again.fault_queue_id = 0;
	assert_int_equal(uiommu_bind(g.context, &again), -EBUSY);
	again = bind;
	again.pasid = PASID + 1;
	assert_int_equal(uiommu_bind(g.context, &again), 0);
	assert_int_equal(word_at(PASID + 1, VA), WORD);
	assert_int_equal(uiommu_unbind(g.context, g.device_id, PASID + 1), 0);
	for (unsigned int i = 0; i < 2; i++)
		assert_int_equal(uiommu_unbind(g.context, g.device_id, PASID), 0);
	assert_int_equal(word_at(PASID, VA), WORD);
	assert_int_equal(uiommu_unbind(g.context, g.device_id, PASID), 0);
	assert_int_equal(uiommu_unbind(g.context, g.device_id, PASID), -ENOENT);
	unbound(PASID);
	assert_int_equal(uiommu_object_count(g.context), before);
	bind.data = &second;
	assert_int_equal(uiommu_bind(g.context, &bind), 0);
	assert_int_equal(word_at(PASID, VA), WORD + 1);
}

/* Without vPASID the records have the PASID; without PASID there is none in them. */
static void numbers(void **state)
{
	struct uiommu_bind_page_table table = table_of(root_make(WORD));
	struct uiommu_bind bind = request(UIOMMU_BIND_PAGE_TABLE, &table, sizeof(table));
	uint64_t word;

	(void)state;
	traps_on();
	bind.pasid = UIOMMU_NO_PASID;
	assert_int_equal(uiommu_bind(g.context, &bind), 0);
	assert_int_equal(bind.pasid, 1);
	assert_int_equal(uiommu_dma_read(g.device, 1, VA + PAGE, &word, 8, NULL), -EFAULT);
	check_recorded(1, UIOMMU_FAULT_UNMAPPED);
	bind.flags = UIOMMU_BIND_RID;
	assert_int_equal(uiommu_bind(g.context, &bind), -EINVAL);
	bind.pasid = UIOMMU_NO_PASID;
	assert_int_equal(uiommu_bind(g.context, &bind), 0);
	assert_int_equal(bind.pasid, UIOMMU_NO_PASID);
	assert_int_equal(word_at(UIOMMU_NO_PASID, VA), WORD);
	assert_int_equal(uiommu_dma_read(g.device, UIOMMU_NO_PASID, VA + PAGE, &word, 8, NULL), -EFAULT);
	check_recorded(UIOMMU_NO_PASID, UIOMMU_FAULT_UNMAPPED);
	assert_int_equal(uiommu_unbind(g.context, g.device_id, UIOMMU_NO_PASID), 0);
	unbound(UIOMMU_NO_PASID);
	assert_int_equal(word_at(1, VA), WORD);
}

/* A device whose requests without PASID have a number of their own in tables. */
static void the_devices_own_pasid(void **state)
{
	struct uiommu_device_config config = {.size = sizeof(config), .rid = 9, .name = "own", .pasid_bits = 4, .rid_pasid = 2};
	struct uiommu_bind_shared shared = {.ioas_id = g.ioas, .access = UIOMMU_READ};
	struct uiommu_bind bind = request(UIOMMU_BIND_SHARED, &shared, sizeof(shared));
	uint32_t expected[] = {1, 3, 4};

	(void)state;
	config.rid_pasid = 16;
	assert_int_equal(uiommu_device_alloc(g.context, &config, &bind.device_id), -EINVAL);
	config.rid_pasid = 2;
	assert_int_equal(uiommu_device_alloc(g.context, &config, &bind.device_id), 0);
	assert_int_equal(uiommu_attach(g.context, bind.device_id, 2, g.ioas), -EINVAL);
	bind.pasid = 2;
	assert_int_equal(uiommu_bind(g.context, &bind), -EEXIST);
	for (unsigned int i = 0; i < 3; i++) {
		shared.access = i == 1 ? UIOMMU_READ | UIOMMU_WRITE : UIOMMU_READ;
		bind.fault_queue_id = i == 2 ? 0 : g.queue;
		bind.pasid = UIOMMU_NO_PASID;
		assert_int_equal(uiommu_bind(g.context, &bind), 0);
		assert_int_equal(bind.pasid, expected[i]);
	}
}

static void refused(void **state)
{
	const struct uiommu_device_config plain = {.size = sizeof(plain), .rid = 9, .name = "plain"};
	const struct uiommu_bind_page_table good = table_of(root_make(WORD));
	struct uiommu_bind_page_table table = good;
	const struct uiommu_bind fine = request(UIOMMU_BIND_PAGE_TABLE, &table, sizeof(table));
	struct uiommu_bind_shared shared = {.ioas_id = g.ioas, .access = UIOMMU_READ};
	struct uiommu_bind bind;
	uint32_t plain_id;
	size_t before;

	(void)state;
	assert_int_equal(uiommu_device_alloc(g.context, &plain, &plain_id), 0);
	before = uiommu_object_count(g.context);
#define REFUSED(what, value, expected)                                                                                             \
	do {                                                                                                                       \
		bind = fine;                                                                                                       \
		table = good;                                                                                                      \
		what = (value);                                                                                                    \
		assert_int_equal(uiommu_bind(g.context, &bind), expected);                                                         \
		assert_int_equal(uiommu_object_count(g.context), before);                                                          \
	} while (0)
	REFUSED(bind.size, offsetof(struct uiommu_bind, hwpt_id) - 1, -EINVAL);
	REFUSED(bind.flags, 4, -EOPNOTSUPP);
	REFUSED(bind.reserved, 1, -EINVAL);
	REFUSED(bind.type, 0, -EPROTONOSUPPORT);
	REFUSED(bind.type, 5, -EPROTONOSUPPORT);
	REFUSED(bind.vpasid, 1, -EINVAL);
	REFUSED(bind.flags, UIOMMU_BIND_VPASID, -EINVAL);
	REFUSED(bind.pasid, 0, -EADDRNOTAVAIL);
	REFUSED(bind.pasid, 1 << 20, -ERANGE);
	REFUSED(bind.device_id, plain_id, -ENXIO);
	REFUSED(bind.device_id, 999, -ENOENT);
	REFUSED(bind.fault_queue_id, 999, -ENOENT);
	REFUSED(bind.data, NULL, -EINVAL);
	REFUSED(bind.data_len, sizeof(table) - 1, -EINVAL);
	REFUSED(table.flags, 16, -EOPNOTSUPP);
	REFUSED(table.format, UIOMMU_FORMAT_NONE, -EPROTONOSUPPORT);
	REFUSED(table.format, UIOMMU_FORMAT_VTD_SECOND, -EPROTONOSUPPORT);
	REFUSED(table.format, 99, -EPROTONOSUPPORT);
	REFUSED(table.parent_id, 999, -ENOENT);
	REFUSED(table.parent_id, g.ioas, -EINVAL);
	REFUSED(table.root, good.root + 8, -EINVAL);
	REFUSED(table.root, LOW_BYTES, -EFAULT); /* the hole */
	REFUSED(table.root, LOW_BYTES + RAM_BYTES, -EFAULT);
	REFUSED(table.root, UINT64_MAX & ~(uint64_t)(PAGE - 1), -EFAULT);
	REFUSED(table.address_width, 39, -EINVAL);
	REFUSED(table.output_width, 53, -EINVAL);
	REFUSED(table.granule_lg2, 12, -EINVAL);
	REFUSED(table.reserved[4], 1, -EINVAL);
#undef REFUSED
	table = good;
	table.format = UIOMMU_FORMAT_AMD_V2;
	table.flags = UIOMMU_BIND_EXTENDED_ACCESS;
	bind = fine;
	assert_int_equal(uiommu_bind(g.context, &bind), -EOPNOTSUPP);
	bind = request(UIOMMU_BIND_SHARED, &shared, sizeof(shared));
	shared.access = UIOMMU_WRITE;
	assert_int_equal(uiommu_bind(g.context, &bind), -EINVAL);
	shared = (struct uiommu_bind_shared){.ioas_id = g.parent, .access = UIOMMU_READ};
	assert_int_equal(uiommu_bind(g.context, &bind), -ENOENT);
	assert_int_equal(uiommu_object_count(g.context), before);
	/* Something is attached there: all is given back, the number, too. */
	assert_int_equal(uiommu_attach(g.context, g.device_id, PASID, g.ioas), 0);
	before = uiommu_object_count(g.context);
	table = good;
	bind = fine;
	assert_int_equal(uiommu_bind(g.context, &bind), -EBUSY);
	assert_int_equal(uiommu_object_count(g.context), before);
	assert_int_equal(uiommu_detach(g.context, g.device_id, PASID), 0);
	assert_int_equal(uiommu_bind(g.context, &bind), 0);
}

/* Callers that know less, and more, than the library. */
static void sizes(void **state)
{
	struct {
		struct uiommu_bind bind;
		uint64_t more;
	} longer = {.more = 0};
	struct {
		struct uiommu_bind_page_table table;
		uint64_t more;
	} payload = {.table = table_of(root_make(WORD))};
	struct uiommu_bind bind = request(UIOMMU_BIND_PAGE_TABLE, &payload, sizeof(payload));

	(void)state;
	traps_on();
	bind.size = offsetof(struct uiommu_bind, hwpt_id);
	bind.hwpt_id = bind.reserved = 77;
	assert_int_equal(uiommu_bind(g.context, &bind), 0);
	assert_int_equal(bind.hwpt_id, 77);
	assert_int_equal(word_at(PASID, VA), WORD);
	longer.bind = request(UIOMMU_BIND_PAGE_TABLE, &payload, sizeof(payload));
	longer.bind.size = sizeof(longer);
	assert_int_equal(uiommu_bind(g.context, &longer.bind), 0);
	longer.more = 1;
	assert_int_equal(uiommu_bind(g.context, &longer.bind), -E2BIG);
	longer.more = 0;
	payload.more = UINT64_C(1) << 63;
	assert_int_equal(uiommu_bind(g.context, &longer.bind), -E2BIG);
	for (unsigned int i = 0; i < 2; i++)
		assert_int_equal(uiommu_unbind(g.context, g.device_id, PASID), 0);
	unbound(PASID);
}

static void formats(void **state)
{
	uint64_t root = root_make(WORD), arm = page_new(), riscv = page_new(), page = page_new();
	struct uiommu_bind_page_table tables[] = {table_of(root), table_of(root), table_of(arm), table_of(riscv)};
	struct uiommu_bind bind;

	(void)state;
	traps_on();
	*entry_at(page) = WORD;
	*leaf_of(arm, VA, ARM_TABLE) = page | ARM_PAGE;
	*riscv_leaf(riscv) = page >> 2 | RISCV_PAGE;
	tables[1].format = UIOMMU_FORMAT_AMD_V2;
	tables[2].format = UIOMMU_FORMAT_ARM_S1;
	tables[2].granule_lg2 = 12;
	tables[3].format = UIOMMU_FORMAT_RISCV_FIRST;
	for (unsigned int i = 0; i < 4; i++) {
		bind = request(UIOMMU_BIND_PAGE_TABLE, &tables[i], sizeof(tables[i]));
		assert_int_equal(uiommu_bind(g.context, &bind), 0);
		assert_int_equal(word_at(PASID, VA), WORD);
		assert_int_equal(uiommu_unbind(g.context, g.device_id, PASID), 0);
	}
}

static int try(unsigned int access)
{
	struct uiommu_attachment *attachment = uiommu_attachment_get(g.device, PASID);
	struct uiommu_translation translation;
	int reason;

	assert_non_null(attachment);
	reason = uiommu_translate(attachment, VA, access, &translation);
	uiommu_attachment_put(attachment);
	return reason;
}

/* What requests may ask for. The page is the supervisor's, read-only and extended-accessed tracked. */
static void what_may_be_asked_for(void **state)
{
	uint64_t root = page_new(), page = page_new(), *leaf = leaf_of(root, VA, FIRST_TABLE);
	struct uiommu_bind_page_table table = table_of(root);
	struct uiommu_bind bind = request(UIOMMU_BIND_PAGE_TABLE, &table, sizeof(table));

	(void)state;
	traps_on();
	*leaf = page | FIRST_READ_ONLY;
	assert_int_equal(uiommu_bind(g.context, &bind), 0);
	assert_int_equal(try(UIOMMU_READ), 0);
	assert_int_equal(try(UIOMMU_READ | UIOMMU_EXEC), UIOMMU_FAULT_ATTACHMENT);
	assert_int_equal(try(UIOMMU_READ | UIOMMU_PRIVILEGED), UIOMMU_FAULT_ATTACHMENT);
	assert_int_equal(uiommu_unbind(g.context, g.device_id, PASID), 0);
	table.flags = UIOMMU_BIND_EXECUTE | UIOMMU_BIND_SUPERVISOR;
	assert_int_equal(uiommu_bind(g.context, &bind), 0);
	assert_int_equal(try(UIOMMU_READ | UIOMMU_EXEC), 0);
	assert_int_equal(try(UIOMMU_WRITE), UIOMMU_FAULT_PERMISSION);
	assert_int_equal(try(UIOMMU_WRITE | UIOMMU_PRIVILEGED), 0);
	assert_int_equal(uiommu_unbind(g.context, g.device_id, PASID), 0);
	table.flags = UIOMMU_BIND_SUPERVISOR | UIOMMU_BIND_WRITE_PROTECT | UIOMMU_BIND_EXTENDED_ACCESS;
	*leaf = page | (FIRST_READ_ONLY & ~4) | UINT64_C(1) << 63;
	assert_int_equal(uiommu_bind(g.context, &bind), 0);
	assert_int_equal(try(UIOMMU_WRITE | UIOMMU_PRIVILEGED), UIOMMU_FAULT_PERMISSION);
	assert_int_equal(try(UIOMMU_READ), UIOMMU_FAULT_PRIVILEGE);
	assert_int_equal(*leaf & 1 << 10, 0);
	assert_int_equal(try(UIOMMU_READ | UIOMMU_PRIVILEGED), 0);
	assert_int_equal(*leaf & 1 << 10, 1 << 10);
}

/* A guest's memory as it is: what is mapped and unmapped is seen through the bind. */
static void shared_memory(void **state)
{
	struct uiommu_bind_shared shared = {.ioas_id = g.ioas, .access = UIOMMU_READ};
	struct uiommu_bind bind = request(UIOMMU_BIND_SHARED, &shared, sizeof(shared));
	size_t before = uiommu_object_count(g.context);
	struct uiommu_dma_result result;
	uint64_t word = 7;

	(void)state;
	traps_on();
	bind.flags = UIOMMU_BIND_VPASID;
	bind.vpasid = VPASID;
	assert_int_equal(uiommu_bind(g.context, &bind), 0);
	assert_int_equal(uiommu_object_type(g.context, bind.hwpt_id), UIOMMU_OBJECT_HWPT_PAGING);
	*entry_at(HIGH_START) = WORD;
	assert_int_equal(word_at(PASID, HIGH_START), WORD);
	assert_int_equal(uiommu_dma_write(g.device, PASID, HIGH_START, &word, 8, &result), -EFAULT);
	assert_int_equal(result.fault.reason, UIOMMU_FAULT_ATTACHMENT);
	check_recorded(VPASID, UIOMMU_FAULT_ATTACHMENT);
	assert_int_equal(uiommu_ioas_unmap(g.context, g.ioas, HIGH_START, RAM_BYTES - LOW_BYTES, NULL), 0);
	assert_int_equal(uiommu_dma_read(g.device, PASID, HIGH_START, &word, 8, NULL), -EFAULT);
	check_recorded(VPASID, UIOMMU_FAULT_UNMAPPED);
	map_ram(HIGH_START, LOW_BYTES, RAM_BYTES - LOW_BYTES);
	assert_int_equal(word_at(PASID, HIGH_START), WORD);
	assert_int_equal(invalidate(PASID, UIOMMU_BIND_SCOPE_DOMAIN, 0, 0), 0);
	assert_int_equal(uiommu_unbind(g.context, g.device_id, PASID), 0);
	assert_int_equal(uiommu_object_count(g.context), before);
}

/* An HWPT that a bind has made and that is attached elsewhere, too, stays. */
static void its_hwpt_is_an_object(void **state)
{
	struct uiommu_bind_page_table table = table_of(root_make(WORD));
	struct uiommu_bind bind = request(UIOMMU_BIND_PAGE_TABLE, &table, sizeof(table));

	(void)state;
	traps_on();
	assert_int_equal(uiommu_bind(g.context, &bind), 0);
	assert_int_equal(uiommu_attach(g.context, g.device_id, PASID + 1, bind.hwpt_id), 0);
	assert_int_equal(uiommu_unbind(g.context, g.device_id, PASID), 0);
	assert_int_equal(word_at(PASID + 1, VA), WORD);
	assert_int_equal(uiommu_detach(g.context, g.device_id, PASID + 1), 0);
	assert_int_equal(uiommu_destroy(g.context, bind.hwpt_id), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_ALL_WAYS(a_page_table),
		IN_ALL_WAYS(numbers),
		IN_ALL_WAYS(the_devices_own_pasid),
		IN_ALL_WAYS(refused),
		IN_ALL_WAYS(sizes),
		IN_ALL_WAYS(formats),
		IN_ALL_WAYS(what_may_be_asked_for),
		IN_ALL_WAYS(shared_memory),
		IN_ALL_WAYS(its_hwpt_is_an_object),
	};

	traps_install();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
