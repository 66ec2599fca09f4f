/* SPDX-License-Identifier: BSD-3-Clause */
/* What page tables ask of an IOAS: where its areas may lie, how they are aligned, and that what they map is pinned. */
#include <errno.h>

#include "iommu/ioas.h"
#include "memory/presence.h"
#include "memory/region.h"

/* The first area, or the one after @area. */
static struct area *next_area(struct ioas *ioas, const struct area *area)
{
	if (area && area->last == UINT64_MAX)
		return NULL;
	return areas_first(&ioas->space.areas, area ? area->last + 1 : 0);
}

/* --- alignment, under the lock --- */

static uint64_t largest(const uint32_t *counts)
{
	for (unsigned int lg2 = IOAS_ALIGN_LG2_MAX; lg2; lg2--)
		if (counts[lg2])
			return UINT64_C(1) << lg2;
	return 1;
}

uint64_t ioas_alignment(const struct ioas *ioas)
{
	return largest(ioas->aligned);
}

static bool is_aligned(const struct area *area, uint64_t size, bool memory)
{
	uint64_t bits = area->start | (area->last + 1);

	if (memory)
		bits |= (uint64_t)(uintptr_t)area->host % page_size();
	return !(bits & (size - 1));
}

int ioas_check_alignment(const struct ioas *ioas, uint64_t iova, uint64_t length, uint64_t memory)
{
	return (iova | length) & (largest(ioas->aligned) - 1) || memory % page_size() & (largest(ioas->memory_aligned) - 1)
		       ? -EINVAL
		       : 0;
}

static int align(struct ioas *ioas, unsigned int lg2, bool memory)
{
	for (const struct area *area = next_area(ioas, NULL); area; area = next_area(ioas, area))
		if (!is_aligned(area, UINT64_C(1) << lg2, memory))
			return -EADDRINUSE;
	ioas->aligned[lg2]++;
	ioas->memory_aligned[lg2] += memory;
	return 0;
}

static void unalign(struct ioas *ioas, unsigned int lg2, bool memory)
{
	ioas->aligned[lg2]--;
	ioas->memory_aligned[lg2] -= memory;
}

int ioas_align(struct ioas *ioas, unsigned int lg2, bool memory)
{
	int error;

	pthread_mutex_lock(&ioas->space.lock);
	error = align(ioas, lg2, memory);
	pthread_mutex_unlock(&ioas->space.lock);
	return error;
}

void ioas_unalign(struct ioas *ioas, unsigned int lg2, bool memory)
{
	pthread_mutex_lock(&ioas->space.lock);
	unalign(ioas, lg2, memory);
	pthread_mutex_unlock(&ioas->space.lock);
}

static unsigned int page_lg2(void)
{
	return (unsigned int)__builtin_ctzll(page_size());
}

int ioas_set_huge_pages(struct ioas *ioas, bool on)
{
	int error = 0;

	pthread_mutex_lock(&ioas->space.lock);
	if (on && ioas->small_pages)
		unalign(ioas, page_lg2(), true);
	else if (!on && !ioas->small_pages && ioas->page_tables && next_area(ioas, NULL))
		error = -EINVAL;
	else if (!on && !ioas->small_pages)
		error = align(ioas, page_lg2(), true);
	if (!error)
		ioas->small_pages = !on;
	pthread_mutex_unlock(&ioas->space.lock);
	return error;
}

bool ioas_huge_pages(struct ioas *ioas)
{
	bool on;

	pthread_mutex_lock(&ioas->space.lock);
	on = !ioas->small_pages;
	pthread_mutex_unlock(&ioas->space.lock);
	return on;
}

/* --- pins --- */

int ioas_pin(const struct ioas *ioas, struct area *area)
{
	int error;

	if (!ioas->page_tables || !area->region)
		return 0;
	error = region_pin(area->region, area_offset(area, area->start), area->last - area->start + 1, area->start, area->access);
	area->pinned = !error;
	return error;
}

void area_unpin(struct area *area)
{
	if (area->pinned)
		region_unpin(area->region, area_offset(area, area->start), area->last - area->start + 1);
	area->pinned = false;
}

static void unpin_all(struct ioas *ioas)
{
	for (struct area *area = next_area(ioas, NULL); area; area = next_area(ioas, area))
		area_unpin(area);
}

static int pin_all(struct ioas *ioas)
{
	int error = 0;

	for (struct area *area = next_area(ioas, NULL); area && !error; area = next_area(ioas, area))
		error = ioas_pin(ioas, area);
	if (error)
		unpin_all(ioas);
	return error;
}

/* --- both, of page tables --- */

/* What lies before and behind the aperture. */
static uint32_t outside(const struct geometry *geometry, struct uiommu_range ranges[2])
{
	uint32_t count = 0;

	if (geometry->aperture.start)
		ranges[count++] = (struct uiommu_range){0, geometry->aperture.start - 1};
	if (geometry->aperture.last < UINT64_MAX)
		ranges[count++] = (struct uiommu_range){geometry->aperture.last + 1, UINT64_MAX};
	return count;
}

int ioas_table_begin(struct ioas *ioas, const void *owner, const struct geometry *geometry)
{
	struct uiommu_range ranges[2];
	int error = ioas_reserve(ioas, owner, ranges, outside(geometry, ranges));

	if (error)
		return error;
	pthread_mutex_lock(&ioas->space.lock);
	error = align(ioas, geometry->page_lg2, true);
	if (!error && !ioas->page_tables++) {
		error = pin_all(ioas);
		if (error) {
			ioas->page_tables--;
			unalign(ioas, geometry->page_lg2, true);
		}
	}
	pthread_mutex_unlock(&ioas->space.lock);
	if (error)
		ioas_unreserve(ioas, owner);
	return error;
}

void ioas_table_end(struct ioas *ioas, const void *owner, const struct geometry *geometry)
{
	pthread_mutex_lock(&ioas->space.lock);
	unalign(ioas, geometry->page_lg2, true);
	if (!--ioas->page_tables)
		unpin_all(ioas);
	pthread_mutex_unlock(&ioas->space.lock);
	ioas_unreserve(ioas, owner);
}
