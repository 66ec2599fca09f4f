/* SPDX-License-Identifier: BSD-3-Clause */
/* VFIO by group and container. */
#include "vfio.h"

#include <fcntl.h>

static void *hole(void)
{
	return (void *)(uintptr_t)16;
}

static int status_of(int group, uint32_t *flags)
{
	struct vfio_group_status status = {.argsz = sizeof(status), .flags = UINT32_MAX};
	int error = uiommu_ioctl(group, VFIO_GROUP_GET_STATUS, &status);

	*flags = status.flags;
	return error;
}

static void the_container_is_an_iommufd(void **state)
{
	struct vfio_rig *rig = *state;
	struct abi_ioas_alloc alloc = {.size = sizeof(alloc)};

	rig->iommufd = uiommu_vfio_open(rig->vfio, "/dev/vfio/vfio");
	assert_int_equal(uiommu_ioctl(rig->iommufd, ABI_COMMAND(ABI_IOAS_ALLOC), &alloc), 0);
}

static void status(void **state)
{
	struct vfio_rig *rig = *state;
	struct vfio_group_status request = {.argsz = sizeof(request) - 1};
	uint32_t flags;

	rig->iommufd = uiommu_vfio_open(rig->vfio, "/dev/vfio/vfio");
	rig->group = uiommu_vfio_open(rig->vfio, "/dev/vfio/0");
	assert_int_equal(uiommu_ioctl(rig->group, VFIO_GROUP_GET_STATUS, hole()), -EFAULT);
	assert_int_equal(uiommu_ioctl(rig->group, VFIO_GROUP_GET_STATUS, &request), -EINVAL);
	assert_int_equal(status_of(rig->group, &flags), 0);
	assert_int_equal(flags, VFIO_GROUP_FLAGS_VIABLE);
	assert_int_equal(uiommu_ioctl(rig->group, VFIO_GROUP_SET_CONTAINER, &rig->iommufd), 0);
	assert_int_equal(status_of(rig->group, &flags), 0);
	assert_int_equal(flags, VFIO_GROUP_FLAGS_VIABLE | VFIO_GROUP_FLAGS_CONTAINER_SET);
	assert_int_equal(uiommu_ioctl(rig->group, VFIO_GROUP_UNSET_CONTAINER, NULL), 0);
	assert_int_equal(uiommu_ioctl(rig->group, VFIO_GROUP_UNSET_CONTAINER, NULL), -EINVAL);
	assert_int_equal(status_of(rig->group, &flags), 0);
	assert_int_equal(flags, VFIO_GROUP_FLAGS_VIABLE);
	assert_int_equal(uiommu_ioctl(rig->group, VFIO_DEVICE_GET_INFO, &request), -ENOTTY);
}

static void set_container_errors(void **state)
{
	struct vfio_rig *rig = *state;
	int null = open("/dev/null", O_RDWR | O_CLOEXEC), bad = 9999;

	rig->iommufd = uiommu_vfio_open(rig->vfio, "/dev/vfio/vfio");
	rig->group = uiommu_vfio_open(rig->vfio, "/dev/vfio/0");
	assert_int_equal(uiommu_ioctl(rig->group, VFIO_GROUP_SET_CONTAINER, hole()), -EFAULT);
	assert_int_equal(uiommu_ioctl(rig->group, VFIO_GROUP_SET_CONTAINER, &bad), -EBADF);
	assert_int_equal(uiommu_ioctl(rig->group, VFIO_GROUP_SET_CONTAINER, &null), -EBADFD);
	assert_int_equal(uiommu_ioctl(rig->group, VFIO_GROUP_SET_CONTAINER, &rig->group), -EBADFD);
	assert_int_equal(uiommu_ioctl(rig->group, VFIO_GROUP_SET_CONTAINER, &rig->iommufd), 0);
	assert_int_equal(uiommu_ioctl(rig->group, VFIO_GROUP_SET_CONTAINER, &rig->iommufd), -EINVAL);
	assert_int_equal(uiommu_ioctl(rig->group, VFIO_GROUP_SET_CONTAINER, &null), -EINVAL);
	assert_int_equal(uiommu_ioctl(rig->group, VFIO_GROUP_SET_CONTAINER, &bad), -EBADF);
	close(null);
}

static void opened_once(void **state)
{
	struct vfio_rig *rig = *state;
	int other;

	rig->group = uiommu_vfio_open(rig->vfio, "/dev/vfio/0");
	assert_true(rig->group >= 0);
	assert_int_equal(uiommu_vfio_open(rig->vfio, "/dev/vfio/0"), -EBUSY);
	other = uiommu_vfio_open(rig->vfio, "/dev/vfio/1");
	assert_true(other >= 0);
	assert_int_equal(uiommu_abi_close(other), 0);
}

static void device_errors(void **state)
{
	struct vfio_rig *rig = *state;
	char *edge = mmap(NULL, 2 * VFIO_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	rig->iommufd = uiommu_vfio_open(rig->vfio, "/dev/vfio/vfio");
	rig->group = uiommu_vfio_open(rig->vfio, "/dev/vfio/0");
	assert_int_equal(uiommu_ioctl(rig->group, VFIO_GROUP_GET_DEVICE_FD, "0001:01:02.1"), -EINVAL);
	assert_int_equal(uiommu_ioctl(rig->group, VFIO_GROUP_SET_CONTAINER, &rig->iommufd), 0);
	assert_int_equal(uiommu_ioctl(rig->group, VFIO_GROUP_GET_DEVICE_FD, hole()), -EFAULT);
	assert_int_equal(uiommu_ioctl(rig->group, VFIO_GROUP_GET_DEVICE_FD, ""), -ENODEV);
	assert_int_equal(uiommu_ioctl(rig->group, VFIO_GROUP_GET_DEVICE_FD, "0001:01:03.0"), -ENODEV);
	assert_int_equal(uiommu_ioctl(rig->group, VFIO_GROUP_GET_DEVICE_FD, "0001:01:02.11"), -ENODEV);
	assert_int_equal(
		uiommu_ioctl(rig->group, VFIO_GROUP_GET_DEVICE_FD, "0001:01:02.1 vf_token=bd8d9d2b-5a5f-4f5a-a211-f591514ba1f3"),
		-EINVAL);
	/* No NUL in a page; and a name that ends where the memory does. */
	memset(edge, 'x', 2 * VFIO_PAGE);
	assert_int_equal(uiommu_ioctl(rig->group, VFIO_GROUP_GET_DEVICE_FD, edge), -EINVAL);
	munmap(edge + VFIO_PAGE, VFIO_PAGE);
	assert_int_equal(uiommu_ioctl(rig->group, VFIO_GROUP_GET_DEVICE_FD, edge + VFIO_PAGE - 12), -EFAULT);
	strcpy(edge + VFIO_PAGE - 13, "0001:01:02.1");
	rig->device = uiommu_ioctl(rig->group, VFIO_GROUP_GET_DEVICE_FD, edge + VFIO_PAGE - 13);
	assert_true(rig->device >= 0);
	munmap(edge, VFIO_PAGE);
}

/* Each open of a device is a descriptor of its own, and the device is closed with the last one. */
static void opened_twice(void **state)
{
	struct vfio_rig *rig = *state;
	int other = uiommu_ioctl(rig->group, VFIO_GROUP_GET_DEVICE_FD, "0001:01:02.1 ");
	unsigned int resets = rig->copiers[0].resets;

	assert_true(other >= 0 && other != rig->device);
	vfio_set(rig->device, 0, COPY_FROM, 8, 0x1234);
	assert_int_equal(vfio_get(other, 0, COPY_FROM, 4), 0x1234);
	assert_int_equal(uiommu_abi_close(rig->device), 0);
	rig->device = -1;
	assert_int_equal(vfio_get(other, 0, COPY_FROM, 4), 0x1234);
	assert_int_equal(rig->copiers[0].resets, resets);
	assert_int_equal(uiommu_abi_close(other), 0);
	assert_int_equal(rig->copiers[0].resets, resets + 1);
}

/* What only the cdev has. */
static void no_bind(void **state)
{
	struct vfio_rig *rig = *state;
	struct vfio_spec_attach attach = {.argsz = sizeof(attach), .pt_id = 1};

	assert_int_equal(vfio_bind_to(rig->device, rig->iommufd, NULL), -EINVAL);
	assert_int_equal(uiommu_ioctl(rig->device, VFIO_SPEC_ATTACH_PT, &attach), -ENOTTY);
	assert_int_equal(uiommu_ioctl(rig->device, VFIO_SPEC_DETACH_PT, &attach), -ENOTTY);
}

/* A device keeps its group open, and what it was given; only then the cdev can be bound. */
static void a_device_keeps_its_group(void **state)
{
	struct vfio_rig *rig = *state;
	int cdev = uiommu_vfio_open(rig->vfio, "/dev/vfio/devices/vfio0"), iommufd = uiommu_abi_open("/dev/iommu", NULL);

	assert_int_equal(uiommu_ioctl(rig->group, VFIO_GROUP_UNSET_CONTAINER, NULL), 0);
	assert_int_equal(uiommu_abi_close(rig->group), 0);
	assert_int_equal(uiommu_abi_close(rig->iommufd), 0);
	rig->group = rig->iommufd = -1;
	assert_int_equal(vfio_get(rig->device, CONFIG, PCI_VENDOR, 2), 0x1234);
	assert_int_equal(uiommu_vfio_open(rig->vfio, "/dev/vfio/0"), -EBUSY);
	assert_int_equal(vfio_bind_to(cdev, iommufd, NULL), -EBUSY);
	assert_int_equal(uiommu_abi_close(rig->device), 0);
	rig->device = -1;
	assert_int_equal(vfio_bind_to(cdev, iommufd, NULL), 0);
	assert_int_equal(uiommu_abi_close(cdev), 0);
	assert_int_equal(uiommu_abi_close(iommufd), 0);
}

/* A whole driver: the container's memory, BARs, the interrupt pin. */
static void a_driver(void **state)
{
	struct vfio_rig *rig = *state;
	struct vfio_iommu_type1_dma_map map = {
		.argsz = sizeof(map),
		.flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
		.vaddr = (uint64_t)(uintptr_t)rig->memory,
		.iova = 0x200000,
		.size = 4 * VFIO_PAGE,
	};
	int event = eventfd(0, EFD_CLOEXEC);
	uint64_t count;

	assert_int_equal(uiommu_ioctl(rig->iommufd, VFIO_GET_API_VERSION, NULL), VFIO_API_VERSION);
	assert_int_equal(uiommu_ioctl(rig->iommufd, VFIO_CHECK_EXTENSION, (void *)VFIO_TYPE1v2_IOMMU), 1);
	assert_int_equal(uiommu_ioctl(rig->iommufd, VFIO_SET_IOMMU, (void *)VFIO_TYPE1v2_IOMMU), 0);
	assert_int_equal(uiommu_ioctl(rig->iommufd, VFIO_IOMMU_MAP_DMA, &map), 0);
	vfio_master(rig->device, true);
	assert_int_equal(vfio_irqs(rig->device, PCI_IRQ_SET_FDS | PCI_IRQ_SET_TRIGGER, PCI_IRQ_INTX, 0, &event, 1), 0);
	memcpy(rig->memory, "through a container", 20);
	assert_int_equal(vfio_copy(rig->device, 0x200000, 0x203ff0, 16), 0);
	assert_memory_equal(rig->memory + 4 * VFIO_PAGE - 16, "through a contai", 16);
	vfio_set(rig->device, 0, COPY_PIN, 4, 1);
	assert_int_equal(read(event, &count, sizeof(count)), 8);
	assert_int_equal(count, 1);
	assert_int_equal(vfio_copy(rig->device, 0x200000, 0x203ff8, 16), 1 + UIOMMU_FAULT_UNMAPPED);
	close(event);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(the_container_is_an_iommufd, vfio_rig_setup, vfio_rig_teardown),
		cmocka_unit_test_setup_teardown(status, vfio_rig_setup, vfio_rig_teardown),
		cmocka_unit_test_setup_teardown(set_container_errors, vfio_rig_setup, vfio_rig_teardown),
		cmocka_unit_test_setup_teardown(opened_once, vfio_rig_setup, vfio_rig_teardown),
		cmocka_unit_test_setup_teardown(device_errors, vfio_rig_setup, vfio_rig_teardown),
		cmocka_unit_test_setup_teardown(opened_twice, vfio_group_setup, vfio_rig_teardown),
		cmocka_unit_test_setup_teardown(a_driver, vfio_group_setup, vfio_rig_teardown),
		cmocka_unit_test_setup_teardown(no_bind, vfio_group_setup, vfio_rig_teardown),
		cmocka_unit_test_setup_teardown(a_device_keeps_its_group, vfio_group_setup, vfio_rig_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
