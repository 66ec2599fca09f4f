/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VIOMMU_VTD_FAULTS_H
#define VIOMMU_VTD_FAULTS_H

#include <uiommu/types.h>

/* The specification's code of a fault in @mode (enum uiommu_vtd_tables_mode), 0: it has none. */
unsigned int vtd_fault_code(const struct uiommu_fault *fault, unsigned int mode);

#endif
