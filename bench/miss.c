/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * miss_*: a translation through the public call that is not in the IOTLB, because there is none: with the places of tables cached,
 * beside the same from the top. Of VT-d tables in guest memory: a first stage, and a first stage on a second one. 1024 pages in
 * random order, and the same spread over 64 GiB, so that each has a lowest table of its own. With one stage that is the worst case:
 * as many cache lines of places as of entries, which saves loads (they are limited) and not time as long as all tables are in L1
 * and L2.
 */
#include <stdlib.h>
#include <string.h>
#include <uiommu/uiommu.h>

#include "guest_ram.h"
#include "harness.h"

enum { PAGES = 1024, LOOKUPS = 1 << 14, REPEATS = 40 };

struct run {
	struct guest guest;
	uint32_t device_id;
	struct uiommu_device *device;
	struct uiommu_attachment *cached, *bare;
	uint64_t *addresses;
};

static void make(struct run *run)
{
	const struct uiommu_device_config config = {.size = sizeof(config), .name = "bench", .pasid_bits = 20};

	guest_make(&run->guest);
	support_check(!uiommu_device_alloc(run->guest.context, &config, &run->device_id));
	run->device = uiommu_device_get(run->guest.context, run->device_id);
	run->addresses = malloc(LOOKUPS * sizeof(*run->addresses));
	support_check(run->addresses);
}

static struct uiommu_attachment *attach(struct run *run, uint32_t pasid, uint64_t first, uint64_t second, uint32_t walk_entries)
{
	struct uiommu_hwpt_alloc alloc = {
		.size = sizeof(alloc),
		.type = UIOMMU_HWPT_PAGING,
		.flags = UIOMMU_HWPT_NEST_PARENT,
		.parent_id = run->guest.ioas,
		.iotlb_entries = UIOMMU_IOTLB_NONE,
		.walk_entries = walk_entries,
	};
	struct uiommu_hwpt_nested nested = {
		.size = sizeof(nested),
		.flags = UIOMMU_HWPT_PASID,
		.first = {.format = UIOMMU_FORMAT_VTD_FIRST, .base = {first}, .levels = 4, .output_lg2 = 46, .flags = 3},
	};
	struct uiommu_attachment *attachment;
	uint32_t id;

	if (second)
		nested.second = (struct uiommu_page_table){
			.format = UIOMMU_FORMAT_VTD_SECOND, .base = {second}, .levels = 4, .output_lg2 = 46};
	support_check(!uiommu_hwpt_alloc(run->guest.context, &alloc, &nested.parent_id));
	support_check(!uiommu_hwpt_alloc_nested(run->guest.context, &nested, &id));
	support_check(!uiommu_attach(run->guest.context, run->device_id, pasid, id));
	attachment = uiommu_attachment_get(run->device, pasid);
	support_check(attachment);
	return attachment;
}

static double misses(const struct run *run, struct uiommu_attachment *attachment)
{
	struct uiommu_translation out;
	double begin = bench_now_ns();
	uint64_t sum = 0;

	for (unsigned int i = 0; i < LOOKUPS; i++) {
		support_check(!uiommu_translate(attachment, run->addresses[i], UIOMMU_READ, &out));
		sum += out.address;
	}
	support_check(sum);
	return (bench_now_ns() - begin) / LOOKUPS;
}

static double cached(void *opaque)
{
	const struct run *run = opaque;

	return misses(run, run->cached);
}

static double from_the_top(void *opaque)
{
	const struct run *run = opaque;

	return misses(run, run->bare);
}

/* Pages @stride apart; @second: on a second stage that maps all memory to itself. */
static void measure(struct run *run, const char *name, uint64_t stride, bool second, double limit)
{
	static uint32_t pasid = 1;
	uint64_t root = page_new(&run->guest), page = page_new(&run->guest), root2 = second ? page_new(&run->guest) : 0;
	struct bench_pair pair;

	srand(1);
	for (uint64_t i = 0; i < PAGES; i++)
		map_page(&run->guest, root, VA + i * stride, page | 0x67);
	for (uint64_t at = PAGE, used = run->guest.next_page; second && at <= used; at += PAGE)
		map_page(&run->guest, root2, at, at | 0x3);
	for (unsigned int i = 0; i < LOOKUPS; i++)
		run->addresses[i] = VA + (uint64_t)(rand() % PAGES) * stride + (uint64_t)(rand() % PAGE);
	run->cached = attach(run, pasid++, root, root2, 0);
	run->bare = attach(run, pasid++, root, root2, UIOMMU_IOTLB_NONE);
	pair = bench_measure_pair(cached, from_the_top, run, REPEATS);
	bench_report_pair(name, "ns", &pair, limit, "the same with nothing cached");
	uiommu_attachment_put(run->cached);
	uiommu_attachment_put(run->bare);
}

int main(void)
{
	struct run run = {.guest.next_page = 0};

	bench_pin(0, 1);
	support_check(!uiommu_install_fault_handler());
	make(&run);
	measure(&run, "miss_fs4", PAGE, false, 1);
	measure(&run, "miss_fs4_64G", UINT64_C(64) << 20, false, 0);
	measure(&run, "miss_nested_vtd", PAGE, true, 1);
	measure(&run, "miss_nested_vtd_64G", UINT64_C(64) << 20, true, 1);
	uiommu_device_put(run.device);
	support_check(!uiommu_close(run.guest.context));
	munmap(run.guest.ram, RAM_BYTES);
	free(run.addresses);
	return 0;
}
