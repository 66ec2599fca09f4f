/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * VT-d's registers, queues and records: types and constants, as the Intel VT-d specification has them (5.1; chapters are the same
 * since 4.0). Its tables in memory are in translate/tables/vtd.c, its fault reasons in translate/tables/vtd.h.
 */
#ifndef VIOMMU_VTD_SPEC_H
#define VIOMMU_VTD_SPEC_H

#include "util/bits.h"

/* 11.4: offsets. Those of the IOTLB and fault recording registers are ours. */
enum {
	VTD_VER = 0x000,
	VTD_CAP = 0x008,
	VTD_ECAP = 0x010,
	VTD_GCMD = 0x018,
	VTD_GSTS = 0x01c,
	VTD_RTADDR = 0x020,
	VTD_CCMD = 0x028,
	VTD_FSTS = 0x034,
	VTD_FECTL = 0x038,
	VTD_FEDATA = 0x03c,
	VTD_FEADDR = 0x040,
	VTD_FEUADDR = 0x044,
	VTD_IQH = 0x080,
	VTD_IQT = 0x088,
	VTD_IQA = 0x090,
	VTD_ICS = 0x09c,
	VTD_IECTL = 0x0a0,
	VTD_IEDATA = 0x0a4,
	VTD_IEADDR = 0x0a8,
	VTD_IEUADDR = 0x0ac,
	VTD_IQERCD = 0x0b0,
	VTD_PQH = 0x0c0,
	VTD_PQT = 0x0c8,
	VTD_PQA = 0x0d0,
	VTD_PRS = 0x0dc,
	VTD_PECTL = 0x0e0,
	VTD_PEDATA = 0x0e4,
	VTD_PEADDR = 0x0e8,
	VTD_PEUADDR = 0x0ec,
	VTD_FRCD = 0x200, /* 16 bytes each */
	VTD_IVA = 0x500,
	VTD_IOTLB = 0x508,
	VTD_VCMD = 0xe00,
	VTD_VCRSP = 0xe10,
	VTD_VCCAP = 0xe30,
	VTD_REGISTERS_SIZE = 0x1000,
};

/* 11.4.1: draining without being asked, and register-based invalidation, which ends with 6. */
#define VTD_VER_5_0 UINT32_C(0x50)

/* 11.4.2 */
#define VTD_CAP_ND GENMASK64(2, 0)
#define VTD_CAP_CM BIT64(7)
#define VTD_CAP_SAGAW GENMASK64(12, 8)
#define VTD_CAP_MGAW GENMASK64(21, 16)
#define VTD_CAP_FRO GENMASK64(33, 24)
#define VTD_CAP_SSLPS_2M BIT64(34)
#define VTD_CAP_SSLPS_1G BIT64(35)
#define VTD_CAP_PSI BIT64(39)
#define VTD_CAP_NFR GENMASK64(47, 40)
#define VTD_CAP_MAMV GENMASK64(53, 48)
#define VTD_CAP_DWD BIT64(54)
#define VTD_CAP_DRD BIT64(55)
#define VTD_CAP_FS1GP BIT64(56)
#define VTD_CAP_FS5LP BIT64(60)
#define VTD_CAP_ESRTPS BIT64(63)

/* 11.4.3 */
#define VTD_ECAP_C BIT64(0)
#define VTD_ECAP_QI BIT64(1)
#define VTD_ECAP_DT BIT64(2)
#define VTD_ECAP_PT BIT64(6)
#define VTD_ECAP_SC BIT64(7)
#define VTD_ECAP_IRO GENMASK64(17, 8)
#define VTD_ECAP_NEST BIT64(26)
#define VTD_ECAP_PRS BIT64(29)
#define VTD_ECAP_SRS BIT64(31)
#define VTD_ECAP_EAFS BIT64(34)
#define VTD_ECAP_PSS GENMASK64(39, 35)
#define VTD_ECAP_PASID BIT64(40)
#define VTD_ECAP_PDS BIT64(42)
#define VTD_ECAP_SMTS BIT64(43)
#define VTD_ECAP_VCS BIT64(44)
#define VTD_ECAP_SSADS BIT64(45)
#define VTD_ECAP_SSTS BIT64(46)
#define VTD_ECAP_FSTS BIT64(47)
#define VTD_ECAP_SMPWCS BIT64(48)
#define VTD_ECAP_RPS BIT64(49)
#define VTD_ECAP_ADMS BIT64(52)
#define VTD_ECAP_RPRIVS BIT64(53)

/* 11.4.4: of GCMD, and of GSTS with an S. */
#define VTD_GCMD_TE (UINT32_C(1) << 31)
#define VTD_GCMD_SRTP (UINT32_C(1) << 30)
#define VTD_GCMD_QIE (UINT32_C(1) << 26)

/* 11.4.5 */
#define VTD_RTADDR_RTA GENMASK64(63, 12)
#define VTD_RTADDR_TTM GENMASK64(11, 10)

/* 11.4.6.1 */
#define VTD_CCMD_ICC BIT64(63)
#define VTD_CCMD_CIRG GENMASK64(62, 61)
#define VTD_CCMD_CAIG GENMASK64(60, 59)
#define VTD_CCMD_FM GENMASK64(33, 32)
#define VTD_CCMD_SID GENMASK64(31, 16)
#define VTD_CCMD_DID GENMASK64(15, 0)

/* 11.4.6.3, 11.4.6.4 */
#define VTD_IOTLB_IVT BIT64(63)
#define VTD_IOTLB_IIRG GENMASK64(61, 60)
#define VTD_IOTLB_IAIG GENMASK64(58, 57)
#define VTD_IOTLB_DRAIN GENMASK64(49, 48)
#define VTD_IOTLB_DID GENMASK64(47, 32)
#define VTD_IVA_ADDR GENMASK64(63, 12)
#define VTD_IVA_IH BIT64(6)
#define VTD_IVA_AM GENMASK64(5, 0)

/* 11.4.7.1 */
#define VTD_FSTS_PFO UINT32_C(0x01)
#define VTD_FSTS_PPF UINT32_C(0x02)
#define VTD_FSTS_IQE UINT32_C(0x10)
#define VTD_FSTS_ICE UINT32_C(0x20)
#define VTD_FSTS_ITE UINT32_C(0x40)
#define VTD_FSTS_FRI UINT32_C(0xff00)
#define VTD_FSTS_CONDITIONS (VTD_FSTS_PFO | VTD_FSTS_PPF | VTD_FSTS_IQE | VTD_FSTS_ICE | VTD_FSTS_ITE)

/* 11.4.7.2 and the same of all events: control, then data, address and upper address. */
#define VTD_EVENT_IM (UINT32_C(1) << 31)
#define VTD_EVENT_IP (UINT32_C(1) << 30)
enum { VTD_EVENT_DATA = 4, VTD_EVENT_ADDRESS = 8, VTD_EVENT_UPPER = 12 };

/* 11.4.7.6: the upper half; the lower one is the address of the page. */
#define VTD_FRCD_F BIT64(63)
#define VTD_FRCD_T1 BIT64(62)
#define VTD_FRCD_AT GENMASK64(61, 60)
#define VTD_FRCD_PV GENMASK64(59, 40)
#define VTD_FRCD_FR GENMASK64(39, 32)
#define VTD_FRCD_PP BIT64(31)
#define VTD_FRCD_T2 BIT64(28)
#define VTD_FRCD_SID GENMASK64(15, 0)

/* 11.4.9.1 to 11.4.9.3, 11.4.11.1 to 11.4.11.3 */
#define VTD_QUEUE_OFFSET GENMASK64(18, 4) /* in IQH and IQT */
#define VTD_PAGE_QUEUE_OFFSET GENMASK64(18, 5) /* in PQH and PQT */
#define VTD_QUEUE_ADDRESS GENMASK64(63, 12)
#define VTD_QUEUE_WIDE BIT64(11) /* IQA.DW */
#define VTD_QUEUE_SIZE GENMASK64(2, 0) /* QS, PQS */

/* 11.4.9.4 */
#define VTD_ICS_IWC UINT32_C(1)

/* 11.4.9.9 */
#define VTD_IQERCD_ICESID GENMASK64(63, 48)
#define VTD_IQERCD_ITESID GENMASK64(47, 32)
#define VTD_IQERCD_IQEI GENMASK64(3, 0)
enum vtd_queue_error {
	VTD_IQEI_NONE = 0,
	VTD_IQEI_TAIL = 1, /* invalid tail */
	VTD_IQEI_FETCH = 2, /* the descriptor cannot be read */
	VTD_IQEI_TYPE = 3, /* invalid type */
	VTD_IQEI_RESERVED = 4, /* reserved field of a valid type */
	VTD_IQEI_WIDTH = 5, /* descriptor width */
	VTD_IQEI_ALIGNMENT = 6, /* tail not aligned to the width */
	VTD_IQEI_MODE = 7, /* invalid RTADDR.TTM */
};

/* 11.4.11.4 */
#define VTD_PRS_PPR UINT32_C(1)
#define VTD_PRS_PRO UINT32_C(2)

/* 11.4.16 */
#define VTD_VCMD_CMD GENMASK64(7, 0)
#define VTD_VCMD_OA GENMASK64(63, 16)
#define VTD_VCMD_PASID GENMASK64(35, 16)
#define VTD_VCRSP_IP BIT64(0)
#define VTD_VCRSP_SC GENMASK64(7, 1)
#define VTD_VCRSP_PASID GENMASK64(35, 16)
#define VTD_VCCAP_NS BIT64(0)
#define VTD_VCCAP_PAS BIT64(1)
#define VTD_VCCAP_FPS BIT64(2)
enum { VTD_VCMD_NULL = 0, VTD_VCMD_ALLOC = 1, VTD_VCMD_FREE = 2 };
enum { VTD_VCRSP_SUCCESS = 0, VTD_VCRSP_UNDEFINED = 1, VTD_VCRSP_NO_PASID = 16 /* none available, or invalid */ };

/* 6.5.2: descriptors of the invalidation queue, of two or four words. */
enum vtd_descriptor {
	VTD_DESC_CONTEXT = 1, /* 6.5.2.1 */
	VTD_DESC_IOTLB = 2, /* 6.5.2.3 */
	VTD_DESC_DEVICE_TLB = 3, /* 6.5.2.5 */
	VTD_DESC_INTERRUPT_ENTRY = 4, /* 6.5.2.8 */
	VTD_DESC_WAIT = 5, /* 6.5.2.9 */
	VTD_DESC_PASID_IOTLB = 6, /* 6.5.2.4 */
	VTD_DESC_PASID_CACHE = 7, /* 6.5.2.2 */
	VTD_DESC_PASID_DEVICE_TLB = 8, /* 6.5.2.6 */
	VTD_DESC_PAGE_RESPONSE = 9, /* 7.6.1 */
	VTD_DESC_TYPES,
};
#define VTD_DESC_TYPE_LOW GENMASK64(3, 0)
#define VTD_DESC_TYPE_HIGH GENMASK64(11, 9)
#define VTD_DESC_G GENMASK64(5, 4) /* all that have a granularity */
#define VTD_DESC_DID GENMASK64(31, 16) /* all that have one there */
#define VTD_DESC_PASID GENMASK64(51, 32) /* all that have one */
#define VTD_DESC_ADDRESS GENMASK64(63, 12) /* word 1 of all that have one */
enum { VTD_G_GLOBAL = 1, VTD_G_DOMAIN = 2, VTD_G_SELECTIVE = 3 }; /* context (device), IOTLB (page) */
enum { VTD_G_PASID = 2, VTD_G_PASID_PAGE = 3 }; /* PASID IOTLB */
enum { VTD_G_CACHE_DOMAIN = 0, VTD_G_CACHE_PASID = 1, VTD_G_CACHE_GLOBAL = 3 }; /* PASID cache */
#define VTD_DESC_CONTEXT_SID GENMASK64(47, 32)
#define VTD_DESC_CONTEXT_FM GENMASK64(49, 48)
#define VTD_DESC_IOTLB_DRAIN GENMASK64(7, 6)
#define VTD_DESC_IOTLB_IH BIT64(6) /* word 1 */
#define VTD_DESC_IOTLB_AM GENMASK64(5, 0) /* word 1 */
#define VTD_DESC_DEVICE_MIP GENMASK64(20, 16)
#define VTD_DESC_DEVICE_SID GENMASK64(47, 32)
#define VTD_DESC_DEVICE_S BIT64(0) /* word 1 */
#define VTD_DESC_PASID_DEVICE_MIP GENMASK64(8, 4)
#define VTD_DESC_PASID_DEVICE_SID GENMASK64(31, 16)
#define VTD_DESC_PASID_DEVICE_GI BIT64(0) /* word 1 */
#define VTD_DESC_PASID_DEVICE_S BIT64(11) /* word 1 */
#define VTD_DESC_WAIT_IF BIT64(4)
#define VTD_DESC_WAIT_SW BIT64(5)
#define VTD_DESC_WAIT_FN BIT64(6)
#define VTD_DESC_WAIT_PD BIT64(7)
#define VTD_DESC_WAIT_DATA GENMASK64(63, 32)
#define VTD_DESC_WAIT_ADDRESS GENMASK64(63, 2) /* word 1 */
#define VTD_DESC_RESPONSE_PP BIT64(4)
#define VTD_DESC_RESPONSE_RC GENMASK64(15, 12)
#define VTD_DESC_RESPONSE_RID GENMASK64(31, 16)
#define VTD_DESC_RESPONSE_PRGI GENMASK64(11, 3) /* word 1 */
#define VTD_DESC_RESPONSE_IGNORED GENMASK64(2, 2) /* word 1 */
enum { VTD_RESPONSE_SUCCESS = 0, VTD_RESPONSE_INVALID = 1, VTD_RESPONSE_FAILURE = 15 }; /* 7.6.1, table 32 */

/* 7.4.1.1: page request descriptor, of four words. */
#define VTD_PAGE_TYPE UINT64_C(1)
#define VTD_PAGE_PP BIT64(8)
#define VTD_PAGE_RID GENMASK64(31, 16)
#define VTD_PAGE_PASID GENMASK64(51, 32)
#define VTD_PAGE_EXR BIT64(52)
#define VTD_PAGE_PMR BIT64(53)
#define VTD_PAGE_RDR BIT64(0) /* word 1 */
#define VTD_PAGE_WRR BIT64(1) /* word 1 */
#define VTD_PAGE_LPIG BIT64(2) /* word 1 */
#define VTD_PAGE_PRGI GENMASK64(11, 3) /* word 1 */
#define VTD_PAGE_ADDRESS GENMASK64(63, 12) /* word 1 */

/* 3.15: writes to it are interrupts. */
#define VTD_INTERRUPTS UINT64_C(0xfee00000)
#define VTD_INTERRUPTS_LAST UINT64_C(0xfeefffff)

#endif
