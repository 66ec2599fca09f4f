/* SPDX-License-Identifier: BSD-3-Clause */
/* Userfaultfds for the session. */
#ifndef SHIM_WATCH_H
#define SHIM_WATCH_H

#include <stdint.h>

struct session_key;

/* What is mapped at @address is a mapping of @file at @offset, and the session wants to know of writes to it. */
void watch_mapping(const struct session_key *file, uint64_t offset, uint64_t address, uint64_t length);

/* It is mapped for DMA now, and the session wants to know when it goes. */
void watch_memory(uint64_t address, uint64_t length);

#endif
