/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The accelerator as a PCI function: the engine of accel.h behind registers, for a guest or a program that drives it.
 *
 * Each process that uses it has a doorbell page of its own, whose PASID only the driver can set; its descriptors lie in its own
 * memory and are read with that PASID. docs/accel.md, "PCI function", is what a driver is written from.
 */
#ifndef UIOMMU_ACCEL_PCI_H
#define UIOMMU_ACCEL_PCI_H

#include <uiommu/accel.h>
#include <uiommu/pci.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * enum uiommu_accel_pci_flags - flags of a function.
 * @UIOMMU_ACCEL_PCI_POLLED: the engine has no thread; somebody calls uiommu_accel_poll()
 */
enum uiommu_accel_pci_flags {
	UIOMMU_ACCEL_PCI_POLLED = 1,
};

/**
 * struct uiommu_accel_pci_config - a new function. Zero what is not used.
 * @size: sizeof(struct uiommu_accel_pci_config)
 * @flags: &enum uiommu_accel_pci_flags
 * @pages: doorbell pages, 1 to 512; 0: 128
 * @vectors: MSI-X vectors, 1 to 64; 0: 16
 * @spin_us: how long the engine's thread polls after the last work before it sleeps; 0: not at all
 * @set_id: with @accel: the PASID set (pasid.h) that what it emits comes from, not the context's own; otherwise 0
 * @accel: an engine that was made by uiommu_accel_create() or has another function, in the same context, and ends after this one:
 *         the function is a virtual device of it. The engine is run by its owner: @flags and @spin_us are 0. NULL: the function has
 *         an engine of its own
 *
 * A virtual device has a device, pages, page requests and faults of its own, and turns of the engine of its own, however many
 * queues others have there. The PASIDs that its guest writes into PASID registers are vPASIDs (mdev.h): each stands for a PASID of
 * the set, which is picked when a page is first enabled with it and stays until the set's owner frees it. What is attached to the
 * device has to be attached by these.
 */
struct uiommu_accel_pci_config {
	uint32_t size;
	uint32_t flags;
	uint32_t pages;
	uint32_t vectors;
	uint32_t spin_us;
	uint32_t set_id;
	struct uiommu_accel *accel;
};

struct uiommu_accel_pci;

/**
 * uiommu_accel_pci_create() - make the function.
 * @context: owner of the device
 * @device_id: the device that does its DMA, with 20 PASID bits and without ATS
 * @config: what it is; copied
 * @out: the function
 *
 * Return: 0, -EINVAL (size, pages, vectors, one of @accel and @set_id without the other, @accel with @spin_us), -EOPNOTSUPP
 * (flags), -ENOENT (no such set), -EAGAIN (no thread), -E2BIG, or the errors of uiommu_pci_create().
 */
UIOMMU_API int uiommu_accel_pci_create(struct uiommu_context *context, uint32_t device_id,
				       const struct uiommu_accel_pci_config *config, struct uiommu_accel_pci **out);

/**
 * uiommu_accel_pci_function() - the function, for a transport (vfio_user.h).
 * @function: from uiommu_accel_pci_create()
 *
 * Return: the function, as long as @function lives. Thread-safe.
 */
UIOMMU_API struct uiommu_pci *uiommu_accel_pci_function(const struct uiommu_accel_pci *function);

/**
 * uiommu_accel_pci_engine() - its engine, for uiommu_accel_poll().
 * @function: from uiommu_accel_pci_create()
 *
 * Return: the engine, which ends with @function unless that is a virtual device of it.
 */
UIOMMU_API struct uiommu_accel *uiommu_accel_pci_engine(const struct uiommu_accel_pci *function);

/**
 * uiommu_accel_pci_destroy() - end function and engine, unless that is somebody else's; what is not completed is dropped.
 * @function: that no transport has any more; NULL does nothing
 *
 * Return: 0, -EDEADLK (inside an access or callback; nothing has changed).
 */
UIOMMU_API int uiommu_accel_pci_destroy(struct uiommu_accel_pci *function);

#ifdef __cplusplus
}
#endif
#endif
