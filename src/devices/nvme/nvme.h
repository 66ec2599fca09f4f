/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An NVMe controller.
 *
 * Three kinds of threads. The *transport's* reads and writes registers (registers.c): that only stores values and wakes the engine.
 * The *engine* does everything else: it takes commands out of the guest's queues, moves data, and posts completions; queues, slots,
 * features and logs are its own, without a lock. *Workers* do file I/O that may sleep (store.h), and know nothing of guests.
 *
 * Each command that has been fetched occupies a slot, and a place in its completion queue is reserved for it, so that it can always
 * be completed. When there is none of one or the other no more commands are fetched: memory and work are bounded, whatever a guest
 * submits. What a guest shares is copied once, then checked, then used.
 *
 * A reset makes slots that workers have into orphans: their results are dropped, and the controller is not ready again before all
 * of them have come back, so that no write of before a reset lands on one of after it.
 *
 * Doorbells and registers are words of memory. A transport that traps accesses has them stored there; one that lets a program map
 * them has its writes seen when the engine looks. The engine looks at them all each turn. When there has been nothing to do for
 * @spin_ns it asks to be told of the next write, looks once more, and sleeps.
 */
#ifndef NVME_NVME_H
#define NVME_NVME_H

#include <pthread.h>
#include <stdbool.h>
#include <uiommu/dma.h>
#include <uiommu/pci.h>

#include "devices/nvme/spec.h"
#include "devices/nvme/store.h"

enum {
	NVME_QUEUES = 33, /* the admin queue and 32 for I/O */
	NVME_ENTRIES = 1024, /* of a queue, at most */
	NVME_SLOTS = 64,
	NVME_TRANSFER_LG2 = 19, /* bytes of one command */
	NVME_TRANSFER = 1 << NVME_TRANSFER_LG2,
	NVME_SEGMENTS = 256, /* pieces of guest memory of one command */
	NVME_PAGE_LG2 = 12,
	NVME_PAGE_LG2_MAX = 16,
	NVME_EVENTS = 4, /* outstanding requests for asynchronous events */
	NVME_ERRORS = 64,
	NVME_POSTS = 16, /* completions that are written together */
};

struct nvme_sq {
	bool exists;
	bool deleting; /* once nothing of it is outstanding */
	uint16_t id, cq;
	uint16_t delete_cid;
	uint32_t size, head, tail;
	uint64_t address;
	unsigned int outstanding;
};

struct nvme_cq {
	bool exists;
	bool phase;
	bool interrupts;
	bool raise; /* something has been posted since the last interrupt */
	uint16_t vector;
	uint32_t size, head, tail;
	uint64_t address;
	unsigned int reserved; /* places for commands that have been fetched */
	unsigned int queues; /* submission queues that use it */
};

struct nvme_segment {
	uint64_t address, length;
};

struct nvme_slot {
	struct nvme_command command;
	struct nvme_sq *sq; /* NULL: of before a reset, or of the controller's own */
	struct store_request request;
	struct nvme_slot *next; /* of the free ones */
	uint8_t *buffer; /* NVME_TRANSFER bytes */
	uint32_t length; /* bytes of data */
	unsigned int segment_count;
	struct nvme_segment segments[NVME_SEGMENTS];
};

/* Who a completion is for. */
struct nvme_origin {
	struct nvme_sq *sq;
	uint16_t cid;
};

struct nvme_counters {
	uint64_t read_bytes, written_bytes, reads, writes, media_errors;
};

struct nvme {
	struct uiommu_context *context;
	struct uiommu_pci *pci;
	struct uiommu_device *device;
	uint8_t uuid[16];
	unsigned int block_lg2;
	uint64_t blocks;
	bool read_only;
	struct store store;
	bool store_made;

	/* Shared with the transport. */
	uint32_t *words; /* registers and doorbells: BAR 0; atomic */
	pthread_mutex_t mask_lock; /* a leaf */
	uint32_t mask; /* of interrupts, under @mask_lock */
	unsigned int disables; /* how often CC.EN has been cleared; atomic */
	unsigned int strays; /* doorbells that do not exist have been written; atomic */
	bool heeds_heads; /* a completion queue's doorbell is something to wake up for; atomic */

	/* Sleep, wake, pause. */
	pthread_t thread;
	bool started;
	pthread_mutex_t lock;
	pthread_cond_t wake; /* the engine waits for it */
	pthread_cond_t idle; /* who pauses the engine waits for it */
	bool asleep; /* atomic: about to sleep; whoever brings work wakes it */
	bool woken, running, stop; /* under @lock */
	unsigned int pauses; /* under @lock */
	uint64_t spin_ns;

	/* The engine's. */
	unsigned int disables_seen;
	bool enabled; /* CC.EN has been seen: it is ready, or has failed */
	bool ready, failed;
	bool stopping; /* CC.EN has been cleared: not ready once no worker has anything */
	bool shutting, flushed;
	uint32_t shutdown; /* CC.SHN as it was last seen */
	unsigned int page_lg2;
	unsigned int busy; /* slots that workers have */
	struct nvme_slot *slots, *free;
	unsigned int free_count;
	uint8_t *buffers;
	struct nvme_sq sqs[NVME_QUEUES];
	struct nvme_cq cqs[NVME_QUEUES];
	uint32_t doorbells[2 * NVME_QUEUES]; /* as they were last seen */
	bool stalled; /* a completion queue has no room */
	unsigned int turn; /* which submission queue is next */
	uint32_t features[NVME_FEATURES];
	uint32_t vectors[NVME_QUEUES]; /* interrupt vector configuration */
	uint32_t under; /* temperature threshold */
	struct nvme_completion posts[NVME_POSTS];
	uint64_t post_addresses[NVME_POSTS];
	unsigned int post_count;
	bool intx; /* the level of the pin; atomic */
	uint32_t held; /* MSI vectors that the mask holds back */
	uint16_t event_cids[NVME_EVENTS];
	unsigned int event_count;
	uint8_t event_pending; /* of the errors' events, by information */
	uint8_t event_masked; /* reported, and the log has not been read since */
	struct nvme_error errors[NVME_ERRORS];
	uint64_t error_count;
	struct nvme_counters counters;
	uint64_t power_on; /* ns */
};

/* --- nvme.c --- */

struct complaint;
struct option_value;

/* Without a thread: nvme_start(), or nvme_turn(). */
int nvme_make(struct uiommu_context *context, uint32_t device_id, const struct option_value *values,
	      const struct complaint *complaint, struct nvme **out);
void nvme_free(struct nvme *nvme);

/* --- registers.c: what the transport does --- */

extern const struct uiommu_pci_ops nvme_ops;

static inline uint32_t nvme_word(const struct nvme *nvme, unsigned int offset)
{
	return __atomic_load_n(&nvme->words[offset / 4], __ATOMIC_ACQUIRE);
}

static inline void nvme_word_set(struct nvme *nvme, unsigned int offset, uint32_t value)
{
	__atomic_store_n(&nvme->words[offset / 4], value, __ATOMIC_RELEASE);
}

static inline uint64_t nvme_word64(const struct nvme *nvme, unsigned int offset)
{
	return nvme_word(nvme, offset) | (uint64_t)nvme_word(nvme, offset + 4) << 32;
}

static inline unsigned int nvme_tail_doorbell(unsigned int queue)
{
	return NVME_DOORBELLS + 8 * queue;
}

static inline unsigned int nvme_head_doorbell(unsigned int queue)
{
	return NVME_DOORBELLS + 8 * queue + 4;
}

/* The values after a reset. */
void nvme_registers_reset(struct nvme *nvme);

/* The interrupt mask, after what a program that maps the registers has written there. */
uint32_t nvme_mask(struct nvme *nvme);

/* --- engine.c: turns --- */

/* -EAGAIN. */
int nvme_start(struct nvme *nvme);
void nvme_stop(struct nvme *nvme);

/* There is something to do. Any thread. */
void nvme_kick(struct nvme *nvme);

/* Between these two the engine does not run. Not the engine's own thread. */
void nvme_pause(struct nvme *nvme);
void nvme_resume(struct nvme *nvme);

/* One turn of the engine: false if there was nothing to do. */
bool nvme_turn(struct nvme *nvme);

/* The queues cannot be reached: nothing more until a reset. */
void nvme_fail(struct nvme *nvme);

/* Forget all of the guest's. The engine's, or while it is paused. */
void nvme_forget(struct nvme *nvme);

/* --- queues.c --- */

void nvme_look_at_doorbells(struct nvme *nvme);

/* Look at them, fetch commands and begin them: how many. */
unsigned int nvme_fetch(struct nvme *nvme);

struct nvme_slot *nvme_slot_get(struct nvme *nvme);
void nvme_slot_put(struct nvme *nvme, struct nvme_slot *slot);

static inline struct nvme_origin nvme_origin(const struct nvme_slot *slot)
{
	return (struct nvme_origin){slot->sq, slot->command.cid};
}

/* A command ends; nvme_flush_posts() writes it. @status: &enum nvme_status, with NVME_DNR. */
void nvme_complete(struct nvme *nvme, struct nvme_origin origin, unsigned int status, uint32_t result);

/* It ends and is no slot any more. */
void nvme_end(struct nvme *nvme, struct nvme_slot *slot, unsigned int status, uint32_t result);

/* It is no slot any more, and ends otherwise. */
void nvme_release(struct nvme *nvme, struct nvme_slot *slot);

/* Answer a request for events; false: there is no room. */
bool nvme_post_event(struct nvme *nvme, uint16_t cid, uint32_t result);

void nvme_flush_posts(struct nvme *nvme);

/* Set the pin, and send what the mask no longer holds back. */
void nvme_interrupts(struct nvme *nvme);

/* Create and delete, as commands: a status. NVME_PENDING: it completes later. */
enum { NVME_PENDING = 0xffff };
unsigned int nvme_create_sq(struct nvme *nvme, const struct nvme_command *command);
unsigned int nvme_create_cq(struct nvme *nvme, const struct nvme_command *command);
unsigned int nvme_delete_sq(struct nvme *nvme, const struct nvme_command *command);
unsigned int nvme_delete_cq(struct nvme *nvme, const struct nvme_command *command);

/* --- data.c --- */

/* Where the @length bytes of a command's data are: a status. */
unsigned int nvme_map(struct nvme *nvme, struct nvme_slot *slot, uint32_t length);

/* Move them between there and @data, or compare: a status. */
unsigned int nvme_from_guest(struct nvme *nvme, const struct nvme_slot *slot, void *data);
unsigned int nvme_to_guest(struct nvme *nvme, const struct nvme_slot *slot, const void *data);
unsigned int nvme_compare_guest(struct nvme *nvme, const struct nvme_slot *slot, const void *data);

/* --- admin.c, identify.c, features.c, logs.c, io.c: commands --- */

void nvme_admin(struct nvme *nvme, struct nvme_slot *slot);
void nvme_io(struct nvme *nvme, struct nvme_slot *slot);

/* A worker has done its part. */
void nvme_io_end(struct nvme *nvme, struct nvme_slot *slot);

/* Give a slot's request to the workers. */
void nvme_submit(struct nvme *nvme, struct nvme_slot *slot);

/* Fill in the slot's buffer: a status. */
unsigned int nvme_identify(struct nvme *nvme, struct nvme_slot *slot);

/* ASCII, filled up with spaces. */
void nvme_put_text(uint8_t *data, unsigned int offset, unsigned int width, const char *text);

void nvme_features_reset(struct nvme *nvme);
/* A status; *@result is the completion's. */
unsigned int nvme_get_features(struct nvme *nvme, const struct nvme_command *command, uint32_t *result);
unsigned int nvme_set_features(struct nvme *nvme, const struct nvme_command *command, uint32_t *result);

/* Fill the slot's buffer with the part of a log that is asked for, of *@length bytes: a status. */
unsigned int nvme_get_log(struct nvme *nvme, struct nvme_slot *slot, uint32_t *length);

/* A command has failed. */
void nvme_log_error(struct nvme *nvme, struct nvme_origin origin, unsigned int status);

/* A doorbell was written that does not exist, or with a value that cannot be. */
void nvme_event(struct nvme *nvme, unsigned int information);

/* Requests for events: a status. */
unsigned int nvme_event_request(struct nvme *nvme, const struct nvme_command *command);
void nvme_event_deliver(struct nvme *nvme);

/* The namespace that a command names: a status. */
unsigned int nvme_check_namespace(uint32_t nsid, bool broadcast);

#endif
