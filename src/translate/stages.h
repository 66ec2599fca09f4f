/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Stages: what stands between an attachment's input addresses and its space: a guest's page tables, one stage or two, whose output
 * is guest-physical, and what has been cached of them.
 *
 * The same struct serves a nested HWPT and an entry that was decoded from a guest's PASID table.
 *
 * Two things are cached: translations, and where the tables of the lowest levels are. What a walk needs of the latter it looks for
 * itself, in both stages: it reads one entry of each then, and three at most if only the upper ones are there. Both end at
 * guest-physical addresses: areas are looked up at each access, of tables as of data.
 *
 * Invalidation. Who changed the tables calls stages_forget(), for as many as he likes, and waits for a grace period: accesses of
 * resident memory run inside read sections. If somebody holds something then (inflight_quiet), a turn of @flights, another grace
 * period and their drain wait for those that sleep.
 */
#ifndef TRANSLATE_STAGES_H
#define TRANSLATE_STAGES_H

#include "pgtable/pgtable.h"
#include "translate/inflight.h"
#include "translate/iotlb.h"

/* What is cached of all stages that share a guest's memory. */
struct stages_cache {
	struct iotlb pages;
	uint64_t serial; /* another one each time everything has been forgotten (memory/distant.h); atomic */
	struct iotlb steps; /* of outer stages by input address, of those behind them by intermediate address */
};

/* For at least so many; 0: none. -ENOMEM. */
int stages_cache_init(struct stages_cache *cache, uint64_t pages, uint64_t steps);
void stages_cache_fini(struct stages_cache *cache);

/* Forget everything. */
void stages_cache_forget(struct stages_cache *cache);

struct stages {
	struct iotlb_owner cached; /* pages */
	struct iotlb_owner steps;
	struct stages_cache *cache;
	const struct pgtable *walked; /* RCU: @first, @second or what is behind, or NULL: addresses go through as they are */
	struct flights flights; /* accesses that sleep */
	uint64_t serial; /* another one each time something has been forgotten; atomic */
	struct pgtable first;
	struct pgtable second;
	bool straight; /* a paging HWPT's own: there is nothing but a tracker, and that not always */
};

/* What one look found: where an access goes on, or why not. */
struct stages_result {
	uint64_t address; /* in the space; with ABSENT: of what is absent */
	uint64_t length; /* to the end of the page; never 0 */
	uint8_t fetches; /* entries that were read for it; 0 if it was cached. At most 255 are counted */
	uint8_t access; /* what the stages permit; unless QUIET, without WRITE as long as a dirty bit is to be set by a walk for it
			 */
	uint8_t reason; /* enum uiommu_fault_reason, or DISTANT_FIRST (memory/distant.h) */
	uint8_t stage;
	uint8_t level;
	bool table;
	uint8_t page_lg2; /* after a walk: input and output run in parallel in an aligned block of this size; 63: everywhere */
	uint8_t flags; /* enum uiommu_fault_flags */
	bool stepped; /* the walk did not begin at the top */
};

/* One stage or two; a config of either may be NULL. */
struct stages_config {
	const struct pgtable_format *first_format;
	const struct pgtable_config *first;
	const struct pgtable_format *second_format;
	const struct pgtable_config *second;
	const struct pgtable *behind; /* a tracker (tracker.h), walked last for accesses and tables, which has to stay; or NULL */
	struct pgtable_trace *trace; /* of stages that are looked through once; or NULL */
};

/* -EINVAL, -EOPNOTSUPP: the formats'. @areas: guest RAM, which has to stay. */
int stages_init(struct stages *stages, const struct stages_config *config, const struct areas *areas, struct stages_cache *cache);

/* Nobody uses it any more. */
void stages_fini(struct stages *stages);

/* The walk, and the fill. In a read section. */
void stages_walk(struct stages *stages, uint64_t address, unsigned int flags, struct stages_result *result);

/*
 * Forget what is cached of the input addresses [start, last]; 0 to UINT64_MAX: all, of the stage behind, too. @leaf: only entries
 * of pages have changed, none that leads to a table.
 */
void stages_forget(struct stages *stages, uint64_t start, uint64_t last, bool leaf);

/*
 * What stages_walk() ends in, with all that pgtable_translate() says. *@stepped: it did not begin at the top. PGTABLE_QUIET neither
 * uses nor fills what is cached.
 */
void stages_translate(struct stages *stages, const struct pgtable *pgtable, uint64_t address, unsigned int flags,
		      struct pgtable_result *out, bool *stepped);

/* In a read section: is it cached, for all that @flags (enum uiommu_access, PGTABLE_USER) ask? */
static inline __attribute__((always_inline)) bool stages_hit(const struct stages *stages, uint64_t address, unsigned int flags,
							     struct iotlb_hit *hit)
{
	const unsigned int need = flags & (UIOMMU_READ | UIOMMU_WRITE | UIOMMU_EXEC);

	return likely(iotlb_find(&stages->cached, address, flags & PGTABLE_USER, hit)) && !(need & ~hit->access);
}

/* In a read section: the cache, or a walk. */
static inline void stages_find(struct stages *stages, uint64_t address, unsigned int flags, struct stages_result *result)
{
	struct iotlb_hit hit;

	if (likely(stages_hit(stages, address, flags, &hit))) {
		result->address = hit.oa;
		result->length = hit.length;
		result->access = (uint8_t)hit.access;
		result->reason = UIOMMU_FAULT_NONE;
		result->fetches = 0;
		result->stepped = false;
		return;
	}
	stages_walk(stages, address, flags, result);
}

#endif
