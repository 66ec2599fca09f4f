/* SPDX-License-Identifier: BSD-3-Clause */
/* uiommu_bind() of what a guest has: page tables, PASID tables, its memory. Processes are in tests/e2e/bind.c. */
#include "keeper.h"

#include <uiommu/bind.h>

enum { VPASID = 99, WORD = 0x1234 };

static struct uiommu_bind_page_table table_of(uint64_t root)
{
	return (struct uiommu_bind_page_table){
		.format = UIOMMU_FORMAT_VTD_FIRST, .parent_id = g.parent, .root = root, .address_width = 48};
}

static struct uiommu_bind request(uint32_t type, const void *data, size_t length)
{
	return (struct uiommu_bind){
		.size = sizeof(struct uiommu_bind),
		.device_id = g.device_id,
		.pasid = PASID,
		.type = type,
		.fault_queue_id = g.queue,
		.data = data,
		.data_len = (uint32_t)length,
	};
}

/* A page table with a word at VA; the page behind it is not mapped. */
static uint64_t root_make(uint64_t word)
{
	uint64_t root = page_new(), page = page_new();

	*leaf_of(root, VA, FIRST_TABLE) = page | FIRST_PAGE;
	*entry_at(page) = word;
	return root;
}

static uint64_t word_at(uint32_t pasid, uint64_t address)
{
	uint64_t word = 0;

	assert_int_equal(uiommu_dma_read(g.device, pasid, address, &word, sizeof(word), NULL), 0);
	return word;
}

/* The queue has one record, with @pasid. */
static void check_recorded(uint32_t pasid, unsigned int reason)
{
	struct uiommu_fault_event event;

	assert_int_equal(uiommu_fault_read(g.context, g.queue, &event, 1), 1);
	assert_int_equal(event.fault.pasid, pasid);
	assert_int_equal(event.fault.reason, reason);
	assert_int_equal(uiommu_fault_read(g.context, g.queue, &event, 1), 0);
}

static void unbound(uint32_t pasid)
{
	uint8_t byte;
	struct uiommu_dma_result result;

	assert_int_equal(uiommu_dma_read(g.device, pasid, VA, &byte, 1, &result), -EFAULT);
	assert_int_equal(result.fault.reason, UIOMMU_FAULT_NOT_ATTACHED);
}

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

/* A leaf in tables of RISC-V's Sv48. */
static uint64_t *riscv_leaf(uint64_t root)
{
	uint64_t table = root;

	for (unsigned int shift = 39; shift > 12; shift -= 9) {
		uint64_t *entry = entry_at(table) + (VA >> shift & 511);

		table = page_new();
		*entry = table >> 2 | 1;
	}
	return entry_at(table) + (VA >> 12 & 511);
}

enum { ARM_TABLE = 0x3, ARM_PAGE = 0x443, RISCV_PAGE = 0xd7 };

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

/* --- PASID tables --- */

static struct uiommu_hwpt_tables directory(uint32_t tables, uint64_t base)
{
	return (struct uiommu_hwpt_tables){
		.size = sizeof(struct uiommu_hwpt_tables),
		.parent_id = g.parent,
		.tables = tables,
		.structure = UIOMMU_STRUCTURE_PASID,
		.base = base,
		.output_lg2 = 46,
		.rid_pasid = UIOMMU_NO_PASID,
	};
}

static struct uiommu_hwpt_tables vtd_tables(uint64_t root)
{
	uint64_t base = page_new(), table = page_new(), *entry = entry_at(table) + (PASID & 63) * 8;
	struct uiommu_hwpt_tables tables = directory(UIOMMU_TABLES_VTD, base);

	entry_at(base)[PASID >> 6] = table | 1;
	entry[1] = 5;
	entry[2] = root;
	entry[0] = 1 << 6 | 1;
	tables.size_lg2 = 20;
	tables.capabilities = UIOMMU_VTD_TABLES_4_LEVEL | UIOMMU_VTD_TABLES_SMTS | UIOMMU_VTD_TABLES_FIRST |
			      UIOMMU_VTD_TABLES_PASID | UIOMMU_VTD_TABLES_PSS | UINT32_C(6) << 29;
	return tables;
}

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

/* --- the end --- */

/* It asks for the page, and gets the answer that the end gives. */
static void answered(void *opaque, unsigned int response)
{
	*(unsigned int *)opaque = response;
}

static void ask(unsigned int *response)
{
	struct uiommu_dma_result result;
	struct uiommu_fault_event event;
	uint8_t byte;

	*response = 99;
	assert_int_equal(uiommu_dma_read(g.device, PASID, VA + PAGE, &byte, 1, &result), -EFAULT);
	assert_int_equal(uiommu_fault_read(g.context, g.queue, &event, 1), 1);
	assert_int_equal(uiommu_dma_page_request(g.device, &result.fault, answered, response), 0);
}

/* A device that does not stop: it reads while the end has begun, when it is asked for its pin. */
static void goes_on(void *opaque, struct uiommu_pin *pin)
{
	(void)opaque;
	assert_int_equal(word_at(PASID, VA), WORD);
	uiommu_dma_unpin(pin);
}

static void pin(void)
{
	struct iovec iov;
	struct uiommu_dma_pin pin = {
		.address = VA, .length = 8, .pasid = PASID, .access = UIOMMU_READ, .iov = &iov, .iov_count = 1, .unmap = goes_on};

	assert_int_equal(uiommu_dma_pin(g.device, &pin, NULL), 0);
}

/* One bind, and what is met when it ends. */
struct ending {
	struct uiommu_bind bind;
	bool asks, goes_on;
};

static void check_ending(const struct ending *ending)
{
	const unsigned int flushed = UIOMMU_UNBIND_FLUSHED, clean = UIOMMU_UNBIND_CLEAN;
	const unsigned int expected = (ending->asks ? clean : 0) | (ending->goes_on ? flushed : 0);
	struct uiommu_bind bind = ending->bind;
	unsigned int response;

	for (unsigned int claimed = 0; claimed < 4; claimed++) {
		assert_int_equal(uiommu_bind(g.context, &bind), 0);
		assert_int_equal(word_at(PASID, VA), WORD);
		if (ending->asks)
			ask(&response);
		if (ending->goes_on)
			pin();
		assert_int_equal(uiommu_unbind_claim(g.context, g.device_id, bind.pasid, claimed), expected & claimed);
		assert_true(!ending->asks || response == UIOMMU_RESPONSE_INVALID);
		unbound(PASID);
	}
	assert_int_equal(uiommu_bind(g.context, &bind), 0);
	assert_int_equal(uiommu_unbind_claim(g.context, g.device_id, bind.pasid, 4), -EOPNOTSUPP);
	/* One of two is nobody's end. */
	assert_int_equal(uiommu_bind(g.context, &bind), 0);
	if (ending->asks)
		ask(&response);
	assert_int_equal(uiommu_unbind_claim(g.context, g.device_id, bind.pasid, flushed | clean), 0);
	assert_int_equal(uiommu_unbind_claim(g.context, g.device_id, bind.pasid, flushed | clean), ending->asks ? clean : 0);
}

static void claims(void **state)
{
	uint64_t root = root_make(WORD);
	struct uiommu_bind_page_table table = table_of(root);
	struct uiommu_hwpt_tables whole = vtd_tables(root);
	struct ending ending = {.bind = request(UIOMMU_BIND_PAGE_TABLE, &table, sizeof(table))};

	(void)state;
	traps_on();
	check_ending(&ending);
	ending.asks = true;
	check_ending(&ending);
	ending.bind = request(UIOMMU_BIND_PASID_TABLE, &whole, sizeof(whole));
	ending.bind.pasid = UIOMMU_NO_PASID;
	check_ending(&ending);
	ending.asks = false;
	check_ending(&ending);
}

/* Memory that can be pinned: what is mapped at VA. */
static void claims_of_a_device_that_goes_on(void **state)
{
	struct uiommu_bind_shared shared = {.access = UIOMMU_READ};
	struct uiommu_ioas_map map = {
		.size = sizeof(map),
		.flags = UIOMMU_MAP_FIXED | UIOMMU_MAP_READ,
		.source = UIOMMU_MAP_RAM,
		.ram_id = g.ram,
		.iova = VA,
		.length = PAGE,
	};
	struct ending ending = {.bind = request(UIOMMU_BIND_SHARED, &shared, sizeof(shared)), .goes_on = true};

	(void)state;
	traps_on();
	assert_int_equal(uiommu_ioas_alloc(g.context, &map.ioas_id), 0);
	assert_int_equal(uiommu_ioas_map(g.context, &map), 0);
	*entry_at(0) = WORD;
	shared.ioas_id = map.ioas_id;
	check_ending(&ending);
	ending.asks = true;
	check_ending(&ending);
}

/* --- invalidation --- */

static int invalidate(uint32_t pasid, uint32_t scope, uint32_t flags, uint64_t address)
{
	struct uiommu_bind_invalidate request = {
		.size = sizeof(request), .flags = flags, .device_id = g.device_id, .pasid = pasid, .scope = scope};

	if (scope == UIOMMU_BIND_SCOPE_ADDRESS) {
		request.granule_lg2 = 12;
		request.address = address;
		request.count = 2;
	}
	return uiommu_bind_invalidate(g.context, &request);
}

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
		IN_ALL_WAYS(pasid_tables),
		IN_ALL_WAYS(pasid_tables_refused),
		IN_ALL_WAYS(claims),
		IN_ALL_WAYS(claims_of_a_device_that_goes_on),
		IN_ALL_WAYS(invalidations),
		IN_ALL_WAYS(leaves_only),
		IN_ALL_WAYS(invalidations_refused),
		IN_ALL_WAYS(device_caches),
		IN_ALL_WAYS(shared_memory),
		IN_ALL_WAYS(its_hwpt_is_an_object),
	};

	traps_install();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
