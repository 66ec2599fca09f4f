/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef ABI_DRIVER_SMMUV3_H
#define ABI_DRIVER_SMMUV3_H

#include "abi/spec.h"
#include "iommu/viommu.h"

/* An STE's first two words, as a guest has them: may they be those of a nested page table? What is not valid is turned into one
 * that aborts. -EIO. */
int smmuv3_check(uint64_t *ste);

/* What is to be forgotten. -EIO: a command that is none, or not for a guest, or of a device that @viommu has not got. */
int smmuv3_decode(struct viommu *viommu, const struct abi_viommu_arm_smmuv3_invalidate *entry, struct uiommu_invalidation *out);

extern const struct viommu_events smmuv3_events;

#endif
