/* SPDX-License-Identifier: BSD-3-Clause */
/* Calls on names: of devices to the daemon, of what describes them into its folder, all others as they are. */
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "abi/shim/client.h"
#include "abi/shim/cut.h"
#include "abi/shim/next.h"
#include "abi/shim/sys.h"

static int open_real(int directory, const char *path, int flags, mode_t mode)
{
	struct stat before = {0};
	int fd;

	if (flags & O_TRUNC && client_checks())
		sys_fstatat(directory, path, &before, flags & O_NOFOLLOW ? AT_SYMLINK_NOFOLLOW : 0);
	fd = next.openat ? next.openat(directory, path, flags, mode) : (int)next_result(sys_openat(directory, path, flags, mode));
	if (fd >= 0)
		cut_to(&before, 0);
	return fd;
}

/* -EISDIR: it is a folder of devices. */
static int open_device(const char *name, int flags)
{
	struct session_request request = {.op = SESSION_OPEN, .flags = (uint32_t)flags, .length = (uint32_t)strlen(name) + 1};
	int fd = -1;
	int64_t error;

	if (request.length > SESSION_INLINE)
		return -ENOENT;
	error = client_call(&request, name, &fd, NULL);
	return error < 0 ? (int)error : fd;
}

/* What a name has opened that does not say so, by links and "..", may stand for a device. */
static int see_through(int fd, int flags)
{
	char name[PATH_MAX];

	if (fd < 0 || flags & O_PATH || !client_device(fd, name))
		return fd;
	sys_close(fd);
	return (int)next_result(open_device(name, flags));
}

/* The process of "/proc/PID/status"; 0: it is no such name. */
static int status_of(const char *path)
{
	static const char proc[] = "/proc/", self[] = "self";
	int pid = 0;

	if (!path || strncmp(path, proc, sizeof(proc) - 1) != 0)
		return 0;
	path += sizeof(proc) - 1;
	if (!strncmp(path, self, sizeof(self) - 1)) {
		pid = (int)sys_0(SYS_getpid);
		path += sizeof(self) - 1;
	}
	for (; *path >= '0' && *path <= '9' && pid < 100000000; path++)
		pid = pid * 10 + (*path - '0');
	return strcmp(path, "/status") ? 0 : pid;
}

/* What is pinned of a program, the session knows. A negative number: the kernel's file says all there is. */
static int open_status(const char *path, int flags)
{
	struct session_request request = {.op = SESSION_STATUS, .number = status_of(path), .flags = (uint32_t)flags};
	int fd = -1;

	if (!request.number || (flags & (O_ACCMODE | O_PATH)) != O_RDONLY)
		return -ENOENT;
	return client_call(&request, NULL, &fd, NULL) < 0 ? -ENOENT : fd;
}

static int open_any(int directory, const char *path, int flags, mode_t mode)
{
	struct redirected to;
	int fd;

	redirect_at(directory, path, &to);
	fd = open_status(to.checked, flags);
	if (fd >= 0)
		return fd;
	if (to.name && is_device_name(to.name) && !(flags & (O_PATH | O_DIRECTORY))) {
		fd = open_device(to.name, flags);
		if (fd != -EISDIR)
			return (int)next_result(fd);
	}
	/* Nobody makes anything in there. */
	fd = open_real(directory, to.path, to.name ? flags & ~(O_CREAT | O_EXCL | O_TRUNC) : flags, mode);
	return to.name || (to.checked && *path != '/') ? see_through(fd, flags) : fd;
}

/* openat2(2), for which the C library has no function. */
static long open_with(int directory, const char *path, const struct open_how *how, size_t size)
{
	const uint64_t closed = RESOLVE_BENEATH | RESOLVE_IN_ROOT;
	struct open_how what;
	struct redirected to = {.path = path};

	if (size == sizeof(what) && client_can_read((uint64_t)(uintptr_t)how) && client_can_read((uint64_t)(uintptr_t)&how->mode) &&
	    client_can_read((uint64_t)(uintptr_t)(how + 1) - 1)) {
		what = *how;
		redirect_at(directory, path, &to);
		if (to.checked && what.resolve & closed && (*path == '/' || !strncmp(path, "..", 2)))
			to = (struct redirected){.path = path};
	}
	if (to.name)
		return see_through((int)next_result(open_below(&to, &what)), (int)what.flags);
	return next_result(sys_4(SYS_openat2, directory, (long)to.path, (long)how, (long)size));
}

/* All other calls that are made in this way are as the program says. */
ENTRY(long, syscall, (long number, ...))
{
	long arguments[6];
	va_list list;

	va_start(list, number);
	for (size_t i = 0; i < sizeof(arguments) / sizeof(arguments[0]); i++)
		arguments[i] = va_arg(list, long);
	va_end(list);
	if (number == SYS_openat2)
		/* NOLINTNEXTLINE(performance-no-int-to-ptr): they are */
		return open_with((int)arguments[0], (const char *)arguments[1], (const struct open_how *)arguments[2],
				 (size_t)arguments[3]);
	return next_result(sys_6(number, arguments[0], arguments[1], arguments[2], arguments[3], arguments[4], arguments[5]));
}

static mode_t mode_of(int flags, va_list arguments)
{
	return flags & (O_CREAT | __O_TMPFILE) ? va_arg(arguments, mode_t) : 0;
}

#define OPEN_AT(name, directory, ...)                                                                                              \
	ENTRY(int, name, (__VA_ARGS__, ...))                                                                                       \
	{                                                                                                                          \
		va_list arguments;                                                                                                 \
		mode_t mode;                                                                                                       \
                                                                                                                                   \
		va_start(arguments, flags);                                                                                        \
		mode = mode_of(flags, arguments);                                                                                  \
		va_end(arguments);                                                                                                 \
		return open_any(directory, path, flags, mode);                                                                     \
	}

OPEN_AT(open, AT_FDCWD, const char *path, int flags)
OPEN_AT(open64, AT_FDCWD, const char *path, int flags)
OPEN_AT(openat, directory, int directory, const char *path, int flags)
OPEN_AT(openat64, directory, int directory, const char *path, int flags)

ENTRY(int, creat, (const char *path, mode_t mode))
{
	return open_any(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode);
}

ENTRY(int, creat64, (const char *path, mode_t mode))
{
	return open_any(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode);
}

ENTRY(int, __open_2, (const char *path, int flags))
{
	return open_any(AT_FDCWD, path, flags, 0);
}

ENTRY(int, __open64_2, (const char *path, int flags))
{
	return open_any(AT_FDCWD, path, flags, 0);
}

ENTRY(int, __openat_2, (int directory, const char *path, int flags))
{
	return open_any(directory, path, flags, 0);
}

ENTRY(int, __openat64_2, (int directory, const char *path, int flags))
{
	return open_any(directory, path, flags, 0);
}

/* A stream of a device makes no sense, but who opens one gets what stands for it. */
static FILE *open_stream(const char *path, const char *mode)
{
	struct redirected to;
	FILE *stream;
	int fd = -1;

	redirect_at(AT_FDCWD, path, &to);
	if (*mode == 'r' && !strchr(mode, '+'))
		fd = open_status(to.checked, strchr(mode, 'e') ? O_CLOEXEC : 0);
	if (fd >= 0) {
		stream = fdopen(fd, mode);
		if (!stream)
			sys_close(fd);
		return stream;
	}
	if (!next.fopen)
		next.fopen = next_find("fopen");
	return next.fopen(to.path, mode);
}

ENTRY(FILE *, fopen, (const char *path, const char *mode))
{
	return open_stream(path, mode);
}

ENTRY(FILE *, fopen64, (const char *path, const char *mode))
{
	return open_stream(path, mode);
}

ENTRY(DIR *, opendir, (const char *path))
{
	struct redirected to;

	if (!next.opendir)
		next.opendir = next_find("opendir");
	redirect_at(AT_FDCWD, path, &to);
	return next.opendir(to.path);
}

static int scan(const char *path, struct dirent ***out, next_filter filter, next_order order)
{
	struct redirected to;

	if (!next.scandir)
		next.scandir = next_find("scandir");
	redirect_at(AT_FDCWD, path, &to);
	return next.scandir(to.path, out, filter, order);
}

ENTRY(int, scandir, (const char *path, struct dirent ***out, next_filter filter, next_order order))
{
	return scan(path, out, filter, order);
}

ENTRY(int, scandir64, (const char *path, struct dirent ***out, next_filter filter, next_order order))
{
	return scan(path, out, filter, order);
}

ENTRY(int, faccessat, (int directory, const char *path, int mode, int flags))
{
	struct redirected to;

	redirect_at(directory, path, &to);
	if (!flags)
		return (int)next_result(sys_3(SYS_faccessat, directory, (long)to.path, mode));
	return (int)next_result(sys_4(SYS_faccessat2, directory, (long)to.path, mode, flags));
}

ENTRY(int, access, (const char *path, int mode))
{
	return entry_faccessat(AT_FDCWD, path, mode, 0);
}

ENTRY(int, euidaccess, (const char *path, int mode))
{
	return entry_faccessat(AT_FDCWD, path, mode, AT_EACCESS);
}

ENTRY(int, eaccess, (const char *path, int mode))
{
	return entry_faccessat(AT_FDCWD, path, mode, AT_EACCESS);
}

ENTRY(ssize_t, readlinkat, (int directory, const char *path, char *out, size_t size))
{
	struct redirected to;
	char whole[PATH_MAX];
	long length;

	redirect_at(directory, path, &to);
	length = sys_4(SYS_readlinkat, directory, (long)to.path, (long)out, (long)size);
	/* Cut off, it cannot be told whose it is; so read into more room than there is. */
	if (client_active() && length > 0 && *out == '/') {
		length = sys_4(SYS_readlinkat, directory, (long)to.path, (long)whole, sizeof(whole));
		if (length > 0) {
			length = (long)undo_redirect(whole, (size_t)length);
			length = length > (long)size ? (long)size : length;
			memcpy(out, whole, (size_t)length);
		}
	}
	return next_result(length);
}

ENTRY(ssize_t, readlink, (const char *path, char *out, size_t size))
{
	return entry_readlinkat(AT_FDCWD, path, out, size);
}

ENTRY(ssize_t, __readlink_chk, (const char *path, char *out, size_t size, size_t room))
{
	if (size > room)
		__builtin_trap();
	return entry_readlinkat(AT_FDCWD, path, out, size);
}

ENTRY(ssize_t, __readlinkat_chk, (int directory, const char *path, char *out, size_t size, size_t room))
{
	if (size > room)
		__builtin_trap();
	return entry_readlinkat(directory, path, out, size);
}

ENTRY(char *, realpath, (const char *path, char *out))
{
	struct redirected to;
	char *result;

	if (!next.realpath)
		next.realpath = next_find("realpath");
	redirect_at(AT_FDCWD, path, &to);
	result = next.realpath(to.path, out);
	if (result)
		result[undo_redirect(result, strlen(result))] = '\0';
	return result;
}

ENTRY(char *, __realpath_chk, (const char *path, char *out, size_t room))
{
	if (room < PATH_MAX)
		__builtin_trap();
	return entry_realpath(path, out);
}

ENTRY(char *, canonicalize_file_name, (const char *path))
{
	return entry_realpath(path, NULL);
}

/* Each is told of names in the session's folder, which it can use as they are. */
static int walk(const char *path, void *each, int fds, int flags)
{
	struct redirected to;

	if (!next.nftw)
		next.nftw = next_find("nftw");
	redirect(path, &to);
	return next.nftw(to.path, each, fds, flags);
}

ENTRY(int, nftw, (const char *path, void *each, int fds, int flags))
{
	return walk(path, each, fds, flags);
}

ENTRY(int, nftw64, (const char *path, void *each, int fds, int flags))
{
	return walk(path, each, fds, flags);
}

static int old_walk(const char *path, void *each, int fds)
{
	struct redirected to;

	if (!next.ftw)
		next.ftw = next_find("ftw");
	redirect(path, &to);
	return next.ftw(to.path, each, fds);
}

ENTRY(int, ftw, (const char *path, void *each, int fds))
{
	return old_walk(path, each, fds);
}

ENTRY(int, ftw64, (const char *path, void *each, int fds))
{
	return old_walk(path, each, fds);
}

/* What is in front of the first wildcard has to be ours already. */
static int find_names(const char *pattern, int flags, void *error, glob_t *out)
{
	struct redirected to;
	int result;

	if (!next.glob)
		next.glob = next_find("glob");
	redirect(pattern, &to);
	result = next.glob(to.path, flags, error, out);
	for (size_t i = 0; to.name && !result && i < out->gl_pathc; i++) {
		char *name = out->gl_pathv[(flags & GLOB_DOOFFS ? out->gl_offs : 0) + i];

		name[undo_redirect(name, strlen(name))] = '\0';
	}
	return result;
}

ENTRY(int, glob, (const char *pattern, int flags, void *error, glob_t *out))
{
	return find_names(pattern, flags, error, out);
}

ENTRY(int, glob64, (const char *pattern, int flags, void *error, glob_t *out))
{
	return find_names(pattern, flags, error, out);
}

/* --- where the program is --- */

ENTRY(int, chdir, (const char *path))
{
	struct redirected to;

	redirect_at(AT_FDCWD, path, &to);
	return (int)next_result(sys_1(SYS_chdir, (long)to.path));
}

static char *no_name(int error)
{
	errno = error;
	return NULL;
}

/* Into more room than there is: the folder's name in front may be what does not fit. */
ENTRY(char *, getcwd, (char *out, size_t size))
{
	char whole[PATH_MAX];
	long length = client_active() ? sys_2(SYS_getcwd, (long)whole, sizeof(whole)) : -ENOENT;
	size_t cut;

	if (!next.getcwd)
		next.getcwd = next_find("getcwd");
	if (length <= 0)
		return next.getcwd(out, size);
	cut = undo_redirect(whole, (size_t)length - 1);
	if (cut == (size_t)length - 1)
		return next.getcwd(out, size);
	whole[cut] = '\0';
	if (out && size <= cut)
		return no_name(ERANGE);
	if (out && !client_can_write(out, cut + 1))
		return no_name(EFAULT);
	return out ? memcpy(out, whole, cut + 1) : strdup(whole);
}

ENTRY(char *, get_current_dir_name, (void))
{
	return entry_getcwd(NULL, 0);
}

ENTRY(char *, __getcwd_chk, (char *out, size_t size, size_t room))
{
	if (size > room)
		__builtin_trap();
	return entry_getcwd(out, size);
}

/* --- extended attributes, which ls(1) looks at --- */

ENTRY(ssize_t, getxattr, (const char *path, const char *name, void *value, size_t size))
{
	struct redirected to;

	redirect_at(AT_FDCWD, path, &to);
	return next_result(sys_4(SYS_getxattr, (long)to.path, (long)name, (long)value, (long)size));
}

ENTRY(ssize_t, lgetxattr, (const char *path, const char *name, void *value, size_t size))
{
	struct redirected to;

	redirect_at(AT_FDCWD, path, &to);
	return next_result(sys_4(SYS_lgetxattr, (long)to.path, (long)name, (long)value, (long)size));
}

ENTRY(ssize_t, listxattr, (const char *path, char *list, size_t size))
{
	struct redirected to;

	redirect_at(AT_FDCWD, path, &to);
	return next_result(sys_3(SYS_listxattr, (long)to.path, (long)list, (long)size));
}

ENTRY(ssize_t, llistxattr, (const char *path, char *list, size_t size))
{
	struct redirected to;

	redirect_at(AT_FDCWD, path, &to);
	return next_result(sys_3(SYS_llistxattr, (long)to.path, (long)list, (long)size));
}
