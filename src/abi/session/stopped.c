/* SPDX-License-Identifier: BSD-3-Clause */
/* System calls of programs that are stopped there: which of them are ours, and what they do. */
#include "abi/session/stopped.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <unistd.h>

#include "abi/session/message.h"
#include "abi/shim/paths.h"
#include "util/util.h"

enum { DEVICE_MODE = S_IFCHR | 0666 };

/* --- calls on descriptors --- */

/* Is descriptor @number of the program one of ours? */
static bool is_ours(const struct stopped *stopped, uint64_t number, struct session_key *key)
{
	struct stat found;
	char path[48];

	snprintf(path, sizeof(path), "/proc/%u/fd/%d", stopped->call.pid, (int)number);
	if (stat(path, &found) || (found.st_mode & 07777) != SESSION_MODE)
		return false;
	*key = (struct session_key){found.st_dev, found.st_ino};
	return true;
}

/* What a descriptor was opened for: what its link in /proc permits. */
static uint32_t access_of(const struct stopped *stopped, uint64_t number)
{
	struct stat link;
	char path[48];

	snprintf(path, sizeof(path), "/proc/%u/fd/%d", stopped->call.pid, (int)number);
	if (lstat(path, &link) || !(link.st_mode & (S_IRUSR | S_IWUSR)))
		return O_ACCMODE;
	return !(link.st_mode & S_IWUSR) ? O_RDONLY : link.st_mode & S_IRUSR ? O_RDWR : O_WRONLY;
}

/* The position of a descriptor, as the kernel shows it. */
static uint64_t position_of(const struct stopped *stopped, uint64_t number)
{
	char path[48];
	uint64_t position = 0;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%u/fdinfo/%d", stopped->call.pid, (int)number);
	file = fopen(path, "re");
	if (!file)
		return 0;
	if (fscanf(file, "pos: %" SCNu64, &position) != 1)
		position = 0;
	fclose(file);
	return position;
}

/* Behind what was read or written: of a duplicate, which shares it. */
static void advance(struct stopped *stopped, uint64_t number, int64_t by)
{
	int fd = stopped_take(stopped, (int)number);

	if (fd < 0)
		return;
	lseek(fd, by, SEEK_CUR);
	close(fd);
}

/* @message is complete but for the file. */
static int64_t call_descriptor(struct stopped *stopped, struct session_message *message, uint64_t number)
{
	struct session_reply reply;
	int error;

	if (!is_ours(stopped, number, &message->request.file))
		return STOPPED_GO_ON;
	error = stopped_identify(stopped);
	if (error)
		return error;
	return session_call(stopped->session, &stopped->caller, stopped->member, message, &reply, NULL);
}

static int64_t call_ioctl(struct stopped *stopped)
{
	const uint64_t *arguments = (const uint64_t *)stopped->call.data.args;
	struct session_message message = {
		.request = {.op = SESSION_IOCTL, .command = (uint32_t)arguments[1], .argument = arguments[2]}};
	uint64_t left = page_size() - (arguments[2] & (page_size() - 1));

	if (!is_ours(stopped, arguments[0], &message.request.file))
		return STOPPED_GO_ON;
	if (!stopped_identify(stopped) && stopped->session->trace >= 0) {
		message.request.length = (uint32_t)min_u64(left, SESSION_INLINE);
		if (abi_memory_read(stopped->caller.memory, arguments[2], message.inlined, message.request.length))
			message.request.length = 0;
	}
	return call_descriptor(stopped, &message, arguments[0]);
}

/* @offset: NULL, at the descriptor's position. */
static int64_t call_transfer(struct stopped *stopped, enum session_op op, const uint64_t *offset)
{
	const uint64_t *arguments = (const uint64_t *)stopped->call.data.args;
	struct session_message message = {.request = {.op = op, .argument = arguments[1], .count = arguments[2]}};
	int64_t result;

	if (!is_ours(stopped, arguments[0], &message.request.file))
		return STOPPED_GO_ON;
	message.request.flags = access_of(stopped, arguments[0]);
	message.request.offset = offset ? *offset : position_of(stopped, arguments[0]);
	if ((int64_t)message.request.offset < 0)
		return -EINVAL;
	result = call_descriptor(stopped, &message, arguments[0]);
	if (result > 0 && !offset)
		advance(stopped, arguments[0], result);
	return result;
}

/* preadv2 and pwritev2: an offset of -1 is the descriptor's position. */
static int64_t call_with_flags(struct stopped *stopped, enum session_op op)
{
	const uint64_t *arguments = (const uint64_t *)stopped->call.data.args;
	struct session_key key;

	if (arguments[5] & ~(uint64_t)RWF_HIPRI && is_ours(stopped, arguments[0], &key))
		return -EOPNOTSUPP;
	return call_transfer(stopped, op, arguments[3] == UINT64_MAX ? NULL : &arguments[3]);
}

/* Nobody here can make the kernel map another descriptor than the program's: it does, where that is the right one. */
static int64_t call_mmap(struct stopped *stopped)
{
	const uint64_t *arguments = (const uint64_t *)stopped->call.data.args;
	struct session_message message = {.request = {.op = SESSION_MMAP,
						      .count = arguments[1],
						      .offset = arguments[5],
						      .command = (uint32_t)arguments[2],
						      .flags = (uint32_t)arguments[3]}};
	int64_t result;

	if (!is_ours(stopped, arguments[4], &message.request.file))
		return STOPPED_GO_ON;
	message.request.number = (int32_t)access_of(stopped, arguments[4]);
	result = call_descriptor(stopped, &message, arguments[4]);
	return result ? result : STOPPED_GO_ON;
}

/* --- calls on names --- */

/* @name has room for PATH_MAX bytes. False: there is none, or it is too long. */
static bool read_name(struct stopped *stopped, uint64_t address, char *name)
{
	size_t length = 0;

	if (stopped_identify(stopped))
		return false;
	/* Up to the end of a page at a time: more may not be there. */
	while (length < PATH_MAX) {
		uint64_t left = page_size() - ((address + length) & (page_size() - 1));
		size_t part = (size_t)min_u64(min_u64(left, 256), PATH_MAX - length);

		if (abi_memory_read(stopped->caller.memory, address + length, name + length, part))
			return false;
		if (memchr(name + length, 0, part))
			return true;
		length += part;
	}
	return false;
}

/* 0: @out is where the name, which begins at @directory, really is; STOPPED_GO_ON: where the program says, or there is none. */
static int64_t find_name(struct stopped *stopped, uint64_t directory, uint64_t address, struct redirected *out)
{
	char name[PATH_MAX], where[PATH_MAX];
	long length = 0;

	if (!read_name(stopped, address, name))
		return STOPPED_GO_ON;
	if (*name == '/')
		redirect_below(stopped->session->folder, name, out);
	else if (*name)
		length = link_of((pid_t)stopped->call.pid, (int)directory, where);
	if (length > 0)
		redirect_from(stopped->session->folder, where, (size_t)length, name, out);
	return (*name == '/' || length > 0) && out->path == out->buffer ? 0 : STOPPED_GO_ON;
}

static int64_t open_device(struct stopped *stopped, const char *name, int flags)
{
	struct session_message message = {
		.request = {.op = SESSION_OPEN, .flags = (uint32_t)flags, .length = (uint32_t)strlen(name) + 1}};
	struct session_reply reply;
	int fd = -1;
	int64_t result;

	if (message.request.length > SESSION_INLINE)
		return -ENOENT;
	memcpy(message.inlined, name, message.request.length);
	result = session_call(stopped->session, &stopped->caller, stopped->member, &message, &reply, &fd);
	if (result < 0)
		return result;
	result = stopped_give(stopped, fd, flags);
	close(fd);
	return result;
}

/* What has been opened in the session's folder, or what it stands for. */
static int64_t give_opened(struct stopped *stopped, int fd, int flags)
{
	char name[PATH_MAX];
	int64_t result;

	if (fd < 0)
		return fd;
	if (!(flags & O_PATH) && node_of_device(stopped->session->folder, fd, name))
		result = open_device(stopped, name, flags);
	else
		result = stopped_give(stopped, fd, flags);
	close(fd);
	return result;
}

static int64_t call_open(struct stopped *stopped, uint64_t directory, uint64_t address, int flags)
{
	struct redirected to;
	int64_t result = find_name(stopped, directory, address, &to);
	int fd;

	if (result)
		return result;
	if (to.name && is_device_name(to.name) && !(flags & (O_PATH | O_DIRECTORY))) {
		result = open_device(stopped, to.name, flags);
		if (result != -EISDIR)
			return result;
	}
	/* Nobody makes anything in there. The kernel lets nobody give a descriptor with O_PATH, so it is one that can be read. */
	fd = open(to.path, (flags & ~(O_CREAT | O_EXCL | O_TRUNC | O_PATH)) | O_CLOEXEC);
	return give_opened(stopped, fd < 0 ? -errno : fd, flags);
}

static int64_t call_openat2(struct stopped *stopped)
{
	const uint64_t *arguments = (const uint64_t *)stopped->call.data.args;
	struct open_how how;
	struct redirected to;
	int64_t result;
	char first[2];
	int flags;

	if (arguments[3] != sizeof(how) || stopped_identify(stopped) ||
	    abi_memory_read(stopped->caller.memory, arguments[2], &how, sizeof(how)) ||
	    abi_memory_read(stopped->caller.memory, arguments[1], first, sizeof(first)))
		return STOPPED_GO_ON;
	if (how.resolve & (RESOLVE_BENEATH | RESOLVE_IN_ROOT) && (first[0] == '/' || (first[0] == '.' && first[1] == '.')))
		return STOPPED_GO_ON;
	result = find_name(stopped, arguments[0], arguments[1], &to);
	if (result || !to.name)
		return STOPPED_GO_ON;
	flags = (int)how.flags;
	how.flags &= ~(uint64_t)O_PATH;
	return give_opened(stopped, open_below(&to, &how), flags);
}

/* Does a call mean the descriptor itself? */
static bool has_no_name(struct stopped *stopped, uint64_t address, uint64_t flags)
{
	char first = 0;

	if (!(flags & AT_EMPTY_PATH))
		return false;
	return !address || (!stopped_identify(stopped) && !abi_memory_read(stopped->caller.memory, address, &first, 1) && !first);
}

/*
 * The number of what a descriptor stands for: not the descriptor's own time of modification, which changes with what is written to
 * BARs that lie in it.
 */
static struct timespec number_of(struct stopped *stopped, const struct session_key *key)
{
	struct abi_file *file = held_find(stopped->session, key);
	struct timespec number = {0};

	if (file) {
		folder_number(stopped->session, file->name, &number);
		abi_file_put(file);
	}
	return number;
}

/* The program's struct stat is the kernel's, as ours is. @key: of a descriptor, or NULL. */
static int64_t tell_stat(struct stopped *stopped, struct stat *found, const struct session_key *key, uint64_t address)
{
	if (S_ISREG(found->st_mode) &&
	    ((found->st_mode & 07777) == SESSION_NODE_MODE || (found->st_mode & 07777) == SESSION_MODE)) {
		if (key)
			found->st_mtim = number_of(stopped, key);
		found->st_mode = DEVICE_MODE;
		found->st_rdev = makedev((unsigned int)found->st_mtim.tv_sec, (unsigned int)found->st_mtim.tv_nsec);
		found->st_size = 0;
	}
	return abi_memory_write(stopped->caller.memory, address, found, sizeof(*found));
}

static int64_t call_stat(struct stopped *stopped, uint64_t directory, uint64_t name, uint64_t out, int flags)
{
	struct redirected to;
	struct stat found;
	int64_t result = find_name(stopped, directory, name, &to);

	if (result)
		return result;
	if (fstatat(AT_FDCWD, to.path, &found, flags & AT_SYMLINK_NOFOLLOW))
		return -errno;
	return tell_stat(stopped, &found, NULL, out);
}

static int64_t call_fstat(struct stopped *stopped, uint64_t number, uint64_t out)
{
	struct session_key key;
	struct stat found;
	char path[48];
	int error;

	if (!is_ours(stopped, number, &key))
		return STOPPED_GO_ON;
	snprintf(path, sizeof(path), "/proc/%u/fd/%d", stopped->call.pid, (int)number);
	if (stat(path, &found))
		return STOPPED_GO_ON;
	error = stopped_identify(stopped);
	return error ? error : tell_stat(stopped, &found, &key, out);
}

/* The same, as statx(2) has it. */
static int64_t tell_statx(struct stopped *stopped, const char *path, int flags, const struct session_key *key, uint64_t out)
{
	struct timespec number;
	struct statx found;

	if (statx(AT_FDCWD, path, flags & AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS | STATX_BTIME, &found))
		return -errno;
	if (S_ISREG(found.stx_mode) &&
	    ((found.stx_mode & 07777) == SESSION_NODE_MODE || (found.stx_mode & 07777) == SESSION_MODE)) {
		number = (struct timespec){found.stx_mtime.tv_sec, found.stx_mtime.tv_nsec};
		if (key)
			number = number_of(stopped, key);
		found.stx_mode = DEVICE_MODE;
		found.stx_mtime = (struct statx_timestamp){.tv_sec = number.tv_sec, .tv_nsec = (uint32_t)number.tv_nsec};
		found.stx_rdev_major = (uint32_t)number.tv_sec;
		found.stx_rdev_minor = (uint32_t)number.tv_nsec;
		found.stx_size = 0;
	}
	return abi_memory_write(stopped->caller.memory, out, &found, sizeof(found));
}

static int64_t call_statx(struct stopped *stopped)
{
	const uint64_t *arguments = (const uint64_t *)stopped->call.data.args;
	int flags = (int)arguments[2];
	struct session_key key;
	struct redirected to;
	char path[48];
	int64_t result;

	if (!has_no_name(stopped, arguments[1], arguments[2])) {
		result = find_name(stopped, arguments[0], arguments[1], &to);
		return result ? result : tell_statx(stopped, to.path, flags, NULL, arguments[4]);
	}
	if (!is_ours(stopped, arguments[0], &key))
		return STOPPED_GO_ON;
	snprintf(path, sizeof(path), "/proc/%u/fd/%d", stopped->call.pid, (int)arguments[0]);
	result = stopped_identify(stopped);
	return result ? result : tell_statx(stopped, path, 0, &key, arguments[4]);
}

static int64_t call_access(struct stopped *stopped, uint64_t directory, uint64_t name, int mode)
{
	struct redirected to;
	int64_t result = find_name(stopped, directory, name, &to);

	if (result)
		return result;
	return access(to.path, mode) ? -errno : 0;
}

static int64_t call_readlink(struct stopped *stopped, uint64_t directory, uint64_t name, uint64_t out, uint64_t size)
{
	struct redirected to;
	char target[PATH_MAX];
	int64_t result = find_name(stopped, directory, name, &to);
	ssize_t length;

	if (result)
		return result;
	length = readlink(to.path, target, sizeof(target));
	if (length < 0)
		return -errno;
	length = (ssize_t)min_u64(undo_redirect_below(stopped->session->folder, target, (size_t)length), size);
	result = abi_memory_write(stopped->caller.memory, out, target, (size_t)length);
	return result ? result : length;
}

/* Where it is, if that is in the session's folder: by the name that it means. */
static int64_t call_getcwd(struct stopped *stopped, uint64_t out, uint64_t size)
{
	char where[PATH_MAX];
	long length = link_of((pid_t)stopped->call.pid, AT_FDCWD, where);
	size_t left = length > 0 && length < PATH_MAX ? undo_redirect_below(stopped->session->folder, where, (size_t)length) : 0;
	int64_t result;

	if (!left || left == (size_t)length || stopped_identify(stopped))
		return STOPPED_GO_ON;
	where[left++] = '\0';
	if (size < left)
		return -ERANGE;
	result = abi_memory_write(stopped->caller.memory, out, where, left);
	return result ? result : (int64_t)left;
}

int64_t stopped_call(struct stopped *stopped)
{
	const uint64_t *arguments = (const uint64_t *)stopped->call.data.args;
	const uint64_t here = (uint32_t)AT_FDCWD;

	switch (stopped->call.data.nr) {
	case SYS_ioctl:
		return call_ioctl(stopped);
	case SYS_read:
		return call_transfer(stopped, SESSION_READ, NULL);
	case SYS_write:
		return call_transfer(stopped, SESSION_WRITE, NULL);
	case SYS_pread64:
		return call_transfer(stopped, SESSION_READ, &arguments[3]);
	case SYS_pwrite64:
		return call_transfer(stopped, SESSION_WRITE, &arguments[3]);
	case SYS_readv:
		return call_transfer(stopped, SESSION_READV, NULL);
	case SYS_writev:
		return call_transfer(stopped, SESSION_WRITEV, NULL);
	case SYS_preadv:
		return call_transfer(stopped, SESSION_READV, &arguments[3]);
	case SYS_pwritev:
		return call_transfer(stopped, SESSION_WRITEV, &arguments[3]);
	case SYS_preadv2:
		return call_with_flags(stopped, SESSION_READV);
	case SYS_pwritev2:
		return call_with_flags(stopped, SESSION_WRITEV);
	case SYS_mmap:
		return call_mmap(stopped);
	case SYS_openat:
		return call_open(stopped, arguments[0], arguments[1], (int)arguments[2]);
	case SYS_openat2:
		return call_openat2(stopped);
	case SYS_getcwd:
		return call_getcwd(stopped, arguments[0], arguments[1]);
	case SYS_newfstatat:
		if (has_no_name(stopped, arguments[1], arguments[3]))
			return call_fstat(stopped, arguments[0], arguments[2]);
		return call_stat(stopped, arguments[0], arguments[1], arguments[2], (int)arguments[3]);
	case SYS_fstat:
		return call_fstat(stopped, arguments[0], arguments[1]);
	case SYS_statx:
		return call_statx(stopped);
	case SYS_faccessat:
	case SYS_faccessat2:
		return call_access(stopped, arguments[0], arguments[1], (int)arguments[2]);
	case SYS_readlinkat:
		return call_readlink(stopped, arguments[0], arguments[1], arguments[2], arguments[3]);
#if defined(__x86_64__)
	case SYS_open:
		return call_open(stopped, here, arguments[0], (int)arguments[1]);
	case SYS_stat:
		return call_stat(stopped, here, arguments[0], arguments[1], 0);
	case SYS_lstat:
		return call_stat(stopped, here, arguments[0], arguments[1], AT_SYMLINK_NOFOLLOW);
	case SYS_access:
		return call_access(stopped, here, arguments[0], (int)arguments[1]);
	case SYS_readlink:
		return call_readlink(stopped, here, arguments[0], arguments[1], arguments[2]);
#endif
	case SYS_execve:
	case SYS_execveat:
		known_forget(stopped->session, stopped->process);
		return STOPPED_GO_ON;
	default:
		return STOPPED_GO_ON;
	}
}
