/* SPDX-License-Identifier: BSD-3-Clause */
/* Faults in words. */
#ifndef CLI_EXPLAIN_H
#define CLI_EXPLAIN_H

#include <stddef.h>
#include <uiommu/client.h>

#include "cli/cli.h"

/* Three lines without the last newline: who could not do what, what is at the address, what was missing. */
void explain_fault(const struct uiommu_fault_report *report, char *buffer, size_t size);

struct json_object *json_fault(const struct uiommu_fault_report *report);

#endif
