/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The ready-made ATC: what a device keeps of translations, an IOTLB (iotlb.h) with an owner for each PASID.
 *
 * A look and the access that it leads to are in one read section, or the access is entered in @flights before that ends. So an
 * invalidation clears what is kept, waits for a grace period and for those who sleep, and then has been completed.
 */
#ifndef TRANSLATE_ATC_H
#define TRANSLATE_ATC_H

#include <uiommu/ats.h>

struct piece;

/* In a read section: as piece_find(), by what is kept, or by what is asked for then. */
unsigned int atc_find(struct uiommu_atc *atc, uint32_t pasid, uint64_t address, uint64_t length, unsigned int access,
		      struct piece *piece);

/* The whole of @op through @atc (access.c). */
int transfer_by_atc(struct uiommu_atc *atc, struct uiommu_device *device, struct uiommu_dma_op *op, unsigned int access);

#endif
