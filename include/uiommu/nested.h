/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Nested translation: a guest's own page tables and PASID tables in front of a paging HWPT (IOMMU_HWPT_ALLOC with data).
 *
 * The parent is a paging HWPT with %UIOMMU_HWPT_NEST_PARENT; its IOAS is the guest's memory, by guest-physical address. The guest's
 * tables are read from there whenever a translation is needed, and what was read is cached until uiommu_hwpt_invalidate(). Entries
 * are accessed and dirty bits are set by compare-and-swap. Tables are read only from memory files (memfd) and RAM objects.
 */
#ifndef UIOMMU_NESTED_H
#define UIOMMU_NESTED_H

#include <uiommu/device.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * enum uiommu_format - a page-table format.
 * @UIOMMU_FORMAT_NONE: there is no such stage
 * @UIOMMU_FORMAT_VTD_FIRST: VT-d first stage, that is x86-64 (VT-d 4.1, 3.6)
 * @UIOMMU_FORMAT_VTD_SECOND: VT-d second stage (VT-d 4.1, 3.7)
 * @UIOMMU_FORMAT_ARM_S1: VMSAv8-64 stage 1 (Arm ARM, D8; SMMUv3 3.4)
 * @UIOMMU_FORMAT_ARM_S2: VMSAv8-64 stage 2
 * @UIOMMU_FORMAT_AMD_V1: AMD host tables (AMD IOMMU 48882, 2.2.3)
 * @UIOMMU_FORMAT_AMD_V2: AMD guest tables, that is x86-64 (2.2.6)
 * @UIOMMU_FORMAT_RISCV_FIRST: Sv32, Sv39, Sv48, Sv57 (RISC-V privileged architecture, 12.3 to 12.6)
 * @UIOMMU_FORMAT_RISCV_SECOND: Sv32x4, Sv39x4, Sv48x4, Sv57x4 (18.5)
 */
enum uiommu_format {
	UIOMMU_FORMAT_NONE,
	UIOMMU_FORMAT_VTD_FIRST,
	UIOMMU_FORMAT_VTD_SECOND,
	UIOMMU_FORMAT_ARM_S1,
	UIOMMU_FORMAT_ARM_S2,
	UIOMMU_FORMAT_AMD_V1,
	UIOMMU_FORMAT_AMD_V2,
	UIOMMU_FORMAT_RISCV_FIRST,
	UIOMMU_FORMAT_RISCV_SECOND,
};

/**
 * struct uiommu_page_table - where a guest's page table is and how to read it.
 * @format: &enum uiommu_format
 * @flags: what is enabled; the format's own, docs/formats.md
 * @base: address of the top table; [1]: of the upper half of the addresses (TTBR1), where the format has two
 * @attributes: what entries refer to by index (MAIR, PAT); kept, not interpreted
 * @input_lg2: width of input addresses in bits, of each half
 * @granule_lg2: smallest page, where the format leaves a choice: 12, 14 or 16
 * @levels: number of levels, where the format leaves a choice
 * @output_lg2: width of output addresses in bits
 * @reserved: 0
 *
 * Which members a format uses, and their ranges: docs/formats.md. The others are 0.
 */
struct uiommu_page_table {
	uint32_t format;
	uint32_t flags;
	uint64_t base[2];
	uint64_t attributes;
	uint8_t input_lg2[2];
	uint8_t granule_lg2[2];
	uint8_t levels;
	uint8_t output_lg2;
	uint16_t reserved;
};

/**
 * struct uiommu_hwpt_nested - a nested HWPT that is one page table.
 * @size: sizeof(struct uiommu_hwpt_nested)
 * @flags: &enum uiommu_hwpt_flags: FAULT, PASID
 * @parent_id: a paging HWPT with NEST_PARENT
 * @fault_queue_id: with FAULT: the queue
 * @first: stage 1; its tables are at addresses that @second translates, or guest-physical ones
 * @second: stage 2, in guest-physical memory; NONE: the parent is all there is behind @first
 */
struct uiommu_hwpt_nested {
	uint32_t size;
	uint32_t flags;
	uint32_t parent_id;
	uint32_t fault_queue_id;
	struct uiommu_page_table first;
	struct uiommu_page_table second;
};

/**
 * uiommu_hwpt_alloc_nested() - make a nested HWPT.
 * @context: its owner
 * @nested: what it is; copied
 * @out_id: its id
 *
 * It is attached as any other HWPT. Nothing is read of the guest's memory before the first access.
 *
 * Return: 0, -EINVAL (size, parent not paging or without NEST_PARENT, both stages NONE, a format that is not of its stage, a value
 * that its specification does not define), -E2BIG, -EOPNOTSUPP (flags, a value that is not supported), -ENOENT (no such parent or
 * queue), -ENOMEM.
 */
UIOMMU_API int uiommu_hwpt_alloc_nested(struct uiommu_context *context, const struct uiommu_hwpt_nested *nested, uint32_t *out_id);

/**
 * struct uiommu_invalidation - cached translations that are to be forgotten.
 * @start: first input address
 * @last: last one; 0 and UINT64_MAX are all
 * @flags: 0
 * @reserved: 0
 */
struct uiommu_invalidation {
	uint64_t start;
	uint64_t last;
	uint32_t flags;
	uint32_t reserved;
};

/**
 * uiommu_hwpt_invalidate() - forget what is cached of a guest's tables (IOMMU_HWPT_INVALIDATE).
 * @context: owner
 * @id: a nested HWPT; or its parent: of all that are nested on it, because the guest's memory or second stages have changed
 * @requests: what to forget; of a parent everything is, as soon as there is one
 * @count: how many; all are checked before anything is done
 *
 * When it returns, no access that used what the tables said before is running or will still have an effect. It waits once, however
 * many requests there are. An access that waits for a page response is not waited for.
 *
 * Return: 0, -ENOENT (no such HWPT), -EINVAL (no nested HWPT or parent, flags, start > last), -EDEADLK (inside an access),
 * -ENOMEM (of a parent: nothing has been forgotten).
 */
UIOMMU_API int uiommu_hwpt_invalidate(struct uiommu_context *context, uint32_t id, const struct uiommu_invalidation *requests,
				      size_t count);

#ifdef __cplusplus
}
#endif
#endif
