/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A file system for a guest that brings none: busybox, an init, modules, and what the user adds. The kernel unpacks it from a cpio
 * archive ("newc": a header of hexadecimal numbers, name and contents, each padded to 4 bytes).
 */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/vm/vm.h"
#include "util/util.h"

enum { FOLDER = 040755, PROGRAM = 0100755, CONTENTS_MAX = 1 << 30 };

struct archive {
	FILE *out;
	unsigned int number; /* of the entry, as inode numbers are */
};

static void pad(FILE *out, size_t length)
{
	static const char zeros[4];

	fwrite(zeros, 1, -length & 3, out);
}

static void add(struct archive *archive, const char *name, unsigned int mode, const void *data, size_t length)
{
	size_t name_size = strlen(name) + 1;

	fprintf(archive->out, "070701%08x%08x%08x%08x%08x%08x%08zx%08x%08x%08x%08x%08zx%08x", ++archive->number, mode, 0, 0, 1, 0,
		length, 0, 0, 0, 0, name_size, 0);
	fwrite(name, 1, name_size, archive->out);
	pad(archive->out, 110 + name_size);
	fwrite(data, 1, length, archive->out);
	pad(archive->out, length);
}

static bool add_file(struct archive *archive, const char *path, const char *name)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat stat;
	void *data = NULL;

	if (fd < 0 || fstat(fd, &stat) < 0)
		goto no;
	if (!S_ISREG(stat.st_mode) || stat.st_size > CONTENTS_MAX) {
		errno = S_ISREG(stat.st_mode) ? EFBIG : EISDIR;
		goto no;
	}
	if (stat.st_size) {
		data = mmap(NULL, (size_t)stat.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
		if (data == MAP_FAILED)
			goto no;
	}
	close(fd);
	add(archive, name, 0100000 | (stat.st_mode & 0777), data, (size_t)stat.st_size);
	if (data)
		munmap(data, (size_t)stat.st_size);
	return true;
no:
	complain(STATUS_OTHER, "%s: %s", path, strerror(errno));
	if (fd >= 0)
		close(fd);
	return false;
}

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

/* The folders above @name, from the top; what is there twice does no harm. */
static void add_folders(struct archive *archive, const char *name)
{
	char above[PATH_MAX];

	for (const char *slash = strchr(name, '/'); slash; slash = strchr(slash + 1, '/')) {
		snprintf(above, sizeof(above), "%.*s", (int)(slash - name), name);
		add(archive, above, FOLDER, NULL, 0);
	}
}

/* FILE or FILE:PATH. */
static bool add_given(struct archive *archive, const char *given)
{
	const char *colon = strrchr(given, ':'), *name;
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%.*s", (int)(colon ? colon - given : (ptrdiff_t)strlen(given)), given);
	name = colon ? colon + 1 : base_name(given);
	while (*name == '/')
		name++;
	if (!*name || name[strlen(name) - 1] == '/' || strstr(name, "..") || strlen(name) >= PATH_MAX)
		return complain(STATUS_USAGE, "--file '%s': that is no name in the guest", given), false;
	add_folders(archive, name);
	return add_file(archive, path, name);
}

/* nftw() has no argument for its function. */
static const char *wanted_module;
static char found_module[PATH_MAX];

/* NAME.ko, perhaps compressed; '-' and '_' are the same in names of modules. */
static int is_module(const char *path, const struct stat *stat, int type, struct FTW *where)
{
	const char *name = path + where->base, *wanted = wanted_module;

	(void)stat;
	if (type != FTW_F)
		return 0;
	for (; *wanted; name++, wanted++)
		if (*name != *wanted && !(strchr("-_", *name) && strchr("-_", *wanted)))
			return 0;
	if (strncmp(name, ".ko", 3) != 0 || (name[3] && name[3] != '.'))
		return 0;
	snprintf(found_module, sizeof(found_module), "%s", path);
	return 1;
}

/* In the order in which they are loaded: a number goes before each. */
static bool add_module(struct archive *archive, const struct vm *vm, const char *module, size_t number)
{
	char folder[PATH_MAX], name[PATH_MAX];

	if (strchr(module, '/')) {
		snprintf(found_module, sizeof(found_module), "%s", module);
	} else {
		char named[PATH_MAX];

		snprintf(named, sizeof(named), "%s/modules", vm->tools);
		wanted_module = module;
		if (!realpath(named, folder) || nftw(folder, is_module, 16, FTW_PHYS) != 1)
			return complain(STATUS_OTHER, "--module %s: the kernel has none of that name", module), false;
	}
	if ((size_t)snprintf(name, sizeof(name), "modules/%03zu-%s", number, base_name(found_module)) >= sizeof(name))
		return complain(STATUS_USAGE, "--module %s: too long", module), false;
	return add_file(archive, found_module, name);
}

static bool add_all(struct archive *archive, const struct vm *vm)
{
	static const char *const folders[] = {"bin", "dev", "modules", "proc", "run", "sys", "tmp"};
	char path[PATH_MAX];

	for (size_t i = 0; i < ARRAY_SIZE(folders); i++)
		add(archive, folders[i], FOLDER, NULL, 0);
	snprintf(path, sizeof(path), "%s/busybox", vm->tools);
	if (!add_file(archive, path, "bin/busybox"))
		return false;
	if (!vm_find(path, sizeof(path), "vm-init"))
		return complain(STATUS_OTHER, "vm-init is not installed"), false;
	if (!add_file(archive, path, "init"))
		return false;
	for (size_t i = 0; i < vm->modules.count; i++)
		if (!add_module(archive, vm, vm->modules.items[i], i))
			return false;
	if (vm->run)
		add(archive, "main", PROGRAM, vm->run, strlen(vm->run));
	for (size_t i = 0; i < vm->files.count; i++)
		if (!add_given(archive, vm->files.items[i]))
			return false;
	add(archive, "TRAILER!!!", 0, NULL, 0);
	return true;
}

bool vm_initrd(const struct vm *vm, const char *path)
{
	struct archive archive = {.out = fopen(path, "we")};
	bool done;

	if (!archive.out)
		return complain(STATUS_OTHER, "%s: %s", path, strerror(errno)), false;
	done = add_all(&archive, vm);
	if ((ferror(archive.out) | fclose(archive.out)) && done)
		return complain(STATUS_OTHER, "%s: cannot be written", path), false;
	return done;
}
