/* SPDX-License-Identifier: BSD-3-Clause */
/* The functions that the shim stands in front of. */
#ifndef SHIM_NEXT_H
#define SHIM_NEXT_H

#include <dirent.h>
#include <glob.h>
#include <signal.h>
#include <stdio.h>
#include <sys/types.h>
#include <sys/uio.h>

/*
 * Defines the function @name of the C library. Under another name in C, since the library's headers may declare it otherwise
 * (open64, the _chk functions).
 */
#define ENTRY(result, name, arguments)                                                                                             \
	result entry_##name arguments __asm__(#name) __attribute__((visibility("default")));                                       \
	result entry_##name arguments

typedef int (*next_filter)(const struct dirent *entry);
typedef int (*next_order)(const struct dirent **a, const struct dirent **b);

/* Only those that are points of cancellation, or more than a system call. NULL until the program's start: then the call is made. */
struct next {
	int (*openat)(int directory, const char *path, int flags, ...);
	ssize_t (*read)(int fd, void *buffer, size_t count);
	ssize_t (*write)(int fd, const void *buffer, size_t count);
	ssize_t (*pread)(int fd, void *buffer, size_t count, off_t offset);
	ssize_t (*pwrite)(int fd, const void *buffer, size_t count, off_t offset);
	ssize_t (*readv)(int fd, const struct iovec *parts, int count);
	ssize_t (*writev)(int fd, const struct iovec *parts, int count);
	ssize_t (*preadv2)(int fd, const struct iovec *parts, int count, off_t offset, int flags);
	ssize_t (*pwritev2)(int fd, const struct iovec *parts, int count, off_t offset, int flags);
	int (*fallocate)(int fd, int mode, off_t offset, off_t length);
	FILE *(*fopen)(const char *path, const char *mode);
	DIR *(*opendir)(const char *path);
	int (*scandir)(const char *path, struct dirent ***out, next_filter filter, next_order order);
	char *(*realpath)(const char *path, char *out);
	int (*nftw)(const char *path, void *each, int fds, int flags);
	int (*ftw)(const char *path, void *each, int fds);
	int (*glob)(const char *pattern, int flags, void *error, glob_t *out);
	char *(*getcwd)(char *out, size_t size);
	int (*sigaction)(int signal, const struct sigaction *action, struct sigaction *old);
	sighandler_t (*signal)(int signal, sighandler_t handler);
	sighandler_t (*bsd_signal)(int signal, sighandler_t handler);
	sighandler_t (*sysv_signal)(int signal, sighandler_t handler);
	sighandler_t (*__sysv_signal)(int signal, sighandler_t handler);
};

extern struct next next;

/* Finds one that was needed before the program's start. */
void *next_find(const char *name);

/* What the kernel returned, as the C library says it. */
long next_result(long result);

#endif
