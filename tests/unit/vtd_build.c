/* SPDX-License-Identifier: BSD-3-Clause */
#include "test.h"

#include <pthread.h>
#include <sched.h>

#include "pgtable/vtd_build.h"
#include "util/bits.h"
#include "util/rcu.h"
#include "util/util.h"

enum { PAGE = 4096, ALL = UIOMMU_VTD_SECOND_AD | UIOMMU_VTD_SECOND_2M | UIOMMU_VTD_SECOND_1G, RW = UIOMMU_READ | UIOMMU_WRITE };

#define M2 (UINT64_C(1) << 21)
#define G1 (UINT64_C(1) << 30)

static void reclaim(struct vtd_tables *tables)
{
	vtd_tables_reclaim(tables, vtd_tables_retired(tables));
}

static struct pgtable_result walk(struct vtd_tables *tables, uint64_t address, unsigned int flags)
{
	struct pgtable_result result;

	memset(&result, 0xff, sizeof(result));
	pgtable_translate(&tables->pgtable, address, flags, &result);
	return result;
}

/* What is told of leaves, to look at. */
enum { LEAVES = 4096 };

struct leaves {
	unsigned int count;
	struct vtd_leaf leaf[LEAVES];
};

static void collect(void *opaque, const struct vtd_leaf *leaf)
{
	struct leaves *leaves = opaque;

	assert_true(leaves->count < LEAVES);
	leaves->leaf[leaves->count++] = *leaf;
}

static struct leaves *look(struct vtd_tables *tables)
{
	static struct leaves leaves;

	leaves.count = 0;
	vtd_tables_iterate(tables, 0, UINT64_MAX, collect, &leaves);
	return &leaves;
}

static struct leaves *look_dirty(struct vtd_tables *tables, uint64_t first, uint64_t last, bool clear)
{
	static struct leaves leaves;

	leaves.count = 0;
	vtd_tables_read_dirty(tables, first, last, clear, collect, &leaves);
	return &leaves;
}

static void expect_leaf(const struct vtd_leaf *leaf, uint64_t first, uint64_t size, uint64_t oa)
{
	assert_int_equal(leaf->first, first);
	assert_int_equal(leaf->last, first + size - 1);
	assert_int_equal(leaf->oa, oa);
}

/* --- against an array --- */

enum { MODEL_PAGES = 1 << 20, OPERATIONS = 6000 };

#define MODEL_DIRTY UINT64_C(0x800)

struct model {
	struct vtd_tables tables;
	uint64_t base;
	unsigned int output_lg2; /* where output addresses are, too */
	uint64_t seed;
	uint64_t page[MODEL_PAGES]; /* output address, access, MODEL_DIRTY; 0: not mapped */
	/* What is told of it now. */
	unsigned int next;
	uint64_t last;
	unsigned int told;
	bool whole; /* leaves are inside of the range */
	bool only_dirty;
	bool clears;
	bool removes;
};

static uint64_t *model_at(struct model *model, uint64_t address)
{
	return &model->page[(address - model->base) / PAGE];
}

static void model_told(void *opaque, const struct vtd_leaf *leaf)
{
	struct model *model = opaque;
	bool inside = (leaf->first - model->base) / PAGE >= model->next && leaf->last <= model->last;
	uint64_t *page = model_at(model, leaf->first);

	assert_true(!model->whole || inside);
	assert_true(!model->only_dirty || leaf->dirty);
	for (uint64_t i = 0; i <= (leaf->last - leaf->first) / PAGE; i++) {
		assert_int_equal(page[i], (leaf->oa + i * PAGE) | leaf->access | (leaf->dirty ? MODEL_DIRTY : 0));
		if (leaf->first + i * PAGE <= model->last && leaf->first + i * PAGE - model->base >= (uint64_t)model->next * PAGE)
			model->told++;
		if (model->removes)
			page[i] = 0;
		else if (model->clears && inside)
			page[i] &= ~MODEL_DIRTY;
	}
}

static void model_tell(struct model *model, unsigned int first, unsigned int count)
{
	model->next = first;
	model->last = model->base + (uint64_t)(first + count) * PAGE - 1;
	model->told = 0;
	model->whole = model->only_dirty = model->clears = model->removes = false;
}

static unsigned int model_count(const struct model *model, unsigned int first, unsigned int count, bool dirty)
{
	unsigned int found = 0;

	for (unsigned int i = first; i < first + count; i++)
		found += dirty ? (model->page[i] & MODEL_DIRTY) != 0 : model->page[i] != 0;
	return found;
}

/* Few are large. */
static unsigned int model_length(uint64_t random)
{
	static const unsigned int lengths[] = {8, 64, 600, 5000, 300000};

	return 1 + (unsigned int)(random >> 8) % lengths[random % 32 ? random % 4 : 4];
}

static void model_map(struct model *model, unsigned int first, unsigned int count, uint64_t random)
{
	uint64_t align = random & 1 ? PAGE : random & 2 ? M2 : G1, iova = model->base + (uint64_t)first * PAGE, oa;
	unsigned int access = 1 + (unsigned int)(random >> 3) % 3, how = (unsigned int)(random >> 58) & 0x30;
	uint64_t dirty = how & VTD_TABLES_DIRTY && model->tables.pgtable.config.flags & UIOMMU_VTD_SECOND_AD ? MODEL_DIRTY : 0;
	int rc;

	oa = (iova & (align - 1)) + ((random >> 5) & low_mask(model->output_lg2 - 1) & ~(align - 1));
	rc = vtd_tables_map(&model->tables, iova, (uint64_t)count * PAGE, oa, access | how);
	assert_int_equal(rc, model_count(model, first, count, false) ? -EEXIST : 0);
	for (uint64_t i = 0; !rc && i < count; i++)
		model->page[first + i] = (oa + i * PAGE) | access | dirty;
	assert_true(rc || !(how & VTD_TABLES_SMALL) || walk(&model->tables, iova, PGTABLE_QUIET).page_lg2 == 12);
}

static void model_unmap(struct model *model, unsigned int first, unsigned int count, uint64_t random)
{
	unsigned int there = model_count(model, first, count, false);
	uint64_t iova = model->base + (uint64_t)first * PAGE;
	bool tell = random & 1;

	model_tell(model, first, count);
	model->whole = model->removes = true;
	assert_int_equal(vtd_tables_unmap(&model->tables, iova, model->last, tell ? model_told : NULL, model), 0);
	if (tell)
		assert_int_equal(model->told, there);
	memset(&model->page[first], 0, count * sizeof(model->page[0]));
	if (random & 2)
		reclaim(&model->tables);
}

static void model_write(struct model *model, unsigned int index)
{
	uint64_t address = model->base + (uint64_t)index * PAGE + 5, page = model->page[index], block;
	struct pgtable_result result = walk(&model->tables, address, UIOMMU_WRITE);

	if (!(page & UIOMMU_WRITE)) {
		assert_int_equal(result.reason, page ? UIOMMU_FAULT_PERMISSION : UIOMMU_FAULT_UNMAPPED);
		return;
	}
	assert_int_equal(result.reason, 0);
	assert_int_equal(result.oa, (page & ~UINT64_C(0xfff)) + 5);
	assert_int_equal(result.access & RW, page & RW);
	if (!(model->tables.pgtable.config.flags & UIOMMU_VTD_SECOND_AD))
		return;
	block = UINT64_C(1) << result.page_lg2;
	for (uint64_t i = 0; i < block; i += PAGE)
		*model_at(model, (address & ~(block - 1)) + i) |= MODEL_DIRTY;
}

static void model_read_dirty(struct model *model, unsigned int first, unsigned int count, bool clear)
{
	unsigned int there = model_count(model, first, count, true);

	model_tell(model, first, count);
	model->only_dirty = true;
	model->clears = clear;
	vtd_tables_read_dirty(&model->tables, model->base + (uint64_t)first * PAGE, model->last, clear, model_told, model);
	assert_int_equal(model->told, there);
}

static void model_iterate(struct model *model, unsigned int first, unsigned int count)
{
	model_tell(model, first, count);
	vtd_tables_iterate(&model->tables, model->base + (uint64_t)first * PAGE, model->last, model_told, model);
	assert_int_equal(model->told, model_count(model, first, count, false));
}

static void model_step(struct model *model)
{
	uint64_t random = random_number(&model->seed), more = random_number(&model->seed);
	unsigned int first = (unsigned int)(random >> 40) % MODEL_PAGES, count = model_length(random >> 16);

	if (count > MODEL_PAGES - first)
		count = MODEL_PAGES - first;
	switch (random % 8) {
	case 0:
		model_unmap(model, first, count, more);
		break;
	case 1:
		model_read_dirty(model, first, count, more & 1);
		break;
	case 2:
		model_iterate(model, first, count);
		break;
	case 3:
	case 4:
		for (unsigned int i = 0; i < 16; i++)
			model_write(model, first + (unsigned int)(more >> (2 * i)) % count);
		break;
	default:
		/* Where two tables of the level above meet, large pages fit. */
		if (more & 1)
			first &= ~((more & 2 ? 1U << 18 : 512U) - 1);
		model_map(model, first, count < MODEL_PAGES - first ? count : MODEL_PAGES - first, random_number(&model->seed));
		break;
	}
}

static void model_run(unsigned int levels, uint32_t flags, uint64_t base)
{
	struct model *model = calloc(1, sizeof(*model));
	unsigned int steps = scaled(OPERATIONS);

	assert_non_null(model);
	model->base = base;
	model->output_lg2 = 50;
	model->seed = 88172645463325252u + levels + flags;
	assert_int_equal(vtd_tables_init(&model->tables, levels, flags), 0);
	for (unsigned int i = 0; i < steps; i++) {
		model_step(model);
		if (i % 1000 == 0)
			model_iterate(model, 0, MODEL_PAGES);
		/* In waves. */
		if (i % 2000 == 1999)
			model_unmap(model, 0, MODEL_PAGES, i);
	}
	model_unmap(model, 0, MODEL_PAGES, 3);
	assert_int_equal(pages_word(model->tables.root)->number, 0);
	assert_null(model->tables.retired);
	assert_int_equal(model->tables.pages.taken, 1);
	vtd_tables_fini(&model->tables);
	free(model);
}

static void like_an_array(void **state)
{
	const uint64_t half = (uint64_t)MODEL_PAGES / 2 * PAGE;

	(void)state;
	model_run(4, ALL, (UINT64_C(1) << 39) - half);
	model_run(3, ALL, (UINT64_C(1) << 39) - 2 * half);
	model_run(5, ALL, (UINT64_C(1) << 48) - half);
	model_run(5, UIOMMU_VTD_SECOND_2M, (UINT64_C(1) << 57) - 2 * half);
	model_run(4, UIOMMU_VTD_SECOND_AD | UIOMMU_VTD_SECOND_EXECUTE, 0);
}

/* --- one at a time --- */

static int setup(void **state)
{
	*state = calloc(1, sizeof(struct vtd_tables));
	return vtd_tables_init(*state, 4, ALL);
}

static int teardown(void **state)
{
	vtd_tables_fini(*state);
	free(*state);
	return 0;
}

static void bad_values(void **state)
{
	struct vtd_tables *tables = *state, other;

	assert_int_equal(vtd_tables_init(&other, 2, 0), -EINVAL);
	assert_int_equal(vtd_tables_init(&other, 6, 0), -EINVAL);
	assert_int_equal(vtd_tables_init(&other, 256 + 4, 0), -EINVAL);
	assert_int_equal(vtd_tables_map(tables, 0x1000, 0, 0, RW), -EINVAL);
	assert_int_equal(vtd_tables_map(tables, 0, 0, 0, RW), -EINVAL);
	assert_int_equal(vtd_tables_map(tables, 0x1000, 0x800, 0, RW), -EINVAL);
	assert_int_equal(vtd_tables_map(tables, 0x1800, 0x1000, 0, RW), -EINVAL);
	assert_int_equal(vtd_tables_map(tables, 0x1000, 0x1000, 0x800, RW), -EINVAL);
	assert_int_equal(vtd_tables_map(tables, 0x1000, 0x1000, 0, 0), -EINVAL);
	assert_int_equal(vtd_tables_map(tables, 0x1000, 0x1000, 0, UIOMMU_EXEC), -EINVAL);
	assert_int_equal(vtd_tables_map(tables, 0x1000, 0x1000, 0, 8 | RW), -EINVAL);
	assert_int_equal(vtd_tables_map(tables, (UINT64_C(1) << 48) - PAGE, 2 * PAGE, 0, RW), -EINVAL);
	assert_int_equal(vtd_tables_map(tables, UINT64_C(1) << 48, PAGE, 0, RW), -EINVAL);
	assert_int_equal(vtd_tables_map(tables, UINT64_MAX - PAGE + 1, PAGE, 0, RW), -EINVAL);
	assert_int_equal(vtd_tables_map(tables, 0, 2 * PAGE, (UINT64_C(1) << 52) - PAGE, RW), -EINVAL);
	assert_int_equal(vtd_tables_map(tables, 0, 2 * PAGE, -(uint64_t)PAGE, RW), -EINVAL);
	assert_int_equal(vtd_tables_unmap(tables, 0, UINT64_MAX, NULL, NULL), -EINVAL);
	assert_int_equal(vtd_tables_unmap(tables, 0x1000, 0xfff, NULL, NULL), -EINVAL);
	assert_int_equal(vtd_tables_unmap(tables, 0x1000, 0x17ff, NULL, NULL), -EINVAL);
	assert_int_equal(look(tables)->count, 0);
	assert_int_equal(vtd_tables_map(tables, (UINT64_C(1) << 48) - PAGE, PAGE, (UINT64_C(1) << 52) - PAGE, RW), 0);
	expect_leaf(&look(tables)->leaf[0], (UINT64_C(1) << 48) - PAGE, PAGE, (UINT64_C(1) << 52) - PAGE);
}

static void the_largest_pages_that_fit(void **state)
{
	struct vtd_tables *tables = *state;
	struct leaves *leaves;

	assert_int_equal(vtd_tables_map(tables, G1 - M2 - PAGE, PAGE + M2 + G1 + M2 + PAGE, 5 * G1 - M2 - PAGE, RW), 0);
	leaves = look(tables);
	assert_int_equal(leaves->count, 5);
	expect_leaf(&leaves->leaf[0], G1 - M2 - PAGE, PAGE, 5 * G1 - M2 - PAGE);
	expect_leaf(&leaves->leaf[1], G1 - M2, M2, 5 * G1 - M2);
	expect_leaf(&leaves->leaf[2], G1, G1, 5 * G1);
	expect_leaf(&leaves->leaf[3], 2 * G1, M2, 6 * G1);
	expect_leaf(&leaves->leaf[4], 2 * G1 + M2, PAGE, 6 * G1 + M2);
	/* Output addresses decide, too. */
	assert_int_equal(vtd_tables_map(tables, 8 * G1, G1, M2, RW), 0);
	assert_int_equal(look(tables)->count, 5 + 512);
	assert_int_equal(vtd_tables_map(tables, 9 * G1, M2, PAGE, RW), 0);
	assert_int_equal(look(tables)->count, 5 + 512 + 512);
}

static void nothing_is_mapped_twice(void **state)
{
	struct vtd_tables *tables = *state;
	unsigned int count;

	assert_int_equal(vtd_tables_map(tables, G1, G1, 0, RW), 0);
	assert_int_equal(vtd_tables_map(tables, 3 * G1 + 7 * PAGE, PAGE, 0, RW), 0);
	count = look(tables)->count;
	assert_int_equal(vtd_tables_map(tables, 0, 4 * G1, 0, RW), -EEXIST);
	assert_int_equal(vtd_tables_map(tables, 2 * G1, 2 * G1, PAGE, RW), -EEXIST);
	assert_int_equal(vtd_tables_map(tables, 2 * G1 - PAGE, PAGE, 0, RW), -EEXIST);
	assert_int_equal(vtd_tables_map(tables, 3 * G1, M2, 0, RW), -EEXIST);
	assert_int_equal(vtd_tables_map(tables, 3 * G1, 8 * PAGE, 0, RW), -EEXIST);
	assert_int_equal(look(tables)->count, count);
	assert_int_equal(vtd_tables_map(tables, 3 * G1, 7 * PAGE, 0, RW), 0);
	assert_int_equal(vtd_tables_map(tables, 3 * G1 + 8 * PAGE, 504 * PAGE, 0, RW), 0);
}

static void pieces_inherit(void **state)
{
	struct vtd_tables *tables = *state;
	struct leaves *leaves;

	assert_int_equal(vtd_tables_map(tables, G1, G1, 4 * G1, RW), 0);
	assert_int_equal(walk(tables, G1, UIOMMU_WRITE).reason, 0);
	assert_int_equal(vtd_tables_unmap(tables, G1 + M2 + PAGE, G1 + M2 + 2 * PAGE - 1, NULL, NULL), 0);
	leaves = look(tables);
	assert_int_equal(leaves->count, 511 + 511);
	for (unsigned int i = 0; i < leaves->count; i++)
		assert_true(leaves->leaf[i].dirty);
	expect_leaf(&leaves->leaf[0], G1, M2, 4 * G1);
	expect_leaf(&leaves->leaf[1], G1 + M2, PAGE, 4 * G1 + M2);
	expect_leaf(&leaves->leaf[2], G1 + M2 + 2 * PAGE, PAGE, 4 * G1 + M2 + 2 * PAGE);
	expect_leaf(&leaves->leaf[512], G1 + 2 * M2, M2, 4 * G1 + 2 * M2);
	assert_int_equal(walk(tables, G1 + M2 + PAGE, 0).reason, UIOMMU_FAULT_UNMAPPED);
	assert_int_equal(walk(tables, G1 + M2 + 2 * PAGE + 5, UIOMMU_WRITE).oa, 4 * G1 + M2 + 2 * PAGE + 5);
}

static void dirty_pages_in_part(void **state)
{
	struct vtd_tables *tables = *state;
	struct leaves *leaves;

	assert_int_equal(vtd_tables_map(tables, M2, 2 * M2, 0, RW), 0);
	assert_int_equal(look_dirty(tables, 0, UINT64_MAX, true)->count, 0);
	assert_int_equal(walk(tables, M2, UIOMMU_READ).reason, 0);
	assert_int_equal(walk(tables, M2, UIOMMU_WRITE | PGTABLE_QUIET).reason, 0);
	assert_int_equal(look_dirty(tables, 0, UINT64_MAX, true)->count, 0);
	assert_int_equal(walk(tables, M2, UIOMMU_WRITE).reason, 0);
	/* A part of it does not clear it. */
	leaves = look_dirty(tables, M2, 2 * M2 - PAGE - 1, true);
	assert_int_equal(leaves->count, 1);
	expect_leaf(&leaves->leaf[0], M2, M2, 0);
	assert_int_equal(look_dirty(tables, 2 * M2, UINT64_MAX, true)->count, 0);
	assert_int_equal(look_dirty(tables, M2, 2 * M2 - 1, false)->count, 1);
	assert_int_equal(look_dirty(tables, M2, 2 * M2 - 1, true)->count, 1);
	assert_int_equal(look_dirty(tables, 0, UINT64_MAX, true)->count, 0);
	/* Beyond the width. */
	assert_int_equal(look_dirty(tables, UINT64_C(1) << 48, UINT64_MAX, true)->count, 0);
}

/* Without accessed and dirty bits nothing is ever written by a walk. */
static void tables_stay_as_they_are(void **state)
{
	struct vtd_tables tables;
	uint64_t before;

	(void)state;
	assert_int_equal(vtd_tables_init(&tables, 3, 0), 0);
	assert_int_equal(vtd_tables_map(&tables, 0, PAGE, PAGE, RW), 0);
	before = tables.root[0];
	assert_int_equal(walk(&tables, 0, UIOMMU_WRITE).oa, PAGE);
	assert_int_equal(tables.root[0], before);
	assert_int_equal(before & BIT64(8), 0);
	assert_int_equal(look_dirty(&tables, 0, UINT64_MAX, true)->count, 0);
	vtd_tables_fini(&tables);
}

/* Whole tables go at once, but readers may be in them for a while. */
static void retired_tables_are_intact(void **state)
{
	struct vtd_tables *tables = *state;
	uint64_t *retired, *next, free = tables->pages.free;
	unsigned int count = 0, intact = 0;

	assert_int_equal(vtd_tables_map(tables, 0, 4 * M2, PAGE, RW), 0);
	assert_int_equal(tables->pages.free, free - 6);
	assert_int_equal(vtd_tables_unmap(tables, 0, 4 * M2 - 1, NULL, NULL), 0);
	retired = vtd_tables_retired(tables);
	assert_null(vtd_tables_retired(tables));
	for (next = retired; next; next = pages_word(next)->page, count++)
		intact += next[0] && next[511];
	assert_int_equal(count, 6);
	assert_int_equal(intact, 4); /* the others are those above */
	assert_int_equal(tables->pages.free, free - 6);
	assert_int_equal(vtd_tables_map(tables, 0, 4 * M2, PAGE, RW), 0);
	assert_int_equal(tables->pages.free, free - 12);
	vtd_tables_reclaim(tables, retired);
	assert_int_equal(tables->pages.free, free - 6);
}

static void pages_are_apart(void **state)
{
	enum { PAGES = 3000 };
	static uint64_t *page[PAGES];
	struct pages pages;

	(void)state;
	pages_init(&pages);
	for (unsigned int round = 0; round < 2; round++) {
		for (unsigned int i = 0; i < PAGES; i++) {
			assert_int_equal(pages_reserve(&pages, 1), 0);
			page[i] = pages_take(&pages);
			assert_int_equal((uintptr_t)page[i] % PAGES_SIZE, 0);
			page[i][0] = page[i][511] = pages_word(page[i])->number = i;
		}
		for (unsigned int i = 0; i < PAGES; i++) {
			unsigned int which = i % 2 ? i : PAGES - 2 - i;

			assert_true(page[which][0] == which && page[which][511] == which &&
				    pages_word(page[which])->number == which);
			pages_free(&pages, page[which]);
		}
		assert_true(cds_list_empty(&pages.full));
		assert_int_equal(pages.empty, 2);
		assert_true(pages.free <= 1024);
	}
	assert_int_equal(pages_reserve(&pages, 2000), 0);
	assert_true(pages.free >= 2000);
	pages_fini(&pages);
	assert_int_equal(pages.free, 0);
}

/* --- races --- */

enum { RACE_PAGES = 1024, THREADS = 2, ROUNDS = 300 };

static struct race {
	struct vtd_tables tables;
	uint64_t *memory; /* RACE_PAGES pages; output addresses are those of this process */
	uint64_t copy[RACE_PAGES];
	unsigned int copied;
	unsigned int walks;
	bool stop;
} race;

static void race_wait(unsigned int walks)
{
	unsigned int start = __atomic_load_n(&race.walks, __ATOMIC_RELAXED);

	while (__atomic_load_n(&race.walks, __ATOMIC_RELAXED) - start < walks)
		sched_yield();
}

#define RACE_IOVA (UINT64_C(5) << 30)

static uint64_t *race_word(uint64_t address)
{
	return &race.memory[(address - RACE_IOVA) / PAGE * (PAGE / sizeof(uint64_t))];
}

/* A device: what it writes it has asked for before, and it forgets the answer when it leaves. */
static void *race_write(void *opaque)
{
	uint64_t seed = 88172645463325252u + (uintptr_t)opaque, address;
	struct pgtable_result result;

	rcu_register();
	while (!__atomic_load_n(&race.stop, __ATOMIC_RELAXED)) {
		/* The first page of each 2M is the one that comes and goes. */
		address = RACE_IOVA + (random_number(&seed) >> 8) % RACE_PAGES * PAGE;
		rcu_enter();
		pgtable_translate(&race.tables.pgtable, address, UIOMMU_WRITE, &result);
		if (!result.reason)
			__atomic_fetch_add((uint64_t *)(uintptr_t)result.oa, 1, __ATOMIC_RELAXED);
		rcu_leave();
		__atomic_fetch_add(&race.walks, 1, __ATOMIC_RELAXED);
		if (result.reason && (address & (M2 - 1)))
			abort();
		if (!result.reason && result.oa != (uintptr_t)race_word(address))
			abort();
	}
	rcu_unregister();
	return NULL;
}

struct dirty_pages {
	unsigned int count;
	uint64_t page[RACE_PAGES];
};

static void race_dirty(void *opaque, const struct vtd_leaf *leaf)
{
	struct dirty_pages *pages = opaque;

	for (uint64_t address = leaf->first; address <= leaf->last; address += PAGE)
		pages->page[pages->count++] = address;
}

/* Migration: look, wait for those who may still write to what was dirty, copy it. */
static void race_copy(void)
{
	static struct dirty_pages pages;

	pages.count = 0;
	vtd_tables_read_dirty(&race.tables, RACE_IOVA, RACE_IOVA + (uint64_t)RACE_PAGES * PAGE - 1, true, race_dirty, &pages);
	rcu_wait();
	for (unsigned int i = 0; i < pages.count; i++)
		race.copy[(pages.page[i] - RACE_IOVA) / PAGE] = __atomic_load_n(race_word(pages.page[i]), __ATOMIC_RELAXED);
	race.copied += pages.count;
}

/* Take the first page out, which splits what is large, with its dirty bit as the last word; and put it back. */
static void race_split(unsigned int round)
{
	uint64_t iova = RACE_IOVA + round % (RACE_PAGES / 512) * M2;
	static struct dirty_pages pages;

	pages.count = 0;
	assert_int_equal(vtd_tables_unmap(&race.tables, iova, iova + PAGE - 1, race_dirty, &pages), 0);
	rcu_wait();
	for (unsigned int i = 0; i < pages.count; i++)
		race.copy[(iova - RACE_IOVA) / PAGE] = __atomic_load_n(race_word(iova), __ATOMIC_RELAXED);
	reclaim(&race.tables);
	assert_int_equal(vtd_tables_map(&race.tables, iova, PAGE, (uintptr_t)race_word(iova), RW), 0);
}

/* Back to large pages, while nobody knows whether they are there. */
static void race_run(unsigned int rounds)
{
	pthread_t thread[THREADS];

	race.stop = false;
	assert_int_equal(vtd_tables_map(&race.tables, RACE_IOVA, (uint64_t)RACE_PAGES * PAGE, (uintptr_t)race.memory, RW), 0);
	for (uintptr_t i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&thread[i], NULL, race_write, (void *)i), 0);
	for (unsigned int round = 0; round < rounds; round++) {
		race_wait(10 + round % 100);
		race_copy();
		if (round > rounds / 2)
			race_split(round);
	}
	__atomic_store_n(&race.stop, true, __ATOMIC_RELAXED);
	for (unsigned int i = 0; i < THREADS; i++)
		pthread_join(thread[i], NULL);
	race_copy();
	for (unsigned int i = 0; i < RACE_PAGES; i++)
		assert_int_equal(race.copy[i], *race_word(RACE_IOVA + (uint64_t)i * PAGE));
	assert_int_equal(vtd_tables_unmap(&race.tables, RACE_IOVA, RACE_IOVA + (uint64_t)RACE_PAGES * PAGE - 1, NULL, NULL), 0);
	reclaim(&race.tables);
}

static void no_write_is_lost(void **state)
{
	(void)state;
	race.memory = aligned_alloc(M2, RACE_PAGES * (size_t)PAGE);
	assert_non_null(race.memory);
	memset(race.memory, 0, RACE_PAGES * (size_t)PAGE);
	assert_int_equal(vtd_tables_init(&race.tables, 4, ALL), 0);
	for (unsigned int i = 0; i < 10; i++)
		race_run(scaled(ROUNDS / 10));
	assert_true(race.copied > RACE_PAGES);
	vtd_tables_fini(&race.tables);
	free(race.memory);
}

enum { HOT_PAGE = 5 }; /* beside page 0 */

#define HOT_IOVA (RACE_IOVA + HOT_PAGE * PAGE)

static void *hot_write(void *opaque)
{
	const uint64_t address[] = {RACE_IOVA, HOT_IOVA};
	struct pgtable_result result;

	(void)opaque;
	rcu_register();
	for (unsigned int i = 0; !__atomic_load_n(&race.stop, __ATOMIC_RELAXED); i++) {
		rcu_enter();
		pgtable_translate(&race.tables.pgtable, address[i % 2], UIOMMU_WRITE, &result);
		if (!result.reason)
			__atomic_fetch_add((uint64_t *)(uintptr_t)result.oa, 1, __ATOMIC_RELAXED);
		rcu_leave();
		__atomic_fetch_add(&race.walks, 1, __ATOMIC_RELAXED);
	}
	rcu_unregister();
	return NULL;
}

static uint64_t hot_word(uint64_t address)
{
	return __atomic_load_n(race_word(address), __ATOMIC_RELAXED);
}

static void hot_told(void *opaque, const struct vtd_leaf *leaf)
{
	bool *dirty = opaque;

	*dirty |= leaf->dirty;
}

static void hot_map(bool large)
{
	uint64_t oa = (uintptr_t)race.memory;

	if (large) {
		assert_int_equal(vtd_tables_map(&race.tables, RACE_IOVA, M2, oa, RW), 0);
	} else {
		assert_int_equal(vtd_tables_map(&race.tables, RACE_IOVA, PAGE, oa, RW), 0);
		assert_int_equal(vtd_tables_map(&race.tables, HOT_IOVA, PAGE, oa + HOT_PAGE * PAGE, RW), 0);
	}
}

/* Clean pages are met by the first writes just when one goes, or is split. Its dirty bit is in what is told, or in the pieces. */
static void hot_round(unsigned int round, uint64_t *seed)
{
	uint64_t gone = hot_word(RACE_IOVA), stays = hot_word(HOT_IOVA);
	bool gone_dirty = false, stays_dirty = false;

	hot_map(round % 2);
	for (unsigned int i = (unsigned int)(random_number(seed) >> 32) % 512; i--;)
		__asm__ volatile("");
	assert_int_equal(vtd_tables_unmap(&race.tables, RACE_IOVA, RACE_IOVA + PAGE - 1, hot_told, &gone_dirty), 0);
	rcu_wait();
	assert_true(gone_dirty || hot_word(RACE_IOVA) == gone);
	stays -= hot_word(HOT_IOVA);
	vtd_tables_read_dirty(&race.tables, HOT_IOVA, HOT_IOVA + PAGE - 1, false, hot_told, &stays_dirty);
	assert_true(stays_dirty || !stays);
	race.copied += gone_dirty;
	assert_int_equal(vtd_tables_unmap(&race.tables, RACE_IOVA, RACE_IOVA + M2 - 1, NULL, NULL), 0);
	rcu_wait();
	reclaim(&race.tables);
}

static void what_goes_is_told(void **state)
{
	uint64_t seed = 88172645463325252u;
	unsigned int rounds = scaled(10000), round;
	pthread_t thread;

	(void)state;
	race.stop = false;
	race.copied = 0;
	race.memory = aligned_alloc(M2, M2);
	assert_non_null(race.memory);
	memset(race.memory, 0, M2);
	assert_int_equal(vtd_tables_init(&race.tables, 4, ALL), 0);
	assert_int_equal(pthread_create(&thread, NULL, hot_write, NULL), 0);
	race_wait(1);
	/* Until both have been seen, or it is not believable any more that they will. */
	for (round = 0; round < rounds || ((!race.copied || race.copied == round) && round < 1000 * rounds); round++)
		hot_round(round, &seed);
	__atomic_store_n(&race.stop, true, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
	assert_true(race.copied > 0 && race.copied < round);
	vtd_tables_fini(&race.tables);
	free(race.memory);
}

#define CHURN_OFFSET (UINT64_C(1) << 45)
#define CHURN_SPAN (4 * G1)

/* What is found is always what was mapped. */
static void *churn_read(void *opaque)
{
	uint64_t seed = 88172645463325252u + (uintptr_t)opaque, address;
	struct pgtable_result result;

	rcu_register();
	while (!__atomic_load_n(&race.stop, __ATOMIC_RELAXED)) {
		uint64_t random = random_number(&seed);

		address = (random >> 8) % CHURN_SPAN;
		rcu_enter();
		pgtable_translate(&race.tables.pgtable, address, random & RW, &result);
		rcu_leave();
		__atomic_fetch_add(&race.walks, 1, __ATOMIC_RELAXED);
		if (result.reason ? result.reason != UIOMMU_FAULT_UNMAPPED : result.oa != address + CHURN_OFFSET)
			abort();
	}
	rcu_unregister();
	return NULL;
}

static void ignore(void *opaque, const struct vtd_leaf *leaf)
{
	(void)opaque;
	assert_int_equal(leaf->oa, leaf->first + CHURN_OFFSET);
}

static void churn_step(uint64_t *seed)
{
	static const uint64_t sizes[] = {PAGE, 16 * PAGE, M2, 3 * M2 + 5 * PAGE, G1, G1 + M2};
	uint64_t random = random_number(seed), size = sizes[(random >> 4) % ARRAY_SIZE(sizes)];
	uint64_t first = (random >> 8) % (CHURN_SPAN - size) & ~(random & 2 ? M2 - 1 : (uint64_t)PAGE - 1);

	if (random & 1) {
		vtd_tables_map(&race.tables, first, size, first + CHURN_OFFSET, RW);
		return;
	}
	assert_int_equal(vtd_tables_unmap(&race.tables, first, first + size - 1, random & 4 ? ignore : NULL, NULL), 0);
	if (random & 8) {
		uint64_t *retired = vtd_tables_retired(&race.tables);

		rcu_wait();
		vtd_tables_reclaim(&race.tables, retired);
	}
}

static void walks_find_what_is_mapped(void **state)
{
	uint64_t seed = 88172645463325252u;
	pthread_t thread[THREADS];
	unsigned int steps = scaled(2000);

	(void)state;
	race.stop = false;
	assert_int_equal(vtd_tables_init(&race.tables, 4, ALL), 0);
	for (uintptr_t i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&thread[i], NULL, churn_read, (void *)i), 0);
	for (unsigned int i = 0; i < steps; i++)
		churn_step(&seed);
	race_wait(1);
	__atomic_store_n(&race.stop, true, __ATOMIC_RELAXED);
	for (unsigned int i = 0; i < THREADS; i++)
		pthread_join(thread[i], NULL);
	vtd_tables_fini(&race.tables);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pages_are_apart),
		cmocka_unit_test_setup_teardown(bad_values, setup, teardown),
		cmocka_unit_test_setup_teardown(the_largest_pages_that_fit, setup, teardown),
		cmocka_unit_test_setup_teardown(nothing_is_mapped_twice, setup, teardown),
		cmocka_unit_test_setup_teardown(pieces_inherit, setup, teardown),
		cmocka_unit_test_setup_teardown(dirty_pages_in_part, setup, teardown),
		cmocka_unit_test(tables_stay_as_they_are),
		cmocka_unit_test_setup_teardown(retired_tables_are_intact, setup, teardown),
		cmocka_unit_test(like_an_array),
		cmocka_unit_test(no_write_is_lost),
		cmocka_unit_test(what_goes_is_told),
		cmocka_unit_test(walks_find_what_is_mapped),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
