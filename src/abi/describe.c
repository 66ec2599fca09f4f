/* SPDX-License-Identifier: BSD-3-Clause */
#include "abi/describe.h"

#include <string.h>
#include <uiommu/abi.h>
#include <uiommu/bind.h>
#include <uiommu/fault.h>
#include <uiommu/ioas.h>
#include <uiommu/nested.h>

#include "abi/spec.h"
#include "util/util.h"

static const struct abi_name none[] = {{0, NULL}}; /* flags of which there are none */
static const struct abi_name map_flags[] = {{1, "FIXED_IOVA"}, {2, "WRITEABLE"}, {4, "READABLE"}, {0, NULL}};
static const struct abi_name options[] = {
	{ABI_OPTION_RLIMIT_MODE, "RLIMIT_MODE"}, {ABI_OPTION_HUGE_PAGES, "HUGE_PAGES"}, {0, NULL}};
static const struct abi_name option_ops[] = {{ABI_OPTION_SET, "SET"}, {ABI_OPTION_GET, "GET"}, {0, NULL}};
static const struct abi_name vfio_ioas_ops[] = {
	{ABI_VFIO_IOAS_GET, "GET"}, {ABI_VFIO_IOAS_SET, "SET"}, {ABI_VFIO_IOAS_CLEAR, "CLEAR"}, {0, NULL}};
static const struct abi_name hwpt_flags[] = {
	{ABI_HWPT_NEST_PARENT, "NEST_PARENT"},
	{ABI_HWPT_DIRTY_TRACKING, "DIRTY_TRACKING"},
	{ABI_HWPT_FAULT_ID_VALID, "FAULT_ID_VALID"},
	{ABI_HWPT_PASID, "PASID"},
	{0, NULL},
};
static const struct abi_name hwpt_types[] = {
	{ABI_HWPT_DATA_NONE, "NONE"},
	{ABI_HWPT_DATA_VTD_S1, "VTD_S1"},
	{ABI_HWPT_DATA_ARM_SMMUV3, "ARM_SMMUV3"},
	{ABI_HWPT_DATA_AMD_GUEST, "AMD_GUEST"},
	{0, NULL},
};
static const struct abi_name vtd_flags[] = {{ABI_VTD_S1_SRE, "SRE"}, {ABI_VTD_S1_EAFE, "EAFE"}, {ABI_VTD_S1_WPE, "WPE"}, {0, NULL}};
static const struct abi_name hw_info_flags[] = {{ABI_HW_INFO_INPUT_TYPE, "INPUT_TYPE"}, {0, NULL}};
static const struct abi_name hw_info_types[] = {
	{ABI_HW_INFO_NONE, "NONE"},
	{ABI_HW_INFO_VTD, "INTEL_VTD"},
	{ABI_HW_INFO_ARM_SMMUV3, "ARM_SMMUV3"},
	{ABI_HW_INFO_TEGRA241, "TEGRA241_CMDQV"},
	{ABI_HW_INFO_AMD, "AMD"},
	{0, NULL},
};
static const struct abi_name hw_capabilities[] = {
	{ABI_HW_CAP_DIRTY_TRACKING, "DIRTY_TRACKING"},
	{ABI_HW_CAP_PASID_EXEC, "PASID_EXEC"},
	{ABI_HW_CAP_PASID_PRIV, "PASID_PRIV"},
	{ABI_HW_CAP_ATS_NOT_SUPPORTED, "ATS_NOT_SUPPORTED"},
	{0, NULL},
};
static const struct abi_name dirty_flags[] = {{1, "ENABLE"}, {0, NULL}};
static const struct abi_name bitmap_flags[] = {{1, "NO_CLEAR"}, {0, NULL}};
static const struct abi_name invalidate_types[] = {
	{ABI_HWPT_INVALIDATE_VTD_S1, "VTD_S1"},
	{ABI_VIOMMU_INVALIDATE_ARM_SMMUV3, "ARM_SMMUV3"},
	{UIOMMU_ABI_INVALIDATE, "UIOMMU"},
	{0, NULL},
};
static const struct abi_name vtd_invalidate_flags[] = {{ABI_VTD_INV_LEAF, "LEAF"}, {0, NULL}};
static const struct abi_name invalidate_flags[] = {
	{UIOMMU_INVALIDATE_ENTRIES, "ENTRIES"}, {UIOMMU_INVALIDATE_PASID, "PASID"}, {UIOMMU_INVALIDATE_LEAF, "LEAF"}, {0, NULL}};
static const struct abi_name viommu_types[] = {
	{ABI_VIOMMU_DEFAULT, "DEFAULT"},
	{ABI_VIOMMU_ARM_SMMUV3, "ARM_SMMUV3"},
	{ABI_VIOMMU_TEGRA241, "TEGRA241_CMDQV"},
	{0, NULL},
};
static const struct abi_name bind_flags[] = {{UIOMMU_BIND_VPASID, "VPASID"}, {UIOMMU_BIND_RID, "RID"}, {0, NULL}};
static const struct abi_name bind_types[] = {
	{UIOMMU_BIND_PROCESS, "PROCESS"},
	{UIOMMU_BIND_PAGE_TABLE, "PAGE_TABLE"},
	{UIOMMU_BIND_PASID_TABLE, "PASID_TABLE"},
	{UIOMMU_BIND_SHARED, "SHARED"},
	{0, NULL},
};
static const struct abi_name process_flags[] = {{UIOMMU_BIND_SELF, "SELF"}, {0, NULL}};
static const struct abi_name access_flags[] = {{UIOMMU_READ, "READ"}, {UIOMMU_WRITE, "WRITE"}, {0, NULL}};
static const struct abi_name page_table_flags[] = {
	{UIOMMU_BIND_SUPERVISOR, "SUPERVISOR"},
	{UIOMMU_BIND_EXECUTE, "EXECUTE"},
	{UIOMMU_BIND_WRITE_PROTECT, "WRITE_PROTECT"},
	{UIOMMU_BIND_EXTENDED_ACCESS, "EXTENDED_ACCESS"},
	{0, NULL},
};
static const struct abi_name fault_flags[] = {{1, "PASID_VALID"}, {2, "LAST_PAGE"}, {0, NULL}};
const struct abi_name abi_fault_permissions[] = {{1, "READ"}, {2, "WRITE"}, {4, "EXEC"}, {8, "PRIV"}, {0, NULL}};
static const struct abi_name responses[] = {{0, "SUCCESS"}, {1, "INVALID"}, {0, NULL}};
static const struct abi_name vevent_flags[] = {{ABI_VEVENT_LOST, "LOST_EVENTS"}, {0, NULL}};

/* --- arrays --- */

#define ARRAY(name, count_member, type_member, mask, elements)                                                                     \
	static const struct abi_array name = {count_member, type_member, mask, ARRAY_SIZE(elements), elements}

static const struct abi_member range[] = {HEX(uiommu_range, start), HEX(uiommu_range, last)};
static const struct abi_element range_elements[] = {ABI_ELEMENT(0, sizeof(struct uiommu_range), range)};
ARRAY(allowed_ranges, offsetof(struct abi_ioas_allow_iovas, num_iovas), 0, 0, range_elements);
ARRAY(iova_ranges, offsetof(struct abi_ioas_iova_ranges, num_iovas), 0, 0, range_elements);

static const struct abi_member vtd_s1[] = {FLAGS(abi_hwpt_vtd_s1, flags, vtd_flags), HEX(abi_hwpt_vtd_s1, pgtbl_addr),
					   NUMBER(abi_hwpt_vtd_s1, addr_width)};
static const struct abi_member two_words[] = {{"", 0, 8, ABI_HEX, {NULL}}, {"", 8, 8, ABI_HEX, {NULL}}};
static const struct abi_member four_words[] = {
	{"", 0, 8, ABI_HEX, {NULL}}, {"", 8, 8, ABI_HEX, {NULL}}, {"", 16, 8, ABI_HEX, {NULL}}, {"", 24, 8, ABI_HEX, {NULL}}};
static const struct abi_element hwpt_elements[] = {
	ABI_ELEMENT(ABI_HWPT_DATA_VTD_S1, sizeof(struct abi_hwpt_vtd_s1), vtd_s1),
	ABI_ELEMENT(ABI_HWPT_DATA_ARM_SMMUV3, sizeof(struct abi_hwpt_arm_smmuv3), two_words),
	ABI_ELEMENT(ABI_HWPT_DATA_AMD_GUEST, sizeof(struct abi_hwpt_amd_guest), four_words),
};
ARRAY(hwpt_data, 0, offsetof(struct abi_hwpt_alloc, data_type), UINT32_MAX, hwpt_elements);

static const struct abi_member info_vtd[] = {HEX(abi_hw_info_vtd, flags), HEX(abi_hw_info_vtd, cap_reg),
					     HEX(abi_hw_info_vtd, ecap_reg)};
static const struct abi_member info_arm[] = {
	HEX(abi_hw_info_arm_smmuv3, flags),  HEX(abi_hw_info_arm_smmuv3, idr[0]), HEX(abi_hw_info_arm_smmuv3, idr[1]),
	HEX(abi_hw_info_arm_smmuv3, idr[2]), HEX(abi_hw_info_arm_smmuv3, idr[3]), HEX(abi_hw_info_arm_smmuv3, idr[4]),
	HEX(abi_hw_info_arm_smmuv3, idr[5]), HEX(abi_hw_info_arm_smmuv3, iidr),	  HEX(abi_hw_info_arm_smmuv3, aidr),
};
static const struct abi_member info_amd[] = {HEX(abi_hw_info_amd, efr), HEX(abi_hw_info_amd, efr2)};
static const struct abi_element hw_info_elements[] = {
	ABI_ELEMENT(ABI_HW_INFO_VTD, sizeof(struct abi_hw_info_vtd), info_vtd),
	ABI_ELEMENT(ABI_HW_INFO_ARM_SMMUV3, sizeof(struct abi_hw_info_arm_smmuv3), info_arm),
	ABI_ELEMENT(ABI_HW_INFO_AMD, sizeof(struct abi_hw_info_amd), info_amd),
};
ARRAY(hw_info_data, 0, offsetof(struct abi_hw_info, data_type), UINT32_MAX, hw_info_elements);

static const struct abi_member vtd_invalidate[] = {
	HEX(abi_hwpt_vtd_s1_invalidate, addr),
	NUMBER(abi_hwpt_vtd_s1_invalidate, npages),
	FLAGS(abi_hwpt_vtd_s1_invalidate, flags, vtd_invalidate_flags),
};
static const struct abi_member own_invalidate[] = {
	HEX(uiommu_abi_invalidate, addr),
	NUMBER(uiommu_abi_invalidate, npages),
	FLAGS(uiommu_abi_invalidate, flags, invalidate_flags),
	NUMBER(uiommu_abi_invalidate, pasid),
};
static const struct abi_element invalidate_elements[] = {
	ABI_ELEMENT(ABI_HWPT_INVALIDATE_VTD_S1, sizeof(struct abi_hwpt_vtd_s1_invalidate), vtd_invalidate),
	ABI_ELEMENT(ABI_VIOMMU_INVALIDATE_ARM_SMMUV3, sizeof(struct abi_viommu_arm_smmuv3_invalidate), two_words),
	ABI_ELEMENT(UIOMMU_ABI_INVALIDATE, sizeof(struct uiommu_abi_invalidate), own_invalidate),
};
ARRAY(invalidations, offsetof(struct abi_hwpt_invalidate, entry_num), offsetof(struct abi_hwpt_invalidate, data_type), UINT32_MAX,
      invalidate_elements);

static const struct abi_member bind_process[] = {
	FLAGS(uiommu_bind_process, flags, process_flags),
	FLAGS(uiommu_bind_process, access, access_flags),
	FD(uiommu_bind_process, process.mem),
	FD(uiommu_bind_process, process.maps),
	FD(uiommu_bind_process, process.pidfd),
	FD(uiommu_bind_process, process.auxv),
	FD(uiommu_bind_process, process.exec),
};
static const struct abi_member bind_page_table[] = {
	FLAGS(uiommu_bind_page_table, flags, page_table_flags),
	NUMBER(uiommu_bind_page_table, format),
	NUMBER(uiommu_bind_page_table, parent_id),
	HEX(uiommu_bind_page_table, format_flags),
	HEX(uiommu_bind_page_table, root),
	NUMBER(uiommu_bind_page_table, address_width),
	NUMBER(uiommu_bind_page_table, output_width),
	NUMBER(uiommu_bind_page_table, granule_lg2),
};
static const struct abi_member bind_shared[] = {NUMBER(uiommu_bind_shared, ioas_id),
						FLAGS(uiommu_bind_shared, access, access_flags)};
static const struct abi_element bind_elements[] = {
	ABI_ELEMENT(UIOMMU_BIND_PROCESS, sizeof(struct uiommu_bind_process), bind_process),
	ABI_ELEMENT(UIOMMU_BIND_PAGE_TABLE, sizeof(struct uiommu_bind_page_table), bind_page_table),
	ABI_ELEMENT(UIOMMU_BIND_SHARED, sizeof(struct uiommu_bind_shared), bind_shared),
};
ARRAY(bind_data, 0, offsetof(struct uiommu_abi_bind, type), UINT32_MAX, bind_elements);

/* --- structs --- */

static const struct abi_member destroy[] = {NUMBER(abi_destroy, id)};
static const struct abi_member ioas_alloc[] = {FLAGS(abi_ioas_alloc, flags, none), NUMBER(abi_ioas_alloc, out_ioas_id)};
static const struct abi_member ioas_allow_iovas[] = {
	NUMBER(abi_ioas_allow_iovas, ioas_id),
	NUMBER(abi_ioas_allow_iovas, num_iovas),
	ABI_ARRAY_OF(abi_ioas_allow_iovas, allowed_iovas, &allowed_ranges),
};
static const struct abi_member ioas_copy[] = {
	FLAGS(abi_ioas_copy, flags, map_flags), NUMBER(abi_ioas_copy, dst_ioas_id),
	NUMBER(abi_ioas_copy, src_ioas_id),	HEX(abi_ioas_copy, length),
	HEX(abi_ioas_copy, dst_iova),		HEX(abi_ioas_copy, src_iova),
};
static const struct abi_member ioas_iova_ranges[] = {
	NUMBER(abi_ioas_iova_ranges, ioas_id),
	NUMBER(abi_ioas_iova_ranges, num_iovas),
	ABI_ARRAY_OF(abi_ioas_iova_ranges, allowed_iovas, &iova_ranges),
	HEX(abi_ioas_iova_ranges, out_iova_alignment),
};
static const struct abi_member ioas_map[] = {
	FLAGS(abi_ioas_map, flags, map_flags),
	NUMBER(abi_ioas_map, ioas_id),
	HEX(abi_ioas_map, user_va),
	HEX(abi_ioas_map, length),
	HEX(abi_ioas_map, iova),
};
static const struct abi_member ioas_map_file[] = {
	FLAGS(abi_ioas_map_file, flags, map_flags),
	NUMBER(abi_ioas_map_file, ioas_id),
	FD(abi_ioas_map_file, fd),
	HEX(abi_ioas_map_file, start),
	HEX(abi_ioas_map_file, length),
	HEX(abi_ioas_map_file, iova),
};
static const struct abi_member ioas_unmap[] = {
	NUMBER(abi_ioas_unmap, ioas_id),
	HEX(abi_ioas_unmap, iova),
	HEX(abi_ioas_unmap, length),
};
static const struct abi_member option[] = {
	ENUM(abi_option, option_id, options),
	ENUM(abi_option, op, option_ops),
	NUMBER(abi_option, object_id),
	NUMBER(abi_option, val64),
};
static const struct abi_member vfio_ioas[] = {NUMBER(abi_vfio_ioas, ioas_id), ENUM(abi_vfio_ioas, op, vfio_ioas_ops)};
static const struct abi_member hwpt_alloc[] = {
	FLAGS(abi_hwpt_alloc, flags, hwpt_flags),
	NUMBER(abi_hwpt_alloc, dev_id),
	NUMBER(abi_hwpt_alloc, pt_id),
	ENUM(abi_hwpt_alloc, data_type, hwpt_types),
	NUMBER(abi_hwpt_alloc, data_len),
	ABI_ARRAY_OF(abi_hwpt_alloc, data_uptr, &hwpt_data),
	NUMBER(abi_hwpt_alloc, fault_id),
	NUMBER(abi_hwpt_alloc, out_hwpt_id),
};
static const struct abi_member hw_info[] = {
	FLAGS(abi_hw_info, flags, hw_info_flags),
	NUMBER(abi_hw_info, dev_id),
	NUMBER(abi_hw_info, data_len),
	ABI_ARRAY_OF(abi_hw_info, data_uptr, &hw_info_data),
	ENUM(abi_hw_info, data_type, hw_info_types),
	NUMBER(abi_hw_info, out_max_pasid_log2),
	FLAGS(abi_hw_info, out_capabilities, hw_capabilities),
};
static const struct abi_member set_dirty_tracking[] = {
	FLAGS(abi_hwpt_set_dirty_tracking, flags, dirty_flags),
	NUMBER(abi_hwpt_set_dirty_tracking, hwpt_id),
};
static const struct abi_member get_dirty_bitmap[] = {
	NUMBER(abi_hwpt_get_dirty_bitmap, hwpt_id),   FLAGS(abi_hwpt_get_dirty_bitmap, flags, bitmap_flags),
	HEX(abi_hwpt_get_dirty_bitmap, iova),	      HEX(abi_hwpt_get_dirty_bitmap, length),
	NUMBER(abi_hwpt_get_dirty_bitmap, page_size), HEX(abi_hwpt_get_dirty_bitmap, data),
};
static const struct abi_member invalidate[] = {
	NUMBER(abi_hwpt_invalidate, hwpt_id),
	ABI_ARRAY_OF(abi_hwpt_invalidate, data_uptr, &invalidations),
	ENUM(abi_hwpt_invalidate, data_type, invalidate_types),
	NUMBER(abi_hwpt_invalidate, entry_len),
	NUMBER(abi_hwpt_invalidate, entry_num),
};
static const struct abi_member fault_alloc[] = {
	FLAGS(abi_fault_alloc, flags, none),
	NUMBER(abi_fault_alloc, out_fault_id),
	FD(abi_fault_alloc, out_fault_fd),
};
static const struct abi_member viommu_alloc[] = {
	FLAGS(abi_viommu_alloc, flags, none),	 ENUM(abi_viommu_alloc, type, viommu_types), NUMBER(abi_viommu_alloc, dev_id),
	NUMBER(abi_viommu_alloc, hwpt_id),	 NUMBER(abi_viommu_alloc, data_len),	     HEX(abi_viommu_alloc, data_uptr),
	NUMBER(abi_viommu_alloc, out_viommu_id),
};
static const struct abi_member vdevice_alloc[] = {
	NUMBER(abi_vdevice_alloc, viommu_id),
	NUMBER(abi_vdevice_alloc, dev_id),
	HEX(abi_vdevice_alloc, virt_id),
	NUMBER(abi_vdevice_alloc, out_vdevice_id),
};
static const struct abi_member veventq_alloc[] = {
	FLAGS(abi_veventq_alloc, flags, none),	     NUMBER(abi_veventq_alloc, viommu_id),
	ENUM(abi_veventq_alloc, type, viommu_types), NUMBER(abi_veventq_alloc, veventq_depth),
	NUMBER(abi_veventq_alloc, out_veventq_id),   FD(abi_veventq_alloc, out_veventq_fd),
};
static const struct abi_member hw_queue_alloc[] = {
	FLAGS(abi_hw_queue_alloc, flags, none),	     NUMBER(abi_hw_queue_alloc, viommu_id),	   NUMBER(abi_hw_queue_alloc, type),
	NUMBER(abi_hw_queue_alloc, index),	     HEX(abi_hw_queue_alloc, nesting_parent_iova), HEX(abi_hw_queue_alloc, length),
	NUMBER(abi_hw_queue_alloc, out_hw_queue_id),
};

static const struct abi_member version[] = {NUMBER(uiommu_abi_version, out_version), HEX(uiommu_abi_version, out_commands)};
static const struct abi_member sva_bind[] = {
	FLAGS(uiommu_abi_bind, flags, bind_flags),
	NUMBER(uiommu_abi_bind, device_id),
	SIGNED(uiommu_abi_bind, pasid),
	NUMBER(uiommu_abi_bind, vpasid),
	ENUM(uiommu_abi_bind, type, bind_types),
	NUMBER(uiommu_abi_bind, fault_queue_id),
	NUMBER(uiommu_abi_bind, data_len),
	ABI_ARRAY_OF(uiommu_abi_bind, data, &bind_data),
	NUMBER(uiommu_abi_bind, out_hwpt_id),
};
static const struct abi_member sva_unbind[] = {
	NUMBER(uiommu_abi_unbind, device_id),
	SIGNED(uiommu_abi_unbind, pasid),
};
static const struct abi_member pasid_set_alloc[] = {
	FLAGS(uiommu_abi_pasid_set_alloc, flags, none),
	NUMBER(uiommu_abi_pasid_set_alloc, quota),
	NUMBER(uiommu_abi_pasid_set_alloc, out_set_id),
};
static const struct abi_member pasid_alloc[] = {
	NUMBER(uiommu_abi_pasid_alloc, set_id),
	NUMBER(uiommu_abi_pasid_alloc, first),
	NUMBER(uiommu_abi_pasid_alloc, last),
	NUMBER(uiommu_abi_pasid_alloc, out_pasid),
};
static const struct abi_member pasid_free[] = {NUMBER(uiommu_abi_pasid_free, set_id), NUMBER(uiommu_abi_pasid_free, pasid)};

#define COMMAND(name, type, members)                                                                                               \
	{                                                                                                                          \
		ABI_COMMAND(ABI_##name), "IOMMU_" #name, sizeof(struct type), ARRAY_SIZE(members), members, NULL, false            \
	}
#define EXTENSION(name, type, members)                                                                                             \
	{                                                                                                                          \
		(unsigned int)UIOMMU_ABI_##name, "UIOMMU_ABI_" #name, sizeof(struct type), ARRAY_SIZE(members), members, NULL,     \
			false                                                                                                      \
	}

static const struct abi_description iommufd_commands[] = {
	COMMAND(DESTROY, abi_destroy, destroy),
	COMMAND(IOAS_ALLOC, abi_ioas_alloc, ioas_alloc),
	COMMAND(IOAS_ALLOW_IOVAS, abi_ioas_allow_iovas, ioas_allow_iovas),
	COMMAND(IOAS_COPY, abi_ioas_copy, ioas_copy),
	COMMAND(IOAS_IOVA_RANGES, abi_ioas_iova_ranges, ioas_iova_ranges),
	COMMAND(IOAS_MAP, abi_ioas_map, ioas_map),
	COMMAND(IOAS_UNMAP, abi_ioas_unmap, ioas_unmap),
	COMMAND(OPTION, abi_option, option),
	COMMAND(VFIO_IOAS, abi_vfio_ioas, vfio_ioas),
	COMMAND(HWPT_ALLOC, abi_hwpt_alloc, hwpt_alloc),
	COMMAND(GET_HW_INFO, abi_hw_info, hw_info),
	COMMAND(HWPT_SET_DIRTY_TRACKING, abi_hwpt_set_dirty_tracking, set_dirty_tracking),
	COMMAND(HWPT_GET_DIRTY_BITMAP, abi_hwpt_get_dirty_bitmap, get_dirty_bitmap),
	COMMAND(HWPT_INVALIDATE, abi_hwpt_invalidate, invalidate),
	COMMAND(FAULT_QUEUE_ALLOC, abi_fault_alloc, fault_alloc),
	COMMAND(IOAS_MAP_FILE, abi_ioas_map_file, ioas_map_file),
	COMMAND(VIOMMU_ALLOC, abi_viommu_alloc, viommu_alloc),
	COMMAND(VDEVICE_ALLOC, abi_vdevice_alloc, vdevice_alloc),
	{ABI_COMMAND(ABI_IOAS_CHANGE_PROCESS), "IOMMU_IOAS_CHANGE_PROCESS", sizeof(struct abi_ioas_change_process), 0, NULL, NULL,
	 false},
	COMMAND(VEVENTQ_ALLOC, abi_veventq_alloc, veventq_alloc),
	COMMAND(HW_QUEUE_ALLOC, abi_hw_queue_alloc, hw_queue_alloc),
	{ABI_COMMAND(ABI_TEST), "IOMMU_TEST_CMD", ABI_TEST_SIZE, ABI_TEST_MEMBERS, abi_test_members, NULL, false},
	EXTENSION(VERSION, uiommu_abi_version, version),
	EXTENSION(BIND, uiommu_abi_bind, sva_bind),
	EXTENSION(UNBIND, uiommu_abi_unbind, sva_unbind),
	EXTENSION(PASID_SET_ALLOC, uiommu_abi_pasid_set_alloc, pasid_set_alloc),
	EXTENSION(PASID_ALLOC, uiommu_abi_pasid_alloc, pasid_alloc),
	EXTENSION(PASID_FREE, uiommu_abi_pasid_free, pasid_free),
};

static const struct abi_description *find(const struct abi_description *table, size_t count, unsigned int command)
{
	for (size_t i = 0; i < count; i++)
		if (table[i].command == command)
			return &table[i];
	return NULL;
}

const struct abi_description *abi_describe(enum abi_space space, unsigned int command)
{
	const struct abi_description *found;

	if (space == ABI_SPACE_DEVICE)
		return find(abi_device_commands, abi_device_command_count, command);
	found = find(iommufd_commands, ARRAY_SIZE(iommufd_commands), command);
	return found ? found : find(abi_container_commands, abi_container_command_count, command);
}

/* --- what is read and written --- */

static const struct abi_member fault[] = {
	FLAGS(uiommu_pgfault, flags, fault_flags),
	NUMBER(uiommu_pgfault, dev_id),
	NUMBER(uiommu_pgfault, pasid),
	NUMBER(uiommu_pgfault, grpid),
	FLAGS(uiommu_pgfault, perm, abi_fault_permissions),
	HEX(uiommu_pgfault, addr),
	NUMBER(uiommu_pgfault, cookie),
};
static const struct abi_member response[] = {NUMBER(uiommu_pgresponse, cookie), ENUM(uiommu_pgresponse, code, responses)};
static const struct abi_member vevent[] = {
	FLAGS(abi_vevent_header, flags, vevent_flags),
	NUMBER(abi_vevent_header, sequence),
	{"evt[0]", 8, 8, ABI_HEX, {NULL}},
	{"evt[1]", 16, 8, ABI_HEX, {NULL}},
	{"evt[2]", 24, 8, ABI_HEX, {NULL}},
	{"evt[3]", 32, 8, ABI_HEX, {NULL}},
};
static const struct abi_element fault_element = ABI_ELEMENT(0, sizeof(struct uiommu_pgfault), fault);
static const struct abi_element response_element = ABI_ELEMENT(0, sizeof(struct uiommu_pgresponse), response);
static const struct abi_element vevent_element =
	ABI_ELEMENT(0, sizeof(struct abi_vevent_header) + sizeof(struct abi_vevent_arm_smmuv3), vevent);

const struct abi_element *abi_describe_data(const char *file, bool written, size_t length)
{
	size_t rest = length % vevent_element.size;

	if (!strcmp(file, "anon_inode:[iommufd-pgfault]"))
		return written ? &response_element : &fault_element;
	/* The records of other types have another size. The last one may be one of lost events, which is a header only. */
	if (written || strcmp(file, "anon_inode:[iommufd-viommu-event]") != 0 || (rest && rest != sizeof(struct abi_vevent_header)))
		return NULL;
	return &vevent_element;
}
