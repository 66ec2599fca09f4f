/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The numbers of one client, in memory that its executor writes and the broker reads. Nobody waits for anybody: a stuck executor's
 * numbers are old. Each is read and written with relaxed atomics; a reader may see some newer than others.
 */
#ifndef DAEMON_STATS_H
#define DAEMON_STATS_H

#include <stddef.h>
#include <stdint.h>

struct stats_entry {
	uint64_t bytes_read;
	uint64_t bytes_written;
	uint64_t faults;
	uint64_t discarded;
	uint64_t holders; /* of one PASID, now: it is no sum, and not copied */
};

struct stats {
	struct stats_entry ended; /* sum of the PASIDs that are free again */
	struct stats_entry ioas;
	uint64_t descriptors; /* of queues that have been destroyed */
	uint64_t lost_reports; /* faults that were not reported */
	/* struct stats_entry for each PASID, then uint64_t descriptors for each queue */
	struct stats_entry pasids[];
};

static inline size_t stats_size(uint32_t pasids, uint32_t queues)
{
	return sizeof(struct stats) + pasids * sizeof(struct stats_entry) + queues * sizeof(uint64_t);
}

static inline uint64_t *stats_queues(struct stats *stats, uint32_t pasids)
{
	return (uint64_t *)(void *)&stats->pasids[pasids];
}

static inline uint64_t stats_load(const uint64_t *number)
{
	return __atomic_load_n(number, __ATOMIC_RELAXED);
}

static inline void stats_store(uint64_t *number, uint64_t value)
{
	__atomic_store_n(number, value, __ATOMIC_RELAXED);
}

static inline void stats_copy(struct stats_entry *to, const struct stats_entry *from)
{
	stats_store(&to->bytes_read, stats_load(&from->bytes_read));
	stats_store(&to->bytes_written, stats_load(&from->bytes_written));
	stats_store(&to->faults, stats_load(&from->faults));
	stats_store(&to->discarded, stats_load(&from->discarded));
}

static inline void stats_sum(struct stats_entry *sum, const struct stats_entry *entry)
{
	stats_store(&sum->bytes_read, stats_load(&sum->bytes_read) + stats_load(&entry->bytes_read));
	stats_store(&sum->bytes_written, stats_load(&sum->bytes_written) + stats_load(&entry->bytes_written));
	stats_store(&sum->faults, stats_load(&sum->faults) + stats_load(&entry->faults));
	stats_store(&sum->discarded, stats_load(&sum->discarded) + stats_load(&entry->discarded));
}

#endif
