/* SPDX-License-Identifier: BSD-3-Clause */
/* What is mapped, how it is unmapped, and what may keep it from that. */
#include "ioas.h"

#include <pthread.h>

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
		WORLD(pins_hold_areas),
		WORLD(in_use_is_busy),
		WORLD(unmap_against_reads_of_own_memory),
		WORLD(unmap_against_reads_of_a_file),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
