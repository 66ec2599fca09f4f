/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pasid_alloc_free_1M: all numbers, in sets of 1,000, allocated and freed. pasid_lookup: private data of random numbers, all
 * allocated, beside a bare array of two levels. vpasid_translate: the same for what vPASIDs stand for. bind_unbind_known_process:
 * one more bind of a process that is bound, and its end.
 */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uiommu/uiommu.h>
#include <unistd.h>

#include "harness.h"
#include "support/support.h"
#include "support/targets.h"

enum {
	NUMBERS = UIOMMU_PASID_LAST,
	EACH = 1000, /* numbers of a set */
	SETS = NUMBERS / EACH,
	LOOKUPS = 1 << 20,
	VPASIDS = 1 << 12, /* a VM's */
	BINDS = 2000,
	REPEATS = 15,
	FANOUT = 1024,
};

struct bench {
	struct uiommu_context *context;
	uint32_t sets[SETS];
	struct uiommu_pasid_set *set;
	uint32_t *order; /* LOOKUPS random numbers */
	uint64_t ***bare;
	uint64_t *data;
	uint32_t device_id;
	struct target target;
};

static uint32_t set_make(const struct bench *bench)
{
	struct uiommu_pasid_set_alloc alloc = {.size = sizeof(alloc)};
	uint32_t id;

	support_check_errno(uiommu_pasid_set_alloc(bench->context, &alloc, &id), "set");
	return id;
}

static void allocate_all(const struct bench *bench)
{
	uint32_t pasid;

	for (uint32_t i = 0; i < SETS * EACH; i++)
		support_check(!uiommu_pasid_alloc(bench->context, bench->sets[i / EACH], 1, UIOMMU_PASID_LAST, &pasid));
}

static double alloc_free(void *opaque)
{
	const struct bench *bench = opaque;
	double start = bench_now_ns();

	allocate_all(bench);
	for (uint32_t i = 0; i < SETS; i++)
		support_check(!uiommu_pasid_free_all(bench->context, bench->sets[i]));
	return (bench_now_ns() - start) / (2.0 * SETS * EACH);
}

static size_t bytes_used(void)
{
	struct mallinfo2 info = mallinfo2();

	return info.uordblks + info.hblkhd;
}

static void allocation(struct bench *bench)
{
	struct bench_sample sample;
	size_t before;

	support_check_errno(uiommu_open(NULL, &bench->context), "open");
	before = bytes_used();
	for (uint32_t i = 0; i < SETS; i++)
		bench->sets[i] = set_make(bench);
	allocate_all(bench);
	bench_report_value("pasid_memory", "B", (double)(bytes_used() - before) / (SETS * EACH), 200,
			   "per number; all allocated, in sets of 1,000, the sets included");
	for (uint32_t i = 0; i < SETS; i++)
		support_check(!uiommu_pasid_free_all(bench->context, bench->sets[i]));
	sample = bench_measure(alloc_free, bench, REPEATS);
	bench_report_value("pasid_alloc_free_1M", "ns", sample.min, 200, "each; in sets of 1,000");
	uiommu_close(bench->context);
}

/* --- lookups --- */

/* The compiler believes that it is needed. */
static void keep(uint64_t value)
{
	__asm__ volatile("" : : "r"(value));
}

static double look(void *opaque)
{
	const struct bench *bench = opaque;
	double start = bench_now_ns();
	uint64_t sum = 0;

	for (uint32_t i = 0; i < LOOKUPS; i++)
		sum += (uintptr_t)uiommu_pasid_find(bench->set, bench->order[i]);
	keep(sum);
	return (bench_now_ns() - start) / LOOKUPS;
}

static __attribute__((noinline)) uint64_t *bare_find(uint64_t ***table, uint32_t pasid)
{
	return __atomic_load_n(&__atomic_load_n(&table[pasid / FANOUT], __ATOMIC_ACQUIRE)[pasid % FANOUT], __ATOMIC_ACQUIRE);
}

static double look_bare(void *opaque)
{
	const struct bench *bench = opaque;
	double start = bench_now_ns();
	uint64_t sum = 0;

	for (uint32_t i = 0; i < LOOKUPS; i++)
		sum += (uintptr_t)bare_find(bench->bare, bench->order[i]);
	keep(sum);
	return (bench_now_ns() - start) / LOOKUPS;
}

static double translate(void *opaque)
{
	const struct bench *bench = opaque;
	double start = bench_now_ns();
	uint64_t sum = 0;

	for (uint32_t i = 0; i < LOOKUPS; i++)
		sum += uiommu_vpasid_find(bench->set, bench->order[i]);
	keep(sum);
	return (bench_now_ns() - start) / LOOKUPS;
}

static void order_make(struct bench *bench, uint32_t numbers)
{
	srandom(3);
	for (uint32_t i = 0; i < LOOKUPS; i++)
		bench->order[i] = (uint32_t)random() % numbers + 1;
}

static void lookups(struct bench *bench)
{
	struct bench_pair pair;
	uint32_t set, pasid;
	double limit;

	support_check_errno(uiommu_open(NULL, &bench->context), "open");
	set = set_make(bench);
	bench->order = malloc(LOOKUPS * sizeof(*bench->order));
	bench->data = malloc((NUMBERS + 1) * sizeof(*bench->data));
	bench->bare = calloc(FANOUT, sizeof(*bench->bare));
	support_check(bench->order && bench->data && bench->bare);
	for (uint32_t i = 1; i <= NUMBERS; i++) {
		if (!bench->bare[i / FANOUT])
			bench->bare[i / FANOUT] = calloc(FANOUT, sizeof(**bench->bare));
		support_check(bench->bare[i / FANOUT]);
		bench->bare[i / FANOUT][i % FANOUT] = &bench->data[i];
		support_check_errno(uiommu_pasid_alloc(bench->context, set, i, i, &pasid), "alloc");
		support_check_errno(uiommu_pasid_set_data(bench->context, set, i, &bench->data[i], NULL), "data");
	}
	for (uint32_t i = 1; i <= VPASIDS; i++)
		support_check_errno(uiommu_vpasid_map(bench->context, set, i, NUMBERS - i), "map");
	bench->set = uiommu_pasid_set_get(bench->context, set);
	order_make(bench, NUMBERS);
	pair = bench_measure_pair(look, look_bare, bench, 4 * REPEATS);
	bench_report_pair("pasid_lookup", "ns", &pair, 2, "of all numbers, random; floor: a bare array of two levels");
	order_make(bench, VPASIDS);
	pair = bench_measure_pair(translate, look_bare, bench, 4 * REPEATS);
	/* 3 ns at most, or twice as long. */
	limit = pair.floor.min > 1.5 ? 2 : 3 / pair.floor.min;
	bench_report_pair("vpasid_translate", "ns", &pair, limit, "of a VM's 4,096; floor: a bare array of two levels");
	uiommu_pasid_set_put(bench->set);
	uiommu_close(bench->context);
	for (unsigned int i = 0; i < FANOUT; i++)
		free(bench->bare[i]);
	free(bench->bare);
	free(bench->data);
	free(bench->order);
}

/* --- binds --- */

static double bind_unbind(void *opaque)
{
	struct bench *bench = opaque;
	struct uiommu_bind_process payload = {.access = UIOMMU_READ | UIOMMU_WRITE, .process = bench->target.process};
	struct uiommu_bind bind = {
		.size = sizeof(bind),
		.device_id = bench->device_id,
		.pasid = UIOMMU_NO_PASID,
		.type = UIOMMU_BIND_PROCESS,
		.data_len = sizeof(payload),
		.data = &payload,
	};
	double start = bench_now_ns();

	for (unsigned int i = 0; i < BINDS; i++) {
		bind.pasid = UIOMMU_NO_PASID;
		support_check_errno(uiommu_bind(bench->context, &bind), "bind");
		support_check_errno(uiommu_unbind(bench->context, bench->device_id, bind.pasid), "unbind");
	}
	return (bench_now_ns() - start) / BINDS;
}

static void binds(struct bench *bench)
{
	const struct uiommu_device_config config = {.size = sizeof(config), .rid = 1, .name = "bench", .pasid_bits = 20};
	struct uiommu_bind_process payload = {.access = UIOMMU_READ | UIOMMU_WRITE};
	struct uiommu_bind bind = {
		.size = sizeof(bind),
		.pasid = UIOMMU_NO_PASID,
		.type = UIOMMU_BIND_PROCESS,
		.data_len = sizeof(payload),
		.data = &payload,
	};
	struct bench_sample sample;

	target_start(&bench->target, 1 << 20);
	support_check_errno(uiommu_open(NULL, &bench->context), "open");
	support_check_errno(uiommu_device_alloc(bench->context, &config, &bench->device_id), "device");
	payload.process = bench->target.process;
	bind.device_id = bench->device_id;
	support_check_errno(uiommu_bind(bench->context, &bind), "bind");
	sample = bench_measure(bind_unbind, bench, REPEATS);
	bench_report_value("bind_unbind_known_process", "ns", sample.min, 5000,
			   "of a process that is bound, by its bundle; library call");
	uiommu_close(bench->context);
	target_stop(&bench->target);
}

int main(void)
{
	static struct bench bench;

	bench_pin(0, 1);
	allocation(&bench);
	lookups(&bench);
	binds(&bench);
	return 0;
}
