/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * PRI: devices that ask for pages (PCIe 6.0, 10.4).
 *
 * A device sends page requests in groups; the last one of a group says so, and the group gets one response. When it has come the
 * requests go to the fault queue of the HWPT that the PASID is attached to (fault.h), or into a guest's page request queue.
 *
 * What cannot be asked is answered at once: INVALID if nothing is attached, or if what is attached does not let the device ask;
 * FAILURE if nobody could answer; SUCCESS if there is no room, so that the device tries again (VT-d 4.1, 7.4; SMMUv3 8.1).
 *
 * This is for models of PCIe functions. uiommu_dma_page_request() and uiommu_dma_start() ask for single pages and need none of it.
 */
#ifndef UIOMMU_PRI_H
#define UIOMMU_PRI_H

#include <uiommu/device.h>
#include <uiommu/fault.h>

#ifdef __cplusplus
extern "C" {
#endif

/** UIOMMU_PAGE_GROUPS - a page request group's index is less than this (9 bits). */
#define UIOMMU_PAGE_GROUPS 512

/**
 * enum uiommu_page_flags - flags of a page request.
 * @UIOMMU_PAGE_LAST: the last one of its group, which waits for its response from now on
 * @UIOMMU_PAGE_PRIVILEGED: the access is privileged
 */
enum uiommu_page_flags {
	UIOMMU_PAGE_LAST = 1,
	UIOMMU_PAGE_PRIVILEGED = 2,
};

/**
 * struct uiommu_page_request - a page request message.
 * @address: of the page, a multiple of 4096
 * @pasid: PASID, or %UIOMMU_NO_PASID
 * @group: the group's index
 * @access: what for, &enum uiommu_access
 * @flags: &enum uiommu_page_flags
 */
struct uiommu_page_request {
	uint64_t address;
	uint32_t pasid;
	uint16_t group;
	uint8_t access;
	uint8_t flags;
};

/**
 * struct uiommu_page_response - the response to a group.
 * @pasid: the group's; %UIOMMU_NO_PASID also where the response has none (%UIOMMU_PRI_RESPONSE_PASID)
 * @group: the group's index
 * @response: &enum uiommu_response: SUCCESS, INVALID or FAILURE
 */
struct uiommu_page_response {
	uint32_t pasid;
	uint16_t group;
	uint16_t response;
};

/**
 * struct uiommu_pri_ops - what is told to a device.
 * @response: a group has been answered; its index is free. Called with no lock held, from whatever thread answers, also from inside
 *            of uiommu_pri_request(). FAILURE is the last response: page requests are refused until PRI is enabled again. Nothing
 *            that waits for accesses may be called from it (EDEADLK)
 */
struct uiommu_pri_ops {
	void (*response)(void *opaque, const struct uiommu_page_response *response);
};

/**
 * enum uiommu_pri_flags - flags of struct uiommu_pri_config.
 * @UIOMMU_PRI_RESPONSE_PASID: responses have the PASID of their group (PRG Response PASID Required)
 */
enum uiommu_pri_flags {
	UIOMMU_PRI_RESPONSE_PASID = 1,
};

/**
 * struct uiommu_pri_config - how a device asks for pages.
 * @size: sizeof(struct uiommu_pri_config)
 * @allocation: so many requests without a response there may be at most (Outstanding Page Request Allocation), 1 to 65536
 * @flags: &enum uiommu_pri_flags
 * @reserved: 0
 * @ops: stays valid until uiommu_pri_disable()
 * @opaque: first argument of them
 */
struct uiommu_pri_config {
	uint32_t size;
	uint32_t allocation;
	uint32_t flags;
	uint32_t reserved;
	const struct uiommu_pri_ops *ops;
	void *opaque;
};

/**
 * uiommu_pri_enable() - a device begins to ask for pages.
 * @device: from uiommu_device_get(), which stays until uiommu_pri_disable()
 * @config: how; copied
 *
 * Return: 0, -EINVAL (size, allocation, flags, ops), -E2BIG, -EBUSY (it is enabled, and no FAILURE has ended it), -ENOMEM.
 * Thread-safe.
 */
UIOMMU_API int uiommu_pri_enable(struct uiommu_device *device, const struct uiommu_pri_config *config);

/**
 * uiommu_pri_disable() - it does so no more.
 * @device: from uiommu_device_get()
 *
 * Its groups are forgotten; when this returns nobody is inside of the ops, and nobody will be.
 *
 * Return: 0 (also if it was not enabled), -EDEADLK (inside an access or callback). Thread-safe.
 */
UIOMMU_API int uiommu_pri_disable(struct uiommu_device *device);

/**
 * uiommu_pri_request() - send a page request.
 * @device: from uiommu_device_get()
 * @request: the message; flags LAST and PRIVILEGED
 *
 * Return: 0 (if it is the last one there will be a response, or has been), -EINVAL (address, PASID, group, access, flags),
 * -EOPNOTSUPP (PRI is not enabled, or has ended with FAILURE), -EAGAIN (beyond the allocation), -EBUSY (the group waits for its
 * response, or the index is another PASID's). Thread-safe.
 */
UIOMMU_API int uiommu_pri_request(struct uiommu_device *device, const struct uiommu_page_request *request);

/**
 * uiommu_pri_stop() - send a stop marker: the device has stopped using a PASID (PCIe 6.0, 10.4.1.2.1).
 * @device: from uiommu_device_get()
 * @pasid: the PASID
 *
 * Requests of groups without their last one are forgotten. Groups that wait are answered all the same. Guests are not told.
 *
 * Return: 0, -EINVAL (PASID), -EOPNOTSUPP (PRI is not enabled). Thread-safe.
 */
UIOMMU_API int uiommu_pri_stop(struct uiommu_device *device, uint32_t pasid);

#ifdef __cplusplus
}
#endif
#endif
