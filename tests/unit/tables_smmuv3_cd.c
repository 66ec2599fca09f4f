/* SPDX-License-Identifier: BSD-3-Clause */
/* SMMUv3: from the STE and the substream id to the CD, and what it says. */
#include "refusing.h"
#include "tables_smmuv3.h"

/* --- substreams --- */

static void substreams(void **state)
{
	(void)state;
	begin(S1, ALL);
	put(STE, 63, 59, 4);
	make_cd(CDS + 15 * 64);
	put(CDS + 15 * 64, 63, 48, 15);
	for (unsigned int dss = 0; dss < 4; dss++) {
		put(STE, 65, 64, dss);
		assert_true(find(SID));
		assert_true(look(15));
		assert_int_equal(entry.asid, 15);
		assert_false(look(16));
		assert_fault(RANGE, DEVICE, 8);
		assert_false(look(1 << 20));
		assert_fault(RANGE, DEVICE, 8);
		assert_false(look(14));
		assert_fault(UNMAPPED, PASID, 0xa);
		if (dss == 2) {
			assert_false(look(0));
			assert_fault(BLOCKED, DEVICE, 6);
			assert_true(look(UIOMMU_NO_PASID));
			assert_int_equal(entry.asid, ASID);
			continue;
		}
		assert_true(look(0));
		assert_int_equal(entry.asid, ASID);
		if (dss == 1) {
			assert_true(look(UIOMMU_NO_PASID));
			assert_int_equal(entry.mode, TABLES_PASS);
			assert_false(entry.has_stage1 || entry.has_stage2);
			continue;
		}
		assert_false(look(UIOMMU_NO_PASID));
		assert_fault(BLOCKED, DEVICE, 6);
	}
	begin(NESTED, ALL);
	put(STE, 63, 59, 4);
	put(STE, 65, 64, 1);
	good(UIOMMU_NO_PASID);
	assert_int_equal(entry.mode, TABLES_TRANSLATE);
	assert_true(!entry.has_stage1 && entry.has_stage2);
	assert_int_equal(entry.asid, UIOMMU_NO_PASID);
	/* S1DSS means nothing without substreams. */
	put(STE, 63, 59, 0);
	good(UIOMMU_NO_PASID);
	assert_true(entry.has_stage1 && entry.has_stage2);
	assert_false(look(0));
	assert_fault(BLOCKED, DEVICE, 8);
}

static void two_level_cds(void **state)
{
	(void)state;
	for (unsigned int format = 1; format <= 2; format++) {
		unsigned int leaf = format == 1 ? 6 : 10;
		uint32_t pasid = (5U << leaf) + 3;

		begin(S1, ALL);
		put(STE, 63, 59, 16);
		put(STE, 5, 4, format);
		put(STE, 55, 6, CD_DIR >> 6);
		assert_true(find(SID));
		assert_false(look(pasid));
		assert_fault(UNMAPPED, PASID_DIR, 8);
		assert_int_equal(fault.level, 1);
		put(CD_DIR + 5 * 8, 63, 0, CD_LEAF | 1);
		assert_false(look(pasid));
		assert_fault(UNMAPPED, PASID, 0xa);
		make_cd(CD_LEAF + 3 * 64);
		assert_true(look(pasid));
		assert_int_equal(entry.asid, ASID);
		put(CD_DIR + 5 * 8, 63, 0, CD_LEAF | 0xff00000000000fffULL | (format == 2 ? 0xf000 : 0));
		assert_true(look(pasid));
		put(CD_DIR + 5 * 8, 63, 0, CD_LEAF | UINT64_C(1) << 48 | 1);
		assert_false(look(pasid));
		assert_fault(RESERVED, PASID_DIR, 8);
		put(CD_DIR + 5 * 8, 63, 0, (START - 0x10000) | 1);
		assert_false(look(pasid));
		assert_fault(MEMORY, PASID, 9);
		/* With few substreams there is only the first. */
		put(STE, 63, 59, 3);
		put(CD_DIR, 63, 0, CD_LEAF | 1);
		assert_true(find(SID));
		assert_true(look(3));
		put(STE, 55, 6, (START + SIZE) >> 6);
		assert_true(find(SID));
		assert_false(look(3));
		assert_fault(MEMORY, PASID_DIR, 9);
	}
	begin(S1, ALL);
	put(STE, 55, 6, (START + SIZE) >> 6);
	assert_true(find(SID));
	assert_false(look(UIOMMU_NO_PASID));
	assert_fault(MEMORY, PASID, 9);
}

/* --- CD --- */

static void fields_of_cd(void **state)
{
	static const struct {
		unsigned int bit;
		uint32_t flag;
	} bits[] = {{14, UIOMMU_ARM_EPD0},
		    {30, UIOMMU_ARM_EPD1},
		    {35, UIOMMU_ARM_AFFD},
		    {36, UIOMMU_ARM_WXN},
		    {37, UIOMMU_ARM_UWXN},
		    {38, UIOMMU_ARM_TBI0},
		    {39, UIOMMU_ARM_TBI1},
		    {40, UIOMMU_ARM_PAN},
		    {43, UIOMMU_ARM_HA},
		    {65, UIOMMU_ARM_HPD0},
		    {129, UIOMMU_ARM_HPD1},
		    {186, UIOMMU_ARM_DS},
		    {42, 0}};

	(void)state;
	begin(S1, ALL);
	good(UIOMMU_NO_PASID);
	assert_ptr_equal(entry.stage1_format, &pgtable_arm_s1);
	assert_int_equal(entry.stage1.base[0], 0x123456000);
	assert_int_equal(entry.stage1.base[1], 0x654321000);
	assert_int_equal(entry.stage1.input_lg2[0], 39);
	assert_int_equal(entry.stage1.input_lg2[1], 48);
	assert_int_equal(entry.stage1.granule_lg2[0], 12);
	assert_int_equal(entry.stage1.granule_lg2[1], 12);
	assert_int_equal(entry.stage1.output_lg2, 44);
	assert_int_equal(entry.stage1.flags, 0);
	assert_int_equal(entry.stage1.attributes, UINT64_C(0xff440c0400bbaa11));
	assert_int_equal(entry.asid, ASID);
	assert_int_equal(entry.flags & (TABLES_STALL | TABLES_NO_FAULTS_1 | TABLES_ZEROES), 0);
	for (unsigned int i = 0; i < sizeof(bits) / sizeof(bits[0]); i++) {
		put(CDS, bits[i].bit, bits[i].bit, 1);
		assert_true(look(UIOMMU_NO_PASID));
		assert_int_equal(entry.stage1.flags, bits[i].flag);
		put(CDS, bits[i].bit, bits[i].bit, 0);
	}
	put(CDS, 43, 42, 3);
	assert_true(look(UIOMMU_NO_PASID));
	assert_int_equal(entry.stage1.flags, UIOMMU_ARM_HA | UIOMMU_ARM_HD);
	put(CDS, 43, 42, 0);
	put(CDS, 65, 65, 1);
	put(CDS, 129, 129, 1);
	put(CDS, 186, 186, 1);
	tables.config.flags &= ~(uint32_t)(UIOMMU_SMMUV3_HAD | UIOMMU_SMMUV3_DS);
	good(UIOMMU_NO_PASID);
	assert_int_equal(entry.stage1.flags, 0);
	put(CDS, 45, 45, 0); /* R */
	good(UIOMMU_NO_PASID);
	assert_true(entry.flags & TABLES_NO_FAULTS_1);
	tables.config.flags |= UIOMMU_SMMUV3_TERM_MODEL;
	good(UIOMMU_NO_PASID);
	tables.config.flags &= ~(uint32_t)UIOMMU_SMMUV3_TERM_MODEL;
	put(CDS, 46, 46, 0); /* A */
	good(UIOMMU_NO_PASID);
	assert_true(entry.flags & TABLES_ZEROES);
	tables.config.flags |= UIOMMU_SMMUV3_TERM_MODEL;
	bad_cd();
}

static void illegal_cds(void **state)
{
	(void)state;
	begin(S1, ALL);
	assert_true(find(SID));
	put(CDS, 31, 31, 0);
	assert_false(look(UIOMMU_NO_PASID));
	assert_fault(UNMAPPED, PASID, 0xa);
	begin(S1, ALL);
	put(CDS, 41, 41, 0); /* AA64 */
	bad_cd();
	begin(S1, ALL);
	put(CDS, 15, 15, 1); /* ENDI */
	bad_cd();
	put(CDS, 14, 14, 1);
	bad_cd();
	put(CDS, 30, 30, 1); /* without any walk it is ignored */
	good(UIOMMU_NO_PASID);
	begin(S1, WITHOUT(UIOMMU_SMMUV3_ASID16));
	bad_cd();
	put(CDS, 63, 48, 0xff);
	good(UIOMMU_NO_PASID);
	assert_int_equal(entry.asid, 0xff);
	for (unsigned int httu = 1; httu < 4; httu++) {
		begin(S1, WITHOUT(UIOMMU_SMMUV3_HA | UIOMMU_SMMUV3_HD));
		put(CDS, 43, 42, httu);
		bad_cd();
		tables.config.flags |= UIOMMU_SMMUV3_HA;
		if (httu == 2)
			good(UIOMMU_NO_PASID);
		else
			bad_cd();
	}
}

/* One half of the addresses: where its fields are. */
static const struct half {
	unsigned int tsz, tg, epd, ttb;
	uint8_t granules[4];
} halves[2] = {
	{0, 6, 14, 64, {12, 16, 14, 0}},
	{16, 22, 30, 128, {0, 14, 12, 16}},
};

static void sizes_of_cd(void **state)
{
	(void)state;
	for (unsigned int n = 0; n < 2 * 4 * 64 * 4; n++) {
		unsigned int tsz = n & 63, tg = n >> 6 & 3, which = n >> 8 & 1;
		bool ds = n >> 9 & 1, vax = n >> 10 & 1;
		const struct half *half = &halves[which];
		unsigned int granule = half->granules[tg], least = vax && (ds || granule == 16) ? 12 : 16;

		begin(S1, vax ? ALL : WITHOUT(UIOMMU_SMMUV3_VAX));
		put(CDS, half->tsz + 5, half->tsz, tsz);
		put(CDS, half->tg + 1, half->tg, tg);
		put(CDS, 186, 186, ds);
		if (granule && tsz >= least && tsz <= 39) {
			good(UIOMMU_NO_PASID);
			assert_int_equal(entry.stage1.input_lg2[which], 64 - tsz);
			assert_int_equal(entry.stage1.granule_lg2[which], granule);
		} else {
			bad_cd();
		}
		/* Where no walks are, nothing of that matters. */
		put(CDS, half->epd, half->epd, 1);
		put(CDS, half->ttb + 51, half->ttb + 4, (UINT64_C(1) << 48) - 1);
		good(UIOMMU_NO_PASID);
		assert_int_equal(entry.stage1.base[which], 0);
	}
	for (unsigned int granule = 12; granule <= 16; granule += 2) {
		begin(S1, WITHOUT(granule == 12	  ? UIOMMU_SMMUV3_GRAN4K
				  : granule == 14 ? UIOMMU_SMMUV3_GRAN16K
						  : UIOMMU_SMMUV3_GRAN64K));
		for (unsigned int which = 0; which < 2; which++)
			for (unsigned int tg = 0; tg < 4; tg++)
				if (halves[which].granules[tg] == granule) {
					put(CDS, 30, 30, !which);
					put(CDS, 14, 14, which);
					put(CDS, halves[which].tg + 1, halves[which].tg, tg);
					bad_cd();
				}
	}
}

static void addresses_of_cd(void **state)
{
	static const unsigned int sizes[] = {32, 36, 40, 42, 44, 48, 52, 52};

	(void)state;
	for (unsigned int ips = 0; ips < 8; ips++)
		for (unsigned int n = 0; n < 16; n++) {
			const struct half *half = &halves[n & 1];
			unsigned int oas = n & 2 ? 52 : 40, output = sizes[ips] < oas ? sizes[ips] : oas;
			bool ds = n & 4, large = n & 8;

			begin(S1, ALL);
			tables.config.output_lg2 = (uint8_t)oas;
			put(CDS, 34, 32, ips);
			put(CDS, 186, 186, ds);
			put(CDS, 119, 68, 0x1010 >> 4);
			put(CDS, 183, 132, 0x1010 >> 4);
			put(CDS, half->tg + 1, half->tg, n & 1 ? (large ? 3 : 2) : large ? 1 : 0);
			good(UIOMMU_NO_PASID);
			assert_int_equal(entry.stage1.output_lg2, output);
			assert_int_equal(entry.stage1.base[n & 1], output == 52 ? 0x1000 : 0x1010);
			for (unsigned int bit = 30; bit < 52; bit++) {
				put(CDS, half->ttb + 51, half->ttb + 4, UINT64_C(1) << bit >> 4);
				if (bit < output && (ds || large || bit < 48))
					good(UIOMMU_NO_PASID);
				else
					bad_cd();
			}
		}
}

/* --- CDs behind stage 2 --- */

static void nested(void **state)
{
	(void)state;
	begin(NESTED, ALL);
	good(UIOMMU_NO_PASID);
	assert_int_equal(entry.domain, VMID);
	assert_int_equal(entry.asid, ASID);
	assert_int_equal(entry.stage1.base[0], 0x123456000);
	assert_int_equal(entry.stage2.base[0], ROOT2);
	assert_ptr_equal(entry.stage2_format, &pgtable_arm_s2);
	put(STE, 55, 6, CDS >> 6); /* not where stage 2 has anything */
	assert_true(find(SID));
	assert_false(look(UIOMMU_NO_PASID));
	assert_int_equal(fault.stage, 2);
	assert_int_equal(fault.ipa, CDS);
	assert_fault(UNMAPPED, PASID, 0x10);
	put(STE, 55, 6, (OFFSET + START + SIZE) >> 6); /* there is something, but no memory */
	assert_true(find(SID));
	assert_false(look(UIOMMU_NO_PASID));
	assert_int_equal(fault.stage, 0);
	assert_fault(MEMORY, PASID, 9);
	put(STE, 63, 59, 12);
	put(STE, 5, 4, 1);
	put(STE, 55, 6, (OFFSET + CD_DIR) >> 6);
	put(CD_DIR + 5 * 8, 63, 0, (OFFSET + CD_LEAF) | 1);
	make_cd(CD_LEAF + 7 * 64);
	good(5 * 64 + 7);
	put(CD_DIR + 5 * 8, 63, 0, CD_LEAF | 1);
	assert_false(look(5 * 64 + 7));
	assert_int_equal(fault.stage, 2);
	assert_int_equal(fault.ipa, CD_LEAF + 7 * 64);
	assert_fault(UNMAPPED, PASID, 0x10);
	put(STE, 55, 6, CD_DIR >> 6);
	assert_true(find(SID));
	assert_false(look(5 * 64 + 7));
	assert_int_equal(fault.ipa, CD_DIR + 5 * 8);
	assert_fault(UNMAPPED, PASID_DIR, 0x10);
}

static void events_of_stage_2(void **state)
{
	static const struct {
		uint8_t reason, event;
	} reasons[] = {
		{UIOMMU_FAULT_UNMAPPED, 0x10},	{UIOMMU_FAULT_RANGE, 0x10},	  {UIOMMU_FAULT_RESERVED, 0x10},
		{UIOMMU_FAULT_OUTPUT, 0x11},	{UIOMMU_FAULT_ACCESS_FLAG, 0x12}, {UIOMMU_FAULT_PERMISSION, 0x13},
		{UIOMMU_FAULT_PRIVILEGE, 0x13}, {UIOMMU_FAULT_MEMORY, 0x0b},	  {UIOMMU_FAULT_UPDATE, 0x0b},
	};

	(void)state;
	begin(NESTED, ALL);
	assert_true(find(SID));
	device.stage2.walk = refusing;
	for (unsigned int i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++) {
		refusal = reasons[i].reason;
		assert_false(look(UIOMMU_NO_PASID));
		assert_int_equal(fault.reason, reasons[i].reason);
		assert_int_equal(fault.detail, reasons[i].event);
		assert_int_equal(fault.structure, UIOMMU_STRUCTURE_PASID);
		assert_int_equal(fault.stage, 2);
		assert_int_equal(fault.ipa, CDS + OFFSET);
		assert_true(fault.table);
	}
}

/* A guest's CD table, attached with its STE's first words. */
static void by_itself(void **state)
{
	(void)state;
	begin(S1, ALL);
	put(STE, 63, 59, 4);
	put(STE, 65, 64, 2);
	device = (struct tables_device){
		.format = &tables_smmuv3,
		.mode = TABLES_TRANSLATE,
		.flags = TABLES_PASIDS,
		.domain = 7,
		.has_pasid_table = true,
		.pasid_table = CDS,
		.pasid_bits = 4,
		.output_lg2 = 48,
		.capabilities = ALL,
		.memory = tables.memory,
		.extra = {word(STE)[0], word(STE)[1]},
	};
	assert_true(look(UIOMMU_NO_PASID));
	assert_int_equal(entry.asid, ASID);
	assert_int_equal(entry.domain, 7);
	assert_false(look(0));
	assert_fault(BLOCKED, DEVICE, 6);
	device.pasid_table = device.memory.window.first = UINT64_C(1) << 48;
	device.memory.window.host = arena + (CDS - START);
	assert_false(look(UIOMMU_NO_PASID));
	assert_fault(MEMORY, PASID, 9);
	device.output_lg2 = 52;
	assert_true(look(UIOMMU_NO_PASID));
}

static bool same_config(const struct pgtable_config *a, const struct pgtable_config *b)
{
	return a->base[0] == b->base[0] && a->base[1] == b->base[1] && a->input_lg2[0] == b->input_lg2[0] &&
	       a->input_lg2[1] == b->input_lg2[1] && a->granule_lg2[0] == b->granule_lg2[0] &&
	       a->granule_lg2[1] == b->granule_lg2[1] && a->levels == b->levels && a->output_lg2 == b->output_lg2 &&
	       a->flags == b->flags && a->attributes == b->attributes;
}

static bool same(const struct tables_entry *a, const struct tables_entry *b)
{
	return a->mode == b->mode && a->flags == b->flags && a->domain == b->domain && a->asid == b->asid &&
	       a->has_stage1 == b->has_stage1 && a->has_stage2 == b->has_stage2 && same_config(&a->stage1, &b->stage1) &&
	       same_config(&a->stage2, &b->stage2);
}

static bool within(unsigned int bit, const unsigned int (*ranges)[2], unsigned int count)
{
	for (unsigned int i = 0; i < count; i++)
		if (bit >= ranges[i][0] && bit <= ranges[i][1])
			return true;
	return false;
}

/* Each bit of STE and CD, turned over: only those of the fields that are decoded make a difference. 0b01 of PRIVCFG and INSTCFG is
 * none, S2PS 0b111 is no more than 0b101 here, and what is below a table's alignment is the format's. */
static void every_bit(void **state)
{
	static const unsigned int ste[][2] = {{0, 3},	  {6, 55},    {59, 63},	  {92, 93},   {113, 113}, {115, 115}, {128, 143},
					      {160, 167}, {174, 176}, {178, 181}, {184, 186}, {195, 195}, {204, 243}};
	static const unsigned int either[][2] = {{196, 203}};
	static const unsigned int cd[][2] = {{0, 7},	{14, 23},   {30, 41},	{43, 46},   {48, 63},  {65, 65},
					     {68, 115}, {129, 129}, {132, 179}, {186, 186}, {192, 255}};
	struct tables_entry before;

	(void)state;
	begin(NESTED, ALL);
	good(UIOMMU_NO_PASID);
	before = entry;
	for (unsigned int bit = 0; bit < 512; bit++) {
		word(STE)[bit / 64] ^= UINT64_C(1) << bit % 64;
		if (!within(bit, either, 1))
			assert_int_equal(!find(SID) || !look(UIOMMU_NO_PASID) || !same(&before, &entry), within(bit, ste, 13));
		word(STE)[bit / 64] ^= UINT64_C(1) << bit % 64;
	}
	assert_true(find(SID));
	for (unsigned int bit = 0; bit < 512; bit++) {
		word(CDS)[bit / 64] ^= UINT64_C(1) << bit % 64;
		assert_int_equal(!look(UIOMMU_NO_PASID) || !same(&before, &entry), within(bit, cd, 11));
		word(CDS)[bit / 64] ^= UINT64_C(1) << bit % 64;
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(substreams),  cmocka_unit_test(two_level_cds),	    cmocka_unit_test(fields_of_cd),
		cmocka_unit_test(illegal_cds), cmocka_unit_test(sizes_of_cd),	    cmocka_unit_test(addresses_of_cd),
		cmocka_unit_test(nested),      cmocka_unit_test(events_of_stage_2), cmocka_unit_test(by_itself),
		cmocka_unit_test(every_bit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
