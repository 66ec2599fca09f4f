/* SPDX-License-Identifier: BSD-3-Clause */
/* What the sessions of `uiommu run` have. */
#ifndef CLI_SESSIONS_H
#define CLI_SESSIONS_H

#include "cli/cli.h"

/* Of the session that this process is in, else of all of this user. */
enum status list_sessions(const struct command *command, bool json);

#endif
