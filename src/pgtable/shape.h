/* SPDX-License-Identifier: BSD-3-Clause */
/* What a format says of its entries to the walker (walk.h): a const description and a few functions. */
#ifndef PGTABLE_SHAPE_H
#define PGTABLE_SHAPE_H

#include "pgtable/pgtable.h"
#include "util/bits.h"
#include "util/util.h"

#define PGTABLE_INLINE static inline __attribute__((always_inline))

/* What an entry is. */
enum pgtable_kind {
	PGTABLE_TABLE, /* leads to a table of a lower level */
	PGTABLE_LEAF,
	PGTABLE_FAULT, /* absent, or not allowed to be like that */
};

struct pgtable_item {
	enum pgtable_kind kind;
	uint8_t reason; /* FAULT: why; LEAF: why not, if @access does not suffice */
	uint8_t access; /* LEAF: what may be done, with everything that the entries above said */
	uint8_t page_lg2; /* LEAF */
	uint8_t next; /* TABLE: level of that table */
	bool clean; /* LEAF: @access has WRITE, but the dirty bit is not set */
	uint32_t attributes; /* LEAF */
	uint64_t oa; /* of the table, or of the page: aligned to its size */
	uint64_t update; /* TABLE, LEAF: what the entry has to become for this access, or the entry as it is */
};

/* Where a walk is. */
struct pgtable_cursor {
	uint64_t input; /* the input address, without what is above the table's width */
	uint64_t every, some; /* AND and OR of the entries above; at the top all ones and 0 */
	unsigned int level;
	unsigned int half; /* of the addresses: an index of struct pgtable_config's arrays */
};

/* What the permissions take from the tables' entries above a leaf. */
enum pgtable_gathers {
	PGTABLE_EVERY, /* AND */
	PGTABLE_SOME, /* OR */
	PGTABLE_NOTHING,
};

/* Formats that differ by granule at run time have a shape for each; setup() chooses its walkers. */
struct pgtable_shape {
	uint8_t granule_lg2;
	uint8_t index_lg2; /* of the address's bits per level; the top table may be larger */
	uint8_t entry_lg2; /* 3, or 2 */
	uint8_t usual_top; /* level of the top table that has walkers of its own */
	bool canonical; /* struct pgtable's sign may be other than 0 */
	bool readable; /* anybody may read where plain tables and plain leaves lead: stage 2 */
	bool skips; /* a table may lead to one more than a level down; address bits of the levels left out have to be 0 */
	uint8_t plain_shift; /* struct pgtable_plain: an entry's address is (entry & address) << plain_shift */
	uint8_t plain_level_shift; /* if not 0, a plain entry has its own level there */
	enum pgtable_gathers gathers;
	uint64_t every, some; /* the bits of tables' entries that count, each in a row: AND and OR; a few */
	uint32_t attributes; /* plain leaves: the bits that are */
	uint32_t (*attributes_of)(uint64_t entry); /* or they are made of these */
	/* What may be done. @above: of entries of plain tables, as said by @gathers. NULL: no leaf is plain. */
	unsigned int (*access)(const struct pgtable *pgtable, uint64_t above, uint64_t leaf, unsigned int flags);
	/* Check the address and set input and half of @cursor. A reason. */
	unsigned int (*begin)(const struct pgtable *pgtable, uint64_t address, unsigned int flags, struct pgtable_cursor *cursor);
	/* Judge an entry of cursor->level that is not plain. */
	struct pgtable_item (*decode)(const struct pgtable *pgtable, uint64_t entry, unsigned int flags,
				      const struct pgtable_cursor *cursor);
};

/* Usual begin(). */
PGTABLE_INLINE unsigned int pgtable_begin(const struct pgtable *pgtable, uint64_t address, struct pgtable_cursor *cursor)
{
	cursor->input = address & ~pgtable->beyond;
	return (address + pgtable->sign) & pgtable->beyond ? UIOMMU_FAULT_RANGE : UIOMMU_FAULT_NONE;
}

#endif
