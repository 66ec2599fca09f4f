/* SPDX-License-Identifier: BSD-3-Clause */
#include "abi/shim/paths.h"

#include <string.h>

#include "abi/session/protocol.h"

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
	return is_below(name, "/dev");
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

void redirect_below(const char *folder, const char *path, struct redirected *out)
{
	size_t before = strlen(folder) + sizeof("/" SESSION_TREE) - 1;

	out->path = path;
	out->name = NULL;
	if (!may_be_ours(path) || before >= sizeof(out->buffer) || !tidy(path, out->buffer + before, sizeof(out->buffer) - before))
		return;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (is_below(out->buffer + before, names[i])) {
			memcpy(out->buffer, folder, strlen(folder));
			memcpy(out->buffer + strlen(folder), "/" SESSION_TREE, sizeof("/" SESSION_TREE) - 1);
			out->path = out->buffer;
			out->name = out->buffer + before;
			return;
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
