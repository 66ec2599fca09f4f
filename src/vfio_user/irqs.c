/* SPDX-License-Identifier: BSD-3-Clause */
/* Interrupts: eventfds that the other side gives, one for each vector, and the masking of the pin, which has a level. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "translate/space.h"
#include "util/util.h"
#include "vfio_user/server.h"

uint32_t irqs_count(const struct port *port, uint32_t index)
{
	return index < INTERRUPTS ? port->vectors[index].count : 0;
}

/* Under the lock. False: nobody takes it. */
static bool signal_vector(struct port *port, unsigned int index, uint32_t vector)
{
	static const uint64_t one = 1;
	int fd = vector < port->vectors[index].count ? port->vectors[index].fds[vector] : -1;

	/* It does not block; that it is full means that it has been signalled. */
	return fd >= 0 && (write(fd, &one, sizeof(one)) == sizeof(one) || errno == EAGAIN);
}

/* Under the lock: the level is told once, and again when the other side has unmasked it. */
static void signal_level(struct port *port)
{
	if (port->level && !port->masked && signal_vector(port, VFU_IRQ_INTX, 0))
		port->masked = true;
}

static struct port *port_of(struct pci_transport *transport)
{
	return container_of(transport, struct port, transport);
}

static void intx(struct pci_transport *transport, bool asserted)
{
	struct port *port = port_of(transport);

	pthread_mutex_lock(&port->irq_lock);
	port->level = asserted;
	signal_level(port);
	pthread_mutex_unlock(&port->irq_lock);
}

static bool interrupt(struct pci_transport *transport, enum pci_interrupt kind, unsigned int vector)
{
	struct port *port = port_of(transport);
	bool taken;

	pthread_mutex_lock(&port->irq_lock);
	taken = signal_vector(port, kind == PCI_MSIX ? VFU_IRQ_MSIX : VFU_IRQ_MSI, vector);
	pthread_mutex_unlock(&port->irq_lock);
	return taken;
}

static void message(struct pci_transport *transport, uint64_t address, uint32_t data)
{
	struct port *port = port_of(transport);

	pthread_mutex_lock(&port->irq_lock);
	if (port->post_link)
		link_post(port->post_link, address, data);
	pthread_mutex_unlock(&port->irq_lock);
}

static void master(struct pci_transport *transport, bool on)
{
	struct port *port = port_of(transport);
	struct uiommu_context *context = port->server->context;
	uint32_t device = uiommu_pci_device(port->pci)->id;
	int error;

	if (!port->ioas_id)
		return;
	if (on)
		error = uiommu_attach(context, device, UIOMMU_NO_PASID, port->ioas_id);
	else
		error = uiommu_detach(context, device, UIOMMU_NO_PASID);
	if (error)
		port_log(port, "cannot %s the guest's memory: error %d", on ? "attach to" : "detach from", -error);
}

static int vectors_init(struct vectors *vectors, uint32_t count)
{
	vectors->count = count;
	vectors->fds = malloc((count ? count : 1) * sizeof(*vectors->fds));
	if (!vectors->fds)
		return -ENOMEM;
	for (uint32_t i = 0; i < count; i++)
		vectors->fds[i] = -1;
	return 0;
}

int irqs_init(struct port *port)
{
	const struct uiommu_pci *pci = port->pci;
	int error;

	pthread_mutex_init(&port->irq_lock, NULL);
	port->transport = (struct pci_transport){intx, interrupt, message, master};
	/* Errors are never told, but QEMU warns of a function that could not. */
	error = vectors_init(&port->vectors[VFU_IRQ_ERROR], pci->place[UIOMMU_PCI_EXPRESS] ? 1 : 0);
	if (!error)
		error = vectors_init(&port->vectors[VFU_IRQ_INTX], pci->pin ? 1 : 0);
	if (!error)
		error = vectors_init(&port->vectors[VFU_IRQ_MSI], pci->msi_count);
	if (!error)
		error = vectors_init(&port->vectors[VFU_IRQ_MSIX], pci->msix.count);
	return error;
}

/* Under the lock. Takes @fd over; -1: nobody. */
static void set_vector(struct port *port, uint32_t index, uint32_t vector, int fd)
{
	int *place = &port->vectors[index].fds[vector];

	if (*place >= 0)
		close(*place);
	*place = fd;
}

void irqs_clear(struct port *port)
{
	pthread_mutex_lock(&port->irq_lock);
	for (uint32_t index = 0; index < INTERRUPTS; index++)
		for (uint32_t vector = 0; vector < port->vectors[index].count; vector++)
			set_vector(port, index, vector, -1);
	port->masked = false;
	pthread_mutex_unlock(&port->irq_lock);
}

void irqs_fini(struct port *port)
{
	for (uint32_t index = 0; index < INTERRUPTS; index++)
		if (port->vectors[index].fds) {
			for (uint32_t vector = 0; vector < port->vectors[index].count; vector++)
				set_vector(port, index, vector, -1);
			free(port->vectors[index].fds);
		}
	pthread_mutex_destroy(&port->irq_lock);
}

/* Whoever signals must not be held up by what was given: an eventfd, and one that does not block. */
static bool is_eventfd(int fd)
{
	char path[32], target[32] = "";

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (readlink(path, target, sizeof(target) - 1) < 0 || strcmp(target, "anon_inode:[eventfd]"))
		return false;
	return !fcntl(fd, F_SETFL, O_NONBLOCK);
}

/* @set: with an fd for each vector, or with none: nobody takes them any more. */
static int set_fds(struct port *port, const struct vfu_set_irqs *set, struct message *message)
{
	for (unsigned int i = 0; i < message->fd_count; i++)
		if (!is_eventfd(message->fds[i]))
			return EINVAL;
	pthread_mutex_lock(&port->irq_lock);
	for (uint32_t i = 0; i < set->count; i++) {
		set_vector(port, set->index, set->start + i, message->fd_count ? message->fds[i] : -1);
		if (message->fd_count)
			message->fds[i] = -1;
	}
	if (set->index == VFU_IRQ_INTX) {
		port->masked = false;
		signal_level(port);
	}
	pthread_mutex_unlock(&port->irq_lock);
	for (uint32_t i = 0; i < set->count && (set->index == VFU_IRQ_MSI || set->index == VFU_IRQ_MSIX); i++)
		pci_interrupt_ready(port->pci, set->index == VFU_IRQ_MSIX ? PCI_MSIX : PCI_MSI, set->start + i);
	return 0;
}

/* Which of the range are meant. */
static bool meant(const struct vfu_set_irqs *set, uint32_t i)
{
	const uint8_t *bools = (const uint8_t *)(set + 1);

	return set->flags & VFU_SET_NONE || bools[i];
}

static void trigger(struct port *port, const struct vfu_set_irqs *set)
{
	pthread_mutex_lock(&port->irq_lock);
	for (uint32_t i = 0; i < set->count; i++)
		if (meant(set, i))
			signal_vector(port, set->index, set->start + i);
	pthread_mutex_unlock(&port->irq_lock);
}

/* Of the pin only: the others' masks are in config space and in the table. */
static int mask(struct port *port, const struct vfu_set_irqs *set, bool masked)
{
	if (set->index != VFU_IRQ_INTX)
		return EINVAL;
	pthread_mutex_lock(&port->irq_lock);
	if (set->count && meant(set, 0)) {
		port->masked = masked;
		signal_level(port);
	}
	pthread_mutex_unlock(&port->irq_lock);
	return 0;
}

/* Nobody takes any vector of this kind any more. */
static void disable(struct port *port, uint32_t index)
{
	pthread_mutex_lock(&port->irq_lock);
	for (uint32_t vector = 0; vector < port->vectors[index].count; vector++)
		set_vector(port, index, vector, -1);
	pthread_mutex_unlock(&port->irq_lock);
}

/* Lengths and numbers that fit each other; it is malformed otherwise. */
static bool well_formed(const struct vfu_set_irqs *set, const struct message *message)
{
	uint32_t data = set->flags & VFU_SET_DATA, action = set->flags & VFU_SET_ACTION;

	if (set->argsz < sizeof(*set) || set->flags & ~(uint32_t)(VFU_SET_DATA | VFU_SET_ACTION))
		return false;
	if (!data || data & (data - 1) || !action || action & (action - 1))
		return false;
	if (message->length != sizeof(*set) + (data == VFU_SET_BOOL ? set->count : 0))
		return false;
	return data == VFU_SET_FDS ? !message->fd_count || message->fd_count == set->count : !message->fd_count;
}

int irqs_request(struct port *port, struct message *message, struct reply *reply)
{
	const struct vfu_set_irqs *set = (const void *)message->payload;
	uint32_t count;

	(void)reply;
	if (!well_formed(set, message))
		return -EPROTO;
	count = irqs_count(port, set->index);
	if (set->index >= INTERRUPTS || set->start > count || set->count > count - set->start)
		return EINVAL;
	switch (set->flags & VFU_SET_ACTION) {
	case VFU_SET_MASK:
	case VFU_SET_UNMASK:
		return set->flags & VFU_SET_FDS ? ENOTSUP : mask(port, set, set->flags & VFU_SET_MASK);
	default:
		if (set->flags & VFU_SET_FDS)
			return set_fds(port, set, message);
		if (set->count)
			trigger(port, set);
		else if (set->flags & VFU_SET_NONE)
			disable(port, set->index);
		return 0;
	}
}
