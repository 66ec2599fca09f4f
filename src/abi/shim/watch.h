/* SPDX-License-Identifier: BSD-3-Clause */
/* Userfaultfds for the session. */
#ifndef SHIM_WATCH_H
#define SHIM_WATCH_H

#include <stdbool.h>
#include <stdint.h>

struct session_key;

/* A userfaultfd of this process with @features, or -errno. */
int watch_make(uint64_t features);

/* What is mapped at @address is a mapping of @file at @offset, and the session wants to know of writes to it. */
void watch_mapping(const struct session_key *file, uint64_t offset, uint64_t address, uint64_t length);

/* The struct uffdio_register at @argument, which the kernel has just read, is to be the program's. False: it will not be. */
bool watch_leave(uint64_t argument);

#endif
