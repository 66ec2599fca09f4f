/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Building VT-d second-stage tables in our own memory: what a paging HWPT has for a table when something else than an IOAS has to
 * walk it. Tables are at the addresses of this process.
 *
 * Writers are serialised by the caller. Translations (tables->pgtable) and vtd_tables_iterate() may run at any time in an RCU read
 * section. A table that is no longer used is retired; whoever takes the retired ones waits for a grace period before he gives them
 * back. Caches of translations are the caller's: what is unmapped may be in them, and whoever had the dirty bit set once does not
 * set it again.
 */
#ifndef PGTABLE_VTD_BUILD_H
#define PGTABLE_VTD_BUILD_H

#include <stdbool.h>
#include <stdint.h>

#include "pgtable/pages.h"
#include "pgtable/pgtable.h"
#include "pgtable/vtd.h"

struct vtd_tables {
	struct pgtable pgtable; /* to walk it */
	uint64_t *root;
	uint64_t *retired; /* unlinked tables, waiting for somebody to wait for a grace period; the page's word leads to the next */
	struct pages pages; /* the word of a table that is linked: how many entries are not 0 */
};

/* One page that is mapped, of any size. */
struct vtd_leaf {
	uint64_t first;
	uint64_t last;
	uint64_t oa; /* of @first */
	uint8_t access; /* enum uiommu_access */
	bool dirty;
};

typedef void vtd_leaf_fn(void *opaque, const struct vtd_leaf *leaf);

/*
 * @levels: 3 to 5. @flags: VTD_SECOND_*, which is also what large pages there may be. -EINVAL, -ENOMEM. The structure must not
 * move.
 */
int vtd_tables_init(struct vtd_tables *tables, unsigned int levels, uint32_t flags);
/* No reader is left. */
void vtd_tables_fini(struct vtd_tables *tables);

/* Flags of a map, beside enum uiommu_access. */
enum {
	VTD_TABLES_SMALL = 0x10, /* pages of 4 KiB, not the largest that fit */
	VTD_TABLES_DIRTY = 0x20, /* with UIOMMU_VTD_SECOND_AD: they are dirty from the start */
};

/*
 * Map @length bytes at @iova, with the largest pages that fit. -EINVAL (not aligned to 4 KiB, beyond the widths, no access at all),
 * -EEXIST if anything is mapped there, -ENOMEM; nothing has changed then.
 */
int vtd_tables_map(struct vtd_tables *tables, uint64_t iova, uint64_t length, uint64_t oa, unsigned int flags);

/*
 * Unmap [first, last]; @first and @last + 1 are aligned to 4 KiB. Large pages that reach beyond it are split, and the pieces
 * inherit their dirty bits. @gone, if not NULL, is told each page, and whether it was dirty until it was gone; without it dirty
 * bits are lost, and whole tables go at once. -EINVAL, -ENOMEM; nothing is unmapped then.
 */
int vtd_tables_unmap(struct vtd_tables *tables, uint64_t first, uint64_t last, vtd_leaf_fn *gone, void *opaque);

/* Take what is retired; after a grace period give it back (as a writer). */
uint64_t *vtd_tables_retired(struct vtd_tables *tables);
void vtd_tables_reclaim(struct vtd_tables *tables, uint64_t *retired);

/* Each page that has something of [first, last], in order, as a whole. */
void vtd_tables_iterate(const struct vtd_tables *tables, uint64_t first, uint64_t last, vtd_leaf_fn *visit, void *opaque);

/*
 * The same, only dirty ones, which are clean afterwards if they are in [first, last] altogether and @clear is set. As a writer.
 * Whatever is written later is dirty again once those who had set the bit before are done and their caches are flushed.
 */
void vtd_tables_read_dirty(struct vtd_tables *tables, uint64_t first, uint64_t last, bool clear, vtd_leaf_fn *visit, void *opaque);

#endif
