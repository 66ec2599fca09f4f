/* SPDX-License-Identifier: BSD-3-Clause */
/* Capabilities: what they look like, and what must hold of them whatever a guest writes. */
#ifndef PCI_CAPABILITY_H
#define PCI_CAPABILITY_H

#include "pci/pci.h"

/* A register: its first value, which bits a guest can write, and which it clears by writing 1. */
struct pci_register {
	uint16_t offset;
	uint8_t width; /* bytes */
	uint32_t reset;
	uint32_t writable;
	uint32_t clears;
};

/* Put them into config space from @at on. */
void pci_config_registers(struct pci_config *config, unsigned int at, const struct pci_register *registers, size_t count);
void pci_config_reset_value(struct pci_config *config, unsigned int offset, unsigned int width, uint32_t value);
void pci_config_writable(struct pci_config *config, unsigned int offset, unsigned int width, uint32_t mask);

/* Lay them out: -EINVAL, -ENOSPC, -ENOMEM. */
int pci_capabilities(struct uiommu_pci *pci, const struct uiommu_pci_capability *given, unsigned int count);

/* Does a write of @bytes initiate a function level reset? */
bool pci_asks_for_reset(const struct uiommu_pci *pci, unsigned int offset, const uint8_t *bytes, size_t length);

/* May there be DMA in @state? */
static inline bool pci_state_masters(unsigned int state)
{
	return (state & (UIOMMU_PCI_BUS_MASTER | UIOMMU_PCI_D3)) == UIOMMU_PCI_BUS_MASTER;
}

#endif
