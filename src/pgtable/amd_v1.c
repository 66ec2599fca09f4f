/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * AMD host tables, 1 to 6 levels (48882, 2.2.3). What is found where is said in amd.h, in the order in which it is looked for here.
 *
 * An entry names the level of the table it leads to, and may leave some out. Pages have the size of their level, or one between
 * this and the next level's.
 */
#include <errno.h>

#include "pgtable/amd.h"
#include "pgtable/walk.h"
#include "util/bits.h"

#define PRESENT BIT64(0)
#define ACCESSED BIT64(5)
#define DIRTY BIT64(6)
#define NEXT_LEVEL GENMASK64(11, 9)
#define ADDRESS GENMASK64(51, 12)
#define ALWAYS_RESERVED GENMASK64(58, 52)
#define UNTRANSLATED BIT64(59)
#define FORCE_COHERENT BIT64(60)
#define PERMISSIONS GENMASK64(62, 61)
#define READABLE BIT64(61) /* IR */

_Static_assert(UIOMMU_READ == 1 && UIOMMU_WRITE == 2 && UIOMMU_EXEC == 4, "IR, IW and what follows from IR");

enum { NEXT_IS_PAGE = 0, NEXT_IS_SIZED_PAGE = 7, LAST_LEVEL = 5 };

static uint64_t reserved_bits(const struct pgtable_config *config)
{
	return ALWAYS_RESERVED | (ADDRESS & ~low_mask(config->output_lg2));
}

static uint64_t accessed_bits(const struct pgtable_config *config)
{
	return config->flags & UIOMMU_AMD_V1_ACCESSED ? ACCESSED : 0;
}

PGTABLE_INLINE unsigned int level_lg2(unsigned int level)
{
	return 12 + 9 * level;
}

static int setup(struct pgtable *pgtable)
{
	struct pgtable_config *config = &pgtable->config;

	if (config->levels < 1 || config->levels > 6 || config->output_lg2 < 32 || config->output_lg2 > 52)
		return -EINVAL;
	if (config->flags != 0 && config->flags != UIOMMU_AMD_V1_ACCESSED &&
	    config->flags != (UIOMMU_AMD_V1_ACCESSED | UIOMMU_AMD_V1_DIRTY))
		return -EINVAL;
	if (config->base[0] & ~(ADDRESS & low_mask(config->output_lg2)))
		return -EINVAL;
	config->input_lg2[0] = (uint8_t)min_u64(level_lg2(config->levels), 64);
	pgtable->beyond = ~low_mask(config->input_lg2[0]);
	pgtable->top[0] = (uint8_t)(config->levels - 1);
	/* Those without IR or IW are rare enough. */
	pgtable->plain.value = PRESENT | PERMISSIONS | accessed_bits(config);
	pgtable->plain.mask = pgtable->plain.value | NEXT_LEVEL | UNTRANSLATED | FORCE_COHERENT | reserved_bits(config);
	pgtable->plain.address = ADDRESS;
	pgtable->dirty = config->flags & UIOMMU_AMD_V1_DIRTY ? DIRTY : 0;
	for (unsigned int level = 0; level < PGTABLE_PLAIN_LEAVES; level++) {
		struct pgtable_plain *leaf = &pgtable->leaf[level];

		leaf->value = PRESENT | READABLE | accessed_bits(config) | pgtable->dirty;
		leaf->address = ADDRESS & ~low_mask(level_lg2(level));
		/* Those with U have attributes. */
		leaf->mask = leaf->value | NEXT_LEVEL | UNTRANSLATED | reserved_bits(config) | (ADDRESS & ~leaf->address);
	}
	return 0;
}

PGTABLE_INLINE unsigned int begin(const struct pgtable *pgtable, uint64_t address, unsigned int flags,
				  struct pgtable_cursor *cursor)
{
	(void)flags;
	return pgtable_begin(pgtable, address, cursor);
}

PGTABLE_INLINE unsigned int permitted(const struct pgtable *pgtable, uint64_t above, uint64_t leaf, unsigned int flags)
{
	unsigned int access = (unsigned int)FIELD_GET64(PERMISSIONS, above & leaf);

	(void)pgtable;
	(void)flags;
	return access | (access & UIOMMU_READ) << 2;
}

/* To which size the entry of a page says that it belongs; 0 if that is reserved. */
PGTABLE_INLINE unsigned int page_size_lg2(const struct pgtable *pgtable, uint64_t entry, unsigned int level)
{
	unsigned int own = level_lg2(level), size = own;

	if (FIELD_GET64(NEXT_LEVEL, entry) == NEXT_IS_SIZED_PAGE) {
		size = 13 + (unsigned int)__builtin_ctzll(~FIELD_GET64(ADDRESS, entry));
		if (size <= own || size >= level_lg2(level + 1))
			return 0;
	} else if (entry & ADDRESS & low_mask(own)) {
		return 0;
	}
	return level < LAST_LEVEL && size <= pgtable->config.output_lg2 ? size : 0;
}

/* Where an entry leads whose next level, by the specification's count, is @next. */
PGTABLE_INLINE struct pgtable_item lead(const struct pgtable *pgtable, uint64_t entry, unsigned int next,
					const struct pgtable_cursor *cursor)
{
	struct pgtable_item item = {.kind = PGTABLE_FAULT, .reason = UIOMMU_FAULT_RESERVED};

	if (unlikely(entry & (UNTRANSLATED | FORCE_COHERENT) || next > cursor->level))
		return item;
	item.reason = UIOMMU_FAULT_UNMAPPED;
	if (unlikely(cursor->input & low_mask(level_lg2(cursor->level)) & ~low_mask(level_lg2(next))))
		return item;
	item.kind = PGTABLE_TABLE;
	item.next = (uint8_t)(next - 1);
	item.oa = entry & ADDRESS;
	item.update = entry | accessed_bits(&pgtable->config);
	return item;
}

PGTABLE_INLINE struct pgtable_item decode(const struct pgtable *pgtable, uint64_t entry, unsigned int flags,
					  const struct pgtable_cursor *cursor)
{
	unsigned int next = (unsigned int)FIELD_GET64(NEXT_LEVEL, entry), size;
	struct pgtable_item item = {.kind = PGTABLE_FAULT, .reason = UIOMMU_FAULT_UNMAPPED};
	bool sets = pgtable->dirty;

	if (unlikely(!(entry & PRESENT)))
		return item;
	item.reason = UIOMMU_FAULT_RESERVED;
	if (unlikely(entry & reserved_bits(&pgtable->config)))
		return item;
	if (next != NEXT_IS_PAGE && next != NEXT_IS_SIZED_PAGE)
		return lead(pgtable, entry, next, cursor);
	size = page_size_lg2(pgtable, entry, cursor->level);
	if (unlikely(!size))
		return item;
	item.kind = PGTABLE_LEAF;
	item.reason = UIOMMU_FAULT_PERMISSION;
	item.page_lg2 = (uint8_t)size;
	item.oa = entry & ADDRESS & ~low_mask(size);
	item.access = (uint8_t)permitted(pgtable, cursor->every, entry, flags);
	item.update = entry | accessed_bits(&pgtable->config);
	if (sets && flags & UIOMMU_WRITE && !(flags & PGTABLE_QUIET))
		item.update |= DIRTY;
	item.clean = sets && item.access & UIOMMU_WRITE && !(item.update & DIRTY);
	item.attributes = entry & UNTRANSLATED ? AMD_V1_U : 0;
	return item;
}

static const struct pgtable_shape shape = {
	.granule_lg2 = 12,
	.index_lg2 = 9,
	.entry_lg2 = 3,
	.usual_top = 3,
	.readable = true,
	.skips = true,
	.every = PERMISSIONS,
	.plain_level_shift = 9,
	.access = permitted,
	.begin = begin,
	.decode = decode,
};

PGTABLE_WALKERS(walkers, shape)

const struct pgtable_format pgtable_amd_v1 = {
	.name = "AMD host tables",
	.stage = 2,
	.setup = setup,
	.walkers = &walkers,
};
