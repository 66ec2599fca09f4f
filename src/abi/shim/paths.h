/* SPDX-License-Identifier: BSD-3-Clause */
/* Names that the session answers for. Used by the shim and by the session. */
#ifndef SHIM_PATHS_H
#define SHIM_PATHS_H

#include <limits.h>
#include <linux/openat2.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct redirected {
	char buffer[PATH_MAX];
	const char *path; /* what to use */
	const char *checked; /* the program's, if it is in a session and its name can be read; else NULL. Of redirect() only */
	const char *name; /* as the program means it, without "//" and "/./"; NULL: it is not ours, and path is the program's */
	size_t start; /* of a name that is ours: where in the buffer the folder ends that it begins at */
};

/* Where @path really is, if @folder is the session's. Of names from the root. */
void redirect_below(const char *folder, const char *path, struct redirected *out);

/*
 * Of other names. @where: what the kernel says of the folder that it begins at (a link of /proc), @length of it. It has room for
 * PATH_MAX bytes, which are written to.
 */
void redirect_from(const char *folder, char *where, size_t length, const char *path, struct redirected *out);

/* It names a device, or a folder of devices, whatever links there are. */
bool is_device_name(const char *name);

/* The folder in front of a name is ours: cut it off. Length that is left; no NUL is added or needed. */
size_t undo_redirect_below(const char *folder, char *name, size_t length);

/*
 * What the kernel says of a descriptor, or with AT_FDCWD of where the program is. @task: of this one; 0: of the caller. @out has
 * room for PATH_MAX bytes, and no NUL is added. Length, or -errno.
 */
long link_of(pid_t task, int fd, char *out);

/* What stands for a device has been opened, by a name that did not say so: the device's @name, in PATH_MAX bytes. */
bool node_of_device(const char *folder, int fd, char *name);

/* openat2(2) of a name that is ours: what @how says of links holds from where the name begins. A descriptor, or -errno. */
int open_below(struct redirected *to, const struct open_how *how);

#endif
