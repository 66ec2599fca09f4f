/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * RISC-V IOMMU: device directory, device context (DC), process directory, process context (PC).
 *
 * Nothing but V is looked at in an entry that is not valid. In a valid one reserved bits and values, and what is not offered, make
 * it misconfigured. Addresses are judged when they are used.
 *
 * DTF of a DC hides what is found from there on, but not what is wrong with the DC itself.
 */
#include <errno.h>

#include "pgtable/riscv.h"
#include "translate/tables/riscv.h"
#include "translate/tables/tables.h"
#include "util/bits.h"
#include "util/util.h"

/* Non-leaf entries of both directories. */
#define NL_V BIT64(0)
#define NL_PPN GENMASK64(53, 10)

/* DC.tc */
#define TC_V BIT64(0)
#define TC_EN_ATS BIT64(1)
#define TC_EN_PRI BIT64(2)
#define TC_T2GPA BIT64(3)
#define TC_DTF BIT64(4)
#define TC_PDTV BIT64(5)
#define TC_PRPR BIT64(6)
#define TC_GADE BIT64(7)
#define TC_SADE BIT64(8)
#define TC_DPE BIT64(9)
#define TC_SBE BIT64(10)
#define TC_SXL BIT64(11)
#define TC_RESERVED (GENMASK64(23, 12) | GENMASK64(63, 32)) /* between them: custom */

/* iohgatp, iosatp, pdtp, msiptp */
#define PPN GENMASK64(43, 0)
#define GSCID GENMASK64(59, 44) /* iohgatp; otherwise reserved */
#define MODE GENMASK64(63, 60)

/* DC.ta and PC.ta */
#define TA_PSCID GENMASK64(31, 12)
#define DC_TA_RESERVED (GENMASK64(11, 0) | GENMASK64(39, 32))
#define DC_TA_QOS GENMASK64(63, 40)
#define PC_TA_V BIT64(0)
#define PC_TA_ENS BIT64(1)
#define PC_TA_SUM BIT64(2)
#define PC_TA_RESERVED (GENMASK64(11, 3) | GENMASK64(63, 32))

/* A DC's words. */
enum { DC_TC, DC_IOHGATP, DC_TA, DC_FSC, DC_MSIPTP, DC_MSI_MASK, DC_MSI_PATTERN, DC_RESERVED, DC_WORDS };

enum { MSIPTP_OFF = 0, MSIPTP_FLAT = 1 };
enum { LAST_PD = 3 };

static const uint8_t pd_bits[] = {0, 8, 17, 20}; /* pdtp.MODE: widths of process ids */

static int check(const struct tables *tables)
{
	const struct tables_config *config = &tables->config;

	if (config->output_lg2 < 34 || config->output_lg2 > 56)
		return -EINVAL;
	if (config->base & (low_mask(12) | ~low_mask(56)))
		return -EINVAL;
	return config->mode <= UIOMMU_RVIOMMU_3LVL ? 0 : -EINVAL;
}

static bool refuse(struct tables_fault *fault, uint8_t reason, uint8_t structure, unsigned int level, uint32_t detail)
{
	fault->level = (uint8_t)level;
	return tables_refuse(fault, reason, structure, detail);
}

/* --- from the device id to the DC --- */

static bool read_ddt(const struct tables *tables, uint64_t address, uint64_t *words, unsigned int count, unsigned int level,
		     struct tables_fault *fault)
{
	uint8_t structure = level ? UIOMMU_STRUCTURE_DEVICE_DIR : UIOMMU_STRUCTURE_DEVICE;

	fault->structure = structure;
	if (address >> tables->config.output_lg2) {
		fault->reason = UIOMMU_FAULT_MEMORY;
		fault->table = true;
	} else if (tables_read(&tables->memory, NULL, address, words, count, fault)) {
		return true;
	}
	return refuse(fault, fault->reason, structure, level, RVIOMMU_CAUSE_DDT_ACCESS);
}

/* Copy the DC: 4 words, or 8. */
static bool locate_dc(const struct tables *tables, uint32_t id, uint64_t *dc, struct tables_fault *fault)
{
	bool extended = tables->config.flags & UIOMMU_RVIOMMU_MSI_FLAT;
	unsigned int top = tables->config.mode - UIOMMU_RVIOMMU_1LVL, leaf_bits = extended ? 6 : 7, words = extended ? 8 : 4;
	uint64_t table = tables->config.base, entry;

	/* Neither format has more than 24 bits. */
	if (id >> (top == 2 ? 24 : leaf_bits + 9 * top))
		return refuse(fault, UIOMMU_FAULT_RANGE, top ? UIOMMU_STRUCTURE_DEVICE_DIR : UIOMMU_STRUCTURE_DEVICE, top,
			      RVIOMMU_CAUSE_DISALLOWED);
	for (unsigned int level = top; level; level--) {
		uint64_t index = id >> (leaf_bits + 9 * (level - 1)) & low_mask(9);

		if (!read_ddt(tables, table + index * 8, &entry, 1, level, fault))
			return false;
		if (!(entry & NL_V))
			return refuse(fault, UIOMMU_FAULT_UNMAPPED, UIOMMU_STRUCTURE_DEVICE_DIR, level, RVIOMMU_CAUSE_DDT_INVALID);
		if (entry & ~(NL_V | NL_PPN))
			return refuse(fault, UIOMMU_FAULT_RESERVED, UIOMMU_STRUCTURE_DEVICE_DIR, level,
				      RVIOMMU_CAUSE_DDT_MISCONFIGURED);
		table = FIELD_GET64(NL_PPN, entry) << 12;
	}
	return read_ddt(tables, table + (id & low_mask(leaf_bits)) * words * 8, dc, words, 0, fault);
}

/* --- what the DC says --- */

/* Width of the first stage's input for iosatp.MODE; 0: reserved or not offered. Not for Bare. */
static unsigned int first_lg2(uint64_t mode, bool sxl, uint32_t capabilities)
{
	static const struct {
		uint8_t lg2;
		uint32_t needs;
	} modes[] = {{39, UIOMMU_RVIOMMU_SV39}, {48, UIOMMU_RVIOMMU_SV48}, {57, UIOMMU_RVIOMMU_SV57}};

	if (sxl)
		return mode == 8 && capabilities & UIOMMU_RVIOMMU_SV32 ? 32 : 0;
	if (mode < 8 || mode > 10 || !(capabilities & modes[mode - 8].needs))
		return 0;
	return modes[mode - 8].lg2;
}

/* The same of iohgatp.MODE. */
static unsigned int second_lg2(uint64_t mode, uint32_t capabilities)
{
	static const struct {
		uint8_t lg2;
		uint32_t needs;
	} modes[] = {{41, UIOMMU_RVIOMMU_SV39X4}, {50, UIOMMU_RVIOMMU_SV48X4}, {59, UIOMMU_RVIOMMU_SV57X4}};

	if (capabilities & UIOMMU_RVIOMMU_GXL)
		return mode == 8 && capabilities & UIOMMU_RVIOMMU_SV32X4 ? 34 : 0;
	if (mode < 8 || mode > 10 || !(capabilities & modes[mode - 8].needs))
		return 0;
	return modes[mode - 8].lg2;
}

/* iosatp, of a DC or a PC. */
static bool iosatp_wrong(uint64_t iosatp, bool sxl, uint32_t capabilities)
{
	uint64_t mode = FIELD_GET64(MODE, iosatp);

	return iosatp & GSCID || (mode && !first_lg2(mode, sxl, capabilities));
}

static bool tc_wrong(uint64_t tc, uint32_t capabilities)
{
	bool sxl = tc & TC_SXL;

	if (tc & TC_RESERVED)
		return true;
	if (tc & (TC_EN_ATS | TC_EN_PRI | TC_PRPR) && !(capabilities & UIOMMU_RVIOMMU_ATS))
		return true;
	if (tc & (TC_T2GPA | TC_EN_PRI) && !(tc & TC_EN_ATS))
		return true;
	if (tc & TC_PRPR && !(tc & TC_EN_PRI))
		return true;
	if (tc & TC_T2GPA && !(capabilities & UIOMMU_RVIOMMU_T2GPA))
		return true;
	if (tc & TC_DPE && !(tc & TC_PDTV))
		return true;
	if (tc & (TC_SADE | TC_GADE) && !(capabilities & UIOMMU_RVIOMMU_AMO_HWAD))
		return true;
	if (tc & TC_SBE) /* fctl.BE is 0 and stays so */
		return true;
	return capabilities & UIOMMU_RVIOMMU_GXL ? !sxl : sxl && !(capabilities & UIOMMU_RVIOMMU_GXL_WRITABLE);
}

static bool fsc_wrong(uint64_t tc, uint64_t fsc, uint32_t capabilities)
{
	static const uint32_t needs[LAST_PD + 1] = {0, UIOMMU_RVIOMMU_PD8, UIOMMU_RVIOMMU_PD17, UIOMMU_RVIOMMU_PD20};
	uint64_t mode = FIELD_GET64(MODE, fsc);

	if (!(tc & TC_PDTV))
		return iosatp_wrong(fsc, tc & TC_SXL, capabilities);
	return fsc & GSCID || mode > LAST_PD || (capabilities & needs[mode]) != needs[mode];
}

/* Bits of mask and pattern that there is no guest address for. */
static uint64_t msi_reserved(const struct tables_device *device)
{
	static const struct {
		uint32_t flag;
		uint8_t lg2;
	} widths[] = {
		{UIOMMU_RVIOMMU_SV57X4, 59}, {UIOMMU_RVIOMMU_SV48X4, 50}, {UIOMMU_RVIOMMU_SV39X4, 41}, {UIOMMU_RVIOMMU_SV32X4, 34}};

	for (unsigned int i = 0; i < 4; i++)
		if (device->capabilities & widths[i].flag)
			return ~low_mask(widths[i].lg2 - 12U);
	return ~low_mask(device->output_lg2 - 12U);
}

static bool msi_wrong(const struct tables_device *device, const uint64_t *dc)
{
	uint64_t mode = FIELD_GET64(MODE, dc[DC_MSIPTP]);

	if (dc[DC_MSIPTP] & GSCID || (dc[DC_MSI_MASK] | dc[DC_MSI_PATTERN]) & msi_reserved(device) || dc[DC_RESERVED])
		return true;
	return mode > MSIPTP_FLAT || (mode && !FIELD_GET64(MODE, dc[DC_IOHGATP]));
}

static bool dc_wrong(const struct tables_device *device, const uint64_t *dc)
{
	uint32_t capabilities = device->capabilities;
	uint64_t mode = FIELD_GET64(MODE, dc[DC_IOHGATP]);

	if (tc_wrong(dc[DC_TC], capabilities) || fsc_wrong(dc[DC_TC], dc[DC_FSC], capabilities))
		return true;
	if (dc[DC_TA] & (DC_TA_RESERVED | (capabilities & UIOMMU_RVIOMMU_QOSID ? 0 : DC_TA_QOS)))
		return true;
	if (mode ? !second_lg2(mode, capabilities) || dc[DC_IOHGATP] & 3 : dc[DC_TC] & TC_T2GPA)
		return true;
	return capabilities & UIOMMU_RVIOMMU_MSI_FLAT && msi_wrong(device, dc);
}

static uint32_t stage_flags(bool sets, uint32_t capabilities)
{
	return UIOMMU_RISCV_SVNAPOT | (sets ? UIOMMU_RISCV_ADUE : 0) |
	       (capabilities & UIOMMU_RVIOMMU_SVPBMT ? UIOMMU_RISCV_SVPBMT : 0);
}

static uint32_t flags_of(uint64_t tc)
{
	static const struct {
		uint64_t bit;
		uint32_t flag;
	} bits[] = {
		{TC_EN_ATS, TABLES_ATS},    {TC_EN_PRI, TABLES_PRI},  {TC_T2GPA, TABLES_T2GPA},
		{TC_DTF, TABLES_NO_FAULTS}, {TC_PDTV, TABLES_PASIDS}, {TC_PRPR, TABLES_PRI_PASID},
	};
	uint32_t flags = TABLES_PRIVILEGED | TABLES_EXECUTE; /* a PC may take PRIVILEGED away */

	for (unsigned int i = 0; i < sizeof(bits) / sizeof(bits[0]); i++)
		flags |= tc & bits[i].bit ? bits[i].flag : 0;
	return flags;
}

static bool decode_stage2(uint64_t iohgatp, uint64_t tc, struct tables_device *out)
{
	struct pgtable_config config = {
		.base = {FIELD_GET64(PPN, iohgatp) << 12},
		.input_lg2 = {(uint8_t)second_lg2(FIELD_GET64(MODE, iohgatp), out->capabilities)},
		.output_lg2 = out->output_lg2,
		.flags = stage_flags(tc & TC_GADE, out->capabilities),
	};

	out->has_stage2 = true;
	out->domain = (uint32_t)FIELD_GET64(GSCID, iohgatp);
	return !pgtable_init(&out->stage2, &pgtable_riscv_second, &config, &out->memory);
}

/* False: misconfigured. */
static bool decode(const uint64_t *dc, struct tables_device *out)
{
	uint64_t tc = dc[DC_TC], mode = FIELD_GET64(MODE, dc[DC_FSC]);

	if (dc_wrong(out, dc))
		return false;
	out->flags = flags_of(tc);
	out->extra[0] = dc[DC_FSC];
	out->extra[1] = (tc & low_mask(12)) | (dc[DC_TA] & TA_PSCID);
	if (tc & TC_PDTV && tc & TC_DPE)
		out->rid_pasid = 0;
	if (tc & TC_PDTV) {
		out->has_pasid_table = mode;
		out->pasid_mode = (uint8_t)mode;
		out->pasid_bits = mode ? pd_bits[mode] : UIOMMU_PASID_BITS; /* Bare takes no notice of them */
		out->pasid_table = FIELD_GET64(PPN, dc[DC_FSC]) << 12;
	}
	if (out->capabilities & UIOMMU_RVIOMMU_MSI_FLAT && FIELD_GET64(MODE, dc[DC_MSIPTP]))
		for (unsigned int i = 0; i < 3; i++)
			out->msi[i] = dc[DC_MSIPTP + i];
	if (FIELD_GET64(MODE, dc[DC_IOHGATP]) && !decode_stage2(dc[DC_IOHGATP], tc, out))
		return false;
	out->mode = out->has_stage2 || mode ? TABLES_TRANSLATE : TABLES_PASS;
	return true;
}

static bool device(const struct tables *tables, uint32_t rid, struct tables_device *out, struct tables_fault *fault)
{
	uint64_t dc[DC_WORDS] = {0};

	*fault = (struct tables_fault){0};
	*out = (struct tables_device){
		.format = &tables_riscv,
		.rid_pasid = UIOMMU_NO_PASID,
		.output_lg2 = tables->config.output_lg2,
		.capabilities = tables->config.flags,
		.memory = tables->memory,
	};
	if (tables->config.mode == UIOMMU_RVIOMMU_OFF)
		return refuse(fault, UIOMMU_FAULT_BLOCKED, UIOMMU_STRUCTURE_DEVICE_DIR, 0, RVIOMMU_CAUSE_OFF);
	if (tables->config.mode == UIOMMU_RVIOMMU_BARE) {
		out->mode = TABLES_PASS;
		out->flags = TABLES_PASIDS | TABLES_PRIVILEGED | TABLES_EXECUTE;
		out->pasid_bits = UIOMMU_PASID_BITS;
		return true;
	}
	if (!locate_dc(tables, rid, dc, fault))
		return false;
	if (!(dc[DC_TC] & TC_V))
		return refuse(fault, UIOMMU_FAULT_UNMAPPED, UIOMMU_STRUCTURE_DEVICE, 0, RVIOMMU_CAUSE_DDT_INVALID);
	if (!decode(dc, out))
		return refuse(fault, UIOMMU_FAULT_RESERVED, UIOMMU_STRUCTURE_DEVICE, 0, RVIOMMU_CAUSE_DDT_MISCONFIGURED);
	return true;
}

/* --- from there and the process id to the stages --- */

/* Access faults of stage 2 are those of the PDT's entry; others are its own. */
static uint32_t pdt_cause(const struct tables_fault *fault)
{
	if (fault->stage != 2 || fault->reason == UIOMMU_FAULT_MEMORY || fault->reason == UIOMMU_FAULT_UPDATE ||
	    fault->reason == UIOMMU_FAULT_OUTPUT)
		return RVIOMMU_CAUSE_PDT_ACCESS;
	return RVIOMMU_CAUSE_GUEST_PAGE;
}

static bool read_pdt(const struct tables_device *device, uint64_t address, uint64_t *words, unsigned int count, unsigned int level,
		     struct tables_fault *fault)
{
	const struct pgtable *stage2 = device->has_stage2 ? &device->stage2 : NULL;

	fault->structure = level ? UIOMMU_STRUCTURE_PASID_DIR : UIOMMU_STRUCTURE_PASID;
	if (!stage2 && address >> device->output_lg2) {
		fault->reason = UIOMMU_FAULT_MEMORY;
		fault->table = true;
	} else if (tables_read(&device->memory, stage2, address, words, count, fault)) {
		return true;
	}
	return refuse(fault, fault->reason, fault->structure, level, pdt_cause(fault));
}

static bool locate_pc(const struct tables_device *device, uint32_t id, uint64_t *pc, struct tables_fault *fault)
{
	uint64_t table = device->pasid_table, entry;

	for (unsigned int level = device->pasid_mode - 1U; level; level--) {
		uint64_t index = id >> (8 + 9 * (level - 1)) & low_mask(9);

		if (!read_pdt(device, table + index * 8, &entry, 1, level, fault))
			return false;
		if (!(entry & NL_V))
			return refuse(fault, UIOMMU_FAULT_UNMAPPED, UIOMMU_STRUCTURE_PASID_DIR, level, RVIOMMU_CAUSE_PDT_INVALID);
		if (entry & ~(NL_V | NL_PPN))
			return refuse(fault, UIOMMU_FAULT_RESERVED, UIOMMU_STRUCTURE_PASID_DIR, level,
				      RVIOMMU_CAUSE_PDT_MISCONFIGURED);
		table = FIELD_GET64(NL_PPN, entry) << 12;
	}
	return read_pdt(device, table + (id & 0xff) * 16, pc, 2, 0, fault);
}

/* @iosatp has been checked. @ta: PSCID and SUM. */
static void first_stage(const struct tables_device *device, uint64_t iosatp, uint64_t ta, bool sum, struct tables_entry *out)
{
	uint64_t mode = FIELD_GET64(MODE, iosatp), tc = device->extra[1];

	if (!mode)
		return;
	out->has_stage1 = true;
	out->asid = (uint32_t)FIELD_GET64(TA_PSCID, ta);
	out->stage1_format = &pgtable_riscv_first;
	/* What stage 2 does not take is its fault. */
	out->stage1 = (struct pgtable_config){
		.base = {FIELD_GET64(PPN, iosatp) << 12},
		.input_lg2 = {(uint8_t)first_lg2(mode, tc & TC_SXL, device->capabilities)},
		.output_lg2 = device->has_stage2 ? 56 : device->output_lg2,
		.flags = stage_flags(tc & TC_SADE, device->capabilities) | (sum ? UIOMMU_RISCV_SUM : 0),
	};
}

static bool with_pc(const struct tables_device *device, uint32_t pasid, struct tables_entry *out, struct tables_fault *fault)
{
	uint64_t pc[2];

	if (!locate_pc(device, pasid, pc, fault))
		return false;
	if (!(pc[0] & PC_TA_V))
		return refuse(fault, UIOMMU_FAULT_UNMAPPED, UIOMMU_STRUCTURE_PASID, 0, RVIOMMU_CAUSE_PDT_INVALID);
	if (pc[0] & PC_TA_RESERVED || iosatp_wrong(pc[1], device->extra[1] & TC_SXL, device->capabilities))
		return refuse(fault, UIOMMU_FAULT_RESERVED, UIOMMU_STRUCTURE_PASID, 0, RVIOMMU_CAUSE_PDT_MISCONFIGURED);
	if (!(pc[0] & PC_TA_ENS))
		out->flags &= ~(uint32_t)TABLES_PRIVILEGED;
	first_stage(device, pc[1], pc[0], pc[0] & PC_TA_SUM, out);
	return true;
}

static bool pasid(const struct tables_device *device, uint32_t pasid, struct tables_entry *out, struct tables_fault *fault)
{
	bool implied = pasid == UIOMMU_NO_PASID;

	*fault = (struct tables_fault){.quiet = device->flags & TABLES_NO_FAULTS};
	*out = (struct tables_entry){
		.flags = device->flags,
		.domain = device->domain,
		.asid = UIOMMU_NO_PASID,
		.pasid = UIOMMU_NO_PASID,
	};
	if (!implied && !(device->flags & TABLES_PASIDS))
		return refuse(fault, UIOMMU_FAULT_BLOCKED, UIOMMU_STRUCTURE_DEVICE, 0, RVIOMMU_CAUSE_DISALLOWED);
	if (!implied && pasid >> device->pasid_bits)
		return refuse(fault, UIOMMU_FAULT_RANGE, UIOMMU_STRUCTURE_DEVICE, 0, RVIOMMU_CAUSE_DISALLOWED);
	if (implied) { /* they are a user's */
		pasid = device->rid_pasid;
		out->flags = (out->flags & ~(uint32_t)TABLES_PRIVILEGED) | TABLES_OVERRIDE;
	}
	if (device->has_stage2) {
		out->has_stage2 = true;
		out->stage2_format = device->stage2.format;
		out->stage2 = device->stage2.config;
	}
	if (!(device->flags & TABLES_PASIDS))
		first_stage(device, device->extra[0], device->extra[1], false, out);
	else if (device->has_pasid_table && pasid != UIOMMU_NO_PASID && !with_pc(device, pasid, out, fault))
		return false;
	out->mode = out->has_stage1 || out->has_stage2 ? TABLES_TRANSLATE : TABLES_PASS;
	return true;
}

const struct tables_format tables_riscv = {
	.name = "RISC-V",
	.pasid_modes = 0xe, /* PD8, PD17, PD20 */
	.check = check,
	.device = device,
	.pasid = pasid,
};
