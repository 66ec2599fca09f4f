/* SPDX-License-Identifier: BSD-3-Clause */
/* BARs that whoever has a device's descriptor maps from it, at VFIO's offsets, without anybody's help. */
#include "vfio.h"

#include <fcntl.h>

static int native_setup(void **state)
{
	struct vfio_rig *rig;

	vfio_rig_setup(state);
	rig = *state;
	vfio_map_natively(rig->vfio);
	rig->iommufd = uiommu_abi_open("/dev/iommu", NULL);
	return 0;
}

static volatile uint32_t *map(int fd, unsigned int index)
{
	void *at = mmap(NULL, VFIO_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)region(index));

	assert_ptr_not_equal(at, MAP_FAILED);
	return at;
}

static void unmap(volatile uint32_t *at)
{
	munmap((void *)(uintptr_t)at, VFIO_PAGE);
}

static int open_cdev(const struct vfio_rig *rig)
{
	return uiommu_vfio_open(rig->vfio, "/dev/vfio/devices/vfio0");
}

/* What was in a BAR's memory stays there, and what is written on one side is seen on the other. */
static void memory_is_the_descriptor_s(void **state)
{
	struct vfio_rig *rig = *state;
	volatile uint32_t *own = uiommu_pci_memory(rig->copiers[0].pci, 2), *seen;
	char byte = 0;

	own[7] = 0x1234;
	rig->cdev = open_cdev(rig);
	assert_int_equal(vfio_bind_to(rig->cdev, rig->iommufd, NULL), 0);
	assert_ptr_equal(uiommu_pci_memory(rig->copiers[0].pci, 2), own);
	seen = map(rig->cdev, 2);
	assert_int_equal(seen[7], 0x1234);
	seen[8] = 5;
	assert_int_equal(own[8], 5);
	vfio_set(rig->cdev, 2, 36, 4, 9);
	assert_int_equal(seen[9], 9);
	/* Nobody takes it away under the device. */
	assert_int_equal(ftruncate(rig->cdev, 0), -1);
	assert_int_equal(errno, EPERM);
	assert_int_equal(pwrite(rig->cdev, &byte, 1, (off_t)region(5)), -1);
	unmap(seen);
}

/* The one who has it next has memory of his own; a mapping of before is not the device's any more. */
static void the_next_one_has_his_own(void **state)
{
	struct vfio_rig *rig = *state;
	volatile uint32_t *own = uiommu_pci_memory(rig->copiers[0].pci, 2), *old, *seen;
	int fd = open_cdev(rig);

	assert_int_equal(vfio_bind_to(fd, rig->iommufd, NULL), 0);
	old = map(fd, 2);
	old[3] = 3;
	assert_int_equal(uiommu_abi_close(fd), 0);
	assert_int_equal(own[3], 3);
	rig->cdev = open_cdev(rig);
	assert_int_equal(vfio_bind_to(rig->cdev, rig->iommufd, NULL), 0);
	seen = map(rig->cdev, 2);
	assert_int_equal(seen[3], 3);
	old[3] = 4;
	assert_int_equal(seen[3], 3);
	seen[3] = 5;
	assert_int_equal(own[3], 5);
	unmap(old);
	unmap(seen);
}

/* A descriptor that its owner has spoilt is no device's; another one is. */
static void a_spoilt_descriptor(void **state)
{
	struct vfio_rig *rig = *state;
	const int seals[] = {F_SEAL_GROW, F_SEAL_WRITE};

	for (size_t i = 0; i < ARRAY_SIZE(seals); i++) {
		int fd = open_cdev(rig);

		assert_int_equal(fcntl(fd, F_ADD_SEALS, seals[i]), 0);
		assert_int_equal(vfio_bind_to(fd, rig->iommufd, NULL), -ENOMEM);
		assert_int_equal(uiommu_abi_close(fd), 0);
	}
	rig->cdev = open_cdev(rig);
	assert_int_equal(vfio_bind_to(rig->cdev, rig->iommufd, NULL), 0);
}

/* Several descriptors of one device are of one file. */
static void all_of_a_group_s(void **state)
{
	struct vfio_rig *rig = *state;
	volatile uint32_t *own = uiommu_pci_memory(rig->copiers[0].pci, 4), *seen, *also;
	int second;

	rig->group = uiommu_vfio_open(rig->vfio, "/dev/vfio/0");
	assert_int_equal(uiommu_ioctl(rig->group, VFIO_GROUP_SET_CONTAINER, &rig->iommufd), 0);
	rig->device = uiommu_ioctl(rig->group, VFIO_GROUP_GET_DEVICE_FD, "0001:01:02.1");
	second = uiommu_ioctl(rig->group, VFIO_GROUP_GET_DEVICE_FD, "0001:01:02.1");
	assert_true(rig->device >= 0 && second >= 0 && rig->device != second);
	seen = map(rig->device, 4);
	also = map(second, 4);
	seen[0] = 7;
	assert_int_equal(own[0], 7);
	assert_int_equal(also[0], 7);
	assert_int_equal(uiommu_abi_close(rig->device), 0);
	rig->device = second;
	also[0] = 8;
	assert_int_equal(own[0], 8);
	unmap(seen);
	unmap(also);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(memory_is_the_descriptor_s, native_setup, vfio_rig_teardown),
		cmocka_unit_test_setup_teardown(the_next_one_has_his_own, native_setup, vfio_rig_teardown),
		cmocka_unit_test_setup_teardown(a_spoilt_descriptor, native_setup, vfio_rig_teardown),
		cmocka_unit_test_setup_teardown(all_of_a_group_s, native_setup, vfio_rig_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
