/* SPDX-License-Identifier: BSD-3-Clause */
/* A device's opens and closes: whose it is, and how it does DMA and sends interrupts meanwhile. */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "abi/iommufd.h"
#include "abi/vfio_device.h"
#include "iommu/device.h"
#include "util/util.h"

static struct vfio_device *device_of(struct pci_transport *transport)
{
	return container_of(transport, struct vfio_device, transport);
}

static void intx(struct pci_transport *transport, bool asserted)
{
	pci_irqs_intx(&device_of(transport)->irqs, asserted);
}

static bool interrupt(struct pci_transport *transport, enum pci_interrupt kind, unsigned int vector)
{
	return pci_irqs_interrupt(&device_of(transport)->irqs, kind, vector);
}

/* Nobody sends interrupts by addresses of the function's own here: what VFIO gives out are eventfds. */
static void message(struct pci_transport *transport, uint64_t address, uint32_t data)
{
	(void)transport;
	(void)address;
	(void)data;
}

/* The function keeps its device from DMA while it is no bus master, and what is attached stays so. */
static void master(struct pci_transport *transport, bool on)
{
	(void)transport;
	(void)on;
}

static bool watch(struct pci_transport *transport)
{
	return vfio_watch(device_of(transport));
}

int vfio_transport_init(struct vfio_device *device)
{
	device->transport = (struct pci_transport){intx, interrupt, message, master, watch};
	return pci_irqs_init(&device->irqs, device->pci, PCI_IRQS_FIXED | PCI_IRQS_REQUESTS);
}

/* The memory of BARs goes to where the program that has the descriptor would map it. */
static int lay_out(struct vfio_file *file)
{
	struct uiommu_pci *pci = file->device->pci;
	int fd = file->file.descriptor, error = 0;
	uint64_t end = 0;

	for (unsigned int i = 0; i < UIOMMU_PCI_BARS; i++)
		if (pci->bars[i].memory_length)
			end = ((uint64_t)i << VFIO_SPEC_REGION_SHIFT) + pci->bars[i].memory_offset + pci->bars[i].memory_length;
	if (ftruncate(fd, (off_t)end) || fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL))
		return -ENOMEM;
	for (unsigned int i = 0; i < UIOMMU_PCI_BARS && !error; i++)
		if (pci->bars[i].memory_length)
			error = pci_memory_move(pci, i, fd, (uint64_t)i << VFIO_SPEC_REGION_SHIFT);
	file->native = !error;
	if (!error)
		file->device->native = &file->file;
	return error;
}

static int first_open(struct vfio_file *file, struct abi_file *iommufd)
{
	struct vfio_device *device = file->device;
	struct uiommu_device *dma = uiommu_pci_device(device->pci);
	struct uiommu_context *context = iommufd_context(iommufd);
	int error = device_lend(dma, context);

	if (error)
		return error == -EEXIST ? -EBUSY : error;
	error = pci_connect(device->pci, &device->transport);
	if (error) {
		device_return(dma);
		return error;
	}
	error = device->vfio->native ? lay_out(file) : 0;
	if (error) {
		pci_connect(device->pci, NULL);
		device_return(dma);
		return error;
	}
	pthread_mutex_lock(&device->access_lock);
	pci_reset(device->pci, UIOMMU_PCI_RESET_FUNCTION);
	vfio_config_begin(device);
	pthread_mutex_unlock(&device->access_lock);
	device->iommufd = abi_file_get(iommufd);
	device->context = context;
	device->id = dma->id;
	return 0;
}

int vfio_device_open(struct vfio_file *file, struct abi_file *iommufd)
{
	struct vfio_device *device = file->device;
	bool cdev = !file->group;
	int error;

	if (device->opens && cdev)
		return -EINVAL;
	error = device->opens ? 0 : first_open(file, iommufd);
	if (error)
		return error;
	device->opens++;
	device->cdev = cdev;
	return 0;
}

void vfio_device_close(struct vfio_device *device)
{
	struct uiommu_device *dma = uiommu_pci_device(device->pci);

	if (--device->opens)
		return;
	pthread_mutex_lock(&device->irq_lock);
	pci_irqs_clear(&device->irqs);
	pthread_mutex_unlock(&device->irq_lock);
	pthread_mutex_lock(&device->access_lock);
	vfio_wake(device);
	pci_reset(device->pci, UIOMMU_PCI_RESET_FUNCTION);
	pci_connect(device->pci, NULL);
	pthread_mutex_unlock(&device->access_lock);
	vfio_watch_end(device);
	device_return(dma);
	device->cdev = false;
	abi_file_put(device->iommufd);
	device->iommufd = NULL;
}
