/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A VT-d as a PCI function: BAR 0 is the register page, so that a guest whose ACPI table (DMAR) points there finds the unit,
 * whatever its VMM knows of IOMMUs.
 *
 * The function is made first, because its transport makes the address space in which the guest's memory is; the unit is started
 * when that is there. What a write of its registers sets off is begun by the transport's thread, which may wait for accesses then;
 * a thread of its own does the rest, and what comes otherwise.
 */
#ifndef UIOMMU_VTD_PCI_H
#define UIOMMU_VTD_PCI_H

#include <uiommu/pci.h>
#include <uiommu/vtd.h>

#ifdef __cplusplus
extern "C" {
#endif

/** UIOMMU_VTD_PCI_BAR_SIZE - bytes of BAR 0: firmware puts so large a one nearly always at the same address. */
#define UIOMMU_VTD_PCI_BAR_SIZE (UINT64_C(64) << 20)

struct uiommu_vtd_pci;

/**
 * uiommu_vtd_pci_create() - make the function.
 * @context: owner of the device
 * @device_id: the device that the function is; it does no DMA but interrupt messages
 * @out: the function, whose registers read as 0 until uiommu_vtd_pci_start()
 *
 * Its class is that of an interrupt controller (08 00 00), so that Linux leaves the BAR where it is, and it is always a bus master.
 *
 * Return: 0, or the errors of uiommu_pci_create().
 */
UIOMMU_API int uiommu_vtd_pci_create(struct uiommu_context *context, uint32_t device_id, struct uiommu_vtd_pci **out);

/**
 * uiommu_vtd_pci_function() - the function, for a transport (vfio_user.h).
 * @function: from uiommu_vtd_pci_create()
 *
 * Return: the function, as long as @function lives. Thread-safe.
 */
UIOMMU_API struct uiommu_pci *uiommu_vtd_pci_function(const struct uiommu_vtd_pci *function);

/**
 * uiommu_vtd_pci_observe() - be told where the registers are.
 * @function: from uiommu_vtd_pci_create(), that no transport has yet
 * @placed: the guest has BAR 0 decoded, from now on, at @address. The transport's thread, no lock is held. NULL: nobody is told
 * @opaque: first argument of @placed
 *
 * The guest's ACPI table (DMAR) has to say the same.
 */
UIOMMU_API void uiommu_vtd_pci_observe(struct uiommu_vtd_pci *function, void (*placed)(void *opaque, uint64_t address),
				       void *opaque);

/**
 * uiommu_vtd_pci_start() - put a unit behind the registers.
 * @function: from uiommu_vtd_pci_create()
 * @config: the unit; @interrupt and @work are NULL, because they are the function's
 * @out: the unit, to add devices to; it ends with @function
 *
 * Return: 0, -EBUSY (there is one), -EINVAL (@interrupt or @work), -EAGAIN (no thread), or the errors of uiommu_vtd_create().
 */
UIOMMU_API int uiommu_vtd_pci_start(struct uiommu_vtd_pci *function, const struct uiommu_vtd_config *config,
				    struct uiommu_vtd **out);

/**
 * uiommu_vtd_pci_destroy() - end function and unit.
 * @function: that no transport has any more; NULL does nothing
 *
 * Return: 0, -EDEADLK (inside an access or callback; nothing has changed).
 */
UIOMMU_API int uiommu_vtd_pci_destroy(struct uiommu_vtd_pci *function);

#ifdef __cplusplus
}
#endif
#endif
