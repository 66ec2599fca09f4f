/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Dirty tracking of a paging HWPT: a tracker, and the tables that it walks while it is on.
 *
 * The tables have what the space's areas have, as long as the HWPT is in space->tracked: whoever inserts an area maps it first,
 * and whoever takes areas out unmaps them under the same lock, and gives back the tables' pages after the grace period that the
 * areas need anyway.
 *
 * A translation that was cached of a page that is unmapped says that its dirty bit is set. So it is forgotten; and who found it
 * just before is waited for by the release. Somebody may map the same address before that: then it is dirty from the start. What
 * nested HWPTs have cached is by the guest's addresses and is not looked for: so behind them everything that is mapped is dirty
 * from the start.
 */
#ifndef IOMMU_DIRTY_H
#define IOMMU_DIRTY_H

#include <uiommu/dirty.h>

#include "iommu/ioas.h"
#include "pgtable/vtd_build.h"
#include "translate/tracker.h"

struct hwpt;

struct dirty {
	struct tracker tracker;
	struct vtd_tables tables; /* while it is on; under the space's lock */
	pthread_mutex_t lock; /* of on and off, and of whoever reads; held while he waits; before all other locks */
	struct cds_list_head link; /* while it is on: in space->tracked */
	uint64_t *retired; /* table pages that @releasing gives back; under the space's lock */
	const struct release *releasing; /* or NULL */
};

/*
 * The HWPT's part. begin(): what it asks of the IOAS: addresses below 2^52, whole pages. -EADDRINUSE: something is mapped or
 * allowed that is not like that; -ENOMEM.
 */
int dirty_begin(struct hwpt *hwpt);
void dirty_init(struct hwpt *hwpt); /* after the IOTLB; cannot fail */
void dirty_end(struct hwpt *hwpt);

/* Under the space's lock, for all that track it. -ENOMEM, and those of vtd_tables_map(): nothing has changed. */
int dirty_map(struct space *space, const struct area *area);
void dirty_unmap(struct space *space, const struct area *area);

/* The same, when all areas of @release have been unmapped; and after everybody has been waited for. */
void dirty_forget(struct space *space, const struct release *release);
void dirty_reclaim(struct space *space, const struct release *release);

#endif
