/* SPDX-License-Identifier: BSD-3-Clause */
/* Registers and doorbells, as the transport's thread reads and writes them: values are stored, and the engine wakes up. */
#include <string.h>

#include "devices/nvme/nvme.h"
#include "translate/inflight.h"
#include "util/util.h"

enum { REGISTERS_END = NVME_ACQ + 8, DOORBELLS_END = NVME_DOORBELLS + 8 * NVME_QUEUES };

static const uint64_t capabilities = (NVME_ENTRIES - 1) | NVME_CAP_CQR | UINT64_C(20) << NVME_CAP_TO_SHIFT | NVME_CAP_CSS_NVM |
				     (uint64_t)(NVME_PAGE_LG2_MAX - NVME_PAGE_LG2) << NVME_CAP_MPSMAX_SHIFT;

static void set_masks(struct nvme *nvme, uint32_t mask)
{
	nvme->mask = mask;
	nvme_word_set(nvme, NVME_INTMS, mask);
	nvme_word_set(nvme, NVME_INTMC, mask);
}

void nvme_registers_reset(struct nvme *nvme)
{
	for (unsigned int at = 0; at < DOORBELLS_END; at += 4)
		nvme_word_set(nvme, at, 0);
	nvme_word_set(nvme, NVME_CAP, (uint32_t)capabilities);
	nvme_word_set(nvme, NVME_CAP + 4, (uint32_t)(capabilities >> 32));
	nvme_word_set(nvme, NVME_VS, NVME_VERSION);
	pthread_mutex_lock(&nvme->mask_lock);
	set_masks(nvme, 0);
	pthread_mutex_unlock(&nvme->mask_lock);
}

/* Both read as the mask. So what is different has been written by a program: ones set, or clear. */
uint32_t nvme_mask(struct nvme *nvme)
{
	uint32_t mask, set, clear;

	pthread_mutex_lock(&nvme->mask_lock);
	mask = nvme->mask;
	set = nvme_word(nvme, NVME_INTMS);
	clear = nvme_word(nvme, NVME_INTMC);
	if (set != mask)
		mask |= set;
	if (clear != nvme->mask)
		mask &= ~clear;
	if (set != mask || clear != mask)
		set_masks(nvme, mask);
	pthread_mutex_unlock(&nvme->mask_lock);
	return mask;
}

/*
 * What lowers the pin has done so when the access is over: a VMM that was told of the interrupt looks at the level again right
 * after it, and a driver that finds nothing to do makes no other access.
 */
static void settle_pin(struct nvme *nvme)
{
	/* Total order with the engine, which says that it raises the pin, and then looks at what has been written. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (!__atomic_load_n(&nvme->intx, __ATOMIC_ACQUIRE))
		return;
	nvme_pause(nvme);
	if (nvme->ready && !nvme->failed) {
		nvme_look_at_doorbells(nvme);
		nvme_interrupts(nvme);
	}
	nvme_resume(nvme);
}

static void write_register(struct nvme *nvme, unsigned int offset, uint32_t value)
{
	switch (offset) {
	case NVME_INTMS:
	case NVME_INTMC:
		pthread_mutex_lock(&nvme->mask_lock);
		set_masks(nvme, offset == NVME_INTMS ? nvme->mask | value : nvme->mask & ~value);
		pthread_mutex_unlock(&nvme->mask_lock);
		settle_pin(nvme);
		break;
	case NVME_CC:
		/* Cleared and set again before the engine looks: it has been cleared. */
		if (nvme_word(nvme, NVME_CC) & ~value & NVME_CC_EN)
			__atomic_fetch_add(&nvme->disables, 1, __ATOMIC_RELEASE);
		nvme_word_set(nvme, NVME_CC, value & NVME_CC_WRITABLE);
		break;
	case NVME_AQA:
		nvme_word_set(nvme, offset, value & (NVME_AQA_SIZE | NVME_AQA_SIZE << NVME_AQA_ACQS_SHIFT));
		return;
	case NVME_ASQ:
	case NVME_ACQ:
		nvme_word_set(nvme, offset, value & ~UINT32_C(0xfff));
		return;
	case NVME_ASQ + 4:
	case NVME_ACQ + 4:
		nvme_word_set(nvme, offset, value);
		return;
	default:
		return;
	}
	nvme_kick(nvme);
}

static void write_doorbell(struct nvme *nvme, unsigned int offset, uint32_t value)
{
	if (offset >= DOORBELLS_END)
		__atomic_store_n(&nvme->strays, 1, __ATOMIC_RELEASE);
	else
		nvme_word_set(nvme, offset, value);
	/* A completion queue's seldom matters. The same total order is one with the engine's look before it sleeps. */
	if (offset % 8 && offset < DOORBELLS_END) {
		settle_pin(nvme);
		if (!__atomic_load_n(&nvme->heeds_heads, __ATOMIC_RELAXED))
			return;
	}
	nvme_kick(nvme);
}

static void write_op(void *opaque, unsigned int bar, uint64_t offset, unsigned int size, uint64_t value)
{
	if (bar)
		return;
	/* Registers are written in units of 4 bytes; what is less has no effect. */
	for (; size >= 4; offset += 4, size -= 4, value >>= 32) {
		if (offset >= NVME_DOORBELLS)
			write_doorbell(opaque, (unsigned int)offset, (uint32_t)value);
		else
			write_register(opaque, (unsigned int)offset, (uint32_t)value);
	}
}

static uint64_t read_op(void *opaque, unsigned int bar, uint64_t offset, unsigned int size)
{
	const struct nvme *nvme = opaque;
	uint64_t value;

	if (bar || offset >= REGISTERS_END)
		return 0;
	value = nvme_word64(nvme, (unsigned int)offset & ~3u) >> (offset % 4 * 8);
	return size < 8 ? value & ((UINT64_C(1) << 8 * size) - 1) : value;
}

static void reset_op(void *opaque, enum uiommu_pci_reset_type type)
{
	struct nvme *nvme = opaque;

	(void)type;
	nvme_pause(nvme);
	nvme_forget(nvme);
	nvme->stopping = false;
	nvme_registers_reset(nvme);
	nvme_resume(nvme);
}

static void touched_op(void *opaque)
{
	nvme_kick(opaque);
}

const struct uiommu_pci_ops nvme_ops = {.read = read_op, .write = write_op, .reset = reset_op, .touched = touched_op};
