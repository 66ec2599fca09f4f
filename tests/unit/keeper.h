/* SPDX-License-Identifier: BSD-3-Clause */
/* A device that is asked to forget, and answers when the test wants it. */
#ifndef TESTS_UNIT_KEEPER_H
#define TESTS_UNIT_KEEPER_H

#include "guest.h"

enum { ASKED_MAX = 64 };

struct keeper {
	pthread_mutex_t lock;
	pthread_cond_t cond;
	unsigned int asked, answered;
	bool late; /* it does not answer by itself */
	int inside; /* what a call that waits says inside of the callback */
	uint32_t tags[ASKED_MAX];
	struct uiommu_ats_invalidation what[ASKED_MAX];
};

static struct keeper k;

static inline void keeper_invalidate(void *opaque, uint32_t tag, const struct uiommu_ats_invalidation *what)
{
	struct keeper *keeper = opaque;
	bool late;

	keeper->inside = uiommu_detach(g.context, g.device_id, PASID);
	pthread_mutex_lock(&keeper->lock);
	assert_true(keeper->asked < ASKED_MAX);
	keeper->tags[keeper->asked] = tag;
	keeper->what[keeper->asked++] = *what;
	late = keeper->late;
	if (!late)
		keeper->answered++;
	pthread_cond_broadcast(&keeper->cond);
	pthread_mutex_unlock(&keeper->lock);
	if (!late)
		assert_int_equal(uiommu_ats_invalidated(g.device, tag), 0);
}

static const struct uiommu_ats_ops keeper_ops = {.invalidate = keeper_invalidate};

static inline int keeper_enable(uint32_t timeout_ms)
{
	const struct uiommu_ats_config config = {
		.size = sizeof(config), .timeout_ms = timeout_ms, .ops = &keeper_ops, .opaque = &k};

	k = (struct keeper){.lock = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER};
	return uiommu_ats_enable(g.device, &config);
}

/* Until it has been asked for the @count'th time. */
static inline void keeper_wait(unsigned int count)
{
	pthread_mutex_lock(&k.lock);
	while (k.asked < count)
		pthread_cond_wait(&k.cond, &k.lock);
	pthread_mutex_unlock(&k.lock);
}

static inline int translate(uint32_t pasid, uint64_t address, uint32_t access, struct uiommu_ats_completion *out)
{
	const struct uiommu_ats_request request = {.address = address, .pasid = pasid, .access = access};

	return uiommu_ats_translate(g.device, &request, out);
}

static inline int translated_read(uint32_t pasid, uint64_t address, uint64_t *value, struct uiommu_dma_result *result)
{
	struct uiommu_dma_op op = {
		.address = address, .buffer = value, .length = 8, .pasid = pasid, .flags = UIOMMU_DMA_TRANSLATED};
	int error = uiommu_dma_readv(g.device, &op, 1);

	if (result)
		*result = op.result;
	return error;
}

static inline int translated_write(uint32_t pasid, uint64_t address, uint64_t value, struct uiommu_dma_result *result)
{
	struct uiommu_dma_op op = {
		.address = address, .buffer = &value, .length = 8, .pasid = pasid, .flags = UIOMMU_DMA_TRANSLATED};
	int error = uiommu_dma_writev(g.device, &op, 1);

	if (result)
		*result = op.result;
	return error;
}

/* The last thing it was asked for, which was the @count'th. */
static inline void check_asked(unsigned int count, uint32_t pasid, uint64_t start, uint64_t last)
{
	assert_int_equal(k.asked, count);
	assert_int_equal(k.what[count - 1].pasid, pasid);
	assert_int_equal(k.what[count - 1].start, start);
	assert_int_equal(k.what[count - 1].last, last);
	assert_int_equal(k.what[count - 1].flags, 0);
	assert_int_equal(k.inside, -EDEADLK);
}

/* What a command was completed with. */
struct done {
	unsigned int calls; /* atomic */
	int error;
};

static inline void note_done(void *opaque, int error)
{
	struct done *done = opaque;

	done->error = error;
	__atomic_add_fetch(&done->calls, 1, __ATOMIC_ACQ_REL);
}

#endif
