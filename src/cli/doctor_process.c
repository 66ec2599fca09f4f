/* SPDX-License-Identifier: BSD-3-Clause */
/* doctor --pid: the checks of uiommu_process_open() one by one, each with the kernel's answer, then the real thing. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <uiommu/bind.h>
#include <unistd.h>

#include "cli/doctor.h"
#include "util/util.h"

struct patient {
	pid_t pid;
	int pidfd;
};

/* Each is 0 or -errno. */
static int check_exists(struct patient *patient)
{
	patient->pidfd = (int)syscall(SYS_pidfd_open, patient->pid, 0);
	return patient->pidfd < 0 ? -errno : 0;
}

/* The kernel asks for PTRACE_MODE_ATTACH with real credentials before it looks at the number, which is never open. */
static int check_ptrace(struct patient *patient)
{
	if (syscall(SYS_pidfd_getfd, patient->pidfd, INT_MAX, 0) < 0 && errno != EBADF)
		return -errno;
	return 0;
}

static int check_file(const struct patient *patient, const char *name, int flags)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/%s", patient->pid, name);
	fd = open(path, flags | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	close(fd);
	return 0;
}

static int check_mem(struct patient *patient)
{
	return check_file(patient, "mem", O_RDWR);
}

static int check_maps(struct patient *patient)
{
	return check_file(patient, "maps", O_RDONLY);
}

static int check_auxv(struct patient *patient)
{
	return check_file(patient, "auxv", O_RDONLY);
}

static int check_address_space(struct patient *patient)
{
	char path[64], byte;
	ssize_t got;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/maps", patient->pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	got = read(fd, &byte, 1);
	close(fd);
	return got == 1 ? 0 : -ESRCH;
}

static int check_alive(struct patient *patient)
{
	struct pollfd ended = {.fd = patient->pidfd, .events = POLLIN};

	return poll(&ended, 1, 0) == 0 ? 0 : -ESRCH;
}

static int check_bind(struct patient *patient)
{
	struct uiommu_device_config device = {.size = sizeof(device), .name = "doctor", .pasid_bits = UIOMMU_PASID_BITS};
	struct uiommu_bind_process payload = {.access = UIOMMU_READ | UIOMMU_WRITE};
	struct uiommu_bind bind = {.size = sizeof(bind), .pasid = UIOMMU_NO_PASID, .type = UIOMMU_BIND_PROCESS};
	struct uiommu_context *context;
	int error = uiommu_process_open(patient->pid, payload.access, &payload.process);

	if (error)
		return error;
	error = uiommu_open(NULL, &context);
	if (!error) {
		bind.data = &payload;
		bind.data_len = sizeof(payload);
		error = uiommu_device_alloc(context, &device, &bind.device_id);
		if (!error)
			error = uiommu_bind(context, &bind);
		uiommu_close(context);
	}
	uiommu_process_close(&payload.process);
	return error;
}

static const struct check {
	const char *key;
	const char *name;
	int (*run)(struct patient *patient);
} checks[] = {
	{"exists", "the process exists (pidfd_open)", check_exists},
	{"ptrace", "ptrace access with real credentials (pidfd_getfd)", check_ptrace},
	{"mem", "ptrace access with file-system credentials (/proc/PID/mem, to read and write)", check_mem},
	{"maps", "/proc/PID/maps can be opened", check_maps},
	{"auxv", "/proc/PID/auxv can be opened", check_auxv},
	{"address_space", "it has an address space (no zombie, no kernel thread)", check_address_space},
	{"alive", "it is still alive", check_alive},
	{"bind", "the library binds it", check_bind},
};

struct facts {
	uid_t uids[4]; /* real, effective, saved, file-system */
	uint64_t permitted;
	uid_t owner; /* of its files under /proc: root if it is not dumpable */
	bool same_user_namespace;
};

static bool line_value(const char *line, const char *key, const char **value)
{
	size_t length = strlen(key);

	if (strncmp(line, key, length) != 0)
		return false;
	*value = line + length;
	return true;
}

static bool same_namespace(pid_t pid)
{
	struct stat ours, theirs;
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/ns/user", pid);
	return stat("/proc/self/ns/user", &ours) < 0 || stat(path, &theirs) < 0 || ours.st_ino == theirs.st_ino;
}

static bool read_facts(pid_t pid, struct facts *facts)
{
	char path[64], line[256];
	struct stat status;
	FILE *file;

	*facts = (struct facts){.same_user_namespace = same_namespace(pid)};
	snprintf(path, sizeof(path), "/proc/%d/maps", pid);
	if (stat(path, &status) < 0)
		return false;
	facts->owner = status.st_uid;
	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	file = fopen(path, "re");
	if (!file)
		return false;
	while (fgets(line, sizeof(line), file)) {
		const char *value;
		char *end;

		if (line_value(line, "CapPrm:", &value))
			facts->permitted = strtoull(value, NULL, 16);
		if (!line_value(line, "Uid:", &value))
			continue;
		for (size_t i = 0; i < ARRAY_SIZE(facts->uids); i++) {
			facts->uids[i] = (uid_t)strtoul(value, &end, 10);
			value = end;
		}
	}
	fclose(file);
	return true;
}

/* What may stand behind a refusal, most specific first. */
static void guess_reason(pid_t pid, char *buffer, size_t size)
{
	struct facts theirs, ours;

	if (!read_facts(pid, &theirs) || !read_facts(getpid(), &ours))
		snprintf(buffer, size, "nothing can be told about it");
	else if (theirs.uids[0] != ours.uids[0] || theirs.uids[1] != ours.uids[0] || theirs.uids[2] != ours.uids[0])
		snprintf(buffer, size, "it runs as uid %u/%u/%u (real, effective, saved), you as uid %u", theirs.uids[0],
			 theirs.uids[1], theirs.uids[2], ours.uids[0]);
	else if (theirs.permitted & ~ours.permitted)
		snprintf(buffer, size, "it has capabilities that you do not have (0x%llx)",
			 (unsigned long long)(theirs.permitted & ~ours.permitted));
	else if (!theirs.same_user_namespace)
		snprintf(buffer, size, "it is in another user namespace");
	else if (theirs.owner != theirs.uids[1])
		snprintf(buffer, size,
			 "it is not dumpable: it has changed its identity, runs a file that you may not read, or asked for it "
			 "with prctl(PR_SET_DUMPABLE)");
	else if (yama_scope() > 0)
		snprintf(buffer, size, "Yama's ptrace_scope is %d: %s", yama_scope(), yama_meaning(yama_scope()));
	else
		snprintf(buffer, size, "identities match; a security module or a seccomp filter (container) may forbid it");
}

static enum status report_check(const struct patient *patient, const struct check *check, int error, bool json,
				struct json_object *array)
{
	struct json_object *entry = json_object_new_object();
	char hint[256] = "";

	if (status_of(error) == STATUS_PERMISSION)
		guess_reason(patient->pid, hint, sizeof(hint));
	json_add_string(entry, "check", check->key);
	json_add_bool(entry, "ok", !error);
	json_add_string(entry, "error", error ? strerrorname_np(-error) : "");
	json_add_string(entry, "hint", hint);
	json_object_array_add(array, entry);
	if (!json) {
		printf("%-7s %s%s%s\n", error ? "failed" : "ok", check->name, error ? ": " : "", error ? strerror(-error) : "");
		if (*hint)
			printf("        %s\n", hint);
	}
	return error ? status_of(error) : STATUS_OK;
}

enum status doctor_process(const struct command *command, pid_t pid, bool json)
{
	struct json_object *answer = json_answer(command), *array = json_object_new_array();
	struct patient patient = {.pid = pid, .pidfd = -1};
	enum status status = STATUS_OK;
	char comm[16];

	process_command(pid, comm, sizeof(comm));
	json_add_number(answer, "pid", (uint64_t)pid);
	json_add_string(answer, "comm", comm);
	for (size_t i = 0; i < ARRAY_SIZE(checks); i++) {
		enum status one = report_check(&patient, &checks[i], checks[i].run(&patient), json, array);

		if (!status)
			status = one;
		/* The others would all fail for that reason. */
		if (patient.pidfd < 0)
			break;
	}
	if (patient.pidfd >= 0)
		close(patient.pidfd);
	json_add_string(answer, "status", status ? "error" : "ok");
	json_object_object_add(answer, "checks", array);
	if (json)
		json_finish(answer);
	else
		json_object_put(answer);
	return status;
}
