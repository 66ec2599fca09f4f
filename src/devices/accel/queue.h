/* SPDX-License-Identifier: BSD-3-Clause */
/* The submitter's side of a queue, of an engine in this process or of one elsewhere (the client library). */
#ifndef ACCEL_QUEUE_H
#define ACCEL_QUEUE_H

#include <stdbool.h>
#include <uiommu/accel.h>

struct ring_header;

/*
 * A queue on a ring that is mapped already (ring_map()). On success the queue owns @ring, @wake_fd and @interrupt_fd and ends
 * with uiommu_queue_destroy(), which calls @release first (but not in a fork child).
 */
struct queue_open {
	struct ring_header *ring;
	uint32_t entries;
	int wake_fd; /* eventfd, non-blocking, written to wake the engine */
	int interrupt_fd; /* eventfd, non-blocking */
	int hangup_fd; /* a socket whose hang-up ends the queue, or -1; borrowed */
	void (*release)(struct uiommu_queue *queue, void *opaque);
	void *opaque;
};

/* -ENOMEM. */
int queue_open(const struct queue_open *open, struct uiommu_queue **out);

/* Destroy what uiommu_accel_queue() made. */
void queue_destroy_all(struct uiommu_accel *accel);

#endif
