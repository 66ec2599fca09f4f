/* SPDX-License-Identifier: BSD-3-Clause */
/* Random tables: mostly good, with shared tables, loops, and what should not be. */
#include "world.h"

static struct oracle_random *dice(struct build *build)
{
	return &build->world->random;
}

static uint64_t below_bit(unsigned int bits)
{
	return bits < 64 ? (UINT64_C(1) << bits) - 1 : UINT64_MAX;
}

static unsigned int shift_of(const struct oracle_geometry *geometry, unsigned int level)
{
	return geometry->granule_lg2 + level * geometry->index_lg2;
}

static unsigned int width_of(const struct oracle_geometry *geometry)
{
	unsigned int width = shift_of(geometry, geometry->top) + geometry->top_index_lg2;

	return width < 64 ? width : 64;
}

static const struct oracle_format *format_of(const struct build *build)
{
	return build->stage->format;
}

static bool map(struct build *build, unsigned int half, uint64_t input, uint64_t target, unsigned int leaf);

/* Let stage 2 map an input address to memory at @place, with a page of a random size. Not always does it succeed. */
static uint64_t map_somewhere(struct build *second, unsigned int input_lg2, uint64_t place, unsigned int lg2)
{
	const struct oracle_geometry *geometry = &second->geometry[0];
	unsigned int level = 0, page, fixed = WORLD_LG2;
	uint64_t input;

	while (level < geometry->top && oracle_once_in(dice(second), 4) &&
	       format_of(second)->may_be_leaf(&second->stage->config, 0, level + 1))
		level++;
	page = shift_of(geometry, level);
	if (page > fixed)
		fixed = page;
	if (level == 0 && oracle_once_in(dice(second), 4))
		fixed = lg2 > page ? lg2 : page;
	/* The lower bits are those of the place: what an entry maps more than it was asked for is right, too. */
	input = oracle_random(dice(second)) & below_bit(input_lg2);
	input = (input & ~below_bit(fixed)) | (place & below_bit(fixed));
	if (input > below_bit(input_lg2))
		input = place;
	for (uint64_t at = 0; at < UINT64_C(1) << lg2; at += UINT64_C(1) << page)
		map(second, 0, (input + at) & ~below_bit(page), (place + at) & ~below_bit(page), level);
	return input;
}

/* A chunk of input addresses of stage 2, and the memory behind it. */
static bool take_chunk(struct build *build, unsigned int lg2)
{
	struct build *second = build->stage2;
	unsigned int input_lg2 = width_of(&second->geometry[0]);
	uint64_t place;

	if (lg2 < second->geometry[0].granule_lg2)
		lg2 = second->geometry[0].granule_lg2;
	place = world_take(build->world, lg2);
	if (place == WORLD_NOWHERE)
		return false;
	if (build->stage->config.output_lg2 && build->stage->config.output_lg2 < input_lg2)
		input_lg2 = build->stage->config.output_lg2;
	for (unsigned int tries = 0; tries < 10; tries++) {
		unsigned int access = oracle_once_in(dice(build), 10) ? UIOMMU_READ : UIOMMU_READ | UIOMMU_WRITE;
		struct pgtable_result result;

		build->chunk = map_somewhere(second, input_lg2, place, lg2);
		format_of(second)->walk(second->stage, build->chunk, access | PGTABLE_QUIET, &result);
		if ((!result.reason && result.oa == place) || oracle_once_in(dice(build), 40))
			break;
	}
	if (second->mapped_count < BUILD_MAPPED)
		second->mapped[second->mapped_count++] = build->chunk;
	build->chunk_place = place;
	build->chunk_left = UINT64_C(1) << lg2;
	return true;
}

static bool take(struct build *build, unsigned int lg2, uint64_t *address, uint64_t *place)
{
	uint64_t size = UINT64_C(1) << lg2, waste;

	if (!build->stage2) {
		*address = *place = world_take(build->world, lg2);
		return *place != WORLD_NOWHERE;
	}
	waste = -build->chunk & (size - 1);
	if (waste + size > build->chunk_left) {
		build->chunk_left = 0;
		if (!take_chunk(build, lg2))
			return false;
		waste = 0;
	}
	*address = build->chunk + waste;
	*place = build->chunk_place + waste;
	build->chunk += waste + size;
	build->chunk_place += waste + size;
	build->chunk_left -= waste + size;
	return true;
}

/* The number of a new table, or -1. */
static int new_table(struct build *build, unsigned int half, unsigned int level)
{
	const struct oracle_geometry *geometry = &build->geometry[half];
	struct build_table *table = &build->tables[build->table_count];
	unsigned int lg2 = level == geometry->top ? geometry->top_table_lg2 : geometry->table_lg2;

	if (build->table_count == BUILD_TABLES || !take(build, lg2, &table->address, &table->place))
		return -1;
	table->half = half;
	table->level = level;
	table->links = -1;
	return (int)build->table_count++;
}

/* Some table of this level, or -1. */
static int some_table(struct build *build, unsigned int half, unsigned int level)
{
	unsigned int first = (unsigned int)oracle_below(dice(build), build->table_count);

	for (unsigned int i = 0; i < build->table_count; i++) {
		unsigned int at = (first + i) % build->table_count;

		if (build->tables[at].level == level && build->tables[at].half == half)
			return (int)at;
	}
	return -1;
}

static uint64_t place_of(const struct build *build, const struct build_table *table, uint64_t input, uint64_t *index)
{
	const struct oracle_geometry *geometry = &build->geometry[table->half];
	unsigned int bits = table->level == geometry->top ? geometry->top_index_lg2 : geometry->index_lg2;

	*index = (input >> shift_of(geometry, table->level)) & below_bit(bits);
	return table->place + (*index << geometry->entry_lg2);
}

/* Where no table should be: beyond the memory, in the middle of something, or an upper table. */
static uint64_t strange_target(struct build *build)
{
	if (oracle_once_in(dice(build), 3))
		return oracle_random(dice(build));
	if (oracle_once_in(dice(build), 2))
		return oracle_below(dice(build), WORLD_SIZE);
	return build->tables[oracle_below(dice(build), build->table_count)].address;
}

/* An entry that leads to a table which @input can reach. */
static uint64_t table_entry(struct build *build, const struct build_table *table, uint64_t input, uint64_t target,
			    unsigned int *next)
{
	const struct oracle_geometry *geometry = &build->geometry[table->half];
	uint64_t entry, between;

	for (unsigned int tries = 0;; tries++) {
		*next = table->level - 1;
		entry = format_of(build)->entry(dice(build), &build->stage->config, table->half, table->level, ORACLE_TABLE, target,
						next);
		between = input & below_bit(shift_of(geometry, table->level)) & ~below_bit(shift_of(geometry, *next + 1));
		if (!between || tries == 8)
			return entry;
	}
}

/* Make a table below @table, or take one. -1: something strange is there now. */
static int descend(struct build *build, unsigned int from, uint64_t input)
{
	struct build_table *table = &build->tables[from];
	unsigned int size = 1u << build->geometry[table->half].entry_lg2, next = table->level - 1;
	uint64_t index, place = place_of(build, table, input, &index), state, entry;
	int child = -1;

	if (oracle_once_in(dice(build), 60)) {
		world_put(build->world, place, size, table_entry(build, table, input, strange_target(build), &next));
		return -1;
	}
	/* Which level it leads to is only known afterwards; so the same choice is made twice. */
	state = dice(build)->state;
	table_entry(build, table, input, 0, &next);
	if (oracle_once_in(dice(build), 12))
		child = some_table(build, table->half, next);
	if (child < 0)
		child = new_table(build, table->half, next);
	if (child < 0)
		child = some_table(build, table->half, next);
	if (child < 0 || build->link_count == BUILD_LINKS)
		return -1;
	{
		struct oracle_random now = *dice(build);

		dice(build)->state = state;
		entry = table_entry(build, table, input, build->tables[child].address, &next);
		*dice(build) = now;
	}
	world_put(build->world, place, size, entry);
	build->links[build->link_count] = (struct build_link){index, (unsigned int)child, table->links};
	table->links = (int)build->link_count++;
	return child;
}

static int find_child(const struct build *build, const struct build_table *table, uint64_t index)
{
	for (int link = table->links; link >= 0; link = build->links[link].next)
		if (build->links[link].index == index)
			return (int)build->links[link].child;
	return -1;
}

/* Map @input to @target with an entry of level @leaf, or of one below if levels are left out. */
static bool map(struct build *build, unsigned int half, uint64_t input, uint64_t target, unsigned int leaf)
{
	const struct oracle_format *format = format_of(build);
	const struct pgtable_config *config = &build->stage->config;
	unsigned int at = half && build->geometry[0].present ? 1 : 0; /* top tables were made first */

	for (;;) {
		const struct build_table *table = &build->tables[at];
		uint64_t index, place = place_of(build, table, input, &index);
		unsigned int next = 0;
		int child;

		if (table->level <= leaf && format->may_be_leaf(config, half, table->level)) {
			uint64_t entry = format->entry(dice(build), config, half, table->level, ORACLE_LEAF, target, &next);

			if (find_child(build, table, index) >= 0 && !oracle_once_in(dice(build), 50))
				return false;
			world_put(build->world, place, 1u << build->geometry[half].entry_lg2, entry);
			return true;
		}
		if (!table->level)
			return false;
		child = find_child(build, table, index);
		if (child < 0)
			child = descend(build, at, input);
		if (child < 0)
			return false;
		at = (unsigned int)child;
	}
}

/* Near one that is there already, so that upper tables are shared. */
static uint64_t random_input(struct build *build, unsigned int half)
{
	const struct oracle_geometry *geometry = &build->geometry[half];
	unsigned int width = width_of(geometry);
	uint64_t input = oracle_random(dice(build)) & below_bit(width);

	if (build->input_count && !oracle_once_in(dice(build), 10)) {
		const struct build_input *near = &build->inputs[oracle_below(dice(build), build->input_count)];
		uint64_t keep = ~below_bit((unsigned int)oracle_below(dice(build), width));

		input = (near->input & keep) | (input & ~keep);
	}
	while (oracle_once_in(dice(build), 4)) {
		unsigned int level = (unsigned int)oracle_below(dice(build), geometry->top + 1);

		input &= ~(below_bit(geometry->index_lg2) << shift_of(geometry, level));
	}
	return input & below_bit(width);
}

static uint64_t random_target(struct build *build)
{
	struct build *second = build->stage2;
	uint64_t target = oracle_random(dice(build));

	if (second && second->mapped_count && !oracle_once_in(dice(build), 5))
		return second->mapped[oracle_below(dice(build), second->mapped_count)] + target % 4096;
	if (build->stage->config.output_lg2)
		target &= below_bit(build->stage->config.output_lg2);
	return oracle_once_in(dice(build), 4) ? target % WORLD_SIZE : target;
}

static unsigned int random_half(struct build *build)
{
	if (!build->geometry[0].present || !build->geometry[1].present)
		return build->geometry[1].present;
	return (unsigned int)oracle_below(dice(build), 2);
}

static void map_something(struct build *build)
{
	unsigned int half = random_half(build), top = build->geometry[half].top, leaf = 0;
	uint64_t input = random_input(build, half), target = random_target(build);

	while (leaf < top && oracle_once_in(dice(build), 3))
		leaf++;
	/* What stage 2 maps should be met again. */
	if (build->stage2 && !oracle_once_in(dice(build), 5)) {
		uint64_t low = below_bit(shift_of(&build->geometry[half], leaf));

		input = (input & ~low) | (target & low & below_bit(width_of(&build->geometry[half])));
	}
	if (!map(build, half, input, target, leaf) && !oracle_once_in(dice(build), 4))
		return;
	if (build->input_count < BUILD_INPUTS)
		build->inputs[build->input_count++] = (struct build_input){half, input};
	if (build->mapped_count < BUILD_MAPPED && !build->stage2)
		build->mapped[build->mapped_count++] = input;
}

bool build_tables(struct build *build, struct world *world, struct oracle_stage *stage, struct build *stage2)
{
	unsigned int count = 40 + (unsigned int)oracle_below(&world->random, 200);

	build->world = world;
	build->stage = stage;
	build->stage2 = stage2;
	build->table_count = build->link_count = build->input_count = build->mapped_count = 0;
	build->chunk = build->chunk_place = build->chunk_left = 0;
	for (unsigned int half = 0; half < 2; half++) {
		build->geometry[half] = (struct oracle_geometry){.present = false};
		stage->format->geometry(&stage->config, half, &build->geometry[half]);
		if (!build->geometry[half].present)
			continue;
		if (new_table(build, half, build->geometry[half].top) < 0)
			return false;
		stage->config.base[half] = build->tables[build->table_count - 1].address;
	}
	for (unsigned int i = 0; i < count || !build->input_count; i++)
		map_something(build);
	return true;
}

uint64_t build_address(struct build *build)
{
	const struct oracle_format *format = format_of(build);
	const struct build_input *known = &build->inputs[oracle_below(dice(build), build->input_count)];
	unsigned int half = known->half, width = width_of(&build->geometry[half]);
	uint64_t input = known->input, random = oracle_random(dice(build)), address;

	switch (oracle_below(dice(build), 20)) {
	case 0 ... 10: /* as it was built */
		break;
	case 11 ... 14: /* in the same page */
		input = (input & ~below_bit(build->geometry[half].granule_lg2)) |
			(random & below_bit(build->geometry[half].granule_lg2));
		break;
	case 15:
		input ^= UINT64_C(1) << random % width;
		break;
	case 16: /* neighbours of a random size */
		input += (random & 1 ? UINT64_C(1) : UINT64_MAX) << (random >> 8) % width;
		break;
	case 17:
		input = random & 1 ? 0 : UINT64_MAX;
		break;
	default:
		input = random;
	}
	address = format->address(&build->stage->config, half, input & below_bit(width));
	switch (oracle_below(dice(build), 40)) {
	case 0: /* beyond */
		return address ^ UINT64_C(1) << random % 64;
	case 1:
		return random;
	case 2:
		return below_bit(width - (unsigned int)(random % 2)) + (random >> 8) % 2;
	default:
		return address;
	}
}
