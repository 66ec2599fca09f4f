/* SPDX-License-Identifier: BSD-3-Clause */
#include "translate/inflight.h"

#include <pthread.h>
#include <stdlib.h>

#include "memory/distant.h"
#include "util/rcu.h"
#include "util/util.h"

static pthread_mutex_t inflight_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t inflight_left = PTHREAD_COND_INITIALIZER;
static CDS_LIST_HEAD(threads); /* every struct thread_state that is registered, by index, under inflight_lock */

static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t thread_end;

__thread struct thread_state thread_current;

/* Runs when a thread ends; it is inside of nothing then. A later destructor that does DMA registers the thread once more. */
static void unregister_thread(void *opaque)
{
	struct thread_state *self = opaque;

	pthread_mutex_lock(&inflight_lock);
	cds_list_del(&self->link);
	pthread_mutex_unlock(&inflight_lock);
	rcu_unregister();
	self->registered = false;
	self->own = 0;
	distant_free(self);
	free(self->buffer);
	self->buffer = NULL;
}

/* A fork child has one thread. What the others were inside of does not exist here. */
static void fork_child(void)
{
	pthread_mutex_init(&inflight_lock, NULL);
	pthread_cond_init(&inflight_left, NULL);
	CDS_INIT_LIST_HEAD(&threads);
	if (thread_current.registered)
		cds_list_add_tail(&thread_current.link, &threads);
}

static void fork_prepare(void)
{
	pthread_mutex_lock(&inflight_lock);
}

static void fork_parent(void)
{
	pthread_mutex_unlock(&inflight_lock);
}

static void prepare(void)
{
	if (pthread_key_create(&thread_end, unregister_thread) || pthread_atfork(fork_prepare, fork_parent, fork_child))
		abort();
}

/* The lowest number that no thread has; the list is kept in its order. */
static void take_index(struct thread_state *self)
{
	struct cds_list_head *before = &threads;
	struct thread_state *other;

	self->index = 0;
	cds_list_for_each_entry (other, &threads, link) {
		if (other->index != self->index)
			break;
		self->index++;
		before = &other->link;
	}
	cds_list_add(&self->link, before);
	self->own = self->index < THREAD_OWN_COUNTERS ? self->index + 1 : 0;
}

struct thread_state *thread_register(void)
{
	struct thread_state *self = &thread_current;

	pthread_once(&once, prepare);
	if (pthread_setspecific(thread_end, self))
		abort();
	rcu_register();
	pthread_mutex_lock(&inflight_lock);
	take_index(self);
	pthread_mutex_unlock(&inflight_lock);
	self->registered = true;
	return self;
}

uint8_t *thread_buffer(struct thread_state *self)
{
	if (unlikely(!self->buffer)) {
		self->buffer = aligned_alloc(page_size(), THREAD_BUFFER_SIZE);
		if (!self->buffer)
			abort();
	}
	return self->buffer;
}

bool thread_inside(void)
{
	return thread_current.depth != 0;
}

struct inflight_slot *inflight_enter(struct thread_state *self, struct drainable *object)
{
	struct inflight_slot *slot = self->slots;

	while (__atomic_load_n(&slot->word, __ATOMIC_RELAXED))
		if (++slot == self->slots + INFLIGHT_SLOTS)
			abort(); /* an access holds two pieces at most (piece_enter) */
	/* Seen by drain_start(): its grace period ends after the read section that this store is in. */
	__atomic_store_n(&slot->word, (uintptr_t)object, __ATOMIC_RELEASE);
	return slot;
}

/* One access fewer, under inflight_lock. Returns what is to be called without it. */
static void (*one_less(struct drainable *object))(struct drainable *)
{
	if (--object->pending)
		return NULL;
	if (object->done)
		return object->done;
	pthread_cond_broadcast(&inflight_left);
	return NULL;
}

void inflight_leave(struct inflight_slot *slot)
{
	/* Pairs with the compare-and-swap in mark(): what the access did comes before whatever follows the drain. */
	uintptr_t word = __atomic_exchange_n(&slot->word, 0, __ATOMIC_ACQ_REL);
	struct drainable *object = (struct drainable *)(word & ~(uintptr_t)1);
	void (*done)(struct drainable *);

	if (likely(!(word & 1)))
		return;
	pthread_mutex_lock(&inflight_lock);
	done = one_less(object);
	pthread_mutex_unlock(&inflight_lock);
	if (done)
		done(object);
}

bool inflight_quiet(void)
{
	const struct thread_state *state;
	uintptr_t held = 0;

	if (rcu_quiet())
		return true;
	pthread_mutex_lock(&inflight_lock);
	cds_list_for_each_entry (state, &threads, link)
		for (unsigned int i = 0; i < INFLIGHT_SLOTS; i++)
			held |= __atomic_load_n(&state->slots[i].word, __ATOMIC_ACQUIRE);
	pthread_mutex_unlock(&inflight_lock);
	return !held;
}

/* Mark every slot that holds @object. Under inflight_lock, so no marked slot reports before all are counted. */
static void mark(struct drainable *object)
{
	struct thread_state *state;

	cds_list_for_each_entry (state, &threads, link) {
		for (unsigned int i = 0; i < INFLIGHT_SLOTS; i++) {
			uintptr_t word = (uintptr_t)object;

			if (__atomic_compare_exchange_n(&state->slots[i].word, &word, word | 1, false, __ATOMIC_ACQ_REL,
							__ATOMIC_ACQUIRE))
				object->pending++;
		}
	}
}

void inflight_tell(void (*waits)(void *opaque), void *opaque)
{
	struct thread_state *self = thread_self();

	self->waits = waits;
	self->waits_opaque = opaque;
}

bool inflight_tells(void)
{
	return thread_current.waits;
}

void inflight_waits(void)
{
	if (thread_current.waits)
		thread_current.waits(thread_current.waits_opaque);
}

void drain_start(struct drainable *object, void (*done)(struct drainable *))
{
	bool waits;

	pthread_mutex_lock(&inflight_lock);
	object->done = done;
	object->pending = 1;
	mark(object);
	waits = object->pending > 1;
	object->waited |= waits;
	done = one_less(object);
	pthread_mutex_unlock(&inflight_lock);
	if (waits)
		inflight_waits();
	else
		done(object);
}

void drain_wait(struct drainable *object)
{
	if (rcu_quiet())
		return;
	pthread_mutex_lock(&inflight_lock);
	object->done = NULL;
	object->pending = 0;
	mark(object);
	object->waited |= object->pending > 0;
	if (object->pending) {
		pthread_mutex_unlock(&inflight_lock);
		inflight_waits();
		pthread_mutex_lock(&inflight_lock);
	}
	while (object->pending)
		pthread_cond_wait(&inflight_left, &inflight_lock);
	pthread_mutex_unlock(&inflight_lock);
}

void flights_init(struct flights *flights)
{
	*flights = (struct flights){.current = 0};
	pthread_mutex_init(&flights->lock, NULL);
}

void flights_fini(struct flights *flights)
{
	pthread_mutex_destroy(&flights->lock);
}

unsigned int flights_turn(struct flights *flights)
{
	unsigned int turned;

	pthread_mutex_lock(&flights->lock);
	turned = flights->current;
	/* Who comes after the grace period enters the other one, which was empty when the drain before ended. */
	__atomic_store_n(&flights->current, !turned, __ATOMIC_SEQ_CST);
	return turned;
}

void flights_drain(struct flights *flights, unsigned int turned)
{
	drain_wait(&flights->flight[turned]);
	pthread_mutex_unlock(&flights->lock);
}

void flights_wait(struct flights *flights)
{
	unsigned int turned;

	if (inflight_quiet())
		return;
	turned = flights_turn(flights);
	rcu_wait();
	flights_drain(flights, turned);
}
