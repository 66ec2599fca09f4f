/* SPDX-License-Identifier: BSD-3-Clause */
/* Where a command's data is: PRPs and SGLs (NVMe 4.3, 4.4), and how it moves. */
#include <string.h>

#include "devices/nvme/nvme.h"
#include "util/util.h"

enum {
	OPS = 32, /* accesses of one call */
	PIECE = 4096, /* compared at once */
	LIST = 64, /* entries of a list that are read at once */
	SGL_SEGMENTS = 16, /* of one command */
};

static unsigned int dma_status(int error)
{
	return error ? NVME_DATA_TRANSFER : NVME_SUCCESS;
}

/* Pieces that lie one behind the other are one. */
static unsigned int add(struct nvme_slot *slot, uint64_t address, uint64_t length)
{
	struct nvme_segment *last = slot->segment_count ? &slot->segments[slot->segment_count - 1] : NULL;

	if (last && last->address + last->length == address) {
		last->length += length;
		return NVME_SUCCESS;
	}
	if (slot->segment_count == NVME_SEGMENTS)
		return NVME_SGL_COUNT_INVALID | NVME_DNR;
	slot->segments[slot->segment_count++] = (struct nvme_segment){address, length};
	return NVME_SUCCESS;
}

/* --- PRPs --- */

/* Where the next entries of a PRP list are. */
struct prp_list {
	uint64_t next;
	uint64_t entries[LIST];
	unsigned int at, count;
};

/* The next entry, or NULL if it cannot be read. @left: entries that are needed still; none is read that is not, nor beyond a page.
 */
static const uint64_t *prp_next(struct nvme *nvme, struct prp_list *list, uint64_t left)
{
	uint64_t page = UINT64_C(1) << nvme->page_lg2, in_page = (page - (list->next & (page - 1))) / sizeof(uint64_t);

	if (list->at == list->count) {
		list->count = (unsigned int)min_u64(LIST, min_u64(left, in_page));
		list->at = 0;
		if (uiommu_dma_read(nvme->device, UIOMMU_NO_PASID, list->next, list->entries, list->count * sizeof(uint64_t), NULL))
			return NULL;
	}
	list->next += sizeof(uint64_t);
	return &list->entries[list->at++];
}

static unsigned int map_list(struct nvme *nvme, struct nvme_slot *slot, uint64_t start, uint64_t left)
{
	uint64_t page = UINT64_C(1) << nvme->page_lg2, mask = page - 1;
	struct prp_list list = {.next = start};
	unsigned int status = NVME_SUCCESS;

	if (start % sizeof(uint64_t))
		return NVME_PRP_OFFSET_INVALID | NVME_DNR;
	while (left && !status) {
		const uint64_t *entry = prp_next(nvme, &list, (left + mask) >> nvme->page_lg2);
		uint64_t part = min_u64(left, page);

		if (!entry)
			return NVME_DATA_TRANSFER;
		if (*entry & mask)
			return NVME_PRP_OFFSET_INVALID | NVME_DNR;
		/* The last one of a page leads to the next page, if it is not the last of all. */
		if (!(list.next & mask) && left > page) {
			list.next = *entry;
			list.at = list.count = 0;
			continue;
		}
		status = add(slot, *entry, part);
		left -= part;
	}
	return status;
}

static unsigned int map_prps(struct nvme *nvme, struct nvme_slot *slot, uint64_t length)
{
	const struct nvme_command *command = &slot->command;
	uint64_t page = UINT64_C(1) << nvme->page_lg2, mask = page - 1;
	uint64_t first = min_u64(length, page - (command->prp1 & mask)), left = length - first;

	if (command->prp1 % 4)
		return NVME_PRP_OFFSET_INVALID | NVME_DNR;
	add(slot, command->prp1, first);
	if (!left)
		return NVME_SUCCESS;
	if (left > page)
		return map_list(nvme, slot, command->prp2, left);
	if (command->prp2 & mask)
		return NVME_PRP_OFFSET_INVALID | NVME_DNR;
	return add(slot, command->prp2, left);
}

/* --- SGLs --- */

/* What is left of the transfer. */
struct sgl {
	uint64_t left;
	unsigned int segments;
	uint64_t next, next_length; /* the segment that comes */
	bool last; /* it is the last one */
};

static unsigned int sgl_data(struct nvme_slot *slot, struct sgl *sgl, const struct nvme_sgl *descriptor)
{
	uint64_t length = min_u64(descriptor->length, sgl->left);

	sgl->left -= length;
	return length ? add(slot, descriptor->address, length) : NVME_SUCCESS;
}

static unsigned int sgl_segment(struct sgl *sgl, const struct nvme_sgl *descriptor)
{
	if (!descriptor->length || descriptor->length % sizeof(*descriptor))
		return NVME_SGL_SEGMENT_INVALID | NVME_DNR;
	if (++sgl->segments > SGL_SEGMENTS)
		return NVME_SGL_COUNT_INVALID | NVME_DNR;
	sgl->next = descriptor->address;
	sgl->next_length = descriptor->length;
	sgl->last = descriptor->type == NVME_SGL_LAST;
	return NVME_SUCCESS;
}

static bool sgl_is_segment(const struct nvme_sgl *descriptor)
{
	return descriptor->type == NVME_SGL_SEGMENT || descriptor->type == NVME_SGL_LAST;
}

/* One descriptor of a segment; @end: the last one there. A segment that is not the last ends with where the next one is. */
static unsigned int sgl_one(struct nvme_slot *slot, struct sgl *sgl, const struct nvme_sgl *descriptor, bool end)
{
	if (sgl_is_segment(descriptor))
		return end && !sgl->last ? sgl_segment(sgl, descriptor) : NVME_SGL_SEGMENT_INVALID | NVME_DNR;
	if (descriptor->type != NVME_SGL_DATA)
		return NVME_SGL_TYPE_INVALID | NVME_DNR;
	return end && !sgl->last ? NVME_SGL_SEGMENT_INVALID | NVME_DNR : sgl_data(slot, sgl, descriptor);
}

static unsigned int sgl_read_segment(struct nvme *nvme, struct nvme_slot *slot, struct sgl *sgl)
{
	struct nvme_sgl descriptors[LIST];
	uint64_t at = sgl->next, count = sgl->next_length / sizeof(descriptors[0]);
	unsigned int status = NVME_SUCCESS;

	if (count > NVME_SEGMENTS)
		return NVME_SGL_COUNT_INVALID | NVME_DNR;
	while (count && !status) {
		uint64_t part = min_u64(count, LIST);

		if (uiommu_dma_read(nvme->device, UIOMMU_NO_PASID, at, descriptors, part * sizeof(descriptors[0]), NULL))
			return NVME_DATA_TRANSFER;
		count -= part;
		at += part * sizeof(descriptors[0]);
		for (uint64_t i = 0; i < part && !status; i++)
			status = sgl_one(slot, sgl, &descriptors[i], !count && i == part - 1);
	}
	return status;
}

static unsigned int map_sgl(struct nvme *nvme, struct nvme_slot *slot, uint64_t length)
{
	struct sgl sgl = {.left = length};
	struct nvme_sgl first;
	unsigned int status;
	bool more;

	memcpy(&first, &slot->command.prp1, sizeof(first));
	more = sgl_is_segment(&first);
	sgl.last = !more;
	status = sgl_one(slot, &sgl, &first, true);
	while (!status && more) {
		more = !sgl.last;
		status = sgl_read_segment(nvme, slot, &sgl);
	}
	return status || !sgl.left ? status : NVME_SGL_LENGTH_INVALID | NVME_DNR;
}

unsigned int nvme_map(struct nvme *nvme, struct nvme_slot *slot, uint32_t length)
{
	unsigned int psdt = slot->command.flags >> NVME_PSDT_SHIFT;

	slot->length = length;
	slot->segment_count = 0;
	if (psdt == NVME_PSDT_PRP)
		return map_prps(nvme, slot, length);
	/* Admin commands have none. */
	if (!slot->sq->id || psdt > NVME_PSDT_SGL_SGL)
		return NVME_INVALID_FIELD | NVME_DNR;
	return map_sgl(nvme, slot, length);
}

/* --- moving --- */

typedef int (*dma_calls)(struct uiommu_device *device, struct uiommu_dma_op *ops, size_t count);

static unsigned int move(struct nvme *nvme, const struct nvme_slot *slot, dma_calls call, uint8_t *data)
{
	struct uiommu_dma_op ops[OPS];
	unsigned int count = 0;
	int error = 0;

	for (unsigned int i = 0; i < slot->segment_count && !error; i++) {
		const struct nvme_segment *segment = &slot->segments[i];

		ops[count++] = (struct uiommu_dma_op){
			.address = segment->address, .buffer = data, .length = segment->length, .pasid = UIOMMU_NO_PASID};
		data += segment->length;
		if (count < OPS && i + 1 < slot->segment_count)
			continue;
		error = call(nvme->device, ops, count);
		count = 0;
	}
	return dma_status(error);
}

unsigned int nvme_from_guest(struct nvme *nvme, const struct nvme_slot *slot, void *data)
{
	return move(nvme, slot, uiommu_dma_readv, data);
}

unsigned int nvme_to_guest(struct nvme *nvme, const struct nvme_slot *slot, const void *data)
{
	return move(nvme, slot, uiommu_dma_writev, (uint8_t *)(uintptr_t)data);
}

unsigned int nvme_compare_guest(struct nvme *nvme, const struct nvme_slot *slot, const void *data)
{
	const uint8_t *expected = data;
	uint8_t piece[PIECE];

	for (unsigned int i = 0; i < slot->segment_count; i++) {
		const struct nvme_segment *segment = &slot->segments[i];

		for (uint64_t at = 0, part; at < segment->length; at += part, expected += part) {
			part = min_u64(segment->length - at, PIECE);
			if (uiommu_dma_read(nvme->device, UIOMMU_NO_PASID, segment->address + at, piece, part, NULL))
				return NVME_DATA_TRANSFER;
			if (memcmp(piece, expected, part))
				return NVME_COMPARE_FAILURE | NVME_DNR;
		}
	}
	return NVME_SUCCESS;
}
