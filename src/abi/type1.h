/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * VFIO's TYPE1 ioctls on an IOAS: of an iommufd that has one for them (IOMMU_VFIO_IOAS), and of a VFIO container. The structs are
 * those of <linux/vfio.h>.
 */
#ifndef ABI_TYPE1_H
#define ABI_TYPE1_H

#include "abi/pages.h"

struct abi_type1_call {
	struct uiommu_context *context;
	struct abi_pages_source source; /* with the caller */
	uint32_t ioas_id; /* 0: none */
};

/* VFIO_GET_API_VERSION, CHECK_EXTENSION, SET_IOMMU, MAP_DMA, UNMAP_DMA, GET_INFO; -ENOTTY: none of them. */
int abi_type1_ioctl(struct abi_type1_call *call, unsigned int command, uint64_t argument);

#endif
