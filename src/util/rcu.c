/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Grace periods. After the store S that made something unreachable a waiter does this:
 *
 *   fence; look at each reader's state: offline is done; otherwise it becomes ASKED;
 *   a reader that is no longer ASKED is done;
 *   membarrier();
 *   a reader that is no longer ASKED, or whose depth is 0, is done; the latter becomes OFFLINE. Wait for the others to pass.
 *
 * An end of a section *passes* if it finds any state but ONLINE: it exchanges the state for a new one, and fences. So:
 *
 * - No longer ASKED: sections before that exchange are over, or this one has just begun; what it reads comes after the reader has
 *   read ASKED, and sees S.
 * - OFFLINE, at our look or made so by us: the reader's next section begins with an exchange that comes after ours, and a fence,
 * before it reads. Our fence is between S and the look. So it sees S.
 * - Not passed when the membarrier() is over: it orders the reader's stores of the depth with its looks at the state. Of a section
 *   that began before we asked we see the depth; its end finds that it was asked, and passes. One that begins later passes at once.
 *
 * A reader that was asked, or found to be offline, fences its next sections (FENCED inside of them, OFFLINE between them): if they
 * are few, waiters find it offline. If they are many, it is soon online again and answers soon. Where there is no membarrier(),
 * everybody fences always.
 */
#include "util/rcu.h"

#include <linux/futex.h>
#include <linux/membarrier.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "util/cpu.h"

enum {
	FENCED_SECTIONS = 32, /* after being asked */
	SPINS = 64, /* looks at who has been asked: some times what a cache line takes to come and go */
};

__thread struct rcu_reader rcu_self;
unsigned int rcu_readers;

static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_mutex_t waiter_lock = PTHREAD_MUTEX_INITIALIZER; /* one grace period at a time */
static unsigned long begun; /* grace periods; written under waiter_lock */
static pthread_mutex_t list_lock = PTHREAD_MUTEX_INITIALIZER; /* for the lists; inside of waiter_lock, not held while one sleeps */
static CDS_LIST_HEAD(readers); /* those that no grace period waits for */
static int sleeping; /* futex: a waiter sleeps until somebody passes or goes */
static bool have_membarrier;

static long membarrier(int command)
{
	return syscall(SYS_membarrier, command, 0, 0);
}

static void fork_prepare(void)
{
	pthread_mutex_lock(&list_lock);
}

static void fork_parent(void)
{
	pthread_mutex_unlock(&list_lock);
}

/* The child has one thread, and nobody waits. */
static void fork_child(void)
{
	bool registered = rcu_self.link.next;

	pthread_mutex_init(&list_lock, NULL);
	pthread_mutex_init(&waiter_lock, NULL);
	sleeping = 0;
	CDS_INIT_LIST_HEAD(&readers);
	if (registered)
		cds_list_add(&rcu_self.link, &readers);
	rcu_readers = registered;
}

static void prepare(void)
{
	have_membarrier = !feature_is_off("membarrier") && !membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED);
	if (pthread_atfork(fork_prepare, fork_parent, fork_child))
		abort();
}

void rcu_register(void)
{
	pthread_once(&once, prepare);
	rcu_self.state = RCU_OFFLINE;
	/* Total order with rcu_quiet(): it is counted there, or sees what was published before. */
	__atomic_add_fetch(&rcu_readers, 1, __ATOMIC_SEQ_CST);
	pthread_mutex_lock(&list_lock);
	cds_list_add(&rcu_self.link, &readers);
	pthread_mutex_unlock(&list_lock);
}

static void wake(void)
{
	if (likely(!__atomic_load_n(&sleeping, __ATOMIC_RELAXED)))
		return;
	__atomic_store_n(&sleeping, 0, __ATOMIC_RELAXED);
	syscall(SYS_futex, &sleeping, FUTEX_WAKE_PRIVATE, 1);
}

void rcu_unregister(void)
{
	pthread_mutex_lock(&list_lock);
	cds_list_del(&rcu_self.link);
	rcu_self.link.next = NULL;
	wake();
	pthread_mutex_unlock(&list_lock);
	__atomic_sub_fetch(&rcu_readers, 1, __ATOMIC_RELEASE);
}

static void pass(enum rcu_state next)
{
	__atomic_exchange_n(&rcu_self.state, next, __ATOMIC_SEQ_CST);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	wake();
}

void rcu_begin(void)
{
	if (rcu_self.depth > 1) /* a section in a section */
		return;
	/* Asked, or made offline by a waiter. */
	if (!rcu_self.fenced)
		rcu_self.fenced = FENCED_SECTIONS;
	pass(RCU_FENCED);
}

void rcu_end(void)
{
	if (rcu_self.depth)
		return;
	if (__atomic_load_n(&rcu_self.state, __ATOMIC_RELAXED) == RCU_ASKED)
		rcu_self.fenced = FENCED_SECTIONS;
	else if (rcu_self.fenced && have_membarrier)
		rcu_self.fenced--;
	pass(rcu_self.fenced ? RCU_OFFLINE : RCU_ONLINE);
}

/* Lists are walked by node: a list's head is at no place where a reader could be. */
static struct rcu_reader *reader_of(struct cds_list_head *node)
{
	return cds_list_entry(node, struct rcu_reader, link);
}

static void ask(struct cds_list_head *waited)
{
	struct cds_list_head *node, *next;

	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	cds_list_for_each_safe (node, next, waited) {
		struct rcu_reader *reader = reader_of(node);
		unsigned int state = __atomic_load_n(&reader->state, __ATOMIC_ACQUIRE);

		/* Its cache line stays where it is as long as it is offline. */
		if (state != RCU_OFFLINE && reader != &rcu_self)
			state = __atomic_exchange_n(&reader->state, RCU_ASKED, __ATOMIC_SEQ_CST);
		if (state == RCU_OFFLINE || reader == &rcu_self)
			cds_list_move(&reader->link, &readers);
	}
}

static void settle(struct rcu_reader *reader)
{
	unsigned int asked = RCU_ASKED;

	__atomic_compare_exchange_n(&reader->state, &asked, RCU_OFFLINE, false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED);
	cds_list_move(&reader->link, &readers);
}

/* Wait no longer for those that have passed, nor, if @fenced, for those outside. */
static void look(struct cds_list_head *waited, bool fenced)
{
	struct cds_list_head *node, *next;

	cds_list_for_each_safe (node, next, waited) {
		struct rcu_reader *reader = reader_of(node);

		if (__atomic_load_n(&reader->state, __ATOMIC_ACQUIRE) != RCU_ASKED)
			cds_list_move(&reader->link, &readers);
		else if (fenced && !__atomic_load_n(&reader->depth, __ATOMIC_ACQUIRE))
			settle(reader);
	}
}

static void fence_all(void)
{
	/* A process may have been made in a way that lost the registration. */
	if (have_membarrier && membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED) &&
	    (membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED) || membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED)))
		abort();
}

static void sleep_until_passed(struct cds_list_head *waited)
{
	for (;;) {
		__atomic_store_n(&sleeping, 1, __ATOMIC_RELAXED);
		__atomic_thread_fence(__ATOMIC_SEQ_CST);
		look(waited, true);
		if (cds_list_empty(waited))
			break;
		pthread_mutex_unlock(&list_lock);
		syscall(SYS_futex, &sleeping, FUTEX_WAIT_PRIVATE, 1, NULL);
		pthread_mutex_lock(&list_lock);
	}
	__atomic_store_n(&sleeping, 0, __ATOMIC_RELAXED);
}

static void grace_period(void)
{
	CDS_LIST_HEAD(waited);

	pthread_mutex_lock(&list_lock);
	cds_list_splice(&readers, &waited);
	CDS_INIT_LIST_HEAD(&readers);
	ask(&waited);
	for (unsigned int i = 0; i < SPINS && !cds_list_empty(&waited); i++) {
		look(&waited, false);
		cpu_relax();
	}
	if (!cds_list_empty(&waited)) {
		fence_all();
		look(&waited, true);
	}
	if (!cds_list_empty(&waited))
		sleep_until_passed(&waited);
	pthread_mutex_unlock(&list_lock);
}

void rcu_wait(void)
{
	unsigned long before;

	if (rcu_quiet())
		return;
	/* What is unreachable now is so for every grace period that begins after the look at how many there were. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	before = __atomic_load_n(&begun, __ATOMIC_RELAXED);
	pthread_mutex_lock(&waiter_lock);
	/* One that another thread began since then is as good. */
	if (begun == before) {
		__atomic_store_n(&begun, before + 1, __ATOMIC_RELAXED);
		grace_period();
	}
	pthread_mutex_unlock(&waiter_lock);
}
