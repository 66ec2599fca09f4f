/* SPDX-License-Identifier: BSD-3-Clause */
#include "viommu/registers.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "util/bits.h"
#include "util/util.h"

int registers_init(struct registers *registers, const struct register_info *info, size_t count, uint32_t size)
{
	*registers = (struct registers){.info = info, .count = count, .size = size, .bytes = malloc(size)};
	if (!registers->bytes)
		return -ENOMEM;
	registers_reset(registers);
	return 0;
}

void registers_fini(struct registers *registers)
{
	free(registers->bytes);
	registers->bytes = NULL;
}

static uint64_t get(const struct registers *registers, uint32_t offset, unsigned int width)
{
	uint64_t value = 0;

	memcpy(&value, registers->bytes + offset, width);
	return value;
}

static void set(struct registers *registers, uint32_t offset, unsigned int width, uint64_t value)
{
	memcpy(registers->bytes + offset, &value, width);
}

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "get and set");

void registers_reset(struct registers *registers)
{
	memset(registers->bytes, 0, registers->size);
	for (size_t i = 0; i < registers->count; i++) {
		const struct register_info *info = &registers->info[i];

		for (unsigned int copy = 0; copy <= info->copies_less_1; copy++)
			set(registers, info->offset + copy * info->stride, info->width, info->reset);
	}
}

uint32_t register_get32(const struct registers *registers, uint32_t offset)
{
	return (uint32_t)get(registers, offset, 4);
}

uint64_t register_get64(const struct registers *registers, uint32_t offset)
{
	return get(registers, offset, 8);
}

void register_set32(struct registers *registers, uint32_t offset, uint32_t value)
{
	set(registers, offset, 4, value);
}

void register_set64(struct registers *registers, uint32_t offset, uint64_t value)
{
	set(registers, offset, 8, value);
}

uint64_t registers_read(const struct registers *registers, uint64_t offset, unsigned int size)
{
	if (offset >= registers->size)
		return 0;
	return get(registers, (uint32_t)offset, (unsigned int)min_u64(size, registers->size - offset));
}

/* The register that has the byte at @offset, or NULL. */
static const struct register_info *find(const struct registers *registers, uint32_t offset, uint32_t *start)
{
	for (size_t i = 0; i < registers->count; i++) {
		const struct register_info *info = &registers->info[i];
		uint32_t beyond = offset - info->offset, copy = info->stride ? beyond / info->stride : 0;

		if (offset < info->offset || copy > info->copies_less_1 || beyond - copy * info->stride >= info->width)
			continue;
		*start = info->offset + copy * info->stride;
		return info;
	}
	return NULL;
}

static void write_register(struct registers *registers, const struct register_info *info, uint32_t offset, uint64_t data,
			   uint64_t mask)
{
	const struct register_write write = {
		.info = info, .offset = offset, .before = get(registers, offset, info->width), .data = data, .mask = mask};
	uint64_t written = info->writable & mask;

	set(registers, offset, info->width, ((write.before & ~written) | (data & written)) & ~(info->clears & mask & data));
	if (info->written)
		info->written(registers, &write);
}

void registers_write(struct registers *registers, uint64_t offset, unsigned int size, uint64_t data)
{
	const struct register_info *info;
	unsigned int done = 0, part, skip;
	uint32_t start;

	for (; done < size && offset + done < registers->size; done += part) {
		uint32_t at = (uint32_t)offset + done;

		part = 1;
		info = find(registers, at, &start);
		if (!info)
			continue;
		skip = at - start;
		part = (unsigned int)min_u64(size - done, info->width - skip);
		write_register(registers, info, start, data >> done * 8 << skip * 8, low_mask(part * 8) << skip * 8);
	}
}
