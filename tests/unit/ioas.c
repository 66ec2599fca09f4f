/* SPDX-License-Identifier: BSD-3-Clause */
#include "test.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <uiommu/uiommu.h>
#include <unistd.h>

#include "util/util.h"

enum { RW = UIOMMU_MAP_READ | UIOMMU_MAP_WRITE, FIXED = UIOMMU_MAP_FIXED };

/* A context with two IOASes, a device that is attached to the first one, and memory with a pattern. */
struct world {
	struct uiommu_context *context;
	uint32_t ioas, other, device_id;
	struct uiommu_device *device;
	uint64_t page;
	uint8_t *memory; /* 64 pages */
};

enum { MEMORY_PAGES = 64 };

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));
	struct uiommu_device_config config = {.size = sizeof(config), .rid = 8, .name = "dma0", .pasid_bits = 8};

	w->page = page_size();
	assert_int_equal(uiommu_open(NULL, &w->context), 0);
	assert_int_equal(uiommu_ioas_alloc(w->context, &w->ioas), 0);
	assert_int_equal(uiommu_ioas_alloc(w->context, &w->other), 0);
	assert_int_equal(uiommu_device_alloc(w->context, &config, &w->device_id), 0);
	w->device = uiommu_device_get(w->context, w->device_id);
	assert_non_null(w->device);
	assert_int_equal(uiommu_attach(w->context, w->device_id, UIOMMU_NO_PASID, w->ioas), 0);
	w->memory = mmap(NULL, MEMORY_PAGES * w->page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(w->memory, MAP_FAILED);
	for (uint64_t i = 0; i < MEMORY_PAGES * w->page; i++)
		w->memory[i] = (uint8_t)(i * 7 + i / w->page);
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;

	uiommu_device_put(w->device);
	assert_int_equal(uiommu_close(w->context), 0);
	munmap(w->memory, MEMORY_PAGES * w->page);
	free(w);
	return 0;
}

static struct uiommu_ioas_map own(const struct world *w, uint32_t flags, uint64_t offset, uint64_t length, uint64_t iova)
{
	return (struct uiommu_ioas_map){
		.size = sizeof(struct uiommu_ioas_map),
		.flags = flags,
		.ioas_id = w->ioas,
		.address = w->memory + offset,
		.length = length,
		.iova = iova,
	};
}

static void map_fixed(struct world *w, uint64_t offset, uint64_t length, uint64_t iova)
{
	struct uiommu_ioas_map map = own(w, RW | FIXED, offset, length, iova);

	assert_int_equal(uiommu_ioas_map(w->context, &map), 0);
}

static int unmap(struct world *w, uint64_t iova, uint64_t length)
{
	return uiommu_ioas_unmap(w->context, w->ioas, iova, length, NULL);
}

static int device_read(struct world *w, uint64_t iova, void *buffer, size_t length, struct uiommu_dma_result *result)
{
	return uiommu_dma_read(w->device, UIOMMU_NO_PASID, iova, buffer, length, result);
}

/* The device sees at @iova what lies at @offset of the memory. */
static void assert_reads(struct world *w, uint64_t iova, uint64_t offset, size_t length)
{
	uint8_t *buffer = malloc(length);

	assert_int_equal(device_read(w, iova, buffer, length, NULL), 0);
	assert_memory_equal(buffer, w->memory + offset, length);
	free(buffer);
}

static void assert_fault(struct world *w, uint64_t iova, unsigned int reason)
{
	struct uiommu_dma_result result;
	uint8_t byte;

	assert_int_equal(device_read(w, iova, &byte, 1, &result), -EFAULT);
	assert_int_equal(result.fault.reason, reason);
	assert_int_equal(result.fault.address, iova);
}

static void maps_own_memory(void **state)
{
	struct world *w = *state;
	uint64_t bytes = 0;
	const char text[] = "from the device";

	map_fixed(w, w->page, 3 * w->page, 0x100000);
	assert_reads(w, 0x100000, w->page, 3 * w->page);
	assert_reads(w, 0x100000 + w->page - 3, 2 * w->page - 3, 7);
	assert_fault(w, 0x100000 - 1, UIOMMU_FAULT_UNMAPPED);
	assert_fault(w, 0x100000 + 3 * w->page, UIOMMU_FAULT_UNMAPPED);
	assert_int_equal(uiommu_dma_write(w->device, UIOMMU_NO_PASID, 0x100010, text, sizeof(text), NULL), 0);
	assert_memory_equal(w->memory + w->page + 0x10, text, sizeof(text));
	assert_int_equal(uiommu_ioas_unmap(w->context, w->ioas, 0x100000, 3 * w->page, &bytes), 0);
	assert_int_equal(bytes, 3 * w->page);
	assert_fault(w, 0x100000, UIOMMU_FAULT_UNMAPPED);
}

static void any_alignment(void **state)
{
	struct world *w = *state;

	map_fixed(w, 13, 1, 1);
	map_fixed(w, 101, 55, 2);
	map_fixed(w, 500, 7, 57);
	assert_reads(w, 1, 13, 1);
	assert_reads(w, 2, 101, 55);
	assert_reads(w, 57, 500, 7);
	assert_fault(w, 64, UIOMMU_FAULT_UNMAPPED);
	map_fixed(w, 0, 4096, UINT64_MAX - 4095);
	assert_reads(w, UINT64_MAX - 4095, 0, 4095);
	assert_int_equal(unmap(w, UINT64_MAX - 4095, 4096), 0);
}

static void permissions(void **state)
{
	struct world *w = *state;
	struct uiommu_ioas_map map = own(w, UIOMMU_MAP_READ | FIXED, 0, w->page, 0x1000);
	struct uiommu_dma_result result;
	uint8_t byte = 1;

	assert_int_equal(uiommu_ioas_map(w->context, &map), 0);
	assert_reads(w, 0x1000, 0, w->page);
	assert_int_equal(uiommu_dma_write(w->device, UIOMMU_NO_PASID, 0x1000, &byte, 1, &result), -EFAULT);
	assert_int_equal(result.fault.reason, UIOMMU_FAULT_PERMISSION);
	map = own(w, UIOMMU_MAP_WRITE | FIXED, w->page, w->page, 0x100000);
	assert_int_equal(uiommu_ioas_map(w->context, &map), 0);
	assert_fault(w, 0x100000, UIOMMU_FAULT_PERMISSION);
	assert_int_equal(uiommu_dma_write(w->device, UIOMMU_NO_PASID, 0x100000, &byte, 1, NULL), 0);
	assert_int_equal(w->memory[w->page], 1);
}

static int memfd(uint64_t size)
{
	int fd = memfd_create("ioas", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)size), 0);
	return fd;
}

static void maps_files(void **state)
{
	struct world *w = *state;
	int fd = memfd(4 * w->page);
	uint64_t offset = w->page + 5;
	struct uiommu_ioas_map map = {
		.size = sizeof(map),
		.flags = RW | FIXED,
		.ioas_id = w->ioas,
		.source = UIOMMU_MAP_FILE,
		.fd = fd,
		.offset = offset,
		.length = w->page,
		.iova = 0x40000,
	};
	char text[16] = "in the file";

	assert_int_equal(uiommu_ioas_map(w->context, &map), 0);
	assert_int_equal(uiommu_dma_write(w->device, UIOMMU_NO_PASID, 0x40000 + 100, text, sizeof(text), NULL), 0);
	memset(text, 0, sizeof(text));
	assert_int_equal(pread(fd, text, sizeof(text), (off_t)offset + 100), sizeof(text));
	assert_string_equal(text, "in the file");
	assert_int_equal(pwrite(fd, "IN", 2, (off_t)offset + 100), 2);
	close(fd); /* the mapping is the library's own */
	assert_int_equal(device_read(w, 0x40000 + 100, text, sizeof(text), NULL), 0);
	assert_string_equal(text, "IN the file");
	assert_int_equal(unmap(w, 0x40000, w->page), 0);
}

static void maps_ram(void **state)
{
	struct world *w = *state;
	int fd = memfd(8 * w->page);
	struct uiommu_ioas_map map = {
		.size = sizeof(map),
		.flags = RW | FIXED,
		.ioas_id = w->ioas,
		.source = UIOMMU_MAP_RAM,
		.offset = 3 * w->page,
		.length = 2 * w->page,
		.iova = 0x70000,
	};
	struct uiommu_ioas_copy copy = {
		.size = sizeof(copy),
		.flags = RW | FIXED,
		.dst_ioas_id = w->other,
		.src_ioas_id = w->ioas,
		.length = 2 * w->page,
		.dst_iova = 0x70000,
		.src_iova = 0x70000,
	};
	uint8_t byte = 0;
	uint32_t ram, read_only;

	assert_int_equal(pwrite(fd, "A", 1, (off_t)(5 * w->page)), 1);
	assert_int_equal(uiommu_ram_alloc(w->context, fd, w->page, 6 * w->page, UIOMMU_READ | UIOMMU_WRITE, &ram), 0);
	assert_int_equal(uiommu_object_type(w->context, ram), UIOMMU_OBJECT_RAM);
	map.ram_id = ram;
	assert_int_equal(uiommu_ioas_map(w->context, &map), 0);
	assert_int_equal(device_read(w, 0x70000 + w->page, &byte, 1, NULL), 0);
	assert_int_equal(byte, 'A');
	map.iova = 0xa0000;
	map.offset = 6 * w->page;
	assert_int_equal(uiommu_ioas_map(w->context, &map), -EINVAL);
	map.offset = 5 * w->page;
	assert_int_equal(uiommu_ioas_map(w->context, &map), -EINVAL);
	map.offset = UINT64_MAX - w->page;
	assert_int_equal(uiommu_ioas_map(w->context, &map), -EOVERFLOW);
	map.offset = 0;
	map.ram_id = w->other;
	assert_int_equal(uiommu_ioas_map(w->context, &map), -ENOENT);
	assert_int_equal(uiommu_ram_alloc(w->context, fd, 0, w->page, UIOMMU_READ, &read_only), 0);
	map.ram_id = read_only;
	map.length = w->page;
	assert_int_equal(uiommu_ioas_map(w->context, &map), -EACCES);
	map.flags = UIOMMU_MAP_READ | FIXED;
	assert_int_equal(uiommu_ioas_map(w->context, &map), 0);
	byte = 0;
	assert_int_equal(uiommu_destroy(w->context, ram), -EBUSY);
	assert_int_equal(device_read(w, 0x70000 + w->page, &byte, 1, NULL), 0);
	assert_int_equal(byte, 'A');
	/* A copy is a use of its own. */
	assert_int_equal(uiommu_ioas_copy(w->context, &copy), 0);
	assert_int_equal(uiommu_ioas_unmap(w->context, w->ioas, 0x70000, 2 * w->page, NULL), 0);
	assert_int_equal(uiommu_destroy(w->context, ram), -EBUSY);
	assert_int_equal(uiommu_ioas_unmap(w->context, w->other, 0x70000, 2 * w->page, NULL), 0);
	assert_int_equal(uiommu_destroy(w->context, ram), 0);
	assert_int_equal(uiommu_destroy(w->context, ram), -ENOENT);
	close(fd);
}

static void bad_ram(void **state)
{
	struct world *w = *state;
	int fd = memfd(2 * w->page);
	uint32_t id = 77;

	assert_int_equal(uiommu_ram_alloc(w->context, fd, 0, 0, UIOMMU_READ, &id), -EINVAL);
	assert_int_equal(uiommu_ram_alloc(w->context, fd, 1, w->page, UIOMMU_READ, &id), -EINVAL);
	assert_int_equal(uiommu_ram_alloc(w->context, fd, 0, w->page + 1, UIOMMU_READ, &id), -EINVAL);
	assert_int_equal(uiommu_ram_alloc(w->context, fd, 0, w->page, UIOMMU_WRITE, &id), -EINVAL);
	assert_int_equal(uiommu_ram_alloc(w->context, fd, 0, w->page, 0, &id), -EINVAL);
	assert_int_equal(uiommu_ram_alloc(w->context, fd, w->page, 2 * w->page, UIOMMU_READ, &id), -EINVAL);
	assert_int_equal(uiommu_ram_alloc(w->context, fd, -w->page, 2 * w->page, UIOMMU_READ, &id), -EOVERFLOW);
	assert_int_equal(uiommu_ram_alloc(w->context, -1, 0, w->page, UIOMMU_READ, &id), -EBADF);
	assert_int_equal(id, 77);
	close(fd);
}

static void bad_maps(void **state)
{
	struct world *w = *state;
	struct uiommu_ioas_map map = own(w, RW | FIXED, 0, w->page, 0x1000);
	struct {
		struct uiommu_ioas_map map;
		uint64_t tail;
	} longer = {.map = map, .tail = 1};

	longer.map.size = sizeof(longer);
	assert_int_equal(uiommu_ioas_map(w->context, &longer.map), -E2BIG);
	longer.tail = 0;
	assert_int_equal(uiommu_ioas_map(w->context, &longer.map), 0);
	assert_int_equal(unmap(w, 0x1000, w->page), 0);
	map.size = sizeof(map) - 1;
	assert_int_equal(uiommu_ioas_map(w->context, &map), -EINVAL);

#define REFUSED(change, error)                                                                                                     \
	do {                                                                                                                       \
		map = own(w, RW | FIXED, 0, w->page, 0x1000);                                                                      \
		change;                                                                                                            \
		assert_int_equal(uiommu_ioas_map(w->context, &map), error);                                                        \
	} while (0)
	REFUSED(map.flags |= 8, -EOPNOTSUPP);
	REFUSED(map.source = 3, -EOPNOTSUPP);
	REFUSED(map.iova = UINT64_MAX, -EOVERFLOW);
	REFUSED(map.length = UINT64_MAX, -EOVERFLOW);
	REFUSED((map.flags = UIOMMU_MAP_READ, map.iova = UINT64_MAX), -EOVERFLOW);
	REFUSED((map.flags = FIXED, map.iova = UINT64_MAX), -EOVERFLOW);
	REFUSED((map.flags = FIXED, map.ioas_id = 999), -EINVAL);
	REFUSED(map.ioas_id = 999, -ENOENT);
	REFUSED(map.ioas_id = 0, -ENOENT);
	REFUSED(map.ioas_id = w->device_id, -ENOENT);
	REFUSED((map.ioas_id = 999, map.length = 0), -ENOENT);
	REFUSED(map.address = (void *)(uintptr_t)-100, -EOVERFLOW);
	REFUSED(map.length = 0, -EINVAL);
	REFUSED(map.iova = UINT64_MAX - w->page + 2, -EOVERFLOW);
	REFUSED((map.source = UIOMMU_MAP_FILE, map.fd = -1), -EBADF);
	REFUSED((map.source = UIOMMU_MAP_RAM, map.ram_id = 999), -ENOENT);
#undef REFUSED
	assert_int_equal(unmap(w, 0, UINT64_MAX), 0);
}

static void bad_files(void **state)
{
	struct world *w = *state;
	int fd = memfd(2 * w->page), read_only;
	char path[64];
	struct uiommu_ioas_map map = {.size = sizeof(map),
				      .flags = RW | FIXED,
				      .ioas_id = w->ioas,
				      .source = UIOMMU_MAP_FILE,
				      .fd = fd,
				      .offset = w->page + 1,
				      .length = w->page,
				      .iova = 0x1000};

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	read_only = open(path, O_RDONLY | O_CLOEXEC);
	assert_int_equal(uiommu_ioas_map(w->context, &map), -EINVAL);
	map.offset = UINT64_MAX - 1;
	assert_int_equal(uiommu_ioas_map(w->context, &map), -EOVERFLOW);
	map.offset = 0;
	map.fd = read_only;
	assert_int_equal(uiommu_ioas_map(w->context, &map), -EACCES);
	map.flags = UIOMMU_MAP_READ | FIXED;
	assert_int_equal(uiommu_ioas_map(w->context, &map), 0);
	map.iova = 0x1000 + w->page - 1;
	assert_int_equal(uiommu_ioas_map(w->context, &map), -EEXIST);
	close(read_only);
	close(fd);
}

static void fixed_overlaps(void **state)
{
	struct world *w = *state;
	const uint64_t base = 0x100000, page = w->page;
	const struct {
		uint64_t iova, length;
	} bad[] = {{base, page}, {base - 1, 2}, {base + page - 1, 1}, {base - page, 3 * page}, {base + 5, 10}};

	map_fixed(w, 0, page, base);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct uiommu_ioas_map map = own(w, RW | FIXED, 0, bad[i].length, bad[i].iova);

		assert_int_equal(uiommu_ioas_map(w->context, &map), -EEXIST);
		assert_int_equal(map.iova, bad[i].iova);
	}
	map_fixed(w, page, page, base - page);
	map_fixed(w, 2 * page, page, base + page);
	assert_reads(w, base, 0, page);
	assert_reads(w, base - page, page, page);
	assert_reads(w, base + page, 2 * page, page);
}

static void unmaps_whole_areas(void **state)
{
	struct world *w = *state;
	uint64_t page = w->page, bytes = 99;

	assert_int_equal(uiommu_ioas_unmap(w->context, w->ioas, 0, UINT64_MAX, &bytes), 0);
	assert_int_equal(bytes, 0);
	for (uint64_t i = 0; i < 4; i++)
		map_fixed(w, i * page, page, 0x100000 + 2 * i * page);
	assert_int_equal(unmap(w, 0x100000, page - 1), -ENOENT);
	assert_int_equal(unmap(w, 0x100000 + 1, page), -ENOENT);
	assert_int_equal(unmap(w, 0x100000, 2 * page + 1), -ENOENT);
	assert_int_equal(unmap(w, 0x100000 + page, page), -ENOENT);
	assert_int_equal(unmap(w, 0x100000, 0), -EINVAL);
	assert_int_equal(unmap(w, 0x100000, UINT64_MAX), -EOVERFLOW);
	assert_int_equal(unmap(w, UINT64_MAX, 1), -EOVERFLOW);
	assert_int_equal(unmap(w, UINT64_MAX - 1, 3), -EOVERFLOW);
	assert_int_equal(uiommu_ioas_unmap(w->context, 999, 0, UINT64_MAX, NULL), -ENOENT);
	for (uint64_t i = 0; i < 4; i++)
		assert_reads(w, 0x100000 + 2 * i * page, i * page, page);
	assert_int_equal(uiommu_ioas_unmap(w->context, w->ioas, 0x100000 - page, 5 * page, &bytes), 0);
	assert_int_equal(bytes, 2 * page);
	assert_fault(w, 0x100000, UIOMMU_FAULT_UNMAPPED);
	assert_fault(w, 0x100000 + 2 * page, UIOMMU_FAULT_UNMAPPED);
	assert_reads(w, 0x100000 + 4 * page, 2 * page, page);
	assert_int_equal(uiommu_ioas_unmap(w->context, w->ioas, 0, UINT64_MAX, &bytes), 0);
	assert_int_equal(bytes, 2 * page);
	assert_fault(w, 0x100000 + 4 * page, UIOMMU_FAULT_UNMAPPED);
}

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

static struct uiommu_ioas_copy copy_of(const struct world *w, uint64_t src, uint64_t length, uint64_t dst)
{
	return (struct uiommu_ioas_copy){
		.size = sizeof(struct uiommu_ioas_copy),
		.flags = RW | FIXED,
		.dst_ioas_id = w->ioas,
		.src_ioas_id = w->other,
		.length = length,
		.dst_iova = dst,
		.src_iova = src,
	};
}

static void copies_share_the_memory(void **state)
{
	struct world *w = *state;
	struct uiommu_ioas_map map = own(w, RW | FIXED, 0, 2 * w->page, 0x10000);
	struct uiommu_ioas_copy copy = copy_of(w, 0x10000 + w->page + 9, 2 * w->page, 0x50000);
	int fd = memfd(2 * w->page);
	uint64_t bytes;
	char text[4];

	map.ioas_id = w->other;
	assert_int_equal(uiommu_ioas_map(w->context, &map), 0);
	map.source = UIOMMU_MAP_FILE;
	map.fd = fd;
	map.iova += 2 * w->page;
	assert_int_equal(uiommu_ioas_map(w->context, &map), 0);
	/* Part of the one area and part of the other. */
	assert_int_equal(uiommu_ioas_copy(w->context, &copy), 0);
	assert_int_equal(uiommu_ioas_unmap(w->context, w->other, 0, UINT64_MAX, &bytes), 0);
	assert_int_equal(bytes, 4 * w->page);
	assert_reads(w, 0x50000, w->page + 9, w->page - 9);
	assert_int_equal(uiommu_dma_write(w->device, UIOMMU_NO_PASID, 0x50000 + w->page - 9, "file", 4, NULL), 0);
	assert_int_equal(pread(fd, text, 4, 0), 4);
	assert_memory_equal(text, "file", 4);
	assert_fault(w, 0x50000 + 2 * w->page, UIOMMU_FAULT_UNMAPPED);
	/* They are two areas. */
	assert_int_equal(unmap(w, 0x50000, w->page), -ENOENT);
	assert_int_equal(unmap(w, 0x50000, w->page - 9), 0);
	assert_fault(w, 0x50000, UIOMMU_FAULT_UNMAPPED);
	assert_int_equal(unmap(w, 0x50000, 2 * w->page), 0);
	close(fd);
}

static void copies_in_one_ioas_and_anywhere(void **state)
{
	struct world *w = *state;
	struct uiommu_ioas_copy copy = copy_of(w, 0x10000, w->page, 0);

	map_fixed(w, 0, w->page, 0x10000);
	copy.src_ioas_id = w->ioas;
	copy.flags = UIOMMU_MAP_READ;
	assert_int_equal(uiommu_ioas_copy(w->context, &copy), 0);
	assert_int_equal(copy.dst_iova, w->page);
	assert_reads(w, copy.dst_iova, 0, w->page);
	copy.flags = RW | FIXED;
	copy.dst_iova = 0x10000 + w->page - 1;
	assert_int_equal(uiommu_ioas_copy(w->context, &copy), -EEXIST);
	assert_int_equal(unmap(w, 0x10000, w->page), 0);
	assert_reads(w, w->page, 0, w->page);
}

static void bad_copies(void **state)
{
	struct world *w = *state;
	struct uiommu_ioas_map map = own(w, UIOMMU_MAP_READ | FIXED, 0, w->page, 0x10000);
	struct uiommu_ioas_copy copy;

	map.ioas_id = w->other;
	assert_int_equal(uiommu_ioas_map(w->context, &map), 0);
	map.flags = RW | FIXED;
	map.iova += 2 * w->page;
	assert_int_equal(uiommu_ioas_map(w->context, &map), 0);
#define REFUSED(change, error)                                                                                                     \
	do {                                                                                                                       \
		copy = copy_of(w, 0x10000 + 2 * w->page, w->page, 0x1000);                                                         \
		change;                                                                                                            \
		assert_int_equal(uiommu_ioas_copy(w->context, &copy), error);                                                      \
	} while (0)
	REFUSED(copy.size = 3, -EINVAL);
	REFUSED(copy.flags |= 8, -EOPNOTSUPP);
	REFUSED(copy.length = UINT64_MAX, -EOVERFLOW);
	REFUSED(copy.src_iova = UINT64_MAX, -EOVERFLOW);
	REFUSED(copy.dst_iova = UINT64_MAX, -EOVERFLOW);
	REFUSED(copy.flags = FIXED, -EINVAL);
	REFUSED(copy.src_ioas_id = 999, -ENOENT);
	REFUSED(copy.dst_ioas_id = 999, -ENOENT);
	REFUSED(copy.length = 0, -EINVAL);
	REFUSED(copy.src_iova = UINT64_MAX - 1, -EOVERFLOW);
	REFUSED(copy.length = w->page + 1, -ENOENT);
	REFUSED(copy.src_iova = 0x10000 + 2 * w->page - 1, -ENOENT);
	REFUSED((copy.src_iova = 0x10000, copy.length = 3 * w->page), -ENOENT); /* a hole */
	REFUSED(copy.src_iova = 0x10000, -EPERM);
	REFUSED(copy.dst_iova = UINT64_MAX - 1, -EOVERFLOW);
	copy = copy_of(w, 0x10000, w->page, 0x1000);
	copy.flags = UIOMMU_MAP_READ | FIXED;
	assert_int_equal(uiommu_ioas_copy(w->context, &copy), 0);
#undef REFUSED
}

/* A read-only copy of writable memory may be the source of a writable one. */
static void copies_go_by_what_the_memory_permits(void **state)
{
	struct world *w = *state;
	struct uiommu_ioas_map map = own(w, RW | FIXED, 0, w->page, 0x10000);
	struct uiommu_ioas_copy copy = copy_of(w, 0x10000, w->page, 0x20000);

	map.ioas_id = w->other;
	assert_int_equal(uiommu_ioas_map(w->context, &map), 0);
	copy.flags = UIOMMU_MAP_READ | FIXED;
	assert_int_equal(uiommu_ioas_copy(w->context, &copy), 0);
	copy.flags = RW | FIXED;
	copy.src_ioas_id = w->ioas;
	copy.src_iova = 0x20000;
	copy.dst_iova = 0x30000;
	assert_int_equal(uiommu_ioas_copy(w->context, &copy), 0);
	assert_int_equal(uiommu_dma_write(w->device, UIOMMU_NO_PASID, 0x30000, "w", 1, NULL), 0);
	assert_int_equal(w->memory[0], 'w');
}

/* The second area of the copy does not fit: nothing of the first one stays. */
static void failed_copies_leave_nothing(void **state)
{
	struct world *w = *state;
	struct uiommu_ioas_map map = own(w, RW | FIXED, 0, w->page, 0x10000);
	struct uiommu_ioas_copy copy = copy_of(w, 0x10000, 2 * w->page, 0x50000);
	uint64_t bytes;

	map.ioas_id = w->other;
	assert_int_equal(uiommu_ioas_map(w->context, &map), 0);
	map.iova += w->page;
	assert_int_equal(uiommu_ioas_map(w->context, &map), 0);
	map_fixed(w, 0, 1, 0x50000 + w->page + 1);
	assert_int_equal(uiommu_ioas_copy(w->context, &copy), -EEXIST);
	assert_fault(w, 0x50000, UIOMMU_FAULT_UNMAPPED);
	assert_int_equal(uiommu_ioas_unmap(w->context, w->ioas, 0, UINT64_MAX, &bytes), 0);
	assert_int_equal(bytes, 1);
}

static void put_pin(void *opaque, struct uiommu_pin *pin)
{
	++*(int *)opaque;
	uiommu_dma_unpin(pin);
}

static void unmap_inside(void *opaque, struct uiommu_pin *pin)
{
	struct world *w = opaque;

	assert_int_equal(unmap(w, 0, UINT64_MAX), -EDEADLK);
	assert_int_equal(uiommu_destroy(w->context, w->other), -EDEADLK);
	assert_int_equal(uiommu_detach(w->context, w->device_id, UIOMMU_NO_PASID), -EDEADLK);
	assert_int_equal(uiommu_close(w->context), -EDEADLK);
	uiommu_dma_unpin(pin);
}

static struct uiommu_pin *pin_range(struct world *w, uint64_t iova, uint64_t length, void (*callback)(void *, struct uiommu_pin *),
				    void *opaque)
{
	struct iovec pieces[4];
	struct uiommu_dma_pin pin = {
		.address = iova,
		.length = length,
		.pasid = UIOMMU_NO_PASID,
		.access = UIOMMU_READ,
		.iov = pieces,
		.iov_count = 4,
		.unmap = callback,
		.opaque = opaque,
	};

	assert_int_equal(uiommu_dma_pin(w->device, &pin, NULL), 0);
	return pin.pin;
}

static void pins_hold_areas(void **state)
{
	struct world *w = *state;
	struct uiommu_pin *stays;
	int asked = 0;

	for (uint64_t i = 0; i < 3; i++)
		map_fixed(w, i * w->page, w->page, 0x10000 + i * w->page);
	pin_range(w, 0x10000, 2 * w->page, put_pin, &asked); /* in two areas */
	stays = pin_range(w, 0x10000 + 2 * w->page, 1, NULL, NULL);
	assert_int_equal(unmap(w, 0x10000, 3 * w->page), -EDEADLOCK);
	for (uint64_t i = 0; i < 3; i++)
		assert_reads(w, 0x10000 + i * w->page, i * w->page, w->page);
	assert_int_equal(asked, 1);
	assert_int_equal(unmap(w, 0x10000, 2 * w->page), 0);
	assert_int_equal(unmap(w, 0x10000 + 2 * w->page, w->page), -EDEADLOCK);
	uiommu_dma_unpin(stays);
	pin_range(w, 0x10000 + 2 * w->page, 1, unmap_inside, w);
	assert_int_equal(unmap(w, 0x10000 + 2 * w->page, w->page), 0);
	assert_fault(w, 0x10000 + 2 * w->page, UIOMMU_FAULT_UNMAPPED);
}

static void in_use_is_busy(void **state)
{
	struct world *w = *state;
	size_t count = uiommu_object_count(w->context);

	map_fixed(w, 0, w->page, 0x10000);
	assert_int_equal(uiommu_destroy(w->context, w->ioas), -EBUSY);
	assert_int_equal(uiommu_object_count(w->context), count);
	assert_reads(w, 0x10000, 0, w->page);
	assert_int_equal(uiommu_destroy(w->context, w->other), 0);
	assert_int_equal(uiommu_object_count(w->context), count - 1);
}

/*
 * Unmap against running reads: when it has returned the memory belongs to somebody else, who writes poison into it. No read that
 * succeeds sees poison; where the library is wrong ThreadSanitizer sees the race, too.
 */
struct race {
	struct world *w;
	bool stop; /* atomic */
	uint64_t good; /* atomic */
};

static void *racing_reads(void *opaque)
{
	struct race *race = opaque;
	uint8_t buffer[256];

	while (!__atomic_load_n(&race->stop, __ATOMIC_RELAXED)) {
		struct uiommu_dma_result result;

		if (device_read(race->w, 0x10000, buffer, sizeof(buffer), &result)) {
			assert_int_equal(result.fault.reason, UIOMMU_FAULT_UNMAPPED);
			continue;
		}
		for (size_t i = 0; i < sizeof(buffer); i++)
			assert_int_equal(buffer[i], 0x55);
		__atomic_fetch_add(&race->good, 1, __ATOMIC_RELAXED);
	}
	return NULL;
}

static void unmap_against_reads(struct world *w, bool file)
{
	struct race race = {.w = w};
	int fd = memfd(w->page);
	uint8_t *shared = mmap(NULL, w->page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), *memory = file ? shared : w->memory;
	struct uiommu_ioas_map map = own(w, RW | FIXED, 0, w->page, 0x10000);
	pthread_t threads[2];
	uint64_t seen = 0;

	if (file) {
		map.source = UIOMMU_MAP_FILE;
		map.fd = fd;
	}
	for (int i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, racing_reads, &race), 0);
	for (int round = 0; round < 300; round++) {
		memset(memory, 0x55, 256);
		assert_int_equal(uiommu_ioas_map(w->context, &map), 0);
		while (__atomic_load_n(&race.good, __ATOMIC_RELAXED) == seen)
			sched_yield();
		seen = __atomic_load_n(&race.good, __ATOMIC_RELAXED);
		assert_int_equal(unmap(w, 0x10000, w->page), 0);
		memset(memory, 0xaa, 256);
	}
	__atomic_store_n(&race.stop, true, __ATOMIC_RELAXED);
	for (int i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	munmap(shared, w->page);
	close(fd);
}

static void unmap_against_reads_of_own_memory(void **state)
{
	unmap_against_reads(*state, false);
}

static void unmap_against_reads_of_a_file(void **state)
{
	unmap_against_reads(*state, true);
}

#define WORLD(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WORLD(maps_own_memory),
		WORLD(any_alignment),
		WORLD(permissions),
		WORLD(maps_files),
		WORLD(maps_ram),
		WORLD(bad_ram),
		WORLD(bad_maps),
		WORLD(bad_files),
		WORLD(fixed_overlaps),
		WORLD(unmaps_whole_areas),
		WORLD(chooses_the_lowest),
		WORLD(keeps_offset_and_alignment),
		WORLD(chooses_like_an_oracle),
		WORLD(allowed_ranges),
		WORLD(reserved_ranges),
		WORLD(copies_share_the_memory),
		WORLD(copies_in_one_ioas_and_anywhere),
		WORLD(bad_copies),
		WORLD(copies_go_by_what_the_memory_permits),
		WORLD(failed_copies_leave_nothing),
		WORLD(pins_hold_areas),
		WORLD(in_use_is_busy),
		WORLD(unmap_against_reads_of_own_memory),
		WORLD(unmap_against_reads_of_a_file),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
