/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What is enabled for AMD's tables, and what their walks find (AMD I/O Virtualization Technology specification, document
 * 48882, 2.2; guest tables also AMD64 architecture, volume 2, 5.3).
 *
 * Both: levels are counted from 0 here, the specification counts from 1: its "level n" is level n - 1 of walks. Entries are of 8
 * bytes, 512 in a table, tables are of 4 KiB. PGTABLE_QUIET and probes as everywhere. The entries are judged from the top, and each
 * in the order of the lists below: the first line that applies is the result.
 */
#ifndef PGTABLE_AMD_H
#define PGTABLE_AMD_H

#include <uiommu/formats.h>

/*
 * v1: host tables (2.2.3).
 *
 * struct pgtable_config: levels 1 to 6 (Mode of the DTE), output_lg2 32 to 52; base[0] aligned to 4 KiB and below 1 << output_lg2;
 * flags; everything else is 0. Other values: -EINVAL. Input addresses have min(12 + 9 * levels, 64) bits.
 *
 *  An address beyond that: RANGE, level of the top table.
 *  An entry of level L (the top table is level levels - 1):
 *   1. PR (bit 0) is 0: UNMAPPED. All other bits are ignored.
 *   2. Bits 58:52, or a bit of 51:output_lg2, is not 0: RESERVED.
 *   3. Next level (bits 11:9) N is 1 to 6: the entry leads to a table.
 *      a. U or FC (bits 59, 60), which only a page has, is not 0: RESERVED.
 *      b. N > L (not further down; L is the specification's level - 1): RESERVED.
 *      c. Levels are left out (N < L), and the address bits that they would translate, [12 + 9 * N, 12 + 9 * L), are not all 0:
 *         UNMAPPED. Nothing in the entry is malformed; there is no page for this address. The accessed bit is not set.
 *      d. The table at bits 51:12 is of level N - 1.
 *   4. N is 0: a page of the level's own size, 12 + 9 * L bits. L is 5, or this size has more than output_lg2 bits, or an address
 *      bit of the entry below the size is not 0: RESERVED.
 *   5. N is 7: the page's size is where the lowest 0 of bits 51:12 is: bit b being the first that is 0, it has b + 1 bits. All the
 *      bits above b are the address, those up to b are 0 in it. b + 1 has to be greater than the level's own 12 + 9 * L, less
 *      than 12 + 9 * (L + 1), and at most output_lg2, and L may not be 5: otherwise RESERVED (also if all bits are 1).
 *   6. A page without all that is asked for: PERMISSION. IR (bit 61) of every entry on the way, that of the page included, permits
 *      to read, and to execute; IW (bit 62) of every entry permits to write. The DTE's own IR and IW are the caller's.
 *
 * There is no privilege: PGTABLE_USER changes nothing. Bits 63, 8:7, 4:1, and 6 of what leads to a table, are ignored.
 *
 * UIOMMU_AMD_V1_ACCESSED sets A (bit 5) of every entry that is passed, of the page's if its permissions suffice;
 * UIOMMU_AMD_V1_DIRTY sets D (bit 6) of the page's entry, too, when writing, in the same update. Without them the bits are ignored.
 * A page is clean if writing is permitted, UIOMMU_AMD_V1_DIRTY is set, and D is 0. Of a page of case 5 only the entry that was read
 * is changed.
 *
 * page_lg2 is the page's size.
 */

/* struct pgtable_result's attributes, v1. FC, the other one there is, is not told: all accesses are coherent. */
enum { AMD_V1_U = 1 }; /* bit 59 of the page's entry */

/*
 * v2: guest tables (2.2.6), those of AMD64 in long mode, with EFER.NXE = 1 and without SMEP, SMAP and keys.
 *
 * struct pgtable_config: levels 4 or 5 (GuestPagingMode), output_lg2 32 to 52; base[0] aligned to 4 KiB and below 1 << output_lg2;
 * flags; everything else is 0. Other values: -EINVAL. Input addresses have W = 12 + 9 * levels bits.
 *
 *  An address that is not canonical (bits 63:W-1 are neither all 0 nor all 1): RANGE, level of the top table.
 *  An entry of level L:
 *   1. P (bit 0) is 0: UNMAPPED.
 *   2. A bit of 51:output_lg2 is not 0: RESERVED.
 *   3. L is 3 or 4: bit 7 or 8 is not 0: RESERVED.
 *   4. L is 1 or 2 and PS (bit 7) is 1, a page: an address bit above bit 12 (PAT) and below the size (20:13, 29:13) is not 0:
 *      RESERVED. 2 MiB and 1 GiB are always offered.
 *   5. A page: with PGTABLE_USER, U/S (bit 2) is 0 in an entry on the way (and something is asked for): PRIVILEGE.
 *   6. A page without all that is asked for: PERMISSION. Reading is always permitted. Writing: R/W (bit 1) of every entry on the
 *      way, whatever the privilege; with UIOMMU_AMD_V2_WP_OFF privileged writes do not ask for it. Executing: NX (bit 63) is 0 in
 * every entry on the way.
 *
 * As elsewhere the result's access without PGTABLE_USER is that of privileged accesses; with PGTABLE_USER and a U/S that is 0
 * on the way nothing is permitted: a probe has access 0.
 *
 * A (bit 5) of every entry that is passed is set, of the page's if its permissions suffice, together with D (bit 6) when writing.
 * Clean: writing is permitted and D is 0. Bits 62:52, 11:9, the G bit of levels 0 to 2 are ignored.
 */

/* struct pgtable_result's attributes, v2: bits of the leaf as they are there. */
enum {
	AMD_V2_ATTRIBUTES = 0x1018 | 0x80, /* PAT index: PWT, PCD, and PAT at bit 12 (large) or 7 */
};

#endif
