/* SPDX-License-Identifier: BSD-3-Clause */
/* An IOAS with two HWPTs that track what is written to, and devices on them. */
#ifndef TESTS_UNIT_DIRTY_H
#define TESTS_UNIT_DIRTY_H

#include "test.h"

#include <sys/mman.h>
#include <uiommu/uiommu.h>
#include <unistd.h>

#include "traps.h"

enum { PAGE = 4096, PAGES = 1024, BYTES = PAGES * PAGE, DEVICES = 3, TRACKED = 2, RW = UIOMMU_MAP_READ | UIOMMU_MAP_WRITE };

/* Two tables of small pages. */
#define BASE (UINT64_C(0x7fff40000000) + 256 * PAGE)

/* The first two devices are attached to tracked HWPTs of their own, the last one to the IOAS. */
struct rig {
	struct uiommu_context *context;
	uint32_t ioas, ids[DEVICES], hwpts[TRACKED];
	struct uiommu_device *devices[DEVICES];
	uint8_t *memory;
	int fd;
};

static struct rig r;

static inline int hwpt_make(uint32_t flags, uint32_t iotlb_entries, uint32_t *id)
{
	const struct uiommu_hwpt_alloc alloc = {
		.size = sizeof(alloc),
		.type = UIOMMU_HWPT_PAGING,
		.flags = flags,
		.parent_id = r.ioas,
		.iotlb_entries = iotlb_entries,
	};

	return uiommu_hwpt_alloc(r.context, &alloc, id);
}

static inline void rig_make(uint32_t iotlb_entries)
{
	static const char *const names[] = {"a", "b", "c"};

	r = (struct rig){.fd = memfd_create("dirty", MFD_CLOEXEC)};
	assert_int_equal(ftruncate(r.fd, BYTES), 0);
	r.memory = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, r.fd, 0);
	assert_true(r.memory != MAP_FAILED);
	assert_int_equal(uiommu_open(NULL, &r.context), 0);
	assert_int_equal(uiommu_ioas_alloc(r.context, &r.ioas), 0);
	for (uint32_t i = 0; i < DEVICES; i++) {
		const struct uiommu_device_config config = {.size = sizeof(config), .rid = i, .name = names[i]};

		assert_int_equal(uiommu_device_alloc(r.context, &config, &r.ids[i]), 0);
		r.devices[i] = uiommu_device_get(r.context, r.ids[i]);
		if (i < TRACKED)
			assert_int_equal(hwpt_make(UIOMMU_HWPT_DIRTY_TRACKING, iotlb_entries, &r.hwpts[i]), 0);
		assert_int_equal(uiommu_attach(r.context, r.ids[i], UIOMMU_NO_PASID, i < TRACKED ? r.hwpts[i] : r.ioas), 0);
	}
}

static inline int setup(void **state)
{
	(void)state;
	rig_make(0);
	return 0;
}

static inline int teardown(void **state)
{
	(void)state;
	for (uint32_t i = 0; i < DEVICES; i++)
		uiommu_device_put(r.devices[i]);
	assert_int_equal(uiommu_close(r.context), 0);
	munmap(r.memory, BYTES);
	close(r.fd);
	return 0;
}

/* The page at BASE + n pages is page n of the memory: as a file, which may be used inside read sections, or as own memory. */
static inline int map(unsigned int page, unsigned int count, uint32_t flags, bool own)
{
	struct uiommu_ioas_map request = {
		.size = sizeof(request),
		.flags = flags | UIOMMU_MAP_FIXED,
		.ioas_id = r.ioas,
		.source = own ? UIOMMU_MAP_OWN : UIOMMU_MAP_FILE,
		.address = r.memory + (size_t)page * PAGE,
		.fd = r.fd,
		.offset = own ? 0 : (uint64_t)page * PAGE,
		.length = (uint64_t)count * PAGE,
		.iova = BASE + (uint64_t)page * PAGE,
	};

	return uiommu_ioas_map(r.context, &request);
}

static inline int unmap(unsigned int page, unsigned int count)
{
	return uiommu_ioas_unmap(r.context, r.ioas, BASE + (uint64_t)page * PAGE, (uint64_t)count * PAGE, NULL);
}

static inline int track(unsigned int device, uint32_t flags)
{
	return uiommu_hwpt_set_dirty_tracking(r.context, r.hwpts[device], flags);
}

static inline int look(unsigned int device, uint32_t flags, uint64_t iova, uint64_t length, uint64_t page_size, uint64_t *bitmap)
{
	const struct uiommu_dirty_bitmap request = {
		.size = sizeof(request),
		.flags = flags,
		.hwpt_id = r.hwpts[device],
		.iova = iova,
		.length = length,
		.page_size = page_size,
		.bitmap = bitmap,
	};

	return uiommu_hwpt_get_dirty_bitmap(r.context, &request);
}

static inline bool bit(const uint64_t *bitmap, uint64_t n)
{
	return bitmap[n / 64] >> n % 64 & 1;
}

/* The one page of BASE's that is dirty; PAGES: none is, and more than one fails. */
static inline unsigned int dirty_page(unsigned int device, uint32_t flags)
{
	uint64_t bitmap[PAGES / 64] = {0};
	unsigned int found = PAGES;

	assert_int_equal(look(device, flags, BASE, BYTES, PAGE, bitmap), 0);
	for (unsigned int i = 0; i < PAGES; i++)
		if (bit(bitmap, i)) {
			assert_int_equal(found, PAGES);
			found = i;
		}
	return found;
}

static inline int write_page(unsigned int device, unsigned int page)
{
	uint64_t value = page;

	return uiommu_dma_write(r.devices[device], UIOMMU_NO_PASID, BASE + (uint64_t)page * PAGE + 8, &value, 8, NULL);
}

#endif
