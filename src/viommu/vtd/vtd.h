/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A VT-d unit, inside.
 *
 * The model decodes and encodes: registers, queues and records. It gives control a root pointer and a mode, and says what is to be
 * forgotten; what the tables say is looked up in the data layer only. Its own reads and writes of the guest's memory (queues,
 * status words) are DMA of a device of its own.
 *
 * Threads. @lock protects registers and lists; it is a leaf and held for moments. Commands and the invalidation queue are processed
 * by one thread at a time, the runner, which holds no lock while it waits for accesses: those report faults, which takes @lock.
 * Writes set @commands, and whoever finds no runner becomes it. Page requests are written to the guest's queue by one thread at a
 * time, too, the pager (pages.c), which is not the runner: page requests go on while the runner waits.
 *
 * Interrupts are noted under the lock and sent after it (vtd_unlock).
 */
#ifndef VIOMMU_VTD_VTD_H
#define VIOMMU_VTD_VTD_H

#include <pthread.h>
#include <uiommu/ats.h>
#include <uiommu/pasid.h>
#include <uiommu/vtd.h>

#include "iommu/attach.h"
#include "iommu/hwpt.h"
#include "iommu/tables.h"
#include "util/util.h"
#include "viommu/registers.h"
#include "viommu/vtd/spec.h"

/* What has been asked for and not been done; bits of vtd->commands. */
enum {
	VTD_COMMAND_ROOT = 1, /* SRTP */
	VTD_COMMAND_ENABLE = 2, /* TE has changed */
	VTD_COMMAND_QUEUE = 4, /* QIE has */
	VTD_COMMAND_CONTEXT = 8, /* CCMD.ICC */
	VTD_COMMAND_IOTLB = 16, /* IOTLB.IVT */
	VTD_COMMAND_VIRTUAL = 32, /* VCMD */
	VTD_COMMAND_RESET = 64,
};

/* Events: bits of vtd->send. */
enum vtd_event { VTD_EVENT_FAULT, VTD_EVENT_INVALIDATION, VTD_EVENT_PAGES, VTD_EVENTS };

enum {
	VTD_TURN = 256, /* descriptors of one uiommu_vtd_run() */
	VTD_BATCH = 256, /* invalidations that are forgotten together */
	VTD_RECORDS_MAX = 32,
	VTD_MAMV = 48 - 12, /* whole address spaces of four levels */
};

enum vtd_page_state {
	VTD_PAGE_FREE,
	VTD_PAGE_QUEUED, /* in vtd->pages: not all of its requests are in the queue */
	VTD_PAGE_WRITTEN, /* software has it, or is about to; or nobody */
	VTD_PAGE_ANSWERED, /* in vtd->answers */
};

/* A group of page requests that waits for its answer. */
struct vtd_page {
	struct cds_list_head link;
	struct vtd_device *device;
	uint64_t serial; /* no two have the same */
	void (*done)(void *opaque, unsigned int response);
	void *opaque;
	const struct uiommu_page_request *requests; /* @first, or whoever's who asks, until it has been answered */
	struct uiommu_page_request first;
	uint32_t count, written; /* requests */
	uint32_t pasid; /* the guest's */
	uint8_t state; /* enum vtd_page_state */
	uint8_t response;
};

enum { VTD_GROUPS = 512 };

/* A device behind the unit. */
struct vtd_device {
	struct cds_list_head link;
	struct uiommu_device *device; /* held */
	uint32_t id;
	uint16_t source_id;
	bool leaving; /* somebody is removing it */
	unsigned int next_page; /* where to look for a free one */
	struct vtd_page pages[VTD_GROUPS]; /* by group index */
};

/* A root pointer as SRTP took it. */
struct vtd_root {
	uint64_t address;
	unsigned int mode; /* enum uiommu_vtd_tables_mode */
};

enum { VTD_HISTORY_INVALIDATIONS = 256 };

struct vtd_invalidated {
	uint64_t time_ns;
	struct uiommu_invalidation request;
};

/* Rings; the counts only grow. */
struct vtd_history {
	struct uiommu_vtd_fault faults[UIOMMU_VTD_FAULTS];
	uint64_t faulted;
	struct vtd_invalidated invalidations[VTD_HISTORY_INVALIDATIONS];
	uint64_t invalidated;
};

struct uiommu_vtd {
	struct uiommu_context *context;
	struct hwpt *tables; /* used; every device is attached to it */
	uint32_t tables_id;
	struct uiommu_device *self; /* held: its own DMA */
	uint32_t self_id;
	uint32_t flags, capabilities, records, pasid_set;
	unsigned int host_bits;
	uint32_t (*host_pasid)(void *opaque, uint32_t device_id, uint32_t pasid); /* or NULL: they are the same */
	uint32_t (*guest_pasid)(void *opaque, uint32_t device_id, uint32_t pasid);
	void (*interrupt)(void *opaque, uint64_t address, uint32_t data);
	void (*work)(void *opaque);
	void *opaque;
	struct fault_sink sink;

	pthread_mutex_t lock;
	pthread_cond_t idle; /* there is no runner any more, or no pager, or something has been completed */
	struct registers registers;
	unsigned int send; /* events, since the lock was taken */
	unsigned int commands;
	unsigned int resets; /* how often; */
	unsigned int seen_resets; /* when the runner began: what it finds out of before one is nobody's any more */
	bool running;
	bool enabled; /* TE as it was written last; */
	bool queue_enabled; /* QIE */
	struct vtd_root root; /* RTADDR as SRTP found it last */
	unsigned int mode; /* of the root that is in use */
	unsigned int fault_index; /* the record that is written next */
	struct cds_list_head devices; /* struct vtd_device */
	struct cds_list_head pages; /* struct vtd_page: to be written */
	struct cds_list_head answers; /* struct vtd_page */
	uint64_t serial;
	bool paging; /* there is a pager */
	unsigned int asked; /* device-TLB invalidations that have not been completed */
	bool stalled; /* and the queue waits for them */
	unsigned int calls; /* of device_tlb.c, from elsewhere than the unit's own calls */
	struct vtd_history history;

	/* The runner's. */
	struct uiommu_invalidation batch[VTD_BATCH];
	unsigned int batched;
};

/* vtd.c */
void vtd_lock(struct uiommu_vtd *vtd);
/* And send the interrupts that have become due. */
void vtd_unlock(struct uiommu_vtd *vtd);
/* Under the lock. NULL: none. */
struct vtd_device *vtd_device_of(struct uiommu_vtd *vtd, uint32_t id);
/* Under the lock, as the runner: have registers not been reset since? */
static inline bool vtd_is_current(const struct uiommu_vtd *vtd)
{
	return vtd->resets == vtd->seen_resets;
}
/* What devices emit for what the guest says, and the other way round. */
static inline uint32_t vtd_host_pasid(const struct uiommu_vtd *vtd, uint32_t device_id, uint32_t pasid)
{
	return vtd->host_pasid && pasid != UIOMMU_NO_PASID ? vtd->host_pasid(vtd->opaque, device_id, pasid) : pasid;
}
static inline uint32_t vtd_guest_pasid(const struct uiommu_vtd *vtd, uint32_t device_id, uint32_t pasid)
{
	return vtd->guest_pasid && pasid != UIOMMU_NO_PASID ? vtd->guest_pasid(vtd->opaque, device_id, pasid) : pasid;
}

/* registers.c: under the lock, but for vtd_registers_init(). */
int vtd_registers_init(struct uiommu_vtd *vtd);
void vtd_registers_reset(struct uiommu_vtd *vtd);
static inline uint32_t vtd_get32(const struct uiommu_vtd *vtd, uint32_t offset)
{
	return register_get32(&vtd->registers, offset);
}
static inline uint64_t vtd_get64(const struct uiommu_vtd *vtd, uint32_t offset)
{
	return register_get64(&vtd->registers, offset);
}
static inline void vtd_set32(struct uiommu_vtd *vtd, uint32_t offset, uint32_t value)
{
	register_set32(&vtd->registers, offset, value);
}
static inline void vtd_set64(struct uiommu_vtd *vtd, uint32_t offset, uint64_t value)
{
	register_set64(&vtd->registers, offset, value);
}
/* Set @condition of an event's status register, with the interrupt that belongs to it (7.3, 6.5.2.10, 7.5). */
void vtd_event(struct uiommu_vtd *vtd, enum vtd_event event, uint32_t condition);

/* queue.c. Under the lock: can descriptors be fetched? */
bool vtd_queue_is_ready(const struct uiommu_vtd *vtd);
/* As the runner: at most VTD_TURN descriptors. */
void vtd_queue_run(struct uiommu_vtd *vtd);

/* invalidate.c: as the runner. */
void vtd_invalidate(struct uiommu_vtd *vtd, const struct uiommu_invalidation *request);
/* Context cache, by CIRG (G) and the fields that belong to it; IOTLB, by IIRG. */
void vtd_invalidate_context(struct uiommu_vtd *vtd, unsigned int granularity, uint32_t domain, uint32_t source_id,
			    unsigned int function_mask);
/* @where: address, hint and mask, as IVA and descriptors have them. */
void vtd_invalidate_iotlb(struct uiommu_vtd *vtd, unsigned int granularity, uint32_t domain, uint64_t where);
void vtd_set_pages(struct uiommu_invalidation *request, uint64_t where);
/* Forget all that has been asked for, and wait. */
void vtd_invalidate_flush(struct uiommu_vtd *vtd);
/* Caching mode: the guest has said that its entry for @pasid is another one now. */
void vtd_invalidate_bind(struct uiommu_vtd *vtd, uint32_t pasid);
/* CCMD and IOTLB. */
void vtd_invalidate_registers(struct uiommu_vtd *vtd, unsigned int commands);

/* faults.c */
void vtd_fault_event(struct fault_sink *sink, const struct uiommu_fault *fault);

/* Under the lock: of a page request. @code 0: nothing is recorded. */
void vtd_fault_record_page(struct uiommu_vtd *vtd, const struct uiommu_fault *fault, uint16_t source_id, unsigned int code);

/* history.c; the second one under the lock. */
void vtd_history_invalidated(struct uiommu_vtd *vtd, const struct uiommu_invalidation *requests, unsigned int count);
void vtd_history_fault(struct uiommu_vtd *vtd, const struct uiommu_fault *fault, uint16_t source_id, unsigned int code);

/* device_tlb.c: as the runner. */
void vtd_device_tlb_invalidate(struct uiommu_vtd *vtd, uint16_t source_id, const struct uiommu_ats_invalidation *what);
/* False: not all have been completed, or one has timed out; whoever has @work is called when they have. */
bool vtd_device_tlb_wait(struct uiommu_vtd *vtd);

/* pages.c */
int vtd_page_request(struct fault_sink *sink, struct attachment *attachment, const struct uiommu_page_request *requests,
		     unsigned int count, void (*done)(void *opaque, unsigned int response), void *opaque);
bool vtd_page_forget(struct fault_sink *sink, const struct attachment *attachment);
/* Give the answers that are due. No lock held. */
void vtd_page_answers(struct uiommu_vtd *vtd);
/* As the runner: software's answer; all that have come are in its queue; nobody waits any more. */
void vtd_page_respond(struct uiommu_vtd *vtd, uint64_t word, uint64_t index);
void vtd_page_drain(struct uiommu_vtd *vtd);
void vtd_page_reset(struct uiommu_vtd *vtd);

#endif
