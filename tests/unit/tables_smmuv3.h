/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * SMMUv3's stream table, STE and CD in a few pages. They are made of literal bit numbers, as the specification (IHI 0070, 5) gives
 * them: of the whole structure, not of its words.
 */
#ifndef TABLES_SMMUV3_H
#define TABLES_SMMUV3_H

#include "test.h"

#include "pgtable/arm.h"
#include "translate/tables/smmuv3.h"
#include "translate/tables/tables.h"

enum {
	START = 0x200000,
	STREAMS = START, /* linear: 256 */
	LEAF = START + 0x8000, /* of two levels */
	CDS = START + 0x10000,
	CD_DIR = START + 0x20000,
	CD_LEAF = START + 0x30000, /* aligned to 64K */
	ROOT2 = START + 0x40000, /* of stage 2 */
	NEXT2 = START + 0x41000,
	SIZE = 0x42000,
	OFFSET = 0x40000000, /* stage 2 moves everything down by that */
	SID = 0xa5,
	STE = STREAMS + SID * 64,
	VMID = 0xbeef,
	ASID = 0xcafe,
	ABORT = 0,
	PASS = 4,
	S1 = 5,
	S2 = 6,
	NESTED = 7,
};

#define ALL                                                                                                                        \
	(UIOMMU_SMMUV3_S1P | UIOMMU_SMMUV3_S2P | UIOMMU_SMMUV3_ST_LEVEL | UIOMMU_SMMUV3_CD2L | UIOMMU_SMMUV3_ATS |                 \
	 UIOMMU_SMMUV3_ATSCHK | UIOMMU_SMMUV3_HA | UIOMMU_SMMUV3_HD | UIOMMU_SMMUV3_VMID16 | UIOMMU_SMMUV3_ASID16 |                \
	 UIOMMU_SMMUV3_STALL | UIOMMU_SMMUV3_ATTR_PERMS_OVR | UIOMMU_SMMUV3_GRAN4K | UIOMMU_SMMUV3_GRAN16K |                       \
	 UIOMMU_SMMUV3_GRAN64K | UIOMMU_SMMUV3_VAX | UIOMMU_SMMUV3_DS | UIOMMU_SMMUV3_HAD | UIOMMU_SMMUV3_XNX |                    \
	 UINT32_C(20) << 27)

#define WITHOUT(flags) (ALL & ~(uint32_t)(flags))

static _Alignas(65536) uint8_t arena[SIZE];
static struct tables tables;
static struct tables_device device;
static struct tables_entry entry;
static struct tables_fault fault;

static inline uint64_t *word(uint64_t address)
{
	return (uint64_t *)(void *)(arena + (address - START));
}

static inline void put(uint64_t address, unsigned int high, unsigned int low, uint64_t value)
{
	uint64_t *at = &word(address)[low / 64], mask = (high - low == 63 ? 0 : UINT64_C(1) << (high - low + 1)) - 1;

	assert_int_equal(high / 64, low / 64);
	*at = (*at & ~(mask << low % 64)) | value << low % 64;
}

static inline void make_ste(uint64_t at, unsigned int config)
{
	put(at, 0, 0, 1);
	put(at, 3, 1, config);
	put(at, 55, 6, (CDS + (config == NESTED ? (uint64_t)OFFSET : 0)) >> 6);
	put(at, 143, 128, VMID);
	put(at, 165, 160, 25); /* T0SZ: 39 bits */
	put(at, 167, 166, 1); /* SL0: three levels */
	put(at, 178, 176, 5); /* PS: 48 bits */
	put(at, 179, 179, 1); /* AA64 */
	put(at, 186, 186, 1); /* R */
	put(at, 247, 196, ROOT2 >> 4);
}

static inline void make_cd(uint64_t at)
{
	put(at, 5, 0, 25);
	put(at, 21, 16, 16);
	put(at, 23, 22, 2); /* TG1: 4K */
	put(at, 31, 31, 1);
	put(at, 34, 32, 4); /* IPS: 44 bits */
	put(at, 41, 41, 1); /* AA64 */
	put(at, 46, 45, 3); /* A, R */
	put(at, 63, 48, ASID);
	put(at, 119, 68, 0x123456000 >> 4);
	put(at, 183, 132, 0x654321000 >> 4);
	put(at, 255, 192, UINT64_C(0xff440c0400bbaa11));
}

/* A stream table with one STE, one CD, and a stage 2 of blocks of 2M. */
static inline void begin(unsigned int config, uint32_t flags)
{
	memset(arena, 0, sizeof(arena));
	tables = (struct tables){
		.format = &tables_smmuv3,
		.config = {.base = STREAMS, .size_lg2 = 8, .output_lg2 = 48, .flags = flags},
		.memory = {.window = {.first = START, .length = SIZE, .host = arena}},
	};
	make_ste(STE, config);
	make_cd(CDS);
	put(ROOT2 + 8, 63, 0, NEXT2 | 3);
	put(NEXT2 + 8, 63, 0, START | 0x7fd);
	assert_int_equal(tables_smmuv3.check(&tables), 0);
}

static inline bool find(uint32_t sid)
{
	memset(&device, 0xa5, sizeof(device));
	memset(&fault, 0xa5, sizeof(fault));
	return tables_smmuv3.device(&tables, sid, &device, &fault);
}

static inline bool look(uint32_t pasid)
{
	memset(&entry, 0xa5, sizeof(entry));
	memset(&fault, 0xa5, sizeof(fault));
	return tables_smmuv3.pasid(&device, pasid, &entry, &fault);
}

#define assert_fault(reason_, structure_, detail_)                                                                                 \
	do {                                                                                                                       \
		assert_int_equal(fault.reason, UIOMMU_FAULT_##reason_);                                                            \
		assert_int_equal(fault.structure, UIOMMU_STRUCTURE_##structure_);                                                  \
		assert_int_equal(fault.detail, detail_);                                                                           \
		assert_int_equal(fault.table, fault.reason == UIOMMU_FAULT_MEMORY || fault.stage == 2);                            \
		assert_false(fault.quiet);                                                                                         \
	} while (0)

static inline void good(uint32_t pasid)
{
	assert_true(find(SID));
	assert_true(look(pasid));
	assert_int_equal(fault.reason, 0);
}

static inline void bad_ste(void)
{
	assert_false(find(SID));
	assert_fault(RESERVED, DEVICE, 4);
}

static inline void bad_cd(void)
{
	assert_true(find(SID));
	assert_false(look(UIOMMU_NO_PASID));
	assert_fault(RESERVED, PASID, 0xa);
}

#endif
