/* SPDX-License-Identifier: BSD-3-Clause */
#include "iommu/device.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "iommu/tables.h"
#include "iommu/viommu.h"
#include "util/util.h"

/* A fault that no attachment owns. */
static void report(struct uiommu_device *data, const struct uiommu_fault *fault)
{
	const struct device *device = container_of(data, struct device, data);

	if (fault->pasid == UIOMMU_NO_PASID)
		context_log(device->home, UIOMMU_LOG_DEBUG, "%s: %#llx: %s", device->name, (unsigned long long)fault->address,
			    uiommu_fault_reason_name(fault->reason));
	else
		context_log(device->home, UIOMMU_LOG_DEBUG, "%s: PASID %u: %#llx: %s", device->name, fault->pasid,
			    (unsigned long long)fault->address, uiommu_fault_reason_name(fault->reason));
}

static bool name_valid(const char *name)
{
	size_t length = name ? strnlen(name, DEVICE_NAME_MAX) : 0;

	if (!length || length == DEVICE_NAME_MAX)
		return false;
	for (size_t i = 0; i < length; i++)
		if (!isalnum((unsigned char)name[i]) && !strchr("-_.:", name[i]))
			return false;
	return true;
}

static int check_config(const struct uiommu_device_config *config)
{
	if (!name_valid(config->name) || config->pasid_bits > UIOMMU_PASID_BITS || (config->reserved_count && !config->reserved) ||
	    config->reserved2 || config->rid_pasid >= UINT32_C(1) << config->pasid_bits)
		return -EINVAL;
	for (uint32_t i = 0; i < config->reserved_count; i++)
		if (config->reserved[i].start > config->reserved[i].last)
			return -EINVAL;
	return 0;
}

/* Another one of the same name or requester id. */
bool device_in_use(struct uiommu_context *context, const struct device *device)
{
	bool found = false;

	pthread_mutex_lock(&context->lock);
	for (uint32_t id = 1; id < context->capacity && !found; id++) {
		const struct object *object = context->objects[id];

		if (object && object->type == UIOMMU_OBJECT_DEVICE && object != &device->object) {
			const struct device *other = container_of(object, struct device, object);

			found = other->rid == device->rid || !strcmp(other->name, device->name);
		}
	}
	pthread_mutex_unlock(&context->lock);
	return found;
}

static void device_free(struct device *device)
{
	attach_table_fini(&device->table);
	flights_fini(&device->data.translated.flights);
	flights_fini(&device->data.held);
	pthread_mutex_destroy(&device->shown);
	ats_fini(&device->ats);
	requests_fini(&device->requests);
	pthread_cond_destroy(&device->ended);
	pthread_mutex_destroy(&device->lock);
	free(device->reserved);
	free(device);
}

static struct device *device_make(const struct uiommu_device_config *config)
{
	struct device *device = calloc(1, sizeof(*device));

	if (!device)
		return NULL;
	pthread_mutex_init(&device->lock, NULL);
	pthread_cond_init(&device->ended, NULL);
	attach_table_init(&device->table);
	flights_init(&device->data.translated.flights);
	flights_init(&device->data.held);
	pthread_mutex_init(&device->shown, NULL);
	ats_init(&device->ats);
	requests_init(&device->requests);
	device->data.pasid_bits = config->pasid_bits;
	device->data.report = report;
	device->data.resolve = tables_resolve;
	device->data.ask = requests_ask;
	device->rid = device->source_id = config->rid;
	device->rid_pasid = config->rid_pasid;
	strcpy(device->name, config->name);
	device->reserved_count = config->reserved_count;
	if (config->reserved_count) {
		device->reserved = malloc(config->reserved_count * sizeof(*device->reserved));
		if (!device->reserved) {
			device_free(device);
			return NULL;
		}
		memcpy(device->reserved, config->reserved, config->reserved_count * sizeof(*device->reserved));
	}
	return device;
}

int uiommu_device_alloc(struct uiommu_context *context, const struct uiommu_device_config *config, uint32_t *out_id)
{
	struct uiommu_device_config given;
	struct device *device;
	int error = copy_struct(&given, sizeof(given), offsetof(struct uiommu_device_config, rid_pasid), config, config->size);

	if (!error)
		error = check_config(&given);
	if (error)
		return error;
	device = device_make(&given);
	if (!device)
		return -ENOMEM;
	error = object_alloc(context, &device->object, UIOMMU_OBJECT_DEVICE);
	if (!error && device_in_use(context, device)) {
		object_abort(&device->object);
		error = -EEXIST;
	}
	if (error) {
		device_free(device);
		return error;
	}
	device->home = context;
	device->data.id = device->object.id;
	*out_id = device->object.id;
	object_finalise(&device->object);
	return 0;
}

struct uiommu_device *uiommu_device_get(struct uiommu_context *context, uint32_t id)
{
	struct object *object = object_get(context, id, UIOMMU_OBJECT_DEVICE);

	if (!object)
		return NULL;
	object_use(object);
	object_put(object);
	return &container_of(object, struct device, object)->data;
}

void uiommu_device_put(struct uiommu_device *data)
{
	if (data)
		object_unuse(&container_of(data, struct device, data)->object);
}

void device_end(struct object *object)
{
	vdevice_forget(container_of(object, struct device, object));
	device_free(container_of(object, struct device, object));
}
