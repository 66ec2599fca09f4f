/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the data layer sees of control: spaces, attachments, and a device's table of them.
 *
 * A *space* is what stands behind an attachment: areas (memory mapped in this process, by input address) over at most one process,
 * to which everything outside of the areas goes. An IOAS is a space without a process; an SVA bind is a space with one, whose areas
 * are the registered memory. Control (iommu/, sva/) owns the spaces and serialises their writers with @lock.
 *
 * An *attachment* is (device, PASID) -> space. The table is a two-level radix tree by PASID, read inside RCU read sections, written
 * under the device's lock.
 */
#ifndef TRANSLATE_SPACE_H
#define TRANSLATE_SPACE_H

#include <pthread.h>
#include <uiommu/dma.h>
#include <urcu/arch.h>

#include "memory/areas.h"
#include "translate/inflight.h"
#include "util/rcu.h"
#include "util/util.h"

struct demand_wait;
struct process;
struct pgtable;
struct fault_sink;
struct stages;

struct space {
	pthread_mutex_t lock; /* writers: areas, pins, releases */
	struct areas areas;
	struct cds_list_head tracked; /* control's: what has tables of the same areas (iommu/dirty.h) */
	struct cds_list_head releases; /* control's: areas that have been taken out, and somebody may still be inside */
	struct cds_list_head keepers; /* control's: attachments whose device may keep translations (iommu/ats.h) */
	uint64_t keeper_number; /* of the last one */
	struct process *process; /* NULL for an IOAS; never changes */
};

enum { COUNTER_SHARDS = THREAD_OWN_COUNTERS + 1 };

/*
 * Each shard but the last is written by one thread (thread_state.own), so that a hit shares no cache line and needs no locked
 * instruction. The last one is for all further threads. Readers add them up with relaxed loads.
 */
struct attach_counters {
	uint64_t bytes_read;
	uint64_t bytes_written;
	uint64_t faults;
	uint64_t discarded;
	uint64_t walks;
	uint64_t fetches;
	uint64_t steps;
} __attribute__((aligned(64)));

struct attachment {
	struct space *space;
	struct stages *stages; /* in front of the space; NULL: none */
	const struct pgtable *behind; /* a tracker (tracker.h) that translated accesses have to pass; or NULL */
	struct fault_sink *sink; /* where its faults go; NULL: log only */
	uint32_t device_id; /* in the records of its faults */
	uint32_t pasid; /* UIOMMU_NO_PASID for the RID's */
	uint32_t reported; /* the same in the records of its faults: the guest's number, where that is another one */
	uint8_t access; /* what the attachment permits */
	uint8_t open; /* atomic: @access, until it is draining or another has taken its place */
	bool draining; /* atomic: accesses fail without a record */
	bool asks; /* the device may ask for pages */
	bool stalls; /* accesses that could wait for a page stall: they are told as such */
	bool quiet; /* a guest's entry says that faults are not recorded */
	bool ats; /* atomic: the device may ask for translations, and make translated accesses */
	bool kept; /* atomic: it has got one */
	bool closed; /* under the space's lock: no pin is added; if it is not draining, another attachment has taken its place */
	uint32_t generation;
	unsigned int references; /* to this memory, atomic: of the table, and of who has it in hand */
	void (*free)(struct attachment *attachment);
	void (*unpinned)(
		struct attachment *attachment); /* called once when no pin is left, without a lock; under the space's lock */
	struct drainable drain;
	struct cds_list_head pins; /* struct uiommu_pin made through it, under the space's lock */
	struct attach_counters counters[COUNTER_SHARDS];
};

enum { TABLE_FANOUT_LG2 = 10, TABLE_FANOUT = 1 << TABLE_FANOUT_LG2 };

struct attach_table {
	struct attachment *tables; /* a guest's tables, which say what is attached elsewhere; RCU */
	struct attachment *rid; /* without PASID; RCU */
	struct attachment ***by_pasid; /* [pasid >> 10][pasid & 1023]; each level RCU, made on demand, freed with the table */
};

/* Translated accesses that sleep. */
struct translated {
	struct flights flights; /* for whoever empties the device's cache */
	struct drainable all; /* for whoever lets none through any more; one at a time drains it */
};

/* What the DMA calls see of a device. Control embeds it. */
struct uiommu_device {
	uint32_t id;
	uint32_t pasid_bits;
	struct attach_table table; /* what accesses find */
	bool suspended; /* atomic: that is nothing, whatever is attached */
	struct flights held; /* accesses that sleep, */
	struct translated translated; /* and those of them that are translated ones */
	/* Where a fault goes that no attachment owns (not attached): control's log. */
	void (*report)(struct uiommu_device *device, const struct uiommu_fault *fault);
	/*
	 * Nothing is attached to @pasid, but there are a guest's tables: look there. True: now there is something, or has been.
	 * Otherwise @fault says why not, and whoever wants to know has been told; ABSENT: nobody has, and @wait, which may be NULL,
	 * has asked for the memory (translate/absent.h, also of &absent_refused). Without a lock, outside of read sections.
	 */
	bool (*resolve)(struct uiommu_device *device, uint32_t pasid, struct uiommu_fault *fault, struct demand_wait *wait);
	/* Ask for a page, with the attachment entered, which has a sink. As uiommu_dma_page_request(). */
	int (*ask)(struct uiommu_device *device, struct attachment *attachment, const struct uiommu_fault *fault,
		   void (*done)(void *opaque, unsigned int response), void *opaque);
};

struct uiommu_page_request;

/*
 * Go up: where the faults of an attachment are told. Called without a lock and outside of RCU sections, with the attachment
 * entered.
 *
 * A guest's queue: @page_request asks for the pages of a group, and @done gets the answer, from whatever thread. The requests, if
 * there is more than one, stay until then. @forget: the attachment ends: groups that wait are answered INVALID. True: there were
 * some. Fault queues have neither (iommu/requests.h).
 */
struct fault_sink {
	bool answers; /* page requests, here or elsewhere */
	void (*event)(struct fault_sink *sink, const struct uiommu_fault *fault);
	int (*page_request)(struct fault_sink *sink, struct attachment *attachment, const struct uiommu_page_request *requests,
			    unsigned int count, void (*done)(void *opaque, unsigned int response), void *opaque);
	bool (*forget)(struct fault_sink *sink, const struct attachment *attachment);
};

/* The record of a fault as its owner gets it. */
static inline struct uiommu_fault attachment_fault(const struct attachment *attachment, const struct uiommu_fault *fault)
{
	struct uiommu_fault told = *fault;

	if (told.pasid == attachment->pasid)
		told.pasid = attachment->reported;
	told.device_id = attachment->device_id;
	return told;
}

/* Give back a reference to the memory of one that has ended. */
static inline void attachment_put(struct attachment *attachment)
{
	if (!__atomic_sub_fetch(&attachment->references, 1, __ATOMIC_ACQ_REL))
		attachment->free(attachment);
}

void attach_table_init(struct attach_table *table);
void attach_table_fini(struct attach_table *table);

/* Where the pointer of @pasid is, which is one, or NULL if no room has been made for it. */
static inline struct attachment **attach_table_place(const struct attach_table *table, uint32_t pasid)
{
	struct attachment ***top = rcu_read(table->by_pasid), **leaf;

	if (!top)
		return NULL;
	leaf = rcu_read(top[pasid >> TABLE_FANOUT_LG2]);
	return leaf ? &leaf[pasid & (TABLE_FANOUT - 1)] : NULL;
}

/* In an RCU read section, or under the device's lock. */
static inline struct attachment *attach_table_find(const struct attach_table *table, uint32_t pasid)
{
	struct attachment **place;

	if (unlikely(pasid > UIOMMU_PASID_LAST))
		return pasid == UIOMMU_NO_PASID ? rcu_read(table->rid) : NULL;
	place = attach_table_place(table, pasid);
	return place ? rcu_read(*place) : NULL;
}

/*
 * Nothing has been found: may there be something all the same, so that resolve() is to be called? What takes the place of a guest's
 * tables is published before they go, and tables before what they replace goes: so one of the looks, in this order, meets it.
 */
static inline bool attach_table_resolves(const struct attach_table *table, uint32_t pasid)
{
	cmm_smp_rmb();
	if (rcu_read(table->tables))
		return true;
	cmm_smp_rmb();
	return attach_table_find(table, pasid);
}

/* The lowest PASID >= @from that has an attachment, or 0. Under the device's lock, or where nothing changes. */
uint32_t attach_table_next(const struct attach_table *table, uint32_t from);

/* Make room for @pasid, so that attach_table_set() cannot fail. -ENOMEM. */
int attach_table_prepare(struct attach_table *table, uint32_t pasid);

/* Publish @attachment (or NULL) for @pasid, which there is room for. */
void attach_table_set(struct attach_table *table, uint32_t pasid, struct attachment *attachment);

/*
 * Pins (uiommu_dma_pin). A pin is added under @space->lock, to areas that are found again under it, and only if the attachment is
 * not closed: so whoever finds no pin under the lock and then takes the area out, or sets @closed, is not overtaken by one.
 *
 * Ask the holders of all pins of @area (or, if NULL, of @attachment) to put them: the callbacks run without @space->lock, which the
 * caller does not hold. The caller sees to it that @area or @attachment stays meanwhile. Returns -EDEADLOCK if one is left.
 */
int pins_revoke(struct space *space, struct area *area, struct attachment *attachment);

/* Free the pins that are left of an attachment that ends all the same; nobody puts them any more. */
void pins_drop(struct attachment *attachment);

#endif
