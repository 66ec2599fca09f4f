/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ATS, as control sees it: which attachments a device may keep translations of, and how it is asked to forget them.
 *
 * An attachment of a device with ATS is a *keeper* of its space: whoever takes something away from the space, or what leads there,
 * asks the keepers that have got a translation (translate/ats.h says when). An *ask* is one invalidation sent to one device. It
 * belongs to whoever waits for it; the device names it by its tag, so that a device that answers twice, or too late, does no harm.
 *
 * A device that does not answer in time is cut off: its attachments take no access any more, and when translated accesses that
 * were running have ended, what was asked of it counts as done. They may sleep, so nobody waits for that but the asks.
 */
#ifndef IOMMU_ATS_H
#define IOMMU_ATS_H

#include <uiommu/ats.h>

#include "translate/space.h"
#include "util/timers.h"

struct attach;
struct device;
struct hwpt;
struct uiommu_invalidation;

/* A device's part. */
struct ats {
	pthread_mutex_t lock; /* a leaf */
	pthread_cond_t left; /* nobody is inside of the ops, or @ending is over */
	struct uiommu_ats_config config; /* ops is NULL: not enabled */
	struct cds_list_head asks; /* that it has not answered, the oldest first */
	uint32_t tags; /* the last one given */
	unsigned int inside; /* calls of the ops that have not returned */
	bool cut_off;
	bool ending; /* none is let through any more: those that are are waited for, by one at a time */
	struct cds_list_head late; /* asks that are done when they have ended */
};

struct ats_ask {
	struct cds_list_head link;
	struct device *device; /* used */
	uint32_t tag;
	bool waits; /* in the device's list of asks; under its lock */
	bool timed;
	struct timer timer;
	struct uiommu_ats_invalidation what;
	/* Once, with no lock held, from whatever thread: 0 or -ETIMEDOUT. The ask is not looked at any more. */
	void (*done)(struct ats_ask *ask, int error);
};

void ats_init(struct ats *ats);
void ats_fini(struct ats *ats);

/* The caller uses the device, or is inside a call of it. @ask has @what and @done. */
void ats_ask(struct device *device, struct ats_ask *ask);

/*
 * After a grace period: ask all keepers of @space for which @about says what they have to forget, and wait. Not inside an access.
 * -ETIMEDOUT is not told: a device that is cut off does no access any more.
 */
typedef bool ats_about(const void *opaque, const struct attach *attach, struct uiommu_ats_invalidation *what);
void ats_ask_keepers(struct space *space, ats_about *about, const void *opaque);

/* The same of one attachment. */
void ats_ask_attachment(struct attach *attach);

/* [start, last] of the space has been taken away. */
void ats_ask_unmapped(struct space *space, uint64_t start, uint64_t last);

/* What @requests say has been forgotten of @hwpt, a nested one, or whatever is nested on @parent. */
void ats_ask_invalidated(struct hwpt *hwpt, const struct uiommu_invalidation *requests, size_t count);
void ats_ask_nested(struct hwpt *parent);

/* Under the device's lock: @attach has been published. If the device does ATS, it is a keeper from now on. */
void ats_attached(struct attach *attach);

/* Nothing can be attached to it. */
bool ats_is_cut_off(struct device *device);

/* It is in no table, and its device has been asked. */
void ats_detached(struct attach *attach);

/* The end of all. */
void ats_end(struct device *device);

#endif
