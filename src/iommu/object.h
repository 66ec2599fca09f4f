/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Objects of a context: ids, references, one way to end.
 *
 * An object is allocated (its id is reserved, nobody finds it), then finalised or aborted. Two counts keep it: *users* are objects
 * and attachments that refer to it, and make its destruction EBUSY; *calls* are API calls that are inside of it, and are waited
 * for.
 *
 * Lock order: bind lock -> device lock -> space lock -> context lock; the queues' locks, those of ATS, the PASID space's and
 * inflight_lock are leaves, but for the timers' lock, which comes after them. Nothing waits for accesses, and nothing calls back,
 * with any of them held. An HWPT's dirty lock, then its forget lock, come before all of them, and are held while waiting for
 * accesses: no access takes them.
 */
#ifndef IOMMU_OBJECT_H
#define IOMMU_OBJECT_H

#include <pthread.h>
#include <stdbool.h>
#include <uiommu/context.h>
#include <urcu/list.h>

#include "util/timers.h"

struct geometry;
struct pasid_set;
struct pasid_space;

struct object {
	struct uiommu_context *context;
	enum uiommu_object_type type;
	uint32_t id;
	unsigned int users; /* context lock */
	unsigned int calls; /* context lock */
	bool live; /* finalised and not being destroyed; context lock */
};

/* An object of somebody above, who knows what its end is: called with the object removed. */
struct other_object {
	struct object object;
	void (*end)(struct other_object *other);
};

struct uiommu_context {
	pthread_mutex_t lock; /* ids, users, calls */
	pthread_cond_t calls_done;
	struct object **objects; /* by id; [0] is never used */
	uint32_t capacity;
	uint32_t lowest_free; /* no lower id is free */
	size_t live_count;
	uint32_t owner; /* fork_token() of the process that opened it */
	unsigned int without;
	void (*log)(void *opaque, enum uiommu_log_level level, const char *message);
	void *log_opaque;
	uint32_t generation; /* of attachments, atomic */
	/*
	 * Of an iommufd: what page tables ask of their IOAS, unless their device says otherwise; and the rules are Linux's where
	 * ours are wider: what is attached to PASIDs has the flag for it, and what is attached without beside them, too. NULL:
	 * neither.
	 */
	const struct geometry *geometry;
	unsigned int ending; /* attachments of PASIDs that were freed; context lock, calls_done */
	struct timers timers;
	pthread_mutex_t page_lock; /* of page requests (requests.h); after a device's lock, before a fault queue's */
	pthread_mutex_t viommu_lock; /* of what is in vIOMMUs, and which vDEVICE a device is; before the context lock */
	struct pasid_space *pasids;
	struct pasid_set *pasid_set;
	pthread_mutex_t bind_lock;
	pthread_cond_t bind_ended;
	struct cds_list_head binds; /* struct bind, under @bind_lock */
};

/* Reserve an id for @object. -ENOMEM. */
int object_alloc(struct uiommu_context *context, struct object *object, enum uiommu_object_type type);

/* From now on it is found. */
void object_finalise(struct object *object);

/* Give the id back; the object has not been finalised. */
void object_abort(struct object *object);

/* For the length of a call; NULL if there is no live object @id, or not of this type (%UIOMMU_OBJECT_NONE: any). */
struct object *object_get(struct uiommu_context *context, uint32_t id, enum uiommu_object_type type);
void object_put(struct object *object);

/* For as long as something refers to it. The caller is inside a call of the object, or uses it already. */
void object_use(struct object *object);
void object_unuse(struct object *object);

/*
 * A place (under the context's lock) names an object without using it. Set: the object is finalised, and the caller inside of a
 * call. Get: for the length of a call, NULL if the place is empty or the object not live. Clear: if it still names the object,
 * which ends.
 */
void object_finalise_at(struct object *object, struct object **place);
struct object *object_get_at(struct uiommu_context *context, struct object **place);
void object_clear_at(const struct object *object, struct object **place);

/*
 * Take the object out: -ENOENT, -EBUSY; afterwards nobody finds it, no call is inside of it and the id is free. The type's own end
 * function does the rest.
 */
int object_remove(struct uiommu_context *context, uint32_t id, struct object **out);

/*
 * The same of @object, if it is still there, for ever: nobody gets its id any more. False: it is not, or is about to go.
 */
bool object_bury(struct object *object);

/*
 * The end of a use of an object that was made along with another: if nothing else uses it and no call is inside of it, it is taken
 * out as well. True: the caller ends it.
 */
bool object_unuse_remove(struct object *object);

/* Wait until no more than @users use it. */
void object_wait_users(struct object *object, unsigned int users);

/*
 * Move @object, which nobody calls or uses by its id any more, to another context, where it is not found until it is finalised. Its
 * old id stays reserved for @place, or, if that is NULL, is given back, and the object gets @to_id, which is reserved for it there
 * (0: the lowest free one). -ENOMEM: nothing has changed.
 */
int object_move(struct object *object, struct object *place, struct uiommu_context *to, uint32_t to_id);

/* The context closes and has no attachments left: end every object, whoever refers to it. */
void object_end_all(struct uiommu_context *context);

/* The end of each type, with the object removed. They may wait for accesses. */
void ioas_end(struct object *object);
void ram_end(struct object *object);
bool ram_in_use(const struct object *object);
void hwpt_end(struct object *object);
void device_end(struct object *object);
void set_end(struct object *object);
bool set_in_use(const struct object *object);
void mdev_end(struct object *object);
bool mdev_in_use(const struct object *object);
void fault_queue_end(struct object *object);
void demand_end(struct object *object);
void viommu_end(struct object *object);
void vdevice_end(struct object *object);
void veventq_end(struct object *object);
void hw_queue_end(struct object *object);

/* One line to the user's callback, if there is one. No lock held. */
void context_log(const struct uiommu_context *context, enum uiommu_log_level level, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* 0, -EOWNERDEAD in a fork child. */
int context_check_owner(const struct uiommu_context *context);

/* What the environment says to do without (enum uiommu_fallback): UIOMMU_WITHOUT. */
unsigned int fallbacks_wanted(void);

#endif
