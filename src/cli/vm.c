/* SPDX-License-Identifier: BSD-3-Clause */
/* uiommu vm: what guests need. The work is done by a script beside this program. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/args.h"
#include "util/util.h"

/* In the build that this program is in, or where it has been installed. */
static bool find_script(char *path, size_t size)
{
	ssize_t length = readlink("/proc/self/exe", path, size - 1);
	char *name;

	path[length < 0 ? 0 : length] = '\0';
	name = strrchr(path, '/');
	if (name) {
		size_t room = size - (size_t)(name - path);

		if ((size_t)snprintf(name, room, "/src/cli/vm-setup") < room && !access(path, X_OK))
			return true;
	}
	return (size_t)snprintf(path, size, "%s/vm-setup", UIOMMU_LIBEXEC) < size && !access(path, X_OK);
}

static enum status run(const struct command *command, int argc, char **argv)
{
	bool setup = false, again = false;
	const struct arg args[] = {
		{"setup", ARG_FLAG, true, &setup, NULL, "make the folder, and print its name"},
		{"again", ARG_FLAG, false, &again, NULL, "make it anew"},
	};
	char path[PATH_MAX];
	enum status status;

	if (!args_parse(
		    command,
		    "Get QEMU 11 and a kernel for guests, into a folder below ~/.cache/uiommu. A QEMU 11 of the machine is used.",
		    args, ARRAY_SIZE(args), argc, argv, &status))
		return status;
	if (!find_script(path, sizeof(path)))
		return complain(STATUS_OTHER, "vm-setup is not installed");
	execl(path, "vm-setup", again ? "--again" : NULL, NULL);
	return complain(STATUS_OTHER, "%s: %s", path, strerror(errno));
}

const struct command command_vm = {"vm", "get what guests need", run};
