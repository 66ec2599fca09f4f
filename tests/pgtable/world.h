/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Guest memory twice, one for the walkers and one for the oracles, equal at first; and random tables in it.
 *
 * The walkers' memory is in pieces whose host addresses are in another order, so that a walker that stays in the wrong piece reads
 * something else. Everything that is ever written goes through world_put(), apart from what walks do; so a world is emptied fast.
 */
#ifndef TESTS_PGTABLE_WORLD_H
#define TESTS_PGTABLE_WORLD_H

#include "memory/areas.h"
#include "oracle.h"

enum {
	WORLD_LG2 = 22,
	WORLD_PAGES = 1 << (WORLD_LG2 - 12),
	WORLD_PIECES = 8,
	WORLD_SPOTS = 16384,
};
#define WORLD_SIZE (UINT64_C(1) << WORLD_LG2)
#define WORLD_NOWHERE UINT64_MAX

enum world_shape {
	WORLD_WINDOW, /* a window, and nothing else */
	WORLD_MIDDLE, /* the same, and it begins and ends in the middle */
	WORLD_AREAS, /* no window */
	WORLD_MIXED, /* areas, and one of them is the window, too */
	WORLD_SHAPES,
};

struct world_piece {
	uint64_t start;
	uint64_t length;
	uint8_t *host;
};

/* An entry that was written. */
struct world_spot {
	uint64_t place;
	uint8_t size;
};

struct world {
	struct oracle_random random;
	struct oracle_memory oracle;
	struct pgtable_memory walker; /* no stage 2 */
	uint8_t absent[WORLD_PAGES];
	uint8_t *host; /* of the walkers */
	struct areas areas;
	bool has_areas;
	struct world_piece pieces[WORLD_PIECES];
	unsigned int piece_count;
	uint64_t taken; /* up to here */
	struct world_spot spots[WORLD_SPOTS];
	unsigned int spot_count;
};

void world_init(struct world *world);
void world_fini(struct world *world);

/* Empty it and give it a new shape. */
void world_begin(struct world *world, enum world_shape shape, uint64_t seed);

/* Memory that nothing has, aligned to its size; rarely with a hole in it. WORLD_NOWHERE if there is no more. */
uint64_t world_take(struct world *world, unsigned int lg2);
void world_put(struct world *world, uint64_t place, unsigned int size, uint64_t value);
uint64_t world_get(const struct world *world, uint64_t place, unsigned int size);

/* Are both equal, at @place and everywhere? */
bool world_same_at(const struct world *world, uint64_t place, unsigned int size);
bool world_same(const struct world *world, uint64_t *where);

/* Random damage: flips bits, replaces entries. @once_in: of the entries. */
void world_damage(struct world *world, unsigned int once_in);
void world_damage_one(struct world *world);

/* build.c */
enum { BUILD_TABLES = 512, BUILD_LINKS = 8192, BUILD_INPUTS = 1024, BUILD_MAPPED = 512 };

struct build_table {
	uint64_t address; /* as entries have it */
	uint64_t place; /* in memory */
	unsigned int level;
	unsigned int half;
	int links; /* of those that lead to tables */
};

struct build_link {
	uint64_t index;
	unsigned int child;
	int next;
};

struct build_input {
	unsigned int half;
	uint64_t input;
};

/* One stage's tables. */
struct build {
	struct world *world;
	struct oracle_stage *stage;
	struct build *stage2; /* or NULL */
	struct oracle_geometry geometry[2];
	unsigned int table_count, link_count, input_count, mapped_count;
	struct build_table tables[BUILD_TABLES];
	struct build_link links[BUILD_LINKS];
	struct build_input inputs[BUILD_INPUTS]; /* that were mapped, at least for a while */
	uint64_t mapped[BUILD_MAPPED]; /* stage 2: input addresses where something is */
	uint64_t chunk, chunk_place, chunk_left; /* stage 1: mapped by stage 2, and not yet used */
};

/*
 * Make random tables of stage->config, whose base is set. @stage is filled in except for its memory; if it has a stage 2, that has
 * been built as @stage2. False if there is no space for the top table.
 */
bool build_tables(struct build *build, struct world *world, struct oracle_stage *stage, struct build *stage2);

/* A random address: mostly one that the tables know. */
uint64_t build_address(struct build *build);

#endif
