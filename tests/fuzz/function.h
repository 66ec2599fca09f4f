/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A PCI function that has an engine, in the hands of a guest and its processes that do whatever they like: memory of which pieces
 * are missing, page requests that are answered or not. No call may go on for ever, and nothing may be touched but that memory.
 */
#ifndef TESTS_FUZZ_FUNCTION_H
#define TESTS_FUZZ_FUNCTION_H

#include "fuzz.h"

#include <sys/mman.h>
#include <uiommu/uiommu.h>
#include <unistd.h>

#include "pci/pci.h"
#include "pci/spec.h"
#include "translate/space.h"

enum { PAGE = 4096, PAGES = 16, HOLE = 9, BYTES = PAGES * PAGE, STEPS = 64, TURNS = 4096 };

#define BASE UINT64_C(0x10000)

struct step {
	uint8_t kind;
	uint8_t size;
	uint16_t where;
	uint64_t data;
} __attribute__((packed));

static struct {
	struct uiommu_context *context;
	struct uiommu_accel *engine; /* without a thread */
	struct uiommu_pci *pci;
	uint32_t device, queue, ioas, ram, hwpt;
	uint8_t *bytes;
	bool whole;
} f;

static bool interrupt(struct pci_transport *transport, enum pci_interrupt kind, unsigned int vector)
{
	(void)transport;
	(void)kind;
	return vector % 2;
}

static void intx(struct pci_transport *transport, bool asserted)
{
	(void)transport;
	(void)asserted;
}

static void message(struct pci_transport *transport, uint64_t address, uint32_t data)
{
	(void)transport;
	(void)address;
	(void)data;
}

static void master(struct pci_transport *transport, bool on)
{
	uint32_t device = uiommu_pci_device(f.pci)->id;

	(void)transport;
	if (on)
		(void)uiommu_attach(f.context, device, UIOMMU_NO_PASID, f.ioas);
	else
		CHECK(!uiommu_detach(f.context, device, UIOMMU_NO_PASID));
}

static void map(unsigned int first, unsigned int end)
{
	struct uiommu_ioas_map request = {.size = sizeof(request),
					  .flags = UIOMMU_MAP_FIXED | UIOMMU_MAP_READ | UIOMMU_MAP_WRITE,
					  .ioas_id = f.ioas,
					  .source = UIOMMU_MAP_RAM,
					  .ram_id = f.ram,
					  .offset = first * PAGE,
					  .iova = BASE + first * PAGE,
					  .length = (uint64_t)(end - first) * PAGE};

	CHECK(!uiommu_ioas_map(f.context, &request));
}

/* The page in the middle comes and goes. */
static void set_whole(bool whole)
{
	uint64_t bytes;

	if (whole && !f.whole)
		map(HOLE, HOLE + 1);
	else if (!whole && f.whole)
		CHECK(!uiommu_ioas_unmap(f.context, f.ioas, BASE + HOLE * PAGE, PAGE, &bytes));
	f.whole = whole;
}

/* Memory, and a device of which PASIDs 1 and 2 and what has none have it. */
static void make_device(void)
{
	const struct uiommu_device_config device = {.size = sizeof(device), .rid = 1, .name = "accel", .pasid_bits = 20};
	struct uiommu_hwpt_alloc alloc = {
		.size = sizeof(alloc), .type = UIOMMU_HWPT_PAGING, .flags = UIOMMU_HWPT_PASID | UIOMMU_HWPT_FAULT};
	int fd = memfd_create("ram", MFD_CLOEXEC);

	CHECK(!uiommu_install_fault_handler());
	CHECK(fd >= 0 && !ftruncate(fd, BYTES));
	f.bytes = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CHECK(f.bytes != MAP_FAILED);
	CHECK(!uiommu_open(NULL, &f.context));
	CHECK(!uiommu_ioas_alloc(f.context, &f.ioas));
	CHECK(!uiommu_ram_alloc(f.context, fd, 0, BYTES, UIOMMU_READ | UIOMMU_WRITE, &f.ram));
	map(0, HOLE);
	map(HOLE + 1, PAGES);
	CHECK(!uiommu_fault_queue_alloc(f.context, 64, &f.queue));
	CHECK(!uiommu_device_alloc(f.context, &device, &f.device));
	alloc.parent_id = f.ioas;
	alloc.fault_queue_id = f.queue;
	CHECK(!uiommu_hwpt_alloc(f.context, &alloc, &f.hwpt));
	CHECK(!uiommu_attach(f.context, f.device, 1, f.hwpt) && !uiommu_attach(f.context, f.device, 2, f.hwpt));
}

static void connect_function(void)
{
	static struct pci_transport transport = {intx, interrupt, message, master};

	CHECK(!pci_connect(f.pci, &transport));
}

static void config_set(unsigned int offset, uint16_t value)
{
	CHECK(!pci_config_write(f.pci, offset, &value, sizeof(value)));
}

static void bar_set(unsigned int bar, uint64_t offset, unsigned int size, uint64_t value)
{
	CHECK(!pci_bar_write(f.pci, bar, offset, &value, size));
}

/* Each turn is bounded, and so is what there can be to do. */
static void run(unsigned int turns)
{
	for (unsigned int i = 0; i < turns; i++)
		if (!uiommu_accel_poll(f.engine, 64))
			return;
}

static void answer(uint64_t data)
{
	struct uiommu_fault_event events[8];
	ssize_t count = uiommu_fault_read(f.context, f.queue, events, 8);

	set_whole(data & 1);
	for (ssize_t i = 0; i < count; i++)
		if (events[i].cookie)
			(void)uiommu_fault_respond(f.context, f.queue, events[i].cookie, (uint32_t)(data >> 1) % 3);
}

/* As a driver does it, first of all. */
static void enable_function(void)
{
	memset(f.bytes, 0, BYTES);
	set_whole(false);
	config_set(PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	config_set(f.pci->place[UIOMMU_PCI_PASID] + PCI_PASID_CONTROL, PCI_PASID_ENABLE);
	config_set(f.pci->place[UIOMMU_PCI_ATS] + PCI_ATS_CONTROL, PCI_ATS_ENABLE);
	config_set(f.pci->place[UIOMMU_PCI_PRI] + PCI_PRI_ALLOCATION, 8);
	config_set(f.pci->place[UIOMMU_PCI_PRI] + PCI_PRI_CONTROL, PCI_PRI_ENABLE);
	config_set(f.pci->place[UIOMMU_PCI_MSIX] + PCI_MSIX_CONTROL, PCI_MSIX_ENABLE);
}

/* Whatever it was: what is reset begins anew. */
static void reset_function(void)
{
	pci_reset(f.pci, UIOMMU_PCI_RESET_BUS);
	run(TURNS);
	answer(1);
	run(1);
	config_set(PCI_COMMAND, PCI_COMMAND_MEMORY);
}

#endif
