/* SPDX-License-Identifier: BSD-3-Clause */
/* Reads, writes and mappings of regions: BARs and config space. */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "abi/vfio_device.h"
#include "pci/spec.h"
#include "util/util.h"

enum { CHUNK = 4096, COUNT_MAX = 0x7ffff000 };

struct access {
	struct vfio_device *device;
	struct abi_caller *caller;
	uint64_t address;
	unsigned int region;
	uint64_t offset; /* in the region */
	size_t count;
	bool write;
};

static bool decodes(const struct vfio_device *device)
{
	return (uiommu_pci_state(device->pci) & (UIOMMU_PCI_MEMORY | UIOMMU_PCI_D3)) == UIOMMU_PCI_MEMORY;
}

/* Bytes up to where the MSI-X table begins or ends; @table: they are of it. */
static size_t run_length(const struct access *access, size_t length, bool *table)
{
	const struct pci_msix *msix = &access->device->pci->msix;
	uint64_t end = msix->table + (uint64_t)msix->count * PCI_MSIX_ENTRY;

	*table = msix->count && access->region == msix->bar && access->offset >= msix->table && access->offset < end;
	if (*table)
		return (size_t)min_u64(length, end - access->offset);
	if (msix->count && access->region == msix->bar && access->offset < msix->table)
		return (size_t)min_u64(length, msix->table - access->offset);
	return length;
}

/* The MSI-X table is the system's: it reads as ones, and what is written there is lost. */
static int access_bar(const struct access *access, uint8_t *buffer, size_t length)
{
	struct uiommu_pci *pci = access->device->pci;
	struct access at = *access;
	bool table;

	for (size_t done = 0, piece; done < length; done += piece, at.offset += piece) {
		int error = 0;

		piece = run_length(&at, length - done, &table);
		if (table && !access->write)
			memset(buffer + done, 0xff, piece);
		else if (!table && access->write)
			error = pci_bar_write(pci, access->region, at.offset, buffer + done, piece);
		else if (!table)
			error = pci_bar_read(pci, access->region, at.offset, buffer + done, piece);
		if (error)
			return error;
	}
	return 0;
}

/* Under the access lock. */
static int access_region(const struct access *access, uint8_t *buffer, size_t length)
{
	struct vfio_device *device = access->device;

	vfio_wake(device);
	if (access->region != VFIO_PCI_CONFIG_REGION_INDEX)
		return decodes(device) ? access_bar(access, buffer, length) : -EIO;
	if (access->write)
		vfio_config_write(device, (unsigned int)access->offset, buffer, length);
	else
		vfio_config_read(device, (unsigned int)access->offset, buffer, length);
	return 0;
}

static int one_chunk(const struct access *access, size_t length)
{
	uint8_t buffer[CHUNK];
	int error = access->write ? abi_caller_read(access->caller, access->address, buffer, length) : 0;

	if (error)
		return error;
	pthread_mutex_lock(&access->device->access_lock);
	error = access_region(access, buffer, length);
	pthread_mutex_unlock(&access->device->access_lock);
	if (error || access->write)
		return error;
	return abi_caller_write(access->caller, access->address, buffer, length);
}

/* How far the access goes: config space is left with an error, a BAR at its end. */
static int bound(struct access *access)
{
	unsigned int config = vfio_config_size(access->device);
	uint64_t size;

	if (access->region == VFIO_PCI_CONFIG_REGION_INDEX)
		return access->offset >= config || access->count > config - access->offset ? -EFAULT : 0;
	size = access->region < UIOMMU_PCI_BARS ? access->device->pci->bars[access->region].size : 0;
	if (access->offset >= size)
		return -EINVAL;
	access->count = (size_t)min_u64(access->count, size - access->offset);
	return 0;
}

static ssize_t access_all(struct access access, uint64_t offset)
{
	size_t done = 0;
	int error;

	if (!access.count)
		return 0;
	access.region = (unsigned int)min_u64(offset >> VFIO_SPEC_REGION_SHIFT, UINT32_MAX);
	access.offset = offset & ((UINT64_C(1) << VFIO_SPEC_REGION_SHIFT) - 1);
	access.count = (size_t)min_u64(access.count, COUNT_MAX);
	error = bound(&access);
	while (!error && done < access.count) {
		size_t length = (size_t)min_u64(access.count - done, CHUNK - access.offset % CHUNK);

		error = one_chunk(&access, length);
		access.address += length;
		access.offset += length;
		done += length;
	}
	return error ? error : (ssize_t)done;
}

ssize_t vfio_region_read(struct vfio_device *device, struct abi_caller *caller, uint64_t address, size_t count, uint64_t offset)
{
	return access_all((struct access){.device = device, .caller = caller, .address = address, .count = count}, offset);
}

ssize_t vfio_region_write(struct vfio_device *device, struct abi_caller *caller, uint64_t address, size_t count, uint64_t offset)
{
	return access_all((struct access){.device = device, .caller = caller, .address = address, .count = count, .write = true},
			  offset);
}

static bool is_in(uint64_t start, uint64_t length, uint64_t size)
{
	return length && start % page_size() == 0 && length <= size && start <= size - length;
}

int vfio_region_mmap(struct vfio_file *file, const struct abi_caller *caller, uint64_t offset, uint64_t length, int flags,
		     struct abi_mapping *out)
{
	struct vfio_device *device = file->device;
	uint64_t region = offset >> VFIO_SPEC_REGION_SHIFT, start = offset & ((UINT64_C(1) << VFIO_SPEC_REGION_SHIFT) - 1);
	const struct uiommu_pci_bar *bar = region < UIOMMU_PCI_BARS ? &device->pci->bars[region] : NULL;

	if (device->vfio->native && !file->native)
		return -ENODEV;
	length = (length + page_size() - 1) & ~(page_size() - 1);
	if (!(flags & MAP_SHARED) || !bar)
		return -EINVAL;
	if (!bar->memory_length && caller->traps && is_in(start, length, bar->size)) {
		*out = (struct abi_mapping){.fd = -1};
		return 0;
	}
	if (start < bar->memory_offset || !is_in(start - bar->memory_offset, length, bar->memory_length))
		return -EINVAL;
	start -= bar->memory_offset;
	*out = (struct abi_mapping){
		.fd = device->pci->memory_fd[region],
		.protection = PROT_READ | PROT_WRITE,
		.offset = device->pci->memory_at[region] + bar->memory_offset + start,
		.native = file->native,
		.watched = bar->flags & UIOMMU_PCI_BAR_WATCHED,
	};
	return bar->flags & UIOMMU_PCI_BAR_WATCHED ? vfio_watch_mapped(device, (unsigned int)region, start, length) : 0;
}

void vfio_region_munmap(struct vfio_device *device, uint64_t offset)
{
	if (device->pci->bars[offset >> VFIO_SPEC_REGION_SHIFT].flags & UIOMMU_PCI_BAR_WATCHED)
		vfio_watch_unmapped(device);
}
