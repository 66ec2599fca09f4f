/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A guest's device and PASID tables as an HWPT.
 *
 * Attached to a device it is the device's attachment "tables". What an access then finds missing is resolved (tables.c): the data
 * layer's decoder reads the guest's entries, and what they say becomes an attachment like any other, an *entry*, with stages of its
 * own. It stays in the device's table until it is invalidated, or the tables are detached.
 *
 * A guest's entry that is decoded while somebody invalidates entries may be out of date: it is decoded again (@changes). Otherwise
 * whoever has changed a guest's entry and invalidates it afterwards finds in @entries what was read before the change.
 */
#ifndef IOMMU_TABLES_H
#define IOMMU_TABLES_H

#include "iommu/attach.h"
#include "translate/tables/tables.h"

enum { TABLES_BUCKETS = 256 };

struct guest_tables {
	bool by_device; /* @tables is in use, and says what @device says */
	bool bypass; /* nothing is looked up: requests without PASID go through as they are, others are aborted; entries_lock */
	struct tables tables; /* its configuration: entries_lock */
	struct tables_device device;
	/* If not NULL: what the guest calls this PASID of a device, or UIOMMU_NO_PASID. A device's lock is held. Never changes. */
	uint32_t (*guest_pasid)(void *opaque, uint32_t device_id, uint32_t pasid);
	void *opaque;
	pthread_mutex_t entries_lock; /* after a device's lock; a leaf */
	struct cds_list_head entries; /* struct attach by entry */
	struct cds_list_head by_pasid[TABLES_BUCKETS]; /* the same by of_pasid, by what the guest calls their PASID */
	uint64_t changes;
	uint64_t serial; /* no other one has it */
	pthread_mutex_t drain_lock; /* of whoever takes entries or waits for accesses; never taken by an access */
};

/*
 * Of a device table: from now on this is looked up. What has been decoded before stays, until it is invalidated. A mode that is not
 * offered is a fault of each request.
 */
void tables_set_root(struct hwpt *hwpt, uint64_t base, unsigned int mode, bool bypass);

/* Resolve: as in struct uiommu_device. */
bool tables_resolve(struct uiommu_device *device, uint32_t pasid, struct uiommu_fault *fault, struct demand_wait *wait);

/*
 * Look up now what the guest's tables say of a device's PASID, without waiting for an access. Nobody is told of faults, and nobody
 * waits: what is absent is left to the first access, which asks for it. False: there is nothing.
 */
bool tables_bind(struct device *device, uint32_t pasid);

/* What the guest's tables say now. */
struct tables_look {
	uint32_t pasid; /* the guest's number, or UIOMMU_NO_PASID: it has none */
	struct tables_entry entry;
	struct tables_fault fault;
};

/* Under the device's lock, in a read section: look, and keep nothing. False: there is no entry, for @look->fault. */
bool tables_look(struct hwpt *hwpt, const struct device *device, uint32_t pasid, struct pgtable_trace *trace,
		 struct tables_look *look);

/* The stages of @entry, which has to stay, on @hwpt's parent. */
struct stages_config tables_stages(const struct hwpt *hwpt, const struct tables_entry *entry);

/* Forget and wait. @hwpt has tables. */
void tables_invalidate(struct hwpt *hwpt, const struct uiommu_invalidation *requests, size_t count);

/* Is @request about this entry? */
bool tables_match(const struct attach *attach, const struct uiommu_invalidation *request);

/* Wait for those who hold something, after a grace period. */
void tables_wait(struct guest_tables *tables);

/* Every entry of @device goes, and none comes any more: its tables are draining. What was met (attach.h). */
unsigned int tables_leave(struct hwpt *hwpt, struct device *device);

/* What can be said of a request by itself: the errors of uiommu_hwpt_alloc_tables(). */
int tables_check(const struct uiommu_hwpt_tables *given);

/* As nested_make() (hwpt.h), of what has been checked. */
int tables_make(struct hwpt *parent, struct fault_queue *queue, const struct uiommu_hwpt_tables *given, struct hwpt **out);

void tables_end(struct guest_tables *tables);

/* A device's entry in somebody's hand: SMMUv3's STE or AMD's DTE. */
struct tables_given {
	uint32_t tables; /* enum uiommu_tables */
	uint32_t capabilities;
	struct viommu *viommu; /* whose the HWPT is, inside a call of it; or NULL */
	uint32_t parent_id;
	uint32_t flags; /* enum uiommu_hwpt_flags: FAULT, PASID */
	uint32_t fault_queue_id;
	uint64_t words[8];
};

/*
 * A nested HWPT of what it says. Without PASID it stands for all PASIDs of a device, as uiommu_hwpt_alloc_tables()'s; with PASID it
 * is the one page table of requests without PASID, as the guest's tables have it now. Errors as there; -EINVAL also: with PASID
 * there is none.
 */
int hwpt_alloc_given(struct uiommu_context *context, const struct tables_given *given, uint32_t *out_id);

#endif
