/* SPDX-License-Identifier: BSD-3-Clause */
#include "pci/capability.h"

#include <errno.h>
#include <stdlib.h>

#include "pci/spec.h"
#include "util/util.h"

struct pci_capability_type {
	uint16_t id;
	uint8_t length;
	bool extended;
	uint16_t count_max; /* of what it takes; 0: nothing */
	const struct pci_register *registers;
	size_t register_count;
	/* What depends on the model. -EINVAL, -ENOMEM. */
	int (*fill)(struct uiommu_pci *pci, unsigned int at, const struct uiommu_pci_capability *given);
	/* Under the lock: put right what must not be as it was written. */
	void (*written)(struct uiommu_pci *pci, unsigned int at, const struct pci_config *before);
};

#define REGISTERS(array) .registers = (array), .register_count = ARRAY_SIZE(array)

static const struct pci_register pm[] = {
	{PCI_PM_CAPABILITIES, 2, .reset = PCI_PM_VERSION},
	{PCI_PM_CONTROL, 2, .reset = PCI_PM_NO_SOFT_RESET, .writable = PCI_PM_STATE},
};

/* D1 and D2 do not exist: who asks for them asks for nothing. */
static void pm_written(struct uiommu_pci *pci, unsigned int at, const struct pci_config *before)
{
	unsigned int state = pci->config.value[at + PCI_PM_CONTROL] & PCI_PM_STATE;

	if (state && state != PCI_PM_D3)
		pci->config.value[at + PCI_PM_CONTROL] = before->value[at + PCI_PM_CONTROL];
}

static const struct pci_register msi[] = {
	{PCI_MSI_CONTROL, 2, .reset = PCI_MSI_64 | PCI_MSI_MASKS, .writable = PCI_MSI_ENABLE | PCI_MSI_ENABLED},
	{PCI_MSI_ADDRESS, 4, .writable = ~UINT32_C(3)},
	{PCI_MSI_UPPER, 4, .writable = UINT32_MAX},
	{PCI_MSI_DATA, 2, .writable = UINT16_MAX},
};

static int msi_fill(struct uiommu_pci *pci, unsigned int at, const struct uiommu_pci_capability *given)
{
	unsigned int lg2 = (unsigned int)__builtin_ctz(given->count);

	if (given->count & (given->count - 1))
		return -EINVAL;
	pci->msi_count = given->count;
	pci_config_reset_value(&pci->config, at + PCI_MSI_CONTROL, 2, PCI_MSI_64 | PCI_MSI_MASKS | lg2 << PCI_MSI_CAPABLE_SHIFT);
	pci_config_writable(&pci->config, at + PCI_MSI_MASK, 4, (uint32_t)((UINT64_C(1) << given->count) - 1));
	return 0;
}

/* Not more vectors than there are. */
static void msi_written(struct uiommu_pci *pci, unsigned int at, const struct pci_config *before)
{
	uint32_t control = pci_config_get(&pci->config, at + PCI_MSI_CONTROL, 2);
	uint32_t capable = (control >> PCI_MSI_CAPABLE_SHIFT) & 7, enabled = (control & PCI_MSI_ENABLED) >> PCI_MSI_ENABLED_SHIFT;

	(void)before;
	if (enabled > capable)
		pci_config_set(&pci->config, at + PCI_MSI_CONTROL, 2,
			       (control & ~(uint32_t)PCI_MSI_ENABLED) | capable << PCI_MSI_ENABLED_SHIFT);
}

static const struct pci_register msix[] = {
	{PCI_MSIX_CONTROL, 2, .writable = PCI_MSIX_MASK_ALL | PCI_MSIX_ENABLE},
};

static int msix_fill(struct uiommu_pci *pci, unsigned int at, const struct uiommu_pci_capability *given)
{
	uint64_t table = given->offset, pending = table + (uint64_t)given->count * PCI_MSIX_ENTRY;
	uint64_t end = pending + (given->count + 63) / 64 * 8;
	const struct uiommu_pci_bar *bar;

	if (given->bar >= UIOMMU_PCI_BARS || table % 8)
		return -EINVAL;
	bar = &pci->bars[given->bar];
	if (end > bar->size || (bar->memory_length && table < bar->memory_offset + bar->memory_length && bar->memory_offset < end))
		return -EINVAL;
	pci->msix = (struct pci_msix){.count = given->count, .bar = given->bar, .table = table, .pending = pending};
	pci->msix.entries = calloc(given->count, sizeof(*pci->msix.entries));
	pci->msix.bits = calloc((given->count + 63) / 64, sizeof(*pci->msix.bits));
	if (!pci->msix.entries || !pci->msix.bits)
		return -ENOMEM;
	pci_config_reset_value(&pci->config, at + PCI_MSIX_CONTROL, 2, given->count - 1);
	pci_config_reset_value(&pci->config, at + PCI_MSIX_TABLE, 4, (uint32_t)table | given->bar);
	pci_config_reset_value(&pci->config, at + PCI_MSIX_PENDING, 4, (uint32_t)pending | given->bar);
	return 0;
}

static const struct pci_register express[] = {
	{PCI_EXP_CAPABILITIES, 2, .reset = PCI_EXP_VERSION_2},
	{PCI_EXP_DEVICE, 4, .reset = PCI_EXP_DEVICE_ROLE | PCI_EXP_DEVICE_FLR},
	{PCI_EXP_CONTROL, 2, .reset = PCI_EXP_CONTROL_RESET, .writable = PCI_EXP_CONTROL_WRITABLE},
	{PCI_EXP_STATUS, 2, .clears = PCI_EXP_STATUS_ERRORS},
	{PCI_EXP_LINK, 4, .reset = PCI_EXP_LINK_X1},
	{PCI_EXP_LINK_CONTROL, 2, .writable = PCI_EXP_LINK_CONTROL_WRITABLE},
	{PCI_EXP_LINK_STATUS, 2, .reset = PCI_EXP_LINK_X1},
	{PCI_EXP_DEVICE2, 4, .reset = PCI_EXP_DEVICE2_NO_TIMEOUT | PCI_EXP_DEVICE2_PREFIX | PCI_EXP_DEVICE2_ONE_PREFIX},
	{PCI_EXP_CONTROL2, 2, .writable = PCI_EXP_CONTROL2_WRITABLE},
	{PCI_EXP_LINK2, 4, .reset = PCI_EXP_LINK2_SPEEDS},
	{PCI_EXP_LINK_CONTROL2, 2, .reset = 1},
};

static const struct pci_register ats[] = {
	{PCI_ATS_CAPABILITY, 2, .reset = PCI_ATS_PAGE_ALIGNED},
	{PCI_ATS_CONTROL, 2, .writable = PCI_ATS_STU | PCI_ATS_ENABLE},
};

static int ats_fill(struct uiommu_pci *pci, unsigned int at, const struct uiommu_pci_capability *given)
{
	uint32_t depth = given->count % PCI_ATS_DEPTH_MAX; /* 0 stands for 32 */

	pci_config_reset_value(&pci->config, at + PCI_ATS_CAPABILITY, 2, PCI_ATS_PAGE_ALIGNED | depth);
	return 0;
}

/* The smallest translation unit stays as it is while translations are kept. */
static void ats_written(struct uiommu_pci *pci, unsigned int at, const struct pci_config *before)
{
	uint32_t was = pci_config_get(before, at + PCI_ATS_CONTROL, 2), now = pci_config_get(&pci->config, at + PCI_ATS_CONTROL, 2);

	if (was & now & PCI_ATS_ENABLE)
		pci_config_set(&pci->config, at + PCI_ATS_CONTROL, 2, was);
}

static const struct pci_register pri[] = {
	{PCI_PRI_CONTROL, 2, .writable = PCI_PRI_ENABLE | PCI_PRI_RESET},
	{PCI_PRI_STATUS, 2, .reset = PCI_PRI_STOPPED | PCI_PRI_RESPONSE_PASID, .clears = PCI_PRI_ERRORS},
	{PCI_PRI_ALLOCATION, 4, .writable = UINT32_MAX},
};

static int pri_fill(struct uiommu_pci *pci, unsigned int at, const struct uiommu_pci_capability *given)
{
	pci_config_reset_value(&pci->config, at + PCI_PRI_CAPACITY, 4, given->count);
	return 0;
}

/* Reset is no state: it clears the errors of an interface that is not enabled. Not more requests than there can be. */
static void pri_written(struct uiommu_pci *pci, unsigned int at, const struct pci_config *before)
{
	uint32_t control = pci_config_get(&pci->config, at + PCI_PRI_CONTROL, 2);
	uint32_t status = pci_config_get(&pci->config, at + PCI_PRI_STATUS, 2);
	uint32_t capacity = pci_config_get(&pci->config, at + PCI_PRI_CAPACITY, 4);

	if ((control & PCI_PRI_RESET) && !(before->value[at + PCI_PRI_CONTROL] & PCI_PRI_ENABLE))
		status &= ~(uint32_t)PCI_PRI_ERRORS;
	status &= ~(uint32_t)PCI_PRI_STOPPED;
	if (!(control & PCI_PRI_ENABLE))
		status |= PCI_PRI_STOPPED;
	pci_config_set(&pci->config, at + PCI_PRI_CONTROL, 2, control & PCI_PRI_ENABLE);
	pci_config_set(&pci->config, at + PCI_PRI_STATUS, 2, status);
	if (pci_config_get(&pci->config, at + PCI_PRI_ALLOCATION, 4) > capacity)
		pci_config_set(&pci->config, at + PCI_PRI_ALLOCATION, 4, capacity);
}

void pci_collect(struct uiommu_pci *pci)
{
	if (pci->place[UIOMMU_PCI_PRI] && __atomic_exchange_n(&pci->response_failed, false, __ATOMIC_RELAXED))
		pci->config.value[pci->place[UIOMMU_PCI_PRI] + PCI_PRI_STATUS] |= PCI_PRI_RESPONSE_FAILURE;
}

static const struct pci_register pasid[] = {
	{PCI_PASID_CONTROL, 2, .writable = PCI_PASID_ENABLE},
};

static int pasid_fill(struct uiommu_pci *pci, unsigned int at, const struct uiommu_pci_capability *given)
{
	pci_config_reset_value(&pci->config, at + PCI_PASID_CAPABILITY, 2, given->count << PCI_PASID_WIDTH_SHIFT);
	return 0;
}

/* It stays as it is while ATS is enabled (7.8.9.3): translations are kept by PASID. */
static void pasid_written(struct uiommu_pci *pci, unsigned int at, const struct pci_config *before)
{
	unsigned int ats_at = pci->place[UIOMMU_PCI_ATS];

	if (ats_at && (pci_config_get(before, ats_at + PCI_ATS_CONTROL, 2) & PCI_ATS_ENABLE))
		pci->config.value[at + PCI_PASID_CONTROL] = before->value[at + PCI_PASID_CONTROL];
}

static const struct pci_capability_type types[PCI_CAPABILITIES] = {
	[UIOMMU_PCI_PM] = {PCI_PM_ID, PCI_PM_LENGTH, REGISTERS(pm), .written = pm_written},
	[UIOMMU_PCI_MSI] = {PCI_MSI_ID, PCI_MSI_LENGTH, .count_max = PCI_MSI_COUNT_MAX, REGISTERS(msi), .fill = msi_fill,
			    .written = msi_written},
	[UIOMMU_PCI_MSIX] = {PCI_MSIX_ID, PCI_MSIX_LENGTH, .count_max = PCI_MSIX_COUNT_MAX, REGISTERS(msix), .fill = msix_fill},
	[UIOMMU_PCI_EXPRESS] = {PCI_EXP_ID, PCI_EXP_LENGTH, REGISTERS(express)},
	[UIOMMU_PCI_ATS] = {PCI_ATS_ID, PCI_ATS_LENGTH, .extended = true, .count_max = PCI_ATS_DEPTH_MAX, REGISTERS(ats),
			    .fill = ats_fill, .written = ats_written},
	[UIOMMU_PCI_PRI] = {PCI_PRI_ID, PCI_PRI_LENGTH, .extended = true, .count_max = UINT16_MAX, REGISTERS(pri), .fill = pri_fill,
			    .written = pri_written},
	[UIOMMU_PCI_PASID] = {PCI_PASID_ID, PCI_PASID_LENGTH, .extended = true, .count_max = UIOMMU_PASID_BITS, REGISTERS(pasid),
			      .fill = pasid_fill, .written = pasid_written},
	[UIOMMU_PCI_ACS] = {PCI_ACS_ID, PCI_ACS_LENGTH, .extended = true},
};

static bool given_valid(const struct uiommu_pci *pci, const struct uiommu_pci_capability *given)
{
	const struct pci_capability_type *type;

	if (!given->type || given->type >= PCI_CAPABILITIES || pci->place[given->type])
		return false;
	type = &types[given->type];
	if (given->type != UIOMMU_PCI_MSIX && (given->bar || given->offset))
		return false;
	return type->count_max ? given->count && given->count <= type->count_max : !given->count;
}

/* Where the next ones go, and where the link to them is. */
struct chain {
	unsigned int next, end;
	unsigned int link; /* byte, or the header of the extended one before; 0: none */
};

static int place_legacy(struct uiommu_pci *pci, struct chain *chain, const struct pci_capability_type *type, unsigned int *at)
{
	unsigned int next = (chain->next + 3) & ~3u;

	if (next + type->length > chain->end)
		return -ENOSPC;
	*at = next;
	pci_config_reset_value(&pci->config, next, 1, type->id);
	pci_config_reset_value(&pci->config, chain->link, 1, next);
	pci_config_reset_value(&pci->config, PCI_STATUS, 2, PCI_STATUS_LIST);
	chain->link = next + 1;
	chain->next = next + type->length;
	return 0;
}

/* There is room for one of each type. */
static void place_extended(struct uiommu_pci *pci, struct chain *chain, const struct pci_capability_type *type, unsigned int *at)
{
	*at = chain->next;
	pci_config_reset_value(&pci->config, *at, 4, type->id | PCI_EXTENDED_VERSION);
	if (chain->link)
		pci_config_reset_value(&pci->config, chain->link + 2, 2, 1 | *at << (PCI_EXTENDED_NEXT_SHIFT - 16));
	chain->link = *at;
	chain->next += type->length;
}

static int place_one(struct uiommu_pci *pci, const struct uiommu_pci_capability *given, struct chain *legacy,
		     struct chain *extended)
{
	const struct pci_capability_type *type;
	unsigned int at;
	int error = 0;

	if (!given_valid(pci, given))
		return -EINVAL;
	type = &types[given->type];
	if (type->extended)
		place_extended(pci, extended, type, &at);
	else
		error = place_legacy(pci, legacy, type, &at);
	if (error)
		return error;
	pci->place[given->type] = (uint16_t)at;
	pci_config_registers(&pci->config, at, type->registers, type->register_count);
	return type->fill ? type->fill(pci, at, given) : 0;
}

int pci_capabilities(struct uiommu_pci *pci, const struct uiommu_pci_capability *given, unsigned int count)
{
	struct chain legacy = {.next = PCI_CAPABILITIES_FIRST, .end = PCI_CAPABILITIES_END, .link = PCI_LIST};
	struct chain extended = {.next = PCI_EXTENDED_FIRST, .end = UIOMMU_PCI_CONFIG_SIZE};

	for (unsigned int i = 0; i < count; i++) {
		int error = place_one(pci, &given[i], &legacy, &extended);

		if (error)
			return error;
	}
	return extended.link && !pci->place[UIOMMU_PCI_EXPRESS] ? -EINVAL : 0;
}

void pci_written(struct uiommu_pci *pci, unsigned int offset, size_t length, const struct pci_config *before)
{
	for (unsigned int i = 0; i < PCI_CAPABILITIES; i++) {
		const struct pci_capability_type *type = &types[i];
		unsigned int at = pci->place[i];

		if (at && type->written && offset < at + type->length && at < offset + length)
			type->written(pci, at, before);
	}
}

bool pci_asks_for_reset(const struct uiommu_pci *pci, unsigned int offset, const uint8_t *bytes, size_t length)
{
	unsigned int at = pci->place[UIOMMU_PCI_EXPRESS], byte = at + PCI_EXP_CONTROL + 1;

	return at && byte >= offset && byte < offset + length && (bytes[byte - offset] & (PCI_EXP_CONTROL_FLR >> 8));
}

static bool bit_set(const struct uiommu_pci *pci, enum uiommu_pci_capability_type type, unsigned int offset, uint32_t bit)
{
	return pci->place[type] && (pci_config_get(&pci->config, pci->place[type] + offset, 2) & bit);
}

unsigned int pci_state_of(const struct uiommu_pci *pci)
{
	uint32_t command = pci_config_get(&pci->config, PCI_COMMAND, 2);
	unsigned int pm_at = pci->place[UIOMMU_PCI_PM], state = 0;

	state |= command & PCI_COMMAND_MEMORY ? UIOMMU_PCI_MEMORY : 0;
	state |= command & PCI_COMMAND_MASTER ? UIOMMU_PCI_BUS_MASTER : 0;
	if (pm_at && (pci->config.value[pm_at + PCI_PM_CONTROL] & PCI_PM_STATE) == PCI_PM_D3)
		state |= UIOMMU_PCI_D3;
	state |= bit_set(pci, UIOMMU_PCI_MSI, PCI_MSI_CONTROL, PCI_MSI_ENABLE) ? UIOMMU_PCI_MSI_ON : 0;
	state |= bit_set(pci, UIOMMU_PCI_MSIX, PCI_MSIX_CONTROL, PCI_MSIX_ENABLE) ? UIOMMU_PCI_MSIX_ON : 0;
	state |= bit_set(pci, UIOMMU_PCI_ATS, PCI_ATS_CONTROL, PCI_ATS_ENABLE) ? UIOMMU_PCI_ATS_ON : 0;
	state |= bit_set(pci, UIOMMU_PCI_PRI, PCI_PRI_CONTROL, PCI_PRI_ENABLE) ? UIOMMU_PCI_PRI_ON : 0;
	state |= bit_set(pci, UIOMMU_PCI_PASID, PCI_PASID_CONTROL, PCI_PASID_ENABLE) ? UIOMMU_PCI_PASID_ON : 0;
	return state;
}
