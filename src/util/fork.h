/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Is this still the process that made an object, or a fork child of it? Told without a system call by a page that the kernel
 * empties in children (MADV_WIPEONFORK): it holds the process's token, which no child has.
 */
#ifndef UTIL_FORK_H
#define UTIL_FORK_H

#include <stdbool.h>
#include <stdint.h>

extern uint32_t *fork_page;

/* This process's token, never 0. -ENOMEM. */
int fork_token(uint32_t *out);

/* @token was handed out, so the page exists. */
static inline bool fork_is_owner(uint32_t token)
{
	return __atomic_load_n(__atomic_load_n(&fork_page, __ATOMIC_RELAXED), __ATOMIC_RELAXED) == token;
}

#endif
