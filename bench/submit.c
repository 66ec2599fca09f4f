/* SPDX-License-Identifier: BSD-3-Clause */
/* One no-op from submission to its completion seen by polling, beside what two processes need to answer each other. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness.h"
#include "support/service.h"
#include "support/support.h"
#include "support/targets.h"

enum { ROUNDS = 100000, SVA_ROUNDS = 20000, REPEATS = 31, ENGINE_CPU = 1, CLIENT_CPU = 0 };

struct lines {
	_Alignas(64) uint64_t ping;
	_Alignas(64) uint64_t pong;
};

struct bench {
	struct service service;
	struct target target;
	struct uiommu_client *client;
	struct uiommu_queue *queue;
	struct uiommu_accel_record *record;
	uint32_t pasid;
	struct lines *lines;
	pid_t peer;
	unsigned int rounds;
};

/* The peer only exists while it is measured, so that it never shares the engine's core with the engine. */
static void peer_start(struct bench *bench)
{
	memset(bench->lines, 0, sizeof(*bench->lines));
	bench->peer = fork();
	support_check(bench->peer >= 0);
	if (!bench->peer) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		bench_pin(0, ENGINE_CPU);
		for (uint64_t next = 1;; next++) {
			while (__atomic_load_n(&bench->lines->ping, __ATOMIC_ACQUIRE) != next)
				support_relax();
			__atomic_store_n(&bench->lines->pong, next, __ATOMIC_RELEASE);
		}
	}
}

static void peer_stop(struct bench *bench)
{
	kill(bench->peer, SIGKILL);
	waitpid(bench->peer, NULL, 0);
}

static double ping_pong(void *opaque)
{
	struct bench *bench = opaque;
	double start = 0;

	peer_start(bench);
	for (uint64_t i = 1; i <= ROUNDS + 1000; i++) {
		if (i == 1001)
			start = bench_now_ns();
		__atomic_store_n(&bench->lines->ping, i, __ATOMIC_RELEASE);
		while (__atomic_load_n(&bench->lines->pong, __ATOMIC_ACQUIRE) != i)
			support_relax();
	}
	start = (bench_now_ns() - start) / ROUNDS;
	peer_stop(bench);
	return start;
}

static double nop(void *opaque)
{
	struct bench *bench = opaque;
	struct uiommu_accel_desc desc = {
		.pasid_priv = bench->pasid,
		.flags_opcode = UIOMMU_ACCEL_NOOP << 24 | UIOMMU_ACCEL_RECORD_VALID | UIOMMU_ACCEL_REQUEST_RECORD,
		.completion_address = (uintptr_t)bench->record,
	};
	double start = 0;

	for (unsigned int i = 0; i < bench->rounds + 100; i++) {
		if (i == 100)
			start = bench_now_ns();
		__atomic_store_n(&bench->record->status, 0, __ATOMIC_RELAXED);
		support_check_errno(uiommu_queue_submit(bench->queue, &desc), "submit");
		while (!__atomic_load_n(&bench->record->status, __ATOMIC_ACQUIRE))
			support_relax();
	}
	support_check(bench->record->status == UIOMMU_ACCEL_SUCCESS);
	return (bench_now_ns() - start) / bench->rounds;
}

/* A ping-pong, and the calls that put a record into another process's ordinary memory: question, record, status byte. */
static double ping_pong_and_calls(void *opaque)
{
	struct bench *bench = opaque;
	double round_trip = ping_pong(bench), start;
	uint8_t record[32] = {1};
	uint64_t address = (uintptr_t)bench->target.address;

	bench_pin(0, ENGINE_CPU);
	start = bench_now_ns();
	for (unsigned int i = 0; i < SVA_ROUNDS; i++) {
		bare_write(&bench->target, address + 1, record + 1, sizeof(record) - 1);
		support_check(pwrite(bench->target.process.mem, record, 1, (off_t)address) == 1);
	}
	start = (bench_now_ns() - start) / SVA_ROUNDS;
	bench_pin(0, CLIENT_CPU);
	return round_trip + start;
}

int main(void)
{
	static struct bench bench;
	struct uiommu_queue_config config = {.size = sizeof(config), .flags = UIOMMU_QUEUE_SHARED, .entries = 64};
	struct bench_pair pair;
	size_t records;

	support_drop_privileges();
	bench.lines = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	support_check(bench.lines != MAP_FAILED);
	target_start(&bench.target, 1 << 20);
	service_start(&bench.service, NULL);
	bench.client = service_connect(&bench.service);
	bench.pasid = UIOMMU_NO_PASID;
	support_check_errno(uiommu_client_bind(bench.client, NULL, UIOMMU_READ | UIOMMU_WRITE, &bench.pasid), "bind self");
	support_check_errno(uiommu_client_queue(bench.client, &config, &bench.queue), "queue");
	bench.record = uiommu_client_records(bench.client, &records);
	support_check(bench.record);
	service_pin(&bench.service, ENGINE_CPU);
	bench_pin(0, CLIENT_CPU);

	bench.rounds = ROUNDS;
	pair = bench_measure_pair(nop, ping_pong, &bench, REPEATS);
	bench_report_pair("submit_nop", "ns", &pair, 2.5, "record in the registered area; floor: shared-memory ping-pong");

	bench.rounds = SVA_ROUNDS;
	bench.record = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	support_check(bench.record != MAP_FAILED);
	pair = bench_measure_pair(nop, ping_pong_and_calls, &bench, REPEATS);
	bench_report_pair("submit_nop_sva", "ns", &pair, 1.5,
			  "record in ordinary memory; floor: ping-pong + question, record, status byte");

	uiommu_queue_destroy(bench.queue);
	uiommu_client_close(bench.client);
	service_stop(&bench.service);
	target_stop(&bench.target);
	return 0;
}
