/* SPDX-License-Identifier: BSD-3-Clause */
/* VT-d first stage: the page tables of x86-64, 4 and 5 level (VT-d 4.1, 3.6 and 9.7). */
#include "pgtable/vtd.h"
#include "pgtable/x86_entry.h"

#define EXTENDED_ACCESSED BIT64(10)

/* Whatever it is. */
static uint64_t own_reserved(const struct pgtable_config *config, unsigned int level)
{
	uint64_t reserved = config->flags & UIOMMU_VTD_FIRST_NXE ? 0 : X86_EXECUTE_DISABLE;

	return level == 2 && !(config->flags & UIOMMU_VTD_FIRST_1G) ? reserved | X86_PAGE_SIZE : reserved;
}

static uint64_t accessed_bits(const struct pgtable_config *config)
{
	return config->flags & UIOMMU_VTD_FIRST_EAFE ? X86_ACCESSED | EXTENDED_ACCESSED : X86_ACCESSED;
}

static int setup(struct pgtable *pgtable)
{
	struct pgtable_config *config = &pgtable->config;
	int error = x86_setup(pgtable);

	if (error)
		return error;
	config->base[0] &= X86_ADDRESS;
	for (unsigned int level = 0; level < config->levels; level++)
		pgtable->reserved[level] = x86_reserved(config, level, true, own_reserved(config, level));
	x86_setup_plain(pgtable, accessed_bits(config), x86_reserved(config, 1, false, own_reserved(config, 1)));
	pgtable->keep = config->flags & UIOMMU_VTD_FIRST_WPE ? 0 : UIOMMU_WRITE;
	pgtable->copy = config->flags & UIOMMU_VTD_FIRST_SMEP ? X86_USER : 0;
	return 0;
}

PGTABLE_INLINE struct pgtable_item decode(const struct pgtable *pgtable, uint64_t entry, unsigned int flags,
					  const struct pgtable_cursor *cursor)
{
	struct pgtable_item item = x86_decode(pgtable, entry, flags, cursor, own_reserved(&pgtable->config, cursor->level),
					      accessed_bits(&pgtable->config));

	item.attributes = (uint32_t)(entry & VTD_FIRST_ATTRIBUTES);
	return item;
}

static const struct pgtable_shape shape = {
	X86_SHAPE,
	.attributes = VTD_FIRST_ATTRIBUTES,
	.decode = decode,
};

PGTABLE_WALKERS(walkers, shape)

const struct pgtable_format pgtable_vtd_first = {
	.name = "VT-d first stage",
	.stage = 1,
	.setup = setup,
	.walkers = &walkers,
};
