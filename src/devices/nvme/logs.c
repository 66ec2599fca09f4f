/* SPDX-License-Identifier: BSD-3-Clause */
/* Log pages (NVMe 5.14) and asynchronous events (5.2). */
#include <string.h>

#include "devices/nvme/nvme.h"
#include "util/clock.h"
#include "util/util.h"

enum {
	RETAIN = 1 << 15, /* the event stays masked */
	LOG_MAX = NVME_ERRORS * sizeof(struct nvme_error),
	UNIT_BYTES = 512 * 1000, /* of data units read and written */
};

static void put(uint8_t *data, unsigned int offset, unsigned int width, uint64_t value)
{
	memcpy(data + offset, &value, width);
}

void nvme_log_error(struct nvme *nvme, struct nvme_origin origin, unsigned int status)
{
	struct nvme_error *error = &nvme->errors[nvme->error_count % NVME_ERRORS];

	*error = (struct nvme_error){
		.count = ++nvme->error_count,
		.sq_id = origin.sq->id,
		.cid = origin.cid,
		.status = (uint16_t)(status << 1),
		.location = UINT16_MAX, /* not said */
	};
}

/* The newest first. */
static uint32_t error_log(const struct nvme *nvme, uint8_t *data)
{
	uint64_t count = min_u64(nvme->error_count, NVME_ERRORS);

	for (uint64_t i = 0; i < count; i++)
		memcpy(data + i * sizeof(struct nvme_error), &nvme->errors[(nvme->error_count - 1 - i) % NVME_ERRORS],
		       sizeof(struct nvme_error));
	return LOG_MAX;
}

/* Figure 196 */
static uint32_t health_log(const struct nvme *nvme, uint8_t *data)
{
	const struct nvme_counters *counters = &nvme->counters;

	put(data, 1, 2, 313); /* composite temperature, kelvin */
	put(data, 3, 1, 100); /* available spare, per cent */
	put(data, 4, 1, 10); /* its threshold */
	put(data, 32, 8, (counters->read_bytes + UNIT_BYTES - 1) / UNIT_BYTES);
	put(data, 48, 8, (counters->written_bytes + UNIT_BYTES - 1) / UNIT_BYTES);
	put(data, 64, 8, counters->reads);
	put(data, 80, 8, counters->writes);
	put(data, 112, 8, 1); /* power cycles */
	put(data, 128, 8, (clock_ns() - nvme->power_on) / UINT64_C(3600000000000));
	put(data, 160, 8, counters->media_errors);
	put(data, 176, 8, nvme->error_count);
	return NVME_LOG_HEALTH_SIZE;
}

static uint32_t firmware_log(uint8_t *data)
{
	put(data, 0, 1, 1); /* slot 1 is active */
	nvme_put_text(data, 8, 8, UIOMMU_VERSION);
	return NVME_LOG_FIRMWARE_SIZE;
}

unsigned int nvme_get_log(struct nvme *nvme, struct nvme_slot *slot, uint32_t *length)
{
	const struct nvme_command *command = &slot->command;
	uint64_t offset = command->cdw12 | (uint64_t)command->cdw13 << 32;
	uint64_t wanted = ((command->cdw10 >> 16 | (uint64_t)(command->cdw11 & 0xffff) << 16) + 1) * 4;
	uint32_t size;

	if (wanted > NVME_TRANSFER || offset % 4)
		return NVME_INVALID_FIELD | NVME_DNR;
	memset(slot->buffer, 0, LOG_MAX);
	switch (command->cdw10 & 0xff) {
	case NVME_LOG_ERRORS:
		size = error_log(nvme, slot->buffer);
		if (!(command->cdw10 & RETAIN))
			nvme->event_masked = 0;
		break;
	case NVME_LOG_HEALTH:
		if (command->nsid && command->nsid != NVME_BROADCAST)
			return NVME_INVALID_FIELD | NVME_DNR;
		size = health_log(nvme, slot->buffer);
		break;
	case NVME_LOG_FIRMWARE:
		size = firmware_log(slot->buffer);
		break;
	default:
		return NVME_LOG_INVALID | NVME_DNR;
	}
	if (offset > size)
		return NVME_INVALID_FIELD | NVME_DNR;
	/* Beyond the log there are zeroes. */
	memmove(slot->buffer, slot->buffer + offset, size - offset);
	if (wanted > size - offset)
		memset(slot->buffer + (size - offset), 0, wanted - (size - offset));
	*length = (uint32_t)wanted;
	return NVME_SUCCESS;
}

void nvme_event(struct nvme *nvme, unsigned int information)
{
	nvme->event_pending |= (uint8_t)(1u << information);
}

unsigned int nvme_event_request(struct nvme *nvme, const struct nvme_command *command)
{
	if (nvme->event_count == NVME_EVENTS)
		return NVME_EVENT_LIMIT | NVME_DNR;
	nvme->event_cids[nvme->event_count++] = command->cid;
	return NVME_SUCCESS;
}

/* After one nothing is reported until the log has been read. */
void nvme_event_deliver(struct nvme *nvme)
{
	unsigned int information =
		nvme->event_pending & 1u << NVME_EVENT_INVALID_DOORBELL ? NVME_EVENT_INVALID_DOORBELL : NVME_EVENT_INVALID_VALUE;

	if (likely(!nvme->event_pending) || nvme->event_masked || !nvme->event_count)
		return;
	if (!nvme_post_event(nvme, nvme->event_cids[0], NVME_EVENT_ERROR | information << 8 | NVME_LOG_ERRORS << 16))
		return;
	nvme->event_masked = 1;
	nvme->event_pending &= (uint8_t) ~(1u << information);
	memmove(nvme->event_cids, nvme->event_cids + 1, --nvme->event_count * sizeof(nvme->event_cids[0]));
}
