/* SPDX-License-Identifier: BSD-3-Clause */
/* VT-d's root, context and PASID tables (Intel VT-d specification 4.1, 3.4, 7.1.3 and 9.1 to 9.6). */
#ifndef TRANSLATE_TABLES_VTD_H
#define TRANSLATE_TABLES_VTD_H

#include <uiommu/formats.h>

/* struct tables_config: base, output_lg2 (HAW, 32 to 52) and flags mean something; mode is RTADDR_REG.TTM. */

/*
 * Fault reasons of 7.1.3: struct tables_fault's detail. With the entry's flags the caller finds out himself what a kind of request
 * meets: 0xd, 0x32, 0x44, 0x47, 0x5c, 0x5d.
 */
enum vtd_fault {
	VTD_FAULT_ROOT_ABSENT = 0x1, /* LRT.2 */
	VTD_FAULT_CONTEXT_ABSENT = 0x2, /* LCT.2 */
	VTD_FAULT_CONTEXT_INVALID = 0x3, /* LCT.4: TT or AW undefined or not supported */
	VTD_FAULT_ROOT_ACCESS = 0x8, /* LRT.1 */
	VTD_FAULT_CONTEXT_ACCESS = 0x9, /* LCT.1 */
	VTD_FAULT_ROOT_RESERVED = 0xa, /* LRT.3 */
	VTD_FAULT_CONTEXT_RESERVED = 0xb, /* LCT.3 */
	VTD_FAULT_CONTEXT_NO_ATS = 0xd, /* LCT.5: translation or translated request, and TT is not 01 */
	VTD_FAULT_ROOT_MODE = 0x30, /* RTA.1: TTM */
	VTD_FAULT_LEGACY_PASID = 0x31, /* RTA.2: request with PASID */
	VTD_FAULT_LEGACY_PAGE_REQUEST = 0x32, /* RTA.3 */
	VTD_FAULT_ABORT_MODE = 0x33, /* RTA.4 */
	VTD_FAULT_SM_ROOT_ACCESS = 0x38, /* SRT.1 */
	VTD_FAULT_SM_ROOT_ABSENT = 0x39, /* SRT.2 */
	VTD_FAULT_SM_ROOT_RESERVED = 0x3a, /* SRT.3 */
	VTD_FAULT_SM_CONTEXT_ACCESS = 0x40, /* SCT.1 */
	VTD_FAULT_SM_CONTEXT_ABSENT = 0x41, /* SCT.2 */
	VTD_FAULT_SM_CONTEXT_RESERVED = 0x42, /* SCT.3 */
	VTD_FAULT_SM_CONTEXT_INVALID = 0x43, /* SCT.4: PRE without DTE, RID_PASID beyond PDTS */
	VTD_FAULT_SM_CONTEXT_NO_ATS = 0x44, /* SCT.5: DTE is 0 */
	VTD_FAULT_SM_CONTEXT_NO_PASID = 0x45, /* SCT.6: PASIDE is 0 */
	VTD_FAULT_SM_CONTEXT_PASID_RANGE = 0x46, /* SCT.7: PASID beyond PDTS */
	VTD_FAULT_SM_CONTEXT_NO_PAGE_REQUEST = 0x47, /* SCT.8: PRE is 0 */
	VTD_FAULT_SM_CONTEXT_RID_PASID = 0x48, /* SCT.9: request with the PASID that is RID_PASID */
	VTD_FAULT_DIRECTORY_ACCESS = 0x50, /* SPD.1 */
	VTD_FAULT_DIRECTORY_ABSENT = 0x51, /* SPD.2 */
	VTD_FAULT_DIRECTORY_RESERVED = 0x52, /* SPD.3 */
	VTD_FAULT_PASID_ACCESS = 0x58, /* SPT.1 */
	VTD_FAULT_PASID_ABSENT = 0x59, /* SPT.2 */
	VTD_FAULT_PASID_RESERVED = 0x5a, /* SPT.3 */
	VTD_FAULT_PASID_INVALID = 0x5b, /* SPT.4: PGTT, AW or FSPM undefined or not supported; FSPTPTR beyond AW */
	VTD_FAULT_PASID_NO_EXECUTE = 0x5c, /* SPT.5: ERE is 0 */
	VTD_FAULT_PASID_NO_SUPERVISOR = 0x5d, /* SPT.6: SRE is 0 */
	VTD_FAULT_PASID_SIZE = 0x89, /* SGN.10: PASID beyond PSS */
};

/*
 * A PASID directory by itself, of a guest that has no root table: struct tables_device with mode TRANSLATE, has_pasid_table,
 * pasid_table, pasid_bits (at most 20), rid_pasid, output_lg2, capabilities (the flags above), memory, and flags as a context entry
 * gives them.
 */

#endif
