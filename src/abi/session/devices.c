/* SPDX-License-Identifier: BSD-3-Clause */
#include "abi/session/devices.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uiommu/model.h>

#include "util/util.h"

struct session_devices {
	struct uiommu_context *context; /* where the devices are that no program has */
	struct uiommu_vfio *vfio;
	struct uiommu_model **models;
	size_t count;
};

static bool parse_bdf(const char *text, uint32_t *out)
{
	unsigned int domain, bus, device, function;
	char rest;

	if (sscanf(text, "%4x:%2x:%2x.%1x%c", &domain, &bus, &device, &function, &rest) != 4) {
		domain = 0;
		if (sscanf(text, "%2x:%2x.%1x%c", &bus, &device, &function, &rest) != 3)
			return false;
	}
	*out = domain << 16 | bus << 8 | device << 3 | function;
	return device < 32 && function < 8;
}

/* One option's end; a comma that is written twice is part of a value. */
static size_t option_length(const char *text)
{
	size_t length = 0;

	while (text[length] && (!length || text[length] != ',' || text[length + 1] == ','))
		length += text[length] == ',' && text[length + 1] == ',' ? 2 : 1;
	return length;
}

/* @text without the option "bdf", and what that said, in *@address, if it is there; to be freed. */
static int take_bdf(const char *text, uint32_t *address, char **out, char *complaint, size_t size)
{
	char *left = calloc(1, strlen(text) + 1);
	int error = left ? 0 : -ENOMEM;

	while (*text && !error) {
		size_t length = option_length(text);
		char value[24];

		if (strncmp(text, ",bdf=", 5) != 0) {
			strncat(left, text, length);
		} else {
			snprintf(value, sizeof(value), "%.*s", (int)length - 5, text + 5);
			if (!parse_bdf(value, address)) {
				snprintf(complaint, size, "bdf=%s: expected [DOMAIN:]BUS:DEVICE.FUNCTION, in hexadecimal", value);
				error = -EINVAL;
			}
		}
		text += length;
	}
	if (error)
		free(left);
	else
		*out = left;
	return error;
}

static int add_model(struct session_devices *devices, const char *text, uint32_t address, char *complaint, size_t size)
{
	struct uiommu_model *model;
	int error = uiommu_model_create(devices->context, address & 0xffff, text, complaint, size, &model);

	if (error)
		return error;
	devices->models[devices->count++] = model;
	error = uiommu_vfio_add(devices->vfio, uiommu_model_function(model), address);
	if (error)
		snprintf(complaint, size, "%s at %04x:%02x:%02x.%u: %s", text, address >> 16, address >> 8 & 0xff,
			 address >> 3 & 0x1f, address & 7, strerror(-error));
	return error;
}

static int add(struct session_devices *devices, const char *text, char *complaint, size_t size)
{
	uint32_t address = (uint32_t)(devices->count + 1) << 8;
	char *left;
	int error = take_bdf(text, &address, &left, complaint, size);

	if (error)
		return error;
	error = add_model(devices, left, address, complaint, size);
	free(left);
	return error;
}

static int add_all(struct session_devices *devices, const char *const *texts, char *complaint, size_t size)
{
	int error = 0;

	for (size_t i = 0; texts && texts[i] && !error; i++)
		error = add(devices, texts[i], complaint, size);
	return error;
}

int devices_create(const char *const *texts, bool native, char *complaint, size_t size, struct session_devices **out)
{
	struct session_devices *devices = calloc(1, sizeof(*devices));
	size_t count = 0;
	int error = devices ? uiommu_open(NULL, &devices->context) : -ENOMEM;

	snprintf(complaint, size, "no memory for devices");
	while (texts && texts[count])
		count++;
	if (!error)
		error = uiommu_vfio_create(&devices->vfio);
	if (!error) {
		if (native)
			vfio_map_natively(devices->vfio);
		devices->models = calloc(count + 1, sizeof(struct uiommu_model *));
		error = devices->models ? add_all(devices, texts, complaint, size) : -ENOMEM;
	}
	if (error)
		devices_destroy(devices);
	else
		*out = devices;
	return error;
}

void devices_destroy(struct session_devices *devices)
{
	if (!devices)
		return;
	uiommu_vfio_destroy(devices->vfio);
	while (devices->count)
		uiommu_model_destroy(devices->models[--devices->count]);
	free(devices->models);
	uiommu_close(devices->context);
	free(devices);
}

int devices_open(struct session_devices *devices, const char *path, struct abi_file **out)
{
	return vfio_open(devices->vfio, path, out);
}

int devices_tree(struct session_devices *devices, const struct vfio_tree_ops *ops, void *opaque)
{
	return vfio_tree(devices->vfio, ops, opaque);
}
