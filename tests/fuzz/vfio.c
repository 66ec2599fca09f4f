/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A program's history with VFIO and an iommufd: files that are opened, ioctls with any arguments, accesses to regions, mappings,
 * and closes in any order. Whatever it did, afterwards both functions are as after a reset and at home.
 */
#include "fuzz.h"

#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <uiommu/dma.h>
#include <uiommu/vfio.h>
#include <unistd.h>

#include "abi/spec.h"
#include "abi/vfio_spec.h"
#include "pci/pci.h"
#include "util/util.h"

enum { SLOTS = 8, FUNCTIONS = 2, ARGUMENT = 128, PAGE = 4096, MEMORY = 8 * PAGE };

static struct {
	struct uiommu_context *context;
	struct uiommu_vfio *vfio;
	struct uiommu_pci *functions[FUNCTIONS];
	uint32_t devices[FUNCTIONS];
	uint8_t *memory; /* what DMA may reach */
	int fds[SLOTS];
	int event;
} fuzz;

static uint64_t model_read(void *opaque, unsigned int bar, uint64_t offset, unsigned int size)
{
	(void)opaque;
	(void)bar;
	return offset * size;
}

/* A write is a DMA address, and an interrupt. */
static void model_write(void *opaque, unsigned int bar, uint64_t offset, unsigned int size, uint64_t value)
{
	struct uiommu_pci *pci = fuzz.functions[opaque ? 1 : 0];
	struct uiommu_dma_result result;
	uint8_t bytes[16];

	(void)bar;
	if (offset & 8)
		uiommu_dma_write(uiommu_pci_device(pci), size & 4 ? 1 : UIOMMU_NO_PASID, value, &value, sizeof(value), &result);
	else
		uiommu_dma_read(uiommu_pci_device(pci), UIOMMU_NO_PASID, value, bytes, sizeof(bytes), &result);
	uiommu_pci_interrupt(pci, (unsigned int)offset % 16);
	uiommu_pci_intx(pci, offset & 16);
}

static const struct uiommu_pci_ops ops = {.read = model_read, .write = model_write};

static const struct uiommu_pci_capability capabilities[] = {
	{UIOMMU_PCI_PM},
	{UIOMMU_PCI_MSI, .count = 8},
	{UIOMMU_PCI_MSIX, .count = 16, .bar = 2, .offset = 0x1000},
	{UIOMMU_PCI_EXPRESS},
	{UIOMMU_PCI_PASID, .count = 8},
	{UIOMMU_PCI_ATS, .count = 1},
	{UIOMMU_PCI_PRI, .count = 8},
};

static void make_function(unsigned int i)
{
	static const char *const names[] = {"one", "two"};
	const struct uiommu_device_config config = {.size = sizeof(config), .rid = 256 + 8 * i, .name = names[i], .pasid_bits = 8};
	const struct uiommu_pci_description description = {
		.size = sizeof(description),
		.interrupt_pin = 1,
		.capability_count = ARRAY_SIZE(capabilities),
		.bars = {[0] = {.size = 4096}, [2] = {.size = 0x4000, .memory_length = PAGE, .flags = UIOMMU_PCI_BAR_64}},
		.capabilities = capabilities,
		.ops = &ops,
	};

	if (uiommu_device_alloc(fuzz.context, &config, &fuzz.devices[i]) ||
	    uiommu_pci_create(fuzz.context, fuzz.devices[i], &description, i ? &fuzz : NULL, &fuzz.functions[i]) ||
	    uiommu_vfio_add(fuzz.vfio, fuzz.functions[i], 256 + 8 * i))
		abort();
}

static void make_all(void)
{
	if (fuzz.context)
		return;
	uiommu_install_fault_handler();
	if (uiommu_open(NULL, &fuzz.context) || uiommu_vfio_create(&fuzz.vfio))
		abort();
	for (unsigned int i = 0; i < FUNCTIONS; i++)
		make_function(i);
	fuzz.memory = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	memset(fuzz.fds, 0xff, sizeof(fuzz.fds));
}

static int *slot(struct input *input)
{
	return &fuzz.fds[take_byte(input) % SLOTS];
}

static void close_slot(int *fd)
{
	if (*fd >= 0)
		uiommu_abi_close(*fd);
	*fd = -1;
}

static void open_file(struct input *input)
{
	static const char *const paths[] = {"/dev/iommu",  "/dev/vfio/vfio",	      "/dev/vfio/0",
					    "/dev/vfio/1", "/dev/vfio/devices/vfio0", "/dev/vfio/devices/vfio1"};
	int *fd = slot(input);
	unsigned int which = take_byte(input) % ARRAY_SIZE(paths);

	close_slot(fd);
	*fd = which ? uiommu_vfio_open(fuzz.vfio, paths[which]) : uiommu_abi_open(paths[0], NULL);
}

/* What its struct has at the beginning, and where a descriptor belongs. */
static const struct {
	unsigned int number;
	uint32_t size;
	int fd_at; /* -1: nowhere */
} commands[] = {
	{VFIO_SPEC_BIND_IOMMUFD, 24, 8},
	{VFIO_SPEC_ATTACH_PT, 16, -1},
	{VFIO_SPEC_DETACH_PT, 12, -1},
	{VFIO_DEVICE_GET_INFO, 24, -1},
	{VFIO_DEVICE_GET_REGION_INFO, 64, -1},
	{VFIO_DEVICE_GET_IRQ_INFO, 16, -1},
	{VFIO_DEVICE_SET_IRQS, 28, 20},
	{VFIO_DEVICE_RESET, 0, -1},
	{VFIO_DEVICE_GET_PCI_HOT_RESET_INFO, 28, -1},
	{VFIO_DEVICE_PCI_HOT_RESET, 20, 12},
	{VFIO_DEVICE_FEATURE, 16, 8},
	{VFIO_GROUP_GET_STATUS, 8, -1},
	{VFIO_GROUP_SET_CONTAINER, 0, 0},
	{VFIO_GROUP_UNSET_CONTAINER, 0, -1},
	{VFIO_GROUP_GET_DEVICE_FD, 0, -1},
	{VFIO_IOMMU_MAP_DMA, 32, -1},
	{VFIO_IOMMU_UNMAP_DMA, 24, -1},
	{VFIO_SET_IOMMU, 0, -1},
	{ABI_COMMAND(ABI_DESTROY), 8, -1},
	{ABI_COMMAND(ABI_IOAS_ALLOC), 12, -1},
	{ABI_COMMAND(ABI_IOAS_MAP), 40, -1},
	{ABI_COMMAND(ABI_IOAS_UNMAP), 24, -1},
	{ABI_COMMAND(ABI_HWPT_ALLOC), 48, -1},
	{ABI_COMMAND(ABI_VFIO_IOAS), 12, -1},
	{ABI_COMMAND(ABI_GET_HW_INFO), 40, -1},
};

/* Memory is mapped where DMA may be, and nowhere else: what a device writes must not be the fuzzer's. */
static void keep_memory(unsigned int number, uint8_t *argument)
{
	uint64_t *words = (uint64_t *)(void *)argument;

	if (number == ABI_COMMAND(ABI_IOAS_MAP)) {
		words[2] = (uint64_t)(uintptr_t)fuzz.memory + (words[2] & (MEMORY / 2 - PAGE));
		words[3] = min_u64(words[3], MEMORY / 2);
	}
	if (number == VFIO_IOMMU_MAP_DMA) {
		words[1] = (uint64_t)(uintptr_t)fuzz.memory + (words[1] & (MEMORY / 2 - PAGE));
		words[3] = min_u64(words[3], MEMORY / 2);
	}
	/* Replies go through the caller's pointers as well. */
	if (number == ABI_COMMAND(ABI_GET_HW_INFO))
		words[2] = (uint64_t)(uintptr_t)fuzz.memory, memcpy(argument + 12, &(uint32_t){MEMORY}, 4);
}

static void ioctl_file(struct input *input)
{
	_Alignas(8) uint8_t argument[ARGUMENT] = {0};
	const unsigned int which = take_byte(input) % ARRAY_SIZE(commands), shape = take_byte(input);
	int fd = *slot(input), other = shape & 1 ? fuzz.event : *slot(input), result;
	size_t length = take_byte(input) % 49;
	int *made;

	memcpy(argument, &(uint32_t){shape & 2 ? (uint32_t)take_number(input, 4) : commands[which].size}, 4);
	for (size_t i = 0; i < length; i++)
		argument[(commands[which].size ? 4 : 0) + i] = take_byte(input);
	if (commands[which].fd_at >= 0 && shape & 4)
		memcpy(argument + commands[which].fd_at, &other, sizeof(other));
	if (commands[which].number == VFIO_GROUP_GET_DEVICE_FD && shape & 4)
		strcpy((char *)argument, shape & 8 ? "0000:01:00.0" : "0000:01:01.0");
	keep_memory(commands[which].number, argument);
	result = uiommu_ioctl(fd, commands[which].number,
			      commands[which].number == VFIO_SET_IOMMU ? (void *)(uintptr_t)(shape & 3) : argument);
	if (commands[which].number != VFIO_GROUP_GET_DEVICE_FD || result < 0)
		return;
	made = slot(input);
	if (*made == fd)
		made = &fuzz.fds[(made - fuzz.fds + 1) % SLOTS];
	close_slot(made);
	*made = result;
}

static void access_region(struct input *input)
{
	int fd = *slot(input);
	uint64_t region = take_byte(input) % 10,
		 offset = region << VFIO_SPEC_REGION_SHIFT | ((uint32_t)take_number(input, 4) & 0x1ffff);
	unsigned int length = take_byte(input);
	uint8_t buffer[256];

	for (unsigned int i = 0; i < 8; i++)
		buffer[i] = take_byte(input);
	memset(buffer + 8, buffer[0], sizeof(buffer) - 8);
	if (length & 1)
		uiommu_abi_write(fd, buffer, length >> 1, offset);
	else
		uiommu_abi_read(fd, buffer, length >> 1, offset);
}

static void map_region(struct input *input)
{
	int fd = *slot(input);
	uint64_t offset = (uint64_t)(take_byte(input) % 9) << VFIO_SPEC_REGION_SHIFT | (uint64_t)(take_byte(input) % 5) * PAGE;
	size_t length = (size_t)(take_byte(input) % 5) * PAGE;
	uint8_t *map = uiommu_abi_mmap(fd, offset, length, PROT_READ | PROT_WRITE, MAP_SHARED);

	if (map == MAP_FAILED)
		return;
	map[length - 1] = take_byte(input);
	if (uiommu_abi_munmap(fd, map, offset, length))
		abort();
}

static void (*const steps[])(struct input *input) = {open_file, ioctl_file, ioctl_file, ioctl_file, access_region, map_region};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input input = {data, size};
	unsigned int order;

	make_all();
	fuzz.event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	while (input.left) {
		unsigned int step = take_byte(&input) % (ARRAY_SIZE(steps) + 1);

		if (step < ARRAY_SIZE(steps))
			steps[step](&input);
		else
			close_slot(slot(&input));
	}
	order = (unsigned int)size;
	for (unsigned int i = 0; i < SLOTS; i++)
		close_slot(&fuzz.fds[(i + order) % SLOTS]);
	close(fuzz.event);
	for (unsigned int i = 0; i < FUNCTIONS; i++)
		if (uiommu_object_type(fuzz.context, fuzz.devices[i]) != UIOMMU_OBJECT_DEVICE ||
		    uiommu_pci_state(fuzz.functions[i]))
			abort();
	return 0;
}
