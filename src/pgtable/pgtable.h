/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Page tables: one stage of translation, in the format of its architecture.
 *
 * A *format* is a const description and a few functions (a file each); the one walker of walk.h is specialised with it by the
 * compiler. A *pgtable* is a table of that format at run time: where its root is, how wide addresses are, what is enabled, and in
 * which memory its tables lie. That memory is addressed by what the entries hold: own memory by pointer, guest RAM by
 * guest-physical address, or the input of another stage, the stage 2.
 *
 * Words: level 0 is the table whose entries map the smallest pages; OA is the output address; _lg2 marks powers of two.
 *
 * All functions may run on any number of threads, in an RCU read section if the memory has areas. They take no lock and allocate
 * nothing.
 */
#ifndef PGTABLE_PGTABLE_H
#define PGTABLE_PGTABLE_H

#include <stdbool.h>
#include <stdint.h>
#include <uiommu/types.h>

struct areas;
struct pgtable;
struct pgtable_shape;

/* Flags of a walk, beside enum uiommu_access. No access at all: what would be permitted? */
enum {
	PGTABLE_USER = 0x10, /* not privileged */
	PGTABLE_QUIET = 0x20, /* a debugger's or checker's walk: sets no accessed or dirty bit */
};

/* What a walk found. After a fault @reason is set, and only what is said to be. */
struct pgtable_result {
	uint64_t oa; /* of the byte asked for */
	uint64_t ipa; /* fault in stage 2: its input address; ABSENT: what is, in the memory that is left */
	union {
		struct {
			uint8_t access; /* what may be done there with this privilege, enum uiommu_access */
			uint8_t page_lg2; /* input and output addresses run in parallel inside a naturally aligned block of this
					     size */
			uint8_t level; /* where the walk ended; also after a fault. For a table of stage 1: of that, and @page_lg2
					  is where stage 2 ended */
			uint8_t fetches; /* entries read, of all stages; also after a fault. At most 255 are counted */
			bool clean; /* a write needs a walk of its own first, which sets the dirty bit; fault of stage 2: an entry
				       of stage 1 was to be changed */
			uint8_t reason; /* enum uiommu_fault_reason */
			uint8_t stage; /* fault: 1 or 2 */
			bool table; /* fault: while a table entry was to be read or updated, not for the data */
		};
		uint64_t word; /* all of these, @access lowest */
	};
	uint32_t attributes; /* memory type and the like, as the leaf entry has it: format specific */
};

/* Some memory that is mapped here: [first, first + length) of the addresses in question. */
struct pgtable_window {
	uint64_t first;
	uint64_t length;
	uint8_t *host; /* of @first */
	bool writable;
};

/* An entry that a traced walk has read: of a page table, or of a device or PASID table (translate/tables). */
struct pgtable_seen {
	uint64_t address; /* before stage 2, if that translates it */
	const uint64_t *words; /* one, of a page table */
	unsigned int count;
	uint8_t stage; /* 0: of no page table */
	uint8_t level;
	uint8_t structure; /* enum uiommu_structure */
};

/* Who is told, in the order of the reads: those of stage 2 for a table come before the one that it was for. */
struct pgtable_trace {
	void (*seen)(struct pgtable_trace *trace, const struct pgtable_seen *seen);
};

/* Where tables are, and what output addresses mean. */
struct pgtable_memory {
	struct pgtable_window window; /* without areas: all there is */
	const struct areas *areas; /* the areas of guest RAM, or NULL; tables elsewhere: memory/distant.h */
	const struct pgtable *stage2; /* translates the addresses before all that, or NULL */
	struct pgtable_trace *trace; /* of one walk at a time, by walkers that take their time; or NULL */
};

/* Where @size bytes are mapped, to be read, or NULL and *@reason. Stage 2 has translated @address, if there is one. */
const uint8_t *pgtable_find(const struct pgtable_memory *memory, uint64_t address, uint64_t size, unsigned int *reason);

/*
 * Sets every member of @out that is defined for its outcome. The result is out->oa, if there is no fault: who goes on with it at
 * once need not wait for it to be written and read.
 */
typedef uint64_t pgtable_walk_fn(const struct pgtable *pgtable, uint64_t address, unsigned int flags, struct pgtable_result *out);

/*
 * Where the walk of one block of input addresses may begin below the top table: at its entries in the table that serves it, which
 * are behind stage 2. So it reads none of what led there, and walks no stage 2 to find them. All that was to be set there has been.
 */
struct pgtable_step {
	uint64_t entries; /* of the block's first address; aligned to 4 KiB */
	uint8_t block_lg2; /* 0: the top table, and the rest means nothing */
	uint8_t above; /* what the entries that led there say of permissions, and PGTABLE_CHANGES; at most PGTABLE_ABOVE_LG2 bits */
};

enum { PGTABLE_STEPS = 3, PGTABLE_ABOVE_LG2 = 5, PGTABLE_CHANGES = 0x10 /* its entries may be changed, for all stage 2 says */ };

/* Where a walk begins, and what it came through: the tables of the lowest levels, unless it began there. */
struct pgtable_path {
	struct pgtable_step start;
	unsigned int noted; /* bit n: step[n]. If the walk ends without a fault. */
	struct pgtable_step step[PGTABLE_STEPS]; /* by level */
};

/*
 * The same, from path->start. If it cannot be done from there, it is walked from the top: no fault comes from what is cached. Not
 * for PGTABLE_QUIET, which leaves things to be set.
 */
typedef uint64_t pgtable_walk_from_fn(const struct pgtable *pgtable, uint64_t address, unsigned int flags,
				      struct pgtable_path *path, struct pgtable_result *out);

/*
 * What a register, context entry or nested HWPT says of a table. Which members mean something, and their ranges, is said in the
 * format's file; all others are 0.
 */
struct pgtable_config {
	uint64_t base[2]; /* of the top table; [1]: of the upper half of the addresses, where the two differ (TTBR1) */
	uint8_t input_lg2[2]; /* widths of input addresses */
	uint8_t granule_lg2[2]; /* smallest page */
	uint8_t levels; /* of the table */
	uint8_t output_lg2; /* width of output addresses, those of tables, too */
	uint32_t flags; /* the format's own */
	uint64_t attributes; /* what entries refer to by index (MAIR, PAT): kept, not interpreted */
};

/* Where tables are; each has walkers of its own. */
enum pgtable_where {
	PGTABLE_FLAT, /* in the window */
	PGTABLE_GUEST, /* in areas */
	PGTABLE_NESTED, /* behind stage 2, in either */
	PGTABLE_PAIRED, /* behind stage 2, and the tables of both in one window: only usual walkers */
	PGTABLE_TRACED, /* anywhere: only walkers that take care */
	PGTABLE_WHERES,
};

/*
 * Where a stage 2 leads who reads an entry of a table behind it: the entry's host address, plus the level of the leaf that said so;
 * or PGTABLE_REACHES_NOT, if only a walk can say. Entries are aligned to more than PGTABLE_REACHED.
 */
typedef uintptr_t pgtable_reach_fn(const struct pgtable *pgtable, uint64_t address);

enum { PGTABLE_REACHED = 3, PGTABLE_REACHES_NOT = 3 };

/* Walkers of one shape of tables (walk.h). */
struct pgtable_walkers {
	const struct pgtable_shape *shape;
	pgtable_walk_fn *usual[PGTABLE_WHERES]; /* the top table is at the shape's usual level; flat: it is in the window */
	pgtable_walk_fn *any[PGTABLE_WHERES];
	pgtable_walk_from_fn *from[PGTABLE_WHERES]; /* flat: NULL, all is near anyway */
	pgtable_reach_fn *reach; /* beside usual[PGTABLE_FLAT], if the shape is readable */
};

/* Formats are named by pointers to these. */
struct pgtable_format {
	const char *name;
	uint8_t stage; /* 1 or 2 */
	/*
	 * Fill in what walks need from pgtable->config, which has been set: top[], and what the format uses. 0, -EINVAL
	 * (a value that the specification does not define), -EOPNOTSUPP (one that is not offered).
	 */
	int (*setup)(struct pgtable *pgtable);
	const struct pgtable_walkers *walkers; /* unless setup() chooses others */
};

/*
 * What nearly every entry above the leaves is like: (entry & mask) == value says that it leads to the table at entry & address one
 * level down, with nothing to check or to change. Others are decoded with all care.
 */
struct pgtable_plain {
	uint64_t mask;
	uint64_t value;
	uint64_t address;
};

enum { PGTABLE_LEVELS = 6, PGTABLE_PLAIN_LEAVES = 3 };

_Static_assert((int)PGTABLE_PLAIN_LEAVES <= (int)PGTABLE_REACHES_NOT, "levels of leaves");

struct pgtable {
	pgtable_walk_fn *walk;
	pgtable_walk_from_fn *from; /* or NULL */
	pgtable_reach_fn *reach; /* or NULL */
	uint64_t beyond; /* bits of input addresses that have to be 0, after the addition of */
	uint64_t sign; /* what makes canonical addresses be so */
	uint64_t usual_root; /* usual walkers: address of the top table; flat: mapped here */
	uint64_t usual_offsets; /* bits of the offset in that table */
	uintptr_t near; /* where address 0 would be mapped if the window had it */
	struct pgtable_plain plain; /* mask 0 and value 1: none is */
	struct pgtable_plain
		leaf[PGTABLE_PLAIN_LEAVES]; /* the same of leaves, by level: there is nothing to check but permissions */
	struct pgtable_plain read[PGTABLE_PLAIN_LEAVES]; /* reach: of leaves that lead into the window, and may be clean */
	uint64_t exactly; /* flat: entries that have plain.value there, so 0 elsewhere but for the address, are plain */
	uintptr_t beside; /* near, less what plain.value makes of an address */
	uint64_t dirty; /* leaves with these bits upside down have to be changed for a write, but are plain for all else */
	uint64_t keep; /* the format's own */
	uint64_t copy;
	uint8_t permits[2][8];
	uint64_t reserved[PGTABLE_LEVELS]; /* if the format likes: bits that have to be 0 in a leaf, by level */
	uint8_t top[2]; /* level of the top table */
	bool unusual; /* base[0] has to be looked at first */
	const struct pgtable_walkers *walkers;
	const struct pgtable_format *format;
	struct pgtable_memory memory;
	struct pgtable_config config;
};

/* Errors are the format's. @config and @memory are copied; what @memory points to has to stay. */
int pgtable_init(struct pgtable *pgtable, const struct pgtable_format *format, const struct pgtable_config *config,
		 const struct pgtable_memory *memory);

/*
 * Translate all the way: @pgtable, then the stage 2 that its memory has. The result's permissions, size and so on are those of both
 * together; @oa is in the memory that is left then.
 */
void pgtable_translate(const struct pgtable *pgtable, uint64_t address, unsigned int flags, struct pgtable_result *out);

/* What @stage2 makes of @first, which is the result of the stage before it and no fault. */
void pgtable_compose(const struct pgtable *stage2, const struct pgtable_result *first, unsigned int flags,
		     struct pgtable_result *out);

/*
 * The walk of a pgtable that has a stage 2 and is itself the stage 2 of another one: for that one, all the way (to be set after
 * pgtable_init()).
 */
pgtable_walk_fn pgtable_walk_through;

extern const struct pgtable_format pgtable_vtd_first; /* vtd_first.c */
extern const struct pgtable_format pgtable_vtd_second; /* vtd_second.c */
extern const struct pgtable_format pgtable_arm_s1; /* arm_s1.c */
extern const struct pgtable_format pgtable_arm_s2; /* arm_s2.c */
extern const struct pgtable_format pgtable_amd_v1; /* amd_v1.c */
extern const struct pgtable_format pgtable_amd_v2; /* amd_v2.c */
extern const struct pgtable_format pgtable_riscv_first; /* riscv_first.c */
extern const struct pgtable_format pgtable_riscv_second; /* riscv_second.c */

#endif
