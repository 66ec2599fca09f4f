/* SPDX-License-Identifier: BSD-3-Clause */
/* What a VFIO device is and does, whichever way it was opened: regions, config space, interrupts, resets. */
#include "vfio.h"

#include <fcntl.h>
#include <sys/wait.h>

static void *hole(void)
{
	return (void *)(uintptr_t)16;
}

static void info(void **state)
{
	struct vfio_rig *rig = *state;
	struct vfio_spec_info known = {.argsz = 15}, cut = {.argsz = 16, .cap_offset = 77};

	assert_int_equal(uiommu_ioctl(rig->cdev, VFIO_DEVICE_GET_INFO, hole()), -EFAULT);
	assert_int_equal(uiommu_ioctl(rig->cdev, VFIO_DEVICE_GET_INFO, &known), -EINVAL);
	known = (struct vfio_spec_info){.argsz = sizeof(known), .cap_offset = 77, .pad = 77};
	assert_int_equal(uiommu_ioctl(rig->cdev, VFIO_DEVICE_GET_INFO, &known), 0);
	assert_int_equal(known.flags, VFIO_DEVICE_FLAGS_PCI | VFIO_DEVICE_FLAGS_RESET);
	assert_int_equal(known.num_regions, 9);
	assert_int_equal(known.num_irqs, 5);
	assert_int_equal(known.cap_offset, 0);
	assert_int_equal(uiommu_ioctl(rig->cdev, VFIO_DEVICE_GET_INFO, &cut), 0);
	assert_int_equal(cut.num_irqs, 5);
	assert_int_equal(cut.cap_offset, 77);
	assert_int_equal(uiommu_ioctl(rig->cdev, VFIO_DEVICE_GET_INFO | 1u << 30, &cut), -ENOTTY);
	assert_int_equal(uiommu_ioctl(rig->cdev, VFIO_DEVICE_IOEVENTFD, &cut), -ENOTTY);
}

static void region_info(void **state)
{
	static const struct {
		uint64_t size;
		uint32_t flags;
	} expected[] = {{0x1000, 3}, {0, 0}, {0x4000, 15}, {0, 0}, {0x1000, 7}, {0, 0}, {0, 0}, {4096, 3}};
	struct vfio_rig *rig = *state;
	struct {
		struct vfio_region_info known;
		struct vfio_spec_sparse sparse;
	} request = {.known = {.argsz = 31}};

	assert_int_equal(uiommu_ioctl(rig->cdev, VFIO_DEVICE_GET_REGION_INFO, hole()), -EFAULT);
	assert_int_equal(uiommu_ioctl(rig->cdev, VFIO_DEVICE_GET_REGION_INFO, &request), -EINVAL);
	for (uint32_t i = 0; i < ARRAY_SIZE(expected); i++) {
		memset(&request, 0xff, sizeof(request));
		request.known.argsz = sizeof(request);
		request.known.index = i;
		assert_int_equal(uiommu_ioctl(rig->cdev, VFIO_DEVICE_GET_REGION_INFO, &request), 0);
		assert_int_equal(request.known.size, expected[i].size);
		assert_int_equal(request.known.flags, expected[i].flags);
		assert_true(request.known.offset == region(i));
		assert_int_equal(request.known.cap_offset, i == 2 ? 32 : UINT32_MAX);
	}
	for (uint32_t i = VFIO_PCI_VGA_REGION_INDEX; i < 12; i++) {
		request.known.index = i;
		assert_int_equal(uiommu_ioctl(rig->cdev, VFIO_DEVICE_GET_REGION_INFO, &request), -EINVAL);
	}
	request.known.index = UINT32_MAX;
	assert_int_equal(uiommu_ioctl(rig->cdev, VFIO_DEVICE_GET_REGION_INFO, &request), -EINVAL);
	/* What of the BAR may be mapped; without room only how much is needed. */
	request.known = (struct vfio_region_info){.argsz = sizeof(request), .index = 2};
	assert_int_equal(uiommu_ioctl(rig->cdev, VFIO_DEVICE_GET_REGION_INFO, &request), 0);
	assert_int_equal(request.sparse.id, VFIO_REGION_INFO_CAP_SPARSE_MMAP);
	assert_int_equal(request.sparse.version, 1);
	assert_int_equal(request.sparse.next, 0);
	assert_int_equal(request.sparse.nr_areas, 1);
	assert_int_equal(request.sparse.offset, 0);
	assert_int_equal(request.sparse.size, VFIO_PAGE);
	memset(&request.sparse, 0x77, sizeof(request.sparse));
	request.known = (struct vfio_region_info){.argsz = 40, .index = 2, .cap_offset = 9};
	assert_int_equal(uiommu_ioctl(rig->cdev, VFIO_DEVICE_GET_REGION_INFO, &request), 0);
	assert_int_equal(request.known.argsz, 64);
	assert_int_equal(request.known.cap_offset, 0);
	assert_int_equal(request.known.flags, 15);
	assert_int_equal(request.sparse.id, 0x7777);
}

static void bars(void **state)
{
	struct vfio_rig *rig = *state;
	uint8_t bytes[0x5000];
	uint64_t value;

	vfio_set(rig->cdev, 0, COPY_FROM, 8, 0x1122334455667788);
	assert_int_equal(uiommu_abi_read(rig->cdev, &value, 8, region(0) + COPY_FROM), 8);
	assert_true(value == 0x1122334455667788);
	assert_int_equal(vfio_get(rig->cdev, 0, COPY_FROM + 3, 2), 0x4455);
	/* It ends where the BAR ends. */
	assert_int_equal(uiommu_abi_read(rig->cdev, bytes, sizeof(bytes), region(0) + 0xf00), 0x100);
	assert_int_equal(uiommu_abi_read(rig->cdev, bytes, 1, region(0) + 0x1000), -EINVAL);
	assert_int_equal(uiommu_abi_read(rig->cdev, bytes, 1, region(1)), -EINVAL);
	assert_int_equal(uiommu_abi_read(rig->cdev, bytes, 1, region(VFIO_PCI_ROM_REGION_INDEX)), -EINVAL);
	assert_int_equal(uiommu_abi_write(rig->cdev, bytes, 1, region(VFIO_PCI_ROM_REGION_INDEX)), -EINVAL);
	assert_int_equal(uiommu_abi_read(rig->cdev, bytes, 1, region(9)), -EINVAL);
	assert_int_equal(uiommu_abi_read(rig->cdev, bytes, 1, UINT64_MAX), -EINVAL);
	assert_int_equal(uiommu_abi_read(rig->cdev, bytes, 0, UINT64_MAX), 0);
	assert_int_equal(uiommu_abi_read(rig->cdev, hole(), 8, region(0)), -EFAULT);
	assert_int_equal(uiommu_abi_write(rig->cdev, hole(), 8, region(0)), -EFAULT);
	/* Memory, then the table, which is not the program's, and the pending bits, which are. */
	memset(bytes, 0x5a, sizeof(bytes));
	assert_int_equal(uiommu_abi_write(rig->cdev, bytes, sizeof(bytes), region(2)), 0x4000);
	memset(bytes, 0, sizeof(bytes));
	assert_int_equal(uiommu_abi_read(rig->cdev, bytes, sizeof(bytes), region(2)), 0x4000);
	assert_int_equal(bytes[0], 0x5a);
	assert_int_equal(bytes[VFIO_PAGE - 1], 0x5a);
	for (unsigned int i = 0; i < COPY_VECTORS * 16; i++)
		assert_int_equal(bytes[0x1000 + i], 0xff);
	assert_int_equal(bytes[0x1000 + COPY_VECTORS * 16], 0);
}

static void bars_that_do_not_decode(void **state)
{
	struct vfio_rig *rig = *state;
	uint32_t word;

	vfio_set(rig->cdev, CONFIG, PCI_COMMAND, 2, 0);
	assert_int_equal(uiommu_abi_read(rig->cdev, &word, 4, region(0)), -EIO);
	assert_int_equal(uiommu_abi_write(rig->cdev, &word, 4, region(2)), -EIO);
	assert_int_equal(vfio_get(rig->cdev, CONFIG, PCI_VENDOR, 2), 0x1234);
	vfio_set(rig->cdev, CONFIG, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
	assert_int_equal(uiommu_abi_read(rig->cdev, &word, 4, region(0)), 4);
	vfio_set(rig->cdev, CONFIG, vfio_capability(rig->cdev, PCI_PM_ID) + PCI_PM_CONTROL, 2, PCI_PM_D3);
	assert_int_equal(uiommu_abi_read(rig->cdev, &word, 4, region(0)), -EIO);
}

static void mappings(void **state)
{
	struct vfio_rig *rig = *state;
	volatile uint8_t *map = uiommu_abi_mmap(rig->cdev, region(2), VFIO_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED);
	static const struct {
		uint64_t offset, length;
		int flags;
	} bad[] = {
		{0, VFIO_PAGE, MAP_PRIVATE},
		{0, 2 * VFIO_PAGE, MAP_SHARED},
		{VFIO_PAGE, VFIO_PAGE, MAP_SHARED},
		{8, VFIO_PAGE - 8, MAP_SHARED},
		{UINT64_MAX - VFIO_PAGE + 1, VFIO_PAGE, MAP_SHARED},
		{0, 0, MAP_SHARED},
		{0, UINT64_MAX, MAP_SHARED},
	};

	assert_ptr_not_equal(map, MAP_FAILED);
	vfio_set(rig->cdev, 2, 100, 4, 0xa1b2c3d4);
	assert_int_equal(map[103], 0xa1);
	map[100] = 0x77;
	assert_int_equal(vfio_get(rig->cdev, 2, 100, 4), 0xa1b2c377);
	assert_int_equal(((uint8_t *)uiommu_pci_memory(rig->copiers[0].pci, 2))[100], 0x77);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		errno = 0;
		assert_ptr_equal(uiommu_abi_mmap(rig->cdev, region(2) + bad[i].offset, bad[i].length, PROT_READ, bad[i].flags),
				 MAP_FAILED);
		assert_int_equal(errno, EINVAL);
	}
	assert_ptr_equal(uiommu_abi_mmap(rig->cdev, region(0), VFIO_PAGE, PROT_READ, MAP_SHARED), MAP_FAILED);
	assert_ptr_equal(uiommu_abi_mmap(rig->cdev, region(CONFIG), VFIO_PAGE, PROT_READ, MAP_SHARED), MAP_FAILED);
	assert_ptr_equal(uiommu_abi_mmap(rig->cdev, region(8000), VFIO_PAGE, PROT_READ, MAP_SHARED), MAP_FAILED);
	assert_int_equal(uiommu_abi_munmap(rig->cdev, (void *)map, region(2), VFIO_PAGE), 0);
}

static unsigned int touches(struct copier *copier)
{
	unsigned int count;

	pthread_mutex_lock(&copier->lock);
	count = copier->touched;
	pthread_mutex_unlock(&copier->lock);
	return count;
}

static void wait_touched(struct copier *copier, unsigned int count)
{
	pthread_mutex_lock(&copier->lock);
	while (copier->touched < count)
		pthread_cond_wait(&copier->cond, &copier->lock);
	pthread_mutex_unlock(&copier->lock);
}

/* Registers that a program has mapped: the model is told, and told again, as long as it asks; without a mapping it is not. */
static void watched(void **state)
{
	struct vfio_rig *rig = *state;
	struct copier *copier = &rig->copiers[0];
	const struct vfio_watch *watch = &rig->vfio->devices[0]->watch;
	volatile uint32_t *map;
	uint64_t ticks;

	assert_false(uiommu_pci_watch(copier->pci));
	map = uiommu_abi_mmap(rig->cdev, region(4), VFIO_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED);
	assert_ptr_not_equal(map, MAP_FAILED);
	wait_touched(copier, 1);
	for (unsigned int i = 0; i < 20; i++) {
		assert_true(uiommu_pci_watch(copier->pci));
		map[i] = i + 1;
		wait_touched(copier, i + 2);
		assert_int_equal(((uint32_t *)uiommu_pci_memory(copier->pci, 4))[i], i + 1);
	}
	/* Looks that find nothing disturb nobody. */
	assert_true(uiommu_pci_watch(copier->pci));
	ticks = __atomic_load_n(&watch->ticks, __ATOMIC_ACQUIRE);
	while (__atomic_load_n(&watch->ticks, __ATOMIC_ACQUIRE) < ticks + 20 && touches(copier) == 21)
		sched_yield();
	assert_int_equal(touches(copier), 21);
	map[VFIO_PAGE / 4 - 1] = 1;
	wait_touched(copier, 22);
	assert_int_equal(uiommu_abi_munmap(rig->cdev, (void *)map, region(4), VFIO_PAGE), 0);
	assert_false(uiommu_pci_watch(copier->pci));
}

static void config_space(void **state)
{
	struct vfio_rig *rig = *state;
	uint8_t config[5000];
	uint32_t low;

	assert_int_equal(uiommu_abi_read(rig->cdev, config, 4096, region(CONFIG)), 4096);
	assert_int_equal(uiommu_abi_read(rig->cdev, config, 4097, region(CONFIG)), -EFAULT);
	assert_int_equal(uiommu_abi_read(rig->cdev, config, 4, region(CONFIG) + 4094), -EFAULT);
	assert_int_equal(uiommu_abi_write(rig->cdev, config, 1, region(CONFIG) + 4096), -EFAULT);
	assert_int_equal(vfio_get(rig->cdev, CONFIG, PCI_VENDOR, 4), 0xc0b11234);
	assert_int_equal(vfio_get(rig->cdev, CONFIG, PCI_COMMAND, 2), PCI_COMMAND_MEMORY);
	vfio_set(rig->cdev, CONFIG, PCI_VENDOR, 4, 0);
	assert_int_equal(vfio_get(rig->cdev, CONFIG, PCI_VENDOR, 4), 0xc0b11234);
	/* BARs: where they are, how large they are, and where they are put; none of it moves anything. */
	low = vfio_get(rig->cdev, CONFIG, PCI_BAR0, 4);
	assert_true(low && !(low & 0xfff));
	assert_int_equal(vfio_get(rig->cdev, CONFIG, PCI_BAR0 + 8, 4) & 0xf, 0xc);
	assert_true(vfio_get(rig->cdev, CONFIG, PCI_BAR0 + 12, 4) != 0);
	vfio_set(rig->cdev, CONFIG, PCI_BAR0, 4, UINT32_MAX);
	assert_int_equal(vfio_get(rig->cdev, CONFIG, PCI_BAR0, 4), 0xfffff000);
	vfio_set(rig->cdev, CONFIG, PCI_BAR0 + 8, 4, UINT32_MAX);
	assert_int_equal(vfio_get(rig->cdev, CONFIG, PCI_BAR0 + 8, 4), 0xffffc00c);
	vfio_set(rig->cdev, CONFIG, PCI_BAR0, 4, low);
	assert_int_equal(vfio_get(rig->cdev, CONFIG, PCI_BAR0, 4), low);
	assert_int_equal(vfio_get(rig->cdev, 0, COPY_PASID, 4), UINT32_MAX);
}

/* Interrupts are set up elsewhere, and what the system enables stays as it is. */
static void what_config_space_does_not_do(void **state)
{
	struct vfio_rig *rig = *state;
	unsigned int msi = vfio_capability(rig->cdev, PCI_MSI_ID), msix = vfio_capability(rig->cdev, PCI_MSIX_ID), ats;
	unsigned int express = vfio_capability(rig->cdev, PCI_EXP_ID);

	vfio_set(rig->cdev, CONFIG, msix + PCI_MSIX_CONTROL, 2, PCI_MSIX_ENABLE);
	assert_int_equal(vfio_get(rig->cdev, CONFIG, msix + PCI_MSIX_CONTROL, 2), COPY_VECTORS - 1);
	vfio_set(rig->cdev, CONFIG, msi + PCI_MSI_CONTROL, 2, PCI_MSI_ENABLE);
	assert_int_equal(vfio_get(rig->cdev, CONFIG, msi + PCI_MSI_CONTROL, 2) & PCI_MSI_ENABLE, 0);
	assert_int_equal(uiommu_pci_state(rig->copiers[0].pci) & (UIOMMU_PCI_MSI_ON | UIOMMU_PCI_MSIX_ON), 0);
	vfio_set(rig->cdev, CONFIG, express + PCI_EXP_LINK_CONTROL, 2, UINT16_MAX);
	assert_int_equal(vfio_get(rig->cdev, CONFIG, express + PCI_EXP_LINK_CONTROL, 2), 0);
	/* PASIDs are enabled, and no list leads to the capability. */
	assert_int_equal(vfio_extended(rig->cdev, PCI_PASID_ID), 0);
	assert_int_not_equal(vfio_extended(rig->cdev, PCI_ACS_ID), 0);
	ats = vfio_extended(rig->cdev, PCI_ATS_ID);
	assert_int_not_equal(ats, 0);
	vfio_set(rig->cdev, CONFIG, ats + PCI_ATS_CONTROL, 2, 0);
	assert_int_equal(vfio_get(rig->cdev, CONFIG, ats + PCI_ATS_CONTROL, 2), PCI_ATS_ENABLE);
	assert_int_equal(uiommu_pci_state(rig->copiers[0].pci), UIOMMU_PCI_MEMORY | UIOMMU_PCI_PASID_ON | UIOMMU_PCI_ATS_ON);
}

static void irq_info(void **state)
{
	static const uint32_t counts[] = {1, 8, COPY_VECTORS, 1, 1}, flags[] = {7, 9, 1, 9, 9};
	struct vfio_rig *rig = *state;
	struct vfio_irq_info request = {.argsz = 15};

	assert_int_equal(uiommu_ioctl(rig->cdev, VFIO_DEVICE_GET_IRQ_INFO, hole()), -EFAULT);
	assert_int_equal(uiommu_ioctl(rig->cdev, VFIO_DEVICE_GET_IRQ_INFO, &request), -EINVAL);
	for (uint32_t i = 0; i < 5; i++) {
		request = (struct vfio_irq_info){.argsz = sizeof(request), .index = i};
		assert_int_equal(uiommu_ioctl(rig->cdev, VFIO_DEVICE_GET_IRQ_INFO, &request), 0);
		assert_int_equal(request.count, counts[i]);
		assert_int_equal(request.flags, flags[i]);
	}
	request.index = 5;
	assert_int_equal(uiommu_ioctl(rig->cdev, VFIO_DEVICE_GET_IRQ_INFO, &request), -EINVAL);
}

static void set_irqs_errors(void **state)
{
	struct vfio_rig *rig = *state;
	struct {
		struct vfio_spec_irq_set set;
		int32_t fds[4];
	} request = {.set = {.argsz = 19}};
	const uint32_t give = PCI_IRQ_SET_FDS | PCI_IRQ_SET_TRIGGER;
	int ends[2];

	assert_int_equal(uiommu_ioctl(rig->cdev, VFIO_DEVICE_SET_IRQS, hole()), -EFAULT);
	assert_int_equal(uiommu_ioctl(rig->cdev, VFIO_DEVICE_SET_IRQS, &request), -EINVAL);
	request.set = (struct vfio_spec_irq_set){sizeof(request.set) + 3, give, PCI_IRQ_MSIX, 0, 1};
	assert_int_equal(uiommu_ioctl(rig->cdev, VFIO_DEVICE_SET_IRQS, &request), -EINVAL);
	assert_int_equal(vfio_irqs(rig->cdev, give, PCI_IRQ_MSIX, 0, (int[]){9999}, 1), -EBADF);
	assert_int_equal(vfio_irqs(rig->cdev, give, PCI_IRQ_MSIX, 0, &rig->iommufd, 1), -EINVAL);
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	assert_int_equal(vfio_irqs(rig->cdev, give, PCI_IRQ_MSIX, 0, ends, 2), -EINVAL);
	close(ends[0]);
	close(ends[1]);
	assert_int_equal(uiommu_pci_state(rig->copiers[0].pci) & UIOMMU_PCI_MSIX_ON, 0);
	assert_int_equal(vfio_irqs(rig->cdev, PCI_IRQ_SET_NONE | PCI_IRQ_SET_MASK, PCI_IRQ_MSI, 0, NULL, 1), -ENOTTY);
	/* What is refused whatever the descriptors are. */
	assert_int_equal(vfio_irqs(rig->cdev, PCI_IRQ_SET_FDS | PCI_IRQ_SET_MASK, PCI_IRQ_MSIX, 0, (int[]){9999}, 1), -ENOTTY);
	assert_int_equal(vfio_irqs(rig->cdev, PCI_IRQ_SET_FDS | PCI_IRQ_SET_UNMASK, PCI_IRQ_INTX, 0, (int[]){9999}, 1), -EINVAL);
	assert_int_equal(vfio_irqs(rig->cdev, give, PCI_IRQ_REQUEST, 0, (int[]){-2}, 1), -EINVAL);
	assert_int_equal(vfio_irqs(rig->cdev, give, PCI_IRQ_MSIX, COPY_VECTORS, (int[]){-1}, 1), -EINVAL);
	assert_int_equal(vfio_irqs(rig->cdev, give, 5, 0, (int[]){-1}, 1), -EINVAL);
}

static uint64_t signalled(int event)
{
	uint64_t count = 0;

	return read(event, &count, sizeof(count)) == sizeof(count) ? count : 0;
}

/* SET_IRQS is what enables MSI and MSI-X. */
static void interrupts(void **state)
{
	struct vfio_rig *rig = *state;
	struct uiommu_pci *pci = rig->copiers[0].pci;
	const uint32_t give = PCI_IRQ_SET_FDS | PCI_IRQ_SET_TRIGGER, none = PCI_IRQ_SET_NONE | PCI_IRQ_SET_TRIGGER;
	unsigned int msi = vfio_capability(rig->cdev, PCI_MSI_ID), msix = vfio_capability(rig->cdev, PCI_MSIX_ID);
	unsigned int control = msi + PCI_MSI_CONTROL;
	int events[4];

	for (unsigned int i = 0; i < 4; i++)
		events[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	vfio_master(rig->cdev, true);
	assert_int_equal(vfio_irqs(rig->cdev, give, PCI_IRQ_MSIX, 2, events, 4), 0);
	assert_int_equal(vfio_get(rig->cdev, CONFIG, msix + PCI_MSIX_CONTROL, 2), PCI_MSIX_ENABLE | (COPY_VECTORS - 1));
	assert_int_equal(uiommu_pci_interrupt(pci, 3), 0);
	assert_int_equal(signalled(events[1]), 1);
	assert_int_equal(vfio_irqs(rig->cdev, none, PCI_IRQ_MSIX, 0, NULL, 0), 0);
	assert_int_equal(uiommu_pci_interrupt(pci, 3), -ENODEV);
	/* Three vectors of MSI: the low two bits of the vector are sent. What is read is what the program has written. */
	assert_int_equal(vfio_get(rig->cdev, CONFIG, control, 2), 0x186);
	vfio_set(rig->cdev, CONFIG, control, 2, 0x186 | 3 << PCI_MSI_ENABLED_SHIFT);
	assert_int_equal(vfio_get(rig->cdev, CONFIG, control, 2), 0x186);
	assert_int_equal(vfio_irqs(rig->cdev, give, PCI_IRQ_MSI, 0, events, 3), 0);
	assert_int_equal(vfio_get(rig->cdev, CONFIG, control, 2), 0x186);
	assert_int_equal(vfio_get(rig->cdev, CONFIG, msi + PCI_MSI_MASK, 4), 0xf8);
	assert_int_equal(uiommu_pci_interrupt(pci, 1), 0);
	assert_int_equal(signalled(events[1]), 1);
	vfio_set(rig->cdev, CONFIG, control, 2, 0x186);
	assert_int_equal(uiommu_pci_state(pci) & UIOMMU_PCI_MSI_ON, 0);
	vfio_set(rig->cdev, CONFIG, control, 2, 0x186 | PCI_MSI_ENABLE | 3 << PCI_MSI_ENABLED_SHIFT);
	assert_int_equal(vfio_get(rig->cdev, CONFIG, control, 2), 0x1a7);
	assert_int_equal(uiommu_pci_state(pci) & UIOMMU_PCI_MSI_ON, UIOMMU_PCI_MSI_ON);
	assert_int_equal(uiommu_pci_interrupt(pci, 2), 0);
	assert_int_equal(signalled(events[2]), 1);
	vfio_set(rig->cdev, CONFIG, msi + PCI_MSI_ADDRESS, 4, UINT32_MAX);
	assert_int_equal(vfio_get(rig->cdev, CONFIG, msi + PCI_MSI_ADDRESS, 4), UINT32_MAX);
	assert_int_equal(vfio_irqs(rig->cdev, none, PCI_IRQ_MSI, 0, NULL, 0), 0);
	assert_int_equal(uiommu_pci_state(pci) & UIOMMU_PCI_MSI_ON, 0);
	assert_int_equal(vfio_get(rig->cdev, CONFIG, msi + PCI_MSI_MASK, 4), 0);
	assert_int_equal(vfio_irqs(rig->cdev, give, PCI_IRQ_INTX, 0, events, 1), 0);
	vfio_set(rig->cdev, 0, COPY_PIN, 4, 1);
	assert_int_equal(signalled(events[0]), 1);
	vfio_set(rig->cdev, 0, COPY_PIN, 4, 0);
	for (unsigned int i = 0; i < 4; i++)
		close(events[i]);
}

/* A reset is the device's; config space and interrupts are as they were. */
static void reset(void **state)
{
	struct vfio_rig *rig = *state;
	int event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	unsigned int resets = rig->copiers[0].resets, express = vfio_capability(rig->cdev, PCI_EXP_ID);

	vfio_master(rig->cdev, true);
	assert_int_equal(vfio_irqs(rig->cdev, PCI_IRQ_SET_FDS | PCI_IRQ_SET_TRIGGER, PCI_IRQ_MSIX, 0, &event, 1), 0);
	vfio_set(rig->cdev, CONFIG, PCI_BAR0, 4, 0x40000000);
	vfio_set(rig->cdev, 0, COPY_FROM, 8, 55);
	for (unsigned int i = 0; i < 2; i++) {
		if (i)
			vfio_set(rig->cdev, CONFIG, express + PCI_EXP_CONTROL, 2, PCI_EXP_CONTROL_FLR);
		else
			assert_int_equal(uiommu_ioctl(rig->cdev, VFIO_DEVICE_RESET, NULL), 0);
		assert_int_equal(rig->copiers[0].resets, resets + i + 1);
		assert_int_equal(rig->copiers[0].reset_type, UIOMMU_PCI_RESET_FUNCTION);
		assert_int_equal(vfio_get(rig->cdev, 0, COPY_FROM, 4), 0);
		assert_int_equal(vfio_get(rig->cdev, CONFIG, PCI_COMMAND, 2), PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
		assert_int_equal(vfio_get(rig->cdev, CONFIG, PCI_BAR0, 4), 0x40000000);
		assert_int_equal(vfio_get(rig->cdev, CONFIG, express + PCI_EXP_CONTROL, 2) & PCI_EXP_CONTROL_FLR, 0);
		assert_int_equal(uiommu_pci_interrupt(rig->copiers[0].pci, 0), 0);
		assert_int_equal(signalled(event), 1);
	}
	close(event);
}

static void hot_reset_by_cdev(void **state)
{
	struct vfio_rig *rig = *state;
	struct {
		struct vfio_spec_reset_info known;
		struct vfio_spec_reset_device devices[3];
	} info = {.known = {.argsz = 11}};
	struct vfio_spec_reset hot = {.argsz = 11};
	int second = uiommu_vfio_open(rig->vfio, "/dev/vfio/devices/vfio1"), other = uiommu_abi_open("/dev/iommu", NULL);
	unsigned int resets;
	uint32_t id;

	assert_int_equal(uiommu_ioctl(rig->cdev, VFIO_DEVICE_GET_PCI_HOT_RESET_INFO, hole()), -EFAULT);
	assert_int_equal(uiommu_ioctl(rig->cdev, VFIO_DEVICE_GET_PCI_HOT_RESET_INFO, &info), -EINVAL);
	info.known.argsz = sizeof(info.known) + sizeof(info.devices[0]);
	assert_int_equal(uiommu_ioctl(rig->cdev, VFIO_DEVICE_GET_PCI_HOT_RESET_INFO, &info), -ENOSPC);
	assert_int_equal(info.known.count, 2);
	info.known.argsz = sizeof(info);
	assert_int_equal(uiommu_ioctl(rig->cdev, VFIO_DEVICE_GET_PCI_HOT_RESET_INFO, &info), 0);
	assert_int_equal(info.known.flags, VFIO_SPEC_RESET_DEV_ID);
	assert_int_equal(info.known.count, 2);
	assert_int_equal(info.devices[0].group_id, 1);
	assert_int_equal(info.devices[0].segment, 1);
	assert_int_equal(info.devices[0].bus, 1);
	assert_int_equal(info.devices[0].devfn, 2 << 3 | 1);
	assert_true(info.devices[1].group_id == VFIO_SPEC_DEVID_NOT_OWNED);
	/* All that are reset have to be the program's. */
	assert_int_equal(uiommu_ioctl(rig->cdev, VFIO_DEVICE_PCI_HOT_RESET, &hot), -EINVAL);
	hot = (struct vfio_spec_reset){.argsz = sizeof(hot), .flags = 1};
	assert_int_equal(uiommu_ioctl(rig->cdev, VFIO_DEVICE_PCI_HOT_RESET, &hot), -EINVAL);
	hot = (struct vfio_spec_reset){.argsz = sizeof(hot), .count = 1};
	assert_int_equal(uiommu_ioctl(rig->cdev, VFIO_DEVICE_PCI_HOT_RESET, &hot), -EINVAL);
	hot.count = 0;
	assert_int_equal(uiommu_ioctl(rig->cdev, VFIO_DEVICE_PCI_HOT_RESET, &hot), -EINVAL);
	assert_int_equal(vfio_bind_to(second, other, NULL), 0);
	assert_int_equal(uiommu_ioctl(rig->cdev, VFIO_DEVICE_PCI_HOT_RESET, &hot), -EINVAL);
	uiommu_abi_close(second);
	second = uiommu_vfio_open(rig->vfio, "/dev/vfio/devices/vfio1");
	assert_int_equal(vfio_bind_to(second, rig->iommufd, &id), 0);
	resets = rig->copiers[1].resets;
	assert_int_equal(uiommu_ioctl(rig->cdev, VFIO_DEVICE_PCI_HOT_RESET, &hot), 0);
	assert_int_equal(rig->copiers[1].resets, resets + 1);
	assert_int_equal(rig->copiers[0].reset_type, UIOMMU_PCI_RESET_BUS);
	assert_int_equal(uiommu_ioctl(rig->cdev, VFIO_DEVICE_GET_PCI_HOT_RESET_INFO, &info), 0);
	assert_int_equal(info.known.flags, VFIO_SPEC_RESET_DEV_ID | VFIO_SPEC_RESET_DEV_ID_OWNED);
	assert_int_equal(info.devices[1].group_id, id);
	uiommu_abi_close(second);
	uiommu_abi_close(other);
}

static void hot_reset_by_group(void **state)
{
	struct vfio_rig *rig = *state;
	struct {
		struct vfio_spec_reset_info known;
		struct vfio_spec_reset_device devices[2];
	} info = {.known = {.argsz = sizeof(info)}};
	struct {
		struct vfio_spec_reset known;
		int32_t fds[3];
	} hot = {.known = {.argsz = sizeof(hot), .count = 3}};
	int second = uiommu_vfio_open(rig->vfio, "/dev/vfio/1");
	unsigned int resets = rig->copiers[0].resets;

	assert_int_equal(uiommu_ioctl(rig->device, VFIO_DEVICE_GET_PCI_HOT_RESET_INFO, &info), 0);
	assert_int_equal(info.known.flags, 0);
	assert_int_equal(info.devices[1].group_id, 1);
	assert_int_equal(uiommu_ioctl(rig->device, VFIO_DEVICE_PCI_HOT_RESET, &hot), -EINVAL); /* more than there are */
	hot.known.count = 0;
	assert_int_equal(uiommu_ioctl(rig->device, VFIO_DEVICE_PCI_HOT_RESET, &hot), -EINVAL);
	hot.known.count = 1;
	hot.fds[0] = 9999;
	assert_int_equal(uiommu_ioctl(rig->device, VFIO_DEVICE_PCI_HOT_RESET, &hot), -EBADF);
	hot.fds[0] = rig->iommufd;
	assert_int_equal(uiommu_ioctl(rig->device, VFIO_DEVICE_PCI_HOT_RESET, &hot), -EINVAL);
	hot.fds[0] = STDOUT_FILENO;
	assert_int_equal(uiommu_ioctl(rig->device, VFIO_DEVICE_PCI_HOT_RESET, &hot), -EINVAL);
	hot.fds[0] = rig->group;
	assert_int_equal(uiommu_ioctl(rig->device, VFIO_DEVICE_PCI_HOT_RESET, &hot), -EINVAL);
	assert_int_equal(rig->copiers[0].resets, resets);
	hot.known.count = 2;
	hot.fds[1] = second;
	assert_int_equal(uiommu_ioctl(rig->device, VFIO_DEVICE_PCI_HOT_RESET, &hot), 0);
	assert_int_equal(rig->copiers[0].resets, resets + 1);
	uiommu_abi_close(second);
}

static int feature(int fd, uint32_t argsz, uint32_t flags, int32_t value)
{
	struct {
		struct vfio_spec_feature known;
		int32_t data[2];
	} request = {.known = {.argsz = argsz, .flags = flags}, .data = {value}};

	return uiommu_ioctl(fd, VFIO_DEVICE_FEATURE, &request);
}

static void features(void **state)
{
	const uint32_t get = VFIO_DEVICE_FEATURE_GET, set = VFIO_DEVICE_FEATURE_SET, probe = VFIO_DEVICE_FEATURE_PROBE;
	struct vfio_rig *rig = *state;
	int event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	assert_int_equal(uiommu_ioctl(rig->cdev, VFIO_DEVICE_FEATURE, hole()), -EFAULT);
	assert_int_equal(feature(rig->cdev, 7, probe | 3, 0), -EINVAL);
	assert_int_equal(feature(rig->cdev, 8, 1 << 19 | 3, 0), -EINVAL);
	assert_int_equal(feature(rig->cdev, 8, get | set | 3, 0), -EINVAL);
	assert_int_equal(feature(rig->cdev, 8, probe | set | VFIO_DEVICE_FEATURE_MIGRATION, 0), -ENOTTY);
	assert_int_equal(feature(rig->cdev, 8, set | VFIO_DEVICE_FEATURE_PCI_VF_TOKEN, 0), -ENOTTY);
	assert_int_equal(feature(rig->cdev, 8, probe | set | 12, 0), -EINVAL); /* MIG_PRECOPY_INFOv2 */
	assert_int_equal(feature(rig->cdev, 8, get | 0xffff, 0), -ENOTTY);
	assert_int_equal(feature(rig->cdev, 8, get | VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY, 0), -EINVAL);
	assert_int_equal(feature(rig->cdev, 8, VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY, 0), -EINVAL);
	for (uint32_t which = VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY; which <= VFIO_DEVICE_FEATURE_LOW_POWER_EXIT; which++) {
		assert_int_equal(feature(rig->cdev, 8, probe | which, 0), 0);
		assert_int_equal(feature(rig->cdev, 8, probe | set | which, 0), 0);
		assert_int_equal(feature(rig->cdev, 8, probe | get | which, 0), -EINVAL);
	}
	assert_int_equal(feature(rig->cdev, 8, set | VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY, 0), 0);
	assert_int_equal(feature(rig->cdev, 8, set | VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY, 0), -EINVAL);
	assert_int_equal(feature(rig->cdev, 8, set | VFIO_DEVICE_FEATURE_LOW_POWER_EXIT, 0), 0);
	assert_int_equal(feature(rig->cdev, 8, set | VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY_WITH_WAKEUP, event), -EINVAL);
	assert_int_equal(feature(rig->cdev, 16, set | VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY_WITH_WAKEUP, -1), -EINVAL);
	assert_int_equal(feature(rig->cdev, 16, set | VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY_WITH_WAKEUP, 9999), -EBADF);
	assert_int_equal(feature(rig->cdev, 16, set | VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY_WITH_WAKEUP, rig->iommufd), -EINVAL);
	assert_int_equal(feature(rig->cdev, 16, set | VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY_WITH_WAKEUP, event), 0);
	assert_int_equal(signalled(event), 0);
	assert_int_equal(vfio_get(rig->cdev, CONFIG, PCI_VENDOR, 2), 0x1234);
	assert_int_equal(signalled(event), 1);
	assert_int_equal(vfio_get(rig->cdev, CONFIG, PCI_VENDOR, 2), 0x1234);
	assert_int_equal(signalled(event), 0);
	close(event);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(info, vfio_cdev_setup, vfio_rig_teardown),
		cmocka_unit_test_setup_teardown(region_info, vfio_cdev_setup, vfio_rig_teardown),
		cmocka_unit_test_setup_teardown(bars, vfio_cdev_setup, vfio_rig_teardown),
		cmocka_unit_test_setup_teardown(bars_that_do_not_decode, vfio_cdev_setup, vfio_rig_teardown),
		cmocka_unit_test_setup_teardown(mappings, vfio_cdev_setup, vfio_rig_teardown),
		cmocka_unit_test_setup_teardown(watched, vfio_cdev_setup, vfio_rig_teardown),
		cmocka_unit_test_setup_teardown(config_space, vfio_cdev_setup, vfio_rig_teardown),
		cmocka_unit_test_setup_teardown(what_config_space_does_not_do, vfio_cdev_setup, vfio_rig_teardown),
		cmocka_unit_test_setup_teardown(irq_info, vfio_cdev_setup, vfio_rig_teardown),
		cmocka_unit_test_setup_teardown(set_irqs_errors, vfio_cdev_setup, vfio_rig_teardown),
		cmocka_unit_test_setup_teardown(interrupts, vfio_cdev_setup, vfio_rig_teardown),
		cmocka_unit_test_setup_teardown(reset, vfio_cdev_setup, vfio_rig_teardown),
		cmocka_unit_test_setup_teardown(hot_reset_by_cdev, vfio_cdev_setup, vfio_rig_teardown),
		cmocka_unit_test_setup_teardown(hot_reset_by_group, vfio_group_setup, vfio_rig_teardown),
		cmocka_unit_test_setup_teardown(features, vfio_cdev_setup, vfio_rig_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
