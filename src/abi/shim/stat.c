/* SPDX-License-Identifier: BSD-3-Clause */
/* stat(2) and its relatives. What stands for a device in the session's folder, or is a descriptor of one, is a character device. */
#include <errno.h>
#include <linux/stat.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "abi/shim/client.h"
#include "abi/shim/next.h"
#include "abi/shim/sys.h"

enum { DEVICE_MODE = S_IFCHR | 0666 };

static bool stands_for_device(mode_t mode)
{
	return S_ISREG(mode) && ((mode & 07777) == SESSION_MODE || (mode & 07777) == SESSION_NODE_MODE);
}

static int tell(int error, bool may_be, struct stat *out)
{
	if (!error && may_be && stands_for_device(out->st_mode)) {
		out->st_mode = DEVICE_MODE;
		out->st_rdev = makedev((unsigned int)out->st_mtim.tv_sec, (unsigned int)out->st_mtim.tv_nsec);
		out->st_size = 0;
	}
	return (int)next_result(error);
}

/* Of a name that is ours, or not from the root; or of none (AT_EMPTY_PATH). */
static bool may_be_device(const struct redirected *to)
{
	return to->name || (to->checked ? *to->checked != '/' : client_active());
}

static int look(int directory, const char *path, struct stat *out, int flags)
{
	struct redirected to;
	int error;

	redirect_at(directory, path, &to);
	error = sys_fstatat(directory, to.path, out, flags);
	return tell(error, may_be_device(&to), out);
}

static int look_at_file(int fd, struct stat *out)
{
	int error = sys_fstat(fd, out);

	return tell(error, client_active(), out);
}

#define STAT(suffix)                                                                                                               \
	ENTRY(int, stat##suffix, (const char *path, struct stat *out))                                                             \
	{                                                                                                                          \
		return look(AT_FDCWD, path, out, 0);                                                                               \
	}                                                                                                                          \
	ENTRY(int, lstat##suffix, (const char *path, struct stat *out))                                                            \
	{                                                                                                                          \
		return look(AT_FDCWD, path, out, AT_SYMLINK_NOFOLLOW);                                                             \
	}                                                                                                                          \
	ENTRY(int, fstat##suffix, (int fd, struct stat *out))                                                                      \
	{                                                                                                                          \
		return look_at_file(fd, out);                                                                                      \
	}                                                                                                                          \
	ENTRY(int, fstatat##suffix, (int directory, const char *path, struct stat *out, int flags))                                \
	{                                                                                                                          \
		return look(directory, path, out, flags);                                                                          \
	}                                                                                                                          \
	/* Programs that were linked before glibc 2.33. */                                                                         \
	ENTRY(int, __xstat##suffix, (int version, const char *path, struct stat *out))                                             \
	{                                                                                                                          \
		(void)version;                                                                                                     \
		return look(AT_FDCWD, path, out, 0);                                                                               \
	}                                                                                                                          \
	ENTRY(int, __lxstat##suffix, (int version, const char *path, struct stat *out))                                            \
	{                                                                                                                          \
		(void)version;                                                                                                     \
		return look(AT_FDCWD, path, out, AT_SYMLINK_NOFOLLOW);                                                             \
	}                                                                                                                          \
	ENTRY(int, __fxstat##suffix, (int version, int fd, struct stat *out))                                                      \
	{                                                                                                                          \
		(void)version;                                                                                                     \
		return look_at_file(fd, out);                                                                                      \
	}                                                                                                                          \
	ENTRY(int, __fxstatat##suffix, (int version, int directory, const char *path, struct stat *out, int flags))                \
	{                                                                                                                          \
		(void)version;                                                                                                     \
		return look(directory, path, out, flags);                                                                          \
	}

STAT()
STAT(64)

ENTRY(int, statx, (int directory, const char *path, int flags, unsigned int mask, struct statx *out))
{
	struct redirected to;
	long error;

	redirect_at(directory, path, &to);
	error = sys_5(SYS_statx, directory, (long)to.path, flags, (long)(mask | STATX_MODE | STATX_TYPE | STATX_MTIME), (long)out);
	if (!error && may_be_device(&to) && stands_for_device(out->stx_mode)) {
		out->stx_mode = DEVICE_MODE;
		out->stx_rdev_major = (uint32_t)out->stx_mtime.tv_sec;
		out->stx_rdev_minor = out->stx_mtime.tv_nsec;
		out->stx_size = 0;
	}
	return (int)next_result(error);
}
