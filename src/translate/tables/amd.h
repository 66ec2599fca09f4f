/* SPDX-License-Identifier: BSD-3-Clause */
/* AMD's device table and GCR3 tables (I/O Virtualization Technology specification, document 48882, 2.2.2, 2.2.6 and 2.5). */
#ifndef TRANSLATE_TABLES_AMD_H
#define TRANSLATE_TABLES_AMD_H

/*
 * struct tables_config: base and entries (a multiple of 128 up to 65536: whole pages of 4 KiB) of the device table, output_lg2 (32
 * to 52) and flags mean something; mode is 0: one segment.
 */

/* struct tables_config's flags: what the capability header and the extended features report, and the control register enables. */
enum {
	AMD_TABLES_ATS = 1 << 0, /* IotlbSup: otherwise DTE.I is ignored */
	AMD_TABLES_PPR = 1 << 1, /* PPRSup, EPHSup: PPR and GPRP are defined */
	AMD_TABLES_ACCESSED = 1 << 2, /* HASup */
	AMD_TABLES_DIRTY = 1 << 3, /* HDSup */
	AMD_TABLES_GUEST = 1 << 4, /* GTSup */
	AMD_TABLES_GUEST_5 = 1 << 5, /* GATS: guest tables of five levels */
	AMD_TABLES_GIOV = 1 << 6, /* GIoSup: guest translation of requests without PASID */
	AMD_TABLES_EXECUTE = 1 << 7, /* NXSup: requests with PASID may execute */
	AMD_TABLES_USER = 1 << 8, /* USSup: requests with PASID may be privileged */
	AMD_TABLES_ROOT_GPA = 1 << 9, /* GCR3TRPMode: host tables translate the GCR3 root pointer, too */
};

/* Fields in the same word: HATS (4 to 6 host levels), GLXSup (1 to 3 GCR3 levels), PASmax (width of PASIDs - 1). */
#define AMD_TABLES_HATS UINT32_C(0x00030000)
#define AMD_TABLES_GLX UINT32_C(0x000c0000)
#define AMD_TABLES_PASMAX UINT32_C(0x01f00000)

/* Event codes (2.5): struct tables_fault's detail. */
enum amd_event {
	AMD_EVENT_ILLEGAL_DEV_TABLE_ENTRY = 1,
	AMD_EVENT_IO_PAGE_FAULT = 2, /* the only one that SA and SE suppress */
	AMD_EVENT_DEV_TAB_HARDWARE_ERROR = 3,
	AMD_EVENT_PAGE_TAB_HARDWARE_ERROR = 4,
	AMD_EVENT_INVALID_DEVICE_REQUEST = 8,
};

/*
 * struct tables_device's own members. They and the common ones are all that the step to the PASID needs, so that a GCR3 table can
 * be attached by itself. pasid_mode: GLX in bits 1:0, GuestPagingMode in bits 3:2; extra[0]: what IR and IW forbid, enum
 * uiommu_access.
 */

#endif
