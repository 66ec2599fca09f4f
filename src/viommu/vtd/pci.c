/* SPDX-License-Identifier: BSD-3-Clause */
/* A unit behind BAR 0 of a PCI function. */
#include <errno.h>
#include <stdlib.h>
#include <uiommu/vtd_pci.h>

#include "memory/demand.h"
#include "translate/inflight.h"
#include "util/rcu.h"
#include "util/thread.h"
#include "util/util.h"

struct uiommu_vtd_pci {
	struct uiommu_context *context;
	struct uiommu_pci *pci;
	struct uiommu_vtd *vtd; /* RCU; NULL: there is none yet */
	uint32_t (*host_pasid)(void *opaque, uint32_t device_id, uint32_t pasid);
	uint32_t (*guest_pasid)(void *opaque, uint32_t device_id, uint32_t pasid);
	void *opaque;
	void (*placed)(void *opaque, uint64_t address);
	void *observer;
	pthread_t thread; /* runs the unit */
	pthread_mutex_t lock; /* a leaf */
	pthread_cond_t wake;
	bool work, stop;
};

/* The write of registers that this thread is inside of: true, it has set off work. NULL: none. */
static __thread bool *set_off;

/* --- what the unit asks for --- */

static void work(void *opaque)
{
	struct uiommu_vtd_pci *function = opaque;

	if (set_off) {
		*set_off = true;
		return;
	}
	pthread_mutex_lock(&function->lock);
	function->work = true;
	pthread_cond_signal(&function->wake);
	pthread_mutex_unlock(&function->lock);
}

/* --- what the guest does --- */

static uint64_t read_registers(void *opaque, unsigned int bar, uint64_t offset, unsigned int size)
{
	struct uiommu_vtd_pci *function = opaque;
	struct uiommu_vtd *vtd = rcu_read(function->vtd);

	(void)bar;
	return vtd ? uiommu_vtd_read(vtd, offset, size) : 0;
}

/*
 * The first turn of what that sets off is the transport's thread's: a guest waits for it, and another thread would have to wake up
 * first. No access needs this thread to end: one that a message serves is taken back when it is waited for (vfio_user/remote.h).
 * Where memory may be absent that thread must not wait for it, and the unit's own one does all of it.
 */
static void write_registers(void *opaque, unsigned int bar, uint64_t offset, unsigned int size, uint64_t value)
{
	struct uiommu_vtd_pci *function = opaque;
	struct uiommu_vtd *vtd = rcu_read(function->vtd);
	bool work_is_due = false;

	(void)bar;
	if (!vtd)
		return;
	set_off = &work_is_due;
	uiommu_vtd_write(vtd, offset, size, value);
	set_off = NULL;
	if (work_is_due && (demand_in_use() || uiommu_vtd_run(vtd)))
		work(function);
}

static void reset(void *opaque, enum uiommu_pci_reset_type type)
{
	struct uiommu_vtd_pci *function = opaque;
	struct uiommu_vtd *vtd = rcu_read(function->vtd);

	(void)type;
	if (vtd)
		uiommu_vtd_reset(vtd);
}

static void changed(void *opaque, unsigned int before, unsigned int now)
{
	struct uiommu_vtd_pci *function = opaque;

	if (function->placed && (~before & now & UIOMMU_PCI_MEMORY))
		function->placed(function->observer, uiommu_pci_bar_address(function->pci, 0));
}

static const struct uiommu_pci_ops ops = {.read = read_registers, .write = write_registers, .reset = reset, .changed = changed};

/* --- what the unit does --- */

static void interrupt(void *opaque, uint64_t address, uint32_t data)
{
	struct uiommu_vtd_pci *function = opaque;

	/* Without a transport there is nobody to be interrupted. */
	(void)uiommu_pci_message(function->pci, address, data);
}

static uint32_t host_pasid(void *opaque, uint32_t device_id, uint32_t pasid)
{
	const struct uiommu_vtd_pci *function = opaque;

	return function->host_pasid(function->opaque, device_id, pasid);
}

static uint32_t guest_pasid(void *opaque, uint32_t device_id, uint32_t pasid)
{
	const struct uiommu_vtd_pci *function = opaque;

	return function->guest_pasid(function->opaque, device_id, pasid);
}

static void *thread_main(void *opaque)
{
	struct uiommu_vtd_pci *function = opaque;

	pthread_mutex_lock(&function->lock);
	while (!function->stop) {
		if (!function->work) {
			pthread_cond_wait(&function->wake, &function->lock);
			continue;
		}
		function->work = false;
		pthread_mutex_unlock(&function->lock);
		/* Work that comes meanwhile is asked for again. */
		if (uiommu_vtd_run(function->vtd))
			work(function);
		pthread_mutex_lock(&function->lock);
	}
	pthread_mutex_unlock(&function->lock);
	return NULL;
}

/* --- beginning and end --- */

int uiommu_vtd_pci_create(struct uiommu_context *context, uint32_t device_id, struct uiommu_vtd_pci **out)
{
	const struct uiommu_pci_description description = {
		.size = sizeof(description),
		.flags = UIOMMU_PCI_ALWAYS_MASTER,
		.vendor = 0x1234,
		.device = 0x1057,
		.class_code = 0x080000,
		.bars = {{.size = UIOMMU_VTD_PCI_BAR_SIZE}},
		.ops = &ops,
	};
	struct uiommu_vtd_pci *function = calloc(1, sizeof(*function));
	int error;

	if (!function)
		return -ENOMEM;
	function->context = context;
	pthread_mutex_init(&function->lock, NULL);
	pthread_cond_init(&function->wake, NULL);
	error = uiommu_pci_create(context, device_id, &description, function, &function->pci);
	if (error)
		uiommu_vtd_pci_destroy(function);
	else
		*out = function;
	return error;
}

struct uiommu_pci *uiommu_vtd_pci_function(const struct uiommu_vtd_pci *function)
{
	return function->pci;
}

void uiommu_vtd_pci_observe(struct uiommu_vtd_pci *function, void (*placed)(void *opaque, uint64_t address), void *opaque)
{
	function->placed = placed;
	function->observer = opaque;
}

int uiommu_vtd_pci_start(struct uiommu_vtd_pci *function, const struct uiommu_vtd_config *config, struct uiommu_vtd **out)
{
	struct uiommu_vtd_config given;
	struct uiommu_vtd *vtd;
	int error = copy_struct(&given, sizeof(given), sizeof(given), config, config->size);

	if (error)
		return error;
	if (given.interrupt || given.work)
		return -EINVAL;
	if (function->vtd)
		return -EBUSY;
	function->host_pasid = given.host_pasid;
	function->guest_pasid = given.guest_pasid;
	function->opaque = given.opaque;
	given.size = sizeof(given);
	given.interrupt = interrupt;
	given.work = work;
	given.host_pasid = given.host_pasid ? host_pasid : NULL;
	given.guest_pasid = given.guest_pasid ? guest_pasid : NULL;
	given.opaque = function;
	error = uiommu_vtd_create(function->context, &given, &vtd);
	if (error)
		return error;
	rcu_publish(function->vtd, vtd);
	error = thread_start(&function->thread, thread_main, function);
	if (error) {
		/* Nobody has it yet who could wait for what it does. */
		rcu_publish(function->vtd, NULL);
		uiommu_vtd_destroy(vtd);
		return error;
	}
	*out = vtd;
	return 0;
}

int uiommu_vtd_pci_destroy(struct uiommu_vtd_pci *function)
{
	if (!function)
		return 0;
	if (thread_inside())
		return -EDEADLK;
	uiommu_pci_destroy(function->pci);
	if (function->vtd) {
		pthread_mutex_lock(&function->lock);
		function->stop = true;
		pthread_cond_signal(&function->wake);
		pthread_mutex_unlock(&function->lock);
		pthread_join(function->thread, NULL);
		uiommu_vtd_destroy(function->vtd);
	}
	pthread_cond_destroy(&function->wake);
	pthread_mutex_destroy(&function->lock);
	free(function);
	return 0;
}
