/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * INTx, MSI, MSI-X. A vector that cannot be sent is pending; whatever may let it through (a mask, an enable bit, somebody who takes
 * it) looks again.
 */
#include <errno.h>
#include <string.h>

#include "pci/capability.h"
#include "pci/pci.h"
#include "pci/spec.h"

enum { ENTRY_ADDRESS, ENTRY_UPPER, ENTRY_DATA, ENTRY_CONTROL, ENTRY_WORDS };

static bool masters(const struct uiommu_pci *pci)
{
	return pci->transport && pci_state_masters(pci->state);
}

static bool send_msix(struct uiommu_pci *pci, unsigned int vector)
{
	struct pci_transport *transport = pci->transport;
	const uint32_t *entry = pci->msix.entries[vector];
	uint32_t control = pci_config_get(&pci->config, pci->place[UIOMMU_PCI_MSIX] + PCI_MSIX_CONTROL, 2);

	if (transport->interrupt)
		return transport->interrupt(transport, PCI_MSIX, vector);
	if ((control & PCI_MSIX_MASK_ALL) || (entry[ENTRY_CONTROL] & PCI_MSIX_MASKED))
		return false;
	transport->message(transport, (uint64_t)entry[ENTRY_UPPER] << 32 | entry[ENTRY_ADDRESS], entry[ENTRY_DATA]);
	return true;
}

static void update_msix(struct uiommu_pci *pci, unsigned int vector)
{
	uint64_t *word = &pci->msix.bits[vector / 64], bit = UINT64_C(1) << vector % 64;

	if ((*word & bit) && masters(pci) && (pci->state & UIOMMU_PCI_MSIX_ON) && send_msix(pci, vector))
		*word &= ~bit;
}

static uint32_t msi_word(const struct uiommu_pci *pci, unsigned int offset, unsigned int width)
{
	return pci_config_get(&pci->config, pci->place[UIOMMU_PCI_MSI] + offset, width);
}

/* Vectors that the guest has enabled. */
static uint32_t msi_enabled(const struct uiommu_pci *pci)
{
	return UINT32_C(1) << ((msi_word(pci, PCI_MSI_CONTROL, 2) & PCI_MSI_ENABLED) >> PCI_MSI_ENABLED_SHIFT);
}

static bool send_msi(struct uiommu_pci *pci, unsigned int vector)
{
	struct pci_transport *transport = pci->transport;
	uint64_t address = (uint64_t)msi_word(pci, PCI_MSI_UPPER, 4) << 32 | msi_word(pci, PCI_MSI_ADDRESS, 4);

	if (transport->interrupt)
		return transport->interrupt(transport, PCI_MSI, vector);
	transport->message(transport, address, (msi_word(pci, PCI_MSI_DATA, 2) & ~(msi_enabled(pci) - 1)) | vector);
	return true;
}

static void update_msi(struct uiommu_pci *pci)
{
	unsigned int at = pci->place[UIOMMU_PCI_MSI];
	uint32_t ready = pci->msi_pending & ~msi_word(pci, PCI_MSI_MASK, 4);

	for (unsigned int vector = 0; ready && vector < pci->msi_count; vector++)
		if ((ready & (UINT32_C(1) << vector)) && masters(pci) && send_msi(pci, vector))
			pci->msi_pending &= ~(UINT32_C(1) << vector);
	pci_config_set(&pci->config, at + PCI_MSI_PENDING, 4, pci->msi_pending);
}

static void update_intx(struct uiommu_pci *pci)
{
	bool level = pci->asserted && !(pci->state & (UIOMMU_PCI_MSI_ON | UIOMMU_PCI_MSIX_ON)) &&
		     !(pci_config_get(&pci->config, PCI_COMMAND, 2) & PCI_COMMAND_NO_INTX);

	pci->config.value[PCI_STATUS] &= (uint8_t)~PCI_STATUS_INTX;
	if (pci->asserted)
		pci->config.value[PCI_STATUS] |= PCI_STATUS_INTX;
	if (level != pci->level && pci->transport)
		pci->transport->intx(pci->transport, level);
	pci->level = level;
}

void pci_interrupts_update(struct uiommu_pci *pci)
{
	update_intx(pci);
	if (!(pci->state & UIOMMU_PCI_MSI_ON))
		pci->msi_pending = 0;
	if (pci->msi_count)
		update_msi(pci);
	if (!pci->msix.count)
		return;
	if (!(pci->state & UIOMMU_PCI_MSIX_ON))
		memset(pci->msix.bits, 0, (pci->msix.count + 63) / 64 * 8);
	else
		for (unsigned int vector = 0; vector < pci->msix.count; vector++)
			update_msix(pci, vector);
}

void pci_interrupts_reset(struct uiommu_pci *pci)
{
	pci->asserted = false;
	for (unsigned int vector = 0; vector < pci->msix.count; vector++) {
		memset(pci->msix.entries[vector], 0, sizeof(pci->msix.entries[vector]));
		pci->msix.entries[vector][ENTRY_CONTROL] = PCI_MSIX_MASKED;
	}
	pci_interrupts_update(pci);
}

void pci_interrupt_ready(struct uiommu_pci *pci, enum pci_interrupt kind, unsigned int vector)
{
	pthread_mutex_lock(&pci->lock);
	if (kind == PCI_MSI && pci->msi_count)
		update_msi(pci);
	else if (kind == PCI_MSIX && vector < pci->msix.count)
		update_msix(pci, vector);
	pthread_mutex_unlock(&pci->lock);
}

/* Under the lock. */
static int raise_vector(struct uiommu_pci *pci, unsigned int vector)
{
	if (!(pci->state & (UIOMMU_PCI_MSI_ON | UIOMMU_PCI_MSIX_ON)) || !masters(pci))
		return -ENODEV;
	if (pci->state & UIOMMU_PCI_MSIX_ON) {
		if (vector >= pci->msix.count)
			return -EINVAL;
		pci->msix.bits[vector / 64] |= UINT64_C(1) << vector % 64;
		update_msix(pci, vector);
		return 0;
	}
	if (vector >= pci->msi_count)
		return -EINVAL;
	pci->msi_pending |= UINT32_C(1) << (vector & (msi_enabled(pci) - 1));
	update_msi(pci);
	return 0;
}

int uiommu_pci_interrupt(struct uiommu_pci *pci, unsigned int vector)
{
	int error;

	pthread_mutex_lock(&pci->lock);
	error = raise_vector(pci, vector);
	pthread_mutex_unlock(&pci->lock);
	return error;
}

void uiommu_pci_intx(struct uiommu_pci *pci, bool asserted)
{
	pthread_mutex_lock(&pci->lock);
	pci->asserted = asserted;
	update_intx(pci);
	pthread_mutex_unlock(&pci->lock);
}

int uiommu_pci_message(struct uiommu_pci *pci, uint64_t address, uint32_t data)
{
	int error = -ENODEV;

	pthread_mutex_lock(&pci->lock);
	if (masters(pci)) {
		pci->transport->message(pci->transport, address, data);
		error = 0;
	}
	pthread_mutex_unlock(&pci->lock);
	return error;
}

bool pci_msix_hit(const struct uiommu_pci *pci, unsigned int bar, uint64_t offset)
{
	const struct pci_msix *msix = &pci->msix;

	return msix->count && bar == msix->bar && offset >= msix->table && offset < msix->pending + (msix->count + 63) / 64 * 8;
}

/* The aligned word that @offset is in. */
static uint32_t msix_word(const struct pci_msix *msix, uint64_t offset)
{
	uint64_t in_table = (offset - msix->table) / 4, in_bits = (offset - msix->pending) / 4;

	if (offset < msix->pending)
		return msix->entries[in_table / ENTRY_WORDS][in_table % ENTRY_WORDS];
	return (uint32_t)(msix->bits[in_bits / 2] >> (in_bits % 2 * 32));
}

uint32_t pci_msix_read(struct uiommu_pci *pci, uint64_t offset, unsigned int size)
{
	uint32_t word;

	pthread_mutex_lock(&pci->lock);
	word = msix_word(&pci->msix, offset) >> (offset % 4 * 8);
	pthread_mutex_unlock(&pci->lock);
	return size < 4 ? word & ((UINT32_C(1) << 8 * size) - 1) : word;
}

/* Pending bits are read-only. */
void pci_msix_write(struct uiommu_pci *pci, uint64_t offset, unsigned int size, uint32_t value)
{
	static const uint32_t writable[ENTRY_WORDS] = {~UINT32_C(3), UINT32_MAX, UINT32_MAX, PCI_MSIX_MASKED};
	struct pci_msix *msix = &pci->msix;
	unsigned int shift = offset % 4 * 8;
	uint64_t word = (offset - msix->table) / 4;
	uint32_t mask;

	if (offset >= msix->pending)
		return;
	mask = (size < 4 ? ((UINT32_C(1) << 8 * size) - 1) << shift : UINT32_MAX) & writable[word % ENTRY_WORDS];
	pthread_mutex_lock(&pci->lock);
	msix->entries[word / ENTRY_WORDS][word % ENTRY_WORDS] &= ~mask;
	msix->entries[word / ENTRY_WORDS][word % ENTRY_WORDS] |= value << shift & mask;
	update_msix(pci, (unsigned int)(word / ENTRY_WORDS));
	pthread_mutex_unlock(&pci->lock);
}
