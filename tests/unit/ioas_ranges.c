/* SPDX-License-Identifier: BSD-3-Clause */
/* Which addresses an IOAS chooses and permits. */
#include "ioas.h"

static uint64_t map_anywhere(struct world *w, uint64_t offset, uint64_t length)
{
	struct uiommu_ioas_map map = own(w, RW, offset, length, 0);

	assert_int_equal(uiommu_ioas_map(w->context, &map), 0);
	assert_reads(w, map.iova, offset, length);
	return map.iova;
}

static void chooses_the_lowest(void **state)
{
	struct world *w = *state;
	uint64_t page = w->page, first = map_anywhere(w, 0, page), second = map_anywhere(w, page, page), third;

	assert_int_equal(first, page); /* never 0 */
	assert_int_equal(second, 2 * page);
	third = map_anywhere(w, 2 * page, page);
	assert_int_equal(third, 3 * page);
	assert_int_equal(unmap(w, second, page), 0);
	assert_int_equal(map_anywhere(w, 7 * page, page), second);
	assert_int_equal(unmap(w, first, page), 0);
	assert_int_equal(unmap(w, second, page), 0);
	/* The two freed ones together hold one of two pages only if it is aligned as its length and memory are. */
	assert_int_equal(map_anywhere(w, 1 * page + 5, 100), page + 5);
	assert_int_equal(unmap(w, page + 5, 100), 0);
	assert_int_equal(map_anywhere(w, page * (1 + (uintptr_t)w->memory / page % 2), 2 * page) % page, 0);
}

static void keeps_offset_and_alignment(void **state)
{
	struct world *w = *state;
	uint64_t huge = 4 << 20, iova;
	struct uiommu_ioas_map map = own(w, UIOMMU_MAP_READ, 0, huge, 0);

	map.address = (void *)(uintptr_t)(UINT64_C(1) << 40);
	assert_int_equal(uiommu_ioas_map(w->context, &map), 0);
	assert_int_equal(map.iova % (2 << 20), 0);
	iova = map_anywhere(w, 3 * w->page + 123, 2 * w->page);
	assert_int_equal(iova % w->page, 123);
	map.address = (void *)(uintptr_t)((UINT64_C(1) << 40) + 0x10000);
	assert_int_equal(uiommu_ioas_map(w->context, &map), 0);
	assert_int_equal(map.iova % 0x10000, 0);
}

/* The lowest address that fits, by trying all of them. */
static uint64_t lowest_by_trying(const bool *used, unsigned int places, unsigned int length, unsigned int align)
{
	for (unsigned int at = align; at + length <= places; at += align) {
		unsigned int i = 0;

		while (i < length && !used[at + i])
			i++;
		if (i == length)
			return at;
	}
	return 0;
}

static void chooses_like_an_oracle(void **state)
{
	enum { PLACES = 300, STEPS = 4000 };
	struct world *w = *state;
	struct uiommu_range range = {0, PLACES * w->page - 1};
	uint64_t seed = 7, iovas[PLACES], lengths[PLACES];
	bool used[PLACES] = {false};
	unsigned int live = 0;

	assert_int_equal(uiommu_ioas_allow_iovas(w->context, w->ioas, &range, 1), 0);
	for (unsigned int step = 0; step < scaled(STEPS); step++) {
		unsigned int length, align;

		seed = seed * 6364136223846793005u + 1442695040888963407u;
		length = 1 + (unsigned int)(seed >> 60) % 9;
		align = 1u << ((seed >> 50) % 4);
		if (!live || (seed >> 40) % 20 < (step / 500 % 2 ? 7 : 12)) {
			struct uiommu_ioas_map map = own(w, UIOMMU_MAP_READ, 0, length * w->page, 0);
			unsigned int rounded = 1;
			uint64_t lowest;
			int error;

			while (rounded < length)
				rounded *= 2;
			/* An odd multiple of @align pages: that is its alignment. */
			map.address = (void *)(uintptr_t)((UINT64_C(1) << 40) + align * w->page);
			lowest = lowest_by_trying(used, PLACES, length, align < rounded ? align : rounded);
			error = uiommu_ioas_map(w->context, &map);
			assert_int_equal(error, lowest ? 0 : -ENOSPC);
			if (error)
				continue;
			assert_int_equal(map.iova, lowest * w->page);
			for (unsigned int i = 0; i < length; i++)
				used[lowest + i] = true;
			iovas[live] = lowest;
			lengths[live++] = length;
		} else {
			unsigned int which = (unsigned int)(seed >> 30) % live;

			assert_int_equal(unmap(w, iovas[which] * w->page, lengths[which] * w->page), 0);
			for (unsigned int i = 0; i < lengths[which]; i++)
				used[iovas[which] + i] = false;
			live--;
			iovas[which] = iovas[live];
			lengths[which] = lengths[live];
		}
	}
}

static void allowed_ranges(void **state)
{
	struct world *w = *state;
	const struct uiommu_range good[] = {{0x800000, 0x800fff}, {0x200000, 0x200fff}};
	const struct uiommu_range overlapping[] = {{0x1000, 0x2000}, {0x2000, 0x3000}};
	const struct uiommu_range empty[] = {{0x1000, 0x1000}};
	struct uiommu_ioas_map map;

	assert_int_equal(uiommu_ioas_allow_iovas(w->context, 999, good, 2), -ENOENT);
	assert_int_equal(uiommu_ioas_allow_iovas(w->context, w->ioas, overlapping, 2), -EINVAL);
	assert_int_equal(uiommu_ioas_allow_iovas(w->context, w->ioas, empty, 1), -EINVAL);
	assert_int_equal(uiommu_ioas_allow_iovas(w->context, w->ioas, good, 2), 0);
	assert_int_equal(map_anywhere(w, 0, 4096), 0x200000);
	assert_int_equal(map_anywhere(w, 0, 4096), 0x800000);
	map = own(w, RW, 0, 4096, 0);
	assert_int_equal(uiommu_ioas_map(w->context, &map), -ENOSPC);
	map_fixed(w, 0, 4096, 0x900000); /* only choosing is limited */
	assert_int_equal(uiommu_ioas_allow_iovas(w->context, w->ioas, NULL, 0), 0);
	assert_int_equal(map_anywhere(w, 0, 4096), w->page);
}

static void reserved_ranges(void **state)
{
	struct world *w = *state;
	const struct uiommu_range msi[] = {{0xfee00000, 0xfeefffff}, {0, 0xffff}};
	struct uiommu_device_config config = {
		.size = sizeof(config), .rid = 16, .name = "msi", .reserved = msi, .reserved_count = 2};
	const struct uiommu_range inside = {0x1000, 0x20000};
	struct uiommu_range ranges[3];
	uint64_t alignment = 0;
	uint32_t count = 3, id;
	struct uiommu_ioas_map map = own(w, RW | FIXED, 0, w->page, 0xfeeff000);

	assert_int_equal(uiommu_ioas_iova_ranges(w->context, w->other, ranges, &count, &alignment), 0);
	assert_int_equal(count, 1);
	assert_int_equal(ranges[0].start, 0);
	assert_int_equal(ranges[0].last, UINT64_MAX);
	assert_int_equal(alignment, 1);

	map.ioas_id = w->other;
	assert_int_equal(uiommu_device_alloc(w->context, &config, &id), 0);
	assert_int_equal(uiommu_ioas_map(w->context, &map), 0);
	assert_int_equal(uiommu_attach(w->context, id, UIOMMU_NO_PASID, w->other), -EADDRINUSE);
	assert_int_equal(uiommu_ioas_unmap(w->context, w->other, 0xfeeff000, w->page, NULL), 0);
	assert_int_equal(uiommu_ioas_allow_iovas(w->context, w->other, &inside, 1), 0);
	assert_int_equal(uiommu_attach(w->context, id, UIOMMU_NO_PASID, w->other), -EADDRINUSE);
	assert_int_equal(uiommu_ioas_allow_iovas(w->context, w->other, NULL, 0), 0);
	assert_int_equal(uiommu_attach(w->context, id, UIOMMU_NO_PASID, w->other), 0);

	assert_int_equal(uiommu_ioas_map(w->context, &map), -EINVAL);
	assert_int_equal(uiommu_ioas_allow_iovas(w->context, w->other, &inside, 1), -EADDRINUSE);
	map.flags = RW;
	assert_int_equal(uiommu_ioas_map(w->context, &map), 0);
	assert_int_equal(map.iova, 0x10000);
	count = 1;
	assert_int_equal(uiommu_ioas_iova_ranges(w->context, w->other, ranges, &count, NULL), -EMSGSIZE);
	assert_int_equal(count, 2);
	assert_int_equal(ranges[0].start, 0x10000);
	assert_int_equal(ranges[0].last, 0xfedfffff);
	assert_int_equal(uiommu_ioas_iova_ranges(w->context, w->other, ranges, &count, NULL), 0);
	assert_int_equal(ranges[1].start, 0xfef00000);
	assert_int_equal(ranges[1].last, UINT64_MAX);

	assert_int_equal(uiommu_detach(w->context, id, UIOMMU_NO_PASID), 0);
	map = own(w, RW | FIXED, 0, w->page, 0xfeeff000);
	map.ioas_id = w->other;
	assert_int_equal(uiommu_ioas_map(w->context, &map), 0);
	assert_int_equal(uiommu_ioas_iova_ranges(w->context, 999, ranges, &count, NULL), -ENOENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WORLD(chooses_the_lowest), WORLD(keeps_offset_and_alignment), WORLD(chooses_like_an_oracle), WORLD(allowed_ranges),
		WORLD(reserved_ranges),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
