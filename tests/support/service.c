/* SPDX-License-Identifier: BSD-3-Clause */
#include "service.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <libgen.h>
#include <limits.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support.h"

enum { CHILDREN_MAX = 64, OPTIONS_MAX = 32 };

static const char *daemon_path(char *buffer, size_t size)
{
	const char *given = getenv("UIOMMUD"), *stage = getenv("UIOMMU_STAGE");
	char self[PATH_MAX];
	ssize_t length;

	if (stage) {
		snprintf(buffer, size, "%s/uiommud", stage);
		return buffer;
	}
	if (given)
		return given;
	length = readlink("/proc/self/exe", self, sizeof(self) - 1);
	support_check(length > 0);
	self[length] = 0;
	snprintf(buffer, size, "%s/../uiommud", dirname(self));
	return buffer;
}

/* The daemon makes its socket and then serves: wait for the socket file itself, unless the daemon ends before. */
static void wait_for_socket(const struct service *service, int notify)
{
	struct pollfd fds[] = {{.fd = notify, .events = POLLIN},
			       {.fd = (int)syscall(SYS_pidfd_open, service->pid, 0), .events = POLLIN}};
	struct stat st;
	char events[4096];

	support_check(fds[1].fd >= 0);
	while (stat(service->socket, &st)) {
		support_check(poll(fds, 2, -1) > 0 && !fds[1].revents);
		support_check(read(notify, events, sizeof(events)) > 0);
	}
	close(fds[1].fd);
}

void service_start(struct service *service, const char *const *options)
{
	char path[PATH_MAX], *argv[OPTIONS_MAX];
	const char *program = daemon_path(path, sizeof(path));
	int notify = inotify_init1(IN_CLOEXEC), argc = 0;

	strcpy(service->directory, "/tmp/uiommu-XXXXXX");
	support_check(mkdtemp(service->directory));
	snprintf(service->socket, sizeof(service->socket), "%s/socket", service->directory);
	support_check(inotify_add_watch(notify, service->directory, IN_CREATE | IN_MOVED_TO) >= 0);
	argv[argc++] = (char *)(uintptr_t)program;
	argv[argc++] = (char *)(uintptr_t) "--socket";
	argv[argc++] = service->socket;
	for (; options && *options && argc < OPTIONS_MAX - 1; options++)
		argv[argc++] = (char *)(uintptr_t)*options;
	argv[argc] = NULL;
	service->pid = fork();
	support_check(service->pid >= 0);
	if (!service->pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		execv(program, argv);
		support_die(program);
	}
	wait_for_socket(service, notify);
	close(notify);
}

void service_stop(struct service *service)
{
	kill(service->pid, SIGTERM);
	waitpid(service->pid, NULL, 0);
	unlink(service->socket);
	rmdir(service->directory);
}

static size_t processes(const struct service *service, pid_t *pids)
{
	char path[64];
	size_t count = 0;
	FILE *file;

	pids[count++] = service->pid;
	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", (int)service->pid, (int)service->pid);
	file = fopen(path, "r");
	if (!file)
		support_die(path);
	while (count < CHILDREN_MAX && fscanf(file, "%d", &pids[count]) == 1)
		count++;
	fclose(file);
	return count;
}

size_t service_processes(const struct service *service)
{
	pid_t pids[CHILDREN_MAX];

	return processes(service, pids);
}

void service_pin(const struct service *service, unsigned int cpu)
{
	pid_t pids[CHILDREN_MAX];
	size_t count = processes(service, pids);
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu % (unsigned int)sysconf(_SC_NPROCESSORS_ONLN), &set);
	for (size_t i = 0; i < count; i++)
		support_check(!sched_setaffinity(pids[i], sizeof(set), &set));
}

/* The @index-th number of a file under /proc. */
static unsigned long long read_number(const char *path, unsigned int index)
{
	unsigned long long number = 0;
	FILE *file = fopen(path, "r");

	if (!file)
		support_die(path);
	for (unsigned int i = 0; i <= index; i++)
		if (fscanf(file, "%llu", &number) != 1)
			support_die(path);
	fclose(file);
	return number;
}

double service_cpu_ms(const struct service *service)
{
	pid_t pids[CHILDREN_MAX];
	size_t count = processes(service, pids);
	double total = 0;

	for (size_t i = 0; i < count; i++) {
		char pattern[64];
		glob_t threads;

		snprintf(pattern, sizeof(pattern), "/proc/%d/task/*/schedstat", (int)pids[i]);
		support_check(!glob(pattern, 0, NULL, &threads));
		for (size_t j = 0; j < threads.gl_pathc; j++)
			total += (double)read_number(threads.gl_pathv[j], 0) / 1e6;
		globfree(&threads);
	}
	return total;
}

double service_rss_mib(const struct service *service)
{
	pid_t pids[CHILDREN_MAX];
	size_t count = processes(service, pids);
	double total = 0;

	for (size_t i = 0; i < count; i++) {
		char path[64];

		snprintf(path, sizeof(path), "/proc/%d/statm", (int)pids[i]);
		total += (double)read_number(path, 1) * (double)sysconf(_SC_PAGESIZE) / (1 << 20);
	}
	return total;
}

struct uiommu_client *service_connect(const struct service *service)
{
	struct uiommu_client *client;

	support_check_errno(uiommu_client_connect(service->socket, NULL, &client), "connect");
	return client;
}
