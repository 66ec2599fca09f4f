/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Page requests that wait for a response.
 *
 * Whatever asks for pages makes a *group*: a device by PRI messages, an access that is parked or stalls by one request. A group is
 * *collecting* until its last request has come, and *waits* then. It is known to its attachment, to its device by its index, where
 * it has one, and to the fault queue that it is in by its cookie. Whoever answers takes it out of all of them, under the lock, and
 * so is the only one who answers it.
 *
 * A guest's queue keeps for itself what is asked of it (struct fault_sink). Only groups of PRI messages come here then, and stay
 * until they have been answered.
 */
#ifndef IOMMU_REQUESTS_H
#define IOMMU_REQUESTS_H

#include <uiommu/pri.h>

#include "translate/space.h"
#include "util/timers.h"

struct attach;
struct device;
struct fault_queue;

enum { REQUEST_PAGE = 4096 }; /* what addresses of requests are multiples of */

struct page_group {
	struct cds_list_head of_attach;
	struct cds_list_head of_queue; /* by cookie */
	struct attach *attach; /* as long as it is not taken; NULL: a guest's */
	struct device *device; /* used */
	struct fault_queue *queue; /* NULL: a guest's */
	uint32_t pasid; /* the device's */
	uint32_t cookie; /* in the queue; 0: none */
	uint16_t index;
	bool has_index;
	bool waits;
	bool stalls;
	bool timed;
	bool taken;
	uint32_t holders; /* of this memory, under the lock */
	struct timer timer;
	uint32_t enabling; /* PRI: by which uiommu_pri_enable(); 0: it is a call's */
	void (*done)(void *opaque, unsigned int response);
	void *opaque;
	uint32_t count, room;
	struct uiommu_page_request *requests; /* @first, or allocated */
	struct uiommu_page_request first;
};

/* A device's part; under the context's page lock. */
struct requests {
	struct page_group **by_index; /* UIOMMU_PAGE_GROUPS; made when it is needed */
	unsigned int next; /* where to look for an index */
	struct uiommu_pri_config pri; /* ops is NULL: not enabled */
	uint32_t enabling; /* counts uiommu_pri_enable(); never 0 then */
	bool ended; /* a FAILURE has been told */
	uint32_t outstanding; /* PRI messages without a response */
	unsigned int inside; /* calls of the ops that have not returned */
	pthread_cond_t left;
};

void requests_init(struct requests *requests);
void requests_fini(struct requests *requests);

/* struct uiommu_device's ask(). */
int requests_ask(struct uiommu_device *device, struct attachment *attachment, const struct uiommu_fault *fault,
		 void (*done)(void *opaque, unsigned int response), void *opaque);

/* The attachment ends: its groups are answered INVALID. True: there were some that waited. */
bool requests_forget(struct attach *attach);

/* Every group in @queue is answered. */
void requests_answer_all(struct uiommu_context *context, struct fault_queue *queue, unsigned int response);

/* --- for pri.c, under the page lock --- */

/* @attach: NULL: a guest's. */
struct page_group *group_new(struct device *device, struct attach *attach, uint32_t pasid);

/* Without the lock. */
void group_put(struct page_group *group);

/* -ENOMEM. */
int group_add(struct page_group *group, const struct uiommu_page_request *request);

/* -ENOMEM, -ENOBUFS: none is free. */
int group_set_index(struct page_group *group, unsigned int index);

/* It is known to the attachment and by its index. */
void group_link(struct page_group *group);

/*
 * Its last request is there. Where a fault queue gets it: -ENOBUFS, -ENOENT (closed); @fault may be NULL. The group is not linked
 * any more then.
 */
int group_wait(struct page_group *group, const struct uiommu_fault *fault);

/* Does the attachment have room for another request? */
bool group_admitted(const struct attach *attach);

/* Is @response one for this group? */
bool group_may_respond(const struct page_group *group, unsigned int response);

/* Out of everything. Whoever does this answers, or frees it, without the lock. */
void group_take(struct page_group *group);

/* Without the lock: tell the device that made @group by PRI. */
void group_tell(const struct page_group *group, unsigned int response);

/* Without the lock. */
void group_answer(struct page_group *group, unsigned int response);

#endif
