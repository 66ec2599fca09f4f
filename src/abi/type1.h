/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * VFIO's TYPE1 ioctls on an IOAS: of an iommufd that has one for them (IOMMU_VFIO_IOAS), and of a VFIO container. The structs are
 * those of <linux/vfio.h>.
 */
#ifndef ABI_TYPE1_H
#define ABI_TYPE1_H

#include "abi/pages.h"

/* Embedded by the file; under its lock but for the length of a call, which works on a copy. */
struct abi_type1 {
	uint32_t ioas_id; /* 0: none */
	bool cuts; /* TYPE1: areas are cut where an unmap ends in them; TYPE1v2 does not */
};

struct abi_type1_call {
	struct uiommu_context *context;
	struct abi_pages_source source; /* with the caller */
	struct abi_type1 type1;
};

/* VFIO_GET_API_VERSION, CHECK_EXTENSION, SET_IOMMU, which sets @call->type1.cuts, MAP_DMA, UNMAP_DMA, GET_INFO; -ENOTTY: none of
 * them.
 */
int abi_type1_ioctl(struct abi_type1_call *call, unsigned int command, uint64_t argument);

#endif
