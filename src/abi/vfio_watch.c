/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Registers that a program has mapped. Who hosts the program may be able to catch its next write (struct abi_watcher); then the
 * model sleeps until that. If there is a mapping whose writes nothing of ours sees, a thread compares what is mapped with what was
 * there, at each tick, while the model sleeps; otherwise it waits.
 */
#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "abi/vfio_device.h"
#include "util/clock.h"
#include "util/thread.h"
#include "util/util.h"

enum { TICK_NS = 1000 * 1000 };

static void tick_after(struct timespec *at)
{
	clock_gettime(CLOCK_MONOTONIC, at);
	at->tv_nsec += TICK_NS;
	if (at->tv_nsec >= 1000 * 1000 * 1000) {
		at->tv_nsec -= 1000 * 1000 * 1000;
		at->tv_sec++;
	}
}

/* What is mapped of a BAR, as it is now. */
static const uint64_t *memory_of(const struct vfio_device *device, unsigned int bar)
{
	return (uint64_t *)device->pci->memory[bar] + device->watch.mapped[bar].start / sizeof(uint64_t);
}

/* Words from @memory to @seen: true, one of them was another. Values are compared: one that is written again says nothing new. */
static bool update(uint64_t *seen, const uint64_t *memory, size_t count)
{
	uint64_t different = 0;

	for (size_t i = 0; i < count; i++) {
		uint64_t now = __atomic_load_n(&memory[i], __ATOMIC_RELAXED);

		different |= seen[i] ^ now;
		seen[i] = now;
	}
	return different;
}

/* Look at all registers that are mapped: true, one has changed since the last time. Under the lock. */
static bool look(struct vfio_device *device)
{
	size_t page = page_size() / sizeof(uint64_t);
	bool changed = false;

	for (unsigned int bar = 0; bar < UIOMMU_PCI_BARS; bar++) {
		const struct vfio_mapped *mapped = &device->watch.mapped[bar];
		size_t words = (mapped->end - mapped->start) / sizeof(uint64_t);
		size_t registers = device->pci->bars[bar].registers / sizeof(uint64_t);

		for (size_t at = 0; at < words; at += page)
			changed |= update(mapped->seen + at, memory_of(device, bar) + at, registers ? registers : page);
	}
	return changed;
}

static int extend(struct vfio_device *device, unsigned int bar, uint64_t start, uint64_t end)
{
	struct vfio_mapped *mapped = &device->watch.mapped[bar];
	uint64_t *seen;

	if (mapped->end) {
		start = min_u64(start, mapped->start);
		end = max_u64(end, mapped->end);
	}
	seen = realloc(mapped->seen, end - start);
	if (!seen)
		return -ENOMEM;
	*mapped = (struct vfio_mapped){start, end, seen};
	/* What was written since the last time is seen by the model, which is woken. */
	look(device);
	return 0;
}

static void forget(struct vfio_watch *watch)
{
	for (unsigned int bar = 0; bar < UIOMMU_PCI_BARS; bar++) {
		free(watch->mapped[bar].seen);
		watch->mapped[bar] = (struct vfio_mapped){.seen = NULL};
	}
}

static void *ticks(void *opaque)
{
	struct vfio_device *device = opaque;
	struct vfio_watch *watch = &device->watch;
	struct timespec at;

	pthread_mutex_lock(&watch->lock);
	while (!watch->end) {
		if (!watch->armed) {
			pthread_cond_wait(&watch->cond, &watch->lock);
			continue;
		}
		tick_after(&at);
		while (!watch->end && pthread_cond_timedwait(&watch->cond, &watch->lock, &at) != ETIMEDOUT)
			;
		__atomic_fetch_add(&watch->ticks, 1, __ATOMIC_RELEASE);
		if (watch->armed && !look(device))
			continue;
		watch->armed = false;
		pthread_mutex_unlock(&watch->lock);
		pci_touched(device->pci);
		pthread_mutex_lock(&watch->lock);
	}
	pthread_mutex_unlock(&watch->lock);
	return NULL;
}

bool vfio_watch(struct vfio_device *device)
{
	struct vfio_watch *watch = &device->watch;
	struct abi_watcher *watcher;
	unsigned int caught = 0;
	bool mapped;

	pthread_mutex_lock(&watch->lock);
	cds_list_for_each_entry (watcher, &watch->watchers, link)
		caught += watcher->protect(watcher);
	mapped = watch->mappings > 0;
	watch->armed = watch->mappings > caught;
	if (watch->armed) {
		/* Before the model looks once more: what it does not see then is different from this. */
		look(device);
		pthread_cond_signal(&watch->cond);
	}
	pthread_mutex_unlock(&watch->lock);
	return mapped;
}

void vfio_watch_add(struct vfio_device *device, struct abi_watcher *watcher)
{
	pthread_mutex_lock(&device->watch.lock);
	cds_list_add_tail(&watcher->link, &device->watch.watchers);
	pthread_mutex_unlock(&device->watch.lock);
	/* It watches from the next time on that the model sleeps. */
	pci_touched(device->pci);
}

void vfio_watch_remove(struct vfio_device *device, struct abi_watcher *watcher)
{
	pthread_mutex_lock(&device->watch.lock);
	cds_list_del(&watcher->link);
	pthread_mutex_unlock(&device->watch.lock);
	pci_touched(device->pci);
}

int vfio_watch_mapped(struct vfio_device *device, unsigned int bar, uint64_t start, uint64_t length)
{
	struct vfio_watch *watch = &device->watch;
	int error;

	pthread_mutex_lock(&watch->lock);
	error = extend(device, bar, start, start + length);
	if (!error && !watch->running) {
		watch->end = false;
		error = thread_start(&watch->thread, ticks, device);
		watch->running = !error;
	}
	if (!error && !(device->vfio->native && watch->mappings))
		watch->mappings++;
	pthread_mutex_unlock(&watch->lock);
	if (!error)
		pci_touched(device->pci);
	return error;
}

void vfio_watch_unmapped(struct vfio_device *device)
{
	pthread_mutex_lock(&device->watch.lock);
	if (device->watch.mappings && !device->vfio->native)
		device->watch.mappings--;
	pthread_mutex_unlock(&device->watch.lock);
}

void vfio_watch_end(struct vfio_device *device)
{
	struct vfio_watch *watch = &device->watch;
	bool running;

	pthread_mutex_lock(&watch->lock);
	running = watch->running;
	watch->running = false;
	watch->mappings = 0;
	watch->end = true;
	pthread_cond_signal(&watch->cond);
	pthread_mutex_unlock(&watch->lock);
	if (running)
		pthread_join(watch->thread, NULL);
	pthread_mutex_lock(&watch->lock);
	watch->armed = false;
	forget(watch);
	pthread_mutex_unlock(&watch->lock);
}

void vfio_watch_init(struct vfio_device *device)
{
	pthread_condattr_t attributes;

	pthread_mutex_init(&device->watch.lock, NULL);
	CDS_INIT_LIST_HEAD(&device->watch.watchers);
	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(&device->watch.cond, &attributes);
	pthread_condattr_destroy(&attributes);
}

void vfio_watch_fini(struct vfio_device *device)
{
	pthread_cond_destroy(&device->watch.cond);
	pthread_mutex_destroy(&device->watch.lock);
}
