/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef TRANSLATE_PIN_H
#define TRANSLATE_PIN_H

#include <uiommu/dma.h>

/*
 * uiommu_dma_pin() without pointers: of memory that is elsewhere, too. What is mapped there counts as pinned (memory/region.h).
 * @request->iov is not looked at. -ENOBUFS: @request->iov_count, which is 0 at first, is what is needed: again. Errors of
 * region_pin(), too.
 */
int dma_pin_areas(struct uiommu_device *device, struct uiommu_dma_pin *request, struct uiommu_dma_result *result);

#endif
