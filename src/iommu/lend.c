/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Devices that are lent, and devices that are held.
 *
 * A model is made once, and those who use its device come and go, each with a context of his own. So the device moves from one to
 * the other, and what calls it, uiommu_dma_*() with the same pointer, notices nothing. Its attachments do not move.
 */
#include <errno.h>

#include "iommu/attach.h"
#include "iommu/tables.h"
#include "sva/bind.h"
#include "util/rcu.h"
#include "util/util.h"

static struct device *device_of(struct uiommu_device *data)
{
	return container_of(data, struct device, data);
}

static bool has_attachments(struct device *device)
{
	const struct attach_table *table = &device->data.table;
	bool has;

	pthread_mutex_lock(&device->lock);
	has = table->rid || table->tables || attach_table_next(table, 1);
	pthread_mutex_unlock(&device->lock);
	return has;
}

static void arrived(struct device *device)
{
	__atomic_store_n(&device->data.id, device->object.id, __ATOMIC_RELAXED);
	object_finalise(&device->object);
}

int device_lend(struct uiommu_device *data, struct uiommu_context *to)
{
	struct device *device = device_of(data);
	int error;

	if (device->object.context != device->home || has_attachments(device))
		return -EBUSY;
	if (device_in_use(to, device))
		return -EEXIST;
	device->users_at_home = device->object.users;
	error = object_move(&device->object, &device->place, to, 0);
	if (!error)
		arrived(device);
	return error;
}

void device_return(struct uiommu_device *data)
{
	struct device *device = device_of(data);

	bind_end_all(device->object.context, device);
	attach_end_device(device);
	object_wait_users(&device->object, device->users_at_home);
	object_move(&device->object, NULL, device->home, device->place.id);
	arrived(device);
}

/* A claim, whoever's it is. False: nothing is attached, or it will be no more when the last pin is put. */
static bool claim(struct device *device, uint32_t pasid, struct attach **out)
{
	int error;

	do {
		error = attach_claim(device, pasid, false, out);
		if (error == -EBUSY)
			error = attach_claim(device, pasid, true, out);
	} while (error == -EBUSY);
	return !error;
}

static void suspend(struct device *device, uint32_t pasid)
{
	const struct uiommu_invalidation all = {.last = UINT64_MAX};
	struct attach *attach;

	if (!claim(device, pasid, &attach))
		return;
	attach_set_open(attach, false);
	pins_revoke(attach->data.space, NULL, &attach->data);
	rcu_wait();
	if (attach->hwpt->tables)
		tables_invalidate(attach->hwpt, &all, 1);
	if (__atomic_load_n(&attach->data.kept, __ATOMIC_RELAXED))
		ats_ask_attachment(attach);
	drain_wait(&attach->data.drain);
	attach_unclaim(attach);
}

/* The next PASID that a call has attached something to, or 0. Entries of a guest's tables go with these. */
static uint32_t next_attached(struct device *device, uint32_t from)
{
	uint32_t pasid;

	pthread_mutex_lock(&device->lock);
	pasid = device->data.table.tables ? 0 : attach_table_next(&device->data.table, from);
	pthread_mutex_unlock(&device->lock);
	return pasid;
}

void device_suspend(struct uiommu_device *data)
{
	struct device *device = device_of(data);

	pthread_mutex_lock(&device->lock);
	__atomic_store_n(&device->suspended, true, __ATOMIC_RELAXED);
	pthread_mutex_unlock(&device->lock);
	suspend(device, UIOMMU_NO_PASID);
	for (uint32_t pasid = next_attached(device, 1); pasid; pasid = next_attached(device, pasid + 1))
		suspend(device, pasid);
}

/* Under the device's lock. What is ending stays as it is. */
static void resume(struct attachment *data)
{
	struct attach *attach = data ? container_of(data, struct attach, data) : NULL;

	if (attach && !attach->ending)
		attach_set_open(attach, true);
}

void device_resume(struct uiommu_device *data)
{
	struct device *device = device_of(data);
	const struct attach_table *table = &device->data.table;

	pthread_mutex_lock(&device->lock);
	__atomic_store_n(&device->suspended, false, __ATOMIC_RELAXED);
	resume(table->tables);
	if (!table->tables) {
		resume(table->rid);
		for (uint32_t pasid = attach_table_next(table, 1); pasid; pasid = attach_table_next(table, pasid + 1))
			resume(attach_table_find(table, pasid));
	}
	pthread_mutex_unlock(&device->lock);
}
