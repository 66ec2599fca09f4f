/* SPDX-License-Identifier: BSD-3-Clause */
/* Queues: their life, commands out of them, completions into them. */
#include <string.h>

#include "devices/nvme/nvme.h"
#include "util/util.h"

enum { BURST = 16 }; /* commands of one queue in one turn */

/* --- slots --- */

struct nvme_slot *nvme_slot_get(struct nvme *nvme)
{
	struct nvme_slot *slot = nvme->free;

	nvme->free = slot->next;
	nvme->free_count--;
	slot->sq = NULL;
	return slot;
}

/* The one that was used last is the next: its buffer is in the cache. */
void nvme_slot_put(struct nvme *nvme, struct nvme_slot *slot)
{
	slot->next = nvme->free;
	nvme->free = slot;
	nvme->free_count++;
}

/* --- completions --- */

/* Entries that the host has not taken. */
static uint32_t cq_used(const struct nvme_cq *cq)
{
	return (cq->tail >= cq->head ? cq->tail : cq->tail + cq->size) - cq->head;
}

static uint32_t cq_room(const struct nvme_cq *cq)
{
	return cq->size - 1 - cq_used(cq) - cq->reserved;
}

static void send(struct nvme *nvme, unsigned int vector)
{
	/* An error says that the guest takes none, or not this one. */
	(void)uiommu_pci_interrupt(nvme->pci, vector);
}

static void raise_interrupts(struct nvme *nvme)
{
	unsigned int state = uiommu_pci_state(nvme->pci);
	uint32_t mask = state & UIOMMU_PCI_MSI_ON ? nvme_mask(nvme) : 0;

	for (unsigned int i = 0; i < NVME_QUEUES; i++) {
		struct nvme_cq *cq = &nvme->cqs[i];

		if (!cq->raise)
			continue;
		cq->raise = false;
		if (state & UIOMMU_PCI_MSIX_ON || !(mask >> cq->vector % 32 & 1))
			send(nvme, cq->vector);
		else
			nvme->held |= UINT32_C(1) << cq->vector % 32;
	}
}

void nvme_flush_posts(struct nvme *nvme)
{
	struct uiommu_dma_op ops[2 * NVME_POSTS];
	unsigned int count = nvme->post_count;

	if (!count)
		return;
	nvme->post_count = 0;
	/* The half with the phase comes second. */
	for (unsigned int i = 0; i < 2 * count; i++)
		ops[i] = (struct uiommu_dma_op){
			.address = nvme->post_addresses[i / 2] + i % 2 * 8,
			.buffer = (uint8_t *)&nvme->posts[i / 2] + i % 2 * 8,
			.length = 8,
			.pasid = UIOMMU_NO_PASID,
		};
	if (uiommu_dma_writev(nvme->device, ops, (size_t)2 * count))
		nvme_fail(nvme);
	else
		raise_interrupts(nvme);
}

/* There is room. */
static void post(struct nvme *nvme, struct nvme_origin origin, unsigned int status, uint32_t result)
{
	struct nvme_cq *cq = &nvme->cqs[origin.sq->cq];

	nvme->posts[nvme->post_count] = (struct nvme_completion){
		.result = result,
		.sq_head = (uint16_t)origin.sq->head,
		.sq_id = origin.sq->id,
		.cid = origin.cid,
		.status = (uint16_t)(status << 1 | cq->phase),
	};
	nvme->post_addresses[nvme->post_count++] = cq->address + ((uint64_t)cq->tail << NVME_CQE_LG2);
	if (++cq->tail == cq->size) {
		cq->tail = 0;
		cq->phase = !cq->phase;
	}
	cq->raise = cq->interrupts;
	if (nvme->post_count == NVME_POSTS)
		nvme_flush_posts(nvme);
}

bool nvme_post_event(struct nvme *nvme, uint16_t cid, uint32_t result)
{
	if (!cq_room(&nvme->cqs[0])) {
		nvme->stalled = true;
		return false;
	}
	post(nvme, (struct nvme_origin){&nvme->sqs[0], cid}, NVME_SUCCESS, result);
	return true;
}

static void sq_remove(struct nvme *nvme, struct nvme_sq *sq)
{
	nvme->cqs[sq->cq].queues--;
	memset(sq, 0, sizeof(*sq));
}

void nvme_complete(struct nvme *nvme, struct nvme_origin origin, unsigned int status, uint32_t result)
{
	struct nvme_sq *sq = origin.sq;

	if (status)
		nvme_log_error(nvme, origin, status);
	nvme->cqs[sq->cq].reserved--;
	sq->outstanding--;
	post(nvme, origin, status, result);
	if (sq->deleting && !sq->outstanding) {
		struct nvme_origin deletion = {&nvme->sqs[0], sq->delete_cid};

		sq_remove(nvme, sq);
		nvme_complete(nvme, deletion, NVME_SUCCESS, 0);
	}
}

void nvme_end(struct nvme *nvme, struct nvme_slot *slot, unsigned int status, uint32_t result)
{
	struct nvme_origin origin = nvme_origin(slot);

	nvme_slot_put(nvme, slot);
	nvme_complete(nvme, origin, status, result);
}

void nvme_release(struct nvme *nvme, struct nvme_slot *slot)
{
	nvme->cqs[slot->sq->cq].reserved--;
	slot->sq->outstanding--;
	nvme_slot_put(nvme, slot);
}

/* --- interrupts that are levels, or held back --- */

static bool pin_wanted(const struct nvme *nvme)
{
	for (unsigned int i = 0; i < NVME_QUEUES; i++)
		if (nvme->cqs[i].exists && nvme->cqs[i].interrupts && nvme->cqs[i].head != nvme->cqs[i].tail)
			return true;
	return false;
}

/*
 * The driver may have taken everything already, and makes no access because of a pin that is raised then. So it is said first that
 * the pin is, in a total order with what a driver writes (registers.c): either that is seen here, or this there.
 */
static bool pin_still_wanted(struct nvme *nvme)
{
	__atomic_store_n(&nvme->intx, true, __ATOMIC_RELAXED);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	nvme_look_at_doorbells(nvme);
	return !(nvme_mask(nvme) & 1) && pin_wanted(nvme);
}

void nvme_interrupts(struct nvme *nvme)
{
	unsigned int state = uiommu_pci_state(nvme->pci);
	bool was = nvme->intx, wanted = false;

	if (!(state & UIOMMU_PCI_MSIX_ON)) {
		uint32_t mask = nvme_mask(nvme), free = nvme->held & ~mask;

		wanted = !(state & UIOMMU_PCI_MSI_ON) && !(mask & 1) && pin_wanted(nvme) && (was || pin_still_wanted(nvme));
		nvme->held &= mask;
		for (unsigned int vector = 0; free; vector++, free >>= 1)
			if (free & 1)
				send(nvme, vector);
	}
	if (wanted != was)
		uiommu_pci_intx(nvme->pci, wanted);
	__atomic_store_n(&nvme->intx, wanted, __ATOMIC_RELEASE);
	__atomic_store_n(&nvme->heeds_heads, wanted || nvme->stalled, __ATOMIC_RELAXED);
}

/* --- doorbells --- */

/* False: there is no such queue, or it cannot be the value. */
static bool tail_set(struct nvme_sq *sq, uint32_t value)
{
	if (!sq->exists || value >= sq->size)
		return false;
	sq->tail = value;
	return true;
}

static bool head_set(struct nvme_cq *cq, uint32_t value)
{
	if (!cq->exists || value >= cq->size || (value >= cq->head ? value : value + cq->size) - cq->head > cq_used(cq))
		return false;
	cq->head = value;
	return true;
}

static void doorbell(struct nvme *nvme, unsigned int i, uint32_t value)
{
	unsigned int queue = i / 2;
	bool head = i % 2, exists = head ? nvme->cqs[queue].exists : nvme->sqs[queue].exists;

	if (head ? head_set(&nvme->cqs[queue], value) : tail_set(&nvme->sqs[queue], value)) {
		nvme->doorbells[i] = value;
		return;
	}
	nvme_word_set(nvme, NVME_DOORBELLS + 4 * i, nvme->doorbells[i]);
	nvme_event(nvme, exists ? NVME_EVENT_INVALID_VALUE : NVME_EVENT_INVALID_DOORBELL);
}

void nvme_look_at_doorbells(struct nvme *nvme)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(nvme->doorbells); i++) {
		uint32_t value = nvme_word(nvme, NVME_DOORBELLS + 4 * i);

		if (unlikely(value != nvme->doorbells[i]))
			doorbell(nvme, i, value);
	}
	if (unlikely(__atomic_load_n(&nvme->strays, __ATOMIC_RELAXED)) && __atomic_exchange_n(&nvme->strays, 0, __ATOMIC_ACQUIRE))
		nvme_event(nvme, NVME_EVENT_INVALID_DOORBELL);
}

static void doorbell_reset(struct nvme *nvme, unsigned int i)
{
	nvme->doorbells[i] = 0;
	nvme_word_set(nvme, NVME_DOORBELLS + 4 * i, 0);
}

/* --- commands --- */

static void begin(struct nvme *nvme, struct nvme_sq *sq, const struct nvme_command *command)
{
	struct nvme_slot *slot = nvme_slot_get(nvme);

	slot->command = *command;
	slot->sq = sq;
	slot->segment_count = 0;
	sq->head = sq->head + 1 == sq->size ? 0 : sq->head + 1;
	sq->outstanding++;
	nvme->cqs[sq->cq].reserved++;
	if (command->flags & NVME_FUSED)
		nvme_end(nvme, slot, NVME_INVALID_FIELD | NVME_DNR, 0);
	else if (sq->id)
		nvme_io(nvme, slot);
	else
		nvme_admin(nvme, slot);
}

static unsigned int fetch_from(struct nvme *nvme, struct nvme_sq *sq)
{
	struct nvme_command commands[BURST];
	uint32_t count = (uint32_t)min_u64((sq->tail > sq->head ? sq->tail : sq->size) - sq->head, BURST);
	uint32_t room = cq_room(&nvme->cqs[sq->cq]);

	if (!room)
		nvme->stalled = true;
	count = (uint32_t)min_u64(count, min_u64(room, nvme->free_count));
	if (!count)
		return 0;
	if (uiommu_dma_read(nvme->device, UIOMMU_NO_PASID, sq->address + ((uint64_t)sq->head << NVME_SQE_LG2), commands,
			    count * sizeof(commands[0]), NULL)) {
		nvme_fail(nvme);
		return 1;
	}
	for (uint32_t i = 0; i < count && !nvme->failed; i++)
		begin(nvme, sq, &commands[i]);
	return count;
}

unsigned int nvme_fetch(struct nvme *nvme)
{
	unsigned int count = 0;

	nvme_look_at_doorbells(nvme);
	nvme->stalled = false;
	for (unsigned int i = 0; i < NVME_QUEUES && !nvme->failed; i++) {
		struct nvme_sq *sq = &nvme->sqs[(nvme->turn + i) % NVME_QUEUES];

		if (sq->head != sq->tail && !sq->deleting)
			count += fetch_from(nvme, sq);
	}
	nvme->turn = (nvme->turn + 1) % NVME_QUEUES;
	return count;
}

/* --- create and delete --- */

static bool address_valid(const struct nvme *nvme, uint64_t address)
{
	return !(address & ((UINT64_C(1) << nvme->page_lg2) - 1));
}

static bool entries_valid(const struct nvme *nvme, unsigned int mask, unsigned int shift, unsigned int lg2)
{
	return (nvme_word(nvme, NVME_CC) & mask) >> shift == lg2;
}

/* What is the same for both kinds. */
static unsigned int check_queue(const struct nvme *nvme, const struct nvme_command *command)
{
	uint32_t size = command->cdw10 >> 16;

	if (!size || size >= NVME_ENTRIES)
		return NVME_QSIZE_INVALID | NVME_DNR;
	if (!(command->cdw11 & NVME_QUEUE_CONTIGUOUS))
		return NVME_INVALID_FIELD | NVME_DNR;
	return address_valid(nvme, command->prp1) ? NVME_SUCCESS : NVME_PRP_OFFSET_INVALID | NVME_DNR;
}

unsigned int nvme_create_sq(struct nvme *nvme, const struct nvme_command *command)
{
	uint16_t id = (uint16_t)command->cdw10, cq = (uint16_t)(command->cdw11 >> 16);
	unsigned int status;

	if (!cq || cq >= NVME_QUEUES || !nvme->cqs[cq].exists)
		return NVME_CQ_INVALID | NVME_DNR;
	if (!id || id > (nvme->features[NVME_FEATURE_QUEUES] & 0xffff) + 1 || nvme->sqs[id].exists)
		return NVME_QID_INVALID | NVME_DNR;
	status = check_queue(nvme, command);
	if (!status && !entries_valid(nvme, NVME_CC_IOSQES, NVME_CC_IOSQES_SHIFT, NVME_SQE_LG2))
		status = NVME_INVALID_FIELD | NVME_DNR;
	if (status)
		return status;
	nvme->sqs[id] =
		(struct nvme_sq){.exists = true, .id = id, .cq = cq, .size = (command->cdw10 >> 16) + 1, .address = command->prp1};
	nvme->cqs[cq].queues++;
	doorbell_reset(nvme, 2u * id);
	return NVME_SUCCESS;
}

/* Without MSI-X and MSI there is one vector. */
static bool vector_valid(const struct nvme *nvme, uint32_t vector)
{
	unsigned int state = uiommu_pci_state(nvme->pci);

	if (state & UIOMMU_PCI_MSIX_ON)
		return vector < NVME_QUEUES;
	return vector < (state & UIOMMU_PCI_MSI_ON ? 32 : 1);
}

unsigned int nvme_create_cq(struct nvme *nvme, const struct nvme_command *command)
{
	uint32_t vector = command->cdw11 >> 16;
	uint16_t id = (uint16_t)command->cdw10;
	unsigned int status;

	if (!id || id > (nvme->features[NVME_FEATURE_QUEUES] >> 16) + 1 || nvme->cqs[id].exists)
		return NVME_QID_INVALID | NVME_DNR;
	status = check_queue(nvme, command);
	if (!status && !entries_valid(nvme, NVME_CC_IOCQES, NVME_CC_IOCQES_SHIFT, NVME_CQE_LG2))
		status = NVME_INVALID_FIELD | NVME_DNR;
	if (!status && !vector_valid(nvme, vector))
		status = NVME_VECTOR_INVALID | NVME_DNR;
	if (status)
		return status;
	nvme->cqs[id] = (struct nvme_cq){
		.exists = true,
		.phase = true,
		.interrupts = command->cdw11 & NVME_CQ_INTERRUPTS,
		.vector = (uint16_t)vector,
		.size = (command->cdw10 >> 16) + 1,
		.address = command->prp1,
	};
	doorbell_reset(nvme, 2u * id + 1);
	return NVME_SUCCESS;
}

unsigned int nvme_delete_sq(struct nvme *nvme, const struct nvme_command *command)
{
	uint16_t id = (uint16_t)command->cdw10;
	struct nvme_sq *sq = &nvme->sqs[id % NVME_QUEUES];

	if (!id || id >= NVME_QUEUES || !sq->exists || sq->deleting)
		return NVME_QID_INVALID | NVME_DNR;
	doorbell_reset(nvme, 2u * id);
	if (sq->outstanding) {
		sq->deleting = true;
		sq->delete_cid = command->cid;
		return NVME_PENDING;
	}
	sq_remove(nvme, sq);
	return NVME_SUCCESS;
}

unsigned int nvme_delete_cq(struct nvme *nvme, const struct nvme_command *command)
{
	uint16_t id = (uint16_t)command->cdw10;
	struct nvme_cq *cq = &nvme->cqs[id % NVME_QUEUES];

	if (!id || id >= NVME_QUEUES || !cq->exists)
		return NVME_QID_INVALID | NVME_DNR;
	if (cq->queues)
		return NVME_QUEUE_DELETION | NVME_DNR;
	nvme_flush_posts(nvme);
	memset(cq, 0, sizeof(*cq));
	doorbell_reset(nvme, 2u * id + 1);
	return NVME_SUCCESS;
}
