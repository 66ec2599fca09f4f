/* SPDX-License-Identifier: BSD-3-Clause */
/* NVM commands (NVMe 6). */
#include <errno.h>

#include "devices/nvme/nvme.h"
#include "util/util.h"

unsigned int nvme_check_namespace(uint32_t nsid, bool broadcast)
{
	return nsid == 1 || (broadcast && nsid == NVME_BROADCAST) ? NVME_SUCCESS : NVME_INVALID_NAMESPACE | NVME_DNR;
}

static unsigned int check_range(const struct nvme *nvme, uint64_t first, uint64_t count)
{
	return first < nvme->blocks && count <= nvme->blocks - first ? NVME_SUCCESS : NVME_LBA_RANGE | NVME_DNR;
}

static uint64_t first_block(const struct nvme_command *command)
{
	return command->cdw10 | (uint64_t)command->cdw11 << 32;
}

/* The blocks of a command, made a request for the store: a status. */
static unsigned int request_blocks(struct nvme *nvme, struct nvme_slot *slot, enum store_op op)
{
	const struct nvme_command *command = &slot->command;
	uint64_t first = first_block(command), count = (command->cdw12 & 0xffff) + UINT64_C(1);
	unsigned int status = nvme_check_namespace(command->nsid, false);

	if (!status && op != STORE_READ && nvme->read_only)
		status = NVME_WRITE_PROTECTED | NVME_DNR;
	if (!status && op != STORE_ZERO && count << nvme->block_lg2 > NVME_TRANSFER)
		status = NVME_INVALID_FIELD | NVME_DNR;
	if (!status)
		status = check_range(nvme, first, count);
	if (status)
		return status;
	slot->request = (struct store_request){
		.op = op,
		.durable = op != STORE_READ && (command->cdw12 & NVME_FUA || !nvme->features[NVME_FEATURE_CACHE]),
		.offset = first << nvme->block_lg2,
		.length = count << nvme->block_lg2,
		.buffer = slot->buffer,
	};
	return NVME_SUCCESS;
}

/* Where the data is, or will be. */
static uint8_t *data_of(struct nvme *nvme, const struct nvme_slot *slot)
{
	return nvme->store.memory ? nvme->store.memory + slot->request.offset : slot->buffer;
}

static unsigned int end_read(struct nvme *nvme, struct nvme_slot *slot)
{
	bool compare = slot->command.opcode == NVME_COMPARE;

	if (slot->request.error)
		return NVME_READ_ERROR;
	nvme->counters.reads++;
	nvme->counters.read_bytes += slot->request.length;
	return compare ? nvme_compare_guest(nvme, slot, data_of(nvme, slot)) : nvme_to_guest(nvme, slot, data_of(nvme, slot));
}

static unsigned int read_blocks(struct nvme *nvme, struct nvme_slot *slot)
{
	unsigned int status = request_blocks(nvme, slot, STORE_READ);

	if (!status)
		status = nvme_map(nvme, slot, (uint32_t)slot->request.length);
	if (status)
		return status;
	if (nvme->store.memory || store_try(&nvme->store, &slot->request))
		return end_read(nvme, slot);
	nvme_submit(nvme, slot);
	return NVME_PENDING;
}

static unsigned int end_write(struct nvme *nvme, const struct nvme_slot *slot)
{
	if (slot->request.error)
		return slot->request.error == -ENOSPC || slot->request.error == -EFBIG ? NVME_CAPACITY : NVME_WRITE_FAULT;
	if (slot->request.op == STORE_WRITE) {
		nvme->counters.writes++;
		nvme->counters.written_bytes += slot->request.length;
	}
	return NVME_SUCCESS;
}

static unsigned int write_blocks(struct nvme *nvme, struct nvme_slot *slot)
{
	unsigned int status = request_blocks(nvme, slot, STORE_WRITE);

	if (!status)
		status = nvme_map(nvme, slot, (uint32_t)slot->request.length);
	if (!status)
		status = nvme_from_guest(nvme, slot, data_of(nvme, slot));
	if (status || nvme->store.memory)
		return status ? status : end_write(nvme, slot);
	nvme_submit(nvme, slot);
	return NVME_PENDING;
}

static unsigned int write_zeroes(struct nvme *nvme, struct nvme_slot *slot)
{
	unsigned int status = request_blocks(nvme, slot, STORE_ZERO);

	if (status)
		return status;
	nvme_submit(nvme, slot);
	return NVME_PENDING;
}

static unsigned int flush(struct nvme *nvme, struct nvme_slot *slot)
{
	unsigned int status = nvme_check_namespace(slot->command.nsid, true);

	if (status || nvme->store.memory)
		return status;
	slot->request = (struct store_request){.op = STORE_FLUSH};
	nvme_submit(nvme, slot);
	return NVME_PENDING;
}

/* The ranges, as they were copied from the guest, are made those of the store in their place. */
static unsigned int convert_ranges(const struct nvme *nvme, struct nvme_slot *slot, unsigned int count)
{
	for (unsigned int i = 0; i < count; i++) {
		const struct nvme_range range = ((const struct nvme_range *)(const void *)slot->buffer)[i];

		if (range.blocks && check_range(nvme, range.first, range.blocks))
			return NVME_LBA_RANGE | NVME_DNR;
		((struct store_range *)(void *)slot->buffer)[i] =
			(struct store_range){.offset = range.blocks ? range.first << nvme->block_lg2 : 0,
					     .length = (uint64_t)range.blocks << nvme->block_lg2};
	}
	return NVME_SUCCESS;
}

_Static_assert(sizeof(struct store_range) == sizeof(struct nvme_range), "one in the other's place");

static unsigned int dataset(struct nvme *nvme, struct nvme_slot *slot)
{
	const struct nvme_command *command = &slot->command;
	unsigned int count = (command->cdw10 & 0xff) + 1, status = nvme_check_namespace(command->nsid, false);

	if (!status)
		status = nvme_map(nvme, slot, count * (uint32_t)sizeof(struct nvme_range));
	if (!status)
		status = nvme_from_guest(nvme, slot, slot->buffer);
	if (!status)
		status = convert_ranges(nvme, slot, count);
	/* Anything else is advice. */
	if (status || !(command->cdw11 & NVME_DATASET_DEALLOCATE))
		return status;
	if (nvme->read_only)
		return NVME_WRITE_PROTECTED | NVME_DNR;
	slot->request = (struct store_request){.op = STORE_DISCARD, .length = count, .buffer = slot->buffer};
	nvme_submit(nvme, slot);
	return NVME_PENDING;
}

static unsigned int end_of(struct nvme *nvme, struct nvme_slot *slot)
{
	unsigned int status = slot->request.op == STORE_READ ? end_read(nvme, slot) : end_write(nvme, slot);

	nvme->counters.media_errors += slot->request.error != 0;
	return status;
}

void nvme_io_end(struct nvme *nvme, struct nvme_slot *slot)
{
	nvme_end(nvme, slot, end_of(nvme, slot), 0);
}

static unsigned int begin(struct nvme *nvme, struct nvme_slot *slot)
{
	switch (slot->command.opcode) {
	case NVME_READ:
	case NVME_COMPARE:
		return read_blocks(nvme, slot);
	case NVME_WRITE:
		return write_blocks(nvme, slot);
	case NVME_FLUSH:
		return flush(nvme, slot);
	case NVME_WRITE_ZEROES:
		return write_zeroes(nvme, slot);
	case NVME_DATASET:
		return dataset(nvme, slot);
	default:
		return NVME_INVALID_OPCODE | NVME_DNR;
	}
}

void nvme_io(struct nvme *nvme, struct nvme_slot *slot)
{
	unsigned int status = begin(nvme, slot);

	if (status != NVME_PENDING)
		nvme_end(nvme, slot, status, 0);
}
