/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Registers that a program has mapped. Who hosts the program may be able to catch its next write (struct abi_watcher); then the
 * model sleeps until that. If there is a mapping whose writes nothing of ours sees, a thread says at each tick that there may have
 * been one, while the model sleeps; otherwise it waits.
 */
#include <errno.h>
#include <time.h>

#include "abi/vfio_device.h"
#include "util/clock.h"
#include "util/thread.h"

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
	if (watch->armed)
		pthread_cond_signal(&watch->cond);
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

int vfio_watch_mapped(struct vfio_device *device)
{
	struct vfio_watch *watch = &device->watch;
	int error = 0;

	pthread_mutex_lock(&watch->lock);
	if (!watch->running) {
		watch->end = false;
		error = thread_start(&watch->thread, ticks, device);
		watch->running = !error;
	}
	if (!error)
		watch->mappings++;
	pthread_mutex_unlock(&watch->lock);
	if (!error)
		pci_touched(device->pci);
	return error;
}

void vfio_watch_unmapped(struct vfio_device *device)
{
	pthread_mutex_lock(&device->watch.lock);
	if (device->watch.mappings)
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
