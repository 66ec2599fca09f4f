/* SPDX-License-Identifier: BSD-3-Clause */
#include "translate/absent.h"

#include <errno.h>

#include "memory/distant.h"
#include "memory/presence.h"
#include "memory/region.h"
#include "translate/inflight.h"
#include "util/rcu.h"
#include "util/util.h"

struct demand_wait absent_refused;

int absent_ask(const struct areas *areas, uint64_t address, struct demand_wait *wait)
{
	const struct area *area = areas_find(areas, address);
	const struct presence *presence = area ? region_presence(area->region) : NULL;

	return presence ? demand_ask(presence, area_offset(area, address), wait) : -EAGAIN;
}

static void answered(struct demand_wait *wait, unsigned int response)
{
	struct absent *absent = container_of(wait, struct absent, wait);

	pthread_mutex_lock(&absent->lock);
	absent->answered = true;
	absent->response = response;
	pthread_cond_signal(&absent->cond);
	pthread_mutex_unlock(&absent->lock);
}

static void prepare(struct absent *absent)
{
	pthread_mutex_init(&absent->lock, NULL);
	pthread_cond_init(&absent->cond, NULL);
	absent->answered = false;
	absent->wait.done = answered;
}

void absent_begin(struct absent *absent, const struct areas *areas, uint64_t address)
{
	prepare(absent);
	absent->error = inflight_tells() ? -ECANCELED : absent_ask(areas, address, &absent->wait);
}

bool absent_end(struct absent *absent)
{
	if (absent->error)
		return absent->error == -EAGAIN;
	pthread_mutex_lock(&absent->lock);
	while (!absent->answered)
		pthread_cond_wait(&absent->cond, &absent->lock);
	pthread_mutex_unlock(&absent->lock);
	return absent->response == UIOMMU_RESPONSE_SUCCESS;
}

bool distant_resolve(struct uiommu_device *device, uint32_t pasid, struct uiommu_fault *fault, struct demand_wait *wait)
{
	struct thread_state *self = thread_self();
	bool found;

	distant_begin(self);
	do
		found = device->resolve(device, pasid, fault, wait);
	while (!found && fault->reason == DISTANT_FIRST && distant_fetch(self));
	distant_end(self);
	if (!found && fault->reason == DISTANT_FIRST)
		fault->reason = UIOMMU_FAULT_MEMORY;
	return found;
}

bool absent_resolve(struct uiommu_device *device, uint32_t pasid, struct uiommu_fault *fault)
{
	struct absent absent;

	if (inflight_tells())
		return distant_resolve(device, pasid, fault, &absent_refused);
	prepare(&absent);
	absent.error = 0;
	if (distant_resolve(device, pasid, fault, &absent.wait))
		return true;
	if (fault->reason != UIOMMU_FAULT_ABSENT)
		return false;
	return absent_end(&absent) || distant_resolve(device, pasid, fault, &absent_refused);
}

/* What the area has of its region. */
static void answer_part(struct region *region, uint64_t offset, uint64_t length)
{
	const struct presence *presence = region_presence(region);
	uint64_t start, last, ignored;

	presence_page(presence, offset, &start, &ignored);
	presence_page(presence, offset + (length - 1), &ignored, &last);
	demand_answer(presence_demand(presence), start, last, UIOMMU_RESPONSE_SUCCESS);
}

void absent_look_again(const struct area *area)
{
	if (region_presence(area->region))
		answer_part(area->region, area_offset(area, area->start), area->last - area->start + 1);
}

void absent_look_again_at(const struct areas *areas)
{
	struct region *region = NULL;
	uint64_t cursor = 0, offset = 0, length = 0;
	const struct area *area;

	if (!demand_in_use())
		return;
	do {
		rcu_enter();
		area = areas_first(areas, cursor);
		if (area) {
			cursor = area->last + 1;
			region = region_presence(area->region) ? region_get(area->region) : NULL;
			offset = region ? area_offset(area, area->start) : 0;
			length = area->last - area->start + 1;
		}
		rcu_leave();
		if (area && region) {
			answer_part(region, offset, length);
			region_put(region);
		}
	} while (area && cursor);
}
