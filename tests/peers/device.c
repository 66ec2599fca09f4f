/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A PCI device for a peer that plays QEMU (vfio_user.py): everything a model can do, by registers. Its DMA is done by a thread of
 *its own, or, if asked for, by the thread that serves.
 *
 *	peer-device SOCKET [translated]
 */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uiommu/uiommu.h>

enum {
	/* BAR 0. */
	ADDRESS = 0x00, /* 8 bytes */
	LENGTH = 0x08,
	COMMAND = 0x0c, /* READ or WRITE, HERE: in this thread */
	STATUS = 0x10,
	REASON = 0x14,
	DONE_BYTES = 0x18,
	PIN = 0x20, /* the level of INTx */
	VECTOR = 0x24, /* send it */
	MESSAGE_ADDRESS = 0x28, /* 8 bytes */
	MESSAGE = 0x30, /* send it */
	MASTER = 0x34, /* detach the device, and attach it again: a drain */
	RESETS = 0x38, /* how often */
	STATE = 0x3c,
	ERROR = 0x40, /* of what was asked for last, as a positive errno */
	REGISTERS = 0x48,
	BUFFER = 0x10000, /* what is read and written */
	BUFFER_BYTES = 0x10000,

	READ = 1,
	WRITE = 2,
	HERE = 0x100,
	BUSY = 1,
	DONE = 2,
	FAULT = 3,
};

static struct {
	struct uiommu_context *context;
	struct uiommu_vfio_user *server;
	struct uiommu_pci *pci;
	uint32_t device_id, ioas_id;
	pthread_mutex_t lock; /* registers and buffer */
	pthread_cond_t begins;
	bool ends;
	uint8_t registers[REGISTERS];
	uint8_t buffer[BUFFER_BYTES];
} self = {.lock = PTHREAD_MUTEX_INITIALIZER, .begins = PTHREAD_COND_INITIALIZER};

static uint64_t get(unsigned int offset, unsigned int size)
{
	uint64_t value = 0;

	memcpy(&value, self.registers + offset, size);
	return value;
}

static void set(unsigned int offset, uint32_t value)
{
	memcpy(self.registers + offset, &value, sizeof(value));
}

/* With the lock held, which is left meanwhile. */
static void transfer(unsigned int command)
{
	static uint8_t bytes[BUFFER_BYTES];
	uint64_t address = get(ADDRESS, 8), length = get(LENGTH, 4);
	struct uiommu_dma_result result;
	int error;

	if (length > BUFFER_BYTES)
		length = BUFFER_BYTES;
	memcpy(bytes, self.buffer, length);
	pthread_mutex_unlock(&self.lock);
	if (command & READ)
		error = uiommu_dma_read(uiommu_pci_device(self.pci), UIOMMU_NO_PASID, address, bytes, length, &result);
	else
		error = uiommu_dma_write(uiommu_pci_device(self.pci), UIOMMU_NO_PASID, address, bytes, length, &result);
	pthread_mutex_lock(&self.lock);
	if (command & READ)
		memcpy(self.buffer, bytes, result.done);
	set(DONE_BYTES, (uint32_t)result.done);
	set(REASON, result.fault.reason);
	set(COMMAND, 0);
	set(STATUS, error ? FAULT : DONE);
	uiommu_pci_interrupt(self.pci, 0);
}

static void *engine(void *opaque)
{
	pthread_mutex_lock(&self.lock);
	while (!self.ends) {
		if (get(STATUS, 4) == BUSY)
			transfer((unsigned int)get(COMMAND, 4));
		else
			pthread_cond_wait(&self.begins, &self.lock);
	}
	pthread_mutex_unlock(&self.lock);
	return opaque;
}

static uint64_t read_register(void *opaque, unsigned int bar, uint64_t offset, unsigned int size)
{
	uint64_t value = 0;

	(void)opaque;
	if (bar)
		return offset;
	pthread_mutex_lock(&self.lock);
	set(STATE, uiommu_pci_state(self.pci));
	if (offset + size <= REGISTERS)
		value = get((unsigned int)offset, size);
	else if (offset >= BUFFER && offset < BUFFER + BUFFER_BYTES)
		memcpy(&value, self.buffer + (offset - BUFFER), size);
	pthread_mutex_unlock(&self.lock);
	return value;
}

static void act(unsigned int offset, uint32_t value)
{
	int error = 0;

	if (offset == PIN) {
		uiommu_pci_intx(self.pci, value);
	} else if (offset == VECTOR) {
		error = uiommu_pci_interrupt(self.pci, value);
	} else if (offset == MESSAGE) {
		error = uiommu_pci_message(self.pci, get(MESSAGE_ADDRESS, 8), value);
	} else if (offset == MASTER) {
		pthread_mutex_unlock(&self.lock);
		error = uiommu_detach(self.context, self.device_id, UIOMMU_NO_PASID);
		if (!error)
			error = uiommu_attach(self.context, self.device_id, UIOMMU_NO_PASID, self.ioas_id);
		pthread_mutex_lock(&self.lock);
	} else if (offset == COMMAND && value & HERE) {
		transfer(value);
	} else if (offset == COMMAND) {
		set(STATUS, BUSY);
		pthread_cond_signal(&self.begins);
	}
	set(ERROR, (uint32_t)-error);
}

static void write_register(void *opaque, unsigned int bar, uint64_t offset, unsigned int size, uint64_t value)
{
	(void)opaque;
	if (bar)
		return;
	pthread_mutex_lock(&self.lock);
	if (offset >= BUFFER && offset < BUFFER + BUFFER_BYTES) {
		memcpy(self.buffer + (offset - BUFFER), &value, size);
	} else if (offset + size <= REGISTERS && (offset != COMMAND || get(STATUS, 4) != BUSY)) {
		memcpy(self.registers + offset, &value, size);
		act((unsigned int)offset, (uint32_t)value);
	}
	pthread_mutex_unlock(&self.lock);
}

static void reset(void *opaque, enum uiommu_pci_reset_type type)
{
	(void)opaque;
	(void)type;
	pthread_mutex_lock(&self.lock);
	set(RESETS, (uint32_t)get(RESETS, 4) + 1);
	pthread_mutex_unlock(&self.lock);
}

static const struct uiommu_pci_ops ops = {.read = read_register, .write = write_register, .reset = reset};

static const struct uiommu_pci_capability capabilities[] = {
	{.type = UIOMMU_PCI_EXPRESS},
	{.type = UIOMMU_PCI_MSI, .count = 4},
	{.type = UIOMMU_PCI_MSIX, .count = 40, .bar = 2},
	{.type = UIOMMU_PCI_ATS, .count = 8},
	{.type = UIOMMU_PCI_PRI, .count = 8},
	{.type = UIOMMU_PCI_PASID, .count = 20},
};

static const struct uiommu_pci_description description = {
	.size = sizeof(description),
	.vendor = 0x1234,
	.device = 0x5501,
	.class_code = 0x120000,
	.interrupt_pin = 1,
	.bars = {[0] = {.size = 1 << 20},
		 [2] = {.size = 4096},
		 [3] = {.size = 65536, .memory_length = 65536},
		 [4] = {.size = 1 << 20, .memory_offset = 65536, .memory_length = 131072, .flags = UIOMMU_PCI_BAR_64}},
	.capabilities = capabilities,
	.capability_count = sizeof(capabilities) / sizeof(capabilities[0]),
	.ops = &ops,
};

static void stop(int signal)
{
	(void)signal;
	uiommu_vfio_user_stop(self.server);
}

static void print(void *opaque, enum uiommu_log_level level, const char *message)
{
	(void)opaque;
	if (level <= UIOMMU_LOG_WARNING)
		fprintf(stderr, "%s\n", message);
}

static void check(int error)
{
	if (!error)
		return;
	fprintf(stderr, "%s\n", strerror(-error));
	exit(1);
}

int main(int argc, char **argv)
{
	struct uiommu_options options = {.size = sizeof(options), .log = print};
	struct uiommu_device_config config = {.size = sizeof(config), .name = "peer", .pasid_bits = 20};
	struct uiommu_vfio_user_port port = {.size = sizeof(port), .path = argv[1]};
	struct sigaction ends = {.sa_handler = stop};
	sigset_t end;
	pthread_t thread;

	if (argc > 2)
		port.flags = UIOMMU_VFIO_USER_TRANSLATED;
	check(uiommu_open(&options, &self.context));
	check(uiommu_device_alloc(self.context, &config, &self.device_id));
	check(uiommu_pci_create(self.context, self.device_id, &description, NULL, &self.pci));
	check(uiommu_vfio_user_open(self.context, &self.server));
	port.pci = self.pci;
	check(uiommu_vfio_user_add(self.server, &port));
	self.ioas_id = port.ioas_id;
	/* The handler is the first thread's: any other one could still be in it when the server has been closed. */
	sigemptyset(&end);
	sigaddset(&end, SIGTERM);
	pthread_sigmask(SIG_BLOCK, &end, NULL);
	check(-pthread_create(&thread, NULL, engine, NULL));
	sigaction(SIGTERM, &ends, NULL);
	pthread_sigmask(SIG_UNBLOCK, &end, NULL);
	printf("ready\n");
	fflush(stdout);
	check(uiommu_vfio_user_run(self.server));
	uiommu_vfio_user_close(self.server);
	pthread_mutex_lock(&self.lock);
	self.ends = true;
	pthread_cond_signal(&self.begins);
	pthread_mutex_unlock(&self.lock);
	pthread_join(thread, NULL);
	uiommu_pci_destroy(self.pci);
	check(uiommu_close(self.context));
	printf("ended\n");
	return 0;
}
