/* SPDX-License-Identifier: BSD-3-Clause */
/* DSA's function: config space, registers, resets, and the model. */
#include "devices/accel/dsa.h"

#include <errno.h>
#include <stdlib.h>

#include "devices/model.h"
#include "util/util.h"

/* --- what everything here tells --- */

void dsa_tell(struct dsa *dsa, uint32_t cause)
{
	pthread_mutex_lock(&dsa->lock);
	dsa->intcause |= cause;
	pthread_mutex_unlock(&dsa->lock);
	/* Without MSI-X nobody waits for it. */
	(void)uiommu_pci_interrupt(dsa->base.pci, 0);
}

/* Under the lock. */
static void note_error(struct dsa *dsa, unsigned int wq, unsigned int error, const struct uiommu_accel_error *about)
{
	if (dsa->swerr[0] & DSA_SWERR_VALID) {
		dsa->swerr[0] |= DSA_SWERR_OVERFLOW;
		return;
	}
	dsa->swerr[0] = DSA_SWERR_VALID | DSA_SWERR_DESCRIPTOR | DSA_SWERR_WQ | FIELD_PREP64(DSA_SWERR_ERROR, error) |
			FIELD_PREP64(DSA_SWERR_WQ_INDEX, wq) | FIELD_PREP64(DSA_SWERR_OPERATION, about->opcode) |
			FIELD_PREP64(DSA_SWERR_PASID, about->pasid & UIOMMU_PASID_LAST);
	dsa->swerr[2] = about->address;
}

void dsa_error(struct dsa *dsa, unsigned int wq, unsigned int error, const struct uiommu_accel_error *about)
{
	bool tell;

	pthread_mutex_lock(&dsa->lock);
	tell = !(dsa->swerr[0] & DSA_SWERR_VALID) && dsa->genctrl & DSA_GENCTRL_SWERR && !dsa->resetting;
	if (!dsa->resetting) /* otherwise it is of what was before */
		note_error(dsa, wq, error, about);
	pthread_mutex_unlock(&dsa->lock);
	if (tell)
		dsa_tell(dsa, DSA_INTCAUSE_SWERR);
}

/* --- registers, under the lock --- */

static uint64_t read_capability(const struct dsa *dsa, uint64_t offset)
{
	switch (offset) {
	case DSA_VERSION_REGISTER:
		return DSA_VERSION;
	case DSA_GENCAP:
		return DSA_GENCAP_BLOCK_ON_FAULT | DSA_GENCAP_OVERLAP | DSA_GENCAP_CACHE_CONTROL_MEMORY | DSA_GENCAP_COMMANDS |
		       DSA_GENCAP_CONFIGURABLE | FIELD_PREP64(DSA_GENCAP_TRANSFER, dsa->transfer_lg2) |
		       FIELD_PREP64(DSA_GENCAP_BATCH, DSA_BATCH_LG2);
	case DSA_WQCAP:
		return FIELD_PREP64(DSA_WQCAP_TOTAL, DSA_WQ_TOTAL) | FIELD_PREP64(DSA_WQCAP_WQS, DSA_WQS) | DSA_WQCAP_SHARED |
		       DSA_WQCAP_DEDICATED;
	case DSA_GRPCAP:
		return DSA_GROUPS;
	case DSA_ENGCAP:
		return DSA_ENGINES;
	case DSA_OPCAP:
		return BIT64(UIOMMU_ACCEL_NOOP) | BIT64(UIOMMU_ACCEL_BATCH) | BIT64(UIOMMU_ACCEL_DRAIN) |
		       BIT64(UIOMMU_ACCEL_MEMMOVE) | BIT64(UIOMMU_ACCEL_FILL) | BIT64(UIOMMU_ACCEL_COMPARE) |
		       BIT64(UIOMMU_ACCEL_COMPARE_PATTERN) | BIT64(UIOMMU_ACCEL_DUALCAST) | BIT64(UIOMMU_ACCEL_CRC);
	case DSA_OFFSETS:
		return DSA_GRPCFG >> 8 | (uint64_t)DSA_WQCFG >> 8 << 16 | (uint64_t)DSA_MSIX_PERM >> 8 << 32;
	case DSA_CMDCAP:
		return (BIT64(DSA_DRAIN_PASID + 1) - 1) & ~BIT64(0);
	default:
		return 0;
	}
}

static uint64_t read_group(const struct dsa *dsa, uint64_t offset)
{
	uint64_t group = (offset - DSA_GRPCFG) / DSA_GRPCFG_SIZE;

	switch ((offset - DSA_GRPCFG) % DSA_GRPCFG_SIZE) {
	case DSA_GRPCFG_WQS:
		return dsa->group_wqs[group];
	case DSA_GRPCFG_ENGINES:
		return dsa->group_engines[group];
	case DSA_GRPCFG_FLAGS:
		return dsa->group_flags[group];
	default:
		return 0;
	}
}

static const struct dsa_wq *wq_at(const struct dsa *dsa, uint64_t offset)
{
	return &dsa->queues[(offset - DSA_WQCFG) / DSA_WQCFG_SIZE];
}

static bool within(uint64_t offset, uint64_t first, uint64_t size)
{
	return offset >= first && offset - first < size;
}

/* 8 bytes, aligned. */
static uint64_t read_register(const struct dsa *dsa, uint64_t offset)
{
	unsigned int word = (unsigned int)(offset % DSA_WQCFG_SIZE / 4);

	if (within(offset, DSA_GRPCFG, (uint64_t)DSA_GROUPS * DSA_GRPCFG_SIZE))
		return read_group(dsa, offset);
	if (within(offset, DSA_WQCFG, (uint64_t)DSA_WQS * DSA_WQCFG_SIZE))
		return dsa_wq_read(wq_at(dsa, offset), word) | (uint64_t)dsa_wq_read(wq_at(dsa, offset), word + 1) << 32;
	if (within(offset, DSA_MSIX_PERM, (uint64_t)DSA_VECTORS * DSA_MSIX_PERM_SIZE))
		return dsa->permissions[(offset - DSA_MSIX_PERM) / DSA_MSIX_PERM_SIZE];
	if (within(offset, DSA_SWERR, sizeof(dsa->swerr)))
		return dsa->swerr[(offset - DSA_SWERR) / 8];
	switch (offset) {
	case DSA_GENCFG:
		return dsa->gencfg;
	case DSA_GENCTRL:
		return dsa->genctrl;
	case DSA_GENSTS:
		return dsa->enabled ? DSA_ENABLED : DSA_DISABLED;
	case DSA_INTCAUSE:
		return dsa->intcause;
	case DSA_CMDSTS:
		return dsa->cmdsts;
	default:
		return read_capability(dsa, offset);
	}
}

static uint64_t with_half(uint64_t before, uint64_t offset, uint32_t value)
{
	return offset & 4 ? (before & UINT32_MAX) | (uint64_t)value << 32 : (before & ~(uint64_t)UINT32_MAX) | value;
}

/* What the configuration of an enabled device does not let change. */
static void write_group(struct dsa *dsa, uint64_t offset, uint32_t value)
{
	uint64_t group = (offset - DSA_GRPCFG) / DSA_GRPCFG_SIZE;

	if (dsa->enabled)
		return;
	switch ((offset - DSA_GRPCFG) % DSA_GRPCFG_SIZE) {
	case DSA_GRPCFG_WQS:
		dsa->group_wqs[group] = value & low_mask(DSA_WQS);
		break;
	case DSA_GRPCFG_ENGINES:
		dsa->group_engines[group] = value & low_mask(DSA_ENGINES);
		break;
	case DSA_GRPCFG_FLAGS:
		dsa->group_flags[group] = value;
		break;
	}
}

/* 4 bytes, aligned. True: the runner has something to do. */
static bool write_register(struct dsa *dsa, uint64_t offset, uint32_t value)
{
	uint64_t *permission;

	if (within(offset, DSA_GRPCFG, (uint64_t)DSA_GROUPS * DSA_GRPCFG_SIZE)) {
		write_group(dsa, offset, value);
	} else if (within(offset, DSA_WQCFG, (uint64_t)DSA_WQS * DSA_WQCFG_SIZE)) {
		dsa_wq_write((struct dsa_wq *)(uintptr_t)wq_at(dsa, offset), (unsigned int)(offset % DSA_WQCFG_SIZE / 4), value);
	} else if (within(offset, DSA_MSIX_PERM, (uint64_t)DSA_VECTORS * DSA_MSIX_PERM_SIZE)) {
		permission = &dsa->permissions[(offset - DSA_MSIX_PERM) / DSA_MSIX_PERM_SIZE];
		*permission = with_half(*permission, offset, value);
	} else if (offset == DSA_SWERR) {
		dsa->swerr[0] &= ~(value & (DSA_SWERR_VALID | DSA_SWERR_OVERFLOW));
	} else if (offset == DSA_GENCFG && !dsa->enabled) {
		dsa->gencfg = value & 0xff;
	} else if (offset == DSA_GENCTRL) {
		dsa->genctrl = value & 3;
	} else if (offset == DSA_INTCAUSE) {
		dsa->intcause &= ~value;
	} else if (offset == DSA_CMD) {
		return dsa_command_begin(dsa, value);
	}
	return false;
}

/* --- what the guest does --- */

static uint64_t read_bar(void *opaque, unsigned int bar, uint64_t offset, unsigned int size)
{
	struct dsa *dsa = opaque;
	uint64_t value;

	if (bar != DSA_BAR_REGISTERS)
		return 0;
	pthread_mutex_lock(&dsa->lock);
	value = read_register(dsa, offset & ~UINT64_C(7)) >> offset % 8 * 8;
	pthread_mutex_unlock(&dsa->lock);
	return size < 8 ? value & low_mask(size * 8) : value;
}

static void write_bar(void *opaque, unsigned int bar, uint64_t offset, unsigned int size, uint64_t value)
{
	struct dsa *dsa = opaque;
	const uint64_t portals = (uint64_t)DSA_PORTALS * DSA_PORTAL;
	bool kick;

	if (bar == DSA_BAR_PORTALS && size == 8) {
		dsa_wq_portal(&dsa->queues[offset / portals % DSA_WQS], offset % portals, value);
		return;
	}
	if (bar != DSA_BAR_REGISTERS || size < 4)
		return;
	pthread_mutex_lock(&dsa->lock);
	kick = write_register(dsa, offset, (uint32_t)value);
	if (size == 8)
		kick |= write_register(dsa, offset + 4, (uint32_t)(value >> 32));
	pthread_mutex_unlock(&dsa->lock);
	if (kick)
		engine_kick(dsa->base.tenant);
}

void dsa_forget(struct dsa *dsa)
{
	dsa->enabled = false;
	dsa->gencfg = dsa->genctrl = dsa->intcause = 0;
	for (unsigned int i = 0; i < ARRAY_SIZE(dsa->swerr); i++)
		dsa->swerr[i] = 0;
	for (unsigned int i = 0; i < DSA_GROUPS; i++)
		dsa->group_wqs[i] = dsa->group_engines[i] = dsa->group_flags[i] = 0;
	for (unsigned int i = 0; i < DSA_VECTORS; i++)
		dsa->permissions[i] = 0;
	for (unsigned int i = 0; i < DSA_WQS; i++) {
		dsa->queues[i].enabled = false;
		for (unsigned int word = 0; word < DSA_WQ_WORDS; word++)
			dsa->queues[i].config[word] = 0;
	}
}

static void reset(void *opaque, enum uiommu_pci_reset_type type)
{
	struct dsa *dsa = opaque;

	(void)type;
	pthread_mutex_lock(&dsa->lock);
	dsa->resetting = true;
	engine_bar(dsa->base.tenant);
	dsa_forget(dsa);
	dsa->command = dsa->cmdsts = dsa->targets = dsa->lost = 0;
	dsa->tells = false;
	for (unsigned int i = 0; i < DSA_WQS; i++)
		dsa->queues[i].word_count = 0;
	pthread_mutex_unlock(&dsa->lock);
	function_reset(&dsa->base);
	engine_kick(dsa->base.tenant);
}

static void lose_pasids(struct dsa *dsa)
{
	pthread_mutex_lock(&dsa->lock);
	for (unsigned int i = 0; i < DSA_WQS; i++)
		if (dsa->queues[i].config[DSA_WQ_MODES] & DSA_WQ_MODES_HAS_PASID)
			dsa->lost |= UINT32_C(1) << i;
	pthread_mutex_unlock(&dsa->lock);
	engine_kick(dsa->base.tenant);
}

static void changed(void *opaque, unsigned int before, unsigned int now)
{
	struct dsa *dsa = opaque;

	function_changed(&dsa->base, before, now);
	if (before & ~now & UIOMMU_PCI_PASID_ON)
		lose_pasids(dsa);
}

static const struct uiommu_pci_ops ops = {.read = read_bar, .write = write_bar, .reset = reset, .changed = changed};

/* --- beginning and end --- */

static int create_function(struct dsa *dsa, struct uiommu_context *context, uint32_t device_id)
{
	static const struct uiommu_pci_capability capabilities[] = {
		{.type = UIOMMU_PCI_EXPRESS},
		{.type = UIOMMU_PCI_PM},
		{.type = UIOMMU_PCI_MSIX, .count = DSA_VECTORS, .bar = DSA_BAR_MSIX},
		{.type = UIOMMU_PCI_ATS, .count = FUNCTION_INVALIDATE_DEPTH},
		{.type = UIOMMU_PCI_PRI, .count = DSA_PAGE_REQUESTS},
		{.type = UIOMMU_PCI_PASID, .count = FUNCTION_PASID_BITS},
	};
	const struct uiommu_pci_description description = {
		.size = sizeof(description),
		.vendor = DSA_VENDOR,
		.device = DSA_DEVICE,
		.subsystem_vendor = DSA_VENDOR,
		.class_code = DSA_CLASS,
		.capabilities = capabilities,
		.capability_count = ARRAY_SIZE(capabilities),
		.bars = {[DSA_BAR_REGISTERS] = {.size = DSA_REGISTERS_SIZE},
			 [DSA_BAR_PORTALS] = {.size = (uint64_t)DSA_WQS * DSA_PORTALS * DSA_PORTAL},
			 [DSA_BAR_MSIX] = {.size = 4096}},
		.ops = &ops,
	};
	int error;

	error = uiommu_pci_create(context, device_id, &description, dsa, &dsa->base.pci);
	if (!error)
		engine_function(dsa->base.tenant, dsa->base.pci, false);
	return error;
}

void dsa_destroy(void *instance)
{
	struct dsa *dsa = instance;

	function_end(&dsa->base);
	pthread_mutex_destroy(&dsa->lock);
	free(dsa);
}

int dsa_make(struct uiommu_context *context, uint32_t device_id, struct dsa **out)
{
	struct engine_tenant_config tenant = {
		.context = context, .device_id = device_id, .share = DSA_PAGE_REQUESTS / DSA_WQS, .control = dsa_control};
	struct dsa *dsa = calloc(1, sizeof(*dsa));
	int error;

	if (!dsa)
		return -ENOMEM;
	pthread_mutex_init(&dsa->lock, NULL);
	dsa->transfer_lg2 = DSA_TRANSFER_LG2;
	for (unsigned int i = 0; i < DSA_WQS; i++)
		dsa->queues[i].dsa = dsa;
	tenant.opaque = dsa;
	error = function_begin(&dsa->base, &tenant, NULL);
	if (!error)
		error = create_function(dsa, context, device_id);
	if (error)
		dsa_destroy(dsa);
	else
		*out = dsa;
	return error;
}

enum { OPTION_SPIN, OPTION_TRANSFER, OPTIONS };

static const struct uiommu_model_option options[OPTIONS] = {
	[OPTION_SPIN] = {"spin", "MICROSECONDS", "how long it polls for more work before it sleeps (0)"},
	[OPTION_TRANSFER] = {"transfer", "SIZE", "bytes of a descriptor, at most, as GENCAP says it: a power of two (2G)"},
};

static const struct option_rule rules[OPTIONS] = {
	[OPTION_SPIN] = {OPTION_NUMBER, 0, 1000000},
	[OPTION_TRANSFER] = {OPTION_SIZE, 4096, UINT64_C(1) << DSA_TRANSFER_LG2},
};

static int dsa_create(struct uiommu_context *context, uint32_t device_id, const struct option_value *values,
		      const struct complaint *complaint, void **out)
{
	const uint64_t transfer = values[OPTION_TRANSFER].given ? values[OPTION_TRANSFER].number : UINT64_C(1) << DSA_TRANSFER_LG2;
	struct dsa *dsa;
	int error;

	if (transfer & (transfer - 1))
		return complain_about(complaint, -EINVAL, "dsa: transfer=%llu is no power of two", (unsigned long long)transfer);
	error = dsa_make(context, device_id, &dsa);
	if (!error) {
		dsa->transfer_lg2 = (unsigned int)__builtin_ctzll(transfer);
		error = uiommu_accel_start(dsa->base.accel, (uint32_t)values[OPTION_SPIN].number);
		if (error)
			dsa_destroy(dsa);
	}
	if (error)
		return complain_about(complaint, error, "dsa: cannot be made: error %d", -error);
	*out = dsa;
	return 0;
}

static struct uiommu_pci *dsa_function(const void *instance)
{
	return ((const struct dsa *)instance)->base.pci;
}

const struct model_type dsa_model = {
	.info = {"dsa", "the accelerator with the registers of Intel DSA 1.0", options, ARRAY_SIZE(options)},
	.rules = rules,
	.pasid_bits = FUNCTION_PASID_BITS,
	.create = dsa_create,
	.function = dsa_function,
	.destroy = dsa_destroy,
};
