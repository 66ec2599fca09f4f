/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef TRANSLATE_GENERATION_H
#define TRANSLATE_GENERATION_H

#include <uiommu/device.h>

/*
 * The generation of what is attached to (device, PASID) now; 0 if nothing is, or it is draining. For devices that keep an
 * attachment in mind between two accesses: a PASID that has been unbound and bound again has another generation, one whose
 * attachment has been replaced the same. A guest's tables are one attachment: what PASIDs are there is the guest's business.
 */
uint32_t attach_generation(struct uiommu_device *device, uint32_t pasid);

#endif
