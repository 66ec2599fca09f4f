/* SPDX-License-Identifier: BSD-3-Clause */
#include "abi/describe.h"

#include <linux/vfio.h>
#include <uiommu/abi.h>

#include "abi/spec.h"
#include "util/util.h"

#define MEMBER(type, member, kind)                                                                                                 \
	{                                                                                                                          \
#member, offsetof(struct type, member), sizeof(((struct type *)NULL)->member), kind                                \
	}
/* A member at an offset: of a struct that the machine's header may lack. */
#define MEMBER_AT(name, offset, kind)                                                                                              \
	{                                                                                                                          \
		name, offset, 4, kind                                                                                              \
	}

#define NUMBER(type, member) MEMBER(type, member, ABI_NUMBER)
#define BITS(type, member) MEMBER(type, member, ABI_BITS)
#define ADDRESS(type, member) MEMBER(type, member, ABI_ADDRESS)

static const struct abi_member destroy[] = {NUMBER(abi_destroy, id)};
static const struct abi_member ioas_alloc[] = {BITS(abi_ioas_alloc, flags), NUMBER(abi_ioas_alloc, out_ioas_id)};
static const struct abi_member ioas_allow_iovas[] = {
	NUMBER(abi_ioas_allow_iovas, ioas_id),
	NUMBER(abi_ioas_allow_iovas, num_iovas),
	ADDRESS(abi_ioas_allow_iovas, allowed_iovas),
};
static const struct abi_member ioas_copy[] = {
	BITS(abi_ioas_copy, flags),	NUMBER(abi_ioas_copy, dst_ioas_id), NUMBER(abi_ioas_copy, src_ioas_id),
	ADDRESS(abi_ioas_copy, length), ADDRESS(abi_ioas_copy, dst_iova),   ADDRESS(abi_ioas_copy, src_iova),
};
static const struct abi_member ioas_iova_ranges[] = {
	NUMBER(abi_ioas_iova_ranges, ioas_id),
	NUMBER(abi_ioas_iova_ranges, num_iovas),
	ADDRESS(abi_ioas_iova_ranges, allowed_iovas),
	ADDRESS(abi_ioas_iova_ranges, out_iova_alignment),
};
static const struct abi_member ioas_map[] = {
	BITS(abi_ioas_map, flags),     NUMBER(abi_ioas_map, ioas_id), ADDRESS(abi_ioas_map, user_va),
	ADDRESS(abi_ioas_map, length), ADDRESS(abi_ioas_map, iova),
};
static const struct abi_member ioas_map_file[] = {
	BITS(abi_ioas_map_file, flags),	   NUMBER(abi_ioas_map_file, ioas_id), MEMBER(abi_ioas_map_file, fd, ABI_SIGNED),
	ADDRESS(abi_ioas_map_file, start), ADDRESS(abi_ioas_map_file, length), ADDRESS(abi_ioas_map_file, iova),
};
static const struct abi_member ioas_unmap[] = {
	NUMBER(abi_ioas_unmap, ioas_id),
	ADDRESS(abi_ioas_unmap, iova),
	ADDRESS(abi_ioas_unmap, length),
};
static const struct abi_member option[] = {
	NUMBER(abi_option, option_id),
	NUMBER(abi_option, op),
	NUMBER(abi_option, object_id),
	NUMBER(abi_option, val64),
};
static const struct abi_member vfio_ioas[] = {NUMBER(abi_vfio_ioas, ioas_id), NUMBER(abi_vfio_ioas, op)};
static const struct abi_member hwpt_alloc[] = {
	BITS(abi_hwpt_alloc, flags),	   NUMBER(abi_hwpt_alloc, dev_id),	NUMBER(abi_hwpt_alloc, pt_id),
	NUMBER(abi_hwpt_alloc, data_type), NUMBER(abi_hwpt_alloc, data_len),	ADDRESS(abi_hwpt_alloc, data_uptr),
	NUMBER(abi_hwpt_alloc, fault_id),  NUMBER(abi_hwpt_alloc, out_hwpt_id),
};
static const struct abi_member hw_info[] = {
	BITS(abi_hw_info, flags),
	NUMBER(abi_hw_info, dev_id),
	NUMBER(abi_hw_info, data_len),
	ADDRESS(abi_hw_info, data_uptr),
	NUMBER(abi_hw_info, data_type),
	NUMBER(abi_hw_info, out_max_pasid_log2),
	BITS(abi_hw_info, out_capabilities),
};
static const struct abi_member set_dirty_tracking[] = {
	BITS(abi_hwpt_set_dirty_tracking, flags),
	NUMBER(abi_hwpt_set_dirty_tracking, hwpt_id),
};
static const struct abi_member get_dirty_bitmap[] = {
	NUMBER(abi_hwpt_get_dirty_bitmap, hwpt_id),   BITS(abi_hwpt_get_dirty_bitmap, flags),
	ADDRESS(abi_hwpt_get_dirty_bitmap, iova),     ADDRESS(abi_hwpt_get_dirty_bitmap, length),
	NUMBER(abi_hwpt_get_dirty_bitmap, page_size), ADDRESS(abi_hwpt_get_dirty_bitmap, data),
};
static const struct abi_member invalidate[] = {
	NUMBER(abi_hwpt_invalidate, hwpt_id),	ADDRESS(abi_hwpt_invalidate, data_uptr), NUMBER(abi_hwpt_invalidate, data_type),
	NUMBER(abi_hwpt_invalidate, entry_len), NUMBER(abi_hwpt_invalidate, entry_num),
};
static const struct abi_member fault_alloc[] = {
	BITS(abi_fault_alloc, flags),
	NUMBER(abi_fault_alloc, out_fault_id),
	NUMBER(abi_fault_alloc, out_fault_fd),
};
static const struct abi_member viommu_alloc[] = {
	BITS(abi_viommu_alloc, flags),		 NUMBER(abi_viommu_alloc, type),     NUMBER(abi_viommu_alloc, dev_id),
	NUMBER(abi_viommu_alloc, hwpt_id),	 NUMBER(abi_viommu_alloc, data_len), ADDRESS(abi_viommu_alloc, data_uptr),
	NUMBER(abi_viommu_alloc, out_viommu_id),
};
static const struct abi_member vdevice_alloc[] = {
	NUMBER(abi_vdevice_alloc, viommu_id),
	NUMBER(abi_vdevice_alloc, dev_id),
	BITS(abi_vdevice_alloc, virt_id),
	NUMBER(abi_vdevice_alloc, out_vdevice_id),
};
static const struct abi_member veventq_alloc[] = {
	BITS(abi_veventq_alloc, flags),
	NUMBER(abi_veventq_alloc, viommu_id),
	NUMBER(abi_veventq_alloc, type),
	NUMBER(abi_veventq_alloc, veventq_depth),
	NUMBER(abi_veventq_alloc, out_veventq_id),
	NUMBER(abi_veventq_alloc, out_veventq_fd),
};
static const struct abi_member hw_queue_alloc[] = {
	BITS(abi_hw_queue_alloc, flags),
	NUMBER(abi_hw_queue_alloc, viommu_id),
	NUMBER(abi_hw_queue_alloc, type),
	NUMBER(abi_hw_queue_alloc, index),
	ADDRESS(abi_hw_queue_alloc, nesting_parent_iova),
	ADDRESS(abi_hw_queue_alloc, length),
	NUMBER(abi_hw_queue_alloc, out_hw_queue_id),
};

static const struct abi_member version[] = {NUMBER(uiommu_abi_version, out_version), BITS(uiommu_abi_version, out_commands)};
static const struct abi_member sva_bind[] = {
	BITS(uiommu_abi_bind, flags),	   NUMBER(uiommu_abi_bind, device_id), MEMBER(uiommu_abi_bind, pasid, ABI_SIGNED),
	NUMBER(uiommu_abi_bind, vpasid),   NUMBER(uiommu_abi_bind, type),      NUMBER(uiommu_abi_bind, fault_queue_id),
	NUMBER(uiommu_abi_bind, data_len), ADDRESS(uiommu_abi_bind, data),     NUMBER(uiommu_abi_bind, out_hwpt_id),
};
static const struct abi_member sva_unbind[] = {
	NUMBER(uiommu_abi_unbind, device_id),
	MEMBER(uiommu_abi_unbind, pasid, ABI_SIGNED),
};
static const struct abi_member pasid_set_alloc[] = {
	BITS(uiommu_abi_pasid_set_alloc, flags),
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
static const struct abi_member test[] = {MEMBER_AT("op", 4, ABI_NUMBER), MEMBER_AT("id", 8, ABI_NUMBER)};

static const struct abi_member group_status[] = {BITS(vfio_group_status, flags)};
static const struct abi_member number[] = {MEMBER_AT("value", 0, ABI_SIGNED)};
static const struct abi_member device_info[] = {
	NUMBER(vfio_device_info, argsz),
	BITS(vfio_device_info, flags),
	NUMBER(vfio_device_info, num_regions),
	NUMBER(vfio_device_info, num_irqs),
};
static const struct abi_member region_info[] = {
	NUMBER(vfio_region_info, argsz),      BITS(vfio_region_info, flags),   NUMBER(vfio_region_info, index),
	NUMBER(vfio_region_info, cap_offset), ADDRESS(vfio_region_info, size), ADDRESS(vfio_region_info, offset),
};
static const struct abi_member irq_info[] = {
	NUMBER(vfio_irq_info, argsz),
	BITS(vfio_irq_info, flags),
	NUMBER(vfio_irq_info, index),
	NUMBER(vfio_irq_info, count),
};
static const struct abi_member irq_set[] = {
	NUMBER(vfio_irq_set, argsz), BITS(vfio_irq_set, flags),	  NUMBER(vfio_irq_set, index),
	NUMBER(vfio_irq_set, start), NUMBER(vfio_irq_set, count),
};
static const struct abi_member hot_reset_info[] = {
	NUMBER(vfio_pci_hot_reset_info, argsz),
	NUMBER(vfio_pci_hot_reset_info, count),
};
static const struct abi_member hot_reset[] = {NUMBER(vfio_pci_hot_reset, argsz), NUMBER(vfio_pci_hot_reset, count)};
static const struct abi_member feature[] = {NUMBER(vfio_device_feature, argsz), BITS(vfio_device_feature, flags)};
static const struct abi_member bind[] = {
	MEMBER_AT("argsz", 0, ABI_NUMBER),
	MEMBER_AT("flags", 4, ABI_BITS),
	MEMBER_AT("iommufd", 8, ABI_SIGNED),
	MEMBER_AT("out_devid", 12, ABI_NUMBER),
};
static const struct abi_member attach[] = {
	MEMBER_AT("argsz", 0, ABI_NUMBER),
	MEMBER_AT("flags", 4, ABI_BITS),
	MEMBER_AT("pt_id", 8, ABI_NUMBER),
};
static const struct abi_member detach[] = {MEMBER_AT("argsz", 0, ABI_NUMBER), MEMBER_AT("flags", 4, ABI_BITS)};
static const struct abi_member type1_info[] = {
	NUMBER(vfio_iommu_type1_info, argsz),
	BITS(vfio_iommu_type1_info, flags),
	BITS(vfio_iommu_type1_info, iova_pgsizes),
};
static const struct abi_member dma_map[] = {
	BITS(vfio_iommu_type1_dma_map, flags),
	ADDRESS(vfio_iommu_type1_dma_map, vaddr),
	ADDRESS(vfio_iommu_type1_dma_map, iova),
	ADDRESS(vfio_iommu_type1_dma_map, size),
};
static const struct abi_member dma_unmap[] = {
	BITS(vfio_iommu_type1_dma_unmap, flags),
	ADDRESS(vfio_iommu_type1_dma_unmap, iova),
	ADDRESS(vfio_iommu_type1_dma_unmap, size),
};

#define COMMAND(name, type, members)                                                                                               \
	{                                                                                                                          \
		ABI_COMMAND(ABI_##name), #name, sizeof(struct type), members, ARRAY_SIZE(members)                                  \
	}
#define EXTENSION(name, type, members)                                                                                             \
	{                                                                                                                          \
		(unsigned int)UIOMMU_ABI_##name, "UIOMMU_" #name, sizeof(struct type), members, ARRAY_SIZE(members)                \
	}
#define VFIO(name, size, members)                                                                                                  \
	{                                                                                                                          \
		name, #name, size, members, ARRAY_SIZE(members)                                                                    \
	}
#define VFIO_NEW(offset, name, size, members)                                                                                      \
	{                                                                                                                          \
		_IO(VFIO_TYPE, VFIO_BASE + (offset)), name, size, members, ARRAY_SIZE(members)                                     \
	}
#define VFIO_PLAIN(name)                                                                                                           \
	{                                                                                                                          \
		name, #name, 0, NULL, 0                                                                                            \
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
	{ABI_COMMAND(ABI_IOAS_CHANGE_PROCESS), "IOAS_CHANGE_PROCESS", sizeof(struct abi_ioas_change_process), NULL, 0},
	COMMAND(VEVENTQ_ALLOC, abi_veventq_alloc, veventq_alloc),
	COMMAND(HW_QUEUE_ALLOC, abi_hw_queue_alloc, hw_queue_alloc),
	{ABI_COMMAND(ABI_TEST), "TEST", 16, test, ARRAY_SIZE(test)},
	EXTENSION(VERSION, uiommu_abi_version, version),
	EXTENSION(BIND, uiommu_abi_bind, sva_bind),
	EXTENSION(UNBIND, uiommu_abi_unbind, sva_unbind),
	EXTENSION(PASID_SET_ALLOC, uiommu_abi_pasid_set_alloc, pasid_set_alloc),
	EXTENSION(PASID_ALLOC, uiommu_abi_pasid_alloc, pasid_alloc),
	EXTENSION(PASID_FREE, uiommu_abi_pasid_free, pasid_free),
	VFIO_PLAIN(VFIO_GET_API_VERSION),
	VFIO_PLAIN(VFIO_CHECK_EXTENSION),
	VFIO_PLAIN(VFIO_SET_IOMMU),
	VFIO(VFIO_IOMMU_GET_INFO, sizeof(struct vfio_iommu_type1_info), type1_info),
	VFIO(VFIO_IOMMU_MAP_DMA, sizeof(struct vfio_iommu_type1_dma_map), dma_map),
	VFIO(VFIO_IOMMU_UNMAP_DMA, sizeof(struct vfio_iommu_type1_dma_unmap), dma_unmap),
	VFIO_PLAIN(VFIO_IOMMU_DIRTY_PAGES),
};

static const struct abi_description device_commands[] = {
	VFIO(VFIO_GROUP_GET_STATUS, sizeof(struct vfio_group_status), group_status),
	VFIO(VFIO_GROUP_SET_CONTAINER, sizeof(int32_t), number),
	VFIO_PLAIN(VFIO_GROUP_UNSET_CONTAINER),
	VFIO_PLAIN(VFIO_GROUP_GET_DEVICE_FD),
	VFIO(VFIO_DEVICE_GET_INFO, sizeof(struct vfio_device_info), device_info),
	VFIO(VFIO_DEVICE_GET_REGION_INFO, sizeof(struct vfio_region_info), region_info),
	VFIO(VFIO_DEVICE_GET_IRQ_INFO, sizeof(struct vfio_irq_info), irq_info),
	VFIO(VFIO_DEVICE_SET_IRQS, sizeof(struct vfio_irq_set), irq_set),
	VFIO_PLAIN(VFIO_DEVICE_RESET),
	VFIO(VFIO_DEVICE_GET_PCI_HOT_RESET_INFO, sizeof(struct vfio_pci_hot_reset_info), hot_reset_info),
	VFIO(VFIO_DEVICE_PCI_HOT_RESET, sizeof(struct vfio_pci_hot_reset), hot_reset),
	VFIO(VFIO_DEVICE_FEATURE, sizeof(struct vfio_device_feature), feature),
	VFIO_NEW(18, "VFIO_DEVICE_BIND_IOMMUFD", 16, bind),
	VFIO_NEW(19, "VFIO_DEVICE_ATTACH_IOMMUFD_PT", 12, attach),
	VFIO_NEW(20, "VFIO_DEVICE_DETACH_IOMMUFD_PT", 8, detach),
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
	return space == ABI_SPACE_DEVICE ? find(device_commands, ARRAY_SIZE(device_commands), command)
					 : find(iommufd_commands, ARRAY_SIZE(iommufd_commands), command);
}
