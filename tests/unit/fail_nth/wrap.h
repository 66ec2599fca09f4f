/* SPDX-License-Identifier: BSD-3-Clause */
/* One call for memory, a descriptor or a thread fails, of whatever thread it is; and what is handed out is counted. */
#ifndef WRAP_H
#define WRAP_H

#include <stdbool.h>

/* Counts down to the call that fails; 0 or less: none does. */
extern _Atomic int fail_at;
extern _Atomic bool failed; /* one has */
extern _Atomic long live_blocks, live_maps;

#endif
