/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The interval map of an address space: area by input address.
 *
 * Writers are serialised by the caller (the space's lock). Readers take no lock and write nothing: they call areas_find() inside an
 * RCU read section. An area found there stays valid until the section ends, or longer if the reader entered it (inflight.h).
 * Nodes that a writer takes out are freed by areas_reclaim(), after a grace period that the writer waits for anyway.
 */
#ifndef MEMORY_AREAS_H
#define MEMORY_AREAS_H

#include <stdint.h>

#include "translate/inflight.h"

struct region;
struct pin;

/*
 * One mapped range. @start, @last, @host, @access and @resident never change while it is in a map.
 * @host is where the byte at @start is mapped in this process. @resident: touching it never sleeps for long (shared memory or guest
 * RAM of our own mapping), so it may be touched inside an RCU read section; otherwise the area has to be entered first.
 */
struct area {
	uint64_t start;
	uint64_t last;
	uint8_t *host;
	uint8_t access;
	bool resident;
	struct region *region; /* holds a reference */
	uint64_t region_offset; /* of @start in the region */
	struct drainable drain; /* accesses that sleep in it */
	struct cds_list_head pins; /* struct uiommu_pin, under the space's lock */
};

struct areas_node;

struct areas {
	struct areas_node *root; /* RCU */
	struct areas_node *limbo; /* taken out, waiting for a grace period */
	uint64_t count;
};

void areas_init(struct areas *areas);

/* Free all nodes (not the areas); no reader is left. */
void areas_fini(struct areas *areas);

/* Put @area in. -EEXIST if it overlaps, -ENOMEM; nothing has changed then. Writers only. */
int areas_insert(struct areas *areas, struct area *area);

/* Take out exactly @area, which is in. Cannot fail. Writers only. Readers may still use it until a grace period has passed. */
void areas_remove(struct areas *areas, struct area *area);

/* Free what was taken out; the caller has waited for a grace period since. */
void areas_reclaim(struct areas *areas);

/* The area that contains @address, or NULL. Readers (RCU) and writers. */
struct area *areas_find(const struct areas *areas, uint64_t address);

/* The first area whose last is >= @address, or NULL. Readers (RCU) and writers. */
struct area *areas_first(const struct areas *areas, uint64_t address);

#endif
