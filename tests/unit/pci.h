/* SPDX-License-Identifier: BSD-3-Clause */
/* A PCI function with a model that records what it is told, and a transport that records what it is given. */
#ifndef TEST_PCI_H
#define TEST_PCI_H

#include "test.h"

#include <uiommu/pci.h>

#include "pci/pci.h"
#include "pci/spec.h"
#include "util/util.h"

enum { PCI_LOG = 64 };

struct pci_rig {
	struct uiommu_context *context;
	struct uiommu_pci *pci;
	uint32_t device;
	struct pci_transport transport;

	/* The model. */
	uint64_t registers[512]; /* of BAR 0, 8 bytes each */
	unsigned int reads, writes, resets, changes, touches;
	unsigned int reset_type, before, now;
	unsigned int last_size;
	uint64_t last_offset;
	int inner; /* what an access from inside an access said */

	/* The transport. */
	bool takes; /* vectors */
	unsigned int sent;
	struct {
		enum pci_interrupt kind;
		unsigned int vector;
		uint64_t address;
		uint32_t data;
	} log[PCI_LOG];
	bool level, master;
	unsigned int levels, masters, watches;
	bool mapped;
};

static uint64_t rig_read(void *opaque, unsigned int bar, uint64_t offset, unsigned int size)
{
	struct pci_rig *rig = opaque;
	uint64_t value;

	rig->reads++;
	rig->last_offset = offset;
	rig->last_size = size;
	if (bar || offset >= sizeof(rig->registers))
		return 0;
	value = rig->registers[offset / 8] >> (offset % 8 * 8);
	return size < 8 ? value & ((UINT64_C(1) << 8 * size) - 1) : value;
}

static void rig_write(void *opaque, unsigned int bar, uint64_t offset, unsigned int size, uint64_t value)
{
	struct pci_rig *rig = opaque;
	unsigned int shift = offset % 8 * 8;
	uint64_t mask = (size < 8 ? (UINT64_C(1) << 8 * size) - 1 : UINT64_MAX) << shift;
	uint32_t word = 0;

	rig->writes++;
	rig->last_offset = offset;
	rig->last_size = size;
	if (bar || offset >= sizeof(rig->registers))
		return;
	rig->registers[offset / 8] = (rig->registers[offset / 8] & ~mask) | (value << shift & mask);
	if (offset == 0xff8)
		rig->inner = pci_bar_read(rig->pci, 0, 0, &word, sizeof(word));
}

static void rig_reset(void *opaque, enum uiommu_pci_reset_type type)
{
	struct pci_rig *rig = opaque;

	rig->resets++;
	rig->reset_type = type;
	memset(rig->registers, 0, sizeof(rig->registers));
}

static void rig_changed(void *opaque, unsigned int before, unsigned int now)
{
	struct pci_rig *rig = opaque;

	rig->changes++;
	rig->before = before;
	rig->now = now;
}

static void rig_touched(void *opaque)
{
	struct pci_rig *rig = opaque;

	rig->touches++;
}

static const struct uiommu_pci_ops rig_ops = {rig_read, rig_write, rig_reset, rig_changed, rig_touched};

static void rig_intx(struct pci_transport *transport, bool asserted)
{
	struct pci_rig *rig = container_of(transport, struct pci_rig, transport);

	rig->level = asserted;
	rig->levels++;
}

static bool rig_interrupt(struct pci_transport *transport, enum pci_interrupt kind, unsigned int vector)
{
	struct pci_rig *rig = container_of(transport, struct pci_rig, transport);

	if (!rig->takes)
		return false;
	rig->log[rig->sent % PCI_LOG].kind = kind;
	rig->log[rig->sent++ % PCI_LOG].vector = vector;
	return true;
}

static void rig_message(struct pci_transport *transport, uint64_t address, uint32_t data)
{
	struct pci_rig *rig = container_of(transport, struct pci_rig, transport);

	rig->log[rig->sent % PCI_LOG].address = address;
	rig->log[rig->sent++ % PCI_LOG].data = data;
}

static void rig_master(struct pci_transport *transport, bool on)
{
	struct pci_rig *rig = container_of(transport, struct pci_rig, transport);

	rig->master = on;
	rig->masters++;
}

static inline bool rig_watch(struct pci_transport *transport)
{
	struct pci_rig *rig = container_of(transport, struct pci_rig, transport);

	rig->watches++;
	return rig->mapped;
}

/* Every capability there is. */
static const struct uiommu_pci_capability rig_capabilities[] = {
	{UIOMMU_PCI_PM},
	{UIOMMU_PCI_MSI, .count = 4},
	{UIOMMU_PCI_MSIX, .count = 70, .bar = 2, .offset = 0x1000},
	{UIOMMU_PCI_EXPRESS},
	{UIOMMU_PCI_ATS, .count = 32},
	{UIOMMU_PCI_PRI, .count = 100},
	{UIOMMU_PCI_PASID, .count = 16},
	{UIOMMU_PCI_ACS},
};

static inline struct uiommu_pci_description rig_description(void)
{
	return (struct uiommu_pci_description){
		.size = sizeof(struct uiommu_pci_description),
		.vendor = 0x1b36,
		.device = 0x4242,
		.subsystem_vendor = 0x1234,
		.subsystem = 0x5678,
		.class_code = 0x120000,
		.revision = 3,
		.interrupt_pin = 1,
		.capability_count = sizeof(rig_capabilities) / sizeof(rig_capabilities[0]),
		.bars = {[0] = {.size = 0x1000}, [2] = {.size = 0x4000, .flags = UIOMMU_PCI_BAR_64 | UIOMMU_PCI_BAR_PREFETCHABLE}},
		.capabilities = rig_capabilities,
		.ops = &rig_ops,
	};
}

/* @vectors: the transport takes vectors, not messages. */
static inline void rig_open(struct pci_rig *rig, const struct uiommu_pci_description *description, bool vectors)
{
	struct uiommu_device_config config = {.size = sizeof(config), .name = "rig", .pasid_bits = 16};

	memset(rig, 0, sizeof(*rig));
	rig->takes = true;
	rig->transport = (struct pci_transport){rig_intx, vectors ? rig_interrupt : NULL, rig_message, rig_master, NULL};
	assert_int_equal(uiommu_open(NULL, &rig->context), 0);
	assert_int_equal(uiommu_device_alloc(rig->context, &config, &rig->device), 0);
	assert_int_equal(uiommu_pci_create(rig->context, rig->device, description, rig, &rig->pci), 0);
	assert_int_equal(pci_connect(rig->pci, &rig->transport), 0);
}

static inline void rig_close(struct pci_rig *rig)
{
	assert_int_equal(pci_connect(rig->pci, NULL), 0);
	uiommu_pci_destroy(rig->pci);
	assert_int_equal(uiommu_destroy(rig->context, rig->device), 0);
	assert_int_equal(uiommu_close(rig->context), 0);
}

static inline uint32_t rig_get(struct pci_rig *rig, unsigned int offset, unsigned int width)
{
	uint32_t value = 0;

	assert_int_equal(pci_config_read(rig->pci, offset, &value, width), 0);
	return value;
}

static inline void rig_set(struct pci_rig *rig, unsigned int offset, unsigned int width, uint32_t value)
{
	assert_int_equal(pci_config_write(rig->pci, offset, &value, width), 0);
}

/* Of capability @type. */
static inline unsigned int rig_at(const struct pci_rig *rig, unsigned int type, unsigned int offset)
{
	assert_int_not_equal(rig->pci->place[type], 0);
	return rig->pci->place[type] + offset;
}

#endif
