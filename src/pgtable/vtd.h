/* SPDX-License-Identifier: BSD-3-Clause */
/* What is enabled for VT-d tables (Intel VT-d specification 4.1, 3.6 to 3.8 and 9.6 to 9.8). */
#ifndef PGTABLE_VTD_H
#define PGTABLE_VTD_H

#include <uiommu/formats.h>

/* struct pgtable_result's attributes: bits of the leaf as they are there. */
enum {
	VTD_FIRST_ATTRIBUTES = 0x1018 | 0x80, /* PAT index: PWT, PCD, and PAT at bit 12 (large) or 7 */
	VTD_SECOND_ATTRIBUTES = 0x878, /* SNP, IPAT, EMT */
};

#endif
