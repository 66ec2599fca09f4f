/* SPDX-License-Identifier: BSD-3-Clause */
/* SMMUv3's STE, CD and what leads to them, bit by bit (Arm IHI 0070, 5), and what STE and CD have in common. */
#ifndef TRANSLATE_TABLES_SMMUV3_SPEC_H
#define TRANSLATE_TABLES_SMMUV3_SPEC_H

#include "translate/tables/smmuv3.h"
#include "translate/tables/tables.h"
#include "util/bits.h"
#include "util/util.h"

/* 5.1 L1STD */
#define L1STD_SPAN GENMASK64(4, 0)
#define L1STD_L2PTR GENMASK64(55, 6)

/* 5.2 STE, word 0 */
#define STE_V BIT64(0)
#define STE_CONFIG GENMASK64(3, 1)
#define STE_S1FMT GENMASK64(5, 4)
#define STE_S1CONTEXTPTR GENMASK64(55, 6)
#define STE_S1CDMAX GENMASK64(63, 59)
/* Word 1 */
#define STE_S1DSS GENMASK64(1, 0)
#define STE_PPAR BIT64(18)
#define STE_S1STALLD BIT64(27)
#define STE_EATS GENMASK64(29, 28)
#define STE_STRW GENMASK64(31, 30)
#define STE_PRIVCFG GENMASK64(49, 48)
#define STE_INSTCFG GENMASK64(51, 50)
/* Word 2 */
#define STE_S2VMID GENMASK64(15, 0)
#define STE_S2T0SZ GENMASK64(37, 32)
#define STE_S2SL0 GENMASK64(39, 38)
#define STE_S2TG GENMASK64(47, 46)
#define STE_S2PS GENMASK64(50, 48)
#define STE_S2AA64 BIT64(51)
#define STE_S2ENDI BIT64(52)
#define STE_S2AFFD BIT64(53)
#define STE_S2HD BIT64(55)
#define STE_S2HA BIT64(56)
#define STE_S2S BIT64(57)
#define STE_S2R BIT64(58)
/* Word 3 */
#define STE_S2SL0_2 BIT64(2)
#define STE_S2DS BIT64(3)
#define STE_S2TTB GENMASK64(51, 4)

/* Config: the top bit, and one for each stage. */
enum { CONFIG_STAGE1 = 1, CONFIG_STAGE2 = 2, CONFIG_PASS = 4 };
enum { S1FMT_LINEAR, S1FMT_4K, S1FMT_64K };
enum { S1DSS_TERMINATE, S1DSS_BYPASS, S1DSS_SUBSTREAM_0 };
enum { EATS_NONE, EATS_FULL, EATS_SPLIT };
enum { OVERRIDE_OFF = 2, OVERRIDE_ON = 3 }; /* PRIVCFG, INSTCFG */

/* 5.3 L1CD */
#define L1CD_V BIT64(0)
#define L1CD_L2PTR GENMASK64(55, 12)

/* 5.4 CD, word 0 */
#define CD_T0SZ GENMASK64(5, 0)
#define CD_TG0 GENMASK64(7, 6)
#define CD_EPD0 BIT64(14)
#define CD_ENDI BIT64(15)
#define CD_T1SZ GENMASK64(21, 16)
#define CD_TG1 GENMASK64(23, 22)
#define CD_EPD1 BIT64(30)
#define CD_V BIT64(31)
#define CD_IPS GENMASK64(34, 32)
#define CD_AFFD BIT64(35)
#define CD_WXN BIT64(36)
#define CD_UWXN BIT64(37)
#define CD_TBI0 BIT64(38)
#define CD_TBI1 BIT64(39)
#define CD_PAN BIT64(40)
#define CD_AA64 BIT64(41)
#define CD_HD BIT64(42)
#define CD_HA BIT64(43)
#define CD_S BIT64(44)
#define CD_R BIT64(45)
#define CD_A BIT64(46)
#define CD_ASID GENMASK64(63, 48)
/* Words 1 and 2 */
#define CD_HAD BIT64(1)
#define CD_TTB GENMASK64(51, 4)
/* Word 2 */
#define CD_DS BIT64(58)

static inline bool smmuv3_refuse(struct tables_fault *fault, uint8_t reason, uint8_t structure, uint32_t detail)
{
	fault->level = structure == UIOMMU_STRUCTURE_DEVICE_DIR || structure == UIOMMU_STRUCTURE_PASID_DIR;
	return tables_refuse(fault, reason, structure, detail);
}

/* S2PS, IPS: the size in effect. 0b111 behaves as 0b110. */
static inline uint8_t smmuv3_size(uint64_t field, uint8_t output_lg2)
{
	static const uint8_t sizes[8] = {32, 36, 40, 42, 44, 48, 52, 52};

	return sizes[field] < output_lg2 ? sizes[field] : output_lg2;
}

/* S2TG, TG0 (and TG1, turned into those): log2 of the smallest page, or 0 if there is none or it is not offered. */
static inline uint8_t smmuv3_granule_lg2(uint64_t field, uint32_t capabilities)
{
	static const struct {
		uint8_t lg2;
		uint32_t needs;
	} granules[4] = {{12, UIOMMU_SMMUV3_GRAN4K}, {16, UIOMMU_SMMUV3_GRAN64K}, {14, UIOMMU_SMMUV3_GRAN16K}, {0, 0}};

	return capabilities & granules[field].needs ? granules[field].lg2 : 0;
}

/* Pages of 64K have room for 52 bits of address anyway. */
static inline bool smmuv3_wide(uint8_t granule_lg2, bool ds)
{
	return granule_lg2 == 16 || ds;
}

/* S2TTB, TTB0, TTB1: may the table be there? */
static inline bool smmuv3_in_range(uint64_t address, uint8_t output_lg2, uint8_t granule_lg2, bool ds)
{
	return !(address >> output_lg2) && (smmuv3_wide(granule_lg2, ds) || !(address >> 48));
}

/* Where output addresses have 52 bits, a table's lowest six mean nothing. */
static inline uint64_t smmuv3_base(uint64_t address, uint8_t output_lg2)
{
	return output_lg2 == 52 ? address & ~low_mask(6) : address;
}

/* HA and HD, the latter alone means nothing. */
static inline bool smmuv3_httu_illegal(bool ha, bool hd, uint32_t capabilities)
{
	return ((ha || hd) && !(capabilities & UIOMMU_SMMUV3_HA)) || (hd && !(capabilities & UIOMMU_SMMUV3_HD));
}

/* S, S2S: does the stall model permit it? */
static inline bool smmuv3_stall_illegal(bool stalls, uint32_t capabilities)
{
	if (capabilities & UIOMMU_SMMUV3_STALL)
		return false;
	return stalls != ((capabilities & UIOMMU_SMMUV3_STALL_FORCED) != 0);
}

/* smmuv3_cd.c */
bool smmuv3_pasid(const struct tables_device *device, uint32_t pasid, struct tables_entry *out, struct tables_fault *fault);

#endif
