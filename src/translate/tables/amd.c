/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * AMD: the device table, and the GCR3 tables of one to three levels that lead from the PASID to guest tables.
 *
 * An entry with V = 0 lets everything through. With V = 1 its reserved bits are checked, then TV: without it, there is nothing to
 * translate with, and whatever has to be translated is a page fault. Bits that belong to interrupts (191:128 but for 183:180) are
 * none of this file's business, and bits that belong to the guest's virtual IOMMU are reserved here.
 *
 * The GCR3 tables' addresses, but for the root if GCR3TRPMode is 0, are input addresses of the host tables where the entry has
 * some.
 */
#include <errno.h>

#include "pgtable/amd.h"
#include "translate/tables/amd.h"
#include "translate/tables/tables.h"
#include "util/bits.h"
#include "util/util.h"

#define ADDRESS GENMASK64(51, 12)

/* Device table entry. Word 0: */
#define V BIT64(0)
#define TV BIT64(1)
#define HAD GENMASK64(8, 7)
#define MODE GENMASK64(11, 9)
#define PPR BIT64(52)
#define GPRP BIT64(53)
#define GIOV BIT64(54)
#define GV BIT64(55)
#define GLX GENMASK64(57, 56)
#define GCR3_14_12 GENMASK64(60, 58)
#define IR BIT64(61)
#define IW BIT64(62)
/* Word 1: */
#define DOMAIN_ID GENMASK64(15, 0)
#define GCR3_30_15 GENMASK64(31, 16)
#define IOTLB BIT64(32)
#define SE BIT64(33)
#define SA BIT64(34)
#define IO_CONTROL GENMASK64(36, 35)
#define SATS BIT64(42)
#define GCR3_51_31 GENMASK64(63, 43)
/* Word 2: */
#define GUEST_PAGING_MODE GENMASK64(55, 54)

/* GCR3 entry, of all levels. */
#define GCR3_V BIT64(0)
#define GCR3_RESERVED (GENMASK64(63, 52) | GENMASK64(11, 1))

#define PASID_MODE_GLX GENMASK64(1, 0)
#define PASID_MODE_GUEST GENMASK64(3, 2)

enum { DTE_SIZE = 32, DTES_PER_PAGE = 4096 / DTE_SIZE };

static int check(const struct tables *tables)
{
	const struct tables_config *config = &tables->config;

	if (config->output_lg2 < 32 || config->output_lg2 > 52)
		return -EINVAL;
	if (config->base & (low_mask(12) | ~low_mask(config->output_lg2)))
		return -EINVAL;
	if (!config->entries || config->entries > UINT16_MAX + 1 || config->entries % DTES_PER_PAGE)
		return -EINVAL;
	if (FIELD_GET64(UIOMMU_AMD_TABLES_HATS, config->flags) == 3 || FIELD_GET64(UIOMMU_AMD_TABLES_GLX, config->flags) == 3)
		return -EINVAL;
	return config->mode ? -EOPNOTSUPP : 0;
}

static bool illegal(struct tables_fault *fault)
{
	return tables_refuse(fault, UIOMMU_FAULT_RESERVED, UIOMMU_STRUCTURE_DEVICE, AMD_EVENT_ILLEGAL_DEV_TABLE_ENTRY);
}

/* --- from the requester id to the device --- */

static bool has_reserved(const uint64_t *words, uint32_t capabilities)
{
	uint64_t reserved[4] = {BIT64(63) | GENMASK64(6, 2), SATS, GENMASK64(53, 52), GENMASK64(53, 0)};

	reserved[0] |= capabilities & UIOMMU_AMD_TABLES_PPR ? 0 : PPR | GPRP;
	reserved[0] |= capabilities & UIOMMU_AMD_TABLES_GIOV ? 0 : GIOV;
	if (!(capabilities & UIOMMU_AMD_TABLES_GUEST)) {
		reserved[0] |= GIOV | GV | GLX | GCR3_14_12;
		reserved[1] |= GCR3_30_15 | GCR3_51_31;
		reserved[2] |= GUEST_PAGING_MODE;
	}
	return words[0] & reserved[0] || words[1] & reserved[1] || words[2] & reserved[2] || words[3] & reserved[3];
}

/* HAD 1 sets accessed flags, 3 dirty flags, too. */
static bool host_flags(const struct tables_config *config, uint64_t word, uint32_t *flags)
{
	static const uint32_t needs[4] = {0, UIOMMU_AMD_TABLES_ACCESSED, 0, UIOMMU_AMD_TABLES_ACCESSED | UIOMMU_AMD_TABLES_DIRTY};
	uint64_t had = FIELD_GET64(HAD, word);

	*flags = (had & 1 ? UIOMMU_AMD_V1_ACCESSED : 0) | (had & 2 ? UIOMMU_AMD_V1_DIRTY : 0);
	return had != 2 && (config->flags & needs[had]) == needs[had];
}

static bool host_tables(const struct tables *tables, const uint64_t *words, struct tables_device *out)
{
	const struct tables_config *config = &tables->config;
	struct pgtable_config host = {
		.base = {words[0] & ADDRESS}, .levels = (uint8_t)FIELD_GET64(MODE, words[0]), .output_lg2 = config->output_lg2};

	if (!host_flags(config, words[0], &host.flags))
		return false;
	if (!host.levels)
		return true;
	if (host.levels > 4 + FIELD_GET64(UIOMMU_AMD_TABLES_HATS, config->flags) || host.base[0] & ~low_mask(config->output_lg2))
		return false;
	out->has_stage2 = true;
	return !pgtable_init(&out->stage2, &pgtable_amd_v1, &host, &tables->memory);
}

static bool guest_tables(const struct tables_config *config, const uint64_t *words, struct tables_device *out)
{
	uint64_t glx = FIELD_GET64(GLX, words[0]), mode = FIELD_GET64(GUEST_PAGING_MODE, words[2]);

	if (!(words[0] & GV))
		return true;
	if (glx > FIELD_GET64(UIOMMU_AMD_TABLES_GLX, config->flags) || mode > (config->flags & UIOMMU_AMD_TABLES_GUEST_5 ? 1 : 0))
		return false;
	out->has_pasid_table = true;
	out->flags |= TABLES_PASIDS;
	out->rid_pasid = words[0] & GIOV ? 0 : UIOMMU_NO_PASID;
	out->pasid_table = FIELD_GET64(GCR3_14_12, words[0]) << 12 | FIELD_GET64(GCR3_30_15, words[1]) << 15 |
			   FIELD_GET64(GCR3_51_31, words[1]) << 31;
	out->pasid_mode = (uint8_t)(FIELD_PREP64(PASID_MODE_GLX, glx) | FIELD_PREP64(PASID_MODE_GUEST, mode));
	out->pasid_bits = (uint8_t)min_u64(min_u64(9 * (glx + 1), UIOMMU_PASID_BITS),
					   FIELD_GET64(UIOMMU_AMD_TABLES_PASMAX, config->flags) + 1);
	return true;
}

static bool decode(const struct tables *tables, const uint64_t *words, struct tables_device *out, struct tables_fault *fault)
{
	if (has_reserved(words, tables->config.flags) || FIELD_GET64(IO_CONTROL, words[1]) == 3)
		return illegal(fault);
	out->flags |= words[1] & SA ? TABLES_NO_FAULTS : 0;
	out->flags |= words[1] & SE ? TABLES_FIRST_FAULT : 0;
	out->flags |= words[1] & IOTLB && tables->config.flags & UIOMMU_AMD_TABLES_ATS ? TABLES_ATS : 0;
	out->flags |= words[0] & PPR ? TABLES_PRI : 0;
	out->domain = (uint32_t)FIELD_GET64(DOMAIN_ID, words[1]);
	if (!(words[0] & TV)) {
		fault->quiet = words[1] & SA;
		return tables_refuse(fault, UIOMMU_FAULT_BLOCKED, UIOMMU_STRUCTURE_DEVICE, AMD_EVENT_IO_PAGE_FAULT);
	}
	if (!host_tables(tables, words, out) || !guest_tables(&tables->config, words, out))
		return illegal(fault);
	out->mode = out->has_stage2 || out->has_pasid_table ? TABLES_TRANSLATE : TABLES_PASS;
	out->extra[0] = (words[0] & IR ? 0 : UIOMMU_READ | UIOMMU_EXEC) | (words[0] & IW ? 0 : UIOMMU_WRITE);
	return true;
}

static bool entry(const struct tables *tables, const uint64_t *words, struct tables_device *out, struct tables_fault *fault)
{
	*fault = (struct tables_fault){.structure = UIOMMU_STRUCTURE_DEVICE};
	*out = (struct tables_device){
		.format = &tables_amd,
		.rid_pasid = UIOMMU_NO_PASID,
		.output_lg2 = tables->config.output_lg2,
		.capabilities = tables->config.flags,
		.memory = tables->memory,
	};
	if (words[0] & V)
		return decode(tables, words, out, fault);
	out->mode = TABLES_PASS;
	out->flags = TABLES_PASIDS;
	return true;
}

static bool device(const struct tables *tables, uint32_t rid, struct tables_device *out, struct tables_fault *fault)
{
	const struct tables_config *config = &tables->config;
	uint64_t words[4];

	*fault = (struct tables_fault){0};
	if (rid >= config->entries)
		return tables_refuse(fault, UIOMMU_FAULT_RANGE, UIOMMU_STRUCTURE_DEVICE, AMD_EVENT_ILLEGAL_DEV_TABLE_ENTRY);
	fault->structure = UIOMMU_STRUCTURE_DEVICE;
	if (!tables_read(&tables->memory, NULL, config->base + (uint64_t)rid * DTE_SIZE, words, 4, fault))
		return tables_refuse(fault, fault->reason, UIOMMU_STRUCTURE_DEVICE, AMD_EVENT_DEV_TAB_HARDWARE_ERROR);
	return entry(tables, words, out, fault);
}

/* --- from there and the PASID to the stages --- */

/* The GCR3 entry of @pasid at @level, 0 the last, of the table at @table. */
static bool gcr3_entry(const struct tables_device *device, uint64_t table, uint32_t pasid, unsigned int level, bool physical,
		       uint64_t *entry, struct tables_fault *fault)
{
	const struct pgtable *host = device->has_stage2 && !physical ? &device->stage2 : NULL;
	uint8_t structure = level ? UIOMMU_STRUCTURE_PASID_DIR : UIOMMU_STRUCTURE_PASID;
	uint64_t address = table + (pasid >> (9 * level) & 0x1ff) * sizeof(*entry);

	fault->level = (uint8_t)level;
	fault->structure = structure;
	if (!tables_read(&device->memory, host, address, entry, 1, fault)) {
		if (fault->reason == UIOMMU_FAULT_MEMORY)
			return tables_refuse(fault, fault->reason, structure, AMD_EVENT_PAGE_TAB_HARDWARE_ERROR);
		fault->quiet = device->flags & TABLES_NO_FAULTS;
		return tables_refuse(fault, fault->reason, structure, AMD_EVENT_IO_PAGE_FAULT);
	}
	fault->quiet = device->flags & TABLES_NO_FAULTS;
	if (!(*entry & GCR3_V))
		return tables_refuse(fault, UIOMMU_FAULT_UNMAPPED, structure, AMD_EVENT_IO_PAGE_FAULT);
	if (*entry & GCR3_RESERVED || (!device->has_stage2 && *entry & ADDRESS & ~low_mask(device->output_lg2)))
		return tables_refuse(fault, UIOMMU_FAULT_RESERVED, structure, AMD_EVENT_IO_PAGE_FAULT);
	fault->quiet = false;
	return true;
}

static bool guest_entry(const struct tables_device *device, uint32_t pasid, struct tables_entry *out, struct tables_fault *fault)
{
	unsigned int level = (unsigned int)FIELD_GET64(PASID_MODE_GLX, device->pasid_mode);
	bool physical = !(device->capabilities & UIOMMU_AMD_TABLES_ROOT_GPA);
	uint64_t entry, table = device->pasid_table;

	for (;; level--) {
		if (!gcr3_entry(device, table, pasid, level, physical, &entry, fault))
			return false;
		table = entry & ADDRESS;
		physical = false;
		if (!level)
			break;
	}
	out->flags |= device->capabilities & UIOMMU_AMD_TABLES_USER ? TABLES_PRIVILEGED : 0;
	out->flags |= device->capabilities & UIOMMU_AMD_TABLES_EXECUTE ? TABLES_EXECUTE : 0;
	out->mode = TABLES_TRANSLATE;
	out->asid = pasid;
	out->has_stage1 = true;
	out->stage1_format = &pgtable_amd_v2;
	out->stage1 = (struct pgtable_config){
		.base = {table},
		.levels = (uint8_t)(4 + FIELD_GET64(PASID_MODE_GUEST, device->pasid_mode)),
		/* What they lead to is judged by the host tables if there are some. */
		.output_lg2 = device->has_stage2 ? 52 : device->output_lg2,
	};
	return true;
}

static bool pasid(const struct tables_device *device, uint32_t pasid, struct tables_entry *out, struct tables_fault *fault)
{
	bool implied = pasid == UIOMMU_NO_PASID;

	*fault = (struct tables_fault){0};
	*out = (struct tables_entry){
		.mode = device->mode,
		.flags = device->flags,
		.domain = device->domain,
		.asid = UIOMMU_NO_PASID,
		.pasid = UIOMMU_NO_PASID,
		.denied = (uint8_t)device->extra[0],
		.has_stage2 = device->has_stage2,
	};
	if (device->has_stage2) {
		out->stage2_format = device->stage2.format;
		out->stage2 = device->stage2.config;
	}
	if (device->mode == TABLES_BLOCK)
		return true;
	if (!implied && !(device->flags & TABLES_PASIDS))
		return tables_refuse(fault, UIOMMU_FAULT_BLOCKED, UIOMMU_STRUCTURE_DEVICE, AMD_EVENT_INVALID_DEVICE_REQUEST);
	if (implied)
		pasid = device->rid_pasid;
	if (!device->has_pasid_table || pasid == UIOMMU_NO_PASID) {
		out->mode = device->has_stage2 ? TABLES_TRANSLATE : TABLES_PASS;
		return true;
	}
	if (pasid > UIOMMU_PASID_LAST || pasid >> device->pasid_bits) {
		fault->quiet = device->flags & TABLES_NO_FAULTS;
		return tables_refuse(fault, UIOMMU_FAULT_RANGE, UIOMMU_STRUCTURE_DEVICE, AMD_EVENT_IO_PAGE_FAULT);
	}
	return guest_entry(device, pasid, out, fault);
}

const struct tables_format tables_amd = {
	.name = "AMD",
	.pasid_modes = 0x7 | 0x7 << 4, /* GLX up to 2, of tables of four levels and of five */
	.check = check,
	.device = device,
	.entry = entry,
	.pasid = pasid,
};
