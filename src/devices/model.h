/* SPDX-License-Identifier: BSD-3-Clause */
/* What a model gives to be found by name, and the options it is asked for with. */
#ifndef DEVICES_MODEL_H
#define DEVICES_MODEL_H

#include <uiommu/model.h>

/* One line that says what is wrong, for whoever typed it. */
struct complaint {
	char *text;
	size_t size;
};

/* Returns @error. */
int complain_about(const struct complaint *complaint, int error, const char *format, ...) __attribute__((format(printf, 3, 4)));

enum option_kind {
	OPTION_SIZE, /* bytes, with K, M, G or T */
	OPTION_NUMBER,
	OPTION_PATH,
	OPTION_FLAG, /* has no value */
};

/* What a value of uiommu_model_option may be. */
struct option_rule {
	enum option_kind kind;
	uint64_t least, most; /* of a size or number */
};

/* What was given for the option of the same index. */
struct option_value {
	bool given;
	uint64_t number;
	char *path;
};

enum { MODEL_OPTIONS = 16 };

struct model_virtual {
	struct uiommu_context *context;
	uint32_t device_id, set_id;
};

struct model_type {
	struct uiommu_model_info info;
	const struct option_rule *rules; /* of info.options */
	uint32_t pasid_bits; /* of its device */
	/* Make the function of @device_id. The values are the caller's. */
	int (*create)(struct uiommu_context *context, uint32_t device_id, const struct option_value *values,
		      const struct complaint *complaint, void **out);
	/* The same, of a virtual device of @parent, which emits PASIDs of the set. NULL: there are none. */
	int (*create_virtual)(const void *parent, const struct model_virtual *device, const struct option_value *values,
			      const struct complaint *complaint, void **out);
	struct uiommu_pci *(*function)(const void *instance);
	void (*destroy)(void *instance);
};

/* Each model's line in the table of models. */
extern const struct model_type accel_model;
extern const struct model_type copier_model;
extern const struct model_type dsa_model;
extern const struct model_type nvme_model;

/*
 * Read "KEY[=VALUE],..." from @text, which may be "", into @values, of info.option_count: 0 or -EINVAL, with the complaint, or
 * -ENOMEM. options_free() in any case.
 */
int options_parse(const struct model_type *type, const char *text, struct option_value *values, const struct complaint *complaint);
void options_free(const struct model_type *type, struct option_value *values);

#endif
