/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Arbitrary tables in guest memory, and walks of them: every format, with its tables in one window, in areas, and under a stage 2
 * whose tables are in the same memory.
 *
 * The input is a struct header, then entries. An entry is a byte that says into which page and how it is written, two bytes for the
 * place in it, and either the eight bytes of it or short ones: which page it leads to, its low and its high bits.
 *
 * What must hold: a walk ends after few fetches; what it says has a meaning; blocks of the size that it reports are blocks; a quiet
 * walk writes nothing, any other changes no more entries than it has read, and finds what the quiet one has found.
 */
#include "fuzz.h"

#include <errno.h>
#include <sys/mman.h>
#include <uiommu/context.h>

#include "memory/areas.h"
#include "pgtable/pgtable.h"
#include "util/bits.h"
#include "util/util.h"

/* Pages of the guest's memory. Those that are not named are read-write; in areas, others are not or in part. */
enum {
	PAGE = 4096,
	PAGES = 16,
	READ_ONLY = 11,
	NOT_MAPPED = 12,
	NOT_RESIDENT = 13,
	TRAPS = 14,
	ARENA = PAGES * PAGE,
};

/*
 * A format for each line, and what it may be nested in. @repeated: with one of them a page may have several entries, and they
 * should be the same, but here they are not.
 */
static const struct format {
	const struct pgtable_format *format;
	const struct pgtable_format *stage2;
	bool repeated;
} formats[] = {
	{&pgtable_vtd_first, &pgtable_vtd_second, false},
	{&pgtable_vtd_second, NULL, false},
	{&pgtable_amd_v2, &pgtable_amd_v1, true},
	{&pgtable_amd_v1, NULL, true},
	{&pgtable_arm_s1, &pgtable_arm_s2, true},
	{&pgtable_arm_s2, NULL, true},
	{&pgtable_riscv_first, &pgtable_riscv_second, true},
	{&pgtable_riscv_second, NULL, true},
};

enum { HOW_GUEST = 1, HOW_NESTED = 2 };

struct stage_header {
	uint64_t attributes;
	uint32_t flags;
	uint8_t base[2]; /* page, and bits below it in the upper half */
	uint8_t input_lg2[2];
	uint8_t granule_lg2[2];
	uint8_t levels;
	uint8_t output_lg2;
	uint32_t reserved;
};

struct header {
	uint8_t format;
	uint8_t how;
	uint8_t flags;
	uint8_t high; /* of the base's page: beyond the memory */
	uint32_t reserved;
	uint64_t address;
	struct stage_header stage[2];
};

static struct {
	uint8_t *arena;
	uint8_t before[ARENA];
	struct areas areas;
} world;

/* --- the world --- */

static void add_area(unsigned int first, unsigned int end, unsigned int access, bool resident, uint8_t *host)
{
	struct area *area = areas_alloc(&world.areas);

	CHECK(area);
	area->start = (uint64_t)first * PAGE;
	area->last = (uint64_t)end * PAGE - 1;
	area->access = area->limit = (uint8_t)access;
	area->resident = resident;
	area->host = host;
	CHECK(!areas_insert(&world.areas, area));
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	uint8_t *traps = mmap(NULL, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	const unsigned int all = UIOMMU_READ | UIOMMU_WRITE;

	(void)argc;
	(void)argv;
	world.arena = mmap(NULL, ARENA, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(world.arena != MAP_FAILED && traps != MAP_FAILED);
	CHECK(!uiommu_install_fault_handler());
	areas_init(&world.areas);
	add_area(0, 5, all, true, world.arena);
	add_area(5, READ_ONLY, all, true, world.arena + (size_t)5 * PAGE);
	add_area(READ_ONLY, NOT_MAPPED, UIOMMU_READ, true, world.arena + (size_t)READ_ONLY * PAGE);
	add_area(NOT_RESIDENT, TRAPS, all, false, world.arena + (size_t)NOT_RESIDENT * PAGE);
	add_area(TRAPS, TRAPS + 1, all, true, traps);
	add_area(TRAPS + 1, PAGES, all, true, world.arena + (size_t)(TRAPS + 1) * PAGE);
	return 0;
}

static void put_entry(struct input *input)
{
	uint8_t how, target[3], high[2];
	uint16_t place, low;
	uint64_t entry;

	take(input, &how, sizeof(how));
	take(input, &place, sizeof(place));
	if (how & 0x80) {
		take(input, &entry, sizeof(entry));
	} else {
		take(input, &low, sizeof(low));
		take(input, target, how & 0x40 ? 3 : 1);
		take(input, high, how & 0x20 ? 2 : 0);
		entry = (low & 0xfffU) | (uint64_t)(target[0] % PAGES) << 12;
		if (how & 0x40)
			entry ^= (uint64_t)target[1] << 24 | (uint64_t)target[2] << 36;
		if (how & 0x20)
			entry ^= (uint64_t)high[0] << 52 | (uint64_t)high[1] << 56;
	}
	memcpy(world.arena + (size_t)(how % PAGES) * PAGE + place % 512 * sizeof(entry), &entry, sizeof(entry));
}

static struct pgtable_config config_of(const struct header *header, unsigned int which)
{
	const struct stage_header *stage = &header->stage[which];
	struct pgtable_config config = {
		.input_lg2 = {stage->input_lg2[0] % 65, stage->input_lg2[1] % 65},
		.granule_lg2 = {stage->granule_lg2[0], stage->granule_lg2[1]},
		.levels = stage->levels % 8,
		.output_lg2 = stage->output_lg2 % 65,
		.flags = stage->flags,
		.attributes = stage->attributes,
	};

	for (unsigned int half = 0; half < 2; half++)
		config.base[half] = (uint64_t)(stage->base[half] % PAGES) * PAGE + (uint64_t)(stage->base[half] / PAGES) * 256 +
				    ((uint64_t)header->high << 40);
	return config;
}

/* False: it is not a config. */
static bool open_stage(struct pgtable *pgtable, const struct pgtable_format *format, const struct pgtable_config *config,
		       const struct pgtable_memory *memory)
{
	int rc = pgtable_init(pgtable, format, config, memory);

	CHECK(!rc || rc == -EINVAL || rc == -EOPNOTSUPP);
	return !rc;
}

/* --- walks --- */

struct walk {
	const struct pgtable *pgtable;
	uint64_t address;
	unsigned int flags;
};

static unsigned int top_of(const struct pgtable *pgtable)
{
	return pgtable->top[0] > pgtable->top[1] ? pgtable->top[0] : pgtable->top[1];
}

/* Each entry of the first stage is looked for once to read it and once to change it. */
static unsigned int fetches_max(const struct pgtable *pgtable)
{
	unsigned int levels = top_of(pgtable) + 1, second;

	if (!pgtable->memory.stage2)
		return levels;
	second = top_of(pgtable->memory.stage2) + 1;
	return levels * (2 * second + 1) + second;
}

static void check_fault(const struct walk *walk, const struct pgtable_result *result)
{
	CHECK(result->reason < UIOMMU_FAULT_REASONS);
	CHECK(result->stage == walk->pgtable->format->stage || (walk->pgtable->memory.stage2 && result->stage == 2));
	CHECK(result->level < PGTABLE_LEVELS);
	CHECK(result->table <= 1);
}

static void check_found(const struct walk *walk, const struct pgtable_result *result)
{
	const struct pgtable *last = walk->pgtable->memory.stage2 ? walk->pgtable->memory.stage2 : walk->pgtable;

	CHECK(result->page_lg2 >= 12 && result->page_lg2 <= 57);
	CHECK(!((result->oa ^ walk->address) & low_mask(result->page_lg2)));
	CHECK(!(result->oa & ~low_mask(last->config.output_lg2)));
	CHECK(!(walk->flags & (UIOMMU_READ | UIOMMU_WRITE | UIOMMU_EXEC) & ~(unsigned int)result->access));
	CHECK(result->access <= (UIOMMU_READ | UIOMMU_WRITE | UIOMMU_EXEC));
	CHECK(result->clean <= 1 && (!result->clean || result->access & UIOMMU_WRITE || walk->pgtable->memory.stage2));
	CHECK(result->level < PGTABLE_LEVELS);
}

static struct pgtable_result do_walk(const struct walk *walk)
{
	struct pgtable_result result;

	memset(&result, 0xa5, sizeof(result));
	pgtable_translate(walk->pgtable, walk->address, walk->flags, &result);
	CHECK(result.fetches <= fetches_max(walk->pgtable));
	if (result.reason)
		check_fault(walk, &result);
	else
		check_found(walk, &result);
	return result;
}

static unsigned int changed_entries(void)
{
	unsigned int changed = 0;

	for (size_t i = 0; i < ARENA; i += sizeof(uint64_t))
		changed += memcmp(world.arena + i, world.before + i, sizeof(uint64_t)) != 0;
	return changed;
}

static bool same_place(const struct pgtable_result *a, const struct pgtable_result *b)
{
	return a->oa == b->oa && a->page_lg2 == b->page_lg2 && a->level == b->level && a->access == b->access;
}

/* The last byte of its block leads to the last byte of the other. */
static void check_block(const struct walk *walk, const struct pgtable_result *found, bool repeated)
{
	uint64_t block = low_mask(repeated ? 12 : found->page_lg2);
	struct walk other = *walk;
	struct pgtable_result result;

	other.address |= block;
	result = do_walk(&other);
	CHECK(!result.reason && result.oa == (found->oa | block) && result.page_lg2 == found->page_lg2);
}

static struct pgtable_result do_walk_from(const struct walk *walk, struct pgtable_path *path)
{
	struct pgtable_result result;

	memset(&result, 0xa5, sizeof(result));
	walk->pgtable->from(walk->pgtable, walk->address, walk->flags, path, &result);
	/* If it could not be done from there, it was tried in vain. */
	CHECK(result.fetches <= 2 * fetches_max(walk->pgtable));
	if (result.reason)
		check_fault(walk, &result);
	return result;
}

/*
 * A walk that begins at one of the tables that it came through leads to the same place. If something else is there now, it leads
 * elsewhere, but no further.
 */
static void check_steps(const struct walk *walk)
{
	struct pgtable_path top = {.start.block_lg2 = 0};
	struct pgtable_result found = do_walk_from(walk, &top), below;
	struct pgtable_path path;

	if (found.reason)
		return;
	for (unsigned int level = 0; level < PGTABLE_STEPS; level++) {
		if (!(top.noted >> level & 1))
			continue;
		CHECK(!(top.step[level].entries & 4095) && top.step[level].above >> PGTABLE_ABOVE_LG2 == 0);
		path = (struct pgtable_path){.start = top.step[level]};
		below = do_walk_from(walk, &path);
		CHECK(walk->pgtable->memory.stage2 || (!below.reason && same_place(&below, &found) && below.fetches <= level + 1));
		path = (struct pgtable_path){.start = top.step[level]};
		path.start.entries = (walk->address ^ path.start.entries) % ARENA & ~UINT64_C(4095);
		do_walk_from(walk, &path);
	}
}

static void check_walks(const struct pgtable *pgtable, uint64_t address, unsigned int flags, bool repeated)
{
	struct walk walk = {pgtable, address, flags | PGTABLE_QUIET};
	struct pgtable_result quiet, real;

	memcpy(world.before, world.arena, ARENA);
	quiet = do_walk(&walk);
	if (!quiet.reason)
		check_block(&walk, &quiet, repeated);
	CHECK(!memcmp(world.before, world.arena, ARENA));
	walk.flags = flags;
	real = do_walk(&walk);
	CHECK(changed_entries() <= real.fetches);
	if (!real.reason && pgtable->from)
		check_steps(&walk);
	if (pgtable->memory.areas)
		CHECK(!memcmp(world.before + (size_t)READ_ONLY * PAGE, world.arena + (size_t)READ_ONLY * PAGE,
			      (size_t)(TRAPS + 1 - READ_ONLY) * PAGE));
	/* Where both stages are the same tables, one's flags are the other's bits. And what must be changed may not let us. */
	if (pgtable->memory.stage2 || real.reason == UIOMMU_FAULT_UPDATE)
		return;
	CHECK(real.reason == quiet.reason);
	CHECK(real.reason || same_place(&real, &quiet));
	CHECK(real.reason || !(flags & UIOMMU_WRITE) || !real.clean);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct pgtable_memory memory = {.window = {.host = world.arena, .length = ARENA, .writable = true}};
	struct input input = {data, size};
	struct pgtable_config config;
	struct pgtable first, second;
	struct header header;
	const struct format *format;
	unsigned int flags;

	take(&input, &header, sizeof(header));
	format = &formats[header.format % ARRAY_SIZE(formats)];
	memset(world.arena, 0, ARENA);
	while (input.left)
		put_entry(&input);
	flags = header.flags & (UIOMMU_READ | UIOMMU_WRITE | UIOMMU_EXEC | PGTABLE_USER);
	if (header.how & HOW_GUEST)
		memory = (struct pgtable_memory){.areas = &world.areas};
	if (header.how & HOW_NESTED && format->stage2) {
		config = config_of(&header, 1);
		if (!open_stage(&second, format->stage2, &config, &memory))
			return 0;
		memory.stage2 = &second;
	}
	config = config_of(&header, 0);
	if (open_stage(&first, format->format, &config, &memory))
		check_walks(&first, header.address, flags, format->repeated);
	return 0;
}
