/* SPDX-License-Identifier: BSD-3-Clause */
#include "abi/shim/paths.h"

#include <errno.h>
#include <string.h>

#include "abi/session/protocol.h"
#include "abi/shim/sys.h"

/* Whole folders: what the session does not have there does not exist. */
static const char *const names[] = {
	"/dev/iommu",
	"/dev/vfio",
	"/sys/bus/pci/devices",
	"/sys/bus/pci/drivers/vfio-pci",
	"/sys/class/iommu",
	"/sys/class/vfio",
	"/sys/class/vfio-dev",
	"/sys/devices/uiommu",
	"/sys/kernel/iommu_groups",
	"/sys/module/iommufd",
	"/sys/module/vfio",
	"/sys/module/vfio_pci",
};

static bool is_below(const char *path, const char *folder)
{
	size_t length = strlen(folder);

	return !strncmp(path, folder, length) && (path[length] == '/' || !path[length]);
}

bool is_device_name(const char *name)
{
	return is_below(name, "/dev") && !strstr(name, "/..");
}

/* "//" and "/./" mean "/". ".." stays: the kernel resolves it, with its symbolic links. False: it does not fit. */
static bool tidy(const char *path, char *out, size_t size)
{
	size_t at = 0;

	while (*path) {
		if (path[0] == '/' && (path[1] == '/' || (path[1] == '.' && (path[2] == '/' || !path[2])))) {
			path += path[1] == '/' ? 1 : 2;
			continue;
		}
		if (at + 1 >= size)
			return false;
		out[at++] = *path++;
	}
	out[at] = '\0';
	return true;
}

/* Quick and generous: everything that could be a name of ours. */
static bool may_be_ours(const char *path)
{
	if (!path || *path != '/')
		return false;
	while (path[0] == '/' && (path[1] == '/' || (path[1] == '.' && path[2] == '/')))
		path += path[1] == '/' ? 1 : 2;
	return !strncmp(path, "/dev/", 5) || !strncmp(path, "/sys/", 5);
}

/* Up from @where, of @length, by what @path begins with: symbolic links the kernel has resolved already. What is left of it. */
static const char *go_up(char *where, size_t *length, const char *path)
{
	for (;;) {
		size_t up = path[0] == '.' && path[1] == '.' ? 2 : path[0] == '.' ? 1 : 0;

		if (!up || (path[up] != '/' && path[up]))
			return path;
		while (up == 2 && *length && where[--*length] != '/')
			;
		path += up;
		path += strspn(path, "/");
	}
}

/* @path, behind where it begins, of which *@length is left. False: it does not fit. */
static bool join(char *where, size_t *length, const char *path)
{
	const char *rest = go_up(where, length, path);
	size_t more = strlen(rest);

	if (*length + more + 2 > PATH_MAX)
		return false;
	where[*length] = '\0';
	if (more || !*length)
		where[*length] = '/';
	memcpy(where + *length + (more || !*length), rest, more + 1);
	return true;
}

/* A name from the root. False: it is not ours. */
static bool find(const char *folder, const char *path, size_t start, struct redirected *out)
{
	size_t before = strlen(folder) + sizeof("/" SESSION_TREE) - 1;

	if (!may_be_ours(path) || before >= sizeof(out->buffer) || !tidy(path, out->buffer + before, sizeof(out->buffer) - before))
		return false;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (is_below(out->buffer + before, names[i])) {
			memcpy(out->buffer, folder, strlen(folder));
			memcpy(out->buffer + strlen(folder), "/" SESSION_TREE, sizeof("/" SESSION_TREE) - 1);
			out->path = out->buffer;
			out->name = out->buffer + before;
			out->start = before + start;
			return true;
		}
	return false;
}

void redirect_below(const char *folder, const char *path, struct redirected *out)
{
	out->path = path;
	out->name = NULL;
	find(folder, path, 0, out);
}

void redirect_from(const char *folder, char *where, size_t length, const char *path, struct redirected *out)
{
	size_t left = undo_redirect_below(folder, where, length);
	bool inside = left < length;

	out->path = path;
	out->name = NULL;
	left = left > 1 ? left : 0;
	if (!length || *where != '/' || !*path || !join(where, &left, path))
		return;
	/* Out of our folders: the kernel would go on below the session's. */
	if (!find(folder, where, left, out) && inside) {
		strcpy(out->buffer, where);
		out->path = out->buffer;
	}
}

size_t undo_redirect_below(const char *folder, char *name, size_t length)
{
	size_t before = strlen(folder);

	if (length <= before + sizeof("/" SESSION_TREE) - 1 || memcmp(name, folder, before) != 0 ||
	    memcmp(name + before, "/" SESSION_TREE "/", sizeof("/" SESSION_TREE)) != 0)
		return length;
	before += sizeof("/" SESSION_TREE) - 1;
	memmove(name, name + before, length - before);
	return length - before;
}

/* @value, and its end. */
static char *number(char *out, int value)
{
	char digits[12];
	size_t at = sizeof(digits);

	do
		digits[--at] = (char)('0' + value % 10);
	while ((value /= 10));
	memcpy(out, digits + at, sizeof(digits) - at);
	return out + sizeof(digits) - at;
}

long link_of(pid_t task, int fd, char *out)
{
	char path[64] = "/proc/", *end = path + strlen(path);

	if (fd < 0 && fd != AT_FDCWD)
		return -EBADF;
	/* Not "self": that is the first thread, which may have ended. */
	end = task ? number(end, task) : stpcpy(end, "thread-self");
	if (fd < 0)
		strcpy(end, "/cwd");
	else
		*number(stpcpy(end, "/fd/"), fd) = '\0';
	return sys_4(SYS_readlinkat, AT_FDCWD, (long)path, (long)out, PATH_MAX);
}

bool node_of_device(const char *folder, int fd, char *name)
{
	struct stat found = {0};
	long length;

	if (sys_fstat(fd, &found) || !S_ISREG(found.st_mode) || (found.st_mode & 07777) != SESSION_NODE_MODE)
		return false;
	length = link_of(0, fd, name);
	if (length <= 0 || length >= PATH_MAX)
		return false;
	name[undo_redirect_below(folder, name, (size_t)length)] = '\0';
	return is_device_name(name);
}

int open_below(struct redirected *to, const struct open_how *how)
{
	/* Nobody makes anything in there. */
	struct open_how what = {.flags = how->flags & ~(uint64_t)(O_CREAT | O_EXCL | O_TRUNC), .resolve = how->resolve};
	const char *rest = to->buffer + to->start + strspn(to->buffer + to->start, "/");
	char after = to->buffer[to->start];
	int begin, fd;

	if (!(how->flags & O_CREAT))
		what.mode = how->mode;
	to->buffer[to->start] = '\0';
	begin = sys_openat(AT_FDCWD, to->buffer, O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
	to->buffer[to->start] = after;
	if (begin < 0)
		return begin;
	fd = (int)sys_4(SYS_openat2, begin, (long)(*rest ? rest : "."), (long)&what, sizeof(what));
	sys_close(begin);
	return fd;
}
