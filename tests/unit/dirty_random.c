/* SPDX-License-Identifier: BSD-3-Clause */
/* Dirty tracking of paging HWPTs: random operations against an array. */
#include "dirty.h"

#include "util/bits.h"

enum { OPERATIONS = 8000, LARGE = 4096 };

static struct {
	uint64_t seed;
	bool on[TRACKED];
	struct {
		unsigned int first, count; /* of its area; count 0: not mapped */
		uint32_t flags;
		bool dirty[TRACKED];
	} page[PAGES];
} model;

static void model_map(uint64_t random)
{
	unsigned int first = (unsigned int)(random >> 8) % PAGES, count = 1 + (unsigned int)(random >> 24) % (random & 1 ? 4 : 200);
	uint32_t flags = random & 2 ? RW : random & 4 ? UIOMMU_MAP_READ : UIOMMU_MAP_WRITE;
	bool taken = false;

	if (count > PAGES - first)
		count = PAGES - first;
	for (unsigned int i = first; i < first + count; i++)
		taken |= model.page[i].count;
	assert_int_equal(map(first, count, flags, random & 8), taken ? -EEXIST : 0);
	for (unsigned int i = first; !taken && i < first + count; i++) {
		model.page[i].first = first;
		model.page[i].count = count;
		model.page[i].flags = flags;
		memset(model.page[i].dirty, 0, sizeof(model.page[i].dirty));
	}
}

static void model_unmap(uint64_t random)
{
	unsigned int page = (unsigned int)(random >> 8) % PAGES, first = model.page[page].first, count = model.page[page].count;

	if (!count) {
		assert_int_equal(unmap(page, 1), -ENOENT);
		return;
	}
	assert_int_equal(unmap(first, count), 0);
	memset(&model.page[first], 0, count * sizeof(model.page[0]));
}

/* The bytes that can be written from @offset on, which makes their pages dirty. */
static uint64_t model_written(unsigned int device, uint64_t offset, uint64_t length)
{
	uint64_t end = offset;

	while (end < offset + length && end < BYTES && model.page[end / PAGE].flags & UIOMMU_MAP_WRITE) {
		if (device < TRACKED)
			model.page[end / PAGE].dirty[device] |= model.on[device];
		end = end / PAGE * PAGE + PAGE;
	}
	return (end < offset + length ? end : offset + length) - offset;
}

static uint64_t model_readable(uint64_t offset, uint64_t length)
{
	uint64_t end = offset;

	while (end < offset + length && end < BYTES && model.page[end / PAGE].flags & UIOMMU_MAP_READ)
		end = end / PAGE * PAGE + PAGE;
	return (end < offset + length ? end : offset + length) - offset;
}

static void model_write(uint64_t random)
{
	uint64_t offset = (random >> 8) % BYTES, length = 1 + (random >> 40) % (random & 1 ? 64 : 5 * PAGE), done;
	unsigned int device = (unsigned int)(random >> 4) % DEVICES;
	struct uiommu_dma_result result;
	static uint8_t buffer[5 * PAGE];

	memset(buffer, (int)random & 0xff, length);
	done = model_written(device, offset, length);
	assert_int_equal(uiommu_dma_write(r.devices[device], UIOMMU_NO_PASID, BASE + offset, buffer, length, &result),
			 done < length ? -EFAULT : 0);
	assert_int_equal(result.done, done);
	assert_memory_equal(r.memory + offset, buffer, done);
}

static void model_read(uint64_t random)
{
	uint64_t offset = (random >> 8) % BYTES, length = 1 + (random >> 40) % (5 * PAGE);
	unsigned int device = (unsigned int)(random >> 4) % DEVICES;
	struct uiommu_dma_result result;
	static uint8_t buffer[5 * PAGE];

	uiommu_dma_read(r.devices[device], UIOMMU_NO_PASID, BASE + offset, buffer, length, &result);
	assert_int_equal(result.done, model_readable(offset, length));
	assert_memory_equal(buffer, r.memory + offset, result.done);
}

static void model_atomic(uint64_t random)
{
	uint64_t offset = (random >> 8) % BYTES & ~UINT64_C(7);
	unsigned int device = (unsigned int)(random >> 4) % DEVICES;
	struct uiommu_dma_atomic atomic = {
		.address = BASE + offset, .pasid = UIOMMU_NO_PASID, .type = (uint8_t)(random % 3), .length = 8, .operand = 3};
	bool may = model.page[offset / PAGE].flags == RW;

	assert_int_equal(uiommu_dma_atomic(r.devices[device], &atomic, NULL), may ? 0 : -EFAULT);
	if (may)
		model_written(device, offset, 8);
}

/* Does one of the bytes from @offset on lie in a dirty page? */
static bool model_is_dirty(unsigned int device, uint64_t offset, uint64_t length)
{
	bool dirty = false;

	for (uint64_t page = offset / PAGE; page <= (offset + length - 1) / PAGE && page < PAGES; page++)
		dirty |= model.page[page].dirty[device];
	return dirty;
}

/* The range is around the pages; addresses below BASE and above are not mapped. */
static void model_look(uint64_t random)
{
	unsigned int device = (unsigned int)(random >> 4) % TRACKED, lg2 = 9 + (unsigned int)(random >> 8) % 14;
	uint64_t size = UINT64_C(1) << lg2, step = size < PAGE ? PAGE : size, bits, first, length, last;
	static uint64_t bitmap[LARGE * 8 / 64], before;
	uint32_t flags = random & 1;

	first = (BASE + (random >> 16) % BYTES) & ~(step - 1);
	length = step * (1 + (random >> 32) % ((BYTES + step - 1) / step));
	last = first + length;
	bits = length / size;
	before = random & 2 ? random_number(&model.seed) : 0;
	assert_true(bits <= LARGE * 8);
	for (unsigned int i = 0; i < LARGE * 8 / 64; i++)
		bitmap[i] = before;
	assert_int_equal(look(device, flags, first, length, size, bitmap), model.on[device] ? 0 : -EINVAL);
	for (uint64_t i = 0; i < LARGE * 8; i++) {
		uint64_t iova = first + i * size, end = iova + size;
		bool dirty = i < bits && end > BASE && iova < BASE + BYTES;

		if (dirty && iova < BASE)
			dirty = model_is_dirty(device, 0, end - BASE);
		else if (dirty)
			dirty = model_is_dirty(device, iova - BASE, size);
		assert_int_equal(bit(bitmap, i), bit(&before, i % 64) | (dirty && model.on[device]));
	}
	for (unsigned int i = 0; !flags && i < PAGES; i++)
		if (BASE + (uint64_t)i * PAGE >= first && BASE + (uint64_t)i * PAGE < last && model.on[device])
			model.page[i].dirty[device] = false;
}

static void model_switch(uint64_t random)
{
	unsigned int device = (unsigned int)(random >> 4) % TRACKED;

	model.on[device] = random & 3;
	assert_int_equal(track(device, model.on[device]), 0);
	for (unsigned int i = 0; i < PAGES; i++)
		model.page[i].dirty[device] = false;
}

static void model_step(void)
{
	uint64_t random = random_number(&model.seed);

	switch ((random >> 50) % 64) {
	case 0:
		model_switch(random);
		break;
	case 1 ... 8:
		model_map(random);
		break;
	case 9 ... 11:
		model_unmap(random);
		break;
	case 12 ... 15:
		model_look(random);
		break;
	case 16 ... 20:
		model_atomic(random);
		break;
	case 21 ... 30:
		model_read(random);
		break;
	default:
		model_write(random);
		break;
	}
}

static void run(uint32_t iotlb_entries)
{
	unsigned int steps = scaled(OPERATIONS);

	rig_make(iotlb_entries);
	traps_on();
	memset(&model, 0, sizeof(model));
	model.seed = 88172645463325252u + iotlb_entries;
	for (unsigned int i = 0; i < steps; i++)
		model_step();
	teardown(NULL);
}

static void like_an_array(void **state)
{
	(void)state;
	run(0);
}

static void like_an_array_with_a_small_iotlb(void **state)
{
	(void)state;
	run(24);
}

static void like_an_array_uncached(void **state)
{
	(void)state;
	run(UIOMMU_IOTLB_NONE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(like_an_array),
		cmocka_unit_test(like_an_array_with_a_small_iotlb),
		cmocka_unit_test(like_an_array_uncached),
	};

	assert_int_equal(traps_install(), 0);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
