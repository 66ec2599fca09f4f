/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A driver for the NVMe controller: queues and data in an IOAS, registers through the function's BAR, and a transport that counts
 * interrupts. The engine has no thread of its own here but where a test says so: rig_wait() makes its turns.
 */
#ifndef TEST_NVME_RIG_H
#define TEST_NVME_RIG_H

#include "test.h"

#include <sched.h>
#include <sys/mman.h>
#include <uiommu/uiommu.h>
#include <unistd.h>

#include "devices/model.h"
#include "devices/nvme/nvme.h"
#include "pci/pci.h"
#include "pci/spec.h"
#include "util/util.h"

enum { PAGE = 4096, RAM_BYTES = 16 << 20, ENTRIES = 32, DRIVER_QUEUES = 4 };
#define RAM UINT64_C(0x40000000) /* where the device sees it */
#define NOWHERE UINT64_C(0x10000000) /* nothing is there */

struct driver_queue {
	uint64_t sq, cq; /* device addresses */
	uint32_t entries, tail, head;
	bool phase;
	uint16_t next_cid;
};

struct rig {
	struct uiommu_context *context;
	struct nvme *nvme;
	uint32_t device, ioas;
	bool threaded;
	struct pci_transport transport;
	uint8_t *ram;
	uint64_t next_page;
	struct driver_queue queues[DRIVER_QUEUES];
	unsigned int vectors[NVME_QUEUES]; /* atomic: how often each was sent */
	unsigned int interrupts; /* atomic */
	unsigned int level; /* atomic: of the pin */
	unsigned int watches; /* atomic */
	bool mapped; /* the registers are a program's, too */
};

static void rig_intx(struct pci_transport *transport, bool asserted)
{
	__atomic_store_n(&container_of(transport, struct rig, transport)->level, asserted, __ATOMIC_RELEASE);
}

static bool rig_interrupt(struct pci_transport *transport, enum pci_interrupt kind, unsigned int vector)
{
	struct rig *rig = container_of(transport, struct rig, transport);

	(void)kind;
	__atomic_fetch_add(&rig->vectors[vector], 1, __ATOMIC_RELEASE);
	__atomic_fetch_add(&rig->interrupts, 1, __ATOMIC_RELEASE);
	return true;
}

static void rig_message(struct pci_transport *transport, uint64_t address, uint32_t data)
{
	(void)transport;
	(void)address;
	(void)data;
}

static void rig_master(struct pci_transport *transport, bool on)
{
	struct rig *rig = container_of(transport, struct rig, transport);

	if (on)
		assert_int_equal(uiommu_attach(rig->context, rig->device, UIOMMU_NO_PASID, rig->ioas), 0);
	else
		assert_int_equal(uiommu_detach(rig->context, rig->device, UIOMMU_NO_PASID), 0);
}

static inline bool rig_watch(struct pci_transport *transport)
{
	struct rig *rig = container_of(transport, struct rig, transport);

	__atomic_fetch_add(&rig->watches, 1, __ATOMIC_RELEASE);
	return rig->mapped;
}

/* --- memory --- */

/* @pages zeroed pages. */
static inline uint64_t rig_pages(struct rig *rig, unsigned int pages)
{
	uint64_t at = rig->next_page;

	rig->next_page += (uint64_t)pages * PAGE;
	assert_true(rig->next_page <= RAM + RAM_BYTES);
	memset(rig->ram + (at - RAM), 0, (size_t)pages * PAGE);
	return at;
}

static inline void *rig_memory(const struct rig *rig, uint64_t address)
{
	assert_true(address >= RAM && address < RAM + RAM_BYTES);
	return rig->ram + (address - RAM);
}

static inline uint8_t rig_byte(uint64_t seed)
{
	return (uint8_t)(seed * 167 + seed / 251 + seed / 65537 + 3);
}

static inline void rig_fill(const struct rig *rig, uint64_t address, size_t length, uint64_t seed)
{
	uint8_t *bytes = rig_memory(rig, address);

	for (size_t i = 0; i < length; i++)
		bytes[i] = rig_byte(seed + i);
}

static inline void rig_expect(const struct rig *rig, uint64_t address, size_t length, uint64_t seed)
{
	const uint8_t *bytes = rig_memory(rig, address);

	for (size_t i = 0; i < length; i++)
		if (bytes[i] != rig_byte(seed + i))
			fail_msg("byte %zu is %02x, not %02x", i, bytes[i], rig_byte(seed + i));
}

/* --- registers --- */

static inline uint64_t rig_get(const struct rig *rig, unsigned int offset, unsigned int size)
{
	uint64_t value = 0;

	assert_int_equal(pci_bar_read(rig->nvme->pci, 0, offset, &value, size), 0);
	return value;
}

static inline void rig_set(const struct rig *rig, unsigned int offset, unsigned int size, uint64_t value)
{
	assert_int_equal(pci_bar_write(rig->nvme->pci, 0, offset, &value, size), 0);
}

static inline void rig_config(const struct rig *rig, unsigned int offset, unsigned int size, uint32_t value)
{
	assert_int_equal(pci_config_write(rig->nvme->pci, offset, &value, size), 0);
}

/* Turns of the engine until there is nothing to do. */
static inline void rig_run(struct rig *rig)
{
	if (rig->threaded)
		sched_yield();
	else
		while (nvme_turn(rig->nvme))
			;
}

/* Until CSTS is that. */
static inline void rig_until(struct rig *rig, uint32_t status)
{
	do
		rig_run(rig);
	while (rig_get(rig, NVME_CSTS, 4) != status);
}

static inline void rig_master_on(struct rig *rig)
{
	rig_config(rig, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
}

static inline void rig_msix(const struct rig *rig, bool on)
{
	rig_config(rig, rig->nvme->pci->place[UIOMMU_PCI_MSIX] + PCI_MSIX_CONTROL, 2, on ? PCI_MSIX_ENABLE : 0);
}

/* --- life --- */

static inline void rig_open(struct rig *rig, const char *options)
{
	struct uiommu_device_config config = {.size = sizeof(config), .name = "nvme"};
	struct option_value values[MODEL_OPTIONS];
	char text[200] = "";
	const struct complaint complaint = {text, sizeof(text)};
	struct uiommu_ioas_map map = {.size = sizeof(map),
				      .flags = UIOMMU_MAP_FIXED | UIOMMU_MAP_READ | UIOMMU_MAP_WRITE,
				      .source = UIOMMU_MAP_OWN,
				      .length = RAM_BYTES,
				      .iova = RAM};

	memset(rig, 0, sizeof(*rig));
	rig->transport = (struct pci_transport){rig_intx, rig_interrupt, rig_message, rig_master, NULL};
	rig->next_page = RAM;
	rig->ram = mmap(NULL, RAM_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_int_equal(uiommu_open(NULL, &rig->context), 0);
	assert_int_equal(uiommu_ioas_alloc(rig->context, &rig->ioas), 0);
	map.ioas_id = rig->ioas;
	map.address = rig->ram;
	assert_int_equal(uiommu_ioas_map(rig->context, &map), 0);
	assert_int_equal(uiommu_device_alloc(rig->context, &config, &rig->device), 0);
	assert_int_equal(options_parse(&nvme_model, options, values, &complaint), 0);
	if (nvme_make(rig->context, rig->device, values, &complaint, &rig->nvme))
		fail_msg("%s", text);
	options_free(&nvme_model, values);
	assert_int_equal(pci_connect(rig->nvme->pci, &rig->transport), 0);
	rig_master_on(rig);
}

static inline void rig_close(struct rig *rig)
{
	assert_int_equal(pci_connect(rig->nvme->pci, NULL), 0);
	nvme_free(rig->nvme);
	assert_int_equal(uiommu_close(rig->context), 0);
	munmap(rig->ram, RAM_BYTES);
}

static inline void driver_queue_make(struct rig *rig, unsigned int id, uint32_t entries)
{
	rig->queues[id] = (struct driver_queue){
		.sq = rig_pages(rig, (entries * 64 + PAGE - 1) / PAGE),
		.cq = rig_pages(rig, (entries * 16 + PAGE - 1) / PAGE),
		.entries = entries,
		.phase = true,
	};
}

static const uint32_t rig_cc = NVME_CC_EN | NVME_SQE_LG2 << NVME_CC_IOSQES_SHIFT | NVME_CQE_LG2 << NVME_CC_IOCQES_SHIFT;

/* Give it its admin queues, and let it begin. */
static inline void rig_enable(struct rig *rig)
{
	driver_queue_make(rig, 0, ENTRIES);
	rig_set(rig, NVME_AQA, 4, (ENTRIES - 1) | (ENTRIES - 1) << 16);
	rig_set(rig, NVME_ASQ, 8, rig->queues[0].sq);
	rig_set(rig, NVME_ACQ, 8, rig->queues[0].cq);
	rig_set(rig, NVME_CC, 4, rig_cc);
	rig_until(rig, NVME_CSTS_RDY);
}

static inline void rig_disable(struct rig *rig)
{
	rig_set(rig, NVME_CC, 4, 0);
	rig_until(rig, 0);
}

/* --- commands --- */

/* Puts it into the queue; the doorbell is another matter. Returns its identifier. */
static inline uint16_t rig_queue(struct rig *rig, unsigned int queue, struct nvme_command command)
{
	struct driver_queue *q = &rig->queues[queue];

	command.cid = q->next_cid++;
	memcpy((uint8_t *)rig_memory(rig, q->sq) + q->tail * sizeof(command), &command, sizeof(command));
	q->tail = (q->tail + 1) % q->entries;
	return command.cid;
}

static inline void rig_ring(const struct rig *rig, unsigned int queue)
{
	rig_set(rig, nvme_tail_doorbell(queue), 4, rig->queues[queue].tail);
}

static inline bool rig_peek(const struct rig *rig, unsigned int queue, struct nvme_completion *out)
{
	const struct driver_queue *q = &rig->queues[queue];
	struct nvme_completion *entries = rig_memory(rig, q->cq);
	uint64_t second = __atomic_load_n((uint64_t *)(void *)&entries[q->head].sq_head, __ATOMIC_ACQUIRE);

	if ((second >> 48 & 1) != q->phase)
		return false;
	memcpy(out, &entries[q->head], 8);
	memcpy(&out->sq_head, &second, 8);
	return true;
}

/* Takes one that is there. */
static inline void rig_take(struct rig *rig, unsigned int queue)
{
	struct driver_queue *q = &rig->queues[queue];

	if (++q->head == q->entries) {
		q->head = 0;
		q->phase = !q->phase;
	}
	rig_set(rig, nvme_head_doorbell(queue), 4, q->head);
}

static inline struct nvme_completion rig_wait(struct rig *rig, unsigned int queue)
{
	struct nvme_completion completion;

	while (!rig_peek(rig, queue, &completion))
		rig_run(rig);
	rig_take(rig, queue);
	return completion;
}

/* Do one: its status. */
static inline unsigned int rig_command(struct rig *rig, unsigned int queue, struct nvme_command command, uint32_t *result)
{
	uint16_t cid = rig_queue(rig, queue, command);
	struct nvme_completion completion;

	rig_ring(rig, queue);
	completion = rig_wait(rig, queue);
	assert_int_equal(completion.cid, cid);
	assert_int_equal(completion.sq_id, queue);
	assert_int_equal(completion.sq_head, rig->queues[queue].tail);
	if (result)
		*result = completion.result;
	return completion.status >> 1;
}

/* Without "do not retry". */
static inline unsigned int rig_admin(struct rig *rig, struct nvme_command command, uint32_t *result)
{
	return rig_command(rig, 0, command, result) & ~(unsigned int)NVME_DNR;
}

static inline unsigned int rig_io(struct rig *rig, struct nvme_command command)
{
	return rig_command(rig, 1, command, NULL) & ~(unsigned int)NVME_DNR;
}

static inline struct nvme_command rig_create_cq(const struct rig *rig, unsigned int id, unsigned int vector)
{
	return (struct nvme_command){.opcode = NVME_ADMIN_CREATE_CQ,
				     .prp1 = rig->queues[id].cq,
				     .cdw10 = id | (rig->queues[id].entries - 1) << 16,
				     .cdw11 = NVME_QUEUE_CONTIGUOUS | NVME_CQ_INTERRUPTS | vector << 16};
}

static inline struct nvme_command rig_create_sq(const struct rig *rig, unsigned int id)
{
	return (struct nvme_command){.opcode = NVME_ADMIN_CREATE_SQ,
				     .prp1 = rig->queues[id].sq,
				     .cdw10 = id | (rig->queues[id].entries - 1) << 16,
				     .cdw11 = NVME_QUEUE_CONTIGUOUS | id << 16};
}

/* A pair of queues, with vector @id if there is MSI-X. */
static inline void rig_pair(struct rig *rig, unsigned int id, uint32_t entries)
{
	bool msix = uiommu_pci_state(rig->nvme->pci) & UIOMMU_PCI_MSIX_ON;

	driver_queue_make(rig, id, entries);
	assert_int_equal(rig_admin(rig, rig_create_cq(rig, id, msix ? id : 0), NULL), NVME_SUCCESS);
	assert_int_equal(rig_admin(rig, rig_create_sq(rig, id), NULL), NVME_SUCCESS);
}

static inline struct nvme_command rig_rw(unsigned int opcode, uint64_t block, unsigned int blocks, uint64_t prp1, uint64_t prp2)
{
	return (struct nvme_command){.opcode = (uint8_t)opcode,
				     .nsid = 1,
				     .prp1 = prp1,
				     .prp2 = prp2,
				     .cdw10 = (uint32_t)block,
				     .cdw11 = (uint32_t)(block >> 32),
				     .cdw12 = blocks - 1};
}

#endif
