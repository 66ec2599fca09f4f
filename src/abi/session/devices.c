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

/* One device that is asked for. */
struct asked {
	char *text; /* without its address */
	uint32_t address;
};

enum { ANYWHERE = UINT32_MAX, BUSES = 256 };

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

static bool is_taken(const struct asked *asked, size_t count, uint32_t address)
{
	for (size_t i = 0; i < count; i++)
		if (asked[i].address != ANYWHERE && (uint16_t)asked[i].address == (uint16_t)address)
			return true;
	return false;
}

/* The Nth device is alone on bus N, or on the next one where nobody is or wants to be. */
static void place(struct asked *asked, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		uint32_t address = (uint32_t)(i + 1) << 8;

		if (asked[i].address != ANYWHERE)
			continue;
		for (unsigned int tries = 0; tries < BUSES && is_taken(asked, count, address); tries++)
			address += 1 << 8;
		asked[i].address = address;
	}
}

static int add_all(struct session_devices *devices, const char *const *texts, size_t count, char *complaint, size_t size)
{
	struct asked *asked = calloc(count + 1, sizeof(*asked));
	int error = asked ? 0 : -ENOMEM;

	for (size_t i = 0; i < count && !error; i++) {
		asked[i].address = ANYWHERE;
		error = take_bdf(texts[i], &asked[i].address, &asked[i].text, complaint, size);
	}
	if (!error)
		place(asked, count);
	for (size_t i = 0; i < count && !error; i++)
		error = add_model(devices, asked[i].text, asked[i].address, complaint, size);
	for (size_t i = 0; asked && i < count; i++)
		free(asked[i].text);
	free(asked);
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
		error = devices->models ? add_all(devices, texts, count, complaint, size) : -ENOMEM;
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

const char *devices_name(struct session_devices *devices, const struct uiommu_device *device)
{
	const char *name = vfio_name(devices->vfio, device);

	return name ? name : "a device";
}
