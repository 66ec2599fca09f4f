/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Attachments: how they begin, and how they end.
 *
 * The end has two steps. attach_end_prepare() asks for pins and makes the attachment *draining*: accesses that come now fail
 * without a record. It can refuse, and then nothing has changed. attach_end_start() cannot fail: when the last access has left, the
 * attachment is taken out of the table and freed, and @done is called, from whatever thread that was.
 */
#ifndef IOMMU_ATTACH_H
#define IOMMU_ATTACH_H

#include "iommu/device.h"
#include "iommu/hwpt.h"

/* What was met while an attachment ended: accesses, page requests that waited. */
enum { ATTACH_ACCESSED = 1, ATTACH_ASKED = 2 };

typedef void attach_done_fn(void *opaque, unsigned int met);

struct attach {
	struct attachment data;
	struct device *device; /* used */
	struct hwpt *hwpt; /* used */
	bool ending; /* under the device's lock */
	/* Of an entry of a guest's tables (tables.h): */
	struct stages *stages; /* its own */
	struct cds_list_head entry; /* in the tables' list; or in a list of those that go */
	struct cds_list_head of_pasid; /* as long as it is not to go */
	uint32_t domain, asid;
	uint32_t flags; /* struct tables_entry's */
	uint32_t number; /* struct tables_entry's pasid */
	unsigned int turned;
	/* Of an HWPT of a vIOMMU (viommu.h): */
	struct fault_sink guest;
	uint64_t virt_id; /* the guest's number for the device, when it was attached */
	bool bound; /* a bind's: nobody else ends it */
	uint64_t activity; /* what had been done through it when its end began */
	unsigned int met; /* ATTACH_ACCESSED, ATTACH_ASKED: by entries of its tables, while they ended */
	/* Of requests.h, under the context's page lock: */
	struct cds_list_head groups;
	uint32_t asked; /* requests in them */
	/* Of ATS (ats.h), under the space's lock: */
	bool may_keep; /* never changes: its owner permits the device to ask for translations */
	uint64_t keeper_number; /* 0: it is no keeper */
	struct cds_list_head keeper; /* in space->keepers */
	struct ats_ask ask; /* of its end */
	attach_done_fn *done;
	void *opaque;
};

/* What is to be attached. */
struct attach_request {
	uint32_t device_id; /* in fault records: the device's, or that of a mediated one */
	uint32_t pasid;
	uint32_t reported; /* the same in fault records: the guest's number */
	unsigned int access; /* enum uiommu_access */
	bool bound;
};

/*
 * The caller is inside calls of both. Errors as uiommu_attach(). The PASID has got a use for this, which ends with the attachment,
 * or at once on failure. Either way the caller, once it holds no lock, does attach_tell().
 */
int attach_begin(struct device *device, struct hwpt *hwpt, const struct attach_request *request);
void attach_tell(const struct device *device, uint32_t pasid);

/*
 * Of a bind. @force: whatever pins are left. -ENOENT: nothing is attached. If it is ending already, this waits for that, and then
 * says -ENOENT.
 */
int attach_end_prepare(struct device *device, uint32_t pasid, bool force, struct attach **out);
void attach_end_start(struct attach *attach, attach_done_fn *done, void *opaque);

/*
 * Both, as the PASID has been freed: an attachment whose pins are not put ends when they are. False: there is none (a bind's, if
 * @bind), or it is ending already; @done is not called.
 */
bool attach_end_freed(struct device *device, uint32_t pasid, bool bind, attach_done_fn *done, void *opaque);

/* Such a one is waiting for its pins. */
bool attach_pinned(struct device *device, uint32_t pasid);

/* attach_end_freed() for all devices, of what are no binds. */
void attach_end_pasid(struct uiommu_context *context, uint32_t pasid);

/* A context closes: nobody waits for pins any more. */
void attach_abandon_pins(struct uiommu_context *context);

/* Both, and wait, of what is no bind: that gives -EBUSY. */
int attach_end(struct device *device, uint32_t pasid, bool force);

/*
 * Under the device's lock: one that is to be an entry of @hwpt's tables, with @stages, which it takes over. NULL without memory. It
 * is in no table.
 */
struct attach *attach_entry(struct device *device, uint32_t pasid, struct hwpt *hwpt, unsigned int access, struct stages *stages);

/* It is in no table and nothing uses it. */
void attach_free(struct attach *attach);

/* It is in no table, and a grace period has passed: wait for those who are inside, and free it. What was met since attach_watch().
 */
unsigned int attach_leave(struct attach *attach);
void attach_watch(struct attach *attach);

/*
 * The attachment of @pasid, now marked as ending by us, so that nobody else ends it until attach_unclaim(); waits for another one
 * who is ending it. -ENOENT; -EBUSY: it is a bind's, or with @bind, it is none; -EDEADLOCK: somebody else's pins are in the way.
 */
int attach_claim(struct device *device, uint32_t pasid, bool bind, struct attach **out);
void attach_unclaim(struct attach *attach);

/* Under the device's lock: what a call has attached. Entries of a guest's tables are nobody's to end. */
struct attachment *attach_by_call(const struct device *device, uint32_t pasid);

/*
 * Claimed: if no pin is left, or it does not matter, publish @instead (or nothing new), and let no pin come any more. Nothing has
 * changed if one is left (-EDEADLOCK), or if @instead is a guest's tables, and PASIDs are attached (-EBUSY). Without a lock.
 */
int attach_close_pins(struct attach *attach, bool force, struct attach *instead);

/* Whoever has freed the PASID meanwhile saw an attachment that was the caller's to end; but the caller has not ended it. */
void attach_end_if_freed(struct device *device, uint32_t pasid);

/* Every attachment of a device, whose binds have ended. Those of PASIDs that were freed may not have left for good. */
void attach_end_device(struct device *device);

/* Every attachment of every device of a context that closes. */
void attach_end_all(struct uiommu_context *context);

#endif
