/* SPDX-License-Identifier: BSD-3-Clause */
/* Where a guest's sockets are: a folder named after its launcher, in one that is its user's alone. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/vm/vm.h"

/* Below $XDG_RUNTIME_DIR, or where everybody may make folders. */
int vm_folder_all(char *path, size_t size)
{
	const char *runtime = getenv("XDG_RUNTIME_DIR");
	int length;

	if (runtime && *runtime == '/')
		length = snprintf(path, size, "%s/uiommu-vm", runtime);
	else
		length = snprintf(path, size, "/tmp/uiommu-vm-%u", getuid());
	return (size_t)length < size ? 0 : -ENAMETOOLONG;
}

int vm_folder_name(char *path, size_t size, pid_t pid)
{
	char all[VM_PATH_MAX];
	int error = vm_folder_all(all, sizeof(all));

	if (error)
		return error;
	return (size_t)snprintf(path, size, "%s/%d", all, pid) < size ? 0 : -ENAMETOOLONG;
}

/* Whoever may write here could put a socket of his own in place of ours. */
static int make_private(const char *path)
{
	struct stat stat;

	if (mkdir(path, 0700) < 0 && errno != EEXIST)
		return -errno;
	if (lstat(path, &stat) < 0)
		return -errno;
	return S_ISDIR(stat.st_mode) && stat.st_uid == getuid() && !(stat.st_mode & 077) ? 0 : -EPERM;
}

int vm_folder_make(struct vm *vm)
{
	char all[VM_PATH_MAX];
	int error = vm_folder_all(all, sizeof(all));

	if (!error)
		error = vm_folder_name(vm->folder, sizeof(vm->folder), getpid());
	if (!error)
		error = make_private(all);
	if (error)
		return error;
	/* One that is there already is left over: its process cannot be alive. */
	vm_folder_remove(vm->folder);
	return mkdir(vm->folder, 0700) < 0 ? -errno : 0;
}

void vm_folder_remove(const char *path)
{
	DIR *folder = opendir(path);
	const struct dirent *entry;

	if (!folder)
		return;
	while ((entry = readdir(folder)))
		unlinkat(dirfd(folder), entry->d_name, 0);
	closedir(folder);
	rmdir(path);
}

int vm_write_file(const char *path, const void *data, size_t length)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	int error = 0;

	if (fd < 0)
		return -errno;
	for (size_t done = 0; !error && done < length;) {
		ssize_t written = write(fd, (const char *)data + done, length - done);

		if (written < 0)
			error = -errno;
		else
			done += (size_t)written;
	}
	if (close(fd) < 0 && !error)
		error = -errno;
	return error;
}
