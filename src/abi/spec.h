/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Linux's iommufd ABI as of 7.2: numbers and layouts, nothing else; Debian 12 has no <linux/iommufd.h>. The kernel's own selftest,
 * which is built with its headers, says whether they are the same.
 */
#ifndef ABI_SPEC_H
#define ABI_SPEC_H

#include <stdint.h>

#define ABI_COMMAND(number) ((unsigned int)(';' << 8 | (number)))

enum abi_command_number {
	ABI_FIRST = 0x80,
	ABI_DESTROY = 0x80,
	ABI_IOAS_ALLOC,
	ABI_IOAS_ALLOW_IOVAS,
	ABI_IOAS_COPY,
	ABI_IOAS_IOVA_RANGES,
	ABI_IOAS_MAP,
	ABI_IOAS_UNMAP,
	ABI_OPTION,
	ABI_VFIO_IOAS,
	ABI_HWPT_ALLOC,
	ABI_GET_HW_INFO,
	ABI_HWPT_SET_DIRTY_TRACKING,
	ABI_HWPT_GET_DIRTY_BITMAP,
	ABI_HWPT_INVALIDATE,
	ABI_FAULT_QUEUE_ALLOC,
	ABI_IOAS_MAP_FILE,
	ABI_VIOMMU_ALLOC,
	ABI_VDEVICE_ALLOC,
	ABI_IOAS_CHANGE_PROCESS,
	ABI_VEVENTQ_ALLOC,
	ABI_HW_QUEUE_ALLOC,
	ABI_LAST = ABI_HW_QUEUE_ALLOC,
	ABI_TEST = 0xa0,
};

struct abi_destroy {
	uint32_t size;
	uint32_t id;
};

struct abi_ioas_alloc {
	uint32_t size;
	uint32_t flags;
	uint32_t out_ioas_id;
};

struct abi_ioas_iova_ranges {
	uint32_t size;
	uint32_t ioas_id;
	uint32_t num_iovas;
	uint32_t reserved;
	uint64_t allowed_iovas;
	uint64_t out_iova_alignment;
};

struct abi_ioas_allow_iovas {
	uint32_t size;
	uint32_t ioas_id;
	uint32_t num_iovas;
	uint32_t reserved;
	uint64_t allowed_iovas;
};

struct abi_ioas_map {
	uint32_t size;
	uint32_t flags;
	uint32_t ioas_id;
	uint32_t reserved;
	uint64_t user_va;
	uint64_t length;
	uint64_t iova;
};

struct abi_ioas_map_file {
	uint32_t size;
	uint32_t flags;
	uint32_t ioas_id;
	int32_t fd;
	uint64_t start;
	uint64_t length;
	uint64_t iova;
};

struct abi_ioas_copy {
	uint32_t size;
	uint32_t flags;
	uint32_t dst_ioas_id;
	uint32_t src_ioas_id;
	uint64_t length;
	uint64_t dst_iova;
	uint64_t src_iova;
};

struct abi_ioas_unmap {
	uint32_t size;
	uint32_t ioas_id;
	uint64_t iova;
	uint64_t length;
};

enum { ABI_OPTION_RLIMIT_MODE, ABI_OPTION_HUGE_PAGES };
enum { ABI_OPTION_SET, ABI_OPTION_GET };

struct abi_option {
	uint32_t size;
	uint32_t option_id;
	uint16_t op;
	uint16_t reserved;
	uint32_t object_id;
	uint64_t val64;
};

enum { ABI_VFIO_IOAS_GET, ABI_VFIO_IOAS_SET, ABI_VFIO_IOAS_CLEAR };

struct abi_vfio_ioas {
	uint32_t size;
	uint32_t ioas_id;
	uint16_t op;
	uint16_t reserved;
};

enum {
	ABI_HWPT_NEST_PARENT = 1,
	ABI_HWPT_DIRTY_TRACKING = 2,
	ABI_HWPT_FAULT_ID_VALID = 4,
	ABI_HWPT_PASID = 8,
};

enum { ABI_HWPT_DATA_NONE, ABI_HWPT_DATA_VTD_S1, ABI_HWPT_DATA_ARM_SMMUV3, ABI_HWPT_DATA_AMD_GUEST };

struct abi_hwpt_alloc {
	uint32_t size;
	uint32_t flags;
	uint32_t dev_id;
	uint32_t pt_id;
	uint32_t out_hwpt_id;
	uint32_t reserved;
	uint32_t data_type;
	uint32_t data_len;
	uint64_t data_uptr;
	uint32_t fault_id;
	uint32_t reserved2;
};

enum { ABI_VTD_S1_SRE = 1, ABI_VTD_S1_EAFE = 2, ABI_VTD_S1_WPE = 4 };

struct abi_hwpt_vtd_s1 {
	uint64_t flags;
	uint64_t pgtbl_addr;
	uint32_t addr_width;
	uint32_t reserved;
};

struct abi_hwpt_arm_smmuv3 {
	uint64_t ste[2]; /* little endian */
};

struct abi_hwpt_amd_guest {
	uint64_t dte[4];
};

enum { ABI_HW_INFO_NONE, ABI_HW_INFO_VTD, ABI_HW_INFO_ARM_SMMUV3, ABI_HW_INFO_TEGRA241, ABI_HW_INFO_AMD };
enum { ABI_HW_INFO_INPUT_TYPE = 1 };
enum { ABI_HW_CAP_DIRTY_TRACKING = 1, ABI_HW_CAP_PASID_EXEC = 2, ABI_HW_CAP_PASID_PRIV = 4, ABI_HW_CAP_ATS_NOT_SUPPORTED = 8 };

struct abi_hw_info {
	uint32_t size;
	uint32_t flags;
	uint32_t dev_id;
	uint32_t data_len;
	uint64_t data_uptr;
	uint32_t data_type; /* in and out */
	uint8_t out_max_pasid_log2;
	uint8_t reserved[3];
	uint64_t out_capabilities;
};

struct abi_hw_info_vtd {
	uint32_t flags;
	uint32_t reserved;
	uint64_t cap_reg;
	uint64_t ecap_reg;
};

struct abi_hw_info_arm_smmuv3 {
	uint32_t flags;
	uint32_t reserved;
	uint32_t idr[6];
	uint32_t iidr;
	uint32_t aidr;
};

struct abi_hw_info_amd {
	uint64_t efr;
	uint64_t efr2;
};

struct abi_hwpt_set_dirty_tracking {
	uint32_t size;
	uint32_t flags;
	uint32_t hwpt_id;
	uint32_t reserved;
};

struct abi_hwpt_get_dirty_bitmap {
	uint32_t size;
	uint32_t hwpt_id;
	uint32_t flags;
	uint32_t reserved;
	uint64_t iova;
	uint64_t length;
	uint64_t page_size;
	uint64_t data;
};

enum { ABI_HWPT_INVALIDATE_VTD_S1, ABI_VIOMMU_INVALIDATE_ARM_SMMUV3 };
enum { ABI_VTD_INV_LEAF = 1 };

struct abi_hwpt_vtd_s1_invalidate {
	uint64_t addr;
	uint64_t npages;
	uint32_t flags;
	uint32_t reserved;
};

struct abi_viommu_arm_smmuv3_invalidate {
	uint64_t cmd[2]; /* little endian */
};

struct abi_hwpt_invalidate {
	uint32_t size;
	uint32_t hwpt_id;
	uint64_t data_uptr;
	uint32_t data_type;
	uint32_t entry_len;
	uint32_t entry_num;
	uint32_t reserved;
};

struct abi_fault_alloc {
	uint32_t size;
	uint32_t flags;
	uint32_t out_fault_id;
	uint32_t out_fault_fd;
};

enum { ABI_VIOMMU_DEFAULT, ABI_VIOMMU_ARM_SMMUV3, ABI_VIOMMU_TEGRA241 };

struct abi_viommu_alloc {
	uint32_t size;
	uint32_t flags;
	uint32_t type;
	uint32_t dev_id;
	uint32_t hwpt_id;
	uint32_t out_viommu_id;
	uint32_t data_len;
	uint32_t reserved;
	uint64_t data_uptr;
};

struct abi_vdevice_alloc {
	uint32_t size;
	uint32_t viommu_id;
	uint32_t dev_id;
	uint32_t out_vdevice_id;
	uint64_t virt_id;
};

struct abi_ioas_change_process {
	uint32_t size;
	uint32_t reserved;
};

enum { ABI_VEVENT_LOST = 1 };

struct abi_vevent_header {
	uint32_t flags;
	uint32_t sequence;
};

enum { ABI_VEVENTQ_DEFAULT, ABI_VEVENTQ_ARM_SMMUV3, ABI_VEVENTQ_TEGRA241 };

struct abi_vevent_arm_smmuv3 {
	uint64_t evt[4]; /* little endian */
};

struct abi_veventq_alloc {
	uint32_t size;
	uint32_t flags;
	uint32_t viommu_id;
	uint32_t type;
	uint32_t veventq_depth;
	uint32_t out_veventq_id;
	uint32_t out_veventq_fd;
	uint32_t reserved;
};

struct abi_hw_queue_alloc {
	uint32_t size;
	uint32_t flags;
	uint32_t viommu_id;
	uint32_t type;
	uint32_t index;
	uint32_t out_hw_queue_id;
	uint64_t nesting_parent_iova;
	uint64_t length;
};

#endif
