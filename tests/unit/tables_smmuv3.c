/* SPDX-License-Identifier: BSD-3-Clause */
/* SMMUv3: from the stream id to the STE, and what it says. */
#include "tables_smmuv3.h"

/* --- configuration --- */

static int checked(uint64_t base, unsigned int mode, unsigned int size_lg2, unsigned int split, unsigned int output_lg2,
		   uint32_t flags)
{
	struct tables with = {
		.format = &tables_smmuv3,
		.config = {.base = base,
			   .mode = (uint8_t)mode,
			   .size_lg2 = (uint8_t)size_lg2,
			   .split = (uint8_t)split,
			   .output_lg2 = (uint8_t)output_lg2,
			   .flags = flags},
	};

	return tables_smmuv3.check(&with);
}

static void configurations(void **state)
{
	(void)state;
	for (unsigned int oas = 0; oas < 256; oas++) {
		bool known = oas == 32 || oas == 36 || oas == 40 || oas == 42 || oas == 44 || oas == 48 || oas == 52;

		assert_int_equal(checked(0, 0, 8, 0, oas, ALL), known ? 0 : -EINVAL);
	}
	for (unsigned int split = 0; split < 256; split++)
		assert_int_equal(checked(0, 1, 16, split, 48, ALL), split == 6 || split == 8 || split == 10 ? 0 : -EINVAL);
	for (unsigned int mode = 2; mode < 256; mode++)
		assert_int_equal(checked(0, mode, 16, 8, 48, ALL), -EINVAL);
	assert_int_equal(checked(0, 1, 16, 8, 48, WITHOUT(UIOMMU_SMMUV3_ST_LEVEL)), -EOPNOTSUPP);
	assert_int_equal(checked(0, 0, 32, 8, 48, WITHOUT(UIOMMU_SMMUV3_ST_LEVEL)), 0);
	assert_int_equal(checked(0, 0, 33, 8, 48, ALL), -EINVAL);
	assert_int_equal(checked(32, 0, 8, 8, 48, ALL), -EINVAL);
	assert_int_equal(checked(UINT64_C(1) << 48, 0, 8, 8, 48, ALL), -EINVAL);
	assert_int_equal(checked((UINT64_C(1) << 48) - 64, 0, 8, 8, 48, ALL), 0);
	assert_int_equal(checked(0, 0, 8, 0, 48, WITHOUT(UINT32_C(31) << 27) | UINT32_C(21) << 27), -EINVAL);
	assert_int_equal(checked(0, 0, 8, 0, 48, WITHOUT(UIOMMU_SMMUV3_S1P | UIOMMU_SMMUV3_S2P)), -EINVAL);
	assert_int_equal(checked(0, 0, 8, 0, 48, WITHOUT(UIOMMU_SMMUV3_HA)), -EINVAL);
	assert_int_equal(checked(0, 0, 8, 0, 48, ALL | UIOMMU_SMMUV3_STALL_FORCED), -EINVAL);
}

/* --- stream table --- */

static void linear_stream_table(void **state)
{
	(void)state;
	begin(PASS, ALL);
	make_ste(STREAMS + 255 * 64, PASS);
	assert_true(find(255));
	assert_int_equal(device.mode, TABLES_PASS);
	assert_false(find(256));
	assert_fault(RANGE, DEVICE, 2);
	assert_false(find(UINT32_MAX));
	assert_fault(RANGE, DEVICE, 2);
	assert_false(find(254));
	assert_fault(UNMAPPED, DEVICE, 4);
	/* The base is aligned to the table's size. */
	tables.config.base |= 0x1fc0;
	assert_true(find(SID));
	tables.config.size_lg2 = 32;
	assert_false(find(UINT32_MAX));
	assert_fault(MEMORY, DEVICE, 3);
	/* Where no memory is, and none can be. */
	tables.config.base = START + SIZE;
	tables.config.size_lg2 = 0;
	assert_false(find(0));
	assert_fault(MEMORY, DEVICE, 3);
	begin(PASS, ALL);
	tables.config.output_lg2 = 32;
	tables.config.base = tables.memory.window.first = 0xffffc000;
	tables.config.size_lg2 = 9;
	tables.config.base = 0xffff8000;
	assert_false(find(SID));
	assert_fault(MEMORY, DEVICE, 3);
}

static void two_levels(unsigned int split, unsigned int size_lg2, uint32_t sid)
{
	uint32_t low = sid & ((1U << split) - 1);

	begin(PASS, ALL);
	memset(arena, 0, LEAF - START);
	tables.config.mode = UIOMMU_SMMUV3_2_LEVEL;
	tables.config.split = (uint8_t)split;
	tables.config.size_lg2 = (uint8_t)size_lg2;
	assert_false(find(sid));
	assert_fault(UNMAPPED, DEVICE_DIR, 2);
	assert_int_equal(fault.level, 1);
	make_ste(CD_LEAF + low * 64, S2);
	for (unsigned int span = 0; span < 32; span++) {
		put(STREAMS + (sid >> split) * 8, 63, 0, CD_LEAF | span);
		if (!span) {
			assert_false(find(sid));
			assert_fault(UNMAPPED, DEVICE_DIR, 2);
		} else if (span > split + 1) {
			assert_false(find(sid));
			assert_fault(RESERVED, DEVICE_DIR, 2);
		} else if (low >> (span - 1)) {
			assert_false(find(sid));
			assert_fault(RANGE, DEVICE_DIR, 2);
		} else {
			assert_true(find(sid));
			assert_int_equal(device.domain, VMID);
			/* What is below its size does not belong to the address. */
			put(STREAMS + (sid >> split) * 8, 63, 0,
			    CD_LEAF | span | ((64ULL << (span - 1)) - 64) | 0xffULL << 56 | 32);
			assert_true(find(sid));
			put(STREAMS + (sid >> split) * 8, 63, 0, 1ULL << 48 | CD_LEAF | span);
			assert_false(find(sid));
			assert_fault(MEMORY, DEVICE, 3);
		}
	}
	if (size_lg2 < 32) {
		assert_false(find(1U << size_lg2));
		assert_fault(RANGE, DEVICE_DIR, 2);
	}
}

static void two_level_stream_table(void **state)
{
	static const unsigned int splits[] = {6, 8, 10};

	(void)state;
	for (unsigned int i = 0; i < 3; i++) {
		two_levels(splits[i], 16, (3U << splits[i]) + 5);
		two_levels(splits[i], 16, 5);
		two_levels(splits[i], splits[i], (1U << splits[i]) - 1);
		two_levels(splits[i], 3, 7); /* fewer than one leaf has */
		two_levels(splits[i], 12, 0xfff);
	}
	/* The first level is aligned, too: here to 16 KiB. */
	tables.config.base = START + 0x3fc0;
	tables.config.split = 6;
	tables.config.size_lg2 = 17;
	put(STREAMS, 63, 0, CD_LEAF | 1);
	make_ste(CD_LEAF, PASS);
	assert_true(find(0));
	tables.config.base = START + SIZE;
	tables.config.size_lg2 = 6;
	assert_false(find(0));
	assert_fault(MEMORY, DEVICE_DIR, 3);
}

/* --- STE --- */

static void modes(void **state)
{
	(void)state;
	for (unsigned int config = 0; config < 8; config++) {
		begin(config, ALL);
		assert_true(find(SID));
		assert_int_equal(device.mode, config < 4 ? TABLES_BLOCK : config == PASS ? TABLES_PASS : TABLES_TRANSLATE);
		assert_int_equal(device.has_stage2, config >= S2);
		assert_int_equal(device.has_pasid_table, config == S1 || config == NESTED);
		assert_int_equal(device.domain, config > PASS ? VMID : 0);
		assert_true(look(UIOMMU_NO_PASID));
		assert_int_equal(entry.mode, device.mode);
		assert_int_equal(entry.has_stage1, config == S1 || config == NESTED);
		assert_int_equal(entry.has_stage2, config >= S2);
		assert_int_equal(entry.domain, device.domain);
		assert_int_equal(entry.asid, entry.has_stage1 ? ASID : UIOMMU_NO_PASID);
		if (config < 4) {
			assert_true(look(3));
			assert_int_equal(entry.mode, TABLES_BLOCK);
		} else {
			assert_false(look(0));
			assert_fault(BLOCKED, DEVICE, 8);
		}
		put(STE, 0, 0, 0);
		assert_false(find(SID));
		assert_fault(UNMAPPED, DEVICE, 4);
	}
	begin(S1, WITHOUT(UIOMMU_SMMUV3_S1P));
	bad_ste();
	begin(NESTED, WITHOUT(UIOMMU_SMMUV3_S1P));
	bad_ste();
	begin(S2, WITHOUT(UIOMMU_SMMUV3_S2P));
	bad_ste();
	begin(NESTED, WITHOUT(UIOMMU_SMMUV3_S2P));
	bad_ste();
	begin(S1, WITHOUT(UIOMMU_SMMUV3_S2P));
	put(STE, 63 + 128, 128, UINT64_MAX); /* all of stage 2 is ignored */
	assert_true(find(SID));
	assert_int_equal(device.domain, 0);
}

static void stage_1_of_ste(void **state)
{
	(void)state;
	begin(S1, ALL);
	assert_true(find(SID));
	assert_int_equal(device.pasid_table, CDS);
	assert_int_equal(device.pasid_bits, 0);
	assert_int_equal(device.rid_pasid, 0);
	assert_false(device.flags & TABLES_PASIDS);
	for (unsigned int bits = 0; bits < 32; bits++) {
		put(STE, 63, 59, bits);
		if (bits > 20) {
			bad_ste();
			continue;
		}
		assert_true(find(SID));
		assert_int_equal(device.pasid_bits, bits);
		assert_int_equal(!!(device.flags & TABLES_PASIDS), bits != 0);
		for (unsigned int format = 0; format < 4; format++) {
			unsigned int two = bits && (format == 1 || format == 2), leaf = format == 1 ? 6 : 10;
			unsigned int size = two ? bits > leaf + 3 ? bits - leaf + 3 : 6 : bits + 6;

			put(STE, 5, 4, format);
			put(STE, 55, 6, (UINT64_C(1) << 42) - 1);
			assert_true(find(SID));
			assert_int_equal(device.pasid_mode, two ? format : 0);
			assert_int_equal(device.pasid_table, (UINT64_C(1) << 48) - (UINT64_C(1) << size));
			tables.config.flags &= ~(uint32_t)UIOMMU_SMMUV3_CD2L;
			assert_int_equal(find(SID), !two);
			tables.config.flags |= UIOMMU_SMMUV3_CD2L;
		}
		put(STE, 5, 4, 0);
	}
	/* Without substreams nothing of that matters. */
	begin(S1, WITHOUT(UINT32_C(31) << 27 | UIOMMU_SMMUV3_CD2L));
	put(STE, 63, 59, 31);
	put(STE, 5, 4, 1);
	assert_true(find(SID));
	assert_int_equal(device.pasid_bits, 0);
	begin(S1, ALL);
	put(STE, 55, 55, 1);
	bad_ste();
	put(STE, 3, 1, NESTED);
	bad_ste();
	put(STE, 3, 1, S2);
	assert_true(find(SID));
}

static void stalls_and_world(void **state)
{
	const uint32_t none = WITHOUT(UIOMMU_SMMUV3_STALL), forced = none | UIOMMU_SMMUV3_STALL_FORCED;

	(void)state;
	begin(S1, ALL);
	put(STE, 91, 91, 1); /* S1STALLD */
	assert_true(find(SID));
	put(CDS, 44, 44, 1);
	bad_cd();
	put(STE, 91, 91, 0);
	good(UIOMMU_NO_PASID);
	assert_true(entry.flags & TABLES_STALL);
	tables.config.flags = none;
	bad_cd();
	put(CDS, 44, 44, 0);
	good(UIOMMU_NO_PASID);
	assert_false(entry.flags & TABLES_STALL);
	tables.config.flags = forced;
	bad_cd();
	put(STE, 91, 91, 1);
	bad_ste();
	tables.config.flags = none;
	bad_ste();
	put(STE, 3, 1, S2);
	assert_true(find(SID));
	assert_int_equal(device.flags & (TABLES_STALL_2 | TABLES_NO_FAULTS_2), 0);
	put(STE, 185, 185, 1); /* S2S */
	bad_ste();
	tables.config.flags = forced;
	assert_true(find(SID));
	assert_true(device.flags & TABLES_STALL_2);
	put(STE, 186, 185, 0);
	bad_ste();
	tables.config.flags = ALL;
	assert_true(find(SID));
	assert_true(device.flags & TABLES_NO_FAULTS_2);
	for (unsigned int strw = 1; strw < 4; strw++) {
		begin(S1, ALL | UIOMMU_SMMUV3_HYP);
		put(STE, 95, 94, strw);
		bad_ste();
		put(STE, 3, 1, NESTED);
		assert_true(find(SID));
		put(STE, 3, 1, PASS);
		assert_true(find(SID));
		begin(S1, ALL);
		put(STE, 95, 94, strw);
		assert_true(find(SID));
	}
	begin(S1, WITHOUT(UIOMMU_SMMUV3_VMID16));
	bad_ste();
	put(STE, 143, 128, 0xff);
	assert_true(find(SID));
	assert_int_equal(device.domain, 0xff);
	put(STE, 3, 1, PASS);
	put(STE, 143, 136, 1);
	assert_true(find(SID));
}

/* EATS: what becomes of it. */
static void ats(void **state)
{
	(void)state;
	for (unsigned int config = PASS; config <= NESTED; config++)
		for (unsigned int eats = 0; eats < 4; eats++)
			for (unsigned int with = 0; with < 16; with++) {
				bool stalls = with & 1, chk = with & 2, ns1ats = with & 4, none = with & 8;
				bool wrong = config > PASS && !none &&
					     ((eats == 1 && config >= S2 && stalls) ||
					      (eats == 2 && (config != NESTED || stalls || ns1ats)));
				uint32_t expected = 0;

				begin(config, WITHOUT(UIOMMU_SMMUV3_ATSCHK | UIOMMU_SMMUV3_ATS) | (chk ? UIOMMU_SMMUV3_ATSCHK : 0) |
						      (ns1ats ? UIOMMU_SMMUV3_NS1ATS : 0) | (none ? 0 : UIOMMU_SMMUV3_ATS));
				put(STE, 93, 92, eats);
				put(STE, 185, 185, stalls);
				if (wrong) {
					bad_ste();
					continue;
				}
				assert_true(find(SID));
				if (eats == 1 && config > PASS && !none)
					expected = TABLES_ATS;
				if (eats == 2 && config > PASS && chk && !none)
					expected = TABLES_ATS | TABLES_T2GPA;
				assert_int_equal(device.flags & (TABLES_ATS | TABLES_T2GPA), expected);
			}
}

static void overrides(void **state)
{
	const uint32_t mask = TABLES_PRIVILEGED | TABLES_EXECUTE | TABLES_ALL_PRIVILEGED | TABLES_ALL_EXECUTE | TABLES_OVERRIDE;

	(void)state;
	for (unsigned int privcfg = 0; privcfg < 4; privcfg++)
		for (unsigned int instcfg = 0; instcfg < 4; instcfg++) {
			uint32_t expected = TABLES_OVERRIDE;

			begin(PASS, ALL);
			put(STE, 113, 112, privcfg);
			put(STE, 115, 114, instcfg);
			expected |= privcfg == 2 ? 0 : TABLES_PRIVILEGED;
			expected |= privcfg == 3 ? TABLES_ALL_PRIVILEGED : 0;
			expected |= instcfg == 2 ? 0 : TABLES_EXECUTE;
			expected |= instcfg == 3 ? TABLES_ALL_EXECUTE : 0;
			assert_true(find(SID));
			assert_int_equal(device.flags & mask, expected);
			tables.config.flags &= ~(uint32_t)UIOMMU_SMMUV3_ATTR_PERMS_OVR;
			assert_true(find(SID));
			assert_int_equal(device.flags & mask, TABLES_OVERRIDE | TABLES_PRIVILEGED | TABLES_EXECUTE);
		}
	begin(S1, ALL);
	put(STE, 82, 82, 1);
	assert_true(find(SID));
	assert_false(device.flags & (TABLES_PRI | TABLES_PRI_PASID));
	tables.config.flags |= UIOMMU_SMMUV3_PRI;
	assert_true(find(SID));
	assert_true(device.flags & TABLES_PRI && device.flags & TABLES_PRI_PASID);
	put(STE, 82, 82, 0);
	assert_true(find(SID));
	assert_true(device.flags & TABLES_PRI && !(device.flags & TABLES_PRI_PASID));
}

static void stage_2_of_ste(void **state)
{
	const struct pgtable_config *config = &device.stage2.config;

	(void)state;
	begin(S2, ALL);
	good(UIOMMU_NO_PASID);
	assert_ptr_equal(device.stage2.format, &pgtable_arm_s2);
	assert_ptr_equal(entry.stage2_format, &pgtable_arm_s2);
	assert_int_equal(config->base[0], ROOT2);
	assert_int_equal(config->input_lg2[0], 39);
	assert_int_equal(config->granule_lg2[0], 12);
	assert_int_equal(config->levels, 3);
	assert_int_equal(config->output_lg2, 48);
	assert_int_equal(config->flags, UIOMMU_ARM_XNX);
	assert_int_equal(entry.stage2.base[0], ROOT2);
	assert_int_equal(entry.stage2.levels, 3);
	put(STE, 181, 181, 1); /* AFFD */
	tables.config.flags &= ~(uint32_t)UIOMMU_SMMUV3_XNX;
	assert_true(find(SID));
	assert_int_equal(config->flags, UIOMMU_ARM_AFFD);
	put(STE, 181, 181, 0);
	for (unsigned int httu = 0; httu < 4; httu++) {
		bool hd = httu & 1, ha = httu & 2;

		put(STE, 184, 183, httu);
		tables.config.flags = WITHOUT(UIOMMU_SMMUV3_XNX);
		assert_true(find(SID));
		assert_int_equal(config->flags, ha ? UIOMMU_ARM_HA | (hd ? UIOMMU_ARM_HD : 0) : 0);
		tables.config.flags &= ~(uint32_t)UIOMMU_SMMUV3_HD;
		assert_int_equal(find(SID), !hd);
		tables.config.flags &= ~(uint32_t)UIOMMU_SMMUV3_HA;
		assert_int_equal(find(SID), !hd && !ha);
	}
	begin(S2, ALL);
	put(STE, 179, 179, 0); /* AA64 */
	bad_ste();
	begin(S2, ALL);
	put(STE, 180, 180, 1); /* ENDI */
	bad_ste();
}

/* Which {S2TG, S2SL0, S2SL0_2, S2DS, S2T0SZ} are there, in words of the architecture: where walks start, and how many bits those
 * from there on resolve, with up to 16 tables side by side. */
static unsigned int levels_of(unsigned int tg, unsigned int sl, bool ds, unsigned int t0sz, unsigned int oas)
{
	static const struct {
		uint8_t tg, sl, levels, oas, least, most;
		bool ds;
	} known[] = {
		{0, 0, 2, 0, 22, 34, false},  {0, 1, 3, 0, 31, 43, false}, {0, 2, 4, 44, 40, 52, false},
		{0, 4, 5, 52, 49, 61, true},  {1, 0, 1, 0, 17, 33, false}, {1, 1, 2, 0, 30, 46, false},
		{1, 2, 3, 44, 43, 59, false}, {2, 0, 1, 0, 15, 29, false}, {2, 1, 2, 0, 26, 40, false},
		{2, 2, 3, 42, 37, 51, false}, {2, 3, 4, 52, 48, 62, true},
	};
	unsigned int size = 64 - t0sz, most = tg == 1 || ds ? 52 : 48;

	if (tg || !ds)
		sl &= 3;
	for (unsigned int i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (known[i].tg == tg && known[i].sl == sl && oas >= known[i].oas && (ds || !known[i].ds) &&
		    size >= known[i].least && size <= known[i].most && size <= most && size <= oas && t0sz <= 39)
			return known[i].levels;
	return 0;
}

static void stage_2_sizes(void **state)
{
	static const unsigned int outputs[] = {36, 40, 42, 44, 48, 52};
	static const unsigned int granules[] = {12, 16, 14};
	unsigned int found = 0;

	(void)state;
	begin(S2, ALL);
	for (unsigned int n = 0; n < 6 * 4 * 8 * 2 * 64; n++) {
		unsigned int t0sz = n & 63, ds = n >> 6 & 1, sl = n >> 7 & 7, tg = n >> 10 & 3, oas = outputs[n >> 12];
		unsigned int levels = levels_of(tg, sl, ds && tg != 1, t0sz, oas);

		tables.config.output_lg2 = (uint8_t)oas;
		put(STE, 165, 160, t0sz);
		put(STE, 167, 166, sl & 3);
		put(STE, 194, 194, sl >> 2);
		put(STE, 195, 195, ds);
		put(STE, 175, 174, tg);
		if (!levels) {
			bad_ste();
			continue;
		}
		found++;
		assert_true(find(SID));
		assert_int_equal(device.stage2.config.levels, levels);
		assert_int_equal(device.stage2.config.input_lg2[0], 64 - t0sz);
		assert_int_equal(device.stage2.config.granule_lg2[0], granules[tg]);
		assert_int_equal(!!(device.stage2.config.flags & UIOMMU_ARM_DS), ds && tg != 1);
	}
	assert_true(found > 300);
	begin(S2, WITHOUT(UIOMMU_SMMUV3_DS));
	tables.config.output_lg2 = 52;
	put(STE, 195, 194, 3);
	put(STE, 167, 166, 0);
	put(STE, 165, 160, 12);
	bad_ste();
	for (unsigned int tg = 0; tg < 3; tg++) {
		static const uint32_t flags[] = {UIOMMU_SMMUV3_GRAN4K, UIOMMU_SMMUV3_GRAN64K, UIOMMU_SMMUV3_GRAN16K};

		begin(S2, ALL);
		put(STE, 175, 174, tg);
		put(STE, 165, 160, 28);
		assert_true(find(SID));
		tables.config.flags &= ~flags[tg];
		bad_ste();
	}
}

static void stage_2_output(void **state)
{
	static const unsigned int sizes[] = {32, 36, 40, 42, 44, 48, 52, 52};
	static const unsigned int outputs[] = {32, 36, 40, 42, 44, 48, 52};

	(void)state;
	for (unsigned int i = 0; i < 7; i++)
		for (unsigned int ps = 0; ps < 8; ps++)
			for (unsigned int tg = 0; tg < 2; tg++) {
				unsigned int output = sizes[ps] < outputs[i] ? sizes[ps] : outputs[i];

				begin(S2, ALL);
				tables.config.output_lg2 = (uint8_t)outputs[i];
				put(STE, 178, 176, ps);
				put(STE, 175, 174, tg);
				put(STE, 167, 166, tg ? 0 : 1);
				put(STE, 165, 160, 32);
				put(STE, 247, 196, UINT64_C(0x80001010) >> 4);
				assert_true(find(SID));
				assert_int_equal(device.stage2.config.output_lg2, output);
				/* Bits that a table's alignment leaves out are the format's, but for the lowest. */
				assert_int_equal(device.stage2.config.base[0] & ~UINT64_C(0xffff), UINT64_C(0x80000000));
				if (output == 52)
					assert_int_equal(device.stage2.config.base[0] & 63, 0);
				for (unsigned int bit = 30; bit < 52; bit++) {
					put(STE, 247, 196, UINT64_C(1) << bit >> 4);
					assert_int_equal(find(SID), bit < output && (tg || bit < 48));
				}
			}
	begin(S2, ALL);
	tables.config.output_lg2 = 52;
	put(STE, 178, 176, 6);
	put(STE, 195, 195, 1); /* DS */
	put(STE, 243, 243, 1);
	assert_true(find(SID));
	put(STE, 247, 244, 15); /* RES0 */
	assert_true(find(SID));
	assert_int_equal(device.stage2.config.base[0], UINT64_C(1) << 51 | ROOT2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(configurations),
		cmocka_unit_test(linear_stream_table),
		cmocka_unit_test(two_level_stream_table),
		cmocka_unit_test(modes),
		cmocka_unit_test(stage_1_of_ste),
		cmocka_unit_test(stalls_and_world),
		cmocka_unit_test(ats),
		cmocka_unit_test(overrides),
		cmocka_unit_test(stage_2_of_ste),
		cmocka_unit_test(stage_2_sizes),
		cmocka_unit_test(stage_2_output),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
