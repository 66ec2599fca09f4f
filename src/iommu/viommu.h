/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vIOMMUs, as iommufd has them: a guest's view of the IOMMU that stands behind its memory (a nest parent), the numbers that the
 * guest knows its devices by (*vDEVICEs*), and where it is told what happened to them (*vEVENTQs*).
 *
 * A device that ends takes its vDEVICE with it, whose id is never used again: the guest's owner may still have it.
 */
#ifndef IOMMU_VIOMMU_H
#define IOMMU_VIOMMU_H

#include "iommu/attach.h"

enum { VEVENTQ_DEPTH_MAX = 1 << 19, VEVENT_DATA_MAX = 64, VIOMMU_REQUESTS_MAX = 64 };

/* How faults are told to a guest. */
struct viommu_events {
	uint32_t type; /* of the vEVENTQ */
	/* The record, of at most VEVENT_DATA_MAX bytes, of what the guest knows as @virt_id. 0: there is none of this fault. */
	size_t (*encode)(const struct uiommu_fault *fault, uint64_t virt_id, void *record);
};

struct viommu {
	struct object object;
	uint32_t type;
	const struct viommu_events *events; /* NULL: faults are logged only */
	struct hwpt *parent; /* used */
	/* Under the context's viommu lock: */
	struct cds_list_head vdevices, veventqs, hw_queues;
};

struct vdevice {
	struct object object;
	struct cds_list_head link; /* in viommu->vdevices */
	struct viommu *viommu; /* used */
	struct device *device; /* under the viommu lock; NULL: it has ended */
	uint64_t virt_id;
};

/* @events, which may be NULL, stays. -ENOENT (no such paging HWPT), -EINVAL (it is no nest parent), -ENOMEM. */
int viommu_alloc(struct uiommu_context *context, uint32_t type, const struct viommu_events *events, uint32_t hwpt_id,
		 uint32_t *out_id);

/* For the length of a call, or NULL. */
struct viommu *viommu_get(struct uiommu_context *context, uint32_t id);
void viommu_put(struct viommu *viommu);

/* -ENOENT (no such vIOMMU, device), -EEXIST (the device is one already, or the number is in use), -ENOMEM. */
int vdevice_alloc(struct uiommu_context *context, uint32_t viommu_id, uint32_t device_id, uint64_t virt_id, uint32_t *out_id);

/*
 * @attach, which nobody has seen yet, is of an HWPT of a vIOMMU: its faults are told there, with the number that the guest has for
 * the device now. -ENOENT: it has none, and the HWPT translates.
 */
int viommu_attach(struct attach *attach);

/* The same for an entry of the tables that @tables has attached. */
void viommu_attach_entry(struct attach *attach, const struct attach *tables);

/* uiommu_hwpt_invalidate() of each nested HWPT that is one of @viommu; at most so many requests. The first error. */
int viommu_invalidate(struct viommu *viommu, const struct uiommu_invalidation *requests, size_t count);

/* The id of the device that @virt_id is in @viommu; 0: none. */
uint32_t viommu_device(struct viommu *viommu, uint64_t virt_id);

/* What @device_id is in @viommu (NULL: in any). False: nothing. */
bool viommu_virt_id(struct uiommu_context *context, const struct viommu *viommu, uint32_t device_id, uint64_t *virt_id);

/* The device ends. */
void vdevice_forget(struct device *device);

/* -EINVAL (depth), -ENOENT (no such vIOMMU), -EEXIST (it has one of this type), -EMFILE, -ENOMEM. */
int veventq_alloc(struct uiommu_context *context, uint32_t viommu_id, uint32_t type, uint32_t depth, uint32_t *out_id);

/* A descriptor of the queue's, that is readable while it holds something; -ENOENT. */
int veventq_fd(struct uiommu_context *context, uint32_t id);

/* read(2) of it, to @buffer: bytes; -EINVAL, -ENOENT. */
ssize_t veventq_read(struct uiommu_context *context, uint32_t id, void *buffer, size_t size);

/* Tell the queue of @type of the vIOMMU that @device_id is in. -ENOENT: there is none. @length: at most VEVENT_DATA_MAX. */
int viommu_tell(struct uiommu_context *context, uint32_t device_id, uint32_t type, const void *data, size_t length);

/* What is to be a queue of hardware in the parent's memory. */
struct hw_queue_request {
	uint32_t viommu_id;
	uint32_t index;
	uint32_t count; /* a vIOMMU has so many */
	uint64_t iova;
	uint64_t length;
};

/*
 * As long as there is one its memory stays mapped. They come in the order of their indexes, and go in the other one.
 * -ENOENT (no such vIOMMU; not mapped), -ERANGE (the end wraps), -EPERM (not readable), -EFAULT (not in one piece), -EINVAL
 * (index), -EEXIST (index in use), -EIO (the one before is missing), -EBUSY (too many in one area), -ENOMEM.
 */
int hw_queue_alloc(struct uiommu_context *context, const struct hw_queue_request *request, uint32_t *out_id);

#endif
