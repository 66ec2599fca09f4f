/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * uiommu as the IOMMU behind a device. It has no architecture of its own: any device takes nested page tables of VT-d, SMMUv3 and
 * AMD, and says what each of them would say of itself (IOMMU_GET_HW_INFO with the type asked for).
 */
#include "abi/driver.h"

#include <endian.h>
#include <errno.h>
#include <uiommu/abi.h>
#include <uiommu/formats.h>
#include <uiommu/nested.h>

#include "abi/driver_smmuv3.h"
#include "iommu/tables.h"
#include "iommu/viommu.h"
#include "util/bits.h"
#include "util/util.h"
#include "viommu/vtd/spec.h"

/* What a guest is offered of each. */
enum {
	SMMUV3 = UIOMMU_SMMUV3_S1P | UIOMMU_SMMUV3_CD2L | UIOMMU_SMMUV3_ATS | UIOMMU_SMMUV3_PRI | UIOMMU_SMMUV3_HA |
		 UIOMMU_SMMUV3_HD | UIOMMU_SMMUV3_ASID16 | UIOMMU_SMMUV3_STALL | UIOMMU_SMMUV3_TERM_MODEL | UIOMMU_SMMUV3_GRAN4K |
		 UIOMMU_SMMUV3_GRAN16K | UIOMMU_SMMUV3_GRAN64K | UIOMMU_SMMUV3_HAD,
	AMD = UIOMMU_AMD_TABLES_ATS | UIOMMU_AMD_TABLES_PPR | UIOMMU_AMD_TABLES_GUEST | UIOMMU_AMD_TABLES_GUEST_5 |
	      UIOMMU_AMD_TABLES_GIOV | UIOMMU_AMD_TABLES_EXECUTE | UIOMMU_AMD_TABLES_USER,
	PASID_BITS = 20,
};

static int hwpt_paging(struct abi_call *call, const struct abi_hwpt_alloc *arguments, const struct uiommu_hwpt_alloc *alloc,
		       uint32_t *out_id)
{
	if (arguments->data_type != ABI_HWPT_DATA_NONE)
		return -EOPNOTSUPP;
	return uiommu_hwpt_alloc(call->context, alloc, out_id);
}

/* --- nested page tables --- */

/* Unlike commands, a driver's data may not be larger than it is known. */
static int read_data(struct abi_call *call, const struct abi_hwpt_alloc *arguments, void *out, size_t size)
{
	return arguments->data_len == size ? abi_call_read(call, arguments->data_uptr, out, size) : -EINVAL;
}

static int nested_vtd(struct abi_call *call, const struct abi_hwpt_alloc *arguments, uint32_t parent_id, uint32_t *out_id)
{
	struct uiommu_hwpt_nested nested = {
		.size = sizeof(nested),
		.flags = arguments->flags,
		.parent_id = parent_id,
		.fault_queue_id = arguments->fault_id,
		/* There is no bit for NXE: XD means what it does in the tables of a process. */
		.first = {.format = UIOMMU_FORMAT_VTD_FIRST, .flags = UIOMMU_VTD_FIRST_1G | UIOMMU_VTD_FIRST_NXE, .output_lg2 = 52},
	};
	struct abi_hwpt_vtd_s1 data;
	int error = read_data(call, arguments, &data, sizeof(data));

	if (error)
		return error;
	if (data.flags & ~(uint64_t)(ABI_VTD_S1_SRE | ABI_VTD_S1_EAFE | ABI_VTD_S1_WPE) || data.reserved)
		return -EOPNOTSUPP;
	if (data.addr_width != 48 && data.addr_width != 57)
		return -EINVAL;
	nested.first.base[0] = data.pgtbl_addr;
	nested.first.levels = data.addr_width == 57 ? 5 : 4;
	nested.first.flags |= (data.flags & ABI_VTD_S1_WPE ? UIOMMU_VTD_FIRST_WPE : 0U) |
			      (data.flags & ABI_VTD_S1_EAFE ? UIOMMU_VTD_FIRST_EAFE : 0U);
	return uiommu_hwpt_alloc_nested(call->context, &nested, out_id);
}

/* STE and DTE: as many of their words as the ABI has, in the order of the bytes. */
static int read_entry(struct abi_call *call, const struct abi_hwpt_alloc *arguments, struct tables_given *given, size_t size)
{
	int error = read_data(call, arguments, given->words, size);

	for (size_t i = 0; i < ARRAY_SIZE(given->words); i++)
		given->words[i] = le64toh(given->words[i]);
	given->flags = arguments->flags;
	given->fault_queue_id = arguments->fault_id;
	return error;
}

static int nested_smmuv3(struct abi_call *call, const struct abi_hwpt_alloc *arguments, struct tables_given *given,
			 uint32_t *out_id)
{
	int error = read_entry(call, arguments, given, sizeof(struct abi_hwpt_arm_smmuv3));

	if (!error)
		error = smmuv3_check(given->words);
	if (error)
		return error;
	given->tables = UIOMMU_TABLES_SMMUV3;
	given->capabilities = (uint32_t)SMMUV3 | (uint32_t)FIELD_PREP64(UIOMMU_SMMUV3_SSIDSIZE, PASID_BITS);
	error = hwpt_alloc_given(call->context, given, out_id);
	return error == -EINVAL ? -EIO : error; /* it is the STE */
}

static int nested_amd(struct abi_call *call, const struct abi_hwpt_alloc *arguments, struct tables_given *given, uint32_t *out_id)
{
	int error = read_entry(call, arguments, given, sizeof(struct abi_hwpt_amd_guest));

	if (error)
		return error;
	given->tables = UIOMMU_TABLES_AMD;
	given->capabilities = (uint32_t)AMD | (uint32_t)FIELD_PREP64(UIOMMU_AMD_TABLES_GLX, 3) |
			      (uint32_t)FIELD_PREP64(UIOMMU_AMD_TABLES_PASMAX, PASID_BITS - 1);
	return hwpt_alloc_given(call->context, given, out_id);
}

static int hwpt_nested(struct abi_call *call, const struct abi_hwpt_alloc *arguments, uint32_t parent_id, struct viommu *viommu,
		       uint32_t *out_id)
{
	struct tables_given given = {.parent_id = parent_id, .viommu = viommu};

	if (arguments->data_type == ABI_HWPT_DATA_ARM_SMMUV3)
		return nested_smmuv3(call, arguments, &given, out_id);
	if (viommu)
		return -EINVAL; /* it is an SMMUv3 */
	if (arguments->data_type == ABI_HWPT_DATA_VTD_S1)
		return nested_vtd(call, arguments, parent_id, out_id);
	if (arguments->data_type == ABI_HWPT_DATA_AMD_GUEST)
		return nested_amd(call, arguments, &given, out_id);
	return -EOPNOTSUPP;
}

/* --- invalidation --- */

/* As in Linux: commands of an SMMUv3 are read all at once, and at least one; of VT-d there may be none, but of no other size. */
static int invalidation(const struct viommu *viommu, const struct abi_hwpt_invalidate *arguments, struct abi_entry_rules *out)
{
	uint32_t type = arguments->data_type, count = arguments->entry_num;

	*out = (struct abi_entry_rules){.together = viommu};
	if (viommu && type == ABI_VIOMMU_INVALIDATE_ARM_SMMUV3 && count)
		out->known = sizeof(struct abi_viommu_arm_smmuv3_invalidate);
	else if (!viommu && type == ABI_HWPT_INVALIDATE_VTD_S1)
		out->known = sizeof(struct abi_hwpt_vtd_s1_invalidate);
	else if (!viommu && type == UIOMMU_ABI_INVALIDATE)
		out->known = sizeof(struct uiommu_abi_invalidate);
	else
		return -EINVAL;
	return !viommu && count && arguments->entry_len != out->known ? -EINVAL : 0;
}

/* @pages of 4 KiB from @address on; all of them if there are UINT64_MAX. */
static int set_range(struct uiommu_invalidation *out, uint64_t address, uint64_t pages)
{
	uint64_t bytes;

	if (pages == UINT64_MAX) {
		out->last = UINT64_MAX;
		return address ? -EINVAL : 0;
	}
	if (address % 4096)
		return -EINVAL;
	out->start = address;
	pages = max_u64(pages, 1);
	/* What reaches over the end is all that there is. */
	if (__builtin_mul_overflow(pages, UINT64_C(4096), &bytes) || __builtin_add_overflow(address, bytes - 1, &out->last))
		out->last = UINT64_MAX;
	return 0;
}

static int decode_vtd(const struct abi_hwpt_vtd_s1_invalidate *entry, struct uiommu_invalidation *out)
{
	if (entry->flags & ~(uint32_t)ABI_VTD_INV_LEAF || entry->reserved)
		return -EOPNOTSUPP;
	out->flags = entry->flags & ABI_VTD_INV_LEAF ? UIOMMU_INVALIDATE_LEAF : 0;
	return set_range(out, entry->addr, entry->npages);
}

static int decode_own(const struct uiommu_abi_invalidate *entry, struct uiommu_invalidation *out)
{
	if (entry->flags & ~(uint32_t)(UIOMMU_INVALIDATE_ENTRIES | UIOMMU_INVALIDATE_PASID | UIOMMU_INVALIDATE_LEAF))
		return -EOPNOTSUPP;
	out->flags = entry->flags;
	out->pasid = entry->pasid;
	return set_range(out, entry->addr, entry->npages);
}

static int decode(struct viommu *viommu, const struct abi_entries *entries, uint32_t number, struct uiommu_invalidation *out)
{
	*out = (struct uiommu_invalidation){0};
	if (viommu)
		return smmuv3_decode(viommu, (const struct abi_viommu_arm_smmuv3_invalidate *)entries->entries + number, out);
	if (entries->type == ABI_HWPT_INVALIDATE_VTD_S1)
		return decode_vtd((const struct abi_hwpt_vtd_s1_invalidate *)entries->entries + number, out);
	return decode_own((const struct uiommu_abi_invalidate *)entries->entries + number, out);
}

/* All that can be understood, in one go: it waits once. */
static int invalidate(struct abi_call *call, uint32_t id, struct viommu *viommu, const struct abi_entries *entries, uint32_t *done)
{
	struct uiommu_invalidation requests[ABI_ENTRIES_MAX];
	uint32_t count = 0;
	int error = 0, late;

	while (count < entries->count && !error) {
		error = decode(viommu, entries, count, &requests[count]);
		count += !error;
	}
	late = viommu ? viommu_invalidate(viommu, requests, count) : uiommu_hwpt_invalidate(call->context, id, requests, count);
	if (late)
		return late;
	*done = count;
	return error;
}

/* --- registers --- */

static size_t vtd_info(void *buffer)
{
	const struct abi_hw_info_vtd info = {
		.cap_reg = BIT64(10) | BIT64(11) | FIELD_PREP64(VTD_CAP_MGAW, 56) | VTD_CAP_FS1GP | VTD_CAP_FS5LP |
			   VTD_CAP_SSLPS_2M | VTD_CAP_SSLPS_1G | VTD_CAP_PSI | FIELD_PREP64(VTD_CAP_ND, 6) |
			   FIELD_PREP64(VTD_CAP_MAMV, 18) | VTD_CAP_DWD | VTD_CAP_DRD,
		.ecap_reg = VTD_ECAP_C | VTD_ECAP_QI | VTD_ECAP_DT | VTD_ECAP_PT | VTD_ECAP_SC | VTD_ECAP_NEST | VTD_ECAP_PRS |
			    VTD_ECAP_SRS | VTD_ECAP_EAFS | FIELD_PREP64(VTD_ECAP_PSS, PASID_BITS - 1) | VTD_ECAP_PASID |
			    VTD_ECAP_PDS | VTD_ECAP_SMTS | VTD_ECAP_SSADS | VTD_ECAP_SSTS | VTD_ECAP_FSTS | VTD_ECAP_SMPWCS |
			    VTD_ECAP_RPS,
	};

	memcpy(buffer, &info, sizeof(info));
	return sizeof(info);
}

/* IHI 0070, 6.3.1 to 6.3.6: IDR0, IDR1, IDR3 and IDR5. */
static size_t smmuv3_info(void *buffer)
{
	const struct abi_hw_info_arm_smmuv3 info = {
		.idr =
			{
				[0] = 1u << 1 /* S1P */ | 2u << 2 /* TTF: AArch64 */ | 1u << 4 /* COHACC */ | 2u << 6 /* HTTU */ |
				      1u << 10 /* ATS */ | 1u << 12 /* ASID16 */ | 1u << 16 /* PRI */ | 1u << 19 /* CD2L */ |
				      0u << 24 /* STALL_MODEL */ | 1u << 26 /* TERM_MODEL */ | 1u << 27 /* ST_LEVEL */,
				[1] = (uint32_t)PASID_BITS << 6 /* SSIDSIZE */ | 32u /* SIDSIZE */ | 19u << 21 /* CMDQS */ |
				      19u << 16 /* EVENTQS */ | 19u << 11 /* PRIQS */,
				[3] = 1u << 2 /* HAD */ | 1u << 10 /* RIL */,
				[5] = 5u /* OAS: 48 bits */ | 1u << 4 | 1u << 5 | 1u << 6 /* GRAN4K, 16K, 64K */,
			},
	};

	memcpy(buffer, &info, sizeof(info));
	return sizeof(info);
}

/* 48882, 3.4.10: the extended feature register. */
static size_t amd_info(void *buffer)
{
	const struct abi_hw_info_amd info = {
		.efr = BIT64(1) /* PPRSup */ | BIT64(3) /* NXSup */ | BIT64(4) /* GTSup */ | BIT64(6) /* IASup */ |
		       FIELD_PREP64(GENMASK64(13, 12), 1)
		       /* GATS: 5 levels */
		       | FIELD_PREP64(GENMASK64(15, 14), 2) /* GLXSup: 3 levels */ | BIT64(48) /* GIoSup */ |
		       FIELD_PREP64(GENMASK64(36, 32), PASID_BITS - 1) /* PASmax */,
	};

	memcpy(buffer, &info, sizeof(info));
	return sizeof(info);
}

/* No PASID capability of ours has Execute or Privileged Mode. */
static uint64_t capabilities_of(struct abi_call *call, uint32_t device_id)
{
	struct object *object = object_get(call->context, device_id, UIOMMU_OBJECT_DEVICE);
	bool never = object && container_of(object, struct device, object)->never_ats;

	if (object)
		object_put(object);
	return ABI_HW_CAP_DIRTY_TRACKING | (never ? ABI_HW_CAP_ATS_NOT_SUPPORTED : 0U);
}

static int hw_info(struct abi_call *call, uint32_t device_id, uint32_t *type, void *buffer, size_t size, uint64_t *capabilities)
{
	(void)size; /* is enough for each of them */
	if (!*type)
		*type = ABI_HW_INFO_VTD;
	if (*type != ABI_HW_INFO_VTD && *type != ABI_HW_INFO_ARM_SMMUV3 && *type != ABI_HW_INFO_AMD)
		return -EOPNOTSUPP;
	*capabilities = capabilities_of(call, device_id);
	return (int)(*type == ABI_HW_INFO_VTD	? vtd_info(buffer)
		     : *type == ABI_HW_INFO_AMD ? amd_info(buffer)
						: smmuv3_info(buffer));
}

/* --- dirty bits --- */

static int set_dirty(struct abi_call *call, uint32_t hwpt_id, uint32_t flags)
{
	return uiommu_hwpt_set_dirty_tracking(call->context, hwpt_id, flags);
}

static int get_dirty(struct abi_call *call, const struct uiommu_dirty_bitmap *request)
{
	return uiommu_hwpt_get_dirty_bitmap(call->context, request);
}

/* --- vIOMMUs --- */

static int driver_viommu_alloc(struct abi_call *call, struct abi_viommu_alloc *arguments, uint32_t *out_id)
{
	if (arguments->type != ABI_VIOMMU_ARM_SMMUV3)
		return -EOPNOTSUPP;
	return viommu_alloc(call->context, arguments->type, &smmuv3_events, arguments->hwpt_id, out_id);
}

/* Queues that hardware reads by itself are Tegra's. */
static int hw_queues(struct abi_call *call, const struct viommu *viommu, uint32_t type)
{
	(void)call;
	(void)viommu;
	(void)type;
	return -EOPNOTSUPP;
}

const struct abi_driver abi_uiommu = {
	.hwpt_paging = hwpt_paging,
	.hwpt_nested = hwpt_nested,
	.invalidate = invalidate,
	.invalidation = invalidation,
	.hw_info = hw_info,
	.set_dirty = set_dirty,
	.get_dirty = get_dirty,
	.viommu_alloc = driver_viommu_alloc,
	.hw_queues = hw_queues,
};
