/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Oracles: a second walker for each format, slow and literal, written from the specification. They share no code with src/pgtable,
 * only the declarations of what goes in and comes out.
 *
 * A format's oracle also says how random tables of it look, so that the property test can make them.
 */
#ifndef TESTS_PGTABLE_ORACLE_H
#define TESTS_PGTABLE_ORACLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pgtable/pgtable.h"

/* Guest-physical memory is [0, size), without the pages of which @absent says 1, if it is not NULL. */
struct oracle_memory {
	uint8_t *bytes;
	uint64_t size;
	const uint8_t *absent; /* by page of 4 KiB */
};

/* False where no memory is. @size is 4 or 8, @address aligned to it. */
bool oracle_read(const struct oracle_memory *memory, uint64_t address, unsigned int size, uint64_t *out);
bool oracle_write(struct oracle_memory *memory, uint64_t address, unsigned int size, uint64_t value);

/* What has been read since it was emptied, in this order; @count goes on when it is full. */
enum { ORACLE_TRACE = 256 };
struct oracle_trace {
	unsigned int count;
	struct oracle_seen {
		uint64_t address;
		uint64_t value;
		unsigned int size;
	} seen[ORACLE_TRACE];
};
extern struct oracle_trace oracle_trace;

/* splitmix64 or the like; one seed, one sequence. */
struct oracle_random {
	uint64_t state;
};

uint64_t oracle_random(struct oracle_random *random);
/* 0 to @limit - 1. */
uint64_t oracle_below(struct oracle_random *random, uint64_t limit);
/* True once in @n. */
bool oracle_once_in(struct oracle_random *random, unsigned int n);

struct oracle_stage {
	const struct oracle_format *format;
	struct pgtable_config config; /* as given to pgtable_init(), base included */
	const struct oracle_stage *stage2; /* or NULL */
	struct oracle_memory *memory;
};

/* The shape of the tables of a config, one half of the addresses. */
struct oracle_geometry {
	unsigned int granule_lg2; /* of the smallest page */
	unsigned int index_lg2; /* address bits of each level */
	unsigned int entry_lg2;
	unsigned int top; /* level of the top table; leaf tables are level 0 */
	unsigned int top_index_lg2; /* address bits of the top table */
	unsigned int table_lg2; /* size, and alignment, of a table that is not the top */
	unsigned int top_table_lg2; /* and of the top table */
	bool present; /* this half exists */
};

enum oracle_entry { ORACLE_TABLE, ORACLE_LEAF };

struct oracle_format {
	const char *name;
	const struct pgtable_format *format;
	unsigned int stage;
	/*
	 * A random config that setup() accepts: widths, levels, flags; base stays 0. @memory_lg2: addresses of memory have at most
	 * so many bits; output widths are at least that.
	 */
	void (*configure)(struct oracle_random *random, unsigned int memory_lg2, struct pgtable_config *config);
	void (*geometry)(const struct pgtable_config *config, unsigned int half, struct oracle_geometry *out);
	/*
	 * A random entry of a table of @level that leads to @target (a table's address, or anything of which the entry takes what
	 * fits a page of this level). Mostly valid and permissive, with random attributes, permissions, accessed and dirty bits,
	 * and sizes (contiguous hints, NAPOT). @next: where tables may skip levels, the level that was chosen; otherwise level - 1.
	 */
	uint64_t (*entry)(struct oracle_random *random, const struct pgtable_config *config, unsigned int half, unsigned int level,
			  enum oracle_entry kind, uint64_t target, unsigned int *next);
	/* Can an entry of @level be a leaf? */
	bool (*may_be_leaf)(const struct pgtable_config *config, unsigned int half, unsigned int level);
	/* An input address of @half whose bits within the half's width are @input: canonical form, TTBR1's upper bits. */
	uint64_t (*address)(const struct pgtable_config *config, unsigned int half, uint64_t input);
	/*
	 * The walk of this stage alone, with stage->stage2 for its tables' addresses. Sets of @out what pgtable.h says; @fetches
	 * counts every entry read, those of stage 2, too. With PGTABLE_QUIET in @flags memory is not written.
	 */
	void (*walk)(const struct oracle_stage *stage, uint64_t address, unsigned int flags, struct pgtable_result *out);
};

extern const struct oracle_format oracle_vtd_first, oracle_vtd_second; /* oracle_vtd.c */
extern const struct oracle_format oracle_arm_s1, oracle_arm_s2; /* oracle_arm.c */
extern const struct oracle_format oracle_amd_v1, oracle_amd_v2; /* oracle_amd.c */
extern const struct oracle_format oracle_riscv_first, oracle_riscv_second; /* oracle_riscv.c */

#endif
