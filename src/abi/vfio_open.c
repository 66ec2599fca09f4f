/* SPDX-License-Identifier: BSD-3-Clause */
/* A device's opens and closes: whose it is, and how it does DMA and sends interrupts meanwhile. */
#include <errno.h>
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

static int first_open(struct vfio_device *device, struct abi_file *iommufd)
{
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
	pthread_mutex_lock(&device->access_lock);
	pci_reset(device->pci, UIOMMU_PCI_RESET_FUNCTION);
	vfio_config_begin(device);
	pthread_mutex_unlock(&device->access_lock);
	device->iommufd = abi_file_get(iommufd);
	device->context = context;
	device->id = dma->id;
	return 0;
}

int vfio_device_open(struct vfio_device *device, struct abi_file *iommufd, bool cdev)
{
	int error;

	if (device->opens && cdev)
		return -EINVAL;
	error = device->opens ? 0 : first_open(device, iommufd);
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
