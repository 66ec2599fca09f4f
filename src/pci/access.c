/* SPDX-License-Identifier: BSD-3-Clause */
/* BARs: registers by calls to the model, memory by copies, and the MSI-X table. */
#include <errno.h>
#include <string.h>

#include "memory/copy.h"
#include "pci/capability.h"
#include "pci/pci.h"
#include "util/util.h"

/*
 * The thread is inside an access to registers. A model whose DMA comes back to registers, its own or another's, would find itself
 * in the middle of something: that is refused.
 */
static __thread bool inside;

struct access {
	unsigned int bar;
	uint64_t offset;
	uint8_t *buffer;
	size_t length;
	bool write;
};

static bool in_memory(const struct uiommu_pci_bar *bar, uint64_t offset)
{
	return !(bar->flags & UIOMMU_PCI_BAR_WATCHED) && offset >= bar->memory_offset &&
	       offset - bar->memory_offset < bar->memory_length;
}

/* The greatest aligned power of two that lies in the access and is of one kind: kinds begin at multiples of 8. */
static unsigned int piece_of(const struct uiommu_pci *pci, const struct access *access)
{
	unsigned int size = pci_msix_hit(pci, access->bar, access->offset) ? 4 : 8;

	while (access->offset % size || size > access->length)
		size /= 2;
	return size;
}

static void memory_piece(const struct uiommu_pci *pci, const struct access *access, size_t length)
{
	uint8_t *memory = (uint8_t *)pci->memory[access->bar] + (access->offset - pci->bars[access->bar].memory_offset);

	if (access->write)
		copy_bytes(memory, access->buffer, length);
	else
		copy_bytes(access->buffer, memory, length);
}

static void register_piece(struct uiommu_pci *pci, const struct access *access, unsigned int size)
{
	bool table = pci_msix_hit(pci, access->bar, access->offset);
	uint64_t value = 0;

	if (access->write) {
		for (unsigned int i = 0; i < size; i++)
			value |= (uint64_t)access->buffer[i] << (8 * i);
		if (table)
			pci_msix_write(pci, access->offset, size, (uint32_t)value);
		else if (pci->ops->write)
			pci->ops->write(pci->opaque, access->bar, access->offset, size, value);
		return;
	}
	if (table)
		value = pci_msix_read(pci, access->offset, size);
	else if (pci->ops->read)
		value = pci->ops->read(pci->opaque, access->bar, access->offset, size);
	for (unsigned int i = 0; i < size; i++)
		access->buffer[i] = (uint8_t)(value >> (8 * i));
}

/* Bytes done. */
static size_t one_piece(struct uiommu_pci *pci, const struct access *access)
{
	const struct uiommu_pci_bar *bar = &pci->bars[access->bar];
	unsigned int size;

	if (in_memory(bar, access->offset)) {
		size_t length = min_u64(access->length, bar->memory_offset + bar->memory_length - access->offset);

		memory_piece(pci, access, length);
		return length;
	}
	size = piece_of(pci, access);
	register_piece(pci, access, size);
	return size;
}

static bool decodes(const struct uiommu_pci *pci)
{
	return (__atomic_load_n(&pci->state, __ATOMIC_ACQUIRE) & (UIOMMU_PCI_MEMORY | UIOMMU_PCI_D3)) == UIOMMU_PCI_MEMORY;
}

static int access_bar(struct uiommu_pci *pci, struct access *access)
{
	uint64_t size = access->bar < UIOMMU_PCI_BARS ? pci->bars[access->bar].size : 0;

	if (!access->length || access->length > size || access->offset > size - access->length)
		return -EINVAL;
	if (!access->write)
		memset(access->buffer, 0xff, access->length);
	if (inside)
		return -EDEADLK;
	inside = true;
	/* Any of the calls may reset the function or move it to D3. */
	while (access->length && decodes(pci)) {
		size_t done = one_piece(pci, access);

		access->offset += done;
		access->buffer += done;
		access->length -= done;
	}
	inside = false;
	return 0;
}

int pci_bar_read(struct uiommu_pci *pci, unsigned int bar, uint64_t offset, void *buffer, size_t length)
{
	struct access access = {bar, offset, buffer, length, .write = false};

	return access_bar(pci, &access);
}

int pci_bar_write(struct uiommu_pci *pci, unsigned int bar, uint64_t offset, const void *buffer, size_t length)
{
	struct access access = {bar, offset, (uint8_t *)(uintptr_t)buffer, length, .write = true};

	return access_bar(pci, &access);
}
