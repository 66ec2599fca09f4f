/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Config space as VFIO shows it: the function's, but that interrupts are set up by SET_IRQS and not there, that what the system
 * owns (ATS, page requests, PASIDs, ACS) cannot be written, and that a reset keeps everything else.
 */
#include <string.h>

#include "abi/vfio_device.h"
#include "pci/capability.h"
#include "pci/spec.h"
#include "util/util.h"

enum { DWORD = 4 };

unsigned int vfio_config_size(const struct vfio_device *device)
{
	return device->pci->place[UIOMMU_PCI_EXPRESS] ? UIOMMU_PCI_CONFIG_SIZE : PCI_CAPABILITIES_END;
}

static void put(struct vfio_device *device, unsigned int offset, uint32_t value, size_t width)
{
	uint8_t bytes[DWORD];

	for (size_t i = 0; i < width; i++)
		bytes[i] = (uint8_t)(value >> (8 * i));
	pci_config_write(device->pci, offset, bytes, width);
}

static uint32_t get(struct vfio_device *device, unsigned int offset, size_t width)
{
	uint8_t bytes[DWORD] = {0};

	pci_config_read(device->pci, offset, bytes, width);
	return bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 24;
}

/* Where a capability's register is; 0: there is no such capability. */
static unsigned int place(const struct vfio_device *device, enum uiommu_pci_capability_type type, unsigned int offset)
{
	unsigned int at = device->pci->place[type];

	return at ? at + offset : 0;
}

static unsigned int msi_capable(const struct vfio_device *device)
{
	return device->pci->msi_count ? (unsigned int)__builtin_ctz(device->pci->msi_count) : 0;
}

/* What the system does for a device with an IOMMU: PASIDs first, since they cannot be enabled afterwards. */
void vfio_config_begin(struct vfio_device *device)
{
	unsigned int at;

	for (unsigned int bar = 0; bar < UIOMMU_PCI_BARS; bar++) {
		if (!device->bars[bar])
			continue;
		put(device, PCI_BAR0 + DWORD * bar, (uint32_t)device->bars[bar], DWORD);
		if (device->pci->bars[bar].flags & UIOMMU_PCI_BAR_64)
			put(device, PCI_BAR0 + DWORD * (bar + 1), (uint32_t)(device->bars[bar] >> 32), DWORD);
	}
	at = place(device, UIOMMU_PCI_PASID, PCI_PASID_CONTROL);
	if (at)
		put(device, at, PCI_PASID_ENABLE, 2);
	at = place(device, UIOMMU_PCI_ATS, PCI_ATS_CONTROL);
	if (at)
		put(device, at, PCI_ATS_ENABLE, 2);
	at = place(device, UIOMMU_PCI_PRI, PCI_PRI_CONTROL);
	if (at) {
		put(device, place(device, UIOMMU_PCI_PRI, PCI_PRI_ALLOCATION), UINT32_MAX, DWORD);
		put(device, at, PCI_PRI_ENABLE, 2);
	}
	device->msi_lg2 = msi_capable(device);
	put(device, PCI_COMMAND, PCI_COMMAND_MEMORY, 2);
}

void vfio_device_reset(struct vfio_device *device, enum uiommu_pci_reset_type type)
{
	uint8_t saved[UIOMMU_PCI_CONFIG_SIZE];
	unsigned int at = place(device, UIOMMU_PCI_PM, PCI_PM_CONTROL);

	pci_config_read(device->pci, 0, saved, sizeof(saved));
	/* Out of a reset it comes with power. */
	if (at)
		saved[at] &= (uint8_t)~PCI_PM_STATE;
	pci_reset(device->pci, type);
	pci_config_write(device->pci, 0, saved, sizeof(saved));
}

void vfio_config_mode(struct vfio_device *device, enum pci_irq before, enum pci_irq now)
{
	unsigned int msi = place(device, UIOMMU_PCI_MSI, PCI_MSI_CONTROL);
	unsigned int msix = place(device, UIOMMU_PCI_MSIX, PCI_MSIX_CONTROL);

	pthread_mutex_lock(&device->access_lock);
	if (before == PCI_IRQ_MSIX)
		put(device, msix, 0, 2);
	if (before == PCI_IRQ_MSI)
		put(device, msi, 0, 2);
	if (now == PCI_IRQ_MSIX)
		put(device, msix, PCI_MSIX_ENABLE, 2);
	if (now == PCI_IRQ_MSI) {
		uint32_t vectors = device->irqs.enabled;

		device->msi_lg2 = 32 - (unsigned int)__builtin_clz(vectors * 2 - 1) - 1;
		put(device, msi, PCI_MSI_ENABLE | device->msi_lg2 << PCI_MSI_ENABLED_SHIFT, 2);
	}
	pthread_mutex_unlock(&device->access_lock);
}

/* --- reads --- */

/* Whoever has the PASID capability shares a device's PASIDs with others; it is not shown. */
static void hide_pasid(const struct vfio_device *device, uint8_t *config)
{
	unsigned int hidden = device->pci->place[UIOMMU_PCI_PASID], at = PCI_EXTENDED_FIRST, next;

	if (!hidden)
		return;
	if (hidden == at) {
		/* The first one stays as the beginning of the list. */
		config[at] = config[at + 1] = 0;
		config[at + 2] &= 0xf0;
		memset(config + at + DWORD, 0, PCI_PASID_LENGTH - DWORD);
		return;
	}
	for (; at; at = next) {
		next = (config[at + 2] | (unsigned int)config[at + 3] << 8) >> 4;
		if (next == hidden) {
			config[at + 2] = (uint8_t)((config[at + 2] & 0xf) | (config[hidden + 2] & 0xf0));
			config[at + 3] = config[hidden + 3];
			memset(config + hidden, 0, PCI_PASID_LENGTH);
			return;
		}
	}
}

void vfio_config_read(struct vfio_device *device, unsigned int offset, uint8_t *buffer, size_t length)
{
	uint8_t config[UIOMMU_PCI_CONFIG_SIZE];
	unsigned int at = place(device, UIOMMU_PCI_MSI, PCI_MSI_CONTROL);

	pci_config_read(device->pci, 0, config, sizeof(config));
	if (at)
		config[at] = (uint8_t)((config[at] & ~(7u << PCI_MSI_CAPABLE_SHIFT)) | device->msi_lg2 << PCI_MSI_CAPABLE_SHIFT);
	hide_pasid(device, config);
	memcpy(buffer, config + offset, length);
}

/* --- writes --- */

/* The register's dword at @at is one that programs cannot write. */
static bool is_system(const struct vfio_device *device, unsigned int at)
{
	static const struct {
		enum uiommu_pci_capability_type type;
		unsigned int length;
	} kept[] = {
		{UIOMMU_PCI_MSIX, PCI_MSIX_LENGTH},   {UIOMMU_PCI_ATS, PCI_ATS_LENGTH}, {UIOMMU_PCI_PRI, PCI_PRI_LENGTH},
		{UIOMMU_PCI_PASID, PCI_PASID_LENGTH}, {UIOMMU_PCI_ACS, PCI_ACS_LENGTH},
	};

	for (size_t i = 0; i < ARRAY_SIZE(kept); i++) {
		unsigned int start = device->pci->place[kept[i].type];

		if (start && at >= start && at < start + kept[i].length)
			return true;
	}
	return false;
}

/* MSI is enabled by SET_IRQS, and with no more vectors than were set up there. */
static void write_msi_control(struct vfio_device *device, unsigned int at)
{
	uint32_t control = get(device, at, 2), enabled = (control & PCI_MSI_ENABLED) >> PCI_MSI_ENABLED_SHIFT, right = control;

	if (!(device->pci->state & UIOMMU_PCI_MSI_ON))
		return;
	if (device->irqs.mode != PCI_IRQ_MSI)
		right &= ~(uint32_t)PCI_MSI_ENABLE;
	if (enabled > device->msi_lg2)
		right = (right & ~(uint32_t)PCI_MSI_ENABLED) | device->msi_lg2 << PCI_MSI_ENABLED_SHIFT;
	if (right != control)
		put(device, at, right, 2);
}

/* Within a dword. */
static void write_piece(struct vfio_device *device, unsigned int offset, const uint8_t *bytes, size_t length)
{
	unsigned int dword = offset & ~(DWORD - 1u), control = place(device, UIOMMU_PCI_MSI, PCI_MSI_CONTROL);
	unsigned int flr = place(device, UIOMMU_PCI_EXPRESS, PCI_EXP_CONTROL + 1);
	uint8_t given[DWORD];
	bool resets;

	if (is_system(device, dword))
		return;
	memcpy(given, bytes, length);
	resets = pci_asks_for_reset(device->pci, offset, bytes, length);
	if (resets)
		given[flr - offset] &= (uint8_t) ~(PCI_EXP_CONTROL_FLR >> 8);
	pci_config_write(device->pci, offset, given, length);
	if (control && dword == (control & ~(DWORD - 1u)))
		write_msi_control(device, control);
	if (resets)
		vfio_device_reset(device, UIOMMU_PCI_RESET_FUNCTION);
}

void vfio_config_write(struct vfio_device *device, unsigned int offset, const uint8_t *buffer, size_t length)
{
	while (length) {
		size_t piece = (size_t)min_u64(DWORD - offset % DWORD, length);

		write_piece(device, offset, buffer, piece);
		offset += (unsigned int)piece;
		buffer += piece;
		length -= piece;
	}
}
