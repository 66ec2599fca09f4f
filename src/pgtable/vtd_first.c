/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * VT-d first stage: the page tables of x86-64, 4 and 5 level (VT-d 4.1, 3.6 and 9.7).
 *
 * What the levels say of R/W, U/S and XD is gathered in the state and judged at the leaf. The accessed flag of an entry that leads
 * to a table is set when the walk goes through it, whatever comes below.
 */
#include <errno.h>

#include "pgtable/vtd.h"
#include "pgtable/walk.h"
#include "util/bits.h"

#define PRESENT BIT64(0)
#define READ_WRITE BIT64(1)
#define USER BIT64(2)
#define ACCESSED BIT64(5)
#define DIRTY BIT64(6)
#define PAGE_SIZE_BIT BIT64(7)
#define EXTENDED_ACCESSED BIT64(10)
#define ADDRESS GENMASK64(51, 12)
#define EXECUTE_DISABLE BIT64(63)

/* Bits that an entry may not have. Of a large page's address bits below its size only PAT is none. */
static uint64_t reserved_bits(const struct pgtable_config *config, unsigned int level, bool leaf)
{
	uint64_t reserved = ADDRESS & ~low_mask(config->output_lg2);

	if (!(config->flags & UIOMMU_VTD_FIRST_NXE))
		reserved |= EXECUTE_DISABLE;
	if (level > 2 || (level == 2 && !(config->flags & UIOMMU_VTD_FIRST_1G)))
		reserved |= PAGE_SIZE_BIT;
	else if (leaf && level)
		reserved |= GENMASK64(11 + 9 * level, 13);
	return reserved;
}

static uint64_t accessed_bits(const struct pgtable_config *config)
{
	return config->flags & UIOMMU_VTD_FIRST_EAFE ? ACCESSED | EXTENDED_ACCESSED : ACCESSED;
}

static int setup(struct pgtable *pgtable)
{
	struct pgtable_config *config = &pgtable->config;

	if (config->levels != 4 && config->levels != 5)
		return -EINVAL;
	if (config->output_lg2 < 32 || config->output_lg2 > 52)
		return -EINVAL;
	config->input_lg2[0] = (uint8_t)(12 + 9 * config->levels);
	config->base[0] &= ADDRESS;
	pgtable->beyond = ~low_mask(config->input_lg2[0]);
	pgtable->sign = BIT64(config->input_lg2[0] - 1);
	pgtable->top[0] = (uint8_t)(config->levels - 1);
	for (unsigned int level = 0; level < config->levels; level++)
		pgtable->reserved[level] = reserved_bits(config, level, true);
	pgtable->plain.value = PRESENT | accessed_bits(config);
	pgtable->plain.mask = pgtable->plain.value | PAGE_SIZE_BIT | EXECUTE_DISABLE | reserved_bits(config, 1, false);
	pgtable->plain.address = ADDRESS;
	pgtable->dirty = DIRTY;
	for (unsigned int level = 0; level < PGTABLE_PLAIN_LEAVES; level++) {
		struct pgtable_plain *leaf = &pgtable->leaf[level];

		leaf->value = PRESENT | accessed_bits(config) | DIRTY | (level ? PAGE_SIZE_BIT : 0);
		if (leaf->value & pgtable->reserved[level]) { /* no pages of this size */
			*leaf = (struct pgtable_plain){.value = 1};
			continue;
		}
		leaf->mask = leaf->value | pgtable->reserved[level];
		leaf->address = ADDRESS & ~low_mask(12 + 9 * level);
	}
	pgtable->keep = config->flags & UIOMMU_VTD_FIRST_WPE ? 0 : UIOMMU_WRITE; /* with privilege, even so */
	pgtable->copy = config->flags & UIOMMU_VTD_FIRST_SMEP ? USER : 0; /* forbids execution with privilege */
	return 0;
}

PGTABLE_INLINE unsigned int begin(const struct pgtable *pgtable, uint64_t address, unsigned int flags,
				  struct pgtable_cursor *cursor)
{
	(void)flags;
	return pgtable_begin(pgtable, address, cursor);
}

_Static_assert((int)READ_WRITE == UIOMMU_WRITE && (int)USER == UIOMMU_EXEC, "permitted");

/* What the request's privilege may do. XD of tables is in @leaf, too; plain ones have none; see setup() for keep and copy. */
PGTABLE_INLINE unsigned int permitted(const struct pgtable *pgtable, uint64_t above, uint64_t leaf, unsigned int flags)
{
	unsigned int every = (unsigned int)(above & leaf), access = UIOMMU_READ | (every & (unsigned int)READ_WRITE);

	access |= (unsigned int)(~leaf >> 61) & UIOMMU_EXEC;

	if (flags & PGTABLE_USER)
		return every & USER ? access : 0;
	return (access | (unsigned int)pgtable->keep) & ~(every & (unsigned int)pgtable->copy);
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
	item.update = entry | accessed_bits(&pgtable->config);
	if (!leaf) {
		item.kind = PGTABLE_TABLE;
		item.oa = entry & ADDRESS;
		return item;
	}
	item.kind = PGTABLE_LEAF;
	item.page_lg2 = (uint8_t)(12 + 9 * cursor->level);
	item.oa = entry & ADDRESS & ~low_mask(item.page_lg2);
	item.access = (uint8_t)permitted(pgtable, cursor->every, entry | (cursor->some & EXECUTE_DISABLE), flags);
	item.reason = item.access ? UIOMMU_FAULT_PERMISSION : UIOMMU_FAULT_PRIVILEGE;
	if (flags & UIOMMU_WRITE && !(flags & PGTABLE_QUIET))
		item.update |= DIRTY;
	item.clean = item.access & UIOMMU_WRITE && !(item.update & DIRTY);
	item.attributes = (uint32_t)(entry & VTD_FIRST_ATTRIBUTES);
	return item;
}

static const struct pgtable_shape shape = {
	.granule_lg2 = 12,
	.index_lg2 = 9,
	.entry_lg2 = 3,
	.usual_top = 3,
	.canonical = true,
	.every = USER | READ_WRITE,
	.some = EXECUTE_DISABLE,
	.attributes = VTD_FIRST_ATTRIBUTES,
	.access = permitted,
	.begin = begin,
	.decode = decode,
};

PGTABLE_WALKERS(walkers, shape)

const struct pgtable_format pgtable_vtd_first = {
	.name = "VT-d first stage",
	.stage = 1,
	.setup = setup,
	.walkers = &walkers,
};
