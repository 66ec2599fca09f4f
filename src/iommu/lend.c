/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Devices that are lent, and devices that are held.
 *
 * A model is made once, and those who use its device come and go, each with a context of his own. So the device moves from one to
 * the other, and what calls it, uiommu_dma_*() with the same pointer, notices nothing. Its attachments do not move.
 */
#include <errno.h>

#include "iommu/attach.h"
#include "iommu/viommu.h"
#include "sva/bind.h"
#include "util/rcu.h"
#include "util/util.h"

static struct device *device_of(struct uiommu_device *data)
{
	return container_of(data, struct device, data);
}

static bool has_attachments(struct device *device)
{
	const struct attach_table *table = &device->table;
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
	vdevice_forget(device);
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

/* Under the device's lock. */
static bool has_pins(struct attachment *data)
{
	bool has;

	if (!data)
		return false;
	pthread_mutex_lock(&data->space->lock);
	has = !cds_list_empty(&data->pins);
	pthread_mutex_unlock(&data->space->lock);
	return has;
}

/* The next PASID of whose attachment there are pins, or 0. There are none of a guest's tables. */
static uint32_t next_pinned(struct device *device, uint32_t from)
{
	const struct attach_table *table = &device->table;
	uint32_t pasid;

	pthread_mutex_lock(&device->lock);
	pasid = attach_table_next(table, from);
	while (pasid && !has_pins(attach_table_find(table, pasid)))
		pasid = attach_table_next(table, pasid + 1);
	pthread_mutex_unlock(&device->lock);
	return pasid;
}

static void ask_for_pins(struct device *device, uint32_t pasid)
{
	struct attach *attach;

	if (!claim(device, pasid, &attach))
		return;
	pins_revoke(attach->data.space, NULL, &attach->data);
	attach_unclaim(attach);
}

static void ask_for_all_pins(struct device *device)
{
	bool pinned;

	pthread_mutex_lock(&device->lock);
	pinned = has_pins(device->table.rid);
	pthread_mutex_unlock(&device->lock);
	if (pinned)
		ask_for_pins(device, UIOMMU_NO_PASID);
	for (uint32_t pasid = next_pinned(device, 1); pasid; pasid = next_pinned(device, pasid + 1))
		ask_for_pins(device, pasid);
}

/* With what is shown locked. */
static void show(struct device *device)
{
	const struct attach_table none = {0}, *shown = device->data.suspended ? &none : &device->table;

	rcu_publish(device->data.table.tables, shown->tables);
	rcu_publish(device->data.table.rid, shown->rid);
	rcu_publish(device->data.table.by_pasid, shown->by_pasid);
}

void device_set(struct device *device, uint32_t pasid, struct attachment *attachment)
{
	pthread_mutex_lock(&device->shown);
	attach_table_set(&device->table, pasid, attachment);
	show(device);
	pthread_mutex_unlock(&device->shown);
}

void device_set_tables(struct device *device, struct attachment *attachment)
{
	pthread_mutex_lock(&device->shown);
	device->table.tables = attachment;
	show(device);
	pthread_mutex_unlock(&device->shown);
}

/* True: it has changed. */
static bool set_suspended(struct device *device, bool suspended)
{
	bool changed;

	pthread_mutex_lock(&device->shown);
	changed = suspended != device->data.suspended;
	__atomic_store_n(&device->data.suspended, suspended, __ATOMIC_RELEASE);
	show(device);
	pthread_mutex_unlock(&device->shown);
	return changed;
}

void device_suspend(struct uiommu_device *data)
{
	struct device *device = device_of(data);

	if (!set_suspended(device, true))
		return;
	ask_for_all_pins(device);
	rcu_wait();
	flights_wait(&data->held);
}

void device_resume(struct uiommu_device *data)
{
	set_suspended(device_of(data), false);
}
