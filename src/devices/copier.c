/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A device that copies memory, for whoever writes an IOMMU's driver: nothing but addresses, PASIDs and a start register, so that a
 * few lines in user space or in a kernel make it do any DMA. docs/copier.md has the registers.
 *
 * Whoever can write its registers can name any PASID: it is no device to share among programs.
 *
 * A copy is done by a thread of its own, because memory may have to be waited for; registers cannot be written meanwhile.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <uiommu/dma.h>

#include "devices/model.h"
#include "util/clock.h"
#include "util/thread.h"
#include "util/util.h"

/* BAR 0. */
enum {
	SOURCE = 0x00, /* 8 bytes */
	DESTINATION = 0x08, /* 8 bytes */
	LENGTH = 0x10,
	SOURCE_PASID = 0x14, /* bit 31: there is one */
	DESTINATION_PASID = 0x18,
	REPEAT = 0x1c, /* how often; 0: once */
	START = 0x20, /* anything is written: copy */
	STATUS = 0x24,
	REASON = 0x28, /* enum uiommu_fault_reason */
	COPIED = 0x2c, /* bytes, the last time */
	FAULT_ADDRESS = 0x30, /* 8 bytes */
	ELAPSED = 0x38, /* 8 bytes: ns */
	REGISTERS = 0x40,
	WRITABLE = START, /* what is below */
};

enum { IDLE = 0, DONE = 1, FAULT = 2, BUSY = 3 };
enum { LENGTH_MAX = 1 << 20, REPEAT_MAX = 1 << 20, PASID_BITS = 20 };

struct copier {
	struct uiommu_pci *pci;
	pthread_t thread;
	pthread_mutex_t lock; /* a leaf */
	pthread_cond_t wake;
	bool stop, started;
	unsigned int resets; /* a copy of before one has no result */
	uint8_t registers[REGISTERS];
};

static uint64_t get(const struct copier *copier, unsigned int offset, unsigned int size)
{
	uint64_t value = 0;

	memcpy(&value, copier->registers + offset, size);
	return value;
}

static void set(struct copier *copier, unsigned int offset, unsigned int size, uint64_t value)
{
	memcpy(copier->registers + offset, &value, size);
}

/* --- the thread --- */

struct job {
	struct uiommu_dma_place source, destination;
	uint32_t length, repeat;
	unsigned int resets;
};

static uint32_t pasid_of(const struct copier *copier, unsigned int offset)
{
	uint32_t value = (uint32_t)get(copier, offset, 4);

	return value >> 31 && uiommu_pci_state(copier->pci) & UIOMMU_PCI_PASID_ON ? value & UIOMMU_PASID_LAST : UIOMMU_NO_PASID;
}

/* Under the lock. */
static void look(const struct copier *copier, struct job *job)
{
	*job = (struct job){
		.source = {.address = get(copier, SOURCE, 8), .pasid = pasid_of(copier, SOURCE_PASID)},
		.destination = {.address = get(copier, DESTINATION, 8), .pasid = pasid_of(copier, DESTINATION_PASID)},
		.length = (uint32_t)min_u64(get(copier, LENGTH, 4), LENGTH_MAX),
		.repeat = (uint32_t)min_u64(max_u64(get(copier, REPEAT, 4), 1), REPEAT_MAX),
		.resets = copier->resets,
	};
}

/* Without the lock. */
static bool goes_on(struct copier *copier, const struct job *job)
{
	return !__atomic_load_n(&copier->stop, __ATOMIC_RELAXED) &&
	       __atomic_load_n(&copier->resets, __ATOMIC_RELAXED) == job->resets;
}

static void copy(struct copier *copier, const struct job *job)
{
	struct uiommu_dma_result result = {.done = 0};
	uint64_t start = clock_ns();
	int error = 0;

	for (uint32_t i = 0; i < job->repeat && !error && goes_on(copier, job); i++)
		error = uiommu_dma_copy(uiommu_pci_device(copier->pci), &job->destination, &job->source, job->length, &result);
	pthread_mutex_lock(&copier->lock);
	if (copier->resets == job->resets) {
		set(copier, ELAPSED, 8, clock_ns() - start);
		set(copier, COPIED, 4, result.done);
		set(copier, REASON, 4, error ? result.fault.reason : UIOMMU_FAULT_NONE);
		set(copier, FAULT_ADDRESS, 8, error ? result.fault.address : 0);
		set(copier, STATUS, 4, error ? FAULT : DONE);
	}
	pthread_mutex_unlock(&copier->lock);
	(void)uiommu_pci_interrupt(copier->pci, 0); /* whoever has not enabled it looks at the status */
}

static void *run(void *opaque)
{
	struct copier *copier = opaque;
	struct job job;

	pthread_mutex_lock(&copier->lock);
	while (!copier->stop) {
		if (get(copier, STATUS, 4) != BUSY) {
			pthread_cond_wait(&copier->wake, &copier->lock);
			continue;
		}
		look(copier, &job);
		pthread_mutex_unlock(&copier->lock);
		copy(copier, &job);
		pthread_mutex_lock(&copier->lock);
	}
	pthread_mutex_unlock(&copier->lock);
	return NULL;
}

/* --- what the guest does --- */

static uint64_t read_register(void *opaque, unsigned int bar, uint64_t offset, unsigned int size)
{
	struct copier *copier = opaque;
	uint64_t value = 0;

	(void)bar;
	pthread_mutex_lock(&copier->lock);
	if (offset + size <= REGISTERS)
		value = get(copier, (unsigned int)offset, size);
	pthread_mutex_unlock(&copier->lock);
	return value;
}

static void write_register(void *opaque, unsigned int bar, uint64_t offset, unsigned int size, uint64_t value)
{
	struct copier *copier = opaque;

	(void)bar;
	pthread_mutex_lock(&copier->lock);
	if (get(copier, STATUS, 4) != BUSY) {
		if (offset == START) {
			set(copier, STATUS, 4, BUSY);
			pthread_cond_signal(&copier->wake);
		} else if (offset + size <= WRITABLE) {
			set(copier, (unsigned int)offset, size, value);
		}
	}
	pthread_mutex_unlock(&copier->lock);
}

static void reset(void *opaque, enum uiommu_pci_reset_type type)
{
	struct copier *copier = opaque;

	(void)type;
	pthread_mutex_lock(&copier->lock);
	__atomic_add_fetch(&copier->resets, 1, __ATOMIC_RELAXED);
	memset(copier->registers, 0, sizeof(copier->registers));
	pthread_mutex_unlock(&copier->lock);
}

/* --- beginning and end --- */

static const struct uiommu_pci_ops ops = {.read = read_register, .write = write_register, .reset = reset};

static const struct uiommu_pci_capability capabilities[] = {
	{.type = UIOMMU_PCI_EXPRESS},
	{.type = UIOMMU_PCI_MSIX, .count = 1, .bar = 2},
	{.type = UIOMMU_PCI_PASID, .count = PASID_BITS},
};

static const struct uiommu_pci_description description = {
	.size = sizeof(description),
	.vendor = 0x1234,
	.device = 0x554a,
	.class_code = 0x120000, /* processing accelerator */
	.bars = {[0] = {.size = 4096}, [2] = {.size = 4096}},
	.capabilities = capabilities,
	.capability_count = ARRAY_SIZE(capabilities),
	.ops = &ops,
};

static void destroy(void *instance)
{
	struct copier *copier = instance;

	if (copier->started) {
		pthread_mutex_lock(&copier->lock);
		__atomic_store_n(&copier->stop, true, __ATOMIC_RELAXED);
		pthread_cond_signal(&copier->wake);
		pthread_mutex_unlock(&copier->lock);
		pthread_join(copier->thread, NULL);
	}
	uiommu_pci_destroy(copier->pci);
	pthread_cond_destroy(&copier->wake);
	pthread_mutex_destroy(&copier->lock);
	free(copier);
}

static int create(struct uiommu_context *context, uint32_t device_id, const struct option_value *values,
		  const struct complaint *complaint, void **out)
{
	struct copier *copier = calloc(1, sizeof(*copier));
	int error;

	(void)values;
	if (!copier)
		return complain_about(complaint, -ENOMEM, "copier: no memory");
	pthread_mutex_init(&copier->lock, NULL);
	pthread_cond_init(&copier->wake, NULL);
	error = uiommu_pci_create(context, device_id, &description, copier, &copier->pci);
	if (!error)
		error = thread_start(&copier->thread, run, copier);
	copier->started = !error;
	if (error) {
		destroy(copier);
		return complain_about(complaint, error, "copier: %s", strerror(-error));
	}
	*out = copier;
	return 0;
}

static struct uiommu_pci *function(const void *instance)
{
	const struct copier *copier = instance;

	return copier->pci;
}

const struct model_type copier_model = {
	.info = {.name = "copier", .summary = "copies memory, at addresses of any PASID; to test an IOMMU's driver with"},
	.pasid_bits = PASID_BITS,
	.create = create,
	.function = function,
	.destroy = destroy,
};
