/* SPDX-License-Identifier: BSD-3-Clause */
#include "pgtable/pgtable.h"

#include "pgtable/walk.h"
#include "util/bits.h"
#include "util/util.h"

/* No table is larger than this and not aligned to it. */
enum { BLOCK_LEAST_LG2 = 20 };

/* The largest naturally aligned block of addresses in @window; its mask, and 0 in *@first if there is none worth it. */
static uint64_t window_block(const struct pgtable_window *window, uint64_t *first)
{
	uint64_t last = window->first + (window->length - 1);

	if (!window->first && window->length == UINT64_MAX) {
		*first = 0;
		return UINT64_MAX;
	}
	for (unsigned int lg2 = 63; window->length && lg2 >= BLOCK_LEAST_LG2; lg2--) {
		uint64_t low = low_mask(lg2), start = (window->first + low) & ~low;

		if (start >= window->first && start <= last && last - start >= low) {
			*first = start;
			return low;
		}
	}
	return 0;
}

/* Tables elsewhere are not plain, so that flat walkers need not look where each one is. */
static void keep_near(struct pgtable *pgtable)
{
	uint64_t first = 0, block = window_block(&pgtable->memory.window, &first);
	struct pgtable_plain *plain = &pgtable->plain;
	unsigned int shift = pgtable->walkers->shape->plain_shift;

	if (!block) {
		plain->mask = 0;
		plain->value = 1;
		return;
	}
	plain->mask |= plain->address & ~block >> shift;
	plain->value |= first >> shift;
	if (first >> shift & ~plain->address) {
		plain->mask = 0;
		return;
	}
	pgtable->exactly = plain->mask | ~plain->address;
	pgtable->beside = pgtable->near - ((plain->value & ~plain->address) << shift);
}

/* Leaves that reach knows lead into the window's block, and to where all of their page is there. Clean ones are as good. */
static void set_read(struct pgtable *pgtable)
{
	uint64_t first = 0, block = window_block(&pgtable->memory.window, &first);
	const struct pgtable_shape *shape = pgtable->walkers->shape;

	for (unsigned int level = 0; level < PGTABLE_PLAIN_LEAVES; level++) {
		struct pgtable_plain *read = &pgtable->read[level];

		*read = pgtable->leaf[level];
		read->mask &= ~pgtable->dirty;
		read->value &= ~pgtable->dirty;
		read->mask |= read->address & ~block >> shape->plain_shift;
		read->value |= first >> shape->plain_shift;
		if (first >> shape->plain_shift & ~read->address ||
		    low_mask(shape->granule_lg2 + level * shape->index_lg2) & ~block)
			*read = (struct pgtable_plain){.value = 1};
	}
}

/* The tables of both are in the same window, and are read as usual. */
static bool is_paired(const struct pgtable_memory *memory)
{
	const struct pgtable *stage2 = memory->stage2;
	const struct pgtable_window *window = &memory->window;

	return !memory->areas && stage2->reach && stage2->walk == stage2->walkers->usual[PGTABLE_FLAT] &&
	       window->host == stage2->memory.window.host && window->first == stage2->memory.window.first &&
	       window->length == stage2->memory.window.length;
}

/* The top table is that of usual walkers, and they can read it without a look at where it is. */
static bool is_usual(struct pgtable *pgtable, enum pgtable_where where)
{
	const struct pgtable_window *window = &pgtable->memory.window;
	const struct pgtable_shape *shape = pgtable->walkers->shape;
	uint64_t at = pgtable->config.base[0] - window->first;

	if (pgtable->unusual || pgtable->top[0] != shape->usual_top)
		return false;
	pgtable->usual_root = pgtable->config.base[0];
	pgtable->usual_offsets = pgtable_top_offset(shape, low_mask(pgtable->config.input_lg2[0]), shape->usual_top);
	if (where != PGTABLE_FLAT)
		return true;
	pgtable->usual_root += pgtable->near;
	return at < window->length && window->length - at > pgtable->usual_offsets + low_mask(shape->entry_lg2);
}

int pgtable_init(struct pgtable *pgtable, const struct pgtable_format *format, const struct pgtable_config *config,
		 const struct pgtable_memory *memory)
{
	enum pgtable_where where = memory->stage2 ? PGTABLE_NESTED : memory->areas ? PGTABLE_GUEST : PGTABLE_FLAT;
	int error;

	*pgtable = (struct pgtable){
		.near = (uintptr_t)memory->window.host - memory->window.first,
		.plain.value = 1,
		.walkers = format->walkers,
		.format = format,
		.memory = *memory,
		.config = *config,
	};
	for (unsigned int level = 0; level < PGTABLE_PLAIN_LEAVES; level++)
		pgtable->leaf[level].value = 1;
	error = format->setup(pgtable);
	if (error)
		return error;
	if (where == PGTABLE_FLAT)
		keep_near(pgtable);
	if (memory->trace) {
		pgtable->walk = pgtable->walkers->any[PGTABLE_TRACED];
		return 0;
	}
	pgtable->from = pgtable->walkers->from[where];
	pgtable->walk = pgtable->walkers->any[where];
	if (!is_usual(pgtable, where))
		return 0;
	pgtable->walk = pgtable->walkers->usual[where == PGTABLE_NESTED && is_paired(memory) ? PGTABLE_PAIRED : where];
	if (where == PGTABLE_FLAT && pgtable->walkers->shape->readable) {
		set_read(pgtable);
		pgtable->reach = pgtable->walkers->reach;
	}
	return 0;
}

const uint8_t *pgtable_find(const struct pgtable_memory *memory, uint64_t address, uint64_t size, unsigned int *reason)
{
	const struct pgtable_window *window = &memory->window;
	uint64_t offset = address - window->first;

	*reason = UIOMMU_FAULT_MEMORY;
	if (memory->areas)
		return pgtable_in_areas(memory->areas, address, size, UIOMMU_READ, reason);
	return offset < window->length && window->length - offset >= size ? window->host + offset : NULL;
}

/* What @stage2 makes of @ipa; @first is the result of what stands before it, which led there. */
static inline __attribute__((always_inline)) void compose(const struct pgtable *stage2, uint64_t ipa,
							  const struct pgtable_result *first, unsigned int flags,
							  struct pgtable_result *out)
{
	stage2->walk(stage2, ipa, flags, out);
	out->fetches = (uint8_t)min_u64((uint64_t)out->fetches + first->fetches, UINT8_MAX);
	if (unlikely(out->reason)) {
		if (out->reason != UIOMMU_FAULT_ABSENT)
			out->ipa = ipa; /* and table is true if it was a table of stage 2 that could not be read */
		return;
	}
	out->access &= first->access;
	out->clean |= first->clean;
	out->page_lg2 = (uint8_t)min_u64(out->page_lg2, first->page_lg2);
	out->attributes = first->attributes;
}

void pgtable_compose(const struct pgtable *stage2, const struct pgtable_result *first, unsigned int flags,
		     struct pgtable_result *out)
{
	compose(stage2, first->oa, first, flags, out);
}

void pgtable_translate(const struct pgtable *pgtable, uint64_t address, unsigned int flags, struct pgtable_result *out)
{
	const struct pgtable *stage2 = pgtable->memory.stage2;
	struct pgtable_result first;
	uint64_t ipa;

	if (!stage2) {
		pgtable->walk(pgtable, address, flags, out);
		return;
	}
	ipa = pgtable->walk(pgtable, address, flags, &first);
	if (unlikely(first.reason))
		*out = first;
	else
		compose(stage2, ipa, &first, flags, out);
}

uint64_t pgtable_walk_through(const struct pgtable *pgtable, uint64_t address, unsigned int flags, struct pgtable_result *out)
{
	struct pgtable_result own;

	pgtable->walkers->any[pgtable->memory.trace ? PGTABLE_TRACED : PGTABLE_NESTED](pgtable, address, flags, &own);
	if (unlikely(own.reason))
		*out = own;
	else
		compose(pgtable->memory.stage2, own.oa, &own, flags, out);
	return out->reason ? 0 : out->oa;
}
