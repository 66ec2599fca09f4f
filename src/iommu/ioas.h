/* SPDX-License-Identifier: BSD-3-Clause */
/* What the rest of control sees of an IOAS. */
#ifndef IOMMU_IOAS_H
#define IOMMU_IOAS_H

#include <uiommu/ioas.h>

#include "iommu/object.h"
#include "translate/space.h"

struct ioas {
	struct object object;
	struct space space;
	struct cds_list_head reserved; /* ranges by owner, under space.lock */
	struct uiommu_range *allowed; /* sorted, under space.lock */
	uint32_t allowed_count;
};

/*
 * Devices reserve ranges for as long as they are attached: all of @ranges for @owner, or -EADDRINUSE (an area or an allowed range
 * is hit), -ENOMEM. The same owner may reserve several times; ioas_unreserve() undoes one.
 */
int ioas_reserve(struct ioas *ioas, const void *owner, const struct uiommu_range *ranges, uint32_t count);
void ioas_unreserve(struct ioas *ioas, const void *owner);

/*
 * Take every area out of a space and wait until nothing uses them; the registrations of an SVA bind end the same way. Pins are not
 * asked.
 */
void space_clear(struct space *space);

/*
 * Unmap the one area that is exactly [start, last]: asks for its pins, waits until nothing uses it. -ENOENT, -EDEADLOCK (a pin is
 * left). No lock held.
 */
int space_unmap_exactly(struct space *space, uint64_t start, uint64_t last);

#endif
