/* SPDX-License-Identifier: BSD-3-Clause */
#include <linux/vfio.h>

#include "abi/describe.h"
#include "abi/vfio_spec.h"
#include "util/util.h"

static const struct abi_name none[] = {{0, NULL}};
static const struct abi_name extensions[] = {
	{VFIO_TYPE1_IOMMU, "VFIO_TYPE1_IOMMU"},
	{VFIO_SPAPR_TCE_IOMMU, "VFIO_SPAPR_TCE_IOMMU"},
	{VFIO_TYPE1v2_IOMMU, "VFIO_TYPE1v2_IOMMU"},
	{VFIO_DMA_CC_IOMMU, "VFIO_DMA_CC_IOMMU"},
	{VFIO_EEH, "VFIO_EEH"},
	{6, "VFIO_TYPE1_NESTING_IOMMU"},
	{VFIO_SPAPR_TCE_v2_IOMMU, "VFIO_SPAPR_TCE_v2_IOMMU"},
	{VFIO_NOIOMMU_IOMMU, "VFIO_NOIOMMU_IOMMU"},
	{VFIO_UNMAP_ALL, "VFIO_UNMAP_ALL"},
	{VFIO_UPDATE_VADDR, "VFIO_UPDATE_VADDR"},
	{0, NULL},
};
static const struct abi_name group_flags[] = {{1, "VIABLE"}, {2, "CONTAINER_SET"}, {0, NULL}};
static const struct abi_name device_flags[] = {
	{VFIO_DEVICE_FLAGS_RESET, "RESET"}, {VFIO_DEVICE_FLAGS_PCI, "PCI"}, {VFIO_DEVICE_FLAGS_CAPS, "CAPS"}, {0, NULL}};
static const struct abi_name regions[] = {
	{VFIO_PCI_BAR0_REGION_INDEX, "BAR0"}, {VFIO_PCI_BAR1_REGION_INDEX, "BAR1"},
	{VFIO_PCI_BAR2_REGION_INDEX, "BAR2"}, {VFIO_PCI_BAR3_REGION_INDEX, "BAR3"},
	{VFIO_PCI_BAR4_REGION_INDEX, "BAR4"}, {VFIO_PCI_BAR5_REGION_INDEX, "BAR5"},
	{VFIO_PCI_ROM_REGION_INDEX, "ROM"},   {VFIO_PCI_CONFIG_REGION_INDEX, "CONFIG"},
	{VFIO_PCI_VGA_REGION_INDEX, "VGA"},   {0, NULL},
};
static const struct abi_name region_flags[] = {
	{VFIO_REGION_INFO_FLAG_READ, "READ"},
	{VFIO_REGION_INFO_FLAG_WRITE, "WRITE"},
	{VFIO_REGION_INFO_FLAG_MMAP, "MMAP"},
	{VFIO_REGION_INFO_FLAG_CAPS, "CAPS"},
	{0, NULL},
};
static const struct abi_name irqs[] = {
	{VFIO_PCI_INTX_IRQ_INDEX, "INTX"}, {VFIO_PCI_MSI_IRQ_INDEX, "MSI"}, {VFIO_PCI_MSIX_IRQ_INDEX, "MSIX"},
	{VFIO_PCI_ERR_IRQ_INDEX, "ERR"},   {VFIO_PCI_REQ_IRQ_INDEX, "REQ"}, {0, NULL},
};
static const struct abi_name irq_flags[] = {
	{VFIO_IRQ_INFO_EVENTFD, "EVENTFD"},
	{VFIO_IRQ_INFO_MASKABLE, "MASKABLE"},
	{VFIO_IRQ_INFO_AUTOMASKED, "AUTOMASKED"},
	{VFIO_IRQ_INFO_NORESIZE, "NORESIZE"},
	{0, NULL},
};
static const struct abi_name irq_set_flags[] = {
	{VFIO_IRQ_SET_DATA_NONE, "DATA_NONE"},
	{VFIO_IRQ_SET_DATA_BOOL, "DATA_BOOL"},
	{VFIO_IRQ_SET_DATA_EVENTFD, "DATA_EVENTFD"},
	{VFIO_IRQ_SET_ACTION_MASK, "ACTION_MASK"},
	{VFIO_IRQ_SET_ACTION_UNMASK, "ACTION_UNMASK"},
	{VFIO_IRQ_SET_ACTION_TRIGGER, "ACTION_TRIGGER"},
	{0, NULL},
};
static const struct abi_name hot_reset_flags[] = {
	{VFIO_SPEC_RESET_DEV_ID, "DEV_ID"}, {VFIO_SPEC_RESET_DEV_ID_OWNED, "DEV_ID_OWNED"}, {0, NULL}};
static const struct abi_name features[] = {
	{VFIO_DEVICE_FEATURE_PCI_VF_TOKEN, "PCI_VF_TOKEN"},
	{VFIO_DEVICE_FEATURE_MIGRATION, "MIGRATION"},
	{VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE, "MIG_DEVICE_STATE"},
	{VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY, "LOW_POWER_ENTRY"},
	{VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY_WITH_WAKEUP, "LOW_POWER_ENTRY_WITH_WAKEUP"},
	{VFIO_DEVICE_FEATURE_LOW_POWER_EXIT, "LOW_POWER_EXIT"},
	{VFIO_DEVICE_FEATURE_DMA_LOGGING_START, "DMA_LOGGING_START"},
	{VFIO_DEVICE_FEATURE_DMA_LOGGING_STOP, "DMA_LOGGING_STOP"},
	{VFIO_DEVICE_FEATURE_DMA_LOGGING_REPORT, "DMA_LOGGING_REPORT"},
	{0, NULL},
};
static const struct abi_name feature_flags[] = {
	{VFIO_DEVICE_FEATURE_GET >> 16, "GET"},
	{VFIO_DEVICE_FEATURE_SET >> 16, "SET"},
	{VFIO_DEVICE_FEATURE_PROBE >> 16, "PROBE"},
	{0, NULL},
};
static const struct abi_name bind_flags[] = {{VFIO_SPEC_BIND_TOKEN, "TOKEN"}, {0, NULL}};
static const struct abi_name attach_flags[] = {{VFIO_SPEC_WITH_PASID, "PASID"}, {0, NULL}};
static const struct abi_name type1_flags[] = {{VFIO_IOMMU_INFO_PGSIZES, "PGSIZES"}, {VFIO_IOMMU_INFO_CAPS, "CAPS"}, {0, NULL}};
static const struct abi_name dma_flags[] = {
	{VFIO_DMA_MAP_FLAG_READ, "READ"}, {VFIO_DMA_MAP_FLAG_WRITE, "WRITE"}, {VFIO_DMA_MAP_FLAG_VADDR, "VADDR"}, {0, NULL}};
static const struct abi_name unmap_flags[] = {
	{VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP, "GET_DIRTY_BITMAP"},
	{VFIO_DMA_UNMAP_FLAG_ALL, "ALL"},
	{VFIO_DMA_UNMAP_FLAG_VADDR, "VADDR"},
	{0, NULL},
};

/* --- arrays --- */

static const struct abi_member area[] = {HEX(vfio_region_sparse_mmap_area, offset), HEX(vfio_region_sparse_mmap_area, size)};
static const struct abi_element area_elements[] = {ABI_ELEMENT(0, sizeof(struct vfio_region_sparse_mmap_area), area)};
static const struct abi_array areas = {offsetof(struct vfio_region_info_cap_sparse_mmap, nr_areas), 0, 0, 1, area_elements};
static const struct abi_member sparse[] = {ABI_TAIL_OF("sparse_mmap", sizeof(struct vfio_region_info_cap_sparse_mmap), &areas)};
static const struct abi_element region_capabilities[] = {
	ABI_ELEMENT(VFIO_REGION_INFO_CAP_SPARSE_MMAP, sizeof(struct vfio_region_info_cap_sparse_mmap), sparse)};
static const struct abi_array region_chain = {0, 0, 0, ARRAY_SIZE(region_capabilities), region_capabilities};

static const struct abi_member range[] = {HEX(vfio_iova_range, start), HEX(vfio_iova_range, end)};
static const struct abi_element range_elements[] = {ABI_ELEMENT(0, sizeof(struct vfio_iova_range), range)};
static const struct abi_array ranges = {offsetof(struct vfio_iommu_type1_info_cap_iova_range, nr_iovas), 0, 0, 1, range_elements};
static const struct abi_member iovas[] = {ABI_TAIL_OF("iova_ranges", sizeof(struct vfio_iommu_type1_info_cap_iova_range), &ranges)};
static const struct abi_member available[] = {{"dma_avail", 8, 4, ABI_NUMBER, {NULL}}};
static const struct abi_element type1_capabilities[] = {
	ABI_ELEMENT(VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE, sizeof(struct vfio_iommu_type1_info_cap_iova_range), iovas),
	ABI_ELEMENT(VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL, sizeof(struct vfio_iommu_type1_info_dma_avail), available),
};
static const struct abi_array type1_chain = {0, 0, 0, ARRAY_SIZE(type1_capabilities), type1_capabilities};

static const struct abi_member fd[] = {{"", 0, 4, ABI_FD, {NULL}}};
static const struct abi_member flag[] = {{"", 0, 1, ABI_NUMBER, {NULL}}};
static const struct abi_element irq_elements[] = {
	ABI_ELEMENT(VFIO_IRQ_SET_DATA_BOOL, 1, flag),
	ABI_ELEMENT(VFIO_IRQ_SET_DATA_EVENTFD, sizeof(int32_t), fd),
};
static const struct abi_array irq_data = {offsetof(struct vfio_irq_set, count), offsetof(struct vfio_irq_set, flags),
					  VFIO_IRQ_SET_DATA_TYPE_MASK, ARRAY_SIZE(irq_elements), irq_elements};

static const struct abi_element fd_elements[] = {ABI_ELEMENT(0, sizeof(int32_t), fd)};
static const struct abi_array group_fds = {offsetof(struct vfio_pci_hot_reset, count), 0, 0, 1, fd_elements};
static const struct abi_member dependent[] = {
	NUMBER(vfio_spec_reset_device, group_id),
	HEX(vfio_spec_reset_device, segment),
	HEX(vfio_spec_reset_device, bus),
	HEX(vfio_spec_reset_device, devfn),
};
static const struct abi_element dependent_elements[] = {ABI_ELEMENT(0, sizeof(struct vfio_spec_reset_device), dependent)};
static const struct abi_array dependents = {offsetof(struct vfio_pci_hot_reset_info, count), 0, 0, 1, dependent_elements};

/* struct vfio_device_low_power_entry_with_wakeup */
static const struct abi_member wakeup[] = {{"wakeup_eventfd", 0, 4, ABI_FD, {NULL}}};
static const struct abi_element feature_elements[] = {ABI_ELEMENT(VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY_WITH_WAKEUP, 8, wakeup)};
static const struct abi_array feature_data = {0, offsetof(struct vfio_device_feature, flags), VFIO_DEVICE_FEATURE_MASK, 1,
					      feature_elements};

/* --- structs --- */

static const struct abi_member group_status[] = {NUMBER(vfio_group_status, argsz), FLAGS(vfio_group_status, flags, group_flags)};
static const struct abi_member container[] = {{"", 0, 4, ABI_FD, {NULL}}};
static const struct abi_member device_info[] = {
	NUMBER(vfio_spec_info, argsz),	  FLAGS(vfio_spec_info, flags, device_flags), NUMBER(vfio_spec_info, num_regions),
	NUMBER(vfio_spec_info, num_irqs), NUMBER(vfio_spec_info, cap_offset),
};
static const struct abi_member region_info[] = {
	NUMBER(vfio_region_info, argsz),
	FLAGS(vfio_region_info, flags, region_flags),
	ENUM(vfio_region_info, index, regions),
	ABI_CHAIN_AT(vfio_region_info, cap_offset, &region_chain),
	HEX(vfio_region_info, size),
	HEX(vfio_region_info, offset),
};
static const struct abi_member irq_info[] = {
	NUMBER(vfio_irq_info, argsz),
	FLAGS(vfio_irq_info, flags, irq_flags),
	ENUM(vfio_irq_info, index, irqs),
	NUMBER(vfio_irq_info, count),
};
static const struct abi_member irq_set[] = {
	NUMBER(vfio_irq_set, argsz),	 FLAGS(vfio_irq_set, flags, irq_set_flags),
	ENUM(vfio_irq_set, index, irqs), NUMBER(vfio_irq_set, start),
	NUMBER(vfio_irq_set, count),	 ABI_TAIL_OF("data", sizeof(struct vfio_irq_set), &irq_data),
};
static const struct abi_member hot_reset_info[] = {
	NUMBER(vfio_pci_hot_reset_info, argsz),
	FLAGS(vfio_pci_hot_reset_info, flags, hot_reset_flags),
	NUMBER(vfio_pci_hot_reset_info, count),
	ABI_TAIL_OF("devices", sizeof(struct vfio_pci_hot_reset_info), &dependents),
};
static const struct abi_member hot_reset[] = {
	NUMBER(vfio_pci_hot_reset, argsz),
	FLAGS(vfio_pci_hot_reset, flags, none),
	NUMBER(vfio_pci_hot_reset, count),
	ABI_TAIL_OF("group_fds", sizeof(struct vfio_pci_hot_reset), &group_fds),
};
/* The upper half of the flags is flags, the lower one says which feature. */
static const struct abi_member feature[] = {
	NUMBER(vfio_device_feature, argsz),
	{"flags", 6, 2, ABI_FLAGS, {.names = feature_flags}},
	{"feature", 4, 2, ABI_ENUM, {.names = features}},
	ABI_TAIL_OF("data", sizeof(struct vfio_device_feature), &feature_data),
};
static const struct abi_member bind[] = {
	NUMBER(vfio_spec_bind, argsz),	   FLAGS(vfio_spec_bind, flags, bind_flags), FD(vfio_spec_bind, iommufd),
	NUMBER(vfio_spec_bind, out_devid), HEX(vfio_spec_bind, token_uuid_ptr),
};
static const struct abi_member attach[] = {
	NUMBER(vfio_spec_attach, argsz),
	FLAGS(vfio_spec_attach, flags, attach_flags),
	NUMBER(vfio_spec_attach, pt_id),
	NUMBER(vfio_spec_attach, pasid),
};
static const struct abi_member detach[] = {NUMBER(vfio_spec_detach, argsz), FLAGS(vfio_spec_detach, flags, attach_flags),
					   NUMBER(vfio_spec_detach, pasid)};
static const struct abi_member type1_info[] = {
	NUMBER(vfio_iommu_type1_info, argsz),
	FLAGS(vfio_iommu_type1_info, flags, type1_flags),
	HEX(vfio_iommu_type1_info, iova_pgsizes),
	ABI_CHAIN_AT(vfio_iommu_type1_info, cap_offset, &type1_chain),
};
static const struct abi_member dma_map[] = {
	NUMBER(vfio_iommu_type1_dma_map, argsz), FLAGS(vfio_iommu_type1_dma_map, flags, dma_flags),
	HEX(vfio_iommu_type1_dma_map, vaddr),	 HEX(vfio_iommu_type1_dma_map, iova),
	HEX(vfio_iommu_type1_dma_map, size),
};
static const struct abi_member dma_unmap[] = {
	NUMBER(vfio_iommu_type1_dma_unmap, argsz),
	FLAGS(vfio_iommu_type1_dma_unmap, flags, unmap_flags),
	HEX(vfio_iommu_type1_dma_unmap, iova),
	HEX(vfio_iommu_type1_dma_unmap, size),
};

#define STRUCT(name, size, members)                                                                                                \
	{                                                                                                                          \
		name, #name, size, ARRAY_SIZE(members), members, NULL, false                                                       \
	}
/* Of a command that the machine's header may lack. */
#define STRUCT_OF(command, name, size, members)                                                                                    \
	{                                                                                                                          \
		command, name, size, ARRAY_SIZE(members), members, NULL, false                                                     \
	}
#define PLAIN(name, names, text)                                                                                                   \
	{                                                                                                                          \
		name, #name, 0, 0, NULL, names, text                                                                               \
	}

const struct abi_description abi_container_commands[] = {
	PLAIN(VFIO_GET_API_VERSION, NULL, false),
	PLAIN(VFIO_CHECK_EXTENSION, extensions, false),
	PLAIN(VFIO_SET_IOMMU, extensions, false),
	STRUCT(VFIO_IOMMU_GET_INFO, sizeof(struct vfio_iommu_type1_info), type1_info),
	STRUCT(VFIO_IOMMU_MAP_DMA, sizeof(struct vfio_iommu_type1_dma_map), dma_map),
	STRUCT(VFIO_IOMMU_UNMAP_DMA, sizeof(struct vfio_iommu_type1_dma_unmap), dma_unmap),
	PLAIN(VFIO_IOMMU_DIRTY_PAGES, NULL, false),
};
const size_t abi_container_command_count = ARRAY_SIZE(abi_container_commands);

const struct abi_description abi_device_commands[] = {
	STRUCT(VFIO_GROUP_GET_STATUS, sizeof(struct vfio_group_status), group_status),
	STRUCT(VFIO_GROUP_SET_CONTAINER, sizeof(int32_t), container),
	PLAIN(VFIO_GROUP_UNSET_CONTAINER, NULL, false),
	PLAIN(VFIO_GROUP_GET_DEVICE_FD, NULL, true),
	STRUCT(VFIO_DEVICE_GET_INFO, sizeof(struct vfio_spec_info), device_info),
	STRUCT(VFIO_DEVICE_GET_REGION_INFO, sizeof(struct vfio_region_info), region_info),
	STRUCT(VFIO_DEVICE_GET_IRQ_INFO, sizeof(struct vfio_irq_info), irq_info),
	STRUCT(VFIO_DEVICE_SET_IRQS, sizeof(struct vfio_irq_set), irq_set),
	PLAIN(VFIO_DEVICE_RESET, NULL, false),
	STRUCT(VFIO_DEVICE_GET_PCI_HOT_RESET_INFO, sizeof(struct vfio_pci_hot_reset_info), hot_reset_info),
	STRUCT(VFIO_DEVICE_PCI_HOT_RESET, sizeof(struct vfio_pci_hot_reset), hot_reset),
	STRUCT(VFIO_DEVICE_FEATURE, sizeof(struct vfio_device_feature), feature),
	STRUCT_OF(VFIO_SPEC_BIND_IOMMUFD, "VFIO_DEVICE_BIND_IOMMUFD", sizeof(struct vfio_spec_bind), bind),
	STRUCT_OF(VFIO_SPEC_ATTACH_PT, "VFIO_DEVICE_ATTACH_IOMMUFD_PT", sizeof(struct vfio_spec_attach), attach),
	STRUCT_OF(VFIO_SPEC_DETACH_PT, "VFIO_DEVICE_DETACH_IOMMUFD_PT", sizeof(struct vfio_spec_detach), detach),
};
const size_t abi_device_command_count = ARRAY_SIZE(abi_device_commands);
