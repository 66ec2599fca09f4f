/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Config space as VFIO shows it: the function's, but that interrupts are set up by SET_IRQS and not there, that what the system
 * owns (the link, ATS, page requests, PASIDs, ACS) cannot be written, and that a reset keeps everything else. Which bits are a
 * program's is what Linux has; tests/guest/test_config.py compares them.
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

/* Where a capability's register is; 0: there is no such capability. */
static unsigned int place(const struct vfio_device *device, enum uiommu_pci_capability_type type, unsigned int offset)
{
	unsigned int at = device->pci->place[type];

	return at ? at + offset : 0;
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
	at = device->pci->place[UIOMMU_PCI_MSI];
	if (at)
		pci_config_read(device->pci, at, device->msi, sizeof(device->msi));
	device->msi_lg2 = 0;
	device->msi_set_up = false;
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

/* Vectors that were not asked for are masked. */
static void enable_msi(struct vfio_device *device)
{
	uint32_t vectors = device->irqs.enabled, others = vectors < PCI_MSI_COUNT_MAX ? UINT32_MAX << vectors : 0;

	device->msi_lg2 = 32 - (unsigned int)__builtin_clz(vectors * 2 - 1) - 1;
	put(device, place(device, UIOMMU_PCI_MSI, PCI_MSI_MASK), others, DWORD);
	put(device, place(device, UIOMMU_PCI_MSI, PCI_MSI_CONTROL), PCI_MSI_ENABLE | device->msi_lg2 << PCI_MSI_ENABLED_SHIFT, 2);
}

void vfio_config_mode(struct vfio_device *device, enum pci_irq before, enum pci_irq now)
{
	unsigned int msix = place(device, UIOMMU_PCI_MSIX, PCI_MSIX_CONTROL);

	pthread_mutex_lock(&device->access_lock);
	device->msi_set_up = now == PCI_IRQ_MSI;
	if (before == PCI_IRQ_MSIX)
		put(device, msix, 0, 2);
	if (before == PCI_IRQ_MSI) {
		put(device, place(device, UIOMMU_PCI_MSI, PCI_MSI_CONTROL), 0, 2);
		put(device, place(device, UIOMMU_PCI_MSI, PCI_MSI_MASK), 0, DWORD);
	}
	if (now == PCI_IRQ_MSIX)
		put(device, msix, PCI_MSIX_ENABLE, 2);
	if (now == PCI_IRQ_MSI)
		enable_msi(device);
	pthread_mutex_unlock(&device->access_lock);
}

/* --- reads --- */

/*
 * What Linux keeps a copy of, for programs, of the MSI capability's first bytes: they read what they have written, whatever
 * SET_IRQS has set up, and only the control register has an effect.
 */
static bool is_copied(unsigned int offset)
{
	return offset == PCI_MSI_CONTROL || (offset >= PCI_MSI_ADDRESS && offset < PCI_MSI_DATA + 2);
}

/* Whoever has the PASID capability shares a device's PASIDs with others: as in Linux, no list leads to it. */
static void hide_pasid(const struct vfio_device *device, uint8_t *config)
{
	unsigned int hidden = device->pci->place[UIOMMU_PCI_PASID], at = PCI_EXTENDED_FIRST, next;

	if (!hidden)
		return;
	if (hidden == at) {
		/* The first one stays as the beginning of the list. */
		config[at] = config[at + 1] = 0;
		config[at + 2] &= 0xf0;
		return;
	}
	for (; at; at = next) {
		next = (config[at + 2] | (unsigned int)config[at + 3] << 8) >> 4;
		if (next == hidden) {
			config[at + 2] = (uint8_t)((config[at + 2] & 0xf) | (config[hidden + 2] & 0xf0));
			config[at + 3] = config[hidden + 3];
			return;
		}
	}
}

void vfio_config_read(struct vfio_device *device, unsigned int offset, uint8_t *buffer, size_t length)
{
	uint8_t config[UIOMMU_PCI_CONFIG_SIZE];
	unsigned int msi = device->pci->place[UIOMMU_PCI_MSI];

	pci_config_read(device->pci, 0, config, sizeof(config));
	for (unsigned int i = 0; msi && i < PCI_MSI_LENGTH; i++)
		if (is_copied(i))
			config[msi + i] = device->msi[i];
	hide_pasid(device, config);
	memcpy(buffer, config + offset, length);
}

/* --- writes --- */

/* The register's dword at @at is one that programs cannot write. */
static bool is_system(const struct vfio_device *device, unsigned int at)
{
	static const struct {
		enum uiommu_pci_capability_type type;
		unsigned int offset, length;
	} kept[] = {
		{UIOMMU_PCI_MSIX, 0, PCI_MSIX_LENGTH},	 {UIOMMU_PCI_EXPRESS, PCI_EXP_LINK_CONTROL, DWORD},
		{UIOMMU_PCI_ATS, 0, PCI_ATS_LENGTH},	 {UIOMMU_PCI_PRI, 0, PCI_PRI_LENGTH},
		{UIOMMU_PCI_PASID, 0, PCI_PASID_LENGTH}, {UIOMMU_PCI_ACS, 0, PCI_ACS_LENGTH},
	};

	for (size_t i = 0; i < ARRAY_SIZE(kept); i++) {
		unsigned int start = place(device, kept[i].type, kept[i].offset);

		if (start && at >= start && at < start + kept[i].length)
			return true;
	}
	return false;
}

/* MSI is enabled by SET_IRQS, and with no more vectors than were set up there. @offset: in the capability. */
static void write_msi(struct vfio_device *device, unsigned int offset, const uint8_t *bytes, size_t length)
{
	uint8_t *control = &device->msi[PCI_MSI_CONTROL];

	for (unsigned int i = 0; i < length; i++)
		if (is_copied(offset + i))
			device->msi[offset + i] = bytes[i];
	if (PCI_MSI_CONTROL < offset || PCI_MSI_CONTROL >= offset + length)
		return;
	if (!device->msi_set_up)
		*control &= (uint8_t)~PCI_MSI_ENABLE;
	if ((*control & PCI_MSI_ENABLED) >> PCI_MSI_ENABLED_SHIFT > device->msi_lg2)
		*control = (uint8_t)((*control & ~(unsigned int)PCI_MSI_ENABLED) | device->msi_lg2 << PCI_MSI_ENABLED_SHIFT);
	put(device, place(device, UIOMMU_PCI_MSI, PCI_MSI_CONTROL), *control, 1);
}

/* Within a dword. */
static void write_piece(struct vfio_device *device, unsigned int offset, const uint8_t *bytes, size_t length)
{
	unsigned int msi = device->pci->place[UIOMMU_PCI_MSI];
	unsigned int flr = place(device, UIOMMU_PCI_EXPRESS, PCI_EXP_CONTROL + 1);
	uint8_t given[DWORD];
	bool resets;

	if (is_system(device, offset & ~(DWORD - 1u)))
		return;
	if (msi && offset >= msi && offset < msi + PCI_MSI_MASK) {
		write_msi(device, offset - msi, bytes, length);
		return;
	}
	memcpy(given, bytes, length);
	resets = pci_asks_for_reset(device->pci, offset, bytes, length);
	if (resets)
		given[flr - offset] &= (uint8_t) ~(PCI_EXP_CONTROL_FLR >> 8);
	pci_config_write(device->pci, offset, given, length);
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
