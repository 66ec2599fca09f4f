/* SPDX-License-Identifier: BSD-3-Clause */
#include "devices/accel/desc.h"

#include "util/util.h"

enum {
	FLAGS_RECORD = UIOMMU_ACCEL_RECORD_VALID | UIOMMU_ACCEL_REQUEST_RECORD | UIOMMU_ACCEL_REQUEST_INTERRUPT,
	FLAGS_READ = FLAGS_RECORD | UIOMMU_ACCEL_FENCE | UIOMMU_ACCEL_BLOCK_ON_FAULT,
	FLAGS_WRITE = FLAGS_READ | UIOMMU_ACCEL_CACHE_CONTROL,
	FLAGS_CRC = UIOMMU_ACCEL_READ_SEED | UIOMMU_ACCEL_CRC_BYPASS_REFLECTION | UIOMMU_ACCEL_CRC_BYPASS_DATA_REFLECTION,
};

/* Fields that an operation uses; what it does not use is reserved. */
enum {
	USES_SOURCE = 1,
	USES_DESTINATION = 2,
	USES_SIZE = 4,
	USES_SPECIFIC = 8,
	USES_SEED_ADDRESS = 16,
};

#define HANDLE(place) (UINT64_C(0xffff) << (16 * (place)))

struct rule {
	uint32_t flags;
	uint8_t uses; /* 0: no such operation */
	bool direct_only; /* not in a batch */
	uint64_t handles; /* bits that may be set */
};

enum { USES_NOTHING = 128 };

static const struct rule rules[] = {
	[UIOMMU_ACCEL_NOOP] = {FLAGS_RECORD | UIOMMU_ACCEL_FENCE, USES_NOTHING, false, 0},
	[UIOMMU_ACCEL_BATCH] = {FLAGS_RECORD | UIOMMU_ACCEL_BLOCK_ON_FAULT, USES_SOURCE | USES_SIZE, true, 0},
	[UIOMMU_ACCEL_DRAIN] = {FLAGS_RECORD, USES_NOTHING, true, 0},
	[UIOMMU_ACCEL_MEMMOVE] = {FLAGS_WRITE, USES_SOURCE | USES_DESTINATION | USES_SIZE, false,
				  HANDLE(PLACE_SOURCE) | HANDLE(PLACE_DESTINATION)},
	[UIOMMU_ACCEL_FILL] = {FLAGS_WRITE, USES_SOURCE | USES_DESTINATION | USES_SIZE, false, HANDLE(PLACE_DESTINATION)},
	[UIOMMU_ACCEL_COMPARE] = {FLAGS_READ | UIOMMU_ACCEL_CHECK_RESULT,
				  USES_SOURCE | USES_DESTINATION | USES_SIZE | USES_SPECIFIC, false,
				  HANDLE(PLACE_SOURCE) | HANDLE(PLACE_DESTINATION)},
	[UIOMMU_ACCEL_COMPARE_PATTERN] = {FLAGS_READ | UIOMMU_ACCEL_CHECK_RESULT,
					  USES_SOURCE | USES_DESTINATION | USES_SIZE | USES_SPECIFIC, false, HANDLE(PLACE_SOURCE)},
	[UIOMMU_ACCEL_DUALCAST] = {FLAGS_WRITE, USES_SOURCE | USES_DESTINATION | USES_SIZE | USES_SPECIFIC, false,
				   HANDLE(PLACE_SOURCE) | HANDLE(PLACE_DESTINATION) | HANDLE(PLACE_DESTINATION2)},
	[UIOMMU_ACCEL_CRC] = {FLAGS_READ | FLAGS_CRC, USES_SOURCE | USES_SIZE | USES_SPECIFIC | USES_SEED_ADDRESS, false,
			      HANDLE(PLACE_SOURCE)},
};

static uint32_t flags_bad(const struct rule *rule, uint32_t flags, bool member)
{
	uint32_t bad = flags & ~rule->flags;

	if (!member)
		bad |= flags & UIOMMU_ACCEL_FENCE;
	if (!(flags & UIOMMU_ACCEL_RECORD_VALID))
		bad |= flags & UIOMMU_ACCEL_REQUEST_RECORD;
	return bad;
}

static bool specific_reserved(const struct uiommu_accel_desc *desc)
{
	bool read_seed = desc->flags_opcode & UIOMMU_ACCEL_READ_SEED;

	switch (desc_opcode(desc)) {
	case UIOMMU_ACCEL_COMPARE:
	case UIOMMU_ACCEL_COMPARE_PATTERN:
		return desc->specific >> 8;
	case UIOMMU_ACCEL_CRC:
		return read_seed ? desc->specific : desc->specific >> 32 || desc->seed_address;
	default:
		return false;
	}
}

static bool reserved_set(const struct rule *rule, const struct uiommu_accel_desc *desc, bool handles)
{
	uint64_t unused = desc->reserved | (desc->handles & ~(handles ? rule->handles : 0));

	unused |= desc->pasid_priv & DESC_PASID_RESERVED;
	if (!(rule->uses & USES_SOURCE))
		unused |= desc->source;
	if (!(rule->uses & USES_DESTINATION))
		unused |= desc->destination;
	if (!(rule->uses & USES_SIZE))
		unused |= desc->transfer_size;
	if (!(rule->uses & USES_SPECIFIC))
		unused |= desc->specific;
	if (!(rule->uses & USES_SEED_ADDRESS))
		unused |= desc->seed_address;
	return unused || (rule->uses & USES_SPECIFIC && specific_reserved(desc));
}

static unsigned int batch_check(const struct uiommu_accel_desc *desc, const struct desc_limits *limits)
{
	if (desc->transfer_size < 2 || desc->transfer_size > limits->batch_max)
		return UIOMMU_ACCEL_COUNT_RANGE;
	if (desc->source % sizeof(*desc))
		return UIOMMU_ACCEL_LIST_ALIGN;
	return 0;
}

static unsigned int operands_check(const struct rule *rule, const struct uiommu_accel_desc *desc, const struct desc_limits *limits)
{
	unsigned int opcode = desc_opcode(desc);

	if (!(rule->uses & USES_SIZE))
		return 0;
	if (opcode == UIOMMU_ACCEL_BATCH)
		return batch_check(desc, limits);
	if (!desc->transfer_size || desc->transfer_size > limits->transfer_max)
		return UIOMMU_ACCEL_TRANSFER_RANGE;
	if (opcode == UIOMMU_ACCEL_DUALCAST && (desc->destination ^ desc->specific) & 0xfff)
		return UIOMMU_ACCEL_DUALCAST_ALIGN;
	if (opcode == UIOMMU_ACCEL_CRC && desc->seed_address % 4)
		return UIOMMU_ACCEL_ADDRESS_ALIGN;
	return 0;
}

static unsigned int interrupt_check(const struct uiommu_accel_desc *desc, const struct desc_limits *limits)
{
	if (!desc->interrupt_handle)
		return 0;
	if (!(desc->flags_opcode & UIOMMU_ACCEL_REQUEST_INTERRUPT))
		return UIOMMU_ACCEL_NONZERO_RESERVED;
	return desc->interrupt_handle < limits->interrupts ? 0 : UIOMMU_ACCEL_INTERRUPT_HANDLE;
}

unsigned int desc_check(const struct uiommu_accel_desc *desc, bool member, const struct desc_limits *limits, uint64_t *value)
{
	unsigned int opcode = desc_opcode(desc), status;
	const struct rule *rule;
	uint32_t bad;

	if (opcode >= ARRAY_SIZE(rules) || !rules[opcode].uses || (member && rules[opcode].direct_only))
		return UIOMMU_ACCEL_BAD_OPCODE;
	rule = &rules[opcode];
	if (desc->pasid_priv & DESC_PRIVILEGED && !limits->privileged)
		return UIOMMU_ACCEL_PRIVILEGE;
	bad = flags_bad(rule, desc_flags(desc), member);
	if (bad) {
		*value = bad;
		return UIOMMU_ACCEL_INVALID_FLAGS;
	}
	status = interrupt_check(desc, limits);
	if (status)
		return status;
	if (reserved_set(rule, desc, limits->handles))
		return UIOMMU_ACCEL_NONZERO_RESERVED;
	return operands_check(rule, desc, limits);
}
