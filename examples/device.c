/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A PCI device for QEMU: it copies memory, at addresses of a PASID or without one, and interrupts.
 * docs/write-a-device.md explains it.
 *
 *	device SOCKET
 */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <uiommu/uiommu.h>

/* BAR 0. */
enum {
	SOURCE = 0x00, /* 8 bytes */
	DESTINATION = 0x08, /* 8 bytes */
	LENGTH = 0x10,
	PASID = 0x14, /* bit 31: there is one, in bits 0-19 */
	START = 0x18, /* write 1: copy */
	STATUS = 0x1c, /* write: clear, and lower the pin */
	DONE = 1,
	FAULT = 2,
	FAULT_REASON = 0x20, /* enum uiommu_fault_reason */
	FAULT_ADDRESS = 0x28, /* 8 bytes */
	COPIED = 0x30, /* bytes */
	REGISTERS = 0x38,
	LENGTH_MAX = 1 << 20,
};

struct copier {
	struct uiommu_pci *pci;
	uint8_t registers[REGISTERS];
};

static uint64_t get(const struct copier *copier, unsigned int offset, unsigned int size)
{
	uint64_t value = 0;

	memcpy(&value, copier->registers + offset, size);
	return value;
}

static void set(struct copier *copier, unsigned int offset, unsigned int size, uint64_t value)
{
	memcpy(copier->registers + offset, &value, size);
}

static void start(struct copier *copier)
{
	uint32_t pasid = (uint32_t)get(copier, PASID, 4), length = (uint32_t)get(copier, LENGTH, 4);
	struct uiommu_dma_place source = {.address = get(copier, SOURCE, 8)},
				destination = {.address = get(copier, DESTINATION, 8)};
	struct uiommu_dma_result result;
	int error;

	/* A guest decides nothing here but what to copy: no more at once than is good for others, and PASIDs if it enabled them. */
	if (length > LENGTH_MAX)
		length = LENGTH_MAX;
	if (!(pasid >> 31) || !(uiommu_pci_state(copier->pci) & UIOMMU_PCI_PASID_ON))
		pasid = UIOMMU_NO_PASID;
	else
		pasid &= UIOMMU_PASID_LAST;
	source.pasid = destination.pasid = pasid;
	error = uiommu_dma_copy(uiommu_pci_device(copier->pci), &destination, &source, length, &result);
	set(copier, COPIED, 4, result.done);
	set(copier, FAULT_REASON, 4, result.fault.reason);
	set(copier, FAULT_ADDRESS, 8, result.fault.address);
	set(copier, STATUS, 4, error ? FAULT : DONE);
	if (uiommu_pci_interrupt(copier->pci, 0))
		uiommu_pci_intx(copier->pci, true); /* neither MSI-X nor MSI is enabled */
}

static uint64_t read_register(void *opaque, unsigned int bar, uint64_t offset, unsigned int size)
{
	(void)bar;
	return offset + size <= REGISTERS ? get(opaque, (unsigned int)offset, size) : 0;
}

static void write_register(void *opaque, unsigned int bar, uint64_t offset, unsigned int size, uint64_t value)
{
	struct copier *copier = opaque;

	(void)bar;
	if (offset == START && value == 1) {
		start(copier);
	} else if (offset == STATUS) {
		set(copier, STATUS, 4, 0);
		uiommu_pci_intx(copier->pci, false);
	} else if (offset + size <= START) {
		set(copier, (unsigned int)offset, size, value);
	}
}

static void reset(void *opaque, enum uiommu_pci_reset_type type)
{
	struct copier *copier = opaque;

	(void)type;
	memset(copier->registers, 0, sizeof(copier->registers));
}

static const struct uiommu_pci_ops ops = {.read = read_register, .write = write_register, .reset = reset};

static const struct uiommu_pci_capability capabilities[] = {
	{.type = UIOMMU_PCI_EXPRESS},
	{.type = UIOMMU_PCI_MSIX, .count = 1, .bar = 2},
	{.type = UIOMMU_PCI_PASID, .count = 20},
};

static const struct uiommu_pci_description description = {
	.size = sizeof(description),
	.vendor = 0x1234,
	.device = 0x5549,
	.class_code = 0x120000, /* processing accelerator */
	.interrupt_pin = 1,
	.bars = {[0] = {.size = 4096}, [2] = {.size = 4096}},
	.capabilities = capabilities,
	.capability_count = sizeof(capabilities) / sizeof(capabilities[0]),
	.ops = &ops,
};

static struct uiommu_vfio_user *server;

static void stop(int signal)
{
	(void)signal;
	uiommu_vfio_user_stop(server);
}

static void print(void *opaque, enum uiommu_log_level level, const char *message)
{
	(void)opaque;
	if (level <= UIOMMU_LOG_WARNING)
		fprintf(stderr, "%s\n", message);
}

int main(int argc, char **argv)
{
	struct uiommu_options options = {.size = sizeof(options), .log = print};
	struct uiommu_device_config config = {.size = sizeof(config), .name = "copier", .pasid_bits = 20};
	struct uiommu_vfio_user_port port = {.size = sizeof(port), .path = argv[1]};
	struct sigaction ends = {.sa_handler = stop};
	struct uiommu_context *context;
	struct copier copier = {0};
	uint32_t device;
	int error;

	if (argc != 2) {
		fprintf(stderr, "Usage: %s SOCKET\n", argv[0]);
		return 2;
	}
	error = uiommu_open(&options, &context);
	if (!error)
		error = uiommu_device_alloc(context, &config, &device);
	if (!error)
		error = uiommu_pci_create(context, device, &description, &copier, &copier.pci);
	if (!error)
		error = uiommu_vfio_user_open(context, &server);
	port.pci = copier.pci;
	if (!error)
		error = uiommu_vfio_user_add(server, &port);
	if (error) {
		fprintf(stderr, "%s: %s\n", argv[1], strerror(-error));
		return 1;
	}
	sigaction(SIGINT, &ends, NULL);
	sigaction(SIGTERM, &ends, NULL);
	printf("-device '{\"driver\":\"vfio-user-pci\",\"socket\":{\"type\":\"unix\",\"path\":\"%s\"}}'\n", argv[1]);
	fflush(stdout);
	uiommu_vfio_user_run(server);
	uiommu_vfio_user_close(server);
	uiommu_pci_destroy(copier.pci);
	return uiommu_close(context) ? 1 : 0;
}
