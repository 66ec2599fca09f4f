/* SPDX-License-Identifier: BSD-3-Clause */
/* AMD guest tables, 4 and 5 level (48882, 2.2.6): those of AMD64's long mode. What is found where is said in amd.h. */
#include "pgtable/amd.h"
#include "pgtable/x86_entry.h"

#define GLOBAL BIT64(8)

/* Whatever it is. */
static uint64_t own_reserved(unsigned int level)
{
	return level > X86_LARGEST ? GLOBAL : 0;
}

static int setup(struct pgtable *pgtable)
{
	struct pgtable_config *config = &pgtable->config;
	int error = x86_setup(pgtable);

	if (error)
		return error;
	if (config->flags & ~(uint32_t)UIOMMU_AMD_V2_WP_OFF || config->base[0] & ~(X86_ADDRESS & low_mask(config->output_lg2)))
		return -EINVAL;
	for (unsigned int level = 0; level < config->levels; level++)
		pgtable->reserved[level] = x86_reserved(config, level, true, own_reserved(level));
	/* G is reserved in upper levels only; it is rare in the others. */
	x86_setup_plain(pgtable, X86_ACCESSED, x86_reserved(config, 1, false, GLOBAL));
	pgtable->keep = config->flags & UIOMMU_AMD_V2_WP_OFF ? UIOMMU_WRITE : 0;
	return 0;
}

PGTABLE_INLINE struct pgtable_item decode(const struct pgtable *pgtable, uint64_t entry, unsigned int flags,
					  const struct pgtable_cursor *cursor)
{
	struct pgtable_item item = x86_decode(pgtable, entry, flags, cursor, own_reserved(cursor->level), X86_ACCESSED);

	item.attributes = (uint32_t)(entry & AMD_V2_ATTRIBUTES);
	return item;
}

static const struct pgtable_shape shape = {
	X86_SHAPE,
	.attributes = AMD_V2_ATTRIBUTES,
	.decode = decode,
};

PGTABLE_WALKERS(walkers, shape)

const struct pgtable_format pgtable_amd_v2 = {
	.name = "AMD guest tables",
	.stage = 1,
	.setup = setup,
	.walkers = &walkers,
};
