/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * AMD's tables, as the specification tells it (48882): host tables (2.2.3), and guest tables (2.2.6), which are those of AMD64 in
 * long mode. What is said in it of levels is said here: level 1 is the table of 4-KiB pages. Only results count from 0.
 */
#include "oracle.h"

#include "pgtable/amd.h"
#include "uiommu/types.h"

/* A walk, so far. */
struct trip {
	const struct oracle_stage *stage;
	uint64_t address;
	unsigned int flags;
	unsigned int level;
	uint64_t place; /* of the entry */
	uint64_t entry;
	struct pgtable_result *out;
};

/* Bits @high to @low, shifted down. */
static uint64_t field(uint64_t value, unsigned int high, unsigned int low)
{
	if (high > 63)
		high = 63;
	return high < low ? 0 : (value >> low) & (UINT64_MAX >> (63 - (high - low)));
}

static uint64_t bit(unsigned int number)
{
	return (uint64_t)1 << number;
}

static bool is_set(uint64_t value, unsigned int number)
{
	return field(value, number, number) == 1;
}

static bool asks(const struct trip *trip, unsigned int access)
{
	return (trip->flags & access) != 0;
}

static void fail(struct trip *trip, unsigned int reason, bool table)
{
	trip->out->reason = (uint8_t)reason;
	trip->out->stage = (uint8_t)trip->stage->format->stage;
	trip->out->level = (uint8_t)(trip->level - 1);
	trip->out->table = table;
}

/* Where the entry is in memory. */
static bool locate(struct trip *trip, unsigned int access, uint64_t *memory)
{
	const struct oracle_stage *stage2 = trip->stage->stage2;
	struct pgtable_result second;

	*memory = trip->place;
	if (!stage2)
		return true;
	stage2->format->walk(stage2, trip->place, access | (trip->flags & PGTABLE_QUIET), &second);
	trip->out->fetches = (uint8_t)(trip->out->fetches + second.fetches);
	*memory = second.oa;
	if (!second.reason)
		return true;
	fail(trip, second.reason, true);
	trip->out->stage = second.stage;
	trip->out->ipa = trip->place;
	return false;
}

static bool fetch(struct trip *trip, uint64_t table, uint64_t index)
{
	uint64_t memory;

	trip->place = table + index * 8;
	if (!locate(trip, UIOMMU_READ, &memory))
		return false;
	if (!oracle_read(trip->stage->memory, memory, 8, &trip->entry)) {
		fail(trip, UIOMMU_FAULT_MEMORY, true);
		return false;
	}
	trip->out->fetches++;
	return true;
}

/* Set what is missing of these bits in the entry. */
static bool mark(struct trip *trip, bool accessed, bool dirty)
{
	uint64_t value = trip->entry, memory;

	if (accessed)
		value |= bit(5);
	if (dirty)
		value |= bit(6);
	if (value == trip->entry || asks(trip, PGTABLE_QUIET))
		return true;
	if (!locate(trip, UIOMMU_READ | UIOMMU_WRITE, &memory))
		return false;
	if (!oracle_write(trip->stage->memory, memory, 8, value)) {
		fail(trip, UIOMMU_FAULT_UPDATE, true);
		return false;
	}
	trip->entry = value;
	return true;
}

static void arrive(struct trip *trip, uint64_t page, unsigned int size_lg2)
{
	trip->out->oa = page + field(trip->address, size_lg2 - 1, 0);
	trip->out->page_lg2 = (uint8_t)size_lg2;
	trip->out->level = (uint8_t)(trip->level - 1);
}

/* All that is asked for, and more. */
static bool suffices(const struct trip *trip)
{
	const unsigned int kinds[] = {UIOMMU_READ, UIOMMU_WRITE, UIOMMU_EXEC};

	for (unsigned int i = 0; i < 3; i++)
		if (asks(trip, kinds[i]) && !(trip->out->access & kinds[i]))
			return false;
	return true;
}

/* So many bits of the address are those that levels up to @level translate, and the offset in a page. */
static unsigned int translated(unsigned int level)
{
	return 12 + 9 * level;
}

/* --- host tables --- */

/* The size of the page that the entry maps; 0 if it is not right. */
static unsigned int v1_page(const struct trip *trip)
{
	unsigned int size = translated(trip->level - 1), usual = size;

	if (trip->level == 6)
		return 0;
	if (field(trip->entry, 11, 9) == 7) {
		/* The least significant 0 says the size: 0 at bit 12 is 8 KiB, 01 is 16 KiB, and so on. */
		size = 13;
		while (size <= 52 && is_set(trip->entry, size - 1))
			size++;
		if (size <= usual || size >= translated(trip->level))
			return 0;
	} else if (size > 12 && field(trip->entry, size - 1, 12)) {
		return 0;
	}
	return size <= trip->stage->config.output_lg2 ? size : 0;
}

static void v1_arrive(struct trip *trip, bool reads, bool writes)
{
	uint32_t flags = trip->stage->config.flags;
	unsigned int size = v1_page(trip);

	if (!size) {
		fail(trip, UIOMMU_FAULT_RESERVED, false);
		return;
	}
	trip->out->access = (uint8_t)((reads ? UIOMMU_READ | UIOMMU_EXEC : 0) | (writes ? UIOMMU_WRITE : 0));
	if (!suffices(trip)) {
		fail(trip, UIOMMU_FAULT_PERMISSION, false);
		return;
	}
	if (!mark(trip, flags & UIOMMU_AMD_V1_ACCESSED, (flags & UIOMMU_AMD_V1_DIRTY) && asks(trip, UIOMMU_WRITE)))
		return;
	trip->out->clean = writes && (flags & UIOMMU_AMD_V1_DIRTY) && !is_set(trip->entry, 6);
	trip->out->attributes = is_set(trip->entry, 59) ? AMD_V1_U : 0;
	arrive(trip, field(trip->entry, 51, size) << size, size);
}

/* What is wrong with an entry that leads to a table of level @next. */
static unsigned int v1_table_fault(const struct trip *trip, unsigned int next)
{
	if (is_set(trip->entry, 59) || is_set(trip->entry, 60))
		return UIOMMU_FAULT_RESERVED;
	if (next >= trip->level)
		return UIOMMU_FAULT_RESERVED;
	/* Levels that are skipped: their address bits have to be 0. */
	for (unsigned int level = next + 1; level < trip->level; level++)
		if (field(trip->address, translated(level) - 1, translated(level - 1)))
			return UIOMMU_FAULT_UNMAPPED;
	return UIOMMU_FAULT_NONE;
}

static void v1_walk(const struct oracle_stage *stage, uint64_t address, unsigned int flags, struct pgtable_result *out)
{
	const struct pgtable_config *config = &stage->config;
	struct trip trip = {.stage = stage, .address = address, .flags = flags, .level = config->levels, .out = out};
	uint64_t table = config->base[0];
	bool reads = true, writes = true;

	*out = (struct pgtable_result){.reason = UIOMMU_FAULT_NONE};
	if (field(address, 63, translated(config->levels))) {
		fail(&trip, UIOMMU_FAULT_RANGE, false);
		return;
	}
	for (;;) {
		unsigned int next, reason;

		if (!fetch(&trip, table, field(address, translated(trip.level) - 1, translated(trip.level - 1))))
			return;
		if (!is_set(trip.entry, 0)) {
			fail(&trip, UIOMMU_FAULT_UNMAPPED, false);
			return;
		}
		if (field(trip.entry, 58, 52) || field(trip.entry, 51, config->output_lg2)) {
			fail(&trip, UIOMMU_FAULT_RESERVED, false);
			return;
		}
		reads = reads && is_set(trip.entry, 61);
		writes = writes && is_set(trip.entry, 62);
		next = (unsigned int)field(trip.entry, 11, 9);
		if (next == 0 || next == 7) {
			v1_arrive(&trip, reads, writes);
			return;
		}
		reason = v1_table_fault(&trip, next);
		if (reason) {
			fail(&trip, reason, false);
			return;
		}
		if (!mark(&trip, config->flags & UIOMMU_AMD_V1_ACCESSED, false))
			return;
		table = field(trip.entry, 51, 12) << 12;
		trip.level = next;
	}
}

static uint8_t output_width(struct oracle_random *random, unsigned int memory_lg2)
{
	static const uint8_t usual[] = {40, 44, 48, 52};
	unsigned int least = memory_lg2 > 32 ? memory_lg2 : 32;

	if (oracle_once_in(random, 2))
		return (uint8_t)(least + oracle_below(random, 53 - least));
	return usual[oracle_below(random, 4)];
}

static void v1_configure(struct oracle_random *random, unsigned int memory_lg2, struct pgtable_config *config)
{
	static const uint32_t flags[] = {0, UIOMMU_AMD_V1_ACCESSED, UIOMMU_AMD_V1_ACCESSED | UIOMMU_AMD_V1_DIRTY,
					 UIOMMU_AMD_V1_ACCESSED | UIOMMU_AMD_V1_DIRTY};

	*config = (struct pgtable_config){
		.levels = (uint8_t)(oracle_once_in(random, 4) ? 1 + oracle_below(random, 2) : 3 + oracle_below(random, 4)),
		.output_lg2 = output_width(random, memory_lg2),
		.flags = flags[oracle_below(random, 4)],
	};
}

static void geometry(const struct pgtable_config *config, unsigned int half, struct oracle_geometry *out)
{
	*out = (struct oracle_geometry){
		.granule_lg2 = 12,
		.index_lg2 = 9,
		.entry_lg2 = 3,
		.top = config->levels - 1u,
		.top_index_lg2 = config->levels == 6 ? 7 : 9, /* no more than 64 bits */
		.table_lg2 = 12,
		.top_table_lg2 = 12,
		.present = half == 0,
	};
}

/* The bits of a target that an entry has, none beyond the width and none below @low. */
static uint64_t fitting(const struct pgtable_config *config, uint64_t target, unsigned int low)
{
	return field(target, config->output_lg2 - 1u, low) << low;
}

/* A page of the level's own size, or sometimes of a larger one; the largest is too large for the level. */
static uint64_t v1_leaf(struct oracle_random *random, const struct pgtable_config *config, unsigned int level, uint64_t target)
{
	unsigned int usual = translated(level), size = usual + 1 + (unsigned int)oracle_below(random, 9);

	if (!oracle_once_in(random, 4) || size > config->output_lg2 + 1u)
		return fitting(config, target, usual);
	/* Ones up to the 0 that says the size. */
	return fitting(config, target, size) + (bit(size - 1) - bit(12)) + ((uint64_t)7 << 9);
}

static uint64_t v1_entry(struct oracle_random *random, const struct pgtable_config *config, unsigned int half, unsigned int level,
			 enum oracle_entry kind, uint64_t target, unsigned int *next)
{
	/* 63, 8:7 and 4:1 mean nothing; 6:5 are dirty and accessed. */
	uint64_t noise = oracle_random(random), entry = (field(noise, 8, 1) << 1) + (field(noise, 63, 63) << 63);
	uint64_t to = oracle_once_in(random, 4) ? 1 + oracle_below(random, level) : level;

	(void)half;
	if (next)
		*next = to ? (unsigned int)to - 1 : 0;
	if (!oracle_once_in(random, 20))
		entry += bit(61);
	if (!oracle_once_in(random, 20))
		entry += bit(62);
	if (!oracle_once_in(random, 100))
		entry += bit(0);
	/* Instead of a table, a page at 0 of the level's size, which may be too large. */
	if (kind == ORACLE_TABLE && oracle_once_in(random, 80))
		return entry;
	if (kind == ORACLE_TABLE)
		return entry + (to << 9) + fitting(config, target, 12);
	return entry + (field(noise, 60, 59) << 59) + v1_leaf(random, config, level, target);
}

static bool v1_may_be_leaf(const struct pgtable_config *config, unsigned int half, unsigned int level)
{
	(void)half;
	return level < 5 && translated(level) <= config->output_lg2;
}

static uint64_t v1_address(const struct pgtable_config *config, unsigned int half, uint64_t input)
{
	(void)half;
	return field(input, translated(config->levels) - 1, 0);
}

/* --- guest tables --- */

/* Of a page that an entry of this level maps; 0: it leads to a table. */
static unsigned int v2_page(const struct trip *trip)
{
	switch (trip->level) {
	case 1:
		return 12;
	case 2:
		return is_set(trip->entry, 7) ? 21 : 0;
	case 3:
		return is_set(trip->entry, 7) ? 30 : 0;
	default:
		return 0;
	}
}

static bool v2_reserved(const struct trip *trip)
{
	unsigned int size = v2_page(trip);

	if (field(trip->entry, 51, trip->stage->config.output_lg2))
		return true;
	if (trip->level >= 4 && (is_set(trip->entry, 7) || is_set(trip->entry, 8)))
		return true;
	return size > 12 && field(trip->entry, size - 1, 13);
}

/* What all entries on the way said together. */
struct v2_rights {
	bool user;
	bool write;
	bool execute;
};

static void v2_arrive(struct trip *trip, const struct v2_rights *rights)
{
	bool user = asks(trip, PGTABLE_USER), write = rights->write;
	unsigned int size = v2_page(trip), access = UIOMMU_READ;

	if (!user && (trip->stage->config.flags & UIOMMU_AMD_V2_WP_OFF))
		write = true;
	if (write)
		access |= UIOMMU_WRITE;
	if (rights->execute)
		access |= UIOMMU_EXEC;
	if (user && !rights->user) {
		access = 0;
		if (asks(trip, UIOMMU_READ | UIOMMU_WRITE | UIOMMU_EXEC)) {
			fail(trip, UIOMMU_FAULT_PRIVILEGE, false);
			return;
		}
	}
	trip->out->access = (uint8_t)access;
	if (!suffices(trip)) {
		fail(trip, UIOMMU_FAULT_PERMISSION, false);
		return;
	}
	if (!mark(trip, true, asks(trip, UIOMMU_WRITE)))
		return;
	trip->out->clean = (access & UIOMMU_WRITE) && !is_set(trip->entry, 6);
	trip->out->attributes = (uint32_t)(trip->entry & AMD_V2_ATTRIBUTES);
	arrive(trip, field(trip->entry, 51, size) << size, size);
}

static void v2_walk(const struct oracle_stage *stage, uint64_t address, unsigned int flags, struct pgtable_result *out)
{
	const struct pgtable_config *config = &stage->config;
	struct trip trip = {.stage = stage, .address = address, .flags = flags, .level = config->levels, .out = out};
	uint64_t table = config->base[0], upper = field(address, 63, translated(config->levels) - 1);
	struct v2_rights rights = {true, true, true};

	*out = (struct pgtable_result){.reason = UIOMMU_FAULT_NONE};
	if (upper != 0 && upper != field(UINT64_MAX, 63, translated(config->levels) - 1)) {
		fail(&trip, UIOMMU_FAULT_RANGE, false);
		return;
	}
	for (;;) {
		if (!fetch(&trip, table, field(address, translated(trip.level) - 1, translated(trip.level - 1))))
			return;
		if (!is_set(trip.entry, 0)) {
			fail(&trip, UIOMMU_FAULT_UNMAPPED, false);
			return;
		}
		if (v2_reserved(&trip)) {
			fail(&trip, UIOMMU_FAULT_RESERVED, false);
			return;
		}
		rights.write = rights.write && is_set(trip.entry, 1);
		rights.user = rights.user && is_set(trip.entry, 2);
		rights.execute = rights.execute && !is_set(trip.entry, 63);
		if (v2_page(&trip)) {
			v2_arrive(&trip, &rights);
			return;
		}
		if (!mark(&trip, true, false))
			return;
		table = field(trip.entry, 51, 12) << 12;
		trip.level--;
	}
}

static void v2_configure(struct oracle_random *random, unsigned int memory_lg2, struct pgtable_config *config)
{
	*config = (struct pgtable_config){
		.levels = (uint8_t)(4 + oracle_below(random, 2)),
		.output_lg2 = output_width(random, memory_lg2),
		.flags = oracle_once_in(random, 3) ? UIOMMU_AMD_V2_WP_OFF : 0,
	};
}

static uint64_t v2_entry(struct oracle_random *random, const struct pgtable_config *config, unsigned int half, unsigned int level,
			 enum oracle_entry kind, uint64_t target, unsigned int *next)
{
	/* 62:52 and 11:9 mean nothing; 6:3 are dirty, accessed and the memory type; 8 is G, below what is 0. */
	uint64_t noise = oracle_random(random), entry = (field(noise, 62, 52) << 52) + (field(noise, 11, 9) << 9);
	bool large = kind == ORACLE_LEAF && level > 0;

	(void)half;
	if (next)
		*next = level ? level - 1 : 0;
	entry += field(noise, 6, 3) << 3;
	if (level < 3)
		entry += field(noise, 8, 8) << 8;
	if (!oracle_once_in(random, 100))
		entry += bit(0);
	if (!oracle_once_in(random, 16))
		entry += bit(1);
	if (!oracle_once_in(random, 16))
		entry += bit(2);
	if (oracle_once_in(random, 16))
		entry += bit(63);
	if (large || (level == 0 && is_set(noise, 7)))
		entry += bit(7);
	if (large && is_set(noise, 12))
		entry += bit(12); /* PAT */
	return entry + fitting(config, target, kind == ORACLE_LEAF ? translated(level) : 12);
}

static bool v2_may_be_leaf(const struct pgtable_config *config, unsigned int half, unsigned int level)
{
	(void)config;
	(void)half;
	return level <= 2;
}

static uint64_t v2_address(const struct pgtable_config *config, unsigned int half, uint64_t input)
{
	unsigned int width = translated(config->levels);

	(void)half;
	input = field(input, width - 1, 0);
	return is_set(input, width - 1) ? input + (UINT64_MAX << width) : input;
}

const struct oracle_format oracle_amd_v1 = {
	.name = "amd_v1",
	.format = &pgtable_amd_v1,
	.stage = 2,
	.configure = v1_configure,
	.geometry = geometry,
	.entry = v1_entry,
	.may_be_leaf = v1_may_be_leaf,
	.address = v1_address,
	.walk = v1_walk,
};

const struct oracle_format oracle_amd_v2 = {
	.name = "amd_v2",
	.format = &pgtable_amd_v2,
	.stage = 1,
	.configure = v2_configure,
	.geometry = geometry,
	.entry = v2_entry,
	.may_be_leaf = v2_may_be_leaf,
	.address = v2_address,
	.walk = v2_walk,
};
