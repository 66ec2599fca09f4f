/* SPDX-License-Identifier: BSD-3-Clause */
/* What our processes give up: the daemon's, and the server of a guest. */
#ifndef SANDBOX_SANDBOX_H
#define SANDBOX_SANDBOX_H

#include <stdbool.h>

enum sandbox_mode {
	SANDBOX_ENFORCE,
	SANDBOX_LOG, /* what would be refused is allowed, and logged by the kernel's audit */
	SANDBOX_OFF,
};

/* Enforce; but log in builds with a sanitizer, whose reports need more than the program. */
enum sandbox_mode sandbox_default(void);

/* "enforce", "log" or "off". False: none of them. */
bool sandbox_parse(const char *text, enum sandbox_mode *mode);

/* NULL, or why we have more rights than we should. */
const char *sandbox_too_powerful(void);

/* No capabilities, no new privileges, no core files, as many descriptors as the hard limit permits. -errno. */
int sandbox_drop(void);

/* Filters of system calls. The executors' comes on top of the broker's. -errno. */
int sandbox_broker(enum sandbox_mode mode);
int sandbox_executor(enum sandbox_mode mode);

/*
 * Of a guest's server (uiommu vm), which has opened all it needs: no new privileges, and a filter for all threads of the process.
 * @on_demand: it may have userfaultfds for the guest's memory. -errno.
 */
int sandbox_server(enum sandbox_mode mode, bool on_demand);

#endif
