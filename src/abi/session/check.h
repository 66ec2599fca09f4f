/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * `uiommu run --check`: what a device with pinned pages would see otherwise. A program's memory that is mapped for DMA is watched
 * for as long as it is: when it goes (munmap and its like) a line says so, and another one when a device uses what has come in its
 * place, or finds nothing.
 *
 * It is the kernel that tells, by one userfaultfd for each program; of what goes from files it is the shim. What it does not tell
 * is seen where a device meets it: another file's page, or an access that is refused. Memory of which neither can be known is named
 * once, when it is mapped.
 */
#ifndef SESSION_CHECK_H
#define SESSION_CHECK_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct abi_memory;
struct member;
struct session;
struct session_request;

enum check_end {
	CHECK_UNMAPPED, /* munmap, mmap, brk */
	CHECK_MOVED, /* mremap */
	CHECK_DISCARDED, /* madvise */
	CHECK_CUT_OFF, /* from its file: ftruncate and the like */
	CHECK_CUT_OUT, /* of its file: fallocate, madvise */
};

/* From now on, before anything is mapped. @memory owns what is made. -ENOMEM. */
int check_begin(struct session *session, struct abi_memory *memory, pid_t pid);

/*
 * The program's userfaultfd, which stays the caller's until check_end_watch() has returned; or why there is none, -errno. Nothing
 * is mapped yet.
 */
void check_watch(struct abi_memory *memory, int fd);
void check_end_watch(struct abi_memory *memory);

/* What @member's call has mapped is watched before it returns; and what others have, unless that takes longer. */
void check_settle(struct session *session, const struct member *member);

/* It has gone, or is about to. */
void check_gone(struct abi_memory *memory, uint64_t start, uint64_t end, enum check_end how);

/* @member has taken pages out of a file (SESSION_CUT), whoever has them mapped. */
void check_cut(struct session *session, const struct member *member, const struct session_request *request);

/* The program wants to watch it itself. */
void check_leave(struct abi_memory *memory, uint64_t start, uint64_t length);

/* Whether @memory has anything to settle that nobody settles just now. */
bool check_has_work(const struct abi_memory *memory);

#endif
