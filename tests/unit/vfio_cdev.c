/* SPDX-License-Identifier: BSD-3-Clause */
/* VFIO's cdev: bind, attach, detach, and what each refuses; and a small driver that copies by DMA. */
#include "vfio.h"

#include <fcntl.h>

static void *hole(void)
{
	return (void *)(uintptr_t)16;
}

/* An IOAS with the rig's memory at @iova. */
static uint32_t make_ioas(const struct vfio_rig *rig, int iommufd, uint64_t iova, size_t offset)
{
	struct abi_ioas_alloc alloc = {.size = sizeof(alloc)};
	struct abi_ioas_map map = {
		.size = sizeof(map),
		.flags = UIOMMU_MAP_FIXED | UIOMMU_MAP_READ | UIOMMU_MAP_WRITE,
		.user_va = (uint64_t)(uintptr_t)(rig->memory + offset),
		.length = 4 * VFIO_PAGE,
		.iova = iova,
	};

	assert_int_equal(uiommu_ioctl(iommufd, ABI_COMMAND(ABI_IOAS_ALLOC), &alloc), 0);
	map.ioas_id = alloc.out_ioas_id;
	assert_int_equal(uiommu_ioctl(iommufd, ABI_COMMAND(ABI_IOAS_MAP), &map), 0);
	return alloc.out_ioas_id;
}

/* For PASIDs. */
static uint32_t make_hwpt(int iommufd, uint32_t device, uint32_t ioas)
{
	struct abi_hwpt_alloc alloc = {.size = sizeof(alloc), .flags = ABI_HWPT_PASID, .dev_id = device, .pt_id = ioas};

	assert_int_equal(uiommu_ioctl(iommufd, ABI_COMMAND(ABI_HWPT_ALLOC), &alloc), 0);
	return alloc.out_hwpt_id;
}

static int attach(int cdev, uint32_t pasid, uint32_t pt_id, uint32_t *out)
{
	struct vfio_spec_attach arguments = {.argsz = sizeof(arguments), .pt_id = pt_id, .pasid = pasid};
	int error;

	arguments.flags = pasid == UIOMMU_NO_PASID ? 0 : VFIO_SPEC_WITH_PASID;
	error = uiommu_ioctl(cdev, VFIO_SPEC_ATTACH_PT, &arguments);
	if (out)
		*out = arguments.pt_id;
	return error;
}

static int detach(int cdev, uint32_t pasid)
{
	struct vfio_spec_detach arguments = {.argsz = sizeof(arguments), .pasid = pasid};

	arguments.flags = pasid == UIOMMU_NO_PASID ? 0 : VFIO_SPEC_WITH_PASID;
	return uiommu_ioctl(cdev, VFIO_SPEC_DETACH_PT, &arguments);
}

static void names(void **state)
{
	static const char *const not_there[] = {"/dev/vfio",
						"/dev/vfio/",
						"/dev/vfio/2",
						"/dev/vfio/00",
						"/dev/vfio/-1",
						"/dev/vfio/0x0",
						"/dev/vfio/devices/vfio",
						"/dev/vfio/devices/vfio2",
						"/dev/vfio/devices/vfio0 ",
						"/dev/iommu",
						"/dev/vfio/99999999999999",
						"/dev/vfio/devices"};
	static const char *const there[] = {"/dev/vfio/vfio", "/dev/vfio/0", "/dev/vfio/1", "/dev/vfio/devices/vfio0",
					    "/dev/vfio/devices/vfio1"};
	struct vfio_rig *rig = *state;

	for (size_t i = 0; i < ARRAY_SIZE(not_there); i++)
		assert_int_equal(uiommu_vfio_open(rig->vfio, not_there[i]), -ENOENT);
	for (size_t i = 0; i < ARRAY_SIZE(there); i++) {
		int fd = uiommu_vfio_open(rig->vfio, there[i]);

		assert_true(fd >= 0);
		assert_int_equal(uiommu_abi_close(fd), 0);
	}
}

static void nothing_before_bind(void **state)
{
	struct vfio_rig *rig = *state;
	struct vfio_device_info info = {.argsz = sizeof(info)};
	uint8_t byte;

	rig->cdev = uiommu_vfio_open(rig->vfio, "/dev/vfio/devices/vfio0");
	assert_int_equal(uiommu_ioctl(rig->cdev, VFIO_DEVICE_GET_INFO, &info), -EINVAL);
	assert_int_equal(uiommu_ioctl(rig->cdev, VFIO_DEVICE_RESET, NULL), -EINVAL);
	assert_int_equal(uiommu_ioctl(rig->cdev, 12345, hole()), -EINVAL);
	assert_int_equal(attach(rig->cdev, UIOMMU_NO_PASID, 1, NULL), -EINVAL);
	assert_int_equal(detach(rig->cdev, UIOMMU_NO_PASID), -EINVAL);
	assert_int_equal(uiommu_abi_read(rig->cdev, &byte, 1, region(CONFIG)), -EINVAL);
	assert_int_equal(uiommu_abi_write(rig->cdev, &byte, 1, region(CONFIG)), -EINVAL);
	errno = 0;
	assert_ptr_equal(uiommu_abi_mmap(rig->cdev, region(2), VFIO_PAGE, PROT_READ, MAP_SHARED), MAP_FAILED);
	assert_int_equal(errno, EINVAL);
}

static int try_bind(const struct vfio_rig *rig, uint32_t argsz, uint32_t flags, int iommufd, const void *token)
{
	struct vfio_spec_bind bind = {
		.argsz = argsz, .flags = flags, .iommufd = iommufd, .token_uuid_ptr = (uint64_t)(uintptr_t)token};

	return uiommu_ioctl(rig->cdev, VFIO_SPEC_BIND_IOMMUFD, &bind);
}

static void bind_errors(void **state)
{
	struct vfio_rig *rig = *state;
	struct {
		struct vfio_spec_bind known;
		uint8_t tail[300];
	} bind;
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	rig->iommufd = uiommu_abi_open("/dev/iommu", NULL);
	rig->cdev = uiommu_vfio_open(rig->vfio, "/dev/vfio/devices/vfio0");
	assert_int_equal(uiommu_ioctl(rig->cdev, VFIO_SPEC_BIND_IOMMUFD, hole()), -EFAULT);
	assert_int_equal(try_bind(rig, 15, 0, rig->iommufd, NULL), -EINVAL);
	assert_int_equal(try_bind(rig, 24, 2, rig->iommufd, NULL), -EINVAL);
	assert_int_equal(try_bind(rig, 24, 0, -1, NULL), -EINVAL);
	assert_int_equal(try_bind(rig, 24, 0, 9999, NULL), -EBADF);
	assert_int_equal(try_bind(rig, 24, 0, null, NULL), -EBADFD);
	assert_int_equal(try_bind(rig, 24, 0, rig->cdev, NULL), -EBADFD);
	assert_int_equal(try_bind(rig, 24, VFIO_SPEC_BIND_TOKEN, rig->iommufd, hole()), -EFAULT);
	assert_int_equal(try_bind(rig, 24, VFIO_SPEC_BIND_TOKEN, rig->iommufd, &bind), -EINVAL);
	memset(&bind, 0, sizeof(bind));
	bind.known = (struct vfio_spec_bind){.argsz = sizeof(bind), .iommufd = rig->iommufd};
	bind.tail[299] = 1;
	assert_int_equal(uiommu_ioctl(rig->cdev, VFIO_SPEC_BIND_IOMMUFD, &bind), -E2BIG);
	bind.tail[299] = 0;
	assert_int_equal(uiommu_ioctl(rig->cdev, VFIO_SPEC_BIND_IOMMUFD, &bind), 0);
	assert_int_equal(bind.known.out_devid, 1);
	assert_int_equal(try_bind(rig, 16, 0, rig->iommufd, NULL), -EINVAL); /* it is bound */
	close(null);
}

static void one_bind_at_a_time(void **state)
{
	struct vfio_rig *rig = *state;
	int other = uiommu_vfio_open(rig->vfio, "/dev/vfio/devices/vfio0"), second;
	uint32_t id;

	assert_int_equal(vfio_bind_to(other, rig->iommufd, NULL), -EINVAL);
	assert_int_equal(uiommu_vfio_open(rig->vfio, "/dev/vfio/0"), -EBUSY);
	second = uiommu_vfio_open(rig->vfio, "/dev/vfio/devices/vfio1");
	assert_int_equal(vfio_bind_to(second, rig->iommufd, &id), 0);
	assert_int_equal(id, 2);
	assert_int_equal(uiommu_ioctl(rig->iommufd, ABI_COMMAND(ABI_DESTROY), &(struct abi_destroy){8, id}), -EBUSY);
	assert_int_equal(uiommu_abi_close(second), 0);
	assert_int_equal(uiommu_ioctl(rig->iommufd, ABI_COMMAND(ABI_DESTROY), &(struct abi_destroy){8, id}), -ENOENT);
	assert_int_equal(uiommu_abi_close(rig->cdev), 0);
	rig->cdev = other;
	assert_int_equal(vfio_bind_to(other, rig->iommufd, &id), 0);
	assert_int_equal(id, 1);
}

static void not_while_the_group_is_open(void **state)
{
	struct vfio_rig *rig = *state;

	rig->iommufd = uiommu_abi_open("/dev/iommu", NULL);
	rig->cdev = uiommu_vfio_open(rig->vfio, "/dev/vfio/devices/vfio0");
	rig->group = uiommu_vfio_open(rig->vfio, "/dev/vfio/0");
	assert_true(rig->group >= 0);
	assert_int_equal(vfio_bind_to(rig->cdev, rig->iommufd, NULL), -EBUSY);
	assert_int_equal(uiommu_abi_close(rig->group), 0);
	rig->group = -1;
	assert_int_equal(vfio_bind_to(rig->cdev, rig->iommufd, NULL), 0);
}

static void the_reply_cannot_be_written(void **state)
{
	struct vfio_rig *rig = *state;
	struct vfio_spec_bind *bind = mmap(NULL, VFIO_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	rig->iommufd = uiommu_abi_open("/dev/iommu", NULL);
	rig->cdev = uiommu_vfio_open(rig->vfio, "/dev/vfio/devices/vfio0");
	*bind = (struct vfio_spec_bind){.argsz = sizeof(*bind), .iommufd = rig->iommufd};
	assert_int_equal(mprotect(bind, VFIO_PAGE, PROT_READ), 0);
	assert_int_equal(uiommu_ioctl(rig->cdev, VFIO_SPEC_BIND_IOMMUFD, bind), -EFAULT);
	/* It is not bound. */
	assert_int_equal(uiommu_ioctl(rig->cdev, VFIO_DEVICE_RESET, NULL), -EINVAL);
	assert_int_equal(vfio_bind_to(rig->cdev, rig->iommufd, NULL), 0);
	munmap(bind, VFIO_PAGE);
}

static void attach_errors(void **state)
{
	struct vfio_rig *rig = *state;
	uint32_t ioas = make_ioas(rig, rig->iommufd, 0x100000, 0);
	struct vfio_spec_attach arguments = {.argsz = 11, .pt_id = ioas};

	assert_int_equal(uiommu_ioctl(rig->cdev, VFIO_SPEC_ATTACH_PT, hole()), -EFAULT);
	assert_int_equal(uiommu_ioctl(rig->cdev, VFIO_SPEC_ATTACH_PT, &arguments), -EINVAL);
	arguments = (struct vfio_spec_attach){.argsz = 12, .flags = 2, .pt_id = ioas};
	assert_int_equal(uiommu_ioctl(rig->cdev, VFIO_SPEC_ATTACH_PT, &arguments), -EINVAL);
	arguments = (struct vfio_spec_attach){.argsz = 12, .flags = 1, .pt_id = ioas, .pasid = 5};
	assert_int_equal(uiommu_ioctl(rig->cdev, VFIO_SPEC_ATTACH_PT, &arguments), -EINVAL);
	assert_int_equal(attach(rig->cdev, UIOMMU_NO_PASID, 0, NULL), -ENOENT);
	assert_int_equal(attach(rig->cdev, UIOMMU_NO_PASID, 77, NULL), -ENOENT);
	assert_int_equal(attach(rig->cdev, UIOMMU_NO_PASID, 1, NULL), -EINVAL); /* the device */
	assert_int_equal(attach(rig->cdev, 0, ioas, NULL), -EINVAL);
	assert_int_equal(attach(rig->cdev, 1 << 16, ioas, NULL), -EINVAL);
	assert_int_equal(attach(rig->cdev, 1 << 20, ioas, NULL), -EINVAL);
	/* What was never attached can be detached. */
	assert_int_equal(detach(rig->cdev, UIOMMU_NO_PASID), 0);
	assert_int_equal(detach(rig->cdev, 9), 0);
	assert_int_equal(uiommu_ioctl(rig->cdev, VFIO_SPEC_DETACH_PT, hole()), -EFAULT);
	arguments = (struct vfio_spec_attach){.argsz = 7};
	assert_int_equal(uiommu_ioctl(rig->cdev, VFIO_SPEC_DETACH_PT, &arguments), -EINVAL);
	arguments = (struct vfio_spec_attach){.argsz = 11, .flags = 1};
	assert_int_equal(uiommu_ioctl(rig->cdev, VFIO_SPEC_DETACH_PT, &arguments), -EINVAL);
	arguments = (struct vfio_spec_attach){.argsz = 12, .flags = 4};
	assert_int_equal(uiommu_ioctl(rig->cdev, VFIO_SPEC_DETACH_PT, &arguments), -EINVAL);
}

static void attach_and_replace(void **state)
{
	struct vfio_rig *rig = *state;
	uint32_t first = make_ioas(rig, rig->iommufd, 0x100000, 0);
	uint32_t second = make_ioas(rig, rig->iommufd, 0x100000, 4 * VFIO_PAGE), hwpt, again;

	memset(rig->memory, 0x11, VFIO_PAGE);
	memset(rig->memory + 4 * VFIO_PAGE, 0x22, VFIO_PAGE);
	assert_int_equal(attach(rig->cdev, UIOMMU_NO_PASID, first, &hwpt), 0);
	assert_true(hwpt != first && hwpt != second && hwpt != 1);
	assert_int_equal(uiommu_ioctl(rig->iommufd, ABI_COMMAND(ABI_DESTROY), &(struct abi_destroy){8, first}), -EBUSY);
	assert_int_equal(attach(rig->cdev, UIOMMU_NO_PASID, hwpt, &again), 0);
	assert_int_equal(again, hwpt);
	/* Nothing gets through before the driver says so, and what is attached stays. */
	assert_int_equal(vfio_copy(rig->cdev, 0x100000, 0x101000, 64), 1 + UIOMMU_FAULT_DRAINING);
	vfio_master(rig->cdev, true);
	assert_int_equal(vfio_copy(rig->cdev, 0x100000, 0x101000, 64), 0);
	assert_int_equal(rig->memory[VFIO_PAGE], 0x11);
	assert_int_equal(rig->memory[VFIO_PAGE + 63], 0x11);
	assert_int_equal(rig->memory[VFIO_PAGE + 64], 0);
	assert_int_equal(attach(rig->cdev, UIOMMU_NO_PASID, second, NULL), 0);
	assert_int_equal(vfio_copy(rig->cdev, 0x100000, 0x101000, 64), 0);
	assert_int_equal(rig->memory[5 * VFIO_PAGE], 0x22);
	assert_int_equal(uiommu_ioctl(rig->iommufd, ABI_COMMAND(ABI_DESTROY), &(struct abi_destroy){8, first}), 0);
	vfio_master(rig->cdev, false);
	assert_int_equal(vfio_copy(rig->cdev, 0x100000, 0x101000, 64), 1 + UIOMMU_FAULT_DRAINING);
	vfio_master(rig->cdev, true);
	assert_int_equal(detach(rig->cdev, UIOMMU_NO_PASID), 0);
	assert_int_equal(vfio_copy(rig->cdev, 0x100000, 0x101000, 64), 1 + UIOMMU_FAULT_NOT_ATTACHED);
	assert_int_equal(vfio_copy(rig->cdev, 0x900000, 0x101000, 64), 1 + UIOMMU_FAULT_NOT_ATTACHED);
}

static void pasids(void **state)
{
	struct vfio_rig *rig = *state;
	uint32_t plain = make_ioas(rig, rig->iommufd, 0x100000, 0);
	uint32_t first = make_hwpt(rig->iommufd, 1, plain), out;
	uint32_t second = make_hwpt(rig->iommufd, 1, make_ioas(rig, rig->iommufd, 0x100000, 4 * VFIO_PAGE));

	memset(rig->memory, 0x11, VFIO_PAGE);
	memset(rig->memory + 4 * VFIO_PAGE, 0x22, VFIO_PAGE);
	vfio_master(rig->cdev, true);
	/* Numbers that are no PASIDs: 0, those beyond 20 bits, and what stands for none elsewhere. */
	for (unsigned int i = 0; i < 4; i++) {
		const uint32_t numbers[] = {0, 1u << 20, UINT32_MAX - 1, UINT32_MAX};
		struct vfio_spec_attach odd = {
			.argsz = sizeof(odd), .flags = VFIO_SPEC_WITH_PASID, .pt_id = 77, .pasid = numbers[i]};
		struct vfio_spec_detach back = {.argsz = sizeof(back), .flags = VFIO_SPEC_WITH_PASID, .pasid = numbers[i]};

		assert_int_equal(uiommu_ioctl(rig->cdev, VFIO_SPEC_ATTACH_PT, &odd), i < 2 ? -ENOENT : -ENOSPC);
		odd.pt_id = first;
		assert_int_equal(uiommu_ioctl(rig->cdev, VFIO_SPEC_ATTACH_PT, &odd), i < 2 ? -EINVAL : -ENOSPC);
		assert_int_equal(uiommu_ioctl(rig->cdev, VFIO_SPEC_DETACH_PT, &back), 0);
	}
	/* Whatever is attached, without a PASID as well, has to be for PASIDs. */
	assert_int_equal(attach(rig->cdev, 5, plain, NULL), -EINVAL);
	assert_int_equal(attach(rig->cdev, UIOMMU_NO_PASID, plain, NULL), 0);
	assert_int_equal(attach(rig->cdev, 5, second, NULL), -EINVAL);
	assert_int_equal(attach(rig->cdev, UIOMMU_NO_PASID, first, NULL), 0);
	assert_int_equal(attach(rig->cdev, 5, second, &out), 0);
	assert_int_equal(out, second);
	assert_int_equal(attach(rig->cdev, UIOMMU_NO_PASID, plain, NULL), -EINVAL);
	vfio_set(rig->cdev, 0, COPY_PASID, 4, 5);
	assert_int_equal(vfio_copy(rig->cdev, 0x100000, 0x102000, 16), 0);
	assert_int_equal(rig->memory[6 * VFIO_PAGE], 0x22);
	assert_int_equal(rig->memory[2 * VFIO_PAGE], 0);
	assert_int_equal(attach(rig->cdev, 5, first, NULL), 0);
	assert_int_equal(vfio_copy(rig->cdev, 0x100000, 0x102000, 16), 0);
	assert_int_equal(rig->memory[2 * VFIO_PAGE], 0x11);
	assert_int_equal(detach(rig->cdev, 5), 0);
	assert_int_equal(vfio_copy(rig->cdev, 0x100000, 0x102000, 16), 1 + UIOMMU_FAULT_NOT_ATTACHED);
}

/* An IOAS, whose own page table is none for PASIDs, and with memory that nothing is at: what is found first. */
static void pasids_without_memory(void **state)
{
	struct vfio_rig *rig = *state;
	uint32_t lost = make_ioas(rig, rig->iommufd, 0x100000, 0);
	uint32_t hwpt = make_hwpt(rig->iommufd, 1, make_ioas(rig, rig->iommufd, 0x100000, 0));
	struct abi_ioas_map map = {
		.size = sizeof(map), .flags = 7, .ioas_id = lost, .user_va = VFIO_PAGE, .length = VFIO_PAGE, .iova = 0x200000};

	assert_int_equal(uiommu_ioctl(rig->iommufd, ABI_COMMAND(ABI_IOAS_MAP), &map), 0);
	assert_int_equal(attach(rig->cdev, 5, lost, NULL), -EINVAL);
	assert_int_equal(attach(rig->cdev, UIOMMU_NO_PASID, lost, NULL), -EFAULT);
	assert_int_equal(attach(rig->cdev, 5, hwpt, NULL), 0);
	assert_int_equal(attach(rig->cdev, UIOMMU_NO_PASID, lost, NULL), -EINVAL);
	assert_int_equal(attach(rig->cdev, 5, lost, NULL), -EFAULT);
}

/* The iommufd stays as long as a device is bound to it; the last close ends both, and detaches. */
static void ends_in_any_order(void **state)
{
	struct vfio_rig *rig = *state;
	uint32_t ioas = make_hwpt(rig->iommufd, 1, make_ioas(rig, rig->iommufd, 0x100000, 0));
	unsigned int resets = rig->copiers[0].resets;

	assert_int_equal(attach(rig->cdev, UIOMMU_NO_PASID, ioas, NULL), 0);
	assert_int_equal(attach(rig->cdev, 1, ioas, NULL), 0);
	vfio_master(rig->cdev, true);
	assert_int_equal(uiommu_abi_close(rig->iommufd), 0);
	rig->iommufd = -1;
	memset(rig->memory, 0x33, 16);
	assert_int_equal(vfio_copy(rig->cdev, 0x100000, 0x101000, 16), 0);
	assert_int_equal(rig->memory[VFIO_PAGE + 15], 0x33);
	assert_int_equal(uiommu_abi_close(rig->cdev), 0);
	rig->cdev = -1;
	assert_int_equal(rig->copiers[0].resets, resets + 1);
	assert_int_equal(uiommu_pci_state(rig->copiers[0].pci), 0);
}

/* A whole driver: BARs, DMA, MSI-X. */
static void a_driver(void **state)
{
	struct vfio_rig *rig = *state;
	uint32_t ioas = make_ioas(rig, rig->iommufd, 0x100000, 0);
	int event = eventfd(0, EFD_CLOEXEC);
	uint64_t count;

	assert_int_equal(attach(rig->cdev, UIOMMU_NO_PASID, ioas, NULL), 0);
	vfio_master(rig->cdev, true);
	assert_int_equal(vfio_irqs(rig->cdev, PCI_IRQ_SET_FDS | PCI_IRQ_SET_TRIGGER, PCI_IRQ_MSIX, 3, &event, 1), 0);
	for (unsigned int i = 0; i < 100; i++) {
		rig->memory[0] = (uint8_t)i;
		assert_int_equal(vfio_copy(rig->cdev, 0x100000, 0x103000, 1 + i), 0);
		assert_int_equal(read(event, &count, sizeof(count)), 8);
		assert_int_equal(count, 1);
		assert_int_equal(rig->memory[3 * VFIO_PAGE], i);
	}
	close(event);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(names, vfio_rig_setup, vfio_rig_teardown),
		cmocka_unit_test_setup_teardown(nothing_before_bind, vfio_rig_setup, vfio_rig_teardown),
		cmocka_unit_test_setup_teardown(bind_errors, vfio_rig_setup, vfio_rig_teardown),
		cmocka_unit_test_setup_teardown(one_bind_at_a_time, vfio_cdev_setup, vfio_rig_teardown),
		cmocka_unit_test_setup_teardown(not_while_the_group_is_open, vfio_rig_setup, vfio_rig_teardown),
		cmocka_unit_test_setup_teardown(the_reply_cannot_be_written, vfio_rig_setup, vfio_rig_teardown),
		cmocka_unit_test_setup_teardown(attach_errors, vfio_cdev_setup, vfio_rig_teardown),
		cmocka_unit_test_setup_teardown(attach_and_replace, vfio_cdev_setup, vfio_rig_teardown),
		cmocka_unit_test_setup_teardown(pasids, vfio_cdev_setup, vfio_rig_teardown),
		cmocka_unit_test_setup_teardown(pasids_without_memory, vfio_cdev_setup, vfio_rig_teardown),
		cmocka_unit_test_setup_teardown(ends_in_any_order, vfio_cdev_setup, vfio_rig_teardown),
		cmocka_unit_test_setup_teardown(a_driver, vfio_cdev_setup, vfio_rig_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
