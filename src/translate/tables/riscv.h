/* SPDX-License-Identifier: BSD-3-Clause */
/* RISC-V's device and process directories (RISC-V IOMMU specification 1.0, "Data Structures"), little-endian. */
#ifndef TRANSLATE_TABLES_RISCV_H
#define TRANSLATE_TABLES_RISCV_H

#include <uiommu/formats.h>

/*
 * struct tables_config: base is ddtp.PPN as an address, mode is ddtp.iommu_mode, output_lg2 capabilities.PAS, 34 to 56. The rest
 * but flags means nothing.
 */

/* Causes of fault records: struct tables_fault's detail. */
enum riscv_cause {
	/* Stage 2 refused the access to a PDT. In records this is 20, 21 or 23, by what the request is. */
	RVIOMMU_CAUSE_GUEST_PAGE = 21,
	RVIOMMU_CAUSE_OFF = 256, /* all inbound transactions disallowed */
	RVIOMMU_CAUSE_DDT_ACCESS = 257,
	RVIOMMU_CAUSE_DDT_INVALID = 258,
	RVIOMMU_CAUSE_DDT_MISCONFIGURED = 259,
	RVIOMMU_CAUSE_DISALLOWED = 260, /* transaction type disallowed; also for the caller, with the entry's flags */
	RVIOMMU_CAUSE_PDT_ACCESS = 265,
	RVIOMMU_CAUSE_PDT_INVALID = 266,
	RVIOMMU_CAUSE_PDT_MISCONFIGURED = 267,
};

/*
 * A process directory by itself: struct tables_device with mode TRANSLATE, flags (TABLES_PASIDS), rid_pasid (0: DPE),
 * has_pasid_table, pasid_table, pasid_mode (pdtp.MODE: 1, 2 or 3), pasid_bits (8, 17 or 20), domain (GSCID), output_lg2,
 * capabilities (the flags above), memory, stage2 if there is one, and extra[1]: bits 11:0 of DC.tc. Without a directory, extra[0]
 * is DC.fsc and extra[1] has bits 31:12 of DC.ta, too.
 */

#endif
