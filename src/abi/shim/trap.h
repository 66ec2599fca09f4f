/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Mappings of registers. There is no memory behind them that could tell a read, or how often something was written: nobody may
 * access their pages, each access is a signal, and what the instruction does is done by calls (insn.h).
 */
#ifndef SHIM_TRAP_H
#define SHIM_TRAP_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "abi/session/protocol.h"

/* This processor's instructions are known here. */
#if defined(__x86_64__)
enum { TRAPS = SESSION_TRAPS };
#else
enum { TRAPS = 0 };
#endif

/* As mmap(2) of @fd, which is @file, at @offset: an address, or -errno. */
long trap_map(void *address, size_t length, int protection, int flags, int fd, const struct session_key *file, uint64_t offset);

struct trap_spare {
	struct trap *place;
	int fd;
};

struct trap_cut {
	uint64_t start, end;
	struct trap_spare spare;
};

/*
 * Before and after a call that puts something else, or nothing, where registers may be mapped. 0, or -ENOMEM: there would be too
 * many parts; then there is no end. @unmapped: the call was made and has done it.
 */
int trap_unmap_begin(struct trap_cut *cut, uint64_t address, size_t length);
void trap_unmap_end(struct trap_cut *cut, bool unmapped);

/* A signal's handler: was it such an access, which has been done? */
bool trap_signal(int signal, const siginfo_t *info, void *context);

#endif
