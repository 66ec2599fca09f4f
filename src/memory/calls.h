/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The system calls of the data path. A thread can be cancelled in libc's functions of these names, and one that is cancelled in an
 * access leaves it in flight for ever; in a process with threads they are also noticeably slower.
 */
#ifndef MEMORY_CALLS_H
#define MEMORY_CALLS_H

#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <unistd.h>

static inline ssize_t call_pread(int fd, void *buffer, size_t length, uint64_t offset)
{
	return syscall(SYS_pread64, fd, buffer, length, (off_t)offset);
}

static inline ssize_t call_pwrite(int fd, const void *buffer, size_t length, uint64_t offset)
{
	return syscall(SYS_pwrite64, fd, buffer, length, (off_t)offset);
}

/* How many events there are, at most one, without waiting. */
static inline int call_epoll(int fd)
{
	struct epoll_event event;

	return (int)syscall(SYS_epoll_pwait, fd, &event, 1, 0, NULL, 0);
}

#endif
