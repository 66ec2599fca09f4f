/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * In flight: how an unmap waits for exactly the accesses that use what it takes away.
 *
 * Resident memory is touched inside an RCU read section, and a grace period waits for it. Whatever may sleep must not hold up
 * grace periods. Such an access *enters* the object it depends on, a drainable (an area or an attachment), while it is still inside
 * the read section in which it found the object; then it leaves the section, sleeps as long as it must, and *leaves* the object.
 *
 * Entering is one plain store to a slot of the calling thread (a hazard pointer): no lock, no shared cache line, no fence. The
 * writer
 * 1. makes the object unreachable, 2. waits for a grace period: every reader that found it has now entered it or is done, 3. looks
 * through all threads' slots. The grace period orders 1. before every later lookup and every slot store before 3. Slots that hold
 * the object get a mark by compare-and-swap; whoever leaves a marked slot reports to the drain. So a drain costs the accesses
 * nothing until there is one.
 *
 * Lock order: inflight_lock (in inflight.c) is a leaf. Completions are called without it.
 */
#ifndef TRANSLATE_INFLIGHT_H
#define TRANSLATE_INFLIGHT_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <urcu/list.h>

struct distant;
struct uiommu_device;

struct drainable {
	unsigned int pending; /* marked slots, under inflight_lock */
	bool waited; /* somebody has been waited for; under inflight_lock, and nobody resets it */
	void (*done)(struct drainable *); /* set while a drain runs */
};

enum { INFLIGHT_SLOTS = 12, THREAD_BUFFER_SIZE = 256 << 10, THREAD_OWN_COUNTERS = 7 };

struct inflight_slot {
	uintptr_t word; /* struct drainable *, bit 0: marked. Written by its thread, marked by writers. */
};

/* Who uses a remote region just now, and where it is for him; of tables that are walked, nobody. */
struct thread_use {
	const struct uiommu_device *device; /* or NULL */
	uint64_t iova; /* of the area: behind a guest's own tables */
	uint32_t pasid;
};

/* What the data layer keeps per thread: made on the first access, ends with the thread. */
struct thread_state {
	struct inflight_slot slots[INFLIGHT_SLOTS];
	unsigned int depth; /* accesses and callbacks this thread is inside of */
	unsigned int index; /* small number, unique among those alive; for sharded counters */
	unsigned int own; /* 1 + the index of counters that only this thread writes; 0: there are none, or it is not registered */
	bool registered;
	void (*waits)(void *opaque); /* told before a drain waits for others in this thread; may be NULL */
	void *waits_opaque;
	unsigned int reaches; /* memory/distant.h: it may be asked for entries, */
	bool asked; /* it has been, */
	struct distant *distant; /* and has copies; or NULL */
	uint8_t *buffer; /* THREAD_BUFFER_SIZE private bytes, made on first use */
	struct thread_use use;
	struct cds_list_head link;
};

extern __thread struct thread_state thread_current __attribute__((visibility("hidden")));

struct thread_state *thread_register(void);

/* The calling thread's state, registered as RCU reader. Never NULL; the first call of a thread may allocate and aborts when it
 * can't. */
static inline struct thread_state *thread_self(void)
{
	return __builtin_expect(thread_current.registered, 1) ? &thread_current : thread_register();
}

/* The thread's private buffer. Never NULL; aborts without memory. */
uint8_t *thread_buffer(struct thread_state *self);

/* True if the calling thread is inside an access or a callback: then nothing that drains may be called (EDEADLK). */
bool thread_inside(void);

/* Inside an RCU read section that found @object: it stays valid after the section, until inflight_leave(). */
struct inflight_slot *inflight_enter(struct thread_state *self, struct drainable *object);
void inflight_leave(struct inflight_slot *slot);

/* Does nobody hold anything? What was found before a grace period that has passed, and what it held, has ended then. */
bool inflight_quiet(void);

/* Tell @waits each time before this thread waits for accesses of others, without a lock; NULL: no longer. */
void inflight_tell(void (*waits)(void *opaque), void *opaque);

/* Does this thread tell? Then what others wait for may wait for it. */
bool inflight_tells(void);

/* This thread is about to wait for something that may depend on accesses: do what inflight_tell() asked for. */
void inflight_waits(void);

/*
 * @object is unreachable and a grace period has passed. Call @done when the last access has left it: from here if there is none,
 * otherwise from the thread that leaves last.
 */
void drain_start(struct drainable *object, void (*done)(struct drainable *));

/* The same, and wait. */
void drain_wait(struct drainable *object);

/*
 * Two of them that are entered in turn, so that new accesses do not keep a drain from ending. flights_turn(), a grace period and
 * flights_drain() wait for all that entered before; flights_wait() does all three, if anybody holds anything.
 */
struct flights {
	struct drainable flight[2];
	unsigned int current; /* atomic: the one that is entered */
	pthread_mutex_t lock; /* from turn to drain; nobody else takes it */
};

void flights_init(struct flights *flights);
void flights_fini(struct flights *flights);
unsigned int flights_turn(struct flights *flights);
void flights_drain(struct flights *flights, unsigned int turned);

/* After a grace period. */
void flights_wait(struct flights *flights);

/* In a read section: what an access that will sleep enters. */
static inline struct drainable *flights_current(struct flights *flights)
{
	return &flights->flight[__atomic_load_n(&flights->current, __ATOMIC_SEQ_CST)];
}

#endif
