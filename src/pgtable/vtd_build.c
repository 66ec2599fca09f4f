/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * VT-d second-stage tables, built (VT-d 4.1, 3.7 and 9.8).
 *
 * Walks run meanwhile. What they may see:
 *  - A table is complete when a release store links it; what it leads to is, too.
 *  - Only walks set dirty bits, by compare-and-swap, and only in leaves. Accessed bits are set from the start. So entries that lead
 *    to tables are changed by nobody else, and of leaves all but the dirty bit is.
 *  - A leaf whose dirty bit counts goes by an exchange: it is set before, and seen, or the walk finds that there is nothing.
 *  - A table that has been unlinked stays as it is until nobody can be in it.
 *
 * Table entries permit everything; leaves decide.
 */
#include "pgtable/vtd_build.h"

#include <errno.h>
#include <string.h>

#include "util/bits.h"
#include "util/util.h"

#define PERMISSIONS GENMASK64(2, 0)
#define PAGE_SIZE_BIT BIT64(7)
#define ACCESSED BIT64(8)
#define DIRTY BIT64(9)
#define ADDRESS GENMASK64(51, 12)

enum { ENTRIES = 512, OUTPUT_LG2 = 52 };

_Static_assert(PERMISSIONS == (UIOMMU_READ | UIOMMU_WRITE | UIOMMU_EXEC), "permissions are the API's bits");

/* What an entry of @level spans: all but one. */
static uint64_t span_mask(unsigned int level)
{
	return low_mask(12 + 9 * level);
}

static unsigned int index_in(unsigned int level, uint64_t iova)
{
	return iova >> (12 + 9 * level) & (ENTRIES - 1);
}

static bool is_leaf(unsigned int level, uint64_t entry)
{
	return !level || entry & PAGE_SIZE_BIT;
}

static uint64_t load(const uint64_t *entry)
{
	return __atomic_load_n(entry, __ATOMIC_ACQUIRE);
}

static void store(uint64_t *entry, uint64_t value)
{
	__atomic_store_n(entry, value, __ATOMIC_RELEASE);
}

static uint64_t *table_of(uint64_t entry)
{
	return (uint64_t *)(uintptr_t)(entry & ADDRESS);
}

static uint64_t table_entry(const struct vtd_tables *tables, const uint64_t *table)
{
	uint64_t accessed = tables->pgtable.config.flags & UIOMMU_VTD_SECOND_AD ? ACCESSED : 0;

	return (uintptr_t)table | PERMISSIONS | accessed;
}

static unsigned int top_of(const struct vtd_tables *tables)
{
	return tables->pgtable.top[0];
}

/* A part of [first, last] that one entry is responsible for. There is none any more if it begins behind the last one. */
struct part {
	uint64_t first;
	uint64_t last;
	unsigned int index;
	bool whole;
};

static struct part part_at(unsigned int level, uint64_t first, uint64_t last)
{
	uint64_t mask = span_mask(level), end = first | mask;

	return (struct part){first, min_u64(end, last), index_in(level, first), !(first & mask) && end <= last};
}

static struct part part_after(unsigned int level, const struct part *part, uint64_t last)
{
	return part_at(level, part->last + 1, last);
}

/* --- map --- */

/* What is to be mapped: output addresses run in parallel. */
struct mapping {
	uint64_t offset; /* from input to output addresses, modulo 2^64 */
	uint64_t bits; /* of the leaf */
	bool small; /* with the smallest pages */
};

static bool fits(const struct vtd_tables *tables, unsigned int level, const struct part *part, const struct mapping *mapping)
{
	uint32_t flags = tables->pgtable.config.flags;

	if (!level)
		return true;
	if (mapping->small || level > 2 || !(flags & (level == 2 ? UIOMMU_VTD_SECOND_1G : UIOMMU_VTD_SECOND_2M)))
		return false;
	return part->whole && !((part->first + mapping->offset) & span_mask(level));
}

static bool is_empty(const uint64_t *entries, uint64_t count)
{
	uint64_t all = 0;

	for (uint64_t i = 0; i < count; i++)
		all |= __atomic_load_n(&entries[i], __ATOMIC_RELAXED);
	return !all;
}

/* Is nothing mapped there, and how many tables are missing? @table may be missing, too. */
static int plan(const struct vtd_tables *tables, const uint64_t *table, unsigned int level, uint64_t first, uint64_t last,
		const struct mapping *mapping, uint64_t *missing)
{
	int rc = 0;

	if (!level) {
		if (!table)
			return 0;
		return is_empty(table + index_in(0, first), ((last - first) >> 12) + 1) ? 0 : -EEXIST;
	}
	for (struct part part = part_at(level, first, last); part.first <= last; part = part_after(level, &part, last)) {
		uint64_t entry = table ? load(&table[part.index]) : 0;

		if (entry && is_leaf(level, entry))
			return -EEXIST;
		if (!entry && fits(tables, level, &part, mapping))
			continue;
		*missing += !entry;
		rc = plan(tables, entry ? table_of(entry) : NULL, level - 1, part.first, part.last, mapping, missing);
		if (rc)
			return rc;
	}
	return 0;
}

/* Entries of level 0 from @first to @last, in a table that walks see. */
static void fill_linked(uint64_t *entries, uint64_t count, uint64_t value)
{
	for (uint64_t i = 0; i < count; i++)
		store(&entries[i], value + (i << 12));
}

/* The same in one that they don't see yet. */
static void fill_fresh(uint64_t *entries, uint64_t count, uint64_t value)
{
	for (uint64_t i = 0; i < count; i++)
		entries[i] = value + (i << 12);
}

static void fill(struct vtd_tables *tables, uint64_t *table, unsigned int level, bool fresh, uint64_t first, uint64_t last,
		 const struct mapping *mapping);

/* Everything in it that is not to be mapped becomes 0. */
static uint64_t *fresh_table(struct vtd_tables *tables, unsigned int level, uint64_t first, uint64_t last,
			     const struct mapping *mapping)
{
	unsigned int low = index_in(level, first), high = index_in(level, last);
	uint64_t *table = pages_take(&tables->pages);

	memset(table, 0, low * sizeof(*table));
	memset(table + high + 1, 0, (ENTRIES - 1 - high) * sizeof(*table));
	pages_word(table)->number = 0;
	fill(tables, table, level, true, first, last, mapping);
	return table;
}

static void fill(struct vtd_tables *tables, uint64_t *table, unsigned int level, bool fresh, uint64_t first, uint64_t last,
		 const struct mapping *mapping)
{
	union pages_word *word = pages_word(table);
	uint64_t count = ((last - first) >> 12) + 1;

	if (!level) {
		(fresh ? fill_fresh : fill_linked)(table + index_in(0, first), count, (first + mapping->offset) | mapping->bits);
		word->number += count;
		return;
	}
	for (struct part part = part_at(level, first, last); part.first <= last; part = part_after(level, &part, last)) {
		uint64_t entry = fresh ? 0 : load(&table[part.index]);

		if (entry) {
			fill(tables, table_of(entry), level - 1, false, part.first, part.last, mapping);
			continue;
		}
		if (fits(tables, level, &part, mapping))
			entry = (part.first + mapping->offset) | mapping->bits | PAGE_SIZE_BIT;
		else
			entry = table_entry(tables, fresh_table(tables, level - 1, part.first, part.last, mapping));
		store(&table[part.index], entry);
		word->number++;
	}
}

static bool in_range(const struct vtd_tables *tables, uint64_t first, uint64_t last)
{
	return !((first | (last + 1)) & (PAGES_SIZE - 1)) && first < last && !(last >> tables->pgtable.config.input_lg2[0]);
}

int vtd_tables_map(struct vtd_tables *tables, uint64_t iova, uint64_t length, uint64_t oa, unsigned int flags)
{
	struct mapping mapping = {.offset = oa - iova, .bits = flags & PERMISSIONS, .small = flags & VTD_TABLES_SMALL};
	uint64_t last = iova + length - 1, missing = 0;
	bool executes = tables->pgtable.config.flags & UIOMMU_VTD_SECOND_EXECUTE;
	int rc;

	if (!in_range(tables, iova, last) || (oa & (PAGES_SIZE - 1)) || oa + length - 1 < oa || (oa + length - 1) >> OUTPUT_LG2)
		return -EINVAL;
	if (flags & ~(unsigned int)(PERMISSIONS | VTD_TABLES_SMALL | VTD_TABLES_DIRTY) ||
	    !(flags & (executes ? PERMISSIONS : UIOMMU_READ | UIOMMU_WRITE)))
		return -EINVAL;
	if (tables->pgtable.config.flags & UIOMMU_VTD_SECOND_AD)
		mapping.bits |= ACCESSED | (flags & VTD_TABLES_DIRTY ? DIRTY : 0);
	rc = plan(tables, tables->root, top_of(tables), iova, last, &mapping, &missing);
	if (!rc)
		rc = pages_reserve(&tables->pages, missing);
	if (!rc)
		fill(tables, tables->root, top_of(tables), false, iova, last, &mapping);
	return rc;
}

/* --- unmap --- */

static void retire(struct vtd_tables *tables, uint64_t *table)
{
	pages_word(table)->page = tables->retired;
	tables->retired = table;
}

/* With all tables that it leads to. */
static void retire_all(struct vtd_tables *tables, uint64_t *table, unsigned int level)
{
	for (unsigned int i = 0; level && i < ENTRIES; i++) {
		uint64_t entry = load(&table[i]);

		if (entry && !is_leaf(level, entry))
			retire_all(tables, table_of(entry), level - 1);
	}
	retire(tables, table);
}

/* A table instead of the large page in @entry. A page has been reserved. */
static void split(struct vtd_tables *tables, uint64_t *entry, unsigned int level)
{
	uint64_t *table = pages_take(&tables->pages), old = load(entry);
	uint64_t size_bit = level > 1 ? PAGE_SIZE_BIT : 0;

	pages_word(table)->number = ENTRIES;
	do {
		for (uint64_t i = 0; i < ENTRIES; i++)
			table[i] = ((old & ~PAGE_SIZE_BIT) + i * (span_mask(level - 1) + 1)) | size_bit;
		/* A walk that sets the dirty bit is before this, and its bit is inherited, or goes on into the table. */
	} while (!__atomic_compare_exchange_n(entry, &old, table_entry(tables, table), false, __ATOMIC_RELEASE, __ATOMIC_ACQUIRE));
}

/* See to it that no page has @iova inside: that it begins there, if it has it. */
static int split_at(struct vtd_tables *tables, uint64_t iova)
{
	uint64_t *table = tables->root;

	for (unsigned int level = top_of(tables); level && iova & span_mask(level); level--) {
		uint64_t *entry = &table[index_in(level, iova)], value = load(entry);

		if (!value)
			return 0;
		if (is_leaf(level, value)) {
			if (pages_reserve(&tables->pages, 1))
				return -ENOMEM;
			split(tables, entry, level);
		}
		table = table_of(load(entry));
	}
	return 0;
}

static void tell(const struct part *part, unsigned int level, uint64_t entry, vtd_leaf_fn *visit, void *opaque)
{
	uint64_t mask = span_mask(level);
	struct vtd_leaf leaf = {
		.first = part->first & ~mask,
		.last = part->first | mask,
		.oa = entry & ADDRESS & ~mask,
		.access = entry & PERMISSIONS,
		.dirty = entry & DIRTY,
	};

	visit(opaque, &leaf);
}

/* If nobody wants to know, its dirty bit does not count. */
static void remove_leaf(uint64_t *entry, const struct part *part, unsigned int level, vtd_leaf_fn *gone, void *opaque)
{
	if (gone)
		tell(part, level, __atomic_exchange_n(entry, 0, __ATOMIC_ACQ_REL), gone, opaque);
	else
		store(entry, 0);
}

static void unmap(struct vtd_tables *tables, uint64_t *table, unsigned int level, uint64_t first, uint64_t last, vtd_leaf_fn *gone,
		  void *opaque);

/* False if something is left in the table that @entry leads to. */
static bool unmap_below(struct vtd_tables *tables, uint64_t *entry, const struct part *part, unsigned int level, vtd_leaf_fn *gone,
			void *opaque)
{
	uint64_t *table = table_of(load(entry));

	if (part->whole && !gone) {
		store(entry, 0);
		retire_all(tables, table, level - 1);
		return true;
	}
	unmap(tables, table, level - 1, part->first, part->last, gone, opaque);
	if (pages_word(table)->number)
		return false;
	store(entry, 0);
	retire(tables, table);
	return true;
}

static void unmap(struct vtd_tables *tables, uint64_t *table, unsigned int level, uint64_t first, uint64_t last, vtd_leaf_fn *gone,
		  void *opaque)
{
	for (struct part part = part_at(level, first, last); part.first <= last; part = part_after(level, &part, last)) {
		uint64_t *entry = &table[part.index], value = load(entry);

		if (!value)
			continue;
		if (is_leaf(level, value))
			remove_leaf(entry, &part, level, gone, opaque);
		else if (!unmap_below(tables, entry, &part, level, gone, opaque))
			continue;
		pages_word(table)->number--;
	}
}

int vtd_tables_unmap(struct vtd_tables *tables, uint64_t first, uint64_t last, vtd_leaf_fn *gone, void *opaque)
{
	int rc;

	if (!in_range(tables, first, last))
		return -EINVAL;
	rc = split_at(tables, first);
	if (!rc && !((last + 1) >> tables->pgtable.config.input_lg2[0]))
		rc = split_at(tables, last + 1);
	if (!rc)
		unmap(tables, tables->root, top_of(tables), first, last, gone, opaque);
	return rc;
}

uint64_t *vtd_tables_retired(struct vtd_tables *tables)
{
	uint64_t *retired = tables->retired;

	tables->retired = NULL;
	return retired;
}

void vtd_tables_reclaim(struct vtd_tables *tables, uint64_t *retired)
{
	uint64_t *next;

	for (; retired; retired = next) {
		next = pages_word(retired)->page;
		pages_free(&tables->pages, retired);
	}
}

/* --- look --- */

struct visit {
	vtd_leaf_fn *fn;
	void *opaque;
	bool dirty; /* only those */
	bool clear;
};

static void visit_leaf(const struct visit *visit, uint64_t *entry, uint64_t value, const struct part *part, unsigned int level)
{
	if (visit->dirty && !(value & DIRTY))
		return;
	/* What was written before whoever set the bit lost it is there to be read afterwards. */
	if (visit->clear && part->whole)
		__atomic_fetch_and(entry, ~DIRTY, __ATOMIC_ACQ_REL);
	tell(part, level, value, visit->fn, visit->opaque);
}

static void visit_table(const struct visit *visit, uint64_t *table, unsigned int level, uint64_t first, uint64_t last)
{
	for (struct part part = part_at(level, first, last); part.first <= last; part = part_after(level, &part, last)) {
		uint64_t value = load(&table[part.index]);

		if (value && is_leaf(level, value))
			visit_leaf(visit, &table[part.index], value, &part, level);
		else if (value)
			visit_table(visit, table_of(value), level - 1, part.first, part.last);
	}
}

static void visit_all(const struct vtd_tables *tables, const struct visit *visit, uint64_t first, uint64_t last)
{
	last = min_u64(last, low_mask(tables->pgtable.config.input_lg2[0]));
	if (first <= last)
		visit_table(visit, tables->root, top_of(tables), first, last);
}

void vtd_tables_iterate(const struct vtd_tables *tables, uint64_t first, uint64_t last, vtd_leaf_fn *visit, void *opaque)
{
	visit_all(tables, &(struct visit){visit, opaque, false, false}, first, last);
}

void vtd_tables_read_dirty(struct vtd_tables *tables, uint64_t first, uint64_t last, bool clear, vtd_leaf_fn *visit, void *opaque)
{
	visit_all(tables, &(struct visit){visit, opaque, true, clear}, first, last);
}

/* --- all of it --- */

int vtd_tables_init(struct vtd_tables *tables, unsigned int levels, uint32_t flags)
{
	const struct pgtable_memory memory = {.window = {0, UINT64_MAX, NULL, true}}; /* all addresses as they are */
	struct pgtable_config config = {.levels = (uint8_t)levels, .output_lg2 = OUTPUT_LG2, .flags = flags};
	int rc;

	*tables = (struct vtd_tables){.root = NULL};
	pages_init(&tables->pages);
	if (levels > UINT8_MAX)
		return -EINVAL;
	rc = pages_reserve(&tables->pages, 1);
	if (rc)
		return rc;
	tables->root = pages_take(&tables->pages);
	memset(tables->root, 0, PAGES_SIZE);
	pages_word(tables->root)->number = 0;
	config.base[0] = (uintptr_t)tables->root;
	rc = pgtable_init(&tables->pgtable, &pgtable_vtd_second, &config, &memory);
	if (rc)
		vtd_tables_fini(tables);
	return rc;
}

void vtd_tables_fini(struct vtd_tables *tables)
{
	pages_fini(&tables->pages);
	tables->root = tables->retired = NULL;
}
