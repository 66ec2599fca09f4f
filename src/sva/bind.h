/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SVA_BIND_H
#define SVA_BIND_H

#include <uiommu/bind.h>

/* Every bind of a context that closes; waits for those that are draining too. */
void bind_end_all(struct uiommu_context *context);

#endif
