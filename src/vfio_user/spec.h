/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The vfio-user protocol, version 0.0, as QEMU 11 speaks it: little-endian structures on a stream socket, descriptors beside them.
 * The structures of devices, regions and interrupts are those of Linux's VFIO (linux/vfio.h).
 */
#ifndef VFIO_USER_SPEC_H
#define VFIO_USER_SPEC_H

#include <stdint.h>

enum vfu_command {
	VFU_VERSION = 1,
	VFU_DMA_MAP = 2,
	VFU_DMA_UNMAP = 3,
	VFU_GET_INFO = 4,
	VFU_GET_REGION_INFO = 5,
	VFU_GET_IRQ_INFO = 7,
	VFU_SET_IRQS = 8,
	VFU_REGION_READ = 9,
	VFU_REGION_WRITE = 10,
	VFU_DMA_READ = 11, /* these two are the server's */
	VFU_DMA_WRITE = 12,
	VFU_RESET = 13,
	VFU_COMMANDS,
};

enum {
	VFU_TYPE = 0xf,
	VFU_TYPE_COMMAND = 0,
	VFU_TYPE_REPLY = 1,
	VFU_NO_REPLY = 1 << 4,
	VFU_ERROR = 1 << 5,
	VFU_FLAGS = VFU_TYPE | VFU_NO_REPLY | VFU_ERROR,

	VFU_FDS_MAX = 16, /* with one message */
	VFU_DATA_MAX = 1 << 20, /* in one message */
	VFU_MESSAGE_MAX = VFU_DATA_MAX + 64,
};

struct vfu_header {
	uint16_t id;
	uint16_t command;
	uint32_t size; /* with the header */
	uint32_t flags;
	uint32_t error;
};

/* Followed by capabilities as JSON, with the NUL. */
struct vfu_version {
	uint16_t major;
	uint16_t minor;
};

enum { VFU_DMA_CAN_READ = 1, VFU_DMA_CAN_WRITE = 2, VFU_UNMAP_DIRTY = 1, VFU_UNMAP_ALL = 2 };

struct vfu_dma_map {
	uint32_t argsz;
	uint32_t flags;
	uint64_t offset;
	uint64_t address;
	uint64_t size;
};

struct vfu_dma_unmap {
	uint32_t argsz;
	uint32_t flags;
	uint64_t address;
	uint64_t size;
};

enum { VFU_DEVICE_RESET = 1, VFU_DEVICE_PCI = 2 };

struct vfu_device_info {
	uint32_t argsz;
	uint32_t flags;
	uint32_t regions;
	uint32_t irqs;
};

enum { VFU_REGION_ROM = 6, VFU_REGION_CONFIG = 7, VFU_REGIONS = 9 };
enum { VFU_REGION_READABLE = 1, VFU_REGION_WRITABLE = 2, VFU_REGION_MMAP = 4, VFU_REGION_CAPS = 8 };

struct vfu_region_info {
	uint32_t argsz;
	uint32_t flags;
	uint32_t index;
	uint32_t capabilities; /* offset of the first one */
	uint64_t size;
	uint64_t offset; /* in the descriptor that may be mapped */
};

/* The one area of a region that may be mapped. */
struct vfu_sparse {
	uint16_t id;
	uint16_t version;
	uint32_t next;
	uint32_t count;
	uint32_t reserved;
	uint64_t offset;
	uint64_t size;
};
enum { VFU_SPARSE_ID = 1, VFU_SPARSE_VERSION = 1 };

/* Of interrupts, flags and kinds are in pci/irqs.h. */
struct vfu_irq_info {
	uint32_t argsz;
	uint32_t flags;
	uint32_t index;
	uint32_t count;
};

/* BOOL: followed by a byte for each. */
struct vfu_set_irqs {
	uint32_t argsz;
	uint32_t flags;
	uint32_t index;
	uint32_t start;
	uint32_t count;
};

/* Write, and the reply of a read: followed by the bytes. */
struct vfu_region_access {
	uint64_t offset;
	uint32_t region;
	uint32_t count;
};

/* The same. QEMU 11; its predecessor had a count of 32 bits. */
struct vfu_dma_access {
	uint64_t address;
	uint64_t count;
};

_Static_assert(sizeof(struct vfu_header) == 16, "header");
_Static_assert(sizeof(struct vfu_version) == 4, "version");
_Static_assert(sizeof(struct vfu_dma_map) == 32, "DMA_MAP");
_Static_assert(sizeof(struct vfu_dma_unmap) == 24, "DMA_UNMAP");
_Static_assert(sizeof(struct vfu_region_info) == 32, "REGION_INFO");
_Static_assert(sizeof(struct vfu_sparse) == 32, "sparse mmap");
_Static_assert(sizeof(struct vfu_set_irqs) == 20, "SET_IRQS");
_Static_assert(sizeof(struct vfu_region_access) == 16, "REGION_READ");
_Static_assert(sizeof(struct vfu_dma_access) == 16, "DMA_READ");

#endif
