/* SPDX-License-Identifier: BSD-3-Clause */
#include "translate/stages.h"

#include "util/rcu.h"

int stages_init(struct stages *stages, const struct stages_config *config, const struct areas *areas, struct iotlb *iotlb)
{
	struct pgtable_memory memory = {.areas = areas, .stage2 = config->behind};
	int error = 0;

	*stages = (struct stages){.iotlb = iotlb, .walked = config->behind};
	if (config->second) {
		error = pgtable_init(&stages->second, config->second_format, config->second, &memory);
		if (config->first && config->behind)
			stages->second.walk = pgtable_walk_through;
		stages->walked = memory.stage2 = &stages->second;
	}
	if (config->first && !error) {
		error = pgtable_init(&stages->first, config->first_format, config->first, &memory);
		stages->walked = &stages->first;
	}
	if (error)
		return error;
	flights_init(&stages->flights);
	iotlb_join(iotlb, &stages->cached);
	return 0;
}

void stages_fini(struct stages *stages)
{
	iotlb_part(stages->iotlb, &stages->cached);
	flights_fini(&stages->flights);
}

/* What more can be said of a fault in a guest's tables. */
static uint8_t fault_flags(const struct stages *stages, const struct pgtable_result *walked)
{
	bool nested = stages->first.format && stages->second.format, refused = nested && walked->stage == 2 && walked->table;
	const struct pgtable *own = walked->stage == 1 ? &stages->first : &stages->second;
	uint8_t flags = nested ? UIOMMU_FAULT_NESTED : 0;
	bool top = own->format && walked->level == own->top[0];

	if (stages->straight)
		return 0;
	/* For a table of stage 1; either that is the top one, or of what stage 2 itself could not read. */
	if (refused)
		top = walked->reason == UIOMMU_FAULT_MEMORY ? walked->page_lg2 == stages->second.top[0]
							    : walked->level == stages->first.top[0];
	flags |= top ? UIOMMU_FAULT_TOP : 0;
	return flags | (refused && walked->clean ? UIOMMU_FAULT_CHANGE : 0);
}

void stages_walk(struct stages *stages, uint64_t address, unsigned int flags, struct stages_result *result)
{
	struct iotlb_fill fill = iotlb_begin(stages->iotlb, &stages->cached);
	const struct pgtable *pgtable = rcu_read(stages->walked);
	struct pgtable_result walked;

	if (!pgtable) {
		*result = (struct stages_result){
			.address = address, .access = UIOMMU_READ | UIOMMU_WRITE | UIOMMU_EXEC, .page_lg2 = 63};
		result->length = UINT64_MAX - address + (address != 0);
		return;
	}
	pgtable_translate(pgtable, address, flags, &walked);
	if (walked.reason) {
		*result = (struct stages_result){.fetches = walked.fetches,
						 .reason = walked.reason,
						 .stage = walked.stage,
						 .level = walked.level,
						 .table = walked.table,
						 .flags = fault_flags(stages, &walked)};
		return;
	}
	iotlb_fill(stages->iotlb, &stages->cached, &fill, address, flags & PGTABLE_USER, &walked);
	*result = (struct stages_result){
		.address = walked.oa,
		.length = (UINT64_C(1) << walked.page_lg2) - (address & low_mask(walked.page_lg2)),
		.fetches = walked.fetches,
		.page_lg2 = walked.page_lg2,
		.access = (uint8_t)(walked.access & ~(unsigned int)(walked.clean ? UIOMMU_WRITE : 0)),
	};
}

void stages_forget(struct stages *stages, uint64_t start, uint64_t last)
{
	if (!start && last == UINT64_MAX)
		iotlb_renew(stages->iotlb, &stages->cached);
	else
		iotlb_clear(stages->iotlb, &stages->cached, start, last);
}
