/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Nested translation: a guest's own page tables and PASID tables in front of a paging HWPT (IOMMU_HWPT_ALLOC with data).
 *
 * The parent is a paging HWPT with %UIOMMU_HWPT_NEST_PARENT; its IOAS is the guest's memory, by guest-physical address. The guest's
 * tables are read from there whenever a translation is needed, and what was read is cached until uiommu_hwpt_invalidate().
 * Accessed and dirty bits are set by compare-and-swap. Tables in files and RAM objects are read in place; where the IOAS knows
 * memory by its address only (%UIOMMU_MAP_OWN), each entry is fetched by a call, and the walk done again with it.
 */
#ifndef UIOMMU_NESTED_H
#define UIOMMU_NESTED_H

#include <uiommu/device.h>
#include <uiommu/formats.h>

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
 * @flags: &enum uiommu_hwpt_flags: FAULT, PASID, STALL
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
 * enum uiommu_tables - an architecture's device and PASID tables.
 * @UIOMMU_TABLES_VTD: root, context, PASID directory and PASID table (VT-d 4.1, 9.1 to 9.6)
 * @UIOMMU_TABLES_SMMUV3: stream table, CDs (IHI 0070, 3.3 and 5)
 * @UIOMMU_TABLES_AMD: device table, GCR3 tables (AMD IOMMU 48882, 2.2)
 * @UIOMMU_TABLES_RISCV: device and process directories (RISC-V IOMMU 1.0, 2)
 */
enum uiommu_tables {
	UIOMMU_TABLES_VTD,
	UIOMMU_TABLES_SMMUV3,
	UIOMMU_TABLES_AMD,
	UIOMMU_TABLES_RISCV,
};

/**
 * struct uiommu_hwpt_tables - a nested HWPT that is a guest's device table, or the PASID table of its devices.
 * @size: sizeof(struct uiommu_hwpt_tables)
 * @flags: &enum uiommu_hwpt_flags: FAULT
 * @parent_id: a paging HWPT with NEST_PARENT
 * @fault_queue_id: with FAULT: the queue
 * @tables: &enum uiommu_tables
 * @structure: %UIOMMU_STRUCTURE_DEVICE: @base is the device table, looked up by requester id; %UIOMMU_STRUCTURE_PASID: it is a
 * PASID table
 * @capabilities: what the model offers; the architecture's own, docs/formats.md
 * @base: address of the table: guest-physical, or of a PASID table what the architecture says
 * @mode: its layout
 * @size_lg2: device table: number of entries or requester id bits; PASID table: PASIDs have so many bits
 * @split: device table: bits of the last level, where there are two
 * @output_lg2: width of guest-physical addresses
 * @entries: device table: AMD: number of entries
 * @rid_pasid: PASID table: the PASID of requests without, or %UIOMMU_NO_PASID: they are not its own
 * @domain: PASID table: tag of @second
 * @extra: PASID table: more of the device's entry, the architecture's own
 * @second: PASID table: stage 2 of the device's entry; NONE: there is none
 */
struct uiommu_hwpt_tables {
	uint32_t size;
	uint32_t flags;
	uint32_t parent_id;
	uint32_t fault_queue_id;
	uint32_t tables;
	uint32_t structure;
	uint64_t base;
	uint32_t capabilities;
	uint8_t mode;
	uint8_t size_lg2;
	uint8_t split;
	uint8_t output_lg2;
	uint32_t entries;
	uint32_t rid_pasid;
	uint64_t extra[2];
	uint32_t domain;
	uint32_t reserved;
	struct uiommu_page_table second;
};

/**
 * uiommu_hwpt_alloc_tables() - make a nested HWPT of a guest's tables.
 * @context: its owner
 * @tables: what it is; copied
 * @out_id: its id
 *
 * It is attached to a device without PASID, and stands for all that the device does then, with every PASID and without; nothing
 * else can be attached to that device meanwhile. What the tables say of a PASID is read when an access needs it, and kept until
 * uiommu_hwpt_invalidate(). An entry that does not let the access through is a fault whose structure says which.
 *
 * Return: 0, -EINVAL (size, parent not paging or without NEST_PARENT, tables, structure, a value that the specification does not
 * define), -E2BIG, -EOPNOTSUPP (flags, a value that is not supported), -ENOENT (no such parent or queue), -ENOMEM.
 */
UIOMMU_API int uiommu_hwpt_alloc_tables(struct uiommu_context *context, const struct uiommu_hwpt_tables *tables, uint32_t *out_id);

/**
 * enum uiommu_invalidation_flags - what an invalidation is about.
 * @UIOMMU_INVALIDATE_ENTRIES: tables: what they say of devices and PASIDs is forgotten, too, and not only what page tables say
 * @UIOMMU_INVALIDATE_DEVICE: tables: only of the device @device_id
 * @UIOMMU_INVALIDATE_PASID: tables: only of @pasid, and of requests without that use its entry (VT-d RID_PASID); or of what has
 *                           none
 * @UIOMMU_INVALIDATE_DOMAIN: tables: only of what has this tag: DID, VMID, DomainID, GSCID
 * @UIOMMU_INVALIDATE_ASID: tables: only of what has this tag: ASID, PSCID; else the PASID
 * @UIOMMU_INVALIDATE_STAGE2: tables: @start and @last are addresses that stage 2 translates: of what has a stage 1 all is forgotten
 * @UIOMMU_INVALIDATE_KEEP_ATC: devices are not asked to forget what they keep (ats.h): whoever owns the tables does that himself
 * @UIOMMU_INVALIDATE_LEAF: only entries of pages have changed, none that leads to a table: where tables are may stay cached
 */
enum uiommu_invalidation_flags {
	UIOMMU_INVALIDATE_ENTRIES = 1,
	UIOMMU_INVALIDATE_DEVICE = 2,
	UIOMMU_INVALIDATE_PASID = 4,
	UIOMMU_INVALIDATE_DOMAIN = 8,
	UIOMMU_INVALIDATE_ASID = 16,
	UIOMMU_INVALIDATE_STAGE2 = 32,
	UIOMMU_INVALIDATE_KEEP_ATC = 64,
	UIOMMU_INVALIDATE_LEAF = 128,
};

/**
 * struct uiommu_invalidation - what is to be forgotten.
 * @start: first input address
 * @last: last one; 0 and UINT64_MAX are all
 * @flags: &enum uiommu_invalidation_flags; for an HWPT that is one page table LEAF and KEEP_ATC, and for a parent KEEP_ATC, or 0
 * @device_id: with DEVICE
 * @pasid: with PASID; or %UIOMMU_NO_PASID
 * @domain: with DOMAIN
 * @asid: with ASID
 * @reserved: 0
 */
struct uiommu_invalidation {
	uint64_t start;
	uint64_t last;
	uint32_t flags;
	uint32_t device_id;
	uint32_t pasid;
	uint32_t domain;
	uint32_t asid;
	uint32_t reserved;
};

/**
 * uiommu_hwpt_invalidate() - forget what is cached of a guest's tables (IOMMU_HWPT_INVALIDATE).
 * @context: owner
 * @id: a nested HWPT; or its parent: of all that are nested on it, because the guest's memory or second stages have changed
 * @requests: what to forget; of a parent always all translations
 * @count: how many; all are checked before anything is done
 *
 * When it returns, no access that used what the tables said before is running or will still have an effect, and devices have
 * forgotten what they kept of it, unless they are not to be asked. It waits once, however many requests there are. An access that
 * waits for a page response is not waited for.
 *
 * Return: 0, -ENOENT (no such HWPT), -EINVAL (no nested HWPT or parent, flags, start > last), -EDEADLK (inside an access).
 */
UIOMMU_API int uiommu_hwpt_invalidate(struct uiommu_context *context, uint32_t id, const struct uiommu_invalidation *requests,
				      size_t count);

#ifdef __cplusplus
}
#endif
#endif
