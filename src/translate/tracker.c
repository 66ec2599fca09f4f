/* SPDX-License-Identifier: BSD-3-Clause */
#include "translate/tracker.h"

#include "util/rcu.h"
#include "util/util.h"

enum { ALL_LG2 = 63, PAGE_LG2 = 12 };

static void pass(uint64_t address, unsigned int page_lg2, struct pgtable_result *out)
{
	*out = (struct pgtable_result){
		.oa = address,
		.page_lg2 = (uint8_t)page_lg2,
		.access = UIOMMU_READ | UIOMMU_WRITE | UIOMMU_EXEC,
	};
}

/* No more than the page passes: its neighbours may be in the tables. */
static void missed(const struct tracker *tracker, uint64_t address, struct pgtable_result *out)
{
	if (tracker->loose) {
		pass(address, PAGE_LG2, out);
		return;
	}
	/* As of an area. */
	out->level = 0;
	if (out->reason == UIOMMU_FAULT_RANGE)
		out->reason = UIOMMU_FAULT_UNMAPPED;
}

static uint64_t walk(const struct pgtable *pgtable, uint64_t address, unsigned int flags, struct pgtable_result *out)
{
	const struct tracker *tracker = (const struct tracker *)(const void *)pgtable;
	const struct pgtable *tables = rcu_read(tracker->tables);

	if (!tables) {
		pass(address, ALL_LG2, out);
		return address;
	}
	tables->walk(tables, address, flags, out);
	if (unlikely(out->reason))
		missed(tracker, address, out);
	return out->reason ? 0 : out->oa;
}

void tracker_init(struct tracker *tracker, bool loose)
{
	_Static_assert(offsetof(struct tracker, pgtable) == 0, "walk");
	*tracker = (struct tracker){.pgtable.walk = walk, .loose = loose};
}
