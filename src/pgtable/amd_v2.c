/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * AMD guest tables, 4 and 5 level (48882, 2.2.6): those of AMD64's long mode. What is found where is said in amd.h.
 *
 * What the levels say of R/W, U/S and NX is gathered and judged at the leaf.
 */
#include <errno.h>

#include "pgtable/amd.h"
#include "pgtable/walk.h"
#include "util/bits.h"

#define PRESENT BIT64(0)
#define READ_WRITE BIT64(1)
#define USER BIT64(2)
#define ACCESSED BIT64(5)
#define DIRTY BIT64(6)
#define PAGE_SIZE_BIT BIT64(7)
#define GLOBAL BIT64(8)
#define ADDRESS GENMASK64(51, 12)
#define NO_EXECUTE BIT64(63)

_Static_assert((int)READ_WRITE == UIOMMU_WRITE, "permitted");

/* Bits that an entry may not have. Of a large page's address bits below its size only PAT is none. */
static uint64_t reserved_bits(const struct pgtable_config *config, unsigned int level, bool leaf)
{
	uint64_t reserved = ADDRESS & ~low_mask(config->output_lg2);

	if (level > 2)
		reserved |= PAGE_SIZE_BIT | GLOBAL;
	else if (leaf && level)
		reserved |= GENMASK64(11 + 9 * level, 13);
	return reserved;
}

static int setup(struct pgtable *pgtable)
{
	struct pgtable_config *config = &pgtable->config;

	if ((config->levels != 4 && config->levels != 5) || config->output_lg2 < 32 || config->output_lg2 > 52)
		return -EINVAL;
	if (config->flags & ~(uint32_t)UIOMMU_AMD_V2_WP_OFF || config->base[0] & ~(ADDRESS & low_mask(config->output_lg2)))
		return -EINVAL;
	config->input_lg2[0] = (uint8_t)(12 + 9 * config->levels);
	pgtable->beyond = ~low_mask(config->input_lg2[0]);
	pgtable->sign = BIT64(config->input_lg2[0] - 1);
	pgtable->top[0] = (uint8_t)(config->levels - 1);
	for (unsigned int level = 0; level < config->levels; level++)
		pgtable->reserved[level] = reserved_bits(config, level, true);
	pgtable->plain.value = PRESENT | ACCESSED;
	/* G is reserved in upper levels only; it is rare in the others. */
	pgtable->plain.mask = pgtable->plain.value | PAGE_SIZE_BIT | GLOBAL | NO_EXECUTE | reserved_bits(config, 1, false);
	pgtable->plain.address = ADDRESS;
	pgtable->dirty = DIRTY;
	for (unsigned int level = 0; level < PGTABLE_PLAIN_LEAVES; level++) {
		struct pgtable_plain *leaf = &pgtable->leaf[level];

		leaf->value = PRESENT | ACCESSED | DIRTY | (level ? PAGE_SIZE_BIT : 0);
		leaf->mask = leaf->value | pgtable->reserved[level];
		leaf->address = ADDRESS & ~low_mask(12 + 9 * level);
	}
	pgtable->keep = config->flags & UIOMMU_AMD_V2_WP_OFF ? UIOMMU_WRITE : 0; /* with privilege, even so */
	return 0;
}

PGTABLE_INLINE unsigned int begin(const struct pgtable *pgtable, uint64_t address, unsigned int flags,
				  struct pgtable_cursor *cursor)
{
	(void)flags;
	return pgtable_begin(pgtable, address, cursor);
}

/* What the request's privilege may do. NX of tables is in @leaf, too; plain ones have none. */
PGTABLE_INLINE unsigned int permitted(const struct pgtable *pgtable, uint64_t above, uint64_t leaf, unsigned int flags)
{
	unsigned int every = (unsigned int)(above & leaf), access = UIOMMU_READ | (every & (unsigned int)READ_WRITE);

	access |= (unsigned int)(~leaf >> 61) & UIOMMU_EXEC;

	if (flags & PGTABLE_USER)
		return every & USER ? access : 0;
	return access | (unsigned int)pgtable->keep;
}

PGTABLE_INLINE struct pgtable_item decode(const struct pgtable *pgtable, uint64_t entry, unsigned int flags,
					  const struct pgtable_cursor *cursor)
{
	bool leaf = !cursor->level || entry & PAGE_SIZE_BIT;
	uint64_t reserved = leaf ? pgtable->reserved[cursor->level] : reserved_bits(&pgtable->config, cursor->level, false);
	struct pgtable_item item = {.kind = PGTABLE_FAULT, .reason = UIOMMU_FAULT_UNMAPPED};

	if (unlikely(!(entry & PRESENT)))
		return item;
	item.reason = UIOMMU_FAULT_RESERVED;
	if (unlikely(entry & reserved))
		return item;
	item.update = entry | ACCESSED;
	if (!leaf) {
		item.kind = PGTABLE_TABLE;
		item.oa = entry & ADDRESS;
		return item;
	}
	item.kind = PGTABLE_LEAF;
	item.page_lg2 = (uint8_t)(12 + 9 * cursor->level);
	item.oa = entry & ADDRESS & ~low_mask(item.page_lg2);
	item.access = (uint8_t)permitted(pgtable, cursor->every, entry | (cursor->some & NO_EXECUTE), flags);
	item.reason = item.access ? UIOMMU_FAULT_PERMISSION : UIOMMU_FAULT_PRIVILEGE;
	if (flags & UIOMMU_WRITE && !(flags & PGTABLE_QUIET))
		item.update |= DIRTY;
	item.clean = item.access & UIOMMU_WRITE && !(item.update & DIRTY);
	item.attributes = (uint32_t)(entry & AMD_V2_ATTRIBUTES);
	return item;
}

static const struct pgtable_shape shape = {
	.granule_lg2 = 12,
	.index_lg2 = 9,
	.entry_lg2 = 3,
	.usual_top = 3,
	.canonical = true,
	.every = USER | READ_WRITE,
	.some = NO_EXECUTE,
	.attributes = AMD_V2_ATTRIBUTES,
	.access = permitted,
	.begin = begin,
	.decode = decode,
};

PGTABLE_WALKERS(walkers, shape)

const struct pgtable_format pgtable_amd_v2 = {
	.name = "AMD guest tables",
	.stage = 1,
	.setup = setup,
	.walkers = &walkers,
};
