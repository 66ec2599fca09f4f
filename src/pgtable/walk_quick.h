/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Quick walks: as long as tables and leaves are plain (struct pgtable_plain), so that there is nothing to check but permissions and
 * nothing to change. Whatever is not is left to a careful walk, from the start; nothing has been done then.
 */
#ifndef PGTABLE_WALK_QUICK_H
#define PGTABLE_WALK_QUICK_H

#include "pgtable/walk_careful.h"

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

#endif
