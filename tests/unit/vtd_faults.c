/* SPDX-License-Identifier: BSD-3-Clause */
/* VT-d: every fault that a guest's tables and registers can cause has the code of the specification (7.1.3, table 30). */
#include "vtd_rig.h"

#include "translate/tables/tables.h"
#include "translate/tables/vtd.h"
#include "util/bits.h"
#include "viommu/vtd/faults.h"

#define GPA UINT64_C(0x5000000)

static struct {
	uint64_t first, second, through, page; /* tables, and what VA and GPA lead to */
	uint64_t *leaf, *second_leaf;
} t;

/* PASID 1: first stage, 2: second, 3: nested, 4: pass-through. */
static void make_tables(bool scalable)
{
	t.first = page_new();
	t.second = page_new();
	t.through = page_new();
	t.page = page_new();
	t.leaf = leaf_of(t.first, VA, FIRST_TABLE);
	*t.leaf = t.page | FIRST_PAGE;
	t.second_leaf = leaf_of(t.second, GPA, SECOND);
	*t.second_leaf = t.page | SECOND;
	if (!scalable) {
		legacy_tables(t.second);
		command(TE, true);
		return;
	}
	scalable_tables();
	identity(t.through);
	pasid_first(1, t.first);
	pasid_second(2, t.second);
	pasid_nested(3, t.first, t.through);
	pasid_entry_of(4)[0] = 4 << 6 | 2 << 2 | 1;
	pasid_second(0, t.second);
	command(TE, true);
}

/* Nothing is cached, then one access faults with @code, or (0) without a record. */
static void expect(uint32_t pasid, uint64_t address, bool reads, unsigned int code)
{
	uint64_t value = 0;

	assert_int_equal(uiommu_vtd_read(r.vtd, R_FSTS, 4) & 3, 0);
	command(SRTP, true); /* forgets all */
	assert_int_equal(reads ? uiommu_dma_read(g.device, pasid, address, &value, 8, NULL)
			       : uiommu_dma_write(g.device, pasid, address, &value, 8, NULL),
			 -EFAULT);
	if (!code) {
		assert_int_equal(read32(R_FSTS) & 3, 0);
		return;
	}
	assert_int_equal(read32(R_FSTS) & 3, 2);
	check_record(read32(R_FSTS) >> 8 & 255, address, pasid, reads, code);
}

static uint64_t *legacy_context(void)
{
	return entry_at(r.context) + (SOURCE_ID & 0xff) * 2;
}

static uint64_t *root_entry(void)
{
	return entry_at(r.root) + (SOURCE_ID >> 8) * 2;
}

/* @word has another value for one access. */
#define WITH(word, value, pasid, address, reads, code)                                                                             \
	do {                                                                                                                       \
		uint64_t *at_ = (word), before_ = *at_;                                                                            \
		*at_ = (value);                                                                                                    \
		expect(pasid, address, reads, code);                                                                               \
		*at_ = before_;                                                                                                    \
	} while (0)

#define NO UIOMMU_NO_PASID
#define HOLE_PAGE (LOW_BYTES | 0)

static void legacy_entries(void **state)
{
	(void)state;
	make_tables(false);
	assert_int_equal(dma_value(NO, GPA), 0);
	WITH(root_entry(), 0, NO, GPA, true, 0x1);
	WITH(root_entry(), *at_ | 2, NO, GPA, true, 0xa);
	WITH(root_entry(), HOLE_PAGE | 1, NO, GPA, true, 0x9);
	WITH(legacy_context(), 0, NO, GPA, false, 0x2);
	WITH(legacy_context(), *at_ | 1 << 4, NO, GPA, true, 0xb);
	WITH(legacy_context(), *at_ | 3 << 2, NO, GPA, true, 0x3);
	WITH(legacy_context() + 1, *at_ | 4, NO, GPA, true, 0x3);
	expect(1, GPA, true, 0x31);
	expect(0, GPA, true, 0x31);
	expect(1 << 20, GPA, true, 0x31);
	/* The root table is not in memory. */
	write64(R_RTADDR, HOLE_PAGE);
	expect(NO, GPA, true, 0x8);
	write64(R_RTADDR, r.root | 2 << 10);
	expect(NO, GPA, true, 0x30);
	write64(R_RTADDR, r.root | 3 << 10);
	expect(NO, GPA, true, 0x33);
	expect(7, GPA, true, 0x33);
	/* FPD hides what is qualified. */
	write64(R_RTADDR, r.root);
	WITH(legacy_context(), 2, NO, GPA, true, 0);
	WITH(root_entry(), 2, NO, GPA, true, 0x1);
	*legacy_context() |= 2;
	WITH(t.second_leaf, 0, NO, GPA, true, 0);
}

static void legacy_pages(void **state)
{
	uint64_t *table;

	(void)state;
	make_tables(false);
	table = entry_at(t.second);
	WITH(legacy_context(), HOLE_PAGE | 1, NO, GPA, true, 0x3);
	WITH(table, HOLE_PAGE | SECOND, NO, GPA, true, 0x7);
	WITH(table, *at_ | 1 << 7, NO, GPA, true, 0xc);
	WITH(t.second_leaf, *at_ | UINT64_C(1) << 50, NO, GPA, true, 0xc);
	expect(NO, UINT64_C(1) << 48, true, 0x4);
	WITH(t.second_leaf, 0, NO, GPA, false, 0x5);
	WITH(t.second_leaf, t.page | 1, NO, GPA, false, 0x5);
	WITH(t.second_leaf, 0, NO, GPA, true, 0x6);
	WITH(t.second_leaf, t.page | 2, NO, GPA, true, 0x6);
	WITH(t.second_leaf, 0xfee00000 | SECOND, NO, GPA, true, 0xe);
	/* What is not in the guest's memory is no fault of the unit. */
	WITH(t.second_leaf, HOLE_PAGE | SECOND, NO, GPA, true, 0);
	/* Pass-through. */
	*legacy_context() = 2 << 2 | 1;
	command(SRTP, true);
	assert_int_equal(dma_value(NO, t.page), 0);
	expect(NO, 0xfeeff000, false, 0xe);
	expect(NO, UINT64_C(1) << 48, false, 0x4);
	expect(NO, HOLE_PAGE, false, 0);
}

static void scalable_entries(void **state)
{
	uint64_t *directory;

	(void)state;
	make_tables(true);
	directory = entry_at(r.directory);
	write64(R_RTADDR, HOLE_PAGE | 1 << 10);
	expect(1, VA, true, 0x38);
	write64(R_RTADDR, r.root | 1 << 10);
	WITH(root_entry(), 0, 1, VA, true, 0x39);
	WITH(root_entry(), *at_ | 2, 1, VA, true, 0x3a);
	WITH(root_entry(), HOLE_PAGE | 1, 1, VA, true, 0x40);
	WITH(context_entry(), 0, 1, VA, false, 0x41);
	WITH(context_entry(), *at_ | 1 << 5, 1, VA, true, 0x42);
	WITH(context_entry() + 2, 1, 1, VA, true, 0x42);
	WITH(context_entry(), *at_ | 1 << 4, 1, VA, true, 0x43); /* PRE without DTE */
	WITH(context_entry(), *at_ & ~UINT64_C(8), 1, VA, true, 0x45);
	WITH(context_entry(), *at_ & ~UINT64_C(8), NO, VA, true, 0x79); /* without PASID that is no fault */
	expect(1 << 13, VA, true, 0x46);
	expect(0, VA, true, 0x48);
	expect(1 << 20, VA, true, 0x89);
	WITH(context_entry(), HOLE_PAGE | 9, 1, VA, true, 0x50);
	WITH(directory, 0, 1, VA, true, 0x51);
	WITH(directory, *at_ | 4, 1, VA, true, 0x52);
	WITH(directory, HOLE_PAGE | 1, 1, VA, true, 0x58);
	expect(9, VA, true, 0x59);
	WITH(pasid_entry_of(1), *at_ | 1 << 10, 1, VA, true, 0x5a);
	WITH(pasid_entry_of(1) + 3, 1, 1, VA, true, 0x5a);
	WITH(pasid_entry_of(1), 1, 1, VA, true, 0x5b); /* no PGTT */
	WITH(pasid_entry_of(2), *at_ | 7 << 2, 2, GPA, true, 0x5b); /* AW */
	WITH(pasid_entry_of(1) + 2, *at_ | 2 << 2, 1, VA, true, 0x5b); /* FSPM */
	WITH(pasid_entry_of(3) + 2, UINT64_C(1) << 48, 3, VA, true, 0x5a); /* beyond all memory */
	/* FPD of each entry on the way. */
	WITH(context_entry(), 2, 1, VA, true, 0);
	WITH(directory, 2, 1, VA, true, 0);
	WITH(pasid_entry_of(1), 2, 1, VA, true, 0);
	*context_entry() |= 2;
	WITH(t.leaf, 0, 1, VA, true, 0);
	expect(9, VA, true, 0);
	WITH(directory, HOLE_PAGE | 1, 1, VA, true, 0x58);
}

static void first_stage_pages(void **state)
{
	uint64_t *table;

	(void)state;
	make_tables(true);
	table = entry_at(t.first) + (VA >> 39 & 511);
	WITH(pasid_entry_of(1) + 2, HOLE_PAGE, 1, VA, true, 0x73);
	WITH(table, HOLE_PAGE | FIRST_TABLE, 1, VA, true, 0x70);
	WITH(table, 0, 1, VA, true, 0x71);
	WITH(t.leaf, 0, 1, VA, false, 0x71);
	WITH(table, *at_ | 1 << 7, 1, VA, true, 0x72);
	WITH(t.leaf, *at_ | UINT64_C(1) << 50, 1, VA, true, 0x72);
	expect(1, UINT64_C(1) << 47, true, 0x80);
	WITH(t.leaf, t.page | 3, 1, VA, true, 0x81);
	WITH(t.leaf, t.page | 5, 1, VA, false, 0x85);
	WITH(t.leaf, 0xfee00000 | FIRST_PAGE, 1, VA, false, 0x87);
	WITH(t.leaf, HOLE_PAGE | FIRST_PAGE, 1, VA, false, 0);
}

static void second_stage_pages(void **state)
{
	uint64_t *table;

	(void)state;
	make_tables(true);
	table = entry_at(t.second);
	WITH(pasid_entry_of(2), HOLE_PAGE | (*at_ & 0xfff), 2, GPA, true, 0x7b);
	WITH(table, HOLE_PAGE | SECOND, 2, GPA, true, 0x78);
	WITH(table, 0, 2, GPA, true, 0x79);
	WITH(t.second_leaf, 0, 2, GPA, false, 0x79);
	WITH(t.second_leaf, *at_ | UINT64_C(1) << 50, 2, GPA, true, 0x7a);
	expect(2, UINT64_C(1) << 48, true, 0x84);
	WITH(t.second_leaf, t.page | 1, 2, GPA, false, 0x85);
	WITH(t.second_leaf, t.page | 2, 2, GPA, true, 0x86);
	WITH(t.second_leaf, 0xfee01000 | SECOND, 2, GPA, true, 0x87);
	WITH(t.second_leaf, HOLE_PAGE | SECOND, 2, GPA, true, 0);
	/* Pass-through. */
	assert_int_equal(dma_value(4, t.page), 0);
	expect(4, UINT64_C(1) << 48, true, 0x83);
	expect(4, 0xfee00000, true, 0x87);
	expect(4, HOLE_PAGE, true, 0);
}

/* The second stage's leaf of a guest-physical page. */
static uint64_t *through(uint64_t gpa)
{
	return leaf_of(t.through, gpa, SECOND);
}

static void nested(void **state)
{
	uint64_t *table, below;

	(void)state;
	make_tables(true);
	table = entry_at(t.first) + (VA >> 39 & 511);
	below = *table & ~UINT64_C(0xfff);
	assert_int_equal(dma_value(3, VA), 0);
	/* Tables of the first stage that the second does not let be read or changed. */
	WITH(through(t.first), t.first | 2, 3, VA, true, 0x75);
	WITH(through(below), below | 2, 3, VA, true, 0x76);
	*table &= ~(uint64_t)ACCESSED;
	WITH(through(t.first), t.first | 1, 3, VA, true, 0x77);
	WITH(through(t.first), 0, 3, VA, true, 0x79);
	WITH(through(t.first), *at_ | UINT64_C(1) << 50, 3, VA, true, 0x7a);
	/* Addresses that the second stage does not have. */
	pasid_entry_of(3)[0] ^= 3 << 2; /* three levels, */
	pasid_entry_of(3)[0] = (pasid_entry_of(3)[0] & 0xfff) | (*entry_at(t.through) & ~UINT64_C(0xfff));
	assert_int_equal(dma_value(3, VA), 0);
	WITH(pasid_entry_of(3) + 2, UINT64_C(1) << 39, 3, VA, true, 0x5b);
	WITH(table, UINT64_C(1) << 39 | FIRST_TABLE, 3, VA, true, 0x74);
	WITH(t.leaf, UINT64_C(1) << 39 | FIRST_PAGE, 3, VA, true, 0x74);
	/* The page itself. */
	WITH(through(t.page), 0, 3, VA, true, 0x79);
	WITH(through(t.page), t.page | 1, 3, VA, false, 0x85);
	WITH(through(t.page), t.page | 2, 3, VA, true, 0x86);
	WITH(t.leaf, t.page | 5, 3, VA, false, 0x85);
	WITH(t.leaf, 0, 3, VA, false, 0x71);
	*t.leaf = GPA | FIRST_PAGE;
	WITH(through(GPA), 0xfee00000 | SECOND, 3, VA, true, 0x87);
	WITH(entry_at(*entry_at(t.through) & ~UINT64_C(0xfff)), HOLE_PAGE | SECOND, 3, VA, true, 0x78);
	WITH(pasid_entry_of(3), HOLE_PAGE | 3 << 6 | 2 << 2 | 1, 3, VA, true, 0x7b);
}

/* Memory that the guest has and that nothing can be written to, where there was a hole: the table below @entry, unused as yet. */
static void make_rom(uint64_t entry)
{
	const uint64_t *from = entry_at(entry & GENMASK64(51, 12));
	uint64_t rom = page_new();
	struct uiommu_ioas_map map = {
		.size = sizeof(map),
		.flags = UIOMMU_MAP_FIXED | UIOMMU_MAP_READ,
		.ioas_id = g.ioas,
		.source = UIOMMU_MAP_RAM,
		.ram_id = g.ram,
		.offset = rom < LOW_BYTES ? rom : rom - HOLE,
		.iova = HOLE_PAGE,
		.length = PAGE,
	};

	for (unsigned int i = 0; i < PAGE / 8; i++)
		entry_at(rom)[i] = from[i] & ~(uint64_t)(ACCESSED | 1 << 8); /* of either stage */
	assert_int_equal(uiommu_ioas_map(g.context, &map), 0);
}

/* Accessed bits that are to be set and cannot be. */
static void bits_of_the_first_stage(void **state)
{
	uint64_t *table;

	(void)state;
	make_tables(true);
	table = entry_at(t.first) + (VA >> 39 & 511);
	make_rom(*table);
	WITH(table, HOLE_PAGE | FIRST_TABLE, 1, VA, true, 0x91);
	*through(HOLE_PAGE) = HOLE_PAGE | SECOND;
	WITH(table, HOLE_PAGE | FIRST_TABLE, 3, VA, false, 0x91);
	assert_int_equal(dma_value(1, VA), 0);
}

static void bits_of_the_second_stage(void **state)
{
	uint64_t *table, value;

	(void)state;
	make_tables(true);
	table = entry_at(t.second) + (GPA >> 39 & 511);
	make_rom(*table);
	value = *table;
	*table = HOLE_PAGE | SECOND;
	command(SRTP, true);
	assert_int_equal(dma_value(2, GPA), 0); /* no bits are to be set */
	*table = value;
	pasid_entry_of(2)[0] |= 1 << 9; /* SSADE */
	WITH(table, HOLE_PAGE | SECOND, 2, GPA, true, 0x7d);
	assert_int_equal(dma_value(2, GPA), 0);
}

/* While translation is off nothing is recorded. */
/* The last faults, and when what stopped them was last invalidated. */
static void history(void **state)
{
	struct uiommu_vtd_fault faults[UIOMMU_VTD_FAULTS + 1];

	(void)state;
	make_tables(true);
	queue_make(true);
	assert_int_equal(uiommu_vtd_faults(r.vtd, faults, 4), 0);
	WITH(t.leaf, 0, 1, VA, true, 0x71);
	assert_int_equal(uiommu_vtd_faults(r.vtd, faults, 4), 1);
	assert_int_equal(faults[0].code, 0x71);
	assert_int_equal(faults[0].source_id, SOURCE_ID);
	assert_int_equal(faults[0].fault.address, VA);
	assert_int_equal(faults[0].fault.pasid, 1);
	assert_int_equal(faults[0].fault.reason, UIOMMU_FAULT_UNMAPPED);
	assert_true(faults[0].time_ns > 0);
	assert_int_equal(faults[0].invalidated_ns, 0);
	invalidate(D_IOTLB(1, 0), 0);
	WITH(t.leaf, 0, 1, VA, true, 0x71);
	/* Of an entry for a PASID that is another matter. */
	WITH(pasid_entry_of(1), 0, 1, VA, true, 0x59);
	assert_int_equal(uiommu_vtd_faults(r.vtd, faults, 4), 3);
	assert_int_equal(faults[0].code, 0x59);
	assert_int_equal(faults[0].invalidated_ns, 0);
	assert_true(faults[1].invalidated_ns > 0 && faults[1].invalidated_ns <= faults[1].time_ns);
	assert_int_equal(faults[2].invalidated_ns, 0);
	/* Only so many are kept, whether there was room for a record or not. */
	*t.leaf = 0;
	command(SRTP, true);
	for (int i = 0; i < UIOMMU_VTD_FAULTS * 2; i++)
		assert_int_equal(uiommu_dma_read(g.device, 1, VA, &(uint64_t){0}, 8, NULL), -EFAULT);
	assert_int_equal(uiommu_vtd_faults(r.vtd, faults, UIOMMU_VTD_FAULTS + 1), UIOMMU_VTD_FAULTS);
	assert_int_equal(faults[UIOMMU_VTD_FAULTS - 1].code, 0x71);
	write32(R_FSTS, 1);
}

static void nothing_while_off(void **state)
{
	uint64_t value;

	(void)state;
	make_tables(true);
	command(TE, false);
	assert_false(dma_reads(1, VA, &value));
	assert_false(dma_reads(NO, HOLE_PAGE, &value));
	assert_int_equal(read32(R_FSTS), 0);
}

/* Random entries: what the decoder says in the specification's own number is what the table makes of the neutral record. */
static void as_the_decoder_says(void **state)
{
	static _Alignas(4096) uint8_t memory[8 * 4096];
	uint64_t random = 1, *words = (uint64_t *)(void *)memory;
	struct tables tables = {
		.format = &tables_vtd,
		.config = {.output_lg2 = 40, .flags = UIOMMU_VTD_DEFAULT_CAPABILITIES | UIOMMU_VTD_TABLES_RID_PRIV},
		.memory = {.window = {.length = sizeof(memory), .host = memory}},
	};
	bool seen[256] = {false};

	(void)state;
	for (unsigned int i = 0; i < scaled(400000); i++) {
		struct tables_device device;
		struct tables_fault why;
		struct tables_entry entry;
		uint32_t pasid;

		for (unsigned int n = 0; n < 8; n++) {
			uint64_t *word = words + (n < 4 ? n * 512 : random >> 20 & 15), page = random >> 9 & 7;

			random = random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
			*word = page << 12 | (random >> 33 & (random >> 50 & 1 ? 0x1cd : 1)) |
				(random >> 40 & 63 ? 0 : random & GENMASK64(63, 41));
		}
		tables.config.mode = random >> 12 & 3;
		pasid = random >> 60 & 1 ? UIOMMU_NO_PASID : (uint32_t)(random >> 8) & (random >> 61 & 1 ? 0xfffff : 3);
		if (tables.format->device(&tables, 0, &device, &why) && device.format->pasid(&device, pasid, &entry, &why))
			continue;
		{
			const struct uiommu_fault fault = {.access = UIOMMU_READ,
							   .reason = why.reason,
							   .stage = why.stage,
							   .table = why.table,
							   .structure = why.structure,
							   .flags = why.flags};

			assert_int_equal(vtd_fault_code(&fault, tables.config.mode), why.detail);
			seen[why.detail & 255] = true;
		}
	}
	for (unsigned int code = 0; code < 256; code++)
		if (seen[code])
			print_message("# %#x\n", code);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		VTD_TEST(legacy_entries),
		VTD_TEST(legacy_pages),
		VTD_TEST(scalable_entries),
		VTD_TEST(first_stage_pages),
		VTD_TEST(second_stage_pages),
		VTD_TEST(nested),
		VTD_TEST(bits_of_the_first_stage),
		VTD_TEST(bits_of_the_second_stage),
		VTD_TEST(history),
		VTD_TEST(nothing_while_off),
		cmocka_unit_test(as_the_decoder_says),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
