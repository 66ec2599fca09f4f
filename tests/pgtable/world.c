/* SPDX-License-Identifier: BSD-3-Clause */
#include "world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *allocate(size_t size)
{
	void *memory = aligned_alloc(4096, size);

	if (!memory) {
		printf("Bail out! no memory\n");
		exit(1);
	}
	return memset(memory, 0, size);
}

void world_init(struct world *world)
{
	*world = (struct world){.host = allocate(WORLD_SIZE)};
	world->oracle = (struct oracle_memory){.bytes = allocate(WORLD_SIZE), .size = WORLD_SIZE, .absent = world->absent};
}

static void end(struct world *world)
{
	if (world->has_areas)
		areas_fini(&world->areas);
	world->has_areas = false;
	for (unsigned int i = 0; i < world->spot_count; i++)
		world_put(world, world->spots[i].place, world->spots[i].size, 0);
	world->spot_count = 0;
	world->taken = 0;
	memset(world->absent, 0, sizeof(world->absent));
}

void world_fini(struct world *world)
{
	end(world);
	free(world->host);
	free(world->oracle.bytes);
}

/* Cut the memory at random pages, with a small hole behind each piece but the last. */
static void cut(struct world *world, unsigned int count)
{
	uint8_t *host = world->host + WORLD_SIZE;
	uint64_t start = 0;

	world->piece_count = count;
	for (unsigned int i = 0; i < count; i++) {
		uint64_t share = (WORLD_PAGES - start) / (count - i), hole = 1 + oracle_below(&world->random, 3);
		uint64_t length = i + 1 == count ? WORLD_PAGES - start : share / 2 + oracle_below(&world->random, share);

		if (i + 1 < count && start + length + hole > WORLD_PAGES - 8 * (count - i))
			length = share / 2;
		host -= length * 4096;
		world->pieces[i] = (struct world_piece){start * 4096, length * 4096, host};
		start += length;
		if (i + 1 == count)
			break;
		memset(world->absent + start, 1, hole);
		start += hole;
	}
}

/* One piece in the middle. */
static void cut_middle(struct world *world)
{
	uint64_t first = oracle_below(&world->random, WORLD_PAGES / 4),
		 length = WORLD_PAGES / 2 + oracle_below(&world->random, WORLD_PAGES / 4);

	world->piece_count = 1;
	world->pieces[0] = (struct world_piece){first * 4096, length * 4096, world->host};
	memset(world->absent, 1, sizeof(world->absent));
	memset(world->absent + first, 0, length);
	world->taken = first * 4096;
}

static void add_area(struct world *world, const struct world_piece *piece)
{
	struct area *area = areas_alloc(&world->areas);

	area->start = piece->start;
	area->last = piece->start + piece->length - 1;
	area->host = piece->host;
	area->access = UIOMMU_READ | UIOMMU_WRITE;
	area->resident = true;
	areas_insert(&world->areas, area);
}

void world_begin(struct world *world, enum world_shape shape, uint64_t seed)
{
	const struct world_piece *window = NULL;

	end(world);
	world->random.state = seed;
	if (shape == WORLD_MIDDLE)
		cut_middle(world);
	else
		cut(world, shape == WORLD_WINDOW ? 1 : 3 + (unsigned int)oracle_below(&world->random, WORLD_PIECES - 2));
	world->walker = (struct pgtable_memory){.areas = NULL};
	if (shape != WORLD_AREAS)
		window = &world->pieces[oracle_below(&world->random, world->piece_count)];
	if (window)
		world->walker.window = (struct pgtable_window){window->start, window->length, window->host, true};
	if (shape == WORLD_WINDOW || shape == WORLD_MIDDLE)
		return;
	world->has_areas = true;
	areas_init(&world->areas);
	world->walker.areas = &world->areas;
	for (unsigned int i = 0; i < world->piece_count; i++)
		add_area(world, &world->pieces[i]);
}

static bool has_hole(const struct world *world, uint64_t first, uint64_t length)
{
	for (uint64_t page = first >> 12; page <= (first + length - 1) >> 12; page++)
		if (world->absent[page])
			return true;
	return false;
}

uint64_t world_take(struct world *world, unsigned int lg2)
{
	uint64_t size = UINT64_C(1) << lg2;

	for (;;) {
		uint64_t first = (world->taken + size - 1) & ~(size - 1);

		if (first + size > WORLD_SIZE)
			return WORLD_NOWHERE;
		world->taken = first + size;
		if (!has_hole(world, first, size) || oracle_once_in(&world->random, 20))
			return first;
	}
}

/* Where the walkers have it. */
static uint8_t *host_of(const struct world *world, uint64_t place)
{
	for (unsigned int i = 0; i < world->piece_count; i++)
		if (place - world->pieces[i].start < world->pieces[i].length)
			return world->pieces[i].host + (place - world->pieces[i].start);
	return NULL;
}

void world_put(struct world *world, uint64_t place, unsigned int size, uint64_t value)
{
	uint8_t *host = host_of(world, place);

	if (!host)
		return;
	memcpy(host, &value, size);
	memcpy(world->oracle.bytes + place, &value, size);
	if (world->spot_count < WORLD_SPOTS && value)
		world->spots[world->spot_count++] = (struct world_spot){place, (uint8_t)size};
}

uint64_t world_get(const struct world *world, uint64_t place, unsigned int size)
{
	uint64_t value = 0;

	memcpy(&value, world->oracle.bytes + place, size);
	return value;
}

bool world_same_at(const struct world *world, uint64_t place, unsigned int size)
{
	const uint8_t *host = host_of(world, place);

	return !host || !memcmp(host, world->oracle.bytes + place, size);
}

bool world_same(const struct world *world, uint64_t *where)
{
	for (unsigned int i = 0; i < world->piece_count; i++) {
		const struct world_piece *piece = &world->pieces[i];
		const uint8_t *other = world->oracle.bytes + piece->start;

		if (!memcmp(piece->host, other, piece->length))
			continue;
		for (uint64_t at = 0; at < piece->length; at++) {
			*where = piece->start + at;
			if (piece->host[at] != other[at])
				return false;
		}
	}
	return true;
}

static void damage(struct world *world, const struct world_spot *spot)
{
	uint64_t value = world_get(world, spot->place, spot->size);

	if (oracle_once_in(&world->random, 8))
		value = oracle_random(&world->random);
	else
		value ^= UINT64_C(1) << oracle_below(&world->random, spot->size * 8);
	world_put(world, spot->place, spot->size, value);
}

void world_damage(struct world *world, unsigned int once_in)
{
	for (unsigned int i = 0, count = world->spot_count; i < count; i++)
		if (oracle_once_in(&world->random, once_in))
			damage(world, &world->spots[i]);
}

void world_damage_one(struct world *world)
{
	struct world_spot spot;

	if (!world->spot_count)
		return;
	spot = world->spots[oracle_below(&world->random, world->spot_count)];
	damage(world, &spot);
}
