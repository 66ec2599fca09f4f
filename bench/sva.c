/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Moving the memory of two other processes through uiommud's accelerator, beside the best bare loop of the system calls that
 * docs/security.md permits for it. The floors run pinned where the executor runs.
 */
#include <errno.h>
#include <fcntl.h>
#include <isa-l/crc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include "harness.h"
#include "support/service.h"
#include "support/support.h"
#include "support/targets.h"

enum {
	BIG = 64 << 20,
	SMALL = 4096,
	DEPTH = 64,
	SMALL_COUNT = 64 * 256,
	REPEATS = 41,
	CHUNK_MIN = 16 << 10,
	CHUNK_ROUNDS = 9,
	CHUNK_MAX = 1 << 20,
	ENGINE_CPU = 1,
	CLIENT_CPU = 0,
};

struct bench {
	struct service service;
	struct target src, dst;
	struct uiommu_client *client;
	struct uiommu_queue *queue;
	struct uiommu_accel_record *records;
	uint32_t own_pasid;
	uint16_t src_handle, dst_handle;
	uint8_t *buffer; /* private, CHUNK_MAX */
	size_t chunk; /* best one of the floor */
	uint32_t crc;
	uint64_t *offsets; /* SMALL_COUNT random ones, a multiple of SMALL */
	uint8_t *shared_src, *shared_dst;
};

static void await(const struct uiommu_accel_record *record)
{
	while (!__atomic_load_n(&record->status, __ATOMIC_ACQUIRE))
		support_relax();
	if (record->status != UIOMMU_ACCEL_SUCCESS) {
		fprintf(stderr, "bench: status 0x%02x at %#llx\n", record->status, (unsigned long long)record->fault_address);
		exit(1);
	}
}

static void submit(struct bench *bench, struct uiommu_accel_desc *desc, unsigned int opcode, struct uiommu_accel_record *record)
{
	int error;

	desc->pasid_priv = bench->own_pasid;
	desc->flags_opcode = opcode << 24 | UIOMMU_ACCEL_RECORD_VALID | UIOMMU_ACCEL_REQUEST_RECORD;
	desc->completion_address = (uintptr_t)record;
	record->status = 0;
	do {
		error = uiommu_queue_submit(bench->queue, desc);
	} while (error == -EAGAIN);
	support_check_errno(error, "submit");
}

static double one_big(struct bench *bench, struct uiommu_accel_desc *desc, unsigned int opcode)
{
	double start = bench_now_ns();

	submit(bench, desc, opcode, bench->records);
	await(bench->records);
	return bench_now_ns() - start;
}

static double copy_big(void *opaque)
{
	struct bench *bench = opaque;
	struct uiommu_accel_desc desc = {
		.source = (uintptr_t)bench->src.address,
		.destination = (uintptr_t)bench->dst.address,
		.transfer_size = BIG,
		.handles = bench->src_handle | (uint64_t)bench->dst_handle << 16,
	};

	return one_big(bench, &desc, UIOMMU_ACCEL_MEMMOVE);
}

static double crc_big(void *opaque)
{
	struct bench *bench = opaque;
	struct uiommu_accel_desc desc = {
		.source = (uintptr_t)bench->src.address, .transfer_size = BIG, .handles = bench->src_handle};

	return one_big(bench, &desc, UIOMMU_ACCEL_CRC);
}

static double fill_big(void *opaque)
{
	struct bench *bench = opaque;
	struct uiommu_accel_desc desc = {
		.source = 0x1122334455667788,
		.destination = (uintptr_t)bench->dst.address,
		.transfer_size = BIG,
		.handles = (uint64_t)bench->dst_handle << 16,
	};

	return one_big(bench, &desc, UIOMMU_ACCEL_FILL);
}

/* The floors run on the engine's core, while the engine sleeps or spins elsewhere for a moment only. */
static double bare(struct bench *bench, void (*piece)(struct bench *, size_t offset))
{
	double start, end;

	bench_pin(0, ENGINE_CPU);
	start = bench_now_ns();
	for (size_t offset = 0; offset < BIG; offset += bench->chunk)
		piece(bench, offset);
	end = bench_now_ns();
	bench_pin(0, CLIENT_CPU);
	return end - start;
}

static void copy_piece(struct bench *bench, size_t offset)
{
	uint64_t from = (uintptr_t)bench->src.address + offset;

	bare_read(&bench->src, &from, bench->chunk, 1, bench->buffer);
	bare_write(&bench->dst, (uintptr_t)bench->dst.address + offset, bench->buffer, bench->chunk);
}

static void crc_piece(struct bench *bench, size_t offset)
{
	uint64_t from = (uintptr_t)bench->src.address + offset;

	bare_read(&bench->src, &from, bench->chunk, 1, bench->buffer);
	bench->crc = crc32_iscsi(bench->buffer, (int)bench->chunk, bench->crc);
}

static void fill_piece(struct bench *bench, size_t offset)
{
	bare_write(&bench->dst, (uintptr_t)bench->dst.address + offset, bench->buffer, bench->chunk);
}

static double bare_copy(void *opaque)
{
	return bare(opaque, copy_piece);
}

static double bare_crc(void *opaque)
{
	return bare(opaque, crc_piece);
}

static double bare_fill(void *opaque)
{
	return bare(opaque, fill_piece);
}

/* The best floor: try the chunk sizes that make sense, in turns, and keep the fastest. */
static void choose_chunk(struct bench *bench, bench_fn floor)
{
	double best_time = 0;
	size_t best = 0;

	for (unsigned int i = 0; i < CHUNK_ROUNDS; i++)
		for (bench->chunk = CHUNK_MIN; bench->chunk <= CHUNK_MAX; bench->chunk *= 2) {
			double time = floor(bench);

			if (!best || time < best_time) {
				best_time = time;
				best = bench->chunk;
			}
		}
	bench->chunk = best;
}

static void plain_piece(struct bench *bench, size_t offset)
{
	struct iovec local = {bench->buffer, bench->chunk};
	struct iovec from = {bench->src.address + offset, bench->chunk}, to = {bench->dst.address + offset, bench->chunk};

	support_check(process_vm_readv(bench->src.pid, &local, 1, &from, 1, 0) == (ssize_t)bench->chunk);
	support_check(process_vm_writev(bench->dst.pid, &local, 1, &to, 1, 0) == (ssize_t)bench->chunk);
}

static double plain_copy(void *opaque)
{
	return bare(opaque, plain_piece);
}

static void big(struct bench *bench, const char *name, bench_fn value, bench_fn floor, const char *what)
{
	struct bench_pair pair;
	char note[256];

	choose_chunk(bench, floor);
	pair = bench_measure_pair(value, floor, bench, REPEATS);
	snprintf(note, sizeof(note), "%.2f GB/s; floor: %s, %zu KiB a call", BIG / pair.value.min, what, bench->chunk >> 10);
	bench_report_pair(name, "ns", &pair, 1.05, note);
}

static double copy_small(void *opaque)
{
	struct bench *bench = opaque;
	double start = bench_now_ns();

	for (size_t i = 0; i < SMALL_COUNT + DEPTH; i++) {
		struct uiommu_accel_record *record = &bench->records[i % DEPTH];
		struct uiommu_accel_desc desc = {.transfer_size = SMALL};

		if (i >= DEPTH)
			await(record);
		if (i >= SMALL_COUNT)
			continue;
		desc.source = (uintptr_t)bench->src.address + bench->offsets[i];
		desc.destination = (uintptr_t)bench->dst.address + bench->offsets[SMALL_COUNT - 1 - i];
		desc.handles = bench->src_handle | (uint64_t)bench->dst_handle << 16;
		submit(bench, &desc, UIOMMU_ACCEL_MEMMOVE, record);
	}
	return (bench_now_ns() - start) / SMALL_COUNT;
}

static double bare_small(void *opaque)
{
	struct bench *bench = opaque;
	double start, end;

	bench_pin(0, ENGINE_CPU);
	start = bench_now_ns();
	for (size_t i = 0; i < SMALL_COUNT; i += DEPTH) {
		uint64_t from[DEPTH];

		for (size_t j = 0; j < DEPTH; j++)
			from[j] = (uintptr_t)bench->src.address + bench->offsets[i + j];
		bare_read(&bench->src, from, SMALL, DEPTH, bench->buffer);
		for (size_t j = 0; j < DEPTH; j++)
			bare_write(&bench->dst, (uintptr_t)bench->dst.address + bench->offsets[SMALL_COUNT - 1 - i - j],
				   bench->buffer + j * SMALL, SMALL);
	}
	end = bench_now_ns();
	bench_pin(0, CLIENT_CPU);
	return (end - start) / SMALL_COUNT;
}

static double registered(void *opaque)
{
	return copy_big(opaque);
}

static double memcpy_floor(void *opaque)
{
	struct bench *bench = opaque;
	double start, end;

	bench_pin(0, ENGINE_CPU);
	start = bench_now_ns();
	memcpy(bench->shared_dst, bench->shared_src, BIG);
	end = bench_now_ns();
	bench_pin(0, CLIENT_CPU);
	return end - start;
}

/* Promise a memfd for a target's range. It need not be what the target has mapped there: the promise is the client's. */
static uint8_t *register_memory(struct bench *bench, const struct target *target, uint32_t pasid)
{
	int fd = memfd_create("bench", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	struct uiommu_register reg = {
		.size = sizeof(reg),
		.pasid = pasid,
		.access = UIOMMU_READ | UIOMMU_WRITE,
		.address = (uintptr_t)target->address,
		.length = BIG,
		.fd = fd,
	};
	uint8_t *memory;

	support_check(fd >= 0 && !ftruncate(fd, BIG) && !fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK));
	memory = mmap(NULL, BIG, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0);
	support_check(memory != MAP_FAILED);
	memset(memory, 0x5a, BIG);
	support_check_errno(uiommu_client_register(bench->client, &reg), "register");
	close(fd);
	return memory;
}

static void measure_registered(struct bench *bench, uint32_t src_pasid, uint32_t dst_pasid)
{
	struct bench_pair pair;
	char note[64];

	bench->shared_src = register_memory(bench, &bench->src, src_pasid);
	bench->shared_dst = register_memory(bench, &bench->dst, dst_pasid);
	pair = bench_measure_pair(registered, memcpy_floor, bench, REPEATS);
	snprintf(note, sizeof(note), "%.2f GB/s; floor: memcpy", BIG / pair.value.min);
	bench_report_pair("sva_copy_registered_64M", "ns", &pair, 1.1, note);
}

static uint16_t bind_target(struct bench *bench, const struct target *target, uint32_t *pasid)
{
	uint16_t handle;

	*pasid = UIOMMU_NO_PASID;
	support_check_errno(uiommu_client_bind(bench->client, &target->process, UIOMMU_READ | UIOMMU_WRITE, pasid), "bind");
	support_check_errno(uiommu_client_grant(bench->client, *pasid, &handle), "grant");
	return handle;
}

static void set_up(struct bench *bench, uint32_t *src_pasid, uint32_t *dst_pasid)
{
	struct uiommu_queue_config config = {
		.size = sizeof(config), .flags = UIOMMU_QUEUE_SHARED | UIOMMU_QUEUE_HANDLES, .entries = 2 * DEPTH};
	size_t records;

	bench->own_pasid = UIOMMU_NO_PASID;
	bench->client = service_connect(&bench->service);
	support_check_errno(uiommu_client_bind(bench->client, NULL, UIOMMU_READ | UIOMMU_WRITE, &bench->own_pasid), "bind self");
	bench->src_handle = bind_target(bench, &bench->src, src_pasid);
	bench->dst_handle = bind_target(bench, &bench->dst, dst_pasid);
	support_check_errno(uiommu_client_queue(bench->client, &config, &bench->queue), "queue");
	bench->records = uiommu_client_records(bench->client, &records);
	support_check(bench->records && records >= DEPTH);
	service_pin(&bench->service, ENGINE_CPU);
	bench_pin(0, CLIENT_CPU);
	bench->buffer = mmap(NULL, CHUNK_MAX, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	bench->offsets = malloc(SMALL_COUNT * sizeof(*bench->offsets));
	support_check(bench->buffer != MAP_FAILED && bench->offsets);
	srandom(1);
	for (size_t i = 0; i < SMALL_COUNT; i++)
		bench->offsets[i] = (uint64_t)random() % (BIG / SMALL) * SMALL;
}

int main(void)
{
	static struct bench bench;
	struct bench_sample plain;
	uint32_t src_pasid, dst_pasid;

	support_drop_privileges();
	target_start(&bench.src, BIG);
	target_start(&bench.dst, BIG);
	service_start(&bench.service, NULL);
	set_up(&bench, &src_pasid, &dst_pasid);

	big(&bench, "sva_copy_64M", copy_big, bare_copy, "read with cookie, alive?, question, pwrite");
	plain = bench_measure(plain_copy, &bench, REPEATS);
	printf("%-28s %12.6g ns       (for comparison, not permitted: writes by pid)\n", "  plain process_vm loop", plain.min);
	big(&bench, "sva_read_64M", crc_big, bare_crc, "read with cookie, alive?, CRC32C");
	big(&bench, "sva_fill_64M", fill_big, bare_fill, "question, pwrite");
	{
		struct bench_pair pair = bench_measure_pair(copy_small, bare_small, &bench, REPEATS);

		bench_report_pair("sva_copy_4K", "ns", &pair, 1.1,
				  "depth 64, random; floor: 64 reads a call, question and pwrite each");
	}
	measure_registered(&bench, src_pasid, dst_pasid);

	uiommu_queue_destroy(bench.queue);
	uiommu_client_close(bench.client);
	service_stop(&bench.service);
	target_stop(&bench.src);
	target_stop(&bench.dst);
	return 0;
}
