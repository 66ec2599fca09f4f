/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vfio_user_read: a register of a function is read over its socket, as QEMU does it, beside a bare round trip of as many bytes
 * between two threads on a socket of the same kind. vfio_user_write: a posted write, of many, with a read behind them. Nobody else
 * is there: threads run on both processors, as QEMU and a server do.
 */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <uiommu/uiommu.h>
#include <unistd.h>

#include "harness.h"
#include "support/support.h"
#include "vfio_user/spec.h"

enum { ROUNDS = 2000, REPEATS = 20, POSTED = 50, REGISTER = 8 };

/* A region access as it goes over the socket. */
struct request {
	struct vfu_header header;
	uint64_t offset;
	uint32_t region, count;
	uint64_t data; /* of a write, and in replies */
};

enum { READ_BYTES = sizeof(struct vfu_header) + 16 };

struct run {
	struct uiommu_context *context;
	struct uiommu_pci *pci;
	struct uiommu_vfio_user *server;
	pthread_t thread, echo_thread;
	uint64_t value;
	int fd, echo[2];
	uint16_t id;
};

static uint64_t read_register(void *opaque, unsigned int bar, uint64_t offset, unsigned int size)
{
	const struct run *run = opaque;

	(void)bar;
	(void)size;
	return offset == REGISTER ? run->value : 0;
}

static void write_register(void *opaque, unsigned int bar, uint64_t offset, unsigned int size, uint64_t value)
{
	struct run *run = opaque;

	(void)bar;
	(void)size;
	if (offset == REGISTER)
		run->value = value;
}

static const struct uiommu_pci_ops ops = {.read = read_register, .write = write_register};

static void *serve(void *opaque)
{
	struct run *run = opaque;

	support_check(!uiommu_vfio_user_run(run->server));
	return NULL;
}

static void get(int fd, void *buffer, size_t bytes)
{
	support_check(recv(fd, buffer, bytes, MSG_WAITALL) == (ssize_t)bytes);
}

static void put(int fd, const void *buffer, size_t bytes)
{
	support_check(send(fd, buffer, bytes, 0) == (ssize_t)bytes);
}

/* The same bytes there and back. */
static void *echo(void *opaque)
{
	const struct run *run = opaque;
	struct request request;

	while (recv(run->echo[1], &request, READ_BYTES, MSG_WAITALL) == READ_BYTES)
		put(run->echo[1], &request, sizeof(request));
	return NULL;
}

static void say_version(const struct run *run)
{
	static const char text[] = "{\"capabilities\":{\"max_msg_fds\":16,\"max_data_xfer_size\":1048576,\"pgsizes\":4096}}"
				   "                                                                                            ";
	struct {
		struct vfu_header header;
		uint16_t major, minor;
		char text[sizeof(text)];
	} message = {.header = {.command = VFU_VERSION, .size = sizeof(message)}};
	struct vfu_header header;
	char rest[512];

	memcpy(message.text, text, sizeof(text));
	message.header.size = sizeof(message);
	put(run->fd, &message, sizeof(message));
	get(run->fd, &header, sizeof(header));
	support_check(!header.error && header.size >= sizeof(header) && header.size - sizeof(header) <= sizeof(rest));
	get(run->fd, rest, header.size - sizeof(header));
}

/* Its BAR decodes. */
static void enable(const struct run *run)
{
	struct {
		struct vfu_header header;
		uint64_t offset;
		uint32_t region, count;
		uint16_t data;
	} __attribute__((packed)) request = {.header = {.command = VFU_REGION_WRITE, .size = sizeof(request)},
					     .offset = 4,
					     .region = VFU_REGION_CONFIG,
					     .count = 2,
					     .data = 2};
	uint8_t reply[READ_BYTES];

	request.header.size = sizeof(request);
	put(run->fd, &request, sizeof(request));
	get(run->fd, reply, sizeof(reply));
}

static void make(struct run *run)
{
	static const struct uiommu_pci_description description = {
		.size = sizeof(description), .vendor = 0x1234, .device = 1, .bars = {{.size = 4096}}, .ops = &ops};
	const struct uiommu_device_config config = {.size = sizeof(config), .name = "device"};
	struct uiommu_vfio_user_port port = {.size = sizeof(port)};
	struct sockaddr_un name = {.sun_family = AF_UNIX};
	socklen_t length = sizeof(name);
	uint32_t device;

	*run = (struct run){.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)};
	port.listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	support_check(!bind(port.listen_fd, (struct sockaddr *)&name, sizeof(name.sun_family)) && !listen(port.listen_fd, 1));
	support_check(!getsockname(port.listen_fd, (struct sockaddr *)&name, &length));
	support_check(!uiommu_open(NULL, &run->context));
	support_check(!uiommu_device_alloc(run->context, &config, &device));
	support_check(!uiommu_pci_create(run->context, device, &description, run, &run->pci));
	port.pci = run->pci;
	support_check(!uiommu_vfio_user_open(run->context, &run->server));
	support_check(!uiommu_vfio_user_add(run->server, &port));
	close(port.listen_fd);
	support_check(!pthread_create(&run->thread, NULL, serve, run));
	support_check(!connect(run->fd, (struct sockaddr *)&name, length));
	say_version(run);
	enable(run);
	support_check(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, run->echo));
	support_check(!pthread_create(&run->echo_thread, NULL, echo, run));
}

static void end(struct run *run)
{
	close(run->echo[0]);
	pthread_join(run->echo_thread, NULL);
	close(run->echo[1]);
	close(run->fd);
	uiommu_vfio_user_stop(run->server);
	pthread_join(run->thread, NULL);
	uiommu_vfio_user_close(run->server);
	uiommu_pci_destroy(run->pci);
	support_check(!uiommu_close(run->context));
}

static struct request access_to(struct run *run, uint16_t command, uint32_t size, uint32_t flags)
{
	return (struct request){
		.header = {.id = run->id++, .command = command, .size = size, .flags = flags}, .offset = REGISTER, .count = 8};
}

static uint64_t read_once(struct run *run)
{
	struct request request = access_to(run, VFU_REGION_READ, READ_BYTES, 0);

	put(run->fd, &request, READ_BYTES);
	get(run->fd, &request, sizeof(request));
	support_check(!request.header.error);
	return request.data;
}

static double reads(void *opaque)
{
	struct run *run = opaque;
	double start = bench_now_ns();

	for (unsigned int i = 0; i < ROUNDS; i++)
		support_check(read_once(run) == run->value);
	return (bench_now_ns() - start) / ROUNDS;
}

static double round_trips(void *opaque)
{
	struct run *run = opaque;
	struct request request = {.count = 8};
	double start = bench_now_ns();

	for (unsigned int i = 0; i < ROUNDS; i++) {
		put(run->echo[0], &request, READ_BYTES);
		get(run->echo[0], &request, sizeof(request));
	}
	return (bench_now_ns() - start) / ROUNDS;
}

static double writes(void *opaque)
{
	struct run *run = opaque;
	double start = bench_now_ns();

	for (unsigned int i = 0; i < ROUNDS / POSTED; i++) {
		struct request request;

		for (uint64_t k = 0; k < POSTED; k++) {
			request = access_to(run, VFU_REGION_WRITE, sizeof(request), VFU_NO_REPLY);
			request.data = i * POSTED + k;
			put(run->fd, &request, sizeof(request));
		}
		support_check(read_once(run) == request.data);
	}
	return (bench_now_ns() - start) / ROUNDS;
}

int main(void)
{
	struct bench_pair pair;
	struct bench_sample sample;
	struct run run;

	make(&run);
	pair = bench_measure_pair(reads, round_trips, &run, REPEATS);
	bench_report_pair("vfio_user_read", "ns", &pair, 0, "a bare round trip on a socket");
	sample = bench_measure(writes, &run, REPEATS);
	bench_report_value("vfio_user_write", "ns", sample.min, -1, "posted, 50 of them and a read");
	end(&run);
	return 0;
}
