/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Accesses that need guest memory which has not been supplied: asking for it, and waiting (memory/demand.h).
 *
 * A thread that whoever supplies it may wait for (inflight_tell()) does not wait: to it, what is absent cannot be read.
 */
#ifndef TRANSLATE_ABSENT_H
#define TRANSLATE_ABSENT_H

#include <pthread.h>
#include <stdbool.h>
#include <uiommu/fault.h>

#include "memory/demand.h"
#include "translate/space.h"

/* A thread that waits. */
struct absent {
	struct demand_wait wait;
	pthread_mutex_t lock;
	pthread_cond_t cond;
	bool answered;
	unsigned int response;
	int error; /* of asking */
};

/*
 * In the read section in which memory at @address of the areas was found absent. The errors of demand_ask(), and -EAGAIN if
 * something else is there now.
 */
int absent_ask(const struct areas *areas, uint64_t address, struct demand_wait *wait);

/* In that section, and outside of it: what one thread does. absent_end() sleeps; true: look again. */
void absent_begin(struct absent *absent, const struct areas *areas, uint64_t address);
bool absent_end(struct absent *absent);

/*
 * After a grace period since @area, or whatever led to it, was taken away: whoever waits for its memory looks again.
 * absent_look_again_at() does so of all that is in there.
 */
void absent_look_again(const struct area *area);
void absent_look_again_at(const struct areas *areas);

/* For device->resolve(): what is absent has been asked for and will not come. It is told as memory that cannot be read. */
extern struct demand_wait absent_refused;

/* device->resolve(), with what has to be fetched for it. Nothing is held. */
bool distant_resolve(struct uiommu_device *device, uint32_t pasid, struct uiommu_fault *fault, struct demand_wait *wait);

/* The same, and if memory is absent, wait for it. Nothing is held. */
bool absent_resolve(struct uiommu_device *device, uint32_t pasid, struct uiommu_fault *fault);

#endif
