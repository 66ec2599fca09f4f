/* SPDX-License-Identifier: BSD-3-Clause */
/* uiommu vm, uiommu qemu-args: what the user says, and what follows from it. */
#include "cli/vm/vm.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <uiommu/model.h>
#include <unistd.h>

#include "util/util.h"

enum { SPIN_US = 60 };

/* What is said, before anything is made of it. */
struct said {
	struct arg_list devices;
	const char *without, *run, *seccomp, *spin;
	bool caching_mode, setup, again;
};

/* In the build that this program is in, or where it has been installed. */
bool vm_find(char *path, size_t size, const char *name)
{
	return find_part(path, size, "/src/cli/vm", UIOMMU_LIBEXEC, name);
}

/* --- the folder with QEMU and a kernel --- */

static enum status set_up(bool again)
{
	char path[PATH_MAX];

	if (!vm_find(path, sizeof(path), "vm-setup"))
		return complain(STATUS_OTHER, "vm-setup is not installed");
	execl(path, "vm-setup", again ? "--again" : NULL, NULL);
	return complain(STATUS_OTHER, "%s: %s", path, strerror(errno));
}

/* Its name, made first if there is none; what it says meanwhile the user sees. */
static bool find_tools(struct vm *vm)
{
	char path[PATH_MAX];
	FILE *said;
	int status;

	if (!vm_find(path, sizeof(path), "vm-setup"))
		return complain(STATUS_OTHER, "vm-setup is not installed"), false;
	said = popen(path, "re");
	if (!said)
		return complain(STATUS_OTHER, "%s: %s", path, strerror(errno)), false;
	if (!fgets(vm->tools, sizeof(vm->tools), said))
		vm->tools[0] = '\0';
	vm->tools[strcspn(vm->tools, "\n")] = '\0';
	status = pclose(said);
	if (!vm->tools[0] || status)
		return complain(STATUS_OTHER, "there is no QEMU and no kernel; see uiommu vm --setup"), false;
	return true;
}

/* --- devices --- */

/* "BUS:0.FUNCTION", hexadecimal. */
static bool parse_bdf(const char *text, struct vm_endpoint *endpoint)
{
	unsigned int bus, device, function;
	char rest;

	if (sscanf(text, "%2x:%2x.%1u%c", &bus, &device, &function, &rest) != 3 || !bus || bus > VM_ENDPOINTS_MAX || device ||
	    function > 7)
		return false;
	endpoint->port = bus - 1;
	endpoint->function = function;
	endpoint->wanted = true;
	endpoint->bus = (uint8_t)bus;
	return true;
}

/* "bdf=..." */
static bool take_place(const char *bdf, struct vm_endpoint *endpoint)
{
	return parse_bdf(bdf, endpoint) ||
	       (complain(STATUS_USAGE, "--device: bdf=%s: expected BUS:0.FUNCTION, from 01:00.0 on", bdf), false);
}

/* "parent=..." */
static bool take_parent(const char *name, struct vm *vm, struct vm_endpoint *endpoint)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_";

	if (!*name || name[strspn(name, letters)] || strlen(name) > VM_NAME_MAX)
		return complain(STATUS_USAGE, "--device: parent=%s: expected a name: letters, digits, - and _, at most %d", name,
				VM_NAME_MAX),
		       false;
	if (vm->parent && strcmp(vm->parent, name) != 0)
		return complain(STATUS_USAGE, "--device: parent=%s: a guest's devices have one parent, and there is %s", name,
				vm->parent),
		       false;
	if (!vm->parent)
		vm->parent = strdup(name);
	endpoint->is_virtual = true;
	return vm->parent || (complain(STATUS_OTHER, "no memory"), false);
}

/* Takes "bdf=" and "parent=" out of the model's options; a comma that is written twice belongs to a value. */
static bool parse_device(const char *text, struct vm *vm, struct vm_endpoint *endpoint)
{
	size_t length = 0;

	endpoint->model = malloc(strlen(text) + 1);
	if (!endpoint->model)
		return complain(STATUS_OTHER, "no memory"), false;
	while (*text) {
		const char *end = text;

		while (*end && (end == text || *end != ',' || end[1] == ','))
			end += *end == ',' && end[1] == ',' ? 2 : 1;
		if (strncmp(text, ",bdf=", 5) == 0) {
			char bdf[16];

			snprintf(bdf, sizeof(bdf), "%.*s", (int)(end - text - 5), text + 5);
			if (!take_place(bdf, endpoint))
				return false;
		} else if (strncmp(text, ",parent=", 8) == 0) {
			char name[VM_NAME_MAX + 2];

			snprintf(name, sizeof(name), "%.*s", (int)(end - text - 8), text + 8);
			if (!take_parent(name, vm, endpoint))
				return false;
		} else {
			memcpy(endpoint->model + length, text, (size_t)(end - text));
			length += (size_t)(end - text);
		}
		text = end;
	}
	endpoint->model[length] = '\0';
	return true;
}

static bool is_taken(const struct vm *vm, unsigned int port, int function, unsigned int by_others_than)
{
	for (unsigned int i = 0; i < vm->endpoint_count; i++)
		if (i != by_others_than && vm->endpoints[i].wanted && vm->endpoints[i].port == port &&
		    (function < 0 || vm->endpoints[i].function == (unsigned int)function))
			return true;
	return false;
}

/* Those without a wish get what is left, in order: the firmware counts buses as root ports come. */
static bool place_devices(struct vm *vm)
{
	unsigned int next = 0;

	for (unsigned int i = 0; i < vm->endpoint_count; i++) {
		struct vm_endpoint *endpoint = &vm->endpoints[i];

		if (!endpoint->wanted) {
			while (is_taken(vm, next, -1, i))
				next++;
			endpoint->port = next++;
			endpoint->bus = (uint8_t)(endpoint->port + 1);
		} else if (is_taken(vm, endpoint->port, (int)endpoint->function, i)) {
			return complain(STATUS_USAGE, "--device %s: another device is there", endpoint->model), false;
		} else if (endpoint->function && !is_taken(vm, endpoint->port, 0, i)) {
			return complain(STATUS_USAGE, "--device %s: there is no function 0 on that bus", endpoint->model), false;
		}
		if (endpoint->port >= vm->port_count)
			vm->port_count = endpoint->port + 1;
	}
	return true;
}

/* A device's option whose value names a file. */
static bool has_file(const char *text)
{
	const struct uiommu_model_info *info;
	char option[40];

	for (size_t i = 0; (info = uiommu_model_info(i)); i++)
		for (size_t k = 0; k < info->option_count; k++) {
			if (!info->options[k].value || strcmp(info->options[k].value, "PATH") != 0)
				continue;
			snprintf(option, sizeof(option), ",%s=", info->options[k].key);
			if (strncmp(text, info->name, strlen(info->name)) == 0 && strstr(text, option))
				return true;
		}
	return false;
}

/* The process that has the parent opens nothing (shared.h). */
static bool files_are_possible(const struct vm *vm)
{
	for (unsigned int i = 0; vm->parent && i < vm->endpoint_count; i++)
		if (has_file(vm->endpoints[i].model))
			return complain(STATUS_USAGE, "--device %s: beside a device with a parent, none has a file",
					vm->endpoints[i].model),
			       false;
	return true;
}

static bool parse_devices(struct vm *vm, const struct arg_list *devices)
{
	if (devices->count > VM_ENDPOINTS_MAX)
		return complain(STATUS_USAGE, "--device: more than %d", VM_ENDPOINTS_MAX), false;
	for (size_t i = 0; i < devices->count; i++) {
		vm->endpoint_count++;
		if (!parse_device(devices->items[i], vm, &vm->endpoints[i]))
			return false;
	}
	return files_are_possible(vm) && place_devices(vm);
}

/* --- what the VT-d offers --- */

static const struct {
	const char *name;
	uint32_t bits; /* and what needs them */
} features[] = {
	{"scalable", UIOMMU_VTD_TABLES_SMTS | UIOMMU_VTD_TABLES_ADMS | UIOMMU_VTD_TABLES_FIRST | UIOMMU_VTD_TABLES_FIRST_5 |
			     UIOMMU_VTD_TABLES_FIRST_1G | UIOMMU_VTD_TABLES_SECOND | UIOMMU_VTD_TABLES_SECOND_AD |
			     UIOMMU_VTD_TABLES_NESTED | UIOMMU_VTD_TABLES_PASID | UIOMMU_VTD_TABLES_PRI |
			     UIOMMU_VTD_TABLES_SUPERVISOR | UIOMMU_VTD_TABLES_WALK_SNOOP | UIOMMU_VTD_TABLES_PSS},
	{"first", UIOMMU_VTD_TABLES_FIRST | UIOMMU_VTD_TABLES_FIRST_5 | UIOMMU_VTD_TABLES_FIRST_1G | UIOMMU_VTD_TABLES_NESTED},
	{"second", UIOMMU_VTD_TABLES_SECOND | UIOMMU_VTD_TABLES_SECOND_AD | UIOMMU_VTD_TABLES_NESTED},
	{"nested", UIOMMU_VTD_TABLES_NESTED},
	{"5level", UIOMMU_VTD_TABLES_FIRST_5},
	{"1g", UIOMMU_VTD_TABLES_FIRST_1G | UIOMMU_VTD_TABLES_SECOND_1G},
	{"pasid", UIOMMU_VTD_TABLES_PASID | UIOMMU_VTD_TABLES_PRI | UIOMMU_VTD_TABLES_PSS},
	{"pri", UIOMMU_VTD_TABLES_PRI},
	{"ats", UIOMMU_VTD_TABLES_ATS | UIOMMU_VTD_TABLES_PRI},
	{"pass-through", UIOMMU_VTD_TABLES_PASS},
};

static bool leave_out(struct vm *vm, const char *list)
{
	while (list && *list) {
		size_t length = strcspn(list, ","), i = 0;

		while (i < ARRAY_SIZE(features) &&
		       (strlen(features[i].name) != length || strncmp(features[i].name, list, length) != 0))
			i++;
		if (i == ARRAY_SIZE(features))
			return complain(STATUS_USAGE, "--without: '%.*s' is no feature of the VT-d", (int)length, list), false;
		vm->vtd_capabilities &= ~features[i].bits;
		list += length + (list[length] == ',');
	}
	return true;
}

/* --- the commands --- */

/* QEMU would say so, too, but only when it has been started. */
static bool is_there(const char *option, const char *path, int access_mode)
{
	struct stat stat_of;
	int error = 0;

	if (stat(path, &stat_of) < 0 || access(path, access_mode) < 0)
		error = errno;
	else if (S_ISDIR(stat_of.st_mode))
		error = EISDIR;
	if (error)
		complain(STATUS_OTHER, "--%s %s: %s", option, path, strerror(error));
	return !error;
}

static bool all_are_there(const struct vm *vm)
{
	if ((vm->kernel && !is_there("kernel", vm->kernel, R_OK)) || (vm->initrd && !is_there("initrd", vm->initrd, R_OK)))
		return false;
	for (size_t i = 0; i < vm->disks.count; i++)
		if (!is_there("disk", vm->disks.items[i], R_OK | W_OK))
			return false;
	if (strcmp(vm->accel, "kvm") == 0 && access("/dev/kvm", R_OK | W_OK) < 0)
		return complain(STATUS_OTHER, "--accel kvm: /dev/kvm: %s", strerror(errno)), false;
	return true;
}

static bool understand(struct vm *vm, const struct said *said, bool print)
{
	uint64_t spin_us = SPIN_US;

	if (strcmp(vm->accel, "tcg") != 0 && strcmp(vm->accel, "kvm") != 0)
		return complain(STATUS_USAGE, "--accel '%s': expected tcg or kvm", vm->accel), false;
	if (vm->memory & ((1 << 20) - 1))
		return complain(STATUS_USAGE, "--memory: not a multiple of 1M"), false;
	if (said->spin && (parse_number(said->spin, &spin_us) || spin_us > VM_SPIN_US_MAX))
		return complain(STATUS_USAGE, "--spin-us '%s': expected a number up to %d", said->spin, VM_SPIN_US_MAX), false;
	vm->spin_us = (uint32_t)spin_us;
	if (said->seccomp && !sandbox_parse(said->seccomp, &vm->seccomp))
		return complain(STATUS_USAGE, "--seccomp '%s': expected enforce, log or off", said->seccomp), false;
	vm->vtd_flags = said->caching_mode ? UIOMMU_VTD_CACHING_MODE : 0;
	vm->vtd_capabilities = UIOMMU_VTD_DEFAULT_CAPABILITIES;
	if (said->run && asprintf(&vm->run, "#!/bin/sh\n%s\n", said->run) < 0)
		return complain(STATUS_OTHER, "no memory"), false;
	if (!leave_out(vm, said->without) || !parse_devices(vm, &said->devices))
		return false;
	if (vm->on_demand && vm->parent)
		return complain(STATUS_USAGE, "--on-demand: not with a device that other guests share, which would wait, too"),
		       false;
	if (vm->pasid_quota > UIOMMU_PASID_LAST)
		return complain(STATUS_USAGE, "--virtual-commands: there are no more than %u PASIDs", UIOMMU_PASID_LAST), false;
	if (vm->pasid_quota && vm->parent)
		return complain(STATUS_USAGE, "--virtual-commands: not with a device that other guests share, which has PASIDs of "
					      "its own"),
		       false;
	if (!vm->kernel && (vm->initrd || vm->append) && (print || vm->disks.count))
		return complain(STATUS_USAGE, "--initrd and --append need --kernel"), false;
	if ((vm->initrd || vm->disks.count) && (vm->run || vm->files.count || vm->modules.count))
		return complain(STATUS_USAGE,
				"--run, --file and --module are for the initrd that is made: without --initrd and --disk"),
		       false;
	return true;
}

/* Of what was not given: QEMU, a kernel, what an initrd is made of. */
static bool complete(struct vm *vm, char *paths, size_t size, bool print)
{
	bool own_kernel = vm->kernel || vm->disks.count || print;

	if (vm->qemu && own_kernel && (!vm->kernel || vm->initrd || vm->disks.count))
		return true;
	if (!find_tools(vm))
		return false;
	if (!vm->qemu) {
		snprintf(paths, size, "%s/qemu", vm->tools);
		vm->qemu = paths;
	}
	if (!own_kernel) {
		snprintf(paths + size, size, "%s/vmlinuz", vm->tools);
		vm->kernel = paths + size;
	}
	return true;
}

static void print_features(void)
{
	printf("\nDevices, as MODEL[,OPTION=VALUE]...[,bdf=BUS:0.FUNCTION][,parent=NAME]; with a parent, a virtual device of an\n"
	       "accelerator that all guests share which name it:\n");
	print_models();
	printf("\nFeatures of the VT-d, for --without:\n ");
	for (size_t i = 0; i < ARRAY_SIZE(features); i++)
		printf(" %s", features[i].name);
	putchar('\n');
}

static enum status run_either(const struct command *command, int argc, char **argv, bool print, const char *description)
{
	struct vm vm = {.memory = UINT64_C(1) << 30, .cpus = 1, .accel = "tcg", .seccomp = sandbox_default(), .base = VM_NOWHERE};
	struct said said = {0};
	const struct arg args[] = {
		{"device", ARG_LIST, false, &said.devices, "MODEL", "a device behind the VT-d; may be given again"},
		{"memory", ARG_LENGTH, false, &vm.memory, "SIZE", "of the guest; 1G"},
		{"cpus", ARG_COUNT, false, &vm.cpus, "N", "of the guest; 1"},
		{"accel", ARG_TEXT, false, &vm.accel, "NAME", "tcg (which needs nothing), or kvm"},
		{"caching-mode", ARG_FLAG, false, &said.caching_mode, NULL,
		 "the guest has to say of new entries that they are there (CM)"},
		{"virtual-commands", ARG_COUNT, false, &vm.pasid_quota, "N",
		 "the guest has to allocate its PASIDs, at most N, by virtual commands (VCS)"},
		{"on-demand", ARG_FLAG, false, &vm.on_demand, NULL,
		 "the guest's memory may be supplied page by page, when it is touched (postcopy)"},
		{"without", ARG_TEXT, false, &said.without, "LIST", "features that the VT-d does not offer, with commas"},
		{"kernel", ARG_TEXT, false, &vm.kernel, "FILE", "instead of Debian's"},
		{"initrd", ARG_TEXT, false, &vm.initrd, "FILE", "instead of the one that is made"},
		{"append", ARG_TEXT, false, &vm.append, "TEXT", "at the end of the kernel's command line"},
		{"disk", ARG_LIST, false, &vm.disks, "FILE",
		 "a disk, raw or .qcow2; may be given again. Without --kernel it is booted"},
		{"file", ARG_LIST, false, &vm.files, "FILE[:PATH]", "for the initrd that is made; may be given again"},
		{"module", ARG_LIST, false, &vm.modules, "NAME", "of Debian's kernel, or a path; loaded in the order given"},
		{"run", ARG_TEXT, false, &said.run, "COMMAND", "what the guest does instead of a shell; then it ends"},
		{"qemu", ARG_TEXT, false, &vm.qemu, "PROGRAM", "instead of the one of --setup"},
		{"spin-us", ARG_TEXT, false, &said.spin, "N", "how long the server looks for more before it sleeps; 60"},
		{"seccomp", ARG_TEXT, false, &said.seccomp, "MODE", "what confines the server: enforce, log or off"},
		{"--", ARG_REST, false, &vm.more, "OPTION...", "more options of QEMU"},
		{"setup", ARG_FLAG, false, &said.setup, NULL, "get QEMU and a kernel, and print the name of their folder"},
		{"again", ARG_FLAG, false, &said.again, NULL, "with --setup: make the folder anew"},
	};
	size_t count = ARRAY_SIZE(args) - (print ? 2 : 0);
	enum status status;
	char paths[2][PATH_MAX];

	if (!args_parse(command, description, args, count, argc, argv, &status)) {
		if (status == STATUS_OK)
			print_features();
		return status;
	}
	if (said.setup)
		return set_up(said.again);
	status = STATUS_USAGE;
	if (understand(&vm, &said, print))
		status = all_are_there(&vm) && complete(&vm, paths[0], sizeof(paths[0]), print) ? vm_launch(&vm, print)
												: STATUS_OTHER;
	for (unsigned int i = 0; i < VM_ENDPOINTS_MAX; i++)
		free(vm.endpoints[i].model);
	free(vm.run);
	free(vm.parent);
	return status;
}

static enum status run_vm(const struct command *command, int argc, char **argv)
{
	return run_either(command, argc, argv, false,
			  "Boot a guest behind a VT-d, in QEMU 11. Without --kernel or --disk it is Debian's kernel with a shell.");
}

static enum status run_qemu_args(const struct command *command, int argc, char **argv)
{
	return run_either(command, argc, argv, true,
			  "Print the options of a QEMU 11 whose guest has a VT-d, and serve it until SIGINT or SIGTERM.");
}

const struct command command_vm = {"vm", "boot a guest behind a VT-d of ours", run_vm};
const struct command command_qemu_args = {"qemu-args", "the same, for a QEMU that you start", run_qemu_args};
