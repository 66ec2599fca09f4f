/* SPDX-License-Identifier: BSD-3-Clause */
/* The header of config space, reads and writes. Which bits a guest can change is said by tables; all else happens afterwards. */
#include <errno.h>
#include <string.h>

#include "pci/capability.h"
#include "pci/pci.h"
#include "pci/spec.h"
#include "util/util.h"

static const struct pci_register header[] = {
	{PCI_COMMAND, 2,
	 .writable = PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER | PCI_COMMAND_PARITY | PCI_COMMAND_SERR | PCI_COMMAND_NO_INTX},
	{PCI_STATUS, 2, .clears = PCI_STATUS_ERRORS},
	{PCI_CACHE_LINE, 1, .writable = 0xff},
	{PCI_LINE, 1, .writable = 0xff},
};

uint32_t pci_config_get(const struct pci_config *config, unsigned int offset, unsigned int width)
{
	uint32_t value = 0;

	for (unsigned int i = 0; i < width; i++)
		value |= (uint32_t)config->value[offset + i] << (8 * i);
	return value;
}

static void put(uint8_t *bytes, unsigned int offset, unsigned int width, uint32_t value)
{
	for (unsigned int i = 0; i < width; i++)
		bytes[offset + i] = (uint8_t)(value >> (8 * i));
}

void pci_config_set(struct pci_config *config, unsigned int offset, unsigned int width, uint32_t value)
{
	put(config->value, offset, width, value);
}

void pci_config_reset_value(struct pci_config *config, unsigned int offset, unsigned int width, uint32_t value)
{
	put(config->reset, offset, width, value);
}

void pci_config_writable(struct pci_config *config, unsigned int offset, unsigned int width, uint32_t mask)
{
	put(config->writable, offset, width, mask);
}

void pci_config_registers(struct pci_config *config, unsigned int at, const struct pci_register *registers, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		const struct pci_register *one = &registers[i];

		put(config->reset, at + one->offset, one->width, one->reset);
		put(config->writable, at + one->offset, one->width, one->writable);
		put(config->clears, at + one->offset, one->width, one->clears);
	}
}

/* A BAR's address bits are those above its size. */
static void lay_bar(struct pci_config *config, unsigned int bar, const struct uiommu_pci_bar *given)
{
	uint64_t mask = ~(given->size - 1);
	uint32_t flags = (given->flags & UIOMMU_PCI_BAR_64 ? PCI_BAR_TYPE_64 : 0) |
			 (given->flags & UIOMMU_PCI_BAR_PREFETCHABLE ? PCI_BAR_PREFETCH : 0);
	unsigned int at = PCI_BAR0 + 4 * bar;

	put(config->reset, at, 4, flags);
	put(config->writable, at, 4, (uint32_t)mask & ~(uint32_t)PCI_BAR_FLAGS);
	if (given->flags & UIOMMU_PCI_BAR_64)
		put(config->writable, at + 4, 4, (uint32_t)(mask >> 32));
}

static void lay_header(struct uiommu_pci *pci, const struct uiommu_pci_description *description)
{
	struct pci_config *config = &pci->config;

	pci_config_registers(config, 0, header, ARRAY_SIZE(header));
	put(config->reset, PCI_VENDOR, 2, description->vendor);
	put(config->reset, PCI_DEVICE, 2, description->device);
	put(config->reset, PCI_REVISION, 1, description->revision);
	put(config->reset, PCI_CLASS, 3, description->class_code);
	put(config->reset, PCI_SUBSYSTEM_VENDOR, 2, description->subsystem_vendor);
	put(config->reset, PCI_SUBSYSTEM, 2, description->subsystem);
	put(config->reset, PCI_PIN, 1, description->interrupt_pin);
	if (pci->always_master) {
		put(config->reset, PCI_COMMAND, 2, PCI_COMMAND_MASTER);
		config->writable[PCI_COMMAND] &= (uint8_t)~PCI_COMMAND_MASTER;
	}
	for (unsigned int bar = 0; bar < UIOMMU_PCI_BARS; bar++)
		if (pci->bars[bar].size)
			lay_bar(config, bar, &pci->bars[bar]);
}

int pci_layout(struct uiommu_pci *pci, const struct uiommu_pci_description *description)
{
	int error;

	lay_header(pci, description);
	error = pci_capabilities(pci, description->capabilities, description->capability_count);
	memcpy(pci->config.value, pci->config.reset, sizeof(pci->config.value));
	return error;
}

static bool range_valid(uint64_t offset, size_t length, uint64_t size)
{
	return length && length <= size && offset <= size - length;
}

int pci_config_read(struct uiommu_pci *pci, uint64_t offset, void *buffer, size_t length)
{
	if (!range_valid(offset, length, UIOMMU_PCI_CONFIG_SIZE))
		return -EINVAL;
	pthread_mutex_lock(&pci->lock);
	pci_collect(pci);
	memcpy(buffer, pci->config.value + offset, length);
	pthread_mutex_unlock(&pci->lock);
	return 0;
}

/* What is no longer enabled ends before the model hears of it; what is newly enabled works then. */
static void tell(struct uiommu_pci *pci, struct pci_transport *transport, unsigned int before, unsigned int now)
{
	bool was = pci_state_masters(before), is = pci_state_masters(now);

	if (before == now)
		return;
	if (was != is)
		pci_master(pci, transport, is);
	if (pci->ops->changed)
		pci->ops->changed(pci->opaque, before, now);
}

int pci_config_write(struct uiommu_pci *pci, uint64_t offset, const void *buffer, size_t length)
{
	struct pci_config *config = &pci->config;
	struct pci_transport *transport;
	struct pci_config old;
	unsigned int before, now;
	const uint8_t *bytes = buffer;
	bool flr;

	if (!range_valid(offset, length, UIOMMU_PCI_CONFIG_SIZE))
		return -EINVAL;
	pthread_mutex_lock(&pci->lock);
	pci_collect(pci);
	memcpy(old.value, config->value, sizeof(old.value));
	for (size_t i = 0; i < length; i++) {
		uint64_t at = offset + i;

		config->value[at] = (uint8_t)((config->value[at] & ~config->writable[at]) | (bytes[i] & config->writable[at]));
		config->value[at] &= (uint8_t) ~(bytes[i] & config->clears[at]);
	}
	pci_written(pci, (unsigned int)offset, length, &old);
	before = pci->state;
	now = pci_state_of(pci);
	__atomic_store_n(&pci->state, now, __ATOMIC_RELEASE);
	pci_interrupts_update(pci);
	transport = pci->transport;
	flr = pci_asks_for_reset(pci, (unsigned int)offset, bytes, length);
	pthread_mutex_unlock(&pci->lock);
	tell(pci, transport, before, now);
	if (flr)
		pci_reset(pci, UIOMMU_PCI_RESET_FUNCTION);
	return 0;
}
