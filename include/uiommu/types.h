/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Words and records that every other header uses.
 *
 * The words are the field's: see docs/architecture.md.
 */
#ifndef UIOMMU_TYPES_H
#define UIOMMU_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define UIOMMU_API __attribute__((visibility("default")))
#else
#define UIOMMU_API
#endif

/** UIOMMU_PASID_BITS - width of the PASID space (PCIe 6.0, 6.20). */
#define UIOMMU_PASID_BITS 20
/** UIOMMU_PASID_LAST - greatest PASID. PASID 0 is the RID's own and never bindable. */
#define UIOMMU_PASID_LAST ((UINT32_C(1) << UIOMMU_PASID_BITS) - 1)
/** UIOMMU_NO_PASID - in a call: "without PASID" for DMA and attach, "pick one" for a bind. */
#define UIOMMU_NO_PASID UINT32_MAX

/**
 * enum uiommu_access - what is asked for or permitted, a bit mask.
 * @UIOMMU_READ: the device reads memory
 * @UIOMMU_WRITE: the device writes memory
 * @UIOMMU_EXEC: the device fetches instructions
 * @UIOMMU_PRIVILEGED: with any of these: it asks for privilege (PCIe 6.0, 6.20.2); uiommu_translate() only
 */
enum uiommu_access {
	UIOMMU_READ = 1,
	UIOMMU_WRITE = 2,
	UIOMMU_EXEC = 4,
	UIOMMU_PRIVILEGED = 8,
};

/**
 * enum uiommu_fault_reason - why a translation or an access failed.
 *
 * These are neutral; each vIOMMU model maps them to its specification's codes. The numbers are stable.
 *
 * @UIOMMU_FAULT_NONE: no fault
 * @UIOMMU_FAULT_NOT_ATTACHED: nothing is attached to this (device, PASID)
 * @UIOMMU_FAULT_DRAINING: the attachment is being unbound; counted, never recorded
 * @UIOMMU_FAULT_UNMAPPED: nothing is mapped at the address
 * @UIOMMU_FAULT_PERMISSION: it is mapped, and this access is not allowed
 * @UIOMMU_FAULT_ATTACHMENT: the attachment itself does not permit this kind of access
 * @UIOMMU_FAULT_GONE: the process behind the PASID has exited or executed another program
 * @UIOMMU_FAULT_MEMORY: the memory exists and could not be accessed (SIGBUS, end of file, poison, unanswered userfaultfd)
 * @UIOMMU_FAULT_ATOMIC: atomic operations are not supported on this memory
 * @UIOMMU_FAULT_NOT_DIRECT: the memory is not mapped in this process, so no pointer to it exists
 * @UIOMMU_FAULT_RANGE: address + length wraps, or is beyond the address width
 * @UIOMMU_FAULT_RESERVED: a table entry is malformed: a reserved bit is set, or a value that is not defined or not supported
 * @UIOMMU_FAULT_PRIVILEGE: an access without privilege to what only privileged ones may touch
 * @UIOMMU_FAULT_OUTPUT: a table entry holds an address beyond the output width
 * @UIOMMU_FAULT_ACCESS_FLAG: the accessed or dirty flag is not as this access needs it, and software manages it
 * @UIOMMU_FAULT_UPDATE: the accessed or dirty flag of an entry could not be set
 * @UIOMMU_FAULT_BLOCKED: the device's or PASID's entry does not let this kind of request through
 * @UIOMMU_FAULT_ABSENT: the guest's memory is not there yet (guest_memory.h): the device may ask for it and try again; never
 * recorded
 * @UIOMMU_FAULT_REASONS: number of reasons
 */
enum uiommu_fault_reason {
	UIOMMU_FAULT_NONE,
	UIOMMU_FAULT_NOT_ATTACHED,
	UIOMMU_FAULT_DRAINING,
	UIOMMU_FAULT_UNMAPPED,
	UIOMMU_FAULT_PERMISSION,
	UIOMMU_FAULT_ATTACHMENT,
	UIOMMU_FAULT_GONE,
	UIOMMU_FAULT_MEMORY,
	UIOMMU_FAULT_ATOMIC,
	UIOMMU_FAULT_NOT_DIRECT,
	UIOMMU_FAULT_RANGE,
	UIOMMU_FAULT_RESERVED,
	UIOMMU_FAULT_PRIVILEGE,
	UIOMMU_FAULT_OUTPUT,
	UIOMMU_FAULT_ACCESS_FLAG,
	UIOMMU_FAULT_UPDATE,
	UIOMMU_FAULT_BLOCKED,
	UIOMMU_FAULT_ABSENT,
	UIOMMU_FAULT_REASONS,
};

/**
 * enum uiommu_structure - which kind of table a fault was met in.
 * @UIOMMU_STRUCTURE_PAGE: a page table (or an IOAS, or a process)
 * @UIOMMU_STRUCTURE_DEVICE_DIR: what leads to a device's entry: VT-d root entry, SMMUv3 first-level stream table, RISC-V
 *                               non-leaf DDT
 * @UIOMMU_STRUCTURE_DEVICE: a device's entry: VT-d context entry, SMMUv3 STE, AMD DTE, RISC-V DC
 * @UIOMMU_STRUCTURE_PASID_DIR: what leads to a PASID's entry: VT-d PASID directory, SMMUv3 first-level CD table, AMD upper GCR3
 *                              levels, RISC-V non-leaf PDT
 * @UIOMMU_STRUCTURE_PASID: a PASID's entry: VT-d PASID table, SMMUv3 CD, AMD GCR3, RISC-V PC
 */
enum uiommu_structure {
	UIOMMU_STRUCTURE_PAGE,
	UIOMMU_STRUCTURE_DEVICE_DIR,
	UIOMMU_STRUCTURE_DEVICE,
	UIOMMU_STRUCTURE_PASID_DIR,
	UIOMMU_STRUCTURE_PASID,
};

/**
 * enum uiommu_fault_flags - flags of a fault record.
 * @UIOMMU_FAULT_RECOVERABLE: the access was made with %UIOMMU_DMA_RECOVERABLE, and a page could help: nobody has been told yet, the
 *                            device may ask for the page (uiommu_dma_page_request())
 * @UIOMMU_FAULT_TOP: the entry in question is in the top table of its stage; where stage 2 refuses a table of stage 1, of that
 * @UIOMMU_FAULT_NESTED: there are two stages
 * @UIOMMU_FAULT_VALUE: it is no reserved bit but a value that is not defined or not supported; or the PASID is one that may not be
 *                      used
 * @UIOMMU_FAULT_CHANGE: stage 2 refuses that an entry of stage 1 be changed, not that it be read
 * @UIOMMU_FAULT_PARENT: a guest's tables let it through; there is nothing, or it is not permitted, in the guest's memory
 */
enum uiommu_fault_flags {
	UIOMMU_FAULT_RECOVERABLE = 1,
	UIOMMU_FAULT_TOP = 2,
	UIOMMU_FAULT_NESTED = 4,
	UIOMMU_FAULT_VALUE = 8,
	UIOMMU_FAULT_CHANGE = 16,
	UIOMMU_FAULT_PARENT = 32,
};

/**
 * struct uiommu_fault - one failed translation or access.
 * @address: input address of the first byte that failed
 * @device_id: object id of the device
 * @pasid: PASID, or %UIOMMU_NO_PASID
 * @access: the one kind of access that was tried (&enum uiommu_access)
 * @reason: &enum uiommu_fault_reason
 * @stage: 1 or 2; 0 when no stage was reached (nothing attached)
 * @table: true if a table entry was being read or updated, not the data itself
 * @level: of the table where the walk ended; 0 is that of the smallest pages
 * @structure: &enum uiommu_structure
 * @flags: &enum uiommu_fault_flags
 *
 * 24 bytes, the same on every host; it travels over the daemon's socket as it is.
 */
struct uiommu_fault {
	uint64_t address;
	uint32_t device_id;
	uint32_t pasid;
	uint8_t access;
	uint8_t reason;
	uint8_t stage;
	uint8_t table;
	uint8_t level;
	uint8_t structure;
	uint16_t flags;
};

/**
 * uiommu_fault_reason_name() - a word for a reason: "unmapped", "permission", …
 * @reason: &enum uiommu_fault_reason
 *
 * Return: a static string, "unknown" for a number without a name. Thread-safe.
 */
UIOMMU_API const char *uiommu_fault_reason_name(unsigned int reason);

/**
 * uiommu_version() - version of the library that is loaded, "MAJOR.MINOR.PATCH".
 *
 * Return: a static string. Thread-safe.
 */
UIOMMU_API const char *uiommu_version(void);

#ifdef __cplusplus
}
#endif
#endif
