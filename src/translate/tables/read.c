/* SPDX-License-Identifier: BSD-3-Clause */
#include "memory/areas.h"
#include "memory/load.h"
#include "translate/tables/tables.h"
#include "util/util.h"

/* It could not be found: because it has not been supplied? */
static void look_for_absence(const struct pgtable_memory *memory, uint64_t address, struct tables_fault *fault)
{
	const struct area *area = memory->areas ? areas_find(memory->areas, address) : NULL;

	if (!area || area->resident || area_absence(area, address) != UIOMMU_FAULT_ABSENT)
		return;
	fault->is_absent = true;
	fault->absent = address;
}

/* Through @stage2 to *@address. */
static bool pass(const struct pgtable *stage2, uint64_t *address, struct tables_fault *fault)
{
	struct pgtable_result result;

	stage2->walk(stage2, *address, UIOMMU_READ | (stage2->memory.trace ? PGTABLE_QUIET : 0), &result);
	if (!result.reason) {
		*address = result.oa;
		return true;
	}
	fault->reason = result.reason;
	fault->stage = 2;
	fault->table = true;
	fault->ipa = *address;
	fault->is_absent = result.reason == UIOMMU_FAULT_ABSENT;
	fault->absent = result.ipa;
	return false;
}

/* A look, not an access: it changes nothing, and somebody is told what was read. */
static void tell(struct pgtable_trace *trace, uint64_t address, const uint64_t *words, unsigned int count, uint8_t structure)
{
	const struct pgtable_seen seen = {.address = address, .words = words, .count = count, .structure = structure};

	trace->seen(trace, &seen);
}

bool tables_read(const struct pgtable_memory *memory, const struct pgtable *stage2, uint64_t address, uint64_t *words,
		 unsigned int count, struct tables_fault *fault)
{
	const uint64_t before = address;
	const uint8_t *host;

	if (stage2 && !pass(stage2, &address, fault))
		return false;
	host = pgtable_find(memory, address, count * sizeof(*words));
	if (!host)
		look_for_absence(memory, address, fault);
	for (unsigned int i = 0; host && i < count; i++)
		if (!load_u64(host + i * sizeof(*words), &words[i]))
			host = NULL;
	if (host) {
		if (memory->trace)
			tell(memory->trace, before, words, count, fault->structure);
		return true;
	}
	fault->reason = UIOMMU_FAULT_MEMORY;
	fault->table = true;
	return false;
}
