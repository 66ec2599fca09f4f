/* SPDX-License-Identifier: BSD-3-Clause */
/* A session's devices: models by name, and what programs find of them under /dev/vfio and /sys. */
#ifndef SESSION_DEVICES_H
#define SESSION_DEVICES_H

#include "abi/vfio.h"

struct session_devices;

/*
 * @texts: "MODEL[,OPTION[=VALUE]]...[,bdf=[DOMAIN:]BUS:DEVICE.FUNCTION]", NULL at the end; without bdf they are function 0 of
 * buses 1, 2 and so on of domain 0. @texts may be NULL. @native: vfio_map_natively(). 0, or -errno and a line about it in
 * @complaint.
 */
int devices_create(const char *const *texts, bool native, char *complaint, size_t size, struct session_devices **out);

/* None of their files is left. NULL does nothing. */
void devices_destroy(struct session_devices *devices);

int devices_open(struct session_devices *devices, const char *path, struct abi_file **out);

/* "0000:01:00.0", as long as there are devices; "a device" that is none of them. */
const char *devices_name(struct session_devices *devices, const struct uiommu_device *device);

int devices_tree(struct session_devices *devices, const struct vfio_tree_ops *ops, void *opaque);

#endif
