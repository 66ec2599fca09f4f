/* SPDX-License-Identifier: BSD-3-Clause */
/* RISC-V's device and process directories (RISC-V IOMMU specification 1.0, "Data Structures"), little-endian. */
#ifndef TRANSLATE_TABLES_RISCV_H
#define TRANSLATE_TABLES_RISCV_H

/*
 * struct tables_config: base is ddtp.PPN as an address, mode is ddtp.iommu_mode, output_lg2 capabilities.PAS, 34 to 56. The rest
 * but flags means nothing.
 */
enum {
	RVIOMMU_OFF = 0,
	RVIOMMU_BARE = 1,
	RVIOMMU_1LVL = 2,
	RVIOMMU_2LVL = 3,
	RVIOMMU_3LVL = 4,
};

/* struct tables_config's flags: what capabilities reports, and fctl. */
enum {
	RVIOMMU_SV32 = 1 << 0,
	RVIOMMU_SV39 = 1 << 1,
	RVIOMMU_SV48 = 1 << 2,
	RVIOMMU_SV57 = 1 << 3,
	RVIOMMU_SV32X4 = 1 << 4,
	RVIOMMU_SV39X4 = 1 << 5,
	RVIOMMU_SV48X4 = 1 << 6,
	RVIOMMU_SV57X4 = 1 << 7,
	RVIOMMU_SVPBMT = 1 << 8,
	RVIOMMU_MSI_FLAT = 1 << 9, /* DCs have the extended format */
	RVIOMMU_AMO_HWAD = 1 << 10,
	RVIOMMU_ATS = 1 << 11,
	RVIOMMU_T2GPA = 1 << 12,
	RVIOMMU_PD8 = 1 << 13,
	RVIOMMU_PD17 = 1 << 14,
	RVIOMMU_PD20 = 1 << 15,
	RVIOMMU_QOSID = 1 << 16, /* RCID and MCID of any width are ignored */
	RVIOMMU_GXL = 1 << 17, /* fctl.GXL as it is */
	RVIOMMU_GXL_WRITABLE = 1 << 18, /* with fctl.GXL 0, DC.tc.SXL may be 1 */
};

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
