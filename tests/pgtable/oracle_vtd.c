/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * VT-d, both stages, as its specification tells it: 3.6 first-stage translation, 3.7 second-stage translation, 3.8 nested
 * translation, 9.7 and 9.8 the entries. Level 4 is the PML5, level 0 the table of 4-KiB pages.
 */
#include "oracle.h"

#include "pgtable/vtd.h"
#include "uiommu/types.h"

static uint64_t bit(unsigned int number)
{
	return (uint64_t)1 << number;
}

/* Bits @high to @low of a value, in their place. */
static uint64_t bits(uint64_t value, unsigned int high, unsigned int low)
{
	return value << (63 - high) >> (63 - high + low) << low;
}

static void fault(struct pgtable_result *out, unsigned int stage, unsigned int reason, unsigned int level, bool table)
{
	out->reason = (uint8_t)reason;
	out->stage = (uint8_t)stage;
	out->level = (uint8_t)level;
	out->table = table;
}

/* The entry's address in memory: through stage 2, if there is one. False: a fault, it is told in @out. */
static bool find_entry(const struct oracle_stage *stage, uint64_t address, unsigned int access, unsigned int flags,
		       unsigned int level, uint64_t *found, struct pgtable_result *out)
{
	struct pgtable_result second = {0};

	*found = address;
	if (!stage->stage2)
		return true;
	stage->stage2->format->walk(stage->stage2, address, access | (flags & PGTABLE_QUIET), &second);
	out->fetches = (uint8_t)(out->fetches + second.fetches);
	if (second.reason != UIOMMU_FAULT_NONE) {
		fault(out, second.stage, second.reason, level, true);
		out->ipa = address;
		return false;
	}
	*found = second.oa;
	return true;
}

static bool read_entry(const struct oracle_stage *stage, uint64_t address, unsigned int flags, unsigned int level, uint64_t *entry,
		       struct pgtable_result *out)
{
	uint64_t found;

	if (!find_entry(stage, address, UIOMMU_READ, flags, level, &found, out))
		return false;
	if (!oracle_read(stage->memory, found, 8, entry)) {
		fault(out, stage->format->stage, UIOMMU_FAULT_MEMORY, level, true);
		return false;
	}
	out->fetches++;
	return true;
}

/* Accessed and dirty flags: set @set in the entry if one of them is missing. */
static bool set_flags(const struct oracle_stage *stage, uint64_t address, unsigned int flags, unsigned int level, uint64_t *entry,
		      uint64_t set, struct pgtable_result *out)
{
	uint64_t found;

	if ((*entry & set) == set || (flags & PGTABLE_QUIET))
		return true;
	if (!find_entry(stage, address, UIOMMU_READ | UIOMMU_WRITE, flags, level, &found, out))
		return false;
	if (!oracle_write(stage->memory, found, 8, *entry | set)) {
		fault(out, stage->format->stage, UIOMMU_FAULT_UPDATE, level, true);
		return false;
	}
	*entry |= set;
	return true;
}

static uint64_t entry_address(uint64_t table, uint64_t address, unsigned int level)
{
	return table + (address >> (12 + 9 * level)) % 512 * 8;
}

static unsigned int page_lg2(unsigned int level)
{
	return level == 0 ? 12 : level == 1 ? 21 : 30;
}

static void found_page(uint64_t entry, uint64_t address, unsigned int level, struct pgtable_result *out)
{
	unsigned int size = page_lg2(level);

	out->oa = bits(entry, 51, size) | bits(address, size - 1, 0);
	out->page_lg2 = (uint8_t)size;
	out->level = (uint8_t)level;
}

/* 3.6: bits 63:N of the address have the value of bit N - 1. */
static bool canonical(uint64_t address, unsigned int levels)
{
	unsigned int width = levels == 5 ? 57 : 48;
	uint64_t upper = bits(address, 63, width - 1);

	return upper == 0 || upper == bits(UINT64_MAX, 63, width - 1);
}

/* 9.7: reserved fields of first-stage entries, and what is reserved because it is not enabled. */
static bool first_reserved(const struct pgtable_config *config, uint64_t entry, unsigned int level)
{
	bool large = level > 0 && (entry & bit(7));

	if (config->output_lg2 < 52 && bits(entry, 51, config->output_lg2))
		return true;
	if (!(config->flags & UIOMMU_VTD_FIRST_NXE) && (entry & bit(63)))
		return true;
	if (!large)
		return false;
	if (level > 2 || (level == 2 && !(config->flags & UIOMMU_VTD_FIRST_1G)))
		return true;
	return bits(entry, level == 1 ? 20 : 29, 13) != 0;
}

static void first_walk(const struct oracle_stage *stage, uint64_t address, unsigned int flags, struct pgtable_result *out)
{
	const struct pgtable_config *config = &stage->config;
	uint64_t table = config->base[0], accessed = bit(5);
	unsigned int need = flags & (UIOMMU_READ | UIOMMU_WRITE | UIOMMU_EXEC);
	bool all_write = true, all_user = true, any_no_exec = false, user = flags & PGTABLE_USER;

	*out = (struct pgtable_result){0};
	if (!canonical(address, config->levels)) {
		fault(out, 1, UIOMMU_FAULT_RANGE, config->levels - 1u, false);
		return;
	}
	if (config->flags & UIOMMU_VTD_FIRST_EAFE)
		accessed |= bit(10);
	for (unsigned int level = config->levels - 1u;; level--) {
		uint64_t at = entry_address(table, address, level), entry, set = accessed;

		if (!read_entry(stage, at, flags, level, &entry, out))
			return;
		if (!(entry & bit(0))) {
			fault(out, 1, UIOMMU_FAULT_UNMAPPED, level, false);
			return;
		}
		if (first_reserved(config, entry, level)) {
			fault(out, 1, UIOMMU_FAULT_RESERVED, level, false);
			return;
		}
		all_write = all_write && (entry & bit(1));
		all_user = all_user && (entry & bit(2));
		any_no_exec = any_no_exec || (entry & bit(63));
		if (level > 0 && !(entry & bit(7))) {
			if (!set_flags(stage, at, flags, level, &entry, set, out))
				return;
			table = bits(entry, 51, 12);
			continue;
		}
		if (!user || all_user) {
			out->access = UIOMMU_READ;
			if (all_write || (!user && !(config->flags & UIOMMU_VTD_FIRST_WPE)))
				out->access |= UIOMMU_WRITE;
			if (!any_no_exec && !(!user && all_user && (config->flags & UIOMMU_VTD_FIRST_SMEP)))
				out->access |= UIOMMU_EXEC;
		}
		if (need && user && !all_user) {
			fault(out, 1, UIOMMU_FAULT_PRIVILEGE, level, false);
			return;
		}
		if (need & ~(unsigned int)out->access) {
			fault(out, 1, UIOMMU_FAULT_PERMISSION, level, false);
			return;
		}
		if (need & UIOMMU_WRITE)
			set |= bit(6);
		if (!set_flags(stage, at, flags, level, &entry, set, out))
			return;
		out->clean = (out->access & UIOMMU_WRITE) && !(entry & bit(6));
		out->attributes = (uint32_t)(entry & VTD_FIRST_ATTRIBUTES);
		found_page(entry, address, level, out);
		return;
	}
}

/* 9.8 */
static bool second_reserved(const struct pgtable_config *config, uint64_t entry, unsigned int level, bool leaf)
{
	if (entry & bit(62))
		return true;
	if (config->output_lg2 < 52 && bits(entry, 51, config->output_lg2))
		return true;
	if ((entry & bit(11)) && (!leaf || !(config->flags & UIOMMU_VTD_SECOND_SNOOP)))
		return true;
	if (!leaf || level == 0)
		return false;
	switch (level) {
	case 1:
		return !(config->flags & UIOMMU_VTD_SECOND_2M) || bits(entry, 20, 12);
	case 2:
		return !(config->flags & UIOMMU_VTD_SECOND_1G) || bits(entry, 29, 12);
	default:
		return true;
	}
}

static void second_walk(const struct oracle_stage *stage, uint64_t address, unsigned int flags, struct pgtable_result *out)
{
	const struct pgtable_config *config = &stage->config;
	bool execute = config->flags & UIOMMU_VTD_SECOND_EXECUTE, update = config->flags & UIOMMU_VTD_SECOND_AD;
	unsigned int width = 12 + 9u * config->levels, need = flags & (UIOMMU_READ | UIOMMU_WRITE | UIOMMU_EXEC);
	uint64_t table = config->base[0];
	bool read = true, write = true, exec = true;

	*out = (struct pgtable_result){0};
	if (bits(address, 63, width)) {
		fault(out, 2, UIOMMU_FAULT_RANGE, config->levels - 1u, false);
		return;
	}
	for (unsigned int level = config->levels - 1u;; level--) {
		uint64_t at = entry_address(table, address, level), entry, set = update ? bit(8) : 0;
		bool leaf;

		if (!read_entry(stage, at, flags, level, &entry, out))
			return;
		if (!(entry & bit(0)) && !(entry & bit(1)) && !(execute && (entry & bit(2)))) {
			fault(out, 2, UIOMMU_FAULT_UNMAPPED, level, false);
			return;
		}
		leaf = level == 0 || (entry & bit(7));
		if (second_reserved(config, entry, level, leaf)) {
			fault(out, 2, UIOMMU_FAULT_RESERVED, level, false);
			return;
		}
		read = read && (entry & bit(0));
		write = write && (entry & bit(1));
		exec = exec && (entry & bit(execute ? 2 : 0));
		if (!leaf) {
			if (!set_flags(stage, at, flags, level, &entry, set, out))
				return;
			table = bits(entry, 51, 12);
			continue;
		}
		out->access = (uint8_t)((read ? UIOMMU_READ : 0) | (write ? UIOMMU_WRITE : 0) | (exec ? UIOMMU_EXEC : 0));
		if (need & ~(unsigned int)out->access) {
			fault(out, 2, UIOMMU_FAULT_PERMISSION, level, false);
			return;
		}
		if (update && (need & UIOMMU_WRITE))
			set |= bit(9);
		if (!set_flags(stage, at, flags, level, &entry, set, out))
			return;
		out->clean = update && write && !(entry & bit(9));
		out->attributes = (uint32_t)(entry & VTD_SECOND_ATTRIBUTES);
		found_page(entry, address, level, out);
		return;
	}
}

static uint8_t output_width(struct oracle_random *random, unsigned int memory_lg2)
{
	static const uint8_t common[] = {36, 39, 46, 48, 52};
	unsigned int least = memory_lg2 < 32 ? 32 : memory_lg2;
	uint8_t width = common[oracle_below(random, sizeof(common))];

	if (oracle_once_in(random, 3) || width < least)
		width = (uint8_t)(least + oracle_below(random, 53 - least));
	return width;
}

static void first_configure(struct oracle_random *random, unsigned int memory_lg2, struct pgtable_config *config)
{
	*config = (struct pgtable_config){
		.levels = (uint8_t)(oracle_once_in(random, 3) ? 5 : 4),
		.output_lg2 = output_width(random, memory_lg2),
		.flags = (uint32_t)oracle_random(random) & (UIOMMU_VTD_FIRST_WPE | UIOMMU_VTD_FIRST_NXE | UIOMMU_VTD_FIRST_SMEP |
							    UIOMMU_VTD_FIRST_EAFE | UIOMMU_VTD_FIRST_1G),
	};
}

static void second_configure(struct oracle_random *random, unsigned int memory_lg2, struct pgtable_config *config)
{
	*config = (struct pgtable_config){
		.levels = (uint8_t)(3 + oracle_below(random, 3)),
		.output_lg2 = output_width(random, memory_lg2),
		.flags =
			(uint32_t)oracle_random(random) & (UIOMMU_VTD_SECOND_AD | UIOMMU_VTD_SECOND_SNOOP |
							   UIOMMU_VTD_SECOND_EXECUTE | UIOMMU_VTD_SECOND_2M | UIOMMU_VTD_SECOND_1G),
	};
}

static void geometry(const struct pgtable_config *config, unsigned int half, struct oracle_geometry *out)
{
	*out = (struct oracle_geometry){
		.granule_lg2 = 12,
		.index_lg2 = 9,
		.entry_lg2 = 3,
		.top = config->levels - 1u,
		.top_index_lg2 = 9,
		.table_lg2 = 12,
		.top_table_lg2 = 12,
		.present = half == 0,
	};
}

/* The address of what an entry leads to, low bits as its kind has them. */
static uint64_t fitting(const struct pgtable_config *config, unsigned int level, enum oracle_entry kind, uint64_t target)
{
	return bits(target, config->output_lg2 - 1u, kind == ORACLE_TABLE ? 12 : page_lg2(level));
}

static uint64_t first_entry(struct oracle_random *random, const struct pgtable_config *config, unsigned int half,
			    unsigned int level, enum oracle_entry kind, uint64_t target, unsigned int *next)
{
	/* Everything that means nothing: 62:52, 11:8; and memory types, accessed and dirty flags. */
	uint64_t ignored = bits(oracle_random(random), 62, 52) | bits(oracle_random(random), 11, 8);
	uint64_t entry = bit(0) | ignored | bits(oracle_random(random), 6, 3) | fitting(config, level, kind, target);
	bool large = kind == ORACLE_LEAF && level > 0;

	(void)half;
	if (next)
		*next = level ? level - 1 : 0;
	if (!oracle_once_in(random, 16))
		entry |= bit(1);
	if (!oracle_once_in(random, 16))
		entry |= bit(2);
	if ((config->flags & UIOMMU_VTD_FIRST_NXE) && oracle_once_in(random, 16))
		entry |= bit(63);
	if (large || (level == 0 && oracle_once_in(random, 2)))
		entry |= bit(7);
	if (large && oracle_once_in(random, 2))
		entry |= bit(12);
	if (oracle_once_in(random, 100))
		entry &= ~bit(0);
	return entry;
}

static uint64_t second_entry(struct oracle_random *random, const struct pgtable_config *config, unsigned int half,
			     unsigned int level, enum oracle_entry kind, uint64_t target, unsigned int *next)
{
	/* Ignored: 63, 61:52, 10; 6:3 is the memory type of a leaf, and ignored elsewhere. */
	uint64_t ignored = bits(oracle_random(random), 61, 52) | bits(oracle_random(random), 63, 63);
	uint64_t entry = ignored | bits(oracle_random(random), 10, 8) | bits(oracle_random(random), 6, 3) |
			 fitting(config, level, kind, target);
	bool leaf = kind == ORACLE_LEAF;

	(void)half;
	if (next)
		*next = level ? level - 1 : 0;
	if (!oracle_once_in(random, 24))
		entry |= bit(0);
	if (!oracle_once_in(random, 20))
		entry |= bit(1);
	if (!oracle_once_in(random, 12))
		entry |= bit(2);
	if ((leaf && level > 0) || (level == 0 && oracle_once_in(random, 2)))
		entry |= bit(7);
	if (leaf && (config->flags & UIOMMU_VTD_SECOND_SNOOP) && oracle_once_in(random, 2))
		entry |= bit(11);
	if (oracle_once_in(random, 100))
		entry &= ~(uint64_t)7;
	return entry;
}

static bool first_may_be_leaf(const struct pgtable_config *config, unsigned int half, unsigned int level)
{
	(void)half;
	return level <= 1 || (level == 2 && (config->flags & UIOMMU_VTD_FIRST_1G));
}

static bool second_may_be_leaf(const struct pgtable_config *config, unsigned int half, unsigned int level)
{
	(void)half;
	return level == 0 || (level == 1 && (config->flags & UIOMMU_VTD_SECOND_2M)) ||
	       (level == 2 && (config->flags & UIOMMU_VTD_SECOND_1G));
}

static uint64_t first_address(const struct pgtable_config *config, unsigned int half, uint64_t input)
{
	unsigned int width = config->levels == 5 ? 57 : 48;

	(void)half;
	input = bits(input, width - 1, 0);
	return input & bit(width - 1) ? input | bits(UINT64_MAX, 63, width) : input;
}

static uint64_t second_address(const struct pgtable_config *config, unsigned int half, uint64_t input)
{
	(void)half;
	return bits(input, 12 + 9u * config->levels - 1, 0);
}

const struct oracle_format oracle_vtd_first = {
	.name = "vtd_first",
	.format = &pgtable_vtd_first,
	.stage = 1,
	.configure = first_configure,
	.geometry = geometry,
	.entry = first_entry,
	.may_be_leaf = first_may_be_leaf,
	.address = first_address,
	.walk = first_walk,
};

const struct oracle_format oracle_vtd_second = {
	.name = "vtd_second",
	.format = &pgtable_vtd_second,
	.stage = 2,
	.configure = second_configure,
	.geometry = geometry,
	.entry = second_entry,
	.may_be_leaf = second_may_be_leaf,
	.address = second_address,
	.walk = second_walk,
};
