/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a function is through VFIO's container: regions, interrupts, each byte of config space, and which of its bits a program can
 * change. Runs inside a guest, whose kernel has the function behind its own vfio-pci, and under `uiommu run`. It judges nothing: it
 * prints what test_config.py compares.
 */
#include <sys/eventfd.h>

#include "vfio.h"

enum { CONFIG = 4096, LOOKED = 0x200, DWORD = 4 };
enum { COMMAND = 0x04, STATUS_REGISTER = 0x06, LIST = 0x34 };
enum { ID_EXPRESS = 0x10, ID_MSI = 0x05, ID_MSIX = 0x11 };
enum { EXPRESS_CONTROL = 8, FLR = 0x8000 };

static int device;
static off_t config_at;

static void config_read(unsigned int at, void *out, size_t length)
{
	CHECK(pread(device, out, length, config_at + at) == (ssize_t)length);
}

static uint32_t read_dword(unsigned int at)
{
	uint32_t value;

	config_read(at, &value, sizeof(value));
	return value;
}

static void write_config(unsigned int at, uint32_t value, size_t length)
{
	CHECK(pwrite(device, &value, length, config_at + at) == (ssize_t)length);
}

/* Where the capability is, or 0. */
static unsigned int capability(const uint8_t *config, uint8_t id)
{
	for (unsigned int at = config[LIST]; at; at = config[at + 1])
		if (config[at] == id)
			return at;
	return 0;
}

/* --- regions and interrupts --- */

static void show_areas(const uint8_t *info, uint32_t at)
{
	while (at) {
		const struct vfio_info_cap_header *header = (const void *)(info + at);
		const struct vfio_region_info_cap_sparse_mmap *sparse = (const void *)header;

		printf(" capability %u", header->id);
		for (uint32_t i = 0; header->id == VFIO_REGION_INFO_CAP_SPARSE_MMAP && i < sparse->nr_areas; i++)
			printf(" area %#llx+%#llx", sparse->areas[i].offset, sparse->areas[i].size);
		at = header->next;
	}
}

static void show_region(uint32_t index)
{
	_Alignas(8) uint8_t bytes[256];
	struct vfio_region_info *info = (void *)bytes;

	*info = (struct vfio_region_info){.argsz = sizeof(bytes), .index = index};
	if (ioctl(device, VFIO_DEVICE_GET_REGION_INFO, info)) {
		printf("region %u: errno %d\n", index, errno);
		return;
	}
	printf("region %u: size %#llx flags %#x", index, info->size, info->flags);
	show_areas(bytes, info->flags & VFIO_REGION_INFO_FLAG_CAPS ? info->cap_offset : 0);
	printf("\n");
	if (index == VFIO_PCI_CONFIG_REGION_INDEX)
		config_at = (off_t)info->offset;
}

static void show_irq(uint32_t index)
{
	struct vfio_irq_info info = {.argsz = sizeof(info), .index = index};

	if (ioctl(device, VFIO_DEVICE_GET_IRQ_INFO, &info))
		printf("irq %u: errno %d\n", index, errno);
	else
		printf("irq %u: count %u flags %#x\n", index, info.count, info.flags);
}

static void show_device(void)
{
	struct vfio_device_info info = {.argsz = sizeof(info)};

	CHECK(!ioctl(device, VFIO_DEVICE_GET_INFO, &info));
	printf("device: flags %#x regions %u irqs %u\n", info.flags, info.num_regions, info.num_irqs);
	for (uint32_t i = 0; i <= info.num_regions; i++)
		show_region(i);
	for (uint32_t i = 0; i <= info.num_irqs; i++)
		show_irq(i);
}

/* --- config space --- */

static void show_config(const uint8_t *config)
{
	static const uint8_t none[16];
	uint8_t byte;

	for (unsigned int at = 0; at < CONFIG; at += sizeof(none)) {
		if (!memcmp(config + at, none, sizeof(none)))
			continue;
		printf("config %03x:", at);
		for (unsigned int i = 0; i < sizeof(none); i++)
			printf(" %02x", config[at + i]);
		printf("\n");
	}
	for (unsigned int at = 0; at < LOOKED; at++) {
		config_read(at, &byte, 1);
		CHECK(byte == config[at]);
	}
	printf("beyond: %s\n", pread(device, &byte, 1, config_at + CONFIG) < 0 ? strerror(errno) : "read");
}

/* What differs from @before; those of the command are the program's own. */
static void show_changes(const char *what, const uint8_t *before)
{
	uint8_t now[CONFIG];

	config_read(0, now, sizeof(now));
	for (unsigned int at = 0; at < CONFIG; at++)
		if (now[at] != before[at])
			printf("%s %03x: %02x is %02x\n", what, at, before[at], now[at]);
}

/* Each bit as 1 and as 0, a dword at a time. */
static void show_writes(const uint8_t *before)
{
	unsigned int express = capability(before, ID_EXPRESS);

	for (unsigned int at = 0; at < LOOKED; at += DWORD) {
		uint32_t all = express && at == express + EXPRESS_CONTROL ? ~(uint32_t)FLR : UINT32_MAX;
		uint32_t was = read_dword(at), ones, zeroes;

		write_config(at, all, DWORD);
		ones = read_dword(at);
		write_config(at, 0, DWORD);
		zeroes = read_dword(at);
		write_config(at, was, DWORD);
		if (ones != was || zeroes != was)
			printf("write %03x: %08x ones %08x zeroes %08x\n", at, was, ones, zeroes);
	}
	show_changes("written", before);
}

static void show_resets(const uint8_t *before)
{
	unsigned int express = capability(before, ID_EXPRESS);

	if (express)
		write_config(express + EXPRESS_CONTROL, (read_dword(express + EXPRESS_CONTROL) & 0xffff) | FLR, 2);
	show_changes("flr", before);
	CHECK(!ioctl(device, VFIO_DEVICE_RESET));
	show_changes("reset", before);
}

/* One vector: what config space says meanwhile. */
static void show_enabled(const uint8_t *before, uint32_t index, const char *what)
{
	union {
		struct vfio_irq_set set;
		uint8_t bytes[sizeof(struct vfio_irq_set) + sizeof(int32_t)];
	} request = {.set = {.argsz = sizeof(request.bytes),
			     .flags = VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER,
			     .index = index,
			     .count = 1}};
	struct vfio_irq_set none = {
		.argsz = sizeof(none), .flags = VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_TRIGGER, .index = index};
	int event = eventfd(0, EFD_CLOEXEC);

	memcpy(request.set.data, &event, sizeof(event));
	CHECK(!ioctl(device, VFIO_DEVICE_SET_IRQS, &request));
	show_changes(what, before);
	CHECK(!ioctl(device, VFIO_DEVICE_SET_IRQS, &none));
	close(event);
	show_changes("disabled", before);
}

int main(int count, char **arguments)
{
	uint8_t config[CONFIG];
	int container;

	CHECK(count == 2);
	setvbuf(stdout, NULL, _IOLBF, 0);
	device = open_in_container(arguments[1], &container);
	show_device();
	config_read(0, config, sizeof(config));
	show_config(config);
	show_writes(config);
	show_resets(config);
	if (capability(config, ID_MSI))
		show_enabled(config, VFIO_PCI_MSI_IRQ_INDEX, "msi");
	if (capability(config, ID_MSIX))
		show_enabled(config, VFIO_PCI_MSIX_IRQ_INDEX, "msix");
	return 0;
}
