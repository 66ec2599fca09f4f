/* SPDX-License-Identifier: BSD-3-Clause */
/* Names that the session answers for. Used by the shim and by the session. */
#ifndef SHIM_PATHS_H
#define SHIM_PATHS_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>

struct redirected {
	char buffer[PATH_MAX];
	const char *path; /* what to use */
	const char *checked; /* the program's, if it is in a session and its name can be read; else NULL. Of redirect() only */
	const char *name; /* as the program means it, without "//" and "/./"; NULL: it is not ours, and path is the program's */
};

/* Where @path really is, if @folder is the session's. */
void redirect_below(const char *folder, const char *path, struct redirected *out);

/* It names a device, or a folder of devices. */
bool is_device_name(const char *name);

/* The folder in front of a name is ours: cut it off. Length that is left; no NUL is added or needed. */
size_t undo_redirect_below(const char *folder, char *name, size_t length);

#endif
