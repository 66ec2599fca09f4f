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
#include <sys/mman.h>
#include <uiommu/uiommu.h>
#include <unistd.h>

#include "harness.h"
#include "support/support.h"

enum { PAGE = 4096, PAGES = 1024, LOOKUPS = 1 << 14, REPEATS = 40 };

#define RAM_BYTES (UINT64_C(64) << 20)
#define VA UINT64_C(0x7f0000000000)
#define ADDRESS UINT64_C(0x000ffffffffff000)

struct run {
	struct uiommu_context *context;
	uint32_t device_id, ioas;
	struct uiommu_device *device;
	struct uiommu_attachment *cached, *bare;
	uint8_t *ram;
	uint64_t next_page;
	uint64_t *addresses;
};

static uint64_t page_new(struct run *run)
{
	run->next_page += PAGE;
	support_check(run->next_page < RAM_BYTES);
	return run->next_page;
}

/* Tables and pages have @bits. */
static void map_page(struct run *run, uint64_t root, uint64_t va, uint64_t page, uint64_t bits)
{
	uint64_t table = root;

	for (unsigned int shift = 39; shift > 12; shift -= 9) {
		uint64_t *entry = (uint64_t *)(void *)(run->ram + table) + (va >> shift & 511);

		if (!*entry)
			*entry = page_new(run) | bits;
		table = *entry & ADDRESS;
	}
	((uint64_t *)(void *)(run->ram + table))[va >> 12 & 511] = page | bits;
}

static void make(struct run *run)
{
	const struct uiommu_device_config config = {.size = sizeof(config), .name = "bench", .pasid_bits = 20};
	struct uiommu_ioas_map map = {.size = sizeof(map),
				      .flags = UIOMMU_MAP_FIXED | UIOMMU_MAP_READ | UIOMMU_MAP_WRITE,
				      .source = UIOMMU_MAP_FILE,
				      .length = RAM_BYTES};

	map.fd = memfd_create("ram", MFD_CLOEXEC);
	support_check(map.fd >= 0 && !ftruncate(map.fd, (off_t)RAM_BYTES));
	run->ram = mmap(NULL, RAM_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, map.fd, 0);
	support_check(run->ram != MAP_FAILED);
	support_check(!uiommu_open(NULL, &run->context));
	support_check(!uiommu_ioas_alloc(run->context, &run->ioas));
	map.ioas_id = run->ioas;
	support_check(!uiommu_ioas_map(run->context, &map));
	support_check(!uiommu_device_alloc(run->context, &config, &run->device_id));
	run->device = uiommu_device_get(run->context, run->device_id);
	run->addresses = malloc(LOOKUPS * sizeof(*run->addresses));
	support_check(run->addresses);
	close(map.fd);
}

static struct uiommu_attachment *attach(struct run *run, uint32_t pasid, uint64_t first, uint64_t second, uint32_t walk_entries)
{
	struct uiommu_hwpt_alloc alloc = {
		.size = sizeof(alloc),
		.type = UIOMMU_HWPT_PAGING,
		.flags = UIOMMU_HWPT_NEST_PARENT,
		.parent_id = run->ioas,
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
	support_check(!uiommu_hwpt_alloc(run->context, &alloc, &nested.parent_id));
	support_check(!uiommu_hwpt_alloc_nested(run->context, &nested, &id));
	support_check(!uiommu_attach(run->context, run->device_id, pasid, id));
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
	uint64_t root = page_new(run), page = page_new(run), root2 = second ? page_new(run) : 0;
	struct bench_pair pair;

	srand(1);
	for (uint64_t i = 0; i < PAGES; i++)
		map_page(run, root, VA + i * stride, page, 0x67);
	for (uint64_t at = PAGE, used = run->next_page; second && at <= used; at += PAGE)
		map_page(run, root2, at, at, 0x3);
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
	struct run run = {.next_page = 0};

	bench_pin(0, 1);
	support_check(!uiommu_install_fault_handler());
	make(&run);
	measure(&run, "miss_fs4", PAGE, false, 1);
	measure(&run, "miss_fs4_64G", UINT64_C(64) << 20, false, 0);
	measure(&run, "miss_nested_vtd", PAGE, true, 1);
	measure(&run, "miss_nested_vtd_64G", UINT64_C(64) << 20, true, 1);
	uiommu_device_put(run.device);
	support_check(!uiommu_close(run.context));
	munmap(run.ram, RAM_BYTES);
	free(run.addresses);
	return 0;
}
