/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * cmocka puts its own handlers for SIGSEGV and SIGBUS in place before every test and so hides the library's: install the library's
 * once with traps_install(), and say traps_on() first in every test whose accesses may trap.
 */
#ifndef TRAPS_H
#define TRAPS_H

#include <signal.h>
#include <uiommu/context.h>

static struct sigaction traps_segv, traps_bus;

static inline int traps_install(void)
{
	int rc = uiommu_install_fault_handler();

	sigaction(SIGSEGV, NULL, &traps_segv);
	sigaction(SIGBUS, NULL, &traps_bus);
	return rc;
}

static inline void traps_on(void)
{
	sigaction(SIGSEGV, &traps_segv, NULL);
	sigaction(SIGBUS, &traps_bus, NULL);
}

#endif
