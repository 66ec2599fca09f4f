/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Entries of x86-64's page tables, 4 and 5 level: VT-d's first stage and AMD's guest tables are made of them.
 *
 * What the levels say of R/W, U/S and XD is gathered and judged at the leaf. The accessed flag of an entry that leads to a table is
 * set when the walk goes through it, whatever comes below.
 *
 * A format's file says what only it knows: @own, the bits that an entry may not have at a level whatever it is; @accessed, the bits
 * that are set in what has been used; and in struct pgtable keep, what privilege may do although R/W forbids it, and copy, bits of
 * a leaf that take execution from it.
 */
#ifndef PGTABLE_X86_ENTRY_H
#define PGTABLE_X86_ENTRY_H

#include <errno.h>

#include "pgtable/walk.h"
#include "util/bits.h"

#define X86_PRESENT BIT64(0)
#define X86_READ_WRITE BIT64(1)
#define X86_USER BIT64(2)
#define X86_ACCESSED BIT64(5)
#define X86_DIRTY BIT64(6)
#define X86_PAGE_SIZE BIT64(7)
#define X86_ADDRESS GENMASK64(51, 12)
#define X86_EXECUTE_DISABLE BIT64(63)

enum { X86_LARGEST = 2 }; /* level of the largest pages there are */

/* Bits that an entry may not have. Of a large page's address bits below its size only PAT is none. */
PGTABLE_INLINE uint64_t x86_reserved(const struct pgtable_config *config, unsigned int level, bool leaf, uint64_t own)
{
	uint64_t reserved = own | (X86_ADDRESS & ~low_mask(config->output_lg2));

	if (level > X86_LARGEST)
		reserved |= X86_PAGE_SIZE;
	else if (leaf && level)
		reserved |= GENMASK64(11 + 9 * level, 13);
	return reserved;
}

/* Check the widths, and set all but reserved[], keep and copy. */
static inline int x86_setup(struct pgtable *pgtable)
{
	struct pgtable_config *config = &pgtable->config;

	if ((config->levels != 4 && config->levels != 5) || config->output_lg2 < 32 || config->output_lg2 > 52)
		return -EINVAL;
	config->input_lg2[0] = (uint8_t)(12 + 9 * config->levels);
	pgtable->beyond = ~low_mask(config->input_lg2[0]);
	pgtable->sign = BIT64(config->input_lg2[0] - 1);
	pgtable->top[0] = (uint8_t)(config->levels - 1);
	return 0;
}

/* After reserved[]. @tables: bits that no plain table has, beside the sure ones. */
static inline void x86_setup_plain(struct pgtable *pgtable, uint64_t accessed, uint64_t tables)
{
	pgtable->plain.value = X86_PRESENT | accessed;
	pgtable->plain.mask = pgtable->plain.value | X86_PAGE_SIZE | X86_EXECUTE_DISABLE | tables;
	pgtable->plain.address = X86_ADDRESS;
	pgtable->dirty = X86_DIRTY;
	for (unsigned int level = 0; level < PGTABLE_PLAIN_LEAVES; level++) {
		struct pgtable_plain *leaf = &pgtable->leaf[level];

		leaf->value = X86_PRESENT | accessed | X86_DIRTY | (level ? X86_PAGE_SIZE : 0);
		if (leaf->value & pgtable->reserved[level]) { /* no pages of this size */
			*leaf = (struct pgtable_plain){.value = 1};
			continue;
		}
		leaf->mask = leaf->value | pgtable->reserved[level];
		leaf->address = X86_ADDRESS & ~low_mask(12 + 9 * level);
	}
}

PGTABLE_INLINE unsigned int x86_begin(const struct pgtable *pgtable, uint64_t address, unsigned int flags,
				      struct pgtable_cursor *cursor)
{
	(void)flags;
	return pgtable_begin(pgtable, address, cursor);
}

_Static_assert((int)X86_READ_WRITE == UIOMMU_WRITE && (int)X86_USER == UIOMMU_EXEC, "x86_permitted");

/* What the request's privilege may do. XD of tables is in @leaf, too; plain ones have none. */
PGTABLE_INLINE unsigned int x86_permitted(const struct pgtable *pgtable, uint64_t above, uint64_t leaf, unsigned int flags)
{
	unsigned int every = (unsigned int)(above & leaf), access = UIOMMU_READ | (every & (unsigned int)X86_READ_WRITE);

	access |= (unsigned int)(~leaf >> 61) & UIOMMU_EXEC;

	if (flags & PGTABLE_USER)
		return every & X86_USER ? access : 0;
	return (access | (unsigned int)pgtable->keep) & ~(every & (unsigned int)pgtable->copy);
}

PGTABLE_INLINE struct pgtable_item x86_decode(const struct pgtable *pgtable, uint64_t entry, unsigned int flags,
					      const struct pgtable_cursor *cursor, uint64_t own, uint64_t accessed)
{
	bool leaf = !cursor->level || entry & X86_PAGE_SIZE;
	uint64_t reserved = leaf ? pgtable->reserved[cursor->level] : x86_reserved(&pgtable->config, cursor->level, false, own);
	struct pgtable_item item = {.kind = PGTABLE_FAULT, .reason = UIOMMU_FAULT_UNMAPPED};

	if (unlikely(!(entry & X86_PRESENT)))
		return item;
	item.reason = UIOMMU_FAULT_RESERVED;
	if (unlikely(entry & reserved))
		return item;
	item.update = entry | accessed;
	if (!leaf) {
		item.kind = PGTABLE_TABLE;
		item.oa = entry & X86_ADDRESS;
		return item;
	}
	item.kind = PGTABLE_LEAF;
	item.page_lg2 = (uint8_t)(12 + 9 * cursor->level);
	item.oa = entry & X86_ADDRESS & ~low_mask(item.page_lg2);
	item.access = (uint8_t)x86_permitted(pgtable, cursor->every, entry | (cursor->some & X86_EXECUTE_DISABLE), flags);
	item.reason = item.access ? UIOMMU_FAULT_PERMISSION : UIOMMU_FAULT_PRIVILEGE;
	if (flags & UIOMMU_WRITE && !(flags & PGTABLE_QUIET))
		item.update |= X86_DIRTY;
	item.clean = item.access & UIOMMU_WRITE && !(item.update & X86_DIRTY);
	return item;
}

/* What a shape has of them; the file adds attributes and decode(). */
#define X86_SHAPE                                                                                                                  \
	.granule_lg2 = 12, .index_lg2 = 9, .entry_lg2 = 3, .usual_top = 3, .canonical = true, .every = X86_USER | X86_READ_WRITE,  \
	.some = X86_EXECUTE_DISABLE, .access = x86_permitted, .begin = x86_begin

#endif
