/* SPDX-License-Identifier: BSD-3-Clause */
/* The table of models. */
#include "devices/model.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "translate/inflight.h"
#include "util/util.h"

static const struct model_type *const types[] = {
	&accel_model,
	&copier_model,
	&dsa_model,
	&nvme_model,
};

struct uiommu_model {
	const struct model_type *type;
	struct uiommu_context *context;
	struct uiommu_model *parent; /* it is a virtual device of that one; or NULL */
	unsigned int children; /* atomic: its own virtual devices */
	uint32_t device;
	void *instance;
};

const struct uiommu_model_info *uiommu_model_info(size_t index)
{
	return index < ARRAY_SIZE(types) ? &types[index]->info : NULL;
}

/* The model that @text names; *@options is what stands behind it. */
static const struct model_type *find_type(const char *text, const char **options)
{
	size_t length = strcspn(text, ",");

	*options = text + length + (text[length] == ',');
	for (size_t i = 0; i < ARRAY_SIZE(types); i++)
		if (strlen(types[i]->info.name) == length && !strncmp(types[i]->info.name, text, length))
			return types[i];
	return NULL;
}

enum { DEVICES = 4096 };

static int device_alloc(struct uiommu_context *context, uint32_t rid, const struct model_type *type, uint32_t *out)
{
	struct uiommu_device_config config = {.size = sizeof(config), .rid = rid, .pasid_bits = type->pasid_bits};
	char name[32];
	int error = -EEXIST;

	config.name = name;
	for (unsigned int i = 0; i < DEVICES && error == -EEXIST; i++) {
		snprintf(name, sizeof(name), "%s%u", type->info.name, i);
		error = uiommu_device_alloc(context, &config, out);
	}
	return error;
}

/* What is asked for. */
struct wish {
	struct uiommu_context *context;
	struct uiommu_model *parent; /* a virtual device of that; or NULL */
	uint32_t rid, set_id;
	const char *text;
};

static int create(struct uiommu_model *model, const struct wish *wish, const struct option_value *values,
		  const struct complaint *complaint)
{
	const char *name = model->type->info.name;
	int error = device_alloc(model->context, wish->rid, model->type, &model->device);
	struct model_virtual device = {model->context, model->device, wish->set_id};

	if (error == -EEXIST)
		return complain_about(complaint, error, "%s: there is another device at %04x:%02x:%02x.%x", name,
				      (unsigned int)wish->rid >> 16, (unsigned int)wish->rid >> 8 & 0xff,
				      (unsigned int)wish->rid >> 3 & 0x1f, (unsigned int)wish->rid & 7);
	if (error)
		return complain_about(complaint, error, "%s: %s", name, strerror(-error));
	if (wish->parent)
		error = model->type->create_virtual(wish->parent->instance, &device, values, complaint, &model->instance);
	else
		error = model->type->create(model->context, model->device, values, complaint, &model->instance);
	if (error)
		uiommu_destroy(model->context, model->device);
	return error;
}

static int make(const struct wish *wish, const struct complaint *to, struct uiommu_model **out)
{
	struct option_value values[MODEL_OPTIONS];
	const char *options;
	const struct model_type *type = find_type(wish->text, &options);
	struct uiommu_model *model;
	int error;

	if (!type)
		return complain_about(to, -EINVAL, "there is no model \"%.*s\"", (int)strcspn(wish->text, ","), wish->text);
	if (wish->parent && !type->create_virtual)
		return complain_about(to, -EOPNOTSUPP, "%s has no virtual devices", type->info.name);
	if (wish->parent && type != wish->parent->type)
		return complain_about(to, -EINVAL, "%s is no virtual device of %s", type->info.name, wish->parent->type->info.name);
	error = options_parse(type, options, values, to);
	model = error ? NULL : calloc(1, sizeof(*model));
	if (model) {
		model->type = type;
		model->context = wish->context;
		model->parent = wish->parent;
		error = create(model, wish, values, to);
	} else if (!error) {
		error = complain_about(to, -ENOMEM, "%s: no memory", type->info.name);
	}
	options_free(type, values);
	if (error)
		free(model);
	else
		*out = model;
	return error;
}

int uiommu_model_create(struct uiommu_context *context, uint32_t rid, const char *text, char *complaint, size_t complaint_size,
			struct uiommu_model **out)
{
	const struct complaint to = {complaint, complaint_size};
	const struct wish wish = {.context = context, .rid = rid, .text = text};

	return make(&wish, &to, out);
}

int uiommu_model_create_virtual(struct uiommu_model *parent, const struct uiommu_model_virtual *request, struct uiommu_model **out)
{
	struct uiommu_model_virtual given;
	struct complaint to;
	struct wish wish;
	int error = copy_struct(&given, sizeof(given), sizeof(given), request, request->size);

	if (!error && (given.reserved || !given.text))
		error = given.text ? -EOPNOTSUPP : -EINVAL;
	if (error)
		return error;
	to = (struct complaint){given.complaint, given.complaint_size};
	wish = (struct wish){parent->context, parent, given.rid, given.set_id, given.text};
	__atomic_add_fetch(&parent->children, 1, __ATOMIC_RELAXED);
	error = make(&wish, &to, out);
	if (error)
		__atomic_sub_fetch(&parent->children, 1, __ATOMIC_RELAXED);
	return error;
}

struct uiommu_pci *uiommu_model_function(const struct uiommu_model *model)
{
	return model->type->function(model->instance);
}

uint32_t uiommu_model_device(const struct uiommu_model *model)
{
	return model->device;
}

int uiommu_model_destroy(struct uiommu_model *model)
{
	if (!model)
		return 0;
	if (thread_inside())
		return -EDEADLK;
	if (__atomic_load_n(&model->children, __ATOMIC_ACQUIRE))
		return -EBUSY;
	model->type->destroy(model->instance);
	uiommu_destroy(model->context, model->device);
	if (model->parent)
		__atomic_sub_fetch(&model->parent->children, 1, __ATOMIC_RELEASE);
	free(model);
	return 0;
}
