/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The accelerator behind registers.
 *
 * The transport's thread reads and writes registers and never waits for the engine: a command changes the page's state and kicks
 * the engine, whose runner does what follows of it (page_control()). A doorbell is one store that the runner looks at; it may be
 * made by a program that has the page mapped. Everything else there is shown, and never read.
 *
 * @lock covers registers and states; it is taken with the engine's lock held, and nothing is called with it.
 */
#ifndef ACCEL_PCI_H
#define ACCEL_PCI_H

#include <pthread.h>
#include <uiommu/accel_pci.h>
#include <uiommu/mdev.h>

#include "devices/accel/function.h"
#include "devices/accel/pci_spec.h"

struct page {
	struct uiommu_accel_pci *function;
	uint32_t state; /* ACCEL_STATE_*, HALTED, and the reason; atomic to look at, written under the lock */
	uint64_t *shown; /* the doorbell page as its process sees it, and may write anything to; atomic */
	uint32_t head; /* atomic: descriptors taken */
	/* Under the lock, and unchanged unless it is DISABLED. */
	uint64_t ring;
	uint32_t size; /* log2 of the entries */
	uint32_t pasid; /* with ACCEL_VALID, or none */
	uint32_t emits; /* what the engine calls that, from ENABLE on */
	uint32_t interrupt; /* with ACCEL_VALID, or none */
	/* Under the lock: software errors since it was enabled, the first of them. */
	struct uiommu_accel_error error;
	/* The runner's. */
	struct engine_queue *queue;
	uint32_t vector; /* as @interrupt was when it began */
	bool closed;
};

struct uiommu_accel_pci {
	struct function base;
	uint32_t page_count, vector_count;
	/* Of a virtual device: where the PASIDs that it emits come from, and the table of those that its guest says. */
	struct uiommu_context *context;
	uint32_t set_id;
	struct uiommu_pasid_set *set; /* NULL: it is none */
	pthread_mutex_t lock;
	bool resetting; /* under the lock: the runner has not ended yet what was before a reset */
	uint32_t event_interrupt; /* under the lock */
	uint64_t events[ACCEL_PCI_PAGES_MAX / 64]; /* under the lock */
	struct page pages[];
};

static inline uint32_t page_state(const struct page *page)
{
	return __atomic_load_n(&page->state, __ATOMIC_ACQUIRE);
}

/* The doorbell. */
static inline uint32_t *page_tail(const struct page *page)
{
	return (uint32_t *)page->shown; /* all is little-endian */
}

/* The state without what stands beside it. */
enum { PAGE_STATE = 0xf };

/* Registers of a page, 4 bytes each. */
uint32_t page_read(struct page *page, unsigned int offset);
void page_write(struct page *page, unsigned int offset, uint32_t value);

/* The doorbell page. */
uint64_t page_doorbell_read(struct page *page, unsigned int offset);
void page_doorbell(struct page *page, uint64_t value);

/* By the runner: what states ask for. True: something is draining. */
bool page_control(struct page *page);

/* Under the lock: as after a reset; what is at work is aborted. */
void page_reset(struct page *page);

/* PASIDs are no longer enabled: a page that has one is aborted. */
void page_lose_pasid(struct page *page);

/* Something has happened to it that the driver wants to know. Without the lock. */
void page_event(struct page *page);

#endif
