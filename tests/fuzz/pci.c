/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A guest that writes anything anywhere in config space and BARs. The input is a sequence of steps of 11 bytes: where, how, what.
 * Whatever comes, config space stays a config space.
 */
#include "fuzz.h"

#include <uiommu/pci.h>

#include "pci/pci.h"
#include "pci/spec.h"
#include "util/util.h"

enum { STEP = 11, TO_CONFIG = 0, FROM_CONFIG, TO_BAR, FROM_BAR, INTERRUPT, PIN, RESET, KINDS };

struct world {
	struct uiommu_context *context;
	struct uiommu_pci *pci;
	bool master;
	uint32_t device;
};

static uint64_t model_read(void *opaque, unsigned int bar, uint64_t offset, unsigned int size)
{
	const struct world *world = opaque;

	CHECK(offset % size == 0 && offset + size <= world->pci->bars[bar].size);
	return ~UINT64_C(0);
}

static void model_write(void *opaque, unsigned int bar, uint64_t offset, unsigned int size, uint64_t value)
{
	const struct world *world = opaque;

	CHECK(offset % size == 0 && offset + size <= world->pci->bars[bar].size);
	CHECK(size == 8 || !(value >> 8 * size));
	if (offset == 8)
		uiommu_pci_interrupt(world->pci, (unsigned int)value);
}

static void model_changed(void *opaque, unsigned int before, unsigned int now)
{
	const struct world *world = opaque;

	CHECK(before != now);
	CHECK(world->master == ((now & (UIOMMU_PCI_BUS_MASTER | UIOMMU_PCI_D3)) == UIOMMU_PCI_BUS_MASTER));
}

static const struct uiommu_pci_ops ops = {.read = model_read, .write = model_write, .changed = model_changed};

static struct world world;

static void intx(struct pci_transport *transport, bool asserted)
{
	(void)transport;
	(void)asserted;
}

static void message(struct pci_transport *transport, uint64_t address, uint32_t data)
{
	(void)transport;
	(void)data;
	CHECK(world.master && !(address & 3));
}

static void master(struct pci_transport *transport, bool on)
{
	(void)transport;
	CHECK(world.master != on);
	world.master = on;
}

static const struct uiommu_pci_capability capabilities[] = {
	{UIOMMU_PCI_MSIX, .count = 9, .bar = 0, .offset = 0x800},
	{UIOMMU_PCI_EXPRESS},
	{UIOMMU_PCI_MSI, .count = 8},
	{UIOMMU_PCI_PM},
	{UIOMMU_PCI_PASID, .count = 20},
	{UIOMMU_PCI_PRI, .count = 32},
	{UIOMMU_PCI_ATS, .count = 8},
	{UIOMMU_PCI_ACS},
};

static void world_open(void)
{
	static struct uiommu_pci_description description = {
		.size = sizeof(description),
		.class_code = 0x088000,
		.interrupt_pin = 2,
		.capability_count = ARRAY_SIZE(capabilities),
		.bars = {[0] = {.size = 0x1000}, [4] = {.size = 0x10000, .flags = UIOMMU_PCI_BAR_64}},
		.capabilities = capabilities,
		.ops = &ops,
	};
	struct uiommu_device_config config = {.size = sizeof(config), .name = "fuzz"};

	description.bars[4].memory_offset = page_size();
	description.bars[4].memory_length = page_size();
	CHECK(!uiommu_open(NULL, &world.context));
	CHECK(!uiommu_device_alloc(world.context, &config, &world.device));
	CHECK(!uiommu_pci_create(world.context, world.device, &description, &world, &world.pci));
}

static uint32_t get(unsigned int type, unsigned int offset, unsigned int width)
{
	return pci_config_get(&world.pci->config, world.pci->place[type] + offset, width);
}

/* Bits that no write may change are those of a reset, but for what tells a state. */
static void check_read_only(void)
{
	const struct pci_config *config = &world.pci->config;

	for (unsigned int i = 0; i < UIOMMU_PCI_CONFIG_SIZE; i++) {
		uint8_t fixed = (uint8_t) ~(config->writable[i] | config->clears[i]);

		if (i == PCI_STATUS)
			fixed &= (uint8_t)~PCI_STATUS_INTX;
		if (i == world.pci->place[UIOMMU_PCI_PRI] + PCI_PRI_STATUS + 1u)
			fixed &= (uint8_t) ~(PCI_PRI_STOPPED >> 8);
		if (i - (world.pci->place[UIOMMU_PCI_MSI] + PCI_MSI_PENDING) < 4)
			continue;
		CHECK((config->value[i] & fixed) == (config->reset[i] & fixed));
	}
}

static void check_config(void)
{
	uint32_t control = get(UIOMMU_PCI_MSI, PCI_MSI_CONTROL, 2);
	bool requests = get(UIOMMU_PCI_PRI, PCI_PRI_CONTROL, 2) & PCI_PRI_ENABLE;

	check_read_only();
	CHECK((control >> PCI_MSI_ENABLED_SHIFT & 7) <= (control >> PCI_MSI_CAPABLE_SHIFT & 7));
	CHECK(get(UIOMMU_PCI_PRI, PCI_PRI_ALLOCATION, 4) <= get(UIOMMU_PCI_PRI, PCI_PRI_CAPACITY, 4));
	CHECK(!(get(UIOMMU_PCI_PRI, PCI_PRI_CONTROL, 2) & PCI_PRI_RESET));
	CHECK(requests == !(get(UIOMMU_PCI_PRI, PCI_PRI_STATUS, 2) & PCI_PRI_STOPPED));
	CHECK(world.pci->state == pci_state_of(world.pci));
	CHECK(world.master == ((world.pci->state & (UIOMMU_PCI_BUS_MASTER | UIOMMU_PCI_D3)) == UIOMMU_PCI_BUS_MASTER));
	CHECK(!(get(UIOMMU_PCI_MSI, PCI_MSI_PENDING, 4) & ~UINT32_C(0xff)));
}

static void step(const uint8_t *bytes)
{
	static uint8_t big[0x10000];
	uint64_t offset = bytes[1] | (uint64_t)bytes[2] << 8;
	unsigned int bar = bytes[0] / KINDS % 8, length = bytes[0] & 128 ? 8 : 1u << bytes[0] / KINDS % 4;
	uint8_t buffer[8];

	memcpy(buffer, bytes + 3, sizeof(buffer));
	switch (bytes[0] % KINDS) {
	case TO_CONFIG:
		pci_config_write(world.pci, offset % (UIOMMU_PCI_CONFIG_SIZE + 8), buffer, length);
		break;
	case FROM_CONFIG:
		pci_config_read(world.pci, offset, big, length * 512);
		break;
	case TO_BAR:
		pci_bar_write(world.pci, bar, offset, buffer, length);
		break;
	case FROM_BAR:
		pci_bar_read(world.pci, bar, offset, big, (size_t)bytes[3] << 8);
		break;
	case INTERRUPT:
		uiommu_pci_interrupt(world.pci, bytes[1]);
		break;
	case PIN:
		uiommu_pci_intx(world.pci, bytes[1] & 1);
		break;
	default:
		pci_reset(world.pci, UIOMMU_PCI_RESET_BUS);
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct pci_transport transport = {intx, NULL, message, master};

	if (!world.pci)
		world_open();
	pci_connect(world.pci, &transport);
	for (; size >= STEP; data += STEP, size -= STEP) {
		step(data);
		check_config();
	}
	pci_config_write(world.pci, PCI_COMMAND, (uint8_t[2]){0}, 2);
	pci_connect(world.pci, NULL);
	return 0;
}
