/* SPDX-License-Identifier: BSD-3-Clause */
/* Features (NVMe 5.21): values that a host sets. Few of them mean something to a controller without hardware. */
#include <string.h>

#include "devices/nvme/nvme.h"

enum {
	SELECT_CURRENT,
	SELECT_DEFAULT,
	SELECT_SAVED, /* nothing is: the default */
	SELECT_CAPABILITIES,
	CHANGEABLE = 4,
	UNDER = 1 << 20, /* the threshold below which it is too cold */
	SENSOR = 15 << 16,
	ALL_SENSORS = 15 << 16,
	THRESHOLD = 0xffff,
};

#define SAVE (UINT32_C(1) << 31)
#define QUEUES_MOST ((NVME_QUEUES - 2) | (uint32_t)(NVME_QUEUES - 2) << 16)

static const struct {
	bool exists;
	uint32_t first; /* value */
	uint32_t mask; /* what can be set */
} table[NVME_FEATURES] = {
	[NVME_FEATURE_ARBITRATION] = {true, 0, 0xffffff07},
	[NVME_FEATURE_POWER] = {true, 0, 0xe0},
	[NVME_FEATURE_TEMPERATURE] = {true, 343, THRESHOLD},
	[NVME_FEATURE_RECOVERY] = {true, 0, 0xffff},
	[NVME_FEATURE_CACHE] = {true, 1, 1},
	[NVME_FEATURE_QUEUES] = {true, QUEUES_MOST, 0xffffffff},
	[NVME_FEATURE_COALESCING] = {true, 0, 0xffff},
	[NVME_FEATURE_VECTOR] = {true, 0, 0x1ffff},
	[NVME_FEATURE_ATOMICITY] = {true, 0, 1},
	[NVME_FEATURE_EVENTS] = {true, 0, 0xffff},
};

void nvme_features_reset(struct nvme *nvme)
{
	for (unsigned int i = 0; i < NVME_FEATURES; i++)
		nvme->features[i] = table[i].first;
	nvme->under = 0;
	memset(nvme->vectors, 0, sizeof(nvme->vectors));
}

/* Where the value is that a command means; NULL: there is none. */
static uint32_t *place(struct nvme *nvme, unsigned int feature, uint32_t cdw11)
{
	if (feature >= NVME_FEATURES || !table[feature].exists)
		return NULL;
	if (feature == NVME_FEATURE_VECTOR)
		return (cdw11 & 0xffff) < NVME_QUEUES ? &nvme->vectors[cdw11 & 0xffff] : NULL;
	if (feature == NVME_FEATURE_TEMPERATURE) {
		if ((cdw11 & SENSOR) && (cdw11 & SENSOR) != ALL_SENSORS)
			return NULL;
		return cdw11 & UNDER ? &nvme->under : &nvme->features[feature];
	}
	return &nvme->features[feature];
}

unsigned int nvme_get_features(struct nvme *nvme, const struct nvme_command *command, uint32_t *result)
{
	unsigned int feature = command->cdw10 & 0xff, select = command->cdw10 >> 8 & 7;
	const uint32_t *value = place(nvme, feature, command->cdw11);
	bool vector = feature == NVME_FEATURE_VECTOR;

	if (!value || select > SELECT_CAPABILITIES)
		return NVME_INVALID_FIELD | NVME_DNR;
	if (select == SELECT_CAPABILITIES)
		*result = CHANGEABLE;
	else if (select != SELECT_CURRENT)
		*result = value == &nvme->under ? 0 : table[feature].first;
	else
		*result = *value;
	if (vector && select != SELECT_CAPABILITIES)
		*result |= command->cdw11 & 0xffff;
	return NVME_SUCCESS;
}

/* As many as were asked for, if there are so many. Queues that exist must not become too many. */
static unsigned int set_queues(struct nvme *nvme, uint32_t asked, uint32_t *result)
{
	uint32_t sqs = asked & 0xffff, cqs = asked >> 16;

	if (sqs == 0xffff || cqs == 0xffff)
		return NVME_INVALID_FIELD | NVME_DNR;
	for (unsigned int i = 1; i < NVME_QUEUES; i++)
		if (nvme->sqs[i].exists || nvme->cqs[i].exists)
			return NVME_SEQUENCE | NVME_DNR;
	sqs = sqs < NVME_QUEUES - 2 ? sqs : NVME_QUEUES - 2;
	cqs = cqs < NVME_QUEUES - 2 ? cqs : NVME_QUEUES - 2;
	*result = nvme->features[NVME_FEATURE_QUEUES] = sqs | cqs << 16;
	return NVME_SUCCESS;
}

unsigned int nvme_set_features(struct nvme *nvme, const struct nvme_command *command, uint32_t *result)
{
	unsigned int feature = command->cdw10 & 0xff;
	uint32_t *value = place(nvme, feature, command->cdw11), data = command->cdw11;

	if (!value)
		return NVME_INVALID_FIELD | NVME_DNR;
	if (command->cdw10 & SAVE)
		return NVME_NOT_SAVEABLE | NVME_DNR;
	if (feature == NVME_FEATURE_QUEUES)
		return set_queues(nvme, data, result);
	if (feature == NVME_FEATURE_TEMPERATURE || feature == NVME_FEATURE_VECTOR)
		data &= feature == NVME_FEATURE_VECTOR ? UINT32_C(1) << 16 : (uint32_t)THRESHOLD;
	else if (data & ~table[feature].mask)
		return NVME_INVALID_FIELD | NVME_DNR;
	*value = data;
	return NVME_SUCCESS;
}
