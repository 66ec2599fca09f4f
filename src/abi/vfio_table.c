/* SPDX-License-Identifier: BSD-3-Clause */
/* The table of functions, and the names of their files. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "abi/iommufd.h"
#include "abi/local.h"
#include "abi/vfio_device.h"
#include "util/util.h"

/* Where firmware would have put BARs: those of 32 bits below 4 GiB, the others above all memory. */
#define LOW_START UINT64_C(0xc0000000)
#define LOW_END UINT64_C(0xfec00000)
#define HIGH_START (UINT64_C(1) << 46)

int uiommu_vfio_create(struct uiommu_vfio **out)
{
	struct uiommu_vfio *vfio = calloc(1, sizeof(*vfio));

	if (!vfio)
		return -ENOMEM;
	pthread_mutex_init(&vfio->lock, NULL);
	vfio->next_address = HIGH_START;
	vfio->next_low = LOW_START;
	*out = vfio;
	return 0;
}

void vfio_map_natively(struct uiommu_vfio *vfio)
{
	vfio->native = true;
}

static void device_free(struct vfio_device *device)
{
	if (device->transport.intx)
		pci_irqs_fini(&device->irqs);
	vfio_watch_fini(device);
	pthread_mutex_destroy(&device->lock);
	pthread_mutex_destroy(&device->irq_lock);
	pthread_mutex_destroy(&device->access_lock);
	pthread_mutex_destroy(&device->attach_lock);
	free(device);
}

void uiommu_vfio_destroy(struct uiommu_vfio *vfio)
{
	if (!vfio)
		return;
	for (unsigned int i = 0; i < vfio->count; i++)
		device_free(vfio->devices[i]);
	pthread_mutex_destroy(&vfio->lock);
	free(vfio);
}

/* Under the table's lock: each BAR to a multiple of its size. -ENOSPC. */
static int place_bars(struct uiommu_vfio *vfio, struct vfio_device *device)
{
	uint64_t high = vfio->next_address, low = vfio->next_low;

	for (unsigned int bar = 0; bar < UIOMMU_PCI_BARS; bar++) {
		const struct uiommu_pci_bar *given = &device->pci->bars[bar];
		uint64_t *next = given->flags & UIOMMU_PCI_BAR_64 ? &high : &low, size = max_u64(given->size, page_size());

		if (!given->size)
			continue;
		*next = (*next + size - 1) & ~(size - 1);
		device->bars[bar] = *next;
		*next += size;
	}
	if (low > LOW_END || high < HIGH_START)
		return -ENOSPC;
	vfio->next_address = high;
	vfio->next_low = low;
	return 0;
}

static int fill(struct vfio_device *device, struct uiommu_vfio *vfio, struct uiommu_pci *pci, uint32_t address)
{
	device->vfio = vfio;
	device->pci = pci;
	device->address = address;
	device->number = vfio->count;
	device->wakeup = -1;
	snprintf(device->name, sizeof(device->name), "%04x:%02x:%02x.%u", address >> 16, address >> 8 & 0xff, address >> 3 & 0x1f,
		 address & 7);
	pthread_mutex_init(&device->lock, NULL);
	pthread_mutex_init(&device->irq_lock, NULL);
	pthread_mutex_init(&device->access_lock, NULL);
	pthread_mutex_init(&device->attach_lock, NULL);
	vfio_watch_init(device);
	return vfio_transport_init(device);
}

int uiommu_vfio_add(struct uiommu_vfio *vfio, struct uiommu_pci *pci, uint32_t address)
{
	struct vfio_device *device = calloc(1, sizeof(*device));
	int error = device ? 0 : -ENOMEM;

	pthread_mutex_lock(&vfio->lock);
	for (unsigned int i = 0; i < vfio->count && !error; i++)
		if (vfio->devices[i]->address == address || vfio->devices[i]->pci == pci)
			error = -EEXIST;
	if (!error && vfio->count == VFIO_DEVICES)
		error = -ENOSPC;
	if (error) {
		free(device);
	} else {
		error = fill(device, vfio, pci, address);
		if (!error)
			error = place_bars(vfio, device);
		if (error)
			device_free(device);
		else
			vfio->devices[vfio->count++] = device;
	}
	pthread_mutex_unlock(&vfio->lock);
	return error;
}

/* The device whose number stands behind @prefix in @path, in decimal, and nothing else; or NULL. */
static struct vfio_device *numbered(struct uiommu_vfio *vfio, const char *path, const char *prefix)
{
	size_t length = strlen(prefix);
	unsigned long number;
	char text[24];

	if (strncmp(path, prefix, length) != 0 || path[length] < '0' || path[length] > '9')
		return NULL;
	number = strtoul(path + length, NULL, 10);
	snprintf(text, sizeof(text), "%lu", number);
	return number < vfio->count && !strcmp(text, path + length) ? vfio->devices[number] : NULL;
}

int vfio_open(struct uiommu_vfio *vfio, const char *path, struct abi_file **out)
{
	struct vfio_device *device;

	if (!strcmp(path, "/dev/vfio/vfio"))
		return iommufd_open(IOMMUFD_CONTAINER, out);
	device = numbered(vfio, path, "/dev/vfio/devices/vfio");
	if (device)
		return vfio_file_open(device, NULL, out);
	device = numbered(vfio, path, "/dev/vfio/");
	return device ? vfio_group_open(device, out) : -ENOENT;
}

int uiommu_vfio_open(struct uiommu_vfio *vfio, const char *path)
{
	struct abi_file *file;
	int result = vfio_open(vfio, path, &file);

	return result ? result : abi_local_give(file);
}

const char *vfio_name(struct uiommu_vfio *vfio, const struct uiommu_device *device)
{
	const char *name = NULL;

	pthread_mutex_lock(&vfio->lock);
	for (unsigned int i = 0; i < vfio->count && !name; i++)
		if (vfio->devices[i]->pci->device == device)
			name = vfio->devices[i]->name;
	pthread_mutex_unlock(&vfio->lock);
	return name;
}
