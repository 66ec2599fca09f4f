/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * RISC-V: Sv32, Sv39, Sv48 and Sv57, and their x4 for the second stage, step by step as the privileged specification has them under
 * "Virtual Address Translation Process", with Svnapot, Svpbmt, and A and D set by hardware where the IOMMU's SADE or GADE says so.
 *
 * The numbers in comments are those of the steps. The specification has one page fault for all that can be wrong; riscv.h's
 * contract tells the reasons apart.
 */
#include "oracle.h"
#include "pgtable/riscv.h"

#define V (UINT64_C(1) << 0)
#define R (UINT64_C(1) << 1)
#define W (UINT64_C(1) << 2)
#define X (UINT64_C(1) << 3)
#define U (UINT64_C(1) << 4)
#define G (UINT64_C(1) << 5)
#define A (UINT64_C(1) << 6)
#define D (UINT64_C(1) << 7)
#define N (UINT64_C(1) << 63)

enum { PAGE_LG2 = 12, NAPOT_LG2 = 16, ALL_ACCESS = UIOMMU_READ | UIOMMU_WRITE | UIOMMU_EXEC };

struct mode {
	unsigned int width; /* of input addresses */
	unsigned int levels;
	unsigned int vpn_bits; /* of vpn[0] and the others, but for the highest */
	unsigned int pte_lg2; /* PTESIZE */
	unsigned int ppn_bits;
	bool signed_address; /* bits above the width repeat the highest; otherwise they are 0 */
	bool second; /* every access counts as one of U-mode */
};

static const struct mode first_modes[] = {
	{32, 2, 10, 2, 22, false, false},
	{39, 3, 9, 3, 44, true, false},
	{48, 4, 9, 3, 44, true, false},
	{57, 5, 9, 3, 44, true, false},
};

static const struct mode second_modes[] = {
	{34, 2, 10, 2, 22, false, true},
	{41, 3, 9, 3, 44, false, true},
	{50, 4, 9, 3, 44, false, true},
	{59, 5, 9, 3, 44, false, true},
};

static const struct mode *mode_of(const struct pgtable_config *config)
{
	for (unsigned int i = 0; i < 4; i++) {
		if (first_modes[i].width == config->input_lg2[0])
			return &first_modes[i];
		if (second_modes[i].width == config->input_lg2[0])
			return &second_modes[i];
	}
	return NULL;
}

/* Bits @high to @low of @value. */
static uint64_t field(uint64_t value, unsigned int high, unsigned int low)
{
	value >>= low;
	return high - low == 63 ? value : value & ((UINT64_C(1) << (high - low + 1)) - 1);
}

/* Where vpn[@level] begins in an address, and how large a page of that level is. */
static unsigned int shift_of(const struct mode *mode, unsigned int level)
{
	return PAGE_LG2 + mode->vpn_bits * level;
}

static uint64_t vpn(const struct mode *mode, uint64_t address, unsigned int level)
{
	unsigned int high = level == mode->levels - 1 ? mode->width - 1 : shift_of(mode, level + 1) - 1;

	return field(address, high, shift_of(mode, level));
}

static uint64_t ppn(const struct mode *mode, uint64_t pte)
{
	return field(pte, 10 + mode->ppn_bits - 1, 10);
}

static unsigned int pbmt(const struct mode *mode, uint64_t pte)
{
	return mode->pte_lg2 == 3 ? (unsigned int)field(pte, 62, 61) : 0;
}

struct walk {
	const struct oracle_stage *stage;
	const struct mode *mode;
	uint64_t address; /* of the input */
	unsigned int flags;
	unsigned int level; /* i */
	unsigned int fetches;
	uint64_t pte_address;
	uint64_t pte;
	struct pgtable_result *out;
};

static uint8_t fetches_of(const struct walk *walk)
{
	return walk->fetches > UINT8_MAX ? UINT8_MAX : (uint8_t)walk->fetches;
}

static void fail(struct walk *walk, unsigned int reason, bool table)
{
	walk->out->reason = (uint8_t)reason;
	walk->out->stage = (uint8_t)walk->stage->format->stage;
	walk->out->level = (uint8_t)walk->level;
	walk->out->table = table;
	walk->out->fetches = fetches_of(walk);
}

/* Where in memory is the entry of walk->pte_address? With a second stage, where that says. False: it has failed. */
static bool locate(struct walk *walk, unsigned int access, uint64_t *place)
{
	const struct oracle_stage *stage2 = walk->stage->stage2;
	struct pgtable_result through = {0};

	*place = walk->pte_address;
	if (!stage2)
		return true;
	stage2->format->walk(stage2, walk->pte_address, access | (walk->flags & PGTABLE_QUIET), &through);
	walk->fetches += through.fetches;
	if (through.reason) {
		fail(walk, through.reason, true);
		walk->out->stage = through.stage;
		walk->out->ipa = walk->pte_address;
		return false;
	}
	*place = through.oa;
	return true;
}

/* 2. pte is at a + va.vpn[i] × PTESIZE. */
static bool fetch(struct walk *walk, uint64_t a)
{
	unsigned int size = 1U << walk->mode->pte_lg2;
	uint64_t place;

	walk->pte_address = a + vpn(walk->mode, walk->address, walk->level) * size;
	if (!locate(walk, UIOMMU_READ, &place))
		return false;
	if (!oracle_read(walk->stage->memory, place, size, &walk->pte)) {
		fail(walk, UIOMMU_FAULT_MEMORY, true);
		return false;
	}
	walk->fetches++;
	return true;
}

static bool is_leaf(uint64_t pte)
{
	return pte & R || pte & X;
}

/* Bits or encodings that are reserved. */
static bool is_reserved(const struct walk *walk, uint64_t pte)
{
	uint32_t flags = walk->stage->config.flags;

	if (!(pte & R) && pte & W)
		return true;
	if (!is_leaf(pte) && pte & (U | A | D))
		return true;
	if (walk->mode->pte_lg2 == 2)
		return false;
	if (field(pte, 60, 54))
		return true;
	if (pbmt(walk->mode, pte) && (!(flags & UIOMMU_RISCV_SVPBMT) || pbmt(walk->mode, pte) == 3 || !is_leaf(pte)))
		return true;
	/* Svnapot: 64 KiB at level 0, nothing else. */
	return pte & N &&
	       (!(flags & UIOMMU_RISCV_SVNAPOT) || !is_leaf(pte) || walk->level > 0 || field(ppn(walk->mode, pte), 3, 0) != 8);
}

static bool is_beyond_output(const struct walk *walk)
{
	return ppn(walk->mode, walk->pte) >> (walk->stage->config.output_lg2 - PAGE_LG2);
}

/* 2 to 4, until pte is a leaf. */
static bool find_leaf(struct walk *walk)
{
	uint64_t a = walk->stage->config.base[0];

	for (;;) {
		if (!fetch(walk, a))
			return false;
		if (!(walk->pte & V)) { /* 3. */
			fail(walk, UIOMMU_FAULT_UNMAPPED, false);
			return false;
		}
		if (is_reserved(walk, walk->pte)) {
			fail(walk, UIOMMU_FAULT_RESERVED, false);
			return false;
		}
		if (!is_leaf(walk->pte) && walk->level == 0) { /* 4. i < 0 */
			fail(walk, UIOMMU_FAULT_UNMAPPED, false);
			return false;
		}
		if (is_beyond_output(walk)) {
			fail(walk, UIOMMU_FAULT_OUTPUT, false);
			return false;
		}
		if (is_leaf(walk->pte))
			return true;
		walk->level--;
		a = ppn(walk->mode, walk->pte) << PAGE_LG2;
	}
}

/* 5. pte.ppn[i - 1 : 0] is not 0. */
static bool is_misaligned(const struct walk *walk)
{
	return walk->level > 0 && field(ppn(walk->mode, walk->pte), walk->mode->vpn_bits * walk->level - 1, 0);
}

/* 6. What the privilege may do to a page with such a U. */
static unsigned int privileged_for(const struct walk *walk)
{
	if (walk->mode->second || walk->flags & PGTABLE_USER)
		return walk->pte & U ? ALL_ACCESS : 0;
	if (!(walk->pte & U))
		return ALL_ACCESS;
	return walk->stage->config.flags & UIOMMU_RISCV_SUM ? UIOMMU_READ | UIOMMU_WRITE : 0;
}

/* 7. */
static unsigned int permitted(uint64_t pte)
{
	unsigned int access = 0;

	if (pte & R)
		access |= UIOMMU_READ;
	if (pte & W)
		access |= UIOMMU_WRITE;
	if (pte & X)
		access |= UIOMMU_EXEC;
	return access;
}

/* 9. A, and D for a store. Nobody else changes tables here, so the comparison never fails. */
static bool update(struct walk *walk)
{
	uint64_t wanted = walk->flags & UIOMMU_WRITE ? A | D : A, place;

	if ((walk->pte & wanted) == wanted)
		return true;
	if (!(walk->stage->config.flags & UIOMMU_RISCV_ADUE)) {
		fail(walk, UIOMMU_FAULT_ACCESS_FLAG, false);
		return false;
	}
	if (walk->flags & PGTABLE_QUIET)
		return true;
	if (!locate(walk, UIOMMU_READ | UIOMMU_WRITE, &place))
		return false;
	if (!oracle_write(walk->stage->memory, place, 1U << walk->mode->pte_lg2, walk->pte | wanted)) {
		fail(walk, UIOMMU_FAULT_UPDATE, true);
		return false;
	}
	walk->pte |= wanted;
	return true;
}

/* 10. */
static void succeed(struct walk *walk, unsigned int access)
{
	unsigned int page_lg2 = walk->mode->pte_lg2 == 3 && walk->pte & N ? NAPOT_LG2 : shift_of(walk->mode, walk->level);
	uint64_t page = ppn(walk->mode, walk->pte) << PAGE_LG2;

	walk->out->oa = (page >> page_lg2 << page_lg2) | field(walk->address, page_lg2 - 1, 0);
	walk->out->reason = UIOMMU_FAULT_NONE;
	walk->out->level = (uint8_t)walk->level;
	walk->out->access = (uint8_t)access;
	walk->out->clean = access & UIOMMU_WRITE && !(walk->pte & D);
	walk->out->page_lg2 = (uint8_t)page_lg2;
	walk->out->fetches = fetches_of(walk);
	walk->out->attributes = pbmt(walk->mode, walk->pte);
}

static bool in_range(const struct mode *mode, uint64_t address)
{
	uint64_t above = field(address, 63, mode->width);

	if (mode->signed_address && field(address, mode->width - 1, mode->width - 1))
		return above == field(UINT64_MAX, 63, mode->width);
	return above == 0;
}

static void walk_tables(const struct oracle_stage *stage, uint64_t address, unsigned int flags, struct pgtable_result *out)
{
	const struct mode *mode = mode_of(&stage->config);
	struct walk walk = {
		.stage = stage,
		.mode = mode,
		.address = address,
		.flags = flags,
		.level = mode->levels - 1, /* 1. */
		.out = out,
	};
	unsigned int privileged, access;

	if (!in_range(mode, address)) {
		fail(&walk, UIOMMU_FAULT_RANGE, false);
		return;
	}
	if (!find_leaf(&walk))
		return;
	if (is_misaligned(&walk)) {
		fail(&walk, UIOMMU_FAULT_RESERVED, false);
		return;
	}
	privileged = privileged_for(&walk);
	access = privileged & permitted(walk.pte);
	if (flags & ALL_ACCESS & ~privileged)
		fail(&walk, UIOMMU_FAULT_PRIVILEGE, false);
	else if (flags & ALL_ACCESS & ~access)
		fail(&walk, UIOMMU_FAULT_PERMISSION, false);
	else if (update(&walk))
		succeed(&walk, access);
}

/* What random tables look like. */

static void configure(struct oracle_random *random, unsigned int memory_lg2, const struct mode *mode, struct pgtable_config *config)
{
	unsigned int least = memory_lg2 > 34 ? memory_lg2 : 34;

	*config = (struct pgtable_config){0};
	config->input_lg2[0] = (uint8_t)mode->width;
	config->output_lg2 = (uint8_t)(oracle_once_in(random, 2) ? 56 : least + oracle_below(random, 56 - least + 1));
	config->flags = (uint32_t)oracle_below(random, UIOMMU_RISCV_MXR);
	/* Wider, entries would only lose bits. */
	if (mode->pte_lg2 == 2 && !oracle_once_in(random, 8))
		config->output_lg2 = (uint8_t)least;
	if (oracle_once_in(random, 2)) /* less that is forbidden */
		config->flags |= UIOMMU_RISCV_ADUE | UIOMMU_RISCV_SUM;
}

static void configure_first(struct oracle_random *random, unsigned int memory_lg2, struct pgtable_config *config)
{
	configure(random, memory_lg2, &first_modes[oracle_below(random, 4)], config);
}

static void configure_second(struct oracle_random *random, unsigned int memory_lg2, struct pgtable_config *config)
{
	configure(random, memory_lg2, &second_modes[oracle_below(random, 4)], config);
}

static void geometry(const struct pgtable_config *config, unsigned int half, struct oracle_geometry *out)
{
	const struct mode *mode = mode_of(config);

	*out = (struct oracle_geometry){
		.granule_lg2 = PAGE_LG2,
		.index_lg2 = mode->vpn_bits,
		.entry_lg2 = mode->pte_lg2,
		.top = mode->levels - 1,
		.top_index_lg2 = mode->width - shift_of(mode, mode->levels - 1),
		.table_lg2 = mode->vpn_bits + mode->pte_lg2,
		.present = half == 0,
	};
	out->top_table_lg2 = out->top_index_lg2 + mode->pte_lg2;
}

/* But for V and what tables have, too. */
static uint64_t leaf(struct oracle_random *random, const struct pgtable_config *config, unsigned int level, uint64_t page)
{
	static const uint64_t permissions[] = {R, X, R | W, R | X};
	const struct mode *mode = mode_of(config);
	unsigned int low = mode->vpn_bits * level;
	uint64_t pte = oracle_once_in(random, 4) ? permissions[oracle_below(random, 4)] : R | W | X;

	page = page >> low << low;
	if (level && oracle_once_in(random, 64))
		page |= UINT64_C(1) << oracle_below(random, low);
	if (mode->pte_lg2 == 3 && config->flags & UIOMMU_RISCV_SVNAPOT && !level && oracle_once_in(random, 4)) {
		page = page >> 4 << 4 | (oracle_once_in(random, 32) ? oracle_below(random, 16) : 8);
		pte |= N;
	}
	if (mode->pte_lg2 == 3 && config->flags & UIOMMU_RISCV_SVPBMT)
		pte |= oracle_below(random, 3) << 61;
	if (mode->second ? !oracle_once_in(random, 32) : oracle_once_in(random, 2))
		pte |= U;
	if (!oracle_once_in(random, 4))
		pte |= A;
	if (oracle_once_in(random, 2))
		pte |= D;
	return pte | page << 10;
}

static uint64_t entry(struct oracle_random *random, const struct pgtable_config *config, unsigned int half, unsigned int level,
		      enum oracle_entry kind, uint64_t target, unsigned int *next)
{
	const struct mode *mode = mode_of(config);
	uint64_t page = field(target >> PAGE_LG2, mode->ppn_bits - 1, 0), pte;

	(void)half;
	pte = kind == ORACLE_LEAF ? leaf(random, config, level, page) : page << 10;
	if (!oracle_once_in(random, 256))
		pte |= V;
	if (oracle_once_in(random, 2))
		pte |= G;
	pte |= oracle_below(random, 4) << 8; /* RSW */
	if (oracle_once_in(random, 128)) /* something is wrong; bits of addresses beyond the width are among what it may be */
		pte ^= UINT64_C(1) << oracle_below(random, 8U << mode->pte_lg2);
	if (next)
		*next = level ? level - 1 : 0;
	return pte;
}

static bool may_be_leaf(const struct pgtable_config *config, unsigned int half, unsigned int level)
{
	return half == 0 && level < mode_of(config)->levels;
}

static uint64_t address(const struct pgtable_config *config, unsigned int half, uint64_t input)
{
	const struct mode *mode = mode_of(config);

	(void)half;
	input = field(input, mode->width - 1, 0);
	if (mode->signed_address && field(input, mode->width - 1, mode->width - 1))
		input |= mode->width < 64 ? UINT64_MAX << mode->width : 0;
	return input;
}

const struct oracle_format oracle_riscv_first = {
	.name = "riscv_first",
	.format = &pgtable_riscv_first,
	.stage = 1,
	.configure = configure_first,
	.geometry = geometry,
	.entry = entry,
	.may_be_leaf = may_be_leaf,
	.address = address,
	.walk = walk_tables,
};

const struct oracle_format oracle_riscv_second = {
	.name = "riscv_second",
	.format = &pgtable_riscv_second,
	.stage = 2,
	.configure = configure_second,
	.geometry = geometry,
	.entry = entry,
	.may_be_leaf = may_be_leaf,
	.address = address,
	.walk = walk_tables,
};
