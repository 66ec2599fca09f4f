/* SPDX-License-Identifier: BSD-3-Clause */
/* A guest whose context has a clock that stands still until a test moves it. */
#ifndef TESTS_UNIT_CLOCK_H
#define TESTS_UNIT_CLOCK_H

#include "guest.h"

static struct {
	uint64_t now, armed; /* ns */
} fake;

static inline uint64_t fake_now(void *opaque)
{
	(void)opaque;
	return fake.now;
}

static inline void fake_arm(void *opaque, uint64_t deadline)
{
	(void)opaque;
	fake.armed = deadline;
}

/* The contexts of guests that are made from now on have it, until clock_leave(). */
static inline void clock_enter(void)
{
	static const struct uiommu_clock clock = {.now = fake_now, .arm = fake_arm};
	static const struct uiommu_options options = {.size = sizeof(options), .clock = &clock};

	fake.now = fake.armed = 1000;
	guest_options = &options;
}

static inline void clock_leave(void)
{
	guest_options = NULL;
}

static inline int setup_clock(void **state)
{
	(void)state;
	clock_enter();
	guest_make(0, 0);
	clock_leave();
	return 0;
}

/* What is due is run. */
static inline void clock_pass(uint64_t ns)
{
	fake.now += ns;
	uiommu_expire(g.context);
}

#endif
