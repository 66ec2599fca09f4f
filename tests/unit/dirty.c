/* SPDX-License-Identifier: BSD-3-Clause */
/* Dirty tracking of paging HWPTs, one thing at a time. */
#include "dirty.h"

/* --- errnos --- */

static int inside(void *unused)
{
	uint64_t bitmap = 0;

	(void)unused;
	assert_int_equal(track(0, UIOMMU_DIRTY_TRACKING_ENABLE), -EDEADLK);
	return look(0, 0, BASE, PAGE, PAGE, &bitmap);
}

static void call_inside(void *opaque, struct uiommu_pin *pin)
{
	*(int *)opaque = inside(NULL);
	uiommu_dma_unpin(pin);
}

static void errnos(void **state)
{
	struct uiommu_dirty_bitmap request = {.size = sizeof(request), .hwpt_id = 1000, .page_size = PAGE, .length = PAGE};
	uint64_t bitmap[64] = {0};
	uint32_t plain;

	(void)state;
	assert_int_equal(hwpt_make(0, 0, &plain), 0);
	assert_int_equal(uiommu_hwpt_set_dirty_tracking(r.context, r.hwpts[0], 2), -EOPNOTSUPP);
	assert_int_equal(uiommu_hwpt_set_dirty_tracking(r.context, 1000, 1), -ENOENT);
	assert_int_equal(uiommu_hwpt_set_dirty_tracking(r.context, r.ioas, 1), -ENOENT);
	assert_int_equal(uiommu_hwpt_set_dirty_tracking(r.context, plain, 1), -EOPNOTSUPP);
	request.bitmap = bitmap;
	assert_int_equal(uiommu_hwpt_get_dirty_bitmap(r.context, &request), -ENOENT);
	request.hwpt_id = r.ioas;
	assert_int_equal(uiommu_hwpt_get_dirty_bitmap(r.context, &request), -ENOENT);
	request.hwpt_id = plain;
	assert_int_equal(uiommu_hwpt_get_dirty_bitmap(r.context, &request), -EOPNOTSUPP);
	request.hwpt_id = r.hwpts[0];
	request.reserved = 1;
	assert_int_equal(uiommu_hwpt_get_dirty_bitmap(r.context, &request), -EOPNOTSUPP);
	request.size--;
	assert_int_equal(uiommu_hwpt_get_dirty_bitmap(r.context, &request), -EINVAL);
	/* It is off; then on, and off again. */
	assert_int_equal(look(0, 0, 0, PAGE, PAGE, bitmap), -EINVAL);
	assert_int_equal(track(0, 0), 0);
	assert_int_equal(track(0, UIOMMU_DIRTY_TRACKING_ENABLE), 0);
	assert_int_equal(look(0, 0, 0, PAGE, PAGE, bitmap), 0);
	assert_int_equal(track(0, 0), 0);
	assert_int_equal(look(0, 0, 0, PAGE, PAGE, bitmap), -EINVAL);
	assert_int_equal(track(0, UIOMMU_DIRTY_TRACKING_ENABLE), 0);
	assert_int_equal(uiommu_destroy(r.context, plain), 0);
}

static void errnos_of_ranges(void **state)
{
	const struct {
		uint32_t flags;
		uint64_t iova, length, page_size;
		int error;
	} cases[] = {
		{2, 0, PAGE, PAGE, -EOPNOTSUPP},
		{0, 0, 0, PAGE, -EINVAL},
		{0, PAGE, 0, PAGE, -EINVAL},
		{0, PAGE, UINT64_MAX, PAGE, -EOVERFLOW},
		{0, -(uint64_t)PAGE, 2 * PAGE, PAGE, -EOVERFLOW},
		{0, 0, PAGE, 0, -EINVAL},
		{0, 0, PAGE * 3, PAGE * 3, -EINVAL},
		{0, PAGE, PAGE, 2 * PAGE, -EINVAL},
		{0, 0, 3 * PAGE, 2 * PAGE, -EINVAL},
		{0, 2048, PAGE, 2048, -EINVAL},
		{0, 0, PAGE + 2048, 2048, -EINVAL},
		{0, 0, PAGE, 512, 0},
		{0, 0, PAGE, PAGE, 0},
		{1, 2 * PAGE, 2 * PAGE, 2 * PAGE, 0},
		{0, -(uint64_t)PAGE, PAGE, PAGE, 0},
		{0, UINT64_C(1) << 63, UINT64_C(1) << 63, UINT64_C(1) << 62, 0},
	};
	uint64_t bitmap[64] = {0};

	(void)state;
	assert_int_equal(track(0, UIOMMU_DIRTY_TRACKING_ENABLE), 0);
	for (unsigned int i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_int_equal(look(0, cases[i].flags, cases[i].iova, cases[i].length, cases[i].page_size, bitmap),
				 cases[i].error);
	assert_int_equal(look(0, 0, 0, PAGE, PAGE, NULL), -EINVAL);
	for (unsigned int i = 0; i < 64; i++)
		assert_int_equal(bitmap[i], 0);
}

/* What such an HWPT asks of its IOAS: whole pages, below 2^52. */
static void the_ioas_has_to_fit(void **state)
{
	struct uiommu_ioas_map own = {
		.size = sizeof(own), .flags = RW | UIOMMU_MAP_FIXED, .ioas_id = r.ioas, .address = r.memory, .length = PAGE};
	const uint64_t top = UINT64_C(1) << 52;
	struct uiommu_range range;
	uint64_t alignment;
	uint32_t id, count = 1;

	(void)state;
	own.iova = PAGE + 1;
	assert_int_equal(uiommu_ioas_map(r.context, &own), -EINVAL);
	own.iova = PAGE;
	own.length--;
	assert_int_equal(uiommu_ioas_map(r.context, &own), -EINVAL);
	own.length++;
	own.iova = top;
	assert_int_equal(uiommu_ioas_map(r.context, &own), -EINVAL);
	assert_int_equal(uiommu_ioas_iova_ranges(r.context, r.ioas, &range, &count, &alignment), 0);
	assert_int_equal(range.last, top - 1);
	assert_int_equal(alignment, PAGE);
	own.iova = top - PAGE;
	assert_int_equal(uiommu_ioas_map(r.context, &own), 0);
	/* A memory's own offset in its page is kept by chosen addresses. */
	own.address = r.memory + 1;
	own.flags = RW;
	assert_int_equal(uiommu_ioas_map(r.context, &own), -EINVAL);
	/* As soon as there is none any more, everything fits; and then another one does not. */
	for (unsigned int i = 0; i < TRACKED; i++) {
		assert_int_equal(uiommu_detach(r.context, r.ids[i], UIOMMU_NO_PASID), 0);
		assert_int_equal(uiommu_destroy(r.context, r.hwpts[i]), 0);
	}
	own.flags |= UIOMMU_MAP_FIXED;
	own.iova = top;
	assert_int_equal(uiommu_ioas_map(r.context, &own), 0);
	assert_int_equal(hwpt_make(UIOMMU_HWPT_DIRTY_TRACKING, 0, &id), -EADDRINUSE);
	assert_int_equal(uiommu_ioas_unmap(r.context, r.ioas, top, PAGE, NULL), 0);
	own.iova = PAGE + 1;
	assert_int_equal(uiommu_ioas_map(r.context, &own), 0);
	assert_int_equal(hwpt_make(UIOMMU_HWPT_DIRTY_TRACKING, 0, &id), -EADDRINUSE);
	assert_int_equal(uiommu_ioas_unmap(r.context, r.ioas, PAGE + 1, PAGE, NULL), 0);
	assert_int_equal(hwpt_make(UIOMMU_HWPT_DIRTY_TRACKING, (1 << 24) + 1, &id), -EOPNOTSUPP);
	assert_int_equal(hwpt_make(UIOMMU_HWPT_DIRTY_TRACKING, 0, &id), 0);
}

/* Of areas that are copied each has to. */
static void copies_have_to_fit(void **state)
{
	struct uiommu_ioas_map own = {
		.size = sizeof(own), .flags = RW | UIOMMU_MAP_FIXED, .address = r.memory, .length = PAGE + 1, .iova = PAGE};
	struct uiommu_ioas_copy copy = {.size = sizeof(copy), .flags = RW | UIOMMU_MAP_FIXED, .length = 2 * PAGE, .src_iova = PAGE};

	(void)state;
	assert_int_equal(uiommu_ioas_alloc(r.context, &own.ioas_id), 0);
	copy.src_ioas_id = own.ioas_id;
	copy.dst_ioas_id = r.ioas;
	copy.dst_iova = BASE;
	assert_int_equal(uiommu_ioas_map(r.context, &own), 0);
	own.iova += own.length;
	own.length = PAGE - 1;
	assert_int_equal(uiommu_ioas_map(r.context, &own), 0);
	assert_int_equal(uiommu_ioas_copy(r.context, &copy), -EINVAL);
	assert_int_equal(uiommu_ioas_unmap(r.context, own.ioas_id, 0, UINT64_MAX, NULL), 0);
	own.iova = PAGE;
	own.length = PAGE;
	assert_int_equal(uiommu_ioas_map(r.context, &own), 0);
	own.iova += PAGE;
	own.address = r.memory + PAGE;
	assert_int_equal(uiommu_ioas_map(r.context, &own), 0);
	assert_int_equal(track(0, UIOMMU_DIRTY_TRACKING_ENABLE), 0);
	assert_int_equal(uiommu_ioas_copy(r.context, &copy), 0);
	assert_int_equal(write_page(0, 1), 0);
	assert_int_equal(dirty_page(0, 0), 1);
	/* What is there already: nothing of it is mapped. */
	assert_int_equal(unmap(0, 1), 0);
	assert_int_equal(uiommu_ioas_copy(r.context, &copy), -EEXIST);
	assert_int_equal(write_page(0, 0), -EFAULT);
	assert_int_equal(map(0, 1, RW, true), 0);
}

/* --- what a device does --- */

static void every_way_of_writing(void **state)
{
	struct uiommu_dma_atomic atomic = {
		.address = BASE + 3 * PAGE, .pasid = UIOMMU_NO_PASID, .type = UIOMMU_ATOMIC_FETCH_ADD, .length = 8, .operand = 1};
	struct uiommu_dma_place src = {.address = BASE + PAGE, .pasid = UIOMMU_NO_PASID};
	struct uiommu_dma_place dst = {.address = BASE + 4 * PAGE + 8, .pasid = UIOMMU_NO_PASID};
	uint8_t buffer[16] = {0};
	struct uiommu_dma_op ops[] = {
		{.address = BASE + 5 * PAGE, .pasid = UIOMMU_NO_PASID, .buffer = buffer, .length = 16},
		{.address = BASE + 5 * PAGE + 64, .pasid = UIOMMU_NO_PASID, .buffer = buffer, .length = 16},
	};

	traps_on();
	for (unsigned int own = 0; own < 2; own++) {
		assert_int_equal(map(0, 8, RW, own), 0);
		assert_int_equal(track(0, UIOMMU_DIRTY_TRACKING_ENABLE), 0);
		for (unsigned int i = 0; i < 3; i++) {
			assert_int_equal(uiommu_dma_read(r.devices[0], UIOMMU_NO_PASID, BASE + 2 * PAGE, buffer, 16, NULL), 0);
			assert_int_equal(uiommu_dma_readv(r.devices[0], ops, 2), 0);
			assert_int_equal(dirty_page(0, 0), PAGES);
			assert_int_equal(write_page(0, 2), 0);
			assert_int_equal(write_page(0, 2), 0);
			assert_int_equal(dirty_page(0, UIOMMU_DIRTY_BITMAP_NO_CLEAR), 2);
			assert_int_equal(dirty_page(0, 0), 2);
			assert_int_equal(uiommu_dma_atomic(r.devices[0], &atomic, NULL), 0);
			assert_int_equal(dirty_page(0, 0), 3);
			assert_int_equal(uiommu_dma_copy(r.devices[0], &dst, &src, 100, NULL), 0);
			assert_int_equal(dirty_page(0, 0), 4);
			assert_int_equal(uiommu_dma_writev(r.devices[0], ops, 2), 0);
			assert_int_equal(dirty_page(0, 0), 5);
			/* Through another HWPT. */
			assert_int_equal(write_page(1, 6), 0);
			assert_int_equal(write_page(2, 7), 0);
			assert_int_equal(dirty_page(0, 0), PAGES);
		}
		assert_int_equal(unmap(0, 8), 0);
		assert_int_equal(track(0, 0), 0);
	}
	(void)state;
}

/* Switching it on again clears; unmapping and mapping again does, too. */
static void what_begins_is_clean(void **state)
{
	(void)state;
	traps_on();
	assert_int_equal(map(0, 8, RW, false), 0);
	assert_int_equal(write_page(0, 1), 0);
	for (unsigned int i = 0; i < 2; i++) {
		assert_int_equal(track(0, UIOMMU_DIRTY_TRACKING_ENABLE), 0);
		assert_int_equal(dirty_page(0, 0), PAGES);
		assert_int_equal(write_page(0, 1), 0);
		assert_int_equal(track(0, UIOMMU_DIRTY_TRACKING_ENABLE), 0);
		assert_int_equal(dirty_page(0, 0), PAGES);
		assert_int_equal(write_page(0, 1), 0);
		assert_int_equal(unmap(0, 8), 0);
		assert_int_equal(write_page(0, 1), -EFAULT);
		assert_int_equal(dirty_page(0, 0), PAGES);
		assert_int_equal(map(0, 4, RW, i), 0);
		assert_int_equal(map(4, 4, RW, i), 0);
		assert_int_equal(dirty_page(0, 0), PAGES);
		assert_int_equal(write_page(0, 1), 0);
		assert_int_equal(dirty_page(0, 0), 1);
		assert_int_equal(write_page(0, 1), 0);
		assert_int_equal(track(0, 0), 0);
		assert_int_equal(write_page(0, 2), 0);
	}
}

static void access_at(bool write, uint64_t address, struct uiommu_dma_result *result)
{
	uint8_t buffer[2 * PAGE] = {0};
	int error;

	if (write)
		error = uiommu_dma_write(r.devices[0], UIOMMU_NO_PASID, address, buffer, 16, result);
	else
		error = uiommu_dma_read(r.devices[0], UIOMMU_NO_PASID, address, buffer, 16, result);
	assert_int_equal(error, result->fault.reason ? -EFAULT : 0);
}

/* The same as without: what is wrong is the area's. */
static void faults(void **state)
{
	struct uiommu_dma_result results[2];
	const uint64_t addresses[] = {BASE - 8, BASE, BASE + PAGE - 8, UINT64_C(1) << 57, UINT64_MAX - 7};

	(void)state;
	traps_on();
	assert_int_equal(map(0, 1, UIOMMU_MAP_READ, false), 0);
	assert_int_equal(map(1, 1, UIOMMU_MAP_WRITE, false), 0);
	for (unsigned int write = 0; write < 2; write++)
		for (unsigned int i = 0; i < sizeof(addresses) / sizeof(addresses[0]); i++) {
			assert_int_equal(track(0, UIOMMU_DIRTY_TRACKING_ENABLE), 0);
			for (unsigned int on = 2; on--;) {
				access_at(write, addresses[i], &results[on]);
				assert_int_equal(track(0, 0), 0);
			}
			assert_memory_equal(&results[0], &results[1], sizeof(results[0]));
		}
}

static void pins(void **state)
{
	struct iovec iov;
	struct uiommu_dma_pin pin = {
		.address = BASE, .length = 4 * PAGE, .pasid = UIOMMU_NO_PASID, .access = UIOMMU_READ, .iov = &iov, .iov_count = 1};
	struct uiommu_dma_result result;
	int error = 0;

	(void)state;
	assert_int_equal(map(0, 8, RW, false), 0);
	for (unsigned int on = 0; on < 2; on++) {
		pin.access = UIOMMU_READ;
		assert_int_equal(uiommu_dma_pin(r.devices[0], &pin, NULL), 0);
		assert_int_equal(iov.iov_len, 4 * PAGE);
		uiommu_dma_unpin(pin.pin);
		pin.access = UIOMMU_READ | UIOMMU_WRITE;
		assert_int_equal(uiommu_dma_pin(r.devices[0], &pin, &result), -EFAULT);
		assert_int_equal(result.fault.reason, UIOMMU_FAULT_NOT_DIRECT);
		assert_int_equal(uiommu_dma_pin(r.devices[2], &pin, NULL), 0);
		uiommu_dma_unpin(pin.pin);
		assert_int_equal(track(0, UIOMMU_DIRTY_TRACKING_ENABLE), 0);
	}
	pin.access = UIOMMU_READ;
	pin.unmap = call_inside;
	pin.opaque = &error;
	assert_int_equal(uiommu_dma_pin(r.devices[0], &pin, NULL), 0);
	assert_int_equal(unmap(0, 8), 0);
	assert_int_equal(error, -EDEADLK);
}

/* What the API gives a device with its own caches: it may write where it was told so, so that is dirty. */
static void translations(void **state)
{
	struct uiommu_attachment *attachment = uiommu_attachment_get(r.devices[0], UIOMMU_NO_PASID);
	struct uiommu_translation out;

	(void)state;
	assert_int_equal(map(0, 8, RW, false), 0);
	assert_int_equal(uiommu_translate(attachment, BASE + PAGE, UIOMMU_WRITE, &out), 0);
	assert_int_equal(out.length, 7 * PAGE);
	for (unsigned int i = 0; i < 2; i++) {
		assert_int_equal(track(0, UIOMMU_DIRTY_TRACKING_ENABLE), 0);
		for (unsigned int k = 0; k < 2; k++) {
			assert_int_equal(uiommu_translate(attachment, BASE + PAGE + 5, UIOMMU_READ, &out), 0);
			assert_int_equal(out.address, BASE + PAGE + 5);
			assert_int_equal(out.access & UIOMMU_WRITE, 0);
		}
		assert_int_equal(dirty_page(0, 0), PAGES);
		assert_int_equal(uiommu_translate(attachment, BASE + PAGE, UIOMMU_WRITE, &out), 0);
		assert_int_equal(dirty_page(0, 0), 1);
	}
	assert_int_equal(unmap(0, 8), 0);
	assert_int_equal(uiommu_translate(attachment, BASE + PAGE, UIOMMU_READ, &out), UIOMMU_FAULT_UNMAPPED);
	uiommu_attachment_put(attachment);
}

/* --- more than there may be small pages for --- */

static void terabytes(void **state)
{
	const uint64_t tera = UINT64_C(1) << 40, giga = UINT64_C(1) << 30, at = 3 * tera + 5 * giga + 77 * PAGE;
	struct uiommu_ioas_map own = {.size = sizeof(own),
				      .flags = RW | UIOMMU_MAP_FIXED,
				      .ioas_id = r.ioas,
				      .iova = 2 * tera + PAGE,
				      .length = 4 * tera};
	static uint64_t bitmap[4 * 1024 / 64 + 1], small[512 * 512 / 64];
	uint64_t value = 1;

	(void)state;
	traps_on();
	/* Nothing but the one page is there. */
	own.address = r.memory - (at - own.iova);
	assert_int_equal(uiommu_ioas_map(r.context, &own), 0);
	assert_int_equal(map(0, 1, RW, false), 0);
	assert_int_equal(track(0, UIOMMU_DIRTY_TRACKING_ENABLE), 0);
	assert_int_equal(uiommu_dma_write(r.devices[0], UIOMMU_NO_PASID, at, &value, 8, NULL), 0);
	assert_int_equal(*(uint64_t *)(void *)r.memory, 1);
	for (unsigned int i = 0; i < 2; i++) {
		memset(bitmap, 0, sizeof(bitmap));
		assert_int_equal(look(0, 0, 2 * tera, 4 * tera, giga, bitmap), 0);
		for (uint64_t k = 0; k < 4 * 1024; k++)
			assert_int_equal(bit(bitmap, k), !i && k == 1024 + 5);
	}
	/* A part of a page is told, and stays; small ones are small all the same. */
	assert_int_equal(uiommu_dma_write(r.devices[0], UIOMMU_NO_PASID, at, &value, 8, NULL), 0);
	for (unsigned int i = 0; i < 2; i++) {
		memset(small, 0, sizeof(small));
		assert_int_equal(look(0, 0, 3 * tera + 5 * giga + PAGE, giga - PAGE, PAGE, small), 0);
		assert_int_equal(small[0], UINT64_MAX);
		assert_int_equal(small[512 * 512 / 64 - 1], UINT64_MAX >> 1);
	}
	assert_int_equal(track(0, UIOMMU_DIRTY_TRACKING_ENABLE), 0);
	assert_int_equal(write_page(0, 0), 0);
	assert_int_equal(dirty_page(0, 0), 0);
	memset(bitmap, 0, sizeof(bitmap));
	assert_int_equal(look(0, 0, 2 * tera, 4 * tera, giga, bitmap), 0);
	for (uint64_t k = 0; k < sizeof(bitmap) / sizeof(bitmap[0]); k++)
		assert_int_equal(bitmap[k], 0);
	assert_int_equal(uiommu_ioas_unmap(r.context, r.ioas, 0, UINT64_MAX, NULL), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(errnos, setup, teardown),
		cmocka_unit_test_setup_teardown(errnos_of_ranges, setup, teardown),
		cmocka_unit_test_setup_teardown(the_ioas_has_to_fit, setup, teardown),
		cmocka_unit_test_setup_teardown(copies_have_to_fit, setup, teardown),
		cmocka_unit_test_setup_teardown(every_way_of_writing, setup, teardown),
		cmocka_unit_test_setup_teardown(what_begins_is_clean, setup, teardown),
		cmocka_unit_test_setup_teardown(faults, setup, teardown),
		cmocka_unit_test_setup_teardown(pins, setup, teardown),
		cmocka_unit_test_setup_teardown(translations, setup, teardown),
		cmocka_unit_test_setup_teardown(terabytes, setup, teardown),
	};

	assert_int_equal(traps_install(), 0);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
