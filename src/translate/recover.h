/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Faults that a device means to recover from, by asking for the page (uiommu_dma_page_request()). Such a fault is told to the fault
 * queue once, as the request, and not as an event besides: only if it cannot be asked for is it one.
 */
#ifndef TRANSLATE_RECOVER_H
#define TRANSLATE_RECOVER_H

#include <stdbool.h>
#include <uiommu/dma.h>

/* Could a page help? */
bool fault_is_recoverable(const struct uiommu_fault *fault);

/*
 * While @recovers is set, recoverable faults that this thread's accesses meet are no events, where there is a fault queue: the
 * device asks for the page, or has no use for it any more.
 */
void recover_set(bool recovers);

/* The page could not be asked for: an event after all. */
void recover_failed(struct uiommu_device *device, const struct uiommu_fault *fault);

#endif
