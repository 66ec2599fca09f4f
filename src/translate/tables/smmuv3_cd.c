/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * SMMUv3: from the STE and the substream id to the CD. If there is a stage 2, CD and L1CD are read through it; a fault of it there
 * is its fault, not the CD's.
 *
 * Of what is the implementation's choice: an L1CD's pointer beyond the output size is C_BAD_SUBSTREAMID also if it is an IPA.
 */
#include "pgtable/arm.h"
#include "translate/tables/smmuv3_spec.h"

/* The event of a fault of stage 2. Malformed descriptors are invalid ones to Arm. */
static uint32_t stage2_event(uint8_t reason)
{
	switch (reason) {
	case UIOMMU_FAULT_MEMORY:
	case UIOMMU_FAULT_UPDATE:
		return SMMUV3_F_WALK_EABT;
	case UIOMMU_FAULT_OUTPUT:
		return SMMUV3_F_ADDR_SIZE;
	case UIOMMU_FAULT_ACCESS_FLAG:
		return SMMUV3_F_ACCESS;
	case UIOMMU_FAULT_PERMISSION:
	case UIOMMU_FAULT_PRIVILEGE:
		return SMMUV3_F_PERMISSION;
	default:
		return SMMUV3_F_TRANSLATION;
	}
}

static bool read(const struct tables_device *device, uint64_t address, uint64_t *words, unsigned int count, uint8_t structure,
		 struct tables_fault *fault)
{
	const struct pgtable *stage2 = device->has_stage2 ? &device->stage2 : NULL;

	fault->structure = structure;
	if (!stage2 && address >> device->output_lg2) {
		fault->reason = UIOMMU_FAULT_MEMORY;
		fault->table = true;
	} else if (tables_read(&device->memory, stage2, address, words, count, fault)) {
		return true;
	}
	return smmuv3_refuse(fault, fault->reason, structure, fault->stage == 2 ? stage2_event(fault->reason) : SMMUV3_F_CD_FETCH);
}

/* Set @address to the CD's. */
static bool locate(const struct tables_device *device, uint32_t pasid, uint64_t *address, struct tables_fault *fault)
{
	unsigned int leaf_bits = device->pasid_mode == S1FMT_4K ? 6 : 10;
	uint64_t descriptor;

	if (device->pasid_mode == S1FMT_LINEAR) {
		*address = device->pasid_table + (uint64_t)pasid * 64;
		return true;
	}
	*address = device->pasid_table + (uint64_t)(pasid >> leaf_bits) * 8;
	if (!read(device, *address, &descriptor, 1, UIOMMU_STRUCTURE_PASID_DIR, fault))
		return false;
	if (!(descriptor & L1CD_V))
		return smmuv3_refuse(fault, UIOMMU_FAULT_UNMAPPED, UIOMMU_STRUCTURE_PASID_DIR, SMMUV3_C_BAD_SUBSTREAMID);
	descriptor &= L1CD_L2PTR & ~low_mask(leaf_bits + 6);
	if (descriptor >> device->output_lg2)
		return smmuv3_refuse(fault, UIOMMU_FAULT_RESERVED, UIOMMU_STRUCTURE_PASID_DIR, SMMUV3_C_BAD_SUBSTREAMID);
	*address = descriptor + (pasid & low_mask(leaf_bits)) * 64;
	return true;
}

/* What is the same for both halves. */
static bool common_illegal(const struct tables_device *device, const uint64_t *cd)
{
	uint32_t capabilities = device->capabilities;

	if (cd[0] & CD_S && device->extra[1] & STE_S1STALLD)
		return true;
	if (smmuv3_stall_illegal(cd[0] & CD_S, capabilities))
		return true;
	if (!(cd[0] & CD_A) && capabilities & UIOMMU_SMMUV3_TERM_MODEL)
		return true;
	if (!(cd[0] & CD_AA64) || (cd[0] & CD_ENDI && (cd[0] & (CD_EPD0 | CD_EPD1)) != (CD_EPD0 | CD_EPD1)))
		return true;
	if (smmuv3_httu_illegal(cd[0] & CD_HA, cd[0] & CD_HD, capabilities))
		return true;
	return !(capabilities & UIOMMU_SMMUV3_ASID16) && FIELD_GET64(CD_ASID, cd[0]) > UINT8_MAX;
}

/* One half of the addresses. @tg: as TG0 has it. False: ILLEGAL. */
static bool decode_half(const struct tables_device *device, uint64_t tsz, uint64_t tg, uint64_t ttb, bool ds, unsigned int half,
			struct pgtable_config *out)
{
	uint8_t granule_lg2 = smmuv3_granule_lg2(tg, device->capabilities);
	uint64_t least = smmuv3_wide(granule_lg2, ds) && device->capabilities & UIOMMU_SMMUV3_VAX ? 12 : 16;

	if (!granule_lg2 || tsz < least || tsz > 39 || !smmuv3_in_range(ttb, out->output_lg2, granule_lg2, ds))
		return false;
	out->base[half] = smmuv3_base(ttb, out->output_lg2);
	out->input_lg2[half] = (uint8_t)(64 - tsz);
	out->granule_lg2[half] = granule_lg2;
	return true;
}

static uint32_t stage1_flags(const uint64_t *cd, uint32_t capabilities)
{
	static const struct {
		uint64_t bit;
		uint32_t flag;
	} bits[] = {
		{CD_EPD0, UIOMMU_ARM_EPD0}, {CD_EPD1, UIOMMU_ARM_EPD1}, {CD_WXN, UIOMMU_ARM_WXN},   {CD_UWXN, UIOMMU_ARM_UWXN},
		{CD_TBI0, UIOMMU_ARM_TBI0}, {CD_TBI1, UIOMMU_ARM_TBI1}, {CD_AFFD, UIOMMU_ARM_AFFD}, {CD_PAN, UIOMMU_ARM_PAN},
	};
	uint32_t flags = 0;

	for (unsigned int i = 0; i < sizeof(bits) / sizeof(bits[0]); i++)
		flags |= cd[0] & bits[i].bit ? bits[i].flag : 0;
	flags |= cd[0] & CD_HA ? UIOMMU_ARM_HA | (cd[0] & CD_HD ? UIOMMU_ARM_HD : 0) : 0;
	if (capabilities & UIOMMU_SMMUV3_HAD)
		flags |= (cd[1] & CD_HAD ? UIOMMU_ARM_HPD0 : 0) | (cd[2] & CD_HAD ? UIOMMU_ARM_HPD1 : 0);
	return flags | (capabilities & UIOMMU_SMMUV3_DS && cd[2] & CD_DS ? UIOMMU_ARM_DS : 0);
}

/* False: ILLEGAL. */
static bool decode(const struct tables_device *device, const uint64_t *cd, struct pgtable_config *out)
{
	static const uint8_t tg1_as_tg0[4] = {3, 2, 0, 1};
	uint64_t tg1 = tg1_as_tg0[FIELD_GET64(CD_TG1, cd[0])];
	bool ds;

	if (common_illegal(device, cd))
		return false;
	out->output_lg2 = smmuv3_size(FIELD_GET64(CD_IPS, cd[0]), device->output_lg2);
	out->flags = stage1_flags(cd, device->capabilities);
	out->attributes = cd[3];
	ds = out->flags & UIOMMU_ARM_DS;
	if (!(cd[0] & CD_EPD0) &&
	    !decode_half(device, FIELD_GET64(CD_T0SZ, cd[0]), FIELD_GET64(CD_TG0, cd[0]), cd[1] & CD_TTB, ds, 0, out))
		return false;
	return cd[0] & CD_EPD1 || decode_half(device, FIELD_GET64(CD_T1SZ, cd[0]), tg1, cd[2] & CD_TTB, ds, 1, out);
}

static bool with_stage1(const struct tables_device *device, uint32_t pasid, struct tables_entry *out, struct tables_fault *fault)
{
	uint64_t address, cd[8];

	if (!locate(device, pasid, &address, fault) || !read(device, address, cd, 8, UIOMMU_STRUCTURE_PASID, fault))
		return false;
	if (!(cd[0] & CD_V))
		return smmuv3_refuse(fault, UIOMMU_FAULT_UNMAPPED, UIOMMU_STRUCTURE_PASID, SMMUV3_C_BAD_CD);
	if (!decode(device, cd, &out->stage1))
		return smmuv3_refuse(fault, UIOMMU_FAULT_RESERVED, UIOMMU_STRUCTURE_PASID, SMMUV3_C_BAD_CD);
	out->has_stage1 = true;
	out->stage1_format = &pgtable_arm_s1;
	out->asid = (uint32_t)FIELD_GET64(CD_ASID, cd[0]);
	out->flags |= cd[0] & CD_S ? TABLES_STALL : 0;
	out->flags |= cd[0] & CD_R ? 0 : TABLES_NO_FAULTS_1;
	out->flags |= cd[0] & CD_A ? 0 : TABLES_ZEROES;
	return true;
}

/* What the STE says of requests with substream @pasid. */
static bool admit(const struct tables_device *device, uint32_t pasid, struct tables_fault *fault)
{
	if (!(device->flags & TABLES_PASIDS))
		return smmuv3_refuse(fault, UIOMMU_FAULT_BLOCKED, UIOMMU_STRUCTURE_DEVICE, SMMUV3_C_BAD_SUBSTREAMID);
	if (pasid >> device->pasid_bits)
		return smmuv3_refuse(fault, UIOMMU_FAULT_RANGE, UIOMMU_STRUCTURE_DEVICE, SMMUV3_C_BAD_SUBSTREAMID);
	/* That of requests without is not for others. */
	if (pasid == device->rid_pasid)
		return smmuv3_refuse(fault, UIOMMU_FAULT_BLOCKED, UIOMMU_STRUCTURE_DEVICE, SMMUV3_F_STREAM_DISABLED);
	return true;
}

bool smmuv3_pasid(const struct tables_device *device, uint32_t pasid, struct tables_entry *out, struct tables_fault *fault)
{
	bool implied = pasid == UIOMMU_NO_PASID;

	*fault = (struct tables_fault){0};
	*out = (struct tables_entry){
		.mode = device->mode,
		.flags = device->flags,
		.domain = device->domain,
		.asid = UIOMMU_NO_PASID,
		.pasid = UIOMMU_NO_PASID,
	};
	if (device->mode == TABLES_BLOCK)
		return true;
	if (!implied && !admit(device, pasid, fault))
		return false;
	if (implied)
		pasid = device->rid_pasid;
	if (device->has_stage2) {
		out->has_stage2 = true;
		out->stage2_format = device->stage2.format;
		out->stage2 = device->stage2.config;
	}
	if (device->has_pasid_table && pasid != UIOMMU_NO_PASID)
		return with_stage1(device, pasid, out, fault);
	if (device->has_pasid_table && FIELD_GET64(STE_S1DSS, device->extra[1]) != S1DSS_BYPASS)
		return smmuv3_refuse(fault, UIOMMU_FAULT_BLOCKED, UIOMMU_STRUCTURE_DEVICE, SMMUV3_F_STREAM_DISABLED);
	if (!device->has_stage2)
		out->mode = TABLES_PASS;
	return true;
}
