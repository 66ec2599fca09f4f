/* SPDX-License-Identifier: BSD-3-Clause */
/* A thread that reads at VA all the time, and pages that have good bytes as long as it may reach them and poison afterwards. */
#ifndef TESTS_UNIT_POISON_H
#define TESTS_UNIT_POISON_H

#include "guest.h"

#include <pthread.h>
#include <sched.h>

enum { GOOD = 0x11, POISON = 0xee };

struct reader {
	pthread_t thread;
	uint32_t pasid;
	bool stop; /* atomic */
	unsigned long good, poisoned; /* reads, atomic; bytes */
};

static inline void *reader_main(void *opaque)
{
	struct reader *reader = opaque;
	uint8_t buffer[64];

	while (!__atomic_load_n(&reader->stop, __ATOMIC_ACQUIRE)) {
		if (uiommu_dma_read(g.device, reader->pasid, VA, buffer, sizeof(buffer), NULL))
			continue;
		for (unsigned int i = 0; i < sizeof(buffer); i++)
			reader->poisoned += buffer[i] != GOOD;
		__atomic_store_n(&reader->good, reader->good + 1, __ATOMIC_RELEASE);
	}
	return NULL;
}

static inline void reader_start(struct reader *reader, uint32_t pasid)
{
	*reader = (struct reader){.pasid = pasid};
	assert_int_equal(pthread_create(&reader->thread, NULL, reader_main, reader), 0);
}

static inline unsigned long reader_good(const struct reader *reader)
{
	return __atomic_load_n(&reader->good, __ATOMIC_ACQUIRE);
}

/* Until it has read more than @before. */
static inline void reader_await(const struct reader *reader, unsigned long before)
{
	while (reader_good(reader) == before)
		sched_yield();
}

static inline void reader_end(struct reader *reader)
{
	__atomic_store_n(&reader->stop, true, __ATOMIC_RELEASE);
	pthread_join(reader->thread, NULL);
	assert_int_equal(reader->poisoned, 0);
	assert_true(reader->good > 0);
}

#endif
