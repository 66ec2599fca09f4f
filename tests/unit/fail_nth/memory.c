/* SPDX-License-Identifier: BSD-3-Clause */
/* IOASs, what is mapped in them, and tables of what has been written. */
#include "fail_nth.h"

#include <uiommu/uiommu.h>

#include "util/util.h"

static int call_ioas_alloc(struct world *w)
{
	return uiommu_ioas_alloc(w->context, &w->made);
}

static int call_ram_alloc(struct world *w)
{
	return uiommu_ram_alloc(w->context, w->fd, 0, w->page, UIOMMU_READ, &w->made);
}

static int call_hwpt_alloc_tracked(struct world *w)
{
	struct uiommu_hwpt_alloc alloc = {
		.size = sizeof(alloc), .flags = UIOMMU_HWPT_DIRTY_TRACKING | UIOMMU_HWPT_NEST_PARENT, .parent_id = w->other};

	return uiommu_hwpt_alloc(w->context, &alloc, &w->made);
}

static int track(struct world *w)
{
	return uiommu_hwpt_set_dirty_tracking(w->context, w->made, UIOMMU_DIRTY_TRACKING_ENABLE);
}

/* More than the tables have pages for; nothing touches it. */
static int call_map_tracked(struct world *w)
{
	struct uiommu_ioas_map map = own(w, w->other, UINT64_C(1) << 40);

	map.length = 64 << 20;
	return uiommu_ioas_map(w->context, &map);
}

static int call_hwpt_alloc_and_map(struct world *w)
{
	return call_hwpt_alloc_tracked(w) || call_map_tracked(w);
}

/* Two: what one has mapped when the other one cannot is to be undone. */
static int call_track_both(struct world *w)
{
	return call_hwpt_alloc_tracked(w) || track(w) || call_hwpt_alloc_tracked(w) || track(w);
}

static int call_map_own(struct world *w)
{
	struct uiommu_ioas_map map = own(w, w->other, 0x1000);

	return uiommu_ioas_map(w->context, &map);
}

static int call_map_file(struct world *w)
{
	struct uiommu_ioas_map map = own(w, w->other, 0x1000);

	map.source = UIOMMU_MAP_FILE;
	map.fd = w->fd;
	return uiommu_ioas_map(w->context, &map);
}

static int call_map_ram(struct world *w)
{
	struct uiommu_ioas_map map = own(w, w->other, 0x1000);

	map.source = UIOMMU_MAP_RAM;
	map.ram_id = w->ram;
	return uiommu_ioas_map(w->context, &map);
}

/* Two hundred areas: the map grows, splits and gets a second level. */
static int call_map_many(struct world *w)
{
	uint64_t before = count_areas(w, w->other);

	for (uint64_t i = 0; i < 200; i++) {
		struct uiommu_ioas_map map = own(w, w->other, (1 + i * 37 % 200) * 0x10000);
		int error = uiommu_ioas_map(w->context, &map);

		if (error) {
			int at = fail_at;

			fail_at = 0;
			assert_int_equal(count_areas(w, w->other), before + i);
			if (i)
				assert_int_equal(uiommu_ioas_unmap(w->context, w->other, 0, UINT64_MAX, NULL), 0);
			fail_at = at;
			return error;
		}
	}
	return 0;
}

static int call_copy(struct world *w)
{
	struct uiommu_ioas_copy copy = {
		.size = sizeof(copy),
		.flags = UIOMMU_MAP_READ | UIOMMU_MAP_WRITE,
		.src_ioas_id = w->ioas,
		.dst_ioas_id = w->other,
		.src_iova = 0x10000,
		.length = 3 * w->page,
	};

	return uiommu_ioas_copy(w->context, &copy);
}

static int call_allow(struct world *w)
{
	const struct uiommu_range ranges[] = {{0x1000, 0xffff}, {0x20000, 0x2ffff}};

	return uiommu_ioas_allow_iovas(w->context, w->other, ranges, 2);
}

static int update_memory(struct world *w, uint32_t ioas, uint32_t remove_count)
{
	const struct uiommu_range gone = {0x10000, 0x10000 + 2 * w->page - 1};
	const uint64_t base = remove_count ? 0x10000 : 0x100000;
	struct uiommu_guest_region add[2];
	const struct uiommu_guest_memory change = {
		.size = sizeof(change), .ioas_id = ioas, .remove = &gone, .remove_count = remove_count, .add = add, .add_count = 2};

	for (uint64_t i = 0; i < 2; i++)
		add[i] = (struct uiommu_guest_region){
			.gpa = base + i * w->page, .length = w->page, .offset = i * w->page, .fd = w->fd, .access = UIOMMU_READ};
	return uiommu_guest_memory_update(w->context, &change);
}

static int call_memory_add(struct world *w)
{
	return update_memory(w, w->ioas, 0);
}

static int call_memory_replace(struct world *w)
{
	return update_memory(w, w->ioas, 1);
}

static int call_memory_tracked(struct world *w)
{
	return update_memory(w, w->other, 0);
}

static int call_pin(struct world *w)
{
	struct iovec pieces[3];
	struct uiommu_dma_pin pin = {
		.address = 0x10000,
		.length = 3 * w->page,
		.pasid = UIOMMU_NO_PASID,
		.access = UIOMMU_READ,
		.iov = pieces,
		.iov_count = 3,
	};
	int error = uiommu_dma_pin(w->device, &pin, NULL);

	w->pin = pin.pin;
	return error;
}

static void end_pin(struct world *w)
{
	uiommu_dma_unpin(w->pin);
}

void memory(void **state)
{
	static const struct scenario scenarios[] = {
		{"ioas_alloc", call_ioas_alloc, NULL, NULL},
		{"ram_alloc", call_ram_alloc, NULL, NULL},
		{"hwpt_alloc tracked", call_hwpt_alloc_tracked, NULL, NULL},
		{"set_dirty_tracking", track, NULL, call_hwpt_alloc_and_map},
		{"map tracked", call_map_tracked, NULL, call_track_both},
		{"map own", call_map_own, NULL, NULL},
		{"map file", call_map_file, NULL, NULL},
		{"map RAM", call_map_ram, NULL, NULL},
		{"map many", call_map_many, NULL, NULL},
		{"copy", call_copy, NULL, NULL},
		{"allow_iovas", call_allow, NULL, NULL},
		{"add guest memory", call_memory_add, NULL, NULL},
		{"replace guest memory", call_memory_replace, NULL, NULL},
		{"add guest memory tracked", call_memory_tracked, NULL, call_track_both},
		{"pin", call_pin, end_pin, NULL},
	};

	sweep_all(*state, scenarios, ARRAY_SIZE(scenarios));
}
