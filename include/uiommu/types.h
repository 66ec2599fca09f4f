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
 */
enum uiommu_access {
	UIOMMU_READ = 1,
	UIOMMU_WRITE = 2,
	UIOMMU_EXEC = 4,
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
	UIOMMU_FAULT_REASONS,
};

/**
 * struct uiommu_fault - one failed translation or access.
 * @address: input address of the first byte that failed
 * @device_id: object id of the device
 * @pasid: PASID, or %UIOMMU_NO_PASID
 * @access: the one kind of access that was tried (&enum uiommu_access)
 * @reason: &enum uiommu_fault_reason
 * @stage: 1 or 2; 0 when no stage was reached (nothing attached)
 * @table: true if a table entry was being fetched, not the data itself
 * @reserved: 0
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
	uint32_t reserved;
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
