/* SPDX-License-Identifier: BSD-3-Clause */
/* What is bound, of a guest: requests, and a page table with a word in it. */
#ifndef TESTS_UNIT_BIND_H
#define TESTS_UNIT_BIND_H

#include "keeper.h"

#include <uiommu/bind.h>

enum { VPASID = 99, WORD = 0x1234, ARM_TABLE = 0x3, ARM_PAGE = 0x443, RISCV_PAGE = 0xd7 };

static inline struct uiommu_bind_page_table table_of(uint64_t root)
{
	return (struct uiommu_bind_page_table){
		.format = UIOMMU_FORMAT_VTD_FIRST, .parent_id = g.parent, .root = root, .address_width = 48};
}

static inline struct uiommu_bind request(uint32_t type, const void *data, size_t length)
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
static inline uint64_t root_make(uint64_t word)
{
	uint64_t root = page_new(), page = page_new();

	*leaf_of(root, VA, FIRST_TABLE) = page | FIRST_PAGE;
	*entry_at(page) = word;
	return root;
}

static inline uint64_t word_at(uint32_t pasid, uint64_t address)
{
	uint64_t word = 0;

	assert_int_equal(uiommu_dma_read(g.device, pasid, address, &word, sizeof(word), NULL), 0);
	return word;
}

/* The queue has one record, with @pasid. */
static inline void check_recorded(uint32_t pasid, unsigned int reason)
{
	struct uiommu_fault_event event;

	assert_int_equal(uiommu_fault_read(g.context, g.queue, &event, 1), 1);
	assert_int_equal(event.fault.pasid, pasid);
	assert_int_equal(event.fault.reason, reason);
	assert_int_equal(uiommu_fault_read(g.context, g.queue, &event, 1), 0);
}

static inline void unbound(uint32_t pasid)
{
	uint8_t byte;
	struct uiommu_dma_result result;

	assert_int_equal(uiommu_dma_read(g.device, pasid, VA, &byte, 1, &result), -EFAULT);
	assert_int_equal(result.fault.reason, UIOMMU_FAULT_NOT_ATTACHED);
}

static inline struct uiommu_hwpt_tables directory(uint32_t tables, uint64_t base)
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

static inline struct uiommu_hwpt_tables vtd_tables(uint64_t root)
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

static inline int invalidate(uint32_t pasid, uint32_t scope, uint32_t flags, uint64_t address)
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

/* A leaf in tables of RISC-V's Sv48. */
static inline uint64_t *riscv_leaf(uint64_t root)
{
	uint64_t table = root;

	for (unsigned int shift = 39; shift > 12; shift -= 9) {
		uint64_t *entry = entry_at(table) + (VA >> shift & 511);

		table = page_new();
		*entry = table >> 2 | 1;
	}
	return entry_at(table) + (VA >> 12 & 511);
}

#endif
