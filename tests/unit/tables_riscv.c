/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * RISC-V's device and process directories. The tables are made of literal bit numbers, as the specification gives them: of the
 * whole structure, not of its words.
 */
#include "test.h"

#include "pgtable/riscv.h"
#include "refusing.h"
#include "translate/tables/riscv.h"
#include "translate/tables/tables.h"

enum {
	START = 0x200000,
	DDT2 = START, /* three levels */
	DDT1 = START + 0x1000,
	DDT0 = START + 0x2000,
	PDT2 = START + 0x3000,
	PDT1 = START + 0x4000,
	PDT0 = START + 0x5000,
	ROOT2 = START + 0x8000, /* of stage 2: Sv39x4, Sv48x4 */
	NEXT2 = START + 0xc000,
	SIZE = 0xd000,
	OFFSET = 0x40000000, /* stage 2 moves everything down by that */
	GSCID = 0xbeef,
	PSCID = 0xcafe5,
	TABLE1 = 0x12345000,
	PAS = 46,
};

/* Where faults are met. */
enum {
	DEVICE_DIR = UIOMMU_STRUCTURE_DEVICE_DIR,
	DEVICE = UIOMMU_STRUCTURE_DEVICE,
	PASID_DIR = UIOMMU_STRUCTURE_PASID_DIR,
	PASID = UIOMMU_STRUCTURE_PASID,
};

/* Bits of DC.tc; words of a DC. */
enum { V, EN_ATS, EN_PRI, T2GPA, DTF, PDTV, PRPR, GADE, SADE, DPE, SBE, SXL };
enum { IOHGATP = 64, TA = 128, FSC = 192, MSIPTP = 256, MASK = 320, PATTERN = 384, LAST = 448 };

#define ALL                                                                                                                        \
	((uint32_t)(UIOMMU_RVIOMMU_SV32 | UIOMMU_RVIOMMU_SV39 | UIOMMU_RVIOMMU_SV48 | UIOMMU_RVIOMMU_SV57 |                        \
		    UIOMMU_RVIOMMU_SV32X4 | UIOMMU_RVIOMMU_SV39X4 | UIOMMU_RVIOMMU_SV48X4 | UIOMMU_RVIOMMU_SV57X4 |                \
		    UIOMMU_RVIOMMU_SVPBMT | UIOMMU_RVIOMMU_AMO_HWAD | UIOMMU_RVIOMMU_ATS | UIOMMU_RVIOMMU_T2GPA |                  \
		    UIOMMU_RVIOMMU_PD8 | UIOMMU_RVIOMMU_PD17 | UIOMMU_RVIOMMU_PD20))
#define WITHOUT(flags) (ALL & ~(uint32_t)(flags))

static _Alignas(4096) uint8_t arena[SIZE];
static struct tables tables;
static struct tables_device device;
static struct tables_entry entry;
static struct tables_fault fault;
static uint64_t dc; /* where it is */

static uint64_t *word(uint64_t address)
{
	return (uint64_t *)(void *)(arena + (address - START));
}

static void put(uint64_t address, unsigned int high, unsigned int low, uint64_t value)
{
	uint64_t *at = &word(address)[low / 64], mask = (high - low == 63 ? 0 : UINT64_C(1) << (high - low + 1)) - 1;

	assert_int_equal(high / 64, low / 64);
	*at = (*at & ~(mask << low % 64)) | value << low % 64;
}

static void bit(unsigned int number, bool value)
{
	put(dc, number, number, value);
}

/* One level of directory, device 0; the DC has neither stage. Stage 2's tables are there, with a page of 2M. */
static void begin(uint32_t flags)
{
	memset(arena, 0, sizeof(arena));
	tables = (struct tables){
		.format = &tables_riscv,
		.config = {.base = DDT0, .mode = UIOMMU_RVIOMMU_1LVL, .output_lg2 = PAS, .flags = flags},
		.memory = {.window = {.first = START, .length = SIZE, .host = arena}},
	};
	assert_int_equal(tables_riscv.check(&tables), 0);
	dc = DDT0;
	bit(V, true);
	put(ROOT2 + 8, 63, 0, (uint64_t)NEXT2 >> 12 << 10 | 1);
	put(NEXT2 + 8, 63, 0, (uint64_t)START >> 12 << 10 | 0xdf);
}

/* A pointer with a mode: iohgatp, iosatp, pdtp. */
static void atp(unsigned int at, uint64_t address, unsigned int mode)
{
	put(dc, at + 43, at, address >> 12);
	put(dc, at + 63, at + 60, mode);
}

static void stage2(unsigned int mode)
{
	atp(IOHGATP, ROOT2, mode);
	put(dc, IOHGATP + 59, IOHGATP + 44, GSCID);
}

static bool find(uint32_t id)
{
	memset(&device, 0xa5, sizeof(device));
	memset(&fault, 0xa5, sizeof(fault));
	return tables_riscv.device(&tables, id, &device, &fault);
}

static bool look(uint32_t pasid)
{
	memset(&entry, 0xa5, sizeof(entry));
	memset(&fault, 0xa5, sizeof(fault));
	return tables_riscv.pasid(&device, pasid, &entry, &fault);
}

#define assert_fault(reason_, structure_, level_, detail_)                                                                         \
	do {                                                                                                                       \
		assert_int_equal(fault.reason, UIOMMU_FAULT_##reason_);                                                            \
		assert_int_equal(fault.structure, structure_);                                                                     \
		assert_int_equal(fault.level, level_);                                                                             \
		assert_int_equal(fault.detail, detail_);                                                                           \
		assert_int_equal(fault.table, fault.reason == UIOMMU_FAULT_MEMORY || fault.stage == 2);                            \
	} while (0)

static void good(uint32_t pasid)
{
	assert_true(find(0));
	assert_true(look(pasid));
	assert_int_equal(fault.reason, 0);
}

static void bad_dc(void)
{
	assert_false(find(0));
	assert_fault(RESERVED, DEVICE, 0, 259);
	assert_false(fault.quiet);
}

/* --- device directory --- */

static void configurations(void **state)
{
	struct tables with = {.format = &tables_riscv};

	(void)state;
	for (unsigned int mode = 0; mode < 256; mode++)
		for (unsigned int pas = 0; pas < 256; pas++) {
			with.config = (struct tables_config){.mode = (uint8_t)mode, .output_lg2 = (uint8_t)pas};
			assert_int_equal(tables_riscv.check(&with), mode > 4 || pas < 34 || pas > 56 ? -EINVAL : 0);
		}
	with.config = (struct tables_config){.base = 0x800, .mode = 2, .output_lg2 = 56};
	assert_int_equal(tables_riscv.check(&with), -EINVAL);
	with.config.base = UINT64_C(1) << 56;
	assert_int_equal(tables_riscv.check(&with), -EINVAL);
	with.config.base -= 4096;
	assert_int_equal(tables_riscv.check(&with), 0);
}

static void without_directory(void **state)
{
	(void)state;
	begin(ALL);
	tables.config.mode = 0;
	assert_false(find(0));
	assert_fault(BLOCKED, DEVICE_DIR, 0, 256);
	tables.config.mode = 1;
	for (unsigned int i = 0; i < 2; i++) {
		assert_true(find(UINT32_MAX));
		assert_int_equal(device.mode, TABLES_PASS);
		assert_int_equal(device.flags, TABLES_PASIDS | TABLES_PRIVILEGED | TABLES_EXECUTE);
		assert_true(look(i ? UIOMMU_NO_PASID : 0xfffff));
		assert_int_equal(entry.mode, TABLES_PASS);
		assert_int_equal(entry.asid, UIOMMU_NO_PASID);
	}
}

/* Widths of the indices, from the leaf up. */
static void directory(const unsigned int *widths, unsigned int levels, uint32_t flags)
{
	static const uint64_t at[3] = {DDT0, DDT1, DDT2};
	unsigned int size = flags & UIOMMU_RVIOMMU_MSI_FLAT ? 64 : 32, shift = 0, total = 0;
	uint32_t id = 0x5a5a5a;

	begin(flags);
	memset(arena, 0, DDT0 + 0x1000 - START);
	for (unsigned int i = 0; i < levels; i++)
		total += widths[i];
	id &= (1U << total) - 1;
	tables.config.mode = (uint8_t)(1 + levels);
	tables.config.base = at[levels - 1];
	for (unsigned int level = levels - 1; level; level--) {
		unsigned int low = 0;

		for (unsigned int i = 0; i < level; i++)
			low += widths[i];
		shift = (id >> low & ((1U << widths[level]) - 1)) * 8;
		put(at[level] + shift, 63, 1, UINT64_MAX >> 1); /* not looked at */
		assert_false(find(id));
		assert_fault(UNMAPPED, DEVICE_DIR, level, 258);
		for (unsigned int number = 1; number < 64; number++) {
			if (UINT64_C(4) << number == START)
				continue;
			put(at[level] + shift, 63, 0, 1 | UINT64_C(1) << number);
			assert_false(find(id));
			if (number < 10 || number > 53)
				assert_fault(RESERVED, DEVICE_DIR, level, 259);
			else if (level == 1)
				assert_fault(MEMORY, DEVICE, 0, 257);
			else
				assert_fault(MEMORY, DEVICE_DIR, level - 1, 257);
		}
		put(at[level] + shift, 63, 0, at[level - 1] >> 12 << 10 | 1);
	}
	dc = DDT0 + (id & ((1U << widths[0]) - 1)) * size;
	put(dc, 63, 1, UINT64_MAX >> 1);
	assert_false(find(id));
	assert_fault(UNMAPPED, DEVICE, 0, 258);
	put(dc, 63, 0, 1);
	assert_true(find(id));
	assert_false(find(1U << total | id));
	assert_fault(RANGE, levels > 1 ? DEVICE_DIR : DEVICE, levels - 1, 260);
	assert_false(find(1U << 31 | id));
	assert_fault(RANGE, levels > 1 ? DEVICE_DIR : DEVICE, levels - 1, 260);
	tables.config.base = START + 0x100000;
	assert_false(find(id));
	assert_fault(MEMORY, levels > 1 ? DEVICE_DIR : DEVICE, levels - 1, 257);
	tables.config.base = UINT64_C(1) << PAS;
	tables.memory.window.first = tables.config.base;
	assert_false(find(id));
	assert_fault(MEMORY, levels > 1 ? DEVICE_DIR : DEVICE, levels - 1, 257);
}

static void directories(void **state)
{
	static const unsigned int base[] = {7, 9, 8}, extended[] = {6, 9, 9};

	(void)state;
	for (unsigned int levels = 1; levels <= 3; levels++) {
		directory(base, levels, ALL);
		directory(extended, levels, ALL | UIOMMU_RVIOMMU_MSI_FLAT);
	}
}

/* --- DC --- */

static void flags_of_dc(void **state)
{
	(void)state;
	begin(ALL);
	good(UIOMMU_NO_PASID);
	assert_int_equal(device.mode, TABLES_PASS);
	assert_int_equal(device.flags, TABLES_PRIVILEGED | TABLES_EXECUTE);
	assert_int_equal(device.rid_pasid, UIOMMU_NO_PASID);
	assert_int_equal(entry.mode, TABLES_PASS);
	assert_int_equal(entry.flags, TABLES_EXECUTE | TABLES_OVERRIDE); /* without process id everything is a user's */
	assert_false(look(0));
	assert_fault(BLOCKED, DEVICE, 0, 260);
	assert_false(fault.quiet);
	bit(DTF, true);
	assert_true(find(0));
	assert_true(device.flags & TABLES_NO_FAULTS);
	assert_false(look(0));
	assert_true(fault.quiet);
	bit(EN_ATS, true);
	assert_true(find(0));
	assert_true(device.flags & TABLES_ATS);
	bit(EN_PRI, true);
	assert_true(find(0));
	assert_true(device.flags & TABLES_PRI);
	bit(PRPR, true);
	assert_true(find(0));
	assert_true(device.flags & TABLES_PRI_PASID);
	bit(T2GPA, true);
	bad_dc(); /* Bare */
	stage2(8);
	assert_true(find(0));
	assert_int_equal(device.flags &
				 (TABLES_ATS | TABLES_PRI | TABLES_T2GPA | TABLES_PRI_PASID | TABLES_NO_FAULTS | TABLES_PASIDS),
			 TABLES_ATS | TABLES_PRI | TABLES_T2GPA | TABLES_PRI_PASID | TABLES_NO_FAULTS);
	tables.config.flags = WITHOUT(UIOMMU_RVIOMMU_T2GPA);
	bad_dc();
}

/* tc, every combination of its twelve bits, in words of the specification's list. */
static void combinations_of_tc(void **state)
{
	static const uint32_t offers[] = {0, UIOMMU_RVIOMMU_ATS, UIOMMU_RVIOMMU_T2GPA, UIOMMU_RVIOMMU_AMO_HWAD};

	(void)state;
	for (unsigned int n = 0; n < 5 * 4 * 2048; n++) {
		unsigned int tc = (n & 2047) << 1, world = n >> 11 & 3;
		uint32_t without = n >> 13 ? offers[(n >> 13) - 1] : UINT32_MAX;
		bool ats = tc >> EN_ATS & 1, pri = tc >> EN_PRI & 1, sxl = tc >> SXL & 1, wrong = false;

		begin(without == UINT32_MAX ? ALL : WITHOUT(without));
		tables.config.flags |= world & 1 ? UIOMMU_RVIOMMU_GXL : 0;
		tables.config.flags |= world & 2 ? UIOMMU_RVIOMMU_GXL_WRITABLE : 0;
		put(dc, 11, 0, tc | 1);
		stage2(8);
		wrong |= without == UIOMMU_RVIOMMU_ATS && (ats || pri || tc >> PRPR & 1);
		wrong |= !ats && (tc >> T2GPA & 1 || pri);
		wrong |= !pri && tc >> PRPR & 1;
		wrong |= without == UIOMMU_RVIOMMU_T2GPA && tc >> T2GPA & 1;
		wrong |= without == UIOMMU_RVIOMMU_AMO_HWAD && (tc >> SADE & 1 || tc >> GADE & 1);
		wrong |= !(tc >> PDTV & 1) && tc >> DPE & 1;
		wrong |= tc >> SBE & 1;
		wrong |= world & 1 ? !sxl : sxl && !(world & 2);
		if (wrong)
			bad_dc();
		else
			assert_true(find(0));
	}
}

static void reserved_bits_of_dc(void **state)
{
	(void)state;
	for (unsigned int number = 1; number < 512; number++) {
		bool custom = number >= 24 && number <= 31, tc = number < 64 && (number < 12 || custom);
		bool iohgatp = number >= 64 && number < 128, pscid = number >= 140 && number < 160;
		bool fsc = number >= FSC && number < FSC + 44, msiptp = number >= MSIPTP && number < MSIPTP + 44;
		bool mask = number >= MASK && number < MASK + 47, pattern = number >= PATTERN && number < PATTERN + 47;

		begin(ALL | UIOMMU_RVIOMMU_MSI_FLAT);
		bit(number, true);
		if (tc && !custom)
			continue;
		if (iohgatp && number >= 124) /* modes 1, 2, 4 and 8 */
			assert_int_equal(find(0), number == 127);
		else if (number == FSC + 63)
			assert_true(find(0));
		else if (tc || iohgatp || pscid || fsc || msiptp || mask || pattern)
			assert_true(find(0));
		else
			bad_dc();
		tables.config.flags |= UIOMMU_RVIOMMU_QOSID;
		if (number >= TA + 40 && number < TA + 64)
			assert_true(find(0));
		tables.config.flags = ALL; /* the base format ends before */
		if (number >= 256)
			assert_true(find(0));
	}
	for (unsigned int number = 44; number < 60; number++) {
		begin(ALL);
		bit(PDTV, true);
		bit(FSC + number, true);
		bad_dc();
	}
	for (unsigned int number = 0; number < 2; number++) {
		begin(ALL);
		stage2(8);
		bit(IOHGATP + number, true); /* 16 KiB */
		bad_dc();
	}
}

/* Which modes there are: first stage, second stage, process directory. */
static void modes(void **state)
{
	static const unsigned int first[] = {39, 48, 57}, second[] = {41, 50, 59}, bits[] = {20, 8, 17, 20};

	(void)state;
	for (unsigned int mode = 1; mode < 16; mode++) {
		bool known = mode >= 8 && mode <= 10;

		begin(ALL);
		atp(FSC, TABLE1, mode);
		put(dc, TA + 31, TA + 12, PSCID);
		if (known) {
			good(UIOMMU_NO_PASID);
			assert_int_equal(device.mode, TABLES_TRANSLATE);
			assert_int_equal(entry.mode, TABLES_TRANSLATE);
			assert_ptr_equal(entry.stage1_format, &pgtable_riscv_first);
			assert_int_equal(entry.stage1.input_lg2[0], first[mode - 8]);
			assert_int_equal(entry.stage1.base[0], TABLE1);
			assert_int_equal(entry.stage1.output_lg2, PAS);
			assert_int_equal(entry.stage1.flags, UIOMMU_RISCV_SVNAPOT | UIOMMU_RISCV_SVPBMT);
			assert_int_equal(entry.asid, PSCID);
			assert_false(entry.has_stage2);
			tables.config.flags &= ~((uint32_t)UIOMMU_RVIOMMU_SV39 << (mode - 8));
		}
		bad_dc();
		begin(ALL);
		stage2(mode);
		if (known) {
			good(UIOMMU_NO_PASID);
			assert_int_equal(entry.mode, TABLES_TRANSLATE);
			assert_ptr_equal(entry.stage2_format, &pgtable_riscv_second);
			assert_int_equal(entry.stage2.input_lg2[0], second[mode - 8]);
			assert_int_equal(entry.stage2.base[0], ROOT2);
			assert_int_equal(entry.stage2.output_lg2, PAS);
			assert_int_equal(entry.stage2.flags, UIOMMU_RISCV_SVNAPOT | UIOMMU_RISCV_SVPBMT);
			assert_int_equal(entry.domain, GSCID);
			assert_int_equal(entry.asid, UIOMMU_NO_PASID);
			assert_false(entry.has_stage1);
			tables.config.flags &= ~((uint32_t)UIOMMU_RVIOMMU_SV39X4 << (mode - 8));
		}
		bad_dc();
	}
	for (unsigned int mode = 0; mode < 16; mode++) {
		begin(ALL);
		bit(PDTV, true);
		atp(FSC, PDT2, mode);
		if (mode <= 3) {
			assert_true(find(0));
			assert_int_equal(device.pasid_bits, bits[mode]);
			assert_int_equal(device.has_pasid_table, mode != 0);
			assert_int_equal(device.pasid_table, PDT2);
			assert_int_equal(device.mode, mode ? TABLES_TRANSLATE : TABLES_PASS);
			assert_true(device.flags & TABLES_PASIDS);
			tables.config.flags &= mode ? ~((uint32_t)UIOMMU_RVIOMMU_PD8 << (mode - 1)) : UINT32_MAX;
			assert_int_equal(find(0), mode == 0);
		} else {
			bad_dc();
		}
	}
}

static void narrow_modes(void **state)
{
	(void)state;
	for (unsigned int mode = 1; mode < 16; mode++) {
		begin(ALL | UIOMMU_RVIOMMU_GXL);
		bit(SXL, true);
		atp(FSC, TABLE1, mode);
		stage2(8);
		if (mode == 8) {
			good(UIOMMU_NO_PASID);
			assert_int_equal(entry.stage1.input_lg2[0], 32);
			assert_int_equal(entry.stage2.input_lg2[0], 34);
			tables.config.flags &= ~(uint32_t)UIOMMU_RVIOMMU_SV32;
			bad_dc();
			tables.config.flags = (ALL | UIOMMU_RVIOMMU_GXL) & ~(uint32_t)UIOMMU_RVIOMMU_SV32X4;
		}
		bad_dc();
		atp(FSC, 0, 0);
		stage2(mode);
		tables.config.flags = ALL | UIOMMU_RVIOMMU_GXL;
		assert_int_equal(find(0), mode == 8);
	}
	begin(ALL | UIOMMU_RVIOMMU_GXL_WRITABLE);
	bit(SXL, true);
	atp(FSC, TABLE1, 8);
	stage2(10);
	good(UIOMMU_NO_PASID);
	assert_int_equal(entry.stage1.input_lg2[0], 32);
	assert_int_equal(entry.stage2.input_lg2[0], 59);
}

static void stage_flags(void **state)
{
	(void)state;
	begin(ALL);
	atp(FSC, TABLE1, 9);
	stage2(9);
	bit(SADE, true);
	good(UIOMMU_NO_PASID);
	assert_int_equal(entry.stage1.flags, UIOMMU_RISCV_SVNAPOT | UIOMMU_RISCV_SVPBMT | UIOMMU_RISCV_ADUE);
	assert_int_equal(entry.stage2.flags, UIOMMU_RISCV_SVNAPOT | UIOMMU_RISCV_SVPBMT);
	assert_int_equal(entry.stage1.output_lg2, 56); /* stage 2 judges */
	bit(SADE, false);
	bit(GADE, true);
	tables.config.flags &= ~(uint32_t)UIOMMU_RVIOMMU_SVPBMT;
	good(UIOMMU_NO_PASID);
	assert_int_equal(entry.stage1.flags, UIOMMU_RISCV_SVNAPOT);
	assert_int_equal(entry.stage2.flags, UIOMMU_RISCV_SVNAPOT | UIOMMU_RISCV_ADUE);
}

static void interrupt_files(void **state)
{
	static const struct {
		uint32_t without;
		unsigned int bits;
	} widths[] = {
		{0, 47},
		{UIOMMU_RVIOMMU_SV57X4, 38},
		{UIOMMU_RVIOMMU_SV57X4 | UIOMMU_RVIOMMU_SV48X4, 29},
		{UIOMMU_RVIOMMU_SV57X4 | UIOMMU_RVIOMMU_SV48X4 | UIOMMU_RVIOMMU_SV39X4, 22},
		{UIOMMU_RVIOMMU_SV57X4 | UIOMMU_RVIOMMU_SV48X4 | UIOMMU_RVIOMMU_SV39X4 | UIOMMU_RVIOMMU_SV32X4, PAS - 12},
	};

	(void)state;
	for (unsigned int mode = 0; mode < 16; mode++)
		for (unsigned int both = 0; both < 2; both++) {
			begin(ALL | UIOMMU_RVIOMMU_MSI_FLAT);
			if (both)
				stage2(8);
			atp(MSIPTP, 0x7654000, mode);
			put(dc, MASK + 51, MASK, 0xabc);
			put(dc, PATTERN + 51, PATTERN, 0xdef);
			if (mode > 1 || (mode && !both)) {
				bad_dc();
				continue;
			}
			assert_true(find(0));
			assert_int_equal(device.msi[0], mode ? UINT64_C(1) << 60 | 0x7654 : 0);
			assert_int_equal(device.msi[1], mode ? 0xabc : 0);
			assert_int_equal(device.msi[2], mode ? 0xdef : 0);
		}
	for (unsigned int i = 0; i < 5; i++)
		for (unsigned int number = 0; number < 64; number++)
			for (unsigned int at = MASK; at <= PATTERN; at += 64) {
				begin(WITHOUT(widths[i].without) | UIOMMU_RVIOMMU_MSI_FLAT);
				bit(at + number, true);
				assert_int_equal(find(0), number < widths[i].bits);
			}
}

/* --- process directory --- */

/* A PC at @address. */
static void make_pc(uint64_t address, unsigned int mode)
{
	put(address, 0, 0, 1);
	put(address, 31, 12, PSCID);
	put(address, 64 + 43, 64, TABLE1 >> 12);
	put(address, 64 + 63, 64 + 60, mode);
}

static void process_directory(unsigned int levels, uint64_t offset)
{
	static const uint64_t at[3] = {PDT0, PDT1, PDT2};
	static const unsigned int lows[] = {0, 8, 17, 20};
	uint32_t id = 0xb5a5a & ((1U << lows[levels]) - 1);

	begin(ALL);
	bit(PDTV, true);
	atp(FSC, at[levels - 1] + offset, levels);
	if (offset)
		stage2(8);
	assert_true(find(0));
	assert_int_equal(device.mode, TABLES_TRANSLATE);
	for (unsigned int level = levels - 1; level; level--) {
		uint64_t slot = at[level] + (id >> lows[level] & ((1U << (lows[level + 1] - lows[level])) - 1)) * 8;

		put(slot, 63, 1, UINT64_MAX >> 1);
		assert_false(look(id));
		assert_fault(UNMAPPED, PASID_DIR, level, 266);
		for (unsigned int number = 1; number < 64; number++) {
			if (number >= 10 && number <= 53)
				continue;
			put(slot, 63, 0, 1 | UINT64_C(1) << number);
			assert_false(look(id));
			assert_fault(RESERVED, PASID_DIR, level, 267);
		}
		put(slot, 63, 0, (uint64_t)(START + 0x100000 + offset) >> 12 << 10 | 1);
		assert_false(look(id));
		assert_int_equal(fault.stage, 0);
		assert_fault(MEMORY, level == 1 ? PASID : PASID_DIR, level - 1, 265);
		put(slot, 63, 0, UINT64_C(1) << 53 | 1);
		assert_false(look(id));
		if (offset)
			assert_int_equal(fault.stage, 2);
		if (offset)
			assert_int_equal(fault.detail, 21);
		else
			assert_fault(MEMORY, level == 1 ? PASID : PASID_DIR, level - 1, 265);
		put(slot, 63, 0, (at[level - 1] + offset) >> 12 << 10 | 1);
	}
	put(PDT0 + (id & 0xff) * 16, 63, 1, UINT64_MAX >> 1);
	assert_false(look(id));
	assert_fault(UNMAPPED, PASID, 0, 266);
	put(PDT0 + (id & 0xff) * 16, 63, 0, 0);
	make_pc(PDT0 + (id & 0xff) * 16, 9);
	assert_true(look(id));
	assert_int_equal(entry.asid, PSCID);
	assert_int_equal(entry.stage1.base[0], TABLE1);
	assert_int_equal(entry.stage1.input_lg2[0], 48);
	assert_int_equal(entry.domain, offset ? GSCID : 0);
	assert_int_equal(entry.has_stage2, offset != 0);
	assert_false(look(1U << lows[levels] | id));
	assert_fault(RANGE, DEVICE, 0, 260);
	/* Requests without: the first stage has no part in them. */
	assert_true(look(UIOMMU_NO_PASID));
	assert_int_equal(entry.mode, offset ? TABLES_TRANSLATE : TABLES_PASS);
	assert_false(entry.has_stage1);
	assert_int_equal(entry.asid, UIOMMU_NO_PASID);
}

static void process_directories(void **state)
{
	(void)state;
	for (unsigned int levels = 1; levels <= 3; levels++) {
		process_directory(levels, 0);
		process_directory(levels, OFFSET);
	}
}

static void default_process(void **state)
{
	(void)state;
	begin(ALL);
	bit(PDTV, true);
	bit(DPE, true);
	atp(FSC, PDT0, 1);
	make_pc(PDT0, 10);
	assert_true(find(0));
	assert_int_equal(device.rid_pasid, 0);
	assert_true(look(UIOMMU_NO_PASID));
	assert_int_equal(entry.stage1.input_lg2[0], 57);
	assert_false(entry.flags & TABLES_PRIVILEGED);
	assert_true(look(0));
	assert_int_equal(entry.stage1.input_lg2[0], 57);
	/* A directory that is Bare: no first stage for any process. */
	atp(FSC, PDT0, 0);
	good(UIOMMU_NO_PASID);
	assert_int_equal(entry.mode, TABLES_PASS);
	assert_true(look(0xfffff));
	assert_int_equal(entry.mode, TABLES_PASS);
	assert_true(entry.flags & TABLES_PRIVILEGED);
	stage2(8);
	good(0xfffff);
	assert_int_equal(entry.mode, TABLES_TRANSLATE);
	assert_true(entry.has_stage2 && !entry.has_stage1);
	assert_false(look(0x100000));
	assert_fault(RANGE, DEVICE, 0, 260);
}

static void fields_of_pc(void **state)
{
	(void)state;
	begin(ALL);
	bit(PDTV, true);
	bit(SADE, true);
	bit(DTF, true);
	atp(FSC, PDT0, 1);
	make_pc(PDT0 + 5 * 16, 8);
	good(5);
	assert_false(entry.flags & TABLES_PRIVILEGED);
	assert_true(entry.flags & TABLES_EXECUTE && entry.flags & TABLES_NO_FAULTS);
	assert_int_equal(entry.stage1.flags, UIOMMU_RISCV_SVNAPOT | UIOMMU_RISCV_SVPBMT | UIOMMU_RISCV_ADUE);
	put(PDT0 + 5 * 16, 1, 1, 1); /* ENS */
	good(5);
	assert_true(entry.flags & TABLES_PRIVILEGED);
	assert_false(entry.stage1.flags & UIOMMU_RISCV_SUM);
	put(PDT0 + 5 * 16, 2, 2, 1);
	good(5);
	assert_true(entry.stage1.flags & UIOMMU_RISCV_SUM);
	put(PDT0 + 5 * 16, 127, 124, 0); /* Bare */
	good(5);
	assert_int_equal(entry.mode, TABLES_PASS);
	assert_int_equal(entry.asid, UIOMMU_NO_PASID);
	for (unsigned int mode = 1; mode < 16; mode++) {
		put(PDT0 + 5 * 16, 127, 124, mode);
		if (mode >= 8 && mode <= 10) {
			good(5);
			device.capabilities &= ~((uint32_t)UIOMMU_RVIOMMU_SV39 << (mode - 8));
		}
		assert_false(look(5));
		assert_fault(RESERVED, PASID, 0, 267);
		assert_true(fault.quiet);
	}
	for (unsigned int number = 3; number < 124; number++) {
		bool reserved = number < 12 || (number >= 32 && number < 64) || number >= 64 + 44;

		put(PDT0 + 5 * 16, 63, 0, 1);
		put(PDT0 + 5 * 16, 127, 64, 0);
		put(PDT0 + 5 * 16, number, number, 1);
		assert_true(find(0));
		assert_int_equal(look(5), !reserved);
	}
	begin(ALL | UIOMMU_RVIOMMU_GXL);
	bit(PDTV, true);
	bit(SXL, true);
	atp(FSC, PDT0, 1);
	make_pc(PDT0 + 5 * 16, 8);
	good(5);
	assert_int_equal(entry.stage1.input_lg2[0], 32);
	put(PDT0 + 5 * 16, 127, 124, 9);
	assert_true(find(0));
	assert_false(look(5));
	assert_fault(RESERVED, PASID, 0, 267);
}

static void causes_of_stage_2(void **state)
{
	static const struct {
		uint8_t reason;
		unsigned int cause;
	} reasons[] = {
		{UIOMMU_FAULT_UNMAPPED, 21},  {UIOMMU_FAULT_RANGE, 21},	      {UIOMMU_FAULT_RESERVED, 21},
		{UIOMMU_FAULT_OUTPUT, 265},   {UIOMMU_FAULT_ACCESS_FLAG, 21}, {UIOMMU_FAULT_PERMISSION, 21},
		{UIOMMU_FAULT_PRIVILEGE, 21}, {UIOMMU_FAULT_MEMORY, 265},     {UIOMMU_FAULT_UPDATE, 265},
	};

	(void)state;
	begin(ALL);
	bit(PDTV, true);
	atp(FSC, PDT0 + OFFSET, 1);
	stage2(8);
	assert_true(find(0));
	device.stage2.walk = refusing;
	for (unsigned int i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++) {
		refusal = reasons[i].reason;
		assert_false(look(5));
		assert_int_equal(fault.reason, reasons[i].reason);
		assert_int_equal(fault.detail, reasons[i].cause);
		assert_int_equal(fault.structure, UIOMMU_STRUCTURE_PASID);
		assert_int_equal(fault.stage, 2);
		assert_int_equal(fault.ipa, PDT0 + OFFSET + 5 * 16);
		assert_true(fault.table);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(configurations),  cmocka_unit_test(without_directory),	  cmocka_unit_test(directories),
		cmocka_unit_test(flags_of_dc),	   cmocka_unit_test(combinations_of_tc),  cmocka_unit_test(reserved_bits_of_dc),
		cmocka_unit_test(modes),	   cmocka_unit_test(narrow_modes),	  cmocka_unit_test(stage_flags),
		cmocka_unit_test(interrupt_files), cmocka_unit_test(process_directories), cmocka_unit_test(default_process),
		cmocka_unit_test(fields_of_pc),	   cmocka_unit_test(causes_of_stage_2),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
