/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Every walker against its oracle, on random tables: the same results and the same changes of memory.
 *
 * property [--cases N] [--seed S] [--only NAME]
 *
 * In some rounds walks begin where cached tables are (translate/stages.h); those are forgotten whenever tables change. And what has
 * been translated is translated again, to count what is read then.
 *
 * A round is a random config, random tables of it, and many addresses. Everything comes from the seed, so a failure comes again
 * with the seed and the name that it prints.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "translate/stages.h"
#include "world.h"

/* The stages of an architecture: each alone, and both together. A line for each that has oracles. */
static const struct architecture {
	const struct oracle_format *first;
	const struct oracle_format *second;
} architectures[] = {
	{&oracle_vtd_first, &oracle_vtd_second},
	{&oracle_amd_v2, &oracle_amd_v1},
	{&oracle_arm_s1, &oracle_arm_s2},
	{&oracle_riscv_first, &oracle_riscv_second},
};

enum {
	ARCHITECTURES = sizeof(architectures) / sizeof(architectures[0]),
	ROUND = 500,
	FEW_STEPS = 16, /* cached: less than there are tables, so that they change all the time; */
	MANY_STEPS = 1 << 16, /* or all of them */
	LOADS = 3, /* a stage, if they are cached */
};

struct combination {
	char name[48];
	const struct oracle_format *first; /* the one that addresses go into */
	const struct oracle_format *second; /* or NULL */
};

struct options {
	uint64_t cases;
	uint64_t seed;
	const char *only;
};

/* One combination's test, in some round. */
struct property {
	const struct combination *combination;
	struct world world;
	struct build build[2]; /* stage 2 is [1] */
	struct oracle_stage oracle[2];
	struct pgtable walker[2];
	struct stages_cache few, many;
	struct stages stages; /* instead of the walkers alone, if... */
	bool cached;
	uint64_t stepped, cached_cases;
	uint64_t seed, number;
	uint64_t outcomes[UIOMMU_FAULT_REASONS];
};

static void print_config(const char *what, const struct pgtable_config *config)
{
	printf("# %s: base %#" PRIx64 " %#" PRIx64 ", input %u %u, granule %u %u, levels %u, output %u, flags %#x\n", what,
	       config->base[0], config->base[1], config->input_lg2[0], config->input_lg2[1], config->granule_lg2[0],
	       config->granule_lg2[1], config->levels, config->output_lg2, config->flags);
}

static void print_result(const char *what, const struct pgtable_result *result)
{
	if (result->reason)
		printf("# %s: %s, stage %u, level %u, table %u, ipa %#" PRIx64 ", fetches %u\n", what,
		       uiommu_fault_reason_name(result->reason), result->stage, result->level, result->table, result->ipa,
		       result->fetches);
	else
		printf("# %s: oa %#" PRIx64 ", level %u, access %u, clean %u, page %u, attributes %#x, fetches %u\n", what,
		       result->oa, result->level, result->access, result->clean, result->page_lg2, result->attributes,
		       result->fetches);
}

static void print_trace(void)
{
	for (unsigned int i = 0; i < oracle_trace.count && i < ORACLE_TRACE; i++)
		printf("# read %#" PRIx64 ": %#018" PRIx64 "\n", oracle_trace.seen[i].address, oracle_trace.seen[i].value);
}

static void print_case(const struct property *property, uint64_t address, unsigned int flags)
{
	printf("# seed %" PRIu64 ", %s, case %" PRIu64 ": address %#" PRIx64 ", flags %#x\n", property->seed,
	       property->combination->name, property->number, address, flags);
	print_config(property->combination->first->name, &property->oracle[0].config);
	if (property->combination->second)
		print_config(property->combination->second->name, &property->oracle[1].config);
	printf("# memory: window %#" PRIx64 " + %#" PRIx64 ", %u pieces\n", property->world.walker.window.first,
	       property->world.walker.window.length, property->world.piece_count);
}

/* Both stages, as the specifications put them together. */
static void oracle_translate(const struct property *property, uint64_t address, unsigned int flags, struct pgtable_result *out)
{
	const struct oracle_stage *stage = property->oracle;
	struct pgtable_result first;

	stage[0].format->walk(&stage[0], address, flags, &first);
	*out = first;
	if (first.reason || !stage[0].stage2)
		return;
	stage[1].format->walk(&stage[1], first.oa, flags, out);
	out->fetches = (uint8_t)(out->fetches + first.fetches);
	if (out->reason) {
		out->ipa = first.oa;
		return;
	}
	out->access &= first.access;
	out->clean = out->clean || first.clean;
	out->attributes = first.attributes;
	if (first.page_lg2 < out->page_lg2)
		out->page_lg2 = first.page_lg2;
}

static bool equal(const struct property *property, const struct pgtable_result *a, const struct pgtable_result *b)
{
	if (a->reason != b->reason || a->level != b->level || (a->fetches != b->fetches && !property->cached))
		return false;
	if (a->reason)
		return a->stage == b->stage && a->table == b->table &&
		       (!property->combination->second || a->stage != 2 || a->ipa == b->ipa);
	return a->oa == b->oa && a->access == b->access && a->clean == b->clean && a->page_lg2 == b->page_lg2 &&
	       a->attributes == b->attributes;
}

static bool same_where_read(const struct property *property, uint64_t *where)
{
	for (unsigned int i = 0; i < oracle_trace.count && i < ORACLE_TRACE; i++) {
		*where = oracle_trace.seen[i].address;
		if (!world_same_at(&property->world, *where, oracle_trace.seen[i].size))
			return false;
	}
	return true;
}

static void translate(struct property *property, uint64_t address, unsigned int flags, struct pgtable_result *out)
{
	bool stepped;

	if (!property->cached) {
		pgtable_translate(&property->walker[0], address, flags, out);
		return;
	}
	stages_translate(&property->stages, property->stages.walked, address, flags, out, &stepped);
	property->cached_cases++;
	property->stepped += stepped;
}

/* The same again: its tables are cached now. */
static bool few_loads(struct property *property, uint64_t address, unsigned int flags, const struct pgtable_result *before)
{
	unsigned int stages = property->combination->second ? 2 : 1;
	struct pgtable_result again;
	bool stepped;

	if (!property->cached || property->stages.cache == &property->few || before->reason || flags & PGTABLE_QUIET)
		return true;
	stages_translate(&property->stages, property->stages.walked, address, flags, &again, &stepped);
	if (!again.reason && again.oa == before->oa && again.fetches <= LOADS * stages)
		return true;
	printf("# again: oa %#" PRIx64 ", %u entries have been read, from the top: %d\n", again.oa, again.fetches, !stepped);
	return false;
}

/* @careful: look at all of the memory. */
static bool run_case(struct property *property, bool careful)
{
	static const unsigned int accesses[] = {0, 1, 1, 2, 2, 3, 4, 5, 6, 7};
	struct oracle_random *random = &property->world.random;
	uint64_t address = build_address(&property->build[0]), where = 0;
	unsigned int flags = accesses[oracle_below(random, sizeof(accesses) / sizeof(accesses[0]))];
	/* What is not set stays different. */
	struct pgtable_result walker = {.oa = 1, .ipa = 1, .level = 99, .fetches = 99}, oracle = {0};

	if (oracle_once_in(random, 2))
		flags |= PGTABLE_USER;
	if (oracle_once_in(random, 8))
		flags |= PGTABLE_QUIET;
	if (oracle_once_in(random, 32)) {
		world_damage_one(&property->world);
		if (property->cached)
			stages_forget(&property->stages, 0, UINT64_MAX, false);
	}
	oracle_trace.count = 0;
	oracle_translate(property, address, flags, &oracle);
	translate(property, address, flags, &walker);
	property->outcomes[oracle.reason]++;
	if (equal(property, &walker, &oracle) && same_where_read(property, &where) &&
	    (!careful || world_same(&property->world, &where)) && few_loads(property, address, flags, &walker))
		return true;
	print_case(property, address, flags);
	print_result("walker", &walker);
	print_result("oracle", &oracle);
	if (equal(property, &walker, &oracle))
		printf("# memory differs at %#" PRIx64 "\n", where);
	print_trace();
	return false;
}

static bool setup(struct property *property, unsigned int which, const struct pgtable *stage2)
{
	struct pgtable_memory memory = property->world.walker;
	const struct oracle_stage *stage = &property->oracle[which];
	int rc;

	memory.stage2 = stage2;
	rc = pgtable_init(&property->walker[which], stage->format->format, &stage->config, &memory);
	if (!rc)
		return true;
	printf("# %s does not take the config: %d\n", stage->format->name, rc);
	print_case(property, 0, 0);
	return false;
}

/* The same stages, with a cache. */
static bool setup_cached(struct property *property)
{
	const struct oracle_stage *stage = property->oracle;
	const bool second = property->combination->second;
	const struct stages_config config = {
		.first_format = second ? stage[0].format->format : NULL,
		.first = second ? &stage[0].config : NULL,
		.second_format = stage[second].format->format,
		.second = &stage[second].config,
	};

	return !stages_init(&property->stages, &config, &property->world.areas,
			    oracle_once_in(&property->world.random, 2) ? &property->few : &property->many);
}

/* Random tables of this round. */
static bool begin(struct property *property, uint64_t seed)
{
	const struct combination *combination = property->combination;
	struct world *world = &property->world;
	const struct pgtable *stage2 = NULL;
	struct build *second = NULL;
	unsigned int damage;

	world_begin(world, (enum world_shape)(seed % WORLD_SHAPES), seed);
	property->oracle[0] = (struct oracle_stage){.format = combination->first, .memory = &world->oracle};
	if (combination->second) {
		property->oracle[1] = (struct oracle_stage){.format = combination->second, .memory = &world->oracle};
		property->oracle[0].stage2 = &property->oracle[1];
		second = &property->build[1];
		combination->second->configure(&world->random, WORLD_LG2, &property->oracle[1].config);
		build_tables(second, world, &property->oracle[1], NULL);
		if (!setup(property, 1, NULL))
			return false;
		stage2 = &property->walker[1];
	}
	combination->first->configure(&world->random, WORLD_LG2, &property->oracle[0].config);
	build_tables(&property->build[0], world, &property->oracle[0], second);
	damage = (unsigned int)oracle_below(&world->random, 4);
	if (damage)
		world_damage(world, damage == 1 ? 100 : damage == 2 ? 30 : 12);
	property->cached = world->has_areas && oracle_once_in(&world->random, 2);
	return setup(property, 0, stage2) && (!property->cached || setup_cached(property));
}

static void end(struct property *property)
{
	if (property->cached)
		stages_fini(&property->stages);
	property->cached = false;
}

static bool run_round(struct property *property, uint64_t round, uint64_t cases, bool careful)
{
	struct oracle_random seeds = {property->seed ^ round << 32};
	bool good = true;
	uint64_t where;

	if (!begin(property, oracle_random(&seeds)))
		return false;
	for (uint64_t i = 0; good && i < cases; i++) {
		property->number = round * ROUND + i;
		good = run_case(property, careful);
	}
	end(property);
	return good && world_same(&property->world, &where);
}

/* How the cases ended, most of all that there is some of everything. */
static bool print_outcomes(const struct property *property, uint64_t cases)
{
	printf("# %s: ok %.1f %%", property->combination->name, 100.0 * (double)property->outcomes[0] / (double)cases);
	for (unsigned int reason = 1; reason < UIOMMU_FAULT_REASONS; reason++)
		if (property->outcomes[reason])
			printf(", %s %.2f %%", uiommu_fault_reason_name(reason),
			       100.0 * (double)property->outcomes[reason] / (double)cases);
	printf("\n# %" PRIu64 " walks had tables cached, %" PRIu64 " began below the top\n", property->cached_cases,
	       property->stepped);
	if (cases < 100000 || property->outcomes[0] * 20 > cases)
		return true;
	printf("# hardly anything was mapped: this proves little\n");
	return false;
}

static bool run(struct property *property, const struct combination *combination, const struct options *options)
{
	property->combination = combination;
	property->seed = options->seed;
	memset(property->outcomes, 0, sizeof(property->outcomes));
	property->stepped = property->cached_cases = 0;
	for (uint64_t round = 0; round * ROUND < options->cases; round++) {
		uint64_t left = options->cases - round * ROUND, cases = left < ROUND ? left : ROUND;

		if (run_round(property, round, cases, false))
			continue;
		/* Something else than what was read may have changed: find out where it began. */
		printf("# again, with care:\n");
		run_round(property, round, cases, true);
		return false;
	}
	return print_outcomes(property, options->cases);
}

/* All there are, in @out; their number. */
static unsigned int combine(struct combination *out)
{
	unsigned int count = 0;

	for (unsigned int i = 0; i < ARCHITECTURES; i++) {
		const struct architecture *from = &architectures[i];
		struct combination *to = &out[count];

		to[0] = (struct combination){.first = from->first};
		to[1] = (struct combination){.first = from->second};
		to[2] = (struct combination){.first = from->first, .second = from->second};
		snprintf(to[0].name, sizeof(to[0].name), "%s", from->first->name);
		snprintf(to[1].name, sizeof(to[1].name), "%s", from->second->name);
		snprintf(to[2].name, sizeof(to[2].name), "%s/%s", from->first->name, from->second->name);
		count += 3;
	}
	return count;
}

static bool parse(int argc, char **argv, struct options *options)
{
	const char *scale = getenv("UIOMMU_TEST_SCALE");

	*options = (struct options){.cases = 200000, .seed = 1};
	if (scale) /* 50 times as many, at most */
		options->cases *= strtoul(scale, NULL, 10) < 50 ? strtoul(scale, NULL, 10) : 50;
	for (int i = 1; i < argc; i += 2) {
		if (i + 1 == argc)
			return false;
		if (!strcmp(argv[i], "--cases"))
			options->cases = strtoull(argv[i + 1], NULL, 0);
		else if (!strcmp(argv[i], "--seed"))
			options->seed = strtoull(argv[i + 1], NULL, 0);
		else if (!strcmp(argv[i], "--only"))
			options->only = argv[i + 1];
		else
			return false;
	}
	return true;
}

int main(int argc, char **argv)
{
	static struct combination combinations[3 * ARCHITECTURES];
	static struct property property;
	unsigned int count = combine(combinations), done = 0;
	struct options options;
	bool good = true;

	if (!parse(argc, argv, &options)) {
		fprintf(stderr, "usage: property [--cases N] [--seed S] [--only NAME]\n");
		return 2;
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	world_init(&property.world);
	if (stages_cache_init(&property.few, 0, FEW_STEPS) || stages_cache_init(&property.many, 0, MANY_STEPS)) {
		printf("Bail out! no memory\n");
		return 1;
	}
	for (unsigned int i = 0; i < count; i++) {
		bool passed;

		if (options.only && strcmp(options.only, combinations[i].name) != 0)
			continue;
		printf("# %s: %" PRIu64 " cases, seed %" PRIu64 "\n", combinations[i].name, options.cases, options.seed);
		passed = run(&property, &combinations[i], &options);
		good &= passed;
		printf("%sok %u - %s\n", passed ? "" : "not ", ++done, combinations[i].name);
	}
	printf("1..%u\n", done);
	stages_cache_fini(&property.many);
	stages_cache_fini(&property.few);
	world_fini(&property.world);
	return good && done ? 0 : 1;
}
