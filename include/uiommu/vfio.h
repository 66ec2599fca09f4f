/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * PCI functions for user-space drivers: Linux's VFIO as C calls (abi.h), both ways in, by cdev and by group and container. It is
 * what `uiommu run` gives to a program under /dev/vfio.
 *
 * Functions are in a table. Number N of it is "/dev/vfio/devices/vfioN", and, each being a group of its own, "/dev/vfio/N". The
 * structs and commands are those of <linux/vfio.h>; docs/vfio.md says what is offered and where it differs from a kernel.
 */
#ifndef UIOMMU_VFIO_H
#define UIOMMU_VFIO_H

#include <uiommu/abi.h>
#include <uiommu/pci.h>

#ifdef __cplusplus
extern "C" {
#endif

struct uiommu_vfio;

/**
 * uiommu_vfio_create() - make an empty table.
 * @out: the table
 *
 * Return: 0, -ENOMEM.
 */
UIOMMU_API int uiommu_vfio_create(struct uiommu_vfio **out);

/**
 * uiommu_vfio_add() - add a function, which gets the next number, from 0 on.
 * @vfio: the table, of which nothing has been opened yet
 * @pci: the function; no other transport has it. While somebody has its device open, that is an object of the iommufd it is bound
 * to and nowhere to be found in the context that has made it, which must stay
 * @address: where it is to be found: domain << 16 | bus << 8 | device << 3 | function
 *
 * Return: 0, -EEXIST (the function or the address is in the table), -ENOSPC (256 functions, or no addresses for BARs), -ENOMEM.
 * Thread-safe.
 */
UIOMMU_API int uiommu_vfio_add(struct uiommu_vfio *vfio, struct uiommu_pci *pci, uint32_t address);

/**
 * uiommu_vfio_open() - open(2).
 * @vfio: the table
 * @path: "/dev/vfio/vfio" (an iommufd, as Linux has it with CONFIG_IOMMUFD_VFIO_CONTAINER), "/dev/vfio/N" or
 *        "/dev/vfio/devices/vfioN"
 *
 * Return: a descriptor for the calls of abi.h, close-on-exec; -ENOENT (there is no such file), -EBUSY (a group that is open, or
 * whose device is bound by its cdev), -EMFILE, -ENOMEM. Thread-safe.
 */
UIOMMU_API int uiommu_vfio_open(struct uiommu_vfio *vfio, const char *path);

/**
 * uiommu_vfio_destroy() - end a table of which no descriptor is open.
 * @vfio: the table; NULL does nothing
 *
 * The functions stay.
 */
UIOMMU_API void uiommu_vfio_destroy(struct uiommu_vfio *vfio);

#ifdef __cplusplus
}
#endif
#endif
