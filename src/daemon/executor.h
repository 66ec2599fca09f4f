/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The process that works for one client: two threads. The first runs the engine on the client's rings, and is the one that may get
 * stuck in the memory of a process. The second serves the client's requests (session.h), so that a client can still unbind, list
 * and leave.
 */
#ifndef DAEMON_EXECUTOR_H
#define DAEMON_EXECUTOR_H

#include <sys/types.h>

#include "daemon/arbiter.h"
#include "daemon/session.h"
#include "sandbox/sandbox.h"

struct executor_config {
	int client_fd;
	int link_fd;
	int refusal; /* 0, or the errno that the client is told; then this process does nothing else */
	struct session_config session;
	struct arbiter *const *arbiters; /* one per device */
	uint32_t slot;
	uint32_t spin_us;
	enum sandbox_mode sandbox;
	pid_t broker;
	/* The statistics of all clients; everything but ours is unmapped. */
	void *all_stats;
	size_t all_stats_size;
};

/* In a fork child of the broker. */
void executor_main(const struct executor_config *config) __attribute__((noreturn));

#endif
