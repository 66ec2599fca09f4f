/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Handle bundles: how they are opened, and how a received one is verified.
 */
#ifndef MEMORY_BUNDLE_H
#define MEMORY_BUNDLE_H

#include <stdbool.h>
#include <uiommu/bind.h>

enum { COOKIE_SIZE = 16 };

/* Poll a pidfd: true until the process has ended (its last thread; a zombie has ended). */
bool pidfd_alive(int pidfd);

/*
 * Is every descriptor what it must be, and all of the same process? @without: enum uiommu_fallback. 0 and its pid in our namespace,
 * -EBADF, -ESRCH (it has ended), -EACCES (@access is more than the handle's).
 */
int bundle_verify(const struct uiommu_process *bundle, unsigned int access, unsigned int without, pid_t *pid);

/*
 * Must bundle_verify() open a file under /proc? Not where the kernel itself says whose a pidfd is (PIDFD_GET_INFO, Linux 6.13), as
 * long as the bundle's numbers are of our PID namespace. Looks once per process, and remembers.
 */
bool bundle_must_open(unsigned int without);

/* True if uiommu_process_open() of this process has opened it: with our rights, not with those of whoever sent it. */
bool bundle_is_own(const struct uiommu_process *bundle);

/* The address of the 16 random bytes (AT_RANDOM) that the kernel put into the process's memory; -ENOENT. */
int auxv_random(int auxv, uint64_t *address);

/* @count bytes at @address through the handle, whatever their protection. For the cookie only. Bytes read, or -errno. */
ssize_t handle_peek(int mem, uint64_t address, void *buffer, size_t count);

/* The same by pid. */
ssize_t pid_peek(pid_t pid, uint64_t address, void *buffer, size_t count);

#endif
