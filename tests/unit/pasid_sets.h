/* SPDX-License-Identifier: BSD-3-Clause */
/* Sets of PASIDs for tests: what the fixture has, and a subscriber that notes what it is told. */
#ifndef TESTS_UNIT_PASID_SETS_H
#define TESTS_UNIT_PASID_SETS_H

#include "test.h"

#include <pthread.h>
#include <semaphore.h>

#include "slow.h"
#include "world.h"

#define IOVA_SLOW UINT64_C(0x40000000)

enum { EVENTS = 64 };

static struct world *w;
static uint32_t set;

static inline int setup(void **state)
{
	struct uiommu_pasid_set_alloc alloc = {.size = sizeof(alloc), .quota = 100};

	(void)state;
	w = world_make();
	return uiommu_pasid_set_alloc(w->context, &alloc, &set);
}

static inline int teardown(void **state)
{
	(void)state;
	world_end(w);
	slow_end();
	return 0;
}

static inline uint32_t take(uint32_t first, uint32_t last)
{
	uint32_t pasid = 0;

	assert_int_equal(uiommu_pasid_alloc(w->context, set, first, last, &pasid), 0);
	return pasid;
}

static inline int give(uint32_t pasid)
{
	return uiommu_pasid_free(w->context, set, pasid);
}

static inline struct uiommu_pasid_info info_of(uint32_t in, uint32_t pasid)
{
	struct uiommu_pasid_info info = {.size = sizeof(info)};

	if (uiommu_pasid_info(w->context, in, pasid, &info))
		info.state = UIOMMU_PASID_STATE_FREE;
	return info;
}

static inline void is(uint32_t pasid, enum uiommu_pasid_state state)
{
	assert_int_equal(info_of(set, pasid).state, state);
}

static inline struct uiommu_pasid_set_info counts(void)
{
	struct uiommu_pasid_set_info info = {.size = sizeof(info)};

	assert_int_equal(uiommu_pasid_set_info(w->context, set, &info), 0);
	return info;
}

static inline void attach(uint32_t pasid)
{
	assert_int_equal(uiommu_attach(w->context, w->device_id, pasid, w->ioas), 0);
}

static inline int detach(uint32_t pasid)
{
	return uiommu_detach(w->context, w->device_id, pasid);
}

static inline int bind_self(uint32_t pasid)
{
	struct uiommu_bind_process payload = {.flags = UIOMMU_BIND_SELF, .access = UIOMMU_READ};
	struct uiommu_bind bind = {
		.size = sizeof(bind),
		.device_id = w->device_id,
		.pasid = pasid,
		.type = UIOMMU_BIND_PROCESS,
		.data_len = sizeof(payload),
		.data = &payload,
		.fault_queue_id = w->queue,
	};

	return uiommu_bind(w->context, &bind);
}

static inline bool readable(uint32_t pasid, unsigned int *reason)
{
	struct uiommu_dma_result result;
	uint8_t byte;
	int error = uiommu_dma_read(w->device, pasid, IOVA_FILE, &byte, 1, &result);

	*reason = error ? result.fault.reason : UIOMMU_FAULT_NONE;
	return !error;
}

#endif
