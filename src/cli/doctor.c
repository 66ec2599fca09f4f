/* SPDX-License-Identifier: BSD-3-Clause */
/* doctor: what of the kernel's features is here, and what is done without them. */
#include "cli/doctor.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/membarrier.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "cli/args.h"
#include "memory/bundle.h"
#include "memory/process.h"
#include "memory/vma.h"
#include "memory/watch.h"
#include "util/util.h"

struct feature {
	const char *key; /* in JSON */
	const char *name;
	/* True if it is here. @detail may say more. */
	bool (*probe)(char *detail, size_t size);
	bool required;
	const char *without; /* what happens if it is not here */
};

static bool probe_linux(char *detail, size_t size)
{
	struct utsname name;
	long major, minor;
	char *end;

	if (uname(&name) < 0)
		return false;
	snprintf(detail, size, "%s %s", name.release, name.machine);
	major = strtol(name.release, &end, 10);
	minor = *end == '.' ? strtol(end + 1, NULL, 10) : 0;
	return major > 6 || (major == 6 && minor >= 1);
}

/* What the library itself has found out. */
static bool probe_procmap_query(char *detail, size_t size)
{
	int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
	struct vmas vmas;
	bool found;

	(void)detail;
	(void)size;
	if (fd < 0)
		return false;
	vmas_init(&vmas, fd, false);
	found = vmas.query;
	vmas_fini(&vmas);
	close(fd);
	return found;
}

static bool probe_force_override(char *detail, size_t size)
{
	(void)detail;
	(void)size;
	return process_handle_honours();
}

static bool probe_pidfd_info(char *detail, size_t size)
{
	(void)detail;
	(void)size;
	return !bundle_must_open(0);
}

static bool probe_pidfd_getfd(char *detail, size_t size)
{
	int pidfd = (int)syscall(SYS_pidfd_open, getpid(), 0);
	bool works = false;

	if (pidfd >= 0) {
		works = syscall(SYS_pidfd_getfd, pidfd, INT_MAX, 0) < 0 && errno == EBADF;
		if (!works)
			snprintf(detail, size, "on ourselves: %s", strerror(errno));
		close(pidfd);
	}
	return works;
}

static bool probe_process_vm(char *detail, size_t size)
{
	char from = 'x', to = 0;
	struct iovec local = {&to, 1}, remote = {&from, 1};

	if (process_vm_readv(getpid(), &local, 1, &remote, 1, 0) == 1)
		return true;
	snprintf(detail, size, "on ourselves: %s", strerror(errno));
	return false;
}

/* As an owner of processes opens it, and as the one who gets it asks it. */
static bool probe_perf_event(char *detail, size_t size)
{
	int event = exec_event_open(getpid()), error = event < 0 ? -errno : exec_event_ask(event);

	if (event >= 0)
		close(event);
	if (error)
		snprintf(detail, size, "on ourselves: %s", strerror(-error));
	return !error;
}

static bool probe_membarrier(char *detail, size_t size)
{
	long commands = syscall(SYS_membarrier, MEMBARRIER_CMD_QUERY, 0, 0);

	(void)detail;
	(void)size;
	return commands > 0 && commands & MEMBARRIER_CMD_PRIVATE_EXPEDITED;
}

static bool probe_userfaultfd(char *detail, size_t size)
{
	enum { USER_MODE_ONLY = 1 };
	int full = (int)syscall(SYS_userfaultfd, O_CLOEXEC), limited = full;

	if (full < 0)
		limited = (int)syscall(SYS_userfaultfd, O_CLOEXEC | USER_MODE_ONLY);
	snprintf(detail, size, "%s", full >= 0 ? "full" : limited >= 0 ? "user mode only" : strerror(errno));
	if (limited >= 0)
		close(limited);
	return limited >= 0;
}

static bool probe_seals(char *detail, size_t size)
{
	int fd = memfd_create("doctor", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	bool works = fd >= 0 && fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK) == 0 && fcntl(fd, F_GET_SEALS) == F_SEAL_SHRINK;

	(void)detail;
	(void)size;
	if (fd >= 0)
		close(fd);
	return works;
}

static const struct feature features[] = {
	{"linux", "Linux 6.1 or newer", probe_linux, false, "not tested on older kernels"},
	{"procmap_query", "PROCMAP_QUERY", probe_procmap_query, false, "/proc/PID/maps is parsed before a write: slower"},
	{"force_override", "proc_mem.force_override", probe_force_override, false,
	 "the handle ignores protections, so they are asked for before every write"},
	{"pidfd_info", "PIDFD_GET_INFO", probe_pidfd_info, false, "who has received a handle reads under /proc whose it is"},
	{"pidfd_getfd", "pidfd_getfd", probe_pidfd_getfd, true, "no other process can be bound"},
	{"process_vm_readv", "process_vm_readv", probe_process_vm, false, "reads go through /proc/PID/mem: slower"},
	{"perf_event", "perf events for exec", probe_perf_event, false,
	 "an exec is noticed by what is in memory: slower, and not with a shared memory where only the handle may be used"},
	{"membarrier", "membarrier", probe_membarrier, false, "every lookup pays a memory barrier"},
	{"userfaultfd", "userfaultfd", probe_userfaultfd, false, "memory on demand is not possible"},
	{"memfd_seals", "memfd seals", probe_seals, true, "no daemon, no registered memory"},
};

int yama_scope(void)
{
	FILE *file = fopen("/proc/sys/kernel/yama/ptrace_scope", "re");
	char line[8];
	int scope = -1;

	if (!file)
		return -1;
	if (fgets(line, sizeof(line), file))
		scope = (int)strtol(line, NULL, 10);
	fclose(file);
	return scope;
}

const char *yama_meaning(int scope)
{
	switch (scope) {
	case -1:
		return "not there: processes of the same user can be bound";
	case 0:
		return "processes of the same user can be bound";
	case 1:
		return "only your own children can be bound, and who allows it with prctl(PR_SET_PTRACER)";
	case 2:
		return "binding other processes needs CAP_SYS_PTRACE";
	default:
		return "no other process can be bound";
	}
}

static void print_line(const char *name, const char *value, const char *rest)
{
	printf("%-24s %s%s%s\n", name, value, *rest ? ": " : "", rest);
}

static enum status print_features(const struct command *command, bool json)
{
	struct json_object *answer = json_answer(command), *object = json_object_new_object(), *yama = json_object_new_object();
	const char *without = getenv("UIOMMU_WITHOUT");
	enum status status = STATUS_OK;
	char scope[16];

	for (size_t i = 0; i < ARRAY_SIZE(features); i++) {
		const struct feature *feature = &features[i];
		struct json_object *entry = json_object_new_object();
		char detail[128] = "";
		bool here = feature->probe(detail, sizeof(detail));

		if (!here && feature->required)
			status = STATUS_OTHER;
		json_add_bool(entry, "present", here);
		json_add_bool(entry, "required", feature->required);
		json_add_string(entry, "detail", detail);
		json_add_string(entry, "without", feature->without);
		json_object_object_add(object, feature->key, entry);
		if (!json)
			print_line(feature->name, here ? "yes" : "no", here ? detail : feature->without);
	}
	snprintf(scope, sizeof(scope), "%d", yama_scope());
	if (!json) {
		print_line("Yama ptrace_scope", yama_scope() < 0 ? "no" : scope, yama_meaning(yama_scope()));
		if (without && *without)
			print_line("UIOMMU_WITHOUT", without, "these are not used although they may be here");
		json_object_put(yama);
		json_object_put(object);
		json_object_put(answer);
		return status;
	}
	json_object_object_add(yama, "scope", yama_scope() < 0 ? NULL : json_object_new_int(yama_scope()));
	json_add_string(yama, "meaning", yama_meaning(yama_scope()));
	json_add_string(answer, "status", status ? "error" : "ok");
	json_object_object_add(answer, "features", object);
	json_object_object_add(answer, "yama", yama);
	json_add_string(answer, "switched_off", without ? without : "");
	json_finish(answer);
	return status;
}

static enum status run_doctor(const struct command *command, int argc, char **argv)
{
	bool json = false;
	pid_t pid = 0;
	const struct arg args[] = {
		{"pid", ARG_PID, false, &pid, "PID", "check why this process can or cannot be bound"},
		{"json", ARG_FLAG, false, &json, NULL, "print JSON"},
	};
	enum status status;

	if (!args_parse(command, "Say which features of the kernel are here, and what is done without the others.", args,
			ARRAY_SIZE(args), argc, argv, &status))
		return status;
	return pid ? doctor_process(command, pid, json) : print_features(command, json);
}

const struct command command_doctor = {"doctor", "what the kernel offers, and why a bind fails", run_doctor};
