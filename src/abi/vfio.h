/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * VFIO: the files under /dev/vfio, and the table of PCI functions that they give to programs.
 *
 * Each function is a group of its own: function number N of the table is /dev/vfio/N and /dev/vfio/devices/vfioN. Both ways in lead
 * to an iommufd: a container is one (/dev/vfio/vfio, as Linux has it with CONFIG_IOMMUFD_VFIO_CONTAINER), and a group that is put
 * into one attaches its device to the IOAS that the iommufd has for VFIO.
 *
 * A function belongs to nobody until its device is opened, and is as after a reset then and afterwards. Meanwhile its device is an
 * object of the iommufd's context (iommu/device.h says how it gets there).
 */
#ifndef ABI_VFIO_H
#define ABI_VFIO_H

#include <uiommu/vfio.h>

#include "abi/abi.h"

/* open(2) of "/dev/vfio/vfio", "/dev/vfio/N", "/dev/vfio/devices/vfioN": -ENOENT, -EBUSY, -EMFILE, -ENOMEM. */
int vfio_open(struct uiommu_vfio *vfio, const char *path, struct abi_file **out);

/* Is it a device's? */
bool vfio_is_device(const struct abi_file *file);

/*
 * Of a device's file: its address as text; and the iommufd that has the device, with the object's id there, both for as long as
 * there is the file. NULL: none has it yet.
 */
const char *vfio_file_address(const struct abi_file *file);
const struct abi_file *vfio_file_iommufd(const struct abi_file *file, uint32_t *id);

/*
 * Whoever opens a device through the cdev, or first through its group, can map BARs from its own descriptor, without anybody's
 * help, at the offsets that VFIO_DEVICE_GET_REGION_INFO says: the BARs' memory lies there meanwhile (struct abi_mapping.native).
 * Before anything is opened.
 */
void vfio_map_natively(struct uiommu_vfio *vfio);

/* Its address as text, as long as there is the device; NULL: it is none of them. */
const char *vfio_name(struct uiommu_vfio *vfio, const struct uiommu_device *device);

/*
 * What a program finds in /dev and /sys of all this. Each returns 0, or what vfio_tree() returns then. Paths and targets are
 * absolute or, of a link, relative to its folder; folders are made as they are needed.
 */
struct vfio_tree_ops {
	int (*node)(void *opaque, const char *path, unsigned int major, unsigned int minor);
	int (*file)(void *opaque, const char *path, const void *data, size_t length);
	int (*link)(void *opaque, const char *path, const char *target);
};

int vfio_tree(struct uiommu_vfio *vfio, const struct vfio_tree_ops *ops, void *opaque);

#endif
