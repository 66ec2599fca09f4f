/* SPDX-License-Identifier: BSD-3-Clause */
/* Tables of VT-d, made of literal bit numbers as the specification (4.1, chapter 9) gives them. */
#ifndef TESTS_UNIT_TABLES_VTD_H
#define TESTS_UNIT_TABLES_VTD_H

#include "test.h"

#include "pgtable/vtd.h"
#include "translate/tables/tables.h"
#include "translate/tables/vtd.h"

enum {
	START = 0x100000,
	ROOT = START,
	LOWER = START + 0x1000,
	UPPER = START + 0x2000,
	PASIDS = START + 0x3000, /* the table that has PASID */
	DIRECTORY = START + 0x4000, /* of 2^14 entries */
	SIZE = 0x4000 + 0x20000,
	HAW = 40,
	LEGACY_RID = 0x57 << 8 | 0xa9,
	RID = 0x57 << 8 | 0x29, /* lower half */
	UPPER_RID = 0x57 << 8 | 0xa9,
	PASID = 0x4321,
	DOMAIN = 0xbeef,
	STAGE1 = 0x12345000,
	STAGE2 = 0x6789a000,
};

/* All flags, PASIDs of 20 bits, domains of 16. */
#define ALL (UINT32_C(0xffffff) | UINT32_C(19) << 24 | UINT32_C(6) << 29)

static _Alignas(4096) uint8_t arena[SIZE];
static struct tables tables;
static struct tables_device device;
static struct tables_entry entry;
static struct tables_fault fault;

static inline uint64_t *word(uint64_t address)
{
	return (uint64_t *)(void *)(arena + (address - START));
}

static inline void flip(uint64_t address, unsigned int bit)
{
	word(address)[bit / 64] ^= UINT64_C(1) << bit % 64;
}

static inline void put(uint64_t address, unsigned int low, uint64_t value)
{
	word(address)[low / 64] |= value << low % 64;
}

static inline void begin(unsigned int mode, uint32_t flags)
{
	memset(arena, 0, sizeof(arena));
	tables = (struct tables){
		.format = &tables_vtd,
		.config = {.base = ROOT, .mode = (uint8_t)mode, .output_lg2 = HAW, .flags = flags},
		.memory = {.window = {.first = START, .length = SIZE, .host = arena}},
	};
	assert_int_equal(tables_vtd.check(&tables), 0);
}

/* Where the entries of legacy mode are, and valid ones. */
enum { LEGACY_ROOT = ROOT + 0x57 * 16, LEGACY_CONTEXT = LOWER + 0xa9 * 16 };

static inline void legacy(uint32_t flags, unsigned int tt)
{
	begin(0, flags);
	put(LEGACY_ROOT, 0, LOWER | 1);
	put(LEGACY_CONTEXT, 0, STAGE2 | 1);
	put(LEGACY_CONTEXT, 2, tt);
	put(LEGACY_CONTEXT, 64, 2); /* 48 bits */
	put(LEGACY_CONTEXT, 72, DOMAIN);
}

/* And of scalable mode. The PASID's entry is of type @pgtt. */
enum {
	SCALABLE_ROOT = ROOT + 0x57 * 16,
	CONTEXT = LOWER + 0x29 * 32,
	UPPER_CONTEXT = UPPER + 0x29 * 32,
	DIRECTORY_ENTRY = DIRECTORY + (PASID >> 6) * 8,
	PASID_ENTRY = PASIDS + (PASID & 63) * 64,
};

static inline void scalable(uint32_t flags, unsigned int pgtt)
{
	begin(1, flags);
	put(SCALABLE_ROOT, 0, LOWER | 1);
	put(CONTEXT, 0, DIRECTORY | 1);
	if (flags & UIOMMU_VTD_TABLES_PASID)
		put(CONTEXT, 3, 1);
	put(CONTEXT, 9, 7);
	put(CONTEXT, 64, PASID);
	put(DIRECTORY_ENTRY, 0, PASIDS | 1);
	put(PASID_ENTRY, 0, STAGE2 | 1);
	put(PASID_ENTRY, 2, 2);
	put(PASID_ENTRY, 6, pgtt);
	put(PASID_ENTRY, 64, DOMAIN);
	if (flags & UIOMMU_VTD_TABLES_FIRST)
		put(PASID_ENTRY, 128, STAGE1);
}

/* RID_PASID is PASID for requests without, and then nobody may ask with it. */
static inline bool run_device(uint32_t rid, uint32_t pasid)
{
	uint64_t *context = word(rid & 0x80 ? UPPER_CONTEXT : CONTEXT),
		 other = tables.config.mode == 1 && (context[1] & 0xfffff) == pasid;
	bool found;

	context[1] ^= other;
	found = tables_vtd.device(&tables, rid, &device, &fault);
	context[1] ^= other;
	return found;
}

static inline bool run(uint32_t rid, uint32_t pasid)
{
	memset(&fault, 0xa5, sizeof(fault));
	if (!run_device(rid, pasid))
		return false;
	assert_int_equal(fault.reason, 0);
	assert_ptr_equal(device.format, &tables_vtd);
	memset(&fault, 0xa5, sizeof(fault));
	if (!tables_vtd.pasid(&device, pasid, &entry, &fault))
		return false;
	assert_int_equal(fault.reason, 0);
	return true;
}

static inline void expect(uint32_t rid, uint32_t pasid, unsigned int reason, unsigned int structure, unsigned int detail)
{
	assert_false(run(rid, pasid));
	assert_int_equal(fault.reason, reason);
	assert_int_equal(fault.structure, structure);
	assert_int_equal(fault.detail, detail);
	assert_int_equal(fault.table, reason == UIOMMU_FAULT_MEMORY);
	assert_int_equal(fault.stage, 0);
	assert_int_equal(fault.level, 0);
}

#endif
