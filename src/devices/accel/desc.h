/* SPDX-License-Identifier: BSD-3-Clause */
/* What a descriptor may look like (docs/accel.md, "Operations"). */
#ifndef ACCEL_DESC_H
#define ACCEL_DESC_H

#include <stdbool.h>
#include <uiommu/accel.h>

#define DESC_FLAGS UINT32_C(0xffffff)
#define DESC_PASID UINT32_C(0xfffff)
#define DESC_PASID_RESERVED UINT32_C(0x7ff00000)
#define DESC_PRIVILEGED UINT32_C(0x80000000)

enum { RECORD_SIZE = 32 };

/* The three places a handle can name (struct uiommu_accel_desc.handles, 16 bits each), and the descriptor's own PASID. */
enum place_name {
	PLACE_SOURCE,
	PLACE_DESTINATION, /* or second source */
	PLACE_DESTINATION2,
	PLACE_OWN,
	PLACES,
};

static inline unsigned int desc_opcode(const struct uiommu_accel_desc *desc)
{
	return desc->flags_opcode >> 24;
}

static inline uint32_t desc_flags(const struct uiommu_accel_desc *desc)
{
	return desc->flags_opcode & DESC_FLAGS;
}

static inline uint16_t desc_handle(const struct uiommu_accel_desc *desc, enum place_name place)
{
	return (uint16_t)(desc->handles >> (16 * place));
}

/* What a queue takes. */
struct desc_limits {
	uint64_t transfer_max;
	uint32_t batch_max;
	uint32_t interrupts; /* interrupt handles are below this; 0: none is named */
	bool handles; /* of attachments */
	bool privileged; /* that bit says nothing */
};

/*
 * Everything that can be told from the descriptor alone: 0, or the status of its record, and with INVALID_FLAGS the flags in
 * @value. @member: it stands in a batch. Not looked at: the record's address, and overlap, which depends on what the handles stand
 * for.
 */
unsigned int desc_check(const struct uiommu_accel_desc *desc, bool member, const struct desc_limits *limits, uint64_t *value);

#endif
