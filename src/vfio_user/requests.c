/* SPDX-License-Identifier: BSD-3-Clause */
/* Requests: one table of what they look like, and those that only ask or access. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "pci/pci.h"
#include "vfio_user/server.h"

enum { REPLY_BYTES = 128 };

static int get_info(struct port *port, struct message *message, struct reply *reply)
{
	const struct vfu_device_info *request = (const void *)message->payload;
	struct vfu_device_info *info = (void *)reply->data;

	(void)port;
	if (request->argsz < sizeof(*info))
		return EINVAL;
	*info = (struct vfu_device_info){sizeof(*info), VFU_DEVICE_RESET | VFU_DEVICE_PCI, VFU_REGIONS, PCI_IRQS};
	reply->length = sizeof(*info);
	return 0;
}

/* A BAR whose memory may be mapped: all of it, or an area of it. */
static void region_memory(const struct port *port, struct vfu_region_info *info, uint32_t room, struct reply *reply)
{
	const struct uiommu_pci_bar *bar = &port->pci->bars[info->index];
	struct vfu_sparse *sparse = (void *)(reply->data + sizeof(*info));

	info->flags |= VFU_REGION_MMAP;
	reply->fd = port->pci->memory_fd[info->index];
	if (bar->memory_length == bar->size)
		return;
	info->flags |= VFU_REGION_CAPS;
	info->argsz = sizeof(*info) + sizeof(*sparse);
	if (room < info->argsz)
		return;
	info->capabilities = sizeof(*info);
	*sparse = (struct vfu_sparse){VFU_SPARSE_ID, VFU_SPARSE_VERSION, 0, 1, 0, bar->memory_offset, bar->memory_length};
	reply->length = info->argsz;
}

static int get_region_info(struct port *port, struct message *message, struct reply *reply)
{
	const struct vfu_region_info *request = (const void *)message->payload;
	struct vfu_region_info *info = (void *)reply->data;
	uint32_t index = request->index;

	if (request->argsz < sizeof(*info) || index >= VFU_REGIONS)
		return EINVAL;
	*info = (struct vfu_region_info){.argsz = sizeof(*info), .index = index};
	reply->length = sizeof(*info);
	if (index < UIOMMU_PCI_BARS)
		info->size = port->pci->bars[index].size;
	else if (index == VFU_REGION_CONFIG)
		info->size = UIOMMU_PCI_CONFIG_SIZE;
	if (info->size)
		info->flags = VFU_REGION_READABLE | VFU_REGION_WRITABLE;
	if (index < UIOMMU_PCI_BARS && pci_shared(port->pci, index))
		region_memory(port, info, request->argsz, reply);
	return 0;
}

static int get_irq_info(struct port *port, struct message *message, struct reply *reply)
{
	const struct vfu_irq_info *request = (const void *)message->payload;
	struct vfu_irq_info *info = (void *)reply->data;
	uint32_t count = pci_irqs_count(&port->irqs, request->index);

	if (request->argsz < sizeof(*info) || request->index >= PCI_IRQS)
		return EINVAL;
	/* As Linux has it for a function without PCI Express; QEMU warns of one that has no vector of it. */
	if (request->index == PCI_IRQ_ERROR && !count)
		return EINVAL;
	*info = (struct vfu_irq_info){sizeof(*info), count ? pci_irqs_flags(&port->irqs, request->index) : 0, request->index,
				      count};
	reply->length = sizeof(*info);
	return 0;
}

static int region_read(struct port *port, struct message *message, struct reply *reply)
{
	const struct vfu_region_access *access = (const void *)message->payload;
	int error;

	if (!access->count || access->count > VFU_DATA_MAX || access->count > port->link->data_max)
		return EINVAL;
	reply->more = malloc(access->count);
	if (!reply->more)
		return ENOMEM;
	if (access->region == VFU_REGION_CONFIG)
		error = pci_config_read(port->pci, access->offset, reply->more, access->count);
	else
		error = pci_bar_read(port->pci, access->region, access->offset, reply->more, access->count);
	memcpy(reply->data, access, sizeof(*access));
	reply->length = sizeof(*access);
	reply->more_length = access->count;
	return -error;
}

static int region_write(struct port *port, struct message *message, struct reply *reply)
{
	const struct vfu_region_access *access = (const void *)message->payload;
	const uint8_t *bytes = message->payload + sizeof(*access);

	if (message->length != sizeof(*access) + (size_t)access->count)
		return -EPROTO;
	memcpy(reply->data, access, sizeof(*access));
	reply->length = sizeof(*access);
	if (access->region == VFU_REGION_CONFIG)
		return -pci_config_write(port->pci, access->offset, bytes, access->count);
	return -pci_bar_write(port->pci, access->region, access->offset, bytes, access->count);
}

static int reset(struct port *port, struct message *message, struct reply *reply)
{
	(void)message;
	(void)reply;
	link_cancel(port->link, false);
	pci_reset(port->pci, UIOMMU_PCI_RESET_BUS);
	return 0;
}

static int version(struct port *port, struct message *message, struct reply *reply)
{
	return version_request(port, message, reply);
}

static int unmap(struct port *port, struct message *message, struct reply *reply)
{
	return memory_unmap(port, message, reply);
}

/* Payload lengths and descriptors that a command may have; all else is malformed. */
static const struct command {
	uint32_t min, max;
	unsigned int fds;
	int (*run)(struct port *port, struct message *message, struct reply *reply);
} commands[VFU_COMMANDS] = {
	[VFU_VERSION] = {sizeof(struct vfu_version), 4096, 0, version},
	[VFU_DMA_MAP] = {sizeof(struct vfu_dma_map), sizeof(struct vfu_dma_map), 1, memory_map},
	[VFU_DMA_UNMAP] = {sizeof(struct vfu_dma_unmap), sizeof(struct vfu_dma_unmap), 0, unmap},
	[VFU_GET_INFO] = {sizeof(struct vfu_device_info), 4096, 0, get_info},
	[VFU_GET_REGION_INFO] = {sizeof(struct vfu_region_info), 4096, 0, get_region_info},
	[VFU_GET_IRQ_INFO] = {sizeof(struct vfu_irq_info), 4096, 0, get_irq_info},
	[VFU_SET_IRQS] = {sizeof(struct vfu_set_irqs), 4096, VFU_FDS_MAX, irqs_request},
	[VFU_REGION_READ] = {sizeof(struct vfu_region_access), sizeof(struct vfu_region_access), 0, region_read},
	[VFU_REGION_WRITE] = {sizeof(struct vfu_region_access), VFU_MESSAGE_MAX, 0, region_write},
	[VFU_RESET] = {0, 0, 0, reset},
};

static int run(struct port *port, struct message *message, struct reply *reply)
{
	const struct command *command;

	/* The first message, and no other, is about the version. */
	if ((message->header.flags & VFU_TYPE) != VFU_TYPE_COMMAND || (message->header.command == VFU_VERSION) == port->agreed)
		return -EPROTO;
	if (message->header.command >= VFU_COMMANDS || !commands[message->header.command].run)
		return message->fd_count ? -EPROTO : ENOTSUP;
	command = &commands[message->header.command];
	if (message->length < command->min || message->length > command->max || message->fd_count > command->fds)
		return -EPROTO;
	return command->run(port, message, reply);
}

int port_request(struct port *port, struct message *message)
{
	_Alignas(8) uint8_t bytes[REPLY_BYTES] = {0};
	struct reply reply = {.data = bytes, .fd = -1};
	int error = run(port, message, &reply);

	if (error >= 0 && !(message->header.flags & VFU_NO_REPLY)) {
		struct vfu_header header = {
			.id = message->header.id,
			.command = message->header.command,
			.flags = VFU_TYPE_REPLY | (error ? VFU_ERROR : 0),
			.error = (uint32_t)error,
		};

		if (error)
			reply.length = reply.more_length = 0;
		header.size = (uint32_t)(sizeof(header) + reply.length + reply.more_length);
		/* If it does not arrive, the reader finds out that the connection has ended. */
		link_send(port->link, &header, bytes, reply.length, reply.more, reply.more_length, error ? -1 : reply.fd);
	}
	free(reply.more);
	return error;
}
