/* SPDX-License-Identifier: BSD-3-Clause */
/* A second stage that refuses everything, for the reason that a test wants. */
#ifndef TESTS_UNIT_REFUSING_H
#define TESTS_UNIT_REFUSING_H

#include "pgtable/pgtable.h"

static uint8_t refusal;

static uint64_t refusing(const struct pgtable *pgtable, uint64_t address, unsigned int flags, struct pgtable_result *out)
{
	(void)pgtable;
	(void)address;
	(void)flags;
	*out = (struct pgtable_result){.reason = refusal, .stage = 2};
	return 0;
}

#endif
