/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Trackers: which pages of a space have been written to.
 *
 * A tracker is a page table that leads every address to itself: what the stages of an attachment end in, before the areas are
 * looked at. While it is on it walks tables of our own (pgtable/vtd_build.h), whose dirty bits are what it is there for; a walk for
 * a write sets them, and what is cached permits a write only after such a walk. While it is off, addresses go through as they are.
 *
 * Who clears dirty bits then has what is cached forgotten, and waits for a grace period and for those who sleep (stages.h). A write
 * with an old translation is over when he is done, and its page was dirty when he looked. So every write is told at least once: by
 * the first look that ends after it, or the one before.
 *
 * An address that is not in the tables is a fault, because memory that appears there between our look and that at the areas would
 * be written to unseen. Behind a guest's tables it is none: there the areas have to say what is wrong, as if there were no tracker.
 * Such a tracker is *loose*; what is put into its tables while it is on has to be dirty from the start.
 */
#ifndef TRANSLATE_TRACKER_H
#define TRANSLATE_TRACKER_H

#include "pgtable/pgtable.h"

struct tracker {
	struct pgtable pgtable; /* to walk */
	const struct pgtable *tables; /* RCU; NULL: off */
	bool loose;
};

void tracker_init(struct tracker *tracker, bool loose);

#endif
