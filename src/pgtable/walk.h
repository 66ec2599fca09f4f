/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The one walker of page tables. A format's file describes itself in a const struct pgtable_shape and makes instances with
 * PGTABLE_WALKERS(); everything is inlined into them, and so are the functions of the shape, because the shape is a constant
 * there. So a flat walker has no call at all, and no branch on the format. Tables whose number of levels is the usual one have
 * instances of their own, where every shift is a constant; whatever those do not like, others walk again from the start.
 *
 * A walk goes from table to table; levels fall with each, so it ends. An entry is read once, and decided upon as it was read. If it
 * has to be changed (accessed, dirty), that is a compare-and-swap, and whoever loses decides again on what is there now.
 */
#ifndef PGTABLE_WALK_H
#define PGTABLE_WALK_H

#include "pgtable/walk_quick.h"

/* From the usual top table; @others are for what is not usual. */
#define PGTABLE_WALKER_USUAL(name, others, shape, where)                                                                           \
	static uint64_t name##_usual(const struct pgtable *pgtable, uint64_t address, unsigned int flags,                          \
				     struct pgtable_result *out)                                                                   \
	{                                                                                                                          \
		if (unlikely((address + ((shape).canonical ? pgtable->sign : 0)) & pgtable->beyond))                               \
			return others##_any(pgtable, address, flags, out);                                                         \
		if (likely(pgtable_walk_usually(&(shape), where, pgtable, address, flags, out)))                                   \
			return out->oa;                                                                                            \
		return others##_carefully(pgtable, address, flags, out);                                                           \
	}

#define PGTABLE_WALKER_CAREFUL(name, shape, where)                                                                                 \
	static __attribute__((noinline))                                                                                           \
	uint64_t name##_carefully(const struct pgtable *pgtable, uint64_t address, unsigned int flags, struct pgtable_result *out) \
	{                                                                                                                          \
		pgtable_walk_carefully(&(shape), where, pgtable, address, flags, NULL, out);                                       \
		return out->reason ? 0 : out->oa;                                                                                  \
	}

#define PGTABLE_WALKER(name, shape, where)                                                                                         \
	PGTABLE_WALKER_CAREFUL(name, shape, where)                                                                                 \
	static __attribute__((noinline))                                                                                           \
	uint64_t name##_any(const struct pgtable *pgtable, uint64_t address, unsigned int flags, struct pgtable_result *out)       \
	{                                                                                                                          \
		if (likely(pgtable_walk_quickly(&(shape), where, pgtable, address, flags, out)))                                   \
			return out->oa;                                                                                            \
		return name##_carefully(pgtable, address, flags, out);                                                             \
	}                                                                                                                          \
	PGTABLE_WALKER_USUAL(name, name, shape, where)

/* From a step. */
#define PGTABLE_WALKER_FROM(name, shape, where)                                                                                    \
	static __attribute__((noinline)) uint64_t name##_on(const struct pgtable *pgtable, uint64_t address, unsigned int flags,   \
							    struct pgtable_path *path, struct pgtable_result *out)                 \
	{                                                                                                                          \
		pgtable_walk_on_carefully(&(shape), where, pgtable, address, flags, path, out);                                    \
		return out->reason ? 0 : out->oa;                                                                                  \
	}                                                                                                                          \
	static __attribute__((noinline)) uint64_t name##_from(const struct pgtable *pgtable, uint64_t address, unsigned int flags, \
							      struct pgtable_path *path, struct pgtable_result *out)               \
	{                                                                                                                          \
		if (likely(pgtable_walk_on(&(shape), where, pgtable, address, flags, path, out)))                                  \
			return out->oa;                                                                                            \
		return name##_on(pgtable, address, flags, path, out);                                                              \
	}

/* struct pgtable_walkers @name, of shape @of. */
#define PGTABLE_WALKERS(name, of)                                                                                                  \
	PGTABLE_WALKER(name##_flat, of, PGTABLE_FLAT)                                                                              \
	PGTABLE_WALKER(name##_guest, of, PGTABLE_GUEST)                                                                            \
	PGTABLE_WALKER(name##_nested, of, PGTABLE_NESTED)                                                                          \
	PGTABLE_WALKER_CAREFUL(name##_traced, of, PGTABLE_TRACED)                                                                  \
	PGTABLE_WALKER_USUAL(name##_paired, name##_nested, of, PGTABLE_PAIRED)                                                     \
	static uintptr_t name##_flat_reach(const struct pgtable *pgtable, uint64_t address)                                        \
	{                                                                                                                          \
		return pgtable_reach_usually(&(of), pgtable, address);                                                             \
	}                                                                                                                          \
	PGTABLE_WALKER_FROM(name##_guest, of, PGTABLE_GUEST)                                                                       \
	PGTABLE_WALKER_FROM(name##_nested, of, PGTABLE_NESTED)                                                                     \
	static const struct pgtable_walkers name = {                                                                               \
		.shape = &(of),                                                                                                    \
		.usual = {name##_flat_usual, name##_guest_usual, name##_nested_usual, name##_paired_usual},                        \
		.any = {name##_flat_any, name##_guest_any, name##_nested_any, NULL, name##_traced_carefully},                      \
		.from = {NULL, name##_guest_from, name##_nested_from},                                                             \
		.reach = name##_flat_reach,                                                                                        \
	};

#endif
