/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The device table and GCR3 tables of AMD: every bit of every structure. The tables are made of literal bit numbers, as the
 * specification (48882, 2.2) gives them.
 */
#include "test.h"

#include "pgtable/amd.h"
#include "translate/tables/amd.h"
#include "translate/tables/tables.h"

enum {
	START = 0x200000,
	DEVICES = START, /* of four pages */
	HOST3 = START + 0x4000, /* host tables of levels 3 to 1 */
	HOST2 = START + 0x5000,
	HOST1 = START + 0x6000,
	GCR3 = START + 0x7000, /* GCR3 tables, the last one first */
	SIZE = 0xb000,
	HAW = 40,
	ENTRIES = 512,
	RID = 0x1a9,
	DTE = DEVICES + RID * 32,
	PASID = 0x9a5c3,
	DOMAIN = 0xbeef,
};

/* Host tables map this to START. */
#define GPA UINT64_C(0x4812345000)
#define CR3 UINT64_C(0xfedcba9000)

#define ALL                                                                                                                        \
	(UIOMMU_AMD_TABLES_ATS | UIOMMU_AMD_TABLES_PPR | UIOMMU_AMD_TABLES_ACCESSED | UIOMMU_AMD_TABLES_DIRTY |                    \
	 UIOMMU_AMD_TABLES_GUEST | UIOMMU_AMD_TABLES_GUEST_5 | UIOMMU_AMD_TABLES_GIOV | UIOMMU_AMD_TABLES_EXECUTE |                \
	 UIOMMU_AMD_TABLES_USER | UIOMMU_AMD_TABLES_ROOT_GPA | UINT32_C(2) << 16 | UINT32_C(2) << 18 | UINT32_C(19) << 20)

static _Alignas(4096) uint8_t arena[SIZE];
static struct tables tables;
static struct tables_device device;
static struct tables_entry entry;
static struct tables_fault fault;

static uint64_t *word(uint64_t address)
{
	return (uint64_t *)(void *)(arena + (address - START));
}

static void flip(uint64_t address, unsigned int bit)
{
	word(address)[bit / 64] ^= UINT64_C(1) << bit % 64;
}

static void put(uint64_t address, unsigned int low, uint64_t value)
{
	word(address)[low / 64] |= value << low % 64;
}

static void begin(uint32_t flags)
{
	memset(arena, 0, sizeof(arena));
	tables = (struct tables){
		.format = &tables_amd,
		.config = {.base = DEVICES, .entries = ENTRIES, .output_lg2 = HAW, .flags = flags},
		.memory = {.window = {.first = START, .length = SIZE, .host = arena, .writable = true}},
	};
	assert_int_equal(tables_amd.check(&tables), 0);
}

/* Three levels, each page of the arena one of 4 KiB. IR and IW everywhere. */
static void put_host(void)
{
	uint64_t rights = UINT64_C(3) << 61;

	put(HOST3 + (GPA >> 30) * 8, 0, rights | HOST2 | 2 << 9 | 1);
	put(HOST2 + (GPA >> 21 & 511) * 8, 0, rights | HOST1 | 1 << 9 | 1);
	for (uint64_t page = 0; page < SIZE; page += 4096)
		put(HOST1 + ((GPA + page) >> 12 & 511) * 8, 0, rights | (START + page) | 1);
}

/* GCR3 tables of glx + 1 levels: where the one of level @level has the PASID's entry, and where it is to the guest. */
static uint64_t gcr3_entry(uint32_t pasid, unsigned int level)
{
	return GCR3 + level * 0x1000 + (pasid >> (9 * level) & 511) * 8;
}

static uint64_t guest_address(uint64_t address, bool nested)
{
	return nested ? address - START + GPA : address;
}

static void put_root(uint64_t root)
{
	put(DTE, 58, root >> 12 & 7);
	put(DTE, 80, root >> 15 & 0xffff);
	put(DTE, 107, root >> 31 & 0x1fffff);
}

static void put_gcr3(uint32_t pasid, unsigned int glx, bool nested, bool root_nested)
{
	put(DTE, 55, 1);
	put(DTE, 56, glx);
	put_root(guest_address(GCR3 + glx * 0x1000, nested && root_nested));
	for (unsigned int level = glx; level; level--)
		put(gcr3_entry(pasid, level), 0, guest_address(GCR3 + (level - 1) * 0x1000, nested) | 1);
	put(gcr3_entry(pasid, 0), 0, CR3 | 1);
}

/* An entry with V and TV, IR and IW; @mode 0: no host tables, 3: with; @glx -1: no GV. */
static void build(uint32_t flags, unsigned int mode, int glx)
{
	begin(flags);
	put(DTE, 0, 3);
	put(DTE, 9, mode);
	if (mode)
		put(DTE, 0, HOST3);
	put(DTE, 61, 3);
	put(DTE, 64, DOMAIN);
	put_host();
	if (glx >= 0)
		put_gcr3(PASID & ((1U << (9 * (glx + 1))) - 1), (unsigned int)glx, mode, flags & UIOMMU_AMD_TABLES_ROOT_GPA);
}

static bool run(uint32_t rid, uint32_t pasid)
{
	memset(&fault, 0xa5, sizeof(fault));
	if (!tables_amd.device(&tables, rid, &device, &fault))
		return false;
	assert_int_equal(fault.reason, 0);
	memset(&fault, 0xa5, sizeof(fault));
	if (!tables_amd.pasid(&device, pasid, &entry, &fault))
		return false;
	assert_int_equal(fault.reason, 0);
	return true;
}

static void expect(uint32_t rid, uint32_t pasid, unsigned int reason, unsigned int structure, unsigned int detail)
{
	assert_false(run(rid, pasid));
	assert_int_equal(fault.reason, reason);
	assert_int_equal(fault.structure, structure);
	assert_int_equal(fault.detail, detail);
	if (reason == UIOMMU_FAULT_MEMORY)
		assert_true(fault.table);
	else if (!fault.stage)
		assert_false(fault.table);
}

static void expect_illegal(uint32_t pasid)
{
	expect(RID, pasid, UIOMMU_FAULT_RESERVED, UIOMMU_STRUCTURE_DEVICE, 1);
	assert_false(fault.quiet);
}

/* --- the device table's entry --- */

enum what {
	RESERVED,
	ANYTHING,
	VALUE, /* tested elsewhere */
	HOST_WIDTH, /* beyond the width of addresses: reserved if there are host tables */
	GUEST_MODE, /* undefined: reserved if there is guest translation */
};

/* Bits that are not listed are reserved. */
static const struct range {
	unsigned int first;
	unsigned int last;
	enum what what;
} ranges[] = {
	{0, 1, VALUE},	      {7, 11, VALUE},	      {12, HAW - 1, ANYTHING}, {HAW, 51, HOST_WIDTH},
	{52, 53, ANYTHING},   {54, 60, VALUE},	      {61, 62, ANYTHING},      {64, 79, ANYTHING},
	{80, 95, VALUE},      {96, 105, ANYTHING},    {107, 127, VALUE},       {128, 179, ANYTHING},
	{182, 182, ANYTHING}, {183, 183, GUEST_MODE}, {184, 191, ANYTHING},    {246, 255, ANYTHING},
};

static enum what look_up(unsigned int bit)
{
	for (unsigned int i = 0; i < sizeof(ranges) / sizeof(*ranges); i++)
		if (bit >= ranges[i].first && bit <= ranges[i].last)
			return ranges[i].what;
	return RESERVED;
}

static void every_bit(unsigned int mode, int glx)
{
	build(ALL, mode, glx);
	for (unsigned int bit = 0; bit < 256; bit++) {
		enum what what = look_up(bit);

		assert_true(run(RID, UIOMMU_NO_PASID));
		flip(DTE, bit);
		if (what == RESERVED || (what == HOST_WIDTH && mode) || (what == GUEST_MODE && glx >= 0))
			expect_illegal(UIOMMU_NO_PASID);
		else if (what != VALUE)
			assert_true(run(RID, UIOMMU_NO_PASID));
		flip(DTE, bit);
	}
}

static void device_bits(void **state)
{
	(void)state;
	for (int glx = -1; glx < 3; glx++) {
		every_bit(0, glx);
		every_bit(3, glx);
	}
}

/* V = 0: everything passes, whatever else there is. */
static void invalid_entry(void **state)
{
	(void)state;
	begin(ALL);
	for (unsigned int ones = 0; ones < 2; ones++) {
		for (unsigned int i = 0; i < 4; i++)
			word(DTE)[i] = ones ? UINT64_MAX : 0;
		word(DTE)[0] &= ~UINT64_C(1);
		assert_true(run(RID, UIOMMU_NO_PASID));
		assert_int_equal(entry.mode, TABLES_PASS);
		assert_int_equal(entry.denied, 0);
		assert_int_equal(entry.domain, 0);
		assert_false(entry.has_stage1 || entry.has_stage2);
		assert_false(entry.flags & (TABLES_ATS | TABLES_PRI | TABLES_NO_FAULTS));
		assert_true(run(RID, PASID));
		assert_int_equal(entry.mode, TABLES_PASS);
	}
}

static void without_translation(void **state)
{
	(void)state;
	for (int glx = -1; glx < 3; glx++) {
		build(ALL, 3, glx);
		flip(DTE, 1);
		expect(RID, UIOMMU_NO_PASID, UIOMMU_FAULT_BLOCKED, UIOMMU_STRUCTURE_DEVICE, 2);
		assert_false(fault.quiet);
		put(DTE, 98, 1);
		expect(RID, UIOMMU_NO_PASID, UIOMMU_FAULT_BLOCKED, UIOMMU_STRUCTURE_DEVICE, 2);
		assert_true(fault.quiet);
		flip(DTE, 63);
		expect_illegal(UIOMMU_NO_PASID);
	}
}

static void host_values(void **state)
{
	(void)state;
	for (unsigned int hats = 0; hats < 3; hats++)
		for (unsigned int mode = 0; mode < 8; mode++) {
			build((ALL & ~UINT32_C(0x30000)) | hats << 16, 0, -1);
			put(DTE, 0, HOST3);
			put(DTE, 9, mode);
			if (mode > 4 + hats) {
				expect_illegal(UIOMMU_NO_PASID);
				continue;
			}
			assert_true(run(RID, UIOMMU_NO_PASID));
			assert_int_equal(entry.mode, mode ? TABLES_TRANSLATE : TABLES_PASS);
			assert_int_equal(entry.has_stage2, mode != 0);
			if (mode)
				assert_int_equal(entry.stage2.levels, mode);
		}
	for (unsigned int had = 0; had < 4; had++)
		for (unsigned int can = 0; can < 4; can++) {
			uint32_t flags = ALL & ~(uint32_t)(UIOMMU_AMD_TABLES_ACCESSED | UIOMMU_AMD_TABLES_DIRTY);
			bool fine = !had || (had == 1 && can & 1) || (had == 3 && can == 3);

			build(flags | (can & 1 ? UIOMMU_AMD_TABLES_ACCESSED : 0) | (can & 2 ? UIOMMU_AMD_TABLES_DIRTY : 0), 3, -1);
			put(DTE, 7, had);
			if (!fine) {
				expect_illegal(UIOMMU_NO_PASID);
				continue;
			}
			assert_true(run(RID, UIOMMU_NO_PASID));
			assert_int_equal(entry.stage2.flags, had == 3 ? UIOMMU_AMD_V1_ACCESSED | UIOMMU_AMD_V1_DIRTY
							     : had    ? UIOMMU_AMD_V1_ACCESSED
								      : 0);
		}
	for (unsigned int control = 0; control < 4; control++) {
		build(ALL, 3, -1);
		put(DTE, 99, control);
		if (control == 3)
			expect_illegal(UIOMMU_NO_PASID);
		else
			assert_true(run(RID, UIOMMU_NO_PASID));
	}
}

static void guest_values(void **state)
{
	(void)state;
	for (unsigned int most = 0; most < 3; most++)
		for (unsigned int glx = 0; glx < 4; glx++) {
			build((ALL & ~UINT32_C(0xc0000)) | most << 18, 3, -1);
			put(DTE, 55, 1);
			put(DTE, 56, glx);
			if (glx > most) {
				expect_illegal(UIOMMU_NO_PASID);
				continue;
			}
			assert_true(run(RID, UIOMMU_NO_PASID));
			assert_int_equal(device.pasid_bits, glx == 2 ? 20 : 9 * (glx + 1));
		}
	for (unsigned int five = 0; five < 2; five++)
		for (unsigned int mode = 0; mode < 4; mode++) {
			build(five ? ALL : ALL & ~(uint32_t)UIOMMU_AMD_TABLES_GUEST_5, 3, 2);
			put(DTE, 182, mode);
			if (mode > five) {
				expect_illegal(PASID);
				continue;
			}
			assert_true(run(RID, PASID));
			assert_int_equal(entry.stage1.levels, 4 + mode);
		}
}

/* Bits of what is not offered. */
static void not_offered(void **state)
{
	static const struct {
		unsigned int first;
		unsigned int last;
		uint32_t flag;
	} bits[] = {
		{52, 53, UIOMMU_AMD_TABLES_PPR},   {54, 54, UIOMMU_AMD_TABLES_GIOV},	{54, 60, UIOMMU_AMD_TABLES_GUEST},
		{80, 95, UIOMMU_AMD_TABLES_GUEST}, {107, 127, UIOMMU_AMD_TABLES_GUEST}, {182, 183, UIOMMU_AMD_TABLES_GUEST},
	};

	(void)state;
	for (unsigned int i = 0; i < sizeof(bits) / sizeof(*bits); i++)
		for (unsigned int bit = bits[i].first; bit <= bits[i].last; bit++) {
			build(ALL & ~bits[i].flag, 3, -1);
			assert_true(run(RID, UIOMMU_NO_PASID));
			put(DTE, bit, 1);
			expect_illegal(UIOMMU_NO_PASID);
		}
	build(ALL & ~(uint32_t)UIOMMU_AMD_TABLES_ATS, 3, -1);
	put(DTE, 96, 1);
	assert_true(run(RID, UIOMMU_NO_PASID));
	assert_false(entry.flags & TABLES_ATS);
}

static void configurations(void **state)
{
	(void)state;
	begin(ALL);
	tables.config.mode = 1;
	assert_int_equal(tables_amd.check(&tables), -EOPNOTSUPP);
	for (unsigned int haw = 0; haw < 256; haw++) {
		begin(ALL);
		tables.config.output_lg2 = (uint8_t)haw;
		assert_int_equal(tables_amd.check(&tables), haw >= 32 && haw <= 52 ? 0 : -EINVAL);
	}
	for (unsigned int bit = 0; bit < 64; bit++) {
		begin(ALL);
		tables.config.base = UINT64_C(1) << bit;
		assert_int_equal(tables_amd.check(&tables), bit >= 12 && bit < HAW ? 0 : -EINVAL);
	}
	begin(ALL);
	for (uint32_t entries = 0; entries < 70000; entries++) {
		tables.config.entries = entries;
		assert_int_equal(tables_amd.check(&tables), entries && entries <= 65536 && !(entries & 127) ? 0 : -EINVAL);
	}
	begin(ALL);
	tables.config.flags |= 3 << 16;
	assert_int_equal(tables_amd.check(&tables), -EINVAL);
	begin(ALL);
	tables.config.flags |= 3 << 18;
	assert_int_equal(tables_amd.check(&tables), -EINVAL);
}

static void table_size(void **state)
{
	(void)state;
	build(ALL, 3, -1);
	expect(ENTRIES, UIOMMU_NO_PASID, UIOMMU_FAULT_RANGE, UIOMMU_STRUCTURE_DEVICE, 1);
	assert_true(run(ENTRIES - 1, UIOMMU_NO_PASID));
	tables.config.entries = 384;
	expect(RID, UIOMMU_NO_PASID, UIOMMU_FAULT_RANGE, UIOMMU_STRUCTURE_DEVICE, 1);
	expect(UINT32_MAX, UIOMMU_NO_PASID, UIOMMU_FAULT_RANGE, UIOMMU_STRUCTURE_DEVICE, 1);
}

/* --- GCR3 tables --- */

static uint32_t pasid_of(int glx)
{
	return PASID & ((1U << (9 * (glx + 1))) - 1);
}

/* Every bit of the PASID's entry in the table of @level. */
static void gcr3_bits_at(unsigned int mode, int glx, unsigned int level)
{
	unsigned int structure = level ? UIOMMU_STRUCTURE_PASID_DIR : UIOMMU_STRUCTURE_PASID;
	uint32_t pasid = pasid_of(glx);

	for (unsigned int bit = 0; bit < 64; bit++) {
		bool reserved = (bit >= 1 && bit <= 11) || bit >= 52 || (bit >= HAW && !mode);

		assert_true(run(RID, pasid));
		flip(gcr3_entry(pasid, level), bit);
		if (!bit)
			expect(RID, pasid, UIOMMU_FAULT_UNMAPPED, structure, 2);
		else if (reserved)
			expect(RID, pasid, UIOMMU_FAULT_RESERVED, structure, 2);
		else if (!level)
			assert_true(run(RID, pasid));
		else
			assert_true(!run(RID, pasid) && fault.reason != UIOMMU_FAULT_RESERVED);
		if (!bit || reserved)
			assert_int_equal(fault.level, level);
		flip(gcr3_entry(pasid, level), bit);
	}
}

static void gcr3_bits(void **state)
{
	(void)state;
	for (unsigned int mode = 0; mode < 4; mode += 3)
		for (int glx = 0; glx < 3; glx++)
			for (unsigned int level = 0; level <= (unsigned int)glx; level++) {
				build(ALL, mode, glx);
				gcr3_bits_at(mode, glx, level);
			}
}

static void gcr3_root(void **state)
{
	(void)state;
	for (unsigned int bit = 12; bit < 52; bit++) {
		build(ALL, 3, -1);
		put(DTE, 55, 1);
		put_root(UINT64_C(1) << bit);
		assert_true(run(RID, UIOMMU_NO_PASID));
		assert_true(device.has_pasid_table);
		assert_int_equal(device.pasid_table, UINT64_C(1) << bit);
	}
	/* Without GCR3TRPMode host tables have no part in the root, but in what it leads to. */
	for (int glx = 0; glx < 3; glx++) {
		build(ALL & ~(uint32_t)UIOMMU_AMD_TABLES_ROOT_GPA, 3, glx);
		assert_true(run(RID, pasid_of(glx)));
		assert_int_equal(entry.stage1.base[0], CR3);
		tables.config.flags |= UIOMMU_AMD_TABLES_ROOT_GPA;
		expect(RID, pasid_of(glx), UIOMMU_FAULT_UNMAPPED, glx ? UIOMMU_STRUCTURE_PASID_DIR : UIOMMU_STRUCTURE_PASID, 2);
		assert_int_equal(fault.stage, 2);
	}
}

static void pasid_ranges(void **state)
{
	(void)state;
	for (int glx = 0; glx < 3; glx++)
		for (unsigned int max = 0; max < 32; max++) {
			unsigned int bits = (unsigned int)(glx == 2 ? 20 : 9 * (glx + 1));

			bits = max + 1 < bits ? max + 1 : bits;
			build((ALL & ~(UINT32_C(31) << 20)) | max << 20, 3, glx);
			expect(RID, 1U << bits, UIOMMU_FAULT_RANGE, UIOMMU_STRUCTURE_DEVICE, 2);
			expect(RID, UINT32_MAX - 1, UIOMMU_FAULT_RANGE, UIOMMU_STRUCTURE_DEVICE, 2);
			put_gcr3((1U << bits) - 1, (unsigned int)glx, true, true);
			assert_true(run(RID, (1U << bits) - 1));
			assert_int_equal(entry.asid, (1U << bits) - 1);
		}
}

static void requests(void **state)
{
	(void)state;
	for (unsigned int mode = 0; mode < 4; mode += 3) {
		build(ALL, mode, -1);
		expect(RID, PASID, UIOMMU_FAULT_BLOCKED, UIOMMU_STRUCTURE_DEVICE, 8);
		expect(RID, 0, UIOMMU_FAULT_BLOCKED, UIOMMU_STRUCTURE_DEVICE, 8);
		/* With guest translation, but none for requests without PASID. */
		build(ALL, mode, 2);
		assert_true(run(RID, UIOMMU_NO_PASID));
		assert_int_equal(entry.mode, mode ? TABLES_TRANSLATE : TABLES_PASS);
		assert_false(entry.has_stage1);
		assert_int_equal(entry.asid, UIOMMU_NO_PASID);
		/* GIoV: they are PASID 0's. */
		put(DTE, 54, 1);
		put_gcr3(0, 2, mode, true);
		assert_true(run(RID, UIOMMU_NO_PASID));
		assert_true(entry.has_stage1);
		assert_int_equal(entry.asid, 0);
		flip(gcr3_entry(0, 0), 0);
		expect(RID, UIOMMU_NO_PASID, UIOMMU_FAULT_UNMAPPED, UIOMMU_STRUCTURE_PASID, 2);
	}
}

/* --- memory that is not there --- */

static void unreadable(void **state)
{
	(void)state;
	build(ALL, 0, -1);
	for (unsigned int have = 0; have < 32; have += 8) {
		tables.memory.window.length = DTE - START + have;
		expect(RID, UIOMMU_NO_PASID, UIOMMU_FAULT_MEMORY, UIOMMU_STRUCTURE_DEVICE, 3);
	}
	tables.memory.window.length = DTE - START + 32;
	assert_true(run(RID, UIOMMU_NO_PASID));
	for (unsigned int mode = 0; mode < 4; mode += 3)
		for (int glx = 0; glx < 3; glx++)
			for (unsigned int level = 0; level <= (unsigned int)glx; level++) {
				build(ALL, mode, glx);
				/* The last tables come first. */
				if (level == (unsigned int)glx) {
					tables.memory.window.length = gcr3_entry(pasid_of(glx), level) - START;
				} else {
					word(gcr3_entry(pasid_of(glx), level + 1))[0] =
						guest_address(START + (mode ? SIZE - 4096 : SIZE), mode) | 1;
					if (mode)
						word(HOST1)[(GPA + SIZE - 4096) >> 12 & 511] += 4096;
				}
				expect(RID, pasid_of(glx), UIOMMU_FAULT_MEMORY,
				       level ? UIOMMU_STRUCTURE_PASID_DIR : UIOMMU_STRUCTURE_PASID, 4);
				assert_int_equal(fault.stage, 0);
				assert_int_equal(fault.level, level);
			}
}

/* What host tables refuse is a page fault; that they cannot be read is none. */
static void host_refuses(void **state)
{
	(void)state;
	for (int glx = 0; glx < 3; glx++)
		for (unsigned int level = 0; level <= (unsigned int)glx; level++) {
			unsigned int structure = level ? UIOMMU_STRUCTURE_PASID_DIR : UIOMMU_STRUCTURE_PASID;
			uint64_t table = guest_address(GCR3 + level * 0x1000, true);
			uint64_t host = HOST1 + (table >> 12 & 511) * 8;

			build(ALL, 3, glx);
			flip(host, 0);
			expect(RID, pasid_of(glx), UIOMMU_FAULT_UNMAPPED, structure, 2);
			assert_int_equal(fault.stage, 2);
			assert_int_equal(fault.level, level);
			assert_int_equal(fault.ipa, gcr3_entry(pasid_of(glx), level) - START + GPA);
			assert_true(fault.table);
			assert_false(fault.quiet);
			put(DTE, 98, 1);
			expect(RID, pasid_of(glx), UIOMMU_FAULT_UNMAPPED, structure, 2);
			assert_true(fault.quiet);
			flip(host, 0);
			flip(host, 61);
			expect(RID, pasid_of(glx), UIOMMU_FAULT_PERMISSION, structure, 2);
			assert_int_equal(fault.stage, 2);
			flip(host, 61);
			assert_true(run(RID, pasid_of(glx)));
			word(HOST2 + (GPA >> 21 & 511) * 8)[0] ^= HOST1 ^ (START + SIZE);
			expect(RID, pasid_of(glx), UIOMMU_FAULT_MEMORY, glx ? UIOMMU_STRUCTURE_PASID_DIR : UIOMMU_STRUCTURE_PASID,
			       4);
			assert_int_equal(fault.stage, 2);
			assert_false(fault.quiet);
		}
}

/* SA: page faults are not recorded, everything else is. */
static void suppressed(void **state)
{
	(void)state;
	build(ALL, 3, 2);
	put(DTE, 98, 1);
	assert_true(run(RID, PASID));
	assert_true(entry.flags & TABLES_NO_FAULTS);
	expect(RID, PASID | 1 << 20, UIOMMU_FAULT_RANGE, UIOMMU_STRUCTURE_DEVICE, 2);
	assert_true(fault.quiet);
	flip(gcr3_entry(PASID, 0), 63);
	expect(RID, PASID, UIOMMU_FAULT_RESERVED, UIOMMU_STRUCTURE_PASID, 2);
	assert_true(fault.quiet);
	flip(gcr3_entry(PASID, 1), 0);
	expect(RID, PASID, UIOMMU_FAULT_UNMAPPED, UIOMMU_STRUCTURE_PASID_DIR, 2);
	assert_true(fault.quiet);
	flip(DTE, 106);
	expect_illegal(PASID);
	build(ALL, 3, -1);
	put(DTE, 98, 1);
	expect(RID, PASID, UIOMMU_FAULT_BLOCKED, UIOMMU_STRUCTURE_DEVICE, 8);
	assert_false(fault.quiet);
}

/* --- what is decoded --- */

static void decoded(void **state)
{
	(void)state;
	for (unsigned int mode = 0; mode < 4; mode += 3)
		for (int glx = 0; glx < 3; glx++) {
			build(ALL, mode, glx);
			assert_true(run(RID, pasid_of(glx)));
			assert_ptr_equal(device.format, &tables_amd);
			assert_int_equal(entry.mode, TABLES_TRANSLATE);
			assert_int_equal(entry.domain, DOMAIN);
			assert_int_equal(entry.asid, pasid_of(glx));
			assert_int_equal(entry.denied, 0);
			assert_int_equal(entry.flags, TABLES_PASIDS | TABLES_PRIVILEGED | TABLES_EXECUTE);
			assert_true(entry.has_stage1);
			assert_ptr_equal(entry.stage1_format, &pgtable_amd_v2);
			assert_int_equal(entry.stage1.base[0], CR3);
			assert_int_equal(entry.stage1.levels, 4);
			assert_int_equal(entry.stage1.output_lg2, mode ? 52 : HAW);
			assert_int_equal(entry.has_stage2, mode != 0);
			if (!mode)
				continue;
			assert_ptr_equal(entry.stage2_format, &pgtable_amd_v1);
			assert_int_equal(entry.stage2.base[0], HOST3);
			assert_int_equal(entry.stage2.levels, 3);
			assert_int_equal(entry.stage2.output_lg2, HAW);
		}
	build(ALL & ~(uint32_t)(UIOMMU_AMD_TABLES_USER | UIOMMU_AMD_TABLES_EXECUTE), 0, 2);
	assert_true(run(RID, PASID));
	assert_int_equal(entry.flags, TABLES_PASIDS);
}

static void decoded_bits(void **state)
{
	static const struct {
		unsigned int bit;
		uint32_t flags;
		uint8_t denied;
	} cases[] = {
		{52, TABLES_PRI, 0}, {61, 0, UIOMMU_READ | UIOMMU_EXEC}, {62, 0, UIOMMU_WRITE},
		{96, TABLES_ATS, 0}, {97, TABLES_FIRST_FAULT, 0},	 {98, TABLES_NO_FAULTS, 0},
	};

	(void)state;
	for (unsigned int i = 0; i < sizeof(cases) / sizeof(*cases); i++)
		for (unsigned int mode = 0; mode < 4; mode += 3)
			for (int glx = -1; glx < 3; glx += 3) {
				uint32_t flags = glx < 0 ? 0 : TABLES_PASIDS | TABLES_PRIVILEGED | TABLES_EXECUTE;

				build(ALL, mode, glx);
				flip(DTE, cases[i].bit);
				assert_true(run(RID, glx < 0 ? UIOMMU_NO_PASID : PASID));
				assert_int_equal(entry.flags, flags | cases[i].flags);
				assert_int_equal(entry.denied, cases[i].denied);
			}
}

/* A guest's GCR3 table without its device table. */
static void gcr3_alone(void **state)
{
	(void)state;
	build(ALL, 0, 1);
	device = (struct tables_device){
		.format = &tables_amd,
		.mode = TABLES_TRANSLATE,
		.flags = TABLES_PASIDS,
		.rid_pasid = UIOMMU_NO_PASID,
		.has_pasid_table = true,
		.pasid_table = GCR3 + 0x1000,
		.pasid_mode = 1 | 1 << 2,
		.pasid_bits = 18,
		.output_lg2 = HAW,
		.memory = tables.memory,
	};
	assert_true(tables_amd.pasid(&device, pasid_of(1), &entry, &fault));
	assert_int_equal(entry.stage1.base[0], CR3);
	assert_int_equal(entry.stage1.levels, 5);
	assert_false(tables_amd.pasid(&device, 1 << 18, &entry, &fault));
	assert_int_equal(fault.reason, UIOMMU_FAULT_RANGE);
	device.mode = TABLES_BLOCK;
	assert_true(tables_amd.pasid(&device, pasid_of(1), &entry, &fault));
	assert_int_equal(entry.mode, TABLES_BLOCK);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(device_bits),	  cmocka_unit_test(invalid_entry), cmocka_unit_test(without_translation),
		cmocka_unit_test(host_values),	  cmocka_unit_test(guest_values),  cmocka_unit_test(not_offered),
		cmocka_unit_test(configurations), cmocka_unit_test(table_size),	   cmocka_unit_test(gcr3_bits),
		cmocka_unit_test(gcr3_root),	  cmocka_unit_test(pasid_ranges),  cmocka_unit_test(requests),
		cmocka_unit_test(unreadable),	  cmocka_unit_test(host_refuses),  cmocka_unit_test(suppressed),
		cmocka_unit_test(decoded),	  cmocka_unit_test(decoded_bits),  cmocka_unit_test(gcr3_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
