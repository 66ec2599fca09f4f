/* SPDX-License-Identifier: BSD-3-Clause */
/* Work queues: their configuration, their portals, and the engine's queue behind each. */
#include <string.h>

#include "devices/accel/dsa.h"
#include "util/util.h"

static unsigned int index_of(const struct dsa_wq *wq)
{
	return (unsigned int)(wq - wq->dsa->queues);
}

static uint32_t size_of(const struct dsa_wq *wq)
{
	return (uint32_t)FIELD_GET64(DSA_WQ_SIZES_SIZE, wq->config[DSA_WQ_SIZES]);
}

static uint32_t modes_of(const struct dsa_wq *wq)
{
	return wq->config[DSA_WQ_MODES];
}

/* --- the driver --- */

unsigned int dsa_wq_check(const struct dsa_wq *wq)
{
	uint32_t modes = modes_of(wq), limits = wq->config[DSA_WQ_LIMITS], pasid = (uint32_t)FIELD_GET64(DSA_WQ_MODES_PASID, modes);

	if (wq->enabled)
		return DSA_WQ_ENABLED;
	if (!size_of(wq))
		return DSA_WQ_SIZE;
	if (!FIELD_GET64(DSA_WQ_MODES_PRIORITY, modes))
		return DSA_WQ_PRIORITY;
	if (modes & DSA_WQ_MODES_PRIVILEGED || (!(modes & DSA_WQ_MODES_DEDICATED) && !(modes & DSA_WQ_MODES_HAS_PASID)))
		return DSA_WQ_MODE;
	if (modes & DSA_WQ_MODES_HAS_PASID &&
	    (!(uiommu_pci_state(wq->dsa->base.pci) & UIOMMU_PCI_PASID_ON) || (modes & DSA_WQ_MODES_DEDICATED && !pasid)))
		return DSA_WQ_PASID;
	if (FIELD_GET64(DSA_WQ_LIMITS_BATCH, limits) > DSA_BATCH_LG2)
		return DSA_WQ_BATCH;
	return FIELD_GET64(DSA_WQ_LIMITS_TRANSFER, limits) > wq->dsa->transfer_lg2 ? DSA_WQ_TRANSFER : DSA_OK;
}

uint32_t dsa_wq_read(const struct dsa_wq *wq, unsigned int word)
{
	uint32_t state = wq->enabled ? DSA_ENABLED : DSA_DISABLED;

	return word == DSA_WQ_STATE ? (uint32_t)FIELD_PREP64(DSA_WQ_STATE_STATE, state) : wq->config[word];
}

void dsa_wq_write(struct dsa_wq *wq, unsigned int word, uint32_t value)
{
	if (!wq->enabled && word < DSA_WQ_STATE)
		wq->config[word] = value;
}

/* --- whoever submits --- */

/* Under the lock: 0, or why not. */
static unsigned int submit(struct dsa_wq *wq, const struct uiommu_accel_desc *desc)
{
	uint32_t tail = wq->tail;

	if (!wq->enabled)
		return DSA_SWERR_WQ_DISABLED;
	if (wq->taken)
		return 0;
	if (tail - __atomic_load_n(&wq->head, __ATOMIC_ACQUIRE) >= size_of(wq))
		return DSA_SWERR_WQ_FULL;
	wq->ring[tail % DSA_WQ_TOTAL] = *desc;
	/* Release: pairs with the look that takes the descriptors. */
	__atomic_store_n(&wq->tail, tail + 1, __ATOMIC_RELEASE);
	return 0;
}

static void portal_submit(struct dsa_wq *wq)
{
	struct uiommu_accel_desc desc;
	struct uiommu_accel_error about = {0};
	unsigned int error;

	memcpy(&desc, wq->words, sizeof(desc));
	pthread_mutex_lock(&wq->dsa->lock);
	error = submit(wq, &desc);
	pthread_mutex_unlock(&wq->dsa->lock);
	if (!error) {
		engine_ring(wq->dsa->base.accel);
		return;
	}
	about.opcode = (uint8_t)(desc.flags_opcode >> 24);
	about.pasid = desc.pasid_priv & UIOMMU_PASID_LAST;
	dsa_error(wq->dsa, index_of(wq), error, &about);
}

/* A write of 64 bytes comes as its words, one after another. What is no such write is none. */
void dsa_wq_portal(struct dsa_wq *wq, uint64_t offset, uint64_t value)
{
	unsigned int word = offset / 8 % DSA_DESC_WORDS;

	if (offset >= 2 * DSA_PORTAL)
		return; /* interrupts of IMS: there are none */
	wq->word_count = word && word == wq->word_count ? word : 0;
	if (word != wq->word_count)
		return;
	wq->words[wq->word_count++] = value;
	if (wq->word_count < DSA_DESC_WORDS)
		return;
	wq->word_count = 0;
	portal_submit(wq);
}

/* --- the runner --- */

static void on_interrupt(void *opaque, uint64_t handles)
{
	const struct dsa_wq *wq = opaque;

	/* Without MSI-X nobody waits for it. */
	for (handles &= low_mask(DSA_VECTORS); handles; handles &= handles - 1)
		(void)uiommu_pci_interrupt(wq->dsa->base.pci, (unsigned int)__builtin_ctzll(handles));
}

static void on_error(void *opaque, const struct uiommu_accel_error *error)
{
	const struct dsa_wq *wq = opaque;
	unsigned int status = error->status;

	if (error->code == UIOMMU_ACCEL_ERROR_PASID)
		status = UIOMMU_ACCEL_TRANSLATION;
	dsa_error(wq->dsa, index_of(wq), status, error);
}

static struct engine_queue *attach(struct dsa_wq *wq)
{
	const struct engine_fetch fetch = {.submitted = wq->ring,
					   .tail = &wq->tail,
					   .head = &wq->head,
					   .interrupt = on_interrupt,
					   .error = on_error,
					   .opaque = wq};
	struct engine_queue_config config = {.interrupt_fd = -1, .fetch = &fetch, .interrupts = DSA_VECTORS};
	struct engine_queue *queue;
	uint32_t modes, limits;

	pthread_mutex_lock(&wq->dsa->lock);
	modes = modes_of(wq);
	limits = wq->config[DSA_WQ_LIMITS];
	wq->tail = 0;
	__atomic_store_n(&wq->head, 0, __ATOMIC_RELAXED);
	pthread_mutex_unlock(&wq->dsa->lock);
	config.entries = DSA_WQ_TOTAL;
	config.flags = modes & DSA_WQ_MODES_DEDICATED ? 0 : UIOMMU_QUEUE_SHARED;
	/* There the work queue's configuration says it, as it says the PASID. Drivers without one set the bit. */
	config.privileged = modes & DSA_WQ_MODES_DEDICATED;
	config.pasid = modes & DSA_WQ_MODES_HAS_PASID ? (uint32_t)FIELD_GET64(DSA_WQ_MODES_PASID, modes) : UIOMMU_NO_PASID;
	config.transfer_max = UINT64_C(1) << FIELD_GET64(DSA_WQ_LIMITS_TRANSFER, limits);
	config.batch_max = UINT32_C(1) << FIELD_GET64(DSA_WQ_LIMITS_BATCH, limits);
	wq->closed = false;
	return engine_queue_attach_locked(wq->dsa->base.tenant, &config, &queue) ? NULL : queue;
}

static void detach(struct dsa_wq *wq)
{
	if (wq->queue)
		engine_queue_detach_locked(wq->queue);
	wq->queue = NULL;
}

static void set_enabled(struct dsa_wq *wq, bool enabled, bool taken)
{
	pthread_mutex_lock(&wq->dsa->lock);
	wq->enabled = enabled;
	wq->taken = taken;
	pthread_mutex_unlock(&wq->dsa->lock);
}

/* What has been submitted so far is complete. */
static bool drained(struct dsa_wq *wq)
{
	if (!wq->queue)
		return true;
	if (!wq->closed)
		engine_queue_close(wq->queue);
	wq->closed = true;
	return engine_queue_drained(wq->queue);
}

/* What is submitted while it goes is lost with the rest. */
static void take(struct dsa_wq *wq, bool stays)
{
	set_enabled(wq, stays, true);
	detach(wq);
	wq->queue = stays ? attach(wq) : NULL;
	set_enabled(wq, wq->queue, false);
}

bool dsa_wq_run(struct dsa_wq *wq, unsigned int command)
{
	switch (command) {
	case DSA_ENABLE_WQ:
		wq->queue = attach(wq);
		set_enabled(wq, wq->queue, false);
		return true;
	case DSA_DRAIN_ALL:
	case DSA_DRAIN_WQ:
	case DSA_DRAIN_PASID:
		if (!drained(wq))
			return false;
		if (wq->queue)
			engine_queue_reopen(wq->queue);
		wq->closed = false;
		return true;
	case DSA_DISABLE_DEVICE:
	case DSA_DISABLE_WQ:
		if (!drained(wq))
			return false;
		take(wq, false);
		return true;
	case DSA_ABORT_ALL:
	case DSA_ABORT_WQ:
		take(wq, wq->queue);
		return true;
	default: /* a reset */
		take(wq, false);
		return true;
	}
}
