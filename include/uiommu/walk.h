/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Looking at a translation: each entry on the way from (device, PASID, address) to memory, as it is now, beside what is cached of
 * it. For debuggers, and for whoever wants to know why an access failed, or who has forgotten to invalidate.
 *
 * It is the walk that an access makes, with the same decoders, but it neither uses nor fills what is cached, sets no accessed or
 * dirty bit, asks nobody for a page and tells nobody of a fault.
 */
#ifndef UIOMMU_WALK_H
#define UIOMMU_WALK_H

#include <uiommu/nested.h>

#ifdef __cplusplus
extern "C" {
#endif

/** UIOMMU_WALK_WORDS - words of the largest entry. */
#define UIOMMU_WALK_WORDS 8

/**
 * UIOMMU_WALK_STEPS - no walk has more steps: four tables, each behind a stage 2 of five levels, and five levels of stage 1, each
 * behind that, too, and what it leads to.
 */
#define UIOMMU_WALK_STEPS 64

/**
 * struct uiommu_walk_step - an entry that was read.
 * @address: where it is: guest-physical, or what @stage 2 translates, whose entries come before this one then
 * @entry: its words; the rest is 0
 * @words: number of 8 byte words that it has
 * @structure: &enum uiommu_structure
 * @stage: 1 or 2 of a page table, otherwise 0
 * @level: of a page table; 0 is that of the smallest pages
 * @reserved: 0
 */
struct uiommu_walk_step {
	uint64_t address;
	uint64_t entry[UIOMMU_WALK_WORDS];
	uint8_t words;
	uint8_t structure;
	uint8_t stage;
	uint8_t level;
	uint32_t reserved;
};

/**
 * enum uiommu_walk_flags - what there is.
 * @UIOMMU_WALK_DECODED: a guest's entry for the PASID has been decoded, and is used until it is invalidated
 * @UIOMMU_WALK_CACHED: the translation is in the IOTLB: an access goes to @cached, whatever the tables say now
 * @UIOMMU_WALK_AREA: there is an area at @output
 * @UIOMMU_WALK_PROCESS: what is at @output is a process's to say
 * @UIOMMU_WALK_PASS: the tables let addresses through as they are
 */
enum uiommu_walk_flags {
	UIOMMU_WALK_DECODED = 1,
	UIOMMU_WALK_CACHED = 2,
	UIOMMU_WALK_AREA = 4,
	UIOMMU_WALK_PROCESS = 8,
	UIOMMU_WALK_PASS = 16,
};

/**
 * struct uiommu_walk - a question, and what is seen.
 * @size: sizeof(struct uiommu_walk)
 * @device_id: the device
 * @pasid: PASID, or %UIOMMU_NO_PASID
 * @access: &enum uiommu_access, for which it is a fault if that is not permitted; 0: what is permitted?
 * @address: input address
 * @steps: array for what is read, or NULL
 * @step_count: in: its size; out: number of steps, also if they are more
 * @flags: out: &enum uiommu_walk_flags
 * @hwpt_id: out: what is attached
 * @guest_pasid: out: what the guest calls the PASID
 * @domain: out: tag of stage 2 in a guest's tables, or 0
 * @permitted: out: &enum uiommu_access, of stages and area together
 * @stage1: out: name of its format, or NULL: there is none; static
 * @stage2: out: the same
 * @output: out: where it leads: guest-physical, an address of the IOAS, or a process's
 * @fault: out: why it leads nowhere; its reason is %UIOMMU_FAULT_NONE if it does not
 * @cached: out: with CACHED: where an access goes
 * @cached_access: out: with CACHED: what is permitted there; without WRITE as long as a dirty bit is to be set
 * @page_lg2: out: input and output run in parallel in an aligned block of this size; 63: everywhere
 */
struct uiommu_walk {
	uint32_t size;
	uint32_t device_id;
	uint32_t pasid;
	uint32_t access;
	uint64_t address;
	struct uiommu_walk_step *steps;
	uint32_t step_count;
	uint32_t flags;
	uint32_t hwpt_id;
	uint32_t guest_pasid;
	uint32_t domain;
	uint32_t permitted;
	const char *stage1;
	const char *stage2;
	uint64_t output;
	struct uiommu_fault fault;
	uint64_t cached;
	uint32_t cached_access;
	uint32_t page_lg2;
};

/**
 * uiommu_walk() - look at a translation.
 * @context: owner of the device
 * @walk: the question, and the answer
 *
 * Others may change tables meanwhile: each entry is what was there when it was read.
 *
 * Return: 0, also if it leads nowhere; -EINVAL (size, access), -E2BIG, -ENOENT (no such device), -ENOMEM. Thread-safe.
 */
UIOMMU_API int uiommu_walk(struct uiommu_context *context, struct uiommu_walk *walk);

#ifdef __cplusplus
}
#endif
#endif
