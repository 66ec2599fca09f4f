/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Whatever the other side of a vfio-user connection says. This thread is the other side, the server's reader and its worker, in
 * turn.
 *
 * The first byte says whether a version is agreed on before. Then come steps: how, which descriptors, a length, and so many bytes.
 * They are sent as they are, or made a message: the first two are its command and its flags then. Whatever comes: a request that is
 * not refused as a whole has one reply or none, and at the end nothing is left.
 */
#include "fuzz.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <uiommu/uiommu.h>
#include <unistd.h>

#include "util/util.h"
#include "vfio_user/server.h"

enum { RAW = 1, FDS = 7, POOL = 4, BAR_BYTES = 4096, BYTES_MAX = 1 << 16 };

static struct {
	struct uiommu_context *context;
	struct uiommu_pci *pci;
	struct uiommu_vfio_user *server;
	struct port *port;
	int listen_fd;
	int pool[POOL]; /* what may be sent: memory, shorter memory, an eventfd, a pipe */
	int pipe_end;
	uint64_t registers[BAR_BYTES / 8];
} self;

static uint64_t model_read(void *opaque, unsigned int bar, uint64_t offset, unsigned int size)
{
	uint64_t value = 0;

	(void)opaque;
	(void)bar;
	memcpy(&value, (uint8_t *)self.registers + offset, size);
	return value;
}

/* Registers do all that a model can: interrupts, and DMA from where they say. */
static void model_write(void *opaque, unsigned int bar, uint64_t offset, unsigned int size, uint64_t value)
{
	uint8_t bytes[64];

	(void)opaque;
	(void)bar;
	memcpy((uint8_t *)self.registers + offset, &value, size);
	if (offset == 8)
		uiommu_pci_interrupt(self.pci, (unsigned int)value);
	if (offset == 16)
		uiommu_pci_intx(self.pci, value & 1);
	if (offset == 24)
		uiommu_pci_message(self.pci, self.registers[0], (uint32_t)value);
	if (offset == 32)
		uiommu_dma_read(uiommu_pci_device(self.pci), UIOMMU_NO_PASID, value, bytes, sizeof(bytes), NULL);
	if (offset == 40)
		uiommu_dma_write(uiommu_pci_device(self.pci), UIOMMU_NO_PASID, value, self.registers, sizeof(bytes), NULL);
}

static const struct uiommu_pci_ops ops = {.read = model_read, .write = model_write};

static const struct uiommu_pci_capability capabilities[] = {
	{UIOMMU_PCI_EXPRESS}, {UIOMMU_PCI_MSI, .count = 2}, {UIOMMU_PCI_MSIX, .count = 3, .bar = 2}, {UIOMMU_PCI_PM}};

static void open_world(void)
{
	struct uiommu_device_config config = {.size = sizeof(config), .name = "fuzz"};
	struct uiommu_pci_description description = {
		.size = sizeof(description),
		.interrupt_pin = 1,
		.capability_count = ARRAY_SIZE(capabilities),
		.bars = {[0] = {.size = BAR_BYTES},
			 [2] = {.size = BAR_BYTES},
			 [4] = {.size = 4 * page_size(), .memory_offset = page_size(), .memory_length = page_size()}},
		.capabilities = capabilities,
		.ops = &ops,
	};
	struct uiommu_vfio_user_port given = {.size = sizeof(given)};
	uint32_t device;
	int ends[2];

	CHECK(!uiommu_open(NULL, &self.context) && !uiommu_install_fault_handler());
	CHECK(!uiommu_device_alloc(self.context, &config, &device));
	CHECK(!uiommu_pci_create(self.context, device, &description, NULL, &self.pci));
	CHECK(!server_make(self.context, &self.server));
	self.listen_fd = socket(AF_UNIX, SOCK_STREAM, 0);
	CHECK(!listen(self.listen_fd, 1) || errno == EINVAL);
	CHECK(!bind(self.listen_fd, &(struct sockaddr){AF_UNIX, ""}, sizeof(sa_family_t)) && !listen(self.listen_fd, 1));
	given.pci = self.pci;
	given.listen_fd = self.listen_fd;
	CHECK(!port_make(self.server, &given, &self.port));
	self.pool[0] = memfd_create("fuzz", 0);
	self.pool[1] = memfd_create("fuzz", 0);
	CHECK(!ftruncate(self.pool[0], 1 << 20) && !ftruncate(self.pool[1], 4096));
	self.pool[2] = eventfd(0, EFD_NONBLOCK);
	CHECK(!pipe2(ends, O_NONBLOCK));
	self.pool[3] = ends[1];
	self.pipe_end = ends[0];
}

static int lowest_free(void)
{
	int fd = dup(self.listen_fd);

	close(fd);
	return fd;
}

static void send_bytes(int fd, const uint8_t *bytes, size_t length, unsigned int fds)
{
	struct iovec iov = {(void *)(uintptr_t)bytes, length};
	union {
		char bytes[CMSG_SPACE(FDS * sizeof(int))];
		struct cmsghdr align;
	} control = {0};
	struct msghdr header = {.msg_iov = &iov, .msg_iovlen = 1};
	unsigned int count = fds % (FDS + 1);

	if (count) {
		header.msg_control = &control;
		header.msg_controllen = CMSG_SPACE(count * sizeof(int));
		control.align.cmsg_level = SOL_SOCKET;
		control.align.cmsg_type = SCM_RIGHTS;
		control.align.cmsg_len = CMSG_LEN(count * sizeof(int));
		for (unsigned int i = 0; i < count; i++)
			memcpy(CMSG_DATA(&control.align) + i * sizeof(int), &self.pool[(fds / 8 + i) % POOL], sizeof(int));
	}
	sendmsg(fd, &header, MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* What the server has said: whole messages. */
static void take_replies(int fd)
{
	static uint8_t bytes[BYTES_MAX];
	struct vfu_header header;

	while (recv(fd, &header, sizeof(header), MSG_DONTWAIT) == (ssize_t)sizeof(header)) {
		size_t left = header.size - sizeof(header);

		CHECK(header.size >= sizeof(header) && left <= sizeof(bytes));
		CHECK(!(header.flags & VFU_ERROR) == !header.error);
		CHECK(!left || recv(fd, bytes, left, MSG_WAITALL) == (ssize_t)left);
	}
}

static void turn(int fd)
{
	if (self.port->link)
		port_read(self.port);
	while (server_work(self.server))
		take_replies(fd);
}

static void step(int fd, unsigned int how, unsigned int fds, const uint8_t *bytes, size_t length)
{
	uint8_t message[sizeof(struct vfu_header) + 256];
	struct vfu_header header = {.id = (uint16_t)(how >> 1)};

	if (how & RAW || length < 2) {
		send_bytes(fd, bytes, length, fds);
		return;
	}
	header.command = bytes[0];
	header.flags = bytes[1];
	header.size = (uint32_t)(sizeof(header) + length - 2);
	memcpy(message, &header, sizeof(header));
	memcpy(message + sizeof(header), bytes + 2, length - 2);
	send_bytes(fd, message, header.size, fds);
}

static void begin(int fd)
{
	struct vfu_header header = {.command = VFU_VERSION, .size = sizeof(header) + sizeof(struct vfu_version)};
	uint8_t message[sizeof(header) + sizeof(struct vfu_version)] = {0};

	memcpy(message, &header, sizeof(header));
	send_bytes(fd, message, sizeof(message), 0);
	turn(fd);
	CHECK(self.port->agreed);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	int ends[2], lowest;

	if (!self.server)
		open_world();
	if (!size)
		return 0;
	lowest = lowest_free();
	CHECK(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends));
	hub_answering(self.server->hub, true);
	port_begin(self.port, ends[0]);
	if (data[0] & 1)
		begin(ends[1]);
	for (data++, size--; size >= 3 && self.port->link;) {
		size_t length = min_u64(data[2], size - 3);

		step(ends[1], data[0], data[1], data + 3, length);
		turn(ends[1]);
		data += 3 + length;
		size -= 3 + length;
	}
	shutdown(ends[1], SHUT_WR);
	while (self.port->link)
		turn(ends[1]);
	close(ends[1]);
	hub_answering(self.server->hub, false);
	CHECK(!self.server->hub->asked && !self.port->queued && !self.port->full);
	CHECK(!uiommu_pci_state(self.pci));
	CHECK(lowest_free() == lowest);
	return 0;
}
