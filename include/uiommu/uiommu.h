/* SPDX-License-Identifier: BSD-3-Clause */
/* Everything. */
#ifndef UIOMMU_UIOMMU_H
#define UIOMMU_UIOMMU_H

#include <uiommu/abi.h>
#include <uiommu/accel.h>
#include <uiommu/accel_pci.h>
#include <uiommu/ats.h>
#include <uiommu/bind.h>
#include <uiommu/client.h>
#include <uiommu/context.h>
#include <uiommu/device.h>
#include <uiommu/dirty.h>
#include <uiommu/dma.h>
#include <uiommu/fault.h>
#include <uiommu/formats.h>
#include <uiommu/guest_memory.h>
#include <uiommu/ioas.h>
#include <uiommu/mdev.h>
#include <uiommu/model.h>
#include <uiommu/nested.h>
#include <uiommu/pasid.h>
#include <uiommu/pci.h>
#include <uiommu/pri.h>
#include <uiommu/types.h>
#include <uiommu/vfio.h>
#include <uiommu/vfio_user.h>
#include <uiommu/vtd.h>
#include <uiommu/vtd_pci.h>
#include <uiommu/walk.h>

#endif
