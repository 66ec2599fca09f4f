/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Device and PASID tables: what a guest's structures say of (device, PASID), decoded into one description that is the same for
 * every architecture.
 *
 * There are two steps, because a guest's PASID table can also be attached by itself: from the requester id to the device's
 * description, and from that and a PASID (or none) to the stages of its page tables. An entry is copied once, word by word, and
 * only the copy is judged. Nothing is cached here; whoever calls keeps the result until it is invalidated.
 *
 * Everything here may run on any number of threads, in an RCU read section if the memory has areas; no lock, no allocation, and a
 * bounded number of reads.
 */
#ifndef TRANSLATE_TABLES_TABLES_H
#define TRANSLATE_TABLES_TABLES_H

#include "pgtable/pgtable.h"

/* What the registers say, and what the model offers. Which members mean something is said in the format's file. */
struct tables_config {
	uint64_t base; /* of the device table */
	uint8_t mode; /* how it is laid out */
	uint8_t size_lg2; /* number of entries, or of requester id bits */
	uint8_t split; /* bits of the last level, where there are two */
	uint8_t output_lg2; /* width of physical addresses */
	uint32_t flags; /* the format's own: capabilities */
	uint32_t entries; /* of the device table, where that need not be a power of two */
};

struct tables {
	const struct tables_format *format;
	struct tables_config config;
	struct pgtable_memory memory; /* guest-physical memory; as a stage 2 nothing but a tracker (tracker.h) */
};

/* Why there is no translation. @reason 0: none. As in struct uiommu_fault. */
struct tables_fault {
	uint8_t reason; /* enum uiommu_fault_reason */
	uint8_t structure; /* enum uiommu_structure */
	uint8_t stage; /* 2: stage 2 refused the access to a table; otherwise 0 */
	uint8_t level;
	bool table; /* the entry could not be read */
	bool quiet; /* an entry on the way says that such a fault is not recorded */
	uint8_t flags; /* enum uiommu_fault_flags: VALUE; not set by all formats */
	uint64_t ipa; /* stage 2: the address it was asked for */
	bool is_absent; /* whatever @reason: memory at @absent has not been supplied */
	uint64_t absent;
	uint32_t detail; /* the format's own: which of its specification's codes, where reason and structure do not tell */
};

/* What becomes of a request without, or after, stage 1. */
enum tables_mode {
	TABLES_BLOCK, /* every request is aborted without a fault record */
	TABLES_PASS, /* addresses are used as they are */
	TABLES_TRANSLATE, /* through one stage or two */
};

/* Flags of a device or an entry. */
enum {
	TABLES_ATS = 1, /* translation requests and translated requests */
	TABLES_PRI = 2, /* page requests */
	TABLES_STALL = 4, /* faults of stage 1 stall (SMMUv3) */
	TABLES_T2GPA = 8, /* translated addresses are those before stage 2 (SMMUv3 EATS split, RISC-V T2GPA) */
	TABLES_NO_FAULTS = 16, /* faults are not recorded */
	TABLES_PRIVILEGED = 32, /* requests may ask for privilege */
	TABLES_EXECUTE = 64, /* requests may execute */
	TABLES_PASIDS = 128, /* requests with PASID are looked up */
	TABLES_RID_PRIVILEGED = 256, /* requests without PASID are privileged (VT-d RID_PRIV) */
	TABLES_FIRST_FAULT = 512, /* only the first fault is recorded until the entry is invalidated (AMD SE) */
};

/* More of them, of some architectures only. */
enum {
	TABLES_STALL_2 = 1 << 16, /* faults of stage 2 stall (SMMUv3) */
	TABLES_NO_FAULTS_1 = 1 << 17, /* translation faults of stage 1 are not recorded, unless they stall (SMMUv3) */
	TABLES_NO_FAULTS_2 = 1 << 18, /* the same of stage 2 */
	TABLES_ZEROES = 1 << 19, /* what stage 1 refuses reads as zeroes and is not written, and that is no error (SMMUv3) */
	TABLES_ALL_PRIVILEGED = 1 << 20, /* every request is privileged (SMMUv3 PRIVCFG) */
	TABLES_ALL_EXECUTE = 1 << 21, /* every read is for execution (SMMUv3 INSTCFG) */
	TABLES_OVERRIDE = 1 << 22, /* what PRIVILEGED or EXECUTE does not grant is left out of the request, not refused */
	TABLES_PRI_PASID = 1 << 23, /* responses to page requests that are made here have their PASID (PPAR, PRPR) */
};

/* What a device's entry says. */
struct tables_device {
	const struct tables_format *format; /* of the PASID table */
	enum tables_mode mode; /* TRANSLATE: see @pasid_table, @stage2 */
	uint32_t flags;
	uint32_t domain; /* tag of stage 2: DID, VMID, DomainID, GSCID; of all, where there is no PASID */
	uint32_t
		rid_pasid; /* requests without PASID use this PASID's entry; UIOMMU_NO_PASID: the PASID table has no part in them */
	bool has_stage2;
	bool has_pasid_table;
	uint64_t pasid_table; /* its address, an input of stage 2 if the architecture says so */
	uint8_t pasid_mode; /* its layout, the format's own */
	uint8_t pasid_bits; /* PASIDs below 1 << pasid_bits are looked up */
	uint8_t output_lg2;
	uint32_t capabilities; /* struct tables_config's flags */
	struct pgtable_memory memory; /* as in struct tables */
	struct pgtable stage2; /* if has_stage2; its memory is @memory */
	uint64_t extra[2]; /* the format's own: what the step to the PASID needs of the entry */
	uint64_t msi[3]; /* RISC-V: msiptp, or 0 for off, msi_addr_mask and msi_addr_pattern: for what comes out of stage 1 */
};

/* What is said of (device, PASID): the description that a call's attachment has, too. */
struct tables_entry {
	enum tables_mode mode;
	uint32_t flags;
	uint32_t domain;
	uint32_t asid; /* tag of stage 1: PASID, ASID, PSCID; UIOMMU_NO_PASID: no stage 1 */
	uint32_t pasid; /* whose entry it is, where requests without PASID use one's (VT-d RID_PASID); or UIOMMU_NO_PASID */
	uint8_t denied; /* what the entries forbid whatever the stages permit, enum uiommu_access */
	bool has_stage1;
	bool has_stage2;
	const struct pgtable_format *stage1_format;
	struct pgtable_config stage1;
	const struct pgtable_format *stage2_format;
	struct pgtable_config stage2;
};

struct tables_format {
	const char *name;
	uint16_t pasid_modes; /* bit n: n is a tables_device.pasid_mode */
	/* The values of @tables->config that are not defined: -EINVAL, or not offered: -EOPNOTSUPP. */
	int (*check)(const struct tables *tables);
	/* The device's entry; false: @fault is why not. */
	bool (*device)(const struct tables *tables, uint32_t rid, struct tables_device *out, struct tables_fault *fault);
	/* The same of an entry that is in hand, of 4 (AMD) or 8 (SMMUv3) words; NULL: not offered. */
	bool (*entry)(const struct tables *tables, const uint64_t *words, struct tables_device *out, struct tables_fault *fault);
	/* The entry of @pasid, or of requests without (UIOMMU_NO_PASID). */
	bool (*pasid)(const struct tables_device *device, uint32_t pasid, struct tables_entry *out, struct tables_fault *fault);
};

extern const struct tables_format tables_amd; /* amd.c */
extern const struct tables_format tables_vtd; /* vtd.c */

/*
 * Copy @count words of 8 bytes from @address, aligned to 8, each with one load; @stage2 translates the address first, or is NULL.
 * @fault->structure is of what kind they are. False: @fault's reason, stage, table and ipa are set.
 */
bool tables_read(const struct pgtable_memory *memory, const struct pgtable *stage2, uint64_t address, uint64_t *words,
		 unsigned int count, struct tables_fault *fault);

extern const struct tables_format tables_smmuv3; /* smmuv3.c */
extern const struct tables_format tables_riscv; /* riscv.c */

/* False: @fault says why. */
static inline bool tables_refuse(struct tables_fault *fault, uint8_t reason, uint8_t structure, uint32_t detail)
{
	fault->reason = reason;
	fault->structure = structure;
	fault->detail = detail;
	return false;
}

#endif
