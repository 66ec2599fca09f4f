/* SPDX-License-Identifier: BSD-3-Clause */
/* VFIO's structs as of Linux 7.2, as far as the machine's <linux/vfio.h> may lack them: Debian 12 has that of 6.1. */
#ifndef ABI_VFIO_SPEC_H
#define ABI_VFIO_SPEC_H

#include <linux/vfio.h>
#include <stdint.h>

enum {
	VFIO_SPEC_BIND_IOMMUFD = ';' << 8 | (VFIO_BASE + 18),
	VFIO_SPEC_ATTACH_PT = ';' << 8 | (VFIO_BASE + 19),
	VFIO_SPEC_DETACH_PT = ';' << 8 | (VFIO_BASE + 20),
};

enum {
	VFIO_SPEC_BIND_TOKEN = 1,
	VFIO_SPEC_WITH_PASID = 1, /* ATTACH_PT, DETACH_PT */
	VFIO_SPEC_RESET_DEV_ID = 1, /* hot reset info */
	VFIO_SPEC_RESET_DEV_ID_OWNED = 2,
};
#define VFIO_SPEC_DEVID_OWNED 0
#define VFIO_SPEC_DEVID_NOT_OWNED UINT32_MAX

enum { VFIO_SPEC_REGION_SHIFT = 40 }; /* of a region's index in the file's offsets */

struct vfio_spec_bind {
	uint32_t argsz;
	uint32_t flags;
	int32_t iommufd;
	uint32_t out_devid;
	uint64_t token_uuid_ptr;
};

struct vfio_spec_attach {
	uint32_t argsz;
	uint32_t flags;
	uint32_t pt_id;
	uint32_t pasid;
};

struct vfio_spec_detach {
	uint32_t argsz;
	uint32_t flags;
	uint32_t pasid;
};

struct vfio_spec_info {
	uint32_t argsz;
	uint32_t flags;
	uint32_t num_regions;
	uint32_t num_irqs;
	uint32_t cap_offset;
	uint32_t pad;
};

/* Of Linux's structs the part before an array of any length. */
struct vfio_spec_irq_set {
	uint32_t argsz;
	uint32_t flags;
	uint32_t index;
	uint32_t start;
	uint32_t count;
};

struct vfio_spec_reset_info {
	uint32_t argsz;
	uint32_t flags;
	uint32_t count;
};

struct vfio_spec_reset {
	uint32_t argsz;
	uint32_t flags;
	uint32_t count;
};

struct vfio_spec_feature {
	uint32_t argsz;
	uint32_t flags;
};

struct vfio_spec_reset_device {
	uint32_t group_id; /* or the device's id in the caller's iommufd */
	uint16_t segment;
	uint8_t bus;
	uint8_t devfn;
};

struct vfio_spec_sparse {
	uint16_t id;
	uint16_t version;
	uint32_t next;
	uint32_t nr_areas;
	uint32_t reserved;
	uint64_t offset;
	uint64_t size;
};

_Static_assert(sizeof(struct vfio_spec_bind) == 24, "BIND_IOMMUFD");
_Static_assert(sizeof(struct vfio_region_info) == 32, "GET_REGION_INFO");
_Static_assert(sizeof(struct vfio_spec_sparse) == sizeof(struct vfio_region_info_cap_sparse_mmap) + 16, "sparse mmap");
_Static_assert(sizeof(struct vfio_spec_irq_set) == sizeof(struct vfio_irq_set), "SET_IRQS");
_Static_assert(sizeof(struct vfio_spec_reset_info) == sizeof(struct vfio_pci_hot_reset_info), "hot reset info");
_Static_assert(sizeof(struct vfio_spec_reset) == sizeof(struct vfio_pci_hot_reset), "hot reset");
_Static_assert(sizeof(struct vfio_spec_feature) == sizeof(struct vfio_device_feature), "FEATURE");
_Static_assert(sizeof(struct vfio_spec_reset_device) == sizeof(struct vfio_pci_dependent_device), "hot reset");
#ifdef VFIO_DEVICE_BIND_IOMMUFD
_Static_assert(VFIO_SPEC_BIND_IOMMUFD == VFIO_DEVICE_BIND_IOMMUFD && VFIO_SPEC_ATTACH_PT == VFIO_DEVICE_ATTACH_IOMMUFD_PT &&
		       VFIO_SPEC_DETACH_PT == VFIO_DEVICE_DETACH_IOMMUFD_PT,
	       "numbers");
_Static_assert(sizeof(struct vfio_device_bind_iommufd) <= sizeof(struct vfio_spec_bind), "BIND_IOMMUFD");
#endif

#endif
