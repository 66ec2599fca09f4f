/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Fix-ups: which instructions may trap, and where to go on when one does.
 *
 * Every instruction of copy.c and load.h that touches memory of others' choosing has an entry in the section "uiommu_fixup": the
 * range of program counters, the landing, and what the instruction does. Offsets are relative to their own place in the table, so
 * that the table needs no relocation and stays read-only. The signal handler puts the TRAP_ flags into one fixed register (each
 * architecture names it) and continues at the landing, as if the instruction had jumped there. The registers are those of the trap,
 * so the landing knows how far the routine came.
 */
#ifndef MEMORY_FIXUP_H
#define MEMORY_FIXUP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum fixup_kind {
	FIXUP_LOAD = 0,
	FIXUP_STORE = 1,
	FIXUP_EITHER = 2, /* one instruction that loads and stores: the processor's error code tells */
};

struct fixup {
	int32_t start;
	int32_t end; /* one past the last byte of code */
	int32_t landing;
	uint32_t kind;
};

/* The linker makes these for a section whose name is a C identifier. */
extern const struct fixup __start_uiommu_fixup[] __attribute__((visibility("hidden")));
extern const struct fixup __stop_uiommu_fixup[] __attribute__((visibility("hidden")));

static inline uintptr_t fixup_address(const int32_t *offset)
{
	return (uintptr_t)offset + (uintptr_t)(intptr_t)*offset;
}

/* NULL: the instruction there has none. */
static inline const struct fixup *fixup_find(uintptr_t pc)
{
	for (const struct fixup *fixup = __start_uiommu_fixup; fixup < __stop_uiommu_fixup; fixup++)
		if (pc >= fixup_address(&fixup->start) && pc < fixup_address(&fixup->end))
			return fixup;
	return NULL;
}

enum {
	TRAP = 1,
	TRAP_STORE = 2,
	TRAP_UNMAPPED = 4,
	TRAP_BUS = 8,
};

#define FIXUP_STRING_(x) #x
#define FIXUP_STRING(x) FIXUP_STRING_(x)

/* In an asm statement: [start, end) traps to landing; the three are local labels, kind is a number. */
#define FIXUP(start, end, landing, kind)                                                                                           \
	".pushsection uiommu_fixup, \"a\"\n"                                                                                       \
	".balign 4\n"                                                                                                              \
	".long " start " - .\n"                                                                                                    \
	".long " end " - .\n"                                                                                                      \
	".long " landing " - .\n"                                                                                                  \
	".long " FIXUP_STRING(kind) "\n"                                                                                           \
				    ".popsection\n"

#define FIXUP_ON_LOAD(start, end, landing) FIXUP(start, end, landing, 0)
#define FIXUP_ON_STORE(start, end, landing) FIXUP(start, end, landing, 1)
#define FIXUP_ON_EITHER(start, end, landing) FIXUP(start, end, landing, 2)

#endif
