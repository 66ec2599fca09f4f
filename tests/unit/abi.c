/* SPDX-License-Identifier: BSD-3-Clause */
/* The rules that all commands of an iommufd have in common, and its descriptors. */
#include "abi.h"

#include <poll.h>

static void descriptors(void **state)
{
	struct uiommu_abi_options options = {.size = sizeof(options)};
	int fd = *(int *)*state, other;

	assert_int_equal(uiommu_abi_open("/dev/null", NULL), -ENOENT);
	options.size = 4;
	assert_int_equal(uiommu_abi_open("/dev/iommu", &options), -EINVAL);
	options = (struct uiommu_abi_options){.size = sizeof(options), .flags = 2};
	assert_int_equal(uiommu_abi_open("/dev/iommu", &options), -EOPNOTSUPP);
	other = uiommu_abi_open("/dev/iommu", NULL);
	assert_true(other >= 0 && other != fd);
	assert_int_equal(uiommu_abi_close(other), 0);
	assert_int_equal(uiommu_abi_close(other), -EBADF);
	assert_int_equal(uiommu_abi_close(-1), -EBADF);
	assert_int_equal(uiommu_ioctl(other, ABI_COMMAND(ABI_DESTROY), NULL), -EBADF);
	assert_int_equal(uiommu_abi_read(fd, &other, sizeof(other), 0), -EINVAL);
	assert_int_equal(uiommu_abi_write(fd, &other, sizeof(other), 0), -EINVAL);
}

static void is_always_ready(void **state)
{
	struct pollfd wait = {.fd = *(int *)*state, .events = POLLIN | POLLOUT};

	assert_int_equal(poll(&wait, 1, 0), 1);
	assert_int_equal(wait.revents, POLLIN | POLLOUT);
}

static void unknown_commands(void **state)
{
	struct abi_destroy arguments = {.size = sizeof(arguments)};
	int fd = *(int *)*state;

	assert_int_equal(uiommu_ioctl(fd, ABI_COMMAND(0x7f), abi_hole()), -ENOTTY);
	assert_int_equal(uiommu_ioctl(fd, ABI_COMMAND(0xa1), abi_hole()), -ENOTTY);
	assert_int_equal(uiommu_ioctl(fd, 0, abi_hole()), -ENOTTY);
	/* A number that there is, but of another type or with a direction. */
	assert_int_equal(uiommu_ioctl(fd, 'x' << 8 | ABI_DESTROY, &arguments), -ENOTTY);
	assert_int_equal(uiommu_ioctl(fd, 1UL << 30 | ABI_COMMAND(ABI_DESTROY), &arguments), -ENOTTY);
	assert_int_equal(uiommu_ioctl(fd, 'x' << 8 | ABI_DESTROY, abi_hole()), -EFAULT);
	/* The test command is for those who ask for it. */
	assert_int_equal(uiommu_ioctl(fd, ABI_COMMAND(ABI_TEST), abi_hole()), -ENOTTY);
}

static void sizes(void **state)
{
	struct {
		struct abi_ioas_alloc known;
		uint8_t tail[9000];
	} arguments = {.known.size = sizeof(struct abi_ioas_alloc)};
	const unsigned int command = ABI_COMMAND(ABI_IOAS_ALLOC);
	int fd = *(int *)*state;

	assert_int_equal(uiommu_ioctl(fd, command, abi_hole()), -EFAULT);
	assert_int_equal(uiommu_ioctl(fd, command, NULL), -EFAULT);
	arguments.known.size = sizeof(struct abi_ioas_alloc) - 1;
	assert_int_equal(uiommu_ioctl(fd, command, &arguments), -EINVAL);
	arguments.known.size = 0;
	assert_int_equal(uiommu_ioctl(fd, command, &arguments), -EINVAL);
	arguments.known.size = sizeof(arguments);
	arguments.tail[sizeof(arguments.tail) - 1] = 1;
	assert_int_equal(uiommu_ioctl(fd, command, &arguments), -E2BIG);
	arguments.tail[sizeof(arguments.tail) - 1] = 0;
	assert_int_equal(uiommu_ioctl(fd, command, &arguments), 0);
	assert_int_equal(arguments.known.out_ioas_id, 1);
	arguments.known.flags = 1;
	assert_int_equal(uiommu_ioctl(fd, command, &arguments), -EOPNOTSUPP);
	arguments.tail[0] = 1;
	assert_int_equal(uiommu_ioctl(fd, command, &arguments), -E2BIG);
}

/* Two pages of which the second one cannot be accessed; and the last place in the first one for @size bytes. */
static void *before_hole(size_t size)
{
	uint8_t *pages = mmap(NULL, 2 * page_size(), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	assert_ptr_not_equal(pages, MAP_FAILED);
	munmap(pages + page_size(), page_size());
	return pages + page_size() - size;
}

static void structs_that_are_not_there(void **state)
{
	const unsigned int command = ABI_COMMAND(ABI_IOAS_ALLOC);
	struct abi_ioas_alloc *arguments = before_hole(8);
	int fd = *(int *)*state;

	arguments->size = sizeof(*arguments);
	assert_int_equal(uiommu_ioctl(fd, command, arguments), -EFAULT);
	arguments->size = 8;
	assert_int_equal(uiommu_ioctl(fd, command, arguments), -EINVAL);
	arguments = before_hole(sizeof(*arguments));
	*arguments = (struct abi_ioas_alloc){.size = sizeof(*arguments) + 1};
	assert_int_equal(uiommu_ioctl(fd, command, arguments), -EFAULT);
}

static void what_cannot_be_told_is_undone(void **state)
{
	const unsigned int command = ABI_COMMAND(ABI_IOAS_ALLOC);
	struct abi_ioas_alloc *arguments = before_hole(sizeof(*arguments));
	void *page = (void *)((uintptr_t)arguments & ~(uintptr_t)(page_size() - 1));
	int fd = *(int *)*state;

	*arguments = (struct abi_ioas_alloc){.size = sizeof(*arguments)};
	assert_int_equal(mprotect(page, page_size(), PROT_READ), 0);
	assert_int_equal(uiommu_ioctl(fd, command, arguments), -EFAULT);
	assert_int_equal(abi_destroy_object(fd, 1), -ENOENT);
	assert_int_equal(mprotect(page, page_size(), PROT_READ | PROT_WRITE), 0);
	assert_int_equal(uiommu_ioctl(fd, command, arguments), 0);
	assert_int_equal(arguments->out_ioas_id, 1);
	munmap(page, page_size());
}

static void destroy(void **state)
{
	int fd = *(int *)*state;
	uint32_t first = abi_ioas(fd), second = abi_ioas(fd);

	assert_int_equal(first, 1);
	assert_int_equal(second, 2);
	assert_int_equal(abi_destroy_object(fd, 0), -ENOENT);
	assert_int_equal(abi_destroy_object(fd, 3), -ENOENT);
	assert_int_equal(abi_destroy_object(fd, UINT32_MAX), -ENOENT);
	assert_int_equal(abi_destroy_object(fd, first), 0);
	assert_int_equal(abi_destroy_object(fd, first), -ENOENT);
	assert_int_equal(abi_ioas(fd), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(descriptors, abi_setup, abi_teardown),
		cmocka_unit_test_setup_teardown(is_always_ready, abi_setup, abi_teardown),
		cmocka_unit_test_setup_teardown(unknown_commands, abi_setup, abi_teardown),
		cmocka_unit_test_setup_teardown(sizes, abi_setup, abi_teardown),
		cmocka_unit_test_setup_teardown(structs_that_are_not_there, abi_setup, abi_teardown),
		cmocka_unit_test_setup_teardown(what_cannot_be_told_is_undone, abi_setup, abi_teardown),
		cmocka_unit_test_setup_teardown(destroy, abi_setup, abi_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
