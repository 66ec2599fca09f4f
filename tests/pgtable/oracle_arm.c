/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The oracle of Arm VMSAv8-64, stage 1 (EL1&0) and stage 2, as the Arm ARM tells it in chapter D8 and in its pseudo-code
 * AArch64.S1Walk and S2Walk: bits are named by their numbers, and one thing is done after the other.
 *
 * Where one might read it in two ways the pseudo-code decides. LeafBase() and NextTableBase(): with 64K pages bits 15:12 are
 * address bits wherever 52 bits are implemented, also if fewer are configured. S1TTBaseAddress(): without DS a base has 48 bits,
 * but for 64K pages with 52. ContiguousBit(): RES0 in the largest blocks (512G and 64G with DS, 4T). OAOutOfRange() is asked about
 * the whole output address, and before the access flag.
 *
 * Levels are counted from the leaves here, as in results: Arm's level 3 is 0, its level -1 is 4.
 */
#include "oracle.h"

#include "pgtable/arm.h"

static uint64_t ones(unsigned int bits)
{
	return bits < 64 ? (UINT64_C(1) << bits) - 1 : UINT64_MAX;
}

/* value<high:low>, shifted down; nothing if @high < @low. */
static uint64_t slice(uint64_t value, int high, int low)
{
	return high < low ? 0 : value >> low & ones((unsigned int)(high - low + 1));
}

static bool bit(uint64_t value, int number)
{
	return slice(value, number, number);
}

/* One half of the addresses of one stage. */
struct regime {
	const struct pgtable_config *config;
	unsigned int stage;
	unsigned int half;
	int granule; /* log2 */
	int stride; /* address bits of a level */
	int input;
	int output;
	int levels; /* 0 if the half has no width */
	bool ds; /* 4K or 16K: 52 bits, in places that SH had */
	bool lpa; /* 64K: the upper four of 52 bits are in 15:12; with fewer bits, too, where they have to be 0 */
};

static struct regime regime(const struct pgtable_config *config, unsigned int stage, unsigned int half)
{
	struct regime r = {.config = config, .stage = stage, .half = half};

	r.granule = config->granule_lg2[half];
	r.stride = r.granule - 3;
	r.input = config->input_lg2[half];
	r.output = config->output_lg2;
	r.ds = r.granule != 16 && config->flags & UIOMMU_ARM_DS;
	r.lpa = r.granule == 16;
	if (!r.ds && !r.lpa && r.output > 48)
		r.output = 48;
	if (stage == 2)
		r.levels = config->levels;
	else if (r.input && r.granule)
		while (r.granule + r.levels * r.stride < r.input)
			r.levels++;
	return r;
}

static int top_level(const struct regime *r)
{
	return r->levels ? r->levels - 1 : 0;
}

/* log2 of what an entry of @level maps. */
static int size_at(const struct regime *r, int level)
{
	return r->granule + level * r->stride;
}

static bool has_blocks(const struct regime *r, int level)
{
	switch (r->granule) {
	case 12:
		return level == 1 || level == 2 || (level == 3 && r->ds); /* 2M, 1G, 512G */
	case 14:
		return level == 1 || (level == 2 && r->ds); /* 32M, 64G */
	default:
		return level == 1 || (level == 2 && r->output == 52); /* 512M, 4T */
	}
}

/* log2 of how many entries a set with the Contiguous bit has; it is RES0 in the blocks that only 52 bits allow. */
static int contiguous(const struct regime *r, int level)
{
	switch (r->granule) {
	case 12:
		return level <= 2 ? 4 : 0;
	case 14:
		return level == 0 ? 7 : level == 1 ? 5 : 0;
	default:
		return level <= 1 ? 5 : 0;
	}
}

/* The address in an entry, of which @low is the lowest bit. */
static uint64_t address_of(const struct regime *r, uint64_t entry, int low)
{
	if (r->ds)
		return slice(entry, 49, low) << low | slice(entry, 9, 8) << 50;
	if (r->lpa)
		return slice(entry, 47, low) << low | slice(entry, 15, 12) << 48;
	return slice(entry, 47, low) << low;
}

/* What the table entries above said: APTable, UXNTable and PXNTable of any. */
struct above {
	bool not_el0;
	bool read_only;
	bool uxn;
	bool pxn;
};

static void gather(const struct regime *r, uint64_t entry, struct above *above)
{
	if (r->stage == 2 || r->config->flags & (r->half ? UIOMMU_ARM_HPD1 : UIOMMU_ARM_HPD0))
		return;
	above->not_el0 |= bit(entry, 61);
	above->read_only |= bit(entry, 62);
	above->uxn |= bit(entry, 60);
	above->pxn |= bit(entry, 59);
}

/* Hardware manages the dirty state of this leaf. */
static bool manages_dirty(const struct regime *r, uint64_t entry)
{
	return r->config->flags & UIOMMU_ARM_HA && r->config->flags & UIOMMU_ARM_HD && bit(entry, 51);
}

/* It would not be writable without DBM: AP[2] is set, or S2AP[1] is not. */
static bool writable_clean(const struct regime *r, uint64_t entry)
{
	return manages_dirty(r, entry) && (r->stage == 1 ? bit(entry, 7) : !bit(entry, 7));
}

static unsigned int permissions_s1(const struct regime *r, uint64_t entry, const struct above *above, bool el0)
{
	bool read_only = (bit(entry, 7) && !writable_clean(r, entry)) || above->read_only;
	bool el0_reads = bit(entry, 6) && !above->not_el0;
	bool el0_writes = el0_reads && !read_only, el1_writes = !read_only;
	bool el0_executes = !(bit(entry, 54) || above->uxn);
	bool el1_executes = !(bit(entry, 53) || above->pxn);
	unsigned int access = 0;

	if (r->config->flags & UIOMMU_ARM_WXN) {
		if (el0_writes)
			el0_executes = false;
		if (el1_writes)
			el1_executes = false;
	}
	if (r->config->flags & UIOMMU_ARM_UWXN && el0_writes)
		el1_executes = false;
	if (el0_writes)
		el1_executes = false;

	if (el0 ? el0_reads : true)
		access |= UIOMMU_READ;
	if (el0 ? el0_writes : el1_writes)
		access |= UIOMMU_WRITE;
	/* Privileged Access Never. */
	if (!el0 && r->config->flags & UIOMMU_ARM_PAN && el0_reads)
		access = 0;
	if (el0 ? el0_executes : el1_executes)
		access |= UIOMMU_EXEC;
	return access;
}

static unsigned int permissions_s2(const struct regime *r, uint64_t entry, bool el0)
{
	bool executes = !bit(entry, 54);
	unsigned int access = 0;

	if (r->config->flags & UIOMMU_ARM_XNX)
		switch (slice(entry, 54, 53)) {
		case 0:
			executes = true;
			break;
		case 1:
			executes = el0;
			break;
		case 2:
			executes = false;
			break;
		default:
			executes = !el0;
		}
	if (bit(entry, 6))
		access |= UIOMMU_READ;
	if (bit(entry, 7) || writable_clean(r, entry))
		access |= UIOMMU_WRITE;
	if (executes)
		access |= UIOMMU_EXEC;
	return access;
}

/* What a read entry means. */
struct decision {
	unsigned int reason;
	bool table;
	uint64_t address; /* of the table or page */
	uint64_t update; /* what becomes of the entry, unless the walk is quiet */
	unsigned int access;
	int page;
	bool clean;
	uint32_t attributes;
};

/*
 * The Contiguous bit counts if the entry is in its place in the set, and the set is not larger than all input or output addresses.
 * Of a block that is, only what is below the output's width is mapped.
 */
static int page_of(const struct regime *r, int level, uint64_t input, uint64_t entry, uint64_t address)
{
	int size = size_at(r, level), all = size + contiguous(r, level);

	if (bit(entry, 52) && all <= r->input && all <= r->output && slice(address, all - 1, size) == slice(input, all - 1, size))
		return all;
	return size < r->output ? size : r->output;
}

static struct decision decide(const struct regime *r, unsigned int flags, int level, uint64_t input, const struct above *above,
			      uint64_t entry)
{
	const unsigned int need = flags & (UIOMMU_READ | UIOMMU_WRITE | UIOMMU_EXEC);
	const bool el0 = flags & PGTABLE_USER, quiet = flags & PGTABLE_QUIET;
	struct decision d = {.reason = UIOMMU_FAULT_NONE, .update = entry};
	uint64_t output;

	/* Translation fault. */
	if (!bit(entry, 0) || (!level && !bit(entry, 1)) || (level && !bit(entry, 1) && !has_blocks(r, level))) {
		d.reason = UIOMMU_FAULT_UNMAPPED;
		return d;
	}
	d.table = level && bit(entry, 1);

	/* Address size fault: of the table, or of the byte, should a block be larger than all output addresses. */
	d.address = address_of(r, entry, d.table ? r->granule : size_at(r, level));
	output = d.table ? d.address : d.address | slice(input, size_at(r, level) - 1, 0);
	if (output >> r->output) {
		d.reason = UIOMMU_FAULT_OUTPUT;
		return d;
	}
	if (d.table)
		return d;

	/* Access flag fault. */
	if (!bit(entry, 10) && !(r->config->flags & UIOMMU_ARM_HA) && !(r->config->flags & UIOMMU_ARM_AFFD)) {
		d.reason = UIOMMU_FAULT_ACCESS_FLAG;
		return d;
	}

	/* Permission fault. */
	d.access = r->stage == 1 ? permissions_s1(r, entry, above, el0) : permissions_s2(r, entry, el0);
	if (need & ~d.access) {
		d.reason = UIOMMU_FAULT_PERMISSION;
		return d;
	}

	if (r->config->flags & UIOMMU_ARM_HA)
		d.update |= UINT64_C(1) << 10;
	if (need & UIOMMU_WRITE && writable_clean(r, entry))
		d.update ^= UINT64_C(1) << 7;
	d.clean = d.access & UIOMMU_WRITE && writable_clean(r, entry) && (quiet || !(need & UIOMMU_WRITE));
	d.page = page_of(r, level, input, entry, d.address);
	if (r->stage == 1)
		d.attributes = (uint32_t)slice(entry, 4, 2);
	else
		d.attributes = (uint32_t)slice(entry, 5, 2);
	if (!r->ds)
		d.attributes |= (uint32_t)slice(entry, 9, 8) << 4;
	return d;
}

/* A walk on its way. */
struct walk {
	const struct oracle_stage *stage;
	unsigned int flags;
	int level;
	unsigned int fetches;
	struct pgtable_result *out;
};

static void end(struct walk *w, unsigned int reason, bool table)
{
	w->out->reason = (uint8_t)reason;
	w->out->stage = (uint8_t)w->stage->format->stage;
	w->out->level = (uint8_t)w->level;
	w->out->table = table;
	w->out->fetches = (uint8_t)(w->fetches < 255 ? w->fetches : 255);
}

/* Where in memory the entry at @address is. False: stage 2 does not say, and the walk has ended. */
static bool place(struct walk *w, uint64_t address, unsigned int access, uint64_t *found)
{
	const struct oracle_stage *stage2 = w->stage->stage2;
	struct pgtable_result second = {0};

	*found = address;
	if (!stage2)
		return true;
	stage2->format->walk(stage2, address, access | (w->flags & PGTABLE_QUIET), &second);
	w->fetches += second.fetches;
	if (second.reason) {
		end(w, second.reason, true);
		w->out->stage = second.stage;
		w->out->ipa = address;
		return false;
	}
	*found = second.oa;
	return true;
}

/* Read the entry at @address and decide upon it; update it, and if that changes it first, decide again. False: the end. */
static bool visit(struct walk *w, const struct regime *r, uint64_t address, uint64_t input, const struct above *above,
		  uint64_t *entry, struct decision *d)
{
	uint64_t found, seen;
	bool again = false;

	if (!place(w, address, UIOMMU_READ, &found))
		return false;
	if (!oracle_read(w->stage->memory, found, 8, entry)) {
		end(w, UIOMMU_FAULT_MEMORY, true);
		return false;
	}
	w->fetches++;
	for (;;) {
		*d = decide(r, w->flags, w->level, input, above, *entry);
		if (d->reason) {
			end(w, d->reason, false);
			return false;
		}
		if (d->update == *entry || w->flags & PGTABLE_QUIET)
			return true;
		if (!again && !place(w, address, UIOMMU_READ | UIOMMU_WRITE, &found))
			return false;
		if (!oracle_read(w->stage->memory, found, 8, &seen)) {
			end(w, UIOMMU_FAULT_MEMORY, true);
			return false;
		}
		if (seen == *entry)
			break;
		*entry = seen;
		again = true;
	}
	if (!oracle_write(w->stage->memory, found, 8, d->update)) {
		end(w, UIOMMU_FAULT_UPDATE, true);
		return false;
	}
	return true;
}

/* From the top table on. @input: the address inside the half. */
static void descend(struct walk *w, const struct regime *r, uint64_t input)
{
	uint64_t table = r->config->base[r->half], entry;
	struct above above = {0};
	struct decision d;

	if (table >> r->output) {
		end(w, UIOMMU_FAULT_OUTPUT, false);
		return;
	}
	for (;; w->level--) {
		int low = size_at(r, w->level), high = w->level == top_level(r) ? r->input - 1 : low + r->stride - 1;

		if (!visit(w, r, table + slice(input, high, low) * 8, input, &above, &entry, &d))
			return;
		if (!d.table)
			break;
		table = d.address;
		gather(r, entry, &above);
	}
	*w->out = (struct pgtable_result){
		.oa = d.address | (input & ones((unsigned int)size_at(r, w->level))),
		.level = (uint8_t)w->level,
		.access = (uint8_t)d.access,
		.clean = d.clean,
		.page_lg2 = (uint8_t)d.page,
		.fetches = (uint8_t)w->fetches,
		.attributes = d.attributes,
	};
}

static void walk_s1(const struct oracle_stage *stage, uint64_t address, unsigned int flags, struct pgtable_result *out)
{
	const unsigned int half = bit(address, 55), set = stage->config.flags;
	const bool tbi = set & (half ? UIOMMU_ARM_TBI1 : UIOMMU_ARM_TBI0),
		   disabled = set & (half ? UIOMMU_ARM_EPD1 : UIOMMU_ARM_EPD0);
	struct regime r = regime(&stage->config, 1, half);
	struct walk w = {.stage = stage, .flags = flags, .level = top_level(&r), .out = out};
	int last = tbi ? 55 : 63;
	uint64_t above = slice(address, last, r.input);

	if (disabled || above != (half ? ones((unsigned int)(last - r.input + 1)) : 0)) {
		end(&w, UIOMMU_FAULT_UNMAPPED, false);
		return;
	}
	descend(&w, &r, slice(address, r.input - 1, 0));
}

static void walk_s2(const struct oracle_stage *stage, uint64_t address, unsigned int flags, struct pgtable_result *out)
{
	struct regime r = regime(&stage->config, 2, 0);
	struct walk w = {.stage = stage, .flags = flags, .level = top_level(&r), .out = out};

	if (slice(address, 63, r.input)) {
		end(&w, UIOMMU_FAULT_UNMAPPED, false);
		return;
	}
	descend(&w, &r, address);
}

/* Random tables. */

static unsigned int between(struct oracle_random *random, unsigned int first, unsigned int last)
{
	return first + (unsigned int)oracle_below(random, last - first + 1);
}

static uint8_t random_output(struct oracle_random *random, unsigned int memory_lg2)
{
	static const uint8_t widths[] = {32, 36, 40, 42, 44, 48, 52};
	uint8_t width;

	do
		width = widths[oracle_below(random, sizeof(widths))];
	while (width < memory_lg2);
	return width;
}

static uint8_t random_granule(struct oracle_random *random)
{
	return (uint8_t)(12 + 2 * oracle_below(random, 3));
}

static unsigned int widest(const struct pgtable_config *config, unsigned int half)
{
	return config->granule_lg2[half] == 16 || config->flags & UIOMMU_ARM_DS ? 52 : 48;
}

/* Each of @flags once in @n. */
static uint32_t random_flags(struct oracle_random *random, uint32_t flags, unsigned int n)
{
	uint32_t chosen = 0;

	for (uint32_t flag = 1; flag && flag <= flags; flag <<= 1)
		if (flags & flag && oracle_once_in(random, n))
			chosen |= flag;
	return chosen;
}

static void configure_s1(struct oracle_random *random, unsigned int memory_lg2, struct pgtable_config *config)
{
	*config = (struct pgtable_config){.output_lg2 = random_output(random, memory_lg2)};
	config->flags = random_flags(random, UIOMMU_ARM_HA | UIOMMU_ARM_HD | UIOMMU_ARM_TBI0 | UIOMMU_ARM_TBI1 | UIOMMU_ARM_DS, 2) |
			random_flags(random,
				     UIOMMU_ARM_WXN | UIOMMU_ARM_UWXN | UIOMMU_ARM_HPD0 | UIOMMU_ARM_HPD1 | UIOMMU_ARM_AFFD |
					     UIOMMU_ARM_PAN,
				     4);
	/* At least one half has walks. */
	if (oracle_once_in(random, 3))
		config->flags |= oracle_once_in(random, 3) ? UIOMMU_ARM_EPD0 : UIOMMU_ARM_EPD1;
	for (unsigned int half = 0; half < 2; half++) {
		config->granule_lg2[half] = random_granule(random);
		config->input_lg2[half] = (uint8_t)between(random, 25, widest(config, half));
		if (config->flags & (half ? UIOMMU_ARM_EPD1 : UIOMMU_ARM_EPD0) && oracle_once_in(random, 2))
			config->input_lg2[half] = 0;
	}
}

/* Can a walk of stage 2 have so many levels? */
static bool may_have_levels(const struct pgtable_config *config, int levels)
{
	struct regime r = regime(config, 2, 0);
	int top = r.input - size_at(&r, levels - 1);

	if (r.granule == 12 && (levels == 1 || (levels == 5 && !r.ds)))
		return false;
	if (r.granule == 14 && levels == 4 && !r.ds)
		return false;
	return top >= 1 && top <= r.stride + 4;
}

static void configure_s2(struct oracle_random *random, unsigned int memory_lg2, struct pgtable_config *config)
{
	*config = (struct pgtable_config){.output_lg2 = random_output(random, memory_lg2)};
	config->flags = random_flags(random, UIOMMU_ARM_HA | UIOMMU_ARM_HD | UIOMMU_ARM_DS | UIOMMU_ARM_XNX, 2) |
			random_flags(random, UIOMMU_ARM_AFFD, 4);
	config->granule_lg2[0] = random_granule(random);
	/* Its input is where the first stage's tables are. */
	config->input_lg2[0] = (uint8_t)between(random, memory_lg2 > 25 ? memory_lg2 : 25, widest(config, 0));
	do
		config->levels = (uint8_t)between(random, 1, 5);
	while (!may_have_levels(config, config->levels));
}

static void geometry(const struct regime *r, bool present, struct oracle_geometry *out)
{
	int top = top_level(r), bits = r->input - size_at(r, top);

	*out = (struct oracle_geometry){
		.granule_lg2 = (unsigned int)r->granule,
		.index_lg2 = (unsigned int)r->stride,
		.entry_lg2 = 3,
		.top = (unsigned int)top,
		.top_index_lg2 = bits > 0 ? (unsigned int)bits : 0,
		.table_lg2 = (unsigned int)r->granule,
		.top_table_lg2 = bits > 3 ? (unsigned int)bits + 3 : 6, /* TTBR has no lower bits where addresses have 52 */
		.present = present,
	};
}

static void geometry_s1(const struct pgtable_config *config, unsigned int half, struct oracle_geometry *out)
{
	struct regime r = regime(config, 1, half);

	geometry(&r, !(config->flags & (half ? UIOMMU_ARM_EPD1 : UIOMMU_ARM_EPD0)), out);
}

static void geometry_s2(const struct pgtable_config *config, unsigned int half, struct oracle_geometry *out)
{
	struct regime r = regime(config, 2, 0);

	geometry(&r, !half, out);
}

/* The inverse of address_of(). */
static uint64_t with_address(const struct regime *r, uint64_t address, int low)
{
	if (r->ds)
		return slice(address, 49, low) << low | slice(address, 51, 50) << 8;
	if (r->lpa)
		return slice(address, 47, low) << low | slice(address, 51, 48) << 12;
	return slice(address, 47, low) << low;
}

/* Bits @high to @low as they come. */
static uint64_t random_bits(struct oracle_random *random, int high, int low)
{
	return high < low ? 0 : slice(oracle_random(random), high - low, 0) << low;
}

/* Bit @number, once in @n. */
static uint64_t maybe(struct oracle_random *random, int number, unsigned int n)
{
	return (uint64_t)oracle_once_in(random, n) << number;
}

static uint64_t random_table(struct oracle_random *random, const struct regime *r, uint64_t target)
{
	uint64_t entry = 3 | with_address(r, target, r->granule);

	/* Bits that mean nothing. */
	entry |=
		random_bits(random, 7, 2) | random_bits(random, 11, 10) | random_bits(random, 58, 51) | random_bits(random, 63, 63);
	if (!r->ds)
		entry |= random_bits(random, 9, 8) | random_bits(random, 49, 48);
	if (!r->lpa)
		entry |= random_bits(random, r->granule - 1, 12);
	/* What stage 1 gathers. */
	return entry | maybe(random, 59, 16) | maybe(random, 60, 16) | maybe(random, 61, 24) | maybe(random, 62, 16);
}

static uint64_t random_leaf(struct oracle_random *random, const struct regime *r, int level, uint64_t target)
{
	int size = size_at(r, level);
	uint64_t entry = (level ? 1 : 3) | with_address(r, target, size);

	entry |= random_bits(random, 5, 2); /* attributes */
	if (!r->ds)
		entry |= random_bits(random, 9, 8); /* SH */
	if (!oracle_once_in(random, 10))
		entry |= UINT64_C(1) << 10; /* AF */
	entry |= maybe(random, 51, 2) | maybe(random, 52, 2); /* DBM, Contiguous */
	entry |= maybe(random, 53, 6) | maybe(random, 54, 6); /* PXN and UXN; XN */
	entry |= maybe(random, 6, 6) ^ UINT64_C(1) << 6; /* AP[1], or S2AP[0] */
	entry |= maybe(random, 7, 4) ^ (uint64_t)(r->stage == 2) << 7; /* AP[2], or S2AP[1] */
	/* Bits that mean nothing. */
	entry |= random_bits(random, 11, 11) | random_bits(random, 50, 50) | random_bits(random, 63, 55);
	if (oracle_once_in(random, 4))
		entry |= random_bits(random, size - 1, r->lpa ? 16 : 12);
	return entry;
}

static uint64_t random_entry(struct oracle_random *random, const struct regime *r, unsigned int level, enum oracle_entry kind,
			     uint64_t target, unsigned int *next)
{
	uint64_t entry = kind == ORACLE_TABLE ? random_table(random, r, target) : random_leaf(random, r, (int)level, target);

	*next = level ? level - 1 : 0;
	if (oracle_once_in(random, 64))
		entry ^= UINT64_C(1) << oracle_below(random, 64);
	return entry;
}

static uint64_t entry_s1(struct oracle_random *random, const struct pgtable_config *config, unsigned int half, unsigned int level,
			 enum oracle_entry kind, uint64_t target, unsigned int *next)
{
	struct regime r = regime(config, 1, half);

	return random_entry(random, &r, level, kind, target, next);
}

static uint64_t entry_s2(struct oracle_random *random, const struct pgtable_config *config, unsigned int half, unsigned int level,
			 enum oracle_entry kind, uint64_t target, unsigned int *next)
{
	struct regime r = regime(config, 2, half);

	return random_entry(random, &r, level, kind, target, next);
}

/* The stage makes no difference. */
static bool may_be_leaf(const struct pgtable_config *config, unsigned int half, unsigned int level)
{
	struct regime r = regime(config, 1, half);

	return !level || has_blocks(&r, (int)level);
}

static uint64_t address_s1(const struct pgtable_config *config, unsigned int half, uint64_t input)
{
	uint64_t address = half ? input | ~ones(config->input_lg2[1]) : input;

	/* The ignored byte is anything, always the same for one input. */
	if (config->flags & (half ? UIOMMU_ARM_TBI1 : UIOMMU_ARM_TBI0))
		address ^= input * UINT64_C(0x9e3779b97f4a7c15) >> 56 << 56;
	return address;
}

static uint64_t address_s2(const struct pgtable_config *config, unsigned int half, uint64_t input)
{
	(void)config;
	(void)half;
	return input;
}

const struct oracle_format oracle_arm_s1 = {
	.name = "Arm stage 1",
	.format = &pgtable_arm_s1,
	.stage = 1,
	.configure = configure_s1,
	.geometry = geometry_s1,
	.entry = entry_s1,
	.may_be_leaf = may_be_leaf,
	.address = address_s1,
	.walk = walk_s1,
};

const struct oracle_format oracle_arm_s2 = {
	.name = "Arm stage 2",
	.format = &pgtable_arm_s2,
	.stage = 2,
	.configure = configure_s2,
	.geometry = geometry_s2,
	.entry = entry_s2,
	.may_be_leaf = may_be_leaf,
	.address = address_s2,
	.walk = walk_s2,
};
