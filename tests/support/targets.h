/* SPDX-License-Identifier: BSD-3-Clause */
/* Live processes to move bytes between, and the bare system calls that docs/security.md permits for it. */
#ifndef SUPPORT_TARGETS_H
#define SUPPORT_TARGETS_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <uiommu/bind.h>

struct target {
	pid_t pid;
	uint8_t *address; /* in the target */
	size_t length;
	struct uiommu_process process;
	uint64_t cookie_address;
	uint8_t cookie[16];
	int end; /* an epoll of the pidfd */
};

/* Fork a process that maps and touches @length bytes of pattern, opens its bundle, and sleeps until it is killed. */
void target_start(struct target *target, size_t length);
void target_stop(struct target *target);

/*
 * Floors of the benchmarks; each dies on an error. bare_read: one call, cookie first, then the pieces, then "alive?".
 * bare_write: protection question, then one pwrite, for each 128 KiB.
 */
void bare_read(const struct target *target, const uint64_t *addresses, size_t piece, size_t count, uint8_t *buffer);
void bare_ask(const struct target *target, uint64_t address);
void bare_write(const struct target *target, uint64_t address, const void *data, size_t length);

#endif
