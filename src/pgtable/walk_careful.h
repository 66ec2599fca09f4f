/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Walks with all care: whatever an entry is like, wherever its table is. An entry is read once and judged as it was read; what is
 * to be changed is changed by compare-and-swap. All faults come from here.
 */
#ifndef PGTABLE_WALK_CAREFUL_H
#define PGTABLE_WALK_CAREFUL_H

#include "memory/areas.h"
#include "memory/distant.h"
#include "memory/load.h"
#include "pgtable/shape.h"

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
	struct area *area = areas_find(areas, address);

	*reason = UIOMMU_FAULT_MEMORY;
	if (unlikely(!area || !(area->access & UIOMMU_READ) || area->last - address < size - 1))
		return NULL;
	if (unlikely(!area->resident))
		return area_elsewhere(area, address, size, access, reason);
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

/* From where @path begins, and if that ends with a fault, from the top. Not flat. */
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
	} while (unlikely(out->reason) && on && out->reason != DISTANT_FIRST);
	out->fetches = (uint8_t)min_u64(fetches, UINT8_MAX);
}

#endif
