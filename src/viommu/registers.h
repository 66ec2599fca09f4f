/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Register files: what a guest reads and writes of a device's memory-mapped registers.
 *
 * A model describes its registers in a const table, in the order of their offsets. Everything else of the file reads as 0 and is
 * not written. An access may have any size from 1 to 8 bytes and lie anywhere: it becomes one write for each register that it
 * touches, the lowest first, with a mask of the bits that it brings.
 *
 * The caller serialises all calls, and nothing here waits; what a write sets off outside of the registers is the model's to do
 * later.
 */
#ifndef VIOMMU_REGISTERS_H
#define VIOMMU_REGISTERS_H

#include <stddef.h>
#include <stdint.h>

struct registers;

/* What software has written. */
struct register_write {
	const struct register_info *info;
	uint32_t offset; /* of the register; of one of several copies */
	uint64_t before; /* its value */
	uint64_t data; /* as it was written, */
	uint64_t mask; /* and the bits that were */
};

struct register_info {
	uint32_t offset;
	uint8_t width; /* bytes: 4 or 8 */
	uint8_t copies_less_1; /* the same again, */
	uint8_t stride; /* each so many bytes further */
	uint64_t reset; /* value after a reset */
	uint64_t writable; /* bits that are as they were written */
	uint64_t clears; /* bits that a 1 clears and a 0 leaves */
	/* The value has been updated. May change any register. */
	void (*written)(struct registers *registers, const struct register_write *write);
};

struct registers {
	const struct register_info *info;
	size_t count;
	uint32_t size; /* bytes of the file */
	uint8_t *bytes;
};

/* -ENOMEM. The values are those after a reset. @info has to stay. */
int registers_init(struct registers *registers, const struct register_info *info, size_t count, uint32_t size);
void registers_fini(struct registers *registers);
void registers_reset(struct registers *registers);

/* What software does. @size: 1 to 8; what lies beyond the file reads as 0. */
uint64_t registers_read(const struct registers *registers, uint64_t offset, unsigned int size);
void registers_write(struct registers *registers, uint64_t offset, unsigned int size, uint64_t data);

/* What the model does with the registers at @offset, of this width: no masks, no call of written(). */
uint32_t register_get32(const struct registers *registers, uint32_t offset);
uint64_t register_get64(const struct registers *registers, uint32_t offset);
void register_set32(struct registers *registers, uint32_t offset, uint32_t value);
void register_set64(struct registers *registers, uint32_t offset, uint64_t value);

#endif
