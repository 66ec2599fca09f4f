/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The interval map of an address space: area by input address.
 *
 * Writers are serialised by the caller (the space's lock). Readers take no lock and write nothing: they call areas_find() inside an
 * RCU read section. An area found there stays valid until the section ends, or longer if the reader entered it (inflight.h).
 * Nodes that a writer replaces are retired; whoever takes the retired ones waits for a grace period before he gives them back.
 * Only the functions marked "readers" may run beside a writer.
 */
#ifndef MEMORY_AREAS_H
#define MEMORY_AREAS_H

#include <stdbool.h>
#include <stdint.h>
#include <urcu/hlist.h>

#include "translate/inflight.h"
#include "util/pool.h"
#include "util/rcu.h"
#include "util/util.h"

struct region;
struct pin;

/*
 * One mapped range, one cache line. @start to @region never change while it is in a map, except @revoking and marks.
 * @host is where the byte at @start is mapped in this process. @resident: touching it never sleeps for long (shared memory or guest
 * RAM of our own mapping), so it may be touched inside an RCU read section; otherwise the area has to be entered first.
 */
struct area {
	uint64_t start;
	uint64_t last;
	uint8_t *host;
	uint8_t access; /* what this mapping permits */
	uint8_t limit; /* what another mapping of the same memory may permit */
	bool resident;
	bool revoking; /* somebody asks its pins to be put, without the lock: it must stay */
	bool stays, leaves; /* marks of a change (iommu/guest_memory.c), under the space's lock */
	uint8_t locked; /* so many queues of hardware lie in it: it must stay; under the space's lock */
	bool pinned; /* of its region (region_pin()), under the space's lock */
	struct region *region; /* holds a reference; NULL for memory of this process, which nobody can hold */
	struct drainable drain; /* accesses that sleep in it */
	union {
		struct cds_hlist_head pins; /* struct uiommu_pin, under the space's lock; added only to what is found under it */
		struct area *next; /* taken out: for the writer */
	};
} __attribute__((aligned(64)));

enum { AREAS_HEIGHT_MAX = 20, AREAS_PER_LINE = 4, AREAS_LINES = 8, AREAS_TAG = 63, AREAS_FEW = 8 };

struct areas_line {
	uint64_t key[AREAS_PER_LINE];
	uintptr_t pointer[AREAS_PER_LINE]; /* RCU; leaf: struct area and the length's logarithm, inner: struct areas_node */
};

/* See areas.c. */
struct areas_node {
	union {
		struct areas_line line[AREAS_LINES];
		struct {
			union {
				struct {
					uint16_t count;
					uint16_t inner; /* bool */
				};
				uint32_t leaf_count; /* @count of a leaf; much more of an inner node */
			};
			uint32_t live; /* pointers that are not NULL; writers only */
			uint64_t keys[AREAS_PER_LINE - 1];
			struct areas_node *next; /* retired; writers only */
		};
	};
} __attribute__((aligned(64)));

/* Where a writer is: the nodes from the root down to the leaf, and the entry taken in each. */
struct areas_path {
	unsigned int depth; /* of the last node; it is NULL if there is none in the entry above */
	struct areas_node *node[AREAS_HEIGHT_MAX];
	unsigned int entry[AREAS_HEIGHT_MAX]; /* leaf: the last one whose key is not beyond the address, or 0 */
	uint64_t last; /* of the addresses that the leaf is responsible for */
};

struct areas {
	struct areas_node *root; /* RCU */
	uint64_t changes; /* atomic: beginnings and ends of changes of several areas; odd meanwhile */
	struct areas_node *retired; /* replaced, waiting for somebody to wait for a grace period */
	unsigned int retired_count;
	uint64_t count;
	struct area *found_area; /* what @found leads to, until something changes */
	struct areas_path found;
	struct pool nodes;
	struct pool pool; /* of struct area */
};

void areas_init(struct areas *areas);

/* Free all memory, that of every area from areas_alloc() too; no reader is left. */
void areas_fini(struct areas *areas);

/* An area filled with 0, or NULL. */
struct area *areas_alloc(struct areas *areas);
void areas_free(struct areas *areas, struct area *area);

/* Put @area in. -EEXIST if it overlaps, -ENOMEM; no reader sees a difference then. */
int areas_insert(struct areas *areas, struct area *area);

/* Take out exactly @area, which is in. Cannot fail. Readers may still use it until a grace period has passed. */
void areas_remove(struct areas *areas, struct area *area);

/*
 * @left and @right, of which the second one begins behind the first one's end, take the place of @area, which is in, and begins and
 * ends with them. Readers find one of the three at any moment. -ENOMEM. @area is taken out then, as by areas_remove().
 */
int areas_split(struct areas *areas, struct area *area, struct area *left, struct area *right);

/*
 * What is between these is one change for areas_find(): who meets nothing in the middle of it waits for its end, which must be
 * near. Each area is found as it was before or as it is afterwards.
 */
void areas_begin(struct areas *areas);
void areas_end(struct areas *areas);

/*
 * Set memory aside, so that @count insertions in a row do not fail for it; areas_unreserve() afterwards. -ENOMEM.
 */
int areas_reserve(struct areas *areas, unsigned int count, struct areas_node **spare);
void areas_unreserve(struct areas *areas, struct areas_node *spare);

/* Take what is retired; after a grace period give it back (under the lock again). */
struct areas_node *areas_retired(struct areas *areas);
void areas_reclaim(struct areas *areas, struct areas_node *retired);

static inline void *areas_follow(const struct areas_node *node, unsigned int entry)
{
	return (void *)(rcu_read(node->line[entry / AREAS_PER_LINE].pointer[entry % AREAS_PER_LINE]) & ~(uintptr_t)AREAS_TAG);
}

/* The area that contains @address, or NULL. */
struct area *areas_find_any(const struct areas *areas, uint64_t address);

/*
 * One of a few areas is found by branches: a VM's memory is a handful of them, and accesses go to the same ones again and again. A
 * branch that is predicted need not wait for the address, so that the loads of entry, area and contents do not wait for one
 * another. False: areas_find_any() can say it.
 */
static inline __attribute__((always_inline)) bool areas_find_few(const struct areas *areas, uint64_t address, struct area **out)
{
	const struct areas_node *node = rcu_read(areas->root);

	if (!node || node->leaf_count > AREAS_FEW)
		return false;
#pragma GCC unroll 8
	for (unsigned int entry = 1; entry <= AREAS_FEW; entry++)
		if (address < node->line[(entry + 1) / AREAS_PER_LINE].key[(entry + 1) % AREAS_PER_LINE]) {
			struct area *area = (struct area *)areas_follow(node, entry);

			*out = area && address - area->start <= area->last - area->start ? area : NULL;
			return true;
		}
	return false; /* UINT64_MAX */
}

/* Nothing is there; but perhaps it is being replaced just now. */
struct area *areas_find_again(const struct areas *areas, uint64_t address);

/* The same, for readers (RCU), and for writers outside of areas_begin(). */
static inline struct area *areas_find(const struct areas *areas, uint64_t address)
{
	struct area *area = NULL;

	if (unlikely(!areas_find_few(areas, address, &area)))
		area = areas_find_any(areas, address);
	return likely(area) ? area : areas_find_again(areas, address);
}

/*
 * In a read section, of an area that is not resident: UIOMMU_FAULT_NONE if what is at @address may be touched there all the same,
 * because it is memory that has been supplied (presence.h); ABSENT if it has not; MEMORY if it is something else.
 */
unsigned int area_absence(const struct area *area, uint64_t address);

/* The first area whose last is >= @address, or NULL. Readers (RCU) and writers. */
struct area *areas_first(const struct areas *areas, uint64_t address);

/* The same for writers, who find it again at once if they remove it next. */
struct area *areas_seek(struct areas *areas, uint64_t address);

#endif
