/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Registers that a program has mapped, and that nothing of ours sees written: while the model sleeps a thread says at each tick
 * that they may have been. Without a mapping, and while the model is awake, it waits.
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
	bool armed;

	pthread_mutex_lock(&watch->lock);
	armed = watch->armed = watch->mappings > 0;
	if (armed)
		pthread_cond_signal(&watch->cond);
	pthread_mutex_unlock(&watch->lock);
	return armed;
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
