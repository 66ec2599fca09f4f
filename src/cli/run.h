/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef CLI_RUN_H
#define CLI_RUN_H

#include "abi/session/session.h"
#include "cli/cli.h"

/* An ELF program without an interpreter, into which nothing can be preloaded. False as well if it cannot be told. */
bool run_is_static(const char *program);

/* Run it as a child of this process, which is its session. Returns what it returned, or ends by the same signal. */
enum status run_static(const struct session_options *options, char **program, bool (*set_environment)(const char *folder));

#endif
