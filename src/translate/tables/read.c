/* SPDX-License-Identifier: BSD-3-Clause */
#include "memory/load.h"
#include "translate/tables/tables.h"
#include "util/util.h"

bool tables_read(const struct pgtable_memory *memory, const struct pgtable *stage2, uint64_t address, uint64_t *words,
		 unsigned int count, struct tables_fault *fault)
{
	struct pgtable_result result;
	const uint8_t *host;

	if (stage2) {
		stage2->walk(stage2, address, UIOMMU_READ, &result);
		if (result.reason) {
			fault->reason = result.reason;
			fault->stage = 2;
			fault->table = true;
			fault->ipa = address;
			return false;
		}
		address = result.oa;
	}
	host = pgtable_find(memory, address, count * sizeof(*words));
	for (unsigned int i = 0; host && i < count; i++)
		if (!load_u64(host + i * sizeof(*words), &words[i]))
			host = NULL;
	if (host)
		return true;
	fault->reason = UIOMMU_FAULT_MEMORY;
	fault->table = true;
	return false;
}
