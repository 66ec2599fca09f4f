/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef CLI_RUN_H
#define CLI_RUN_H

#include "abi/session/session.h"
#include "cli/cli.h"

enum run_kind {
	RUN_PRELOADED, /* or it cannot be told */
	RUN_STOPPED, /* an ELF program without an interpreter: nothing can be preloaded */
	RUN_WITH_RIGHTS, /* set-uid and the like: nothing is preloaded into it, and where it is stopped it has none of these rights
			  */
	RUN_NOT, /* one of 32 bits: its system calls have other numbers, and what they point at is laid out otherwise */
};

/* Of a program, or of the interpreter of a script. */
enum run_kind run_kind(const char *program);

/* Run it as a child of this process, which is its session. Returns what it returned, or ends by the same signal. */
enum status run_static(const struct session_options *options, char **program, bool (*set_environment)(const char *folder));

#endif
