/* SPDX-License-Identifier: BSD-3-Clause */
/* VT-d: translation in all modes, what each descriptor makes forgotten and what not, wait descriptors, errors of the queue. */
#include "vtd_rig.h"

#include "poison.h"

/* Two pages with different content, one of them mapped at VA. */
static struct {
	uint64_t page[2];
	uint64_t *leaf;
} two;

static void map_two(uint64_t *leaf, uint64_t bits)
{
	for (unsigned int i = 0; i < 2; i++) {
		two.page[i] = page_new();
		*entry_at(two.page[i]) = 0x100 + i;
	}
	two.leaf = leaf;
	*leaf = two.page[0] | bits;
}

static void remap(unsigned int i)
{
	*two.leaf = two.page[i] | (*two.leaf & 0xfff);
}

/* --- modes --- */

static void off_and_on(void **state)
{
	uint64_t second = page_new(), value;

	(void)state;
	map_two(leaf_of(second, VA & 0x7fffffffffff, SECOND), SECOND);
	legacy_tables(second);
	/* Off: addresses are what they are, and there are no PASIDs. */
	assert_int_equal(dma_value(UIOMMU_NO_PASID, two.page[1]), 0x101);
	assert_false(dma_reads(PASID, two.page[1], &value));
	assert_int_equal(read32(R_FSTS), 0);
	command(TE, true);
	assert_false(dma_reads(UIOMMU_NO_PASID, two.page[1], &value));
	assert_int_equal(dma_value(UIOMMU_NO_PASID, VA), 0x100);
	assert_int_equal(uiommu_vtd_reset(r.vtd), 0);
	assert_int_equal(dma_value(UIOMMU_NO_PASID, two.page[1]), 0x101);
	assert_int_equal(read32(R_FSTS), 0);
}

/* First, second, nested, pass-through; with PASID and without, which is PASID 0's entry. */
static void scalable_types(void **state)
{
	uint64_t first = page_new(), second = page_new(), through = page_new();

	(void)state;
	scalable_tables();
	identity(through);
	map_two(leaf_of(first, VA, FIRST_TABLE), FIRST_PAGE);
	*leaf_of(second, 0x5000000, SECOND) = two.page[1] | SECOND;
	pasid_first(1, first);
	pasid_second(2, second);
	pasid_nested(3, first, through);
	pasid_entry_of(4)[0] = 4 << 6 | 2 << 2 | 1;
	pasid_nested(0, first, through);
	command(TE, true);
	assert_int_equal(dma_value(1, VA), 0x100);
	assert_int_equal(dma_value(2, 0x5000000), 0x101);
	assert_int_equal(dma_value(3, VA), 0x100);
	assert_int_equal(dma_value(4, two.page[1]), 0x101);
	assert_int_equal(dma_value(UIOMMU_NO_PASID, VA), 0x100);
	assert_int_equal(*two.leaf & ACCESSED, ACCESSED);
	assert_int_equal(*two.leaf & DIRTY, 0);
	assert_int_equal(uiommu_dma_write(g.device, 3, VA + 8, &two, 8, NULL), 0);
	assert_int_equal(*two.leaf & DIRTY, DIRTY);
	assert_int_equal(read32(R_FSTS), 0);
}

/* The top table of five levels leads to one of four; three levels are a table of four's. */
static void levels(void **state)
{
	uint64_t first = page_new(), top = page_new(), second = page_new(), address = 0x5000000;

	(void)state;
	scalable_tables();
	map_two(leaf_of(first, VA, FIRST_TABLE), FIRST_PAGE);
	entry_at(top)[3] = first | FIRST_TABLE;
	pasid_first(1, top);
	pasid_entry_of(1)[2] |= 1 << 2;
	*leaf_of(second, address, SECOND) = two.page[1] | SECOND;
	pasid_second(2, *entry_at(second) & ~UINT64_C(0xfff));
	pasid_entry_of(2)[0] ^= 3 << 2; /* AW 1 */
	command(TE, true);
	assert_int_equal(dma_value(1, VA | UINT64_C(3) << 48), 0x100);
	assert_int_equal(dma_value(2, address), 0x101);
	assert_int_equal(read32(R_FSTS), 0);
}

/* Second-stage accessed and dirty bits where the entry says so. */
static void second_stage_bits(void **state)
{
	uint64_t second = page_new(), address = 0x5000000;

	(void)state;
	scalable_tables();
	map_two(leaf_of(second, address, SECOND), SECOND);
	pasid_second(2, second);
	command(TE, true);
	assert_int_equal(dma_value(2, address), 0x100);
	assert_int_equal(*two.leaf & 0x300, 0);
	pasid_entry_of(2)[0] |= 1 << 9;
	queue_make(true);
	invalidate(D_PASID_CACHE(1, DOMAIN, 2), 0);
	assert_int_equal(dma_value(2, address), 0x100);
	assert_int_equal(*two.leaf & 0x300, 0x100);
	assert_int_equal(uiommu_dma_write(g.device, 2, address, &two, 8, NULL), 0);
	assert_int_equal(*two.leaf & 0x300, 0x300);
}

/* A new root pointer is looked up at once (ESRTPS), without anything between. */
static void another_root(void **state)
{
	uint64_t second = page_new(), other = page_new();

	(void)state;
	map_two(leaf_of(second, VA & 0x7fffffffffff, SECOND), SECOND);
	*leaf_of(other, VA, SECOND) = two.page[1] | SECOND;
	legacy_tables(second);
	command(TE, true);
	assert_int_equal(dma_value(UIOMMU_NO_PASID, VA), 0x100);
	legacy_tables(other);
	assert_int_equal(dma_value(UIOMMU_NO_PASID, VA), 0x101);
	/* The register alone says nothing. */
	write64(R_RTADDR, page_new());
	assert_int_equal(dma_value(UIOMMU_NO_PASID, VA), 0x101);
}

/* Without ESRTPS what is cached stays until it is invalidated, here by the registers. */
static void another_root_softly(void **state)
{
	struct uiommu_vtd_config config = {.flags = UIOMMU_VTD_SOFT_ROOT};
	uint64_t second, other;

	vtd_make(&config);
	second = page_new();
	other = page_new();
	map_two(leaf_of(second, VA, SECOND), SECOND);
	*leaf_of(other, VA, SECOND) = two.page[1] | SECOND;
	legacy_tables(second);
	command(TE, true);
	assert_int_equal(dma_value(UIOMMU_NO_PASID, VA), 0x100);
	legacy_tables(other);
	assert_int_equal(dma_value(UIOMMU_NO_PASID, VA), 0x100);
	write64(R_CCMD, UINT64_C(1) << 63 | UINT64_C(1) << 61);
	assert_int_equal(read64(R_CCMD) >> 59, 1 << 2 | 1);
	assert_int_equal(dma_value(UIOMMU_NO_PASID, VA), 0x101);
	vtd_teardown(state);
}

/* --- by registers --- */

static void register_invalidation(void **state)
{
	uint64_t second = page_new();

	(void)state;
	map_two(leaf_of(second, VA, SECOND), SECOND);
	legacy_tables(second);
	command(TE, true);
	for (unsigned int i = 0; i < 8; i++) {
		/* IVA, and IOTLB: nothing, pages (of others), domain (another), global. */
		static const uint64_t address[4] = {0, VA, VA + PAGE, 0};
		unsigned int granularity = i / 2 % 4, domain = i % 2 ? DOMAIN : DOMAIN + 1;
		bool hits = granularity == 1 || (granularity && domain == DOMAIN && (granularity != 3 || address[1] == VA));

		remap(0);
		write64(0x508, UINT64_C(1) << 63 | UINT64_C(1) << 60);
		assert_int_equal(dma_value(UIOMMU_NO_PASID, VA), 0x100);
		remap(1);
		write64(0x500, VA);
		write64(0x508, UINT64_C(1) << 63 | (uint64_t)granularity << 60 | (uint64_t)domain << 32);
		assert_int_equal(read64(0x508) >> 63, 0);
		assert_int_equal(read64(0x508) >> 57 & 3, granularity);
		assert_int_equal(dma_value(UIOMMU_NO_PASID, VA), hits ? 0x101 : 0x100);
	}
	/* In halves: the upper one sets it off. A mask that is not offered. */
	remap(0);
	write32(0x50c, UINT32_C(1) << 31 | 1 << 28);
	assert_int_equal(dma_value(UIOMMU_NO_PASID, VA), 0x100);
	write64(0x500, 63);
	write64(0x508, UINT64_C(1) << 63 | UINT64_C(3) << 60 | (uint64_t)DOMAIN << 32);
	assert_int_equal(read64(0x508) >> 57 & 3, 0);
	/* In scalable mode it is incorrect. */
	write64(R_RTADDR, r.root | 1 << 10);
	command(SRTP, true);
	write64(0x508, UINT64_C(1) << 63 | UINT64_C(1) << 60);
	assert_int_equal(read64(0x508) >> 57, 1 << 3);
	write64(R_CCMD, UINT64_C(1) << 63 | UINT64_C(1) << 61);
	assert_int_equal(read64(R_CCMD) >> 59, 1 << 2);
}

/* --- by the queue --- */

/* Legacy mode: which descriptors make a change of the leaf seen. */
static void legacy_iotlb(void **state)
{
	static const struct {
		uint64_t word0, word1;
		bool hits;
	} cases[] = {
		{D_IOTLB(1, 0), 0, true},
		{D_IOTLB(2, DOMAIN), 0, true},
		{D_IOTLB(2, DOMAIN + 1), 0, false},
		{D_IOTLB(3, DOMAIN), VA, true},
		{D_IOTLB(3, DOMAIN), VA | 1 << 6, true},
		{D_IOTLB(3, DOMAIN), VA + PAGE, false},
		{D_IOTLB(3, DOMAIN), (VA + PAGE) | 1, true}, /* two pages */
		{D_IOTLB(3, DOMAIN), (VA + 2 * PAGE) | 1, false},
		{D_IOTLB(3, DOMAIN), 36, true}, /* all */
		{D_IOTLB(3, DOMAIN + 1), VA, false},
		{D_CONTEXT(1, 0, 0), 0, true},
		{D_CONTEXT(2, DOMAIN, 0), 0, true},
		{D_CONTEXT(2, DOMAIN + 1, 0), 0, false},
		{D_CONTEXT(3, DOMAIN, SOURCE_ID), 0, true},
		{D_CONTEXT(3, DOMAIN, SOURCE_ID ^ 1), 0, false},
		{D_CONTEXT(3, DOMAIN, SOURCE_ID ^ 4) | UINT64_C(1) << 48, 0, true},
		{D_CONTEXT(3, DOMAIN, SOURCE_ID ^ 2) | UINT64_C(1) << 48, 0, false},
		{D_CONTEXT(3, DOMAIN, SOURCE_ID ^ 6) | UINT64_C(2) << 48, 0, true},
		{D_CONTEXT(3, DOMAIN, SOURCE_ID ^ 1) | UINT64_C(2) << 48, 0, false},
		{D_CONTEXT(3, DOMAIN, SOURCE_ID ^ 7) | UINT64_C(3) << 48, 0, true},
		{D_CONTEXT(3, DOMAIN, SOURCE_ID ^ 8) | UINT64_C(3) << 48, 0, false},
		{4, 0, false},
	};
	uint64_t second = page_new();

	(void)state;
	map_two(leaf_of(second, VA, SECOND), SECOND);
	legacy_tables(second);
	command(TE, true);
	for (unsigned int wide = 0; wide < 2; wide++) {
		queue_make(wide);
		for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
			remap(0);
			invalidate(D_IOTLB(1, 0), 0);
			assert_int_equal(dma_value(UIOMMU_NO_PASID, VA), 0x100);
			remap(1);
			invalidate(cases[i].word0, cases[i].word1);
			assert_int_equal(dma_value(UIOMMU_NO_PASID, VA), cases[i].hits ? 0x101 : 0x100);
			assert_int_equal(read64(R_IQH), r.tail);
		}
		command(QIE, false);
		assert_int_equal(read64(R_IQH), 0);
	}
	assert_int_equal(read32(R_FSTS), 0);
}

/* Scalable mode: three PASIDs of two domains, all caching the same page; which of them see it changed? */
static void scalable_iotlb(void **state)
{
	enum { FIRST_ = 1, NESTED_ = 2, SECOND_ = 4, OTHER = 8, RID = 16, ALL = 31 };
	static const struct {
		uint64_t word0, word1;
		unsigned int hits;
	} cases[] = {
		{D_IOTLB(1, 0), 0, ALL},
		{D_IOTLB(2, DOMAIN), 0, ALL & ~OTHER},
		{D_IOTLB(3, DOMAIN), VA, ALL & ~OTHER},
		{D_IOTLB(3, DOMAIN), VA + PAGE, ALL & ~(OTHER | SECOND_)},
		{D_IOTLB(3, DOMAIN + 1), VA, OTHER},
		{D_PASID_IOTLB(2, DOMAIN, 1), 0, FIRST_},
		{D_PASID_IOTLB(2, DOMAIN, 2), 0, NESTED_},
		{D_PASID_IOTLB(2, DOMAIN, 0), 0, RID},
		{D_PASID_IOTLB(2, DOMAIN + 1, 1), 0, 0},
		{D_PASID_IOTLB(3, DOMAIN, 1), VA, FIRST_},
		{D_PASID_IOTLB(3, DOMAIN, 1), VA + PAGE, 0},
		{D_PASID_IOTLB(3, DOMAIN, 1), (VA + PAGE) | 1 | 1 << 6, FIRST_},
		{D_PASID_IOTLB(3, DOMAIN, 2), 63, NESTED_},
		{D_PASID_CACHE(0, DOMAIN, 0), 0, ALL & ~OTHER},
		{D_PASID_CACHE(1, DOMAIN, 1), 0, FIRST_},
		{D_PASID_CACHE(1, DOMAIN, 3), 0, SECOND_},
		{D_PASID_CACHE(1, DOMAIN + 1, 4), 0, OTHER},
		{D_PASID_CACHE(1, DOMAIN, 0), 0, RID},
		{D_PASID_CACHE(3, 0, 0), 0, ALL},
		{D_CONTEXT(2, DOMAIN, 0), 0, ALL}, /* as global */
		{D_CONTEXT(3, 0, SOURCE_ID), 0, ALL},
		{D_CONTEXT(3, 0, SOURCE_ID ^ 1), 0, 0},
	};
	uint64_t first = page_new(), second = page_new(), through = page_new(), *seconds;
	static const uint32_t pasids[] = {1, 2, 3, 4, UIOMMU_NO_PASID};

	(void)state;
	scalable_tables();
	identity(through);
	map_two(leaf_of(first, VA, FIRST_TABLE), FIRST_PAGE);
	seconds = leaf_of(second, VA, SECOND);
	pasid_first(1, first);
	pasid_nested(2, first, through);
	pasid_second(3, second);
	pasid_first(4, first);
	pasid_entry_of(4)[1] = DOMAIN + 1;
	pasid_first(0, first);
	command(TE, true);
	queue_make(true);
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		unsigned int hits = 0;

		remap(0);
		*seconds = two.page[0] | SECOND;
		invalidate(D_IOTLB(1, 0), 0);
		for (unsigned int n = 0; n < 5; n++)
			assert_int_equal(dma_value(pasids[n], VA), 0x100);
		remap(1);
		*seconds = two.page[1] | SECOND;
		invalidate(cases[i].word0, cases[i].word1);
		for (unsigned int n = 0; n < 5; n++)
			hits |= dma_value(pasids[n], VA) == 0x101 ? 1U << n : 0;
		assert_int_equal(hits, cases[i].hits);
	}
	assert_int_equal(read32(R_FSTS), 0);
}

/* Does the next walk begin below the top? */
static bool steps_stay(uint32_t pasid)
{
	struct uiommu_attach_stats before = {.size = sizeof(before)}, after = before;

	assert_int_equal(uiommu_attach_stats(g.context, g.device_id, pasid, &before), 0);
	assert_int_equal(dma_value(pasid, VA), 0x100);
	assert_int_equal(uiommu_attach_stats(g.context, g.device_id, pasid, &after), 0);
	assert_int_equal(after.walks - before.walks, 1);
	return after.walks_below_top != before.walks_below_top;
}

/* IH: entries that lead to tables are as they were. It is about pages only. */
static void hints(void **state)
{
	enum { IH = 1 << 6 };
	static const struct {
		uint32_t pasid;
		uint64_t word0, word1;
		bool stay;
	} cases[] = {
		{1, D_PASID_IOTLB(3, DOMAIN, 1), VA, false},	  {1, D_PASID_IOTLB(3, DOMAIN, 1), VA | IH, true},
		{1, D_PASID_IOTLB(2, DOMAIN, 1), VA | IH, false}, {3, D_IOTLB(3, DOMAIN), VA, false},
		{3, D_IOTLB(3, DOMAIN), VA | IH, true},		  {3, D_IOTLB(2, DOMAIN), VA | IH, false},
		{1, D_IOTLB(3, DOMAIN), VA | IH, false}, /* what is behind a first stage leads to its tables, too */
	};
	uint64_t first = page_new(), second = page_new();

	(void)state;
	scalable_tables();
	map_two(leaf_of(first, VA, FIRST_TABLE), FIRST_PAGE);
	*leaf_of(second, VA, SECOND) = two.page[0] | SECOND;
	pasid_first(1, first);
	pasid_second(3, second);
	command(TE, true);
	queue_make(true);
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		assert_int_equal(dma_value(cases[i].pasid, VA), 0x100);
		invalidate(cases[i].word0, cases[i].word1);
		assert_int_equal(steps_stay(cases[i].pasid), cases[i].stay);
	}
	assert_int_equal(read32(R_FSTS), 0);
}

/* An entry that is cached is used until it is invalidated, whatever is in memory. */
static void entries_are_cached(void **state)
{
	uint64_t first = page_new(), other = page_new(), value;

	(void)state;
	scalable_tables();
	map_two(leaf_of(first, VA, FIRST_TABLE), FIRST_PAGE);
	*leaf_of(other, VA, FIRST_TABLE) = two.page[1] | FIRST_PAGE;
	pasid_first(1, first);
	command(TE, true);
	queue_make(true);
	assert_int_equal(dma_value(1, VA), 0x100);
	pasid_first(1, other);
	invalidate(D_PASID_IOTLB(2, DOMAIN, 1), 0);
	assert_int_equal(dma_value(1, VA), 0x100);
	invalidate(D_PASID_CACHE(1, DOMAIN, 1), 0);
	assert_int_equal(dma_value(1, VA), 0x101);
	pasid_entry_of(1)[0] = 0;
	assert_int_equal(dma_value(1, VA), 0x101);
	invalidate(D_PASID_CACHE(1, DOMAIN, 1), 0);
	assert_false(dma_reads(1, VA, &value));
	check_record(0, VA, 1, true, 0x59);
	/* What was not there is not cached: no invalidation is needed. */
	pasid_first(1, first);
	assert_int_equal(dma_value(1, VA), 0x100);
}

static void wait_descriptors(void **state)
{
	uint32_t *status;

	(void)state;
	queue_make(false);
	status = (uint32_t *)(void *)at(r.status);
	/* Neither status nor interrupt. */
	queue_put(5 | 1 << 6, 0);
	queue_tail();
	assert_int_equal(read64(R_IQH), r.tail);
	assert_true(queue_wait());
	assert_int_equal(read32(R_ICS), 0);
	/* Interrupts: pending while masked, then sent, one until it is serviced. */
	write32(R_IEDATA, 0x31);
	write32(R_IEADDR, 0xfee01000);
	queue_put(5 | 1 << 4, 0);
	queue_tail();
	assert_int_equal(read32(R_ICS), 1);
	assert_int_equal(read32(R_IECTL), UINT32_C(3) << 30);
	assert_int_equal(r.sent, 0);
	write32(R_IECTL, 0);
	assert_int_equal(r.sent, 1);
	assert_int_equal(r.messages[0].data, 0x31);
	assert_int_equal(r.messages[0].address, 0xfee01000);
	queue_put(5 | 1 << 4 | 1 << 5 | UINT64_C(0x777) << 32, r.status + 4);
	queue_tail();
	assert_int_equal(r.sent, 1);
	assert_int_equal(status[1], 0x777);
	write32(R_ICS, 1);
	assert_int_equal(read32(R_ICS), 0);
	queue_put(5 | 1 << 4, 0);
	queue_tail();
	assert_int_equal(r.sent, 2);
	/* A status word where there is no memory. */
	queue_put(5 | 1 << 5, LOW_BYTES);
	queue_tail();
	assert_int_equal(read32(R_FSTS), 0);
	assert_int_equal(read64(R_IQH), r.tail);
}

/* More than one turn, and around the end, several times. */
static void long_queues(void **state)
{
	uint64_t second = page_new();

	(void)state;
	map_two(leaf_of(second, VA, SECOND), SECOND);
	legacy_tables(second);
	command(TE, true);
	queue_make(false);
	for (unsigned int round = 0; round < 7; round++) {
		remap(round % 2);
		for (unsigned int i = 0; i < 200; i++)
			queue_put(D_IOTLB(3, DOMAIN), VA + (i == 77 ? 0 : (1 + i) * PAGE));
		assert_true(queue_wait());
		assert_int_equal(dma_value(UIOMMU_NO_PASID, VA), 0x100 + round % 2);
	}
	command(QIE, false);
	/* The largest one, filled to the last entry. */
	write64(R_IQT, 0);
	write64(R_IQA, r.queue);
	command(QIE, true);
	memset(at(r.queue), 0, PAGE);
	for (unsigned int i = 0; i < 256; i++)
		entry_at(r.queue)[i * 2] = 5;
	write64(R_IQT, 255 * 16);
	assert_int_equal(read64(R_IQH), 255 * 16);
	write64(R_IQT, 0);
	assert_int_equal(read64(R_IQH), 0);
	assert_int_equal(read32(R_FSTS), 0);
}

/* --- errors --- */

/* The queue has stopped at the head with this; software corrects it and clears the error. */
static void check_error(uint64_t head, unsigned int info)
{
	uint32_t waits = r.waits;

	assert_int_equal(read32(R_FSTS), 0x10);
	assert_int_equal(read64(R_IQERCD) & 15, info);
	assert_int_equal(read64(R_IQH), head);
	/* Nothing is fetched until then. */
	write64(R_IQT, r.tail);
	assert_int_equal(read32(R_FSTS), 0x10);
	assert_int_equal(*(uint32_t *)(void *)at(r.status), waits);
}

static void bad_descriptors(void **state)
{
	static const struct {
		uint64_t word[4];
		unsigned int info;
	} cases[] = {
		{{0}, 3},
		{{10}, 3},
		{{15}, 3},
		{{5 | 1 << 9}, 3},
		{{5 | 1 << 11}, 3},
		{{1}, 4}, /* granularity */
		{{1 | 1 << 4 | 1 << 6}, 4},
		{{1 | 1 << 4 | 1 << 12}, 4},
		{{1 | 1 << 4 | UINT64_C(1) << 50}, 4},
		{{1 | 1 << 4, 1}, 4},
		{{2}, 4},
		{{2 | 1 << 4 | 1 << 8}, 4},
		{{2 | 1 << 4 | UINT64_C(1) << 32}, 4},
		{{2 | 1 << 4, 1 << 7}, 4},
		{{2 | 3 << 4, 37}, 4}, /* more than MAMV */
		{{5 | 1 << 8}, 4},
		{{5 | 1 << 12}, 4},
		{{5 | 1 << 5, 1}, 4},
		{{6}, 4},
		{{6 | 1 << 4}, 4},
		{{6 | 2 << 4 | UINT64_C(1) << 52}, 4},
		{{6 | 2 << 4, 1 << 8}, 4},
		{{7 | 2 << 4}, 4},
		{{7 | 1 << 6}, 4},
		{{7, 1}, 4},
		{{1 | 1 << 4, 0, 1, 0}, 4},
		{{5, 0, 0, 1}, 4},
	};

	(void)state;
	scalable_tables();
	queue_make(true);
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		uint64_t head = r.tail, *descriptor = entry_at(r.queue) + head / 8;

		queue_put(0, 0);
		memcpy(descriptor, cases[i].word, 32);
		assert_false(queue_wait());
		r.waits--;
		check_error(head, cases[i].info);
		memset(descriptor, 0, 32);
		descriptor[0] = 5;
		write32(R_FSTS, 0x10);
		assert_int_equal(read32(R_FSTS), 0);
		assert_int_equal(*(uint32_t *)(void *)at(r.status), ++r.waits);
		assert_int_equal(read64(R_IQH), r.tail);
	}
	/* What is for scalable mode only. */
	write64(R_RTADDR, r.root);
	command(SRTP, true);
	for (unsigned int type = 6; type < 10; type++) {
		uint64_t head = r.tail;

		queue_put(type | 3 << 4, 0);
		assert_false(queue_wait());
		r.waits--;
		check_error(head, 3);
		entry_at(r.queue)[head / 8] = 5;
		write32(R_FSTS, 0x10);
		r.waits++;
	}
}

/* What comes before the one in error has been done. */
static void those_before_are_completed(void **state)
{
	uint64_t second = page_new();

	(void)state;
	map_two(leaf_of(second, VA, SECOND), SECOND);
	legacy_tables(second);
	command(TE, true);
	queue_make(false);
	assert_int_equal(dma_value(UIOMMU_NO_PASID, VA), 0x100);
	remap(1);
	queue_put(D_IOTLB(1, 0), 0);
	queue_put(0, 0);
	queue_tail();
	assert_int_equal(read64(R_IQH), 16);
	assert_int_equal(dma_value(UIOMMU_NO_PASID, VA), 0x101);
}

static void bad_registers(void **state)
{
	(void)state;
	scalable_tables();
	queue_make(false);
	/* 128 bits in scalable mode. */
	queue_put(5, 0);
	queue_tail();
	check_error(0, 5);
	write64(R_IQA, r.queue | 1 << 11);
	r.tail = 16;
	write32(R_FSTS, 0x10);
	check_error(0, 6);
	write64(R_IQT, PAGE);
	write32(R_FSTS, 0x10);
	r.tail = PAGE;
	check_error(0, 1);
	/* Not in memory; and its second half. */
	write64(R_IQA, LOW_BYTES | 1 << 11);
	r.tail = 32;
	write64(R_IQT, 32);
	write32(R_FSTS, 0x10);
	check_error(0, 2);
	write64(R_IQA, (LOW_BYTES - PAGE) | 1 << 11 | 1);
	memset(at(LOW_BYTES - PAGE), 0, PAGE);
	for (unsigned int i = 0; i < 128; i++)
		entry_at(LOW_BYTES - PAGE)[i * 4] = 5;
	r.tail = PAGE + 64;
	write64(R_IQT, r.tail);
	write32(R_FSTS, 0x10);
	check_error(PAGE, 2);
	/* A mode that there is not. */
	write64(R_RTADDR, r.root | 2 << 10);
	command(SRTP, true);
	write32(R_FSTS, 0x10);
	check_error(PAGE, 7);
	command(QIE, false);
	write32(R_FSTS, 0x10);
	assert_int_equal(read32(R_FSTS), 0);
	assert_int_equal(read64(R_IQH), 0);
}

static void wide_is_not_offered(void **state)
{
	struct uiommu_vtd_config config = {.capabilities = UIOMMU_VTD_TABLES_4_LEVEL};

	vtd_make(&config);
	queue_make(true);
	queue_put(5, 0);
	queue_tail();
	check_error(0, 5);
	vtd_teardown(state);
}

/* An error of the queue is a fault event, unless something else waits for software. */
static void errors_are_events(void **state)
{
	(void)state;
	queue_make(false);
	write32(R_FEDATA, 0x22);
	write32(R_FECTL, 0);
	queue_put(0, 0);
	queue_tail();
	assert_int_equal(r.sent, 1);
	assert_int_equal(r.messages[0].data, 0x22);
	write32(R_FSTS, 0x10);
	assert_int_equal(r.sent, 2); /* it is still there */
	assert_int_equal(uiommu_vtd_reset(r.vtd), 0);
	assert_int_equal(read32(R_FSTS), 0);
	assert_int_equal(read32(R_FECTL), UINT32_C(1) << 31);
}

/* The guest changes a page's mapping, invalidates it, waits and poisons the old page: nobody reads poison. */
enum { ROUNDS = 2000 };

static void invalidations_against_accesses(void **state)
{
	uint64_t first = page_new(), pages[2] = {page_new(), page_new()}, *leaf = leaf_of(first, VA, FIRST_TABLE);
	struct reader reader;

	(void)state;
	scalable_tables();
	pasid_first(1, first);
	for (unsigned int i = 0; i < 2; i++)
		memset(at(pages[i]), i ? POISON : GOOD, PAGE);
	*leaf = pages[0] | FIRST_PAGE;
	command(TE, true);
	queue_make(true);
	reader_start(&reader, 1);
	for (unsigned int i = 0; i < ROUNDS; i++) {
		unsigned long before = reader_good(&reader);

		memset(at(pages[(i + 1) % 2]), GOOD, PAGE);
		__atomic_store_n(leaf, pages[(i + 1) % 2] | FIRST_PAGE, __ATOMIC_RELEASE);
		invalidate(i % 3 ? D_PASID_IOTLB(3, DOMAIN, 1) : D_PASID_CACHE(1, DOMAIN, 1), i % 3 ? VA : 0);
		memset(at(pages[i % 2]), POISON, PAGE);
		if (i % 64 == 0)
			reader_await(&reader, before);
	}
	reader_end(&reader);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		VTD_TEST(off_and_on),
		VTD_TEST(scalable_types),
		VTD_TEST(levels),
		VTD_TEST(second_stage_bits),
		VTD_TEST(another_root),
		cmocka_unit_test(another_root_softly),
		VTD_TEST(register_invalidation),
		VTD_TEST(legacy_iotlb),
		VTD_TEST(scalable_iotlb),
		VTD_TEST(hints),
		VTD_TEST(entries_are_cached),
		VTD_TEST(wait_descriptors),
		VTD_TEST(long_queues),
		VTD_TEST(bad_descriptors),
		VTD_TEST(those_before_are_completed),
		VTD_TEST(bad_registers),
		cmocka_unit_test(wide_is_not_offered),
		VTD_TEST(errors_are_events),
		VTD_TEST(invalidations_against_accesses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
