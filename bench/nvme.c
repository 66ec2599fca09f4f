/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * nvme_*_4K: random reads and writes of 4 KiB through the NVMe controller, of a file in the page cache, by a driver that polls for
 * completions, beside pread(2) and pwrite(2) of the same places of the same file by the driver's thread. One command at a time, and
 * 32. Of memory, beside a copy of the same.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <uiommu/uiommu.h>
#include <unistd.h>

#include "devices/nvme/spec.h"
#include "harness.h"
#include "pci/pci.h"
#include "pci/spec.h"
#include "support/support.h"

enum {
	PAGE = 4096,
	ENTRIES = 64,
	DEPTH = 32,
	ROUNDS = 20000,
	REPEATS = 15,
	QUEUES = 2,
	DRIVER_CPU = 0,
	ENGINE_CPU = 1,
	BLOCK = 512
};

#define BYTES (UINT64_C(64) << 20) /* of the namespace */
#define RAM UINT64_C(0x100000)
#define RAM_BYTES UINT64_C(0x100000)

struct queue {
	struct nvme_command *commands;
	struct nvme_completion *completions;
	uint32_t tail, head;
	bool phase;
};

struct bench {
	struct uiommu_context *context;
	struct uiommu_model *model;
	struct uiommu_pci *pci;
	struct pci_transport transport;
	uint32_t ioas;
	uint8_t *ram, *memory;
	struct queue queues[QUEUES];
	unsigned int depth, opcode;
	uint32_t random;
	int fd;
};

static void no_pin(struct pci_transport *transport, bool asserted)
{
	(void)transport;
	(void)asserted;
}

static bool no_interrupt(struct pci_transport *transport, enum pci_interrupt kind, unsigned int vector)
{
	(void)transport;
	(void)kind;
	(void)vector;
	return true;
}

static void no_message(struct pci_transport *transport, uint64_t address, uint32_t data)
{
	(void)transport;
	(void)address;
	(void)data;
}

static void no_master(struct pci_transport *transport, bool on)
{
	(void)transport;
	(void)on;
}

static void set(const struct bench *bench, unsigned int offset, unsigned int size, uint64_t value)
{
	support_check(!pci_bar_write(bench->pci, 0, offset, &value, size));
}

/* --- a driver --- */

static uint64_t place(const struct bench *bench, const void *pointer)
{
	return RAM + (uint64_t)((const uint8_t *)pointer - bench->ram);
}

static void submit(struct bench *bench, unsigned int id, const struct nvme_command *command)
{
	struct queue *queue = &bench->queues[id];

	queue->commands[queue->tail] = *command;
	queue->tail = (queue->tail + 1) % ENTRIES;
}

static void ring(const struct bench *bench, unsigned int id)
{
	set(bench, NVME_DOORBELLS + 8 * id, 4, bench->queues[id].tail);
}

/* Waits for one, and takes it; which it was. */
static unsigned int take(struct bench *bench, unsigned int id)
{
	struct queue *queue = &bench->queues[id];
	struct nvme_completion *completion = &queue->completions[queue->head];

	while ((__atomic_load_n(&completion->status, __ATOMIC_ACQUIRE) & 1) != queue->phase)
		support_relax();
	support_check(completion->status >> 1 == NVME_SUCCESS);
	if (++queue->head == ENTRIES) {
		queue->head = 0;
		queue->phase = !queue->phase;
	}
	return completion->cid;
}

static void admin(struct bench *bench, unsigned int opcode, uint32_t cdw10, uint32_t cdw11, const void *prp1)
{
	struct nvme_command command = {.opcode = (uint8_t)opcode, .cdw10 = cdw10, .cdw11 = cdw11, .prp1 = place(bench, prp1)};

	submit(bench, 0, &command);
	ring(bench, 0);
	take(bench, 0);
	set(bench, NVME_DOORBELLS + 4, 4, bench->queues[0].head);
}

static void make_queues(struct bench *bench)
{
	uint32_t status = 0;

	for (unsigned int id = 0; id < QUEUES; id++)
		bench->queues[id] = (struct queue){.commands = (void *)(bench->ram + id * 2 * PAGE),
						   .completions = (void *)(bench->ram + (id * 2 + 1) * PAGE),
						   .phase = true};
	set(bench, NVME_AQA, 4, (ENTRIES - 1) | (ENTRIES - 1) << 16);
	set(bench, NVME_ASQ, 8, place(bench, bench->queues[0].commands));
	set(bench, NVME_ACQ, 8, place(bench, bench->queues[0].completions));
	set(bench, NVME_CC, 4, NVME_CC_EN | 6 << NVME_CC_IOSQES_SHIFT | 4 << NVME_CC_IOCQES_SHIFT);
	while (status != NVME_CSTS_RDY)
		support_check(!pci_bar_read(bench->pci, 0, NVME_CSTS, &status, 4));
	admin(bench, NVME_ADMIN_CREATE_CQ, 1 | (ENTRIES - 1) << 16, NVME_QUEUE_CONTIGUOUS, bench->queues[1].completions);
	admin(bench, NVME_ADMIN_CREATE_SQ, 1 | (ENTRIES - 1) << 16, NVME_QUEUE_CONTIGUOUS | 1 << 16, bench->queues[1].commands);
}

static void begin(struct bench *bench, const char *model)
{
	struct uiommu_ioas_map map = {.size = sizeof(map),
				      .flags = UIOMMU_MAP_FIXED | UIOMMU_MAP_READ | UIOMMU_MAP_WRITE,
				      .source = UIOMMU_MAP_OWN,
				      .length = RAM_BYTES,
				      .iova = RAM};
	char complaint[200];

	bench->transport = (struct pci_transport){no_pin, no_interrupt, no_message, no_master, NULL};
	bench->ram = mmap(NULL, RAM_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	support_check(!uiommu_open(NULL, &bench->context));
	support_check_errno(uiommu_ioas_alloc(bench->context, &bench->ioas), "ioas");
	map.ioas_id = bench->ioas;
	map.address = bench->ram;
	support_check_errno(uiommu_ioas_map(bench->context, &map), "map");
	/* The engine's thread inherits where it is made. */
	bench_pin(0, ENGINE_CPU);
	support_check_errno(uiommu_model_create(bench->context, 1, model, complaint, sizeof(complaint), &bench->model), model);
	bench_pin(0, DRIVER_CPU);
	support_check_errno(uiommu_attach(bench->context, uiommu_model_device(bench->model), UIOMMU_NO_PASID, bench->ioas),
			    "attach");
	bench->pci = uiommu_model_function(bench->model);
	support_check_errno(pci_connect(bench->pci, &bench->transport), "connect");
	support_check(!pci_config_write(bench->pci, PCI_COMMAND, (uint8_t[]){PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER, 0}, 2));
	make_queues(bench);
}

static void end(struct bench *bench)
{
	support_check_errno(pci_connect(bench->pci, NULL), "disconnect");
	support_check_errno(uiommu_detach(bench->context, uiommu_model_device(bench->model), UIOMMU_NO_PASID), "detach");
	support_check_errno(uiommu_model_destroy(bench->model), "destroy");
	support_check_errno(uiommu_close(bench->context), "close");
	munmap(bench->ram, RAM_BYTES);
}

/* --- what is measured --- */

static uint64_t next_page(struct bench *bench)
{
	bench->random = bench->random * 1664525 + 1013904223;
	return (uint64_t)(bench->random >> 8) % (BYTES / PAGE);
}

static void begin_one(struct bench *bench, unsigned int which)
{
	uint64_t block = next_page(bench) * (PAGE / BLOCK);
	struct nvme_command command = {
		.opcode = (uint8_t)bench->opcode,
		.cid = (uint16_t)which,
		.nsid = 1,
		.prp1 = place(bench, bench->ram + (16 + which) * PAGE),
		.cdw10 = (uint32_t)block,
		.cdw12 = PAGE / BLOCK - 1,
	};

	submit(bench, 1, &command);
}

static double by_controller(void *opaque)
{
	struct bench *bench = opaque;
	double start;

	for (unsigned int i = 0; i < bench->depth; i++)
		begin_one(bench, i);
	start = bench_now_ns();
	ring(bench, 1);
	for (unsigned int i = 0; i < ROUNDS; i++) {
		unsigned int which = take(bench, 1);

		set(bench, NVME_DOORBELLS + 12, 4, bench->queues[1].head);
		if (i + bench->depth >= ROUNDS)
			continue;
		begin_one(bench, which);
		ring(bench, 1);
	}
	return (bench_now_ns() - start) / ROUNDS;
}

static double by_call(void *opaque)
{
	struct bench *bench = opaque;
	double start = bench_now_ns();

	for (unsigned int i = 0; i < ROUNDS; i++) {
		off_t offset = (off_t)(next_page(bench) * PAGE);
		uint8_t *page = bench->ram + (16 + i % DEPTH) * PAGE;

		if (bench->opcode == NVME_READ)
			support_check(pread(bench->fd, page, PAGE, offset) == PAGE);
		else
			support_check(pwrite(bench->fd, page, PAGE, offset) == PAGE);
	}
	return (bench_now_ns() - start) / ROUNDS;
}

static double by_copy(void *opaque)
{
	struct bench *bench = opaque;
	double start = bench_now_ns();

	for (unsigned int i = 0; i < ROUNDS; i++)
		memcpy(bench->ram + (16 + i % DEPTH) * PAGE, bench->memory + next_page(bench) * PAGE, PAGE);
	return (bench_now_ns() - start) / ROUNDS;
}

static void measure(struct bench *bench, const char *name, unsigned int opcode, unsigned int depth, bench_fn floor)
{
	struct bench_pair pair;
	char note[64];

	bench->opcode = opcode;
	bench->depth = depth;
	by_controller(bench);
	pair = bench_measure_pair(by_controller, floor, bench, REPEATS);
	snprintf(note, sizeof(note), "%.0f IOPS", 1e9 / pair.value.min);
	bench_report_pair(name, "ns", &pair, 0, note);
	if (depth == DEPTH && opcode == NVME_READ && floor == by_call)
		bench_report_least("nvme_read_4K_qd32_iops", "1/s", 1e9 / pair.value.min, 100000, 1, "floor: what is asked for");
}

int main(void)
{
	static struct bench bench;
	char path[] = "/tmp/uiommu-bench-XXXXXX", model[100];
	uint8_t *pattern = malloc(BYTES);

	support_check(pattern);
	for (uint64_t i = 0; i < BYTES; i++)
		pattern[i] = (uint8_t)(i / PAGE);
	bench.fd = mkstemp(path);
	support_check(bench.fd >= 0 && pwrite(bench.fd, pattern, BYTES, 0) == (ssize_t)BYTES);
	snprintf(model, sizeof(model), "nvme,file=%s", path);
	begin(&bench, model);
	measure(&bench, "nvme_read_4K_qd1", NVME_READ, 1, by_call);
	measure(&bench, "nvme_read_4K_qd32", NVME_READ, DEPTH, by_call);
	measure(&bench, "nvme_write_4K_qd1", NVME_WRITE, 1, by_call);
	measure(&bench, "nvme_write_4K_qd32", NVME_WRITE, DEPTH, by_call);
	end(&bench);
	unlink(path);
	bench.memory = pattern;
	begin(&bench, "nvme,size=64M");
	measure(&bench, "nvme_memory_read_4K_qd1", NVME_READ, 1, by_copy);
	measure(&bench, "nvme_memory_read_4K_qd32", NVME_READ, DEPTH, by_copy);
	end(&bench);
	free(pattern);
	return 0;
}
