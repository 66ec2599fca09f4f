/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Inside the engine.
 *
 * A descriptor becomes a task: copied once from the ring or from a batch's list, then checked, then done in steps of at most 1 MiB,
 * then completed. The life of a task:
 *
 *	ring or list -> window_start() -> group (small moves, together) ------------> complete
 *	                               -> active (everything else) -> step, step, ... -> complete
 *	                               -> waiting (a batch without a free slot)   |
 *	                                                      park() <- fault ----+
 *	                                                      ready  <- response, from any thread
 *
 * All of it belongs to the thread that holds accel->lock, which is the one that runs the engine; only the ready list is shared with
 * the threads that answer page requests (queue->park_lock). Records are collected and written by record_flush() after their data.
 *
 * Between two accesses an attachment can end and its PASID can be given to something else. So a task remembers the generation of
 * each attachment that it uses (struct place), and looks at it again before every further access.
 *
 * Lock order: accel->gate, accel->lock, queue->park_lock. None is held in a callback of the DMA layer's but accel->lock.
 */
#ifndef ACCEL_TASK_H
#define ACCEL_TASK_H

#include <pthread.h>
#include <uiommu/dma.h>
#include <urcu/list.h>

#include "devices/accel/desc.h"
#include "devices/accel/engine.h"
#include "devices/accel/ring.h"

enum {
	WINDOW_TASKS = 64, /* descriptors of a queue per turn */
	SMALL_BYTES = 16 << 10, /* a move up to this size goes into a group */
	GROUP_BYTES = 256 << 10,
	STEP_BYTES = 1 << 20, /* of one descriptor per step, and of steps per turn */
	SCRATCH_BYTES = 256 << 10,
	PATTERN_BYTES = 64 << 10, /* of memory, */
	PATTERN_SPAN = STEP_BYTES + PATTERN_BYTES, /* of addresses, where it is seen again and again */
	BATCH_SLOTS = 4, /* batches of a queue at the same time */
	BATCH_TASKS = 64, /* members of a batch at the same time */
	RECORDS = 16, /* written together */
	SEEN = 4,
};

struct batch;

/* One attachment, as a task found it when it began. */
struct place {
	uint32_t pasid;
	uint32_t generation;
};

struct task {
	struct uiommu_accel_desc desc;
	struct engine_queue *queue;
	struct batch *batch; /* it is a member of, or (opcode BATCH) that it is; otherwise NULL */
	struct task *next; /* in one of: free, active, waiting, ready */
	struct cds_list_head inflight; /* from the ring: in order of submission */
	uint64_t done; /* bytes; BATCH: of its list, in the end its descriptors */
	uint64_t value;
	struct uiommu_fault fault;
	struct place places[PLACES]; /* as they were */
	uint64_t word; /* what the PASID was when it was submitted (vpasid.h), if queue->words */
	uint32_t turn; /* when it began */
	uint32_t crc;
	uint8_t result;
	bool started; /* CRC: the seed is known */
	bool refused; /* the page request was not answered with success */
	bool asks; /* it has one of its function's page requests */
	uint8_t completes; /* with this status, when its record's memory is there; or 0 */
};

struct task_list {
	struct task *first;
	struct task **last;
};

struct batch {
	struct task *parent; /* NULL: the slot is free */
	struct uiommu_accel_desc *list; /* room for UIOMMU_ACCEL_BATCH_MAX */
	struct task *members; /* BATCH_TASKS */
	struct task *free;
	uint32_t available; /* descriptors that were read */
	uint32_t next;
	uint32_t outstanding;
	bool readable; /* the list has been read as far as it goes */
	bool failed; /* a member had no success */
	uint8_t status; /* of the list: 0, or a page fault */
};

/* Page requests of a function, whoever's they are: they outlive queues, and perhaps the engine. */
struct credits {
	unsigned int references; /* atomic: the engine's, and one for each queue */
	uint32_t used; /* atomic */
	int wake_fd;
};

/* Descriptors that lie in their submitter's memory (fetch.c). */
struct fetch {
	struct engine_fetch from; /* @tail is NULL: it is another queue */
	uint32_t head; /* descriptors taken */
	uint32_t last; /* where a closed one ends */
	uint32_t refused; /* a tail that makes no sense */
	bool is_refused;
	bool closed;
	bool halted;
	bool waits; /* for a page of the ring */
	struct task *task; /* what waits, in the queue's block */
};

/*
 * Who shares the engine: whoever made it, and PCI functions. Each has queues and a device that makes their accesses. Turns go round
 * the tenants, and among a tenant's queues: so none has less of the engine because another has more queues.
 */
struct engine_tenant {
	struct uiommu_accel *accel;
	struct uiommu_device *device; /* in use */
	struct cds_list_head queues; /* the next one to have a turn first */
	unsigned int queue_count;
	struct cds_list_head stopped; /* queues that have no turns any more */
	struct cds_list_head turn; /* in accel->turns as long as it has queues */

	/* Of a PCI function (engine_tenant_begin()). */
	struct cds_list_head link; /* in accel->functions */
	struct credits *credits; /* NULL: it is none */
	bool (*control)(void *opaque);
	void *opaque;
	bool kicked; /* atomic */
	bool barred; /* atomic: nothing of what was taken may make an access any more */
	bool waits; /* it wants to be called again */
	struct uiommu_pci *pci; /* or NULL */
	bool watched; /* programs may have its doorbells mapped */
	bool recovers; /* atomic */
	uint32_t allocation; /* of page requests; atomic */
	uint32_t share; /* of them, of each queue */
};

struct engine_queue {
	struct uiommu_accel *accel;
	struct engine_tenant *tenant;
	struct cds_list_head link;
	struct ring_engine ring;
	struct fetch fetch;
	struct credits *credits; /* of a function */
	uint32_t asked; /* page requests without a response; atomic */
	bool stopped;
	struct task_list starved; /* wait until page requests may be sent */
	uint32_t flags;
	uint32_t pasid;
	const uint64_t *words; /* engine_queue_config.words */
	int interrupt_fd;
	struct desc_limits limits;
	uint64_t interrupts; /* those that are due, by handle */
	uint64_t completed; /* atomic: written by the runner */
	size_t bytes; /* of this block of memory */

	struct task *free;
	uint32_t fresh; /* tasks never used so far, from here on */
	uint32_t used;
	struct task_list active;
	struct task_list waiting;
	struct cds_list_head inflight;
	unsigned int batches_used;
	struct batch *oldest[BATCH_SLOTS]; /* those that are used, in the order in which they began */

	pthread_mutex_t park_lock;
	bool alive;
	unsigned int references; /* one, and one for each page request without a response */
	struct task *ready; /* atomic to look at */

	struct batch batches[BATCH_SLOTS];
	struct task tasks[];
};

struct records {
	unsigned int count;
	bool older; /* of a task that began in an earlier turn */
	struct {
		struct engine_queue *queue;
		struct batch *batch;
		struct place place;
		uint32_t named;
		uint8_t opcode;
	} owner[RECORDS];
	struct uiommu_accel_record data[RECORDS];
	struct uiommu_dma_op ops[RECORDS][2]; /* everything but the status, the status */
};

struct group {
	unsigned int count;
	size_t bytes;
	struct task *tasks[WINDOW_TASKS];
	struct uiommu_dma_op ops[WINDOW_TASKS];
};

struct uiommu_accel {
	struct uiommu_context *context;
	struct engine_tenant own; /* the maker's */
	struct engine_tenant *tenant; /* whose queue has its turn */
	uint32_t owner; /* fork_token() of the maker */

	/* Who wants the lock from a busy runner sets wanted and goes through the gate, where the runner waits for its turn. */
	pthread_mutex_t gate;
	pthread_mutex_t lock;
	unsigned int wanted;

	struct cds_list_head embedded; /* struct uiommu_queue, made by uiommu_accel_queue() */
	struct cds_list_head turns; /* struct engine_tenant: the next one to have a turn first */
	unsigned int turn_count;
	struct cds_list_head functions; /* struct engine_tenant */
	bool armed;
	bool asleep; /* atomic: page responses have to write wake_fd */
	bool mapped; /* a program had doorbells mapped when the engine went to sleep */
	int wake_fd;

	pthread_t thread;
	bool started;
	bool stop; /* atomic */
	uint32_t spin_us;

	void (*fault)(void *opaque, const struct uiommu_fault *fault);
	void *fault_opaque;

	uint64_t *handles; /* generation << 32 | PASID, by handle; NULL: none granted yet */
	uint32_t handles_end; /* greatest handle in use, and one */
	uint32_t handles_free; /* no lower one is free */

	/* attach_generation() of the PASIDs looked up in this turn; overflow: of some of them only. */
	struct place seen[SEEN];
	bool seen_overflow;
	uint32_t turn;

	uint8_t *scratch; /* two of SCRATCH_BYTES */
	uint8_t *pattern_span;
	uint64_t pattern;
	size_t pattern_length; /* bytes filled with it */
	uint64_t turn_bytes;

	struct group group;
	struct records records;
};

static inline uint8_t *accel_buffer(struct uiommu_accel *accel, unsigned int index)
{
	return accel->scratch + (size_t)index * SCRATCH_BYTES;
}

static inline void task_list_init(struct task_list *list)
{
	list->first = NULL;
	list->last = &list->first;
}

static inline void task_push(struct task_list *list, struct task *task)
{
	task->next = NULL;
	*list->last = task;
	list->last = &task->next;
}

static inline struct task *task_pop(struct task_list *list)
{
	struct task *task = list->first;

	if (task) {
		list->first = task->next;
		if (!list->first)
			list->last = &list->first;
	}
	return task;
}

static inline unsigned int task_opcode(const struct task *task)
{
	return desc_opcode(&task->desc);
}

/* It waits for a page that is missing. */
static inline bool task_blocks(const struct task *task)
{
	return task->desc.flags_opcode & UIOMMU_ACCEL_BLOCK_ON_FAULT;
}

/* Of a function's accesses: the IOMMU hears of no fault that the device has been told of. */
static inline uint32_t function_flags(const struct engine_tenant *tenant)
{
	return __atomic_load_n(&tenant->recovers, __ATOMIC_RELAXED) ? UIOMMU_DMA_RECOVERABLE : UIOMMU_DMA_PARKS;
}

/* Of its accesses. */
static inline uint32_t task_flags(const struct task *task)
{
	if (unlikely(task->queue->credits))
		return function_flags(task->queue->tenant);
	return task_blocks(task) ? UIOMMU_DMA_RECOVERABLE : UIOMMU_DMA_PARKS;
}

static inline const struct place *task_place(const struct task *task, enum place_name name)
{
	return &task->places[desc_handle(&task->desc, name) ? name : PLACE_OWN];
}

/* The PASID that its submitter knows it by: of a mediated device's queue, the vPASID. */
static inline uint32_t task_named(const struct task *task)
{
	const struct task *top = task->batch && task->batch->parent ? task->batch->parent : task;

	return task->queue->flags & UIOMMU_QUEUE_SHARED ? top->desc.pasid_priv & DESC_PASID : task->queue->pasid;
}

static inline uint32_t task_pasid(const struct task *task, enum place_name name)
{
	return task_place(task, name)->pasid;
}

/* --- handle.c --- */

/* As attach_generation(), remembering the answers until accel_forget(). */
uint32_t accel_generation(struct uiommu_accel *accel, uint32_t pasid);

/* A new turn. */
void accel_forget(struct uiommu_accel *accel);

/*
 * True if nothing that was looked up since accel_forget() has changed meanwhile: what tasks found that began in this turn is valid
 * still. Otherwise each has to be looked at.
 */
bool accel_unchanged(struct uiommu_accel *accel);

/* Fill in task->places: 0, or the software error. */
enum uiommu_accel_error_code task_resolve(struct uiommu_accel *accel, struct task *task);

/* Are all its places still what they were? 0, or the software error. */
enum uiommu_accel_error_code task_verify(struct uiommu_accel *accel, const struct task *task);

/* The same for one place. @handle: 0 for the descriptor's own PASID. */
bool place_valid(struct uiommu_accel *accel, const struct place *place, uint16_t handle);

/* --- window.c --- */

/* Start a task whose descriptor has just been copied. It may be complete when this returns. */
void window_start(struct uiommu_accel *accel, struct task *task);

/* Do the moves that window_start() collected. */
void window_flush(struct uiommu_accel *accel);

/* --- step.c --- */

/* Do at most STEP_BYTES of an active task, which is then complete, parked, or active again. */
void task_step(struct uiommu_accel *accel, struct task *task);

/* The move has to go from the end to the start. */
bool move_is_backward(const struct task *task);

/* --- complete.c --- */

/* The task is gone afterwards. */
void task_complete(struct uiommu_accel *accel, struct task *task, unsigned int status);

/* It met a fault: park it, or complete it with what was done. */
void task_fault(struct uiommu_accel *accel, struct task *task, const struct uiommu_fault *fault);

/* The page that it waited for will not come. */
void task_refuse(struct uiommu_accel *accel, struct task *task);

/* One of its places has ended: complete it with a software error, and with a record if there is a place for it. */
void task_lost(struct uiommu_accel *accel, struct task *task, enum uiommu_accel_error_code code);

/* There is no place for its record: a software error, and nothing is done. */
void task_misaligned_record(struct task *task);

/* A software error of the queue. */
void queue_error(struct engine_queue *queue, unsigned int code, unsigned int opcode, unsigned int status, uint32_t pasid,
		 uint64_t address);

/* Its record's memory does not come. */
void task_record_refused(struct task *task);

/* Write the records of all completed tasks. */
void record_flush(struct uiommu_accel *accel);

/* --- park.c --- */

/* Ask for a page: true if the task now waits for the response. */
bool task_park(struct task *task, const struct uiommu_fault *fault);

/* Move answered tasks, and those that may ask now, to the active list. Those that were refused are completed by their next step. */
void park_collect(struct engine_queue *queue);

/* So many page requests may be sent now for a queue of a function. */
uint32_t credits_left(const struct engine_queue *queue);

struct credits *credits_make(int wake_fd);
struct credits *credits_get(struct credits *credits);
void credits_put(struct credits *credits);

static inline bool park_answered(const struct engine_queue *queue)
{
	return __atomic_load_n(&queue->ready, __ATOMIC_RELAXED) || (unlikely(queue->starved.first != NULL) && credits_left(queue));
}

/* --- fetch.c --- */

static inline bool queue_fetches(const struct engine_queue *queue)
{
	return queue->fetch.from.tail;
}

/* There are descriptors to take. */
bool fetch_ready(const struct engine_queue *queue);

/* Take at most @limit descriptors, start them: how many. */
unsigned int fetch_turn(struct uiommu_accel *accel, struct engine_queue *queue, unsigned int limit);

/* The page of the ring has come, or not. */
void fetch_answered(struct engine_queue *queue);

/* --- batch.c --- */

/* Begin to read the list, or wait for a free slot. */
void batch_start(struct task *parent);

/* The list is read as far as it goes; @status is 0 or the page fault that ended it. */
void batch_read_done(struct task *parent, unsigned int status);

/* Start members and finish batches: how many members were started, at most @limit. */
unsigned int batch_turn(struct uiommu_accel *accel, struct engine_queue *queue, unsigned int limit);

/* --- thread.c --- */

/* Take and release the lock from outside of the runner. */
void accel_lock(struct uiommu_accel *accel);
void accel_unlock(struct uiommu_accel *accel);

/* Take the lock as the runner; release it with pthread_mutex_unlock(). */
void accel_run_lock(struct uiommu_accel *accel);

void accel_stop(struct uiommu_accel *accel);

void event_signal(int fd);

/* --- engine.c --- */

/* With the lock. */
unsigned int accel_run(struct uiommu_accel *accel, unsigned int budget);
bool accel_arm(struct uiommu_accel *accel);
void accel_disarm(struct uiommu_accel *accel);

/* A task that is in no list, for a descriptor. */
struct task *task_alloc(struct engine_queue *queue);

void engine_queue_put(struct engine_queue *queue);

#endif
