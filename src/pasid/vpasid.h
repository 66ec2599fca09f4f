/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A set's own numbers for its PASIDs: vPASID -> pPASID, as a VM has one table for all of its virtual devices.
 *
 * What a vPASID stands for is one word: a PASID with the generation of its allocation. So a look is one load of it, and whoever has
 * looked can tell later, from the generation alone, whether the PASID is still what it was. The table is kept up to date by a
 * subscription to the set: a PASID that is freed is in it no more, and generations make a look that came before harmless.
 *
 * The lock of a table is held over steps of the life cycle; the space's lock comes after it.
 */
#ifndef PASID_VPASID_H
#define PASID_VPASID_H

#include "pasid/pasid.h"
#include "util/rcu.h"

struct vpasid_table;

/*
 * A word: generation, VPASID_VALID, PASID; 0: nothing. Words may be the user's own, too: what stands for a virtual device's
 * requests without PASID.
 */
enum { VPASID_GENERATION_SHIFT = UIOMMU_PASID_BITS + 1 };
#define VPASID_VALID (UINT64_C(1) << UIOMMU_PASID_BITS)
#define VPASID_PASID (VPASID_VALID - 1)

enum { VPASID_FANOUT_LG2 = 10, VPASID_FANOUT = 1 << VPASID_FANOUT_LG2 };

/* What a look sees of a table. */
struct vpasid_view {
	uint64_t *leaves[VPASID_FANOUT]; /* RCU; made on demand, freed with the table; words are atomic */
};

/* -ENOMEM, -ENOSPC (subscriptions). */
int vpasid_table_create(struct pasid_set *set, struct vpasid_table **out);

/* Nobody uses it. NULL does nothing. */
void vpasid_table_destroy(struct vpasid_table *table);

const struct vpasid_view *vpasid_view(const struct vpasid_table *table);

/* Takes no lock. */
static inline uint64_t vpasid_look(const struct vpasid_view *view, uint32_t vpasid)
{
	const uint64_t *leaf;

	if (__builtin_expect(vpasid > UIOMMU_PASID_LAST, 0))
		return 0;
	leaf = rcu_read(view->leaves[vpasid >> VPASID_FANOUT_LG2]);
	return leaf ? __atomic_load_n(&leaf[vpasid & (VPASID_FANOUT - 1)], __ATOMIC_RELAXED) : 0;
}

/* What stands for @pasid; UIOMMU_NO_PASID: no vPASID. Takes no lock. */
uint32_t vpasid_of(const struct vpasid_table *table, uint32_t pasid);

/* Is the PASID still what it was? So many generations later that the number of it is the same again, it is taken to be. */
static inline bool vpasid_is_current(const uint64_t *tags, uint64_t word)
{
	return pasid_generation_now(tags, (uint32_t)(word & VPASID_PASID)) << VPASID_GENERATION_SHIFT ==
	       (word & ~(VPASID_VALID | VPASID_PASID));
}

/*
 * Let @vpasid stand for @pasid. -EEXIST: it stands for one already; -EBUSY: something else stands for @pasid; -ENOENT: that is not
 * the set's, or has been freed; -ENOMEM.
 */
int vpasid_map(struct vpasid_table *table, uint32_t vpasid, uint32_t pasid);

/* -ENOENT; -EBUSY: it is bound. */
int vpasid_unmap(struct vpasid_table *table, uint32_t vpasid);

/*
 * One use of what @vpasid stands for; if that is nothing, of a PASID that is picked for it. -EBUSY: it is draining; the errors of
 * pasid_pick(). pasid_tell() of *@pasid follows, also on failure, with no lock held.
 */
struct vpasid_use {
	uint32_t vpasid;
	uint64_t *own; /* instead of @vpasid: a word of the caller's; or NULL */
	uint32_t bits, not ; /* of the device that the PASID is for (pasid_pick_for()) */
};

int vpasid_use(struct vpasid_table *table, const struct vpasid_use *use, uint32_t *pasid);

#endif
