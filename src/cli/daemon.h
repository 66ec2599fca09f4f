/* SPDX-License-Identifier: BSD-3-Clause */
/* The daemon that a command talks to. */
#ifndef CLI_DAEMON_H
#define CLI_DAEMON_H

#include <uiommu/client.h>

#include "cli/cli.h"

/* @socket may be NULL: where a daemon usually is. Complains. */
enum status daemon_connect(const char *socket, struct uiommu_client **out);

#endif
