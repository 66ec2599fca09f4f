/* SPDX-License-Identifier: BSD-3-Clause */
/* The accelerator as a PCI function (docs/accel.md, "PCI function"): types and constants only. */
#ifndef ACCEL_PCI_SPEC_H
#define ACCEL_PCI_SPEC_H

#include <stdint.h>

enum {
	ACCEL_PCI_VENDOR = 0x1234,
	ACCEL_PCI_DEVICE = 0x5541,
	ACCEL_PCI_CLASS = 0x120000, /* processing accelerator */
	ACCEL_PCI_REVISION = 1,
	ACCEL_PCI_REQUESTS = 512, /* outstanding page request capacity */
	ACCEL_PCI_PAGES_MAX = 512,
	ACCEL_PCI_VECTORS_MAX = 64,
};

/* BARs. Doorbells are apart from what only the driver may reach. */
enum {
	ACCEL_BAR_REGISTERS = 0,
	ACCEL_BAR_DOORBELLS = 2,
	ACCEL_BAR_MSIX = 4,
	ACCEL_BAR_MSIX_SIZE = 4096,
	ACCEL_DOORBELL_SIZE = 4096,
};

/* BAR 0. */
enum {
	ACCEL_VERSION = 0x00,
	ACCEL_PAGES = 0x04,
	ACCEL_VECTORS = 0x08,
	ACCEL_ENTRIES_MAX = 0x0c,
	ACCEL_CONTROL = 0x10,
	ACCEL_CONTROL_RESET = 1,
	ACCEL_STATUS = 0x14,
	ACCEL_STATUS_RESETTING = 1,
	ACCEL_EVENT_INTERRUPT = 0x18,
	ACCEL_EVENTS = 0x40, /* 8 words of 64 pages, write 1 to clear */
	ACCEL_EVENTS_END = 0x80,
	ACCEL_PAGE_REGISTERS = 0x1000,
	ACCEL_PAGE_STRIDE = 0x40,
};

/* Of each page. */
enum {
	ACCEL_PAGE_COMMAND = 0x00,
	ACCEL_PAGE_STATE = 0x04,
	ACCEL_PAGE_RING = 0x08, /* 8 bytes */
	ACCEL_PAGE_SIZE = 0x10,
	ACCEL_PAGE_PASID = 0x14,
	ACCEL_PAGE_INTERRUPT = 0x18,
	ACCEL_PAGE_ERROR = 0x20, /* 8 bytes */
	ACCEL_PAGE_ERROR_ADDRESS = 0x28, /* 8 bytes */
	ACCEL_PAGE_HEAD = 0x30,
	ACCEL_PAGE_TAIL = 0x34,
};

enum {
	ACCEL_COMMAND_ENABLE = 1,
	ACCEL_COMMAND_DRAIN = 2,
	ACCEL_COMMAND_ABORT = 3,
};

enum {
	ACCEL_STATE_DISABLED,
	ACCEL_STATE_ENABLING,
	ACCEL_STATE_ENABLED,
	ACCEL_STATE_DRAINING,
	ACCEL_STATE_ABORTING,
	ACCEL_STATE_HALTED = 1 << 4, /* besides ENABLED or DRAINING */
	ACCEL_STATE_REASON_SHIFT = 8,
};

/* Why it has not been enabled. */
enum {
	ACCEL_REASON_NONE,
	ACCEL_REASON_RING, /* misaligned, or it wraps */
	ACCEL_REASON_SIZE,
	ACCEL_REASON_PASID, /* 0, or PASIDs are not enabled */
	ACCEL_REASON_INTERRUPT, /* no such vector */
	ACCEL_REASON_MEMORY, /* the device has none */
};

#define ACCEL_VALID (UINT32_C(1) << 31) /* of PASID and of interrupts */

/* Of a doorbell page, in BAR 2. */
enum {
	ACCEL_DOORBELL = 0x00, /* 8 bytes */
	ACCEL_DOORBELL_HEAD = 0x08, /* 8 bytes */
	ACCEL_DOORBELL_STATE = 0x10, /* 8 bytes */
	ACCEL_DOORBELL_ERRORS = 0x18, /* 8 bytes */
	ACCEL_DOORBELL_END = 0x20,
};

#endif
