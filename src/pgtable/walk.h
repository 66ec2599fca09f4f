/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The one walker of page tables. A format's file describes itself in a const struct pgtable_shape and makes two instances with
 * PGTABLE_WALKERS(); everything here is inlined into them, and so are the functions of the shape, because the shape is a constant
 * there. So a flat walker has no call at all, and no branch on the format.
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
	uint64_t table; /* address of the table */
	uint64_t input; /* the input address, without what is above the table's width */
	uint64_t gathered; /* AND of the entries above, each after exclusive or with the shape's @flip; at the top all ones */
	unsigned int level;
	unsigned int half; /* of the addresses: an index of struct pgtable_config's arrays */
};

/* Formats that differ by granule at run time have a shape for each, and a switch in front (arm.c). */
struct pgtable_shape {
	uint8_t granule_lg2;
	uint8_t index_lg2; /* of the address's bits per level; the top table may be larger */
	uint8_t entry_lg2; /* 3, or 2 */
	bool skips; /* a table may lead to one more than a level down; address bits of the levels left out have to be 0 */
	uint8_t plain_shift; /* struct pgtable_plain: an entry's address is (entry & address) << plain_shift */
	uint8_t plain_level_shift; /* if not 0, a plain entry has its own level there */
	uint64_t flip; /* bits of entries that gather by OR: gathered upside down */
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
	out->fetches = (uint8_t)min_u64(fetches, UINT8_MAX);
}

/* Another window that has @address, @size bytes of it. */
static __attribute__((noinline, unused)) bool pgtable_window_find(const struct areas *areas, uint64_t address, uint64_t size,
								  struct pgtable_window *window)
{
	const struct area *area = areas ? areas_find(areas, address) : NULL;

	if (!area || !area->resident || !(area->access & UIOMMU_READ) || area->last - address < size - 1)
		return false;
	*window =
		(struct pgtable_window){area->start, area->last - area->start + 1, area->host, (area->access & UIOMMU_WRITE) != 0};
	return true;
}

/* How far a walk came, for what may fail in it. */
struct pgtable_place {
	uint64_t address; /* of the entry */
	uint8_t *host; /* the same */
	unsigned int level;
	unsigned int fetches;
};

/* Set place->host. @access: READ, or with WRITE to change the entry. False: the fault has been told. */
PGTABLE_INLINE bool pgtable_reach(const struct pgtable *pgtable, bool flat, unsigned int size, unsigned int access,
				  unsigned int flags, struct pgtable_window *window, struct pgtable_place *place,
				  struct pgtable_result *out)
{
	const struct pgtable *stage2 = pgtable->memory.stage2;
	uint64_t address = place->address;

	if (!flat && stage2) {
		stage2->walk(stage2, address, access | (flags & PGTABLE_QUIET), out);
		place->fetches += out->fetches;
		if (unlikely(out->reason)) { /* stage and reason are its own */
			out->ipa = address;
			out->table = true;
			out->level = (uint8_t)place->level;
			out->fetches = (uint8_t)min_u64(place->fetches, UINT8_MAX);
			return false;
		}
		address = out->oa;
	}
	if (unlikely(address - window->first >= window->length)) {
		struct pgtable_window found;

		if (flat || !pgtable_window_find(pgtable->memory.areas, address, size, &found)) {
			pgtable_fault(pgtable, out, UIOMMU_FAULT_MEMORY, true, place->level, place->fetches);
			return false;
		}
		*window = found;
	}
	place->host = window->host + (address - window->first);
	return true;
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
PGTABLE_INLINE bool pgtable_judge(const struct pgtable_shape *shape, bool flat, const struct pgtable *pgtable, uint64_t entry,
				  unsigned int flags, const struct pgtable_cursor *cursor, struct pgtable_window *window,
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
		if (!losses && !pgtable_reach(pgtable, flat, size, UIOMMU_READ | UIOMMU_WRITE, flags, window, place, out))
			return false;
		seen = entry;
		if (unlikely(!window->writable || losses == PGTABLE_LOSSES ||
			     !pgtable_swap(place->host, shape->entry_lg2, &seen, item->update))) {
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

/* The entry's place in cursor->table, which is not the top table. */
PGTABLE_INLINE uint64_t pgtable_place_in(const struct pgtable_shape *shape, const struct pgtable_cursor *cursor)
{
	unsigned int shift = shape->granule_lg2 + cursor->level * shape->index_lg2;

	return cursor->table + ((cursor->input >> shift & low_mask(shape->index_lg2)) << shape->entry_lg2);
}

/* Go on from @entry, which has been read at @place and is in need of care, to the end. */
PGTABLE_INLINE void pgtable_walk_on(const struct pgtable_shape *shape, bool flat, const struct pgtable *pgtable, unsigned int flags,
				    const struct pgtable_cursor *from, const struct pgtable_place *at, uint64_t entry,
				    struct pgtable_result *out)
{
	struct pgtable_window window = pgtable->memory.window;
	struct pgtable_cursor cursor = *from;
	struct pgtable_place place = *at;
	struct pgtable_item item;

	for (;;) {
		if (!pgtable_judge(shape, flat, pgtable, entry, flags, &cursor, &window, &place, &item, out))
			return;
		if (item.kind == PGTABLE_LEAF)
			break;
		if (!pgtable_falls(shape, &cursor, item.next)) {
			pgtable_fault(pgtable, out, UIOMMU_FAULT_RESERVED, false, cursor.level, place.fetches);
			return;
		}
		cursor.table = item.oa;
		cursor.gathered &= item.update ^ shape->flip;
		cursor.level = shape->skips ? item.next : cursor.level - 1;
		place.address = pgtable_place_in(shape, &cursor);
		place.level = cursor.level;
		if (!pgtable_reach(pgtable, flat, 1U << shape->entry_lg2, UIOMMU_READ, flags, &window, &place, out))
			return;
		place.fetches++;
		if (!pgtable_load(place.host, shape->entry_lg2, &entry)) {
			pgtable_fault(pgtable, out, UIOMMU_FAULT_MEMORY, true, cursor.level, place.fetches);
			return;
		}
	}
	pgtable_done(&cursor, &item, place.fetches, out);
}

typedef void pgtable_walk_on_fn(const struct pgtable *pgtable, unsigned int flags, const struct pgtable_cursor *from,
				const struct pgtable_place *at, uint64_t entry, struct pgtable_result *out);

/*
 * One level, whose number is a constant here. True: go on one level down. Otherwise the walk is over. Entries that need no care, or
 * are leaves with nothing to set, end here; the rest is @on's.
 */
PGTABLE_INLINE bool pgtable_step(const struct pgtable_shape *shape, bool flat, pgtable_walk_on_fn *on,
				 const struct pgtable *pgtable, unsigned int level, unsigned int flags,
				 struct pgtable_cursor *cursor, struct pgtable_window *window, struct pgtable_place *place,
				 struct pgtable_result *out)
{
	struct pgtable_item item;
	uint64_t entry;

	cursor->level = place->level = level;
	if (unlikely(!pgtable_reach(pgtable, flat, 1U << shape->entry_lg2, UIOMMU_READ, flags, window, place, out)))
		return false;
	place->fetches++;
	if (unlikely(!pgtable_load(place->host, shape->entry_lg2, &entry))) {
		pgtable_fault(pgtable, out, UIOMMU_FAULT_MEMORY, true, level, place->fetches);
		return false;
	}
	if (level && likely(pgtable_is_plain(shape, pgtable, entry, level))) {
		cursor->table = (entry & pgtable->plain.address) << shape->plain_shift;
		cursor->gathered &= entry ^ shape->flip;
		cursor->level = level - 1;
		place->address = pgtable_place_in(shape, cursor);
		return true;
	}
	item = shape->decode(pgtable, entry, flags, cursor);
	if (likely(item.kind == PGTABLE_LEAF && item.update == entry &&
		   !(flags & (UIOMMU_READ | UIOMMU_WRITE | UIOMMU_EXEC) & ~(unsigned int)item.access)))
		pgtable_done(cursor, &item, place->fetches, out);
	else
		on(pgtable, flags, &(struct pgtable_cursor){cursor->table, cursor->input, cursor->gathered, level, cursor->half},
		   &(struct pgtable_place){place->address, place->host, level, place->fetches}, entry, out);
	return false;
}

PGTABLE_INLINE void pgtable_walk_shape(const struct pgtable_shape *shape, bool flat, pgtable_walk_on_fn *on,
				       const struct pgtable *pgtable, uint64_t address, unsigned int flags,
				       struct pgtable_result *out)
{
	struct pgtable_window window = pgtable->memory.window;
	struct pgtable_cursor cursor = {.input = address, .gathered = UINT64_MAX};
	struct pgtable_place place = {.fetches = 0};
	unsigned int reason = shape->begin(pgtable, address, flags, &cursor), top = pgtable->top[cursor.half];

	if (unlikely(reason)) {
		pgtable_fault(pgtable, out, reason, false, top, 0);
		return;
	}
	/* All of the address's bits: the top table may be larger than others. */
	place.address = pgtable->config.base[cursor.half] +
			(cursor.input >> (shape->granule_lg2 + top * shape->index_lg2) << shape->entry_lg2);
#define PGTABLE_STEP(level) pgtable_step(shape, flat, on, pgtable, level, flags, &cursor, &window, &place, out)
	switch (top) {
	case 5:
		if (!PGTABLE_STEP(5))
			return;
		__attribute__((fallthrough));
	case 4:
		if (!PGTABLE_STEP(4))
			return;
		__attribute__((fallthrough));
	case 3:
		if (!PGTABLE_STEP(3))
			return;
		__attribute__((fallthrough));
	case 2:
		if (!PGTABLE_STEP(2))
			return;
		__attribute__((fallthrough));
	case 1:
		if (!PGTABLE_STEP(1))
			return;
		__attribute__((fallthrough));
	default:
		PGTABLE_STEP(0);
	}
#undef PGTABLE_STEP
}

#define PGTABLE_WALKER(name, shape, flat)                                                                                          \
	static __attribute__((noinline)) void name##_on(const struct pgtable *pgtable, unsigned int flags,                         \
							const struct pgtable_cursor *from, const struct pgtable_place *at,         \
							uint64_t entry, struct pgtable_result *out)                                \
	{                                                                                                                          \
		pgtable_walk_on(&(shape), flat, pgtable, flags, from, at, entry, out);                                             \
	}                                                                                                                          \
	static void name(const struct pgtable *pgtable, uint64_t address, unsigned int flags, struct pgtable_result *out)          \
	{                                                                                                                          \
		pgtable_walk_shape(&(shape), flat, name##_on, pgtable, address, flags, out);                                       \
	}

/* name_flat and name_guest. */
#define PGTABLE_WALKERS(name, shape)                                                                                               \
	PGTABLE_WALKER(name##_flat, shape, true)                                                                                   \
	PGTABLE_WALKER(name##_guest, shape, false)

#endif
