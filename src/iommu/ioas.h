/* SPDX-License-Identifier: BSD-3-Clause */
/* What the rest of control sees of an IOAS. */
#ifndef IOMMU_IOAS_H
#define IOMMU_IOAS_H

#include <uiommu/ioas.h>

#include "iommu/object.h"
#include "translate/space.h"
#include "util/util.h"

struct demand;

/* What page tables ask of an IOAS that they are made of. */
struct geometry {
	struct uiommu_range aperture; /* of input addresses */
	unsigned int page_lg2; /* their smallest page */
};

enum { IOAS_ALIGN_LG2_MAX = 16 }; /* no host has larger pages */

/* Of a search for a free range: no address below @low with @address % @modulus == @offset has @length free bytes behind it. */
struct ioas_fit {
	uint64_t length;
	uint64_t modulus;
	uint64_t offset;
	uint64_t low;
};

enum { IOAS_FITS = 4 };

struct ioas {
	struct object object;
	struct space space;
	pthread_mutex_t automatic_lock; /* of whoever looks for it, and makes it if there is none */
	struct object *automatic; /* a place: the HWPT that attaching to the IOAS itself attaches to */
	struct cds_list_head reserved; /* ranges by owner, under space.lock */
	struct uiommu_range *allowed; /* sorted, under space.lock */
	uint32_t allowed_count;
	/* Under space.lock: how many ask that areas be multiples of 1 << n; and that their memory be, too. */
	uint32_t aligned[IOAS_ALIGN_LG2_MAX + 1], memory_aligned[IOAS_ALIGN_LG2_MAX + 1];
	uint32_t page_tables; /* made of it (geometry.c): what is mapped is pinned, under space.lock */
	bool small_pages; /* IOMMU_OPTION_HUGE_PAGES is off, under space.lock */
	uint32_t fit_count; /* searches remembered so far, under space.lock */
	struct ioas_fit fits[IOAS_FITS];
	uint64_t freed_low; /* atomic: the lowest address unmapped since @fits were looked at */
};

static inline struct ioas *ioas_of(struct object *object)
{
	return container_of(object, struct ioas, object);
}

/* Under space.lock. A free range of @length bytes whose address is aligned as @hint is; -ENOSPC. */
int iova_find(struct ioas *ioas, uint64_t hint, uint64_t length, uint64_t *iova);

/* Under space.lock. Does a reserved range hit [start, last]? The last address of the one that does. */
bool iova_reserved(const struct ioas *ioas, uint64_t start, uint64_t last, uint64_t *reserved_last);

/* Under space.lock: forget what is known of free ranges. */
void iova_forget(struct ioas *ioas);

/* Addresses from @start on have become free. */
void iova_freed(struct ioas *ioas, uint64_t start);

/* A reference to what on-demand memory is asked for from, or NULL. */
struct demand *demand_of(struct uiommu_context *context, uint32_t id);

/* Is there memory at @address of the IOAS, and absent? */
bool demand_is_absent(struct uiommu_context *context, uint32_t ioas_id, uint64_t address);

/* A reference to all of a RAM object's memory, or NULL. */
struct region *ram_region(struct uiommu_context *context, uint32_t id);

/*
 * Devices reserve ranges for as long as they are attached: all of @ranges for @owner, or -EADDRINUSE (an area or an allowed range
 * is hit), -ENOMEM. The same owner may reserve several times; ioas_unreserve() undoes one.
 */
int ioas_reserve(struct ioas *ioas, const void *owner, const struct uiommu_range *ranges, uint32_t count);
void ioas_unreserve(struct ioas *ioas, const void *owner);

/* The same of a range that stays reserved as long as the IOAS is there. */
int ioas_reserve_for_ever(struct ioas *ioas, const struct uiommu_range *range);

/* What is left of reservations, and of what is allowed. */
void iova_end(struct ioas *ioas);

/*
 * From now on areas are multiples of 1 << @lg2, and so is, if @memory, what they map, as far as pages go; until ioas_unalign().
 * -EADDRINUSE: there is one that is not.
 */
int ioas_align(struct ioas *ioas, unsigned int lg2, bool memory);
void ioas_unalign(struct ioas *ioas, unsigned int lg2, bool memory);

/* Under space.lock: what all of them ask for, in bytes. */
uint64_t ioas_alignment(const struct ioas *ioas);

/* Under space.lock. -EINVAL. */
int ioas_check_alignment(const struct ioas *ioas, uint64_t iova, uint64_t length, uint64_t memory);

/*
 * There are page tables of it from now on, @owner's. What is mapped gets pinned with the first ones. -EADDRINUSE (something is
 * mapped or allowed outside of the aperture, or not aligned), -ENOMEM, and those of region_pin().
 */
int ioas_table_begin(struct ioas *ioas, const void *owner, const struct geometry *geometry);
void ioas_table_end(struct ioas *ioas, const void *owner, const struct geometry *geometry);

/* Under space.lock, of an area that comes: errors of region_pin(). Of one that has gone, without it. */
int ioas_pin(const struct ioas *ioas, struct area *area);
void area_unpin(struct area *area);

/* Does anything that is mapped lie in the range, or reach into it? */
bool ioas_has_areas(struct ioas *ioas, uint64_t start, uint64_t last);

/* IOMMU_OPTION_HUGE_PAGES. -EINVAL (off, and there are page tables and areas), -EADDRINUSE (an area is not whole pages). */
int ioas_set_huge_pages(struct ioas *ioas, bool on);
bool ioas_huge_pages(struct ioas *ioas);

/* What a map of %UIOMMU_MAP_OWN and %UIOMMU_MAP_FILE maps for whoever calls, if that is not this process. */
struct ioas_source {
	/* After all that can be said without it has been checked. */
	int (*make)(void *opaque, const struct uiommu_ioas_map *map, unsigned int access, struct region **out);
	void *opaque;
};

/* uiommu_ioas_map(). @source may be NULL. OWN: the region's offsets are addresses; FILE: it is what is mapped. */
int ioas_map(struct uiommu_context *context, struct uiommu_ioas_map *map, const struct ioas_source *source);

/*
 * uiommu_ioas_unmap() of what lies in the range, after areas that reach out of it have been cut at its ends (VFIO's TYPE1).
 * -EINVAL: one that has pins would have to be cut.
 */
int ioas_unmap_cut(struct uiommu_context *context, uint32_t ioas_id, uint64_t iova, uint64_t length, uint64_t *unmapped);

/*
 * Map all of @region, which is remote, at @iova: it takes its own reference. Errors as uiommu_ioas_map().
 */
int ioas_map_remote(struct uiommu_context *context, uint32_t id, struct region *region, uint32_t flags, uint64_t iova);

void space_init(struct space *space, struct process *process);
/* Nothing is in it, and nobody. */
void space_fini(struct space *space);

/* Unlock after insertions: gives back what the map has retired, when there is much of it. May wait for a grace period. */
void space_unlock_tidy(struct space *space);

/* What has been taken out, until nobody uses it any more. */
struct release {
	struct cds_list_head link; /* in space->releases */
	uint64_t start, last; /* the areas lie in there */
	bool kept; /* devices may keep translations */
	struct area *taken; /* linked by next */
	struct areas_node *retired;
};

/* Cut the area that contains @last and @last + 1, if there is one, behind @last. -EINVAL (it has pins), -ENOMEM. No lock held. */
int space_cut(struct space *space, uint64_t last);

/* Under the lock: take out @first, which has no pins, and those after it up to @last. */
void space_take(struct space *space, struct area *first, uint64_t last, struct release *release);

/* Without the lock: wait until nobody uses what was taken out or was retired by the map, free it. */
void space_release(struct space *space, struct release *release);

/*
 * Take every area out of a space and wait until nothing uses them; the registrations of an SVA bind end the same way. Pins are not
 * asked; their holders may still put them.
 */
void space_clear(struct space *space);

/*
 * Unmap all areas that lie in [start, last]: asks for their pins, waits until nothing uses them. -ENOENT (none, or one only partly
 * inside), -EDEADLOCK (a pin is left), -EBUSY (another thread is asking for the pins of one). No lock held.
 */
int space_unmap(struct space *space, uint64_t start, uint64_t last, uint64_t *unmapped);

/* The same for the one area that is exactly [start, last]. */
int space_unmap_exactly(struct space *space, uint64_t start, uint64_t last);

#endif
