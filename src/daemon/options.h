/* SPDX-License-Identifier: BSD-3-Clause */
/* The command line. */
#ifndef DAEMON_OPTIONS_H
#define DAEMON_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "daemon/account.h"
#include "daemon/protocol.h"
#include "sandbox/sandbox.h"

enum { OPTIONS_DEVICES_MAX = 16 };

struct options {
	bool system;
	bool privileged;
	const char *socket; /* NULL: by the mode */
	const char *group;
	const char *devices[OPTIONS_DEVICES_MAX];
	uint32_t device_count;
	uint32_t executors; /* that serve a client, dying ones included; of all users together */
	struct limits limits;
	uint32_t spin_us;
	uint32_t turn_us;
	uint32_t drain_timeout; /* seconds; 0: none */
	enum sandbox_mode sandbox;
};

/* Prints and ends the program (status 2) where the command line is wrong; and for --help and --version. */
void options_parse(struct options *options, int argc, char **argv);

#endif
