/* SPDX-License-Identifier: BSD-3-Clause */
#include "memory/distant.h"
#include "memory/load.h"
#include "translate/tables/tables.h"
#include "util/util.h"

/* Through @stage2 to *@address. */
static bool pass(const struct pgtable *stage2, uint64_t *address, struct tables_fault *fault)
{
	struct pgtable_result result;

	stage2->walk(stage2, *address, UIOMMU_READ | (stage2->memory.trace ? PGTABLE_QUIET : 0), &result);
	if (distant_asked())
		result.reason = DISTANT_FIRST;
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
	unsigned int reason;
	const uint8_t *host;

	if (stage2 && !pass(stage2, &address, fault))
		return false;
	host = pgtable_find(memory, address, count * sizeof(*words), &reason);
	if (!host && reason == UIOMMU_FAULT_ABSENT) {
		fault->is_absent = true;
		fault->absent = address;
	}
	fault->reason = !host && reason == DISTANT_FIRST ? DISTANT_FIRST : UIOMMU_FAULT_MEMORY;
	for (unsigned int i = 0; host && i < count; i++)
		if (!load_u64(host + i * sizeof(*words), &words[i]))
			host = NULL;
	if (host) {
		fault->reason = UIOMMU_FAULT_NONE;
		if (memory->trace)
			tell(memory->trace, before, words, count, fault->structure);
		return true;
	}
	fault->table = true;
	return false;
}
