/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The one walker of page tables. A format's file describes itself in a const struct pgtable_shape and makes instances with
 * PGTABLE_WALKERS(); everything here is inlined into them, and so are the functions of the shape, because the shape is a constant
 * there. So a flat walker has no call at all, and no branch on the format. Tables whose number of levels is the usual one have
 * instances of their own, where every shift is a constant; whatever those do not like, others walk again from the start.
 *
 * A walk goes from table to table; levels fall with each, so it ends. An entry is read once, and decided upon as it was read. If it
 * has to be changed (accessed, dirty), that is a compare-and-swap, and whoever loses decides again on what is there now.
 */
#ifndef PGTABLE_WALK_H
#define PGTABLE_WALK_H

#include "memory/areas.h"
#include "memory/load.h"
#include "pgtable/pgtable.h"
#include "util/bits.h"
#include "util/util.h"

#define PGTABLE_INLINE static inline __attribute__((always_inline))

/* What an entry is. */
enum pgtable_kind {
	PGTABLE_TABLE, /* leads to a table of a lower level */
	PGTABLE_LEAF,
	PGTABLE_FAULT, /* absent, or not allowed to be like that */
};

struct pgtable_item {
	enum pgtable_kind kind;
	uint8_t reason; /* FAULT: why; LEAF: why not, if @access does not suffice */
	uint8_t access; /* LEAF: what may be done, with everything that the entries above said */
	uint8_t page_lg2; /* LEAF */
	uint8_t next; /* TABLE: level of that table */
	bool clean; /* LEAF: @access has WRITE, but the dirty bit is not set */
	uint32_t attributes; /* LEAF */
	uint64_t oa; /* of the table, or of the page: aligned to its size */
	uint64_t update; /* TABLE, LEAF: what the entry has to become for this access, or the entry as it is */
};

/* Where a walk is. */
struct pgtable_cursor {
	uint64_t input; /* the input address, without what is above the table's width */
	uint64_t every, some; /* AND and OR of the entries above; at the top all ones and 0 */
	unsigned int level;
	unsigned int half; /* of the addresses: an index of struct pgtable_config's arrays */
};

/* What the permissions take from the tables' entries above a leaf. */
enum pgtable_gathers {
	PGTABLE_EVERY, /* AND */
	PGTABLE_SOME, /* OR */
	PGTABLE_NOTHING,
};

/* Formats that differ by granule at run time have a shape for each; setup() chooses its walkers. */
struct pgtable_shape {
	uint8_t granule_lg2;
	uint8_t index_lg2; /* of the address's bits per level; the top table may be larger */
	uint8_t entry_lg2; /* 3, or 2 */
	uint8_t usual_top; /* level of the top table that has walkers of its own */
	bool canonical; /* struct pgtable's sign may be other than 0 */
	bool readable; /* anybody may read where plain tables and plain leaves lead: stage 2 */
	bool skips; /* a table may lead to one more than a level down; address bits of the levels left out have to be 0 */
	uint8_t plain_shift; /* struct pgtable_plain: an entry's address is (entry & address) << plain_shift */
	uint8_t plain_level_shift; /* if not 0, a plain entry has its own level there */
	enum pgtable_gathers gathers;
	uint64_t every, some; /* the bits of tables' entries that count, each in a row: AND and OR; a few */
	uint32_t attributes; /* plain leaves: the bits that are */
	uint32_t (*attributes_of)(uint64_t entry); /* or they are made of these */
	/* What may be done. @above: of entries of plain tables, as said by @gathers. NULL: no leaf is plain. */
	unsigned int (*access)(const struct pgtable *pgtable, uint64_t above, uint64_t leaf, unsigned int flags);
	/* Check the address and set input and half of @cursor. A reason. */
	unsigned int (*begin)(const struct pgtable *pgtable, uint64_t address, unsigned int flags, struct pgtable_cursor *cursor);
	/* Judge an entry of cursor->level that is not plain. */
	struct pgtable_item (*decode)(const struct pgtable *pgtable, uint64_t entry, unsigned int flags,
				      const struct pgtable_cursor *cursor);
};

enum { PGTABLE_LOSSES = 64 }; /* of one entry's compare-and-swap: then somebody is playing with us */

/* The walk ends with a fault. Kept apart from what is hot. */
static __attribute__((noinline, cold, unused)) void pgtable_fault(const struct pgtable *pgtable, struct pgtable_result *out,
								  unsigned int reason, bool table, unsigned int level,
								  unsigned int fetches)
{
	out->reason = (uint8_t)reason;
	out->stage = (uint8_t)pgtable->format->stage;
	out->level = (uint8_t)level;
	out->table = table;
	out->clean = false;
	out->fetches = (uint8_t)min_u64(fetches, UINT8_MAX);
}

/* Where @size bytes at @address are mapped in @areas, for @access; or NULL, and *@reason. */
PGTABLE_INLINE uint8_t *pgtable_in_areas(const struct areas *areas, uint64_t address, uint64_t size, unsigned int access,
					 unsigned int *reason)
{
	const struct area *area = areas_find(areas, address);

	*reason = UIOMMU_FAULT_MEMORY;
	if (unlikely(!area || !(area->access & UIOMMU_READ) || area->last - address < size - 1))
		return NULL;
	if (unlikely(!area->resident)) {
		*reason = area_absence(area, address);
		if (*reason)
			return NULL;
	}
	*reason = UIOMMU_FAULT_UPDATE;
	return (area->access & access) == access ? area->host + (address - area->start) : NULL;
}

PGTABLE_INLINE uint8_t *pgtable_host(const struct pgtable *pgtable, enum pgtable_where where, uint64_t address, uint64_t size,
				     unsigned int access, unsigned int *reason)
{
	const struct pgtable_memory *memory = &pgtable->memory;
	const struct pgtable_window *window = &memory->window;

	if (where != PGTABLE_FLAT && memory->areas)
		return pgtable_in_areas(memory->areas, address, size, access, reason);
	*reason = UIOMMU_FAULT_MEMORY;
	if (unlikely(address - window->first >= window->length))
		return NULL;
	*reason = UIOMMU_FAULT_UPDATE;
	if (unlikely(access & UIOMMU_WRITE && !window->writable))
		return NULL;
	return (uint8_t *)(pgtable->near + address);
}

/* How far a walk came, for what may fail in it. */
struct pgtable_place {
	uint64_t table; /* address of the table */
	uint64_t offset; /* of the entry in it */
	uint8_t *host; /* of the entry */
	unsigned int level;
	unsigned int fetches;
	/* Only for walks from a step: */
	uint64_t behind; /* address of the entry behind stage 2 */
	unsigned int piece_lg2; /* the entries in a block of this size are beside it there, too */
	bool changes; /* stage 2 lets it be changed, and has nothing to set for it */
	bool near; /* @table and @offset are behind stage 2 already */
};

/* What @stage2 has said of @place. Of a hint that entries are contiguous nothing follows for what is beside this one. */
PGTABLE_INLINE void pgtable_reached(const struct pgtable *stage2, struct pgtable_place *place, uint64_t address,
				    const struct pgtable_result *found)
{
	unsigned int granule_lg2 = stage2->config.granule_lg2[0];

	place->behind = address;
	place->piece_lg2 = granule_lg2 && !found->level ? granule_lg2 : found->page_lg2;
	place->changes = found->access & UIOMMU_WRITE && !found->clean;
}

/* Set place->host. @access: READ, or with WRITE to change the entry. False: the fault has been told. */
PGTABLE_INLINE bool pgtable_reach(const struct pgtable *pgtable, enum pgtable_where where, unsigned int size, unsigned int access,
				  unsigned int flags, struct pgtable_place *place, struct pgtable_result *out)
{
	const struct pgtable *stage2 = pgtable->memory.stage2;
	uint64_t address = place->table + place->offset;
	unsigned int reason;

	if (unlikely(place->near && access & UIOMMU_WRITE && !place->changes)) {
		pgtable_fault(pgtable, out, UIOMMU_FAULT_UPDATE, true, place->level, place->fetches);
		return false;
	}
	if ((where == PGTABLE_NESTED || (where == PGTABLE_TRACED && stage2)) && !place->near) {
		uint64_t ipa = address;

		address = stage2->walk(stage2, ipa, access | (flags & PGTABLE_QUIET), out);
		place->fetches += out->fetches;
		if (unlikely(out->reason)) { /* stage and reason are its own */
			if (out->reason != UIOMMU_FAULT_ABSENT)
				out->ipa = ipa;
			out->table = true;
			out->page_lg2 = out->level;
			out->level = (uint8_t)place->level;
			out->clean = access & UIOMMU_WRITE;
			out->fetches = (uint8_t)min_u64(place->fetches, UINT8_MAX);
			return false;
		}
		pgtable_reached(stage2, place, address, out);
	}
	place->host = pgtable_host(pgtable, where, address, size, access, &reason);
	if (likely(place->host))
		return true;
	pgtable_fault(pgtable, out, reason, true, place->level, place->fetches);
	out->ipa = address;
	return false;
}

PGTABLE_INLINE bool pgtable_load(const uint8_t *host, unsigned int entry_lg2, uint64_t *entry)
{
	uint32_t half;

	if (entry_lg2 == 3)
		return load_u64(host, entry);
	if (!load_u32(host, &half))
		return false;
	*entry = half;
	return true;
}

PGTABLE_INLINE bool pgtable_swap(uint8_t *host, unsigned int entry_lg2, uint64_t *expected, uint64_t value)
{
	uint32_t half = (uint32_t)*expected;
	bool done;

	if (entry_lg2 == 3)
		return compare_swap_u64(host, expected, value);
	done = compare_swap_u32(host, &half, (uint32_t)value);
	*expected = half;
	return done;
}

/*
 * Judge the entry at @place until it is as it should be. False: the fault has been told. An entry that does not suffice for the
 * access is not changed.
 */
PGTABLE_INLINE bool pgtable_judge(const struct pgtable_shape *shape, enum pgtable_where where, const struct pgtable *pgtable,
				  uint64_t entry, unsigned int flags, const struct pgtable_cursor *cursor,
				  struct pgtable_place *place, struct pgtable_item *item, struct pgtable_result *out)
{
	const unsigned int need = flags & (UIOMMU_READ | UIOMMU_WRITE | UIOMMU_EXEC), size = 1U << shape->entry_lg2;
	uint64_t seen;

	for (unsigned int losses = 0;; losses++) {
		*item = shape->decode(pgtable, entry, flags, cursor);
		if (unlikely(item->kind == PGTABLE_FAULT || (item->kind == PGTABLE_LEAF && (need & ~(unsigned int)item->access)))) {
			pgtable_fault(pgtable, out, item->reason, false, cursor->level, place->fetches);
			return false;
		}
		if (likely(item->update == entry) || flags & PGTABLE_QUIET)
			return true;
		if (!losses && !pgtable_reach(pgtable, where, size, UIOMMU_READ | UIOMMU_WRITE, flags, place, out))
			return false;
		seen = entry;
		if (unlikely(losses == PGTABLE_LOSSES || !pgtable_swap(place->host, shape->entry_lg2, &seen, item->update))) {
			pgtable_fault(pgtable, out, UIOMMU_FAULT_UPDATE, true, cursor->level, place->fetches);
			return false;
		}
		if (likely(seen == entry))
			return true;
		entry = seen;
	}
}

/* Where a table that is not plain leads. False: not down, or address bits that it leaves out are not 0. */
PGTABLE_INLINE bool pgtable_falls(const struct pgtable_shape *shape, const struct pgtable_cursor *cursor, unsigned int next)
{
	unsigned int below = shape->granule_lg2 + (next + 1) * shape->index_lg2;
	unsigned int shift = shape->granule_lg2 + cursor->level * shape->index_lg2;

	if (!shape->skips)
		return cursor->level;
	return next < cursor->level && !((cursor->input & low_mask(shift)) >> below);
}

PGTABLE_INLINE bool pgtable_is_plain(const struct pgtable_shape *shape, const struct pgtable *pgtable, uint64_t entry,
				     unsigned int level)
{
	uint64_t value = pgtable->plain.value;

	if (shape->plain_level_shift)
		value |= (uint64_t)level << shape->plain_level_shift;
	return (entry & pgtable->plain.mask) == value;
}

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "entries are, and struct pgtable_result's word is");

/* A quick walk. */
struct pgtable_quick {
	bool usual; /* a constant: the top table is the shape's usual one */
	unsigned int top; /* level */
	uint64_t above; /* as the shape gathers it */
	uintptr_t near; /* flat: what to add to place.table */
	struct pgtable_place place; /* table and offset; fetches, if not flat */
};

/* What a plain leaf permits and where it leads, unless it does not suffice. @clean is a constant. */
PGTABLE_INLINE bool pgtable_use_leaf(const struct pgtable_shape *shape, const struct pgtable *pgtable, uint64_t entry,
				     uint64_t address, unsigned int level, unsigned int flags, bool clean,
				     const struct pgtable_quick *quick, struct pgtable_result *out)
{
	const unsigned int need = flags & (UIOMMU_READ | UIOMMU_WRITE | UIOMMU_EXEC);
	const unsigned int page_lg2 = shape->granule_lg2 + level * shape->index_lg2;
	unsigned int access = shape->access(pgtable, quick->above, entry, flags);

	if (unlikely(need & ~access))
		return false;
	out->oa = (entry & pgtable->leaf[level].address) << shape->plain_shift | (address & low_mask(page_lg2));
	out->word = access | page_lg2 << 8 | level << 16 | (quick->place.fetches & UINT8_MAX) << 24;
	if (clean)
		out->word |= (uint64_t)(access & UIOMMU_WRITE) << 31;
	out->attributes = shape->attributes_of ? shape->attributes_of(entry) : (uint32_t)entry & shape->attributes;
	return true;
}

_Static_assert((uint64_t)UIOMMU_WRITE << 31 == BIT64(32), "struct pgtable_result's clean");

/* A leaf that can be used as it is. */
PGTABLE_INLINE bool pgtable_plain_leaf(const struct pgtable_shape *shape, const struct pgtable *pgtable, uint64_t entry,
				       uint64_t address, unsigned int level, unsigned int flags, const struct pgtable_quick *quick,
				       struct pgtable_result *out)
{
	uint64_t wrong;

	if (!shape->access || level >= PGTABLE_PLAIN_LEAVES)
		return false;
	wrong = (entry & pgtable->leaf[level].mask) ^ pgtable->leaf[level].value;
	if (likely(!wrong))
		return pgtable_use_leaf(shape, pgtable, entry, address, level, flags, false, quick, out);
	if (wrong != pgtable->dirty || flags & UIOMMU_WRITE)
		return false;
	return pgtable_use_leaf(shape, pgtable, entry, address, level, flags, true, quick, out);
}

/* Usual begin(). */
PGTABLE_INLINE unsigned int pgtable_begin(const struct pgtable *pgtable, uint64_t address, struct pgtable_cursor *cursor)
{
	cursor->input = address & ~pgtable->beyond;
	return (address + pgtable->sign) & pgtable->beyond ? UIOMMU_FAULT_RANGE : UIOMMU_FAULT_NONE;
}

PGTABLE_INLINE void pgtable_done(const struct pgtable_cursor *cursor, const struct pgtable_item *item, unsigned int fetches,
				 struct pgtable_result *out)
{
	out->oa = item->oa | (cursor->input & low_mask(item->page_lg2));
	out->reason = UIOMMU_FAULT_NONE;
	out->level = (uint8_t)cursor->level;
	out->access = item->access;
	out->clean = item->clean;
	out->page_lg2 = item->page_lg2;
	out->fetches = (uint8_t)fetches;
	out->attributes = item->attributes;
}

/* Where the input's entry is in the top table, which may be larger than others: all bits. */
PGTABLE_INLINE uint64_t pgtable_top_offset(const struct pgtable_shape *shape, uint64_t input, unsigned int level)
{
	return input >> (shape->granule_lg2 + level * shape->index_lg2) << shape->entry_lg2;
}

/* And in any other one. */
PGTABLE_INLINE uint64_t pgtable_offset(const struct pgtable_shape *shape, uint64_t input, unsigned int level)
{
	return (input >> (shape->granule_lg2 + level * shape->index_lg2) & low_mask(shape->index_lg2)) << shape->entry_lg2;
}

/* The entry at @place has been read. */
static __attribute__((noinline, cold, unused)) void pgtable_tell(const struct pgtable *pgtable, const struct pgtable_place *place,
								 uint64_t entry)
{
	const struct pgtable_seen seen = {
		.address = place->table + place->offset,
		.words = &entry,
		.count = 1,
		.stage = pgtable->format->stage,
		.level = (uint8_t)place->level,
		.structure = UIOMMU_STRUCTURE_PAGE,
	};

	pgtable->memory.trace->seen(pgtable->memory.trace, &seen);
}

/* Read the entry at @place. False: the fault has been told. */
PGTABLE_INLINE bool pgtable_fetch(const struct pgtable_shape *shape, enum pgtable_where where, const struct pgtable *pgtable,
				  unsigned int flags, struct pgtable_place *place, uint64_t *entry, struct pgtable_result *out)
{
	if (unlikely(!pgtable_reach(pgtable, where, 1U << shape->entry_lg2, UIOMMU_READ, flags, place, out)))
		return false;
	place->fetches++;
	if (likely(pgtable_load(place->host, shape->entry_lg2, entry))) {
		if (where == PGTABLE_TRACED)
			pgtable_tell(pgtable, place, *entry);
		return true;
	}
	pgtable_fault(pgtable, out, UIOMMU_FAULT_MEMORY, true, place->level, place->fetches);
	return false;
}

/* What has been gathered, in few bits; and back. */
PGTABLE_INLINE unsigned int pgtable_pack(const struct pgtable_shape *shape, uint64_t every, uint64_t some)
{
	unsigned int above = 0;

	if (shape->every)
		above = (unsigned int)FIELD_GET64(shape->every, every);
	if (shape->some)
		above |= (unsigned int)FIELD_GET64(shape->some, some) << __builtin_popcountll(shape->every);
	return above;
}

PGTABLE_INLINE uint64_t pgtable_every(const struct pgtable_shape *shape, unsigned int above)
{
	return ~shape->every | (shape->every ? FIELD_PREP64(shape->every, above) : 0);
}

PGTABLE_INLINE uint64_t pgtable_some(const struct pgtable_shape *shape, unsigned int above)
{
	above &= (unsigned int)~PGTABLE_CHANGES;
	return shape->some ? FIELD_PREP64(shape->some, above >> __builtin_popcountll(shape->every)) : 0;
}

/* Note where the table is whose entry at @place has been read, unless the walk began there. */
PGTABLE_INLINE void pgtable_note(const struct pgtable_shape *shape, enum pgtable_where where, const struct pgtable_place *place,
				 unsigned int level, uint64_t every, uint64_t some, struct pgtable_path *path)
{
	const unsigned int page_lg2 = shape->granule_lg2 + level * shape->index_lg2,
			   table_lg2 = shape->index_lg2 + shape->entry_lg2;
	unsigned int piece_lg2 = table_lg2, above = pgtable_pack(shape, every, some);

	if (place->near || level >= PGTABLE_STEPS)
		return;
	if (where == PGTABLE_NESTED) {
		piece_lg2 = (unsigned int)min_u64(table_lg2, place->piece_lg2);
		above |= place->changes ? PGTABLE_CHANGES : 0;
	}
	path->step[level] = (struct pgtable_step){
		.entries = (where == PGTABLE_NESTED ? place->behind : place->table) & ~low_mask(piece_lg2),
		.block_lg2 = (uint8_t)(page_lg2 + piece_lg2 - shape->entry_lg2),
		.above = (uint8_t)(above | (where == PGTABLE_NESTED ? 0 : PGTABLE_CHANGES)),
	};
	path->noted |= 1U << level;
}

/* The level of the table that serves a block of this size. */
PGTABLE_INLINE unsigned int pgtable_step_level(const struct pgtable_shape *shape, unsigned int block_lg2)
{
	return (block_lg2 - shape->granule_lg2 - 1) / shape->index_lg2;
}

/* Where the entry of @address is. */
PGTABLE_INLINE void pgtable_step_place(const struct pgtable_shape *shape, const struct pgtable_step *step, uint64_t address,
				       unsigned int level, struct pgtable_place *place)
{
	const unsigned int page_lg2 = shape->granule_lg2 + level * shape->index_lg2;

	place->table = step->entries;
	place->offset = (address & low_mask(step->block_lg2)) >> page_lg2 << shape->entry_lg2;
	place->changes = step->above & PGTABLE_CHANGES;
	place->near = true;
}

/* With all care, from the top table or, if there is a @path, from where that begins. */
PGTABLE_INLINE void pgtable_walk_carefully(const struct pgtable_shape *shape, enum pgtable_where where,
					   const struct pgtable *pgtable, uint64_t address, unsigned int flags,
					   struct pgtable_path *path, struct pgtable_result *out)
{
	struct pgtable_cursor cursor = {.every = UINT64_MAX};
	unsigned int reason = shape->begin(pgtable, address, flags, &cursor);
	struct pgtable_place place = {.table = pgtable->config.base[cursor.half]};
	unsigned int top = pgtable->top[cursor.half];
	struct pgtable_item item;
	uint64_t entry;

	cursor.level = place.level = top;
	if (reason) {
		pgtable_fault(pgtable, out, reason, false, cursor.level, 0);
		return;
	}
	place.offset = pgtable_top_offset(shape, cursor.input, cursor.level);
	if (path && path->start.block_lg2) {
		cursor.level = place.level = pgtable_step_level(shape, path->start.block_lg2);
		cursor.every = pgtable_every(shape, path->start.above);
		cursor.some = pgtable_some(shape, path->start.above);
		pgtable_step_place(shape, &path->start, address, cursor.level, &place);
	}
	for (;; place.offset = pgtable_offset(shape, cursor.input, cursor.level)) {
		if (!pgtable_fetch(shape, where, pgtable, flags, &place, &entry, out) ||
		    !pgtable_judge(shape, where, pgtable, entry, flags, &cursor, &place, &item, out))
			return;
		if (path && cursor.level < top)
			pgtable_note(shape, where, &place, cursor.level, cursor.every, cursor.some, path);
		if (item.kind == PGTABLE_LEAF)
			break;
		if (!pgtable_falls(shape, &cursor, item.next)) {
			pgtable_fault(pgtable, out, UIOMMU_FAULT_RESERVED, false, cursor.level, place.fetches);
			return;
		}
		cursor.every &= item.update;
		cursor.some |= item.update;
		cursor.level = place.level = shape->skips ? item.next : cursor.level - 1;
		place.table = item.oa;
		place.near = false;
	}
	pgtable_done(&cursor, &item, place.fetches, out);
}

/* Where a quick walk stands after a level. */
enum pgtable_glance { PGTABLE_DOWN, PGTABLE_DONE, PGTABLE_CARE };

/* Not inlined where a call is made for each entry anyway. */
static __attribute__((noinline, unused)) uint8_t *pgtable_in_areas_below(const struct areas *areas, uint64_t address, uint64_t size)
{
	unsigned int reason;

	return pgtable_in_areas(areas, address, size, UIOMMU_READ, &reason);
}

/* Set place->host, to read, unless something is in the way. Whoever takes care says what. */
PGTABLE_INLINE bool pgtable_reach_quickly(const struct pgtable *pgtable, enum pgtable_where where, unsigned int size,
					  unsigned int flags, struct pgtable_place *place, struct pgtable_result *out)
{
	const struct pgtable_memory *memory = &pgtable->memory;
	uint64_t address = place->table + place->offset;
	unsigned int reason;

	if (where == PGTABLE_GUEST) {
		place->host = pgtable_in_areas(memory->areas, address, size, UIOMMU_READ, &reason);
		return place->host;
	}
	if (where == PGTABLE_PAIRED) {
		uintptr_t at = memory->stage2->reach(memory->stage2, address);

		place->host = (uint8_t *)at;
		if (likely(!(at & (size - 1))))
			return true;
		if (at == PGTABLE_REACHES_NOT)
			return false;
		place->host -= at & PGTABLE_REACHED;
		place->fetches -= (unsigned int)at & PGTABLE_REACHED;
		return true;
	}
	if (!place->near) {
		address = memory->stage2->walk(memory->stage2, address, UIOMMU_READ | (flags & PGTABLE_QUIET), out);
		if (unlikely(out->reason))
			return false;
		place->fetches += out->fetches;
		pgtable_reached(memory->stage2, place, address, out);
	}
	if (memory->areas) {
		place->host = pgtable_in_areas_below(memory->areas, address, size);
		return place->host;
	}
	if (unlikely(address - memory->window.first >= memory->window.length))
		return false;
	place->host = (uint8_t *)(pgtable->near + address);
	return true;
}

/* One level, whose number is a constant here, as long as entries are plain. If flat, the place is in the window. */
PGTABLE_INLINE enum pgtable_glance pgtable_glance(const struct pgtable_shape *shape, enum pgtable_where where,
						  const struct pgtable *pgtable, uint64_t address, unsigned int level,
						  unsigned int flags, struct pgtable_quick *quick, struct pgtable_path *path,
						  struct pgtable_result *out)
{
	const bool every = shape->gathers == PGTABLE_EVERY;
	struct pgtable_place *place = &quick->place;
	uintptr_t near = level == quick->top ? (quick->usual ? 0 : pgtable->near) : quick->near;
	uint64_t entry;

	/* What depends on the entry before is added last. */
	if (where == PGTABLE_FLAT)
		place->host = (uint8_t *)(near + place->offset + place->table);
	else if (unlikely(!pgtable_reach_quickly(pgtable, where, 1U << shape->entry_lg2, flags, place, out)))
		return PGTABLE_CARE;
	if (where != PGTABLE_PAIRED)
		place->fetches = where == PGTABLE_FLAT ? quick->top + 1 - level : place->fetches + 1;
	if (unlikely(!pgtable_load(place->host, shape->entry_lg2, &entry)))
		return PGTABLE_CARE;
	if (path && level < quick->top) /* of plain tables, nothing else counts */
		pgtable_note(shape, where, place, level, every ? quick->above : UINT64_MAX, every ? 0 : quick->above, path);
	/* Nearly all that could forbid something do not: then there is nothing to gather, and not even the address to cut out. */
	if (where == PGTABLE_FLAT && shape->gathers == PGTABLE_SOME && level &&
	    likely((entry & pgtable->exactly) == pgtable->plain.value)) {
		place->table = entry << shape->plain_shift;
		place->offset = pgtable_offset(shape, address, level - 1);
		quick->near = pgtable->beside;
		return PGTABLE_DOWN;
	}
	if (level && likely(pgtable_is_plain(shape, pgtable, entry, level))) {
		quick->near = pgtable->near;
		quick->above = every ? quick->above & entry : quick->above | entry;
		place->near = false;
		place->table = (entry & pgtable->plain.address) << shape->plain_shift;
		place->offset = pgtable_offset(shape, address, level - 1);
		return PGTABLE_DOWN;
	}
	if (where == PGTABLE_PAIRED) /* so far it is how many fewer they are */
		place->fetches += (quick->top + 1 - level) * (pgtable->memory.stage2->top[0] + 2U);
	return pgtable_plain_leaf(shape, pgtable, entry, address, level, flags, quick, out) ? PGTABLE_DONE : PGTABLE_CARE;
}

/* From quick->top on. False: it takes care; nothing has been done. */
PGTABLE_INLINE bool pgtable_glances(const struct pgtable_shape *shape, enum pgtable_where where, const struct pgtable *pgtable,
				    uint64_t address, unsigned int flags, struct pgtable_quick *quick, struct pgtable_path *path,
				    struct pgtable_result *out)
{
	enum pgtable_glance seen;

#define PGTABLE_GLANCE(level)                                                                                                      \
	do {                                                                                                                       \
		seen = pgtable_glance(shape, where, pgtable, address, level, flags, quick, path, out);                             \
		if (seen != PGTABLE_DOWN)                                                                                          \
			return seen == PGTABLE_DONE;                                                                               \
	} while (0)
	if (unlikely(quick->top > 3)) {
		if (quick->top > 4)
			PGTABLE_GLANCE(5);
		PGTABLE_GLANCE(4);
	}
	if (likely(quick->top >= 3))
		PGTABLE_GLANCE(3);
	if (likely(quick->top >= 2))
		PGTABLE_GLANCE(2);
	if (likely(quick->top >= 1))
		PGTABLE_GLANCE(1);
	PGTABLE_GLANCE(0);
#undef PGTABLE_GLANCE
	return false;
}

PGTABLE_INLINE uint64_t pgtable_nothing_above(const struct pgtable_shape *shape)
{
	return shape->gathers == PGTABLE_EVERY ? UINT64_MAX : 0;
}

/* From the usual top table. @address is not beyond its width. */
PGTABLE_INLINE bool pgtable_walk_usually(const struct pgtable_shape *shape, enum pgtable_where where, const struct pgtable *pgtable,
					 uint64_t address, unsigned int flags, struct pgtable_result *out)
{
	struct pgtable_quick quick = {.usual = true, .top = shape->usual_top, .above = pgtable_nothing_above(shape)};

	quick.place.table = pgtable->usual_root;
	quick.place.offset = address >> (shape->granule_lg2 + shape->usual_top * shape->index_lg2 - shape->entry_lg2);
	quick.place.offset &= pgtable->usual_offsets;
	return pgtable_glances(shape, where, pgtable, address, flags, &quick, NULL, out);
}

/* Where pgtable_reach_usually() is: an entry, or in the end what it looked for, at base + (table << plain_shift). */
struct pgtable_spot {
	uintptr_t base;
	uint64_t table; /* of the entry before, which comes last */
};

/* One level, whose number is a constant here. */
PGTABLE_INLINE enum pgtable_glance pgtable_spot_next(const struct pgtable_shape *shape, const struct pgtable *pgtable,
						     uint64_t address, unsigned int level, struct pgtable_spot *spot)
{
	const unsigned int page_lg2 = shape->granule_lg2 + level * shape->index_lg2;
	const uint64_t own = shape->plain_level_shift ? (uint64_t)level << shape->plain_level_shift : 0;
	const uint64_t offset = level ? pgtable_offset(shape, address, level - 1) : 0;
	uint64_t entry;

	if (unlikely(!pgtable_load((const uint8_t *)(spot->base + (spot->table << shape->plain_shift)), shape->entry_lg2, &entry)))
		return PGTABLE_CARE;
	if (level && likely((entry & pgtable->exactly) == (pgtable->plain.value | own))) {
		*spot = (struct pgtable_spot){offset + pgtable->beside - own, entry};
		return PGTABLE_DOWN;
	}
	if (level && pgtable_is_plain(shape, pgtable, entry, level)) {
		*spot = (struct pgtable_spot){offset + pgtable->near, entry & pgtable->plain.address};
		return PGTABLE_DOWN;
	}
	if (level >= PGTABLE_PLAIN_LEAVES || (entry & pgtable->read[level].mask) != pgtable->read[level].value)
		return PGTABLE_CARE;
	*spot = (struct pgtable_spot){(address & low_mask(page_lg2)) + pgtable->near, entry & pgtable->read[level].address};
	return PGTABLE_DONE;
}

/* Kept apart from what is hot, which has one result less to carry then. */
static __attribute__((noinline, cold, unused)) uintptr_t pgtable_reach_not(void)
{
	return PGTABLE_REACHES_NOT;
}

/* For who reads a table: nothing but where its entry is. That does not cross the end of a page, so a look at the page suffices. */
PGTABLE_INLINE uintptr_t pgtable_reach_usually(const struct pgtable_shape *shape, const struct pgtable *pgtable, uint64_t address)
{
	uint64_t offset = address >> (shape->granule_lg2 + shape->usual_top * shape->index_lg2 - shape->entry_lg2);
	struct pgtable_spot spot = {pgtable->usual_root + (offset & pgtable->usual_offsets), 0};
	enum pgtable_glance seen;

	if (unlikely(address & pgtable->beyond))
		return pgtable_reach_not();
#define PGTABLE_SPOT_NEXT(level)                                                                                                   \
	do {                                                                                                                       \
		seen = pgtable_spot_next(shape, pgtable, address, level, &spot);                                                   \
		if (seen == PGTABLE_DONE)                                                                                          \
			return spot.base + (spot.table << shape->plain_shift) + (level);                                           \
		if (unlikely(seen == PGTABLE_CARE))                                                                                \
			return pgtable_reach_not();                                                                                \
	} while (0)
	if (shape->usual_top >= 3)
		PGTABLE_SPOT_NEXT(3);
	if (shape->usual_top >= 2)
		PGTABLE_SPOT_NEXT(2);
	PGTABLE_SPOT_NEXT(1);
	PGTABLE_SPOT_NEXT(0);
#undef PGTABLE_SPOT_NEXT
	return pgtable_reach_not();
}

/* From any. */
PGTABLE_INLINE bool pgtable_walk_quickly(const struct pgtable_shape *shape, enum pgtable_where where, const struct pgtable *pgtable,
					 uint64_t address, unsigned int flags, struct pgtable_result *out)
{
	const struct pgtable_window *window = &pgtable->memory.window;
	struct pgtable_cursor cursor = {.half = 0};
	unsigned int reason = shape->begin(pgtable, address, flags, &cursor), top = pgtable->top[cursor.half];
	struct pgtable_quick quick = {
		.top = top,
		.above = pgtable_nothing_above(shape),
		.place.table = pgtable->config.base[cursor.half],
	};

	if (unlikely(reason))
		return false;
	quick.place.offset = pgtable_top_offset(shape, cursor.input, top);
	/* The tables of plain entries are in the window (pgtable_init). */
	if (where == PGTABLE_FLAT && unlikely(quick.place.table + quick.place.offset - window->first >= window->length))
		return false;
	return pgtable_glances(shape, where, pgtable, address, flags, &quick, NULL, out);
}

/* From where @path begins. Not flat. */
PGTABLE_INLINE bool pgtable_walk_on(const struct pgtable_shape *shape, enum pgtable_where where, const struct pgtable *pgtable,
				    uint64_t address, unsigned int flags, struct pgtable_path *path, struct pgtable_result *out)
{
	const struct pgtable_step *start = &path->start;
	struct pgtable_cursor cursor = {.half = 0};
	unsigned int reason = shape->begin(pgtable, address, flags, &cursor);
	struct pgtable_quick quick = {.top = pgtable->top[cursor.half], .above = pgtable_nothing_above(shape)};

	path->noted = 0;
	if (unlikely(reason))
		return false;
	if (likely(start->block_lg2)) {
		quick.top = pgtable_step_level(shape, start->block_lg2);
		quick.above =
			shape->gathers == PGTABLE_EVERY ? pgtable_every(shape, start->above) : pgtable_some(shape, start->above);
		pgtable_step_place(shape, start, address, quick.top, &quick.place);
		/* Entries that are not plain have led here. */
		if (unlikely(pgtable_some(shape, start->above) & pgtable->plain.mask))
			return false;
	} else {
		quick.place.table = pgtable->config.base[cursor.half];
		quick.place.offset = pgtable_top_offset(shape, cursor.input, quick.top);
	}
	return pgtable_glances(shape, where, pgtable, address, flags, &quick, path, out);
}

/* The same with care. */
PGTABLE_INLINE void pgtable_walk_on_carefully(const struct pgtable_shape *shape, enum pgtable_where where,
					      const struct pgtable *pgtable, uint64_t address, unsigned int flags,
					      struct pgtable_path *path, struct pgtable_result *out)
{
	unsigned int fetches = 0;
	bool on;

	do {
		on = path->start.block_lg2;
		path->noted = 0;
		pgtable_walk_carefully(shape, where, pgtable, address, flags, path, out);
		fetches += out->fetches;
		path->start.block_lg2 = 0;
	} while (unlikely(out->reason) && on);
	out->fetches = (uint8_t)min_u64(fetches, UINT8_MAX);
}

/* From the usual top table; @others are for what is not usual. */
#define PGTABLE_WALKER_USUAL(name, others, shape, where)                                                                           \
	static uint64_t name##_usual(const struct pgtable *pgtable, uint64_t address, unsigned int flags,                          \
				     struct pgtable_result *out)                                                                   \
	{                                                                                                                          \
		if (unlikely((address + ((shape).canonical ? pgtable->sign : 0)) & pgtable->beyond))                               \
			return others##_any(pgtable, address, flags, out);                                                         \
		if (likely(pgtable_walk_usually(&(shape), where, pgtable, address, flags, out)))                                   \
			return out->oa;                                                                                            \
		return others##_carefully(pgtable, address, flags, out);                                                           \
	}

#define PGTABLE_WALKER_CAREFUL(name, shape, where)                                                                                 \
	static __attribute__((noinline))                                                                                           \
	uint64_t name##_carefully(const struct pgtable *pgtable, uint64_t address, unsigned int flags, struct pgtable_result *out) \
	{                                                                                                                          \
		pgtable_walk_carefully(&(shape), where, pgtable, address, flags, NULL, out);                                       \
		return out->reason ? 0 : out->oa;                                                                                  \
	}

#define PGTABLE_WALKER(name, shape, where)                                                                                         \
	PGTABLE_WALKER_CAREFUL(name, shape, where)                                                                                 \
	static __attribute__((noinline))                                                                                           \
	uint64_t name##_any(const struct pgtable *pgtable, uint64_t address, unsigned int flags, struct pgtable_result *out)       \
	{                                                                                                                          \
		if (likely(pgtable_walk_quickly(&(shape), where, pgtable, address, flags, out)))                                   \
			return out->oa;                                                                                            \
		return name##_carefully(pgtable, address, flags, out);                                                             \
	}                                                                                                                          \
	PGTABLE_WALKER_USUAL(name, name, shape, where)

/* From a step. */
#define PGTABLE_WALKER_FROM(name, shape, where)                                                                                    \
	static __attribute__((noinline)) uint64_t name##_on(const struct pgtable *pgtable, uint64_t address, unsigned int flags,   \
							    struct pgtable_path *path, struct pgtable_result *out)                 \
	{                                                                                                                          \
		pgtable_walk_on_carefully(&(shape), where, pgtable, address, flags, path, out);                                    \
		return out->reason ? 0 : out->oa;                                                                                  \
	}                                                                                                                          \
	static __attribute__((noinline)) uint64_t name##_from(const struct pgtable *pgtable, uint64_t address, unsigned int flags, \
							      struct pgtable_path *path, struct pgtable_result *out)               \
	{                                                                                                                          \
		if (likely(pgtable_walk_on(&(shape), where, pgtable, address, flags, path, out)))                                  \
			return out->oa;                                                                                            \
		return name##_on(pgtable, address, flags, path, out);                                                              \
	}

/* struct pgtable_walkers @name, of shape @of. */
#define PGTABLE_WALKERS(name, of)                                                                                                  \
	PGTABLE_WALKER(name##_flat, of, PGTABLE_FLAT)                                                                              \
	PGTABLE_WALKER(name##_guest, of, PGTABLE_GUEST)                                                                            \
	PGTABLE_WALKER(name##_nested, of, PGTABLE_NESTED)                                                                          \
	PGTABLE_WALKER_CAREFUL(name##_traced, of, PGTABLE_TRACED)                                                                  \
	PGTABLE_WALKER_USUAL(name##_paired, name##_nested, of, PGTABLE_PAIRED)                                                     \
	static uintptr_t name##_flat_reach(const struct pgtable *pgtable, uint64_t address)                                        \
	{                                                                                                                          \
		return pgtable_reach_usually(&(of), pgtable, address);                                                             \
	}                                                                                                                          \
	PGTABLE_WALKER_FROM(name##_guest, of, PGTABLE_GUEST)                                                                       \
	PGTABLE_WALKER_FROM(name##_nested, of, PGTABLE_NESTED)                                                                     \
	static const struct pgtable_walkers name = {                                                                               \
		.shape = &(of),                                                                                                    \
		.usual = {name##_flat_usual, name##_guest_usual, name##_nested_usual, name##_paired_usual},                        \
		.any = {name##_flat_any, name##_guest_any, name##_nested_any, NULL, name##_traced_carefully},                      \
		.from = {NULL, name##_guest_from, name##_nested_from},                                                             \
		.reach = name##_flat_reach,                                                                                        \
	};

#endif
