/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which addresses of an IOAS may be used, and choosing one: the lowest that fits.
 *
 * A search from the bottom would pass over everything that is mapped, every time. So the last few searches are remembered: below
 * where one has ended nothing fits that asks for as much or more. Unmapping lowers what they say.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "iommu/ioas.h"
#include "pgtable/pages.h"

/* Alignment beyond a huge page gains nothing. */
#define ALIGN_MAX (UINT64_C(2) << 20)

/* What one owner has reserved, as often as @count. */
struct reservation {
	struct cds_list_head link;
	const void *owner;
	unsigned int count;
	uint32_t range_count;
	struct uiommu_range ranges[];
};

static bool ranges_overlap(const struct uiommu_range *range, uint64_t start, uint64_t last)
{
	return range->start <= last && start <= range->last;
}

bool iova_reserved(const struct ioas *ioas, uint64_t start, uint64_t last, uint64_t *reserved_last)
{
	const struct reservation *reservation;

	cds_list_for_each_entry (reservation, &ioas->reserved, link)
		for (uint32_t i = 0; i < reservation->range_count; i++)
			if (ranges_overlap(&reservation->ranges[i], start, last)) {
				*reserved_last = reservation->ranges[i].last;
				return true;
			}
	return false;
}

static struct reservation *find_reservation(const struct ioas *ioas, const void *owner)
{
	struct reservation *reservation;

	cds_list_for_each_entry (reservation, &ioas->reserved, link)
		if (reservation->owner == owner)
			return reservation;
	return NULL;
}

/* By an area, or a range that somebody counts on. */
static bool in_use(const struct ioas *ioas, const struct uiommu_range *range)
{
	const struct area *area = areas_first(&ioas->space.areas, range->start);

	if (area && area->start <= range->last)
		return true;
	for (uint32_t i = 0; i < ioas->allowed_count; i++)
		if (ranges_overlap(&ioas->allowed[i], range->start, range->last))
			return true;
	return false;
}

static int reserve(struct ioas *ioas, struct reservation *fresh)
{
	for (uint32_t i = 0; i < fresh->range_count; i++)
		if (in_use(ioas, &fresh->ranges[i]))
			return -EADDRINUSE;
	cds_list_add_tail(&fresh->link, &ioas->reserved);
	return 0;
}

int ioas_reserve(struct ioas *ioas, const void *owner, const struct uiommu_range *ranges, uint32_t count)
{
	struct reservation *fresh, *old;
	int error = 0;

	if (!count)
		return 0;
	fresh = malloc(sizeof(*fresh) + count * sizeof(*ranges));
	if (!fresh)
		return -ENOMEM;
	fresh->owner = owner;
	fresh->count = 1;
	fresh->range_count = count;
	memcpy(fresh->ranges, ranges, count * sizeof(*ranges));
	pthread_mutex_lock(&ioas->space.lock);
	old = find_reservation(ioas, owner);
	if (old)
		old->count++;
	else
		error = reserve(ioas, fresh);
	pthread_mutex_unlock(&ioas->space.lock);
	if (old || error)
		free(fresh);
	return error;
}

int ioas_reserve_for_ever(struct ioas *ioas, const struct uiommu_range *range)
{
	static uintptr_t owners;

	/* No other owner's address is odd. */
	return ioas_reserve(ioas, (const void *)(__atomic_add_fetch(&owners, 2, __ATOMIC_RELAXED) | 1), range, 1);
}

void iova_end(struct ioas *ioas)
{
	struct reservation *reservation, *next;

	cds_list_for_each_entry_safe (reservation, next, &ioas->reserved, link)
		free(reservation);
	free(ioas->allowed);
}

void ioas_unreserve(struct ioas *ioas, const void *owner)
{
	struct reservation *reservation;

	pthread_mutex_lock(&ioas->space.lock);
	reservation = find_reservation(ioas, owner);
	if (reservation && --reservation->count) {
		reservation = NULL;
	} else if (reservation) {
		cds_list_del(&reservation->link);
		iova_forget(ioas);
	}
	pthread_mutex_unlock(&ioas->space.lock);
	free(reservation);
}

void iova_forget(struct ioas *ioas)
{
	ioas->fit_count = 0;
}

void iova_freed(struct ioas *ioas, uint64_t start)
{
	uint64_t low = __atomic_load_n(&ioas->freed_low, __ATOMIC_RELAXED);

	while (start < low &&
	       !__atomic_compare_exchange_n(&ioas->freed_low, &low, start, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
		;
}

static uint32_t fits_used(const struct ioas *ioas)
{
	return ioas->fit_count < IOAS_FITS ? ioas->fit_count : IOAS_FITS;
}

/* A range that begins before what was unmapped may fit now, if it ends in it. */
static void lower_fits(struct ioas *ioas)
{
	uint64_t freed = __atomic_exchange_n(&ioas->freed_low, UINT64_MAX, __ATOMIC_RELAXED);

	for (uint32_t i = 0; i < fits_used(ioas); i++) {
		struct ioas_fit *fit = &ioas->fits[i];
		uint64_t before = freed > fit->length ? freed - fit->length : 0;

		fit->low = min_u64(fit->low, before);
	}
}

/* Whatever fits @want fits @known too. */
static bool asks_for_more(const struct ioas_fit *want, const struct ioas_fit *known)
{
	return want->length >= known->length && want->modulus % known->modulus == 0 &&
	       want->offset % known->modulus == known->offset;
}

/* Where to begin. */
static uint64_t recall(struct ioas *ioas, const struct ioas_fit *want)
{
	uint64_t low = 0;

	lower_fits(ioas);
	for (uint32_t i = 0; i < fits_used(ioas); i++)
		if (asks_for_more(want, &ioas->fits[i]))
			low = max_u64(low, ioas->fits[i].low);
	return low;
}

static void remember(struct ioas *ioas, const struct ioas_fit *found)
{
	for (uint32_t i = 0; i < fits_used(ioas); i++) {
		struct ioas_fit *fit = &ioas->fits[i];

		if (fit->length == found->length && fit->modulus == found->modulus && fit->offset == found->offset) {
			fit->low = found->low;
			return;
		}
	}
	ioas->fits[ioas->fit_count++ % IOAS_FITS] = *found;
}

/* The least address >= @from that is right for @want and not 0; false: it would wrap. */
static bool align_up(const struct ioas_fit *want, uint64_t from, uint64_t *address)
{
	uint64_t base;

	if (!from)
		from = 1;
	base = from - from % want->modulus;
	if (base + want->offset < from && __builtin_add_overflow(base, want->modulus, &base))
		return false;
	return !__builtin_add_overflow(base, want->offset, address);
}

/* The last address of something that is in the way of [start, last]. */
static bool is_taken(const struct ioas *ioas, uint64_t start, uint64_t last, uint64_t *taken_last)
{
	const struct area *area = areas_first(&ioas->space.areas, start);

	if (area && area->start <= last) {
		*taken_last = area->last;
		return true;
	}
	return iova_reserved(ioas, start, last, taken_last);
}

static bool find_in_range(const struct ioas *ioas, const struct ioas_fit *want, uint64_t from, uint64_t range_last, uint64_t *iova)
{
	uint64_t last;

	while (align_up(want, from, iova)) {
		if (__builtin_add_overflow(*iova, want->length - 1, &last) || last > range_last)
			return false;
		if (!is_taken(ioas, *iova, last, &last))
			return true;
		if (last >= range_last)
			return false;
		from = last + 1;
	}
	return false;
}

/* min(@length rounded up to a power of two, lowest bit of @hint, ALIGN_MAX), but whole pages. */
static uint64_t alignment_of(uint64_t hint, uint64_t length)
{
	uint64_t align = hint ? hint & -hint : ALIGN_MAX;

	align = min_u64(align, ALIGN_MAX);
	while (align > page_size() && align / 2 >= length)
		align /= 2;
	return max_u64(align, page_size());
}

int iova_find(struct ioas *ioas, uint64_t hint, uint64_t length, uint64_t *iova)
{
	const struct uiommu_range everything = {page_size(), UINT64_MAX - page_size()};
	const struct uiommu_range *ranges = ioas->allowed_count ? ioas->allowed : &everything;
	uint32_t count = ioas->allowed_count ? ioas->allowed_count : 1;
	struct ioas_fit want = {.length = length, .modulus = alignment_of(hint, length), .offset = hint % page_size()};
	uint64_t low;

	if (length >= UINT64_MAX / 2)
		return -EOVERFLOW;
	low = recall(ioas, &want);
	for (uint32_t i = 0; i < count; i++) {
		if (ranges[i].last < low || !find_in_range(ioas, &want, max_u64(ranges[i].start, low), ranges[i].last, iova))
			continue;
		want.low = *iova;
		remember(ioas, &want);
		return 0;
	}
	return -ENOSPC;
}

static int compare_ranges(const void *a, const void *b)
{
	const struct uiommu_range *x = a, *y = b;

	return (x->start > y->start) - (x->start < y->start);
}

/* A sorted copy of @ranges; NULL is one of none. */
static int sort_ranges(const struct uiommu_range *ranges, uint32_t count, struct uiommu_range **out)
{
	*out = NULL;
	if (!count)
		return 0;
	*out = malloc(count * sizeof(*ranges));
	if (!*out)
		return -ENOMEM;
	memcpy(*out, ranges, count * sizeof(*ranges));
	qsort(*out, count, sizeof(*ranges), compare_ranges);
	for (uint32_t i = 0; i < count; i++)
		if ((*out)[i].start >= (*out)[i].last || (i && (*out)[i].start <= (*out)[i - 1].last)) {
			free(*out);
			return -EINVAL;
		}
	return 0;
}

int uiommu_ioas_allow_iovas(struct uiommu_context *context, uint32_t ioas_id, const struct uiommu_range *ranges, uint32_t count)
{
	struct object *object = object_get(context, ioas_id, UIOMMU_OBJECT_IOAS);
	struct uiommu_range *sorted, *old;
	struct ioas *ioas;
	uint64_t last;
	int error;

	if (!object)
		return -ENOENT;
	ioas = ioas_of(object);
	error = sort_ranges(ranges, count, &sorted);
	if (!error) {
		pthread_mutex_lock(&ioas->space.lock);
		for (uint32_t i = 0; i < count && !error; i++)
			if (iova_reserved(ioas, sorted[i].start, sorted[i].last, &last))
				error = -EADDRINUSE;
		old = error ? sorted : ioas->allowed;
		if (!error) {
			ioas->allowed = sorted;
			ioas->allowed_count = count;
			iova_forget(ioas);
		}
		pthread_mutex_unlock(&ioas->space.lock);
		free(old);
	}
	object_put(object);
	return error;
}

/* The first reserved address >= @from; false: none. */
static bool first_reserved(const struct ioas *ioas, uint64_t from, uint64_t *address)
{
	const struct reservation *reservation;
	bool found = false;

	*address = UINT64_MAX;
	cds_list_for_each_entry (reservation, &ioas->reserved, link)
		for (uint32_t i = 0; i < reservation->range_count; i++)
			if (reservation->ranges[i].last >= from) {
				*address = min_u64(*address, max_u64(reservation->ranges[i].start, from));
				found = true;
			}
	return found;
}

/* The first hole between reserved ranges at or after @from; false: none. */
static bool next_hole(const struct ioas *ioas, uint64_t from, struct uiommu_range *hole)
{
	uint64_t address, last;

	while (iova_reserved(ioas, from, from, &last)) {
		if (last == UINT64_MAX)
			return false;
		from = last + 1;
	}
	hole->start = from;
	hole->last = first_reserved(ioas, from, &address) ? address - 1 : UINT64_MAX;
	return true;
}

int uiommu_ioas_iova_ranges(struct uiommu_context *context, uint32_t ioas_id, struct uiommu_range *ranges, uint32_t *count,
			    uint64_t *alignment)
{
	struct object *object = object_get(context, ioas_id, UIOMMU_OBJECT_IOAS);
	struct uiommu_range hole = {.last = UINT64_MAX};
	uint32_t room = *count;
	uint64_t from = 0;
	struct ioas *ioas;

	if (!object)
		return -ENOENT;
	ioas = ioas_of(object);
	pthread_mutex_lock(&ioas->space.lock);
	for (*count = 0; next_hole(ioas, from, &hole); from = hole.last + 1) {
		if (*count < room)
			ranges[*count] = hole;
		++*count;
		if (hole.last == UINT64_MAX)
			break;
	}
	if (alignment)
		*alignment = ioas_alignment(ioas);
	pthread_mutex_unlock(&ioas->space.lock);
	object_put(object);
	return *count > room ? -EMSGSIZE : 0;
}
