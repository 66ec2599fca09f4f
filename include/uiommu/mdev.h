/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Mediated devices: virtual devices that are carved out of one physical one, each for another VM or group of processes.
 *
 * A mediated device belongs to a PASID set. What it emits carries *vPASIDs*, numbers of its VM's own; each stands for a *pPASID* of
 * the set, by which the physical device has its attachments. So each virtual device can have a stage 2 of its own behind its
 * PASIDs, and nothing that it emits reaches another set's. uiommu_attach() and what goes with it take a vPASID where the device is
 * a mediated one. docs/pasid.md says more.
 */
#ifndef UIOMMU_MDEV_H
#define UIOMMU_MDEV_H

#include <uiommu/device.h>
#include <uiommu/pasid.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * struct uiommu_mdev_config - a new mediated device. Zero what is not used.
 * @size: sizeof(struct uiommu_mdev_config)
 * @flags: 0
 * @device_id: the physical device, which has PASIDs
 * @set_id: the set that its PASIDs come from; not the context's own
 * @untranslated: told of each submission with a vPASID that stands for nothing (in hardware: a VM exit for PASID translation), from
 *                the submitting thread and with no lock held; may be NULL
 * @opaque: its first argument
 */
struct uiommu_mdev_config {
	uint32_t size;
	uint32_t flags;
	uint32_t device_id;
	uint32_t set_id;
	void (*untranslated)(void *opaque, uint32_t mdev_id, uint32_t vpasid);
	void *opaque;
};

/**
 * uiommu_mdev_alloc() - carve a virtual device out of a physical one.
 * @context: owner of the device and the set
 * @config: what it is; copied
 * @out_id: its id, which uiommu_attach(), uiommu_replace(), uiommu_detach(), uiommu_attach_stats(), uiommu_bind() and
 *          uiommu_unbind() take for that of a device
 *
 * Attaching without PASID, for requests that carry none, takes a pPASID as well: so what is attached has to be for PASIDs, and a
 * guest's PASID table cannot be attached whole. A vPASID that stands for nothing gets a pPASID when it is attached, and stands for
 * it as long as it is attached; uiommu_vpasid_map() lets it stand for one that has been allocated. Virtual devices of one set on
 * one physical device have the attachments of vPASIDs in common, as those of a VM have them.
 *
 * uiommu_destroy() ends it: EBUSY while it has queues or an attachment without PASID.
 *
 * Return: 0, -EINVAL (size, the context's own set), -E2BIG, -EOPNOTSUPP (flags; the device has no PASIDs), -ENOENT (no such device
 * or set), -ENOSPC (the set has no room for its subscription), -ENOMEM, -EOWNERDEAD. Thread-safe.
 */
UIOMMU_API int uiommu_mdev_alloc(struct uiommu_context *context, const struct uiommu_mdev_config *config, uint32_t *out_id);

/**
 * uiommu_vpasid_map() - let a vPASID stand for a PASID of the set.
 * @context: owner
 * @set_id: the set; not the context's own
 * @vpasid: 1 to %UIOMMU_PASID_LAST
 * @pasid: allocated and in the set
 *
 * Until uiommu_vpasid_unmap(), or until @pasid is freed.
 *
 * Return: 0, -EINVAL (@vpasid), -ENOENT (no such set, or @pasid is not its own), -EEXIST (@vpasid stands for a PASID), -EBUSY
 * (another vPASID stands for @pasid), -ENOSPC (no room for the set's subscription), -ENOMEM, -EOWNERDEAD. Thread-safe.
 */
UIOMMU_API int uiommu_vpasid_map(struct uiommu_context *context, uint32_t set_id, uint32_t vpasid, uint32_t pasid);

/**
 * uiommu_vpasid_unmap() - let it stand for nothing.
 * @context: owner
 * @set_id: the set
 * @vpasid: the vPASID
 *
 * Return: 0, -ENOENT (no such set, or it stands for nothing), -EBUSY (its PASID is bound), -EOWNERDEAD. Thread-safe.
 */
UIOMMU_API int uiommu_vpasid_unmap(struct uiommu_context *context, uint32_t set_id, uint32_t vpasid);

/**
 * uiommu_vpasid_find() - what a vPASID stands for.
 * @set: from uiommu_pasid_set_get()
 * @vpasid: any number
 *
 * Takes no lock.
 *
 * Return: the PASID, or %UIOMMU_NO_PASID. Thread-safe.
 */
UIOMMU_API uint32_t uiommu_vpasid_find(const struct uiommu_pasid_set *set, uint32_t vpasid);

/**
 * uiommu_vpasid_of() - what stands for a PASID.
 * @set: from uiommu_pasid_set_get()
 * @pasid: any number
 *
 * Takes no lock, so that uiommu_vtd_config's guest_pasid may call it.
 *
 * Return: the vPASID, or %UIOMMU_NO_PASID. Thread-safe.
 */
UIOMMU_API uint32_t uiommu_vpasid_of(const struct uiommu_pasid_set *set, uint32_t pasid);

#ifdef __cplusplus
}
#endif
#endif
