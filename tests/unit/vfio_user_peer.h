/* SPDX-License-Identifier: BSD-3-Clause */
/* A function at a vfio-user socket, and the other side of that, message by message. */
#ifndef TESTS_UNIT_VFIO_USER_PEER_H
#define TESTS_UNIT_VFIO_USER_PEER_H

#include "test.h"

#include <pthread.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <uiommu/uiommu.h>
#include <unistd.h>

#include "vfio_user/spec.h"

enum { PEER_LATER = 12 };

static struct {
	struct uiommu_context *context;
	struct uiommu_vfio_user *server;
	struct uiommu_pci *pci;
	uint32_t device_id;
	pthread_t serving;
	char folder[32];
	char path[48];

	/* The other side. */
	int fd, memory;
	uint16_t next_id;
	void (*answer)(const struct vfu_header *request, const uint8_t *payload);
} peer;

static inline int peer_connect(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	strcpy(address.sun_path, path);
	assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	return fd;
}

/* With @with_fd, unless it is -1. */
static inline void peer_say(int fd, struct vfu_header header, const void *payload, size_t length, int with_fd)
{
	uint8_t message[sizeof(struct vfu_header) + 512];
	struct iovec iov = {message, sizeof(header) + length};
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = {0};
	struct msghdr with = {.msg_iov = &iov, .msg_iovlen = 1};

	header.size = (uint32_t)iov.iov_len;
	memcpy(message, &header, sizeof(header));
	if (length)
		memcpy(message + sizeof(header), payload, length);
	if (with_fd >= 0) {
		with.msg_control = &control;
		with.msg_controllen = sizeof(control);
		control.align =
			(struct cmsghdr){.cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
		memcpy(CMSG_DATA(&control.align), &with_fd, sizeof(with_fd));
	}
	assert_int_equal(sendmsg(fd, &with, MSG_NOSIGNAL), header.size);
}

static inline void peer_hear(int fd, struct vfu_header *header, uint8_t *payload)
{
	assert_int_equal(recv(fd, header, sizeof(*header), MSG_WAITALL), sizeof(*header));
	assert_true(header->size - sizeof(*header) <= 512);
	if (header->size > sizeof(*header))
		assert_int_equal(recv(fd, payload, header->size - sizeof(*header), MSG_WAITALL), header->size - sizeof(*header));
}

/*
 * The reply to a request. As QEMU: what it is asked for meanwhile is answered only when nothing of its own waits for an answer;
 * what was taken back by then is answered, too, and too late.
 */
static inline uint32_t peer_ask(unsigned int command, const void *payload, size_t length, int with_fd)
{
	struct {
		struct vfu_header header;
		uint8_t payload[512];
	} later[PEER_LATER], next;
	const struct vfu_header request = {.id = ++peer.next_id, .command = (uint16_t)command};
	unsigned int count = 0;

	peer_say(peer.fd, request, payload, length, with_fd);
	for (;;) {
		peer_hear(peer.fd, &next.header, next.payload);
		if ((next.header.flags & VFU_TYPE) == VFU_TYPE_REPLY)
			break;
		assert_true(peer.answer && count < PEER_LATER);
		later[count++] = next;
	}
	assert_int_equal(next.header.id, request.id);
	for (unsigned int i = 0; i < count; i++)
		peer.answer(&later[i].header, later[i].payload);
	return next.header.error;
}

static inline uint32_t peer_write(uint32_t region, uint64_t offset, uint32_t value)
{
	struct {
		struct vfu_region_access access;
		uint32_t value;
	} request = {{offset, region, sizeof(value)}, value};

	return peer_ask(VFU_REGION_WRITE, &request, sizeof(request.access) + sizeof(value), -1);
}

/* The function may do DMA. */
static inline void peer_start(void)
{
	assert_int_equal(peer_write(VFU_REGION_CONFIG, 0x10, 0xe0000000), 0);
	assert_int_equal(peer_write(VFU_REGION_CONFIG, 4, 6), 0);
}

static inline uint32_t peer_map(uint64_t address, uint64_t size, int fd)
{
	struct vfu_dma_map request = {sizeof(request), VFU_DMA_CAN_READ | VFU_DMA_CAN_WRITE, 0, address, size};

	return peer_ask(VFU_DMA_MAP, &request, sizeof(request), fd);
}

static inline void peer_meet(void)
{
	const uint8_t version[4] = {0};

	peer.fd = peer_connect(peer.path);
	assert_int_equal(peer_ask(VFU_VERSION, version, sizeof(version), -1), 0);
}

/* --- the server --- */

static inline void *peer_serve(void *opaque)
{
	assert_int_equal(uiommu_vfio_user_run(peer.server), 0);
	return opaque;
}

/* A function with one BAR; @port has its flags. */
static inline void peer_open(const struct uiommu_pci_ops *ops, uint32_t without, struct uiommu_vfio_user_port *port)
{
	struct uiommu_device_config config = {.size = sizeof(config), .name = "dev"};
	struct uiommu_pci_description description = {.size = sizeof(description), .bars = {{.size = 4096}}, .ops = ops};
	struct uiommu_options options = {.size = sizeof(options), .without = without};

	memset(&peer, 0, sizeof(peer));
	strcpy(peer.folder, "/tmp/uiommu-unit-XXXXXX");
	assert_non_null(mkdtemp(peer.folder));
	snprintf(peer.path, sizeof(peer.path), "%s/socket", peer.folder);
	assert_int_equal(uiommu_open(&options, &peer.context), 0);
	assert_int_equal(uiommu_device_alloc(peer.context, &config, &peer.device_id), 0);
	assert_int_equal(uiommu_pci_create(peer.context, peer.device_id, &description, NULL, &peer.pci), 0);
	assert_int_equal(uiommu_vfio_user_open(peer.context, &peer.server), 0);
	port->size = sizeof(*port);
	port->pci = peer.pci;
	port->path = peer.path;
	assert_int_equal(uiommu_vfio_user_add(peer.server, port), 0);
}

static inline void peer_begin(void)
{
	assert_int_equal(pthread_create(&peer.serving, NULL, peer_serve, NULL), 0);
}

static inline void peer_close(void)
{
	uiommu_vfio_user_stop(peer.server);
	pthread_join(peer.serving, NULL);
	uiommu_vfio_user_close(peer.server);
	uiommu_pci_destroy(peer.pci);
	assert_int_equal(uiommu_destroy(peer.context, peer.device_id), 0);
	assert_int_equal(uiommu_object_count(peer.context), 0);
	assert_int_equal(uiommu_close(peer.context), 0);
	assert_int_equal(rmdir(peer.folder), 0);
}

#endif
