/* SPDX-License-Identifier: BSD-3-Clause */
/* SMMUv3 as a vIOMMU's owner speaks to it: its STEs, commands and events (Arm IHI 0070, 4, 5.2 and 7.3). */
#include "abi/driver_smmuv3.h"

#include <endian.h>
#include <errno.h>

#include "translate/tables/smmuv3_spec.h"

/* --- STEs --- */

#define STE0_OFFERED (STE_V | STE_CONFIG | STE_S1FMT | STE_S1CONTEXTPTR | STE_S1CDMAX)
/* With the attributes of reads of CDs (S1CIR, S1COR, S1CSH), which mean nothing here. */
#define STE1_OFFERED (STE_S1DSS | GENMASK64(7, 2) | STE_S1STALLD | STE_EATS)

int smmuv3_check(uint64_t *ste)
{
	uint64_t config = FIELD_GET64(STE_CONFIG, ste[0]);

	/* What is not valid aborts. */
	if (!(ste[0] & STE_V)) {
		ste[0] = STE_V;
		ste[1] = 0;
		return 0;
	}
	if (ste[0] & ~STE0_OFFERED || ste[1] & ~STE1_OFFERED || FIELD_GET64(STE_EATS, ste[1]) > EATS_FULL)
		return -EIO;
	return config == 0 || config == CONFIG_PASS || config == (CONFIG_PASS | CONFIG_STAGE1) ? 0 : -EIO;
}

/* --- commands --- */

enum {
	CMD_CFGI_CD = 0x05,
	CMD_CFGI_CD_ALL = 0x06,
	CMD_TLBI_NH_ALL = 0x10,
	CMD_TLBI_NH_ASID = 0x11,
	CMD_TLBI_NH_VA = 0x12,
	CMD_TLBI_NH_VAA = 0x13,
	CMD_TLBI_NSNH_ALL = 0x30,
	CMD_ATC_INV = 0x40,
};

#define CMD_OPCODE GENMASK64(7, 0)
#define CMD_SID GENMASK64(63, 32)
#define CMD_NUM GENMASK64(16, 12)
#define CMD_SCALE GENMASK64(24, 20)
#define CMD_ASID GENMASK64(63, 48)
#define CMD_LEAF BIT64(0)
#define CMD_TG GENMASK64(11, 10)
#define CMD_ADDRESS GENMASK64(63, 12)

static void set_addresses(const uint64_t *cmd, struct uiommu_invalidation *out)
{
	unsigned int tg = (unsigned int)FIELD_GET64(CMD_TG, cmd[1]), granule_lg2 = 10 + 2 * tg;
	uint64_t granules = tg ? (FIELD_GET64(CMD_NUM, cmd[0]) + 1) << FIELD_GET64(CMD_SCALE, cmd[0]) : 1;

	out->start = cmd[1] & CMD_ADDRESS;
	if (__builtin_add_overflow(out->start, (granules << (tg ? granule_lg2 : 12)) - 1, &out->last))
		out->last = UINT64_MAX;
	out->flags |= cmd[1] & CMD_LEAF ? UIOMMU_INVALIDATE_LEAF : 0;
}

/* The device that a command names. */
static int set_device(struct viommu *viommu, const uint64_t *cmd, struct uiommu_invalidation *out)
{
	out->device_id = viommu_device(viommu, FIELD_GET64(CMD_SID, cmd[0]));
	out->flags |= UIOMMU_INVALIDATE_ENTRIES | UIOMMU_INVALIDATE_DEVICE;
	return out->device_id ? 0 : -EIO;
}

int smmuv3_decode(struct viommu *viommu, const struct abi_viommu_arm_smmuv3_invalidate *entry, struct uiommu_invalidation *out)
{
	const uint64_t cmd[2] = {le64toh(entry->cmd[0]), le64toh(entry->cmd[1])};
	uint64_t opcode = FIELD_GET64(CMD_OPCODE, cmd[0]);

	out->last = UINT64_MAX;
	switch (opcode) {
	case CMD_CFGI_CD: /* the entry of requests without PASID may be the same one: all of the device's */
	case CMD_CFGI_CD_ALL:
		return set_device(viommu, cmd, out);
	case CMD_TLBI_NH_VA:
	case CMD_TLBI_NH_VAA:
		set_addresses(cmd, out);
		break;
	case CMD_TLBI_NH_ASID:
	case CMD_TLBI_NH_ALL:
	case CMD_TLBI_NSNH_ALL:
		break;
	case CMD_ATC_INV: /* devices have been asked, by whatever took the translation away */
		return viommu_device(viommu, FIELD_GET64(CMD_SID, cmd[0])) ? 0 : -EIO;
	default:
		return -EIO;
	}
	if (opcode == CMD_TLBI_NH_VA || opcode == CMD_TLBI_NH_ASID) {
		out->flags |= UIOMMU_INVALIDATE_ASID;
		out->asid = (uint32_t)FIELD_GET64(CMD_ASID, cmd[0]);
	}
	return 0;
}

/* --- events --- */

#define EVENT_SSV BIT64(11)
#define EVENT_SSID GENMASK64(31, 12)
#define EVENT_SID GENMASK64(63, 32)
#define EVENT_PNU BIT64(33)
#define EVENT_IND BIT64(34)
#define EVENT_RNW BIT64(35)
#define EVENT_CLASS GENMASK64(41, 40)

enum { CLASS_INPUT = 2 };

/* What is a guest's to know. That a table cannot be read, or what is behind all tables, is between the host and its memory. */
static unsigned int event_of(const struct uiommu_fault *fault)
{
	static const struct {
		uint8_t structure;
		uint8_t reason;
		uint8_t event;
	} rows[] = {
		{UIOMMU_STRUCTURE_DEVICE, UIOMMU_FAULT_RANGE, SMMUV3_C_BAD_SUBSTREAMID},
		{UIOMMU_STRUCTURE_PASID_DIR, UIOMMU_FAULT_UNMAPPED, SMMUV3_C_BAD_SUBSTREAMID},
		{UIOMMU_STRUCTURE_PASID_DIR, UIOMMU_FAULT_RESERVED, SMMUV3_C_BAD_SUBSTREAMID},
		{UIOMMU_STRUCTURE_PASID, UIOMMU_FAULT_UNMAPPED, SMMUV3_C_BAD_CD},
		{UIOMMU_STRUCTURE_PASID, UIOMMU_FAULT_RESERVED, SMMUV3_C_BAD_CD},
		/* Malformed descriptors are invalid ones. */
		{UIOMMU_STRUCTURE_PAGE, UIOMMU_FAULT_UNMAPPED, SMMUV3_F_TRANSLATION},
		{UIOMMU_STRUCTURE_PAGE, UIOMMU_FAULT_RESERVED, SMMUV3_F_TRANSLATION},
		{UIOMMU_STRUCTURE_PAGE, UIOMMU_FAULT_RANGE, SMMUV3_F_TRANSLATION},
		{UIOMMU_STRUCTURE_PAGE, UIOMMU_FAULT_OUTPUT, SMMUV3_F_ADDR_SIZE},
		{UIOMMU_STRUCTURE_PAGE, UIOMMU_FAULT_ACCESS_FLAG, SMMUV3_F_ACCESS},
		{UIOMMU_STRUCTURE_PAGE, UIOMMU_FAULT_PERMISSION, SMMUV3_F_PERMISSION},
		{UIOMMU_STRUCTURE_PAGE, UIOMMU_FAULT_PRIVILEGE, SMMUV3_F_PERMISSION},
	};

	if (fault->flags & UIOMMU_FAULT_PARENT || (fault->structure == UIOMMU_STRUCTURE_PAGE && fault->stage != 1))
		return 0;
	if (fault->structure == UIOMMU_STRUCTURE_DEVICE && fault->reason == UIOMMU_FAULT_BLOCKED)
		return fault->pasid == UIOMMU_NO_PASID ? SMMUV3_F_STREAM_DISABLED : SMMUV3_C_BAD_SUBSTREAMID;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		if (rows[i].structure == fault->structure && rows[i].reason == fault->reason)
			return rows[i].event;
	return 0;
}

static size_t encode(const struct uiommu_fault *fault, uint64_t virt_id, void *record)
{
	struct abi_vevent_arm_smmuv3 *out = record;
	unsigned int event = event_of(fault);
	uint64_t first = event | FIELD_PREP64(EVENT_SID, virt_id & UINT32_MAX), second = 0;

	if (!event)
		return 0;
	*out = (struct abi_vevent_arm_smmuv3){.evt = {0}};
	/* C_BAD_SUBSTREAMID has one anyway. */
	if (fault->pasid != UIOMMU_NO_PASID && event != SMMUV3_F_STREAM_DISABLED)
		first |= FIELD_PREP64(EVENT_SSID, fault->pasid) | (event == SMMUV3_C_BAD_SUBSTREAMID ? 0 : EVENT_SSV);
	if (fault->structure == UIOMMU_STRUCTURE_PAGE) {
		second = FIELD_PREP64(EVENT_CLASS, CLASS_INPUT);
		second |= fault->access & UIOMMU_PRIVILEGED ? EVENT_PNU : 0;
		second |= fault->access & UIOMMU_EXEC ? EVENT_IND : 0;
		second |= fault->access & UIOMMU_WRITE ? 0 : EVENT_RNW;
		out->evt[2] = htole64(fault->address);
	}
	out->evt[0] = htole64(first);
	out->evt[1] = htole64(second);
	return sizeof(*out);
}

const struct viommu_events smmuv3_events = {.type = ABI_VEVENTQ_ARM_SMMUV3, .encode = encode};
