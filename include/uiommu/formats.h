/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What is enabled in a page table, and what a model's tables offer: the numbers that nested.h's structures hold.
 */
#ifndef UIOMMU_FORMATS_H
#define UIOMMU_FORMATS_H

#include <uiommu/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * enum uiommu_vtd_first_flags - flags of a VT-d first stage (VT-d 4.1, 9.6). levels: 4 or 5; output_lg2: 32 to 52
 * @UIOMMU_VTD_FIRST_WPE: privileged writes need R/W, too
 * @UIOMMU_VTD_FIRST_NXE: XD forbids execution; otherwise it is reserved
 * @UIOMMU_VTD_FIRST_SMEP: no privileged execution of user pages
 * @UIOMMU_VTD_FIRST_EAFE: set the extended-accessed flag, too
 * @UIOMMU_VTD_FIRST_1G: pages of 1 GiB (FL1GP)
 */
enum uiommu_vtd_first_flags {
	UIOMMU_VTD_FIRST_WPE = 1,
	UIOMMU_VTD_FIRST_NXE = 2,
	UIOMMU_VTD_FIRST_SMEP = 4,
	UIOMMU_VTD_FIRST_EAFE = 8,
	UIOMMU_VTD_FIRST_1G = 16,
};

/**
 * enum uiommu_vtd_second_flags - flags of a VT-d second stage. levels: 3, 4 or 5; output_lg2: 32 to 52
 * @UIOMMU_VTD_SECOND_AD: set accessed and dirty flags
 * @UIOMMU_VTD_SECOND_SNOOP: SNP is defined; otherwise it is reserved
 * @UIOMMU_VTD_SECOND_EXECUTE: X is defined; otherwise it is ignored, and what is readable may be executed
 * @UIOMMU_VTD_SECOND_2M: pages of 2 MiB
 * @UIOMMU_VTD_SECOND_1G: pages of 1 GiB
 */
enum uiommu_vtd_second_flags {
	UIOMMU_VTD_SECOND_AD = 1,
	UIOMMU_VTD_SECOND_SNOOP = 2,
	UIOMMU_VTD_SECOND_EXECUTE = 4,
	UIOMMU_VTD_SECOND_2M = 8,
	UIOMMU_VTD_SECOND_1G = 16,
};

/**
 * enum uiommu_arm_flags - flags of Arm's stages (Arm ARM, D8; SMMUv3 5). input_lg2, granule_lg2 (12, 14, 16) and output_lg2 (32,
 * 36, 40, 42, 44, 48, 52); stage 2: levels, too
 * @UIOMMU_ARM_HA: set AF
 * @UIOMMU_ARM_HD: with HA: entries with DBM are writable, and the first write says so in them
 * @UIOMMU_ARM_EPD0: no walks of the lower half
 * @UIOMMU_ARM_EPD1: no walks of the upper half
 * @UIOMMU_ARM_WXN: what is writable is never executed
 * @UIOMMU_ARM_UWXN: always so with these tables: privileged execution of what others may write is forbidden
 * @UIOMMU_ARM_TBI0: lower half: the top byte of an address is ignored
 * @UIOMMU_ARM_TBI1: the same of the upper half
 * @UIOMMU_ARM_DS: LPA2: 52 bits with 4K and 16K pages; entries have no shareability then
 * @UIOMMU_ARM_HPD0: lower half: no hierarchical permissions
 * @UIOMMU_ARM_HPD1: the same of the upper half
 * @UIOMMU_ARM_XNX: stage 2: XN has two bits
 * @UIOMMU_ARM_AFFD: AF is taken to be 1, unless HA
 * @UIOMMU_ARM_PAN: stage 1: no privileged reads and writes where unprivileged reads are permitted
 */
enum uiommu_arm_flags {
	UIOMMU_ARM_HA = 1,
	UIOMMU_ARM_HD = 2,
	UIOMMU_ARM_EPD0 = 4,
	UIOMMU_ARM_EPD1 = 8,
	UIOMMU_ARM_WXN = 16,
	UIOMMU_ARM_UWXN = 32,
	UIOMMU_ARM_TBI0 = 64,
	UIOMMU_ARM_TBI1 = 128,
	UIOMMU_ARM_DS = 256,
	UIOMMU_ARM_HPD0 = 512,
	UIOMMU_ARM_HPD1 = 1024,
	UIOMMU_ARM_XNX = 2048,
	UIOMMU_ARM_AFFD = 4096,
	UIOMMU_ARM_PAN = 8192,
};

/**
 * enum uiommu_amd_v1_flags - flags of AMD's host tables (48882, 2.2.3). levels: 1 to 6; output_lg2: 32 to 52
 * @UIOMMU_AMD_V1_ACCESSED: set the accessed flag (HAD[0] of the DTE)
 * @UIOMMU_AMD_V1_DIRTY: set the dirty flag, too (HAD[1]); alone it is EINVAL
 */
enum uiommu_amd_v1_flags {
	UIOMMU_AMD_V1_ACCESSED = 1,
	UIOMMU_AMD_V1_DIRTY = 2,
};

/**
 * enum uiommu_amd_v2_flags - flags of AMD's guest tables (2.2.6). levels: 4 or 5; output_lg2: 32 to 52
 * @UIOMMU_AMD_V2_WP_OFF: as with CR0.WP = 0
 */
enum uiommu_amd_v2_flags {
	UIOMMU_AMD_V2_WP_OFF = 1,
};

/**
 * enum uiommu_riscv_flags - flags of RISC-V's stages. input_lg2: 32, 39, 48 or 57, stage 2: 34, 41, 50 or 59; output_lg2: 34 to 56
 * @UIOMMU_RISCV_ADUE: hardware sets A and D (SADE/GADE)
 * @UIOMMU_RISCV_SVNAPOT: pages of 64 KiB (N)
 * @UIOMMU_RISCV_SVPBMT: memory types in entries
 * @UIOMMU_RISCV_SUM: privileged accesses may touch user pages
 * @UIOMMU_RISCV_MXR: not offered
 */
enum uiommu_riscv_flags {
	UIOMMU_RISCV_ADUE = 1,
	UIOMMU_RISCV_SVNAPOT = 2,
	UIOMMU_RISCV_SVPBMT = 4,
	UIOMMU_RISCV_SUM = 8,
	UIOMMU_RISCV_MXR = 16,
};

/**
 * enum uiommu_vtd_tables_mode - mode of VT-d's device table: RTADDR_REG.TTM
 * @UIOMMU_VTD_TABLES_LEGACY: root and context entries of 128 bits
 * @UIOMMU_VTD_TABLES_SCALABLE: scalable mode
 * @UIOMMU_VTD_TABLES_ABORT: every request is aborted
 */
enum uiommu_vtd_tables_mode {
	UIOMMU_VTD_TABLES_LEGACY = 0,
	UIOMMU_VTD_TABLES_SCALABLE = 1,
	UIOMMU_VTD_TABLES_ABORT = 3,
};

/**
 * enum uiommu_vtd_tables_capabilities - capabilities of VT-d's tables: CAP_REG and ECAP_REG
 * @UIOMMU_VTD_TABLES_3_LEVEL: SAGAW: second stage of 39 bits
 * @UIOMMU_VTD_TABLES_4_LEVEL: second stage of 48 bits
 * @UIOMMU_VTD_TABLES_5_LEVEL: second stage of 57 bits
 * @UIOMMU_VTD_TABLES_SECOND_2M: SSLPS: pages of 2 MiB in the second stage
 * @UIOMMU_VTD_TABLES_SECOND_1G: SSLPS: of 1 GiB
 * @UIOMMU_VTD_TABLES_SNOOP: SC: SNP and PGSNP are defined
 * @UIOMMU_VTD_TABLES_PASS: PT
 * @UIOMMU_VTD_TABLES_ATS: DT
 * @UIOMMU_VTD_TABLES_SMTS: scalable mode
 * @UIOMMU_VTD_TABLES_ADMS: abort-DMA mode
 * @UIOMMU_VTD_TABLES_FIRST: scalable mode: first stage (FSTS)
 * @UIOMMU_VTD_TABLES_FIRST_5: FS5LP: five levels
 * @UIOMMU_VTD_TABLES_FIRST_1G: FS1GP
 * @UIOMMU_VTD_TABLES_SECOND: SSTS
 * @UIOMMU_VTD_TABLES_SECOND_AD: SSADS
 * @UIOMMU_VTD_TABLES_NESTED: NEST, with both stages
 * @UIOMMU_VTD_TABLES_PASID: requests with PASID
 * @UIOMMU_VTD_TABLES_PRI: PRS
 * @UIOMMU_VTD_TABLES_RID_PASID: RPS: otherwise RID_PASID is ignored, and PASID 0 used
 * @UIOMMU_VTD_TABLES_RID_PRIV: RPRIVS
 * @UIOMMU_VTD_TABLES_SUPERVISOR: SRS
 * @UIOMMU_VTD_TABLES_EXECUTE: scalable mode: ERS, as the specification had it until 3.x: ERE, NXE, SMEP and the second stage's
 * execute enable; otherwise NXE, SMEP and XD mean nothing
 * @UIOMMU_VTD_TABLES_EXTENDED_ACCESSED: EAFS
 * @UIOMMU_VTD_TABLES_WALK_SNOOP: SMPWC: PWSNP is defined
 */
enum uiommu_vtd_tables_capabilities {
	UIOMMU_VTD_TABLES_3_LEVEL = 1 << 0,
	UIOMMU_VTD_TABLES_4_LEVEL = 1 << 1,
	UIOMMU_VTD_TABLES_5_LEVEL = 1 << 2,
	UIOMMU_VTD_TABLES_SECOND_2M = 1 << 3,
	UIOMMU_VTD_TABLES_SECOND_1G = 1 << 4,
	UIOMMU_VTD_TABLES_SNOOP = 1 << 5,
	UIOMMU_VTD_TABLES_PASS = 1 << 6,
	UIOMMU_VTD_TABLES_ATS = 1 << 7,
	UIOMMU_VTD_TABLES_SMTS = 1 << 8,
	UIOMMU_VTD_TABLES_ADMS = 1 << 9,
	UIOMMU_VTD_TABLES_FIRST = 1 << 10,
	UIOMMU_VTD_TABLES_FIRST_5 = 1 << 11,
	UIOMMU_VTD_TABLES_FIRST_1G = 1 << 12,
	UIOMMU_VTD_TABLES_SECOND = 1 << 13,
	UIOMMU_VTD_TABLES_SECOND_AD = 1 << 14,
	UIOMMU_VTD_TABLES_NESTED = 1 << 15,
	UIOMMU_VTD_TABLES_PASID = 1 << 16,
	UIOMMU_VTD_TABLES_PRI = 1 << 17,
	UIOMMU_VTD_TABLES_RID_PASID = 1 << 18,
	UIOMMU_VTD_TABLES_RID_PRIV = 1 << 19,
	UIOMMU_VTD_TABLES_SUPERVISOR = 1 << 20,
	UIOMMU_VTD_TABLES_EXECUTE = 1 << 21,
	UIOMMU_VTD_TABLES_EXTENDED_ACCESSED = 1 << 22,
	UIOMMU_VTD_TABLES_WALK_SNOOP = 1 << 23,
};

/**
 * enum uiommu_smmuv3_tables_mode - mode of SMMUv3's stream table: STRTAB_BASE_CFG.FMT
 * @UIOMMU_SMMUV3_LINEAR: linear
 * @UIOMMU_SMMUV3_2_LEVEL: two levels
 */
enum uiommu_smmuv3_tables_mode {
	UIOMMU_SMMUV3_LINEAR = 0,
	UIOMMU_SMMUV3_2_LEVEL = 1,
};

/**
 * enum uiommu_smmuv3_tables_capabilities - capabilities of SMMUv3's tables: IDR0, IDR1, IDR3, IDR5 and CR0.ATSCHK
 * @UIOMMU_SMMUV3_S1P: stage 1
 * @UIOMMU_SMMUV3_S2P: stage 2
 * @UIOMMU_SMMUV3_ST_LEVEL: stream tables of two levels
 * @UIOMMU_SMMUV3_CD2L: CD tables of two levels
 * @UIOMMU_SMMUV3_ATS: translation requests
 * @UIOMMU_SMMUV3_NS1ATS: no split-stage ATS
 * @UIOMMU_SMMUV3_ATSCHK: CR0.ATSCHK: translated requests are looked up, too
 * @UIOMMU_SMMUV3_PRI: page requests
 * @UIOMMU_SMMUV3_HA: HTTU: accessed flag
 * @UIOMMU_SMMUV3_HD: HTTU: dirty state, too
 * @UIOMMU_SMMUV3_VMID16: VMIDs of 16 bits
 * @UIOMMU_SMMUV3_ASID16: ASIDs of 16 bits
 * @UIOMMU_SMMUV3_STALL: STALL_MODEL 0b00: CD and STE decide
 * @UIOMMU_SMMUV3_STALL_FORCED: 0b10; neither of both is 0b01: no stalls
 * @UIOMMU_SMMUV3_TERM_MODEL: what is terminated is aborted: CD.A has to be 1
 * @UIOMMU_SMMUV3_ATTR_PERMS_OVR: PRIVCFG and INSTCFG are defined
 * @UIOMMU_SMMUV3_GRAN4K: 4K pages
 * @UIOMMU_SMMUV3_GRAN16K: 16K pages
 * @UIOMMU_SMMUV3_GRAN64K: 64K pages
 * @UIOMMU_SMMUV3_VAX: input addresses of 52 bits
 * @UIOMMU_SMMUV3_DS: 52 bits with 4K and 16K pages
 * @UIOMMU_SMMUV3_HAD: HAD0 and HAD1 of CDs
 * @UIOMMU_SMMUV3_XNX: XN of two bits in stage 2
 * @UIOMMU_SMMUV3_HYP: STRW is looked at: what is not EL1 is ILLEGAL. Otherwise it is ignored
 */
enum uiommu_smmuv3_tables_capabilities {
	UIOMMU_SMMUV3_S1P = 1 << 0,
	UIOMMU_SMMUV3_S2P = 1 << 1,
	UIOMMU_SMMUV3_ST_LEVEL = 1 << 2,
	UIOMMU_SMMUV3_CD2L = 1 << 3,
	UIOMMU_SMMUV3_ATS = 1 << 4,
	UIOMMU_SMMUV3_NS1ATS = 1 << 5,
	UIOMMU_SMMUV3_ATSCHK = 1 << 6,
	UIOMMU_SMMUV3_PRI = 1 << 7,
	UIOMMU_SMMUV3_HA = 1 << 8,
	UIOMMU_SMMUV3_HD = 1 << 9,
	UIOMMU_SMMUV3_VMID16 = 1 << 10,
	UIOMMU_SMMUV3_ASID16 = 1 << 11,
	UIOMMU_SMMUV3_STALL = 1 << 12,
	UIOMMU_SMMUV3_STALL_FORCED = 1 << 13,
	UIOMMU_SMMUV3_TERM_MODEL = 1 << 14,
	UIOMMU_SMMUV3_ATTR_PERMS_OVR = 1 << 15,
	UIOMMU_SMMUV3_GRAN4K = 1 << 16,
	UIOMMU_SMMUV3_GRAN16K = 1 << 17,
	UIOMMU_SMMUV3_GRAN64K = 1 << 18,
	UIOMMU_SMMUV3_VAX = 1 << 19,
	UIOMMU_SMMUV3_DS = 1 << 20,
	UIOMMU_SMMUV3_HAD = 1 << 21,
	UIOMMU_SMMUV3_XNX = 1 << 22,
	UIOMMU_SMMUV3_HYP = 1 << 23,
};

/**
 * enum uiommu_amd_tables_capabilities - capabilities of AMD's tables: the capability header and extended features
 * @UIOMMU_AMD_TABLES_ATS: IotlbSup: otherwise DTE.I is ignored
 * @UIOMMU_AMD_TABLES_PPR: PPRSup, EPHSup: PPR and GPRP are defined
 * @UIOMMU_AMD_TABLES_ACCESSED: HASup
 * @UIOMMU_AMD_TABLES_DIRTY: HDSup
 * @UIOMMU_AMD_TABLES_GUEST: GTSup
 * @UIOMMU_AMD_TABLES_GUEST_5: GATS: guest tables of five levels
 * @UIOMMU_AMD_TABLES_GIOV: GIoSup: guest translation of requests without PASID
 * @UIOMMU_AMD_TABLES_EXECUTE: NXSup: requests with PASID may execute
 * @UIOMMU_AMD_TABLES_USER: USSup: requests with PASID may be privileged
 * @UIOMMU_AMD_TABLES_ROOT_GPA: GCR3TRPMode: host tables translate the GCR3 root pointer, too
 */
enum uiommu_amd_tables_capabilities {
	UIOMMU_AMD_TABLES_ATS = 1 << 0,
	UIOMMU_AMD_TABLES_PPR = 1 << 1,
	UIOMMU_AMD_TABLES_ACCESSED = 1 << 2,
	UIOMMU_AMD_TABLES_DIRTY = 1 << 3,
	UIOMMU_AMD_TABLES_GUEST = 1 << 4,
	UIOMMU_AMD_TABLES_GUEST_5 = 1 << 5,
	UIOMMU_AMD_TABLES_GIOV = 1 << 6,
	UIOMMU_AMD_TABLES_EXECUTE = 1 << 7,
	UIOMMU_AMD_TABLES_USER = 1 << 8,
	UIOMMU_AMD_TABLES_ROOT_GPA = 1 << 9,
};

/**
 * enum uiommu_riscv_tables_mode - mode of RISC-V's device directory: ddtp.iommu_mode
 * @UIOMMU_RVIOMMU_OFF: no requests
 * @UIOMMU_RVIOMMU_BARE: no translation
 * @UIOMMU_RVIOMMU_1LVL: one level
 * @UIOMMU_RVIOMMU_2LVL: two levels
 * @UIOMMU_RVIOMMU_3LVL: three levels
 */
enum uiommu_riscv_tables_mode {
	UIOMMU_RVIOMMU_OFF = 0,
	UIOMMU_RVIOMMU_BARE = 1,
	UIOMMU_RVIOMMU_1LVL = 2,
	UIOMMU_RVIOMMU_2LVL = 3,
	UIOMMU_RVIOMMU_3LVL = 4,
};

/**
 * enum uiommu_riscv_tables_capabilities - capabilities of RISC-V's tables: capabilities and fctl
 * @UIOMMU_RVIOMMU_SV32: Sv32
 * @UIOMMU_RVIOMMU_SV39: Sv39
 * @UIOMMU_RVIOMMU_SV48: Sv48
 * @UIOMMU_RVIOMMU_SV57: Sv57
 * @UIOMMU_RVIOMMU_SV32X4: Sv32x4
 * @UIOMMU_RVIOMMU_SV39X4: Sv39x4
 * @UIOMMU_RVIOMMU_SV48X4: Sv48x4
 * @UIOMMU_RVIOMMU_SV57X4: Sv57x4
 * @UIOMMU_RVIOMMU_SVPBMT: memory types in entries
 * @UIOMMU_RVIOMMU_MSI_FLAT: DCs have the extended format
 * @UIOMMU_RVIOMMU_AMO_HWAD: GADE and SADE: accessed and dirty flags are set
 * @UIOMMU_RVIOMMU_ATS: translation requests
 * @UIOMMU_RVIOMMU_T2GPA: translated requests of guest-physical addresses
 * @UIOMMU_RVIOMMU_PD8: process directories of one level
 * @UIOMMU_RVIOMMU_PD17: of two levels
 * @UIOMMU_RVIOMMU_PD20: of three levels
 * @UIOMMU_RVIOMMU_QOSID: RCID and MCID of any width are ignored
 * @UIOMMU_RVIOMMU_GXL: fctl.GXL as it is
 * @UIOMMU_RVIOMMU_GXL_WRITABLE: with fctl.GXL 0, DC.tc.SXL may be 1
 */
enum uiommu_riscv_tables_capabilities {
	UIOMMU_RVIOMMU_SV32 = 1 << 0,
	UIOMMU_RVIOMMU_SV39 = 1 << 1,
	UIOMMU_RVIOMMU_SV48 = 1 << 2,
	UIOMMU_RVIOMMU_SV57 = 1 << 3,
	UIOMMU_RVIOMMU_SV32X4 = 1 << 4,
	UIOMMU_RVIOMMU_SV39X4 = 1 << 5,
	UIOMMU_RVIOMMU_SV48X4 = 1 << 6,
	UIOMMU_RVIOMMU_SV57X4 = 1 << 7,
	UIOMMU_RVIOMMU_SVPBMT = 1 << 8,
	UIOMMU_RVIOMMU_MSI_FLAT = 1 << 9,
	UIOMMU_RVIOMMU_AMO_HWAD = 1 << 10,
	UIOMMU_RVIOMMU_ATS = 1 << 11,
	UIOMMU_RVIOMMU_T2GPA = 1 << 12,
	UIOMMU_RVIOMMU_PD8 = 1 << 13,
	UIOMMU_RVIOMMU_PD17 = 1 << 14,
	UIOMMU_RVIOMMU_PD20 = 1 << 15,
	UIOMMU_RVIOMMU_QOSID = 1 << 16,
	UIOMMU_RVIOMMU_GXL = 1 << 17,
	UIOMMU_RVIOMMU_GXL_WRITABLE = 1 << 18,
};

/** UIOMMU_VTD_TABLES_PSS - in VT-d's capabilities: width of PASIDs less 1, up to 19 */
#define UIOMMU_VTD_TABLES_PSS UINT32_C(0x1f000000)
/** UIOMMU_VTD_TABLES_DOMAINS - in VT-d's capabilities: domain ids have 4 + 2 n bits */
#define UIOMMU_VTD_TABLES_DOMAINS UINT32_C(0xe0000000)
/** UIOMMU_SMMUV3_SSIDSIZE - in SMMUv3's capabilities: IDR1.SSIDSIZE, up to 20 */
#define UIOMMU_SMMUV3_SSIDSIZE UINT32_C(0xf8000000)
/** UIOMMU_AMD_TABLES_HATS - in AMD's capabilities: 4 to 6 host levels */
#define UIOMMU_AMD_TABLES_HATS UINT32_C(0x00030000)
/** UIOMMU_AMD_TABLES_GLX - in AMD's capabilities: GLXSup, 1 to 3 GCR3 levels */
#define UIOMMU_AMD_TABLES_GLX UINT32_C(0x000c0000)
/** UIOMMU_AMD_TABLES_PASMAX - in AMD's capabilities: width of PASIDs less 1 */
#define UIOMMU_AMD_TABLES_PASMAX UINT32_C(0x01f00000)

#ifdef __cplusplus
}
#endif
#endif
