/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * VT-d second stage, 3, 4 and 5 level (VT-d 4.1, 3.7 and 9.8).
 *
 * An entry without R and W (and X, where it is defined) is not there. What the levels permit is gathered and judged at the
 * leaf.
 */
#include <errno.h>

#include "pgtable/vtd.h"
#include "pgtable/walk.h"
#include "util/bits.h"

#define READ BIT64(0)
#define WRITE BIT64(1)
#define EXECUTE BIT64(2)
#define PAGE_SIZE_BIT BIT64(7)
#define ACCESSED BIT64(8)
#define DIRTY BIT64(9)
#define SNOOP BIT64(11)
#define ADDRESS GENMASK64(51, 12)
#define ALWAYS_RESERVED BIT64(62)

_Static_assert((int)UIOMMU_VTD_SECOND_EXECUTE == (int)EXECUTE, "keep");
_Static_assert(READ == UIOMMU_READ && WRITE == UIOMMU_WRITE && EXECUTE == UIOMMU_EXEC, "permissions are the API's bits");

static uint64_t reserved_bits(const struct pgtable_config *config, unsigned int level, bool leaf)
{
	uint64_t reserved = ALWAYS_RESERVED | (ADDRESS & ~low_mask(config->output_lg2));

	if (!leaf || !(config->flags & UIOMMU_VTD_SECOND_SNOOP))
		reserved |= SNOOP;
	if (level > 2 || (level == 2 && !(config->flags & UIOMMU_VTD_SECOND_1G)) ||
	    (level == 1 && !(config->flags & UIOMMU_VTD_SECOND_2M)))
		reserved |= PAGE_SIZE_BIT;
	else if (leaf && level)
		reserved |= GENMASK64(11 + 9 * level, 12);
	return reserved;
}

static int setup(struct pgtable *pgtable)
{
	struct pgtable_config *config = &pgtable->config;

	if (config->levels < 3 || config->levels > 5)
		return -EINVAL;
	if (config->output_lg2 < 32 || config->output_lg2 > 52)
		return -EINVAL;
	config->input_lg2[0] = (uint8_t)(12 + 9 * config->levels);
	config->base[0] &= ADDRESS;
	pgtable->beyond = ~low_mask(config->input_lg2[0]);
	pgtable->top[0] = (uint8_t)(config->levels - 1);
	for (unsigned int level = 0; level < config->levels; level++)
		pgtable->reserved[level] = reserved_bits(config, level, true);
	/* Those without R or W are rare enough. */
	pgtable->plain.value = READ | WRITE | (config->flags & UIOMMU_VTD_SECOND_AD ? ACCESSED : 0);
	pgtable->plain.mask = pgtable->plain.value | PAGE_SIZE_BIT | reserved_bits(config, 1, false);
	pgtable->plain.address = ADDRESS;
	pgtable->dirty = config->flags & UIOMMU_VTD_SECOND_AD ? DIRTY : 0;
	for (unsigned int level = 0; level < PGTABLE_PLAIN_LEAVES; level++) {
		struct pgtable_plain *leaf = &pgtable->leaf[level];

		leaf->value = READ | (level ? PAGE_SIZE_BIT : 0) | (config->flags & UIOMMU_VTD_SECOND_AD ? ACCESSED | DIRTY : 0);
		if (leaf->value & pgtable->reserved[level]) { /* no pages of this size */
			*leaf = (struct pgtable_plain){.value = 1};
			continue;
		}
		leaf->mask = leaf->value | pgtable->reserved[level];
		leaf->address = ADDRESS & ~low_mask(12 + 9 * level);
	}
	pgtable->keep = READ | WRITE | (config->flags & UIOMMU_VTD_SECOND_EXECUTE);
	pgtable->copy = config->flags & UIOMMU_VTD_SECOND_EXECUTE ? 0 : READ;
	return 0;
}

PGTABLE_INLINE unsigned int begin(const struct pgtable *pgtable, uint64_t address, unsigned int flags,
				  struct pgtable_cursor *cursor)
{
	(void)flags;
	return pgtable_begin(pgtable, address, cursor);
}

/* X is that of all levels or, where it means nothing, R: @copy is one of the two (setup). */
PGTABLE_INLINE unsigned int permitted(const struct pgtable *pgtable, uint64_t above, uint64_t leaf, unsigned int flags)
{
	uint64_t every = above & leaf;

	(void)flags;
	return (unsigned int)((every & pgtable->keep) | (every & pgtable->copy) << 2);
}

PGTABLE_INLINE struct pgtable_item decode(const struct pgtable *pgtable, uint64_t entry, unsigned int flags,
					  const struct pgtable_cursor *cursor)
{
	bool executes = pgtable->config.flags & UIOMMU_VTD_SECOND_EXECUTE, sets = pgtable->config.flags & UIOMMU_VTD_SECOND_AD;
	bool leaf = !cursor->level || entry & PAGE_SIZE_BIT;
	uint64_t reserved = leaf ? pgtable->reserved[cursor->level] : reserved_bits(&pgtable->config, cursor->level, false);
	struct pgtable_item item = {.kind = PGTABLE_FAULT, .reason = UIOMMU_FAULT_UNMAPPED};

	if (unlikely(!(entry & (READ | WRITE | (executes ? EXECUTE : 0)))))
		return item;
	item.reason = UIOMMU_FAULT_RESERVED;
	if (unlikely(entry & reserved))
		return item;
	item.update = sets ? entry | ACCESSED : entry;
	if (!leaf) {
		item.kind = PGTABLE_TABLE;
		item.oa = entry & ADDRESS;
		return item;
	}
	item.kind = PGTABLE_LEAF;
	item.reason = UIOMMU_FAULT_PERMISSION;
	item.page_lg2 = (uint8_t)(12 + 9 * cursor->level);
	item.oa = entry & ADDRESS & ~low_mask(item.page_lg2);
	item.access = (uint8_t)permitted(pgtable, cursor->every, entry, flags);
	if (sets && flags & UIOMMU_WRITE && !(flags & PGTABLE_QUIET))
		item.update |= DIRTY;
	item.clean = sets && item.access & UIOMMU_WRITE && !(item.update & DIRTY);
	item.attributes = (uint32_t)(entry & VTD_SECOND_ATTRIBUTES);
	return item;
}

static const struct pgtable_shape shape = {
	.granule_lg2 = 12,
	.index_lg2 = 9,
	.entry_lg2 = 3,
	.usual_top = 3,
	.readable = true,
	.every = READ | WRITE | EXECUTE,
	.attributes = VTD_SECOND_ATTRIBUTES,
	.access = permitted,
	.begin = begin,
	.decode = decode,
};

PGTABLE_WALKERS(walkers, shape)

const struct pgtable_format pgtable_vtd_second = {
	.name = "VT-d second stage",
	.stage = 2,
	.setup = setup,
	.walkers = &walkers,
};
