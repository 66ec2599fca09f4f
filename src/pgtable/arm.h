/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What is enabled for Arm's tables, and what walks of them find (Arm Architecture Reference Manual, DDI 0487, D8; SMMUv3
 * specification, IHI 0070, 3.4 and 5). Their level 3 is level 0 here, their level -1 is 4.
 *
 * struct pgtable_config, stage 1: base[], input_lg2[] (64 - TxSZ: 25 to 48, to 52 with 64K pages or UIOMMU_ARM_DS) and
 * granule_lg2[] (12, 14 or 16) of both halves of the addresses; those of a half without walks (UIOMMU_ARM_EPD0, UIOMMU_ARM_EPD1)
 * may be 0. output_lg2 is 32, 36, 40, 42, 44, 48 or 52.
 *
 * Stage 2: base[0], input_lg2[0] and granule_lg2[0] as above, output_lg2, and levels: what S2SL0 says. What their tables cannot
 * resolve of the input is the top table's, up to 16 tables side by side.
 *
 * Faults, the first that applies in the first entry that has one:
 *   UNMAPPED    the entry is invalid, or a block where there is none; at the top level also: the address is beyond the width (of
 *               either stage), or this half has no walks. Arm has one translation fault for all of them.
 *   OUTPUT      the address that the entry leads to, or at the top level base[], is beyond output_lg2: address size fault
 *   ACCESS_FLAG AF is 0 without UIOMMU_ARM_HA and UIOMMU_ARM_AFFD
 *   PERMISSION  of any kind: Arm has no fault for a lack of privilege
 * So nothing is set in an entry whose access is not permitted. Bits that are RES0 or IGNORED are not looked at.
 */
#ifndef PGTABLE_ARM_H
#define PGTABLE_ARM_H

#include <uiommu/formats.h>

/* struct pgtable_result's attributes. */
enum {
	ARM_ATTRIBUTES_INDEX = 0xf, /* stage 1: AttrIndx; stage 2: MemAttr */
	ARM_ATTRIBUTES_SHAREABILITY = 0x30, /* SH; 0 where UIOMMU_ARM_DS means something: the CD or STE has it */
};

#endif
