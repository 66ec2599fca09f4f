/* SPDX-License-Identifier: BSD-3-Clause */
/* The entries of a VT-d's tables in words (VT-d specification 4.1, chapter 9): what people look for, not every bit. */
#include <stdio.h>
#include <string.h>

#include "cli/vm/vm.h"
#include "util/util.h"

enum show {
	NUMBER,
	FLAG, /* only if it is set */
	ADDRESS, /* of something aligned to 4 KiB, only if it is not 0 */
};

struct field {
	const char *name;
	uint8_t word, high, low, show;
};

/* Half a root entry: of functions from 16.0 on it is the upper one. */
static const struct field root[] = {
	{"P", 0, 0, 0, FLAG},
	{"CTP", 0, 63, 12, ADDRESS},
	{NULL},
};
static const struct field legacy_context[] = {
	{"P", 0, 0, 0, FLAG},
	{"FPD", 0, 1, 1, FLAG},
	{"TT", 0, 3, 2, NUMBER},
	{"SSPTPTR", 0, 63, 12, ADDRESS},
	{"AW", 1, 2, 0, NUMBER},
	{"DID", 1, 23, 8, NUMBER},
	{NULL},
};
static const struct field context[] = {
	{"P", 0, 0, 0, FLAG},
	{"FPD", 0, 1, 1, FLAG},
	{"DTE", 0, 2, 2, FLAG},
	{"PASIDE", 0, 3, 3, FLAG},
	{"PRE", 0, 4, 4, FLAG},
	{"PDTS", 0, 11, 9, NUMBER},
	{"PASIDDIRPTR", 0, 63, 12, ADDRESS},
	{"RID_PASID", 1, 19, 0, NUMBER},
	{"RID_PRIV", 1, 20, 20, FLAG},
	{NULL},
};
static const struct field pasid_directory[] = {
	{"P", 0, 0, 0, FLAG},
	{"FPD", 0, 1, 1, FLAG},
	{"SMPTBLPTR", 0, 63, 12, ADDRESS},
	{NULL},
};
static const struct field pasid[] = {
	{"P", 0, 0, 0, FLAG},	    {"FPD", 0, 1, 1, FLAG},	     {"AW", 0, 4, 2, NUMBER},	      {"PGTT", 0, 8, 6, NUMBER},
	{"SSADE", 0, 9, 9, FLAG},   {"SSPTPTR", 0, 63, 12, ADDRESS}, {"DID", 1, 15, 0, NUMBER},	      {"PWSNP", 1, 23, 23, FLAG},
	{"PGSNP", 1, 24, 24, FLAG}, {"SRE", 2, 0, 0, FLAG},	     {"FSPM", 2, 3, 2, NUMBER},	      {"WPE", 2, 4, 4, FLAG},
	{"SMEP", 2, 6, 6, FLAG},    {"EAFE", 2, 7, 7, FLAG},	     {"FSPTPTR", 2, 63, 12, ADDRESS}, {NULL},
};
static const struct field first[] = {
	{"P", 0, 0, 0, FLAG},  {"R/W", 0, 1, 1, FLAG},	{"U/S", 0, 2, 2, FLAG},	 {"A", 0, 5, 5, FLAG},	       {"D", 0, 6, 6, FLAG},
	{"PS", 0, 7, 7, FLAG}, {"EA", 0, 10, 10, FLAG}, {"XD", 0, 63, 63, FLAG}, {"ADDR", 0, 51, 12, ADDRESS}, {NULL},
};
static const struct field second[] = {
	{"R", 0, 0, 0, FLAG}, {"W", 0, 1, 1, FLAG}, {"X", 0, 2, 2, FLAG},	  {"PS", 0, 7, 7, FLAG},
	{"A", 0, 8, 8, FLAG}, {"D", 0, 9, 9, FLAG}, {"ADDR", 0, 51, 12, ADDRESS}, {NULL},
};

static const struct field *fields_of(const struct uiommu_walk_step *step)
{
	switch (step->structure) {
	case UIOMMU_STRUCTURE_DEVICE_DIR:
		return root;
	case UIOMMU_STRUCTURE_DEVICE:
		return step->words > 2 ? context : legacy_context;
	case UIOMMU_STRUCTURE_PASID_DIR:
		return pasid_directory;
	case UIOMMU_STRUCTURE_PASID:
		return pasid;
	default:
		return step->stage == 1 ? first : second;
	}
}

const char *vm_entry_name(const struct uiommu_walk_step *step)
{
	switch (step->structure) {
	case UIOMMU_STRUCTURE_DEVICE_DIR:
		return "root entry";
	case UIOMMU_STRUCTURE_DEVICE:
		return "context entry";
	case UIOMMU_STRUCTURE_PASID_DIR:
		return "PASID directory entry";
	case UIOMMU_STRUCTURE_PASID:
		return "PASID entry";
	default:
		return step->stage == 1 ? "first stage" : "second stage";
	}
}

struct json_object *vm_entry_fields(const struct uiommu_walk_step *step)
{
	struct json_object *object = json_object_new_object();

	for (const struct field *field = fields_of(step); field->name; field++) {
		uint64_t value = step->entry[field->word];

		value = value << (63 - field->high) >> (63 - field->high + field->low);
		if (field->show == NUMBER)
			json_add_number(object, field->name, value);
		else if (field->show == ADDRESS && value)
			json_add_address(object, field->name, value << field->low);
		else if (value)
			json_add_bool(object, field->name, true);
	}
	return object;
}
