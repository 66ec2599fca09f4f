/* SPDX-License-Identifier: BSD-3-Clause */
/* Non-recoverable faults: which code they have, and where they are recorded (7.1.3, 7.2). */
#include "viommu/vtd/faults.h"

#include "translate/tables/vtd.h"
#include "viommu/vtd/vtd.h"

enum { LEGACY = 1, SCALABLE = 2, BOTH = 3 };
enum { NO = 0, YES = 1, EITHER = 2 };
enum { ALL_ACCESS = UIOMMU_READ | UIOMMU_WRITE | UIOMMU_EXEC };

/* The first row that a fault matches says its code. */
struct row {
	uint8_t modes;
	uint8_t structure;
	uint8_t reason;
	uint8_t stage; /* 0: any */
	uint8_t table; /* NO, YES, EITHER */
	uint8_t access; /* any of these */
	uint8_t set; /* flags that are set */
	uint8_t code;
};

#define ENTRY(modes, structure, reason, set, code)                                                                                 \
	{                                                                                                                          \
		modes, UIOMMU_STRUCTURE_##structure, UIOMMU_FAULT_##reason, 0, EITHER, ALL_ACCESS, set, code                       \
	}
#define PAGE(modes, stage, table, reason, access, set, code)                                                                       \
	{                                                                                                                          \
		modes, UIOMMU_STRUCTURE_PAGE, UIOMMU_FAULT_##reason, stage, table, access, set, code                               \
	}

enum {
	VALUE = UIOMMU_FAULT_VALUE,
	TOP = UIOMMU_FAULT_TOP,
	NESTED = UIOMMU_FAULT_NESTED,
	CHANGE = UIOMMU_FAULT_CHANGE,
	READS = UIOMMU_READ | UIOMMU_EXEC,
	WRITES = UIOMMU_WRITE,
};

/* In comments: the condition codes of table 30. */
static const struct row rows[] = {
	ENTRY(BOTH, DEVICE_DIR, RESERVED, VALUE, VTD_FAULT_ROOT_MODE),
	ENTRY(BOTH, DEVICE_DIR, BLOCKED, VALUE, VTD_FAULT_ABORT_MODE),
	ENTRY(LEGACY, DEVICE_DIR, BLOCKED, 0, VTD_FAULT_LEGACY_PASID),
	ENTRY(LEGACY, DEVICE_DIR, RANGE, 0, VTD_FAULT_LEGACY_PASID),
	ENTRY(LEGACY, DEVICE_DIR, MEMORY, 0, VTD_FAULT_ROOT_ACCESS),
	ENTRY(LEGACY, DEVICE_DIR, UNMAPPED, 0, VTD_FAULT_ROOT_ABSENT),
	ENTRY(LEGACY, DEVICE_DIR, RESERVED, 0, VTD_FAULT_ROOT_RESERVED),
	ENTRY(LEGACY, DEVICE, BLOCKED, 0, VTD_FAULT_LEGACY_PASID),
	ENTRY(LEGACY, DEVICE, MEMORY, 0, VTD_FAULT_CONTEXT_ACCESS),
	ENTRY(LEGACY, DEVICE, UNMAPPED, 0, VTD_FAULT_CONTEXT_ABSENT),
	ENTRY(LEGACY, DEVICE, RESERVED, VALUE, VTD_FAULT_CONTEXT_INVALID),
	ENTRY(LEGACY, DEVICE, RESERVED, 0, VTD_FAULT_CONTEXT_RESERVED),
	ENTRY(SCALABLE, DEVICE_DIR, RANGE, 0, VTD_FAULT_PASID_SIZE),
	ENTRY(SCALABLE, DEVICE_DIR, MEMORY, 0, VTD_FAULT_SM_ROOT_ACCESS),
	ENTRY(SCALABLE, DEVICE_DIR, UNMAPPED, 0, VTD_FAULT_SM_ROOT_ABSENT),
	ENTRY(SCALABLE, DEVICE_DIR, RESERVED, 0, VTD_FAULT_SM_ROOT_RESERVED),
	ENTRY(SCALABLE, DEVICE, BLOCKED, VALUE, VTD_FAULT_SM_CONTEXT_RID_PASID),
	ENTRY(SCALABLE, DEVICE, BLOCKED, 0, VTD_FAULT_SM_CONTEXT_NO_PASID),
	ENTRY(SCALABLE, DEVICE, RANGE, 0, VTD_FAULT_SM_CONTEXT_PASID_RANGE),
	ENTRY(SCALABLE, DEVICE, MEMORY, 0, VTD_FAULT_SM_CONTEXT_ACCESS),
	ENTRY(SCALABLE, DEVICE, UNMAPPED, 0, VTD_FAULT_SM_CONTEXT_ABSENT),
	ENTRY(SCALABLE, DEVICE, RESERVED, VALUE, VTD_FAULT_SM_CONTEXT_INVALID),
	ENTRY(SCALABLE, DEVICE, RESERVED, 0, VTD_FAULT_SM_CONTEXT_RESERVED),
	ENTRY(SCALABLE, PASID_DIR, MEMORY, 0, VTD_FAULT_DIRECTORY_ACCESS),
	ENTRY(SCALABLE, PASID_DIR, UNMAPPED, 0, VTD_FAULT_DIRECTORY_ABSENT),
	ENTRY(SCALABLE, PASID_DIR, RESERVED, 0, VTD_FAULT_DIRECTORY_RESERVED),
	ENTRY(SCALABLE, PASID, MEMORY, 0, VTD_FAULT_PASID_ACCESS),
	ENTRY(SCALABLE, PASID, UNMAPPED, 0, VTD_FAULT_PASID_ABSENT),
	ENTRY(SCALABLE, PASID, RESERVED, VALUE, VTD_FAULT_PASID_INVALID),
	ENTRY(SCALABLE, PASID, RESERVED, 0, VTD_FAULT_PASID_RESERVED),
	ENTRY(SCALABLE, PASID, BLOCKED, 0, VTD_FAULT_PASID_NO_SUPERVISOR),
	PAGE(LEGACY, 2, EITHER, MEMORY, ALL_ACCESS, TOP, VTD_FAULT_CONTEXT_INVALID), /* LCT.4.3 */
	PAGE(LEGACY, 2, EITHER, MEMORY, ALL_ACCESS, 0, 0x07), /* LSS.1 */
	PAGE(LEGACY, 2, EITHER, RESERVED, ALL_ACCESS, 0, 0x0c), /* LSS.2 */
	PAGE(LEGACY, 2, EITHER, RANGE, ALL_ACCESS, 0, 0x04), /* LGN.1 */
	PAGE(LEGACY, 2, EITHER, UNMAPPED, WRITES, 0, 0x05), /* LGN.2 */
	PAGE(LEGACY, 2, EITHER, PERMISSION, WRITES, 0, 0x05),
	PAGE(LEGACY, 2, EITHER, UNMAPPED, READS, 0, 0x06), /* LGN.3 */
	PAGE(LEGACY, 2, EITHER, PERMISSION, READS, 0, 0x06),
	PAGE(SCALABLE, 1, EITHER, MEMORY, ALL_ACCESS, TOP, 0x73), /* SFS.4 */
	PAGE(SCALABLE, 1, EITHER, MEMORY, ALL_ACCESS, 0, 0x70), /* SFS.1 */
	PAGE(SCALABLE, 1, EITHER, UNMAPPED, ALL_ACCESS, 0, 0x71), /* SFS.2 */
	PAGE(SCALABLE, 1, EITHER, RESERVED, ALL_ACCESS, 0, 0x72), /* SFS.3 */
	PAGE(SCALABLE, 1, EITHER, UPDATE, ALL_ACCESS, 0, 0x91), /* SFS.10 */
	PAGE(SCALABLE, 1, EITHER, RANGE, ALL_ACCESS, 0, 0x80), /* SGN.1 */
	PAGE(SCALABLE, 1, EITHER, PRIVILEGE, ALL_ACCESS, 0, 0x81), /* SGN.2 */
	PAGE(SCALABLE, 1, EITHER, PERMISSION, WRITES, 0, 0x85), /* SGN.6 */
	PAGE(SCALABLE, 1, EITHER, PERMISSION, READS, 0, 0x86), /* SGN.7 */
	PAGE(SCALABLE, 2, EITHER, MEMORY, ALL_ACCESS, TOP, 0x7b), /* SSS.4 */
	PAGE(SCALABLE, 2, EITHER, MEMORY, ALL_ACCESS, 0, 0x78), /* SSS.1 */
	PAGE(SCALABLE, 2, EITHER, UNMAPPED, ALL_ACCESS, 0, 0x79), /* SSS.2 */
	PAGE(SCALABLE, 2, EITHER, RESERVED, ALL_ACCESS, 0, 0x7a), /* SSS.3 */
	PAGE(SCALABLE, 2, EITHER, UPDATE, ALL_ACCESS, 0, 0x7d), /* SSS.6 */
	PAGE(SCALABLE, 2, EITHER, RANGE, ALL_ACCESS, NESTED, 0x74), /* SFS.5 */
	PAGE(SCALABLE, 2, EITHER, RANGE, ALL_ACCESS, 0, 0x84), /* SGN.5 */
	PAGE(SCALABLE, 2, YES, PERMISSION, ALL_ACCESS, CHANGE, 0x77), /* SFS.8 */
	PAGE(SCALABLE, 2, YES, PERMISSION, ALL_ACCESS, TOP, 0x75), /* SFS.6 */
	PAGE(SCALABLE, 2, YES, PERMISSION, ALL_ACCESS, 0, 0x76), /* SFS.7 */
	PAGE(SCALABLE, 2, NO, PERMISSION, WRITES, 0, 0x85), /* SGN.6 */
	PAGE(SCALABLE, 2, NO, PERMISSION, READS, 0, 0x86), /* SGN.7 */
};

static bool matches(const struct row *row, const struct uiommu_fault *fault, unsigned int modes)
{
	return row->modes & modes && row->structure == fault->structure && row->reason == fault->reason &&
	       (!row->stage || row->stage == fault->stage) && (row->table == EITHER || row->table == fault->table) &&
	       row->access & fault->access && (fault->flags & row->set) == row->set;
}

unsigned int vtd_fault_code(const struct uiommu_fault *fault, unsigned int mode)
{
	/* What is not in the tables is no fault of the unit. */
	if (fault->flags & UIOMMU_FAULT_PARENT)
		return 0;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		if (matches(&rows[i], fault, mode == UIOMMU_VTD_TABLES_LEGACY ? LEGACY : SCALABLE))
			return rows[i].code;
	return 0;
}

/*
 * The guest's memory has nothing where its tables lead to, and that is no fault of the unit, unless it is where interrupts are, or
 * beyond all memory.
 */
static unsigned int code_behind(const struct uiommu_vtd *vtd, const struct vtd_device *device, const struct uiommu_fault *fault,
				unsigned int mode)
{
	struct uiommu_attachment *attachment = uiommu_attachment_get(device->device, fault->pasid);
	struct uiommu_translation to = {.address = 0};
	int reason = attachment ? uiommu_translate(attachment, fault->address, fault->access, &to) : UIOMMU_FAULT_NOT_ATTACHED;
	bool found = !reason || reason == UIOMMU_FAULT_UNMAPPED, legacy = mode == UIOMMU_VTD_TABLES_LEGACY;

	if (reason) /* there are no tables: it passes through */
		to.address = fault->address;

	uiommu_attachment_put(attachment);
	if (found && to.address >= VTD_INTERRUPTS && to.address <= VTD_INTERRUPTS_LAST)
		return legacy ? 0x0e : 0x87; /* LGN.4, SGN.8 */
	if (found && to.address >> vtd->host_bits)
		return legacy ? 0x04 : 0x83; /* LGN.1.3, SGN.4 */
	return 0;
}

/* Under the lock (7.2.1). @type: T1 and T2. */
static void record(struct uiommu_vtd *vtd, const struct uiommu_fault *fault, uint16_t source_id, unsigned int code, uint64_t type)
{
	uint32_t status = vtd_get32(vtd, VTD_FSTS), at = VTD_FRCD + vtd->fault_index * 16;
	uint64_t upper = FIELD_PREP64(VTD_FRCD_FR, code) | source_id | VTD_FRCD_F | type;

	vtd_history_fault(vtd, fault, source_id, code);
	if (status & VTD_FSTS_PFO)
		return;
	if (vtd_get64(vtd, at + 8) & VTD_FRCD_F) {
		vtd_event(vtd, VTD_EVENT_FAULT, VTD_FSTS_PFO);
		return;
	}
	if (fault->pasid != UIOMMU_NO_PASID)
		upper |= VTD_FRCD_PP | FIELD_PREP64(VTD_FRCD_PV, vtd_guest_pasid(vtd, fault->device_id, fault->pasid));
	vtd_set64(vtd, at, fault->address & ~low_mask(12));
	vtd_set64(vtd, at + 8, upper);
	if (!(status & VTD_FSTS_PPF))
		vtd_set32(vtd, VTD_FSTS, (status & ~VTD_FSTS_FRI) | vtd->fault_index << 8);
	vtd->fault_index = (vtd->fault_index + 1) % vtd->records;
	/* PPF that is set already is no new condition. */
	if (!(status & VTD_FSTS_PPF))
		vtd_event(vtd, VTD_EVENT_FAULT, VTD_FSTS_PPF);
}

void vtd_fault_record_page(struct uiommu_vtd *vtd, const struct uiommu_fault *fault, uint16_t source_id, unsigned int code)
{
	if (code)
		record(vtd, fault, source_id, code, VTD_FRCD_T2);
}

void vtd_fault_event(struct fault_sink *sink, const struct uiommu_fault *fault)
{
	struct uiommu_vtd *vtd = container_of(sink, struct uiommu_vtd, sink);
	struct vtd_device *device;
	unsigned int mode, code;
	bool enabled;

	vtd_lock(vtd);
	device = vtd_device_of(vtd, fault->device_id);
	mode = vtd->mode;
	enabled = vtd->enabled;
	vtd_unlock(vtd);
	/* Whoever faults is behind the unit, and stays until he is done. */
	if (!device || !enabled)
		return;
	code = fault->flags & UIOMMU_FAULT_PARENT ? code_behind(vtd, device, fault, mode) : vtd_fault_code(fault, mode);
	if (!code)
		return;
	vtd_lock(vtd);
	record(vtd, fault, device->source_id, code, fault->access & UIOMMU_WRITE ? 0 : VTD_FRCD_T1);
	vtd_unlock(vtd);
}
