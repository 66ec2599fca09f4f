/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The ring between one submitter and one engine, in memory that both map. Neither side trusts the other: each keeps its own
 * position privately, copies what the other wrote once, and bounds it. docs/accel.md, "Ring", is the specification.
 *
 * There is no shared tail. A slot says itself that it has been written: 15 bits of the descriptor's reserved field carry the number
 * of the lap. So a descriptor costs the transfer of one cache line, and an engine that polls looks at the next slot only. What one
 * side writes in the header lies in lines that the other side only reads, 128 bytes apart because processors fetch lines in pairs.
 *
 * Wake-up is Dekker's algorithm. The submitter publishes a slot, then looks at NEED_WAKEUP; the engine sets NEED_WAKEUP, then
 * looks at the slot. A full fence between the two steps on each side makes sure that at least one sees the other.
 */
#ifndef ACCEL_RING_H
#define ACCEL_RING_H

#include <stdbool.h>
#include <stddef.h>
#include <uiommu/accel.h>

#include "util/util.h"

#define RING_MAGIC UINT32_C(0x55494f52)

enum {
	RING_VERSION = 1,
	RING_ENTRIES_MIN = 2,
	RING_ENTRIES_MAX = 4096,
	RING_HEADER_SIZE = 4096, /* on every page size */
};

/* Bits of ring_header.state. The engine sets them; the submitter may clear NEED_WAKEUP when it is going to wake the engine. */
enum {
	RING_NEED_WAKEUP = 1,
	RING_ENDED = 2,
};

struct ring_header {
	/* Written by the maker before the other side sees the memory. */
	uint32_t magic;
	uint32_t version;
	uint32_t entries;
	uint32_t flags; /* enum uiommu_queue_flags */
	uint8_t pad0[112];

	/* The submitter's. */
	uint32_t error_taken; /* records it has read */
	uint8_t pad1[124];

	/* The engine's: how far slots may be used again. Positions run freely; the slot is the position modulo entries. */
	uint32_t head;
	uint8_t pad2[124];

	/* Apart from head, so that a submitter that looks here for each descriptor finds the line in its cache. */
	uint32_t state;
	uint8_t pad3[124];

	/* The engine's: software errors. One record at a time: the next is posted when error_taken has caught up. */
	uint64_t error_count;
	uint32_t error_posted;
	uint8_t error_code;
	uint8_t error_opcode;
	uint8_t error_status;
	uint8_t error_pad;
	uint64_t error_address;
	uint32_t error_pasid;
	uint8_t pad4[RING_HEADER_SIZE - 540];
};

_Static_assert(offsetof(struct ring_header, error_taken) == 128, "submitter's line");
_Static_assert(offsetof(struct ring_header, head) == 256, "engine's line");
_Static_assert(offsetof(struct ring_header, state) == 384, "wake-up line");
_Static_assert(offsetof(struct ring_header, error_count) == 512, "error line");
_Static_assert(sizeof(struct ring_header) == RING_HEADER_SIZE, "header");
_Static_assert(sizeof(struct uiommu_accel_desc) == 64, "slot");

enum {
	RING_WORDS = sizeof(struct uiommu_accel_desc) / sizeof(uint64_t),
	RING_TAG_WORD = offsetof(struct uiommu_accel_desc, reserved) / sizeof(uint64_t),
	RING_TAG_SHIFT = 48,
};

#define RING_TAG UINT64_C(0x7fff) /* the lap */
#define RING_TAG_RESERVED UINT64_C(0x8000) /* the descriptor's reserved field was not 0 */

_Static_assert(offsetof(struct uiommu_accel_desc, reserved) % sizeof(uint64_t) * 8 == RING_TAG_SHIFT, "the tag is the field");

/* The submitter's private view. */
struct ring_submitter {
	struct ring_header *header;
	uint32_t entries;
	uint32_t tail;
	uint32_t head; /* as last read; only ever too low */
	uint32_t error_taken;
};

/* The engine's private view. */
struct ring_engine {
	struct ring_header *header;
	uint32_t entries;
	uint32_t head;
	bool armed; /* NEED_WAKEUP may be set */
};

bool ring_entries_valid(uint32_t entries);

/* Bytes of the memory, in whole pages. */
size_t ring_size(uint32_t entries);

/* A new ring in memory that only this process maps (and its fork children do not have). NULL: -ENOMEM. */
struct ring_header *ring_create(uint32_t entries, uint32_t flags);

/* A new ring in a memfd, sealed against resizing: the descriptor, or -EMFILE, -ENOMEM. */
int ring_create_memfd(uint32_t entries, uint32_t flags);

/* Map a ring received from elsewhere. -EINVAL if it is not one of @entries, or not sealed against shrinking; -ENOMEM. */
int ring_map(int fd, uint32_t entries, struct ring_header **out);

void ring_unmap(struct ring_header *header, uint32_t entries);

/* A slot as the words that it is copied in. */
static inline uint64_t *ring_slot(struct ring_header *header, uint32_t entries, uint32_t position)
{
	return (uint64_t *)((char *)header + RING_HEADER_SIZE) + (size_t)(position & (entries - 1)) * RING_WORDS;
}

/* What the slot of @position carries: never what it carried a lap before, and not 0 in the first lap. */
static inline uint64_t ring_tag(uint32_t entries, uint32_t position)
{
	return ((position >> __builtin_ctz(entries)) + 1) & RING_TAG;
}

/* --- submitter --- */

void ring_submitter_init(struct ring_submitter *ring, struct ring_header *header, uint32_t entries);

/* Not full; the next descriptor goes into the slot of ring->tail. */
bool ring_has_room(struct ring_submitter *ring);

/* 0; 1: and wake the engine; -EAGAIN: full; -EPIPE: ended. */
int ring_submit(struct ring_submitter *ring, const struct uiommu_accel_desc *desc);

bool ring_ended(const struct ring_header *header);

/* Take the software error; error->code is 0 if there is none. */
void ring_error_take(struct ring_submitter *ring, struct uiommu_accel_error *error);

/* --- engine --- */

void ring_engine_init(struct ring_engine *ring, struct ring_header *header, uint32_t entries);

/* Has the @index-th slot from the head on been written? */
static inline bool ring_ready(const struct ring_engine *ring, uint32_t index)
{
	uint32_t position = ring->head + index;
	const uint64_t *slot = ring_slot(ring->header, ring->entries, position);
	/* Pairs with the release in ring_submit(): the other words are there. */
	uint64_t tag = __atomic_load_n(&slot[RING_TAG_WORD], __ATOMIC_ACQUIRE) >> RING_TAG_SHIFT;

	return (tag & RING_TAG) == ring_tag(ring->entries, position);
}

/* Copy the @index-th descriptor, once, whatever the submitter does meanwhile. */
static inline void ring_copy(const struct ring_engine *ring, uint32_t index, struct uiommu_accel_desc *out)
{
	const uint64_t *from = ring_slot(ring->header, ring->entries, ring->head + index);
	uint64_t *to = (uint64_t *)out;

	/* Atomic, so that no compiler reads twice. */
	for (unsigned int i = 0; i < RING_WORDS; i++)
		to[i] = __atomic_load_n(&from[i], __ATOMIC_RELAXED);
	out->reserved &= (uint16_t)RING_TAG_RESERVED;
}

/* @count descriptors were copied; their slots may be used again. */
static inline void ring_release(struct ring_engine *ring, uint32_t count)
{
	ring->head += count;
	/* Release: our loads of the slots are done before the submitter may write them again. */
	__atomic_store_n(&ring->header->head, ring->head, __ATOMIC_RELEASE);
}

/* Ask to be woken; false if a descriptor waits already. */
bool ring_arm(struct ring_engine *ring);
void ring_disarm(struct ring_engine *ring);

/* The ring is over: the submitter gets EPIPE. */
void ring_end(struct ring_header *header);

/* Count a software error and post it if the submitter has taken the last one. @error->count is not looked at. */
void ring_error_post(struct ring_header *header, const struct uiommu_accel_error *error);

#endif
