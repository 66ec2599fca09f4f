/* SPDX-License-Identifier: BSD-3-Clause */
#include "test.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <uiommu/types.h>
#include <unistd.h>

#include "memory/region.h"
#include "util/util.h"

static int make_memfd(uint64_t size, const char *text, uint64_t at)
{
	int fd = memfd_create("region", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)size), 0);
	assert_int_equal(pwrite(fd, text, strlen(text), (off_t)at), (ssize_t)strlen(text));
	return fd;
}

static void maps_the_bytes_asked_for(void **state)
{
	uint64_t page = page_size(), at = 3 * page + 17;
	int fd = make_memfd(8 * page, "here it is", at);
	struct region *region;
	char back[4];

	(void)state;
	assert_int_equal(region_file(fd, at, 10, UIOMMU_READ | UIOMMU_WRITE, false, &region), 0);
	assert_memory_equal(region_host(region), "here it is", 10);
	assert_int_equal(region_length(region), 10);
	assert_int_equal(region_access(region), UIOMMU_READ | UIOMMU_WRITE);
	assert_true(region_resident(region));
	memcpy(region_host(region), "HERE", 4);
	assert_int_equal(pread(fd, back, 4, (off_t)at), 4);
	assert_memory_equal(back, "HERE", 4);
	close(fd); /* the mapping does not need it */
	assert_memory_equal(region_host(region), "HERE it is", 10);
	region_put(region);
}

static void ordinary_files_too(void **state)
{
	char name[] = "/var/tmp/uiommu-region-XXXXXX";
	int fd = mkstemp(name);
	struct region *region;

	(void)state;
	assert_true(fd >= 0);
	unlink(name);
	assert_int_equal(write(fd, "abc", 3), 3);
	assert_int_equal(region_file(fd, 0, 3, UIOMMU_READ, false, &region), 0);
	assert_memory_equal(region_host(region), "abc", 3);
	region_put(region);
	assert_int_equal(region_file(fd, 0, 4, UIOMMU_READ, false, &region), -EINVAL);
	close(fd);
}

static void references_keep_it(void **state)
{
	int fd = make_memfd(page_size(), "x", 0);
	struct region *region;

	(void)state;
	assert_int_equal(region_file(fd, 0, page_size(), UIOMMU_READ, false, &region), 0);
	close(fd);
	assert_false(region_shared(region));
	assert_ptr_equal(region_get(region), region);
	assert_true(region_shared(region));
	region_put(region);
	assert_false(region_shared(region));
	assert_int_equal(region_host(region)[0], 'x');
	region_put(region);
	assert_null(region_get(NULL));
	region_put(NULL);
}

static void bad_requests(void **state)
{
	uint64_t page = page_size();
	int fd = make_memfd(2 * page, "x", 0), read_only, pipes[2];
	char path[64];
	struct region *region;

	(void)state;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	read_only = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(read_only >= 0);
	assert_int_equal(pipe(pipes), 0);
	assert_int_equal(region_file(-1, 0, page, UIOMMU_READ, false, &region), -EBADF);
	assert_int_equal(region_file(pipes[0], 0, page, UIOMMU_READ, false, &region), -EINVAL);
	assert_int_equal(region_file(fd, 0, 0, UIOMMU_READ, false, &region), -EINVAL);
	assert_int_equal(region_file(fd, page, page + 1, UIOMMU_READ, false, &region), -EINVAL);
	assert_int_equal(region_file(fd, UINT64_MAX, 2, UIOMMU_READ, false, &region), -EOVERFLOW);
	assert_int_equal(region_file(fd, UINT64_MAX, 1, UIOMMU_READ, false, &region), -EINVAL);
	assert_int_equal(region_file(fd, INT64_MAX, 1, UIOMMU_READ, false, &region), -EINVAL);
	assert_int_equal(region_file(read_only, 0, page, UIOMMU_WRITE, false, &region), -EACCES);
	assert_int_equal(region_file(fd, 0, page, UIOMMU_READ, true, &region), -EINVAL);
	assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK), 0);
	assert_int_equal(region_file(fd, 0, page, UIOMMU_READ, true, &region), 0);
	region_put(region);
	assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), 0);
	assert_int_equal(region_file(fd, 0, page, UIOMMU_WRITE, true, &region), -EACCES);
	close(pipes[0]);
	close(pipes[1]);
	close(read_only);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(maps_the_bytes_asked_for),
		cmocka_unit_test(ordinary_files_too),
		cmocka_unit_test(references_keep_it),
		cmocka_unit_test(bad_requests),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
