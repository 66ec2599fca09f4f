/* SPDX-License-Identifier: BSD-3-Clause */
/* The engine: its thread and its turns, and a controller's states. */
#include <sched.h>
#include <string.h>

#include "devices/nvme/nvme.h"
#include "translate/inflight.h"
#include "util/clock.h"
#include "util/thread.h"
#include "util/util.h"

/* --- states --- */

void nvme_forget(struct nvme *nvme)
{
	for (unsigned int i = 0; i < NVME_SLOTS; i++)
		nvme->slots[i].sq = NULL;
	memset(nvme->sqs, 0, sizeof(nvme->sqs));
	memset(nvme->cqs, 0, sizeof(nvme->cqs));
	memset(nvme->doorbells, 0, sizeof(nvme->doorbells));
	nvme->post_count = nvme->event_count = 0;
	nvme->event_pending = nvme->event_masked = 0;
	nvme->held = 0;
	nvme->shutdown = 0;
	nvme->enabled = nvme->ready = nvme->failed = nvme->shutting = false;
	nvme_features_reset(nvme);
	if (nvme->intx)
		uiommu_pci_intx(nvme->pci, false);
	__atomic_store_n(&nvme->intx, false, __ATOMIC_RELEASE);
}

void nvme_fail(struct nvme *nvme)
{
	nvme->failed = true;
	nvme->post_count = 0;
	nvme_word_set(nvme, NVME_CSTS, nvme_word(nvme, NVME_CSTS) | NVME_CSTS_CFS);
}

static void make_admin_queues(struct nvme *nvme)
{
	uint32_t aqa = nvme_word(nvme, NVME_AQA);

	nvme->cqs[0] = (struct nvme_cq){
		.exists = true,
		.phase = true,
		.interrupts = true,
		.size = (aqa >> NVME_AQA_ACQS_SHIFT & NVME_AQA_SIZE) + 1,
		.address = nvme_word64(nvme, NVME_ACQ) & ~UINT64_C(0xfff),
		.queues = 1,
	};
	nvme->sqs[0] = (struct nvme_sq){
		.exists = true,
		.size = (aqa & NVME_AQA_SIZE) + 1,
		.address = nvme_word64(nvme, NVME_ASQ) & ~UINT64_C(0xfff),
	};
}

/* CC.EN has been set: ready, or failed if it cannot be done with these values. */
static void enable(struct nvme *nvme, uint32_t cc)
{
	nvme->enabled = true;
	nvme->page_lg2 = NVME_PAGE_LG2 + ((cc & NVME_CC_MPS) >> NVME_CC_MPS_SHIFT);
	make_admin_queues(nvme);
	for (unsigned int i = 0; i < ARRAY_SIZE(nvme->doorbells); i++)
		nvme_word_set(nvme, NVME_DOORBELLS + 4 * i, 0);
	if (cc & (NVME_CC_CSS | NVME_CC_AMS) || nvme->page_lg2 > NVME_PAGE_LG2_MAX || nvme->sqs[0].size < 2 ||
	    nvme->cqs[0].size < 2 || (nvme->sqs[0].address | nvme->cqs[0].address) & ((UINT64_C(1) << nvme->page_lg2) - 1)) {
		nvme_fail(nvme);
		return;
	}
	nvme->ready = true;
	nvme_word_set(nvme, NVME_CSTS, NVME_CSTS_RDY);
}

/* Everything that was begun ends, then the file is flushed. */
static void shut_down(struct nvme *nvme)
{
	uint32_t status = nvme_word(nvme, NVME_CSTS) & ~(uint32_t)NVME_CSTS_SHST;

	if (nvme->busy)
		return;
	if (!nvme->flushed) {
		struct nvme_slot *slot = nvme_slot_get(nvme);

		nvme->flushed = true;
		slot->request = (struct store_request){.op = STORE_FLUSH};
		nvme_submit(nvme, slot);
		return;
	}
	nvme->shutting = false;
	nvme_word_set(nvme, NVME_CSTS, status | NVME_CSTS_SHST_COMPLETE);
}

static void begin_shutdown(struct nvme *nvme, uint32_t cc)
{
	uint32_t status = nvme_word(nvme, NVME_CSTS) & ~(uint32_t)NVME_CSTS_SHST;

	if ((cc & NVME_CC_SHN) == nvme->shutdown)
		return;
	nvme->shutdown = cc & NVME_CC_SHN;
	if (!nvme->shutdown || nvme->shutting)
		return;
	nvme->shutting = true;
	nvme->flushed = false;
	nvme_word_set(nvme, NVME_CSTS, status | NVME_CSTS_SHST_OCCURRING);
}

/* Look at CC: true if something has changed. */
static bool control(struct nvme *nvme)
{
	/* In this order: a count that is seen is older than the value. */
	unsigned int disables = __atomic_load_n(&nvme->disables, __ATOMIC_ACQUIRE);
	uint32_t cc = nvme_word(nvme, NVME_CC), status = nvme_word(nvme, NVME_CSTS);

	if (nvme->enabled && (disables != nvme->disables_seen || !(cc & NVME_CC_EN))) {
		nvme_forget(nvme);
		nvme->stopping = true;
	}
	nvme->disables_seen = disables;
	if (nvme->stopping && !nvme->busy) {
		nvme->stopping = false;
		nvme_word_set(nvme, NVME_CSTS, 0);
	}
	begin_shutdown(nvme, cc);
	if (nvme->shutting)
		shut_down(nvme);
	else if (cc & NVME_CC_EN && !nvme->enabled && !nvme->busy)
		enable(nvme, cc);
	return nvme_word(nvme, NVME_CSTS) != status;
}

/* --- turns --- */

static unsigned int collect(struct nvme *nvme)
{
	struct store_request *request = store_collect(&nvme->store), *next;
	unsigned int count = 0;

	for (; request; request = next, count++) {
		struct nvme_slot *slot = container_of(request, struct nvme_slot, request);

		next = request->next;
		nvme->busy--;
		if (slot->sq && !nvme->failed)
			nvme_io_end(nvme, slot);
		else
			nvme_slot_put(nvme, slot);
	}
	return count;
}

void nvme_submit(struct nvme *nvme, struct nvme_slot *slot)
{
	nvme->busy++;
	store_submit(&nvme->store, &slot->request);
}

bool nvme_turn(struct nvme *nvme)
{
	unsigned int count = collect(nvme);
	bool changed = control(nvme);

	if (!nvme->ready || nvme->failed)
		return count || changed;
	if (!nvme->shutdown)
		count += nvme_fetch(nvme);
	nvme_event_deliver(nvme);
	nvme_flush_posts(nvme);
	nvme_interrupts(nvme);
	return count || changed;
}

/* --- the thread --- */

void nvme_kick(struct nvme *nvme)
{
	/* Total order with fall_asleep(): what was stored before is seen there, or that it sleeps is seen here. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (!__atomic_load_n(&nvme->asleep, __ATOMIC_RELAXED))
		return;
	pthread_mutex_lock(&nvme->lock);
	nvme->woken = true;
	pthread_cond_signal(&nvme->wake);
	pthread_mutex_unlock(&nvme->lock);
}

void nvme_pause(struct nvme *nvme)
{
	inflight_waits();
	pthread_mutex_lock(&nvme->lock);
	nvme->pauses++;
	while (nvme->running)
		pthread_cond_wait(&nvme->idle, &nvme->lock);
	pthread_mutex_unlock(&nvme->lock);
}

void nvme_resume(struct nvme *nvme)
{
	pthread_mutex_lock(&nvme->lock);
	nvme->pauses--;
	nvme->woken = true;
	pthread_cond_signal(&nvme->wake);
	pthread_mutex_unlock(&nvme->lock);
}

/* False: the thread is to end. */
static bool turn_begin(struct nvme *nvme, bool sleep)
{
	pthread_mutex_lock(&nvme->lock);
	while (!nvme->stop && (nvme->pauses || (sleep && !nvme->woken)))
		pthread_cond_wait(&nvme->wake, &nvme->lock);
	nvme->running = !nvme->stop;
	if (sleep) {
		nvme->woken = false;
		__atomic_store_n(&nvme->asleep, false, __ATOMIC_RELAXED);
	}
	pthread_mutex_unlock(&nvme->lock);
	return nvme->running;
}

static void turn_end(struct nvme *nvme)
{
	pthread_mutex_lock(&nvme->lock);
	nvme->running = false;
	if (nvme->pauses)
		pthread_cond_broadcast(&nvme->idle);
	pthread_mutex_unlock(&nvme->lock);
}

/* From now on whoever brings work says so; what came before is seen by the next turn. */
static void fall_asleep(struct nvme *nvme)
{
	__atomic_store_n(&nvme->asleep, true, __ATOMIC_RELAXED);
	uiommu_pci_watch(nvme->pci);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
}

static void *run(void *opaque)
{
	struct nvme *nvme = opaque;
	bool asleep = false, sleep = false;
	uint64_t last = 0;

	while (turn_begin(nvme, sleep)) {
		bool worked = nvme_turn(nvme);

		turn_end(nvme);
		if (worked || sleep) {
			last = clock_ns();
			asleep = sleep = false;
			__atomic_store_n(&nvme->asleep, false, __ATOMIC_RELAXED);
		} else if (asleep) {
			sleep = true;
		} else if (clock_ns() - last < nvme->spin_ns) {
			/* Whoever is about to write may wait for this processor. */
			sched_yield();
		} else {
			fall_asleep(nvme);
			asleep = true;
		}
	}
	return NULL;
}

int nvme_start(struct nvme *nvme)
{
	int error = thread_start(&nvme->thread, run, nvme);

	nvme->started = !error;
	return error;
}

void nvme_stop(struct nvme *nvme)
{
	if (!nvme->started)
		return;
	pthread_mutex_lock(&nvme->lock);
	nvme->stop = true;
	pthread_cond_signal(&nvme->wake);
	pthread_mutex_unlock(&nvme->lock);
	pthread_join(nvme->thread, NULL);
	nvme->started = false;
}
