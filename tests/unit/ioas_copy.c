/* SPDX-License-Identifier: BSD-3-Clause */
/* Copies of what is mapped. */
#include "ioas.h"

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

int main(void)
{
	const struct CMUnitTest tests[] = {
		WORLD(copies_share_the_memory),
		WORLD(copies_in_one_ioas_and_anywhere),
		WORLD(bad_copies),
		WORLD(copies_go_by_what_the_memory_permits),
		WORLD(failed_copies_leave_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
