/* SPDX-License-Identifier: BSD-3-Clause */
/* What /proc/PID/status would say of a program: the kernel's text, with what is pinned and locked here added to its numbers. */
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "abi/session/session.h"

bool status_value(pid_t pid, const char *name, int base, uint64_t *out)
{
	char path[40], line[256];
	bool found = false;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	file = fopen(path, "re");
	while (file && !found && fgets(line, sizeof(line), file))
		if (!strncmp(line, name, strlen(name))) {
			*out = strtoull(line + strlen(name), NULL, base);
			found = true;
		}
	if (file)
		fclose(file);
	return found;
}

/* What it had when it came, it may have dropped; what it had not is not looked for at each call. */
bool member_capable(const struct member *member, int capability)
{
	uint64_t has = member->facts.capabilities;

	if (has >> capability & 1)
		status_value(member->facts.pid, "CapEff:", 16, &has);
	return has >> capability & 1;
}

static uint64_t filter_count(pid_t thread)
{
	uint64_t count = 0;

	status_value(thread, "Seccomp_filters:", 10, &count);
	return count;
}

bool member_filtered(const struct member *member)
{
	const uint64_t own = filter_count(getpid());
	char name[sizeof("/proc//task") + 12];
	const struct dirent *entry;
	bool filtered;
	DIR *threads;

	snprintf(name, sizeof(name), "/proc/%d/task", member->facts.pid);
	threads = opendir(name);
	filtered = !threads; /* or nobody knows */
	while (!filtered && (entry = readdir(threads)))
		filtered = filter_count((pid_t)strtol(entry->d_name, NULL, 10)) > own;
	if (threads)
		closedir(threads);
	return filtered;
}

/* "NAME:   N kB", if @line is such a one. */
static bool write_line(FILE *out, const char *line, const char *name, uint64_t bytes)
{
	uint64_t kilobytes;

	if (strncmp(line, name, strlen(name)) != 0 || sscanf(line + strlen(name), " %" SCNu64, &kilobytes) != 1)
		return false;
	fprintf(out, "%s\t%8" PRIu64 " kB\n", name, kilobytes + bytes / 1024);
	return true;
}

static void write_status(FILE *out, FILE *kernel, const struct abi_memory *memory)
{
	uint64_t locked = __atomic_load_n(&memory->locked, __ATOMIC_RELAXED);
	uint64_t pinned = __atomic_load_n(&memory->pinned, __ATOMIC_RELAXED);
	char line[4096];

	while (fgets(line, sizeof(line), kernel))
		if (!write_line(out, line, "VmLck:", locked) && !write_line(out, line, "VmPin:", pinned))
			fputs(line, out);
}

/* -EMFILE, -ENOENT. */
static int make_status(const struct member *member, int *fd)
{
	char name[sizeof("/proc//status") + 12];
	FILE *out, *kernel;

	snprintf(name, sizeof(name), "/proc/%d/status", member->facts.pid);
	kernel = fopen(name, "re");
	if (!kernel)
		return errno == EMFILE ? -EMFILE : -ENOENT;
	out = session_memfd("status", fd);
	if (out) {
		write_status(out, kernel, member->memory);
		fclose(out);
		lseek(*fd, 0, SEEK_SET);
	}
	fclose(kernel);
	return out ? 0 : -EMFILE;
}

int session_status(struct session *session, pid_t pid, int *fd)
{
	struct member *member;
	int error;

	pthread_mutex_lock(&session->lock);
	member = session->members;
	while (member && member->facts.pid != pid)
		member = member->next;
	if (member)
		member->references++;
	pthread_mutex_unlock(&session->lock);
	if (!member)
		return -ENOENT;
	error = make_status(member, fd);
	member_put(session, member);
	return error;
}
