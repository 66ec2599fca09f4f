/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * VT-d: root, context and PASID tables of legacy and scalable mode.
 *
 * Nothing but FPD is looked at in an entry that is not present. In a present one reserved bits come first, then values. Fields that
 * belong to what is not offered are reserved; those that the translation type does not use are ignored.
 *
 * FPD of a context, directory or PASID entry hides the faults that are found from there on, except that an entry could not be read:
 * those conditions are not qualified (7.1.3).
 */
#include <errno.h>

#include "pgtable/vtd.h"
#include "translate/tables/tables.h"
#include "translate/tables/vtd.h"
#include "util/bits.h"
#include "util/util.h"

#define PRESENT BIT64(0)
#define FPD BIT64(1)
#define ADDRESS GENMASK64(63, 12)

/* Legacy context entry. */
#define TT GENMASK64(3, 2)
#define AW GENMASK64(2, 0) /* word 1 */
#define DID GENMASK64(23, 8) /* word 1 */

/* Scalable context entry. */
#define DTE BIT64(2)
#define PASIDE BIT64(3)
#define PRE BIT64(4)
#define PDTS GENMASK64(11, 9)
#define RID_PASID GENMASK64(19, 0) /* word 1 */
#define RID_PRIV BIT64(20) /* word 1 */

/* PASID table entry. Word 0: */
#define PASID_AW GENMASK64(4, 2)
#define SECOND_EXECUTE BIT64(5)
#define PGTT GENMASK64(8, 6)
#define SSADE BIT64(9)
/* Word 1: */
#define PASID_DID GENMASK64(15, 0)
#define PWSNP BIT64(23)
#define PGSNP BIT64(24)
/* Word 2: */
#define SRE BIT64(0)
#define ERE BIT64(1)
#define FSPM GENMASK64(3, 2)
#define WPE BIT64(4)
#define NXE BIT64(5)
#define SMEP BIT64(6)
#define EAFE BIT64(7)

enum { TT_UNTRANSLATED, TT_ALL, TT_PASS };
enum { PGTT_FIRST = 1, PGTT_SECOND = 2, PGTT_NESTED = 3, PGTT_PASS = 4 };
enum { PASID_BITS_LEAST = 13 }; /* PDTS 0: 128 tables of 64 */

/* What an entry is called in a fault. */
struct kind {
	uint8_t words;
	uint8_t structure;
	uint8_t access;
	uint8_t absent;
	uint8_t reserved;
	bool fpd; /* has one */
};

static const struct kind legacy_root = {
	2, UIOMMU_STRUCTURE_DEVICE_DIR, VTD_FAULT_ROOT_ACCESS, VTD_FAULT_ROOT_ABSENT, VTD_FAULT_ROOT_RESERVED, false};
static const struct kind legacy_context = {
	2, UIOMMU_STRUCTURE_DEVICE, VTD_FAULT_CONTEXT_ACCESS, VTD_FAULT_CONTEXT_ABSENT, VTD_FAULT_CONTEXT_RESERVED, true};
static const struct kind scalable_root = {
	1, UIOMMU_STRUCTURE_DEVICE_DIR, VTD_FAULT_SM_ROOT_ACCESS, VTD_FAULT_SM_ROOT_ABSENT, VTD_FAULT_SM_ROOT_RESERVED, false};
static const struct kind scalable_context = {
	4, UIOMMU_STRUCTURE_DEVICE, VTD_FAULT_SM_CONTEXT_ACCESS, VTD_FAULT_SM_CONTEXT_ABSENT, VTD_FAULT_SM_CONTEXT_RESERVED, true};
static const struct kind directory = {
	1, UIOMMU_STRUCTURE_PASID_DIR, VTD_FAULT_DIRECTORY_ACCESS, VTD_FAULT_DIRECTORY_ABSENT, VTD_FAULT_DIRECTORY_RESERVED, true};
static const struct kind pasid_entry = {
	8, UIOMMU_STRUCTURE_PASID, VTD_FAULT_PASID_ACCESS, VTD_FAULT_PASID_ABSENT, VTD_FAULT_PASID_RESERVED, true};

/* The table's address is in the memory, or it is not: reading it tells. */
static int check(const struct tables *tables)
{
	const struct tables_config *config = &tables->config;
	uint32_t flags = config->flags, nested = UIOMMU_VTD_TABLES_FIRST | UIOMMU_VTD_TABLES_SECOND;

	if (config->output_lg2 < 32 || config->output_lg2 > 52)
		return -EINVAL;
	if (config->base & (low_mask(12) | ~low_mask(config->output_lg2)))
		return -EINVAL;
	if (FIELD_GET64(UIOMMU_VTD_TABLES_PSS, flags) >= UIOMMU_PASID_BITS || FIELD_GET64(UIOMMU_VTD_TABLES_DOMAINS, flags) > 6)
		return -EINVAL;
	if (flags & UIOMMU_VTD_TABLES_NESTED && (flags & nested) != nested)
		return -EINVAL;
	switch (config->mode) {
	case UIOMMU_VTD_TABLES_LEGACY:
		return 0;
	case UIOMMU_VTD_TABLES_SCALABLE:
		return flags & UIOMMU_VTD_TABLES_SMTS ? 0 : -EOPNOTSUPP;
	case UIOMMU_VTD_TABLES_ABORT:
		return flags & UIOMMU_VTD_TABLES_ADMS ? 0 : -EOPNOTSUPP;
	default:
		return -EINVAL;
	}
}

/* For what a value says, not a reserved bit. */
static bool refuse_value(struct tables_fault *fault, uint8_t reason, uint8_t structure, uint32_t detail)
{
	fault->flags = UIOMMU_FAULT_VALUE;
	return tables_refuse(fault, reason, structure, detail);
}

/* Copy the entry and judge what is the same for all: present, and none of the @reserved bits. @quiet gathers FPD. */
static bool fetch(const struct pgtable_memory *memory, uint64_t address, const struct kind *kind, const uint64_t *reserved,
		  uint64_t *words, bool *quiet, struct tables_fault *fault)
{
	fault->quiet = false;
	fault->structure = kind->structure;
	if (!tables_read(memory, NULL, address, words, kind->words, fault))
		return tables_refuse(fault, fault->reason, kind->structure, kind->access);
	*quiet |= kind->fpd && words[0] & FPD;
	fault->quiet = *quiet;
	if (!(words[0] & PRESENT))
		return tables_refuse(fault, UIOMMU_FAULT_UNMAPPED, kind->structure, kind->absent);
	for (unsigned int i = 0; i < kind->words; i++)
		if (words[i] & reserved[i])
			return tables_refuse(fault, UIOMMU_FAULT_RESERVED, kind->structure, kind->reserved);
	fault->quiet = false;
	return true;
}

/* Levels of a second stage with the address width @aw; 0: undefined or not supported. */
static unsigned int levels_of(uint64_t aw, uint32_t capabilities)
{
	/* From 1 on the values are in the order of the flags. */
	if (aw < 1 || aw > 3 || !(capabilities & (uint32_t)UIOMMU_VTD_TABLES_3_LEVEL << (aw - 1)))
		return 0;
	return (unsigned int)aw + 2;
}

/* Bits beyond the width are ignored. */
static uint32_t domain_of(uint64_t did, uint32_t capabilities)
{
	return (uint32_t)(did & low_mask((unsigned int)(4 + 2 * FIELD_GET64(UIOMMU_VTD_TABLES_DOMAINS, capabilities))));
}

static struct pgtable_config second_stage(uint64_t base, unsigned int levels, unsigned int output_lg2, uint32_t capabilities)
{
	uint32_t flags = 0;

	flags |= capabilities & UIOMMU_VTD_TABLES_SNOOP ? UIOMMU_VTD_SECOND_SNOOP : 0;
	flags |= capabilities & UIOMMU_VTD_TABLES_SECOND_2M ? UIOMMU_VTD_SECOND_2M : 0;
	flags |= capabilities & UIOMMU_VTD_TABLES_SECOND_1G ? UIOMMU_VTD_SECOND_1G : 0;
	return (struct pgtable_config){
		.base = {base & ADDRESS}, .levels = (uint8_t)levels, .output_lg2 = (uint8_t)output_lg2, .flags = flags};
}

/* --- from the requester id to the device --- */

static bool legacy_device(const struct tables *tables, uint32_t rid, struct tables_device *out, struct tables_fault *fault)
{
	const struct tables_config *config = &tables->config;
	const uint64_t beyond = ~low_mask(config->output_lg2);
	const uint64_t root_reserved[2] = {beyond | GENMASK64(11, 1), UINT64_MAX};
	const uint64_t reserved[2] = {beyond | GENMASK64(11, 4), GENMASK64(63, 24) | BIT64(7)};
	static const uint32_t needs[4] = {[TT_ALL] = UIOMMU_VTD_TABLES_ATS, [TT_PASS] = UIOMMU_VTD_TABLES_PASS};
	struct pgtable_config second;
	uint64_t root[2], context[2], tt;
	unsigned int levels;
	bool quiet = false;

	if (!fetch(&tables->memory, config->base + (rid >> 8) * 16, &legacy_root, root_reserved, root, &quiet, fault))
		return false;
	if (!fetch(&tables->memory, (root[0] & ADDRESS) + (rid & 0xff) * 16, &legacy_context, reserved, context, &quiet, fault))
		return false;
	tt = FIELD_GET64(TT, context[0]);
	levels = levels_of(FIELD_GET64(AW, context[1]), config->flags);
	fault->quiet = quiet;
	if (!levels || tt > TT_PASS || (config->flags & needs[tt]) != needs[tt])
		return refuse_value(fault, UIOMMU_FAULT_RESERVED, UIOMMU_STRUCTURE_DEVICE, VTD_FAULT_CONTEXT_INVALID);
	out->flags = (quiet ? TABLES_NO_FAULTS : 0) | (tt == TT_ALL ? TABLES_ATS : 0);
	out->domain = domain_of(FIELD_GET64(DID, context[1]), config->flags);
	out->rid_pasid = UIOMMU_NO_PASID;
	out->mode = tt == TT_PASS ? TABLES_PASS : TABLES_TRANSLATE;
	out->has_stage2 = tt != TT_PASS;
	second = second_stage(context[0], levels, config->output_lg2, config->flags);
	if (out->has_stage2 && pgtable_init(&out->stage2, &pgtable_vtd_second, &second, &tables->memory))
		return refuse_value(fault, UIOMMU_FAULT_RESERVED, UIOMMU_STRUCTURE_DEVICE, VTD_FAULT_CONTEXT_INVALID);
	fault->quiet = false;
	return true;
}

static void scalable_context_reserved(const struct tables_config *config, uint64_t *reserved)
{
	reserved[0] = ~low_mask(config->output_lg2) | GENMASK64(8, 5);
	reserved[0] |= config->flags & UIOMMU_VTD_TABLES_ATS ? 0 : DTE;
	reserved[0] |= config->flags & UIOMMU_VTD_TABLES_PASID ? 0 : PASIDE;
	reserved[0] |= config->flags & UIOMMU_VTD_TABLES_PRI ? 0 : PRE;
	reserved[1] = GENMASK64(63, 21) | (config->flags & UIOMMU_VTD_TABLES_RID_PRIV ? 0 : RID_PRIV);
	reserved[2] = reserved[3] = UINT64_MAX;
}

static bool scalable_device(const struct tables *tables, uint32_t rid, struct tables_device *out, struct tables_fault *fault)
{
	const struct tables_config *config = &tables->config;
	const uint64_t root_reserved = ~low_mask(config->output_lg2) | GENMASK64(11, 1);
	uint64_t root, context[4], reserved[4];
	bool quiet = false;

	/* Each half of the root entry has the table of 128 device functions. */
	if (!fetch(&tables->memory, config->base + (rid >> 7) * 8, &scalable_root, &root_reserved, &root, &quiet, fault))
		return false;
	scalable_context_reserved(config, reserved);
	if (!fetch(&tables->memory, (root & ADDRESS) + (rid & 0x7f) * 32, &scalable_context, reserved, context, &quiet, fault))
		return false;
	out->flags = quiet ? TABLES_NO_FAULTS : 0;
	out->flags |= context[0] & DTE ? TABLES_ATS : 0;
	out->flags |= context[0] & PASIDE ? TABLES_PASIDS : 0;
	out->flags |= context[0] & PRE ? TABLES_PRI : 0;
	out->flags |= context[1] & RID_PRIV ? TABLES_RID_PRIVILEGED : 0;
	out->mode = TABLES_TRANSLATE;
	out->has_pasid_table = true;
	out->pasid_table = context[0] & ADDRESS;
	out->pasid_bits = (uint8_t)min_u64(PASID_BITS_LEAST + FIELD_GET64(PDTS, context[0]),
					   FIELD_GET64(UIOMMU_VTD_TABLES_PSS, config->flags) + 1);
	out->rid_pasid = config->flags & UIOMMU_VTD_TABLES_RID_PASID ? (uint32_t)FIELD_GET64(RID_PASID, context[1]) : 0;
	if (out->rid_pasid >> out->pasid_bits || (context[0] & (DTE | PRE)) == PRE) {
		fault->quiet = quiet;
		return refuse_value(fault, UIOMMU_FAULT_RESERVED, UIOMMU_STRUCTURE_DEVICE, VTD_FAULT_SM_CONTEXT_INVALID);
	}
	return true;
}

static bool device(const struct tables *tables, uint32_t rid, struct tables_device *out, struct tables_fault *fault)
{
	*fault = (struct tables_fault){0};
	*out = (struct tables_device){
		.format = &tables_vtd,
		.rid_pasid = UIOMMU_NO_PASID,
		.output_lg2 = tables->config.output_lg2,
		.capabilities = tables->config.flags,
		.memory = tables->memory,
	};
	if (rid > UINT16_MAX)
		return tables_refuse(fault, UIOMMU_FAULT_RANGE, UIOMMU_STRUCTURE_DEVICE_DIR, VTD_FAULT_ROOT_ABSENT);
	switch (tables->config.mode) {
	case UIOMMU_VTD_TABLES_LEGACY:
		return legacy_device(tables, rid, out, fault);
	case UIOMMU_VTD_TABLES_SCALABLE:
		if (tables->config.flags & UIOMMU_VTD_TABLES_SMTS)
			return scalable_device(tables, rid, out, fault);
		break;
	case UIOMMU_VTD_TABLES_ABORT:
		if (tables->config.flags & UIOMMU_VTD_TABLES_ADMS)
			return refuse_value(fault, UIOMMU_FAULT_BLOCKED, UIOMMU_STRUCTURE_DEVICE_DIR, VTD_FAULT_ABORT_MODE);
		break;
	default:
		break;
	}
	return refuse_value(fault, UIOMMU_FAULT_RESERVED, UIOMMU_STRUCTURE_DEVICE_DIR, VTD_FAULT_ROOT_MODE);
}

/* --- from there and the PASID to the stages --- */

static void pasid_reserved(const struct tables_device *device, uint64_t *reserved)
{
	uint32_t capabilities = device->capabilities;
	uint64_t beyond = ~low_mask(device->output_lg2);

	reserved[0] = beyond | GENMASK64(11, 10);
	reserved[0] |= capabilities & UIOMMU_VTD_TABLES_EXECUTE ? 0 : SECOND_EXECUTE;
	reserved[0] |= capabilities & UIOMMU_VTD_TABLES_SECOND_AD ? 0 : SSADE;
	/* Memory types (CD, EMTE, PAT) are not offered. */
	reserved[1] = ~(PASID_DID | PWSNP | PGSNP);
	reserved[1] |= capabilities & UIOMMU_VTD_TABLES_WALK_SNOOP ? 0 : PWSNP;
	reserved[1] |= capabilities & UIOMMU_VTD_TABLES_SNOOP ? 0 : PGSNP;
	reserved[2] = beyond | GENMASK64(11, 8);
	reserved[2] |= capabilities & UIOMMU_VTD_TABLES_SUPERVISOR ? 0 : SRE;
	reserved[2] |= capabilities & UIOMMU_VTD_TABLES_EXECUTE ? 0 : ERE;
	reserved[2] |= capabilities & UIOMMU_VTD_TABLES_EXTENDED_ACCESSED ? 0 : EAFE;
	reserved[2] |= capabilities & UIOMMU_VTD_TABLES_FIRST ? 0 : FSPM | WPE | ADDRESS;
	for (unsigned int i = 3; i < 8; i++)
		reserved[i] = UINT64_MAX;
}

static bool first_stage(const struct tables_device *device, const uint64_t *words, struct tables_entry *out)
{
	uint32_t capabilities = device->capabilities, flags = 0;
	uint64_t mode = FIELD_GET64(FSPM, words[2]);
	bool executes = capabilities & UIOMMU_VTD_TABLES_EXECUTE;

	if (mode > 1 || (mode == 1 && !(capabilities & UIOMMU_VTD_TABLES_FIRST_5)))
		return false;
	flags |= words[2] & WPE ? UIOMMU_VTD_FIRST_WPE : 0;
	flags |= !executes || words[2] & NXE ? UIOMMU_VTD_FIRST_NXE : 0; /* where nothing executes, XD forbids nothing */
	flags |= executes && words[2] & SMEP ? UIOMMU_VTD_FIRST_SMEP : 0;
	flags |= words[2] & EAFE ? UIOMMU_VTD_FIRST_EAFE : 0;
	flags |= capabilities & UIOMMU_VTD_TABLES_FIRST_1G ? UIOMMU_VTD_FIRST_1G : 0;
	out->stage1_format = &pgtable_vtd_first;
	out->stage1 = (struct pgtable_config){
		.base = {words[2] & ADDRESS},
		.levels = (uint8_t)(4 + mode),
		.output_lg2 = device->output_lg2,
		.flags = flags,
	};
	return true;
}

static bool stages(const struct tables_device *device, const uint64_t *words, struct tables_entry *out)
{
	static const uint32_t needs[8] = {
		[PGTT_FIRST] = UIOMMU_VTD_TABLES_FIRST,
		[PGTT_SECOND] = UIOMMU_VTD_TABLES_SECOND,
		[PGTT_NESTED] = UIOMMU_VTD_TABLES_FIRST | UIOMMU_VTD_TABLES_SECOND | UIOMMU_VTD_TABLES_NESTED,
		[PGTT_PASS] = UIOMMU_VTD_TABLES_PASS,
	};
	uint64_t type = FIELD_GET64(PGTT, words[0]);
	unsigned int levels = levels_of(FIELD_GET64(PASID_AW, words[0]), device->capabilities);

	if (!needs[type] || (device->capabilities & needs[type]) != needs[type])
		return false;
	out->mode = type == PGTT_PASS ? TABLES_PASS : TABLES_TRANSLATE;
	out->has_stage1 = type == PGTT_FIRST || type == PGTT_NESTED;
	out->has_stage2 = type == PGTT_SECOND || type == PGTT_NESTED;
	if (out->has_stage2) {
		if (!levels)
			return false;
		out->stage2_format = &pgtable_vtd_second;
		out->stage2 = second_stage(words[0], levels, device->output_lg2, device->capabilities);
		out->stage2.flags |= words[0] & SSADE ? UIOMMU_VTD_SECOND_AD : 0;
		out->stage2.flags |= words[0] & SECOND_EXECUTE ? UIOMMU_VTD_SECOND_EXECUTE : 0;
	}
	if (!out->has_stage1)
		return true;
	/* The first stage's top table has to be where the second can translate. */
	return first_stage(device, words, out) && !(out->has_stage2 && (words[2] & ADDRESS) >> (12 + 9 * levels));
}

static bool pasid_table(const struct tables_device *device, uint32_t pasid, struct tables_entry *out, struct tables_fault *fault)
{
	const uint64_t directory_reserved = ~low_mask(device->output_lg2) | GENMASK64(11, 2);
	uint64_t reserved[8], words[8], table;
	bool quiet = device->flags & TABLES_NO_FAULTS;

	if (!fetch(&device->memory, device->pasid_table + (pasid >> 6) * 8, &directory, &directory_reserved, &table, &quiet, fault))
		return false;
	pasid_reserved(device, reserved);
	if (!fetch(&device->memory, (table & ADDRESS) + (pasid & 0x3f) * 64, &pasid_entry, reserved, words, &quiet, fault))
		return false;
	fault->quiet = quiet;
	if (!stages(device, words, out))
		return refuse_value(fault, UIOMMU_FAULT_RESERVED, UIOMMU_STRUCTURE_PASID, VTD_FAULT_PASID_INVALID);
	out->flags &= ~(uint32_t)(TABLES_PRIVILEGED | TABLES_EXECUTE);
	out->flags |= quiet ? TABLES_NO_FAULTS : 0;
	out->flags |= words[2] & SRE ? TABLES_PRIVILEGED : 0;
	out->flags |= words[2] & ERE ? TABLES_EXECUTE : 0;
	out->pasid = pasid;
	out->domain = domain_of(FIELD_GET64(PASID_DID, words[1]), device->capabilities);
	out->asid = out->has_stage1 ? pasid : UIOMMU_NO_PASID;
	return true;
}

/* Requests that no PASID table has a part in. */
static bool without_table(const struct tables_device *device, struct tables_entry *out, struct tables_fault *fault)
{
	out->mode = device->mode;
	if (device->mode != TABLES_TRANSLATE)
		return true;
	if (!device->has_stage2)
		return tables_refuse(fault, UIOMMU_FAULT_BLOCKED, UIOMMU_STRUCTURE_DEVICE, VTD_FAULT_SM_CONTEXT_INVALID);
	out->has_stage2 = true;
	out->stage2_format = device->stage2.format;
	out->stage2 = device->stage2.config;
	return true;
}

static bool pasid(const struct tables_device *device, uint32_t pasid, struct tables_entry *out, struct tables_fault *fault)
{
	bool implied = pasid == UIOMMU_NO_PASID;

	*fault = (struct tables_fault){.quiet = device->flags & TABLES_NO_FAULTS};
	*out = (struct tables_entry){
		.flags = device->flags, .domain = device->domain, .asid = UIOMMU_NO_PASID, .pasid = UIOMMU_NO_PASID};
	if (implied && device->rid_pasid == UIOMMU_NO_PASID)
		return without_table(device, out, fault);
	if (!device->has_pasid_table) {
		fault->quiet = false;
		return tables_refuse(fault, UIOMMU_FAULT_BLOCKED, UIOMMU_STRUCTURE_DEVICE_DIR, VTD_FAULT_LEGACY_PASID);
	}
	if (!implied && !(device->flags & TABLES_PASIDS))
		return tables_refuse(fault, UIOMMU_FAULT_BLOCKED, UIOMMU_STRUCTURE_DEVICE, VTD_FAULT_SM_CONTEXT_NO_PASID);
	if (!implied && (uint64_t)pasid >> (FIELD_GET64(UIOMMU_VTD_TABLES_PSS, device->capabilities) + 1))
		return tables_refuse(fault, UIOMMU_FAULT_RANGE, UIOMMU_STRUCTURE_DEVICE_DIR, VTD_FAULT_PASID_SIZE);
	if (!implied && pasid == device->rid_pasid)
		return refuse_value(fault, UIOMMU_FAULT_BLOCKED, UIOMMU_STRUCTURE_DEVICE, VTD_FAULT_SM_CONTEXT_RID_PASID);
	if (implied)
		pasid = device->rid_pasid;
	if (pasid >> device->pasid_bits)
		return tables_refuse(fault, UIOMMU_FAULT_RANGE, UIOMMU_STRUCTURE_DEVICE, VTD_FAULT_SM_CONTEXT_PASID_RANGE);
	if (!pasid_table(device, pasid, out, fault))
		return false;
	if (implied && device->flags & TABLES_RID_PRIVILEGED && !(out->flags & TABLES_PRIVILEGED))
		return tables_refuse(fault, UIOMMU_FAULT_BLOCKED, UIOMMU_STRUCTURE_PASID, VTD_FAULT_PASID_NO_SUPERVISOR);
	return true;
}

const struct tables_format tables_vtd = {
	.name = "VT-d",
	.pasid_modes = 1, /* there is one */
	.check = check,
	.device = device,
	.pasid = pasid,
};
