/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef CLI_DOCTOR_H
#define CLI_DOCTOR_H

#include "cli/cli.h"

/* Why a process can or can't be bound, check by check. */
enum status doctor_process(const struct command *command, pid_t pid, bool json);

/* Value of /proc/sys/kernel/yama/ptrace_scope, -1 without Yama. */
int yama_scope(void);
const char *yama_meaning(int scope);

#endif
