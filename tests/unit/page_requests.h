/* SPDX-License-Identifier: BSD-3-Clause */
/* A device that asks for pages by PRI, and who answers. */
#ifndef TESTS_UNIT_PAGE_REQUESTS_H
#define TESTS_UNIT_PAGE_REQUESTS_H

#include "test.h"

#include <poll.h>

/* Control has a function of that name, too. */
#define nested_make hwpt_nested_make
#include "iommu/hwpt.h"
#undef nested_make

#include "clock.h"

enum { ALLOCATION = 40, RESPONSES = 64, MESSAGES = 64 };

/* A device that asks. */
static struct {
	pthread_mutex_t lock;
	unsigned int count;
	struct uiommu_page_response of[RESPONSES];
	int inside; /* what a call that waits says inside of the callback */
} told = {.lock = PTHREAD_MUTEX_INITIALIZER};

static inline void note_response(void *opaque, const struct uiommu_page_response *response)
{
	(void)opaque;
	pthread_mutex_lock(&told.lock);
	assert_true(told.count < RESPONSES);
	told.of[told.count++] = *response;
	told.inside = uiommu_pri_disable(g.device);
	pthread_mutex_unlock(&told.lock);
}

static const struct uiommu_pri_ops pri_ops = {.response = note_response};

static inline int enable(uint32_t flags)
{
	const struct uiommu_pri_config config = {.size = sizeof(config), .allocation = ALLOCATION, .flags = flags, .ops = &pri_ops};

	told.count = 0;
	return uiommu_pri_enable(g.device, &config);
}

/* The @count'th response, and no other one after it. */
static inline void check_told(unsigned int count, unsigned int group, unsigned int response)
{
	assert_int_equal(told.count, count);
	assert_int_equal(told.of[count - 1].group, group);
	assert_int_equal(told.of[count - 1].response, response);
	assert_int_equal(told.of[count - 1].pasid, UIOMMU_NO_PASID);
	assert_int_equal(told.inside, -EDEADLK);
}

static inline int request(uint32_t pasid, unsigned int group, uint64_t address, unsigned int flags)
{
	const struct uiommu_page_request message = {.address = address,
						    .pasid = pasid,
						    .group = (uint16_t)group,
						    .access = UIOMMU_READ | UIOMMU_WRITE,
						    .flags = (uint8_t)flags};

	return uiommu_pri_request(g.device, &message);
}

static inline int last(uint32_t pasid, unsigned int group)
{
	return request(pasid, group, VA, UIOMMU_PAGE_LAST);
}

static uint32_t root, nested;

/* A guest's page table with nothing in it, on two PASIDs. */
static inline void attach(void)
{
	root = (uint32_t)page_new();
	nested = nested_make(root, 0);
	assert_int_equal(uiommu_attach(g.context, g.device_id, PASID, nested), 0);
	assert_int_equal(uiommu_attach(g.context, g.device_id, PASID + 1, nested), 0);
}

static inline unsigned int read_all(struct uiommu_fault_event *events, size_t count)
{
	return (unsigned int)uiommu_fault_read(g.context, g.queue, events, count);
}

static inline int respond(uint32_t cookie, unsigned int response)
{
	return uiommu_fault_respond(g.context, g.queue, cookie, response);
}

static inline void limit(uint32_t flags, uint32_t per_pasid, uint32_t response_ms)
{
	const struct uiommu_fault_limits limits = {
		.size = sizeof(limits), .flags = flags, .per_pasid = per_pasid, .response_ms = response_ms};

	assert_int_equal(uiommu_fault_queue_limit(g.context, g.queue, &limits), 0);
}

static inline bool readable(void)
{
	struct pollfd poll_fd = {.fd = uiommu_fault_queue_fd(g.context, g.queue), .events = POLLIN};

	return poll(&poll_fd, 1, 0) == 1;
}

#endif
