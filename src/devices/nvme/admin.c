/* SPDX-License-Identifier: BSD-3-Clause */
/* Admin commands (NVMe 5). */
#include "devices/nvme/nvme.h"

/* What has been put into the buffer goes to the guest. */
static unsigned int answer(struct nvme *nvme, struct nvme_slot *slot, unsigned int status, uint32_t length)
{
	if (!status)
		status = nvme_map(nvme, slot, length);
	return status ? status : nvme_to_guest(nvme, slot, slot->buffer);
}

static unsigned int identify(struct nvme *nvme, struct nvme_slot *slot, uint32_t *result)
{
	(void)result;
	return answer(nvme, slot, nvme_identify(nvme, slot), NVME_IDENTIFY_SIZE);
}

static unsigned int get_log(struct nvme *nvme, struct nvme_slot *slot, uint32_t *result)
{
	uint32_t length = 0;
	unsigned int status = nvme_get_log(nvme, slot, &length);

	(void)result;
	return answer(nvme, slot, status, length);
}

static unsigned int delete_sq(struct nvme *nvme, struct nvme_slot *slot, uint32_t *result)
{
	(void)result;
	return nvme_delete_sq(nvme, &slot->command);
}

static unsigned int create_sq(struct nvme *nvme, struct nvme_slot *slot, uint32_t *result)
{
	(void)result;
	return nvme_create_sq(nvme, &slot->command);
}

static unsigned int delete_cq(struct nvme *nvme, struct nvme_slot *slot, uint32_t *result)
{
	(void)result;
	return nvme_delete_cq(nvme, &slot->command);
}

static unsigned int create_cq(struct nvme *nvme, struct nvme_slot *slot, uint32_t *result)
{
	(void)result;
	return nvme_create_cq(nvme, &slot->command);
}

/* A command that is to be aborted has been given to a worker already, or is not here: it is not aborted. */
static unsigned int abort_command(struct nvme *nvme, struct nvme_slot *slot, uint32_t *result)
{
	(void)nvme;
	(void)slot;
	*result = 1;
	return NVME_SUCCESS;
}

static unsigned int set_features(struct nvme *nvme, struct nvme_slot *slot, uint32_t *result)
{
	return nvme_set_features(nvme, &slot->command, result);
}

static unsigned int get_features(struct nvme *nvme, struct nvme_slot *slot, uint32_t *result)
{
	return nvme_get_features(nvme, &slot->command, result);
}

typedef unsigned int (*admin_function)(struct nvme *nvme, struct nvme_slot *slot, uint32_t *result);

static const admin_function functions[] = {
	[NVME_ADMIN_DELETE_SQ] = delete_sq, [NVME_ADMIN_CREATE_SQ] = create_sq,	      [NVME_ADMIN_GET_LOG] = get_log,
	[NVME_ADMIN_DELETE_CQ] = delete_cq, [NVME_ADMIN_CREATE_CQ] = create_cq,	      [NVME_ADMIN_IDENTIFY] = identify,
	[NVME_ADMIN_ABORT] = abort_command, [NVME_ADMIN_SET_FEATURES] = set_features, [NVME_ADMIN_GET_FEATURES] = get_features,
};

void nvme_admin(struct nvme *nvme, struct nvme_slot *slot)
{
	unsigned int opcode = slot->command.opcode, status = NVME_INVALID_OPCODE | NVME_DNR;
	uint32_t result = 0;

	if (opcode == NVME_ADMIN_EVENT) {
		status = nvme_event_request(nvme, &slot->command);
		if (!status) {
			nvme_release(nvme, slot);
			return;
		}
	} else if (opcode < sizeof(functions) / sizeof(functions[0]) && functions[opcode]) {
		status = functions[opcode](nvme, slot, &result);
	}
	if (status == NVME_PENDING)
		nvme_slot_put(nvme, slot); /* its place in the completion queue stays reserved */
	else
		nvme_end(nvme, slot, status, result);
}
