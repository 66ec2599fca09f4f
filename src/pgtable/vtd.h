/* SPDX-License-Identifier: BSD-3-Clause */
/* What is enabled for VT-d tables (Intel VT-d specification 4.1, 3.6 to 3.8 and 9.6 to 9.8). */
#ifndef PGTABLE_VTD_H
#define PGTABLE_VTD_H

/* struct pgtable_config's flags, first stage: levels 4 or 5; output_lg2 (HAW) 32 to 52. */
enum {
	VTD_FIRST_WPE = 1, /* privileged writes need R/W, too */
	VTD_FIRST_NXE = 2, /* XD forbids execution; otherwise it is reserved */
	VTD_FIRST_SMEP = 4, /* no privileged execution of user pages */
	VTD_FIRST_EAFE = 8, /* set the extended-accessed flag, too */
	VTD_FIRST_1G = 16, /* FL1GP */
};

/* Second stage: levels 3, 4 or 5; output_lg2 (HAW) 32 to 52. */
enum {
	VTD_SECOND_AD = 1, /* set accessed and dirty flags */
	VTD_SECOND_SNOOP = 2, /* SNP is defined; otherwise it is reserved */
	VTD_SECOND_EXECUTE = 4, /* X is defined; otherwise it is ignored, and what is readable may be executed */
	VTD_SECOND_2M = 8,
	VTD_SECOND_1G = 16,
};

/* struct pgtable_result's attributes: bits of the leaf as they are there. */
enum {
	VTD_FIRST_ATTRIBUTES = 0x1018 | 0x80, /* PAT index: PWT, PCD, and PAT at bit 12 (large) or 7 */
	VTD_SECOND_ATTRIBUTES = 0x878, /* SNP, IPAT, EMT */
};

#endif
