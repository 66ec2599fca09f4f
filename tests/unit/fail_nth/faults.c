/* SPDX-License-Identifier: BSD-3-Clause */
/* Fault queues, page requests, memory on demand, and devices that keep translations. */
#include "fail_nth.h"

#include <uiommu/uiommu.h>

#include "util/util.h"

static int call_fault_queue_alloc(struct world *w)
{
	return uiommu_fault_queue_alloc(w->context, 16, &w->made);
}

static int call_fault_queue_limit(struct world *w)
{
	const struct uiommu_fault_limits limits = {.size = sizeof(limits), .response_ms = 1000000};

	return uiommu_fault_queue_limit(w->context, w->queue, &limits);
}

static int call_demand_alloc(struct world *w)
{
	return uiommu_demand_alloc(w->context, &w->made);
}

static int call_memory_on_demand(struct world *w)
{
	const struct uiommu_guest_region region = {
		.gpa = 0x100000,
		.length = w->page,
		.fd = w->fd,
		.access = UIOMMU_READ,
		.flags = UIOMMU_GUEST_ON_DEMAND,
		.demand_id = w->made,
		.bitmap_fd = w->fd,
		.page_lg2 = 12,
		.bitmap_offset = 2 * w->page,
	};
	const struct uiommu_guest_memory change = {.size = sizeof(change), .ioas_id = w->ioas, .add = &region, .add_count = 1};

	return uiommu_guest_memory_update(w->context, &change);
}

static int call_absent(struct world *w)
{
	return call_demand_alloc(w) || call_memory_on_demand(w);
}

static void ignore_response(void *opaque, unsigned int response)
{
	(void)opaque;
	(void)response;
}

/* A page that is absent is asked for. */
static int call_absent_request(struct world *w)
{
	const struct uiommu_fault fault = {
		.address = 0x100000, .pasid = UIOMMU_NO_PASID, .access = UIOMMU_READ, .reason = UIOMMU_FAULT_ABSENT};

	return uiommu_dma_page_request(w->device, &fault, ignore_response, NULL);
}

static int call_page_request(struct world *w)
{
	struct uiommu_fault fault = {.address = 1, .device_id = w->device_id, .pasid = UIOMMU_NO_PASID, .access = UIOMMU_READ};

	return uiommu_dma_page_request(w->device, &fault, ignore_response, NULL);
}

static void ignore_group(void *opaque, const struct uiommu_page_response *response)
{
	unsigned int *told = opaque;

	*told += response->group == 0;
}

static unsigned int groups_told;

static int call_pri_enable(struct world *w)
{
	static const struct uiommu_pri_ops ops = {.response = ignore_group};
	const struct uiommu_pri_config config = {.size = sizeof(config), .allocation = 16, .ops = &ops, .opaque = &groups_told};

	return uiommu_pri_enable(w->device, &config);
}

/* A group of four. Without memory the device is told to try again, and does. */
static int call_pri_request(struct world *w)
{
	struct uiommu_fault_event events[4];
	bool waits;

	groups_told = 0;
	for (unsigned int i = 0; i < 4; i++) {
		const struct uiommu_page_request request = {.address = i * 4096,
							    .pasid = UIOMMU_NO_PASID,
							    .access = UIOMMU_READ,
							    .flags = i == 3 ? UIOMMU_PAGE_LAST : 0};

		assert_int_equal(uiommu_pri_request(w->device, &request), 0);
	}
	waits = uiommu_fault_read(w->context, w->queue, events, 4) > 0;
	assert_int_equal(groups_told, !waits);
	if (waits)
		assert_int_equal(uiommu_fault_respond(w->context, w->queue, events[0].cookie, UIOMMU_RESPONSE_SUCCESS), 0);
	assert_int_equal(groups_told, 1);
	return 0;
}

static int call_atc_create(struct world *w)
{
	struct uiommu_atc *atc;
	int error = uiommu_atc_create(w->device, 64, 0, &atc);

	if (!error)
		uiommu_atc_destroy(atc);
	return error;
}

static void ignore_invalidation(void *opaque, uint32_t tag, const struct uiommu_ats_invalidation *what)
{
	(void)opaque;
	(void)tag;
	(void)what;
}

static int call_ats_enable(struct world *w)
{
	static const struct uiommu_ats_ops ops = {.invalidate = ignore_invalidation};
	const struct uiommu_ats_config config = {.size = sizeof(config), .timeout_ms = 1000000, .ops = &ops};

	return uiommu_ats_enable(w->device, &config);
}

static int call_ats_invalidate(struct world *w)
{
	const struct uiommu_ats_invalidation all = {.last = UINT64_MAX, .pasid = UIOMMU_NO_PASID};

	return uiommu_ats_invalidate(w->context, w->device_id, &all, NULL, NULL);
}

/* It keeps nothing then. */
static int call_atc_read(struct world *w)
{
	uint64_t value;
	struct uiommu_dma_op op = {.address = 0x10000, .buffer = &value, .length = 8, .pasid = UIOMMU_NO_PASID};
	struct uiommu_atc *atc;
	int at = fail_at;

	fail_at = 0;
	assert_int_equal(uiommu_atc_create(w->device, 64, 0, &atc), 0);
	fail_at = at;
	assert_int_equal(uiommu_atc_read(atc, &op), 0);
	at = fail_at;
	fail_at = 0;
	assert_int_equal(uiommu_atc_destroy(atc), 0);
	fail_at = at;
	return 0;
}

void faults(void **state)
{
	static const struct scenario scenarios[] = {
		{"fault_queue_alloc", call_fault_queue_alloc, NULL, NULL},
		{"demand_alloc", call_demand_alloc, NULL, NULL},
		{"add memory on demand", call_memory_on_demand, NULL, call_demand_alloc},
		{"page_request of absent memory", call_absent_request, NULL, call_absent},
		{"page_request", call_page_request, NULL, NULL},
		{"fault_queue_limit", call_fault_queue_limit, NULL, NULL},
		{"pri_enable", call_pri_enable, NULL, NULL},
		{"pri_request", call_pri_request, NULL, call_pri_enable},
		{"atc_create", call_atc_create, NULL, NULL},
		{"atc_read", call_atc_read, NULL, NULL},
		{"ats_enable", call_ats_enable, NULL, NULL},
		{"ats_invalidate", call_ats_invalidate, NULL, call_ats_enable},
	};

	sweep_all(*state, scenarios, ARRAY_SIZE(scenarios));
}
