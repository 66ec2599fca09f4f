/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * SMMUv3's stream table and context descriptors (Arm IHI 0070, 3.3, 3.4 and 5): the Non-secure tables of an SMMUv3.1 or later with
 * little-endian VMSAv8-64 tables and the EL1 StreamWorld only.
 */
#ifndef TRANSLATE_TABLES_SMMUV3_H
#define TRANSLATE_TABLES_SMMUV3_H

#include <uiommu/formats.h>

/*
 * struct tables_config, as the registers are in effect: base is STRTAB_BASE.ADDR, mode STRTAB_BASE_CFG.FMT, size_lg2 LOG2SIZE, at
 * most SIDSIZE, and split SPLIT: 6, 8 or 10 if there are two levels. output_lg2 is IDR5.OAS: 32, 36, 40, 42, 44, 48 or 52. Base is
 * aligned to size_lg2 here; a LOG2SIZE above SIDSIZE aligns it further, before.
 */

/*
 * Event numbers of 7.3: struct tables_fault's detail. F_UUT, F_BAD_ATS_TREQ and F_TRANSL_FORBIDDEN are for the caller to find out,
 * with the flags of the entry. The rest from F_WALK_EABT on is what stage 2 said when a CD was to be read, with CLASS CD.
 */
enum smmuv3_event {
	SMMUV3_F_UUT = 0x01,
	SMMUV3_C_BAD_STREAMID = 0x02,
	SMMUV3_F_STE_FETCH = 0x03,
	SMMUV3_C_BAD_STE = 0x04,
	SMMUV3_F_BAD_ATS_TREQ = 0x05,
	SMMUV3_F_STREAM_DISABLED = 0x06,
	SMMUV3_F_TRANSL_FORBIDDEN = 0x07,
	SMMUV3_C_BAD_SUBSTREAMID = 0x08,
	SMMUV3_F_CD_FETCH = 0x09,
	SMMUV3_C_BAD_CD = 0x0a,
	SMMUV3_F_WALK_EABT = 0x0b,
	SMMUV3_F_TRANSLATION = 0x10,
	SMMUV3_F_ADDR_SIZE = 0x11,
	SMMUV3_F_ACCESS = 0x12,
	SMMUV3_F_PERMISSION = 0x13,
};

/*
 * A CD table by itself, of a guest whose STE came with an iommufd call: struct tables_device with mode TRANSLATE, has_pasid_table,
 * pasid_table (S1ContextPtr), pasid_mode (S1Fmt), pasid_bits (S1CDMax), rid_pasid (0 if S1CDMax is 0 or S1DSS 0b10), domain (VMID),
 * output_lg2, capabilities (the flags above), memory, stage2 if there is one, flags (TABLES_PASIDS if S1CDMax is not 0), and extra:
 * words 0 and 1 of the STE.
 */

#endif
