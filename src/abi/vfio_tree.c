/* SPDX-License-Identifier: BSD-3-Clause */
/* What a program finds in /dev and /sys of the functions, as a kernel with vfio-pci has it. */
#include <stdio.h>
#include <string.h>

#include "abi/vfio_device.h"
#include "pci/pci.h"
#include "pci/spec.h"

enum {
	PATH = 160,
	TEXT = 1024,
	MISC_MAJOR = 10,
	CONTAINER_MINOR = 196,
	GROUP_MAJOR = 244,
	CDEV_MAJOR = 243,
	RESOURCES = 13, /* lines of "resource": BARs, ROM, those of virtual functions */
};

/* linux/ioport.h */
enum {
	RESOURCE_MEMORY = 0x200,
	RESOURCE_PREFETCH = 0x2000,
	RESOURCE_ALIGNED = 0x40000,
	RESOURCE_64 = 0x100000,
};

/* Where things go, and the first error. */
struct tree {
	const struct vfio_tree_ops *ops;
	void *opaque;
	const struct vfio_device *device;
	int error;
};

/* In the device's folder. */
static void path_of(const struct tree *tree, const char *name, char *out)
{
	snprintf(out, PATH, "/sys/devices/uiommu/%s/%s", tree->device->name, name);
}

static void add_bytes(struct tree *tree, const char *name, const void *data, size_t length)
{
	char path[PATH];

	path_of(tree, name, path);
	if (!tree->error)
		tree->error = tree->ops->file(tree->opaque, path, data, length);
}

static void add_text(struct tree *tree, const char *name, const char *text)
{
	add_bytes(tree, name, text, strlen(text));
}

static void add_hex(struct tree *tree, const char *name, unsigned int digits, uint32_t value)
{
	char text[24];

	snprintf(text, sizeof(text), "0x%0*x\n", (int)digits, value);
	add_text(tree, name, text);
}

static void add_link(struct tree *tree, const char *path, const char *target)
{
	if (!tree->error)
		tree->error = tree->ops->link(tree->opaque, path, target);
}

static void add_node(struct tree *tree, const char *path, unsigned int major, unsigned int minor)
{
	if (!tree->error)
		tree->error = tree->ops->node(tree->opaque, path, major, minor);
}

/* A link to the device's folder; @up: how far /sys is above the link. */
static void add_link_to_device(struct tree *tree, const char *path, unsigned int up)
{
	char target[PATH] = "";

	while (up--)
		strcat(target, "../");
	snprintf(target + strlen(target), sizeof(target) - strlen(target), "devices/uiommu/%s", tree->device->name);
	add_link(tree, path, target);
}

static uint32_t config_of(const struct uiommu_pci *pci, unsigned int offset, unsigned int width)
{
	struct pci_config config;

	memcpy(config.value, pci->config.reset, sizeof(config.value));
	return pci_config_get(&config, offset, width);
}

/* As after BIOS and a driver: what config space says when a program opens the device. */
static void add_config(struct tree *tree)
{
	const struct vfio_device *device = tree->device;
	struct pci_config config;

	memcpy(config.value, device->pci->config.reset, sizeof(config.value));
	pci_config_set(&config, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
	for (unsigned int bar = 0; bar < UIOMMU_PCI_BARS; bar++) {
		unsigned int at = PCI_BAR0 + 4 * bar;

		if (!device->bars[bar])
			continue;
		pci_config_set(&config, at, 4, (uint32_t)device->bars[bar] | pci_config_get(&config, at, 4));
		if (device->pci->bars[bar].flags & UIOMMU_PCI_BAR_64)
			pci_config_set(&config, at + 4, 4, (uint32_t)(device->bars[bar] >> 32));
	}
	add_bytes(tree, "config", config.value, vfio_config_size(device));
}

static void add_resources(struct tree *tree)
{
	char text[RESOURCES * 58 + 1] = "";
	size_t length = 0;

	for (unsigned int i = 0; i < RESOURCES; i++) {
		const struct uiommu_pci_bar *bar = i < UIOMMU_PCI_BARS ? &tree->device->pci->bars[i] : NULL;
		uint64_t start = 0, last = 0, flags = 0;

		if (bar && bar->size) {
			start = tree->device->bars[i];
			last = start + bar->size - 1;
			flags = RESOURCE_MEMORY | RESOURCE_ALIGNED;
			if (bar->flags & UIOMMU_PCI_BAR_64)
				flags |= RESOURCE_64 | PCI_BAR_TYPE_64;
			if (bar->flags & UIOMMU_PCI_BAR_PREFETCHABLE)
				flags |= RESOURCE_PREFETCH | PCI_BAR_PREFETCH;
		}
		length += (size_t)snprintf(text + length, sizeof(text) - length, "0x%016llx 0x%016llx 0x%016llx\n",
					   (unsigned long long)start, (unsigned long long)last, (unsigned long long)flags);
	}
	add_text(tree, "resource", text);
}

static void add_names(struct tree *tree)
{
	const struct uiommu_pci *pci = tree->device->pci;
	uint32_t vendor = config_of(pci, PCI_VENDOR, 2), id = config_of(pci, PCI_DEVICE, 2), class = config_of(pci, PCI_CLASS, 3);
	uint32_t sub_vendor = config_of(pci, PCI_SUBSYSTEM_VENDOR, 2), sub = config_of(pci, PCI_SUBSYSTEM, 2);
	char alias[128], text[TEXT];

	add_hex(tree, "vendor", 4, vendor);
	add_hex(tree, "device", 4, id);
	add_hex(tree, "subsystem_vendor", 4, sub_vendor);
	add_hex(tree, "subsystem_device", 4, sub);
	add_hex(tree, "class", 6, class);
	add_hex(tree, "revision", 2, config_of(pci, PCI_REVISION, 1));
	snprintf(alias, sizeof(alias), "pci:v%08Xd%08Xsv%08Xsd%08Xbc%02Xsc%02Xi%02X\n", vendor, id, sub_vendor, sub, class >> 16,
		 class >> 8 & 0xff, class & 0xff);
	add_text(tree, "modalias", alias);
	snprintf(text, sizeof(text),
		 "DRIVER=vfio-pci\nPCI_CLASS=%X\nPCI_ID=%04X:%04X\nPCI_SUBSYS_ID=%04X:%04X\n"
		 "PCI_SLOT_NAME=%s\nMODALIAS=%s",
		 class, vendor, id, sub_vendor, sub, tree->device->name, alias);
	add_text(tree, "uevent", text);
}

static void add_folder(struct tree *tree)
{
	char path[PATH], target[PATH], text[24];
	unsigned int number = tree->device->number;

	add_names(tree);
	add_config(tree);
	add_resources(tree);
	add_text(tree, "irq", "0\n");
	add_text(tree, "numa_node", "-1\n");
	add_text(tree, "driver_override", "vfio-pci\n");
	path_of(tree, "driver", path);
	add_link(tree, path, "../../../bus/pci/drivers/vfio-pci");
	path_of(tree, "subsystem", path);
	add_link(tree, path, "../../../bus/pci");
	path_of(tree, "iommu_group", path);
	snprintf(target, sizeof(target), "../../../kernel/iommu_groups/%u", number);
	add_link(tree, path, target);
	snprintf(path, sizeof(path), "vfio-dev/vfio%u/dev", number);
	snprintf(text, sizeof(text), "%u:%u\n", CDEV_MAJOR, number);
	add_text(tree, path, text);
}

static void add_elsewhere(struct tree *tree)
{
	const struct vfio_device *device = tree->device;
	char path[PATH], target[PATH];

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s", device->name);
	add_link_to_device(tree, path, 3);
	snprintf(path, sizeof(path), "/sys/bus/pci/drivers/vfio-pci/%s", device->name);
	add_link_to_device(tree, path, 4);
	snprintf(path, sizeof(path), "/sys/kernel/iommu_groups/%u/devices/%s", device->number, device->name);
	add_link_to_device(tree, path, 4);
	snprintf(path, sizeof(path), "/sys/class/vfio-dev/vfio%u", device->number);
	snprintf(target, sizeof(target), "../../devices/uiommu/%s/vfio-dev/vfio%u", device->name, device->number);
	add_link(tree, path, target);
	snprintf(path, sizeof(path), "/dev/vfio/%u", device->number);
	add_node(tree, path, GROUP_MAJOR, device->number);
	snprintf(path, sizeof(path), "/dev/vfio/devices/vfio%u", device->number);
	add_node(tree, path, CDEV_MAJOR, device->number);
}

int vfio_tree(struct uiommu_vfio *vfio, const struct vfio_tree_ops *ops, void *opaque)
{
	struct tree tree = {.ops = ops, .opaque = opaque};

	add_node(&tree, "/dev/vfio/vfio", MISC_MAJOR, CONTAINER_MINOR);
	for (unsigned int i = 0; i < vfio->count && !tree.error; i++) {
		tree.device = vfio->devices[i];
		add_folder(&tree);
		add_elsewhere(&tree);
	}
	return tree.error;
}
