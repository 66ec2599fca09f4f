/* SPDX-License-Identifier: BSD-3-Clause */
/* Device and PASID tables of VT-d: what is refused. Every bit of every structure, and every value. */
#include "tables_vtd.h"

/* --- every bit --- */

enum what {
	RESERVED,
	PRESENT,
	ANYTHING, /* the entry is as good with the bit as without */
	ADDRESS, /* the fault, if there is one, is of another structure or for want of an entry */
	VALUE, /* what it means is tested elsewhere */
};

/* Bits that are not listed are reserved. */
struct range {
	unsigned int first;
	unsigned int last;
	enum what what;
};

struct structure {
	uint64_t address;
	unsigned int bits;
	unsigned int structure;
	unsigned int absent;
	unsigned int reserved;
	const struct range *ranges;
};

static enum what look_up(const struct range *range, unsigned int bit)
{
	for (; range->last; range++)
		if (bit >= range->first && bit <= range->last)
			return range->what;
	return bit ? RESERVED : PRESENT;
}

static void every_bit(const struct structure *s, uint32_t rid, uint32_t pasid)
{
	assert_true(run(rid, pasid));
	for (unsigned int bit = 0; bit < s->bits; bit++) {
		flip(s->address, bit);
		switch (look_up(s->ranges, bit)) {
		case RESERVED:
			expect(rid, pasid, UIOMMU_FAULT_RESERVED, s->structure, s->reserved);
			break;
		case PRESENT:
			expect(rid, pasid, UIOMMU_FAULT_UNMAPPED, s->structure, s->absent);
			break;
		case ANYTHING:
			assert_true(run(rid, pasid));
			break;
		case ADDRESS:
			if (!run(rid, pasid) && fault.reason == UIOMMU_FAULT_RESERVED)
				assert_int_not_equal(fault.structure, s->structure);
			break;
		default:
			break;
		}
		flip(s->address, bit);
	}
	/* Of an absent entry nothing else counts. */
	for (unsigned int i = 0; i < s->bits / 64; i++)
		word(s->address)[i] = i ? UINT64_MAX : UINT64_MAX - 1;
	expect(rid, pasid, UIOMMU_FAULT_UNMAPPED, s->structure, s->absent);
}

static const struct range pointer[] = {{12, HAW - 1, ADDRESS}, {0}};
static const struct range legacy_context[] = {
	{1, 1, ANYTHING}, {2, 3, VALUE}, {12, HAW - 1, ANYTHING}, {64, 66, VALUE}, {67, 70, ANYTHING}, {72, 87, ANYTHING}, {0}};
static const struct range context[] = {
	{1, 2, ANYTHING}, {3, 3, VALUE}, {4, 4, ANYTHING}, {9, 11, VALUE}, {12, HAW - 1, ADDRESS}, {64, 84, VALUE}, {0}};
static const struct range directory[] = {{1, 1, ANYTHING}, {12, HAW - 1, ADDRESS}, {0}};
static const struct range pasid_entry[] = {{1, 1, ANYTHING},
					   {2, 4, VALUE},
					   {5, 5, ANYTHING},
					   {6, 8, VALUE},
					   {9, 9, ANYTHING},
					   {12, HAW - 1, ANYTHING},
					   {64, 79, ANYTHING},
					   {87, 88, ANYTHING},
					   {128, 129, ANYTHING},
					   {130, 131, VALUE},
					   {132, 135, ANYTHING},
					   {140, 128 + HAW - 1, ANYTHING},
					   {0}};

static void legacy_bits(void **state)
{
	struct structure root = {LEGACY_ROOT, 128, UIOMMU_STRUCTURE_DEVICE_DIR, 0x1, 0xa, pointer};
	struct structure leaf = {LEGACY_CONTEXT, 128, UIOMMU_STRUCTURE_DEVICE, 0x2, 0xb, legacy_context};

	(void)state;
	for (unsigned int tt = 0; tt < 3; tt++) {
		legacy(ALL, tt);
		every_bit(&root, LEGACY_RID, UIOMMU_NO_PASID);
		legacy(ALL, tt);
		every_bit(&leaf, LEGACY_RID, UIOMMU_NO_PASID);
	}
}

static void scalable_bits(void **state)
{
	static const struct structure structures[] = {
		{SCALABLE_ROOT, 64, UIOMMU_STRUCTURE_DEVICE_DIR, 0x39, 0x3a, pointer},
		{CONTEXT, 256, UIOMMU_STRUCTURE_DEVICE, 0x41, 0x42, context},
		{DIRECTORY_ENTRY, 64, UIOMMU_STRUCTURE_PASID_DIR, 0x51, 0x52, directory},
		{PASID_ENTRY, 512, UIOMMU_STRUCTURE_PASID, 0x59, 0x5a, pasid_entry},
	};

	(void)state;
	for (unsigned int pgtt = 1; pgtt <= 4; pgtt++)
		for (unsigned int i = 0; i < 4; i++)
			for (unsigned int implied = 0; implied < 2; implied++) {
				scalable(ALL, pgtt);
				put(CONTEXT, 2, 1); /* without it, PRE may not be set */
				every_bit(&structures[i], RID, implied ? UIOMMU_NO_PASID : PASID);
			}
}

/* The half that is not asked for may hold anything. */
static void root_halves(void **state)
{
	(void)state;
	scalable(ALL, 1);
	word(SCALABLE_ROOT)[1] = UINT64_MAX;
	assert_true(run(RID, PASID));
	word(SCALABLE_ROOT)[0] = UINT64_MAX;
	word(SCALABLE_ROOT)[1] = UPPER | 1;
	memcpy(word(UPPER_CONTEXT), word(CONTEXT), 32);
	memset(word(CONTEXT), 0, 32);
	assert_true(run(UPPER_RID, PASID));
	expect(RID, PASID, UIOMMU_FAULT_RESERVED, UIOMMU_STRUCTURE_DEVICE_DIR, 0x3a);
}

/* --- what is not offered --- */

/* With @flag @bit of the structure at @address may be set, without it may not. */
static void only_with(uint32_t flag, uint64_t address, unsigned int bit, unsigned int structure, unsigned int detail)
{
	for (unsigned int pgtt = 2; pgtt <= 4; pgtt += 2) {
		scalable(ALL, pgtt);
		if (flag & UIOMMU_VTD_TABLES_PRI)
			put(CONTEXT, 2, 1);
		put(address, bit, 1);
		assert_true(run(RID, UIOMMU_NO_PASID));
		tables.config.flags &= ~flag;
		if (!(flag & UIOMMU_VTD_TABLES_PASID))
			flip(CONTEXT, 3);
		expect(RID, UIOMMU_NO_PASID, UIOMMU_FAULT_RESERVED, structure, detail);
		flip(address, bit);
		assert_true(run(RID, UIOMMU_NO_PASID));
	}
}

static void not_offered(void **state)
{
	(void)state;
	only_with(UIOMMU_VTD_TABLES_ATS, CONTEXT, 2, UIOMMU_STRUCTURE_DEVICE, 0x42);
	only_with(UIOMMU_VTD_TABLES_PRI, CONTEXT, 4, UIOMMU_STRUCTURE_DEVICE, 0x42);
	only_with(UIOMMU_VTD_TABLES_SECOND_AD, PASID_ENTRY, 9, UIOMMU_STRUCTURE_PASID, 0x5a);
	only_with(UIOMMU_VTD_TABLES_EXECUTE, PASID_ENTRY, 5, UIOMMU_STRUCTURE_PASID, 0x5a);
	only_with(UIOMMU_VTD_TABLES_EXECUTE, PASID_ENTRY, 129, UIOMMU_STRUCTURE_PASID, 0x5a);
	only_with(UIOMMU_VTD_TABLES_WALK_SNOOP, PASID_ENTRY, 87, UIOMMU_STRUCTURE_PASID, 0x5a);
	only_with(UIOMMU_VTD_TABLES_SNOOP, PASID_ENTRY, 88, UIOMMU_STRUCTURE_PASID, 0x5a);
	only_with(UIOMMU_VTD_TABLES_SUPERVISOR, PASID_ENTRY, 128, UIOMMU_STRUCTURE_PASID, 0x5a);
	only_with(UIOMMU_VTD_TABLES_EXTENDED_ACCESSED, PASID_ENTRY, 135, UIOMMU_STRUCTURE_PASID, 0x5a);
	/* PASIDE and RID_PRIV */
	scalable(ALL & ~(uint32_t)UIOMMU_VTD_TABLES_PASID, 1);
	assert_true(run(RID, UIOMMU_NO_PASID));
	put(CONTEXT, 3, 1);
	expect(RID, UIOMMU_NO_PASID, UIOMMU_FAULT_RESERVED, UIOMMU_STRUCTURE_DEVICE, 0x42);
	scalable(ALL & ~(uint32_t)UIOMMU_VTD_TABLES_RID_PRIV, 1);
	put(CONTEXT, 84, 1);
	expect(RID, PASID, UIOMMU_FAULT_RESERVED, UIOMMU_STRUCTURE_DEVICE, 0x42);
	/* First-stage fields. */
	for (unsigned int bit = 128; bit < 192; bit++) {
		bool ignored = bit == 128 || bit == 129 || (bit >= 133 && bit <= 135);

		scalable(ALL & ~(uint32_t)(UIOMMU_VTD_TABLES_FIRST | UIOMMU_VTD_TABLES_NESTED), 2);
		put(PASID_ENTRY, bit, 1);
		if (ignored)
			assert_true(run(RID, PASID));
		else
			expect(RID, PASID, UIOMMU_FAULT_RESERVED, UIOMMU_STRUCTURE_PASID, 0x5a);
	}
}

/* Without RPS, RID_PASID is ignored: PASID 0 it is. */
static void without_rid_pasid(void **state)
{
	(void)state;
	scalable(ALL & ~(uint32_t)UIOMMU_VTD_TABLES_RID_PASID, 1);
	expect(RID, UIOMMU_NO_PASID, UIOMMU_FAULT_UNMAPPED, UIOMMU_STRUCTURE_PASID_DIR, 0x51);
	put(DIRECTORY, 0, PASIDS | 1);
	memcpy(word(PASIDS), word(PASID_ENTRY), 64);
	assert_true(run(RID, UIOMMU_NO_PASID));
	assert_int_equal(entry.asid, 0);
	assert_int_equal(device.rid_pasid, 0);
}

/* --- values --- */

static void translation_types(void **state)
{
	static const uint32_t needs[4] = {0, UIOMMU_VTD_TABLES_ATS, UIOMMU_VTD_TABLES_PASS, 0};

	(void)state;
	for (unsigned int tt = 0; tt < 4; tt++) {
		legacy(ALL, tt);
		if (tt == 3)
			expect(LEGACY_RID, UIOMMU_NO_PASID, UIOMMU_FAULT_RESERVED, UIOMMU_STRUCTURE_DEVICE, 0x3);
		else
			assert_true(run(LEGACY_RID, UIOMMU_NO_PASID));
		if (!needs[tt])
			continue;
		legacy(ALL & ~needs[tt], tt);
		expect(LEGACY_RID, UIOMMU_NO_PASID, UIOMMU_FAULT_RESERVED, UIOMMU_STRUCTURE_DEVICE, 0x3);
	}
}

static void page_table_types(void **state)
{
	static const uint32_t needs[8] = {
		0, UIOMMU_VTD_TABLES_FIRST, UIOMMU_VTD_TABLES_SECOND, UIOMMU_VTD_TABLES_NESTED, UIOMMU_VTD_TABLES_PASS, 0, 0, 0};

	(void)state;
	for (unsigned int pgtt = 0; pgtt < 8; pgtt++) {
		scalable(ALL, pgtt);
		if (!needs[pgtt]) {
			expect(RID, PASID, UIOMMU_FAULT_RESERVED, UIOMMU_STRUCTURE_PASID, 0x5b);
			continue;
		}
		assert_true(run(RID, PASID));
		tables.config.flags &= ~needs[pgtt];
		word(PASID_ENTRY)[2] = 0;
		expect(RID, PASID, UIOMMU_FAULT_RESERVED, UIOMMU_STRUCTURE_PASID, 0x5b);
	}
}

static void address_widths(void **state)
{
	static const uint32_t flag[8] = {
		0, UIOMMU_VTD_TABLES_3_LEVEL, UIOMMU_VTD_TABLES_4_LEVEL, UIOMMU_VTD_TABLES_5_LEVEL, 0, 0, 0, 0};

	(void)state;
	for (unsigned int aw = 0; aw < 8; aw++)
		for (unsigned int without = 0; without < 2; without++)
			for (unsigned int pgtt = 0; pgtt <= 4; pgtt++) {
				uint32_t flags = without ? ALL & ~flag[aw] : ALL;
				bool fine = flag[aw] && !without, second = pgtt == 2 || pgtt == 3;

				if (pgtt) {
					scalable(flags, pgtt);
					word(PASID_ENTRY)[0] &= ~UINT64_C(0x1c);
					put(PASID_ENTRY, 2, aw);
				} else {
					legacy(flags, 0);
					word(LEGACY_CONTEXT)[1] &= ~UINT64_C(7);
					put(LEGACY_CONTEXT, 64, aw);
				}
				if (fine || (pgtt && !second))
					assert_true(run(pgtt ? RID : LEGACY_RID, pgtt ? PASID : UIOMMU_NO_PASID));
				else if (pgtt)
					expect(RID, PASID, UIOMMU_FAULT_RESERVED, UIOMMU_STRUCTURE_PASID, 0x5b);
				else
					expect(LEGACY_RID, UIOMMU_NO_PASID, UIOMMU_FAULT_RESERVED, UIOMMU_STRUCTURE_DEVICE, 0x3);
				if (fine && (!pgtt || second))
					assert_int_equal(entry.stage2.levels, aw + 2);
			}
}

static void paging_modes(void **state)
{
	(void)state;
	for (unsigned int mode = 0; mode < 4; mode++)
		for (unsigned int pgtt = 1; pgtt <= 4; pgtt++) {
			bool first = pgtt == 1 || pgtt == 3;

			scalable(ALL, pgtt);
			put(PASID_ENTRY, 130, mode);
			if (mode < 2 || !first)
				assert_true(run(RID, PASID));
			else
				expect(RID, PASID, UIOMMU_FAULT_RESERVED, UIOMMU_STRUCTURE_PASID, 0x5b);
			if (mode < 2 && first)
				assert_int_equal(entry.stage1.levels, 4 + mode);
			tables.config.flags &= ~(uint32_t)UIOMMU_VTD_TABLES_FIRST_5;
			if (!mode || !first)
				assert_true(run(RID, PASID));
			else
				expect(RID, PASID, UIOMMU_FAULT_RESERVED, UIOMMU_STRUCTURE_PASID, 0x5b);
		}
}

/* PDTS p: PASIDs of 13 + p bits, and never more than PSS says. */
static void pasid_ranges(void **state)
{
	(void)state;
	for (unsigned int pdts = 0; pdts < 8; pdts++)
		for (unsigned int pss = 0; pss < 20; pss++) {
			unsigned int bits = 13 + pdts < pss + 1 ? 13 + pdts : pss + 1;
			uint32_t limit = UINT32_C(1) << bits, flags = (ALL & ~(UINT32_C(31) << 24)) | pss << 24;

			scalable(flags, 1);
			word(CONTEXT)[0] = DIRECTORY | 1 | 1 << 3 | pdts << 9;
			word(CONTEXT)[1] = limit - 1;
			expect(RID, 0, UIOMMU_FAULT_UNMAPPED, UIOMMU_STRUCTURE_PASID_DIR, 0x51);
			expect(RID, limit - 1, UIOMMU_FAULT_UNMAPPED, UIOMMU_STRUCTURE_PASID_DIR, 0x51);
			assert_int_equal(device.rid_pasid, (limit - 1) ^ 1);
			if (limit >> (pss + 1))
				expect(RID, limit, UIOMMU_FAULT_RANGE, UIOMMU_STRUCTURE_DEVICE_DIR, 0x89);
			else
				expect(RID, limit, UIOMMU_FAULT_RANGE, UIOMMU_STRUCTURE_DEVICE, 0x46);
			expect(RID, UIOMMU_PASID_LAST + 1, UIOMMU_FAULT_RANGE, UIOMMU_STRUCTURE_DEVICE_DIR, 0x89);
			expect(RID, UINT32_MAX - 1, UIOMMU_FAULT_RANGE, UIOMMU_STRUCTURE_DEVICE_DIR, 0x89);
			if (bits == 20)
				continue;
			word(CONTEXT)[1] = limit;
			expect(RID, 0, UIOMMU_FAULT_RESERVED, UIOMMU_STRUCTURE_DEVICE, 0x43);
		}
}

/* --- requests that are not let through --- */

static void requests(void **state)
{
	(void)state;
	legacy(ALL, 0);
	expect(LEGACY_RID, 0, UIOMMU_FAULT_BLOCKED, UIOMMU_STRUCTURE_DEVICE_DIR, 0x31);
	legacy(ALL, 2);
	expect(LEGACY_RID, PASID, UIOMMU_FAULT_BLOCKED, UIOMMU_STRUCTURE_DEVICE_DIR, 0x31);
	scalable(ALL, 1);
	flip(CONTEXT, 3);
	expect(RID, PASID, UIOMMU_FAULT_BLOCKED, UIOMMU_STRUCTURE_DEVICE, 0x45);
	assert_true(run(RID, UIOMMU_NO_PASID));
	/* RID_PRIV needs SRE, but only for requests without PASID. */
	scalable(ALL, 1);
	put(CONTEXT, 84, 1);
	expect(RID, UIOMMU_NO_PASID, UIOMMU_FAULT_BLOCKED, UIOMMU_STRUCTURE_PASID, 0x5d);
	assert_true(run(RID, PASID));
	put(PASID_ENTRY, 128, 1);
	assert_true(run(RID, UIOMMU_NO_PASID));
	assert_true(entry.flags & TABLES_RID_PRIVILEGED);
	/* No such requester. */
	assert_false(run(0x10000, UIOMMU_NO_PASID));
	assert_int_equal(fault.reason, UIOMMU_FAULT_RANGE);
}

static void modes(void **state)
{
	(void)state;
	begin(3, ALL);
	expect(RID, UIOMMU_NO_PASID, UIOMMU_FAULT_BLOCKED, UIOMMU_STRUCTURE_DEVICE_DIR, 0x33);
	expect(RID, PASID, UIOMMU_FAULT_BLOCKED, UIOMMU_STRUCTURE_DEVICE_DIR, 0x33);
	assert_int_equal(fault.flags, UIOMMU_FAULT_VALUE);
	tables.config.mode = 2;
	expect(RID, PASID, UIOMMU_FAULT_RESERVED, UIOMMU_STRUCTURE_DEVICE_DIR, 0x30);
	/* A register may say what is not offered. */
	tables.config.mode = 1;
	tables.config.flags = ALL & ~(uint32_t)UIOMMU_VTD_TABLES_SMTS;
	expect(RID, PASID, UIOMMU_FAULT_RESERVED, UIOMMU_STRUCTURE_DEVICE_DIR, 0x30);
	tables.config.mode = 3;
	tables.config.flags = ALL & ~(uint32_t)UIOMMU_VTD_TABLES_ADMS;
	expect(RID, PASID, UIOMMU_FAULT_RESERVED, UIOMMU_STRUCTURE_DEVICE_DIR, 0x30);
	assert_int_equal(fault.flags, UIOMMU_FAULT_VALUE);
}

static void combinations(void **state)
{
	(void)state;
	/* Page requests without translation requests. */
	scalable(ALL, 1);
	put(CONTEXT, 4, 1);
	expect(RID, PASID, UIOMMU_FAULT_RESERVED, UIOMMU_STRUCTURE_DEVICE, 0x43);
	put(CONTEXT, 2, 1);
	assert_true(run(RID, PASID));
	/* The PASID of requests without. */
	scalable(ALL, 1);
	assert_true(tables_vtd.device(&tables, RID, &device, &fault));
	assert_false(tables_vtd.pasid(&device, PASID, &entry, &fault));
	assert_int_equal(fault.reason, UIOMMU_FAULT_BLOCKED);
	assert_int_equal(fault.structure, UIOMMU_STRUCTURE_DEVICE);
	assert_int_equal(fault.flags, UIOMMU_FAULT_VALUE);
	assert_int_equal(fault.detail, 0x48);
	/* More bits than there are. */
	scalable((ALL & ~UIOMMU_VTD_TABLES_PSS) | UINT32_C(15) << 24, 1);
	assert_true(run(RID, PASID));
	expect(RID, 0x10000, UIOMMU_FAULT_RANGE, UIOMMU_STRUCTURE_DEVICE_DIR, 0x89);
	/* A first stage's table beyond the second's input. */
	scalable(ALL, 3);
	*word(PASID_ENTRY) &= ~UINT64_C(0x1c);
	put(PASID_ENTRY, 2, 1);
	put(PASID_ENTRY, 128 + 38, 1);
	assert_true(run(RID, PASID));
	put(PASID_ENTRY, 128 + 39, 1);
	expect(RID, PASID, UIOMMU_FAULT_RESERVED, UIOMMU_STRUCTURE_PASID, 0x5b);
}

static void configurations(void **state)
{
	(void)state;
	for (unsigned int mode = 0; mode < 6; mode++) {
		begin(0, ALL);
		tables.config.mode = (uint8_t)mode;
		assert_int_equal(tables_vtd.check(&tables), mode < 2 || mode == 3 ? 0 : -EINVAL);
		tables.config.flags = 0;
		assert_int_equal(tables_vtd.check(&tables), !mode ? 0 : mode == 1 || mode == 3 ? -EOPNOTSUPP : -EINVAL);
	}
	for (unsigned int haw = 0; haw < 256; haw++) {
		begin(0, ALL);
		tables.config.output_lg2 = (uint8_t)haw;
		assert_int_equal(tables_vtd.check(&tables), haw >= 32 && haw <= 52 ? 0 : -EINVAL);
	}
	for (unsigned int bit = 0; bit < 64; bit++) {
		begin(0, ALL);
		tables.config.base = UINT64_C(1) << bit;
		assert_int_equal(tables_vtd.check(&tables), bit >= 12 && bit < HAW ? 0 : -EINVAL);
	}
	for (unsigned int i = 0; i < 32; i++) {
		begin(0, ALL);
		tables.config.flags = i << 24;
		assert_int_equal(tables_vtd.check(&tables), i < 20 ? 0 : -EINVAL);
		tables.config.flags = (i & 7) << 29;
		assert_int_equal(tables_vtd.check(&tables), (i & 7) < 7 ? 0 : -EINVAL);
	}
	tables.config.flags = UIOMMU_VTD_TABLES_NESTED | UIOMMU_VTD_TABLES_FIRST;
	assert_int_equal(tables_vtd.check(&tables), -EINVAL);
	tables.config.flags = UIOMMU_VTD_TABLES_NESTED | UIOMMU_VTD_TABLES_SECOND;
	assert_int_equal(tables_vtd.check(&tables), -EINVAL);
}

/* --- memory that is not there --- */

/* The window ends inside the entry; and behind it. */
static void ends_in(uint64_t address, unsigned int size, uint32_t rid, uint32_t pasid, unsigned int structure, unsigned int detail)
{
	for (unsigned int have = 0; have < size; have += 8) {
		tables.memory.window.length = address - START + have;
		expect(rid, pasid, UIOMMU_FAULT_MEMORY, structure, detail);
	}
	tables.memory.window.length = address - START + size;
	assert_true(run(rid, pasid) || fault.structure != structure);
	/* And it begins behind it. */
	tables.memory.window = (struct pgtable_window){
		.first = address + size, .length = SIZE - (address - START) - size, .host = arena + (address - START) + size};
	assert_false(run(rid, pasid));
	assert_int_equal(fault.reason, UIOMMU_FAULT_MEMORY);
	tables.memory.window = (struct pgtable_window){.first = START, .length = SIZE, .host = arena};
	assert_true(run(rid, pasid));
}

static void unreadable(void **state)
{
	(void)state;
	legacy(ALL, 0);
	ends_in(LEGACY_ROOT, 16, LEGACY_RID, UIOMMU_NO_PASID, UIOMMU_STRUCTURE_DEVICE_DIR, 0x8);
	ends_in(LEGACY_CONTEXT, 16, LEGACY_RID, UIOMMU_NO_PASID, UIOMMU_STRUCTURE_DEVICE, 0x9);
	scalable(ALL, 1);
	ends_in(SCALABLE_ROOT, 8, RID, PASID, UIOMMU_STRUCTURE_DEVICE_DIR, 0x38);
	ends_in(CONTEXT, 32, RID, PASID, UIOMMU_STRUCTURE_DEVICE, 0x40);
	ends_in(DIRECTORY_ENTRY, 8, RID, PASID, UIOMMU_STRUCTURE_PASID_DIR, 0x50);
	/* The PASID table lies before the directory: move it behind the memory. */
	word(DIRECTORY_ENTRY)[0] = (START + SIZE) | 1;
	expect(RID, PASID, UIOMMU_FAULT_MEMORY, UIOMMU_STRUCTURE_PASID, 0x58);
	memcpy(arena + SIZE - 64, word(PASID_ENTRY), 64);
	word(DIRECTORY_ENTRY)[0] = (START + SIZE - 4096) | 1;
	put(CONTEXT, 64, 63); /* RID_PASID and PASID: the last of its table */
	tables.memory.window.length = SIZE - 8;
	expect(RID, PASID | 63, UIOMMU_FAULT_MEMORY, UIOMMU_STRUCTURE_PASID, 0x58);
	tables.memory.window.length = SIZE;
	assert_true(run(RID, PASID | 63));
}

/* --- FPD --- */

/* Whether it is quiet when the entry at @fpd has FPD and that at @broken is absent, reserved, or not to be read. */
static void quiet_case(uint64_t fpd, uint64_t broken, bool expected)
{
	scalable(ALL, 1);
	put(fpd, 1, 1);
	flip(broken, 0);
	assert_false(run(RID, PASID));
	assert_int_equal(fault.reason, UIOMMU_FAULT_UNMAPPED);
	assert_int_equal(fault.quiet, expected);
	flip(broken, 0);
	flip(broken, 63);
	assert_false(run(RID, PASID));
	assert_int_equal(fault.reason, UIOMMU_FAULT_RESERVED);
	assert_int_equal(fault.quiet, expected);
}

static void fault_processing_disable(void **state)
{
	static const uint64_t way[] = {CONTEXT, DIRECTORY_ENTRY, PASID_ENTRY};

	(void)state;
	for (unsigned int fpd = 0; fpd < 3; fpd++) {
		for (unsigned int broken = 0; broken < 3; broken++)
			quiet_case(way[fpd], way[broken], fpd <= broken);
		scalable(ALL, 0);
		put(way[fpd], 1, 1);
		expect(RID, PASID, UIOMMU_FAULT_RESERVED, UIOMMU_STRUCTURE_PASID, 0x5b);
		assert_true(fault.quiet);
		scalable(ALL, 1);
		put(way[fpd], 1, 1);
		assert_true(run(RID, PASID));
		assert_true(entry.flags & TABLES_NO_FAULTS);
		assert_int_equal(device.flags & TABLES_NO_FAULTS, fpd ? 0 : TABLES_NO_FAULTS);
	}
}

static void what_is_qualified(void **state)
{
	(void)state;
	scalable(ALL, 1);
	assert_true(run(RID, PASID));
	assert_false(entry.flags & TABLES_NO_FAULTS);
	put(CONTEXT, 1, 1);
	expect(RID, UIOMMU_PASID_LAST + 1, UIOMMU_FAULT_RANGE, UIOMMU_STRUCTURE_DEVICE_DIR, 0x89);
	assert_true(fault.quiet);
	flip(CONTEXT, 3);
	expect(RID, PASID, UIOMMU_FAULT_BLOCKED, UIOMMU_STRUCTURE_DEVICE, 0x45);
	assert_true(fault.quiet);
	/* That something cannot be read is always recorded, and whatever comes before a context entry. */
	word(CONTEXT)[0] = (START + SIZE) | 3 | 1 << 3;
	expect(RID, UIOMMU_NO_PASID, UIOMMU_FAULT_RESERVED, UIOMMU_STRUCTURE_DEVICE, 0x43);
	assert_true(fault.quiet);
	word(CONTEXT)[1] = 0;
	expect(RID, PASID & 63, UIOMMU_FAULT_MEMORY, UIOMMU_STRUCTURE_PASID_DIR, 0x50);
	assert_false(fault.quiet);
	legacy(ALL, 3);
	put(LEGACY_CONTEXT, 1, 1);
	expect(LEGACY_RID, UIOMMU_NO_PASID, UIOMMU_FAULT_RESERVED, UIOMMU_STRUCTURE_DEVICE, 0x3);
	assert_true(fault.quiet);
	flip(LEGACY_CONTEXT, 0);
	expect(LEGACY_RID, UIOMMU_NO_PASID, UIOMMU_FAULT_UNMAPPED, UIOMMU_STRUCTURE_DEVICE, 0x2);
	assert_true(fault.quiet);
	flip(LEGACY_ROOT, 0);
	expect(LEGACY_RID, UIOMMU_NO_PASID, UIOMMU_FAULT_UNMAPPED, UIOMMU_STRUCTURE_DEVICE_DIR, 0x1);
	assert_false(fault.quiet);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(legacy_bits),	     cmocka_unit_test(scalable_bits),
		cmocka_unit_test(root_halves),	     cmocka_unit_test(not_offered),
		cmocka_unit_test(without_rid_pasid), cmocka_unit_test(translation_types),
		cmocka_unit_test(page_table_types),  cmocka_unit_test(address_widths),
		cmocka_unit_test(paging_modes),	     cmocka_unit_test(pasid_ranges),
		cmocka_unit_test(requests),	     cmocka_unit_test(modes),
		cmocka_unit_test(combinations),	     cmocka_unit_test(configurations),
		cmocka_unit_test(unreadable),	     cmocka_unit_test(fault_processing_disable),
		cmocka_unit_test(what_is_qualified),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
