/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Devices by name: the models that are built in, as a user asks for one: "nvme,file=disk.img,ro".
 *
 * A model is a PCI function and the device that does its DMA. What it is for (a guest, a program) is its transport's business, and
 * so are options that only a transport understands: they are taken out before the text comes here.
 */
#ifndef UIOMMU_MODEL_H
#define UIOMMU_MODEL_H

#include <uiommu/pci.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * struct uiommu_model_option - an option of a model.
 * @key: its name
 * @value: what follows "KEY=", a word such as "PATH"; NULL: nothing does
 * @help: what it is for, one line
 */
struct uiommu_model_option {
	const char *key;
	const char *value;
	const char *help;
};

/**
 * struct uiommu_model_info - a model that can be asked for.
 * @name: its name
 * @summary: what it is, one line
 * @options: the options it takes
 * @option_count: number of @options
 */
struct uiommu_model_info {
	const char *name;
	const char *summary;
	const struct uiommu_model_option *options;
	size_t option_count;
};

/**
 * uiommu_model_info() - list the models.
 * @index: from 0 on
 *
 * Return: the model, or NULL beyond the last one. It and its strings are static. Thread-safe.
 */
UIOMMU_API const struct uiommu_model_info *uiommu_model_info(size_t index);

struct uiommu_model;

/**
 * uiommu_model_create() - make a device of a model.
 * @context: owner of the device
 * @rid: its requester id, which no other device of the context has
 * @text: "NAME[,KEY[=VALUE]]...": a comma in a value is written twice; sizes are bytes, or have K, M, G or T behind them (powers of
 *        1024)
 * @complaint: what is wrong, when this fails: one line without newline that names it; may be NULL if @complaint_size is 0
 * @complaint_size: bytes of @complaint; what does not fit is cut off
 * @out: the model, which no transport has yet
 *
 * The device's name is the model's with the lowest number that is free behind it.
 *
 * Return: 0, -EINVAL (no such model or option, an option twice, a value that is missing or no good), -EEXIST (@rid is in use), an
 * errno of open(2) for a file, -EMFILE, -EAGAIN (no thread), -ENOMEM. Thread-safe.
 */
UIOMMU_API int uiommu_model_create(struct uiommu_context *context, uint32_t rid, const char *text, char *complaint,
				   size_t complaint_size, struct uiommu_model **out);

/**
 * struct uiommu_model_virtual - a virtual device of a model. Zero what is not used.
 * @size: sizeof(struct uiommu_model_virtual)
 * @rid: its requester id, which no other device of the context has
 * @set_id: the PASID set that what it emits comes from (pasid.h), not the context's own; of one guest's virtual devices the same
 * @reserved: 0
 * @text: as uiommu_model_create() takes it
 * @complaint: what is wrong, when this fails; as there
 * @complaint_size: bytes of @complaint
 */
struct uiommu_model_virtual {
	uint32_t size;
	uint32_t rid;
	uint32_t set_id;
	uint32_t reserved;
	const char *text;
	char *complaint;
	size_t complaint_size;
};

/**
 * uiommu_model_create_virtual() - make a virtual device: a function for another guest, of an accelerator that is there.
 * @parent: from uiommu_model_create(), which cannot be destroyed until the virtual device has been
 * @request: what it is; copied
 * @out: the model, which no transport has yet
 *
 * Its engine is @parent's (accel_pci.h says what they share, and what not); its device and everything that is attached to that is
 * its own.
 *
 * Return: 0, -EINVAL (size, no text, no such model or option, not @parent's model, an option of @parent's engine, no set), -E2BIG,
 * -EOPNOTSUPP (the model has no virtual devices; reserved), -EEXIST (@rid is in use), -ENOENT (no such set), -EMFILE, -ENOMEM.
 * Thread-safe.
 */
UIOMMU_API int uiommu_model_create_virtual(struct uiommu_model *parent, const struct uiommu_model_virtual *request,
					   struct uiommu_model **out);

/**
 * uiommu_model_function() - the PCI function, for a transport.
 * @model: from uiommu_model_create()
 *
 * Return: the function, for as long as the model lives. Thread-safe.
 */
UIOMMU_API struct uiommu_pci *uiommu_model_function(const struct uiommu_model *model);

/**
 * uiommu_model_device() - the device, for attach and bind.
 * @model: from uiommu_model_create()
 *
 * Return: its object id. Thread-safe.
 */
UIOMMU_API uint32_t uiommu_model_device(const struct uiommu_model *model);

/**
 * uiommu_model_destroy() - end a model that no transport has any more, and its device.
 * @model: the model; NULL does nothing
 *
 * Waits for its accesses in flight. A device that is still in use, because something is attached or bound to it, stays until the
 * context ends.
 *
 * Return: 0, -EDEADLK (inside an access or callback; nothing has changed), -EBUSY (it has virtual devices).
 */
UIOMMU_API int uiommu_model_destroy(struct uiommu_model *model);

#ifdef __cplusplus
}
#endif
#endif
