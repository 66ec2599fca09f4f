/* SPDX-License-Identifier: BSD-3-Clause */
#include "pgtable/pgtable.h"

#include "util/util.h"

int pgtable_init(struct pgtable *pgtable, const struct pgtable_format *format, const struct pgtable_config *config,
		 const struct pgtable_memory *memory)
{
	*pgtable = (struct pgtable){.format = format, .memory = *memory, .config = *config};
	pgtable->walk = memory->areas || memory->stage2 ? format->walk_guest : format->walk_flat;
	return format->setup(pgtable);
}

void pgtable_translate(const struct pgtable *pgtable, uint64_t address, unsigned int flags, struct pgtable_result *out)
{
	const struct pgtable *stage2 = pgtable->memory.stage2;
	struct pgtable_result first;

	if (!stage2) {
		pgtable->walk(pgtable, address, flags, out);
		return;
	}
	pgtable->walk(pgtable, address, flags, &first);
	if (unlikely(first.reason)) {
		*out = first;
		return;
	}
	stage2->walk(stage2, first.oa, flags, out);
	out->fetches = (uint8_t)min_u64((uint64_t)out->fetches + first.fetches, UINT8_MAX);
	if (unlikely(out->reason)) {
		out->ipa = first.oa;
		out->table = false;
		return;
	}
	out->access &= first.access;
	out->clean |= first.clean;
	out->page_lg2 = (uint8_t)min_u64(out->page_lg2, first.page_lg2);
	out->attributes = first.attributes;
}
