/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
/*
 * /dev/uiommuN: the accelerator for a process, at its own addresses.
 *
 * Opening binds the process: the device has a PASID for its address space until the file is closed. UIOMMU_ACCEL_RING says where
 * its ring of descriptors is; then mapping a page of the file gives the doorbell (docs/accel.md, "Doorbell pages"). Both are for
 * the process that has opened the file only: a child that has inherited it, or another program after exec, gets EPERM, and the
 * mapping is not inherited.
 *
 * read() takes 8 bytes, the number of interrupts since the last read, and waits for one; poll() says whether there are any. An
 * interrupt may be another process's: records say what is complete.
 *
 * Closing ends everything: what is not complete then is not done.
 */
#ifndef UIOMMU_ACCEL_UAPI_H
#define UIOMMU_ACCEL_UAPI_H

#include <linux/ioctl.h>
#include <linux/types.h>

/**
 * struct uiommu_accel_ring - where descriptors are.
 * @address: of the ring, a multiple of 64; it need not be mapped yet
 * @entries: a power of two from 2 to 4096
 * @flags: 0
 */
struct uiommu_accel_ring {
	__u64 address;
	__u32 entries;
	__u32 flags;
};

/**
 * struct uiommu_accel_info - what the process has.
 * @pasid: its PASID
 * @page: number of its doorbell page
 * @state: STATE of that page
 * @reserved: 0
 */
struct uiommu_accel_info {
	__u32 pasid;
	__u32 page;
	__u32 state;
	__u32 reserved;
};

#define UIOMMU_ACCEL_INFO _IOR(0xe1, 0, struct uiommu_accel_info)
/* EBUSY: there is a ring already; EINVAL; ENOMEM; ENODEV: the device is gone, or does not react. Doorbells count from 0. */
#define UIOMMU_ACCEL_RING _IOW(0xe1, 1, struct uiommu_accel_ring)
/* Wait until all that has been rung is complete; then there is no ring any more. EINTR: what is left is not done. */
#define UIOMMU_ACCEL_DRAIN _IO(0xe1, 2)

#endif
