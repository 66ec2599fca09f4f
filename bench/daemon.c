/* SPDX-License-Identifier: BSD-3-Clause */
/* What uiommud costs when nobody works, what a thousand PASIDs weigh, and what stuck clients do to the others. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "harness.h"
#include "support/service.h"
#include "support/stuck.h"
#include "support/support.h"
#include "support/user.h"

enum {
	IDLE_SECONDS = 10,
	CLIENTS = 8,
	PROCESSES = 125, /* times CLIENTS: a thousand PASIDs */
	BLOCKED = 3,
	OPERATIONS = 50000,
	REPEATS = 15,
	ENGINE_CPU = 1,
	CLIENT_CPU = 0,
};

static pid_t sleeper(void)
{
	pid_t pid = fork();

	support_check(pid >= 0);
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;)
			pause();
	}
	return pid;
}

static void kill_and_wait(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

/* What the last request leaves to be done is no idling: wait until nothing has been done for a moment. */
static double settled_cpu_ms(struct service *service)
{
	struct timespec moment = {.tv_nsec = 100000000};
	double before, now = service_cpu_ms(service);

	do {
		before = now;
		nanosleep(&moment, NULL);
		now = service_cpu_ms(service);
	} while (now > before);
	return now;
}

static void idle_and_memory(void)
{
	static struct uiommu_client *clients[CLIENTS];
	static pid_t pids[PROCESSES];
	struct timespec span = {.tv_sec = IDLE_SECONDS};
	struct service service;
	double before, cpu, rss;

	for (size_t i = 0; i < PROCESSES; i++)
		pids[i] = sleeper();
	service_start(&service, NULL);
	for (size_t i = 0; i < CLIENTS; i++)
		clients[i] = service_connect(&service);
	for (size_t i = 0; i < CLIENTS * PROCESSES; i++) {
		struct uiommu_process process;
		uint32_t pasid = UIOMMU_NO_PASID;

		support_check_errno(uiommu_process_open(pids[i / CLIENTS], UIOMMU_READ | UIOMMU_WRITE, &process), "open process");
		support_check_errno(uiommu_client_bind(clients[i % CLIENTS], &process, UIOMMU_READ | UIOMMU_WRITE, &pasid), "bind");
		uiommu_process_close(&process);
	}
	rss = service_rss_mib(&service);
	before = settled_cpu_ms(&service);
	nanosleep(&span, NULL); /* the span that is measured */
	cpu = service_cpu_ms(&service) - before;
	bench_report_value("daemon_idle_cpu", "ms", cpu, 0, "CPU time over 10 s, 8 clients and 1000 PASIDs, all processes");
	bench_report_value("daemon_rss_1000_pasids", "MiB", rss, 64,
			   "8 clients, 125 processes each; resident pages of all processes");
	for (size_t i = 0; i < CLIENTS; i++)
		uiommu_client_close(clients[i]);
	service_stop(&service);
	for (size_t i = 0; i < PROCESSES; i++)
		kill_and_wait(pids[i]);
}

/* A client whose access to a page never ends. */
struct blocked {
	struct user user;
	struct stuck stuck;
};

static void block(struct blocked *blocked, enum stuck_kind kind, const struct service *service)
{
	struct uiommu_accel_desc desc = {.transfer_size = 64};

	stuck_start(&blocked->stuck, kind);
	user_start(&blocked->user, service);
	desc.source = (uintptr_t)blocked->stuck.page;
	desc.handles = user_bind(&blocked->user, &blocked->stuck.process, UIOMMU_READ, NULL);
	user_submit(&blocked->user, &desc, UIOMMU_ACCEL_CRC, 0, blocked->user.records);
	stuck_wait(&blocked->stuck);
}

static void unblock(struct blocked *blocked)
{
	user_stop(&blocked->user);
	stuck_stop(&blocked->stuck);
}

struct bench {
	struct service service;
	struct blocked blocked[BLOCKED];
	struct user user;
	uint8_t *memory;
};

/* 99th percentile of 4 KiB copies in our own memory, one at a time. */
static double p99(struct bench *bench)
{
	static double times[OPERATIONS];
	struct uiommu_accel_record *record = bench->user.records;
	struct uiommu_accel_desc desc = {
		.source = (uintptr_t)bench->memory, .destination = (uintptr_t)bench->memory + 4096, .transfer_size = 4096};

	for (unsigned int i = 0; i < OPERATIONS; i++) {
		double start = bench_now_ns();

		user_submit(&bench->user, &desc, UIOMMU_ACCEL_MEMMOVE, 0, record);
		while (!__atomic_load_n(&record->status, __ATOMIC_ACQUIRE))
			support_relax();
		times[i] = bench_now_ns() - start;
	}
	support_check(record->status == UIOMMU_ACCEL_SUCCESS);
	qsort(times, OPERATIONS, sizeof(times[0]), bench_compare);
	return times[OPERATIONS * 99 / 100];
}

static double undisturbed(void *opaque)
{
	return p99(opaque);
}

static double disturbed(void *opaque)
{
	struct bench *bench = opaque;
	double result;

	for (size_t i = 0; i < BLOCKED; i++)
		block(&bench->blocked[i], STUCK_UFFD, &bench->service);
	service_pin(&bench->service, ENGINE_CPU);
	result = p99(bench);
	for (size_t i = 0; i < BLOCKED; i++)
		unblock(&bench->blocked[i]);
	return result;
}

static void disturbance(void)
{
	static struct bench bench;
	struct bench_pair pair;

	service_start(&bench.service, NULL);
	user_start(&bench.user, &bench.service);
	bench.memory = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	support_check(bench.memory != MAP_FAILED);
	service_pin(&bench.service, ENGINE_CPU);
	bench_pin(0, CLIENT_CPU);
	pair = bench_measure_pair(disturbed, undisturbed, &bench, REPEATS);
	bench_report_pair("daemon_p99_disturbed", "ns", &pair, 1.2,
			  "p99 of 4 KiB copies; three other clients blocked on an unanswered userfaultfd; floor: without them");
	user_stop(&bench.user);
	service_stop(&bench.service);
}

int main(void)
{
	const char *missing;

	stuck_prepare();
	support_drop_privileges();
	idle_and_memory();
	missing = stuck_missing(STUCK_UFFD);
	if (missing)
		bench_report_skip("daemon_p99_disturbed", missing);
	else
		disturbance();
	stuck_finish();
	return 0;
}
