/* SPDX-License-Identifier: BSD-3-Clause */
#include "translate/stages.h"

#include "memory/distant.h"
#include "util/rcu.h"
#include "util/util.h"

int stages_cache_init(struct stages_cache *cache, uint64_t pages, uint64_t steps)
{
	int error = iotlb_init(&cache->pages, pages);

	if (error)
		return error;
	error = iotlb_init(&cache->steps, steps);
	if (error)
		iotlb_fini(&cache->pages);
	cache->serial = distant_serial();
	return error;
}

void stages_cache_fini(struct stages_cache *cache)
{
	iotlb_fini(&cache->steps);
	iotlb_fini(&cache->pages);
}

/*
 * Steps first, here and elsewhere: a walk that finds one of them after that has begun before pages are forgotten, and so has its
 * fill.
 */
void stages_cache_forget(struct stages_cache *cache)
{
	__atomic_store_n(&cache->serial, distant_serial(), __ATOMIC_RELEASE);
	iotlb_renew_all(&cache->steps);
	iotlb_renew_all(&cache->pages);
}

/* A walk that has gone on without what it asked for has found nothing. */
static inline void postpone(struct pgtable_result *walked)
{
	if (distant_asked() && !walked->reason)
		*walked = (struct pgtable_result){.fetches = walked->fetches, .reason = DISTANT_FIRST};
}

/* The walk of one stage, from the step that is nearest to the leaf, with all that stands behind it. True: not from the top. */
static inline __attribute__((always_inline)) bool walk_on(struct stages *stages, const struct pgtable *pgtable, bool inner,
							  uint64_t address, unsigned int flags, struct pgtable_result *out)
{
	struct iotlb_fill fill = iotlb_begin(&stages->cache->steps, &stages->steps);
	const struct pgtable *behind = pgtable->memory.stage2;
	struct pgtable_result own, *walked = behind ? &own : out;
	struct pgtable_path path;
	bool stepped;

	distant_keep(&stages->serial, &stages->cache->serial);
	iotlb_find_step(&stages->steps, address, inner, &path.start);
	stepped = path.start.block_lg2;
	pgtable->from(pgtable, address, flags, &path, walked);
	postpone(walked);
	if (unlikely(walked->reason)) {
		*out = *walked;
		return stepped;
	}
	for (unsigned int left = path.noted; unlikely(left); left &= left - 1)
		iotlb_fill_step(&stages->cache->steps, &stages->steps, &fill, address, inner, &path.step[__builtin_ctz(left)]);
	if (behind)
		pgtable_compose(behind, walked, flags, out);
	return stepped;
}

/* struct pgtable.walk of a stage behind another one: for its tables, and for where it leads. */
static uint64_t walk_second(const struct pgtable *pgtable, uint64_t address, unsigned int flags, struct pgtable_result *out)
{
	struct stages *stages = container_of((struct pgtable *)(uintptr_t)pgtable, struct stages, second);

	if (unlikely(flags & PGTABLE_QUIET)) /* not noted, and no need to be fast */
		return pgtable->memory.stage2 ? pgtable_walk_through(pgtable, address, flags, out)
					      : pgtable->walkers->any[PGTABLE_GUEST](pgtable, address, flags, out);
	walk_on(stages, pgtable, true, address, flags, out);
	return out->reason ? 0 : out->oa;
}

int stages_init(struct stages *stages, const struct stages_config *config, const struct areas *areas, struct stages_cache *cache)
{
	struct pgtable_memory memory = {.areas = areas, .stage2 = config->behind, .trace = config->trace};
	int error = 0;

	*stages = (struct stages){.cache = cache, .walked = config->behind};
	if (config->second) {
		error = pgtable_init(&stages->second, config->second_format, config->second, &memory);
		if (config->first && cache->steps.sets && stages->second.from)
			stages->second.walk = walk_second;
		else if (config->first && config->behind)
			stages->second.walk = pgtable_walk_through;
		stages->walked = memory.stage2 = &stages->second;
	}
	if (config->first && !error) {
		error = pgtable_init(&stages->first, config->first_format, config->first, &memory);
		stages->walked = &stages->first;
	}
	if (error)
		return error;
	stages->serial = distant_serial();
	flights_init(&stages->flights);
	iotlb_join(&cache->steps, &stages->steps);
	iotlb_join(&cache->pages, &stages->cached);
	return 0;
}

void stages_fini(struct stages *stages)
{
	iotlb_part(&stages->cache->pages, &stages->cached);
	iotlb_part(&stages->cache->steps, &stages->steps);
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

void stages_translate(struct stages *stages, const struct pgtable *pgtable, uint64_t address, unsigned int flags,
		      struct pgtable_result *out, bool *stepped)
{
	*stepped = false;
	/* Nothing is cached of a tracker. */
	if (stages->steps.sets && pgtable->from && !(flags & PGTABLE_QUIET))
		*stepped = walk_on(stages, pgtable, false, address, flags, out);
	else
		pgtable_translate(pgtable, address, flags, out);
}

void stages_walk(struct stages *stages, uint64_t address, unsigned int flags, struct stages_result *result)
{
	struct iotlb_fill fill = iotlb_begin(&stages->cache->pages, &stages->cached);
	const struct pgtable *pgtable = rcu_read(stages->walked);
	struct pgtable_result walked;
	bool stepped;

	if (!pgtable) {
		*result = (struct stages_result){
			.address = address, .access = UIOMMU_READ | UIOMMU_WRITE | UIOMMU_EXEC, .page_lg2 = 63};
		result->length = UINT64_MAX - address + (address != 0);
		return;
	}
	distant_keep(&stages->serial, &stages->cache->serial);
	stages_translate(stages, pgtable, address, flags, &walked, &stepped);
	postpone(&walked);
	if (walked.reason) {
		*result = (struct stages_result){.fetches = walked.fetches,
						 .reason = walked.reason,
						 .stage = walked.stage,
						 .level = walked.level,
						 .table = walked.table,
						 .flags = fault_flags(stages, &walked),
						 .stepped = stepped,
						 .address = walked.reason == UIOMMU_FAULT_ABSENT ? walked.ipa : 0};
		return;
	}
	iotlb_fill(&stages->cache->pages, &stages->cached, &fill, address, flags & PGTABLE_USER, &walked);
	*result = (struct stages_result){
		.address = walked.oa,
		.length = (UINT64_C(1) << walked.page_lg2) - (address & low_mask(walked.page_lg2)),
		.fetches = walked.fetches,
		.page_lg2 = walked.page_lg2,
		.stepped = stepped,
		.access = (uint8_t)(walked.access & ~(unsigned int)(walked.clean && !(flags & PGTABLE_QUIET) ? UIOMMU_WRITE : 0)),
	};
}

void stages_forget(struct stages *stages, uint64_t start, uint64_t last, bool leaf)
{
	struct stages_cache *cache = stages->cache;

	__atomic_store_n(&stages->serial, distant_serial(), __ATOMIC_RELEASE);
	if (!start && last == UINT64_MAX) {
		if (!leaf)
			iotlb_renew(&cache->steps, &stages->steps);
		iotlb_renew(&cache->pages, &stages->cached);
		return;
	}
	if (!leaf)
		iotlb_clear(&cache->steps, &stages->steps, start, last);
	iotlb_clear(&cache->pages, &stages->cached, start, last);
}
