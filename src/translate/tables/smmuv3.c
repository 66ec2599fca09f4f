/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * SMMUv3: stream table and STE. What the STE may not be like is what the specification calls ILLEGAL (5.2.2); all else that is
 * RES0 or IGNORED is not looked at.
 *
 * Two things are the implementation's choice here: an S1ContextPtr beyond the output size makes the STE ILLEGAL also if it is an
 * IPA, and its bits below the size of what it points to are taken to be 0.
 */
#include <errno.h>

#include "pgtable/arm.h"
#include "translate/tables/smmuv3_spec.h"

static int check(const struct tables *tables)
{
	static const uint64_t sizes = BIT64(32) | BIT64(36) | BIT64(40) | BIT64(42) | BIT64(44) | BIT64(48) | BIT64(52);
	static const uint32_t splits = 1 << 6 | 1 << 8 | 1 << 10;
	const struct tables_config *config = &tables->config;
	uint32_t flags = config->flags;

	if (config->output_lg2 > 52 || !(sizes >> config->output_lg2 & 1))
		return -EINVAL;
	if (config->base & (low_mask(6) | ~low_mask(config->output_lg2)) || config->size_lg2 > 32)
		return -EINVAL;
	if (FIELD_GET64(UIOMMU_SMMUV3_SSIDSIZE, flags) > UIOMMU_PASID_BITS || !(flags & (UIOMMU_SMMUV3_S1P | UIOMMU_SMMUV3_S2P)))
		return -EINVAL;
	if ((flags & UIOMMU_SMMUV3_HD && !(flags & UIOMMU_SMMUV3_HA)) ||
	    (flags & UIOMMU_SMMUV3_STALL && flags & UIOMMU_SMMUV3_STALL_FORCED))
		return -EINVAL;
	if (config->mode == UIOMMU_SMMUV3_LINEAR)
		return 0;
	if (config->mode != UIOMMU_SMMUV3_2_LEVEL || config->split > 10 || !(splits >> config->split & 1))
		return -EINVAL;
	return flags & UIOMMU_SMMUV3_ST_LEVEL ? 0 : -EOPNOTSUPP;
}

/* --- from the stream id to the STE --- */

static bool read(const struct tables *tables, uint64_t address, uint64_t *words, unsigned int count, uint8_t structure,
		 struct tables_fault *fault)
{
	fault->structure = structure;
	if (address >> tables->config.output_lg2) {
		fault->reason = UIOMMU_FAULT_MEMORY;
		fault->table = true;
	} else if (tables_read(&tables->memory, NULL, address, words, count, fault)) {
		return true;
	}
	return smmuv3_refuse(fault, fault->reason, structure, SMMUV3_F_STE_FETCH);
}

/* Set @address to the STE's. */
static bool locate(const struct tables *tables, uint32_t id, uint64_t *address, struct tables_fault *fault)
{
	const struct tables_config *config = &tables->config;
	bool linear = config->mode == UIOMMU_SMMUV3_LINEAR;
	uint8_t structure = linear ? UIOMMU_STRUCTURE_DEVICE : UIOMMU_STRUCTURE_DEVICE_DIR;
	unsigned int top_lg2, span;
	uint64_t descriptor, low;

	if ((uint64_t)id >> config->size_lg2)
		return smmuv3_refuse(fault, UIOMMU_FAULT_RANGE, structure, SMMUV3_C_BAD_STREAMID);
	if (linear) {
		*address = (config->base & ~low_mask(config->size_lg2 + 6U)) + (uint64_t)id * 64;
		return true;
	}
	top_lg2 = config->size_lg2 > config->split + 3U ? config->size_lg2 - config->split + 3U : 6;
	*address = (config->base & ~low_mask(top_lg2)) + (uint64_t)(id >> config->split) * 8;
	if (!read(tables, *address, &descriptor, 1, structure, fault))
		return false;
	span = (unsigned int)FIELD_GET64(L1STD_SPAN, descriptor);
	if (!span)
		return smmuv3_refuse(fault, UIOMMU_FAULT_UNMAPPED, structure, SMMUV3_C_BAD_STREAMID);
	if (span > config->split + 1U)
		return smmuv3_refuse(fault, UIOMMU_FAULT_RESERVED, structure, SMMUV3_C_BAD_STREAMID);
	low = id & low_mask(config->split);
	if (low >> (span - 1))
		return smmuv3_refuse(fault, UIOMMU_FAULT_RANGE, structure, SMMUV3_C_BAD_STREAMID);
	*address = (descriptor & L1STD_L2PTR & ~low_mask(span + 5)) + low * 64;
	return true;
}

/* --- what the STE says --- */

/* EATS in effect: it is ignored without ATS, or if nothing translates. 0b11 is not offered and behaves as 0b00. */
static unsigned int effective_eats(const uint64_t *ste, uint32_t capabilities)
{
	unsigned int eats = (unsigned int)FIELD_GET64(STE_EATS, ste[1]);

	if (!(capabilities & UIOMMU_SMMUV3_ATS) || !(FIELD_GET64(STE_CONFIG, ste[0]) & (CONFIG_STAGE1 | CONFIG_STAGE2)) ||
	    eats > EATS_SPLIT)
		return EATS_NONE;
	return eats;
}

static bool ats_illegal(const uint64_t *ste, uint32_t capabilities)
{
	unsigned int config = (unsigned int)FIELD_GET64(STE_CONFIG, ste[0]);
	bool stalls = ste[2] & STE_S2S;

	switch (effective_eats(ste, capabilities)) {
	case EATS_FULL:
		return config & CONFIG_STAGE2 && stalls;
	case EATS_SPLIT:
		return config != (CONFIG_PASS | CONFIG_STAGE1 | CONFIG_STAGE2) || stalls || capabilities & UIOMMU_SMMUV3_NS1ATS;
	default:
		return false;
	}
}

/* What matters if any stage translates. */
static bool common_illegal(const uint64_t *ste, uint32_t capabilities)
{
	unsigned int config = (unsigned int)FIELD_GET64(STE_CONFIG, ste[0]);

	if ((config & CONFIG_STAGE1 && !(capabilities & UIOMMU_SMMUV3_S1P)) ||
	    (config & CONFIG_STAGE2 && !(capabilities & UIOMMU_SMMUV3_S2P)))
		return true;
	if (ats_illegal(ste, capabilities))
		return true;
	if (capabilities & UIOMMU_SMMUV3_HYP && config == (CONFIG_PASS | CONFIG_STAGE1) && ste[1] & STE_STRW)
		return true;
	return capabilities & UIOMMU_SMMUV3_S2P && !(capabilities & UIOMMU_SMMUV3_VMID16) &&
	       FIELD_GET64(STE_S2VMID, ste[2]) > UINT8_MAX;
}

/* S1CDMax in effect. */
static unsigned int substream_bits(const uint64_t *ste, uint32_t capabilities)
{
	return FIELD_GET64(UIOMMU_SMMUV3_SSIDSIZE, capabilities) ? (unsigned int)FIELD_GET64(STE_S1CDMAX, ste[0]) : 0;
}

/* S1Fmt in effect: 0b11 behaves as 0b00. */
static unsigned int table_format(const uint64_t *ste, uint32_t capabilities)
{
	unsigned int format = (unsigned int)FIELD_GET64(STE_S1FMT, ste[0]);

	return format > S1FMT_64K || !substream_bits(ste, capabilities) ? S1FMT_LINEAR : format;
}

static bool stage1_illegal(const uint64_t *ste, uint8_t output_lg2, uint32_t capabilities)
{
	if (ste[1] & STE_S1STALLD && !(capabilities & UIOMMU_SMMUV3_STALL))
		return true;
	if (substream_bits(ste, capabilities) > FIELD_GET64(UIOMMU_SMMUV3_SSIDSIZE, capabilities))
		return true;
	if (table_format(ste, capabilities) != S1FMT_LINEAR && !(capabilities & UIOMMU_SMMUV3_CD2L))
		return true;
	return (ste[0] & STE_S1CONTEXTPTR) >> output_lg2;
}

static void decode_stage1(const uint64_t *ste, struct tables_device *out)
{
	static const uint8_t leaf_bits[] = {[S1FMT_4K] = 6, [S1FMT_64K] = 10};
	unsigned int bits = substream_bits(ste, out->capabilities), size_lg2;

	out->has_pasid_table = true;
	out->pasid_bits = (uint8_t)bits;
	out->pasid_mode = (uint8_t)table_format(ste, out->capabilities);
	size_lg2 = bits + 6;
	if (out->pasid_mode != S1FMT_LINEAR)
		size_lg2 = bits > leaf_bits[out->pasid_mode] + 3U ? bits - leaf_bits[out->pasid_mode] + 3U : 6;
	out->pasid_table = ste[0] & STE_S1CONTEXTPTR & ~low_mask(size_lg2);
	if (!bits || FIELD_GET64(STE_S1DSS, ste[1]) == S1DSS_SUBSTREAM_0)
		out->rid_pasid = 0;
	out->flags |= bits ? TABLES_PASIDS : 0;
}

/*
 * Levels of the stage 2 table, by where SL0 says that walks begin; 0: reserved, or not for addresses of this size. There are no
 * small translation tables here, so walks of 4K tables do not begin at the last level.
 */
static unsigned int stage2_levels(const uint64_t *ste, uint8_t granule_lg2, bool ds, uint8_t output_lg2)
{
	unsigned int start = (unsigned int)FIELD_GET64(STE_S2SL0, ste[2]);

	if (granule_lg2 == 12) {
		if (ds && ste[3] & STE_S2SL0_2)
			return start || output_lg2 < 52 ? 0 : 5;
		return start > 2 || (start == 2 && output_lg2 < 44) ? 0 : start + 2;
	}
	if (start == 3)
		return granule_lg2 == 16 || !ds || output_lg2 < 52 ? 0 : 4;
	if (start == 2 && output_lg2 < (granule_lg2 == 16 ? 44 : 42))
		return 0;
	return start + 1;
}

/* Is what the levels resolve in accord with the size? At the top up to 16 tables are side by side. */
static bool stage2_size_illegal(unsigned int size, unsigned int levels, uint8_t granule_lg2, bool ds, uint8_t output_lg2)
{
	unsigned int stride = granule_lg2 - 3U, least = (levels - 1) * stride + granule_lg2 + 1;
	unsigned int most = smmuv3_wide(granule_lg2, ds) ? 52 : 48;

	if (size < 64 - 39 || size > most || size > output_lg2)
		return true;
	return size < least || size > least + stride - 1 + 4;
}

static bool stage2_illegal(const uint64_t *ste, const struct pgtable_config *stage2, uint8_t output_lg2, uint32_t capabilities)
{
	uint8_t granule_lg2 = stage2->granule_lg2[0];
	bool ds = stage2->flags & UIOMMU_ARM_DS;

	if (smmuv3_stall_illegal(ste[2] & STE_S2S, capabilities))
		return true;
	if (!(ste[2] & STE_S2AA64) || ste[2] & STE_S2ENDI)
		return true;
	if (smmuv3_httu_illegal(ste[2] & STE_S2HA, ste[2] & STE_S2HD, capabilities))
		return true;
	if (!granule_lg2 || !stage2->levels)
		return true;
	if (!smmuv3_in_range(ste[3] & STE_S2TTB, stage2->output_lg2, granule_lg2, ds))
		return true;
	return stage2_size_illegal(stage2->input_lg2[0], stage2->levels, granule_lg2, ds, output_lg2);
}

static struct pgtable_config stage2_config(const uint64_t *ste, uint8_t output_lg2, uint32_t capabilities)
{
	uint8_t granule_lg2 = smmuv3_granule_lg2(FIELD_GET64(STE_S2TG, ste[2]), capabilities);
	uint8_t size = smmuv3_size(FIELD_GET64(STE_S2PS, ste[2]), output_lg2);
	bool ds = granule_lg2 != 16 && capabilities & UIOMMU_SMMUV3_DS && ste[3] & STE_S2DS;
	uint32_t flags = ds ? UIOMMU_ARM_DS : 0;

	flags |= ste[2] & STE_S2HA ? UIOMMU_ARM_HA | (ste[2] & STE_S2HD ? UIOMMU_ARM_HD : 0) : 0;
	flags |= ste[2] & STE_S2AFFD ? UIOMMU_ARM_AFFD : 0;
	flags |= capabilities & UIOMMU_SMMUV3_XNX ? UIOMMU_ARM_XNX : 0;
	return (struct pgtable_config){
		.base = {smmuv3_base(ste[3] & STE_S2TTB, size)},
		.input_lg2 = {(uint8_t)(64 - FIELD_GET64(STE_S2T0SZ, ste[2]))},
		.granule_lg2 = {granule_lg2},
		.levels = granule_lg2 ? (uint8_t)stage2_levels(ste, granule_lg2, ds, output_lg2) : 0,
		.output_lg2 = size,
		.flags = flags,
	};
}

static bool decode_stage2(const uint64_t *ste, struct tables_device *out)
{
	struct pgtable_config config = stage2_config(ste, out->output_lg2, out->capabilities);

	if (stage2_illegal(ste, &config, out->output_lg2, out->capabilities))
		return false;
	out->has_stage2 = true;
	out->flags |= ste[2] & STE_S2S ? TABLES_STALL_2 : 0;
	out->flags |= ste[2] & STE_S2R ? 0 : TABLES_NO_FAULTS_2;
	return !pgtable_init(&out->stage2, &pgtable_arm_s2, &config, &out->memory);
}

/* Flags that do not depend on the stages. */
static uint32_t flags_of(const uint64_t *ste, uint32_t capabilities)
{
	unsigned int eats = effective_eats(ste, capabilities);
	uint64_t privilege = 0, instruction = 0;
	uint32_t flags = TABLES_OVERRIDE;

	if (capabilities & UIOMMU_SMMUV3_ATTR_PERMS_OVR) {
		privilege = FIELD_GET64(STE_PRIVCFG, ste[1]);
		instruction = FIELD_GET64(STE_INSTCFG, ste[1]);
	}
	flags |= privilege != OVERRIDE_OFF ? TABLES_PRIVILEGED : 0;
	flags |= privilege == OVERRIDE_ON ? TABLES_ALL_PRIVILEGED : 0;
	flags |= instruction != OVERRIDE_OFF ? TABLES_EXECUTE : 0;
	flags |= instruction == OVERRIDE_ON ? TABLES_ALL_EXECUTE : 0;
	if (eats == EATS_FULL)
		flags |= TABLES_ATS;
	else if (eats == EATS_SPLIT && capabilities & UIOMMU_SMMUV3_ATSCHK)
		flags |= TABLES_ATS | TABLES_T2GPA;
	if (capabilities & UIOMMU_SMMUV3_PRI) {
		flags |= TABLES_PRI;
		flags |= ste[1] & STE_PPAR && FIELD_GET64(UIOMMU_SMMUV3_SSIDSIZE, capabilities) ? TABLES_PRI_PASID : 0;
	}
	return flags;
}

/* False: the STE is ILLEGAL. */
static bool decode(const uint64_t *ste, struct tables_device *out)
{
	unsigned int config = (unsigned int)FIELD_GET64(STE_CONFIG, ste[0]);

	if (!(config & CONFIG_PASS)) {
		out->mode = TABLES_BLOCK;
		return true;
	}
	out->flags = flags_of(ste, out->capabilities);
	out->mode = config == CONFIG_PASS ? TABLES_PASS : TABLES_TRANSLATE;
	if (out->mode == TABLES_PASS)
		return true;
	if (common_illegal(ste, out->capabilities))
		return false;
	out->domain = out->capabilities & UIOMMU_SMMUV3_S2P ? (uint32_t)FIELD_GET64(STE_S2VMID, ste[2]) : 0;
	if (config & CONFIG_STAGE1) {
		if (stage1_illegal(ste, out->output_lg2, out->capabilities))
			return false;
		decode_stage1(ste, out);
	}
	return !(config & CONFIG_STAGE2) || decode_stage2(ste, out);
}

static bool entry(const struct tables *tables, const uint64_t *ste, struct tables_device *out, struct tables_fault *fault)
{
	*fault = (struct tables_fault){0};
	*out = (struct tables_device){
		.format = &tables_smmuv3,
		.rid_pasid = UIOMMU_NO_PASID,
		.output_lg2 = tables->config.output_lg2,
		.capabilities = tables->config.flags,
		.memory = tables->memory,
	};
	if (!(ste[0] & STE_V))
		return smmuv3_refuse(fault, UIOMMU_FAULT_UNMAPPED, UIOMMU_STRUCTURE_DEVICE, SMMUV3_C_BAD_STE);
	if (!decode(ste, out))
		return smmuv3_refuse(fault, UIOMMU_FAULT_RESERVED, UIOMMU_STRUCTURE_DEVICE, SMMUV3_C_BAD_STE);
	out->extra[0] = ste[0];
	out->extra[1] = ste[1];
	return true;
}

static bool device(const struct tables *tables, uint32_t rid, struct tables_device *out, struct tables_fault *fault)
{
	uint64_t address, ste[8];

	*fault = (struct tables_fault){0};
	if (!locate(tables, rid, &address, fault) || !read(tables, address, ste, 8, UIOMMU_STRUCTURE_DEVICE, fault))
		return false;
	return entry(tables, ste, out, fault);
}

const struct tables_format tables_smmuv3 = {
	.name = "SMMUv3",
	.pasid_modes = 1 << S1FMT_LINEAR | 1 << S1FMT_4K | 1 << S1FMT_64K,
	.check = check,
	.device = device,
	.entry = entry,
	.pasid = smmuv3_pasid,
};
