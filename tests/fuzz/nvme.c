/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A driver that writes anything into an NVMe controller's registers, doorbells, queues and lists. The input is a sequence of steps;
 * each begins with a byte that says what it is. Whatever comes, slots and places in queues are accounted for, and the controller
 * works after a reset.
 */
#include "fuzz.h"

#include <sched.h>
#include <uiommu/uiommu.h>

#include "devices/model.h"
#include "devices/nvme/nvme.h"
#include "pci/pci.h"
#include "pci/spec.h"
#include "util/util.h"

enum { PAGE = 4096, RAM_BYTES = 16 * PAGE, ENTRIES = 8, STEPS_MAX = 200 };
enum { TO_REGISTER, TO_DOORBELL, TO_MEMORY, COMMAND, ENABLE, TURN, RESET, KINDS };

static struct world {
	struct uiommu_context *context;
	struct nvme *nvme;
	struct pci_transport transport;
	uint32_t device, ioas;
	uint32_t tails[NVME_QUEUES];
	_Alignas(PAGE) uint8_t ram[RAM_BYTES]; /* at address 0 */
} world;

static void intx(struct pci_transport *transport, bool asserted)
{
	(void)transport;
	(void)asserted;
}

static bool interrupt(struct pci_transport *transport, enum pci_interrupt kind, unsigned int vector)
{
	(void)transport;
	(void)kind;
	CHECK(vector < NVME_QUEUES);
	return true;
}

static void message(struct pci_transport *transport, uint64_t address, uint32_t data)
{
	(void)transport;
	(void)address;
	(void)data;
}

static void master(struct pci_transport *transport, bool on)
{
	(void)transport;
	CHECK(!(on ? uiommu_attach(world.context, world.device, UIOMMU_NO_PASID, world.ioas)
		   : uiommu_detach(world.context, world.device, UIOMMU_NO_PASID)));
}

static void world_open(void)
{
	struct uiommu_device_config config = {.size = sizeof(config), .name = "nvme"};
	struct uiommu_ioas_map map = {.size = sizeof(map),
				      .flags = UIOMMU_MAP_FIXED | UIOMMU_MAP_READ | UIOMMU_MAP_WRITE,
				      .source = UIOMMU_MAP_OWN,
				      .address = world.ram,
				      .length = RAM_BYTES};
	struct option_value values[MODEL_OPTIONS];
	const struct complaint nobody = {NULL, 0};

	world.transport = (struct pci_transport){intx, interrupt, message, master, NULL};
	CHECK(!uiommu_open(NULL, &world.context));
	CHECK(!uiommu_ioas_alloc(world.context, &world.ioas));
	map.ioas_id = world.ioas;
	CHECK(!uiommu_ioas_map(world.context, &map));
	CHECK(!uiommu_device_alloc(world.context, &config, &world.device));
	CHECK(!options_parse(&nvme_model, "size=64K", values, &nobody));
	CHECK(!nvme_make(world.context, world.device, values, &nobody, &world.nvme));
	options_free(&nvme_model, values);
}

/* --- what must be true between turns --- */

static void check_queues(const struct nvme *nvme)
{
	unsigned int outstanding[NVME_QUEUES] = {0}, queues[NVME_QUEUES] = {0};

	for (unsigned int i = 0; i < NVME_QUEUES; i++) {
		const struct nvme_sq *sq = &nvme->sqs[i];

		if (!sq->exists)
			continue;
		CHECK(sq->id == i && nvme->cqs[sq->cq].exists);
		CHECK(sq->head < sq->size && sq->tail < sq->size && sq->size <= 4096);
		outstanding[sq->cq] += sq->outstanding;
		queues[sq->cq]++;
	}
	for (unsigned int i = 0; i < NVME_QUEUES; i++) {
		const struct nvme_cq *cq = &nvme->cqs[i];
		uint32_t used = (cq->tail >= cq->head ? cq->tail : cq->tail + cq->size) - cq->head;

		if (!cq->exists)
			continue;
		CHECK(cq->head < cq->size && cq->tail < cq->size);
		CHECK(cq->reserved == outstanding[i] && cq->queues == queues[i]);
		CHECK(nvme->failed || used + cq->reserved < cq->size);
	}
}

static void check(const struct nvme *nvme)
{
	CHECK(nvme->busy + nvme->free_count == NVME_SLOTS);
	CHECK(nvme->event_count <= NVME_EVENTS && !nvme->post_count);
	if (nvme->ready && !nvme->failed)
		check_queues(nvme);
}

static void turns(unsigned int count)
{
	while (count-- && nvme_turn(world.nvme))
		check(world.nvme);
	check(world.nvme);
}

/* Until no worker has anything. */
static void settle(void)
{
	while (world.nvme->busy) {
		nvme_turn(world.nvme);
		sched_yield();
	}
	turns(1000);
}

/* --- steps --- */

static void set(unsigned int offset, unsigned int size, uint64_t value)
{
	CHECK(!pci_bar_write(world.nvme->pci, 0, offset, &value, size));
}

static void master_on(void)
{
	CHECK(!pci_config_write(world.nvme->pci, PCI_COMMAND, (uint8_t[]){PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER, 0}, 2));
}

/* Admin queues in the first two pages, and one pair of queues in the next two. */
static void enable(bool pair)
{
	struct nvme_command cq = {.opcode = NVME_ADMIN_CREATE_CQ,
				  .prp1 = 3 * PAGE,
				  .cdw10 = 1 | (ENTRIES - 1) << 16,
				  .cdw11 = NVME_QUEUE_CONTIGUOUS | NVME_CQ_INTERRUPTS};
	struct nvme_command sq = {.opcode = NVME_ADMIN_CREATE_SQ,
				  .prp1 = 2 * PAGE,
				  .cdw10 = 1 | (ENTRIES - 1) << 16,
				  .cdw11 = NVME_QUEUE_CONTIGUOUS | 1 << 16};

	master_on();
	set(NVME_CC, 4, 0);
	settle();
	memset(world.tails, 0, sizeof(world.tails));
	set(NVME_AQA, 4, (ENTRIES - 1) | (ENTRIES - 1) << 16);
	set(NVME_ASQ, 8, 0);
	set(NVME_ACQ, 8, PAGE);
	set(NVME_CC, 4, NVME_CC_EN | NVME_SQE_LG2 << NVME_CC_IOSQES_SHIFT | NVME_CQE_LG2 << NVME_CC_IOCQES_SHIFT);
	settle();
	CHECK(nvme_word(world.nvme, NVME_CSTS) == NVME_CSTS_RDY);
	if (!pair)
		return;
	memcpy(world.ram, &cq, sizeof(cq));
	memcpy(world.ram + sizeof(cq), &sq, sizeof(sq));
	set(nvme_tail_doorbell(0), 4, world.tails[0] = 2);
	settle();
	CHECK(world.nvme->sqs[1].exists);
	set(nvme_head_doorbell(0), 4, 2);
}

/* A command that is likely to get somewhere: most of it is small numbers. */
static void command(struct input *input)
{
	unsigned int queue = take_byte(input) % 4;
	const struct nvme_sq *sq = &world.nvme->sqs[queue];
	struct nvme_command command = {0};
	uint8_t bytes[24];

	take(input, bytes, sizeof(bytes));
	command.opcode = bytes[0];
	command.flags = bytes[1];
	command.cid = bytes[2];
	command.nsid = bytes[3] & 128 ? UINT32_MAX : bytes[3];
	memcpy(&command.prp1, bytes + 4, 3);
	memcpy(&command.prp2, bytes + 7, 3);
	if (bytes[1] >> NVME_PSDT_SHIFT)
		command.prp2 = bytes[7] | (uint64_t)bytes[8] << 8 | (uint64_t)(bytes[9] & 0x70) << 56;
	memcpy(&command.cdw10, bytes + 10, 4);
	memcpy(&command.cdw11, bytes + 14, 4);
	memcpy(&command.cdw12, bytes + 18, 4);
	memcpy(&command.cdw13, bytes + 22, 2);
	if (!sq->exists || sq->address > RAM_BYTES - sizeof(command) * 4096)
		return;
	world.tails[queue] %= sq->size;
	if (sq->address + (world.tails[queue] + 1) * sizeof(command) <= RAM_BYTES)
		memcpy(world.ram + sq->address + world.tails[queue] * sizeof(command), &command, sizeof(command));
	world.tails[queue] = (world.tails[queue] + 1) % sq->size;
	set(nvme_tail_doorbell(queue), 4, world.tails[queue]);
	turns(2);
	/* The host takes what has come, mostly. */
	if (!(bytes[2] & 1))
		set(nvme_head_doorbell(sq->cq), 4, world.nvme->cqs[sq->cq].tail);
}

static void memory(struct input *input)
{
	uint32_t at = (uint32_t)take_number(input, 2) % RAM_BYTES, length = take_byte(input) + 1;

	if (length > RAM_BYTES - at)
		length = RAM_BYTES - at;
	take(input, world.ram + at, length);
}

static void step(struct input *input)
{
	unsigned int kind = take_byte(input), offset;

	switch (kind % KINDS) {
	case TO_REGISTER:
		offset = take_byte(input) & ~3u;
		set(offset, offset % 8 || kind & 128 ? 4 : 8, take_number(input, 4) | take_number(input, 4) << 32);
		break;
	case TO_DOORBELL:
		offset = (uint32_t)take_number(input, 2) % 0x1000 & ~3u;
		set(NVME_DOORBELLS + (kind & 128 ? offset % 32 : offset), 4,
		    kind & 64 ? take_byte(input) : (uint32_t)take_number(input, 4));
		break;
	case TO_MEMORY:
		memory(input);
		break;
	case COMMAND:
		command(input);
		break;
	case ENABLE:
		enable(kind & 128);
		break;
	case TURN:
		turns(take_byte(input));
		break;
	default:
		pci_reset(world.nvme->pci, kind & 128 ? UIOMMU_PCI_RESET_BUS : UIOMMU_PCI_RESET_FUNCTION);
		master_on();
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input input = {data, size};

	if (!world.nvme)
		world_open();
	CHECK(!pci_connect(world.nvme->pci, &world.transport));
	memset(world.ram, 0, RAM_BYTES);
	memset(world.tails, 0, sizeof(world.tails));
	master_on();
	for (unsigned int i = 0; i < STEPS_MAX && input.left; i++) {
		step(&input);
		turns(1);
	}
	pci_reset(world.nvme->pci, UIOMMU_PCI_RESET_FUNCTION);
	enable(true);
	pci_reset(world.nvme->pci, UIOMMU_PCI_RESET_FUNCTION);
	CHECK(!pci_connect(world.nvme->pci, NULL));
	return 0;
}
