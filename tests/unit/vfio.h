/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Functions behind VFIO, in this process: two that copy what they are told to, by DMA.
 *
 * BAR 0: registers. BAR 2: a page of memory, and the MSI-X table. BAR 4: registers that may be mapped (WATCHED).
 */
#ifndef TEST_VFIO_H
#define TEST_VFIO_H

#include "test.h"

#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <uiommu/dma.h>
#include <uiommu/vfio.h>
#include <unistd.h>

#include "abi/spec.h"
#include "abi/vfio_device.h"
#include "abi/vfio_spec.h"
#include "pci/irqs.h"
#include "pci/pci.h"
#include "pci/spec.h"
#include "util/util.h"

enum {
	COPY_FROM = 0, /* an address */
	COPY_TO = 8,
	COPY_LENGTH = 16, /* 4 bytes; writing it starts a copy */
	COPY_RESULT = 20, /* 0, or 1 + the reason of the fault */
	COPY_PASID = 24, /* 4 bytes; all ones: none */
	COPY_PIN = 28, /* the level of the interrupt pin */
	COPY_VECTORS = 40,
	VFIO_PAGE = 4096,
};

struct copier {
	struct uiommu_context *context;
	struct uiommu_pci *pci;
	uint32_t device;
	uint8_t registers[64];
	unsigned int resets, reset_type;
	/* Of BAR 4. */
	pthread_mutex_t lock;
	pthread_cond_t cond;
	unsigned int touched;
};

struct vfio_rig {
	struct uiommu_context *context;
	struct uiommu_vfio *vfio;
	struct copier copiers[2];
	int iommufd, cdev, group, device;
	uint8_t *memory; /* for DMA: 16 pages */
};

static uint64_t copier_read(void *opaque, unsigned int bar, uint64_t offset, unsigned int size)
{
	struct copier *copier = opaque;
	uint64_t value = 0;

	if (!bar && offset + size <= sizeof(copier->registers))
		memcpy(&value, copier->registers + offset, size);
	return value;
}

static void copy(struct copier *copier)
{
	struct uiommu_dma_result result;
	uint64_t from, to;
	uint32_t length, pasid, reason = 0;
	uint8_t bytes[VFIO_PAGE];

	memcpy(&from, copier->registers + COPY_FROM, sizeof(from));
	memcpy(&to, copier->registers + COPY_TO, sizeof(to));
	memcpy(&length, copier->registers + COPY_LENGTH, sizeof(length));
	memcpy(&pasid, copier->registers + COPY_PASID, sizeof(pasid));
	length = (uint32_t)min_u64(length, sizeof(bytes));
	if (uiommu_dma_read(uiommu_pci_device(copier->pci), pasid, from, bytes, length, &result) ||
	    uiommu_dma_write(uiommu_pci_device(copier->pci), pasid, to, bytes, length, &result))
		reason = 1 + result.fault.reason;
	memcpy(copier->registers + COPY_RESULT, &reason, sizeof(reason));
	uiommu_pci_interrupt(copier->pci, 3);
}

static void copier_write(void *opaque, unsigned int bar, uint64_t offset, unsigned int size, uint64_t value)
{
	struct copier *copier = opaque;

	if (bar || offset + size > sizeof(copier->registers))
		return;
	memcpy(copier->registers + offset, &value, size);
	if (offset == COPY_LENGTH)
		copy(copier);
	if (offset == COPY_PIN)
		uiommu_pci_intx(copier->pci, value);
}

static void copier_reset(void *opaque, enum uiommu_pci_reset_type type)
{
	struct copier *copier = opaque;

	copier->resets++;
	copier->reset_type = type;
	memset(copier->registers, 0, sizeof(copier->registers));
	memset(copier->registers + COPY_PASID, 0xff, 4);
}

static void copier_touched(void *opaque)
{
	struct copier *copier = opaque;

	pthread_mutex_lock(&copier->lock);
	copier->touched++;
	pthread_cond_signal(&copier->cond);
	pthread_mutex_unlock(&copier->lock);
}

static const struct uiommu_pci_ops copier_ops = {copier_read, copier_write, copier_reset, NULL, copier_touched};

static const struct uiommu_pci_capability copier_capabilities[] = {
	{UIOMMU_PCI_PM},
	{UIOMMU_PCI_MSI, .count = 8},
	{UIOMMU_PCI_MSIX, .count = COPY_VECTORS, .bar = 2, .offset = 0x1000},
	{UIOMMU_PCI_EXPRESS},
	{UIOMMU_PCI_ACS},
	{UIOMMU_PCI_PASID, .count = 16},
	{UIOMMU_PCI_ATS, .count = 4},
};

static inline void copier_make(struct vfio_rig *rig, unsigned int i, uint32_t address)
{
	const char *const names[] = {"copier0", "copier1"};
	struct uiommu_device_config config = {.size = sizeof(config), .rid = address & 0xffff, .name = names[i], .pasid_bits = 16};
	struct uiommu_pci_description description = {
		.size = sizeof(description),
		.vendor = 0x1234,
		.device = 0xc0b1,
		.subsystem_vendor = 0x1234,
		.subsystem = 1,
		.class_code = 0x120000,
		.revision = 7,
		.interrupt_pin = 1,
		.capability_count = ARRAY_SIZE(copier_capabilities),
		.bars = {[0] = {.size = 0x1000},
			 [2] = {.size = 0x4000,
				.memory_length = VFIO_PAGE,
				.flags = UIOMMU_PCI_BAR_64 | UIOMMU_PCI_BAR_PREFETCHABLE},
			 [4] = {.size = VFIO_PAGE,
				.memory_length = VFIO_PAGE,
				.flags = UIOMMU_PCI_BAR_64 | UIOMMU_PCI_BAR_WATCHED}},
		.capabilities = copier_capabilities,
		.ops = &copier_ops,
	};
	struct copier *copier = &rig->copiers[i];

	copier->context = rig->context;
	pthread_mutex_init(&copier->lock, NULL);
	pthread_cond_init(&copier->cond, NULL);
	assert_int_equal(uiommu_device_alloc(rig->context, &config, &copier->device), 0);
	assert_int_equal(uiommu_pci_create(rig->context, copier->device, &description, copier, &copier->pci), 0);
	assert_int_equal(uiommu_vfio_add(rig->vfio, copier->pci, address), 0);
}

/* Nothing is open. */
static inline int vfio_rig_setup(void **state)
{
	struct vfio_rig *rig = calloc(1, sizeof(*rig));

	rig->iommufd = rig->cdev = rig->group = rig->device = -1;
	assert_int_equal(uiommu_open(NULL, &rig->context), 0);
	assert_int_equal(uiommu_vfio_create(&rig->vfio), 0);
	copier_make(rig, 0, 0x10000 | 1 << 8 | 2 << 3 | 1);
	copier_make(rig, 1, 0x10000 | 1 << 8 | 3 << 3);
	rig->memory = mmap(NULL, 16 * VFIO_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(rig->memory, MAP_FAILED);
	*state = rig;
	return 0;
}

static inline int vfio_rig_teardown(void **state)
{
	struct vfio_rig *rig = *state;
	const int fds[] = {rig->device, rig->group, rig->cdev, rig->iommufd};

	for (unsigned int i = 0; i < ARRAY_SIZE(fds); i++)
		if (fds[i] >= 0)
			assert_int_equal(uiommu_abi_close(fds[i]), 0);
	uiommu_vfio_destroy(rig->vfio);
	for (unsigned int i = 0; i < 2; i++) {
		uiommu_pci_destroy(rig->copiers[i].pci);
		/* The device is at home again, with the id that it had. */
		assert_int_equal(uiommu_destroy(rig->context, rig->copiers[i].device), 0);
		pthread_cond_destroy(&rig->copiers[i].cond);
		pthread_mutex_destroy(&rig->copiers[i].lock);
	}
	assert_int_equal(uiommu_close(rig->context), 0);
	munmap(rig->memory, 16 * VFIO_PAGE);
	free(rig);
	return 0;
}

static inline int vfio_bind_to(int cdev, int iommufd, uint32_t *id)
{
	struct vfio_spec_bind bind = {.argsz = sizeof(bind), .iommufd = iommufd};
	int error = uiommu_ioctl(cdev, VFIO_SPEC_BIND_IOMMUFD, &bind);

	if (id)
		*id = bind.out_devid;
	return error;
}

/* The cdev of the first one, bound. */
static inline int vfio_cdev_setup(void **state)
{
	struct vfio_rig *rig;

	vfio_rig_setup(state);
	rig = *state;
	rig->iommufd = uiommu_abi_open("/dev/iommu", NULL);
	rig->cdev = uiommu_vfio_open(rig->vfio, "/dev/vfio/devices/vfio0");
	assert_int_equal(vfio_bind_to(rig->cdev, rig->iommufd, NULL), 0);
	rig->device = -1;
	return 0;
}

/* The device of its group, in a container. */
static inline int vfio_group_setup(void **state)
{
	struct vfio_rig *rig;

	vfio_rig_setup(state);
	rig = *state;
	rig->iommufd = uiommu_vfio_open(rig->vfio, "/dev/vfio/vfio");
	rig->group = uiommu_vfio_open(rig->vfio, "/dev/vfio/0");
	assert_int_equal(uiommu_ioctl(rig->group, VFIO_GROUP_SET_CONTAINER, &rig->iommufd), 0);
	rig->device = uiommu_ioctl(rig->group, VFIO_GROUP_GET_DEVICE_FD, "0001:01:02.1");
	assert_true(rig->device >= 0);
	return 0;
}

static inline uint64_t region(unsigned int index)
{
	return (uint64_t)index << VFIO_SPEC_REGION_SHIFT;
}

static inline uint32_t vfio_get(int fd, unsigned int index, uint64_t offset, size_t width)
{
	uint32_t value = 0;

	assert_int_equal(uiommu_abi_read(fd, &value, width, region(index) + offset), width);
	return value;
}

static inline void vfio_set(int fd, unsigned int index, uint64_t offset, size_t width, uint64_t value)
{
	assert_int_equal(uiommu_abi_write(fd, &value, width, region(index) + offset), width);
}

enum { CONFIG = VFIO_PCI_CONFIG_REGION_INDEX };

/* Where a capability is, as a driver finds it; 0: there is none. */
static inline unsigned int vfio_capability(int fd, unsigned int id)
{
	unsigned int at = vfio_get(fd, CONFIG, PCI_LIST, 1);

	while (at && vfio_get(fd, CONFIG, at, 1) != id)
		at = vfio_get(fd, CONFIG, at + 1, 1);
	return at;
}

static inline unsigned int vfio_extended(int fd, unsigned int id)
{
	unsigned int at = PCI_EXTENDED_FIRST;
	uint32_t header = vfio_get(fd, CONFIG, at, 4);

	while (at && (header & 0xffff) != id) {
		at = header >> 20;
		header = at ? vfio_get(fd, CONFIG, at, 4) : 0;
	}
	return at;
}

static inline int vfio_irqs(int fd, uint32_t flags, uint32_t index, uint32_t start, const int *fds, uint32_t count)
{
	struct {
		struct vfio_spec_irq_set set;
		int32_t data[64];
	} request = {.set = {sizeof(request.set) + (fds ? count * 4 : 0), flags, index, start, count}};

	if (fds)
		memcpy(request.data, fds, count * sizeof(*fds));
	return uiommu_ioctl(fd, VFIO_DEVICE_SET_IRQS, &request);
}

/* Tell the function to copy, and what its register says then. */
static inline uint32_t vfio_copy(int fd, uint64_t from, uint64_t to, uint32_t length)
{
	vfio_set(fd, 0, COPY_FROM, 8, from);
	vfio_set(fd, 0, COPY_TO, 8, to);
	vfio_set(fd, 0, COPY_LENGTH, 4, length);
	return vfio_get(fd, 0, COPY_RESULT, 4);
}

static inline void vfio_master(int fd, bool on)
{
	vfio_set(fd, CONFIG, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | (on ? PCI_COMMAND_MASTER : 0));
}

#endif
