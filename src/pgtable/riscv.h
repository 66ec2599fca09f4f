/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef PGTABLE_RISCV_H
#define PGTABLE_RISCV_H

#include <uiommu/formats.h>

#endif
