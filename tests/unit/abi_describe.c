/* SPDX-License-Identifier: BSD-3-Clause */
/* What has a name for people, and what is answered: the same commands. */
#include "abi.h"
#include "vfio.h"

#include "abi/describe.h"

/* The struct has no size, so nothing is done. */
static bool answers(int fd, unsigned int command)
{
	uint64_t nothing[64] = {0};

	return uiommu_ioctl(fd, command, nothing) != -ENOTTY;
}

/* How many are answered; each has a name. (One that is not answered may have one as well.) */
static unsigned int all_described(int fd, unsigned int type, enum abi_space space)
{
	unsigned int count = 0;

	for (unsigned int command = type; command < type + 256; command++) {
		if (command == VFIO_SPEC_BIND_IOMMUFD && space == ABI_SPACE_DEVICE)
			assert_non_null(abi_describe(space, command)); /* it is answered once */
		if (!answers(fd, command))
			continue;
		if (!abi_describe(space, command))
			fail_msg("command 0x%x is not described", command);
		count++;
	}
	return count;
}

static void iommufd(void **state)
{
	const struct uiommu_abi_options options = {.size = sizeof(options), .flags = UIOMMU_ABI_MOCK};
	int fd = uiommu_abi_open("/dev/iommu", &options);

	(void)state;
	assert_true(fd >= 0);
	assert_true(all_described(fd, (unsigned int)ABI_COMMAND(0), ABI_SPACE_IOMMUFD) > 25);
	assert_int_equal(all_described(fd, (unsigned int)UIOMMU_ABI_IOCTL(0), ABI_SPACE_IOMMUFD), 6);
	assert_int_equal(uiommu_abi_close(fd), 0);
}

/* A device's and a group's commands are one space. */
static void group(void **state)
{
	struct vfio_rig *rig = *state;

	assert_true(all_described(rig->device, (unsigned int)ABI_COMMAND(0), ABI_SPACE_DEVICE) >= 8);
	assert_true(all_described(rig->group, (unsigned int)ABI_COMMAND(0), ABI_SPACE_DEVICE) >= 4);
}

static void cdev(void **state)
{
	struct vfio_rig *rig = *state;

	assert_true(all_described(rig->cdev, (unsigned int)ABI_COMMAND(0), ABI_SPACE_DEVICE) >= 10);
}

static void lie_apart(const struct abi_member *members, size_t count, uint32_t size)
{
	for (size_t i = 0; i < count; i++) {
		assert_true(members[i].offset + members[i].size <= size);
		for (size_t j = 0; j < i; j++)
			assert_true(members[j].offset != members[i].offset);
	}
}

/* Each of a union's elements is behind what all have. */
static void unions_lie_apart(const struct abi_description *known)
{
	for (size_t i = 0; i < known->count; i++) {
		const struct abi_member *member = &known->members[i];

		for (size_t j = 0; member->kind == ABI_UNION && j < member->array->element_count; j++) {
			const struct abi_element *element = &member->array->elements[j];

			lie_apart(element->members, element->count, known->size);
			for (size_t k = 0; k < element->count; k++)
				assert_true(element->members[k].offset >= member->offset);
		}
	}
}

/* Members lie in their structs, one behind the other, and are all there but for sizes and what is reserved. */
static void members(void **state)
{
	(void)state;
	for (unsigned int i = 0; i < 1024; i++) {
		unsigned int type = i & 256 ? UIOMMU_ABI_IOCTL(0) >> 8 : ';', command = type << 8 | (i & 255);
		const struct abi_description *known = abi_describe(i & 512 ? ABI_SPACE_DEVICE : ABI_SPACE_IOMMUFD, command);

		if (!known)
			continue;
		lie_apart(known->members, known->count, known->size);
		unions_lie_apart(known);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(iommufd),
		cmocka_unit_test_setup_teardown(group, vfio_group_setup, vfio_rig_teardown),
		cmocka_unit_test_setup_teardown(cdev, vfio_cdev_setup, vfio_rig_teardown),
		cmocka_unit_test(members),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
