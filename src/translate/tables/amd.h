/* SPDX-License-Identifier: BSD-3-Clause */
/* AMD's device table and GCR3 tables (I/O Virtualization Technology specification, document 48882, 2.2.2, 2.2.6 and 2.5). */
#ifndef TRANSLATE_TABLES_AMD_H
#define TRANSLATE_TABLES_AMD_H

#include <uiommu/formats.h>

/*
 * struct tables_config: base and entries (a multiple of 128 up to 65536: whole pages of 4 KiB) of the device table, output_lg2 (32
 * to 52) and flags mean something; mode is 0: one segment.
 */

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
